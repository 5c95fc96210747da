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

#include "detect/detect.h"

enum answer { NO, LATER, YES };

/* ---- the work list --------------------------------------------------------- */

static void add_work(struct mb_detect *d, uint32_t rule, struct mb__tx *tx)
{
    if (d->work_count == d->work_room) {
        uint32_t room = d->work_room == 0 ? 256 : 2 * d->work_room;
        struct mb__work *grown = realloc(d->work, room * sizeof *grown);
        if (grown == NULL)
            return;
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
    add_work(d, rule, NULL);
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

struct hit {
    struct mb_detect *d;
    const struct mb__bank *bank;
    struct mb__candidates *into; /* NULL: straight to the work list */
    const uint8_t *decided;      /* bits of rules that are settled; NULL: none are */
    uint64_t offset;
};

static bool settled(const uint8_t *bits, uint32_t rule)
{
    return bits != NULL && bits[rule / 8] >> rule % 8 & 1;
}

static int on_hit(unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *context)
{
    (void)from;
    (void)to;
    (void)flags;
    struct hit *hit = context;
    for (uint32_t i = hit->bank->first[id]; i < hit->bank->first[id + 1]; i++) {
        uint32_t rule = hit->bank->ids[i];
        if (hit->into == NULL)
            add_once(hit->d, rule);
        else if (!settled(hit->decided, rule))
            mb__candidates_add(hit->into, rule, hit->offset);
    }
    return 0;
}

static void scan(struct hit *hit, uint32_t kind, int side, const uint8_t *data, uint32_t len)
{
    hit->bank = &hit->d->rules->bank[kind][side];
    if (hit->bank->db != NULL && len > 0)
        hs_scan(hit->bank->db, (const char *)data, len, 0, hit->d->scratch, on_hit, hit);
}

static void scan_payload(struct mb_detect *d, const struct mb__look *look)
{
    struct hit hit = {.d = d};
    const struct mb__bytes *p = &look->payload;
    if (look->ip_proto == 6) {
        scan(&hit, MB__BANK_TCP, look->side, p->data, p->len);
        if (!look->streamed)
            scan(&hit, MB__BANK_TCP_LOOSE, look->side, p->data, p->len);
    } else {
        scan(&hit, look->ip_proto == 17 ? MB__BANK_UDP : MB__BANK_OTHER, look->side, p->data, p->len);
    }
}

/* The new bytes of the stream, with as many before them as a pattern may begin in. */
static void scan_stream(struct mb_detect *d, const struct mb__look *look, uint32_t fresh)
{
    const struct mb__bank *bank = &d->rules->bank[MB__BANK_STREAM][look->side];
    const struct mb__bytes *s = &look->stream;
    uint32_t old = s->len - fresh, overlap = bank->longest > 0 ? bank->longest - 1 : 0;
    uint32_t from = old > overlap ? old - overlap : 0;
    struct hit hit = {.d = d};
    scan(&hit, MB__BANK_STREAM, look->side, s->data + from, s->len - from);
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
    if ((n & (n - 1)) == 0) { /* room for the next power of two */
        struct mb__alerted *grown = realloc(side->alerted, (n == 0 ? 1 : 2 * (size_t)n) * sizeof *grown);
        if (grown == NULL)
            return;
        side->alerted = grown;
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

static enum answer try_stream_rule(struct mb_detect *d, struct mb__look *look, const struct mb__rule *rule,
                                   uint32_t number, bool *in_stream)
{
    unsigned flags = rule->head->flags;
    bool tcp = look->ip_proto == 6, missing = false;
    if (tcp && !(flags & MB_RULE_ONLY_PACKET) && look->stream.len > 0) {
        struct mb__bytes bytes = unspent(look, number);
        if (bytes.len > 0 && all_match(d, look, rule, &bytes)) {
            spend(look, number);
            *in_stream = true;
            return YES;
        }
        missing = !rule->single;
    }
    bool packet = !(flags & MB_RULE_ONLY_STREAM) && look->payload.len > 0 &&
                  (!tcp || !look->streamed || flags & (MB_RULE_NEEDS_PACKET | MB_RULE_ONLY_PACKET));
    if (packet && all_match(d, look, rule, &look->payload))
        return YES;
    return missing ? LATER : NO;
}

/* ---- transactions ---------------------------------------------------------- */

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
            if (grown == NULL)
                return (struct mb__bytes){0};
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

static enum answer inspect_body(struct mb_detect *d, const struct mb__part *part, const struct mb__rule *rule,
                                const struct mb_rule_inspect *in)
{
    bool whole = part->body.complete && part->body.visible == part->body.len;
    struct mb__bytes bytes = body_bytes(d, part, &d->rules->buffer[in->buffer]);
    if (bytes.len == 0)
        return whole || part->complete ? NO : LATER;
    if ((whole || early(rule, in)) && mb__match(&d->matcher, rule, in, &bytes))
        return YES;
    return whole ? NO : LATER;
}

static enum answer inspect_values(struct mb_detect *d, const struct mb__part *part, const struct mb__rule *rule,
                                  const struct mb_rule_inspect *in)
{
    bool there = false;
    for (uint32_t i = 0; i < part->values; i++) {
        if (part->value[i].buffer != in->buffer)
            continue;
        there = true;
        struct mb__bytes bytes = {.data = part->value[i].view.data, .len = part->value[i].view.len};
        if (mb__match(&d->matcher, rule, in, &bytes))
            return YES;
    }
    return there || part->complete ? NO : LATER;
}

/* One inspection of a rule on a transaction. */
static enum answer inspect_one(struct mb_detect *d, struct mb__look *look, const struct mb__part *part,
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
        return d->matcher.has_base64 && mb__match(&d->matcher, rule, in, &bytes) ? YES : LATER;
    }
    if (base != MB_BUF_PAYLOAD) {
        bytes = mb__header_bytes(look->packet, base);
        return bytes.data != NULL && mb__match(&d->matcher, rule, in, &bytes) ? YES : NO;
    }
    if (look->stream.len > 0 && mb__match(&d->matcher, rule, in, &look->stream)) {
        *in_stream = true;
        return YES;
    }
    if (look->payload.len > 0 && !look->streamed && mb__match(&d->matcher, rule, in, &look->payload))
        return YES;
    return LATER;
}

static enum answer try_tx_rule(struct mb_detect *d, struct mb__look *look, struct mb__part *part,
                               const struct mb__rule *rule, struct mb__candidate *c, bool *in_stream)
{
    enum answer all = YES;
    mb__matcher_reset(&d->matcher);
    for (unsigned i = 0; i < rule->head->inspections; i++) {
        if (c->done >> i & 1)
            continue;
        enum answer one = inspect_one(d, look, part, rule, &rule->inspect[i], in_stream);
        if (one == YES && rule->remembers)
            c->done |= 1u << i;
        if (one == NO)
            return NO;
        if (one == LATER)
            all = LATER;
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
        part->decided = calloc(d->rules->count / 8 + 1, 1);
    if (part->decided != NULL)
        part->decided[c->rule / 8] |= (uint8_t)(1 << c->rule % 8);
    *c = part->found.list[--part->found.count];
}

/* Looks for fast patterns in the part's new buffers and body. */
static void scan_part(struct mb_detect *d, const struct mb__look *look, struct mb__tx *tx, struct mb__part *part)
{
    const struct mb_rules *r = d->rules;
    struct hit hit = {.d = d, .into = &part->found, .decided = part->decided};
    for (uint32_t i = 0; i < part->values; i++) {
        struct mb__value *v = &part->value[i];
        if (!v->scanned)
            scan(&hit, MB__BANK_BUFFERS + v->buffer, look->side, v->view.data, v->view.len);
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
        scan(&hit, MB__BANK_BUFFERS + i, look->side, bytes.data + from, bytes.len - from);
    }
    part->body.scanned = part->body.visible;
    if (!part->started)
        for (uint32_t i = 0; i < r->tx[tx->app].count; i++)
            mb__candidates_add(&part->found, r->tx[tx->app].id[i], 0);
    part->started = true;
}

/* Puts the candidates of all parts that the look's side sent on the work list. */
static void collect_transactions(struct mb_detect *d, struct mb__look *look)
{
    for (struct mb__tx *tx = look->state->first; tx != NULL; tx = tx->next) {
        struct mb__part *part = &tx->part[look->side];
        if (!part->present || part->over || !part->visible || (!part->fresh && look->stream.len == 0))
            continue;
        scan_part(d, look, tx, part);
        for (uint32_t i = 0; i < part->found.count; i++)
            add_work(d, part->found.list[i].rule, tx);
    }
}

static void settle_transactions(const struct mb__look *look)
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

/* ---- one rule of the work list --------------------------------------------- */

static enum answer try_packet_rule(struct mb_detect *d, struct mb__look *look, const struct mb__rule *rule)
{
    if (rule->head->inspections == 0)
        return YES;
    return all_match(d, look, rule, &look->payload) ? YES : NO;
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
    enum answer answer;
    if (w->tx != NULL) {
        struct mb__part *part = &w->tx->part[look->side];
        struct mb__candidate *c = candidate_of(part, w->rule);
        if (c == NULL)
            return;
        answer = try_tx_rule(d, look, part, rule, c, &in_stream);
        if (answer != LATER)
            decide(d, part, c);
    } else if (rule->head->kind == MB_RULE_STREAM) {
        answer = try_stream_rule(d, look, rule, w->rule, &in_stream);
        if (answer == LATER && look->state != NULL)
            keep_candidate(look, w->rule);
    } else {
        answer = try_packet_rule(d, look, rule);
    }
    if (answer == YES)
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
        collect_transactions(d, look);
    if (d->unsorted)
        qsort(d->work, d->work_count, sizeof *d->work, by_rule);
    for (uint32_t i = 0; i < d->work_count; i++)
        try_work(d, look, &d->work[i]);
    if (s != NULL)
        settle_transactions(look);
}
