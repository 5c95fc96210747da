/* SPDX-License-Identifier: BSD-3-Clause */
/* fields -- header fields into struct mb_packet, inline because every packet pays
 *
 * All functions expect that the caller has checked that the header is there.
 */
#ifndef MB_PACKET_FIELDS_H
#define MB_PACKET_FIELDS_H

#include "base/cursor.h"
#include "packet/packet.h"

#define MB__PROTO_HOPOPTS 0
#define MB__PROTO_ICMP 1
#define MB__PROTO_IPIP 4
#define MB__PROTO_TCP 6
#define MB__PROTO_UDP 17
#define MB__PROTO_IPV6 41
#define MB__PROTO_ROUTING 43
#define MB__PROTO_FRAGMENT 44
#define MB__PROTO_GRE 47
#define MB__PROTO_AH 51
#define MB__PROTO_ICMPV6 58
#define MB__PROTO_NONE 59
#define MB__PROTO_DSTOPTS 60
#define MB__PROTO_SCTP 132
#define MB__PROTO_HIP 139
#define MB__PROTO_SHIM6 140

/* The second half of ::ffff:a.b.c.d, whose last four bytes lie in memory as |v4|; the
 * first half is 0. */
static inline uint64_t mb__v4_half(uint32_t v4)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint64_t)v4 << 32 | 0xffff0000u;
#else
    return UINT64_C(0xffff) << 32 | v4;
#endif
}

/* A v4 address, as it lies in memory, and a port as a number to compare: six bytes as they follow
 * each other in struct mb_endpoint. */
static inline uint64_t mb__v4_end(uint32_t v4, uint16_t port)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint64_t)port << 32 | v4;
#else
    return (uint64_t)v4 << 16 | port;
#endif
}

/* The same of the eight bytes at |b|, the last two of which are others'. */
static inline uint64_t mb__v4_end_at(const void *b)
{
    uint64_t bits;
    memcpy(&bits, b, sizeof bits);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return bits & (UINT64_MAX >> 16);
#else
    return bits >> 16;
#endif
}

/* ::ffff:a.b.c.d of the four bytes at |b|. Written as two halves, as
 * addresses are compared: smaller stores would have to leave the CPU's buffer first. */
static inline void mb__addr_v4(struct mb_addr *a, const uint8_t *b)
{
    uint32_t v4;
    memcpy(&v4, b, sizeof v4);
    const uint64_t halves[2] = {0, mb__v4_half(v4)};
    memcpy(a->byte, halves, sizeof halves);
}

static inline void mb__addr_v6(struct mb_addr *a, const uint8_t *b)
{
    memcpy(a->byte, b, sizeof a->byte);
}

/* Whether |sum|, of words of 16 bits, is a multiple of 0xffff: a number that is, and no other, gives what it
 * was multiplied by when it is multiplied by the inverse of 0xffff modulo 2^64. */
static inline bool mb__sum_is_good(uint64_t sum)
{
    return sum * UINT64_C(0xfffefffefffeffff) <= UINT64_MAX / 0xffff;
}

/* Whether the checksum of an IPv4 header without options is right: the ones'
 * complement sum of all is then all ones (RFC 1071), that is, as the header is not
 * all zeros, a multiple of 0xffff. The sum does not depend on byte order, nor on the width of
 * the words added. */
static inline bool mb__ipv4_sum_good(const uint8_t *h)
{
    uint32_t a, b, c, d, e;
    memcpy(&a, h, 4);
    memcpy(&b, h + 4, 4);
    memcpy(&c, h + 8, 4);
    memcpy(&d, h + 12, 4);
    memcpy(&e, h + 16, 4);
    return mb__sum_is_good((uint64_t)a + b + c + d + e);
}

/* Bytes of the extension header |h| of kind |proto|; 0: it is none. */
static inline uint32_t mb__ipv6_extension_len(uint8_t proto, const uint8_t *h)
{
    switch (proto) {
    case MB__PROTO_HOPOPTS:
    case MB__PROTO_ROUTING:
    case MB__PROTO_DSTOPTS:
    case MB__PROTO_HIP:
    case MB__PROTO_SHIM6:
        return (h[1] + 1u) * 8;
    case MB__PROTO_FRAGMENT:
        return 8;
    case MB__PROTO_AH:
        return (h[1] + 2u) * 4;
    default:
        return 0;
    }
}

/* Combinations of the six old TCP flags that no sender of good will makes, a
 * bit each: none; SYN with FIN or RST; FIN, PSH and URG alone ("Xmas tree"). */
#define MB__TCP_ODD_FLAGS UINT64_C(0xc8c8cac8c8c8c8c9)

static inline bool mb__tcp_flags_odd(uint8_t flags)
{
    return MB__TCP_ODD_FLAGS >> (flags & 63) & 1;
}

