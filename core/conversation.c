/* SPDX-License-Identifier: BSD-3-Clause */
/* conversation -- one packet of a flow: both endpoints, the stream, the protocol
 *
 *   find or make the flow
 *     |  sender's endpoint        mb__tcp_send()
 *     |    flow_start, packet, state_change at SND    <- a drop ends it here
 *     |  receiver's endpoint      mb__tcp_receive(), bytes into the stream
 *     |    packet, state_change at RCV, retransmit
 *     |  data, gap, protocol records
 *     v  FIN taken, idle time chosen
 */
#include "conversation.h"
#include "flow/advance.h"
#include "flow/contest.h"

static int raise_state(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, uint8_t hook,
                       const struct mb__tcp_step *step)
{
    if (step->old_state == step->new_state || !mb__heard_at(flow, MB_EV_STATE_CHANGE, hook))
        return 0;
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_STATE_CHANGE, hook);
    ev.old_state = step->old_state;
    ev.new_state = step->new_state;
    return mb__engine_raise(e, &ev);
}

/* The same where no step of a segment's moved |side| on from |old_state|. */
static int raise_state_since(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                             uint8_t hook, uint8_t old_state)
{
    const struct mb__tcp_step step = {.old_state = old_state, .new_state = flow->end[side].state};
    return raise_state(e, flow, side, p, hook, &step);
}

/* ---- TCP ------------------------------------------------------------------ */

static enum mb__timer_kind tcp_timer(const struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    if (flow->flags & MB_FLOW_CLOSED)
        return flow->end_reason == MB_END_FIN ? MB__TIMER_TCP_CLOSED : MB__TIMER_TCP_RESET;
    if ((client->flags | server->flags) & MB_SIDE_FIN)
        return MB__TIMER_TCP_HALF;
    if (client->state >= MB_TCP_ESTABLISHED && server->state >= MB_TCP_ESTABLISHED)
        return MB__TIMER_TCP;
    const struct mb__contest *contest = mb__contest_of(flow);
    if (contest != NULL && contest->reset) /* which is real if no more is heard of it */
        return MB__TIMER_TCP_RESET;
    return flow->flags & MB_FLOW_ANSWERED ? MB__TIMER_TCP : MB__TIMER_TCP_SYN;
}

/* The urgent pointer of |p| marks the byte before the one it points to (RFC 6093);
 * one of 0 is taken for 1. What was delivered before stays delivered. */
static void mark_urgent(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    struct mb_endpoint *from = &flow->end[side];
    int64_t at = offset + (p->urgent == 0 ? 0 : p->urgent - 1);
    if (at >= (int64_t)from->next && !(from->flags & MB_SIDE_NO_STREAM))
        mb__stream_mark(&e->streams, flow, side, (uint64_t)at); /* without room it stays in the stream */
}

/* Inline |p| can neither wait for what an ACK will tell of it, nor pass without a verdict. */
static int drop_unjudged(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    e->dropped = true;
    return mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_TCP_WINDOW);
}

static int tcp_payload(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                       const struct mb__tcp_step *step)
{
    struct mb_endpoint *from = &flow->end[side];
    const bool reset = flow->end_reason == MB_END_RST, other_seen = flow->end[!side].flags & MB_SIDE_SEEN;
    const int64_t end = mb__end_of_stream(from);
    if (step->keep_alive || p->tcp_flags & MB_TCP_RST || (reset && from->flags & MB_SIDE_RST && !other_seen))
        return 0;
    if (mb__is_off(e, flow, side)) {
        mb__count_data(flow, side, p, step->offset);
        return 0;
    }
    const bool over = step->offset + (int64_t)p->payload_len > end; /* it goes on behind the FIN */
    if (mb__engine_inline(e) && (reset || over))
        return drop_unjudged(e, flow, side, p);
    const bool waits = over && other_seen; /* for the other side's ACK */
    if (step->offset >= end) {
        int err = waits ? mb__hold_segment(e, flow, side, p, step->offset) : 0;
        return err < 0 ? err : mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_TCP_WINDOW);
    }
    if (p->tcp_flags & MB_TCP_SYN)
        return from->next == 0 && !(p->tcp_flags & MB_TCP_ACK) && !reset ? mb__syn_data(e, flow, side, p) : 0;
    if (reset || step->probe)
        return mb__hold_segment(e, flow, side, p, step->offset);
    int err = mb__segment_data(e, flow, side, p, step->offset);
    if (err < 0 || !waits || (int64_t)from->next != mb__end_of_stream(from))
        return err;
    return mb__hold_segment(e, flow, side, p, mb__tcp_offset(from, p->seq)); /* what is left of it */
}

