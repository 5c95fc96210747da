/* SPDX-License-Identifier: BSD-3-Clause */
/* order -- where in a run something was written, whichever worker wrote it
 *
 *   frame 17 |  expired flows   by tick, then by flow
 *            |  timers          by time, then by flow
 *            |  packets         by place in the frame
 *   frame 18 |  ...
 *   the end  |  flows that are left, by flow
 *
 * An engine alone does its work in exactly this order. Several engines that
 * share the flows of one capture each do a part of it; sorted by these numbers
 * what they wrote is what one would have written. Nothing in them may depend on
 * who did the work: frames are counted by all, and a flow is named by the frame
 * that began it.
 */
#ifndef MB_BASE_ORDER_H
#define MB_BASE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct mb__order {
    uint64_t frame; /* from 1; 0: before all, MB__FRAME_END: after all */
    uint64_t step;  /* MB__STEP_ kind and its number */
    uint64_t flow;  /* mb_flow.id; 0: none */
};

#define MB__FRAME_END UINT64_MAX

#define MB__STEP_EXPIRE (UINT64_C(0) << 62) /* with the tick of the wheel */
#define MB__STEP_TIMER (UINT64_C(1) << 62)  /* with the time, ns */
#define MB__STEP_PACKET (UINT64_C(2) << 62) /* with the packet's place in the frame, in steps of */
#define MB__STEPS_A_PACKET 4                /* of which an ICMP error takes three, see related.c */
#define MB__STEP_LAST (UINT64_C(3) << 62)   /* what closes the run */
#define MB__STEP_NUMBER ((UINT64_C(1) << 62) - 1)

/* What is written may depend on what all workers saw: then the parent decides,
 * which meets everything in order. */
enum mb__condition_kind {
    MB__CONDITION_NONE = 0,   /* it is written */
    MB__CONDITION_SPEAK,      /* if the thresholds of the rule let it speak */
    MB__CONDITION_ALERTED,    /* if a rule did so on the flow */
    MB__CONDITION_NOT_ALERTED /* if none did */
};

struct mb__condition {
    uint32_t kind;   /* enum mb__condition_kind */
    uint32_t rule;   /* its place in the set */
    uint64_t flow;   /* mb_flow.id; 0: none */
    int64_t ts;      /* ns since 1970 */
    uint8_t src[16]; /* addresses of the packet */
    uint8_t dst[16];
};

static inline bool mb__order_before(const struct mb__order *a, const struct mb__order *b)
{
    if (a->frame != b->frame)
        return a->frame < b->frame;
    return a->step != b->step ? a->step < b->step : a->flow < b->flow;
}

#endif
