/* SPDX-License-Identifier: BSD-3-Clause */
/* test_http -- HTTP/1 as browsers read it; every conversation is also played in pieces */
#include <zlib.h>

#include "test.h"
#include "transcript.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static char *text; /* what the parser said last */

/* Plays what both sides send, then their ends; checks that cuts change nothing. */
static void talk_bytes(const void *client, size_t client_len, const void *server, size_t server_len)
{
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client, client_len},
        {TURN_DATA, MB_SERVER, server, server_len},
        {TURN_END, MB_SERVER, NULL, 0},
        {TURN_END, MB_CLIENT, NULL, 0},
    };
    free(text);
    CHECK(transcript_same(turns, 4, false, WANT_ALL, 8, &text));
}

static void talk(const char *client, const char *server)
{
    talk_bytes(client, strlen(client), server, strlen(server));
}

static void play(const struct turn *turns, size_t count)
{
    free(text);
    CHECK(transcript_same(turns, count, false, WANT_ALL, 8, &text));
}

static struct turn data_turn(int side, const char *bytes)
{
    return (struct turn){TURN_DATA, side, (const uint8_t *)bytes, strlen(bytes)};
}

static bool said(const char *needle)
{
    return transcript_says(text, needle);
}

static int count_said(const char *needle)
{
    return transcript_count(text, needle);
}

/* ---- requests ------------------------------------------------------------ */

static void test_request(void)
{
    talk("POST /a/b?c=d HTTP/1.1\r\nHost: example.org:8080\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhello", "");
    CHECK(said("start=<POST /a/b?c=d HTTP/1.1> method=<POST> target=</a/b?c=d> host=<example.org> "
               "path=</a/b?c=d> version=<HTTP/1.1>"));
    CHECK(said("name=<Host> value=<example.org:8080>\n  name=<X-Empty> value=<>\n  name=<Content-Length> value=<5>"));
    CHECK(said("raw=<Host: example.org:8080\\0d\\0aX-Empty:\\0d\\0aContent-Length: 5\\0d\\0a>"));
    CHECK(said("C end transaction=0 status=0 flags=0 length=5 body=<hello>"));
}

static void test_targets(void)
{
    talk("GET http://user@example.org:80/x?y HTTP/1.1\r\nHost: other\r\n\r\n", "");
    CHECK(said("path=</x?y>"));
    CHECK(said("target=<http://user@example.org:80/x?y> host=<user@example.org>"));
    talk("OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", "");
    CHECK(said("host=<[2001:db8::1]> path=<*>"));
    talk("GET /with space and\ttab HTTP/1.0 \r\n\r\n", "");
    CHECK(said("target=</with space and\\09tab>"));
    CHECK(said("version=<HTTP/1.0>"));
}

static void test_pipelining(void)
{
    talk("GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\n\r\nGET /3 HTTP/1.1\n\n",
         OK "Content-Length: 1\r\n\r\na" OK "Content-Length: 9\r\n\r\n" OK "Content-Length: 1\r\n\r\nc");
    CHECK(said("S end transaction=0 status=200 flags=0 length=1 body=<a>"));
    CHECK(said("S end transaction=1 status=200 flags=0 length=0 body=<>"));
    CHECK(said("S end transaction=2 status=200 flags=0 length=1 body=<c>"));
    CHECK_INT(count_said("C request"), 3);
}

static void test_chunked_request(void)
{
    talk("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nTrailer: t\r\n\r\nGET /y "
         "HTTP/1.1\r\n\r\n",
         "");
    CHECK(said("C end transaction=0 status=0 flags=1 length=3 body=<abc>"));
    CHECK(said("target=</y>"));
}

static void test_old_request(void)
{
    talk("GET /old\r\n", "<html>all of it</html>\n");
    CHECK(said("C request start=<GET /old> method=<GET> target=</old> host=<> path=</old> version=<>"));
    CHECK(said("S response start=<>"));
    CHECK(said("S end transaction=0 status=0 flags=4 length=23 body=<<html>all of it</html>\\0a>"));
}

/* ---- responses ----------------------------------------------------------- */

static void test_response(void)
{
    talk(GET, OK "Content-Length: 4\r\n\r\nbody");
    CHECK(said("start=<HTTP/1.1 200 OK> method=<> target=<> host=<> path=<> version=<HTTP/1.1> reason=<OK> status=200"));
    CHECK(said("S end transaction=0 status=200 flags=0 length=4 body=<body>"));
    CHECK(said("app=http done=1"));
}