/* The other side takes the FIN of |side|, if all in front of it is there. */
static int take_fin(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb__tcp_step step;
    if (!mb__tcp_fin(flow, side, &step))
        return 0;
    return raise_state(e, flow, !side, p, MB_HOOK_RCV, &step);
}

/* The FIN of |side| is acknowledged: so is all in front of it, also what was lost
 * at the tap. |news|: since just now. Parsers learn of it then or with the end of the flow: before, it
 * may be another's. */
static int settle_fin(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool news)
{
    struct mb_endpoint *from = &flow->end[side];
    int64_t acked = mb__tcp_acked(from);
    if (acked > (int64_t)from->next && from->flags & MB_SIDE_NO_STREAM)
        from->next = (uint64_t)acked;
    int err = mb__give_up_holes(e, flow, side, p, acked);
    if (err >= 0)
        err = take_fin(e, flow, side, p);
    return err >= 0 && news ? mb__parser_end(e, flow, side, p) : err;
}

/* The receiver's half of a segment that it accepts. */
static int tcp_received(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                        struct mb__tcp_step *step)
{
    const struct mb_endpoint *to = &flow->end[!side];
    const bool was_acked = to->flags & MB_SIDE_FIN_ACKED;
    mb__tcp_receive(flow, side, p, step);
    int err = raise_state(e, flow, !side, p, MB_HOOK_RCV, step);
    if (err >= 0 && flow->streams != NULL && p->tcp_flags & MB_TCP_ACK) {
        if (p->tcp_flags & MB_TCP_SYN)
            err = mb__syn_data_answered(e, flow, !side, p);
        else
            err = mb__settle_acknowledged(e, flow, !side, p);
    }
    if (err >= 0 && to->flags & MB_SIDE_FIN_ACKED)
        err = settle_fin(e, flow, !side, p, !was_acked);
    if (e->config.urgent == MB_URGENT_OOB && p->tcp_flags & MB_TCP_URG)
        mark_urgent(e, flow, side, p, step->offset);
    if (step->fin && flow->streams != NULL)
        mb__cut_behind_fin(e, flow, side);
    if (err >= 0 && p->payload_len > 0)
        err = tcp_payload(e, flow, side, p, step);
    if (err >= 0 && flow->end[side].flags & MB_SIDE_FIN)
        err = take_fin(e, flow, side, p);
    return err;
}

/* What |step| has to tell of the sender of |p|: its state, and why |p| is odd. */
static int tcp_sent(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                    const struct mb__tcp_step *step)
{
    int err = raise_state(e, flow, side, p, MB_HOOK_SND, step);
    return err >= 0 && step->anomaly != 0 ? mb__engine_anomaly(e, flow, side, p, step->anomaly) : err;
}

/* The client's segment |p| tells that the SYN/ACK of |side| is |offer|, not the first: what waited behind that is
 * nobody's. It does not say either which protocol it is, unless the client has sent something too. */
static int take_offer(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb__offer *offer,
                      const struct mb_packet *p)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    const uint8_t server = from->state, client = to->state;
    mb__tcp_take_offer(flow, side, offer);
    mb__discard_waiting(e, flow, side);
    if (to->next == 0)
        mb__parser_restart(e, flow);
    int err = raise_state_since(e, flow, side, p, MB_HOOK_RCV, server);
    return err < 0 ? err : raise_state_since(e, flow, !side, p, MB_HOOK_SND, client);
}

/* It is known which of its SYN/ACKs counts for the server: |choice|, of which |p| tells. What was held is taken in,
 * in its turn, unless the flow is not to go on. */
static int end_contest(struct mb_engine *e, struct mb_flow *flow, int choice, const struct mb_packet *p)
{
    const struct mb__contest *contest = mb__stream_contest(flow);
    const int side = contest->side;
    int err = choice >= MB__CHOICE_OFFER ? take_offer(e, flow, side, &contest->offer[choice], p) : 0;
    for (struct mb__undecided *held = mb__contest_end(&e->streams, flow); held != NULL;
         held = mb__undecided_free(&e->streams, held)) {
        struct mb__tcp_step step;
        if (err < 0 || flow->flags & (MB_FLOW_DROP | MB_FLOW_FORGET))
            continue;
        mb__tcp_send(flow, side, &held->packet, &step);
        err = tcp_sent(e, flow, side, &held->packet, &step);
        if (err >= 0 && !step.rejected)
            err = tcp_received(e, flow, side, &held->packet, &step);
    }
    return err;
}

