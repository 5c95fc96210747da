/* SPDX-License-Identifier: BSD-3-Clause */
/* test_expr -- the expression language: what it says, and what it refuses */
#include "match/filter.h"

#include <stdlib.h>

#include "listeners.h"

static struct mb_flow flow;
static struct mb_packet packet;
static struct mb_event event;
static const uint8_t payload[] = "GET /a.php HTTP/1.1\r\n\0\x01tail";

/* An HTTP request over TCP from 10.1.2.3:51000 to [2001:db8::80]:8080. */
static void setup(uint32_t base)
{
    flow = (struct mb_flow){.first_ts = 1000000000, .last_ts = 3500000000, .vlan = 7, .ip_proto = 6,
                            .ip_version = 4, .app_proto = MB_APP_HTTP, .flags = MB_FLOW_ANSWERED,
                            .rtt_server = 20, .rtt_client = 30};
    mb_addr_parse("10.1.2.3", &flow.end[0].addr);
    mb_addr_parse("2001:db8::80", &flow.end[1].addr);
    flow.end[0].port = 51000;
    flow.end[1].port = 8080;
    flow.end[0].packets = 3;
    flow.end[1].packets = 4;
    flow.end[0].bytes = 10000;
    flow.end[1].bytes = 2048;
    flow.end[0].state = MB_TCP_ESTABLISHED;
    flow.end[1].state = MB_TCP_CLOSE_WAIT;
    flow.end[1].retransmits = 2;
    flow.end[1].flags = MB_SIDE_GAP;
    packet = (struct mb_packet){.flags = MB_PKT_IP | MB_PKT_L4, .ip_proto = 6, .ttl = 64, .tcp_flags = 0x12,
                                .window = 65535, .wire_len = 1514, .sport = 8080, .dport = 51000,
                                .src = flow.end[1].addr, .dst = flow.end[0].addr,
                                .net = payload, .payload_off = 0, .payload_len = sizeof payload - 1};
    event = (struct mb_event){.flow = &flow, .packet = &packet, .base = base, .side = MB_SERVER, .len = 5000,
                              .offset = 100000, .data = payload, .old_state = MB_TCP_SYN_RCVD,
                              .new_state = MB_TCP_ESTABLISHED, .conflict = 1};
    if (base == MB_EV_DATA)
        event.len = sizeof payload - 1;
}

/* 1, 0, or -1 for an expression that does not compile. */
static int says(uint32_t base, const char *text)
{
    struct mb__expr *x;
    char err[MB_ERRBUF_SIZE] = "";
    if (mb__expr_new(text, base, &x, err) < 0) {
        printf("  %s: %s\n", text, err);
        return -1;
    }
    setup(base);
    int answer = mb__expr_match(x, &event);
    mb__expr_free(x);
    return answer;
}

#define TRUE(text) CHECK_INT(says(MB_EV_PACKET, text), 1)
#define FALSE(text) CHECK_INT(says(MB_EV_PACKET, text), 0)

static void test_addresses(void)
{
    TRUE("client.ip == 10.1.2.3");
    FALSE("client.ip != 10.1.2.3");
    TRUE("client.ip in 10.0.0.0/8");
    FALSE("client.ip in 10.1.2.4/30 or client.ip in 11.0.0.0/8");
    TRUE("client.ip in 10.1.2.0/30");
    TRUE("client.ip in 0.0.0.0/0");
    FALSE("server.ip in 0.0.0.0/0"); /* it is no IPv4 address */
    TRUE("server.ip in 2001:db8::/32");
    TRUE("server.ip in ::/0");
    TRUE("client.ip in 10.1.2.1-10.1.2.3");
    FALSE("client.ip in 10.1.2.4-10.1.2.9");
    TRUE("ip in {192.168.0.0/16, 2001:db8::80}");
    TRUE("ip == 10.1.2.3 and ip == 2001:db8::80");
    TRUE("ip != 10.9.9.9");
    FALSE("ip != 10.1.2.3"); /* one end has it */
    FALSE("ip not in 10.0.0.0/8");
    TRUE("ip not in 10.9.0.0/16");
    TRUE("src.ip == 2001:db8::80 and dst.ip == 10.1.2.3");
    TRUE("client.ip in 10.1.2.3/32");
    FALSE("client.ip in 10.1.2.2/32");
}

