/* SPDX-License-Identifier: BSD-3-Clause */
/* link -- link-layer headers, and what may stand between them and IP */

#include "packet/walk.h"

#define ETHERTYPE_FIRST 1536 /* below: a length, an LLC header follows (802.3) */
#define MPLS_MAX_LABELS 32

/* The layer that capture files of LINKTYPE_ number |link| begin with. */
enum mb__layer mb__layer_of_link(int link)
{
    switch (link) {
    case MB__LINK_ETHERNET:
        return MB__LAYER_ETHERNET;
    case MB__LINK_NULL:
    case MB__LINK_LOOP:
        return MB__LAYER_NULL;
    case MB__LINK_PPP:
    case MB__LINK_PPP_HDLC:
        return MB__LAYER_PPP;
    case MB__LINK_PPPOE:
        return MB__LAYER_PPPOE;
    case MB__LINK_RAW:
    case MB__LINK_DLT_RAW:
    case MB__LINK_DLT_RAW_OPENBSD:
        return MB__LAYER_IP;
    case MB__LINK_IPV4:
        return MB__LAYER_IPV4;
    case MB__LINK_IPV6:
        return MB__LAYER_IPV6;
    case MB__LINK_SLL:
        return MB__LAYER_SLL;
    case MB__LINK_SLL2:
        return MB__LAYER_SLL2;
    case MB__LINK_80211:
        return MB__LAYER_80211;
    case MB__LINK_RADIOTAP:
        return MB__LAYER_RADIOTAP;
    default:
        return MB__LAYER_END;
    }
}

/* The layer after a header that ends with ethertype |type|. Protocols that
 * are known to carry no IP are no anomaly. */
enum mb__layer mb__layer_of_ethertype(struct mb__walk *w, uint16_t type)
{
    switch (type) {
    case 0x0800:
        return MB__LAYER_IPV4;
    case 0x86dd:
        return MB__LAYER_IPV6;
    case 0x8100: /* 802.1Q */
    case 0x88a8: /* 802.1ad */
    case 0x9100: /* QinQ before the standard */
    case 0x9200:
        return MB__LAYER_VLAN;
    case 0x8847:
    case 0x8848:
        return MB__LAYER_MPLS;
    case 0x8864:
        return MB__LAYER_PPPOE;
    case 0x880b:
        return MB__LAYER_PPP;
    case 0x6558: /* transparent Ethernet bridging */
        return MB__LAYER_ETHERNET;
    case 0x8903:
        return MB__LAYER_FABRICPATH;
    case 0x8926:
        return MB__LAYER_VNTAG;
    case 0x88e7:
        return MB__LAYER_PBB;
    case 0x894f:
        return MB__LAYER_NSH;
    case 0x0806: /* ARP */
    case 0x8035: /* RARP */
    case 0x0842: /* wake-on-LAN */
    case 0x8137: /* IPX */
    case 0x8809: /* slow protocols: LACP, OAM */
    case 0x8863: /* PPPoE discovery */
    case 0x888e: /* 802.1X */
    case 0x88cc: /* LLDP */
    case 0x88e5: /* MACsec: encrypted */
    case 0x88f7: /* PTP */
    case 0x8902: /* CFM */
    case 0x9000: /* loopback test */
        return MB__LAYER_END;
    default:
        return mb__broken(w, MB_ANOMALY_LINK_UNKNOWN);
    }
}

/* Ethernet II and 802.3. A header inside another starts the VLANs anew. */
enum mb__layer mb__ethernet(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 14);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    w->p->vlans = 0;
    w->p->vlan[0] = w->p->vlan[1] = 0;
    uint16_t type = mb__be16(h + 12);
    if (type >= ETHERTYPE_FIRST)
        return mb__layer_of_ethertype(w, type);
    mb__cursor_clip(&w->c, type);
    return MB__LAYER_LLC;
}

/* 802.1Q tag: 3 bits priority, 1 drop eligible, 12 identifier; ethertype. */
enum mb__layer mb__vlan(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 4);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    if (w->p->vlans < 2)
        w->p->vlan[w->p->vlans++] = mb__be16(h) & 0x0fff;
    uint16_t type = mb__be16(h + 2);
    return type < ETHERTYPE_FIRST ? MB__LAYER_LLC : mb__layer_of_ethertype(w, type);
}

