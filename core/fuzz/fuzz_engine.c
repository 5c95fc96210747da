/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_engine -- any packets of any conversations: streams join, flows end once, memory comes back
 *
 *   input --> traffic: a few conversations whose every field may be bent --> pcap in memory
 *                                                                              |
 *             run 1: frame by frame, one seed        run 2: in bursts, another seed
 *                        +------------- the same events? -------------+
 *
 * The input's bytes choose what each packet does (see enum act). Payload is a
 * function of the sequence number, so that whatever is delivered can be judged
 * byte by byte; or, by option, snippets of protocols, for the parsers.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "io/source.h"

#define CONVERSATIONS 4
#define MAX_FRAMES 300
#define MAX_BODY 600
#define LINK_RAW 101
#define MS 1000000LL

/* ---- traffic: input bytes become a capture --------------------------------- */

enum act {
    ACT_DATA, /* the next bytes of a side */
    ACT_OPEN, /* a step of the handshake */
    ACT_BENT, /* a segment with every field moved off its place */
    ACT_CLOSE,
    ACT_DATAGRAM,
    ACT_WAIT,
    ACT_FRAGMENTS, /* the last packet again, in fragments */
    ACT_JUNK,      /* a frame of input bytes */
};

struct conversation {
    uint32_t next[2]; /* sequence number each side sends next */
};

struct traffic {
    struct conversation conversation[CONVERSATIONS];
    struct mb__cursor in;
    bool keyed;        /* payload is a function of the sequence number */
    int64_t ts;
    unsigned frames;
    uint8_t *pcap;
    size_t len, room;
    uint8_t last[MAX_BODY + 100]; /* the last datagram */
    size_t last_len;
    unsigned ip_id;
};

static uint8_t next_byte(struct traffic *t)
{
    uint8_t b = 0;
    mb__cursor_u8(&t->in, &b);
    return b;
}

/* The byte that has sequence number |seq|, whoever sends it. */
static uint8_t keyed_byte(uint32_t seq)
{
    return (uint8_t)(seq * 31 + (seq >> 8) * 17 + 3);
}

static void put(struct traffic *t, const void *bytes, size_t len)
{
    if (t->len + len > t->room) {
        t->room = 2 * (t->len + len);
        t->pcap = realloc(t->pcap, t->room);
        assert(t->pcap != NULL);
    }
    memcpy(t->pcap + t->len, bytes, len);
    t->len += len;
}

static void put_frame(struct traffic *t, const uint8_t *frame, size_t len)
{
    if (t->frames++ >= MAX_FRAMES)
        return;
    uint32_t head[4] = {(uint32_t)(t->ts / 1000000000), (uint32_t)(t->ts % 1000000000), (uint32_t)len, (uint32_t)len};
    put(t, head, sizeof head);
    put(t, frame, len);
}

/* Header and |len| bytes of |body| as one datagram of conversation |c|. The
 * odd conversations speak IPv6. */
static void put_ip(struct traffic *t, int c, int side, uint8_t proto, const uint8_t *body, size_t len)
{
    uint8_t *b = t->last;
    size_t head = c & 1 ? 40 : 20;
    memset(b, 0, head);
    if (c & 1) {
        b[0] = 0x60;
        mb__put_be16(b + 4, (uint16_t)len);
        b[6] = proto;
        b[7] = 64;
        b[8] = b[24] = 0xfd;
        b[23] = (uint8_t)(side == 0 ? 1 : 9);
        b[39] = (uint8_t)(side == 0 ? 9 : 1);
    } else {
        b[0] = 0x45;
        mb__put_be16(b + 2, (uint16_t)(20 + len));
        mb__put_be16(b + 4, (uint16_t)++t->ip_id);
        b[8] = 64;
        b[9] = proto;
        mb__put_be32(b + 12, side == 0 ? 0x0a000001 : 0x0a000009);
        mb__put_be32(b + 16, side == 0 ? 0x0a000009 : 0x0a000001);
    }
    memcpy(b + head, body, len);
    t->last_len = head + len;
    put_frame(t, b, t->last_len);
}

/* Payload of |len| bytes whose first has sequence number |seq|. */
static void fill(struct traffic *t, uint8_t *b, size_t len, uint32_t seq)
{
    static const char *const snippets[] = {
        "GET /a HTTP/1.1\r\nHost: x.example\r\n\r\n",
        "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "SSH-2.0-x\r\n",
        "\x16\3\1\0\x2e\1\0\0\x2a\3\3" "0123456789abcdef0123456789abcdef" "\0\0\2\x13\1\1",
        "\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1",
    };
    if (t->keyed) {
        for (size_t i = 0; i < len; i++)
            b[i] = keyed_byte(seq + (uint32_t)i);
        return;
    }
    const char *text = snippets[len % 6];
    size_t part = strlen(text) < len ? strlen(text) : len;
    memset(b, 'x', len);
    memcpy(b, text, part);
    if (len > 250 && mb__cursor_left(&t->in) >= 32)
        memcpy(b + len - 32, mb__cursor_take(&t->in, 32), 32);
}

