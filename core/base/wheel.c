/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel -- where an entry waits, and which bucket is next */
#include "base/wheel.h"

#include <string.h>

#define SLOT_BITS 8
#define BEYOND (MB__WHEEL_LEVELS * MB__WHEEL_SLOTS) /* the bucket past all levels */
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

/* First tick of the bucket that |tick| waits in, seen from |clock|; its
 * number goes to |bucket|. */
static uint64_t bucket_of(uint64_t clock, uint64_t tick, uint32_t *bucket)
{
    uint64_t differs = clock ^ tick;
    uint32_t level = differs == 0 ? 0 : (uint32_t)(63 - __builtin_clzll(differs)) / SLOT_BITS;
    if (level >= MB__WHEEL_LEVELS)
        level = MB__WHEEL_LEVELS;
    uint32_t shift = level * SLOT_BITS;
    uint32_t index = level < MB__WHEEL_LEVELS ? tick >> shift & (MB__WHEEL_SLOTS - 1) : 0;
    *bucket = level * MB__WHEEL_SLOTS + index;
    return tick >> shift << shift;
}

static void mark(struct mb__wheel *w, uint32_t bucket, bool filled)
{
    if (bucket == BEYOND)
        return;
    uint64_t *word = &w->filled[bucket / MB__WHEEL_SLOTS][bucket % MB__WHEEL_SLOTS / 64];
    uint64_t bit = (uint64_t)1 << bucket % 64;
    *word = filled ? *word | bit : *word & ~bit;
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

void mb__wheel_init(struct mb__wheel *w, const struct mb__pool *pool, size_t link)
{
    memset(w, 0, sizeof *w);
    w->pool = pool;
    w->link = link;
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

/* The lowest filled bucket of |level|, -1 if none. */
static int first_filled(const struct mb__wheel *w, uint32_t level)
{
    for (int i = 0; i < MB__WHEEL_SLOTS / 64; i++)
        if (w->filled[level][i] != 0)
            return i * 64 + __builtin_ctzll(w->filled[level][i]);
    return -1;
}

/* The next filled bucket and the tick at which it is due; NEVER if the wheel
 * is empty. Lower levels lie nearer than higher ones. */
static uint64_t next_bucket(const struct mb__wheel *w, uint32_t *bucket)
{
    for (uint32_t level = 0; level < MB__WHEEL_LEVELS; level++) {
        int index = first_filled(w, level);
        if (index < 0)
            continue;
        uint32_t shift = level * SLOT_BITS;
        *bucket = level * MB__WHEEL_SLOTS + (uint32_t)index;
        return (w->tick >> shift & ~(uint64_t)(MB__WHEEL_SLOTS - 1)) << shift | (uint64_t)index << shift;
    }
    *bucket = BEYOND;
    return w->bucket[BEYOND].head != 0 ? ((w->tick >> 32) + 1) << 32 : NEVER;
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

uint32_t mb__wheel_next(struct mb__wheel *w, int64_t now)
{
    uint32_t bucket;
    uint64_t tick;
    while ((tick = next_bucket(w, &bucket)) <= tick_of(now)) {
        w->tick = tick;
        if (bucket < MB__WHEEL_SLOTS) {
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
