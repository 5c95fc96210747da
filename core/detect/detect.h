/* SPDX-License-Identifier: BSD-3-Clause */
/* detect -- rules applied to what one engine sees
 *
 *   protocol events --> transactions (message.c)
 *                             |
 *   end of a packet ----------+--> work: rules whose fast pattern is there, and
 *   end of a flow                  those without one, in order of evaluation
 *                                        |
 *        conditions on packet and flow (condition.c), bytes (match.c)
 *                                        |
 *        thresholds (threshold.c) --> verdict, alerts (output/alert.c)
 *
 * Without inline mode the bytes of a stream count when the receiver has
 * acknowledged them, and are looked at with the sender's next packet or at the
 * end of the flow: what no host took raises no alert.
 */
#ifndef MB_DETECT_DETECT_H
#define MB_DETECT_DETECT_H

#include "base/order.h"
#include "base/text.h"
#include "io/lane.h"
#include "detect/quiet.h"
#include "detect/state.h"
#include "detect/tracker.h"

#define MB__TRACKERS 65536 /* thresholds and host bits remembered at once, each */
#define MB__MAX_FILES 256   /* whose names alerts tell */
#define MB__MAX_ALERTS 256  /* of one packet, whatever is configured */
#define MB__REJECTS (1u << 31)

/* What becomes of a packet. */
enum mb__verdict { MB__VERDICT_PASS = 0, MB__VERDICT_DROP = 1, MB__VERDICT_DROP_FLOW = 2 };

/* What rules are held against: one packet, or the end of a flow. */
struct mb__look {
    const struct mb_packet *packet; /* NULL: the flow is over */
    struct mb_flow *flow;           /* NULL: none */
    struct mb__state *state;        /* NULL: none */
    struct mb__state *bits;         /* whose flowbits; without a flow those of the packet */
    struct mb_addr src, dst;
    uint16_t sport, dport;
    uint8_t ip_proto;
    uint8_t ip_version;             /* 0: no IP */
    uint8_t side;                   /* who sent it */
    bool streamed;                  /* its payload is in the stream */
    struct mb__bytes payload;       /* of the packet */
    struct mb__bytes stream;        /* bytes to look at; len 0: none are new */
    const struct mb__held *held;    /* bytes in front of a gap that alerts tell too; NULL: none */
    struct mb__bytes rest;          /* and those behind it */
    struct mb__tx *tx;              /* of the rule being tried */
};

/* A rule that matched. */
struct mb__found {
    uint32_t rule;
    struct mb__tx *tx;
    bool stream;       /* in stream bytes */
    bool to_flow;      /* its verdict is the flow's */
};

/* What is told to the outside. */
enum mb__report {
    MB__REPORT_ALERT, /* a rule */
    MB__REPORT_DROP,  /* a packet was dropped; the rule is the first that wanted it */
    MB__REPORT_HTTP,  /* a transaction is over; so are the next */
    MB__REPORT_FILE,  /* a body that side sent */
    MB__REPORT_DNS,
    MB__REPORT_TLS,
    MB__REPORT_SSH
};

/* What an alert or another report tells. Valid during the call. */
struct mb__alert {
    const struct mb_detect *detect;
    const struct mb__rule *rule;
    const struct mb__look *look;
    const struct mb__tx *tx; /* NULL: none */
    bool stream;
    bool blocked;
    bool by_rate;            /* drop: a rate_filter wanted it */
    uint8_t verdict;         /* what became of the packet: enum mb_rule_action */
    unsigned reject;         /* MB__REJECTS, and MB_RULE_REJECT_ flags of the rules that rejected it */
    int64_t ts;
    uint64_t number;         /* of the frame */
    int link;
};

struct mb__work {
    uint32_t rule;
    struct mb__tx *tx;
};

