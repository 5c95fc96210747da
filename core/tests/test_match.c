/* SPDX-License-Identifier: BSD-3-Clause */
/* test_match -- operations over bytes: places, backtracking, numbers, limits */
#include "detect/match.h"

#include "rule_builder.h"
#include "test.h"

static struct builder b;
static struct mb_rules *rules;

static void begin(void)
{
    builder_init(&b, MB_RULE_STREAM);
    rules = mb_rules_new();
    mb_rules_buffer(rules, MB_BUF_PAYLOAD, NULL, 0);
}

static struct mb_rule_op *content(uint16_t flags, const char *text)
{
    return builder_op(&b, MB_OP_CONTENT, flags, text, strlen(text));
}

static struct mb_rule_op *numeric(uint8_t type, uint16_t flags, uint64_t first, uint64_t mask)
{
    uint64_t args[2] = {first, mask};
    return builder_op(&b, type, flags, args, sizeof args);
}

static bool matches_at(const void *bytes, size_t len, uint64_t base)
{
    struct mb__matcher m;
    struct mb__bytes view = {.data = bytes, .len = (uint32_t)len, .base = base};
    if (mb__matcher_init(&m) < 0)
        return false;
    bool yes = mb__match(&m, &rules->rule[0], &rules->rule[0].inspect[0], &view);
    mb__matcher_fini(&m);
    return yes;
}

static bool matches(const char *text)
{
    return matches_at(text, strlen(text), 0);
}

/* All operations so far are the one inspection of the one rule. */
static void end(void)
{
    char err[MB_ERRBUF_SIZE] = "";
    size_t len;
    builder_inspect(&b, 0, 0);
    const void *program = builder_finish(&b, &len);
    CHECK_INT(mb_rules_add(rules, program, len, err), 0);
    CHECK_STR(err, "");
}

static void done(void)
{
    mb_rules_free(rules);
}

static void test_find(void)
{
    const uint8_t *text = (const uint8_t *)"aAbBab";
    CHECK_INT(mb__find(text, 0, 6, (const uint8_t *)"ab", 2, false), 4);
    CHECK_INT(mb__find(text, 0, 6, (const uint8_t *)"ab", 2, true), 1);
    CHECK_INT(mb__find(text, 2, 6, (const uint8_t *)"ab", 2, true), 4);
    CHECK_INT(mb__find(text, 0, 5, (const uint8_t *)"ab", 2, false), -1);
    CHECK_INT(mb__find(text, 0, 6, (const uint8_t *)"aabbaba", 7, true), -1);
    CHECK_INT(mb__find(text, 6, 6, (const uint8_t *)"a", 1, true), -1);
}

static void test_places(void)
{
    begin();
    struct mb_rule_op *op = content(MB_OPF_OFFSET | MB_OPF_DEPTH, "cd");
    op->a = 2;
    op->b = 3;
    end();
    CHECK(matches("abcdef"));
    CHECK(matches("ab.cd"));
    CHECK(!matches("ab..cd"));
    CHECK(!matches("cd...."));
    CHECK(!matches("abc"));
    CHECK(!matches(""));
    done();
}

/* Offsets are those of the stream: bytes before the window are gone. */
static void test_places_in_a_window(void)
{
    begin();
    struct mb_rule_op *op = content(MB_OPF_OFFSET | MB_OPF_DEPTH, "cd");
    op->a = 100;
    op->b = 10;
    end();
    CHECK(matches_at("..cd..", 6, 100));
    CHECK(matches_at("....cd", 6, 104));
    CHECK(!matches_at("....cd", 6, 105));
    CHECK(!matches_at("cd....", 6, 98));
    CHECK(!matches_at("cd....", 6, 5000));
    done();
}

