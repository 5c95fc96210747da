/* SPDX-License-Identifier: BSD-3-Clause */
/* tunnel -- takes tunnel headers off IP and UDP payloads
 *
 * A function here either opens a further packet and names the layer that the
 * tunnel carries, or answers END and leaves the packet as it is: a port number
 * is a hint only, so what does not look like the tunnel is no anomaly.
 */

#include "packet/fields.h"
#include "packet/walk.h"

/* Opens the packet inside the one at hand. |udp| keeps the outer one. */
static enum mb__layer enter(struct mb__walk *w, bool udp, uint32_t id, enum mb__layer inner)
{
    struct mb_packet *outer = w->p;
    if (outer->tunnels >= w->d->config->max_tunnels || w->at + 1 >= MB__MAX_LAYERS)
        return mb__broken(w, MB_ANOMALY_TUNNEL_DEPTH);
    if (udp)
        w->udp_tunnels |= 1u << w->at;
    struct mb_packet *p = w->p = &w->out[++w->at];
    *p = (struct mb_packet){
        .ts = outer->ts,
        .frame = outer->frame,
        .number = outer->number,
        .frame_len = outer->frame_len,
        .wire_len = outer->wire_len,
        .flags = MB_PKT_TUNNELLED | (outer->flags & MB_PKT_REASSEMBLED),
        .tunnel_id = id != 0 ? id : outer->tunnel_id,
        .vlan = {outer->vlan[0], outer->vlan[1]},
        .vlans = outer->vlans,
        .link = outer->link,
        .tunnels = (uint8_t)(outer->tunnels + 1),
    };
    return inner;
}

static bool wanted(const struct mb__walk *w, enum mb_tunnel kind)
{
    return w->d->config->decap & kind;
}

/* ---- over IP ------------------------------------------------------------- */

/* ERSPAN II and III name themselves in the first nibble: 1 and 2. Type II has
 * 8 bytes with a session of 10 bits; type III 12, and 8 more if its last bit
 * says so. */
static enum mb__layer erspan(struct mb__walk *w, uint16_t type)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 8);
    if (h == NULL || !wanted(w, MB_TUNNEL_ERSPAN))
        return MB__LAYER_END;
    uint8_t version = h[0] >> 4;
    if (version != (type == 0x22eb ? 2 : 1))
        return mb__broken(w, MB_ANOMALY_TUNNEL_BAD);
    size_t len = 8;
    if (version == 2) {
        h = mb__cursor_peek(&w->c, 12);
        if (h == NULL)
            return mb__broken(w, MB_ANOMALY_TUNNEL_BAD);
        len = h[11] & 1 ? 20 : 12;
    }
    uint32_t session = mb__be16(h + 2) & 0x3ff;
    if (!mb__cursor_skip(&w->c, len))
        return mb__broken(w, MB_ANOMALY_TUNNEL_BAD);
    return enter(w, false, session, MB__LAYER_ETHERNET);
}

/* What a GRE header says. */
struct gre {
    uint16_t type;   /* ethertype of the payload */
    uint32_t key;    /* key, or the call id of PPTP; 0: none */
    bool sequence;   /* it is numbered: ERSPAN II, not I */
    uint8_t version; /* 1: PPTP's (RFC 2637 4.1) */
};

/* Reads a GRE header with its optional fields (RFC 2784, RFC 2890, and source
 * routes of RFC 1701, which end with an empty one). */
static bool gre_header(struct mb__cursor *c, struct gre *g)
{
    uint16_t bits;
    if (!mb__cursor_u16(c, &bits) || !mb__cursor_u16(c, &g->type))
        return false;
    bool routing = bits & 0x4000;
    g->version = bits & 7;
    g->sequence = bits & 0x1000;
    if (g->version > 1 || (g->version == 1 && g->type != 0x880b))
        return false;
    if ((bits & 0xc000) != 0 && !mb__cursor_skip(c, 4))
        return false;
    if ((bits & 0x2000) != 0 && !mb__cursor_u32(c, &g->key))
        return false;
    if (g->sequence && !mb__cursor_skip(c, 4))
        return false;
    if (g->version == 1) {
        g->key &= 0xffff;
        return (bits & 0x0080) == 0 || mb__cursor_skip(c, 4);
    }
    for (int i = 0; routing && i < 8; i++) {
        const uint8_t *route = mb__cursor_take(c, 4);
        if (route == NULL || !mb__cursor_skip(c, route[3]))
            return false;
        routing = mb__be16(route) != 0 || route[3] != 0;
    }
    return !routing;
}

