/* SPDX-License-Identifier: BSD-3-Clause */
/* detect -- from the engine's packets and events to looks, verdicts and alerts */
#include "detect/detect.h"

#include "detect/message.h"
#include "flow/tcp.h"
#include "packet/packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TCP 6

/* ---- life ------------------------------------------------------------------ */

void mb_detect_config_init(struct mb_detect_config *c)
{
    *c = (struct mb_detect_config){.max_alerts = 15, .window = 4096, .body_limit = 100 * 1024};
}

static int parts_new(struct mb_detect *d)
{
    const struct mb_rules *r = d->rules;
    d->mark = calloc((size_t)r->count + 1, sizeof *d->mark);
    d->found = calloc((size_t)d->config.max_alerts + 1, sizeof *d->found);
    d->thresholds = mb__tracker_new(MB__TRACKERS, 0);
    d->bits = mb__tracker_new(MB__TRACKERS, 0);
    if (d->mark == NULL || d->found == NULL || d->thresholds == NULL || d->bits == NULL)
        return MB_ENOMEM;
    for (uint32_t i = 0; i < r->banks; i++)
        for (int side = 0; side < 2; side++)
            if (r->bank[i][side].db != NULL && hs_alloc_scratch(r->bank[i][side].db, &d->scratch) != HS_SUCCESS)
                return MB_ENOMEM;
    return mb__matcher_init(&d->matcher);
}

static void free_state(void *state)
{
    mb__state_free(state);
}

static int on_message(struct mb_event *ev, void *arg);
static int on_anomaly(struct mb_event *ev, void *arg);
static int on_gap(struct mb_event *ev, void *arg);
static int on_flow_end(struct mb_event *ev, void *arg);
static int on_nothing(struct mb_event *ev, void *arg);

static int listen(struct mb_detect *d)
{
    static const uint32_t messages[] = {MB_EV_HTTP_REQUEST, MB_EV_HTTP_RESPONSE, MB_EV_HTTP_BODY, MB_EV_HTTP_END,
                                        MB_EV_TLS_HELLO,    MB_EV_TLS_CERTIFICATE, MB_EV_DNS,     MB_EV_SSH};
    int err = mb_on(d->monitor, NULL, MB_EV_FLOW_END, MB_HOOK_NONE, on_flow_end, d);
    if (err >= 0)
        err = mb_on(d->monitor, NULL, MB_EV_ANOMALY, MB_HOOK_NONE, on_anomaly, d);
    if (err >= 0)
        err = mb_on(d->monitor, NULL, MB_EV_PROTOCOL, MB_HOOK_NONE, on_nothing, d);
    if (err >= 0 && d->rules->uses_stream)
        err = mb_on(d->monitor, NULL, MB_EV_DATA, MB_HOOK_NONE, on_nothing, d);
    if (err >= 0 && d->rules->uses_stream)
        err = mb_on(d->monitor, NULL, MB_EV_GAP, MB_HOOK_NONE, on_gap, d);
    for (size_t i = 0; i < sizeof messages / sizeof *messages && err >= 0; i++)
        err = mb_on(d->monitor, NULL, messages[i], MB_HOOK_NONE, on_message, d);
    if (err >= 0 && d->rules->uses_stream)
        err = mb_monitor_history(d->monitor, 2 * d->config.window);
    return err;
}

struct mb_detect *mb_detect_new(struct mb_engine *e, const struct mb_rules *r, const struct mb_detect_config *c,
                                char *err)
{
    struct mb_detect **slot = mb__engine_detect(e);
    if (!r->built || *slot != NULL) {
        if (err != NULL)
            snprintf(err, MB_ERRBUF_SIZE, "an engine takes one set of rules, built before");
        return NULL;
    }
    struct mb_detect *d = calloc(1, sizeof *d);
    if (d == NULL)
        goto no_memory;
    mb_detect_config_init(&d->config);
    if (c != NULL)
        d->config = *c;
    if (d->config.max_alerts == 0 || d->config.max_alerts > MB__MAX_ALERTS)
        d->config.max_alerts = MB__MAX_ALERTS;
    d->engine = e;
    d->memory = d->loose.memory = mb__engine_memory(e);
    d->rules = r;
    if (parts_new(d) < 0)
        goto no_memory;
    d->monitor = mb_monitor_new(e, "detect", err);
    if (d->monitor == NULL) {
        mb__detect_free(d);
        return NULL;
    }
    mb_monitor_user_free(d->monitor, free_state);
    if (listen(d) < 0)
        goto no_memory;
    *slot = d;
    return d;
no_memory:
    if (err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(MB_ENOMEM));
    mb__detect_free(d);
    return NULL;
}

