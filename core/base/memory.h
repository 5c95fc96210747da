/* SPDX-License-Identifier: BSD-3-Clause */
/* memory -- one account of all bytes buffered for the network's sake
 *
 * Streams, fragments and parsers hold bytes that a sender chose to send. All
 * of them take those bytes from one account with a limit, so that the sum is
 * bounded however the load is spread. The account only counts; the owner of
 * the buffer allocates.
 */
#ifndef MB_BASE_MEMORY_H
#define MB_BASE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct mb__memory {
    uint64_t used;  /* bytes taken now */
    uint64_t peak;  /* the most there ever were */
    uint64_t limit; /* alloc() refuses beyond */
    uint64_t refused; /* how often it did, or the system had none */
};

/* What a buffer of |size| bytes costs: an allocator puts a head before each and
 * rounds up, which is most of the price of a small one. */
static inline size_t mb__memory_cost(size_t size)
{
    return (size + 8 + 15) & ~(size_t)15;
}

/* Allocates |size| bytes on the account. NULL if the limit is reached or the
 * system has no memory. Give back with mb__memory_free() and the same size. */
static inline void *mb__memory_alloc(struct mb__memory *m, size_t size)
{
    size_t cost = mb__memory_cost(size);
    void *p = cost < size || cost > m->limit - m->used ? NULL : malloc(size);
    if (p == NULL) {
        m->refused++;
        return NULL;
    }
    m->used += cost;
    if (m->used > m->peak)
        m->peak = m->used;
    return p;
}

/* The same bytes, all 0. */
static inline void *mb__memory_zeroed(struct mb__memory *m, size_t size)
{
    void *p = mb__memory_alloc(m, size);
    return p == NULL ? NULL : memset(p, 0, size);
}

static inline void mb__memory_free(struct mb__memory *m, void *p, size_t size)
{
    if (p == NULL)
        return;
    m->used -= mb__memory_cost(size);
    free(p);
}

/* |p| of |size| bytes (NULL: none) moved to |more| bytes. NULL: there is no room,
 * and |p| is as it was. */
static inline void *mb__memory_grow(struct mb__memory *m, void *p, size_t size, size_t more)
{
    void *grown = mb__memory_alloc(m, more);
    if (grown == NULL || p == NULL)
        return grown;
    memcpy(grown, p, size);
    mb__memory_free(m, p, size);
    return grown;
}

#endif
