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
#include "engine.h"
#include "flow/advance.h"
#include "flow/tcp.h"

/* With the other side unseen no ACK tells that a hole will not be filled: this
 * many bytes behind it do. */
#define ONE_SIDED_PATIENCE (64 * 1024)

#define EVENTS_OF_BYTES (1ull << MB_EV_DATA | 1ull << MB_EV_RETRANSMIT | 1ull << MB_EV_URGENT)

static struct mb_event event_of(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                                uint32_t event, uint8_t hook)
{
    return (struct mb_event){.engine = e, .flow = flow, .packet = p, .ts = e->now, .id = event, .base = event,
                             .side = (uint8_t)side, .hook = hook};
}

static int raise_plain(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, uint32_t event,
                       uint8_t hook)
{
    if (!mb__heard_at(flow, event, hook))
        return 0;
    struct mb_event ev = event_of(e, flow, side, p, event, hook);
    return mb__engine_raise(e, &ev);
}

static int raise_state(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, uint8_t hook,
                       const struct mb__tcp_step *step)
{
    if (step->old_state == step->new_state || !mb__heard_at(flow, MB_EV_STATE_CHANGE, hook))
        return 0;
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_STATE_CHANGE, hook);
    ev.old_state = step->old_state;
    ev.new_state = step->new_state;
    return mb__engine_raise(e, &ev);
}

/* ---- protocols ------------------------------------------------------------ */

/* Stands where the parser was when it had seen all it reports. */
static char parser_done_mark;
#define PARSER_DONE ((struct mb__proto_conn *)(void *)&parser_done_mark)

static struct mb__proto_conn **parser_of(const struct mb_engine *e, const struct mb_flow *flow)
{
    return (struct mb__proto_conn **)((uintptr_t)flow + e->proto_slot);
}

static bool wants_protocol(const struct mb_engine *e, const struct mb_flow *flow)
{
    return e->proto_slot != 0 && flow->events & MB__PROTO_EVENTS && *parser_of(e, flow) != PARSER_DONE;
}

int mb__conversation_emit(struct mb__proto_sink *sink, uint32_t event, int side, const void *record,
                          const uint8_t *data, uint64_t len)
{
    struct mb_engine *e = (struct mb_engine *)(void *)((uint8_t *)sink - offsetof(struct mb_engine, sink));
    const struct mb_event *from = e->parsed;
    struct mb_flow *flow = from->flow;
    if (event == MB_EV_ANOMALY)
        return mb__engine_anomaly(e, flow, side, from->packet, MB_ANOMALY_PROTO);
    if (event == MB_EV_PROTOCOL)
        flow->app_proto = (uint8_t)mb__proto_conn_app(*parser_of(e, flow));
    if (!mb__heard(flow, (int)event))
        return 0;
    struct mb_event ev = event_of(e, flow, side, from->packet, event, MB_HOOK_NONE);
    ev.record = record;
    ev.data = data;
    ev.len = len;
    ev.offset = from->offset;
    return mb__engine_raise(e, &ev);
}

static void parser_free(struct mb_engine *e, struct mb_flow *flow)
{
    struct mb__proto_conn **parser = e->proto_slot == 0 ? NULL : parser_of(e, flow);
    if (parser == NULL || *parser == NULL || *parser == PARSER_DONE)
        return;
    mb__proto_conn_free(*parser, &e->sink);
    *parser = NULL;
}

/* After each call into a parser: note what it found, let it go when it is done.
 * That nothing is known here is news too. */
static int parser_settle(struct mb_engine *e, const struct mb_event *from)
{
    struct mb_flow *flow = from->flow;
    struct mb__proto_conn *parser = *parser_of(e, flow);
    bool told = flow->app_proto == MB_APP_NONE;
    flow->app_proto = (uint8_t)mb__proto_conn_app(parser);
    if (!mb__proto_conn_done(parser))
        return 0;
    parser_free(e, flow);
    *parser_of(e, flow) = PARSER_DONE; /* nothing more will be raised, so nothing more is kept */
    if (told || flow->app_proto != MB_APP_NONE)
        return 0;
    return raise_plain(e, flow, from->side, from->packet, MB_EV_PROTOCOL, MB_HOOK_NONE);
}

enum parser_call { PARSER_DATA, PARSER_GAP, PARSER_END };