size_t mb__detect_flow_bytes(const struct mb_detect *d)
{
    return d == NULL ? 0 : sizeof(struct mb__state) + 2 * sizeof(size_t);
}

bool mb__detect_inline(const struct mb_detect *d)
{
    return d->config.inline_mode;
}

void mb__detect_free(struct mb_detect *d)
{
    if (d == NULL)
        return;
    if (d->report_free != NULL)
        d->report_free(d->report_arg);
    hs_free_scratch(d->scratch);
    if (d->matcher.context != NULL)
        mb__matcher_fini(&d->matcher);
    mb__tracker_free(d->thresholds);
    mb__quiet_free(d->quiet);
    mb__tracker_free(d->bits);
    for (uint32_t i = 0; i < d->files; i++)
        free(d->file[i]);
    free(d->mark);
    free(d->work);
    free(d->found);
    free(d->scratch_bytes);
    if (d->loose.bits != NULL)
        mb__memory_free(d->memory, d->loose.bits, d->loose.bit_bytes);
    free(d);
}

int mb_detect_file(struct mb_detect *d, const char *name)
{
    if (d->files == MB__MAX_FILES)
        return MB_ELIMIT;
    d->file[d->files] = strdup(name);
    if (d->file[d->files] == NULL)
        return MB_ENOMEM;
    d->files++;
    return 0;
}

void mb_detect_stats(const struct mb_detect *d, struct mb_detect_stats *stats)
{
    *stats = d->stats;
    stats->pcre_limits = d->matcher.pcre_limits;
}

int mb__detect_divide(struct mb_detect *d)
{
    d->quiet = mb__quiet_new();
    return d->quiet == NULL ? MB_ENOMEM : 0;
}

void mb__detect_share(struct mb_detect *d, struct mb__condition *condition, struct mb__lane *lane)
{
    d->condition = condition;
    d->decisions = lane;
}

bool mb__detect_unsure(const struct mb_detect *d, const struct mb_flow *flow)
{
    const struct mb__state *s = mb_flow_user(flow, d->monitor);
    return s != NULL && s->unsure && !(flow->flags & MB_FLOW_ALERTED);
}

void mb__detect_add(struct mb_detect *d, const struct mb_detect_stats *stats)
{
    d->stats.alerts += stats->alerts;
    d->stats.suppressed += stats->suppressed;
    d->stats.overflow += stats->overflow;
    d->stats.candidates += stats->candidates;
    d->stats.drops += stats->drops;
    d->matcher.pcre_limits += stats->pcre_limits;
}

/* ---- events ---------------------------------------------------------------- */

static struct mb__state *state_of(struct mb_detect *d, struct mb_flow *flow)
{
    struct mb__state *s = mb_flow_user(flow, d->monitor);
    if (s == NULL && (s = mb__state_new(d->memory)) != NULL && mb_flow_set_user(flow, d->monitor, s) < 0) {
        mb__state_free(s);
        return NULL;
    }
    return s;
}

static int on_message(struct mb_event *ev, void *arg)
{
    struct mb_detect *d = arg;
    struct mb__state *s = ev->flow != NULL ? state_of(d, ev->flow) : NULL;
    if (s != NULL)
        mb__message(s, d->rules, ev, s->pass || s->drop ? 0 : d->config.body_limit);
    return 0;
}

static int on_anomaly(struct mb_event *ev, void *arg)
{
    struct mb_detect *d = arg;
    struct mb__state *s = ev->flow != NULL ? state_of(d, ev->flow) : NULL;
    if (s == NULL || ev->reason >= 64)
        return 0;
    s->anomalies |= 1ull << ev->reason;
    s->app_event |= ev->reason == MB_ANOMALY_PROTO;
    return 0;
}

/* What is heard is kept by the engine: bytes for the stream, the search for a
 * protocol for flow->app_proto. */
static int on_nothing(struct mb_event *ev, void *arg)
{
    (void)ev;
    (void)arg;
    return 0;
}

/* ---- flows ----------------------------------------------------------------- */

/* Both ends are connected, or were when the tap came. */
static bool connected(const struct mb_flow *flow)
{
    return flow->flags & MB_FLOW_MIDSTREAM ||
           (flow->end[0].state >= MB_TCP_ESTABLISHED && flow->end[1].state >= MB_TCP_ESTABLISHED);
}

