/* SPDX-License-Identifier: BSD-3-Clause */
/* http_body -- body bytes out of a length, chunks, or all until the stream ends
 *
 *   chunks:  size [;ext] CRLF  data CRLF  ...  0 CRLF  trailer CRLF  CRLF
 *
 * A size line that is none means that the sender did not chunk after all: from
 * there on everything is content (RFC 9112 7.1 would have us stop; browsers
 * show what came).
 */
#include "proto/http.h"

#define MAX_SIZE_DIGITS 15 /* hex digits of a chunk size, leading zeros left out */

void mb__http_body_start(struct mb__http_body *b, enum mb__http_framing framing, uint64_t length)
{
    b->framing = framing;
    b->left = framing == MB__HTTP_LENGTH ? length : 0;
    b->chunk = MB__CHUNK_SIZE;
    b->line_len = 0;
    b->lost = false;
    b->done = framing == MB__HTTP_NO_BODY || (framing == MB__HTTP_LENGTH && length == 0);
}

/* Gives as much of |*data| as |left| allows. */
static int pass_on(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t **data, size_t *len)
{
    size_t n = b->left < *len ? (size_t)b->left : *len;
    const uint8_t *at = *data;
    *data += n;
    *len -= n;
    b->left -= n;
    if (b->lost)
        return 0;
    return mb__inflate_data(&b->inflate, w->memory, at, n, w->put, w->arg);
}

/* ---- chunk sizes --------------------------------------------------------- */

