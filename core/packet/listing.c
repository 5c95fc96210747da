/* SPDX-License-Identifier: BSD-3-Clause */
/* listing -- frames as one of several workers meets them: listed once for all, decoded by whom they concern */
#include "packet/short.h"

/* ---- lists ------------------------------------------------------------------- */

/* What a frame shows of itself: struct mb__listed. */
struct seen {
    uint32_t hash;
    uint8_t owner;
    uint8_t shape;
};

/* |may_be_short|: the short way is open to frames of this link type. */
static inline struct seen look_at(const struct mb__decoder *d, const struct mb__shards *shards, int link,
                                  bool may_be_short, const struct mb_frame *frame)
{
    const uint8_t *b = frame->data;
    if (!may_be_short || !mb__is_plain(d, frame) || !mb__shard_plain(b[MB__PLAIN_IP + 9], b + MB__PLAIN_L4))
        return (struct seen){0, mb__shard_of_frame(shards, link, frame), MB__SHAPE_OTHER};
    uint32_t hash = mb__plain_hash(d, b);
    return (struct seen){hash, mb__shard_of_hash(shards, hash),
                         mb__frame_is_brief(b) ? MB__SHAPE_BRIEF : MB__SHAPE_PLAIN};
}

/* Lists |frame|. Each field once: a copy of the whole would have to wait until the
 * smaller ones are written. */
static inline void list_frame(struct mb__listed *out, const struct mb_frame *frame, int64_t before, uint32_t place,
                              struct seen seen)
{
    out->frame.ts = frame->ts;
    out->frame.data = frame->data;
    out->frame.caplen = frame->caplen;
    out->frame.wirelen = frame->wirelen;
    out->before = before;
    out->hash = seen.hash;
    out->place = (uint16_t)place;
    out->owner = seen.owner;
    out->shape = seen.shape;
}

#define LISTED_AHEAD 16 /* entries of a list fetched before they are written: another worker has read them */

static bool has_room(const struct mb__lists *lists, uint32_t workers, uint32_t n)
{
    bool room = lists->total + n <= UINT16_MAX;
    for (uint32_t i = 0; i < workers; i++)
        room &= lists->count[i] + n <= MB__LIST_FRAMES;
    return room;
}

bool mb__list_frames(const struct mb__decoder *d, const struct mb__shards *shards, int link, int tick_shift,
                     const struct mb_frame *frames, uint32_t n, struct mb__lists *lists)
{
    const bool may_be_short = mb__goes_short(d, link);
    const uint32_t workers = shards->count;
    struct mb__listed *next[MB_WORKERS_MAX]; /* the ends of the lists */
    int64_t before = lists->latest;
    if (!has_room(lists, workers, n))
        return false;
    for (uint32_t i = 0; i < workers; i++)
        next[i] = lists->frame[i] + lists->count[i];
    for (uint32_t i = 0; i < n; i++) {
        const int64_t ts = mb__mend(frames[i].ts, before);
        const struct seen seen = look_at(d, shards, link, may_be_short, &frames[i]);
        if (seen.owner != MB__SHARD_ALL && ts >> tick_shift == before >> tick_shift) {
            __builtin_prefetch(next[seen.owner] + LISTED_AHEAD, 1);
            list_frame(next[seen.owner]++, &frames[i], before, lists->total + i, seen);
        } else {
            for (uint32_t worker = 0; worker < workers; worker++)
                list_frame(next[worker]++, &frames[i], before, lists->total + i, seen);
        }
        before = ts;
    }
    for (uint32_t i = 0; i < workers; i++)
        lists->count[i] = (uint32_t)(next[i] - lists->frame[i]);
    lists->total += n;
    lists->latest = before;
    return true;
}

void mb__list_all(const struct mb__decoder *d, const struct mb__shards *shards, int link,
                  const struct mb_frame *frames, uint32_t n, struct mb__listed *list)
{
    int64_t now = d->now;
    for (uint32_t i = 0; i < n; i++) {
        list_frame(&list[i], &frames[i], now, i, look_at(d, shards, link, mb__goes_short(d, link), &frames[i]));
        now = mb__mend(frames[i].ts, now);
    }
}

/* ---- decoding ---------------------------------------------------------------- */

