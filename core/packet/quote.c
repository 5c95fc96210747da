/* SPDX-License-Identifier: BSD-3-Clause */
/* quote -- what an ICMP error says, and the packet that it quotes
 *
 *   IP | type code sum | second word | quoted IP header | its first 8 bytes or more
 *
 * RFC 792, RFC 1812 4.3.2.3, RFC 4443 2.4 and 3. A quoted fragment but the first
 * has no ports, so nobody's flow can be told from it.
 */
#include "packet/fields.h"
#include "packet/packet.h"
#include "packet/walk.h"

#define MAX_EXTENSIONS 8

/* The header after those that IPv6 puts in front; the cursor is behind them.
 * -1: the quote ends before, or begins inside the datagram. */
static int pass_extensions(struct mb__cursor *c, int next)
{
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        const uint8_t *h = mb__cursor_peek(c, 8);
        bool fragment = next == 44;
        if (!fragment && next != 0 && next != 43 && next != 60)
            return next;
        if (h == NULL || (fragment && (mb__be16(h + 2) & 0xfff8) != 0))
            return -1;
        next = h[0];
        if (!mb__cursor_skip(c, fragment ? 8 : (h[1] + 1u) * 8))
            return -1;
    }
    return -1;
}

/* The quoted IP header into |q|; what follows it is left in the cursor. */
static bool read_ip(struct mb__cursor *c, struct mb_packet *q)
{
    bool v6 = q->flags & MB_PKT_IPV6;
    const uint8_t *h = mb__cursor_peek(c, v6 ? 40 : 20);
    if (h == NULL || h[0] >> 4 != (v6 ? 6 : 4))
        return false;
    if (v6) {
        memcpy(q->src.byte, h + 8, 16);
        memcpy(q->dst.byte, h + 24, 16);
        mb__cursor_skip(c, 40);
        int next = pass_extensions(c, h[6]);
        q->ip_proto = (uint8_t)next;
        return next >= 0;
    }
    mb__addr_v4(&q->src, h + 12);
    mb__addr_v4(&q->dst, h + 16);
    q->ip_proto = h[9];
    return (mb__be16(h + 6) & 0x1fff) == 0 && mb__cursor_skip(c, (h[0] & 15u) * 4);
}

/* Ports as the decoder sets them, and the sequence number, from 8 bytes. */
static bool read_ports(struct mb__cursor *c, struct mb_packet *q)
{
    const uint8_t *h = mb__cursor_peek(c, 8);
    q->sport = q->dport = 0;
    q->seq = 0;
    switch (q->ip_proto) {
    case MB__PROTO_ICMP:
    case MB__PROTO_ICMPV6: /* an echo: of errors no error is sent */
        if (h == NULL)
            return false;
        q->sport = q->dport = mb__be16(h + 4);
        return q->ip_proto == MB__PROTO_ICMP ? h[0] == 8 || h[0] == 0 : h[0] == 128 || h[0] == 129;
    case MB__PROTO_TCP:
    case MB__PROTO_UDP:
    case MB__PROTO_SCTP:
        if (h == NULL)
            return false;
        q->sport = mb__be16(h);
        q->dport = mb__be16(h + 2);
        q->seq = q->ip_proto == MB__PROTO_TCP ? mb__be32(h + 4) : 0;
        return true;
    default:
        return true;
    }
}

/* The next hop's MTU (RFC 1191 4, RFC 4443 3.2). */
static uint32_t mtu_of(const struct mb_packet *p)
{
    const uint8_t *h = p->net + p->l4_off;
    if (p->ip_proto == MB__PROTO_ICMPV6)
        return p->icmp_type == 2 ? mb__be32(h + 4) : 0;
    return p->icmp_type == 3 && p->icmp_code == 4 ? mb__be16(h + 6) : 0;
}

bool mb__icmp_quote(const struct mb_packet *p, const struct mb_config *config, const struct mb__hash_key *key,
                    struct mb_packet *quoted, struct mb_icmp_error *error)
{
    if (!mb__icmp_is_error(p) || p->payload_off > p->net_len)
        return false;
    struct mb__cursor c = mb__cursor(p->net + p->payload_off, p->payload_len);
    *quoted = *p; /* VLAN and tunnel are the same */
    quoted->tcp_flags = 0;
    if (!read_ip(&c, quoted) || !read_ports(&c, quoted))
        return false;
    quoted->hash = mb__packet_hash(quoted, config, key);
    *error = (struct mb_icmp_error){.seq = quoted->seq, .mtu = mtu_of(p), .type = p->icmp_type, .code = p->icmp_code};
    return true;
}

bool mb__icmp_joins(const struct mb_packet *p, const struct mb_config *config, const struct mb__hash_key *key,
                    struct mb_packet *quoted, struct mb_icmp_error *error)
{
    bool unreachable = p->ip_proto == MB__PROTO_ICMP && p->icmp_type == 3; /* RFC 792 */
    return config->icmp_joins && unreachable && mb__icmp_quote(p, config, key, quoted, error) &&
           (quoted->ip_proto == MB__PROTO_TCP || quoted->ip_proto == MB__PROTO_UDP);
}
