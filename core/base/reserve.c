/* SPDX-License-Identifier: BSD-3-Clause */
/* reserve -- mappings that begin at a huge page */
#include "base/reserve.h"

#include <stdint.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20) /* of x86-64, and of arm64 with pages of 4 KiB */
#define PAGE ((size_t)64 << 10)     /* a multiple of every page size */

void *mb__reserve(size_t size)
{
    size_t slack = size < HUGE_PAGE ? 0 : HUGE_PAGE;
    size_t whole = (size + PAGE - 1) & ~(PAGE - 1);
    if (whole < size || whole + slack < whole)
        return NULL;
    uint8_t *base = mmap(NULL, whole + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (slack > 0) { /* what lies before and behind goes back */
        size_t before = -(uintptr_t)base & (HUGE_PAGE - 1);
        if (before > 0)
            (void)munmap(base, before);
        if (before < slack)
            (void)munmap(base + before + whole, slack - before);
        base += before;
        (void)madvise(base, whole, MADV_HUGEPAGE);
    }
    return base;
}

void mb__release(void *memory, size_t size)
{
    if (memory != NULL)
        (void)munmap(memory, (size + PAGE - 1) & ~(PAGE - 1));
}
