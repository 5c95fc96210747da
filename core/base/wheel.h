/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel -- a hierarchical timing wheel over the slots of a pool
 *
 *   level 0: 8192 buckets of 1 tick       [0][1][2] ...... [8191]
 *   level 1: 256 buckets of 8192 ticks    [0][1][2] ... [255]   moved down one
 *   level 2: 256 buckets of 2,097,152     [0][1][2] ... [255]   bucket at a time
 *   level 3: 256 buckets of 536,870,912   [0][1][2] ... [255]   as time comes near
 *   beyond:  one bucket, looked through once in 4.6 years
 *
 * A tick is 2^20 ns, 1.05 ms. The digits of a tick are its low 13 bits and then
 * bytes. An entry's level is the highest digit in which its tick differs from
 * the clock's, its bucket the value of that digit: so every filled bucket lies
 * ahead of the clock, and all entries of one tick are always in the same bucket.
 * Level 0 is wider than the idle time of closed connections: these are the most
 * by far, and few of them are moved down in the meantime.
 *
 *   bucket --> chunk [n1 n2 .. n12] --> chunk [n13 -- n15 ..]    "--" was deleted
 *                |  its tick has come
 *   due:         v
 *      [n5 n14 n1 .. ]  in the order of their ranks
 *
 * A bucket is a FIFO of slot numbers in chunks of a cache line, and a struct
 * mb__wheel_link in each slot says where its number is. What fires at the same
 * tick fires in the order it was added or, if the owner names a number in the
 * slot, in the order of that: then the order of two entries does not depend on
 * what else is in the wheel, nor on how they came in. Slots that fire were not
 * looked at for long. A list through them would bring one after the other into
 * the cache; so all that are due come at once, and before their tick if the owner
 * says when there is time.
 *
 * Adding and deleting are O(1); an entry moves down at most four times. A bit
 * map of all buckets, with one of its words above it, finds the next filled one, so a jump of the clock costs what
 * lies in it, however many empty ticks it passes.
 *
 * An entry fires up to one tick late and never early: at the first tick that
 * begins at its deadline or after it. A deadline that lies behind the tick
 * being fired is put to the tick after |now|, so an owner that adds in a loop
 * cannot keep mb__wheel_next() busy. Owners whose deadline moves on with each
 * packet leave the entry where it is and put it in again when it fires too soon.
 */
#ifndef MB_BASE_WHEEL_H
#define MB_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"

#define MB__WHEEL_SHIFT 20 /* a tick is 2^20 ns */
#define MB__WHEEL_LEVELS 4
#define MB__WHEEL_NEAR 8192 /* buckets of level 0 */
#define MB__WHEEL_FAR 256   /* of each other level */
#define MB__WHEEL_FIFO SIZE_MAX
#define MB__WHEEL_BUCKETS (MB__WHEEL_NEAR + (MB__WHEEL_LEVELS - 1) * MB__WHEEL_FAR + 1)

/* Inside a slot of the pool. Zero: not in the wheel. */
struct mb__wheel_link {
    uint32_t chunk;  /* its number; 0: not in the wheel */
    uint32_t tick;   /* low 32 bits of the tick it fires at; what is due: where */
    uint16_t tick_high;
    uint16_t place;  /* in the chunk */
};

#define MB__WHEEL_CHUNK 12

/* One cache line. A chunk without live entries is given back at once. */
struct mb__wheel_chunk {
    uint32_t next;                  /* number of the chunk after it; 0: the last of its bucket */
    uint32_t prev;                  /* of the chunk before it; 0: the first */
    uint32_t bucket;                /* its number, levels one after the other */
    uint16_t used;                  /* places ever filled */
    uint16_t live;                  /* entries not deleted */
    uint32_t slot[MB__WHEEL_CHUNK]; /* 0: deleted */
};

/* One whose tick has come. */
struct mb__wheel_due {
    uint64_t rank;
    uint32_t slot; /* 0: deleted */
};

/* Numbers of chunks; 0: none. */
struct mb__wheel_bucket {
    uint32_t head;
    uint32_t tail;
};