/* A frame that all workers decode, and one of them counts. */
static uint32_t decode_common(struct mb__decoder *d, int link, const struct mb_frame *frame, struct mb_packet *out)
{
    struct mb_stats *own = d->stats;
    d->stats = d->common;
    int count = mb__decode_walk(d, link, frame, d->frames, out);
    d->stats = own;
    return (uint32_t)count;
}

/* Decodes a listed frame by the long way, as far as it is this worker's (|own|) or
 * everybody's, into the places of |burst| from |at| on. How many packets. */
__attribute__((noinline)) static uint32_t decode_listed(struct mb__decoder *d, bool own, int link,
                                                        const struct mb__portion *p, uint8_t source,
                                                        struct mb__burst *burst, int at)
{
    struct mb_packet *out = &burst->packet[at];
    struct mb_frame frame = p->listed->frame;
    uint32_t packets = 0;
    frame.ts = p->ts;
    if (p->listed->owner == MB__SHARD_ALL)
        packets = decode_common(d, link, &frame, out);
    else if (own)
        packets = (uint32_t)mb__decode_walk(d, link, &frame, d->frames, out);
    for (uint32_t i = 0; i < packets; i++) {
        out[i].source = source;
        burst->hash[at + (int)i] = out[i].hash;
    }
    return packets;
}

/* Decodes a frame of this worker the short way, if that is open to it. */
static inline bool decode_own(const struct mb__portion *p, uint64_t number, uint8_t source, struct mb_packet *out)
{
    if (p->listed->shape == MB__SHAPE_OTHER || !mb__decode_short(&p->listed->frame, p->ts, number, source, out))
        return false;
    out->hash = p->listed->hash;
    return true;
}

/* Whether a worker has something to do with a listed frame of time |ts|: it is its own
 * or everybody's, or begins a tick. */
static inline bool concerns(const struct mb__listed *p, int64_t ts, uint32_t own, int tick_shift)
{
    return p->owner == own || p->owner == MB__SHARD_ALL || ts >> tick_shift != p->before >> tick_shift;
}

uint32_t mb__decode_stretch(struct mb__decoder *d, const struct mb__shards *shards, int tick_shift,
                            const struct mb__stretch *stretch, uint8_t source, bool leave_brief,
                            struct mb__burst *burst, struct mb__portion *portions, int *count)
{
    const struct mb__listed *p = stretch->listed, *end = p + stretch->count;
    const uint64_t before = d->frames;
    uint64_t shorts = 0, tcp = 0;
    int64_t now = d->now;
    uint32_t done = 0;
    int found = 0, at = 0;
    for (; p < end && at + MB__MAX_LAYERS <= MB__BATCH && found < MB_BURST; p++) {
        uint32_t frame = p->place - stretch->first;
        int64_t ts = mb__mend(p->frame.ts, p->before);
        if (ts >> MB__CLOCK_SHIFT != d->tick) { /* seldom */
            now = p->before;
            done = frame;
            if (found > 0) /* fragments may be looked through when those are done */
                break;
            mb__decoder_clock(d, ts);
        }
        now = ts;
        done = frame + 1;
        if (!concerns(p, ts, shards->own, tick_shift))
            continue;
        struct mb__portion *portion = &portions[found++];
        const bool own = p->owner == shards->own;
        *portion = (struct mb__portion){p, ts, frame, 1, own && leave_brief && p->shape == MB__SHAPE_BRIEF};
        if (portion->brief || (own && decode_own(portion, before + done, source, &burst->packet[at]))) {
            burst->hash[at] = p->hash;
            shorts++;
            tcp += portion->brief || burst->packet[at].ip_proto == MB__PROTO_TCP;
        } else {
            d->now = now;
            d->frames = before + done;
            portion->packets = decode_listed(d, own, stretch->link, portion, source, burst, at);
        }
        at += (int)portion->packets;
    }
    mb__count_short(d->stats, shorts, tcp);
    if (p == end && done < stretch->frames) { /* the others' frames behind it */
        now = stretch->latest;
        done = stretch->frames;
    }
    d->now = now;
    d->frames = before + done;
    burst->first = before + 1;
    burst->total = at;
    *count = found;
    return done;
}
