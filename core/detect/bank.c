/* SPDX-License-Identifier: BSD-3-Clause */
/* bank -- Hyperscan databases of fast patterns, and the rules each pattern finds
 *
 * Equal patterns of several rules are one pattern of the database. All rules
 * are distributed once, into banks if they have a fast pattern and into lists
 * if not; the order inside a pattern's rules and a list is the rules' own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detect/rules.h"

#define NARROW 24 /* sets of wider parts are not indexed */

/* A fast pattern on its way into a bank. */
struct entry {
    const uint8_t *bytes;
    uint32_t len;
    uint32_t rule;
    bool nocase;
};

struct entries {
    struct entry *entry;
    uint32_t count;
    uint32_t room;
};

int mb__ids_add(struct mb__ids *ids, uint32_t id)
{
    if (ids->count == ids->room) {
        uint32_t room = ids->room == 0 ? 8 : 2 * ids->room;
        uint32_t *grown = realloc(ids->id, room * sizeof *grown);
        if (grown == NULL)
            return MB_ENOMEM;
        ids->id = grown;
        ids->room = room;
    }
    ids->id[ids->count++] = id;
    return 0;
}

static int entries_add(struct entries *e, const struct mb__rule *rule, uint32_t number)
{
    if (e->count == e->room) {
        uint32_t room = e->room == 0 ? 8 : 2 * e->room;
        struct entry *grown = realloc(e->entry, room * sizeof *grown);
        if (grown == NULL)
            return MB_ENOMEM;
        e->entry = grown;
        e->room = room;
    }
    const struct mb_rule_op *op = &rule->op[rule->fast];
    uint32_t len = op->y > 0 ? op->y : op->len;
    e->entry[e->count++] = (struct entry){mb__op_data(rule, op) + op->x, len, number, op->flags & MB_OPF_NOCASE};
    return 0;
}

/* ---- which bank or list --------------------------------------------------- */

struct sorter {
    struct mb_rules *r;
    struct entries (*bank)[2];
    struct mb__ip_range *range[2]; /* of IPONLY rules, by source and by destination */
    uint32_t ranges[2];
    uint32_t range_room[2];
};

static int put(struct sorter *s, uint32_t number, uint32_t kind, unsigned flags)
{
    const struct mb__rule *rule = &s->r->rule[number];
    int err = 0;
    if (flags & MB_RULE_TO_SERVER)
        err = entries_add(&s->bank[kind][MB_CLIENT], rule, number);
    if (err >= 0 && flags & MB_RULE_TO_CLIENT)
        err = entries_add(&s->bank[kind][MB_SERVER], rule, number);
    return err;
}

static bool speaks(const struct mb__rule *rule, int ip_proto)
{
    return rule->head->ip_proto == 255 || rule->head->ip_proto == ip_proto;
}

/* A rule whose fast pattern is in the payload. */
static int put_payload(struct sorter *s, uint32_t number)
{
    const struct mb__rule *rule = &s->r->rule[number];
    unsigned flags = rule->head->flags;
    bool stream = rule->head->kind == MB_RULE_STREAM && !(flags & MB_RULE_ONLY_PACKET);
    bool packet = !(flags & MB_RULE_ONLY_STREAM);
    bool always = flags & (MB_RULE_NEEDS_PACKET | MB_RULE_ONLY_PACKET) || rule->head->kind != MB_RULE_STREAM;
    int err = 0;
    if (speaks(rule, 6) && stream) {
        s->r->uses_stream = true;
        err = put(s, number, MB__BANK_STREAM, flags);
    }
    if (err >= 0 && speaks(rule, 6) && packet)
        err = put(s, number, always ? MB__BANK_TCP : MB__BANK_TCP_LOOSE, flags);
    if (err >= 0 && speaks(rule, 17) && packet)
        err = put(s, number, MB__BANK_UDP, flags);
    if (err >= 0 && packet && rule->head->ip_proto != 6 && rule->head->ip_proto != 17)
        err = put(s, number, MB__BANK_OTHER, flags);
    return err;
}

/* A rule without a fast pattern that is tried on each packet. */
static int put_always(struct sorter *s, uint32_t number)
{
    const struct mb__rule *rule = &s->r->rule[number];
    int err = 0;
    if (rule->payload && rule->head->kind == MB_RULE_STREAM)
        s->r->uses_stream = true;
    if (speaks(rule, 6))
        err = mb__ids_add(&s->r->tcp, number);
    if (err >= 0 && speaks(rule, 17))
        err = mb__ids_add(&s->r->udp, number);
    if (err >= 0 && rule->head->ip_proto != 6 && rule->head->ip_proto != 17)
        err = mb__ids_add(&s->r->other, number);
    return err;
}

