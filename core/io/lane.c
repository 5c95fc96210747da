/* SPDX-License-Identifier: BSD-3-Clause */
/* lane -- chunks through rings, and their merge */
#include "io/lane.h"

#include "base/versioned.h"
#include "mosbox.h"

#define PATIENCE 100              /* ms until a full lane is looked at again */
#define PIECE MB__DRAIN_SIZE      /* longer texts are put in pieces of the same order; no record is */
#define MUCH 65536                /* bytes to be put that are worth a call of the kernel */
#define WAKE (MB__LANE_SIZE / 2)  /* bytes of room used that are worth waking the parent for */
#define LEAST ((size_t)128)       /* bytes of room that a chunk uses at least */
#define LABELS (MB__LANE_SIZE / LEAST) /* so there is a label for each that can be in a lane */

/* What a chunk in a lane is. */
struct mb__label {
    struct mb__order order;
    uint32_t len;       /* bytes; the next chunk begins at a multiple of 8 */
    uint32_t condition; /* sizeof(struct mb__condition) if one comes before them */
};

bool mb__lane_init(struct mb__lane *l)
{
    l->ring = mb__ring_new(MB__LANE_SIZE);
    l->label = mb__shared_new(LABELS * sizeof *l->label);
    return l->ring != NULL && l->label != NULL;
}

void mb__lane_fini(struct mb__lane *l)
{
    mb__ring_free(l->ring, MB__LANE_SIZE);
    mb__shared_free(l->label, LABELS * sizeof *l->label);
}

/* Room that a chunk of |len| bytes, its condition among them, uses. */
static size_t room_for(size_t len)
{
    return len < LEAST ? LEAST : (len + 7) & ~(size_t)7;
}

/* ---- the worker's end ---- */

/* Tells the parent where the worker is: nothing before that comes any more, in any lane. */
static void say_where(struct mb__lane_worker *w, const struct mb__order *order)
{
    const uint64_t where[3] = {order->frame, order->step, order->flow};
    mb__versioned_write(&w->version, w->waited, where, 3);
}

static void wait_for_room(struct mb__lane *l, size_t size)
{
    say_where(l->worker, l->order);
    for (;;) {
        uint32_t seen = mb__bell_seen(&l->ends->room);
        l->taken = atomic_load_explicit(&l->ends->taken, memory_order_acquire);
        if (MB__LANE_SIZE - (l->at - l->taken) >= size)
            return;
        mb__bell_ring(l->bell);
        mb__bell_wait(&l->ends->room, seen, PATIENCE);
    }
}

/* Wakes the parent if much is in the lane: what another worker's ring had it take does not count. */
static void tell_put(struct mb__lane *l)
{
    l->told = l->taken = atomic_load_explicit(&l->ends->taken, memory_order_acquire);
    if (l->at - l->taken < WAKE)
        return;
    l->told = l->at;
    mb__bell_ring(l->bell);
}

void mb__lane_put_both(struct mb__lane *l, const void *head, size_t head_len, const void *bytes, size_t len)
{
    struct mb__label label = {.order = *l->order, .len = (uint32_t)(head_len + len)};
    if (l->condition->kind != MB__CONDITION_NONE)
        label.condition = sizeof *l->condition;
    size_t size = room_for(label.condition + label.len);
    if (MB__LANE_SIZE - (l->at - l->taken) < size)
        wait_for_room(l, size);
    uint8_t *p = l->ring + l->at % MB__LANE_SIZE;
    memcpy(p, l->condition, label.condition);
    p += label.condition;
    if (head_len > 0)
        memcpy(p, head, head_len);
    if (len > 0)
        memcpy(p + head_len, bytes, len);
    l->label[l->next++ % LABELS] = label;
    l->at += size;
    atomic_store_explicit(&l->ends->put, l->next, memory_order_release);
    if (l->at - l->told >= WAKE)
        tell_put(l);
}

void mb__lane_put(struct mb__lane *l, const void *bytes, size_t len)
{
    for (const uint8_t *p = bytes; len > 0;) {
        size_t n = len < PIECE ? len : PIECE;
        mb__lane_put_both(l, NULL, 0, p, n);
        p += n;
        len -= n;
    }
}

/* ---- the parent's end ---- */

static const struct mb__order never = {UINT64_MAX, UINT64_MAX, UINT64_MAX};

/* The label of the first chunk that is known of; NULL: none. */
static const struct mb__label *first_chunk(const struct mb__lane *l)
{
    return l->put == l->next ? NULL : &l->label[l->next % LABELS];
}

/* Where the worker last waited, or the very beginning if it is just saying so. */
static struct mb__order where_it_waited(const struct mb__lane_worker *w)
{
    uint64_t where[3];
    bool whole = mb__versioned_read(&w->version, w->waited, where, 3);
    return whole ? (struct mb__order){where[0], where[1], where[2]} : (struct mb__order){0};
}

