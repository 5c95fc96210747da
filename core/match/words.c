/* SPDX-License-Identifier: BSD-3-Clause */
/* words -- messages and words of the parser of expressions */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "match/parse.h"

/* ---- messages ---- */

int mb__parse_fail(const struct mb__parser *p, const char *at, const char *format, ...)
{
    if (p->err == NULL)
        return MB_ESYNTAX;
    int n = snprintf(p->err, MB_ERRBUF_SIZE, "column %zu: ", (size_t)(at - p->text) + 1);
    va_list args;
    va_start(args, format);
    vsnprintf(p->err + n, MB_ERRBUF_SIZE - (size_t)n, format, args);
    va_end(args);
    return MB_ESYNTAX;
}

/* What stands at |at|, for messages. */
void mb__parse_show(const char *at, char found[static MB__PARSE_SHOW])
{
    size_t n = 0;
    if (*at == 0) {
        snprintf(found, MB__PARSE_SHOW, "the end");
        return;
    }
    found[n++] = '\'';
    do {
        found[n++] = isprint((unsigned char)*at) ? *at : '?';
        at++;
    } while (n < MB__PARSE_SHOW - 3 && mb__word_char(at[-1]) && mb__word_char(*at));
    found[n++] = '\'';
    found[n] = 0;
}

/* "expected WHAT, found ..." at the place where the parser is. */
int mb__parse_expected(const struct mb__parser *p, const char *what)
{
    char found[MB__PARSE_SHOW];
    mb__parse_show(p->at, found);
    return mb__parse_fail(p, p->at, "expected %s, found %s", what, found);
}

int mb__parse_no_memory(const struct mb__parser *p)
{
    if (p->err != NULL)
        snprintf(p->err, MB_ERRBUF_SIZE, "%s", mb_error_text(MB_ENOMEM));
    return MB_ENOMEM;
}

/* ---- words ---- */

void mb__parse_space(struct mb__parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')
        p->at++;
}

/* Takes |symbol|, and a word only if it is whole. */
bool mb__parse_take(struct mb__parser *p, const char *symbol)
{
    mb__parse_space(p);
    size_t n = strlen(symbol);
    if (strncmp(p->at, symbol, n) != 0 || (mb__word_char(*symbol) && mb__word_char(p->at[n])))
        return false;
    p->at += n;
    return true;
}

int mb__parse_word(struct mb__parser *p)
{
    int n = 0;
    while (mb__word_char(p->at[n]))
        n++;
    p->at += n;
    return n;
}
