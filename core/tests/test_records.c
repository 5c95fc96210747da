/* SPDX-License-Identifier: BSD-3-Clause */
/* test_records -- the flow record as JSON, CSV and EVE, and round trip times */
#include "output/output.h"
#include "test.h"

#define MS 1000000ll

static struct mb_flow tcp_flow(void)
{
    struct mb_flow flow = {
        .ip_proto = 6,
        .ip_version = 6,
        .first_ts = 1704164645678901234,
        .last_ts = 1704164647000000000,
        .end_reason = MB_END_FIN,
        .flags = MB_FLOW_ANSWERED | MB_FLOW_CLOSED,
        .app_proto = MB_APP_HTTP,
        .rtt_server = 20500,
    };
    struct mb_endpoint *client = &flow.end[MB_CLIENT], *server = &flow.end[MB_SERVER];
    mb_addr_parse("2001:db8::1", &client->addr);
    mb_addr_parse("2001:db8::80", &server->addr);
    client->port = 40000;
    server->port = 80;
    client->packets = 5;
    client->bytes = 500;
    client->mss = 1460;
    client->ttl = 64;
    client->tcp_flags = MB_TCP_SYN | MB_TCP_ACK | MB_TCP_PSH | MB_TCP_FIN;
    server->packets = 4;
    server->bytes = 4000;
    server->retransmits = 2;
    server->tcp_flags = MB_TCP_SYN | MB_TCP_ACK | MB_TCP_FIN;
    for (int side = 0; side < 2; side++) {
        flow.end[side].flags = MB_SIDE_SEEN | MB_SIDE_FIN | MB_SIDE_FIN_ACKED;
        flow.end[side].state = side == MB_CLIENT ? MB_TCP_TIME_WAIT : MB_TCP_CLOSED;
    }
    return flow;
}

static const char *json_of(const struct mb_flow *flow, const struct mb__rtts *rtts)
{
    static char buf[2048];
    struct mb__iso_cache iso = {0};
    struct mb__text t;
    mb__text_init_fixed(&t, buf, sizeof buf - 1);
    mb__record_json(&t, flow, rtts, &iso);
    CHECK_INT(mb__text_lost(&t), 0);
    buf[mb__text_len(&t)] = '\0';
    return buf;
}

static const char *eve_of(const struct mb_flow *flow)
{
    static char buf[2048];
    struct mb__iso_cache iso = {0};
    struct mb__text t;
    mb__text_init_fixed(&t, buf, sizeof buf - 1);
    mb__record_eve(&t, flow, false, &iso);
    CHECK_INT(mb__text_lost(&t), 0);
    buf[mb__text_len(&t)] = '\0';
    return buf;
}

static void test_json(void)
{
    struct mb_flow flow = tcp_flow();
    CHECK_STR(json_of(&flow, NULL),
              "{\"timestamp\":\"2024-01-02T03:04:05.678901+0000\",\"flow_id\":569838422331799,"
              "\"event_type\":\"flow\",\"src_ip\":\"2001:db8::1\",\"src_port\":40000,"
              "\"dest_ip\":\"2001:db8::80\",\"dest_port\":80,\"proto\":\"TCP\","
              "\"community_id\":\"1:JgqT3EjH7KhB5F2d6nOMALL1+Xc=\",\"ip_version\":6,"
              "\"app_proto\":\"http\",\"end\":\"2024-01-02T03:04:07.000000+0000\","
              "\"duration\":1.321098766,\"end_reason\":\"fin\",\"midstream\":false,\"alerted\":false,"
              "\"dropped\":false,\"anomalies\":0,\"client\":{\"packets\":5,\"bytes\":500,"
              "\"state\":\"TIME_WAIT\",\"flags\":\"FSPA\",\"retransmits\":0,\"out_of_order\":0,"
              "\"missed\":0,\"mss\":1460,\"ttl\":64},\"server\":{\"packets\":4,\"bytes\":4000,"
              "\"state\":\"CLOSED\",\"flags\":\"FSA\",\"retransmits\":2,\"out_of_order\":0,"
              "\"missed\":0,\"rtt\":0.020500}}\n");
}

static void test_json_leaves_out_what_is_not_known(void)
{
    struct mb_flow flow = tcp_flow();
    flow.ip_proto = 1;
    flow.app_proto = MB_APP_NONE;
    flow.end_reason = MB_END_NONE;
    flow.end[MB_CLIENT].isn = 8 << 8;
    const char *text = json_of(&flow, NULL);
    CHECK(strstr(text, "\"proto\":\"ICMP\"") != NULL);
    CHECK(strstr(text, "\"icmp_type\":8,\"icmp_code\":0") != NULL);
    CHECK(strstr(text, "port") == NULL);
    CHECK(strstr(text, "state") == NULL);
    CHECK(strstr(text, "retransmits") == NULL);
    CHECK(strstr(text, "app_proto") == NULL);
    CHECK(strstr(text, "end_reason") == NULL);
    CHECK(strstr(text, "rtt_min") == NULL);
    flow.ip_proto = 250;
    CHECK(strstr(json_of(&flow, NULL), "\"proto\":\"250\"") != NULL);
}

