/* SPDX-License-Identifier: BSD-3-Clause */
/* input -- the bytes of a capture file as one window that moves forward
 *
 *     consumed            |at|                    |end|
 *   ..................... [ bytes that are here ] .... more() brings these
 *
 * Readers of formats parse what is in the window, hand it out without a copy,
 * and call more() when not even one record is whole: it moves what is left to
 * the front of the buffer and reads behind it. Files, pipes and gzip differ in
 * nothing else.
 *
 * Files are read and not mapped because that is faster, several times where
 * memory is virtualised: a page fault costs more than the copy of a page, and
 * the copy leaves the packets in the second-level cache for the decoder. It
 * also means that a file cut short meanwhile is an end and not a SIGBUS.
 */
#ifndef MB_IO_INPUT_H
#define MB_IO_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/tap.h"

#define MB__INPUT_LIMIT (32u << 20) /* the most bytes a record may have */

struct mb__input {
    const uint8_t *at;     /* next byte to parse */
    const uint8_t *end;    /* one past the last byte here */
    uint8_t *buf;          /* the window's memory; NULL: memory of the caller's */
    size_t size;           /* bytes of |buf| */
    uint64_t came;         /* bytes that ever were in the window */
    uint64_t read;         /* bytes of the file, or of what zlib is given from memory, that were read */
    struct mb__tap *tap;   /* the file's bytes come from there, and the window is in it; NULL: from |fd| */
    void (*look)(void *arg, const uint8_t *p, const uint8_t *end, struct mb__index *index);
                           /* finds frames for all workers: struct mb__tap_reader */
    void *look_arg;
    const struct mb__index *index; /* the frames in the window, if somebody has looked; or NULL */
    const uint8_t *memory; /* the caller's, |total| bytes; NULL: |fd| is read */
    uint64_t total;        /* size of the file; 0: unknown */
    struct mb__inflate *z; /* gzip: state and raw bytes; NULL: plain */
    char *name;            /* for sentences */
    int fd;
    bool owns_fd;
    bool regular;          /* a file: reading never waits */
    bool fixed;            /* several processes read it, each for itself, and it ends for all of them after
                            * |total| bytes, should it grow meanwhile */
    bool patient;          /* more() waits as long as it takes */
    bool ended;            /* there is no more */
};

/* Opens |path| ("-": standard input) and brings its first bytes, through |tap|
 * (borrowed) if several workers read it. |fixed|: processes that a fork makes read it
 * each for itself, and a file that grows ends where it does now. 0, or < 0 and a
 * sentence in |err|; mb__input_close() is due in both cases. */
int mb__input_open(struct mb__input *in, struct mb__tap *tap, bool fixed, const char *path, char *err);
/* The same over |len| bytes in memory. */
int mb__input_memory(struct mb__input *in, const void *bytes, size_t len, char *err);
void mb__input_close(struct mb__input *in);

/* Brings more bytes behind those in the window, which may move. 1: there are
 * more, 0: the end, MB__SOURCE_IDLE: nothing just now, else an error with a
 * sentence in |err|. */
int mb__input_more(struct mb__input *in, char *err);
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
