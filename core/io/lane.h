/* SPDX-License-Identifier: BSD-3-Clause */
/* lane -- what one worker writes to one output, on its way to the parent
 *
 *   worker 0   labels  [frame 3, 9 bytes][frame 9, 4 bytes] ...   \
 *              bytes   [---------][----] ...                       \
 *                                                                   > least order first --> output
 *   worker 1   labels  [frame 5, 7 bytes][frame 6, 8 bytes] ...    /
 *              bytes   [-------][--------] ...                    /
 *
 * A lane is two rings with one writer and one reader: the bytes of chunks
 * (base/ring.h), and their labels, each with the order (base/order.h) of what was
 * written; orders in a lane rise. Labels lie close together, since the parent,
 * which has to look at each of them, has none in its cache. Most bytes it leaves to the kernel.
 * The parent takes the chunk of least order, once it knows that no lane will
 * bring a lesser one: each lane has a next chunk, or its worker is done with the
 * chunk's frame, or with all. A worker that waits for room in one lane says where
 * it is, so that the others can be emptied up to there: else two workers with a full
 * lane each would wait for what neither of them can say.
 *
 * What all workers write (heads and feet of files) has one order, and is taken
 * from the first that brings it.
 */
#ifndef MB_IO_LANE_H
#define MB_IO_LANE_H

#include "base/order.h"
#include "base/ring.h"
#include "io/drain.h"

#define MB__LANE_SIZE ((size_t)2 << 20) /* bytes of a ring */

/* A worker as all its lanes see it, in shared memory. */
struct mb__lane_worker {
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t frames; /* it is done with */
    struct mb__order failed;                          /* where it failed, if |has_failed| */
    _Atomic uint32_t has_failed;
    _Atomic uint64_t version;                         /* of what follows: base/versioned.h */
    _Atomic uint64_t waited[3];                       /* where it last waited for room: an order */
    _Atomic uint32_t left;                            /* nothing more comes */
};

/* What one lane's ends share. */
struct mb__lane_ends {
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t put;   /* chunks ever put */
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t taken; /* room ever given back */
    struct mb__bell room;                            /* some were taken */
};

struct mb__label;

/* One end of a lane. What the other end does is looked up only when what is
 * known of it is used up: a cache line that two processors write is slow. */
struct mb__lane {
    uint8_t *ring;
    struct mb__label *label; /* of chunk n at n % their number */
    struct mb__lane_ends *ends;
    struct mb__lane_worker *worker; /* who writes to it */
    struct mb__bell *bell;         /* the parent's: something was put */
    const struct mb__order *order; /* the worker's: where it is */
    const struct mb__condition *condition; /* and on what it depends that this is written */
    uint64_t put;                  /* chunks, as this end knows it */
    uint64_t next;                 /* the chunk that this end puts or takes next, */
    uint64_t at;                   /* and where: bytes of room used before it */
    uint64_t taken;                /* the writer's: bytes of room given back, as it knows it */
    uint64_t told;                 /* |at| when this end last told the other of it, or had no need to */
};

/* The rings of a lane; false: no memory. */
bool mb__lane_init(struct mb__lane *l);
void mb__lane_fini(struct mb__lane *l);

/* Puts bytes into the lane, waiting until there is room. Cannot fail. */
void mb__lane_put(struct mb__lane *l, const void *bytes, size_t len);
/* The same for two runs of bytes that belong together and fit into a lane's half. */
void mb__lane_put_both(struct mb__lane *l, const void *head, size_t head_len, const void *bytes, size_t len);

/* The parent's side of one output: the lanes of all workers. */
struct mb__merge {
    struct mb__lane *lane;           /* |count| of them */
    struct mb__lane_worker *worker;  /* likewise */
    unsigned count;                  /* at most MB_WORKERS_MAX */
    struct mb__order last;           /* what was taken last, */
    unsigned from;                   /* and from whom */
    bool begun;
    struct iovec piece[MB__DRAIN_PIECES]; /* what was taken and is still to be put */
    unsigned pieces;
    size_t bytes;                         /* in them */
    bool (*decide)(void *arg, const struct mb__condition *condition); /* whether to write it */
    void *decide_arg;
};

/* Takes all that is in order to |out| (NULL: nothing is written): how much room that
 * gives back, in bytes, or the code of what failed. */
int64_t mb__merge_take(struct mb__merge *m, struct mb__drain *out);

#endif
