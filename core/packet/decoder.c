/* SPDX-License-Identifier: BSD-3-Clause */
/* decoder -- frames into packets: the short way for most, the walk for all */

#include "packet/fields.h"
#include "packet/segment.h"
#include "packet/shard.h"
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

#define CLOCK_SHIFT 30 /* fragments are looked through about once a second */

/* ---- the short way ------------------------------------------------------- */

#define SHORT_IP MB__BRIEF_IP
#define SHORT_L4 MB__BRIEF_TCP

/* Bytes of the TCP header at |l4| if it has no options, or timestamps as all
 * systems lay them out, or the options of most SYNs, nothing odd, and fits into
 * |room|; otherwise 0. */
static inline uint32_t short_tcp(const uint8_t *l4, uint32_t room)
{
    uint32_t hlen = (l4[12] >> 4) * 4u;
    if (mb__tcp_flags_odd(l4[13]))
        return 0;
    if (hlen == 20)
        return hlen;
    if (room < hlen)
        return 0;
    bool syn = hlen == 20 + MB__TCP_SYN_OPTIONS && mb__tcp_linux_syn(l4 + 20);
    return syn || mb__tcp_timestamps_only(l4, hlen) ? hlen : 0;
}

/* Bytes of the UDP header at |l4| if its length fits |room| exactly and its
 * ports are no tunnel's; otherwise 0. */
static inline uint32_t short_udp(const uint8_t *l4, uint32_t room)
{
    bool tunnel = mb__udp_tunnel_port(mb__be16(l4)) || mb__udp_tunnel_port(mb__be16(l4 + 2));
    return mb__be16(l4 + 4) == room && !tunnel ? 8 : 0;
}

/* Decodes the packets that make up nearly all traffic in one go, writing each
 * field once. False: not such a packet, nothing was done. The walk gives the
 * same result for each plain frame that this accepts; a test compares them. Counting
 * is the caller's, who may do that for many at once, and so is the flow's hash, which
 * may be known. */