static const uint16_t ports[2] = {4000, 80}; /* of the first conversation */

static void put_tcp(struct traffic *t, int c, int side, uint8_t flags, uint32_t seq, uint32_t ack, size_t len)
{
    uint8_t b[MAX_BODY + 20] = {0};
    mb__put_be16(b, (uint16_t)(ports[side] + c));
    mb__put_be16(b + 2, (uint16_t)(ports[!side] + c));
    mb__put_be32(b + 4, seq);
    mb__put_be32(b + 8, flags & MB_TCP_ACK ? ack : 0);
    b[12] = 5 << 4;
    b[13] = flags;
    mb__put_be16(b + 14, 60000);
    mb__put_be16(b + 18, flags & MB_TCP_URG ? (uint16_t)(seq % 301) : 0);
    fill(t, b + 20, len, seq + !!(flags & MB_TCP_SYN));
    put_ip(t, c, side, 6, b, 20 + len);
}

static void act_open(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t how = next_byte(t);
    if (how & 1) /* another incarnation */
        v->next[side] += 100000u * how;
    uint8_t flags = side == 0 ? MB_TCP_SYN : MB_TCP_SYN | MB_TCP_ACK;
    size_t len = how & 2 ? how : 0;
    put_tcp(t, c, side, flags, v->next[side], v->next[!side], len);
    v->next[side] += 1 + (how & 4 ? (uint32_t)len : 0);
}

static void act_data(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t size = next_byte(t);
    size_t len = size < 200 ? size : size * 2u;
    put_tcp(t, c, side, MB_TCP_ACK, v->next[side], v->next[!side], len);
    v->next[side] += (uint32_t)len;
}

static void act_bent(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t flags = next_byte(t), size = next_byte(t), scale = next_byte(t);
    int8_t seq = (int8_t)next_byte(t), ack = (int8_t)next_byte(t);
    uint32_t unit = 1u << (scale & 15), ack_unit = 1u << (scale >> 4);
    put_tcp(t, c, side, flags, v->next[side] + (uint32_t)seq * unit, v->next[!side] + (uint32_t)ack * ack_unit, size);
}

static void act_close(struct traffic *t, int c, int side)
{
    struct conversation *v = &t->conversation[c];
    uint8_t how = next_byte(t);
    if (how & 1) {
        put_tcp(t, c, side, MB_TCP_RST | MB_TCP_ACK, v->next[side], v->next[!side], 0);
        return;
    }
    put_tcp(t, c, side, MB_TCP_FIN | MB_TCP_ACK, v->next[side], v->next[!side], how);
    v->next[side] += how + 1u;
}

static void act_datagram(struct traffic *t, int c, int side)
{
    uint8_t b[MAX_BODY] = {0}, size = next_byte(t);
    mb__put_be16(b, (uint16_t)(side == 0 ? 5000 : 53));
    mb__put_be16(b + 2, (uint16_t)(side == 0 ? 53 : 5000));
    mb__put_be16(b + 4, (uint16_t)(8 + size));
    fill(t, b + 8, size, size);
    put_ip(t, c, side, size & 1 ? 17 : size & 2 ? 1 : 132, b, 8u + size);
}

/* An IPv4 datagram in fragments of 8 to 128 bytes, some of them not there. */
static void act_fragments(struct traffic *t)
{
    uint8_t how = next_byte(t), missing = next_byte(t), b[sizeof t->last];
    if (t->last_len < 28 || t->last[0] != 0x45 || t->last[6] != 0)
        return;
    size_t step = 8u * (1 + (how & 15)), body = t->last_len - 20, n = (body + step - 1) / step;
    mb__put_be16(t->last + 4, (uint16_t)++t->ip_id);
    for (size_t i = 0; i < n; i++) {
        size_t at = step * (how & 16 ? n - 1 - i : i), len = body - at < step ? body - at : step;
        if (how & 32 && i == missing % n)
            continue;
        memcpy(b, t->last, 20);
        memcpy(b + 20, t->last + 20 + at, len);
        mb__put_be16(b + 2, (uint16_t)(20 + len));
        mb__put_be16(b + 6, (uint16_t)(at / 8 | (at + len < body ? 0x2000 : 0)));
        put_frame(t, b, 20 + len);
    }
}

static void act_junk(struct traffic *t)
{
    size_t len = next_byte(t) & 63;
    const uint8_t *b = mb__cursor_take(&t->in, len);
    if (b != NULL)
        put_frame(t, b, len);
}

