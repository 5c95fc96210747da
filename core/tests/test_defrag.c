/* SPDX-License-Identifier: BSD-3-Clause */
/* test_defrag -- fragments in any order give the datagram that was sent, or none */

#include "decoding.h"
#include "test.h"

#define SECOND INT64_C(1000000000)

static struct decoding d;
static uint8_t payload[6000]; /* a UDP datagram: header, then a pattern */

static void begin(void)
{
    decoding_stop(&d);
    decoding_init(&d);
    decoding_start(&d);
}

/* A UDP datagram of |len| bytes in |payload|. */
static void make_payload(size_t len)
{
    for (size_t i = 0; i < len; i++)
        payload[i] = (uint8_t)(i * 7 + i / 256);
    mb__put_be16(payload, 5000);
    mb__put_be16(payload + 2, 53);
    mb__put_be16(payload + 4, (uint16_t)len);
    mb__put_be16(payload + 6, 0);
}

/* Sends bytes [from, to) at |bytes| as a fragment of the datagram |id|. */
static void send_bytes(bool v6, uint32_t id, const uint8_t *bytes, size_t from, size_t to, bool more,
                       int64_t ts)
{
    struct frame f = {0};
    frame_ethernet(&f, v6 ? 0x86dd : 0x0800);
    if (v6) {
        frame_ipv6(&f, 44);
        frame_u16(&f, 0x1100);
        frame_u16(&f, (unsigned)from | more);
        frame_u32(&f, id);
    } else {
        frame_ipv4(&f, 17, (unsigned)(from / 8) | (more ? 0x2000u : 0));
        mb__put_be16(f.b + 18, (uint16_t)id);
    }
    frame_bytes(&f, bytes + from, to - from);
    frame_end(&f);
    mb__decoder_release(d.decoder);
    decode_bytes(&d, 1, ts, f.b, f.len);
}

static void send_part(bool v6, size_t from, size_t to, bool more)
{
    send_bytes(v6, 1, payload, from, to, more, 0);
}

/* Whether the last fragment completed nothing. */
static bool held(void)
{
    return (d.out[0].flags & MB_PKT_FRAGMENT) && !mb__packet_has_flow(&d.out[0]);
}

/* Checks that the last fragment completed the datagram in |payload|. */
static void check_whole(bool v6, size_t len)
{
    const struct mb_packet *p = &d.out[0];
    size_t head = v6 ? 40 : 20;
    CHECK_INT(p->flags & (MB_PKT_FRAGMENT | MB_PKT_REASSEMBLED | MB_PKT_L4), MB_PKT_REASSEMBLED | MB_PKT_L4);
    CHECK(mb__packet_has_flow(p));
    CHECK_INT(p->sport, 5000);
    CHECK_INT(p->dport, 53);
    CHECK_INT(p->ip_len, head + len);
    CHECK_INT(p->net_len, head + len);
    CHECK_INT(p->payload_len, len - 8);
    if (p->net_len == head + len)
        CHECK_MEM(p->net + head, payload, len);
    CHECK((p->flags & MB_PKT_BAD_IP_SUM) == 0);
    CHECK_INT(p->ip_proto, 17);
}

static void test_in_order(void)
{
    make_payload(3000);
    for (int v6 = 0; v6 < 2; v6++) {
        begin();
        send_part(v6, 0, 1480, true);
        CHECK(held());
        CHECK_INT(d.out[0].hash, 0);
        send_part(v6, 1480, 2960, true);
        CHECK(held());
        send_part(v6, 2960, 3000, false);
        check_whole(v6, 3000);
        CHECK_INT(d.out[0].anomalies, 0);
        CHECK_INT(d.stats.fragments, 3);
        CHECK_INT(d.stats.reassembled, 1);
        CHECK_INT(d.stats.packets_udp, 1);
        mb__decoder_release(d.decoder);
        CHECK_INT(d.memory.used, 0);
    }
}

/* All orders of four fragments, with one sent twice. */
static void test_any_order(void)
{
    static const size_t cut[] = {0, 800, 808, 1600, 1999};
    make_payload(1999);
    for (int order = 0; order < 256; order++) {
        int at[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6 & 3};
        if ((1 << at[0] | 1 << at[1] | 1 << at[2] | 1 << at[3]) != 15)
            continue;
        for (int v6 = 0; v6 < 2; v6++) {
            begin();
            for (int i = 0; i < 3; i++) {
                send_part(v6, cut[at[i]], cut[at[i] + 1], at[i] != 3);
                CHECK(held());
            }
            send_part(v6, cut[at[0]], cut[at[0] + 1], at[0] != 3);
            CHECK(held());
            CHECK_INT(d.out[0].anomalies, 0); /* the network may duplicate */
            send_part(v6, cut[at[3]], cut[at[3] + 1], at[3] != 3);
            check_whole(v6, 1999);
        }
    }
}

