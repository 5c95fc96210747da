/* SPDX-License-Identifier: BSD-3-Clause */
/* quiet -- one writer, many readers, no locks */
#include "detect/quiet.h"

#include <string.h>

#include "base/ring.h"
#include "base/versioned.h"

#define SLOTS 1024 /* a power of two */
#define KEY_WORDS (sizeof(struct mb__track_key) / sizeof(uint64_t))
#define UNTIL KEY_WORDS /* the word behind the key: until when */
#define WORDS (KEY_WORDS + 1)

_Static_assert(sizeof(struct mb__track_key) % sizeof(uint64_t) == 0, "a key is whole words");

struct slot {
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t version;
    _Atomic uint64_t word[WORDS];
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
    uint64_t word[WORDS];
    memcpy(word, key, sizeof *key);
    word[UNTIL] = (uint64_t)until;
    mb__versioned_write(&s->version, s->word, word, WORDS);
}

bool mb__quiet_at(const struct mb__quiet *q, const struct mb__track_key *key, int64_t now)
{
    const struct slot *s = &q->slot[place_of(q, key)];
    uint64_t word[WORDS];
    return mb__versioned_read(&s->version, s->word, word, WORDS) && memcmp(word, key, sizeof *key) == 0 &&
           now <= (int64_t)word[UNTIL];
}
