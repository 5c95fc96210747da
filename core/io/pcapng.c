/* SPDX-License-Identifier: BSD-3-Clause */
/* pcapng -- reads pcapng files: sections of blocks
 *
 *   type | length | body ... (padded to 4) | length again      a block
 *
 *   [SHB] [IDB 0] [IDB 1] [EPB of 0] [EPB of 1] ... [SHB] [IDB 0] ...
 *
 * A section header (SHB) tells the byte order and starts a new list of
 * interfaces; each interface description (IDB) brings a link type, a length
 * limit and what a time stamp counts. Packets come in enhanced (EPB), simple
 * (SPB) and obsolete packet blocks; all other blocks are passed over.
 * Source: draft-ietf-opsawg-pcapng.
 */
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "io/capture.h"

#define BLOCK_SHB 0x0a0d0d0au
#define BLOCK_IDB 1
#define BLOCK_PB 2 /* obsolete */
#define BLOCK_SPB 3
#define BLOCK_EPB 6
#define ORDER_MAGIC 0x1a2b3c4du

#define BLOCK_LIMIT (16u << 20) /* longest block */
#define INTERFACE_LIMIT 65536   /* interfaces of a section */

#define OPTION_END 0
#define OPTION_TSRESOL 9
#define OPTION_TSOFFSET 14

#define NS_PER_SECOND 1000000000

/* What an interface description says. */
struct interface {
    uint32_t snaplen;   /* longer packets are cut to this */
    uint16_t link;
    uint8_t resolution; /* as if_tsresol: 10^-n, or 2^-n with the high bit */
    int64_t offset;     /* seconds added to each stamp */
};

struct pcapng_source {
    struct mb_source source; /* first: see source.h */
    struct mb__input in;
    struct interface *interfaces; /* of this section */
    uint32_t interface_count;
    uint32_t interface_room;
    uint64_t delivered;      /* packets handed over */
    int64_t last_ts;         /* of the packet before: simple packets have none */
    bool swap;               /* section is in the other byte order */
    bool any_interface;      /* there was one in the file */
    int failed;              /* what burst() answers from now on; 0: nothing yet */
};

/* A whole block in the window. */
struct block {
    uint32_t type;
    uint32_t len;        /* of all of it */
    const uint8_t *body;
    uint32_t body_len;
};

/* ---- time stamps ---- */

