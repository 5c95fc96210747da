/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp -- the state machines of both end hosts, emulated from what passes by
 *
 *   packet --> mb__tcp_send():    would the receiver take it? the sender moves
 *          --> (SND events)
 *          --> mb__tcp_receive(): the receiver takes the ACK, or the reset
 *          --> (its data goes into the stream)
 *          --> mb__tcp_fin():     the receiver takes the FIN once all before it came
 *
 * The yardstick is what the two end hosts accept (RFC 9293, 7323, 5961). A
 * segment that the receiver would throw away moves neither side; it is
 * reported with a reason. Two allowances are made for a tap that sees less
 * than the hosts: an ACK of data that was not seen counts if it lies inside the
 * window (the data was lost at the tap), and where a SYN was missed windows
 * are not enforced, since their scale is not known.
 *
 * Sequence numbers are compared modulo 2^32 through signed differences.
 */
#ifndef MB_FLOW_TCP_H
#define MB_FLOW_TCP_H

#include "packet/packet.h"

/* What a SYN says of its sender. */
struct mb__offer {
    uint32_t isn;
    uint32_t ack;    /* of the other side's SYN, and perhaps of its data; of a SYN: see mb__tcp_standing_syn() */
    uint32_t tsval;  /* newest timestamp value, if it offers any */
    uint16_t mss;    /* 0: none */
    uint16_t window; /* not scaled */
    uint16_t flags;  /* MB_SIDE_TIMESTAMPS, MB_SIDE_SACK, MB_SIDE_WSCALE */
    uint8_t wscale;
};

/* What one segment did. */
struct mb__tcp_step {
    uint8_t anomaly;    /* enum mb_anomaly; 0: none */
    bool rejected;      /* the receiver would throw it away: nothing moved */
    bool keep_alive;    /* repeats one old byte, or none, to get an ACK */
    bool probe;         /* asks with one byte whether the window is still closed */
    bool fin;           /* it ends what the sender sends: the first FIN that does */
    bool restarted;     /* a SYN with another number: what the sender sent before is void */
    bool contested;     /* a SYN/ACK with another number than the one that stands: see flow/contest.h */
    uint8_t old_state;  /* of the side the last call updated */
    uint8_t new_state;
    int64_t offset;     /* stream offset of the first payload byte; negative: before the stream */
};

/* Whether the SYN |p|, which has the addresses and ports of |flow| and was sent by
 * |side|, begins another connection (RFC 9293 3.10.7.4, TIME-WAIT; RFC 6191). */
bool mb__tcp_reuses(const struct mb_flow *flow, int side, const struct mb_packet *p);
/* Who is the client, judged by the first packet |p| of a flow: its sender
 * (MB_CLIENT), or its receiver if |p| is a SYN/ACK (MB_SERVER). */
int mb__tcp_first_sender(const struct mb_packet *p);
/* The ACK of |side| at |ts| ns completes the handshake: how long that took, if neither SYN had to be repeated. */
void mb__tcp_measure(struct mb_flow *flow, int side, int64_t ts);
/* The short way for the SYN that begins a connection and the SYN/ACK that answers it, without data:
 * does what mb__tcp_send() and mb__tcp_receive() do. False: |p| is none of these, and nothing was done. */
bool mb__tcp_shake(struct mb_flow *flow, int side, const struct mb_packet *p);

/* What |p|, a SYN, says of its sender. */
struct mb__offer mb__tcp_offer(const struct mb_packet *p);
/* Whether the SYN |p| of |side| takes the place of one with another number, which the other side has not answered. */
bool mb__tcp_replaces_syn(const struct mb_flow *flow, int side, const struct mb_packet *p);
/* What the SYN of |side| that stands says; |ack| is one past the last number that it takes, with its data. */
struct mb__offer mb__tcp_standing_syn(const struct mb_flow *flow, int side);
/* |offer| is the SYN of |side| that counts, and not the one that stands. */
void mb__tcp_take_syn(struct mb_flow *flow, int side, const struct mb__offer *offer);
/* The other side has taken |offer| for the SYN/ACK of |side|, not the one that stands, nor a FIN or a reset behind
 * that. Offsets of the stream go on from what was delivered. */
void mb__tcp_take_offer(struct mb_flow *flow, int side, const struct mb__offer *offer);
/* The number that the receiver of |from| expects next; what it acknowledged has arrived. */
uint32_t mb__tcp_next_expected(const struct mb_endpoint *from);
/* Whether the receiver takes |p|, which |side| sent, as far as its sequence numbers and its timestamp tell. */
bool mb__tcp_in_place(const struct mb_flow *flow, int side, const struct mb_packet *p);

/* Whether |p|, which |side| sent, acknowledges bytes that the other side sent behind its FIN: then that FIN was
 * another's, or never arrived. */
bool mb__tcp_unmasks_fin(const struct mb_flow *flow, int side, const struct mb_packet *p);
/* As |ack| tells so of it, the FIN of |side| was none, and both ends are in the states that they had without it; or, if
 * |ack| is of one number more than what was sent, it comes behind that. */
void mb__tcp_take_fin_back(struct mb_flow *flow, int side, uint32_t ack);

/* |side| sent |p|: judges it and updates the sender. The flow's counters have
 * |p| in them already, flow->last_ts is still that of the packet before. */
void mb__tcp_send(struct mb_flow *flow, int side, const struct mb_packet *p, struct mb__tcp_step *step);
/* The other side got it: takes acknowledgement, window and reset. Marks the flow
 * as closed if both ends are done now, as mb__tcp_fin() does. */
void mb__tcp_receive(struct mb_flow *flow, int side, const struct mb_packet *p, struct mb__tcp_step *step);
/* If all that |side| sent before its FIN has arrived, the other side takes the
 * FIN. Whether it did so just now. */
bool mb__tcp_fin(struct mb_flow *flow, int side, struct mb__tcp_step *step);

/* Stream offset, from the sender's first byte, of sequence number |seq|. */
static inline int64_t mb__tcp_offset(const struct mb_endpoint *end, uint32_t seq)
{
    return (int64_t)end->next + mb__seq_diff(seq, end->stream_seq + (uint32_t)end->next);
}

/* Stream offset of the FIN that |end| has sent. */
static inline int64_t mb__tcp_fin_offset(const struct mb_endpoint *end)
{
    return mb__tcp_offset(end, end->snd_nxt) - 1;
}

/* Stream offset up to which the other side has acknowledged, FIN left out. */
static inline int64_t mb__tcp_acked(const struct mb_endpoint *end)
{
    int64_t offset = mb__tcp_offset(end, end->snd_una);
    return end->flags & MB_SIDE_FIN_ACKED ? offset - 1 : offset;
}

#endif
