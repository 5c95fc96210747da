/* SPDX-License-Identifier: BSD-3-Clause */
/* frames -- what frames do to an engine: a burst of them, alone or as one of several workers
 *
 *   frames --> decode a burst --> prefetch buckets --> prefetch flows
 *                                                          |
 *   writer <-- kept? <-- verdict <-- conversation <-- one packet at a time
 *
 * Only decoding and prefetching work on a burst. All that has an effect is done
 * packet by packet, in order, the clock included: what comes out depends on the
 * packets alone, never on how they were handed over.
 *
 * A worker is handed a list (base/listed.h) in place of the frames: its own, those
 * of all, and those that begin a tick. What is left out are frames of others, of
 * which it needs to know only how many they are and what time they leave.
 */
#include "engine.h"

#include "io/source.h"
#include "io/writer.h"

/* ---- packets -------------------------------------------------------------- */

#define WHOLE (MB_PKT_IP | MB_PKT_L4)
#define NOT_PLAIN (MB_PKT_FRAGMENT | MB_PKT_BAD_IP_SUM | MB_PKT_BAD_L4_SUM)

/* Whether a decoded packet may belong to a flow. */
static inline bool has_flow(const struct mb_engine *e, const struct mb_packet *p)
{
    if ((p->flags & (WHOLE | NOT_PLAIN)) == WHOLE)
        return true;
    bool bad_sum = p->flags & (MB_PKT_BAD_IP_SUM | MB_PKT_BAD_L4_SUM);
    if (e->detect != NULL && p->ip_proto == 17) /* rules see what a network card will mend, as Suricata's do */
        bad_sum = p->flags & MB_PKT_BAD_IP_SUM;
    return mb__packet_has_flow(p) && !(bad_sum && e->config.checksums == MB_CHECKSUMS_VERIFY);
}

static bool hears_raw(const struct mb_engine *e)
{
    return *e->global >> MB_EV_RAW & 1;
}

static int raise_raw(struct mb_engine *e, const struct mb_packet *p)
{
    if (!hears_raw(e))
        return 0;
    struct mb_event ev = {.engine = e, .packet = p, .ts = e->now, .id = MB_EV_RAW, .base = MB_EV_RAW};
    return mb__engine_raise(e, &ev);
}

/* A packet that no host takes: rules see it all the same, and with a bad
 * checksum also the flow that it claims to belong to. */
static void judge_stray(struct mb_engine *e, const struct mb_packet *p)
{
    int side = MB_CLIENT;
    bool whole = p->flags & MB_PKT_L4 && !(p->flags & MB_PKT_FRAGMENT);
    mb__engine_judge(e, whole && e->detect != NULL ? mb__flows_find(&e->flows, p, &side) : NULL, side, p);
}

/* A packet that belongs to no flow and starts none. */
static int stray(struct mb_engine *e, const struct mb_packet *p)
{
    if (p->flags & MB_PKT_IP && !(p->flags & MB_PKT_FRAGMENT))
        e->stats.orphans++;
    judge_stray(e, p);
    return 0;
}

/* An anomaly that the decoder has counted. */
static int decode_anomaly(struct mb_engine *e, const struct mb_packet *p)
{
    if (!(*e->global >> MB_EV_ANOMALY & 1))
        return 0;
    struct mb_event ev = {.engine = e, .packet = p, .ts = e->now, .id = MB_EV_ANOMALY, .base = MB_EV_ANOMALY,
                          .reason = p->anomaly};
    return mb__engine_raise(e, &ev);
}

static inline int process_packet(struct mb_engine *e, const struct mb_packet *p)
{
    int err = p->anomaly != 0 ? decode_anomaly(e, p) : 0;
    if (err < 0)
        return err;
    return has_flow(e, p) ? mb__conversation_packet(e, p) : stray(e, p);
}

/* What the |count| packets of one frame do. */
__attribute__((always_inline)) static inline int process_frame(struct mb_engine *e, const struct mb_packet *packets,
                                                              int count)
{
    int err = mb__engine_clock(e, packets[0].ts);
    e->dropped = false;
    if (err >= 0)
        err = raise_raw(e, &packets[0]);
    for (int i = 0; i < count && err >= 0; i++)
        err = process_packet(e, &packets[i]);
    return err;
}

