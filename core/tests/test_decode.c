/* SPDX-License-Identifier: BSD-3-Clause */
/* test_decode -- link layers, IP, transport headers and tunnels, from outside */

#include "decoding.h"
#include "test.h"

static struct decoding d;
static struct frame f;

static void begin(void)
{
    decoding_stop(&d);
    decoding_init(&d);
    decoding_start(&d);
    memset(&f, 0, sizeof f);
}

/* A TCP segment with |text| from where the frame is. */
static void tcp_over_ipv4(const char *text)
{
    frame_ipv4(&f, 6, 0);
    frame_tcp(&f, 1234, 80, MB_TCP_ACK);
    frame_text(&f, text);
}

static void udp_over_ipv6(const char *text)
{
    frame_ipv6(&f, 17);
    frame_udp(&f, 1000, 53);
    frame_text(&f, text);
}

/* Checks that packet |i| is that of tcp_over_ipv4(text). */
static void check_tcp(int i, const char *text)
{
    const struct mb_packet *p = &d.out[i];
    char addr[MB_ADDR_TEXT];
    CHECK_INT(p->flags & (MB_PKT_IP | MB_PKT_IPV6 | MB_PKT_L4), MB_PKT_IP | MB_PKT_L4);
    CHECK_INT(p->ip_proto, 6);
    CHECK_INT(p->sport, 1234);
    CHECK_INT(p->dport, 80);
    CHECK_INT(p->seq, 1000);
    CHECK_INT(p->ack, 2000);
    CHECK_INT(p->window, 8192);
    CHECK_INT(p->tcp_flags, MB_TCP_ACK);
    CHECK_INT(p->ttl, 64);
    CHECK_INT(p->ip_id, 0x1234);
    CHECK_INT(p->payload_len, strlen(text));
    if (p->payload_len == strlen(text))
        CHECK_MEM(p->net + p->payload_off, text, strlen(text));
    mb_addr_text(&p->src, addr);
    CHECK_STR(addr, "10.0.0.1");
    mb_addr_text(&p->dst, addr);
    CHECK_STR(addr, "10.0.0.2");
    CHECK(mb__packet_has_flow(p));
}

static void check_udp6(int i, const char *text)
{
    const struct mb_packet *p = &d.out[i];
    char addr[MB_ADDR_TEXT];
    CHECK_INT(p->flags & (MB_PKT_IP | MB_PKT_IPV6 | MB_PKT_L4), MB_PKT_IP | MB_PKT_IPV6 | MB_PKT_L4);
    CHECK_INT(p->ip_proto, 17);
    CHECK_INT(p->sport, 1000);
    CHECK_INT(p->dport, 53);
    CHECK_INT(p->tcp_flags, 0);
    CHECK_INT(p->payload_len, strlen(text));
    if (p->payload_len == strlen(text))
        CHECK_MEM(p->net + p->payload_off, text, strlen(text));
    mb_addr_text(&p->src, addr);
    CHECK_STR(addr, "2001:db8::1");
}

/* ---- link layers --------------------------------------------------------- */

static void test_ethernet(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("hello, this is long enough");
    CHECK_INT(decode(&d, &f), 1);
    check_tcp(0, "hello, this is long enough");
    CHECK_INT(d.out[0].anomalies, 0);
    CHECK_INT(d.out[0].net_off, 14);
    CHECK_INT(d.out[0].link, 1);
    CHECK_INT(d.out[0].number, 1);
    CHECK_INT(d.stats.packets_ip, 1);
    CHECK_INT(d.stats.packets_tcp, 1);
    begin();
    frame_ethernet(&f, 0x86dd);
    udp_over_ipv6("q");
    CHECK_INT(decode(&d, &f), 1);
    check_udp6(0, "q");
    CHECK_INT(d.stats.packets_udp, 1);
}

static void test_ethernet_padding(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("");
    frame_end(&f);
    frame_fill(&f, 0xee, 6);
    decode_bytes(&d, 1, 1, f.b, f.len);
    check_tcp(0, "");
    CHECK_INT(d.out[0].net_len, 40);
    CHECK_INT(d.out[0].frame_len, 60);
}

static void test_vlan(void)
{
    static const unsigned outer[] = {0x8100, 0x88a8, 0x9100};
    for (int i = 0; i < 3; i++) {
        begin();
        frame_ethernet(&f, outer[i]);
        frame_u32(&f, 0xe0648100); /* priority 7, id 100 */
        frame_u32(&f, 0x00c80800);
        tcp_over_ipv4("vlan");
        CHECK_INT(decode(&d, &f), 1);
        check_tcp(0, "vlan");
        CHECK_INT(d.out[0].vlans, 2);
        CHECK_INT(d.out[0].vlan[0], 100);
        CHECK_INT(d.out[0].vlan[1], 200);
    }
}

