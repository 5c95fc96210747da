/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fault -- no memory at any allocation of a run: an error that says so, or a counter
 *
 *   for N = 1, 2, ...: the N-th allocation of a run fails (or all from the N-th on do)
 *       built?   no:  the caller was told MB_ENOMEM or a sentence
 *       ran?     no:  the code is MB_ENOMEM, with a sentence
 *                yes: what was raised is what is raised without a fault, or a
 *                     counter of mb_stats says that something was let go
 *       freed:   nothing is left
 *   until a run makes fewer than N.
 */
#include <stdlib.h>
#include <zlib.h>

#include "fault.h"
#include "frame.h"
#include "io/source.h"
#include "rule_builder.h"
#include "test.h"

#include <hs.h>

#define SECOND 1000000000LL

/* ---- the traffic: all that makes the core keep something --------------------- */

#define CAPTURE_MAX 65536

static uint8_t capture[CAPTURE_MAX];
static size_t capture_len;

static void little32(uint32_t v)
{
    memcpy(capture + capture_len, &v, 4); /* the file's order is the machine's */
    capture_len += 4;
}

static void capture_begin(void)
{
    capture_len = 0;
    little32(0xa1b23c4d);
    little32(2 | 4u << 16);
    little32(0);
    little32(0);
    little32(65535);
    little32(1);
}

static void capture_frame(struct frame *f)
{
    static uint32_t tick;
    frame_end(f);
    little32(1700000000);
    little32(++tick * 1000000);
    little32((uint32_t)f->len);
    little32((uint32_t)f->len);
    memcpy(capture + capture_len, f->b, f->len);
    capture_len += f->len;
}

/* One TCP connection from port |port| to |to|. */
struct talk {
    unsigned port, to;
    uint32_t next[2];
};

/* A segment |skip| bytes after the next; the numbers move on if it is 0. */
static void segment(struct talk *t, int side, unsigned flags, const void *bytes, size_t len, uint32_t skip)
{
    struct frame f = {0};
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 6, 0);
    frame_tcp(&f, side == 0 ? t->port : t->to, side == 0 ? t->to : t->port, flags);
    if (side == 1)
        memcpy(f.b + 14 + 12, "\x0a\0\0\2\x0a\0\0\1", 8);
    mb__put_be32(f.b + 14 + 20 + 4, t->next[side] + skip);
    mb__put_be32(f.b + 14 + 20 + 8, flags & MB_TCP_ACK ? t->next[!side] : 0);
    frame_bytes(&f, bytes, len);
    capture_frame(&f);
    if (skip == 0)
        t->next[side] += (uint32_t)len + ((flags & (MB_TCP_SYN | MB_TCP_FIN)) != 0);
}

static void say(struct talk *t, int side, const void *bytes, size_t len)
{
    segment(t, side, MB_TCP_ACK | MB_TCP_PSH, bytes, len, 0);
    segment(t, !side, MB_TCP_ACK, "", 0, 0);
}

static struct talk open_talk(unsigned port, unsigned to)
{
    struct talk t = {port, to, {1000 * port, 2000 * port}};
    segment(&t, 0, MB_TCP_SYN, "", 0, 0);
    segment(&t, 1, MB_TCP_SYN | MB_TCP_ACK, "", 0, 0);
    segment(&t, 0, MB_TCP_ACK, "", 0, 0);
    return t;
}

static void close_talk(struct talk *t)
{
    segment(t, 0, MB_TCP_FIN | MB_TCP_ACK, "", 0, 0);
    segment(t, 1, MB_TCP_FIN | MB_TCP_ACK, "", 0, 0);
    segment(t, 0, MB_TCP_ACK, "", 0, 0);
}

/* A request in pieces, an answer packed by gzip, with two segments swapped. */
static void http(void)
{
    static const char request[] = "POST /attack?a=%2e HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: x\r\n"
                                  "Content-Length: 11\r\n\r\nsecret=yes!";
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\n"
                               "Content-Length: %lu\r\n\r\n";
    uint8_t body[512], packed[512];
    char answer[1024];
    memset(body, 'b', sizeof body);
    z_stream z = {.next_in = body, .avail_in = sizeof body, .next_out = packed, .avail_out = sizeof packed};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    size_t n = (size_t)snprintf(answer, sizeof answer, head, z.total_out);
    memcpy(answer + n, packed, z.total_out);
    n += z.total_out;
    deflateEnd(&z);

    struct talk t = open_talk(40000, 80);
    say(&t, 0, request, 20);
    say(&t, 0, request + 20, sizeof request - 21);
    segment(&t, 1, MB_TCP_ACK, answer + 30, 40, 30);
    segment(&t, 1, MB_TCP_ACK, answer, 30, 0);
    t.next[1] += 40;
    say(&t, 1, answer + 70, n - 70);
    close_talk(&t);
}