/* ---- looks ----------------------------------------------------------------- */

/* Stream offset up to which |side|'s bytes are acknowledged. */
static uint64_t acknowledged(const struct mb_flow *flow, int side)
{
    const struct mb_endpoint *from = &flow->end[side];
    int64_t offset = from->flags & MB_SIDE_SYNC ? mb__tcp_acked(from) : 0;
    if (offset < 0)
        return 0;
    return (uint64_t)offset < from->next ? (uint64_t)offset : from->next;
}

/* Bytes and messages of |side| that were acknowledged may be looked at. */
static void show(struct mb_detect *d, struct mb_flow *flow, struct mb__state *s, int side, bool all)
{
    uint64_t next = flow->end[side].next;
    uint64_t limit = all || d->config.inline_mode ? next : acknowledged(flow, side);
    if (next - limit > d->config.window)
        limit = next; /* nobody acknowledges, or the tap does not see it */
    if (limit > s->side[side].visible)
        s->side[side].visible = limit;
    for (struct mb__tx *tx = s->first; tx != NULL; tx = tx->next) {
        struct mb__part *part = &tx->part[side];
        if (!part->present || part->over || (flow->ip_proto == TCP && !all && part->ready > limit))
            continue;
        part->fresh |= !part->visible || part->body.visible != part->body.len;
        part->visible = true;
        part->body.visible = part->body.len;
    }
}

/* The stream bytes to look at: those not inspected yet and a window before. */
static struct mb__bytes stream_bytes(struct mb_detect *d, const struct mb__look *look)
{
    struct mb__bytes none = {0};
    const struct mb__state_side *side = &look->state->side[look->side];
    struct mb_buffer_info info;
    if (side->visible <= side->inspected || !d->rules->uses_stream ||
        mb_stream_info(look->flow, look->side, &info) < 0 || info.history == 0)
        return none;
    uint64_t from = side->inspected > d->config.window ? side->inspected - d->config.window : 0;
    if (from < info.next - info.history)
        from = info.next - info.history;
    size_t len = 0;
    const uint8_t *data = mb_stream_view(look->flow, look->side, from, &len);
    if (data == NULL || side->visible <= from)
        return none;
    if (len > side->visible - from)
        len = (size_t)(side->visible - from);
    return (struct mb__bytes){.data = data, .len = (uint32_t)len, .base = from};
}

static void look_at_packet(struct mb__look *look, const struct mb_packet *p)
{
    look->packet = p;
    if (!(p->flags & MB_PKT_IP))
        return;
    look->src = p->src;
    look->dst = p->dst;
    look->ip_proto = p->ip_proto;
    look->ip_version = p->flags & MB_PKT_IPV6 ? 6 : 4;
    bool ports = p->flags & MB_PKT_L4 && p->ip_proto != 1 && p->ip_proto != 58;
    look->sport = ports ? p->sport : 0;
    look->dport = ports ? p->dport : 0;
    if (!(p->flags & MB_PKT_FRAGMENT) && p->payload_off <= p->net_len)
        look->payload = (struct mb__bytes){.data = p->net + p->payload_off, .len = p->payload_len};
}

static void look_at_end(struct mb__look *look, struct mb_flow *flow, int side)
{
    look->flow = flow;
    look->side = (uint8_t)side;
    look->src = flow->end[side].addr;
    look->dst = flow->end[!side].addr;
    look->sport = flow->end[side].port;
    look->dport = flow->end[!side].port;
    look->ip_proto = flow->ip_proto;
    look->ip_version = flow->ip_version;
    look->streamed = true;
}

/* ---- verdicts -------------------------------------------------------------- */

/* What one match leads to once thresholds have been asked. */
struct outcome {
    uint8_t action;
    bool told;
    bool unsure; /* told if thresholds that others keep say so */
};

static bool stops(uint8_t action)
{
    return action == MB_RULE_DROP || action == MB_RULE_REJECT;
}

/* Asks the thresholds of all matches up to a pass; how many matches that are. */
static uint32_t settle(struct mb_detect *d, const struct mb__look *look, struct outcome *outcome)
{
    for (uint32_t i = 0; i < d->found_count; i++) {
        const struct mb__rule *rule = &d->rules->rule[d->found[i].rule];
        outcome[i].action = rule->head->action;
        outcome[i].unsure = d->condition != NULL && mb__has_threshold(rule);
        if (outcome[i].unsure)
            outcome[i].told = !mb__threshold_quiet(d, look, rule, d->found[i].rule);
        else
            outcome[i].told = mb__threshold(d, look, rule, d->found[i].rule, &outcome[i].action);
        if (!outcome[i].told)
            d->stats.suppressed++;
        if (outcome[i].action == MB_RULE_PASS)
            return i + 1;
    }
    return d->found_count;
}

