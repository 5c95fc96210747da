/* SPDX-License-Identifier: BSD-3-Clause */
/* inflate -- a row of zlib streams, each with one buffer behind it
 *
 *   in --> [ start: two bytes tell the format ] --> zlib --> out buffer --> next
 *              |                                      |
 *              +-- not what was announced: plain -----+   bytes go on unchanged
 *
 * A layer keeps the bytes it took until it has given some (at most START_MAX),
 * so that they can be given as they are when they turn out not to be coded.
 */
#include "proto/inflate.h"

#include <string.h>

#include <zlib.h>

#define START_MAX 512       /* bytes kept to undo a wrong start */
#define OUT_SIZE (8 * 1024) /* bytes of a layer's output at a time */

enum mode {
    MODE_START,    /* waiting for the bytes that tell the format */
    MODE_ZLIB,     /* inflating */
    MODE_REPLAY,   /* giving the kept bytes as they are, then PLAIN */
    MODE_PLAIN,    /* bytes go on unchanged */
    MODE_FINISHED, /* the rest is let go */
};

struct mb__inflate_layer {
    z_stream z;
    const uint8_t *in; /* not yet taken */
    size_t in_len;
    uint64_t given;    /* bytes that came out */
    enum mode mode;
    enum mb__coding coding;
    bool open;         /* z is initialised */
    bool gzip;         /* members may follow each other */
    bool again;        /* at the start of a further member */
    uint16_t kept_len;
    uint8_t kept[START_MAX];
    uint8_t out[OUT_SIZE];
};

/* ---- zlib's memory is on the account too ---------------------------------- */

union block_head {
    size_t size;
    max_align_t align;
};

static voidpf zlib_alloc(voidpf account, uInt items, uInt size)
{
    size_t bytes = (size_t)items * size + sizeof(union block_head);
    union block_head *h = mb__memory_alloc(account, bytes);
    if (h == NULL)
        return NULL;
    h->size = bytes;
    return h + 1;
}

static void zlib_free(voidpf account, voidpf address)
{
    union block_head *h = (union block_head *)address - 1;
    mb__memory_free(account, h, h->size);
}

/* ---- layers -------------------------------------------------------------- */

bool mb__inflate_add(struct mb__inflate *f, struct mb__memory *m, enum mb__coding coding)
{
    if (f->count == MB__INFLATE_LAYERS)
        return false;
    struct mb__inflate_layer *l = mb__memory_alloc(m, sizeof *l);
    if (l == NULL)
        return false;
    memset(l, 0, offsetof(struct mb__inflate_layer, kept));
    l->coding = coding;
    f->layer[f->count++] = l;
    return true;
}

void mb__inflate_free(struct mb__inflate *f, struct mb__memory *m)
{
    for (int i = 0; i < f->count; i++) {
        struct mb__inflate_layer *l = f->layer[i];
        l->z.opaque = m;
        if (l->open)
            inflateEnd(&l->z);
        mb__memory_free(m, l, sizeof *l);
    }
    *f = (struct mb__inflate){0};
}

static bool open_zlib(struct mb__inflate_layer *l, struct mb__memory *m, int window_bits)
{
    l->z.zalloc = zlib_alloc;
    l->z.zfree = zlib_free;
    l->z.opaque = m;
    int rc = l->open ? inflateReset2(&l->z, window_bits) : inflateInit2(&l->z, window_bits);
    l->open |= rc == Z_OK;
    l->mode = rc == Z_OK ? MODE_ZLIB : MODE_FINISHED;
    return rc == Z_OK;
}

/* Two bytes are kept: which format do they begin? */
static void choose_format(struct mb__inflate *f, struct mb__inflate_layer *l, struct mb__memory *m)
{
    uint8_t a = l->kept[0], b = l->kept[1];
    bool gzip = a == 0x1f && b == 0x8b;                            /* RFC 1952 2.3.1 */
    bool zlib = (a & 15) == 8 && a >> 4 <= 7 && (a << 8 | b) % 31 == 0; /* RFC 1950 2.2 */
    if (l->again && !gzip) {
        l->mode = MODE_FINISHED; /* what follows the last member is not content */
    } else if (!gzip && l->coding == MB__CODING_GZIP) {
        f->plain = true;
        l->mode = MODE_REPLAY;
    } else {
        l->gzip = gzip;
        if (!open_zlib(l, m, gzip ? MAX_WBITS + 16 : zlib ? MAX_WBITS : -MAX_WBITS)) {
            f->damaged = true;
            return;
        }
        l->z.next_in = l->kept;
        l->z.avail_in = l->kept_len;
    }
}

static void start(struct mb__inflate *f, struct mb__inflate_layer *l, struct mb__memory *m)
{
    while (l->kept_len < 2 && l->in_len > 0) {
        l->kept[l->kept_len++] = *l->in++;
        l->in_len--;
    }
    if (l->kept_len == 2)
        choose_format(f, l, m);
}