static void tls(void)
{
    static const uint8_t hello[] = {
        0x16, 3,    1,    0,    70,   1,   0,   0,   66,  3,   3,   'r', 'a', 'n', 'd', 'o', 'm', ' ', 'b',
        'y',  't',  'e',  's',  ' ',  'o', 'f', ' ', 'c', 'l', 'i', 'e', 'n', 't', ' ', 'h', 'e', 'l', 'l',
        'o',  ' ',  'x',  'y',  'z',  0,   0,   2,   0x13, 1,  1,   0,   0,   23,  0,   0,   0,   19,  0,
        17,   0,    0,    14,   'w',  'w', 'w', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'o', 'r', 'g'};
    struct talk t = open_talk(40001, 443);
    say(&t, 0, hello, 20);
    say(&t, 0, hello + 20, sizeof hello - 20);
    close_talk(&t);
}

static void ssh(void)
{
    struct talk t = open_talk(40002, 22);
    say(&t, 1, "SSH-2.0-Open", 12);
    say(&t, 1, "SSH_9\r\n", 7);
    say(&t, 0, "SSH-2.0-client\r\n", 16);
    segment(&t, 0, MB_TCP_RST | MB_TCP_ACK, "", 0, 0);
}

static void begin_udp(struct frame *f, unsigned fragment)
{
    frame_ethernet(f, 0x0800);
    frame_ipv4(f, 17, fragment);
}

static void dns(void)
{
    struct frame f = {0};
    begin_udp(&f, 0);
    frame_udp(&f, 5353, 53);
    frame_bytes(&f, "\0\7\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1", 29);
    capture_frame(&f);
}

/* A datagram in two fragments, the second first, and one that is never whole. */
static void fragments(void)
{
    struct frame second = {0}, first = {0};
    begin_udp(&second, 2);
    frame_fill(&second, 'y', 100);
    capture_frame(&second);
    begin_udp(&first, 0x2000);
    frame_u16(&first, 4000);
    frame_u16(&first, 9);
    frame_u16(&first, 116);
    frame_u16(&first, 0);
    frame_fill(&first, 'x', 8);
    capture_frame(&first);
    struct frame lost = {0};
    begin_udp(&lost, 0x2000);
    mb__put_be16(lost.b + 14 + 4, 77);
    frame_fill(&lost, 'z', 64);
    capture_frame(&lost);
}

/* A hole that is never filled. */
static void hole(void)
{
    struct talk t = open_talk(40003, 9000);
    segment(&t, 0, MB_TCP_ACK, "late", 4, 100);
    segment(&t, 0, MB_TCP_ACK, "r", 1, 200);
}

static void make_capture(void)
{
    capture_begin();
    http();
    tls();
    ssh();
    dns();
    fragments();
    hole();
}

/* ---- what is raised ---------------------------------------------------------- */

static int on_timer(struct mb_event *ev, void *arg)
{
    (void)ev;
    (void)arg;
    tell(1);
    return 0;
}

/* What is wanted of one flow alone, and for a while. */
static int on_start(struct mb_event *ev, void *arg)
{
    on_any(ev, arg);
    int err = mb_on(ev->monitor, ev->flow, MB_EV_GAP, MB_HOOK_NONE, on_timer, ev->flow->id % 2 ? &told : NULL);
    if (err >= 0)
        err = (int)mb_timer_add(ev->monitor, ev->flow, SECOND / 50, 0, on_timer, NULL);
    return err < 0 ? err : 0;
}

/* ---- rules -------------------------------------------------------------------- */

