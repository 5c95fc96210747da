/* SPDX-License-Identifier: BSD-3-Clause */
/* ip -- IPv4 and IPv6 headers, options and extension headers */

#include "packet/fields.h"
#include "packet/walk.h"

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define ETHERNET_MIN 46   /* payload that frames are padded to */
#define MAX_EXTENSIONS 24 /* extension headers of one datagram */

/* IP of whatever version. */
enum mb__layer mb__ip(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 1);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    switch (h[0] >> 4) {
    case 4:
        return MB__LAYER_IPV4;
    case 6:
        return MB__LAYER_IPV6;
    default:
        return mb__broken(w, MB_ANOMALY_LINK_UNKNOWN);
    }
}

/* The datagram at the cursor is |len| bytes long: what the capture holds
 * beyond it is padding, what it does not hold is missing. */
static void begin_datagram(struct mb__walk *w, uint64_t len)
{
    struct mb_packet *p = w->p;
    uint64_t left = mb__cursor_left(&w->c);
    if (len > UINT32_MAX)
        len = UINT32_MAX;
    p->net = w->c.at;
    p->net_off = p->flags & MB_PKT_REASSEMBLED ? 0 : (uint32_t)(w->c.at - p->frame);
    p->ip_len = (uint32_t)len;
    mb__cursor_clip(&w->c, (size_t)len);
    p->net_len = (uint32_t)mb__cursor_left(&w->c);
    w->missing = len > left ? len - left : 0;
    if (w->missing > 0) {
        p->flags |= MB_PKT_TRUNCATED;
        mb__odd(p, MB_ANOMALY_IP_SNAPPED);
    }
}

/* Where the cursor is, from net. */
static uint32_t net_position(const struct mb__walk *w)
{
    return (uint32_t)(w->c.at - w->p->net);
}

/* Nothing more is known than that it is IP. */
static enum mb__layer broken_ip(struct mb__walk *w, enum mb_anomaly why)
{
    w->p->l4_off = w->p->payload_off = net_position(w);
    w->p->payload_len = (uint32_t)mb__cursor_left(&w->c);
    return mb__broken(w, why);
}

/* The lengths that IPv4 options of fixed size have; others 0 (IANA, RFC 791). */
static uint8_t ipv4_option_len(uint8_t kind)
{
    switch (kind) {
    case 136: /* stream id */
    case 148: /* router alert */
        return 4;
    default:
        return 0;
    }
}

/* Whether the |len| bytes of options at |o| can be read to their end. If not,
 * every host drops the datagram (RFC 1122 3.2.1.8). */
static bool ipv4_options_good(const uint8_t *o, uint32_t len)
{
    struct mb__cursor c = mb__cursor(o, len);
    uint8_t kind, size;
    while (mb__cursor_u8(&c, &kind) && kind != 0) {
        if (kind == 1)
            continue;
        if (!mb__cursor_u8(&c, &size) || size < 2 || !mb__cursor_skip(&c, size - 2u))
            return false;
        uint8_t fixed = ipv4_option_len(kind);
        bool route = kind == 7 || kind == 131 || kind == 137; /* record, loose, strict */
        if ((fixed != 0 && size != fixed) || (route && (size < 3 || (size - 3) % 4 != 0)))
            return false;
    }
    return true;
}

/* Whether the checksum of the IPv4 header of |hlen| bytes is right. */
static bool ipv4_sum_good(const uint8_t *h, uint32_t hlen)
{
    uint64_t sum = 0;
    if (hlen == IPV4_HEADER)
        return mb__ipv4_sum_good(h);
    for (uint32_t i = 0; i < hlen; i += 2)
        sum += mb__be16(h + i);
    return mb__sum_is_good(sum);
}

/* Whether a router on the way to its host takes the last of the datagram's TTL
 * (RFC 1812 5.3.1; RFC 8200 3): who knows how far hosts are sends such decoys. */
