/* SPDX-License-Identifier: BSD-3-Clause */
/* eve_app -- the parts of EVE records that alerts and application records share */
#include "output/eve_app.h"

#include <string.h>

#include "base/json.h"
#include "output/output.h"

#define TCP 6
#define UDP 17
#define SCTP 132
#define ICMP 1
#define ICMPV6 58
#define NS 1000000000LL
#define DATE_AND_TIME 19 /* bytes of 2024-01-02T03:04:05 */

void mb__eve_text(struct mb__text *t, const char *text)
{
    mb__json_string_raw(t, text, strlen(text));
}

void mb__eve_view(struct mb__text *t, struct mb_view v)
{
    mb__json_string_raw(t, v.data, v.len);
}

/* "key": "view" unless the view is empty. */
void mb__eve_field(struct mb__text *t, const char *key, struct mb_view v)
{
    if (v.len == 0)
        return;
    mb__json_key(t, key, strlen(key));
    mb__eve_view(t, v);
}

void mb__eve_string(struct mb__text *t, const char *key, const char *text)
{
    if (text == NULL)
        return;
    mb__json_key(t, key, strlen(key));
    mb__eve_text(t, text);
}

void mb__eve_number(struct mb__text *t, const char *key, uint64_t v)
{
    mb__json_key(t, key, strlen(key));
    mb__json_u64_raw(t, v);
}

/* ---- ends ------------------------------------------------------------------- */

bool mb__eve_has_ports(int ip_proto)
{
    return ip_proto == TCP || ip_proto == UDP || ip_proto == SCTP;
}

/* IPv6 addresses with all their digits, as Suricata writes them. */
void mb__eve_addr(struct mb__text *t, const struct mb_addr *a)
{
    if (mb_addr_is_v4(a)) {
        t->at += mb_addr_text(a, mb__text_room(t, MB_ADDR_TEXT));
        return;
    }
    char *p = mb__text_room(t, MB_ADDR_TEXT);
    for (int i = 0; i < 16; i += 2) {
        p = mb__put_hex(p, (uint64_t)(a->byte[i] << 8 | a->byte[i + 1]), 4);
        if (i < 14)
            *p++ = ':';
    }
    t->at = p;
}

void mb__eve_proto(struct mb__text *t, int ip_proto)
{
    const char *name = mb__ip_proto_name(ip_proto);
    if (name != NULL)
        mb__text_short(t, name, strlen(name));
    else
        t->at = mb__put_padded(mb__text_room(t, 3), (uint64_t)ip_proto, 3);
}

void mb__eve_end(struct mb__text *t, const char *which, const struct mb_addr *a, uint16_t port, bool ports)
{
    mb__text_char(t, ',');
    mb__text_char(t, '"');
    mb__text_short(t, which, strlen(which));
    MB__TEXT_LITERAL(t, "_ip\":\"");
    mb__eve_addr(t, a);
    MB__TEXT_LITERAL(t, "\"");
    if (!ports)
        return;
    MB__TEXT_LITERAL(t, ",\"");
    mb__text_short(t, which, strlen(which));
    MB__TEXT_LITERAL(t, "_port\":");
    mb__json_u64_raw(t, port);
}

/* A decoder event of a packet that is cut short tells of no addresses. */
void mb__eve_ends(struct mb__text *t, const struct mb__look *look, int kind)
{
    bool ports = mb__eve_has_ports(look->ip_proto);
    bool cut = look->packet != NULL && look->packet->flags & MB_PKT_TRUNCATED;
    if (look->ip_version == 0 || (cut && kind == MB_RULE_DECODE))
        return;
    mb__eve_end(t, "src", &look->src, look->sport, ports);
    mb__eve_end(t, "dest", &look->dst, look->dport, ports);
    MB__TEXT_LITERAL(t, ",\"proto\":\"");
    mb__eve_proto(t, look->ip_proto);
    MB__TEXT_LITERAL(t, "\"");
    const struct mb_packet *p = look->packet;
    if (p != NULL && p->flags & MB_PKT_L4 && (p->ip_proto == ICMP || p->ip_proto == ICMPV6)) {
        mb__eve_number(t, "icmp_type", p->icmp_type);
        mb__eve_number(t, "icmp_code", p->icmp_code);
    }
}

/* ---- what the application said -------------------------------------------------- */

void mb__eve_http(struct mb__text *t, const struct mb__tx *tx)
{
    MB__TEXT_LITERAL(t, ",\"http\":{");
    mb__eve_field(t, "hostname", tx->hostname);
    mb__eve_field(t, "url", tx->url);
    mb__eve_field(t, "http_user_agent", tx->user_agent);
    mb__eve_field(t, "http_content_type", tx->content_type);
    mb__eve_field(t, "http_refer", tx->referer);
    mb__eve_field(t, "http_method", tx->method);
    mb__eve_field(t, "protocol", tx->protocol);
    if (tx->status != 0)
        mb__eve_number(t, "status", tx->status);
    if (tx->status >= 300 && tx->status < 400)
        mb__eve_field(t, "redirect", tx->location);
    mb__eve_number(t, "length", tx->length);
    MB__TEXT_LITERAL(t, "}");
}

/* A certificate's time, whole seconds, UTC. */
static void put_time(struct mb__text *t, const char *key, int64_t seconds)
{
    if (seconds > INT64_MAX / NS || seconds < INT64_MIN / NS)
        return;
    struct mb__iso_cache cache = {0};
    char *p;
    mb__json_key(t, key, strlen(key));
    mb__text_char(t, '"');
    p = mb__text_room(t, MB__TEXT_ISO);
    mb__put_iso(p, &cache, seconds * NS);
    t->at = p + DATE_AND_TIME;
    mb__text_char(t, '"');
}

