/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch -- raises events: walks the steps of a set
 *
 * The set is held while it is walked, so callbacks change registrations as
 * they like: new ones are in another set, which the next event finds. Only if
 * the set of the flow is another one by now, each step is first looked up
 * there, so that nothing removed is called any more.
 */
#include "event/registry.h"

/* One walk. */
struct walk {
    struct mb__events *es;
    struct mb__set *set;
    const struct mb_flow *flow;
    uint32_t program;
    uint64_t version; /* of the registrations for later flows */
};

/* Whether the registrations are others than those being walked. */
static inline bool changed(const struct walk *w)
{
    return w->flow != NULL ? w->flow->set != w->set : w->es->later_version != w->version;
}

static bool in_list(const struct mb__events *es, const struct mb__reg *regs, size_t n, const struct walk *w,
                    const struct mb__step *step)
{
    uint32_t base = es->defs[mb__def_number(es, step->event)].base;
    uint8_t hook = 0;
    if (base == MB_EV_PACKET || base == MB_EV_STATE_CHANGE)
        hook = w->program >= MB_EV_BUILTIN ? MB_HOOK_RCV : MB_HOOK_SND;
    struct mb__reg reg = {step->call, step->arg, step->event, step->monitor->number, hook, 0};
    size_t at = mb__reg_find(regs, n, &reg);
    return at < n && mb__reg_order(&regs[at], &reg) == 0 && regs[at].cb == reg.cb && regs[at].arg == reg.arg;
}

/* Whether callback |step| is still registered. */
static bool registered(const struct walk *w, const struct mb__step *step)
{
    const struct mb__events *es = w->es;
    if (w->flow == NULL)
        return in_list(es, es->later, es->later_count, w, step);
    const struct mb__set *now = w->flow->set;
    return now != NULL && in_list(es, now->regs, now->reg_count, w, step);
}

/* Whether filter |step| still has a listener in its subtree, behind the walk
 * too. */
static bool listened(const struct walk *w, const struct mb__step *step)
{
    const struct mb__set *now = w->flow != NULL ? w->flow->set : mb__template(w->es, NULL);
    return now != NULL && mb__set_find(now, w->program, step->event) != NULL;
}

/* Slow half of the check of a step: false leaves it out. */
static bool still_on(const struct walk *w, const struct mb__step *step, const struct mb_event *ev)
{
    const struct mb__events *es = w->es;
    bool filter = step->monitor == &es->nobody;
    if (ev->base == MB_EV_TIMER && !filter && step->monitor != es->timer_owner)
        return false;
    return !changed(w) || (filter ? listened(w, step) : registered(w, step));
}

/* Runs the steps from |at| to |end|. */
static int walk_steps(const struct walk *w, struct mb_event *ev, uint32_t at, uint32_t end)
{
    const struct mb_monitor *nobody = &w->es->nobody;
    int stop = 0;
    while (at < end) {
        const struct mb__step *step = &w->set->steps[at];
        if ((changed(w) || ev->base == MB_EV_TIMER) && !still_on(w, step, ev)) {
            at = step->skip;
            continue;
        }
        ev->monitor = step->monitor;
        ev->id = step->event;
        int r = step->call(ev, step->arg);
        if (r < 0)
            return r;
        if (step->monitor == nobody) {
            at = r != 0 ? at + 1 : step->skip;
            continue;
        }
        if (r > 0)
            stop = r;
        at++;
    }
    return stop;
}

/* walk_steps() with the set held and the context as it was afterwards. */
static int walk(const struct walk *w, struct mb_event *ev, uint32_t at, uint32_t end)
{
    struct mb_monitor *monitor = ev->monitor;
    uint32_t id = ev->id;
    w->set->uses++;
    int r = walk_steps(w, ev, at, end);
    mb__set_put(w->es, w->set);
    ev->monitor = monitor;
    ev->id = id;
    return r;
}

int mb__events_raise(struct mb__events *es, struct mb_event *ev)
{
    if (ev->ts > es->now)
        es->now = ev->ts;
    struct mb__set *set = ev->flow != NULL ? ev->flow->set : mb__template(es, ev->packet);
    if (set == NULL)
        return ev->flow != NULL ? 0 : MB_ENOMEM;
    struct walk w = {es, set, ev->flow, mb__program(ev->base, ev->hook), es->later_version};
    uint32_t start = set->program[w.program].start, end = set->program[w.program].end;
    return start == end ? 0 : walk(&w, ev, start, end);
}

/* Raises allocated event |event|: all callbacks of its subtree. */
static int raise_allocated(struct mb__events *es, struct mb_event *ev, uint32_t event)
{
    struct mb__set *set = ev->flow != NULL ? ev->flow->set : mb__template(es, ev->packet);
    if (set == NULL)
        return ev->flow != NULL ? 0 : MB_ENOMEM;
    struct walk w = {es, set, ev->flow, mb__program(ev->base, ev->hook), es->later_version};
    const struct mb__step *head = mb__set_find(set, w.program, event);
    return head == NULL ? 0 : walk(&w, ev, (uint32_t)(head - set->steps) + 1, head->skip);
}

int mb_event_raise(struct mb_event *ev, uint32_t event)
{
    if (ev->monitor == NULL)
        return MB_ESTATE;
    struct mb__events *es = ev->monitor->es;
    uint32_t number = mb__def_number(es, event);
    if (number == MB__NO_DEF || number < MB_EV_BUILTIN || es->defs[number].filter != NULL)
        return MB_EINVAL;
    if (es->defs[number].base != ev->base)
        return MB_EINVAL;
    if (es->raising == MB__MAX_RAISE)
        return MB_ELIMIT;
    es->raising++;
    int r = raise_allocated(es, ev, event);
    es->raising--;
    return r;
}
