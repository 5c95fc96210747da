/* SPDX-License-Identifier: BSD-3-Clause */
/* http_message -- heads become records, and responses find their requests
 *
 *   requests   0  1  2  3        each head takes the next number
 *   responses  0  1              each final response ends the oldest
 *                    ^
 *                    kinds[2 % KINDS]: was it HEAD, CONNECT, without version?
 *
 * A request's method changes how its response ends (RFC 9112 6.3).
 */
#include "proto/http.h"

#define EVENT_BIT(event) (UINT64_C(1) << (event))

enum kind { KIND_HEAD = 1, KIND_CONNECT = 2, KIND_NO_VERSION = 4 };

static bool listens(const struct mb__http_context *c, int event)
{
    return c->sink->wanted & EVENT_BIT(event);
}

static void drop_hold(struct mb__http_context *c)
{
    mb__hold_free(&c->s->hold, c->sink->memory);
    c->s->scan = (struct mb__http_scan){0};
}

static struct mb__http_context other_side(const struct mb__http_context *c)
{
    return (struct mb__http_context){c->h, c->sink, &c->h->side[!c->side], !c->side,
                            c->role == MB__HTTP_ASKS ? MB__HTTP_ANSWERS : MB__HTTP_ASKS};
}

int mb__http_put_body(void *arg, const uint8_t *data, size_t len)
{
    struct mb__http_context *c = arg;
    int rc = 0;
    if (listens(c, MB_EV_HTTP_BODY))
        rc = c->sink->emit(c->sink, MB_EV_HTTP_BODY, c->side, &c->s->record, data, len);
    c->s->record.body_len += len;
    return rc;
}

struct mb__http_way mb__http_way(struct mb__http_context *c)
{
    return (struct mb__http_way){&c->s->hold, c->sink->memory, &c->s->record.flags, mb__http_put_body, c};
}

static uint8_t kind_of(const struct mb__http *h, uint32_t transaction)
{
    bool known = transaction < h->requests && h->requests - transaction <= MB__HTTP_KINDS;
    return known ? h->kinds[transaction % MB__HTTP_KINDS] : 0;
}

/* What follows is not HTTP/1: a tunnel, another protocol. */
static int enter_tunnel(struct mb__http_context *c)
{
    int rc = 0;
    if (c->s->phase == MB__HTTP_IN_BODY) {
        c->s->record.flags |= MB_HTTP_TRUNCATED;
        rc = mb__http_end_message(c);
    }
    drop_hold(c);
    c->s->phase = MB__HTTP_IN_TUNNEL;
    return rc;
}

/* A response is over: where both sides go from there. */
static int after_response(struct mb__http_context *c)
{
    uint32_t status = c->s->record.status;
    uint8_t kind = kind_of(c->h, c->s->record.transaction);
    struct mb__http_context client = other_side(c);
    bool interim = status >= 100 && status < 200 && status != 101;
    bool tunnel = status == 101 || (kind & KIND_CONNECT && status >= 200 && status < 300);
    if (interim)
        return 0;
    c->h->responses++;
    if (tunnel) {
        c->s->phase = MB__HTTP_IN_TUNNEL;
        return enter_tunnel(&client);
    }
    if (kind & KIND_CONNECT && client.s->phase == MB__HTTP_IN_WAIT) {
        client.s->phase = MB__HTTP_IN_RESYNC; /* refused: requests go on */
        client.s->mid_line = false;
    }
    return 0;
}

int mb__http_end_message(struct mb__http_context *c)
{
    struct mb__http_side *s = c->s;
    struct mb__http_way way = mb__http_way(c);
    int rc = mb__http_body_end(&s->body, &way);
    s->scan = (struct mb__http_scan){0};
    bool connect = c->role == MB__HTTP_ASKS && kind_of(c->h, s->record.transaction) & KIND_CONNECT;
    s->phase = connect ? MB__HTTP_IN_WAIT : MB__HTTP_IN_HEAD;
    if (rc == 0 && listens(c, MB_EV_HTTP_END))
        rc = c->sink->emit(c->sink, MB_EV_HTTP_END, c->side, &s->record, NULL, 0);
    if (rc == 0 && c->role == MB__HTTP_ANSWERS)
        rc = after_response(c);
    return rc;
}

/* Has the codings of the body undone, if anybody looks at it. */
static void set_codings(struct mb__http_context *c, const enum mb__coding *codings, int count, uint32_t *flags)
{
    if (!listens(c, MB_EV_HTTP_BODY) && !listens(c, MB_EV_HTTP_END))
        return;
    for (int i = 0; i < count; i++) {
        if (!mb__inflate_add(&c->s->body.inflate, c->sink->memory, codings[i])) {
            mb__inflate_free(&c->s->body.inflate, c->sink->memory);
            *flags |= MB_HTTP_BODY_LIMIT; /* no memory: given as it is */
            return;
        }
    }
    if (count > 0)
        *flags |= MB_HTTP_COMPRESSED;
}

