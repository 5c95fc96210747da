/* SPDX-License-Identifier: BSD-3-Clause */
/* test_overlap -- who wins an overlap, and whose policy holds */
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

static int add(struct mb__overlap_hosts *hosts, const char *text, unsigned bits, int policy)
{
    struct mb_addr a;
    return mb_addr_parse(text, &a) == 0 ? mb__overlap_add(hosts, &a, bits, policy) : MB_ESYNTAX;
}

static int policy_of(const struct mb__overlap_hosts *hosts, const char *text)
{
    struct mb_addr a;
    return mb_addr_parse(text, &a) == 0 ? mb__overlap_of(hosts, &a) : -1;
}

static void test_longest_prefix(void)
{
    struct mb__overlap_hosts hosts = {.otherwise = MB_OVERLAP_BSD};
    CHECK_INT(policy_of(&hosts, "10.1.2.3"), MB_OVERLAP_BSD);
    CHECK_INT(add(&hosts, "10.1.0.0", 16, MB_OVERLAP_LINUX), 0);
    CHECK_INT(add(&hosts, "10.1.2.3", 32, MB_OVERLAP_SOLARIS), 0);
    CHECK_INT(add(&hosts, "10.0.0.0", 8, MB_OVERLAP_WINDOWS), 0);
    CHECK_INT(add(&hosts, "10.1.128.0", 17, MB_OVERLAP_LAST), 0);
    CHECK_INT(add(&hosts, "2001:db8::", 33, MB_OVERLAP_HPUX), 0);
    CHECK_INT(policy_of(&hosts, "10.1.2.3"), MB_OVERLAP_SOLARIS);
    CHECK_INT(policy_of(&hosts, "10.1.2.4"), MB_OVERLAP_LINUX);
    CHECK_INT(policy_of(&hosts, "10.1.200.4"), MB_OVERLAP_LAST);
    CHECK_INT(policy_of(&hosts, "10.2.2.4"), MB_OVERLAP_WINDOWS);
    CHECK_INT(policy_of(&hosts, "11.2.2.4"), MB_OVERLAP_BSD);
    CHECK_INT(policy_of(&hosts, "2001:db8:1::1"), MB_OVERLAP_HPUX);
    CHECK_INT(policy_of(&hosts, "2001:db8:8000::1"), MB_OVERLAP_BSD);
    mb__overlap_fini(&hosts);
}

static void test_any_address(void)
{
    struct mb__overlap_hosts hosts = {.otherwise = MB_OVERLAP_FIRST};
    CHECK_INT(add(&hosts, "0.0.0.0", 0, MB_OVERLAP_WINDOWS), 0);
    CHECK_INT(policy_of(&hosts, "192.0.2.1"), MB_OVERLAP_WINDOWS);
    CHECK_INT(policy_of(&hosts, "2001:db8::1"), MB_OVERLAP_FIRST);
    mb__overlap_fini(&hosts);
}

static void test_refused(void)
{
    struct mb__overlap_hosts hosts = {.otherwise = MB_OVERLAP_FIRST};
    CHECK_INT(add(&hosts, "10.0.0.0", 33, MB_OVERLAP_BSD), MB_EINVAL);
    CHECK_INT(add(&hosts, "2001:db8::", 129, MB_OVERLAP_BSD), MB_EINVAL);
    CHECK_INT(add(&hosts, "10.0.0.0", 8, MB_OVERLAP_COUNT), MB_EINVAL);
    CHECK_INT(add(&hosts, "10.0.0.0", 8, -1), MB_EINVAL);
    for (int i = 0; i < 4096; i++)
        CHECK_INT(add(&hosts, "10.0.0.0", 8, MB_OVERLAP_BSD), 0);
    CHECK_INT(add(&hosts, "10.0.0.0", 8, MB_OVERLAP_BSD), MB_ELIMIT);
    mb__overlap_fini(&hosts);
}

int main(void)
{
    RUN(test_segments);
    RUN(test_fragments);
    RUN(test_names);
    RUN(test_longest_prefix);
    RUN(test_any_address);
    RUN(test_refused);
    return test_done();
}
