/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_decode -- any frames, of any link type, leave every offset inside its buffer
 *
 * Input: a byte of options, then frames: link type, 16 bits of length, a byte
 * of time to the next one, bytes. Two decoders see the same frames, one in bursts
 * and one as a worker does, and must say the same; what a frame shows to workers
 * without being decoded must be so; an Ethernet frame's IPv4 datagram must look the
 * same as a frame of its own (the decoder's short way against its long one).
 */
#include <assert.h>
#include <stdlib.h>

#include "packet/segment.h"
#include "packet/shard.h"

static const int links[] = {1, 0, 9, 12, 50, 51, 101, 105, 108, 113, 127, 228, 229, 276, 147};

#define LINKS (sizeof links / sizeof links[0])

#define TICK_SHIFT 20 /* a tick for lists is 2^this ns; any will do */

/* One decoder and what it said last. */
struct run {
    struct mb_config config;
    struct mb__hash_key key;
    struct mb__memory memory;
    struct mb_stats stats;
    struct mb__decoder *decoder;
    struct mb__burst burst;
    struct mb_packet *out; /* what is in the burst */
    int n;
    uint64_t frames; /* as a worker */
};

typedef void (*decode_fn)(struct run *r, int link, const struct mb_frame *frame);

static void start(struct run *r, uint8_t options)
{
    memset(r, 0, sizeof *r);
    r->out = r->burst.packet;
    r->config.decap = options & 1 ? MB_TUNNEL_DEFAULT : options;
    r->config.max_tunnels = options >> 5;
    r->config.max_fragments = 1 + (options & 6);
    r->config.timeout_fragment = 1000;
    r->config.overlap = options >> 3 & 1;
    r->config.checksums = options >> 4 & 1;
    r->config.key_vlan = r->config.key_tunnel = options >> 7;
    r->memory.limit = options & 8 ? 1 << 20 : 4096;
    mb__hash_key_init(&r->key, 7);
    r->decoder = mb__decoder_new(&r->config, &r->key, &r->memory, &r->stats);
    assert(r->decoder != NULL);
    mb__decoder_share(r->decoder, &r->stats);
}

static void stop(struct run *r)
{
    mb__decoder_free(r->decoder);
    assert(r->memory.used == 0);
}

static volatile unsigned sink; /* keeps the reads of touch() */

/* Reads each byte, so that ASan sees whether it may be read. */
static void touch(const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sink += b[i];
}

static void check_packet(const struct mb_packet *p, const struct mb_frame *frame)
{
    assert(p->frame == frame->data && p->frame_len == frame->caplen);
    assert((p->anomaly == 0) == (p->anomalies == 0));
    assert(p->anomaly == 0 || (p->anomalies >> p->anomaly & 1));
    assert(p->vlans <= 2);
    if ((p->flags & MB_PKT_IP) == 0) {
        assert(!mb__packet_has_flow(p));
        return;
    }
    if ((p->flags & MB_PKT_REASSEMBLED) == 0)
        assert(p->net == frame->data + p->net_off && p->net_off + (uint64_t)p->net_len <= frame->caplen);
    touch(p->net, p->net_len);
    assert(p->net_len <= p->ip_len);
    assert(((p->flags & MB_PKT_TRUNCATED) != 0) == (p->net_len < p->ip_len));
    assert(p->l4_off <= p->net_len && p->payload_off >= p->l4_off);
    assert(p->payload_len == 0 || p->payload_off + (uint64_t)p->payload_len <= p->net_len);
    assert(p->payload_off <= p->net_len || (p->flags & MB_PKT_TRUNCATED));
    if (p->flags & MB_PKT_FRAGMENT)
        assert(!mb__packet_has_flow(p));
}

static void check_readers(struct mb_packet *p)
{
    uint32_t tsval = 0, tsecr = 0;
    if ((p->flags & MB_PKT_L4) && p->ip_proto == 6) {
        struct mb__tcp_options o;
        mb__tcp_options_read(p, &o);
        assert(o.sack_count <= 4 && o.wscale <= 14);
        assert(mb__tcp_timestamps(p, &tsval, &tsecr) || !o.has_ts);
    }
    bool good = mb__checksums_good(p);
    assert(good == mb__checksums_good(p));
}

/* Whether two packets say the same, wherever their datagrams lie. */
static bool same(const struct mb_packet *a, const struct mb_packet *b)
{
    struct mb_packet x = *a, y = *b;
    if (x.net_len != y.net_len || memcmp(x.net, y.net, x.flags & MB_PKT_IP ? x.net_len : 0) != 0)
        return false;
    x.net = y.net = NULL;
    return memcmp(&x, &y, sizeof x) == 0;
}

/* What an ICMP error quotes is of the same IP version, and no fragment's rest. */
static void check_quote(const struct run *r, const struct mb_packet *p)
{
    struct mb_packet quoted;
    struct mb_icmp_error error;
    if (!mb__icmp_quote(p, &r->config, &r->key, &quoted, &error))
        return;
    assert(p->payload_len >= (p->flags & MB_PKT_IPV6 ? 40 : 20));
    assert(mb_addr_is_v4(&quoted.src) || p->flags & MB_PKT_IPV6);
    assert(error.type == p->icmp_type && (error.seq == 0 || quoted.ip_proto == 6));
}

static void in_bursts(struct run *r, int link, const struct mb_frame *frame)
{
    assert(mb__decode_burst(r->decoder, link, frame, 1, 0, false, &r->burst) == 1);
    assert(r->burst.packets[0] == r->burst.total);
}

static uint64_t end_of(const struct mb_addr *a, uint16_t port)
{
    uint32_t v4;
    memcpy(&v4, a->byte + 12, sizeof v4);
    return mb__v4_end(v4, port);
}

/* What is listed of a brief frame is what its packet says. */
static void check_brief(const struct mb__listed *listed, const struct mb_packet *p)
{
    const struct mb__brief_at at = mb__brief_in_list(listed);
    const struct mb__segment s = mb__brief_segment(&at, p->ts), wanted = mb__segment_of(p);
    const struct mb__ends ends = mb__brief_ends(&at);
    uint32_t tsval, tsecr;
    assert(s.seq == wanted.seq && s.ack == wanted.ack && s.len == wanted.len && s.tsval == wanted.tsval);
    assert(!mb__tcp_timestamps(p, &tsval, &tsecr) || mb__brief_echo(&at) == tsecr);
    assert(s.window == wanted.window && s.flags == wanted.flags && s.stamped == wanted.stamped);
    assert(ends.src == end_of(&p->src, p->sport) && ends.dst == end_of(&p->dst, p->dport));
    assert(mb__flags_advance(s.flags) && listed->frame.ts == p->ts);
}

/* What |listed| says of a frame is what its packets are: all of one worker, who is their owner. */
static void check_listed(const struct mb__shards *shards, const struct mb__listed *listed, const struct run *r)
{
    if (mb__shape_is_brief(listed->shape))
        check_brief(listed, r->out);
    if (listed->owner == MB__SHARD_ALL)
        return;
    assert(r->burst.total == 1);
    if (!mb__packet_has_flow(r->out) || !(r->out->flags & MB_PKT_L4))
        return;
    assert(mb__shard_of_packet(shards, r->out) == listed->owner);
    assert(listed->shape == MB__SHAPE_OTHER || listed->hash == r->out->hash);
}

/* The frame that comes next, as it is in the lists of the workers of |shards|; |*lag|: of its time. */
static struct mb__listed list_frame(const struct run *r, const struct mb__shards *shards, int link,
                                    const struct mb_frame *frame, int64_t *lag)
{
    struct mb__listed listed = {0};
    struct mb__lists lists = {0};
    lists.latest = mb__decoder_now(r->decoder, &lists.lag);
    for (uint32_t worker = 0; worker < shards->count; worker++)
        lists.frame[worker] = &listed;
    assert(mb__list_frames(r->decoder, shards, link, TICK_SHIFT, true, frame, 1, &lists));
    *lag = lists.lag;
    return listed;
}

/* As the only worker, who has to give the same; what it would know of three. */
static void as_a_worker(struct run *r, int link, const struct mb_frame *frame)
{
    struct mb__shards alone = {.count = 1, .config = &r->config, .key = &r->key};
    struct mb__shards three = {.count = 3, .config = &r->config, .key = &r->key};
    int64_t lag;
    const struct mb__listed listed = list_frame(r, &alone, link, frame, &lag);
    const struct mb__listed of_three = list_frame(r, &three, link, frame, &lag);
    mb__decoder_meet(r->decoder, ++r->frames, mb__listed_time(&listed));
    mb__decoder_lag(r->decoder, lag);
    r->burst.total = mb__decode_listed(r->decoder, link, &listed, 0, r->out);
    check_listed(&three, &of_three, r);
}

static void decode_frame(struct run *r, decode_fn decode, int link, const struct mb_frame *frame)
{
    memset(r->out, 0, MB__MAX_LAYERS * sizeof *r->out);
    decode(r, link, frame);
    r->n = r->burst.total;
    assert(r->n >= 1 && r->n <= MB__MAX_LAYERS);
    for (int i = 0; i < r->n; i++) {
        check_packet(&r->out[i], frame);
        assert((r->out[i].flags & MB_PKT_HAS_INNER) == 0 || i < r->n - 1);
        check_quote(r, &r->out[i]);
    }
}

/* The datagram of an Ethernet frame on its own, by the long way: the same but
 * for where it is. Fragments and checksums aside, which have a memory. */
static void check_alone(const struct run *r, const struct mb_frame *frame)
{
    static struct run alone;
    struct mb_frame inner = *frame;
    if (frame->caplen < 14 || mb__be16(frame->data + 12) != 0x0800 || r->config.checksums)
        return;
    if (r->out[0].flags & (MB_PKT_FRAGMENT | MB_PKT_REASSEMBLED))
        return;
    start(&alone, 0);
    alone.config = r->config;
    inner.data += 14;
    inner.caplen -= 14;
    inner.wirelen = inner.wirelen > 14 ? inner.wirelen - 14 : 0;
    decode_frame(&alone, in_bursts, 228, &inner);
    alone.out[0].number = r->out[0].number;
    struct mb_packet ours = r->out[0], *other = &alone.out[0];
    if (((ours.flags | other->flags) & MB_PKT_TUNNELLED) == 0) {
        ours.frame = other->frame;
        ours.frame_len = other->frame_len;
        ours.wire_len = other->wire_len;
        ours.net_off = other->net_off;
        ours.link = other->link;
        assert((ours.flags & MB_PKT_IP) == 0 || same(&ours, other));
    }
    stop(&alone);
}

/* Both decoders on one frame. */
static void check_frame(struct run *a, struct run *b, int link, const struct mb_frame *frame)
{
    decode_frame(a, in_bursts, link, frame);
    decode_frame(b, as_a_worker, link, frame);
    assert(a->n == b->n);
    for (int i = 0; i < a->n; i++)
        assert(same(&a->out[i], &b->out[i]));
    if (link == 1)
        check_alone(a, frame);
    for (int i = 0; i < a->n; i++)
        check_readers(&a->out[i]);
    mb__decoder_release(a->decoder);
    mb__decoder_release(b->decoder);
}

/* Reads the next frame of the input into |frame|, its bytes a copy exactly as
 * long as they are, to be freed. False: there is none. */
static bool next_frame(struct mb__cursor *c, int *link, struct mb_frame *frame)
{
    uint8_t kind, wait;
    uint16_t len;
    if (!mb__cursor_u8(c, &kind) || !mb__cursor_u16(c, &len) || !mb__cursor_u8(c, &wait))
        return false;
    size_t left = mb__cursor_left(c);
    *link = links[kind % LINKS];
    frame->ts += wait;
    frame->wirelen = len;
    frame->caplen = (uint32_t)(left < len ? left : len);
    uint8_t *copy = malloc(frame->caplen > 0 ? frame->caplen : 1);
    assert(copy != NULL);
    if (frame->caplen > 0)
        memcpy(copy, mb__cursor_take(c, frame->caplen), frame->caplen);
    frame->data = copy;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run a, b;
    struct mb__cursor c = mb__cursor(data, size);
    struct mb_frame frame = {0};
    uint8_t options;
    int link;
    if (!mb__cursor_u8(&c, &options))
        return 0;
    start(&a, options);
    start(&b, options);
    while (next_frame(&c, &link, &frame)) {
        check_frame(&a, &b, link, &frame);
        free((void *)frame.data);
    }
    assert(memcmp(&a.stats, &b.stats, sizeof a.stats) == 0);
    stop(&a);
    stop(&b);
    return 0;
}
