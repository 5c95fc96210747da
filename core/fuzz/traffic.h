/* SPDX-License-Identifier: BSD-3-Clause */
/* traffic -- fuzz input becomes a capture of a few conversations, every field of which may be bent
 *
 *   act --> TCP segment, datagram --> IP --> frame
 *                                     |  ^
 *                                  the last --> again, in fragments, in a tunnel, quoted by an ICMP error
 *
 * An input's bytes choose what each packet does (enum act). Payload is keyed: a
 * function of its sequence number, so that whatever is delivered can be judged byte
 * by byte; or, by option, snippets of protocols, for the parsers. No act parts a
 * byte from its number, whatever it bends, quotes, cuts up or wraps; what could is
 * junk that speaks for one of the hosts, and of that there is none where payload is keyed.
 */
#ifndef MB_TRAFFIC_H
#define MB_TRAFFIC_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "mosbox.h"

#define CONVERSATIONS 4
#define MAX_FRAMES 300
#define MAX_BODY 600
#define MAX_OPTIONS 40
#define MAX_DATAGRAM 1000 /* in tunnels */
#define TUNNEL 70         /* bytes that one takes, IPv6 header included, at most */
#define LINK_RAW 101
#define LINK_ETHERNET 1
#define MS 1000000LL

enum act {
    ACT_DATA, /* the next bytes of a side */
    ACT_OPEN, /* a step of the handshake */
    ACT_BENT, /* a segment with every field moved off its place */
    ACT_CLOSE,
    ACT_DATAGRAM,
    ACT_WAIT,
    ACT_FRAGMENTS, /* the last datagram again, in fragments */
    ACT_JUNK,      /* a frame of input bytes */
    ACT_STYLE,     /* from here on, and by option: how a side's segments look */
    ACT_ICMP_ERROR, /* quotes the last datagram */
    ACT_TUNNEL,    /* the last datagram again, in a tunnel */
    ACT_AGAIN,     /* the last datagram again */
};

/* What the segments of a side bring along. */
enum style_flag {
    STYLE_MSS = 1,            /* in a SYN; likewise: */
    STYLE_WSCALE = 2,
    STYLE_SACK_PERMITTED = 4,
    STYLE_COOKIE = 8,         /* TCP Fast Open */
    STYLE_TIMESTAMPS = 16,
    STYLE_SACK = 32,          /* in all but SYNs; likewise: */
    STYLE_URGENT = 64,
};

struct style {
    uint8_t flags;   /* of enum style_flag */
    int8_t late;     /* its timestamps are so many times 10 ms before their time; low bits: shift, SACK blocks */
    uint16_t window;
};

struct conversation {
    uint32_t next[2]; /* sequence number each side sends next */
    struct style style[2];
};

struct traffic {
    struct conversation conversation[CONVERSATIONS];
    struct mb__cursor in;
    bool keyed; /* payload is a function of the sequence number */
    bool wide;  /* the acts from ACT_STYLE on may come */
    int link;   /* of the capture; of one in Ethernet, frames that are not IP would be other ones */
    bool ip;    /* so there are none */
    int64_t ts;
    unsigned frames;
    uint8_t *pcap;
    size_t len, room;
    uint8_t last[MAX_DATAGRAM]; /* the last datagram */
    size_t last_len;
    unsigned ip_id; /* of all datagrams: no fragment joins another's */
};

static uint8_t next_byte(struct traffic *t)
{
    uint8_t b = 0;
    mb__cursor_u8(&t->in, &b);
    return b;
}

/* The byte that has sequence number |seq|, whoever sends it. */
static uint8_t keyed_byte(uint32_t seq)
{
    return (uint8_t)(seq * 31 + (seq >> 8) * 17 + 3);
}

/* ---- packets ------------------------------------------------------------------ */

static void put(struct traffic *t, const void *bytes, size_t len)
{
    if (t->len + len > t->room) {
        t->room = 2 * (t->len + len);
        t->pcap = realloc(t->pcap, t->room);
        assert(t->pcap != NULL);
    }
    memcpy(t->pcap + t->len, bytes, len);
    t->len += len;
}

