/* SPDX-License-Identifier: BSD-3-Clause */
/* rtt -- round trip times from TCP timestamps (RFC 7323), seen from the middle
 *
 *   client ------ tsval 7 ----->  tap  ------ tsval 7 ----->  server
 *   client <----- tsecr 7 ------  tap  <----- tsecr 7 ------  server
 *                                  |<---- time to the server ---->|
 *
 * One packet a side is timed at once; its echo answers it even if it was lost
 * and sent again, for the copy has another timestamp.
 */
#ifndef MB_FLOW_RTT_H
#define MB_FLOW_RTT_H

#include <stdbool.h>

#include "mosbox.h"

/* Round trip times that one side's echoed timestamps show, at the tap. */
struct mb__rtt {
    uint32_t samples;
    uint32_t min; /* us */
    uint64_t sum; /* us */
};

/* The same of both sides: [MB_SERVER] is from the tap to the server and back. All zero: none yet. */
struct mb__rtts {
    struct mb__rtt side[2];
    int64_t sent[2];       /* when the packet being timed was seen, by its sender */
    uint32_t tsval[2];     /* its timestamp */
    bool waiting[2];       /* there is such a packet */
};

/* A packet of a TCP flow with RFC 7323 timestamps, sent by |side| and seen at |ts|, ns. |opens|:
 * it takes sequence space, so that it will be answered. */
void mb__rtts_packet(struct mb__rtts *r, int side, int64_t ts, uint32_t tsval, uint32_t tsecr, bool opens);

/* Whether |flow| may use timestamps, so that the last of its packets can be timed: both ends say
 * so in their SYNs, which are timed too. Who answered a SYN with them had them in it (RFC 7323
 * 1.3); of what was not seen at all nothing is known. */
static inline bool mb__rtts_apply(const struct mb_flow *flow)
{
    const struct mb_endpoint *client = &flow->end[MB_CLIENT], *server = &flow->end[MB_SERVER];
    return (server->flags & MB_SIDE_TIMESTAMPS &&
            (client->flags & MB_SIDE_TIMESTAMPS || !(client->tcp_flags & MB_TCP_SYN))) ||
           flow->flags & MB_FLOW_MIDSTREAM || client->packets + server->packets <= 2;
}

#endif
