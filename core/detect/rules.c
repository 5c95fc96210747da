/* SPDX-License-Identifier: BSD-3-Clause */
/* rules -- loads rule programs: checks every number, compiles expressions */
#include "detect/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/say.h"

struct mb_rules *mb_rules_new(void)
{
    return calloc(1, sizeof(struct mb_rules));
}

static void rule_free(struct mb__rule *rule)
{
    if (rule->pcre != NULL)
        for (unsigned i = 0; i < rule->head->ops; i++)
            pcre2_code_free(rule->pcre[i]);
    free(rule->pcre);
    free(rule->head);
}

void mb_rules_free(struct mb_rules *r)
{
    if (r == NULL)
        return;
    mb__banks_free(r);
    for (uint32_t i = 0; i < r->count; i++)
        rule_free(&r->rule[i]);
    for (uint32_t i = 0; i < r->address_sets; i++)
        free(r->addresses[i].pairs);
    for (uint32_t i = 0; i < r->port_sets; i++)
        free(r->ports[i].pairs);
    free(r->addresses);
    free(r->ports);
    free(r->rule);
    free(r);
}

/* ---- sets of addresses and ports ------------------------------------------ */

static int add_set(struct mb__set **sets, uint32_t *n, const void *pairs, size_t size, size_t count)
{
    if (*n >= UINT16_MAX || count > UINT32_MAX / 64)
        return MB_ELIMIT;
    struct mb__set *grown = *sets;
    if ((*n & (*n - 1)) == 0) { /* room for the next power of two */
        grown = realloc(*sets, (*n == 0 ? 1 : 2 * (size_t)*n) * sizeof *grown);
        if (grown == NULL)
            return MB_ENOMEM;
        *sets = grown;
    }
    void *copy = malloc(count * size + 1);
    if (copy == NULL)
        return MB_ENOMEM;
    if (count > 0)
        memcpy(copy, pairs, count * size);
    grown[*n] = (struct mb__set){copy, (uint32_t)count};
    return (int)++*n;
}

int mb_rules_addresses(struct mb_rules *r, const struct mb_addr *pairs, size_t count)
{
    return r->built ? MB_ESTATE : add_set(&r->addresses, &r->address_sets, pairs, 2 * sizeof *pairs, count);
}

int mb_rules_ports(struct mb_rules *r, const uint16_t *pairs, size_t count)
{
    return r->built ? MB_ESTATE : add_set(&r->ports, &r->port_sets, pairs, 2 * sizeof *pairs, count);
}

