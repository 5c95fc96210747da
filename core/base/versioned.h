/* SPDX-License-Identifier: BSD-3-Clause */
/* versioned -- some words that one process writes and others read whole, without a lock
 *
 *   writer:   version odd | word 0 | word 1 | ... | version even, two more than before
 *   reader:   version     | word 0 | word 1 | ... | version again: the same, and even?
 *
 * The words are atomic each, in memory that the processes share (base/ring.h).
 */
#ifndef MB_BASE_VERSIONED_H
#define MB_BASE_VERSIONED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes |n| words, as the only one who does. */
static inline void mb__versioned_write(_Atomic uint64_t *version, _Atomic uint64_t *word, const uint64_t *from, size_t n)
{
    uint64_t before = atomic_load_explicit(version, memory_order_relaxed);
    atomic_store_explicit(version, before + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&word[i], from[i], memory_order_relaxed);
    atomic_store_explicit(version, before + 2, memory_order_release);
}

/* Reads them. False: they were being written, |to| means nothing. */
static inline bool mb__versioned_read(const _Atomic uint64_t *version, const _Atomic uint64_t *word, uint64_t *to,
                                      size_t n)
{
    uint64_t before = atomic_load_explicit(version, memory_order_acquire);
    for (size_t i = 0; i < n; i++)
        to[i] = atomic_load_explicit(&word[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return before % 2 == 0 && atomic_load_explicit(version, memory_order_relaxed) == before;
}

#endif