static int write_frame(struct mb_engine *e, int link, const struct mb_frame *frame)
{
    if (link != mb__writer_link(e->writer))
        return mb__engine_fail(e, MB_ELINKTYPE, "a pcap file has one link type: frame %llu is of %d, the file of %d",
                               (unsigned long long)e->stats.frames, link, mb__writer_link(e->writer));
    int err = mb_writer_put(e->writer, frame);
    if (err < 0 && err != MB_EPIPE)
        mb__engine_fail(e, err, "cannot write packets: %s", mb_error_text(err));
    return err;
}

static inline int keep(struct mb_engine *e, int link, const struct mb_frame *frame)
{
    e->stats.kept++;
    return e->writer == NULL ? 0 : write_frame(e, link, frame);
}

static inline int pass_on(struct mb_engine *e, int link, const struct mb_frame *frame)
{
    if (e->dropped) {
        e->stats.dropped++;
        return 0;
    }
    return keep(e, link, frame);
}

/* Whether brief frames may be left undecoded: a flow is known by its ends alone, and
 * nobody wants to see packets or bytes. If somebody does now and then, it is
 * quicker to decode all of them than to find out which. */
static bool leaves_brief(const struct mb_engine *e)
{
    return e->detect == NULL && !e->config.key_vlan && !e->config.key_tunnel && e->streams.history == 0 &&
           !(mb__events_wanted(e->events) & (1ull << MB_EV_RAW | MB__EVENTS_WITH_PACKETS));
}

/* Frame |n| of the burst, which was left brief, is decoded after all. */
static void decode_brief(struct mb_engine *e, const struct mb_frame *frame, uint32_t n, int64_t ts,
                         struct mb_packet *out)
{
    mb__decode_brief(e->decoder, frame, ts, e->burst.first + n, e->source, out);
}

/* Frame |n| of the burst, a brief one in place |at| that the loop over such frames left: it begins a tick,
 * or has to be decoded. */
static int process_brief(struct mb_engine *e, int link, const struct mb_frame *frame, int n, int at)
{
    int err = mb__engine_clock(e, frame->ts);
    if (err < 0)
        return err;
    if (!hears_raw(e) && mb__conversation_brief(e, mb__brief_in_frame(frame->data), frame->wirelen, frame->ts,
                                                e->burst.hash[at]))
        return keep(e, link, frame);
    decode_brief(e, frame, (uint32_t)n, frame->ts, &e->burst.packet[at]);
    err = process_frame(e, &e->burst.packet[at], 1);
    return err < 0 ? err : pass_on(e, link, frame);
}

/* As many of the frames from |done| on, whose places begin |at|, as are brief and move their flows on
 * in no time. How many of |left|. */
static inline int process_briefs(struct mb_engine *e, const struct mb_frame *frames, int done, int at, int left)
{
    const struct mb__burst *b = &e->burst;
    if (b->packets[done] != 0 || e->writer != NULL || hears_raw(e))
        return 0;
    int n = mb__conversation_briefs(e, &frames[done], &b->packets[done], &b->hash[at], left);
    e->stats.frames += (uint64_t)n;
    e->stats.kept += (uint64_t)n;
    return n;
}

/* The flows of |n| packets of the burst, from |at| on, will be needed. */
static inline void prefetch_flows(struct mb_engine *e, int at, int n)
{
    for (; n > 0; at++, n--)
        mb__flows_prefetch_flow(&e->flows, e->burst.hash[at]);
}

/* The same for the first packets of a new burst; for all of them the buckets; and flows that end soon. */
static inline void prefetch_burst(struct mb_engine *e)
{
    const int total = e->burst.total;
    mb__wheel_prefetch(&e->flows.wheel);
    for (int i = 0; i < total; i++)
        mb__flows_prefetch_bucket(&e->flows, e->burst.hash[i]);
    for (int i = total; i < total + MB__AHEAD; i++)
        e->burst.hash[i] = e->burst.hash[0]; /* which has been looked for */
    prefetch_flows(e, 0, MB__AHEAD);
}

