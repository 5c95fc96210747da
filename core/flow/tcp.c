/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp -- transitions of the two endpoints, and the checks before them */
#include "flow/tcp.h"

#include "flow/advance.h"
#include "flow/stream.h"
#include "packet/packet.h"

/* How far from the expected number a segment may be when no window is known:
 * the largest window that scaling allows (RFC 7323 2.3). */
#define LARGEST_WINDOW (1 << 30)
/* A timestamp older than this is not compared (RFC 7323 5.5). */
#define PAWS_IDLE_NS (24LL * 24 * 3600 * 1000000000)

enum { SYNCHRONISED_FROM = MB_TCP_ESTABLISHED };

static bool has(const struct mb_endpoint *end, unsigned flags)
{
    return (end->flags & flags) == flags;
}

static bool is_closed(const struct mb_endpoint *end)
{
    return end->state == MB_TCP_CLOSED || end->state == MB_TCP_TIME_WAIT;
}

/* Sequence space a segment takes. */
static uint32_t segment_len(const struct mb_packet *p)
{
    return p->payload_len + !!(p->tcp_flags & MB_TCP_SYN) + !!(p->tcp_flags & MB_TCP_FIN);
}

/* Microseconds from |from| to |to|, at least 1 so that 0 can mean unknown. */
static uint32_t microseconds(int64_t from, int64_t to)
{
    int64_t us = (to - from) / 1000;
    return us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Whether |p| of |from| has a timestamp that counts, since both ends use them (RFC 7323 3.2). */
static bool is_stamped(const struct mb_endpoint *from, const struct mb_endpoint *to, const struct mb_packet *p,
                       uint32_t *tsval)
{
    uint32_t tsecr;
    return has(from, MB_SIDE_TIMESTAMPS) && has(to, MB_SIDE_TIMESTAMPS) && mb__tcp_timestamps(p, tsval, &tsecr);
}

/* ---- which connection ---------------------------------------------------- */

int mb__tcp_first_sender(const struct mb_packet *p)
{
    return (p->tcp_flags & (MB_TCP_SYN | MB_TCP_ACK)) == (MB_TCP_SYN | MB_TCP_ACK) ? MB_SERVER : MB_CLIENT;
}

/* Whether |to|, in TIME-WAIT, takes the SYN |p| of |from| for the begin of another connection: one that is
 * newer than all that it had of it (RFC 6191 2; of a timestamp that is older Linux wants no SYN). */
static bool time_wait_takes(const struct mb_endpoint *from, const struct mb_endpoint *to, const struct mb_packet *p)
{
    uint32_t tsval;
    int32_t newer = 0;
    if (is_stamped(from, to, p, &tsval))
        newer = mb__seq_diff(tsval, from->ts_recent);
    return newer > 0 || (newer == 0 && mb__seq_diff(p->seq, from->snd_nxt) > 0);
}

bool mb__tcp_reuses(const struct mb_flow *flow, int side, const struct mb_packet *p)
{
    if (p->tcp_flags & (MB_TCP_RST | MB_TCP_FIN))
        return false;
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    if (p->tcp_flags & MB_TCP_ACK) /* answers a SYN that is not this connection's */
        return to->challenged != 0 && p->ack == to->challenged + 1 && p->seq != from->isn;
    if (flow->flags & MB_FLOW_CLOSED)
        return !has(from, MB_SIDE_ISN) ||
               (p->seq != from->isn && (to->state != MB_TCP_TIME_WAIT || time_wait_takes(from, to, p)));
    return flow->flags & MB_FLOW_MIDSTREAM && !has(from, MB_SIDE_ISN) && from->state >= SYNCHRONISED_FROM;
}

/* ---- would the receiver take it ------------------------------------------ */

uint32_t mb__tcp_next_expected(const struct mb_endpoint *from)
{
    uint32_t expected = from->stream_seq + (uint32_t)from->next;
    if (has(from, MB_SIDE_FIN) && expected + 1 == from->snd_nxt)
        expected++;
    return mb__seq_diff(from->snd_una, expected) > 0 ? from->snd_una : expected;
}

/* Whether |seq| is the end of what |side| sent and its receiver holds behind a hole. */
static bool ends_what_waits(const struct mb_flow *flow, int side, uint32_t seq)
{
    const struct mb_endpoint *from = &flow->end[side];
    struct mb_buffer_info held;
    if (has(from, MB_SIDE_FIN) || has(from, MB_SIDE_NO_STREAM))
        return seq == from->snd_nxt;
    return mb_stream_info(flow, side, &held) == 0 && held.pending > 0 &&
           seq == from->stream_seq + (uint32_t)held.highest;
}

/* RFC 5961 3.2: exactly the next expected number closes. Linux also takes the number of a FIN
 * that it has taken, and, where it told the sender by SACK, the end of all that arrived. */
static bool reset_is_exact(const struct mb_flow *flow, int side, uint32_t seq)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    uint32_t expected = mb__tcp_next_expected(from);
    if (seq == expected)
        return true;
    if (to->state == MB_TCP_CLOSE_WAIT || to->state == MB_TCP_LAST_ACK || to->state == MB_TCP_CLOSING)
        return seq + 1 == expected;
    return has(from, MB_SIDE_SACK) && has(to, MB_SIDE_SACK) && ends_what_waits(flow, side, seq);
}

