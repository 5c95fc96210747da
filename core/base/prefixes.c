/* SPDX-License-Identifier: BSD-3-Clause */
/* prefixes -- a sorted list of them */
#include "base/prefixes.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PREFIXES 4096 /* of a list */

static bool inside(const struct mb__prefix *p, const struct mb_addr *addr)
{
    unsigned bytes = p->bits / 8, rest = p->bits % 8;
    if (memcmp(addr->byte, p->addr.byte, bytes) != 0)
        return false;
    return rest == 0 || (addr->byte[bytes] ^ p->addr.byte[bytes]) >> (8 - rest) == 0;
}

int mb__prefixes_add(struct mb__prefixes *t, const struct mb_addr *addr, unsigned bits, uint8_t value)
{
    bool v4 = mb_addr_is_v4(addr);
    if (bits > (v4 ? 32 : 128))
        return MB_EINVAL;
    if (t->count == MAX_PREFIXES)
        return MB_ELIMIT;
    struct mb__prefix *list = realloc(t->list, (t->count + 1) * sizeof *list);
    if (list == NULL)
        return MB_ENOMEM;
    t->list = list;
    uint8_t length = (uint8_t)(v4 ? bits + 96 : bits);
    uint32_t at = 0;
    while (at < t->count && list[at].bits > length)
        at++;
    memmove(list + at + 1, list + at, (t->count - at) * sizeof *list);
    list[at] = (struct mb__prefix){*addr, length, value};
    t->count++;
    return 0;
}

void mb__prefixes_fini(struct mb__prefixes *t)
{
    free(t->list);
    t->list = NULL;
    t->count = 0;
}

uint8_t mb__prefixes_of(const struct mb__prefixes *t, const struct mb_addr *addr)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (inside(&t->list[i], addr))
            return t->list[i].value;
    return t->otherwise;
}