static int64_t clamp(__int128 v)
{
    return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

/* |count| of the interface's units as ns since 1970, held at the ends of the range. */
static int64_t stamp(const struct interface *i, uint64_t count)
{
    __int128 ns;
    unsigned n = i->resolution & 0x7f;
    if (i->resolution & 0x80) {
        uint64_t seconds = count >> n, fraction = count & ((UINT64_C(1) << n) - 1);
        ns = (__int128)seconds * NS_PER_SECOND;
        ns += (__int128)(((unsigned __int128)fraction * NS_PER_SECOND) >> n);
    } else {
        ns = count;
        for (; n < 9; n++)
            ns *= 10;
        for (; n > 9; n--)
            ns /= 10;
    }
    return clamp(ns + (__int128)i->offset * NS_PER_SECOND);
}

/* Whether stamp() can tell: 64 bits hold no finer units of a second. */
static bool resolution_ok(uint8_t resolution)
{
    return (resolution & 0x80) != 0 ? (resolution & 0x7f) <= 63 : resolution <= 19;
}

/* ---- blocks ---- */

__attribute__((format(printf, 2, 3))) static int damaged(struct pcapng_source *s, const char *format, ...)
{
    char what[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return mb__say(MB_EFORMAT, s->source.warning,
                   "%s: the block at byte %llu, after packet %llu, is damaged: %s", s->in.name,
                   (unsigned long long)mb__input_offset(&s->in), (unsigned long long)s->delivered, what);
}

/* A section header's byte order is its own. 1: known, 0: not here yet. */
static int learn_byte_order(struct pcapng_source *s)
{
    if (mb__input_left(&s->in) < 12)
        return 0;
    uint32_t magic = mb__file_u32(s->in.at + 8, false);
    if (magic != ORDER_MAGIC && magic != __builtin_bswap32(ORDER_MAGIC))
        return damaged(s, "its byte-order magic is 0x%08x", magic);
    s->swap = s->source.swapped = magic != ORDER_MAGIC;
    return 1;
}

/* The block at the front of the window. 1, 0 if not all of it is here, or an error. */
static int read_block(struct pcapng_source *s, struct block *b)
{
    size_t left = mb__input_left(&s->in);
    const uint8_t *p = s->in.at;
    if (left < 12)
        return 0;
    b->type = mb__file_u32(p, s->swap);
    if (b->type == BLOCK_SHB) {
        int rc = learn_byte_order(s);
        if (rc != 1)
            return rc;
    }
    b->len = mb__file_u32(p + 4, s->swap);
    if (b->len < 12 || b->len % 4 != 0 || b->len > BLOCK_LIMIT)
        return damaged(s, "its length is %u", b->len);
    if (b->len > left)
        return 0;
    uint32_t again = mb__file_u32(p + b->len - 4, s->swap);
    if (again != b->len)
        return damaged(s, "its length is %u in front and %u behind", b->len, again);
    b->body = p + 8;
    b->body_len = b->len - 12;
    return 1;
}

static int read_section(struct pcapng_source *s, const struct block *b)
{
    if (b->body_len < 16)
        return damaged(s, "a section header of %u bytes", b->len);
    uint32_t major = mb__file_u16(b->body + 4, s->swap), minor = mb__file_u16(b->body + 6, s->swap);
    if (major != 1)
        return damaged(s, "pcapng version %u.%u is not known", major, minor);
    s->interface_count = 0;
    return 0;
}

/* Takes what matters from one option of an interface description. */
static void read_option(const struct pcapng_source *s, struct interface *i, uint32_t code,
                        const uint8_t *value, uint32_t len)
{
    if (code == OPTION_TSRESOL && len >= 1)
        i->resolution = value[0];
    if (code == OPTION_TSOFFSET && len >= 8) {
        uint64_t low = mb__file_u32(value + (s->swap ? 4 : 0), s->swap);
        uint64_t high = mb__file_u32(value + (s->swap ? 0 : 4), s->swap);
        i->offset = (int64_t)(high << 32 | low);
    }
}

static void read_options(const struct pcapng_source *s, struct interface *i, const uint8_t *p, uint32_t left)
{
    while (left >= 4) {
        uint32_t code = mb__file_u16(p, s->swap), len = mb__file_u16(p + 2, s->swap);
        uint32_t padded = (len + 3) & ~3u;
        if (code == OPTION_END || padded > left - 4)
            return;
        read_option(s, i, code, p + 4, len);
        p += 4 + padded;
        left -= 4 + padded;
    }
}

/* Room for one more interface. 0 or < 0 and a sentence. */
static int grow_interfaces(struct pcapng_source *s)
{
    if (s->interface_count == INTERFACE_LIMIT)
        return mb__say(MB_ELIMIT, s->source.warning, "%s: more than %d interfaces", s->in.name,
                       INTERFACE_LIMIT);
    if (s->interface_count < s->interface_room)
        return 0;
    uint32_t room = s->interface_room == 0 ? 4 : s->interface_room * 2;
    struct interface *p = realloc(s->interfaces, room * sizeof *p);
    if (p == NULL)
        return mb__say(MB_ENOMEM, s->source.warning, "%s: %s", s->in.name, mb_error_text(MB_ENOMEM));
    s->interfaces = p;
    s->interface_room = room;
    return 0;
}

static int read_interface(struct pcapng_source *s, const struct block *b)
{
    if (b->body_len < 8)
        return damaged(s, "an interface description of %u bytes", b->len);
    int rc = grow_interfaces(s);
    if (rc != 0)
        return rc;
    struct interface *i = &s->interfaces[s->interface_count];
    *i = (struct interface){.link = mb__file_u16(b->body, s->swap), .resolution = 6};
    i->snaplen = mb__file_u32(b->body + 4, s->swap);
    if (i->snaplen == 0 || i->snaplen > MB__CAPLEN_LIMIT)
        i->snaplen = MB__CAPLEN_LIMIT;
    read_options(s, i, b->body + 8, b->body_len - 8);
    if (!resolution_ok(i->resolution))
        return damaged(s, "its time stamp resolution is 0x%02x", i->resolution);
    if (!s->any_interface)
        s->source.link = i->link;
    s->any_interface = true;
    s->interface_count++;
    return 0;
}

/* ---- packets ---- */

/* Makes the frame of |data|, |room| bytes in the block. 1 or an error. */
static int make_frame(struct pcapng_source *s, const struct interface *i, struct mb_frame *f,
                      const uint8_t *data, uint32_t room)
{
    if (f->caplen > MB__CAPLEN_LIMIT)
        return damaged(s, "it claims %u captured bytes, more than %u", f->caplen, MB__CAPLEN_LIMIT);
    if (f->caplen > room)
        return damaged(s, "it claims %u captured bytes and has %u", f->caplen, room);
    if (f->caplen > i->snaplen)
        f->caplen = i->snaplen;
    f->data = data;
    s->last_ts = f->ts;
    return 1;
}

/* An enhanced packet, or an obsolete one: they differ in how the interface is written. */
static int read_packet(struct pcapng_source *s, const struct block *b, struct mb_frame *f, int *link)
{
    const uint8_t *p = b->body;
    if (b->body_len < 20)
        return damaged(s, "a packet block of %u bytes", b->len);
    uint32_t number = b->type == BLOCK_EPB ? mb__file_u32(p, s->swap) : mb__file_u16(p, s->swap);
    if (number >= s->interface_count)
        return damaged(s, "it names interface %u of %u", number, s->interface_count);
    const struct interface *i = &s->interfaces[number];
    uint64_t high = mb__file_u32(p + 4, s->swap), low = mb__file_u32(p + 8, s->swap);
    f->ts = stamp(i, high << 32 | low);
    f->caplen = mb__file_u32(p + 12, s->swap);
    f->wirelen = mb__file_u32(p + 16, s->swap);
    *link = i->link;
    return make_frame(s, i, f, p + 20, b->body_len - 20);
}

/* A simple packet is of the first interface, cut to its limit, without a time:
 * it gets that of the packet before. */
static int read_simple(struct pcapng_source *s, const struct block *b, struct mb_frame *f, int *link)
{
    if (b->body_len < 4)
        return damaged(s, "a simple packet block of %u bytes", b->len);
    if (s->interface_count == 0)
        return damaged(s, "a packet before any interface");
    const struct interface *i = &s->interfaces[0];
    f->ts = s->last_ts;
    f->wirelen = mb__file_u32(b->body, s->swap);
    f->caplen = f->wirelen < i->snaplen ? f->wirelen : i->snaplen;
    *link = i->link;
    return make_frame(s, i, f, b->body + 4, b->body_len - 4);
}

/* What |b| brings: 1 and a frame, 0 nothing for the caller, or an error. */
static int read_content(struct pcapng_source *s, const struct block *b, struct mb_frame *f, int *link)
{
    switch (b->type) {
    case BLOCK_SHB: return read_section(s, b);
    case BLOCK_IDB: return read_interface(s, b);
    case BLOCK_EPB:
    case BLOCK_PB: return read_packet(s, b, f, link);
    case BLOCK_SPB: return read_simple(s, b, f, link);
    default: return 0;
    }
}

/* Frames of one link type out of the whole blocks in the window: their number,
 * which is 0 if there is no packet. An error waits until they are handed over. */
static int fill(struct pcapng_source *s, struct mb_frame *frames, int max, int *link)
{
    int n = 0;
    while (n < max) {
        struct block b;
        int its_link = 0, rc = read_block(s, &b);
        if (rc == 0)
            return n;
        if (rc == 1)
            rc = read_content(s, &b, &frames[n], &its_link);
        if (rc < 0) {
            s->failed = rc;
            return n;
        }
        if (rc == 1) {
            if (n > 0 && its_link != *link)
                return n; /* read again, first of the next burst */
            *link = its_link;
            s->delivered++;
            n++;
        }
        s->in.at += b.len;
    }
    return n;
}

static int say_end(struct pcapng_source *s)
{
    if (mb__input_left(&s->in) != 0)
        mb__say(0, s->source.warning, "%s: the file ends inside a block, after packet %llu, at byte %llu",
                s->in.name, (unsigned long long)s->delivered,
                (unsigned long long)(mb__input_offset(&s->in) + mb__input_left(&s->in)));
    return 0;
}

static int pcapng_burst(struct mb_source *source, struct mb_frame *frames, int max, int *link)
{
    struct pcapng_source *s = (struct pcapng_source *)source;
    while (s->failed == 0) {
        int n = fill(s, frames, max, link);
        if (n > 0 || s->failed != 0)
            return n > 0 ? n : s->failed;
        n = mb__input_more(&s->in, source->warning);
        if (n == 0)
            return say_end(s);
        if (n == MB__SOURCE_IDLE)
            return n;
        if (n < 0)
            s->failed = n;
    }
    return s->failed;
}

static void pcapng_progress(const struct mb_source *source, uint64_t *done, uint64_t *total)
{
    mb__input_progress(&((const struct pcapng_source *)source)->in, done, total);
}

static void pcapng_source_free(struct mb_source *source)
{
    struct pcapng_source *s = (struct pcapng_source *)source;
    mb__input_close(&s->in);
    free(s->interfaces);
    free(s);
}

static const struct mb__source_ops pcapng_ops = {
    .burst = pcapng_burst,
    .progress = pcapng_progress,
    .free = pcapng_source_free,
};

/* ---- opening ---- */

bool mb__pcapng_is(const struct mb__input *in)
{
    return mb__input_left(in) >= 4 && mb__file_u32(in->at, false) == BLOCK_SHB;
}

/* Reads blocks up to the first interface, which tells the link type. Packets
 * cannot come before it. */
static int read_front(struct pcapng_source *s)
{
    while (!s->any_interface) {
        struct block b;
        struct mb_frame unused;
        int link, rc = read_block(s, &b);
        if (rc == 1) {
            rc = read_content(s, &b, &unused, &link);
            if (rc < 0)
                return rc;
            s->in.at += b.len;
            continue;
        }
        if (rc == 0)
            rc = mb__input_more(&s->in, s->source.warning);
        if (rc == MB__SOURCE_IDLE)
            return mb__say(MB_EIO, s->source.warning, "%s: interrupted", s->in.name);
        if (rc == 0)
            return mb__say(MB_EFORMAT, s->source.warning, "%s: the file ends before any interface",
                           s->in.name);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct mb_source *mb__pcapng_open(struct mb__input *in, char *err)
{
    struct pcapng_source *s = calloc(1, sizeof *s);
    if (s == NULL) {
        mb__say(MB_ENOMEM, err, "%s: %s", in->name, mb_error_text(MB_ENOMEM));
        return NULL;
    }
    s->source.ops = &pcapng_ops;
    s->in = *in;
    int rc = read_front(s);
    if (rc != 0) {
        mb__say(rc, err, "%s", s->source.warning);
        *in = s->in;
        free(s->interfaces);
        free(s);
        return NULL;
    }
    s->in.patient = false;
    return &s->source;
}
