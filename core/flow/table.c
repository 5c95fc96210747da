/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- linear hashing over a pool of flows, age lists and idle times */
#include "flow/table.h"

#include <string.h>

#include "base/reserve.h"

#define FIRST_ROUND 256       /* buckets at the start */
#define FLOWS_PER_BUCKET 4    /* on average, before one is split: 16 bytes a flow, one in 20 overflows */
#define ROW_BUCKETS 17        /* at most, for one hash: 119 flows. Unseen unless somebody knows the hash key */
#define ENDING_AHEAD 4        /* how many flows before its end a flow's bucket is fetched */
#define VICTIM_CANDIDATES 8   /* how many of the oldest settled flows are compared */

_Static_assert(sizeof(struct mb__wheel_link) == 3 * sizeof(uint32_t), "the wheel's link takes three numbers");

static struct mb_flow *at(const struct mb__flows *t, uint32_t n)
{
    return n == 0 ? NULL : mb__pool_at(&t->pool, n);
}

static uint32_t number(const struct mb__flows *t, const struct mb_flow *flow)
{
    return mb__pool_number(&t->pool, flow);
}

static uint32_t power_of_two_above(uint32_t n)
{
    uint32_t power = FIRST_ROUND;
    while (power < n)
        power *= 2;
    return power;
}

int mb__flows_init(struct mb__flows *t, const struct mb_config *config, size_t extra)
{
    memset(t, 0, sizeof *t);
    int err = mb__pool_init(&t->pool, sizeof(struct mb_flow) + extra, config->max_flows);
    if (err != 0)
        return err;
    size_t buckets = 2 * (size_t)power_of_two_above(config->max_flows / FLOWS_PER_BUCKET);
    t->buckets_reserved = buckets * sizeof *t->buckets;
    t->buckets = mb__reserve(t->buckets_reserved);
    size_t link = offsetof(struct mb_flow, link) + MB__LINK_WHEEL * sizeof(uint32_t);
    if (t->buckets == NULL || mb__pool_init(&t->overflow, sizeof *t->buckets, config->max_flows) != 0 ||
        mb__wheel_init(&t->wheel, &t->pool, link, offsetof(struct mb_flow, id)) != 0) {
        mb__flows_fini(t);
        return MB_ENOMEM;
    }
    t->round = FIRST_ROUND;
    t->key_vlan = config->key_vlan;
    t->key_tunnel = config->key_tunnel;
    t->timeout[MB__TIMER_TCP_SYN] = config->timeout_tcp_syn;
    t->timeout[MB__TIMER_TCP] = config->timeout_tcp;
    t->timeout[MB__TIMER_TCP_HALF] = config->timeout_tcp_half;
    t->timeout[MB__TIMER_TCP_CLOSED] = config->timeout_tcp_closed;
    t->timeout[MB__TIMER_TCP_RESET] = config->timeout_tcp_reset;
    t->timeout[MB__TIMER_UDP] = config->timeout_udp;
    t->timeout[MB__TIMER_ICMP] = config->timeout_icmp;
    t->timeout[MB__TIMER_IP] = config->timeout_ip;
    return 0;
}

void mb__flows_fini(struct mb__flows *t)
{
    mb__release(t->buckets, t->buckets_reserved);
    mb__wheel_fini(&t->wheel);
    mb__pool_fini(&t->overflow);
    mb__pool_fini(&t->pool);
    memset(t, 0, sizeof *t);
}

/* ---- buckets ------------------------------------------------------------- */

/* Whether the row of bucket |b| takes no more flows. */
static bool row_is_full(const struct mb__flows *t, const struct mb__bucket *b)
{
    int full = 0;
    for (; b != NULL && b->count == MB__BUCKET_FLOWS; b = mb__bucket_more(t, b))
        full++;
    return full == ROW_BUCKETS;
}

/* Puts a flow into bucket |b| or one of its overflow. False: the row is full, or
 * there is no memory. */
