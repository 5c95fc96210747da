/* SPDX-License-Identifier: BSD-3-Clause */
/* alert -- alerts of rules as EVE records and fast.log lines
 *
 * The EVE record is Suricata's, key for key: the packet's addresses, the alert,
 * what the application said (http, tls, dns, ssh) and a short flow.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "detect/detect.h"
#include "output/eve_app.h"
#include "output/output.h"

#define TCP 6
#define UDP 17
#define SCTP 132
#define ICMP 1
#define ICMPV6 58
#define LINK_ETHERNET 1
#define LINK_IPV4 228
#define LINK_IPV6 229
#define PAYLOAD_MAX 4096 /* bytes of a payload that an alert repeats */

#define MAX_LOGS 8

struct alert_log {
    struct {
        struct mb_output *to;
        int format;
        uint32_t events; /* bit n: enum mb__report n */
    } log[MAX_LOGS];
    int count;
    struct mb__text text;
    struct mb__iso_cache iso;
};

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Two runs of bytes as one, in base64. */
static void put_base64_of(struct mb__text *t, const uint8_t *head, size_t head_len, const uint8_t *rest, size_t len)
{
    MB__TEXT_LITERAL(t, "\"");
    for (size_t i = 0; i < head_len + len; i += 3) {
        uint32_t bits = 0, left = head_len + len - i < 3 ? (uint32_t)(head_len + len - i) : 3;
        for (size_t k = i; k < i + 3; k++)
            bits = bits << 8 | (k >= head_len + len ? 0 : k < head_len ? head[k] : rest[k - head_len]);
        char out[4] = {base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                       left > 1 ? base64_digits[bits >> 6 & 63] : '=', left > 2 ? base64_digits[bits & 63] : '='};
        mb__text_short(t, out, 4);
    }
    MB__TEXT_LITERAL(t, "\"");
}

static void put_base64(struct mb__text *t, const uint8_t *bytes, size_t len)
{
    put_base64_of(t, NULL, 0, bytes, len);
}

/* Bytes that do not print are shown as dots. */
static void put_printable(struct mb__text *t, const uint8_t *bytes, size_t len)
{
    MB__TEXT_LITERAL(t, "\"");
    for (size_t i = 0; i < len; i++) {
        uint8_t c = bytes[i];
        if (c == '\r')
            MB__TEXT_LITERAL(t, "\\r");
        else if (c == '\n')
            MB__TEXT_LITERAL(t, "\\n");
        else if (c == '"' || c == '\\') {
            char out[2] = {'\\', (char)c};
            mb__text_short(t, out, 2);
        } else
            mb__text_char(t, c >= ' ' && c < 127 ? (char)c : '.');
    }
    MB__TEXT_LITERAL(t, "\"");
}

/* ---- the alert ---------------------------------------------------------------- */

static struct mb_view rule_text(const struct mb__rule *rule, uint32_t skip, uint32_t len)
{
    return (struct mb_view){rule->bytes + rule->head->text + skip, len};
}

static struct mb_view message(const struct mb__rule *rule)
{
    return rule_text(rule, 0, rule->head->msg_len);
}

static struct mb_view category(const struct mb__rule *rule)
{
    return rule_text(rule, rule->head->msg_len, rule->head->category_len);
}

static void put_party(struct mb__text *t, const char *key, const struct mb_addr *a, uint16_t port, bool ports)
{
    mb__json_key(t, key, strlen(key));
    MB__TEXT_LITERAL(t, "{\"ip\":\"");
    mb__eve_addr(t, a);
    MB__TEXT_LITERAL(t, "\"");
    if (ports)
        mb__eve_number(t, "port", port);
    MB__TEXT_LITERAL(t, "}");
}

static void put_target(struct mb__text *t, const struct mb__look *look, unsigned flags)
{
    bool ports = mb__eve_has_ports(look->ip_proto), src_is_target = flags & MB_RULE_TARGET_SRC;
    if (!(flags & (MB_RULE_TARGET_SRC | MB_RULE_TARGET_DST)))
        return;
    put_party(t, src_is_target ? "target" : "source", &look->src, look->sport, ports);
    put_party(t, src_is_target ? "source" : "target", &look->dst, look->dport, ports);
}

