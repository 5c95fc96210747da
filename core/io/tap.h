/* SPDX-License-Identifier: BSD-3-Clause */
/* tap -- the bytes of a capture, read once for several workers
 *
 *                     released by all     taken by the quickest
 *                           |                     |
 *   ring   ....[ chunk 17 ][ chunk 18 ][ chunk 19 ].... room ....
 *                    ^ worker 1    ^ worker 0
 *
 * All workers go through the same bytes in the same chunks. Whoever comes first
 * to a chunk that is not there yet reads it, for all, and of a file who comes by
 * when few are left: then hardly anybody ever waits. Chunks lie one behind the
 * other in a ring (base/ring.h), so that a record that two chunks share is in
 * one piece. A chunk's place is taken again when all have released it: the
 * quickest worker is never more than a ring ahead of the slowest.
 *
 * Who reads a chunk also looks which frames are in it (struct mb__index): those
 * that begin where the last chunk's ended and are whole. The ring lies at one
 * address in all workers, so these frames are everybody's as they are.
 *
 * Sources follow each other in the same stream. A chunk without bytes ends one,
 * or tells of an error that all of them meet.
 */
#ifndef MB_IO_TAP_H
#define MB_IO_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/listed.h"
#include "mosbox.h"

#define MB__TAP_SIZE ((size_t)2 << 20)    /* bytes of the ring: more than any packet, and nearly any block of pcapng; the
                                           * more, the slower, since they pass through the caches */
#define MB__TAP_CHUNK ((size_t)256 << 10) /* what is read at once: stays in the second-level cache */

struct mb__tap;

/* The frames of a chunk. What whoever fills it leaves out is the next chunk's. */
struct mb__index {
    uint64_t begin; /* position of the first frame's record */
    uint64_t end;   /* position behind the last one's */
    bool known;     /* |lists.latest| is; otherwise it is for the filler to set, which is behind all before */
    bool last;      /* what follows is out of the ordinary: each worker looks for itself */
    struct mb__lists lists;
};

/* A tap for |users| workers, made before they are forked. NULL: no memory. */
struct mb__tap *mb__tap_new(unsigned users);
void mb__tap_free(struct mb__tap *t);
/* This process is worker |user| from now on. */
void mb__tap_join(struct mb__tap *t, unsigned user);
bool mb__tap_joined(const struct mb__tap *t);
/* Which worker this process is. */
unsigned mb__tap_user(const struct mb__tap *t);
/* It takes no more: the others need not wait for it. */
void mb__tap_leave(struct mb__tap *t);

/* How the chunks of a source come to be; |arg| is handed over. */
struct mb__tap_reader {
    /* Reads up to |size| bytes to |p|: their number, 0 at the end, MB__SOURCE_IDLE,
     * or < 0. |offset| counts from the start of the source. */
    int (*read)(void *arg, uint8_t *p, size_t size, uint64_t offset);
    /* Fills in the frames from |p|, the byte at |index->begin|, to |end|, and lists
     * them. NULL: all workers look for themselves. */
    void (*look)(void *arg, const uint8_t *p, const uint8_t *end, struct mb__index *index);
    void *arg;
    bool prompt; /* read() never waits */
};

/* Where the stream stands: the position after the last chunk taken. */
uint64_t mb__tap_position(const struct mb__tap *t);
/* The byte at |position| of the stream; those behind it follow. */
const uint8_t *mb__tap_at(const struct mb__tap *t, uint64_t position);
/* Releases all before |keep|, from where on all is to be looked at or was left
 * out of the last index, and takes the next chunk, read by this worker if it is
 * the first to want it. Its length, 0: the source is at its end, MB__SOURCE_IDLE:
 * nothing just now, else an error; MB_ELIMIT: so much is kept that there is no
 * room for more. |*index|: its frames, until the next call; NULL: nobody has looked. */
int mb__tap_take(struct mb__tap *t, uint64_t keep, const struct mb__tap_reader *reader,
                 const struct mb__index **index);

#endif