/* 802.2 LLC: of interest are IP itself (SAP 6) and SNAP (SAP 0xaa, RFC 1042). */
enum mb__layer mb__llc(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 3);
    if (h == NULL)
        return MB__LAYER_END;
    if (h[0] == 0x06 && h[1] == 0x06 && h[2] == 0x03)
        return MB__LAYER_IPV4;
    if (h[0] != 0xaa || h[1] != 0xaa || h[2] != 0x03)
        return MB__LAYER_END;
    const uint8_t *snap = mb__cursor_take(&w->c, 5);
    if (snap == NULL)
        return MB__LAYER_END;
    uint32_t oui = mb__be24(snap);
    uint16_t type = mb__be16(snap + 3);
    bool ethertype = (oui == 0x000000 || oui == 0x0000f8) && type >= ETHERTYPE_FIRST;
    return ethertype ? mb__layer_of_ethertype(w, type) : MB__LAYER_END;
}

/* MPLS label stack (RFC 3032). Nothing names what it carries: a first nibble
 * of 4 or 6 is taken for IP, 0 for a pseudowire's control word before Ethernet
 * (RFC 4385), 1 for its associated channel, and anything else for Ethernet. */
enum mb__layer mb__mpls(struct mb__walk *w)
{
    for (int labels = 0; labels < MPLS_MAX_LABELS; labels++) {
        const uint8_t *h = mb__cursor_take(&w->c, 4);
        if (h == NULL)
            return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
        if ((h[2] & 1) == 0)
            continue;
        const uint8_t *next = mb__cursor_peek(&w->c, 1);
        if (next == NULL)
            return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
        switch (next[0] >> 4) {
        case 4:
            return MB__LAYER_IPV4;
        case 6:
            return MB__LAYER_IPV6;
        case 1:
            return MB__LAYER_END;
        case 0:
            mb__cursor_skip(&w->c, 4);
            return MB__LAYER_ETHERNET;
        default:
            return MB__LAYER_ETHERNET;
        }
    }
    return mb__broken(w, MB_ANOMALY_TUNNEL_DEPTH);
}

/* PPPoE session stage (RFC 2516 4): version, code, session, length. */
enum mb__layer mb__pppoe(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 6);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    if (h[0] != 0x11 || h[1] != 0)
        return MB__LAYER_END;
    mb__cursor_clip(&w->c, mb__be16(h + 4));
    return MB__LAYER_PPP;
}

/* PPP, with or without HDLC address and control, with or without compression
 * of the protocol field to one odd byte (RFC 1661 2, RFC 1662 3). */
enum mb__layer mb__ppp(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 2);
    if (h != NULL && h[0] == 0xff && h[1] == 0x03)
        mb__cursor_skip(&w->c, 2);
    uint8_t high, low;
    if (!mb__cursor_u8(&w->c, &high))
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    uint16_t protocol = high;
    if ((high & 1) == 0) {
        if (!mb__cursor_u8(&w->c, &low))
            return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
        protocol = (uint16_t)(high << 8 | low);
    }
    switch (protocol) {
    case 0x0021:
        return MB__LAYER_IPV4;
    case 0x0057:
        return MB__LAYER_IPV6;
    case 0x0281:
        return MB__LAYER_MPLS;
    default: /* link control, authentication, compressed or encrypted data */
        return MB__LAYER_END;
    }
}

/* The protocol field of Linux cooked captures: an ethertype, or a small number. */
static enum mb__layer layer_of_cooked(struct mb__walk *w, uint16_t protocol)
{
    if (protocol >= ETHERTYPE_FIRST)
        return mb__layer_of_ethertype(w, protocol);
    return protocol == 4 ? MB__LAYER_LLC : MB__LAYER_END;
}

/* LINKTYPE_LINUX_SLL: 16 bytes, the protocol last. */
enum mb__layer mb__sll(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 16);
    return h == NULL ? mb__broken(w, MB_ANOMALY_LINK_TRUNCATED) : layer_of_cooked(w, mb__be16(h + 14));
}

/* LINKTYPE_LINUX_SLL2: 20 bytes, the protocol first. */
enum mb__layer mb__sll2(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 20);
    return h == NULL ? mb__broken(w, MB_ANOMALY_LINK_TRUNCATED) : layer_of_cooked(w, mb__be16(h));
}

/* BSD loopback: an address family, in the byte order of the machine that
 * captured (NULL) or of the network (LOOP). Families differ between systems. */
