/* SPDX-License-Identifier: BSD-3-Clause */
/* ip_index -- from an address to the rules whose set it is in
 *
 *   sets of rules   |--1--|        |-1-|
 *                      |----2----|
 *   segments        [1 |1,2|  2  ] [ 1 ]     start, rules from first to the next's
 *
 * Lists of bad addresses come as many rules with many addresses each. Cutting
 * the address space where any set begins or ends makes the question "which
 * rules" one binary search, however many rules there are.
 */
#ifndef MB_DETECT_IP_INDEX_H
#define MB_DETECT_IP_INDEX_H

#include "mosbox.h"

/* The addresses from |low| to |high| belong to |rule|. */
struct mb__ip_range {
    struct mb_addr low;
    struct mb_addr high;
    uint32_t rule;
};

struct mb__ip_index {
    struct mb_addr *start; /* of each segment, ascending */
    uint32_t *first;       /* its rules are ids[first[i] .. first[i + 1]) */
    uint32_t *ids;
    uint32_t segments;
};

/* Builds the index of |ranges|. 0, MB_ENOMEM, or MB_ELIMIT if
 * they overlap so much that it would have more than a few million entries. */
int mb__ip_index_build(struct mb__ip_index *x, const struct mb__ip_range *ranges, uint32_t count);
void mb__ip_index_free(struct mb__ip_index *x);
/* The rules of |a|: their number, and where they are. */
uint32_t mb__ip_index_find(const struct mb__ip_index *x, const struct mb_addr *a, const uint32_t **ids);

#endif
