/* SPDX-License-Identifier: BSD-3-Clause */
/* zeek -- Zeek's conn.log: tab-separated lines about connections
 *
 *   flow --user pointer--> conn          TCP and UDP: one flow, one line
 *
 *   echo flow, id 1 --\
 *   echo flow, id 2 ----> conn           ICMP: one line for all that two hosts sent
 *   echo flow, id 3 --/                  of one kind of question and answer
 *
 * Shared conns are found by address and message type, those of protocols that
 * Zeek does not know by address alone. They count their flows: a line is
 * written when the last of them has ended. Times in the head and the foot are
 * those of the packet clock at the first frame and at the last: two runs write
 * the same bytes, and so do several workers, of whose heads and feet one is kept.
 */
#include "output/zeek.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/pool.h"
#include "output/output.h"

#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define MAX_CONNS (16u * 1024 * 1024) /* at once; address space, not memory */
#define FIRST_BUCKETS 64

static const char fields[] = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n";
static const char names[] =
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t"
    "conn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\t"
    "tunnel_parents\tip_proto\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\t"
    "string\tbool\tbool\tcount\tstring\tcount\tcount\tcount\tcount\t"
    "set[string]\tcount\n";

/* UDP ports that Zeek takes for a service's, of the protocols it knows. */
static const uint16_t server_ports[] = {
    53,   67,   68,   88,   123,  137,  161,  162,  389,  443,   514,  1812,
    2123, 2152, 3544, 4011, 4789, 5060, 5072, 5353, 5355, 20000, 6081,
};

/* Who talks to whom, as Zeek names it. */
struct key {
    struct mb_addr addr[2]; /* by enum mb_side */
    uint16_t port[2];
    uint8_t ip_proto;
};

/* A connection in the pool. */
struct slot {
    struct mb__zeek_conn conn;
    struct key key;
    uint64_t stable;   /* stable hash of its first flow */
    uint32_t flows;    /* that belong to it */
    uint32_t next;     /* shared: in its bucket */
    bool exchanged;    /* not shared: our client is Zeek's responder */
};

struct mb__zeek {
    struct mb_engine *engine;
    struct mb_monitor *monitor;
    struct mb_output *to;
    struct mb__pool pool; /* struct slot */
    struct mb__hash_key hash_key;
    uint32_t *buckets;    /* shared conns by key */
    uint32_t bucket_count, shared_count;
    bool headed;          /* the head is written */
    struct mb__text text;
};

/* ---- the file ------------------------------------------------------------------ */

/* "2024-01-02-03-04-05", UTC. */
static void put_date(struct mb__text *t, const char *tag, int64_t ts)
{
    struct mb__date d;
    mb__date_from_ns(ts, &d);
    mb__text_bytes(t, tag, strlen(tag));
    char *p = mb__put_padded(mb__text_room(t, 24), (uint64_t)d.year, 4);
    uint32_t parts[5] = {d.month, d.day, d.hour, d.minute, d.second};
    for (int i = 0; i < 5; i++) {
        *p++ = '-';
        p = mb__put_2(p, parts[i]);
    }
    *p++ = '\n';
    t->at = p;
}

static int flush(struct mb__zeek *z)
{
    int err = mb__text_lost(&z->text) != 0 ? MB_ENOMEM
                                           : mb_output_write(z->to, z->text.start, mb__text_len(&z->text));
    mb__text_clear(&z->text);
    return err < 0 ? err : 0;
}

/* The head comes before all else in the file, whoever writes it. */
static int put_head(struct mb__zeek *z)
{
    if (z->headed)
        return 0;
    struct mb__order *order = mb__engine_order(z->engine), now = *order;
    z->headed = true;
    mb__text_bytes(&z->text, fields, sizeof fields - 1);
    put_date(&z->text, "#open\t", mb__engine_began(z->engine));
    mb__text_bytes(&z->text, names, sizeof names - 1);
    *order = (struct mb__order){0};
    int err = flush(z);
    *order = now;
    return err;
}

/* ---- one line ------------------------------------------------------------------- */

static void put_tab(struct mb__text *t, const char *word)
{
    mb__text_bytes(t, word, strlen(word));
    mb__text_char(t, '\t');
}

static void put_count(struct mb__text *t, uint64_t v)
{
    char *p = mb__put_u64(mb__text_room(t, MB__TEXT_U64 + 1), v);
    *p = '\t';
    t->at = p + 1;
}

/* Seconds with six decimals. */
static void put_seconds(struct mb__text *t, int64_t ns)
{
    char *p = mb__put_fixed(mb__text_room(t, MB__TEXT_FIXED + 1), ns / 1000, 6);
    *p = '\t';
    t->at = p + 1;
}