static void test_mpls(void)
{
    begin();
    frame_ethernet(&f, 0x8847);
    frame_u32(&f, 0x00010040);
    frame_u32(&f, 0x00020140); /* bottom of the stack */
    tcp_over_ipv4("label");
    decode(&d, &f);
    check_tcp(0, "label");
    begin(); /* a pseudowire with a control word */
    frame_ethernet(&f, 0x8847);
    frame_u32(&f, 0x00020140);
    frame_u32(&f, 0);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("wire");
    decode(&d, &f);
    check_tcp(0, "wire");
}

static void test_pppoe(void)
{
    begin();
    frame_ethernet(&f, 0x8864);
    frame_bytes(&f, "\x11\0\0\x07\0\x2e\0\x21", 8);
    tcp_over_ipv4("pppo");
    decode(&d, &f);
    check_tcp(0, "pppo");
    f.b[19] = 0x2c; /* the session's length ends the datagram early */
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].payload_len, 2);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IP_SNAPPED);
}

static void test_llc(void)
{
    begin(); /* 802.3: a length, then SNAP */
    frame_ethernet(&f, 8 + 40 + 4);
    frame_bytes(&f, "\xaa\xaa\x03\0\0\0\x08\0", 8);
    tcp_over_ipv4("snap");
    decode(&d, &f);
    check_tcp(0, "snap");
    f.b[13] -= 3;
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].payload_len, 1);
    f.b[14] = 0x42; /* spanning tree */
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].flags, 0);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
}

static void test_ppp(void)
{
    begin();
    frame_bytes(&f, "\xff\x03\0\x21", 4);
    tcp_over_ipv4("ppp");
    frame_end(&f);
    decode_bytes(&d, 9, 1, f.b, f.len);
    check_tcp(0, "ppp");
    CHECK_INT(d.out[0].link, 9);
    begin(); /* no address and control, one byte of protocol */
    frame_u8(&f, 0x57);
    udp_over_ipv6("ppp");
    frame_end(&f);
    decode_bytes(&d, 50, 1, f.b, f.len);
    check_udp6(0, "ppp");
}

static void test_cooked(void)
{
    begin();
    frame_bytes(&f, "\0\0\0\x01\0\x06\0\0\0\0\0\0\0\0", 14);
    frame_u16(&f, 0x0800);
    tcp_over_ipv4("sll");
    frame_end(&f);
    decode_bytes(&d, 113, 1, f.b, f.len);
    check_tcp(0, "sll");
    begin();
    frame_u16(&f, 0x0800);
    frame_fill(&f, 0, 18);
    tcp_over_ipv4("sll2");
    frame_end(&f);
    decode_bytes(&d, 276, 1, f.b, f.len);
    check_tcp(0, "sll2");
}

static void test_null(void)
{
    static const char *const heads[] = {"\x02\0\0\0", "\0\0\0\x02"};
    static const int links[] = {0, 108};
    for (int i = 0; i < 4; i++) {
        begin();
        frame_bytes(&f, heads[i % 2], 4);
        tcp_over_ipv4("null");
        frame_end(&f);
        decode_bytes(&d, links[i / 2], 1, f.b, f.len);
        check_tcp(0, "null");
    }
}

static void test_raw(void)
{
    static const int links[] = {12, 101, 228};
    for (int i = 0; i < 3; i++) {
        begin();
        tcp_over_ipv4("raw");
        frame_end(&f);
        decode_bytes(&d, links[i], 1, f.b, f.len);
        check_tcp(0, "raw");
    }
    begin();
    udp_over_ipv6("raw");
    frame_end(&f);
    decode_bytes(&d, 229, 1, f.b, f.len);
    check_udp6(0, "raw");
    decode_bytes(&d, 101, 1, f.b, f.len);
    check_udp6(0, "raw");
}

static void test_80211(void)
{
    begin();
    frame_bytes(&f, "\0\0\x08\0\0\0\0\0", 8); /* radiotap of 8 bytes */
    frame_u16(&f, 0x8801);                      /* QoS data, to the access point */
    frame_fill(&f, 1, 22);
    frame_u16(&f, 0);
    frame_bytes(&f, "\xaa\xaa\x03\0\0\0\x08\0", 8);
    tcp_over_ipv4("radio");
    frame_end(&f);
    decode_bytes(&d, 127, 1, f.b, f.len);
    check_tcp(0, "radio");
    decode_bytes(&d, 105, 1, f.b + 8, f.len - 8);
    check_tcp(0, "radio");
    f.b[9] |= 0x40; /* encrypted */
    decode_bytes(&d, 127, 1, f.b, f.len);
    CHECK_INT(d.out[0].flags, 0);
    CHECK_INT(d.out[0].anomaly, 0);
}

