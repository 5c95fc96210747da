/* SPDX-License-Identifier: BSD-3-Clause */
/* tracker -- a bounded table of counts and marks on addresses
 *
 *   (what, address, address) --hash--> set of WAYS entries --> count, since, until
 *
 * Thresholds and host bits remember things about addresses that a sender
 * chooses. The table has a fixed size and is set-associative: a new key takes
 * the entry of its set that runs out first. Nothing is allocated after new().
 */
#ifndef MB_DETECT_TRACKER_H
#define MB_DETECT_TRACKER_H

#include "base/hash.h"
#include "mosbox.h"

struct mb__track_key {
    uint32_t id;         /* rule or bit; never both 0 */
    uint32_t kind;       /* what the id is of */
    struct mb_addr a;    /* zero: not part of the key */
    struct mb_addr b;
};

struct mb__track {
    struct mb__track_key key;
    int64_t since;       /* ns: when the count began */
    int64_t until;       /* ns: the entry means nothing from then on; 0: free */
    uint32_t count;
    uint32_t acted;      /* the owner's */
};

struct mb__tracker;

/* A table of |entries|, rounded up to a power of two. NULL: no memory. */
struct mb__tracker *mb__tracker_new(uint32_t entries, uint64_t seed);
void mb__tracker_free(struct mb__tracker *t);
/* The entry of |key|, or NULL. Entries that ran out by |now| are not found. */
struct mb__track *mb__tracker_find(struct mb__tracker *t, const struct mb__track_key *key, int64_t now);
/* The entry of |key|, a fresh one (count 0, since |now|) if there was none. */
struct mb__track *mb__tracker_get(struct mb__tracker *t, const struct mb__track_key *key, int64_t now, int64_t until);

/* The key of |id| for a packet from |src| to |dst|, tracked by |track| (enum mb_track). */
struct mb__track_key mb__track_key(uint32_t id, uint32_t kind, int track, const struct mb_addr *src,
                                   const struct mb_addr *dst);

#endif
