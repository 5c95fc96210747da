/* SPDX-License-Identifier: BSD-3-Clause */
/* input -- mapped files, pipes and gzip behind one window */
#include "io/input.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io/say.h"
#include "io/source.h"

#define STREAM_SIZE (512u << 10) /* window of a pipe; grows for larger records */
#define RAW_SIZE (64u << 10)     /* compressed bytes read at once */
#define AHEAD (4u << 20)         /* bytes of a map brought to memory at once */
#define WAIT_MS 100              /* how long an impatient more() waits */

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older kernels say EINVAL */
#endif

/* gzip: raw bytes on their way into the window. */
struct mb__inflate {
    z_stream z;
    bool in_member; /* inside a gzip member: an end here is one too early */
    uint8_t *raw;   /* what was read; NULL: the caller's memory is inflated */
    size_t size;    /* bytes of |raw| */
    size_t fed;     /* memory: bytes given to zlib */
    uint64_t read;  /* stream: bytes read */
};

/* ---- mapped files ---- */

/* Maps the first |size| bytes of the file. false: it has to be read. */
static bool map_file(struct mb__input *in, size_t size)
{
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, in->fd, 0);
    if (map == MAP_FAILED)
        return false;
    madvise(map, size, MADV_SEQUENTIAL);
    in->map = in->at = in->ahead = map;
    in->end = in->map + size;
    in->map_size = size;
    return true;
}

void mb__input_populate(struct mb__input *in)
{
    size_t offset = (size_t)(in->at - in->map) & ~(size_t)(AHEAD - 1);
    size_t len = in->map_size - offset < AHEAD ? in->map_size - offset : AHEAD;
    uint8_t *map = (uint8_t *)in->map;
    /* Where the kernel cannot, pages come one fault at a time: slower, no less right. */
    madvise(map + offset, len, MADV_POPULATE_READ);
    in->ahead = len < AHEAD ? NULL : in->map + offset + AHEAD;
    if (offset > in->dropped) {
        madvise(map + in->dropped, offset - in->dropped, MADV_DONTNEED);
        in->dropped = offset;
    }
}

/* A file that has grown since it was mapped is mapped anew. */
static int map_more(struct mb__input *in)
{
    struct stat st;
    if (in->borrowed || fstat(in->fd, &st) != 0 || st.st_size <= (off_t)in->map_size)
        return 0;
    size_t size = (size_t)st.st_size, offset = (size_t)(in->at - in->map);
    void *map = mremap((void *)in->map, in->map_size, size, MREMAP_MAYMOVE);
    if (map == MAP_FAILED)
        return 0;
    in->map = map;
    in->at = in->ahead = in->map + offset;
    in->end = in->map + size;
    in->map_size = size;
    in->total = size;
    return 1;
}

/* ---- streams ---- */

/* Moves what is left to the front of the buffer and makes room behind it. */
static int make_room(struct mb__input *in, char *err)
{
    size_t left = mb__input_left(in), size = in->buf_size;
    if (in->buf != NULL && in->at != in->buf) {
        in->gone += (uint64_t)(in->at - in->buf);
        memmove(in->buf, in->at, left);
    } else if (left == size) {
        size = size == 0 ? STREAM_SIZE : size * 2;
        if (size > 2 * (size_t)MB__INPUT_LIMIT)
            return mb__say(MB_ELIMIT, err, "%s: a record is too large", in->name);
        uint8_t *buf = realloc(in->buf, size);
        if (buf == NULL)
            return mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
        in->buf = buf;
        in->buf_size = size;
    }
    in->at = in->buf;
    in->end = in->buf + left;
    return 0;
}

/* Reads up to |size| bytes, their number in |*got|; 0 with none: the end. */
static int read_some(struct mb__input *in, uint8_t *p, size_t size, size_t *got, char *err)
{
    struct pollfd ready = {.fd = in->fd, .events = POLLIN};
    *got = 0;
    for (;;) {
        int n = in->patient ? 1 : poll(&ready, 1, WAIT_MS);
        if (n == 0 || (n < 0 && errno == EINTR))
            return MB__SOURCE_IDLE;
        ssize_t len = read(in->fd, p, size);
        if (len >= 0) {
            *got = (size_t)len;
            return 0;
        }
        if (errno == EINTR && !in->patient)
            return MB__SOURCE_IDLE;
        if (errno == EAGAIN && in->patient)
            poll(&ready, 1, -1);
        else if (errno == EAGAIN)
            return MB__SOURCE_IDLE;
        else
            return mb__say(mb__code_of_errno(errno), err, "%s: %s", in->name, strerror(errno));
    }
}

static int stream_more(struct mb__input *in, char *err)
{
    size_t got;
    int rc = make_room(in, err);
    if (rc == 0)
        rc = read_some(in, in->buf + mb__input_left(in), in->buf_size - mb__input_left(in), &got, err);
    if (rc != 0)
        return rc;
    in->end += got;
    in->ended = got == 0;
    return got != 0;
}

/* ---- gzip ---- */