/* "C" and the hash in base 62, as Zeek's ids look. */
static void put_uid(struct mb__text *t, uint64_t hash)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char *p = mb__text_room(t, 16);
    *p++ = 'C';
    for (int i = 0; i < 11; i++, hash /= 62)
        *p++ = digits[hash % 62];
    *p++ = '\t';
    t->at = p;
}

static void put_end(struct mb__text *t, const struct mb_addr *addr, uint16_t port)
{
    t->at += mb_addr_text(addr, mb__text_room(t, MB_ADDR_TEXT));
    mb__text_char(t, '\t');
    put_count(t, port);
}

/* The networks that Zeek takes for local if it is told nothing: private and
 * shared address space, loopback, link-local and unique local addresses. */
static bool is_local(const struct mb_addr *a)
{
    const uint8_t *b = a->byte;
    if (mb_addr_is_v4(a)) {
        b += 12;
        return b[0] == 10 || b[0] == 127 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) ||
               (b[0] == 100 && (b[1] & 0xc0) == 64);
    }
    static const uint8_t loopback[16] = {[15] = 1};
    return (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || memcmp(b, loopback, 16) == 0;
}

static const char *proto_name(int ip_proto)
{
    switch (ip_proto) {
    case TCP: return "tcp";
    case UDP: return "udp";
    case ICMP:
    case ICMPV6: return "icmp";
    default: return "unknown_transport";
    }
}

static const char *service_name(int app_proto)
{
    if (app_proto <= MB_APP_NONE)
        return "-";
    return app_proto == MB_APP_TLS ? "ssl" : mb_app_proto_name(app_proto);
}

static void put_line(struct mb__text *t, const struct slot *s, int app_proto)
{
    const struct mb__zeek_conn *c = &s->conn;
    const struct key *key = &s->key;
    const struct mb__zeek_side *orig = &c->side[MB_CLIENT], *resp = &c->side[MB_SERVER];
    put_seconds(t, c->first_ts);
    put_uid(t, s->stable);
    put_end(t, &key->addr[MB_CLIENT], key->port[MB_CLIENT]);
    put_end(t, &key->addr[MB_SERVER], key->port[MB_SERVER]);
    put_tab(t, proto_name(key->ip_proto));
    put_tab(t, service_name(app_proto));
    if (c->last_ts > c->first_ts) {
        put_seconds(t, c->last_ts - c->first_ts);
        put_count(t, mb__zeek_conn_bytes(c, MB_CLIENT, key->ip_proto));
        put_count(t, mb__zeek_conn_bytes(c, MB_SERVER, key->ip_proto));
    } else {
        put_tab(t, "-\t-\t-");
    }
    put_tab(t, mb__zeek_conn_state(c, key->ip_proto));
    put_tab(t, is_local(&key->addr[MB_CLIENT]) ? "T" : "F");
    put_tab(t, is_local(&key->addr[MB_SERVER]) ? "T" : "F");
    put_count(t, orig->missed + resp->missed);
    mb__text_bytes(t, c->history_len > 0 ? c->history : "-", c->history_len > 0 ? c->history_len : 1);
    mb__text_char(t, '\t');
    put_count(t, orig->packets);
    put_count(t, orig->ip_bytes);
    put_count(t, resp->packets);
    put_count(t, resp->ip_bytes);
    put_tab(t, "-");
    put_count(t, key->ip_proto);
    t->at[-1] = '\n';
}

/* ---- connections ----------------------------------------------------------------- */

static bool is_shared(const struct mb_flow *flow)
{
    return flow->ip_proto != TCP && flow->ip_proto != UDP;
}

/* Zeek's key of |flow|. ICMP has types for ports, see mb__icmp_counterpart(). */
static struct key key_of(const struct mb_flow *flow)
{
    struct key key = {.ip_proto = flow->ip_proto};
    for (int side = 0; side < 2; side++) {
        key.addr[side] = flow->end[side].addr;
        key.port[side] = is_shared(flow) ? 0 : flow->end[side].port;
    }
    if (flow->ip_proto == ICMP || flow->ip_proto == ICMPV6) {
        uint32_t first = flow->end[MB_CLIENT].isn; /* type << 8 | code */
        int answer = mb__icmp_counterpart(flow->ip_proto == ICMPV6, (int)(first >> 8));
        key.port[MB_CLIENT] = (uint16_t)(first >> 8);
        key.port[MB_SERVER] = answer >= 0 ? (uint16_t)answer : (uint16_t)(first & 0xff);
    }
    return key;
}

