/* SPDX-License-Identifier: BSD-3-Clause */
/* monitor -- who listens: registrations for later flows and on one flow */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/registry.h"

#define BIT(n) ((uint64_t)1 << (n))

/* Events that are raised without a flow, and so never on one. */
#define FLOWLESS (BIT(MB_EV_RAW) | BIT(MB_EV_ORPHAN))
/* Events that are, or may be, raised without a flow. */
#define GLOBAL (FLOWLESS | BIT(MB_EV_ANOMALY) | BIT(MB_EV_TIMER))

/* ---- the registry ---- */

struct mb__events *mb__events_new(struct mb_engine *engine)
{
    struct mb__events *es = calloc(1, sizeof *es);
    if (es == NULL)
        return NULL;
    es->engine = engine;
    es->nobody.es = es;
    es->nobody.number = UINT8_MAX;
    if (mb__tree_init(es) == 0 && mb__sets_init(es) == 0)
        return es;
    mb__events_free(es);
    return NULL;
}

static void monitor_free(struct mb_monitor *m)
{
    if (m->scope_free != NULL)
        m->scope_free(m->scope_arg);
    free(m->name);
    free(m);
}

void mb__events_free(struct mb__events *es)
{
    if (es == NULL)
        return;
    mb__timers_fini(es);
    mb__sets_fini(es);
    mb__tree_fini(es);
    for (uint32_t i = 0; i < es->monitor_count; i++)
        monitor_free(es->monitors[i]);
    free(es->later);
    free(es);
}

uint64_t mb__events_wanted(const struct mb__events *es)
{
    return es->wanted;
}

const uint64_t *mb__events_global(const struct mb__events *es)
{
    return &es->global;
}

uint32_t mb__events_history(const struct mb__events *es)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < es->monitor_count; i++)
        if (es->monitors[i]->history > most)
            most = es->monitors[i]->history;
    return most;
}

/* ---- monitors ---- */

struct mb_monitor *mb__monitor_new(struct mb__events *es, const char *name, size_t user_offset, char *err)
{
    if (es->monitor_count == MB__MAX_MONITORS) {
        if (err != NULL)
            snprintf(err, MB_ERRBUF_SIZE, "there are already %d monitors, the most possible",
                     MB__MAX_MONITORS);
        return NULL;
    }
    struct mb_monitor *m = calloc(1, sizeof *m);
    char *copy = strdup(name != NULL ? name : "");
    if (m == NULL || copy == NULL) {
        free(m);
        free(copy);
        if (err != NULL)
            snprintf(err, MB_ERRBUF_SIZE, "out of memory");
        return NULL;
    }
    m->es = es;
    m->name = copy;
    m->user_offset = user_offset;
    m->number = (uint8_t)es->monitor_count;
    es->monitors[es->monitor_count++] = m;
    return m;
}

const char *mb__monitor_name(const struct mb_monitor *m)
{
    return m->name;
}

int mb_monitor_history(struct mb_monitor *m, uint32_t bytes)
{
    m->history = bytes;
    return 0;
}

void mb_monitor_user_free(struct mb_monitor *m, mb_free_fn fn)
{
    m->user_free = fn;
}

static void **user_of(const struct mb_flow *flow, const struct mb_monitor *m)
{
    return (void **)((uint8_t *)(uintptr_t)flow + m->user_offset);
}

int mb_flow_set_user(struct mb_flow *flow, struct mb_monitor *m, void *user)
{
    if (m->user_offset == 0)
        return MB_EINVAL;
    *user_of(flow, m) = user;
    return 0;
}

void *mb_flow_user(const struct mb_flow *flow, const struct mb_monitor *m)
{
    return m->user_offset == 0 ? NULL : *user_of(flow, m);
}

/* ---- registrations for later flows ---- */

/* The list has changed: sets made from it are out of date. */
static void later_changed(struct mb__events *es)
{
    es->later_version++;
    for (int i = 0; i < MB__TEMPLATES; i++) {
        if (es->templates[i].set != NULL)
            mb__set_put(es, es->templates[i].set);
        es->templates[i].set = NULL;
    }
}

static uint64_t base_bit(const struct mb__events *es, uint32_t event)
{
    return BIT(es->defs[mb__def_number(es, event)].base);
}

static int later_step(struct mb__events *es, const struct mb__reg *op)
{
    if (es->later_count + 2 > es->later_room) {
        size_t room = es->later_room * 2 + 16;
        struct mb__reg *later = realloc(es->later, room * sizeof *later);
        if (later == NULL)
            return MB_ENOMEM;
        es->later = later;
        es->later_room = room;
    }
    es->later_count = mb__reg_apply(es, es->later, es->later_count, op, es->later);
    if (op->cb != NULL) {
        es->later_events |= base_bit(es, op->event);
    } else {
        es->later_events = 0;
        for (size_t i = 0; i < es->later_count; i++)
            es->later_events |= base_bit(es, es->later[i].event);
    }
    es->global = es->later_events & GLOBAL;
    later_changed(es);
    return 0;
}

static bool in_scope(const struct mb_monitor *m, const struct mb_packet *packet)
{
    return m->scope == NULL || packet == NULL || m->scope(packet, m->scope_arg);
}

static struct mb__set *template_build(struct mb__events *es, uint32_t monitors)
{
    struct mb__reg *regs = mb__set_room(es, es->later_count);
    if (regs == NULL)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < es->later_count; i++)
        if (monitors >> es->later[i].monitor & 1)
            regs[n++] = es->later[i];
    return mb__set_get(es, regs, n);
}

