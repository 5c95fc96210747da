/* SPDX-License-Identifier: BSD-3-Clause */
/* packet -- captured bytes into struct mb_packet
 *
 * One decoder belongs to an engine. It takes off link layers and tunnels, puts
 * IP fragments together, finds the transport header and hashes the flow key.
 * It reads every byte through the bounds-checked cursor of base/cursor.h.
 *
 * Lifetime: datagrams put together from fragments live in the decoder until
 * mb__decoder_release(), which the engine calls when a burst, or as much of a worker's list, is done.
 */
#ifndef MB_PACKET_PACKET_H
#define MB_PACKET_PACKET_H

#include "base/cursor.h"
#include "base/hash.h"
#include "base/listed.h"
#include "base/memory.h"
#include "base/overlap.h"
#include "base/prefixes.h"
#include "mosbox.h"

#define MB__MAX_LAYERS 8 /* most packets that one frame gives */
#define MB__BATCH (MB_BURST + MB__MAX_LAYERS) /* packets decoded before they are looked up */
#define MB__AHEAD 4 /* packets whose flow is fetched while another is at work */
#define MB__LATEST ((int64_t)1 << 62) /* in 2116: a later time is taken for this one, so that timeouts can be added */

struct mb__decoder;

/* A decoder that counts in |stats| and takes memory for fragments from
 * |memory|; both, |config| and |key| are borrowed for its life. NULL: no memory. */
struct mb__decoder *mb__decoder_new(const struct mb_config *config, const struct mb__hash_key *key,
                                    struct mb__memory *memory, struct mb_stats *stats);
/* Fragments that overlap are put together by the policy of the host they are for,
 * of |hosts| (borrowed); without it, by config->overlap. */
void mb__decoder_hosts(struct mb__decoder *d, const struct mb__prefixes *hosts);
/* |hops| (borrowed) tells how many routers are between here and a host, up to
 * |farthest|: a datagram that does not survive them is read no further. */
void mb__decoder_hops(struct mb__decoder *d, const struct mb__prefixes *hops, uint8_t farthest);
void mb__decoder_free(struct mb__decoder *d);
/* From now on the decoder is that of one of several workers: what all of them
 * decode is counted in |common| (borrowed). */
void mb__decoder_share(struct mb__decoder *d, struct mb_stats *common);

/* Frames that were decoded together. */
struct mb__burst {
    uint8_t packets[MB_BURST];          /* of each frame; 0: it is brief and takes one place all the same */
    uint64_t first;                     /* the first frame's number */
    int total;                          /* packets and places */
    uint32_t hash[MB__BATCH + MB__AHEAD]; /* of each packet, decoded or not; anything after the last */
    struct mb_packet packet[MB__BATCH]; /* those of one frame after those of the other */
};

/* Decodes one frame of |frames| after the other, of link type |link|, as long as
 * there is room for whatever the next may give: |n| of them, or fewer. Their number.
 * The decoder numbers them from 1 on; no time goes backward (such frames are
 * counted and get the time of the one before) or beyond MB__LATEST. Packets get
 * |source|. Brief frames (see segment.h) whose time needs no mending are left as they are if |leave_brief|;
 * flow keys are then of addresses and ports alone.
 * A frame gives 1 to MB__MAX_LAYERS packets, the outermost first: more than one if
 * UDP tunnels were taken off (every packet but the innermost has MB_PKT_HAS_INNER),
 * or if it is an 802.11 aggregate. A frame without IP, a broken one, and a fragment
 * that completes nothing, give one packet without MB_PKT_IP, or with MB_PKT_FRAGMENT,
 * or without MB_PKT_L4, which no flow may be given: see mb__packet_has_flow(). An
 * anomaly alone does not make a packet unfit, except for wrong checksums where
 * they are to be verified.
 * Counts what it meets in the stats, anomalies too; the frames themselves (frames,
 * frame_bytes) are for the caller to count. */
int mb__decode_burst(struct mb__decoder *d, int link, const struct mb_frame *frames, int n, uint8_t source,
                     bool leave_brief, struct mb__burst *burst);
/* Decodes a brief frame after all; it was counted. |ts|: its time, mended. */
void mb__decode_brief(const struct mb__decoder *d, const struct mb_frame *frame, int64_t ts, uint64_t number,
                      uint8_t source, struct mb_packet *out);

/* ---- one of several workers (packet/shard.h) ------------------------------ */

struct mb__shards;

