/* SPDX-License-Identifier: BSD-3-Clause */
/* test_dispatch -- who is called, in what order, and who no longer */
#include "listeners.h"

static int fail(struct mb_event *ev, void *arg)
{
    note(arg);
    return MB_EIO;
}

static int stop(struct mb_event *ev, void *arg)
{
    note(arg);
    return 1;
}

/* ---- registering ---- */

static void test_replace_and_remove(void)
{
    listeners_setup(1);
    struct mb_flow *a = attached(0);
    CHECK_INT(mb_on(mon[0], a, MB_EV_DATA, 0, hear, "old"), 0);
    CHECK_INT(mb_on(mon[0], a, MB_EV_DATA, 0, hear, "old"), 0);
    raise_at(a, MB_EV_DATA, 0);
    CHECK_STR(heard, "old");
    CHECK_INT(mb_on(mon[0], a, MB_EV_DATA, 0, hear, "new"), 0);
    raise_at(a, MB_EV_DATA, 0);
    CHECK_STR(heard, "new");
    CHECK_INT(mb_off(mon[0], a, MB_EV_DATA, 0), 0);
    CHECK_INT(mb_off(mon[0], a, MB_EV_DATA, 0), MB_ENOENT);
    raise_at(a, MB_EV_DATA, 0);
    CHECK_STR(heard, "");
    listeners_teardown();
}

static void test_bad_arguments(void)
{
    listeners_setup(1);
    struct mb_flow *a = attached(0), loose = {0};
    CHECK_INT(mb_on(mon[0], a, MB_EV_BUILTIN, 0, hear, "x"), MB_EINVAL);
    CHECK_INT(mb_on(mon[0], a, MB_EV_USER, 0, hear, "x"), MB_EINVAL);
    CHECK_INT(mb_on(mon[0], a, MB_EV_DATA, 0, NULL, "x"), MB_EINVAL);
    CHECK_INT(mb_on(mon[0], a, MB_EV_DATA, 4, hear, "x"), MB_EINVAL);
    CHECK_INT(mb_on(mon[0], a, MB_EV_RAW, 0, hear, "x"), MB_EINVAL);
    CHECK_INT(mb_on(mon[0], &loose, MB_EV_DATA, 0, hear, "x"), MB_ESTATE);
    CHECK_INT(mb_off(mon[0], a, 77777, 0), MB_EINVAL);
    CHECK_INT(mb_off(mon[0], NULL, MB_EV_DATA, 0), MB_ENOENT);
    CHECK(a->events == 0);
    listeners_teardown();
}

static void test_later_flows_only(void)
{
    listeners_setup(1);
    struct mb_flow *a = attached(0);
    mb_on(mon[0], NULL, MB_EV_DATA, 0, hear, "d");
    struct mb_flow *b = attached(1);
    mb_off(mon[0], NULL, MB_EV_DATA, 0);
    struct mb_flow *c = attached(2);
    CHECK_INT(raise_at(a, MB_EV_DATA, 0), 0);
    CHECK_STR(heard, "");
    raise_at(b, MB_EV_DATA, 0);
    CHECK_STR(heard, "d");
    raise_at(c, MB_EV_DATA, 0);
    CHECK_STR(heard, "");
    listeners_teardown();
}

