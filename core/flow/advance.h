/* SPDX-License-Identifier: BSD-3-Clause */
/* advance -- the short way through both state machines, for what most segments are
 *
 *   sender's SYN, receiver's SYN known         else the long way, mb__tcp_send()
 *     in order   seq is what comes next, nothing waits behind a hole
 *     in window  its end is not past the widest window it was given
 *     ACK good   between what was acknowledged and what was sent
 *     FIN taken  if the other side sent one; else the ACK may be of more than was seen
 *     in time    its timestamp is not older
 *   --> numbers, window and timestamp move on; and by a table the states, if this is
 *       the last ACK of the handshake, a FIN, or the ACK of a FIN
 *
 * It does what mb__tcp_send() and mb__tcp_receive() of tcp.h do for these, in a
 * fraction of their steps: whoever changes one changes the other.
 */
#ifndef MB_FLOW_ADVANCE_H
#define MB_FLOW_ADVANCE_H

#include "flow/table.h"
#include "flow/tcp.h"
#include "packet/segment.h"

/* The window that |to| may send into, as a segment from the other side says that
 * acknowledges |ack|; in a SYN it is not scaled (RFC 7323 2.2). */
static inline void mb__receive_window(const struct mb_endpoint *from, struct mb_endpoint *to, bool syn,
                                      uint16_t window, uint32_t ack)
{
    bool scaled = !syn && from->flags & to->flags & MB_SIDE_WSCALE;
    uint32_t wnd = scaled ? (uint32_t)window << from->wscale : window, widest = to->snd_max;
    uint32_t wider = ack + wnd - widest;
    uint32_t widens = ~(uint32_t)((int32_t)wider >> 31) | -(uint32_t)(widest == 0); /* no branch: windows go up and down */
    to->snd_wnd = wnd;
    to->snd_max = widest + (wider & widens);
}

/* Flags and state of an endpoint as one number. */
static inline uint32_t mb__standing(uint16_t flags, uint8_t state)
{
    return (uint32_t)state << 16 | flags;
}

_Static_assert(offsetof(struct mb_endpoint, state) == offsetof(struct mb_endpoint, flags) + 2, "as one number");

/* The same of |end|, read at once; above it is what is no part of it. */
static inline uint32_t mb__standing_of(const struct mb_endpoint *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t bits;
    memcpy(&bits, (const uint8_t *)end + offsetof(struct mb_endpoint, flags), sizeof bits);
    return bits;
#else
    return mb__standing(end->flags, end->state);
#endif
}

/* Whether |s|, which has flags for the short way, changes no state: two that are open
 * exchange it, with no FIN of either. */
static inline bool mb__is_amid(const struct mb_endpoint *from, const struct mb_endpoint *to,
                               const struct mb__segment *s)
{
    const uint32_t wanted = mb__standing(MB_SIDE_SYNC, MB_TCP_ESTABLISHED);
    const uint32_t known = mb__standing(MB_SIDE_SYNC | MB_SIDE_FIN | MB_SIDE_RST | MB_SIDE_NO_STREAM, UINT8_MAX);
    uint32_t differs = (mb__standing_of(from) ^ wanted) | (mb__standing_of(to) ^ wanted);
    return (differs & known) == 0 && !(s->flags & MB_TCP_FIN);
}

/* What a segment that comes next makes of the states of two ends. */
struct mb__turn {
    uint8_t from; /* enum mb_tcp_state; CLOSED: it has to go the long way */
    uint8_t to;
    uint8_t idle; /* the idle time that applies from then on: enum mb__timer_kind */
    uint8_t fin;  /* MB_SIDE_FIN if it is one */
};

#define MB__TURN_STATES 16 /* there are fewer, but a power of two needs no multiplication */

/* By the states of sender and receiver, whether it is a FIN, and whether it acknowledges all that the
 * receiver sent. */
extern const struct mb__turn mb__turns[MB__TURN_STATES][MB__TURN_STATES][2][2];

/* What |s|, which has flags for the short way, makes of two ends of which one is not quite open yet or has
 * sent a FIN; NULL if it has to go the long way. A FIN that was sent has to be the last
 * that its side sent, and taken. */
