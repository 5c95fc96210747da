/* SPDX-License-Identifier: BSD-3-Clause */
/* condition -- what rules ask of a packet's headers and of its flow */
#include <string.h>

#include "base/cursor.h"
#include "detect/detect.h"
#include "packet/packet.h"

#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define SECOND 1000000000LL

/* ---- decoder events -------------------------------------------------------- */

/* Suricata's names for what our decoder calls an anomaly. */
struct decode_event {
    const char *name;
    uint8_t anomaly;
    uint8_t ip_version; /* 0: any */
    uint8_t ip_proto;   /* 0: any */
};

static const struct decode_event decode_events[] = {
    {"ipv4.pkt_too_small", MB_ANOMALY_IPV4_TRUNCATED, 0, 0},
    {"ipv4.hlen_too_small", MB_ANOMALY_IPV4_HLEN, 0, 0},
    {"ipv4.iplen_smaller_than_hlen", MB_ANOMALY_IPV4_LEN, 0, 0},
    {"ipv4.trunc_pkt", MB_ANOMALY_IP_SNAPPED, 4, 0},
    {"ipv4.opt_invalid", MB_ANOMALY_IPV4_OPTIONS, 0, 0},
    {"ipv4.opt_invalid_len", MB_ANOMALY_IPV4_OPTIONS, 0, 0},
    {"ipv4.opt_malformed", MB_ANOMALY_IPV4_OPTIONS, 0, 0},
    {"ipv4.wrong_ip_version", MB_ANOMALY_IPV4_VERSION, 0, 0},
    {"ipv4.frag_overlap", MB_ANOMALY_FRAG_OVERLAP, 4, 0},
    {"ipv4.frag_pkt_too_large", MB_ANOMALY_FRAG_TOO_LARGE, 4, 0},
    {"ipv4.frag_ignored", MB_ANOMALY_FRAG_LIMIT, 4, 0},
    {"ipv6.pkt_too_small", MB_ANOMALY_IPV6_TRUNCATED, 0, 0},
    {"ipv6.trunc_pkt", MB_ANOMALY_IP_SNAPPED, 6, 0},
    {"ipv6.trunc_exthdr", MB_ANOMALY_IPV6_EXT_TRUNCATED, 0, 0},
    {"ipv6.exthdr_dupl_fh", MB_ANOMALY_IPV6_EXT_DUPLICATE, 0, 0},
    {"ipv6.exthdr_useless_fh", MB_ANOMALY_FRAG_USELESS, 0, 0},
    {"ipv6.hopopts_unknown_opt", MB_ANOMALY_IPV6_OPTION, 0, 0},
    {"ipv6.dstopts_unknown_opt", MB_ANOMALY_IPV6_OPTION, 0, 0},
    {"ipv6.wrong_ip_version", MB_ANOMALY_IPV6_VERSION, 0, 0},
    {"ipv6.frag_overlap", MB_ANOMALY_FRAG_OVERLAP, 6, 0},
    {"ipv6.frag_pkt_too_large", MB_ANOMALY_FRAG_TOO_LARGE, 6, 0},
    {"ipv6.frag_invalid_length", MB_ANOMALY_FRAG_LEN, 6, 0},
    {"ipv6.frag_ignored", MB_ANOMALY_FRAG_LIMIT, 6, 0},
    {"icmpv4.pkt_too_small", MB_ANOMALY_L4_TRUNCATED, 0, ICMP},
    {"icmpv6.pkt_too_small", MB_ANOMALY_L4_TRUNCATED, 0, ICMPV6},
    {"tcp.pkt_too_small", MB_ANOMALY_L4_TRUNCATED, 0, TCP},
    {"tcp.hlen_too_small", MB_ANOMALY_TCP_HLEN, 0, 0},
    {"tcp.invalid_optlen", MB_ANOMALY_TCP_OPTIONS, 0, 0},
    {"tcp.opt_invalid_len", MB_ANOMALY_TCP_OPTION_LEN, 0, 0},
    {"tcp.opt_duplicate", MB_ANOMALY_TCP_OPTION_DUPLICATE, 0, 0},
    {"udp.pkt_too_small", MB_ANOMALY_L4_TRUNCATED, 0, UDP},
    {"udp.hlen_too_small", MB_ANOMALY_UDP_LEN, 0, 0},
    {"udp.hlen_invalid", MB_ANOMALY_UDP_LEN, 0, 0},
    {"udp.len_invalid", MB_ANOMALY_UDP_LEN, 0, 0},
    {"ethernet.pkt_too_small", MB_ANOMALY_LINK_TRUNCATED, 0, 0},
    {"ethernet.unknown_ethertype", MB_ANOMALY_LINK_UNKNOWN, 0, 0},
    {"vlan.header_too_small", MB_ANOMALY_LINK_TRUNCATED, 0, 0},
    {"gre.pkt_too_small", MB_ANOMALY_TUNNEL_BAD, 0, 0},
    {"vxlan.unknown_payload_type", MB_ANOMALY_TUNNEL_BAD, 0, 0},
    {"too_many_layers", MB_ANOMALY_TUNNEL_DEPTH, 0, 0},
};

