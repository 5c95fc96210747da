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

#include "base/pool.h"
#include "mosbox.h"

struct mb__events;

/* The registry of one engine. |engine| goes into contexts unread. NULL: no memory. */
struct mb__events *mb__events_new(struct mb_engine *engine);
void mb__events_free(struct mb__events *es);

/* As mb_monitor_new(); the monitor's pointer on a flow is at |user_offset|
 * bytes from the flow's start. */
struct mb_monitor *mb__monitor_new(struct mb__events *es, const char *name, size_t user_offset, char *err);
/* As mb_event_define() and its like. */
int mb__event_define(struct mb__events *es, uint32_t parent, mb_filter filter, const void *arg, size_t arg_len);
int mb__event_define_expr(struct mb__events *es, uint32_t parent, const char *expression, char *err);
int mb__event_define_bpf(struct mb__events *es, uint32_t parent, const char *bpf, char *err);
int mb__event_alloc(struct mb__events *es, uint32_t parent);

/* Bits of built-in events that any monitor's later flows, or any flow, ever
 * listened to: what the engine must parse and keep. */
uint64_t mb__events_wanted(const struct mb__events *es);
/* Bits of the events without a flow that somebody hears now. */
uint64_t mb__events_global(const struct mb__events *es);
/* The most history that a monitor asked for, bytes a stream side. */
uint32_t mb__events_history(const struct mb__events *es);

/* Gives a new flow its set: all monitors whose scope |first| matches. */
int mb__events_attach(struct mb__events *es, struct mb_flow *flow, const struct mb_packet *first);
/* The flow is over: frees user pointers and timers, lets its set go. */
void mb__events_detach(struct mb__events *es, struct mb_flow *flow);

/* Raises the built-in event ev->base at ev->hook on ev->flow, or, without a
 * flow, for all monitors. Runs callbacks in order of registration, children of
 * user-defined events after their parent's. 0, > 0 a polite stop, < 0 failed. */
int mb__events_raise(struct mb__events *es, struct mb_event *ev);

/* Whether somebody hears built-in event |event| on |flow|. */
static inline bool mb__heard(const struct mb_flow *flow, int event)
{
    return flow->events >> event & 1;
}

/* Fires the timers due at |now|; 0 or as mb__events_raise(). */
int mb__events_timers(struct mb__events *es, int64_t now);
/* When the next timer may be due; INT64_MAX: none. */
int64_t mb__events_next_timer(const struct mb__events *es);

#endif
