/* SPDX-License-Identifier: BSD-3-Clause */
/* listeners -- a registry with flows of its own, and callbacks that write down
 * that they were called, for the tests of the event floor
 *
 * Each callback appends its argument, a short word, to |heard|; a test compares
 * the whole line.
 */
#ifndef MB_TESTS_LISTENERS_H
#define MB_TESTS_LISTENERS_H

#include <stdlib.h>

#include "event/registry.h"
#include "test.h"

#define FLOWS 64

/* A flow with room for the pointers of all monitors. */
struct test_flow {
    struct mb_flow flow;
    void *user[MB__MAX_MONITORS];
};

static struct mb__events *es;
static struct mb_monitor *mon[MB__MAX_MONITORS];
static struct test_flow flows[FLOWS];
static char heard[4096];

static inline void listeners_setup(int monitors)
{
    es = mb__events_new(NULL);
    for (int i = 0; i < monitors; i++) {
        char name[] = {(char)('a' + i), 0};
        size_t offset = offsetof(struct test_flow, user) + (size_t)i * sizeof(void *);
        mon[i] = mb__monitor_new(es, name, offset, NULL);
    }
    memset(flows, 0, sizeof flows);
    heard[0] = 0;
}

static inline void listeners_teardown(void)
{
    for (int i = 0; i < FLOWS; i++)
        if (flows[i].flow.set != NULL)
            mb__events_detach(es, &flows[i].flow);
    mb__events_free(es);
}

static inline struct mb_flow *attached(int i)
{
    struct mb_flow *flow = &flows[i].flow;
    flow->id = (uint64_t)i + 1;
    mb__events_attach(es, flow, NULL);
    return flow;
}

/* Raises |base| at |hook| on |flow|, which may be NULL. */
static inline int raise_at(struct mb_flow *flow, uint32_t base, int hook)
{
    struct mb_event ev = {.flow = flow, .base = base, .id = base, .hook = (uint8_t)hook};
    heard[0] = 0;
    return mb__events_raise(es, &ev);
}

static inline void note(const char *word)
{
    if (strlen(heard) + strlen(word) + 2 > sizeof heard)
        return;
    if (heard[0] != 0)
        strcat(heard, " ");
    strcat(heard, word);
}

static inline int hear(struct mb_event *ev, void *arg)
{
    note(arg);
    return 0;
}

/* Filters: their argument is written down too. */
static inline int say_yes(struct mb_event *ev, void *arg)
{
    note(arg);
    return 1;
}

static inline int say_no(struct mb_event *ev, void *arg)
{
    note(arg);
    return 0;
}

#endif
