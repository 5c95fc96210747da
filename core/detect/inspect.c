/* SPDX-License-Identifier: BSD-3-Clause */
/* inspect -- which rules are tried on a packet or at a flow's end, and on what
 *
 *   lists of rules without a fast pattern --+
 *   payload, stream --> bank --> hits ------+--> work list, sorted --> try each
 *   new buffers ------> bank --> hits       |
 *                        |                  |
 *                        +--> candidates of the transaction
 *
 * A rule that fails because something is still missing stays a candidate of
 * its transaction or stream and is tried again when more has come. Stream bytes
 * that a rule has alerted on are spent for that rule: they raise no second alert.
 */
#include <stdlib.h>
#include <string.h>

#include "detect/inspect.h"

/* ---- the work list --------------------------------------------------------- */

void mb__add_work(struct mb_detect *d, uint32_t rule, struct mb__tx *tx)
{
    if (d->work_count == d->work_room) {
        uint32_t room = d->work_room == 0 ? 256 : 2 * d->work_room;
        struct mb__work *grown = realloc(d->work, room * sizeof *grown);
        if (grown == NULL) {
            d->memory->refused++;
            return;
        }
        d->work = grown;
        d->work_room = room;
    }
    if (d->work_count > 0 && d->work[d->work_count - 1].rule > rule)
        d->unsorted = true;
    d->work[d->work_count++] = (struct mb__work){rule, tx};
}

/* Adds a rule without a transaction, once a round. */
static void add_once(struct mb_detect *d, uint32_t rule)
{
    if (d->mark[rule] == d->round)
        return;
    d->mark[rule] = d->round;
    mb__add_work(d, rule, NULL);
}

static void add_list(struct mb_detect *d, const struct mb__ids *ids)
{
    for (uint32_t i = 0; i < ids->count; i++)
        add_once(d, ids->id[i]);
}

static int by_rule(const void *a, const void *b)
{
    const struct mb__work *x = a, *y = b;
    if (x->rule != y->rule)
        return x->rule < y->rule ? -1 : 1;
    uint32_t nx = x->tx != NULL ? x->tx->number : 0, ny = y->tx != NULL ? y->tx->number : 0;
    return nx < ny ? -1 : nx > ny;
}

/* ---- looking for fast patterns --------------------------------------------- */

static bool settled(const uint8_t *bits, uint32_t rule)
{
    return bits != NULL && bits[rule / 8] >> rule % 8 & 1;
}

static int on_hit(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *context)
{
    (void)from;
    (void)to;
    (void)flags;
    struct mb__hit *hit = context;
    for (uint32_t i = hit->bank->first[id]; i < hit->bank->first[id + 1]; i++) {
        uint32_t rule = hit->bank->ids[i];
        if (hit->into == NULL)
            add_once(hit->d, rule);
        else if (!settled(hit->decided, rule))
            mb__candidates_add(hit->into, rule, hit->offset);
    }
    return 0;
}

void mb__scan(struct mb__hit *hit, uint32_t kind, int side, const uint8_t *data, uint32_t len)
{
    hit->bank = &hit->d->rules->bank[kind][side];
    if (hit->bank->db != NULL && len > 0)
        hs_scan(hit->bank->db, (const char *)data, len, 0, hit->d->scratch, on_hit, hit);
}

static void scan_payload(struct mb_detect *d, const struct mb__look *look)
{
    struct mb__hit hit = {.d = d};
    const struct mb__bytes *p = &look->payload;
    if (look->ip_proto == 6) {
        mb__scan(&hit, MB__BANK_TCP, look->side, p->data, p->len);
        if (!look->streamed)
            mb__scan(&hit, MB__BANK_TCP_LOOSE, look->side, p->data, p->len);
    } else {
        mb__scan(&hit, look->ip_proto == 17 ? MB__BANK_UDP : MB__BANK_OTHER, look->side, p->data, p->len);
    }
}

/* The new bytes of the stream, with as many before them as a pattern may begin in. */
static void scan_stream(struct mb_detect *d, const struct mb__look *look, uint32_t fresh)
{
    const struct mb__bank *bank = &d->rules->bank[MB__BANK_STREAM][look->side];
    const struct mb__bytes *s = &look->stream;
    uint32_t old = s->len - fresh, overlap = bank->longest > 0 ? bank->longest - 1 : 0;
    uint32_t from = old > overlap ? old - overlap : 0;
    struct mb__hit hit = {.d = d};
    mb__scan(&hit, MB__BANK_STREAM, look->side, s->data + from, s->len - from);
}