static int parser_call(struct mb_engine *e, struct mb_event *ev, enum parser_call call)
{
    struct mb_flow *flow = ev->flow;
    if (!wants_protocol(e, flow))
        return 0;
    struct mb__proto_conn **parser = parser_of(e, flow);
    if (*parser == NULL && call == PARSER_DATA)
        *parser = mb__proto_conn_new(&e->sink, flow->ip_proto == 17, flow->end[MB_CLIENT].port,
                                     flow->end[MB_SERVER].port);
    if (*parser == NULL)
        return 0;
    e->parsed = ev;
    int err = call == PARSER_DATA  ? mb__proto_conn_data(*parser, &e->sink, ev->side, ev->data, ev->len)
              : call == PARSER_GAP ? mb__proto_conn_gap(*parser, &e->sink, ev->side, ev->len)
                                   : mb__proto_conn_end(*parser, &e->sink, ev->side);
    e->parsed = NULL;
    int failed = parser_settle(e, ev);
    return err < 0 ? err : failed;
}

static int parser_end(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    if (!wants_protocol(e, flow))
        return 0;
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_DATA, MB_HOOK_NONE);
    return parser_call(e, &ev, PARSER_END);
}

/* ---- streams -------------------------------------------------------------- */

/* Whether anybody reads the bytes of this flow, now or when they come in order. */
static bool needs_bytes(const struct mb_engine *e, const struct mb_flow *flow)
{
    return flow->events & EVENTS_OF_BYTES || wants_protocol(e, flow);
}

static int raise_gap(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, uint64_t len)
{
    struct mb_endpoint *from = &flow->end[side];
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_GAP, MB_HOOK_NONE);
    ev.offset = from->next;
    ev.len = len;
    from->missed += len;
    from->flags |= MB_SIDE_GAP;
    e->stats.stream_gaps++;
    e->stats.stream_missed += len;
    int err = mb__heard(flow, MB_EV_GAP) ? mb__engine_raise(e, &ev) : 0; /* bytes before it are readable yet */
    mb__stream_skip(&e->streams, flow, side, len);
    return err < 0 ? err : parser_call(e, &ev, PARSER_GAP);
}

/* Shows bytes that are in order now. */
static int show(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, struct mb_view view)
{
    uint64_t offset = flow->end[side].next;
    if (e->streams.history > 0)
        view = mb__stream_deliver(&e->streams, flow, side, view);
    else
        flow->end[side].next += view.len;
    e->stats.stream_bytes += view.len;
    if (view.data == NULL || !needs_bytes(e, flow))
        return 0;
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_DATA, MB_HOOK_NONE);
    ev.offset = offset;
    ev.data = view.data;
    ev.len = view.len;
    if (mb__heard(flow, MB_EV_DATA)) {
        int err = mb__engine_raise(e, &ev);
        if (err < 0)
            return err;
    }
    return parser_call(e, &ev, PARSER_DATA);
}

/* The byte that comes next was sent out of band. */
static int show_urgent(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                       const uint8_t *byte)
{
    mb__stream_take_mark(&e->streams, flow, side);
    if (byte == NULL || !mb__heard(flow, MB_EV_URGENT))
        return 0;
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_URGENT, MB_HOOK_NONE);
    ev.offset = flow->end[side].next;
    ev.data = byte;
    ev.len = 1;
    return mb__engine_raise(e, &ev);
}

/* The same bytes, an urgent one among them beside the stream if so configured. */
static int deliver(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, struct mb_view view)
{
    size_t n = e->config.urgent == MB_URGENT_INLINE ? view.len : mb__stream_to_mark(flow, side, view.len);
    if (n == view.len)
        return show(e, flow, side, p, view);
    const uint8_t *byte = view.data == NULL ? NULL : view.data + n;
    int err = n == 0 ? 0 : show(e, flow, side, p, (struct mb_view){view.data, n});
    if (err >= 0)
        err = show_urgent(e, flow, side, p, byte);
    size_t rest = view.len - n - 1;
    if (err >= 0 && rest > 0)
        err = show(e, flow, side, p, (struct mb_view){byte == NULL ? NULL : byte + 1, rest});
    return err;
}

/* Whether nobody reads what |side| sends any more; what waited is given back. */
static bool is_off(struct mb_engine *e, struct mb_flow *flow, int side)
{
    if (!(flow->end[side].flags & MB_SIDE_NO_STREAM))
        return false;
    mb__stream_clear(&e->streams, flow, side);
    return true;
}

