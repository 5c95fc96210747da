/* SPDX-License-Identifier: BSD-3-Clause */
/* parsing -- a flow's bytes through the parser of its protocol
 *
 *   flow --> slot --> NULL: no bytes yet | a parser | PARSER_DONE: it has told all
 *
 * The parser is made when the first bytes come and freed as soon as it has nothing
 * more to report.
 */
#include "conversation.h"

/* Stands where the parser was when it had seen all it reports. */
static char parser_done_mark;
#define PARSER_DONE ((struct mb__proto_conn *)(void *)&parser_done_mark)

static struct mb__proto_conn **parser_of(const struct mb_engine *e, const struct mb_flow *flow)
{
    return (struct mb__proto_conn **)((uintptr_t)flow + e->proto_slot);
}

bool mb__wants_protocol(const struct mb_engine *e, const struct mb_flow *flow)
{
    return e->proto_slot != 0 && flow->events & MB__PROTO_EVENTS && *parser_of(e, flow) != PARSER_DONE;
}

int mb__conversation_emit(struct mb__proto_sink *sink, uint32_t event, int side, const void *record,
                          const uint8_t *data, uint64_t len)
{
    struct mb_engine *e = (struct mb_engine *)(void *)((uint8_t *)sink - offsetof(struct mb_engine, sink));
    const struct mb_event *from = e->parsed;
    struct mb_flow *flow = from->flow;
    if (event == MB_EV_ANOMALY)
        return mb__engine_anomaly(e, flow, side, from->packet, MB_ANOMALY_PROTO);
    if (event == MB_EV_PROTOCOL)
        flow->app_proto = (uint8_t)mb__proto_conn_app(*parser_of(e, flow));
    if (!mb__heard(flow, (int)event))
        return 0;
    struct mb_event ev = mb__event_of(e, flow, side, from->packet, event, MB_HOOK_NONE);
    ev.record = record;
    ev.data = data;
    ev.len = len;
    ev.offset = from->offset;
    return mb__engine_raise(e, &ev);
}

void mb__parser_free(struct mb_engine *e, struct mb_flow *flow)
{
    struct mb__proto_conn **parser = e->proto_slot == 0 ? NULL : parser_of(e, flow);
    if (parser == NULL || *parser == NULL || *parser == PARSER_DONE)
        return;
    mb__proto_conn_free(*parser, &e->sink);
    *parser = NULL;
}

void mb__parser_restart(struct mb_engine *e, struct mb_flow *flow)
{
    mb__parser_free(e, flow);
    if (e->proto_slot != 0)
        *parser_of(e, flow) = NULL;
    flow->app_proto = MB_APP_NONE;
}

/* After each call into a parser: note what it found, let it go when it is done.
 * That nothing is known here is news too. */
static int parser_settle(struct mb_engine *e, const struct mb_event *from)
{
    struct mb_flow *flow = from->flow;
    struct mb__proto_conn *parser = *parser_of(e, flow);
    bool told = flow->app_proto == MB_APP_NONE;
    flow->app_proto = (uint8_t)mb__proto_conn_app(parser);
    if (!mb__proto_conn_done(parser))
        return 0;
    mb__parser_free(e, flow);
    *parser_of(e, flow) = PARSER_DONE; /* nothing more will be raised, so nothing more is kept */
    if (told || flow->app_proto != MB_APP_NONE)
        return 0;
    return mb__raise_plain(e, flow, from->side, from->packet, MB_EV_PROTOCOL, MB_HOOK_NONE);
}

int mb__parser_call(struct mb_engine *e, struct mb_event *ev, enum mb__parsing call)
{
    struct mb_flow *flow = ev->flow;
    if (!mb__wants_protocol(e, flow))
        return 0;
    struct mb__proto_conn **parser = parser_of(e, flow);
    if (*parser == NULL && call == MB__PARSER_DATA)
        *parser = mb__proto_conn_new(&e->sink, flow->ip_proto == 17, flow->end[MB_CLIENT].port,
                                     flow->end[MB_SERVER].port);
    if (*parser == NULL)
        return 0;
    e->parsed = ev;
    int err = call == MB__PARSER_DATA  ? mb__proto_conn_data(*parser, &e->sink, ev->side, ev->data, ev->len)
              : call == MB__PARSER_GAP ? mb__proto_conn_gap(*parser, &e->sink, ev->side, ev->len)
                                   : mb__proto_conn_end(*parser, &e->sink, ev->side);
    e->parsed = NULL;
    int failed = parser_settle(e, ev);
    return err < 0 ? err : failed;
}

int mb__parser_end(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p)
{
    if (!mb__wants_protocol(e, flow))
        return 0;
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_DATA, MB_HOOK_NONE);
    return mb__parser_call(e, &ev, MB__PARSER_END);
}