static uint8_t judge_reset(const struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    if (to->state == MB_TCP_SYN_SENT && !has(from, MB_SIDE_SYNC)) /* refusal: must acknowledge the SYN */
        return p->tcp_flags & MB_TCP_ACK && p->ack == to->snd_nxt ? 0 : MB_ANOMALY_TCP_ACK;
    if (!has(from, MB_SIDE_SYNC) || reset_is_exact(flow, side, p->seq))
        return 0;
    int32_t ahead = mb__seq_diff(p->seq, from->snd_una);
    int32_t window = from->snd_wnd > 0 ? (int32_t)from->snd_wnd : 65535;
    return ahead >= 0 && ahead <= window ? MB_ANOMALY_TCP_RST_CHALLENGE : MB_ANOMALY_TCP_WINDOW;
}

/* Outside the widest window the receiver ever opened, plus its present one
 * as slack: an ACK that opened it further may have passed another way. */
static bool outside_window(const struct mb_flow *flow, const struct mb_endpoint *from, const struct mb_packet *p)
{
    uint32_t end = p->seq + segment_len(p);
    int32_t ahead = mb__seq_diff(end, from->snd_nxt);
    if (ahead <= 0)
        return ahead < -LARGEST_WINDOW;
    bool windows_known = from->snd_max != 0 && !(flow->flags & MB_FLOW_MIDSTREAM);
    if (!windows_known)
        return ahead > LARGEST_WINDOW;
    uint32_t slack = from->snd_wnd > 65535 ? from->snd_wnd : 65535;
    return mb__seq_diff(end, from->snd_max + slack) > 0;
}

/* Older than the SYN: late from a connection before. */
static bool precedes_syn(const struct mb_endpoint *from, const struct mb_packet *p)
{
    return has(from, MB_SIDE_ISN) && from->next < LARGEST_WINDOW &&
           mb__seq_diff(p->seq + segment_len(p), from->isn) < 0;
}

/* An ACK of what was not sent is thrown away (RFC 5961 5.2) - unless it lies
 * inside the window, when we take it that the tap missed the data. */
static bool acks_the_unsent(const struct mb_endpoint *to, const struct mb_packet *p)
{
    if (!has(to, MB_SIDE_SYNC))
        return false;
    int32_t beyond = mb__seq_diff(p->ack, to->snd_nxt);
    if (beyond <= 0)
        return false;
    if (has(to, MB_SIDE_FIN))
        return true;
    if (to->snd_max != 0)
        return mb__seq_diff(p->ack, to->snd_max) > 0;
    return beyond > (has(to, MB_SIDE_ISN) ? UINT16_MAX : LARGEST_WINDOW); /* the window of a SYN is not scaled */
}

/* RFC 5961 5.2: an ACK that is older than the widest window can make it, or than the first
 * byte, was guessed. */
static bool acks_the_ancient(const struct mb_flow *flow, const struct mb_endpoint *from, const struct mb_endpoint *to,
                             const struct mb_packet *p)
{
    if (!has(to, MB_SIDE_SYNC))
        return false;
    int64_t oldest = has(from, MB_SIDE_WSCALE) && has(to, MB_SIDE_WSCALE) ? 65535LL << from->wscale : 65535;
    if (flow->flags & MB_FLOW_MIDSTREAM)
        oldest = LARGEST_WINDOW;
    else if (oldest > (int64_t)to->next && has(to, MB_SIDE_ISN))
        return mb__seq_diff(p->ack, to->isn) < 0;
    return mb__seq_diff(p->ack, to->snd_una) < -oldest;
}

/* RFC 7323 5.3 R1. Linux lets a segment pass whose timestamp is a tick older: one sent
 * shortly before another and overtaken by it. */
static bool timestamp_too_old(const struct mb_flow *flow, int side, const struct mb_packet *p, uint32_t tsval)
{
    const struct mb_endpoint *from = &flow->end[side];
    return mb__seq_diff(tsval, from->ts_recent) < -1 && p->ts - flow->last_ts < PAWS_IDLE_NS;
}

bool mb__tcp_in_place(const struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    uint32_t tsval;
    if (!has(from, MB_SIDE_SYNC) || outside_window(flow, from, p) || precedes_syn(from, p))
        return false;
    return !is_stamped(from, to, p, &tsval) || !timestamp_too_old(flow, side, p, tsval);
}

/* RFC 7323 4.3: only such a segment's timestamp counts. The last ACK may be on its way yet: it
 * lies between the last one seen and what has arrived. Linux looks at no timestamp beside an
 * ACK that is older than another. */
static bool covers_last_ack(const struct mb_endpoint *from, const struct mb_endpoint *to, const struct mb_packet *p)
{
    return mb__seq_diff(p->seq, from->snd_una) <= 0 &&
           mb__seq_diff(p->seq + segment_len(p), from->stream_seq + (uint32_t)from->next) >= 0 &&
           mb__seq_diff(p->ack, to->snd_una) >= 0;
}

