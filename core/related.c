/* SPDX-License-Identifier: BSD-3-Clause */
/* related -- ICMP errors and the flows whose packets they quote
 *
 *   client ---- packet ----> router          the packet belongs to a flow
 *   client <--- ICMP error: head of packet   so the error is told of on that flow too
 *
 * An error changes no state: whoever is on the way can forge one, and a host's
 * TCP takes most of them for a hint (RFC 1122 4.2.3.9, RFC 5927). Whether it
 * quotes what was on its way just then is said with it.
 */
#include "conversation.h"

struct mb_flow *mb__related_flow(const struct mb_engine *e, const struct mb_packet *quoted, int *side,
                                 struct mb_icmp_error *error)
{
    struct mb_flow *flow = mb__flows_find(&e->flows, quoted, side);
    if (flow == NULL)
        return NULL;
    const struct mb_endpoint *from = &flow->end[*side];
    error->credible = (from->flags & MB_SIDE_SEEN) != 0;
    if (flow->ip_proto == 6) /* sent, and not acknowledged yet (RFC 5927 4.1) */
        error->credible = from->flags & MB_SIDE_SYNC && mb__seq_diff(error->seq, from->snd_una) >= 0 &&
                          mb__seq_diff(error->seq, from->snd_nxt) < 0;
    return flow;
}

int mb__related_raise(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                      const struct mb_icmp_error *error)
{
    if (!mb__heard(flow, MB_EV_ICMP_ERROR))
        return 0;
    struct mb_event ev = mb__event_of(e, flow, side, p, MB_EV_ICMP_ERROR, MB_HOOK_NONE);
    ev.record = error;
    return mb__engine_raise(e, &ev);
}

int mb__related(struct mb_engine *e, const struct mb_packet *p)
{
    struct mb_packet quoted;
    struct mb_icmp_error error;
    int side;
    if (!mb__icmp_is_error(p) || !(mb__events_wanted(e->events) >> MB_EV_ICMP_ERROR & 1))
        return 0;
    e->order.step++; /* of several workers, another may tell what comes before and after */
    bool quotes = mb__icmp_quote(p, &e->config, &e->key, &quoted, &error);
    struct mb_flow *flow = quotes ? mb__related_flow(e, &quoted, &side, &error) : NULL;
    int err = flow == NULL ? 0 : mb__related_raise(e, flow, side, p, &error);
    e->order.step++;
    return err;
}
