/* SPDX-License-Identifier: BSD-3-Clause */
/* parse -- what the parser of expressions is made of: words and constants */
#ifndef MB_MATCH_PARSE_H
#define MB_MATCH_PARSE_H

#include <ctype.h>

#include "match/expr.h"

#define MB__PARSE_DEPTH 64 /* operators and parentheses that wait */
#define MB__PARSE_SHOW 27  /* bytes of a piece of the text in a message */

/* What waits on the stack, in the order of how much it binds. */
enum mb__waiting { MB__PARENTHESIS, MB__OR, MB__AND, MB__NOT };

struct mb__parser {
    const char *text;
    const char *at;
    struct mb__expr *x;
    uint32_t base; /* built-in event it is for */
    char *err;
    int depth;
    struct {
        enum mb__waiting what;
        size_t jump;    /* step of "and" and "or" whose target is to come */
        const char *at; /* where it is written */
    } stack[MB__PARSE_DEPTH];
};

/* words.c: messages. All give MB_ESYNTAX, or MB_ENOMEM. */
__attribute__((format(printf, 3, 4))) int mb__parse_fail(const struct mb__parser *p, const char *at,
                                                         const char *format, ...);
/* "expected WHAT, found ..." at the place where the parser is. */
int mb__parse_expected(const struct mb__parser *p, const char *what);
int mb__parse_no_memory(const struct mb__parser *p);
/* What stands at |at|, in quotes. */
void mb__parse_show(const char *at, char found[static MB__PARSE_SHOW]);

/* words.c: words. */
static inline bool mb__word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}
void mb__parse_space(struct mb__parser *p);
/* Takes |symbol|, and a word only if it is whole. */
bool mb__parse_take(struct mb__parser *p, const char *symbol);
/* Takes a word; its length. */
int mb__parse_word(struct mb__parser *p);

/* constant.c: constants. 0 or < 0 and a message. */
int mb__put_range(struct mb__parser *p, uint64_t low, uint64_t high);
/* One constant of a kind that is held as a number. */
int mb__read_value(struct mb__parser *p, enum mb__kind kind, uint64_t *value);
/* An address; with |in| also a prefix 10.0.0.0/8 or a range a-b: into x->addrs. */
int mb__read_addrs(struct mb__parser *p, bool in);
/* A string into x->literals, a pattern into x->regexes. */
int mb__read_literal(struct mb__parser *p);
int mb__read_regex(struct mb__parser *p);

#endif