/* What the TCP header at |h| says, 20 bytes (RFC 9293 3.1). */
static inline void mb__tcp_fields(struct mb_packet *p, const uint8_t *h)
{
    p->sport = mb__be16(h);
    p->dport = mb__be16(h + 2);
    p->seq = mb__be32(h + 4);
    p->ack = mb__be32(h + 8);
    p->tcp_flags = h[13];
    p->window = mb__be16(h + 14);
    p->urgent = mb__be16(h + 18);
}

#define MB__TCP_SYN_OPTIONS 20 /* bytes of the options below */

/* Whether the 20 option bytes at |o| are those of a SYN of Linux: MSS, SACK
 * permitted, timestamps, NOP, window scale. */
static inline bool mb__tcp_linux_syn(const uint8_t *o)
{
    return mb__be16(o) == 0x0204 && mb__be32(o + 4) == 0x0402080a && mb__be32(o + 16) >> 8 == 0x010303;
}

/* Whether the TCP header at |h|, |hlen| bytes which are all there, has no
 * options but the timestamps, as nearly all systems lay them out. */
static inline bool mb__tcp_timestamps_only(const uint8_t *h, uint32_t hlen)
{
    return hlen == 32 && mb__be32(h + 20) == MB__TCP_TS_LAYOUT;
}

/* What the UDP header at |h| says; the fields of TCP are 0. */
static inline void mb__udp_fields(struct mb_packet *p, const uint8_t *h)
{
    p->sport = mb__be16(h);
    p->dport = mb__be16(h + 2);
    p->seq = p->ack = 0;
    p->tcp_flags = 0;
    p->window = p->urgent = 0;
}

/* A packet of which only its frame is known. */
static inline void mb__packet_begin(struct mb_packet *p, const struct mb_frame *frame, uint64_t number,
                                    int link)
{
    static const struct mb_packet blank;
    *p = blank; /* as a copy, since compilers make rep stos of a literal: slow for so few bytes */
    p->ts = frame->ts;
    p->frame = p->net = frame->data;
    p->number = number;
    p->frame_len = frame->caplen;
    p->wire_len = frame->wirelen;
    p->link = (uint16_t)link;
}

/* UDP ports that tunnels are known by. */
#define MB__PORT_GTPU 2152
#define MB__PORT_TEREDO 3544
#define MB__PORT_GRE 4754
#define MB__PORT_VXLAN 4789
#define MB__PORT_AYIYA 5072
#define MB__PORT_GENEVE 6081

/* Whether UDP |port| is that of a tunnel of mb__udp_tunnel(). */
static inline bool mb__udp_tunnel_port(uint16_t port)
{
    if (port < MB__PORT_GTPU || port > MB__PORT_GENEVE) /* nearly always */
        return false;
    return port == MB__PORT_GTPU || port == MB__PORT_TEREDO || port == MB__PORT_GRE || port == MB__PORT_VXLAN
           || port == MB__PORT_AYIYA || port == MB__PORT_GENEVE;
}

/* An IPv4 end for its hash: address and port as they lie in a header at |addr| and |port|. */
static inline uint64_t mb__v4_hash_end(const uint8_t *addr, const uint8_t *port)
{
    uint32_t v4;
    uint16_t raw;
    memcpy(&v4, addr, sizeof v4);
    memcpy(&raw, port, sizeof raw);
    return (uint64_t)raw << 32 | v4;
}

/* The hash of the ends of |p|, with these ports, and of |rest|. */
static inline uint32_t mb__ends_hash(const struct mb__hash_key *key, const struct mb_packet *p, uint16_t sport,
                                     uint16_t dport, uint64_t rest)
{
    if (p->flags & MB_PKT_IPV6)
        return mb__hash_flow(key, p->src.byte, sport, p->dst.byte, dport, rest);
    const uint8_t ports[4] = {(uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport};
    return mb__hash_flow_48(key, mb__v4_hash_end(p->src.byte + 12, ports),
                            mb__v4_hash_end(p->dst.byte + 12, ports + 2), rest);
}

/* The flow hash of |p|, whose flags, addresses, ports, protocol, VLAN and tunnel are set. */
static inline uint32_t mb__packet_hash(const struct mb_packet *p, const struct mb_config *config,
                                       const struct mb__hash_key *key)
{
    uint64_t rest = p->ip_proto;
    if (config->key_vlan)
        rest |= (uint64_t)p->vlan[0] << 8 | (uint64_t)p->vlan[1] << 20;
    if (config->key_tunnel)
        rest |= (uint64_t)p->tunnel_id << 32;
    return mb__ends_hash(key, p, p->sport, p->dport, rest);
}

#endif
