/* SPDX-License-Identifier: BSD-3-Clause */
/* engine -- the loop that joins the floors: burst, decode, flows, events, out
 *
 *   source --frames--> decode a burst --> prefetch buckets --> prefetch flows
 *                                                                  |
 *      writer <-- kept? <-- verdict <-- conversation <-- one packet at a time
 *
 * Only decoding and prefetching work on a burst. All that has an effect is done
 * packet by packet, in order, the clock included: what comes out depends on the
 * packets alone, never on how they were handed over.
 */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/say.h"
#include "io/source.h"
#include "io/writer.h"
#include "match/filter.h"

#define SECOND 1000000000LL
#define TICK_SHIFT MB__WHEEL_SHIFT
#define ENDING_AHEAD 4       /* flows fetched into the cache before their end */

_Static_assert(MB_ANOMALY_COUNT == sizeof(((struct mb_stats *)0)->anomalies) / sizeof(uint64_t),
               "every anomaly has its counter");

/* ---- life ----------------------------------------------------------------- */

void mb_config_init(struct mb_config *c)
{
    *c = (struct mb_config){
        .max_flows = 4000000,
        .max_fragments = 65536,
        .max_stream_bytes = 1 << 20,
        .max_memory = 3ull << 30,
        .timeout_tcp_syn = 5 * SECOND,
        .timeout_tcp = 300 * SECOND,
        .timeout_tcp_half = 300 * SECOND,
        .timeout_tcp_closed = SECOND,
        .timeout_tcp_reset = SECOND / 10,
        .timeout_udp = 60 * SECOND,
        .timeout_icmp = 60 * SECOND,
        .timeout_ip = 60 * SECOND,
        .timeout_fragment = 30 * SECOND,
        .decap = MB_TUNNEL_DEFAULT,
        .max_tunnels = 4,
        .checksums = MB_CHECKSUMS_IGNORE,
        .midstream = 1,
        .overlap = MB_OVERLAP_FIRST,
        .reassemble = 1,
    };
}

/* The first option that makes no sense, as a sentence, or NULL. */
static const char *config_mistake(const struct mb_config *c)
{
    if (c->max_flows == 0 || c->max_flows > UINT32_MAX / 4)
        return "max_flows must be between 1 and 1073741823";
    if (c->max_tunnels > MB__MAX_LAYERS - 1)
        return "max_tunnels must be at most 7";
    if (c->checksums > MB_CHECKSUMS_VERIFY)
        return "checksums must be ignore or verify";
    if (c->overlap >= MB_OVERLAP_COUNT)
        return "overlap is no policy there is";
    if (c->urgent > MB_URGENT_OOB)
        return "urgent must be inline or oob";
    if (c->table_full > MB_FULL_CLOSE)
        return "table_full must be evict, open or close";
    const int64_t *timeouts = &c->timeout_tcp_syn;
    for (int i = 0; i < 9; i++)
        if (timeouts[i] < 0 || timeouts[i] >= MB__LATEST)
            return "a timeout must be between 0 and 146 years";
    return NULL;
}

struct mb_engine *mb_engine_new(const struct mb_config *config, char *err)
{
    struct mb_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
        return NULL;
    }
    if (config != NULL)
        e->config = *config;
    else
        mb_config_init(&e->config);
    const char *mistake = config_mistake(&e->config);
    if (mistake != NULL) {
        mb__say(MB_EINVAL, err, "%s", mistake);
        free(e);
        return NULL;
    }
    mb__hash_key_init(&e->key, e->config.seed);
    e->fragments.limit = e->config.max_memory / 8; /* a limit of its own: decoding runs ahead of the rest */
    e->waiting.limit = e->config.max_memory / 8;
    e->parsing.limit = e->config.max_memory / 4;
    e->tick = -1;
    e->streams = (struct mb__stream_config){.memory = &e->waiting, .history_memory = &e->parsing,
                                             .max_bytes = e->config.max_stream_bytes,
                                             .overlap = e->config.overlap};
    e->sink = (struct mb__proto_sink){.emit = mb__conversation_emit, .memory = &e->parsing};
    e->hosts.otherwise = e->config.overlap;
    e->decoder = mb__decoder_new(&e->config, &e->key, &e->fragments, &e->stats);
    e->events = mb__events_new(e);
    if (e->decoder == NULL || e->events == NULL) {
        mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
        mb_engine_free(e);
        return NULL;
    }
    mb__decoder_hosts(e->decoder, &e->hosts);
    e->global = mb__events_global(e->events);
    mb__events_order(e->events, &e->order);
    return e;
}

