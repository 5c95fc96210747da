/* SPDX-License-Identifier: BSD-3-Clause */
/* drain -- writes a buffer to a file descriptor, whole or not yet */
#include "io/drain.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/say.h"

#define MODE 0666 /* of new files, before the umask */

/* The file to write to, or -1 and errno. */
static int open_path(const char *path, int how)
{
    if (path == NULL)
        return STDOUT_FILENO;
    return open(path, O_WRONLY | O_CREAT | O_CLOEXEC | how, MODE);
}

int mb__drain_init(struct mb__drain *d, const char *path, int how, char *err)
{
    bool standard = strcmp(path, "-") == 0;
    memset(d, 0, sizeof *d);
    d->fd = -1;
    d->size = MB__DRAIN_SIZE;
    d->buf = malloc(d->size);
    d->path = standard ? NULL : strdup(path);
    if (d->buf == NULL || (!standard && d->path == NULL)) {
        mb__drain_fini(d);
        return mb__say(MB_ENOMEM, err, "%s: %s", path, mb_error_text(MB_ENOMEM));
    }
    d->fd = open_path(d->path, how);
    if (d->fd < 0) {
        int number = errno;
        mb__drain_fini(d);
        return mb__say(mb__code_of_errno(number), err, "%s: %s", path, strerror(number));
    }
    return 0;
}

int mb__drain_fini(struct mb__drain *d)
{
    int rc = d->len != 0 ? mb__drain_flush(d) : 0;
    if (d->path != NULL && d->fd >= 0 && close(d->fd) != 0 && rc == 0)
        rc = mb__code_of_errno(errno);
    free(d->path);
    free(d->buf);
    memset(d, 0, sizeof *d);
    d->fd = -1;
    return rc;
}

/* Writes |len| bytes: how many were written before it failed, errno then set. */
static size_t write_all(int fd, const uint8_t *p, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, p + done, len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            break;
        }
    }
    return done;
}

int mb__drain_flush(struct mb__drain *d)
{
    size_t done = write_all(d->fd, d->buf, d->len);
    if (done == d->len) {
        d->len = 0;
        return 0;
    }
    int rc = mb__code_of_errno(errno);
    memmove(d->buf, d->buf + done, d->len - done);
    d->len -= done;
    return rc;
}

/* Passes over |done| bytes of what begins with |*piece|: how many pieces are used up. */
static unsigned pass_over(struct iovec *piece, unsigned n, size_t done)
{
    unsigned used = 0;
    for (; used < n && done >= piece[used].iov_len; used++)
        done -= piece[used].iov_len;
    if (used < n) {
        piece[used].iov_base = (uint8_t *)piece[used].iov_base + done;
        piece[used].iov_len -= done;
    }
    return used;
}

int mb__drain_pieces(struct mb__drain *d, struct iovec *piece, unsigned n)
{
    int rc = mb__drain_flush(d);
    while (rc == 0 && n > 0) {
        ssize_t done = writev(d->fd, piece, (int)n);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = d->fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            rc = mb__code_of_errno(errno);
        } else if (done >= 0) {
            unsigned used = pass_over(piece, n, (size_t)done);
            piece += used;
            n -= used;
        }
    }
    for (; n > 0 && piece->iov_len <= d->size - d->len; piece++, n--) { /* for the next flush */
        memcpy(d->buf + d->len, piece->iov_base, piece->iov_len);
        d->len += piece->iov_len;
    }
    return n > 0 ? rc : 0;
}

int mb__drain_reopen(struct mb__drain *d, int how)
{
    int rc = mb__drain_flush(d);
    if (rc != 0 || d->path == NULL)
        return rc;
    int fd = open_path(d->path, how);
    if (fd < 0)
        return mb__code_of_errno(errno);
    close(d->fd);
    d->fd = fd;
    return 0;
}

void *mb__drain_room(struct mb__drain *d, size_t n, int *rc)
{
    *rc = 0;
    if (d->size - d->len < n)
        *rc = n <= d->size ? mb__drain_flush(d) : MB_ELIMIT;
    if (d->size - d->len >= n)
        *rc = 0; /* enough was written, even if not all */
    return *rc == 0 ? d->buf + d->len : NULL;
}
