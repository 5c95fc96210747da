/* SPDX-License-Identifier: BSD-3-Clause */
/* ring -- shared mappings and futexes */
#define _GNU_SOURCE
#include "base/ring.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint8_t *mb__ring_new(size_t size)
{
    int fd = memfd_create("mosbox", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    uint8_t *base = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        base = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int half = 0; half < 2 && base != MAP_FAILED; half++) {
        void *part = mmap(base + (size_t)half * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        if (part == MAP_FAILED) {
            munmap(base, 2 * size);
            base = MAP_FAILED;
        }
    }
    close(fd);
    return base == MAP_FAILED ? NULL : base;
}

void mb__ring_free(uint8_t *base, size_t size)
{
    if (base != NULL)
        munmap(base, 2 * size);
}

void *mb__shared_new(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void mb__shared_free(void *memory, size_t size)
{
    if (memory != NULL)
        munmap(memory, size);
}

void mb__bell_wait(struct mb__bell *bell, uint32_t seen, unsigned ms)
{
    struct timespec most = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    atomic_fetch_add(&bell->waiting, 1); /* first: who rings sees it, or the kernel sees another number */
    syscall(SYS_futex, &bell->number, FUTEX_WAIT, seen, &most, NULL, 0);
    atomic_fetch_sub(&bell->waiting, 1);
}

void mb__bell_ring(struct mb__bell *bell)
{
    atomic_fetch_add(&bell->number, 1);
    if (atomic_load(&bell->waiting) > 0)
        syscall(SYS_futex, &bell->number, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