/* Every line of a CSV has as many cells as the header, whatever is empty. */
static void test_csv(void)
{
    struct mb_flow flows[2] = {tcp_flow(), {.ip_proto = 47}};
    struct mb__iso_cache iso = {0};
    char buf[4096];
    struct mb__text t;
    mb__text_init_fixed(&t, buf, sizeof buf - 1);
    mb__record_csv_header(&t);
    for (int n = 0; n < 2; n++)
        mb__record_csv(&t, &flows[n], NULL, &iso);
    buf[mb__text_len(&t)] = '\0';
    int commas[3] = {0}, line = 0;
    for (const char *p = buf; *p != '\0'; p++) {
        if (*p == ',')
            commas[line]++;
        line += *p == '\n';
    }
    CHECK_INT(line, 3);
    CHECK(commas[0] > 40);
    CHECK_INT(commas[1], commas[0]);
    CHECK_INT(commas[2], commas[0]);
    CHECK(strncmp(buf, "timestamp,flow_id,event_type,src_ip,src_port,dest_ip,dest_port,proto,", 69) == 0);
    CHECK(strstr(buf, ",client_packets,client_bytes,") != NULL);
    CHECK(strstr(buf, ",2001:db8::1,40000,2001:db8::80,80,TCP,") != NULL);
}

static void test_eve(void)
{
    struct mb_flow flow = tcp_flow();
    flow.vlan = 7;
    CHECK_STR(eve_of(&flow),
              "{\"timestamp\":\"2024-01-02T03:04:05.678901+0000\",\"flow_id\":1469469329802435,"
              "\"event_type\":\"flow\",\"vlan\":[7],"
              "\"src_ip\":\"2001:0db8:0000:0000:0000:0000:0000:0001\",\"src_port\":40000,"
              "\"dest_ip\":\"2001:0db8:0000:0000:0000:0000:0000:0080\",\"dest_port\":80,"
              "\"proto\":\"TCP\",\"app_proto\":\"http\",\"flow\":{\"pkts_toserver\":5,"
              "\"pkts_toclient\":4,\"bytes_toserver\":500,\"bytes_toclient\":4000,"
              "\"start\":\"2024-01-02T03:04:05.678901+0000\","
              "\"end\":\"2024-01-02T03:04:07.000000+0000\",\"age\":2,\"state\":\"closed\","
              "\"reason\":\"timeout\",\"alerted\":false},"
              "\"community_id\":\"1:JgqT3EjH7KhB5F2d6nOMALL1+Xc=\",\"tcp\":{\"tcp_flags\":\"1b\","
              "\"tcp_flags_ts\":\"1b\",\"tcp_flags_tc\":\"13\",\"syn\":true,\"fin\":true,\"psh\":true,"
              "\"ack\":true,\"state\":\"closed\",\"ts_max_regions\":1,\"tc_max_regions\":1},"
              "\"mosbox\":{\"end_reason\":\"fin\",\"midstream\":false,\"retransmits_toserver\":0,"
              "\"retransmits_toclient\":2,\"rtt_server_us\":20500,\"rtt_client_us\":0}}\n");
}

static const char *eve_tcp_state(const struct mb_flow *flow)
{
    static char state[32];
    const char *tcp = strstr(eve_of(flow), "\"tcp\":{"), *found = tcp ? strstr(tcp, "\"state\":\"") : NULL;
    snprintf(state, sizeof state, "%.*s", found ? (int)strcspn(found + 9, "\"") : 0, found ? found + 9 : "");
    return state;
}

/* Addresses that IPv6 has for IPv4 stay what they were in the header. */
static void test_mapped_addresses(void)
{
    struct mb_flow flow = tcp_flow();
    mb_addr_parse("192.0.2.7", &flow.end[MB_SERVER].addr);
    CHECK(strstr(json_of(&flow, NULL), "\"dest_ip\":\"::ffff:192.0.2.7\"") != NULL);
    CHECK(strstr(eve_of(&flow), "\"dest_ip\":\"0000:0000:0000:0000:0000:ffff:c000:0207\"") != NULL);
    flow.ip_version = 4;
    CHECK(strstr(json_of(&flow, NULL), "\"dest_ip\":\"192.0.2.7\"") != NULL);
    CHECK(strstr(eve_of(&flow), "\"dest_ip\":\"192.0.2.7\"") != NULL);
}

