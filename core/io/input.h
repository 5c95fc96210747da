/* SPDX-License-Identifier: BSD-3-Clause */
/* input -- the bytes of a capture file as one window that moves forward
 *
 *     consumed            |at|                    |end|
 *   ..................... [ bytes that are here ] .... more() brings these
 *
 * A mapped file is all in the window from the start. A pipe or gzip has a
 * buffer: more() moves what is left to its front and reads behind it. Readers
 * of formats see no difference: they parse what is in the window, hand it out
 * without a copy, and call more() when not even one record is whole.
 *
 * A mapped file that somebody cuts short while it is read raises SIGBUS, as
 * with every program that maps its input.
 */
#ifndef MB_IO_INPUT_H
#define MB_IO_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MB__INPUT_LIMIT (32u << 20) /* the most bytes a record may have */

struct mb__input {
    const uint8_t *at;     /* next byte to parse */
    const uint8_t *end;    /* one past the last byte here */
    const uint8_t *ahead;  /* mapped: pages before this are in memory; else NULL */
    const uint8_t *map;    /* the map, or the caller's memory; NULL: a stream */
    uint8_t *buf;          /* stream: the window's memory */
    size_t buf_size;
    size_t map_size;
    size_t dropped;        /* mapped: bytes at the front given back */
    uint64_t gone;         /* stream: bytes before |buf| */
    uint64_t total;        /* size of the file; 0: unknown */
    struct mb__inflate *z; /* gzip: state and raw bytes; NULL: plain */
    char *name;            /* for sentences */
    int fd;                /* -1: memory */
    bool owns_fd;
    bool borrowed;         /* |map| is the caller's */
    bool patient;          /* more() waits as long as it takes */
    bool ended;            /* a stream is at its end */
};

/* Opens |path| ("-": standard input) and brings its first bytes. 0, or < 0 and
 * a sentence in |err|; mb__input_close() is due in both cases. */
int mb__input_open(struct mb__input *in, const char *path, char *err);
/* The same over |len| bytes in memory. */
int mb__input_memory(struct mb__input *in, const void *bytes, size_t len, char *err);
void mb__input_close(struct mb__input *in);

/* Brings more bytes behind those in the window, which may move. 1: there are
 * more, 0: the end, MB__SOURCE_IDLE: nothing just now, else an error with a
 * sentence in |err|. */
int mb__input_more(struct mb__input *in, char *err);
/* Brings the next pages of a mapped file to memory; cheap to ask. */
void mb__input_populate(struct mb__input *in);

/* Calls mb__input_populate() when it is time. */
static inline void mb__input_advance(struct mb__input *in)
{
    if (in->at >= in->ahead && in->ahead != NULL)
        mb__input_populate(in);
}

/* Bytes in the window. */
static inline size_t mb__input_left(const struct mb__input *in)
{
    return (size_t)(in->end - in->at);
}

/* Where |at| is in the file (in what gzip holds, for gzip). */
uint64_t mb__input_offset(const struct mb__input *in);
/* Bytes of the file read, and its size. */
void mb__input_progress(const struct mb__input *in, uint64_t *done, uint64_t *total);

#endif
