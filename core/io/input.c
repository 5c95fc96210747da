/* SPDX-License-Identifier: BSD-3-Clause */
/* input -- files, pipes and gzip behind one window */
#include "io/input.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/say.h"
#include "io/source.h"

#define WINDOW_SIZE (256u << 10) /* stays in the second-level cache; grows for larger records */
#define WAIT_MS 100              /* how long an impatient more() waits */

/* gzip: raw bytes on their way into the window. */
struct mb__inflate {
    z_stream z;
    bool in_member; /* inside a gzip member: an end here is one too early */
    bool damaged;   /* what came before the damage is handed over first */
    uint8_t *raw;   /* what was read; NULL: it is the caller's memory, or in a tap */
    size_t size;    /* bytes of |raw| */
};

/* ---- plain bytes ---- */

/* Moves what is left to the front of the buffer and makes room behind it. */
static int make_room(struct mb__input *in, char *err)
{
    size_t left = mb__input_left(in), size = in->size;
    if (in->buf != NULL && in->at != in->buf) {
        memmove(in->buf, in->at, left);
    } else if (left == size) {
        size = size == 0 ? WINDOW_SIZE : size * 2;
        if (size > 2 * (size_t)MB__INPUT_LIMIT)
            return mb__say(MB_ELIMIT, err, "%s: a record is too large", in->name);
        uint8_t *buf = realloc(in->buf, size);
        if (buf == NULL)
            return mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
        in->buf = buf;
        in->size = size;
    }
    in->at = in->buf;
    in->end = in->buf + left;
    return 0;
}

/* read(), or where several workers have a file open what is at |offset|: its position is theirs in common. */
static ssize_t read_at(const struct mb__input *in, uint8_t *p, size_t size, uint64_t offset)
{
    if (!in->regular || !in->owns_fd || (in->tap == NULL && !in->fixed))
        return read(in->fd, p, size);
    if (in->fixed && in->total - offset < size)
        size = (size_t)(in->total - offset);
    return pread(in->fd, p, size, (off_t)offset);
}

/* Reads up to |size| bytes from |offset| on, where reading has come to; their number in |*got|, 0 with none:
 * the end. */