static void put_frame(struct traffic *t, const uint8_t *frame, size_t len)
{
    if (t->frames++ >= MAX_FRAMES)
        return;
    uint32_t head[4] = {(uint32_t)(t->ts / 1000000000), (uint32_t)(t->ts % 1000000000), (uint32_t)len, (uint32_t)len};
    put(t, head, sizeof head);
    put(t, frame, len);
}

/* Fills in the sum of the IPv4 header at |h|, without which no packet goes the short way. */
static void put_sum(uint8_t *h)
{
    uint32_t sum = 0;
    mb__put_be16(h + 10, 0);
    for (int i = 0; i < 20; i += 2)
        sum += mb__be16(h + i);
    sum = (sum & 0xffff) + (sum >> 16);
    mb__put_be16(h + 10, (uint16_t)~(sum + (sum >> 16)));
}

/* How the addresses of both hosts begin; the last byte is 1 or 9. */
static const uint8_t net_v4[3] = {10}, net_v6[15] = {0xfd};

/* Header and |len| bytes of |body| as one datagram of conversation |c|. The
 * odd conversations speak IPv6. */
static void put_ip(struct traffic *t, int c, int side, uint8_t proto, const uint8_t *body, size_t len)
{
    uint8_t *b = t->last;
    size_t head = c & 1 ? 40 : 20, address = c & 1 ? 16 : 4;
    memset(b, 0, head);
    if (c & 1) {
        b[0] = 0x60;
        mb__put_be16(b + 4, (uint16_t)len);
        b[6] = proto;
        b[7] = 64;
    } else {
        b[0] = 0x45;
        mb__put_be16(b + 2, (uint16_t)(20 + len));
        mb__put_be16(b + 4, (uint16_t)++t->ip_id);
        b[8] = 64;
        b[9] = proto;
    }
    for (int i = 0; i < 2; i++) {
        uint8_t *end = b + head - (2 - (size_t)i) * address;
        memcpy(end, c & 1 ? net_v6 : net_v4, address - 1);
        end[address - 1] = side == i ? 1 : 9;
    }
    if (!(c & 1))
        put_sum(b);
    memcpy(b + head, body, len);
    t->last_len = head + len;
    put_frame(t, b, t->last_len);
}

/* Payload of |len| bytes whose first has sequence number |seq|. */
static void fill(struct traffic *t, uint8_t *b, size_t len, uint32_t seq)
{
    static const char *const snippets[] = {
        "GET /a HTTP/1.1\r\nHost: x.example\r\n\r\n",
        "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "SSH-2.0-x\r\n",
        "\x16\3\1\0\x2e\1\0\0\x2a\3\3" "0123456789abcdef0123456789abcdef" "\0\0\2\x13\1\1",
        "\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1",
    };
    if (t->keyed) {
        for (size_t i = 0; i < len; i++)
            b[i] = keyed_byte(seq + (uint32_t)i);
        return;
    }
    const char *text = snippets[len % 6];
    size_t part = strlen(text) < len ? strlen(text) : len;
    memset(b, 'x', len);
    memcpy(b, text, part);
    if (len > 250 && mb__cursor_left(&t->in) >= 32)
        memcpy(b + len - 32, mb__cursor_take(&t->in, 32), 32);
}

/* The option |value| of a header's options |b| to |at|, with NOPs before it so that it ends a word; behind it. */
static uint8_t *put_option(const uint8_t *b, uint8_t *at, uint8_t kind, const void *value, size_t len)
{
    size_t nops = -((size_t)(at - b) + len + 2) & 3;
    memset(at, 1, nops);
    at += nops;
    at[0] = kind;
    at[1] = (uint8_t)(len + 2);
    memcpy(at + 2, value, len);
    return at + 2 + len;
}

/* What is said of bytes that came out of order or, before |ack|, twice (RFC 2883). */
static uint8_t *put_sack(const uint8_t *b, uint8_t *at, const struct style *s, uint32_t ack)
{
    uint8_t v[16];
    uint32_t begin = ack + (s->late & 1 ? -100u : 100u);
    mb__put_be32(v, begin);
    mb__put_be32(v + 4, begin + 80);
    mb__put_be32(v + 8, ack + 300);
    mb__put_be32(v + 12, ack + 1000);
    return put_option(b, at, 5, v, s->late & 2 ? 16 : 8);
}

