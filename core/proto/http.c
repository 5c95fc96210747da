/* SPDX-License-Identifier: BSD-3-Clause */
/* http -- HTTP/1 messages of both sides, whatever a browser would accept
 *
 *             +------------------------------------+
 *             v                                    |
 *     HEAD --(head whole: request, response)--> BODY --(end)
 *      |  \                                        |
 *      |   +--(CONNECT)--> WAIT                    | lost
 *      |                    | 2xx, or 101          v
 *      +--(no HTTP)--> RESYNC <-------------------+
 *                       | too much      TUNNEL: nothing is read any more
 *
 * A head in one segment is read where it is; a head in pieces is held until it
 * is whole. Bodies are passed through.
 */
#include "proto/http.h"

#define MAX_RESYNC_LINE 8192          /* a start line that may end the search for one */
#define MAX_RESYNC (1024 * 1024)      /* bytes searched before a side is given up */
#define EVENT_BIT(event) (UINT64_C(1) << (event))

static int anomaly(struct mb__http_context *c)
{
    return c->sink->emit(c->sink, MB_EV_ANOMALY, c->side, NULL, NULL, 0);
}

static void drop_hold(struct mb__http_context *c)
{
    mb__hold_free(&c->s->hold, c->sink->memory);
    c->s->scan = (struct mb__http_scan){0};
}

/* The search for the next start line begins. */
int mb__http_resync(struct mb__http_context *c, bool mid_line)
{
    drop_hold(c);
    c->s->phase = MB__HTTP_IN_RESYNC;
    c->s->mid_line = mid_line;
    c->s->skipped = 0;
    return anomaly(c);
}

/* ---- heads in pieces ----------------------------------------------------- */

/* White space before a head is passed over. */
static void skip_space(const uint8_t **data, size_t *len)
{
    while (*len > 0 && mb__http_is_space(**data)) {
        ++*data;
        --*len;
    }
}

static bool hold(struct mb__http_context *c, const uint8_t **data, size_t *len, size_t n)
{
    bool held = mb__hold_add(&c->s->hold, c->sink->memory, *data, n);
    *data += n;
    *len -= n;
    return held;
}

/* A head begins at |*data|, nothing is held. */
static int head_begins(struct mb__http_context *c, const uint8_t **data, size_t *len)
{
    bool response = c->role == MB__HTTP_ANSWERS;
    skip_space(data, len);
    if (*len == 0)
        return 0;
    if (response && mb__http_is_status_line(*data, *len) == MB__PROBE_NO)
        return mb__http_no_status_line(c, NULL, 0);
    if (!response && (**data < '!' || **data > '~'))
        return mb__http_resync(c, false);
    c->s->scan = (struct mb__http_scan){0};
    size_t most = *len < MB__PROTO_MAX_HOLD ? *len : MB__PROTO_MAX_HOLD;
    size_t end = mb__http_head_end(&c->s->scan, *data, most, response);
    if (end > 0 && end < MB__PROTO_MAX_HOLD) {
        const uint8_t *head = *data;
        *data += end;
        *len -= end;
        return mb__http_whole_head(c, head, end, false);
    }
    if (most == MB__PROTO_MAX_HOLD) {
        *data += most;
        *len -= most;
        return mb__http_resync(c, true);
    }
    return hold(c, data, len, *len) ? 0 : mb__http_resync(c, true);
}

/* The first bytes of a status line, one by one, until they are. */
static int status_in_pieces(struct mb__http_context *c, const uint8_t **data, size_t *len)
{
    struct mb__hold *h = &c->s->hold;
    while (*len > 0 && mb__http_is_status_line(h->data, h->len) == MB__PROBE_MORE) {
        if (!hold(c, data, len, 1))
            return mb__http_resync(c, true);
    }
    if (mb__http_is_status_line(h->data, h->len) != MB__PROBE_NO)
        return 0;
    int rc = mb__http_no_status_line(c, h->data, h->len);
    if (c->s->phase != MB__HTTP_IN_RESYNC)
        drop_hold(c);
    return rc;
}

