/* SPDX-License-Identifier: BSD-3-Clause */
/* dns -- DNS messages, one a datagram or behind a length in a stream (RFC 1035)
 *
 *   +--------+-----------+---------+-----------+------------+
 *   | header | questions | answers | authority | additional |
 *   +--------+-----------+---------+-----------+------------+
 *     name:  3 'w' 'w' 'w' 7 ... | pointer ----> an earlier name
 *
 * Names and readable data are written as text to a scratch buffer; a message
 * whose text or records exceed it is cut there and marked malformed.
 * A pointer must point before the name part it ends, so that following them
 * comes to an end.
 */
#include "base/cursor.h"
#include "proto/hold.h"
#include "proto/proto.h"

#define HEADER_LEN 12
#define MAX_RECORDS 256
#define MAX_TEXT (16 * 1024) /* bytes of all names and readable data of a message */
#define MAX_NAME 255         /* bytes of a name on the wire (RFC 1035 3.1) */
#define MAX_POINTERS 64      /* pointers followed in a name */

enum {
    TYPE_A = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_PTR = 12,
    TYPE_MX = 15,
    TYPE_TXT = 16,
    TYPE_AAAA = 28,
    TYPE_SRV = 33,
    TYPE_DNAME = 39,
};

/* A stream side: messages behind two-byte lengths. */
struct dns_side {
    struct mb__hold hold;
    uint32_t skip; /* bytes of a message that could not be held */
    bool lost;     /* after a gap: where a message begins is not known */
};

struct dns {
    struct dns_side side[2];
    bool datagram;
};

/* A message being read, and where its text goes. */
struct reader {
    const uint8_t *message;
    size_t len;
    struct mb__cursor at;
    char *text;
    size_t used;
};

/* ---- names and text ------------------------------------------------------ */

static bool put(struct reader *r, const void *bytes, size_t len)
{
    if (len > MAX_TEXT - r->used)
        return false;
    memcpy(r->text + r->used, bytes, len);
    r->used += len;
    return true;
}

static bool put_number(struct reader *r, uint32_t v)
{
    char digits[10];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    return put(r, digits + n, sizeof digits - n);
}

/* One byte of a label in presentation form (RFC 1035 5.1): what could be taken
 * for syntax has a backslash, what cannot be printed is \DDD. */
static bool put_label_byte(struct reader *r, uint8_t b)
{
    if (b == '.' || b == '\\')
        return put(r, (char[]){'\\', (char)b}, 2);
    if (b > 0x20 && b < 0x7f)
        return put(r, &b, 1);
    return put(r, (char[]){'\\', (char)('0' + b / 100), (char)('0' + b / 10 % 10), (char)('0' + b % 10)}, 4);
}

static bool put_label(struct reader *r, const uint8_t *label, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!put_label_byte(r, label[i]))
            return false;
    return true;
}

static struct mb_view text_since(const struct reader *r, size_t start)
{
    return (struct mb_view){(const uint8_t *)r->text + start, (uint32_t)(r->used - start)};
}

/* Appends the name at |c| as text and moves |c| past it. */
static bool put_name(struct reader *r, struct mb__cursor *c)
{
    struct mb__cursor at = *c;
    size_t total = 0, pointers = 0;
    size_t limit = (size_t)(c->at - r->message); /* pointers go before this */
    uint8_t n;
    for (;;) {
        if (!mb__cursor_u8(&at, &n))
            return false;
        if (n == 0)
            break;
        if (n < 64) {
            const uint8_t *label = mb__cursor_take(&at, n);
            if (label == NULL || (total += n + 1u) > MAX_NAME)
                return false;
            if (total > n + 1u && !put(r, ".", 1))
                return false;
            if (!put_label(r, label, n))
                return false;
            continue;
        }
        uint8_t low;
        if (n < 0xc0 || !mb__cursor_u8(&at, &low) || ++pointers > MAX_POINTERS)
            return false;
        if (pointers == 1)
            *c = at;
        size_t target = (size_t)(n & 0x3f) << 8 | low;
        if (target >= limit)
            return false;
        limit = target;
        at = mb__cursor(r->message + target, r->len - target);
    }
    if (pointers == 0)
        *c = at;
    return true;
}

