/* SPDX-License-Identifier: BSD-3-Clause */
/* delivery -- which bytes are shown, and when
 *
 *   segment --> old: retransmitted | next: shown at once | ahead: waits in the stream
 *                                                             |
 *                         a hole is given up when its bytes were acknowledged, when
 *                         nobody could acknowledge them, or when there is no room
 */
#include "conversation.h"
#include "flow/contest.h"

/* With the other side unseen no ACK tells that a hole will not be filled: this
 * many bytes behind it do. */
#define ONE_SIDED_PATIENCE (64 * 1024)

/* Whether anybody reads the bytes of this flow, now or when they come in order. */
static bool needs_bytes(const struct mb_engine *e, const struct mb_flow *flow)
{
    return flow->events & MB__EVENTS_OF_BYTES || mb__wants_protocol(e, flow);
}

static int raise_gap(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, uint64_t len)
{
    struct mb_endpoint *from = &flow->end[side];
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_GAP, MB_HOOK_NONE);
    ev.offset = from->next;
    ev.len = len;
    from->missed += len;
    from->flags |= MB_SIDE_GAP;
    e->stats.stream_gaps++;
    e->stats.stream_missed += len;
    int err = mb__heard(flow, MB_EV_GAP) ? mb__engine_raise(e, &ev) : 0; /* bytes before it are readable yet */
    mb__stream_skip(&e->streams, flow, side, len);
    return err < 0 ? err : mb__parser_call(e, &ev, MB__PARSER_GAP);
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
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_DATA, MB_HOOK_NONE);
    ev.offset = offset;
    ev.data = view.data;
    ev.len = view.len;
    if (mb__heard(flow, MB_EV_DATA)) {
        int err = mb__engine_raise(e, &ev);
        if (err < 0)
            return err;
    }
    return mb__parser_call(e, &ev, MB__PARSER_DATA);
}

/* The byte that comes next was sent out of band. */
static int show_urgent(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                       const uint8_t *byte)
{
    mb__stream_take_mark(&e->streams, flow, side);
    if (byte == NULL || !mb__heard(flow, MB_EV_URGENT))
        return 0;
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_URGENT, MB_HOOK_NONE);
    ev.offset = flow->end[side].next;
    ev.data = byte;
    ev.len = 1;
    return mb__engine_raise(e, &ev);
}

/* The same bytes, an urgent one among them beside the stream if so configured. */
int mb__deliver(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, struct mb_view view)
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
bool mb__is_off(struct mb_engine *e, struct mb_flow *flow, int side)
{
    if (!(flow->end[side].flags & MB_SIDE_NO_STREAM))
        return false;
    mb__stream_clear(&e->streams, flow, side);
    return true;
}

static int deliver_pending(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_view view;
    const struct mb_endpoint *from = &flow->end[side];
    while (!mb__is_off(e, flow, side) && (int64_t)from->next < mb__end_of_stream(from) &&
           mb__stream_take(flow, side, &view)) {
        int err = mb__deliver(e, flow, side, p, view);
        mb__stream_taken(&e->streams, flow, side);
        if (err < 0)
            return err;
    }
    return 0;
}

/* Bytes up to |offset| will not come any more: a gap for each hole before it. An
 * urgent byte among them moves |offset|, but not its sequence number. */
int mb__give_up_holes(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    const struct mb_endpoint *from = &flow->end[side];
    if (offset > mb__end_of_stream(from))
        offset = mb__end_of_stream(from);
    uint32_t seq = from->stream_seq + (uint32_t)offset;
    int err = 0;
    for (; err >= 0 && (int64_t)from->next < offset && !mb__is_off(e, flow, side); offset = mb__tcp_offset(from, seq)) {
        uint64_t first = mb__stream_first_pending(flow, side);
        uint64_t stop = first < (uint64_t)offset ? first : (uint64_t)offset;
        if (stop > from->next)
            err = raise_gap(e, flow, side, p, stop - from->next);
        if (err >= 0)
            err = deliver_pending(e, flow, side, p);
    }
    return err;
}

int mb__give_up_all_holes(struct mb_engine *e, struct mb_flow *flow, int side)
{
    int err = 0;
    while (err >= 0 && mb__stream_first_pending(flow, side) < (uint64_t)mb__end_of_stream(&flow->end[side]))
        err = mb__give_up_holes(e, flow, side, NULL, (int64_t)mb__stream_first_pending(flow, side) + 1);
    return err;
}

