/* SPDX-License-Identifier: BSD-3-Clause */
/* test_cursor -- a read gives the right number and moves on, or fails and moves nothing */

#include "base/cursor.h"
#include "test.h"

static const uint8_t bytes[16] = {0x80, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7,
                                  0x08, 0x19, 0x2a, 0x3b, 0x4c, 0x5d, 0x6e, 0x7f};

static void test_numbers(void)
{
    struct mb__cursor c = mb__cursor(bytes, sizeof bytes);
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    uint32_t u24 = 0, u32 = 0;
    uint64_t u64 = 0;
    CHECK(mb__cursor_u8(&c, &u8) && u8 == 0x80);
    CHECK(mb__cursor_u16(&c, &u16) && u16 == 0x91a2);
    CHECK(mb__cursor_u24(&c, &u24) && u24 == 0xb3c4d5);
    CHECK(mb__cursor_u32(&c, &u32) && u32 == 0xe6f70819);
    CHECK_INT(mb__cursor_left(&c), 6);
    CHECK(!mb__cursor_u64(&c, &u64));
    CHECK_INT(mb__cursor_left(&c), 6);
    CHECK(mb__cursor_le16(&c, &u16) && u16 == 0x3b2a);
    CHECK(mb__cursor_le32(&c, &u32) && u32 == 0x7f6e5d4c);
    CHECK_INT(mb__cursor_left(&c), 0);
    c = mb__cursor(bytes, 8);
    CHECK(mb__cursor_u64(&c, &u64) && u64 == UINT64_C(0x8091a2b3c4d5e6f7));
}

/* Each read at each distance from the end. */
static void test_ends(void)
{
    static const size_t sizes[] = {1, 2, 3, 4, 8, 2, 4};
    for (size_t left = 0; left <= 8; left++) {
        for (size_t read = 0; read < sizeof sizes / sizeof sizes[0]; read++) {
            struct mb__cursor c = mb__cursor(bytes, left);
            uint8_t u8;
            uint16_t u16;
            uint32_t u32;
            uint64_t u64;
            bool got[] = {left >= 1, left >= 2, left >= 3, left >= 4, left >= 8, left >= 2, left >= 4};
            bool done = read == 0   ? mb__cursor_u8(&c, &u8)
                        : read == 1 ? mb__cursor_u16(&c, &u16)
                        : read == 2 ? mb__cursor_u24(&c, &u32)
                        : read == 3 ? mb__cursor_u32(&c, &u32)
                        : read == 4 ? mb__cursor_u64(&c, &u64)
                        : read == 5 ? mb__cursor_le16(&c, &u16)
                                    : mb__cursor_le32(&c, &u32);
            CHECK_INT(done, got[read]);
            CHECK_INT(mb__cursor_left(&c), done ? left - sizes[read] : left);
        }
    }
}

static void test_take(void)
{
    struct mb__cursor c = mb__cursor(bytes, 10), part;
    CHECK(mb__cursor_peek(&c, 10) == bytes);
    CHECK(mb__cursor_peek(&c, 11) == NULL);
    CHECK(mb__cursor_take(&c, 4) == bytes);
    CHECK(mb__cursor_take(&c, 7) == NULL);
    CHECK(mb__cursor_take(&c, SIZE_MAX) == NULL);
    CHECK(mb__cursor_split(&c, 3, &part));
    CHECK(part.at == bytes + 4 && mb__cursor_left(&part) == 3);
    CHECK(!mb__cursor_split(&c, 4, &part));
    CHECK(mb__cursor_skip(&c, 0));
    CHECK(!mb__cursor_skip(&c, 4));
    CHECK(mb__cursor_skip(&c, 3));
    CHECK_INT(mb__cursor_left(&c), 0);
}

static void test_clip(void)
{
    struct mb__cursor c = mb__cursor(bytes, 10);
    mb__cursor_clip(&c, 12);
    CHECK_INT(mb__cursor_left(&c), 10);
    mb__cursor_clip(&c, 2);
    CHECK_INT(mb__cursor_left(&c), 2);
    mb__cursor_clip(&c, 0);
    CHECK(mb__cursor_take(&c, 1) == NULL);
}

static void test_nothing(void)
{
    struct mb__cursor c = mb__cursor(NULL, 0), part;
    uint8_t u8;
    CHECK_INT(mb__cursor_left(&c), 0);
    CHECK(!mb__cursor_u8(&c, &u8));
    CHECK(mb__cursor_skip(&c, 0));
    CHECK(mb__cursor_split(&c, 0, &part));
    CHECK_INT(mb__cursor_left(&part), 0);
}

static void test_stores(void)
{
    uint8_t b[4];
    mb__put_be16(b, 0x1234);
    CHECK_INT(mb__be16(b), 0x1234);
    mb__put_be32(b, 0x89abcdef);
    CHECK_MEM(b, "\x89\xab\xcd\xef", 4);
    CHECK_INT(mb__be32(b), 0x89abcdef);
}

int main(void)
{
    RUN(test_numbers);
    RUN(test_ends);
    RUN(test_take);
    RUN(test_clip);
    RUN(test_nothing);
    RUN(test_stores);
    return test_done();
}
