/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- all flows: found by key, expired by time, evicted by age
 *
 *   hash --> recent[]       flows whose packets came lately: hash | slot number
 *     |        v
 *     |      flow 7         slots of a pool, by number
 *     |        ^
 *     +----> buckets[], one cache line each (linear hashing: one more at a time)
 *              | 7 hashes | 7 slot numbers | how many | more: an overflow bucket
 *
 *            flow 7
 *              |
 *              +-- in the timing wheel, by the idle time of its kind
 *              +-- in one of two age lists, oldest first:
 *                    beginning: in its handshake,         evicted first
 *                               or one side has sent
 *                    settled:   the others                then the idlest of these
 *
 * What a SYN flood brings about never settles, though the server answers it: the
 * last ACK of a handshake cannot be sent by who does not get the SYN/ACK.
 *
 * Memory that was not looked at for long costs more than all else: a bucket
 * holds the hashes, so that looking up, adding, deleting and growing touch no
 * flow but the one that is meant. The engine fetches the bucket for a whole
 * batch of packets, then the flow, then looks up. Most packets are of a flow that
 * had one a moment ago: these need no bucket, only the few bytes of recent[].
 * The bucket array is reserved like the pool and touched as it grows: there is
 * no moment at which everything is moved.
 *
 * Invariants: a live flow is in exactly one bucket, one age list and the wheel.
 */
#ifndef MB_FLOW_TABLE_H
#define MB_FLOW_TABLE_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/pool.h"
#include "base/wheel.h"
#include "mosbox.h"
#include "packet/segment.h"

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
    MB__LINK_WHEEL = 0, /* struct mb__wheel_link: three numbers */
    MB__LINK_OLDER = 3,
    MB__LINK_NEWER = 4
};

#define MB__BUCKET_FLOWS 7
#define MB__RECENT 1024 /* a power of two; 8 KiB, so that it stays in the cache */

/* What was looked up lately, in the place that its hash gives. It is a hint: to be
 * compared with the flow's key. */
struct mb__recent {
    uint32_t hash;
    uint32_t slot; /* 0: there was no flow */
};

/* One cache line. */
struct mb__bucket {
    uint32_t hash[MB__BUCKET_FLOWS];
    uint32_t flow[MB__BUCKET_FLOWS]; /* slot numbers */
    uint32_t count;
    uint32_t more;                   /* number of the next bucket in the overflow pool; 0: none */
};

struct mb__flow_list {
    uint32_t oldest;
    uint32_t newest;
};

struct mb__flows {
    struct mb__pool pool;
    struct mb__bucket *buckets;
    size_t buckets_reserved;  /* bytes of address space */
    struct mb__pool overflow; /* of buckets */
    uint32_t round;        /* buckets at the beginning of this round of splits, a power of two */
    uint32_t split;        /* next bucket to split */
    bool key_vlan;
    bool key_tunnel;
    struct mb__flow_list beginning;
    struct mb__flow_list settled;
    int64_t timeout[MB__TIMER_KINDS];
    struct mb__wheel wheel;
    struct mb__recent recent[MB__RECENT];
};

/* A table for config->max_flows flows, each followed by |extra| bytes for the
 * floors above. 0 or MB_ENOMEM. */
int mb__flows_init(struct mb__flows *t, const struct mb_config *config, size_t extra);
void mb__flows_fini(struct mb__flows *t);

/* A new flow whose first packet is |p|, sent by |side|. NULL: the table is full,
 * or its row of buckets (bounded, should somebody know the hash key) is. */
struct mb_flow *mb__flows_add(struct mb__flows *t, const struct mb_packet *p, int side);
/* Takes the flow out and gives its slot back. */
void mb__flows_del(struct mb__flows *t, struct mb_flow *flow);
/* Looks up the first flow with |hash|, fetches it into the cache and remembers it, or that
 * there is none, as recent. */
void mb__flows_fetch(struct mb__flows *t, uint32_t hash);
/* The flow is past its beginning: MB_SIDE_SETTLED is set on both sides. */
void mb__flows_settle(struct mb__flows *t, struct mb_flow *flow);
/* The flow to end when there is no room for one of |hash|: the oldest that has
 * not settled, else the idlest among the oldest; one of its row if that is full.
 * NULL: the table is empty. */
struct mb_flow *mb__flows_victim(struct mb__flows *t, uint32_t hash);
/* Puts |flow| into the wheel, for idle time |kind| from |now| on. */
void mb__flows_start_timer(struct mb__flows *t, struct mb_flow *flow, enum mb__timer_kind kind, int64_t now);
/* The next flow that has been idle for its time at |now|, taken out of the
 * wheel; NULL when there is no more. */
