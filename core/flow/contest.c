/* SPDX-License-Identifier: BSD-3-Clause */
/* contest -- offers kept, segments held, and the choice between them */
#include "flow/contest.h"

/* The first numbers that a client acknowledges lie within a window that is not scaled. */
#define FIRST_WINDOW UINT16_MAX

/* Whether |number| lies in [|begin|, |end|]. */
static bool within(uint32_t number, uint32_t begin, uint32_t end)
{
    return mb__seq_diff(number, begin) >= 0 && mb__seq_diff(number, end) <= 0;
}

int mb__contest_add(struct mb__stream_config *c, struct mb_flow *flow, int side, const struct mb__offer *offer, bool syn)
{
    struct mb__contest *contest = mb__contest_of(flow);
    if (contest == NULL) {
        contest = mb__memory_zeroed(c->memory, sizeof *contest);
        if (contest == NULL || mb__stream_set_contest(c, flow, contest) != 0) {
            mb__memory_free(c->memory, contest, sizeof *contest);
            return MB_ENOMEM;
        }
        contest->side = (uint8_t)side;
        contest->syns = syn;
    }
    for (uint32_t i = 0; i < contest->offers; i++)
        if (contest->offer[i].isn == offer->isn)
            return 0;
    if (contest->offers < MB__OFFERS)
        contest->offer[contest->offers++] = *offer;
    return 0;
}

int mb__contest_hold(struct mb__stream_config *c, struct mb_flow *flow, const struct mb_packet *p)
{
    struct mb__contest *contest = mb__stream_contest(flow);
    const size_t size = sizeof(struct mb__undecided) + p->net_len;
    if (contest->segments == MB__UNDECIDED || contest->bytes + size > c->max_bytes)
        return MB_ELIMIT;
    struct mb__undecided *held = mb__memory_alloc(c->memory, size);
    if (held == NULL)
        return MB_ENOMEM;
    held->next = NULL;
    held->packet = *p;
    memcpy(held->datagram, p->net, p->net_len);
    held->packet.frame = held->packet.net = held->datagram;
    held->packet.frame_len = p->net_len;
    held->packet.net_off = 0;
    held->packet.link = MB__LINK_RAW;
    *(contest->last != NULL ? &contest->last->next : &contest->first) = held;
    contest->last = held;
    contest->segments++;
    contest->bytes += size;
    contest->reset |= (p->tcp_flags & MB_TCP_RST) != 0;
    return 0;
}

/* ---- the choice among SYNs -------------------------------------------------- */

/* The SYN that |p| of |side| tells to be the one that counts, of those that |contest| keeps; NULL: it does not. */
static struct mb__offer *syn_told(struct mb__contest *contest, const struct mb_flow *flow, int side,
                                  const struct mb_packet *p)
{
    const struct mb_endpoint *client = &flow->end[contest->side];
    const bool own = side == contest->side;
    if (own ? p->tcp_flags & MB_TCP_SYN || flow->end[!side].flags & MB_SIDE_SEEN : !(p->tcp_flags & MB_TCP_ACK))
        return NULL;
    const uint32_t number = own ? p->seq : p->ack;
    if (within(number, client->isn + 1, client->snd_nxt))
        return NULL;
    for (uint32_t i = 0; i < contest->offers; i++)
        if (within(number, contest->offer[i].isn + 1, contest->offer[i].ack))
            return &contest->offer[i];
    return NULL;
}

bool mb__contest_choose_syn(struct mb_flow *flow, int side, const struct mb_packet *p)
{
    struct mb__contest *contest = mb__stream_contest(flow);
    struct mb__offer *offer = syn_told(contest, flow, side, p);
    if (offer == NULL)
        return false;
    const struct mb__offer former = mb__tcp_standing_syn(flow, contest->side);
    mb__tcp_take_syn(flow, contest->side, offer);
    *offer = former; /* |p| itself may be forged */
    return true;
}

/* ---- the choice among SYN/ACKs ---------------------------------------------- */

