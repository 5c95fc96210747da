/* SPDX-License-Identifier: BSD-3-Clause */
/* ring -- memory that several processes share, and how they wait for each other
 *
 *   address   base            base + size       base + 2 * size
 *             | bytes of the ring | the same bytes again |
 *
 * The bytes of a ring are mapped twice, one after the other: whatever begins in
 * it goes on without a break, so a reader never meets the end. Made before the
 * fork, it lies at the same address in all processes.
 *
 * A bell is a number that goes up when something has happened. Who waits reads
 * it, looks whether there is something to do, and then waits only if the bell
 * still shows what was read: what happens in between is not missed. The kernel is
 * called to wake somebody only where somebody waits.
 */
#ifndef MB_BASE_RING_H
#define MB_BASE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MB__CACHE_LINE 64

/* A ring of |size| bytes, a power of two and whole pages; NULL: no memory. */
uint8_t *mb__ring_new(size_t size);
void mb__ring_free(uint8_t *base, size_t size);

/* |size| zeroed bytes that forked processes share; NULL: no memory. */
void *mb__shared_new(size_t size);
void mb__shared_free(void *memory, size_t size);

/* Zeroed memory that processes share is a bell. */
struct mb__bell {
    _Atomic uint32_t number;
    _Atomic uint32_t waiting; /* processes in mb__bell_wait(), those killed in it counted for ever */
};

/* What |bell| shows. */
static inline uint32_t mb__bell_seen(const struct mb__bell *bell)
{
    return atomic_load(&bell->number);
}

/* Waits until |bell| shows something else than |seen|, at most |ms| milliseconds;
 * may come back early. */
void mb__bell_wait(struct mb__bell *bell, uint32_t seen, unsigned ms);
/* Something has happened: wakes all that wait. */
void mb__bell_ring(struct mb__bell *bell);

#endif
