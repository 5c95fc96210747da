/* SPDX-License-Identifier: BSD-3-Clause */
/* conn -- one flow's protocol: the search for it, then its parser
 *
 *   bytes of a side --> held while undecided (at most PROBE_MAX) --+
 *                         |  each candidate: no / more / yes       |
 *                         v                                        v
 *              no candidate left: missed, not kept     yes: replayed into the parser
 *
 * Either side may give the protocol away. A side whose bytes fit nothing waits
 * for the other one to speak; if that settles it, the parser is told of a gap
 * in place of the bytes let go.
 */
#include "proto/hold.h"
#include "proto/proto.h"

#define PROBE_MAX 512                /* bytes of a side that are looked at */
#define PROBE_DATAGRAMS 4            /* datagrams that are looked at */
#define PROBE_MISSED_MAX (64 * 1024) /* bytes of a side that fit nothing before the search ends */
#define EVENT_BIT(event) (UINT64_C(1) << (event))

static const struct mb__proto *const protocols[] = {
    &mb__proto_http,
    &mb__proto_tls,
    &mb__proto_dns,
    &mb__proto_ssh,
};
#define PROTOCOLS (sizeof protocols / sizeof *protocols)

struct search {
    struct mb__hold hold; /* what the side sent so far */
    uint64_t missed;      /* bytes let go because they fit nothing */
    uint8_t candidates;   /* bit i: protocols[i] may still be it */
    bool ended;           /* it sends no more */
};

struct mb__proto_conn {
    const struct mb__proto *proto; /* NULL: searching, or parsing is over */
    void *state;                   /* of proto */
    struct search search[2];
    uint8_t app;                   /* enum mb_app_proto */
    uint8_t datagrams_seen;
    bool datagrams;
    bool done;
};

const char *mb_app_proto_name(int proto)
{
    static const char *const names[] = {"unknown", "failed", "http", "tls", "dns", "ssh"};
    return proto >= 0 && proto < (int)(sizeof names / sizeof *names) ? names[proto] : "failed";
}

struct mb__proto_conn *mb__proto_conn_new(struct mb__proto_sink *sink, bool datagrams, uint16_t client_port,
                                          uint16_t server_port)
{
    (void)client_port, (void)server_port; /* four probes cost less than being wrong about a port */
    struct mb__proto_conn *c = mb__memory_alloc(sink->memory, sizeof *c);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->datagrams = datagrams;
    bool all = sink->wanted & EVENT_BIT(MB_EV_PROTOCOL);
    for (size_t i = 0; i < PROTOCOLS; i++) {
        const struct mb__proto *p = protocols[i];
        if ((datagrams ? p->datagrams : p->streams) && (all || (p->events & sink->wanted) != 0))
            c->search[0].candidates |= (uint8_t)(1u << i);
    }
    c->search[1].candidates = c->search[0].candidates;
    c->done = c->search[0].candidates == 0;
    return c;
}

int mb__proto_conn_app(const struct mb__proto_conn *c)
{
    return c->app;
}

bool mb__proto_conn_done(const struct mb__proto_conn *c)
{
    return c->done;
}

static void drop_holds(struct mb__proto_conn *c, struct mb__proto_sink *sink)
{
    mb__hold_free(&c->search[0].hold, sink->memory);
    mb__hold_free(&c->search[1].hold, sink->memory);
}

static void drop_parser(struct mb__proto_conn *c, struct mb__proto_sink *sink)
{
    if (c->proto != NULL)
        c->proto->destroy(c->state, sink);
    c->proto = NULL;
    c->state = NULL;
}

void mb__proto_conn_free(struct mb__proto_conn *c, struct mb__proto_sink *sink)
{
    if (c == NULL)
        return;
    drop_parser(c, sink);
    drop_holds(c, sink);
    mb__memory_free(sink->memory, c, sizeof *c);
}

/* The search is over without a result. */
static void give_up(struct mb__proto_conn *c, struct mb__proto_sink *sink)
{
    drop_holds(c, sink);
    c->app = MB_APP_NONE;
    c->done = true;
}

/* A parser that has seen all is freed at once: a session may live for days. */
static int settle(struct mb__proto_conn *c, struct mb__proto_sink *sink, int rc)
{
    if (c->proto != NULL && c->proto->done(c->state)) {
        drop_parser(c, sink);
        c->done = true;
    }
    return rc;
}

/* Gives the parser what |side| sent while it was not known. */
static int replay(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side)
{
    struct search *s = &c->search[side];
    int rc = 0;
    if (s->missed > 0)
        rc = c->proto->gap(c->state, sink, side, s->missed);
    if (rc == 0 && s->hold.len > 0)
        rc = c->proto->data(c->state, sink, side, s->hold.data, s->hold.len);
    if (rc == 0 && s->ended)
        rc = c->proto->end(c->state, sink, side);
    return rc;
}