/* The options of a segment in style |s| that acknowledges |ack| to |b|, in the order of Linux: how many bytes. */
static size_t put_options(const struct traffic *t, const struct style *s, bool syn, uint32_t ack, uint8_t *b)
{
    const uint32_t clock = (uint32_t)(t->ts / MS);
    const uint8_t scale = s->late & 15;
    uint8_t stamps[8], *at = b;
    mb__put_be32(stamps, clock - 10u * (uint32_t)s->late);
    mb__put_be32(stamps + 4, clock);
    if (syn && s->flags & STYLE_MSS)
        at = put_option(b, at, 2, "\2\x58", 2);
    if (syn && s->flags & STYLE_SACK_PERMITTED) {
        *at++ = 4;
        *at++ = 2;
    }
    if (s->flags & STYLE_TIMESTAMPS)
        at = put_option(b, at, 8, stamps, 8);
    if (syn && s->flags & STYLE_WSCALE)
        at = put_option(b, at, 3, &scale, 1);
    if (syn && s->flags & STYLE_COOKIE)
        at = put_option(b, at, 34, "a cookie", 8);
    if (!syn && s->flags & STYLE_SACK)
        at = put_sack(b, at, s, ack);
    return (size_t)(at - b + 3) & ~(size_t)3; /* what is left is the end of options */
}

static const uint16_t ports[2] = {4000, 80}; /* of the first conversation */

static void put_tcp(struct traffic *t, int c, int side, uint8_t flags, uint32_t seq, uint32_t ack, size_t len)
{
    const struct style *s = &t->conversation[c].style[side];
    const bool syn = flags & MB_TCP_SYN;
    uint8_t b[20 + MAX_OPTIONS + MAX_BODY] = {0};
    size_t head = 20 + put_options(t, s, syn, ack, b + 20);
    if (s->flags & STYLE_URGENT && !syn)
        flags |= MB_TCP_URG;
    mb__put_be16(b, (uint16_t)(ports[side] + c));
    mb__put_be16(b + 2, (uint16_t)(ports[!side] + c));
    mb__put_be32(b + 4, seq);
    mb__put_be32(b + 8, flags & MB_TCP_ACK ? ack : 0);
    b[12] = (uint8_t)(head / 4 << 4);
    b[13] = flags;
    mb__put_be16(b + 14, s->window);
    mb__put_be16(b + 18, flags & MB_TCP_URG ? (uint16_t)(seq % 301) : 0);
    fill(t, b + head, len, seq + syn);
    put_ip(t, c, side, 6, b, head + len);
}

/* ---- acts ------------------------------------------------------------------- */

static void act_open(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t how = next_byte(t);
    if (how & 1) /* another incarnation */
        v->next[side] += 100000u * how;
    uint8_t flags = side == 0 ? MB_TCP_SYN : MB_TCP_SYN | MB_TCP_ACK;
    size_t len = how & 2 ? how : 0;
    put_tcp(t, c, side, flags, v->next[side], v->next[!side], len);
    v->next[side] += 1 + (how & 4 ? (uint32_t)len : 0);
}

static void act_data(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t size = next_byte(t);
    size_t len = size < 200 ? size : size * 2u;
    put_tcp(t, c, side, MB_TCP_ACK, v->next[side], v->next[!side], len);
    v->next[side] += (uint32_t)len;
}

static void act_bent(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t flags = next_byte(t), size = next_byte(t), scale = next_byte(t);
    int8_t seq = (int8_t)next_byte(t), ack = (int8_t)next_byte(t);
    uint32_t unit = 1u << (scale & 15), ack_unit = 1u << (scale >> 4);
    put_tcp(t, c, side, flags, v->next[side] + (uint32_t)seq * unit, v->next[!side] + (uint32_t)ack * ack_unit, size);
}

static void act_close(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t how = next_byte(t);
    if (how & 1) {
        put_tcp(t, c, side, MB_TCP_RST | MB_TCP_ACK, v->next[side], v->next[!side], 0);
        return;
    }
    put_tcp(t, c, side, MB_TCP_FIN | MB_TCP_ACK, v->next[side], v->next[!side], how);
    v->next[side] += how + 1u;
}