static int read_some(const struct mb__input *in, uint8_t *p, size_t size, uint64_t offset, size_t *got, char *err)
{
    struct pollfd ready = {.fd = in->fd, .events = POLLIN};
    *got = 0;
    for (;;) {
        int n = in->patient || in->regular ? 1 : poll(&ready, 1, WAIT_MS);
        if (n == 0 || (n < 0 && errno == EINTR))
            return MB__SOURCE_IDLE;
        ssize_t len = read_at(in, p, size, offset);
        if (len >= 0) {
            *got = (size_t)len;
            return 0;
        }
        if (errno == EINTR && in->regular)
            continue;
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

/* ---- bytes that several workers read ---- */

static int tap_read(void *arg, uint8_t *p, size_t size, uint64_t offset)
{
    size_t got;
    int rc = read_some(arg, p, size, offset, &got, NULL);
    return rc != 0 ? rc : (int)got;
}

static void tap_look(void *arg, const uint8_t *p, const uint8_t *end, struct mb__index *index)
{
    struct mb__input *in = arg;
    in->look(in->look_arg, p, end, index);
}

/* The next chunk of the tap, of which |keep| bytes are still needed: its length,
 * 0 at the end, IDLE or an error. */
static int tap_take(struct mb__input *in, size_t keep, char *err)
{
    struct mb__tap_reader reader = {.read = tap_read, .arg = in, .prompt = in->regular && in->owns_fd};
    if (in->look != NULL)
        reader.look = tap_look;
    int got;
    do {
        got = mb__tap_take(in->tap, mb__tap_position(in->tap) - keep, &reader, &in->index);
    } while (got == MB__SOURCE_IDLE && in->patient);
    if (got == MB_ELIMIT)
        return mb__say(got, err, "%s: a record is too large for several workers", in->name);
    if (got > 0)
        in->read += (uint64_t)got;
    return got >= 0 || got == MB__SOURCE_IDLE ? got : mb__say(got, err, "%s: %s", in->name, mb_error_text(got));
}

/* What is left stays where it is, and the chunk comes behind it. */
static int tap_more(struct mb__input *in, char *err)
{
    size_t left = mb__input_left(in);
    uint64_t at = mb__tap_position(in->tap) - left;
    int got = tap_take(in, left, err);
    if (got < 0)
        return got;
    in->at = mb__tap_at(in->tap, at);
    in->end = in->at + left + (size_t)got;
    in->came += (uint64_t)got;
    in->ended = got == 0;
    return got != 0;
}

static int plain_more(struct mb__input *in, char *err)
{
    size_t got;
    int rc = make_room(in, err);
    if (rc == 0)
        rc = read_some(in, in->buf + mb__input_left(in), in->size - mb__input_left(in), in->read, &got, err);
    if (rc != 0)
        return rc;
    in->read += got;
    in->came += got;
    in->end += got;
    in->ended = got == 0;
    return got != 0;
}

/* ---- gzip ---- */

static bool is_gzip(const uint8_t *p, size_t len)
{
    return len >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

/* The bytes in the window become zlib's input. */
static int gzip_start(struct mb__input *in, char *err)
{
    struct mb__inflate *z = calloc(1, sizeof *z);
    if (z == NULL || inflateInit2(&z->z, 16 + MAX_WBITS) != Z_OK) {
        free(z);
        return mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
    }
    in->z = z;
    if (in->memory == NULL) {
        z->raw = in->buf;
        z->size = in->size;
        z->z.next_in = (uint8_t *)in->at;
        z->z.avail_in = (unsigned)mb__input_left(in);
    }
    in->at = in->end = in->buf = NULL;
    in->size = 0;
    in->came = 0;
    in->ended = false;
    return 0;
}

/* Gives zlib more input. 1, 0 at the end, IDLE or an error. */
static int gzip_feed(struct mb__input *in, char *err)
{
    struct mb__inflate *z = in->z;
    size_t got;
    if (in->memory != NULL) {
        uint64_t left = in->total - in->read;
        got = left < MB__INPUT_LIMIT ? (size_t)left : MB__INPUT_LIMIT;
        z->z.next_in = (uint8_t *)in->memory + in->read;
        in->read += got;
    } else if (in->tap != NULL) {
        uint64_t at = mb__tap_position(in->tap);
        int rc = tap_take(in, 0, err);
        if (rc < 0)
            return rc;
        got = (size_t)rc;
        z->z.next_in = (uint8_t *)mb__tap_at(in->tap, at);
    } else {
        int rc = read_some(in, z->raw, z->size, in->read, &got, err);
        if (rc != 0)
            return rc;
        z->z.next_in = z->raw;
        in->read += got;
    }
    z->z.avail_in = (unsigned)got;
    return got != 0;
}

/* Inflates what zlib has to the end of the window: how many bytes it gave. */
static int gzip_inflate(struct mb__input *in)
{
    struct mb__inflate *z = in->z;
    size_t room = in->size - mb__input_left(in);
    z->z.next_out = in->buf + mb__input_left(in);
    z->z.avail_out = (unsigned)room;
    z->in_member = true;
    int result = inflate(&z->z, Z_NO_FLUSH);
    size_t got = room - z->z.avail_out;
    in->end += got;
    in->came += got;
    if (result == Z_STREAM_END) { /* another member may follow (RFC 1952 2.2) */
        z->in_member = false;
        inflateReset(&z->z);
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
        z->damaged = true;
    }
    return (int)got;
}

static int gzip_more(struct mb__input *in, char *err)
{
    struct mb__inflate *z = in->z;
    int rc = make_room(in, err);
    while (rc == 0 && !in->ended) {
        if (z->damaged)
            return mb__say(MB_EFORMAT, err, "%s: the gzip data is damaged", in->name);
        int fed = z->z.avail_in != 0 ? 1 : gzip_feed(in, err);
        if (fed < 0)
            return fed;
        if (fed == 0 && z->in_member)
            mb__say(0, err, "%s: the gzip data ends early", in->name);
        /* What follows a member and does not begin like one is padding. */
        in->ended = fed == 0 || (!z->in_member && z->z.next_in[0] != 0x1f);
        if (!in->ended)
            rc = gzip_inflate(in);
    }
    return rc > 0 ? 1 : rc;
}

/* ---- all kinds ---- */

int mb__input_more(struct mb__input *in, char *err)
{
    if (in->z != NULL)
        return gzip_more(in, err);
    if (in->ended || in->memory != NULL)
        return 0;
    return in->tap != NULL ? tap_more(in, err) : plain_more(in, err);
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
    in->regular = S_ISREG(st.st_mode);
    if (in->tap != NULL && mb__tap_joined(in->tap) && !in->regular && in->owns_fd)
        return mb__say(MB_EIO, err, "%s is no file: several workers can read a pipe only as the first", in->name);
    if (in->regular) {
        in->total = (uint64_t)st.st_size;
        posix_fadvise(in->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return 0;
}

int mb__input_open(struct mb__input *in, struct mb__tap *tap, bool fixed, const char *path, char *err)
{
    memset(in, 0, sizeof *in);
    in->fd = -1;
    in->tap = tap;
    in->fixed = fixed;
    if (tap != NULL)
        in->at = in->end = mb__tap_at(tap, mb__tap_position(tap));
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
    in->memory = in->at = bytes;
    in->end = in->memory + len;
    in->total = in->came = len;
    return look(in, err);
}

void mb__input_close(struct mb__input *in)
{
    if (in->z != NULL) {
        inflateEnd(&in->z->z);
        free(in->z->raw);
        free(in->z);
    }
    free(in->buf);
    free(in->name);
    if (in->owns_fd && in->fd >= 0)
        close(in->fd);
}

uint64_t mb__input_offset(const struct mb__input *in)
{
    return in->came - mb__input_left(in);
}

void mb__input_progress(const struct mb__input *in, uint64_t *done, uint64_t *total)
{
    *total = in->total;
    *done = in->z != NULL ? in->read - in->z->z.avail_in : mb__input_offset(in);
}