static void act(struct traffic *t, uint8_t op)
{
    int c = op & 3, side = op >> 2 & 1;
    t->ts += MS;
    switch ((enum act)(op >> 3 & 7)) {
    case ACT_DATA: act_data(t, c, side); break;
    case ACT_OPEN: act_open(t, c, side); break;
    case ACT_BENT: act_bent(t, c, side); break;
    case ACT_CLOSE: act_close(t, c, side); break;
    case ACT_DATAGRAM: act_datagram(t, c, side); break;
    case ACT_WAIT: t->ts += MS << (op & 7) * 3; break;
    case ACT_FRAGMENTS: act_fragments(t); break;
    case ACT_JUNK: act_junk(t); break;
    }
}

static void make_traffic(struct traffic *t)
{
    static const uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, LINK_RAW};
    put(t, head, sizeof head);
    t->ts = 1000 * 1000 * MS;
    for (int c = 0; c < CONVERSATIONS; c++) /* the last one wraps round soon */
        t->conversation[c] = (struct conversation){{0u - 300u * (c == 3), 0x7ffffff0u * (unsigned)c}};
    uint8_t op;
    while (t->frames < MAX_FRAMES && mb__cursor_u8(&t->in, &op))
        act(t, op);
}

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
    const struct traffic *traffic;
    uint64_t hash;     /* of all that was heard */
    uint64_t started, ended, newest, gap_bytes;
    uint8_t meddle;    /* which events the listener does something about */
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

static void give_back(void *user)
{
    live--;
    free(user);
}

/* Whether the payload of |flow| is a function of the sequence number: not if the flow was made of junk. */
static bool is_keyed(const struct run *r, const struct mb_flow *flow)
{
    int a = flow->end[MB_CLIENT].port, b = flow->end[MB_SERVER].port;
    int c = a < b ? a - ports[1] : b - ports[1];
    return r->traffic->keyed && flow->ip_proto == 6 && c >= 0 && c < CONVERSATIONS && a + b == ports[0] + ports[1] + 2 * c;
}

static void check_bytes(const struct run *r, const struct mb_event *ev, const uint8_t *data, uint64_t len)
{
    if (!is_keyed(r, ev->flow))
        return;
    uint32_t seq = ev->flow->end[ev->side].stream_seq + (uint32_t)ev->offset;
    for (uint64_t i = 0; i < len; i++)
        assert(data[i] == keyed_byte(seq + (uint32_t)i));
}

static void check_stream(const struct mb_flow *flow, int side)
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
        assert(ev->reason != MB_END_NONE && ev->reason <= MB_END_SHUTDOWN && ev->reason == ev->flow->end_reason);
        for (int side = 0; side < 2 && ev->flow->ip_proto == 6; side++)
            assert(told->off[side] || told->ignored || told->next[side] == ev->flow->end[side].next);
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
    check_stream(ev->flow, 0);
    check_stream(ev->flow, 1);
    meddle(r, told, ev);
    return 0;
}

static void start(struct run *r, const struct traffic *t, const uint8_t option[4], uint64_t seed)
{
    struct mb_config config;
    mb_config_init(&config);
    config.seed = seed;
    config.max_flows = option[0] & 1 ? 3 : 1000;
    config.max_stream_bytes = option[0] & 2 ? 700 : 100000;
    config.max_memory = option[0] & 4 ? 3000 : 1 << 24;
    config.max_fragments = option[0] & 8 ? 2 : 100;
    config.midstream = !(option[0] & 16);
    config.async_oneside = option[0] >> 5 & 1;
    config.overlap = (option[1] >> 4) % MB_OVERLAP_COUNT;
    config.reassemble = !(option[0] & 128) || (option[1] & 1);
    config.urgent = option[3] & 1;
    config.table_full = (option[3] >> 1 & 3) % 3;
    *r = (struct run){.traffic = t, .meddle = option[2]};
    r->e = mb_engine_new(&config, NULL);
    assert(r->e != NULL);
    r->monitor = mb_monitor_new(r->e, "fuzz", NULL);
    assert(r->monitor != NULL);
    mb_monitor_user_free(r->monitor, give_back);
    if (option[1] & 2)
        mb_monitor_history(r->monitor, 200);
    for (uint32_t event = 0; event < MB_EV_BUILTIN; event++) {
        if (event == MB_EV_TIMER || (event >= MB_EV_PROTOCOL && event <= MB_EV_SSH && !(option[1] & 4)))
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
        assert(mb_engine_frame(r->e, LINK_RAW, &frame) == 0);
        free(copy);
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
    static struct traffic t;
    static struct run one, two;
    t = (struct traffic){.in = mb__cursor(data, size)};
    const uint8_t *option = mb__cursor_take(&t.in, 4);
    if (option == NULL)
        return 0;
    t.keyed = !(option[1] & 4);
    make_traffic(&t);
    start(&one, &t, option, 1);
    run_frames(&one, &t);
    stop(&one);
    start(&two, &t, option, 2);
    run_bursts(&two, &t);
    stop(&two);
    assert(one.hash == two.hash);
    free(t.pcap);
    return 0;
}
