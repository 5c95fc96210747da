/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_engine -- any packets of any conversations: streams join, flows end once, memory comes back
 *
 *   input --> traffic: a few conversations whose every field may be bent --> pcap in memory
 *                                                                              |
 *             run 1: frame by frame, one seed        run 2: in bursts, another seed; by option in Ethernet
 *                        +------------- the same events? -------------+
 *
 * The first four bytes are options: limits, tight or not, and what the listener asks
 * for and does. At every event and after every frame all that is kept is within the
 * limits that were set. Only packets in Ethernet go the short ways, and some only
 * where nobody hears of them: what they do must be what the long way does.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "io/source.h"
#include "traffic.h"

/* What is not heard by option: then packets may go the short ways. */
#define QUIET (1u << MB_EV_RAW | 1u << MB_EV_STATE_CHANGE | 1u << MB_EV_GAP | MB__EVENTS_WITH_PACKETS)
#define LEAST_TABLE 20480 /* bytes of a flow table and wheel before they grow */

/* ---- a run: what is heard is judged and remembered -------------------------- */

/* What one flow has told. */
struct told {
    uint64_t id;
    uint64_t next[2];  /* stream offset of the byte to come */
    uint8_t state[2];
    bool has_state[2];
    bool off[2];       /* reassembly was switched off */
    bool dropped, ignored, ended;
    unsigned heard;
};

struct run {
    struct mb_engine *e;
    struct mb_monitor *monitor;
    struct mb_config config; /* as it was asked for */
    const struct traffic *traffic;
    uint64_t hash;     /* of all that was heard */
    uint64_t started, ended, newest, gap_bytes;
    uint8_t meddle;    /* which events the listener does something about */
    bool quiet;        /* he hears of no packet */
};

static int live; /* struct told */

static void remember(struct run *r, uint64_t v)
{
    r->hash = (r->hash ^ v) * 0x100000001b3u;
    r->hash ^= r->hash >> 29;
}

static void remember_event(struct run *r, const struct mb_event *ev)
{
    remember(r, (uint64_t)ev->base << 56 | (uint64_t)ev->side << 48 | (uint64_t)ev->hook << 40 |
                    (uint64_t)ev->old_state << 32 | (uint64_t)ev->new_state << 24 | (uint64_t)ev->reason << 16 |
                    ev->conflict);
    remember(r, ev->offset);
    remember(r, ev->len);
    remember(r, (uint64_t)ev->ts);
    remember(r, ev->flow == NULL ? 0 : ev->flow->id);
    remember(r, ev->packet == NULL ? 0 : ev->packet->number);
    for (uint64_t i = 0; ev->data != NULL && i < ev->len; i++)
        remember(r, ev->data[i]);
}

/* Where the flow's ends stand when it is over: also known where nobody heard of its packets. */
static void remember_ends(struct run *r, const struct mb_flow *flow)
{
    remember(r, (uint64_t)flow->rtt_server << 32 | flow->rtt_client);
    remember(r, (uint64_t)flow->last_ts);
    for (int side = 0; side < 2; side++) {
        const struct mb_endpoint *end = &flow->end[side];
        const struct mb__rtt *rtt = &mb__engine_rtts(r->e, flow)->side[side];
        remember(r, (uint64_t)rtt->samples << 32 | rtt->min);
        remember(r, rtt->sum);
        remember(r, (uint64_t)end->flags << 32 | (uint64_t)end->state << 24 | (uint64_t)end->tcp_flags << 16 |
                        end->out_of_order);
        remember(r, (uint64_t)end->snd_nxt << 32 | end->snd_una);
        remember(r, (uint64_t)end->snd_wnd << 32 | end->snd_max);
        remember(r, (uint64_t)end->ts_recent << 32 | end->retransmits);
        remember(r, end->packets);
        remember(r, end->next);
        remember(r, end->missed);
    }
}

static void give_back(void *user)
{
    live--;
    free(user);
}

/* Whether the payload of |flow| is a function of the sequence number: not if the flow was made of junk. */
static bool is_keyed(const struct run *r, const struct mb_flow *flow)
{
    const uint8_t *addr = flow->end[MB_CLIENT].addr.byte;
    bool host = flow->ip_version == 4 ? memcmp(addr + 12, net_v4, sizeof net_v4) == 0
                                      : memcmp(addr, net_v6, sizeof net_v6) == 0;
    return r->traffic->keyed && flow->ip_proto == 6 && host;
}