static int add_rule(struct mb_rules *r, uint8_t kind, uint8_t app, int buffer, const char *content, const char *pcre,
                    uint32_t sid, char *err)
{
    static struct builder b;
    size_t len;
    builder_init(&b, kind);
    b.head.sid = sid;
    b.head.app = app;
    b.head.src = 1;
    int number = mb_rules_buffer(r, buffer, NULL, 0);
    builder_op(&b, MB_OP_CONTENT, MB_OPF_FAST, content, strlen(content));
    if (pcre != NULL)
        builder_op(&b, MB_OP_PCRE, 0, pcre, strlen(pcre));
    builder_inspect(&b, number, 0);
    uint16_t bit = (uint16_t)(sid % 8);
    builder_op(&b, MB_OP_SET_FLOWBITS, 0, &bit, 2)->a = MB_BIT_SET;
    const void *program = builder_finish(&b, &len);
    return mb_rules_add(r, program, len, err);
}

/* A few rules of each kind; NULL, with what is wrong in |err|. */
static struct mb_rules *make_rules(char *err)
{
    static const uint16_t ports[] = {0, 65535};
    struct mb_addr all[2] = {{{0}}, {{0}}};
    memset(&all[1], 0xff, sizeof all[1]);
    struct mb_rules *r = mb_rules_new();
    int code = r == NULL ? MB_ENOMEM : mb_rules_addresses(r, all, 1);
    if (code >= 0)
        code = mb_rules_ports(r, ports, 1);
    if (code >= 0)
        code = add_rule(r, MB_RULE_STREAM, MB_APP_UNKNOWN, MB_BUF_PAYLOAD, "secret", "s.c+ret", 1, err);
    if (code >= 0)
        code = add_rule(r, MB_RULE_TX, MB_APP_HTTP, MB_BUF_HTTP_URI, "attack", NULL, 2, err);
    if (code >= 0)
        code = add_rule(r, MB_RULE_TX, MB_APP_HTTP, MB_BUF_FILE_DATA, "bbbb", NULL, 3, err);
    if (code >= 0)
        code = add_rule(r, MB_RULE_TX, MB_APP_TLS, MB_BUF_TLS_SNI, "example", NULL, 4, err);
    if (code >= 0)
        code = add_rule(r, MB_RULE_TX, MB_APP_DNS, MB_BUF_DNS_QUERY, "example", NULL, 5, err);
    if (code >= 0)
        code = add_rule(r, MB_RULE_TX, MB_APP_SSH, MB_BUF_SSH_SOFTWARE, "OpenSSH", NULL, 6, err);
    if (code >= 0)
        code = mb_rules_build(r, err);
    if (code >= 0)
        return r;
    CHECK_INT(code, MB_ENOMEM);
    mb_rules_free(r);
    return NULL;
}

/* ---- a run ---------------------------------------------------------------------- */

struct run {
    struct mb_engine *e;
    struct mb_output *log;
    struct mb_writer *writer;
    struct mb_detect *detect;
    struct mb_source *source;
};

static bool listen(struct run *run)
{
    struct mb_monitor *m = mb_monitor_new(run->e, "first", NULL), *n = mb_monitor_new(run->e, "second", NULL);
    if (m == NULL || n == NULL)
        return false;
    int err = mb_monitor_scope(n, "tcp port 80");
    for (uint32_t event = MB_EV_PACKET; event < MB_EV_BUILTIN && err >= 0; event++)
        err = mb_on(m, NULL, event, MB_HOOK_NONE, on_any, NULL);
    if (err >= 0)
        err = mb_on(m, NULL, MB_EV_FLOW_START, MB_HOOK_NONE, on_start, NULL);
    if (err >= 0)
        err = mb_monitor_history(n, 64);
    int expr = err < 0 ? err : mb_event_define_expr(run->e, MB_EV_DATA, "server.port == 80 && data matches \"[a-z]+\"", NULL);
    int bpf = expr < 0 ? expr : mb_event_define_bpf(run->e, MB_EV_PACKET, "udp", NULL);
    if (bpf < 0 || mb_event_alloc(run->e, MB_EV_DATA) < 0)
        return false;
    err = mb_on(n, NULL, (uint32_t)expr, MB_HOOK_NONE, on_any, NULL);
    if (err >= 0)
        err = mb_on(m, NULL, (uint32_t)bpf, MB_HOOK_NONE, on_any, NULL);
    return err >= 0 && mb_timer_add(m, NULL, SECOND / 100, SECOND / 100, on_timer, NULL) > 0;
}