void mb__discard_waiting(struct mb_engine *e, struct mb_flow *flow, int side)
{
    e->stats.stream_discarded += mb__stream_pending(flow, side);
    mb__stream_clear(&e->streams, flow, side);
}

/* Whether |view|, at |*offset|, has anything from |begin| on: what lies before that is left out of it. */
static bool skip_before(uint64_t begin, int64_t *offset, struct mb_view *view)
{
    if (*offset + (int64_t)view->len <= (int64_t)begin)
        return false;
    if (*offset >= (int64_t)begin)
        return true;
    const size_t old = (size_t)((int64_t)begin - *offset);
    *view = (struct mb_view){view->data + old, view->len - old};
    *offset = (int64_t)begin;
    return true;
}

/* Sent into a closed window, or behind the sender's FIN, or where one reset the connection, if that was not
 * another in its name: these bytes wait until an ACK takes them in. */
int mb__hold_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    const uint64_t next = flow->end[side].next;
    struct mb_view view = mb__payload_of(p);
    if (!skip_before(next, &offset, &view))
        return 0;
    if (mb__stream_compare(flow, side, offset, view.data, view.len).conflict) {
        int err = mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_TCP_CONFLICT);
        if (err < 0)
            return err;
    }
    /* What waits in order went to who takes it in order: no policy of overlaps applies to that. */
    if (!skip_before(mb__stream_held_until(flow, side, next), &offset, &view))
        return 0;
    e->streams.ranges_only = !needs_bytes(e, flow);
    e->streams.overlap = mb__prefixes_of(&e->hosts, &flow->end[!side].addr);
    mb__stream_put(&e->streams, flow, side, (uint64_t)offset, view.data, view.len);
    return 0; /* without room for it, it ends in a gap like others */
}

void mb__cut_behind_fin(struct mb_engine *e, struct mb_flow *flow, int side)
{
    const int64_t end = mb__end_of_stream(&flow->end[side]);
    e->stats.stream_discarded += mb__stream_cut(&e->streams, flow, side, (uint64_t)end);
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
int mb__settle_acknowledged(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    const struct mb_endpoint *from = &flow->end[side];
    uint64_t first = mb__stream_first_pending(flow, side);
    int64_t acked = mb__tcp_acked(from); /* below 0: not even the SYN, whose payload waits */
    bool ended = from->flags & MB_SIDE_FIN || flow->end_reason == MB_END_RST; /* or it seems so: what waits stays */
    if (first == from->next && acked >= 0 && acked <= (int64_t)first && !ended)
        forget_probe(e, flow, side);
    if (first == UINT64_MAX)
        return 0;
    return mb__give_up_holes(e, flow, side, p, acked);
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
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_RETRANSMIT, MB_HOOK_RCV);
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
    mb__cut_behind_fin(e, flow, side); /* most likely nobody takes that */
    uint64_t first = mb__stream_first_pending(flow, side);
    if (err < 0 || first == UINT64_MAX)
        return err;
    return mb__give_up_holes(e, flow, side, p, (int64_t)first + 1);
}

/* What |flow| waits for is given up, for want of memory for others. Data of a
 * SYN, which is behind no hole, no host is known to have taken; nor what was sent
 * while it was not known by which of two SYN/ACKs. */
static int stop_waiting(struct mb_engine *e, struct mb_flow *flow)
{
    int err = mb__engine_anomaly(e, flow, MB_CLIENT, NULL, MB_ANOMALY_STREAM_LIMIT);
    for (int side = MB_CLIENT; side <= MB_SERVER && err >= 0; side++) {
        mb__cut_behind_fin(e, flow, side);
        if (mb__stream_first_pending(flow, side) == flow->end[side].next)
            mb__discard_waiting(e, flow, side);
        err = mb__give_up_all_holes(e, flow, side);
    }
    for (struct mb__undecided *held = mb__contest_end(&e->streams, flow); held != NULL;
         held = mb__undecided_free(&e->streams, held))
        e->stats.stream_discarded += held->packet.payload_len;
    return err;
}

/* Those that waited longest make room for |flow|: for one that has not settled only such flows. Whether any
 * did; in |*err| what failed. */
static bool others_make_room(struct mb_engine *e, struct mb_flow *flow, int *err)
{
    bool settled = flow->end[MB_CLIENT].flags & MB_SIDE_SETTLED;
    struct mb_flow *victim = *err < 0 ? NULL : mb__stream_longest_wait(&e->streams, flow, settled);
    if (victim != NULL)
        *err = stop_waiting(e, victim);
    return victim != NULL;
}

