/* SPDX-License-Identifier: BSD-3-Clause */
/* conversation -- what the files that follow one flow's packets share
 *
 *   conversation.c   flows: found, made, ended; TCP and the rest, packet by packet
 *        |
 *        v
 *   delivery.c       bytes in order shown, holes waited for and given up
 *        |
 *        v
 *   parsing.c        the same bytes through the parser of the flow's protocol
 *
 * All functions give 0, or < 0 if a callback failed, unless they say otherwise.
 * |side| sent what they are about; |p| is the packet that led to it, NULL when
 * time or the end of the run did.
 */
#ifndef MB_CONVERSATION_H
#define MB_CONVERSATION_H

#include "engine.h"
#include "flow/tcp.h"

static inline struct mb_event mb__event_of(struct mb_engine *e, struct mb_flow *flow, int side,
                                           const struct mb_packet *p, uint32_t event, uint8_t hook)
{
    return (struct mb_event){.engine = e, .flow = flow, .packet = p, .ts = e->now, .id = event, .base = event,
                             .side = (uint8_t)side, .hook = hook};
}

static inline struct mb_view mb__payload_of(const struct mb_packet *p)
{
    return (struct mb_view){p->net + p->payload_off, p->payload_len};
}

/* Raises an event that has nothing more to tell, if it is heard. */
static inline int mb__raise_plain(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                                  uint32_t event, uint8_t hook)
{
    if (!mb__heard_at(flow, event, hook))
        return 0;
    struct mb_event ev = mb__event_of(e, flow, side, p, event, hook);
    return mb__engine_raise(e, &ev);
}

/* ---- parsing.c ------------------------------------------------------------ */

/* What a parser is told: bytes, that some are missing, that no more come. */
enum mb__parsing { MB__PARSER_DATA, MB__PARSER_GAP, MB__PARSER_END };

/* Whether a parser is, or will be, at work on |flow|. */
bool mb__wants_protocol(const struct mb_engine *e, const struct mb_flow *flow);
/* Hands the bytes of |ev|, or the lack of them, to the parser of its flow. */
int mb__parser_call(struct mb_engine *e, struct mb_event *ev, enum mb__parsing call);
/* |side| sends no more. */
int mb__parser_end(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p);
void mb__parser_free(struct mb_engine *e, struct mb_flow *flow);
/* What was told of the protocol so far was of bytes that the client did not get: it is looked for anew. */
void mb__parser_restart(struct mb_engine *e, struct mb_flow *flow);

/* ---- delivery.c ----------------------------------------------------------- */

/* Stream offset of the FIN that |from| has sent: nobody takes what lies behind it
 * (RFC 9293 3.10.7.4, seventh step), unless an ACK tells that the FIN was none. */
static inline int64_t mb__end_of_stream(const struct mb_endpoint *from)
{
    return from->flags & MB_SIDE_FIN ? mb__tcp_fin_offset(from) : INT64_MAX;
}

/* Shows |view|, bytes that are in order now. */
int mb__deliver(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, struct mb_view view);
/* Whether nobody reads what |side| sends any more; what waited is given back. */
bool mb__is_off(struct mb_engine *e, struct mb_flow *flow, int side);
/* Bytes up to |offset| will not come any more: a gap for each hole before it. */
int mb__give_up_holes(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset);
/* The same of all holes, while no packet is at hand; what lies behind a FIN goes on waiting. */
int mb__give_up_all_holes(struct mb_engine *e, struct mb_flow *flow, int side);
/* What |side| sent and waits is nobody's, or what of it lies behind its FIN: it is let go of, and counted. */
void mb__discard_waiting(struct mb_engine *e, struct mb_flow *flow, int side);
void mb__cut_behind_fin(struct mb_engine *e, struct mb_flow *flow, int side);
/* The payload of |p|, at stream offset |offset|: of an accepted segment; of one that
 * waits until an ACK takes it in; of one whose side is off; of a SYN. */
int mb__segment_data(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset);
int mb__hold_segment(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset);
void mb__count_data(struct mb_flow *flow, int side, const struct mb_packet *p, int64_t offset);
int mb__syn_data(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p);
/* |p| is another SYN (|syn|) or SYN/ACK than the one that stands: what |offer| says, its own or the other one's, is
 * kept until its receiver tells which it took. */
int mb__keep_offer(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p,
                   const struct mb__offer *offer, bool syn);
/* What the server sends until then is kept as well, as far as there is room. */
int mb__hold_undecided(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p);
/* |p| acknowledges what |side| sent: holes that the tap has missed; a SYN's payload. */
int mb__settle_acknowledged(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p);
int mb__syn_data_answered(struct mb_engine *e, struct mb_flow *flow, int side, const struct mb_packet *p);

#endif
