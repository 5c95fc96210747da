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
 * is whole. Bodies are passed through. Responses find their request by
 * counting: method HEAD and CONNECT change how a response ends (RFC 9112 6.3).
 */
#include "proto/http.h"

#define KINDS 64                      /* requests without response that are remembered */
#define MAX_RESYNC_LINE 8192          /* a start line that may end the search for one */
#define MAX_RESYNC (1024 * 1024)      /* bytes searched before a side is given up */
#define EVENT_BIT(event) (UINT64_C(1) << (event))

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_RESYNC, PHASE_WAIT, PHASE_TUNNEL };
enum role { ROLE_REQUEST, ROLE_RESPONSE };
enum kind { KIND_HEAD = 1, KIND_CONNECT = 2, KIND_NO_VERSION = 4 };

struct http_side {
    struct mb__hold hold;      /* a head, a size line or a line in pieces */
    struct mb__http_scan scan; /* of the head in |hold| */
    struct mb__http_body body;
    struct mb_http record;     /* of the message, for its body and end */
    enum phase phase;
    uint32_t skipped;          /* PHASE_RESYNC */
    bool mid_line;             /* PHASE_RESYNC: not at the start of a line */
};

struct http {
    struct http_side side[2];
    uint32_t requests;  /* heads seen */
    uint32_t responses; /* final responses that are over */
    uint8_t kinds[KINDS]; /* of request n at n % KINDS: enum kind bits */
    bool begun;
    bool swapped;       /* the flow's client is the HTTP server: seen from the middle */
};

/* One call of the parser. */
struct context {
    struct http *h;
    struct mb__proto_sink *sink;
    struct http_side *s;
    int side;
    enum role role;
};

static bool listens(const struct context *c, int event)
{
    return c->sink->wanted & EVENT_BIT(event);
}

static int anomaly(struct context *c)
{
    return c->sink->emit(c->sink, MB_EV_ANOMALY, c->side, NULL, NULL, 0);
}

static void drop_hold(struct context *c)
{
    mb__hold_free(&c->s->hold, c->sink->memory);
    c->s->scan = (struct mb__http_scan){0};
}

static struct context other_side(const struct context *c)
{
    return (struct context){c->h, c->sink, &c->h->side[!c->side], !c->side,
                            c->role == ROLE_REQUEST ? ROLE_RESPONSE : ROLE_REQUEST};
}

/* The search for the next start line begins. */
static int resync(struct context *c, bool mid_line)
{
    drop_hold(c);
    c->s->phase = PHASE_RESYNC;
    c->s->mid_line = mid_line;
    c->s->skipped = 0;
    return anomaly(c);
}

/* ---- messages ------------------------------------------------------------ */

static int put_body(void *arg, const uint8_t *data, size_t len)
{
    struct context *c = arg;
    int rc = 0;
    if (listens(c, MB_EV_HTTP_BODY))
        rc = c->sink->emit(c->sink, MB_EV_HTTP_BODY, c->side, &c->s->record, data, len);
    c->s->record.body_len += len;
    return rc;
}

static uint8_t kind_of(const struct http *h, uint32_t transaction)
{
    bool known = transaction < h->requests && h->requests - transaction <= KINDS;
    return known ? h->kinds[transaction % KINDS] : 0;
}

static int end_message(struct context *c);

/* What follows is not HTTP/1: a tunnel, another protocol. */
static int enter_tunnel(struct context *c)
{
    int rc = 0;
    if (c->s->phase == PHASE_BODY) {
        c->s->record.flags |= MB_HTTP_TRUNCATED;
        rc = end_message(c);
    }
    drop_hold(c);
    c->s->phase = PHASE_TUNNEL;
    return rc;
}

/* A response is over: where both sides go from there. */
static int after_response(struct context *c)
{
    uint32_t status = c->s->record.status;
    uint8_t kind = kind_of(c->h, c->s->record.transaction);
    struct context client = other_side(c);
    bool interim = status >= 100 && status < 200 && status != 101;
    bool tunnel = status == 101 || (kind & KIND_CONNECT && status >= 200 && status < 300);
    if (interim)
        return 0;
    c->h->responses++;
    if (tunnel) {
        c->s->phase = PHASE_TUNNEL;
        return enter_tunnel(&client);
    }
    if (kind & KIND_CONNECT && client.s->phase == PHASE_WAIT) {
        client.s->phase = PHASE_RESYNC; /* refused: requests go on */
        client.s->mid_line = false;
    }
    return 0;
}

