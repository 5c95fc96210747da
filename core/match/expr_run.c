/* SPDX-License-Identifier: BSD-3-Clause */
/* expr_run -- the machine that runs compiled expressions */
#include <string.h>

#include "match/expr.h"

static bool number_fits(const struct mb__expr *x, const struct mb__expr_step *s, uint64_t value)
{
    for (uint32_t i = s->first; i < s->first + s->count; i++)
        if (x->ranges[i].low <= value && value <= x->ranges[i].high)
            return true;
    return false;
}

static bool addr_fits(const struct mb__expr *x, const struct mb__expr_step *s, const struct mb_addr *value)
{
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        const struct mb__addr_range *r = &x->addrs[i];
        if (memcmp(&r->low, value, sizeof *value) <= 0 && memcmp(value, &r->high, sizeof *value) <= 0)
            return true;
    }
    return false;
}

static bool bytes_fit(const struct mb__expr *x, const struct mb__expr_step *s, const struct mb_view *value)
{
    if (s->op == MB__OP_MATCHES)
        return mb__regex_match(x->regexes[s->first], value->data, value->len);
    const struct mb__literal *l = &x->literals[s->first];
    return value->len >= l->len && memmem(value->data, value->len, x->bytes + l->at, l->len) != NULL;
}

/* A test of a field that has no value in |ev| is false, also the negated ones. */
static bool test(const struct mb__expr *x, const struct mb__expr_step *s, const struct mb_event *ev)
{
    uint64_t number;
    struct mb_addr addr;
    struct mb_view view;
    switch (s->op) {
    case MB__OP_NUMBER:
        return mb__field_number(ev, s->field, s->of, &number) && number_fits(x, s, number) != s->other;
    case MB__OP_FLAGS:
        if (!mb__field_number(ev, s->field, s->of, &number))
            return false;
        return ((number & x->ranges[s->first].low) == x->ranges[s->first].low) != s->other;
    case MB__OP_ADDR:
        return mb__field_addr(ev, s->field, s->of, &addr) && addr_fits(x, s, &addr) != s->other;
    default:
        return mb__field_bytes(ev, s->field, &view) && bytes_fit(x, s, &view) != s->other;
    }
}

bool mb__expr_match(const struct mb__expr *x, const struct mb_event *ev)
{
    bool truth = false;
    for (size_t at = 0; at < x->step_count;) {
        const struct mb__expr_step *s = &x->steps[at++];
        if (s->op == MB__OP_NOT)
            truth = !truth;
        else if (s->op != MB__OP_IF && s->op != MB__OP_UNLESS)
            truth = test(x, s, ev);
        else if (truth == (s->op == MB__OP_IF))
            at = s->first;
    }
    return truth;
}
