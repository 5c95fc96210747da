/* SPDX-License-Identifier: BSD-3-Clause */
/* tally -- groups of flows, bounded, the largest kept
 *
 *   key --hash--> slots [ hash | row ]        open addressing, at most half full
 *                            |
 *                            v
 *                 rows  [ row | row | ... ]   as they came, one cache line and a half each
 *
 * When all rows are taken, those that are neither among the largest quarter by
 * bytes, nor by packets, nor by flows, make room at once: that is at least a
 * quarter, so the work is spread over as many new groups. What they counted is
 * gone from the groups and stays in the count of rows let go. Flows taken one
 * by one never come back, so a flow smaller than all that is kept need not
 * come in at all: the top talkers cost one comparison a flow.
 *
 * Rows are ordered by their numbers and then by their keys, never by their
 * hashes: what is kept and shown is the same in every run.
 */
#include "output/output.h"

#include <stdlib.h>

#define FIRST_ROWS 64
#define MIN_ROWS 8 /* so that a quarter is a number */

/* What rows can be ordered by. */
enum measure { BY_BYTES, BY_PACKETS, BY_FLOWS, MEASURES };

struct slot {
    uint32_t hash;
    uint32_t row; /* 1 + its number; 0: empty */
};

struct mb_tally {
    struct mb__outputs *owner;
    int key; /* enum mb_tally_key */
    struct mb__hash_key hash_key;
    struct mb_tally_row *rows;
    size_t count;
    size_t room;     /* rows there is memory for */
    size_t max_rows;
    struct slot *slots; /* NULL for MB_TALLY_FLOW: no flow comes twice */
    size_t slot_count;  /* a power of two, at least 2 * room */
    uint64_t evicted;   /* rows let go */
    uint64_t floor[MEASURES]; /* FLOW: smaller by all of them is too small */
};

static uint64_t measure(const struct mb_tally_row *r, enum measure by)
{
    switch (by) {
    case BY_BYTES: return r->bytes[0] + r->bytes[1];
    case BY_PACKETS: return r->packets[0] + r->packets[1];
    default: return r->flows;
    }
}

/* ---- keys ---------------------------------------------------------------- */

