/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel -- where an entry waits, and which bucket is next */
#include "base/wheel.h"

#include <stdlib.h>
#include <string.h>

#include "base/reserve.h"
#include "mosbox.h"

#define NEAR_BITS 13
#define FAR_BITS 8
#define BEYOND (MB__WHEEL_BUCKETS - 1) /* the bucket past all levels */
#define ALL_BITS (NEAR_BITS + (MB__WHEEL_LEVELS - 1) * FAR_BITS)
#define LAST_TICK ((uint64_t)INT64_MAX >> MB__WHEEL_SHIFT)
#define NEVER UINT64_MAX
#define DUE UINT32_MAX /* in place of a chunk: the entry is in the row of what is due, at link.tick */
#define FEW 64         /* as many are sorted one by one */

static struct mb__wheel_link *link_of(const struct mb__wheel *w, uint32_t n)
{
    return (struct mb__wheel_link *)((uint8_t *)mb__pool_at(w->pool, n) + w->link);
}

static uint64_t link_tick(const struct mb__wheel_link *l)
{
    return (uint64_t)l->tick_high << 32 | l->tick;
}

/* The tick that |ts| lies in. */
static uint64_t tick_of(int64_t ts)
{
    return ts > 0 ? (uint64_t)ts >> MB__WHEEL_SHIFT : 0;
}

/* The first tick that begins at |ts| or after it. */
static uint64_t tick_after(int64_t ts)
{
    uint64_t tick = tick_of(ts);
    bool begins = ts <= 0 || ((uint64_t)ts & ((1u << MB__WHEEL_SHIFT) - 1)) == 0;
    return begins || tick == LAST_TICK ? tick : tick + 1;
}

static int64_t tick_ts(uint64_t tick)
{
    return tick == NEVER ? INT64_MAX : (int64_t)(tick << MB__WHEEL_SHIFT);
}

/* A level: where its digit is in a tick, and where its buckets are. */
struct level {
    uint32_t shift;
    uint32_t slots;
    uint32_t first;
};

static inline struct level level_at(uint32_t level)
{
    if (level == 0)
        return (struct level){0, MB__WHEEL_NEAR, 0};
    return (struct level){NEAR_BITS + (level - 1) * FAR_BITS, MB__WHEEL_FAR,
                          MB__WHEEL_NEAR + (level - 1) * MB__WHEEL_FAR};
}

/* First tick of the bucket that |tick| waits in, seen from |clock|; its
 * number goes to |bucket|. */
static uint64_t bucket_of(uint64_t clock, uint64_t tick, uint32_t *bucket)
{
    uint64_t differs = clock ^ tick;
    if (differs >> ALL_BITS != 0) {
        *bucket = BEYOND;
        return tick >> ALL_BITS << ALL_BITS;
    }
    uint32_t n = differs < MB__WHEEL_NEAR ? 0 : ((uint32_t)(63 - __builtin_clzll(differs)) - NEAR_BITS) / FAR_BITS + 1;
    struct level level = level_at(n);
    *bucket = level.first + (uint32_t)(tick >> level.shift & (level.slots - 1));
    return tick >> level.shift << level.shift;
}

static void mark(struct mb__wheel *w, uint32_t bucket, bool filled)
{
    if (bucket == BEYOND)
        return;
    uint32_t word = bucket / 64;
    uint64_t bit = (uint64_t)1 << bucket % 64, of_word = (uint64_t)1 << word % 64;
    w->filled[word] = filled ? w->filled[word] | bit : w->filled[word] & ~bit;
    w->some[word / 64] = w->filled[word] != 0 ? w->some[word / 64] | of_word : w->some[word / 64] & ~of_word;
}

static struct mb__wheel_chunk *chunk_at(const struct mb__wheel *w, uint32_t n)
{
    return mb__pool_at(&w->chunks, n);
}

/* The number of the last chunk of bucket |at|, which has a place left. There are
 * never more chunks than entries, so the pool has one. */
static uint32_t open_chunk(struct mb__wheel *w, uint32_t at)
{
    struct mb__wheel_bucket *b = &w->bucket[at];
    if (b->tail != 0 && chunk_at(w, b->tail)->used < MB__WHEEL_CHUNK)
        return b->tail;
    uint32_t n = mb__pool_take(&w->chunks);
    struct mb__wheel_chunk *c = chunk_at(w, n);
    c->bucket = at;
    c->prev = b->tail;
    if (b->tail != 0)
        chunk_at(w, b->tail)->next = n;
    else
        b->head = n;
    b->tail = n;
    mark(w, at, true);
    return n;
}

