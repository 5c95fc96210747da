/* SPDX-License-Identifier: BSD-3-Clause */
/* test_error -- every code has a name and a sentence, and so has any other number */
#include "mosbox.h"
#include "test.h"

static void test_errors(void)
{
    CHECK_STR(mb_error_name(MB_OK), "MB_OK");
    CHECK_STR(mb_error_name(MB_ENOENT), "MB_ENOENT");
    CHECK_STR(mb_error_name(-999), "MB_EUNKNOWN");
    CHECK_STR(mb_error_text(7), "unknown error");
    for (int code = MB_ENOENT; code <= MB_OK; code++) {
        CHECK(strcmp(mb_error_name(code), "MB_EUNKNOWN") != 0);
        CHECK(strcmp(mb_error_text(code), "unknown error") != 0);
    }
    CHECK(strchr(mb_version(), '.') != NULL);
}

int main(void)
{
    RUN(test_errors);
    return test_done();
}
