/* SPDX-License-Identifier: BSD-3-Clause */
/* field -- the fields that expressions know, and where their values are */
#include <string.h>

#include "match/expr.h"

#define BIT(n) ((uint64_t)1 << (n))
#define WITH_LEN (BIT(MB_EV_DATA) | BIT(MB_EV_RETRANSMIT) | BIT(MB_EV_GAP) | BIT(MB_EV_HTTP_BODY))
#define WITH_DATA (BIT(MB_EV_DATA) | BIT(MB_EV_RETRANSMIT) | BIT(MB_EV_HTTP_BODY))

static const struct mb__field fields[] = {
    /* name, id, kind, client. and server., alone, events */
    {"ip", MB__F_IP, MB__KIND_ADDR, true, true, 0},
    {"port", MB__F_PORT, MB__KIND_COUNT, true, true, 0},
    {"packets", MB__F_PACKETS, MB__KIND_COUNT, true, true, 0},
    {"bytes", MB__F_BYTES, MB__KIND_SIZE, true, true, 0},
    {"state", MB__F_STATE, MB__KIND_STATE, true, false, 0},
    {"retransmits", MB__F_RETRANSMITS, MB__KIND_COUNT, true, true, 0},
    {"out_of_order", MB__F_OUT_OF_ORDER, MB__KIND_COUNT, true, true, 0},
    {"missed", MB__F_MISSED, MB__KIND_SIZE, true, true, 0},
    {"gaps", MB__F_GAPS, MB__KIND_BOOL, true, true, 0},
    {"mss", MB__F_MSS, MB__KIND_SIZE, true, false, 0},
    {"proto", MB__F_PROTO, MB__KIND_PROTO, false, true, 0},
    {"version", MB__F_VERSION, MB__KIND_COUNT, false, true, 0},
    {"vlan", MB__F_VLAN, MB__KIND_COUNT, false, true, 0},
    {"tunnel", MB__F_TUNNEL, MB__KIND_COUNT, false, true, 0},
    {"duration", MB__F_DURATION, MB__KIND_TIME, false, true, 0},
    {"rtt", MB__F_RTT, MB__KIND_TIME, false, true, 0},
    {"app", MB__F_APP, MB__KIND_APP, false, true, 0},
    {"midstream", MB__F_MIDSTREAM, MB__KIND_BOOL, false, true, 0},
    {"answered", MB__F_ANSWERED, MB__KIND_BOOL, false, true, 0},
    {"alerted", MB__F_ALERTED, MB__KIND_BOOL, false, true, 0},
    {"anomalies", MB__F_ANOMALIES, MB__KIND_COUNT, false, true, 0},
    {"side", MB__F_SIDE, MB__KIND_SIDE, false, true, 0},
    {"len", MB__F_LEN, MB__KIND_SIZE, false, true, WITH_LEN},
    {"offset", MB__F_OFFSET, MB__KIND_SIZE, false, true, WITH_LEN},
    {"old_state", MB__F_OLD_STATE, MB__KIND_STATE, false, true, BIT(MB_EV_STATE_CHANGE)},
    {"new_state", MB__F_NEW_STATE, MB__KIND_STATE, false, true, BIT(MB_EV_STATE_CHANGE)},
    {"reason", MB__F_REASON, MB__KIND_REASON, false, true, BIT(MB_EV_ANOMALY) | BIT(MB_EV_FLOW_END)},
    {"conflict", MB__F_CONFLICT, MB__KIND_BOOL, false, true, BIT(MB_EV_RETRANSMIT)},
    {"data", MB__F_DATA, MB__KIND_BYTES, false, true, WITH_DATA},
    {"src.ip", MB__F_SRC_IP, MB__KIND_ADDR, false, true, 0},
    {"dst.ip", MB__F_DST_IP, MB__KIND_ADDR, false, true, 0},
    {"src.port", MB__F_SRC_PORT, MB__KIND_COUNT, false, true, 0},
    {"dst.port", MB__F_DST_PORT, MB__KIND_COUNT, false, true, 0},
    {"ttl", MB__F_TTL, MB__KIND_COUNT, false, true, 0},
    {"tos", MB__F_TOS, MB__KIND_COUNT, false, true, 0},
    {"tcp.flags", MB__F_TCP_FLAGS, MB__KIND_FLAGS, false, true, 0},
    {"tcp.window", MB__F_TCP_WINDOW, MB__KIND_SIZE, false, true, 0},
    {"icmp.type", MB__F_ICMP_TYPE, MB__KIND_COUNT, false, true, 0},
    {"icmp.code", MB__F_ICMP_CODE, MB__KIND_COUNT, false, true, 0},
    {"payload.len", MB__F_PAYLOAD_LEN, MB__KIND_SIZE, false, true, 0},
    {"frame.len", MB__F_FRAME_LEN, MB__KIND_SIZE, false, true, 0},
    {"payload", MB__F_PAYLOAD, MB__KIND_BYTES, false, true, 0},
};

