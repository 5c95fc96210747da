/* SPDX-License-Identifier: BSD-3-Clause */
/* eve -- the flow record of Suricata 7's EVE log, key for key
 *
 * The record's time is the flow's start, src is the client, bytes are those of
 * the frames. IPv6 addresses are written with all their digits, as Suricata
 * does. What EVE has no key for is in the one object "mosbox".
 */
#include "base/json.h"
#include "output/output.h"

#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define SCTP 132
#define NS_PER_SECOND 1000000000

static void put_name(struct mb__text *t, const char *name)
{
    mb__json_string_raw(t, name, strlen(name));
}

static void put_addr(struct mb__text *t, const struct mb_flow *flow, int side)
{
    const struct mb_addr *a = &flow->end[side].addr;
    if (flow->ip_version != 6) {
        mb__json_addr_raw(t, a);
        return;
    }
    char *p = mb__text_room(t, MB_ADDR_TEXT);
    *p++ = '"';
    for (int i = 0; i < 16; i += 2) {
        p = mb__put_hex(p, (uint64_t)(a->byte[i] << 8 | a->byte[i + 1]), 4);
        *p++ = i < 14 ? ':' : '"';
    }
    t->at = p;
}

/* A protocol without a name has three digits, as Suricata writes it. */
static void put_proto(struct mb__text *t, int ip_proto)
{
    const char *name = mb__ip_proto_name(ip_proto);
    if (name != NULL) {
        put_name(t, name);
        return;
    }
    char *p = mb__text_room(t, 5);
    *p = '"';
    p = mb__put_padded(p + 1, (uint64_t)ip_proto, 3);
    *p = '"';
    t->at = p + 1;
}

/* ---- states ----------------------------------------------------------------- */

/* Suricata follows one state a connection where we follow two: it is that of
 * the end that is further. */
static const char *tcp_state(const struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    bool client_fin = client->flags & MB_SIDE_FIN, server_fin = server->flags & MB_SIDE_FIN;
    if ((client->flags | server->flags) & MB_SIDE_RST)
        return "closed";
    if (client_fin && server_fin) {
        bool client_done = client->flags & MB_SIDE_FIN_ACKED, server_done = server->flags & MB_SIDE_FIN_ACKED;
        if (client_done && server_done)
            return "closed";
        return client_done || server_done ? "last_ack" : "closing";
    }
    if (client_fin || server_fin) {
        const struct mb_endpoint *closing = client_fin ? client : server;
        return closing->flags & MB_SIDE_FIN_ACKED ? "close_wait" : "fin_wait1";
    }
    uint8_t lower = client->state < server->state ? client->state : server->state;
    if (lower >= MB_TCP_ESTABLISHED || (flow->flags & MB_FLOW_MIDSTREAM))
        return "established";
    if ((client->flags & server->flags) & MB_SIDE_SEEN)
        return "syn_recv";
    return client->tcp_flags & MB_TCP_SYN ? "syn_sent" : "none";
}

static const char *flow_state(const struct mb_flow *flow, const char *tcp)
{
    if (tcp == NULL)
        return flow->flags & MB_FLOW_ANSWERED ? "established" : "new";
    if (strcmp(tcp, "closed") == 0)
        return "closed";
    return strcmp(tcp, "syn_sent") == 0 || strcmp(tcp, "syn_recv") == 0 || strcmp(tcp, "none") == 0 ? "new"
                                                                                                  : "established";
}

/* Suricata keeps closed flows for a while too and then calls that a timeout. */
static const char *reason(const struct mb_flow *flow, bool run_over)
{
    if (run_over)
        return "shutdown";
    switch (flow->end_reason) {
    case MB_END_SHUTDOWN: return "shutdown";
    case MB_END_EVICTED: return "forced";
    case MB_END_REUSED: return "tcp_reuse";
    case MB_END_NONE: return "unknown";
    default: return "timeout";
    }
}

/* ---- parts of the record ------------------------------------------------------ */