static void test_tiny(void)
{
    make_payload(5000);
    begin();
    for (size_t at = 4992; at > 0; at -= 8) { /* from the end, 8 bytes at a time */
        send_part(false, at, at + 8, at != 4992);
        CHECK(held());
    }
    send_part(false, 0, 8, true);
    check_whole(false, 5000);
}

static void test_two_at_once(void)
{
    make_payload(1000);
    begin();
    send_bytes(false, 1, payload, 0, 504, true, 0);
    send_bytes(false, 2, payload, 0, 504, true, 0);
    send_bytes(false, 2, payload, 504, 1000, false, 0);
    check_whole(false, 1000);
    send_bytes(false, 1, payload, 504, 1000, false, 0);
    check_whole(false, 1000);
    CHECK_INT(d.stats.reassembled, 2);
}

/* Overlapping bytes: the configured copy stands. */
static void test_overlap(void)
{
    uint8_t other[1000];
    for (int last = 0; last < 2; last++) {
        make_payload(1000);
        memcpy(other, payload, sizeof other);
        memset(other + 400, 0xee, 200);
        decoding_stop(&d);
        decoding_init(&d);
        d.config.overlap = (uint8_t)last;
        decoding_start(&d);
        send_bytes(false, 1, payload, 0, 480, true, 0);
        send_bytes(false, 1, payload, 560, 1000, false, 0);
        CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
        send_bytes(false, 1, other, 400, 600, true, 0);
        CHECK(d.out[0].anomalies & UINT64_C(1) << MB_ANOMALY_FRAG_OVERLAP);
        memset(payload + (last ? 400 : 480), 0xee, last ? 200 : 80);
        check_whole(false, 1000);
        CHECK_INT(d.stats.anomalies[MB_ANOMALY_FRAG_OVERLAP], 1);
    }
}

/* The teardrop: a last fragment that ends inside the one before. */
static void test_teardrop(void)
{
    make_payload(100);
    begin();
    send_part(false, 0, 64, true);
    send_part(false, 24, 28, false);
    CHECK(held());
    CHECK(d.out[0].anomalies & UINT64_C(1) << MB_ANOMALY_FRAG_OVERLAP);
    CHECK(d.out[0].anomalies & UINT64_C(1) << MB_ANOMALY_FRAG_LEN);
    send_part(false, 64, 100, false);
    check_whole(false, 100);
    send_part(false, 0, 64, true);
    CHECK(held());
}

/* Fragments that contradict the end that is known are let go of. */
static void test_past_end(void)
{
    make_payload(200);
    begin();
    send_part(false, 96, 104, false);
    send_part(false, 104, 200, true);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_LEN);
    send_part(false, 120, 200, false);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_LEN);
    mb__put_be16(payload + 4, 104);
    send_part(false, 0, 96, true);
    check_whole(false, 104);
}

static void test_odd_length(void)
{
    make_payload(100);
    begin(); /* IPv4: what is before the odd bytes is taken */
    send_part(false, 0, 61, true);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_LEN);
    send_part(false, 56, 100, false);
    check_whole(false, 100);
    CHECK_INT(d.out[0].anomalies, 0);
    begin(); /* IPv6: the fragment is let go of */
    send_part(true, 0, 61, true);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_LEN);
    send_part(true, 56, 100, false);
    CHECK(held());
}

static void test_too_large(void)
{
    static uint8_t big[65536];
    for (int v6 = 0; v6 < 2; v6++) {
        begin();
        send_bytes(v6, 1, big, 65528, 65536, false, 0);
        CHECK(held());
        CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_TOO_LARGE);
        CHECK_INT(d.memory.used, 0);
    }
}

/* The largest datagram there is. */
static void test_largest(void)
{
    static uint8_t big[65535];
    begin();
    memcpy(big, "\x13\x88\0\x35\xff\xeb\0\0", 8);
    for (size_t at = 0; at < 65515; at += 1480)
        send_bytes(false, 1, big, at, at + 1480 < 65515 ? at + 1480 : 65515, at + 1480 < 65515, 0);
    CHECK_INT(d.out[0].ip_len, 65535);
    CHECK_INT(d.out[0].payload_len, 65507);
    CHECK(mb__packet_has_flow(&d.out[0]));
}

static void test_timeout(void)
{
    make_payload(100);
    begin();
    send_bytes(false, 1, payload, 0, 64, true, 0);
    send_bytes(false, 1, payload, 64, 100, false, 30 * SECOND);
    check_whole(false, 100);
    send_bytes(false, 1, payload, 0, 64, true, 40 * SECOND);
    send_bytes(false, 1, payload, 64, 100, false, 71 * SECOND); /* too late: another datagram's */
    CHECK(held());
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_FRAG_TIMEOUT], 1);
    mb__decoder_expire(d.decoder, 101 * SECOND);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_FRAG_TIMEOUT], 1);
    mb__decoder_expire(d.decoder, 102 * SECOND);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_FRAG_TIMEOUT], 2);
    mb__decoder_release(d.decoder);
    CHECK_INT(d.memory.used, 0);
}