void mb__eve_alert(struct mb__text *t, const struct mb__alert *a)
{
    const struct mb_rule_head *h = a->rule->head;
    MB__TEXT_LITERAL(t, ",\"alert\":{\"action\":");
    mb__eve_text(t, a->blocked ? "blocked" : "allowed");
    mb__eve_number(t, "gid", h->gid);
    mb__eve_number(t, "signature_id", h->sid);
    mb__eve_number(t, "rev", h->rev);
    MB__JSON_KEY(t, "signature");
    mb__eve_view(t, message(a->rule));
    MB__JSON_KEY(t, "category");
    mb__eve_view(t, category(a->rule));
    mb__eve_number(t, "severity", h->severity);
    put_target(t, a->look, h->flags);
    if (h->metadata_len > 0) {
        MB__JSON_KEY(t, "metadata");
        mb__text_bytes(t, a->rule->bytes + h->text + h->msg_len + h->category_len, h->metadata_len);
    }
    MB__TEXT_LITERAL(t, "}");
}

/* ---- flow, payload, packet ------------------------------------------------------- */

static void put_flow(struct mb__text *t, const struct mb__look *look, struct mb__iso_cache *iso)
{
    const struct mb_flow *flow = look->flow;
    if (flow == NULL)
        return;
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    MB__TEXT_LITERAL(t, ",\"direction\":");
    mb__eve_text(t, look->side == MB_CLIENT ? "to_server" : "to_client");
    MB__TEXT_LITERAL(t, ",\"flow\":{");
    mb__eve_number(t, "pkts_toserver", client->packets);
    mb__eve_number(t, "pkts_toclient", server->packets);
    mb__eve_number(t, "bytes_toserver", client->bytes);
    mb__eve_number(t, "bytes_toclient", server->bytes);
    MB__JSON_KEY(t, "start");
    mb__json_iso_raw(t, iso, flow->first_ts);
    mb__eve_end(t, "src", &client->addr, client->port, mb__eve_has_ports(flow->ip_proto));
    mb__eve_end(t, "dest", &server->addr, server->port, mb__eve_has_ports(flow->ip_proto));
    MB__TEXT_LITERAL(t, "}");
}

static size_t append(uint8_t *to, size_t at, const void *bytes, size_t len)
{
    size_t n = len < PAYLOAD_MAX - at ? len : PAYLOAD_MAX - at;
    if (n > 0)
        memcpy(to + at, bytes, n);
    return at + n;
}

/* The stream before and after a gap, with a word for what is missing. */
static struct mb_view joined_payload(const struct mb__look *look, uint8_t bytes[PAYLOAD_MAX])
{
    char missing[40];
    size_t n = append(bytes, 0, look->held->bytes.data, look->held->bytes.len);
    if (look->rest.len > 0) {
        int len = snprintf(missing, sizeof missing, "[%" PRIu64 " bytes missing]", look->held->gap);
        n = append(bytes, n, missing, (size_t)len);
        n = append(bytes, n, look->rest.data, look->rest.len);
    }
    return (struct mb_view){bytes, (uint32_t)n};
}

static void put_payload(struct mb__text *t, const struct mb__alert *a)
{
    const struct mb_detect_config *c = &a->detect->config;
    const struct mb__bytes *b = a->stream ? &a->look->stream : &a->look->payload;
    struct mb_view v = {b->data, b->len < PAYLOAD_MAX ? b->len : PAYLOAD_MAX};
    uint8_t joined[PAYLOAD_MAX];
    if (a->stream && a->look->held != NULL)
        v = joined_payload(a->look, joined);
    if (c->payload && v.len > 0) {
        MB__JSON_KEY(t, "payload");
        put_base64(t, v.data, v.len);
    }
    if (c->payload_printable && v.len > 0) {
        MB__JSON_KEY(t, "payload_printable");
        put_printable(t, v.data, v.len);
    }
    if (c->payload || c->payload_printable)
        mb__eve_number(t, "stream", a->stream);
}

/* The frame. A datagram put together from fragments is given behind the last
 * fragment's Ethernet header, or by itself. */