static const char *const side_prefix[] = {"client.", "server."};

const struct mb__field *mb__field_find(const char *name, size_t len, int *of)
{
    *of = MB__OF_ALL;
    for (int side = 0; side < 2; side++) {
        size_t prefix = strlen(side_prefix[side]);
        if (len > prefix && memcmp(name, side_prefix[side], prefix) == 0) {
            *of = side;
            name += prefix;
            len -= prefix;
            break;
        }
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct mb__field *f = &fields[i];
        bool fits = *of == MB__OF_ALL ? f->of_all : f->of_side;
        if (fits && strlen(f->name) == len && memcmp(f->name, name, len) == 0)
            return f;
    }
    return NULL;
}

/* ---- numbers ---- */

static uint64_t end_number(const struct mb_endpoint *end, int id)
{
    switch (id) {
    case MB__F_PORT: return end->port;
    case MB__F_PACKETS: return end->packets;
    case MB__F_BYTES: return end->bytes;
    case MB__F_STATE: return end->state;
    case MB__F_RETRANSMITS: return end->retransmits;
    case MB__F_OUT_OF_ORDER: return end->out_of_order;
    case MB__F_MISSED: return end->missed;
    case MB__F_GAPS: return (end->flags & MB_SIDE_GAP) != 0;
    default: return end->mss;
    }
}

/* Fields of an endpoint, or of both together. */
static bool side_number(const struct mb_flow *flow, int id, int of, uint64_t *value)
{
    if (of != MB__OF_ALL) {
        *value = end_number(&flow->end[of], id);
        return true;
    }
    uint64_t client = end_number(&flow->end[MB_CLIENT], id), server = end_number(&flow->end[MB_SERVER], id);
    *value = id == MB__F_GAPS ? client | server : client + server;
    return true;
}

static bool flow_number(const struct mb_flow *flow, int id, uint64_t *value)
{
    switch (id) {
    case MB__F_PROTO: *value = flow->ip_proto; return true;
    case MB__F_VERSION: *value = flow->ip_version; return true;
    case MB__F_VLAN: *value = flow->vlan; return true;
    case MB__F_TUNNEL: *value = flow->tunnel_id; return true;
    case MB__F_DURATION: *value = (uint64_t)flow->last_ts - (uint64_t)flow->first_ts; return true;
    case MB__F_RTT:
        *value = ((uint64_t)flow->rtt_client + flow->rtt_server) * 1000;
        return *value != 0;
    case MB__F_APP: *value = flow->app_proto; return true;
    case MB__F_MIDSTREAM: *value = (flow->flags & MB_FLOW_MIDSTREAM) != 0; return true;
    case MB__F_ANSWERED: *value = (flow->flags & MB_FLOW_ANSWERED) != 0; return true;
    case MB__F_ALERTED: *value = (flow->flags & MB_FLOW_ALERTED) != 0; return true;
    default: *value = flow->anomalies; return true;
    }
}

