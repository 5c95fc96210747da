/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tally -- groups of flows against plain counting, and what is let go */
#include <stdlib.h>

#include "output/output.h"
#include "test.h"

/* A flow from 10.0.|host| to 192.0.2.|server|. */
static struct mb_flow flow_of(unsigned host, unsigned server, uint16_t port, uint64_t packets, uint64_t bytes)
{
    struct mb_flow flow = {.ip_proto = 6, .ip_version = 4, .first_ts = 1000, .last_ts = 2000};
    mb_addr_parse("10.0.0.0", &flow.end[MB_CLIENT].addr);
    mb_addr_parse("192.0.2.0", &flow.end[MB_SERVER].addr);
    flow.end[MB_CLIENT].addr.byte[14] = (uint8_t)(host >> 8);
    flow.end[MB_CLIENT].addr.byte[15] = (uint8_t)host;
    flow.end[MB_SERVER].addr.byte[15] = (uint8_t)server;
    flow.end[MB_CLIENT].port = 40000;
    flow.end[MB_SERVER].port = port;
    flow.end[MB_CLIENT].packets = packets;
    flow.end[MB_CLIENT].bytes = bytes;
    flow.end[MB_SERVER].packets = 2 * packets;
    flow.end[MB_SERVER].bytes = 10 * bytes;
    return flow;
}

static void test_sums(void)
{
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_PORT, 0);
    struct mb_flow a = flow_of(1, 1, 80, 3, 100), b = flow_of(2, 1, 80, 4, 200), c = flow_of(1, 1, 443, 1, 7);
    b.first_ts = 500;
    b.last_ts = 9000;
    CHECK_INT(mb__tally_add(t, &a), 0);
    CHECK_INT(mb__tally_add(t, &b), 0);
    CHECK_INT(mb__tally_add(t, &c), 0);
    struct mb_tally_row rows[3];
    CHECK_INT(mb__tally_top(t, "bytes", rows, 3), 2);
    CHECK_INT(rows[0].port[MB_SERVER], 80);
    CHECK_INT(rows[0].ip_proto, 6);
    CHECK_INT(rows[0].flows, 2);
    CHECK_INT(rows[0].packets[MB_CLIENT], 7);
    CHECK_INT(rows[0].packets[MB_SERVER], 14);
    CHECK_INT(rows[0].bytes[MB_CLIENT], 300);
    CHECK_INT(rows[0].bytes[MB_SERVER], 3000);
    CHECK_INT(rows[0].first_ts, 500);
    CHECK_INT(rows[0].last_ts, 9000);
    CHECK_INT(rows[1].port[MB_SERVER], 443);
    CHECK_INT(mb__tally_top(t, "bytes", rows, 1), 1);
    CHECK_INT(mb__tally_top(t, "bytes", rows, 0), 0);
    mb__tally_free(t);
}

static void test_ports_are_of_protocols_that_have_them(void)
{
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_PORT, 0);
    struct mb_flow flow = flow_of(1, 1, 8, 1, 1);
    flow.ip_proto = 1;
    CHECK_INT(mb__tally_add(t, &flow), 0);
    CHECK_INT(mb_tally_size(t), 0);
    mb__tally_free(t);
}

static void test_hosts_send_and_receive(void)
{
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_HOST, 0);
    struct mb_flow flow = flow_of(1, 1, 80, 3, 100), self = flow_of(7, 0, 80, 1, 5);
    self.end[MB_SERVER].addr = self.end[MB_CLIENT].addr;
    mb__tally_add(t, &flow);
    mb__tally_add(t, &self);
    struct mb_tally_row rows[4];
    CHECK_INT(mb__tally_top(t, "packets", rows, 4), 3);
    for (int n = 0; n < 3; n++) {
        char text[MB_ADDR_TEXT];
        mb_addr_text(&rows[n].addr[0], text);
        CHECK_INT(rows[n].flows, 1);
        if (strcmp(text, "10.0.0.1") == 0) {
            CHECK_INT(rows[n].packets[0], 3);
            CHECK_INT(rows[n].bytes[1], 1000);
        } else if (strcmp(text, "192.0.2.1") == 0) {
            CHECK_INT(rows[n].packets[0], 6);
            CHECK_INT(rows[n].bytes[1], 100);
        } else {
            CHECK_STR(text, "10.0.0.7");
            CHECK_INT(rows[n].packets[0], 1);
        }
    }
    mb__tally_free(t);
}

