/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tcp_options -- options as systems send them, and as they should not be */

#include "decoding.h"
#include "test.h"

static struct decoding d;
static struct mb__tcp_options o;

/* Decodes a SYN with the |len| bytes of |options| and reads them; the set of
 * anomalies that decoding found. */
static uint64_t read_options(const char *options, size_t len)
{
    struct frame f = {0};
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 6, 0);
    frame_tcp_options(&f, 1234, 80, MB_TCP_SYN, options, len);
    frame_text(&f, "data after the header");
    decode(&d, &f);
    memset(&o, 0xff, sizeof o);
    mb__tcp_options_read(&d.out[0], &o);
    CHECK(mb__packet_has_flow(&d.out[0]));
    CHECK_INT(d.out[0].payload_len, 21);
    return d.out[0].anomalies;
}

#define READ(options) read_options(options, sizeof(options) - 1)
#define BIT(anomaly) (UINT64_C(1) << (anomaly))

static void test_none(void)
{
    uint32_t tsval, tsecr;
    CHECK_INT(READ(""), 0);
    CHECK_INT(o.mss, 0);
    CHECK(!o.has_ts && !o.has_wscale && !o.sack_permitted && !o.malformed && !o.duplicate && !o.bad_len);
    CHECK(!mb__tcp_timestamps(&d.out[0], &tsval, &tsecr));
}

static void test_syn(void)
{
    CHECK_INT(READ("\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\x10\0\0\0\0\x01\x01\x03\x03\x07"), 0);
    CHECK_INT(o.mss, 1460);
    CHECK(o.sack_permitted && o.has_ts && o.has_wscale);
    CHECK_INT(o.tsval, 4096);
    CHECK_INT(o.tsecr, 1);
    CHECK_INT(o.wscale, 7);
    CHECK(!o.fast_open && !o.md5 && o.sack_count == 0);
}

static void test_timestamps(void)
{
    uint32_t tsval = 0, tsecr = 0;
    READ("\x01\x01\x08\x0a\x01\x02\x03\x04\x05\x06\x07\x08");
    CHECK(mb__tcp_timestamps(&d.out[0], &tsval, &tsecr));
    CHECK_INT(tsval, 0x01020304);
    CHECK_INT(tsecr, 0x05060708);
    CHECK_INT(o.tsval, tsval);
    READ("\x08\x0a\0\0\0\x09\0\0\0\x08\0\0"); /* another layout */
    CHECK(mb__tcp_timestamps(&d.out[0], &tsval, &tsecr));
    CHECK_INT(tsval, 9);
    CHECK_INT(tsecr, 8);
    READ("\x01\x01\x05\x0a\0\0\0\x09\0\0\0\x08"); /* SACK of the same size */
    CHECK(!mb__tcp_timestamps(&d.out[0], &tsval, &tsecr));
    READ("\0\0\x08\x0a\0\0\0\x09\0\0\0\x08"); /* behind the end of the list */
    CHECK(!mb__tcp_timestamps(&d.out[0], &tsval, &tsecr));
    CHECK(!o.has_ts);
}

static void test_sack(void)
{
    CHECK_INT(READ("\x01\x01\x05\x12\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\0\0\x09"), 0);
    CHECK_INT(o.sack_count, 2);
    CHECK_INT(o.sack[0][0], 1);
    CHECK_INT(o.sack[0][1], 2);
    CHECK_INT(o.sack[1][0], 5);
    CHECK_INT(o.sack[1][1], 9);
}

static void test_others(void)
{
    CHECK_INT(READ("\x22\x02\x01\x01"), 0);
    CHECK(o.fast_open && !o.fast_open_cookie);
    CHECK_INT(READ("\x22\x06\x11\x22\x33\x44\x01\x01"), 0);
    CHECK(o.fast_open && o.fast_open_cookie);
    CHECK_INT(READ("\x13\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01"), 0);
    CHECK(o.md5);
    CHECK_INT(READ("\x1d\x04\x01\x02"), 0);
    CHECK(o.md5);
    CHECK_INT(READ("\xfd\x04\x01\x02"), 0); /* experiments are nobody's fault */
    CHECK_INT(READ("\x03\x03\xff\0"), 0);
    CHECK_INT(o.wscale, 14);
}

static void test_malformed(void)
{
    CHECK_INT(READ("\x02\x04\x05\xb4\x08\x00\0\0"), BIT(MB_ANOMALY_TCP_OPTIONS));
    CHECK_INT(o.mss, 1460); /* what came before stands */
    CHECK(o.malformed);
    CHECK_INT(READ("\x02\x01\0\0"), BIT(MB_ANOMALY_TCP_OPTIONS));
    CHECK_INT(READ("\x02\x05\x05\xb4"), BIT(MB_ANOMALY_TCP_OPTIONS));
    CHECK_INT(o.mss, 0);
    CHECK_INT(READ("\x01\x01\x01\x08"), BIT(MB_ANOMALY_TCP_OPTIONS)); /* no room for a length */
    CHECK_INT(READ("\x02\x03\x05\x01"), BIT(MB_ANOMALY_TCP_OPTION_LEN));
    CHECK(o.bad_len && !o.malformed && o.mss == 0);
    CHECK_INT(READ("\x02\x04\x05\xb4\x02\x04\x00\x01"), BIT(MB_ANOMALY_TCP_OPTION_DUPLICATE));
    CHECK_INT(o.mss, 1460);
    CHECK(o.duplicate);
}

/* Options that the capture cut off: what is there is read, nothing is odd. */
static void test_cut(void)
{
    struct frame f = {0};
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 6, 0);
    frame_tcp_options(&f, 1234, 80, MB_TCP_SYN, "\x02\x04\x05\xb4\x01\x01\x08\x0a\0\0\0\x01\0\0\0\x02", 16);
    frame_end(&f);
    for (uint32_t cut = 1; cut <= 16; cut++) {
        struct mb_frame frame = frame_of(&f);
        frame.caplen -= cut;
        decode_frame(&d, 1, &frame);
        mb__tcp_options_read(&d.out[0], &o);
        CHECK_INT(d.out[0].anomalies, BIT(MB_ANOMALY_IP_SNAPPED));
        CHECK_INT(o.mss, cut <= 12 ? 1460 : 0);
        CHECK(!o.has_ts);
        uint32_t tsval, tsecr;
        CHECK(!mb__tcp_timestamps(&d.out[0], &tsval, &tsecr));
    }
}

int main(void)
{
    decoding_init(&d);
    decoding_start(&d);
    RUN(test_none);
    RUN(test_syn);
    RUN(test_timestamps);
    RUN(test_sack);
    RUN(test_others);
    RUN(test_malformed);
    RUN(test_cut);
    decoding_stop(&d);
    return test_done();
}
