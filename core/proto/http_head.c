/* SPDX-License-Identifier: BSD-3-Clause */
/* http_head -- a head as browsers read it: request or status line, fields
 *
 *   start line        CRLF, or LF alone; in responses a CR alone ends a line too
 *   name: value
 *    folded value     belongs to the line before
 *   (empty line)
 *
 * Sources: RFC 9112 2.2, 3, 4, 5; where a browser takes more than it allows, so
 * does this, and says MB_HTTP_BAD. Lines are found with memchr; nothing is
 * copied: views of folded values have their line ends inside.
 */
#include <strings.h>

#include "base/cursor.h"
#include "proto/http.h"

/* ---- finding the end ----------------------------------------------------- */

/* A line of one blank, LF without CR, ends the head of a response unless an
 * empty line follows: browsers differ, and this way both bodies are seen.
 * 1: end, 0: not, -1: the next byte decides. */
static int blank_line_ends(const uint8_t *p, size_t len, size_t next)
{
    if (next == len)
        return -1;
    return p[next] != '\n' && p[next] != '\r';
}

/* The last " HTTP/" of a request line: where "HTTP/" begins. NULL: none. */
static const uint8_t *find_version(const uint8_t *line, const uint8_t *end)
{
    for (const uint8_t *p = end; p - line >= 6; p--) {
        const uint8_t *at = p - 5;
        if (*at == 'H' || *at == 'h')
            if (mb__http_is_space(at[-1]) && strncasecmp((const char *)at, "HTTP/", 5) == 0)
                return at;
    }
    return NULL;
}

size_t mb__http_head_end(struct mb__http_scan *s, const uint8_t *p, size_t len, bool response)
{
    const uint8_t *lf;
    while (s->scanned < len && (lf = memchr(p + s->scanned, '\n', len - s->scanned)) != NULL) {
        size_t next = (size_t)(lf - p) + 1;
        const uint8_t *line = p + s->line, *end = lf;
        while (end > line && end[-1] == '\r')
            end--;
        if (end == line)
            return next;
        if (response && lf - line == 1 && (*line == ' ' || *line == '\t')) {
            int ends = blank_line_ends(p, len, next);
            if (ends < 0) {
                s->scanned = (uint32_t)(lf - p);
                return 0;
            }
            if (ends > 0)
                return next;
        }
        if (!response && s->line == 0 && find_version(line, end) == NULL)
            return next; /* HTTP/0.9: there is only this line */
        s->line = s->scanned = (uint32_t)next;
    }
    s->scanned = (uint32_t)len;
    return 0;
}

/* ---- views --------------------------------------------------------------- */

static struct mb_view between(const uint8_t *at, const uint8_t *end)
{
    while (at < end && mb__http_is_space(*at))
        at++;
    while (end > at && mb__http_is_space(end[-1]))
        end--;
    return (struct mb_view){at, (uint32_t)(end - at)};
}

static bool is(const struct mb_view *v, const char *name, size_t len)
{
    return v->len == len && strncasecmp((const char *)v->data, name, len) == 0;
}
#define IS(view, literal) is(view, literal, sizeof(literal) - 1)

/* ---- start lines --------------------------------------------------------- */

enum mb__probe mb__http_is_status_line(const uint8_t *p, size_t len)
{
    static const char start[] = "http/";
    for (size_t i = 0; i < sizeof start - 1; i++) {
        if (i == len)
            return MB__PROBE_MORE;
        uint8_t lower = p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i];
        if (lower != (uint8_t)start[i])
            return MB__PROBE_NO;
    }
    return MB__PROBE_YES;
}

enum mb__probe mb__http_is_method(const uint8_t *p, size_t len)
{
    static const char *const methods[] = {
        "GET",    "POST",     "HEAD",      "PUT",    "DELETE", "OPTIONS", "CONNECT",  "TRACE",  "PATCH",   "PROPFIND",
        "MKCOL",  "PROPPATCH", "COPY",     "MOVE",   "LOCK",   "UNLOCK",  "SEARCH",   "REPORT", "NOTIFY",  "SUBSCRIBE",
        "M-SEARCH", "UNSUBSCRIBE", "MERGE", "CHECKOUT", "LABEL", "VERSION-CONTROL", "ACL", "BIND", "RPC_IN_DATA",
        "RPC_OUT_DATA", "BITS_POST", "CCM_POST", "SOURCE", "ANNOUNCE", "PURGE",
    };
    enum mb__probe answer = MB__PROBE_NO;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        size_t n = strlen(methods[i]), m = len < n ? len : n;
        if (m > 0 && memcmp(p, methods[i], m) != 0)
            continue;
        if (len <= n)
            answer = MB__PROBE_MORE;
        else if (p[n] == ' ' || p[n] == '\t')
            return MB__PROBE_YES;
    }
    return answer;
}

