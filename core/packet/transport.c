/* SPDX-License-Identifier: BSD-3-Clause */
/* transport -- TCP, UDP, ICMP and SCTP headers: ports, lengths, the flow hash */

#include "packet/fields.h"
#include "packet/walk.h"

#define TCP_HEADER 20
#define UDP_HEADER 8
#define ICMP_HEADER 8
#define SCTP_HEADER 12

/* The transport header is |hlen| bytes: what follows is payload. */
static void begin_payload(struct mb__walk *w, uint32_t hlen)
{
    struct mb_packet *p = w->p;
    size_t left = mb__cursor_left(&w->c);
    p->payload_off = p->l4_off + hlen;
    p->payload_len = left > hlen ? (uint32_t)(left - hlen) : 0;
    mb__cursor_skip(&w->c, left < hlen ? left : hlen);
}

/* The header is whole and its ports are set. */
static enum mb__layer finish(struct mb__walk *w)
{
    w->p->flags |= MB_PKT_L4;
    w->p->hash = mb__packet_hash(w->p, w->d->config, w->d->key);
    return MB__LAYER_END;
}

/* The header is not whole, or says what cannot be. */
static enum mb__layer broken_l4(struct mb__walk *w, enum mb_anomaly why)
{
    begin_payload(w, 0);
    return mb__broken(w, why);
}

/* Whether the first block of a SACK is of bytes that its sender had already: they are acknowledged, or in
 * the second block too (RFC 2883 4). */
static bool is_duplicate_sack(const struct mb_packet *p, const struct mb__tcp_options *o)
{
    const uint32_t(*block)[2] = o->sack;
    if (o->sack_count == 0 || !(p->tcp_flags & MB_TCP_ACK) || mb__seq_diff(block[0][1], block[0][0]) <= 0)
        return false;
    if (mb__seq_diff(block[0][1], p->ack) <= 0)
        return true;
    return o->sack_count > 1 && mb__seq_diff(block[0][0], block[1][0]) >= 0 &&
           mb__seq_diff(block[0][1], block[1][1]) <= 0;
}

static void check_tcp_options(struct mb_packet *p)
{
    struct mb__tcp_options o;
    mb__tcp_options_read(p, &o);
    if (o.malformed)
        mb__odd(p, MB_ANOMALY_TCP_OPTIONS);
    if (o.bad_len)
        mb__odd(p, MB_ANOMALY_TCP_OPTION_LEN);
    if (o.duplicate)
        mb__odd(p, MB_ANOMALY_TCP_OPTION_DUPLICATE);
    if (is_duplicate_sack(p, &o))
        p->flags |= MB_PKT_DSACK;
}

/* TCP (RFC 9293 3.1). A capture may cut off the options; what the header says
 * of the payload's place stands. */
static enum mb__layer tcp(struct mb__walk *w)
{
    struct mb_packet *p = w->p;
    const uint8_t *h = mb__cursor_peek(&w->c, TCP_HEADER);
    if (h == NULL)
        return broken_l4(w, MB_ANOMALY_L4_TRUNCATED);
    uint32_t hlen = (h[12] >> 4) * 4u;
    if (hlen < TCP_HEADER || hlen > mb__cursor_left(&w->c) + w->missing)
        return broken_l4(w, MB_ANOMALY_TCP_HLEN);
    mb__tcp_fields(p, h);
    begin_payload(w, hlen);
    if (mb__tcp_flags_odd(p->tcp_flags))
        mb__odd(p, MB_ANOMALY_TCP_FLAGS);
    if (hlen > TCP_HEADER && !(p->payload_off <= p->net_len && mb__tcp_timestamps_only(h, hlen)))
        check_tcp_options(p);
    return finish(w);
}

/* UDP (RFC 768). Length 0 is a jumbogram's (RFC 2675 4). What the datagram
 * holds beyond the UDP length is no payload. */
static enum mb__layer udp(struct mb__walk *w)
{
    struct mb_packet *p = w->p;
    const uint8_t *h = mb__cursor_peek(&w->c, UDP_HEADER);
    if (h == NULL)
        return broken_l4(w, MB_ANOMALY_L4_TRUNCATED);
    uint64_t room = mb__cursor_left(&w->c) + w->missing;
    uint32_t len = mb__be16(h + 4);
    bool jumbo = len == 0 && (p->flags & MB_PKT_IPV6);
    if (len < UDP_HEADER && !jumbo)
        return broken_l4(w, MB_ANOMALY_UDP_LEN);
    if (len > room)
        mb__odd(p, MB_ANOMALY_UDP_LEN);
    if (!jumbo && len <= room) {
        mb__cursor_clip(&w->c, len);
        w->missing = len - mb__cursor_left(&w->c);
    }
    mb__udp_fields(p, h);
    begin_payload(w, UDP_HEADER);
    finish(w);
    return mb__udp_tunnel(w);
}

/* ICMP and ICMPv6 (RFC 792, RFC 4443): echo has an identifier, which serves as
 * both ports, so that request and reply are one flow. */
static enum mb__layer icmp(struct mb__walk *w, uint8_t request, uint8_t reply)
{
    struct mb_packet *p = w->p;
    const uint8_t *h = mb__cursor_peek(&w->c, ICMP_HEADER);
    if (h == NULL)
        return broken_l4(w, MB_ANOMALY_L4_TRUNCATED);
    bool echo = h[0] == request || h[0] == reply;
    p->icmp_type = h[0];
    p->icmp_code = h[1];
    p->sport = echo ? mb__be16(h + 4) : h[0];
    p->dport = echo ? mb__be16(h + 4) : h[1];
    begin_payload(w, ICMP_HEADER);
    return finish(w);
}

/* SCTP common header (RFC 9260 3.1): ports, verification tag, CRC32c. */
static enum mb__layer sctp(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, SCTP_HEADER);
    if (h == NULL)
        return broken_l4(w, MB_ANOMALY_L4_TRUNCATED);
    w->p->sport = mb__be16(h);
    w->p->dport = mb__be16(h + 2);
    begin_payload(w, SCTP_HEADER);
    return finish(w);
}

/* A protocol without a header that we know: the flow is that of the addresses. */
static enum mb__layer plain_ip(struct mb__walk *w)
{
    begin_payload(w, 0);
    w->p->hash = mb__packet_hash(w->p, w->d->config, w->d->key);
    return mb__ip_tunnel(w, w->p->ip_proto);
}

enum mb__layer mb__transport(struct mb__walk *w)
{
    switch (w->p->ip_proto) {
    case MB__PROTO_TCP:
        return tcp(w);
    case MB__PROTO_UDP:
        return udp(w);
    case MB__PROTO_ICMP:
        return icmp(w, 8, 0);
    case MB__PROTO_ICMPV6:
        return icmp(w, 128, 129);
    case MB__PROTO_SCTP:
        return sctp(w);
    default:
        return plain_ip(w);
    }
}
