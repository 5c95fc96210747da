/* SPDX-License-Identifier: BSD-3-Clause */
/* writer -- writes packets as a pcap file with nanosecond stamps */
#include <fcntl.h>
#include <stdlib.h>

#include "base/say.h"
#include "io/writer.h"
#include "mosbox.h"

#define MAGIC_NS 0xa1b23c4du
#define SNAPLEN 262144 /* what readers expect at most */
#define NS_PER_SECOND 1000000000

struct mb_writer {
    struct mb__drain drain;
    struct mb__lane *lane; /* a worker's: where all goes instead */
    int link; /* LINKTYPE_ number in the header */
};

/* The file header, in this machine's byte order as its magic tells. */
static int put_header(struct mb_writer *w, int linktype)
{
    int rc;
    uint16_t version[2] = {2, 4};
    uint32_t field[6] = {MAGIC_NS, 0, 0, 0, SNAPLEN, (uint32_t)linktype};
    memcpy(&field[1], version, sizeof version);
    void *p = mb__drain_room(&w->drain, sizeof field, &rc);
    if (p == NULL)
        return rc;
    memcpy(p, field, sizeof field);
    w->drain.len += sizeof field;
    return 0;
}

struct mb_writer *mb_writer_new(const char *path, int linktype, char *err)
{
    struct mb_writer *w = malloc(sizeof *w);
    if (w == NULL) {
        mb__say(MB_ENOMEM, err, "%s: %s", path, mb_error_text(MB_ENOMEM));
        return NULL;
    }
    if (mb__drain_init(&w->drain, path, O_TRUNC, err) != 0) {
        free(w);
        return NULL;
    }
    w->lane = NULL;
    w->link = linktype;
    put_header(w, linktype);
    return w;
}

int mb__writer_link(const struct mb_writer *w)
{
    return w->link;
}

void mb__writer_lane(struct mb_writer *w, struct mb__lane *lane)
{
    w->lane = lane;
    w->drain.len = 0;
}

struct mb__drain *mb__writer_drain(struct mb_writer *w)
{
    return &w->drain;
}

int mb_writer_put(struct mb_writer *w, const struct mb_frame *frame)
{
    int rc;
    uint64_t seconds = frame->ts >= 0 ? (uint64_t)frame->ts / NS_PER_SECOND : 0;
    uint64_t rest = frame->ts >= 0 ? (uint64_t)frame->ts % NS_PER_SECOND : 0;
    uint32_t header[4] = {(uint32_t)seconds, (uint32_t)rest, frame->caplen, frame->wirelen};
    if (frame->caplen > SNAPLEN)
        return MB_EINVAL;
    if (w->lane != NULL) {
        mb__lane_put_both(w->lane, header, sizeof header, frame->data, frame->caplen);
        return 0;
    }
    uint8_t *p = mb__drain_room(&w->drain, sizeof header + frame->caplen, &rc);
    if (p == NULL)
        return rc;
    memcpy(p, header, sizeof header);
    if (frame->caplen != 0)
        memcpy(p + sizeof header, frame->data, frame->caplen);
    w->drain.len += sizeof header + frame->caplen;
    return 0;
}

int mb_writer_flush(struct mb_writer *w)
{
    return mb__drain_flush(&w->drain);
}

int mb_writer_free(struct mb_writer *w)
{
    if (w == NULL)
        return 0;
    int rc = mb__drain_fini(&w->drain);
    free(w);
    return rc;
}