static bool bucket_add(struct mb__flows *t, struct mb__bucket *b, uint32_t hash, uint32_t flow)
{
    int full = 0;
    for (struct mb__bucket *more; b->count == MB__BUCKET_FLOWS; b = more) {
        if (++full == ROW_BUCKETS)
            return false;
        more = mb__bucket_more(t, b);
        if (more != NULL)
            continue;
        uint32_t n = mb__pool_take(&t->overflow);
        if (n == 0)
            return false;
        b->more = n;
        more = mb__pool_at(&t->overflow, n);
    }
    b->hash[b->count] = hash;
    b->flow[b->count++] = flow;
    return true;
}

/* Gives up the last bucket of |first|'s row if it is empty; |before| is the one
 * in front of it. */
static void drop_empty(struct mb__flows *t, struct mb__bucket *before, struct mb__bucket *last)
{
    if (before == NULL || last->count > 0)
        return;
    mb__pool_give(&t->overflow, before->more);
    before->more = 0;
}

/* Takes a flow out of the row of bucket |b|: the last one of the row comes in
 * its place, so that only the last bucket is not full. */
static void bucket_del(struct mb__flows *t, struct mb__bucket *b, uint32_t flow)
{
    struct mb__bucket *before = NULL, *last = b, *in = NULL;
    uint32_t at = 0;
    for (;; before = last, last = mb__bucket_more(t, last)) {
        uint32_t places = in == NULL ? mb__bucket_places(last, last->flow, flow) : 0;
        if (places != 0) {
            in = last;
            at = (uint32_t)__builtin_ctz(places);
        }
        if (last->more == 0)
            break;
    }
    if (in == NULL)
        return;
    last->count--;
    in->hash[at] = last->hash[last->count];
    in->flow[at] = last->flow[last->count];
    drop_empty(t, before, last);
}

/* Moves the flows of bucket |split| that belong to its new twin there. Needs at
 * most one overflow bucket more than the row had, while the old one is held. */
static void split_bucket(struct mb__flows *t)
{
    struct mb__bucket *from = &t->buckets[t->split], *to = &t->buckets[t->split + t->round];
    struct mb__bucket row = *from;
    from->count = from->more = 0;
    for (uint32_t n = 0;;) {
        for (uint32_t i = 0; i < row.count; i++)
            bucket_add(t, row.hash[i] & t->round ? to : from, row.hash[i], row.flow[i]);
        if (n != 0)
            mb__pool_give(&t->overflow, n);
        n = row.more;
        if (n == 0)
            break;
        row = *(struct mb__bucket *)mb__pool_at(&t->overflow, n);
    }
    if (++t->split == t->round) {
        t->round *= 2;
        t->split = 0;
    }
}

static void grow(struct mb__flows *t)
{
    size_t buckets = (size_t)t->round + t->split;
    if (buckets * FLOWS_PER_BUCKET < t->pool.used && (buckets + 1) * sizeof *t->buckets <= t->buckets_reserved)
        split_bucket(t);
}

/* ---- age lists ----------------------------------------------------------- */

static bool is_settled(const struct mb_flow *flow)
{
    return flow->end[MB_CLIENT].flags & MB_SIDE_SETTLED;
}

static struct mb__flow_list *list_of(struct mb__flows *t, const struct mb_flow *flow)
{
    return is_settled(flow) ? &t->settled : &t->beginning;
}

static void list_append(struct mb__flows *t, struct mb__flow_list *list, struct mb_flow *flow, uint32_t n)
{
    flow->link[MB__LINK_OLDER] = list->newest;
    flow->link[MB__LINK_NEWER] = 0;
    if (list->newest != 0)
        at(t, list->newest)->link[MB__LINK_NEWER] = n;
    else
        list->oldest = n;
    list->newest = n;
}