/* ---- streams --------------------------------------------------------------- */

static struct mb__state_side *side_of(const struct mb__look *look)
{
    return &look->state->side[look->side];
}

/* The stream bytes that |rule| has not spent. */
static struct mb__bytes unspent(const struct mb__look *look, uint32_t rule)
{
    struct mb__bytes b = look->stream;
    const struct mb__state_side *side = side_of(look);
    for (uint32_t i = 0; i < side->alerted_count; i++) {
        uint64_t end = side->alerted[i].end;
        if (side->alerted[i].rule != rule || end <= b.base)
            continue;
        uint32_t skip = end - b.base < b.len ? (uint32_t)(end - b.base) : b.len;
        b.data += skip;
        b.len -= skip;
        b.base += skip;
    }
    return b;
}

static void spend(const struct mb__look *look, uint32_t rule)
{
    struct mb__state_side *side = side_of(look);
    uint64_t end = look->stream.base + look->stream.len;
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < side->alerted_count; i++) {
        if (side->alerted[i].rule == rule) {
            side->alerted[i].end = end;
            return;
        }
        if (side->alerted[i].end < side->alerted[oldest].end)
            oldest = i;
    }
    if (side->alerted_count == MB__MAX_ALERTED) {
        side->alerted[oldest] = (struct mb__alerted){rule, end};
        return;
    }
    uint32_t n = side->alerted_count;
    if (n == side->alerted_room) {
        uint32_t room = n == 0 ? 1 : 2 * n;
        struct mb__alerted *grown = mb__memory_grow(look->state->memory, side->alerted, n * sizeof *grown,
                                                    room * sizeof *grown);
        if (grown == NULL)
            return;
        side->alerted = grown;
        side->alerted_room = room;
    }
    side->alerted[side->alerted_count++] = (struct mb__alerted){rule, end};
}

/* ---- trying a rule --------------------------------------------------------- */

/* All inspections of a rule over one payload and the packet's headers. */
static bool all_match(struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule,
                      const struct mb__bytes *payload)
{
    mb__matcher_reset(&d->matcher);
    for (unsigned i = 0; i < rule->head->inspections; i++) {
        const struct mb_rule_inspect *in = &rule->inspect[i];
        int base = d->rules->buffer[in->buffer].base;
        struct mb__bytes bytes = *payload;
        if (base == MB_BUF_BASE64) {
            if (!d->matcher.has_base64)
                return false;
            bytes = (struct mb__bytes){.data = d->matcher.base64, .len = d->matcher.base64_len};
        } else if (base != MB_BUF_PAYLOAD) {
            bytes = mb__header_bytes(look->packet, base);
        }
        if (bytes.data == NULL || !mb__match(&d->matcher, rule, in, &bytes))
            return false;
    }
    return true;
}

static enum mb__answer try_stream_rule(struct mb_detect *d, struct mb__look *look, const struct mb__rule *rule,
                                   uint32_t number, bool *in_stream)
{
    unsigned flags = rule->head->flags;
    bool tcp = look->ip_proto == 6, missing = false;
    if (tcp && !(flags & MB_RULE_ONLY_PACKET) && look->stream.len > 0) {
        struct mb__bytes bytes = unspent(look, number);
        if (bytes.len > 0 && all_match(d, look, rule, &bytes)) {
            spend(look, number);
            *in_stream = true;
            return MB__YES;
        }
        missing = !rule->single;
    }
    bool packet = !(flags & MB_RULE_ONLY_STREAM) && look->payload.len > 0 &&
                  (!tcp || !look->streamed || flags & (MB_RULE_NEEDS_PACKET | MB_RULE_ONLY_PACKET));
    if (packet && all_match(d, look, rule, &look->payload))
        return MB__YES;
    return missing ? MB__LATER : MB__NO;
}

/* ---- one rule of the work list --------------------------------------------- */

static enum mb__answer try_packet_rule(struct mb_detect *d, struct mb__look *look, const struct mb__rule *rule)
{
    if (rule->head->inspections == 0)
        return MB__YES;
    return all_match(d, look, rule, &look->payload) ? MB__YES : MB__NO;
}

static void keep_candidate(struct mb__look *look, uint32_t rule)
{
    mb__candidates_add(&side_of(look)->found, rule, look->stream.base + look->stream.len);
}

/* A rule about addresses and ports alone speaks of the whole flow. */
static bool header_only(const struct mb__rule *rule)
{
    return rule->head->kind == MB_RULE_PACKET && rule->before == 0 && rule->head->inspections == 0;
}

