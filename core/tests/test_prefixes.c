/* SPDX-License-Identifier: BSD-3-Clause */
/* test_prefixes -- the longest prefix counts */
#include "base/prefixes.h"

#include "test.h"

static int add(struct mb__prefixes *t, const char *text, unsigned bits, uint8_t value)
{
    struct mb_addr a;
    return mb_addr_parse(text, &a) == 0 ? mb__prefixes_add(t, &a, bits, value) : MB_ESYNTAX;
}

static int value_of(const struct mb__prefixes *t, const char *text)
{
    struct mb_addr a;
    return mb_addr_parse(text, &a) == 0 ? mb__prefixes_of(t, &a) : -1;
}

static void test_longest_prefix(void)
{
    struct mb__prefixes t = {.otherwise = 2};
    CHECK_INT(value_of(&t, "10.1.2.3"), 2);
    CHECK_INT(add(&t, "10.1.0.0", 16, 4), 0);
    CHECK_INT(add(&t, "10.1.2.3", 32, 7), 0);
    CHECK_INT(add(&t, "10.0.0.0", 8, 5), 0);
    CHECK_INT(add(&t, "10.1.128.0", 17, 1), 0);
    CHECK_INT(add(&t, "2001:db8::", 33, 8), 0);
    CHECK_INT(value_of(&t, "10.1.2.3"), 7);
    CHECK_INT(value_of(&t, "10.1.2.4"), 4);
    CHECK_INT(value_of(&t, "10.1.200.4"), 1);
    CHECK_INT(value_of(&t, "10.2.2.4"), 5);
    CHECK_INT(value_of(&t, "11.2.2.4"), 2);
    CHECK_INT(value_of(&t, "2001:db8:1::1"), 8);
    CHECK_INT(value_of(&t, "2001:db8:8000::1"), 2);
    mb__prefixes_fini(&t);
}

static void test_any_address(void)
{
    struct mb__prefixes t = {.otherwise = 0};
    CHECK_INT(add(&t, "0.0.0.0", 0, 5), 0);
    CHECK_INT(value_of(&t, "192.0.2.1"), 5);
    CHECK_INT(value_of(&t, "2001:db8::1"), 0);
    mb__prefixes_fini(&t);
}

static void test_refused(void)
{
    struct mb__prefixes t = {.otherwise = 0};
    CHECK_INT(add(&t, "10.0.0.0", 33, 2), MB_EINVAL);
    CHECK_INT(add(&t, "2001:db8::", 129, 2), MB_EINVAL);
    for (int i = 0; i < 4096; i++)
        CHECK_INT(add(&t, "10.0.0.0", 8, 2), 0);
    CHECK_INT(add(&t, "10.0.0.0", 8, 2), MB_ELIMIT);
    mb__prefixes_fini(&t);
}

int main(void)
{
    RUN(test_longest_prefix);
    RUN(test_any_address);
    RUN(test_refused);
    return test_done();
}
