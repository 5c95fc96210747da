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

struct mb__memory {
    uint64_t used;  /* bytes taken now */
    uint64_t peak;  /* the most there ever were */
    uint64_t limit; /* take() refuses beyond */
};

/* Allocates |size| bytes on the account. NULL if the limit is reached or the
 * system has no memory. Give back with mb__memory_free() and the same size. */
static inline void *mb__memory_alloc(struct mb__memory *m, size_t size)
{
    if (size > m->limit - m->used)
        return NULL;
    void *p = malloc(size);
    if (p == NULL)
        return NULL;
    m->used += size;
    if (m->used > m->peak)
        m->peak = m->used;
    return p;
}

static inline void mb__memory_free(struct mb__memory *m, void *p, size_t size)
{
    if (p == NULL)
        return;
    m->used -= size;
    free(p);
}

#endif
