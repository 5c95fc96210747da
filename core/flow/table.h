/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- all flows: found by key, expired by time, evicted by age
 *
 *   hash --> heads[] (linear hashing: grows by one bucket at a time)
 *              |
 *              v      next            next
 *            flow 7 -------> flow 123 -----> 0        slots of a pool, by number
 *              |
 *              +-- in the timing wheel, by the idle time of its kind
 *              +-- in one of two age lists, oldest first:
 *                    unanswered: only one side has sent   evicted first
 *                    answered:   both have                then the idlest of these
 *
 * A packet costs two dependent cache misses, bucket and flow; the engine
 * prefetches the first for a whole burst, then of the second the hash, which
 * tells whether to fetch all of it, then looks up.
 * The bucket array is reserved like the pool and touched as it grows: there is
 * no moment at which everything is moved.
 *
 * Invariants: a live flow is in exactly one chain, one age list and the wheel.
 */
#ifndef MB_FLOW_TABLE_H
#define MB_FLOW_TABLE_H

#include "base/pool.h"
#include "base/wheel.h"
#include "mosbox.h"

/* Which idle time applies to a flow: flow->timer_kind. */
enum mb__timer_kind {
    MB__TIMER_TCP_SYN,
    MB__TIMER_TCP,
    MB__TIMER_TCP_HALF,
    MB__TIMER_TCP_CLOSED,
    MB__TIMER_TCP_RESET,
    MB__TIMER_UDP,
    MB__TIMER_ICMP,
    MB__TIMER_IP,
    MB__TIMER_KINDS
};

/* What flow->link[] is used for. */
enum mb__flow_link {
    MB__LINK_CHAIN = 0, /* next flow in the bucket */
    MB__LINK_WHEEL = 1, /* struct mb__wheel_link: four numbers */
    MB__LINK_OLDER = 5,
    MB__LINK_NEWER = 6
};

struct mb__flow_list {
    uint32_t oldest;
    uint32_t newest;
};

struct mb__flows {
    struct mb__pool pool;
    uint32_t *heads;       /* buckets: number of the first flow */
    size_t heads_reserved; /* bytes of address space */
    uint32_t round;        /* buckets at the beginning of this round of splits, a power of two */
    uint32_t split;        /* next bucket to split */
    bool key_vlan;
    bool key_tunnel;
    uint64_t made;         /* flows ever made: the last id */
    struct mb__flow_list unanswered;
    struct mb__flow_list answered;
    int64_t timeout[MB__TIMER_KINDS];
    struct mb__wheel wheel;
};

/* A table for config->max_flows flows, each followed by |extra| bytes for the
 * floors above. 0 or MB_ENOMEM. */
int mb__flows_init(struct mb__flows *t, const struct mb_config *config, size_t extra);
void mb__flows_fini(struct mb__flows *t);

/* The flow of |p| and, in |*side|, who of it sent |p|; NULL if there is none. */
struct mb_flow *mb__flows_find(const struct mb__flows *t, const struct mb_packet *p, int *side);
/* A new flow whose first packet is |p|, sent by |side|. NULL: the table is full. */
struct mb_flow *mb__flows_add(struct mb__flows *t, const struct mb_packet *p, int side);
/* Takes the flow out and gives its slot back. */
void mb__flows_del(struct mb__flows *t, struct mb_flow *flow);
/* Both sides have sent now: the flow leaves the list of unanswered ones. */
void mb__flows_answered(struct mb__flows *t, struct mb_flow *flow);
/* The flow to end when there is no room: the oldest unanswered one, else the
 * idlest among the oldest. NULL: the table is empty. */
struct mb_flow *mb__flows_victim(struct mb__flows *t);
/* Another idle time applies from |now| on. */
void mb__flows_set_timer(struct mb__flows *t, struct mb_flow *flow, enum mb__timer_kind kind, int64_t now);
/* The next flow that has been idle for its time at |now|, taken out of the
 * wheel; NULL when there is no more. */
struct mb_flow *mb__flows_expired(struct mb__flows *t, int64_t now);
/* The live flow with the lowest slot number after |after| (NULL: the first);
 * NULL at the end. Slot order: for sums, not for output. */
struct mb_flow *mb__flows_each(const struct mb__flows *t, const struct mb_flow *after);
/* Bytes in use by flows and their table. */
uint64_t mb__flows_memory(const struct mb__flows *t);

/* The bucket that |hash| falls into. */
static inline uint32_t mb__flows_bucket(const struct mb__flows *t, uint32_t hash)
{
    uint32_t b = hash & (t->round - 1);
    return b < t->split ? hash & (2 * t->round - 1) : b;
}

/* First step of a burst: the bucket will be needed. */
static inline void mb__flows_prefetch_bucket(const struct mb__flows *t, uint32_t hash)
{
    __builtin_prefetch(&t->heads[mb__flows_bucket(t, hash)]);
}

/* |flow| will be needed. */
static inline void mb__flows_prefetch(const struct mb__flows *t, const struct mb_flow *flow)
{
    for (size_t line = 0; line < t->pool.stride; line += 64)
        __builtin_prefetch((const char *)flow + line, 1);
}

/* Second step: the first flow of the bucket will be looked at. */
static inline void mb__flows_prefetch_flow(const struct mb__flows *t, uint32_t hash)
{
    const struct mb_flow *flow = mb__pool_at(&t->pool, t->heads[mb__flows_bucket(t, hash)]);
    __builtin_prefetch(&flow->hash);
}

/* Third step, shortly before: all of that flow if it is the one, else the next. */
static inline void mb__flows_prefetch_match(const struct mb__flows *t, uint32_t hash)
{
    const struct mb_flow *flow = mb__pool_at(&t->pool, t->heads[mb__flows_bucket(t, hash)]);
    if (flow->hash == hash)
        mb__flows_prefetch(t, flow);
    else
        __builtin_prefetch(&((const struct mb_flow *)mb__pool_at(&t->pool, flow->link[MB__LINK_CHAIN]))->hash);
}

#endif