/* One part of an aggregate: |hlen| bytes of addresses and length, LLC, a packet. */
static void aggregate_part(const char *payload, bool last)
{
    size_t start = f.len;
    frame_fill(&f, 2, 12);
    frame_u16(&f, 0); /* length, below */
    frame_bytes(&f, "\xaa\xaa\x03\0\0\0\x08\0", 8);
    tcp_over_ipv4(payload);
    frame_end(&f);
    size_t len = f.len - start - 14;
    f.b[start + 12] = (uint8_t)(len >> 8);
    f.b[start + 13] = (uint8_t)len;
    if (!last)
        frame_fill(&f, 0, -(14 + len) & 3);
}

static void test_80211_aggregate(void)
{
    begin();
    frame_u16(&f, 0x8801);
    frame_fill(&f, 1, 22);
    frame_u16(&f, 0x8000); /* QoS control: A-MSDU present */
    aggregate_part("one", false);
    size_t second = f.len;
    aggregate_part("second", true);
    CHECK_INT(decode_bytes(&d, 105, 1, f.b, f.len), 2);
    check_tcp(0, "one");
    check_tcp(1, "second");
    CHECK_INT(decode_bytes(&d, 105, 1, f.b, f.len - 1), 1);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_LINK_TRUNCATED);
    f.b[second + 12] = 0xff; /* longer than what is there */
    CHECK_INT(decode_bytes(&d, 105, 1, f.b, f.len), 1);
    check_tcp(0, "one");
}

static void test_wrapped_ethernet(void)
{
    static const struct {
        unsigned type;
        const char *head;
        size_t len;
        bool ethernet;
    } kinds[] = {
        {0x8903, "\x00\x20", 2, true},                          /* FabricPath */
        {0x88e7, "\0\0\0\x01", 4, true},                        /* PBB */
        {0x8926, "\0\0\0\0\x08\0", 6, false},                   /* VN-tag */
        {0x894f, "\x0f\xc2\x02\x03\0\0\0\0", 8, true},          /* NSH, Ethernet inside */
        {0x894f, "\x0f\xc2\x02\x01\0\0\0\0", 8, false},         /* NSH, IPv4 inside */
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        begin();
        frame_ethernet(&f, kinds[i].type);
        frame_bytes(&f, kinds[i].head, kinds[i].len);
        if (kinds[i].ethernet)
            frame_ethernet(&f, 0x0800);
        tcp_over_ipv4("in");
        decode(&d, &f);
        check_tcp(0, "in");
    }
}

static void test_not_ip(void)
{
    begin();
    frame_ethernet(&f, 0x0806);
    frame_fill(&f, 0, 28);
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].flags, 0);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
    CHECK(!mb__packet_has_flow(&d.out[0]));
    CHECK_INT(d.stats.non_ip, 1);
    CHECK_INT(decode_bytes(&d, 1, 1, f.b, 10), 1);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_LINK_TRUNCATED);
    CHECK_INT(decode_bytes(&d, 4711, 1, f.b, f.len), 1);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_LINK_UNKNOWN);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_LINK_UNKNOWN], 1);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_LINK_TRUNCATED], 1);
}

static void test_many_tags(void)
{
    begin();
    frame_ethernet(&f, 0x8100);
    for (int i = 0; i < 100; i++)
        frame_u32(&f, 0x00018100);
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_TUNNEL_DEPTH);
}

/* ---- IP ------------------------------------------------------------------ */

static void test_ipv4_options(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 6, 0);
    f.b[14] = 0x46;
    frame_bytes(&f, "\x94\x04\0\0", 4); /* router alert */
    frame_tcp(&f, 1234, 80, MB_TCP_ACK);
    frame_text(&f, "x");
    decode(&d, &f);
    check_tcp(0, "x");
    CHECK_INT(d.out[0].anomalies, 0);
    CHECK_INT(d.out[0].l4_off, 24);
    f.b[35] = 40; /* runs past the header */
    mb__put_be16(f.b + 24, frame_ipv4_sum(f.b + 14));
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV4_OPTIONS);
    CHECK(!mb__packet_has_flow(&d.out[0]));
}

static void test_ipv4_authentication(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 51, 0);
    frame_bytes(&f, "\x06\x02\0\0\0\0\0\1\0\0\0\1\0\0\0\0", 16);
    frame_tcp(&f, 1234, 80, MB_TCP_ACK);
    frame_text(&f, "signed");
    decode(&d, &f);
    check_tcp(0, "signed");
    f.b[35] = 200;
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_L4_TRUNCATED);
    CHECK(!mb__packet_has_flow(&d.out[0]));
}

/* Sets byte |at| of a good frame to |value|; the anomaly that gives. */
static int broken_at(size_t at, uint8_t value)
{
    uint8_t old = f.b[at];
    f.b[at] = value;
    mb__put_be16(f.b + 24, frame_ipv4_sum(f.b + 14));
    decode_bytes(&d, 1, 1, f.b, f.len);
    f.b[at] = old;
    return d.out[0].anomaly;
}

