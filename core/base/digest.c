/* SPDX-License-Identifier: BSD-3-Clause */
/* digest -- three compression functions under one block buffer
 *
 * All three take 64-byte blocks, pad with 0x80, zeros and the length in bits,
 * and differ in byte order, chaining values and the compression function.
 */
#include "base/digest.h"

#include <stdbool.h>
#include <string.h>

#include "base/cursor.h"

static inline uint32_t rol(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static inline uint32_t ror(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* floor(2^32 * abs(sin(i + 1))), RFC 1321 3.4. */
static const uint32_t md5_sine[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static void md5_block(uint32_t h[8], const uint8_t *block)
{
    static const uint8_t shift[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t f;
        unsigned k;
        switch (i / 16) {
        case 0: f = (b & c) | (~b & d), k = i; break;
        case 1: f = (b & d) | (c & ~d), k = (5 * i + 1) % 16; break;
        case 2: f = b ^ c ^ d, k = (3 * i + 5) % 16; break;
        default: f = c ^ (b | ~d), k = 7 * i % 16; break;
        }
        uint32_t sum = a + f + mb__le32(block + 4 * k) + md5_sine[i];
        a = d, d = c, c = b;
        b += rol(sum, shift[i / 16][i % 4]);
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

/* Word |i| of the message schedule, of which the last 16 are kept: |w|. */
static inline uint32_t sha1_word(uint32_t w[16], unsigned i)
{
    if (i >= 16)
        w[i & 15] = rol(w[(i + 13) & 15] ^ w[(i + 8) & 15] ^ w[(i + 2) & 15] ^ w[i & 15], 1);
    return w[i & 15];
}

/* One round: the five words move on by one place. */
static inline void sha1_round(uint32_t s[5], uint32_t f, uint32_t k, uint32_t word)
{
    uint32_t sum = rol(s[0], 5) + f + s[4] + word + k;
    s[4] = s[3], s[3] = s[2], s[2] = rol(s[1], 30), s[1] = s[0], s[0] = sum;
}

static void sha1_block(uint32_t h[8], const uint8_t *block)
{
    uint32_t w[16], s[5] = {h[0], h[1], h[2], h[3], h[4]};
    for (unsigned i = 0; i < 16; i++)
        w[i] = mb__be32(block + 4 * i);
    for (unsigned i = 0; i < 20; i++)
        sha1_round(s, (s[1] & s[2]) | (~s[1] & s[3]), 0x5a827999, sha1_word(w, i));
    for (unsigned i = 20; i < 40; i++)
        sha1_round(s, s[1] ^ s[2] ^ s[3], 0x6ed9eba1, sha1_word(w, i));
    for (unsigned i = 40; i < 60; i++)
        sha1_round(s, (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]), 0x8f1bbcdc, sha1_word(w, i));
    for (unsigned i = 60; i < 80; i++)
        sha1_round(s, s[1] ^ s[2] ^ s[3], 0xca62c1d6, sha1_word(w, i));
    for (unsigned i = 0; i < 5; i++)
        h[i] += s[i];
}

/* Cube roots of the first 64 primes, RFC 6234 5.1. */
static const uint32_t sha256_root[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static void sha256_block(uint32_t h[8], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (unsigned i = 0; i < 16; i++)
        w[i] = mb__be32(block + 4 * i);
    for (unsigned i = 16; i < 64; i++) {
        uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(s, h, sizeof s);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t major = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) + choose + sha256_root[i] + w[i];
        uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) + major;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        h[i] += s[i];
}

static void take_block(struct mb__digest *d, const uint8_t *block)
{
    if (d->kind == MB__MD5)
        md5_block(d->h, block);
    else if (d->kind == MB__SHA1)
        sha1_block(d->h, block);
    else
        sha256_block(d->h, block);
}

void mb__digest_init(struct mb__digest *d, enum mb__digest_kind kind)
{
    static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    static const uint32_t start256[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    d->kind = kind;
    d->len = 0;
    if (kind == MB__SHA256)
        memcpy(d->h, start256, sizeof start256);
    else
        memcpy(d->h, start, sizeof start);
}

void mb__digest_update(struct mb__digest *d, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        size_t have = d->len % 64, n = 64 - have < len ? 64 - have : len;
        if (n == 64) {
            take_block(d, p);
        } else {
            memcpy(d->block + have, p, n);
            if (have + n == 64)
                take_block(d, d->block);
        }
        d->len += n;
        p += n;
        len -= n;
    }
}

void mb__digest_final(struct mb__digest *d, uint8_t *out)
{
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = d->len * 8;
    bool little = d->kind == MB__MD5;
    size_t have = d->len % 64;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (little ? 8 * i : 56 - 8 * i));
    mb__digest_update(d, padding, have < 56 ? 56 - have : 120 - have);
    mb__digest_update(d, length, sizeof length);
    for (int i = 0; i < (int)d->kind; i++)
        out[i] = (uint8_t)(d->h[i / 4] >> (little ? 8 * (i % 4) : 24 - 8 * (i % 4)));
}

void mb__digest(enum mb__digest_kind kind, const void *bytes, size_t len, uint8_t *out)
{
    struct mb__digest d;
    mb__digest_init(&d, kind);
    mb__digest_update(&d, bytes, len);
    mb__digest_final(&d, out);
}

void mb__hex(const uint8_t *bytes, size_t len, char *text)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digit[bytes[i] >> 4];
        text[2 * i + 1] = digit[bytes[i] & 15];
    }
    text[2 * len] = '\0';
}
