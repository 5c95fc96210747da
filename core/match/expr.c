/* SPDX-License-Identifier: BSD-3-Clause */
/* expr -- parses expressions into steps
 *
 * Tests are written as they are read. Operators wait on a stack of fixed depth
 * until one that binds less follows: "and" and "or" have written a jump by
 * then, whose target is known when they leave the stack. So there is no
 * recursion, and code comes out in one pass.
 */
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "match/parse.h"

#define MAX_TEXT 16384 /* bytes of an expression */

enum compare { EQ, NE, LT, LE, GT, GE, IN, CONTAINS, MATCHES };

/* One test being parsed. */
struct test {
    const struct mb__field *field;
    const char *name; /* as written */
    int name_len;
    int of;
    enum compare op;
    bool other;
};

/* ---- tests ---- */

static int put(struct mb__parser *p, struct mb__expr_step step)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->steps, &x->step_room, x->step_count + 1, sizeof step) < 0)
        return mb__parse_no_memory(p);
    x->steps[x->step_count++] = step;
    return 0;
}

static bool op_fits(enum mb__kind kind, enum compare op)
{
    switch (op) {
    case EQ:
    case NE:
        return kind != MB__KIND_BYTES;
    case IN:
        return kind != MB__KIND_BYTES && kind != MB__KIND_BOOL;
    case CONTAINS:
        return kind == MB__KIND_BYTES || kind == MB__KIND_FLAGS;
    case MATCHES:
        return kind == MB__KIND_BYTES;
    default:
        return kind == MB__KIND_COUNT || kind == MB__KIND_SIZE || kind == MB__KIND_TIME;
    }
}

static const char *ops_of(enum mb__kind kind)
{
    switch (kind) {
    case MB__KIND_COUNT:
    case MB__KIND_SIZE:
    case MB__KIND_TIME: return "== != < <= > >= or in";
    case MB__KIND_BOOL: return "== or !=";
    case MB__KIND_FLAGS: return "== != in or contains";
    case MB__KIND_BYTES: return "contains or matches";
    default: return "== != or in";
    }
}

static bool take_compare(struct mb__parser *p, enum compare *op)
{
    static const struct {
        const char *symbol;
        enum compare op;
    } ops[] = {{"==", EQ}, {"!=", NE}, {"<=", LE}, {"<", LT}, {">=", GE}, {">", GT},
               {"in", IN}, {"contains", CONTAINS}, {"matches", MATCHES}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (mb__parse_take(p, ops[i].symbol)) {
            *op = ops[i].op;
            return true;
        }
    }
    return false;
}

static int read_compare(struct mb__parser *p, struct test *t)
{
    mb__parse_space(p);
    const char *start = p->at;
    t->other = mb__parse_take(p, "not");
    mb__parse_space(p);
    if (take_compare(p, &t->op) && op_fits(t->field->kind, t->op) && !(t->other && t->op < IN)) {
        t->other |= t->op == NE;
        return 0;
    }
    char found[MB__PARSE_SHOW], words[64];
    mb__parse_show(start, found);
    snprintf(words, sizeof words, "%s", ops_of(t->field->kind));
    return mb__parse_fail(p, start, "expected %s after %.*s, found %s", words, t->name_len, t->name, found);
}

/* Ranges of one comparison with |v|; low above high: nothing fits. */
static int put_compared(struct mb__parser *p, enum compare op, uint64_t v)
{
    switch (op) {
    case LT: return v == 0 ? mb__put_range(p, 1, 0) : mb__put_range(p, 0, v - 1);
    case LE: return mb__put_range(p, 0, v);
    case GT: return v == UINT64_MAX ? mb__put_range(p, 1, 0) : mb__put_range(p, v + 1, UINT64_MAX);
    case GE: return mb__put_range(p, v, UINT64_MAX);
    default: return mb__put_range(p, v, v);
    }
}

/* One element behind "in", or the one value behind another operator. */
static int read_element(struct mb__parser *p, const struct test *t)
{
    enum mb__kind kind = t->field->kind;
    uint64_t low, high;
    if (kind == MB__KIND_ADDR)
        return mb__read_addrs(p, t->op == IN);
    int err = mb__read_value(p, kind, &low);
    if (err < 0 || t->op != IN)
        return err < 0 ? err : put_compared(p, t->op, low);
    high = low;
    const char *sign = p->at;
    if (op_fits(kind, LT) && mb__parse_take(p, "-")) {
        err = mb__read_value(p, kind, &high);
        if (err < 0)
            return err;
        if (high < low)
            return mb__parse_fail(p, sign, "the range ends before it begins");
    }
    return mb__put_range(p, low, high);
}