static void test_ipv4_broken(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("x");
    frame_end(&f);
    CHECK_INT(broken_at(14, 0x55), MB_ANOMALY_IPV4_VERSION);
    CHECK_INT(d.out[0].flags, 0);
    CHECK_INT(broken_at(14, 0x44), MB_ANOMALY_IPV4_HLEN);
    CHECK_INT(d.out[0].flags, 0);
    CHECK_INT(broken_at(17, 19), MB_ANOMALY_IPV4_LEN);
    CHECK_INT(d.out[0].flags, 0);
    CHECK_INT(broken_at(17, 30), MB_ANOMALY_L4_TRUNCATED);
    CHECK(!mb__packet_has_flow(&d.out[0]));
    CHECK_INT(broken_at(46, 0x40), MB_ANOMALY_TCP_HLEN);
    CHECK(!mb__packet_has_flow(&d.out[0]));
    CHECK_INT(broken_at(46, 0x60), MB_ANOMALY_TCP_HLEN);
    CHECK_INT(broken_at(47, MB_TCP_SYN | MB_TCP_FIN), MB_ANOMALY_TCP_FLAGS);
    CHECK(mb__packet_has_flow(&d.out[0]));
    CHECK_INT(decode_bytes(&d, 1, 1, f.b, 20), 1);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV4_TRUNCATED);
    f.b[24] ^= 1;
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IP_SUM);
    CHECK(d.out[0].flags & MB_PKT_BAD_IP_SUM);
    check_tcp(0, "x");
}

/* The mask of odd flags is what its comment says. */
static void test_tcp_flags(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("x");
    frame_end(&f);
    for (unsigned flags = 0; flags < 256; flags++) {
        unsigned six = flags & 63;
        bool syn_and = (six & MB_TCP_SYN) && (six & (MB_TCP_FIN | MB_TCP_RST));
        bool odd = six == 0 || syn_and || six == (MB_TCP_FIN | MB_TCP_PSH | MB_TCP_URG);
        CHECK_INT(broken_at(47, (uint8_t)flags), odd ? MB_ANOMALY_TCP_FLAGS : MB_ANOMALY_NONE);
        CHECK_INT(d.out[0].tcp_flags, flags);
    }
}

static void test_offloaded(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("segments to be cut");
    frame_end(&f);
    broken_at(17, 0);
    check_tcp(0, "segments to be cut");
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV4_LEN);
    CHECK_INT(d.out[0].ip_len, 58);
    begin();
    frame_ethernet(&f, 0x86dd);
    udp_over_ipv6("cut");
    frame_end(&f);
    f.b[19] = 0;
    decode_bytes(&d, 1, 1, f.b, f.len);
    check_udp6(0, "cut");
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV6_LEN);
    begin(); /* just a header, in a frame that was padded */
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 99);
    frame_end(&f);
    frame_fill(&f, 0, 6);
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].ip_len, 40);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
}

static void test_snapped(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 6, 0);
    frame_tcp_options(&f, 1234, 80, MB_TCP_ACK, "\1\1\x08\x0a\0\0\0\5\0\0\0\6", 12);
    frame_fill(&f, 'x', 100);
    frame_end(&f);
    struct mb_frame frame = frame_of(&f);
    frame.caplen = 14 + 20 + 32 + 10;
    decode_frame(&d, 1, &frame);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4 | MB_PKT_TRUNCATED);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IP_SNAPPED);
    CHECK_INT(d.out[0].payload_len, 10);
    CHECK_INT(d.out[0].ip_len, 152);
    CHECK_INT(d.out[0].payload_off, 52);
    frame.caplen = 14 + 20 + 20; /* the options are cut off: the payload's place is known */
    decode_frame(&d, 1, &frame);
    CHECK(mb__packet_has_flow(&d.out[0]));
    CHECK_INT(d.out[0].payload_off, 52);
    CHECK_INT(d.out[0].payload_len, 0);
    frame.caplen = 14 + 20 + 19;
    decode_frame(&d, 1, &frame);
    CHECK(!mb__packet_has_flow(&d.out[0]));
}

static void test_ipv6_extensions(void)
{
    begin();
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 0);
    frame_bytes(&f, "\x2b\0\x05\x02\0\0\x01\0", 8);       /* hop-by-hop, router alert */
    frame_bytes(&f, "\x3c\x02\x04\0\0\0\0\0", 8);         /* routing, 24 bytes */
    frame_fill(&f, 0, 16);
    frame_bytes(&f, "\x33\0\x01\x04\0\0\0\0", 8);         /* destination options */
    frame_bytes(&f, "\x11\x01\0\0\0\0\0\1\0\0\0\1", 12);  /* authentication */
    frame_udp(&f, 1000, 53);
    frame_text(&f, "ext");
    decode(&d, &f);
    check_udp6(0, "ext");
    CHECK_INT(d.out[0].anomalies, 0);
    CHECK_INT(d.out[0].l4_off, 40 + 8 + 24 + 8 + 12);
}