/* The reason to throw a segment of a synchronised connection away, or 0. */
static uint8_t judge_segment(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    if (!(p->tcp_flags & MB_TCP_ACK))
        return p->payload_len > 0 || p->tcp_flags & MB_TCP_FIN ? MB_ANOMALY_TCP_NO_ACK : 0;
    if (has(from, MB_SIDE_SYNC) && (outside_window(flow, from, p) || precedes_syn(from, p)))
        return MB_ANOMALY_TCP_WINDOW;
    if (acks_the_unsent(to, p) || acks_the_ancient(flow, from, to, p))
        return MB_ANOMALY_TCP_ACK;
    uint32_t tsval;
    if (is_stamped(from, to, p, &tsval)) {
        if (timestamp_too_old(flow, side, p, tsval))
            return MB_ANOMALY_TCP_PAWS;
        if (tsval + 1 != from->ts_recent && covers_last_ack(from, to, p))
            from->ts_recent = tsval;
    }
    return 0;
}

/* While |to| waits for the answer to its SYN, a segment that echoes a timestamp it
 * never sent, or one though it offered none, comes from nobody who saw the SYN. */
static bool echoes_wrongly(const struct mb_endpoint *from, const struct mb_endpoint *to, const struct mb_packet *p)
{
    uint32_t tsval, tsecr;
    if (to->state != MB_TCP_SYN_SENT || has(from, MB_SIDE_SYNC) || !mb__tcp_timestamps(p, &tsval, &tsecr))
        return false;
    return !has(to, MB_SIDE_TIMESTAMPS) || mb__seq_diff(tsecr, to->ts_recent) < 0;
}

/* ---- the sender ----------------------------------------------------------- */

struct mb__offer mb__tcp_offer(const struct mb_packet *p)
{
    struct mb__tcp_options o;
    mb__tcp_options_read(p, &o);
    return (struct mb__offer){
        .isn = p->seq,
        .ack = p->ack,
        .tsval = o.tsval,
        .mss = o.mss,
        .window = p->window,
        .flags = (uint16_t)((o.has_ts ? MB_SIDE_TIMESTAMPS : 0) | (o.has_wscale ? MB_SIDE_WSCALE : 0) |
                            (o.sack_permitted ? MB_SIDE_SACK : 0)),
        .wscale = o.has_wscale ? o.wscale : 0,
    };
}

/* The sender's sequence space begins at |isn|. What was delivered, if anything was, lies before it. */
static void take_isn(struct mb_endpoint *end, uint32_t isn)
{
    end->isn = isn;
    end->stream_seq = isn + 1 - (uint32_t)end->next;
    end->snd_una = isn;
    end->snd_nxt = isn + 1;
    end->snd_max = 0;
    end->flags |= MB_SIDE_ISN | MB_SIDE_SYNC;
}

static void take_offer(struct mb_endpoint *from, const struct mb__offer *offer)
{
    take_isn(from, offer->isn);
    from->flags = (uint16_t)((from->flags & ~(MB_SIDE_TIMESTAMPS | MB_SIDE_SACK | MB_SIDE_WSCALE)) | offer->flags);
    from->mss = offer->mss;
    from->wscale = offer->wscale;
    if (offer->flags & MB_SIDE_TIMESTAMPS)
        from->ts_recent = offer->tsval;
}

/* |end| has answered a SYN: it may send into the window that the SYN opened, if that was seen, before more is
 * heard of the other side (RFC 7413). */
static void open_first_window(struct mb_endpoint *end)
{
    if (end->snd_wnd != 0)
        end->snd_max = end->isn + 1 + end->snd_wnd;
}

/* |p| is the SYN of |from|, or the SYN/ACK. */
static void take_syn(struct mb_endpoint *from, const struct mb_packet *p)
{
    const struct mb__offer offer = mb__tcp_offer(p);
    take_offer(from, &offer);
    if (p->tcp_flags & MB_TCP_ACK)
        open_first_window(from);
}

/* The sender's sequence space as far as a packet in mid-stream tells. */
static void take_midstream(struct mb_endpoint *end, uint32_t seq)
{
    end->stream_seq = seq;
    end->next = 0;
    end->snd_una = seq;
    end->snd_nxt = seq;
    end->flags |= MB_SIDE_SYNC;
}

/* RFC 9293 3.10.7.3: a SYN/ACK acknowledges the SYN, with its payload or without. */
static bool acks_syn(const struct mb_endpoint *to, const struct mb_packet *p)
{
    return mb__seq_diff(p->ack, to->isn) > 0 && mb__seq_diff(p->ack, to->snd_nxt) <= 0;
}

/* Whether the client |to| has taken nothing of |from| but its SYN/ACK, if that: what it was heard to do since may all
 * be an answer to what was forged. */
static bool may_have_taken_another(const struct mb_endpoint *from, const struct mb_endpoint *to)
{
    if (!has(to, MB_SIDE_SEEN | MB_SIDE_ISN) || has(to, MB_SIDE_RST) || from->snd_una != from->isn)
        return false;
    return to->state == MB_TCP_ESTABLISHED || to->state == MB_TCP_CLOSE_WAIT ||
           (to->state == MB_TCP_CLOSED && has(from, MB_SIDE_RST));
}

/* Whether the SYN/ACK |p| of |from|, which acknowledges the SYN, contests the one that stands (flow/contest.h), also
 * behind a FIN or a reset of the same number. Where the client is not seen, or did not get the first, it does
 * not: the later one counts at once. */