static inline const struct mb__turn *mb__turn_of(const struct mb_endpoint *from, const struct mb_endpoint *to,
                                                 const struct mb__segment *s)
{
    const struct mb__turn *turn = &mb__turns[from->state][to->state][s->flags & MB_TCP_FIN][s->ack == to->snd_nxt];
    if (turn->from == MB_TCP_CLOSED || !(from->flags & to->flags & MB_SIDE_SYNC) ||
        (from->flags | to->flags) & (MB_SIDE_NO_STREAM | MB_SIDE_RST) || (from->flags & MB_SIDE_FIN && s->len > 0))
        return NULL;
    bool last = to->snd_nxt == to->stream_seq + (uint32_t)to->next + 1;
    return last || !(to->flags & MB_SIDE_FIN) ? turn : NULL;
}

/* How many FINs |end| has sent. */
static inline uint32_t mb__fins(const struct mb_endpoint *end)
{
    return end->flags / MB_SIDE_FIN & 1;
}

/* Whether |s| is what comes next after all that |from| sent, |fins| of which are FINs, and |to| takes it as
 * it is. Each comparison alone is hard to foretell or always true, so they are
 * made as numbers that have to be 0 or not negative, and there is one branch for all. */
static inline bool mb__is_next(const struct mb_endpoint *from, const struct mb_endpoint *to,
                               const struct mb__segment *s, uint32_t fins)
{
    uint32_t differs = (s->seq ^ from->snd_nxt) | (s->seq ^ (from->stream_seq + (uint32_t)from->next + fins));
    int32_t below = mb__seq_diff(from->snd_max, s->seq + s->len + (s->flags & MB_TCP_FIN)) |
                    mb__seq_diff(s->ack, to->snd_una) | mb__seq_diff(to->snd_nxt, s->ack);
    if (s->stamped && from->flags & to->flags & MB_SIDE_TIMESTAMPS) /* RFC 7323 5.3: its timestamp is not older */
        below |= mb__seq_diff(s->tsval, from->ts_recent);
    return (differs | (uint32_t)below >> 31) == 0 && from->snd_max != 0;
}

/* The sender's half of a segment that goes the short way; the flow's counters
 * have it in them. */
static inline void mb__tcp_advance_sender(struct mb_flow *flow, struct mb_endpoint *from,
                                          const struct mb_endpoint *to, const struct mb__segment *s)
{
    if (s->stamped && from->flags & to->flags & MB_SIDE_TIMESTAMPS)
        from->ts_recent = s->seq == from->snd_una ? s->tsval : from->ts_recent;
    from->snd_nxt = s->seq + s->len + (s->flags & MB_TCP_FIN);
    flow->last_ts = s->ts;
}

/* The receiver's half, but for the bytes. */
static inline void mb__tcp_advance_receiver(const struct mb_endpoint *from, struct mb_endpoint *to,
                                            const struct mb__segment *s)
{
    to->snd_una = s->ack;
    mb__receive_window(from, to, false, s->window, s->ack);
}

/* The sender's state, when the numbers have moved on, */
static inline void mb__tcp_turn_sender(struct mb_endpoint *from, const struct mb__turn *turn)
{
    from->flags |= turn->fin;
    from->state = turn->from;
}

/* and the receiver's, who takes the FIN if it is one. |side| is the sender's. */
static inline void mb__tcp_turn_receiver(struct mb_flow *flow, int side, const struct mb__turn *turn)
{
    struct mb_endpoint *to = &flow->end[!side];
    if (to->state == MB_TCP_SYN_RCVD)
        mb__tcp_measure(flow, side, flow->last_ts);
    if (to->flags & MB_SIDE_FIN && to->snd_una == to->snd_nxt)
        to->flags |= MB_SIDE_FIN_ACKED;
    to->state = turn->to;
    if (turn->idle == MB__TIMER_TCP_CLOSED) {
        flow->flags |= MB_FLOW_CLOSED;
        flow->end_reason = MB_END_FIN;
    }
}

#endif
