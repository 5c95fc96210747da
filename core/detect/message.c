/* SPDX-License-Identifier: BSD-3-Clause */
/* message -- HTTP, TLS, DNS and SSH records into buffers */
#include "detect/message.h"

#include <string.h>
#include <strings.h>

static struct mb_view text_view(const char *text)
{
    return (struct mb_view){(const uint8_t *)text, (uint32_t)strlen(text)};
}

/* Copies |v| and makes it a buffer. */
static struct mb_view put(struct mb__part *p, const struct mb_rules *r, int base, struct mb_view v)
{
    if (v.len == 0 || !r->uses[base])
        return v;
    struct mb_view copy = mb__part_copy(p, v);
    if (copy.len > 0)
        mb__part_put(p, r, base, copy);
    return copy;
}

/* ---- HTTP ----------------------------------------------------------------- */

static bool name_is(struct mb_view v, const char *name)
{
    return v.len == strlen(name) && strncasecmp((const char *)v.data, name, v.len) == 0;
}

struct mb_view mb__url_path(struct mb_view url)
{
    const uint8_t *query = url.len > 0 ? memchr(url.data, '?', url.len) : NULL;
    if (query != NULL)
        url.len = (uint32_t)(query - url.data);
    return url;
}

struct mb_view mb__http_field(const struct mb_http *h, const char *name)
{
    for (uint32_t i = 0; i < h->header_count; i++)
        if (name_is(h->headers[i].name, name))
            return h->headers[i].value;
    return (struct mb_view){NULL, 0};
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the last segment of out[0, n) away: "/a/b" becomes "/a". */
static uint32_t parent(const uint8_t *out, uint32_t n)
{
    while (n > 0 && out[n - 1] != '/')
        n--;
    return n > 0 ? n - 1 : 0;
}

/* A segment "." or ".." that ends at |n| is undone (RFC 3986 5.2.4). */
static uint32_t undo_dots(const uint8_t *out, uint32_t n)
{
    if (n >= 3 && memcmp(out + n - 3, "/..", 3) == 0)
        return parent(out, n - 3);
    if (n >= 2 && memcmp(out + n - 2, "/.", 2) == 0)
        return n - 2;
    return n;
}

uint32_t mb__http_normalise(struct mb_view path, uint8_t *out)
{
    uint32_t n = 0;
    bool query = false;
    for (uint32_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i];
        bool escaped = c == '%' && path.len - i > 2 && hex_digit(path.data[i + 1]) >= 0 &&
                       hex_digit(path.data[i + 2]) >= 0;
        if (escaped) {
            c = (uint8_t)(hex_digit(path.data[i + 1]) << 4 | hex_digit(path.data[i + 2]));
            i += 2;
        }
        if (!query && ((c == '?' && !escaped) || c == '/'))
            n = undo_dots(out, n);
        if (!query && c == '/' && n > 0 && out[n - 1] == '/')
            continue;
        query |= c == '?' && !escaped;
        out[n++] = c;
    }
    return query ? n : undo_dots(out, n);
}

static void put_uri(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h)
{
    struct mb_view path = h->path.len > 0 ? h->path : h->target;
    if (!r->uses[MB_BUF_HTTP_URI] || path.len == 0)
        return;
    uint8_t *out = mb__part_room(p, path.len);
    if (out != NULL)
        mb__part_put(p, r, MB_BUF_HTTP_URI, (struct mb_view){out, mb__http_normalise(path, out)});
}

static void put_host(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h)
{
    struct mb_view host = mb__part_copy(p, h->host);
    uint8_t *bytes = (uint8_t *)(uintptr_t)host.data;
    for (uint32_t i = 0; i < host.len; i++)
        if (bytes[i] >= 'A' && bytes[i] <= 'Z')
            bytes[i] = (uint8_t)(bytes[i] + 32);
    if (host.len > 0)
        mb__part_put(p, r, MB_BUF_HTTP_HOST, host);
}

