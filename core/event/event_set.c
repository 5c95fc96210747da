/* SPDX-License-Identifier: BSD-3-Clause */
/* event_set -- hash-consing of sets, and the memory of steps between them */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "event/registry.h"

#define FIRST_BUCKETS 64

/* ---- sorted registrations ---- */

int mb__reg_order(const struct mb__reg *a, const struct mb__reg *b)
{
    if (a->event != b->event)
        return a->event < b->event ? -1 : 1;
    if (a->monitor != b->monitor)
        return a->monitor < b->monitor ? -1 : 1;
    return (a->hook > b->hook) - (a->hook < b->hook);
}

size_t mb__reg_find(const struct mb__reg *regs, size_t n, const struct mb__reg *reg)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (mb__reg_order(&regs[mid], reg) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Whether removal |op| takes |reg| out. */
static bool removes(const struct mb__events *es, const struct mb__reg *op, const struct mb__reg *reg)
{
    if (op->monitor != reg->monitor)
        return false;
    if (op->event == MB__ALL_EVENTS)
        return es->defs[mb__def_number(es, reg->event)].base != MB_EV_FLOW_END;
    return op->event == reg->event && (op->hook == reg->hook || (op->hook & reg->hook) != 0);
}

/* Puts |reg| among |n| sorted ones; their number then. */
static size_t insert(struct mb__reg *regs, size_t n, const struct mb__reg *reg)
{
    size_t at = mb__reg_find(regs, n, reg);
    if (at == n || mb__reg_order(&regs[at], reg) != 0) {
        memmove(regs + at + 1, regs + at, (n - at) * sizeof *regs);
        n++;
    }
    regs[at] = *reg;
    return n;
}

size_t mb__reg_apply(const struct mb__events *es, const struct mb__reg *regs, size_t n,
                     const struct mb__reg *op, struct mb__reg *out)
{
    size_t count = 0;
    if (op->cb == NULL) {
        for (size_t i = 0; i < n; i++)
            if (!removes(es, op, &regs[i]))
                out[count++] = regs[i];
        return count;
    }
    if (out != regs && n > 0)
        memcpy(out, regs, n * sizeof *out);
    if (op->hook == MB_HOOK_NONE)
        return insert(out, n, op);
    for (int hook = MB_HOOK_SND; hook <= MB_HOOK_RCV; hook <<= 1) {
        struct mb__reg reg = *op;
        reg.hook = (uint8_t)hook;
        if (op->hook & hook)
            n = insert(out, n, &reg);
    }
    return n;
}

static uint64_t reg_hash(uint64_t hash, const struct mb__reg *reg)
{
    uint64_t where = (uint64_t)reg->event << 16 | (uint64_t)reg->monitor << 8 | reg->hook;
    hash = mb__fold(hash ^ (uintptr_t)reg->cb, 0x9e3779b97f4a7c15u ^ where);
    return mb__fold(hash ^ 0xd6e8feb86659fd93u, (uintptr_t)reg->arg ^ 0xa0761d6478bd642fu);
}

static bool reg_equal(const struct mb__reg *a, const struct mb__reg *b)
{
    return mb__reg_order(a, b) == 0 && a->cb == b->cb && a->arg == b->arg;
}

/* ---- the table of sets ---- */

int mb__sets_init(struct mb__events *es)
{
    struct mb__sets *s = &es->sets;
    s->bucket = calloc(FIRST_BUCKETS, sizeof *s->bucket);
    s->memo = calloc(MB__MEMO_SLOTS, sizeof *s->memo);
    s->buckets = FIRST_BUCKETS;
    return s->bucket != NULL && s->memo != NULL ? 0 : MB_ENOMEM;
}

void mb__sets_fini(struct mb__events *es)
{
    struct mb__sets *s = &es->sets;
    for (uint32_t i = 0; s->bucket != NULL && i < s->buckets; i++) {
        for (struct mb__set *set = s->bucket[i], *next; set != NULL; set = next) {
            next = set->next;
            free(set);
        }
    }
    free(s->bucket);
    free(s->memo);
    free(s->regs);
    free(s->steps);
    free(s->index);
    free(s->needed);
    memset(s, 0, sizeof *s);
}

struct mb__reg *mb__set_room(struct mb__events *es, size_t n)
{
    struct mb__sets *s = &es->sets;
    if (n <= s->reg_room && s->regs != NULL)
        return s->regs;
    size_t room = n + n / 2 + 16;
    struct mb__reg *regs = realloc(s->regs, room * sizeof *regs);
    if (regs == NULL)
        return NULL;
    s->regs = regs;
    s->reg_room = room;
    return regs;
}

static struct mb__set **bucket_of(struct mb__sets *s, uint64_t hash)
{
    return &s->bucket[hash & (s->buckets - 1)];
}

/* Doubles the table; without memory it stays as it is, only slower. */
static void grow(struct mb__sets *s)
{
    struct mb__set **old = s->bucket;
    uint32_t buckets = s->buckets;
    struct mb__set **bucket = calloc((size_t)buckets * 2, sizeof *bucket);
    if (bucket == NULL)
        return;
    s->bucket = bucket;
    s->buckets = buckets * 2;
    for (uint32_t i = 0; i < buckets; i++) {
        for (struct mb__set *set = old[i], *next; set != NULL; set = next) {
            next = set->next;
            struct mb__set **to = bucket_of(s, set->hash);
            set->next = *to;
            *to = set;
        }
    }
    free(old);
}

static bool set_is(const struct mb__set *set, uint64_t hash, const struct mb__reg *regs, size_t n)
{
    if (set->hash != hash || set->reg_count != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!reg_equal(&set->regs[i], &regs[i]))
            return false;
    return true;
}

static void use(struct mb__sets *s, struct mb__set *set)
{
    if (set->uses++ == 0 && set->memos != 0)
        s->idle_bytes -= set->size;
}

/* Compiles |regs| and puts the result in one block; without a use yet. */
static struct mb__set *build(struct mb__events *es, const struct mb__reg *regs, size_t n)
{
    struct mb__sets *s = &es->sets;
    struct mb__set head = {0};
    if (mb__set_compile(es, regs, n, &head) < 0)
        return NULL;
    size_t reg_bytes = n * sizeof *regs, step_bytes = s->step_count * sizeof *s->steps;
    size_t index_bytes = s->index_count * sizeof *s->index;
    head.size = sizeof head + reg_bytes + step_bytes + index_bytes;
    struct mb__set *set = malloc(head.size);
    if (set == NULL)
        return NULL;
    *set = head;
    set->steps = (struct mb__step *)(set + 1);
    set->regs = (struct mb__reg *)(set->steps + s->step_count);
    set->index = (struct mb__step_index *)(set->regs + n);
    set->reg_count = (uint32_t)n;
    set->index_count = (uint32_t)s->index_count;
    if (n > 0) {
        memcpy(set->regs, regs, reg_bytes);
        memcpy(set->steps, s->steps, step_bytes);
    }
    if (s->index_count > 0)
        memcpy(set->index, s->index, index_bytes);
    return set;
}

struct mb__set *mb__set_get(struct mb__events *es, const struct mb__reg *regs, size_t n)
{
    struct mb__sets *s = &es->sets;
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++)
        hash = reg_hash(hash, &regs[i]);
    for (struct mb__set *set = *bucket_of(s, hash); set != NULL; set = set->next) {
        if (set_is(set, hash, regs, n)) {
            use(s, set);
            return set;
        }
    }
    struct mb__set *set = build(es, regs, n);
    if (set == NULL)
        return NULL;
    if (s->count >= s->buckets)
        grow(s);
    set->hash = hash;
    set->uses = 1;
    set->next = *bucket_of(s, hash);
    *bucket_of(s, hash) = set;
    s->count++;
    s->bytes += set->size;
    return set;
}

