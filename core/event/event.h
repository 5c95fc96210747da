/* SPDX-License-Identifier: BSD-3-Clause */
/* event -- who hears what: event sets shared by flows, and their dispatch
 *
 *   flow A --\
 *   flow B ----> set 7 { (monitor, event, hook, callback, arg), ... }   immutable,
 *   flow C --/                                                          counted,
 *   flow D ----> set 9 = set 7 + one registration                      hash-consed
 *
 * A set is a flattened forest: under each built-in event the registrations and
 * user-defined events in preorder, each node with the index to go to when its
 * filter says no. Registering on one flow is the memoised step set -> set', so
 * a million flows with the same handlers share one set. flow->events repeats
 * the set's built-in events as bits: an event that nobody hears costs a test.
 */
#ifndef MB_EVENT_EVENT_H
#define MB_EVENT_EVENT_H

#include "base/order.h"
#include "base/pool.h"
#include "mosbox.h"

struct mb__events;

/* The registry of one engine. |engine| goes into contexts unread. NULL: no memory. */
struct mb__events *mb__events_new(struct mb_engine *engine);
void mb__events_free(struct mb__events *es);

/* As mb_monitor_new(); the monitor's pointer on a flow is at |user_offset|
 * bytes from the flow's start. */
struct mb_monitor *mb__monitor_new(struct mb__events *es, const char *name, size_t user_offset, char *err);
/* Its name, for messages. */
const char *mb__monitor_name(const struct mb_monitor *m);
/* Whether a packet is in a monitor's scope. */
typedef bool (*mb__scope_fn)(const struct mb_packet *packet, void *arg);
/* The monitor hears only of flows whose first packet, and of packets without
 * a flow that, |scope| says yes to (NULL: all). |free_arg| gives |arg| back. */
void mb__monitor_set_scope(struct mb_monitor *m, mb__scope_fn scope, void *arg, mb_free_fn free_arg);

/* As mb_event_define(). */
int mb__event_define(struct mb__events *es, uint32_t parent, mb_filter filter, const void *arg,
                     size_t arg_len);
/* The same for a filter whose |arg| is given back with |free_arg| at the end,
 * or at once if there is an error or an equal event: parent, filter and |key|. */
int mb__event_define_owned(struct mb__events *es, uint32_t parent, mb_filter filter, void *arg,
                           mb_free_fn free_arg, const char *key);
/* The built-in event under |event|, MB_EINVAL if there is no such event. */
int mb__event_base(const struct mb__events *es, uint32_t event);
/* As mb_event_alloc(). */
int mb__event_alloc(struct mb__events *es, uint32_t parent);

/* Bits of built-in events that any monitor's later flows, or any flow, ever
 * listened to: what the engine must parse and keep. */
uint64_t mb__events_wanted(const struct mb__events *es);
/* Where the bits are of the events without a flow that somebody hears now: a
 * place that stays for the registry's life, so that asking costs a load. */
const uint64_t *mb__events_global(const struct mb__events *es);
/* The most history that a monitor asked for, bytes a stream side. */
uint32_t mb__events_history(const struct mb__events *es);

/* Gives a new flow its set: all monitors whose scope |first| matches. */
int mb__events_attach(struct mb__events *es, struct mb_flow *flow, const struct mb_packet *first);
/* The flow is over: frees user pointers and timers, lets its set go. */
void mb__events_detach(struct mb__events *es, struct mb_flow *flow);

/* Raises the built-in event ev->base at ev->hook on ev->flow, or, without a
 * flow, for all monitors whose scope ev->packet is in. Callbacks of one event
 * run in the order in which their monitors were made, then its user-defined
 * events in the order of their definition. 0, < 0 when a callback or filter
 * failed (nothing more is called), > 0 when one asked for a polite stop (all
 * are called). Filters find a monitor of no use to them in the context. */
int mb__events_raise(struct mb__events *es, struct mb_event *ev);

/* Whether somebody hears built-in event |event| on |flow|. */
static inline bool mb__heard(const struct mb_flow *flow, int event)
{
    return flow->events >> event & 1;
}

/* Which program a base event at a hook has. */
static inline uint32_t mb__program(uint32_t base, int hook)
{
    if (hook != MB_HOOK_RCV)
        return base;
    return base == MB_EV_PACKET ? MB_EV_BUILTIN : base == MB_EV_STATE_CHANGE ? MB_EV_BUILTIN + 1 : base;
}

/* Whether somebody may hear |event| at |hook|: packets are raised twice each, and as a
 * rule heard once. */
static inline bool mb__heard_at(const struct mb_flow *flow, uint32_t event, int hook)
{
    return flow->events >> mb__program(event, hook) & 1;
}

/* Timers note in |order| (borrowed) where in the run they fire. */
void mb__events_order(struct mb__events *es, struct mb__order *order);
/* Fires the timers due at |now|, by the time they were due, then by flow, then by id; 0 or as
 * mb__events_raise(). To be called whenever mb__events_next_timer() has come:
 * timers made before the first packet are set at the first call. */
int mb__events_timers(struct mb__events *es, int64_t now);
/* When the next timer may be due; INT64_MAX: none, INT64_MIN: call at once. */
int64_t mb__events_next_timer(const struct mb__events *es);

#endif