static void test_eve_states(void)
{
    struct mb_flow flow = tcp_flow();
    struct mb_endpoint *client = &flow.end[MB_CLIENT], *server = &flow.end[MB_SERVER];
    client->flags = MB_SIDE_SEEN;
    server->flags = 0;
    client->state = MB_TCP_SYN_SENT;
    server->state = MB_TCP_SYN_RCVD;
    CHECK_STR(eve_tcp_state(&flow), "syn_sent");
    CHECK(strstr(eve_of(&flow), "\"state\":\"new\"") != NULL);
    server->flags = MB_SIDE_SEEN;
    CHECK_STR(eve_tcp_state(&flow), "syn_recv");
    client->state = server->state = MB_TCP_ESTABLISHED;
    CHECK_STR(eve_tcp_state(&flow), "established");
    CHECK(strstr(eve_of(&flow), "\"state\":\"established\",\"reason\"") != NULL);
    client->flags |= MB_SIDE_FIN;
    CHECK_STR(eve_tcp_state(&flow), "fin_wait1");
    server->flags |= MB_SIDE_FIN;
    CHECK_STR(eve_tcp_state(&flow), "closing");
    client->flags |= MB_SIDE_FIN_ACKED;
    CHECK_STR(eve_tcp_state(&flow), "last_ack");
    server->flags = MB_SIDE_SEEN | MB_SIDE_RST;
    CHECK_STR(eve_tcp_state(&flow), "closed");
}

static void test_eve_reasons(void)
{
    static const struct {
        int reason;
        const char *text;
    } cases[] = {
        {MB_END_SHUTDOWN, "\"reason\":\"shutdown\""}, {MB_END_EVICTED, "\"reason\":\"forced\""},
        {MB_END_TIMEOUT, "\"reason\":\"timeout\""},   {MB_END_FIN, "\"reason\":\"timeout\""},
        {MB_END_REUSED, "\"reason\":\"tcp_reuse\""},
    };
    struct mb_flow flow = tcp_flow();
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        flow.end_reason = (uint8_t)cases[n].reason;
        CHECK(strstr(eve_of(&flow), cases[n].text) != NULL);
    }
    flow.flags |= MB_FLOW_DROP | MB_FLOW_ALERTED;
    CHECK(strstr(eve_of(&flow), "\"alerted\":true,\"action\":\"drop\"") != NULL);
}

static void test_rtt(void)
{
    struct mb__rtts r = {0};
    mb__rtts_packet(&r, MB_CLIENT, 1000 * MS, 7, 0, true);
    mb__rtts_packet(&r, MB_CLIENT, 1005 * MS, 7, 0, true); /* the same timestamp is timed once */
    mb__rtts_packet(&r, MB_SERVER, 1030 * MS, 90, 7, true);
    CHECK_INT(r.side[MB_SERVER].samples, 1);
    CHECK_INT(r.side[MB_SERVER].min, 30000);
    mb__rtts_packet(&r, MB_CLIENT, 1031 * MS, 8, 90, false); /* a bare ACK is answered by nobody */
    CHECK_INT(r.side[MB_CLIENT].min, 1000);
    mb__rtts_packet(&r, MB_SERVER, 1500 * MS, 91, 8, false);
    CHECK_INT(r.side[MB_SERVER].samples, 1);
    mb__rtts_packet(&r, MB_CLIENT, 2000 * MS, 9, 91, true);
    mb__rtts_packet(&r, MB_SERVER, 2900 * MS, 92, 12, false); /* echoes a later one: no sample */
    CHECK_INT(r.side[MB_SERVER].samples, 1);
    mb__rtts_packet(&r, MB_CLIENT, 3000 * MS, 0xffffffff, 92, true); /* timestamps wrap */
    mb__rtts_packet(&r, MB_SERVER, 3010 * MS, 93, 0xffffffff, false);
    CHECK_INT(r.side[MB_SERVER].samples, 2);
    CHECK_INT(r.side[MB_SERVER].min, 10000);
    CHECK_INT(r.side[MB_SERVER].sum, 40000);
    struct mb_flow flow = tcp_flow();
    CHECK(strstr(json_of(&flow, &r), "\"rtt_min\":0.010000,\"rtt_mean\":0.020000,\"rtt_samples\":2") != NULL);
}

int main(void)
{
    RUN(test_json);
    RUN(test_json_leaves_out_what_is_not_known);
    RUN(test_csv);
    RUN(test_eve);
    RUN(test_mapped_addresses);
    RUN(test_eve_states);
    RUN(test_eve_reasons);
    RUN(test_rtt);
    return test_done();
}