static void test_numbers(void)
{
    TRUE("port == 8080");
    TRUE("server.port in {80, 443, 8000-8100}");
    FALSE("client.port in {80, 443, 8000-8100}");
    TRUE("port in 8080");
    TRUE("port in 8000 - 8100");
    FALSE("port in 8081-8100");
    TRUE("port < 8081 and port > 50999");
    TRUE("packets == 7 and client.packets == 3");
    TRUE("client.bytes == 10KB and server.bytes == 2KiB and bytes >= 12kB");
    FALSE("client.bytes > 10KB");
    TRUE("client.bytes > 9.9KB");
    TRUE("duration == 2.5s and duration > 2499ms and duration < 1m");
    TRUE("rtt == 50us");
    TRUE("duration > 0");
    TRUE("ttl == 0x40");
    TRUE("ttl <= 18446744073709551615 and ttl >= 0");
    FALSE("ttl > 18446744073709551615 or ttl < 0");
    TRUE("vlan == 7 and version == 4 and tunnel == 0");
    TRUE("tcp.window == 65535 and frame.len == 1514 and payload.len == 27B");
    TRUE("retransmits == 2 and client.retransmits == 0");
}

static void test_names(void)
{
    TRUE("proto == tcp");
    TRUE("proto == 6");
    FALSE("proto in {udp, 1, sctp}");
    TRUE("proto in {udp, TCP}");
    TRUE("app == http");
    TRUE("app not in {tls, dns, unknown, failed}");
    TRUE("client.state == ESTABLISHED and server.state == close_wait");
    TRUE("side == server");
    TRUE("gaps and server.gaps and not client.gaps");
    TRUE("answered and !midstream");
    TRUE("midstream == false and answered != false");
}

static void test_flags(void)
{
    TRUE("tcp.flags == syn|ack");
    TRUE("tcp.flags contains syn");
    TRUE("tcp.flags contains syn | ack");
    FALSE("tcp.flags contains syn|fin");
    TRUE("tcp.flags not contains syn|fin");
    FALSE("tcp.flags == syn");
    TRUE("tcp.flags in {syn, syn|ack}");
    TRUE("tcp.flags == 0x12");
    TRUE("tcp.flags contains syn||ttl == 1");
    FALSE("tcp.flags contains rst||ttl == 1");
}

static void test_bytes(void)
{
    TRUE("payload contains \"HTTP/1.1\\r\\n\\0\\x01t\"");
    FALSE("payload contains \"HTTP/1.0\"");
    TRUE("payload contains \"tail\"");
    FALSE("payload contains \"tail!\"");
    TRUE("payload matches \"^GET /[a-z]+\\.php \"");
    TRUE("payload matches \"(?i)get\\x20/\"");
    FALSE("payload matches \"^POST\"");
    TRUE("payload not matches \"^POST\" and payload not contains \"POST\"");
    CHECK_INT(says(MB_EV_DATA, "data contains \"GET\" and len == 27"), 1);
    CHECK_INT(says(MB_EV_DATA, "data matches \"\\\"\""), 0);
    TRUE("payload matches \"\"");
}

/* A pattern that backtracks without end is bounded. */
static void test_regex_limits(void)
{
    static uint8_t many[20000];
    struct mb__expr *x;
    memset(many, 'a', sizeof many);
    CHECK_INT(mb__expr_new("data matches \"(a+a+)+b\"", MB_EV_DATA, &x, NULL), 0);
    struct mb_event ev = {.base = MB_EV_DATA, .data = many, .len = sizeof many};
    CHECK(!mb__expr_match(x, &ev));
    ev.data = NULL;
    ev.len = 0;
    CHECK(!mb__expr_match(x, &ev));
    mb__expr_free(x);
}