/* More of a head of which some is held: as far as the next line end. */
static int head_goes_on(struct mb__http_context *c, const uint8_t **data, size_t *len)
{
    struct mb__http_side *s = c->s;
    bool response = c->role == MB__HTTP_ANSWERS;
    if (response && mb__http_is_status_line(s->hold.data, s->hold.len) == MB__PROBE_MORE)
        return status_in_pieces(c, data, len);
    const uint8_t *lf = memchr(*data, '\n', *len);
    size_t n = lf != NULL ? (size_t)(lf - *data) + 1 : *len;
    size_t room = MB__PROTO_MAX_HOLD - s->hold.len;
    if (!hold(c, data, len, n < room ? n : room))
        return mb__http_resync(c, true);
    size_t end = mb__http_head_end(&s->scan, s->hold.data, s->hold.len, response);
    if (end > 0 && end < MB__PROTO_MAX_HOLD) {
        size_t extra = s->hold.len - end; /* looked at to tell, not part of it */
        *data -= extra;
        *len += extra;
        struct mb__hold head = s->hold;
        s->hold = (struct mb__hold){0};
        int rc = mb__http_whole_head(c, head.data, end, false);
        mb__hold_free(&head, c->sink->memory);
        return rc;
    }
    return s->hold.len == MB__PROTO_MAX_HOLD ? mb__http_resync(c, true) : 0;
}

/* ---- after something was lost -------------------------------------------- */

static void skip(struct mb__http_context *c, const uint8_t **data, size_t *len, size_t n)
{
    *data += n;
    *len -= n;
    c->s->skipped += n;
}

/* Whether a line that begins with |b| can be a start line. */
static bool may_start(const struct mb__http_context *c, uint8_t b)
{
    return c->role == MB__HTTP_ANSWERS ? b == 'H' || b == 'h' : b >= 'A' && b <= 'Z';
}

static bool is_start_line(const struct mb__http_context *c, const uint8_t *line, size_t len)
{
    if (c->role == MB__HTTP_ASKS)
        return mb__http_is_request_line(line, len, true);
    return mb__http_is_status_line(line, len) == MB__PROBE_YES && len > 5 && line[5] >= '0' && line[5] <= '9';
}

/* Takes bytes to the end of a line. */
static void skip_line(struct mb__http_context *c, const uint8_t **data, size_t *len)
{
    const uint8_t *lf = memchr(*data, '\n', *len);
    skip(c, data, len, lf != NULL ? (size_t)(lf - *data) + 1 : *len);
    c->s->mid_line = lf == NULL;
    if (lf != NULL && c->s->skipped >= MAX_RESYNC)
        c->s->phase = MB__HTTP_IN_TUNNEL;
}

static int resync_bytes(struct mb__http_context *c, const uint8_t **data, size_t *len)
{
    struct mb__http_side *s = c->s;
    if (s->mid_line || (s->hold.len == 0 && !may_start(c, **data))) {
        skip_line(c, data, len);
        return 0;
    }
    const uint8_t *lf = memchr(*data, '\n', *len);
    size_t n = lf != NULL ? (size_t)(lf - *data) + 1 : *len;
    if (n > MAX_RESYNC_LINE - s->hold.len) {
        s->mid_line = true; /* the rest of the line goes too */
        drop_hold(c);
        return 0;
    }
    bool direct = s->hold.len == 0 && lf != NULL;
    const uint8_t *line = *data;
    size_t line_len = n;
    if (!direct) {
        if (!hold(c, data, len, n))
            return mb__http_resync(c, lf == NULL);
        line = s->hold.data;
        line_len = s->hold.len;
    }
    if (lf == NULL)
        return 0;
    if (is_start_line(c, line, line_len)) {
        s->phase = MB__HTTP_IN_HEAD; /* with the line held, or not yet taken */
    } else {
        if (direct)
            skip(c, data, len, n);
        drop_hold(c);
    }
    return 0;
}

/* ---- the parser ---------------------------------------------------------- */

static int body_bytes(struct mb__http_context *c, const uint8_t **data, size_t *len)
{
    struct mb__http_side *s = c->s;
    struct mb__http_way way = mb__http_way(c);
    int rc = mb__http_body_data(&s->body, &way, data, len);
    return rc == 0 && s->body.done ? mb__http_end_message(c) : rc;
}

static struct mb__http_context context(void *state, struct mb__proto_sink *sink, int side)
{
    struct mb__http *h = state;
    bool answers = (side == MB_SERVER) != h->swapped;
    return (struct mb__http_context){h, sink, &h->side[side], side, answers ? MB__HTTP_ANSWERS : MB__HTTP_ASKS};
}

/* The first bytes tell which side asks: a flow that was met in its middle may
 * have its sides the wrong way round. */
static void begin(struct mb__http *h, int side, const uint8_t *data, size_t len)
{
    skip_space(&data, &len);
    bool status = mb__http_is_status_line(data, len) == MB__PROBE_YES;
    bool method = mb__http_is_method(data, len) == MB__PROBE_YES;
    h->swapped = side == MB_CLIENT ? status : method;
    h->begun = true;
}