static int read_elements(struct mb__parser *p, const struct test *t)
{
    if (t->op != IN || !mb__parse_take(p, "{"))
        return read_element(p, t);
    do {
        int err = read_element(p, t);
        if (err < 0)
            return err;
    } while (mb__parse_take(p, ","));
    return mb__parse_take(p, "}") ? 0 : mb__parse_expected(p, "',' or '}'");
}

/* Reads the constants of |t| and says in |step| which they are. */
static int read_constants(struct mb__parser *p, const struct test *t, struct mb__expr_step *step)
{
    const struct mb__expr *x = p->x;
    bool addr = t->field->kind == MB__KIND_ADDR;
    if (t->op == MATCHES || (t->op == CONTAINS && t->field->kind == MB__KIND_BYTES)) {
        step->op = t->op == MATCHES ? MB__OP_MATCHES : MB__OP_CONTAINS;
        step->first = (uint32_t)(t->op == MATCHES ? x->regex_count : x->literal_count);
        return t->op == MATCHES ? mb__read_regex(p) : mb__read_literal(p);
    }
    size_t first = addr ? x->addr_count : x->range_count;
    int err = read_elements(p, t);
    step->op = addr ? MB__OP_ADDR : t->op == CONTAINS ? MB__OP_FLAGS : MB__OP_NUMBER;
    step->first = (uint32_t)first;
    step->count = (uint32_t)((addr ? x->addr_count : x->range_count) - first);
    return err;
}

/* Writes the test; "ip" and "port" alone mean that of either end: one of them
 * fits, or, negated, none does. */
static int put_test(struct mb__parser *p, const struct test *t, struct mb__expr_step step)
{
    bool either = t->of == MB__OF_ALL && (t->field->id == MB__F_IP || t->field->id == MB__F_PORT);
    step.field = (uint8_t)t->field->id;
    step.of = (uint8_t)(either ? MB__OF_CLIENT : t->of);
    step.other = t->other;
    int err = put(p, step);
    if (err < 0 || !either)
        return err;
    size_t jump = p->x->step_count;
    struct mb__expr_step skip = {.op = t->other ? MB__OP_UNLESS : MB__OP_IF, .first = (uint32_t)jump + 2};
    step.of = MB__OF_SERVER;
    err = put(p, skip);
    return err < 0 ? err : put(p, step);
}

/* Finds the field at hand and whether the event has it. */
static int read_field(struct mb__parser *p, struct test *t)
{
    t->name = p->at;
    if (!isalpha((unsigned char)*p->at))
        return mb__parse_expected(p, "a field, 'not' or '('");
    t->name_len = mb__parse_word(p);
    t->field = mb__field_find(t->name, (size_t)t->name_len, &t->of);
    int shown = t->name_len > 64 ? 64 : t->name_len;
    if (t->field == NULL)
        return mb__parse_fail(p, t->name, "there is no field '%.*s'", shown, t->name);
    if (t->field->events != 0 && !(t->field->events >> p->base & 1))
        return mb__parse_fail(p, t->name, "%s events have no '%.*s'", mb_event_name((int)p->base), shown,
                              t->name);
    return 0;
}

static int read_test(struct mb__parser *p)
{
    struct test t = {.op = EQ};
    struct mb__expr_step step = {0};
    int err = read_field(p, &t);
    if (err < 0)
        return err;
    mb__parse_space(p);
    bool compared = strncmp(p->at, "==", 2) == 0 || strncmp(p->at, "!=", 2) == 0;
    if (t.field->kind == MB__KIND_BOOL && !compared) {
        step.op = MB__OP_NUMBER;
        step.first = (uint32_t)p->x->range_count;
        step.count = 1;
        err = mb__put_range(p, 1, 1);
    } else {
        err = read_compare(p, &t);
        if (err == 0)
            err = read_constants(p, &t, &step);
    }
    return err < 0 ? err : put_test(p, &t, step);
}

/* ---- operators ---- */

static int push(struct mb__parser *p, enum mb__waiting what, const char *at)
{
    if (p->depth == MB__PARSE_DEPTH)
        return mb__parse_fail(p, at, "more than %d operators and parentheses in one another",
                              MB__PARSE_DEPTH);
    p->stack[p->depth].what = what;
    p->stack[p->depth].jump = p->x->step_count;
    p->stack[p->depth++].at = at;
    if (what != MB__AND && what != MB__OR)
        return 0;
    return put(p, (struct mb__expr_step){.op = what == MB__AND ? MB__OP_UNLESS : MB__OP_IF});
}

