/* SPDX-License-Identifier: BSD-3-Clause */
/* tap -- who reads, and who waits for whom */
#include "io/tap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/ring.h"
#include "io/source.h"

#define CHUNK MB__TAP_CHUNK
#define CHUNKS 16       /* that are remembered */
#define AHEAD 2         /* chunks that a worker likes to find there after the one it takes */
#define PATIENCE 100    /* ms until the caller has a turn */
#define GONE UINT64_MAX /* a user that takes no more */
#define LOST UINT64_MAX /* where the next frame begins is not known */

_Static_assert(4 * CHUNK <= MB__TAP_SIZE, "workers can be some chunks apart");

/* What a worker is done with, on a cache line of its own. */
struct user {
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t kept; /* all before this position is released */
    _Atomic uint64_t next;                          /* chunk that it takes next */
};

struct chunk {
    uint64_t end; /* position behind it */
    int result;   /* its length, 0 or an error */
    bool indexed;
    struct mb__index index;
};

struct shared {
    _Atomic uint64_t made;   /* chunks there are; written by the reader */
    struct mb__bell news;    /* a chunk came, or nobody reads any more */
    struct mb__bell room;    /* a worker has released something */
    atomic_flag reading;     /* a worker reads the next chunk */
    _Atomic uint64_t end;    /* position behind the last chunk; written by the reader */
    _Atomic uint64_t ended;  /* chunks without bytes so far; likewise */
    uint64_t offset;         /* the reader's: bytes of this source so far */
    uint64_t pen;            /* the reader's: position of the first record that no index has, or LOST; */
    int64_t latest;          /* the time before it, and its lag, */
    int64_t lag;
    bool known;              /* if that is known; whoever wants the next chunk knows it */
    uint64_t listed[CHUNKS]; /* the reader's: one more than the last chunk whose lists are in this room */
    struct chunk chunk[CHUNKS];
    struct user user[];
};

struct mb__tap {
    struct shared *shared;
    size_t shared_size;
    struct mb__listed *lists; /* shared too: room for the lists of all chunks */
    size_t lists_size;
    uint8_t *ring;
    unsigned users;
    unsigned user;     /* this process */
    bool joined;
    uint64_t ended;    /* chunks without bytes taken */
    uint64_t next;     /* chunk to take next */
    uint64_t position; /* behind the last one taken */
};

struct mb__tap *mb__tap_new(unsigned users)
{
    struct mb__tap *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->users = users;
    t->shared_size = sizeof *t->shared + users * sizeof t->shared->user[0];
    t->lists_size = CHUNKS * users * MB__LIST_FRAMES * sizeof *t->lists;
    t->shared = mb__shared_new(t->shared_size);
    t->lists = mb__shared_new(t->lists_size);
    t->ring = mb__ring_new(MB__TAP_SIZE);
    if (t->shared == NULL || t->lists == NULL || t->ring == NULL) {
        mb__tap_free(t);
        return NULL;
    }
    atomic_flag_clear(&t->shared->reading);
    t->shared->pen = LOST;
    return t;
}

void mb__tap_free(struct mb__tap *t)
{
    if (t == NULL)
        return;
    mb__ring_free(t->ring, MB__TAP_SIZE);
    mb__shared_free(t->lists, t->lists_size);
    mb__shared_free(t->shared, t->shared_size);
    free(t);
}

void mb__tap_join(struct mb__tap *t, unsigned user)
{
    t->user = user;
    t->joined = true;
}

bool mb__tap_joined(const struct mb__tap *t)
{
    return t->joined;
}

unsigned mb__tap_user(const struct mb__tap *t)
{
    return t->user;
}

void mb__tap_leave(struct mb__tap *t)
{
    struct user *u = &t->shared->user[t->user];
    atomic_store(&u->kept, GONE);
    atomic_store(&u->next, GONE);
    mb__bell_ring(&t->shared->room);
}

uint64_t mb__tap_position(const struct mb__tap *t)
{
    return t->position;
}

const uint8_t *mb__tap_at(const struct mb__tap *t, uint64_t position)
{
    return t->ring + position % MB__TAP_SIZE;
}

/* Nothing that any worker still needs lies before |*kept|, nor chunks before |*next|. */
static void slowest(const struct mb__tap *t, uint64_t *kept, uint64_t *next)
{
    *kept = *next = GONE;
    for (unsigned i = 0; i < t->users; i++) {
        uint64_t k = atomic_load(&t->shared->user[i].kept), n = atomic_load(&t->shared->user[i].next);
        *kept = k < *kept ? k : *kept;
        *next = n < *next ? n : *next;
    }
}

/* Bytes that may be read behind the last chunk; 0: none yet. */
static size_t room(const struct mb__tap *t)
{
    uint64_t kept, next, made = atomic_load(&t->shared->made);
    slowest(t, &kept, &next);
    if (next != GONE && made - next >= CHUNKS) /* the slowest is at work on the one whose place it would take */
        return 0;
    size_t left = kept == GONE ? MB__TAP_SIZE : MB__TAP_SIZE - (size_t)(atomic_load(&t->shared->end) - kept);
    return left < CHUNK / 4 ? 0 : left < CHUNK ? left : CHUNK;
}

/* Gives |lists|, of the next chunk, the first room that nobody looks at any more: so there
 * are no more in use than have to be, which stay in the cache. One is free, since
 * room() said so. */
