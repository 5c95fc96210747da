/* SPDX-License-Identifier: BSD-3-Clause */
/* registry -- what the files of the event floor share
 *
 *   monitors 0..15 --> registrations for later flows (one sorted list)
 *                          |  those of the monitors in whose scope a packet is
 *                          v
 *   definitions -------> sets (set.h), shared by flows
 *     data                 flow->set, flow->events
 *      +- 4096 filter
 *      |   +- 4098 ...     timers (timer.c)
 *      +- 4097 filter
 *
 * Definitions are numbered from 0: first the built-in events, then the
 * user-defined ones. A parent's number is always below its children's.
 */
#ifndef MB_EVENT_REGISTRY_H
#define MB_EVENT_REGISTRY_H

#include "base/wheel.h"
#include "event/event.h"
#include "event/set.h"
#include "mosbox.h"

#define MB__MAX_MONITORS 16
#define MB__MAX_EVENTS (1u << 18)    /* definitions, the built-in ones too */
#define MB__MAX_EVENT_DEPTH 64       /* filters on top of one another */
#define MB__MAX_RAISE 64             /* mb_event_raise() inside mb_event_raise() */
#define MB__MAX_TIMERS ((1u << 22) - 1)
#define MB__TEMPLATES 64             /* combinations of scopes whose set is remembered */
#define MB__NO_DEF UINT32_MAX

/* The definition of an event. */
struct mb__def {
    mb_filter filter;  /* NULL: built in, or raised by mb_event_raise() only */
    void *arg;         /* of the filter */
    void *key;         /* what equal definitions have equal; owned */
    size_t key_len;
    mb_free_fn free;   /* gives |arg| back; NULL: borrowed, or the key itself */
    uint64_t hash;     /* of parent, filter and key */
    uint32_t next;     /* in its hash bucket; MB__NO_DEF: last */
    uint32_t parent;   /* number; MB__NO_DEF: built in */
    uint32_t base;     /* the built-in event below all its parents */
    uint32_t depth;
    /* Scratch of the compiler of sets (program.c). */
    uint32_t mark;     /* round in which the rest was written */
    uint32_t child;    /* first, last and next of the children with listeners */
    uint32_t last;
    uint32_t sibling;
    uint32_t reg;      /* first registration of it */
    uint32_t step;     /* where its filter went */
};

struct mb_monitor {
    struct mb__events *es;
    char *name;
    size_t user_offset;  /* of its pointer, from a flow's start; 0: has none */
    mb_free_fn user_free;
    mb__scope_fn scope;  /* NULL: all packets */
    void *scope_arg;
    mb_free_fn scope_free;
    uint32_t history;
    uint8_t number;
};

/* A timer; a slot of es->timers. */
struct mb__timer {
    struct mb__wheel_link link;
    int64_t id;        /* 0: not in use */
    int64_t due;       /* ns; before the clock has started: from its start */
    int64_t period;
    mb_callback cb;    /* NULL: the monitor's registrations of MB_EV_TIMER */
    void *arg;
    struct mb_monitor *monitor;
    struct mb_flow *flow;
    uint32_t next;     /* slots, in the bucket of its flow */
    uint32_t prev;
    bool waiting;      /* for the clock's start */
};

struct mb__timers {
    struct mb__pool pool;
    struct mb__wheel *wheel;  /* NULL: no timer was ever made */
    uint64_t sequence;        /* of the last timer made */
    uint32_t *bucket;         /* flow-bound timers by flow */
    uint32_t buckets;         /* a power of two, or 0 */
    uint32_t bound;           /* flow-bound timers */
    uint32_t waiting;         /* timers made before the clock started */
    bool firing;
    struct mb__due *due;      /* room for those that fire together */
    size_t due_room;
};

struct mb__events {
    struct mb_engine *engine;
    int64_t now;              /* newest time seen; 0: the clock has not started */

    struct mb__def *defs;
    uint32_t def_count;
    uint32_t def_room;
    uint32_t *def_bucket;
    uint32_t def_buckets;     /* a power of two */

    struct mb_monitor *monitors[MB__MAX_MONITORS];
    uint32_t monitor_count;
    uint32_t scoped;          /* bit n: monitor n has a scope */
    struct mb_monitor nobody; /* in contexts while a filter runs */
    uint64_t wanted;          /* built-in events ever listened to, as bits */

    struct mb__reg *later;    /* registrations for later flows, sorted */
    size_t later_count;
    size_t later_room;
    uint64_t later_events;    /* their built-in events, as bits */
    uint64_t global;          /* those of them without a flow */
    uint64_t later_version;   /* counts changes of the list */
    struct {
        uint32_t monitors;    /* as bits */
        struct mb__set *set;  /* counted; NULL: free */
    } templates[MB__TEMPLATES];

    struct mb__sets sets;
    uint32_t raising;         /* mb_event_raise() running now */
    struct mb_monitor *timer_owner;
    struct mb__timers timers;
    struct mb__order *order;  /* where timers note where in the run they fire; NULL: nowhere */
};

/* The number of the definition of |event|, MB__NO_DEF if there is none. */
static inline uint32_t mb__def_number(const struct mb__events *es, uint32_t event)
{
    if (event < MB_EV_BUILTIN)
        return event;
    if (event < MB_EV_USER || event - MB_EV_USER >= es->def_count - MB_EV_BUILTIN)
        return MB__NO_DEF;
    return event - MB_EV_USER + MB_EV_BUILTIN;
}

/* The event that definition |number| is of. */
static inline uint32_t mb__def_event(uint32_t number)
{
    return number < MB_EV_BUILTIN ? number : number - MB_EV_BUILTIN + MB_EV_USER;
}

/* tree.c */
int mb__tree_init(struct mb__events *es);
void mb__tree_fini(struct mb__events *es);

/* monitor.c: the set of all registrations for later flows of the monitors in
 * whose scope |packet| is (NULL: all); borrowed. NULL: no memory. */
struct mb__set *mb__template(struct mb__events *es, const struct mb_packet *packet);

/* timer.c */
void mb__timers_fini(struct mb__events *es);
/* Ends the timers bound to |flow|, of |m| or with NULL of all monitors. */
void mb__timers_drop(struct mb__events *es, const struct mb_flow *flow, const struct mb_monitor *m);

#endif
