/* SPDX-License-Identifier: BSD-3-Clause */
/* test_advance -- the short ways through TCP do what the long way does
 *
 *   random conversations, full of faults
 *     |-- as they are         brief frames and segments in order go the short way
 *     |-- the same with CWR   which means nothing here, but is never short
 *     v
 *   after every frame: flows, events and counters are the same
 *
 * MB_TEST_CASES and MB_TEST_FIRST in the environment: how many, from which seed on.
 */
#include <stdlib.h>

#include "engine.h"
#include "frame.h"
#include "io/source.h"
#include "test.h"

#define CWR 0x80
#define MS 1000000LL
#define MAX_FRAMES 160
#define MAX_BYTES 400
#define MAX_TALKS 4
#define MAX_SEEN 16

/* ---- chance --------------------------------------------------------------- */

static uint64_t dice;

static uint32_t roll(uint32_t sides)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice >> 33) % sides;
}

static bool one_in(uint32_t n)
{
    return roll(n) == 0;
}

/* ---- conversations -------------------------------------------------------- */

struct shot {
    int64_t ts;
    uint32_t len;
    uint32_t wire;
    uint32_t tcp; /* where its TCP header is */
    uint8_t b[MAX_BYTES];
};

/* What one side of a conversation is about to say. */
struct talker {
    uint32_t isn;
    uint32_t seq;
    uint32_t clock; /* timestamps */
    uint32_t heard; /* what it acknowledges */
    bool fin;
};

struct talk {
    struct talker side[2];
    uint16_t port;
    bool stamps;
    bool scales;
    bool opened;
    int stage; /* of the handshake */
};

static struct shot shots[MAX_FRAMES];
static int shot_count;
static struct talk talks[MAX_TALKS];
static int64_t clock_now;

static void put_options(struct frame *f, const struct talk *t, int side, bool syn)
{
    if (syn && t->scales) {
        frame_u32(f, 0x020405b4);
        frame_u32(f, 0x04020101);
        frame_u32(f, 0x01030300u | (uint32_t)(side == 0 ? 7 : 2));
    }
    if (!t->stamps || one_in(60))
        return;
    uint32_t tsval = t->side[side].clock - (one_in(25) ? 1 + roll(3) : 0) - (one_in(60) ? 1000 : 0);
    bool odd = one_in(40); /* the padding behind, which only a whole look at the options sees */
    if (!odd)
        frame_u16(f, 0x0101);
    frame_u16(f, 0x080a);
    frame_u32(f, tsval);
    frame_u32(f, t->side[!side].clock);
    if (odd)
        frame_u16(f, 0x0101);
}

/* The segment as a frame; what comes in most frames, or a VLAN tag or IP option beside it. */
static void put_segment(struct shot *s, const struct talk *t, int side, uint32_t seq, uint32_t ack, unsigned flags,
                        unsigned window, size_t len)
{
    struct frame f = {0}, options = {0};
    put_options(&options, t, side, flags & MB_TCP_SYN);
    frame_ethernet(&f, one_in(60) ? 0x8100 : 0x0800);
    if (f.b[12] == 0x81)
        frame_u32(&f, 0x00050800);
    size_t ip = f.len;
    frame_ipv4(&f, 6, one_in(30) ? 0x4000 : 0);
    f.b[ip + 8] = (uint8_t)(60 + side);
    if (side == 1) {
        mb__put_be32(f.b + ip + 12, 0x0a000002);
        mb__put_be32(f.b + ip + 16, 0x0a000001);
    }
    if (one_in(100)) {
        f.b[ip] = 0x46;
        frame_u32(&f, 0x01010100);
    }
    size_t tcp = f.len;
    frame_tcp_options(&f, side == 0 ? t->port : 80, side == 0 ? 80 : t->port, flags, options.b, options.len);
    mb__put_be32(f.b + tcp + 4, seq);
    mb__put_be32(f.b + tcp + 8, ack);
    mb__put_be16(f.b + tcp + 14, (uint16_t)window);
    mb__put_be16(f.b + tcp + 18, flags & MB_TCP_URG ? (uint16_t)(1 + roll(20)) : 0);
    for (size_t i = 0; i < len; i++)
        frame_u8(&f, (seq + (uint32_t)i) * 31 >> 3);
    frame_end(&f);
    if (one_in(20))
        frame_fill(&f, 0, 6); /* padding behind the datagram */
    *s = (struct shot){.ts = clock_now, .len = (uint32_t)f.len, .wire = (uint32_t)f.len, .tcp = (uint32_t)tcp};
    memcpy(s->b, f.b, f.len);
}

