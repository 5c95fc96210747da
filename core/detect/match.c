/* SPDX-License-Identifier: BSD-3-Clause */
/* match -- the loop over operations, contents, expressions and numbers */
#include "detect/match.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

#define NONE (-1)

/* Where one operation stands in the search. */
struct step {
    int64_t start; /* relative operations count from here: where the one before ended */
    int64_t next;  /* look from here for another place; NONE: nowhere looked yet */
};

/* What one try of an operation gives. */
struct outcome {
    int64_t end;  /* where the next relative operation counts from */
    int64_t next; /* where another place may be looked for */
};

int mb__matcher_init(struct mb__matcher *m)
{
    *m = (struct mb__matcher){.context = pcre2_match_context_create(NULL),
                              .pcre = pcre2_match_data_create(8, NULL),
                              .base64 = malloc(MB__BASE64_MAX)};
    if (m->context == NULL || m->pcre == NULL || m->base64 == NULL) {
        mb__matcher_fini(m);
        return MB_ENOMEM;
    }
    pcre2_set_match_limit(m->context, MB__PCRE_MATCH_LIMIT);
    pcre2_set_depth_limit(m->context, MB__PCRE_DEPTH_LIMIT);
    return 0;
}

void mb__matcher_fini(struct mb__matcher *m)
{
    pcre2_match_context_free(m->context);
    pcre2_match_data_free(m->pcre);
    free(m->base64);
    *m = (struct mb__matcher){0};
}

void mb__matcher_reset(struct mb__matcher *m)
{
    m->has_base64 = false;
    memset(m->var, 0, sizeof m->var);
}

/* ---- contents ------------------------------------------------------------- */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool equal(const uint8_t *data, const uint8_t *needle, uint32_t len, bool nocase)
{
    if (!nocase)
        return memcmp(data, needle, len) == 0;
    for (uint32_t i = 0; i < len; i++)
        if (lower(data[i]) != needle[i])
            return false;
    return true;
}

int64_t mb__find(const uint8_t *data, uint32_t from, uint32_t to, const uint8_t *needle, uint32_t len, bool nocase)
{
    if (from > to || to - from < len)
        return NONE;
    if (!nocase) {
        const uint8_t *hit = memmem(data + from, to - from, needle, len);
        return hit == NULL ? NONE : hit - data;
    }
    for (uint32_t at = from; at <= to - len; at++)
        if (lower(data[at]) == needle[0] && equal(data + at, needle, len, true))
            return at;
    return NONE;
}

static int64_t number(const struct mb__matcher *m, const struct mb_rule_op *op, int32_t value, uint8_t var)
{
    if (!(op->vars & var))
        return value;
    uint64_t v = m->var[value];
    return v > INT32_MAX ? INT32_MAX : (int64_t)v;
}

/* The part of the bytes that a content may lie in: [from, to). */
static void content_bounds(const struct mb__matcher *m, const struct mb_rule_op *op, const struct mb__bytes *b,
                           int64_t start, int64_t *from, int64_t *to)
{
    int64_t base = b->base > INT32_MAX ? INT32_MAX : (int64_t)b->base;
    *from = 0;
    *to = b->len;
    if (op->flags & (MB_OPF_OFFSET | MB_OPF_DEPTH)) {
        int64_t offset = op->flags & MB_OPF_OFFSET ? number(m, op, op->a, MB_OPV_A) : 0;
        *from = offset - base;
        if (op->flags & MB_OPF_DEPTH && *from + number(m, op, op->b, MB_OPV_B) < *to)
            *to = *from + number(m, op, op->b, MB_OPV_B);
    }
    if (op->flags & MB_OPF_RELATIVE) {
        int64_t distance = op->flags & MB_OPF_DISTANCE ? number(m, op, op->c, MB_OPV_C) : 0;
        if (start + distance > *from)
            *from = start + distance;
        if (op->flags & MB_OPF_WITHIN && start + distance + number(m, op, op->d, MB_OPV_D) < *to)
            *to = start + distance + number(m, op, op->d, MB_OPV_D);
    }
    if (*from < 0)
        *from = 0;
    if (op->flags & MB_OPF_ENDSWITH) {
        if (*to < (int64_t)b->len)
            *to = 0; /* its end is out of reach */
        else if (*to - (int64_t)op->len > *from)
            *from = *to - (int64_t)op->len;
    }
}

