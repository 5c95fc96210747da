/* SPDX-License-Identifier: BSD-3-Clause */
/* tls -- the part of a TLS session that is not encrypted: hellos, certificates
 *
 *   records     [22|hs.........][22|....hs][20|ccs][23|encrypted ...
 *   messages    [ClientHello   |ServerHello|Certificate]
 *
 * Messages may lie over several records and records over several segments; a
 * message in one piece is read where it is. A side is finished at its
 * ChangeCipherSpec, with TLS 1.3 at the ServerHello; then nothing is looked at.
 * Sources: RFC 8446 5.1 and 4, RFC 5246 6.2 and 7, RFC 5246 E.2 (SSLv2 hello).
 */
#include "proto/tls.h"

#include "base/cursor.h"
#include "proto/hold.h"
#include "proto/proto.h"
#include "proto/x509.h"

#define RECORD_HEAD 5
#define MESSAGE_HEAD 4
#define MAX_RECORD (16384 + 2048)   /* RFC 5246 6.2.3; RFC 8446 allows less */
#define MAX_CHAIN 16                /* certificates of a chain that are given */
#define LONE_SIDE_MAX (64 * 1024)   /* bytes of a finished side, the other one silent */
#define EVENT_BIT(event) (UINT64_C(1) << (event))

enum { RECORD_CHANGE_CIPHER = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23, RECORD_HEARTBEAT = 24 };
enum { MSG_CLIENT_HELLO = 1, MSG_SERVER_HELLO = 2, MSG_CERTIFICATE = 11, MSG_LAST = 67 };

struct tls_side {
    struct mb__hold hold;        /* a handshake message in pieces */
    uint32_t skip;               /* bytes of a message nobody asked for */
    uint32_t left;               /* bytes of the record */
    uint32_t idle;               /* bytes since finished */
    uint16_t version;            /* of the record */
    uint8_t type;                /* of the record */
    uint8_t head_len;            /* bytes in head */
    uint8_t head[RECORD_HEAD];   /* a record header in pieces */
    bool started;                /* past the first record header */
    bool sslv2;                  /* the record is an SSLv2 hello */
    bool finished;
};

struct tls {
    struct tls_side side[2];
    bool client_hello; /* seen */
    bool server_hello; /* seen, not a retry */
    bool over;         /* nothing in clear follows the hellos */
};

static int anomaly(struct mb__proto_sink *sink, int side)
{
    return sink->emit(sink, MB_EV_ANOMALY, side, NULL, NULL, 0);
}

static void finish(struct tls_side *s, struct mb__proto_sink *sink)
{
    mb__hold_free(&s->hold, sink->memory);
    s->finished = true;
}

/* ---- probe --------------------------------------------------------------- */

/* An SSLv2 hello: two bytes of length with the top bit set, type 1, version,
 * three sizes that add up (RFC 5246 E.2). */
static enum mb__probe probe_v2(const uint8_t *data, size_t len)
{
    if (len < 3)
        return MB__PROBE_MORE;
    if (data[2] != MSG_CLIENT_HELLO)
        return MB__PROBE_NO;
    if (len < 11)
        return MB__PROBE_MORE;
    uint32_t size = mb__be16(data) & 0x7fff, version = mb__be16(data + 3);
    uint32_t ciphers = mb__be16(data + 5), id = mb__be16(data + 7), challenge = mb__be16(data + 9);
    bool good = (version == 2 || (version >= 0x0300 && version <= 0x0304)) && ciphers > 0 && ciphers % 3 == 0 &&
                challenge >= 8 && challenge <= 32 && size == 9 + ciphers + id + challenge;
    return good ? MB__PROBE_YES : MB__PROBE_NO;
}

static enum mb__probe tls_probe(int side, const uint8_t *data, size_t len, bool datagram)
{
    (void)datagram;
    if (len == 0)
        return MB__PROBE_MORE;
    if (side == MB_CLIENT && data[0] & 0x80)
        return probe_v2(data, len);
    bool bad = data[0] != RECORD_HANDSHAKE || (len > 1 && data[1] != 3) || (len > 2 && data[2] > 4) ||
               (len > 4 && (mb__be16(data + 3) == 0 || mb__be16(data + 3) > MAX_RECORD)) ||
               (len > 5 && data[5] != MSG_CLIENT_HELLO && data[5] != MSG_SERVER_HELLO);
    if (bad)
        return MB__PROBE_NO;
    return len > 5 ? MB__PROBE_YES : MB__PROBE_MORE;
}