static void say(const struct talk *t, int side, uint32_t seq, unsigned flags, size_t len)
{
    if (shot_count == MAX_FRAMES)
        return;
    unsigned window = one_in(12) ? 0 : one_in(6) ? roll(300) : 20000 + roll(40000);
    uint32_t ack = t->side[side].heard;
    if (one_in(40))
        ack += roll(2000) - 1000;
    put_segment(&shots[shot_count++], t, side, seq, ack, flags, window, len);
}

/* The next step of the handshake: SYN, SYN/ACK, ACK. */
static void shake_hands(struct talk *t)
{
    if (t->stage == 1 && one_in(20)) { /* a FIN before its time, and a reset that was none */
        say(t, 0, t->side[0].seq, MB_TCP_FIN | MB_TCP_ACK, 0);
        say(t, 0, t->side[0].seq + 1, MB_TCP_RST, 0);
    }
    static const unsigned flags[3] = {MB_TCP_SYN, MB_TCP_SYN | MB_TCP_ACK, MB_TCP_ACK};
    int side = t->stage == 1;
    struct talker *from = &t->side[side];
    if (t->stage > 0)
        from->heard = t->side[!side].isn + 1;
    if (!one_in(12)) /* else the tap missed it */
        say(t, side, t->stage == 2 ? from->isn + 1 : from->isn, flags[t->stage], one_in(30) ? roll(50) : 0);
    from->seq = from->isn + 1;
    t->opened = ++t->stage == 3;
}

static void begin_talk(struct talk *t, uint16_t port)
{
    *t = (struct talk){.port = port, .stamps = one_in(2), .scales = one_in(2)};
    for (int side = 0; side < 2; side++) {
        t->side[side].isn = t->side[side].seq = one_in(4) ? UINT32_MAX - roll(500) : roll(1u << 31) * 2;
        t->side[side].clock = one_in(8) ? UINT32_MAX - roll(20) : roll(1u << 30);
    }
    if (one_in(5)) { /* its beginning was not seen */
        t->opened = true;
        t->stage = 3;
        t->side[0].heard = t->side[1].seq;
        t->side[1].heard = t->side[0].seq;
    }
}

static void send_more(struct talk *t, int side)
{
    struct talker *from = &t->side[side], *to = &t->side[!side];
    bool fin = !from->fin && one_in(14);
    size_t len = from->fin || one_in(2) ? 0 : one_in(5) ? 1 : roll(200);
    unsigned flags = MB_TCP_ACK | (one_in(2) ? MB_TCP_PSH : 0) | (fin ? MB_TCP_FIN : 0) | (one_in(50) ? MB_TCP_URG : 0);
    if (!one_in(10))
        from->heard = one_in(8) ? to->seq - roll(2) : to->seq;
    if (!one_in(14))
        say(t, side, from->seq, flags, len);
    from->seq += (uint32_t)len + fin;
    from->fin |= fin;
    from->clock += roll(3);
}