static bool try_content(const struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                        const struct mb__bytes *b, const struct step *s, struct outcome *out)
{
    int64_t from, to;
    content_bounds(m, op, b, s->start, &from, &to);
    if (s->next > from)
        from = s->next;
    int64_t at = NONE;
    if (to >= from + (int64_t)op->len)
        at = mb__find(b->data, (uint32_t)from, (uint32_t)to, mb__op_data(rule, op), op->len, op->flags & MB_OPF_NOCASE);
    if (op->flags & MB_OPF_NOT) {
        out->end = s->start;
        return at == NONE;
    }
    out->end = at + (int64_t)op->len;
    out->next = at + 1;
    return at != NONE;
}

/* ---- expressions ---------------------------------------------------------- */

static bool try_pcre(struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                     const struct mb__bytes *b, const struct step *s, struct outcome *out)
{
    static const uint8_t nothing[1];
    int64_t from = op->flags & MB_OPF_RELATIVE ? s->start : 0;
    bool found = false;
    if (from <= (int64_t)b->len) {
        const uint8_t *subject = b->len > 0 ? b->data + from : nothing;
        int64_t skip = s->next > from ? s->next - from : 0;
        int rc = skip > (int64_t)b->len - from
                     ? PCRE2_ERROR_NOMATCH
                     : pcre2_match(rule->pcre[op - rule->op], subject, (size_t)((int64_t)b->len - from), (size_t)skip, 0,
                                   m->pcre, m->context);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            m->pcre_limits++;
        found = rc >= 0;
    }
    if (op->flags & MB_OPF_NOT) {
        out->end = s->start;
        return !found;
    }
    if (!found)
        return false;
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(m->pcre);
    out->end = from + (int64_t)ovector[1];
    out->next = from + (int64_t)ovector[0] + 1;
    return true;
}

/* ---- numbers in the bytes -------------------------------------------------- */

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* A number in digits, as strtoull() reads it. */
static bool read_digits(const uint8_t *at, uint32_t len, unsigned base, uint64_t *value, uint32_t *used)
{
    uint32_t i = 0;
    while (i < len && (at[i] == ' ' || (at[i] >= '\t' && at[i] <= '\r')))
        i++;
    if (base == 16 && i + 2 < len && at[i] == '0' && lower(at[i + 1]) == 'x')
        i += 2;
    if (base == 0) {
        base = 10;
        if (i < len && at[i] == '0')
            base = i + 1 < len && lower(at[i + 1]) == 'x' ? 16 : 8;
        if (base == 16)
            i += 2;
    }
    uint32_t first = i;
    *value = 0;
    for (; i < len && (unsigned)digit(at[i]) < base; i++)
        *value = *value * base + (unsigned)digit(at[i]);
    *used = i;
    return i > first;
}

static uint64_t read_binary(const uint8_t *at, uint32_t len, bool little)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < len; i++)
        value = value << 8 | at[little ? len - 1 - i : i];
    return value;
}

static uint64_t masked(uint64_t value, uint64_t mask)
{
    return mask == UINT64_MAX ? value : (value & mask) >> __builtin_ctzll(mask | 1ull << 63);
}

