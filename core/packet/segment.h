/* SPDX-License-Identifier: BSD-3-Clause */
/* segment -- what the short way through TCP looks at, decoded or not
 *
 *     0        14       34            54     66
 *     +--------+--------+-------------+------+---------
 *     | Ether  | IPv4   | TCP         | time | payload     a brief frame
 *     +--------+--------+-------------+------+---------
 *
 * Most frames of most captures are brief: plain Ethernet, IPv4 without options,
 * whole, and in it a TCP segment with ACK and perhaps PSH or FIN, without options
 * or with timestamps alone. All that is needed to move a connection on lies at
 * fixed places. Such a frame is decoded only if somebody has to see its packet.
 */
#ifndef MB_PACKET_SEGMENT_H
#define MB_PACKET_SEGMENT_H

#include "packet/fields.h"

struct mb__segment {
    int64_t ts;      /* packet clock, ns */
    uint32_t seq;
    uint32_t ack;
    uint32_t len;    /* payload bytes */
    uint32_t tsval;  /* RFC 7323; valid if |stamped| */
    uint16_t window; /* not scaled */
    uint8_t flags;   /* TCP flags */
    bool stamped;
};

/* Whether a segment with these flags can go the short way: ACK, perhaps PSH and FIN. */
static inline bool mb__flags_advance(uint8_t flags)
{
    return (flags & ~(MB_TCP_PSH | MB_TCP_FIN)) == MB_TCP_ACK;
}

static inline struct mb__segment mb__segment_of(const struct mb_packet *p)
{
    uint32_t tsval = 0, tsecr;
    bool stamped = mb__tcp_timestamps(p, &tsval, &tsecr);
    return (struct mb__segment){p->ts, p->seq, p->ack, p->payload_len, tsval, p->window, p->tcp_flags, stamped};
}

/* ---- brief frames --------------------------------------------------------- */

#define MB__PLAIN_IP 14 /* where the headers are in the frame */
#define MB__PLAIN_L4 34
#define MB__BRIEF_LEN 54 /* with these headers */

/* Whether the bits |mask| of the two bytes at |b| are |bits|, both as numbers in network order. */
static inline bool mb__bits_are(const uint8_t *b, uint16_t mask, uint16_t bits)
{
    const uint8_t m[2] = {(uint8_t)(mask >> 8), (uint8_t)mask}, w[2] = {(uint8_t)(bits >> 8), (uint8_t)bits};
    uint16_t there, masked, wanted; /* as they lie: the constants are turned round, not what is read */
    memcpy(&there, b, 2);
    memcpy(&masked, m, 2);
    memcpy(&wanted, w, 2);
    return (there & masked) == wanted;
}

/* Whether |b|, |caplen| bytes of an Ethernet frame, is plain IPv4 without options,
 * whole, no fragment, with a good header checksum, and long enough for a TCP header. */
static inline bool mb__frame_is_plain(const uint8_t *b, uint32_t caplen)
{
    if (caplen < MB__BRIEF_LEN)
        return false;
    const uint8_t *ip = b + MB__PLAIN_IP;
    uint32_t len = mb__be16(ip + 2);
    return mb__bits_are(b + 12, 0xffff, 0x0800) && ip[0] == 0x45 && len >= 40 && len <= caplen - MB__PLAIN_IP &&
           mb__bits_are(ip + 6, 0x3fff, 0) && mb__ipv4_sum_good(ip);
}

#define MB__BRIEF_BITS 0xf0f6 /* length of the header and flags, but for PSH and FIN */

/* Whether a plain frame is brief, with timestamps or without, or no more than plain. */
static inline enum mb__shape mb__plain_shape(const uint8_t *b)
{
    const uint8_t *ip = b + MB__PLAIN_IP, *tcp = b + MB__PLAIN_L4;
    if (ip[9] != MB__PROTO_TCP)
        return MB__SHAPE_PLAIN;
    if (mb__bits_are(tcp + 12, MB__BRIEF_BITS, 0x5000 | MB_TCP_ACK))
        return MB__SHAPE_BRIEF;
    bool stamped = mb__bits_are(tcp + 12, MB__BRIEF_BITS, 0x8000 | MB_TCP_ACK) && mb__be16(ip + 2) >= 52 &&
                   mb__tcp_timestamps_only(tcp, 32);
    return stamped ? MB__SHAPE_STAMPED : MB__SHAPE_PLAIN;
}

/* The two ends of a brief frame, as mb__v4_end() gives them. */
struct mb__ends {
    uint64_t src;
    uint64_t dst;
};

/* Where the parts of a brief frame are: in itself, or in a list (struct mb__brief). */
struct mb__brief_at {
    const uint8_t *ends;
    const uint8_t *ack;
    const uint8_t *times; /* if |stamped| */
    const uint8_t *window;
    const uint8_t *len;
    uint8_t flags;
    bool stamped; /* it has timestamps: 8 words of header, not 5 */
};

static inline struct mb__brief_at mb__brief_in_frame(const uint8_t *b)
{
    const uint8_t *ip = b + MB__PLAIN_IP, *tcp = b + MB__PLAIN_L4;
    return (struct mb__brief_at){
        .ends = ip + 12,
        .ack = tcp + 8,
        .times = tcp + 24,
        .window = tcp + 14,
        .len = ip + 2,
        .flags = tcp[13],
        .stamped = tcp[12] & 0x80,
    };
}

static inline struct mb__brief_at mb__brief_in_list(const struct mb__listed *listed)
{
    const struct mb__brief *b = &listed->brief;
    return (struct mb__brief_at){
        .ends = b->ends,
        .ack = b->ack,
        .times = b->times,
        .window = b->window,
        .len = b->len,
        .flags = listed->tcp_flags,
        .stamped = listed->shape == MB__SHAPE_STAMPED,
    };
}

/* Copies what is needed of the brief frame |b|. */
static inline void mb__brief_copy(struct mb__listed *to, const uint8_t *b)
{
    const struct mb__brief_at from = mb__brief_in_frame(b);
    memcpy(to->brief.ends, from.ends, sizeof to->brief.ends);
    memcpy(to->brief.ack, from.ack, sizeof to->brief.ack);
    if (from.stamped)
        memcpy(to->brief.times, from.times, sizeof to->brief.times);
    memcpy(to->brief.window, from.window, sizeof to->brief.window);
    memcpy(to->brief.len, from.len, sizeof to->brief.len);
    to->tcp_flags = from.flags;
}

static inline struct mb__ends mb__brief_ends(const struct mb__brief_at *at)
{
    uint32_t src, dst;
    memcpy(&src, at->ends, sizeof src);
    memcpy(&dst, at->ends + 4, sizeof dst);
    return (struct mb__ends){mb__v4_end(src, mb__be16(at->ends + 8)), mb__v4_end(dst, mb__be16(at->ends + 10))};
}

static inline struct mb__segment mb__brief_segment(const struct mb__brief_at *at, int64_t ts)
{
    return (struct mb__segment){
        .ts = ts,
        .seq = mb__be32(at->ends + 12),
        .ack = mb__be32(at->ack),
        .len = mb__be16(at->len) - (at->stamped ? 52u : 40u),
        .tsval = at->stamped ? mb__be32(at->times) : 0,
        .window = mb__be16(at->window),
        .flags = at->flags,
        .stamped = at->stamped,
    };
}

/* The timestamp that it echoes, if it has timestamps. */
static inline uint32_t mb__brief_echo(const struct mb__brief_at *at)
{
    return mb__be32(at->times + 4);
}

#endif