static int deliver_pending(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_view view;
    while (!is_off(e, flow, side) && mb__stream_take(flow, side, &view)) {
        int err = deliver(e, flow, side, p, view);
        mb__stream_taken(&e->streams, flow, side);
        if (err < 0)
            return err;
    }
    return 0;
}

/* Bytes up to |offset| will not come any more: a gap for each hole before it. An
 * urgent byte among them moves |offset|, but not its sequence number. */
static int give_up_holes(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    const struct mb_endpoint *from = &flow->end[side];
    uint32_t seq = from->stream_seq + (uint32_t)offset;
    int err = 0;
    for (; err >= 0 && (int64_t)from->next < offset && !is_off(e, flow, side); offset = mb__tcp_offset(from, seq)) {
        uint64_t first = mb__stream_first_pending(flow, side);
        uint64_t stop = first < (uint64_t)offset ? first : (uint64_t)offset;
        if (stop > from->next)
            err = raise_gap(e, flow, side, p, stop - from->next);
        if (err >= 0)
            err = deliver_pending(e, flow, side, p);
    }
    return err;
}

/* Sent into a closed window, or to who reset the connection, if it was not another in its
 * name: these bytes wait until an ACK takes them in. */
static int hold(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    int64_t old = (int64_t)flow->end[side].next - offset;
    uint32_t skip = old > 0 ? (uint32_t)old : 0;
    if (old >= (int64_t)p->payload_len)
        return 0;
    e->streams.ranges_only = !needs_bytes(e, flow);
    mb__stream_put(&e->streams, flow, side, (uint64_t)(offset + skip), p->net + p->payload_off + skip,
                   p->payload_len - skip);
    return 0; /* without room for it, it ends in a gap like others */
}

/* An ACK that leaves out what was sent into a closed window: the receiver threw it away. */
static void forget_probe(struct mb_engine *e, struct mb_flow *flow, int side)
{
    struct mb_view view;
    struct mb_endpoint *from = &flow->end[side];
    if (!mb__stream_take(flow, side, &view))
        return;
    mb__stream_taken(&e->streams, flow, side);
    if (from->snd_nxt == from->snd_una + view.len)
        from->snd_nxt = from->snd_una;
}

/* The receiver has acknowledged what the tap has not seen, and more has come
 * behind it: that is lost here (no reordering brings it after its own ACK). */
static int settle_acknowledged(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *from = &flow->end[side];
    uint64_t first = mb__stream_first_pending(flow, side);
    int64_t acked = mb__tcp_acked(from); /* below 0: not even the SYN, whose payload waits */
    if (first == from->next && acked >= 0 && acked <= (int64_t)first && flow->end_reason != MB_END_RST)
        forget_probe(e, flow, side);
    if (first == UINT64_MAX)
        return 0;
    return give_up_holes(e, flow, side, p, acked);
}

/* Some bytes were sent before. Raised before the stream takes the new copy, so
 * that the old one is still readable. */
static int retransmitted(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset,
                         bool conflict)
{
    flow->end[side].retransmits++;
    if (conflict) {
        int err = mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_TCP_CONFLICT);
        if (err < 0)
            return err;
    }
    if (!mb__heard(flow, MB_EV_RETRANSMIT))
        return 0;
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_RETRANSMIT, MB_HOOK_RCV);
    ev.data = p->net + p->payload_off;
    ev.len = p->payload_len;
    ev.offset = offset < 0 ? 0 : (uint64_t)offset;
    ev.conflict = conflict;
    return mb__engine_raise(e, &ev);
}

/* No room behind a hole: it is given up, so that memory stays bounded. */
static int make_room(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    int err = mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_STREAM_LIMIT);
    uint64_t first = mb__stream_first_pending(flow, side);
    if (err < 0 || first == UINT64_MAX)
        return err;
    return give_up_holes(e, flow, side, p, (int64_t)first + 1);
}

/* What |flow| waits for is given up, for want of memory for others. Data of a
 * SYN, which is behind no hole, no host is known to have taken. */
static int stop_waiting(struct mb_engine *e, struct mb_flow *flow)
{
    int err = mb__engine_anomaly(e, flow, MB_CLIENT, NULL, MB_ANOMALY_STREAM_LIMIT);
    for (int side = MB_CLIENT; side <= MB_SERVER && err >= 0; side++) {
        if (mb__stream_first_pending(flow, side) == flow->end[side].next) {
            e->stats.stream_discarded += mb__stream_pending(flow, side);
            mb__stream_clear(&e->streams, flow, side);
        }
        while (err >= 0 && mb__stream_first_pending(flow, side) != UINT64_MAX)
            err = give_up_holes(e, flow, side, NULL, (int64_t)mb__stream_first_pending(flow, side) + 1);
    }
    return err;
}

