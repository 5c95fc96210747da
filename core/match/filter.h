/* SPDX-License-Identifier: BSD-3-Clause */
/* filter -- ready-made filters for user-defined events: expressions and BPF */
#ifndef MB_MATCH_FILTER_H
#define MB_MATCH_FILTER_H

#include "event/event.h"
#include "mosbox.h"

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