static void test_hooks(void)
{
    listeners_setup(2);
    struct mb_flow *a = attached(0);
    mb_on(mon[0], a, MB_EV_PACKET, MB_HOOK_NONE, hear, "usual");
    mb_on(mon[1], a, MB_EV_PACKET, MB_HOOK_RCV, hear, "rcv");
    raise_at(a, MB_EV_PACKET, MB_HOOK_SND);
    CHECK_STR(heard, "usual");
    raise_at(a, MB_EV_PACKET, MB_HOOK_RCV);
    CHECK_STR(heard, "rcv");
    mb_on(mon[0], a, MB_EV_STATE_CHANGE, MB_HOOK_NONE, hear, "both");
    mb_on(mon[1], a, MB_EV_STATE_CHANGE, MB_HOOK_SND, hear, "snd");
    raise_at(a, MB_EV_STATE_CHANGE, MB_HOOK_SND);
    CHECK_STR(heard, "both snd");
    raise_at(a, MB_EV_STATE_CHANGE, MB_HOOK_RCV);
    CHECK_STR(heard, "both");
    mb_off(mon[0], a, MB_EV_STATE_CHANGE, MB_HOOK_SND);
    raise_at(a, MB_EV_STATE_CHANGE, MB_HOOK_SND);
    CHECK_STR(heard, "snd");
    raise_at(a, MB_EV_STATE_CHANGE, MB_HOOK_RCV);
    CHECK_STR(heard, "both");
    CHECK_INT(mb_off(mon[0], a, MB_EV_STATE_CHANGE, MB_HOOK_SND), MB_ENOENT);
    CHECK_INT(mb_off(mon[0], a, MB_EV_STATE_CHANGE, MB_HOOK_NONE), 0);
    CHECK_INT(mb_on(mon[0], a, MB_EV_DATA, MB_HOOK_RCV, hear, "data"), 0);
    raise_at(a, MB_EV_DATA, MB_HOOK_NONE);
    CHECK_STR(heard, "data");
    CHECK_INT(mb_off(mon[0], a, MB_EV_DATA, MB_HOOK_SND), 0);
    listeners_teardown();
}

/* One callback at two hooks, and a filter whose listener has only one. */
static void test_user_event_hooks(void)
{
    listeners_setup(1);
    struct mb_flow *a = attached(0);
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_PACKET, say_yes, "f", 2);
    mb_on(mon[0], a, f, MB_HOOK_RCV, hear, "c");
    raise_at(a, MB_EV_PACKET, MB_HOOK_SND);
    CHECK_STR(heard, "");
    raise_at(a, MB_EV_PACKET, MB_HOOK_RCV);
    CHECK_STR(heard, "f c");
    mb_on(mon[0], a, f, MB_HOOK_SND, hear, "s");
    raise_at(a, MB_EV_PACKET, MB_HOOK_SND);
    CHECK_STR(heard, "f s");
    listeners_teardown();
}

static int check_context(struct mb_event *ev, void *arg)
{
    const uint32_t *want = arg;
    CHECK_INT(ev->id, want[0]);
    CHECK(ev->monitor == mon[want[1]]);
    CHECK_INT(ev->base, MB_EV_DATA);
    note("c");
    return 0;
}

static void test_context_and_order(void)
{
    listeners_setup(3);
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_DATA, say_yes, "f", 2);
    uint32_t want[][2] = {{f, 2}, {f, 0}, {MB_EV_DATA, 1}, {MB_EV_DATA, 0}};
    for (int i = 0; i < 4; i++)
        mb_on(mon[want[i][1]], NULL, want[i][0], 0, check_context, want[i]);
    struct mb_event ev = {.flow = attached(0), .base = MB_EV_DATA, .id = 1234, .monitor = mon[2]};
    CHECK_INT(mb__events_raise(es, &ev), 0);
    CHECK_STR(heard, "c c f c c");
    CHECK_INT(ev.id, 1234);
    CHECK(ev.monitor == mon[2]);
    listeners_teardown();
}

static void test_answers(void)
{
    listeners_setup(3);
    struct mb_flow *a = attached(0);
    mb_on(mon[0], a, MB_EV_DATA, 0, hear, "0");
    mb_on(mon[1], a, MB_EV_DATA, 0, stop, "1");
    mb_on(mon[2], a, MB_EV_DATA, 0, hear, "2");
    CHECK_INT(raise_at(a, MB_EV_DATA, 0), 1);
    CHECK_STR(heard, "0 1 2");
    mb_on(mon[1], a, MB_EV_DATA, 0, fail, "1");
    CHECK_INT(raise_at(a, MB_EV_DATA, 0), MB_EIO);
    CHECK_STR(heard, "0 1");
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_GAP, fail, "f", 2);
    mb_on(mon[0], a, f, 0, hear, "0");
    CHECK_INT(raise_at(a, MB_EV_GAP, 0), MB_EIO);
    CHECK_STR(heard, "f");
    listeners_teardown();
}

/* ---- user-defined events ---- */