struct mb__wheel {
    const struct mb__pool *pool;
    size_t link;     /* where the link is in a slot */
    size_t rank;     /* where the uint64_t is that orders the entries of a tick; MB__WHEEL_FIFO: none */
    struct mb__pool chunks;
    struct mb__wheel_due *due; /* room for all slots, touched as far as it is used */
    size_t reserved;           /* bytes of address space for it */
    uint32_t due_at;           /* the next that fires */
    uint32_t due_end;
    uint32_t due_most;         /* due at once so far: as far the row was touched */
    uint64_t tick;   /* the tick being fired; all before it have */
    int64_t next_ts; /* nothing is to be done before this; INT64_MAX: empty */
    uint32_t count;  /* entries */
    uint32_t ahead;  /* number of the chunk whose entries are fetched next; 0: none */
    uint64_t filled[MB__WHEEL_BUCKETS / 64];        /* a bit a bucket */
    uint64_t some[MB__WHEEL_BUCKETS / 64 / 64 + 1]; /* a bit a word of |filled| that is not 0 */
    struct mb__wheel_bucket bucket[MB__WHEEL_BUCKETS];
};

/* A wheel over |pool|, which outlives it and whose slots have a struct
 * mb__wheel_link at offset |link|. At offset |rank| is the number by which the
 * entries of one tick are ordered, which stays while they are in;
 * MB__WHEEL_FIFO: in the order they were added. 0, or MB_ENOMEM: no address space. */
int mb__wheel_init(struct mb__wheel *w, const struct mb__pool *pool, size_t link, size_t rank);
void mb__wheel_fini(struct mb__wheel *w);
/* Puts slot |n|, which must not be in, in to fire at |deadline| ns. |now| is
 * the clock, ns; times before 0 count as 0. */
void mb__wheel_add(struct mb__wheel *w, uint32_t n, int64_t deadline, int64_t now);
/* Takes slot |n| out; nothing happens if it is not in. */
void mb__wheel_del(struct mb__wheel *w, uint32_t n);
/* Takes the next slot whose tick has come by |now| ns out of the wheel: its
 * number, 0 when there is no more. Call until it gives 0. Slots come in the
 * order of their ticks, which w->tick tells; slots may be added and deleted between the calls. A
 * clock that goes backward fires nothing. */
uint32_t mb__wheel_next(struct mb__wheel *w, int64_t now);

/* What mb__wheel_next() will give after |skip| others of the same tick; 0: nothing. */
static inline uint32_t mb__wheel_peek(const struct mb__wheel *w, uint32_t skip)
{
    return w->due_at + skip < w->due_end ? w->due[w->due_at + skip].slot : 0;
}

/* Whether what mb__wheel_next() gave was the first of its tick. */
static inline bool mb__wheel_begins(const struct mb__wheel *w)
{
    return w->due_at == 1;
}

/* The next tick with entries will come soon: fetches a chunk's worth of them into the cache, the next at
 * the next call. A hint: what has gone in the meantime is fetched in vain. */
static inline void mb__wheel_prefetch(struct mb__wheel *w)
{
    if (w->ahead == 0)
        return;
    const struct mb__wheel_chunk *c = mb__pool_at(&w->chunks, w->ahead);
    for (uint32_t i = 0; i < MB__WHEEL_CHUNK; i++)
        mb__pool_prefetch(w->pool, c->slot[i]);
    w->ahead = c->next;
    __builtin_prefetch(mb__pool_at(&w->chunks, w->ahead));
}

/* Bytes in use by chunks and the row of what is due, which is not given back. */
static inline uint64_t mb__wheel_memory(const struct mb__wheel *w)
{
    return (uint64_t)w->chunks.used * w->chunks.stride + (uint64_t)w->due_most * sizeof *w->due;
}

/* Whether mb__wheel_next() has something to do at |now|, be it only to move
 * entries down: cheap enough to be asked for each packet. */
static inline bool mb__wheel_due(const struct mb__wheel *w, int64_t now)
{
    return now >= w->next_ts;
}

#endif
