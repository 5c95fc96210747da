/* SPDX-License-Identifier: BSD-3-Clause */
/* defrag -- puts IP fragments together (RFC 791 3.2, RFC 8200 4.5)
 *
 *   bucket --> datagram --> datagram           (addresses, id, protocol)
 *                 |
 *                 +-- head: header of the first fragment
 *                 +-- piece [0,1480) -- piece [2960,4440)     sorted, disjoint
 *
 *   oldest <--> ... <--> newest                (by first fragment: expiry, eviction)
 *   done --> datagram bytes, whole             (until mb__decoder_release())
 *
 * Where IPv4 fragments overlap, the receiver's policy says whose bytes stand; an
 * IPv6 datagram is let go of. Pieces never overlap, so a datagram is whole when
 * the bytes in its pieces are as many as it has.
 * Limits: datagrams at once and the memory account (the oldest make room), and
 * pieces a datagram. Time is the packet clock, so what is put together does
 * not depend on how frames come in bursts.
 */

#include "packet/fields.h"
#include "packet/walk.h"

#define BUCKETS_MIN 64
#define BUCKETS_MAX 65536
#define MAX_PIECES 2048  /* pieces of one datagram: enough for a link of 68 bytes */
#define MAX_DATAGRAM 65535
#define IPV6_HEADER 40

struct piece {
    struct piece *next;
    uint32_t begin; /* offset in the datagram's fragmentable part */
    uint32_t end;
    uint32_t skip;  /* bytes in front that gave way */
    uint32_t room;  /* bytes allocated */
    uint8_t bytes[];
};

/* What fragments of one datagram have in common. */
struct datagram_key {
    struct mb_addr src;
    struct mb_addr dst;
    uint32_t id;
    uint32_t tunnel_id; /* 0 unless part of the flow key */
    uint16_t vlan[2];   /* the same */
    uint8_t version;
    uint8_t proto;      /* IPv6: 0, its fragments need not agree */
    uint8_t spare[2];
};

struct datagram {
    struct datagram *chain; /* of its bucket */
    struct datagram *older;
    struct datagram *newer;
    struct datagram_key key;
    uint32_t bucket;
    int64_t first_ts;
    struct piece *pieces;
    struct piece *last;
    uint8_t *head;
    uint32_t head_len;
    uint32_t patch;  /* of the first fragment, see struct mb__fragment_place */
    uint8_t proto;   /* the same */
    uint32_t count;  /* pieces */
    uint32_t filled; /* bytes in them */
    uint32_t highest; /* the end of the last one */
    uint32_t total;  /* bytes of the fragmentable part; 0: not known yet */
};

/* A datagram put together, here until it is released. It is not on the
 * account: what fits in there must not depend on where bursts begin. */
struct done {
    struct done *next;
    size_t size;
    uint8_t bytes[];
};

struct mb__defrag {
    const struct mb_config *config;
    const struct mb__hash_key *key;
    const struct mb__prefixes *hosts; /* their overlap policies; NULL: config->overlap holds for all */
    struct mb__memory *memory;
    struct mb_stats *stats;
    struct datagram **buckets;
    uint32_t mask; /* buckets - 1 */
    uint32_t used; /* datagrams in reassembly */
    int64_t now;   /* packet clock, never backward */
    struct datagram *oldest;
    struct datagram *newest;
    struct done *done;
};

struct mb__defrag *mb__defrag_new(const struct mb_config *config, const struct mb__hash_key *key,
                                  struct mb__memory *memory, struct mb_stats *stats)
{
    struct mb__defrag *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    uint32_t buckets = BUCKETS_MIN;
    while (buckets < config->max_fragments && buckets < BUCKETS_MAX)
        buckets *= 2;
    *g = (struct mb__defrag){.config = config, .key = key, .memory = memory, .stats = stats};
    g->mask = buckets - 1;
    g->now = INT64_MIN;
    g->buckets = calloc(buckets, sizeof *g->buckets);
    if (g->buckets == NULL) {
        free(g);
        return NULL;
    }
    return g;
}

void mb__decoder_hosts(struct mb__decoder *d, const struct mb__prefixes *hosts)
{
    d->defrag->hosts = hosts;
}