static void test_event_fields(void)
{
    CHECK_INT(says(MB_EV_STATE_CHANGE, "old_state == SYN_RCVD and new_state == ESTABLISHED"), 1);
    CHECK_INT(says(MB_EV_RETRANSMIT, "conflict and len == 5KB and offset in 99KB-1MB"), 1);
    CHECK_INT(says(MB_EV_FLOW_END, "reason == none"), 1);
    CHECK_INT(says(MB_EV_ANOMALY, "reason == tcp_paws"), 0);
    CHECK_INT(says(MB_EV_PACKET, "conflict"), -1);
    CHECK_INT(says(MB_EV_GAP, "data contains \"x\""), -1);
    CHECK_INT(says(MB_EV_FLOW_END, "reason == tcp_paws"), -1);
}

static void test_operators(void)
{
    static const char *const yes = "ttl == 64", *const no = "ttl == 1";
    char text[256];
    /* All of "a OP b OP c" with each nothing or "not", against C's precedence. */
    for (int bits = 0; bits < 8; bits++) {
        for (int form = 0; form < 32; form++) {
            bool a = bits & 1, b = bits & 2, c = bits & 4;
            bool first_and = form & 1, second_and = form & 2, paren = form & 4, negate = form & 8;
            bool symbols = form & 16;
            const char *and = symbols ? "&&" : "and", *or = symbols ? "||" : "or", *not = symbols ? "!" : "not ";
            snprintf(text, sizeof text, "%s%s %s %s%s %s %s%s", negate ? not : "", a ? yes : no,
                     first_and ? and : or, paren ? "(" : "", b ? yes : no, second_and ? and : or,
                     c ? yes : no, paren ? ")" : "");
            bool left = a != negate, want;
            if (paren) {
                bool right = second_and ? b && c : b || c;
                want = first_and ? left && right : left || right;
            } else if (first_and || !second_and) {
                bool head = first_and ? left && b : left || b;
                want = second_and ? head && c : head || c;
            } else {
                want = left || (b && c);
            }
            CHECK_INT(says(MB_EV_PACKET, text), want);
        }
    }
    TRUE("not (ttl == 1 or not ttl == 64)");
    TRUE("((((((ttl == 64))))))");
    TRUE("!!ttl == 64");
    TRUE("  ttl==64&&\n\tttl>=64  ");
}

/* What is not there makes a test false, the negated one too. */
static void test_absent(void)
{
    struct mb__expr *x;
    static const char *const tests[] = {
        "ttl == 64", "ttl != 64", "payload contains \"x\"", "payload not contains \"x\"",
        "tcp.flags contains syn", "tcp.flags not contains syn", "client.port != 1",
        "ip != 1.1.1.1", "src.ip != 1.1.1.1", "rtt < 1s", "app == http"};
    struct mb_event ev = {.base = MB_EV_TIMER};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        CHECK_INT(mb__expr_new(tests[i], MB_EV_TIMER, &x, NULL), 0);
        CHECK(!mb__expr_match(x, &ev));
        mb__expr_free(x);
    }
    setup(MB_EV_RAW);
    event.flow = NULL;
    CHECK_INT(mb__expr_new("proto == tcp and src.port == 8080 and version == 4", MB_EV_RAW, &x, NULL), 0);
    CHECK(mb__expr_match(x, &event));
    packet.flags = 0; /* no IP */
    CHECK(!mb__expr_match(x, &event));
    mb__expr_free(x);
}

static void check_error(const char *text, int column, const char *part)
{
    struct mb__expr *x;
    char err[MB_ERRBUF_SIZE] = "", want[32];
    CHECK_INT(mb__expr_new(text, MB_EV_PACKET, &x, err), MB_ESYNTAX);
    CHECK(x == NULL);
    snprintf(want, sizeof want, "column %d: ", column);
    if (strncmp(err, want, strlen(want)) != 0 || strstr(err, part) == NULL)
        CHECK_STR(err, part);
    CHECK_INT(mb__expr_new(text, MB_EV_PACKET, &x, NULL), MB_ESYNTAX);
}

