/* SPDX-License-Identifier: BSD-3-Clause */
/* pcap -- reads pcap files: a header of 24 bytes, then records
 *
 *   magic | major, minor | zone | sigfigs | snaplen | link type     file header
 *   seconds | fraction | captured | on the wire | bytes ...         record
 *   seconds | fraction | captured | on the wire | bytes ...
 *
 * The magic tells the byte order and what a fraction is. Records of this
 * machine's order are read by one short loop; the other order and the records
 * of old or patched writers by another that knows all of them.
 * Source: draft-ietf-opsawg-pcap.
 */
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "io/capture.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define MAGIC_PATCHED 0xa1b2cd34u /* records have 8 more bytes (Kuznetzov's patch) */
#define FILE_HEADER 24
#define RECORD_HEADER 16
#define PATCHED_HEADER 24
#define AHEAD 6144 /* bytes fetched before they are parsed: another worker may have read them */
#define LINK_MASK 0x03ffffffu /* the bits above are about the frame check sequence */

struct pcap_source {
    struct mb_source source; /* first: see source.h */
    struct mb__input in;
    const struct mb__lister *lister; /* of frames that are found for all workers */
    const struct mb__index *index;   /* the one that frames were handed over of last, */
    uint32_t handed;         /* how many, */
    uint32_t listed;         /* and how many of this worker's list */
    uint64_t delivered;      /* packets handed over */
    uint32_t unit;           /* ns a fraction counts */
    uint32_t snaplen;        /* longer packets are cut to this */
    uint32_t header;         /* bytes before a record's packet */
    bool swap;               /* file is in the other byte order */
    bool odd;                /* not for the short loop */
    bool lengths_swapped;    /* minor version below 3: lengths the other way round */
    bool lengths_unsure;     /* minor version 3: as some writers had it */
    int failed;              /* what burst() answers from now on; 0: nothing yet */
};

/* ---- records ---- */

struct record {
    int64_t ts;
    uint32_t caplen;
    uint32_t wirelen;
};

static void read_record(const struct pcap_source *s, const uint8_t *p, struct record *r)
{
    uint32_t seconds = mb__file_u32(p, s->swap), fraction = mb__file_u32(p + 4, s->swap);
    r->ts = (int64_t)seconds * 1000000000 + (int64_t)fraction * s->unit;
    r->caplen = mb__file_u32(p + 8, s->swap);
    r->wirelen = mb__file_u32(p + 12, s->swap);
    if (s->lengths_swapped || (s->lengths_unsure && r->caplen > r->wirelen)) {
        uint32_t len = r->caplen;
        r->caplen = r->wirelen;
        r->wirelen = len;
    }
}

/* As many whole, ordinary records of this machine's byte order as there are from
 * |*at| to |end|: |*at| is then behind them. */
static inline int fill_native(const struct pcap_source *s, const uint8_t **at, const uint8_t *end,
                              struct mb_frame *frames, int max)
{
    const uint8_t *p = *at;
    size_t left = (size_t)(end - p);
    const uint32_t unit = s->unit, snaplen = s->snaplen;
    int n = 0;
    for (; n < max && left >= RECORD_HEADER; n++) {
        uint32_t field[4];
        __builtin_prefetch(p + AHEAD);
        __builtin_prefetch(p + AHEAD + 64);
        memcpy(field, p, sizeof field);
        uint32_t caplen = field[2];
        if (caplen > snaplen || caplen > left - RECORD_HEADER)
            break;
        frames[n].ts = (int64_t)field[0] * 1000000000 + (int64_t)field[1] * unit;
        frames[n].data = p + RECORD_HEADER;
        frames[n].caplen = caplen;
        frames[n].wirelen = field[3];
        p += RECORD_HEADER + caplen;
        left -= RECORD_HEADER + caplen;
    }
    *at = p;
    return n;
}

/* The record at the front of the window, of any kind. 1: made a frame, 0: not
 * all of it is here, MB_EFORMAT: it cannot be. */
static int fill_one(struct pcap_source *s, struct mb_frame *frame)
{
    size_t left = mb__input_left(&s->in);
    struct record r;
    if (left < s->header)
        return 0;
    read_record(s, s->in.at, &r);
    if (r.caplen > MB__CAPLEN_LIMIT)
        return MB_EFORMAT;
    if (r.caplen > left - s->header)
        return 0;
    frame->ts = r.ts;
    frame->data = s->in.at + s->header;
    frame->caplen = r.caplen < s->snaplen ? r.caplen : s->snaplen;
    frame->wirelen = r.wirelen;
    s->in.at += s->header + r.caplen;
    return 1;
}