/* Half of the memory is the flows': how many that are, at most max_flows. */
static uint32_t flows_that_fit(const struct mb_engine *e, size_t extra)
{
    uint64_t cost = mb__flows_cost(extra) + mb__outputs_flow_bytes(e->outputs) + mb__detect_flow_bytes(e->detect);
    uint64_t fit = e->config.max_memory / 2 / cost;
    return fit == 0 ? 1 : fit < e->config.max_flows ? (uint32_t)fit : e->config.max_flows;
}

/* Lays the flow table out for the monitors there are. */
static int seal(struct mb_engine *e)
{
    size_t extra = e->monitors * sizeof(void *);
    uint64_t wanted = mb__events_wanted(e->events);
    if (wanted & MB__PROTO_EVENTS) {
        e->proto_slot = sizeof(struct mb_flow) + extra;
        extra += sizeof(struct mb__proto_conn *);
    }
    e->sink.wanted = wanted;
    e->streams.history = mb__events_history(e->events);
    e->config.max_flows = flows_that_fit(e, extra);
    int err = mb__flows_init(&e->flows, &e->config, extra);
    if (err < 0)
        return mb__engine_fail(e, err, "no address space for %u flows", e->config.max_flows);
    e->sealed = true;
    return 0;
}

void mb_engine_free(struct mb_engine *e)
{
    if (e == NULL)
        return;
    e->stop = true;
    if (e->sealed) {
        for (struct mb_flow *flow = NULL; (flow = mb__flows_each(&e->flows, flow)) != NULL;) {
            flow->events = 0; /* freed without a word */
            mb__conversation_end(e, flow, MB_END_SHUTDOWN);
        }
        mb__flows_fini(&e->flows);
    }
    mb__outputs_free(e->outputs);
    mb__detect_free(e->detect);
    mb__events_free(e->events);
    mb__decoder_free(e->decoder);
    mb__prefixes_fini(&e->hosts);
    mb__prefixes_fini(&e->hops);
    free(e);
}

int mb_engine_set_overlap(struct mb_engine *e, const struct mb_addr *prefix, unsigned bits, int policy)
{
    if (policy < 0 || policy >= MB_OVERLAP_COUNT)
        return MB_EINVAL;
    return mb__prefixes_add(&e->hosts, prefix, bits, (uint8_t)policy);
}

int mb_engine_set_hops(struct mb_engine *e, const struct mb_addr *prefix, unsigned bits, unsigned hops)
{
    if (hops > UINT8_MAX)
        return MB_EINVAL;
    mb__decoder_hops(e->decoder, &e->hops, (uint8_t)hops);
    return mb__prefixes_add(&e->hops, prefix, bits, (uint8_t)hops);
}

int mb__engine_fail(struct mb_engine *e, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->errmsg, sizeof e->errmsg, format, args);
    va_end(args);
    return code;
}

struct mb_monitor *mb_monitor_new(struct mb_engine *e, const char *name, char *err)
{
    if (e->sealed || e->monitors == MB__MAX_MONITORS) {
        mb__say(MB_ESTATE, err, "%s",
                e->sealed ? "monitors are made before the first packet" : "an engine has at most 16 monitors");
        return NULL;
    }
    size_t offset = sizeof(struct mb_flow) + e->monitors * sizeof(void *);
    struct mb_monitor *m = mb__monitor_new(e->events, name, offset, err);
    if (m != NULL)
        e->monitors++;
    return m;
}

