/* SPDX-License-Identifier: BSD-3-Clause */
/* transform -- what is done to a buffer's bytes before they are inspected */
#include <string.h>

#include "base/digest.h"
#include "detect/match.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint32_t change_case(const uint8_t *in, uint32_t len, uint8_t *out, uint8_t first, int by)
{
    for (uint32_t i = 0; i < len; i++)
        out[i] = (uint8_t)(in[i] >= first && in[i] < first + 26 ? in[i] + by : in[i]);
    return len;
}

static uint32_t strip(const uint8_t *in, uint32_t len, uint8_t *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < len; i++)
        if (!is_space(in[i]))
            out[n++] = in[i];
    return n;
}

/* A run of white space becomes its first byte. */
static uint32_t compress(const uint8_t *in, uint32_t len, uint8_t *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < len; i++)
        if (!is_space(in[i]) || i == 0 || !is_space(in[i - 1]))
            out[n++] = in[i];
    return n;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %HH and + (RFC 3986 2.1, and forms). */
static uint32_t url_decode(const uint8_t *in, uint32_t len, uint8_t *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < len; i++) {
        if (in[i] == '%' && len - i > 2 && hex_digit(in[i + 1]) >= 0 && hex_digit(in[i + 2]) >= 0) {
            out[n++] = (uint8_t)(hex_digit(in[i + 1]) << 4 | hex_digit(in[i + 2]));
            i += 2;
        } else {
            out[n++] = in[i] == '+' ? ' ' : in[i];
        }
    }
    return n;
}

static uint32_t dot_prefix(const uint8_t *in, uint32_t len, uint8_t *out)
{
    out[0] = '.';
    if (len > 0)
        memcpy(out + 1, in, len);
    return len + 1;
}

static uint32_t digest(enum mb__digest_kind kind, const uint8_t *in, uint32_t len, uint8_t *out)
{
    mb__digest(kind, in, len, out);
    return (uint32_t)kind;
}

uint32_t mb__transform(int transform, const uint8_t *in, uint32_t len, uint8_t *out)
{
    switch (transform) {
    case MB_XF_LOWERCASE: return change_case(in, len, out, 'A', 32);
    case MB_XF_UPPERCASE: return change_case(in, len, out, 'a', -32);
    case MB_XF_STRIP_SPACE: return strip(in, len, out);
    case MB_XF_COMPRESS_SPACE: return compress(in, len, out);
    case MB_XF_DOTPREFIX: return dot_prefix(in, len, out);
    case MB_XF_URL_DECODE: return url_decode(in, len, out);
    case MB_XF_MD5: return digest(MB__MD5, in, len, out);
    case MB_XF_SHA1: return digest(MB__SHA1, in, len, out);
    default: return digest(MB__SHA256, in, len, out);
    }
}
