/* SPDX-License-Identifier: BSD-3-Clause */
/* decoding -- a decoder with all that it stands on, for the tests of the packet floor */
#ifndef MB_TEST_DECODING_H
#define MB_TEST_DECODING_H

#include "frame.h"
#include "packet/packet.h"

struct decoding {
    struct mb_config config;
    struct mb__hash_key key;
    struct mb__memory memory;
    struct mb_stats stats;
    struct mb__decoder *decoder;
    struct mb__burst burst;
    struct mb_packet *out; /* what the last frame gave */
};

/* A fixture with roomy limits. Change its config before decoding_start(). */
static inline void decoding_init(struct decoding *d)
{
    memset(d, 0, sizeof *d);
    d->config.decap = MB_TUNNEL_DEFAULT;
    d->config.max_tunnels = 4;
    d->config.max_fragments = 64;
    d->config.timeout_fragment = 30 * INT64_C(1000000000);
    d->memory.limit = 1 << 22;
    mb__hash_key_init(&d->key, 1);
    d->out = d->burst.packet;
}

static inline void decoding_start(struct decoding *d)
{
    d->decoder = mb__decoder_new(&d->config, &d->key, &d->memory, &d->stats);
}

/* A burst of one frame: how many packets it gave. */
static inline int decode_frame(struct decoding *d, int link, const struct mb_frame *frame)
{
    mb__decode_burst(d->decoder, link, frame, 1, 0, false, &d->burst);
    return d->burst.total;
}

static inline int decode_bytes(struct decoding *d, int link, int64_t ts, const uint8_t *data, size_t len)
{
    struct mb_frame frame = {.ts = ts, .data = data, .caplen = (uint32_t)len, .wirelen = (uint32_t)len};
    return decode_frame(d, link, &frame);
}

/* Ends the frame and decodes it as Ethernet. */
static inline int decode(struct decoding *d, struct frame *f)
{
    frame_end(f);
    return decode_bytes(d, 1, 1, f->b, f->len);
}

static inline void decoding_stop(struct decoding *d)
{
    mb__decoder_free(d->decoder);
    d->decoder = NULL;
}

#endif
