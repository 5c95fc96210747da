/* SPDX-License-Identifier: BSD-3-Clause */
/* short -- the short way through the decoder, for the packets that nearly all traffic is
 *
 *   frame --> plain? --> IPv4 without options, then TCP as most have it or UDP --> one packet
 *               |                                       |
 *               +------------------ no -----------------+--> the walk (walk.h), layer by layer
 *
 * Inline, for bursts (burst.c) and for workers (listing.c).
 */
#ifndef MB_PACKET_SHORT_H
#define MB_PACKET_SHORT_H

#include "packet/fields.h"
#include "packet/segment.h"
#include "packet/shard.h"
#include "packet/walk.h"

/* Bytes of the TCP header at |l4| if it has no options, or timestamps as all
 * systems lay them out, or the options of most SYNs, nothing odd, and fits into
 * |room|; otherwise 0. */
static inline uint32_t mb__short_tcp(const uint8_t *l4, uint32_t room)
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
static inline uint32_t mb__short_udp(const uint8_t *l4, uint32_t room)
{
    bool tunnel = mb__udp_tunnel_port(mb__be16(l4)) || mb__udp_tunnel_port(mb__be16(l4 + 2));
    return mb__be16(l4 + 4) == room && !tunnel ? 8 : 0;
}

/* Decodes the packets that make up nearly all traffic in one go, writing each
 * field once. False: not such a packet, nothing was done. The walk gives the
 * same result for each plain frame that this accepts; a test compares them. Counting
 * is the caller's, who may do that for many at once, and so is the flow's hash, which
 * may be known. */
__attribute__((always_inline)) static inline bool mb__decode_short(const struct mb_frame *frame, int64_t ts,
                                                                   uint64_t number, uint8_t source,
                                                                   struct mb_packet *p)
{
    const uint8_t *b = frame->data;
    const uint8_t *ip = b + MB__PLAIN_IP, *l4 = b + MB__PLAIN_L4;
    uint32_t len = mb__be16(ip + 2), room = len - 20;
    bool tcp = ip[9] == MB__PROTO_TCP;
    uint32_t hlen = tcp ? mb__short_tcp(l4, room) : ip[9] == MB__PROTO_UDP ? mb__short_udp(l4, room) : 0;
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
    p->net_off = MB__PLAIN_IP;
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

/* Whether the short way is open to frames of |link|: it knows one link type and no checksums. */
static inline bool mb__goes_short(const struct mb__decoder *d, int link)
{
    return link == MB__LINK_ETHERNET && d->config->checksums == MB_CHECKSUMS_IGNORE;
}

/* Whether |frame| may go it, as far as its link and IP headers tell. */
static inline bool mb__is_plain(const struct mb__decoder *d, const struct mb_frame *frame)
{
    return mb__frame_is_plain(frame->data, frame->caplen) && frame->data[MB__PLAIN_IP + 8] > d->farthest;
}

/* |packets| went the short way, |tcp| of them TCP. */
static inline void mb__count_short(struct mb_stats *s, uint64_t packets, uint64_t tcp)
{
    s->packets_ip += packets;
    s->packets_tcp += tcp;
    s->packets_udp += packets - tcp;
}

/* The flow hash of a plain frame, as mb__packet_hash() gives it for its packet. */
static inline uint32_t mb__plain_hash(const struct mb__decoder *d, const uint8_t *b)
{
    return mb__shard_hash_v4(d->key, b + MB__PLAIN_IP + 12, b[MB__PLAIN_IP + 9]);
}

/* ---- the clock --------------------------------------------------------------- */

#define MB__CLOCK_SHIFT 30 /* fragments are looked through about once a second */

/* The clock shows |ts|: fragments that waited too long by then are let go. */
static inline void mb__decoder_clock(struct mb__decoder *d, int64_t ts)
{
    d->now = ts;
    if (ts >> MB__CLOCK_SHIFT != d->tick) {
        d->tick = ts >> MB__CLOCK_SHIFT;
        mb__decoder_expire(d, ts);
    }
}

#endif
