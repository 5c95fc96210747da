/* SPDX-License-Identifier: BSD-3-Clause */
/* test_table -- flows by key, by idle time and by age */
#include "flow/table.h"

#include "base/hash.h"
#include "test.h"

#define SECOND 1000000000LL
#define TICK (1LL << MB__WHEEL_SHIFT)

static struct mb__hash_key key;
static struct mb_config config;
static struct mb__flows table;

static void begin(uint32_t max_flows)
{
    mb__hash_key_init(&key, 7);
    config = (struct mb_config){.max_flows = max_flows, .timeout_udp = 10 * SECOND, .timeout_tcp = 60 * SECOND,
                                .timeout_tcp_closed = SECOND};
    CHECK_INT(mb__flows_init(&table, &config, 8), 0);
}

/* A packet of flow |n|: hosts and ports made from the number. */
static struct mb_packet packet(uint32_t n, bool back)
{
    struct mb_packet p = {.ip_proto = 17, .ts = SECOND};
    uint8_t a[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = (uint8_t)(n >> 16), [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n};
    uint8_t b[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [15] = 1};
    memcpy(&p.src, back ? b : a, 16);
    memcpy(&p.dst, back ? a : b, 16);
    p.sport = back ? 53 : 4000;
    p.dport = back ? 4000 : 53;
    p.hash = mb__hash_flow(&key, p.src.byte, p.sport, p.dst.byte, p.dport, 17);
    return p;
}

static struct mb_flow *add(uint32_t n, int64_t ts)
{
    struct mb_packet p = packet(n, false);
    p.ts = ts;
    struct mb_flow *flow = mb__flows_add(&table, &p, MB_CLIENT);
    if (flow != NULL)
        mb__flows_start_timer(&table, flow, MB__TIMER_UDP, ts);
    return flow;
}

static void test_both_directions(void)
{
    begin(100);
    struct mb_packet there = packet(1, false), back = packet(1, true), other = packet(2, false);
    CHECK_INT(there.hash, back.hash);
    struct mb_flow *flow = add(1, SECOND);
    int side = -1;
    CHECK(mb__flows_find(&table, &there, &side) == flow);
    CHECK_INT(side, MB_CLIENT);
    CHECK(mb__flows_find(&table, &back, &side) == flow);
    CHECK_INT(side, MB_SERVER);
    CHECK(mb__flows_find(&table, &other, &side) == NULL);
    mb__flows_fini(&table);
}

/* What is recalled is the packet's own flow, alive, though others have its hash, had its place
 * among the recent or its slot; who is not recent any more is after it was fetched. */
static void test_recent(void)
{
    begin(MB__RECENT * 4);
    struct mb_packet one = packet(1, true), twin = packet(2, false);
    twin.hash = one.hash;
    int side = -1;
    CHECK(mb__flows_recall(&table, &one, &side) == NULL);
    struct mb_flow *flow = add(1, SECOND);
    CHECK(mb__flows_recall(&table, &one, &side) == flow);
    CHECK_INT(side, MB_SERVER);
    CHECK(mb__flows_recall(&table, &twin, &side) == NULL);
    for (uint32_t n = 3; n < MB__RECENT * 3; n++)
        CHECK(add(n, SECOND) != NULL);
    CHECK(mb__flows_recall(&table, &one, &side) == NULL);
    mb__flows_fetch(&table, one.hash);
    CHECK(mb__flows_recall(&table, &one, &side) == flow);
    mb__flows_del(&table, flow);
    CHECK(mb__flows_recall(&table, &one, &side) == NULL);
    mb__flows_fetch(&table, one.hash);
    CHECK(mb__flows_recall(&table, &one, &side) == NULL);
    CHECK(mb__flows_add(&table, &twin, MB_CLIENT) == flow); /* the slot */
    CHECK(mb__flows_recall(&table, &one, &side) == NULL);
    CHECK(mb__flows_recall(&table, &twin, &side) == flow);
    struct mb_flow *other = mb__flows_add(&table, &one, MB_SERVER); /* takes the place of its twin, */
    CHECK(mb__flows_recall(&table, &one, &side) == other);
    mb__flows_del(&table, other); /* which is then not recalled, but found */
    CHECK(mb__flows_recall(&table, &twin, &side) == NULL);
    CHECK(mb__flows_find(&table, &twin, &side) == flow);
    mb__flows_remember(&table, flow);
    CHECK(mb__flows_recall(&table, &twin, &side) == flow);
    mb__flows_fini(&table);
}

/* Growth bucket by bucket loses nobody, and neither does removal on the way. */
static void test_many(void)
{
    enum { MANY = 50000 };
    begin(MANY);
    int side;
    for (uint32_t n = 0; n < MANY; n++) {
        CHECK(add(n, SECOND) != NULL);
        if (n % 3 == 2) {
            struct mb_packet p = packet(n - 1, true);
            mb__flows_del(&table, mb__flows_find(&table, &p, &side));
        }
    }
    uint32_t found = 0, walked = 0;
    for (uint32_t n = 0; n < MANY; n++) {
        struct mb_packet p = packet(n, n % 2);
        bool here = mb__flows_find(&table, &p, &side) != NULL;
        CHECK_INT(here, n % 3 != 1 || n == MANY - 1);
        found += here;
    }
    for (struct mb_flow *flow = NULL; (flow = mb__flows_each(&table, flow)) != NULL;)
        walked++;
    CHECK_INT(found, table.pool.used);
    CHECK_INT(walked, table.pool.used);
    CHECK(mb__flows_memory(&table) <= 328ull * table.pool.used + 8192);
    mb__flows_fini(&table);
}

static void test_idle_times(void)
{
    begin(100);
    struct mb_flow *idle = add(1, SECOND), *busy = add(2, SECOND);
    CHECK(mb__flows_expired(&table, 5 * SECOND) == NULL);
    busy->last_ts = 8 * SECOND;
    CHECK(mb__flows_expired(&table, 11 * SECOND - TICK) == NULL);
    CHECK(mb__flows_expired(&table, 11 * SECOND + 2 * TICK) == idle);
    mb__flows_del(&table, idle);
    CHECK(mb__flows_expired(&table, 18 * SECOND - TICK) == NULL);
    CHECK(mb__flows_expired(&table, 18 * SECOND + 2 * TICK) == busy);
    mb__flows_del(&table, busy);
    CHECK(mb__flows_expired(&table, 1000 * SECOND) == NULL);
    mb__flows_fini(&table);
}

/* All end in one tick: the row of them is memory that stays. */
static void test_memory_of_all_at_once(void)
{
    enum { MANY = 3000 };
    begin(MANY);
    for (uint32_t n = 0; n < MANY; n++)
        add(n, SECOND);
    uint64_t before = mb__flows_memory(&table);
    struct mb_flow *flow = mb__flows_expired(&table, 1000 * SECOND);
    CHECK(flow != NULL);
    /* A place in the row for each, and the chunks they waited in are free. */
    CHECK_INT(mb__flows_memory(&table), before + MANY * 16 - (MANY + 11) / 12 * 64);
    for (; flow != NULL; flow = mb__flows_expired(&table, 1000 * SECOND))
        mb__flows_del(&table, flow);
    CHECK(mb__flows_memory(&table) >= MANY * 16);
    CHECK(before + MANY * (3 * 16) <= MANY * mb__flows_cost(0)); /* row, sorting, and the row of finish */
    mb__flows_fini(&table);
}

static void test_shorter_idle_time(void)
{
    begin(100);
    struct mb_flow *flow = add(1, SECOND);
    mb__flows_set_timer(&table, flow, MB__TIMER_TCP, SECOND);
    CHECK(mb__flows_expired(&table, 30 * SECOND) == NULL);
    flow->last_ts = 30 * SECOND;
    mb__flows_set_timer(&table, flow, MB__TIMER_TCP_CLOSED, 30 * SECOND);
    CHECK(mb__flows_expired(&table, 31 * SECOND + 2 * TICK) == flow);
    mb__flows_fini(&table);
}

static void test_victims(void)
{
    begin(4);
    struct mb_flow *flows[4];
    for (uint32_t n = 0; n < 4; n++)
        flows[n] = add(n, SECOND + n);
    CHECK(add(4, SECOND) == NULL);
    for (int n = 0; n < 3; n++)
        mb__flows_settle(&table, flows[n]);
    CHECK(mb__flows_victim(&table, 0) == flows[3]);
    mb__flows_settle(&table, flows[3]);
    flows[0]->last_ts = 50 * SECOND;
    flows[1]->last_ts = 40 * SECOND;
    flows[2]->last_ts = 20 * SECOND;
    flows[3]->last_ts = 30 * SECOND;
    CHECK(mb__flows_victim(&table, 0) == flows[2]);
    mb__flows_del(&table, flows[2]);
    CHECK(mb__flows_victim(&table, 0) == flows[3]);
    CHECK(add(4, SECOND) != NULL);
    mb__flows_fini(&table);
}

/* Flows of one hash: somebody knows the key. Their row is bounded, who was
 * answered stays in it, and other rows do not notice. */
static void test_one_row(void)
{
    enum { ROW = 119 };
    begin(10000);
    struct mb_flow *other = add(1, SECOND), *answered = NULL;
    for (uint32_t n = 2; n < 2 + 1000; n++) {
        struct mb_packet p = packet(n, false);
        p.hash = other->hash + 1;
        p.ts = n * SECOND;
        struct mb_flow *flow = mb__flows_add(&table, &p, MB_CLIENT);
        CHECK_INT(flow != NULL, n < 2 + ROW);
        if (flow == NULL) {
            struct mb_flow *victim = mb__flows_victim(&table, p.hash);
            CHECK(victim->hash == p.hash && victim != answered);
            CHECK_INT(victim->last_ts, p.ts - (n < 10 + ROW ? ROW : ROW - 1) * SECOND);
            mb__flows_del(&table, victim);
            CHECK((flow = mb__flows_add(&table, &p, MB_CLIENT)) != NULL);
        }
        if (n == 10)
            mb__flows_settle(&table, answered = flow);
    }
    CHECK_INT(table.pool.used, ROW + 1);
    struct mb_packet p = packet(1, true);
    int side;
    CHECK(mb__flows_find(&table, &p, &side) == other);
    mb__flows_fini(&table);
}

int main(void)
{
    RUN(test_both_directions);
    RUN(test_recent);
    RUN(test_many);
    RUN(test_idle_times);
    RUN(test_memory_of_all_at_once);
    RUN(test_shorter_idle_time);
    RUN(test_victims);
    RUN(test_one_row);
    return test_done();
}
