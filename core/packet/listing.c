/* SPDX-License-Identifier: BSD-3-Clause */
/* listing -- frames as one of several workers meets them: listed once for all, decoded by whom they concern */
#include "packet/short.h"

/* ---- lists ------------------------------------------------------------------- */

/* Lists |frame|. Each field once: a copy of the whole would have to wait until the
 * smaller ones are written. */
static inline void list_frame(struct mb__listed *out, const struct mb_frame *frame, int64_t before, int64_t time,
                              uint32_t place, uint32_t hash, uint8_t owner, enum mb__shape shape)
{
    out->frame.ts = frame->ts;
    out->frame.data = frame->data;
    out->frame.caplen = frame->caplen;
    out->frame.wirelen = frame->wirelen;
    out->hash = hash;
    out->place = place & (MB__LIST_PLACES - 1);
    out->shape = shape & 3;
    out->owner = owner;
    if (mb__shape_is_brief(shape)) {
        mb__brief_copy(out, frame->data);
    } else {
        out->before = before;
        out->time = time;
    }
}

#define LISTED_AHEAD 16 /* entries of a list fetched before they are written: another worker has read them */

static bool has_room(const struct mb__lists *lists, uint32_t workers, uint32_t n)
{
    bool room = lists->total + n <= MB__LIST_PLACES;
    for (uint32_t i = 0; i < workers; i++)
        room &= lists->count[i] + n <= MB__LIST_FRAMES;
    return room;
}

/* Frames being listed for all workers. */
struct pass {
    const struct mb__decoder *d;
    const struct mb__shards *shards;
    int link;
    int64_t in_tick; /* the bits of a time that change within a tick */
    bool briefs;
    int64_t lag;
    struct mb__listed **next; /* the ends of the lists */
};

/* What a frame shows of itself: struct mb__listed. */
struct seen {
    uint32_t hash;
    uint8_t owner;
    enum mb__shape shape;
};

/* |may_be_brief|: its time needs no mending, and it may be listed without the time before. */
static inline struct seen look_at(const struct pass *p, bool may_be_brief, const struct mb_frame *frame)
{
    const uint8_t *b = frame->data;
    struct seen seen = {.shape = MB__SHAPE_OTHER};
    if (!mb__goes_short(p->d, p->link) || !mb__is_plain(p->d, frame) ||
        !mb__shard_plain(b[MB__PLAIN_IP + 9], b + MB__PLAIN_L4)) {
        seen.owner = mb__shard_of_frame(p->shards, p->link, frame, &seen.hash);
        return seen;
    }
    seen.hash = mb__plain_hash(p->d, b);
    seen.owner = mb__shard_of_hash(p->shards, seen.hash);
    seen.shape = may_be_brief ? mb__plain_shape(b) : MB__SHAPE_PLAIN;
    return seen;
}

/* Lists a frame that is not plain, or whose time has to be mended or begins a tick; |before|: the time of the
 * one before. What |frame|'s comes to. */
__attribute__((noinline)) static int64_t list_odd(struct pass *p, const struct mb_frame *frame, int64_t before,
                                                  uint32_t place)
{
    const int64_t ts = mb__mend(frame->ts, before, &p->lag);
    const struct seen seen = look_at(p, p->briefs && ts == frame->ts, frame);
    if (seen.owner != MB__SHARD_ALL && ts <= (before | p->in_tick)) { /* no tick begins: |ts| is mended */
        list_frame(p->next[seen.owner]++, frame, before, ts, place, seen.hash, seen.owner, seen.shape);
    } else {
        for (uint32_t worker = 0; worker < p->shards->count; worker++)
            list_frame(p->next[worker]++, frame, before, ts, place, seen.hash, seen.owner, seen.shape);
    }
    return ts;
}