/* Up to where the held segments go on from |seq| without a hole. */
static uint32_t reach(const struct mb__contest *contest, uint32_t seq)
{
    bool more;
    do {
        more = false;
        for (const struct mb__undecided *h = contest->first; h != NULL; h = h->next) {
            uint32_t end = h->packet.seq + h->packet.payload_len + !!(h->packet.tcp_flags & MB_TCP_FIN);
            if (mb__seq_diff(h->packet.seq, seq) <= 0 && mb__seq_diff(end, seq) > 0 &&
                !(h->packet.tcp_flags & MB_TCP_RST)) {
                seq = end;
                more = true;
            }
        }
    } while (more);
    return seq;
}

/* The offer of which |ack| acknowledges the SYN, and perhaps what was held behind it; or none. */
static int offer_acked(const struct mb__contest *contest, uint32_t ack, bool more)
{
    for (uint32_t i = 0; i < contest->offers; i++) {
        uint32_t begin = contest->offer[i].isn + 1;
        if (within(ack, begin, more ? reach(contest, begin) : begin))
            return (int)i;
    }
    return MB__CHOICE_NONE;
}

/* The SYN/ACK nearest before |ack|, if what the tap missed can lie between them. */
static int nearest(const struct mb__contest *contest, uint32_t first, uint32_t ack)
{
    int choice = MB__CHOICE_NONE;
    uint32_t least = FIRST_WINDOW;
    for (int i = MB__CHOICE_FIRST; i < (int)contest->offers; i++) {
        uint32_t ahead = ack - (i == MB__CHOICE_FIRST ? first : contest->offer[i].isn) - 1;
        if (ahead < least) {
            least = ahead;
            choice = i;
        }
    }
    return choice;
}

/* The choice by the number that |p| acknowledges. */
static int choose(const struct mb__contest *contest, const struct mb_flow *flow, const struct mb_packet *p)
{
    const struct mb_endpoint *client = &flow->end[!contest->side], *server = &flow->end[contest->side];
    const uint32_t next = mb__tcp_next_expected(server);
    if (p->ack == server->isn + 1)
        return MB__CHOICE_FIRST;
    /* Only behind a SYN with data does an honest server send before the client's ACK (RFC 7413). */
    int exact = offer_acked(contest, p->ack, false);
    if (exact >= 0 && client->snd_una == client->isn + 1 && client->next == 0)
        return exact;
    if (within(p->ack, server->isn + 1, reach(contest, next)))
        return MB__CHOICE_FIRST;
    int offer = offer_acked(contest, p->ack, true);
    return offer >= 0 ? offer : nearest(contest, server->isn, p->ack);
}

/* Whether the server would take |p| if it had made |choice|. */
static bool is_taken(struct mb_flow *flow, const struct mb__contest *contest, int choice, const struct mb_packet *p)
{
    const int side = contest->side;
    const struct mb_endpoint client = flow->end[!side], server = flow->end[side];
    const uint8_t flags = flow->flags, end_reason = flow->end_reason;
    if (choice >= MB__CHOICE_OFFER)
        mb__tcp_take_offer(flow, side, &contest->offer[choice]);
    bool taken = mb__tcp_in_place(flow, !side, p);
    flow->end[!side] = client;
    flow->end[side] = server;
    flow->flags = flags;
    flow->end_reason = end_reason;
    return taken;
}

int mb__contest_choose(struct mb_flow *flow, const struct mb_packet *p)
{
    const struct mb__contest *contest = mb__stream_contest(flow);
    if ((p->tcp_flags & (MB_TCP_ACK | MB_TCP_SYN | MB_TCP_RST)) != MB_TCP_ACK)
        return MB__CHOICE_NONE;
    int choice = choose(contest, flow, p);
    return choice != MB__CHOICE_NONE && is_taken(flow, contest, choice, p) ? choice : MB__CHOICE_NONE;
}

/* ---- the end ---------------------------------------------------------------- */

struct mb__undecided *mb__contest_end(struct mb__stream_config *c, struct mb_flow *flow)
{
    struct mb__contest *contest = mb__contest_of(flow);
    if (contest == NULL)
        return NULL;
    struct mb__undecided *held = contest->first;
    mb__stream_take_contest(c, flow);
    mb__memory_free(c->memory, contest, sizeof *contest);
    return held;
}

struct mb__undecided *mb__undecided_free(struct mb__stream_config *c, struct mb__undecided *held)
{
    struct mb__undecided *next = held->next;
    mb__memory_free(c->memory, held, sizeof *held + held->packet.net_len);
    return next;
}
