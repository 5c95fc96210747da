/* SPDX-License-Identifier: BSD-3-Clause */
/* walk -- one frame's way through its layers
 *
 *     Ethernet -> VLAN -> IPv4 -> UDP -> VXLAN -> Ethernet -> IPv6 -> TCP
 *                         \____ out[0] ____/                  \_ out[1] _/
 *
 * Each layer is a function that reads its header off the cursor and names the
 * layer that follows; a loop in decoder.c calls one after the other, so no
 * input makes the stack deep. A tunnel opens a further packet. When the walk
 * is over, what an IP tunnel carried takes the place of its outer packet, what
 * a UDP tunnel carried stays beside it, and insides that turned out to hold no
 * IP are forgotten as if the tunnel had not been looked into.
 */
#ifndef MB_PACKET_WALK_H
#define MB_PACKET_WALK_H

#include "base/cursor.h"
#include "packet/packet.h"

#define MB__MAX_STEPS 40 /* layers of all kinds in one frame */

/* What comes next; the order is that of the table in decoder.c. */
enum mb__layer {
    MB__LAYER_END = 0, /* nothing that is known */
    MB__LAYER_ETHERNET,
    MB__LAYER_VLAN,
    MB__LAYER_LLC,
    MB__LAYER_MPLS,
    MB__LAYER_PPPOE,
    MB__LAYER_PPP,
    MB__LAYER_SLL,
    MB__LAYER_SLL2,
    MB__LAYER_NULL,
    MB__LAYER_80211,
    MB__LAYER_RADIOTAP,
    MB__LAYER_FABRICPATH,
    MB__LAYER_VNTAG,
    MB__LAYER_PBB,
    MB__LAYER_NSH,
    MB__LAYER_IP, /* the first nibble tells the version */
    MB__LAYER_IPV4,
    MB__LAYER_IPV6,
    MB__LAYER_TRANSPORT,
    MB__LAYER_COUNT
};

struct mb__defrag;

struct mb__decoder {
    const struct mb_config *config;
    const struct mb__hash_key *key;
    struct mb_stats *stats;
    struct mb__defrag *defrag;
    int64_t now;     /* the clock as decoding sees it, ns: up to a burst or chunk ahead of the engine's */
    int64_t lag;     /* how far it is ahead of the capture's, see mb__mend() */
    int64_t tick;    /* of that clock, when fragments were last looked through */
    uint64_t frames; /* came before the one at hand */
    struct mb_stats *common; /* of a worker: where what all workers decode is counted */
    const struct mb__prefixes *hops; /* NULL: no host is known to be any */
    uint8_t farthest;                /* most hops of a prefix */
};

struct mb__walk {
    struct mb__decoder *d;
    struct mb__cursor c;   /* the rest of the layer at hand */
    struct mb__cursor parts; /* 802.11 aggregate: the parts after the one at hand */
    uint64_t missing;      /* bytes that belong after c.end and were not captured */
    struct mb_packet *p;   /* packet being filled: &out[at] */
    struct mb_packet *out; /* of MB__MAX_LAYERS */
    uint32_t at;
    uint32_t udp_tunnels;  /* bit n: out[n] is the UDP datagram of a tunnel */
};

/* Notes that |p| is odd. Counted when the walk is over. */
static inline void mb__odd(struct mb_packet *p, enum mb_anomaly why)
{
    if (p->anomaly == MB_ANOMALY_NONE)
        p->anomaly = (uint8_t)why;
    p->anomalies |= UINT64_C(1) << why;
}

/* Notes why the walk cannot go on. */
static inline enum mb__layer mb__broken(struct mb__walk *w, enum mb_anomaly why)
{
    mb__odd(w->p, why);
    return MB__LAYER_END;
}

/* ---- link.c -------------------------------------------------------------- */

enum mb__layer mb__layer_of_link(int link);
enum mb__layer mb__layer_of_ethertype(struct mb__walk *w, uint16_t type);
enum mb__layer mb__ethernet(struct mb__walk *w);
enum mb__layer mb__vlan(struct mb__walk *w);
enum mb__layer mb__llc(struct mb__walk *w);
enum mb__layer mb__mpls(struct mb__walk *w);
enum mb__layer mb__pppoe(struct mb__walk *w);
enum mb__layer mb__ppp(struct mb__walk *w);
enum mb__layer mb__sll(struct mb__walk *w);
enum mb__layer mb__sll2(struct mb__walk *w);
enum mb__layer mb__null(struct mb__walk *w);
enum mb__layer mb__80211(struct mb__walk *w);
enum mb__layer mb__radiotap(struct mb__walk *w);
/* The next part of an 802.11 aggregate; END if there is none. */
enum mb__layer mb__80211_part(struct mb__walk *w);
enum mb__layer mb__fabricpath(struct mb__walk *w);
enum mb__layer mb__vntag(struct mb__walk *w);
enum mb__layer mb__pbb(struct mb__walk *w);
enum mb__layer mb__nsh(struct mb__walk *w);

/* ---- ip.c ---------------------------------------------------------------- */

enum mb__layer mb__ip(struct mb__walk *w);
enum mb__layer mb__ipv4(struct mb__walk *w);
enum mb__layer mb__ipv6(struct mb__walk *w);

/* ---- transport.c --------------------------------------------------------- */

enum mb__layer mb__transport(struct mb__walk *w);

/* ---- tunnel.c ------------------------------------------------------------ */

/* The payload of IP protocol |proto| if it is a tunnel to be taken off. */
enum mb__layer mb__ip_tunnel(struct mb__walk *w, uint8_t proto);
/* The same for the payload of a UDP datagram. */
enum mb__layer mb__udp_tunnel(struct mb__walk *w);

/* ---- decoder.c ----------------------------------------------------------- */

/* Decodes any frame, layer by layer, into |out| of MB__MAX_LAYERS packets, and counts
 * them. How many. */
int mb__decode_walk(struct mb__decoder *d, int link, const struct mb_frame *frame, uint64_t number,
                    struct mb_packet *out);

/* ---- defrag.c ------------------------------------------------------------ */

/* A fragment: where its bytes belong in the datagram. */
struct mb__fragment_place {
    uint32_t id;      /* identification, 16 or 32 bits */
    uint32_t offset;  /* of its bytes in the fragmentable part */
    uint32_t head;    /* bytes in front of the fragmentable part, from net */
    uint32_t patch;   /* IPv6: where the next-header field before the fragment header is */
    uint8_t proto;    /* protocol, or first header, of the fragmentable part */
    bool more;        /* more fragments follow */
};

struct mb__defrag *mb__defrag_new(const struct mb_config *config, const struct mb__hash_key *key,
                                  struct mb__memory *memory, struct mb_stats *stats);
void mb__defrag_free(struct mb__defrag *g);
void mb__defrag_count_in(struct mb__defrag *g, struct mb_stats *stats);
void mb__defrag_release(struct mb__defrag *g);
void mb__defrag_expire(struct mb__defrag *g, int64_t now);
void mb__defrag_finish(struct mb__defrag *g);
/* Puts the bytes at the cursor, a fragment of w->p, to those already here. If
 * that completes the datagram, points the cursor at its IP header and names
 * the layer; otherwise END, and the packet stays a fragment. */
enum mb__layer mb__defrag_add(struct mb__walk *w, const struct mb__fragment_place *place);

#endif