static void list_remove(struct mb__flows *t, struct mb__flow_list *list, struct mb_flow *flow)
{
    uint32_t older = flow->link[MB__LINK_OLDER], newer = flow->link[MB__LINK_NEWER];
    if (older != 0)
        at(t, older)->link[MB__LINK_NEWER] = newer;
    else
        list->oldest = newer;
    if (newer != 0)
        at(t, newer)->link[MB__LINK_OLDER] = older;
    else
        list->newest = older;
}

void mb__flows_settle(struct mb__flows *t, struct mb_flow *flow)
{
    if (is_settled(flow))
        return;
    list_remove(t, &t->beginning, flow);
    flow->end[MB_CLIENT].flags |= MB_SIDE_SETTLED;
    flow->end[MB_SERVER].flags |= MB_SIDE_SETTLED;
    list_append(t, &t->settled, flow, number(t, flow));
}

/* The idlest of the oldest few; those that it is compared with go to the young
 * end, so that each call looks at others: an approximation of least recently
 * used that costs nothing until the table is full. */
static struct mb_flow *idlest_settled(struct mb__flows *t)
{
    struct mb_flow *idlest = at(t, t->settled.oldest);
    for (int i = 0; i < VICTIM_CANDIDATES && idlest != NULL; i++) {
        struct mb_flow *flow = at(t, t->settled.oldest);
        if (flow->last_ts < idlest->last_ts)
            idlest = flow;
        list_remove(t, &t->settled, flow);
        list_append(t, &t->settled, flow, number(t, flow));
    }
    return idlest;
}

/* The idlest of the row of |b| that has not settled, or else the idlest. */
static struct mb_flow *idlest_of_row(const struct mb__flows *t, const struct mb__bucket *b)
{
    struct mb_flow *idlest = at(t, b->flow[0]);
    for (; b != NULL; b = mb__bucket_more(t, b)) {
        for (uint32_t i = 0; i < b->count; i++) {
            struct mb_flow *flow = at(t, b->flow[i]);
            int more = is_settled(flow) - is_settled(idlest);
            if (more < 0 || (more == 0 && flow->last_ts < idlest->last_ts))
                idlest = flow;
        }
    }
    return idlest;
}

struct mb_flow *mb__flows_victim(struct mb__flows *t, uint32_t hash)
{
    const struct mb__bucket *b = mb__flows_bucket(t, hash);
    if (row_is_full(t, b))
        return idlest_of_row(t, b);
    struct mb_flow *flow = at(t, t->beginning.oldest);
    return flow != NULL ? flow : idlest_settled(t);
}

/* ---- life and death ------------------------------------------------------- */

static void fill_key(struct mb_flow *flow, const struct mb_packet *p, int side)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    from->addr = p->src;
    from->port = p->sport;
    to->addr = p->dst;
    to->port = p->dport;
    flow->hash = p->hash;
    flow->tunnel_id = p->tunnel_id;
    flow->vlan = p->vlans > 0 ? p->vlan[0] : 0;
    flow->ip_proto = p->ip_proto;
    flow->ip_version = p->flags & MB_PKT_IPV6 ? 6 : 4;
}

struct mb_flow *mb__flows_add(struct mb__flows *t, const struct mb_packet *p, int side)
{
    uint32_t n = mb__pool_take(&t->pool);
    if (n == 0)
        return NULL;
    struct mb_flow *flow = mb__pool_at(&t->pool, n);
    fill_key(flow, p, side);
    flow->first_ts = flow->last_ts = p->ts;
    if (side == MB_SERVER)
        flow->flags |= MB_FLOW_SWAPPED;
    grow(t);
    if (!bucket_add(t, mb__flows_bucket(t, flow->hash), flow->hash, n)) {
        flow->ip_version = 0;
        mb__pool_give(&t->pool, n);
        return NULL;
    }
    list_append(t, &t->beginning, flow, n);
    *mb__flows_recent_of(t, flow->hash) = (struct mb__recent){flow->hash, n};
    return flow;
}