/* |proto| it is: |side| gave it away. */
static int recognised(struct mb__proto_conn *c, struct mb__proto_sink *sink, const struct mb__proto *proto, int side)
{
    int rc = 0;
    c->app = proto->app;
    bool parse = (proto->events & sink->wanted) != 0;
    if (parse && (c->state = proto->create(sink, c->datagrams)) == NULL)
        parse = false;
    if (parse)
        c->proto = proto;
    else
        c->done = true;
    if (sink->wanted & EVENT_BIT(MB_EV_PROTOCOL))
        rc = sink->emit(sink, MB_EV_PROTOCOL, side, NULL, NULL, 0);
    if (parse && rc == 0)
        rc = replay(c, sink, !side);
    if (parse && rc == 0)
        rc = replay(c, sink, side); /* last: what decided may go on behind it */
    drop_holds(c, sink);
    return settle(c, sink, rc);
}

/* Asks the candidates about the first bytes of |side|. Those that say no are
 * struck; the one that says yes is returned. */
static const struct mb__proto *probe(struct mb__proto_conn *c, int side, const uint8_t *data, size_t len)
{
    struct search *s = &c->search[side];
    for (size_t i = 0; i < PROTOCOLS; i++) {
        if (!(s->candidates & 1u << i))
            continue;
        enum mb__probe answer = protocols[i]->probe(side, data, len, c->datagrams);
        if (answer == MB__PROBE_YES)
            return protocols[i];
        if (answer == MB__PROBE_NO || len >= PROBE_MAX)
            s->candidates &= (uint8_t)~(1u << i);
    }
    return NULL;
}

/* Nothing fits |len| more bytes of |side|: wait for the other side, if it may
 * still tell. */
static void miss(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, size_t len)
{
    struct search *s = &c->search[side], *other = &c->search[!side];
    s->missed += s->hold.len + len;
    mb__hold_free(&s->hold, sink->memory);
    s->candidates = 0;
    if (other->candidates == 0 || other->ended || s->missed > PROBE_MISSED_MAX)
        give_up(c, sink);
}

static int search_datagram(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, const uint8_t *data,
                           size_t len)
{
    uint8_t candidates = c->search[side].candidates;
    const struct mb__proto *proto = probe(c, side, data, len);
    c->search[side].candidates = candidates; /* each datagram has a new chance */
    if (proto == NULL) {
        if (++c->datagrams_seen >= PROBE_DATAGRAMS)
            give_up(c, sink);
        return 0;
    }
    int rc = recognised(c, sink, proto, side);
    if (rc == 0 && c->proto != NULL)
        rc = settle(c, sink, c->proto->data(c->state, sink, side, data, len));
    return rc;
}

static int search_stream(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, const uint8_t *data,
                         size_t len)
{
    struct search *s = &c->search[side];
    if (s->candidates == 0) {
        miss(c, sink, side, len);
        return 0;
    }
    const struct mb__proto *proto;
    bool direct = s->hold.len == 0;
    if (direct) {
        proto = probe(c, side, data, len < PROBE_MAX ? len : PROBE_MAX);
    } else {
        int filled = mb__hold_fill(&s->hold, sink->memory, PROBE_MAX, &data, &len);
        if (filled < 0)
            s->candidates = 0;
        proto = probe(c, side, s->hold.data, s->hold.len);
    }
    if (proto == NULL && (s->candidates == 0 || (direct && !mb__hold_add(&s->hold, sink->memory, data, len)))) {
        miss(c, sink, side, len);
        return 0;
    }
    if (proto == NULL)
        return 0;
    int rc = recognised(c, sink, proto, side);
    if (rc == 0 && c->proto != NULL && len > 0)
        rc = settle(c, sink, c->proto->data(c->state, sink, side, data, len));
    return rc;
}

int mb__proto_conn_data(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, const uint8_t *data,
                        size_t len)
{
    if (c->done || c->search[side].ended || (len == 0 && !c->datagrams))
        return 0;
    if (c->proto != NULL)
        return settle(c, sink, c->proto->data(c->state, sink, side, data, len));
    return c->datagrams ? search_datagram(c, sink, side, data, len) : search_stream(c, sink, side, data, len);
}

int mb__proto_conn_gap(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, uint64_t len)
{
    if (c->done || c->search[side].ended || len == 0)
        return 0;
    if (c->proto != NULL)
        return settle(c, sink, c->proto->gap(c->state, sink, side, len));
    miss(c, sink, side, len);
    return 0;
}

int mb__proto_conn_end(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side)
{
    struct search *s = &c->search[side], *other = &c->search[!side];
    if (c->done || s->ended)
        return 0;
    s->ended = true;
    if (c->proto != NULL)
        return settle(c, sink, c->proto->end(c->state, sink, side));
    if (other->ended || other->candidates == 0)
        give_up(c, sink);
    return 0;
}