static bool contests(const struct mb_endpoint *from, const struct mb_endpoint *to, const struct mb_packet *p)
{
    return p->tcp_flags & MB_TCP_ACK && (from->state == MB_TCP_SYN_RCVD || from->flags & (MB_SIDE_FIN | MB_SIDE_RST)) &&
           has(from, MB_SIDE_ISN) && p->seq != from->isn && may_have_taken_another(from, to) && acks_syn(to, p);
}

static void unclose_flow(struct mb_flow *flow)
{
    flow->flags &= (uint8_t)~MB_FLOW_CLOSED;
    flow->end_reason = MB_END_NONE;
}

/* How |from| was heard to end was another's doing: neither end is closed by it. */
static void forget_end(struct mb_flow *flow, struct mb_endpoint *from, struct mb_endpoint *to)
{
    if (!(from->flags & (MB_SIDE_FIN | MB_SIDE_RST)))
        return;
    from->flags &= (uint16_t)~(MB_SIDE_FIN | MB_SIDE_FIN_ACKED | MB_SIDE_RST);
    from->state = MB_TCP_SYN_RCVD;
    to->state = has(to, MB_SIDE_FIN) ? MB_TCP_FIN_WAIT_1 : MB_TCP_ESTABLISHED;
    unclose_flow(flow);
}

void mb__tcp_take_offer(struct mb_flow *flow, int side, const struct mb__offer *offer)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    forget_end(flow, from, to);
    take_offer(from, offer);
    open_first_window(from);
    to->snd_una = offer->ack;
    to->snd_wnd = offer->window;
    to->snd_max = offer->ack + offer->window;
}

bool mb__tcp_replaces_syn(const struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *from = &flow->end[side];
    return (p->tcp_flags & (MB_TCP_SYN | MB_TCP_ACK | MB_TCP_RST)) == MB_TCP_SYN && from->state == MB_TCP_SYN_SENT &&
           has(from, MB_SIDE_ISN) && p->seq != from->isn && !has(&flow->end[!side], MB_SIDE_SYNC);
}

struct mb__offer mb__tcp_standing_syn(const struct mb_flow *flow, int side)
{
    const struct mb_endpoint *from = &flow->end[side];
    return (struct mb__offer){
        .isn = from->isn,
        .ack = from->snd_nxt,
        .tsval = from->ts_recent,
        .mss = from->mss,
        .window = (uint16_t)flow->end[!side].snd_wnd,
        .flags = from->flags & (MB_SIDE_TIMESTAMPS | MB_SIDE_WSCALE | MB_SIDE_SACK),
        .wscale = from->wscale,
    };
}

void mb__tcp_take_syn(struct mb_flow *flow, int side, const struct mb__offer *offer)
{
    take_offer(&flow->end[side], offer);
    flow->end[side].snd_nxt = offer->ack;
    flow->end[!side].snd_wnd = offer->window;
}

/* A valid answer after a reset: whoever was reset, the answering end was not. What
 * was sent in its name, or crossed its answer, did not close the connection. */
static void reopen(struct mb_flow *flow, struct mb_endpoint *to)
{
    unclose_flow(flow);
    to->flags &= (uint16_t)~MB_SIDE_RST;
    to->state = has(to, MB_SIDE_FIN) ? MB_TCP_FIN_WAIT_1 : MB_TCP_SYN_SENT;
}

static void send_syn(struct mb_flow *flow, int side, const struct mb_packet *p, struct mb__tcp_step *step)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    bool ack = p->tcp_flags & MB_TCP_ACK;
    /* or it was; not who has said nothing yet, though a FIN was sent to it */
    bool open = has(from, MB_SIDE_SYNC) &&
                (from->state >= SYNCHRONISED_FROM || from->flags & (MB_SIDE_FIN | MB_SIDE_RST));
    bool settled = open || from->next > 0; /* the other end holds to its number */
    step->contested = contests(from, to, p);
    if (step->contested || (settled && !(has(from, MB_SIDE_ISN) && p->seq == from->isn))) {
        if (!ack)
            from->challenged = p->seq;
        step->rejected = true;
        step->anomaly = MB_ANOMALY_TCP_SYN_CHALLENGE;
        return;
    }
    if (ack && has(to, MB_SIDE_ISN) && !acks_syn(to, p)) {
        step->rejected = true;
        step->anomaly = MB_ANOMALY_TCP_ACK;
        return;
    }
    if (open)
        return; /* the same SYN once more */
    if (ack && flow->flags & MB_FLOW_CLOSED && has(to, MB_SIDE_ISN) && !has(from, MB_SIDE_SYNC))
        reopen(flow, to);
    if (!has(from, MB_SIDE_ISN) || p->seq != from->isn) {
        step->restarted = has(from, MB_SIDE_SYNC);
        take_syn(from, p);
    }
    if (ack && !has(to, MB_SIDE_SYNC)) { /* the SYN it answers was not seen */
        take_isn(to, p->ack - 1);
        if (to->state < MB_TCP_SYN_SENT)
            to->state = MB_TCP_SYN_SENT;
    }
    if (mb__seq_diff(p->seq + 1 + p->payload_len, from->snd_nxt) > 0)
        from->snd_nxt = p->seq + 1 + p->payload_len;
    bool answers = ack || side == MB_SERVER;
    from->state = answers ? MB_TCP_SYN_RCVD : MB_TCP_SYN_SENT;
}