static void test_define_once(void)
{
    listeners_setup(1);
    char arg[4] = "abc";
    int one = mb__event_define(es, MB_EV_DATA, say_yes, arg, sizeof arg);
    int two = mb__event_define(es, MB_EV_DATA, say_yes, "abc", sizeof arg);
    CHECK(one >= MB_EV_USER);
    CHECK_INT(two, one);
    CHECK(mb__event_define(es, MB_EV_DATA, say_yes, "abd", sizeof arg) != one);
    CHECK(mb__event_define(es, MB_EV_DATA, say_no, "abc", sizeof arg) != one);
    CHECK(mb__event_define(es, MB_EV_GAP, say_yes, "abc", sizeof arg) != one);
    CHECK(mb__event_define(es, (uint32_t)one, say_yes, "abc", sizeof arg) != one);
    int pointer = mb__event_define(es, MB_EV_DATA, say_yes, arg, 0);
    CHECK(pointer != one);
    CHECK_INT(mb__event_define(es, MB_EV_DATA, say_yes, arg, 0), pointer);
    mb_on(mon[0], NULL, (uint32_t)one, 0, hear, "c");
    memcpy(arg, "xyz", 4); /* the argument was copied */
    raise_at(attached(0), MB_EV_DATA, 0);
    CHECK_STR(heard, "abc c");
    CHECK_INT(mb__event_define(es, 4095, say_yes, NULL, 0), MB_EINVAL);
    CHECK_INT(mb__event_define(es, MB_EV_USER + 5000, say_yes, NULL, 0), MB_EINVAL);
    CHECK_INT(mb__event_define(es, MB_EV_DATA, NULL, NULL, 0), MB_EINVAL);
    CHECK(mb__event_alloc(es, MB_EV_DATA) != mb__event_alloc(es, MB_EV_DATA));
    listeners_teardown();
}

/*  data -+- A yes --- A1 no --- A11
 *        +- B no ---- B1
 *        +- C yes --- C1 yes                                              */
static void test_preorder_and_pruning(void)
{
    listeners_setup(1);
    uint32_t c = (uint32_t)mb__event_define(es, MB_EV_DATA, say_yes, "?C", 3);
    uint32_t a = (uint32_t)mb__event_define(es, MB_EV_DATA, say_yes, "?A", 3);
    uint32_t b = (uint32_t)mb__event_define(es, MB_EV_DATA, say_no, "?B", 3);
    uint32_t a1 = (uint32_t)mb__event_define(es, a, say_no, "?A1", 4);
    uint32_t b1 = (uint32_t)mb__event_define(es, b, say_yes, "?B1", 4);
    uint32_t c1 = (uint32_t)mb__event_define(es, c, say_yes, "?C1", 4);
    uint32_t a11 = (uint32_t)mb__event_define(es, a1, say_yes, "?A11", 5);
    struct mb_flow *flow = attached(0);
    mb_on(mon[0], flow, c1, 0, hear, "C1");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "?C ?C1 C1"); /* nobody listens below A and B */
    mb_on(mon[0], flow, a11, 0, hear, "A11");
    mb_on(mon[0], flow, b1, 0, hear, "B1");
    mb_on(mon[0], flow, a, 0, hear, "A");
    mb_on(mon[0], flow, MB_EV_DATA, 0, hear, "data");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "data ?C ?C1 C1 ?A A ?A1 ?B");
    raise_at(flow, MB_EV_GAP, 0);
    CHECK_STR(heard, "");
    listeners_teardown();
}

static int count_calls(struct mb_event *ev, void *arg)
{
    ++**(int **)arg;
    return 1;
}

static void test_filter_runs_once(void)
{
    listeners_setup(MB__MAX_MONITORS);
    int runs = 0, *arg = &runs;
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_DATA, count_calls, &arg, sizeof arg);
    uint32_t g = (uint32_t)mb__event_define(es, f, say_yes, "g", 2);
    for (int i = 0; i < MB__MAX_MONITORS; i++) {
        mb_on(mon[i], NULL, f, 0, hear, "f");
        mb_on(mon[i], NULL, g, 0, hear, "g");
    }
    raise_at(attached(0), MB_EV_DATA, 0);
    CHECK_INT(runs, 1);
    CHECK(mb__monitor_new(es, "one too many", 8, NULL) == NULL);
    listeners_teardown();
}