/* Keeps bytes until their turn. When all streams together have no memory, those
 * that waited longest make room: for a flow that has not settled only such
 * flows. 0, MB_ELIMIT or MB_ENOMEM as mb__stream_put(), or in |*err| what failed. */
static int keep(struct mb_engine *e, struct mb_flow *flow, int side, uint64_t offset, struct mb_view view, int *err)
{
    struct mb_flow *victim;
    int put;
    while ((put = mb__stream_put(&e->streams, flow, side, offset, view.data, view.len)) == MB_ENOMEM && *err >= 0 &&
           (victim = mb__stream_longest_wait(&e->streams, flow, flow->end[side].flags & MB_SIDE_SETTLED)) != NULL)
        *err = stop_waiting(e, victim);
    return put;
}

static int put_in_order(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, uint64_t offset,
                        struct mb_view view)
{
    struct mb_endpoint *from = &flow->end[side];
    if (offset > from->next && from->out_of_order < UINT16_MAX)
        from->out_of_order++;
    int err = 0;
    uint32_t seq = from->stream_seq + (uint32_t)offset;
    e->streams.ranges_only = !needs_bytes(e, flow);
    e->streams.overlap = mb__prefixes_of(&e->hosts, &flow->end[!side].addr);
    if (keep(e, flow, side, offset, view, &err) != 0 && err >= 0) {
        err = make_room(e, flow, side, p);
        offset = (uint64_t)mb__tcp_offset(from, seq); /* an urgent byte may have been taken out */
        if (err >= 0 && mb__stream_put(&e->streams, flow, side, offset, view.data, view.len) != 0)
            return 0; /* counted as stream_limit; these bytes end in a gap */
    }
    bool one_sided = !(flow->end[!side].flags & MB_SIDE_SEEN) || e->config.async_oneside;
    if (err >= 0 && one_sided && mb__stream_pending(flow, side) > ONE_SIDED_PATIENCE)
        err = give_up_holes(e, flow, side, p, (int64_t)mb__stream_first_pending(flow, side) + 1);
    return err < 0 ? err : deliver_pending(e, flow, side, p);
}

/* Stream offset of the FIN that |from| has sent: nobody takes what lies behind it
 * (RFC 9293 3.10.7.4, seventh step). */
static int64_t end_of_stream(const struct mb_endpoint *from)
{
    return from->flags & MB_SIDE_FIN ? mb__tcp_offset(from, from->snd_nxt) - 1 : INT64_MAX;
}

/* The payload of an accepted segment, at stream offset |offset|. */
static int segment_data(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    struct mb_endpoint *from = &flow->end[side];
    struct mb_view view = {p->net + p->payload_off, p->payload_len};
    if (offset + (int64_t)view.len > end_of_stream(from))
        view.len = (size_t)(end_of_stream(from) - offset);
    if (offset == (int64_t)from->next && flow->streams == NULL)
        return deliver(e, flow, side, p, view);
    struct mb__overlap met = mb__stream_compare(flow, side, offset, view.data, view.len);
    int err = met.old ? retransmitted(e, flow, side, p, offset, met.conflict) : 0;
    if (err < 0 || offset + (int64_t)view.len <= (int64_t)from->next)
        return err;
    if (offset > (int64_t)from->next && mb__tcp_acked(from) > (int64_t)from->next) {
        int64_t acked = mb__tcp_acked(from);
        err = give_up_holes(e, flow, side, p, acked < offset ? acked : offset);
        offset = mb__tcp_offset(from, p->seq); /* as above */
        if (err < 0 || offset + (int64_t)view.len <= (int64_t)from->next)
            return err;
    }
    if (offset < (int64_t)from->next) {
        uint32_t old = (uint32_t)((int64_t)from->next - offset);
        view = (struct mb_view){view.data + old, view.len - old};
        offset = (int64_t)from->next;
    }
    if (!mb__stream_fits(flow, side, (uint64_t)offset, view.len))
        return put_in_order(e, flow, side, p, (uint64_t)offset, view);
    err = deliver(e, flow, side, p, view);
    return err < 0 ? err : deliver_pending(e, flow, side, p);
}