static int hex_value(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* Reads a size line: blanks, hex digits, blanks, then its end or ';'. An empty
 * line is MB__PROBE_MORE: the end of the chunk before. */
static enum mb__probe read_size(const uint8_t *p, size_t len, uint64_t *size)
{
    size_t i = 0, digits;
    while (i < len && mb__http_is_space(p[i]))
        i++;
    if (i == len)
        return MB__PROBE_MORE;
    size_t start = i;
    while (i < len && p[i] == '0')
        i++;
    bool zero = i > start;
    *size = 0;
    for (digits = 0; i < len && hex_value(p[i]) >= 0; i++, digits++) {
        if (digits == MAX_SIZE_DIGITS)
            return MB__PROBE_NO;
        *size = *size << 4 | (uint64_t)hex_value(p[i]);
    }
    if (digits == 0 && !zero)
        return MB__PROBE_NO;
    while (i < len && mb__http_is_space(p[i]))
        i++;
    return i == len || p[i] == ';' ? MB__PROBE_YES : MB__PROBE_NO;
}

/* The line at |line| is no chunk size: it and all that follows is content. */
static int not_chunked(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t *line, size_t len)
{
    *w->flags |= MB_HTTP_BAD;
    b->framing = MB__HTTP_UNTIL_CLOSE;
    if (b->lost)
        return 0;
    return mb__inflate_data(&b->inflate, w->memory, line, len, w->put, w->arg);
}

static int size_line(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t *line, size_t len)
{
    uint64_t size;
    switch (read_size(line, len, &size)) {
    case MB__PROBE_MORE:
        return 0;
    case MB__PROBE_NO:
        return not_chunked(b, w, line, len);
    default:
        b->left = size;
        b->chunk = size > 0 ? MB__CHUNK_DATA : MB__CHUNK_TRAILER;
        b->line_len = 0;
        return 0;
    }
}

/* Takes bytes up to the end of a size line. */
static int size_bytes(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t **data, size_t *len)
{
    struct mb__hold *hold = w->hold;
    const uint8_t *lf = memchr(*data, '\n', *len), *line = *data;
    size_t n = lf != NULL ? (size_t)(lf - line) + 1 : *len;
    size_t room = MB__HTTP_MAX_CHUNK_LINE - hold->len;
    bool over = n > room;
    if (over)
        n = room;
    bool whole = over || lf != NULL;
    *data += n;
    *len -= n;
    if (hold->len == 0 && whole)
        return over ? not_chunked(b, w, line, n) : size_line(b, w, line, n);
    if (!mb__hold_add(hold, w->memory, line, n)) {
        b->framing = MB__HTTP_UNTIL_CLOSE; /* no memory for a few bytes */
        return 0;
    }
    if (!whole)
        return 0;
    int rc = over ? not_chunked(b, w, hold->data, hold->len)
                  : size_line(b, w, hold->data, hold->len);
    mb__hold_free(w->hold, w->memory);
    return rc;
}

/* Passes over trailer fields (RFC 9112 7.1.2) to the empty line. */
static void trailer_bytes(struct mb__http_body *b, const uint8_t **data, size_t *len)
{
    const uint8_t *lf = memchr(*data, '\n', *len);
    size_t n = lf != NULL ? (size_t)(lf - *data) : *len;
    for (size_t i = 0; i < n && b->line_len == 0; i++)
        b->line_len += (*data)[i] != '\r';
    b->done = lf != NULL && b->line_len == 0;
    if (lf != NULL) {
        b->line_len = 0;
        n++;
    }
    *data += n;
    *len -= n;
}

static int chunk_bytes(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t **data, size_t *len)
{
    if (b->chunk == MB__CHUNK_SIZE)
        return size_bytes(b, w, data, len);
    if (b->chunk == MB__CHUNK_TRAILER) {
        trailer_bytes(b, data, len);
        return 0;
    }
    int rc = pass_on(b, w, data, len);
    if (b->left == 0)
        b->chunk = MB__CHUNK_SIZE;
    return rc;
}

/* ---- bodies -------------------------------------------------------------- */

int mb__http_body_data(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t **data, size_t *len)
{
    int rc = 0;
    while (rc == 0 && *len > 0 && !b->done) {
        switch (b->framing) {
        case MB__HTTP_LENGTH:
            rc = pass_on(b, w, data, len);
            b->done = b->left == 0;
            break;
        case MB__HTTP_CHUNKS:
            rc = chunk_bytes(b, w, data, len);
            break;
        case MB__HTTP_UNTIL_CLOSE:
            b->left = *len;
            rc = pass_on(b, w, data, len);
            break;
        default:
            b->done = true;
            break;
        }
    }
    return rc;
}

bool mb__http_body_gap(struct mb__http_body *b, struct mb__memory *m, uint64_t len)
{
    if (b->inflate.count > 0) {
        mb__inflate_free(&b->inflate, m);
        b->lost = true;
    }
    if (b->framing == MB__HTTP_UNTIL_CLOSE)
        return true;
    bool counted = b->framing == MB__HTTP_LENGTH || (b->framing == MB__HTTP_CHUNKS && b->chunk == MB__CHUNK_DATA);
    if (!counted || len > b->left)
        return false;
    b->left -= len;
    if (b->left == 0 && b->framing == MB__HTTP_LENGTH)
        b->done = true;
    if (b->left == 0)
        b->chunk = MB__CHUNK_SIZE;
    return true;
}

int mb__http_body_end(struct mb__http_body *b, const struct mb__http_way *w)
{
    int rc = 0;
    uint64_t size;
    bool in_size = b->framing == MB__HTTP_CHUNKS && b->chunk == MB__CHUNK_SIZE && w->hold->len > 0;
    if (in_size && read_size(w->hold->data, w->hold->len, &size) == MB__PROBE_NO)
        rc = not_chunked(b, w, w->hold->data, w->hold->len);
    mb__hold_free(w->hold, w->memory);
    if (rc == 0)
        rc = mb__inflate_end(&b->inflate, w->memory, w->put, w->arg);
    if (b->inflate.plain)
        *w->flags &= ~(uint32_t)MB_HTTP_COMPRESSED;
    if (b->inflate.damaged || b->inflate.plain)
        *w->flags |= MB_HTTP_BAD;
    if (b->inflate.limited)
        *w->flags |= MB_HTTP_BODY_LIMIT;
    mb__inflate_free(&b->inflate, w->memory);
    return rc;
}
