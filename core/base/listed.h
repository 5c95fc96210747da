/* SPDX-License-Identifier: BSD-3-Clause */
/* listed -- which frames are whose, found by one worker for all
 *
 *   frames of a chunk   0  1  2  3  4  5 ...      who reads the chunk lists them
 *                       |  |  |  |  |  |
 *   list of worker 0    0     2     4 ...         its own, those that all decode,
 *   list of worker 1       1  2  3     5 ...      and those that begin a tick of the clock
 *
 * A list says nothing of the frames between its own: they are other workers', and
 * none begins a tick.
 */
#ifndef MB_BASE_LISTED_H
#define MB_BASE_LISTED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"
#include "mosbox.h"

#define MB__SHARD_ALL UINT8_MAX /* an owner: all workers have to decode the frame */

_Static_assert(MB_WORKERS_MAX <= MB__SHARD_ALL, "an owner is a byte");

enum mb__shape {
    MB__SHAPE_OTHER, /* it has to be decoded layer by layer */
    MB__SHAPE_PLAIN, /* as mb__frame_is_plain() says, of TCP or of UDP that is no tunnel's */
    MB__SHAPE_BRIEF, /* brief without timestamps: its time needs no mending, and nobody asks for |before| */
    MB__SHAPE_STAMPED /* the same with timestamps */
};

/* Whether a frame of |shape| is brief: see packet/segment.h. */
static inline bool mb__shape_is_brief(unsigned shape)
{
    return shape >= MB__SHAPE_BRIEF;
}

/* What moves a connection on in a brief frame, as it lies there: see packet/segment.h. */
struct mb__brief {
    uint8_t ends[16]; /* addresses, ports, sequence number */
    uint8_t ack[4];
    uint8_t times[8]; /* timestamp and the one it echoes, if there are any */
    uint8_t window[2];
    uint8_t len[2];   /* of the datagram */
};

struct mb__listed {
    _Alignas(MB__CACHE_LINE) struct mb_frame frame;
    uint32_t hash;         /* of its flow, known by its ends alone; of |shape| other: perhaps of another, or 0 */
    uint16_t place : 14;   /* among the frames that were listed together */
    uint16_t shape : 2;    /* enum mb__shape */
    uint8_t owner;         /* the worker that all of it belongs to, or MB__SHARD_ALL */
    uint8_t tcp_flags;     /* if |shape| is brief */
    union {
        struct mb__brief brief; /* if |shape| is brief: all that is needed of the frame */
        struct {                /* else times mended as the decoder does it (packet/packet.h), ns: */
            int64_t before;     /* of the frame before, */
            int64_t time;       /* and its own */
        };
    };
};

_Static_assert(sizeof(struct mb__listed) == MB__CACHE_LINE, "another worker's entry comes in one cache line");

#define MB__LIST_FRAMES 4096 /* room in a list */
#define MB__LIST_PLACES (1 << 14) /* frames that are listed together, at most */

struct mb__lists {
    int64_t latest;                           /* time of the last frame, mended, ns, */
    int64_t lag;                              /* and how far it is ahead of what the capture says */
    uint32_t total;                           /* frames, listed or not */
    uint32_t count[MB_WORKERS_MAX];           /* frames in each list */
    struct mb__listed *frame[MB_WORKERS_MAX]; /* MB__LIST_FRAMES of room each */
};

#endif
