/* SPDX-License-Identifier: BSD-3-Clause */
/* stream -- the bytes one endpoint sent, in order
 *
 *        history kept        next                 pending, out of order
 *   [=====================]   |      [off,len]---->[off,len]---->[off,len]
 *    delivered, peekable      v
 *   -------------------------------------------------------------> offset
 *
 * What arrives in order is shown as it lies in the packet and never copied,
 * unless a monitor wants history. Only what came before its turn is copied,
 * each segment into a piece of its own, taken from the engine's account and
 * given back when delivered. A flow without either has no buffers at all:
 * flow->streams is NULL.
 *
 *   waiting: oldest --> streams of flow 7 <--> streams of flow 2 --> newest
 *
 * Flows with something pending are listed by how long it has waited, those that
 * have not settled (MB_SIDE_SETTLED) apart: when memory runs out these make room
 * first, then the longest wait, which is the least likely to end.
 *
 * Invariants: pending pieces are sorted, do not overlap, and all begin after
 * |next|; their bytes never exceed the limit of a side. Delivered bytes never
 * change, whatever the overlap policy.
 */
#ifndef MB_FLOW_STREAM_H
#define MB_FLOW_STREAM_H

#include "base/memory.h"
#include "base/overlap.h"
#include "mosbox.h"

/* Bytes that a pending piece is charged for besides its own: many small pieces
 * cost time as well, since each segment is compared with those around it. */
#define MB__PIECE_OVERHEAD 64

struct mb__streams;
struct mb__contest;

/* Flows with something pending, by how long it has waited. */
struct mb__waiting {
    struct mb__streams *oldest;
    struct mb__streams *newest;
};

/* What all streams of an engine share. */
struct mb__stream_config {
    struct mb__memory *memory; /* account of what is pending */
    struct mb__memory *history_memory; /* and of history */
    uint64_t max_bytes;        /* pending bytes of a side, each piece's overhead counted in */
    uint32_t history;          /* delivered bytes kept of a side */
    uint8_t overlap;           /* enum mb_overlap of the receiver at hand */
    bool ranges_only;          /* nobody reads bytes: remember only where they were */
    struct mb__waiting waiting[2]; /* [1]: of flows that have settled */
};

/* How a segment meets the bytes that came before it. */
struct mb__overlap {
    bool old;      /* some of its bytes were here before */
    bool new;      /* some were not */
    bool conflict; /* an old byte that is still readable differs */
};

/* Compares |len| bytes at |offset| with what |side| sent before. */
struct mb__overlap mb__stream_compare(const struct mb_flow *flow, int side, int64_t offset, const uint8_t *data,
                                      size_t len);
/* Keeps a segment that lies (partly) after |next| until its turn. 0, or, when
 * only some of it may have been kept, MB_ELIMIT: the side has no room for it,
 * or MB_ENOMEM: all together have not. */
int mb__stream_put(struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t offset,
                   const uint8_t *data, size_t len);
/* Whether a segment can be shown in place: it begins at |next| and nothing
 * pending overlaps it. */
bool mb__stream_fits(const struct mb_flow *flow, int side, uint64_t offset, size_t len);
/* Takes the first pending piece out if its turn has come: a view valid until
 * mb__stream_taken(), data NULL if only its range was remembered. False: none. */
bool mb__stream_take(struct mb_flow *flow, int side, struct mb_view *view);
/* Gives the piece that mb__stream_take() took back. */
void mb__stream_taken(struct mb__stream_config *c, struct mb_flow *flow, int side);
/* The flow other than |but| that should make room: one that has not settled, or,
 * if |settled|, else one that has. NULL: none waits. */
struct mb_flow *mb__stream_longest_wait(const struct mb__stream_config *c, const struct mb_flow *but, bool settled);
/* Offset of the first pending piece, UINT64_MAX if there is none. */
uint64_t mb__stream_first_pending(const struct mb_flow *flow, int side);
/* Whether [|begin|, |end|) lies in one pending piece. */
bool mb__stream_holds(const struct mb_flow *flow, int side, uint64_t begin, uint64_t end);
/* Up to where pending bytes go on from |begin| without a hole; |begin|: there are none. */
uint64_t mb__stream_held_until(const struct mb_flow *flow, int side, uint64_t begin);
/* Pending bytes. */
uint64_t mb__stream_pending(const struct mb_flow *flow, int side);
/* The byte at |offset|, not delivered yet, is not part of the stream. Of several
 * marks the one furthest on counts. 0 or MB_ELIMIT. */
int mb__stream_mark(const struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t offset);
/* How many of the next |len| bytes come before the marked one; |len| if it is not among them. */
size_t mb__stream_to_mark(const struct mb_flow *flow, int side, size_t len);
/* The marked byte is the next one: it is taken out, all behind it moves up by one. */
void mb__stream_take_mark(struct mb__stream_config *c, struct mb_flow *flow, int side);
/* |view| was delivered: adds it to the history and moves |next| on. The bytes
 * as they are now in the history, or |view| itself where none is kept. */
struct mb_view mb__stream_deliver(const struct mb__stream_config *c, struct mb_flow *flow, int side, struct mb_view view);
/* |len| bytes are given up: |next| moves on, the history before is let go. */
void mb__stream_skip(const struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t len);
/* What the flow, which has streams, keeps of SYNs or SYN/ACKs that contest, see flow/contest.h; NULL: none do. It
 * waits, as bytes do. Who sets it takes it back. 0 or MB_ENOMEM. */
struct mb__contest *mb__stream_contest(const struct mb_flow *flow);
int mb__stream_set_contest(struct mb__stream_config *c, struct mb_flow *flow, struct mb__contest *contest);
void mb__stream_take_contest(struct mb__stream_config *c, struct mb_flow *flow);
/* No byte from |end| on will be taken: what waits there is given back. How many bytes. */
uint64_t mb__stream_cut(struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t end);
/* Gives the buffers of one side back. */
void mb__stream_clear(struct mb__stream_config *c, struct mb_flow *flow, int side);
/* Gives all buffers of the flow back; it has no contest any more. */
void mb__streams_free(struct mb__stream_config *c, struct mb_flow *flow);

#endif
