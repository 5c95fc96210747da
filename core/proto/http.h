/* SPDX-License-Identifier: BSD-3-Clause */
/* http -- what the parts of the HTTP/1 parser share
 *
 *   http.c          bytes of both sides: which are heads, which bodies, which neither
 *   http_message.c  heads become records; which response belongs to which request
 *   http_head.c     a whole head into struct mb_http, and how its body is framed
 *   http_body.c     body bytes out of length, chunks or the end of the stream
 *   http_probe.c    is it HTTP at all
 *   inflate.c       gzip and deflate undone
 */
#ifndef MB_PROTO_HTTP_H
#define MB_PROTO_HTTP_H

#include "proto/hold.h"
#include "proto/inflate.h"
#include "proto/proto.h"

#define MB__HTTP_MAX_HEADERS 256     /* fields given in a record; the rest is in raw_headers */
#define MB__HTTP_MAX_CHUNK_LINE 1024 /* bytes of a chunk size with its extensions */

/* ---- heads --------------------------------------------------------------- */

/* How far the search for the end of a head went. */
struct mb__http_scan {
    uint32_t line;    /* where the line begins that is looked at */
    uint32_t scanned; /* no line end before this */
};

enum mb__http_framing {
    MB__HTTP_NO_BODY,
    MB__HTTP_LENGTH,
    MB__HTTP_CHUNKS,
    MB__HTTP_UNTIL_CLOSE,
};

#define MB__HTTP_MAX_CODINGS 4 /* fields with codings that are looked at */

/* The values of a field that may be repeated. */
struct mb__http_values {
    struct mb_view value[MB__HTTP_MAX_CODINGS];
    uint32_t count;
};

/* A head that was read. |http.headers| points to |fields|. */
struct mb__http_head {
    struct mb_http http;
    struct mb_http_header fields[MB__HTTP_MAX_HEADERS];
    struct mb__http_values transfer_encoding;
    struct mb__http_values content_encoding;
    bool bad_length; /* Content-Length that is not a number */
    bool connect;    /* request: CONNECT */
    bool head;       /* request: HEAD */
};

/* Where the head ends in |p|, whose first byte is not white space: one past its
 * last byte, or 0 if that is not known yet. Goes on where |s| says. */
size_t mb__http_head_end(struct mb__http_scan *s, const uint8_t *p, size_t len, bool response);
/* Reads a head; views point into |p|. */
void mb__http_read_request(const uint8_t *p, size_t len, struct mb__http_head *h);
void mb__http_read_response(const uint8_t *p, size_t len, struct mb__http_head *h);
/* Whether |line| begins with a method and names its version, or (unless
 * |versioned|) is of HTTP/0.9 with a method that is known. */
bool mb__http_is_request_line(const uint8_t *line, size_t len, bool versioned);
/* Whether |p| begins as a status line does: "HTTP/" in any case. */
enum mb__probe mb__http_is_status_line(const uint8_t *p, size_t len);
/* A method's name and the space behind it, of those known: NO, MORE, YES. */
enum mb__probe mb__http_is_method(const uint8_t *p, size_t len);
/* White space as C's isspace() knows it. */
static inline bool mb__http_is_space(uint8_t b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}

/* The codings of the body, outermost first, chunked left out: at most
 * MB__INFLATE_LAYERS; |*chunked| if chunks are among them, |*unknown| if one of
 * the transfer is not known. What is inside an unknown content coding stays
 * coded. Their number. */
int mb__http_codings(const struct mb__http_head *h, enum mb__coding codings[MB__INFLATE_LAYERS], bool *chunked,
                     bool *unknown);

/* ---- bodies -------------------------------------------------------------- */

enum mb__http_chunk { MB__CHUNK_SIZE, MB__CHUNK_DATA, MB__CHUNK_TRAILER };

/* A body on its way. */
struct mb__http_body {
    uint64_t left;                /* bytes of the body or of the chunk still to come */
    struct mb__inflate inflate;
    enum mb__http_framing framing;
    enum mb__http_chunk chunk;
    uint32_t line_len;            /* trailer: bytes of the line so far, line end left out */
    bool lost;                    /* a gap in a coded body: the rest cannot be undone */
    bool done;                    /* all of it was taken */
};