/* How many addresses a pair covers, as a power of two rounded down. */
static int width(const struct mb_addr *low, const struct mb_addr *high)
{
    for (int i = 0; i < 16; i++)
        if (low->byte[i] != high->byte[i])
            return 8 * (15 - i) + 7;
    return 0;
}

/* Whether every part of the set is at most 2^NARROW addresses wide. */
static bool narrow(const struct mb_rules *r, uint32_t set)
{
    if (set == 0)
        return false;
    const struct mb_addr *pairs = r->addresses[set - 1].pairs;
    for (uint32_t i = 0; i < r->addresses[set - 1].count; i++)
        if (width(&pairs[2 * i], &pairs[2 * i + 1]) > NARROW)
            return false;
    return true;
}

static int add_ranges(struct sorter *s, int which, uint32_t set, uint32_t number)
{
    const struct mb__set *from = &s->r->addresses[set - 1];
    const struct mb_addr *pairs = from->pairs;
    uint32_t wanted = s->ranges[which] + from->count;
    if (wanted > s->range_room[which]) {
        struct mb__ip_range *grown = realloc(s->range[which], 2 * (size_t)wanted * sizeof *grown);
        if (grown == NULL)
            return MB_ENOMEM;
        s->range[which] = grown;
        s->range_room[which] = 2 * wanted;
    }
    for (uint32_t i = 0; i < from->count; i++)
        s->range[which][s->ranges[which]++] = (struct mb__ip_range){pairs[2 * i], pairs[2 * i + 1], number};
    return 0;
}

/* A rule about addresses alone: indexed by those it names, if they are few. */
static int put_addresses(struct sorter *s, uint32_t number)
{
    const struct mb_rule_head *h = s->r->rule[number].head;
    if (h->flags & MB_RULE_BOTH_WAYS)
        return mb__ids_add(&s->r->ip_only, number);
    if (narrow(s->r, h->src))
        return add_ranges(s, 0, h->src, number);
    if (narrow(s->r, h->dst))
        return add_ranges(s, 1, h->dst, number);
    return mb__ids_add(&s->r->ip_only, number);
}

static int distribute(struct sorter *s, uint32_t number)
{
    struct mb_rules *r = s->r;
    const struct mb__rule *rule = &r->rule[number];
    unsigned base = rule->fast == UINT16_MAX ? MB_BUF_COUNT : r->buffer[rule->inspect[rule->fast_inspect].buffer].base;
    bool in_buffer = base != MB_BUF_COUNT && base > MB_BUF_ICMPV6_HDR;
    r->uses_app |= rule->head->app != MB_APP_UNKNOWN || rule->head->kind == MB_RULE_PROTO;
    switch (rule->head->kind) {
    case MB_RULE_DECODE: return mb__ids_add(&r->decode, number);
    case MB_RULE_IPONLY: return put_addresses(s, number);
    case MB_RULE_PROTO: return mb__ids_add(&r->proto, number);
    case MB_RULE_TX:
        r->uses_stream |= rule->payload;
        if (in_buffer)
            return put(s, number, MB__BANK_BUFFERS + rule->inspect[rule->fast_inspect].buffer, rule->head->flags);
        return mb__ids_add(&r->tx[rule->head->app], number);
    default:
        return base == MB_BUF_PAYLOAD ? put_payload(s, number) : put_always(s, number);
    }
}

/* ---- databases ------------------------------------------------------------ */