static bool same_key(const struct mb_tally_row *a, const struct mb_tally_row *b)
{
    return a->ip_proto == b->ip_proto && a->app_proto == b->app_proto && a->port[0] == b->port[0] &&
           a->port[1] == b->port[1] && memcmp(a->addr, b->addr, sizeof a->addr) == 0;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Order of keys; flows with the same key are told apart by their times. */
static int compare_keys(const struct mb_tally_row *a, const struct mb_tally_row *b)
{
    int d = compare(a->ip_proto, b->ip_proto);
    if (d == 0)
        d = memcmp(a->addr, b->addr, sizeof a->addr);
    if (d == 0)
        d = compare(a->port[1], b->port[1]);
    if (d == 0)
        d = compare(a->port[0], b->port[0]);
    if (d == 0)
        d = compare(a->app_proto, b->app_proto);
    if (d == 0)
        d = compare((uint64_t)a->first_ts, (uint64_t)b->first_ts);
    return d != 0 ? d : compare((uint64_t)a->last_ts, (uint64_t)b->last_ts);
}

/* The larger row comes first; total, so that no order depends on luck. */
static int compare_rows(const struct mb_tally_row *a, const struct mb_tally_row *b, enum measure by)
{
    int d = compare(measure(b, by), measure(a, by));
    return d != 0 ? d : compare_keys(a, b);
}

static uint32_t hash_row(const struct mb_tally *t, const struct mb_tally_row *r)
{
    uint64_t ports = (uint64_t)r->port[0] << 16 | r->port[1];
    uint64_t first = mb__hash_endpoint(&t->hash_key, r->addr[0].byte, r->port[0]);
    uint64_t second = mb__hash_endpoint(&t->hash_key, r->addr[1].byte, r->port[1]);
    uint64_t rest = ports << 16 | (uint64_t)r->ip_proto << 8 | r->app_proto;
    return (uint32_t)(mb__fold(first ^ t->hash_key.k[2], (second ^ t->hash_key.k[3]) + rest) >> 16);
}

/* ---- memory -------------------------------------------------------------- */

static size_t slot_of(const struct mb_tally *t, uint32_t hash, const struct mb_tally_row *key)
{
    size_t i = hash & (t->slot_count - 1);
    while (t->slots[i].row != 0) {
        if (t->slots[i].hash == hash && same_key(&t->rows[t->slots[i].row - 1], key))
            break;
        i = (i + 1) & (t->slot_count - 1);
    }
    return i;
}

/* Puts all rows into the slots anew. */
static void index_rows(struct mb_tally *t)
{
    memset(t->slots, 0, t->slot_count * sizeof *t->slots);
    for (size_t n = 0; n < t->count; n++) {
        uint32_t hash = hash_row(t, &t->rows[n]);
        size_t i = hash & (t->slot_count - 1);
        while (t->slots[i].row != 0)
            i = (i + 1) & (t->slot_count - 1);
        t->slots[i] = (struct slot){hash, (uint32_t)n + 1};
    }
}

/* Memory for |room| rows and their slots. */
static int make_room(struct mb_tally *t, size_t room)
{
    struct mb_tally_row *rows = realloc(t->rows, room * sizeof *rows);
    if (rows == NULL)
        return MB_ENOMEM;
    t->rows = rows;
    if (t->key != MB_TALLY_FLOW) {
        size_t count = 2;
        while (count < 2 * room)
            count *= 2;
        struct slot *slots = realloc(t->slots, count * sizeof *slots);
        if (slots == NULL)
            return MB_ENOMEM;
        t->slots = slots;
        t->slot_count = count;
        index_rows(t);
    }
    t->room = room;
    return 0;
}

size_t mb__tally_rows(uint64_t memory)
{
    uint64_t rows = memory / (sizeof(struct mb_tally_row) + 4 * sizeof(struct slot));
    return rows < MB__TALLY_ROWS ? (size_t)rows : MB__TALLY_ROWS;
}

struct mb_tally *mb__tally_new(struct mb__outputs *owner, int key, size_t max_rows)
{
    struct mb_tally *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->owner = owner;
    t->key = key;
    t->max_rows = max_rows == 0 ? MB__TALLY_ROWS : max_rows;
    if (t->max_rows < MIN_ROWS)
        t->max_rows = MIN_ROWS;
    if (t->max_rows > UINT32_MAX / 4)
        t->max_rows = UINT32_MAX / 4;
    mb__hash_key_init(&t->hash_key, 0);
    if (make_room(t, t->max_rows < FIRST_ROWS ? t->max_rows : FIRST_ROWS) < 0) {
        mb__tally_free(t);
        return NULL;
    }
    return t;
}

void mb__tally_free(struct mb_tally *t)
{
    if (t == NULL)
        return;
    free(t->rows);
    free(t->slots);
    free(t);
}

struct mb__outputs *mb__tally_owner(const struct mb_tally *t)
{
    return t->owner;
}

struct mb_tally *mb__tally_copy(const struct mb_tally *t)
{
    struct mb_tally *copy = mb__tally_new(t->owner, t->key, t->max_rows);
    if (copy == NULL)
        return NULL;
    copy->hash_key = t->hash_key;
    copy->evicted = t->evicted;
    memcpy(copy->floor, t->floor, sizeof copy->floor);
    if (make_room(copy, t->room) < 0) {
        mb__tally_free(copy);
        return NULL;
    }
    memcpy(copy->rows, t->rows, t->count * sizeof *t->rows);
    copy->count = t->count;
    if (copy->slots != NULL)
        index_rows(copy);
    return copy;
}

/* ---- choosing ------------------------------------------------------------- */

/* Moves the numbers of the |k| largest of |n| rows to the front of |list|, in
 * no order among themselves. The pivots come from a generator of fixed seed:
 * no sequence of flows can be made to meet the bad ones. */
static void choose(const struct mb_tally *t, uint32_t *list, size_t n, size_t k, enum measure by)
{
    uint64_t random = t->hash_key.k[0] | 1;
    size_t low = 0, high = n;
    while (high - low > 1 && k > low && k < high) {
        random = mb__fold(random ^ 0x9e3779b97f4a7c15u, t->hash_key.k[1] | 1) + high;
        uint32_t pivot = list[low + random % (high - low)];
        size_t i = low, j = high - 1;
        for (;;) {
            while (compare_rows(&t->rows[list[i]], &t->rows[pivot], by) < 0)
                i++;
            while (compare_rows(&t->rows[list[j]], &t->rows[pivot], by) > 0)
                j--;
            if (i >= j)
                break;
            uint32_t swap = list[i];
            list[i++] = list[j];
            list[j--] = swap;
        }
        if (k <= i) /* list[i] is where the two met: the pivot, or already of the second half */
            high = i;
        else
            low = j + 1;
    }
}

/* Keeps the rows marked in |keep|, in their order. */
static void keep_marked(struct mb_tally *t, const uint8_t *keep)
{
    size_t kept = 0;
    for (size_t n = 0; n < t->count; n++) {
        if (keep[n])
            t->rows[kept++] = t->rows[n];
    }
    t->evicted += t->count - kept;
    t->count = kept;
    if (t->slots != NULL)
        index_rows(t);
}

/* Lets the small rows go. 0 or MB_ENOMEM. */
static int evict(struct mb_tally *t)
{
    size_t quarter = t->count / 4;
    uint32_t *list = malloc(t->count * sizeof *list);
    uint8_t *keep = calloc(t->count, 1);
    if (list == NULL || keep == NULL) {
        free(list);
        free(keep);
        return MB_ENOMEM;
    }
    for (size_t n = 0; n < t->count; n++)
        list[n] = (uint32_t)n;
    for (int by = 0; by < MEASURES; by++) {
        choose(t, list, t->count, quarter, by);
        t->floor[by] = UINT64_MAX;
        for (size_t n = 0; n < quarter; n++) {
            uint64_t size = measure(&t->rows[list[n]], by);
            keep[list[n]] = 1;
            if (size < t->floor[by])
                t->floor[by] = size;
        }
    }
    keep_marked(t, keep);
    free(list);
    free(keep);
    return 0;
}

/* ---- counting ------------------------------------------------------------- */

/* Room for one more row: it is rows[count]. 0 or MB_ENOMEM. */
static int next_row(struct mb_tally *t)
{
    if (t->count < t->room)
        return 0;
    if (t->room == t->max_rows)
        return evict(t);
    return make_room(t, 2 * t->room < t->max_rows ? 2 * t->room : t->max_rows);
}

static void sum_into(struct mb_tally_row *sum, const struct mb_tally_row *r)
{
    sum->flows += r->flows;
    for (int side = 0; side < 2; side++) {
        sum->packets[side] += r->packets[side];
        sum->bytes[side] += r->bytes[side];
    }
    if (r->first_ts < sum->first_ts)
        sum->first_ts = r->first_ts;
    if (r->last_ts > sum->last_ts)
        sum->last_ts = r->last_ts;
}

/* Adds |r| to the group with its key. */
static int add_grouped(struct mb_tally *t, const struct mb_tally_row *r)
{
    uint32_t hash = hash_row(t, r);
    size_t i = slot_of(t, hash, r);
    if (t->slots[i].row != 0) {
        sum_into(&t->rows[t->slots[i].row - 1], r);
        return 0;
    }
    if (t->count == t->room) {
        int err = next_row(t);
        if (err < 0)
            return err;
        i = slot_of(t, hash, r);
    }
    t->rows[t->count++] = *r;
    t->slots[i] = (struct slot){hash, (uint32_t)t->count};
    return 0;
}

/* Adds |r| by itself. */
static int add_single(struct mb_tally *t, const struct mb_tally_row *r)
{
    if (t->evicted != 0 && measure(r, BY_BYTES) < t->floor[BY_BYTES] &&
        measure(r, BY_PACKETS) < t->floor[BY_PACKETS]) {
        t->evicted++;
        return 0;
    }
    int err = next_row(t);
    if (err < 0)
        return err;
    t->rows[t->count++] = *r;
    return 0;
}

int mb__tally_add_row(struct mb_tally *t, const struct mb_tally_row *row)
{
    return t->key == MB_TALLY_FLOW ? add_single(t, row) : add_grouped(t, row);
}

void mb__tally_add_evicted(struct mb_tally *t, uint64_t evicted)
{
    t->evicted += evicted;
}

bool mb__tally_let_groups_go(const struct mb_tally *t)
{
    return t->key != MB_TALLY_FLOW && t->evicted > 0;
}

const struct mb_tally_row *mb__tally_all(const struct mb_tally *t)
{
    return t->rows;
}

/* What a host sent and received, in the other's place if it was the server. */
static int add_hosts(struct mb_tally *t, struct mb_tally_row *r, const struct mb_flow *flow)
{
    r->addr[0] = flow->end[MB_CLIENT].addr;
    int err = add_grouped(t, r);
    if (err < 0 || memcmp(&flow->end[0].addr, &flow->end[1].addr, sizeof r->addr[0]) == 0)
        return err;
    r->addr[0] = flow->end[MB_SERVER].addr;
    for (int side = 0; side < 2; side++) {
        r->packets[side] = flow->end[!side].packets;
        r->bytes[side] = flow->end[!side].bytes;
    }
    return add_grouped(t, r);
}

static bool has_ports(int ip_proto)
{
    return ip_proto == 6 || ip_proto == 17 || ip_proto == 132 || ip_proto == 136;
}

int mb__tally_add(struct mb_tally *t, const struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    struct mb_tally_row r = {
        .flows = 1,
        .packets = {client->packets, server->packets},
        .bytes = {client->bytes, server->bytes},
        .first_ts = flow->first_ts,
        .last_ts = flow->last_ts,
    };
    switch (t->key) {
    case MB_TALLY_PROTOCOL:
        r.ip_proto = flow->ip_proto;
        return add_grouped(t, &r);
    case MB_TALLY_PORT:
        if (!has_ports(flow->ip_proto))
            return 0;
        r.ip_proto = flow->ip_proto;
        r.port[MB_SERVER] = server->port;
        return add_grouped(t, &r);
    case MB_TALLY_HOST:
        return add_hosts(t, &r, flow);
    case MB_TALLY_PAIR:
        r.addr[MB_CLIENT] = client->addr;
        r.addr[MB_SERVER] = server->addr;
        return add_grouped(t, &r);
    case MB_TALLY_APP: /* not found and not looked for are one group */
        r.app_proto = flow->app_proto == MB_APP_NONE ? MB_APP_UNKNOWN : flow->app_proto;
        return add_grouped(t, &r);
    default:
        r.ip_proto = flow->ip_proto;
        r.app_proto = flow->app_proto;
        r.addr[MB_CLIENT] = client->addr;
        r.addr[MB_SERVER] = server->addr;
        r.port[MB_CLIENT] = client->port;
        r.port[MB_SERVER] = server->port;
        return add_single(t, &r);
    }
}

/* ---- asking --------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    return compare_rows(a, b, BY_BYTES);
}

static int by_packets(const void *a, const void *b)
{
    return compare_rows(a, b, BY_PACKETS);
}

static int by_flows(const void *a, const void *b)
{
    return compare_rows(a, b, BY_FLOWS);
}

size_t mb__tally_top(const struct mb_tally *t, const char *by, struct mb_tally_row *rows, size_t max)
{
    static int (*const sorters[MEASURES])(const void *, const void *) = {by_bytes, by_packets, by_flows};
    enum measure order = BY_BYTES;
    if (strcmp(by, "packets") == 0)
        order = BY_PACKETS;
    else if (strcmp(by, "flows") == 0)
        order = BY_FLOWS;
    size_t filled = max < t->count ? max : t->count;
    if (filled == 0)
        return 0;
    uint32_t *list = malloc(t->count * sizeof *list);
    if (list == NULL)
        return 0;
    for (size_t n = 0; n < t->count; n++)
        list[n] = (uint32_t)n;
    choose(t, list, t->count, filled, order);
    for (size_t n = 0; n < filled; n++)
        rows[n] = t->rows[list[n]];
    free(list);
    qsort(rows, filled, sizeof *rows, sorters[order]);
    return filled;
}

size_t mb_tally_size(const struct mb_tally *t)
{
    return t->count;
}

uint64_t mb_tally_evicted(const struct mb_tally *t)
{
    return t->evicted;
}
