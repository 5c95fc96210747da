/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel -- where an entry waits, and which bucket is next */
#include "base/wheel.h"

#include <string.h>

#define NEAR_BITS 13
#define FAR_BITS 8
#define BEYOND (MB__WHEEL_BUCKETS - 1) /* the bucket past all levels */
#define ALL_BITS (NEAR_BITS + (MB__WHEEL_LEVELS - 1) * FAR_BITS)
#define LAST_TICK ((uint64_t)INT64_MAX >> MB__WHEEL_SHIFT)
#define NEVER UINT64_MAX

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

/* Puts slot |n|, whose link holds its tick, at the end of its bucket. */
static void append(struct mb__wheel *w, uint32_t n, struct mb__wheel_link *l)
{
    uint32_t at;
    int64_t ts = tick_ts(bucket_of(w->tick, link_tick(l), &at));
    struct mb__wheel_bucket *b = &w->bucket[at];
    l->bucket = (uint16_t)(at + 1);
    l->next = 0;
    l->prev = b->tail;
    if (b->tail != 0)
        link_of(w, b->tail)->next = n;
    else
        b->head = n;
    b->tail = n;
    mark(w, at, true);
    if (ts < w->next_ts)
        w->next_ts = ts;
}

void mb__wheel_init(struct mb__wheel *w, const struct mb__pool *pool, size_t link, size_t rank)
{
    memset(w, 0, sizeof *w);
    w->pool = pool;
    w->link = link;
    w->rank = rank;
    w->sorted = NEVER;
    w->next_ts = INT64_MAX;
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
    if (l->bucket == 0)
        return;
    struct mb__wheel_bucket *b = &w->bucket[l->bucket - 1];
    if (l->prev != 0)
        link_of(w, l->prev)->next = l->next;
    else
        b->head = l->next;
    if (l->next != 0)
        link_of(w, l->next)->prev = l->prev;
    else
        b->tail = l->prev;
    if (b->head == 0)
        mark(w, l->bucket - 1u, false);
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
        struct mb__wheel_link *l = link_of(w, n);
        uint32_t next = l->next;
        append(w, n, l);
        n = next;
    }
}

/* ---- the order within a tick ---- */

static uint64_t rank_of(const struct mb__wheel *w, uint32_t n)
{
    uint64_t rank;
    memcpy(&rank, (const uint8_t *)mb__pool_at(w->pool, n) + w->rank, sizeof rank);
    return rank;
}

/* Two sorted lists as one; only the links forward are right. */
static uint32_t merge(const struct mb__wheel *w, uint32_t a, uint32_t b)
{
    uint32_t head = 0, *end = &head;
    while (a != 0 && b != 0) {
        uint32_t *least = rank_of(w, b) < rank_of(w, a) ? &b : &a;
        *end = *least;
        end = &link_of(w, *least)->next;
        *least = *end;
    }
    *end = a != 0 ? a : b;
    return head;
}

/* Merge sort of the list at |head|: run[i] is sorted and 2^i entries long. */
static uint32_t sort_list(const struct mb__wheel *w, uint32_t head)
{
    uint32_t run[32] = {0}, sorted = 0;
    while (head != 0) {
        uint32_t one = head;
        head = link_of(w, one)->next;
        link_of(w, one)->next = 0;
        int i = 0;
        for (; run[i] != 0; i++) {
            one = merge(w, run[i], one);
            run[i] = 0;
        }
        run[i] = one;
    }
    for (int i = 0; i < 32; i++)
        sorted = merge(w, run[i], sorted);
    return sorted;
}

/* Puts the bucket that is about to fire in the order of ranks. Nothing is added
 * to it from now on. */
static void sort_bucket(struct mb__wheel *w, struct mb__wheel_bucket *b)
{
    if (b->head == b->tail)
        return;
    b->head = sort_list(w, b->head);
    uint32_t before = 0;
    for (uint32_t n = b->head; n != 0; n = link_of(w, n)->next) {
        link_of(w, n)->prev = before;
        before = n;
    }
    b->tail = before;
}

uint32_t mb__wheel_next(struct mb__wheel *w, int64_t now)
{
    uint32_t bucket;
    uint64_t tick;
    while ((tick = next_bucket(w, &bucket)) <= tick_of(now)) {
        w->tick = tick;
        if (bucket < MB__WHEEL_NEAR) {
            if (w->rank != MB__WHEEL_FIFO && tick != w->sorted)
                sort_bucket(w, &w->bucket[bucket]);
            w->sorted = tick;
            uint32_t n = w->bucket[bucket].head;
            mb__wheel_del(w, n);
            return n;
        }
        cascade(w, bucket);
    }
    if (tick_of(now) > w->tick)
        w->tick = tick_of(now);
    w->next_ts = tick_ts(tick);
    return 0;
}