void mb__flows_fetch(struct mb__flows *t, uint32_t hash)
{
    struct mb__recent *recent = mb__flows_recent_of(t, hash);
    *recent = (struct mb__recent){hash, 0};
    for (const struct mb__bucket *b = mb__flows_bucket(t, hash); b != NULL; b = mb__bucket_more(t, b)) {
        uint32_t places = mb__bucket_places(b, b->hash, hash);
        if (places == 0)
            continue;
        recent->slot = b->flow[__builtin_ctz(places)];
        mb__pool_prefetch(&t->pool, recent->slot);
        return;
    }
}

void mb__flows_del(struct mb__flows *t, struct mb_flow *flow)
{
    uint32_t n = number(t, flow);
    struct mb__recent *recent = mb__flows_recent_of(t, flow->hash);
    if (recent->slot == n)
        recent->slot = 0;
    bucket_del(t, mb__flows_bucket(t, flow->hash), n);
    list_remove(t, list_of(t, flow), flow);
    mb__wheel_del(&t->wheel, n);
    flow->ip_version = 0; /* tells mb__flows_each() that the slot is empty */
    mb__pool_give(&t->pool, n);
}

void mb__flows_start_timer(struct mb__flows *t, struct mb_flow *flow, enum mb__timer_kind kind, int64_t now)
{
    uint32_t n = number(t, flow);
    flow->timer_kind = (uint8_t)kind;
    mb__wheel_del(&t->wheel, n);
    mb__wheel_add(&t->wheel, n, now + t->timeout[kind], now);
}

/* While a flow ends, the bucket of one that soon follows is fetched into the
 * cache; with the first of a tick, of all up to that one. The wheel has fetched the flows. */
__attribute__((always_inline)) static inline void prefetch_next(const struct mb__flows *t)
{
    for (uint32_t skip = mb__wheel_begins(&t->wheel) ? 0 : ENDING_AHEAD - 1; skip < ENDING_AHEAD; skip++) {
        const struct mb_flow *flow = mb__pool_at(&t->pool, mb__wheel_peek(&t->wheel, skip));
        mb__flows_prefetch_bucket(t, flow->hash);
    }
}

struct mb_flow *mb__flows_expired(struct mb__flows *t, int64_t now)
{
    uint32_t n;
    while ((n = mb__wheel_next(&t->wheel, now)) != 0) {
        struct mb_flow *flow = mb__pool_at(&t->pool, n);
        prefetch_next(t);
        int64_t deadline = flow->last_ts + t->timeout[flow->timer_kind];
        if (deadline <= now)
            return flow;
        mb__wheel_add(&t->wheel, n, deadline, now);
    }
    return NULL;
}

struct mb_flow *mb__flows_each(const struct mb__flows *t, const struct mb_flow *after)
{
    uint32_t n = after == NULL ? 0 : number(t, after);
    while (++n <= t->pool.touched) {
        struct mb_flow *flow = mb__pool_at(&t->pool, n);
        if (flow->ip_version != 0)
            return flow;
    }
    return NULL;
}

size_t mb__flows_cost(size_t extra)
{
    size_t bucket = 2 * sizeof(struct mb__bucket) / FLOWS_PER_BUCKET; /* half of it for overflow */
    size_t wheel = 2 * sizeof(struct mb__wheel_chunk) / MB__WHEEL_CHUNK;
    size_t due = 2 * sizeof(struct mb__wheel_due); /* with what sorting them takes */
    size_t ending = 2 * sizeof(void *);
    return sizeof(struct mb_flow) + extra + bucket + wheel + due + ending;
}

uint64_t mb__flows_memory(const struct mb__flows *t)
{
    uint64_t buckets = (uint64_t)t->round + t->split + t->overflow.used;
    return (uint64_t)t->pool.used * t->pool.stride + buckets * sizeof *t->buckets + mb__wheel_memory(&t->wheel);
}