/* What no peaceful host sends. */
static void send_odd(struct talk *t, int side)
{
    struct talker *from = &t->side[side];
    switch (roll(8)) {
    case 0: say(t, side, from->seq - roll(100), MB_TCP_ACK, roll(120)); break;
    case 1: say(t, side, from->seq + roll(100), MB_TCP_ACK, roll(120)); break;
    case 2: say(t, side, from->seq - 1, MB_TCP_ACK, roll(2)); break; /* keep-alive */
    case 3: say(t, side, from->seq - roll(2), MB_TCP_RST | (one_in(2) ? MB_TCP_ACK : 0), 0); break;
    case 4: say(t, side, one_in(2) ? from->isn : roll(1u << 30), MB_TCP_SYN | (one_in(2) ? MB_TCP_ACK : 0), 0); break;
    case 5: say(t, side, from->seq - roll(3), MB_TCP_FIN | MB_TCP_ACK, roll(3)); break;
    case 6: say(t, side, from->seq + roll(70000), MB_TCP_ACK | (one_in(3) ? MB_TCP_FIN : 0), roll(50)); break;
    default: say(t, side, from->seq, roll(64), roll(30)); break;
    }
}

static void pass_time(void)
{
    static const int64_t pauses[] = {0, MS / 8, MS, 40 * MS, 3000 * MS, 12000 * MS, 70000 * MS, 400000 * MS};
    clock_now += pauses[one_in(6) ? roll(8) : roll(4)];
    if (one_in(500))
        clock_now += 25LL * 24 * 3600 * 1000 * MS; /* more than timestamps are compared over */
}

/* Some frames once more, some in another's place. */
static void shuffle(void)
{
    for (int i = 2; i < shot_count; i++) {
        if (!one_in(20))
            continue;
        int64_t ts = shots[i].ts, before = shots[i - 1].ts;
        struct shot other = shots[i - 1 - (int)roll(2)];
        if (one_in(2))
            shots[i - 1] = shots[i];
        shots[i] = other;
        shots[i - 1].ts = before;
        shots[i].ts = ts;
    }
}

static void make_case(uint64_t seed)
{
    dice = seed * 0x9e3779b97f4a7c15u + 1;
    roll(2);
    shot_count = 0;
    clock_now = 1000000 * MS;
    int n = 1 + (int)roll(MAX_TALKS), length = 10 + (int)roll(MAX_FRAMES - 10);
    for (int i = 0; i < n; i++)
        begin_talk(&talks[i], (uint16_t)(1000 + i));
    for (int tries = 0; shot_count < length && tries < 4 * length; tries++) {
        struct talk *t = &talks[roll((uint32_t)n)];
        pass_time();
        if (!t->opened)
            shake_hands(t);
        else if (one_in(14))
            send_odd(t, (int)roll(2));
        else if (one_in(60))
            begin_talk(t, t->port);
        else
            send_more(t, (int)roll(2));
    }
    shuffle();
}

/* ---- engines --------------------------------------------------------------- */

enum { PLAIN, STATES, PACKETS, RECEIVED, BYTES, JOINERS, MEDDLERS, WAYS };

static const uint32_t listens[WAYS][4] = {
    [STATES] = {MB_EV_STATE_CHANGE},
    [PACKETS] = {MB_EV_PACKET},
    [RECEIVED] = {MB_EV_PACKET, MB_EV_STATE_CHANGE},
    [BYTES] = {MB_EV_DATA, MB_EV_RETRANSMIT, MB_EV_URGENT},
    [JOINERS] = {MB_EV_DATA},
    [MEDDLERS] = {MB_EV_PACKET, MB_EV_STATE_CHANGE, MB_EV_DATA},
};

/* One engine and all that was told of it. */
struct run {
    struct mb_engine *engine;
    int way;
    uint64_t told; /* a hash of all events so far */
    uint64_t events;
};

static void mix(struct run *r, uint64_t word)
{
    r->told = (r->told ^ word) * 0x100000001b3u;
    r->told ^= r->told >> 29;
}

static void mix_flow(struct run *r, struct mb_flow *flow)
{
    for (int side = 0; side < 2; side++) {
        const struct mb_endpoint *end = &flow->end[side];
        mix(r, end->state | (uint64_t)end->flags << 8 | (uint64_t)end->snd_nxt << 32);
        mix(r, end->snd_una | (uint64_t)end->snd_wnd << 32);
        mix(r, end->packets ^ end->bytes << 32 ^ end->next << 16);
    }
    mix(r, flow->id ^ (uint64_t)flow->flags << 56 ^ (uint64_t)flow->anomalies << 40 ^ (uint64_t)flow->end_reason << 32);
}

