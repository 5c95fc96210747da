/* SPDX-License-Identifier: BSD-3-Clause */
/* stream -- pending pieces, overlap policies and history */
#include "flow/stream.h"

#include <string.h>

/* Bytes that came before their turn. */
struct piece {
    struct piece *next;
    uint64_t offset;  /* stream offset of the first byte that counts */
    uint32_t len;     /* bytes that count */
    uint32_t skip;    /* bytes in front that no longer do */
    uint32_t lead;    /* bytes in front of the first that counts, as it was sent */
    uint32_t room;    /* bytes allocated for data; 0: only the range is known */
    uint8_t data[];
};

/* What is buffered of one side. */
struct half {
    struct piece *first;
    struct piece *last;
    struct piece *taken; /* out of the list, being shown */
    uint64_t pending;  /* bytes that count in all pieces */
    uint64_t pieces;   /* how many there are */
    uint8_t *history;  /* the last |kept| bytes before |next| */
    size_t kept;
    size_t room;
    uint64_t mark;     /* one past the offset of a byte that is not the stream's; 0: none */
    uint64_t unshifted; /* sequence numbers tell the offsets from here on; a byte before it was taken out */
};

struct mb__streams {
    struct half half[2];
    struct mb_flow *flow;
    struct mb__contest *contest; /* NULL: none */
    struct mb__streams *older, *newer; /* in the list |waits| */
    struct mb__waiting *waits;         /* NULL: nothing is pending */
};

static struct half *half_of(const struct mb_flow *flow, int side)
{
    struct mb__streams *s = flow->streams;
    return s == NULL ? NULL : &s->half[side];
}

/* The flow's buffers, made if it has none; NULL: no memory. */
static struct mb__streams *streams_make(const struct mb__stream_config *c, struct mb_flow *flow)
{
    if (flow->streams == NULL) {
        struct mb__streams *s = mb__memory_alloc(c->memory, sizeof *s);
        if (s == NULL)
            return NULL;
        *s = (struct mb__streams){.flow = flow};
        flow->streams = s;
    }
    return flow->streams;
}

static struct half *half_make(const struct mb__stream_config *c, struct mb_flow *flow, int side)
{
    return streams_make(c, flow) == NULL ? NULL : half_of(flow, side);
}

static uint64_t end_of(const struct piece *p)
{
    return p->offset + p->len;
}