/* Reassembly is off for this side: only the in-order edge is kept, which a
 * hole moves over at once. */
static void count_data(struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    struct mb_endpoint *from = &flow->end[side];
    int64_t end = offset + (int64_t)p->payload_len;
    if (offset < (int64_t)from->next)
        from->retransmits++;
    else if (offset > (int64_t)from->next && from->out_of_order < UINT16_MAX)
        from->out_of_order++;
    if (end > (int64_t)from->next)
        from->next = (uint64_t)end;
}

/* Payload of a SYN (RFC 7413): it waits until the server acknowledges it, unless
 * packets are held up for a verdict: then it is looked at now or never. */
static int syn_data(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    e->streams.ranges_only = !needs_bytes(e, flow);
    int err = 0;
    if (keep(e, flow, side, 0, (struct mb_view){p->net + p->payload_off, p->payload_len}, &err) != 0 && err >= 0)
        return mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_STREAM_LIMIT);
    return err >= 0 && e->detect != NULL && mb__detect_inline(e->detect) ? deliver_pending(e, flow, side, p) : err;
}

/* The SYN with payload was answered: by |p|, which took all of it or, the
 * fast open refused, only the SYN. */
static int syn_data_answered(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side];
    if (from->next > 0 || mb__stream_first_pending(flow, side) != 0)
        return 0;
    if (mb__tcp_acked(from) > 0)
        return deliver_pending(e, flow, side, p);
    mb__stream_clear(&e->streams, flow, side);
    from->snd_nxt = from->isn + 1;
    return 0;
}

int mb_stream_off(struct mb_flow *flow, int side)
{
    if (side != MB_CLIENT && side != MB_SERVER)
        return MB_EINVAL;
    flow->end[side].flags |= MB_SIDE_NO_STREAM;
    return 0;
}

/* ---- TCP ------------------------------------------------------------------ */

static enum mb__timer_kind tcp_timer(const struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    if (flow->flags & MB_FLOW_CLOSED)
        return flow->end_reason == MB_END_FIN ? MB__TIMER_TCP_CLOSED : MB__TIMER_TCP_RESET;
    if ((client->flags | server->flags) & MB_SIDE_FIN)
        return MB__TIMER_TCP_HALF;
    if (client->state < MB_TCP_ESTABLISHED || server->state < MB_TCP_ESTABLISHED)
        return flow->flags & MB_FLOW_ANSWERED ? MB__TIMER_TCP : MB__TIMER_TCP_SYN;
    return MB__TIMER_TCP;
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

static int tcp_payload(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                       const struct mb__tcp_step *step)
{
    struct mb_endpoint *from = &flow->end[side];
    bool reset = flow->end_reason == MB_END_RST;
    if (step->keep_alive || p->tcp_flags & MB_TCP_RST || (reset && from->flags & MB_SIDE_RST))
        return 0;
    if (is_off(e, flow, side)) {
        count_data(flow, side, p, step->offset);
        return 0;
    }
    if (step->offset >= end_of_stream(from))
        return mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_TCP_WINDOW);
    if (p->tcp_flags & MB_TCP_SYN)
        return from->next == 0 && !(p->tcp_flags & MB_TCP_ACK) && !reset ? syn_data(e, flow, side, p) : 0;
    return reset || step->probe ? hold(e, flow, side, p, step->offset) : segment_data(e, flow, side, p, step->offset);
}

/* The other side takes the FIN of |side|, if all in front of it is there. */
static int take_fin(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb__tcp_step step;
    if (!mb__tcp_fin(flow, side, &step))
        return 0;
    int err = raise_state(e, flow, !side, p, MB_HOOK_RCV, &step);
    return err < 0 ? err : parser_end(e, flow, side, p);
}

/* The FIN of |side| is acknowledged: so is all in front of it, also what was lost
 * at the tap. */
static int settle_fin(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side];
    int64_t acked = mb__tcp_acked(from);
    if (acked > (int64_t)from->next && from->flags & MB_SIDE_NO_STREAM)
        from->next = (uint64_t)acked;
    int err = give_up_holes(e, flow, side, p, acked);
    return err < 0 ? err : take_fin(e, flow, side, p);
}

