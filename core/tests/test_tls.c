/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tls -- hellos, certificates and fingerprints, over records and segments */
#include "base/cursor.h"

#include "test.h"
#include "transcript.h"

static char *text;

static bool said(const char *needle)
{
    return transcript_says(text, needle);
}

static int count_said(const char *needle)
{
    return transcript_count(text, needle);
}

/* ---- building ------------------------------------------------------------ */

struct bytes {
    uint8_t byte[256 * 1024];
    size_t len;
};

static void put(struct bytes *b, const void *p, size_t len)
{
    if (len > 0)
        memcpy(b->byte + b->len, p, len);
    b->len += len;
}

static void put8(struct bytes *b, unsigned v)
{
    b->byte[b->len++] = (uint8_t)v;
}

static void put16(struct bytes *b, unsigned v)
{
    put8(b, v >> 8);
    put8(b, v);
}

static void put24(struct bytes *b, size_t v)
{
    put8(b, (unsigned)(v >> 16));
    put16(b, (unsigned)v & 0xffff);
}

static void put16s(struct bytes *b, const uint16_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put16(b, list[i]);
}

static void extension(struct bytes *b, unsigned type, const void *p, size_t len)
{
    put16(b, type);
    put16(b, (unsigned)len);
    put(b, p, len);
}

/* An extension that is a list behind a 16-bit length. */
static void extension16s(struct bytes *b, unsigned type, const uint16_t *list, size_t count)
{
    put16(b, type);
    put16(b, (unsigned)(2 * count + 2));
    put16(b, (unsigned)(2 * count));
    put16s(b, list, count);
}

static void server_name(struct bytes *b, const char *name)
{
    size_t n = strlen(name);
    put16(b, 0);
    put16(b, (unsigned)n + 5);
    put16(b, (unsigned)n + 3);
    put8(b, 0);
    put16(b, (unsigned)n);
    put(b, name, n);
}

#define COUNT(list) (sizeof(list) / sizeof *(list))

static const uint8_t random_bytes[32] = "0123456789abcdef0123456789abcde";

/* Version, random, session id, ciphers; extensions follow. */
static void hello_start(struct bytes *b, bool server, unsigned version, const uint16_t *ciphers, size_t count)
{
    b->len = 0;
    put16(b, version);
    put(b, random_bytes, 32);
    put8(b, 2);
    put(b, "id", 2);
    if (!server)
        put16(b, (unsigned)(2 * count));
    put16s(b, ciphers, count);
    if (!server)
        put8(b, 1);
    put8(b, 0);
}

static void hello_extensions(struct bytes *b, const struct bytes *extensions)
{
    put16(b, (unsigned)extensions->len);
    put(b, extensions->byte, extensions->len);
}

/* Adds a handshake message to |out|. */
static void message(struct bytes *out, unsigned type, const struct bytes *body)
{
    put8(out, type);
    put24(out, body->len);
    put(out, body->byte, body->len);
}

/* Adds |content| as records of at most |most| bytes. */
static void records(struct bytes *out, unsigned type, const struct bytes *content, size_t most)
{
    for (size_t at = 0, n; at < content->len; at += n) {
        n = content->len - at < most ? content->len - at : most;
        put8(out, type);
        put16(out, 0x0301);
        put16(out, (unsigned)n);
        put(out, content->byte + at, n);
    }
}

static struct bytes body, extensions, messages, client, server;

static void play(uint64_t wanted)
{
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client.byte, client.len},
        {TURN_DATA, MB_SERVER, server.byte, server.len},
    };
    free(text);
    CHECK(transcript_same(turns, 2, false, wanted, 6, &text));
}

static void reset(void)
{
    body.len = extensions.len = messages.len = client.len = server.len = 0;
}

/* ---- hellos -------------------------------------------------------------- */

/* The hello of the JA4 documentation: Chrome's lists, GREASE added. */
static void chrome_hello(void)
{
    static const uint16_t ciphers[] = {0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030,
                                       0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035};
    static const uint16_t groups[] = {0x8a8a, 29, 23, 24};
    static const uint16_t signatures[] = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601};
    static const unsigned empty[] = {0x1b, 0x33, 0x4469, 0x12, 0x23, 0x17, 0xff01, 5, 0x15, 0x2d};
    hello_start(&body, false, 0x0303, ciphers, COUNT(ciphers));
    extension(&extensions, 0x1a1a, "", 0);
    server_name(&extensions, "example.org");
    extension16s(&extensions, 10, groups, COUNT(groups));
    extension(&extensions, 11, "\1\0", 2);
    extension16s(&extensions, 13, signatures, COUNT(signatures));
    extension(&extensions, 16, "\0\14\2h2\10http/1.1", 14);
    extension(&extensions, 43, "\6\x5a\x5a\3\4\3\3", 7);
    for (size_t i = 0; i < COUNT(empty); i++)
        extension(&extensions, empty[i], "", 0);
    hello_extensions(&body, &extensions);
    message(&messages, 1, &body);
}