/* As many of the frames as fill the burst; their number in |*frames_done|. */
static int run_burst(struct mb_engine *e, int link, const struct mb_frame *frames, int n, int *frames_done)
{
    struct mb__burst *b = &e->burst;
    int err = 0, at = 0, done = 0;
    int taken = mb__decode_burst(e->decoder, link, frames, n, e->source, leaves_brief(e), b);
    prefetch_burst(e);
    do { /* a stop takes effect after the frame, however many were read ahead */
        int briefs = process_briefs(e, frames, done, at, taken - done);
        done += briefs;
        at += briefs;
        if (done == taken)
            break;
        const struct mb_frame *frame = &frames[done];
        e->stats.frames++;
        e->stats.frame_bytes += frame->wirelen;
        if (b->packets[done] == 0) {
            prefetch_flows(e, at + MB__AHEAD, 1);
            err = process_brief(e, link, frame, done, at);
            at++;
        } else {
            prefetch_flows(e, at + MB__AHEAD, b->packets[done]);
            err = process_frame(e, &b->packet[at], b->packets[done]);
            at += b->packets[done];
            if (err >= 0)
                err = pass_on(e, link, frame);
        }
        done++;
    } while (done < taken && err >= 0 && !e->stop);
    mb__decoder_release(e->decoder);
    *frames_done = done;
    return err;
}

/* ---- one of several workers ------------------------------------------------ */

/* A frame that all workers decode, some of whose packets are this one's. What
 * was done with a packet of another is not known here: no verdict can be given
 * on such a frame. */
static int process_common(struct mb_engine *e, int link, const struct mb_frame *frame, const struct mb_packet *packets,
                          int count)
{
    bool first = mb__shard_of_packet(&e->shards, &packets[0]) == e->shards.own, split = !first;
    int err = first ? raise_raw(e, &packets[0]) : 0;
    for (int i = 0; i < count && err >= 0; i++) {
        e->order.step = MB__STEP_PACKET | (uint64_t)i * MB__STEPS_A_PACKET;
        if (mb__shard_of_packet(&e->shards, &packets[i]) == e->shards.own) {
            err = process_packet(e, &packets[i]);
        } else {
            split = true;
            err = mb__related(e, &packets[i]);
            if (e->detect != NULL)
                mb__detect_see(e->detect, &packets[i]);
        }
    }
    if (err >= 0 && split && e->dropped)
        return mb__engine_fail(e, MB_ESTATE, "frame %llu was to be dropped, but other workers have a part in it: use one",
                               (unsigned long long)e->order.frame);
    return err >= 0 && first ? pass_on(e, link, frame) : err;
}

/* A frame of this worker's alone, decoded or, if |brief|, not yet. */
static int process_own(struct mb_engine *e, int link, const struct mb__listed *listed, bool brief)
{
    struct mb_packet *packets = e->burst.packet;
    const struct mb_frame *frame = &listed->frame;
    if (brief && !hears_raw(e) &&
        mb__conversation_brief(e, mb__brief_in_list(listed), frame->wirelen, frame->ts, listed->hash)) {
        mb__decoder_left_brief(e->decoder, 1);
        return keep(e, link, frame);
    }
    mb__decode_listed(e->decoder, link, listed, e->source, packets);
    int err = raise_raw(e, packets);
    if (err >= 0)
        err = process_packet(e, packets);
    return err < 0 ? err : pass_on(e, link, frame);
}

/* Frames in a worker's list, and those of others between them and behind. */
struct stretch {
    const struct mb__listed *listed;
    uint32_t count;
    uint32_t first;  /* place of the first frame, listed or not, */
    uint32_t frames; /* and how many there are */
    int64_t latest;  /* time of the last one, mended, unless that is listed; ns */
    int64_t lag;     /* what that is ahead of the capture's, when all that was listed together is done */
    int link;
};

