/* SPDX-License-Identifier: BSD-3-Clause */
/* tap -- the bytes of a capture, read once for several workers
 *
 *                     released by all     taken by the quickest
 *                           |                     |
 *   ring   ....[ chunk 17 ][ chunk 18 ][ chunk 19 ].... room ....
 *                    ^ worker 1    ^ worker 0
 *
 * All workers go through the same bytes in the same chunks. Whoever comes first
 * to a chunk that is not there yet reads it, for all. Chunks lie one behind the
 * other in a ring (base/ring.h), so that a record that two chunks share is in
 * one piece. A chunk's place is taken again when all have released it: the
 * quickest worker is never more than a ring ahead of the slowest.
 *
 * Sources follow each other in the same stream. A chunk without bytes ends one,
 * or tells of an error that all of them meet.
 */
#ifndef MB_IO_TAP_H
#define MB_IO_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MB__TAP_SIZE ((size_t)4 << 20) /* bytes of the ring: more than any record but of hostile files */

struct mb__tap;

/* A tap for |users| workers, made before they are forked. NULL: no memory. */
struct mb__tap *mb__tap_new(unsigned users);
void mb__tap_free(struct mb__tap *t);
/* This process is worker |user| from now on. */
void mb__tap_join(struct mb__tap *t, unsigned user);
bool mb__tap_joined(const struct mb__tap *t);
/* It takes no more: the others need not wait for it. */
void mb__tap_leave(struct mb__tap *t);

/* Reads up to |size| bytes to |p|: their number, 0 at the end, MB__SOURCE_IDLE,
 * or < 0. |offset| counts from the start of the source. */
typedef int (*mb__tap_read)(void *arg, uint8_t *p, size_t size, uint64_t offset);

/* Where the stream stands: the position after the last chunk taken. */
uint64_t mb__tap_position(const struct mb__tap *t);
/* How far the quickest worker has read. */
uint64_t mb__tap_furthest(const struct mb__tap *t);
/* The byte at |position| of the stream; those behind it follow. */
const uint8_t *mb__tap_at(const struct mb__tap *t, uint64_t position);
/* Releases all before |keep| and takes the next chunk, read with |read| if this
 * worker is the first to want it. Its length, 0: the source is at its end,
 * MB__SOURCE_IDLE: nothing just now, else an error; MB_ELIMIT: so much is kept
 * that there is no room for more. */
int mb__tap_take(struct mb__tap *t, uint64_t keep, mb__tap_read read, void *arg);

#endif