static bool dies_on_the_way(const struct mb__walk *w)
{
    const struct mb_packet *p = w->p;
    if (p->ttl > w->d->farthest || w->d->hops == NULL)
        return false;
    uint8_t hops = mb__prefixes_of(w->d->hops, &p->dst);
    return hops > 0 && p->ttl <= hops; /* the host itself takes any (RFC 1122 3.2.1.7) */
}

static enum mb__layer lost_ip(struct mb__walk *w)
{
    w->p->flags |= MB_PKT_TTL_LOST;
    return broken_ip(w, MB_ANOMALY_IP_TTL);
}

/* A fragment of an IPv4 datagram; the cursor is behind its header. */
static enum mb__layer ipv4_fragment(struct mb__walk *w, uint16_t field, uint8_t proto)
{
    struct mb__fragment_place place = {
        .id = w->p->ip_id,
        .offset = (field & 0x1fffu) * 8,
        .head = net_position(w),
        .proto = proto,
        .more = field & 0x2000,
    };
    return mb__defrag_add(w, &place);
}

/* IP authentication header (RFC 4302): passed over, what follows is in clear. */
static bool pass_authentication(struct mb__walk *w, uint8_t *proto)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 12);
    if (h == NULL || !mb__cursor_skip(&w->c, (h[1] + 2u) * 4))
        return false;
    *proto = h[0];
    return true;
}

/* IPv4 (RFC 791). Total length 0 is what a sending host's capture shows of
 * segments that the card will cut: the datagram reaches to the frame's end. */
enum mb__layer mb__ipv4(struct mb__walk *w)
{
    struct mb_packet *p = w->p;
    const uint8_t *h = mb__cursor_peek(&w->c, IPV4_HEADER);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_IPV4_TRUNCATED);
    if (h[0] >> 4 != 4)
        return mb__broken(w, MB_ANOMALY_IPV4_VERSION);
    uint32_t hlen = (h[0] & 15u) * 4;
    if (hlen < IPV4_HEADER || hlen > mb__cursor_left(&w->c))
        return mb__broken(w, MB_ANOMALY_IPV4_HLEN);
    uint64_t len = mb__be16(h + 2);
    if (len == 0) {
        mb__odd(p, MB_ANOMALY_IPV4_LEN);
        len = mb__cursor_left(&w->c) + w->missing;
    }
    if (len < hlen)
        return mb__broken(w, MB_ANOMALY_IPV4_LEN);
    begin_datagram(w, len);
    p->flags |= MB_PKT_IP;
    p->tos = h[1];
    p->ip_id = mb__be16(h + 4);
    p->ttl = h[8];
    p->ip_proto = h[9];
    mb__addr_v4(&p->src, h + 12);
    mb__addr_v4(&p->dst, h + 16);
    mb__cursor_skip(&w->c, hlen);
    if (!ipv4_sum_good(h, hlen)) {
        p->flags |= MB_PKT_BAD_IP_SUM;
        mb__odd(p, MB_ANOMALY_IP_SUM);
    }
    if (hlen > IPV4_HEADER && !ipv4_options_good(h + IPV4_HEADER, hlen - IPV4_HEADER))
        return broken_ip(w, MB_ANOMALY_IPV4_OPTIONS);
    if (dies_on_the_way(w))
        return lost_ip(w);
    uint16_t fragment = mb__be16(h + 6) & 0x3fff;
    if (fragment != 0)
        return ipv4_fragment(w, fragment, h[9]);
    if (p->ip_proto == MB__PROTO_AH && !pass_authentication(w, &p->ip_proto))
        return broken_ip(w, MB_ANOMALY_L4_TRUNCATED);
    p->l4_off = net_position(w);
    return MB__LAYER_TRANSPORT;
}

/* Whether the option |kind| of a hop-by-hop or destination header is one that
 * IANA lists. */
