/* SPDX-License-Identifier: BSD-3-Clause */
/* overlap -- whose bytes stand where two segments, or two fragments, overlap
 *
 *   old        [=========]            begins: new before old
 *   new    [-------]                  ends:   new before old
 *              ^^^^  these bytes are there twice
 *
 * End systems decide by how the newcomer lies to what is there, and differ in
 * it. To see what a host sees one decides as it does. The tables are those that
 * J. Novak and S. Sturges measured ("Target-Based TCP Stream Reassembly", 2007;
 * "Target-Based Fragmentation Reassembly", 2005).
 */
#ifndef MB_BASE_OVERLAP_H
#define MB_BASE_OVERLAP_H

#include "mosbox.h"

/* What overlaps: systems treat the two differently. */
enum mb__overlap_layer { MB__OVERLAP_TCP = 0, MB__OVERLAP_IP = 1 };

/* A range of bytes as it was sent. */
struct mb__extent {
    uint64_t begin;
    uint64_t end;
};

/* Whether |fresh| stands where it overlaps |old|, under enum mb_overlap |policy|. */
bool mb__overlap_fresh_wins(enum mb__overlap_layer layer, int policy, struct mb__extent fresh, struct mb__extent old);

#endif