static int fill_odd(struct pcap_source *s, struct mb_frame *frames, int max)
{
    int n = 0;
    while (n < max && fill_one(s, &frames[n]) == 1)
        n++;
    return n;
}

/* ---- the source ---- */

static int say_too_long(struct pcap_source *s)
{
    struct record r;
    read_record(s, s->in.at, &r);
    return mb__say(MB_EFORMAT, s->source.warning,
                   "%s: packet %llu at byte %llu is damaged: it claims %u captured bytes, more than %u",
                   s->in.name, (unsigned long long)s->delivered + 1,
                   (unsigned long long)mb__input_offset(&s->in), r.caplen, MB__CAPLEN_LIMIT);
}

/* The end of the input, which may come inside a record. */
static int say_end(struct pcap_source *s)
{
    if (mb__input_left(&s->in) != 0)
        mb__say(0, s->source.warning, "%s: the file ends inside packet %llu, at byte %llu", s->in.name,
                (unsigned long long)s->delivered + 1,
                (unsigned long long)(mb__input_offset(&s->in) + mb__input_left(&s->in)));
    return 0;
}

/* Frames of the records in the window: their number, 0 without any whole one,
 * or an error. */
static int fill(struct pcap_source *s, struct mb_frame *frames, int max)
{
    int n = s->odd ? fill_odd(s, frames, max) : fill_native(s, &s->in.at, s->in.end, frames, max);
    if (n == 0) /* the short loop leaves what is out of the ordinary */
        n = fill_one(s, frames);
    if (n < 0)
        return s->failed = say_too_long(s);
    s->delivered += (uint64_t)n;
    return n;
}

/* More bytes: 1, or what burst() answers. */
static int more(struct pcap_source *s)
{
    int n = mb__input_more(&s->in, s->source.warning);
    if (n == 0)
        return say_end(s);
    if (n < 0 && n != MB__SOURCE_IDLE)
        s->failed = n;
    return n;
}

static int pcap_burst(struct mb_source *source, struct mb_frame *frames, int max, int *link)
{
    struct pcap_source *s = (struct pcap_source *)source;
    *link = source->link;
    while (s->failed == 0) {
        int n = fill(s, frames, max);
        if (n == 0 && (n = more(s)) == 1)
            continue;
        return n;
    }
    return s->failed;
}

/* ---- frames for all workers ---- */

/* Finds the frames of a chunk and has them listed, until one is out of the ordinary. */
static void look(void *arg, const uint8_t *p, const uint8_t *end, struct mb__index *index)
{
    const struct pcap_source *s = arg;
    const struct mb__lister *lister = s->lister;
    struct mb_frame frames[MB_BURST];
    const uint8_t *begin = p, *at = p;
    int n;
    while ((n = fill_native(s, &at, end, frames, MB_BURST)) > 0) {
        if (!lister->list(lister->arg, s->source.link, frames, (uint32_t)n, index->known, &index->lists)) {
            index->last = true;
            break;
        }
        index->known = true;
        p = at;
    }
    index->end = index->begin + (uint64_t)(p - begin);
    index->last |= end - p >= RECORD_HEADER && mb__file_u32(p + 8, false) > s->snaplen;
}

/* |listed| will be needed soon, and another worker has written it. */
static void prefetch(const struct mb__listed *listed, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(&listed[i]);
}

/* Hands over frames of the index, if there is one and some are left: as many as
 * go with MB_BURST of this worker's list. How many. */
static int take_indexed(struct pcap_source *s, struct mb__sheet *sheet)
{
    const struct mb__index *x = s->in.index;
    if (x != s->index) {
        s->index = x;
        s->handed = s->listed = 0;
    }
    if (x == NULL || s->handed == x->lists.total)
        return 0;
    unsigned user = mb__tap_user(s->in.tap);
    const struct mb__listed *listed = x->lists.frame[user] + s->listed;
    uint32_t left = x->lists.count[user] - s->listed, count = left < MB_BURST ? left : MB_BURST;
    uint32_t next = count == left ? x->lists.total : listed[count - 1].place + 1u;
    left -= count;
    if (s->listed == 0)
        prefetch(listed, count);
    prefetch(listed + count, left < MB_BURST ? left : MB_BURST);
    sheet->frame = NULL;
    sheet->listed = listed;
    sheet->count = count;
    sheet->first = s->handed;
    sheet->n = (int)(next - s->handed);
    sheet->lag = x->lists.lag;
    sheet->latest = x->lists.latest; /* frames behind the last listed one are at the end of the list */
    s->delivered += next - s->handed;
    s->handed = next;
    s->listed += count;
    if (next == x->lists.total)
        s->in.at += x->end - x->begin;
    return sheet->n;
}

