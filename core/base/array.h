/* SPDX-License-Identifier: BSD-3-Clause */
/* array -- room in a growing array */
#ifndef MB_BASE_ARRAY_H
#define MB_BASE_ARRAY_H

#include <stddef.h>
#include <stdlib.h>

#include "mosbox.h"

/* Makes room for |need| elements of |size| bytes in the array that the pointer
 * |array| points to, which has room for |*room|. It grows by half, so appending
 * one by one is O(1) on average. 0 or MB_ENOMEM; then the array is as before. */
static inline int mb__array_room(void *array, size_t *room, size_t need, size_t size)
{
    if (need <= *room)
        return 0;
    void *old;
    __builtin_memcpy(&old, array, sizeof old);
    size_t grown = need + need / 2 + 8;
    void *p = grown <= (size_t)-1 / size ? realloc(old, grown * size) : NULL;
    if (p == NULL)
        return MB_ENOMEM;
    __builtin_memcpy(array, &p, sizeof p);
    *room = grown;
    return 0;
}

#endif