static void test_deep_and_wide(void)
{
    listeners_setup(1);
    for (uint32_t base = 0; base < MB_EV_BUILTIN; base++) {
        uint32_t at = base;
        int depth = 0, id;
        while ((id = mb__event_define(es, at, say_yes, "?", 2)) > 0) {
            at = (uint32_t)id;
            depth++;
        }
        CHECK_INT(id, MB_ELIMIT);
        CHECK_INT(depth, MB__MAX_EVENT_DEPTH);
        CHECK_INT(mb_on(mon[0], NULL, at, MB_HOOK_SND | MB_HOOK_RCV, hear, "x"), 0);
    }
    struct mb_flow *flow = attached(0);
    raise_at(flow, MB_EV_SSH, 0);
    CHECK_INT(strlen(heard), 2 * MB__MAX_EVENT_DEPTH + 1);
    raise_at(flow, MB_EV_STATE_CHANGE, MB_HOOK_RCV);
    CHECK_INT(strlen(heard), 2 * MB__MAX_EVENT_DEPTH + 1);
    int runs = 0, *counter = &runs, listeners = 0;
    struct {
        int *counter;
        int number;
    } arg = {counter, 0};
    for (int i = 0; i < 10000; i++) {
        arg.number = i;
        int id = mb__event_define(es, MB_EV_GAP, count_calls, &arg, sizeof arg);
        CHECK(id > 0);
        listeners += i % 10 == 3;
        if (i % 10 == 3)
            CHECK_INT(mb_on(mon[0], NULL, (uint32_t)id, 0, hear, ""), 0);
    }
    raise_at(attached(1), MB_EV_GAP, 0);
    CHECK_INT(runs, listeners);
    listeners_teardown();
}

/* ---- raised events ---- */

static uint32_t allocated[8];

/* Raises the events whose digits its argument has. */
static int raise_some(struct mb_event *ev, void *arg)
{
    note("many");
    for (const char *digit = arg; *digit != 0; digit++)
        CHECK_INT(mb_event_raise(ev, allocated[*digit - '0']), 0);
    return 0;
}

static void test_raise_k_of_n(void)
{
    listeners_setup(2);
    uint32_t many = (uint32_t)mb__event_define(es, MB_EV_DATA, raise_some, "4135", 5);
    static char names[8][2];
    for (int i = 0; i < 8; i++) {
        allocated[i] = (uint32_t)mb__event_alloc(es, many);
        names[i][0] = (char)('0' + i);
        if (i != 5)
            mb_on(mon[0], NULL, allocated[i], 0, hear, names[i]);
    }
    mb_on(mon[1], NULL, allocated[1], 0, hear, "1b");
    uint32_t below = (uint32_t)mb__event_define(es, allocated[3], say_yes, "?3x", 4);
    uint32_t not_below = (uint32_t)mb__event_define(es, allocated[3], say_no, "?3y", 4);
    uint32_t nested = (uint32_t)mb__event_alloc(es, allocated[3]);
    mb_on(mon[1], NULL, below, 0, hear, "3x");
    mb_on(mon[1], NULL, not_below, 0, hear, "3y");
    mb_on(mon[1], NULL, nested, 0, hear, "nested");
    raise_at(attached(0), MB_EV_DATA, 0);
    CHECK_STR(heard, "many 4 1 1b 3 ?3x 3x ?3y");
    listeners_teardown();
}

static int raise_wrong(struct mb_event *ev, void *arg)
{
    CHECK_INT(mb_event_raise(ev, MB_EV_DATA), MB_EINVAL);
    CHECK_INT(mb_event_raise(ev, allocated[0]), MB_EINVAL); /* of another base */
    CHECK_INT(mb_event_raise(ev, allocated[1]), MB_EINVAL); /* has a filter */
    CHECK_INT(mb_event_raise(ev, 123456), MB_EINVAL);
    CHECK_INT(mb_event_raise(ev, allocated[2]), 0);
    note("w");
    return 0;
}