static int end_message(struct context *c)
{
    struct http_side *s = c->s;
    int rc = mb__http_body_end(&s->body, &s->hold, c->sink->memory, &s->record.flags, put_body, c);
    s->scan = (struct mb__http_scan){0};
    bool connect = c->role == ROLE_REQUEST && kind_of(c->h, s->record.transaction) & KIND_CONNECT;
    s->phase = connect ? PHASE_WAIT : PHASE_HEAD;
    if (rc == 0 && listens(c, MB_EV_HTTP_END))
        rc = c->sink->emit(c->sink, MB_EV_HTTP_END, c->side, &s->record, NULL, 0);
    if (rc == 0 && c->role == ROLE_RESPONSE)
        rc = after_response(c);
    return rc;
}

/* Has the codings of the body undone, if anybody looks at it. */
static void set_codings(struct context *c, const enum mb__coding *codings, int count, uint32_t *flags)
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
static bool is_bodyless(const struct context *c, const struct mb_http *m)
{
    uint8_t kind = kind_of(c->h, m->transaction);
    return (m->status >= 100 && m->status < 200) || m->status == 204 || m->status == 304 || kind & KIND_HEAD ||
           (kind & KIND_CONNECT && m->status >= 200 && m->status < 300);
}

/* How the body of |head| ends (RFC 9112 6.3). */
static enum mb__http_framing framing_of(const struct context *c, struct mb__http_head *head, bool chunked, bool unknown)
{
    struct mb_http *m = &head->http;
    if (head->transfer_encoding.len > 0 && m->content_length >= 0)
        m->flags |= MB_HTTP_AMBIGUOUS_LENGTH;
    if (chunked) {
        m->flags |= MB_HTTP_CHUNKED;
        return MB__HTTP_CHUNKS;
    }
    bool response = c->role == ROLE_RESPONSE;
    if (response && (unknown || head->bad_length || m->content_length < 0))
        return MB__HTTP_UNTIL_CLOSE;
    return m->content_length >= 0 ? MB__HTTP_LENGTH : MB__HTTP_NO_BODY;
}

/* A head is known: tells of it and makes ready for the body. */
static int start_message(struct context *c, struct mb__http_head *head, enum mb__http_framing framing)
{
    struct http_side *s = c->s;
    struct mb_http *m = &head->http;
    bool request = c->role == ROLE_REQUEST;
    int event = request ? MB_EV_HTTP_REQUEST : MB_EV_HTTP_RESPONSE;
    s->record = (struct mb_http){
        .status = m->status,
        .transaction = m->transaction,
        .flags = m->flags,
        .content_length = m->content_length,
    };
    mb__http_body_start(&s->body, framing, m->content_length > 0 ? (uint64_t)m->content_length : 0);
    s->phase = PHASE_BODY;
    int rc = listens(c, event) ? c->sink->emit(c->sink, (uint32_t)event, c->side, m, NULL, 0) : 0;
    return rc == 0 && s->body.done ? end_message(c) : rc;
}

/* A request gets the next number; it is told what its response needs to know. */
static void number_request(struct http *h, struct mb__http_head *head)
{
    if (h->requests < h->responses)
        h->requests = h->responses; /* responses seen without their requests */
    uint32_t n = h->requests++;
    head->http.transaction = n;
    h->kinds[n % KINDS] = (uint8_t)((head->head ? KIND_HEAD : 0) | (head->connect ? KIND_CONNECT : 0) |
                                    (head->http.flags & MB_HTTP_NO_VERSION ? KIND_NO_VERSION : 0));
}

static int whole_head(struct context *c, const uint8_t *p, size_t len, bool truncated)
{
    struct mb__http_head head;
    enum mb__coding codings[MB__INFLATE_LAYERS];
    bool chunked = false, unknown = false;
    bool request = c->role == ROLE_REQUEST;
    if (request) {
        mb__http_read_request(p, len, &head);
        if (!mb__http_is_request_line(head.http.start_line.data, head.http.start_line.len, false))
            return resync(c, false);
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
        framing = framing_of(c, &head, chunked, unknown && head.transfer_encoding.len > 0);
        if (framing != MB__HTTP_NO_BODY)
            set_codings(c, codings, count, &head.http.flags);
    }
    return start_message(c, &head, framing);
}