/* What is kept is within its limits, whatever the engine has made of those. */
static void check_limits(const struct run *r)
{
    const struct mb_config *c = &r->config;
    struct mb_stats s;
    mb_engine_stats(r->e, &s);
    assert(r->started - r->ended <= c->max_flows && s.flows_active <= c->max_flows && s.flows_peak <= c->max_flows);
    assert(s.flow_memory <= c->max_memory / 2 + LEAST_TABLE);
    assert(r->e->waiting.used <= c->max_memory / 8 && r->e->parsing.used <= c->max_memory / 4);
    assert(r->e->fragments.used <= c->max_memory / 8);
    assert(s.stream_memory <= s.stream_memory_peak && s.stream_memory_peak <= c->max_memory / 2);
}

/* No stream holds what is on no account. */
static void check_accounts(const struct run *r)
{
    uint64_t held = 0;
    for (const struct mb_flow *flow = NULL; (flow = mb__flows_each(&r->e->flows, flow)) != NULL;)
        for (int side = 0; side < 2; side++) {
            struct mb_buffer_info info;
            assert(mb_stream_info(flow, side, &info) == 0);
            held += info.memory;
        }
    assert(held <= r->e->waiting.used + r->e->parsing.used);
}

static void check_bytes(const struct run *r, const struct mb_event *ev, const uint8_t *data, uint64_t len)
{
    if (!is_keyed(r, ev->flow))
        return;
    uint32_t seq = ev->flow->end[ev->side].stream_seq + (uint32_t)ev->offset;
    for (uint64_t i = 0; i < len; i++)
        assert(data[i] == keyed_byte(seq + (uint32_t)i));
}

static void check_stream(const struct run *r, const struct mb_flow *flow, int side)
{
    struct mb_fragment list[64];
    struct mb_buffer_info info;
    assert(mb_stream_info(flow, side, &info) == 0);
    assert(info.next == flow->end[side].next && info.highest >= info.next);
    size_t n = mb_stream_fragments(flow, side, list, 64);
    uint64_t pending = 0, last = info.next;
    for (size_t i = 0; i < n && i < 64; i++) {
        assert(list[i].offset >= last && list[i].len > 0);
        last = list[i].offset + list[i].len;
        pending += list[i].len;
    }
    assert(n > 64 || (pending == info.pending && last <= info.highest));
    assert(info.pending + n * MB__PIECE_OVERHEAD <= r->config.max_stream_bytes);
}

/* An event about bytes of a TCP stream: it begins where the last one ended. */
static void check_bytes_join(struct run *r, struct told *told, const struct mb_event *ev)
{
    assert(ev->len > 0);
    if (!told->off[ev->side])
        assert(ev->offset == told->next[ev->side]);
    told->next[ev->side] = ev->offset + ev->len;
    if (ev->base == MB_EV_GAP) {
        r->gap_bytes += ev->len;
        return;
    }
    check_bytes(r, ev, ev->data, ev->len);
    uint8_t again[64];
    size_t n = mb_stream_peek(ev->flow, ev->side, ev->offset, again, sizeof again);
    check_bytes(r, ev, again, n);
    size_t len = 0;
    const uint8_t *view = mb_stream_view(ev->flow, ev->side, ev->offset, &len);
    assert(view == NULL || (len == ev->len && memcmp(view, ev->data, len) == 0)); /* NULL: no history is kept */
}

/* Does to the flow what an app may do, as the flow and its events choose. */
static void meddle(struct run *r, struct told *told, struct mb_event *ev)
{
    uint64_t lot = (told->id * 7 + ++told->heard) * 2654435761u >> 8;
    if (r->meddle == 0 || lot % 16 != r->meddle % 16)
        return;
    switch (r->meddle >> 4) {
    case 1:
        mb_flow_drop(ev);
        told->dropped = ev->packet != NULL;
        break;
    case 2:
        mb_packet_drop(ev);
        break;
    case 3:
        assert(mb_stream_off(ev->flow, ev->side) == 0);
        told->off[ev->side] = true;
        break;
    case 4:
        assert(mb_ignore(r->monitor, ev->flow) == 0);
        told->ignored = true;
        break;
    case 5:
        assert(mb_flow_forget(r->e, ev->flow) == 0);
        break;
    case 6:
        mb_off(r->monitor, ev->flow, MB_EV_RETRANSMIT, MB_HOOK_NONE);
        break;
    default:
        break;
    }
}

