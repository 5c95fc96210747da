/* SPDX-License-Identifier: BSD-3-Clause */
/* advance -- the short way through both state machines, for what most segments are
 *
 *   sender's SYN, receiver's SYN known         else the long way, mb__tcp_send()
 *     in order   seq is what comes next, nothing waits behind a hole
 *     in window  its end is not past the widest window it was given
 *     ACK good   between what was acknowledged and what was sent
 *     in time    its timestamp is not older
 *   --> numbers, window and timestamp move on; the last ACK of the handshake, a
 *       FIN and the ACK of a FIN move the states as well
 *
 * It does what mb__tcp_send() and mb__tcp_receive() of tcp.h do for these, and
 * no more than a tenth of their steps: whoever changes one changes the other.
 */
#ifndef MB_FLOW_ADVANCE_H
#define MB_FLOW_ADVANCE_H

#include "flow/tcp.h"
#include "packet/packet.h"

/* The window that |to| may send into, as |p| from the other side says. */
static inline void mb__receive_window(const struct mb_endpoint *from, struct mb_endpoint *to,
                                      const struct mb_packet *p)
{
    bool scaled = !(p->tcp_flags & MB_TCP_SYN) && from->flags & to->flags & MB_SIDE_WSCALE;
    to->snd_wnd = scaled ? (uint32_t)p->window << from->wscale : p->window;
    uint32_t edge = p->ack + to->snd_wnd;
    if (to->snd_max == 0 || mb__seq_diff(edge, to->snd_max) > 0)
        to->snd_max = edge;
}

/* RFC 7323 5.3, for a segment that is next: its timestamp is not older. */
static inline bool mb__timestamps_advance(struct mb_endpoint *from, const struct mb_endpoint *to,
                                          const struct mb_packet *p)
{
    uint32_t tsval, tsecr;
    if (!(from->flags & to->flags & MB_SIDE_TIMESTAMPS) || !mb__tcp_timestamps(p, &tsval, &tsecr))
        return true;
    if (mb__seq_diff(tsval, from->ts_recent) < 0)
        return false;
    if (p->seq == from->snd_una)
        from->ts_recent = tsval;
    return true;
}

/* Whether |p|, with ACK and perhaps PSH and FIN, is the next that |from| can send, and
 * |to| takes it as it is. */
static inline bool mb__is_next(const struct mb_flow *flow, const struct mb_endpoint *from,
                               const struct mb_endpoint *to, const struct mb_packet *p)
{
    const unsigned needed = MB_SIDE_SYNC, alien = MB_SIDE_NO_STREAM | MB_SIDE_RST;
    if ((p->tcp_flags & ~(MB_TCP_PSH | MB_TCP_FIN)) != MB_TCP_ACK || flow->flags & MB_FLOW_CLOSED ||
        (from->flags & (needed | alien)) != needed || (to->flags & (needed | alien)) != needed)
        return false;
    bool fin = p->tcp_flags & MB_TCP_FIN, done = from->flags & MB_SIDE_FIN;
    if (from->state < MB_TCP_ESTABLISHED || to->state < MB_TCP_SYN_RCVD || (done && (fin || p->payload_len > 0)))
        return false;
    uint32_t end = p->seq + p->payload_len + fin;
    bool next = p->seq == from->snd_nxt && p->seq == from->stream_seq + (uint32_t)from->next + done;
    bool inside = from->snd_max != 0 && mb__seq_diff(end, from->snd_max) <= 0;
    bool acks = mb__seq_diff(p->ack, to->snd_una) >= 0 && mb__seq_diff(p->ack, to->snd_nxt) <= 0;
    return next && inside && acks;
}

enum mb__advance {
    MB__ADVANCE_NOT,     /* the packet is not of this kind, nothing was done */
    MB__ADVANCE_DONE,    /* its payload is to be shown */
    MB__ADVANCE_CLOSING, /* likewise; then its FIN is to be taken and the idle time chosen */
};

/* Moves both endpoints of |flow| by |p| that |side| sent, unless it would
 * change a state and |states_heard|. */
static inline enum mb__advance mb__tcp_advance(struct mb_flow *flow, int side, const struct mb_packet *p,
                                               bool states_heard)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    bool fin = p->tcp_flags & MB_TCP_FIN;
    bool settled = from->state == MB_TCP_ESTABLISHED && to->state == MB_TCP_ESTABLISHED && !fin;
    if ((states_heard && !settled) || !mb__is_next(flow, from, to, p) || !mb__timestamps_advance(from, to, p))
        return MB__ADVANCE_NOT;
    from->snd_nxt = p->seq + p->payload_len + fin;
    to->snd_una = p->ack;
    mb__receive_window(from, to, p);
    if (settled)
        return MB__ADVANCE_DONE;
    mb__tcp_advance_states(flow, side, p);
    return (from->flags | to->flags) & MB_SIDE_FIN ? MB__ADVANCE_CLOSING : MB__ADVANCE_DONE;
}

#endif