static int raise_itself(struct mb_event *ev, void *arg)
{
    int r = mb_event_raise(ev, allocated[3]);
    if (r != 0)
        note(r == MB_ELIMIT ? "limit" : "?");
    return 0;
}

static void test_raise_refused(void)
{
    listeners_setup(1);
    allocated[0] = (uint32_t)mb__event_alloc(es, MB_EV_GAP);
    allocated[1] = (uint32_t)mb__event_define(es, MB_EV_DATA, say_yes, "x", 2);
    allocated[2] = (uint32_t)mb__event_alloc(es, MB_EV_DATA);
    allocated[3] = (uint32_t)mb__event_alloc(es, MB_EV_DNS);
    mb_on(mon[0], NULL, MB_EV_DATA, 0, raise_wrong, NULL);
    mb_on(mon[0], NULL, allocated[2], 0, hear, "ok");
    mb_on(mon[0], NULL, MB_EV_DNS, 0, raise_itself, NULL);
    mb_on(mon[0], NULL, allocated[3], 0, raise_itself, NULL);
    raise_at(attached(0), MB_EV_DATA, 0);
    CHECK_STR(heard, "ok w");
    raise_at(attached(1), MB_EV_DNS, 0);
    CHECK_STR(heard, "limit");
    struct mb_event outside = {0};
    CHECK_INT(mb_event_raise(&outside, allocated[3]), MB_ESTATE);
    listeners_teardown();
}

/* ---- changes while an event is being raised ---- */

/* What a callback does when it is called: one registration call. */
struct act {
    const char *name;
    int monitor;
    uint32_t event;
    int on; /* 1: on, 0: off, 2: ignore */
    bool later;
};

static int act(struct mb_event *ev, void *arg)
{
    const struct act *a = arg;
    struct mb_flow *flow = a->later ? NULL : ev->flow;
    note(a->name);
    if (a->on == 2)
        mb_ignore(mon[a->monitor], ev->flow);
    else if (a->on)
        mb_on(mon[a->monitor], flow, a->event, 0, hear, "new");
    else
        mb_off(mon[a->monitor], flow, a->event, 0);
    return 0;
}

static void test_remove_while_raising(void)
{
    listeners_setup(3);
    struct mb_flow *flow = attached(0);
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_DATA, say_yes, "?f", 3);
    uint32_t g = (uint32_t)mb__event_define(es, f, say_yes, "?g", 3);
    mb_on(mon[1], flow, MB_EV_DATA, 0, hear, "sibling");
    mb_on(mon[2], flow, MB_EV_DATA, 0, hear, "other");
    mb_on(mon[1], flow, g, 0, hear, "g");
    struct act own = {"own", 0, MB_EV_DATA, 0, false};
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &own);
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "own sibling other ?f ?g g");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "sibling other ?f ?g g");
    struct act sibling = {"off", 1, MB_EV_DATA, 0, false};
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &sibling);
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "off other ?f ?g g");
    struct act child = {"off", 1, g, 0, false};
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &child);
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "off other"); /* and no filter without a listener */
    struct act parent = {"up", 2, MB_EV_DATA, 0, false};
    mb_off(mon[0], flow, MB_EV_DATA, 0);
    mb_on(mon[0], flow, f, 0, act, &parent);
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "other ?f up");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "?f up");
    listeners_teardown();
}

static void test_add_while_raising(void)
{
    listeners_setup(3);
    struct mb_flow *flow = attached(0);
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_DATA, say_yes, "?f", 3);
    struct act add = {"add", 2, MB_EV_DATA, 1, false}, child = {"child", 2, f, 1, false};
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &add);
    mb_on(mon[1], flow, MB_EV_DATA, 0, hear, "old");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "add old");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "add old new");
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &child);
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "child old new");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "child old new ?f new");
    struct act replace = {"replace", 1, MB_EV_DATA, 1, false};
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &replace);
    mb_off(mon[2], flow, MB_EV_DATA, 0);
    mb_off(mon[2], flow, f, 0);
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "replace"); /* neither the old one nor, yet, the new one */
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "replace new");
    listeners_teardown();
}