static void put_packet(struct mb__text *t, const struct mb__alert *a)
{
    const struct mb_packet *p = a->look->packet;
    if (!a->detect->config.packet || p == NULL)
        return;
    bool whole = !(p->flags & MB_PKT_REASSEMBLED), v6 = p->flags & MB_PKT_IPV6;
    size_t head = a->link == LINK_ETHERNET && p->tunnels == 0 ? 14 + 4 * (size_t)p->vlans : 0;
    if (head > p->frame_len)
        head = 0;
    int link = whole || head > 0 ? a->link : v6 ? LINK_IPV6 : LINK_IPV4;
    MB__JSON_KEY(t, "packet");
    if (whole)
        put_base64(t, p->frame, p->frame_len);
    else
        put_base64_of(t, p->frame, head, p->net, p->net_len);
    MB__TEXT_LITERAL(t, ",\"packet_info\":{");
    mb__eve_number(t, "linktype", (uint64_t)link);
    mb__eve_string(t, "linktype_name", link == LINK_ETHERNET ? "EN10MB" : link == LINK_IPV6 ? "IPv6"
                                       : link == LINK_IPV4   ? "IPv4"
                                                             : NULL);
    MB__TEXT_LITERAL(t, "}");
}

void mb__eve_verdict(struct mb__text *t, const struct mb__alert *a)
{
    static const char *const names[] = {"pass", "drop", "drop", "alert"};
    bool inline_mode = a->detect->config.inline_mode;
    if (!a->detect->config.verdict)
        return;
    MB__TEXT_LITERAL(t, ",\"verdict\":{\"action\":");
    mb__eve_text(t, names[inline_mode || a->verdict == MB_RULE_PASS ? a->verdict : MB_RULE_ALERT]);
    if (a->reject & MB__REJECTS) {
        mb__eve_string(t, "reject-target", a->reject & MB_RULE_REJECT_BOTH  ? "both"
                                       : a->reject & MB_RULE_REJECT_DST ? "to_server"
                                                                        : "to_client");
        MB__TEXT_LITERAL(t, ",\"reject\":[");
        mb__eve_text(t, a->look->ip_proto == TCP ? "tcp-reset" : "icmp-prohib");
        MB__TEXT_LITERAL(t, "]");
    }
    MB__TEXT_LITERAL(t, "}");
}

static void put_mac(struct mb__text *t, const char *key, const uint8_t *mac)
{
    mb__json_key(t, key, strlen(key));
    char *p = mb__text_room(t, 20);
    *p++ = '"';
    for (int i = 0; i < 6; i++) {
        p = mb__put_hex(p, mac[i], 2);
        *p++ = i < 5 ? ':' : '"';
    }
    t->at = p;
}

static void put_ethernet(struct mb__text *t, const struct mb__alert *a)
{
    const struct mb_packet *p = a->look->packet;
    if (!a->detect->config.ethernet || p == NULL || p->link != LINK_ETHERNET || p->frame_len < 14)
        return;
    MB__TEXT_LITERAL(t, ",\"ether\":{");
    put_mac(t, "src_mac", p->frame + 6);
    put_mac(t, "dest_mac", p->frame);
    MB__TEXT_LITERAL(t, "}");
}

/* The packet of a UDP tunnel that this one came in. */
static void put_tunnel(struct mb__text *t, const struct mb__alert *a)
{
    const struct mb_packet *p = a->look->packet, *outer = &a->detect->outer;
    if (p == NULL || !(p->flags & MB_PKT_TUNNELLED) || outer->number != p->number || p->number == 0)
        return;
    MB__TEXT_LITERAL(t, ",\"tunnel\":{\"src_ip\":\"");
    mb__eve_addr(t, &outer->src);
    MB__TEXT_LITERAL(t, "\"");
    mb__eve_number(t, "src_port", outer->sport);
    MB__TEXT_LITERAL(t, ",\"dest_ip\":\"");
    mb__eve_addr(t, &outer->dst);
    MB__TEXT_LITERAL(t, "\"");
    mb__eve_number(t, "dest_port", outer->dport);
    MB__TEXT_LITERAL(t, ",\"proto\":\"");
    mb__eve_proto(t, outer->ip_proto);
    MB__TEXT_LITERAL(t, "\"");
    mb__eve_number(t, "depth", p->tunnels);
    MB__TEXT_LITERAL(t, "}");
}

static void put_eve(struct mb__text *t, const struct mb__alert *a, struct mb__iso_cache *iso)
{
    const struct mb__look *look = a->look;
    mb__eve_head(t, "alert", a, iso);
    if (a->tx != NULL)
        mb__eve_number(t, "tx_id", a->tx->number);
    mb__eve_alert(t, a);
    mb__eve_app(t, look, a->tx);
    put_flow(t, look, iso);
    put_payload(t, a);
    put_packet(t, a);
    mb__eve_verdict(t, a);
    put_ethernet(t, a);
    put_tunnel(t, a);
    MB__TEXT_LITERAL(t, "}\n");
}

