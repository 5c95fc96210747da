/* SPDX-License-Identifier: BSD-3-Clause */
/* decoder -- frames into packets, layer by layer: the walk that knows all of them */

#include "packet/fields.h"
#include "packet/walk.h"

typedef enum mb__layer (*layer_fn)(struct mb__walk *w);

/* By enum mb__layer. */
static const layer_fn layers[MB__LAYER_COUNT] = {
    [MB__LAYER_ETHERNET] = mb__ethernet,
    [MB__LAYER_VLAN] = mb__vlan,
    [MB__LAYER_LLC] = mb__llc,
    [MB__LAYER_MPLS] = mb__mpls,
    [MB__LAYER_PPPOE] = mb__pppoe,
    [MB__LAYER_PPP] = mb__ppp,
    [MB__LAYER_SLL] = mb__sll,
    [MB__LAYER_SLL2] = mb__sll2,
    [MB__LAYER_NULL] = mb__null,
    [MB__LAYER_80211] = mb__80211,
    [MB__LAYER_RADIOTAP] = mb__radiotap,
    [MB__LAYER_FABRICPATH] = mb__fabricpath,
    [MB__LAYER_VNTAG] = mb__vntag,
    [MB__LAYER_PBB] = mb__pbb,
    [MB__LAYER_NSH] = mb__nsh,
    [MB__LAYER_IP] = mb__ip,
    [MB__LAYER_IPV4] = mb__ipv4,
    [MB__LAYER_IPV6] = mb__ipv6,
    [MB__LAYER_TRANSPORT] = mb__transport,
};

struct mb__decoder *mb__decoder_new(const struct mb_config *config, const struct mb__hash_key *key,
                                    struct mb__memory *memory, struct mb_stats *stats)
{
    struct mb__decoder *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    *d = (struct mb__decoder){.config = config, .key = key, .stats = stats, .tick = -1};
    d->defrag = mb__defrag_new(config, key, memory, stats);
    if (d->defrag == NULL) {
        free(d);
        return NULL;
    }
    return d;
}

void mb__decoder_hops(struct mb__decoder *d, const struct mb__prefixes *hops, uint8_t farthest)
{
    d->hops = hops;
    if (farthest > d->farthest)
        d->farthest = farthest;
}

void mb__decoder_free(struct mb__decoder *d)
{
    if (d == NULL)
        return;
    mb__defrag_free(d->defrag);
    free(d);
}

void mb__decoder_share(struct mb__decoder *d, struct mb_stats *common)
{
    d->common = common;
    mb__defrag_count_in(d->defrag, common);
}

void mb__decoder_release(struct mb__decoder *d)
{
    mb__defrag_release(d->defrag);
}

void mb__decoder_finish(struct mb__decoder *d)
{
    mb__defrag_finish(d->defrag);
}

void mb__decoder_expire(struct mb__decoder *d, int64_t now)
{
    mb__defrag_expire(d->defrag, now);
}

/* ---- the walk ------------------------------------------------------------ */

#define BAD_SUMS (MB_PKT_BAD_IP_SUM | MB_PKT_BAD_L4_SUM)

/* What was odd about the outer packet is not lost with it. */
static void inherit_anomalies(struct mb_packet *inner, const struct mb_packet *outer)
{
    inner->anomalies |= outer->anomalies;
    inner->flags |= outer->flags & BAD_SUMS;
    if (outer->anomaly != MB_ANOMALY_NONE)
        inner->anomaly = outer->anomaly;
}

/* Takes the packets that a tunnel's inside replaces, and those without IP, out
 * of the row. How many are left. */
static int settle(struct mb__walk *w)
{
    while (w->at > 0 && (w->out[w->at].flags & MB_PKT_IP) == 0) {
        bool odd = w->out[w->at].anomalies != 0;
        w->at--;
        if (odd && (w->udp_tunnels >> w->at & 1) == 0)
            mb__odd(&w->out[w->at], MB_ANOMALY_TUNNEL_BAD);
    }
    int n = 0;
    for (uint32_t i = 0; i < w->at; i++) {
        if ((w->udp_tunnels >> i & 1) == 0) {
            inherit_anomalies(&w->out[i + 1], &w->out[i]);
            continue;
        }
        w->out[i].flags |= MB_PKT_HAS_INNER;
        if ((uint32_t)n != i)
            w->out[n] = w->out[i];
        n++;
    }
    if ((uint32_t)n != w->at)
        w->out[n] = w->out[w->at];
    return n + 1;
}