void mb__eve_tls(struct mb__text *t, const struct mb__session *s)
{
    static const char *const versions[] = {"SSLv3", "TLSv1", "TLS 1.1", "TLS 1.2", "TLS 1.3"};
    MB__TEXT_LITERAL(t, ",\"tls\":{");
    mb__eve_string(t, "subject", s->subject);
    mb__eve_string(t, "issuerdn", s->issuer);
    mb__eve_string(t, "serial", s->serial);
    mb__eve_string(t, "fingerprint", s->fingerprint);
    mb__eve_string(t, "sni", s->sni);
    if (s->serial != NULL) {
        put_time(t, "notbefore", s->not_before);
        put_time(t, "notafter", s->not_after);
    }
    if (s->version >= 0x300 && s->version <= 0x304)
        mb__eve_string(t, "version", versions[s->version - 0x300]);
    MB__TEXT_LITERAL(t, "}");
}

static void put_dns(struct mb__text *t, const struct mb__tx *tx)
{
    bool answer = tx->dns_flags & 0x8000;
    MB__TEXT_LITERAL(t, ",\"dns\":{\"");
    if (answer)
        MB__TEXT_LITERAL(t, "answer\":{\"type\":\"answer\"");
    else
        MB__TEXT_LITERAL(t, "query\":[{\"type\":\"query\"");
    mb__eve_number(t, "id", tx->dns_id);
    mb__eve_field(t, "rrname", tx->hostname);
    mb__eve_number(t, "opcode", tx->dns_flags >> 11 & 15);
    if (answer)
        MB__TEXT_LITERAL(t, "}}");
    else
        MB__TEXT_LITERAL(t, "}]}");
}

void mb__eve_ssh(struct mb__text *t, const struct mb__session *s)
{
    static const char *const sides[] = {"client", "server"};
    MB__TEXT_LITERAL(t, ",\"ssh\":{");
    for (int side = 0; side < 2; side++) {
        if (s->ssh_proto[side] == NULL)
            continue;
        mb__json_key(t, sides[side], 6);
        MB__TEXT_LITERAL(t, "{");
        mb__eve_string(t, "proto_version", s->ssh_proto[side]);
        mb__eve_string(t, "software_version", s->ssh_software[side]);
        if (s->hassh[side] != NULL) {
            MB__TEXT_LITERAL(t, ",\"hassh\":{");
            mb__eve_string(t, "hash", s->hassh[side]);
            MB__TEXT_LITERAL(t, "}");
        }
        MB__TEXT_LITERAL(t, "}");
    }
    MB__TEXT_LITERAL(t, "}");
}

void mb__eve_app(struct mb__text *t, const struct mb__look *look, const struct mb__tx *from)
{
    const struct mb_flow *flow = look->flow;
    const struct mb__state *s = look->state;
    if (flow == NULL || flow->app_proto == MB_APP_UNKNOWN)
        return;
    MB__JSON_KEY(t, "app_proto");
    mb__eve_text(t, mb_app_proto_name(flow->app_proto));
    const struct mb__tx *tx = from != NULL ? from : s != NULL ? s->last : NULL;
    if (flow->app_proto == MB_APP_HTTP && tx != NULL)
        mb__eve_http(t, tx);
    else if (flow->app_proto == MB_APP_DNS && tx != NULL)
        put_dns(t, tx);
    else if (flow->app_proto == MB_APP_TLS && s != NULL && s->session != NULL)
        mb__eve_tls(t, s->session);
    else if (flow->app_proto == MB_APP_SSH && s != NULL && s->session != NULL)
        mb__eve_ssh(t, s->session);
}

/* ---- the beginning of a record ---------------------------------------------------- */

static void put_vlan(struct mb__text *t, const struct mb__look *look)
{
    const struct mb_packet *p = look->packet;
    uint16_t ids[2] = {look->flow != NULL ? look->flow->vlan : 0, 0};
    int count = ids[0] != 0;
    if (p != NULL) {
        count = p->vlans < 2 ? p->vlans : 2;
        memcpy(ids, p->vlan, sizeof ids);
    }
    if (count == 0)
        return;
    MB__JSON_KEY(t, "vlan");
    MB__TEXT_LITERAL(t, "[");
    for (int i = 0; i < count; i++)
        mb__json_u64(t, ids[i]);
    MB__TEXT_LITERAL(t, "]");
}

static void put_origin(struct mb__text *t, const struct mb_detect *d, const struct mb__look *look)
{
    const struct mb_packet *p = look->packet;
    if (p != NULL && p->source < d->files)
        mb__eve_string(t, "pcap_filename", d->file[p->source]);
    MB__JSON_KEY(t, "pkt_src");
    if (p == NULL)
        mb__eve_text(t, "stream (flow timeout)");
    else if (p->flags & MB_PKT_REASSEMBLED)
        mb__eve_text(t, "defrag");
    else
        mb__eve_text(t, "wire/pcap");
}

void mb__eve_head(struct mb__text *t, const char *event_type, const struct mb__alert *a, struct mb__iso_cache *iso)
{
    const struct mb__look *look = a->look;
    MB__TEXT_LITERAL(t, "{\"timestamp\":");
    mb__json_iso_raw(t, iso, a->ts);
    if (look->flow != NULL)
        mb__eve_number(t, "flow_id", mb_flow_stable_id(look->flow));
    mb__eve_number(t, "pcap_cnt", a->number);
    mb__eve_string(t, "event_type", event_type);
    put_vlan(t, look);
    mb__eve_ends(t, look, a->rule != NULL ? a->rule->head->kind : -1);
    put_origin(t, a->detect, look);
}