static void test_errors(void)
{
    check_error("", 1, "expected a field, 'not' or '(', found the end");
    check_error("prot == tcp", 1, "there is no field 'prot'");
    check_error("proto = tcp", 7, "expected == != or in after proto, found '='");
    check_error("proto == tpc", 10, "expected a protocol");
    check_error("ttl == ", 8, "expected a number, found the end");
    check_error("ttl == 64 ttl == 1", 11, "expected 'and', 'or' or the end, found 'ttl'");
    check_error("ttl == 64x", 10, "end of the number");
    check_error("ttl == 18446744073709551616", 8, "too large");
    check_error("bytes > 99999999999TB", 20, "too large");
    check_error("bytes > 10QB", 11, "a unit of size");
    check_error("duration > 5", 13, "a unit of time");
    check_error("duration > 1.0000000001s", 13, "more than 9 digits");
    check_error("(ttl == 1", 1, "'(' without ')'");
    check_error("ttl == 1)", 9, "')' without '('");
    check_error("port in {80, }", 14, "expected a number, found '}'");
    check_error("port in {80", 12, "',' or '}'");
    check_error("port in 90-80", 11, "ends before it begins");
    check_error("client.ip == 10.0.0.0/8", 22, "a prefix goes with 'in'");
    check_error("client.ip in 10.0.0.0/33", 23, "above 32");
    check_error("client.ip in ::/129", 17, "above 128");
    check_error("client.ip == 10.0.0.256", 14, "'10.0.0.256' is no address");
    check_error("client.ip < 10.0.0.1", 11, "== != or in after client.ip");
    check_error("ttl not == 5", 5, "after ttl");
    check_error("payload == \"x\"", 9, "contains or matches");
    check_error("payload contains x", 18, "a string in double quotes");
    check_error("payload contains \"x", 18, "the string has no end");
    check_error("payload contains \"\"", 18, "empty");
    check_error("payload contains \"\\q\"", 19, "escapes");
    check_error("payload contains \"\\x4\"", 19, "escapes");
    check_error("payload matches \"a(b\"", 17, "regular expression:");
    check_error("tcp.flags == syn|abc", 18, "TCP flags");
    check_error("ttl == 1 and", 13, "found the end");
    check_error("\x01", 1, "found '?'");
    check_error("client.proto == tcp", 1, "there is no field 'client.proto'");
    check_error("state == CLOSED", 1, "there is no field 'state'");
    char deep[200];
    memset(deep, '(', 100);
    strcpy(deep + 100, "ttl == 1");
    check_error(deep, 65, "more than 64");
    char *longer = malloc(20001);
    memset(longer, ' ', 20000);
    longer[20000] = 0;
    check_error(longer, 16385, "longer than 16384");
    free(longer);
}

/* As an event: equal expressions are one event, and it runs. */
static void test_as_event(void)
{
    listeners_setup(1);
    char err[MB_ERRBUF_SIZE];
    int web = mb__event_define_expr(es, MB_EV_PACKET, "port in {80, 8080}", err);
    CHECK(web >= MB_EV_USER);
    CHECK_INT(mb__event_define_expr(es, MB_EV_PACKET, "port in {80, 8080}", err), web);
    int big = mb__event_define_expr(es, (uint32_t)web, "frame.len > 1500", err);
    CHECK(big > web);
    CHECK_INT(mb__event_define_expr(es, (uint32_t)web, "frame.len >", err), MB_ESYNTAX);
    CHECK_STR(err, "column 12: expected a number, found the end");
    CHECK_INT(mb__event_define_expr(es, 99999, "ttl == 1", err), MB_EINVAL);
    mb_on(mon[0], NULL, (uint32_t)big, 0, hear, "big");
    setup(MB_EV_PACKET);
    mb__events_attach(es, &flow, &packet);
    event.hook = MB_HOOK_SND;
    mb__events_raise(es, &event);
    CHECK_STR(heard, "big");
    packet.wire_len = 60;
    mb__events_raise(es, &event);
    CHECK_STR(heard, "big");
    mb_off(mon[0], NULL, (uint32_t)big, 0);
    mb__events_free(es); /* the flow is not in the table of the listeners */
}

int main(void)
{
    RUN(test_addresses);
    RUN(test_numbers);
    RUN(test_names);
    RUN(test_flags);
    RUN(test_bytes);
    RUN(test_regex_limits);
    RUN(test_event_fields);
    RUN(test_operators);
    RUN(test_absent);
    RUN(test_errors);
    RUN(test_as_event);
    return test_done();
}