/* A connection of which less was seen than its packets imply is taken as
 * established from here on; not one that was reset, whose end both sides know. */
static void infer_established(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    if (!has(from, MB_SIDE_SYNC)) {
        /* With its SYN unseen but this connection's begin known, the first
         * number is the first byte only if nothing was lost; take it so. */
        take_midstream(from, p->seq);
        flow->flags |= MB_FLOW_MIDSTREAM;
        if (from->state < SYNCHRONISED_FROM && (to->state == MB_TCP_CLOSED || p->tcp_flags & MB_TCP_ACK))
            from->state = MB_TCP_ESTABLISHED;
    }
    if (!has(to, MB_SIDE_SYNC) && p->tcp_flags & MB_TCP_ACK && !(to->flags & MB_SIDE_SEEN) &&
        (flow->flags & (MB_FLOW_MIDSTREAM | MB_FLOW_CLOSED)) == MB_FLOW_MIDSTREAM) {
        take_midstream(to, p->ack);
        if (to->state != MB_TCP_SYN_RCVD) /* that was told: acknowledge() goes on from there */
            to->state = MB_TCP_ESTABLISHED;
    }
}

/* A FIN that does not acknowledge the other side's crossed it: both close at once. */
static void send_fin(struct mb_endpoint *from, const struct mb_endpoint *to, uint32_t ack)
{
    bool crossed = has(to, MB_SIDE_FIN) && mb__seq_diff(ack, to->snd_nxt) < 0;
    from->flags |= MB_SIDE_FIN;
    if (from->state == MB_TCP_ESTABLISHED && has(to, MB_SIDE_FIN) && !crossed)
        from->state = MB_TCP_LAST_ACK; /* it has all before the other's FIN, though the tap has not */
    else if (from->state == MB_TCP_ESTABLISHED || from->state == MB_TCP_SYN_RCVD || from->state == MB_TCP_SYN_SENT)
        from->state = MB_TCP_FIN_WAIT_1;
    else if (from->state == MB_TCP_CLOSE_WAIT)
        from->state = crossed ? MB_TCP_CLOSING : MB_TCP_LAST_ACK;
}

/* Whether |p| goes on past a FIN that waits for its turn: its receiver forgets that FIN. */
static bool passes_fin(const struct mb_endpoint *from, const struct mb_packet *p)
{
    uint32_t fin = from->snd_nxt - 1;
    return has(from, MB_SIDE_FIN) && mb__seq_diff(from->stream_seq + (uint32_t)from->next, fin) < 0 &&
           mb__seq_diff(p->seq, fin) < 0 && mb__seq_diff(p->seq + p->payload_len, fin) > 0;
}

/* The state of an end that is in |state|, had it sent no FIN; */
static uint8_t without_fin_sent(uint8_t state)
{
    switch (state) {
    case MB_TCP_FIN_WAIT_1:
    case MB_TCP_FIN_WAIT_2: return MB_TCP_ESTABLISHED;
    case MB_TCP_CLOSING:
    case MB_TCP_LAST_ACK:
    case MB_TCP_TIME_WAIT:
    case MB_TCP_CLOSED: return MB_TCP_CLOSE_WAIT;
    default: return state;
    }
}

/* or taken none. */
static uint8_t without_fin_received(uint8_t state)
{
    switch (state) {
    case MB_TCP_CLOSE_WAIT: return MB_TCP_ESTABLISHED;
    case MB_TCP_CLOSING:
    case MB_TCP_LAST_ACK: return MB_TCP_FIN_WAIT_1;
    case MB_TCP_TIME_WAIT:
    case MB_TCP_CLOSED: return MB_TCP_FIN_WAIT_2;
    default: return state;
    }
}

/* The numbers of |from| are what they were before its FIN. */
static void take_fin_back(struct mb_endpoint *from)
{
    from->flags &= (uint16_t)~(MB_SIDE_FIN | MB_SIDE_FIN_ACKED);
    from->snd_nxt--;
    if (mb__seq_diff(from->snd_una, from->snd_nxt) > 0)
        from->snd_una = from->snd_nxt;
}

/* Up to which stream offset |side| has sent behind its FIN; at most that: nothing. */
static uint64_t sent_until(const struct mb_flow *flow, int side)
{
    struct mb_buffer_info held;
    if (has(&flow->end[side], MB_SIDE_NO_STREAM))
        return flow->end[side].next;
    return mb_stream_info(flow, side, &held) == 0 && held.pending > 0 ? held.highest : 0;
}

bool mb__tcp_unmasks_fin(const struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *to = &flow->end[!side];
    if (!has(to, MB_SIDE_FIN) || (p->tcp_flags & (MB_TCP_ACK | MB_TCP_SYN | MB_TCP_RST)) != MB_TCP_ACK ||
        mb__seq_diff(p->ack, to->snd_nxt) <= 0)
        return false;
    const uint64_t until = sent_until(flow, !side);
    return until > (uint64_t)mb__tcp_fin_offset(to) && (uint64_t)mb__tcp_offset(to, p->ack) <= until + 1 &&
           mb__tcp_in_place(flow, side, p);
}