/* ---- datagrams ----------------------------------------------------------- */

static void free_piece(struct mb__defrag *g, struct piece *piece)
{
    mb__memory_free(g->memory, piece, sizeof *piece + piece->room);
}

/* Takes |dg| out of its bucket. */
static void unchain(struct mb__defrag *g, const struct datagram *dg)
{
    struct datagram **at = &g->buckets[dg->bucket];
    while (*at != dg)
        at = &(*at)->chain;
    *at = dg->chain;
}

/* Lets go of |dg| and all its pieces. */
static void drop_datagram(struct mb__defrag *g, struct datagram *dg)
{
    unchain(g, dg);
    if (dg->older != NULL)
        dg->older->newer = dg->newer;
    else
        g->oldest = dg->newer;
    if (dg->newer != NULL)
        dg->newer->older = dg->older;
    else
        g->newest = dg->older;
    struct piece *next;
    for (struct piece *piece = dg->pieces; piece != NULL; piece = next) {
        next = piece->next;
        free_piece(g, piece);
    }
    mb__memory_free(g->memory, dg->head, dg->head_len);
    mb__memory_free(g->memory, dg, sizeof *dg);
    g->used--;
}

void mb__defrag_release(struct mb__defrag *g)
{
    struct done *next;
    for (struct done *done = g->done; done != NULL; done = next) {
        next = done->next;
        free(done);
    }
    g->done = NULL;
}

void mb__defrag_count_in(struct mb__defrag *g, struct mb_stats *stats)
{
    g->stats = stats;
}

void mb__defrag_free(struct mb__defrag *g)
{
    if (g == NULL)
        return;
    while (g->oldest != NULL)
        drop_datagram(g, g->oldest);
    mb__defrag_release(g);
    free(g->buckets);
    free(g);
}

/* The oldest datagram will not be completed. */
static void give_up_oldest(struct mb__defrag *g)
{
    g->stats->anomalies[MB_ANOMALY_FRAG_TIMEOUT]++;
    drop_datagram(g, g->oldest);
}

void mb__defrag_expire(struct mb__defrag *g, int64_t now)
{
    if (now > g->now)
        g->now = now;
    while (g->oldest != NULL && g->now - g->oldest->first_ts > g->config->timeout_fragment)
        give_up_oldest(g);
}

void mb__defrag_finish(struct mb__defrag *g)
{
    while (g->oldest != NULL)
        give_up_oldest(g);
}

static struct datagram_key key_of(const struct mb__defrag *g, const struct mb_packet *p,
                                  const struct mb__fragment_place *place)
{
    bool v6 = p->flags & MB_PKT_IPV6;
    return (struct datagram_key){
        .src = p->src,
        .dst = p->dst,
        .id = place->id,
        .tunnel_id = g->config->key_tunnel ? p->tunnel_id : 0,
        .vlan = {g->config->key_vlan ? p->vlan[0] : 0, g->config->key_vlan ? p->vlan[1] : 0},
        .version = v6 ? 6 : 4,
        .proto = v6 ? 0 : place->proto,
    };
}

static uint32_t bucket_of(const struct mb__defrag *g, const struct datagram_key *key)
{
    uint16_t low = (uint16_t)key->id, high = (uint16_t)(key->id >> 16);
    return mb__hash_flow(g->key, key->src.byte, low, key->dst.byte, high, key->proto) & g->mask;
}

/* |dg| makes room for what |p| brings: an anomaly of |p| that counts once, and
 * those beyond it counted here. */
static void evict(struct mb__defrag *g, struct mb_packet *p, struct datagram *dg)
{
    if (p->anomalies >> MB_ANOMALY_FRAG_LIMIT & 1)
        g->stats->anomalies[MB_ANOMALY_FRAG_LIMIT]++;
    mb__odd(p, MB_ANOMALY_FRAG_LIMIT);
    drop_datagram(g, dg);
}

/* Memory of |g| for the datagram |dg| (NULL: a new one). The oldest others make
 * room for it: what is still missing of them has had the most time to come. NULL:
 * no memory. */
