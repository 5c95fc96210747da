/* SPDX-License-Identifier: BSD-3-Clause */
/* record -- mosbox's own flow record, as JSON and as CSV, from one table
 *
 *   {<flow fields>, "client":{<side fields>}, "server":{<side fields>}}
 *   timestamp,flow_id,...,client_packets,...,server_packets,...
 *
 * The first fields are those that every record of mosbox begins with, named as
 * in EVE. What is not known or does not apply is left out of JSON and empty in
 * CSV. mosbox-json(7) describes every field; a test holds it against this table.
 */
#include "output/output.h"

#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define FIELD_ROOM 128 /* bytes of the longest key, quotes and value together */
#define KEY_ROOM 24    /* keys are copied whole: a constant is faster than a length */

/* The flow a record is about. */
struct subject {
    const struct mb_flow *flow;
    const struct mb_endpoint *end; /* side fields: whose; flow fields: the client's */
    const struct mb__rtt *rtt;     /* side fields: measured to it; NULL: not */
    struct mb__iso_cache *iso;
};

/* Writes a value and returns its end; |p| itself: there is none. */
typedef char *(*put_value)(char *p, const struct subject *s);

struct field {
    char key[KEY_ROOM]; /* quoted, with its colon and the comma before */
    uint8_t key_len;
    bool quoted;
    put_value put;
};

#define FIELD(name, quoted, put)                     \
    {                                                \
        ",\"" name "\":", sizeof(name) + 3, quoted, put \
    }
#define NUMBER(name, put) FIELD(name, false, put)
#define STRING(name, put) FIELD(name, true, put)

const char *mb__ip_proto_name(int ip_proto)
{
    switch (ip_proto) {
    case ICMP: return "ICMP";
    case 2: return "IGMP";
    case 4: return "IPIP";
    case TCP: return "TCP";
    case UDP: return "UDP";
    case 33: return "DCCP";
    case 41: return "IPv6";
    case 46: return "RSVP";
    case 47: return "GRE";
    case 50: return "ESP";
    case 51: return "AH";
    case ICMPV6: return "IPv6-ICMP";
    case 88: return "EIGRP";
    case 89: return "OSPF";
    case 103: return "PIM";
    case 112: return "VRRP";
    case 115: return "L2TP";
    case 132: return "SCTP";
    case 136: return "UDPLite";
    default: return NULL;
    }
}

size_t mb__end_text(const struct mb_flow *flow, int side, char *text)
{
    static const char prefix[] = "::ffff:";
    const struct mb_addr *addr = &flow->end[side].addr;
    size_t len = flow->ip_version == 6 && mb_addr_is_v4(addr) ? sizeof prefix - 1 : 0;
    memcpy(text, prefix, len);
    return len + mb_addr_text(addr, text + len);
}

/* ---- values ---------------------------------------------------------------- */

static char *put_name(char *p, const char *name)
{
    size_t len = strlen(name);
    memcpy(p, name, len);
    return p + len;
}

static char *put_flag(char *p, bool v)
{
    return put_name(p, v ? "true" : "false");
}

/* Microseconds as seconds; 0: not known. */
static char *put_us(char *p, uint64_t us)
{
    return us != 0 ? mb__put_fixed(p, (int64_t)us, 6) : p;
}

static char *put_nonzero(char *p, uint64_t v)
{
    return v != 0 ? mb__put_u64(p, v) : p;
}

static bool is_tcp(const struct subject *s)
{
    return s->flow->ip_proto == TCP;
}

/* ---- fields of the flow ---------------------------------------------------- */

static char *put_id(char *p, const struct subject *s)
{
    return mb__put_u64(p, mb_flow_stable_id(s->flow));
}

static char *put_type(char *p, const struct subject *s)
{
    (void)s;
    return put_name(p, "flow");
}

static char *put_start(char *p, const struct subject *s)
{
    return mb__put_iso(p, s->iso, s->flow->first_ts);
}

static char *put_end(char *p, const struct subject *s)
{
    return mb__put_iso(p, s->iso, s->flow->last_ts);
}

static char *put_duration(char *p, const struct subject *s)
{
    return mb__put_fixed(p, s->flow->last_ts - s->flow->first_ts, 9);
}

static bool has_ports(const struct mb_flow *flow)
{
    return flow->ip_proto == TCP || flow->ip_proto == UDP || flow->ip_proto == 132 || flow->ip_proto == 136;
}

static char *put_src_ip(char *p, const struct subject *s)
{
    return p + mb__end_text(s->flow, MB_CLIENT, p);
}

static char *put_src_port(char *p, const struct subject *s)
{
    return has_ports(s->flow) ? mb__put_u64(p, s->flow->end[MB_CLIENT].port) : p;
}

static char *put_dest_ip(char *p, const struct subject *s)
{
    return p + mb__end_text(s->flow, MB_SERVER, p);
}

static char *put_dest_port(char *p, const struct subject *s)
{
    return has_ports(s->flow) ? mb__put_u64(p, s->flow->end[MB_SERVER].port) : p;
}