struct mb_flow *mb__flows_expired(struct mb__flows *t, int64_t now);
/* The live flow with the lowest slot number after |after| (NULL: the first);
 * NULL at the end. Slot order: for sums, not for output. */
struct mb_flow *mb__flows_each(const struct mb__flows *t, const struct mb_flow *after);
/* Bytes that a flow of |extra| bytes takes, its share of a table and a wheel with
 * as many empty places as filled ones, and of what ending all flows takes, included. */
size_t mb__flows_cost(size_t extra);
/* Bytes in use by flows and their table. */
uint64_t mb__flows_memory(const struct mb__flows *t);

/* Idle time |kind| applies from |now| on. A longer one than before needs no
 * step now: the flow fires too soon and is put in again then. */
static inline void mb__flows_set_timer(struct mb__flows *t, struct mb_flow *flow, enum mb__timer_kind kind,
                                       int64_t now)
{
    if (t->timeout[kind] < t->timeout[flow->timer_kind])
        mb__flows_start_timer(t, flow, kind, now);
    else
        flow->timer_kind = (uint8_t)kind;
}

/* 0 if |end| has this address and port; not a branch, since who of a flow
 * sends next cannot be foretold. */
static inline uint64_t mb__end_differs(const struct mb_endpoint *end, const struct mb_addr *addr, uint16_t port)
{
    uint64_t a[2], b[2];
    memcpy(a, &end->addr, sizeof a);
    memcpy(b, addr, sizeof b);
    return (a[0] ^ b[0]) | (a[1] ^ b[1]) | (uint64_t)(end->port ^ port);
}

/* Who of |flow| sent |p|, or -1 if |p| is another flow's. */
static inline int mb__flow_sender(const struct mb__flows *t, const struct mb_flow *flow, const struct mb_packet *p)
{
    if (flow->ip_proto != p->ip_proto)
        return -1;
    if (t->key_vlan && flow->vlan != (p->vlans > 0 ? p->vlan[0] : 0))
        return -1;
    if (t->key_tunnel && flow->tunnel_id != p->tunnel_id)
        return -1;
    const uint8_t *client = (const uint8_t *)&flow->end[MB_CLIENT], *server = (const uint8_t *)&flow->end[MB_SERVER];
    const size_t by_server = mb__end_differs(&flow->end[MB_CLIENT], &p->src, p->sport) != 0;
    const size_t step = -by_server & sizeof flow->end[0]; /* compilers would multiply an index at each use */
    const struct mb_endpoint *from = (const struct mb_endpoint *)(const void *)(client + step);
    const struct mb_endpoint *to = (const struct mb_endpoint *)(const void *)(server - step);
    uint64_t differs = mb__end_differs(from, &p->src, p->sport) | mb__end_differs(to, &p->dst, p->dport);
    return differs == 0 ? (int)by_server : -1;
}

/* The bucket that |hash| falls into: one bit more of it counts where this round
 * has split. Not a branch, since nobody can foretell one on a hash. */
static inline struct mb__bucket *mb__flows_bucket(const struct mb__flows *t, uint32_t hash)
{
    uint32_t n = hash & (2 * t->round - 1);
    uint32_t not_split = -(uint32_t)(n >= t->round + t->split);
    return &t->buckets[n - (t->round & not_split)];
}

/* The bucket after |b|, NULL if it is the last for its hashes. */
static inline struct mb__bucket *mb__bucket_more(const struct mb__flows *t, const struct mb__bucket *b)
{
    return b->more == 0 ? NULL : mb__pool_at(&t->overflow, b->more);
}

/* The places of bucket |b| whose number in |row|, b->hash or b->flow, is |wanted|, as bits. All are compared,
 * in no more steps than the shortest search: where it would end cannot be foretold. */
static inline uint32_t mb__bucket_places(const struct mb__bucket *b, const uint32_t row[MB__BUCKET_FLOWS],
                                         uint32_t wanted)
{
    uint32_t places = 0;
#ifdef __SSE2__
    const char *all = (const char *)row; /* and the number behind them, which is masked out */
    __m128i one = _mm_set1_epi32((int)wanted);
    __m128i low = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(const void *)all), one);
    __m128i high = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(const void *)(all + 16)), one);
    places = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128()));
#else
    for (uint32_t i = 0; i < MB__BUCKET_FLOWS; i++)
        places |= (uint32_t)(row[i] == wanted) << i;
