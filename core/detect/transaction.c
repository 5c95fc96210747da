/* SPDX-License-Identifier: BSD-3-Clause */
/* transaction -- rules tried on the buffers and bodies of transactions
 *
 * An inspection answers yes, no, or later: its buffer has not come yet, or its
 * body still grows. A rule stays a candidate until all of its inspections said
 * yes or one said no.
 */
#include <stdlib.h>

#include "detect/inspect.h"

static bool is_body(int base)
{
    return base == MB_BUF_HTTP_REQUEST_BODY || base == MB_BUF_HTTP_RESPONSE_BODY || base == MB_BUF_FILE_DATA;
}

/* Whether an inspection can be answered before the body is complete. */
static bool early(const struct mb__rule *rule, const struct mb_rule_inspect *in)
{
    for (unsigned i = in->first; i < (unsigned)in->first + in->count; i++) {
        const struct mb_rule_op *op = &rule->op[i];
        if (op->flags & (MB_OPF_NOT | MB_OPF_ENDSWITH) || op->type == MB_OP_BSIZE)
            return false;
    }
    return true;
}

/* The body as far as it may be looked at, transformed as |b| says. */
static struct mb__bytes body_bytes(struct mb_detect *d, const struct mb__part *part, const struct mb__buffer *b)
{
    struct mb__bytes bytes = {.data = part->body.bytes, .len = part->body.visible, .open = !part->body.complete};
    for (unsigned i = 0; i < b->transforms && bytes.data != NULL; i++) {
        uint32_t room = mb__transform_room(bytes.len);
        if (2 * room > d->scratch_room) {
            uint8_t *grown = realloc(d->scratch_bytes, 2 * (size_t)room);
            if (grown == NULL) {
                d->memory->refused++;
                return (struct mb__bytes){0};
            }
            if (i > 0)
                bytes.data = grown + (bytes.data - d->scratch_bytes);
            d->scratch_bytes = grown;
            d->scratch_room = 2 * room;
        }
        uint8_t *out = d->scratch_bytes + (i % 2 == 0 ? 0 : d->scratch_room / 2);
        bytes.len = mb__transform(b->transform[i], bytes.data, bytes.len, out);
        bytes.data = out;
    }
    return bytes;
}

static enum mb__answer inspect_body(struct mb_detect *d, const struct mb__part *part, const struct mb__rule *rule,
                                const struct mb_rule_inspect *in)
{
    bool whole = part->body.complete && part->body.visible == part->body.len;
    struct mb__bytes bytes = body_bytes(d, part, &d->rules->buffer[in->buffer]);
    if (bytes.len == 0)
        return whole || part->complete ? MB__NO : MB__LATER;
    if ((whole || early(rule, in)) && mb__match(&d->matcher, rule, in, &bytes))
        return MB__YES;
    return whole ? MB__NO : MB__LATER;
}

static enum mb__answer inspect_values(struct mb_detect *d, const struct mb__part *part, const struct mb__rule *rule,
                                  const struct mb_rule_inspect *in)
{
    bool there = false;
    for (uint32_t i = 0; i < part->values; i++) {
        if (part->value[i].buffer != in->buffer)
            continue;
        there = true;
        struct mb__bytes bytes = {.data = part->value[i].view.data, .len = part->value[i].view.len};
        if (mb__match(&d->matcher, rule, in, &bytes))
            return MB__YES;
    }
    return there || part->complete ? MB__NO : MB__LATER;
}

/* One inspection of a rule on a transaction. */
static enum mb__answer inspect_one(struct mb_detect *d, struct mb__look *look, const struct mb__part *part,
                               const struct mb__rule *rule, const struct mb_rule_inspect *in, bool *in_stream)
{
    int base = d->rules->buffer[in->buffer].base;
    struct mb__bytes bytes;
    if (is_body(base))
        return inspect_body(d, part, rule, in);
    if (base > MB_BUF_ICMPV6_HDR)
        return inspect_values(d, part, rule, in);
    if (base == MB_BUF_BASE64) {
        bytes = (struct mb__bytes){.data = d->matcher.base64, .len = d->matcher.base64_len};
        return d->matcher.has_base64 && mb__match(&d->matcher, rule, in, &bytes) ? MB__YES : MB__LATER;
    }
    if (base != MB_BUF_PAYLOAD) {
        bytes = mb__header_bytes(look->packet, base);
        return bytes.data != NULL && mb__match(&d->matcher, rule, in, &bytes) ? MB__YES : MB__NO;
    }
    if (look->stream.len > 0 && mb__match(&d->matcher, rule, in, &look->stream)) {
        *in_stream = true;
        return MB__YES;
    }
    if (look->payload.len > 0 && !look->streamed && mb__match(&d->matcher, rule, in, &look->payload))
        return MB__YES;
    return MB__LATER;
}

