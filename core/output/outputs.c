/* SPDX-License-Identifier: BSD-3-Clause */
/* outputs -- the records and tallies of one engine, fed by its flow_end events
 *
 * All of them hang on one monitor: a flow that ends costs one callback however
 * many there are. Round trip times are measured, and application protocols
 * looked for, only if an output has them by definition.
 */
#include "output/output.h"

#include <stdio.h>
#include <stdlib.h>

#include "detect/detect.h"

#define MAX_OUTPUTS 8 /* of each kind */

struct log {
    int format; /* enum mb_format, but not ZEEK */
    struct mb_output *to;
};

struct mb__outputs {
    struct mb_engine *engine;
    struct mb_monitor *monitor;
    struct log logs[MAX_OUTPUTS];
    struct mb__zeek *zeeks[MAX_OUTPUTS];
    struct mb_tally *tallies[MAX_OUTPUTS];
    int log_count, zeek_count, tally_count;
    bool ending; /* the run is over */
    struct mb__text text;
    struct mb__iso_cache iso;
};

static int explain(char *err, int code)
{
    if (err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(code));
    return code;
}

/* ---- application protocols --------------------------------------------------- */

/* Being listened to is enough: what comes of it is flow->app_proto. */
static int on_protocol(struct mb_event *ev, void *arg)
{
    (void)ev;
    (void)arg;
    return 0;
}

static int start_recognising(struct mb__outputs *o)
{
    return mb_on(o->monitor, NULL, MB_EV_PROTOCOL, MB_HOOK_NONE, on_protocol, o);
}

/* ---- the end of a flow ------------------------------------------------------ */

static void put_record(const struct mb_engine *e, struct mb__text *t, const struct mb_flow *flow, int format,
                       struct mb__iso_cache *iso)
{
    const struct mb__outputs *o = *mb__engine_outputs(e);
    const struct mb__rtts *rtts = mb__engine_rtts(e, flow);
    switch (format) {
    case MB_FORMAT_EVE: mb__record_eve(t, flow, o != NULL && o->ending, iso); break;
    case MB_FORMAT_CSV: mb__record_csv(t, flow, rtts, iso); break;
    default: mb__record_json(t, flow, rtts, iso); break;
    }
}

static int write_record(struct mb__outputs *o, const struct log *log, const struct mb_flow *flow)
{
    mb__text_clear(&o->text);
    put_record(o->engine, &o->text, flow, log->format, &o->iso);
    return mb__text_lost(&o->text) != 0 ? MB_ENOMEM
                                        : mb_output_write(log->to, o->text.start, mb__text_len(&o->text));
}

/* Whether a rule alerted on the flow is known where all alerts are: the record
 * in both ways, of which one is kept. */
static int write_unsure(struct mb__outputs *o, const struct log *log, struct mb_flow *flow)
{
    struct mb__condition *c = mb__engine_condition(o->engine);
    *c = (struct mb__condition){.kind = MB__CONDITION_NOT_ALERTED, .flow = flow->id};
    int err = write_record(o, log, flow);
    c->kind = MB__CONDITION_ALERTED;
    flow->flags |= MB_FLOW_ALERTED;
    if (err == 0)
        err = write_record(o, log, flow);
    flow->flags &= (uint8_t)~MB_FLOW_ALERTED;
    c->kind = MB__CONDITION_NONE;
    return err;
}

static int on_flow_end(struct mb_event *ev, void *arg)
{
    struct mb__outputs *o = arg;
    int err = 0;
    for (int n = 0; n < o->tally_count && err == 0; n++)
        err = mb__tally_add(o->tallies[n], ev->flow);
    const struct mb_detect *d = *mb__engine_detect(o->engine);
    bool unsure = d != NULL && mb__detect_unsure(d, ev->flow);
    for (int n = 0; n < o->log_count && err == 0; n++)
        err = unsure ? write_unsure(o, &o->logs[n], ev->flow) : write_record(o, &o->logs[n], ev->flow);
    return err < 0 ? err : 0;
}

/* ---- life ------------------------------------------------------------------- */

/* The outputs of |e|, made if there are none yet. */
static struct mb__outputs *outputs_of(struct mb_engine *e, char *err)
{
    struct mb__outputs **slot = mb__engine_outputs(e), *o;
    if (*slot != NULL)
        return *slot;
    o = calloc(1, sizeof *o);
    if (o == NULL) {
        explain(err, MB_ENOMEM);
        return NULL;
    }
    o->engine = e;
    mb__text_init(&o->text);
    o->monitor = mb_monitor_new(e, "output", err);
    if (o->monitor == NULL || mb_on(o->monitor, NULL, MB_EV_FLOW_END, MB_HOOK_NONE, on_flow_end, o) < 0) {
        mb__outputs_free(o);
        return NULL;
    }
    *slot = o;
    return o;
}

size_t mb__outputs_flow_bytes(const struct mb__outputs *o)
{
    return o == NULL ? 0 : (size_t)o->zeek_count * mb__zeek_flow_bytes();
}