/* The same when the flow ends, and the client has told nothing. No packet that passes now is meant by a verdict. */
static int end_undecided(struct mb_engine *e, struct mb_flow *flow)
{
    const bool dropped = e->dropped;
    int err = end_contest(e, flow, MB__CHOICE_FIRST, NULL);
    e->dropped = dropped;
    return err;
}

/* The server's segment |p|, while it is not known which of its SYN/ACKs counts: it waits. Inline it is dropped, and the
 * server will send it again when the client has told. */
static int undecided_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    flow->last_ts = p->ts;
    int err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err < 0 || e->dropped)
        return err;
    if (mb__engine_inline(e))
        return drop_unjudged(e, flow, side, p);
    err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    return err < 0 ? err : mb__hold_undecided(e, flow, side, p);
}

/* Whether it is open which SYN/ACK of |side| counts. */
static bool is_contested(const struct mb_flow *flow, int side)
{
    const struct mb__contest *contest = mb__contest_of(flow);
    return contest != NULL && contest->side == side && !contest->syns;
}

/* Several SYNs of the client have different numbers, and |p| may tell which counts: what waited behind another is
 * nobody's. Each answer of the server may tell until the client goes on. */
static void choose_syn(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb__contest *contest = mb__contest_of(flow);
    if (contest == NULL || !contest->syns)
        return;
    const int client = contest->side;
    const bool answered = flow->end[!client].flags & MB_SIDE_SYNC, syn = p->tcp_flags & MB_TCP_SYN;
    if (answered && side != client && !syn)
        return;
    if ((!answered || side != client) && mb__contest_choose_syn(flow, side, p))
        mb__discard_waiting(e, flow, client);
    if (answered)
        mb__contest_end(&e->streams, flow);
}

/* By what it acknowledges |p| tells that the FIN of |side| was none. */
static int take_fin_back(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const uint8_t sender = flow->end[side].state, receiver = flow->end[!side].state;
    mb__tcp_take_fin_back(flow, side, p->ack);
    int err = raise_state_since(e, flow, !side, p, MB_HOOK_SND, receiver);
    return err < 0 ? err : raise_state_since(e, flow, side, p, MB_HOOK_RCV, sender);
}

/* The long way: any segment. */
static int tcp_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    const bool contested = is_contested(flow, !side);
    int err = 0;
    if (is_contested(flow, side) && !(p->tcp_flags & MB_TCP_SYN))
        return undecided_segment(e, flow, side, p);
    if (contested) {
        int choice = mb__contest_choose(flow, p);
        err = choice == MB__CHOICE_NONE ? 0 : end_contest(e, flow, choice, p);
    }
    if (err >= 0 && mb__tcp_unmasks_fin(flow, side, p))
        err = take_fin_back(e, flow, !side, p);
    choose_syn(e, flow, side, p);
    if (err >= 0 && mb__tcp_replaces_syn(flow, side, p)) {
        const struct mb__offer former = mb__tcp_standing_syn(flow, side);
        err = mb__keep_offer(e, flow, side, p, &former, true);
    }
    struct mb__tcp_step step;
    mb__tcp_send(flow, side, p, &step);
    flow->last_ts = p->ts;
    if (step.restarted)
        mb__stream_clear(&e->streams, flow, side);
    if (err >= 0 && first)
        err = mb__raise_plain(e, flow, side, p, MB_EV_FLOW_START, MB_HOOK_NONE);
    if (err >= 0)
        err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err >= 0)
        err = tcp_sent(e, flow, side, p, &step);
    if (err < 0 || e->dropped)
        return err;
    if (step.contested) {
        const struct mb__offer offer = mb__tcp_offer(p);
        err = mb__keep_offer(e, flow, side, p, &offer, false);
    }
    if (err >= 0)
        err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err >= 0 && !step.rejected)
        err = tcp_received(e, flow, side, p, &step);
    if (err >= 0 && contested && flow->end[!side].snd_una != flow->end[!side].isn && is_contested(flow, !side))
        err = end_contest(e, flow, MB__CHOICE_FIRST, p); /* what |p| acknowledged went by the first */
    return err;
}

/* The short way with somebody who hears of every packet, which changes no state. He
 * may have asked for something between the halves. */