/* ---- record data --------------------------------------------------------- */

static bool put_address(struct reader *r, struct mb__cursor *c, size_t size)
{
    struct mb_addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
    char text[MB_ADDR_TEXT];
    if (mb__cursor_left(c) != size)
        return false;
    memcpy(a.byte + 16 - size, mb__cursor_take(c, size), size);
    return put(r, text, mb_addr_text(&a, text));
}

/* |count| 16-bit numbers, each followed by a space. */
static bool put_u16s(struct reader *r, struct mb__cursor *c, int count)
{
    uint16_t v;
    for (; count > 0; count--)
        if (!mb__cursor_u16(c, &v) || !put_number(r, v) || !put(r, " ", 1))
            return false;
    return true;
}

/* Two names and five numbers (RFC 1035 3.3.13). */
static bool put_soa(struct reader *r, struct mb__cursor *c)
{
    uint32_t v;
    if (!put_name(r, c) || !put(r, " ", 1) || !put_name(r, c))
        return false;
    for (int i = 0; i < 5; i++)
        if (!mb__cursor_u32(c, &v) || !put(r, " ", 1) || !put_number(r, v))
            return false;
    return true;
}

static bool put_strings(struct reader *r, struct mb__cursor *c)
{
    uint8_t n;
    while (mb__cursor_u8(c, &n)) {
        const uint8_t *bytes = mb__cursor_take(c, n);
        if ((bytes == NULL && n > 0) || (n > 0 && !put(r, bytes, n)))
            return false;
    }
    return true;
}

/* Text of the data |c| of |rr|; false: not of a readable type, or not well formed. */
static bool put_rdata(struct reader *r, const struct mb_dns_rr *rr, struct mb__cursor *c)
{
    switch (rr->type) {
    case TYPE_A: return put_address(r, c, 4);
    case TYPE_AAAA: return put_address(r, c, 16);
    case TYPE_NS:
    case TYPE_CNAME:
    case TYPE_PTR:
    case TYPE_DNAME: return put_name(r, c);
    case TYPE_MX: return put_u16s(r, c, 1) && put_name(r, c);
    case TYPE_SRV: return put_u16s(r, c, 3) && put_name(r, c);
    case TYPE_SOA: return put_soa(r, c);
    case TYPE_TXT: return put_strings(r, c);
    default: return false;
    }
}

/* ---- messages ------------------------------------------------------------ */

static bool read_question(struct reader *r, struct mb_dns_rr *rr)
{
    size_t start = r->used;
    *rr = (struct mb_dns_rr){0};
    if (!put_name(r, &r->at))
        return false;
    rr->name = text_since(r, start);
    return mb__cursor_u16(&r->at, &rr->type) && mb__cursor_u16(&r->at, &rr->klass);
}

static bool read_record(struct reader *r, struct mb_dns_rr *rr, uint8_t section)
{
    uint16_t len;
    struct mb__cursor data;
    if (!read_question(r, rr))
        return false;
    rr->section = section;
    if (!mb__cursor_u32(&r->at, &rr->ttl) || !mb__cursor_u16(&r->at, &len) || !mb__cursor_split(&r->at, len, &data))
        return false;
    rr->rdata = (struct mb_view){data.at, len};
    size_t start = r->used;
    if (put_rdata(r, rr, &data))
        rr->rdata = text_since(r, start);
    else
        r->used = start; /* odd data is given as it is */
    return true;
}

/* Reads all four sections into |rr|; how many records there are. */
static uint32_t read_sections(struct reader *r, struct mb_dns *d, struct mb_dns_rr rr[MAX_RECORDS])
{
    const uint16_t counts[4] = {d->questions, d->answers, d->authorities, d->additionals};
    uint32_t n = 0;
    for (uint8_t section = 0; section < 4; section++) {
        for (uint16_t i = 0; i < counts[section]; i++) {
            bool read = n < MAX_RECORDS && (section == 0 ? read_question(r, &rr[n]) : read_record(r, &rr[n], section));
            if (!read) {
                d->malformed = 1;
                return n;
            }
            n++;
        }
    }
    return n;
}

