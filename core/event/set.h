/* SPDX-License-Identifier: BSD-3-Clause */
/* set -- immutable, hash-consed sets of registrations
 *
 *   registrations, sorted:  [data, mon 0, cb][data, mon 2, cb][4097, mon 0, cb]
 *   steps of "data":        call 0, call 2, filter 4097 -> end, call 0 | end
 *
 * The sorted registrations are what a set is: equal lists are one set. The
 * steps are what dispatch walks: for each built-in event and hook the callbacks
 * and filters in preorder, a filter with the step to go to when it says no.
 * Events that only mb_event_raise() raises lie behind the walk, and are found
 * through an index. Nothing in a set changes, so a dispatch that holds one can
 * go on while its callbacks register and remove as they like.
 *
 * A step from set to set is remembered: (set, operation) -> set'. The memory of
 * it is a cache of fixed size whose entries keep both sets alive; sets that only
 * the cache keeps are bounded in bytes.
 */
#ifndef MB_EVENT_SET_H
#define MB_EVENT_SET_H

#include "mosbox.h"

struct mb__events;

#define MB__PROGRAMS (MB_EV_BUILTIN + 2) /* packet and state_change have one a hook */
#define MB__MEMO_SLOTS 1024              /* steps from set to set remembered, a power of two */
#define MB__IDLE_BYTES (4u << 20)        /* of sets that no flow or monitor uses */

/* One callback registered. As the operation on a set |hook| is a mask, and cb
 * NULL means removal. */
struct mb__reg {
    mb_callback cb;
    void *arg;
    uint32_t event;
    uint8_t monitor; /* number */
    uint8_t hook;    /* one MB_HOOK_ value */
    uint16_t spare;  /* 0 */
};

#define MB__ALL_EVENTS UINT32_MAX /* removal: of all events, but flow_end */

/* One call of a program; a filter's monitor is &es->nobody. */
struct mb__step {
    int (*call)(struct mb_event *ev, void *arg); /* callback or filter */
    void *arg;
    struct mb_monitor *monitor;
    uint32_t event;
    uint32_t skip; /* where to go when the filter says no; callback: the next step */
};

/* Where the subtree of a user-defined event is. */
struct mb__step_index {
    uint32_t event;
    uint32_t program;
    uint32_t step;
};

struct mb__set {
    struct mb__set *next;  /* in its hash bucket */
    uint64_t hash;
    uint64_t events;       /* built-in events with a listener, as bits */
    size_t size;           /* bytes of this block */
    uint32_t uses;         /* by flows, monitors and running dispatches */
    uint32_t memos;        /* by entries of the cache */
    uint32_t reg_count;
    uint32_t index_count;
    struct mb__reg *regs;  /* sorted by event, monitor, hook */
    struct mb__step *steps;
    struct mb__step_index *index; /* sorted by event, program */
    struct {
        uint32_t start;
        uint32_t end;
    } program[MB__PROGRAMS];
};

struct mb__memo {
    struct mb__set *from; /* NULL: free */
    struct mb__set *to;
    struct mb__reg op;
};

struct mb__sets {
    struct mb__set **bucket;
    uint32_t buckets;       /* a power of two */
    uint32_t count;         /* sets alive */
    size_t bytes;           /* of all sets */
    size_t idle_bytes;      /* of those that only the cache keeps */
    struct mb__memo *memo;
    struct mb__reg *regs;   /* room for the registrations of a set to be */
    size_t reg_room;
    struct mb__step *steps; /* room of the compiler */
    size_t step_room;
    size_t step_count;
    struct mb__step_index *index;
    size_t index_room;
    size_t index_count;
    uint32_t *needed;
    size_t needed_room;
    uint32_t round;
};

int mb__sets_init(struct mb__events *es);
void mb__sets_fini(struct mb__events *es);

/* Room for |n| registrations to hand to mb__set_get(). NULL: no memory. */
struct mb__reg *mb__set_room(struct mb__events *es, size_t n);
/* The set of |n| registrations, which are sorted and unequal; a use of it is
 * the caller's. NULL: no memory. */
struct mb__set *mb__set_get(struct mb__events *es, const struct mb__reg *regs, size_t n);
/* The set after |op| on |set|; a use of it is the caller's. NULL: no memory. */
struct mb__set *mb__set_step(struct mb__events *es, struct mb__set *set, const struct mb__reg *op);
/* Gives a use back. */
void mb__set_put(struct mb__events *es, struct mb__set *set);

/* <0, 0, >0: order of registrations in a set. */
int mb__reg_order(const struct mb__reg *a, const struct mb__reg *b);
/* Where |reg| is, or would be, among |n| sorted registrations. */
size_t mb__reg_find(const struct mb__reg *regs, size_t n, const struct mb__reg *reg);
/* Applies |op| to |n| sorted registrations, into |out|, which has room for two
 * more and may be |regs| itself; how many there are then. */
size_t mb__reg_apply(const struct mb__events *es, const struct mb__reg *regs, size_t n,
                     const struct mb__reg *op, struct mb__reg *out);

/* The first step of user-defined event |event| in |program|; NULL: nobody
 * listens in its subtree. */
const struct mb__step *mb__set_find(const struct mb__set *set, uint32_t program, uint32_t event);

/* program.c: compiles |n| registrations into the steps and index of es->sets,
 * and the bounds and events of |set|. 0 or MB_ENOMEM. */
int mb__set_compile(struct mb__events *es, const struct mb__reg *regs, size_t n, struct mb__set *set);

#endif
