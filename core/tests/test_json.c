/* SPDX-License-Identifier: BSD-3-Clause */
/* test_json -- the text buffer, numbers, dates and JSON */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

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

static void check_number(uint64_t v)
{
    char got[64], want[64];
    *mb__put_u64(got, v) = '\0';
    snprintf(want, sizeof want, "%" PRIu64, v);
    CHECK_STR(got, want);
    *mb__put_i64(got, (int64_t)v) = '\0';
    snprintf(want, sizeof want, "%" PRId64, (int64_t)v);
    CHECK_STR(got, want);
    *mb__put_hex(got, v, 16) = '\0';
    snprintf(want, sizeof want, "%016" PRIx64, v);
    CHECK_STR(got, want);
}

static void test_numbers(void)
{
    check_number(0);
    check_number(UINT64_MAX);
    check_number((uint64_t)INT64_MIN);
    for (uint64_t p = 1; p <= UINT64_MAX / 10; p *= 10) {
        check_number(p - 1);
        check_number(p);
        check_number(p * 9 + 7);
    }
}

static void check_fixed(int64_t v, unsigned decimals, const char *want)
{
    char got[MB__TEXT_FIXED + 1];
    *mb__put_fixed(got, v, decimals) = '\0';
    CHECK_STR(got, want);
}

static void test_fixed(void)
{
    check_fixed(1500000, 6, "1.500000");
    check_fixed(-1, 3, "-0.001");
    check_fixed(0, 2, "0.00");
    check_fixed(42, 0, "42");
    check_fixed(1704164645678901, 6, "1704164645.678901");
    check_fixed(INT64_MIN, 9, "-9223372036.854775808");
    check_fixed(INT64_MIN, 18, "-9.223372036854775808");
}

static void check_iso(int64_t ts, const char *want)
{
    struct mb__iso_cache cache = {0};
    char got[MB__TEXT_ISO + 1];
    *mb__put_iso(got, &cache, ts) = '\0';
    CHECK_STR(got, want);
}

static void test_iso(void)
{
    check_iso(1704164645678901234, "2024-01-02T03:04:05.678901+0000");
    check_iso(0, "1970-01-01T00:00:00.000000+0000");
    check_iso(-1, "1969-12-31T23:59:59.999999+0000");
    check_iso(951782399999999999, "2000-02-28T23:59:59.999999+0000");
    check_iso(951782400000000000, "2000-02-29T00:00:00.000000+0000");
    check_iso(4107542400000000000, "2100-03-01T00:00:00.000000+0000");
    check_iso(INT64_MAX, "2262-04-11T23:47:16.854775+0000");
    check_iso(INT64_MIN, "1677-09-21T00:12:43.145224+0000");
}

/* One cache over times that go forward, backward and far. */
static void test_iso_like_gmtime(void)
{
    struct mb__iso_cache cache = {0};
    int64_t ts = 1700000000000000000;
    int different = 0;
    srand(2);
    for (int n = 0; n < 50000; n++) {
        char got[MB__TEXT_ISO + 1], date[32], want[64];
        int64_t step = (int64_t)rand() << (rand() % 24);
        ts += rand() % 2 != 0 && ts > step ? -step : step;
        ts %= 9000000000000000000;
        time_t seconds = ts / 1000000000;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(want, sizeof want, "%s.%06d+0000", date, (int)(ts % 1000000000 / 1000));
        *mb__put_iso(got, &cache, ts) = '\0';
        different += strcmp(got, want) != 0;
    }
    CHECK_INT(different, 0);
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
    RUN(test_numbers);
    RUN(test_fixed);
    RUN(test_iso);
    RUN(test_iso_like_gmtime);
    RUN(test_fixed_buffer);
    return test_done();
}