/* The number that a byte_ operation reads, and where it ends. */
static bool read_number(const struct mb__matcher *m, const struct mb_rule_op *op, const struct mb__bytes *b,
                        int64_t start, uint64_t *value, int64_t *end)
{
    int64_t at = number(m, op, op->c, MB_OPV_C);
    at = op->flags & MB_OPF_RELATIVE ? at + start : at - (b->base > INT32_MAX ? INT32_MAX : (int64_t)b->base);
    int64_t count = number(m, op, op->a, MB_OPV_A);
    if (at < 0 || at > (int64_t)b->len || count > (int64_t)b->len - at || count < 0)
        return false;
    uint32_t used = (uint32_t)count;
    if (op->flags & MB_OPF_STRING) {
        if (!read_digits(b->data + at, (uint32_t)count, op->y, value, &used))
            return false;
    } else if (count > 8) {
        return false;
    } else {
        bool little = op->flags & MB_OPF_LITTLE;
        if (op->flags & MB_OPF_DCE && b->len > 4)
            little = b->data[4] & 0x10; /* data representation of the DCE/RPC header */
        *value = read_binary(b->data + at, (uint32_t)count, little);
    }
    *end = at + used;
    return true;
}

static void arguments(const struct mb__rule *rule, const struct mb_rule_op *op, uint64_t out[2])
{
    memcpy(out, mb__op_data(rule, op), 16);
}

static bool compare(unsigned operator, uint64_t value, uint64_t wanted)
{
    switch (operator) {
    case 1: return value < wanted;
    case 2: return value <= wanted;
    case 3: return value == wanted;
    case 4: return value > wanted;
    case 5: return value >= wanted;
    case 6: return (value & wanted) != 0;
    default: return (value ^ wanted) != 0;
    }
}

static bool try_byte_test(const struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                          const struct mb__bytes *b, const struct step *s)
{
    uint64_t args[2], value;
    int64_t end;
    arguments(rule, op, args);
    if (!read_number(m, op, b, s->start, &value, &end))
        return false;
    uint64_t wanted = op->vars & MB_OPV_B ? m->var[op->b] : args[0];
    return compare(op->x, masked(value, args[1]), wanted) != ((op->flags & MB_OPF_NOT) != 0);
}

static bool try_byte_jump(const struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                          const struct mb__bytes *b, const struct step *s, struct outcome *out)
{
    uint64_t args[2], value;
    int64_t end;
    arguments(rule, op, args);
    if (!read_number(m, op, b, s->start, &value, &end))
        return false;
    value = masked(value, args[1]) * args[0];
    if (op->flags & MB_OPF_ALIGN)
        value = (value + 3) & ~3ull;
    if (value > UINT32_MAX)
        return false;
    if (op->flags & MB_OPF_BEGINNING)
        end = 0;
    else if (op->flags & MB_OPF_END)
        end = b->len;
    out->end = end + (int64_t)value + op->b;
    return out->end >= 0 && out->end <= (int64_t)b->len;
}

static bool try_byte_extract(struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                             const struct mb__bytes *b, const struct step *s, struct outcome *out)
{
    uint64_t args[2], value;
    arguments(rule, op, args);
    if (!read_number(m, op, b, s->start, &value, &out->end))
        return false;
    value = masked(value, args[1]) * args[0];
    if (op->flags & MB_OPF_ALIGN)
        value = (value + 3) & ~3ull;
    m->var[op->d] = value;
    return true;
}

/* The result of byte_math, wrapped to 64 bits; false: it has none. */
static bool calculate(unsigned operator, uint64_t left, uint64_t right, uint64_t *result)
{
    switch (operator) {
    case '+': *result = left + right; return true;
    case '-': *result = left - right; return true;
    case '*': *result = left * right; return true;
    case '/': *result = right != 0 ? left / right : 0; return right != 0;
    case '<': *result = right < 64 ? left << right : 0; return true;
    default: *result = right < 64 ? left >> right : 0; return true;
    }
}

static bool try_byte_math(struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                          const struct mb__bytes *b, const struct step *s, struct outcome *out)
{
    uint64_t args[2], value;
    arguments(rule, op, args);
    if (!read_number(m, op, b, s->start, &value, &out->end))
        return false;
    uint64_t right = op->vars & MB_OPV_B ? m->var[op->b] : args[0];
    return calculate(op->x, masked(value, args[1]), right, &m->var[op->d]);
}

