/* SPDX-License-Identifier: BSD-3-Clause */
/* text -- bytes and addresses as Python prints them, for play_case */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "play.h"

#define SHORT 40 /* bytes that are shown as they are */
#define RUNS  8  /* from so many on a long text is told by its length */

static void say_byte(uint8_t b, char quote)
{
    static const char letters[] = "tn..r"; /* of \x09 to \x0d */
    if (b == '\\' || b == quote)
        printf("\\%c", b);
    else if (b == '\t' || b == '\n' || b == '\r')
        printf("\\%c", letters[b - '\t']);
    else if (b < ' ' || (b >= 0x7f && b <= 0xa0) || b == 0xad)
        printf("\\x%02x", b);
    else if (b < 0x7f)
        putchar(b);
    else
        printf("%c%c", 0xc0 | b >> 6, 0x80 | (b & 0x3f)); /* UTF-8 */
}

void say_text(const uint8_t *bytes, size_t len)
{
    bool single = len > 0 && memchr(bytes, '\'', len) != NULL;
    bool twice = len > 0 && memchr(bytes, '"', len) != NULL;
    char quote = single && !twice ? '"' : '\'';
    putchar(quote);
    for (size_t i = 0; i < len; i++)
        say_byte(bytes[i], quote);
    putchar(quote);
}

/* How many bytes from the first on are equal to it. */
static size_t run_of(const uint8_t *bytes, size_t len)
{
    size_t n = 1;
    while (n < len && bytes[n] == bytes[0])
        n++;
    return n;
}

void say_data(const uint8_t *bytes, size_t len)
{
    size_t runs = 0;
    for (size_t at = 0; at < len; at += run_of(bytes + at, len - at))
        runs++;
    if (len <= SHORT) {
        say_text(bytes, len);
    } else if (runs >= RUNS) {
        printf("%zu bytes", len);
    } else {
        for (size_t at = 0, n; at < len; at += n) {
            n = run_of(bytes + at, len - at);
            fputs(at > 0 ? " " : "", stdout);
            say_text(bytes + at, 1);
            printf("*%zu", n);
        }
    }
}

void say_endpoint(const struct mb_endpoint *end)
{
    char text[MB_ADDR_TEXT];
    mb_addr_text(&end->addr, text);
    printf(mb_addr_is_v4(&end->addr) ? "%s:%u" : "[%s]:%u", text, end->port);
}