bool mb__in_addresses(const struct mb_rules *r, uint32_t set, const struct mb_addr *a)
{
    if (set == 0)
        return true;
    const struct mb_addr *pairs = r->addresses[set - 1].pairs;
    uint32_t low = 0, high = r->addresses[set - 1].count;
    while (low < high) { /* the last pair whose lowest is not above |a| */
        uint32_t mid = low + (high - low) / 2;
        if (memcmp(&pairs[2 * mid], a, sizeof *a) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && memcmp(a, &pairs[2 * (low - 1) + 1], sizeof *a) <= 0;
}

bool mb__in_ports(const struct mb_rules *r, uint32_t set, uint16_t port)
{
    if (set == 0)
        return true;
    const uint16_t *pairs = r->ports[set - 1].pairs;
    for (uint32_t i = 0; i < r->ports[set - 1].count; i++)
        if (port >= pairs[2 * i] && port <= pairs[2 * i + 1])
            return true;
    return false;
}

/* ---- buffers -------------------------------------------------------------- */

int mb_rules_buffer(struct mb_rules *r, int base, const uint8_t *transforms, size_t count)
{
    if (base < 0 || base >= MB_BUF_COUNT || count > MB__MAX_TRANSFORMS)
        return MB_EINVAL;
    struct mb__buffer wanted = {.base = (uint8_t)base, .transforms = (uint8_t)count};
    for (size_t i = 0; i < count; i++) {
        if (transforms[i] < MB_XF_LOWERCASE || transforms[i] > MB_XF_SHA256)
            return MB_EINVAL;
        wanted.transform[i] = transforms[i];
    }
    for (uint32_t i = 0; i < r->buffers; i++)
        if (memcmp(&r->buffer[i], &wanted, sizeof wanted) == 0)
            return (int)i;
    if (r->built)
        return MB_ESTATE;
    if (r->buffers == MB__MAX_BUFFERS)
        return MB_ELIMIT;
    r->buffer[r->buffers] = wanted;
    return (int)r->buffers++;
}

/* ---- programs ------------------------------------------------------------- */

static bool is_before(const struct mb_rule_op *op)
{
    return op->type >= MB_OP_DSIZE && op->type <= MB_OP_STREAM_SIZE;
}

static bool is_inspecting(const struct mb_rule_op *op)
{
    return op->type >= MB_OP_CONTENT && op->type <= MB_OP_BYTE_MATH;
}

static bool is_after(const struct mb_rule_op *op)
{
    return op->type >= MB_OP_THRESHOLD && op->type <= MB_OP_SET_HOSTBITS;
}

static bool vars_known(const struct mb_rule_op *op)
{
    return (!(op->vars & MB_OPV_A) || (uint32_t)op->a < MB_RULE_VARS) &&
           (!(op->vars & MB_OPV_B) || (uint32_t)op->b < MB_RULE_VARS) &&
           (!(op->vars & MB_OPV_C) || (uint32_t)op->c < MB_RULE_VARS) &&
           (!(op->vars & MB_OPV_D) || (uint32_t)op->d < MB_RULE_VARS);
}

/* Whether the bytes of an operation are as many as it needs. */
static bool op_sized(const struct mb_rule_op *op)
{
    switch (op->type) {
    case MB_OP_CONTENT:
        return op->len > 0 && op->len <= MB__PATTERN_MAX &&
               (op->y > 0 ? (uint32_t)op->x + op->y <= op->len : op->x == 0);
    case MB_OP_PCRE:
        return op->len <= UINT16_MAX;
    case MB_OP_BYTE_TEST:
    case MB_OP_BYTE_JUMP:
        return op->len == 16;
    case MB_OP_BYTE_EXTRACT:
    case MB_OP_BYTE_MATH:
        return op->len == 16 && (uint32_t)op->d < MB_RULE_VARS;
    case MB_OP_FLOWBITS:
    case MB_OP_SET_FLOWBITS:
        return op->len >= 2 && op->len % 2 == 0;
    default:
        return true;
    }
}

static bool op_good(const struct mb_rules *r, const struct mb_rule_head *h, const struct mb_rule_op *op)
{
    if (op->data > h->bytes || op->len > h->bytes - op->data || !vars_known(op) || !op_sized(op))
        return false;
    if (op->type == MB_OP_SUPPRESS && (op->a < 0 || (uint32_t)op->a > r->address_sets))
        return false;
    return is_before(op) || is_inspecting(op) || is_after(op);
}

static bool head_good(const struct mb_rules *r, const struct mb_rule_head *h, size_t len)
{
    size_t fixed = sizeof *h + h->inspections * sizeof(struct mb_rule_inspect) + h->ops * sizeof(struct mb_rule_op);
    uint64_t text = (uint64_t)h->text + h->msg_len + h->category_len + h->metadata_len;
    return h->magic == MB_RULE_MAGIC && h->ops <= MB_RULE_MAX_OPS && h->inspections <= 32 &&
           fixed + (uint64_t)h->bytes == len && text <= h->bytes && h->action <= MB_RULE_ALERT &&
           h->kind <= MB_RULE_PROTO && h->app <= MB_APP_SSH && h->src <= r->address_sets &&
           h->dst <= r->address_sets && h->sport <= r->port_sets && h->dport <= r->port_sets;
}

/* Operations come in three groups; inspections share out the middle one. */
static bool order_good(struct mb_rules *r, struct mb__rule *rule)
{
    const struct mb_rule_head *h = rule->head;
    uint16_t at = 0;
    while (at < h->ops && is_before(&rule->op[at]))
        at++;
    rule->before = at;
    for (unsigned i = 0; i < h->inspections; i++) {
        const struct mb_rule_inspect *in = &rule->inspect[i];
        if (in->buffer >= r->buffers || in->first != at || in->count > h->ops - at)
            return false;
        for (unsigned k = 0; k < in->count; k++)
            if (!is_inspecting(&rule->op[at++]))
                return false;
    }
    rule->after = at;
    for (; at < h->ops; at++)
        if (!is_after(&rule->op[at]))
            return false;
    return true;
}

static int compile_pcre(struct mb__rule *rule, unsigned i, char *err)
{
    const struct mb_rule_op *op = &rule->op[i];
    if (rule->pcre == NULL && (rule->pcre = calloc(rule->head->ops, sizeof *rule->pcre)) == NULL)
        return MB_ENOMEM;
    int code;
    PCRE2_SIZE at;
    rule->pcre[i] = pcre2_compile(mb__op_data(rule, op), op->len, (uint32_t)op->a, &code, &at, NULL);
    if (rule->pcre[i] != NULL) {
        pcre2_jit_compile(rule->pcre[i], PCRE2_JIT_COMPLETE); /* without it, it is only slower */
        return 0;
    }
    char text[256];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    return mb__say(MB_ESYNTAX, err, "pcre: %s at offset %zu", text, (size_t)at);
}

/* Patterns that ignore case are kept in lower case. */
static void lower(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] >= 'A' && bytes[i] <= 'Z')
            bytes[i] = (uint8_t)(bytes[i] + 32);
}

