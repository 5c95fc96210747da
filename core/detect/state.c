/* SPDX-License-Identifier: BSD-3-Clause */
/* state -- keeping and letting go of what detection remembers of a flow */
#include "detect/state.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 2048

/* A text that knows what it takes. */
struct text {
    size_t size;
    char text[];
};

struct mb__state *mb__state_new(struct mb__memory *memory)
{
    struct mb__state *s = calloc(1, sizeof *s);
    if (s == NULL) {
        memory->refused++;
        return NULL;
    }
    s->memory = memory;
    for (int side = 0; side < 2; side++)
        s->side[side].found.memory = memory;
    return s;
}

static void arena_free(struct mb__memory *m, struct mb__block *b)
{
    while (b != NULL) {
        struct mb__block *next = b->next;
        mb__memory_free(m, b, sizeof *b + b->room);
        b = next;
    }
}

static void candidates_free(struct mb__candidates *c)
{
    mb__memory_free(c->memory, c->list, c->room * sizeof *c->list);
    *c = (struct mb__candidates){.memory = c->memory};
}

static void tx_free(struct mb__tx *tx)
{
    for (int side = 0; side < 2; side++) {
        mb__part_over(&tx->part[side]);
        arena_free(tx->part[side].memory, tx->part[side].arena);
    }
    mb__memory_free(tx->part[0].memory, tx, sizeof *tx);
}

/* ---- before a gap --------------------------------------------------------- */

bool mb__hold_back(struct mb__state *s, int side, const struct mb__bytes *bytes, uint64_t gap)
{
    struct mb__held *held = mb__memory_alloc(s->memory, sizeof *held + bytes->len);
    if (held == NULL)
        return false;
    *held = (struct mb__held){.bytes = *bytes, .inspected = s->side[side].inspected, .gap = gap, .room = bytes->len};
    memcpy(held->data, bytes->data, bytes->len);
    held->bytes.data = held->data;
    s->side[side].held = held;
    return true;
}

void mb__held_free(struct mb__state *s, int side)
{
    struct mb__held *held = s->side[side].held;
    if (held != NULL)
        mb__memory_free(s->memory, held, sizeof *held + held->room);
    s->side[side].held = NULL;
}

/* ---- sessions ------------------------------------------------------------- */

struct mb__session *mb__session_of(struct mb__state *s)
{
    if (s->session == NULL)
        s->session = mb__memory_zeroed(s->memory, sizeof *s->session);
    return s->session;
}

void mb__text_keep(struct mb__state *s, char **where, struct mb_view v)
{
    size_t size = sizeof(struct text) + v.len + 1;
    struct text *copy = *where != NULL || v.len == 0 ? NULL : mb__memory_alloc(s->memory, size);
    if (copy == NULL)
        return;
    copy->size = size;
    memcpy(copy->text, v.data, v.len);
    copy->text[v.len] = '\0';
    *where = copy->text;
}

static void text_free(struct mb__memory *m, char *text)
{
    if (text == NULL)
        return;
    struct text *t = (struct text *)(void *)(text - offsetof(struct text, text));
    mb__memory_free(m, t, t->size);
}

static void session_free(struct mb__memory *m, struct mb__session *s)
{
    if (s == NULL)
        return;
    text_free(m, s->sni);
    text_free(m, s->subject);
    text_free(m, s->issuer);
    text_free(m, s->serial);
    text_free(m, s->fingerprint);
    for (int side = 0; side < 2; side++) {
        text_free(m, s->ssh_proto[side]);
        text_free(m, s->ssh_software[side]);
        text_free(m, s->hassh[side]);
    }
    mb__memory_free(m, s, sizeof *s);
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
        candidates_free(&s->side[side].found);
        mb__held_free(s, side);
        mb__memory_free(s->memory, s->side[side].alerted, s->side[side].alerted_room * sizeof(struct mb__alerted));
    }
    session_free(s->memory, s->session);
    mb__memory_free(s->memory, s->bits, s->bit_bytes);
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
        b = mb__memory_alloc(p->memory, sizeof *b + room);
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
        struct mb__value *grown = room > MB__MAX_VALUES
                                      ? NULL
                                      : mb__memory_grow(p->memory, p->value, p->values * sizeof *grown,
                                                        room * sizeof *grown);
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
        uint8_t *grown = mb__memory_grow(p->memory, b->bytes, b->room, room);
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
    mb__memory_free(p->memory, p->value, p->value_room * sizeof *p->value);
    candidates_free(&p->found);
    mb__memory_free(p->memory, p->decided, p->decided_bytes);
    mb__memory_free(p->memory, p->body.bytes, p->body.room);
    p->value = NULL;
    p->values = p->value_room = 0;
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
    struct mb__tx *tx = mb__memory_zeroed(s->memory, sizeof *tx);
    if (tx == NULL)
        return NULL;
    for (int side = 0; side < 2; side++)
        tx->part[side].memory = tx->part[side].found.memory = s->memory;
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
        struct mb__candidate *grown = room > MB__MAX_CANDIDATES
                                          ? NULL
                                          : mb__memory_grow(c->memory, c->list, c->count * sizeof *grown,
                                                            room * sizeof *grown);
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
        uint8_t *grown = mb__memory_grow(s->memory, s->bits, s->bit_bytes, bytes);
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