/* The time of the newest frame of all bursts, ns; |*lag|: how far it is ahead of what the capture says. */
int64_t mb__decoder_now(const struct mb__decoder *d, int64_t *lag);
/* Lists |n| frames (at most MB_BURST) behind those in |lists|, for each worker of
 * |shards| its own; a tick is 2^|tick_shift| ns. |briefs|: brief frames are told from others, and
 * of them the time before is not told. False: there is no room, and nothing was done. */
bool mb__list_frames(const struct mb__decoder *d, const struct mb__shards *shards, int link, int tick_shift,
                     bool briefs, const struct mb_frame *frames, uint32_t n, struct mb__lists *lists);
/* mb__mend() for a time that does not come next. */
int64_t mb__mend_odd(int64_t ts, int64_t now, int64_t *lag);

/* The time of a frame after one of |now|, made never to go backward nor beyond MB__LATEST. A time that is a little
 * early is held. Where a capture's clock was set back, or another begins that is older, its times count from |now|
 * on: ours are then |*lag| ahead of them, until they have caught up. */
static inline int64_t mb__mend(int64_t ts, int64_t now, int64_t *lag)
{
    return ts >= now && ts <= MB__LATEST ? ts : mb__mend_odd(ts, now, lag);
}

/* The time of a listed frame, mended, ns. */
static inline int64_t mb__listed_time(const struct mb__listed *listed)
{
    return mb__shape_is_brief(listed->shape) ? listed->frame.ts : listed->time;
}
/* Whether it is earlier than the frame before. */
static inline bool mb__listed_backward(const struct mb__listed *listed)
{
    return !mb__shape_is_brief(listed->shape) && listed->frame.ts < listed->before;
}
/* The run has come to the frame |number| of time |ts|, mended: what is decoded next is in it,
 * or in none, if others' frames are passed over. */
void mb__decoder_meet(struct mb__decoder *d, uint64_t number, int64_t ts);
/* The times of what comes then will be so far behind ours. */
void mb__decoder_lag(struct mb__decoder *d, int64_t lag);
/* Decodes the frame that was met, this worker's or everybody's, as mb__decode_burst()
 * does: how many packets are in |out|, which has room for MB__MAX_LAYERS. */
int mb__decode_listed(struct mb__decoder *d, int link, const struct mb__listed *listed, uint8_t source,
                      struct mb_packet *out);
/* So many brief frames of this worker's will not be decoded: counts them. */
void mb__decoder_left_brief(struct mb__decoder *d, uint64_t frames);

/* ---- questions ------------------------------------------------------------ */

/* a - b in TCP's sequence space (RFC 9293 3.4). */
static inline int32_t mb__seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

#define MB__PROTO_BIT(proto) (UINT64_C(1) << (proto))

/* Whether |p| belongs to a flow: IP, no lone fragment, and with its transport
 * header whole if its protocol has one that we know. A datagram that still
 * shows the number of an extension header is broken inside it. */
static inline bool mb__packet_has_flow(const struct mb_packet *p)
{
    if ((p->flags & (MB_PKT_IP | MB_PKT_L4 | MB_PKT_FRAGMENT)) == (MB_PKT_IP | MB_PKT_L4))
        return true;
    if ((p->flags & (MB_PKT_IP | MB_PKT_FRAGMENT | MB_PKT_TTL_LOST)) != MB_PKT_IP)
        return false;
    const uint64_t with_header = MB__PROTO_BIT(1) | MB__PROTO_BIT(6) | MB__PROTO_BIT(17) | MB__PROTO_BIT(58);
    const uint64_t extension = MB__PROTO_BIT(0) | MB__PROTO_BIT(43) | MB__PROTO_BIT(44) | MB__PROTO_BIT(51)
                               | MB__PROTO_BIT(60);
    return p->ip_proto < 64 ? !((with_header | extension) >> p->ip_proto & 1) : p->ip_proto != 132;
}

/* Whether |p| is an ICMP or ICMPv6 error, which quotes another packet. */
static inline bool mb__icmp_is_error(const struct mb_packet *p)
{
    const uint64_t v4 = MB__PROTO_BIT(3) | MB__PROTO_BIT(4) | MB__PROTO_BIT(5) | MB__PROTO_BIT(11) | MB__PROTO_BIT(12);
    if (p->ip_proto != 1 && p->ip_proto != 58)
        return false;
    bool error = p->ip_proto == 58 ? p->icmp_type >= 1 && p->icmp_type <= 4
                                   : p->icmp_type < 64 && v4 >> p->icmp_type & 1;
    return error && (p->flags & (MB_PKT_L4 | MB_PKT_FRAGMENT)) == MB_PKT_L4;
}