#define DECODE_EVENTS (int)(sizeof decode_events / sizeof *decode_events)

int mb_decode_event_number(const char *name)
{
    for (int i = 0; i < DECODE_EVENTS; i++)
        if (strcmp(decode_events[i].name, name) == 0)
            return i;
    return MB_ENOENT;
}

static bool decode_event(const struct mb__look *look, int32_t number)
{
    if (look->packet == NULL || number < 0 || number >= DECODE_EVENTS)
        return false;
    const struct decode_event *event = &decode_events[number];
    return look->packet->anomalies >> event->anomaly & 1 &&
           (event->ip_version == 0 || event->ip_version == look->ip_version) &&
           (event->ip_proto == 0 || event->ip_proto == look->packet->ip_proto);
}

/* ---- headers --------------------------------------------------------------- */

static struct mb__bytes part_of(const struct mb_packet *p, uint32_t from, uint32_t to)
{
    if (to > p->net_len)
        to = p->net_len;
    return from < to ? (struct mb__bytes){.data = p->net + from, .len = to - from} : (struct mb__bytes){0};
}

struct mb__bytes mb__header_bytes(const struct mb_packet *p, int base)
{
    struct mb__bytes none = {0};
    if (p == NULL || !(p->flags & MB_PKT_IP))
        return none;
    bool v6 = p->flags & MB_PKT_IPV6;
    int proto = p->flags & MB_PKT_L4 ? p->ip_proto : 255;
    switch (base) {
    case MB_BUF_IPV4_HDR: return v6 ? none : part_of(p, 0, p->l4_off);
    case MB_BUF_IPV6_HDR: return v6 ? part_of(p, 0, 40) : none;
    case MB_BUF_TCP_HDR: return proto == TCP ? part_of(p, p->l4_off, p->payload_off) : none;
    case MB_BUF_UDP_HDR: return proto == UDP ? part_of(p, p->l4_off, p->payload_off) : none;
    case MB_BUF_ICMPV4_HDR: return proto == ICMP ? part_of(p, p->l4_off, p->net_len) : none;
    case MB_BUF_ICMPV6_HDR: return proto == ICMPV6 ? part_of(p, p->l4_off, p->net_len) : none;
    default: return none;
    }
}

static bool in_range(const struct mb_rule_op *op, int64_t value)
{
    return value >= op->a && value <= op->b;
}

static bool is_icmp(const struct mb_packet *p)
{
    return p->flags & MB_PKT_L4 && (p->ip_proto == ICMP || p->ip_proto == ICMPV6);
}

/* Identifier (0) or sequence number (1) of an ICMP message that has them. */
static bool icmp_number(const struct mb_packet *p, int which, int64_t *value)
{
    if (!is_icmp(p) || p->l4_off + 8 > p->net_len)
        return false;
    static const uint8_t with_id[] = {0, 8, 13, 14, 15, 16, 17, 18};
    bool has = p->ip_proto == ICMPV6 ? p->icmp_type == 128 || p->icmp_type == 129
                                     : memchr(with_id, p->icmp_type, sizeof with_id) != NULL;
    *value = mb__be16(p->net + p->l4_off + 4 + 2 * which);
    return has;
}