static int heard_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                         const struct mb__segment *s)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    mb__tcp_advance_sender(flow, from, to, s);
    int err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err < 0 || e->dropped)
        return err;
    err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err < 0)
        return err;
    if (from->flags & MB_SIDE_NO_STREAM) {
        struct mb__tcp_step step = {.offset = mb__tcp_offset(from, p->seq)};
        return tcp_received(e, flow, side, p, &step);
    }
    mb__tcp_advance_receiver(from, to, s);
    return p->payload_len == 0 ? 0 : mb__deliver(e, flow, side, p, mb__payload_of(p));
}

/* Whether |p|, the |first| packet of |flow| or not, is of its handshake and was taken in by the short
 * way, which nobody hears; not if its frame was dropped before, since its receiver does not learn of it. */
static inline bool shakes_hands(const struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                                bool first)
{
    const uint64_t heard = 1ull << MB_EV_PACKET | 1ull << MB_EV_STATE_CHANGE | (uint64_t)first << MB_EV_FLOW_START;
    if (e->dropped || flow->events & heard || flow->streams != NULL || !mb__tcp_shake(flow, side, p))
        return false;
    flow->last_ts = p->ts;
    return true;
}

/* The short way for a segment that may change a state, with nobody who hears of it. */
static int turn_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                        const struct mb__segment *s, const struct mb__turn *turn)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    bool after_bytes = turn->fin && p->payload_len > 0; /* the FIN; whoever hears them may ask to hear of it */
    bool was_acked = to->flags & MB_SIDE_FIN_ACKED;
    int err = 0;
    mb__tcp_advance_sender(flow, from, to, s);
    mb__tcp_advance_receiver(from, to, s);
    mb__tcp_turn_sender(from, turn);
    if (!after_bytes)
        mb__tcp_turn_receiver(flow, side, turn);
    if (p->payload_len > 0)
        err = mb__deliver(e, flow, side, p, mb__payload_of(p));
    if (err >= 0 && after_bytes)
        err = take_fin(e, flow, side, p);
    if (err >= 0 && !was_acked && to->flags & MB_SIDE_FIN_ACKED)
        err = mb__parser_end(e, flow, !side, p);
    mb__flows_set_timer(&e->flows, flow, turn->idle, e->now);
    return err;
}

/* The way for a segment that may change a state: the short one, or else the long one. */
static int changing_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                            const struct mb__segment *s)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    /* that changes a state before its bytes are heard, and another behind them */
    bool late_ack = s->flags & MB_TCP_FIN && s->len > 0 && to->flags & MB_SIDE_FIN;
    if (!mb__heard(flow, MB_EV_PACKET) && !mb__heard(flow, MB_EV_STATE_CHANGE) && !late_ack) {
        const struct mb__turn *turn = mb__turn_of(from, to, s);
        if (turn != NULL && mb__is_next(from, to, s, mb__fins(from)))
            return turn_segment(e, flow, side, p, s, turn);
    }
    int err = tcp_segment(e, flow, side, p, false);
    mb__flows_set_timer(&e->flows, flow, tcp_timer(flow), e->now);
    return err;
}

static inline int tcp_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    int err = 0;
    if (first || !mb__flags_advance(p->tcp_flags) || flow->streams != NULL || flow->flags & MB_FLOW_CLOSED) {
        if (!(p->tcp_flags & MB_TCP_SYN) || !shakes_hands(e, flow, side, p, first))
            err = tcp_segment(e, flow, side, p, first);
        mb__flows_set_timer(&e->flows, flow, tcp_timer(flow), e->now);
        return err;
    }
    const struct mb__segment s = mb__segment_of(p);
    if (!mb__is_amid(from, to, &s) || !mb__is_next(from, to, &s, 0))
        return changing_segment(e, flow, side, p, &s);
    if (mb__heard(flow, MB_EV_PACKET))
        return heard_segment(e, flow, side, p, &s);
    mb__tcp_advance_sender(flow, from, to, &s);
    mb__tcp_advance_receiver(from, to, &s);
    return p->payload_len > 0 ? mb__deliver(e, flow, side, p, mb__payload_of(p)) : 0;
}

/* A packet of a flow that had not settled was taken in. */
static void settle(struct mb_engine *e, struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    bool open = client->state >= MB_TCP_ESTABLISHED && server->state >= MB_TCP_ESTABLISHED;
    if (flow->flags & MB_FLOW_ANSWERED && (open || flow->ip_proto != 6))
        mb__flows_settle(&e->flows, flow);
}

/* Whether brief frames that |from| sent need not be shown to anybody. */
static inline bool is_unheard(const struct mb_flow *flow, const struct mb_endpoint *from)
{
    bool passes = !(flow->flags & (MB_FLOW_DROP | MB_FLOW_FORGET | MB_FLOW_CLOSED)) && from->flags & MB_SIDE_SEEN;
    return passes && flow->streams == NULL && !(flow->events & MB__EVENTS_WITH_PACKETS);
}

