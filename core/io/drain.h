/* SPDX-License-Identifier: BSD-3-Clause */
/* drain -- a buffered way out to a file descriptor
 *
 * What could not be written stays in the buffer and is tried again with the
 * next flush, so that a disk that was full and is not any more holds a file
 * without a hole. Only when the buffer is full too is something refused, and
 * then all of it: a file has whole lines and whole packets.
 *
 * A reader that has gone is MB_EPIPE. It takes a program that ignores SIGPIPE
 * to see it, as Python does; another dies of the signal, as cat does.
 */
#ifndef MB_IO_DRAIN_H
#define MB_IO_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define MB__DRAIN_SIZE (512u << 10) /* more than the longest packet */

#define MB__DRAIN_PIECES 512

struct mb__drain {
    uint8_t *buf;
    size_t len;
    size_t size;
    char *path; /* NULL: standard output */
    int fd;
};

/* Opens |path| ("-": standard output) for writing with the open() flags |how|,
 * O_TRUNC or O_APPEND. 0, or < 0 and a sentence in |err|. */
int mb__drain_init(struct mb__drain *d, const char *path, int how, char *err);
/* Flushes and closes. 0 or the code of what failed. */
int mb__drain_fini(struct mb__drain *d);
/* Writes what is in the buffer. 0 or < 0. */
int mb__drain_flush(struct mb__drain *d);
/* Writes the buffer and behind it |n| pieces (at most MB__DRAIN_PIECES), which in all
 * are no longer than the buffer; |piece| is changed. What cannot be written goes into
 * the buffer. 0, or < 0 if there is no room for all of it: the pieces up to there are
 * in the buffer, and nothing can follow them. */
int mb__drain_pieces(struct mb__drain *d, struct iovec *piece, unsigned n);
/* Flushes, closes and opens the same path with |how|. If that fails the old
 * file stays open. 0 or < 0. */
int mb__drain_reopen(struct mb__drain *d, int how);
/* |n| writable bytes at the end of the buffer; the writer adds to d->len what
 * it used. NULL and a code in |*rc| if there is no room. */
void *mb__drain_room(struct mb__drain *d, size_t n, int *rc);

#endif
