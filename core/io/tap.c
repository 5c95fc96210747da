/* SPDX-License-Identifier: BSD-3-Clause */
/* tap -- who reads, and who waits for whom */
#include "io/tap.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/ring.h"
#include "io/source.h"

#define CHUNK ((size_t)256 << 10) /* what is read at once: stays in the second-level cache */
#define CHUNKS 64                 /* that are remembered: those of a slow pipe are small */
#define PATIENCE 100              /* ms until the caller has a turn */
#define GONE UINT64_MAX           /* a user that takes no more */

_Static_assert(4 * CHUNK <= MB__TAP_SIZE, "workers can be some chunks apart");

/* What a worker is done with, on a cache line of its own. */
struct user {
    _Alignas(MB__CACHE_LINE) _Atomic uint64_t kept; /* all before this position is released */
    _Atomic uint64_t next;                          /* chunk that it takes next */
};

struct chunk {
    uint64_t end; /* position behind it */
    int result;   /* its length, 0 or an error */
};

struct shared {
    _Atomic uint64_t made;   /* chunks there are; written by the reader */
    mb__bell news;           /* a chunk came, or nobody reads any more */
    mb__bell room;           /* a worker has released something */
    atomic_flag reading;     /* a worker reads the next chunk */
    _Atomic uint64_t end;    /* position behind the last chunk; written by the reader */
    uint64_t offset;         /* the reader's: bytes of this source so far */
    struct chunk chunk[CHUNKS];
    struct user user[];
};

struct mb__tap {
    struct shared *shared;
    size_t shared_size;
    uint8_t *ring;
    unsigned users;
    unsigned user;     /* this process */
    bool joined;
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
    t->shared = mb__shared_new(t->shared_size);
    t->ring = mb__ring_new(MB__TAP_SIZE);
    if (t->shared == NULL || t->ring == NULL) {
        mb__tap_free(t);
        return NULL;
    }
    atomic_flag_clear(&t->shared->reading);
    return t;
}

void mb__tap_free(struct mb__tap *t)
{
    if (t == NULL)
        return;
    mb__ring_free(t->ring, MB__TAP_SIZE);
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

uint64_t mb__tap_furthest(const struct mb__tap *t)
{
    return atomic_load(&t->shared->end);
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
    if (next != GONE && made - next >= CHUNKS)
        return 0;
    size_t left = kept == GONE ? MB__TAP_SIZE : MB__TAP_SIZE - (size_t)(atomic_load(&t->shared->end) - kept);
    return left < CHUNK / 4 ? 0 : left < CHUNK ? left : CHUNK;
}

/* Reads the next chunk, as the only one who does. 0: it is there, IDLE: not yet. */
static int read_chunk(struct mb__tap *t, mb__tap_read read, void *arg)
{
    struct shared *s = t->shared;
    uint32_t seen = atomic_load(&s->room);
    size_t size = room(t);
    if (size == 0) {
        mb__bell_wait(&s->room, seen, PATIENCE);
        size = room(t);
    }
    if (size == 0)
        return MB__SOURCE_IDLE;
    uint64_t end = atomic_load(&s->end);
    int got = read(arg, t->ring + end % MB__TAP_SIZE, size, s->offset);
    if (got == MB__SOURCE_IDLE)
        return got;
    uint64_t made = atomic_load(&s->made);
    end += got > 0 ? (uint64_t)got : 0;
    s->offset = got > 0 ? s->offset + (uint64_t)got : 0; /* the next source starts anew */
    s->chunk[made % CHUNKS] = (struct chunk){end, got};
    atomic_store(&s->end, end);
    atomic_store(&s->made, made + 1);
    return 0;
}

static void release(struct mb__tap *t, uint64_t keep)
{
    struct user *u = &t->shared->user[t->user];
    if (!t->joined)
        return; /* before the fork: nobody has released anything */
    atomic_store(&u->kept, keep);
    atomic_store(&u->next, t->next);
    mb__bell_ring(&t->shared->room);
}

int mb__tap_take(struct mb__tap *t, uint64_t keep, mb__tap_read read, void *arg)
{
    struct shared *s = t->shared;
    if (t->position - keep > MB__TAP_SIZE - CHUNK)
        return MB_ELIMIT;
    release(t, keep);
    while (atomic_load(&s->made) == t->next) {
        uint32_t seen = atomic_load(&s->news);
        if (!atomic_flag_test_and_set(&s->reading)) {
            int err = atomic_load(&s->made) == t->next ? read_chunk(t, read, arg) : 0;
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
    return c->result;
}