static void test_ipv6_broken(void)
{
    begin(); /* an unknown option */
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 60);
    frame_bytes(&f, "\x11\0\x5e\x04\0\0\0\0", 8);
    frame_udp(&f, 1000, 53);
    decode(&d, &f);
    check_udp6(0, "");
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV6_OPTION);
    begin(); /* a header that says it is longer than the datagram */
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 60);
    frame_bytes(&f, "\x11\x09\x01\x04\0\0\0\0", 8);
    decode(&d, &f);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV6_EXT_TRUNCATED);
    CHECK(!mb__packet_has_flow(&d.out[0]));
    begin(); /* a chain without end */
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 60);
    for (int i = 0; i < 200; i++)
        frame_bytes(&f, "\x3c\0\x01\x04\0\0\0\0", 8);
    decode(&d, &f);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IPV6_EXT);
    CHECK(!mb__packet_has_flow(&d.out[0]));
    begin(); /* fragment headers of whole datagrams */
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 44);
    frame_bytes(&f, "\x2c\0\0\0\0\0\0\1", 8);
    frame_bytes(&f, "\x11\0\0\0\0\0\0\1", 8);
    frame_udp(&f, 1000, 53);
    decode(&d, &f);
    check_udp6(0, "");
    CHECK_INT(d.out[0].anomalies,
              UINT64_C(1) << MB_ANOMALY_FRAG_USELESS | UINT64_C(1) << MB_ANOMALY_IPV6_EXT_DUPLICATE);
    CHECK_INT(d.stats.fragments, 0);
}

/* ---- transport ----------------------------------------------------------- */

static void test_udp(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 17, 0);
    frame_udp(&f, 5000, 6000);
    frame_fill(&f, 'u', 40);
    decode(&d, &f);
    CHECK_INT(d.out[0].payload_len, 40);
    CHECK_INT(d.out[0].sport, 5000);
    CHECK_INT(d.out[0].seq, 0);
    CHECK_INT(d.out[0].anomalies, 0);
    mb__put_be16(f.b + 38, 28); /* what follows the datagram is not its payload */
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].payload_len, 20);
    mb__put_be16(f.b + 38, 100);
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_UDP_LEN);
    CHECK_INT(d.out[0].payload_len, 40);
    mb__put_be16(f.b + 38, 7);
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_UDP_LEN);
    CHECK(!mb__packet_has_flow(&d.out[0]));
}

static void test_icmp(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 1, 0);
    frame_bytes(&f, "\x08\0\0\0\x12\x34\0\1ping", 12);
    decode(&d, &f);
    CHECK_INT(d.out[0].icmp_type, 8);
    CHECK_INT(d.out[0].sport, 0x1234);
    CHECK_INT(d.out[0].dport, 0x1234);
    CHECK_INT(d.out[0].payload_len, 4);
    CHECK_INT(d.stats.packets_icmp, 1);
    f.b[34] = 3;
    f.b[35] = 1;
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].sport, 3);
    CHECK_INT(d.out[0].dport, 1);
    CHECK_INT(d.out[0].icmp_code, 1);
}

static void test_other_protocols(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 132, 0);
    frame_bytes(&f, "\x04\xd2\0\x50\0\0\0\0\0\0\0\0data", 16);
    decode(&d, &f);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4);
    CHECK_INT(d.out[0].sport, 1234);
    CHECK_INT(d.out[0].dport, 80);
    CHECK_INT(d.out[0].payload_len, 4);
    begin();
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 89, 0); /* OSPF */
    frame_text(&f, "any");
    decode(&d, &f);
    CHECK_INT(d.out[0].flags, MB_PKT_IP);
    CHECK_INT(d.out[0].payload_len, 3);
    CHECK(mb__packet_has_flow(&d.out[0]));
    CHECK_INT(d.stats.packets_other, 1);
}

/* The hash does not know a direction; VLAN and tunnel count only if told. */
static void test_hash(void)
{
    begin();
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("");
    decode(&d, &f);
    uint32_t there = d.out[0].hash;
    uint8_t swap[4];
    memcpy(swap, f.b + 26, 4);
    memcpy(f.b + 26, f.b + 30, 4);
    memcpy(f.b + 30, swap, 4);
    memcpy(swap, f.b + 34, 2);
    memcpy(f.b + 34, f.b + 36, 2);
    memcpy(f.b + 36, swap, 2);
    decode_bytes(&d, 1, 1, f.b, f.len);
    CHECK_INT(d.out[0].sport, 80);
    CHECK_INT(d.out[0].hash, there);
    for (int key_vlan = 0; key_vlan < 2; key_vlan++) {
        begin();
        d.config.key_vlan = (uint8_t)key_vlan;
        frame_ethernet(&f, 0x8100);
        frame_u32(&f, 0x00070800);
        tcp_over_ipv4("");
        decode(&d, &f);
        CHECK((d.out[0].hash == there) == !key_vlan);
    }
}

