/* SPDX-License-Identifier: BSD-3-Clause */
/* regex -- regular expressions through PCRE2, with bounds on their cost */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "match/expr.h"

#define MATCH_LIMIT 100000 /* steps of backtracking a match may take; then there is none */
#define DEPTH_LIMIT 1000
#define HEAP_LIMIT 4096    /* KiB */
#define MAX_PATTERN 4096   /* bytes */

struct mb__regex {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

/* |pattern| compiled. NULL and the reason. */
static pcre2_code *compile(const uint8_t *pattern, size_t len, char *err, size_t *where)
{
    int number = 0;
    PCRE2_SIZE offset = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context != NULL)
        pcre2_set_max_pattern_length(context, MAX_PATTERN);
    uint32_t options = PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *code = pcre2_compile(pattern, len, options, &number, &offset, context);
    pcre2_compile_context_free(context);
    if (code == NULL) {
        pcre2_get_error_message(number, (PCRE2_UCHAR *)err, MB_ERRBUF_SIZE / 2);
        *where = offset;
    }
    return code;
}

struct mb__regex *mb__regex_new(const uint8_t *pattern, size_t len, char *err, size_t *where)
{
    *where = 0;
    struct mb__regex *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->code = compile(pattern, len, err, where);
    if (r->code == NULL) {
        free(r);
        return NULL;
    }
    r->match = pcre2_match_data_create(1, NULL);
    r->limits = pcre2_match_context_create(NULL);
    if (r->match == NULL || r->limits == NULL) {
        snprintf(err, MB_ERRBUF_SIZE / 2, "%s", mb_error_text(MB_ENOMEM));
        mb__regex_free(r);
        return NULL;
    }
    pcre2_set_match_limit(r->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(r->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(r->limits, HEAP_LIMIT);
    /* Where memory may not be made executable, the interpreter does the work. */
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    return r;
}

bool mb__regex_match(const struct mb__regex *r, const uint8_t *data, size_t len)
{
    return pcre2_match(r->code, len != 0 ? data : (PCRE2_SPTR) "", len, 0, 0, r->match, r->limits) >= 0;
}

void mb__regex_free(struct mb__regex *r)
{
    if (r == NULL)
        return;
    pcre2_match_context_free(r->limits);
    pcre2_match_data_free(r->match);
    pcre2_code_free(r->code);
    free(r);
}
