/* SPDX-License-Identifier: BSD-3-Clause */
/* decide -- thresholds of rules, asked where the alerts of several workers meet
 *
 *   worker 0: rule 7 matched, from 10.0.0.1  \
 *                                             > in order --> limit reached? --> written or not
 *   worker 1: rule 7 matched, from 10.0.0.1  /                    |
 *   worker 1: the flow's record, both ways --------------> "alerted": true or false
 *
 * Every output decides for itself: all of them meet the same matches in the same
 * order and come to the same result.
 */
#ifndef MB_DETECT_DECIDE_H
#define MB_DETECT_DECIDE_H

#include "base/order.h"
#include "detect/detect.h"

struct mb__decider;

/* A decider with the rules of |d| (borrowed). NULL: no memory. */
struct mb__decider *mb__decider_new(struct mb_detect *d);
void mb__decider_free(struct mb__decider *decider);
/* Whether what depends on |condition| is to be written. |decider| is the argument
 * that struct mb__merge hands over. */
bool mb__decide(void *decider, const struct mb__condition *condition);
/* How many matches were told and how many were kept back so far. */
void mb__decider_count(const struct mb__decider *decider, uint64_t *told, uint64_t *kept_back);

#endif