static void read_header(const uint8_t *h, struct mb_dns *d)
{
    *d = (struct mb_dns){0};
    d->id = mb__be16(h);
    d->flags = mb__be16(h + 2);
    d->questions = mb__be16(h + 4);
    d->answers = mb__be16(h + 6);
    d->authorities = mb__be16(h + 8);
    d->additionals = mb__be16(h + 10);
    d->response = d->flags >> 15;
    d->opcode = d->flags >> 11 & 15;
    d->rcode = d->flags & 15;
}

static int message(struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct mb_dns d;
    struct mb_dns_rr rr[MAX_RECORDS];
    char text[MAX_TEXT];
    if (len < HEADER_LEN)
        return sink->emit(sink, MB_EV_ANOMALY, side, NULL, NULL, 0);
    read_header(data, &d);
    struct reader r = {data, len, mb__cursor(data + HEADER_LEN, len - HEADER_LEN), text, 0};
    d.records = rr;
    d.record_count = read_sections(&r, &d, rr);
    return sink->emit(sink, MB_EV_DNS, side, &d, NULL, 0);
}

/* ---- probe --------------------------------------------------------------- */

/* Counts and codes that real messages have. */
static bool plausible_header(const struct mb_dns *d)
{
    bool asks = d->questions >= 1 && d->questions <= 32;
    bool tells = d->questions == 0 && d->response && d->answers >= 1; /* multicast DNS, RFC 6762 6 */
    return (asks || tells) && d->opcode <= 6 && !(d->flags & 0x40) && d->answers <= 4096 && d->authorities <= 1024 &&
           d->additionals <= 1024;
}

static bool plausible_class(uint16_t klass)
{
    klass &= 0x7fff; /* multicast DNS uses the top bit */
    return klass == 1 || klass == 3 || klass == 4 || klass == 254 || klass == 255;
}

/* Like put_name() without text: pointers are not followed. */
static enum mb__probe probe_name(struct mb__cursor *c)
{
    uint8_t n, low;
    size_t total = 0;
    for (;;) {
        if (!mb__cursor_u8(c, &n))
            return MB__PROBE_MORE;
        if (n == 0)
            return MB__PROBE_YES;
        if (n >= 0xc0)
            return mb__cursor_u8(c, &low) ? MB__PROBE_YES : MB__PROBE_MORE;
        if (n >= 64 || (total += n + 1u) > MAX_NAME)
            return MB__PROBE_NO;
        if (!mb__cursor_skip(c, n))
            return MB__PROBE_MORE;
    }
}

static enum mb__probe probe_message(struct mb__cursor c)
{
    struct mb_dns d;
    uint16_t type, klass;
    const uint8_t *h = mb__cursor_take(&c, HEADER_LEN);
    if (h == NULL)
        return MB__PROBE_MORE;
    read_header(h, &d);
    if (!plausible_header(&d))
        return MB__PROBE_NO;
    enum mb__probe name = probe_name(&c);
    if (name != MB__PROBE_YES)
        return name;
    if (!mb__cursor_u16(&c, &type) || !mb__cursor_u16(&c, &klass))
        return MB__PROBE_MORE;
    return type != 0 && plausible_class(klass) ? MB__PROBE_YES : MB__PROBE_NO;
}

static enum mb__probe dns_probe(int side, const uint8_t *data, size_t len, bool datagram)
{
    struct mb__cursor c = mb__cursor(data, len);
    uint16_t size = 0;
    (void)side;
    if (!datagram && !mb__cursor_u16(&c, &size))
        return MB__PROBE_MORE;
    if (!datagram && size < HEADER_LEN + 5)
        return MB__PROBE_NO;
    if (!datagram)
        mb__cursor_clip(&c, size);
    enum mb__probe answer = probe_message(c);
    if (answer == MB__PROBE_MORE && (datagram || mb__cursor_left(&c) == size))
        return MB__PROBE_NO; /* there is no more of this message */
    return answer;
}

/* ---- the parser ---------------------------------------------------------- */

static void *dns_create(struct mb__proto_sink *sink, bool datagram)
{
    struct dns *d = mb__memory_alloc(sink->memory, sizeof *d);
    if (d == NULL)
        return NULL;
    memset(d, 0, sizeof *d);
    d->datagram = datagram;
    return d;
}

