/* SPDX-License-Identifier: BSD-3-Clause */
/* test_ip_index -- segments of overlapping ranges, against a walk over all of them */
#include "detect/ip_index.h"

#include <stdlib.h>

#include "test.h"

static struct mb_addr address(uint8_t high, uint8_t low)
{
    struct mb_addr a = {{0}};
    a.byte[0] = high;
    a.byte[15] = low;
    return a;
}

static void test_empty(void)
{
    struct mb__ip_index x;
    struct mb_addr a = address(0, 0);
    const uint32_t *ids;
    CHECK_INT(mb__ip_index_build(&x, NULL, 0), 0);
    CHECK_INT(mb__ip_index_find(&x, &a, &ids), 0);
    mb__ip_index_free(&x);
}

static void test_ends_of_the_space(void)
{
    struct mb__ip_index x;
    struct mb__ip_range range = {.rule = 5};
    const uint32_t *ids = NULL;
    memset(&range.high, 0xff, sizeof range.high);
    CHECK_INT(mb__ip_index_build(&x, &range, 1), 0);
    CHECK_INT(mb__ip_index_find(&x, &range.low, &ids), 1);
    CHECK_INT(mb__ip_index_find(&x, &range.high, &ids), 1);
    CHECK_INT(ids[0], 5);
    mb__ip_index_free(&x);
}

/* Random ranges: the rules of each address are those whose range it is in. */
static void test_against_a_walk(void)
{
    enum { RANGES = 40 };
    struct mb__ip_range ranges[RANGES];
    struct mb__ip_index x;
    srand(1);
    for (uint32_t i = 0; i < RANGES; i++) {
        uint8_t low = (uint8_t)(rand() % 200), len = (uint8_t)(rand() % 30);
        ranges[i] = (struct mb__ip_range){address(9, low), address(9, (uint8_t)(low + len)), i};
    }
    CHECK_INT(mb__ip_index_build(&x, ranges, RANGES), 0);
    for (int low = 0; low < 256; low++) {
        struct mb_addr a = address(9, (uint8_t)low), other = address(8, (uint8_t)low);
        const uint32_t *ids = NULL;
        uint32_t n = mb__ip_index_find(&x, &a, &ids), at = 0;
        for (uint32_t i = 0; i < RANGES; i++) {
            bool inside = memcmp(&ranges[i].low, &a, 16) <= 0 && memcmp(&a, &ranges[i].high, 16) <= 0;
            if (inside)
                CHECK(at < n && ids[at++] == i); /* ascending */
        }
        CHECK_INT(at, n);
        CHECK_INT(mb__ip_index_find(&x, &other, &ids), 0);
    }
    mb__ip_index_free(&x);
}

int main(void)
{
    RUN(test_empty);
    RUN(test_ends_of_the_space);
    RUN(test_against_a_walk);
    return test_done();
}