static char *put_proto(char *p, const struct subject *s)
{
    const char *name = mb__ip_proto_name(s->flow->ip_proto);
    return name != NULL ? put_name(p, name) : mb__put_u64(p, s->flow->ip_proto);
}

static char *put_ip_version(char *p, const struct subject *s)
{
    return mb__put_u64(p, s->flow->ip_version);
}

static char *put_app(char *p, const struct subject *s)
{
    return s->flow->app_proto > MB_APP_NONE ? put_name(p, mb_app_proto_name(s->flow->app_proto)) : p;
}

static char *put_reason(char *p, const struct subject *s)
{
    return s->flow->end_reason != MB_END_NONE ? put_name(p, mb_end_reason_name(s->flow->end_reason)) : p;
}

static char *put_vlan(char *p, const struct subject *s)
{
    return put_nonzero(p, s->flow->vlan);
}

static char *put_tunnel(char *p, const struct subject *s)
{
    return put_nonzero(p, s->flow->tunnel_id);
}

static char *put_midstream(char *p, const struct subject *s)
{
    return put_flag(p, s->flow->flags & MB_FLOW_MIDSTREAM);
}

static char *put_alerted(char *p, const struct subject *s)
{
    return put_flag(p, s->flow->flags & MB_FLOW_ALERTED);
}

static char *put_dropped(char *p, const struct subject *s)
{
    return put_flag(p, s->flow->flags & MB_FLOW_DROP);
}

static char *put_anomalies(char *p, const struct subject *s)
{
    return mb__put_u64(p, s->flow->anomalies);
}

static char *put_community_id(char *p, const struct subject *s)
{
    return p + mb_flow_community_id(s->flow, p);
}

static const struct field flow_fields[] = {
    STRING("timestamp", put_start),
    NUMBER("flow_id", put_id),
    STRING("event_type", put_type),
    STRING("src_ip", put_src_ip),
    NUMBER("src_port", put_src_port),
    STRING("dest_ip", put_dest_ip),
    NUMBER("dest_port", put_dest_port),
    STRING("proto", put_proto),
    STRING("community_id", put_community_id),
    NUMBER("ip_version", put_ip_version),
    STRING("app_proto", put_app),
    NUMBER("vlan", put_vlan),
    NUMBER("tunnel_id", put_tunnel),
    STRING("end", put_end),
    NUMBER("duration", put_duration),
    STRING("end_reason", put_reason),
    NUMBER("midstream", put_midstream),
    NUMBER("alerted", put_alerted),
    NUMBER("dropped", put_dropped),
    NUMBER("anomalies", put_anomalies),
};

/* ---- fields of a side ------------------------------------------------------- */

/* Of ICMP: isn holds type << 8 | code of the side's first message. */
static bool has_icmp(const struct subject *s)
{
    return (s->flow->ip_proto == ICMP || s->flow->ip_proto == ICMPV6) && s->end->packets != 0;
}

static char *put_icmp_type(char *p, const struct subject *s)
{
    return has_icmp(s) ? mb__put_u64(p, s->end->isn >> 8) : p;
}

static char *put_icmp_code(char *p, const struct subject *s)
{
    return has_icmp(s) ? mb__put_u64(p, s->end->isn & 0xff) : p;
}

static char *put_packets(char *p, const struct subject *s)
{
    return mb__put_u64(p, s->end->packets);
}

static char *put_bytes(char *p, const struct subject *s)
{
    return mb__put_u64(p, s->end->bytes);
}

static char *put_state(char *p, const struct subject *s)
{
    return is_tcp(s) ? put_name(p, mb_tcp_state_name(s->end->state)) : p;
}

static char *put_flags(char *p, const struct subject *s)
{
    static const char letters[8] = {'F', 'S', 'R', 'P', 'A', 'U', 'E', 'C'}; /* from bit 0 up */
    for (int bit = 0; is_tcp(s) && bit < 8; bit++) {
        if (s->end->tcp_flags >> bit & 1)
            *p++ = letters[bit];
    }
    return p;
}

static char *put_retransmits(char *p, const struct subject *s)
{
    return is_tcp(s) ? mb__put_u64(p, s->end->retransmits) : p;
}

static char *put_out_of_order(char *p, const struct subject *s)
{
    return is_tcp(s) ? mb__put_u64(p, s->end->out_of_order) : p;
}

static char *put_missed(char *p, const struct subject *s)
{
    return is_tcp(s) ? mb__put_u64(p, s->end->missed) : p;
}

static char *put_rtt(char *p, const struct subject *s)
{
    bool server = s->end == &s->flow->end[MB_SERVER];
    return put_us(p, server ? s->flow->rtt_server : s->flow->rtt_client);
}

static char *put_rtt_min(char *p, const struct subject *s)
{
    return s->rtt != NULL && s->rtt->samples != 0 ? mb__put_fixed(p, s->rtt->min, 6) : p;
}