static void test_limits(void)
{
    make_payload(100);
    begin();
    d.config.max_fragments = 3;
    for (uint32_t id = 0; id < 4; id++)
        send_bytes(false, id, payload, 0, 64, true, 0);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_LIMIT);
    send_bytes(false, 0, payload, 64, 100, false, 0); /* the oldest made room */
    CHECK(held());
    send_bytes(false, 3, payload, 64, 100, false, 0);
    check_whole(false, 100);
    begin(); /* no memory for more */
    d.memory.limit = 1000;
    for (uint32_t id = 0; id < 50; id++)
        send_bytes(true, id, payload, 0, 64, true, 0);
    CHECK(held());
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_FRAG_LIMIT);
    CHECK(d.memory.used <= 1000);
    decoding_stop(&d);
    CHECK_INT(d.memory.used, 0);
}

/* A first fragment with a whole TCP header is a fragment still. */
static void test_first_with_header(void)
{
    struct frame f = {0};
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 6, 0x2000);
    frame_tcp(&f, 1234, 80, MB_TCP_ACK);
    frame_fill(&f, 'x', 20);
    decode(&d, &f);
    CHECK(held());
    CHECK_INT(d.stats.fragments, 1);
    CHECK_INT(d.stats.packets_tcp, 0);
}

/* A fragment that the capture cut is never part of a datagram. */
static void test_snapped(void)
{
    struct frame f = {0};
    make_payload(100);
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 17, 0x2000);
    frame_bytes(&f, payload, 64);
    frame_end(&f);
    struct mb_frame frame = frame_of(&f);
    frame.caplen -= 8;
    decode_frame(&d, 1, &frame);
    CHECK(held());
    CHECK_INT(d.memory.used, 0);
}

/* Headers in front of the fragment header stay, those behind it are found. */
static void test_ipv6_headers(void)
{
    begin();
    make_payload(40);
    for (int i = 0; i < 2; i++) {
        struct frame f = {0};
        frame_ethernet(&f, 0x86dd);
        frame_ipv6(&f, 60);
        frame_bytes(&f, "\x2c\0\x01\x04\0\0\0\0", 8);
        frame_bytes(&f, i ? "\x06\0\0\x10\0\0\0\7" : "\x3c\0\0\x01\0\0\0\7", 8); /* the first one's counts */
        if (i == 0)
            frame_bytes(&f, "\x11\0\x01\x04\0\0\0\0", 8);
        frame_bytes(&f, payload + 8 * i, i ? 32 : 8);
        decode(&d, &f);
    }
    const struct mb_packet *p = &d.out[0];
    CHECK(mb__packet_has_flow(p));
    CHECK_INT(p->l4_off, 56);
    CHECK_INT(p->ip_proto, 17);
    CHECK_INT(p->payload_len, 32);
    CHECK_INT(p->ip_id, 7);
    CHECK_INT(p->net[46 - 6], 60); /* destination options follow each other now */
}

/* A tunnel in fragments, and fragments in a tunnel. */
static void test_tunnelled(void)
{
    struct frame inner = {0};
    begin();
    frame_ipv4(&inner, 6, 0);
    frame_tcp(&inner, 1234, 80, MB_TCP_ACK);
    frame_text(&inner, "inside");
    frame_end(&inner);
    for (int i = 0; i < 2; i++) {
        struct frame f = {0};
        frame_ethernet(&f, 0x0800);
        frame_ipv4(&f, 4, i ? 4 : 0x2000);
        frame_bytes(&f, inner.b + 32 * i, i ? inner.len - 32 : 32);
        CHECK_INT(decode(&d, &f), 1);
    }
    const uint32_t both = MB_PKT_TUNNELLED | MB_PKT_REASSEMBLED;
    CHECK_INT(d.out[0].flags & both, both);
    CHECK_INT(d.out[0].sport, 1234);
    CHECK_INT(d.out[0].payload_len, 6);
    CHECK(mb__packet_has_flow(&d.out[0]));
    begin();
    make_payload(48);
    for (int i = 0; i < 2; i++) {
        struct frame f = {0};
        frame_ethernet(&f, 0x0800);
        frame_ipv4(&f, 4, 0);
        frame_ipv4(&f, 17, i ? 3 : 0x2000);
        frame_bytes(&f, payload + 24 * i, 24);
        CHECK_INT(decode(&d, &f), 1);
        CHECK_INT(d.out[0].tunnels, 1);
    }
    check_whole(false, 48);
}

int main(void)
{
    RUN(test_in_order);
    RUN(test_any_order);
    RUN(test_tiny);
    RUN(test_two_at_once);
    RUN(test_overlap);
    RUN(test_teardrop);
    RUN(test_past_end);
    RUN(test_odd_length);
    RUN(test_too_large);
    RUN(test_largest);
    RUN(test_timeout);
    RUN(test_limits);
    RUN(test_first_with_header);
    RUN(test_snapped);
    RUN(test_ipv6_headers);
    RUN(test_tunnelled);
    decoding_stop(&d);
    return test_done();
}