static struct slot *slot_at(const struct mb__zeek *z, uint32_t n)
{
    return n == 0 ? NULL : mb__pool_at(&z->pool, n);
}

static uint32_t hash_of(const struct mb__zeek *z, const struct key *key)
{
    return mb__hash_flow(&z->hash_key, key->addr[0].byte, key->port[0], key->addr[1].byte, key->port[1],
                         key->ip_proto);
}

/* Whether |b| is |a| (0), |a| with its sides exchanged (1), or another (-1). */
static int compare_keys(const struct key *a, const struct key *b)
{
    if (a->ip_proto != b->ip_proto)
        return -1;
    for (int swap = 0; swap < 2; swap++) {
        if (a->port[0] == b->port[swap] && a->port[1] == b->port[!swap] &&
            memcmp(&a->addr[0], &b->addr[swap], sizeof a->addr[0]) == 0 &&
            memcmp(&a->addr[1], &b->addr[!swap], sizeof a->addr[0]) == 0)
            return swap;
    }
    return -1;
}

static uint32_t *bucket_of(const struct mb__zeek *z, const struct key *key)
{
    return &z->buckets[hash_of(z, key) & (z->bucket_count - 1)];
}

/* Twice as many buckets once there are as many conns. Without memory the
 * chains grow instead. */
static void grow_buckets(struct mb__zeek *z)
{
    uint32_t old_count = z->bucket_count, *old = z->buckets;
    uint32_t *buckets = z->shared_count < old_count ? NULL : calloc(2 * (size_t)old_count, sizeof *buckets);
    if (buckets == NULL)
        return;
    z->buckets = buckets;
    z->bucket_count = 2 * old_count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (uint32_t n = old[i], next; n != 0; n = next) {
            struct slot *s = slot_at(z, n);
            uint32_t *bucket = bucket_of(z, &s->key);
            next = s->next;
            s->next = *bucket;
            *bucket = n;
        }
    }
    free(old);
}

/* The conn that |flow| shares with others of its kind; NULL: no room. */
static struct slot *shared_slot(struct mb__zeek *z, const struct mb_flow *flow)
{
    struct key key = key_of(flow);
    for (uint32_t n = *bucket_of(z, &key); n != 0; n = slot_at(z, n)->next) {
        if (compare_keys(&slot_at(z, n)->key, &key) >= 0)
            return slot_at(z, n);
    }
    uint32_t n = mb__pool_take(&z->pool);
    if (n == 0)
        return NULL;
    grow_buckets(z);
    struct slot *s = slot_at(z, n);
    uint32_t *bucket = bucket_of(z, &key);
    s->key = key;
    s->stable = mb__flow_stable_hash(flow);
    s->next = *bucket;
    *bucket = n;
    z->shared_count++;
    return s;
}

static void shared_unchain(struct mb__zeek *z, const struct slot *s)
{
    uint32_t n = mb__pool_number(&z->pool, s), *at = bucket_of(z, &s->key);
    while (*at != n)
        at = &slot_at(z, *at)->next;
    *at = s->next;
    z->shared_count--;
}

static bool is_server_port(uint16_t port)
{
    for (size_t n = 0; n < sizeof server_ports / sizeof server_ports[0]; n++) {
        if (server_ports[n] == port)
            return true;
    }
    return false;
}

/* Whether Zeek would exchange the ends of a UDP flow, whose client we take to
 * be who sent first: it comes from a service's port and goes to none. */
static bool exchanges(const struct key *key)
{
    return key->ip_proto == UDP && is_server_port(key->port[MB_CLIENT]) && !is_server_port(key->port[MB_SERVER]);
}

/* A conn of |flow| alone; NULL: no room. */
static struct slot *own_slot(struct mb__zeek *z, const struct mb_flow *flow)
{
    struct slot *s = slot_at(z, mb__pool_take(&z->pool));
    if (s == NULL)
        return NULL;
    struct key key = key_of(flow);
    s->exchanged = exchanges(&key);
    for (int side = 0; side < 2; side++) {
        s->key.addr[side] = key.addr[side ^ s->exchanged];
        s->key.port[side] = key.port[side ^ s->exchanged];
    }
    s->key.ip_proto = key.ip_proto;
    s->stable = mb__flow_stable_hash(flow);
    return s;
}

/* The conn of a flow, made with its first packet. NULL: no room, the flow will
 * have no line. */
static struct slot *slot_of(struct mb__zeek *z, struct mb_flow *flow)
{
    struct slot *s = mb_flow_user(flow, z->monitor);
    if (s != NULL)
        return s;
    s = is_shared(flow) ? shared_slot(z, flow) : own_slot(z, flow);
    if (s == NULL || mb_flow_set_user(flow, z->monitor, s) < 0)
        return NULL;
    s->flows++;
    return s;
}