static void test_relative(void)
{
    begin();
    content(0, "ab");
    struct mb_rule_op *op = content(MB_OPF_RELATIVE | MB_OPF_DISTANCE | MB_OPF_WITHIN, "cd");
    op->c = 1;
    op->d = 3;
    end();
    CHECK(matches("ab.cd"));
    CHECK(matches("ab..cd"));
    CHECK(!matches("abcd"));
    CHECK(!matches("ab...cd"));
    CHECK(matches("ab ab ab...ab.cd")); /* an earlier place leads nowhere */
    CHECK(matches("abab.cd"));
    done();
}

static void test_negative_distance(void)
{
    begin();
    content(0, "cd");
    struct mb_rule_op *op = content(MB_OPF_RELATIVE | MB_OPF_DISTANCE | MB_OPF_WITHIN, "ab");
    op->c = -4;
    op->d = 2;
    end();
    CHECK(matches("abcd"));
    CHECK(!matches("ab.cd"));
    CHECK(!matches("cd"));
    done();
}

static void test_negated(void)
{
    begin();
    content(0, "ab");
    struct mb_rule_op *op = content(MB_OPF_NOT | MB_OPF_RELATIVE | MB_OPF_WITHIN, "x");
    op->d = 2;
    end();
    CHECK(matches("ab"));
    CHECK(matches("ab..x"));
    CHECK(!matches("ab.x"));
    CHECK(matches("abx ab.."));
    done();
}

static void test_ends(void)
{
    begin();
    content(MB_OPF_ENDSWITH | MB_OPF_NOCASE, "End");
    end();
    CHECK(matches("the eND"));
    CHECK(!matches("the end."));
    CHECK(!matches("nd"));
    done();
}

static void test_numbers(void)
{
    begin();
    content(0, "n=");
    struct mb_rule_op *op = numeric(MB_OP_BYTE_TEST, MB_OPF_RELATIVE | MB_OPF_STRING, 41, UINT64_MAX);
    op->a = 3;
    op->x = 4; /* > */
    op->y = 10;
    end();
    CHECK(matches("n=042"));
    CHECK(!matches("n=041"));
    CHECK(!matches("n=x42"));
    CHECK(!matches("n=42")); /* three bytes are not there */
    CHECK(matches("n=1 n=999"));
    done();
}

static void test_binary_numbers(void)
{
    begin();
    struct mb_rule_op *op = numeric(MB_OP_BYTE_TEST, MB_OPF_LITTLE, 0x3, 0x0ff0);
    op->a = 2;
    op->x = 3; /* = */
    end();
    CHECK(matches_at("\x3f\x00", 2, 0));
    CHECK(!matches_at("\x00\x3f", 2, 0));
    CHECK(!matches_at("\x3f", 1, 0));
    done();
}

static void test_jump(void)
{
    begin();
    struct mb_rule_op *op = numeric(MB_OP_BYTE_JUMP, 0, 1, UINT64_MAX);
    op->a = 1;
    op = content(MB_OPF_RELATIVE | MB_OPF_WITHIN, "x");
    op->d = 1;
    end();
    CHECK(matches_at("\x02..x", 4, 0));
    CHECK(!matches_at("\x02.x.", 4, 0));
    CHECK(!matches_at("\xff..x", 4, 0));
    CHECK(!matches_at("", 0, 0));
    done();
}

static void test_extract(void)
{
    begin();
    struct mb_rule_op *op = numeric(MB_OP_BYTE_EXTRACT, 0, 1, UINT64_MAX);
    op->a = 1;
    op->d = 3;
    op = content(MB_OPF_OFFSET, "x");
    op->a = 3;
    op->vars = MB_OPV_A;
    end();
    CHECK(matches_at("\x03..x", 4, 0));
    CHECK(!matches_at("\x04..x", 4, 0));
    done();
}

static void test_is_data_at(void)
{
    begin();
    content(0, "ab");
    struct mb_rule_op *op = builder_op(&b, MB_OP_ISDATAAT, MB_OPF_RELATIVE | MB_OPF_NOT, "", 0);
    op->c = 1;
    end();
    CHECK(matches("xxab"));
    CHECK(!matches("xxab."));
    CHECK(matches("ab.ab"));
    done();
}