static bool write_logs(struct run *run)
{
    char err[MB_ERRBUF_SIZE];
    for (int format = MB_FORMAT_JSON; format <= MB_FORMAT_ZEEK; format++)
        if (mb_flow_log(run->e, format, run->log, err) < 0)
            return false;
    for (int key = MB_TALLY_PROTOCOL; key <= MB_TALLY_FLOW; key++)
        if (mb_tally_new(run->e, key, 0, err) == NULL)
            return false;
    return true;
}

static bool detect(struct run *run, const struct mb_rules *rules)
{
    struct mb_detect_config config;
    mb_detect_config_init(&config);
    config.payload = config.packet = 1;
    run->detect = mb_detect_new(run->e, rules, &config, NULL);
    return run->detect != NULL && mb_detect_file(run->detect, "fault.pcap") >= 0 &&
           mb_alert_log(run->detect, MB_ALERT_EVE, ~0u, run->log) >= 0 &&
           mb_alert_log(run->detect, MB_ALERT_FAST, 0, run->log) >= 0;
}

/* Everything before the first packet. False: there was no memory for it. */
static bool build(struct run *run, const struct mb_rules *rules)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct mb_config config;
    mb_config_init(&config);
    config.seed = 1;
    config.max_flows = 1000;
    struct mb_addr host = {.byte = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}};
    run->log = mb_output_new("/dev/null", false, false, err);
    if (run->log != NULL)
        run->e = mb_engine_new(&config, err);
    if (run->e == NULL) {
        CHECK(err[0] != '\0');
        return false;
    }
    run->writer = mb_writer_new("/dev/null", 1, err);
    if (run->writer == NULL)
        return false;
    mb_engine_set_writer(run->e, run->writer);
    run->source = mb__source_memory(capture, capture_len, err);
    return run->source != NULL && mb_source_filter(run->source, "ip", err) >= 0 &&
           mb_engine_set_overlap(run->e, &host, 32, MB_OVERLAP_LINUX) >= 0 && listen(run) && write_logs(run) &&
           detect(run, rules);
}

static uint64_t usual; /* what is told without a fault */

/* All packets and the end of the run. */
static void play(struct run *run, long n)
{
    struct mb_stats s;
    if (!run_out(run->e, run->source, &s))
        return;
    struct mb_detect_stats found;
    mb_detect_stats(run->detect, &found);
    tell(found.alerts);
    uint64_t ended = 0;
    for (int i = 0; i < 8; i++)
        ended += s.flows_ended[i];
    CHECK_INT(ended, s.flows);
    if (!faulted)
        usual = told;
    else if (told != usual && let_go(&s) == 0)
        CHECK_INT(n, 0); /* something was lost, and nobody was told of it */
}

static void run_once(const struct mb_rules *rules, long n)
{
    struct run run = {0};
    if (build(&run, rules))
        play(&run, n);
    else
        CHECK(faulted);
    mb_engine_free(run.e);
    mb_source_free(run.source);
    mb_output_free(run.log);
    mb_writer_free(run.writer);
}

/* ---- the tests ---------------------------------------------------------------- */

static void test_rules(void)
{
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        bool done = false;
        for (long n = 1; !done; n++) {
            char err[MB_ERRBUF_SIZE] = "";
            long before = live;
            arm(n, goes_on);
            struct mb_rules *r = make_rules(err);
            done = !faulted;
            CHECK((r != NULL) == done || !goes_on);
            arm(0, false);
            mb_rules_free(r);
            CHECK_INT(live, before);
        }
    }
}

static void test_run(void)
{
    char err[MB_ERRBUF_SIZE];
    struct mb_rules *rules = make_rules(err);
    make_capture();
    arm(0, false);
    run_once(rules, 0);
    long before = live;
    size_t mapped_before = mapped;
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        long n = 0;
        do {
            arm(++n, goes_on);
            run_once(rules, n);
            fault_in = 0;
            CHECK_INT(live, before);
            CHECK_INT(mapped, mapped_before);
        } while (faulted);
        printf("     %ld allocations, %s\n", n - 1, goes_on ? "all from one on fail" : "one fails");
    }
    mb_rules_free(rules);
}

int main(void)
{
    hs_set_allocator(__wrap_malloc, __wrap_free);
    RUN(test_rules);
    RUN(test_run);
    return test_done();
}
