/* SPDX-License-Identifier: BSD-3-Clause */
/* hold -- a message in pieces, kept until it is whole
 *
 * Empty most of the time: a message that lies in one segment is parsed where
 * it is. What is held comes from the sink's account and never exceeds
 * MB__PROTO_MAX_HOLD bytes.
 */
#ifndef MB_PROTO_HOLD_H
#define MB_PROTO_HOLD_H

#include <string.h>

#include "base/memory.h"
#include "proto/proto.h"

struct mb__hold {
    uint8_t *data;
    uint32_t len;
    uint32_t size; /* bytes allocated */
};

static inline void mb__hold_free(struct mb__hold *h, struct mb__memory *m)
{
    mb__memory_free(m, h->data, h->size);
    *h = (struct mb__hold){0};
}

/* Makes room for |want| bytes in all. */
static inline bool mb__hold_grow(struct mb__hold *h, struct mb__memory *m, size_t want)
{
    size_t size = h->size != 0 ? h->size : 256;
    while (size < want)
        size *= 2;
    uint8_t *data = mb__memory_alloc(m, size);
    if (data == NULL)
        return false;
    if (h->len > 0)
        memcpy(data, h->data, h->len);
    mb__memory_free(m, h->data, h->size);
    h->data = data;
    h->size = (uint32_t)size;
    return true;
}

/* Appends |len| bytes. False, and nothing appended: over the limit, or no memory. */
static inline bool mb__hold_add(struct mb__hold *h, struct mb__memory *m, const uint8_t *bytes, size_t len)
{
    if (len > MB__PROTO_MAX_HOLD - h->len)
        return false;
    if (h->len + len > h->size && !mb__hold_grow(h, m, h->len + len))
        return false;
    if (len > 0)
        memcpy(h->data + h->len, bytes, len);
    h->len += (uint32_t)len;
    return true;
}

/* Appends bytes of |*data| until |want| are held, and moves |*data| past those
 * taken. 1: there are |want|; 0: more is needed; -1: as mb__hold_add() fails. */
static inline int mb__hold_fill(struct mb__hold *h, struct mb__memory *m, size_t want, const uint8_t **data,
                                size_t *len)
{
    size_t n = want > h->len ? want - h->len : 0;
    if (n > *len)
        n = *len;
    if (!mb__hold_add(h, m, *data, n))
        return -1;
    *data += n;
    *len -= n;
    return h->len >= want;
}

#endif