/* Whether an IPv4 header has option |type| (-1: any). */
static bool ip_option(const struct mb_packet *p, int32_t type)
{
    if (p->flags & MB_PKT_IPV6 || p->net_len < 20)
        return false;
    uint32_t end = (uint32_t)(p->net[0] & 15) * 4;
    if (end > p->net_len)
        return false;
    for (uint32_t at = 20; at < end;) {
        uint8_t kind = p->net[at];
        if (type < 0 || kind == type)
            return true;
        if (kind == 0)
            return false;
        uint32_t step = kind == 1 ? 1 : at + 1 < end ? p->net[at + 1] : 0;
        if (step == 0 || (kind != 1 && step < 2))
            return false;
        at += step;
    }
    return false;
}

/* Flags compared as the mode says: equal, all of, any of, none of. */
static bool flags_match(const struct mb_rule_op *op, uint32_t flags)
{
    uint32_t wanted = (uint32_t)op->a;
    switch (op->c) {
    case 0: return (flags & ~(uint32_t)op->b) == wanted;
    case 1: return (flags & wanted) == wanted;
    case 2: return (flags & wanted) != 0;
    default: return (flags & wanted) == 0;
    }
}

static bool fragment_field(const struct mb_packet *p, uint32_t *bits, int64_t *offset)
{
    if (p->flags & MB_PKT_IPV6 || p->net_len < 20)
        return false;
    uint16_t field = mb__be16(p->net + 6);
    *bits = (uint32_t)(field >> 13 & 1) | (field >> 13 & 2) | (field >> 13 & 4);
    *offset = field & 0x1fff;
    return true;
}

static bool tcp_field(const struct mb_packet *p, const struct mb_rule_op *op)
{
    if (p->ip_proto != TCP || !(p->flags & MB_PKT_L4))
        return false;
    struct mb__tcp_options options;
    switch (op->type) {
    case MB_OP_TCP_FLAGS: return flags_match(op, p->tcp_flags);
    case MB_OP_TCP_SEQ: return p->seq == (uint32_t)op->a;
    case MB_OP_TCP_ACK: return p->ack == (uint32_t)op->a;
    case MB_OP_TCP_WINDOW: return in_range(op, p->window);
    default:
        mb__tcp_options_read(p, &options);
        return options.mss != 0 && in_range(op, options.mss);
    }
}

/* "Not so long" speaks of packets with a payload. */
static bool payload_size(const struct mb_packet *p, const struct mb_rule_op *op)
{
    if (!(p->flags & MB_PKT_L4))
        return false;
    return op->flags & MB_OPF_NOT ? p->payload_len == 0 || in_range(op, p->payload_len) : in_range(op, p->payload_len);
}

/* Fields that every IP packet has. */
static bool packet_field(const struct mb_packet *p, const struct mb_rule_op *op)
{
    uint32_t bits;
    int64_t value;
    switch (op->type) {
    case MB_OP_DSIZE: return payload_size(p, op);
    case MB_OP_TTL: return in_range(op, p->ttl);
    case MB_OP_ITYPE: return is_icmp(p) && in_range(op, p->icmp_type);
    case MB_OP_ICODE: return is_icmp(p) && in_range(op, p->icmp_code);
    case MB_OP_ICMP_ID: return icmp_number(p, 0, &value) && in_range(op, value);
    case MB_OP_ICMP_SEQ: return icmp_number(p, 1, &value) && in_range(op, value);
    case MB_OP_IP_ID: return in_range(op, p->ip_id);
    case MB_OP_IP_OPTION: return ip_option(p, op->a);
    case MB_OP_FRAGBITS: return fragment_field(p, &bits, &value) && flags_match(op, bits);
    case MB_OP_FRAG_OFFSET: return fragment_field(p, &bits, &value) && in_range(op, value);
    case MB_OP_SAME_IP: return memcmp(&p->src, &p->dst, sizeof p->src) == 0;
    case MB_OP_IP_PROTO: return in_range(op, p->ip_proto);
    case MB_OP_TOS: return in_range(op, p->tos);
    default: return tcp_field(p, op);
    }
}

