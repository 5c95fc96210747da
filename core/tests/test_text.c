/* SPDX-License-Identifier: BSD-3-Clause */
/* test_text -- numbers and dates against printf() and gmtime(), and the growing buffer */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "test.h"

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

/* Grows over many sizes, keeps its memory when cleared. */
static void test_growing(void)
{
    struct mb__text t;
    size_t wrong = 0;
    mb__text_init(&t);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 100000; i++)
            t.at = mb__put_padded(mb__text_room(&t, 7), i, 7);
        CHECK_INT(mb__text_len(&t), 700000);
        CHECK_INT(mb__text_lost(&t), 0);
        for (uint32_t i = 0; i < 100000; i++) {
            char want[8];
            snprintf(want, sizeof want, "%07" PRIu32, i);
            wrong += memcmp(t.start + 7 * i, want, 7) != 0;
        }
        mb__text_clear(&t);
        CHECK_INT(mb__text_len(&t), 0);
    }
    CHECK_INT(wrong, 0);
    mb__text_fini(&t);
    mb__text_fini(&t); /* nothing left to free */
}

int main(void)
{
    RUN(test_numbers);
    RUN(test_fixed);
    RUN(test_iso);
    RUN(test_iso_like_gmtime);
    RUN(test_growing);
    return test_done();
}