/* The bytes that count; NULL if only their range is known. */
static const uint8_t *bytes_of(const struct piece *p)
{
    return p->room == 0 ? NULL : p->data + p->skip;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- who waits ------------------------------------------------------------ */

static void wait_add(struct mb__stream_config *c, struct mb__streams *s)
{
    if (s->waits != NULL)
        return;
    struct mb__waiting *w = &c->waiting[(s->flow->end[MB_CLIENT].flags & MB_SIDE_SETTLED) != 0];
    s->waits = w;
    s->older = w->newest;
    s->newer = NULL;
    *(w->newest != NULL ? &w->newest->newer : &w->oldest) = s;
    w->newest = s;
}

static void wait_del(struct mb__streams *s)
{
    struct mb__waiting *w = s->waits;
    if (w == NULL)
        return;
    *(s->older != NULL ? &s->older->newer : &w->oldest) = s->newer;
    *(s->newer != NULL ? &s->newer->older : &w->newest) = s->older;
    s->waits = NULL;
}

/* With nothing pending any more, nor a contest, the flow waits no longer; if nothing is even kept, it has
 * no buffers. */
static void settle(struct mb__stream_config *c, struct mb_flow *flow)
{
    struct mb__streams *s = flow->streams;
    const struct half *a = &s->half[MB_CLIENT], *b = &s->half[MB_SERVER];
    if (a->pieces + b->pieces > 0 || a->taken != NULL || b->taken != NULL || s->contest != NULL)
        return;
    wait_del(s);
    if (a->room + b->room > 0 || a->mark + b->mark > 0)
        return;
    mb__memory_free(c->memory, s, sizeof *s);
    flow->streams = NULL;
}

struct mb_flow *mb__stream_longest_wait(const struct mb__stream_config *c, const struct mb_flow *but, bool settled)
{
    for (int kind = 0; kind <= settled; kind++) {
        struct mb__streams *s = c->waiting[kind].oldest;
        if (s != NULL && s->flow == but)
            s = s->newer;
        if (s != NULL)
            return s->flow;
    }
    return NULL;
}

/* ---- pieces --------------------------------------------------------------- */

static bool side_has_room(const struct mb__stream_config *c, const struct half *h, size_t len)
{
    return h->pending + len + (h->pieces + 1) * MB__PIECE_OVERHEAD <= c->max_bytes;
}

/* A piece with a copy of |data|, or with the range alone if |data| is NULL. */
static struct piece *piece_new(const struct mb__stream_config *c, struct half *h, uint64_t offset,
                               const uint8_t *data, size_t len)
{
    if (!side_has_room(c, h, len))
        return NULL;
    size_t room = data == NULL ? 0 : len;
    struct piece *p = mb__memory_alloc(c->memory, sizeof *p + room);
    if (p == NULL)
        return NULL;
    *p = (struct piece){.offset = offset, .len = (uint32_t)len, .room = (uint32_t)room};
    if (room > 0)
        memcpy(p->data, data, room);
    h->pending += len;
    h->pieces++;
    return p;
}

static void piece_free(const struct mb__stream_config *c, struct half *h, struct piece *p)
{
    h->pieces--;
    h->pending -= p->len;
    mb__memory_free(c->memory, p, sizeof *p + p->room);
}

/* Puts |p| in behind |before| (NULL: in front). */
static void link_after(struct half *h, struct piece *before, struct piece *p)
{
    struct piece **at = before == NULL ? &h->first : &before->next;
    p->next = *at;
    *at = p;
    if (p->next == NULL)
        h->last = p;
}

static void unlink_after(struct half *h, struct piece *before, struct piece *p)
{
    *(before == NULL ? &h->first : &before->next) = p->next;
    if (h->last == p)
        h->last = before;
}

/* The part of |data| that begins |n| bytes into it; NULL stays NULL. */
static const uint8_t *part_of(const uint8_t *data, uint64_t n)
{
    return data == NULL ? NULL : data + n;
}

static void cut_front(struct half *h, struct piece *p, uint32_t n)
{
    p->offset += n;
    p->skip += n;
    p->lead += n;
    p->len -= n;
    h->pending -= n;
}

static void cut_back(struct half *h, struct piece *p, uint32_t n)
{
    p->len -= n;
    h->pending -= n;
}

/* The bytes [at, at + len) of a segment sent as |fresh| become a piece behind
 * |*before|, which it becomes. */
static bool put_between(const struct mb__stream_config *c, struct half *h, struct piece **before,
                        struct mb__extent sent, const uint8_t *data, uint64_t at, uint64_t len)
{
    struct piece *fresh = piece_new(c, h, at, part_of(data, at - sent.begin), len);
    if (fresh == NULL)
        return false;
    fresh->lead = (uint32_t)(at - sent.begin);
    link_after(h, *before, fresh);
    *before = fresh;
    return true;
}

/* Makes room for [offset, end) in a piece that overlaps it. False: |p| lies
 * around the range and could not be split. */
static bool give_way(const struct mb__stream_config *c, struct half *h, struct piece *before, struct piece *p,
                     uint64_t offset, uint64_t end)
{
    bool keeps_front = p->offset < offset, keeps_back = end_of(p) > end;
    if (keeps_front && keeps_back) {
        struct piece *back = piece_new(c, h, end, part_of(bytes_of(p), end - p->offset), end_of(p) - end);
        if (back == NULL)
            return false;
        back->lead = p->lead + (uint32_t)(end - p->offset);
        link_after(h, p, back);
    }
    if (keeps_front) {
        cut_back(h, p, (uint32_t)(end_of(p) - offset));
    } else if (keeps_back) {
        cut_front(h, p, (uint32_t)(end - p->offset));
    } else {
        unlink_after(h, before, p);
        piece_free(c, h, p);
    }
    return true;
}

/* Mentat's TCP trims a newcomer where a piece that it does not cover begins, and
 * only then compares it with the one before it. Where [offset, end) ends for it. */
static uint64_t reach(const struct mb__stream_config *c, const struct half *h, uint64_t offset, uint64_t end)
{
    if (!mb__overlap_is_mentat(c->overlap))
        return end;
    for (const struct piece *p = h->first; p != NULL && p->offset < end; p = p->next)
        if (p->offset > offset && end_of(p) > end)
            return p->offset;
    return end;
}

/* Whether |fresh| stands where it overlaps |p|. Linux holds segments as they were
 * sent and reads the bytes of the one that begins first; others hold what is left
 * of them. Mentat puts one that begins with the first of all behind that. */
static bool fresh_wins(const struct mb__stream_config *c, const struct half *h, struct mb__extent fresh,
                       const struct piece *p)
{
    struct mb__extent old = {p->offset, end_of(p)};
    if (mb__overlap_is_linux(c->overlap))
        old.begin -= p->lead;
    if (mb__overlap_is_mentat(c->overlap) && p == h->first && old.begin == fresh.begin)
        return fresh.end > old.end;
    return mb__overlap_fresh_wins(MB__OVERLAP_TCP, c->overlap, fresh, old);
}

/* Puts |data| in, sorted. Where it overlaps a piece, either the piece gives way or
 * what is new is cut around it, as the policy says of how the two lie. */
static int put_by_policy(const struct mb__stream_config *c, struct half *h, uint64_t offset, const uint8_t *data,
                         size_t len)
{
    struct mb__extent fresh = {offset, reach(c, h, offset, offset + len)};
    uint64_t at = offset, end = fresh.end;
    struct piece *before = NULL;
    for (struct piece *p = h->first; p != NULL && p->offset < end; p = before == NULL ? h->first : before->next) {
        if (end_of(p) <= at) {
            before = p;
        } else if (fresh_wins(c, h, fresh, p)) {
            bool stays_in_front = p->offset < at;
            if (!give_way(c, h, before, p, at, end))
                return MB_ENOMEM;
            if (stays_in_front)
                before = p;
        } else {
            if (p->offset > at && !put_between(c, h, &before, fresh, data, at, p->offset - at))
                return MB_ENOMEM;
            at = end_of(p);
            before = p;
        }
    }
    bool rest = at < end;
    return rest && !put_between(c, h, &before, fresh, data, at, end - at) ? MB_ENOMEM : 0;
}

static int put_piece(const struct mb__stream_config *c, struct half *h, uint64_t offset, const uint8_t *data, size_t len)
{
    if (h->last == NULL || offset < end_of(h->last))
        return put_by_policy(c, h, offset, data, len);
    struct piece *fresh = piece_new(c, h, offset, data, len); /* the usual case: a run behind one hole */
    if (fresh == NULL)
        return MB_ENOMEM;
    link_after(h, h->last, fresh);
    return 0;
}

int mb__stream_put(struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t offset, const uint8_t *data,
                   size_t len)
{
    if (c->ranges_only)
        data = NULL;
    uint64_t next = flow->end[side].next;
    if (offset < next) {
        if (offset + len <= next)
            return 0;
        data = part_of(data, next - offset);
        len -= next - offset;
        offset = next;
    }
    struct half *h = half_make(c, flow, side);
    if (h == NULL)
        return MB_ENOMEM;
    int err = put_piece(c, h, offset, data, len);
    bool fits = err == 0 || side_has_room(c, h, len);
    wait_add(c, flow->streams);
    settle(c, flow);
    return fits ? err : MB_ELIMIT;
}

/* ---- questions ------------------------------------------------------------ */

bool mb__stream_fits(const struct mb_flow *flow, int side, uint64_t offset, size_t len)
{
    return offset == flow->end[side].next && offset + len <= mb__stream_first_pending(flow, side);
}

uint64_t mb__stream_first_pending(const struct mb_flow *flow, int side)
{
    const struct half *h = half_of(flow, side);
    return h == NULL || h->first == NULL ? UINT64_MAX : h->first->offset;
}

bool mb__stream_holds(const struct mb_flow *flow, int side, uint64_t begin, uint64_t end)
{
    const struct half *h = half_of(flow, side);
    const struct piece *p = h == NULL ? NULL : h->first;
    while (p != NULL && end_of(p) < end)
        p = p->next;
    return p != NULL && p->offset <= begin;
}

uint64_t mb__stream_held_until(const struct mb_flow *flow, int side, uint64_t begin)
{
    const struct half *h = half_of(flow, side);
    for (const struct piece *p = h == NULL ? NULL : h->first; p != NULL && p->offset <= begin; p = p->next)
        if (end_of(p) > begin)
            begin = end_of(p);
    return begin;
}

uint64_t mb__stream_pending(const struct mb_flow *flow, int side)
{
    const struct half *h = half_of(flow, side);
    return h == NULL ? 0 : h->pending;
}

/* ---- urgent data ---------------------------------------------------------- */

int mb__stream_mark(const struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t offset)
{
    struct half *h = half_make(c, flow, side);
    if (h == NULL)
        return MB_ELIMIT;
    h->mark = max64(h->mark, offset + 1);
    return 0;
}

size_t mb__stream_to_mark(const struct mb_flow *flow, int side, size_t len)
{
    const struct half *h = half_of(flow, side);
    uint64_t next = flow->end[side].next;
    return h == NULL || h->mark <= next ? len : min64(h->mark - 1 - next, len);
}

void mb__stream_take_mark(struct mb__stream_config *c, struct mb_flow *flow, int side)
{
    struct half *h = half_of(flow, side);
    struct mb_endpoint *end = &flow->end[side];
    for (struct piece *p = h->first; p != NULL; p = p->next)
        p->offset--;
    end->stream_seq++;
    h->mark = 0;
    h->unshifted = end->next;
    settle(c, flow);
}

/* ---- what was here before ------------------------------------------------- */

/* Takes into |o| how [offset, offset + len) meets [at, at + n) held at |held|
 * (NULL: no longer readable). The bytes they share. */
static uint64_t meet(struct mb__overlap *o, uint64_t offset, const uint8_t *data, size_t len, uint64_t at,
                     const uint8_t *held, uint64_t n)
{
    uint64_t from = max64(offset, at), to = min64(offset + len, at + n);
    if (from >= to)
        return 0;
    o->old = true;
    if (held != NULL && memcmp(data + (from - offset), held + (from - at), to - from) != 0)
        o->conflict = true;
    return to - from;
}

struct mb__overlap mb__stream_compare(const struct mb_flow *flow, int side, int64_t offset, const uint8_t *data,
                                      size_t len)
{
    struct mb__overlap o = {0};
    if (offset < 0) { /* before the stream: a repeated SYN's byte, or older than the pick-up */
        uint64_t before = min64((uint64_t)-offset, len);
        o.old = before > 0;
        data += before;
        len -= before;
        offset = 0;
    }
    uint64_t at = (uint64_t)offset, next = flow->end[side].next, met = 0;
    const struct half *h = half_of(flow, side);
    uint64_t kept = h == NULL ? 0 : min64(h->kept, next - h->unshifted);
    met += meet(&o, at, data, len, 0, NULL, next - kept);
    if (kept > 0)
        met += meet(&o, at, data, len, next - kept, h->history + h->kept - kept, kept);
    bool behind_all = h == NULL || h->last == NULL || at >= end_of(h->last);
    for (const struct piece *p = behind_all ? NULL : h->first; p != NULL && p->offset < at + len; p = p->next)
        met += meet(&o, at, data, len, p->offset, bytes_of(p), p->len);
    o.new = met < len;
    return o;
}

bool mb__stream_take(struct mb_flow *flow, int side, struct mb_view *view)
{
    struct half *h = half_of(flow, side);
    if (h == NULL || h->first == NULL || h->first->offset != flow->end[side].next)
        return false;
    h->taken = h->first;
    unlink_after(h, NULL, h->taken);
    h->pending -= h->taken->len;
    h->pieces--;
    *view = (struct mb_view){bytes_of(h->taken), h->taken->len};
    return true;
}

void mb__stream_taken(struct mb__stream_config *c, struct mb_flow *flow, int side)
{
    struct half *h = half_of(flow, side);
    mb__memory_free(c->memory, h->taken, sizeof *h->taken + h->taken->room);
    h->taken = NULL;
    settle(c, flow);
}

/* ---- delivery and history ------------------------------------------------- */

static void history_free(const struct mb__stream_config *c, struct half *h)
{
    mb__memory_free(c->history_memory, h->history, h->room);
    h->history = NULL;
    h->kept = h->room = 0;
}

/* Room for |more| bytes behind what is kept; older bytes than the monitors
 * asked for make way. False: no memory, and no history any more. */
static bool history_room(const struct mb__stream_config *c, struct half *h, size_t more)
{
    if (h->kept + more <= h->room)
        return true;
    size_t keep = min64(h->kept, c->history);
    if (keep < h->kept)
        memmove(h->history, h->history + h->kept - keep, keep);
    h->kept = keep;
    if (keep + more <= h->room)
        return true;
    size_t most = 2 * (size_t)c->history + more, room = 2 * (keep + more);
    if (room > most)
        room = most;
    uint8_t *grown = mb__memory_alloc(c->history_memory, room);
    if (grown == NULL) {
        history_free(c, h);
        return false;
    }
    if (keep > 0)
        memcpy(grown, h->history, keep);
    mb__memory_free(c->history_memory, h->history, h->room);
    h->history = grown;
    h->room = room;
    return true;
}

struct mb_view mb__stream_deliver(const struct mb__stream_config *c, struct mb_flow *flow, int side, struct mb_view view)
{
    flow->end[side].next += view.len;
    if (c->history == 0 || view.data == NULL)
        return view;
    struct half *h = half_make(c, flow, side);
    if (h == NULL || !history_room(c, h, view.len))
        return view;
    memcpy(h->history + h->kept, view.data, view.len);
    view.data = h->history + h->kept;
    h->kept += view.len;
    return view;
}

void mb__stream_skip(const struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t len)
{
    struct half *h = half_of(flow, side);
    if (h != NULL)
        history_free(c, h);
    flow->end[side].next += len;
}

uint64_t mb__stream_cut(struct mb__stream_config *c, struct mb_flow *flow, int side, uint64_t end)
{
    struct half *h = half_of(flow, side);
    uint64_t before = h == NULL ? 0 : h->pending;
    struct piece *last = NULL;
    for (struct piece *p = h == NULL ? NULL : h->first; p != NULL; p = last == NULL ? h->first : last->next) {
        if (p->offset < end) {
            if (end_of(p) > end)
                cut_back(h, p, (uint32_t)(end_of(p) - end));
            last = p;
        } else {
            unlink_after(h, last, p);
            piece_free(c, h, p);
        }
    }
    if (h == NULL)
        return 0;
    before -= h->pending;
    settle(c, flow);
    return before;
}

struct mb__contest *mb__stream_contest(const struct mb_flow *flow)
{
    const struct mb__streams *s = flow->streams;
    return s->contest;
}

int mb__stream_set_contest(struct mb__stream_config *c, struct mb_flow *flow, struct mb__contest *contest)
{
    struct mb__streams *s = streams_make(c, flow);
    if (s == NULL)
        return MB_ENOMEM;
    s->contest = contest;
    wait_add(c, s);
    return 0;
}

void mb__stream_take_contest(struct mb__stream_config *c, struct mb_flow *flow)
{
    struct mb__streams *s = flow->streams;
    s->contest = NULL;
    settle(c, flow);
}

void mb__stream_clear(struct mb__stream_config *c, struct mb_flow *flow, int side)
{
    struct half *h = half_of(flow, side);
    if (h == NULL)
        return;
    while (h->first != NULL) {
        struct piece *p = h->first;
        unlink_after(h, NULL, p);
        piece_free(c, h, p);
    }
    history_free(c, h);
    h->mark = 0;
    settle(c, flow);
}

void mb__streams_free(struct mb__stream_config *c, struct mb_flow *flow)
{
    if (flow->streams == NULL)
        return;
    mb__stream_clear(c, flow, MB_CLIENT);
    mb__stream_clear(c, flow, MB_SERVER);
}

/* ---- what apps may ask ---------------------------------------------------- */

const uint8_t *mb_stream_view(const struct mb_flow *flow, int side, uint64_t from, size_t *len)
{
    const struct half *h = half_of(flow, side);
    uint64_t next = flow->end[side].next;
    *len = 0;
    if (h == NULL || from > next || next - from > h->kept)
        return NULL;
    *len = next - from;
    return h->history + h->kept - *len;
}

size_t mb_stream_peek(const struct mb_flow *flow, int side, uint64_t offset, uint8_t *buf, size_t len)
{
    const struct half *h = half_of(flow, side);
    size_t copied = 0, readable;
    const uint8_t *kept = mb_stream_view(flow, side, offset, &readable);
    if (kept != NULL && readable > 0) {
        copied = min64(readable, len);
        memcpy(buf, kept, copied);
    }
    for (const struct piece *p = h == NULL ? NULL : h->first; p != NULL && copied < len; p = p->next) {
        uint64_t at = offset + copied;
        if (p->offset > at || bytes_of(p) == NULL)
            break;
        if (end_of(p) <= at)
            continue;
        size_t n = min64(end_of(p) - at, len - copied);
        memcpy(buf + copied, bytes_of(p) + (at - p->offset), n);
        copied += n;
    }
    return copied;
}

size_t mb_stream_fragments(const struct mb_flow *flow, int side, struct mb_fragment *list, size_t max)
{
    const struct half *h = half_of(flow, side);
    size_t n = 0;
    for (const struct piece *p = h == NULL ? NULL : h->first; p != NULL; p = p->next) {
        bool touches = n > 0 && n <= max && list[n - 1].offset + list[n - 1].len == p->offset;
        if (touches)
            list[n - 1].len += p->len;
        else if (n++ < max)
            list[n - 1] = (struct mb_fragment){p->offset, p->len};
    }
    return n;
}

int mb_stream_info(const struct mb_flow *flow, int side, struct mb_buffer_info *info)
{
    if (side != MB_CLIENT && side != MB_SERVER)
        return MB_EINVAL;
    const struct half *h = half_of(flow, side);
    *info = (struct mb_buffer_info){.next = flow->end[side].next, .highest = flow->end[side].next};
    if (h == NULL)
        return 0;
    info->history = h->kept;
    info->pending = h->pending;
    info->memory = h->room;
    for (const struct piece *p = h->first; p != NULL; p = p->next)
        info->memory += sizeof *p + p->room;
    if (h->last != NULL)
        info->highest = end_of(h->last);
    return 0;
}
