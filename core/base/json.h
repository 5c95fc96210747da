/* SPDX-License-Identifier: BSD-3-Clause */
/* json -- writes JSON values, keys and commas to a text
 *
 *     mb__json_open(t, '{');
 *     MB__JSON_KEY(t, "pkts");        {"pkts":3,"name":"a\tb"}
 *     mb__json_u64(t, 3);
 *     MB__JSON_KEY(t, "name");
 *     mb__json_string(t, "a\tb", 3);
 *     mb__json_close(t, '}');
 *
 * There is no state but the text: a comma is due unless the byte before is an
 * opening bracket or a colon. Hot records append literals that carry their own
 * commas (MB__TEXT_LITERAL(t, ",\"bytes\":")) and put only values here with the
 * _raw functions, which add no comma.
 */
#ifndef MB_BASE_JSON_H
#define MB_BASE_JSON_H

#include "base/text.h"
#include "mosbox.h"

/* Appends the comma before a key or an array's element if one is due. */
static inline void mb__json_comma(struct mb__text *t)
{
    if (t->at == t->start)
        return;
    char last = t->at[-1];
    if (last != '{' && last != '[' && last != ':' && last != '\n')
        mb__text_char(t, ',');
}

/* Starts an object '{' or an array '['. */
static inline void mb__json_open(struct mb__text *t, char bracket)
{
    mb__json_comma(t);
    mb__text_char(t, bracket);
}

/* Ends one with '}' or ']'. */
static inline void mb__json_close(struct mb__text *t, char bracket)
{
    mb__text_char(t, bracket);
}

/* Appends a key given as a literal, which needs no escapes. */
#define MB__JSON_KEY(t, key) mb__json_key_literal(t, "\"" key "\":", sizeof(key) + 2)

static inline void mb__json_key_literal(struct mb__text *t, const char *quoted, size_t len)
{
    mb__json_comma(t);
    mb__text_short(t, quoted, len);
}

/* Appends a string in quotes: control bytes, quotes and backslashes escaped,
 * UTF-8 kept, and each byte that is not part of valid UTF-8 as \\xHH, the way
 * Python's "backslashreplace" shows it: nothing of the input is lost. */
void mb__json_string_raw(struct mb__text *t, const void *bytes, size_t len);
/* A key that is not a literal. */
void mb__json_key(struct mb__text *t, const char *key, size_t len);
/* An address in quotes. */
void mb__json_addr_raw(struct mb__text *t, const struct mb_addr *a);

static inline void mb__json_u64_raw(struct mb__text *t, uint64_t v)
{
    t->at = mb__put_u64(mb__text_room(t, MB__TEXT_U64), v);
}

static inline void mb__json_i64_raw(struct mb__text *t, int64_t v)
{
    t->at = mb__put_i64(mb__text_room(t, MB__TEXT_I64), v);
}

/* |v| / 10^|decimals|, as mb__put_fixed(). */
static inline void mb__json_fixed_raw(struct mb__text *t, int64_t v, unsigned decimals)
{
    t->at = mb__put_fixed(mb__text_room(t, MB__TEXT_FIXED), v, decimals);
}

/* A time stamp in quotes, as mb__put_iso(). */
static inline void mb__json_iso_raw(struct mb__text *t, struct mb__iso_cache *cache, int64_t ts)
{
    char *p = mb__text_room(t, MB__TEXT_ISO + 2);
    *p = '"';
    p = mb__put_iso(p + 1, cache, ts);
    *p = '"';
    t->at = p + 1;
}

static inline void mb__json_bool_raw(struct mb__text *t, bool v)
{
    if (v)
        MB__TEXT_LITERAL(t, "true");
    else
        MB__TEXT_LITERAL(t, "false");
}

/* The same with the comma that an array's element needs. */
static inline void mb__json_string(struct mb__text *t, const void *bytes, size_t len)
{
    mb__json_comma(t);
    mb__json_string_raw(t, bytes, len);
}

static inline void mb__json_u64(struct mb__text *t, uint64_t v)
{
    mb__json_comma(t);
    mb__json_u64_raw(t, v);
}

static inline void mb__json_i64(struct mb__text *t, int64_t v)
{
    mb__json_comma(t);
    mb__json_i64_raw(t, v);
}

static inline void mb__json_fixed(struct mb__text *t, int64_t v, unsigned decimals)
{
    mb__json_comma(t);
    mb__json_fixed_raw(t, v, decimals);
}

static inline void mb__json_addr(struct mb__text *t, const struct mb_addr *a)
{
    mb__json_comma(t);
    mb__json_addr_raw(t, a);
}

static inline void mb__json_iso(struct mb__text *t, struct mb__iso_cache *cache, int64_t ts)
{
    mb__json_comma(t);
    mb__json_iso_raw(t, cache, ts);
}

static inline void mb__json_bool(struct mb__text *t, bool v)
{
    mb__json_comma(t);
    mb__json_bool_raw(t, v);
}

#endif
