/* SPDX-License-Identifier: BSD-3-Clause */
/* test_timer -- order, turns, cancelling, and timers that end with their flow */
#include "listeners.h"

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define START (1700000000 * SECOND)

static int64_t due_seen[8];
static int due_count;

static int hear_due(struct mb_event *ev, void *arg)
{
    CHECK_INT(ev->base, MB_EV_TIMER);
    CHECK_INT(ev->id, MB_EV_TIMER);
    CHECK(ev->record == arg);
    note(arg);
    if (due_count < 8)
        due_seen[due_count++] = ev->ts;
    return 0;
}

static int run_until(int64_t now)
{
    heard[0] = 0;
    due_count = 0;
    return mb__events_timers(es, now);
}

static void setup(void)
{
    listeners_setup(2);
    mb__events_timers(es, START);
}

static void test_order(void)
{
    setup();
    CHECK_INT(mb__events_next_timer(es), INT64_MAX);
    mb_timer_add(mon[0], NULL, 500, 0, hear_due, "c"); /* all in one tick of the wheel */
    mb_timer_add(mon[0], NULL, 400, 0, hear_due, "a");
    mb_timer_add(mon[1], NULL, 400, 0, hear_due, "b");
    mb_timer_add(mon[0], NULL, 5 * SECOND, 0, hear_due, "e");
    mb_timer_add(mon[1], NULL, 3 * SECOND, 0, hear_due, "d");
    CHECK(mb__events_next_timer(es) < START + 2 * MS);
    run_until(START + 399);
    CHECK_STR(heard, "");
    run_until(START + 10 * SECOND);
    CHECK_STR(heard, "a b c d e");
    CHECK(due_seen[0] == START + 400 && due_seen[4] == START + 5 * SECOND);
    run_until(START + 20 * SECOND);
    CHECK_STR(heard, "");
    CHECK_INT(es->timers.pool.used, 0);
    listeners_teardown();
}

static void test_at_most_a_tick_late(void)
{
    setup();
    for (int64_t after = 1; after < 3000 * SECOND; after = after * 5 + 3) {
        mb_timer_add(mon[0], NULL, after, 0, hear_due, "x");
        int64_t due = es->now + after;
        run_until(due - 1);
        CHECK_STR(heard, "");
        run_until(due + (1 << MB__WHEEL_SHIFT));
        CHECK_STR(heard, "x");
    }
    listeners_teardown();
}

static void test_before_the_first_packet(void)
{
    listeners_setup(1);
    mb_timer_add(mon[0], NULL, SECOND, SECOND, hear_due, "t");
    int64_t never = mb_timer_add(mon[0], NULL, SECOND, 0, hear_due, "never");
    CHECK(mb__events_next_timer(es) == INT64_MIN);
    CHECK_INT(mb_timer_del(mon[0], never), 0);
    run_until(START);
    CHECK_STR(heard, "");
    CHECK(mb__events_next_timer(es) > START);
    run_until(START + SECOND + 2 * MS);
    CHECK_STR(heard, "t");
    CHECK(due_seen[0] == START + SECOND);
    listeners_teardown();
}

static void test_periodic(void)
{
    setup();
    int64_t id = mb_timer_add(mon[0], NULL, SECOND, 10 * SECOND, hear_due, "p");
    for (int turn = 0; turn < 5; turn++) {
        run_until(START + SECOND + turn * 10 * SECOND + 2 * MS);
        CHECK_STR(heard, "p");
        CHECK(due_seen[0] == START + SECOND + turn * 10 * SECOND);
    }
    run_until(START + 86400 * SECOND); /* a jump over thousands of turns is one */
    CHECK_STR(heard, "p");
    run_until(START + 86411 * SECOND + 2 * MS);
    CHECK_STR(heard, "p");
    CHECK((due_seen[0] - START - SECOND) % (10 * SECOND) == 0); /* still in step */
    CHECK_INT(mb_timer_del(mon[0], id), 0);
    CHECK_INT(mb_timer_del(mon[0], id), MB_ENOENT);
    run_until(START + 99999 * SECOND);
    CHECK_STR(heard, "");
    listeners_teardown();
}

static int64_t victim;

static int cancel(struct mb_event *ev, void *arg)
{
    note(arg);
    note(mb_timer_del(ev->monitor, victim) == 0 ? "ok" : "no");
    return 0;
}

static void test_cancel(void)
{
    setup();
    victim = mb_timer_add(mon[0], NULL, SECOND, SECOND, cancel, "own");
    run_until(START + 2 * SECOND);
    CHECK_STR(heard, "own ok");
    run_until(START + 9 * SECOND);
    CHECK_STR(heard, "");
    victim = mb_timer_add(mon[0], NULL, SECOND, 0, cancel, "once");
    run_until(START + 20 * SECOND);
    CHECK_STR(heard, "once ok");
    CHECK_INT(mb_timer_del(mon[0], victim), MB_ENOENT);
    mb_timer_add(mon[0], NULL, SECOND, 0, cancel, "killer"); /* of one that is due in the same call */
    victim = mb_timer_add(mon[0], NULL, SECOND + 5, 0, hear_due, "victim");
    run_until(START + 30 * SECOND);
    CHECK_STR(heard, "killer ok");
    victim = mb_timer_add(mon[1], NULL, SECOND, 0, hear_due, "other's");
    CHECK_INT(mb_timer_del(mon[0], victim), MB_ENOENT);
    CHECK_INT(mb_timer_del(mon[1], 0), MB_ENOENT);
    CHECK_INT(mb_timer_del(mon[1], -5), MB_ENOENT);
    CHECK_INT(mb_timer_del(mon[1], INT64_MAX), MB_ENOENT);
    CHECK_INT(mb_timer_del(mon[1], victim), 0);
    CHECK_INT(es->timers.pool.used, 0);
    listeners_teardown();
}