/* Interferes now and then, by what the event is about. */
static void meddle(struct mb_event *ev)
{
    uint32_t chance = (uint32_t)((ev->packet->number * 2654435761u + ev->base * 40503u + ev->hook * 977u) >> 7) % 400;
    switch (chance) {
    case 0: mb_flow_drop(ev); break;
    case 1: mb_flow_forget(ev->engine, ev->flow); break;
    case 2: mb_stream_off(ev->flow, ev->side); break;
    case 3: mb_stream_off(ev->flow, !ev->side); break;
    case 4: mb_ignore(ev->monitor, ev->flow); break;
    case 5: mb_off(ev->monitor, ev->flow, MB_EV_STATE_CHANGE, 0); break;
    default:
        if (chance < 30)
            mb_packet_drop(ev);
    }
}

static int on_event(struct mb_event *ev, void *arg);

/* Hears more of a flow, or less, from some of its bytes on. */
static void join(struct run *r, struct mb_event *ev)
{
    switch ((ev->packet->number * 2654435761u >> 9) % 4) {
    case 0: mb_on(ev->monitor, ev->flow, MB_EV_STATE_CHANGE, 0, on_event, r); break;
    case 1: mb_off(ev->monitor, ev->flow, MB_EV_STATE_CHANGE, 0); break;
    default: break;
    }
}

static int on_event(struct mb_event *ev, void *arg)
{
    struct run *r = arg;
    r->events++;
    mix(r, ev->base | (uint64_t)ev->side << 8 | (uint64_t)ev->hook << 16 | (uint64_t)ev->reason << 24);
    mix(r, (uint64_t)ev->ts ^ (uint64_t)ev->old_state << 60 ^ (uint64_t)ev->new_state << 56);
    mix(r, ev->packet == NULL ? 0 : ev->packet->number);
    mix(r, ev->offset ^ ev->len << 32);
    for (uint64_t i = 0; ev->data != NULL && i < ev->len; i++)
        mix(r, ev->data[i]);
    if (ev->flow != NULL)
        mix_flow(r, ev->flow);
    if (r->way == MEDDLERS && ev->flow != NULL && ev->packet != NULL)
        meddle(ev);
    if (r->way == JOINERS && ev->base == MB_EV_DATA && ev->packet != NULL)
        join(r, ev);
    return 0;
}

static void run_begin(struct run *r, const struct mb_config *config, int way)
{
    static const uint32_t always[] = {MB_EV_FLOW_START, MB_EV_FLOW_END, MB_EV_GAP, MB_EV_ANOMALY, MB_EV_ORPHAN};
    *r = (struct run){.engine = mb_engine_new(config, NULL), .way = way};
    struct mb_monitor *m = mb_monitor_new(r->engine, "m", NULL);
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        CHECK_INT(mb_on(m, NULL, always[i], MB_HOOK_NONE, on_event, r), 0);
    for (int i = 0; i < 4 && listens[way][i] != 0; i++) {
        bool hooked = listens[way][i] == MB_EV_PACKET || listens[way][i] == MB_EV_STATE_CHANGE;
        int hook = !hooked ? 0 : way == RECEIVED ? MB_HOOK_RCV : way == MEDDLERS ? MB_HOOK_SND | MB_HOOK_RCV : 0;
        CHECK_INT(mb_on(m, NULL, listens[way][i], hook, on_event, r), 0);
    }
}

/* The frame of |s|, with CWR in its TCP header if it is to go the |long_way|. */
static struct mb_frame frame_from(struct shot *s, bool long_way)
{
    s->b[s->tcp + 13] = (uint8_t)((s->b[s->tcp + 13] & ~CWR) | (long_way ? CWR : 0));
    return (struct mb_frame){.ts = s->ts, .data = s->b, .caplen = s->len, .wirelen = s->wire};
}