static uint64_t event_number(const struct mb_event *ev, int id)
{
    switch (id) {
    case MB__F_SIDE: return ev->side;
    case MB__F_LEN: return ev->len;
    case MB__F_OFFSET: return ev->offset;
    case MB__F_OLD_STATE: return ev->old_state;
    case MB__F_NEW_STATE: return ev->new_state;
    case MB__F_REASON: return ev->reason;
    default: return ev->conflict;
    }
}

static bool ip_number(const struct mb_packet *p, int id, uint64_t *value)
{
    bool tcp = p->ip_proto == 6 && p->flags & MB_PKT_L4;
    bool icmp = (p->ip_proto == 1 || p->ip_proto == 58) && p->flags & MB_PKT_L4;
    switch (id) {
    case MB__F_PROTO: *value = p->ip_proto; return true;
    case MB__F_VERSION: *value = p->flags & MB_PKT_IPV6 ? 6 : 4; return true;
    case MB__F_SRC_PORT: *value = p->sport; return (p->flags & MB_PKT_L4) != 0;
    case MB__F_DST_PORT: *value = p->dport; return (p->flags & MB_PKT_L4) != 0;
    case MB__F_TTL: *value = p->ttl; return true;
    case MB__F_TOS: *value = p->tos; return true;
    case MB__F_TCP_FLAGS: *value = p->tcp_flags; return tcp;
    case MB__F_TCP_WINDOW: *value = p->window; return tcp;
    case MB__F_ICMP_TYPE: *value = p->icmp_type; return icmp;
    case MB__F_ICMP_CODE: *value = p->icmp_code; return icmp;
    case MB__F_PAYLOAD_LEN: *value = p->payload_len; return true;
    default: return false;
    }
}

static bool packet_number(const struct mb_packet *p, int id, uint64_t *value)
{
    if (p == NULL)
        return false;
    switch (id) {
    case MB__F_FRAME_LEN: *value = p->wire_len; return true;
    case MB__F_VLAN: *value = p->vlan[0]; return p->vlans != 0;
    case MB__F_TUNNEL: *value = p->tunnel_id; return p->tunnels != 0;
    default: return p->flags & MB_PKT_IP && ip_number(p, id, value);
    }
}

bool mb__field_number(const struct mb_event *ev, int id, int of, uint64_t *value)
{
    const struct mb_flow *flow = ev->flow;
    if (id >= MB__F_SIDE && id <= MB__F_CONFLICT) {
        *value = event_number(ev, id);
        return true;
    }
    if (id >= MB__F_SRC_PORT)
        return packet_number(ev->packet, id, value);
    if (flow != NULL)
        return id <= MB__F_MSS ? side_number(flow, id, of, value) : flow_number(flow, id, value);
    /* Without a flow the packet's own header tells some of it. */
    return id > MB__F_MSS && packet_number(ev->packet, id, value);
}

/* ---- addresses and bytes ---- */

bool mb__field_addr(const struct mb_event *ev, int id, int of, struct mb_addr *value)
{
    const struct mb_packet *p = ev->packet;
    if (id == MB__F_IP && ev->flow != NULL) {
        *value = ev->flow->end[of].addr;
        return true;
    }
    if (id == MB__F_IP || p == NULL || !(p->flags & MB_PKT_IP))
        return false;
    *value = id == MB__F_SRC_IP ? p->src : p->dst;
    return true;
}

bool mb__field_bytes(const struct mb_event *ev, int id, struct mb_view *value)
{
    const struct mb_packet *p = ev->packet;
    if (id == MB__F_DATA) {
        uint64_t len = ev->data != NULL ? ev->len : 0;
        *value = (struct mb_view){ev->data, len > UINT32_MAX ? UINT32_MAX : (uint32_t)len};
        return true;
    }
    if (p == NULL || !(p->flags & MB_PKT_IP) || p->net == NULL)
        return false;
    *value = (struct mb_view){p->net + p->payload_off, p->payload_len};
    return true;
}