/* ---- tunnels ------------------------------------------------------------- */

/* Checks that the frame gives the one packet of a tunnel that replaces it. */
static void check_replaced(const char *text, uint32_t id)
{
    CHECK_INT(decode(&d, &f), 1);
    check_tcp(0, text);
    CHECK_INT(d.out[0].flags & (MB_PKT_TUNNELLED | MB_PKT_HAS_INNER), MB_PKT_TUNNELLED);
    CHECK_INT(d.out[0].tunnels, 1);
    CHECK_INT(d.out[0].tunnel_id, id);
    CHECK_INT(d.out[0].anomalies, 0);
    CHECK_INT(d.stats.packets_ip, 1);
}

/* Checks that the frame gives a UDP datagram and the packet inside it. */
static void check_beside(const char *text, uint32_t id)
{
    CHECK_INT(decode(&d, &f), 2);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4 | MB_PKT_HAS_INNER);
    CHECK_INT(d.out[0].ip_proto, 17);
    CHECK_INT(d.out[0].tunnels, 0);
    check_tcp(1, text);
    CHECK_INT(d.out[1].flags & (MB_PKT_TUNNELLED | MB_PKT_HAS_INNER), MB_PKT_TUNNELLED);
    CHECK_INT(d.out[1].tunnel_id, id);
    CHECK_INT(d.out[1].number, d.out[0].number);
    CHECK_INT(d.stats.packets_ip, 2);
}

static void begin_ip(unsigned proto)
{
    begin();
    frame_ethernet(&f, 0x8100);
    frame_u32(&f, 0x00050800);
    frame_ipv4(&f, proto, 0);
}

static void begin_udp(unsigned port)
{
    begin_ip(17);
    frame_udp(&f, 40000, port);
}

static void test_ip_in_ip(void)
{
    begin_ip(4);
    tcp_over_ipv4("ipip");
    check_replaced("ipip", 0);
    CHECK_INT(d.out[0].vlan[0], 5);
    begin_ip(41);
    udp_over_ipv6("6in4");
    CHECK_INT(decode(&d, &f), 1);
    check_udp6(0, "6in4");
    CHECK_INT(d.out[0].tunnels, 1);
}

static void test_gre(void)
{
    begin_ip(47);
    frame_u32(&f, 0x00000800);
    tcp_over_ipv4("gre");
    check_replaced("gre", 0);
    begin_ip(47); /* checksum, key and sequence number */
    frame_u32(&f, 0xb0000800);
    frame_u32(&f, 0);
    frame_u32(&f, 77);
    frame_u32(&f, 1);
    tcp_over_ipv4("gre");
    check_replaced("gre", 77);
    begin_ip(47); /* Ethernet inside, with a VLAN of its own */
    frame_u32(&f, 0x00006558);
    frame_ethernet(&f, 0x8100);
    frame_u32(&f, 0x00090800);
    tcp_over_ipv4("gre");
    check_replaced("gre", 0);
    CHECK_INT(d.out[0].vlans, 1);
    CHECK_INT(d.out[0].vlan[0], 9);
    begin_ip(47); /* PPTP: key is length and call id, sequence number and acknowledgement */
    frame_u32(&f, 0x3081880b);
    frame_u32(&f, 0x00300042);
    frame_u32(&f, 1);
    frame_u32(&f, 1);
    frame_bytes(&f, "\xff\x03\0\x21", 4);
    tcp_over_ipv4("pptp");
    check_replaced("pptp", 0x42);
}

static void test_gre_broken(void)
{
    begin_ip(47); /* no such version */
    frame_u32(&f, 0x00050800);
    tcp_over_ipv4("gre");
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].ip_proto, 47);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_TUNNEL_BAD);
    begin_ip(47); /* an inside that is no IP after all */
    frame_u32(&f, 0x00000800);
    frame_text(&f, "not an IPv4 header, however long");
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].ip_proto, 47);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_TUNNEL_BAD);
    CHECK_INT(d.out[0].tunnels, 0);
    begin_ip(47); /* ARP inside */
    frame_u32(&f, 0x00006558);
    frame_ethernet(&f, 0x0806);
    frame_fill(&f, 0, 28);
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].ip_proto, 47);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
}

