/* SPDX-License-Identifier: BSD-3-Clause */
/* state -- what detection remembers of a flow
 *
 *   flow --user--> mb__state
 *                    bits            flowbits that rules left
 *                    side[2]         how far the stream was inspected,
 *                                    rules half matched, rules that alerted
 *                    tx --> tx --> tx      transactions, oldest first
 *                            part[2]       its request and response:
 *                              values      buffers, transformed, in an arena
 *                              body        what came so far, up to a limit
 *                              candidates  rules whose fast pattern was found
 *
 * All of it is bounded by the limits here, taken only when a flow has something
 * to remember, and on the engine's account of what is kept of flows, which
 * counts what found no room.
 */
#ifndef MB_DETECT_STATE_H
#define MB_DETECT_STATE_H

#include "base/memory.h"
#include "detect/match.h"

#define MB__MAX_TX 64            /* transactions kept of a flow */
#define MB__MAX_VALUES 1024      /* buffers of one part */
#define MB__MAX_CANDIDATES 512   /* rules half matched, a part or side */
#define MB__MAX_ALERTED 256      /* rules remembered to have alerted on a stream side */
#define MB__PART_BYTES (1 << 20) /* arena of one part */

/* A run of memory given back all at once. */
struct mb__block {
    struct mb__block *next;
    uint32_t used;
    uint32_t room;
    uint8_t bytes[];
};

/* One buffer's bytes. */
struct mb__value {
    uint16_t buffer;  /* of mb_rules_buffer() */
    bool scanned;     /* its bank has seen it */
    struct mb_view view;
};

/* A rule whose fast pattern was found, not yet decided. */
struct mb__candidate {
    uint32_t rule;
    uint32_t done;    /* inspections that matched */
    uint64_t offset;  /* stream: where the fast pattern was looked for */
};

struct mb__candidates {
    struct mb__memory *memory;
    struct mb__candidate *list;
    uint32_t count;
    uint32_t room;
};

/* A growing body and how far it was looked at. */
struct mb__body {
    uint8_t *bytes;
    uint32_t len;
    uint32_t room;
    uint32_t scanned;
    uint32_t visible; /* bytes whose receipt is known */
    bool complete;    /* all there is, or the limit is reached */
};

/* One direction of a transaction. */
struct mb__part {
    struct mb__memory *memory;
    struct mb__block *arena;
    uint32_t arena_bytes;
    struct mb__value *value;
    uint32_t values;
    uint32_t value_room;
    struct mb__candidates found;
    uint32_t decided_bytes;
    uint8_t *decided;        /* a bit a rule: it alerted, or can never match; NULL: none did */
    struct mb__body body;
    uint64_t ready;          /* stream offset at which its newest piece ended */
    bool present;            /* its head has come */
    bool complete;           /* nothing more will come */
    bool visible;            /* the receiver has acknowledged it (or need not) */
    bool fresh;              /* something came since it was inspected */
    bool started;            /* the rules without a fast pattern are candidates */
    bool over;               /* inspected when complete */
};

/* What alerts tell of a message; text in the part's arena. */
struct mb__tx {
    struct mb__tx *next;
    struct mb__part part[2];
    uint32_t number;         /* of the flow's transactions, from 0 */
    uint8_t app;
    bool reported;           /* a record of it was written */
    uint8_t server;          /* HTTP: side that answers; the tap may have come too late to know ends */
    struct mb_view hostname, url, user_agent, referer, method, protocol, content_type, location;
    struct mb_view filename; /* of the response's Content-Disposition */
    uint32_t status;
    uint64_t length;         /* of the response's body */
    uint64_t sent;           /* of the request's body */
    bool cut;                /* the response's body is not whole */
    uint16_t dns_id, dns_flags;
    uint16_t rrtype[8];
    uint8_t rrtypes;
};

/* TLS and SSH: what alerts tell of the session. Texts are of mb__text_keep(). */
struct mb__session {
    char *sni, *subject, *issuer, *serial, *fingerprint;
    char *ssh_proto[2], *ssh_software[2], *hassh[2];
    int64_t not_before, not_after;
    uint16_t version;
};