static void test_ignore(void)
{
    listeners_setup(2);
    struct mb_flow *flow = attached(0), *other = NULL;
    for (uint32_t ev = MB_EV_PACKET; ev < MB_EV_BUILTIN; ev++)
        if (ev != MB_EV_ORPHAN)
            CHECK_INT(mb_on(mon[0], flow, ev, MB_HOOK_SND | MB_HOOK_RCV, hear, "x"), 0);
    struct act ignore = {"ignore", 0, 0, 2, false};
    mb_on(mon[0], flow, MB_EV_DATA, 0, act, &ignore);
    mb_on(mon[1], flow, MB_EV_DATA, 0, hear, "other");
    uint32_t end = (uint32_t)mb__event_define(es, MB_EV_FLOW_END, say_yes, "?end", 5);
    mb_on(mon[0], flow, end, 0, hear, "end");
    raise_at(flow, MB_EV_DATA, 0);
    CHECK_STR(heard, "ignore other");
    CHECK(flow->events == (1u << MB_EV_DATA | 1u << MB_EV_FLOW_END));
    raise_at(flow, MB_EV_PACKET, MB_HOOK_RCV);
    CHECK_STR(heard, "");
    raise_at(flow, MB_EV_FLOW_END, 0);
    CHECK_STR(heard, "x ?end end");
    CHECK_INT(mb_ignore(mon[0], flow), 0); /* twice is once */
    other = attached(1);
    CHECK_INT(mb_ignore(mon[1], other), 0);
    CHECK(other->events == 0);
    listeners_teardown();
}

/* ---- events without a flow, scopes ---- */

static void test_no_flow(void)
{
    listeners_setup(3);
    struct act off = {"off", 1, MB_EV_RAW, 0, true}, add = {"add", 2, MB_EV_RAW, 1, true};
    mb_on(mon[0], NULL, MB_EV_RAW, 0, act, &off);
    mb_on(mon[1], NULL, MB_EV_RAW, 0, hear, "1");
    mb_on(mon[2], NULL, MB_EV_RAW, 0, hear, "2");
    raise_at(NULL, MB_EV_RAW, 0);
    CHECK_STR(heard, "off 2");
    mb_off(mon[2], NULL, MB_EV_RAW, 0);
    mb_on(mon[0], NULL, MB_EV_RAW, 0, act, &add);
    raise_at(NULL, MB_EV_RAW, 0);
    CHECK_STR(heard, "add");
    raise_at(NULL, MB_EV_RAW, 0);
    CHECK_STR(heard, "add new"); /* the same again changes nothing */
    mb_on(mon[0], NULL, MB_EV_RAW, 0, hear, "0");
    raise_at(NULL, MB_EV_RAW, 0);
    CHECK_STR(heard, "0 new");
    allocated[0] = (uint32_t)mb__event_alloc(es, MB_EV_RAW);
    mb_on(mon[1], NULL, (uint32_t)mb__event_define(es, MB_EV_RAW, raise_some, "0", 2), 0, hear, "no");
    mb_on(mon[1], NULL, allocated[0], 0, hear, "raised");
    raise_at(NULL, MB_EV_RAW, 0);
    CHECK_STR(heard, "0 new many raised");
    listeners_teardown();
}

static int scope_runs;

/* The scope is the port that |arg| points to. */
static bool port_scope(const struct mb_packet *p, void *arg)
{
    scope_runs++;
    return p->dport == *(const uint16_t *)arg;
}

static int scope_freed;

static void free_scope(void *arg)
{
    scope_freed++;
}

