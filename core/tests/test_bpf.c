/* SPDX-License-Identifier: BSD-3-Clause */
/* test_bpf -- BPF on packets of several link types, as filter and as scope */
#include "listeners.h"
#include "match/filter.h"

#define ETHERNET 1
#define RAW_IP 101
#define NULL_LOOP 0

/* A frame with an IPv4 UDP datagram to |port| behind a link header of |link|. */
static struct mb_packet udp_to(int link, uint16_t port)
{
    static uint8_t frame[64];
    static const uint8_t ip[] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
    size_t at = link == ETHERNET ? 14 : link == NULL_LOOP ? 4 : 0;
    memset(frame, 0, sizeof frame);
    if (link == ETHERNET)
        frame[12] = 8;
    if (link == NULL_LOOP)
        memcpy(frame, &(uint32_t){2}, 4); /* AF_INET in the order of the host that wrote it */
    memcpy(frame + at, ip, sizeof ip);
    frame[at + 22] = (uint8_t)(port >> 8);
    frame[at + 23] = (uint8_t)port;
    frame[at + 25] = 8;
    return (struct mb_packet){.frame = frame, .frame_len = (uint32_t)at + 28, .wire_len = (uint32_t)at + 28,
                              .link = (uint16_t)link, .dport = port};
}

static bool matches(struct mb__bpf *b, int link, uint16_t port)
{
    struct mb_packet p = udp_to(link, port);
    return mb__bpf_match(b, &p);
}

static void test_link_types(void)
{
    char err[MB_ERRBUF_SIZE];
    struct mb__bpf *b = mb__bpf_new("udp and (dst port 53 || dst port 5353)", err);
    CHECK(b != NULL);
    static const int links[] = {ETHERNET, RAW_IP, NULL_LOOP, RAW_IP, ETHERNET};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        CHECK(matches(b, links[i], 53));
        CHECK(matches(b, links[i], 5353));
        CHECK(!matches(b, links[i], 80));
    }
    CHECK(!matches(b, 65000, 53)); /* a link type nobody knows */
    mb__bpf_free(b);
    mb__bpf_free(NULL);
}

/* More link types than are kept match nothing, and nothing breaks. */
static void test_many_link_types(void)
{
    struct mb__bpf *b = mb__bpf_new("udp", NULL);
    for (int link = 1000; link < 1100; link++)
        CHECK(!matches(b, link, 53));
    mb__bpf_free(b);
}

static void test_one_link_type_only(void)
{
    struct mb__bpf *b = mb__bpf_new("ether[12:2] == 0x800", NULL);
    CHECK(matches(b, ETHERNET, 53));
    mb__bpf_free(b);
    b = mb__bpf_new("type mgt", NULL); /* 802.11 only */
    CHECK(b != NULL);
    CHECK(!matches(b, ETHERNET, 53));
    mb__bpf_free(b);
}

static void test_truncated(void)
{
    struct mb__bpf *b = mb__bpf_new("udp dst port 53", NULL);
    struct mb_packet p = udp_to(ETHERNET, 53);
    CHECK(mb__bpf_match(b, &p));
    for (uint32_t len = 0; len < 38; len++) {
        uint8_t *copy = malloc(len + (len == 0)); /* so that a read too far is seen */
        memcpy(copy, p.frame, len);
        struct mb_packet cut = p;
        cut.frame = copy;
        cut.frame_len = len;
        CHECK(!mb__bpf_match(b, &cut));
        free(copy);
    }
    mb__bpf_free(b);
}

static void test_errors(void)
{
    char err[MB_ERRBUF_SIZE] = "";
    CHECK(mb__bpf_new("udp and and", err) == NULL);
    CHECK(strstr(err, "syntax error") != NULL);
    CHECK(mb__bpf_new("nonsense", NULL) == NULL);
    listeners_setup(1);
    CHECK_INT(mb__event_define_bpf(es, MB_EV_PACKET, "host", err), MB_ESYNTAX);
    CHECK_INT(mb__event_define_bpf(es, 4000, "udp", err), MB_EINVAL);
    CHECK_STR(err, mb_error_text(MB_EINVAL));
    CHECK_INT(mb_monitor_scope(mon[0], "host"), MB_ESYNTAX);
    listeners_teardown();
}

static void test_as_event(void)
{
    listeners_setup(1);
    int dns = mb__event_define_bpf(es, MB_EV_PACKET, "udp port 53", NULL);
    CHECK(dns >= MB_EV_USER);
    CHECK_INT(mb__event_define_bpf(es, MB_EV_PACKET, "udp port 53", NULL), dns);
    CHECK(mb__event_define_bpf(es, MB_EV_PACKET, "udp port 54", NULL) != dns);
    mb_on(mon[0], NULL, (uint32_t)dns, 0, hear, "dns");
    struct mb_flow *flow = attached(0);
    struct mb_packet p = udp_to(RAW_IP, 53);
    struct mb_event ev = {.flow = flow, .packet = &p, .base = MB_EV_PACKET, .hook = MB_HOOK_SND};
    mb__events_raise(es, &ev);
    CHECK_STR(heard, "dns");
    heard[0] = 0;
    p = udp_to(RAW_IP, 80);
    mb__events_raise(es, &ev);
    ev.packet = NULL;
    mb__events_raise(es, &ev);
    CHECK_STR(heard, "");
    listeners_teardown();
}

/* Two monitors with disjoint scopes and interleaved flows: each hears of its
 * own flows only, and of all their packets. */
static void test_as_scope(void)
{
    listeners_setup(3);
    CHECK_INT(mb_monitor_scope(mon[0], "udp dst port 53"), 0);
    CHECK_INT(mb_monitor_scope(mon[1], "udp dst port 80"), 0);
    static char names[3][2] = {"d", "w", "a"};
    for (int i = 0; i < 3; i++)
        mb_on(mon[i], NULL, MB_EV_PACKET, 0, hear, names[i]);
    for (int i = 0; i < FLOWS; i++) {
        struct mb_packet first = udp_to(i % 2 ? ETHERNET : RAW_IP, i % 3 == 0 ? 53 : i % 3 == 1 ? 80 : 22);
        mb__events_attach(es, &flows[i].flow, &first);
    }
    for (int i = 0; i < FLOWS; i++) {
        raise_at(&flows[i].flow, MB_EV_PACKET, MB_HOOK_SND);
        CHECK_STR(heard, i % 3 == 0 ? "d a" : i % 3 == 1 ? "w a" : "a");
    }
    CHECK_INT(mb_monitor_scope(mon[0], NULL), 0);
    struct mb_packet web = udp_to(ETHERNET, 80);
    mb__events_detach(es, &flows[0].flow);
    mb__events_attach(es, &flows[0].flow, &web);
    raise_at(&flows[0].flow, MB_EV_PACKET, MB_HOOK_SND);
    CHECK_STR(heard, "d w a");
    listeners_teardown();
}

int main(void)
{
    RUN(test_link_types);
    RUN(test_many_link_types);
    RUN(test_one_link_type_only);
    RUN(test_truncated);
    RUN(test_errors);
    RUN(test_as_event);
    RUN(test_as_scope);
    return test_done();
}
