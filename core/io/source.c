/* SPDX-License-Identifier: BSD-3-Clause */
/* source -- opens what a capture file turns out to be, and filters bursts */
#include "io/source.h"

#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#include "io/capture.h"
#include "base/say.h"

#define SNAPLEN 262144     /* what filters are compiled for */
#define FILTER_ROUNDS 1024 /* bursts that may be filtered away before the caller has a turn */

/* ---- opening ---- */

/* The source that reads the format in |in|, which it owns from here. */
static struct mb_source *open_format(struct mb__input *in, char *err)
{
    int rc = 1;
    while (rc == 1 && mb__input_left(in) < 4)
        rc = mb__input_more(in, err);
    struct mb_source *s = NULL;
    if (rc == MB__SOURCE_IDLE)
        mb__say(MB_EIO, err, "%s: interrupted", in->name);
    else if (rc >= 0 && mb__input_left(in) == 0)
        mb__say(MB_EFORMAT, err, "%s is no capture file: it is empty", in->name);
    else if (rc >= 0 && mb__pcap_is(in))
        s = mb__pcap_open(in, err);
    else if (rc >= 0 && mb__pcapng_is(in))
        s = mb__pcapng_open(in, err);
    else if (rc >= 0)
        mb__say(MB_EFORMAT, err, "%s is no capture file: it begins like neither pcap nor pcapng", in->name);
    if (s == NULL)
        mb__input_close(in);
    return s;
}

static struct mb_source *open_path(struct mb__tap *tap, bool fixed, const char *path, char *err)
{
    struct mb__input in;
    if (mb__input_open(&in, tap, fixed, path, err) == 0)
        return open_format(&in, err);
    mb__input_close(&in);
    return NULL;
}

struct mb_source *mb_source_file(const char *path, char *err)
{
    return open_path(NULL, false, path, err);
}

struct mb_source *mb__source_tap(struct mb__tap *tap, const char *path, char *err)
{
    return open_path(tap, false, path, err);
}

struct mb_source *mb__source_apart(const char *path, char *err)
{
    return open_path(NULL, true, path, err);
}

struct mb_source *mb__source_memory(const void *bytes, size_t len, char *err)
{
    struct mb__input in;
    if (mb__input_memory(&in, bytes, len, err) == 0)
        return open_format(&in, err);
    mb__input_close(&in);
    return NULL;
}

/* ---- filters ---- */

static void drop_program(struct mb_source *s)
{
    if (s->filter != NULL)
        pcap_freecode(s->filter);
    free(s->filter);
    s->filter = NULL;
}

/* libpcap's view of an empty file like that of |s| with |link|: it compiles
 * other code for files than for interfaces (the address families of loopback
 * headers differ from system to system), and maps the link type itself. */
static pcap_t *open_empty(const struct mb_source *s, int link)
{
    uint32_t header[6] = {0xa1b2c3d4u, 0, 0, 0, SNAPLEN, (uint32_t)link};
    uint16_t version[2] = {2, 4};
    if (s->swapped) {
        for (int i = 0; i < 6; i++)
            header[i] = __builtin_bswap32(header[i]);
        version[0] = __builtin_bswap16(version[0]);
        version[1] = __builtin_bswap16(version[1]);
    }
    memcpy(&header[1], version, sizeof version);
    FILE *file = fmemopen(header, sizeof header, "rb");
    char why[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = file != NULL ? pcap_fopen_offline(file, why) : NULL;
    if (pcap == NULL && file != NULL)
        fclose(file);
    return pcap;
}

/* Compiles |text| for |link| into the source. 0 or < 0 and a sentence. */
static int compile(struct mb_source *s, const char *text, int link, char *err)
{
    drop_program(s);
    pcap_t *pcap = open_empty(s, link);
    struct bpf_program *program = calloc(1, sizeof *program);
    int rc = 0;
    if (pcap == NULL || program == NULL)
        rc = mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
    else if (pcap_compile(pcap, program, text, 1, PCAP_NETMASK_UNKNOWN) != 0)
        rc = mb__say(MB_ESYNTAX, err, "%s", pcap_geterr(pcap));
    if (pcap != NULL)
        pcap_close(pcap);
    if (rc != 0) {
        free(program);
        return rc;
    }
    s->filter = program;
    s->filter_link = link;
    return 0;
}

int mb_source_filter(struct mb_source *s, const char *bpf, char *err)
{
    if (s->ops->filter != NULL)
        return s->ops->filter(s, bpf, err);
    char *copy = strdup(bpf);
    if (copy == NULL)
        return mb__say(MB_ENOMEM, err, "%s", mb_error_text(MB_ENOMEM));
    int rc = compile(s, bpf, s->link, err);
    if (rc != 0) { /* the old one, if any, is compiled again with the next burst */
        free(copy);
        return rc;
    }
    free(s->filter_text);
    s->filter_text = copy;
    return 0;
}

/* Keeps the frames that match, in order: how many. */
static int keep_matching(const struct bpf_program *program, struct mb_frame *frames, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++) {
        const struct mb_frame *f = &frames[i];
        if (bpf_filter(program->bf_insns, f->data, f->wirelen, f->caplen) != 0)
            frames[kept++] = *f;
    }
    return kept;
}

int mb__source_burst(struct mb_source *s, struct mb_frame *frames, int max, int *link)
{
    if (s->filter_text == NULL)
        return s->ops->burst(s, frames, max, link);
    for (int round = 0; round < FILTER_ROUNDS; round++) {
        int n = s->ops->burst(s, frames, max, link);
        if (n <= 0)
            return n;
        if (s->filter == NULL || *link != s->filter_link) {
            int rc = compile(s, s->filter_text, *link, s->warning);
            if (rc != 0)
                return rc;
        }
        int kept = keep_matching(s->filter, frames, n);
        if (kept > 0)
            return kept;
    }
    return MB__SOURCE_IDLE;
}

int mb__source_sheet(struct mb_source *s, const struct mb__lister *lister, struct mb__sheet *sheet)
{
    if (s->ops->sheet != NULL && s->filter_text == NULL)
        return s->ops->sheet(s, lister, sheet);
    sheet->frame = sheet->own;
    sheet->n = mb__source_burst(s, sheet->own, MB_BURST, &sheet->link);
    return sheet->n;
}

/* ---- what every source answers ---- */

void mb_source_free(struct mb_source *s)
{
    if (s == NULL)
        return;
    drop_program(s);
    free(s->filter_text);
    s->ops->free(s);
}

int mb_source_linktype(const struct mb_source *s)
{
    return s->link;
}

bool mb_source_is_live(const struct mb_source *s)
{
    return s->live;
}

void mb_source_progress(const struct mb_source *s, uint64_t *done, uint64_t *total)
{
    *done = *total = 0;
    if (s->ops->progress != NULL)
        s->ops->progress(s, done, total);
}

const char *mb_source_warning(const struct mb_source *s)
{
    return s->warning;
}
