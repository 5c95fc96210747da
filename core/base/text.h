/* SPDX-License-Identifier: BSD-3-Clause */
/* text -- appends numbers, dates and bytes to a buffer that never fails
 *
 *   start        at                      end
 *     +-----------+-----------------------+
 *     |  written  |  room(n) gives this   |       growable: moves when it must
 *     +-----------+-----------------------+       fixed:    what does not fit goes
 *                                                           to |spill| and is counted
 *
 * A writer of a record makes one check for room a field and none for errors:
 * text that finds no room is thrown away and counted, and the caller asks once,
 * at the end, whether there was any (mb__text_lost()). The put functions below
 * write to memory that is known to be large enough and return its new end.
 */
#ifndef MB_BASE_TEXT_H
#define MB_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MB__TEXT_ROOM 256     /* the most that may be asked of mb__text_room() */
#define MB__TEXT_U64 20       /* bytes of the longest 64-bit number */
#define MB__TEXT_I64 20       /* with its sign */
#define MB__TEXT_FIXED 40     /* bytes of the longest mb__put_fixed() */
#define MB__TEXT_ISO 31       /* bytes of "2024-01-02T03:04:05.678901+0000" */
#define MB__TEXT_MAX_FRACTION 18 /* most decimals of mb__put_fixed() */

struct mb__text {
    char *at;    /* where the next byte goes */
    char *end;   /* one past the last byte that may be written */
    char *start; /* first byte of the buffer */
    size_t kept; /* bytes of the buffer in use when it ran full; 0: it has not */
    size_t lost; /* bytes thrown away before those in |spill| */
    bool growable;
    bool full;   /* writing to |spill| */
    char spill[MB__TEXT_ROOM + 1];
};

/* A text in |size| bytes of the caller's; it is not NUL-terminated. A record is
 * kept whole for certain only with MB__TEXT_ROOM bytes more than it has: room
 * is asked for the longest a field may be. */
void mb__text_init_fixed(struct mb__text *t, char *buf, size_t size);
/* A text in memory of its own, which grows. */
void mb__text_init(struct mb__text *t);
/* Frees what mb__text_init() led to. */
void mb__text_fini(struct mb__text *t);
/* Starts again with an empty text, memory kept. */
void mb__text_clear(struct mb__text *t);
/* Slow half of mb__text_room(). */
char *mb__text_more(struct mb__text *t, size_t n);
/* Appends |len| bytes, any number. */
void mb__text_bytes(struct mb__text *t, const void *bytes, size_t len);

/* At least |n| writable bytes at t->at, |n| at most MB__TEXT_ROOM. The writer
 * moves t->at past those it used. */
static inline char *mb__text_room(struct mb__text *t, size_t n)
{
    return (size_t)(t->end - t->at) >= n ? t->at : mb__text_more(t, n);
}

/* Bytes in the buffer. */
static inline size_t mb__text_len(const struct mb__text *t)
{
    return t->full ? t->kept : (size_t)(t->at - t->start);
}

/* Bytes that found no room: those of a fixed buffer that was too small, or of a
 * growable one when memory ran out. */
static inline size_t mb__text_lost(const struct mb__text *t)
{
    return t->full ? t->lost + (size_t)(t->at - t->spill - 1) : 0;
}

/* Appends a string literal. */
#define MB__TEXT_LITERAL(t, literal) mb__text_short(t, literal, sizeof(literal) - 1)

/* Appends |len| bytes, at most MB__TEXT_ROOM; with a constant a plain store. */
static inline void mb__text_short(struct mb__text *t, const char *bytes, size_t len)
{
    char *p = mb__text_room(t, len);
    memcpy(p, bytes, len);
    t->at = p + len;
}

static inline void mb__text_char(struct mb__text *t, char c)
{
    *mb__text_room(t, 1) = c;
    t->at++;
}

/* ---- numbers ---- */

extern const char mb__digit_pairs[201]; /* "000102...99" */

/* Two digits of |v|, which is below 100. */
static inline char *mb__put_2(char *p, uint32_t v)
{
    memcpy(p, mb__digit_pairs + 2 * v, 2);
    return p + 2;
}

/* Six digits of |v|, which is below a million. */
static inline char *mb__put_6(char *p, uint32_t v)
{
    mb__put_2(p, v / 10000);
    mb__put_2(p + 2, v / 100 % 100);
    return mb__put_2(p + 4, v % 100);
}

/* How many decimal digits |v| has. */
static inline unsigned mb__digits(uint64_t v)
{
    unsigned n = 1;
    for (;; n += 4, v /= 10000) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
    }
}

/* |v| in exactly |n| digits, with zeros in front; higher digits are left out. */
static inline char *mb__put_padded(char *p, uint64_t v, unsigned n)
{
    char *end = p + n;
    char *q = end;
    for (; n >= 2; n -= 2, v /= 100)
        memcpy(q -= 2, mb__digit_pairs + 2 * (v % 100), 2);
    if (n != 0)
        *--q = (char)('0' + v % 10);
    return end;
}

static inline char *mb__put_u64(char *p, uint64_t v)
{
    if (v < 10) {
        *p = (char)('0' + v);
        return p + 1;
    }
    return mb__put_padded(p, v, mb__digits(v));
}

static inline char *mb__put_i64(char *p, int64_t v)
{
    if (v >= 0)
        return mb__put_u64(p, (uint64_t)v);
    *p = '-';
    return mb__put_u64(p + 1, 0 - (uint64_t)v);
}

/* |v| / 10^|decimals|, all decimals written (at most MB__TEXT_MAX_FRACTION):
 * 1500000 with 6 is "1.500000". */
char *mb__put_fixed(char *p, int64_t v, unsigned decimals);
/* |v| in exactly |digits| lower-case hexadecimal digits. */
char *mb__put_hex(char *p, uint64_t v, unsigned digits);

/* ---- dates ---- */

/* A date and time in UTC. */
struct mb__date {
    int64_t year;
    uint32_t month;      /* 1 to 12 */
    uint32_t day;        /* 1 to 31 */
    uint32_t hour;
    uint32_t minute;
    uint32_t second;
    uint32_t nanosecond;
};

/* The date of |ts|, ns since 1970. */
void mb__date_from_ns(int64_t ts, struct mb__date *d);

/* The last minute written: records come in the order of time, so nearly all
 * share it with the one before. Zero: empty. */
struct mb__iso_cache {
    int64_t first; /* ns since 1970 at which the minute starts */
    char text[17]; /* "2024-01-02T03:04:" */
    bool valid;
};

/* |ts|, ns since 1970, as "2024-01-02T03:04:05.678901+0000" (the stamp EVE
 * wants: UTC, microseconds cut, not rounded): MB__TEXT_ISO bytes. Times that
 * 64 bits can hold all have years of four digits. */
char *mb__put_iso(char *p, struct mb__iso_cache *cache, int64_t ts);

#endif
