/* SPDX-License-Identifier: BSD-3-Clause */
/* test_json -- objects, strings of any bytes, records in buffers of any size */
#include <stdlib.h>

#include "base/json.h"
#include "test.h"

/* The text so far as a string, in one of a few static buffers. */
static const char *str(const struct mb__text *t)
{
    static char buf[65536];
    size_t n = mb__text_len(t);
    memcpy(buf, t->start, n);
    buf[n] = '\0';
    return buf;
}

static void test_object(void)
{
    struct mb__text t;
    mb__text_init(&t);
    mb__json_open(&t, '{');
    MB__JSON_KEY(&t, "pkts");
    mb__json_u64(&t, 3);
    MB__JSON_KEY(&t, "list");
    mb__json_open(&t, '[');
    mb__json_i64(&t, -1);
    mb__json_bool(&t, true);
    mb__json_open(&t, '{');
    mb__json_close(&t, '}');
    mb__json_fixed(&t, 1500000, 6);
    mb__json_close(&t, ']');
    mb__json_key(&t, "a\"b", 3);
    mb__json_string(&t, "x", 1);
    mb__json_close(&t, '}');
    CHECK_STR(str(&t), "{\"pkts\":3,\"list\":[-1,true,{},1.500000],\"a\\\"b\":\"x\"}");
    mb__text_char(&t, '\n');
    mb__json_open(&t, '{');
    CHECK(strstr(str(&t), "}\n{") != NULL);
    mb__text_fini(&t);
}

static void check_string(const char *input, size_t len, const char *want)
{
    struct mb__text t;
    mb__text_init(&t);
    mb__json_string(&t, input, len);
    CHECK_STR(str(&t), want);
    mb__text_fini(&t);
}

#define CHECK_STRING(literal, want) check_string(literal, sizeof(literal) - 1, want)

static void test_strings(void)
{
    CHECK_STRING("", "\"\"");
    CHECK_STRING("a \"quoted\" \\ / line\n", "\"a \\\"quoted\\\" \\\\ / line\\n\"");
    CHECK_STRING("\b\f\r\t\0\x1f\x7f", "\"\\b\\f\\r\\t\\u0000\\u001f\x7f\"");
    CHECK_STRING("Z\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", "\"Z\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80\"");
    CHECK_STRING("\xff\xfe", "\"\\\\xff\\\\xfe\"");
    CHECK_STRING("\xc0\x80", "\"\\\\xc0\\\\x80\"");             /* overlong NUL */
    CHECK_STRING("\xe0\x9f\xbf", "\"\\\\xe0\\\\x9f\\\\xbf\"");  /* overlong */
    CHECK_STRING("\xed\xa0\x80", "\"\\\\xed\\\\xa0\\\\x80\"");  /* surrogate */
    CHECK_STRING("\xf4\x90\x80\x80", "\"\\\\xf4\\\\x90\\\\x80\\\\x80\"");
    CHECK_STRING("cut \xe2\x82", "\"cut \\\\xe2\\\\x82\"");
    CHECK_STRING("\x80 alone", "\"\\\\x80 alone\"");
}

/* Each byte value at each place of a long string takes the fast path or leaves it. */
static void test_every_byte_everywhere(void)
{
    char input[21];
    int wrong = 0;
    for (int place = 0; place < 20; place++) {
        for (int c = 0; c < 256; c++) {
            struct mb__text t;
            mb__text_init(&t);
            memset(input, 'a', sizeof input);
            input[place] = (char)c;
            mb__json_string(&t, input, 20);
            bool kept = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
            wrong += kept != (mb__text_len(&t) == 22);
            wrong += (c >= 0x80 || c == '\\') != (strstr(str(&t), "\\\\") != NULL);
            mb__text_fini(&t);
        }
    }
    CHECK_INT(wrong, 0);
}

static void write_record(struct mb__text *t)
{
    struct mb__iso_cache cache = {0};
    mb__json_open(t, '{');
    MB__JSON_KEY(t, "timestamp");
    mb__json_iso(t, &cache, 1704164645678901234);
    for (uint64_t i = 0; i < 40; i++) {
        mb__json_key(t, "key", 3);
        mb__json_u64(t, i * 1234567);
        MB__JSON_KEY(t, "text");
        mb__json_string(t, "0123456789abcdef0123456789abcdef", 32);
    }
    mb__json_close(t, '}');
}

/* A fixed buffer of any size holds a prefix and counts the rest exactly. */
static void test_fixed_buffer(void)
{
    struct mb__text whole;
    mb__text_init(&whole);
    write_record(&whole);
    size_t len = mb__text_len(&whole);
    CHECK(len > 2000);
    CHECK_INT(mb__text_lost(&whole), 0);
    for (size_t size = 0; size <= len + 300; size += size < 8 ? 1 : 37) {
        struct mb__text t;
        char *buf = malloc(size + 1);
        buf[size] = '#';
        mb__text_init_fixed(&t, buf, size);
        write_record(&t);
        size_t kept = mb__text_len(&t);
        CHECK_INT(kept + mb__text_lost(&t), len);
        CHECK(kept <= size);
        CHECK_MEM(buf, whole.start, kept);
        CHECK_INT(buf[size], '#');
        CHECK(size < len + MB__TEXT_ROOM || mb__text_lost(&t) == 0);
        mb__text_clear(&t);
        CHECK_INT(mb__text_len(&t), 0);
        CHECK_INT(mb__text_lost(&t), 0);
        free(buf);
    }
    mb__text_fini(&whole);
}

int main(void)
{
    RUN(test_object);
    RUN(test_strings);
    RUN(test_every_byte_everywhere);
    RUN(test_fixed_buffer);
    return test_done();
}
