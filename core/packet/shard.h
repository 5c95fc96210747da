/* SPDX-License-Identifier: BSD-3-Clause */
/* shard -- which of several workers a packet belongs to
 *
 *   client end --+
 *                +--> product --> fold --> one of |count| workers
 *   server end --+
 *
 * An end is an address and, with TCP and UDP, a port. A product does not know
 * the order of its factors, so both directions of a flow come to one worker.
 * Protocols without ports go by address alone: all that two hosts say to each
 * other in ICMP is one worker's.
 *
 * Most frames show their ends at fixed places: a worker passes over those of
 * others for the price of one multiplication. Frames with anything more to them
 * (fragments, tunnels, options, other link types) are decoded by all, and then
 * each packet in them is judged by its own ends.
 */
#ifndef MB_PACKET_SHARD_H
#define MB_PACKET_SHARD_H

#include "packet/fields.h"
#include "packet/packet.h"

#define MB__SHARD_ALL UINT32_MAX /* all workers have to decode the frame */

struct mb__shards {
    uint32_t count; /* workers; 0 or 1: one has all */
    uint32_t own;   /* which one this is */
    const struct mb_config *joins;  /* NULL unless unreachable messages belong to the flow they quote */
    const struct mb__hash_key *hash_key;
    uint64_t key[3];
};

static inline uint64_t mb__shard_end_v4(const uint8_t *addr, uint16_t port)
{
    uint32_t v4;
    memcpy(&v4, addr, sizeof v4);
    return (uint64_t)v4 << 16 | port;
}

/* An IPv4 address is the same whether it came in an IPv4 header or mapped. */
static inline uint64_t mb__shard_end(const struct mb__shards *s, const uint8_t *addr, uint16_t port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint64_t high, low;
    if (memcmp(addr, mapped, sizeof mapped) == 0)
        return mb__shard_end_v4(addr + 12, port);
    memcpy(&high, addr, 8);
    memcpy(&low, addr + 8, 8);
    return mb__fold(high ^ s->key[1], low ^ s->key[2]) + port;
}

/* The worker of two ends, whichever comes first. */
static inline uint32_t mb__shard_of_ends(const struct mb__shards *s, uint64_t a, uint64_t b)
{
    return (uint32_t)((mb__fold(a ^ s->key[0], b ^ s->key[0]) >> 32) * s->count >> 32);
}

/* The worker of a decoded packet. */
static inline uint32_t mb__shard_of_packet(const struct mb__shards *s, const struct mb_packet *p)
{
    struct mb_packet quoted;
    struct mb_icmp_error error;
    if (!(p->flags & MB_PKT_IP))
        return 0;
    if (s->joins != NULL && mb__icmp_unreachable(p) && mb__icmp_quote(p, s->joins, s->hash_key, &quoted, &error))
        p = &quoted;
    bool ports = p->flags & MB_PKT_L4 && (p->ip_proto == MB__PROTO_TCP || p->ip_proto == MB__PROTO_UDP);
    return mb__shard_of_ends(s, mb__shard_end(s, p->src.byte, ports ? p->sport : 0),
                             mb__shard_end(s, p->dst.byte, ports ? p->dport : 0));
}

/* Whether the transport header at |l4| is TCP, or UDP that is no tunnel's. */
static inline bool mb__shard_plain(uint8_t proto, const uint8_t *l4)
{
    if (proto == MB__PROTO_TCP)
        return true;
    return proto == MB__PROTO_UDP && !mb__udp_tunnel_port(mb__be16(l4)) && !mb__udp_tunnel_port(mb__be16(l4 + 2));
}

#define MB__SHARD_V4 20 /* bytes of an IPv4 header without options */
#define MB__SHARD_V6 40

/* The worker of a frame that shows it without being decoded, all of whose
 * packets are then that worker's; otherwise MB__SHARD_ALL. */
static inline uint32_t mb__shard_of_frame(const struct mb__shards *s, int link, const struct mb_frame *f)
{
    const uint8_t *b = f->data;
    uint32_t at = 14;
    if (link != 1 || f->caplen < 14 + 4 + MB__SHARD_V6 + 4)
        return MB__SHARD_ALL;
    uint16_t type = mb__be16(b + 12);
    if (type == 0x8100) {
        at = 18;
        type = mb__be16(b + 16);
    }
    const uint8_t *ip = b + at;
    if (type == 0x0800 && ip[0] == 0x45 && (mb__be16(ip + 6) & 0x3fff) == 0) {
        const uint8_t *l4 = ip + MB__SHARD_V4;
        if (mb__shard_plain(ip[9], l4))
            return mb__shard_of_ends(s, mb__shard_end_v4(ip + 12, mb__be16(l4)),
                                     mb__shard_end_v4(ip + 16, mb__be16(l4 + 2)));
    } else if (type == 0x86dd && ip[0] >> 4 == 6) {
        const uint8_t *l4 = ip + MB__SHARD_V6;
        if (mb__shard_plain(ip[6], l4))
            return mb__shard_of_ends(s, mb__shard_end(s, ip + 8, mb__be16(l4)),
                                     mb__shard_end(s, ip + 24, mb__be16(l4 + 2)));
    }
    return MB__SHARD_ALL;
}

#endif