void mb__outputs_ending(struct mb__outputs *o)
{
    if (o != NULL)
        o->ending = true;
}

int mb__outputs_finish(struct mb__outputs *o)
{
    int err = 0;
    for (int n = 0; o != NULL && n < o->zeek_count && err == 0; n++)
        err = mb__zeek_finish(o->zeeks[n]);
    return err;
}

struct mb_tally *mb__outputs_tally(const struct mb__outputs *o, uint32_t n)
{
    return o != NULL && n < (uint32_t)o->tally_count ? o->tallies[n] : NULL;
}

void mb__outputs_free(struct mb__outputs *o)
{
    if (o == NULL)
        return;
    for (int n = 0; n < o->tally_count; n++)
        mb__tally_free(o->tallies[n]);
    for (int n = 0; n < o->zeek_count; n++)
        mb__zeek_free(o->zeeks[n]);
    mb__text_fini(&o->text);
    free(o);
}

/* ---- logs ------------------------------------------------------------------- */

static int log_zeek(struct mb__outputs *o, struct mb_output *to, char *err)
{
    if (o->zeek_count == MAX_OUTPUTS)
        return explain(err, MB_ELIMIT);
    struct mb__zeek *z = mb__zeek_new(o->engine, to, err);
    if (z == NULL)
        return MB_ENOMEM;
    o->zeeks[o->zeek_count++] = z;
    return 0;
}

static int log_lines(struct mb__outputs *o, int format, struct mb_output *to, char *err)
{
    if (o->log_count == MAX_OUTPUTS)
        return explain(err, MB_ELIMIT);
    int failed = format == MB_FORMAT_EVE ? start_recognising(o) : mb__engine_measure(o->engine);
    if (failed == 0 && format == MB_FORMAT_CSV) {
        mb__text_clear(&o->text);
        mb__record_csv_header(&o->text);
        failed = mb_output_write(to, o->text.start, mb__text_len(&o->text));
    }
    if (failed < 0)
        return explain(err, failed);
    o->logs[o->log_count++] = (struct log){format, to};
    return 0;
}

int mb_flow_log(struct mb_engine *e, int format, struct mb_output *to, char *err)
{
    if (format < MB_FORMAT_JSON || format > MB_FORMAT_ZEEK)
        return explain(err, MB_EINVAL);
    struct mb__outputs *o = outputs_of(e, err);
    if (o == NULL)
        return MB_ENOMEM;
    return format == MB_FORMAT_ZEEK ? log_zeek(o, to, err) : log_lines(o, format, to, err);
}

size_t mb_flow_record(const struct mb_engine *e, const struct mb_flow *flow, int format, char *buf, size_t size)
{
    const struct mb__outputs *o = *mb__engine_outputs(e);
    struct mb__iso_cache iso = {0};
    struct mb__text t;
    mb__text_init_fixed(&t, buf, size);
    if (format == MB_FORMAT_ZEEK)
        mb__zeek_record(o != NULL && o->zeek_count > 0 ? o->zeeks[0] : NULL, &t, flow);
    else
        put_record(e, &t, flow, format, &iso);
    return mb__text_len(&t) + mb__text_lost(&t);
}

/* ---- tallies ------------------------------------------------------------------ */

struct mb_tally *mb_tally_new(struct mb_engine *e, int key, size_t max_rows, char *err)
{
    struct mb__outputs *o = outputs_of(e, err);
    if (o == NULL)
        return NULL;
    bool known = key >= MB_TALLY_PROTOCOL && key <= MB_TALLY_FLOW;
    if (!known || o->tally_count == MAX_OUTPUTS) {
        explain(err, known ? MB_ELIMIT : MB_EINVAL);
        return NULL;
    }
    int failed = key == MB_TALLY_APP ? start_recognising(o) : 0;
    if (max_rows == 0)
        max_rows = mb__tally_rows(mb__engine_max_memory(e) / 16);
    struct mb_tally *t = failed < 0 ? NULL : mb__tally_new(o, key, max_rows);
    if (t == NULL) {
        explain(err, failed < 0 ? failed : MB_ENOMEM);
        return NULL;
    }
    o->tallies[o->tally_count++] = t;
    return t;
}

/* A tally and the flows that have not ended yet. */
struct present {
    const struct mb_tally *ended;
    struct mb_tally *all; /* made for the first live flow */
    bool failed;
};

static void add_live(const struct mb_flow *flow, void *arg)
{
    struct present *present = arg;
    if (present->failed)
        return;
    if (present->all == NULL)
        present->all = mb__tally_copy(present->ended);
    present->failed = present->all == NULL || mb__tally_add(present->all, flow) < 0;
}

size_t mb_tally_top(struct mb_tally *t, const char *by, struct mb_tally_row *rows, size_t max)
{
    struct present present = {.ended = t};
    mb__engine_each_flow(mb__tally_owner(t)->engine, add_live, &present);
    size_t filled = mb__tally_top(present.all != NULL ? present.all : t, by, rows, max);
    mb__tally_free(present.all);
    return filled;
}