/* Gives an empty chunk back. */
static void close_chunk(struct mb__wheel *w, uint32_t n)
{
    struct mb__wheel_chunk *c = chunk_at(w, n);
    struct mb__wheel_bucket *b = &w->bucket[c->bucket];
    if (c->prev != 0)
        chunk_at(w, c->prev)->next = c->next;
    else
        b->head = c->next;
    if (c->next != 0)
        chunk_at(w, c->next)->prev = c->prev;
    else
        b->tail = c->prev;
    if (b->head == 0)
        mark(w, c->bucket, false);
    mb__pool_give(&w->chunks, n);
}

/* Puts slot |n|, whose link holds its tick, at the end of its bucket. */
static void append(struct mb__wheel *w, uint32_t n, struct mb__wheel_link *l)
{
    uint32_t at;
    int64_t ts = tick_ts(bucket_of(w->tick, link_tick(l), &at));
    l->chunk = open_chunk(w, at);
    struct mb__wheel_chunk *c = chunk_at(w, l->chunk);
    l->place = c->used;
    c->slot[c->used++] = n;
    c->live++;
    if (ts < w->next_ts)
        w->next_ts = ts;
}

int mb__wheel_init(struct mb__wheel *w, const struct mb__pool *pool, size_t link, size_t rank)
{
    memset(w, 0, sizeof *w);
    w->pool = pool;
    w->link = link;
    w->rank = rank;
    w->next_ts = INT64_MAX;
    w->reserved = ((size_t)pool->limit + 1) * sizeof *w->due;
    w->due = mb__reserve(w->reserved);
    if (w->due == NULL)
        return MB_ENOMEM;
    int err = mb__pool_init(&w->chunks, sizeof(struct mb__wheel_chunk), pool->limit + 1);
    if (err < 0)
        mb__wheel_fini(w);
    return err;
}

void mb__wheel_fini(struct mb__wheel *w)
{
    mb__pool_fini(&w->chunks);
    mb__release(w->due, w->reserved);
    w->due = NULL;
}

void mb__wheel_add(struct mb__wheel *w, uint32_t n, int64_t deadline, int64_t now)
{
    struct mb__wheel_link *l = link_of(w, n);
    uint64_t tick = tick_after(deadline);
    /* Nothing waits between the wheel's clock and |now|: no bucket is passed. */
    if (now < w->next_ts && tick_of(now) > w->tick)
        w->tick = tick_of(now);
    if (tick <= w->tick)
        tick = (tick_of(now) > w->tick ? tick_of(now) : w->tick) + 1;
    l->tick = (uint32_t)tick;
    l->tick_high = (uint16_t)(tick >> 32);
    append(w, n, l);
    w->count++;
}

void mb__wheel_del(struct mb__wheel *w, uint32_t n)
{
    struct mb__wheel_link *l = link_of(w, n);
    if (l->chunk == 0)
        return;
    if (l->chunk == DUE) {
        w->due[l->tick].slot = 0;
    } else {
        struct mb__wheel_chunk *c = chunk_at(w, l->chunk);
        c->slot[l->place] = 0;
        if (--c->live == 0)
            close_chunk(w, l->chunk);
    }
    memset(l, 0, sizeof *l);
    w->count--;
}

/* The lowest filled bucket, BEYOND if there is none before it. Buckets lie in
 * the order of their levels, and lower levels are nearer than higher ones. */
static uint32_t first_filled(const struct mb__wheel *w)
{
    for (uint32_t i = 0; i < sizeof w->some / sizeof w->some[0]; i++) {
        if (w->some[i] == 0)
            continue;
        uint32_t word = i * 64 + (uint32_t)__builtin_ctzll(w->some[i]);
        return word * 64 + (uint32_t)__builtin_ctzll(w->filled[word]);
    }
    return BEYOND;
}

/* The next filled bucket and the tick at which it is due; NEVER if the wheel
 * is empty. */
