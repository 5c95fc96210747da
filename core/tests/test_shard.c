/* SPDX-License-Identifier: BSD-3-Clause */
/* test_shard -- whose a packet is: the same for both directions, by whatever way it is told */
#include "packet/shard.h"

#include "decoding.h"
#include "test.h"

#define TUPLES 1000000

static uint64_t state = 88172645463325252u;

static uint64_t random_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static struct mb__shards shards_of(uint32_t count)
{
    static struct mb__hash_key key;
    static struct mb_config config;
    mb__hash_key_init(&key, random_number());
    mb_config_init(&config);
    return (struct mb__shards){.count = count, .config = &config, .key = &key};
}

static void random_addr(struct mb_addr *a, bool v6)
{
    uint64_t halves[2] = {random_number(), random_number()};
    if (v6)
        memcpy(a->byte, halves, sizeof halves);
    else
        mb__addr_v4(a, (const uint8_t *)halves);
}

static void fill(struct mb_packet *p, uint64_t n)
{
    bool v6 = n % 2;
    memset(p, 0, sizeof *p);
    p->flags = MB_PKT_IP | MB_PKT_L4 | (v6 ? MB_PKT_IPV6 : 0);
    p->ip_proto = n % 4 < 2 ? 6 : 17;
    random_addr(&p->src, v6);
    random_addr(&p->dst, v6);
    p->sport = (uint16_t)random_number();
    p->dport = (uint16_t)random_number();
}

static struct mb_packet answer_to(const struct mb_packet *p)
{
    struct mb_packet back = *p;
    back.src = p->dst;
    back.dst = p->src;
    back.sport = p->dport;
    back.dport = p->sport;
    return back;
}

static void test_both_directions(void)
{
    struct mb__shards s = shards_of(7);
    uint32_t apart = 0, had[7] = {0};
    for (uint64_t n = 0; n < TUPLES; n++) {
        struct mb_packet p;
        fill(&p, n);
        struct mb_packet back = answer_to(&p);
        uint32_t shard = mb__shard_of_packet(&s, &p);
        apart += shard != mb__shard_of_packet(&s, &back);
        had[shard < 7 ? shard : 0]++;
    }
    CHECK_INT(apart, 0);
    for (int i = 0; i < 7; i++) /* a seventh each, within five standard deviations */
        CHECK(had[i] > TUPLES / 7 - 1750 && had[i] < TUPLES / 7 + 1750);
}

/* Hosts and ports that count up, as they do, are spread too. */
static void test_neighbours(void)
{
    struct mb__shards s = shards_of(4);
    uint32_t had[4] = {0};
    for (uint32_t n = 0; n < 100000; n++) {
        uint16_t port = (uint16_t)(1024 + n % 1000);
        uint8_t ends[12] = {10, 0, (uint8_t)(n / 1000), 1, 10, 1, 0, 1, (uint8_t)(port >> 8), (uint8_t)port, 0, 80};
        had[mb__shard_of_hash(&s, mb__shard_hash_v4(s.key, ends, 6))]++;
    }
    for (int i = 0; i < 4; i++)
        CHECK(had[i] > 23000 && had[i] < 27000);
}

/* A packet without ports is judged by its addresses, one without IP is the first's. */
static void test_without_ports(void)
{
    struct mb__shards s = shards_of(5);
    struct mb_packet p, other;
    fill(&p, 0);
    p.ip_proto = 1;
    other = answer_to(&p);
    other.sport = 77; /* the identifier of another echo */
    CHECK_INT(mb__shard_of_packet(&s, &other), mb__shard_of_packet(&s, &p));
    p.flags = 0;
    CHECK_INT(mb__shard_of_packet(&s, &p), 0);
}

/* ---- frames --------------------------------------------------------------- */

static uint32_t shard_of(const struct mb__shards *s, const struct frame *f, int link)
{
    struct mb_frame frame = {.data = f->b, .caplen = (uint32_t)f->len, .wirelen = (uint32_t)f->len};
    uint32_t hash;
    return mb__shard_of_frame(s, link, &frame, &hash);
}

static void begin(struct frame *f, bool vlan, bool v6, unsigned proto)
{
    memset(f, 0, sizeof *f);
    frame_ethernet(f, vlan ? 0x8100 : v6 ? 0x86dd : 0x0800);
    if (vlan) {
        frame_u16(f, 100);
        frame_u16(f, v6 ? 0x86dd : 0x0800);
    }
    size_t ip = f->len;
    if (v6)
        frame_ipv6(f, proto);
    else
        frame_ipv4(f, proto, 0);
    for (size_t i = v6 ? 8 : 12; i < (v6 ? 40 : 20); i++)
        f->b[ip + i] = (uint8_t)random_number();
}

/* What the headers show and what the decoder finds lead to the same worker. */
static void test_frames_as_decoded(void)
{
    struct mb__shards s = shards_of(1000);
    struct decoding d;
    decoding_init(&d);
    decoding_start(&d);
    for (unsigned n = 0; n < 4000; n++) {
        struct frame f;
        bool tcp = n & 4;
        begin(&f, n & 1, n & 2, tcp ? 6 : 17);
        unsigned sport = random_number() & 0x3ff, dport = random_number() & 0x3ff;
        if (tcp)
            frame_tcp(&f, sport, dport, n & 8 ? MB_TCP_SYN : MB_TCP_ACK);
        else
            frame_udp(&f, sport, dport);
        frame_fill(&f, 'x', 40);
        CHECK_INT(decode(&d, &f), 1);
        CHECK(d.out[0].flags & MB_PKT_L4);
        CHECK_INT(shard_of(&s, &f, 1), mb__shard_of_packet(&s, &d.out[0]));
    }
    decoding_stop(&d);
}

/* Whatever may hold more than one flow, or none, is for all to decode. */
static void test_frames_for_all(void)
{
    struct mb__shards s = shards_of(3);
    struct frame f;
    begin(&f, false, false, 17);
    frame_udp(&f, 1000, 4789); /* VXLAN */
    frame_fill(&f, 0, 60);
    frame_end(&f);
    CHECK(shard_of(&s, &f, 1) == MB__SHARD_ALL);
    begin(&f, false, false, 6);
    frame_tcp(&f, 1, 2, MB_TCP_ACK);
    frame_fill(&f, 0, 60);
    frame_end(&f);
    CHECK(shard_of(&s, &f, 1) != MB__SHARD_ALL);
    CHECK(shard_of(&s, &f, 113) == MB__SHARD_ALL); /* another link type */
    f.b[14] = 0x46;                                /* options */
    CHECK(shard_of(&s, &f, 1) == MB__SHARD_ALL);
    f.b[14] = 0x45;
    f.b[20] = 0x20; /* more fragments */
    CHECK(shard_of(&s, &f, 1) == MB__SHARD_ALL);
    f.b[20] = 0;
    f.b[23] = 47; /* GRE */
    CHECK(shard_of(&s, &f, 1) == MB__SHARD_ALL);
    f.b[23] = 6;
    f.len = 40; /* cut */
    CHECK(shard_of(&s, &f, 1) == MB__SHARD_ALL);
    memset(&f, 0, sizeof f);
    frame_ethernet(&f, 0x0806); /* ARP */
    frame_fill(&f, 0, 60);
    CHECK(shard_of(&s, &f, 1) == MB__SHARD_ALL);
}

int main(void)
{
    RUN(test_both_directions);
    RUN(test_neighbours);
    RUN(test_without_ports);
    RUN(test_frames_as_decoded);
    RUN(test_frames_for_all);
    return test_done();
}
