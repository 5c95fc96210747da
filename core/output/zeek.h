/* SPDX-License-Identifier: BSD-3-Clause */
/* zeek -- a connection as Zeek sees it, beside our own view of the flow
 *
 * Zeek's record is not ours in other words: it has endpoint states of its own,
 * byte counts from sequence numbers, and a history of what was seen. All of it
 * is kept per packet, here, and only while a conn.log is written. Source: the
 * documentation of Zeek's Conn::Info record.
 */
#ifndef MB_OUTPUT_ZEEK_H
#define MB_OUTPUT_ZEEK_H

#include "mosbox.h"

#define MB__ZEEK_HISTORY 64 /* letters kept; longer histories are cut */

/* What Zeek says of an endpoint. */
enum mb__zeek_state {
    MB__ZEEK_INACTIVE,     /* sent nothing */
    MB__ZEEK_SYN_SENT,
    MB__ZEEK_SYN_ACK_SENT, /* and the other side nothing yet */
    MB__ZEEK_PARTIAL,      /* sent without a handshake; UDP and others: sent */
    MB__ZEEK_ESTABLISHED,
    MB__ZEEK_CLOSED,       /* sent a FIN */
    MB__ZEEK_RESET         /* sent a RST */
};

/* Letters that come once a side, as bits. */
enum mb__zeek_once { MB__ZEEK_ONCE_ACK = 1, MB__ZEEK_ONCE_DATA = 2, MB__ZEEK_ONCE_MIXED = 4, MB__ZEEK_ONCE_MULTI = 8 };

/* Letters that come again when the packet has another sequence number. */
enum mb__zeek_again { MB__ZEEK_SYN, MB__ZEEK_SYN_ACK, MB__ZEEK_FIN, MB__ZEEK_RST, MB__ZEEK_AGAIN };

/* Letters that come at the 1st, 10th, 100th, ... time. */
enum mb__zeek_log { MB__ZEEK_GAP, MB__ZEEK_RETRANSMIT, MB__ZEEK_ZERO_WINDOW, MB__ZEEK_LOG };

/* One endpoint: what it sent. */
struct mb__zeek_side {
    uint64_t packets;
    uint64_t ip_bytes;  /* IP total lengths */
    uint64_t payload;   /* not TCP: payload bytes */
    uint64_t missed;    /* bytes in gaps */
    int64_t sent;       /* TCP: highest number sent, from start */
    int64_t acked;      /* TCP: highest number acknowledged, from start */
    uint32_t start;     /* TCP: the SYN's number, or one before the first seen */
    uint32_t seq[MB__ZEEK_AGAIN]; /* number of the last such packet */
    uint32_t count[MB__ZEEK_LOG];
    uint8_t state;      /* enum mb__zeek_state */
    uint8_t once;       /* bits of enum mb__zeek_once */
    uint8_t again;      /* bit n: seq[n] is known */
    bool started;       /* start is known */
};

/* A connection; zeroed memory is a new one. */
struct mb__zeek_conn {
    struct mb__zeek_side side[2]; /* by enum mb_side */
    int64_t first_ts; /* ns since 1970 */
    int64_t last_ts;  /* ns since 1970; after both sides closed it stands still */
    uint8_t history_len;
    char history[MB__ZEEK_HISTORY];
};

/* Takes packet |p| that |side| sent. |swapped|: the first packet came from the
 * server, which the history notes. */
void mb__zeek_conn_packet(struct mb__zeek_conn *c, int side, const struct mb_packet *p, bool swapped);
/* |len| bytes that |side| sent were lost. */
void mb__zeek_conn_gap(struct mb__zeek_conn *c, int side, uint64_t len);
/* Payload bytes that |side| sent. */
uint64_t mb__zeek_conn_bytes(const struct mb__zeek_conn *c, int side, int ip_proto);
/* Zeek's conn_state: "SF". */
const char *mb__zeek_conn_state(const struct mb__zeek_conn *c, int ip_proto);

#endif