/* The receiver's half of a segment that it accepts. */
static int tcp_received(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                        struct mb__tcp_step *step)
{
    mb__tcp_receive(flow, side, p, step);
    int err = raise_state(e, flow, !side, p, MB_HOOK_RCV, step);
    if (err >= 0 && flow->streams != NULL && p->tcp_flags & MB_TCP_ACK) {
        if (p->tcp_flags & MB_TCP_SYN)
            err = syn_data_answered(e, flow, !side, p);
        else
            err = settle_acknowledged(e, flow, !side, p);
    }
    if (err >= 0 && flow->end[!side].flags & MB_SIDE_FIN_ACKED)
        err = settle_fin(e, flow, !side, p);
    if (e->config.urgent == MB_URGENT_OOB && p->tcp_flags & MB_TCP_URG)
        mark_urgent(e, flow, side, p, step->offset);
    if (p->tcp_flags & MB_TCP_FIN && flow->streams != NULL)
        e->stats.stream_discarded += mb__stream_cut(&e->streams, flow, side, (uint64_t)end_of_stream(&flow->end[side]));
    if (err >= 0 && p->payload_len > 0)
        err = tcp_payload(e, flow, side, p, step);
    if (err >= 0 && flow->end[side].flags & MB_SIDE_FIN)
        err = take_fin(e, flow, side, p);
    return err;
}

/* The long way: any segment. */
static int tcp_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    struct mb__tcp_step step;
    mb__tcp_send(flow, side, p, &step);
    flow->last_ts = p->ts;
    if (step.restarted)
        mb__stream_clear(&e->streams, flow, side);
    int err = first ? raise_plain(e, flow, side, p, MB_EV_FLOW_START, MB_HOOK_NONE) : 0;
    if (err >= 0)
        err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err >= 0)
        err = raise_state(e, flow, side, p, MB_HOOK_SND, &step);
    if (err >= 0 && step.anomaly != 0)
        err = mb__engine_anomaly(e, flow, side, p, step.anomaly);
    if (err < 0 || e->dropped)
        return err;
    err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err >= 0 && !step.rejected)
        err = tcp_received(e, flow, side, p, &step);
    return err;
}

/* After the payload of a segment that came the short way and may have changed a
 * state: its FIN, and the idle time that applies from now on. |p| NULL: nobody will
 * hear of it. */
static int after_states(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    int err = flow->end[side].flags & MB_SIDE_FIN ? take_fin(e, flow, side, p) : 0;
    mb__flows_set_timer(&e->flows, flow, tcp_timer(flow), e->now);
    return err;
}

/* The short way with somebody who hears of every packet, which changes no state. He
 * may have asked for something between the halves. */
static int heard_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                         const struct mb__segment *s)
{
    mb__tcp_advance_sender(flow, side, s);
    int err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err < 0 || e->dropped)
        return err;
    err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err < 0)
        return err;
    if (flow->end[side].flags & MB_SIDE_NO_STREAM) {
        struct mb__tcp_step step = {.offset = mb__tcp_offset(&flow->end[side], p->seq)};
        return tcp_received(e, flow, side, p, &step);
    }
    mb__tcp_advance_receiver(flow, side, s);
    return p->payload_len == 0 ? 0 : deliver(e, flow, side, p, (struct mb_view){p->net + p->payload_off, p->payload_len});
}

static inline int tcp_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    struct mb__segment s;
    int err = 0;
    bool heard = mb__heard(flow, MB_EV_PACKET), may_advance = mb__flags_advance(p->tcp_flags) && flow->streams == NULL;
    if (may_advance)
        s = mb__segment_of(p);
    if (!may_advance || !mb__tcp_advances(flow, side, &s, heard | mb__heard(flow, MB_EV_STATE_CHANGE))) {
        err = tcp_segment(e, flow, side, p, first);
        mb__flows_set_timer(&e->flows, flow, tcp_timer(flow), e->now);
        return err;
    }
    if (heard)
        return heard_segment(e, flow, side, p, &s);
    bool turns = mb__tcp_advance(flow, side, &s);
    if (p->payload_len > 0)
        err = deliver(e, flow, side, p, (struct mb_view){p->net + p->payload_off, p->payload_len});
    return turns && err >= 0 ? after_states(e, flow, side, p) : err;
}