enum mb__layer mb__null(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 4);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    uint32_t family = mb__be32(h);
    if (family > 0xffff)
        family = mb__le32(h);
    switch (family) {
    case 2:
        return MB__LAYER_IPV4;
    case 10: /* Linux */
    case 24: /* NetBSD, OpenBSD */
    case 28: /* FreeBSD */
    case 30: /* Darwin */
        return MB__LAYER_IPV6;
    default:
        return mb__broken(w, MB_ANOMALY_LINK_UNKNOWN);
    }
}

/* A part of an aggregate (IEEE 802.11 9.3.2.2.2): two addresses, the length of
 * what follows, an LLC header; padded to 4 bytes, but for the last. */
enum mb__layer mb__80211_part(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->parts, 14);
    if (h == NULL)
        return MB__LAYER_END; /* nothing, or a checksum */
    size_t len = mb__be16(h + 12), pad = -(14 + len) & 3;
    if (!mb__cursor_split(&w->parts, len, &w->c)) {
        w->parts = mb__cursor(NULL, 0);
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    }
    if (!mb__cursor_skip(&w->parts, pad))
        w->parts = mb__cursor(NULL, 0);
    return MB__LAYER_LLC;
}

/* 802.11 data frames in clear: the header's length depends on its bits, an
 * LLC header follows, or an aggregate of such (A-MSDU). */
enum mb__layer mb__80211(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 24);
    if (h == NULL)
        return MB__LAYER_END; /* control frames are shorter */
    uint16_t control = mb__le16(h);
    uint8_t type = control >> 2 & 3, subtype = control >> 4 & 15;
    bool is_data = type == 2 && (subtype & 4) == 0;
    bool is_protected = control & 0x4000;
    if ((control & 3) != 0 || !is_data || is_protected)
        return MB__LAYER_END;
    bool qos = subtype & 8;
    size_t address4 = (control & 0x0300) == 0x0300 ? 6 : 0;
    if (!mb__cursor_skip(&w->c, 24 + address4))
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    if (!qos)
        return MB__LAYER_LLC;
    const uint8_t *q = mb__cursor_take(&w->c, 2);
    if (q == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    bool aggregate = q[0] & 0x80;
    if (!mb__cursor_skip(&w->c, control & 0x8000 ? 4 : 0))
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    if (!aggregate)
        return MB__LAYER_LLC;
    w->parts = w->c;
    return mb__80211_part(w);
}

/* Radiotap: version 0, a pad byte, the header's length in little endian. */
enum mb__layer mb__radiotap(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 4);
    if (h == NULL || h[0] != 0)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    uint16_t len = mb__le16(h + 2);
    if (len < 4 || !mb__cursor_skip(&w->c, len))
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    return MB__LAYER_80211;
}

/* A header of |len| bytes that says nothing we need. */
static enum mb__layer pass_over(struct mb__walk *w, size_t len, enum mb__layer next)
{
    return mb__cursor_skip(&w->c, len) ? next : mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
}

/* Cisco FabricPath: after the ethertype 10 bits tree, 6 bits TTL. */
enum mb__layer mb__fabricpath(struct mb__walk *w)
{
    return pass_over(w, 2, MB__LAYER_ETHERNET);
}

/* 802.1ah I-TAG: flags and a 24-bit service, then the customer's frame. */
enum mb__layer mb__pbb(struct mb__walk *w)
{
    return pass_over(w, 4, MB__LAYER_ETHERNET);
}

/* VN-tag (802.1BR's forerunner): 4 bytes, then an ethertype. */
enum mb__layer mb__vntag(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_take(&w->c, 6);
    return h == NULL ? mb__broken(w, MB_ANOMALY_LINK_TRUNCATED) : mb__layer_of_ethertype(w, mb__be16(h + 4));
}

/* Network service header (RFC 8300 2.2): length in words, next protocol. */
enum mb__layer mb__nsh(struct mb__walk *w)
{
    const uint8_t *h = mb__cursor_peek(&w->c, 4);
    if (h == NULL)
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    size_t len = (size_t)(h[1] & 0x3f) * 4;
    if (h[0] >> 6 != 0 || len < 8 || !mb__cursor_skip(&w->c, len))
        return mb__broken(w, MB_ANOMALY_LINK_TRUNCATED);
    switch (h[3]) {
    case 1:
        return MB__LAYER_IPV4;
    case 2:
        return MB__LAYER_IPV6;
    case 3:
        return MB__LAYER_ETHERNET;
    case 4:
        return MB__LAYER_NSH;
    case 5:
        return MB__LAYER_MPLS;
    default:
        return mb__broken(w, MB_ANOMALY_LINK_UNKNOWN);
    }
}
