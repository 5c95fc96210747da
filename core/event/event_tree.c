/* SPDX-License-Identifier: BSD-3-Clause */
/* event_tree -- definitions of events, each once */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "event/registry.h"

#define FIRST_DEFS 64

int mb__tree_init(struct mb__events *es)
{
    es->def_room = es->def_buckets = FIRST_DEFS;
    es->defs = calloc(es->def_room, sizeof *es->defs);
    es->def_bucket = malloc(es->def_buckets * sizeof *es->def_bucket);
    if (es->defs == NULL || es->def_bucket == NULL)
        return MB_ENOMEM;
    memset(es->def_bucket, 0xff, es->def_buckets * sizeof *es->def_bucket);
    for (uint32_t i = 0; i < MB_EV_BUILTIN; i++)
        es->defs[i] = (struct mb__def){.parent = MB__NO_DEF, .base = i, .next = MB__NO_DEF};
    es->def_count = MB_EV_BUILTIN;
    return 0;
}

void mb__tree_fini(struct mb__events *es)
{
    for (uint32_t i = 0; i < es->def_count; i++) {
        if (es->defs[i].free != NULL)
            es->defs[i].free(es->defs[i].arg);
        free(es->defs[i].key);
    }
    free(es->defs);
    free(es->def_bucket);
}

static void hang_in(struct mb__events *es, uint32_t number)
{
    uint32_t *bucket = &es->def_bucket[es->defs[number].hash & (es->def_buckets - 1)];
    es->defs[number].next = *bucket;
    *bucket = number;
}

static int make_room(struct mb__events *es)
{
    if (es->def_count < es->def_room)
        return 0;
    if (es->def_count >= MB__MAX_EVENTS)
        return MB_ELIMIT;
    uint32_t room = es->def_room * 2;
    uint32_t *bucket = malloc(room * sizeof *bucket);
    struct mb__def *defs = bucket != NULL ? realloc(es->defs, room * sizeof *defs) : NULL;
    if (defs == NULL) {
        free(bucket);
        return MB_ENOMEM;
    }
    free(es->def_bucket);
    es->defs = defs;
    es->def_room = es->def_buckets = room;
    es->def_bucket = memset(bucket, 0xff, room * sizeof *bucket);
    for (uint32_t i = MB_EV_BUILTIN; i < es->def_count; i++)
        if (es->defs[i].filter != NULL)
            hang_in(es, i);
    return 0;
}

/* Adds |def| below its parent; takes |def.key| over if it succeeds. Id or < 0. */
static int add(struct mb__events *es, struct mb__def def)
{
    const struct mb__def *parent = &es->defs[def.parent];
    def.base = parent->base;
    def.depth = parent->depth + 1;
    def.next = MB__NO_DEF;
    if (def.depth > MB__MAX_EVENT_DEPTH)
        return MB_ELIMIT;
    int err = make_room(es);
    if (err < 0)
        return err;
    uint32_t number = es->def_count++;
    es->defs[number] = def;
    if (def.filter != NULL)
        hang_in(es, number);
    return (int)mb__def_event(number);
}

static bool equal(const struct mb__def *a, const struct mb__def *b, const void *b_key)
{
    if (a->hash != b->hash || a->parent != b->parent || a->filter != b->filter || a->key_len != b->key_len)
        return false;
    return a->key_len == 0 ? a->arg == b->arg : memcmp(a->key, b_key, a->key_len) == 0;
}

/* The event equal to |def|, whose key is |key|; MB__NO_DEF if there is none. */
static uint32_t find(const struct mb__events *es, const struct mb__def *def, const void *key)
{
    uint32_t i = es->def_bucket[def->hash & (es->def_buckets - 1)];
    while (i != MB__NO_DEF && !equal(&es->defs[i], def, key))
        i = es->defs[i].next;
    return i;
}

static uint64_t def_hash(const struct mb__def *def, const void *key)
{
    static const struct mb__hash_key fixed = {{1, 2, 3, 4}};
    uint64_t hash = mb__fold((uintptr_t)def->filter ^ 0x9e3779b97f4a7c15u, def->parent ^ 0xd6e8feb86659fd93u);
    if (def->key_len != 0)
        return hash ^ mb__hash_bytes(&fixed, key, def->key_len);
    return mb__fold(hash, (uintptr_t)def->arg ^ 0xa0761d6478bd642fu);
}

/* Defines the event unless there is an equal one. |arg_is_key|: the copy of
 * the key is the argument. */
static int define(struct mb__events *es, struct mb__def def, const void *key, bool arg_is_key)
{
    def.hash = def_hash(&def, key);
    uint32_t known = find(es, &def, key);
    if (known != MB__NO_DEF) {
        if (def.free != NULL)
            def.free(def.arg);
        return (int)mb__def_event(known);
    }
    if (def.key_len != 0) {
        def.key = malloc(def.key_len);
        if (def.key == NULL)
            return MB_ENOMEM;
        memcpy(def.key, key, def.key_len);
        if (arg_is_key)
            def.arg = def.key;
    }
    int id = add(es, def);
    if (id < 0)
        free(def.key);
    return id;
}

int mb__event_define(struct mb__events *es, uint32_t parent, mb_filter filter, const void *arg,
                     size_t arg_len)
{
    uint32_t number = mb__def_number(es, parent);
    if (number == MB__NO_DEF || filter == NULL || (arg == NULL && arg_len != 0))
        return MB_EINVAL;
    struct mb__def def = {.parent = number, .filter = filter, .key_len = arg_len};
    def.arg = (void *)(uintptr_t)arg;
    return define(es, def, arg, arg_len != 0);
}

int mb__event_define_owned(struct mb__events *es, uint32_t parent, mb_filter filter, void *arg,
                           mb_free_fn free_arg, const char *key)
{
    uint32_t number = mb__def_number(es, parent);
    struct mb__def def = {.parent = number, .filter = filter, .arg = arg, .free = free_arg};
    int id = MB_EINVAL;
    def.key_len = strlen(key) + 1;
    if (number != MB__NO_DEF && filter != NULL)
        id = define(es, def, key, false);
    if (id < 0)
        free_arg(arg);
    return id;
}

int mb__event_base(const struct mb__events *es, uint32_t event)
{
    uint32_t number = mb__def_number(es, event);
    return number == MB__NO_DEF ? MB_EINVAL : (int)es->defs[number].base;
}

int mb__event_alloc(struct mb__events *es, uint32_t parent)
{
    uint32_t number = mb__def_number(es, parent);
    return number == MB__NO_DEF ? MB_EINVAL : add(es, (struct mb__def){.parent = number});
}
