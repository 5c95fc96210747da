/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rules -- programs are checked, sets are searched, patterns find their rules */
#include "detect/rules.h"

#include "rule_builder.h"
#include "test.h"

static struct builder b;

static struct mb_addr v4(uint8_t last)
{
    struct mb_addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last}};
    return a;
}

static void test_addresses(void)
{
    struct mb_rules *r = mb_rules_new();
    struct mb_addr pairs[] = {v4(2), v4(4), v4(9), v4(9)}, other = {{0x20, 1}};
    CHECK_INT(mb_rules_addresses(r, pairs, 2), 1);
    CHECK_INT(mb_rules_addresses(r, pairs, 0), 2);
    for (uint8_t last = 0; last < 12; last++) {
        struct mb_addr a = v4(last);
        CHECK_INT(mb__in_addresses(r, 1, &a), (last >= 2 && last <= 4) || last == 9);
        CHECK(!mb__in_addresses(r, 2, &a));
        CHECK(mb__in_addresses(r, 0, &a));
    }
    CHECK(!mb__in_addresses(r, 1, &other));
    mb_rules_free(r);
}

static void test_many_sets(void)
{
    struct mb_rules *r = mb_rules_new();
    for (int i = 1; i <= 300; i++) {
        uint16_t pair[] = {(uint16_t)i, (uint16_t)(i + 1)};
        CHECK_INT(mb_rules_ports(r, pair, 1), i);
    }
    CHECK(mb__in_ports(r, 300, 301));
    CHECK(!mb__in_ports(r, 299, 301));
    mb_rules_free(r);
}

static void test_buffers(void)
{
    struct mb_rules *r = mb_rules_new();
    uint8_t lower[] = {MB_XF_LOWERCASE}, bad[] = {99}, many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    CHECK_INT(mb_rules_buffer(r, MB_BUF_HTTP_URI, NULL, 0), 0);
    CHECK_INT(mb_rules_buffer(r, MB_BUF_HTTP_URI, lower, 1), 1);
    CHECK_INT(mb_rules_buffer(r, MB_BUF_HTTP_URI, NULL, 0), 0);
    CHECK_INT(mb_rules_buffer(r, MB_BUF_HTTP_URI, bad, 1), MB_EINVAL);
    CHECK_INT(mb_rules_buffer(r, MB_BUF_HTTP_URI, many, 9), MB_EINVAL);
    CHECK_INT(mb_rules_buffer(r, MB_BUF_COUNT, NULL, 0), MB_EINVAL);
    CHECK_INT(mb_rules_buffer(r, -1, NULL, 0), MB_EINVAL);
    mb_rules_free(r);
}

/* A rule that looks for |text|, its fast pattern. */
static int add_content(struct mb_rules *r, const char *text, uint16_t flags)
{
    size_t len;
    builder_init(&b, MB_RULE_STREAM);
    int buffer = mb_rules_buffer(r, MB_BUF_PAYLOAD, NULL, 0);
    builder_op(&b, MB_OP_CONTENT, flags | MB_OPF_FAST, text, strlen(text));
    builder_inspect(&b, buffer, 0);
    const void *program = builder_finish(&b, &len);
    return mb_rules_add(r, program, len, NULL);
}

static int refused(struct mb_rules *r)
{
    char err[MB_ERRBUF_SIZE] = "";
    size_t len;
    const void *program = builder_finish(&b, &len);
    int code = mb_rules_add(r, program, len, err);
    CHECK(code >= 0 || err[0] != '\0');
    return code;
}

static void test_programs_are_checked(void)
{
    struct mb_rules *r = mb_rules_new();
    CHECK_INT(add_content(r, "abc", 0), 0);
    struct builder good = b;
    b.op[0].data = 1; /* reaches past the bytes */
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.op[0].type = 200;
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.op[0].vars = MB_OPV_A;
    b.op[0].a = MB_RULE_VARS;
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.op[0].x = 3; /* the fast pattern reaches past the content */
    b.op[0].y = 1;
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.op[0].x = 1; /* begins somewhere and has no length */
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.inspect[0].buffer = 7;
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.inspect[0].count = 2;
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.head.src = 1; /* no such set */
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.head.msg_len = 1;
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.op[0].type = MB_OP_DSIZE; /* does not belong into an inspection */
    CHECK_INT(refused(r), MB_EINVAL);
    b = good;
    b.op[0].type = MB_OP_PCRE;
    b.bytes[0] = '(';
    CHECK_INT(refused(r), MB_ESYNTAX);
    b = good;
    CHECK_INT(refused(r), 1);
    CHECK_INT(mb_rules_add(r, "short", 5, NULL), MB_EINVAL);
    mb_rules_free(r);
}

static int collect(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *context)
{
    (void)from;
    (void)to;
    (void)flags;
    *(unsigned *)context |= 1u << id;
    return 0;
}

/* Rules that the stream bank finds in |text|, as bits. */
static unsigned found_in(const struct mb_rules *r, const char *text, size_t len)
{
    const struct mb__bank *bank = &r->bank[MB__BANK_STREAM][MB_CLIENT];
    unsigned patterns = 0, rules = 0;
    hs_scratch_t *scratch = NULL;
    CHECK_INT(hs_alloc_scratch(bank->db, &scratch), HS_SUCCESS);
    CHECK_INT(hs_scan(bank->db, text, (unsigned)len, 0, scratch, collect, &patterns), HS_SUCCESS);
    for (uint32_t p = 0; p < bank->patterns; p++)
        for (uint32_t i = bank->first[p]; patterns >> p & 1 && i < bank->first[p + 1]; i++)
            rules |= 1u << bank->ids[i];
    hs_free_scratch(scratch);
    return rules;
}

static void test_banks(void)
{
    struct mb_rules *r = mb_rules_new();
    add_content(r, "abc", 0);
    add_content(r, "ABC", MB_OPF_NOCASE);
    add_content(r, "abc", 0);
    add_content(r, "x.y", 0);
    CHECK_INT(mb_rules_build(r, NULL), 0);
    CHECK_INT(r->bank[MB__BANK_STREAM][MB_CLIENT].patterns, 3);
    CHECK_INT(found_in(r, "..abc", 5), 7);
    CHECK_INT(found_in(r, "..AbC", 5), 2);
    CHECK_INT(found_in(r, "xzy", 3), 0);
    CHECK_INT(found_in(r, "x.y", 3), 8);
    CHECK(r->bank[MB__BANK_TCP][MB_CLIENT].db == NULL);
    CHECK(r->bank[MB__BANK_UDP][MB_CLIENT].db != NULL);
    CHECK_INT(mb_rules_add(r, "", 0, NULL), MB_ESTATE);
    CHECK_INT(mb_rules_build(r, NULL), MB_ESTATE);
    mb_rules_free(r);
}

static void test_no_rules(void)
{
    struct mb_rules *r = mb_rules_new();
    CHECK_INT(mb_rules_build(r, NULL), 0);
    mb_rules_free(r);
    mb_rules_free(NULL);
}

int main(void)
{
    RUN(test_addresses);
    RUN(test_many_sets);
    RUN(test_buffers);
    RUN(test_programs_are_checked);
    RUN(test_banks);
    RUN(test_no_rules);
    return test_done();
}
