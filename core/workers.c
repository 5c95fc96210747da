/* SPDX-License-Identifier: BSD-3-Clause */
/* workers -- several processes, one capture: the parts joined, their sums taken
 *
 *   parent:  mb_workers_new(), opens source, outputs, engine, rules
 *      |fork
 *      +---- worker 0: mb_workers_join(), runs to the end, mb_workers_leave()
 *      +---- worker 1: the same                 |            |
 *      |                                        | lanes      | mb_engine_result()
 *   parent:  mb_workers_merge() until all have left  <-------+
 *            mb_engine_add() of each result
 *
 * Each worker has the parent's engine, copied by the fork, and of its flows those
 * of its shard (packet/shard.h). It numbers all frames, so that clocks and numbers
 * are the same everywhere, and decodes its own: whoever reads a part of the capture
 * (io/tap.h) finds for all of them which those are (base/listed.h), or each worker
 * reads and looks for itself. What it writes goes through lanes (io/lane.h) to the
 * parent, which alone writes to files. What thresholds of rules let through is for
 * the parent to say (detect/decide.h).
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/say.h"
#include "detect/decide.h"
#include "engine.h"
#include "io/lane.h"
#include "io/tap.h"
#include "io/source.h"
#include "io/writer.h"

#define MAX_WAYS 32 /* outputs, a writer, and the count of alerts */

struct shared {
    struct mb__bell bell; /* the parent's: a worker has something for it */
    struct mb__lane_worker worker[MB_WORKERS_MAX];
    struct mb__lane_ends ends[MAX_WAYS][MB_WORKERS_MAX];
};

/* One output or the writer, and its lanes; neither of them: where alerts are
 * counted that depend on thresholds. */
struct way {
    struct mb_output *output;
    struct mb_writer *writer;
    struct mb__decider *decider; /* NULL: no rules */
    struct mb__lane lane[MB_WORKERS_MAX];
    struct mb__merge merge;
};

struct mb_workers {
    unsigned count;
    unsigned own; /* in a worker: which one it is */
    unsigned ways;
    struct mb__tap *tap;
    bool apart; /* sources are read by each worker for itself, not through the tap */
    struct shared *shared;
    struct way way[MAX_WAYS];
};

struct mb_workers *mb_workers_new(unsigned count, char *err)
{
    if (count == 0 || count > MB_WORKERS_MAX) {
        mb__say(MB_EINVAL, err, "there are 1 to %d workers", MB_WORKERS_MAX);
        return NULL;
    }
    struct mb_workers *w = calloc(1, sizeof *w);
    if (w != NULL) {
        w->count = count;
        w->tap = mb__tap_new(count);
        w->shared = mb__shared_new(sizeof *w->shared);
    }
    if (w == NULL || w->tap == NULL || w->shared == NULL) {
        mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
        mb_workers_free(w);
        return NULL;
    }
    return w;
}

void mb_workers_free(struct mb_workers *w)
{
    if (w == NULL)
        return;
    for (unsigned n = 0; n < w->ways; n++) {
        for (unsigned i = 0; i < w->count; i++)
            mb__lane_fini(&w->way[n].lane[i]);
        mb__decider_free(w->way[n].decider);
    }
    mb__shared_free(w->shared, sizeof *w->shared);
    mb__tap_free(w->tap);
    free(w);
}

struct mb_source *mb_workers_source(struct mb_workers *w, const char *path, char *err)
{
    return w->apart ? mb__source_apart(path, err) : mb__source_tap(w->tap, path, err);
}

bool mb_workers_apart(struct mb_workers *w, const struct mb_engine *e)
{
    return w->apart = e->detect != NULL;
}

static int add_way(struct mb_workers *w, struct mb_output *o, struct mb_writer *writer)
{
    if (w->ways == MAX_WAYS)
        return MB_ELIMIT;
    struct way *way = &w->way[w->ways];
    *way = (struct way){.output = o, .writer = writer};
    way->merge = (struct mb__merge){.lane = way->lane, .worker = w->shared->worker, .count = w->count};
    bool made = true;
    for (unsigned i = 0; i < w->count; i++) {
        way->lane[i].ends = &w->shared->ends[w->ways][i];
        way->lane[i].bell = &w->shared->bell;
        made &= mb__lane_init(&way->lane[i]);
    }
    w->ways++; /* what was made is freed with the rest */
    return made ? 0 : MB_ENOMEM;
}

int mb_workers_output(struct mb_workers *w, struct mb_output *o)
{
    return add_way(w, o, NULL);
}

int mb_workers_writer(struct mb_workers *w, struct mb_writer *writer)
{
    return add_way(w, NULL, writer);
}

