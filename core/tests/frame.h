/* SPDX-License-Identifier: BSD-3-Clause */
/* frame -- builds packets for the tests, header after header
 *
 *     struct frame f = {0};
 *     frame_ethernet(&f, 0x0800);
 *     frame_ipv4(&f, 6, 0);          length and sum are mended by frame_end()
 *     frame_tcp(&f, 1234, 80, MB_TCP_SYN);
 *     frame_text(&f, "hello");
 *     frame_end(&f);
 *
 * Each header begins where the last one ended. IP and UDP lengths reach to the
 * end of the frame unless given; outer headers are mended after inner ones.
 */
#ifndef MB_TEST_FRAME_H
#define MB_TEST_FRAME_H

#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "mosbox.h"

#define FRAME_MAX 4096
#define FRAME_HEADERS 16

struct frame {
    uint8_t b[FRAME_MAX];
    size_t len;
    size_t mend[FRAME_HEADERS]; /* where headers with a length to mend are */
    uint8_t kind[FRAME_HEADERS]; /* 4, 6, or 17 */
    size_t count;
};

static inline void frame_bytes(struct frame *f, const void *bytes, size_t len)
{
    if (f->len + len > FRAME_MAX)
        return;
    memcpy(f->b + f->len, bytes, len);
    f->len += len;
}

static inline void frame_text(struct frame *f, const char *text)
{
    frame_bytes(f, text, strlen(text));
}

static inline void frame_fill(struct frame *f, uint8_t byte, size_t len)
{
    while (len-- > 0)
        frame_bytes(f, &byte, 1);
}

static inline void frame_u8(struct frame *f, unsigned v)
{
    frame_fill(f, (uint8_t)v, 1);
}

static inline void frame_u16(struct frame *f, unsigned v)
{
    uint8_t b[2];
    mb__put_be16(b, (uint16_t)v);
    frame_bytes(f, b, 2);
}

static inline void frame_u32(struct frame *f, uint32_t v)
{
    uint8_t b[4];
    mb__put_be32(b, v);
    frame_bytes(f, b, 4);
}

static inline void frame_note(struct frame *f, uint8_t kind)
{
    f->mend[f->count] = f->len;
    f->kind[f->count++] = kind;
}

static inline void frame_ethernet(struct frame *f, unsigned type)
{
    frame_bytes(f, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
    frame_u16(f, type);
}

/* 10.0.0.1 -> 10.0.0.2; |fragment| is the flags and offset field. */
static inline void frame_ipv4(struct frame *f, unsigned proto, unsigned fragment)
{
    frame_note(f, 4);
    frame_u16(f, 0x4500);
    frame_u16(f, 0);
    frame_u16(f, 0x1234);
    frame_u16(f, fragment);
    frame_u8(f, 64);
    frame_u8(f, proto);
    frame_u16(f, 0);
    frame_u32(f, 0x0a000001);
    frame_u32(f, 0x0a000002);
}

/* 2001:db8::1 -> 2001:db8::2. */
static inline void frame_ipv6(struct frame *f, unsigned next)
{
    static const uint8_t prefix[15] = {0x20, 0x01, 0x0d, 0xb8};
    frame_note(f, 6);
    frame_u32(f, 0x60000000);
    frame_u16(f, 0);
    frame_u8(f, next);
    frame_u8(f, 64);
    frame_bytes(f, prefix, 15);
    frame_u8(f, 1);
    frame_bytes(f, prefix, 15);
    frame_u8(f, 2);
}

static inline void frame_udp(struct frame *f, unsigned sport, unsigned dport)
{
    frame_note(f, 17);
    frame_u16(f, sport);
    frame_u16(f, dport);
    frame_u32(f, 0);
}

/* |options| of |len| bytes, a multiple of 4. */
static inline void frame_tcp_options(struct frame *f, unsigned sport, unsigned dport, unsigned flags,
                                     const void *options, size_t len)
{
    frame_u16(f, sport);
    frame_u16(f, dport);
    frame_u32(f, 1000);
    frame_u32(f, 2000);
    frame_u8(f, (unsigned)(20 + len) / 4 << 4);
    frame_u8(f, flags);
    frame_u16(f, 8192);
    frame_u32(f, 0);
    frame_bytes(f, options, len);
}

static inline void frame_tcp(struct frame *f, unsigned sport, unsigned dport, unsigned flags)
{
    frame_tcp_options(f, sport, dport, flags, "", 0);
}

/* The IPv4 header sum of the header at |h|, for its field. */
static inline uint16_t frame_ipv4_sum(const uint8_t *h)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < (h[0] & 15u) * 4; i += 2)
        sum += i == 10 ? 0 : mb__be16(h + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Fills in the lengths and sums that were left 0. */
static inline void frame_end(struct frame *f)
{
    for (size_t i = 0; i < f->count; i++) {
        uint8_t *h = f->b + f->mend[i];
        uint16_t rest = (uint16_t)(f->len - f->mend[i]);
        if (f->kind[i] == 4) {
            if (mb__be16(h + 2) == 0)
                mb__put_be16(h + 2, rest);
            mb__put_be16(h + 10, frame_ipv4_sum(h));
        } else if (mb__be16(h + 4) == 0) {
            mb__put_be16(h + 4, f->kind[i] == 6 ? (uint16_t)(rest - 40) : rest);
        }
    }
    f->count = 0;
}

/* The frame as a source would hand it over. */
static inline struct mb_frame frame_of(const struct frame *f)
{
    return (struct mb_frame){.ts = 1, .data = f->b, .caplen = (uint32_t)f->len, .wirelen = (uint32_t)f->len};
}

#endif
