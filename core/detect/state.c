/* SPDX-License-Identifier: BSD-3-Clause */
/* state -- keeping and letting go of what detection remembers of a flow */
#include "detect/state.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 2048

struct mb__state *mb__state_new(void)
{
    return calloc(1, sizeof(struct mb__state));
}

static void arena_free(struct mb__block *b)
{
    while (b != NULL) {
        struct mb__block *next = b->next;
        free(b);
        b = next;
    }
}

static void tx_free(struct mb__tx *tx)
{
    for (int side = 0; side < 2; side++) {
        mb__part_over(&tx->part[side]);
        arena_free(tx->part[side].arena);
    }
    free(tx);
}

static void session_free(struct mb__session *s)
{
    if (s == NULL)
        return;
    free(s->sni);
    free(s->subject);
    free(s->issuer);
    free(s->serial);
    free(s->fingerprint);
    for (int side = 0; side < 2; side++) {
        free(s->ssh_proto[side]);
        free(s->ssh_software[side]);
        free(s->hassh[side]);
    }
    free(s);
}

void mb__state_free(struct mb__state *s)
{
    if (s == NULL)
        return;
    for (struct mb__tx *tx = s->first, *next; tx != NULL; tx = next) {
        next = tx->next;
        tx_free(tx);
    }
    for (int side = 0; side < 2; side++) {
        free(s->side[side].found.list);
        free(s->side[side].alerted);
    }
    session_free(s->session);
    free(s->bits);
    free(s);
}

/* ---- parts ---------------------------------------------------------------- */

uint8_t *mb__part_room(struct mb__part *p, uint32_t len)
{
    struct mb__block *b = p->arena;
    if (b == NULL || b->room - b->used < len) {
        uint32_t room = len > BLOCK ? len : BLOCK;
        if (room > MB__PART_BYTES - p->arena_bytes)
            return NULL;
        b = malloc(sizeof *b + room);
        if (b == NULL)
            return NULL;
        *b = (struct mb__block){.next = p->arena, .room = room};
        p->arena = b;
        p->arena_bytes += room;
    }
    uint8_t *at = b->bytes + b->used;
    b->used += len;
    return at;
}

struct mb_view mb__part_copy(struct mb__part *p, struct mb_view view)
{
    uint8_t *at = view.len > 0 ? mb__part_room(p, view.len) : NULL;
    if (at == NULL)
        return (struct mb_view){NULL, 0};
    memcpy(at, view.data, view.len);
    return (struct mb_view){at, view.len};
}

static struct mb_view transformed(struct mb__part *p, const struct mb__buffer *b, struct mb_view view)
{
    for (unsigned i = 0; i < b->transforms; i++) {
        uint8_t *out = mb__part_room(p, mb__transform_room(view.len));
        if (out == NULL)
            return (struct mb_view){NULL, 0};
        view = (struct mb_view){out, mb__transform(b->transform[i], view.data, view.len, out)};
    }
    return view;
}

static struct mb__value *new_value(struct mb__part *p)
{
    if (p->values == p->value_room) {
        uint32_t room = p->value_room == 0 ? 16 : 2 * p->value_room;
        struct mb__value *grown = room > MB__MAX_VALUES ? NULL : realloc(p->value, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        p->value = grown;
        p->value_room = room;
    }
    return &p->value[p->values++];
}

void mb__part_put(struct mb__part *p, const struct mb_rules *r, int base, struct mb_view view)
{
    if (!r->uses[base])
        return;
    for (uint32_t i = 0; i < r->buffers; i++) {
        if (r->buffer[i].base != base)
            continue;
        struct mb__value *v = new_value(p);
        if (v != NULL)
            *v = (struct mb__value){(uint16_t)i, false, transformed(p, &r->buffer[i], view)};
    }
}

void mb__part_body(struct mb__part *p, const uint8_t *bytes, uint64_t len, uint32_t limit)
{
    struct mb__body *b = &p->body;
    if (len > limit - b->len) {
        len = limit - b->len;
        b->complete = true;
    }
    if (len == 0)
        return;
    if (b->room - b->len < len) {
        uint32_t room = b->room == 0 ? 4096 : 2 * b->room;
        while (room < b->len + len)
            room *= 2;
        uint8_t *grown = realloc(b->bytes, room);
        if (grown == NULL)
            return;
        b->bytes = grown;
        b->room = room;
    }
    memcpy(b->bytes + b->len, bytes, len);
    b->len += (uint32_t)len;
    p->fresh = true;
}

void mb__part_over(struct mb__part *p)
{
    free(p->value);
    free(p->found.list);
    free(p->decided);
    free(p->body.bytes);
    p->value = NULL;
    p->values = p->value_room = 0;
    p->found = (struct mb__candidates){0};
    p->decided = NULL;
    p->body = (struct mb__body){.complete = true};
    p->over = true;
}

/* ---- transactions --------------------------------------------------------- */

static void drop_first(struct mb__state *s)
{
    struct mb__tx *tx = s->first;
    s->first = tx->next;
    if (s->first == NULL)
        s->last = NULL;
    s->txs--;
    tx_free(tx);
}

struct mb__tx *mb__tx_new(struct mb__state *s, int app)
{
    if (s->txs == MB__MAX_TX)
        drop_first(s);
    struct mb__tx *tx = calloc(1, sizeof *tx);
    if (tx == NULL)
        return NULL;
    tx->app = (uint8_t)app;
    tx->number = s->next_tx++;
    if (s->last != NULL)
        s->last->next = tx;
    else
        s->first = tx;
    s->last = tx;
    s->txs++;
    return tx;
}

struct mb__tx *mb__tx_find(struct mb__state *s, uint32_t number)
{
    for (struct mb__tx *tx = s->first; tx != NULL; tx = tx->next)
        if (tx->number == number)
            return tx;
    return NULL;
}

void mb__tx_sweep(struct mb__state *s)
{
    while (s->first != NULL && s->first->part[0].over && s->first->part[1].over)
        drop_first(s);
}

/* ---- candidates and bits -------------------------------------------------- */

void mb__candidates_add(struct mb__candidates *c, uint32_t rule, uint64_t offset)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->list[i].rule == rule) {
            c->list[i].offset = offset;
            return;
        }
    if (c->count == c->room) {
        uint32_t room = c->room == 0 ? 8 : 2 * c->room;
        struct mb__candidate *grown = room > MB__MAX_CANDIDATES ? NULL : realloc(c->list, room * sizeof *grown);
        if (grown == NULL)
            return;
        c->list = grown;
        c->room = room;
    }
    c->list[c->count++] = (struct mb__candidate){rule, 0, offset};
}

bool mb__bit_test(const struct mb__state *s, uint32_t bit)
{
    return s != NULL && bit / 8 < s->bit_bytes && s->bits[bit / 8] >> bit % 8 & 1;
}

void mb__bit_set(struct mb__state *s, uint32_t bit, bool on)
{
    if (bit / 8 >= s->bit_bytes) {
        if (!on)
            return;
        uint32_t bytes = bit / 8 + 1 < 32 ? 32 : (bit / 8 + 1) * 2;
        uint8_t *grown = realloc(s->bits, bytes);
        if (grown == NULL)
            return;
        memset(grown + s->bit_bytes, 0, bytes - s->bit_bytes);
        s->bits = grown;
        s->bit_bytes = bytes;
    }
    if (on)
        s->bits[bit / 8] |= (uint8_t)(1 << bit % 8);
    else
        s->bits[bit / 8] &= (uint8_t)~(1 << bit % 8);
}
