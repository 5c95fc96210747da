/* SPDX-License-Identifier: BSD-3-Clause */
/* test_checksum -- right, wrong and absent checksums of each protocol */

#include "decoding.h"
#include "test.h"

static struct decoding d;

static void begin(int checksums)
{
    decoding_stop(&d);
    decoding_init(&d);
    d.config.checksums = (uint8_t)checksums;
    decoding_start(&d);
}

/* The Internet checksum of |len| bytes, word by word as in RFC 1071 4.1. */
static uint16_t internet_sum(const uint8_t *b, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Fills in the checksum at |at| of the transport part, which begins at |l4|
 * of frame |f| whose IP header is at 14. */
static void put_sum(struct frame *f, bool v6, unsigned proto, size_t l4, size_t at, bool pseudo)
{
    uint8_t b[FRAME_MAX] = {0};
    size_t len = 0, part = f->len - l4;
    if (pseudo) {
        len = v6 ? 32 : 8;
        memcpy(b, f->b + (v6 ? 22 : 26), len);
        mb__put_be32(b + len, (uint32_t)part);
        mb__put_be32(b + len + 4, proto);
        len += 8;
    }
    mb__put_be16(f->b + l4 + at, 0);
    memcpy(b + len, f->b + l4, part);
    mb__put_be16(f->b + l4 + at, internet_sum(b, len + part));
}

/* A packet of |proto| with a right checksum and |size| bytes of payload. */
static struct frame make(bool v6, unsigned proto, size_t size)
{
    struct frame f = {0};
    frame_ethernet(&f, v6 ? 0x86dd : 0x0800);
    if (v6)
        frame_ipv6(&f, proto);
    else
        frame_ipv4(&f, proto, 0);
    size_t l4 = f.len;
    if (proto == 6)
        frame_tcp(&f, 1234, 80, MB_TCP_ACK);
    else if (proto == 17)
        frame_udp(&f, 1234, 53);
    else
        frame_bytes(&f, "\x08\0\0\0\0\1\0\1", 8);
    for (size_t i = 0; i < size; i++)
        frame_u8(&f, (unsigned)(i * 37 + 11));
    frame_end(&f);
    put_sum(&f, v6, proto, l4, proto == 6 ? 16 : proto == 17 ? 6 : 2, proto != 1);
    return f;
}

static bool good(struct frame *f)
{
    decode_bytes(&d, 1, 1, f->b, f->len);
    bool answer = mb__checksums_good(&d.out[0]);
    CHECK(d.out[0].flags & MB_PKT_SUM_CHECKED);
    CHECK_INT((d.out[0].flags & (MB_PKT_BAD_IP_SUM | MB_PKT_BAD_L4_SUM)) == 0, answer);
    return answer;
}

static void test_every_protocol(void)
{
    static const unsigned protos[2][3] = {{6, 17, 1}, {6, 17, 58}};
    begin(MB_CHECKSUMS_IGNORE);
    for (int v6 = 0; v6 < 2; v6++)
        for (int i = 0; i < 3; i++)
            for (size_t size = 0; size < 60; size++) {
                struct frame f = make(v6, protos[v6][i], size);
                CHECK(good(&f));
                f.b[f.len - 1] ^= 0x10;
                CHECK(!good(&f));
                CHECK(d.out[0].flags & MB_PKT_BAD_L4_SUM);
            }
}

static void test_ipv4_header(void)
{
    begin(MB_CHECKSUMS_IGNORE);
    struct frame f = make(false, 6, 10);
    f.b[24] ^= 0xff;
    CHECK(!good(&f));
    CHECK_INT(d.out[0].flags & (MB_PKT_BAD_IP_SUM | MB_PKT_BAD_L4_SUM), MB_PKT_BAD_IP_SUM);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_IP_SUM], 1);
}

static void test_udp_without(void)
{
    begin(MB_CHECKSUMS_IGNORE);
    struct frame f = make(false, 17, 10);
    mb__put_be16(f.b + 40, 0);
    CHECK(good(&f));
    f = make(true, 17, 10); /* IPv6 demands one */
    mb__put_be16(f.b + 60, 0);
    CHECK(!good(&f));
}

static void test_cannot_tell(void)
{
    begin(MB_CHECKSUMS_IGNORE);
    struct frame f = make(false, 6, 30);
    f.len -= 5;
    CHECK(good(&f));
}

/* The expected sum was computed apart, with CRC32c as polynomial division of
 * the bits in wire order, which gives 0xe3069283 for "123456789". It is stored
 * low byte first (RFC 9260 appendix A). */
static void test_sctp(void)
{
    struct frame f = {0};
    begin(MB_CHECKSUMS_IGNORE);
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 132, 0);
    size_t l4 = f.len;
    frame_bytes(&f, "\x04\xd2\0\x50\0\0\0\0\0\0\0\0", 12);
    frame_text(&f, "123456789");
    frame_end(&f);
    CHECK(!good(&f));
    mb__put_be32(f.b + l4 + 8, 0x293950a7);
    CHECK(good(&f));
}

/* Whether bad packets are told apart where they are to be left out of flows. */
static void test_verify(void)
{
    begin(MB_CHECKSUMS_VERIFY);
    struct frame f = make(false, 6, 100);
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4 | MB_PKT_SUM_CHECKED);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
    f.b[f.len - 1] ^= 1;
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4 | MB_PKT_SUM_CHECKED | MB_PKT_BAD_L4_SUM);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_L4_SUM);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_L4_SUM], 1);
    begin(MB_CHECKSUMS_IGNORE);
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
}

/* The sum of a datagram in fragments is that of the whole. */
static void test_fragments(void)
{
    begin(MB_CHECKSUMS_VERIFY);
    struct frame f = make(false, 17, 100);
    for (int i = 0; i < 2; i++) {
        struct frame part = {0};
        frame_ethernet(&part, 0x0800);
        frame_ipv4(&part, 17, i ? 5 : 0x2000);
        frame_bytes(&part, f.b + 34 + 40 * i, i ? 68 : 40);
        decode(&d, &part);
    }
    CHECK(mb__packet_has_flow(&d.out[0]));
    const uint32_t sums = MB_PKT_SUM_CHECKED | MB_PKT_BAD_L4_SUM | MB_PKT_BAD_IP_SUM;
    CHECK_INT(d.out[0].flags & sums, MB_PKT_SUM_CHECKED);
}

int main(void)
{
    RUN(test_every_protocol);
    RUN(test_ipv4_header);
    RUN(test_udp_without);
    RUN(test_cannot_tell);
    RUN(test_sctp);
    RUN(test_verify);
    RUN(test_fragments);
    decoding_stop(&d);
    return test_done();
}