static void *alloc(struct mb__defrag *g, struct mb_packet *p, const struct datagram *dg, size_t size)
{
    void *memory;
    while ((memory = mb__memory_alloc(g->memory, size)) == NULL && g->oldest != NULL) {
        struct datagram *victim = g->oldest != dg ? g->oldest : dg->newer;
        if (victim == NULL)
            break;
        evict(g, p, victim);
    }
    return memory;
}

/* A datagram of which nothing is here yet. The oldest makes room for it. NULL:
 * no memory. */
static struct datagram *new_datagram(struct mb__defrag *g, struct mb_packet *p,
                                     const struct datagram_key *key, uint32_t bucket)
{
    if (g->used >= g->config->max_fragments && g->oldest != NULL)
        evict(g, p, g->oldest);
    struct datagram *dg = alloc(g, p, NULL, sizeof *dg);
    if (dg == NULL)
        return NULL;
    *dg = (struct datagram){.key = *key, .bucket = bucket, .first_ts = g->now};
    dg->chain = g->buckets[bucket];
    g->buckets[bucket] = dg;
    dg->older = g->newest;
    if (g->newest != NULL)
        g->newest->newer = dg;
    else
        g->oldest = dg;
    g->newest = dg;
    g->used++;
    return dg;
}

/* The datagram that the fragment belongs to, made if need be. */
static struct datagram *get_datagram(struct mb__defrag *g, struct mb_packet *p,
                                     const struct mb__fragment_place *place)
{
    struct datagram_key key = key_of(g, p, place);
    uint32_t bucket = bucket_of(g, &key);
    for (struct datagram *dg = g->buckets[bucket]; dg != NULL; dg = dg->chain)
        if (memcmp(&dg->key, &key, sizeof key) == 0)
            return dg;
    return new_datagram(g, p, &key, bucket);
}

/* ---- pieces -------------------------------------------------------------- */

/* Puts a new piece with the bytes [begin, end) where |at| points. */
static bool add_piece(struct mb__defrag *g, struct mb_packet *p, struct datagram *dg, struct piece **at,
                      uint32_t begin, uint32_t end, const uint8_t *bytes)
{
    if (dg->count >= MAX_PIECES)
        return false;
    struct piece *piece = alloc(g, p, dg, sizeof *piece + end - begin);
    if (piece == NULL)
        return false;
    piece->begin = begin;
    piece->end = end;
    piece->skip = 0;
    piece->room = end - begin;
    memcpy(piece->bytes, bytes, end - begin);
    piece->next = *at;
    *at = piece;
    if (piece->next == NULL)
        dg->last = piece;
    dg->count++;
    dg->filled += end - begin;
    return true;
}

/* How a fragment went in. */
struct outcome {
    bool full;    /* some of it did not, for want of room */
    bool overlap; /* some of its bytes were here already */
};

/* Makes room for [begin, end) in the piece at |*at|, which overlaps it. What is
 * left of it in front stays there, and |*at| moves behind that. False: no room
 * for what is left of it behind. */
static bool give_way(struct mb__defrag *g, struct mb_packet *p, struct datagram *dg, struct piece ***at,
                     uint32_t begin, uint32_t end)
{
    struct piece *old = **at;
    bool keeps_front = old->begin < begin, keeps_back = old->end > end;
    const uint8_t *bytes = old->bytes + old->skip;
    if (keeps_front && keeps_back && !add_piece(g, p, dg, &old->next, end, old->end, bytes + (end - old->begin)))
        return false;
    if (keeps_front) {
        dg->filled -= old->end - begin;
        old->end = begin;
        *at = &old->next;
    } else if (keeps_back) {
        dg->filled -= end - old->begin;
        old->skip += end - old->begin;
        old->begin = end;
    } else {
        **at = old->next;
        if (dg->last == old)
            dg->last = NULL; /* until the newcomer takes its place */
        dg->filled -= old->end - old->begin;
        dg->count--;
        free_piece(g, old);
    }
    return true;
}

/* A copy of a whole piece with the same bytes is of the network's making. */
static bool is_duplicate(const struct piece *old, uint32_t begin, uint32_t end, const uint8_t *bytes)
{
    return old->begin == begin && old->end == end && memcmp(old->bytes + old->skip, bytes, end - begin) == 0;
}