struct mb__alerted {
    uint32_t rule;
    uint64_t end;            /* stream offset up to which bytes are spent for the rule */
};

/* Stream bytes in front of a gap that were not looked at when it came: the
 * stream itself forgets what lies before a gap. */
struct mb__held {
    struct mb__bytes bytes;
    uint64_t inspected;      /* stream offset, as the side's had been */
    uint64_t gap;            /* bytes that are missing behind them */
    uint32_t room;
    uint8_t data[];
};

struct mb__state_side {
    struct mb__held *held;   /* NULL: nothing */
    uint64_t inspected;      /* stream offset */
    uint64_t visible;        /* acknowledged by the receiver when last looked at */
    struct mb__candidates found;
    struct mb__alerted *alerted;
    uint32_t alerted_count;
    uint32_t alerted_room;
};

struct mb__state {
    struct mb__memory *memory;
    uint8_t *bits;
    uint32_t bit_bytes;
    struct mb__state_side side[2];
    struct mb__tx *first, *last;
    struct mb__session *session;
    uint32_t txs;            /* kept now */
    uint32_t next_tx;        /* number of the next transaction */
    uint64_t anomalies;      /* of the packet being looked at, bits */
    bool app_event;          /* the parser met what is not allowed, in this packet */
    bool ip_only_done[2];
    bool proto_done[2];
    bool pass;               /* a pass rule passed the flow */
    bool drop;               /* a drop rule dropped it */
    bool established;        /* both ends have been connected */
    bool unsure;             /* thresholds tell whether a rule alerted; they are asked elsewhere */
};

/* The state of a new flow; itself part of what a flow takes, its contents on the
 * account |memory|. NULL: no memory, counted there. */
struct mb__state *mb__state_new(struct mb__memory *memory);
void mb__state_free(struct mb__state *s);
/* Keeps |bytes| of the stream of |side|, before a gap of |gap|. False: no memory. */
bool mb__hold_back(struct mb__state *s, int side, const struct mb__bytes *bytes, uint64_t gap);
/* Lets go of what was held back of |side|, if anything. */
void mb__held_free(struct mb__state *s, int side);
/* The session, made if need be. NULL: no memory. */
struct mb__session *mb__session_of(struct mb__state *s);
/* Keeps |v| as text in |*where| if there is none yet and |v| is not empty. */
void mb__text_keep(struct mb__state *s, char **where, struct mb_view v);

/* Copies |view| into the part's arena. An empty view if there is no room. */
struct mb_view mb__part_copy(struct mb__part *p, struct mb_view view);
/* |len| bytes of the part's arena, or NULL. */
uint8_t *mb__part_room(struct mb__part *p, uint32_t len);
/* Adds the buffer |base| to the part, once for each set of transforms that
 * rules use. |view| must live as long as the part. */
void mb__part_put(struct mb__part *p, const struct mb_rules *r, int base, struct mb_view view);
/* Adds bytes to the body, up to |limit| in all. */
void mb__part_body(struct mb__part *p, const uint8_t *bytes, uint64_t len, uint32_t limit);
/* Nothing of the part will be inspected any more: what alerts of the other part
 * may still tell of it stays. */
void mb__part_over(struct mb__part *p);

/* A new transaction at the end; the oldest makes room if there are too many. */
struct mb__tx *mb__tx_new(struct mb__state *s, int app);
/* The transaction |number|, or NULL. */
struct mb__tx *mb__tx_find(struct mb__state *s, uint32_t number);
/* Frees transactions both of whose parts are over, oldest first. */
void mb__tx_sweep(struct mb__state *s);

/* Adds a candidate unless it is there. */
void mb__candidates_add(struct mb__candidates *c, uint32_t rule, uint64_t offset);

bool mb__bit_test(const struct mb__state *s, uint32_t bit);
void mb__bit_set(struct mb__state *s, uint32_t bit, bool on);

#endif