void mb__tcp_take_fin_back(struct mb_flow *flow, int side, uint32_t ack)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    const bool moved = (uint64_t)mb__tcp_offset(from, ack) > sent_until(flow, side);
    take_fin_back(from);
    if (!(flow->flags & MB_FLOW_CLOSED) || flow->end_reason != MB_END_RST) { /* else they are reset all the same */
        from->state = without_fin_sent(from->state);
        to->state = without_fin_received(to->state);
        unclose_flow(flow);
    }
    if (moved) {
        from->snd_nxt = ack;
        send_fin(from, to, to->snd_nxt);
    }
}

/* RFC 9293 3.8.6.1: a byte or more just beyond a closed window, to learn when it opens. The
 * receiver may take it or not: its next ACK tells. */
static bool probes_window(const struct mb_flow *flow, const struct mb_endpoint *from, const struct mb_packet *p)
{
    return p->payload_len > 0 && from->snd_wnd == 0 && from->snd_max != 0 && !(flow->flags & MB_FLOW_MIDSTREAM) &&
           p->seq == from->snd_max && p->seq == from->stream_seq + (uint32_t)from->next;
}

/* RFC 9293 3.10.7.3: who waits for the answer to its SYN takes nothing before it. Once it
 * acknowledges something it has had the answer, though the tap did not see it. */
static bool awaits_syn(const struct mb_endpoint *from, const struct mb_endpoint *to)
{
    return to->state == MB_TCP_SYN_SENT && has(to, MB_SIDE_ISN) && !has(from, MB_SIDE_SYNC) &&
           from->snd_max == 0;
}

/* Whether a segment's numbers are all of bytes that wait in one piece. */
static bool is_held(const struct mb_flow *flow, int side, int64_t offset, const struct mb_packet *p)
{
    return offset > (int64_t)flow->end[side].next &&
           mb__stream_holds(flow, side, (uint64_t)offset, (uint64_t)offset + segment_len(p));
}

/* Where a segment lies in sequence space, and what that moves. */
static void send_segment(struct mb_flow *flow, int side, const struct mb_packet *p, struct mb__tcp_step *step)
{
    struct mb_endpoint *from = &flow->end[side];
    if (awaits_syn(from, &flow->end[!side])) {
        step->anomaly = MB_ANOMALY_TCP_WINDOW;
        step->rejected = true;
        return;
    }
    infer_established(flow, side, p);
    step->anomaly = judge_segment(flow, side, p);
    if (step->anomaly != 0) {
        step->rejected = true;
        return;
    }
    uint32_t end = p->seq + segment_len(p);
    step->offset = mb__tcp_offset(from, p->seq);
    /* RFC 9293 3.8.4: one number below what is expected, with at most a byte. */
    step->keep_alive = p->payload_len <= 1 && p->seq + 1 == from->snd_nxt && from->snd_una == from->snd_nxt &&
                       !(p->tcp_flags & MB_TCP_FIN) && from->next > 0;
    step->probe = probes_window(flow, from, p);
    if (passes_fin(from, p)) {
        take_fin_back(from);
        from->state = without_fin_sent(from->state);
    }
    if (p->tcp_flags & MB_TCP_FIN && is_held(flow, side, step->offset, p))
        return; /* Linux throws away a segment all of which, its FIN too, is bytes that wait behind a hole */
    if (p->tcp_flags & MB_TCP_FIN && !has(from, MB_SIDE_FIN)) {
        bool new = mb__seq_diff(end, mb__tcp_next_expected(from)) > 0;
        if (new && (mb__seq_diff(end, from->snd_nxt) > 0 || !(flow->flags & MB_FLOW_CLOSED))) {
            from->snd_nxt = end;
            send_fin(from, &flow->end[!side], p->ack);
            step->fin = true;
        }
    } else if (mb__seq_diff(end, from->snd_nxt) > 0 && !has(from, MB_SIDE_FIN)) {
        from->snd_nxt = end;
    }
}

void mb__tcp_send(struct mb_flow *flow, int side, const struct mb_packet *p, struct mb__tcp_step *step)
{
    struct mb_endpoint *from = &flow->end[side];
    *step = (struct mb__tcp_step){.old_state = from->state};
    if (!(p->tcp_flags & MB_TCP_SYN) && echoes_wrongly(from, &flow->end[!side], p)) {
        step->anomaly = MB_ANOMALY_TCP_PAWS;
        step->rejected = true;
    } else if (p->tcp_flags & MB_TCP_RST) {
        step->anomaly = judge_reset(flow, side, p);
        step->rejected = step->anomaly != 0;
        if (!step->rejected) {
            from->flags |= MB_SIDE_RST;
            from->state = MB_TCP_CLOSED;
        }
    } else if (p->tcp_flags & MB_TCP_SYN) {
        send_syn(flow, side, p, step);
    } else {
        send_segment(flow, side, p, step);
    }
    step->new_state = from->state;
}

/* ---- the receiver --------------------------------------------------------- */

static void close_flow(struct mb_flow *flow, enum mb_end_reason why)
{
    if (flow->flags & MB_FLOW_CLOSED)
        return;
    flow->flags |= MB_FLOW_CLOSED;
    flow->end_reason = (uint8_t)why;
}