/* Looks at the checksums if so configured. A bad IPv4 header sum was noted. */
static void verify(const struct mb__decoder *d, struct mb_packet *p)
{
    if (d->config->checksums == MB_CHECKSUMS_VERIFY && (p->flags & MB_PKT_L4) && !mb__checksums_good(p)
        && (p->flags & MB_PKT_BAD_L4_SUM))
        mb__odd(p, MB_ANOMALY_L4_SUM);
}

static void count(struct mb_stats *s, const struct mb_packet *p)
{
    for (uint64_t left = p->anomalies; left != 0; left &= left - 1)
        s->anomalies[__builtin_ctzll(left)]++;
    if ((p->flags & MB_PKT_IP) == 0) {
        s->non_ip++;
        return;
    }
    s->packets_ip++;
    if (p->flags & MB_PKT_FRAGMENT)
        return;
    switch (p->ip_proto) {
    case MB__PROTO_TCP:
        s->packets_tcp++;
        break;
    case MB__PROTO_UDP:
        s->packets_udp++;
        break;
    case MB__PROTO_ICMP:
    case MB__PROTO_ICMPV6:
        s->packets_icmp++;
        break;
    default:
        s->packets_other++;
    }
}

/* Walks from |layer| to the end of the headers. The packets it gave. */
static int walk(struct mb__walk *w, enum mb__layer layer)
{
    for (int step = 0; layer != MB__LAYER_END; step++)
        layer = step < MB__MAX_STEPS ? layers[layer](w) : mb__broken(w, MB_ANOMALY_TUNNEL_DEPTH);
    int n = settle(w);
    for (int i = 0; i < n; i++) {
        verify(w->d, &w->out[i]);
        count(w->d->stats, &w->out[i]);
    }
    for (int i = 1; i < n; i++) /* a host that drops the outer packet drops the inner one with it */
        w->out[i].flags |= w->out[i - 1].flags & BAD_SUMS;
    return n;
}

/* Notes on a packet that was counted already. */
static void odd_afterwards(struct mb__decoder *d, struct mb_packet *p, enum mb_anomaly why)
{
    mb__odd(p, why);
    d->stats->anomalies[why]++;
}

/* The parts of an 802.11 aggregate after the first, as far as there is room
 * for them, behind the |n| packets of the frame so far. How many there are now. */
static int walk_parts(struct mb__walk *w, int n, const struct mb_frame *frame, uint64_t number, int link)
{
    struct mb_packet *first = w->out;
    while (mb__cursor_left(&w->parts) > 0) {
        struct mb_packet *p = &first[n];
        if ((uint32_t)n + w->d->config->max_tunnels >= MB__MAX_LAYERS) {
            odd_afterwards(w->d, p - 1, MB_ANOMALY_TUNNEL_DEPTH);
            break;
        }
        mb__packet_begin(p, frame, number, link);
        p->flags = first->flags & MB_PKT_TUNNELLED;
        p->tunnels = first->tunnels;
        *w = (struct mb__walk){.d = w->d, .parts = w->parts, .p = p, .out = p};
        enum mb__layer layer = mb__80211_part(w);
        if (layer == MB__LAYER_END) {
            if (p->anomaly != MB_ANOMALY_NONE)
                odd_afterwards(w->d, p - 1, p->anomaly);
            break;
        }
        n += walk(w, layer);
    }
    return n;
}

int mb__decode_walk(struct mb__decoder *d, int link, const struct mb_frame *frame, uint64_t number,
                    struct mb_packet *out)
{
    mb__packet_begin(out, frame, number, link);
    struct mb__walk w = {
        .d = d,
        .c = mb__cursor(frame->data, frame->caplen),
        .missing = frame->wirelen > frame->caplen ? frame->wirelen - frame->caplen : 0,
        .p = out,
        .out = out,
    };
    enum mb__layer layer = mb__layer_of_link(link);
    if (layer == MB__LAYER_END)
        mb__odd(out, MB_ANOMALY_LINK_UNKNOWN);
    int n = walk(&w, layer);
    return mb__cursor_left(&w.parts) > 0 ? walk_parts(&w, n, frame, number, link) : n;
}

#define HELD (60 * INT64_C(1000000000)) /* ns that a time may be early without a clock having been set back */

int64_t mb__mend_odd(int64_t ts, int64_t now, int64_t *lag)
{
    if (ts > MB__LATEST)
        return MB__LATEST;
    if (ts < 0)
        ts = 0;
    if (now - ts <= HELD)
        return now;
    if (now - (ts + *lag) > HELD)
        *lag = now - ts;
    ts += *lag;
    return ts > MB__LATEST ? MB__LATEST : ts < now ? now : ts;
}

int64_t mb__decoder_now(const struct mb__decoder *d, int64_t *lag)
{
    *lag = d->lag;
    return d->now;
}