/* ---- heads in pieces ----------------------------------------------------- */

/* A server's bytes are no status line: the content of HTTP/0.9 if a request
 * waits for a response, else nobody knows. */
static int no_status_line(struct context *c, const uint8_t *held, size_t len)
{
    struct http *h = c->h;
    struct mb__http_head head = {.http = {.flags = MB_HTTP_NO_VERSION, .content_length = -1}};
    if (h->responses >= h->requests)
        return resync(c, true);
    if (!(kind_of(h, h->responses) & KIND_NO_VERSION))
        head.http.flags |= MB_HTTP_BAD;
    head.http.transaction = h->responses;
    int rc = start_message(c, &head, MB__HTTP_UNTIL_CLOSE);
    return rc == 0 && len > 0 ? put_body(c, held, len) : rc;
}

/* White space before a head is passed over. */
static void skip_space(const uint8_t **data, size_t *len)
{
    while (*len > 0 && mb__http_is_space(**data)) {
        ++*data;
        --*len;
    }
}

static bool hold(struct context *c, const uint8_t **data, size_t *len, size_t n)
{
    bool held = mb__hold_add(&c->s->hold, c->sink->memory, *data, n);
    *data += n;
    *len -= n;
    return held;
}

/* A head begins at |*data|, nothing is held. */
static int head_begins(struct context *c, const uint8_t **data, size_t *len)
{
    bool response = c->role == ROLE_RESPONSE;
    skip_space(data, len);
    if (*len == 0)
        return 0;
    if (response && mb__http_is_status_line(*data, *len) == MB__PROBE_NO)
        return no_status_line(c, NULL, 0);
    if (!response && (**data < '!' || **data > '~'))
        return resync(c, false);
    c->s->scan = (struct mb__http_scan){0};
    size_t most = *len < MB__PROTO_MAX_HOLD ? *len : MB__PROTO_MAX_HOLD;
    size_t end = mb__http_head_end(&c->s->scan, *data, most, response);
    if (end > 0 && end < MB__PROTO_MAX_HOLD) {
        const uint8_t *head = *data;
        *data += end;
        *len -= end;
        return whole_head(c, head, end, false);
    }
    if (most == MB__PROTO_MAX_HOLD) {
        *data += most;
        *len -= most;
        return resync(c, true);
    }
    return hold(c, data, len, *len) ? 0 : resync(c, true);
}

/* The first bytes of a status line, one by one, until they are. */
static int status_in_pieces(struct context *c, const uint8_t **data, size_t *len)
{
    struct mb__hold *h = &c->s->hold;
    while (*len > 0 && mb__http_is_status_line(h->data, h->len) == MB__PROBE_MORE) {
        if (!hold(c, data, len, 1))
            return resync(c, true);
    }
    if (mb__http_is_status_line(h->data, h->len) != MB__PROBE_NO)
        return 0;
    int rc = no_status_line(c, h->data, h->len);
    if (c->s->phase != PHASE_RESYNC)
        drop_hold(c);
    return rc;
}

/* More of a head of which some is held: as far as the next line end. */
static int head_goes_on(struct context *c, const uint8_t **data, size_t *len)
{
    struct http_side *s = c->s;
    bool response = c->role == ROLE_RESPONSE;
    if (response && mb__http_is_status_line(s->hold.data, s->hold.len) == MB__PROBE_MORE)
        return status_in_pieces(c, data, len);
    const uint8_t *lf = memchr(*data, '\n', *len);
    size_t n = lf != NULL ? (size_t)(lf - *data) + 1 : *len;
    size_t room = MB__PROTO_MAX_HOLD - s->hold.len;
    if (!hold(c, data, len, n < room ? n : room))
        return resync(c, true);
    size_t end = mb__http_head_end(&s->scan, s->hold.data, s->hold.len, response);
    if (end > 0 && end < MB__PROTO_MAX_HOLD) {
        size_t extra = s->hold.len - end; /* looked at to tell, not part of it */
        *data -= extra;
        *len += extra;
        struct mb__hold head = s->hold;
        s->hold = (struct mb__hold){0};
        int rc = whole_head(c, head.data, end, false);
        mb__hold_free(&head, c->sink->memory);
        return rc;
    }
    return s->hold.len == MB__PROTO_MAX_HOLD ? resync(c, true) : 0;
}

/* ---- after something was lost -------------------------------------------- */

