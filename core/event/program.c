/* SPDX-License-Identifier: BSD-3-Clause */
/* program -- flattens the registrations of a set into steps for dispatch
 *
 *        data (base)                 steps        skip
 *        /   |    \                  call data
 *     4096  4097  4099 (raised       filter 4096 --+
 *      |     |      |   only)        call 4096     |
 *      *    4098    *                filter 4097 <-+  --+
 *            |                       filter 4098 ---+   |
 *            *                       call 4098      |   |
 *                                    end of walk <--+ <-+
 *                                    head 4099, call 4099
 *
 * Only events with a listener in their subtree get steps. Siblings come in the
 * order of their definition, callbacks of one event in the order in which their
 * monitors were made.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "event/registry.h"

#define NONE UINT32_MAX

/* What one program is made from. */
struct source {
    struct mb__events *es;
    const struct mb__reg *regs;
    size_t n;
    uint32_t program;
};

static uint32_t reg_program(const struct mb__events *es, const struct mb__reg *reg)
{
    return mb__program(es->defs[mb__def_number(es, reg->event)].base, reg->hook);
}

static bool raised_only(const struct mb__def *d)
{
    return d->parent != MB__NO_DEF && d->filter == NULL;
}

/* Marks definition |number| and its ancestors as needed in this round. */
static int need(struct mb__events *es, uint32_t number, size_t *count)
{
    struct mb__sets *s = &es->sets;
    for (; number != MB__NO_DEF && es->defs[number].mark != s->round; number = es->defs[number].parent) {
        if (mb__array_room(&s->needed, &s->needed_room, *count + 1, sizeof *s->needed) < 0)
            return MB_ENOMEM;
        struct mb__def *d = &es->defs[number];
        d->mark = s->round;
        d->child = d->last = d->sibling = d->reg = NONE;
        s->needed[(*count)++] = number;
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Hangs definition |number| on its parent, behind its elder siblings. */
static void link_child(struct mb__events *es, uint32_t number)
{
    struct mb__def *d = &es->defs[number], *parent = &es->defs[d->parent];
    if (parent->last == NONE)
        parent->child = number;
    else
        es->defs[parent->last].sibling = number;
    parent->last = number;
}

/* Finds what |src| needs, as a tree in the scratch of the definitions. */
static int build_tree(const struct source *src, size_t *count)
{
    struct mb__events *es = src->es;
    es->sets.round++;
    *count = 0;
    for (size_t i = 0; i < src->n; i++) {
        if (reg_program(es, &src->regs[i]) != src->program)
            continue;
        uint32_t number = mb__def_number(es, src->regs[i].event);
        if (need(es, number, count) < 0)
            return MB_ENOMEM;
        if (es->defs[number].reg == NONE)
            es->defs[number].reg = (uint32_t)i;
    }
    qsort(es->sets.needed, *count, sizeof *es->sets.needed, by_number);
    for (size_t i = 0; i < *count; i++) {
        const struct mb__def *d = &es->defs[es->sets.needed[i]];
        if (d->parent != MB__NO_DEF && !raised_only(d))
            link_child(es, es->sets.needed[i]);
    }
    return 0;
}

static int put_step(struct mb__sets *s, struct mb__step step)
{
    if (mb__array_room(&s->steps, &s->step_room, s->step_count + 1, sizeof *s->steps) < 0)
        return MB_ENOMEM;
    step.skip = (uint32_t)s->step_count + 1;
    s->steps[s->step_count++] = step;
    return 0;
}

static int put_index(struct mb__sets *s, struct mb__step_index entry)
{
    if (mb__array_room(&s->index, &s->index_room, s->index_count + 1, sizeof *s->index) < 0)
        return MB_ENOMEM;
    s->index[s->index_count++] = entry;
    return 0;
}

/* Steps of definition |number| itself: its filter, then its callbacks. */
static int open_node(const struct source *src, uint32_t number)
{
    struct mb__events *es = src->es;
    struct mb__def *d = &es->defs[number];
    uint32_t event = mb__def_event(number);
    if (d->parent != MB__NO_DEF) {
        d->step = (uint32_t)es->sets.step_count;
        if (put_index(&es->sets, (struct mb__step_index){event, src->program, d->step}) < 0 ||
            put_step(&es->sets, (struct mb__step){d->filter, d->arg, &es->nobody, event, 0}) < 0)
            return MB_ENOMEM;
    }
    for (size_t i = d->reg; i < src->n && src->regs[i].event == event; i++) {
        const struct mb__reg *r = &src->regs[i];
        if (reg_program(es, r) == src->program &&
            put_step(&es->sets, (struct mb__step){r->cb, r->arg, es->monitors[r->monitor], event, 0}) < 0)
            return MB_ENOMEM;
    }
    return 0;
}

/* The subtree of |number| is complete: its filter knows where to skip to. */
static void close_node(struct mb__events *es, uint32_t number)
{
    const struct mb__def *d = &es->defs[number];
    if (d->parent != MB__NO_DEF)
        es->sets.steps[d->step].skip = (uint32_t)es->sets.step_count;
}

/* Writes the subtree of |root| in preorder. */
static int write_tree(const struct source *src, uint32_t root)
{
    struct mb__events *es = src->es;
    uint32_t at = root;
    for (;;) {
        if (open_node(src, at) < 0)
            return MB_ENOMEM;
        if (es->defs[at].child != NONE) {
            at = es->defs[at].child;
            continue;
        }
        while (at != root && es->defs[at].sibling == NONE) {
            close_node(es, at);
            at = es->defs[at].parent;
        }
        close_node(es, at);
        if (at == root)
            return 0;
        at = es->defs[at].sibling;
    }
}

/* The walk of one program, and behind it the subtrees of events that are
 * raised only. */
static int write_program(const struct source *src, struct mb__set *set)
{
    struct mb__events *es = src->es;
    size_t count;
    if (build_tree(src, &count) < 0)
        return MB_ENOMEM;
    set->program[src->program].start = (uint32_t)es->sets.step_count;
    if (write_tree(src, es->sets.needed[0]) < 0) /* the base has the lowest number */
        return MB_ENOMEM;
    set->program[src->program].end = (uint32_t)es->sets.step_count;
    for (size_t i = 1; i < count; i++)
        if (raised_only(&es->defs[es->sets.needed[i]]) && write_tree(src, es->sets.needed[i]) < 0)
            return MB_ENOMEM;
    return 0;
}

static int by_event(const void *a, const void *b)
{
    const struct mb__step_index *x = a, *y = b;
    if (x->event != y->event)
        return x->event < y->event ? -1 : 1;
    return (x->program > y->program) - (x->program < y->program);
}

int mb__set_compile(struct mb__events *es, const struct mb__reg *regs, size_t n, struct mb__set *set)
{
    uint32_t used = 0;
    memset(set->program, 0, sizeof set->program);
    set->events = 0;
    es->sets.step_count = es->sets.index_count = 0;
    for (size_t i = 0; i < n; i++) {
        used |= 1u << reg_program(es, &regs[i]);
        set->events |= (uint64_t)1 << es->defs[mb__def_number(es, regs[i].event)].base;
    }
    set->events |= used; /* the programs of the second hooks have bits of their own */
    for (uint32_t p = 0; p < MB__PROGRAMS; p++) {
        struct source src = {es, regs, n, p};
        if (used >> p & 1 && write_program(&src, set) < 0)
            return MB_ENOMEM;
    }
    if (es->sets.index_count > 1)
        qsort(es->sets.index, es->sets.index_count, sizeof *es->sets.index, by_event);
    return 0;
}

const struct mb__step *mb__set_find(const struct mb__set *set, uint32_t program, uint32_t event)
{
    struct mb__step_index key = {event, program, 0};
    size_t low = 0, high = set->index_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = by_event(&set->index[mid], &key);
        if (order == 0)
            return &set->steps[set->index[mid].step];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}