static bool try_isdataat(const struct mb__matcher *m, const struct mb_rule_op *op, const struct mb__bytes *b,
                         const struct step *s)
{
    int64_t at = number(m, op, op->c, MB_OPV_C);
    bool there = op->flags & MB_OPF_RELATIVE ? s->start + at <= (int64_t)b->len : at < (int64_t)(b->base + b->len);
    return there != ((op->flags & MB_OPF_NOT) != 0);
}

/* ---- base64 --------------------------------------------------------------- */

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : NONE;
}

uint32_t mb__base64_decode(const uint8_t *data, uint32_t len, uint8_t *out)
{
    uint32_t bits = 0, count = 0, n = 0;
    for (uint32_t i = 0; i < len; i++) {
        int value = base64_digit(data[i]);
        if (value < 0)
            break;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[n++] = (uint8_t)(bits >> count);
        }
    }
    return n;
}

static bool try_base64(struct mb__matcher *m, const struct mb_rule_op *op, const struct mb__bytes *b,
                       const struct step *s)
{
    int64_t from = op->c + (op->flags & MB_OPF_RELATIVE ? s->start : 0);
    if (from < 0 || from >= (int64_t)b->len)
        return false;
    uint32_t len = b->len - (uint32_t)from;
    if (op->a > 0 && len > (uint32_t)op->a)
        len = (uint32_t)op->a;
    if (len > MB__BASE64_MAX)
        len = MB__BASE64_MAX;
    m->base64_len = mb__base64_decode(b->data + from, len, m->base64);
    m->has_base64 = m->base64_len > 0;
    return m->has_base64;
}

/* ---- the loop ------------------------------------------------------------- */

static bool try_op(struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_op *op,
                   const struct mb__bytes *b, const struct step *s, struct outcome *out)
{
    out->end = s->start;
    switch (op->type) {
    case MB_OP_CONTENT: return try_content(m, rule, op, b, s, out);
    case MB_OP_PCRE: return try_pcre(m, rule, op, b, s, out);
    case MB_OP_BYTE_TEST: return try_byte_test(m, rule, op, b, s);
    case MB_OP_BYTE_JUMP: return try_byte_jump(m, rule, op, b, s, out);
    case MB_OP_BYTE_EXTRACT: return try_byte_extract(m, rule, op, b, s, out);
    case MB_OP_BYTE_MATH: return try_byte_math(m, rule, op, b, s, out);
    case MB_OP_ISDATAAT: return try_isdataat(m, op, b, s);
    case MB_OP_BSIZE: return (b->len >= (uint32_t)op->a && b->len <= (uint32_t)op->b) != ((op->flags & MB_OPF_NOT) != 0);
    default: return try_base64(m, op, b, s);
    }
}

/* Whether another place of what was found can be looked for. */
static bool can_go_on(const struct mb_rule_op *op)
{
    return (op->type == MB_OP_CONTENT || op->type == MB_OP_PCRE) && !(op->flags & MB_OPF_NOT);
}

/* Whether the operation's answer depends on what those before it found. */
static bool depends(const struct mb_rule_op *op)
{
    return op->flags & MB_OPF_RELATIVE || op->vars != 0;
}

/* The operation before |i| to be tried at its next place; NONE: the inspection failed. */
static int go_back(const struct mb_rule_op *op, int i)
{
    while (depends(&op[i])) {
        if (--i < 0)
            return NONE;
        if (can_go_on(&op[i]))
            return i;
    }
    return NONE;
}

bool mb__match(struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_inspect *in,
               const struct mb__bytes *bytes)
{
    struct step steps[MB_RULE_MAX_OPS + 1];
    const struct mb_rule_op *op = rule->op + in->first;
    int i = 0, count = in->count;
    steps[0] = (struct step){0, NONE};
    for (int budget = MB__MATCH_STEPS; i < count; budget--) {
        struct outcome out = {0, NONE};
        if (budget == 0)
            return false;
        if (try_op(m, rule, &op[i], bytes, &steps[i], &out)) {
            steps[i].next = out.next;
            i++;
            steps[i] = (struct step){out.end, NONE};
        } else if ((i = go_back(op, i)) == NONE) {
            return false;
        }
    }
    return true;
}