/* The least order that can still come from worker |i|; |*there|: its chunk is there. */
static struct mb__order least(const struct mb__merge *m, unsigned i, bool *there)
{
    struct mb__lane *l = &m->lane[i];
    const struct mb__lane_worker *w = &m->worker[i];
    *there = true;
    if (first_chunk(l) != NULL)
        return first_chunk(l)->order;
    /* first what the worker says of itself, then its lane: what it put before is seen */
    uint64_t frames = atomic_load_explicit(&w->frames, memory_order_acquire);
    bool left = atomic_load(&w->left), failed = atomic_load(&w->has_failed);
    struct mb__order waited = where_it_waited(w), next = {.frame = frames + 1};
    l->put = atomic_load_explicit(&l->ends->put, memory_order_acquire);
    if (first_chunk(l) != NULL)
        return first_chunk(l)->order;
    *there = false;
    if (failed || left)
        return failed ? w->failed : never;
    return mb__order_before(&next, &waited) ? waited : next;
}

/* The worker whose chunk comes next, and what the others cannot go below.
 * |count|: nobody's can be told to be next. */
static unsigned choose(const struct mb__merge *m, struct mb__order *limit)
{
    struct mb__order first = never;
    unsigned best = m->count;
    bool is_there = false;
    *limit = never;
    for (unsigned i = 0; i < m->count; i++) {
        bool there;
        struct mb__order order = least(m, i, &there);
        if (best == m->count || mb__order_before(&order, &first)) {
            *limit = best == m->count ? never : first;
            first = order;
            best = i;
            is_there = there;
        } else if (mb__order_before(&order, limit)) {
            *limit = order;
        }
    }
    return is_there ? best : m->count;
}

/* Puts what was taken: into the buffer if it is little, else past it to the file. 0 or < 0. */
static int put_pieces(struct mb__merge *m, struct mb__drain *out)
{
    unsigned n = m->pieces;
    size_t bytes = m->bytes;
    m->pieces = 0;
    m->bytes = 0;
    if (n == 0)
        return 0;
    if (bytes >= MUCH || bytes > out->size - out->len)
        return mb__drain_pieces(out, m->piece, n);
    for (unsigned i = 0; i < n; i++) {
        memcpy(out->buf + out->len, m->piece[i].iov_base, m->piece[i].iov_len);
        out->len += m->piece[i].iov_len;
    }
    return 0;
}

/* Takes the chunk |c| at |bytes| if its condition holds; its bytes are put later. 0 or < 0. */
static int settle(struct mb__merge *m, const struct mb__label *c, uint8_t *bytes, struct mb__drain *out)
{
    if (c->condition != 0) {
        struct mb__condition condition;
        memcpy(&condition, bytes, sizeof condition);
        if (!m->decide(m->decide_arg, &condition))
            return 0;
    }
    if (out == NULL || c->len == 0)
        return 0;
    if (m->pieces == MB__DRAIN_PIECES || m->bytes + c->len > out->size) {
        int err = put_pieces(m, out);
        if (err < 0)
            return err;
    }
    m->piece[m->pieces++] = (struct iovec){bytes + c->condition, c->len};
    m->bytes += c->len;
    return 0;
}

/* Whether another worker has brought the same. */
static bool is_repeated(const struct mb__merge *m, unsigned from, const struct mb__order *order)
{
    return m->begun && m->from != from && !mb__order_before(&m->last, order);
}

static void tell_taken(struct mb__lane *l)
{
    if (l->told == l->at)
        return;
    l->told = l->at;
    atomic_store_explicit(&l->ends->taken, l->at, memory_order_release);
    mb__bell_ring(&l->ends->room);
}

/* Takes the chunks of lane |i| that are not above |limit|. 0 or < 0. */
static int take_up_to(struct mb__merge *m, unsigned i, const struct mb__order *limit, struct mb__drain *out)
{
    struct mb__lane *l = &m->lane[i];
    const struct mb__label *c;
    while ((c = first_chunk(l)) != NULL && !mb__order_before(limit, &c->order)) {
        if (!is_repeated(m, i, &c->order)) {
            int err = settle(m, c, l->ring + l->at % MB__LANE_SIZE, out);
            if (err < 0)
                return err;
            m->last = c->order;
            m->from = i;
            m->begun = true;
        }
        l->next++;
        l->at += room_for(c->condition + c->len);
    }
    if (l->at - l->told < WAKE)
        return 0;
    int err = put_pieces(m, out);
    tell_taken(l);
    return err;
}

int64_t mb__merge_take(struct mb__merge *m, struct mb__drain *out)
{
    uint64_t before = 0, after = 0;
    struct mb__order limit;
    int err = 0;
    for (unsigned i = 0; i < m->count; i++)
        before += m->lane[i].at;
    for (unsigned best; err == 0 && (best = choose(m, &limit)) != m->count;)
        err = take_up_to(m, best, &limit, out);
    if (err == 0)
        err = put_pieces(m, out);
    for (unsigned i = 0; i < m->count; i++) {
        after += m->lane[i].at;
        tell_taken(&m->lane[i]);
    }
    return err < 0 ? err : (int64_t)(after - before);
}
