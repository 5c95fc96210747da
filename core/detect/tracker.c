/* SPDX-License-Identifier: BSD-3-Clause */
/* tracker -- find and replace in sets of a few entries */
#include "detect/tracker.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 8

struct mb__tracker {
    struct mb__hash_key key;
    uint32_t sets; /* a power of two */
    struct mb__track entry[];
};

struct mb__tracker *mb__tracker_new(uint32_t entries, uint64_t seed)
{
    uint32_t sets = 1;
    while (sets < entries / WAYS)
        sets *= 2;
    struct mb__tracker *t = calloc(1, sizeof *t + (size_t)sets * WAYS * sizeof *t->entry);
    if (t == NULL)
        return NULL;
    t->sets = sets;
    mb__hash_key_init(&t->key, seed);
    return t;
}

void mb__tracker_free(struct mb__tracker *t)
{
    free(t);
}

static struct mb__track *set_of(struct mb__tracker *t, const struct mb__track_key *key)
{
    uint64_t hash = mb__hash_bytes(&t->key, key, sizeof *key);
    return &t->entry[(hash & (t->sets - 1)) * WAYS];
}

struct mb__track *mb__tracker_find(struct mb__tracker *t, const struct mb__track_key *key, int64_t now)
{
    struct mb__track *set = set_of(t, key);
    for (int i = 0; i < WAYS; i++)
        if (set[i].until > now && memcmp(&set[i].key, key, sizeof *key) == 0)
            return &set[i];
    return NULL;
}

struct mb__track *mb__tracker_get(struct mb__tracker *t, const struct mb__track_key *key, int64_t now, int64_t until)
{
    struct mb__track *found = mb__tracker_find(t, key, now);
    if (found != NULL)
        return found;
    struct mb__track *set = set_of(t, key), *victim = set;
    for (int i = 1; i < WAYS; i++)
        if (set[i].until < victim->until)
            victim = &set[i];
    *victim = (struct mb__track){.key = *key, .since = now, .until = until};
    return victim;
}

struct mb__track_key mb__track_key(uint32_t id, uint32_t kind, int track, const struct mb_addr *src,
                                   const struct mb_addr *dst)
{
    struct mb__track_key key = {.id = id, .kind = kind << 8 | (uint32_t)track};
    if (track == MB_TRACK_SRC) {
        key.a = *src;
    } else if (track == MB_TRACK_DST) {
        key.a = *dst;
    } else if (track == MB_TRACK_BOTH) { /* the pair, whichever way round */
        bool swap = memcmp(src, dst, sizeof *src) > 0;
        key.a = swap ? *dst : *src;
        key.b = swap ? *src : *dst;
    }
    return key;
}