static int add_another(struct mb_event *ev, void *arg)
{
    note("add");
    mb_timer_add(ev->monitor, NULL, 0, 0, hear_due, "added");
    return 0;
}

static void test_add_in_callback(void)
{
    setup();
    mb_timer_add(mon[0], NULL, SECOND, 0, add_another, NULL);
    run_until(START + 2 * SECOND);
    CHECK_STR(heard, "add"); /* "now" is the next tick, never the same call */
    run_until(START + 2 * SECOND + 2 * MS);
    CHECK_STR(heard, "added");
    listeners_teardown();
}

static int end_flow(struct mb_event *ev, void *arg)
{
    note("end");
    mb__events_detach(es, arg);
    return 0;
}

static void test_bound_to_a_flow(void)
{
    setup();
    for (int i = 0; i < FLOWS; i++) {
        struct mb_flow *flow = attached(i);
        for (int j = 0; j < 5; j++)
            CHECK(mb_timer_add(mon[j % 2], flow, (1 + j) * SECOND, 0, hear_due, "t") > 0);
    }
    CHECK_INT(es->timers.bound, FLOWS * 5);
    for (int i = 0; i < FLOWS; i++)
        if (i != 7 && i != 9)
            mb__events_detach(es, &flows[i].flow);
    CHECK_INT(es->timers.bound, 10);
    mb_ignore(mon[0], &flows[7].flow); /* three of its five */
    CHECK_INT(es->timers.bound, 7);
    mb_timer_add(mon[1], NULL, SECOND / 2, 0, end_flow, &flows[9].flow);
    run_until(START + 100 * SECOND);
    CHECK_STR(heard, "end t t");
    CHECK_INT(es->timers.bound, 0);
    CHECK_INT(es->timers.pool.used, 0);
    struct mb_flow loose = {0};
    CHECK_INT(mb_timer_add(mon[0], &loose, 1, 0, hear_due, "x"), MB_ESTATE);
    CHECK_INT(mb_timer_add(mon[0], NULL, -1, 0, hear_due, "x"), MB_EINVAL);
    CHECK_INT(mb_timer_add(mon[0], NULL, 1, -1, hear_due, "x"), MB_EINVAL);
    CHECK(mb_timer_add(mon[0], NULL, INT64_MAX, INT64_MAX, hear_due, "x") > 0);
    listeners_teardown();
}

/* Without a callback of its own a timer is an event like others. */
static void test_registered_listeners(void)
{
    setup();
    uint32_t f = (uint32_t)mb__event_define(es, MB_EV_TIMER, say_yes, "?", 2);
    mb_on(mon[0], NULL, MB_EV_TIMER, 0, hear_due, "0");
    mb_on(mon[1], NULL, MB_EV_TIMER, 0, hear, "1");
    mb_on(mon[1], NULL, f, 0, hear, "1f");
    mb_timer_add(mon[1], NULL, SECOND, 0, NULL, "record");
    run_until(START + 2 * SECOND);
    CHECK_STR(heard, "1 ? 1f");
    mb_timer_add(mon[1], attached(0), SECOND, 0, NULL, "record");
    run_until(START + 4 * SECOND);
    CHECK_STR(heard, "1 ? 1f");
    CHECK(mb__events_wanted(es) >> MB_EV_TIMER & 1);
    listeners_teardown();
}

static int failing(struct mb_event *ev, void *arg)
{
    note("fail");
    return MB_EIO;
}

static int stopping(struct mb_event *ev, void *arg)
{
    note("stop");
    return 1;
}

static void test_failure_loses_nothing(void)
{
    setup();
    mb_timer_add(mon[0], NULL, SECOND, 0, stopping, NULL);
    mb_timer_add(mon[0], NULL, SECOND + 1, 0, failing, NULL);
    mb_timer_add(mon[0], NULL, SECOND + 2, 0, stopping, NULL);
    mb_timer_add(mon[0], NULL, SECOND + 3, 0, hear_due, "x");
    CHECK_INT(run_until(START + 2 * SECOND), MB_EIO);
    CHECK_STR(heard, "stop fail");
    CHECK_INT(run_until(START + 3 * SECOND), 1);
    CHECK_STR(heard, "stop x");
    CHECK_INT(es->timers.pool.used, 0);
    listeners_teardown();
}

int main(void)
{
    RUN(test_order);
    RUN(test_at_most_a_tick_late);
    RUN(test_before_the_first_packet);
    RUN(test_periodic);
    RUN(test_cancel);
    RUN(test_add_in_callback);
    RUN(test_bound_to_a_flow);
    RUN(test_registered_listeners);
    RUN(test_failure_loses_nothing);
    return test_done();
}
