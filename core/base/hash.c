/* SPDX-License-Identifier: BSD-3-Clause */
/* hash -- keys, and the hash of byte strings */
#include "base/hash.h"

#include <sys/random.h>
#include <time.h>

/* splitmix64: turns one seed into a row of unlike numbers. */
static uint64_t next_number(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void mb__hash_key_init(struct mb__hash_key *key, uint64_t seed)
{
    if (seed == 0 && getrandom(key->k, sizeof key->k, 0) == (ssize_t)sizeof key->k)
        return;
    if (seed == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        seed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32 ^ (uint64_t)(uintptr_t)key;
    }
    for (int i = 0; i < 4; i++)
        key->k[i] = next_number(&seed);
}

uint64_t mb__hash_bytes(const struct mb__hash_key *key, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint64_t h = key->k[0] ^ len, a, b;
    for (size_t left = len; left > 0;) {
        size_t n = left < 16 ? left : 16;
        uint8_t block[16] = {0};
        memcpy(block, p, n);
        memcpy(&a, block, 8);
        memcpy(&b, block + 8, 8);
        h = mb__fold(a ^ h ^ key->k[1], b ^ key->k[2]);
        p += n;
        left -= n;
    }
    return mb__fold(h ^ key->k[3], key->k[1]);
}