/* The run comes to a frame, |n| frames after the |base| before the stretch. */
static void note_frame(struct mb_engine *e, int link, uint64_t base, uint32_t n, const struct mb__listed *listed)
{
    if (e->detect != NULL && n > 0) /* no entry is brief then */
        mb__detect_clock(e->detect, base + n, listed->before, link);
    e->stats.frames = e->order.frame = base + n + 1;
    if (listed->owner == e->shards.own || (listed->owner == MB__SHARD_ALL && e->shards.own == 0)) {
        e->stats.frame_bytes += listed->frame.wirelen;
        e->stats.backward_time += mb__listed_backward(listed);
    }
}

/* A listed frame: this worker's, everybody's, or another's that begins a tick.
 * |leave_brief|: as leaves_brief() says. */
static int process_listed(struct mb_engine *e, const struct stretch *s, uint64_t base, const struct mb__listed *listed,
                          bool leave_brief)
{
    const int64_t ts = mb__listed_time(listed);
    note_frame(e, s->link, base, listed->place - s->first, listed);
    mb__decoder_meet(e->decoder, e->stats.frames, ts);
    int err = mb__engine_clock(e, ts);
    if (err < 0 || (listed->owner != e->shards.own && listed->owner != MB__SHARD_ALL))
        return err;
    e->dropped = false;
    e->order.step = MB__STEP_PACKET;
    e->order.flow = 0;
    if (listed->owner == MB__SHARD_ALL) {
        int count = mb__decode_listed(e->decoder, s->link, listed, e->source, e->burst.packet);
        err = process_common(e, s->link, &listed->frame, e->burst.packet, count);
    } else {
        err = process_own(e, s->link, listed, leave_brief && mb__shape_is_brief(listed->shape));
    }
    return err;
}

/* As process_briefs(), of |left| frames in a list. */
static inline uint32_t pass_briefs(struct mb_engine *e, const struct mb__listed *listed, uint32_t left)
{
    if (!mb__shape_is_brief(listed->shape) || e->writer != NULL || hears_raw(e))
        return 0;
    return mb__conversation_listed(e, listed, left);
}

/* As prefetch_burst(): a list has the hashes in it. The frames themselves may be in another worker's cache; those
 * that are likely to stay undecoded, and are not written, are left there. Not by a branch: which they are cannot
 * be foretold. */
static inline void prefetch_list(struct mb_engine *e, const struct stretch *s, bool leave_brief)
{
    const bool all = !leave_brief || e->writer != NULL;
    mb__wheel_prefetch(&e->flows.wheel);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct mb__listed *listed = &s->listed[i];
        const bool whole = all || !mb__shape_is_brief(listed->shape);
        const uint8_t *headers = listed->frame.data, *left = (const uint8_t *)listed;
        mb__flows_prefetch_bucket(&e->flows, listed->hash);
        __builtin_prefetch(whole ? headers : left);
        __builtin_prefetch(whole ? headers + 64 : left);
    }
    for (uint32_t i = 0; i < s->count && i < MB__AHEAD; i++)
        mb__flows_prefetch_flow(&e->flows, s->listed[i].hash);
}

/* The stretch is over: what came behind the last listed frame was others', in one tick with it. */
static void end_stretch(struct mb_engine *e, const struct stretch *s, uint64_t base)
{
    const struct mb__listed *last = s->count > 0 ? &s->listed[s->count - 1] : NULL;
    bool listed = last != NULL && last->place - s->first + 1 == s->frames;
    int64_t latest = listed ? mb__listed_time(last) : s->latest;
    e->stats.frames = base + s->frames;
    mb__decoder_meet(e->decoder, e->stats.frames, latest);
    mb__decoder_lag(e->decoder, s->lag);
    e->now = latest > e->now ? latest : e->now;
    if (e->detect != NULL)
        mb__detect_clock(e->detect, e->stats.frames, e->now, s->link);
}

/* All of a stretch, or up to a stop. The flows of the list's frames are fetched ahead; each is decoded when
 * its turn comes, since nothing is to be learned of it by then. */