/* zlib met bytes that it cannot inflate. */
static void broken(struct mb__inflate *f, struct mb__inflate_layer *l)
{
    if (l->given == 0 && !l->again && l->z.total_in <= START_MAX) {
        f->plain = true;
        l->mode = MODE_REPLAY;
    } else {
        f->damaged = true;
        l->mode = MODE_FINISHED;
    }
}

/* Keeps what zlib takes as long as nothing came out. */
static void keep(struct mb__inflate_layer *l, const uint8_t *bytes, size_t len)
{
    size_t room = START_MAX - l->kept_len;
    if (len > room)
        len = room;
    memcpy(l->kept + l->kept_len, bytes, len);
    l->kept_len += (uint16_t)len;
}

/* One call of zlib: the bytes now in out. */
static size_t run_zlib(struct mb__inflate *f, struct mb__inflate_layer *l, struct mb__memory *m)
{
    bool from_kept = l->z.avail_in > 0;
    if (!from_kept) {
        l->z.next_in = (Bytef *)(uintptr_t)l->in; /* zlib does not write to it */
        l->z.avail_in = (uInt)(l->in_len < 65536 ? l->in_len : 65536);
    }
    const uint8_t *before = l->z.next_in;
    size_t room = MB__INFLATE_MAX - l->given < OUT_SIZE ? (size_t)(MB__INFLATE_MAX - l->given) : OUT_SIZE;
    l->z.opaque = m;
    l->z.next_out = l->out;
    l->z.avail_out = (uInt)room;
    int rc = inflate(&l->z, Z_SYNC_FLUSH);
    size_t taken = (size_t)(l->z.next_in - before), got = room - l->z.avail_out;
    if (!from_kept) {
        if (l->given == 0 && !l->again)
            keep(l, l->in, taken);
        l->in += taken;
        l->in_len -= taken;
        l->z.avail_in = 0;
    }
    l->given += got;
    if (rc == Z_STREAM_END) {
        l->mode = l->gzip ? MODE_START : MODE_FINISHED;
        l->again = true;
        l->kept_len = 0;
    } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
        broken(f, l);
    } else if (l->given >= MB__INFLATE_MAX) {
        f->limited = true;
        l->mode = MODE_FINISHED;
    }
    return got;
}

/* Lets a layer work: what it gives, in |*out|. 0 bytes and no input left: it
 * needs more. */
static size_t work(struct mb__inflate *f, struct mb__inflate_layer *l, struct mb__memory *m, const uint8_t **out)
{
    size_t n;
    switch (l->mode) {
    case MODE_START:
        start(f, l, m);
        return 0;
    case MODE_ZLIB:
        *out = l->out;
        return run_zlib(f, l, m);
    case MODE_REPLAY:
        *out = l->kept;
        n = l->kept_len;
        l->kept_len = 0;
        l->mode = MODE_PLAIN;
        return n;
    case MODE_PLAIN:
        *out = l->in;
        n = l->in_len;
        l->in_len = 0;
        return n;
    default:
        l->in_len = 0;
        return 0;
    }
}

/* Whether a layer can go on without more input. */
static bool has_work(const struct mb__inflate_layer *l)
{
    if (l->in_len > 0 || l->mode == MODE_REPLAY)
        return true;
    return l->mode == MODE_ZLIB && (l->z.avail_in > 0 || (l->open && l->z.avail_out == 0 && l->given > 0));
}

/* Runs the layers from |first| on until none can go on: the last one first,
 * so that a buffer is empty when it is filled again. */
static int pump(struct mb__inflate *f, struct mb__memory *m, mb__inflate_put *put, void *arg)
{
    int i = f->count - 1, rc = 0;
    while (i >= 0 && rc == 0) {
        struct mb__inflate_layer *l = f->layer[i];
        const uint8_t *out = NULL;
        if (!has_work(l)) {
            i--;
            continue;
        }
        size_t n = work(f, l, m, &out);
        if (n == 0)
            continue;
        if (i == f->count - 1) {
            rc = put(arg, out, n);
        } else {
            i++;
            f->layer[i]->in = out;
            f->layer[i]->in_len = n;
        }
    }
    return rc;
}

int mb__inflate_data(struct mb__inflate *f, struct mb__memory *m, const uint8_t *data, size_t len,
                     mb__inflate_put *put, void *arg)
{
    if (len == 0)
        return 0;
    if (f->count == 0)
        return put(arg, data, len);
    f->layer[0]->in = data;
    f->layer[0]->in_len = len;
    return pump(f, m, put, arg);
}

int mb__inflate_end(struct mb__inflate *f, struct mb__memory *m, mb__inflate_put *put, void *arg)
{
    int rc = 0;
    for (int i = 0; i < f->count && rc == 0; i++) {
        struct mb__inflate_layer *l = f->layer[i];
        if (l->gzip || l->given > 0 || l->kept_len == 0 || l->mode > MODE_ZLIB)
            continue; /* a gzip member cut off early has given what it has */
        f->plain = true;
        l->mode = MODE_REPLAY;
        rc = pump(f, m, put, arg);
    }
    return rc;
}
