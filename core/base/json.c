/* SPDX-License-Identifier: BSD-3-Clause */
/* json -- strings of any bytes as JSON */
#include "base/json.h"

#define ONES 0x0101010101010101u
#define HIGH 0x8080808080808080u

/* High bit of each byte of |v| that is below |n|, which is at most 128; bytes
 * above the first such one may be marked wrongly. */
static uint64_t below(uint64_t v, unsigned n)
{
    return (v - ONES * n) & ~v & HIGH;
}

/* Whether all eight bytes are ASCII that needs no escape. */
static bool plain8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return ((v & HIGH) | below(v, 0x20) | below(v ^ ONES * '"', 1) | below(v ^ ONES * '\\', 1)) == 0;
}

static bool plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes at |p| need no escape. */
static size_t plain_run(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (len - n >= 8 && plain8(p + n))
        n += 8;
    while (n < len && plain(p[n]))
        n++;
    return n;
}

static bool continues(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence of two or more bytes at |p|, 0 if it is none
 * (RFC 3629: shortest form only, no surrogates, nothing above U+10FFFF). */
static size_t utf8_sequence(const uint8_t *p, size_t len)
{
    if (len >= 2 && p[0] >= 0xc2 && p[0] <= 0xdf && continues(p[1]))
        return 2;
    if (len >= 3 && (p[0] & 0xf0) == 0xe0 && continues(p[1]) && continues(p[2])) {
        bool overlong = p[0] == 0xe0 && p[1] < 0xa0;
        bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    if (len >= 4 && p[0] >= 0xf0 && p[0] <= 0xf4 && continues(p[1]) && continues(p[2]) && continues(p[3])) {
        bool overlong = p[0] == 0xf0 && p[1] < 0x90;
        bool too_large = p[0] == 0xf4 && p[1] >= 0x90;
        return overlong || too_large ? 0 : 4;
    }
    return 0;
}

/* The letter of a two-byte escape, 0 if |c| has none. */
static char short_escape(uint8_t c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 0;
    }
}

static void escape(struct mb__text *t, uint8_t c)
{
    char *p = mb__text_room(t, 6), letter = short_escape(c);
    *p++ = '\\';
    if (letter != 0) {
        *p++ = letter;
    } else if (c < 0x20) {
        memcpy(p, "u00", 3);
        p = mb__put_hex(p + 3, c, 2);
    } else {
        memcpy(p, "\\x", 2);
        p = mb__put_hex(p + 2, c, 2);
    }
    t->at = p;
}

void mb__json_string_raw(struct mb__text *t, const void *bytes, size_t len)
{
    const uint8_t *p = bytes, *end = p + len;
    mb__text_char(t, '"');
    while (p < end) {
        size_t n = plain_run(p, (size_t)(end - p));
        if (n == 0)
            n = utf8_sequence(p, (size_t)(end - p));
        if (n == 0)
            escape(t, *p++);
        mb__text_bytes(t, p, n);
        p += n;
    }
    mb__text_char(t, '"');
}

void mb__json_key(struct mb__text *t, const char *key, size_t len)
{
    mb__json_string(t, key, len);
    mb__text_char(t, ':');
}

void mb__json_addr_raw(struct mb__text *t, const struct mb_addr *a)
{
    char *p = mb__text_room(t, MB_ADDR_TEXT + 2);
    *p = '"';
    p += 1 + mb_addr_text(a, p + 1);
    *p = '"';
    t->at = p + 1;
}