static void test_scopes(void)
{
    listeners_setup(3);
    uint16_t web = 80, dns = 53;
    mb__monitor_set_scope(mon[0], port_scope, &web, free_scope);
    mb__monitor_set_scope(mon[1], port_scope, &dns, free_scope);
    static char words[3][4] = {"web", "dns", "all"};
    for (int i = 0; i < 3; i++) {
        mb_on(mon[i], NULL, MB_EV_DATA, 0, hear, words[i]);
        mb_on(mon[i], NULL, MB_EV_ORPHAN, 0, hear, words[i]);
    }
    static const struct {
        uint16_t port;
        const char *heard;
    } cases[] = {{80, "web all"}, {53, "dns all"}, {22, "all"}};
    for (int round = 0; round < 300; round++) {
        int c = round % 3;
        struct mb_packet p = {.dport = cases[c].port};
        struct mb_flow *flow = &flows[round % FLOWS].flow;
        if (flow->set != NULL)
            mb__events_detach(es, flow);
        mb__events_attach(es, flow, &p);
        raise_at(flow, MB_EV_DATA, 0);
        CHECK_STR(heard, cases[c].heard);
        heard[0] = 0;
        struct mb_event orphan = {.packet = &p, .base = MB_EV_ORPHAN};
        mb__events_raise(es, &orphan);
        CHECK_STR(heard, cases[c].heard);
    }
    CHECK_INT(scope_runs, 300 * 2 * 2);
    mb__monitor_set_scope(mon[0], NULL, NULL, NULL);
    CHECK_INT(scope_freed, 1);
    listeners_teardown();
    CHECK_INT(scope_freed, 2);
}

/* ---- user pointers ---- */

static void count_free(void *arg)
{
    ++*(int *)arg;
}

static void test_user_pointers(void)
{
    listeners_setup(2);
    int freed[2] = {0, 0};
    mb_monitor_user_free(mon[0], count_free);
    struct mb_flow *a = attached(0), *b = attached(1);
    CHECK(mb_flow_user(a, mon[0]) == NULL);
    mb_flow_set_user(a, mon[0], &freed[0]);
    mb_flow_set_user(a, mon[1], &freed[1]);
    CHECK(mb_flow_user(a, mon[0]) == &freed[0]);
    CHECK(mb_flow_user(b, mon[0]) == NULL);
    mb__events_detach(es, a);
    mb__events_detach(es, b);
    CHECK_INT(freed[0], 1);
    CHECK_INT(freed[1], 0); /* no function to free it */
    CHECK(a->set == NULL && a->events == 0 && mb_flow_user(a, mon[0]) == NULL);
    listeners_teardown();
}

static void test_history(void)
{
    listeners_setup(3);
    CHECK_INT(mb__events_history(es), 0);
    mb_monitor_history(mon[0], 100);
    mb_monitor_history(mon[1], 5000);
    CHECK_INT(mb__events_history(es), 5000);
    mb_monitor_history(mon[1], 0);
    CHECK_INT(mb__events_history(es), 100);
    CHECK_STR(mb__monitor_name(mon[2]), "c");
    listeners_teardown();
}

static void test_names(void)
{
    CHECK_STR(mb_event_name(MB_EV_FLOW_START), "flow_start");
    for (int i = 0; i < MB_EV_BUILTIN; i++)
        CHECK(mb_event_name(i) != NULL);
    CHECK(mb_event_name(MB_EV_BUILTIN) == NULL && mb_event_name(-1) == NULL);
    CHECK_STR(mb_tcp_state_name(MB_TCP_TIME_WAIT), "TIME_WAIT");
    CHECK_STR(mb_tcp_state_name(11), "unknown");
    CHECK_STR(mb_end_reason_name(MB_END_SHUTDOWN), "shutdown");
    CHECK_STR(mb_end_reason_name(-1), "unknown");
}

int main(void)
{
    RUN(test_replace_and_remove);
    RUN(test_bad_arguments);
    RUN(test_later_flows_only);
    RUN(test_hooks);
    RUN(test_user_event_hooks);
    RUN(test_context_and_order);
    RUN(test_answers);
    RUN(test_define_once);
    RUN(test_preorder_and_pruning);
    RUN(test_filter_runs_once);
    RUN(test_deep_and_wide);
    RUN(test_raise_k_of_n);
    RUN(test_raise_refused);
    RUN(test_remove_while_raising);
    RUN(test_add_while_raising);
    RUN(test_ignore);
    RUN(test_no_flow);
    RUN(test_scopes);
    RUN(test_user_pointers);
    RUN(test_history);
    RUN(test_names);
    return test_done();
}
