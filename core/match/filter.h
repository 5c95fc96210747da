/* SPDX-License-Identifier: BSD-3-Clause */
/* filter -- ready-made filters for user-defined events: expressions and BPF
 *
 * The language of expressions
 *
 *   proto == tcp and server.port in {80, 8000-8100} and not midstream
 *   ip in 10.0.0.0/8 && client.bytes > 10KB || tcp.flags contains syn|ack
 *   data matches "^GET /[^ ]*\.php" or payload contains "\x00\x01"
 *
 *   expression = test | "not" expression | "(" expression ")"
 *              | expression "and" expression | expression "or" expression
 *   test       = field                                       (of true or false)
 *              | field ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
 *              | field [ "not" ] "in" ( element | "{" element { "," element } "}" )
 *              | field [ "not" ] "contains" ( string | flags )
 *              | field [ "not" ] "matches" string
 *   element    = value | value "-" value | address "/" bits
 *   value      = number [ unit ] | name | address | flags
 *   flags      = flag { "|" flag }                           (syn|ack; a number)
 *
 * "not" binds most, then "and", then "or"; they are also written ! && ||. Words
 * that name values have no case. Numbers are decimal or 0x hexadecimal. Sizes
 * may have a unit (B, KB, MB, GB, TB: powers of 1000; KiB, MiB, GiB, TiB: of
 * 1024), times must (ns, us, ms, s, m, h, d), both then also a fraction: 1.5s.
 * Strings know \n \r \t \0 \\ \" \xHH; after "matches" stands a regular
 * expression of PCRE2, in which only \" is changed. A match whose cost gets out
 * of bounds is none.
 *
 * Of the flow:
 *   client.ip server.ip       address; "ip" alone: of either end
 *   client.port server.port   "port" alone: of either end
 *   client.packets .bytes     and server.; alone: of both together. So too
 *     .retransmits .out_of_order .missed (bytes lost at the tap) .gaps (were there any)
 *   client.state .mss         and server.
 *   proto version vlan tunnel app duration rtt anomalies
 *   midstream answered alerted
 * Of the event:
 *   side                      client or server
 *   len offset                data, retransmit, gap, http_body
 *   data                      the bytes of data, retransmit, http_body
 *   old_state new_state       state_change
 *   reason                    flow_end: an end reason; anomaly: which
 *   conflict                  retransmit
 * Of the packet:
 *   src.ip dst.ip src.port dst.port ttl tos tcp.flags tcp.window icmp.type
 *   icmp.code payload payload.len frame.len
 *
 * A test of "ip" or "port" holds if it holds for one end; with != or "not in",
 * if it holds for both. A test of something that is not there (a packet's field
 * in an event without packet, an RTT not measured) is false, whatever it asks.
 * Without a flow, proto, version, vlan and tunnel are those of the packet.
 */
#ifndef MB_MATCH_FILTER_H
#define MB_MATCH_FILTER_H

#include "event/event.h"
#include "mosbox.h"

/* A compiled expression. */
struct mb__expr;

/* Compiles |text| for events of the built-in event |base| into |*x|. 0, or
 * < 0 and a sentence with the column in |err| (or NULL). */
int mb__expr_new(const char *text, uint32_t base, struct mb__expr **x, char *err);
bool mb__expr_match(const struct mb__expr *x, const struct mb_event *ev);
void mb__expr_free(void *expr);
/* As mb_event_define_expr(). */
int mb__event_define_expr(struct mb__events *es, uint32_t parent, const char *expression, char *err);

/* A BPF filter, compiled for each link type as packets of it come. */
struct mb__bpf;

/* Parses |text| in libpcap's language. NULL and a sentence in |err| (or NULL). */
struct mb__bpf *mb__bpf_new(const char *text, char *err);
/* Whether the frame of |p| matches; false for link types it makes no sense for. */
bool mb__bpf_match(struct mb__bpf *b, const struct mb_packet *p);
void mb__bpf_free(void *bpf);
/* As mb_event_define_bpf(). An event without a packet does not match. */
int mb__event_define_bpf(struct mb__events *es, uint32_t parent, const char *bpf, char *err);

#endif
