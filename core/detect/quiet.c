/* SPDX-License-Identifier: BSD-3-Clause */
/* quiet -- one writer, many readers, no locks */
#include "detect/quiet.h"

#include <stdatomic.h>
#include <string.h>

#include "base/ring.h"

#define SLOTS 1024 /* a power of two */
#define KEY_WORDS (sizeof(struct mb__track_key) / sizeof(uint64_t))

_Static_assert(sizeof(struct mb__track_key) % sizeof(uint64_t) == 0, "a key is whole words");

struct slot {
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t version; /* odd: it is being written */
    _Atomic int64_t until;
    _Atomic uint64_t key[KEY_WORDS];
};

struct mb__quiet {
    struct mb__hash_key hash;
    struct slot slot[SLOTS];
};

struct mb__quiet *mb__quiet_new(void)
{
    struct mb__quiet *q = mb__shared_new(sizeof *q);
    if (q != NULL)
        mb__hash_key_init(&q->hash, 0);
    return q;
}

void mb__quiet_free(struct mb__quiet *q)
{
    mb__shared_free(q, sizeof *q);
}

static size_t place_of(const struct mb__quiet *q, const struct mb__track_key *key)
{
    return mb__hash_bytes(&q->hash, key, sizeof *key) & (SLOTS - 1);
}

void mb__quiet_set(struct mb__quiet *q, const struct mb__track_key *key, int64_t until)
{
    struct slot *s = &q->slot[place_of(q, key)];
    uint64_t word[KEY_WORDS], version = atomic_load_explicit(&s->version, memory_order_relaxed);
    memcpy(word, key, sizeof word);
    atomic_store_explicit(&s->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < KEY_WORDS; i++)
        atomic_store_explicit(&s->key[i], word[i], memory_order_relaxed);
    atomic_store_explicit(&s->until, until, memory_order_relaxed);
    atomic_store_explicit(&s->version, version + 2, memory_order_release);
}

bool mb__quiet_at(const struct mb__quiet *q, const struct mb__track_key *key, int64_t now)
{
    const struct slot *s = &q->slot[place_of(q, key)];
    uint64_t word[KEY_WORDS], version = atomic_load_explicit(&s->version, memory_order_acquire);
    memcpy(word, key, sizeof word);
    bool same = version % 2 == 0;
    for (size_t i = 0; i < KEY_WORDS; i++)
        same &= atomic_load_explicit(&s->key[i], memory_order_relaxed) == word[i];
    int64_t until = atomic_load_explicit(&s->until, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return same && now <= until && atomic_load_explicit(&s->version, memory_order_relaxed) == version;
}