static char *put_rtt_mean(char *p, const struct subject *s)
{
    bool known = s->rtt != NULL && s->rtt->samples != 0;
    return known ? mb__put_fixed(p, (int64_t)(s->rtt->sum / s->rtt->samples), 6) : p;
}

static char *put_rtt_samples(char *p, const struct subject *s)
{
    return s->rtt != NULL ? put_nonzero(p, s->rtt->samples) : p;
}

static char *put_mss(char *p, const struct subject *s)
{
    return put_nonzero(p, is_tcp(s) ? s->end->mss : 0);
}

static char *put_ttl(char *p, const struct subject *s)
{
    return put_nonzero(p, s->end->ttl);
}

static const struct field side_fields[] = {
    NUMBER("packets", put_packets),
    NUMBER("bytes", put_bytes),
    NUMBER("icmp_type", put_icmp_type),
    NUMBER("icmp_code", put_icmp_code),
    STRING("state", put_state),
    STRING("flags", put_flags),
    NUMBER("retransmits", put_retransmits),
    NUMBER("out_of_order", put_out_of_order),
    NUMBER("missed", put_missed),
    NUMBER("rtt", put_rtt),
    NUMBER("rtt_min", put_rtt_min),
    NUMBER("rtt_mean", put_rtt_mean),
    NUMBER("rtt_samples", put_rtt_samples),
    NUMBER("mss", put_mss),
    NUMBER("ttl", put_ttl),
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- records ---------------------------------------------------------------- */

static struct subject subject_of(const struct mb_flow *flow, const struct mb__rtts *rtts, int side,
                                 struct mb__iso_cache *iso)
{
    return (struct subject){flow, &flow->end[side], rtts != NULL ? &rtts->side[side] : NULL, iso};
}

/* Appends the fields that have a value, each with its comma before it; at the
 * start of an object the first, which always has a value, goes without. */
static void json_fields(struct mb__text *t, const struct field *fields, size_t count, const struct subject *s)
{
    for (size_t n = 0; n < count; n++) {
        const struct field *f = &fields[n];
        size_t skip = t->at[-1] == '{';
        char *p = mb__text_room(t, FIELD_ROOM), *value = p + f->key_len - skip + f->quoted;
        memcpy(p, f->key + skip, KEY_ROOM - 1);
        char *end = f->put(value, s);
        if (end == value)
            continue;
        if (f->quoted) {
            value[-1] = '"';
            *end++ = '"';
        }
        t->at = end;
    }
}

void mb__record_json(struct mb__text *t, const struct mb_flow *flow, const struct mb__rtts *rtts,
                     struct mb__iso_cache *iso)
{
    struct subject client = subject_of(flow, rtts, MB_CLIENT, iso);
    struct subject server = subject_of(flow, rtts, MB_SERVER, iso);
    mb__text_char(t, '{');
    json_fields(t, flow_fields, COUNT(flow_fields), &client);
    MB__TEXT_LITERAL(t, ",\"client\":{");
    json_fields(t, side_fields, COUNT(side_fields), &client);
    MB__TEXT_LITERAL(t, "},\"server\":{");
    json_fields(t, side_fields, COUNT(side_fields), &server);
    MB__TEXT_LITERAL(t, "}}\n");
}

/* The name inside a field's key. */
static void csv_name(struct mb__text *t, const char *prefix, const struct field *f)
{
    mb__text_bytes(t, prefix, strlen(prefix));
    mb__text_bytes(t, f->key + 2, f->key_len - 4u);
    mb__text_char(t, ',');
}

/* Turns the comma after the last column into the line's end. */
static void csv_end(struct mb__text *t)
{
    t->at[-1] = '\n';
}

void mb__record_csv_header(struct mb__text *t)
{
    for (size_t n = 0; n < COUNT(flow_fields); n++)
        csv_name(t, "", &flow_fields[n]);
    for (size_t n = 0; n < COUNT(side_fields); n++)
        csv_name(t, "client_", &side_fields[n]);
    for (size_t n = 0; n < COUNT(side_fields); n++)
        csv_name(t, "server_", &side_fields[n]);
    csv_end(t);
}

/* No value has a comma, a quote or a line end in it: none is ever quoted. */
static void csv_fields(struct mb__text *t, const struct field *fields, size_t count, const struct subject *s)
{
    for (size_t n = 0; n < count; n++) {
        char *p = fields[n].put(mb__text_room(t, FIELD_ROOM), s);
        *p++ = ',';
        t->at = p;
    }
}

void mb__record_csv(struct mb__text *t, const struct mb_flow *flow, const struct mb__rtts *rtts,
                    struct mb__iso_cache *iso)
{
    struct subject client = subject_of(flow, rtts, MB_CLIENT, iso);
    struct subject server = subject_of(flow, rtts, MB_SERVER, iso);
    csv_fields(t, flow_fields, COUNT(flow_fields), &client);
    csv_fields(t, side_fields, COUNT(side_fields), &client);
    csv_fields(t, side_fields, COUNT(side_fields), &server);
    csv_end(t);
}
