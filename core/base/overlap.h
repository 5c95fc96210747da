/* SPDX-License-Identifier: BSD-3-Clause */
/* overlap -- whose bytes stand where two segments, or two fragments, overlap
 *
 *   old        [=========]            begins: new before old
 *   new    [-------]                  ends:   new before old
 *              ^^^^  these bytes are there twice
 *
 * End systems decide by how the newcomer lies to what is there, and differ in
 * it. To see what a host sees one decides as it does.
 *
 * Sources. TCP: J. Novak, S. Sturges, "Target-Based TCP Stream Reassembly" (2007);
 * BSD, Linux and Solaris agree with what these systems' published sources do, and
 * HP-UX 11 has the TCP of the same maker, Mentat, as Solaris. IP: first, last,
 * BSD, BSD-right and Linux (2.4) from U. Shankar, V. Paxson, "Active Mapping"
 * (2003), Windows and Solaris from J. Novak, "Target-Based Fragmentation
 * Reassembly" (2005). Which rule is whose: Snort's manual 2.2.1 (HP-UX 11 and
 * MacOS keep the first fragment), Suricata's host-os-policy. Of late Linux and
 * Windows let go of an IPv4 datagram whose fragments overlap, as all do with one
 * of IPv6 (RFC 8200 4.5).
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

/* Families of TCPs that go by more than how two segments lie, see flow/stream.c. */
static inline bool mb__overlap_is_linux(int policy)
{
    return policy == MB_OVERLAP_LINUX || policy == MB_OVERLAP_OLD_LINUX;
}

static inline bool mb__overlap_is_mentat(int policy)
{
    return policy == MB_OVERLAP_SOLARIS || policy == MB_OVERLAP_HPUX;
}

/* Whether |fresh| stands where it overlaps |old|, under enum mb_overlap |policy|. */
bool mb__overlap_fresh_wins(enum mb__overlap_layer layer, int policy, struct mb__extent fresh, struct mb__extent old);

#endif
