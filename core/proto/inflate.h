/* SPDX-License-Identifier: BSD-3-Clause */
/* inflate -- undoes gzip and deflate, layer under layer, as browsers would
 *
 *   coded bytes --> layer 0 --> layer 1 --> layer 2 --> put()
 *
 * Bounded: at most MB__INFLATE_LAYERS layers, MB__INFLATE_MAX bytes out of
 * each. What was announced wrongly is given as it is: a gzip layer without
 * gzip's first bytes, and a deflate layer that fails before its first byte.
 */
#ifndef MB_PROTO_INFLATE_H
#define MB_PROTO_INFLATE_H

#include "base/memory.h"

#define MB__INFLATE_LAYERS 3
#define MB__INFLATE_MAX (16 * 1024 * 1024) /* bytes one layer gives at most */

enum mb__coding { MB__CODING_GZIP, MB__CODING_DEFLATE };

struct mb__inflate_layer;

/* A row of layers; zero: none. */
struct mb__inflate {
    struct mb__inflate_layer *layer[MB__INFLATE_LAYERS];
    uint8_t count;
    bool plain;   /* some layer was not what it was announced to be */
    bool limited; /* some layer gave all it may; the rest was let go */
    bool damaged; /* some layer broke off in the middle */
};

/* Takes what comes out. 0 or a code that is handed back. */
typedef int mb__inflate_put(void *arg, const uint8_t *data, size_t len);

/* Adds a layer under those there are. False: too many, or no memory. */
bool mb__inflate_add(struct mb__inflate *f, struct mb__memory *m, enum mb__coding coding);
/* Feeds |len| coded bytes; 0 or the code of |put|. Not to be used again after
 * such a code. */
int mb__inflate_data(struct mb__inflate *f, struct mb__memory *m, const uint8_t *data, size_t len,
                     mb__inflate_put *put, void *arg);
/* The coded bytes are over: gives what was kept to tell the coding. */
int mb__inflate_end(struct mb__inflate *f, struct mb__memory *m, mb__inflate_put *put, void *arg);
/* Frees all layers. */
void mb__inflate_free(struct mb__inflate *f, struct mb__memory *m);

#endif