static int on_event(struct mb_event *ev, void *arg)
{
    struct run *r = arg;
    remember_event(r, ev);
    assert(ev->engine == r->e && ev->base < MB_EV_BUILTIN);
    check_limits(r);
    if (ev->flow == NULL)
        return 0;
    struct told *told = mb_flow_user(ev->flow, r->monitor);
    if (ev->base == MB_EV_FLOW_START) {
        assert(told == NULL);
        told = calloc(1, sizeof *told);
        assert(told != NULL && mb_flow_set_user(ev->flow, r->monitor, told) == 0);
        live++;
        r->started++;
        told->id = ev->flow->id;
        told->off[0] = told->off[1] = !r->e->config.reassemble;
        assert(told->id > r->newest);
        r->newest = told->id;
    }
    assert(told != NULL || ev->base == MB_EV_ANOMALY); /* the table was full: the victim is told */
    if (told == NULL)
        return 0;
    assert(told->id == ev->flow->id && !told->ended);
    assert(!told->ignored || ev->base == MB_EV_FLOW_END);
    switch (ev->base) {
    case MB_EV_FLOW_END:
        r->ended++;
        told->ended = true;
        remember_ends(r, ev->flow);
        assert(ev->reason != MB_END_NONE && ev->reason <= MB_END_SHUTDOWN && ev->reason == ev->flow->end_reason);
        for (int side = 0; side < 2 && ev->flow->ip_proto == 6; side++)
            assert(told->off[side] || told->ignored || r->quiet || told->next[side] == ev->flow->end[side].next);
        return 0;
    case MB_EV_STATE_CHANGE:
        assert(ev->old_state != ev->new_state);
        /* without a word, a SYN that was not seen is taken for granted, and a reset that was none taken back */
        assert(!told->has_state[ev->side] || told->state[ev->side] == ev->old_state ||
               ev->old_state == MB_TCP_SYN_SENT || ev->old_state == MB_TCP_FIN_WAIT_1);
        told->state[ev->side] = ev->new_state;
        told->has_state[ev->side] = true;
        break;
    case MB_EV_RETRANSMIT:
        assert(!is_keyed(r, ev->flow) || !ev->conflict);
        break;
    case MB_EV_GAP:
    case MB_EV_DATA:
        if (ev->flow->ip_proto == 6)
            check_bytes_join(r, told, ev);
        break;
    case MB_EV_URGENT: /* between two bytes of the stream */
        assert(ev->len == 1 && r->e->config.urgent == MB_URGENT_OOB);
        assert(told->off[ev->side] || ev->offset == told->next[ev->side]);
        assert(!is_keyed(r, ev->flow) || ev->data[0] == keyed_byte(ev->flow->end[ev->side].stream_seq +
                                                                (uint32_t)ev->offset - 1));
        break;
    default:
        break;
    }
    check_stream(r, ev->flow, 0);
    check_stream(r, ev->flow, 1);
    meddle(r, told, ev);
    return 0;
}

static void configure(struct mb_config *config, const uint8_t option[4], uint64_t seed)
{
    mb_config_init(config);
    config->seed = seed;
    config->max_flows = option[0] & 1 ? 3 : 1000;
    config->max_stream_bytes = option[0] & 2 ? 700 : 100000;
    config->max_memory = option[0] & 4 ? 3000 : option[3] & 64 ? 20000 : 1 << 24;
    config->max_fragments = option[0] & 8 ? 2 : 100;
    config->midstream = !(option[0] & 16);
    config->async_oneside = option[0] >> 5 & 1;
    config->overlap = (option[1] >> 4) % MB_OVERLAP_COUNT;
    config->reassemble = !(option[0] & 128) || (option[1] & 1);
    config->urgent = option[3] & 1;
    config->table_full = (option[3] >> 1 & 3) % 3;
    config->key_tunnel = option[3] >> 3 & 1;
    config->icmp_joins = option[3] >> 4 & 1;
    config->max_tunnels = option[3] & 32 ? 1 : 4;
}