static void server_hello(unsigned version, bool tls13)
{
    static const uint16_t cipher[] = {0x1301};
    body.len = extensions.len = messages.len = 0;
    hello_start(&body, true, version, cipher, 1);
    if (tls13)
        extension(&extensions, 43, "\3\4", 2);
    hello_extensions(&body, &extensions);
    message(&messages, 2, &body);
}

static void test_client_hello(void)
{
    reset();
    chrome_hello();
    records(&client, 22, &messages, 16384);
    play(WANT_ALL);
    CHECK(said("C hello sni=<example.org> alpn=<\\02h2\\08http/1.1> id=<id>"));
    CHECK(said("ciphers=2a2a,1301,1302,1303,"));
    CHECK(said("groups=8a8a,001d,0017,0018, sigs=0403,0804,"));
    CHECK(said("versions=5a5a,0304,0303, points=<\\00>"));
    CHECK(said("ja3=<771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,"
               "0-10-11-13-16-43-27-51-17513-18-35-23-65281-5-21-45,29-23-24,0>"));
    CHECK(said("record=0301 hello=0303 version=0304 server=0 v2=0"));
    CHECK(said("ja4=t13d1516h2_8daaf6152771_e5627efa2ab1\n"));
}

/* The hello of the JA3 documentation. */
static void test_ja3(void)
{
    static const uint16_t ciphers[] = {47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4};
    static const uint16_t groups[] = {23, 24, 25};
    reset();
    hello_start(&body, false, 0x0301, ciphers, COUNT(ciphers));
    server_name(&extensions, "a");
    extension16s(&extensions, 10, groups, COUNT(groups));
    extension(&extensions, 11, "\1\0", 2);
    hello_extensions(&body, &extensions);
    message(&messages, 1, &body);
    records(&client, 22, &messages, 16384);
    server_hello(0x0303, true);
    records(&server, 22, &messages, 16384);
    play(WANT_ALL);
    CHECK(said("ja3=ada70206e40642a3e4461f35503241d5 ja4=t10d120300_"));
    CHECK(said("S hello"));
    CHECK(said("ja3=<771,4865,43> record=0301 hello=0303 version=0304 server=1"));
    CHECK(said("app=tls done=1"));
}

static void test_no_extensions(void)
{
    static const uint16_t ciphers[] = {10};
    reset();
    hello_start(&body, false, 0x0300, ciphers, 1);
    message(&messages, 1, &body);
    records(&client, 22, &messages, 16384);
    play(WANT_ALL);
    CHECK(said("ja3=<768,10,,,>"));
    CHECK(said("ja4=ts3i010000_"));
    CHECK(said("_000000000000\napp"));
}

static void test_small_records(void)
{
    for (size_t most = 1; most < 60; most += 7) {
        reset();
        chrome_hello();
        records(&client, 22, &messages, most);
        play(WANT_ALL);
        CHECK(said("ja4=t13d1516h2_8daaf6152771_e5627efa2ab1\n"));
    }
}

static void test_sslv2_hello(void)
{
    reset();
    static const char hello[] = "\x80\x1f\1\3\1\0\6\0\0\0\x10\0\0\x0a\1\0\x80"
                                "challenge1234567";
    put(&client, hello, sizeof hello - 1);
    server_hello(0x0301, false);
    records(&server, 22, &messages, 16384);
    play(WANT_ALL);
    CHECK(said("random=<challenge1234567> ciphers=000a, extensions="));
    CHECK(said("record=0002 hello=0301 version=0301 server=0 v2=1 ja3= ja4=\n"));
    CHECK(said("S hello"));
}

static void test_retry(void)
{
    static const uint8_t retry[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                      0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                      0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
    static struct bytes again, change;
    reset();
    again.len = change.len = 0;
    put8(&change, 1);
    chrome_hello();
    records(&client, 22, &messages, 16384);
    records(&again, 20, &change, 1);
    records(&again, 22, &messages, 16384);
    server_hello(0x0303, true);
    memcpy(messages.byte + 4 + 2, retry, 32);
    records(&server, 22, &messages, 16384);
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client.byte, client.len},
        {TURN_DATA, MB_SERVER, server.byte, server.len},
        {TURN_DATA, MB_CLIENT, again.byte, again.len},
    };
    free(text);
    CHECK(transcript_same(turns, 3, false, WANT_ALL, 4, &text));
    CHECK_INT(count_said("C hello"), 2);
    CHECK(said("done=0"));
}

/* ---- certificates -------------------------------------------------------- */

/* Ed25519, self-made: UTCTime and GeneralizedTime, an attribute without name. */
static const char certificate_hex[] =
    "308201143081c7a003020102020900e1f2030405060708300506032b657030153113301106035504030c0a4578616d706c65"
    "2043413020170d3234303232393132333435365a180f32303531303130313030303030305a3049310b300906035504061302"
    "44453110300e060355040a0c074578616d706c653114301206035504030c0b6578616d706c652e6f72673112301006092b06"
    "010401868d1f010c036f6464302a300506032b6570032100979994ff11fb9a748e796df6c018f90c0a6c28a690b79e0d344d"
    "6a02900b8f50300506032b6570034100234873597e1baaf472d9fa70dcb0055c1bc46984c404ba809de2ce721a21ad9baa6e"
    "7fd98a158a2a46e140185d22c5bce17ce46b96232f793a1e592868147a0d";

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    unsigned v;
    for (; sscanf(hex, "%2x", &v) == 1; hex += 2)
        out[n++] = (uint8_t)v;
    return n;
}