static bool ipv6_option_known(uint8_t kind)
{
    switch (kind) {
    case 0x04: /* tunnel encapsulation limit */
    case 0x05: /* router alert */
    case 0x07: /* CALIPSO */
    case 0x08: /* SMF */
    case 0x0f: /* performance and diagnostic metrics */
    case 0x11: /* IOAM */
    case 0x1e: /* experiment */
    case 0x23: /* RPL */
    case 0x26: /* quick-start */
    case 0x30: /* minimum path MTU */
    case 0x31: /* IOAM */
    case 0x63: /* RPL */
    case 0x6d: /* MPL */
    case 0x8a: /* endpoint identification */
    case 0x8b: /* ILNP nonce */
    case 0x8c: /* line identification */
    case 0xc2: /* jumbo payload */
    case 0xc9: /* home address */
    case 0xee: /* IP_DFF */
        return true;
    default:
        return false;
    }
}

/* Options of a hop-by-hop or destination header (RFC 8200 4.2). */
static void ipv6_options(struct mb_packet *p, const uint8_t *o, size_t len)
{
    struct mb__cursor c = mb__cursor(o, len);
    uint8_t kind, size;
    while (mb__cursor_u8(&c, &kind)) {
        if (kind == 0)
            continue;
        if (!mb__cursor_u8(&c, &size) || !mb__cursor_skip(&c, size)) {
            mb__odd(p, MB_ANOMALY_IPV6_EXT);
            return;
        }
        if (kind != 1 && !ipv6_option_known(kind))
            mb__odd(p, MB_ANOMALY_IPV6_OPTION);
    }
}

/* How an extension header chain ended. */
struct ipv6_chain {
    uint8_t proto;       /* what follows it */
    uint32_t patch;      /* where the field is that says so, from net */
    bool whole;          /* read to its end */
    const uint8_t *fragment; /* fragment header of a fragment, already taken */
};

/* The fragment header (RFC 8200 4.5). True: it belongs to a fragment; one that
 * says first and last at once is a whole datagram's (RFC 6946). */
static bool ipv6_is_fragment(struct mb__walk *w, const uint8_t *h, bool *seen)
{
    if (*seen)
        mb__odd(w->p, MB_ANOMALY_IPV6_EXT_DUPLICATE);
    *seen = true;
    w->p->ip_id = mb__be16(h + 6);
    if ((mb__be16(h + 2) & 0xfff9) != 0)
        return true;
    mb__odd(w->p, MB_ANOMALY_FRAG_USELESS);
    return false;
}

/* Whether |proto| is an extension header. */
static bool ipv6_is_extension(uint8_t proto)
{
    static const uint8_t none[2] = {0, 0};
    return mb__ipv6_extension_len(proto, none) != 0;
}

/* Passes the extension headers at the cursor, up to a fragment's. */
static struct ipv6_chain ipv6_extensions(struct mb__walk *w, uint8_t proto)
{
    struct ipv6_chain chain = {.proto = proto, .patch = 6};
    bool fragment_seen = false;
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        if (!ipv6_is_extension(chain.proto)) {
            if (i > 0 && mb__cursor_left(&w->c) == 0 && chain.proto != MB__PROTO_NONE)
                mb__odd(w->p, MB_ANOMALY_IPV6_EXT_TRUNCATED);
            chain.whole = true;
            return chain;
        }
        const uint8_t *h = mb__cursor_peek(&w->c, 8);
        uint32_t len = h == NULL ? 0 : mb__ipv6_extension_len(chain.proto, h);
        uint32_t at = net_position(w);
        if (h == NULL || !mb__cursor_skip(&w->c, len)) {
            mb__odd(w->p, MB_ANOMALY_IPV6_EXT_TRUNCATED);
            return chain;
        }
        if (chain.proto == MB__PROTO_HOPOPTS || chain.proto == MB__PROTO_DSTOPTS)
            ipv6_options(w->p, h + 2, len - 2);
        if (chain.proto == MB__PROTO_FRAGMENT && ipv6_is_fragment(w, h, &fragment_seen)) {
            chain.fragment = h;
            chain.proto = h[0];
            chain.whole = true;
            return chain;
        }
        chain.proto = h[0];
        chain.patch = at;
    }
    mb__odd(w->p, MB_ANOMALY_IPV6_EXT);
    return chain;
}

/* Whether the bytes at |c| reach to the end of a transport header, the extension
 * headers from |proto| on included. */
