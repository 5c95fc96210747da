/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_rules_program -- damaged programs are refused, good ones stay inside hostile bytes
 *
 * Input whose first byte is even is a rule program; the rest of any other is a
 * payload for rules with every kind of operation.
 */
#include <stdint.h>
#include <stdlib.h>

#include "detect/match.h"
#include "tests/rule_builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct builder b;

static struct mb_rule_op *numeric(uint8_t type, uint16_t flags, uint64_t first)
{
    uint64_t args[2] = {first, UINT64_MAX};
    return builder_op(&b, type, flags, args, sizeof args);
}

static void add(struct mb_rules *r)
{
    size_t len;
    builder_inspect(&b, 0, 0);
    const void *program = builder_finish(&b, &len);
    if (mb_rules_add(r, program, len, NULL) < 0)
        abort(); /* the target itself is wrong */
    builder_init(&b, MB_RULE_STREAM);
}

/* Contents that lead back and forth. */
static void add_contents(struct mb_rules *r)
{
    builder_op(&b, MB_OP_CONTENT, MB_OPF_NOCASE, "a", 1);
    builder_op(&b, MB_OP_CONTENT, MB_OPF_RELATIVE | MB_OPF_DISTANCE, "b", 1)->c = -3;
    builder_op(&b, MB_OP_CONTENT, MB_OPF_RELATIVE | MB_OPF_WITHIN | MB_OPF_NOT, "c", 1)->d = 9;
    builder_op(&b, MB_OP_ISDATAAT, MB_OPF_RELATIVE, "", 0)->c = 2;
    builder_op(&b, MB_OP_CONTENT, MB_OPF_ENDSWITH | MB_OPF_RELATIVE, "d", 1);
    add(r);
}

/* Numbers from the payload decide where to look. */
static void add_numbers(struct mb_rules *r, uint16_t flags)
{
    numeric(MB_OP_BYTE_EXTRACT, flags, 3)->a = 2;
    struct mb_rule_op *op = numeric(MB_OP_BYTE_JUMP, flags | MB_OPF_ALIGN, 1);
    op->a = 1;
    op->b = -2;
    op = numeric(MB_OP_BYTE_TEST, flags | MB_OPF_RELATIVE, 7);
    op->a = 4;
    op->x = 1;
    op->vars = MB_OPV_C;
    op = builder_op(&b, MB_OP_CONTENT, MB_OPF_RELATIVE | MB_OPF_DISTANCE | MB_OPF_WITHIN, "e", 1);
    op->vars = MB_OPV_C | MB_OPV_D;
    add(r);
}

static void add_expressions(struct mb_rules *r)
{
    builder_op(&b, MB_OP_PCRE, 0, "(x+)+y|(?<=ab)c*", 16);
    builder_op(&b, MB_OP_PCRE, MB_OPF_RELATIVE | MB_OPF_NOT, "^[a-f]{3}", 9);
    builder_op(&b, MB_OP_BASE64_DECODE, MB_OPF_RELATIVE, "", 0);
    add(r);
}

static struct mb_rules *make_rules(void)
{
    struct mb_rules *r = mb_rules_new();
    if (r == NULL || mb_rules_buffer(r, MB_BUF_PAYLOAD, NULL, 0) != 0)
        abort();
    builder_init(&b, MB_RULE_STREAM);
    add_contents(r);
    add_numbers(r, 0);
    add_numbers(r, MB_OPF_LITTLE | MB_OPF_DCE);
    add_numbers(r, MB_OPF_STRING);
    add_numbers(r, MB_OPF_END);
    add_expressions(r);
    return r;
}

static void load(const uint8_t *data, size_t size)
{
    struct mb_rules *r = mb_rules_new();
    if (r == NULL)
        return;
    mb_rules_buffer(r, MB_BUF_PAYLOAD, NULL, 0);
    mb_rules_buffer(r, MB_BUF_HTTP_URI, NULL, 0);
    mb_rules_add(r, data, size, NULL);
    mb_rules_build(r, NULL);
    mb_rules_free(r);
}

static void match(const uint8_t *data, size_t size)
{
    static struct mb_rules *rules;
    static struct mb__matcher matcher;
    if (rules == NULL && ((rules = make_rules()) == NULL || mb__matcher_init(&matcher) < 0))
        abort();
    uint8_t *exact = malloc(size + 1); /* so that a read past the end is seen */
    if (exact == NULL)
        return;
    memcpy(exact, data, size);
    struct mb__bytes bytes = {.data = exact + 1, .len = (uint32_t)size - 1, .base = exact[0]};
    for (uint32_t i = 0; i < rules->count; i++) {
        mb__matcher_reset(&matcher);
        mb__match(&matcher, &rules->rule[i], &rules->rule[i].inspect[0], &bytes);
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] % 2 == 0)
        load(data + 1, size - 1);
    else
        match(data + 1, size - 1);
    return 0;
}