/* What becomes of the packet, and marks on the flow. */
static enum mb__verdict judge(struct mb_detect *d, struct mb__look *look, const struct outcome *outcome, uint32_t n,
                              struct mb__alert *alert)
{
    enum mb__verdict verdict = MB__VERDICT_PASS;
    for (uint32_t i = 0; i < n; i++) {
        bool to_flow = d->found[i].to_flow && look->state != NULL;
        if (outcome[i].action == MB_RULE_PASS) {
            if (to_flow)
                look->state->pass = true;
            if (verdict == MB__VERDICT_PASS)
                alert->verdict = MB_RULE_PASS;
        } else if (stops(outcome[i].action) && verdict != MB__VERDICT_DROP_FLOW) {
            verdict = to_flow ? MB__VERDICT_DROP_FLOW : MB__VERDICT_DROP;
            alert->verdict = MB_RULE_DROP;
        }
        if (outcome[i].action == MB_RULE_REJECT)
            alert->reject |= d->rules->rule[d->found[i].rule].head->flags | MB__REJECTS;
    }
    if (verdict == MB__VERDICT_DROP_FLOW)
        look->state->drop = true;
    return verdict;
}

static void tell(struct mb_detect *d, const struct mb__found *f, uint8_t action, struct mb__alert *alert)
{
    if (d->report == NULL)
        return;
    alert->rule = &d->rules->rule[f->rule];
    alert->tx = f->tx;
    alert->stream = f->stream;
    alert->blocked = d->config.inline_mode && stops(action);
    d->report(d->report_arg, MB__REPORT_ALERT, alert);
}

/* An alert that the parent of several workers may keep back. */
static void tell_unsure(struct mb_detect *d, const struct mb__found *f, uint8_t action, struct mb__alert *alert)
{
    const struct mb__look *look = alert->look;
    struct mb__condition *c = d->condition;
    *c = (struct mb__condition){.kind = MB__CONDITION_SPEAK, .rule = f->rule, .ts = d->now};
    c->flow = look->flow != NULL ? look->flow->id : 0;
    memcpy(c->src, &look->src, sizeof c->src);
    memcpy(c->dst, &look->dst, sizeof c->dst);
    mb__lane_put_both(d->decisions, NULL, 0, NULL, 0);
    tell(d, f, action, alert);
    c->kind = MB__CONDITION_NONE;
    if (look->state != NULL)
        look->state->unsure = true;
}

static void speak(struct mb_detect *d, const struct mb__found *f, const struct outcome *outcome,
                  struct mb__alert *alert)
{
    if (outcome->action == MB_RULE_PASS || d->rules->rule[f->rule].head->flags & MB_RULE_NOALERT)
        return;
    if (outcome->unsure) {
        tell_unsure(d, f, outcome->action, alert);
        return;
    }
    d->stats.alerts++;
    if (alert->look->flow != NULL)
        alert->look->flow->flags |= MB_FLOW_ALERTED;
    tell(d, f, outcome->action, alert);
}

/* Tells of a dropped packet, with the rule that wanted it first. */
static void speak_of_drop(struct mb_detect *d, const struct outcome *outcome, uint32_t n, struct mb__alert *alert)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!stops(outcome[i].action))
            continue;
        alert->rule = &d->rules->rule[d->found[i].rule];
        alert->blocked = true;
        alert->by_rate = outcome[i].action != alert->rule->head->action;
        d->report(d->report_arg, MB__REPORT_DROP, alert);
        return;
    }
}

/* Carries the matches out in order: a pass ends them. */
static enum mb__verdict conclude(struct mb_detect *d, struct mb__look *look)
{
    if (d->found_count == 0)
        return MB__VERDICT_PASS;
    struct mb__alert alert = {.detect = d, .look = look, .ts = d->now, .number = d->frame, .link = d->link,
                              .verdict = MB_RULE_ALERT};
    struct outcome outcome[MB__MAX_ALERTS];
    uint32_t n = settle(d, look, outcome);
    enum mb__verdict verdict = judge(d, look, outcome, n, &alert);
    for (uint32_t i = 0; i < n; i++)
        if (outcome[i].told)
            speak(d, &d->found[i], &outcome[i], &alert);
    if (verdict != MB__VERDICT_PASS && look->packet != NULL) {
        d->stats.drops++;
        if (d->report != NULL && d->config.inline_mode)
            speak_of_drop(d, outcome, n, &alert);
    }
    return d->config.inline_mode ? verdict : MB__VERDICT_PASS;
}

