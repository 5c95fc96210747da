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

int mb__decode_burst(struct mb__decoder *d, int link, const struct mb_frame *frames, int n, uint8_t source,
                     bool leave_brief, struct mb__burst *burst)
{
    const bool may_be_short = mb__goes_short(d, link);
    int64_t until = unmended_until(d);
    int done = 0, at = 0, others = 0, udp = 0;
    for (; done < n && at + MB__MAX_LAYERS <= MB__BATCH; done++) {
        struct mb_packet *p = &burst->packet[at];
        const struct mb_frame *frame = &frames[done];
        int64_t ts = frame->ts;
        d->frames++;
        if (ts >= d->now && ts <= until) {
            d->now = ts;
        } else {
            d->stats->backward_time += ts < d->now;
            ts = mb__mend(ts, d->now);
            mb__decoder_clock(d, ts);
            until = unmended_until(d);
        }
        burst->ts[done] = ts;
        burst->packets[done] = 1;
        bool plain = may_be_short && mb__is_plain(d, frame);
        if (plain && leave_brief && mb__frame_is_brief(frame->data)) {
            burst->packets[done] = 0;
            burst->hash[at++] = mb__plain_hash(d, frame->data);
        } else if (plain && mb__decode_short(frame, ts, d->frames, source, p)) {
            burst->hash[at++] = p->hash = mb__packet_hash(p, d->config, d->key);
            udp += p->ip_proto == MB__PROTO_UDP;
        } else {
            struct mb_frame other = *frame;
            other.ts = ts;
            burst->packets[done] = (uint8_t)decode_other(d, link, &other, source, p, &burst->hash[at]);
            at += burst->packets[done];
            others++;
        }
    }
    mb__count_short(d->stats, (uint64_t)(done - others), (uint64_t)(done - others - udp));
    burst->first = d->frames - (uint64_t)done + 1;
    burst->total = at;
    return done;
}
