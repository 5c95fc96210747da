/* SPDX-License-Identifier: BSD-3-Clause */
/* engine -- the loop that joins the floors, and the life around it
 *
 *   new --> monitors, outputs, rules --> sealed --> run ----------------> finish --> free
 *                                                   ^  |
 *                        source -- a burst of frames   frames.c: flows, events, verdicts
 *                                                      clock: flows expire, timers run out
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
    if (e->measures) {
        e->rtts_slot = sizeof(struct mb_flow) + extra;
        extra += sizeof(struct mb__rtts);
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

int mb__engine_tick(struct mb_engine *e)
{
    e->tick = e->now >> MB__TICK_SHIFT;
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

int mb_engine_advance(struct mb_engine *e, int64_t ts)
{
    int err = e->sealed ? 0 : seal(e);
    if (err < 0)
        return err;
    e->running = true;
    err = mb__engine_clock(e, ts > MB__LATEST ? MB__LATEST : ts);
    e->running = false;
    return err;
}

/* ---- the run -------------------------------------------------------------- */

static int run(struct mb_engine *e, const struct mb__sheet *sheet)
{
    int err = e->sealed ? 0 : seal(e);
    if (err >= 0 && e->running)
        err = mb__engine_fail(e, MB_ESTATE, "a callback cannot feed packets to its own engine");
    if (err < 0)
        return err;
    e->running = true;
    err = mb__frames_run(e, sheet);
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

int mb_engine_run(struct mb_engine *e, struct mb_source *source, uint64_t max_packets)
{
    struct mb__sheet sheet;
    uint64_t done = 0;
    int err = 0;
    while (!e->stop && (max_packets == 0 || done < max_packets)) {
        int n = mb__frames_next(e, source, &sheet);
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

int mb__engine_measure(struct mb_engine *e)
{
    if (e->sealed && !e->measures)
        return MB_ESTATE;
    e->measures = true;
    return 0;
}

const struct mb__rtts *mb__engine_rtts(const struct mb_engine *e, const struct mb_flow *flow)
{
    return e->rtts_slot != 0 ? mb__rtts_of(e, flow) : NULL;
}

void mb__engine_each_flow(const struct mb_engine *e, void (*fn)(const struct mb_flow *flow, void *arg), void *arg)
{
    if (!e->sealed)
        return;
    for (const struct mb_flow *flow = NULL; (flow = mb__flows_each(&e->flows, flow)) != NULL;)
        fn(flow, arg);
}
