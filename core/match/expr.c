/* SPDX-License-Identifier: BSD-3-Clause */
/* expr -- the expression language of user-defined events */
#include "match/filter.h"

int mb__event_define_expr(struct mb__events *es, uint32_t parent, const char *expression, char *err)
{
    return MB_ENOTSUP;
}