static void test_erspan(void)
{
    begin_ip(47);
    frame_u32(&f, 0x000088be);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("one");
    check_replaced("one", 0);
    begin_ip(47);
    frame_u32(&f, 0x100088be);
    frame_u32(&f, 7);
    frame_u32(&f, 0x10640123);
    frame_u32(&f, 0);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("two");
    check_replaced("two", 0x123);
    for (uint32_t subheader = 0; subheader < 2; subheader++) {
        begin_ip(47);
        frame_u32(&f, 0x100022eb);
        frame_u32(&f, 7);
        frame_u32(&f, 0x20000011);
        frame_u32(&f, 0);
        frame_u32(&f, subheader);
        frame_fill(&f, 0, 8 * subheader);
        frame_ethernet(&f, 0x0800);
        tcp_over_ipv4("three");
        check_replaced("three", 0x11);
    }
}

static void test_vxlan(void)
{
    begin_udp(4789);
    frame_u32(&f, 0x08000000);
    frame_u32(&f, 0x00123400);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("vxlan");
    check_beside("vxlan", 0x1234);
    CHECK_INT(d.out[1].vlans, 0);
    begin_udp(4789); /* the same port, another protocol */
    frame_text(&f, "this is not VXLAN at all, sorry");
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
    begin_udp(4789); /* VXLAN with ARP inside is a UDP datagram */
    frame_u32(&f, 0x08000000);
    frame_u32(&f, 0x00123400);
    frame_ethernet(&f, 0x0806);
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].flags, MB_PKT_IP | MB_PKT_L4);
}

static void test_geneve(void)
{
    begin_udp(6081);
    frame_u32(&f, 0x02006558); /* two words of options */
    frame_u32(&f, 0x00abcd00);
    frame_fill(&f, 0xff, 8);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("geneve");
    check_beside("geneve", 0xabcd);
    begin_udp(6081);
    frame_u32(&f, 0x00000800);
    frame_u32(&f, 0x00000100);
    tcp_over_ipv4("no ethernet");
    check_beside("no ethernet", 1);
}

static void test_gtpu(void)
{
    begin_udp(2152);
    frame_u32(&f, 0x30ff0000);
    frame_u32(&f, 0xdeadbeef);
    tcp_over_ipv4("gtp");
    check_beside("gtp", 0xdeadbeef);
    begin_udp(2152); /* an extension header of one word */
    frame_u32(&f, 0x34ff0000);
    frame_u32(&f, 1);
    frame_u32(&f, 0x00000085);
    frame_bytes(&f, "\x01\x10\x09\x00", 4);
    tcp_over_ipv4("gtp");
    check_beside("gtp", 1);
    begin_udp(2152); /* an echo request carries nothing */
    frame_u32(&f, 0x32010004);
    frame_u32(&f, 0);
    frame_u32(&f, 0);
    CHECK_INT(decode(&d, &f), 1);
}

static void test_teredo(void)
{
    begin_udp(3544);
    frame_bytes(&f, "\0\x01\0\0\0\0\0\0\0\0\0\0\0", 13); /* authentication */
    frame_bytes(&f, "\0\0\x12\x34\1\2\3\4", 8);             /* origin */
    udp_over_ipv6("teredo");
    CHECK_INT(decode(&d, &f), 2);
    check_udp6(1, "teredo");
    frame_u8(&f, 0); /* a byte too many: not Teredo */
    mb__put_be16(f.b + 20, (uint16_t)(mb__be16(f.b + 20) + 1));
    mb__put_be16(f.b + 42, (uint16_t)(mb__be16(f.b + 42) + 1));
    mb__put_be16(f.b + 28, frame_ipv4_sum(f.b + 18));
    CHECK_INT(decode_bytes(&d, 1, 1, f.b, f.len), 1);
    CHECK_INT(d.out[0].anomalies, 0);
}

/* What the capture cut off a tunnel's inside is known to be missing. */
static void test_snapped_tunnel(void)
{
    begin_udp(3544);
    udp_over_ipv6("teredo");
    frame_end(&f);
    size_t whole = f.len;
    frame_fill(&f, 0, 4); /* bytes that the outer datagram has and UDP has not */
    mb__put_be16(f.b + 20, (uint16_t)(mb__be16(f.b + 20) + 4));
    mb__put_be16(f.b + 28, frame_ipv4_sum(f.b + 18));
    for (size_t caplen = whole - 3; caplen <= f.len; caplen++) {
        struct mb_frame frame = frame_of(&f);
        frame.caplen = (uint32_t)caplen;
        CHECK_INT(decode_frame(&d, 1, &frame), 2);
        CHECK_INT(d.out[1].ip_len, 40 + 8 + 6);
        CHECK_INT(d.out[1].payload_len, caplen < whole ? caplen - (whole - 6) : 6);
        CHECK_INT((d.out[1].flags & MB_PKT_TRUNCATED) != 0, caplen < whole);
    }
}