/* What a GRE payload of |type| is: an ethertype, or Aruba's for 802.11. */
static enum mb__layer gre_payload(struct mb__walk *w, uint16_t type)
{
    bool aruba = (type & 0xfe0f) == 0x8200;
    return aruba ? MB__LAYER_80211 : mb__layer_of_ethertype(w, type);
}

static enum mb__layer gre(struct mb__walk *w)
{
    struct gre g = {0};
    if (!wanted(w, MB_TUNNEL_GRE | MB_TUNNEL_ERSPAN))
        return MB__LAYER_END;
    if (!gre_header(&w->c, &g))
        return mb__broken(w, MB_ANOMALY_TUNNEL_BAD);
    if (mb__cursor_left(&w->c) == 0)
        return MB__LAYER_END; /* a keep-alive, or an acknowledgement of PPTP */
    if (g.type == 0x22eb || (g.type == 0x88be && g.sequence))
        return erspan(w, g.type);
    if (g.type == 0x88be)
        return wanted(w, MB_TUNNEL_ERSPAN) ? enter(w, false, g.key, MB__LAYER_ETHERNET) : MB__LAYER_END;
    if (!wanted(w, MB_TUNNEL_GRE))
        return MB__LAYER_END;
    enum mb__layer inner = gre_payload(w, g.type);
    return inner == MB__LAYER_END ? inner : enter(w, false, g.key, inner);
}

enum mb__layer mb__ip_tunnel(struct mb__walk *w, uint8_t proto)
{
    switch (proto) {
    case MB__PROTO_IPIP:
        return wanted(w, MB_TUNNEL_IPIP) ? enter(w, false, 0, MB__LAYER_IPV4) : MB__LAYER_END;
    case MB__PROTO_IPV6:
        return wanted(w, MB_TUNNEL_IPIP) ? enter(w, false, 0, MB__LAYER_IPV6) : MB__LAYER_END;
    case MB__PROTO_GRE:
        return gre(w);
    default:
        return MB__LAYER_END;
    }
}

/* ---- over UDP ------------------------------------------------------------ */

/* VXLAN (RFC 7348 5): the I flag, 24 bits of network identifier; the rest 0,
 * but for the bits of the group policy extension. */
static enum mb__layer vxlan(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 8);
    if (h == NULL || (h[0] & 0x7f) != 0x08 || h[7] != 0)
        return MB__LAYER_END;
    uint32_t vni = mb__be24(h + 4);
    mb__cursor_skip(&w->c, 8);
    return enter(w, true, vni, MB__LAYER_ETHERNET);
}

/* GENEVE (RFC 8926 3.4): version 0, options in words, ethertype, identifier. */
static enum mb__layer geneve(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 8);
    if (h == NULL || h[0] >> 6 != 0 || (h[1] & 0x3f) != 0 || h[7] != 0)
        return MB__LAYER_END;
    uint16_t type = mb__be16(h + 2);
    bool carries = type == 0x6558 || type == 0x0800 || type == 0x86dd;
    uint32_t vni = mb__be24(h + 4);
    if (!carries || !mb__cursor_skip(&w->c, 8 + (h[0] & 0x3fu) * 4))
        return MB__LAYER_END;
    return enter(w, true, vni, mb__layer_of_ethertype(w, type));
}

/* GTP-U (3GPP TS 29.281 5): version 1, message 255 is a user's packet; sequence
 * number, N-PDU number and extension headers in words if any of three bits. */
static enum mb__layer gtpu(struct mb__walk *w)
{
    struct mb__cursor c = w->c;
    const uint8_t *h = mb__cursor_take(&c, 8);
    if (h == NULL || h[0] >> 5 != 1 || (h[0] & 0x10) == 0 || h[1] != 0xff)
        return MB__LAYER_END;
    const uint8_t *more = h[0] & 7 ? mb__cursor_take(&c, 4) : NULL;
    if ((h[0] & 7) != 0 && more == NULL)
        return MB__LAYER_END;
    uint8_t next = (h[0] & 4) != 0 ? more[3] : 0;
    for (int i = 0; next != 0; i++) {
        const uint8_t *words = mb__cursor_peek(&c, 1);
        if (i == 16 || words == NULL || words[0] == 0)
            return MB__LAYER_END;
        const uint8_t *extension = mb__cursor_take(&c, words[0] * 4u);
        if (extension == NULL)
            return MB__LAYER_END;
        next = extension[words[0] * 4u - 1];
    }
    const uint8_t *inner = mb__cursor_peek(&c, 1);
    if (inner == NULL || (inner[0] >> 4 != 4 && inner[0] >> 4 != 6))
        return MB__LAYER_END;
    w->c = c;
    return enter(w, true, mb__be32(h + 4), MB__LAYER_IP);
}

