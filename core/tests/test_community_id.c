/* SPDX-License-Identifier: BSD-3-Clause */
/* test_community_id -- ids that other tools compute too, and numbers that stay
 *
 * The expected ids are those of the reference implementation, pycommunityid.
 */
#include "output/output.h"
#include "test.h"

static struct mb_flow flow_of(int proto, const char *client, unsigned cport, const char *server, unsigned sport)
{
    struct mb_flow flow = {.ip_proto = (uint8_t)proto, .first_ts = 1700000000000000000};
    flow.ip_version = strchr(client, ':') != NULL ? 6 : 4;
    mb_addr_parse(client, &flow.end[MB_CLIENT].addr);
    mb_addr_parse(server, &flow.end[MB_SERVER].addr);
    flow.end[MB_CLIENT].port = (uint16_t)cport;
    flow.end[MB_SERVER].port = (uint16_t)sport;
    return flow;
}

static const char *id_of(int proto, const char *client, unsigned cport, const char *server, unsigned sport)
{
    static char text[MB__COMMUNITY_ID_TEXT];
    struct mb_flow flow = flow_of(proto, client, cport, server, sport);
    CHECK_INT(mb_flow_community_id(&flow, text), strlen(text));
    return text;
}

/* ICMP: type and code of the client's first message. */
static const char *icmp_id_of(int proto, const char *client, const char *server, unsigned type, unsigned code)
{
    static char text[MB__COMMUNITY_ID_TEXT];
    struct mb_flow flow = flow_of(proto, client, 99, server, 99);
    flow.end[MB_CLIENT].isn = type << 8 | code;
    mb_flow_community_id(&flow, text);
    return text;
}

static void test_ports(void)
{
    CHECK_STR(id_of(6, "1.2.3.4", 1122, "5.6.7.8", 3344), "1:wCb3OG7yAFWelaUydu0D+125CLM=");
    CHECK_STR(id_of(6, "5.6.7.8", 3344, "1.2.3.4", 1122), "1:wCb3OG7yAFWelaUydu0D+125CLM=");
    CHECK_STR(id_of(17, "10.0.0.1", 5353, "10.0.0.1", 53), "1:sCyZhtPm4SZ/tmuWENUtwFFzmZM=");
    CHECK_STR(id_of(6, "2001:db8::1", 80, "2001:db8::2", 50000), "1:rMe9eEafcSKNMi71KxgW18gqbwY=");
    CHECK_STR(id_of(132, "192.0.2.9", 7, "192.0.2.1", 9), "1:JIrWUrJxzu+cnyPn6WMRAJtLim0=");
}

static void test_no_ports(void)
{
    CHECK_STR(id_of(47, "192.0.2.9", 0, "192.0.2.1", 0), "1:/oouKp97QRvLxcVwftXSvISHXiI=");
    CHECK_STR(id_of(89, "fe80::2", 0, "ff02::5", 0), "1:jzhF4nrKVvjlWUarzInROaQZL60=");
}

static void test_icmp(void)
{
    CHECK_STR(icmp_id_of(1, "192.0.2.9", "192.0.2.1", 8, 0), "1:4mMdwYjCIuP5Ed475nV2s/i0hdQ=");
    CHECK_STR(icmp_id_of(1, "192.0.2.1", "192.0.2.9", 0, 0), "1:4mMdwYjCIuP5Ed475nV2s/i0hdQ=");
    CHECK_STR(icmp_id_of(1, "192.0.2.9", "192.0.2.1", 3, 1), "1:gzgX6ZXASSRDkTttRDIftg5zyuc=");
    CHECK_STR(icmp_id_of(58, "fe80::2", "ff02::1", 135, 0), "1:je7K+i7dpudHBkg/a51BB6SDCQs=");
    CHECK_STR(icmp_id_of(58, "fe80::2", "fe80::1", 1, 4), "1:KP7k20289QLlEmMHLKdRgaeGmfo=");
}

static void test_numbers(void)
{
    struct mb_flow flow = flow_of(6, "1.2.3.4", 1122, "5.6.7.8", 3344), other = flow;
    uint64_t id = mb_flow_stable_id(&flow);
    CHECK(id != 0 && id <= MB__FLOW_ID_MASK);
    CHECK_INT(id, 3823026232008455);
    flow.id = 7; /* order of appearance, hash and counters are no part of it */
    flow.hash = 8;
    flow.last_ts = 9;
    flow.end[MB_CLIENT].packets = 10;
    CHECK_INT(mb_flow_stable_id(&flow), id);
    other.first_ts++;
    CHECK(mb_flow_stable_id(&other) != id);
    other.first_ts--;
    other.end[MB_SERVER].port++;
    CHECK(mb_flow_stable_id(&other) != id);
}

int main(void)
{
    RUN(test_ports);
    RUN(test_no_ports);
    RUN(test_icmp);
    RUN(test_numbers);
    return test_done();
}