/* What a brief frame that changes states does beyond moving the numbers on. */
__attribute__((noinline)) static void brief_turn(struct mb_engine *e, struct mb_flow *flow, struct mb_endpoint *from,
                                                 const struct mb__turn *turn)
{
    mb__tcp_turn_sender(from, turn);
    mb__tcp_turn_receiver(flow, from == &flow->end[MB_CLIENT] ? MB_CLIENT : MB_SERVER, turn);
    mb__flows_set_timer(&e->flows, flow, turn->idle, e->now);
}

/* As measure(): |s|, sent by |from|, echoes |tsecr|. */
static inline void brief_measure(const struct mb_engine *e, struct mb_flow *flow, const struct mb_endpoint *from,
                                 const struct mb__segment *s, uint32_t tsecr)
{
    if (mb__rtts_apply(flow))
        mb__rtts_packet(mb__rtts_of(e, flow), from != &flow->end[MB_CLIENT], s->ts, s->tsval, tsecr,
                        s->len > 0 || s->flags & MB_TCP_FIN);
}

/* Takes a brief frame, the parts of which are |at|, the short way, if it may go it. */
__attribute__((always_inline)) static inline bool pass_brief(struct mb_engine *e, struct mb__brief_at at,
                                                             uint32_t wirelen, int64_t ts, uint32_t hash)
{
    struct mb_endpoint *from, *to;
    const struct mb__ends ends = mb__brief_ends(&at);
    struct mb_flow *flow = mb__flows_recall_brief(&e->flows, hash, &ends, &from, &to);
    if (flow == NULL || !is_unheard(flow, from))
        return false;
    const struct mb__segment s = mb__brief_segment(&at, ts);
    const struct mb__turn *turn = NULL;
    if (!mb__is_amid(from, to, &s)) {
        turn = mb__heard(flow, MB_EV_STATE_CHANGE) ? NULL : mb__turn_of(from, to, &s);
        if (turn == NULL)
            return false;
    }
    if (!mb__is_next(from, to, &s, mb__fins(from)))
        return false;
    from->packets++;
    from->bytes += wirelen;
    from->tcp_flags |= s.flags;
    from->next += s.len;
    e->stats.stream_bytes += s.len;
    mb__tcp_advance_sender(flow, from, to, &s);
    mb__tcp_advance_receiver(from, to, &s);
    if (e->rtts_slot != 0 && s.stamped)
        brief_measure(e, flow, from, &s, mb__brief_echo(&at));
    if (turn != NULL)
        brief_turn(e, flow, from, turn);
    if (!(from->flags & MB_SIDE_SETTLED))
        settle(e, flow);
    return true;
}

bool mb__conversation_brief(struct mb_engine *e, struct mb__brief_at at, uint32_t wirelen, int64_t ts, uint32_t hash)
{
    return pass_brief(e, at, wirelen, ts, hash);
}

int mb__conversation_briefs(struct mb_engine *e, const struct mb_frame *frames, const uint8_t *packets,
                            const uint32_t *hash, int n)
{
    uint64_t bytes = 0;
    int i = 0;
    for (; i < n && packets[i] == 0; i++) {
        const int64_t ts = frames[i].ts, now = ts > e->now ? ts : e->now;
        mb__flows_prefetch_flow(&e->flows, hash[i + MB__AHEAD]);
        if (now >> MB__TICK_SHIFT != e->tick)
            break;
        e->now = now;
        if (!pass_brief(e, mb__brief_in_frame(frames[i].data), frames[i].wirelen, ts, hash[i]))
            break;
        bytes += frames[i].wirelen;
    }
    e->stats.frame_bytes += bytes;
    return i;
}

uint32_t mb__conversation_listed(struct mb_engine *e, const struct mb__listed *listed, uint32_t n)
{
    const uint8_t own = (uint8_t)e->shards.own;
    uint64_t bytes = 0;
    uint32_t i = 0;
    for (; i < n && mb__shape_is_brief(listed[i].shape) && listed[i].owner == own; i++) {
        const struct mb_frame *frame = &listed[i].frame;
        const int64_t ts = frame->ts, now = ts > e->now ? ts : e->now;
        if (i + MB__AHEAD < n)
            mb__flows_prefetch_flow(&e->flows, listed[i + MB__AHEAD].hash);
        if (now >> MB__TICK_SHIFT != e->tick)
            break;
        e->now = now;
        if (!pass_brief(e, mb__brief_in_list(&listed[i]), frame->wirelen, ts, listed[i].hash))
            break;
        bytes += frame->wirelen;
    }
    e->stats.frame_bytes += bytes;
    return i;
}