static void test_until_close(void)
{
    talk(GET, OK "\r\nall\r\n\r\nthere is");
    CHECK(said("flags=0 length=15 body=<all\\0d\\0a\\0d\\0athere is>"));
}

static void test_no_body(void)
{
    talk(GET GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n" OK "Content-Length: 2\r\n\r\nok");
    CHECK(said("S end transaction=0 status=304 flags=0 length=0 body=<>"));
    CHECK(said("S end transaction=1 status=200 flags=0 length=2 body=<ok>"));
}

static void test_continue(void)
{
    talk(GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK
              "Content-Length: 2\r\n\r\nok");
    CHECK_INT(count_said("S response"), 3);
    CHECK(said("S end transaction=0 status=100"));
    CHECK(said("S end transaction=0 status=200 flags=0 length=2 body=<ok>"));
}

static void test_truncated(void)
{
    talk(GET, OK "Content-Length: 10\r\n\r\nabc");
    CHECK(said("flags=32 length=3 body=<abc>"));
    talk(GET, OK "Server: x\r\nCut-Off");
    CHECK(said("name=<Server> value=<x>"));
    CHECK(said("S end transaction=0 status=200 flags=96"));
}

static void test_midstream(void)
{
    const struct turn turns[] = {
        data_turn(MB_SERVER, OK "Content-Length: 1\r\n\r\nx"),
        data_turn(MB_CLIENT, "GET /next HTTP/1.1\r\n\r\n"),
        data_turn(MB_SERVER, OK "Content-Length: 1\r\n\r\ny"),
    };
    play(turns, 3);
    CHECK(said("S end transaction=0 status=200 flags=0 length=1 body=<x>"));
    CHECK(said("C end transaction=1"));
    CHECK(said("S end transaction=1 status=200 flags=0 length=1 body=<y>"));
}

static void test_swapped_sides(void)
{
    const struct turn turns[] = {
        data_turn(MB_SERVER, GET),
        data_turn(MB_CLIENT, OK "Content-Length: 1\r\n\r\nx"),
    };
    play(turns, 2);
    CHECK(said("S request start=<GET / HTTP/1.1>"));
    CHECK(said("C end transaction=0 status=200 flags=0 length=1 body=<x>"));
}

static void test_tunnels(void)
{
    const struct turn upgrade[] = {
        data_turn(MB_CLIENT, GET),
        data_turn(MB_SERVER, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi"),
        data_turn(MB_CLIENT, "\x81\x02GET / HTTP/1.1\r\n\r\n"),
    };
    play(upgrade, 3);
    CHECK_INT(count_said("C request"), 1);
    CHECK(said("done=1"));
    const struct turn connect[] = {
        data_turn(MB_CLIENT, "CONNECT example.org:443 HTTP/1.1\r\n\r\n"),
        data_turn(MB_SERVER, "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"),
        data_turn(MB_CLIENT, "CONNECT example.org:443 HTTP/1.1\r\nProxy-Authorization: x\r\n\r\n"),
        data_turn(MB_SERVER, OK "Content-Length: 5\r\n\r\n"),
        data_turn(MB_CLIENT, "\x16\x03\x01"),
    };
    play(connect, 5);
    CHECK_INT(count_said("host=<example.org> path=<>"), 2);
    CHECK(said("S end transaction=0 status=407 flags=0 length=2 body=<no>"));
    CHECK(said("S end transaction=1 status=200 flags=0 length=0 body=<>\napp=http done=1"));
}

/* ---- what browsers forgive ----------------------------------------------- */

struct odd {
    const char *head; /* after the status line, with its empty line */
    const char *body;
    const char *content;
};

static const struct odd odd_framing[] = {
    {"Transfer-Encoding: chunked\r\n\r\n", "\t3 \r\nabc\r\n 0003 ; x\r\ndef\r\n0\r\n\r\n", "abcdef"},
    {"Transfer-Encoding: chunked\r\n\r\n", "3\nabc\n3\ndef\n0\n\n", "abcdef"},
    {"Transfer-Encoding: chunked\r\n\r\n", "plain after all", "plain after all"},
    {"Transfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\nnot a size\r\nmore", "abcnot a size\\0d\\0amore"},
    {"Transfer-Encoding: chunked\r\n\r\n", "11111111111111111\r\nx", "11111111111111111\\0d\\0ax"},
    {"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n", "ab", "ab"},
    {"Transfer-Encoding: other\r\nContent-Length: 2\r\n\r\n", "abcd", "abcd"},
    {"Transfer-Encoding:\x0b" "chunked;\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding\r\n \r\n :\r\n chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"X: y\rTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding:\r chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding : chunked\n\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding: chunked\n \n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding: chunked\n \n\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding: chunked\r\nTransfer-Encoding: other\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Transfer-Encoding: chunked, other\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"Content-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "3\r\n", "3\\0d\\0a"},
    {"Content-Length: 3, 3\r\n\r\n", "abc", "abc"},
    {"Content-Length: 3\r\nContent-Length: 2\r\n\r\n", "abc", "abc"},
    {"Content-Length: 1 2\r\n\r\n", "abc", "abc"},
    {"Content-Length: 99999999999999999999\r\n\r\n", "abc", "abc"},
    {"no colon\r\n\x7f\r\nContent-Length: 3\r\n\r\n", "abc", "abc"},
    {"Content-Encoding: deflate,\r\nContent-Length: 3\r\n\r\n", "abc", "abc"},
    {"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", "abc", "abc"},
    {"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", "a", "a"},
    {"Content-Encoding: br\r\nContent-Length: 3\r\n\r\n", "abc", "abc"},
};

static void test_odd_framing(void)
{
    for (size_t i = 0; i < sizeof odd_framing / sizeof *odd_framing; i++) {
        const struct odd *o = &odd_framing[i];
        char server[512], needle[128];
        snprintf(server, sizeof server, OK "%s%s", o->head, o->body);
        snprintf(needle, sizeof needle, "body=<%s>\n", o->content);
        talk(GET, server);
        CHECK(said(needle));
    }
}

static void test_odd_status_lines(void)
{
    static const struct {
        const char *line, *want;
    } lines[] = {
        {"http/1.1 200 ok\r\n", "version=<http/1.1> reason=<ok> status=200"},
        {"HTTP/1.1 404\n", "reason=<> status=404"},
        {"HTTP/1.1\x0b" "200\x0bok\r\n", "reason=<ok> status=200"},
        {"HTTP/1.1 2 ok\r\n", "reason=<ok> status=2 "},
        {"HTTP/1.1 2x0 ok\r\n", "reason=<ok> status=0 "},
        {" \rHTTP/1.1 200 ok\r\n", "start=<HTTP/1.1 200 ok>"},
        {"HTTP/1.10 200 a b c\r\n", "version=<HTTP/1.10> reason=<a b c> status=200"},
        {"HTTP/1.1\rX: y\r\n", "name=<X> value=<y>"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char server[128];
        snprintf(server, sizeof server, "%sContent-Length: 3\r\n\r\nabc", lines[i].line);
        talk(GET, server);
        CHECK(said(lines[i].want));
        CHECK(said("body=<abc>"));
    }
}

static void test_folding(void)
{
    talk(GET, OK "A: one\r\n two\r\nContent-Length: 0\r\n\r\n");
    CHECK(said("name=<A> value=<one\\0d\\0a two>"));
    CHECK(said("flags=8"));
}

/* ---- compression --------------------------------------------------------- */

static size_t pack(const void *in, size_t len, uint8_t *out, size_t size, int window_bits)
{
    z_stream z = {0};
    deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)size;
    deflate(&z, Z_FINISH);
    size_t n = size - z.avail_out;
    deflateEnd(&z);
    return n;
}

enum { GZIP = 31, ZLIB = 15, RAW = -15 };

/* A response whose body is |packed|, announced as |coding|. */
static void talk_packed(const char *coding, const uint8_t *packed, size_t len)
{
    static uint8_t server[1 << 20];
    int n = snprintf((char *)server, sizeof server, OK "Content-Encoding: %s\r\n\r\n", coding);
    memcpy(server + n, packed, len);
    talk_bytes(GET, strlen(GET), server, (size_t)n + len);
}

static void test_compression(void)
{
    static const char plain[] = "the same words, the same words, the same words";
    uint8_t one[256], two[256], three[256];
    size_t n = pack(plain, strlen(plain), one, sizeof one, GZIP);
    talk_packed("gzip", one, n);
    CHECK(said("flags=2 length=46 body=<the same words, the same words, the same words>"));
    talk_packed("gzip\r\nTransfer-Encoding: other", one, n);
    CHECK(said("body=<the same words, the same words, the same words>"));
    talk_packed("x-gzip", one, n - 8); /* no trailer */
    CHECK(said("words, the same words, the same words>"));
    talk_packed("gzip", one, n / 2);
    CHECK(said("body=<the same"));
    one[n - 6] ^= 1; /* wrong checksum */
    talk_packed("GZIP", one, n);
    CHECK(said("body=<the same words, the same words, the same words>"));
    n = pack(plain, strlen(plain), one, sizeof one, RAW);
    talk_packed("deflate", one, n);
    CHECK(said("body=<the same words, the same words, the same words>"));
    n = pack(plain, strlen(plain), one, sizeof one, ZLIB);
    talk_packed("deflate", one, n);
    CHECK(said("body=<the same words, the same words, the same words>"));
    size_t m = pack(one, n, two, sizeof two, GZIP);
    talk_packed("deflate, gzip", two, m);
    CHECK(said("body=<the same words, the same words, the same words>"));
    talk_packed("deflate\r\nContent-Encoding: gzip", two, m);
    CHECK(said("body=<the same words, the same words, the same words>"));
    size_t k = pack(two, m, three, sizeof three, RAW);
    talk_packed("deflate, gzip, deflate", three, k);
    CHECK(said("body=<the same words, the same words, the same words>"));
}

static void test_gzip_members(void)
{
    uint8_t packed[256];
    size_t n = pack("first ", 6, packed, sizeof packed, GZIP);
    n += pack("second", 6, packed + n, sizeof packed - n, GZIP);
    memcpy(packed + n, "junk", 4);
    talk_packed("gzip", packed, n + 4);
    CHECK(said("length=12 body=<first second>"));
}

static void test_transfer_gzip(void)
{
    uint8_t packed[128];
    char server[512];
    size_t n = pack("inside", 6, packed, sizeof packed, GZIP);
    int m = snprintf(server, sizeof server, OK "Transfer-Encoding: gzip, chunked\r\n\r\n%zx\r\n", n);
    memcpy(server + m, packed, n);
    memcpy(server + m + n, "\r\n0\r\n\r\n", 7);
    talk_bytes(GET, strlen(GET), server, (size_t)m + n + 7);
    CHECK(said("flags=3 length=6 body=<inside>"));
}

static int count_bytes(struct mb__proto_sink *sink, uint32_t event, int side, const void *record, const uint8_t *data,
                       uint64_t len)
{
    struct transcript *t = (struct transcript *)sink;
    if (event == MB_EV_HTTP_BODY)
        t->out.len += len;
    if (event == MB_EV_HTTP_END && side == MB_SERVER)
        say(t, " flags=%u", ((const struct mb_http *)record)->flags);
    (void)data;
    return 0;
}

/* Much from little: what one layer gives has an end. */
static void test_bomb(void)
{
    size_t size = 20 << 20;
    uint8_t *zeros = calloc(1, size), *packed = malloc(1 << 20);
    size_t n = pack(zeros, size, packed, 1 << 20, GZIP);
    struct transcript t;
    transcript_init(&t, WANT_ALL);
    t.sink.emit = count_bytes;
    char head[] = OK "Content-Encoding: gzip\r\n\r\n";
    const struct turn turns[] = {
        {TURN_DATA, MB_SERVER, (uint8_t *)head, strlen(head)},
        {TURN_DATA, MB_SERVER, packed, n},
        {TURN_END, MB_SERVER, NULL, 0},
    };
    free(t.out.text); /* only its length is used */
    t.out = (struct growing){0};
    struct mb__proto_conn *c = mb__proto_conn_new(&t.sink, false, 1, 2);
    for (int i = 0; i < 2; i++)
        mb__proto_conn_data(c, &t.sink, MB_SERVER, turns[i].data, turns[i].len);
    CHECK_INT(t.out.len, 16 << 20);
    CHECK(t.memory.peak < 128 * 1024);
    t.out.len = 0;
    mb__proto_conn_end(c, &t.sink, MB_SERVER);
    CHECK_STR(t.out.text, " flags=130");
    mb__proto_conn_free(c, &t.sink);
    CHECK_INT(t.memory.used, 0);
    transcript_fini(&t);
    free(zeros);
    free(packed);
}

/* ---- loss ---------------------------------------------------------------- */

static void test_gaps(void)
{
    const struct turn inside[] = {
        data_turn(MB_CLIENT, GET GET),
        data_turn(MB_SERVER, OK "Content-Length: 10\r\n\r\nabc"),
        {TURN_GAP, MB_SERVER, NULL, 4},
        data_turn(MB_SERVER, "xyz" OK "Content-Length: 1\r\n\r\n2"),
    };
    play(inside, 4);
    CHECK(said("S end transaction=0 status=200 flags=32 length=6 body=<abcxyz>"));
    CHECK(said("S end transaction=1 status=200 flags=0 length=1 body=<2>"));
    const struct turn beyond[] = {
        data_turn(MB_CLIENT, GET GET),
        data_turn(MB_SERVER, OK "Content-Length: 10\r\n\r\nabc"),
        {TURN_GAP, MB_SERVER, NULL, 40},
        data_turn(MB_SERVER, "gth: 5\r\n\r\nHello\r\n" OK "Content-Length: 1\r\n\r\n2"),
    };
    play(beyond, 4);
    CHECK(said("S end transaction=0 status=200 flags=32 length=3 body=<abc>"));
    CHECK(said("S anomaly"));
    CHECK(said("flags=0 length=1 body=<2>"));
    const struct turn request[] = {
        data_turn(MB_CLIENT, "GET /one HTTP/1.1\r\nHo"),
        {TURN_GAP, MB_CLIENT, NULL, 10},
        data_turn(MB_CLIENT, "rest\r\nHello: x\r\n\r\nGET /two HTTP/1.1\r\n\r\n"),
    };
    play(request, 3);
    CHECK(said("target=</two>"));
    CHECK_INT(count_said("C request"), 1);
}

/* The line that is no status line may end right where that shows. */
static void test_line_before_a_response(void)
{
    talk(GET, OK "Content-Length: 0\r\n\r\nH\n" OK "Content-Length: 3\r\n\r\nabc");
    CHECK(said("S anomaly"));
    CHECK(said("body=<abc>"));
    CHECK_INT(count_said("S response"), 2);
}

static void test_garbage(void)
{
    talk(GET "\x01\x02\x03 garbage\r\nGET /after HTTP/1.1\r\n\r\n", OK "Content-Length: 1\r\n\r\na"
         "garbage\r\n" OK "Content-Length: 1\r\n\r\nb");
    CHECK(said("target=</after>"));
    CHECK(said("C anomaly"));
    CHECK(said("S end transaction=1 status=0 flags=68")); /* content without a head */
}

/* ---- limits -------------------------------------------------------------- */

static char *repeat(const char *start, const char *piece, size_t times, const char *rest)
{
    size_t first = strlen(start), each = strlen(piece), last = strlen(rest);
    char *all = malloc(first + each * times + last + 1), *p = all;
    if (all == NULL)
        exit(1);
    memcpy(p, start, first);
    p += first;
    for (size_t i = 0; i < times; i++, p += each)
        memcpy(p, piece, each);
    memcpy(p, rest, last + 1);
    return all;
}

static void test_limits(void)
{
    char *many = repeat("GET / HTTP/1.1\r\n", "A: b\r\n", 1000, "Content-Length: 2\r\n\r\nok");
    talk(many, "");
    CHECK_INT(count_said("name=<A>"), 256);
    CHECK(said("flags=0 length=2 body=<ok>"));
    free(many);
    char *large = repeat("GET / HTTP/1.1\r\n", "A: 0123456789abcdef\r\n", 4000, "\r\nGET /next HTTP/1.1\r\n\r\n");
    talk(large, "");
    CHECK(said("C anomaly"));
    CHECK(said("target=</next>"));
    CHECK_INT(count_said("C request"), 1);
    free(large);
}

static void test_only_what_is_wanted(void)
{
    const struct turn turns[] = {
        data_turn(MB_CLIENT, GET),
        data_turn(MB_SERVER, OK "Content-Length: 3\r\n\r\nabc"),
    };
    free(text);
    CHECK(transcript_same(turns, 2, false, UINT64_C(1) << MB_EV_HTTP_RESPONSE, 3, &text));
    CHECK_INT(count_said("\n"), 3 + 1); /* the response with its fields, app */
    CHECK(strncmp(text, "S response", 10) == 0);
}

int main(void)
{
    RUN(test_request);
    RUN(test_targets);
    RUN(test_pipelining);
    RUN(test_chunked_request);
    RUN(test_old_request);
    RUN(test_response);
    RUN(test_until_close);
    RUN(test_no_body);
    RUN(test_continue);
    RUN(test_truncated);
    RUN(test_midstream);
    RUN(test_swapped_sides);
    RUN(test_tunnels);
    RUN(test_odd_framing);
    RUN(test_odd_status_lines);
    RUN(test_folding);
    RUN(test_compression);
    RUN(test_gzip_members);
    RUN(test_transfer_gzip);
    RUN(test_bomb);
    RUN(test_gaps);
    RUN(test_line_before_a_response);
    RUN(test_garbage);
    RUN(test_limits);
    RUN(test_only_what_is_wanted);
    free(text);
    return test_done();
}