static void test_gre_in_udp(void)
{
    begin_udp(4754);
    frame_u32(&f, 0x20000800);
    frame_u32(&f, 99);
    tcp_over_ipv4("udp");
    check_beside("udp", 99);
    begin_udp(4754);
    frame_text(&f, "some other protocol");
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].anomalies, 0);
}

static void test_ayiya(void)
{
    begin_udp(5072);
    frame_bytes(&f, "\x44\x52\x11\x29\0\0\0\0", 8);
    frame_fill(&f, 0xaa, 16 + 20);
    udp_over_ipv6("tic");
    CHECK_INT(decode(&d, &f), 2);
    check_udp6(1, "tic");
    f.b[18 + 28 + 2] = 0x10; /* no data, just a sign of life */
    CHECK_INT(decode_bytes(&d, 1, 1, f.b, f.len), 1);
}

static void test_tunnel_depth(void)
{
    begin_ip(4);
    for (int i = 0; i < 10; i++)
        frame_ipv4(&f, 4, 0);
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].tunnels, 4);
    CHECK_INT(d.out[0].ip_proto, 4);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_TUNNEL_DEPTH);
}

static void test_decap_off(void)
{
    begin();
    d.config.decap = MB_TUNNEL_DEFAULT & ~(MB_TUNNEL_IPIP | MB_TUNNEL_VXLAN);
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 4, 0);
    tcp_over_ipv4("closed");
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].ip_proto, 4);
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_NONE);
    memset(&f, 0, sizeof f);
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 17, 0);
    frame_udp(&f, 1, 4789);
    frame_u32(&f, 0x08000000);
    frame_u32(&f, 0x00123400);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("closed");
    CHECK_INT(decode(&d, &f), 1);
    CHECK_INT(d.out[0].ip_proto, 17);
}

/* What was odd about an outer packet is told of the one that replaces it. */
static void test_outer_anomaly(void)
{
    begin_ip(4);
    tcp_over_ipv4("odd");
    frame_end(&f);
    f.b[28] ^= 1;
    CHECK_INT(decode_bytes(&d, 1, 1, f.b, f.len), 1);
    check_tcp(0, "odd");
    CHECK_INT(d.out[0].anomaly, MB_ANOMALY_IP_SUM);
    CHECK(d.out[0].flags & MB_PKT_BAD_IP_SUM);
    CHECK_INT(d.stats.anomalies[MB_ANOMALY_IP_SUM], 1);
    begin_udp(4789);
    frame_u32(&f, 0x08000000);
    frame_u32(&f, 0x00123400);
    frame_ethernet(&f, 0x0800);
    tcp_over_ipv4("odd");
    frame_end(&f);
    f.b[28] ^= 1;
    CHECK_INT(decode_bytes(&d, 1, 1, f.b, f.len), 2);
    CHECK(d.out[1].flags & MB_PKT_BAD_IP_SUM);
    CHECK_INT(d.out[1].anomalies, 0); /* it is told of once */
}

static void test_anomaly_names(void)
{
    for (int i = 0; i < MB_ANOMALY_COUNT; i++)
        CHECK(strcmp(mb_anomaly_name(i), "unknown") != 0);
    CHECK_STR(mb_anomaly_name(MB_ANOMALY_TCP_PAWS), "tcp_paws");
    CHECK_STR(mb_anomaly_name(-1), "unknown");
    CHECK_STR(mb_anomaly_name(MB_ANOMALY_COUNT), "unknown");
}

int main(void)
{
    RUN(test_ethernet);
    RUN(test_ethernet_padding);
    RUN(test_vlan);
    RUN(test_mpls);
    RUN(test_pppoe);
    RUN(test_llc);
    RUN(test_ppp);
    RUN(test_cooked);
    RUN(test_null);
    RUN(test_raw);
    RUN(test_80211);
    RUN(test_80211_aggregate);
    RUN(test_wrapped_ethernet);
    RUN(test_not_ip);
    RUN(test_many_tags);
    RUN(test_ipv4_options);
    RUN(test_ipv4_authentication);
    RUN(test_ipv4_broken);
    RUN(test_tcp_flags);
    RUN(test_offloaded);
    RUN(test_snapped);
    RUN(test_ipv6_extensions);
    RUN(test_ipv6_broken);
    RUN(test_udp);
    RUN(test_icmp);
    RUN(test_other_protocols);
    RUN(test_hash);
    RUN(test_ip_in_ip);
    RUN(test_gre);
    RUN(test_gre_broken);
    RUN(test_erspan);
    RUN(test_vxlan);
    RUN(test_geneve);
    RUN(test_gtpu);
    RUN(test_teredo);
    RUN(test_snapped_tunnel);
    RUN(test_gre_in_udp);
    RUN(test_ayiya);
    RUN(test_tunnel_depth);
    RUN(test_decap_off);
    RUN(test_outer_anomaly);
    RUN(test_anomaly_names);
    decoding_stop(&d);
    return test_done();
}