/* What the body's functions need besides: where they keep, count and give. */
struct mb__http_way {
    struct mb__hold *hold;     /* a chunk's size line in pieces */
    struct mb__memory *memory;
    uint32_t *flags;           /* gets what was odd, enum mb_http_flag */
    mb__inflate_put *put;
    void *arg;                 /* of put */
};

/* Sets |b| up for a body of |length| bytes (if MB__HTTP_LENGTH). */
void mb__http_body_start(struct mb__http_body *b, enum mb__http_framing framing, uint64_t length);
/* Takes bytes of |*data| as far as they belong to the body, moves it past
 * them, and sets done at the end. 0 or the code of put(). */
int mb__http_body_data(struct mb__http_body *b, const struct mb__http_way *w, const uint8_t **data, size_t *len);
/* |len| bytes were lost. False: it is not known where the body goes on. */
bool mb__http_body_gap(struct mb__http_body *b, struct mb__memory *m, uint64_t len);
/* The stream is over, or the body is done: gives what was kept, frees all. */
int mb__http_body_end(struct mb__http_body *b, const struct mb__http_way *w);

/* ---- messages ------------------------------------------------------------ */

#define MB__HTTP_KINDS 64 /* requests without response that are remembered */

/* Where a side is; the picture is in http.c. */
enum mb__http_phase {
    MB__HTTP_IN_HEAD,
    MB__HTTP_IN_BODY,
    MB__HTTP_IN_RESYNC,
    MB__HTTP_IN_WAIT,
    MB__HTTP_IN_TUNNEL,
};
enum mb__http_role { MB__HTTP_ASKS, MB__HTTP_ANSWERS };

/* What one side sends. */
struct mb__http_side {
    struct mb__hold hold;      /* a head, a size line or a line in pieces */
    struct mb__http_scan scan; /* of the head in |hold| */
    struct mb__http_body body;
    struct mb_http record;     /* of the message, for its body and end */
    enum mb__http_phase phase;
    uint64_t skipped;          /* resync: bytes passed over */
    bool mid_line;             /* MB__HTTP_IN_RESYNC: not at the start of a line */
};

/* A connection. */
struct mb__http {
    struct mb__http_side side[2];
    uint32_t requests;  /* heads seen */
    uint32_t responses; /* final responses that are over */
    uint8_t kinds[MB__HTTP_KINDS]; /* of request n at n % MB__HTTP_KINDS: enum kind bits */
    bool begun;
    bool swapped;       /* the flow's client is the HTTP server: seen from the middle */
};

/* One call of the parser. */
struct mb__http_context {
    struct mb__http *h;
    struct mb__proto_sink *sink;
    struct mb__http_side *s;
    int side;
    enum mb__http_role role;
};

/* A head is whole (or |truncated|: the stream ended in it): tells of it and
 * makes ready for its body, or begins to resync. 0 or the sink's code. */
int mb__http_whole_head(struct mb__http_context *c, const uint8_t *p, size_t len, bool truncated);
/* A server's bytes are no status line: the content of HTTP/0.9 if a request
 * waits for a response. The |len| bytes at |held| begin it. */
int mb__http_no_status_line(struct mb__http_context *c, const uint8_t *held, size_t len);
/* Gives a piece of the body to the sink; |arg| is the context. */
int mb__http_put_body(void *arg, const uint8_t *data, size_t len);
/* How the body of |c| goes: through mb__http_put_body(). */
struct mb__http_way mb__http_way(struct mb__http_context *c);
/* The body is over, or lost: tells of the end and goes on behind it. */
int mb__http_end_message(struct mb__http_context *c);
/* Where a message begins is not known: says so and searches for a start line. */
int mb__http_resync(struct mb__http_context *c, bool mid_line);

/* ---- probe --------------------------------------------------------------- */

/* Are the first |len| bytes of |side| HTTP/1? As mb__proto.probe. */
enum mb__probe mb__http_probe(int side, const uint8_t *data, size_t len, bool datagram);

#endif
