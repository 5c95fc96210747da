/* SPDX-License-Identifier: BSD-3-Clause */
/* filter -- ready-made filters for user-defined events: expressions and BPF */
#ifndef MB_MATCH_FILTER_H
#define MB_MATCH_FILTER_H

#include "event/event.h"
#include "mosbox.h"

/* As mb_event_define_expr(). */
int mb__event_define_expr(struct mb__events *es, uint32_t parent, const char *expression, char *err);
/* As mb_event_define_bpf(). */
int mb__event_define_bpf(struct mb__events *es, uint32_t parent, const char *bpf, char *err);

#endif
