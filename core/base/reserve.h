/* SPDX-License-Identifier: BSD-3-Clause */
/* reserve -- address space, whose memory comes with the first touch
 *
 *     |<-------- size -------->|
 *     +-----------+-----------+--+
 *     |  2 MiB    |   2 MiB   |  |     begins where a huge page can
 *     +-----------+-----------+--+
 *
 * Tables and pools are met in random order: with pages of 4 KiB most visits would cost
 * a walk of the page table too, and each page a fault. Huge pages are asked for;
 * without them all works as well.
 */
#ifndef MB_BASE_RESERVE_H
#define MB_BASE_RESERVE_H

#include <stddef.h>

/* |size| zeroed bytes, for mb__release(); NULL: no memory. */
void *mb__reserve(size_t size);
/* Gives them back. NULL is nothing. */
void mb__release(void *memory, size_t size);

#endif