/* Takes from the stack what binds at least as much as |what|, to the nearest
 * parenthesis. */
static int pop(struct mb__parser *p, enum mb__waiting what)
{
    while (p->depth > 0 && p->stack[p->depth - 1].what >= what) {
        p->depth--;
        int err = 0;
        if (p->stack[p->depth].what == MB__NOT)
            err = put(p, (struct mb__expr_step){.op = MB__OP_NOT});
        else
            p->x->steps[p->stack[p->depth].jump].first = (uint32_t)p->x->step_count;
        if (err < 0)
            return err;
    }
    return 0;
}

/* What may begin a test: any of "not" and "(", then the test. */
static int read_operand(struct mb__parser *p)
{
    for (;;) {
        mb__parse_space(p);
        const char *at = p->at;
        int err;
        if (mb__parse_take(p, "(")) {
            err = push(p, MB__PARENTHESIS, at);
        } else if (mb__parse_take(p, "!") || mb__parse_take(p, "not")) {
            err = push(p, MB__NOT, at);
        } else {
            return read_test(p);
        }
        if (err < 0)
            return err;
    }
}

static int close_parenthesis(struct mb__parser *p, const char *at)
{
    int err = pop(p, MB__OR);
    if (err < 0)
        return err;
    if (p->depth == 0)
        return mb__parse_fail(p, at, "')' without '('");
    p->depth--;
    return 0;
}

/* What may follow a test: any ")", then an operator (1) or the end (0). */
static int read_operator(struct mb__parser *p)
{
    for (;;) {
        mb__parse_space(p);
        const char *at = p->at;
        int err;
        if (mb__parse_take(p, ")")) {
            err = close_parenthesis(p, at);
            if (err < 0)
                return err;
            continue;
        }
        enum mb__waiting what;
        if (mb__parse_take(p, "and") || mb__parse_take(p, "&&"))
            what = MB__AND;
        else if (mb__parse_take(p, "or") || mb__parse_take(p, "||"))
            what = MB__OR;
        else
            return *p->at == 0 ? 0 : mb__parse_expected(p, "'and', 'or' or the end");
        err = pop(p, what);
        if (err == 0)
            err = push(p, what, at);
        return err < 0 ? err : 1;
    }
}

static int parse(struct mb__parser *p)
{
    int more;
    do {
        more = read_operand(p);
        if (more == 0)
            more = read_operator(p);
    } while (more > 0);
    if (more == 0)
        more = pop(p, MB__OR);
    if (more == 0 && p->depth > 0)
        return mb__parse_fail(p, p->stack[p->depth - 1].at, "'(' without ')'");
    return more;
}

/* ---- the whole ---- */

int mb__expr_new(const char *text, uint32_t base, struct mb__expr **x, char *err)
{
    struct mb__parser p = {.text = text, .at = text, .base = base, .err = err};
    *x = NULL;
    if (strlen(text) > MAX_TEXT)
        return mb__parse_fail(&p, text + MAX_TEXT, "the expression is longer than %d bytes", MAX_TEXT);
    p.x = calloc(1, sizeof *p.x);
    if (p.x == NULL)
        return mb__parse_no_memory(&p);
    int rc = parse(&p);
    if (rc < 0)
        mb__expr_free(p.x);
    else
        *x = p.x;
    return rc;
}

void mb__expr_free(void *expr)
{
    struct mb__expr *x = expr;
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->regex_count; i++)
        mb__regex_free(x->regexes[i]);
    free(x->steps);
    free(x->ranges);
    free(x->addrs);
    free(x->literals);
    free(x->regexes);
    free(x->bytes);
    free(x);
}

static int event_filter(struct mb_event *ev, void *arg)
{
    return mb__expr_match(arg, ev);
}

int mb__event_define_expr(struct mb__events *es, uint32_t parent, const char *expression, char *err)
{
    struct mb__expr *x;
    int base = mb__event_base(es, parent);
    int rc = base < 0 ? base : mb__expr_new(expression, (uint32_t)base, &x, err);
    if (rc == 0)
        rc = mb__event_define_owned(es, parent, event_filter, x, mb__expr_free, expression);
    if (rc < 0 && rc != MB_ESYNTAX && err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(rc));
    return rc;
}