static uint8_t *append(uint8_t *at, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

/* "Name: value" of each field but cookies, a line each. */
static void put_header(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h)
{
    uint64_t len = 0;
    for (uint32_t i = 0; i < h->header_count; i++)
        len += (uint64_t)h->headers[i].name.len + h->headers[i].value.len + 4;
    uint8_t *out = r->uses[MB_BUF_HTTP_HEADER] && len > 0 && len < MB__PART_BYTES ? mb__part_room(p, (uint32_t)len)
                                                                                 : NULL;
    if (out == NULL)
        return;
    uint8_t *at = out;
    for (uint32_t i = 0; i < h->header_count; i++) {
        const struct mb_http_header *f = &h->headers[i];
        if (name_is(f->name, "cookie") || name_is(f->name, "set-cookie"))
            continue;
        at = append(at, f->name.data, f->name.len);
        at = append(at, ": ", 2);
        at = append(at, f->value.data, f->value.len);
        at = append(at, "\r\n", 2);
    }
    mb__part_put(p, r, MB_BUF_HTTP_HEADER, (struct mb_view){out, (uint32_t)(at - out)});
}

/* Each field by itself, "Name: value". */
static void put_fields(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h, int base)
{
    for (uint32_t i = 0; i < h->header_count && r->uses[base]; i++) {
        const struct mb_http_header *f = &h->headers[i];
        uint32_t len = f->name.len + f->value.len + 2;
        uint8_t *out = mb__part_room(p, len);
        if (out == NULL)
            return;
        uint8_t *at = append(out, f->name.data, f->name.len);
        at = append(at, ": ", 2);
        append(at, f->value.data, f->value.len);
        mb__part_put(p, r, base, (struct mb_view){out, len});
    }
}

/* Names of the fields: CRLF, each with a CRLF, CRLF. */
static void put_names(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h)
{
    uint64_t len = 4;
    for (uint32_t i = 0; i < h->header_count; i++)
        len += (uint64_t)h->headers[i].name.len + 2;
    uint8_t *out =
        r->uses[MB_BUF_HTTP_HEADER_NAMES] && len < MB__PART_BYTES ? mb__part_room(p, (uint32_t)len) : NULL;
    if (out == NULL)
        return;
    uint8_t *at = append(out, "\r\n", 2);
    for (uint32_t i = 0; i < h->header_count; i++) {
        at = append(at, h->headers[i].name.data, h->headers[i].name.len);
        at = append(at, "\r\n", 2);
    }
    at = append(at, "\r\n", 2);
    mb__part_put(p, r, MB_BUF_HTTP_HEADER_NAMES, (struct mb_view){out, (uint32_t)(at - out)});
}

/* Start line and header block as on the wire. */
static void put_start(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h)
{
    uint64_t len = (uint64_t)h->start_line.len + h->raw_headers.len + 4;
    uint8_t *out = r->uses[MB_BUF_HTTP_START] && len < MB__PART_BYTES ? mb__part_room(p, (uint32_t)len) : NULL;
    if (out == NULL)
        return;
    uint8_t *at = append(out, h->start_line.data, h->start_line.len);
    at = append(at, "\r\n", 2);
    at = append(at, h->raw_headers.data, h->raw_headers.len);
    at = append(at, "\r\n", 2);
    mb__part_put(p, r, MB_BUF_HTTP_START, (struct mb_view){out, (uint32_t)(at - out)});
}

struct field_buffer {
    const char *name;
    int base;
};

static void put_named(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h,
                      const struct field_buffer *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (r->uses[list[i].base])
            put(p, r, list[i].base, mb__http_field(h, list[i].name));
}

static const struct field_buffer request_fields[] = {
    {"user-agent", MB_BUF_HTTP_USER_AGENT},     {"host", MB_BUF_HTTP_HOST_RAW},
    {"cookie", MB_BUF_HTTP_COOKIE},             {"accept", MB_BUF_HTTP_ACCEPT},
    {"accept-language", MB_BUF_HTTP_ACCEPT_LANG}, {"accept-encoding", MB_BUF_HTTP_ACCEPT_ENC},
    {"referer", MB_BUF_HTTP_REFERER},           {"connection", MB_BUF_HTTP_CONNECTION},
    {"content-type", MB_BUF_HTTP_CONTENT_TYPE}, {"content-length", MB_BUF_HTTP_CONTENT_LEN},
};
static const struct field_buffer response_fields[] = {
    {"set-cookie", MB_BUF_HTTP_COOKIE},         {"server", MB_BUF_HTTP_SERVER},
    {"location", MB_BUF_HTTP_LOCATION},         {"connection", MB_BUF_HTTP_CONNECTION},
    {"content-type", MB_BUF_HTTP_CONTENT_TYPE}, {"content-length", MB_BUF_HTTP_CONTENT_LEN},
};

static void put_common(struct mb__part *p, const struct mb_rules *r, const struct mb_http *h)
{
    put(p, r, MB_BUF_HTTP_PROTOCOL, h->version);
    put(p, r, MB_BUF_HTTP_HEADER_RAW, h->raw_headers);
    put_header(p, r, h);
    put_names(p, r, h);
    put_start(p, r, h);
}

static struct mb__tx *http_tx(struct mb__state *s, const struct mb_http *h)
{
    struct mb__tx *tx = mb__tx_find(s, h->transaction);
    if (tx != NULL || h->transaction < s->next_tx)
        return tx;
    s->next_tx = h->transaction;
    tx = mb__tx_new(s, MB_APP_HTTP);
    if (tx != NULL)
        tx->server = MB_SERVER;
    return tx;
}

static struct mb__part *http_request(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev)
{
    const struct mb_http *h = ev->record;
    struct mb__tx *tx = http_tx(s, h);
    if (tx == NULL)
        return NULL;
    struct mb__part *p = &tx->part[ev->side];
    tx->server = !ev->side;
    tx->method = mb__part_copy(p, h->method);
    tx->url = mb__part_copy(p, h->target);
    tx->hostname = mb__part_copy(p, h->host);
    tx->protocol = mb__part_copy(p, h->version);
    tx->user_agent = mb__part_copy(p, mb__http_field(h, "user-agent"));
    tx->referer = mb__part_copy(p, mb__http_field(h, "referer"));
    put(p, r, MB_BUF_HTTP_METHOD, h->method);
    put(p, r, MB_BUF_HTTP_URI_RAW, h->target);
    put_uri(p, r, h);
    put(p, r, MB_BUF_HTTP_REQUEST_LINE, h->start_line);
    put_host(p, r, h);
    put_named(p, r, h, request_fields, sizeof request_fields / sizeof *request_fields);
    put_fields(p, r, h, MB_BUF_HTTP_REQUEST_FIELD);
    put_common(p, r, h);
    return p;
}

/* The status code as text: the second word of the status line. */
static struct mb_view status_text(const struct mb_http *h)
{
    struct mb_view line = h->start_line;
    uint32_t at = 0;
    while (at < line.len && line.data[at] != ' ')
        at++;
    while (at < line.len && line.data[at] == ' ')
        at++;
    uint32_t end = at;
    while (end < line.len && line.data[end] != ' ')
        end++;
    return (struct mb_view){line.data + at, end - at};
}

/* The file name of a Content-Disposition (RFC 6266), quotes taken off. */
static struct mb_view file_name(struct mb_view v)
{
    static const char key[] = "filename=";
    const size_t key_len = sizeof key - 1;
    for (uint32_t at = 0; at + key_len <= v.len; at++) {
        if (strncasecmp((const char *)v.data + at, key, key_len) != 0)
            continue;
        uint32_t from = at + (uint32_t)key_len, to;
        bool quoted = from < v.len && v.data[from] == '"';
        from += quoted;
        for (to = from; to < v.len && v.data[to] != (quoted ? '"' : ';'); to++)
            ;
        return (struct mb_view){v.data + from, to - from};
    }
    return (struct mb_view){NULL, 0};
}

static struct mb__part *http_response(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev)
{
    const struct mb_http *h = ev->record;
    struct mb__tx *tx = http_tx(s, h);
    if (tx == NULL)
        return NULL;
    struct mb__part *p = &tx->part[ev->side];
    tx->server = ev->side;
    tx->status = h->status;
    tx->content_type = mb__part_copy(p, mb__http_field(h, "content-type"));
    tx->location = mb__part_copy(p, mb__http_field(h, "location"));
    tx->filename = mb__part_copy(p, file_name(mb__http_field(h, "content-disposition")));
    mb__part_put(p, r, MB_BUF_FILE_NAME, tx->filename.len > 0 ? tx->filename : mb__url_path(tx->url));
    put(p, r, MB_BUF_HTTP_STAT_CODE, status_text(h));
    put(p, r, MB_BUF_HTTP_STAT_MSG, h->reason);
    put(p, r, MB_BUF_HTTP_RESPONSE_LINE, h->start_line);
    put_named(p, r, h, response_fields, sizeof response_fields / sizeof *response_fields);
    put_fields(p, r, h, MB_BUF_HTTP_RESPONSE_FIELD);
    put_common(p, r, h);
    return p;
}

static struct mb__part *http_body(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev,
                                  uint32_t limit)
{
    const struct mb_http *h = ev->record;
    struct mb__tx *tx = http_tx(s, h);
    if (tx == NULL)
        return NULL;
    bool answer = ev->side == tx->server;
    if (answer)
        tx->length += ev->len;
    else
        tx->sent += ev->len;
    struct mb__part *p = &tx->part[ev->side];
    bool wanted = r->uses[MB_BUF_FILE_DATA] ||
                  r->uses[answer ? MB_BUF_HTTP_RESPONSE_BODY : MB_BUF_HTTP_REQUEST_BODY];
    if (wanted && !p->over)
        mb__part_body(p, ev->data, ev->len, limit);
    return p;
}

static struct mb__part *http_end(struct mb__state *s, const struct mb_event *ev)
{
    struct mb__tx *tx = http_tx(s, ev->record);
    if (tx == NULL)
        return NULL;
    struct mb__part *p = &tx->part[ev->side];
    p->complete = p->body.complete = true;
    if (ev->side == tx->server)
        tx->cut = ((const struct mb_http *)ev->record)->flags & MB_HTTP_TRUNCATED;
    return p;
}

/* ---- TLS ------------------------------------------------------------------ */

/* The one transaction of a session. */
static struct mb__tx *only_tx(struct mb__state *s, int app)
{
    return s->first != NULL ? s->first : mb__tx_new(s, app);
}

/* Each name of an ALPN list. */
static void put_alpn(struct mb__part *p, const struct mb_rules *r, struct mb_view list)
{
    for (uint32_t at = 0; at < list.len && list.data[at] < list.len - at; at += 1u + list.data[at])
        put(p, r, MB_BUF_TLS_ALPN, (struct mb_view){list.data + at + 1, list.data[at]});
}

static struct mb__part *tls_hello(struct mb__state *s, const struct mb_rules *r, const struct mb_tls_hello *h)
{
    struct mb__tx *tx = only_tx(s, MB_APP_TLS);
    struct mb__session *info = mb__session_of(s);
    if (tx == NULL || info == NULL)
        return NULL;
    struct mb__part *p = &tx->part[h->server ? MB_SERVER : MB_CLIENT];
    if (h->server) {
        info->version = h->version;
        put(p, r, MB_BUF_JA3S_HASH, text_view(h->ja3));
        put(p, r, MB_BUF_JA3S_STRING, h->ja3_string);
        return p;
    }
    mb__text_keep(s, &info->sni, h->sni);
    put(p, r, MB_BUF_TLS_SNI, h->sni);
    put(p, r, MB_BUF_JA3_HASH, text_view(h->ja3));
    put(p, r, MB_BUF_JA3_STRING, h->ja3_string);
    put(p, r, MB_BUF_JA4_HASH, text_view(h->ja4));
    put_alpn(p, r, h->alpn);
    p->complete = true;
    return p;
}

static struct mb__part *tls_certificate(struct mb__state *s, const struct mb_rules *r,
                                        const struct mb_tls_certificate *c)
{
    struct mb__tx *tx = only_tx(s, MB_APP_TLS);
    struct mb__session *info = mb__session_of(s);
    if (tx == NULL || info == NULL)
        return NULL;
    struct mb__part *p = &tx->part[MB_SERVER];
    mb__text_keep(s, &info->subject, c->subject);
    mb__text_keep(s, &info->issuer, c->issuer);
    mb__text_keep(s, &info->serial, c->serial);
    mb__text_keep(s, &info->fingerprint, text_view(c->sha1));
    info->not_before = c->not_before;
    info->not_after = c->not_after;
    put(p, r, MB_BUF_TLS_SUBJECT, c->subject);
    put(p, r, MB_BUF_TLS_ISSUER, c->issuer);
    put(p, r, MB_BUF_TLS_SERIAL, c->serial);
    put(p, r, MB_BUF_TLS_FINGERPRINT, text_view(c->sha1));
    for (uint32_t i = 0; i < c->count; i++)
        put(p, r, MB_BUF_TLS_CERTS, c->chain[i]);
    p->complete = true;
    return p;
}

/* ---- DNS ------------------------------------------------------------------ */

static struct mb__part *dns_message(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev)
{
    const struct mb_dns *m = ev->record;
    struct mb__tx *tx = mb__tx_new(s, MB_APP_DNS);
    if (tx == NULL)
        return NULL;
    int side = ev->side;
    struct mb__part *p = &tx->part[side];
    tx->part[!side].over = true;
    tx->dns_id = m->id;
    tx->dns_flags = m->flags;
    for (uint32_t i = 0; i < m->record_count; i++) {
        const struct mb_dns_rr *rr = &m->records[i];
        if (tx->rrtypes < sizeof tx->rrtype / sizeof *tx->rrtype)
            tx->rrtype[tx->rrtypes++] = rr->type;
        if (rr->section != 0)
            continue;
        if (tx->hostname.len == 0)
            tx->hostname = mb__part_copy(p, rr->name);
        if (!m->response)
            put(p, r, MB_BUF_DNS_QUERY, rr->name);
    }
    p->complete = true;
    return p;
}

/* ---- SSH ------------------------------------------------------------------ */

/* The lists that HASSH is made of, with semicolons between them. */
static void put_hassh_string(struct mb__part *p, const struct mb_rules *r, const struct mb_ssh *m, int side)
{
    int base = side == MB_CLIENT ? MB_BUF_SSH_HASSH_STRING : MB_BUF_SSH_HASSH_SERVER_STRING;
    const struct mb_view lists[] = {
        m->kex, side == MB_CLIENT ? m->ciphers_c2s : m->ciphers_s2c, side == MB_CLIENT ? m->macs_c2s : m->macs_s2c,
        side == MB_CLIENT ? m->compression_c2s : m->compression_s2c};
    uint32_t len = 3;
    for (int i = 0; i < 4; i++)
        len += lists[i].len;
    uint8_t *out = r->uses[base] ? mb__part_room(p, len) : NULL;
    if (out == NULL)
        return;
    uint8_t *at = out;
    for (int i = 0; i < 4; i++) {
        at = append(at, ";", i > 0);
        at = append(at, lists[i].data, lists[i].len);
    }
    mb__part_put(p, r, base, (struct mb_view){out, len});
}

static struct mb__part *ssh_message(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev)
{
    const struct mb_ssh *m = ev->record;
    struct mb__tx *tx = only_tx(s, MB_APP_SSH);
    struct mb__session *info = mb__session_of(s);
    if (tx == NULL || info == NULL)
        return NULL;
    int side = ev->side;
    struct mb__part *p = &tx->part[side];
    if (m->kex.len == 0) {
        mb__text_keep(s, &info->ssh_proto[side], m->protocol);
        mb__text_keep(s, &info->ssh_software[side], m->software);
        put(p, r, MB_BUF_SSH_PROTO, m->protocol);
        put(p, r, MB_BUF_SSH_SOFTWARE, m->software);
        return p;
    }
    mb__text_keep(s, &info->hassh[side], text_view(m->hassh));
    put(p, r, side == MB_CLIENT ? MB_BUF_SSH_HASSH : MB_BUF_SSH_HASSH_SERVER, text_view(m->hassh));
    put_hassh_string(p, r, m, side);
    p->complete = true;
    return p;
}

static struct mb__part *dispatch(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev,
                                 uint32_t limit)
{
    switch (ev->base) {
    case MB_EV_HTTP_REQUEST: return http_request(s, r, ev);
    case MB_EV_HTTP_RESPONSE: return http_response(s, r, ev);
    case MB_EV_HTTP_BODY: return http_body(s, r, ev, limit);
    case MB_EV_HTTP_END: return http_end(s, ev);
    case MB_EV_TLS_HELLO: return tls_hello(s, r, ev->record);
    case MB_EV_TLS_CERTIFICATE: return tls_certificate(s, r, ev->record);
    case MB_EV_DNS: return dns_message(s, r, ev);
    case MB_EV_SSH: return ssh_message(s, r, ev);
    default: return NULL;
    }
}

struct mb__part *mb__message(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev, uint32_t limit)
{
    struct mb__part *p = dispatch(s, r, ev, limit);
    if (p == NULL)
        return NULL;
    p->present = p->fresh = true;
    p->visible = ev->flow->ip_proto != 6;
    p->ready = ev->flow->end[ev->side].next;
    return p;
}