/* ServerHello and a chain of |count| copies of the certificate, |cut| short. */
static void certificate_flight(int count, size_t cut)
{
    static struct bytes flight;
    uint8_t der[512];
    size_t n = unhex(certificate_hex, der);
    reset();
    chrome_hello();
    records(&client, 22, &messages, 16384);
    server_hello(0x0303, false);
    flight.len = 0;
    put(&flight, messages.byte, messages.len);
    body.len = 0;
    n -= cut;
    put24(&body, (size_t)count * (n + 3));
    for (int i = 0; i < count; i++) {
        put24(&body, n);
        put(&body, der, n);
    }
    message(&flight, 11, &body);
    body.len = 0;
    message(&flight, 14, &body); /* ServerHelloDone */
    records(&server, 22, &flight, 100);
    put(&server, "\x14\3\3\0\1\1\x16\3\3\0\4\xff\xff\xff\xff", 15); /* and what is encrypted */
}

static void test_certificate(void)
{
    certificate_flight(2, 0);
    play(WANT_ALL);
    CHECK(said("S certificate count=2 der=280 der=280 "
               "subject=<C=DE, O=Example, CN=example.org, 1.3.6.1.4.1.99999.1=odd> issuer=<CN=Example CA> "
               "serial=<00:E1:F2:03:04:05:06:07:08> from=1709210096 to=2556144000 "
               "sha1=05:1c:21:d7:b3:41:f2:26:d0:42:ba:3f:83:73:f1:4d:5d:43:5e:3a\n"));
    CHECK(strstr(text, "anomaly") == NULL);
    certificate_flight(40, 0);
    play(WANT_ALL);
    CHECK(said("certificate count=16"));
    play(UINT64_C(1) << MB_EV_TLS_HELLO);
    CHECK(strstr(text, "certificate") == NULL);
    CHECK(said("done=1"));
}

static void test_cut_certificate(void)
{
    for (size_t cut = 1; cut < 280; cut += 3) {
        certificate_flight(1, cut);
        play(UINT64_C(1) << MB_EV_TLS_CERTIFICATE);
        CHECK(said("S certificate count=1"));
        CHECK(said("S anomaly"));
    }
}

/* ---- damage and limits --------------------------------------------------- */

static void test_damage(void)
{
    reset();
    chrome_hello();
    messages.byte[4 + 2 + 32 + 1 + 2] += 16; /* more ciphers than there are */
    records(&client, 22, &messages, 16384);
    play(WANT_ALL);
    CHECK(said("C anomaly"));
    CHECK(strstr(text, "C hello") == NULL);
    reset();
    chrome_hello();
    messages.byte[messages.len - 1] = 9; /* the last extension is longer than the hello */
    records(&client, 22, &messages, 16384);
    play(WANT_ALL);
    CHECK(said("C hello sni=<example.org>"));
    CHECK(said("C anomaly"));
    reset();
    chrome_hello();
    records(&client, 22, &messages, 100);
    client.byte[105] = 0x99; /* the second record is none */
    play(WANT_ALL);
    CHECK(said("C protocol\nC anomaly\napp"));
}

static void test_large_message(void)
{
    reset();
    chrome_hello();
    records(&client, 22, &messages, 16384);
    server_hello(0x0303, false);
    body.len = 0;
    put24(&body, 100000);
    body.len += 100000;
    message(&messages, 11, &body);
    records(&server, 22, &messages, 16384);
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client.byte, client.len},
        {TURN_DATA, MB_SERVER, server.byte, server.len},
    };
    free(text);
    CHECK(transcript_same(turns, 2, false, WANT_ALL, 2, &text));
    CHECK(said("S hello"));
    CHECK(said("S anomaly"));
}

static void test_gap(void)
{
    reset();
    chrome_hello();
    records(&client, 22, &messages, 16384);
    server_hello(0x0303, false);
    records(&server, 22, &messages, 16384);
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client.byte, 50},
        {TURN_GAP, MB_CLIENT, NULL, client.len - 50},
        {TURN_DATA, MB_SERVER, server.byte, server.len},
    };
    free(text);
    CHECK(transcript_same(turns, 3, false, WANT_ALL, 3, &text));
    CHECK(said("C protocol\nC anomaly\nS hello"));
}

int main(void)
{
    RUN(test_client_hello);
    RUN(test_ja3);
    RUN(test_no_extensions);
    RUN(test_small_records);
    RUN(test_sslv2_hello);
    RUN(test_retry);
    RUN(test_certificate);
    RUN(test_cut_certificate);
    RUN(test_damage);
    RUN(test_large_message);
    RUN(test_gap);
    free(text);
    return test_done();
}
