/* SPDX-License-Identifier: BSD-3-Clause */
/* test_proto_conn -- the search for a protocol among the first bytes of both sides */
#include "test.h"
#include "transcript.h"

#define BIT(event) (UINT64_C(1) << (event))
#define DNS_QUERY "\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"

static char *text;

static bool said(const char *needle)
{
    return transcript_says(text, needle);
}

static void play(const struct turn *turns, size_t count, bool datagrams, uint64_t wanted)
{
    free(text);
    CHECK(transcript_same(turns, count, datagrams, wanted, 6, &text));
}

#define BYTES(side, literal) {TURN_DATA, side, (const uint8_t *)(literal), sizeof(literal) - 1}

static void one(int side, const char *bytes, size_t len, uint64_t wanted)
{
    const struct turn turn = {TURN_DATA, side, (const uint8_t *)bytes, len};
    play(&turn, 1, false, wanted);
}
#define ONE(side, literal) one(side, literal, sizeof(literal) - 1, BIT(MB_EV_PROTOCOL))

static void test_first_bytes(void)
{
    ONE(MB_CLIENT, "GET /x");
    CHECK_STR(text, "C protocol\napp=http done=1\n");
    ONE(MB_CLIENT, "BREW /pot HTCPCP/1.0\r\n\r\n");
    CHECK_STR(text, "app=unknown done=0\n");
    ONE(MB_CLIENT, "BREW /pot HTTP/1.0\r\n");
    CHECK_STR(text, "C protocol\napp=http done=1\n");
    ONE(MB_CLIENT, "OPTIONS rtsp://a/b RTSP/1.0\r\n\r\n");
    CHECK(said("app=unknown"));
    ONE(MB_CLIENT, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    CHECK(said("app=unknown"));
    ONE(MB_CLIENT, "\x16\3\1\0\x40\1");
    CHECK(said("app=tls"));
    ONE(MB_CLIENT, "\x16\3\1\0\x40\x10");
    CHECK(said("app=unknown"));
    ONE(MB_CLIENT, "\0\x13" DNS_QUERY);
    CHECK(said("app=dns"));
    ONE(MB_SERVER, "SSH-2.0");
    CHECK_STR(text, "S protocol\napp=ssh done=1\n");
    ONE(MB_SERVER, "HTTP/");
    CHECK(said("app=http"));
}

/* A side that fits nothing waits for the other, and is over when that does not fit either. */
static void test_other_side(void)
{
    const struct turn http[] = {
        BYTES(MB_CLIENT, "\xff\xff binary of some kind"),
        BYTES(MB_CLIENT, "\x04"),
        BYTES(MB_SERVER, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    };
    play(http, 3, false, WANT_ALL);
    CHECK(said("S protocol\nC anomaly\nS response"));
    const struct turn none[] = {
        BYTES(MB_CLIENT, "EHLO example.org\r\n"),
        BYTES(MB_SERVER, "220 mail.example.org ready\r\n"),
    };
    play(none, 2, false, WANT_ALL);
    CHECK_STR(text, "app=failed done=1\n");
    const struct turn ended[] = {
        BYTES(MB_CLIENT, "\xff\xff binary of some kind"),
        {TURN_END, MB_SERVER, NULL, 0},
    };
    play(ended, 2, false, WANT_ALL);
    CHECK(said("app=failed done=1"));
}

static void test_long_unknown(void)
{
    static char letters[70000];
    memset(letters, 'A', sizeof letters);
    one(MB_CLIENT, letters, sizeof letters, WANT_ALL);
    CHECK(said("app=failed done=1"));
    one(MB_CLIENT, letters, 20, WANT_ALL);
    CHECK(said("app=unknown done=0"));
}

static void test_subset(void)
{
    one(MB_CLIENT, "GET / HTTP/1.1\r\n\r\n", 18, BIT(MB_EV_TLS_HELLO));
    CHECK_STR(text, "app=unknown done=0\n");
    one(MB_CLIENT, "GET / HTTP/1.1\r\n\r\n", 18, BIT(MB_EV_HTTP_END));
    CHECK(strncmp(text, "C end", 5) == 0);
    CHECK(said("app=http done=0"));
    one(MB_CLIENT, "GET / HTTP/1.1\r\n\r\n", 18, 0);
    CHECK_STR(text, "app=unknown done=1\n");
}

static void test_datagrams(void)
{
    const struct turn late[] = {
        BYTES(MB_CLIENT, "not dns"),
        BYTES(MB_SERVER, DNS_QUERY),
        BYTES(MB_CLIENT, DNS_QUERY),
    };
    play(late, 3, true, WANT_ALL);
    CHECK(said("S protocol\nS dns"));
    CHECK(said("C dns"));
    const struct turn http[] = {
        BYTES(MB_CLIENT, "GET / HTTP/1.1\r\n\r\n"), BYTES(MB_CLIENT, "x"), BYTES(MB_CLIENT, "x"), BYTES(MB_CLIENT, "x"),
    };
    play(http, 4, true, WANT_ALL);
    CHECK_STR(text, "app=failed done=1\n");
}

static void test_after_end(void)
{
    const struct turn turns[] = {
        BYTES(MB_CLIENT, "GE"),
        {TURN_END, MB_CLIENT, NULL, 0},
        BYTES(MB_CLIENT, "T / HTTP/1.1\r\n\r\n"),
        {TURN_GAP, MB_CLIENT, NULL, 5},
    };
    play(turns, 4, false, WANT_ALL);
    CHECK_STR(text, "app=unknown done=0\n");
}

/* ---- what the sink decides ------------------------------------------------ */

struct stopping {
    struct mb__proto_sink sink;
    struct mb__memory memory;
    uint32_t stop_at; /* event */
    int calls;
};

static int stop(struct mb__proto_sink *sink, uint32_t event, int side, const void *record, const uint8_t *data,
                uint64_t len)
{
    struct stopping *s = (struct stopping *)sink;
    (void)side, (void)record, (void)data, (void)len;
    s->calls++;
    return event == s->stop_at ? 7 : 0;
}

static void test_codes_come_back(void)
{
    static const char bytes[] = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok";
    for (uint32_t event = MB_EV_PROTOCOL; event <= MB_EV_HTTP_END; event++) {
        struct stopping s = {.sink = {.emit = stop, .wanted = WANT_ALL}, .memory = {.limit = 1 << 20}};
        s.sink.memory = &s.memory;
        s.stop_at = event;
        struct mb__proto_conn *c = mb__proto_conn_new(&s.sink, false, 1, 80);
        int rc = mb__proto_conn_data(c, &s.sink, MB_CLIENT, (const uint8_t *)bytes, sizeof bytes - 1);
        CHECK_INT(rc, event == MB_EV_HTTP_RESPONSE ? 0 : 7);
        mb__proto_conn_free(c, &s.sink);
        CHECK_INT(s.memory.used, 0);
    }
}

/* However little memory there is, nothing breaks and all comes back. */
static void test_no_memory(void)
{
    static const char bytes[] = "GET / HTTP/1.1\r\nA: b\r\n\r\n";
    for (uint64_t limit = 0; limit < 8192; limit += 64) {
        struct stopping s = {.sink = {.emit = stop, .wanted = WANT_ALL}, .memory = {.limit = limit}};
        s.sink.memory = &s.memory;
        struct mb__proto_conn *c = mb__proto_conn_new(&s.sink, false, 1, 80);
        for (size_t i = 0; c != NULL && i < sizeof bytes - 1; i++)
            CHECK_INT(mb__proto_conn_data(c, &s.sink, MB_CLIENT, (const uint8_t *)bytes + i, 1), 0);
        mb__proto_conn_free(c, &s.sink);
        CHECK_INT(s.memory.used, 0);
        CHECK(s.memory.peak <= limit);
    }
}

static void test_names(void)
{
    CHECK_STR(mb_app_proto_name(MB_APP_UNKNOWN), "unknown");
    CHECK_STR(mb_app_proto_name(MB_APP_NONE), "failed");
    CHECK_STR(mb_app_proto_name(MB_APP_HTTP), "http");
    CHECK_STR(mb_app_proto_name(MB_APP_TLS), "tls");
    CHECK_STR(mb_app_proto_name(MB_APP_DNS), "dns");
    CHECK_STR(mb_app_proto_name(MB_APP_SSH), "ssh");
    CHECK_STR(mb_app_proto_name(-1), "failed");
    CHECK_STR(mb_app_proto_name(99), "failed");
}

int main(void)
{
    RUN(test_first_bytes);
    RUN(test_other_side);
    RUN(test_long_unknown);
    RUN(test_subset);
    RUN(test_datagrams);
    RUN(test_after_end);
    RUN(test_codes_come_back);
    RUN(test_no_memory);
    RUN(test_names);
    free(text);
    return test_done();
}