/* ---- handshake messages -------------------------------------------------- */

static int emit_hello(struct mb__proto_sink *sink, int side, struct mb_tls_hello *h, struct mb__tls_scratch *scratch)
{
    if (!(sink->wanted & EVENT_BIT(MB_EV_TLS_HELLO)))
        return 0;
    mb__tls_fingerprint(h, scratch);
    return sink->emit(sink, MB_EV_TLS_HELLO, side, h, NULL, 0);
}

/* What a hello means for what is still to come in clear. The ServerHello may
 * be seen first: captures are not always in order. */
static void after_hello(struct tls *t, struct mb__proto_sink *sink, const struct mb_tls_hello *h)
{
    if (!h->server) {
        t->client_hello = true;
    } else if (!mb__tls_is_retry(h)) {
        t->server_hello = true;
        t->over = h->version >= 0x0304 || !(sink->wanted & EVENT_BIT(MB_EV_TLS_CERTIFICATE));
    }
    if (t->over)
        finish(&t->side[MB_SERVER], sink);
    if (t->over && t->client_hello)
        finish(&t->side[MB_CLIENT], sink);
}

static int hello(struct tls *t, struct mb__proto_sink *sink, int side, uint8_t type, const uint8_t *body, size_t len)
{
    struct mb__tls_scratch scratch;
    struct mb_tls_hello h;
    bool odd = false;
    if (!mb__tls_hello_read(type == MSG_SERVER_HELLO, body, len, &h, &scratch, &odd)) {
        finish(&t->side[side], sink);
        return anomaly(sink, side);
    }
    h.record_version = t->side[side].version;
    int rc = emit_hello(sink, side, &h, &scratch);
    if (rc == 0 && odd)
        rc = anomaly(sink, side);
    after_hello(t, sink, &h);
    return rc;
}

/* A chain: certificates behind lengths of three bytes (RFC 5246 7.4.2). */
static int certificate(struct mb__proto_sink *sink, int side, const uint8_t *body, size_t len)
{
    struct mb__cursor c = mb__cursor(body, len), list, one;
    struct mb_view chain[MAX_CHAIN];
    struct mb_tls_certificate r = {.chain = chain};
    char text[MB__X509_TEXT];
    uint32_t size;
    bool good = mb__cursor_u24(&c, &size) && mb__cursor_split(&c, size, &list);
    while (good && mb__cursor_left(&list) > 0 && r.count < MAX_CHAIN) {
        good = mb__cursor_u24(&list, &size) && mb__cursor_split(&list, size, &one);
        if (good)
            chain[r.count++] = (struct mb_view){one.at, size};
    }
    if (r.count == 0)
        return good ? 0 : anomaly(sink, side); /* a client may have none */
    good = mb__x509_read(chain[0].data, chain[0].len, &r, text) && good;
    int rc = sink->emit(sink, MB_EV_TLS_CERTIFICATE, side, &r, NULL, 0);
    return rc == 0 && !good ? anomaly(sink, side) : rc;
}

static int message(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    uint8_t type = data[0];
    if (type == MSG_CERTIFICATE)
        return certificate(sink, side, data + MESSAGE_HEAD, len - MESSAGE_HEAD);
    return hello(t, sink, side, type, data + MESSAGE_HEAD, len - MESSAGE_HEAD);
}

/* Whether messages of |type| are read at all. */
static bool is_wanted(const struct mb__proto_sink *sink, uint8_t type)
{
    if (type == MSG_CERTIFICATE)
        return sink->wanted & EVENT_BIT(MB_EV_TLS_CERTIFICATE);
    return type == MSG_CLIENT_HELLO || type == MSG_SERVER_HELLO;
}

/* Looks at the message header |head|: bytes to hold for the message, 0 if it
 * is passed over (skip) or ends the clear part. */