static int http_data(void *state, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct mb__http *h = state;
    int rc = 0;
    if (!h->begun)
        begin(h, side, data, len);
    struct mb__http_context c = context(state, sink, side);
    while (rc == 0 && len > 0) {
        switch (c.s->phase) {
        case MB__HTTP_IN_HEAD:
            rc = c.s->hold.len == 0 ? head_begins(&c, &data, &len) : head_goes_on(&c, &data, &len);
            break;
        case MB__HTTP_IN_BODY:
            rc = body_bytes(&c, &data, &len);
            break;
        case MB__HTTP_IN_RESYNC:
            rc = resync_bytes(&c, &data, &len);
            break;
        default:
            return 0;
        }
    }
    return rc;
}

static int http_gap(void *state, struct mb__proto_sink *sink, int side, uint64_t len)
{
    struct mb__http_context c = context(state, sink, side);
    struct mb__http_side *s = c.s;
    if (s->phase == MB__HTTP_IN_HEAD || s->phase == MB__HTTP_IN_RESYNC)
        return mb__http_resync(&c, false);
    if (s->phase != MB__HTTP_IN_BODY)
        return 0;
    s->record.flags |= MB_HTTP_TRUNCATED;
    bool known = mb__http_body_gap(&s->body, sink->memory, len);
    if (known && !s->body.done)
        return 0;
    int rc = mb__http_end_message(&c);
    return rc == 0 && !known && s->phase == MB__HTTP_IN_HEAD ? mb__http_resync(&c, false) : rc;
}

/* A head that the stream ends in. */
static int cut_head(struct mb__http_context *c)
{
    struct mb__hold head = c->s->hold;
    c->s->hold = (struct mb__hold){0};
    bool response = c->role == MB__HTTP_ANSWERS;
    bool is_head = response ? mb__http_is_status_line(head.data, head.len) == MB__PROBE_YES
                            : mb__http_is_request_line(head.data, head.len, true);
    int rc = is_head ? mb__http_whole_head(c, head.data, head.len, true) : 0;
    mb__hold_free(&head, c->sink->memory);
    return rc;
}

static int http_end(void *state, struct mb__proto_sink *sink, int side)
{
    struct mb__http_context c = context(state, sink, side);
    struct mb__http_side *s = c.s;
    int rc = 0;
    if (s->phase == MB__HTTP_IN_HEAD && s->hold.len > 0) {
        rc = cut_head(&c);
    } else if (s->phase == MB__HTTP_IN_BODY) {
        bool trailer = s->body.framing == MB__HTTP_CHUNKS && s->body.chunk == MB__CHUNK_TRAILER;
        if (s->body.framing != MB__HTTP_UNTIL_CLOSE && !trailer)
            s->record.flags |= MB_HTTP_TRUNCATED;
        rc = mb__http_end_message(&c);
    }
    drop_hold(&c);
    s->phase = MB__HTTP_IN_TUNNEL;
    return rc;
}

static void *http_create(struct mb__proto_sink *sink, bool datagram)
{
    (void)datagram;
    struct mb__http *h = mb__memory_alloc(sink->memory, sizeof *h);
    if (h != NULL)
        memset(h, 0, sizeof *h);
    return h;
}

static void http_destroy(void *state, struct mb__proto_sink *sink)
{
    struct mb__http *h = state;
    for (int side = 0; side < 2; side++) {
        mb__hold_free(&h->side[side].hold, sink->memory);
        mb__inflate_free(&h->side[side].body.inflate, sink->memory);
    }
    mb__memory_free(sink->memory, h, sizeof *h);
}

static bool http_done(const void *state)
{
    const struct mb__http *h = state;
    return h->side[0].phase == MB__HTTP_IN_TUNNEL && h->side[1].phase == MB__HTTP_IN_TUNNEL;
}

const struct mb__proto mb__proto_http = {
    .app = MB_APP_HTTP,
    .streams = true,
    .events = EVENT_BIT(MB_EV_HTTP_REQUEST) | EVENT_BIT(MB_EV_HTTP_RESPONSE) | EVENT_BIT(MB_EV_HTTP_BODY) |
              EVENT_BIT(MB_EV_HTTP_END),
    .probe = mb__http_probe,
    .create = http_create,
    .data = http_data,
    .gap = http_gap,
    .end = http_end,
    .done = http_done,
    .destroy = http_destroy,
};