static enum mb__answer try_candidate(struct mb_detect *d, struct mb__look *look, struct mb__part *part,
                                     const struct mb__rule *rule, struct mb__candidate *c, bool *in_stream)
{
    enum mb__answer all = MB__YES;
    mb__matcher_reset(&d->matcher);
    for (unsigned i = 0; i < rule->head->inspections; i++) {
        if (c->done >> i & 1)
            continue;
        enum mb__answer one = inspect_one(d, look, part, rule, &rule->inspect[i], in_stream);
        if (one == MB__YES && rule->remembers)
            c->done |= 1u << i;
        if (one == MB__NO)
            return MB__NO;
        if (one == MB__LATER)
            all = MB__LATER;
    }
    return all;
}

static struct mb__candidate *candidate_of(struct mb__part *part, uint32_t rule)
{
    for (uint32_t i = 0; i < part->found.count; i++)
        if (part->found.list[i].rule == rule)
            return &part->found.list[i];
    return NULL;
}

/* The candidate is settled, one way or the other. */
static void decide(const struct mb_detect *d, struct mb__part *part, struct mb__candidate *c)
{
    if (part->decided == NULL)
        part->decided = mb__memory_zeroed(part->memory, part->decided_bytes = d->rules->count / 8 + 1);
    if (part->decided != NULL)
        part->decided[c->rule / 8] |= (uint8_t)(1 << c->rule % 8);
    *c = part->found.list[--part->found.count];
}

enum mb__answer mb__try_transaction(struct mb_detect *d, struct mb__look *look, struct mb__tx *tx, uint32_t number,
                                    bool *in_stream)
{
    struct mb__part *part = &tx->part[look->side];
    struct mb__candidate *c = candidate_of(part, number);
    if (c == NULL)
        return MB__NO;
    enum mb__answer answer = try_candidate(d, look, part, &d->rules->rule[number], c, in_stream);
    if (answer != MB__LATER)
        decide(d, part, c);
    return answer;
}

/* Looks for fast patterns in the part's new buffers and body. */
static void scan_part(struct mb_detect *d, const struct mb__look *look, struct mb__tx *tx, struct mb__part *part)
{
    const struct mb_rules *r = d->rules;
    struct mb__hit hit = {.d = d, .into = &part->found, .decided = part->decided};
    for (uint32_t i = 0; i < part->values; i++) {
        struct mb__value *v = &part->value[i];
        if (!v->scanned)
            mb__scan(&hit, MB__BANK_BUFFERS + v->buffer, look->side, v->view.data, v->view.len);
        v->scanned = true;
    }
    for (uint32_t i = 0; i < r->buffers && part->body.visible > part->body.scanned; i++) {
        const struct mb__buffer *b = &r->buffer[i];
        const struct mb__bank *bank = &r->bank[MB__BANK_BUFFERS + i][look->side];
        bool mine = b->base == MB_BUF_FILE_DATA ||
                    b->base == (look->side == MB_CLIENT ? MB_BUF_HTTP_REQUEST_BODY : MB_BUF_HTTP_RESPONSE_BODY);
        if (!is_body(b->base) || !mine || bank->db == NULL)
            continue;
        struct mb__bytes bytes = body_bytes(d, part, b);
        uint32_t from = b->transforms == 0 && part->body.scanned > bank->longest ? part->body.scanned - bank->longest : 0;
        mb__scan(&hit, MB__BANK_BUFFERS + i, look->side, bytes.data + from, bytes.len - from);
    }
    part->body.scanned = part->body.visible;
    if (!part->started)
        for (uint32_t i = 0; i < r->tx[tx->app].count; i++)
            mb__candidates_add(&part->found, r->tx[tx->app].id[i], 0);
    part->started = true;
}

/* Puts the candidates of all parts that the look's side sent on the work list. */
void mb__collect_transactions(struct mb_detect *d, struct mb__look *look)
{
    for (struct mb__tx *tx = look->state->first; tx != NULL; tx = tx->next) {
        struct mb__part *part = &tx->part[look->side];
        if (!part->present || part->over || !part->visible || (!part->fresh && look->stream.len == 0))
            continue;
        scan_part(d, look, tx, part);
        for (uint32_t i = 0; i < part->found.count; i++)
            mb__add_work(d, part->found.list[i].rule, tx);
    }
}

void mb__settle_transactions(const struct mb__look *look)
{
    for (struct mb__tx *tx = look->state->first; tx != NULL; tx = tx->next) {
        struct mb__part *part = &tx->part[look->side];
        if (!part->present || part->over || !part->visible)
            continue;
        part->fresh = false;
        if (part->complete && part->body.visible == part->body.len)
            mb__part_over(part);
    }
}
