/* SPDX-License-Identifier: BSD-3-Clause */
/* overlap -- tables of the policies */
#include "base/overlap.h"

/* The ends at which a newcomer wins. */
enum { NONE = 0, LONGER = 4, NOT_SHORTER = 6, ANY = 7 };

/* Nine answers: for each way to begin (before the old, with it, after it) the
 * ends at which the newcomer wins. */
#define WINS(before, same, after) ((before) | (same) << 3 | (after) << 6)

static const uint16_t wins[2][MB_OVERLAP_COUNT] = {
    [MB__OVERLAP_TCP] = {
        [MB_OVERLAP_FIRST] = WINS(NONE, NONE, NONE),
        [MB_OVERLAP_LAST] = WINS(ANY, ANY, ANY),
        [MB_OVERLAP_BSD] = WINS(ANY, NONE, NONE),
        [MB_OVERLAP_BSD_RIGHT] = WINS(NONE, ANY, ANY),
        [MB_OVERLAP_LINUX] = WINS(ANY, LONGER, NONE),
        [MB_OVERLAP_WINDOWS] = WINS(ANY, NONE, NONE),
        [MB_OVERLAP_WINDOWS2003] = WINS(ANY, NONE, NONE),
        [MB_OVERLAP_SOLARIS] = WINS(NOT_SHORTER, NOT_SHORTER, LONGER),
        [MB_OVERLAP_HPUX] = WINS(NOT_SHORTER, NOT_SHORTER, LONGER),
        [MB_OVERLAP_OLD_LINUX] = WINS(ANY, NOT_SHORTER, NONE),
        [MB_OVERLAP_MACOS] = WINS(ANY, NONE, NONE),
    },
    [MB__OVERLAP_IP] = {
        [MB_OVERLAP_FIRST] = WINS(NONE, NONE, NONE),
        [MB_OVERLAP_LAST] = WINS(ANY, ANY, ANY),
        [MB_OVERLAP_BSD] = WINS(ANY, NONE, NONE),
        [MB_OVERLAP_BSD_RIGHT] = WINS(NONE, ANY, ANY),
        [MB_OVERLAP_LINUX] = WINS(ANY, ANY, NONE),
        [MB_OVERLAP_WINDOWS] = WINS(LONGER, NONE, NONE),
        [MB_OVERLAP_WINDOWS2003] = WINS(LONGER, NONE, NONE),
        [MB_OVERLAP_SOLARIS] = WINS(NOT_SHORTER, NONE, NONE),
        [MB_OVERLAP_HPUX] = WINS(NONE, NONE, NONE),
        [MB_OVERLAP_OLD_LINUX] = WINS(ANY, ANY, NONE),
        [MB_OVERLAP_MACOS] = WINS(NONE, NONE, NONE),
    },
};

/* 0: |a| is less, 1: equal, 2: greater. */
static unsigned order(uint64_t a, uint64_t b)
{
    return (unsigned)(a >= b) + (unsigned)(a > b);
}

bool mb__overlap_fresh_wins(enum mb__overlap_layer layer, int policy, struct mb__extent fresh, struct mb__extent old)
{
    unsigned answer = 3 * order(fresh.begin, old.begin) + order(fresh.end, old.end);
    return wins[layer][policy] >> answer & 1;
}

const char *mb_overlap_name(int policy)
{
    static const char *const names[MB_OVERLAP_COUNT] = {
        "first",   "last", "bsd",       "bsd_right", "linux", "windows", "windows2003",
        "solaris", "hpux", "old_linux", "macos",
    };
    return policy < 0 || policy >= MB_OVERLAP_COUNT ? NULL : names[policy];
}