/* Reads the packet that the ICMP error |p| quotes: |quoted| has the addresses,
 * ports, sequence number and hash to find its flow by, no bytes. False: |p| is no
 * error, or what it quotes does not reach to the ports. */
bool mb__icmp_quote(const struct mb_packet *p, const struct mb_config *config, const struct mb__hash_key *key,
                    struct mb_packet *quoted, struct mb_icmp_error *error);

/* Whether |p| counts, as |config| has it, as a packet of the flow that it quotes and
 * nothing else: it says that a TCP or UDP packet did not reach its end. |quoted|
 * and |error| as above. */
bool mb__icmp_joins(const struct mb_packet *p, const struct mb_config *config, const struct mb__hash_key *key,
                    struct mb_packet *quoted, struct mb_icmp_error *error);

/* The datagrams handed out so far are no longer needed. */
void mb__decoder_release(struct mb__decoder *d);
/* Lets go of fragments whose datagram was not completed in time; counts them. */
void mb__decoder_expire(struct mb__decoder *d, int64_t now);
/* The same with all that are not completed now: the run is over. */
void mb__decoder_finish(struct mb__decoder *d);

/* Looks at the checksums of |p| and sets MB_PKT_BAD_IP_SUM, MB_PKT_BAD_L4_SUM
 * and MB_PKT_SUM_CHECKED. True if all are right or cannot be told (truncated,
 * UDP without one). */
bool mb__checksums_good(struct mb_packet *p);

/* LINKTYPE_ numbers of capture files that are decoded. */
enum mb__linktype {
    MB__LINK_NULL = 0,
    MB__LINK_ETHERNET = 1,
    MB__LINK_PPP = 9,
    MB__LINK_DLT_RAW = 12, /* as the DLT_ number that some writers use */
    MB__LINK_DLT_RAW_OPENBSD = 14,
    MB__LINK_PPP_HDLC = 50,
    MB__LINK_PPPOE = 51,
    MB__LINK_RAW = 101,
    MB__LINK_80211 = 105,
    MB__LINK_LOOP = 108,
    MB__LINK_SLL = 113,
    MB__LINK_RADIOTAP = 127,
    MB__LINK_IPV4 = 228,
    MB__LINK_IPV6 = 229,
    MB__LINK_SLL2 = 276
};

/* What a TCP segment's options say (RFC 9293 3.2, 7323, 2018). */
struct mb__tcp_options {
    uint32_t tsval;      /* timestamps: valid if has_ts */
    uint32_t tsecr;
    uint16_t mss;        /* 0: none */
    uint8_t wscale;      /* shift, at most 14; valid if has_wscale */
    bool has_ts;
    bool has_wscale;
    bool sack_permitted;
    bool fast_open;      /* a cookie option, even empty */
    bool fast_open_cookie; /* a cookie of 4 bytes or more */
    bool md5;            /* RFC 2385 or TCP-AO signature present */
    bool malformed;      /* an option of length 0, 1 or past the header */
    bool bad_len;        /* a known option with a length it cannot have; it was passed over */
    bool duplicate;      /* the same option twice; the first counts */
    uint8_t sack_count;
    uint32_t sack[4][2]; /* left edge, right edge */
};

/* Reads all options of the TCP packet |p|. */
void mb__tcp_options_read(const struct mb_packet *p, struct mb__tcp_options *o);
/* Reads only the timestamps, of any layout. False: has none. */
bool mb__tcp_timestamps_slow(const struct mb_packet *p, uint32_t *tsval, uint32_t *tsecr);

#define MB__TCP_TS_LAYOUT 0x0101080a /* NOP, NOP, timestamps of 10 bytes */

/* Reads only the timestamps, quickly for the layout that nearly all systems
 * send once connected: NOP, NOP, timestamps, nothing else. False: has none. */
static inline bool mb__tcp_timestamps(const struct mb_packet *p, uint32_t *tsval, uint32_t *tsecr)
{
    if (p->payload_off == p->l4_off + 20)
        return false;
    const uint8_t *o = p->net + p->l4_off + 20;
    if (p->payload_off != p->l4_off + 32 || p->payload_off > p->net_len || mb__be32(o) != MB__TCP_TS_LAYOUT)
        return mb__tcp_timestamps_slow(p, tsval, tsecr);
    *tsval = mb__be32(o + 4);
    *tsecr = mb__be32(o + 8);
    return true;
}

#endif
