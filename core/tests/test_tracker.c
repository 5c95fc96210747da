/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tracker -- counts of addresses: found again, run out, bounded */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detect/quiet.h"
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

/* ---- periods in which nothing more is said ------------------------------------ */

static void test_quiet_periods(void)
{
    struct mb__quiet *q = mb__quiet_new();
    struct mb_addr a = address(1), b = address(2);
    struct mb__track_key key = mb__track_key(7, 1, MB_TRACK_SRC, &a, &a), other = mb__track_key(7, 1, MB_TRACK_SRC, &b, &b);
    CHECK(!mb__quiet_at(q, &key, 5));
    mb__quiet_set(q, &key, 100);
    CHECK(mb__quiet_at(q, &key, 5));
    CHECK(mb__quiet_at(q, &key, 100));
    CHECK(!mb__quiet_at(q, &key, 101));
    CHECK(!mb__quiet_at(q, &other, 5));
    mb__quiet_set(q, &key, 300);
    CHECK(mb__quiet_at(q, &key, 200));
    uint32_t kept = 0;
    for (uint32_t n = 0; n < 100000; n++) { /* more than there are slots: some are forgotten, none is made up */
        struct mb_addr host = address(n);
        struct mb__track_key of = mb__track_key(8, 1, MB_TRACK_SRC, &host, &host);
        mb__quiet_set(q, &of, n);
        CHECK(mb__quiet_at(q, &of, n) && !mb__quiet_at(q, &of, (int64_t)n + 1));
        of.id = 9;
        kept += mb__quiet_at(q, &of, 0);
    }
    CHECK_INT(kept, 0);
    mb__quiet_free(q);
}

static struct mb__track_key key_of(uint32_t n)
{
    struct mb_addr a = address(n);
    return mb__track_key(n, 1, MB_TRACK_SRC, &a, &a);
}

/* A key that takes the slot of |key|. */
static struct mb__track_key rival_of(struct mb__quiet *q, const struct mb__track_key *key)
{
    for (uint32_t n = 2;; n++) {
        struct mb__track_key rival = key_of(n);
        mb__quiet_set(q, key, 1);
        mb__quiet_set(q, &rival, 1);
        if (!mb__quiet_at(q, key, 1))
            return rival;
    }
}

/* One process writes two keys over each other in one slot, the first with a short
 * period and the other with a long one; another process never sees the first with the long one. */
static void test_quiet_while_written(void)
{
    struct mb__quiet *q = mb__quiet_new();
    struct mb__track_key first = key_of(1), second = rival_of(q, &first);
    pid_t writer = fork();
    while (writer == 0) {
        mb__quiet_set(q, &first, 10);
        mb__quiet_set(q, &second, 1000);
    }
    uint32_t wrong = 0, seen = 0;
    for (int n = 0; n < 3000000; n++) {
        wrong += mb__quiet_at(q, &first, 500);
        seen += mb__quiet_at(q, &second, 500) + mb__quiet_at(q, &first, 5);
    }
    CHECK_INT(wrong, 0);
    CHECK(seen > 0);
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    mb__quiet_free(q);
}

int main(void)
{
    RUN(test_keys);
    RUN(test_entries);
    RUN(test_bounded);
    RUN(test_quiet_periods);
    RUN(test_quiet_while_written);
    return test_done();
}
