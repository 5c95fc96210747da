/* SPDX-License-Identifier: BSD-3-Clause */
/* pool -- fixed-size slots at stable addresses, named by 32-bit numbers
 *
 *   address space reserved for |limit| slots; memory comes with the first touch
 *   +------+------+------+------+----------------------------+
 *   |  0   |  1   |  2   |  3   |  ... never touched ...      |
 *   +------+------+------+------+----------------------------+
 *    unused   free <--------+
 *             list (the last slot given back is the first taken: it is warm)
 *
 * A slot's number is half as wide as its pointer and base + number * stride is
 * one multiplication, so tables and lists over a pool hold numbers. Number 0
 * is never given out: it means "none". Slots are zeroed when taken.
 */
#ifndef MB_BASE_POOL_H
#define MB_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct mb__pool {
    uint8_t *base;
    size_t stride;    /* bytes a slot */
    uint32_t limit;   /* slots that may be taken at once */
    uint32_t used;    /* slots taken now */
    uint32_t touched; /* slots ever taken: they have memory */
    uint32_t free;    /* head of the list of slots given back; 0: empty */
    size_t reserved;  /* bytes of address space */
    uint64_t inverse; /* of the odd part of stride, modulo 2^64 */
    uint32_t shift;   /* stride is that odd part * 2^shift */
};

/* Reserves address space for |limit| slots of |size| bytes. 0 or MB_ENOMEM. */
int mb__pool_init(struct mb__pool *p, size_t size, uint32_t limit);
/* Gives the address space back. */
void mb__pool_fini(struct mb__pool *p);
/* A zeroed slot's number, 0 when |limit| are taken. */
uint32_t mb__pool_take(struct mb__pool *p);
/* Gives slot |n| back. */
void mb__pool_give(struct mb__pool *p, uint32_t n);

/* The slot with number |n|. */
static inline void *mb__pool_at(const struct mb__pool *p, uint32_t n)
{
    return p->base + (size_t)n * p->stride;
}

/* Slot |n| will be written soon: fetches all its lines. 0 and slots never
 * touched are harmless. */
static inline void mb__pool_prefetch(const struct mb__pool *p, uint32_t n)
{
    const char *slot = mb__pool_at(p, n);
    for (size_t line = 0; line < p->stride; line += 64)
        __builtin_prefetch(slot + line, 1);
    __builtin_prefetch(slot + p->stride - 1, 1); /* slots begin anywhere in a line */
}

/* The number of |slot|: an exact division, done by multiplying with the
 * inverse, since a real one would cost as much as finding the slot. */
static inline uint32_t mb__pool_number(const struct mb__pool *p, const void *slot)
{
    uint64_t bytes = (uint64_t)((const uint8_t *)slot - p->base);
    return (uint32_t)((bytes >> p->shift) * p->inverse);
}

#endif