static bool is_token_byte(uint8_t b)
{
    return b > 0x20 && b < 0x7f;
}

bool mb__http_is_request_line(const uint8_t *line, size_t len, bool versioned)
{
    size_t n = 0;
    while (n < len && is_token_byte(line[n]))
        n++;
    if (n == 0 || n == len || n > 32)
        return false;
    if (find_version(line, line + len) != NULL)
        return true;
    return !versioned && mb__http_is_method(line, len) == MB__PROBE_YES;
}

/* Host and path of a request target (RFC 9112 3.2). */
static void read_target(struct mb__http_head *h)
{
    struct mb_view t = h->http.target;
    const uint8_t *at = t.data, *end = t.data + t.len, *p;
    if (h->connect) { /* authority-form */
        h->http.host = t;
        return;
    }
    h->http.path = t;
    bool absolute = t.len > 7 && (strncasecmp((const char *)at, "http://", 7) == 0 ||
                                  (t.len > 8 && strncasecmp((const char *)at, "https://", 8) == 0));
    if (!absolute)
        return;
    at = (const uint8_t *)memchr(at, '/', t.len) + 2;
    for (p = at; p < end && *p != '/' && *p != '?' && *p != '#'; p++)
        ;
    h->http.host = (struct mb_view){at, (uint32_t)(p - at)};
    h->http.path = (struct mb_view){p, (uint32_t)(end - p)};
}

static void read_request_line(const uint8_t *line, const uint8_t *end, struct mb__http_head *h)
{
    struct mb_http *m = &h->http;
    const uint8_t *p = line, *version = find_version(line, end);
    while (p < end && !mb__http_is_space(*p))
        p++;
    m->method = (struct mb_view){line, (uint32_t)(p - line)};
    m->target = between(p, version != NULL ? version : end);
    if (version != NULL)
        m->version = between(version, end);
    else
        m->flags |= MB_HTTP_NO_VERSION;
    if (m->version.len != 8 && version != NULL)
        m->flags |= MB_HTTP_BAD;
    h->connect = IS(&m->method, "CONNECT");
    h->head = IS(&m->method, "HEAD");
    read_target(h);
}

static void read_status_line(const uint8_t *line, const uint8_t *end, struct mb__http_head *h)
{
    struct mb_http *m = &h->http;
    const uint8_t *p = line, *digits;
    while (p < end && !mb__http_is_space(*p))
        p++;
    m->version = (struct mb_view){line, (uint32_t)(p - line)};
    while (p < end && mb__http_is_space(*p))
        p++;
    for (digits = p; p < end && *p >= '0' && *p <= '9' && p - digits < 6; p++)
        m->status = m->status * 10 + (*p - '0');
    if (p < end && !mb__http_is_space(*p))
        m->status = 0;
    if (m->status < 100 || m->status > 999 || m->version.len != 8)
        m->flags |= MB_HTTP_BAD;
    while (m->status == 0 && p < end && !mb__http_is_space(*p))
        p++;
    m->reason = between(p, end);
}

/* ---- fields -------------------------------------------------------------- */

/* One Content-Length value: a number, or the same number in a list. */
static bool read_length(const struct mb_view *v, int64_t *out)
{
    int64_t first = -1, n = -1;
    for (uint32_t i = 0; i <= v->len; i++) {
        uint8_t b = i < v->len ? v->data[i] : ',';
        if (b >= '0' && b <= '9') {
            if (n > (INT64_MAX - 9) / 10)
                return false;
            n = (n < 0 ? 0 : n * 10) + (b - '0');
        } else if (b == ',') {
            if (n < 0 || (first >= 0 && n != first))
                return false;
            first = n;
            n = -1;
        } else {
            return false;
        }
    }
    *out = first;
    return true;
}