static void receive_reset(struct mb_flow *flow, int side)
{
    struct mb_endpoint *to = &flow->end[!side];
    bool refused = to->state == MB_TCP_SYN_SENT && side == MB_SERVER;
    to->state = MB_TCP_CLOSED;
    close_flow(flow, refused ? MB_END_REFUSED : MB_END_RST);
}

/* |to|'s FIN was acknowledged. */
static void fin_acknowledged(struct mb_endpoint *to)
{
    to->flags |= MB_SIDE_FIN_ACKED;
    if (to->state == MB_TCP_FIN_WAIT_1)
        to->state = MB_TCP_FIN_WAIT_2;
    else if (to->state == MB_TCP_CLOSING)
        to->state = MB_TCP_TIME_WAIT;
    else if (to->state == MB_TCP_LAST_ACK)
        to->state = MB_TCP_CLOSED;
}

/* What acknowledging |ack| does to the state of |to|, whose numbers it has moved. */
static void acknowledge(struct mb_endpoint *to, bool syn, uint32_t ack)
{
    bool syn_acknowledged = has(to, MB_SIDE_ISN) && mb__seq_diff(ack, to->isn) > 0;
    if (to->state == MB_TCP_SYN_SENT && syn_acknowledged && syn)
        to->state = MB_TCP_ESTABLISHED;
    else if (to->state == MB_TCP_SYN_RCVD && (syn_acknowledged || !has(to, MB_SIDE_ISN)))
        to->state = MB_TCP_ESTABLISHED;
    else if (has(to, MB_SIDE_FIN) && !has(to, MB_SIDE_FIN_ACKED) && ack == to->snd_nxt)
        fin_acknowledged(to);
}

static void receive_ack(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    if (!has(to, MB_SIDE_SYNC)) {
        mb__receive_window(from, to, p->tcp_flags & MB_TCP_SYN, p->window, p->ack);
        return;
    }
    if (mb__seq_diff(p->ack, to->snd_una) >= 0) /* else its window is old as well */
        mb__receive_window(from, to, p->tcp_flags & MB_TCP_SYN, p->window, p->ack);
    if (mb__seq_diff(p->ack, to->snd_nxt) > 0)
        to->snd_nxt = p->ack; /* lost at the tap */
    if (mb__seq_diff(p->ack, to->snd_una) > 0)
        to->snd_una = p->ack;
    acknowledge(to, p->tcp_flags & MB_TCP_SYN, p->ack);
}

/* Round-trip times of the handshake, when neither SYN had to be repeated. */
static void measure_handshake(struct mb_flow *flow, int side, bool syn, int64_t ts)
{
    if (flow->flags & MB_FLOW_MIDSTREAM || flow->rtt_client != 0)
        return;
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    if (side == MB_SERVER && syn && client->packets == 1 && server->packets == 1)
        flow->rtt_server = microseconds(flow->first_ts, ts);
    else if (side == MB_CLIENT && flow->rtt_server != 0 && client->packets == 2 && server->packets == 1)
        flow->rtt_client = microseconds(flow->first_ts + flow->rtt_server * 1000LL, ts);
}

/* |to| has taken an ACK: perhaps of the last FIN. */
static void close_when_done(struct mb_flow *flow, const struct mb_endpoint *to)
{
    if (has(to, MB_SIDE_FIN) && is_closed(&flow->end[MB_CLIENT]) && is_closed(&flow->end[MB_SERVER]))
        close_flow(flow, MB_END_FIN);
}

void mb__tcp_measure(struct mb_flow *flow, int side, int64_t ts)
{
    measure_handshake(flow, side, false, ts);
}

/* Whether |end| is in |state| and its sequence space is known, or not, as |sync| says, with no more said. */
static bool stands(const struct mb_endpoint *end, uint8_t state, unsigned sync)
{
    const unsigned said = MB_SIDE_ISN | MB_SIDE_SYNC | MB_SIDE_FIN | MB_SIDE_RST;
    return end->state == state && (end->flags & said) == sync && end->next == 0;
}

bool mb__tcp_shake(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    if (p->payload_len > 0 || flow->flags & MB_FLOW_CLOSED)
        return false;
    if (p->tcp_flags == MB_TCP_SYN) {
        if (side != MB_CLIENT || !stands(from, MB_TCP_CLOSED, 0) || !stands(to, MB_TCP_CLOSED, 0))
            return false;
        from->state = MB_TCP_SYN_SENT;
        to->state = MB_TCP_SYN_RCVD;
        to->snd_wnd = p->window;
        take_syn(from, p);
        return true;
    }
    if (p->tcp_flags != (MB_TCP_SYN | MB_TCP_ACK) || side != MB_SERVER || !stands(from, MB_TCP_SYN_RCVD, 0) ||
        !stands(to, MB_TCP_SYN_SENT, MB_SIDE_ISN | MB_SIDE_SYNC) || p->ack != to->isn + 1 || p->ack != to->snd_nxt)
        return false;
    take_syn(from, p);
    to->state = MB_TCP_ESTABLISHED;
    to->snd_una = p->ack;
    mb__receive_window(from, to, true, p->window, p->ack);
    measure_handshake(flow, side, true, p->ts);
    return true;
}

