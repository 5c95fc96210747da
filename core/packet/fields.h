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

/* ::ffff:a.b.c.d of the four bytes at |b|. */
static inline struct mb_addr mb__addr_v4(const uint8_t *b)
{
    struct mb_addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]}};
    return a;
}

static inline struct mb_addr mb__addr_v6(const uint8_t *b)
{
    struct mb_addr a;
    memcpy(a.byte, b, sizeof a.byte);
    return a;
}

/* Whether the IPv4 header of |len| bytes (a multiple of 4) sums up to all
 * ones (RFC 1071). The sum does not depend on byte order. */
static inline bool mb__ipv4_sum_good(const uint8_t *h, uint32_t len)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < len; i += 4) {
        uint32_t word;
        memcpy(&word, h + i, sizeof word);
        sum += word;
    }
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff;
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

/* Whether UDP |port| is that of a tunnel of mb__udp_tunnel(). */
static inline bool mb__udp_tunnel_port(uint16_t port)
{
    return port == 4789 || port == 6081 || port == 2152 || port == 3544;
}

/* The flow hash of |p|, whose addresses, ports, protocol, VLAN and tunnel are set. */
static inline uint32_t mb__packet_hash(const struct mb_packet *p, const struct mb_config *config,
                                       const struct mb__hash_key *key)
{
    uint64_t rest = p->ip_proto;
    if (config->key_vlan)
        rest |= (uint64_t)p->vlan[0] << 8 | (uint64_t)p->vlan[1] << 20;
    if (config->key_tunnel)
        rest |= (uint64_t)p->tunnel_id << 32;
    return mb__hash_flow(key, p->src.byte, p->sport, p->dst.byte, p->dport, rest);
}

#endif