static void on_content_length(struct mb__http_head *h, const struct mb_view *value)
{
    int64_t length;
    if (!read_length(value, &length)) {
        h->bad_length = true;
        h->http.flags |= MB_HTTP_BAD | MB_HTTP_AMBIGUOUS_LENGTH;
    } else if (h->http.content_length >= 0) {
        h->http.flags |= MB_HTTP_AMBIGUOUS_LENGTH; /* the first counts */
    } else {
        h->http.content_length = length;
    }
}

/* The host without its port. */
static struct mb_view host_of(struct mb_view v)
{
    if (v.len == 0)
        return v;
    const uint8_t *at = v.data, *bracket = NULL;
    if (*at == '[')
        bracket = memchr(at, ']', v.len);
    const uint8_t *from = bracket != NULL ? bracket : at;
    const uint8_t *colon = memchr(from, ':', v.len - (size_t)(from - at));
    if (colon != NULL)
        v.len = (uint32_t)(colon - at);
    return v;
}

/* A repeated field is one list (RFC 9110 5.3). */
static void add_value(struct mb__http_values *v, const struct mb_view *value)
{
    if (v->count < MB__HTTP_MAX_CODINGS)
        v->value[v->count++] = *value;
}

/* What a field means for the message. */
static void on_field(struct mb__http_head *h, const struct mb_http_header *f)
{
    switch (f->name.len) {
    case 4:
        if (h->http.host.len == 0 && IS(&f->name, "Host"))
            h->http.host = f->value;
        break;
    case 14:
        if (IS(&f->name, "Content-Length"))
            on_content_length(h, &f->value);
        break;
    case 16:
        if (IS(&f->name, "Content-Encoding"))
            add_value(&h->content_encoding, &f->value);
        break;
    case 17:
        if (IS(&f->name, "Transfer-Encoding"))
            add_value(&h->transfer_encoding, &f->value);
        break;
    default:
        break;
    }
}

/* A field from |line| to |end|, folded lines included. */
static void read_field(const uint8_t *line, const uint8_t *end, struct mb__http_head *h)
{
    struct mb_http_header f = {{line, 0}, {0}};
    const uint8_t *colon = memchr(line, ':', (size_t)(end - line));
    if (colon != NULL) {
        f.name = between(line, colon);
        f.value = between(colon + 1, end);
        if (colon == line || mb__http_is_space(colon[-1]) || mb__http_is_space(*line))
            h->http.flags |= MB_HTTP_BAD;
    } else {
        f.value = between(line, end);
        if (f.value.len == 0)
            return;
        h->http.flags |= MB_HTTP_BAD;
    }
    on_field(h, &f);
    if (h->http.header_count < MB__HTTP_MAX_HEADERS)
        h->fields[h->http.header_count++] = f;
}

/* Where the line at |at| ends (line end left out) and, in |*next|, the next
 * begins. A CR alone ends a line of a response. */
static const uint8_t *line_end(const uint8_t *at, const uint8_t *end, bool response, const uint8_t **next)
{
    const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
    const uint8_t *stop = lf != NULL ? lf : end;
    *next = lf != NULL ? lf + 1 : end;
    while (stop > at && stop[-1] == '\r')
        stop--;
    const uint8_t *cr = response ? memchr(at, '\r', (size_t)(stop - at)) : NULL;
    if (cr != NULL && cr > at) {
        *next = cr + 1;
        stop = cr;
    }
    return stop;
}

static bool is_folded(const uint8_t *at, const uint8_t *end)
{
    return at < end && (*at == ' ' || *at == '\t');
}

/* Lines from |at|, each field with the lines folded to it. */
static void read_fields(const uint8_t *at, const uint8_t *end, bool response, struct mb__http_head *h)
{
    const uint8_t *first = at;
    while (at < end) {
        const uint8_t *line = at, *next, *stop = line_end(at, end, response, &next);
        if (stop == line)
            break; /* the empty line */
        for (at = next; is_folded(at, end); at = next) {
            stop = line_end(at, end, response, &next);
            h->http.flags |= MB_HTTP_FOLDED;
        }
        if (*line == '\r') { /* a CR that ends nothing */
            line++;
            h->http.flags |= MB_HTTP_BAD;
        }
        read_field(line, stop, h);
    }
    h->http.raw_headers = (struct mb_view){first, (uint32_t)(at - first)};
}