/* A match is noted; verdicts of streams, transactions and addresses are those
 * of the whole flow. */
static void note(struct mb_detect *d, const struct mb__look *look, uint32_t number, bool in_stream)
{
    const struct mb__rule *rule = &d->rules->rule[number];
    mb__consequences(d, look, rule);
    int kind = rule->head->kind;
    bool to_flow = in_stream || kind == MB_RULE_TX || kind == MB_RULE_IPONLY || kind == MB_RULE_PROTO ||
                   kind == MB_RULE_APP || header_only(rule);
    if (d->found_count == d->config.max_alerts) {
        d->stats.overflow++;
        return;
    }
    d->found[d->found_count++] = (struct mb__found){number, look->tx, in_stream, to_flow};
}

static void try_work(struct mb_detect *d, struct mb__look *look, const struct mb__work *w)
{
    const struct mb__rule *rule = &d->rules->rule[w->rule];
    bool in_stream = false;
    look->tx = w->tx;
    d->stats.candidates++;
    if (!mb__conditions(d, look, rule))
        return;
    enum mb__answer answer;
    if (w->tx != NULL) {
        answer = mb__try_transaction(d, look, w->tx, w->rule, &in_stream);
    } else if (rule->head->kind == MB_RULE_STREAM) {
        answer = try_stream_rule(d, look, rule, w->rule, &in_stream);
        if (answer == MB__LATER && look->state != NULL)
            keep_candidate(look, w->rule);
    } else {
        answer = try_packet_rule(d, look, rule);
    }
    if (answer == MB__YES)
        note(d, look, w->rule, in_stream);
}

/* Rules of the stream that were half matched are tried again, as long as what
 * they found may still be in the window. */
static void collect_half_matched(struct mb_detect *d, struct mb__look *look)
{
    struct mb__candidates *c = &side_of(look)->found;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->list[i].offset + d->config.window < look->stream.base + look->stream.len)
            continue;
        add_once(d, c->list[i].rule);
        c->list[kept++] = c->list[i];
    }
    c->count = kept;
}

static void add_indexed(struct mb_detect *d, const struct mb__ip_index *index, const struct mb_addr *a)
{
    const uint32_t *ids;
    uint32_t n = mb__ip_index_find(index, a, &ids);
    for (uint32_t i = 0; i < n; i++)
        add_once(d, ids[i]);
}

static void collect_by_flow(struct mb_detect *d, struct mb__look *look)
{
    struct mb__state *s = look->state;
    if (s == NULL ? look->ip_version != 0 : !s->ip_only_done[look->side]) {
        add_list(d, &d->rules->ip_only);
        add_indexed(d, &d->rules->ip_src, &look->src);
        add_indexed(d, &d->rules->ip_dst, &look->dst);
    }
    if (s == NULL)
        return;
    s->ip_only_done[look->side] = true;
    bool known = look->flow->app_proto != MB_APP_UNKNOWN;
    if (known && !s->proto_done[look->side])
        add_list(d, &d->rules->proto);
    s->proto_done[look->side] |= known;
}

void mb__inspect(struct mb_detect *d, struct mb__look *look)
{
    struct mb__state *s = look->state;
    uint32_t fresh = 0;
    d->round++;
    d->work_count = d->found_count = 0;
    d->unsorted = false;
    if (look->packet != NULL && look->ip_version != 0 && !(look->packet->flags & MB_PKT_FRAGMENT)) {
        collect_by_flow(d, look);
        const struct mb_rules *r = d->rules;
        add_list(d, look->ip_proto == 6 ? &r->tcp : look->ip_proto == 17 ? &r->udp : &r->other);
        scan_payload(d, look);
    }
    if (look->packet != NULL)
        add_list(d, &d->rules->decode);
    if (s != NULL && look->stream.len > 0) {
        struct mb__state_side *side = side_of(look);
        uint64_t end = look->stream.base + look->stream.len;
        fresh = end - side->inspected < look->stream.len ? (uint32_t)(end - side->inspected) : look->stream.len;
        scan_stream(d, look, fresh);
        collect_half_matched(d, look);
        if (look->packet == NULL)
            add_list(d, &d->rules->tcp);
        side->inspected = end;
    }
    if (s != NULL)
        mb__collect_transactions(d, look);
    if (d->unsorted)
        qsort(d->work, d->work_count, sizeof *d->work, by_rule);
    for (uint32_t i = 0; i < d->work_count; i++)
        try_work(d, look, &d->work[i]);
    if (s != NULL)
        mb__settle_transactions(look);
}