/* ---- comparing ------------------------------------------------------------- */

struct seen {
    struct mb_flow flow[MAX_SEEN];
    int count;
};

static void note_flow(const struct mb_flow *flow, void *arg)
{
    struct seen *seen = arg;
    if (seen->count == MAX_SEEN)
        return;
    struct mb_flow *copy = &seen->flow[seen->count++];
    *copy = *flow;
    copy->set = NULL;
    copy->streams = flow->streams == NULL ? NULL : &dice; /* whether something waits */
    memset(copy->link, 0, sizeof copy->link); /* how the wheel has it does not matter, but the kind of timer does */
    for (int side = 0; side < 2; side++)
        copy->end[side].tcp_flags &= (uint8_t)~CWR;
}

/* A flow in words, for whoever has to find the difference. */
static void print_flow(const char *which, const struct mb_flow *f)
{
    fprintf(stderr, "  %s: flags %x timer %d end %d rtt %u/%u last %lld odd %u\n", which, f->flags, f->timer_kind,
            f->end_reason, f->rtt_server, f->rtt_client, (long long)f->last_ts, f->anomalies);
    for (int i = 0; i < 2; i++) {
        const struct mb_endpoint *e = &f->end[i];
        fprintf(stderr, "    %s flags %x isn %u nxt +%u una +%u wnd %u max +%u ts %u next %llu stream +%u packets %llu\n",
                mb_tcp_state_name(e->state), e->flags, e->isn, e->snd_nxt - e->isn, e->snd_una - e->isn, e->snd_wnd,
                e->snd_max - e->isn, e->ts_recent, (unsigned long long)e->next, e->stream_seq - e->isn,
                (unsigned long long)e->packets);
    }
}

/* Whether a side whose state says that it sent a FIN did, and none else: by that the turn table goes. */
static bool states_have_their_fins(const struct mb_flow *flow)
{
    for (int side = 0; side < 2; side++) {
        const struct mb_endpoint *end = &flow->end[side];
        bool said = end->flags & MB_SIDE_FIN;
        switch (end->state) {
        case MB_TCP_FIN_WAIT_1:
        case MB_TCP_FIN_WAIT_2:
        case MB_TCP_CLOSING:
        case MB_TCP_LAST_ACK:
        case MB_TCP_TIME_WAIT:
            if (!said)
                return false;
            break;
        case MB_TCP_CLOSED: break;
        default:
            if (said)
                return false;
        }
    }
    return true;
}

static bool same_flows(const struct run *a, const struct run *b)
{
    static struct seen x, y;
    x.count = y.count = 0;
    mb__engine_each_flow(a->engine, note_flow, &x);
    mb__engine_each_flow(b->engine, note_flow, &y);
    if (x.count != y.count)
        return false;
    for (int i = 0; i < x.count; i++) {
        bool sound = states_have_their_fins(&x.flow[i]);
        if (sound && memcmp(&x.flow[i], &y.flow[i], sizeof x.flow[i]) == 0)
            continue;
        print_flow("short", &x.flow[i]);
        print_flow("long ", &y.flow[i]);
        return false;
    }
    return true;
}

static bool same_stats(const struct run *a, const struct run *b)
{
    struct mb_stats x, y;
    mb_engine_stats(a->engine, &x);
    mb_engine_stats(b->engine, &y);
    return memcmp(&x, &y, sizeof x) == 0;
}

static bool same(const struct run *a, const struct run *b, uint64_t seed, int at)
{
    bool flows = same_flows(a, b), stats = same_stats(a, b), told = a->told == b->told && a->events == b->events;
    if (flows && stats && told)
        return true;
    fprintf(stderr, "seed %llu, way %d, frame %d of %d: other%s%s%s\n", (unsigned long long)seed, a->way, at, shot_count,
            flows ? "" : " flows", stats ? "" : " counters", told ? "" : " events");
    return false;
}

