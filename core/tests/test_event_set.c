/* SPDX-License-Identifier: BSD-3-Clause */
/* test_event_set -- sets are shared, counted, bounded, and say what they hear */
#include "listeners.h"

#define BIT(n) ((uint64_t)1 << (n))

static void test_shared_until_they_diverge(void)
{
    listeners_setup(1);
    mb_on(mon[0], NULL, MB_EV_DATA, 0, hear, "d");
    struct mb_flow *a = attached(0), *b = attached(1), *c = attached(2);
    CHECK(a->set == b->set && b->set == c->set);
    CHECK_INT(mb_on(mon[0], b, MB_EV_GAP, 0, hear, "g"), 0);
    CHECK(a->set != b->set);
    CHECK(a->set == c->set);
    CHECK_INT(mb_on(mon[0], c, MB_EV_GAP, 0, hear, "g"), 0);
    CHECK(b->set == c->set);
    CHECK_INT(mb_off(mon[0], b, MB_EV_GAP, 0), 0);
    CHECK(a->set == b->set);
    listeners_teardown();
}

/* Whatever the order of the calls, what is registered decides. */
static void test_order_does_not_matter(void)
{
    listeners_setup(2);
    struct mb_flow *a = attached(0), *b = attached(1);
    mb_on(mon[0], a, MB_EV_DATA, 0, hear, "1");
    mb_on(mon[1], a, MB_EV_PACKET, MB_HOOK_RCV, hear, "2");
    mb_on(mon[1], a, MB_EV_PACKET, MB_HOOK_SND, hear, "3");
    mb_on(mon[1], b, MB_EV_PACKET, MB_HOOK_SND, hear, "3");
    mb_on(mon[1], b, MB_EV_PACKET, MB_HOOK_RCV, hear, "x");
    mb_on(mon[1], b, MB_EV_PACKET, MB_HOOK_RCV, hear, "2");
    mb_on(mon[0], b, MB_EV_DATA, 0, hear, "1");
    CHECK(a->set == b->set);
    listeners_teardown();
}

static void test_events_bits(void)
{
    listeners_setup(2);
    int parent = mb__event_define(es, MB_EV_RETRANSMIT, say_yes, "f", 2);
    int child = mb__event_define(es, (uint32_t)parent, say_yes, "f", 2);
    CHECK(mb__events_wanted(es) == 0);
    struct mb_flow *a = attached(0);
    CHECK(a->events == 0);
    mb_on(mon[0], a, (uint32_t)child, 0, hear, "c");
    CHECK(a->events == BIT(MB_EV_RETRANSMIT));
    CHECK(mb__heard(a, MB_EV_RETRANSMIT) && !mb__heard(a, MB_EV_DATA));
    mb_on(mon[1], a, MB_EV_PACKET, MB_HOOK_RCV, hear, "p");
    CHECK((a->events & (BIT(MB_EV_BUILTIN) - 1)) == (BIT(MB_EV_RETRANSMIT) | BIT(MB_EV_PACKET)));
    CHECK(mb__heard_at(a, MB_EV_PACKET, MB_HOOK_RCV) && !mb__heard_at(a, MB_EV_STATE_CHANGE, MB_HOOK_RCV));
    mb_off(mon[0], a, (uint32_t)child, 0);
    CHECK((a->events & (BIT(MB_EV_BUILTIN) - 1)) == BIT(MB_EV_PACKET));
    CHECK(mb__events_wanted(es) == (BIT(MB_EV_RETRANSMIT) | BIT(MB_EV_PACKET)));
    CHECK(*mb__events_global(es) == 0);
    mb_on(mon[0], NULL, MB_EV_RAW, 0, hear, "r");
    mb_on(mon[1], NULL, MB_EV_RAW, 0, hear, "r");
    mb_on(mon[1], NULL, MB_EV_DATA, 0, hear, "d");
    CHECK(*mb__events_global(es) == BIT(MB_EV_RAW));
    mb_off(mon[0], NULL, MB_EV_RAW, 0);
    CHECK(*mb__events_global(es) == BIT(MB_EV_RAW));
    mb_off(mon[1], NULL, MB_EV_RAW, 0);
    CHECK(*mb__events_global(es) == 0);
    CHECK(mb__events_wanted(es) >> MB_EV_RAW & 1);
    listeners_teardown();
}

