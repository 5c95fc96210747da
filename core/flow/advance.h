/* SPDX-License-Identifier: BSD-3-Clause */
/* advance -- the short way through both state machines, for what most segments are
 *
 *   sender's SYN, receiver's SYN known         else the long way, mb__tcp_send()
 *     in order   seq is what comes next, nothing waits behind a hole
 *     in window  its end is not past the widest window it was given
 *     ACK good   between what was acknowledged and what was sent
 *     FIN taken  if the other side sent one; else the ACK may be of more than was seen
 *     in time    its timestamp is not older
 *   --> numbers, window and timestamp move on; the last ACK of the handshake, a
 *       FIN and the ACK of a FIN move the states as well
 *
 * It does what mb__tcp_send() and mb__tcp_receive() of tcp.h do for these, in a
 * fraction of their steps: whoever changes one changes the other.
 */
#ifndef MB_FLOW_ADVANCE_H
#define MB_FLOW_ADVANCE_H

#include "flow/tcp.h"
#include "packet/segment.h"

/* The window that |to| may send into, as a segment from the other side says that
 * acknowledges |ack|; in a SYN it is not scaled (RFC 7323 2.2). */
static inline void mb__receive_window(const struct mb_endpoint *from, struct mb_endpoint *to, bool syn,
                                      uint16_t window, uint32_t ack)
{
    bool scaled = !syn && from->flags & to->flags & MB_SIDE_WSCALE;
    to->snd_wnd = scaled ? (uint32_t)window << from->wscale : window;
    uint32_t edge = ack + to->snd_wnd, widest = to->snd_max;
    uint32_t wider = -(uint32_t)((widest == 0) | (mb__seq_diff(edge, widest) > 0));
    to->snd_max = widest + ((edge - widest) & wider); /* not a branch: windows go up and down */
}

/* Whether |s|, which has such flags, is the next that |from| can send, and |to|
 * takes it as it is. */
static inline bool mb__is_next(const struct mb_flow *flow, const struct mb_endpoint *from,
                               const struct mb_endpoint *to, const struct mb__segment *s)
{
    bool fin = s->flags & MB_TCP_FIN, done = from->flags & MB_SIDE_FIN;
    uint32_t end = s->seq + s->len + fin;
    bool open = !(flow->flags & MB_FLOW_CLOSED) & !((from->flags | to->flags) & (MB_SIDE_NO_STREAM | MB_SIDE_RST));
    bool known = (from->flags & to->flags & MB_SIDE_SYNC) / MB_SIDE_SYNC & (from->state >= MB_TCP_ESTABLISHED) &
                 (to->state >= MB_TCP_SYN_RCVD);
    bool next = (s->seq == from->snd_nxt) & (s->seq == from->stream_seq + (uint32_t)from->next + done) &
                !(done & (fin | (s->len > 0)));
    bool inside = (from->snd_max != 0) & (mb__seq_diff(end, from->snd_max) <= 0);
    bool acks = (mb__seq_diff(s->ack, to->snd_una) >= 0) & (mb__seq_diff(s->ack, to->snd_nxt) <= 0);
    bool whole = (from->state >= MB_TCP_CLOSE_WAIT) & (to->snd_nxt == to->stream_seq + (uint32_t)to->next + 1);
    bool taken = !(to->flags & MB_SIDE_FIN) | whole;
    return open & known & next & inside & acks & taken; /* one branch for all: each alone is hard to foretell */
}

/* RFC 7323 5.3: its timestamp is not older. */
static inline bool mb__in_time(const struct mb_endpoint *from, const struct mb_endpoint *to,
                               const struct mb__segment *s)
{
    bool compared = s->stamped & ((from->flags & to->flags & MB_SIDE_TIMESTAMPS) != 0);
    return !compared | (mb__seq_diff(s->tsval, from->ts_recent) >= 0);
}

/* Whether |s| changes no state: between two that are open, with no FIN of either. */
static inline bool mb__is_amid(const struct mb_endpoint *from, const struct mb_endpoint *to,
                               const struct mb__segment *s)
{
    return !(s->flags & MB_TCP_FIN) & (from->state == MB_TCP_ESTABLISHED) & (to->state == MB_TCP_ESTABLISHED) &
           !((from->flags | to->flags) & MB_SIDE_FIN);
}

/* Whether |s|, which |side| sent and which has flags for it, can go the short way.
 * Not if it may change a state and |states_heard|. */
static inline bool mb__tcp_advances(const struct mb_flow *flow, int side, const struct mb__segment *s,
                                    bool states_heard)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    return (mb__is_amid(from, to, s) | !states_heard) & mb__is_next(flow, from, to, s) & mb__in_time(from, to, s);
}

/* The sender's half of a segment of which mb__tcp_advances(); the flow's counters
 * have it in them. */
static inline void mb__tcp_advance_sender(struct mb_flow *flow, int side, const struct mb__segment *s)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    bool moves = s->stamped & ((from->flags & to->flags & MB_SIDE_TIMESTAMPS) != 0) & (s->seq == from->snd_una);
    from->ts_recent = moves ? s->tsval : from->ts_recent;
    from->snd_nxt = s->seq + s->len + (s->flags & MB_TCP_FIN);
    flow->last_ts = s->ts;
}

/* The receiver's half, but for the bytes. */
static inline void mb__tcp_advance_receiver(struct mb_flow *flow, int side, const struct mb__segment *s)
{
    struct mb_endpoint *to = &flow->end[!side];
    to->snd_una = s->ack;
    mb__receive_window(&flow->end[side], to, false, s->window, s->ack);
}

/* Both halves and the states. The payload is to be shown by the caller; then, if it
 * gives true, a FIN is to be taken and the idle time chosen. */
static inline bool mb__tcp_advance(struct mb_flow *flow, int side, const struct mb__segment *s)
{
    bool amid = mb__is_amid(&flow->end[side], &flow->end[!side], s);
    mb__tcp_advance_sender(flow, side, s);
    mb__tcp_advance_receiver(flow, side, s);
    if (!amid) {
        const struct mb__segment copy = *s; /* |s| itself can then stay in registers */
        mb__tcp_advance_states(flow, side, &copy);
    }
    return !amid;
}

#endif