void mb__tcp_receive(struct mb_flow *flow, int side, const struct mb_packet *p, struct mb__tcp_step *step)
{
    struct mb_endpoint *to = &flow->end[!side];
    step->old_state = to->state;
    if (p->tcp_flags & MB_TCP_RST) {
        receive_reset(flow, side);
    } else {
        if (p->tcp_flags & MB_TCP_SYN && !(p->tcp_flags & MB_TCP_ACK)) {
            if (!has(to, MB_SIDE_SYNC))
                to->snd_wnd = p->window;
            if (to->state == MB_TCP_CLOSED && !has(to, MB_SIDE_SYNC))
                to->state = MB_TCP_SYN_RCVD;
            else if (to->state == MB_TCP_SYN_SENT)
                to->state = MB_TCP_SYN_RCVD; /* simultaneous open */
        }
        if (p->tcp_flags & MB_TCP_ACK)
            receive_ack(flow, side, p);
        if (flow->rtt_client == 0)
            measure_handshake(flow, side, p->tcp_flags & MB_TCP_SYN, p->ts);
        close_when_done(flow, to);
    }
    step->new_state = to->state;
}

/* |to| takes a FIN: whether that changes its state. */
static inline bool take_fin(struct mb_endpoint *to)
{
    switch (to->state) {
    case MB_TCP_SYN_RCVD:
    case MB_TCP_SYN_SENT:
    case MB_TCP_ESTABLISHED: to->state = MB_TCP_CLOSE_WAIT; return true;
    case MB_TCP_FIN_WAIT_1: to->state = MB_TCP_CLOSING; return true;
    case MB_TCP_FIN_WAIT_2: to->state = MB_TCP_TIME_WAIT; return true;
    default: return false;
    }
}

bool mb__tcp_fin(struct mb_flow *flow, int side, struct mb__tcp_step *step)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    step->old_state = step->new_state = to->state;
    if (!has(from, MB_SIDE_FIN) || mb__tcp_fin_offset(from) != (int64_t)from->next || !take_fin(to))
        return false;
    step->new_state = to->state;
    if (is_closed(to) && is_closed(from))
        close_flow(flow, MB_END_FIN);
    return true;
}

/* ---- the short way ---------------------------------------------------------- */

/* What the functions above make of how most connections open and close: sender and receiver before,
 * FIN or not, whether all is acknowledged; sender and receiver after, and the idle time. */
#define TURN(sender, receiver, is_fin, acks, new_sender, new_receiver, new_idle)          \
    [MB_TCP_##sender][MB_TCP_##receiver][is_fin][acks] = {.from = MB_TCP_##new_sender,  \
                                                          .to = MB_TCP_##new_receiver,  \
                                                          .idle = MB__TIMER_##new_idle, \
                                                          .fin = (is_fin) * MB_SIDE_FIN}

const struct mb__turn mb__turns[MB__TURN_STATES][MB__TURN_STATES][2][2] = {
    TURN(ESTABLISHED, SYN_RCVD, 0, 1, ESTABLISHED, ESTABLISHED, TCP),
    TURN(ESTABLISHED, ESTABLISHED, 1, 0, FIN_WAIT_1, CLOSE_WAIT, TCP_HALF),
    TURN(ESTABLISHED, ESTABLISHED, 1, 1, FIN_WAIT_1, CLOSE_WAIT, TCP_HALF),
    TURN(FIN_WAIT_1, CLOSE_WAIT, 0, 0, FIN_WAIT_1, CLOSE_WAIT, TCP_HALF),
    TURN(FIN_WAIT_1, CLOSE_WAIT, 0, 1, FIN_WAIT_1, CLOSE_WAIT, TCP_HALF),
    TURN(CLOSE_WAIT, FIN_WAIT_1, 0, 0, CLOSE_WAIT, FIN_WAIT_1, TCP_HALF),
    TURN(CLOSE_WAIT, FIN_WAIT_1, 0, 1, CLOSE_WAIT, FIN_WAIT_2, TCP_HALF),
    TURN(CLOSE_WAIT, FIN_WAIT_1, 1, 0, CLOSING, CLOSING, TCP_HALF),
    TURN(CLOSE_WAIT, FIN_WAIT_1, 1, 1, LAST_ACK, TIME_WAIT, TCP_HALF),
    TURN(FIN_WAIT_2, CLOSE_WAIT, 0, 0, FIN_WAIT_2, CLOSE_WAIT, TCP_HALF),
    TURN(FIN_WAIT_2, CLOSE_WAIT, 0, 1, FIN_WAIT_2, CLOSE_WAIT, TCP_HALF),
    TURN(CLOSE_WAIT, FIN_WAIT_2, 0, 1, CLOSE_WAIT, FIN_WAIT_2, TCP_HALF),
    TURN(CLOSE_WAIT, FIN_WAIT_2, 1, 1, LAST_ACK, TIME_WAIT, TCP_HALF),
    TURN(CLOSING, CLOSING, 0, 1, CLOSING, TIME_WAIT, TCP_HALF),
    TURN(TIME_WAIT, CLOSING, 0, 1, TIME_WAIT, TIME_WAIT, TCP_CLOSED),
    TURN(TIME_WAIT, LAST_ACK, 0, 1, TIME_WAIT, CLOSED, TCP_CLOSED),
};
