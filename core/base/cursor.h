/* SPDX-License-Identifier: BSD-3-Clause */
/* cursor -- reads bytes from the network without ever leaving their buffer
 *
 *      taken      at            end
 *     +----------+-------------+
 *     | ........ | left()      |     a read moves |at|, or fails and moves nothing
 *     +----------+-------------+
 *
 * Two ways to read: one number at a time (u8, u16, ...), each with its check;
 * or a whole fixed header with take(), one check, and then the load functions
 * mb__be16() and so on at constant offsets inside what was taken.
 * Numbers are big-endian on the wire unless the name says le.
 */
#ifndef MB_BASE_CURSOR_H
#define MB_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mb__cursor {
    const uint8_t *at;  /* next byte */
    const uint8_t *end; /* one past the last; at <= end */
};

/* ---- loads: the caller has made sure that the bytes are there ------------ */

static inline uint16_t mb__be16(const uint8_t *b)
{
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t mb__be24(const uint8_t *b)
{
    return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
}

static inline uint32_t mb__be32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t mb__be64(const uint8_t *b)
{
    return (uint64_t)mb__be32(b) << 32 | mb__be32(b + 4);
}

static inline uint16_t mb__le16(const uint8_t *b)
{
    return (uint16_t)(b[1] << 8 | b[0]);
}

static inline uint32_t mb__le32(const uint8_t *b)
{
    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

/* Stores, for headers that are built or mended. */
static inline void mb__put_be16(uint8_t *b, uint16_t v)
{
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}

static inline void mb__put_be32(uint8_t *b, uint32_t v)
{
    mb__put_be16(b, (uint16_t)(v >> 16));
    mb__put_be16(b + 2, (uint16_t)v);
}

/* ---- the cursor ---------------------------------------------------------- */

/* A cursor over |len| bytes at |data|; NULL is fine with 0. */
static inline struct mb__cursor mb__cursor(const void *data, size_t len)
{
    const uint8_t *at = (const uint8_t *)data;
    return (struct mb__cursor){at, len > 0 ? at + len : at};
}

/* Bytes not yet read. */
static inline size_t mb__cursor_left(const struct mb__cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* The next |n| bytes, borrowed, and moves over them. NULL if there are fewer. */
static inline const uint8_t *mb__cursor_take(struct mb__cursor *c, size_t n)
{
    const uint8_t *at = c->at;
    if (mb__cursor_left(c) < n)
        return NULL;
    c->at += n;
    return at;
}

/* The next |n| bytes, borrowed, without moving. NULL if there are fewer. */
static inline const uint8_t *mb__cursor_peek(const struct mb__cursor *c, size_t n)
{
    return mb__cursor_left(c) < n ? NULL : c->at;
}

static inline bool mb__cursor_skip(struct mb__cursor *c, size_t n)
{
    return mb__cursor_take(c, n) != NULL || n == 0;
}

/* Splits the next |n| bytes off into |part| and moves over them. */
static inline bool mb__cursor_split(struct mb__cursor *c, size_t n, struct mb__cursor *part)
{
    if (mb__cursor_left(c) < n)
        return false;
    *part = mb__cursor(c->at, n);
    if (n > 0)
        c->at += n;
    return true;
}

/* Leaves at most |n| bytes: what follows them is padding. */
static inline void mb__cursor_clip(struct mb__cursor *c, size_t n)
{
    if (mb__cursor_left(c) > n)
        c->end = c->at + n;
}

static inline bool mb__cursor_u8(struct mb__cursor *c, uint8_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 1);
    if (b == NULL)
        return false;
    *v = b[0];
    return true;
}

static inline bool mb__cursor_u16(struct mb__cursor *c, uint16_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 2);
    if (b == NULL)
        return false;
    *v = mb__be16(b);
    return true;
}

static inline bool mb__cursor_u24(struct mb__cursor *c, uint32_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 3);
    if (b == NULL)
        return false;
    *v = mb__be24(b);
    return true;
}

static inline bool mb__cursor_u32(struct mb__cursor *c, uint32_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 4);
    if (b == NULL)
        return false;
    *v = mb__be32(b);
    return true;
}

static inline bool mb__cursor_u64(struct mb__cursor *c, uint64_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 8);
    if (b == NULL)
        return false;
    *v = mb__be64(b);
    return true;
}

static inline bool mb__cursor_le16(struct mb__cursor *c, uint16_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 2);
    if (b == NULL)
        return false;
    *v = mb__le16(b);
    return true;
}

static inline bool mb__cursor_le32(struct mb__cursor *c, uint32_t *v)
{
    const uint8_t *b = mb__cursor_take(c, 4);
    if (b == NULL)
        return false;
    *v = mb__le32(b);
    return true;
}

#endif