/* ---- other protocols ------------------------------------------------------ */

static enum mb__timer_kind datagram_timer(const struct mb_flow *flow)
{
    switch (flow->ip_proto) {
    case 17: return MB__TIMER_UDP;
    case 1:
    case 58: return MB__TIMER_ICMP;
    default: return MB__TIMER_IP;
    }
}

static int datagram(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    flow->last_ts = p->ts;
    int err = first ? mb__raise_plain(e, flow, side, p, MB_EV_FLOW_START, MB_HOOK_NONE) : 0;
    if (err >= 0)
        err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err < 0 || e->dropped)
        return err;
    err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err >= 0 && p->ip_proto != 17)
        err = mb__related(e, p);
    if (err < 0 || p->payload_len == 0)
        return err;
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_DATA, MB_HOOK_NONE);
    ev.data = p->net + p->payload_off;
    ev.len = p->payload_len;
    ev.offset = flow->end[side].next;
    flow->end[side].next += p->payload_len;
    e->stats.stream_bytes += p->payload_len;
    if (mb__heard(flow, MB_EV_DATA)) {
        err = mb__engine_raise(e, &ev);
        if (err < 0)
            return err;
    }
    return flow->ip_proto == 17 ? mb__parser_call(e, &ev, MB__PARSER_DATA) : 0;
}

/* ---- flows ---------------------------------------------------------------- */

static int orphan(struct mb_engine *e, const struct mb_packet *p)
{
    e->stats.orphans++;
    int err = 0;
    if (*e->global >> MB_EV_ORPHAN & 1) {
        struct mb_event ev = mb__event_of(e, NULL, MB_CLIENT, p, MB_EV_ORPHAN, MB_HOOK_NONE);
        err = mb__engine_raise(e, &ev);
    }
    if (err >= 0)
        mb__engine_judge(e, NULL, MB_CLIENT, p);
    return err;
}

/* The bytes of acknowledged holes, and then what waited behind them. What was
 * never acknowledged stays undelivered: no host is known to have taken it. */
static int flush_stream(struct mb_engine *e, struct mb_flow *flow, int side)
{
    struct mb_endpoint *from = &flow->end[side];
    int err = 0;
    if ((from->flags & (MB_SIDE_SYNC | MB_SIDE_NO_STREAM)) == MB_SIDE_SYNC &&
        flow->end[!side].flags & MB_SIDE_SEEN && mb__tcp_acked(from) > (int64_t)from->next)
        err = mb__give_up_holes(e, flow, side, NULL, mb__tcp_acked(from));
    if (err >= 0 && !(flow->end[!side].flags & MB_SIDE_SEEN)) /* nobody could acknowledge */
        err = mb__give_up_all_holes(e, flow, side);
    return err;
}

int mb__conversation_end(struct mb_engine *e, struct mb_flow *flow, int reason)
{
    if (flow->flags & MB_FLOW_ENDING)
        return 0;
    int err = 0, failed = 0;
    flow->flags |= MB_FLOW_ENDING;
    if (mb__contest_of(flow) != NULL) /* the client told nothing: the first stood */
        err = end_undecided(e, flow);
    if (!(flow->flags & MB_FLOW_CLOSED)) /* a closed one has its reason, whatever sweeps it away */
        flow->end_reason = (uint8_t)reason;
    /* With both FINs taken all bytes before them were shown: what the endpoints hold, which
     * was not looked at for a while, need not come into the cache. */
    bool whole = flow->ip_proto != 6 || (flow->flags & MB_FLOW_CLOSED && flow->end_reason == MB_END_FIN);
    for (int side = MB_CLIENT; side <= MB_SERVER; side++) {
        if (!whole && (failed = flush_stream(e, flow, side)) < 0)
            err = failed;
        if (flow->streams != NULL)
            e->stats.stream_discarded += mb__stream_pending(flow, side);
        if (err >= 0 && (failed = mb__parser_end(e, flow, side, NULL)) < 0)
            err = failed;
    }
    if (mb__heard(flow, MB_EV_FLOW_END)) {
        struct mb_event ev = mb__event_of(e, flow, MB_CLIENT, NULL, MB_EV_FLOW_END, MB_HOOK_NONE);
        ev.reason = flow->end_reason;
        if ((failed = mb__engine_raise(e, &ev)) < 0)
            err = failed;
    }
    e->stats.flows_ended[flow->end_reason & 7]++;
    mb__events_detach(e->events, flow);
    mb__parser_free(e, flow);
    mb__streams_free(&e->streams, flow);
    mb__flows_del(&e->flows, flow);
    return err;
}

