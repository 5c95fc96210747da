/* SPDX-License-Identifier: BSD-3-Clause */
/* test_overlap -- who wins an overlap */
#include "base/overlap.h"

#include "test.h"

/* Nine letters, n or o: who wins, new or old, for a newcomer that begins before, with and
 * after the old, and for each of these ends before, with and after it. */
static const char *winners(enum mb__overlap_layer layer, int policy)
{
    static char text[10];
    const struct mb__extent old = {100, 200};
    for (int i = 0; i < 9; i++) {
        struct mb__extent fresh = {(uint64_t)(90 + i / 3 * 10), (uint64_t)(190 + i % 3 * 10)};
        text[i] = mb__overlap_fresh_wins(layer, policy, fresh, old) ? 'n' : 'o';
    }
    return text;
}

static void test_segments(void)
{
    CHECK_STR(winners(MB__OVERLAP_TCP, MB_OVERLAP_FIRST), "ooooooooo");
    CHECK_STR(winners(MB__OVERLAP_TCP, MB_OVERLAP_LAST), "nnnnnnnnn");
    CHECK_STR(winners(MB__OVERLAP_TCP, MB_OVERLAP_BSD), "nnnoooooo");
    CHECK_STR(winners(MB__OVERLAP_TCP, MB_OVERLAP_LINUX), "nnnoonooo");
    CHECK_STR(winners(MB__OVERLAP_TCP, MB_OVERLAP_OLD_LINUX), "nnnonnooo");
    CHECK_STR(winners(MB__OVERLAP_TCP, MB_OVERLAP_SOLARIS), "onnonnoon");
}

static void test_fragments(void)
{
    CHECK_STR(winners(MB__OVERLAP_IP, MB_OVERLAP_BSD), "nnnoooooo");
    CHECK_STR(winners(MB__OVERLAP_IP, MB_OVERLAP_BSD_RIGHT), "ooonnnnnn");
    CHECK_STR(winners(MB__OVERLAP_IP, MB_OVERLAP_LINUX), "nnnnnnooo");
    CHECK_STR(winners(MB__OVERLAP_IP, MB_OVERLAP_WINDOWS), "oonoooooo");
    CHECK_STR(winners(MB__OVERLAP_IP, MB_OVERLAP_SOLARIS), "onnoooooo");
}

static void test_names(void)
{
    for (int policy = 0; policy < MB_OVERLAP_COUNT; policy++)
        CHECK(mb_overlap_name(policy) != NULL);
    CHECK_STR(mb_overlap_name(MB_OVERLAP_MACOS), "macos");
    CHECK(mb_overlap_name(-1) == NULL);
    CHECK(mb_overlap_name(MB_OVERLAP_COUNT) == NULL);
}

int main(void)
{
    RUN(test_segments);
    RUN(test_fragments);
    RUN(test_names);
    return test_done();
}