/* ---- flows ----------------------------------------------------------------- */

static bool established(const struct mb__look *look)
{
    if (look->flow == NULL)
        return false;
    if (look->flow->ip_proto != TCP)
        return look->flow->flags & MB_FLOW_ANSWERED;
    return look->state != NULL && look->state->established;
}

static bool flow_state(const struct mb__look *look, int32_t wanted)
{
    if (wanted & MB_FLOW_IS_ESTABLISHED && !established(look))
        return false;
    return !(wanted & MB_FLOW_IS_NOT_ESTABLISHED) || !established(look);
}

static bool stream_size(const struct mb__look *look, const struct mb_rule_op *op)
{
    if (look->flow == NULL)
        return false;
    bool not = op->flags & MB_OPF_NOT;
    bool client = in_range(op, (int64_t)look->flow->end[MB_CLIENT].next) != not;
    bool server = in_range(op, (int64_t)look->flow->end[MB_SERVER].next) != not;
    bool answers[] = {client, server, client && server, client || server};
    return answers[op->c & 3];
}

static bool dns_field(const struct mb__look *look, const struct mb_rule_op *op)
{
    const struct mb__tx *tx = look->tx;
    if (tx == NULL || tx->app != MB_APP_DNS)
        return false;
    if (op->type == MB_OP_DNS_OPCODE)
        return in_range(op, tx->dns_flags >> 11 & 15);
    if (op->type == MB_OP_DNS_RCODE)
        return in_range(op, tx->dns_flags & 15);
    for (int i = 0; i < tx->rrtypes; i++)
        if (in_range(op, tx->rrtype[i]))
            return true;
    return false;
}

static bool app_is(const struct mb__look *look, int32_t wanted)
{
    return look->flow != NULL && look->flow->app_proto == wanted;
}

static bool flow_field(const struct mb__look *look, const struct mb_rule_op *op)
{
    const struct mb__state *s = look->state;
    switch (op->type) {
    case MB_OP_FLOW: return flow_state(look, op->a);
    case MB_OP_APP_PROTO: return app_is(look, op->a);
    case MB_OP_STREAM_EVENT: return s != NULL && op->a >= 0 && op->a < 64 && s->anomalies >> op->a & 1;
    case MB_OP_APP_EVENT: return s != NULL && s->app_event;
    case MB_OP_TLS_VERSION: return s != NULL && s->session != NULL && s->session->version == op->a;
    case MB_OP_FLOW_AGE:
        return look->flow != NULL && in_range(op, (look->flow->last_ts - look->flow->first_ts) / SECOND);
    default: return dns_field(look, op);
    }
}

/* ---- bits ------------------------------------------------------------------ */

static bool any_flowbit(const struct mb__look *look, const struct mb__rule *rule, const struct mb_rule_op *op)
{
    const uint8_t *data = mb__op_data(rule, op);
    for (uint32_t i = 0; i + 2 <= op->len; i += 2) {
        uint16_t bit;
        memcpy(&bit, data + i, 2);
        if (mb__bit_test(look->bits, bit))
            return true;
    }
    return false;
}

#define KIND_BIT 1

static struct mb__track_key bit_key(const struct mb__look *look, const struct mb_rule_op *op)
{
    return mb__track_key((uint32_t)op->b + 1, KIND_BIT, op->c, &look->src, &look->dst);
}

/* A host bit counts for an address whichever end it is. */
static bool host_bit(const struct mb_detect *d, const struct mb__look *look, const struct mb_rule_op *op)
{
    struct mb__track_key key = bit_key(look, op);
    key.kind = KIND_BIT << 8 | (op->c == MB_TRACK_BOTH);
    return mb__tracker_find(d->bits, &key, d->now) != NULL;
}