static size_t message_size(struct tls_side *s, struct mb__proto_sink *sink, int side, const uint8_t *head, int *rc)
{
    size_t size = MESSAGE_HEAD + (size_t)mb__be24(head + 1);
    if (head[0] > MSG_LAST) {
        finish(s, sink);
        *rc = anomaly(sink, side);
        return 0;
    }
    bool wanted = is_wanted(sink, head[0]);
    if (wanted && size <= MB__PROTO_MAX_HOLD)
        return size;
    s->skip = (uint32_t)size;
    if (wanted)
        *rc = anomaly(sink, side);
    return 0;
}

/* Takes handshake bytes of the record; one message at a time. */
static int handshake(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t **data, size_t *len)
{
    struct tls_side *s = &t->side[side];
    int rc = 0;
    if (s->skip > 0) {
        size_t n = s->skip < *len ? s->skip : *len;
        s->skip -= (uint32_t)n;
        *data += n;
        *len -= n;
        return 0;
    }
    bool direct = s->hold.len == 0 && *len >= MESSAGE_HEAD;
    int filled = direct ? 1 : mb__hold_fill(&s->hold, sink->memory, MESSAGE_HEAD, data, len);
    if (filled == 0)
        return 0;
    size_t size = 0;
    if (filled > 0)
        size = message_size(s, sink, side, direct ? *data : s->hold.data, &rc);
    if (filled > 0 && size == 0) {
        if (s->skip > 0)
            s->skip -= s->hold.len;
        mb__hold_free(&s->hold, sink->memory);
        return rc;
    }
    if (direct && *len >= size) {
        rc = message(t, sink, side, *data, size);
        *data += size;
        *len -= size;
        return rc;
    }
    if (filled > 0)
        filled = mb__hold_fill(&s->hold, sink->memory, size, data, len);
    if (filled < 0) {
        finish(s, sink);
        return anomaly(sink, side);
    }
    if (filled == 0)
        return 0;
    rc = message(t, sink, side, s->hold.data, size);
    mb__hold_free(&s->hold, sink->memory);
    return rc;
}

/* ---- records ------------------------------------------------------------- */

/* An SSLv2 hello as a record of its own. */
static int sslv2_hello(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t *body, size_t len)
{
    struct mb__tls_scratch scratch;
    struct mb_tls_hello h;
    if (!mb__tls_hello_read_v2(body, len, &h, &scratch)) {
        finish(&t->side[side], sink);
        return anomaly(sink, side);
    }
    int rc = emit_hello(sink, side, &h, &scratch);
    if (h.hello_version < 0x0300) { /* SSLv2 goes on in a way of its own */
        finish(&t->side[MB_CLIENT], sink);
        finish(&t->side[MB_SERVER], sink);
    }
    return rc;
}

static int sslv2_bytes(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct tls_side *s = &t->side[side];
    bool whole = len == s->left;
    if (s->hold.len == 0 && whole) {
        s->sslv2 = false;
        return sslv2_hello(t, sink, side, data, len);
    }
    if (!mb__hold_add(&s->hold, sink->memory, data, len)) {
        finish(s, sink);
        return anomaly(sink, side);
    }
    if (!whole)
        return 0;
    s->sslv2 = false;
    int rc = sslv2_hello(t, sink, side, s->hold.data, s->hold.len);
    mb__hold_free(&s->hold, sink->memory);
    return rc;
}

/* A record begins: its header is whole. */
static int record_begins(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t *head)
{
    struct tls_side *s = &t->side[side];
    s->type = head[0];
    s->version = mb__be16(head + 1);
    s->left = mb__be16(head + 3);
    s->started = true;
    if (s->type < RECORD_CHANGE_CIPHER || s->type > RECORD_HEARTBEAT || head[1] != 3 || s->left > MAX_RECORD) {
        finish(s, sink);
        return anomaly(sink, side);
    }
    /* Early data and the compatibility ChangeCipherSpec of TLS 1.3 come before
     * the ServerHello and end nothing (RFC 8446 D.4). */
    bool encrypted = s->type == RECORD_CHANGE_CIPHER || s->type == RECORD_DATA;
    if (encrypted && (t->server_hello || (side == MB_SERVER && s->type == RECORD_DATA)))
        finish(s, sink);
    else if (encrypted && s->idle < LONE_SIDE_MAX)
        s->idle += s->left;
    return 0;
}