/* Which side of the conn the |side| of |flow| is. */
static int side_of(const struct slot *s, const struct mb_flow *flow, int side)
{
    if (!is_shared(flow))
        return side ^ s->exchanged;
    struct key key = key_of(flow);
    return compare_keys(&s->key, &key) == 1 ? !side : side;
}

/* ---- events ----------------------------------------------------------------------- */

static int on_packet(struct mb_event *ev, void *arg)
{
    struct mb__zeek *z = arg;
    struct slot *s = slot_of(z, ev->flow);
    if (s != NULL)
        mb__zeek_conn_packet(&s->conn, side_of(s, ev->flow, ev->side), ev->packet,
                             s->exchanged || ev->flow->flags & MB_FLOW_SWAPPED);
    return 0;
}

static int on_gap(struct mb_event *ev, void *arg)
{
    struct mb__zeek *z = arg;
    struct slot *s = mb_flow_user(ev->flow, z->monitor);
    if (s != NULL)
        mb__zeek_conn_gap(&s->conn, ev->side, ev->len); /* TCP: never exchanged */
    return 0;
}

/* Being listened to is enough: flow->app_proto is what the line wants. */
static int on_protocol(struct mb_event *ev, void *arg)
{
    (void)ev;
    (void)arg;
    return 0;
}

static int on_flow_end(struct mb_event *ev, void *arg)
{
    struct mb__zeek *z = arg;
    struct mb_flow *flow = ev->flow;
    struct slot *s = mb_flow_user(flow, z->monitor);
    if (s == NULL)
        return 0;
    mb_flow_set_user(flow, z->monitor, NULL);
    if (--s->flows > 0)
        return 0;
    int err = put_head(z);
    put_line(&z->text, s, flow->app_proto);
    if (is_shared(flow))
        shared_unchain(z, s);
    mb__pool_give(&z->pool, mb__pool_number(&z->pool, s));
    return err < 0 ? err : flush(z);
}

/* ---- life ------------------------------------------------------------------------- */

static int listen(struct mb__zeek *z)
{
    int err = mb_on(z->monitor, NULL, MB_EV_PACKET, MB_HOOK_SND, on_packet, z);
    if (err >= 0)
        err = mb_on(z->monitor, NULL, MB_EV_GAP, MB_HOOK_NONE, on_gap, z);
    if (err >= 0)
        err = mb_on(z->monitor, NULL, MB_EV_PROTOCOL, MB_HOOK_NONE, on_protocol, z);
    if (err >= 0)
        err = mb_on(z->monitor, NULL, MB_EV_FLOW_END, MB_HOOK_NONE, on_flow_end, z);
    return err;
}

struct mb__zeek *mb__zeek_new(struct mb_engine *e, struct mb_output *o, char *err)
{
    struct mb__zeek *z = calloc(1, sizeof *z);
    if (z == NULL || mb__pool_init(&z->pool, sizeof(struct slot), MAX_CONNS) < 0)
        goto no_memory;
    z->engine = e;
    z->to = o;
    mb__text_init(&z->text);
    mb__hash_key_init(&z->hash_key, 0);
    z->bucket_count = FIRST_BUCKETS;
    z->buckets = calloc(z->bucket_count, sizeof *z->buckets);
    if (z->buckets == NULL)
        goto no_memory;
    z->monitor = mb_monitor_new(e, "zeek", err);
    if (z->monitor != NULL && listen(z) >= 0)
        return z;
    mb__zeek_free(z);
    return NULL;

no_memory:
    if (err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(MB_ENOMEM));
    mb__zeek_free(z);
    return NULL;
}

void mb__zeek_free(struct mb__zeek *z)
{
    if (z == NULL)
        return;
    mb__text_fini(&z->text);
    free(z->buckets);
    mb__pool_fini(&z->pool);
    free(z);
}

size_t mb__zeek_flow_bytes(void)
{
    return sizeof(struct slot) + 2 * sizeof(uint32_t); /* with its share of the buckets */
}

int mb__zeek_finish(struct mb__zeek *z)
{
    int err = put_head(z);
    put_date(&z->text, "#close\t", mb_engine_now(z->engine));
    return err < 0 ? err : flush(z);
}

void mb__zeek_record(const struct mb__zeek *z, struct mb__text *t, const struct mb_flow *flow)
{
    const struct slot *s = z != NULL ? mb_flow_user(flow, z->monitor) : NULL;
    if (s != NULL)
        put_line(t, s, flow->app_proto);
}