/* Whether an IPv6 datagram fills what is left of a UDP datagram exactly: a
 * sign strong enough where there is but a port to go by. */
static bool fills_with_ipv6(const struct mb__walk *w, const struct mb__cursor *c)
{
    const uint8_t *h = mb__cursor_peek(c, 40);
    return h != NULL && h[0] >> 4 == 6 && 40u + mb__be16(h + 4) == mb__cursor_left(c) + w->missing;
}

/* Teredo (RFC 4380 5.1.1): authentication and origin indications, then IPv6,
 * which must fill the datagram exactly, as its port is but a hint. */
static enum mb__layer teredo(struct mb__walk *w)
{
    struct mb__cursor c = w->c;
    const uint8_t *h = mb__cursor_peek(&c, 4);
    if (h != NULL && h[0] == 0 && h[1] == 1) {
        if (!mb__cursor_skip(&c, 13u + h[2] + h[3]))
            return MB__LAYER_END;
        h = mb__cursor_peek(&c, 2);
    }
    if (h != NULL && h[0] == 0 && h[1] == 0 && !mb__cursor_skip(&c, 8))
        return MB__LAYER_END;
    if (!fills_with_ipv6(w, &c))
        return MB__LAYER_END;
    w->c = c;
    return enter(w, true, 0, MB__LAYER_IPV6);
}

/* GRE in UDP (RFC 8086): version 0, and of a kind that we know. */
static enum mb__layer gre_in_udp(struct mb__walk *w)
{
    struct mb__cursor c = w->c;
    struct gre g = {0};
    if (!gre_header(&c, &g) || g.version != 0)
        return MB__LAYER_END;
    if (g.type != 0x0800 && g.type != 0x86dd && g.type != 0x6558)
        return MB__LAYER_END;
    w->c = c;
    return enter(w, true, g.key, mb__layer_of_ethertype(w, g.type));
}

/* AYIYA (draft-massar-v6ops-ayiya-02 3): lengths of identity and signature,
 * operation "forward", next header; time; identity, signature; then IP, which
 * must fill the datagram exactly. */
static enum mb__layer ayiya(struct mb__walk *w)
{
    struct mb__cursor c = w->c;
    const uint8_t *h = mb__cursor_take(&c, 8);
    if (h == NULL || (h[2] & 15) != 1 || h[3] != MB__PROTO_IPV6)
        return MB__LAYER_END;
    size_t identity = (size_t)1 << (h[0] >> 4), signature = (h[1] >> 4) * 4u;
    if (!mb__cursor_skip(&c, identity + signature) || !fills_with_ipv6(w, &c))
        return MB__LAYER_END;
    w->c = c;
    return enter(w, true, 0, MB__LAYER_IPV6);
}

enum mb__layer mb__udp_tunnel(struct mb__walk *w)
{
    const struct mb_packet *p = w->p;
    uint16_t port = mb__udp_tunnel_port(p->dport) ? p->dport : p->sport;
    switch (port) {
    case MB__PORT_VXLAN:
        return wanted(w, MB_TUNNEL_VXLAN) ? vxlan(w) : MB__LAYER_END;
    case MB__PORT_GENEVE:
        return wanted(w, MB_TUNNEL_GENEVE) ? geneve(w) : MB__LAYER_END;
    case MB__PORT_GTPU:
        return wanted(w, MB_TUNNEL_GTPU) ? gtpu(w) : MB__LAYER_END;
    case MB__PORT_TEREDO:
        return wanted(w, MB_TUNNEL_TEREDO) ? teredo(w) : MB__LAYER_END;
    case MB__PORT_GRE:
        return wanted(w, MB_TUNNEL_GRE) ? gre_in_udp(w) : MB__LAYER_END;
    case MB__PORT_AYIYA:
        return wanted(w, MB_TUNNEL_AYIYA) ? ayiya(w) : MB__LAYER_END;
    default:
        return MB__LAYER_END;
    }
}