static void dns_destroy(void *state, struct mb__proto_sink *sink)
{
    struct dns *d = state;
    mb__hold_free(&d->side[0].hold, sink->memory);
    mb__hold_free(&d->side[1].hold, sink->memory);
    mb__memory_free(sink->memory, d, sizeof *d);
}

/* Passes over what is left of a message that could not be held. */
static void skip_some(struct dns_side *s, const uint8_t **data, size_t *len)
{
    size_t n = s->skip < *len ? s->skip : *len;
    s->skip -= (uint32_t)n;
    *data += n;
    *len -= n;
}

/* A message that no memory was left for. */
static int refuse(struct dns_side *s, struct mb__proto_sink *sink, int side, size_t want)
{
    s->skip = (uint32_t)(want - s->hold.len);
    mb__hold_free(&s->hold, sink->memory);
    return sink->emit(sink, MB_EV_ANOMALY, side, NULL, NULL, 0);
}

/* Takes bytes of a message in pieces, and the message when it is whole. */
static int held_message(struct dns_side *s, struct mb__proto_sink *sink, int side, const uint8_t **data, size_t *len)
{
    int filled = mb__hold_fill(&s->hold, sink->memory, 2, data, len);
    size_t want = 2;
    if (filled > 0) {
        want += mb__be16(s->hold.data);
        filled = mb__hold_fill(&s->hold, sink->memory, want, data, len);
    }
    if (filled < 0)
        return refuse(s, sink, side, want);
    if (filled == 0)
        return 0;
    int rc = message(sink, side, s->hold.data + 2, want - 2);
    mb__hold_free(&s->hold, sink->memory);
    return rc;
}

static int dns_stream(struct dns_side *s, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    int rc = 0;
    while (rc == 0 && len > 0 && !s->lost) {
        if (s->skip > 0) {
            skip_some(s, &data, &len);
            continue;
        }
        size_t want = len >= 2 ? 2u + mb__be16(data) : SIZE_MAX;
        if (s->hold.len > 0 || want > len) {
            rc = held_message(s, sink, side, &data, &len);
            continue;
        }
        rc = message(sink, side, data + 2, want - 2);
        data += want;
        len -= want;
    }
    return rc;
}

static int dns_data(void *state, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct dns *d = state;
    if (d->datagram)
        return message(sink, side, data, len);
    return dns_stream(&d->side[side], sink, side, data, len);
}

static int dns_gap(void *state, struct mb__proto_sink *sink, int side, uint64_t len)
{
    struct dns *d = state;
    struct dns_side *s = &d->side[side];
    if (d->datagram || s->lost)
        return 0;
    if (len <= s->skip) {
        s->skip -= (uint32_t)len;
        return 0;
    }
    if (s->hold.len >= 2 && len <= 2u + mb__be16(s->hold.data) - s->hold.len) {
        s->skip = 2u + mb__be16(s->hold.data) - s->hold.len - (uint32_t)len;
    } else {
        s->lost = true;
    }
    mb__hold_free(&s->hold, sink->memory);
    return sink->emit(sink, MB_EV_ANOMALY, side, NULL, NULL, 0);
}

static int dns_end(void *state, struct mb__proto_sink *sink, int side)
{
    struct dns *d = state;
    struct dns_side *s = &d->side[side];
    bool cut = s->hold.len > 0;
    mb__hold_free(&s->hold, sink->memory);
    return cut ? sink->emit(sink, MB_EV_ANOMALY, side, NULL, NULL, 0) : 0;
}

static bool dns_done(const void *state)
{
    const struct dns *d = state;
    return d->side[0].lost && d->side[1].lost;
}

const struct mb__proto mb__proto_dns = {
    .app = MB_APP_DNS,
    .datagrams = true,
    .streams = true,
    .events = UINT64_C(1) << MB_EV_DNS,
    .probe = dns_probe,
    .create = dns_create,
    .data = dns_data,
    .gap = dns_gap,
    .end = dns_end,
    .done = dns_done,
    .destroy = dns_destroy,
};
