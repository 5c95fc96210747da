/* SPDX-License-Identifier: BSD-3-Clause */
/* fields -- what a case sets and looks at, by its name in the structs of mosbox.h
 *
 * mosbox/config.py makes its keys from the header; here are those that cases use.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"

#define COUNT_OF(list) (sizeof(list) / sizeof *(list))
#define PEEK           4096 /* bytes, at most */
#define PIECES         64

struct field {
    const char *name;
    size_t offset;
    size_t size;
};

#define FIELD(type, name, member) {name, offsetof(struct type, member), sizeof(((struct type *)0)->member)}
#define TIMEOUT(name)             FIELD(mb_config, "timeouts." #name, timeout_##name)
#define LIMIT(name)               FIELD(mb_config, "limits." #name, max_##name)
#define CONFIG(name)              FIELD(mb_config, #name, name)
#define KEY(name)                 FIELD(mb_config, #name "_key", key_##name)
#define FLOW(name)                FIELD(mb_flow, #name, name)
#define END(name)                 FIELD(mb_endpoint, #name, name)
#define STATS(name)               FIELD(mb_stats, #name, name)

static const struct field settings[] = {TIMEOUT(tcp_syn),    TIMEOUT(tcp),      TIMEOUT(tcp_half),
                                        TIMEOUT(tcp_closed), TIMEOUT(udp),      TIMEOUT(icmp),
                                        TIMEOUT(fragment),   LIMIT(flows),      LIMIT(stream_bytes),
                                        LIMIT(memory),       CONFIG(checksums), CONFIG(midstream),
                                        CONFIG(overlap),     CONFIG(urgent),    CONFIG(table_full),
                                        CONFIG(icmp_joins),  KEY(vlan)};
static const struct field flow_fields[] = {FLOW(vlan), FLOW(tunnel_id), FLOW(anomalies)};
static const struct field end_fields[] = {END(packets), END(next), END(missed), END(retransmits),
                                          END(isn),     END(mss),  END(wscale), END(snd_wnd)};
static const struct field stats_fields[] = {STATS(non_ip),       STATS(fragments),        STATS(reassembled),
                                            STATS(dropped),      STATS(orphans),          STATS(flows),
                                            STATS(flows_active), STATS(stream_discarded), STATS(stream_memory),
                                            STATS(backward_time)};