static void destroy(struct mb__sets *s, struct mb__set *set)
{
    struct mb__set **at = bucket_of(s, set->hash);
    while (*at != set)
        at = &(*at)->next;
    *at = set->next;
    s->count--;
    s->bytes -= set->size;
    free(set);
}

/* ---- the memory of steps ---- */

static void memo_clear(struct mb__sets *s, struct mb__memo *memo)
{
    struct mb__set *both[2] = {memo->from, memo->to};
    memo->from = memo->to = NULL;
    for (int i = 0; i < 2; i++) {
        struct mb__set *set = both[i];
        if (set == NULL || --set->memos != 0 || set->uses != 0)
            continue;
        s->idle_bytes -= set->size;
        destroy(s, set);
    }
}

void mb__set_put(struct mb__events *es, struct mb__set *set)
{
    struct mb__sets *s = &es->sets;
    if (--set->uses != 0)
        return;
    if (set->memos == 0) {
        destroy(s, set);
        return;
    }
    s->idle_bytes += set->size;
    if (s->idle_bytes <= MB__IDLE_BYTES)
        return;
    for (uint32_t i = 0; i < MB__MEMO_SLOTS; i++)
        memo_clear(s, &s->memo[i]);
}

static struct mb__memo *memo_slot(struct mb__sets *s, const struct mb__set *from, const struct mb__reg *op)
{
    uint64_t hash = reg_hash(from->hash, op);
    return &s->memo[(hash ^ hash >> 32) & (MB__MEMO_SLOTS - 1)];
}

/* Two slots are looked at, neighbours; the newer step is in the first. */
static struct mb__memo *memo_other(struct mb__sets *s, const struct mb__memo *slot)
{
    return &s->memo[(size_t)(slot - s->memo) ^ 1];
}

static bool memo_is(const struct mb__memo *memo, const struct mb__set *from, const struct mb__reg *op)
{
    return memo->from == from && reg_equal(&memo->op, op);
}

/* Both sets are in use by the caller, so that none of them goes away here. */
static void memo_put(struct mb__sets *s, struct mb__memo *slot, struct mb__memo memo)
{
    if (slot->from != NULL) {
        memo_clear(s, memo_other(s, slot));
        *memo_other(s, slot) = *slot;
    }
    *slot = memo;
    memo.from->memos++;
    memo.to->memos++;
}

struct mb__set *mb__set_step(struct mb__events *es, struct mb__set *set, const struct mb__reg *op)
{
    struct mb__sets *s = &es->sets;
    struct mb__memo *slot = memo_slot(s, set, op);
    const struct mb__memo *known = memo_is(slot, set, op) ? slot : memo_other(s, slot);
    if (memo_is(known, set, op)) {
        use(s, known->to);
        return known->to;
    }
    struct mb__reg *regs = mb__set_room(es, set->reg_count + 2);
    if (regs == NULL)
        return NULL;
    size_t n = mb__reg_apply(es, set->regs, set->reg_count, op, regs);
    struct mb__set *to = mb__set_get(es, regs, n);
    if (to != NULL)
        memo_put(s, slot, (struct mb__memo){set, to, *op});
    return to;
}