static bool ipv6_reaches_transport(struct mb__cursor c, uint8_t proto)
{
    for (int i = 0; i < MAX_EXTENSIONS && ipv6_is_extension(proto); i++) {
        const uint8_t *h = mb__cursor_peek(&c, 8);
        if (h == NULL || !mb__cursor_skip(&c, mb__ipv6_extension_len(proto, h)))
            return false;
        proto = h[0];
    }
    bool short_header = proto == MB__PROTO_UDP || proto == MB__PROTO_ICMPV6;
    return mb__cursor_left(&c) >= (proto == MB__PROTO_TCP ? 20u : short_header ? 8u : 1u);
}

/* A fragment of an IPv6 datagram; the cursor is behind its fragment header. The
 * first has all headers up to the transport's, or hosts let go of it (RFC 8200 4.5). */
static enum mb__layer ipv6_fragment(struct mb__walk *w, const struct ipv6_chain *chain)
{
    const uint8_t *h = chain->fragment;
    bool first = (mb__be16(h + 2) & 0xfff8u) == 0;
    if (first && w->missing == 0 && !ipv6_reaches_transport(w->c, chain->proto)) {
        w->p->flags |= MB_PKT_FRAGMENT;
        return broken_ip(w, MB_ANOMALY_L4_TRUNCATED);
    }
    struct mb__fragment_place place = {
        .id = mb__be32(h + 4),
        .offset = mb__be16(h + 2) & 0xfff8u,
        .head = net_position(w) - 8,
        .patch = chain->patch,
        .proto = chain->proto,
        .more = h[3] & 1,
    };
    return mb__defrag_add(w, &place);
}

/* The length of an IPv6 datagram whose payload length field is 0: a
 * jumbogram's (RFC 2675), just the header, or that of a sender's capture of
 * what its card will cut. */
static uint64_t ipv6_zero_len(struct mb__walk *w, const uint8_t *h)
{
    uint64_t room = mb__cursor_left(&w->c) + w->missing;
    if (h[6] == MB__PROTO_NONE || room <= ETHERNET_MIN)
        return IPV6_HEADER;
    const uint8_t *jumbo = mb__cursor_peek(&w->c, IPV6_HEADER + 8);
    if (h[6] == MB__PROTO_HOPOPTS && jumbo != NULL && jumbo[IPV6_HEADER + 2] == 0xc2) {
        uint64_t len = mb__be32(jumbo + IPV6_HEADER + 4);
        if (len > 65535 && len < UINT32_MAX - IPV6_HEADER)
            return IPV6_HEADER + len;
    }
    mb__odd(w->p, MB_ANOMALY_IPV6_LEN);
    return room;
}

/* IPv6 (RFC 8200). */
enum mb__layer mb__ipv6(struct mb__walk *w)
{
    struct mb_packet *p = w->p;
    const uint8_t *h = mb__cursor_peek(&w->c, IPV6_HEADER);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_IPV6_TRUNCATED);
    if (h[0] >> 4 != 6)
        return mb__broken(w, MB_ANOMALY_IPV6_VERSION);
    uint32_t payload = mb__be16(h + 4);
    begin_datagram(w, payload == 0 ? ipv6_zero_len(w, h) : IPV6_HEADER + payload);
    p->flags |= MB_PKT_IP | MB_PKT_IPV6;
    p->tos = (uint8_t)(h[0] << 4 | h[1] >> 4);
    p->ttl = h[7];
    mb__addr_v6(&p->src, h + 8);
    mb__addr_v6(&p->dst, h + 24);
    mb__cursor_skip(&w->c, IPV6_HEADER);
    p->ip_proto = h[6];
    if (dies_on_the_way(w))
        return lost_ip(w);
    struct ipv6_chain chain = ipv6_extensions(w, h[6]);
    p->ip_proto = chain.proto;
    if (!chain.whole)
        return broken_ip(w, MB_ANOMALY_IPV6_EXT);
    if (chain.fragment != NULL)
        return ipv6_fragment(w, &chain);
    p->l4_off = net_position(w);
    return MB__LAYER_TRANSPORT;
}