/* Puts the bytes [begin, end) in; where there are bytes already, the policy of
 * their receiver tells which stand: either the old piece gives way, or what is
 * new is cut around it. */
static struct outcome insert(struct mb__defrag *g, struct mb_packet *p, struct datagram *dg, uint32_t begin,
                             uint32_t end, const uint8_t *bytes)
{
    struct outcome outcome = {false, false};
    struct piece **at = dg->last != NULL && begin >= dg->last->end ? &dg->last->next : &dg->pieces;
    int policy = g->hosts != NULL ? mb__prefixes_of(g->hosts, &dg->key.dst) : g->config->overlap;
    uint32_t pos = begin;
    for (struct piece *old = *at; old != NULL && old->begin < end; old = *at) {
        if (old->end <= pos) {
            at = &old->next;
            continue;
        }
        outcome.overlap |= !is_duplicate(old, begin, end, bytes);
        if (mb__overlap_fresh_wins(MB__OVERLAP_IP, policy, (struct mb__extent){begin, end},
                                   (struct mb__extent){old->begin, old->end})) {
            outcome.full |= !give_way(g, p, dg, &at, pos, end);
        } else {
            if (old->begin > pos)
                outcome.full |= !add_piece(g, p, dg, at, pos, old->begin, bytes + (pos - begin));
            pos = old->end;
            at = &old->next;
        }
        if (outcome.full)
            return outcome;
    }
    if (pos < end)
        outcome.full = !add_piece(g, p, dg, at, pos, end, bytes + (pos - begin));
    return outcome;
}

/* Keeps the header in front of the first fragment, for the whole datagram. */
static bool keep_head(struct mb__defrag *g, struct datagram *dg, struct mb_packet *p,
                      const struct mb__fragment_place *place)
{
    if (place->offset != 0 || dg->head != NULL)
        return true;
    dg->head = alloc(g, p, dg, place->head);
    if (dg->head == NULL)
        return false;
    memcpy(dg->head, p->net, place->head);
    dg->head_len = place->head;
    dg->patch = place->patch;
    dg->proto = place->proto;
    return true;
}

/* Whether the end of the datagram that the fragment implies agrees with what
 * is known of it; notes it. */
static bool agree_on_end(struct datagram *dg, uint32_t end, bool more)
{
    if (dg->total != 0 && (more ? end > dg->total : end != dg->total))
        return false;
    if (!more && dg->highest > end)
        return false;
    if (!more)
        dg->total = end;
    if (end > dg->highest)
        dg->highest = end;
    return true;
}

/* ---- whole datagrams ----------------------------------------------------- */

/* Makes the header |h| that of the whole datagram: no fragment, |len| bytes. */
static void mend_ipv4(uint8_t *h, uint32_t hlen, uint32_t len)
{
    mb__put_be16(h + 2, (uint16_t)len);
    mb__put_be16(h + 6, mb__be16(h + 6) & 0x4000);
    mb__put_be16(h + 10, 0);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < hlen; i += 2)
        sum += mb__be16(h + i);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    mb__put_be16(h + 10, (uint16_t)~sum);
}

/* The same: the fragment header is left out of the chain. */
static void mend_ipv6(uint8_t *h, const struct datagram *dg, uint32_t len)
{
    mb__put_be16(h + 4, (uint16_t)(len - IPV6_HEADER));
    h[dg->patch] = dg->proto;
}

/* The bytes of the whole datagram |dg|, which is let go of. NULL: no memory. */
static const struct done *assemble(struct mb__defrag *g, struct datagram *dg)
{
    uint32_t len = dg->head_len + dg->total;
    struct done *done = malloc(sizeof *done + len);
    if (done == NULL)
        return NULL;
    done->size = len;
    done->next = g->done;
    g->done = done;
    memcpy(done->bytes, dg->head, dg->head_len);
    for (const struct piece *piece = dg->pieces; piece != NULL; piece = piece->next)
        memcpy(done->bytes + dg->head_len + piece->begin, piece->bytes + piece->skip, piece->end - piece->begin);
    if (dg->key.version == 4)
        mend_ipv4(done->bytes, dg->head_len, len);
    else
        mend_ipv6(done->bytes, dg, len);
    drop_datagram(g, dg);
    g->stats->reassembled++;
    return done;
}

