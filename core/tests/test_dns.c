/* SPDX-License-Identifier: BSD-3-Clause */
/* test_dns -- DNS messages built byte by byte, as datagrams and in streams */
#include "base/cursor.h"

#include "test.h"
#include "transcript.h"

/* A message being built. */
struct message {
    uint8_t byte[2048];
    size_t len;
};

static char *text;

static bool said(const char *needle)
{
    return transcript_says(text, needle);
}

static void put(struct message *m, const void *bytes, size_t len)
{
    memcpy(m->byte + m->len, bytes, len);
    m->len += len;
}

static void put16(struct message *m, unsigned v)
{
    mb__put_be16(m->byte + m->len, (uint16_t)v);
    m->len += 2;
}

static void header(struct message *m, unsigned flags, unsigned qd, unsigned an, unsigned ns, unsigned ar)
{
    m->len = 0;
    put16(m, 0x1234);
    put16(m, flags);
    put16(m, qd);
    put16(m, an);
    put16(m, ns);
    put16(m, ar);
}

/* "\3www\7example" as it stands, its NUL as the root. */
#define PUT_NAME(m, labels) put(m, labels, sizeof(labels))

static void question(struct message *m, unsigned type)
{
    put16(m, type);
    put16(m, 1);
}

/* A record of the name at offset 12. */
static void record(struct message *m, unsigned type, unsigned ttl, const void *data, size_t len)
{
    put16(m, 0xc00c);
    question(m, type);
    put16(m, 0);
    put16(m, ttl);
    put16(m, (unsigned)len);
    put(m, data, len);
}

static void play_datagram(int side, const struct message *m)
{
    struct turn turn = {TURN_DATA, side, m->byte, m->len};
    free(text);
    CHECK(transcript_same(&turn, 1, true, WANT_ALL, 0, &text));
}

static void test_query(void)
{
    struct message m;
    header(&m, 0x0100, 1, 0, 0, 0);
    PUT_NAME(&m, "\3www\7example\3org");
    question(&m, 28);
    play_datagram(MB_CLIENT, &m);
    CHECK(said("C dns id=1234 flags=0100 counts=1,0,0,0 response=0 opcode=0 rcode=0 malformed=0\n"
               "  section=0 type=28 class=1 ttl=0 name=<www.example.org> data=<>"));
    CHECK(said("app=dns"));
}

static void answer_all_types(struct message *m)
{
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    header(m, 0x8183, 1, 10, 0, 1);
    PUT_NAME(m, "\7example\3org");
    question(m, 255);
    record(m, 1, 300, "\300\0\2\7", 4);
    record(m, 28, 300, v6, 16);
    record(m, 5, 1, "\1a\300\014", 4);
    record(m, 15, 1, "\0\012\2mx\300\014", 7);
    record(m, 16, 1, "\3one\4 two", 9);
    record(m, 33, 1, "\0\1\0\2\1\273\300\014", 8);
    record(m, 6, 1, "\2ns\300\014\300\014\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5", 27);
    record(m, 99, 1, "\1\2", 2);
    record(m, 1, 1, "\1\2\3", 3);    /* too short for an address */
    record(m, 12, 1, "\1x\300\377", 4); /* points nowhere */
    put(m, "", 1);
    put16(m, 41);
    put16(m, 4096);
    put16(m, 0);
    put16(m, 0);
    put16(m, 0);
}

static void test_answer(void)
{
    struct message m;
    answer_all_types(&m);
    play_datagram(MB_SERVER, &m);
    CHECK(said("response=1 opcode=0 rcode=3 malformed=0"));
    CHECK(said("type=1 class=1 ttl=300 name=<example.org> data=<192.0.2.7>"));
    CHECK(said("type=28 class=1 ttl=300 name=<example.org> data=<2001:db8::1>"));
    CHECK(said("type=5 class=1 ttl=1 name=<example.org> data=<a.example.org>"));
    CHECK(said("type=15 class=1 ttl=1 name=<example.org> data=<10 mx.example.org>"));
    CHECK(said("data=<one two>"));
    CHECK(said("data=<1 2 443 example.org>"));
    CHECK(said("data=<ns.example.org example.org 1 2 3 4 5>"));
    CHECK(said("type=99 class=1 ttl=1 name=<example.org> data=<\\01\\02>"));
    CHECK(said("type=1 class=1 ttl=1 name=<example.org> data=<\\01\\02\\03>"));
    CHECK(said("data=<\\01x\\c0\\ff>"));
    CHECK(said("section=3 type=41 class=4096 ttl=0 name=<> data=<>"));
}

