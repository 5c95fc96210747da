/* SPDX-License-Identifier: BSD-3-Clause */
/* checksum -- looks at the checksums of a packet (RFC 1071, RFC 9260 appendix A) */

#include "packet/fields.h"

/* Adds the 16-bit words of |len| bytes, as the machine reads them, to |sum|:
 * the ones' complement sum does not depend on byte order (RFC 1071 2). */
static uint64_t add_bytes(uint64_t sum, const uint8_t *b, size_t len)
{
    uint32_t word = 0;
    for (; len >= 4; b += 4, len -= 4) {
        memcpy(&word, b, 4);
        sum += word;
    }
    word = 0;
    memcpy(&word, b, len); /* the last bytes, zeros after them */
    return sum + word;
}

/* Folds a sum to 16 bits. */
static uint16_t fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Sum over the pseudo header (RFC 9293 3.1, RFC 8200 8.1). */
static uint64_t pseudo_header(const struct mb_packet *p, uint32_t len)
{
    uint8_t tail[8];
    mb__put_be32(tail, len);
    mb__put_be32(tail + 4, p->ip_proto);
    bool v6 = p->flags & MB_PKT_IPV6;
    uint64_t sum = add_bytes(0, tail, sizeof tail);
    sum = add_bytes(sum, p->src.byte + (v6 ? 0 : 12), v6 ? 16 : 4);
    return add_bytes(sum, p->dst.byte + (v6 ? 0 : 12), v6 ? 16 : 4);
}

/* CRC32c, reflected, bit by bit through half-byte tables: SCTP is rare. */
static uint32_t crc32c(uint32_t crc, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= b[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return crc;
}

/* SCTP sums with its own checksum field as zero. */
static bool sctp_good(const uint8_t *l4, uint32_t len)
{
    static const uint8_t zeros[4] = {0};
    uint32_t crc = crc32c(0xffffffff, l4, 8);
    crc = crc32c(crc, zeros, sizeof zeros);
    crc = crc32c(crc, l4 + 12, len - 12);
    return mb__le32(l4 + 8) == ~crc;
}

/* Whether the destination of the IPv6 header is not yet the last one: a
 * routing header with segments left hides the address that was summed. */
static bool routed_on(const struct mb_packet *p)
{
    if ((p->flags & MB_PKT_IPV6) == 0)
        return false;
    struct mb__cursor c = mb__cursor(p->net, p->l4_off);
    const uint8_t *h = mb__cursor_take(&c, 40);
    uint8_t next = h == NULL ? MB__PROTO_NONE : h[6];
    while ((h = mb__cursor_peek(&c, 8)) != NULL) {
        if (next == MB__PROTO_ROUTING && h[3] != 0)
            return true;
        size_t len = mb__ipv6_extension_len(next, h);
        next = h[0];
        if (len == 0 || !mb__cursor_skip(&c, len))
            break;
    }
    return false;
}

/* Whether the transport checksum is right or cannot be told. */
static bool l4_good(const struct mb_packet *p)
{
    if ((p->flags & MB_PKT_L4) == 0 || (p->flags & MB_PKT_TRUNCATED) || routed_on(p))
        return true;
    const uint8_t *l4 = p->net + p->l4_off;
    uint32_t len = p->payload_off + p->payload_len - p->l4_off;
    switch (p->ip_proto) {
    case MB__PROTO_UDP:
        if (mb__be16(l4 + 6) == 0)
            return (p->flags & MB_PKT_IPV6) == 0; /* IPv6 demands one (RFC 8200 8.1) */
        break;
    case MB__PROTO_TCP:
    case MB__PROTO_ICMPV6:
        break;
    case MB__PROTO_ICMP:
        return fold(add_bytes(0, l4, len)) == 0xffff;
    case MB__PROTO_SCTP:
        return sctp_good(l4, len);
    default:
        return true;
    }
    return fold(add_bytes(pseudo_header(p, len), l4, len)) == 0xffff;
}

bool mb__checksums_good(struct mb_packet *p)
{
    if (p->flags & MB_PKT_IP && (p->flags & MB_PKT_SUM_CHECKED) == 0) {
        p->flags |= MB_PKT_SUM_CHECKED;
        if (!l4_good(p))
            p->flags |= MB_PKT_BAD_L4_SUM;
    }
    return (p->flags & (MB_PKT_BAD_IP_SUM | MB_PKT_BAD_L4_SUM)) == 0;
}