struct mb_detect {
    struct mb_engine *engine;
    struct mb__memory *memory; /* account of what is kept of flows */
    const struct mb_rules *rules;
    struct mb_detect_config config;
    struct mb_monitor *monitor;
    hs_scratch_t *scratch;
    struct mb__matcher matcher;
    struct mb__tracker *thresholds;
    struct mb__tracker *bits;
    struct mb__state loose;   /* flowbits of a packet without a flow */
    uint32_t *mark;           /* by rule: the round that put it on the work list */
    uint32_t round;
    struct mb__work *work;
    uint32_t work_count;
    uint32_t work_room;
    bool unsorted;            /* the work list is out of order */
    struct mb__found *found;  /* config.max_alerts of them */
    uint32_t found_count;
    uint8_t *scratch_bytes;   /* for transforms of bodies */
    uint32_t scratch_room;
    struct mb_packet outer;   /* the newest with a tunnel inside; its pointers are stale */
    char *file[MB__MAX_FILES]; /* names of the sources, for alerts; in order */
    uint32_t files;
    uint64_t frame;           /* number of the newest frame */
    int link;
    int64_t now;
    struct mb_detect_stats stats;
    struct mb__condition *condition; /* of one of several workers: the engine's; NULL: there is one */
    struct mb__lane *decisions;      /* where alerts that depend on thresholds are counted */
    struct mb__quiet *quiet;         /* what the parent of several has decided ahead; NULL: there is one */
    void (*report)(void *arg, enum mb__report what, const struct mb__alert *alert);
    void *report_arg;
    void (*report_free)(void *arg);
};

/* ---- for the engine -------------------------------------------------------- */

/* Where |e| keeps its rules; NULL in it without any. */
struct mb_detect **mb__engine_detect(const struct mb_engine *e);
/* The account of what parsers and rules keep of flows. */
struct mb__memory *mb__engine_memory(struct mb_engine *e);
/* Frame |number| of link type |link| and its time: what is told from now on, even
 * of flows that time ends, is told of then. */
void mb__detect_clock(struct mb_detect *d, uint64_t number, int64_t ts, int link);
/* The same for a packet of that frame, whoever looks at it. */
void mb__detect_see(struct mb_detect *d, const struct mb_packet *p);
/* All events of |p|, which was seen, are over. |flow| is NULL for a packet of none. */
enum mb__verdict mb__detect_packet(struct mb_detect *d, struct mb_flow *flow, int side, const struct mb_packet *p);
/* A packet of a flow that was dropped before. */
void mb__detect_dropped(struct mb_detect *d, struct mb_flow *flow, int side, const struct mb_packet *p);
/* Bytes that detection keeps of each flow at least; of NULL 0. */
size_t mb__detect_flow_bytes(const struct mb_detect *d);
/* Whether bytes are inspected before they are acknowledged. */
bool mb__detect_inline(const struct mb_detect *d);
/* |d| will be copied for several workers. 0 or MB_ENOMEM. */
int mb__detect_divide(struct mb_detect *d);
/* |d| is one of several workers' from now on: thresholds are not its to ask. What
 * they would keep back is written under |condition|, and told to |lane|. */
void mb__detect_share(struct mb_detect *d, struct mb__condition *condition, struct mb__lane *lane);
/* Whether others know if a rule alerted on |flow|. */
bool mb__detect_unsure(const struct mb_detect *d, const struct mb_flow *flow);
/* Adds what another counted. */
void mb__detect_add(struct mb_detect *d, const struct mb_detect_stats *stats);
void mb__detect_free(struct mb_detect *d);

/* ---- between the files of this folder -------------------------------------- */

/* condition.c: whether the rule's addresses, ports, direction, flow state and
 * packet fields are those of the look. */
bool mb__conditions(const struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule);
/* What MB_OP_SET_ operations do once a rule has matched. */
void mb__consequences(struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule);
/* Bytes of a header buffer (MB_BUF_IPV4_HDR and so on) of the packet. */
struct mb__bytes mb__header_bytes(const struct mb_packet *p, int base);

/* inspect.c: puts rules on the work list and tries them. */
void mb__inspect(struct mb_detect *d, struct mb__look *look);

/* Whether how often the rule speaks depends on what it found before. */
bool mb__has_threshold(const struct mb__rule *rule);
/* Whether it is known that they would keep a match back and need not count it:
 * for one of several workers. */
bool mb__threshold_quiet(const struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule,
                         uint32_t number);
/* threshold.c: whether the rule may speak, and what it does: |*action|. */
bool mb__threshold(struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule, uint32_t number,
                   uint8_t *action);

#endif
