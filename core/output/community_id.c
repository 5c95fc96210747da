/* SPDX-License-Identifier: BSD-3-Clause */
/* community_id -- names of a flow that other tools, or another run, give it too
 *
 * Community ID v1 (the Community ID Flow Hashing specification): "1:" and the
 * SHA-1 in base64 of
 *
 *   | seed 2 | lower address 4/16 | higher 4/16 | protocol 1 | 0 | port 2 | port 2 |
 *
 * all big-endian, the lower end (address, then port) first. ICMP takes message
 * types for ports: the type and that of its answer; a type without an answer
 * and its code, and then the direction is kept. Protocols without ports end
 * after the zero.
 */
#include "base/digest.h"
#include "output/output.h"

#define ICMP 1
#define ICMPV6 58

static const uint8_t answers_v4[][2] = {
    {8, 0}, {10, 9}, {13, 14}, {15, 16}, {17, 18}, /* echo, router, timestamp, information, mask */
};
static const uint8_t answers_v6[][2] = {
    {128, 129}, {130, 131}, {133, 134}, /* echo, listeners, routers */
    {135, 136}, {139, 140}, {144, 145}, /* neighbours, node information, home agents */
};

int mb__icmp_counterpart(bool v6, int type)
{
    const uint8_t(*pairs)[2] = v6 ? answers_v6 : answers_v4;
    size_t count = v6 ? sizeof answers_v6 / 2 : sizeof answers_v4 / 2;
    for (size_t n = 0; n < count; n++) {
        if (pairs[n][0] == type)
            return pairs[n][1];
        if (pairs[n][1] == type)
            return pairs[n][0];
    }
    return -1;
}

/* ---- Community ID --------------------------------------------------------- */

/* One end as the specification sees it. */
struct end {
    const uint8_t *addr; /* network byte order */
    size_t addr_len;
    uint16_t port;
};

static struct end end_of(const struct mb_flow *flow, int side)
{
    const struct mb_endpoint *e = &flow->end[side];
    size_t skip = flow->ip_version == 6 ? 0 : 12; /* IPv4 addresses are the last four bytes */
    return (struct end){e->addr.byte + skip, 16 - skip, e->port};
}

/* Puts message types in the place of ports. False: the direction is kept. */
static bool icmp_ports(const struct mb_flow *flow, struct end *client, struct end *server)
{
    uint32_t first = flow->end[MB_CLIENT].isn; /* type << 8 | code */
    int answer = mb__icmp_counterpart(flow->ip_proto == ICMPV6, (int)(first >> 8));
    client->port = (uint16_t)(first >> 8);
    server->port = answer >= 0 ? (uint16_t)answer : (uint16_t)(first & 0xff);
    return answer >= 0;
}

static int compare_ends(const struct end *a, const struct end *b)
{
    int d = memcmp(a->addr, b->addr, a->addr_len);
    return d != 0 ? d : a->port - b->port;
}

static uint8_t *put_16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

/* Base64 (RFC 4648) of |len| bytes, padded; the end of the text. */
static char *put_base64(char *out, const uint8_t *p, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; len >= 3; len -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = digits[v >> 6 & 63];
        *out++ = digits[v & 63];
    }
    if (len == 0)
        return out;
    uint32_t v = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);
    *out++ = digits[v >> 18];
    *out++ = digits[v >> 12 & 63];
    *out++ = len == 2 ? digits[v >> 6 & 63] : '=';
    *out++ = '=';
    return out;
}

size_t mb_flow_community_id(const struct mb_flow *flow, char *text)
{
    struct end first = end_of(flow, MB_CLIENT), second = end_of(flow, MB_SERVER);
    bool icmp = flow->ip_proto == ICMP || flow->ip_proto == ICMPV6;
    bool ports = icmp || flow->ip_proto == 6 || flow->ip_proto == 17 || flow->ip_proto == 132;
    bool both_ways = !icmp || icmp_ports(flow, &first, &second);
    if (both_ways && compare_ends(&first, &second) > 0) {
        struct end swap = first;
        first = second;
        second = swap;
    }

    uint8_t bytes[2 + 16 + 16 + 2 + 4], digest[MB__SHA1], *p = put_16(bytes, 0);
    memcpy(p, first.addr, first.addr_len);
    p += first.addr_len;
    memcpy(p, second.addr, second.addr_len);
    p += second.addr_len;
    p = put_16(p, (uint16_t)(flow->ip_proto << 8));
    if (ports)
        p = put_16(put_16(p, first.port), second.port);
    mb__digest(MB__SHA1, bytes, (size_t)(p - bytes), digest);

    memcpy(text, "1:", 2);
    char *end = put_base64(text + 2, digest, sizeof digest);
    *end = '\0';
    return (size_t)(end - text);
}

/* ---- numbers -------------------------------------------------------------- */

/* Eight bytes as a number, the same on every machine. */
static uint64_t get_64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static uint64_t mix_end(uint64_t h, const struct mb_endpoint *e)
{
    h = mb__fold(h ^ get_64(e->addr.byte), 0x9e3779b97f4a7c15u);
    return mb__fold(h ^ get_64(e->addr.byte + 8), 0xc2b2ae3d27d4eb4fu ^ e->port);
}

uint64_t mb__flow_stable_hash(const struct mb_flow *flow)
{
    uint64_t h = mb__fold((uint64_t)flow->first_ts ^ 0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu);
    h = mix_end(mix_end(h, &flow->end[MB_CLIENT]), &flow->end[MB_SERVER]);
    uint64_t rest = (uint64_t)flow->tunnel_id << 32 | (uint64_t)flow->vlan << 8 | flow->ip_proto;
    return mb__fold(h ^ rest, 0x8ebc6af09c88c6e3u) ^ h >> 32;
}

uint64_t mb_flow_stable_id(const struct mb_flow *flow)
{
    uint64_t id = mb__flow_stable_hash(flow) & MB__FLOW_ID_MASK;
    return id != 0 ? id : 1;
}