/* Adds the bytes of the stream to |look|. Those held back from before a gap are
 * looked at first, by themselves. */
static void look_at_stream(struct mb_detect *d, struct mb__look *look)
{
    struct mb__state_side *side = &look->state->side[look->side];
    look->stream = stream_bytes(d, look);
    look->held = side->held;
    look->rest = look->stream;
    if (look->held == NULL)
        return;
    struct mb__look before = {.state = look->state, .bits = look->state, .held = look->held, .rest = look->rest};
    look_at_end(&before, look->flow, look->side);
    before.stream = look->held->bytes;
    uint64_t inspected = side->inspected;
    side->inspected = look->held->inspected;
    mb__inspect(d, &before);
    conclude(d, &before);
    side->inspected = inspected;
}

/* ---- records of transactions ------------------------------------------------ */

static void report_tx(struct mb_detect *d, struct mb__look *look, struct mb__tx *tx)
{
    static const enum mb__report kinds[] = {[MB_APP_HTTP] = MB__REPORT_HTTP, [MB_APP_DNS] = MB__REPORT_DNS,
                                            [MB_APP_TLS] = MB__REPORT_TLS, [MB_APP_SSH] = MB__REPORT_SSH};
    struct mb__alert record = {.detect = d, .look = look, .tx = tx, .ts = d->now, .number = d->frame, .link = d->link};
    tx->reported = true;
    d->report(d->report_arg, kinds[tx->app], &record);
    if (tx->app == MB_APP_HTTP && tx->length > 0) {
        look_at_end(look, look->flow, tx->server);
        d->report(d->report_arg, MB__REPORT_FILE, &record);
    }
}

/* Who is the source of a transaction's record: who asked, or sent the message. */
static int record_side(const struct mb__tx *tx)
{
    if (tx->app == MB_APP_HTTP)
        return !tx->server;
    return tx->app == MB_APP_DNS && !tx->part[MB_CLIENT].present ? MB_SERVER : MB_CLIENT;
}

/* Writes records of transactions that are over (all of them with |flow_ends|)
 * and forgets those nothing more can be said of. */
static void finish_transactions(struct mb_detect *d, struct mb_flow *flow, struct mb__state *s, bool flow_ends)
{
    for (struct mb__tx *tx = s->first; tx != NULL && d->report != NULL; tx = tx->next) {
        bool over = tx->part[0].over && tx->part[1].over;
        if (tx->reported || !(over || flow_ends) || tx->app < MB_APP_HTTP || tx->app > MB_APP_SSH)
            continue;
        struct mb__look look = {.state = s, .bits = s};
        look_at_end(&look, flow, record_side(tx));
        report_tx(d, &look, tx);
    }
    mb__tx_sweep(s);
}

/* ---- for the engine -------------------------------------------------------- */

/* Whether the packet's payload went into the stream. That of a SYN does with
 * TCP Fast Open (RFC 7413) only. */
static bool in_stream(const struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb__tcp_options options;
    if (p->flags & MB_PKT_BAD_L4_SUM || flow->end[side].flags & MB_SIDE_NO_STREAM)
        return false;
    if (flow->end[!side].flags & MB_SIDE_SEEN && !connected(flow) && !(flow->flags & MB_FLOW_CLOSED))
        return false;
    if (!(p->tcp_flags & MB_TCP_SYN) || p->payload_len == 0)
        return true;
    mb__tcp_options_read(p, &options);
    return options.fast_open;
}

void mb__detect_clock(struct mb_detect *d, uint64_t number, int64_t ts, int link)
{
    d->frame = number;
    d->link = link;
    d->now = ts;
}

void mb__detect_see(struct mb_detect *d, const struct mb_packet *p)
{
    mb__detect_clock(d, p->number, p->ts, p->link);
    if (p->flags & MB_PKT_HAS_INNER)
        d->outer = *p;
}