bool mb__list_frames(const struct mb__decoder *d, const struct mb__shards *shards, int link, int tick_shift,
                     bool briefs, const struct mb_frame *frames, uint32_t n, struct mb__lists *lists)
{
    struct mb__listed *next[MB_WORKERS_MAX];
    struct pass pass = {.d = d, .shards = shards, .link = link, .briefs = briefs, .lag = lists->lag, .next = next};
    pass.in_tick = ((int64_t)1 << tick_shift) - 1;
    const bool may_be_short = mb__goes_short(d, link);
    const struct mb__hash_key key = *d->key; /* copies: an entry that is written could be these, to a compiler */
    const uint64_t workers = shards->count;
    const uint8_t farthest = d->farthest;
    const int64_t in_tick = pass.in_tick;
    int64_t before = lists->latest;
    uint32_t place = lists->total;
    if (!has_room(lists, shards->count, n))
        return false;
    for (uint32_t i = 0; i < workers; i++)
        next[i] = lists->frame[i] + lists->count[i];
    for (const struct mb_frame *frame = frames; frame < frames + n; frame++, place++) {
        const uint8_t *b = frame->data;
        const int64_t ts = frame->ts;
        if (!may_be_short || ts < before || ts > (before | in_tick) || ts > MB__LATEST ||
            !mb__frame_is_plain(b, frame->caplen) || b[MB__PLAIN_IP + 8] <= farthest ||
            !mb__shard_plain(b[MB__PLAIN_IP + 9], b + MB__PLAIN_L4)) {
            before = list_odd(&pass, frame, before, place);
            continue;
        }
        const uint32_t hash = mb__shard_hash_v4(&key, b + MB__PLAIN_IP + 12, b[MB__PLAIN_IP + 9]);
        const uint64_t owner = hash * workers >> 32;
        struct mb__listed *out = next[owner]++;
        __builtin_prefetch(out + LISTED_AHEAD, 1);
        list_frame(out, frame, before, ts, place, hash, (uint8_t)owner,
                   briefs ? mb__plain_shape(b) : MB__SHAPE_PLAIN);
        before = ts;
    }
    for (uint32_t i = 0; i < workers; i++)
        lists->count[i] = (uint32_t)(next[i] - lists->frame[i]);
    lists->total += n;
    lists->latest = before;
    lists->lag = pass.lag;
    return true;
}

/* ---- decoding ---------------------------------------------------------------- */

/* A frame that all workers decode, and one of them counts. */
static int decode_common(struct mb__decoder *d, int link, const struct mb_frame *frame, struct mb_packet *out)
{
    struct mb_stats *own = d->stats;
    d->stats = d->common;
    int count = mb__decode_walk(d, link, frame, d->frames, out);
    d->stats = own;
    return count;
}

/* The same for this worker's own, or of all. */
__attribute__((noinline)) static int decode_long(struct mb__decoder *d, int link, const struct mb__listed *listed,
                                                 uint8_t source, struct mb_packet *out)
{
    struct mb_frame frame = listed->frame;
    frame.ts = d->now;
    int count = listed->owner == MB__SHARD_ALL ? decode_common(d, link, &frame, out)
                                               : mb__decode_walk(d, link, &frame, d->frames, out);
    for (int i = 0; i < count; i++)
        out[i].source = source;
    return count;
}

void mb__decoder_meet(struct mb__decoder *d, uint64_t number, int64_t ts)
{
    d->frames = number;
    mb__decoder_clock(d, ts);
}

void mb__decoder_lag(struct mb__decoder *d, int64_t lag)
{
    d->lag = lag;
}

int mb__decode_listed(struct mb__decoder *d, int link, const struct mb__listed *listed, uint8_t source,
                      struct mb_packet *out)
{
    if (listed->shape == MB__SHAPE_OTHER || !mb__decode_short(&listed->frame, d->now, d->frames, source, out))
        return decode_long(d, link, listed, source, out);
    out->hash = listed->hash;
    mb__count_short(d->stats, 1, out->ip_proto == MB__PROTO_TCP);
    return 1;
}

void mb__decoder_left_brief(struct mb__decoder *d, uint64_t frames)
{
    mb__count_short(d->stats, frames, frames);
}