/* A million argument values on flows that come and go leave nothing behind. */
static void test_churn_is_bounded(void)
{
    listeners_setup(1);
    mb_on(mon[0], NULL, MB_EV_DATA, 0, hear, "d");
    for (size_t i = 0; i < 200000; i++) {
        struct mb_flow *a = attached(0);
        mb_on(mon[0], a, MB_EV_GAP, 0, hear, (void *)(uintptr_t)i);
        mb__events_detach(es, a);
    }
    CHECK(es->sets.count <= MB__MEMO_SLOTS + 2);
    CHECK(es->sets.idle_bytes <= MB__IDLE_BYTES);
    CHECK(es->sets.bytes <= MB__IDLE_BYTES + 4096);
    listeners_teardown();
}

/* Large sets that only the memory of steps keeps are let go by their bytes. */
static void test_idle_bytes(void)
{
    listeners_setup(1);
    for (int i = 0; i < 2000; i++) {
        char arg[8];
        snprintf(arg, sizeof arg, "%d", i);
        int id = mb__event_define(es, MB_EV_DATA, say_yes, arg, sizeof arg);
        CHECK(id >= MB_EV_USER);
        mb_on(mon[0], NULL, (uint32_t)id, 0, hear, "d");
    }
    for (size_t i = 0; i < 500; i++) {
        struct mb_flow *a = attached(0);
        mb_on(mon[0], a, MB_EV_GAP, 0, hear, (void *)(uintptr_t)i);
        CHECK(es->sets.idle_bytes <= MB__IDLE_BYTES);
        mb__events_detach(es, a);
        CHECK(es->sets.idle_bytes <= MB__IDLE_BYTES);
    }
    listeners_teardown();
}

/* All uses are given back: with the last flow and registration only the empty
 * set and what the memory of steps keeps are left, and that is all idle. */
static void test_uses_balance(void)
{
    listeners_setup(3);
    for (int i = 0; i < FLOWS; i++)
        attached(i);
    for (int i = 0; i < 5000; i++) {
        struct mb_flow *flow = &flows[(i * 37) % FLOWS].flow;
        struct mb_monitor *m = mon[i % 3];
        uint32_t event = (uint32_t)(i * 7 % 5) + MB_EV_RETRANSMIT;
        if (event == MB_EV_ORPHAN)
            event = MB_EV_PACKET;
        void *arg = (void *)(uintptr_t)(i % 13);
        int r = i % 11 < 7 ? mb_on(m, flow, event, 0, hear, arg) : mb_off(m, flow, event, 0);
        CHECK(r == 0 || r == MB_ENOENT);
    }
    for (int i = 0; i < FLOWS; i++)
        mb__events_detach(es, &flows[i].flow);
    mb_on(mon[0], NULL, MB_EV_DATA, 0, hear, "d"); /* lets the templates go */
    CHECK(es->sets.idle_bytes == es->sets.bytes);
    size_t uses = 0, idle = 0;
    for (uint32_t i = 0; i < es->sets.buckets; i++)
        for (const struct mb__set *s = es->sets.bucket[i]; s != NULL; s = s->next) {
            uses += s->uses;
            idle += s->memos != 0;
        }
    CHECK_INT(uses, 0);
    CHECK_INT(idle, es->sets.count);
    listeners_teardown();
}

int main(void)
{
    RUN(test_shared_until_they_diverge);
    RUN(test_order_does_not_matter);
    RUN(test_events_bits);
    RUN(test_churn_is_bounded);
    RUN(test_idle_bytes);
    RUN(test_uses_balance);
    return test_done();
}