/* A flow's number tells the packet that began it: the same whoever counts. */
static uint64_t flow_id(const struct mb_engine *e, const struct mb_packet *p)
{
    uint64_t place = 0;
    while (p > e->burst.packet + place && (p - place - 1)->number == p->number)
        place++;
    return p->number * MB__MAX_LAYERS + place;
}

static struct mb_flow *make_flow(struct mb_engine *e, const struct mb_packet *p, int side, int *err)
{
    struct mb_flow *flow = mb__flows_add(&e->flows, p, side);
    if (flow == NULL) {
        struct mb_flow *victim = e->config.table_full == MB_FULL_EVICT ? mb__flows_victim(&e->flows, p->hash) : NULL;
        *err = mb__engine_anomaly(e, victim, side, p, MB_ANOMALY_FLOW_LIMIT);
        if (*err >= 0 && victim != NULL)
            *err = mb__conversation_end(e, victim, MB_END_EVICTED);
        flow = *err < 0 ? NULL : mb__flows_add(&e->flows, p, side);
        e->dropped |= flow == NULL && e->config.table_full == MB_FULL_CLOSE;
    }
    if (flow != NULL && mb__events_attach(e->events, flow, p) < 0) { /* no memory for who listens to it */
        mb__flows_del(&e->flows, flow);
        *err = mb__engine_anomaly(e, flow = NULL, side, p, MB_ANOMALY_FLOW_LIMIT);
        e->dropped |= e->config.table_full == MB_FULL_CLOSE;
    }
    if (flow == NULL)
        return NULL;
    flow->id = flow_id(e, p);
    if (p->ip_proto == 6 && !(p->tcp_flags & MB_TCP_SYN))
        flow->flags |= MB_FLOW_MIDSTREAM;
    if (!e->config.reassemble)
        flow->end[MB_CLIENT].flags = flow->end[MB_SERVER].flags = MB_SIDE_NO_STREAM;
    e->stats.flows++;
    if (e->flows.pool.used > e->stats.flows_peak)
        e->stats.flows_peak = e->flows.pool.used;
    mb__flows_start_timer(&e->flows, flow, p->ip_proto == 6 ? MB__TIMER_TCP_SYN : datagram_timer(flow), e->now);
    return flow;
}

/* Whether a packet without a flow may start one. Flags that no TCP sends
 * (the decoder has counted them) start none. */
static bool starts_flow(const struct mb_engine *e, const struct mb_packet *p)
{
    if (p->ip_proto != 6)
        return true;
    if (p->anomalies >> MB_ANOMALY_TCP_FLAGS & 1)
        return false;
    return p->tcp_flags & MB_TCP_SYN || e->config.midstream;
}

static void count_first(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side];
    from->ttl = p->ttl;
    from->flags |= MB_SIDE_SEEN;
    if (p->ip_proto == 1 || p->ip_proto == 58)
        from->isn = (uint32_t)p->icmp_type << 8 | p->icmp_code;
    if (flow->end[!side].flags & MB_SIDE_SEEN)
        flow->flags |= MB_FLOW_ANSWERED;
}

static void count_packet(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side];
    if (!(from->flags & MB_SIDE_SEEN))
        count_first(flow, side, p);
    from->packets++;
    from->bytes += p->wire_len;
    from->tcp_flags |= p->tcp_flags;
}

/* A packet of a flow that was dropped: its endpoints do not learn of it. */
static int dropped_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    e->dropped = true;
    flow->last_ts = p->ts;
    if (e->detect != NULL)
        mb__detect_dropped(e->detect, flow, side, p);
    return mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
}

/* By the duplicate SACK of |p|, the other side sent again what |side| had. Said of bytes that it
 * cannot have sent, or beside an ACK that was not taken, it is nobody's word. */
static int spurious(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *to = &flow->end[!side];
    struct mb__tcp_options o;
    mb__tcp_options_read(p, &o);
    if (flow->ip_proto != 6 || !(to->flags & MB_SIDE_SYNC) || p->ack != to->snd_una ||
        mb__seq_diff(o.sack[0][0], to->stream_seq) < 0 || mb__seq_diff(o.sack[0][1], to->snd_nxt) > 0)
        return 0;
    return mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_TCP_SPURIOUS);
}

