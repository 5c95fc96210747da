/* SPDX-License-Identifier: BSD-3-Clause */
/* test -- the whole of the C test framework
 *
 *     static void test_empty(void) { CHECK(mb_x() == 0); CHECK_INT(mb_y(), 3); }
 *     int main(void) { RUN(test_empty); return test_done(); }
 *
 * A failed check prints file:line, is counted, and the test goes on.
 */
#ifndef MB_TEST_H
#define MB_TEST_H

#include <stdio.h>
#include <string.h>

static int test_checks, test_failures;

#define CHECK(cond)                                                            \
    do {                                                                       \
        test_checks++;                                                         \
        if (!(cond)) {                                                         \
            test_failures++;                                                   \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
        }                                                                      \
    } while (0)

#define CHECK_INT(got, want)                                                   \
    do {                                                                       \
        long long got_ = (long long)(got), want_ = (long long)(want);          \
        test_checks++;                                                         \
        if (got_ != want_) {                                                   \
            test_failures++;                                                   \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__,    \
                    __LINE__, #got, got_, want_);                              \
        }                                                                      \
    } while (0)

#define CHECK_STR(got, want)                                                   \
    do {                                                                       \
        const char *got_ = (got), *want_ = (want);                             \
        test_checks++;                                                         \
        if (!got_ || strcmp(got_, want_)) {                                    \
            test_failures++;                                                   \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n",          \
                    __FILE__, __LINE__, #got, got_ ? got_ : "(null)", want_);  \
        }                                                                      \
    } while (0)

#define CHECK_MEM(got, want, len)                                              \
    do {                                                                       \
        test_checks++;                                                         \
        if (memcmp((got), (want), (len)) != 0) {                               \
            test_failures++;                                                   \
            fprintf(stderr, "%s:%d: the bytes of %s differ from %s\n",         \
                    __FILE__, __LINE__, #got, #want);                          \
        }                                                                      \
    } while (0)

#define RUN(fn)                                                                \
    do {                                                                       \
        int before_ = test_failures;                                           \
        fn();                                                                  \
        printf("%s %s\n", test_failures == before_ ? "ok  " : "FAIL", #fn);    \
    } while (0)

static inline int test_done(void)
{
    printf("%d checks, %d failures\n", test_checks, test_failures);
    return test_failures != 0 || test_checks == 0;
}

#endif