static struct mb_config config_of(uint64_t seed)
{
    struct mb_config config;
    mb_config_init(&config);
    dice = seed ^ 0x5555;
    roll(2);
    config.seed = 7;
    config.max_flows = one_in(4) ? 2 : MAX_SEEN;
    config.reassemble = !one_in(6);
    config.midstream = !one_in(4);
    config.async_oneside = one_in(6);
    config.urgent = one_in(3) ? MB_URGENT_OOB : MB_URGENT_INLINE;
    config.table_full = (uint8_t)roll(3);
    return config;
}

/* Ends both runs, alike so far if |ok|: whether they are to the end. */
static bool end_alike(struct run *a, struct run *b, uint64_t seed, bool ok)
{
    mb_engine_finish(a->engine);
    mb_engine_finish(b->engine);
    ok = ok && same(a, b, seed, shot_count);
    mb_engine_free(a->engine);
    mb_engine_free(b->engine);
    return ok;
}

/* Frame by frame, the short way beside the long way. */
static bool compare(uint64_t seed, int way)
{
    struct mb_config config = config_of(seed);
    struct run a, b;
    run_begin(&a, &config, way);
    run_begin(&b, &config, way);
    bool ok = true;
    for (int i = 0; i < shot_count && ok; i++) {
        struct mb_frame frame = frame_from(&shots[i], false);
        mb_engine_frame(a.engine, 1, &frame);
        frame = frame_from(&shots[i], true);
        mb_engine_frame(b.engine, 1, &frame);
        ok = same(&a, &b, seed, i);
    }
    return end_alike(&a, &b, seed, ok);
}

/* ---- bursts ---------------------------------------------------------------- */

/* A source of all shots. */
struct feed {
    struct mb_source source;
    int at;
    int most; /* at a time */
};

static int feed_burst(struct mb_source *s, struct mb_frame *frames, int max, int *link)
{
    struct feed *f = (struct feed *)(void *)s;
    int n = 0;
    *link = 1;
    for (; n < max && n < f->most && f->at < shot_count; f->at++)
        frames[n++] = frame_from(&shots[f->at], false);
    return n;
}

/* All in bursts beside frame by frame. */
static bool compare_bursts(uint64_t seed, int way)
{
    static const struct mb__source_ops ops = {.burst = feed_burst};
    struct mb_config config = config_of(seed);
    struct feed feed = {.source = {.ops = &ops}, .most = seed % 3 == 0 ? MB_BURST : 1 + (int)(seed % 40)};
    struct run a, b;
    run_begin(&a, &config, way);
    run_begin(&b, &config, way);
    for (int i = 0; i < shot_count; i++) {
        struct mb_frame frame = frame_from(&shots[i], false);
        mb_engine_frame(b.engine, 1, &frame);
    }
    while (mb_engine_run(a.engine, &feed.source, 0) > 0)
        continue;
    bool ok = same(&a, &b, seed, shot_count);
    return end_alike(&a, &b, seed, ok);
}

/* ---- tests ----------------------------------------------------------------- */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* Runs |compare| on all cases, each in all ways. */
static void compare_all(bool (*compare_one)(uint64_t seed, int way))
{
    uint64_t first = number_of("MB_TEST_FIRST", 1), cases = number_of("MB_TEST_CASES", 300);
    for (uint64_t seed = first; seed < first + cases && test_failures < 5; seed++) {
        make_case(seed);
        for (int way = 0; way < WAYS; way++)
            CHECK(compare_one(seed, way));
    }
}

static void test_short_ways_do_what_the_long_way_does(void)
{
    compare_all(compare);
}

static void test_bursts_do_what_frames_do_one_by_one(void)
{
    compare_all(compare_bursts);
}

int main(void)
{
    RUN(test_short_ways_do_what_the_long_way_does);
    RUN(test_bursts_do_what_frames_do_one_by_one);
    return test_done();
}