enum mb__verdict mb__detect_packet(struct mb_detect *d, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb__look look = {.flow = flow, .side = (uint8_t)side};
    look_at_packet(&look, p);
    look.bits = &d->loose;
    if (flow != NULL && (look.state = state_of(d, flow)) != NULL) {
        look.bits = look.state;
        struct mb__state *s = look.state;
        bool own = flow->ip_proto == p->ip_proto, tcp = own && p->ip_proto == TCP; /* an ICMP error may have joined */
        if (s->pass || s->drop)
            return MB__VERDICT_PASS;
        look.streamed = tcp && in_stream(flow, side, p);
        if (tcp && p->tcp_flags & MB_TCP_SYN && !look.streamed && s->side[side].inspected < p->payload_len)
            s->side[side].inspected = p->payload_len; /* looked at now, whether the server takes it or not */
        show(d, flow, s, !side, false);
        show(d, flow, s, side, own && !tcp);
        if (tcp)
            look_at_stream(d, &look);
    }
    mb__inspect(d, &look);
    if (look.state != NULL) {
        look.state->established |= connected(flow); /* from the next packet on */
        look.state->anomalies = 0;
        look.state->app_event = false;
    } else if (d->loose.bits != NULL) {
        memset(d->loose.bits, 0, d->loose.bit_bytes);
    }
    enum mb__verdict verdict = conclude(d, &look);
    if (look.held != NULL)
        mb__held_free(look.state, side);
    if (look.state != NULL && look.state->first != NULL)
        finish_transactions(d, flow, look.state, false);
    return verdict;
}

/* Looks at all that |side| sent, without a packet. |over|: nothing more comes. */
static void look_without_packet(struct mb_detect *d, struct mb_flow *flow, struct mb__state *s, int side, bool over)
{
    struct mb__look look = {.state = s, .bits = s};
    look_at_end(&look, flow, side);
    show(d, flow, s, side, true);
    for (struct mb__tx *tx = s->first; tx != NULL && over; tx = tx->next)
        tx->part[side].complete = tx->part[side].body.complete = tx->part[side].fresh = true;
    if (flow->ip_proto == TCP)
        look_at_stream(d, &look);
    mb__inspect(d, &look);
    conclude(d, &look);
    if (look.held != NULL)
        mb__held_free(s, side);
}

/* Keeps what is before a gap until it is looked at, so that alerts can tell what
 * is behind it as well. False: it has to be looked at now. */
static bool hold_back(struct mb_detect *d, struct mb_flow *flow, struct mb__state *s, const struct mb_event *gap)
{
    struct mb__state_side *side = &s->side[gap->side];
    if (d->config.inline_mode || side->held != NULL)
        return false;
    if (gap->offset > side->visible)
        side->visible = gap->offset;
    struct mb__look look = {.flow = flow, .side = gap->side, .state = s};
    struct mb__bytes bytes = stream_bytes(d, &look);
    return bytes.len == 0 || mb__hold_back(s, gap->side, &bytes, gap->len);
}

/* Bytes before a gap and bytes after it are looked at apart. */
static int on_gap(struct mb_event *ev, void *arg)
{
    struct mb_detect *d = arg;
    struct mb__state *s = mb_flow_user(ev->flow, d->monitor);
    if (s == NULL || s->pass || s->drop)
        return 0;
    if (!hold_back(d, ev->flow, s, ev))
        look_without_packet(d, ev->flow, s, ev->side, false);
    s->side[ev->side].inspected = ev->offset + ev->len;
    return 0;
}

void mb__detect_dropped(struct mb_detect *d, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb__look look = {.flow = flow, .side = (uint8_t)side, .state = mb_flow_user(flow, d->monitor)};
    if (look.state == NULL || !look.state->drop || d->report == NULL)
        return;
    look_at_packet(&look, p);
    struct mb__alert drop = {.detect = d, .look = &look, .ts = p->ts, .number = p->number, .link = p->link,
                             .verdict = MB_RULE_DROP, .blocked = true};
    d->report(d->report_arg, MB__REPORT_DROP, &drop);
}

/* What was never acknowledged is looked at when the flow is over. */
static int on_flow_end(struct mb_event *ev, void *arg)
{
    struct mb_detect *d = arg;
    struct mb__state *s = mb_flow_user(ev->flow, d->monitor);
    for (int side = MB_CLIENT; side <= MB_SERVER; side++)
        if (s != NULL && !s->pass && !s->drop)
            look_without_packet(d, ev->flow, s, side, true);
    if (s != NULL)
        finish_transactions(d, ev->flow, s, true);
    return 0;
}
