/* SPDX-License-Identifier: BSD-3-Clause */
/* eve_record -- EVE records of transactions, files and dropped packets */
#include <string.h>

#include "base/json.h"
#include "detect/message.h"
#include "output/eve_app.h"

#define TCP 6
#define UDP 17

static void put_dns(struct mb__text *t, const struct mb__tx *tx)
{
    static const char *const codes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    bool answer = tx->dns_flags & 0x8000;
    unsigned rcode = tx->dns_flags & 15;
    MB__TEXT_LITERAL(t, ",\"dns\":{");
    mb__eve_string(t, "type", answer ? "answer" : "query");
    mb__eve_number(t, "id", tx->dns_id);
    mb__eve_field(t, "rrname", tx->hostname);
    mb__eve_number(t, "tx_id", tx->number);
    mb__eve_number(t, "opcode", tx->dns_flags >> 11 & 15);
    if (answer && rcode < sizeof codes / sizeof *codes)
        mb__eve_string(t, "rcode", codes[rcode]);
    MB__TEXT_LITERAL(t, "}");
}

static void put_file(struct mb__text *t, const struct mb__tx *tx)
{
    MB__TEXT_LITERAL(t, ",\"fileinfo\":{");
    mb__eve_field(t, "filename", tx->filename.len > 0 ? tx->filename : mb__url_path(tx->url));
    MB__JSON_KEY(t, "gaps");
    mb__json_bool_raw(t, false);
    mb__eve_string(t, "state", tx->cut ? "TRUNCATED" : "CLOSED");
    MB__JSON_KEY(t, "stored");
    mb__json_bool_raw(t, false);
    mb__eve_number(t, "size", tx->length);
    mb__eve_number(t, "tx_id", tx->number);
    MB__TEXT_LITERAL(t, "}");
}

/* Header fields of the packet that was dropped. */
static void put_drop(struct mb__text *t, const struct mb_packet *p, const char *reason)
{
    MB__TEXT_LITERAL(t, ",\"drop\":{");
    mb__eve_number(t, "len", p->ip_len);
    mb__eve_number(t, "tos", p->tos);
    mb__eve_number(t, "ttl", p->ttl);
    mb__eve_number(t, "ipid", p->ip_id);
    if (p->ip_proto == TCP && p->flags & MB_PKT_L4) {
        mb__eve_number(t, "tcpseq", p->seq);
        mb__eve_number(t, "tcpack", p->ack);
        mb__eve_number(t, "tcpwin", p->window);
    } else if (p->ip_proto == UDP && p->flags & MB_PKT_L4) {
        mb__eve_number(t, "udplen", p->payload_len + 8);
    }
    mb__eve_string(t, "reason", reason);
    MB__TEXT_LITERAL(t, "}");
}

static const char *drop_reason(const struct mb__alert *a)
{
    if (a->rule == NULL)
        return "flow drop";
    return a->by_rate ? "threshold detection_filter" : "rules";
}

void mb__eve_record(struct mb__text *t, enum mb__report what, const struct mb__alert *a, struct mb__iso_cache *iso)
{
    static const char *const types[] = {
        [MB__REPORT_ALERT] = "alert", [MB__REPORT_DROP] = "drop", [MB__REPORT_HTTP] = "http",
        [MB__REPORT_FILE] = "fileinfo", [MB__REPORT_DNS] = "dns", [MB__REPORT_TLS] = "tls", [MB__REPORT_SSH] = "ssh",
    };
    const struct mb__session *session = a->look->state != NULL ? a->look->state->session : NULL;
    mb__eve_head(t, types[what], a, iso);
    if (a->tx != NULL)
        mb__eve_number(t, "tx_id", a->tx->number);
    if (what == MB__REPORT_HTTP || what == MB__REPORT_FILE)
        mb__eve_http(t, a->tx);
    if (what == MB__REPORT_FILE) {
        mb__eve_string(t, "app_proto", "http");
        put_file(t, a->tx);
    }
    if (what == MB__REPORT_DNS)
        put_dns(t, a->tx);
    if (what == MB__REPORT_TLS && session != NULL)
        mb__eve_tls(t, session);
    if (what == MB__REPORT_SSH && session != NULL)
        mb__eve_ssh(t, session);
    if (what == MB__REPORT_DROP) {
        if (a->look->packet != NULL)
            put_drop(t, a->look->packet, drop_reason(a));
        if (a->rule != NULL)
            mb__eve_alert(t, a);
        mb__eve_verdict(t, a);
    }
    MB__TEXT_LITERAL(t, "}\n");
}