static void read_head(const uint8_t *p, size_t len, bool response, struct mb__http_head *h)
{
    const uint8_t *next, *stop = line_end(p, p + len, response, &next);
    memset(h, 0, offsetof(struct mb__http_head, fields));
    h->transfer_encoding.count = h->content_encoding.count = 0;
    h->bad_length = h->connect = h->head = false;
    h->http.headers = h->fields;
    h->http.content_length = -1;
    h->http.start_line = (struct mb_view){p, (uint32_t)(stop - p)};
    if (response)
        read_status_line(p, stop, h);
    else
        read_request_line(p, stop, h);
    read_fields(next, p + len, response, h);
    h->http.host = host_of(h->http.host);
}

void mb__http_read_request(const uint8_t *p, size_t len, struct mb__http_head *h)
{
    read_head(p, len, false, h);
}

void mb__http_read_response(const uint8_t *p, size_t len, struct mb__http_head *h)
{
    read_head(p, len, true, h);
}

/* ---- codings ------------------------------------------------------------- */

enum coding_name { NAME_EMPTY, NAME_UNKNOWN, NAME_IDENTITY, NAME_CHUNKED, NAME_GZIP, NAME_DEFLATE };

/* Compares without case, passing over zero bytes: browsers do. */
static bool same_coding(const uint8_t *at, const uint8_t *end, const char *name)
{
    for (; at < end; at++) {
        if (*at == 0)
            continue;
        uint8_t lower = *at >= 'A' && *at <= 'Z' ? *at + 32 : *at;
        if (lower != (uint8_t)*name++)
            return false; /* the end of the name too */
    }
    return *name == '\0';
}

/* One member of a list of codings, parameters left out. */
static enum coding_name coding_name(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *semicolon = memchr(at, ';', (size_t)(end - at));
    struct mb_view v = between(at, semicolon != NULL ? semicolon : end);
    at = v.data;
    end = v.data + v.len;
    if (v.len == 0)
        return NAME_EMPTY;
    if (same_coding(at, end, "chunked"))
        return NAME_CHUNKED;
    if (same_coding(at, end, "gzip") || same_coding(at, end, "x-gzip"))
        return NAME_GZIP;
    if (same_coding(at, end, "deflate") || same_coding(at, end, "x-deflate"))
        return NAME_DEFLATE;
    return same_coding(at, end, "identity") ? NAME_IDENTITY : NAME_UNKNOWN;
}

struct codings {
    enum mb__coding *list;
    int count;
    bool chunked;
    bool unknown;
};

static void add_coding(struct codings *c, enum coding_name name)
{
    if (name == NAME_CHUNKED)
        c->chunked = true;
    else if (name == NAME_UNKNOWN)
        c->unknown = true; /* what is inside cannot be undone */
    else if (name >= NAME_GZIP && !c->unknown && c->count < MB__INFLATE_LAYERS)
        c->list[c->count++] = name == NAME_GZIP ? MB__CODING_GZIP : MB__CODING_DEFLATE;
}

/* Adds the codings of a list; the last, which is the outermost, first. */
static void add_list(struct codings *c, const struct mb_view *v)
{
    const uint8_t *comma, *end = v->data + v->len;
    if (v->len == 0)
        return;
    do {
        comma = memrchr(v->data, ',', (size_t)(end - v->data));
        add_coding(c, coding_name(comma != NULL ? comma + 1 : v->data, end));
        end = comma;
    } while (comma != NULL);
}

static void add_fields(struct codings *c, const struct mb__http_values *fields)
{
    for (uint32_t i = fields->count; i > 0; i--)
        add_list(c, &fields->value[i - 1]);
}

int mb__http_codings(const struct mb__http_head *h, enum mb__coding codings[MB__INFLATE_LAYERS], bool *chunked,
                     bool *unknown)
{
    struct codings c = {codings, 0, false, false};
    add_fields(&c, &h->transfer_encoding);
    *unknown = c.unknown;
    *chunked = c.chunked;
    c.unknown = false; /* nobody has other transfer codings: browsers pass over the name */
    add_fields(&c, &h->content_encoding); /* chunks make no sense there */
    return c.count;
}