static uint64_t next_bucket(const struct mb__wheel *w, uint32_t *bucket)
{
    *bucket = first_filled(w);
    if (*bucket == BEYOND)
        return w->bucket[BEYOND].head != 0 ? ((w->tick >> ALL_BITS) + 1) << ALL_BITS : NEVER;
    uint32_t n = *bucket < MB__WHEEL_NEAR ? 0 : (*bucket - MB__WHEEL_NEAR) / MB__WHEEL_FAR + 1;
    struct level level = level_at(n);
    uint64_t before = w->tick >> level.shift & ~(uint64_t)(level.slots - 1);
    return (before | (*bucket - level.first)) << level.shift;
}

/* Puts all entries of |bucket| in again, nearer by now; their order stays. */
static void cascade(struct mb__wheel *w, uint32_t bucket)
{
    uint32_t n = w->bucket[bucket].head;
    w->bucket[bucket] = (struct mb__wheel_bucket){0, 0};
    mark(w, bucket, false);
    while (n != 0) {
        struct mb__wheel_chunk row = *chunk_at(w, n);
        mb__pool_give(&w->chunks, n);
        for (uint32_t i = 0; i < row.used; i++)
            __builtin_prefetch(link_of(w, row.slot[i]), 1);
        for (uint32_t i = 0; i < row.used; i++)
            if (row.slot[i] != 0)
                append(w, row.slot[i], link_of(w, row.slot[i]));
        n = row.next;
    }
}

/* ---- what is due ---- */

static uint64_t rank_of(const struct mb__wheel *w, uint32_t n)
{
    uint64_t rank;
    memcpy(&rank, (const uint8_t *)mb__pool_at(w->pool, n) + w->rank, sizeof rank);
    return rank;
}

static int by_rank(const void *a, const void *b)
{
    const struct mb__wheel_due *x = a, *y = b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Sorts |n| entries by rank: few as a rule, and not far from sorted. */
static void sort_due(struct mb__wheel_due *due, uint32_t n)
{
    if (n > FEW) {
        qsort(due, n, sizeof *due, by_rank);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        struct mb__wheel_due one = due[i];
        uint32_t at = i;
        for (; at > 0 && due[at - 1].rank > one.rank; at--)
            due[at] = due[at - 1];
        due[at] = one;
    }
}

/* Moves what waits in |bucket|, whose tick has come, to the row of what is due. */
static void gather(struct mb__wheel *w, uint32_t bucket)
{
    uint32_t n = w->bucket[bucket].head, count = 0;
    w->bucket[bucket] = (struct mb__wheel_bucket){0, 0};
    mark(w, bucket, false);
    while (n != 0) {
        const struct mb__wheel_chunk *c = chunk_at(w, n);
        for (uint32_t i = 0; i < c->used; i++) {
            if (c->slot[i] == 0)
                continue;
            mb__pool_prefetch(w->pool, c->slot[i]);
            w->due[count++].slot = c->slot[i];
        }
        uint32_t next = c->next;
        mb__pool_give(&w->chunks, n);
        n = next;
    }
    if (w->rank != MB__WHEEL_FIFO) {
        for (uint32_t i = 0; i < count; i++)
            w->due[i].rank = rank_of(w, w->due[i].slot);
        sort_due(w->due, count);
    }
    for (uint32_t i = 0; i < count; i++)
        *link_of(w, w->due[i].slot) = (struct mb__wheel_link){.chunk = DUE, .tick = i};
    w->due_at = 0;
    w->due_end = count;
    if (count > w->due_most)
        w->due_most = count;
}

/* Takes the next of those that are due out; 0: there is none left. */
static uint32_t take_due(struct mb__wheel *w)
{
    while (w->due_at < w->due_end) {
        uint32_t n = w->due[w->due_at++].slot;
        if (n == 0)
            continue;
        memset(link_of(w, n), 0, sizeof(struct mb__wheel_link));
        w->count--;
        return n;
    }
    return 0;
}

uint32_t mb__wheel_next(struct mb__wheel *w, int64_t now)
{
    uint32_t n = take_due(w), bucket;
    if (n != 0)
        return n;
    uint64_t tick;
    while ((tick = next_bucket(w, &bucket)) <= tick_of(now)) {
        w->tick = tick;
        if (bucket >= MB__WHEEL_NEAR) {
            cascade(w, bucket);
            continue;
        }
        gather(w, bucket);
        return take_due(w);
    }
    if (tick_of(now) > w->tick)
        w->tick = tick_of(now);
    w->next_ts = tick_ts(tick);
    w->ahead = bucket < MB__WHEEL_NEAR ? w->bucket[bucket].head : 0;
    __builtin_prefetch(chunk_at(w, w->ahead));
    return 0;
}
