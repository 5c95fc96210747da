/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_options -- the options of a TCP header (RFC 9293 3.1, RFC 7323, RFC 2018, RFC 7413) */

#include "packet/fields.h"
#include "packet/packet.h"

enum tcp_option_kind {
    OPT_END = 0,
    OPT_NOP = 1,
    OPT_MSS = 2,
    OPT_WSCALE = 3,
    OPT_SACK_PERMITTED = 4,
    OPT_SACK = 5,
    OPT_TIMESTAMPS = 8,
    OPT_MD5 = 19,
    OPT_AO = 29,
    OPT_FAST_OPEN = 34
};

#define MAX_WSCALE 14 /* RFC 7323 2.3: larger shifts are taken for this one */

/* The option bytes that the capture holds. */
static struct mb__cursor options_of(const struct mb_packet *p)
{
    uint32_t begin = p->l4_off + 20;
    uint32_t end = p->payload_off < p->net_len ? p->payload_off : p->net_len;
    return end > begin ? mb__cursor(p->net + begin, end - begin) : mb__cursor(NULL, 0);
}

/* Whether an option of |kind| may have |len| bytes of value. */
static bool len_fits(uint8_t kind, size_t len)
{
    switch (kind) {
    case OPT_MSS:
        return len == 2;
    case OPT_WSCALE:
        return len == 1;
    case OPT_SACK_PERMITTED:
        return len == 0;
    case OPT_SACK:
        return len == 8 || len == 16 || len == 24 || len == 32;
    case OPT_TIMESTAMPS:
        return len == 8;
    case OPT_MD5:
        return len == 16;
    case OPT_AO:
        return len >= 2;
    case OPT_FAST_OPEN:
        return len == 0 || (len >= 4 && len <= 16 && len % 2 == 0);
    default:
        return true;
    }
}

static void take_sack(struct mb__tcp_options *o, const uint8_t *v, size_t len)
{
    for (size_t i = 0; i + 8 <= len && o->sack_count < 4; i += 8) {
        o->sack[o->sack_count][0] = mb__be32(v + i);
        o->sack[o->sack_count][1] = mb__be32(v + i + 4);
        o->sack_count++;
    }
}

/* Takes in one option whose length fits its kind. */
static void take_option(struct mb__tcp_options *o, uint8_t kind, const uint8_t *v, size_t len)
{
    switch (kind) {
    case OPT_MSS:
        o->mss = mb__be16(v);
        break;
    case OPT_WSCALE:
        o->has_wscale = true;
        o->wscale = v[0] > MAX_WSCALE ? MAX_WSCALE : v[0];
        break;
    case OPT_SACK_PERMITTED:
        o->sack_permitted = true;
        break;
    case OPT_SACK:
        take_sack(o, v, len);
        break;
    case OPT_TIMESTAMPS:
        o->has_ts = true;
        o->tsval = mb__be32(v);
        o->tsecr = mb__be32(v + 4);
        break;
    case OPT_MD5:
    case OPT_AO:
        o->md5 = true;
        break;
    case OPT_FAST_OPEN:
        o->fast_open = true;
        o->fast_open_cookie = len >= 4;
        break;
    default:
        break;
    }
}

/* The next option but NOP: 1 and its kind and value, 0 at the end, -1 if its
 * length is 0, 1 or reaches past the header. */
static int next_option(struct mb__cursor *c, uint8_t *kind, struct mb__cursor *value)
{
    uint8_t len;
    do {
        if (!mb__cursor_u8(c, kind) || *kind == OPT_END)
            return 0;
    } while (*kind == OPT_NOP);
    if (!mb__cursor_u8(c, &len) || len < 2 || !mb__cursor_split(c, len - 2u, value))
        return -1;
    return 1;
}

/* The options of most SYNs, at once. */
static void take_linux_syn(struct mb__tcp_options *o, const uint8_t *v)
{
    o->mss = mb__be16(v + 2);
    o->sack_permitted = o->has_ts = o->has_wscale = true;
    o->tsval = mb__be32(v + 8);
    o->tsecr = mb__be32(v + 12);
    o->wscale = v[19] > MAX_WSCALE ? MAX_WSCALE : v[19];
}

void mb__tcp_options_read(const struct mb_packet *p, struct mb__tcp_options *o)
{
    struct mb__cursor c = options_of(p), value;
    uint64_t seen = 0; /* kinds below 64, a bit each */
    uint8_t kind;
    int got;
    *o = (struct mb__tcp_options){0};
    if (mb__cursor_left(&c) == MB__TCP_SYN_OPTIONS && mb__tcp_linux_syn(c.at)) {
        take_linux_syn(o, c.at);
        return;
    }
    while ((got = next_option(&c, &kind, &value)) > 0) {
        uint64_t bit = kind < 64 ? UINT64_C(1) << kind : 0;
        size_t len = mb__cursor_left(&value);
        if (!len_fits(kind, len))
            o->bad_len = true;
        else if (seen & bit)
            o->duplicate = true;
        else
            take_option(o, kind, value.at, len);
        seen |= bit;
    }
    /* Options that the capture cut off are not the sender's fault. */
    o->malformed = got < 0 && p->payload_off <= p->net_len;
}

bool mb__tcp_timestamps_slow(const struct mb_packet *p, uint32_t *tsval, uint32_t *tsecr)
{
    struct mb__cursor c = options_of(p), value;
    uint8_t kind;
    while (next_option(&c, &kind, &value) > 0) {
        if (kind != OPT_TIMESTAMPS || mb__cursor_left(&value) != 8)
            continue;
        *tsval = mb__be32(value.at);
        *tsecr = mb__be32(value.at + 4);
        return true;
    }
    return false;
}