static void start(struct run *r, const struct traffic *t, const uint8_t option[4], uint64_t seed)
{
    *r = (struct run){.traffic = t, .meddle = option[2], .quiet = option[1] & 8};
    configure(&r->config, option, seed);
    r->e = mb_engine_new(&r->config, NULL);
    assert(r->e != NULL && mb__engine_measure(r->e) == 0);
    r->monitor = mb_monitor_new(r->e, "fuzz", NULL);
    assert(r->monitor != NULL);
    mb_monitor_user_free(r->monitor, give_back);
    if (option[1] & 2)
        mb_monitor_history(r->monitor, 200);
    for (uint32_t event = 0; event < MB_EV_BUILTIN; event++) {
        if (event == MB_EV_TIMER || (event >= MB_EV_PROTOCOL && event <= MB_EV_SSH && !(option[1] & 4)))
            continue;
        if (r->quiet && QUIET >> event & 1)
            continue;
        bool two_hooks = event == MB_EV_PACKET || event == MB_EV_STATE_CHANGE;
        assert(mb_on(r->monitor, NULL, event, two_hooks ? MB_HOOK_SND | MB_HOOK_RCV : MB_HOOK_NONE, on_event, r) == 0);
    }
}

/* Ends a run: all is told, counted and given back. */
static void stop(struct run *r)
{
    struct mb_stats s;
    uint64_t ended = 0;
    struct mb_frame late = {.ts = mb_engine_now(r->e) + 100000 * MS, .data = (const uint8_t *)"", .caplen = 0};
    assert(mb_engine_frame(r->e, LINK_RAW, &late) == 0); /* fragments that wait are given up */
    assert(mb_engine_finish(r->e) == 0);
    mb_engine_stats(r->e, &s);
    for (int i = 0; i < 8; i++)
        ended += s.flows_ended[i];
    assert(s.flows == r->started && s.flows == r->ended && s.flows == ended && s.flows_active == 0);
    assert(s.frames == s.kept + s.dropped);
    assert(s.stream_missed >= r->gap_bytes);
    assert(s.stream_memory == 0);
    assert(live == 0);
    for (int i = 0; i < MB_ANOMALY_COUNT; i++)
        remember(r, s.anomalies[i]);
    remember(r, s.stream_bytes);
    remember(r, s.orphans);
    remember(r, s.dropped);
    mb_engine_free(r->e);
}

static void run_frames(struct run *r, const struct traffic *t)
{
    for (size_t at = 24; at < t->len;) {
        uint32_t head[4];
        memcpy(head, t->pcap + at, sizeof head);
        struct mb_frame frame = {.ts = (int64_t)head[0] * 1000000000 + head[1], .caplen = head[2], .wirelen = head[3]};
        uint8_t *copy = malloc(head[2] > 0 ? head[2] : 1); /* exactly as long as it is */
        assert(copy != NULL);
        memcpy(copy, t->pcap + at + 16, head[2]);
        frame.data = copy;
        assert(mb_engine_frame(r->e, t->link, &frame) == 0);
        free(copy);
        check_limits(r);
        check_accounts(r);
        at += 16 + head[2];
    }
}

static void run_bursts(struct run *r, const struct traffic *t)
{
    struct mb_source *source = mb__source_memory(t->pcap, t->len, NULL);
    assert(source != NULL);
    assert(mb_engine_run(r->e, source, 0) == 0);
    mb_source_free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct traffic t, ethernet;
    static struct run one, two;
    t = (struct traffic){.in = mb__cursor(data, size)};
    const uint8_t *option = mb__cursor_take(&t.in, 4);
    if (option == NULL)
        return 0;
    t.keyed = !(option[1] & 4);
    t.wide = option[3] & 128;
    t.ip = option[0] & 64;
    make_traffic(&t);
    start(&one, &t, option, 1);
    run_frames(&one, &t);
    stop(&one);
    ethernet = (struct traffic){0};
    if (t.ip)
        make_ethernet(&ethernet, &t);
    const struct traffic *other = t.ip ? &ethernet : &t;
    start(&two, other, option, 2);
    run_bursts(&two, other);
    stop(&two);
    assert(one.hash == two.hash);
    free(t.pcap);
    free(ethernet.pcap);
    return 0;
}