/* Hands the whole datagram to the walk. */
static enum mb__layer deliver(struct mb__walk *w, struct datagram *dg)
{
    struct mb__defrag *g = w->d->defrag;
    if (dg->head_len + dg->total > MAX_DATAGRAM + (dg->key.version == 4 ? 0 : IPV6_HEADER)) {
        drop_datagram(g, dg);
        return mb__broken(w, MB_ANOMALY_FRAG_TOO_LARGE);
    }
    enum mb__layer layer = dg->key.version == 4 ? MB__LAYER_IPV4 : MB__LAYER_IPV6;
    const struct done *done = assemble(g, dg);
    if (done == NULL)
        return mb__broken(w, MB_ANOMALY_FRAG_LIMIT);
    w->c = mb__cursor(done->bytes, done->size);
    w->missing = 0;
    w->p->flags = (w->p->flags & ~(uint32_t)MB_PKT_FRAGMENT) | MB_PKT_REASSEMBLED;
    return layer;
}

/* The bytes of the fragment that may go in; 0: none. Lengths that are not a
 * multiple of 8 leave bytes that no other fragment can follow: IPv4 hosts take
 * what is before them, IPv6 demands that the fragment be let go of. */
static uint32_t usable_len(struct mb__walk *w, const struct mb__fragment_place *place)
{
    struct mb_packet *p = w->p;
    uint32_t len = (uint32_t)mb__cursor_left(&w->c);
    uint32_t fixed = p->flags & MB_PKT_IPV6 ? place->head - IPV6_HEADER : place->head;
    bool too_large = fixed + place->offset + len > MAX_DATAGRAM;
    if (too_large)
        mb__odd(p, MB_ANOMALY_FRAG_TOO_LARGE);
    if (len == 0 || (place->more && len % 8 != 0)) {
        mb__odd(p, MB_ANOMALY_FRAG_LEN);
        len = p->flags & MB_PKT_IPV6 ? 0 : len & ~7u;
    }
    return too_large || w->missing > 0 ? 0 : len;
}

enum mb__layer mb__defrag_add(struct mb__walk *w, const struct mb__fragment_place *place)
{
    struct mb__defrag *g = w->d->defrag;
    struct mb_packet *p = w->p;
    g->stats->fragments++;
    p->flags |= MB_PKT_FRAGMENT;
    p->l4_off = p->payload_off = (uint32_t)(w->c.at - p->net);
    p->payload_len = (uint32_t)mb__cursor_left(&w->c);
    mb__defrag_expire(g, p->ts);
    uint32_t len = usable_len(w, place);
    if (len == 0)
        return MB__LAYER_END;
    struct datagram *dg = get_datagram(g, p, place);
    if (dg == NULL)
        return mb__broken(w, MB_ANOMALY_FRAG_LIMIT);
    uint32_t end = place->offset + len;
    bool overlap = place->offset < dg->highest;
    if (!agree_on_end(dg, end, place->more)) {
        if (overlap)
            mb__odd(p, MB_ANOMALY_FRAG_OVERLAP);
        return mb__broken(w, MB_ANOMALY_FRAG_LEN);
    }
    if (!keep_head(g, dg, p, place)) /* first: bytes at offset 0 never come without it */
        return mb__broken(w, MB_ANOMALY_FRAG_LIMIT);
    struct outcome outcome = insert(g, p, dg, place->offset, end, w->c.at);
    if (outcome.overlap)
        mb__odd(p, MB_ANOMALY_FRAG_OVERLAP);
    if (outcome.overlap && dg->key.version == 6) { /* RFC 8200 4.5: all of it is let go of */
        drop_datagram(g, dg);
        return MB__LAYER_END;
    }
    if (outcome.full)
        return mb__broken(w, MB_ANOMALY_FRAG_LIMIT);
    return dg->filled == dg->total ? deliver(w, dg) : MB__LAYER_END;
}