/* Frames that this worker finds itself: as fill(). */
static int take_own(struct pcap_source *s, struct mb__sheet *sheet)
{
    sheet->frame = sheet->own;
    return sheet->n = fill(s, sheet->own, MB_BURST);
}

static int pcap_sheet(struct mb_source *source, const struct mb__lister *lister, struct mb__sheet *sheet)
{
    struct pcap_source *s = (struct pcap_source *)source;
    s->lister = lister;
    sheet->link = source->link;
    if (s->in.tap != NULL && s->in.z == NULL && !s->odd) {
        s->in.look = look;
        s->in.look_arg = s;
    }
    while (s->failed == 0) {
        int n = take_indexed(s, sheet);
        bool all_found = s->index != NULL && !s->index->last;
        if (n == 0 && !all_found)
            n = take_own(s, sheet);
        if (n == 0 && (n = more(s)) == 1)
            continue;
        return n;
    }
    return s->failed;
}

static void pcap_progress(const struct mb_source *source, uint64_t *done, uint64_t *total)
{
    mb__input_progress(&((const struct pcap_source *)source)->in, done, total);
}

static void pcap_source_free(struct mb_source *source)
{
    mb__input_close(&((struct pcap_source *)source)->in);
    free(source);
}

static const struct mb__source_ops pcap_ops = {
    .burst = pcap_burst,
    .sheet = pcap_sheet,
    .progress = pcap_progress,
    .free = pcap_source_free,
};

/* ---- opening ---- */

/* The magic at |p|, and whether its file is in the other byte order. 0: none. */
static uint32_t read_magic(const uint8_t *p, bool *swap)
{
    for (int i = 0; i < 2; i++) {
        uint32_t magic = mb__file_u32(p, i == 1);
        *swap = i == 1;
        if (magic == MAGIC_US || magic == MAGIC_NS || magic == MAGIC_PATCHED)
            return magic;
    }
    return 0;
}

bool mb__pcap_is(const struct mb__input *in)
{
    bool swap;
    return mb__input_left(in) >= 4 && read_magic(in->at, &swap) != 0;
}

static int read_file_header(struct pcap_source *s, char *err)
{
    int rc = 1;
    while (rc == 1 && mb__input_left(&s->in) < FILE_HEADER)
        rc = mb__input_more(&s->in, err);
    if (rc == MB__SOURCE_IDLE)
        return mb__say(MB_EIO, err, "%s: interrupted", s->in.name);
    if (rc < 0)
        return rc;
    if (mb__input_left(&s->in) < FILE_HEADER)
        return mb__say(MB_EFORMAT, err, "%s: the file ends inside the pcap file header", s->in.name);
    const uint8_t *p = s->in.at;
    uint32_t magic = read_magic(p, &s->swap);
    uint32_t major = mb__file_u16(p + 4, s->swap), minor = mb__file_u16(p + 6, s->swap);
    if (major != 2)
        return mb__say(MB_EFORMAT, err, "%s: pcap version %u.%u is not known", s->in.name, major, minor);
    s->source.swapped = s->swap;
    s->lengths_swapped = minor < 3;
    s->lengths_unsure = minor == 3;
    s->unit = magic == MAGIC_NS ? 1 : 1000;
    s->header = magic == MAGIC_PATCHED ? PATCHED_HEADER : RECORD_HEADER;
    s->odd = s->swap || minor < 4 || magic == MAGIC_PATCHED;
    s->snaplen = mb__file_u32(p + 16, s->swap);
    if (s->snaplen == 0 || s->snaplen > MB__CAPLEN_LIMIT)
        s->snaplen = MB__CAPLEN_LIMIT;
    s->source.link = (int)(mb__file_u32(p + 20, s->swap) & LINK_MASK);
    s->in.at += FILE_HEADER;
    return 0;
}

struct mb_source *mb__pcap_open(struct mb__input *in, char *err)
{
    struct pcap_source *s = calloc(1, sizeof *s);
    if (s == NULL) {
        mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
        return NULL;
    }
    s->source.ops = &pcap_ops;
    s->in = *in;
    if (read_file_header(s, err) != 0) {
        *in = s->in;
        free(s);
        return NULL;
    }
    s->in.patient = false;
    return &s->source;
}