static bool is_gzip(const uint8_t *p, size_t len)
{
    return len >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

/* The window's buffer becomes zlib's input; a map is given up and read instead. */
static int gzip_start(struct mb__input *in, char *err)
{
    struct mb__inflate *z = calloc(1, sizeof *z);
    if (z == NULL || inflateInit2(&z->z, 16 + MAX_WBITS) != Z_OK) {
        free(z);
        return mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
    }
    in->z = z;
    if (in->buf != NULL) {
        z->raw = in->buf;
        z->size = in->buf_size;
        z->read = mb__input_left(in);
        z->z.next_in = in->buf;
        z->z.avail_in = (unsigned)z->read;
    } else if (!in->borrowed) {
        munmap((void *)in->map, in->map_size);
        in->map = NULL;
        z->size = RAW_SIZE;
        z->raw = malloc(RAW_SIZE);
        if (z->raw == NULL)
            return mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
    }
    in->at = in->end = in->ahead = in->buf = NULL;
    in->buf_size = 0;
    return 0;
}

/* Gives zlib more input. 1, 0 at the end, IDLE or an error. */
static int gzip_feed(struct mb__input *in, char *err)
{
    struct mb__inflate *z = in->z;
    size_t got;
    if (in->borrowed) {
        size_t left = in->map_size - z->fed;
        got = left < MB__INPUT_LIMIT ? left : MB__INPUT_LIMIT;
        z->z.next_in = (uint8_t *)in->map + z->fed;
        z->fed += got;
    } else {
        int rc = read_some(in, z->raw, z->size, &got, err);
        if (rc != 0)
            return rc;
        z->z.next_in = z->raw;
        z->read += got;
    }
    z->z.avail_in = (unsigned)got;
    return got != 0;
}

/* The end of a member: another may follow (RFC 1952 2.2); other bytes are padding. */
static void gzip_next_member(struct mb__input *in)
{
    struct mb__inflate *z = in->z;
    z->in_member = false;
    if (z->z.avail_in != 0 && z->z.next_in[0] != 0x1f)
        in->ended = true;
    inflateReset(&z->z);
}

static int gzip_more(struct mb__input *in, char *err)
{
    struct mb__inflate *z = in->z;
    int rc = make_room(in, err);
    while (rc == 0 && !in->ended) {
        if (z->z.avail_in == 0) {
            int fed = gzip_feed(in, err);
            if (fed < 0)
                return fed;
            in->ended = fed == 0;
            if (in->ended && z->in_member)
                return mb__say(MB_EFORMAT, err, "%s: the gzip data ends early", in->name);
            if (in->ended)
                return 0;
        }
        size_t room = in->buf_size - mb__input_left(in);
        z->z.next_out = in->buf + mb__input_left(in);
        z->z.avail_out = (unsigned)room;
        int result = inflate(&z->z, Z_NO_FLUSH);
        size_t got = room - z->z.avail_out;
        in->end += got;
        z->in_member = true;
        if (result == Z_STREAM_END)
            gzip_next_member(in);
        else if (result != Z_OK && result != Z_BUF_ERROR)
            rc = mb__say(MB_EFORMAT, err, "%s: the gzip data is damaged", in->name);
        if (got != 0)
            return 1;
    }
    return rc;
}

/* ---- all kinds ---- */

int mb__input_more(struct mb__input *in, char *err)
{
    if (in->z != NULL)
        return gzip_more(in, err);
    if (in->map != NULL)
        return map_more(in);
    return in->ended ? 0 : stream_more(in, err);
}

/* Brings the first bytes and looks whether they are gzip. */
static int look(struct mb__input *in, char *err)
{
    int rc = 1;
    while (rc == 1 && mb__input_left(in) < 2)
        rc = mb__input_more(in, err);
    if (rc == MB__SOURCE_IDLE)
        return mb__say(MB_EIO, err, "%s: interrupted", in->name);
    if (rc < 0)
        return rc;
    return is_gzip(in->at, mb__input_left(in)) ? gzip_start(in, err) : 0;
}

static int open_file(struct mb__input *in, const char *path, char *err)
{
    struct stat st;
    in->owns_fd = strcmp(path, "-") != 0;
    in->fd = in->owns_fd ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (in->fd < 0 || fstat(in->fd, &st) != 0)
        return mb__say(mb__code_of_errno(errno), err, "%s: %s", in->name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return mb__say(MB_EIO, err, "%s: %s", in->name, strerror(EISDIR));
    /* A file on standard input may have been read from already: it is no map. */
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        in->total = (uint64_t)st.st_size;
        if (in->owns_fd && (uint64_t)st.st_size <= SIZE_MAX)
            map_file(in, (size_t)st.st_size);
    }
    return 0;
}

int mb__input_open(struct mb__input *in, const char *path, char *err)
{
    memset(in, 0, sizeof *in);
    in->fd = -1;
    in->patient = true;
    in->name = strdup(strcmp(path, "-") == 0 ? "standard input" : path);
    if (in->name == NULL)
        return mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
    int rc = open_file(in, path, err);
    return rc != 0 ? rc : look(in, err);
}

int mb__input_memory(struct mb__input *in, const void *bytes, size_t len, char *err)
{
    memset(in, 0, sizeof *in);
    in->fd = -1;
    in->name = strdup("memory");
    if (in->name == NULL)
        return mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
    in->borrowed = true;
    in->map = in->at = bytes;
    in->end = in->map + len;
    in->map_size = len;
    in->total = len;
    return look(in, err);
}

void mb__input_close(struct mb__input *in)
{
    if (in->z != NULL) {
        inflateEnd(&in->z->z);
        free(in->z->raw);
        free(in->z);
    }
    if (in->map != NULL && !in->borrowed)
        munmap((void *)in->map, in->map_size);
    free(in->buf);
    free(in->name);
    if (in->owns_fd && in->fd >= 0)
        close(in->fd);
}

uint64_t mb__input_offset(const struct mb__input *in)
{
    const uint8_t *start = in->buf != NULL ? in->buf : in->map;
    return start == NULL ? 0 : in->gone + (uint64_t)(in->at - start);
}

void mb__input_progress(const struct mb__input *in, uint64_t *done, uint64_t *total)
{
    *total = in->total;
    if (in->z == NULL)
        *done = mb__input_offset(in);
    else
        *done = (in->borrowed ? in->z->fed : in->z->read) - in->z->z.avail_in;
}