/* Has the round trips measured that |p| begins or ends. A SYN can be timed whatever its flow was so far. */
__attribute__((noinline)) static void measure(const struct mb_engine *e, struct mb_flow *flow, int side,
                                              const struct mb_packet *p)
{
    uint32_t tsval, tsecr;
    if (p->ip_proto != 6 || p->tcp_flags & MB_TCP_RST || !(p->tcp_flags & MB_TCP_SYN || mb__rtts_apply(flow)))
        return;
    bool opens = p->payload_len > 0 || p->tcp_flags & (MB_TCP_SYN | MB_TCP_FIN);
    if (mb__tcp_timestamps(p, &tsval, &tsecr))
        mb__rtts_packet(mb__rtts_of(e, flow), side, p->ts, tsval, tsecr, opens);
}

/* A packet of |flow|, the |first| or a later one. */
static inline int flow_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    int err;
    count_packet(flow, side, p);
    if (e->rtts_slot != 0)
        measure(e, flow, side, p);
    if (flow->flags & MB_FLOW_DROP)
        err = dropped_packet(e, flow, side, p);
    else if (p->ip_proto != 6)
        err = datagram(e, flow, side, p, first);
    else
        err = tcp_packet(e, flow, side, p, first);
    if (p->flags & MB_PKT_DSACK && err >= 0 && !e->dropped)
        err = spurious(e, flow, side, p);
    if (!(flow->end[side].flags & MB_SIDE_SETTLED))
        settle(e, flow);
    if (err >= 0 && e->detect != NULL)
        mb__engine_judge(e, flow, side, p);
    if (flow->flags & MB_FLOW_FORGET && err >= 0)
        err = mb__conversation_end(e, flow, MB_END_SHUTDOWN);
    return err;
}

/* The ICMP message |p| counts as a packet of the flow that it quotes, from the other side than what it
 * quotes. If there is none it has no flow: of several workers, only that flow's knows. */
static int joining_packet(struct mb_engine *e, const struct mb_packet *p, const struct mb_packet *quoted,
                          struct mb_icmp_error *error)
{
    int side;
    struct mb_flow *flow = mb__related_flow(e, quoted, &side, error);
    if (flow == NULL)
        return orphan(e, p);
    side = !side;
    flow->last_ts = p->ts;
    flow->end[side].packets++;
    flow->end[side].bytes += p->wire_len;
    int err = flow->flags & MB_FLOW_DROP ? dropped_packet(e, flow, side, p)
                                         : mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err >= 0 && !e->dropped)
        err = mb__raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err >= 0 && !e->dropped)
        err = mb__related_raise(e, flow, !side, p, error);
    if (err >= 0)
        mb__engine_judge(e, flow, side, p);
    return err < 0 || !(flow->flags & MB_FLOW_FORGET) ? err : mb__conversation_end(e, flow, MB_END_SHUTDOWN);
}

/* A packet that may begin a flow: it has none yet (NULL), or is a SYN of |side| of |flow|. */
static int first_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    int err = 0;
    if (flow != NULL && p->tcp_flags & MB_TCP_SYN && p->ip_proto == 6 && mb__tcp_reuses(flow, side, p)) {
        err = mb__conversation_end(e, flow, MB_END_REUSED);
        flow = NULL;
    }
    bool first = flow == NULL;
    if (first && err >= 0) {
        if (!starts_flow(e, p))
            return orphan(e, p);
        side = p->ip_proto == 6 ? mb__tcp_first_sender(p) : MB_CLIENT;
        flow = make_flow(e, p, side, &err);
        if (flow == NULL)
            return err < 0 ? err : orphan(e, p);
    }
    return err < 0 ? err : flow_packet(e, flow, side, p, first);
}

int mb__conversation_packet(struct mb_engine *e, const struct mb_packet *p)
{
    int side = MB_CLIENT;
    struct mb_packet quoted;
    struct mb_icmp_error error;
    if (e->config.icmp_joins && mb__icmp_joins(p, &e->config, &e->key, &quoted, &error))
        return joining_packet(e, p, &quoted, &error);
    struct mb_flow *flow = mb__flows_recall(&e->flows, p, &side);
    if (flow == NULL && (flow = mb__flows_find(&e->flows, p, &side)) != NULL)
        mb__flows_remember(&e->flows, flow);
    if (flow == NULL || p->tcp_flags & MB_TCP_SYN)
        return first_packet(e, flow, side, p);
    return flow_packet(e, flow, side, p, false);
}