/* What a tally says beside an array that is counted in the plainest way. */
static void test_against_plain_counting(void)
{
    enum { HOSTS = 300, FLOWS = 20000 };
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_PAIR, 0);
    static uint64_t bytes[HOSTS], flows[HOSTS];
    memset(bytes, 0, sizeof bytes);
    memset(flows, 0, sizeof flows);
    srand(1);
    for (int n = 0; n < FLOWS; n++) {
        unsigned host = (unsigned)(rand() % HOSTS) * (unsigned)(rand() % HOSTS) / HOSTS;
        struct mb_flow flow = flow_of(host, 1, 80, 1, (uint64_t)(rand() % 5));
        bytes[host] += 11 * flow.end[MB_CLIENT].bytes;
        flows[host]++;
        CHECK(mb__tally_add(t, &flow) == 0);
    }
    static struct mb_tally_row rows[HOSTS];
    size_t count = mb__tally_top(t, "bytes", rows, HOSTS);
    CHECK_INT(count, mb_tally_size(t));
    CHECK_INT(mb_tally_evicted(t), 0);
    for (size_t n = 0; n < count; n++) {
        unsigned host = (unsigned)rows[n].addr[MB_CLIENT].byte[14] << 8 | rows[n].addr[MB_CLIENT].byte[15];
        CHECK_INT(rows[n].bytes[0] + rows[n].bytes[1], bytes[host]);
        CHECK_INT(rows[n].flows, flows[host]);
        if (n > 0)
            CHECK(rows[n - 1].bytes[0] + rows[n - 1].bytes[1] >= rows[n].bytes[0] + rows[n].bytes[1]);
    }
    struct mb_tally_row few[5];
    CHECK_INT(mb__tally_top(t, "bytes", few, 5), 5);
    CHECK_MEM(few, rows, sizeof few);
    mb__tally_free(t);
}

static void test_equals_are_in_order_of_keys(void)
{
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_PAIR, 0);
    for (unsigned host = 50; host-- > 0;) {
        struct mb_flow flow = flow_of((host * 7) % 50, 1, 80, 1, 1);
        mb__tally_add(t, &flow);
    }
    struct mb_tally_row rows[50];
    CHECK_INT(mb__tally_top(t, "flows", rows, 50), 50);
    for (int n = 0; n < 50; n++)
        CHECK_INT(rows[n].addr[MB_CLIENT].byte[15], n);
    mb__tally_free(t);
}

/* The largest quarter of single flows is right however they come. */
static void test_top_talkers_survive(void)
{
    enum { ROWS = 64, FLOWS = 5000 };
    for (int order = 0; order < 3; order++) {
        struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_FLOW, ROWS);
        for (int n = 0; n < FLOWS; n++) {
            int size = order == 0 ? n : order == 1 ? FLOWS - 1 - n : (n * 2711) % FLOWS;
            struct mb_flow flow = flow_of((unsigned)n, 1, 80, (uint64_t)(FLOWS - size), (uint64_t)size);
            CHECK(mb__tally_add(t, &flow) == 0);
            CHECK(mb_tally_size(t) <= ROWS);
        }
        struct mb_tally_row rows[ROWS / 4];
        CHECK_INT(mb__tally_top(t, "bytes", rows, ROWS / 4), ROWS / 4);
        for (int n = 0; n < ROWS / 4; n++)
            CHECK_INT(rows[n].bytes[MB_CLIENT], FLOWS - 1 - n);
        CHECK_INT(mb__tally_top(t, "packets", rows, ROWS / 4), ROWS / 4);
        for (int n = 0; n < ROWS / 4; n++)
            CHECK_INT(rows[n].packets[MB_CLIENT], FLOWS - n);
        CHECK_INT(mb_tally_evicted(t) + mb_tally_size(t), FLOWS);
        mb__tally_free(t);
    }
}

/* A flood of small hosts does not push out a large one, which goes on counting. */
static void test_large_groups_survive(void)
{
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_PAIR, 32);
    for (unsigned n = 0; n < 10000; n++) {
        struct mb_flow large = flow_of(0xffff, 1, 80, 1, 100), small = flow_of(n % 0xfff0, 1, 80, 1, 1);
        CHECK(mb__tally_add(t, &large) == 0);
        CHECK(mb__tally_add(t, &small) == 0);
        CHECK(mb_tally_size(t) <= 32);
    }
    struct mb_tally_row row;
    CHECK_INT(mb__tally_top(t, "flows", &row, 1), 1);
    CHECK_INT(row.flows, 10000);
    CHECK(mb_tally_evicted(t) > 9000);
    mb__tally_free(t);
}

static void test_a_copy_is_its_own(void)
{
    struct mb_tally *t = mb__tally_new(NULL, MB_TALLY_PROTOCOL, 0);
    struct mb_flow flow = flow_of(1, 1, 80, 1, 1);
    mb__tally_add(t, &flow);
    struct mb_tally *copy = mb__tally_copy(t);
    mb__tally_add(copy, &flow);
    struct mb_tally_row row;
    CHECK_INT(mb__tally_top(copy, "bytes", &row, 1), 1);
    CHECK_INT(row.flows, 2);
    CHECK_INT(mb__tally_top(t, "bytes", &row, 1), 1);
    CHECK_INT(row.flows, 1);
    mb__tally_free(copy);
    mb__tally_free(t);
}

int main(void)
{
    RUN(test_sums);
    RUN(test_ports_are_of_protocols_that_have_them);
    RUN(test_hosts_send_and_receive);
    RUN(test_against_plain_counting);
    RUN(test_equals_are_in_order_of_keys);
    RUN(test_top_talkers_survive);
    RUN(test_large_groups_survive);
    RUN(test_a_copy_is_its_own);
    return test_done();
}
