/* SPDX-License-Identifier: BSD-3-Clause */
/* timer -- timers of monitors: once, periodic, bound to a flow
 *
 *   pool slot --> wheel --> due now, sorted by (time, flow, id) --> callback
 *      |
 *      +--> list in the bucket of its flow: ends with the flow
 *
 * The wheel groups timers by ticks of a millisecond; those that fire together
 * are sorted, so the order is that of their times; at one time those of no flow
 * come first, then those of the older flow, and those of one flow as they were
 * made. A timer's id holds its slot in the low bits, so that cancelling needs
 * no search, and a sequence number above, so that an old id finds nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "event/registry.h"

#define SLOT_BITS 22
#define FIRST_BUCKETS 64

_Static_assert(MB__MAX_TIMERS < 1u << SLOT_BITS, "a slot number fits into an id");

/* A timer taken from the wheel to fire. */
struct mb__due {
    int64_t due;
    uint64_t flow; /* its id; 0: none */
    int64_t id;
};

static struct mb__timer *timer_at(const struct mb__events *es, uint32_t slot)
{
    return mb__pool_at(&es->timers.pool, slot);
}

static uint32_t slot_of(int64_t id)
{
    return (uint32_t)(id & ((1u << SLOT_BITS) - 1));
}

/* The timer with |id|; NULL if it is over. */
static struct mb__timer *timer_find(const struct mb__events *es, int64_t id)
{
    uint32_t slot = slot_of(id);
    if (id <= 0 || slot == 0 || slot > es->timers.pool.touched)
        return NULL;
    struct mb__timer *t = timer_at(es, slot);
    return t->id == id ? t : NULL;
}