/* Keeps bytes until their turn. When all streams together have no memory, others make room.
 * 0, MB_ELIMIT or MB_ENOMEM as mb__stream_put(), or in |*err| what failed. */
static int keep(struct mb_engine *e, struct mb_flow *flow, int side, uint64_t offset, struct mb_view view, int *err)
{
    int put;
    do
        put = mb__stream_put(&e->streams, flow, side, offset, view.data, view.len);
    while (put == MB_ENOMEM && others_make_room(e, flow, err));
    return put;
}

int mb__keep_offer(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                   const struct mb__offer *offer, bool syn)
{
    int err = 0, added;
    do
        added = mb__contest_add(&e->streams, flow, side, offer, syn);
    while (added == MB_ENOMEM && others_make_room(e, flow, &err));
    return added == 0 || err < 0 ? err : mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_STREAM_LIMIT);
}

int mb__hold_undecided(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    int err = 0, held;
    do
        held = mb__contest_hold(&e->streams, flow, p);
    while (held == MB_ENOMEM && others_make_room(e, flow, &err));
    if (held == 0 || err < 0)
        return err;
    e->stats.stream_discarded += p->payload_len;
    return mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_STREAM_LIMIT);
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
        err = mb__give_up_holes(e, flow, side, p, (int64_t)mb__stream_first_pending(flow, side) + 1);
    return err < 0 ? err : deliver_pending(e, flow, side, p);
}

/* The payload of an accepted segment, at stream offset |offset|. */
int mb__segment_data(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
{
    struct mb_endpoint *from = &flow->end[side];
    struct mb_view view = mb__payload_of(p);
    if (offset + (int64_t)view.len > mb__end_of_stream(from))
        view.len = (size_t)(mb__end_of_stream(from) - offset);
    if (offset == (int64_t)from->next && flow->streams == NULL)
        return mb__deliver(e, flow, side, p, view);
    struct mb__overlap met = mb__stream_compare(flow, side, offset, view.data, view.len);
    int err = met.old ? retransmitted(e, flow, side, p, offset, met.conflict) : 0;
    if (err >= 0 && offset > (int64_t)from->next && mb__tcp_acked(from) > (int64_t)from->next) {
        int64_t acked = mb__tcp_acked(from);
        err = mb__give_up_holes(e, flow, side, p, acked < offset ? acked : offset);
        offset = mb__tcp_offset(from, p->seq); /* as above */
    }
    if (err < 0 || !skip_before(from->next, &offset, &view))
        return err;
    if (!mb__stream_fits(flow, side, (uint64_t)offset, view.len))
        return put_in_order(e, flow, side, p, (uint64_t)offset, view);
    err = mb__deliver(e, flow, side, p, view);
    return err < 0 ? err : deliver_pending(e, flow, side, p);
}

/* Reassembly is off for this side: only the in-order edge is kept, which a
 * hole moves over at once. */
void mb__count_data(struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset)
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
int mb__syn_data(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    e->streams.ranges_only = !needs_bytes(e, flow);
    int err = 0;
    if (keep(e, flow, side, 0, mb__payload_of(p), &err) != 0 && err >= 0)
        return mb__engine_anomaly(e, flow, side, p, MB_ANOMALY_STREAM_LIMIT);
    return err >= 0 && mb__engine_inline(e) ? deliver_pending(e, flow, side, p) : err;
}

/* The SYN with payload was answered: by |p|, which took all of it, or only as much as it acknowledges; the
 * fast open refused, none. What it did not take will be sent again, as if for the first time; another SYN/ACK may
 * have taken more (flow/contest.h). */
int mb__syn_data_answered(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb_endpoint *from = &flow->end[side];
    if (from->next > 0 || mb__stream_first_pending(flow, side) != 0)
        return 0;
    int64_t acked = mb__tcp_acked(from) > 0 ? mb__tcp_acked(from) : 0;
    mb__stream_cut(&e->streams, flow, side, (uint64_t)acked);
    return deliver_pending(e, flow, side, p);
}

int mb_stream_off(struct mb_flow *flow, int side)
{
    if (side != MB_CLIENT && side != MB_SERVER)
        return MB_EINVAL;
    flow->end[side].flags |= MB_SIDE_NO_STREAM;
    return 0;
}