/* ---- events --------------------------------------------------------------- */

int mb__engine_raise(struct mb_engine *e, struct mb_event *ev)
{
    int answer = mb__events_raise(e->events, ev);
    if (answer > 0)
        e->stop = true;
    if (answer >= 0)
        return 0;
    const char *name = mb_event_name((int)ev->base);
    if (ev->flow != NULL)
        return mb__engine_fail(e, answer, "a callback of %s failed on flow %llu", name,
                               (unsigned long long)ev->flow->id);
    return mb__engine_fail(e, answer, "a callback of %s failed", name);
}

int mb__engine_anomaly(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int reason)
{
    e->stats.anomalies[reason]++;
    if (flow != NULL)
        flow->anomalies++;
    uint64_t heard = flow != NULL ? flow->events : *e->global;
    if (!(heard >> MB_EV_ANOMALY & 1))
        return 0;
    struct mb_event ev = {.engine = e, .flow = flow, .packet = p, .ts = e->now, .id = MB_EV_ANOMALY,
                          .base = MB_EV_ANOMALY, .side = (uint8_t)side, .reason = (uint8_t)reason};
    return mb__engine_raise(e, &ev);
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

int mb_event_define(struct mb_engine *e, uint32_t parent, mb_filter filter, const void *arg, size_t arg_len)
{
    return mb__event_define(e->events, parent, filter, arg, arg_len);
}

int mb_event_define_expr(struct mb_engine *e, uint32_t parent, const char *expression, char *err)
{
    return mb__event_define_expr(e->events, parent, expression, err);
}

int mb_event_define_bpf(struct mb_engine *e, uint32_t parent, const char *bpf, char *err)
{
    return mb__event_define_bpf(e->events, parent, bpf, err);
}

int mb_event_alloc(struct mb_engine *e, uint32_t parent)
{
    return mb__event_alloc(e->events, parent);
}

/* ---- verdicts ------------------------------------------------------------- */

void mb_packet_drop(struct mb_event *ev)
{
    if (ev->packet != NULL) /* a flow that time or the end of the run stirs has no packet on its way */
        ev->engine->dropped = true;
}

void mb_flow_drop(struct mb_event *ev)
{
    mb_packet_drop(ev);
    if (ev->flow != NULL)
        ev->flow->flags |= MB_FLOW_DROP;
}

struct mb_detect **mb__engine_detect(const struct mb_engine *e)
{
    return (struct mb_detect **)&e->detect;
}

struct mb__memory *mb__engine_memory(struct mb_engine *e)
{
    return &e->parsing;
}

void mb__engine_judge(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    if (e->detect == NULL)
        return;
    mb__detect_see(e->detect, p);
    if (e->dropped)
        return;
    enum mb__verdict verdict = mb__detect_packet(e->detect, flow, side, p);
    e->dropped = verdict != MB__VERDICT_PASS;
    if (verdict == MB__VERDICT_DROP_FLOW && flow != NULL)
        flow->flags |= MB_FLOW_DROP;
}

int mb_flow_forget(struct mb_engine *e, struct mb_flow *flow)
{
    flow->flags |= MB_FLOW_FORGET;
    return e->running ? 0 : mb__conversation_end(e, flow, MB_END_SHUTDOWN);
}

/* ---- the clock ------------------------------------------------------------ */

/* A tick has passed: flows expire, then timers. */
static int tick(struct mb_engine *e)
{
    e->tick = e->now >> TICK_SHIFT;
    if (e->began == 0)
        e->began = e->now;
    struct mb_flow *flow;
    int err = 0;
    while (err >= 0 && mb__wheel_due(&e->flows.wheel, e->now) &&
           (flow = mb__flows_expired(&e->flows, e->now)) != NULL) {
        e->order.step = MB__STEP_EXPIRE | e->flows.wheel.tick;
        e->order.flow = flow->id;
        err = mb__conversation_end(e, flow, MB_END_TIMEOUT);
    }
    if (err >= 0 && mb__events_next_timer(e->events) <= e->now) {
        err = mb__events_timers(e->events, e->now);
        if (err > 0)
            e->stop = true;
        else if (err < 0)
            mb__engine_fail(e, err, "a timer's callback failed");
    }
    return err < 0 ? err : 0;
}

/* Moves the packet clock to |ts|. */
static inline int clock_to(struct mb_engine *e, int64_t ts)
{
    if (ts > e->now)
        e->now = ts;
    return e->now >> TICK_SHIFT == e->tick ? 0 : tick(e);
}

int mb_engine_advance(struct mb_engine *e, int64_t ts)
{
    int err = e->sealed ? 0 : seal(e);
    if (err < 0)
        return err;
    e->running = true;
    err = clock_to(e, ts > MB__LATEST ? MB__LATEST : ts);
    e->running = false;
    return err;
}

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

static inline int process_packet(struct mb_engine *e, const struct mb_packet *p, uint32_t probably)
{
    int err = p->anomaly != 0 ? decode_anomaly(e, p) : 0;
    if (err < 0)
        return err;
    return has_flow(e, p) ? mb__conversation_packet(e, p, probably) : stray(e, p);
}

/* What the |count| packets of one frame do; their flows are probably in the
 * slots |probably|. */
__attribute__((always_inline)) static inline int process_frame(struct mb_engine *e, const struct mb_packet *packets,
                                                              const uint32_t *probably, int count)
{
    int err = clock_to(e, packets[0].ts);
    e->dropped = false;
    if (err >= 0)
        err = raise_raw(e, &packets[0]);
    for (int i = 0; i < count && err >= 0; i++)
        err = process_packet(e, &packets[i], probably[i]);
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

static inline int pass_on(struct mb_engine *e, int link, const struct mb_frame *frame)
{
    if (e->dropped) {
        e->stats.dropped++;
        return 0;
    }
    e->stats.kept++;
    return e->writer == NULL ? 0 : write_frame(e, link, frame);
}

#define EVENTS_WITH_PACKETS (1ull << MB_EV_RAW | 1ull << MB_EV_PACKET | MB__EVENTS_OF_BYTES | MB__PROTO_EVENTS)

/* Whether brief frames may be left undecoded: a flow is known by its ends alone, and
 * nobody wants to see packets or bytes. If somebody does now and then, it is
 * quicker to decode all of them than to find out which. */
static bool leaves_brief(const struct mb_engine *e)
{
    return e->detect == NULL && !e->config.key_vlan && !e->config.key_tunnel && e->streams.history == 0 &&
           !(mb__events_wanted(e->events) & EVENTS_WITH_PACKETS);
}

/* Frame |n| of the burst, which was left brief, is decoded after all. */
static void decode_brief(struct mb_engine *e, const struct mb_frame *frame, uint32_t n, int64_t ts,
                         struct mb_packet *out)
{
    mb__decode_brief(e->decoder, frame, ts, e->burst.first + n, e->source, out);
}

/* What a brief frame does, without decoding it: 1, or 0 if that cannot be, or < 0.
 * The clock shows its time. */
static inline int pass_brief(struct mb_engine *e, const struct mb_frame *frame, int64_t ts, uint32_t hash,
                             uint32_t *probably)
{
    if (hears_raw(e))
        return 0;
    if (*probably == 0) /* a frame of this burst may have begun it */
        *probably = mb__flows_guess(&e->flows, hash);
    return mb__conversation_brief(e, frame, ts, *probably);
}

static inline int process_brief(struct mb_engine *e, const struct mb_frame *frame, int n, int at, uint32_t *probably)
{
    int64_t ts = e->burst.ts[n];
    int err = clock_to(e, ts);
    e->dropped = false;
    if (err < 0 || (err = pass_brief(e, frame, ts, e->burst.hash[at], probably)) != 0)
        return err;
    decode_brief(e, frame, (uint32_t)n, ts, &e->burst.packet[at]);
    return process_frame(e, &e->burst.packet[at], probably, 1);
}

/* The flows of |n| packets of the burst, from |at| on, will be needed: fetches them,
 * and notes in which slots they probably are. */
static inline void prefetch_flows(const struct mb_engine *e, int at, int n, uint32_t *probably)
{
    for (; n > 0; at++, n--)
        probably[at] = mb__flows_prefetch_flow(&e->flows, e->burst.hash[at]);
}

/* The same for the first packets of a new burst; for all of them the buckets. */
static inline void prefetch_burst(const struct mb_engine *e, uint32_t *probably)
{
    for (int i = 0; i < e->burst.total; i++)
        mb__flows_prefetch_bucket(&e->flows, e->burst.hash[i]);
    prefetch_flows(e, 0, MB__AHEAD, probably);
}

/* As many of the frames as fill the burst; their number in |*frames_done|. */
static int run_burst(struct mb_engine *e, int link, const struct mb_frame *frames, int n, int *frames_done)
{
    struct mb__burst *b = &e->burst;
    uint32_t probably[MB__BATCH + MB__AHEAD]; /* slots of the packets' flows */
    int err = 0, at = 0, done = 0;
    int taken = mb__decode_burst(e->decoder, link, frames, n, e->source, leaves_brief(e), b);
    prefetch_burst(e, probably);
    do { /* a stop takes effect after the frame, however many were read ahead */
        const struct mb_frame *frame = &frames[done];
        int brief = b->packets[done] == 0, places = brief ? 1 : b->packets[done];
        prefetch_flows(e, at + MB__AHEAD, places, probably);
        e->stats.frames++;
        e->stats.frame_bytes += frame->wirelen;
        err = brief ? process_brief(e, frame, done, at, &probably[at])
                    : process_frame(e, &b->packet[at], &probably[at], places);
        if (err >= 0)
            err = pass_on(e, link, frame);
        at += places;
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
                          const uint32_t *probably, int count)
{
    bool first = mb__shard_of_packet(&e->shards, &packets[0]) == e->shards.own, split = !first;
    int err = first ? raise_raw(e, &packets[0]) : 0;
    for (int i = 0; i < count && err >= 0; i++) {
        e->order.step = MB__STEP_PACKET | (uint64_t)i * MB__STEPS_A_PACKET;
        if (mb__shard_of_packet(&e->shards, &packets[i]) == e->shards.own) {
            err = process_packet(e, &packets[i], probably[i]);
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

/* A frame of this worker's, or of all. */
static int process_portion(struct mb_engine *e, int link, const struct mb__portion *p, int at, uint32_t *probably)
{
    struct mb_packet *packets = &e->burst.packet[at];
    const struct mb_frame *frame = &p->listed->frame;
    e->dropped = false;
    if (p->brief) {
        int done = pass_brief(e, frame, p->ts, e->burst.hash[at], probably);
        if (done != 0)
            return done < 0 ? done : pass_on(e, link, frame);
        decode_brief(e, frame, p->frame, p->ts, packets);
    }
    e->order.step = MB__STEP_PACKET;
    e->order.flow = 0;
    if (p->listed->owner == MB__SHARD_ALL)
        return process_common(e, link, frame, packets, probably, (int)p->packets);
    int err = raise_raw(e, packets);
    if (err >= 0)
        err = process_packet(e, packets, probably[0]);
    return err < 0 ? err : pass_on(e, link, frame);
}

/* The run comes to frame |n| of a burst, at |ts|; those before it are done, the
 * last of them at |before|. */
static void note_frame(struct mb_engine *e, int link, uint64_t base, uint32_t n, int64_t before)
{
    if (e->detect != NULL && n > 0)
        mb__detect_clock(e->detect, base + n, before, link);
    e->stats.frames = e->order.frame = base + n + 1;
}

/* |done| frames of a burst are done; |all|: the rest of them were others', in one
 * tick with the last that was not. */
static void note_burst(struct mb_engine *e, int link, uint32_t done, bool all)
{
    if (all && done > 0) {
        e->now = mb__decoder_now(e->decoder);
        if (e->detect != NULL)
            mb__detect_clock(e->detect, e->stats.frames, e->now, link);
    }
    if (e->progress != NULL)
        atomic_store_explicit(e->progress, e->stats.frames, memory_order_release);
}

/* Whether this worker counts the bytes of the frame. */
static bool counts(const struct mb_engine *e, const struct mb__listed *listed)
{
    return listed->owner == e->shards.own || (listed->owner == MB__SHARD_ALL && e->shards.own == 0);
}

/* As run_burst(), for the flows of this worker. */
static int run_stretch(struct mb_engine *e, const struct mb__stretch *stretch, uint32_t *frames_done)
{
    struct mb__portion portions[MB_BURST];
    uint32_t probably[MB__BATCH + MB__AHEAD];
    struct mb__burst *b = &e->burst;
    uint64_t base = e->stats.frames;
    int err = 0, at = 0, next = 0, count;
    uint32_t done = mb__decode_stretch(e->decoder, &e->shards, TICK_SHIFT, stretch, e->source, leaves_brief(e), b,
                                       portions, &count);
    prefetch_burst(e, probably);
    for (; next < count && err >= 0 && !e->stop; next++) {
        const struct mb__portion *p = &portions[next];
        int places = (int)p->packets;
        prefetch_flows(e, at + MB__AHEAD, places, probably);
        note_frame(e, stretch->link, base, p->frame, p->listed->before);
        if (counts(e, p->listed)) {
            e->stats.frame_bytes += p->listed->frame.wirelen;
            e->stats.backward_time += p->listed->frame.ts < p->listed->before;
        }
        err = clock_to(e, p->ts);
        if (err >= 0 && places > 0)
            err = process_portion(e, stretch->link, p, at, &probably[at]);
        at += places;
    }
    bool all = next == count && err >= 0;
    if (all)
        e->stats.frames = base + done;
    else
        done = (uint32_t)(e->stats.frames - base);
    note_burst(e, stretch->link, done, all);
    mb__decoder_release(e->decoder);
    *frames_done = done;
    return err;
}

/* All of a stretch, or up to a stop. */
static int run_list(struct mb_engine *e, struct mb__stretch stretch)
{
    int err;
    do {
        uint32_t step;
        err = run_stretch(e, &stretch, &step);
        stretch.first += step;
        stretch.frames -= step;
        for (; stretch.count > 0 && stretch.listed->place < stretch.first; stretch.count--)
            stretch.listed++;
    } while (stretch.frames > 0 && err >= 0 && !e->stop);
    return err;
}

void mb__engine_join(struct mb_engine *e, uint32_t count, uint32_t own, _Atomic uint64_t *progress)
{
    e->shards = (struct mb__shards){.count = count, .own = own, .key = &e->key};
    e->shards.joins = e->config.icmp_joins ? &e->config : NULL;
    e->progress = progress;
    mb__decoder_share(e->decoder, own == 0 ? &e->stats : &e->uncounted);
}

/* For whoever reads a chunk of the capture: struct mb__lister. */
static bool list_frames(void *arg, int link, const struct mb_frame *frames, uint32_t n, bool known,
                        struct mb__lists *lists)
{
    const struct mb_engine *e = arg;
    if (!known)
        lists->latest = mb__decoder_now(e->decoder);
    return mb__list_frames(e->decoder, &e->shards, link, TICK_SHIFT, frames, n, lists);
}

/* Frames that this worker alone has found. */
static int run_own(struct mb_engine *e, int link, const struct mb_frame *frames, int n)
{
    struct mb__listed list[MB_BURST];
    mb__list_all(e->decoder, &e->shards, link, frames, (uint32_t)n, list);
    return run_list(
        e, (struct mb__stretch){.listed = list, .count = (uint32_t)n, .frames = (uint32_t)n, .link = link});
}

static int run_sheet(struct mb_engine *e, const struct mb__sheet *sheet)
{
    if (sheet->frame != NULL)
        return run_own(e, sheet->link, sheet->frame, sheet->n);
    return run_list(e, (struct mb__stretch){.listed = sheet->listed,
                                            .count = sheet->count,
                                            .first = sheet->first,
                                            .frames = (uint32_t)sheet->n,
                                            .latest = sheet->latest,
                                            .link = sheet->link});
}

/* ---- the run -------------------------------------------------------------- */

static int run_frames(struct mb_engine *e, int link, const struct mb_frame *frames, int n)
{
    int err = 0;
    for (int done = 0, step = 0; done < n && err >= 0 && (done == 0 || !e->stop); done += step)
        err = run_burst(e, link, frames + done, n - done, &step);
    return err;
}

static int run(struct mb_engine *e, const struct mb__sheet *sheet)
{
    int err = e->sealed ? 0 : seal(e);
    if (err >= 0 && e->running)
        err = mb__engine_fail(e, MB_ESTATE, "a callback cannot feed packets to its own engine");
    if (err < 0)
        return err;
    e->running = true;
    err = e->shards.count > 1 ? run_sheet(e, sheet) : run_frames(e, sheet->link, sheet->frame, sheet->n);
    e->running = false;
    return err;
}

int mb_engine_frame(struct mb_engine *e, int linktype, const struct mb_frame *frame)
{
    struct mb__sheet sheet;
    sheet.link = linktype;
    sheet.n = 1;
    sheet.frame = frame;
    return run(e, &sheet);
}

/* Nothing comes just now. Time goes on all the same where packets are stamped
 * by this machine's clock; a capture that arrives slowly has its own. */
static int run_idle(struct mb_engine *e, const struct mb_source *source)
{
    struct timespec now;
    if (!source->live)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    return mb_engine_advance(e, now.tv_sec * SECOND + now.tv_nsec);
}

/* The next frames of |source|: how many, or what mb__source_burst() answers. */
static int next_sheet(struct mb_engine *e, struct mb_source *source, struct mb__sheet *sheet)
{
    if (e->shards.count > 1) {
        const struct mb__lister lister = {list_frames, e};
        return mb__source_sheet(source, &lister, sheet);
    }
    sheet->frame = sheet->own;
    return sheet->n = mb__source_burst(source, sheet->own, MB_BURST, &sheet->link);
}

int mb_engine_run(struct mb_engine *e, struct mb_source *source, uint64_t max_packets)
{
    struct mb__sheet sheet;
    uint64_t done = 0;
    int err = 0;
    while (!e->stop && (max_packets == 0 || done < max_packets)) {
        int n = next_sheet(e, source, &sheet);
        if (n == MB__SOURCE_IDLE) {
            err = run_idle(e, source);
            return err < 0 ? err : 1;
        }
        if (n < 0)
            return mb__engine_fail(e, n, "%s", source->warning[0] ? source->warning : mb_error_text(n));
        if (n == 0) {
            e->source++;
            return 0;
        }
        err = run(e, &sheet);
        if (err < 0)
            return err;
        if (source->ops->counters != NULL)
            source->ops->counters(source, &e->stats.kernel_received, &e->stats.kernel_dropped);
        done += (uint64_t)n;
    }
    return e->stop ? 0 : 1;
}

/* ---- the end -------------------------------------------------------------- */

/* A flow and, beside it so that sorting does not look at the flow, its number. */
struct ending {
    uint64_t id;
    struct mb_flow *flow;
};

static int by_id(const void *a, const void *b)
{
    const struct ending *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

int mb_engine_finish(struct mb_engine *e)
{
    int err = e->sealed ? 0 : seal(e);
    size_t n = 0, count = err < 0 ? 0 : e->flows.pool.used;
    struct ending *endings = malloc((count + 1) * sizeof *endings);
    if (err < 0 || endings == NULL) {
        free(endings);
        return err < 0 ? err : mb__engine_fail(e, MB_ENOMEM, "%s", mb_error_text(MB_ENOMEM));
    }
    for (struct mb_flow *flow = NULL; n < count && (flow = mb__flows_each(&e->flows, flow)) != NULL;)
        endings[n++] = (struct ending){flow->id, flow};
    qsort(endings, n, sizeof *endings, by_id);
    mb__outputs_ending(e->outputs);
    e->running = true;
    e->order = (struct mb__order){.frame = MB__FRAME_END};
    for (size_t i = 0; i < n; i++) {
        if (i + ENDING_AHEAD < n)
            mb__pool_prefetch(&e->flows.pool, mb__pool_number(&e->flows.pool, endings[i + ENDING_AHEAD].flow));
        e->order.flow = endings[i].id;
        int failed = mb__conversation_end(e, endings[i].flow, MB_END_SHUTDOWN);
        if (failed < 0 && err >= 0)
            err = failed;
    }
    e->running = false;
    free(endings);
    mb__decoder_finish(e->decoder);
    e->order = (struct mb__order){.frame = MB__FRAME_END, .step = MB__STEP_LAST};
    int failed = mb__outputs_finish(e->outputs);
    return err < 0 ? err : failed;
}

void mb_engine_stop(struct mb_engine *e)
{
    e->stop = true;
}

bool mb_engine_stopped(const struct mb_engine *e)
{
    return e->stop;
}

/* ---- questions ------------------------------------------------------------ */

const char *mb_engine_errmsg(const struct mb_engine *e)
{
    return e->errmsg;
}

int64_t mb_engine_now(const struct mb_engine *e)
{
    return e->now;
}

void mb_engine_set_writer(struct mb_engine *e, struct mb_writer *w)
{
    e->writer = w;
}

void mb_engine_stats(const struct mb_engine *e, struct mb_stats *stats)
{
    *stats = e->stats;
    stats->stream_memory = e->waiting.used + e->parsing.used + e->fragments.used;
    stats->stream_memory_peak = e->waiting.peak + e->parsing.peak + e->fragments.peak;
    stats->memory_refused = e->parsing.refused;
    if (e->sealed) {
        stats->flows_active = e->flows.pool.used;
        stats->flow_memory = mb__flows_memory(&e->flows);
    }
}

struct mb__order *mb__engine_order(const struct mb_engine *e)
{
    return (struct mb__order *)&e->order;
}

struct mb__condition *mb__engine_condition(const struct mb_engine *e)
{
    return (struct mb__condition *)&e->condition;
}

int64_t mb__engine_began(const struct mb_engine *e)
{
    return e->began;
}

struct mb__outputs **mb__engine_outputs(const struct mb_engine *e)
{
    return (struct mb__outputs **)&e->outputs;
}

uint64_t mb__engine_max_memory(const struct mb_engine *e)
{
    return e->config.max_memory;
}

void mb__engine_each_flow(const struct mb_engine *e, void (*fn)(const struct mb_flow *flow, void *arg), void *arg)
{
    if (!e->sealed)
        return;
    for (const struct mb_flow *flow = NULL; (flow = mb__flows_each(&e->flows, flow)) != NULL;)
        fn(flow, arg);
}