/* Takes bytes of a record header. */
static int head_bytes(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t **data, size_t *len)
{
    struct tls_side *s = &t->side[side];
    bool v2 = !s->started && side == MB_CLIENT && (s->head_len > 0 ? s->head[0] : **data) & 0x80;
    uint8_t want = v2 ? 2 : RECORD_HEAD;
    const uint8_t *head = *data;
    size_t n = want - s->head_len;
    if (s->head_len > 0 || *len < n) {
        n = n < *len ? n : *len;
        memcpy(s->head + s->head_len, *data, n);
        s->head_len += (uint8_t)n;
        head = s->head;
    }
    *data += n;
    *len -= n;
    if (head == s->head && s->head_len < want)
        return 0;
    s->head_len = 0;
    if (!v2)
        return record_begins(t, sink, side, head);
    s->started = s->sslv2 = true;
    s->left = mb__be16(head) & 0x7fff;
    return 0;
}

/* Takes bytes of the record's content. */
static int record_bytes(struct tls *t, struct mb__proto_sink *sink, int side, const uint8_t **data, size_t *len)
{
    struct tls_side *s = &t->side[side];
    size_t n = s->left < *len ? s->left : *len, rest = n;
    const uint8_t *at = *data;
    int rc = 0;
    if (s->sslv2) {
        rc = sslv2_bytes(t, sink, side, at, n);
    } else if (s->type == RECORD_HANDSHAKE) {
        while (rc == 0 && rest > 0 && !s->finished)
            rc = handshake(t, sink, side, &at, &rest);
    }
    s->left -= (uint32_t)n;
    *data += n;
    *len -= n;
    return rc;
}

/* ---- the parser ---------------------------------------------------------- */

static void *tls_create(struct mb__proto_sink *sink, bool datagram)
{
    (void)datagram;
    struct tls *t = mb__memory_alloc(sink->memory, sizeof *t);
    if (t != NULL)
        memset(t, 0, sizeof *t);
    return t;
}

static void tls_destroy(void *state, struct mb__proto_sink *sink)
{
    struct tls *t = state;
    mb__hold_free(&t->side[0].hold, sink->memory);
    mb__hold_free(&t->side[1].hold, sink->memory);
    mb__memory_free(sink->memory, t, sizeof *t);
}

static int tls_data(void *state, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct tls *t = state;
    struct tls_side *s = &t->side[side];
    int rc = 0;
    while (rc == 0 && len > 0 && !s->finished)
        rc = s->left > 0 ? record_bytes(t, sink, side, &data, &len) : head_bytes(t, sink, side, &data, &len);
    if (s->finished && s->idle < LONE_SIDE_MAX)
        s->idle += (uint32_t)(len < LONE_SIDE_MAX ? len : LONE_SIDE_MAX);
    return rc;
}

static int tls_gap(void *state, struct mb__proto_sink *sink, int side, uint64_t len)
{
    struct tls_side *s = &((struct tls *)state)->side[side];
    if (s->finished)
        return 0;
    bool inside = len <= s->left && (s->type != RECORD_HANDSHAKE || len <= s->skip) && !s->sslv2;
    if (inside) {
        s->left -= (uint32_t)len;
        if (s->type == RECORD_HANDSHAKE)
            s->skip -= (uint32_t)len;
        return 0;
    }
    finish(s, sink);
    return anomaly(sink, side);
}

static int tls_end(void *state, struct mb__proto_sink *sink, int side)
{
    finish(&((struct tls *)state)->side[side], sink);
    return 0;
}

static bool tls_done(const void *state)
{
    const struct tls_side *c = &((const struct tls *)state)->side[0], *s = c + 1;
    if (c->finished && s->finished)
        return true;
    return c->idle >= LONE_SIDE_MAX || s->idle >= LONE_SIDE_MAX;
}

const struct mb__proto mb__proto_tls = {
    .app = MB_APP_TLS,
    .streams = true,
    .events = EVENT_BIT(MB_EV_TLS_HELLO) | EVENT_BIT(MB_EV_TLS_CERTIFICATE),
    .probe = tls_probe,
    .create = tls_create,
    .data = tls_data,
    .gap = tls_gap,
    .end = tls_end,
    .done = tls_done,
    .destroy = tls_destroy,
};