static void test_names(void)
{
    struct message m;
    header(&m, 0, 1, 0, 0, 0);
    PUT_NAME(&m, "\6a.b\\c\x01\2\xff ");
    question(&m, 1);
    play_datagram(MB_CLIENT, &m);
    CHECK(said("name=<a\\5c.b\\5c\\5cc\\5c001.\\5c255\\5c032>"));
    header(&m, 0x8000, 1, 1, 0, 0);
    PUT_NAME(&m, "\1a");
    question(&m, 1);
    put16(&m, 0xc000 | (unsigned)m.len); /* a pointer to itself */
    put(&m, "\0\1\0\1\0\0\0\0\0\0", 10);
    play_datagram(MB_SERVER, &m);
    CHECK(said("malformed=1\n  section=0 type=1 class=1 ttl=0 name=<a> data=<>\napp"));
}

/* Every cut of a message is malformed, or no DNS at all, and nothing worse. */
static void test_truncated(void)
{
    struct message m, cut;
    answer_all_types(&m);
    size_t whole = m.len;
    for (size_t len = 0; len < whole; len++) {
        cut = m;
        cut.len = len;
        play_datagram(MB_SERVER, &cut);
        CHECK(strstr(text, "malformed=0") == NULL);
        CHECK((strstr(text, "malformed=1") != NULL) == (len >= 29));
    }
}

/* Many records of one long name: bounded text, the rest left out. */
static void test_limits(void)
{
    struct message m;
    uint8_t label[64] = {63};
    memset(label + 1, 'x', 63);
    header(&m, 0x8000, 1, 150, 0, 0);
    for (int i = 0; i < 3; i++)
        put(&m, label, 64);
    put(&m, "", 1);
    question(&m, 1);
    for (int i = 0; i < 100; i++)
        record(&m, 1, 1, "\1\2\3\4", 4);
    play_datagram(MB_SERVER, &m);
    CHECK(said("malformed=1"));
    CHECK(said("data=<1.2.3.4>"));
}

static void test_stream(void)
{
    struct message all = {{0}, 0}, m;
    for (int i = 0; i < 3; i++) {
        answer_all_types(&m);
        put16(&all, (unsigned)m.len);
        put(&all, m.byte, m.len);
    }
    put16(&all, 300);
    put(&all, m.byte, 20);
    const struct turn turns[] = {
        {TURN_DATA, MB_SERVER, all.byte, all.len},
        {TURN_END, MB_SERVER, NULL, 0},
    };
    free(text);
    CHECK(transcript_same(turns, 2, false, WANT_ALL, 8, &text));
    int n = 0;
    for (const char *p = text; (p = strstr(p, "S dns")) != NULL; p++)
        n++;
    CHECK_INT(n, 3);
    CHECK(said("S anomaly\napp=dns")); /* the last one is cut off */
}

static void test_stream_gap(void)
{
    struct message all = {{0}, 0}, m;
    answer_all_types(&m);
    put16(&all, (unsigned)m.len);
    put(&all, m.byte, m.len);
    const struct turn turns[] = {
        {TURN_DATA, MB_SERVER, all.byte, all.len},     {TURN_DATA, MB_SERVER, all.byte, 100},
        {TURN_GAP, MB_SERVER, NULL, all.len - 100},    {TURN_DATA, MB_SERVER, all.byte, all.len},
        {TURN_GAP, MB_SERVER, NULL, 1},                {TURN_DATA, MB_SERVER, all.byte, all.len},
    };
    free(text);
    CHECK(transcript_same(turns, 6, false, WANT_ALL, 8, &text));
    const char *first = strstr(text, "S dns"), *second = first != NULL ? strstr(first + 1, "S dns") : NULL;
    CHECK(second != NULL && strstr(second + 1, "S dns") == NULL);
    CHECK(said("S anomaly"));
}

static void test_not_dns(void)
{
    static const char *const others[] = {"", "short", "48 bytes of something that is certainly not DNS", "\x12\x34\x01"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct turn turns[4];
        for (int j = 0; j < 4; j++)
            turns[j] = (struct turn){TURN_DATA, MB_CLIENT, (const uint8_t *)others[i], strlen(others[i])};
        free(text);
        CHECK(transcript_same(turns, 4, true, WANT_ALL, 0, &text));
        CHECK_STR(text, "app=failed done=1\n");
    }
}

int main(void)
{
    RUN(test_query);
    RUN(test_answer);
    RUN(test_names);
    RUN(test_truncated);
    RUN(test_limits);
    RUN(test_stream);
    RUN(test_stream_gap);
    RUN(test_not_dns);
    free(text);
    return test_done();
}