static void act_datagram(struct traffic *t, int c, int side)
{
    uint8_t b[MAX_BODY] = {0}, size = next_byte(t);
    mb__put_be16(b, (uint16_t)(side == 0 ? 5000 : 53));
    mb__put_be16(b + 2, (uint16_t)(side == 0 ? 53 : 5000));
    mb__put_be16(b + 4, (uint16_t)(8 + size));
    fill(t, b + 8, size, size);
    put_ip(t, c, side, size & 1 ? 17 : size & 2 ? 1 : 132, b, 8u + size);
}

static bool last_is_v6(const struct traffic *t)
{
    return t->last[0] >> 4 == 6;
}

/* Bytes [at, at + len) of what the last datagram carries. */
static void put_fragment(struct traffic *t, size_t at, size_t len, bool more)
{
    const bool v6 = last_is_v6(t);
    const size_t from = v6 ? 40 : 20, head = v6 ? 48 : 20;
    uint8_t b[sizeof t->last + 8];
    memcpy(b, t->last, from);
    memcpy(b + head, t->last + from + at, len);
    if (v6) {
        mb__put_be16(b + 4, (uint16_t)(8 + len));
        b[6] = 44;
        memset(b + 40, 0, 8);
        b[40] = t->last[6];
        mb__put_be16(b + 42, (uint16_t)(at | more));
        mb__put_be32(b + 44, t->ip_id);
    } else {
        mb__put_be16(b + 2, (uint16_t)(20 + len));
        mb__put_be16(b + 4, (uint16_t)t->ip_id);
        mb__put_be16(b + 6, (uint16_t)(at / 8 | (more ? 0x2000 : 0)));
        put_sum(b);
    }
    put_frame(t, b, head + len);
}

/* The last datagram in fragments of 8 to 128 bytes, some of them not there. */
static void act_fragments(struct traffic *t)
{
    uint8_t how = next_byte(t), missing = next_byte(t);
    const size_t head = last_is_v6(t) ? 40 : 20;
    if (t->last_len < head + 8)
        return;
    size_t step = 8u * (1 + (how & 15)), body = t->last_len - head, n = (body + step - 1) / step;
    t->ip_id++;
    for (size_t i = 0; i < n; i++) {
        size_t at = step * (how & 16 ? n - 1 - i : i), len = body - at < step ? body - at : step;
        if (!(how & 32 && i == missing % n))
            put_fragment(t, at, len, at + len < body);
    }
}

/* Whether a frame could pass for one of a host's; what is made of it, in fragments
 * or tunnels, has the addresses from nowhere else. */
static bool names_host(const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((len - i >= sizeof net_v4 && memcmp(b + i, net_v4, sizeof net_v4) == 0) ||
            (len - i >= sizeof net_v6 && memcmp(b + i, net_v6, sizeof net_v6) == 0))
            return true;
    return false;
}

static void act_junk(struct traffic *t)
{
    size_t len = next_byte(t) & 63;
    const uint8_t *b = mb__cursor_take(&t->in, len);
    bool ip = len > 0 && b != NULL && (b[0] >> 4 == 4 || b[0] >> 4 == 6);
    if (b != NULL && (ip || !t->ip) && !(t->keyed && names_host(b, len)))
        put_frame(t, b, len);
}

static void act_style(struct traffic *t, int c, int side)
{
    struct style *s = &t->conversation[c].style[side];
    uint8_t flags = next_byte(t), window = next_byte(t);
    *s = (struct style){flags, (int8_t)next_byte(t), window < 128 ? window : (uint16_t)(window * 250)};
}

/* The host that |side| is says that it, or who is behind it, has no use for the last datagram. */
static void act_icmp_error(struct traffic *t, int side)
{
    static const uint8_t types[2][4] = {{3, 3, 11, 12}, {1, 2, 3, 4}};
    uint8_t how = next_byte(t), b[8 + MAX_DATAGRAM] = {0};
    size_t quote = 20u + (how >> 5) * 16u;
    const int v6 = last_is_v6(t);
    if (quote > t->last_len || how >> 5 == 7)
        quote = t->last_len;
    if (8 + quote + 40 > sizeof t->last)
        return;
    b[0] = types[v6][how & 3];
    b[1] = how >> 2 & 7;
    mb__put_be16(b + 6, 576); /* octets that the next hop takes */
    memcpy(b + 8, t->last, quote);
    put_ip(t, v6, side, v6 ? 58 : 1, b, 8 + quote);
}

