/* SPDX-License-Identifier: BSD-3-Clause */
/* overlap -- tables of the policies, and the hosts that have them */
#include "base/overlap.h"

#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS 4096 /* prefixes of an engine */

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

/* ---- hosts ---------------------------------------------------------------- */

static bool inside(const struct mb__overlap_host *host, const struct mb_addr *addr)
{
    unsigned bytes = host->bits / 8, rest = host->bits % 8;
    if (memcmp(addr->byte, host->prefix.byte, bytes) != 0)
        return false;
    return rest == 0 || (addr->byte[bytes] ^ host->prefix.byte[bytes]) >> (8 - rest) == 0;
}

int mb__overlap_add(struct mb__overlap_hosts *hosts, const struct mb_addr *prefix, unsigned bits, int policy)
{
    bool v4 = mb_addr_is_v4(prefix);
    if (bits > (v4 ? 32 : 128) || policy < 0 || policy >= MB_OVERLAP_COUNT)
        return MB_EINVAL;
    if (hosts->count == MAX_HOSTS)
        return MB_ELIMIT;
    struct mb__overlap_host *list = realloc(hosts->list, (hosts->count + 1) * sizeof *list);
    if (list == NULL)
        return MB_ENOMEM;
    hosts->list = list;
    uint8_t length = (uint8_t)(v4 ? bits + 96 : bits);
    uint32_t at = 0;
    while (at < hosts->count && list[at].bits > length)
        at++;
    memmove(list + at + 1, list + at, (hosts->count - at) * sizeof *list);
    list[at] = (struct mb__overlap_host){*prefix, length, (uint8_t)policy};
    hosts->count++;
    return 0;
}

void mb__overlap_fini(struct mb__overlap_hosts *hosts)
{
    free(hosts->list);
    hosts->list = NULL;
    hosts->count = 0;
}

int mb__overlap_of(const struct mb__overlap_hosts *hosts, const struct mb_addr *addr)
{
    for (uint32_t i = 0; i < hosts->count; i++)
        if (inside(&hosts->list[i], addr))
            return hosts->list[i].policy;
    return hosts->otherwise;
}