/* Whether a response has no body whatever its fields say (RFC 9112 6.3). */
static bool is_bodyless(const struct mb__http_context *c, const struct mb_http *m)
{
    uint8_t kind = kind_of(c->h, m->transaction);
    return (m->status >= 100 && m->status < 200) || m->status == 204 || m->status == 304 || kind & KIND_HEAD ||
           (kind & KIND_CONNECT && m->status >= 200 && m->status < 300);
}

/* How the body of |head| ends (RFC 9112 6.3). */
static enum mb__http_framing framing_of(const struct mb__http_context *c, struct mb__http_head *head, bool chunked,
                                        bool unknown)
{
    struct mb_http *m = &head->http;
    if (head->transfer_encoding.count > 0 && m->content_length >= 0)
        m->flags |= MB_HTTP_AMBIGUOUS_LENGTH;
    if (chunked) {
        m->flags |= MB_HTTP_CHUNKED;
        return MB__HTTP_CHUNKS;
    }
    bool response = c->role == MB__HTTP_ANSWERS;
    if (response && (unknown || head->bad_length || m->content_length < 0))
        return MB__HTTP_UNTIL_CLOSE;
    return m->content_length >= 0 ? MB__HTTP_LENGTH : MB__HTTP_NO_BODY;
}

/* A head is known: tells of it and makes ready for the body. */
static int start_message(struct mb__http_context *c, struct mb__http_head *head, enum mb__http_framing framing)
{
    struct mb__http_side *s = c->s;
    struct mb_http *m = &head->http;
    bool request = c->role == MB__HTTP_ASKS;
    int event = request ? MB_EV_HTTP_REQUEST : MB_EV_HTTP_RESPONSE;
    s->record = (struct mb_http){
        .status = m->status,
        .transaction = m->transaction,
        .flags = m->flags,
        .content_length = m->content_length,
    };
    mb__http_body_start(&s->body, framing, m->content_length > 0 ? (uint64_t)m->content_length : 0);
    s->phase = MB__HTTP_IN_BODY;
    int rc = listens(c, event) ? c->sink->emit(c->sink, (uint32_t)event, c->side, m, NULL, 0) : 0;
    return rc == 0 && s->body.done ? mb__http_end_message(c) : rc;
}

/* A request gets the next number; it is told what its response needs to know. */
static void number_request(struct mb__http *h, struct mb__http_head *head)
{
    if (h->requests < h->responses)
        h->requests = h->responses; /* responses seen without their requests */
    uint32_t n = h->requests++;
    head->http.transaction = n;
    h->kinds[n % MB__HTTP_KINDS] = (uint8_t)((head->head ? KIND_HEAD : 0) | (head->connect ? KIND_CONNECT : 0) |
                                    (head->http.flags & MB_HTTP_NO_VERSION ? KIND_NO_VERSION : 0));
}

int mb__http_whole_head(struct mb__http_context *c, const uint8_t *p, size_t len, bool truncated)
{
    struct mb__http_head head;
    enum mb__coding codings[MB__INFLATE_LAYERS];
    bool chunked = false, unknown = false;
    bool request = c->role == MB__HTTP_ASKS;
    if (request) {
        mb__http_read_request(p, len, &head);
        if (!mb__http_is_request_line(head.http.start_line.data, head.http.start_line.len, false))
            return mb__http_resync(c, false);
        number_request(c->h, &head);
    } else {
        mb__http_read_response(p, len, &head);
        head.http.transaction = c->h->responses;
    }
    if (truncated)
        head.http.flags |= MB_HTTP_TRUNCATED;
    enum mb__http_framing framing = MB__HTTP_NO_BODY;
    if (!truncated && (request || !is_bodyless(c, &head.http))) {
        int count = mb__http_codings(&head, codings, &chunked, &unknown);
        framing = framing_of(c, &head, chunked, unknown);
        if (framing != MB__HTTP_NO_BODY)
            set_codings(c, codings, count, &head.http.flags);
    }
    return start_message(c, &head, framing);
}

/* A server's bytes are no status line: the content of HTTP/0.9 if a request
 * waits for a response, else nobody knows. */
int mb__http_no_status_line(struct mb__http_context *c, const uint8_t *held, size_t len)
{
    struct mb__http *h = c->h;
    struct mb__http_head head = {.http = {.flags = MB_HTTP_NO_VERSION, .content_length = -1}};
    if (h->responses >= h->requests)
        return mb__http_resync(c, len == 0 || held[len - 1] != '\n');
    if (!(kind_of(h, h->responses) & KIND_NO_VERSION))
        head.http.flags |= MB_HTTP_BAD;
    head.http.transaction = h->responses;
    int rc = start_message(c, &head, MB__HTTP_UNTIL_CLOSE);
    return rc == 0 && len > 0 ? mb__http_put_body(c, held, len) : rc;
}