static int by_pattern(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    if (x->nocase != y->nocase)
        return x->nocase - y->nocase;
    int order = memcmp(x->bytes, y->bytes, x->len);
    if (order != 0)
        return order;
    return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static bool same_pattern(const struct entry *x, const struct entry *y)
{
    return x->len == y->len && x->nocase == y->nocase && memcmp(x->bytes, y->bytes, x->len) == 0;
}

/* What hs_compile_multi() wants, column by column. Patterns are written as
 * \xHH, four characters a byte: the literal interface takes no NUL in front. */
struct columns {
    const char **pattern;
    unsigned *flags;
    unsigned *id;
    char *text; /* all patterns, NUL-terminated */
};

static void columns_free(struct columns *c)
{
    free(c->pattern);
    free(c->flags);
    free(c->id);
    free(c->text);
}

static int columns_new(struct columns *c, const struct entries *e)
{
    size_t n = e->count, text = 0;
    for (size_t i = 0; i < n; i++)
        text += 4 * (size_t)e->entry[i].len + 1;
    c->pattern = malloc(n * sizeof *c->pattern);
    c->flags = malloc(n * sizeof *c->flags);
    c->id = malloc(n * sizeof *c->id);
    c->text = malloc(text);
    return c->pattern != NULL && c->flags != NULL && c->id != NULL && c->text != NULL ? 0 : MB_ENOMEM;
}

/* Writes |entry|'s bytes at |at|; the place after them. */
static char *escape(const struct entry *entry, char *at)
{
    for (uint32_t i = 0; i < entry->len; i++) {
        *at++ = '\\';
        *at++ = 'x';
        *at++ = "0123456789abcdef"[entry->bytes[i] >> 4];
        *at++ = "0123456789abcdef"[entry->bytes[i] & 15];
    }
    *at++ = '\0';
    return at;
}

/* Fills the bank's lists of rules and |c| from sorted entries. */
static void collect(struct mb__bank *bank, struct columns *c, const struct entries *e)
{
    uint32_t n = 0;
    char *at = c->text;
    for (uint32_t i = 0; i < e->count; i++) {
        const struct entry *entry = &e->entry[i];
        bank->ids[i] = entry->rule;
        if (i > 0 && same_pattern(entry - 1, entry))
            continue;
        bank->first[n] = i;
        c->pattern[n] = at;
        at = escape(entry, at);
        c->id[n] = n;
        c->flags[n] = HS_FLAG_SINGLEMATCH | (entry->nocase ? HS_FLAG_CASELESS : 0);
        n++;
        if (entry->len > bank->longest)
            bank->longest = entry->len;
    }
    bank->first[n] = e->count;
    bank->patterns = n;
}

static int compile(struct mb__bank *bank, struct entries *e, char *err)
{
    if (e->count == 0)
        return 0;
    struct columns c = {0};
    int code = columns_new(&c, e);
    bank->first = malloc(((size_t)e->count + 1) * sizeof *bank->first);
    bank->ids = malloc((size_t)e->count * sizeof *bank->ids);
    if (code < 0 || bank->first == NULL || bank->ids == NULL) {
        code = MB_ENOMEM;
        goto done;
    }
    qsort(e->entry, e->count, sizeof *e->entry, by_pattern);
    collect(bank, &c, e);
    hs_compile_error_t *why = NULL;
    if (hs_compile_multi(c.pattern, c.flags, c.id, bank->patterns, HS_MODE_BLOCK, NULL, &bank->db, &why) !=
        HS_SUCCESS) {
        code = strstr(why->message, "allocate memory") != NULL ? MB_ENOMEM : MB_ESYNTAX; /* it has no code for it */
        if (err != NULL)
            snprintf(err, MB_ERRBUF_SIZE, "Hyperscan: %s", why->message);
        hs_free_compile_error(why);
    }
done:
    columns_free(&c);
    return code;
}

int mb__banks_build(struct mb_rules *r, char *err)
{
    r->banks = MB__BANK_BUFFERS + r->buffers;
    struct sorter s = {.r = r, .bank = calloc(r->banks, sizeof *s.bank)};
    r->bank = calloc(r->banks, sizeof *r->bank);
    int code = s.bank != NULL && r->bank != NULL ? 0 : MB_ENOMEM;
    for (uint32_t i = 0; i < r->count && code >= 0; i++)
        code = distribute(&s, i);
    for (uint32_t i = 0; i < r->banks && code >= 0; i++)
        for (int side = 0; side < 2 && code >= 0; side++)
            code = compile(&r->bank[i][side], &s.bank[i][side], err);
    if (code >= 0)
        code = mb__ip_index_build(&r->ip_src, s.range[0], s.ranges[0]);
    if (code >= 0)
        code = mb__ip_index_build(&r->ip_dst, s.range[1], s.ranges[1]);
    free(s.range[0]);
    free(s.range[1]);
    if ((code == MB_ENOMEM || code == MB_ELIMIT) && err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(code));
    for (uint32_t i = 0; i < r->banks && s.bank != NULL; i++) {
        free(s.bank[i][0].entry);
        free(s.bank[i][1].entry);
    }
    free(s.bank);
    return code < 0 ? code : 0;
}

static void bank_free(struct mb__bank *bank)
{
    hs_free_database(bank->db);
    free(bank->first);
    free(bank->ids);
}

void mb__banks_free(struct mb_rules *r)
{
    for (uint32_t i = 0; i < r->banks && r->bank != NULL; i++) {
        bank_free(&r->bank[i][0]);
        bank_free(&r->bank[i][1]);
    }
    free(r->bank);
    mb__ip_index_free(&r->ip_src);
    mb__ip_index_free(&r->ip_dst);
    struct mb__ids *lists[] = {&r->decode, &r->ip_only, &r->proto, &r->tcp, &r->udp, &r->other};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]->id);
    for (int app = 0; app <= MB_APP_SSH; app++)
        free(r->tx[app].id);
}
