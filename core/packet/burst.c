/* SPDX-License-Identifier: BSD-3-Clause */
/* burst -- frames decoded together, for an engine that has all of them */
#include "packet/short.h"

void mb__decode_brief(const struct mb__decoder *d, const struct mb_frame *frame, int64_t ts, uint64_t number,
                      uint8_t source, struct mb_packet *out)
{
    mb__decode_short(frame, ts, number, source, out);
    out->hash = mb__plain_hash(d, frame->data);
}

/* The last time up to which there is nothing to mend, nor fragments to look through. */
static int64_t unmended_until(const struct mb__decoder *d)
{
    return d->tick < MB__LATEST >> MB__CLOCK_SHIFT ? ((d->tick + 1) << MB__CLOCK_SHIFT) - 1 : MB__LATEST;
}

/* Decodes a frame that is not plain, or whose transport is not, into |p| and on. */
static int decode_other(struct mb__decoder *d, int link, const struct mb_frame *frame, uint8_t source,
                        struct mb_packet *p, uint32_t *hash)
{
    int count = mb__decode_walk(d, link, frame, d->frames, p);
    for (int i = 0; i < count; i++) {
        p[i].source = source;
        hash[i] = p[i].hash;
    }
    return count;
}

/* The time of a frame that the clock shows from now on. */
static inline int64_t take_time(struct mb__decoder *d, int64_t ts, int64_t until)
{
    if (ts >= d->now && ts <= until)
        return d->now = ts;
    d->stats->backward_time += ts < d->now;
    ts = mb__mend(ts, d->now, &d->lag);
    mb__decoder_clock(d, ts);
    return ts;
}

/* Decodes |frame|, the next one, as frame |done| of the burst and packet |at| and on. |plain|: it is
 * known to be. How many packets. */
static inline int decode_frame(struct mb__decoder *d, int link, bool may_be_short, bool plain,
                               const struct mb_frame *frame, int64_t until, uint8_t source, struct mb__burst *burst,
                               int done, int at)
{
    struct mb_packet *p = &burst->packet[at];
    int count = 1;
    int64_t ts = take_time(d, frame->ts, until);
    d->frames++;
    plain = plain || (may_be_short && mb__is_plain(d, frame));
    if (plain && mb__decode_short(frame, ts, d->frames, source, p)) {
        burst->hash[at] = p->hash = mb__packet_hash(p, d->config, d->key);
        mb__count_short(d->stats, 1, p->ip_proto == MB__PROTO_TCP);
    } else {
        struct mb_frame other = *frame;
        other.ts = ts;
        count = decode_other(d, link, &other, source, p, &burst->hash[at]);
    }
    burst->packets[done] = (uint8_t)count;
    return count;
}

/* The same beside briefs: those have the registers. */
__attribute__((noinline)) static int decode_unbrief(struct mb__decoder *d, bool plain, const struct mb_frame *frame,
                                                    int64_t until, uint8_t source, struct mb__burst *burst, int done,
                                                    int at)
{
    return decode_frame(d, MB__LINK_ETHERNET, true, plain, frame, until, source, burst, done, at);
}

/* A burst of frames that go the short way, brief ones left as they are. */
static int leave_briefs(struct mb__decoder *d, const struct mb_frame *frames, int n, uint8_t source,
                        struct mb__burst *burst)
{
    const uint64_t before = d->frames;
    int64_t now = d->now, until = unmended_until(d);
    int done = 0, at = 0, others = 0;
    for (; done < n && at <= MB_BURST; done++) {
        const struct mb_frame *frame = &frames[done];
        bool plain = mb__is_plain(d, frame);
        if (plain && mb__shape_is_brief(mb__plain_shape(frame->data)) && frame->ts >= now && frame->ts <= until) {
            now = frame->ts;
            burst->packets[done] = 0;
            burst->hash[at++] = mb__plain_hash(d, frame->data);
        } else {
            others++;
            d->now = now;
            d->frames = before + (uint64_t)done;
            at += decode_unbrief(d, plain, frame, until, source, burst, done, at);
            now = d->now;
            until = unmended_until(d);
        }
    }
    d->now = now;
    d->frames = before + (uint64_t)done;
    mb__count_short(d->stats, (uint64_t)(done - others), (uint64_t)(done - others));
    burst->total = at;
    return done;
}

static int decode_all(struct mb__decoder *d, int link, const struct mb_frame *frames, int n, uint8_t source,
                      struct mb__burst *burst)
{
    const bool may_be_short = mb__goes_short(d, link);
    int64_t until = unmended_until(d);
    int done = 0, at = 0;
    for (; done < n && at <= MB_BURST; done++) {
        at += decode_frame(d, link, may_be_short, false, &frames[done], until, source, burst, done, at);
        until = unmended_until(d);
    }
    burst->total = at;
    return done;
}

int mb__decode_burst(struct mb__decoder *d, int link, const struct mb_frame *frames, int n, uint8_t source,
                     bool leave_brief, struct mb__burst *burst)
{
    burst->first = d->frames + 1;
    return leave_brief && mb__goes_short(d, link) ? leave_briefs(d, frames, n, source, burst)
                                                  : decode_all(d, link, frames, n, source, burst);
}