static void skip(struct context *c, const uint8_t **data, size_t *len, size_t n)
{
    *data += n;
    *len -= n;
    c->s->skipped += n < MAX_RESYNC ? (uint32_t)n : MAX_RESYNC;
}

/* Whether a line that begins with |b| can be a start line. */
static bool may_start(const struct context *c, uint8_t b)
{
    return c->role == ROLE_RESPONSE ? b == 'H' || b == 'h' : b >= 'A' && b <= 'Z';
}

static bool is_start_line(const struct context *c, const uint8_t *line, size_t len)
{
    if (c->role == ROLE_REQUEST)
        return mb__http_is_request_line(line, len, true);
    return mb__http_is_status_line(line, len) == MB__PROBE_YES && len > 5 && line[5] >= '0' && line[5] <= '9';
}

/* Takes bytes to the end of a line. */
static void skip_line(struct context *c, const uint8_t **data, size_t *len)
{
    const uint8_t *lf = memchr(*data, '\n', *len);
    skip(c, data, len, lf != NULL ? (size_t)(lf - *data) + 1 : *len);
    c->s->mid_line = lf == NULL;
    if (lf != NULL && c->s->skipped >= MAX_RESYNC)
        c->s->phase = PHASE_TUNNEL;
}

static int resync_bytes(struct context *c, const uint8_t **data, size_t *len)
{
    struct http_side *s = c->s;
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
            return resync(c, lf == NULL);
        line = s->hold.data;
        line_len = s->hold.len;
    }
    if (lf == NULL)
        return 0;
    if (is_start_line(c, line, line_len)) {
        s->phase = PHASE_HEAD; /* with the line held, or not yet taken */
    } else {
        if (direct)
            skip(c, data, len, n);
        drop_hold(c);
    }
    return 0;
}

/* ---- the parser ---------------------------------------------------------- */

static int body_bytes(struct context *c, const uint8_t **data, size_t *len)
{
    struct http_side *s = c->s;
    int rc = mb__http_body_data(&s->body, &s->hold, c->sink->memory, data, len, &s->record.flags, put_body, c);
    return rc == 0 && s->body.done ? end_message(c) : rc;
}

static struct context context(void *state, struct mb__proto_sink *sink, int side)
{
    struct http *h = state;
    return (struct context){h, sink, &h->side[side], side, (side == MB_SERVER) != h->swapped ? ROLE_RESPONSE : ROLE_REQUEST};
}

/* The first bytes tell which side asks: a flow that was met in its middle may
 * have its sides the wrong way round. */
static void begin(struct http *h, int side, const uint8_t *data, size_t len)
{
    skip_space(&data, &len);
    bool status = mb__http_is_status_line(data, len) == MB__PROBE_YES;
    bool method = mb__http_is_method(data, len) == MB__PROBE_YES;
    h->swapped = side == MB_CLIENT ? status : method;
    h->begun = true;
}