__attribute__((always_inline)) static inline bool decode_short(const struct mb_frame *frame, int64_t ts,
                                                               uint64_t number, uint8_t source,
                                                               struct mb_packet *p)
{
    const uint8_t *b = frame->data;
    const uint8_t *ip = b + SHORT_IP, *l4 = b + SHORT_L4;
    uint32_t len = mb__be16(ip + 2), room = len - 20;
    bool tcp = ip[9] == MB__PROTO_TCP;
    uint32_t hlen = tcp ? short_tcp(l4, room) : ip[9] == MB__PROTO_UDP ? short_udp(l4, room) : 0;
    if (hlen == 0)
        return false;
    p->ts = ts;
    p->frame = b;
    p->net = ip;
    p->number = number;
    p->anomalies = 0;
    p->frame_len = frame->caplen;
    p->wire_len = frame->wirelen;
    p->net_len = p->ip_len = len;
    p->l4_off = 20;
    p->payload_off = 20 + hlen;
    p->payload_len = room - hlen;
    p->flags = MB_PKT_IP | MB_PKT_L4;
    p->tunnel_id = 0;
    mb__addr_v4(&p->src, ip + 12);
    mb__addr_v4(&p->dst, ip + 16);
    p->net_off = SHORT_IP;
    p->vlan[0] = p->vlan[1] = 0;
    p->link = MB__LINK_ETHERNET;
    p->vlans = p->tunnels = 0;
    p->icmp_type = p->icmp_code = 0;
    p->anomaly = MB_ANOMALY_NONE;
    p->source = source;
    p->ip_id = mb__be16(ip + 4);
    p->ip_proto = ip[9];
    p->ttl = ip[8];
    p->tos = ip[1];
    if (tcp)
        mb__tcp_fields(p, l4);
    else
        mb__udp_fields(p, l4);
    return true;
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

/* Decodes any frame, layer by layer. Not inline: the short way would pay for
 * its stack. */
__attribute__((noinline)) static int decode_walk(struct mb__decoder *d, int link,
                                                const struct mb_frame *frame, uint64_t number,
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

/* Whether the short way is open: it knows one link type and no checksums. */
static bool goes_short(const struct mb__decoder *d, int link)
{
    return link == MB__LINK_ETHERNET && d->config->checksums == MB_CHECKSUMS_IGNORE;
}

static inline bool is_plain(const struct mb__decoder *d, const struct mb_frame *frame)
{
    return mb__frame_is_plain(frame->data, frame->caplen) && frame->data[SHORT_IP + 8] > d->farthest;
}

/* |packets| went the short way, |tcp| of them TCP. */
static void count_short(struct mb_stats *s, uint64_t packets, uint64_t tcp)
{
    s->packets_ip += packets;
    s->packets_tcp += tcp;
    s->packets_udp += packets - tcp;
}

/* ---- bursts --------------------------------------------------------------- */

/* The time of a frame after one of |now|, made never to go backward nor beyond MB__LATEST. */
static inline int64_t mend(int64_t ts, int64_t now)
{
    return ts > MB__LATEST ? MB__LATEST : ts < now ? now : ts;
}

/* The clock shows |ts|: fragments that waited too long by then are let go. */
static inline void clock_to(struct mb__decoder *d, int64_t ts)
{
    d->now = ts;
    if (ts >> CLOCK_SHIFT != d->tick) {
        d->tick = ts >> CLOCK_SHIFT;
        mb__decoder_expire(d, ts);
    }
}

/* The flow hash of a plain frame, as mb__packet_hash() gives it for its packet. */
static inline uint32_t plain_hash(const struct mb__decoder *d, const uint8_t *b)
{
    return mb__shard_hash_v4(d->key, b + SHORT_IP + 12, b[SHORT_IP + 9]);
}

void mb__decode_brief(const struct mb__decoder *d, const struct mb_frame *frame, int64_t ts, uint64_t number,
                      uint8_t source, struct mb_packet *out)
{
    decode_short(frame, ts, number, source, out);
    out->hash = plain_hash(d, frame->data);
}

/* The last time up to which there is nothing to mend, nor fragments to look through. */
static int64_t unmended_until(const struct mb__decoder *d)
{
    return d->tick < MB__LATEST >> CLOCK_SHIFT ? ((d->tick + 1) << CLOCK_SHIFT) - 1 : MB__LATEST;
}

/* Decodes a frame that is not plain, or whose transport is not, into |p| and on. */
static int decode_other(struct mb__decoder *d, int link, const struct mb_frame *frame, uint8_t source,
                        struct mb_packet *p, uint32_t *hash)
{
    int count = decode_walk(d, link, frame, d->frames, p);
    for (int i = 0; i < count; i++) {
        p[i].source = source;
        hash[i] = p[i].hash;
    }
    return count;
}

int mb__decode_burst(struct mb__decoder *d, int link, const struct mb_frame *frames, int n, uint8_t source,
                     bool leave_brief, struct mb__burst *burst)
{
    const bool may_be_short = goes_short(d, link);
    int64_t until = unmended_until(d);
    int done = 0, at = 0, others = 0, udp = 0;
    for (; done < n && at + MB__MAX_LAYERS <= MB__BATCH; done++) {
        struct mb_packet *p = &burst->packet[at];
        const struct mb_frame *frame = &frames[done];
        int64_t ts = frame->ts;
        d->frames++;
        if (ts >= d->now && ts <= until) {
            d->now = ts;
        } else {
            d->stats->backward_time += ts < d->now;
            ts = mend(ts, d->now);
            clock_to(d, ts);
            until = unmended_until(d);
        }
        burst->ts[done] = ts;
        burst->packets[done] = 1;
        bool plain = may_be_short && is_plain(d, frame);
        if (plain && leave_brief && mb__frame_is_brief(frame->data)) {
            burst->packets[done] = 0;
            burst->hash[at++] = plain_hash(d, frame->data);
        } else if (plain && decode_short(frame, ts, d->frames, source, p)) {
            burst->hash[at++] = p->hash = mb__packet_hash(p, d->config, d->key);
            udp += p->ip_proto == MB__PROTO_UDP;
        } else {
            struct mb_frame other = *frame;
            other.ts = ts;
            burst->packets[done] = (uint8_t)decode_other(d, link, &other, source, p, &burst->hash[at]);
            at += burst->packets[done];
            others++;
        }
    }
    count_short(d->stats, (uint64_t)(done - others), (uint64_t)(done - others - udp));
    burst->first = d->frames - (uint64_t)done + 1;
    burst->total = at;
    return done;
}

int64_t mb__decoder_now(const struct mb__decoder *d)
{
    return d->now;
}

/* ---- one of several workers ------------------------------------------------ */

/* What a frame shows of itself: struct mb__listed. */
struct seen {
    uint32_t hash;
    uint8_t owner;
    uint8_t shape;
};

/* |may_be_short|: the short way is open to frames of this link type. */
static inline struct seen look_at(const struct mb__decoder *d, const struct mb__shards *shards, int link,
                                  bool may_be_short, const struct mb_frame *frame)
{
    const uint8_t *b = frame->data;
    if (!may_be_short || !is_plain(d, frame) || !mb__shard_plain(b[SHORT_IP + 9], b + SHORT_L4))
        return (struct seen){0, mb__shard_of_frame(shards, link, frame), MB__SHAPE_OTHER};
    uint32_t hash = plain_hash(d, b);
    return (struct seen){hash, mb__shard_of_hash(shards, hash),
                         mb__frame_is_brief(b) ? MB__SHAPE_BRIEF : MB__SHAPE_PLAIN};
}

/* Lists |frame|. Each field once: a copy of the whole would have to wait until the
 * smaller ones are written. */
static inline void list_frame(struct mb__listed *out, const struct mb_frame *frame, int64_t before, uint32_t place,
                              struct seen seen)
{
    out->frame.ts = frame->ts;
    out->frame.data = frame->data;
    out->frame.caplen = frame->caplen;
    out->frame.wirelen = frame->wirelen;
    out->before = before;
    out->hash = seen.hash;
    out->place = (uint16_t)place;
    out->owner = seen.owner;
    out->shape = seen.shape;
}

#define LISTED_AHEAD 16 /* entries of a list fetched before they are written: another worker has read them */

static bool has_room(const struct mb__lists *lists, uint32_t workers, uint32_t n)
{
    bool room = lists->total + n <= UINT16_MAX;
    for (uint32_t i = 0; i < workers; i++)
        room &= lists->count[i] + n <= MB__LIST_FRAMES;
    return room;
}

bool mb__list_frames(const struct mb__decoder *d, const struct mb__shards *shards, int link, int tick_shift,
                     const struct mb_frame *frames, uint32_t n, struct mb__lists *lists)
{
    const bool may_be_short = goes_short(d, link);
    const uint32_t workers = shards->count;
    struct mb__listed *next[MB_WORKERS_MAX]; /* the ends of the lists */
    int64_t before = lists->latest;
    if (!has_room(lists, workers, n))
        return false;
    for (uint32_t i = 0; i < workers; i++)
        next[i] = lists->frame[i] + lists->count[i];
    for (uint32_t i = 0; i < n; i++) {
        const int64_t ts = mend(frames[i].ts, before);
        const struct seen seen = look_at(d, shards, link, may_be_short, &frames[i]);
        if (seen.owner != MB__SHARD_ALL && ts >> tick_shift == before >> tick_shift) {
            __builtin_prefetch(next[seen.owner] + LISTED_AHEAD, 1);
            list_frame(next[seen.owner]++, &frames[i], before, lists->total + i, seen);
        } else {
            for (uint32_t worker = 0; worker < workers; worker++)
                list_frame(next[worker]++, &frames[i], before, lists->total + i, seen);
        }
        before = ts;
    }
    for (uint32_t i = 0; i < workers; i++)
        lists->count[i] = (uint32_t)(next[i] - lists->frame[i]);
    lists->total += n;
    lists->latest = before;
    return true;
}

void mb__list_all(const struct mb__decoder *d, const struct mb__shards *shards, int link,
                  const struct mb_frame *frames, uint32_t n, struct mb__listed *list)
{
    int64_t now = d->now;
    for (uint32_t i = 0; i < n; i++) {
        list_frame(&list[i], &frames[i], now, i, look_at(d, shards, link, goes_short(d, link), &frames[i]));
        now = mend(frames[i].ts, now);
    }
}

/* A frame that all workers decode, and one of them counts. */
static uint32_t decode_common(struct mb__decoder *d, int link, const struct mb_frame *frame, struct mb_packet *out)
{
    struct mb_stats *own = d->stats;
    d->stats = d->common;
    int count = decode_walk(d, link, frame, d->frames, out);
    d->stats = own;
    return (uint32_t)count;
}

/* Decodes a listed frame by the long way, as far as it is this worker's (|own|) or
 * everybody's, into the places of |burst| from |at| on. How many packets. */
__attribute__((noinline)) static uint32_t decode_listed(struct mb__decoder *d, bool own, int link,
                                                        const struct mb__portion *p, uint8_t source,
                                                        struct mb__burst *burst, int at)
{
    struct mb_packet *out = &burst->packet[at];
    struct mb_frame frame = p->listed->frame;
    uint32_t packets = 0;
    frame.ts = p->ts;
    if (p->listed->owner == MB__SHARD_ALL)
        packets = decode_common(d, link, &frame, out);
    else if (own)
        packets = (uint32_t)decode_walk(d, link, &frame, d->frames, out);
    for (uint32_t i = 0; i < packets; i++) {
        out[i].source = source;
        burst->hash[at + (int)i] = out[i].hash;
    }
    return packets;
}

/* Decodes a frame of this worker the short way, if that is open to it. */
static inline bool decode_own(const struct mb__portion *p, uint64_t number, uint8_t source, struct mb_packet *out)
{
    if (p->listed->shape == MB__SHAPE_OTHER || !decode_short(&p->listed->frame, p->ts, number, source, out))
        return false;
    out->hash = p->listed->hash;
    return true;
}

/* Whether a worker has something to do with a listed frame of time |ts|: it is its own
 * or everybody's, or begins a tick. */
static inline bool concerns(const struct mb__listed *p, int64_t ts, uint32_t own, int tick_shift)
{
    return p->owner == own || p->owner == MB__SHARD_ALL || ts >> tick_shift != p->before >> tick_shift;
}

uint32_t mb__decode_stretch(struct mb__decoder *d, const struct mb__shards *shards, int tick_shift,
                            const struct mb__stretch *stretch, uint8_t source, bool leave_brief,
                            struct mb__burst *burst, struct mb__portion *portions, int *count)
{
    const struct mb__listed *p = stretch->listed, *end = p + stretch->count;
    const uint64_t before = d->frames;
    uint64_t shorts = 0, tcp = 0;
    int64_t now = d->now;
    uint32_t done = 0;
    int found = 0, at = 0;
    for (; p < end && at + MB__MAX_LAYERS <= MB__BATCH && found < MB_BURST; p++) {
        uint32_t frame = p->place - stretch->first;
        int64_t ts = mend(p->frame.ts, p->before);
        if (ts >> CLOCK_SHIFT != d->tick) { /* seldom */
            now = p->before;
            done = frame;
            if (found > 0) /* fragments may be looked through when those are done */
                break;
            clock_to(d, ts);
        }
        now = ts;
        done = frame + 1;
        if (!concerns(p, ts, shards->own, tick_shift))
            continue;
        struct mb__portion *portion = &portions[found++];
        const bool own = p->owner == shards->own;
        *portion = (struct mb__portion){p, ts, frame, 1, own && leave_brief && p->shape == MB__SHAPE_BRIEF};
        if (portion->brief || (own && decode_own(portion, before + done, source, &burst->packet[at]))) {
            burst->hash[at] = p->hash;
            shorts++;
            tcp += portion->brief || burst->packet[at].ip_proto == MB__PROTO_TCP;
        } else {
            d->now = now;
            d->frames = before + done;
            portion->packets = decode_listed(d, own, stretch->link, portion, source, burst, at);
        }
        at += (int)portion->packets;
    }
    count_short(d->stats, shorts, tcp);
    if (p == end && done < stretch->frames) { /* the others' frames behind it */
        now = stretch->latest;
        done = stretch->frames;
    }
    d->now = now;
    d->frames = before + done;
    burst->first = before + 1;
    burst->total = at;
    *count = found;
    return done;
}