/* Whether the packet of segment |s| need not be shown to anybody. */
static inline bool is_unheard(const struct mb_engine *e, const struct mb_flow *flow, int side,
                              const struct mb__segment *s)
{
    const struct mb_endpoint *from = &flow->end[side], *to = &flow->end[!side];
    bool quiet = (flow->streams == NULL) & !(flow->flags & (MB_FLOW_DROP | MB_FLOW_FORGET)) & !mb__heard(flow, MB_EV_PACKET);
    bool ends = ((s->flags & MB_TCP_FIN) * MB_SIDE_FIN | from->flags | to->flags) & MB_SIDE_FIN;
    bool read = (e->streams.history > 0) | ((flow->events & (EVENTS_OF_BYTES | MB__PROTO_EVENTS)) != 0);
    return quiet & !(read & (ends | (s->len > 0))) & ((from->flags & MB_SIDE_SEEN) != 0);
}

/* A packet of a flow that had not settled was taken in. */
static void settle(struct mb_engine *e, struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    bool open = client->state >= MB_TCP_ESTABLISHED && server->state >= MB_TCP_ESTABLISHED;
    if (flow->flags & MB_FLOW_ANSWERED && (open || flow->ip_proto != 6))
        mb__flows_settle(&e->flows, flow);
}

int mb__conversation_brief(struct mb_engine *e, const struct mb_frame *frame, int64_t ts, uint32_t probably)
{
    int side;
    const struct mb__ends ends = mb__brief_ends(frame->data);
    struct mb_flow *flow = mb__flows_recall_brief(&e->flows, probably, &ends, &side);
    if (flow == NULL)
        return 0;
    const struct mb__segment s = mb__brief_segment(frame->data, ts);
    if (!(is_unheard(e, flow, side, &s) & mb__tcp_advances(flow, side, &s, mb__heard(flow, MB_EV_STATE_CHANGE))))
        return 0;
    struct mb_endpoint *from = &flow->end[side];
    from->packets++;
    from->bytes += frame->wirelen;
    from->tcp_flags |= s.flags;
    from->next += s.len;
    e->stats.stream_bytes += s.len;
    int err = mb__tcp_advance(flow, side, &s) ? after_states(e, flow, side, NULL) : 0;
    if (!(from->flags & MB_SIDE_SETTLED))
        settle(e, flow);
    return err < 0 ? err : 1;
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
    int err = first ? raise_plain(e, flow, side, p, MB_EV_FLOW_START, MB_HOOK_NONE) : 0;
    if (err >= 0)
        err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err < 0 || e->dropped)
        return err;
    err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err >= 0 && p->ip_proto != 17)
        err = mb__related(e, p);
    if (err < 0 || p->payload_len == 0)
        return err;
    struct mb_event ev = event_of(e, flow, side, p, MB_EV_DATA, MB_HOOK_NONE);
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
    return flow->ip_proto == 17 ? parser_call(e, &ev, PARSER_DATA) : 0;
}

/* ---- flows ---------------------------------------------------------------- */

static int orphan(struct mb_engine *e, const struct mb_packet *p)
{
    e->stats.orphans++;
    int err = 0;
    if (*e->global >> MB_EV_ORPHAN & 1) {
        struct mb_event ev = event_of(e, NULL, MB_CLIENT, p, MB_EV_ORPHAN, MB_HOOK_NONE);
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
        err = give_up_holes(e, flow, side, NULL, mb__tcp_acked(from));
    if (!(flow->end[!side].flags & MB_SIDE_SEEN)) /* nobody could acknowledge */
        while (err >= 0 && mb__stream_first_pending(flow, side) != UINT64_MAX)
            err = give_up_holes(e, flow, side, NULL, (int64_t)mb__stream_first_pending(flow, side) + 1);
    e->stats.stream_discarded += mb__stream_pending(flow, side);
    return err;
}

int mb__conversation_end(struct mb_engine *e, struct mb_flow *flow, int reason)
{
    if (flow->flags & MB_FLOW_ENDING)
        return 0;
    int err = 0, failed = 0;
    flow->flags |= MB_FLOW_ENDING;
    if (!(flow->flags & MB_FLOW_CLOSED)) /* a closed one has its reason, whatever sweeps it away */
        flow->end_reason = (uint8_t)reason;
    /* With both FINs taken all bytes were shown: what the endpoints hold, which
     * was not looked at for a while, need not come into the cache. */
    bool whole = flow->ip_proto != 6 || (flow->flags & MB_FLOW_CLOSED && flow->end_reason == MB_END_FIN);
    for (int side = MB_CLIENT; side <= MB_SERVER; side++) {
        if (!whole && (failed = flush_stream(e, flow, side)) < 0)
            err = failed;
        if (err >= 0 && (failed = parser_end(e, flow, side, NULL)) < 0)
            err = failed;
    }
    if (mb__heard(flow, MB_EV_FLOW_END)) {
        struct mb_event ev = event_of(e, flow, MB_CLIENT, NULL, MB_EV_FLOW_END, MB_HOOK_NONE);
        ev.reason = flow->end_reason;
        if ((failed = mb__engine_raise(e, &ev)) < 0)
            err = failed;
    }
    e->stats.flows_ended[flow->end_reason & 7]++;
    mb__events_detach(e->events, flow);
    parser_free(e, flow);
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
    return raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
}

/* A packet of |flow|, the |first| or a later one. */
static inline int flow_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, bool first)
{
    int err;
    count_packet(flow, side, p);
    if (flow->flags & MB_FLOW_DROP)
        err = dropped_packet(e, flow, side, p);
    else if (p->ip_proto != 6)
        err = datagram(e, flow, side, p, first);
    else
        err = tcp_packet(e, flow, side, p, first);
    if (!(flow->end[side].flags & MB_SIDE_SETTLED))
        settle(e, flow);
    if (err >= 0 && e->detect != NULL)
        mb__engine_judge(e, flow, side, p);
    if (flow->flags & MB_FLOW_FORGET && err >= 0)
        err = mb__conversation_end(e, flow, MB_END_SHUTDOWN);
    return err;
}