/* ---- fast.log --------------------------------------------------------------------- */

static void put_fast_end(struct mb__text *t, const struct mb_addr *a, uint16_t port, bool ports)
{
    mb__eve_addr(t, a);
    mb__text_char(t, ':');
    mb__json_u64_raw(t, ports ? port : 0);
}

/* MM/DD/YYYY-hh:mm:ss.ffffff, UTC. */
static void put_fast_time(struct mb__text *t, int64_t ts)
{
    struct mb__date d;
    mb__date_from_ns(ts, &d);
    char *p = mb__text_room(t, 32);
    p = mb__put_2(p, d.month);
    *p++ = '/';
    p = mb__put_2(p, d.day);
    *p++ = '/';
    p = mb__put_padded(p, (uint64_t)d.year, 4);
    *p++ = '-';
    p = mb__put_2(p, d.hour);
    *p++ = ':';
    p = mb__put_2(p, d.minute);
    *p++ = ':';
    p = mb__put_2(p, d.second);
    *p++ = '.';
    t->at = mb__put_6(p, d.nanosecond / 1000);
}

/* Text of a rule on one line. */
static void put_line(struct mb__text *t, struct mb_view v)
{
    for (uint32_t i = 0; i < v.len; i++)
        mb__text_char(t, v.data[i] >= ' ' ? (char)v.data[i] : ' ');
}

static void put_fast(struct mb__text *t, const struct mb__alert *a)
{
    const struct mb_rule_head *h = a->rule->head;
    const struct mb__look *look = a->look;
    bool ports = mb__eve_has_ports(look->ip_proto);
    put_fast_time(t, a->ts);
    if (a->blocked)
        MB__TEXT_LITERAL(t, "  [Drop]");
    MB__TEXT_LITERAL(t, "  [**] [");
    mb__json_u64_raw(t, h->gid);
    mb__text_char(t, ':');
    mb__json_u64_raw(t, h->sid);
    mb__text_char(t, ':');
    mb__json_u64_raw(t, h->rev);
    MB__TEXT_LITERAL(t, "] ");
    put_line(t, message(a->rule));
    MB__TEXT_LITERAL(t, " [**] [Classification: ");
    struct mb_view class = category(a->rule);
    put_line(t, class.len > 0 ? class : (struct mb_view){(const uint8_t *)"(null)", 6});
    MB__TEXT_LITERAL(t, "] [Priority: ");
    mb__json_u64_raw(t, h->severity);
    MB__TEXT_LITERAL(t, "] {");
    mb__eve_proto(t, look->ip_proto);
    MB__TEXT_LITERAL(t, "} ");
    put_fast_end(t, &look->src, look->sport, ports);
    MB__TEXT_LITERAL(t, " -> ");
    put_fast_end(t, &look->dst, look->dport, ports);
    mb__text_char(t, '\n');
}

/* ---- the log ---------------------------------------------------------------------- */

static void on_report(void *arg, enum mb__report what, const struct mb__alert *a)
{
    struct alert_log *l = arg;
    for (int i = 0; i < l->count; i++) {
        bool eve = l->log[i].format == MB_ALERT_EVE;
        if (!(l->log[i].events >> what & 1))
            continue;
        mb__text_clear(&l->text);
        if (eve && what == MB__REPORT_ALERT)
            put_eve(&l->text, a, &l->iso);
        else if (eve)
            mb__eve_record(&l->text, what, a, &l->iso);
        else
            put_fast(&l->text, a);
        mb_output_write(l->log[i].to, l->text.start, mb__text_len(&l->text));
    }
}

static void log_free(void *arg)
{
    struct alert_log *l = arg;
    mb__text_fini(&l->text);
    free(l);
}

int mb_alert_log(struct mb_detect *d, int format, uint32_t events, struct mb_output *o)
{
    struct alert_log *l = d->report_arg;
    if (format != MB_ALERT_EVE && format != MB_ALERT_FAST)
        return MB_EINVAL;
    if (l == NULL) {
        l = calloc(1, sizeof *l);
        if (l == NULL)
            return MB_ENOMEM;
        mb__text_init(&l->text);
        d->report = on_report;
        d->report_arg = l;
        d->report_free = log_free;
    }
    if (l->count == MAX_LOGS)
        return MB_ELIMIT;
    l->log[l->count].to = o;
    l->log[l->count].events = format == MB_ALERT_EVE ? events | 1 : 1;
    l->log[l->count++].format = format;
    return 0;
}
