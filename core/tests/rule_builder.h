/* SPDX-License-Identifier: BSD-3-Clause */
/* rule_builder -- rule programs made in C, for tests and fuzz targets */
#ifndef MB_TEST_RULE_BUILDER_H
#define MB_TEST_RULE_BUILDER_H

#include <string.h>

#include "mosbox.h"

#define BUILDER_BYTES 4096
#define BUILDER_OPS 64

struct builder {
    struct mb_rule_head head;
    struct mb_rule_inspect inspect[4];
    struct mb_rule_op op[BUILDER_OPS];
    uint8_t bytes[BUILDER_BYTES];
    uint8_t out[sizeof(struct mb_rule_head) + 4 * sizeof(struct mb_rule_inspect) +
                BUILDER_OPS * sizeof(struct mb_rule_op) + BUILDER_BYTES];
};

/* A rule about any packet of either direction. */
static inline void builder_init(struct builder *b, uint8_t kind)
{
    memset(b, 0, sizeof *b);
    b->head.magic = MB_RULE_MAGIC;
    b->head.sid = 1;
    b->head.kind = kind;
    b->head.action = MB_RULE_ALERT;
    b->head.ip_proto = 255;
    b->head.flags = MB_RULE_TO_SERVER | MB_RULE_TO_CLIENT;
}

/* Appends bytes; the place they are at. */
static inline uint32_t builder_bytes(struct builder *b, const void *bytes, size_t len)
{
    uint32_t at = b->head.bytes;
    memcpy(b->bytes + at, bytes, len);
    b->head.bytes += (uint32_t)len;
    return at;
}

/* Appends an operation, to be filled in further. */
static inline struct mb_rule_op *builder_op(struct builder *b, uint8_t type, uint16_t flags, const void *bytes,
                                            size_t len)
{
    struct mb_rule_op *op = &b->op[b->head.ops++];
    *op = (struct mb_rule_op){.type = type, .flags = flags, .len = (uint32_t)len};
    op->data = builder_bytes(b, bytes, len);
    return op;
}

/* The operations from |first| on are an inspection of |buffer|. */
static inline void builder_inspect(struct builder *b, int buffer, uint16_t first)
{
    b->inspect[b->head.inspections++] =
        (struct mb_rule_inspect){(uint16_t)buffer, first, (uint16_t)(b->head.ops - first), 0};
}

/* The program; |*len| bytes, valid until the builder is used again. */
static inline const void *builder_finish(struct builder *b, size_t *len)
{
    uint8_t *at = b->out;
    b->head.text = b->head.bytes;
    memcpy(at, &b->head, sizeof b->head);
    at += sizeof b->head;
    memcpy(at, b->inspect, b->head.inspections * sizeof *b->inspect);
    at += b->head.inspections * sizeof *b->inspect;
    memcpy(at, b->op, b->head.ops * sizeof *b->op);
    at += b->head.ops * sizeof *b->op;
    memcpy(at, b->bytes, b->head.bytes);
    at += b->head.bytes;
    *len = (size_t)(at - b->out);
    return b->out;
}

#endif