static void put_icmp(struct mb__text *t, const struct mb_flow *flow)
{
    uint32_t asked = flow->end[MB_CLIENT].isn, answered = flow->end[MB_SERVER].isn; /* type << 8 | code */
    MB__TEXT_LITERAL(t, ",\"icmp_type\":");
    mb__json_u64_raw(t, asked >> 8);
    MB__TEXT_LITERAL(t, ",\"icmp_code\":");
    mb__json_u64_raw(t, asked & 0xff);
    if (flow->end[MB_SERVER].packets == 0)
        return;
    MB__TEXT_LITERAL(t, ",\"response_icmp_type\":");
    mb__json_u64_raw(t, answered >> 8);
    MB__TEXT_LITERAL(t, ",\"response_icmp_code\":");
    mb__json_u64_raw(t, answered & 0xff);
}

static void put_ends(struct mb__text *t, const struct mb_flow *flow)
{
    bool ports = flow->ip_proto == TCP || flow->ip_proto == UDP || flow->ip_proto == SCTP;
    MB__TEXT_LITERAL(t, ",\"src_ip\":");
    put_addr(t, flow, MB_CLIENT);
    if (ports) {
        MB__TEXT_LITERAL(t, ",\"src_port\":");
        mb__json_u64_raw(t, flow->end[MB_CLIENT].port);
    }
    MB__TEXT_LITERAL(t, ",\"dest_ip\":");
    put_addr(t, flow, MB_SERVER);
    if (ports) {
        MB__TEXT_LITERAL(t, ",\"dest_port\":");
        mb__json_u64_raw(t, flow->end[MB_SERVER].port);
    }
    MB__TEXT_LITERAL(t, ",\"proto\":");
    put_proto(t, flow->ip_proto);
    if (flow->ip_proto == ICMP || flow->ip_proto == ICMPV6)
        put_icmp(t, flow);
    if (flow->app_proto != MB_APP_UNKNOWN) {
        MB__TEXT_LITERAL(t, ",\"app_proto\":");
        put_name(t, mb_app_proto_name(flow->app_proto));
    }
}

static void put_flow(struct mb__text *t, const struct mb_flow *flow, const char *tcp, const char *why,
                     struct mb__iso_cache *iso)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    MB__TEXT_LITERAL(t, ",\"flow\":{\"pkts_toserver\":");
    mb__json_u64_raw(t, client->packets);
    MB__TEXT_LITERAL(t, ",\"pkts_toclient\":");
    mb__json_u64_raw(t, server->packets);
    MB__TEXT_LITERAL(t, ",\"bytes_toserver\":");
    mb__json_u64_raw(t, client->bytes);
    MB__TEXT_LITERAL(t, ",\"bytes_toclient\":");
    mb__json_u64_raw(t, server->bytes);
    MB__TEXT_LITERAL(t, ",\"start\":");
    mb__json_iso_raw(t, iso, flow->first_ts);
    MB__TEXT_LITERAL(t, ",\"end\":");
    mb__json_iso_raw(t, iso, flow->last_ts);
    MB__TEXT_LITERAL(t, ",\"age\":"); /* whole seconds of the clock, each end cut */
    mb__json_i64_raw(t, flow->last_ts / NS_PER_SECOND - flow->first_ts / NS_PER_SECOND);
    MB__TEXT_LITERAL(t, ",\"state\":");
    put_name(t, flow_state(flow, tcp));
    MB__TEXT_LITERAL(t, ",\"reason\":");
    put_name(t, why);
    MB__TEXT_LITERAL(t, ",\"alerted\":");
    mb__json_bool_raw(t, flow->flags & MB_FLOW_ALERTED);
    if (flow->flags & MB_FLOW_DROP)
        MB__TEXT_LITERAL(t, ",\"action\":\"drop\"");
    MB__TEXT_LITERAL(t, "}");
}