/* What the matching wants to know of a rule without walking its operations. */
static void summarise(struct mb_rules *r, struct mb__rule *rule)
{
    const struct mb_rule_head *h = rule->head;
    rule->fast = UINT16_MAX;
    rule->remembers = h->inspections > 1;
    for (unsigned i = 0; i < h->inspections; i++) {
        const struct mb_rule_inspect *in = &rule->inspect[i];
        uint8_t base = r->buffer[in->buffer].base;
        r->uses[base] = true;
        rule->payload |= base == MB_BUF_PAYLOAD;
        for (unsigned k = in->first; k < (unsigned)in->first + in->count; k++) {
            const struct mb_rule_op *op = &rule->op[k];
            if (op->flags & MB_OPF_FAST && op->type == MB_OP_CONTENT && !(op->flags & MB_OPF_NOT)) {
                rule->fast = (uint16_t)k;
                rule->fast_inspect = (uint16_t)i;
            }
            if (op->type == MB_OP_BASE64_DECODE || op->type == MB_OP_BYTE_EXTRACT || op->type == MB_OP_BYTE_MATH)
                rule->remembers = false; /* later inspections need what it left */
        }
    }
    rule->single = h->inspections == 1 && rule->inspect[0].count == 1;
    for (unsigned i = 0; i < h->ops; i++)
        if (rule->op[i].type == MB_OP_DECODE_EVENT)
            r->uses_events = true;
}

static int load(struct mb_rules *r, struct mb__rule *rule, size_t len, char *err)
{
    struct mb_rule_head *h = rule->head;
    if (len < sizeof *h || !head_good(r, h, len))
        return mb__say(MB_EINVAL, err, "the rule program is damaged");
    uint8_t *at = (uint8_t *)(h + 1);
    rule->inspect = (const struct mb_rule_inspect *)(const void *)at;
    at += h->inspections * sizeof *rule->inspect;
    rule->op = (struct mb_rule_op *)(void *)at;
    at += h->ops * sizeof *rule->op;
    rule->bytes = at;
    for (unsigned i = 0; i < h->ops; i++)
        if (!op_good(r, h, &rule->op[i]))
            return mb__say(MB_EINVAL, err, "operation %u of the rule program is damaged", i);
    if (!order_good(r, rule))
        return mb__say(MB_EINVAL, err, "the operations of the rule program are out of order");
    for (unsigned i = 0; i < h->ops; i++) {
        struct mb_rule_op *op = &rule->op[i];
        if (op->type == MB_OP_CONTENT && op->flags & MB_OPF_NOCASE)
            lower(at + op->data, op->len);
        int code = op->type == MB_OP_PCRE ? compile_pcre(rule, i, err) : 0;
        if (code < 0)
            return code;
    }
    summarise(r, rule);
    return 0;
}

static int make_room(struct mb_rules *r)
{
    if (r->count < r->room)
        return 0;
    uint32_t room = r->room == 0 ? 64 : 2 * r->room;
    struct mb__rule *grown = realloc(r->rule, room * sizeof *grown);
    if (grown == NULL)
        return MB_ENOMEM;
    r->rule = grown;
    r->room = room;
    return 0;
}

int mb_rules_add(struct mb_rules *r, const void *program, size_t len, char *err)
{
    if (r->built)
        return mb__say(MB_ESTATE, err, "rules are added before they are built");
    if (r->count >= MB__MAX_RULES)
        return mb__say(MB_ELIMIT, err, "more than %d rules", MB__MAX_RULES);
    struct mb__rule rule = {.head = malloc(len + 1)};
    if (rule.head == NULL || make_room(r) < 0) {
        free(rule.head);
        return mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
    }
    memcpy(rule.head, program, len);
    int code = load(r, &rule, len, err);
    if (code < 0) {
        rule_free(&rule);
        return code;
    }
    r->rule[r->count] = rule;
    return (int)r->count++;
}

int mb_rules_build(struct mb_rules *r, char *err)
{
    if (r->built)
        return mb__say(MB_ESTATE, err, "the rules are built already");
    int code = mb__banks_build(r, err);
    r->built = code == 0;
    return code;
}
