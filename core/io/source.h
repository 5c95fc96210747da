/* SPDX-License-Identifier: BSD-3-Clause */
/* source -- what every source of packets can do
 *
 * A source hands over bursts of borrowed frames. The engine sees only this
 * table; each kind (pcap, pcapng, live interface) is a file of its own whose
 * struct begins with this one.
 */
#ifndef MB_IO_SOURCE_H
#define MB_IO_SOURCE_H

#include "io/tap.h"
#include "mosbox.h"

#define MB__SOURCE_IDLE (-1000) /* burst(): nothing just now; ask again */

/* Who knows whose a frame is; |arg| is handed over. See packet/packet.h. */
struct mb__lister {
    /* mb__list_frames(), with the time before them if that is not |known| */
    bool (*list)(void *arg, int link, const struct mb_frame *frames, uint32_t n, bool known,
                 struct mb__lists *lists);
    void *arg;
};

/* Frames for one of several workers. */
struct mb__sheet {
    int link;                        /* of all of them */
    int n;                           /* frames */
    const struct mb_frame *frame;    /* they themselves, if this worker found them; else NULL: it has */
    const struct mb__listed *listed; /* |count| of them that are in its list, */
    uint32_t count;                  /* at most MB_BURST */
    uint32_t first;                  /* place of the first frame, in the list's terms */
    int64_t latest;                  /* time of the last frame, mended, unless that is listed, */
    int64_t lag;                     /* and of the last one in the list, how far it is ahead of the capture's */
    struct mb_frame own[MB_BURST];   /* room */
};

struct mb__source_ops {
    /* Fills at most |max| frames, all of link type |*link|, valid until the
     * next call. Their number, 0 at the end, MB__SOURCE_IDLE or an error. */
    int (*burst)(struct mb_source *s, struct mb_frame *frames, int max, int *link);
    /* As burst(), where one worker finds frames for all. NULL: it cannot. */
    int (*sheet)(struct mb_source *s, const struct mb__lister *lister, struct mb__sheet *sheet);
    void (*progress)(const struct mb_source *s, uint64_t *done, uint64_t *total);
    /* Kernel counters of a live source; NULL for files. */
    void (*counters)(struct mb_source *s, uint64_t *received, uint64_t *dropped);
    /* Filters with |text| at the origin (in the kernel). NULL: the frames are
     * filtered after the burst. 0 or < 0 and a sentence in |err|. */
    int (*filter)(struct mb_source *s, const char *text, char *err);
    void (*free)(struct mb_source *s);
};

/* First member of every source. */
struct mb_source {
    const struct mb__source_ops *ops;
    void *filter;      /* compiled BPF of the link type |filter_link|; NULL: none */
    char *filter_text; /* its source, compiled again for another link type */
    int filter_link;
    int link;          /* LINKTYPE_ of the first interface */
    bool live;
    bool swapped;      /* the file is of a machine of the other byte order */
    char warning[MB_ERRBUF_SIZE]; /* why the last burst() failed or ended early */
};

/* A burst with the filter applied: as ops->burst(), never all filtered away
 * without an answer. */
int mb__source_burst(struct mb_source *s, struct mb_frame *frames, int max, int *link);
/* The same for one of several workers. What |lister| does in it lasts as long as the call. */
int mb__source_sheet(struct mb_source *s, const struct mb__lister *lister, struct mb__sheet *sheet);

/* As mb_source_file(), for workers that read the file through |tap| (borrowed). */
struct mb_source *mb__source_tap(struct mb__tap *tap, const char *path, char *err);
/* As mb_source_file(), for workers that a fork makes afterwards: each reads the
 * file, which has to be a regular one, for itself, up to where it ends now. */
struct mb_source *mb__source_apart(const char *path, char *err);
/* A source over the bytes of a capture file in memory, borrowed until it is
 * freed. NULL and a sentence in |err|. */
struct mb_source *mb__source_memory(const void *bytes, size_t len, char *err);

#endif