int mb_workers_rules(struct mb_workers *w, struct mb_engine *e)
{
    int err = e->detect != NULL ? mb__detect_divide(e->detect) : 0;
    if (e->detect != NULL && err == 0)
        err = add_way(w, NULL, NULL);
    for (unsigned n = 0; n < w->ways && e->detect != NULL && err == 0; n++) {
        struct way *way = &w->way[n];
        way->decider = mb__decider_new(e->detect);
        way->merge.decide = mb__decide;
        way->merge.decide_arg = way->decider;
        err = way->decider == NULL ? MB_ENOMEM : 0;
    }
    return err;
}

/* ---- in a worker ---------------------------------------------------------- */

/* Each worker has its share of what is limited in all. */
static void share_limits(struct mb_engine *e, unsigned count)
{
    e->config.max_flows = e->config.max_flows / count > 0 ? e->config.max_flows / count : 1;
    e->config.max_memory /= count;
    e->waiting.limit /= count;
    e->parsing.limit /= count; /* fragments are everybody's */
}

void mb_workers_join(struct mb_workers *w, unsigned own, struct mb_engine *e)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would take what it writes */
    w->own = own;
    mb__tap_join(w->tap, own);
    mb__engine_join(e, w->count, own, &w->shared->worker[own].frames);
    share_limits(e, w->count);
    for (unsigned n = 0; n < w->ways; n++) {
        struct mb__lane *lane = &w->way[n].lane[own];
        lane->worker = &w->shared->worker[own];
        lane->order = mb__engine_order(e);
        lane->condition = mb__engine_condition(e);
        if (w->way[n].output != NULL)
            mb__output_lane(w->way[n].output, lane);
        else if (w->way[n].writer != NULL)
            mb__writer_lane(w->way[n].writer, lane);
        else
            mb__detect_share(e->detect, mb__engine_condition(e), lane);
    }
}

void mb_workers_leave(struct mb_workers *w, const struct mb_engine *e, bool failed)
{
    struct mb__lane_worker *own = &w->shared->worker[w->own];
    if (failed) {
        own->failed = *mb__engine_order(e);
        atomic_store(&own->has_failed, 1);
    }
    mb__tap_leave(w->tap);
    atomic_store(&own->left, 1);
    mb__bell_ring(&w->shared->bell);
}

/* ---- in the parent -------------------------------------------------------- */

static bool all_left(const struct mb_workers *w)
{
    for (unsigned i = 0; i < w->count; i++)
        if (!atomic_load(&w->shared->worker[i].left))
            return false;
    return true;
}

/* Takes what is in order from all lanes: how many bytes, or < 0. */
static int64_t take_all(struct mb_workers *w)
{
    int64_t bytes = 0;
    for (unsigned n = 0; n < w->ways; n++) {
        struct way *way = &w->way[n];
        struct mb__drain *out = way->output != NULL   ? mb__output_drain(way->output)
                                : way->writer != NULL ? mb__writer_drain(way->writer)
                                                      : NULL;
        int64_t taken = mb__merge_take(&way->merge, out);
        if (taken < 0)
            return taken;
        bytes += taken;
    }
    return bytes;
}

int mb_workers_merge(struct mb_workers *w, unsigned ms)
{
    uint32_t seen = mb__bell_seen(&w->shared->bell);
    bool over = all_left(w);
    int64_t bytes = take_all(w);
    if (bytes < 0)
        return (int)bytes;
    if (bytes > 0)
        return 1;
    if (over)
        return 0;
    mb__bell_wait(&w->shared->bell, seen, ms);
    return 1;
}

/* What only the parent could decide counts for its rules. */
void mb_workers_count(const struct mb_workers *w, struct mb_engine *e)
{
    struct mb_detect_stats decided = {0};
    for (unsigned n = 0; n < w->ways; n++)
        if (w->way[n].output == NULL && w->way[n].writer == NULL)
            mb__decider_count(w->way[n].decider, &decided.alerts, &decided.suppressed);
    if (e->detect != NULL)
        mb__detect_add(e->detect, &decided);
}

bool mb_workers_left(const struct mb_workers *w, unsigned n)
{
    const struct mb__lane_worker *worker = &w->shared->worker[n];
    return atomic_load(&worker->left) || atomic_load(&worker->has_failed); /* which it says a moment before */
}

bool mb_workers_failed(const struct mb_workers *w)
{
    const struct mb__lane_worker *first = NULL;
    for (unsigned i = 0; i < w->count; i++) {
        const struct mb__lane_worker *worker = &w->shared->worker[i];
        if (atomic_load(&worker->has_failed) &&
            (first == NULL || mb__order_before(&worker->failed, &first->failed)))
            first = worker;
    }
    for (unsigned i = 0; i < w->count && first != NULL; i++) {
        const struct mb__lane_worker *worker = &w->shared->worker[i];
        if (!atomic_load(&worker->left) && atomic_load(&worker->frames) < first->failed.frame)
            return false;
    }
    return first != NULL;
}

void mb_engine_where(const struct mb_engine *e, uint64_t where[3])
{
    const struct mb__order *order = mb__engine_order(e);
    where[0] = order->frame;
    where[1] = order->step;
    where[2] = order->flow;
}