static int run_list(struct mb_engine *e, const struct stretch *s)
{
    const uint64_t base = e->stats.frames;
    const bool leave_brief = leaves_brief(e);
    uint32_t done = 0, briefs = 0;
    int err = 0;
    prefetch_list(e, s, leave_brief);
    while (done < s->count && err >= 0 && !e->stop) {
        if (leave_brief) {
            uint32_t n = pass_briefs(e, &s->listed[done], s->count - done);
            done += n;
            briefs += n;
        }
        if (done == s->count)
            break;
        if (done + MB__AHEAD < s->count)
            mb__flows_prefetch_flow(&e->flows, s->listed[done + MB__AHEAD].hash);
        err = process_listed(e, s, base, &s->listed[done], leave_brief);
        done++;
    }
    mb__decoder_release(e->decoder);
    mb__decoder_left_brief(e->decoder, briefs);
    e->stats.kept += briefs;
    if (done == s->count && err >= 0)
        end_stretch(e, s, base);
    else if (done > 0)
        e->stats.frames = base + s->listed[done - 1].place - s->first + 1;
    if (e->progress != NULL && err >= 0) /* a frame that failed is not done: others' part in it may come after */
        atomic_store_explicit(e->progress, e->stats.frames, memory_order_release);
    return err;
}

void mb__engine_join(struct mb_engine *e, uint32_t count, uint32_t own, _Atomic uint64_t *progress)
{
    e->shards = (struct mb__shards){.count = count, .own = own, .key = &e->key};
    e->shards.config = &e->config;
    e->progress = progress;
    mb__decoder_share(e->decoder, own == 0 ? &e->stats : &e->uncounted);
}

/* For whoever reads a chunk of the capture: struct mb__lister. */
static bool list_frames(void *arg, int link, const struct mb_frame *frames, uint32_t n, bool known,
                        struct mb__lists *lists)
{
    const struct mb_engine *e = arg;
    if (!known)
        lists->latest = mb__decoder_now(e->decoder, &lists->lag);
    return mb__list_frames(e->decoder, &e->shards, link, MB__TICK_SHIFT, leaves_brief(e), frames, n, lists);
}

/* Frames that this worker alone has found: all are listed, its own are run. They are at most MB_BURST, so
 * lists that begin empty have room. */
static int run_own(struct mb_engine *e, int link, const struct mb_frame *frames, int n)
{
    struct mb__listed own[MB_BURST];
    struct mb__listed others[MB_BURST]; /* never read: one list over the other */
    struct mb__lists lists = {0};
    for (uint32_t worker = 0; worker < e->shards.count; worker++)
        lists.frame[worker] = worker == e->shards.own ? own : others;
    list_frames(e, link, frames, (uint32_t)n, false, &lists);
    const struct stretch found = {.listed = own,
                                  .count = lists.count[e->shards.own],
                                  .frames = (uint32_t)n,
                                  .latest = lists.latest,
                                  .lag = lists.lag,
                                  .link = link};
    return run_list(e, &found);
}

static int run_sheet(struct mb_engine *e, const struct mb__sheet *sheet)
{
    if (sheet->frame != NULL)
        return run_own(e, sheet->link, sheet->frame, sheet->n);
    const struct stretch found = {.listed = sheet->listed,
                                  .count = sheet->count,
                                  .first = sheet->first,
                                  .frames = (uint32_t)sheet->n,
                                  .latest = sheet->latest,
                                  .lag = sheet->lag,
                                  .link = sheet->link};
    return run_list(e, &found);
}

/* ---- what the engine asks for ---------------------------------------------- */

static int run_frames(struct mb_engine *e, int link, const struct mb_frame *frames, int n)
{
    int err = 0;
    for (int done = 0, step = 0; done < n && err >= 0 && (done == 0 || !e->stop); done += step)
        err = run_burst(e, link, frames + done, n - done, &step);
    return err;
}

int mb__frames_run(struct mb_engine *e, const struct mb__sheet *sheet)
{
    return e->shards.count > 1 ? run_sheet(e, sheet) : run_frames(e, sheet->link, sheet->frame, sheet->n);
}

int mb__frames_next(struct mb_engine *e, struct mb_source *source, struct mb__sheet *sheet)
{
    if (e->shards.count > 1) {
        const struct mb__lister lister = {list_frames, e};
        return mb__source_sheet(source, &lister, sheet);
    }
    sheet->frame = sheet->own;
    return sheet->n = mb__source_burst(source, sheet->own, MB_BURST, &sheet->link);
}
