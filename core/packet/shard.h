/* SPDX-License-Identifier: BSD-3-Clause */
/* shard -- which of several workers a packet belongs to
 *
 *   client end --+
 *                +--> hash of the flow --> one of |count| workers
 *   server end --+
 *
 * An end is an address and, with TCP and UDP, a port. The hash is that of the
 * flow table (base/hash.h), of ends and protocol alone, so it is worked out once
 * for both; both directions of a flow come to one worker. Protocols without
 * ports go by address: all that two hosts say to each other in ICMP is one
 * worker's. The table takes the low bits of the hash, and the workers the high ones.
 *
 * Most frames show their ends at fixed places and are one worker's. Frames with
 * anything more to them (fragments, tunnels, options, other link types) are
 * decoded by all, and then each packet in them is judged by its own ends.
 */
#ifndef MB_PACKET_SHARD_H
#define MB_PACKET_SHARD_H

#include "base/listed.h"
#include "packet/fields.h"
#include "packet/packet.h"

struct mb__shards {
    uint32_t count; /* workers; 0 or 1: one has all */
    uint32_t own;   /* which one this is */
    const struct mb_config *config; /* whether unreachable messages belong to the flow they quote */
    const struct mb__hash_key *key; /* of the flow table */
};

/* The worker of a flow with |hash|, of ends and protocol alone. */
static inline uint8_t mb__shard_of_hash(const struct mb__shards *s, uint32_t hash)
{
    return (uint8_t)((uint64_t)hash * s->count >> 32);
}

/* The worker of a decoded packet. */
static inline uint8_t mb__shard_of_packet(const struct mb__shards *s, const struct mb_packet *p)
{
    struct mb_packet quoted;
    struct mb_icmp_error error;
    if (!(p->flags & MB_PKT_IP))
        return 0;
    if (mb__icmp_joins(p, s->config, s->key, &quoted, &error))
        p = &quoted;
    bool ports = p->flags & MB_PKT_L4 && (p->ip_proto == MB__PROTO_TCP || p->ip_proto == MB__PROTO_UDP);
    return mb__shard_of_hash(s, mb__ends_hash(s->key, p, ports ? p->sport : 0, ports ? p->dport : 0, p->ip_proto));
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

/* The flow hash of a packet with |proto| over IPv4 without options. The addresses
 * lie at |ends|; the ports follow them. */
static inline uint32_t mb__shard_hash_v4(const struct mb__hash_key *key, const uint8_t *ends, uint8_t proto)
{
    return mb__hash_flow_48(key, mb__v4_hash_end(ends, ends + 8), mb__v4_hash_end(ends + 4, ends + 10), proto);
}

/* The same over IPv6. */
static inline uint32_t mb__shard_hash_v6(const struct mb__hash_key *key, const uint8_t *ends, uint8_t proto)
{
    return mb__hash_flow(key, ends, mb__be16(ends + 32), ends + 16, mb__be16(ends + 34), proto);
}

/* The worker of a frame that shows it without being decoded, all of whose
 * packets are then that worker's, and in |*hash| the flow hash of its ends;
 * otherwise MB__SHARD_ALL and 0. */
static inline uint8_t mb__shard_of_frame(const struct mb__shards *s, int link, const struct mb_frame *f, uint32_t *hash)
{
    const uint8_t *b = f->data;
    uint32_t at = 14;
    *hash = 0;
    if (link != MB__LINK_ETHERNET || f->caplen < 14 + 4 + MB__SHARD_V6 + 4)
        return MB__SHARD_ALL;
    uint16_t type = mb__be16(b + 12);
    if (type == 0x8100) {
        at = 18;
        type = mb__be16(b + 16);
    }
    const uint8_t *ip = b + at;
    if (type == 0x0800 && ip[0] == 0x45 && (mb__be16(ip + 6) & 0x3fff) == 0) {
        if (mb__shard_plain(ip[9], ip + MB__SHARD_V4))
            return mb__shard_of_hash(s, *hash = mb__shard_hash_v4(s->key, ip + 12, ip[9]));
    } else if (type == 0x86dd && ip[0] >> 4 == 6) {
        if (mb__shard_plain(ip[6], ip + MB__SHARD_V6))
            return mb__shard_of_hash(s, *hash = mb__shard_hash_v6(s->key, ip + 8, ip[6]));
    }
    return MB__SHARD_ALL;
}

#endif