/* The last datagram between the same hosts, in IP, in GRE, or in an Ethernet frame in VXLAN. */
static void act_tunnel(struct traffic *t, int c, int side)
{
    static const uint8_t v4_in = 4, v6_in = 41, gre = 47, udp = 17;
    uint8_t how = next_byte(t), b[MAX_DATAGRAM] = {0}, proto = last_is_v6(t) ? v6_in : v4_in;
    const uint16_t type = last_is_v6(t) ? 0x86dd : 0x0800;
    size_t head = 0;
    if (t->last_len == 0 || t->last_len + TUNNEL > sizeof t->last)
        return;
    if ((how & 3) == 1) {
        proto = gre;
        head = 4;
        mb__put_be16(b + 2, type);
    } else if ((how & 3) == 2) {
        proto = udp;
        head = 8 + 8 + 14;
        mb__put_be16(b, 50000);
        mb__put_be16(b + 2, 4789);
        mb__put_be16(b + 4, (uint16_t)(head + t->last_len));
        b[8] = 8; /* there is a network identifier: */
        b[14] = how >> 2;
        mb__put_be16(b + 28, type);
    }
    memcpy(b + head, t->last, t->last_len);
    put_ip(t, c, side, proto, b, head + t->last_len);
}

static void act_again(struct traffic *t)
{
    if (t->last_len > 0)
        put_frame(t, t->last, t->last_len);
}

static void act(struct traffic *t, uint8_t op)
{
    int c = op & 3, side = op >> 2 & 1;
    t->ts += MS;
    switch ((enum act)(op >> 3 & (t->wide ? 15 : 7))) {
    case ACT_DATA: act_data(t, c, side); break;
    case ACT_OPEN: act_open(t, c, side); break;
    case ACT_BENT: act_bent(t, c, side); break;
    case ACT_CLOSE: act_close(t, c, side); break;
    case ACT_DATAGRAM: act_datagram(t, c, side); break;
    case ACT_WAIT: t->ts += MS << (op & 7) * 3; break;
    case ACT_FRAGMENTS: act_fragments(t); break;
    case ACT_JUNK: act_junk(t); break;
    case ACT_STYLE: act_style(t, c, side); break;
    case ACT_ICMP_ERROR: act_icmp_error(t, side); break;
    case ACT_TUNNEL: act_tunnel(t, c, side); break;
    default: act_again(t); break;
    }
}

static void begin_capture(struct traffic *t, int link)
{
    const uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, (uint32_t)link};
    t->link = link;
    put(t, head, sizeof head);
}

static void make_traffic(struct traffic *t)
{
    const struct style plain = {.window = 60000};
    begin_capture(t, LINK_RAW);
    t->ts = 1000 * 1000 * MS;
    for (int c = 0; c < CONVERSATIONS; c++) /* the last one wraps round soon */
        t->conversation[c] =
            (struct conversation){{0u - 300u * (c == 3), 0x7ffffff0u * (unsigned)c}, {plain, plain}};
    uint8_t op;
    while (t->frames < MAX_FRAMES && mb__cursor_u8(&t->in, &op))
        act(t, op);
}

/* The traffic of |raw| in Ethernet. */
static void make_ethernet(struct traffic *t, const struct traffic *raw)
{
    begin_capture(t, LINK_ETHERNET);
    t->keyed = raw->keyed;
    for (size_t at = 24; at < raw->len;) {
        uint8_t ethernet[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
        uint32_t head[4];
        memcpy(head, raw->pcap + at, sizeof head);
        const uint8_t *ip = raw->pcap + at + sizeof head;
        const uint32_t len = head[2];
        mb__put_be16(ethernet + 12, ip[0] >> 4 == 6 ? 0x86dd : 0x0800);
        head[2] = head[3] = len + (uint32_t)sizeof ethernet;
        put(t, head, sizeof head);
        put(t, ethernet, sizeof ethernet);
        put(t, ip, len);
        at += sizeof head + len;
    }
}

#endif
