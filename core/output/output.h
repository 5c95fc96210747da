/* SPDX-License-Identifier: BSD-3-Clause */
/* output -- what becomes of a flow when it ends: records and tallies
 *
 *                       +--> log  --> one line in JSON, EVE, CSV      (record.c, eve.c)
 *   flow_end --> hub ---+--> tally -> rows by port, host, ...         (tally.c)
 *                       |
 *   packet ---> zeek ---+--> one line of conn.log                     (zeek.c)
 *
 * Everything here listens as any C program would, through monitors of the
 * public interface: an engine without outputs pays nothing for them.
 */
#ifndef MB_OUTPUT_OUTPUT_H
#define MB_OUTPUT_OUTPUT_H

#include "base/hash.h"
#include "base/order.h"
#include "base/text.h"
#include "flow/rtt.h"
#include "mosbox.h"

/* ---- what the engine gives and calls (engine.c) -------------------------- */

struct mb__outputs;

/* Where |e| keeps its outputs; NULL in it until somebody asks for some. */
struct mb__outputs **mb__engine_outputs(const struct mb_engine *e);
/* The limit of all that |e| keeps, bytes. */
uint64_t mb__engine_max_memory(const struct mb_engine *e);
/* Where in the run the engine is: what is written now comes there. */
struct mb__order *mb__engine_order(const struct mb_engine *e);
/* On what it depends that what is written now is: set before, taken back after. */
struct mb__condition *mb__engine_condition(const struct mb_engine *e);
/* The packet clock at the first frame, ns; 0: there was none. */
int64_t mb__engine_began(const struct mb_engine *e);
/* Has the round trips of all TCP flows measured. Before the first packet: 0, else MB_ESTATE. */
int mb__engine_measure(struct mb_engine *e);
/* Those of |flow|; NULL: they are not measured. */
const struct mb__rtts *mb__engine_rtts(const struct mb_engine *e, const struct mb_flow *flow);
/* Calls |fn| for each live flow, in no order that output may show. */
void mb__engine_each_flow(const struct mb_engine *e, void (*fn)(const struct mb_flow *flow, void *arg), void *arg);
/* Bytes that outputs keep of each live flow; of NULL 0. */
size_t mb__outputs_flow_bytes(const struct mb__outputs *o);
/* The flows that end from now on do so because the run is over, closed ones
 * that wait for late packets too. For mb_engine_finish(); NULL is fine. */
void mb__outputs_ending(struct mb__outputs *o);
/* All flows have ended: writes the closing lines that a format asks for. For
 * mb_engine_finish(); NULL is fine. 0 or the code of a failed write. */
int mb__outputs_finish(struct mb__outputs *o);
/* The tally that was made as number |n|, from 0; NULL: there is none. */
struct mb_tally *mb__outputs_tally(const struct mb__outputs *o, uint32_t n);
/* For mb_engine_free(); NULL is fine. */
void mb__outputs_free(struct mb__outputs *o);

/* ---- records -------------------------------------------------------------- */

#define MB__COMMUNITY_ID_TEXT 32 /* bytes of a community id with its NUL */
#define MB__FLOW_ID_MASK ((1ull << 53) - 1) /* numbers that JSON readers keep exactly */

/* Appends a record with its line end. |rtts| may be NULL: not measured. */
void mb__record_json(struct mb__text *t, const struct mb_flow *flow, const struct mb__rtts *rtts,
                     struct mb__iso_cache *iso);
void mb__record_csv(struct mb__text *t, const struct mb_flow *flow, const struct mb__rtts *rtts,
                    struct mb__iso_cache *iso);
void mb__record_csv_header(struct mb__text *t);
/* |run_over|: the flow ends with the run, whatever its end_reason. */
void mb__record_eve(struct mb__text *t, const struct mb_flow *flow, bool run_over, struct mb__iso_cache *iso);

/* Name of an IP protocol as EVE has it, "TCP", "IPv6-ICMP"; NULL: none here. */
const char *mb__ip_proto_name(int ip_proto);
/* The address of |side| as text of at most MB_ADDR_TEXT bytes: as mb_addr_text(),
 * but an IPv4-mapped address that came in an IPv6 header as "::ffff:192.0.2.1". */
size_t mb__end_text(const struct mb_flow *flow, int side, char *text);
/* All 64 bits of which mb_flow_stable_id() gives 53. */
uint64_t mb__flow_stable_hash(const struct mb_flow *flow);
/* What type the answer to ICMP (or ICMPv6, if |v6|) message |type| has; -1: none is asked for. */
int mb__icmp_counterpart(bool v6, int type);

/* ---- tallies -------------------------------------------------------------- */

#define MB__TALLY_ROWS (1024 * 1024) /* groups kept at most if the caller names no number */

/* A tally of the engine of |owner|, which may be NULL. NULL: no memory. */
struct mb_tally *mb__tally_new(struct mb__outputs *owner, int key, size_t max_rows);
struct mb__outputs *mb__tally_owner(const struct mb_tally *t);
void mb__tally_free(struct mb_tally *t);
/* Counts a flow that is over. 0 or MB_ENOMEM. */
int mb__tally_add(struct mb_tally *t, const struct mb_flow *flow);
/* A copy, to which live flows may be added without being counted twice. */
struct mb_tally *mb__tally_copy(const struct mb_tally *t);
/* Counts a group that another tally of the same kind has. 0 or MB_ENOMEM. */
int mb__tally_add_row(struct mb_tally *t, const struct mb_tally_row *row);
void mb__tally_add_evicted(struct mb_tally *t, uint64_t evicted);
/* Whether groups that flows may still be added to have made room for others. */
bool mb__tally_let_groups_go(const struct mb_tally *t);
/* All mb_tally_size() rows, in no order. */
const struct mb_tally_row *mb__tally_all(const struct mb_tally *t);
/* As mb_tally_top(), of the flows added so far. */
size_t mb__tally_top(const struct mb_tally *t, const char *by, struct mb_tally_row *rows, size_t max);

/* Groups that |memory| bytes hold, at most MB__TALLY_ROWS. */
size_t mb__tally_rows(uint64_t memory);

/* ---- Zeek's conn.log ------------------------------------------------------ */

struct mb__zeek;

/* A conn.log written to |o|, with a monitor of its own. NULL and a sentence. */
struct mb__zeek *mb__zeek_new(struct mb_engine *e, struct mb_output *o, char *err);
void mb__zeek_free(struct mb__zeek *z);
/* All flows have ended: the records still waited with, and the closing line. */
int mb__zeek_finish(struct mb__zeek *z);
/* Bytes kept of each live flow. */
size_t mb__zeek_flow_bytes(void);
/* Appends the line of a live flow. */
void mb__zeek_record(const struct mb__zeek *z, struct mb__text *t, const struct mb_flow *flow);

#endif
