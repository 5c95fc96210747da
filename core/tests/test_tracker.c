/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tracker -- counts of addresses: found again, run out, bounded */
#include "detect/tracker.h"

#include "test.h"

static struct mb_addr address(uint32_t n)
{
    struct mb_addr a = {{0}};
    memcpy(a.byte, &n, sizeof n);
    return a;
}

static void test_keys(void)
{
    struct mb_addr a = address(1), b = address(2);
    struct mb__track_key src = mb__track_key(1, 1, MB_TRACK_SRC, &a, &b);
    struct mb__track_key src_back = mb__track_key(1, 1, MB_TRACK_SRC, &b, &a);
    struct mb__track_key both = mb__track_key(1, 1, MB_TRACK_BOTH, &a, &b);
    struct mb__track_key both_back = mb__track_key(1, 1, MB_TRACK_BOTH, &b, &a);
    struct mb__track_key rule = mb__track_key(1, 1, MB_TRACK_RULE, &a, &b);
    struct mb__track_key rule_back = mb__track_key(1, 1, MB_TRACK_RULE, &b, &a);
    CHECK(memcmp(&src, &src_back, sizeof src) != 0);
    CHECK(memcmp(&both, &both_back, sizeof both) == 0);
    CHECK(memcmp(&rule, &rule_back, sizeof rule) == 0);
    CHECK(memcmp(&src, &rule, sizeof src) != 0);
}

static void test_entries(void)
{
    struct mb__tracker *t = mb__tracker_new(1024, 1);
    struct mb_addr a = address(1);
    struct mb__track_key key = mb__track_key(7, 1, MB_TRACK_SRC, &a, &a);
    CHECK(mb__tracker_find(t, &key, 0) == NULL);
    struct mb__track *entry = mb__tracker_get(t, &key, 10, 100);
    entry->count = 5;
    CHECK_INT(entry->since, 10);
    CHECK(mb__tracker_get(t, &key, 99, 500) == entry);
    CHECK_INT(entry->until, 100);
    CHECK(mb__tracker_find(t, &key, 100) == NULL);
    entry = mb__tracker_get(t, &key, 100, 200);
    CHECK_INT(entry->count, 0);
    mb__tracker_free(t);
}

/* More keys than entries: those that run out last stay. */
static void test_bounded(void)
{
    struct mb__tracker *t = mb__tracker_new(64, 1);
    struct mb_addr first = address(0);
    struct mb__track_key lasting = mb__track_key(1, 1, MB_TRACK_SRC, &first, &first);
    mb__tracker_get(t, &lasting, 0, 1000000)->count = 3;
    for (uint32_t n = 1; n < 10000; n++) {
        struct mb_addr a = address(n);
        struct mb__track_key key = mb__track_key(1, 1, MB_TRACK_SRC, &a, &a);
        CHECK(mb__tracker_get(t, &key, 1, 2000) != NULL);
    }
    CHECK(mb__tracker_find(t, &lasting, 5) != NULL);
    CHECK_INT(mb__tracker_find(t, &lasting, 5)->count, 3);
    mb__tracker_free(t);
}

int main(void)
{
    RUN(test_keys);
    RUN(test_entries);
    RUN(test_bounded);
    return test_done();
}