static void set_host_bit(struct mb_detect *d, const struct mb__look *look, const struct mb_rule_op *op)
{
    struct mb__track_key key = bit_key(look, op);
    key.kind = KIND_BIT << 8 | (op->c == MB_TRACK_BOTH);
    struct mb__track *entry = mb__tracker_find(d->bits, &key, d->now);
    if (entry != NULL && op->a != MB_BIT_SET) {
        entry->until = 0;
    } else if (op->a != MB_BIT_UNSET) {
        int64_t until = d->now + op->d * SECOND;
        mb__tracker_get(d->bits, &key, d->now, until)->until = until;
    }
}

static void set_flow_bit(struct mb__state *s, const struct mb__rule *rule, const struct mb_rule_op *op)
{
    uint16_t bit;
    memcpy(&bit, mb__op_data(rule, op), 2);
    if (s != NULL)
        mb__bit_set(s, bit, op->a == MB_BIT_SET || (op->a == MB_BIT_TOGGLE && !mb__bit_test(s, bit)));
}

void mb__consequences(struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule)
{
    for (unsigned i = rule->after; i < rule->head->ops; i++) {
        const struct mb_rule_op *op = &rule->op[i];
        if (op->type == MB_OP_SET_FLOWBITS)
            set_flow_bit(look->bits, rule, op);
        else if (op->type == MB_OP_SET_HOSTBITS)
            set_host_bit(d, look, op);
    }
}

/* ---- all together ---------------------------------------------------------- */

static bool holds(const struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule,
                  const struct mb_rule_op *op)
{
    bool not = op->flags & MB_OPF_NOT;
    switch (op->type) {
    case MB_OP_DECODE_EVENT: return decode_event(look, op->a) != not;
    case MB_OP_FLOWBITS: return any_flowbit(look, rule, op) == (op->a == MB_BIT_ISSET);
    case MB_OP_HOSTBITS: return host_bit(d, look, op) == (op->a == MB_BIT_ISSET);
    case MB_OP_STREAM_SIZE: return stream_size(look, op);
    case MB_OP_FLOW:
    case MB_OP_APP_PROTO:
    case MB_OP_STREAM_EVENT:
    case MB_OP_APP_EVENT:
    case MB_OP_DNS_OPCODE:
    case MB_OP_DNS_RCODE:
    case MB_OP_DNS_RRTYPE:
    case MB_OP_TLS_VERSION:
    case MB_OP_FLOW_AGE: return flow_field(look, op) != not;
    default:
        return look->packet != NULL && look->packet->flags & MB_PKT_IP && packet_field(look->packet, op) != not;
    }
}

static bool ends_match(const struct mb_rules *r, const struct mb_rule_head *h, const struct mb_addr *src,
                       uint16_t sport, const struct mb_addr *dst, uint16_t dport)
{
    return mb__in_ports(r, h->dport, dport) && mb__in_ports(r, h->sport, sport) &&
           mb__in_addresses(r, h->dst, dst) && mb__in_addresses(r, h->src, src);
}

static bool header_matches(const struct mb_detect *d, const struct mb__look *look, const struct mb_rule_head *h)
{
    unsigned both = MB_RULE_TO_SERVER | MB_RULE_TO_CLIENT;
    unsigned way = look->flow == NULL ? both : look->side == MB_CLIENT ? MB_RULE_TO_SERVER : MB_RULE_TO_CLIENT;
    if ((h->flags & way) != way)
        return false;
    if (h->kind == MB_RULE_DECODE && look->ip_version == 0)
        return (h->src | h->dst | h->sport | h->dport) == 0;
    if (h->ip_proto != 255 && h->ip_proto != look->ip_proto)
        return false;
    if (h->ip_version != 0 && h->ip_version != look->ip_version)
        return false;
    if (h->app != MB_APP_UNKNOWN && !app_is(look, h->app))
        return false;
    return ends_match(d->rules, h, &look->src, look->sport, &look->dst, look->dport) ||
           (h->flags & MB_RULE_BOTH_WAYS &&
            ends_match(d->rules, h, &look->dst, look->dport, &look->src, look->sport));
}

bool mb__conditions(const struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule)
{
    if (!header_matches(d, look, rule->head))
        return false;
    for (unsigned i = 0; i < rule->before; i++)
        if (!holds(d, look, rule, &rule->op[i]))
            return false;
    return true;
}
