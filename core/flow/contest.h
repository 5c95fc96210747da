/* SPDX-License-Identifier: BSD-3-Clause */
/* contest -- SYNs or SYN/ACKs of different numbers, and what waits for the other side to tell which counts
 *
 *   endpoint            has the numbers of the one that stands: the first SYN/ACK, or the last SYN
 *   offers              what the others say
 *   held                what the server sent since its second SYN/ACK --> packet --> packet
 *
 * A server that forgot its first SYN/ACK (SYN cookies) answers with another number, or one of them was forged.
 * The client holds to the first that reached it, which need not be the first that passed here: its ACK
 * tells. Until then nobody can know what the server's numbers mean, so its segments are held as they are, and
 * taken in when it is known. The memory is that of the streams, and what waits longest makes room
 * first, here as there. Inline, where a packet waits for its verdict, they are dropped instead.
 *
 * A client that tries again may do so with another number, or one of its SYNs was forged: the last one stands until
 * the server acknowledges another. Where the server is not seen, the number of the client's next segment tells.
 */
#ifndef MB_FLOW_CONTEST_H
#define MB_FLOW_CONTEST_H

#include "flow/stream.h"
#include "flow/tcp.h"

/* Nobody who has heard nothing of the other side yet sends more than this: the rest is an attacker's. */
#define MB__OFFERS 8     /* besides the first */
#define MB__UNDECIDED 32 /* segments; a fast open's window is 10 (RFC 6928) */

/* A packet that waits: |packet| with its datagram behind it. */
struct mb__undecided {
    struct mb__undecided *next;
    struct mb_packet packet; /* of the raw link type: its frame begins with the IP header */
    uint8_t datagram[];
};

struct mb__contest {
    struct mb__undecided *first;
    struct mb__undecided *last;
    uint32_t segments; /* held, */
    uint64_t bytes;    /* and of memory for them */
    uint32_t offers;
    uint8_t side;      /* who made the offers */
    bool syns;         /* they are the SYNs of a client before the one that stands */
    bool reset;        /* one of them is a reset */
    struct mb__offer offer[MB__OFFERS];
};

/* That of |flow|; NULL: it has none, as nearly all. */
static inline struct mb__contest *mb__contest_of(const struct mb_flow *flow)
{
    return flow->streams == NULL ? NULL : mb__stream_contest(flow);
}

/* Keeps |offer| of |side|, which has another number than the one that stands, if it is new and there is room for it.
 * |syn|: not a SYN/ACK. 0 or MB_ENOMEM. */
int mb__contest_add(struct mb__stream_config *c, struct mb_flow *flow, int side, const struct mb__offer *offer, bool syn);
/* Where the flow's contest is of SYNs: whether |p| of |side| tells another than the one that stands to be the one that
 * counts. Then that stands now, and the former is kept. */
bool mb__contest_choose_syn(struct mb_flow *flow, int side, const struct mb_packet *p);
/* Holds a copy of |p|, which the server of the flow's contest sent. 0, or, as of mb__stream_put(), MB_ELIMIT or
 * MB_ENOMEM. */
int mb__contest_hold(struct mb__stream_config *c, struct mb_flow *flow, const struct mb_packet *p);

/* What the client's segment |p| says of the contest of its flow. */
enum mb__choice {
    MB__CHOICE_NONE = -2,  /* nothing */
    MB__CHOICE_FIRST = -1, /* the first SYN/ACK stands */
    MB__CHOICE_OFFER = 0   /* and on: this offer */
};

/* By the number that |p| acknowledges: enum mb__choice. Nothing, if the server would not take |p| after it. */
int mb__contest_choose(struct mb_flow *flow, const struct mb_packet *p);
/* Ends the contest, if there is one. What was held, for the caller to give back with mb__undecided_free(), one
 * by one. */
struct mb__undecided *mb__contest_end(struct mb__stream_config *c, struct mb_flow *flow);
/* Gives |held| back; the one behind it. */
struct mb__undecided *mb__undecided_free(struct mb__stream_config *c, struct mb__undecided *held);

#endif
