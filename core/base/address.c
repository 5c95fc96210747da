/* SPDX-License-Identifier: BSD-3-Clause */
/* address -- IP addresses as text and back */
#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"
#include "mosbox.h"

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96 */

bool mb_addr_is_v4(const struct mb_addr *a)
{
    return memcmp(a->byte, v4_prefix, sizeof v4_prefix) == 0;
}

static char *put_octet(char *p, uint8_t v)
{
    if (v < 10) {
        *p = (char)('0' + v);
        return p + 1;
    }
    if (v < 100)
        return mb__put_2(p, v);
    *p = (char)('0' + v / 100);
    return mb__put_2(p + 1, v % 100);
}

static char *put_v4(char *p, const uint8_t *byte)
{
    p = put_octet(p, byte[0]);
    *p++ = '.';
    p = put_octet(p, byte[1]);
    *p++ = '.';
    p = put_octet(p, byte[2]);
    *p++ = '.';
    return put_octet(p, byte[3]);
}

/* A group in lower-case hexadecimal without leading zeros. */
static char *put_group(char *p, uint32_t v)
{
    unsigned digits = 1 + (v > 0xf) + (v > 0xff) + (v > 0xfff);
    return mb__put_hex(p, v, digits);
}

/* The first of the longest runs of two or more zero groups: its length, 0 if
 * there is none (RFC 5952 4.2.2, 4.2.3). */
static int zero_run(const uint32_t group[8], int *start)
{
    int best = 1;
    *start = -1;
    for (int i = 0; i < 8; i++) {
        int n = 0;
        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > best) {
            best = n;
            *start = i;
        }
        i += n;
    }
    return best > 1 ? best : 0;
}

static char *put_v6(char *p, const uint8_t *byte)
{
    uint32_t group[8];
    for (int i = 0; i < 8; i++)
        group[i] = (uint32_t)byte[2 * i] << 8 | byte[2 * i + 1];
    int start, run = zero_run(group, &start);
    for (int i = 0; i < 8; i++) {
        if (i == start) {
            *p++ = ':';
            if (i + run == 8)
                *p++ = ':';
            i += run - 1;
            continue;
        }
        if (i != 0)
            *p++ = ':';
        p = put_group(p, group[i]);
    }
    return p;
}

size_t mb_addr_text(const struct mb_addr *a, char *text)
{
    char *end = mb_addr_is_v4(a) ? put_v4(text, a->byte + 12) : put_v6(text, a->byte);
    *end = '\0';
    return (size_t)(end - text);
}

int mb_addr_parse(const char *text, struct mb_addr *a)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        memcpy(a->byte, v4_prefix, sizeof v4_prefix);
        memcpy(a->byte + 12, &v4, 4);
        return 0;
    }
    struct in6_addr v6;
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return MB_ESYNTAX;
    memcpy(a->byte, &v6, 16);
    return 0;
}