static void test_expression(void)
{
    begin();
    content(0, "a");
    struct mb_rule_op *op = builder_op(&b, MB_OP_PCRE, MB_OPF_RELATIVE, "^b+c", 4);
    op->a = 8; /* caseless */
    end();
    CHECK(matches("abbc"));
    CHECK(matches("ax aBC"));
    CHECK(!matches("a.bc"));
    CHECK(!matches("a"));
    done();
}

/* A pattern of the kind that takes exponential time stops at its limit. */
static void test_expression_limit(void)
{
    begin();
    builder_op(&b, MB_OP_PCRE, 0, "^(a+)+(a+)+$", 12);
    end();
    char text[512];
    memset(text, 'a', sizeof text);
    text[510] = 'b';
    text[511] = '\0';
    CHECK(!matches(text));
    done();
}

/* Many places for each of several contents: the budget ends the search. */
static void test_budget(void)
{
    begin();
    for (int i = 0; i < 8; i++)
        content(i == 0 ? 0 : MB_OPF_RELATIVE | MB_OPF_DISTANCE, "a");
    content(MB_OPF_RELATIVE | MB_OPF_DISTANCE, "b");
    end();
    static char text[60000];
    memset(text, 'a', sizeof text - 1);
    CHECK(!matches(text));
    done();
}

static void test_base64(void)
{
    uint8_t out[64];
    CHECK_INT(mb__base64_decode((const uint8_t *)"c29tZSB0ZXh0", 12, out), 9);
    CHECK_MEM(out, "some text", 9);
    CHECK_INT(mb__base64_decode((const uint8_t *)"c29tZ;B0ZXh0", 12, out), 3);
    CHECK_INT(mb__base64_decode((const uint8_t *)"nq", 2, out), 1);
    CHECK_INT(out[0], 0x9e);
    CHECK_INT(mb__base64_decode((const uint8_t *)"", 0, out), 0);
}

static void check_transform(int kind, const char *in, const char *want)
{
    uint8_t out[128];
    uint32_t len = mb__transform(kind, (const uint8_t *)in, (uint32_t)strlen(in), out);
    CHECK_INT(len, strlen(want));
    if (len == strlen(want))
        CHECK_MEM(out, want, len);
}

static void test_transforms(void)
{
    check_transform(MB_XF_LOWERCASE, "aBZ[@", "abz[@");
    check_transform(MB_XF_UPPERCASE, "aBz{`", "ABZ{`");
    check_transform(MB_XF_STRIP_SPACE, " a\tb\r\n c ", "abc");
    check_transform(MB_XF_COMPRESS_SPACE, "  a \t b", " a b");
    check_transform(MB_XF_DOTPREFIX, "a.b", ".a.b");
    check_transform(MB_XF_DOTPREFIX, "", ".");
    check_transform(MB_XF_URL_DECODE, "%41+%4z%", "A %4z%");
    uint8_t digest[64];
    CHECK_INT(mb__transform(MB_XF_MD5, (const uint8_t *)"", 0, digest), 16);
    CHECK_INT(digest[0], 0xd4);
    CHECK_INT(digest[15], 0x7e);
}

int main(void)
{
    RUN(test_find);
    RUN(test_places);
    RUN(test_places_in_a_window);
    RUN(test_relative);
    RUN(test_negative_distance);
    RUN(test_negated);
    RUN(test_ends);
    RUN(test_numbers);
    RUN(test_binary_numbers);
    RUN(test_jump);
    RUN(test_extract);
    RUN(test_is_data_at);
    RUN(test_expression);
    RUN(test_expression_limit);
    RUN(test_budget);
    RUN(test_base64);
    RUN(test_transforms);
    return test_done();
}
