/* SPDX-License-Identifier: BSD-3-Clause */
/* output -- the buffered text sink that Python and the core share */
#include <fcntl.h>
#include <stdlib.h>

#include "base/say.h"
#include "io/writer.h"
#include "mosbox.h"

struct mb_output {
    struct mb__drain drain;
    struct mb__lane *lane; /* a worker's: where all goes instead */
    bool line_buffered;
};

struct mb_output *mb_output_new(const char *path, bool append, bool line_buffered, char *err)
{
    struct mb_output *o = malloc(sizeof *o);
    if (o == NULL) {
        mb__say(MB_ENOMEM, err, "%s: %s", path, mb_error_text(MB_ENOMEM));
        return NULL;
    }
    if (mb__drain_init(&o->drain, path, append ? O_APPEND : O_TRUNC, err) != 0) {
        free(o);
        return NULL;
    }
    o->lane = NULL;
    o->line_buffered = line_buffered;
    return o;
}

void mb__output_lane(struct mb_output *o, struct mb__lane *lane)
{
    o->lane = lane;
    o->drain.len = 0;
}

struct mb__drain *mb__output_drain(struct mb_output *o)
{
    return &o->drain;
}

/* Text longer than the buffer, in pieces; what fails may be cut. */
static int write_long(struct mb_output *o, const char *bytes, size_t len)
{
    while (len > 0) {
        int rc;
        size_t n = len < o->drain.size ? len : o->drain.size;
        void *p = mb__drain_room(&o->drain, n, &rc);
        if (p == NULL)
            return rc;
        memcpy(p, bytes, n);
        o->drain.len += n;
        bytes += n;
        len -= n;
    }
    return 0;
}

int mb_output_write(struct mb_output *o, const char *bytes, size_t len)
{
    if (o->lane != NULL) {
        mb__lane_put(o->lane, bytes, len);
        return 0;
    }
    int rc = write_long(o, bytes, len);
    if (rc == 0 && o->line_buffered && len > 0 && memchr(bytes, '\n', len) != NULL)
        rc = mb__drain_flush(&o->drain);
    return rc;
}

int mb_output_flush(struct mb_output *o)
{
    return mb__drain_flush(&o->drain);
}

int mb_output_reopen(struct mb_output *o)
{
    return mb__drain_reopen(&o->drain, O_APPEND);
}

int mb_output_free(struct mb_output *o)
{
    if (o == NULL)
        return 0;
    int rc = mb__drain_fini(&o->drain);
    free(o);
    return rc;
}
