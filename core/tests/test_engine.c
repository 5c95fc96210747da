/* SPDX-License-Identifier: BSD-3-Clause */
/* test_engine -- the clock and the end of a run, frame by frame */
#include "frame.h"
#include "test.h"

#define SECOND 1000000000LL

static struct mb_engine *engine;
static int ended[8]; /* flow_end events, by enum mb_end_reason */

static int on_end(struct mb_event *ev, void *arg)
{
    (void)arg;
    ended[ev->reason & 7]++;
    return 0;
}

static void begin(const struct mb_config *config)
{
    char err[MB_ERRBUF_SIZE];
    memset(ended, 0, sizeof ended);
    engine = mb_engine_new(config, err);
    struct mb_monitor *m = mb_monitor_new(engine, "test", err);
    CHECK_INT(mb_on(m, NULL, MB_EV_FLOW_END, MB_HOOK_NONE, on_end, NULL), 0);
}

/* A UDP datagram from port |port|, at |ts|. */
static void datagram(unsigned port, int64_t ts)
{
    struct frame f = {0};
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 17, 0);
    frame_udp(&f, port, 9);
    frame_text(&f, "x");
    frame_end(&f);
    struct mb_frame frame = {ts, f.b, (uint32_t)f.len, (uint32_t)f.len};
    CHECK_INT(mb_engine_frame(engine, 1, &frame), 0);
}

static struct mb_stats stats(void)
{
    struct mb_stats s;
    mb_engine_stats(engine, &s);
    return s;
}

static void test_time_never_goes_backward(void)
{
    begin(NULL);
    datagram(1000, 100 * SECOND);
    datagram(1001, 50 * SECOND);
    CHECK_INT(mb_engine_now(engine), 100 * SECOND);
    CHECK_INT(stats().backward_time, 1);
    datagram(1002, 159 * SECOND);
    CHECK_INT(ended[MB_END_TIMEOUT], 0);
    datagram(1002, 161 * SECOND);
    CHECK_INT(ended[MB_END_TIMEOUT], 2);
    mb_engine_free(engine);
}

/* The last times that 64 bits hold leave room for a timeout. */
static void test_the_end_of_time(void)
{
    begin(NULL);
    datagram(1000, INT64_MAX);
    datagram(1001, INT64_MAX - 1);
    datagram(1002, INT64_MIN);
    CHECK_INT(stats().flows_active, 3);
    CHECK_INT(stats().backward_time, 1);
    CHECK_INT(mb_engine_advance(engine, INT64_MAX), 0);
    CHECK_INT(mb_engine_finish(engine), 0);
    CHECK_INT(ended[MB_END_SHUTDOWN], 3);
    mb_engine_free(engine);
}

static void test_config_mistakes(void)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct mb_config config;
    mb_config_init(&config);
    config.timeout_udp = -1;
    CHECK(mb_engine_new(&config, err) == NULL);
    CHECK_STR(err, "a timeout must be between 0 and 146 years");
    mb_config_init(&config);
    config.max_flows = 0;
    CHECK(mb_engine_new(&config, NULL) == NULL);
    mb_config_init(&config);
    config.urgent = 2;
    CHECK(mb_engine_new(&config, err) == NULL);
    CHECK_STR(err, "urgent must be inline or oob");
    mb_config_init(&config);
    config.table_full = 3;
    CHECK(mb_engine_new(&config, err) == NULL);
    CHECK_STR(err, "table_full must be evict, open or close");
}

static void test_a_full_table_makes_room(void)
{
    struct mb_config config;
    mb_config_init(&config);
    config.max_flows = 10;
    begin(&config);
    for (unsigned port = 0; port < 25; port++)
        datagram(1000 + port, SECOND);
    CHECK_INT(stats().flows_active, 10);
    CHECK_INT(ended[MB_END_EVICTED], 15);
    CHECK_INT(stats().anomalies[MB_ANOMALY_FLOW_LIMIT], 15);
    mb_engine_free(engine);
}

static void test_what_is_said_of_hosts_makes_sense(void)
{
    struct mb_addr any = {{0}};
    begin(NULL);
    CHECK_INT(mb_engine_set_overlap(engine, &any, 0, MB_OVERLAP_COUNT), MB_EINVAL);
    CHECK_INT(mb_engine_set_overlap(engine, &any, 0, -1), MB_EINVAL);
    CHECK_INT(mb_engine_set_overlap(engine, &any, 129, MB_OVERLAP_BSD), MB_EINVAL);
    CHECK_INT(mb_engine_set_hops(engine, &any, 0, 256), MB_EINVAL);
    CHECK_INT(mb_engine_set_hops(engine, &any, 129, 3), MB_EINVAL);
    CHECK_INT(mb_engine_set_hops(engine, &any, 0, 255), 0);
    mb_engine_free(engine);
}

/* ---- who knows the code, but not the key ------------------------------------ */

static uint32_t last_hash;

static int on_raw(struct mb_event *ev, void *arg)
{
    (void)arg;
    last_hash = ev->packet->hash;
    return 0;
}

static void begin_with_seed(uint64_t seed)
{
    struct mb_config config;
    char err[MB_ERRBUF_SIZE];
    mb_config_init(&config);
    config.seed = seed;
    begin(&config);
    struct mb_monitor *m = mb_monitor_new(engine, "raw", err);
    CHECK_INT(mb_on(m, NULL, MB_EV_RAW, MB_HOOK_NONE, on_raw, NULL), 0);
}

enum { PORTS = 65536, COLLIDING = 500 };

/* The ports whose datagrams fall into one bucket of 128, in an engine of |seed|. */
static int colliding_ports(uint64_t seed, unsigned ports[COLLIDING])
{
    int found = 0;
    begin_with_seed(seed);
    for (unsigned port = 0; port < PORTS && found < COLLIDING; port++) {
        datagram(port, SECOND);
        if (last_hash % 128 == 5)
            ports[found++] = port;
    }
    mb_engine_free(engine);
    return found;
}

/* Datagrams crafted for one key: how many of their flows an engine of |seed| keeps. */
static uint64_t flows_kept(uint64_t seed, const unsigned ports[COLLIDING])
{
    begin_with_seed(seed);
    for (int i = 0; i < COLLIDING; i++)
        datagram(ports[i], SECOND);
    uint64_t active = stats().flows_active, evicted = (uint64_t)ended[MB_END_EVICTED];
    CHECK_INT(active + evicted, COLLIDING);
    CHECK_INT(stats().anomalies[MB_ANOMALY_FLOW_LIMIT], evicted);
    mb_engine_free(engine);
    return active;
}

/* Flows that collide under one key, and fill their row of buckets there, do not
 * under another. */
static void test_crafted_collisions(void)
{
    unsigned ports[COLLIDING];
    CHECK_INT(colliding_ports(1, ports), COLLIDING);
    CHECK_INT(flows_kept(1, ports), 2 * 119);
    for (uint64_t seed = 2; seed < 10; seed++)
        CHECK_INT(flows_kept(seed, ports), COLLIDING);
    CHECK_INT(flows_kept(0, ports), COLLIDING);
}

int main(void)
{
    RUN(test_time_never_goes_backward);
    RUN(test_the_end_of_time);
    RUN(test_config_mistakes);
    RUN(test_a_full_table_makes_room);
    RUN(test_crafted_collisions);
    RUN(test_what_is_said_of_hosts_makes_sense);
    return test_done();
}
