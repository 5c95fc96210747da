/* SPDX-License-Identifier: BSD-3-Clause */
/* rtt -- one packet a side is timed at once */
#include "flow/rtt.h"

static void sample(struct mb__rtt *rtt, int64_t ns)
{
    int64_t us = ns / 1000;
    if (us < 0 || us > UINT32_MAX)
        return;
    if (rtt->samples == 0 || us < rtt->min)
        rtt->min = (uint32_t)us;
    rtt->sum += (uint64_t)us;
    rtt->samples++;
}

void mb__rtts_packet(struct mb__rtts *r, int side, int64_t ts, uint32_t tsval, uint32_t tsecr, bool opens)
{
    int peer = !side;
    if (r->waiting[peer]) {
        int32_t past = (int32_t)(tsecr - r->tsval[peer]);
        if (past == 0)
            sample(&r->side[side], ts - r->sent[peer]);
        if (past >= 0) /* a later echo answers it too, but cannot time it */
            r->waiting[peer] = false;
    }
    if (!opens || r->waiting[side] || (r->sent[side] != 0 && tsval == r->tsval[side]))
        return;
    r->waiting[side] = true;
    r->tsval[side] = tsval;
    r->sent[side] = ts;
}