static void place_lists(const struct mb__tap *t, struct mb__lists *lists)
{
    struct shared *s = t->shared;
    uint64_t kept, next;
    size_t place = 0;
    slowest(t, &kept, &next);
    while (place < CHUNKS - 1 && s->listed[place] > next)
        place++;
    s->listed[place] = atomic_load(&s->made) + 1;
    for (unsigned user = 0; user < t->users; user++)
        lists->frame[user] = t->lists + (place * t->users + user) * MB__LIST_FRAMES;
}

/* Has the frames looked for that end in the chunk that ends at |end|. */
static void look(const struct mb__tap *t, const struct mb__tap_reader *reader, struct chunk *c, uint64_t end)
{
    struct shared *s = t->shared;
    struct mb__index *x = &c->index;
    if (reader->look == NULL)
        s->pen = LOST;
    c->indexed = s->pen != LOST;
    if (!c->indexed)
        return;
    x->begin = x->end = s->pen;
    x->last = false;
    x->known = s->known;
    x->lists.latest = s->latest;
    x->lists.lag = s->lag;
    x->lists.total = 0;
    memset(x->lists.count, 0, sizeof x->lists.count);
    place_lists(t, &x->lists);
    const uint8_t *p = mb__tap_at(t, s->pen);
    reader->look(reader->arg, p, p + (end - s->pen), x);
    s->pen = x->last ? LOST : x->end;
    s->latest = x->lists.latest;
    s->lag = x->lists.lag;
    s->known = x->known;
}

/* Reads up to |size| bytes as the next chunk, as the only one who reads. 0: it is
 * there, IDLE: not yet. */
static int read_chunk(const struct mb__tap *t, const struct mb__tap_reader *reader, size_t size)
{
    struct shared *s = t->shared;
    uint64_t end = atomic_load(&s->end), made = atomic_load(&s->made);
    int got = reader->read(reader->arg, t->ring + end % MB__TAP_SIZE, size, s->offset);
    if (got == MB__SOURCE_IDLE)
        return got;
    struct chunk *c = &s->chunk[made % CHUNKS];
    if (got > 0) {
        end += (uint64_t)got;
        s->offset += (uint64_t)got;
        look(t, reader, c, end);
    } else { /* the next source starts anew */
        s->offset = 0;
        s->pen = LOST;
        c->indexed = false;
        atomic_fetch_add(&s->ended, 1);
    }
    c->end = end;
    c->result = got;
    atomic_store(&s->end, end);
    atomic_store(&s->made, made + 1);
    return 0;
}

/* The same for a chunk that this worker wants now; all before |keep| is known to it. */
static int read_wanted(const struct mb__tap *t, const struct mb__tap_reader *reader, uint64_t keep)
{
    struct shared *s = t->shared;
    uint32_t seen = mb__bell_seen(&s->room);
    size_t size = room(t);
    if (size == 0) {
        mb__bell_wait(&s->room, seen, PATIENCE);
        size = room(t);
    }
    if (size == 0)
        return MB__SOURCE_IDLE;
    if (s->pen == LOST && reader->look != NULL) {
        s->pen = keep;
        s->known = false;
    }
    return read_chunk(t, reader, size);
}

/* Whether a chunk should be read though nobody needs it yet: of the source that this
 * worker is at, where frames can be looked for behind those of the last chunk. */
static bool wants_more(const struct mb__tap *t)
{
    const struct shared *s = t->shared;
    return atomic_load(&s->made) - t->next <= AHEAD && atomic_load(&s->ended) == t->ended && room(t) == CHUNK;
}

static void read_ahead(const struct mb__tap *t, const struct mb__tap_reader *reader)
{
    struct shared *s = t->shared;
    if (!wants_more(t) || atomic_flag_test_and_set(&s->reading))
        return;
    if (wants_more(t) && s->pen != LOST && s->known)
        read_chunk(t, reader, CHUNK);
    atomic_flag_clear(&s->reading);
    mb__bell_ring(&s->news);
}

static void release(const struct mb__tap *t, uint64_t keep)
{
    struct user *u = &t->shared->user[t->user];
    if (!t->joined)
        return; /* before the fork: nobody has released anything */
    atomic_store(&u->kept, keep);
    atomic_store(&u->next, t->next);
    mb__bell_ring(&t->shared->room);
}

int mb__tap_take(struct mb__tap *t, uint64_t keep, const struct mb__tap_reader *reader,
                 const struct mb__index **index)
{
    struct shared *s = t->shared;
    *index = NULL;
    if (t->position - keep > MB__TAP_SIZE - CHUNK)
        return MB_ELIMIT;
    release(t, keep);
    while (atomic_load(&s->made) == t->next) {
        uint32_t seen = mb__bell_seen(&s->news);
        if (!atomic_flag_test_and_set(&s->reading)) {
            int err = atomic_load(&s->made) == t->next ? read_wanted(t, reader, keep) : 0;
            atomic_flag_clear(&s->reading);
            mb__bell_ring(&s->news);
            if (err != 0)
                return err;
        } else if (atomic_load(&s->made) == t->next) {
            mb__bell_wait(&s->news, seen, PATIENCE);
            if (atomic_load(&s->made) == t->next)
                return MB__SOURCE_IDLE;
        }
    }
    const struct chunk *c = &s->chunk[t->next % CHUNKS];
    t->next++;
    t->position = c->end;
    t->ended += c->result <= 0;
    if (c->indexed && c->index.begin == keep)
        *index = &c->index;
    if (c->result > 0 && t->joined && reader->prompt && reader->look != NULL) /* else the next source is not open */
        read_ahead(t, reader);
    return c->result;
}