uint64_t mb_workers_frames(const struct mb_workers *w)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < w->count; i++) {
        uint64_t frames = atomic_load(&w->shared->worker[i].frames);
        least = frames < least ? frames : least;
    }
    return least;
}

/* ---- sums ----------------------------------------------------------------- */

/* What one worker counted, as bytes: this, then for each tally of the engine a
 * struct tally_part and its rows. */
struct result {
    uint32_t magic;
    uint32_t tallies;
    int64_t now;
    int64_t began;
    uint64_t refused; /* buffers that there was no memory for */
    struct mb_stats stats;
    struct mb_detect_stats detect;
};

struct tally_part {
    uint64_t rows;
    uint64_t evicted;
};

#define MAGIC 0x31524b57u

size_t mb_engine_result(const struct mb_engine *e, void *buf, size_t size)
{
    struct result r = {.magic = MAGIC, .now = e->now, .began = e->began};
    mb_engine_stats(e, &r.stats);
    r.refused = e->waiting.refused + e->parsing.refused;
    if (e->detect != NULL)
        mb_detect_stats(e->detect, &r.detect);
    struct mb_tally *t;
    size_t need = sizeof r;
    for (; (t = mb__outputs_tally(e->outputs, r.tallies)) != NULL; r.tallies++)
        need += sizeof(struct tally_part) + mb_tally_size(t) * sizeof(struct mb_tally_row);
    if (buf == NULL || size < need)
        return need;
    uint8_t *p = buf;
    memcpy(p, &r, sizeof r);
    p += sizeof r;
    for (uint32_t n = 0; n < r.tallies; n++) {
        t = mb__outputs_tally(e->outputs, n);
        struct tally_part part = {mb_tally_size(t), mb_tally_evicted(t)};
        memcpy(p, &part, sizeof part);
        memcpy(p + sizeof part, mb__tally_all(t), part.rows * sizeof(struct mb_tally_row));
        p += sizeof part + part.rows * sizeof(struct mb_tally_row);
    }
    return need;
}

/* Frames are numbered by all workers, all else is counted by who did the work. */
static void add_stats(struct mb_stats *sum, const struct mb_stats *s)
{
    uint64_t frames = sum->frames > s->frames ? sum->frames : s->frames;
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)s;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
    sum->frames = frames;
}

_Static_assert(sizeof(struct mb_stats) % sizeof(uint64_t) == 0, "all counters are 64 bits wide");

/* Adds the rows at |p|, |left| bytes at most: where they end, or NULL. */
static const uint8_t *add_tally(struct mb_tally *t, const uint8_t *p, size_t left, int *err)
{
    struct tally_part part;
    *err = MB_EINVAL;
    if (left < sizeof part)
        return NULL;
    memcpy(&part, p, sizeof part);
    left -= sizeof part;
    p += sizeof part;
    if (part.rows > left / sizeof(struct mb_tally_row))
        return NULL;
    for (uint64_t i = 0; i < part.rows; i++, p += sizeof(struct mb_tally_row)) {
        struct mb_tally_row row;
        memcpy(&row, p, sizeof row);
        if ((*err = mb__tally_add_row(t, &row)) < 0)
            return NULL;
    }
    mb__tally_add_evicted(t, part.evicted);
    *err = 0;
    return p;
}

/* Whether the worker met a limit that all flows share. */
static bool met_limit(const struct mb_engine *e, const struct result *r)
{
    bool groups = false;
    struct mb_tally *t;
    for (uint32_t n = 0; (t = mb__outputs_tally(e->outputs, n)) != NULL; n++)
        groups |= mb__tally_let_groups_go(t);
    return groups || r->refused > 0 || r->stats.flows_ended[MB_END_EVICTED] > 0;
}

int mb_engine_add(struct mb_engine *e, const void *result, size_t len)
{
    struct result r;
    const uint8_t *p = result, *end = p + len;
    if (len < sizeof r)
        return MB_EINVAL;
    memcpy(&r, p, sizeof r);
    p += sizeof r;
    if (r.magic != MAGIC)
        return MB_EINVAL;
    for (uint32_t n = 0; n < r.tallies; n++) {
        struct mb_tally *t = mb__outputs_tally(e->outputs, n);
        int err = MB_EINVAL;
        if (t == NULL || (p = add_tally(t, p, (size_t)(end - p), &err)) == NULL)
            return err;
    }
    add_stats(&e->stats, &r.stats);
    e->parsing.refused += r.stats.memory_refused;
    e->parsing.peak += r.stats.stream_memory_peak;
    if (e->detect != NULL)
        mb__detect_add(e->detect, &r.detect);
    e->now = r.now > e->now ? r.now : e->now;
    e->began = e->began == 0 ? r.began : e->began;
    return met_limit(e, &r);
}