static int64_t add_saturated(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int start(struct mb__timers *ts)
{
    if (ts->wheel != NULL)
        return 0;
    struct mb__wheel *wheel = malloc(sizeof *wheel);
    if (wheel == NULL)
        return MB_ENOMEM;
    int err = mb__pool_init(&ts->pool, sizeof(struct mb__timer), MB__MAX_TIMERS);
    if (err == 0 && (err = mb__wheel_init(wheel, &ts->pool, offsetof(struct mb__timer, link), MB__WHEEL_FIFO)) < 0)
        mb__pool_fini(&ts->pool);
    if (err < 0) {
        free(wheel);
        return err;
    }
    ts->wheel = wheel;
    return 0;
}

void mb__timers_fini(struct mb__events *es)
{
    struct mb__timers *ts = &es->timers;
    if (ts->wheel != NULL) {
        mb__wheel_fini(ts->wheel);
        mb__pool_fini(&ts->pool);
    }
    free(ts->wheel);
    free(ts->bucket);
    free(ts->due);
    memset(ts, 0, sizeof *ts);
}

/* ---- lists: timers of a flow, timers that wait for the clock ---- */

static uint32_t *flow_bucket(struct mb__timers *ts, const struct mb_flow *flow)
{
    return &ts->bucket[mb__fold((uintptr_t)flow, 0x9e3779b97f4a7c15u) & (ts->buckets - 1)];
}

static void list_put(struct mb__events *es, uint32_t *head, uint32_t slot)
{
    struct mb__timer *t = timer_at(es, slot);
    t->prev = 0;
    t->next = *head;
    if (*head != 0)
        timer_at(es, *head)->prev = slot;
    *head = slot;
}

static void list_take(struct mb__events *es, uint32_t *head, const struct mb__timer *t)
{
    if (t->prev != 0)
        timer_at(es, t->prev)->next = t->next;
    else
        *head = t->next;
    if (t->next != 0)
        timer_at(es, t->next)->prev = t->prev;
}

/* Doubles the table of flow-bound timers when it is full. */
static int make_buckets(struct mb__events *es)
{
    struct mb__timers *ts = &es->timers;
    if (ts->bound < ts->buckets)
        return 0;
    uint32_t old_count = ts->buckets, *old = ts->bucket;
    uint32_t buckets = old_count == 0 ? FIRST_BUCKETS : old_count * 2;
    uint32_t *bucket = calloc(buckets, sizeof *bucket);
    if (bucket == NULL)
        return MB_ENOMEM;
    ts->bucket = bucket;
    ts->buckets = buckets;
    for (uint32_t i = 0; i < old_count; i++) {
        for (uint32_t slot = old[i], next; slot != 0; slot = next) {
            next = timer_at(es, slot)->next;
            list_put(es, flow_bucket(ts, timer_at(es, slot)->flow), slot);
        }
    }
    free(old);
    return 0;
}

/* ---- adding and deleting ---- */

int64_t mb_timer_add(struct mb_monitor *m, struct mb_flow *flow, int64_t after, int64_t period,
                     mb_callback cb, void *arg)
{
    struct mb__events *es = m->es;
    struct mb__timers *ts = &es->timers;
    if (after < 0 || period < 0)
        return MB_EINVAL;
    if (flow != NULL && flow->set == NULL)
        return MB_ESTATE;
    int err = start(ts);
    if (err == 0 && flow != NULL)
        err = make_buckets(es);
    if (err < 0)
        return err;
    uint32_t slot = mb__pool_take(&ts->pool);
    if (slot == 0)
        return MB_ELIMIT;
    struct mb__timer *t = timer_at(es, slot);
    *t = (struct mb__timer){.cb = cb, .arg = arg, .monitor = m, .flow = flow, .period = period};
    t->id = (int64_t)(++ts->sequence << SLOT_BITS | slot);
    t->due = add_saturated(es->now, after);
    t->waiting = es->now == 0;
    if (t->waiting)
        ts->waiting++;
    else
        mb__wheel_add(ts->wheel, slot, t->due, es->now);
    if (flow != NULL) {
        ts->bound++;
        list_put(es, flow_bucket(ts, flow), slot);
    }
    es->wanted |= (uint64_t)1 << MB_EV_TIMER;
    return t->id;
}

static void timer_end(struct mb__events *es, struct mb__timer *t)
{
    struct mb__timers *ts = &es->timers;
    uint32_t slot = slot_of(t->id);
    mb__wheel_del(ts->wheel, slot);
    ts->waiting -= t->waiting;
    if (t->flow != NULL) {
        list_take(es, flow_bucket(ts, t->flow), t);
        ts->bound--;
    }
    t->id = 0;
    mb__pool_give(&ts->pool, slot);
}

int mb_timer_del(struct mb_monitor *m, int64_t timer)
{
    struct mb__timer *t = timer_find(m->es, timer);
    if (t == NULL || t->monitor != m)
        return MB_ENOENT;
    timer_end(m->es, t);
    return 0;
}

void mb__timers_drop(struct mb__events *es, const struct mb_flow *flow, const struct mb_monitor *m)
{
    struct mb__timers *ts = &es->timers;
    if (ts->bound == 0)
        return;
    for (uint32_t slot = *flow_bucket(ts, flow), next; slot != 0; slot = next) {
        struct mb__timer *t = timer_at(es, slot);
        next = t->next;
        if (t->flow == flow && (m == NULL || t->monitor == m))
            timer_end(es, t);
    }
}

/* ---- firing ---- */

void mb__events_order(struct mb__events *es, struct mb__order *order)
{
    es->order = order;
}

int64_t mb__events_next_timer(const struct mb__events *es)
{
    const struct mb__timers *ts = &es->timers;
    if (ts->wheel == NULL)
        return INT64_MAX;
    return ts->waiting != 0 ? INT64_MIN : ts->wheel->next_ts;
}

/* The clock has started: those that waited for it are set. */
static void set_waiting(struct mb__events *es)
{
    struct mb__timers *ts = &es->timers;
    for (uint32_t slot = 1; ts->waiting != 0; slot++) {
        struct mb__timer *t = timer_at(es, slot);
        if (t->id == 0 || !t->waiting)
            continue;
        t->waiting = false;
        ts->waiting--;
        t->due = add_saturated(es->now, t->due);
        mb__wheel_add(ts->wheel, slot, t->due, es->now);
    }
}

static int by_due(const void *a, const void *b)
{
    const struct mb__due *x = a, *y = b;
    if (x->due != y->due)
        return x->due < y->due ? -1 : 1;
    if (x->flow != y->flow)
        return x->flow < y->flow ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Takes all that is due out of the wheel, in order; how many, or MB_ENOMEM. */
static int64_t collect(struct mb__events *es)
{
    struct mb__timers *ts = &es->timers;
    if (ts->pool.used > ts->due_room) { /* room first: nothing may be lost half-way */
        size_t room = (size_t)ts->pool.used * 2;
        struct mb__due *due = realloc(ts->due, room * sizeof *due);
        if (due == NULL)
            return MB_ENOMEM;
        ts->due = due;
        ts->due_room = room;
    }
    size_t n = 0;
    for (uint32_t slot; (slot = mb__wheel_next(ts->wheel, es->now)) != 0; n++) {
        const struct mb__timer *t = timer_at(es, slot);
        ts->due[n] = (struct mb__due){t->due, t->flow != NULL ? t->flow->id : 0, t->id};
    }
    if (n > 1)
        qsort(ts->due, n, sizeof *ts->due, by_due);
    return (int64_t)n;
}

/* Sets a periodic timer for its next turn after now: turns that the clock
 * jumped over are left out, so a jump costs one call. */
static void set_next_turn(struct mb__events *es, struct mb__timer *t)
{
    int64_t turns = (es->now - t->due) / t->period + 1;
    t->due = turns > INT64_MAX / t->period ? INT64_MAX : add_saturated(t->due, turns * t->period);
    mb__wheel_add(es->timers.wheel, slot_of(t->id), t->due, es->now);
}

static int call(struct mb__events *es, struct mb__timer *t, int64_t due)
{
    struct mb_event ev = {.engine = es->engine, .monitor = t->monitor, .flow = t->flow, .record = t->arg};
    ev.ts = due;
    ev.id = ev.base = MB_EV_TIMER;
    if (t->cb != NULL)
        return t->cb(&ev, t->arg);
    es->timer_owner = t->monitor;
    return mb__events_raise(es, &ev);
}

/* Fires the timer |due|, unless it was cancelled in the meantime. */
static int fire(struct mb__events *es, const struct mb__due *due)
{
    struct mb__timer *t = timer_find(es, due->id);
    if (t == NULL)
        return 0;
    if (es->order != NULL) {
        es->order->step = MB__STEP_TIMER | ((uint64_t)due->due & MB__STEP_NUMBER);
        es->order->flow = due->flow;
    }
    if (t->period != 0)
        set_next_turn(es, t);
    int r = call(es, t, due->due);
    t = timer_find(es, due->id);
    if (t != NULL && t->period == 0)
        timer_end(es, t);
    return r;
}

/* Puts what was not fired back, for the next tick. */
static void put_back(struct mb__events *es, const struct mb__due *due, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct mb__timer *t = timer_find(es, due[i].id);
        if (t != NULL)
            mb__wheel_add(es->timers.wheel, slot_of(t->id), t->due, es->now);
    }
}

int mb__events_timers(struct mb__events *es, int64_t now)
{
    struct mb__timers *ts = &es->timers;
    if (now > es->now)
        es->now = now;
    if (ts->wheel == NULL || ts->firing)
        return 0;
    if (ts->waiting != 0 && es->now != 0)
        set_waiting(es);
    if (!mb__wheel_due(ts->wheel, es->now))
        return 0;
    int64_t n = collect(es);
    if (n < 0)
        return (int)n;
    int stop = 0;
    ts->firing = true;
    for (int64_t i = 0; i < n; i++) {
        int r = fire(es, &ts->due[i]);
        if (r < 0) {
            put_back(es, ts->due + i + 1, (size_t)(n - i - 1));
            ts->firing = false;
            return r;
        }
        if (r > 0)
            stop = r;
    }
    ts->firing = false;
    return stop;
}