static int http_data(void *state, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct http *h = state;
    int rc = 0;
    if (!h->begun)
        begin(h, side, data, len);
    struct context c = context(state, sink, side);
    while (rc == 0 && len > 0) {
        switch (c.s->phase) {
        case PHASE_HEAD:
            rc = c.s->hold.len == 0 ? head_begins(&c, &data, &len) : head_goes_on(&c, &data, &len);
            break;
        case PHASE_BODY:
            rc = body_bytes(&c, &data, &len);
            break;
        case PHASE_RESYNC:
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
    struct context c = context(state, sink, side);
    struct http_side *s = c.s;
    if (s->phase == PHASE_HEAD || s->phase == PHASE_RESYNC)
        return resync(&c, false);
    if (s->phase != PHASE_BODY)
        return 0;
    s->record.flags |= MB_HTTP_TRUNCATED;
    bool known = mb__http_body_gap(&s->body, sink->memory, len);
    if (known && !s->body.done)
        return 0;
    int rc = end_message(&c);
    return rc == 0 && !known && s->phase == PHASE_HEAD ? resync(&c, false) : rc;
}

/* A head that the stream ends in. */
static int cut_head(struct context *c)
{
    struct mb__hold head = c->s->hold;
    c->s->hold = (struct mb__hold){0};
    bool response = c->role == ROLE_RESPONSE;
    bool is_head = response ? mb__http_is_status_line(head.data, head.len) == MB__PROBE_YES
                            : mb__http_is_request_line(head.data, head.len, true);
    int rc = is_head ? whole_head(c, head.data, head.len, true) : 0;
    mb__hold_free(&head, c->sink->memory);
    return rc;
}

static int http_end(void *state, struct mb__proto_sink *sink, int side)
{
    struct context c = context(state, sink, side);
    struct http_side *s = c.s;
    int rc = 0;
    if (s->phase == PHASE_HEAD && s->hold.len > 0) {
        rc = cut_head(&c);
    } else if (s->phase == PHASE_BODY) {
        bool trailer = s->body.framing == MB__HTTP_CHUNKS && s->body.chunk == MB__CHUNK_TRAILER;
        if (s->body.framing != MB__HTTP_UNTIL_CLOSE && !trailer)
            s->record.flags |= MB_HTTP_TRUNCATED;
        rc = end_message(&c);
    }
    drop_hold(&c);
    s->phase = PHASE_TUNNEL;
    return rc;
}

static void *http_create(struct mb__proto_sink *sink, bool datagram)
{
    (void)datagram;
    struct http *h = mb__memory_alloc(sink->memory, sizeof *h);
    if (h != NULL)
        memset(h, 0, sizeof *h);
    return h;
}

static void http_destroy(void *state, struct mb__proto_sink *sink)
{
    struct http *h = state;
    for (int side = 0; side < 2; side++) {
        mb__hold_free(&h->side[side].hold, sink->memory);
        mb__inflate_free(&h->side[side].body.inflate, sink->memory);
    }
    mb__memory_free(sink->memory, h, sizeof *h);
}

static bool http_done(const void *state)
{
    const struct http *h = state;
    return h->side[0].phase == PHASE_TUNNEL && h->side[1].phase == PHASE_TUNNEL;
}

/* ---- probe --------------------------------------------------------------- */

/* A request line by its shape: printable, ending in a version. */
static enum mb__probe probe_line(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] != '\n') {
        if (p[n] != '\t' && p[n] != '\r' && (p[n] < 0x20 || p[n] == 0x7f))
            return MB__PROBE_NO;
        n++;
    }
    if (n == len)
        return MB__PROBE_MORE;
    return mb__http_is_request_line(p, n, true) ? MB__PROBE_YES : MB__PROBE_NO;
}

/* A method may begin with a letter and goes on to a space. */
static bool may_be_method(const uint8_t *p, size_t len)
{
    if (*p < 'A' || *p > 'Z')
        return false;
    for (size_t i = 0; i < len && p[i] != ' ' && p[i] != '\t'; i++)
        if (p[i] < '!' || p[i] > '~' || i == 32)
            return false;
    return true;
}

/* A known method, blanks, a slash. */
static bool has_path(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] > ' ')
        n++;
    if (n == len || p[n] != ' ' || mb__http_is_method(p, n + 1) != MB__PROBE_YES)
        return false;
    while (n < len && p[n] == ' ')
        n++;
    return n < len && p[n] == '/';
}

static enum mb__probe http_probe(int side, const uint8_t *data, size_t len, bool datagram)
{
    static const char http2[] = "PRI * HTTP/2";
    (void)side, (void)datagram;
    skip_space(&data, &len);
    if (len == 0)
        return MB__PROBE_MORE;
    enum mb__probe status = mb__http_is_status_line(data, len);
    if (status != MB__PROBE_NO)
        return status;
    if (!may_be_method(data, len))
        return MB__PROBE_NO;
    size_t n = len < sizeof http2 - 1 ? len : sizeof http2 - 1;
    if (memcmp(data, http2, n) == 0)
        return n < sizeof http2 - 1 ? MB__PROBE_MORE : MB__PROBE_NO;
    if (has_path(data, len))
        return MB__PROBE_YES; /* others have such methods too, but not such targets */
    return probe_line(data, len);
}

const struct mb__proto mb__proto_http = {
    .app = MB_APP_HTTP,
    .streams = true,
    .events = EVENT_BIT(MB_EV_HTTP_REQUEST) | EVENT_BIT(MB_EV_HTTP_RESPONSE) | EVENT_BIT(MB_EV_HTTP_BODY) |
              EVENT_BIT(MB_EV_HTTP_END),
    .probe = http_probe,
    .create = http_create,
    .data = http_data,
    .gap = http_gap,
    .end = http_end,
    .done = http_done,
    .destroy = http_destroy,
};
