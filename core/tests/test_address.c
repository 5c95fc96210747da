/* SPDX-License-Identifier: BSD-3-Clause */
/* test_address -- address text against inet_ntop() and RFC 5952's examples */
#include <arpa/inet.h>
#include <stdlib.h>

#include "mosbox.h"
#include "test.h"

static void check_text(const char *input, const char *want)
{
    struct mb_addr a;
    char text[MB_ADDR_TEXT];
    CHECK_INT(mb_addr_parse(input, &a), 0);
    CHECK_INT(mb_addr_text(&a, text), strlen(want));
    CHECK_STR(text, want);
}

static void test_rfc5952(void)
{
    check_text("2001:0db8::0001", "2001:db8::1");
    check_text("2001:db8:0:0:0:0:2:1", "2001:db8::2:1");
    check_text("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
    check_text("2001:0:0:1:0:0:0:1", "2001:0:0:1::1");
    check_text("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
    check_text("2001:DB8::ABCD", "2001:db8::abcd");
    check_text("::", "::");
    check_text("::1", "::1");
    check_text("1::", "1::");
    check_text("0:1::", "0:1::");
    check_text("1:0:0:2:3:4:0:0", "1::2:3:4:0:0");
    check_text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void test_v4(void)
{
    struct mb_addr a;
    check_text("192.0.2.1", "192.0.2.1");
    check_text("0.0.0.0", "0.0.0.0");
    check_text("255.255.255.255", "255.255.255.255");
    check_text("1.20.99.100", "1.20.99.100");
    check_text("::ffff:10.0.0.1", "10.0.0.1");
    CHECK(mb_addr_parse("10.0.0.1", &a) == 0 && mb_addr_is_v4(&a));
    CHECK(mb_addr_parse("::10.0.0.1", &a) == 0 && !mb_addr_is_v4(&a));
    CHECK_INT(a.byte[15], 1);
}

static void test_bad_text(void)
{
    static const char *const bad[] = {"",        "1.2.3", "1.2.3.256", "1.2.3.4.5",
                                      "1::2::3", "g::",   "1.2.3.4/8", " ::1"};
    struct mb_addr a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(mb_addr_parse(bad[i], &a), MB_ESYNTAX);
}

/* Groups are zero, short or long at random, so that runs of zeros abound. */
static void random_address(struct mb_addr *a)
{
    for (int i = 0; i < 16; i += 2) {
        int kind = rand() % 4;
        a->byte[i] = kind == 3 ? (uint8_t)rand() : 0;
        a->byte[i + 1] = kind >= 2 ? (uint8_t)rand() : 0;
    }
}

static void test_like_inet_ntop(void)
{
    char text[MB_ADDR_TEXT], want[INET6_ADDRSTRLEN];
    int different = 0;
    srand(1);
    for (int n = 0; n < 100000; n++) {
        struct mb_addr a, back;
        random_address(&a);
        a.byte[0] |= 1; /* inet_ntop() writes ::/96 in the old IPv4-compatible form */
        inet_ntop(AF_INET6, a.byte, want, sizeof want);
        mb_addr_text(&a, text);
        different += strcmp(text, want) != 0;
        different += mb_addr_parse(text, &back) != 0 || memcmp(&a, &back, sizeof a) != 0;
    }
    CHECK_INT(different, 0);
    for (int n = 0; n < 65536; n++) {
        uint8_t low = (uint8_t)n, high = (uint8_t)(n >> 8);
        struct mb_addr a = {.byte = {[10] = 0xff, 0xff, low, high, low ^ 100, high ^ 10}};
        inet_ntop(AF_INET, a.byte + 12, want, sizeof want);
        CHECK_INT(mb_addr_text(&a, text), strlen(want));
        different += strcmp(text, want) != 0;
    }
    CHECK_INT(different, 0);
}

int main(void)
{
    RUN(test_rfc5952);
    RUN(test_v4);
    RUN(test_bad_text);
    RUN(test_like_inet_ntop);
    return test_done();
}
