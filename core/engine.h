/* SPDX-License-Identifier: BSD-3-Clause */
/* engine -- the parts of one engine, and what its own files share
 *
 *   engine.c        life, the run loop, the clock, verdicts
 *   frames.c        bursts of frames, for an engine alone and for a worker
 *   conversation.c  one packet of a flow: endpoints, stream, protocol, events;
 *                   with delivery.c and parsing.c, see conversation.h
 *   workers.c       several engines that share the flows of one capture
 *
 * The first frame seals the engine: monitors are made before it, because each
 * has a pointer in every flow and the flow table is laid out then.
 */
#ifndef MB_ENGINE_H
#define MB_ENGINE_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/order.h"
#include "base/overlap.h"
#include "detect/detect.h"
#include "event/event.h"
#include "flow/rtt.h"
#include "flow/stream.h"
#include "flow/table.h"
#include "mosbox.h"
#include "output/output.h"
#include "packet/packet.h"
#include "packet/shard.h"
#include "proto/proto.h"

#define MB__MAX_MONITORS 16

/* Built-in events raised by protocol parsers. */
#define MB__PROTO_EVENTS ((1ull << (MB_EV_SSH + 1)) - (1ull << MB_EV_PROTOCOL))
/* Built-in events that show bytes of a stream. */
#define MB__EVENTS_OF_BYTES (1ull << MB_EV_DATA | 1ull << MB_EV_RETRANSMIT | 1ull << MB_EV_URGENT)
/* Built-in events of a flow for which its packets have to be decoded. */
#define MB__EVENTS_WITH_PACKETS (1ull << MB_EV_PACKET | MB__EVENTS_OF_BYTES | MB__PROTO_EVENTS)

struct mb_engine {
    struct mb_config config;
    struct mb__hash_key key;
    struct mb__memory waiting;      /* of what came before its turn */
    struct mb__memory parsing;      /* of parsers, and of bytes kept to be looked back at */
    struct mb__memory fragments;    /* of the decoder */
    struct mb__decoder *decoder;
    struct mb__flows flows;
    struct mb__events *events;
    const uint64_t *global;         /* bits of the events without a flow that somebody hears now */
    struct mb__stream_config streams;
    struct mb__prefixes hosts;      /* overlap policies */
    struct mb__prefixes hops;       /* routers between here and hosts; 0: not known */
    struct mb__proto_sink sink;     /* what parsers report to */
    struct mb_event *parsed;        /* the event whose bytes a parser is reading */
    struct mb_writer *writer;
    struct mb__outputs *outputs;    /* NULL until somebody asks for a log or a tally */
    struct mb_detect *detect;       /* NULL: no rules */
    int64_t now;                    /* packet clock, ns */
    int64_t tick;                   /* of the wheel, last looked at */
    size_t proto_slot;              /* where a flow's parser is, bytes from its start; 0: none */
    size_t rtts_slot;               /* the same of its round trip times */
    bool measures;                  /* round trips: somebody wants to know them */
    uint32_t monitors;
    uint8_t source;                 /* counted from 0, for mb_packet.source */
    bool sealed;                    /* the first frame has come */
    bool running;                   /* inside a callback, perhaps */
    bool dropped;                   /* verdict on the present frame */
    volatile bool stop;
    int64_t began;                  /* the packet clock at its start; 0: not yet */
    struct mb__order order;         /* where in the run it is; frames and packets are noted by workers only */
    struct mb__condition condition; /* of what a worker writes */
    struct mb__shards shards;       /* which flows it has, if it is one of several workers */
    _Atomic uint64_t *progress;     /* where a worker tells the frames that it is done with */
    struct mb_stats uncounted;      /* what each worker meets and the first one counts */
    struct mb_stats stats;
    char errmsg[MB_ERRBUF_SIZE];
    struct mb__burst burst;
};

