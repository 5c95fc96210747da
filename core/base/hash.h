/* SPDX-License-Identifier: BSD-3-Clause */
/* hash -- keyed hashes of network data
 *
 * Whoever chooses addresses and ports must not be able to choose buckets, so
 * every hash is keyed with a secret of the engine. The mixer is the 64 x 64
 * -> 128 bit multiplication folded by XOR: every input bit reaches every output
 * bit, in about five cycles. A key part that an attacker knows the product of
 * does not help: both factors depend on the key.
 */
#ifndef MB_BASE_HASH_H
#define MB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mb__hash_key {
    uint64_t k[4];
};

/* Fills |key| from |seed|; 0 takes the system's random numbers. */
void mb__hash_key_init(struct mb__hash_key *key, uint64_t seed);

/* High and low half of a * b, XORed. */
static inline uint64_t mb__fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Hash of one endpoint of a flow: its address as it lies in memory, and its port. */
static inline uint64_t mb__hash_endpoint(const struct mb__hash_key *key, const uint8_t addr[16], uint16_t port)
{
    uint64_t hi, lo;
    memcpy(&hi, addr, 8);
    memcpy(&lo, addr + 8, 8);
    return mb__fold(lo ^ key->k[0], (hi + ((uint64_t)port << 40 | port)) ^ key->k[1]);
}

/* Hash of a flow, equal in both directions: endpoints are added, which does not
 * know an order, before the last mix. |rest| is protocol, VLAN, tunnel. */
static inline uint32_t mb__hash_flow(const struct mb__hash_key *key, const uint8_t src[16], uint16_t sport,
                                     const uint8_t dst[16], uint16_t dport, uint64_t rest)
{
    uint64_t ends = mb__hash_endpoint(key, src, sport) + mb__hash_endpoint(key, dst, dport);
    return (uint32_t)(mb__fold(ends ^ key->k[2], rest ^ key->k[3]) >> 16);
}

/* The same in one multiplication where both ends, addresses and ports, are numbers of 48 bits: the
 * smaller one comes first, whoever sent. */
static inline uint32_t mb__hash_flow_48(const struct mb__hash_key *key, uint64_t src, uint64_t dst, uint64_t rest)
{
    uint64_t low = src < dst ? src : dst, high = src < dst ? dst : src;
    uint64_t hash = mb__fold(low ^ key->k[0], (high | rest << 48) ^ key->k[1]);
    if (rest >> 16 != 0)
        hash = mb__fold(hash ^ key->k[2], rest ^ key->k[3]);
    return (uint32_t)(hash >> 16);
}

/* Hash of |len| bytes. */
uint64_t mb__hash_bytes(const struct mb__hash_key *key, const void *bytes, size_t len);

#endif