struct mb__set *mb__template(struct mb__events *es, const struct mb_packet *packet)
{
    uint32_t monitors = (1u << MB__MAX_MONITORS) - 1;
    for (uint32_t left = es->scoped; left != 0; left &= left - 1) {
        int n = __builtin_ctz(left);
        if (!in_scope(es->monitors[n], packet))
            monitors &= ~(1u << n);
    }
    uint32_t slot = (monitors ^ monitors >> 6) % MB__TEMPLATES;
    struct mb__set *set = es->templates[slot].set;
    if (set != NULL && es->templates[slot].monitors == monitors)
        return set;
    struct mb__set *made = template_build(es, monitors);
    if (made == NULL)
        return NULL;
    if (set != NULL)
        mb__set_put(es, set);
    es->templates[slot].monitors = monitors;
    es->templates[slot].set = made;
    return made;
}

void mb__monitor_set_scope(struct mb_monitor *m, mb__scope_fn scope, void *arg, mb_free_fn free_arg)
{
    if (m->scope_free != NULL)
        m->scope_free(m->scope_arg);
    m->scope = scope;
    m->scope_arg = arg;
    m->scope_free = free_arg;
    m->es->scoped &= ~(1u << m->number);
    if (scope != NULL)
        m->es->scoped |= 1u << m->number;
    m->es->later_version++;
}

/* ---- a flow's beginning and end ---- */

int mb__events_attach(struct mb__events *es, struct mb_flow *flow, const struct mb_packet *first)
{
    struct mb__set *set = mb__template(es, first);
    if (set == NULL)
        return MB_ENOMEM;
    set->uses++; /* the template holds another use: it is not idle */
    flow->set = set;
    flow->events = set->events;
    return 0;
}

void mb__events_detach(struct mb__events *es, struct mb_flow *flow)
{
    mb__timers_drop(es, flow, NULL);
    for (uint32_t i = 0; i < es->monitor_count; i++) {
        struct mb_monitor *m = es->monitors[i];
        void *user = mb_flow_user(flow, m);
        if (user == NULL)
            continue;
        mb_flow_set_user(flow, m, NULL);
        if (m->user_free != NULL)
            m->user_free(user);
    }
    if (flow->set != NULL)
        mb__set_put(es, flow->set);
    flow->set = NULL;
    flow->events = 0;
}

/* ---- registering ---- */

/* The hooks that a registration of a base event at |hooks| has. */
static uint8_t usual_hooks(uint32_t base, int hooks)
{
    if (base == MB_EV_PACKET)
        return (uint8_t)(hooks != MB_HOOK_NONE ? hooks : MB_HOOK_SND);
    if (base == MB_EV_STATE_CHANGE)
        return (uint8_t)(hooks != MB_HOOK_NONE ? hooks : MB_HOOK_SND | MB_HOOK_RCV);
    return MB_HOOK_NONE;
}

static bool hooks_known(int hooks)
{
    return (hooks & ~(MB_HOOK_SND | MB_HOOK_RCV)) == 0;
}

static int flow_step(struct mb__events *es, struct mb_flow *flow, const struct mb__reg *op)
{
    if (flow->set == NULL)
        return MB_ESTATE;
    struct mb__set *old = flow->set, *set = mb__set_step(es, old, op);
    if (set == NULL)
        return MB_ENOMEM;
    flow->set = set;
    flow->events = set->events;
    mb__set_put(es, old);
    return 0;
}

int mb_on(struct mb_monitor *m, struct mb_flow *flow, uint32_t event, int hooks, mb_callback cb, void *arg)
{
    struct mb__events *es = m->es;
    uint32_t number = mb__def_number(es, event);
    if (number == MB__NO_DEF || cb == NULL || !hooks_known(hooks))
        return MB_EINVAL;
    uint32_t base = es->defs[number].base;
    if (flow != NULL && FLOWLESS >> base & 1)
        return MB_EINVAL;
    struct mb__reg op = {cb, arg, event, m->number, usual_hooks(base, hooks), 0};
    int err = flow != NULL ? flow_step(es, flow, &op) : later_step(es, &op);
    if (err == 0)
        es->wanted |= BIT(base);
    return err;
}

/* Whether |op|, a removal, finds something among the registrations. */
static bool registered(const struct mb__reg *regs, size_t n, const struct mb__reg *op)
{
    struct mb__reg first = *op;
    first.hook = 0;
    for (size_t i = mb__reg_find(regs, n, &first); i < n; i++) {
        if (regs[i].event != op->event || regs[i].monitor != op->monitor)
            return false;
        if (regs[i].hook == op->hook || regs[i].hook & op->hook)
            return true;
    }
    return false;
}

int mb_off(struct mb_monitor *m, struct mb_flow *flow, uint32_t event, int hooks)
{
    struct mb__events *es = m->es;
    uint32_t number = mb__def_number(es, event);
    if (number == MB__NO_DEF || !hooks_known(hooks))
        return MB_EINVAL;
    int all = MB_HOOK_SND | MB_HOOK_RCV;
    uint8_t mask = usual_hooks(es->defs[number].base, hooks != MB_HOOK_NONE ? hooks : all);
    struct mb__reg op = {NULL, NULL, event, m->number, mask, 0};
    if (flow == NULL)
        return registered(es->later, es->later_count, &op) ? later_step(es, &op) : MB_ENOENT;
    const struct mb__set *set = flow->set;
    if (set == NULL)
        return MB_ESTATE;
    return registered(set->regs, set->reg_count, &op) ? flow_step(es, flow, &op) : MB_ENOENT;
}

int mb_ignore(struct mb_monitor *m, struct mb_flow *flow)
{
    struct mb__reg op = {NULL, NULL, MB__ALL_EVENTS, m->number, 0, 0};
    mb__timers_drop(m->es, flow, m);
    return flow_step(m->es, flow, &op);
}