/* Remembers an error sentence; gives |code| back. */
int mb__engine_fail(struct mb_engine *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Raises |ev|; a polite stop is noted. 0 or < 0. */
int mb__engine_raise(struct mb_engine *e, struct mb_event *ev);
/* Counts anomaly |reason| and raises its event on |flow| (NULL: no flow). */
int mb__engine_anomaly(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int reason);

/* All that |p| led to is done: has the rules judge it. |flow| NULL: none. */
void mb__engine_judge(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p);

/* Whether rules hold packets up for a verdict: what they do not look at now they never do. */
static inline bool mb__engine_inline(const struct mb_engine *e)
{
    return e->detect != NULL && mb__detect_inline(e->detect);
}

/* Round trip times of |flow|, where they are measured: |e| has a slot for them. */
static inline struct mb__rtts *mb__rtts_of(const struct mb_engine *e, const struct mb_flow *flow)
{
    return (struct mb__rtts *)(void *)((uint8_t *)(uintptr_t)flow + e->rtts_slot);
}

#define MB__TICK_SHIFT MB__WHEEL_SHIFT /* of the packet clock: 2^this ns */

/* A tick has passed: flows expire, then timers. */
int mb__engine_tick(struct mb_engine *e);

/* Moves the packet clock to |ts|. 0 or < 0. */
static inline int mb__engine_clock(struct mb_engine *e, int64_t ts)
{
    if (ts > e->now)
        e->now = ts;
    return e->now >> MB__TICK_SHIFT == e->tick ? 0 : mb__engine_tick(e);
}

struct mb__sheet;

/* The next frames of |source| that concern this engine: how many, or what
 * mb__source_burst() answers. */
int mb__frames_next(struct mb_engine *e, struct mb_source *source, struct mb__sheet *sheet);
/* What they do. 0 or < 0. */
int mb__frames_run(struct mb_engine *e, const struct mb__sheet *sheet);

/* From now on |e| has only the flows of worker |own| of |count|, and tells in
 * |progress| (borrowed) how many frames it is done with. Before the first frame;
 * all of them have the same seed. */
void mb__engine_join(struct mb_engine *e, uint32_t count, uint32_t own, _Atomic uint64_t *progress);

/* One packet that may belong to a flow. 0 or < 0. */
int mb__conversation_packet(struct mb_engine *e, const struct mb_packet *p);
/* The same for a brief frame of time |ts| and of a flow with |hash|, whose parts are |at| (packet/segment.h),
 * without decoding it. False: that cannot be, and nothing was done. */
bool mb__conversation_brief(struct mb_engine *e, struct mb__brief_at at, uint32_t wirelen, int64_t ts, uint32_t hash);
/* The same for one of |n| |frames| of a burst after the other, from the first on, the clock included, as
 * long as they are brief, begin no tick, and can stay undecoded; counts their bytes. How many these were. */
int mb__conversation_briefs(struct mb_engine *e, const struct mb_frame *frames, const uint8_t *packets,
                            const uint32_t *hash, int n);
/* The same for frames in this worker's list: |n| of them, which were found brief or not. */
uint32_t mb__conversation_listed(struct mb_engine *e, const struct mb__listed *listed, uint32_t n);
/* Ends a flow for |reason|: last bytes, flow_end, and all it had is freed. */
int mb__conversation_end(struct mb_engine *e, struct mb_flow *flow, int reason);
/* The flow of |quoted|, which an ICMP error quotes, and in |*side| who sent it; says in
 * |error| whether it can be true. NULL: none is known. */
struct mb_flow *mb__related_flow(const struct mb_engine *e, const struct mb_packet *quoted, int *side,
                                 struct mb_icmp_error *error);
/* Tells who listens to |flow| of |error|. 0 or < 0. */
int mb__related_raise(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                      const struct mb_icmp_error *error);
/* Both, if |p| is an ICMP error and anybody listens to such. 0 or < 0. */
int mb__related(struct mb_engine *e, const struct mb_packet *p);
/* What protocol parsers call. */
int mb__conversation_emit(struct mb__proto_sink *sink, uint32_t event, int side, const void *record,
                          const uint8_t *data, uint64_t len);

#endif