/* An ICMP message that counts as a packet of the flow it quotes, from the other
 * side than what it quotes. NULL: it makes a flow of its own. */
static struct mb_flow *joins(const struct mb_engine *e, const struct mb_packet *p, int *side,
                             struct mb_icmp_error *error)
{
    if (!e->config.icmp_joins || !mb__icmp_unreachable(p))
        return NULL;
    struct mb_flow *flow = mb__related_flow(e, p, side, error);
    *side = flow == NULL ? MB_CLIENT : !*side;
    return flow != NULL && (flow->ip_proto == 6 || flow->ip_proto == 17) ? flow : NULL;
}

static int joined_packet(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                         const struct mb_icmp_error *error)
{
    flow->last_ts = p->ts;
    flow->end[side].packets++;
    flow->end[side].bytes += p->wire_len;
    int err = flow->flags & MB_FLOW_DROP ? dropped_packet(e, flow, side, p)
                                         : raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_SND);
    if (err >= 0 && !e->dropped)
        err = raise_plain(e, flow, side, p, MB_EV_PACKET, MB_HOOK_RCV);
    if (err >= 0 && !e->dropped)
        err = mb__related_raise(e, flow, !side, p, error);
    if (err >= 0)
        mb__engine_judge(e, flow, side, p);
    return err < 0 || !(flow->flags & MB_FLOW_FORGET) ? err : mb__conversation_end(e, flow, MB_END_SHUTDOWN);
}

/* A packet whose flow is not yet known, or that may begin another in its place. */
static int unknown_packet(struct mb_engine *e, const struct mb_packet *p)
{
    int side = MB_CLIENT, err = 0;
    struct mb_flow *flow = mb__flows_find(&e->flows, p, &side);
    if (flow != NULL && p->tcp_flags & MB_TCP_SYN && p->ip_proto == 6 && mb__tcp_reuses(flow, side, p)) {
        err = mb__conversation_end(e, flow, MB_END_REUSED);
        flow = NULL;
    }
    bool first = flow == NULL;
    if (first && err >= 0) {
        struct mb_icmp_error error;
        if ((flow = joins(e, p, &side, &error)) != NULL)
            return joined_packet(e, flow, side, p, &error);
        if (!starts_flow(e, p))
            return orphan(e, p);
        side = p->ip_proto == 6 ? mb__tcp_first_sender(p) : MB_CLIENT;
        flow = make_flow(e, p, side, &err);
        if (flow == NULL)
            return err < 0 ? err : orphan(e, p);
    }
    return err < 0 ? err : flow_packet(e, flow, side, p, first);
}

int mb__conversation_packet(struct mb_engine *e, const struct mb_packet *p, uint32_t probably)
{
    int side;
    struct mb_flow *flow = mb__flows_recall(&e->flows, probably, p, &side);
    if (flow == NULL || p->tcp_flags & MB_TCP_SYN)
        return unknown_packet(e, p);
    return flow_packet(e, flow, side, p, false);
}
