/* SPDX-License-Identifier: BSD-3-Clause */
/* zeek -- Zeek's conn.log: what its connection records say of our flows */
#include "output/output.h"

struct mb__zeek *mb__zeek_new(struct mb_engine *e, struct mb_output *o, char *err)
{
    (void)e;
    (void)o;
    (void)err;
    return NULL;
}

void mb__zeek_free(struct mb__zeek *z)
{
    (void)z;
}

int mb__zeek_finish(struct mb__zeek *z)
{
    (void)z;
    return 0;
}

void mb__zeek_record(const struct mb__zeek *z, struct mb__text *t, const struct mb_flow *flow)
{
    (void)z;
    (void)t;
    (void)flow;
}