static void put_hex_flags(struct mb__text *t, uint8_t flags)
{
    char *p = mb__text_room(t, 4);
    *p = '"';
    p = mb__put_hex(p + 1, flags, 2);
    *p = '"';
    t->at = p + 1;
}

static void put_tcp(struct mb__text *t, const struct mb_flow *flow, const char *state)
{
    static const char *const names[8] = {
        ",\"fin\":true", ",\"syn\":true", ",\"rst\":true", ",\"psh\":true",
        ",\"ack\":true", ",\"urg\":true", ",\"ecn\":true", ",\"cwr\":true",
    };
    static const uint8_t order[8] = {1, 0, 2, 3, 4, 5, 6, 7}; /* bit numbers */
    uint8_t client = flow->end[MB_CLIENT].tcp_flags, server = flow->end[MB_SERVER].tcp_flags;
    MB__TEXT_LITERAL(t, ",\"tcp\":{\"tcp_flags\":");
    put_hex_flags(t, client | server);
    MB__TEXT_LITERAL(t, ",\"tcp_flags_ts\":");
    put_hex_flags(t, client);
    MB__TEXT_LITERAL(t, ",\"tcp_flags_tc\":");
    put_hex_flags(t, server);
    for (int n = 0; n < 8; n++) {
        if ((client | server) >> order[n] & 1)
            mb__text_short(t, names[order[n]], strlen(names[order[n]]));
    }
    MB__TEXT_LITERAL(t, ",\"state\":");
    put_name(t, state);
    MB__TEXT_LITERAL(t, ",\"ts_max_regions\":1,\"tc_max_regions\":1}");
}

/* What Suricata has no key for. */
static void put_own(struct mb__text *t, const struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    MB__TEXT_LITERAL(t, ",\"mosbox\":{\"end_reason\":");
    put_name(t, mb_end_reason_name(flow->end_reason));
    MB__TEXT_LITERAL(t, ",\"midstream\":");
    mb__json_bool_raw(t, flow->flags & MB_FLOW_MIDSTREAM);
    if (flow->ip_proto == TCP) {
        MB__TEXT_LITERAL(t, ",\"retransmits_toserver\":");
        mb__json_u64_raw(t, client->retransmits);
        MB__TEXT_LITERAL(t, ",\"retransmits_toclient\":");
        mb__json_u64_raw(t, server->retransmits);
        MB__TEXT_LITERAL(t, ",\"rtt_server_us\":");
        mb__json_u64_raw(t, flow->rtt_server);
        MB__TEXT_LITERAL(t, ",\"rtt_client_us\":");
        mb__json_u64_raw(t, flow->rtt_client);
    }
    MB__TEXT_LITERAL(t, "}");
}

void mb__record_eve(struct mb__text *t, const struct mb_flow *flow, bool run_over, struct mb__iso_cache *iso)
{
    const char *tcp = flow->ip_proto == TCP ? tcp_state(flow) : NULL;
    MB__TEXT_LITERAL(t, "{\"timestamp\":");
    mb__json_iso_raw(t, iso, flow->first_ts);
    MB__TEXT_LITERAL(t, ",\"flow_id\":");
    mb__json_u64_raw(t, mb_flow_stable_id(flow));
    MB__TEXT_LITERAL(t, ",\"event_type\":\"flow\"");
    if (flow->vlan != 0) {
        MB__TEXT_LITERAL(t, ",\"vlan\":[");
        mb__json_u64_raw(t, flow->vlan);
        MB__TEXT_LITERAL(t, "]");
    }
    put_ends(t, flow);
    put_flow(t, flow, tcp, reason(flow, run_over), iso);
    MB__TEXT_LITERAL(t, ",\"community_id\":\"");
    t->at += mb_flow_community_id(flow, mb__text_room(t, MB__COMMUNITY_ID_TEXT));
    MB__TEXT_LITERAL(t, "\"");
    if (tcp != NULL)
        put_tcp(t, flow, tcp);
    put_own(t, flow);
    MB__TEXT_LITERAL(t, "}\n");
}