static const struct field *find(const struct field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

/* ---- set -------------------------------------------------------------------- */

static int policy_of(const char *word)
{
    for (int i = 0; i < MB_OVERLAP_COUNT; i++)
        if (strcmp(mb_overlap_name(i), word) == 0)
            return i;
    return MB_EINVAL;
}

/* A number, of seconds with an s, or a word: no word means one thing here and another there. */
static int64_t value_of(const char *text)
{
    static const char *const words[][3] = {{"no", "yes"},
                                           {"ignore", "verify"},
                                           {"inline", "oob"},
                                           {"evict", "open", "close"}};
    char *end;
    int64_t number = strtoll(text, &end, 10);
    if (end > text)
        return *end == '\0' ? number : strcmp(end, "s") == 0 ? number * 1000000000 : MB_EINVAL;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        for (int value = 0; value < 3 && words[i][value] != NULL; value++)
            if (strcmp(words[i][value], text) == 0)
                return value;
    return policy_of(text);
}

static int set_config(struct mb_config *config, const char *key, const char *value)
{
    const struct field *field = find(settings, COUNT_OF(settings), key);
    int64_t number = value_of(value);
    if (field == NULL || number < 0)
        return MB_EINVAL;
    void *at = (char *)config + field->offset;
    if (field->size == 1)
        *(uint8_t *)at = (uint8_t)number;
    else if (field->size == 4)
        *(uint32_t *)at = (uint32_t)number;
    else
        *(int64_t *)at = number;
    return 0;
}

/* hosts.POLICY or hops.NUMBER of an address or a prefix. */
static int set_hosts(struct mb_engine *e, const char *key, const char *value)
{
    char address[MB_ADDR_TEXT];
    unsigned bits;
    struct mb_addr prefix;
    const char *word = strchr(key, '.') + 1;
    int found = sscanf(value, "%45[^/]/%u", address, &bits);
    if (found < 1 || mb_addr_parse(address, &prefix) < 0)
        return MB_EINVAL;
    if (found == 1)
        bits = mb_addr_is_v4(&prefix) ? 32 : 128;
    if (strncmp(key, "hosts.", 6) == 0)
        return mb_engine_set_overlap(e, &prefix, bits, policy_of(word));
    return mb_engine_set_hops(e, &prefix, bits, (unsigned)strtoul(word, NULL, 10));
}

int set(struct mb_config *config, struct mb_engine *e, const char *key, const char *value)
{
    bool of_hosts = strncmp(key, "hosts.", 6) == 0 || strncmp(key, "hops.", 5) == 0;
    if (of_hosts != (e != NULL))
        return 0;
    return of_hosts ? set_hosts(e, key, value) : set_config(config, key, value);
}

/* ---- look ------------------------------------------------------------------- */

static int say_number(uint64_t number)
{
    printf("%" PRIu64, number);
    return 0;
}

static int say_field(const struct field *field, const void *of)
{
    const void *at = (const char *)of + (field != NULL ? field->offset : 0);
    switch (field != NULL ? field->size : 0) {
    case 1:
        return say_number(*(const uint8_t *)at);
    case 2:
        return say_number(*(const uint16_t *)at);
    case 4:
        return say_number(*(const uint32_t *)at);
    case 8:
        return say_number(*(const uint64_t *)at);
    default:
        return MB_ENOENT;
    }
}

static int look_at_end(const struct mb_endpoint *end, const char *name)
{
    bool none = strcmp(name, "isn") == 0 ? !(end->flags & MB_SIDE_ISN) : strcmp(name, "mss") == 0 && end->mss == 0;
    if (!none)
        return say_field(find(end_fields, COUNT_OF(end_fields), name), end);
    fputs("None", stdout);
    return 0;
}

static int look_at_flow(const struct mb_flow *flow, const char *name)
{
    if (strcmp(name, "client") == 0 || strcmp(name, "server") == 0)
        say_endpoint(&flow->end[name[0] == 's']);
    else if (strcmp(name, "midstream") == 0)
        fputs(flow->flags & MB_FLOW_MIDSTREAM ? "True" : "False", stdout);
    else
        return say_field(find(flow_fields, COUNT_OF(flow_fields), name), flow);
    return 0;
}

static int look_at_named(const uint64_t *counts, size_t n, const char *(*name_of)(int), const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name_of((int)i), name) == 0)
            return say_number(counts[i]);
    return MB_ENOENT;
}

static int look_at_stats(const struct mb_engine *e, const char *name)
{
    struct mb_stats stats;
    mb_engine_stats(e, &stats);
    if (strncmp(name, "anomalies.", 10) == 0)
        return look_at_named(stats.anomalies, COUNT_OF(stats.anomalies), mb_anomaly_name, name + 10);
    if (strncmp(name, "flows_ended.", 12) == 0)
        return look_at_named(stats.flows_ended, COUNT_OF(stats.flows_ended), mb_end_reason_name, name + 12);
    return say_field(find(stats_fields, COUNT_OF(stats_fields), name), &stats);
}

static int look_at_bytes(const struct mb_flow *flow, int side, const char *what)
{
    uint8_t bytes[PEEK];
    uint64_t offset;
    size_t len;
    if (sscanf(what, "peek:%*6s:%" SCNu64 ":%zu", &offset, &len) != 2 || len > sizeof bytes)
        return MB_EINVAL;
    say_text(bytes, mb_stream_peek(flow, side, offset, bytes, len));
    return 0;
}

static int look_at_pending(const struct mb_flow *flow, int side)
{
    struct mb_fragment pieces[PIECES];
    size_t count = mb_stream_fragments(flow, side, pieces, PIECES);
    for (size_t i = 0; i < count && i < PIECES; i++)
        printf("%s%" PRIu64 "+%" PRIu64, i > 0 ? " " : "", pieces[i].offset, pieces[i].len);
    fputs(count > 0 ? "" : "none", stdout);
    return 0;
}

int look(const struct mb_engine *e, const struct mb_flow *flow, const char *what)
{
    printf(" %s ", what);
    const char *name = strchr(what, '.');
    int side = strstr(what, "server") != NULL;
    if (strncmp(what, "stats.", 6) == 0)
        return look_at_stats(e, what + 6);
    if (flow == NULL)
        return MB_ENOENT;
    if (strncmp(what, "flow.", 5) == 0)
        return look_at_flow(flow, what + 5);
    if (strncmp(what, "pending:", 8) == 0)
        return look_at_pending(flow, side);
    return name != NULL ? look_at_end(&flow->end[side], name + 1) : look_at_bytes(flow, side, what);
}
