/* SPDX-License-Identifier: BSD-3-Clause */
/* pool -- reservation and the list of free slots */
#include "base/pool.h"

#include <string.h>

#include "base/reserve.h"
#include "mosbox.h"

/* The number that |odd| times it is 1 modulo 2^64. Each step of Newton's
 * doubles the bits that are right; an odd number is its own inverse in three. */
static uint64_t inverse_of(uint64_t odd)
{
    uint64_t inverse = odd;
    for (int bits = 3; bits < 64; bits *= 2)
        inverse *= 2 - odd * inverse;
    return inverse;
}

int mb__pool_init(struct mb__pool *p, size_t size, uint32_t limit)
{
    memset(p, 0, sizeof *p);
    p->stride = (size + 7) & ~(size_t)7;
    p->shift = (uint32_t)__builtin_ctzll(p->stride);
    p->inverse = inverse_of(p->stride >> p->shift);
    p->limit = limit;
    p->reserved = ((size_t)limit + 1) * p->stride;
    p->base = mb__reserve(p->reserved);
    return p->base == NULL ? MB_ENOMEM : 0;
}

void mb__pool_fini(struct mb__pool *p)
{
    mb__release(p->base, p->reserved);
    memset(p, 0, sizeof *p);
}

uint32_t mb__pool_take(struct mb__pool *p)
{
    uint32_t n = p->free;
    if (n != 0) {
        void *slot = mb__pool_at(p, n);
        memcpy(&p->free, slot, sizeof p->free);
        memset(slot, 0, p->stride);
    } else if (p->touched < p->limit) {
        n = ++p->touched; /* fresh pages are zero */
    } else {
        return 0;
    }
    p->used++;
    return n;
}

void mb__pool_give(struct mb__pool *p, uint32_t n)
{
    memcpy(mb__pool_at(p, n), &p->free, sizeof p->free);
    p->free = n;
    p->used--;
    mb__pool_prefetch(p, n); /* it is the next to be taken, and then written from end to end */
}