#endif
    return places & ((1u << b->count) - 1);
}

/* The flow of |p| and, in |*side|, who of it sent |p|; NULL if there is none. */
static inline struct mb_flow *mb__flows_find(const struct mb__flows *t, const struct mb_packet *p, int *side)
{
    for (const struct mb__bucket *b = mb__flows_bucket(t, p->hash); b != NULL; b = mb__bucket_more(t, b)) {
        for (uint32_t places = mb__bucket_places(b, b->hash, p->hash); places != 0; places &= places - 1) {
            struct mb_flow *flow = mb__pool_at(&t->pool, b->flow[__builtin_ctz(places)]);
            if ((*side = mb__flow_sender(t, flow, p)) >= 0)
                return flow;
        }
    }
    return NULL;
}

/* The place of |hash| among the recent. */
static inline struct mb__recent *mb__flows_recent_of(struct mb__flows *t, uint32_t hash)
{
    return &t->recent[hash % MB__RECENT];
}

/* The slot of a recent flow with |hash|; 0: there is none. */
static inline uint32_t mb__flows_recent(const struct mb__flows *t, uint32_t hash)
{
    const struct mb__recent *r = &t->recent[hash % MB__RECENT];
    return r->hash == hash ? r->slot : 0;
}

/* |flow| had a packet. */
static inline void mb__flows_remember(struct mb__flows *t, const struct mb_flow *flow)
{
    *mb__flows_recent_of(t, flow->hash) = (struct mb__recent){flow->hash, mb__pool_number(&t->pool, flow)};
}

/* First step of a batch: the bucket will be needed, unless the flow is recent by then, which
 * those that the batch begins are. Always inline: gcc 12 takes a call of a function
 * that does no more than this for one without effect. */
__attribute__((always_inline)) static inline void mb__flows_prefetch_bucket(const struct mb__flows *t, uint32_t hash)
{
    __builtin_prefetch(mb__flows_bucket(t, hash));
}

/* Second step: the flow will be needed. Where none was found a moment ago, the packet
 * that begins it is about to come. */
static inline void mb__flows_prefetch_flow(struct mb__flows *t, uint32_t hash)
{
    if (mb__flows_recent_of(t, hash)->hash != hash)
        mb__flows_fetch(t, hash);
}

/* Third step: as mb__flows_find(), but looks only among the recent. */
static inline struct mb_flow *mb__flows_recall(const struct mb__flows *t, const struct mb_packet *p, int *side)
{
    struct mb_flow *flow = mb__pool_at(&t->pool, mb__flows_recent(t, p->hash));
    if (flow->ip_version == 0) /* slot 0 too */
        return NULL;
    return (*side = mb__flow_sender(t, flow, p)) >= 0 ? flow : NULL;
}

_Static_assert(offsetof(struct mb_endpoint, port) == offsetof(struct mb_endpoint, addr) + 16 &&
                   sizeof(struct mb_endpoint) >= offsetof(struct mb_endpoint, port) + 4,
               "mb__v4_end_at() reads the port behind the address");

static inline uint64_t mb__end_v4(const struct mb_endpoint *end)
{
    return mb__v4_end_at((const uint8_t *)end + offsetof(struct mb_endpoint, addr) + 12);
}

/* The third step for a brief frame between |ends|, where flow keys are of
 * addresses and ports alone: the flow, and its ends as the frame has them. */
static inline struct mb_flow *mb__flows_recall_brief(const struct mb__flows *t, uint32_t hash,
                                                     const struct mb__ends *ends, struct mb_endpoint **from,
                                                     struct mb_endpoint **to)
{
    struct mb_flow *flow = mb__pool_at(&t->pool, mb__flows_recent(t, hash));
    if (flow->ip_version != 4 || flow->ip_proto != 6) /* slot 0 is neither */
        return NULL;
    uint8_t *client = (uint8_t *)&flow->end[MB_CLIENT], *server = (uint8_t *)&flow->end[MB_SERVER];
    size_t by_server = mb__end_v4(&flow->end[MB_CLIENT]) != ends->src;
    size_t step = -by_server & sizeof flow->end[0]; /* compilers would multiply an index at each use */
    *from = (struct mb_endpoint *)(void *)(client + step);
    *to = (struct mb_endpoint *)(void *)(server - step);
    return ((mb__end_v4(*from) ^ ends->src) | (mb__end_v4(*to) ^ ends->dst)) == 0 ? flow : NULL;
}

#endif
