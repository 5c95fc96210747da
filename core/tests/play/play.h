/* SPDX-License-Identifier: BSD-3-Clause */
/* play -- what the files of play_case share: of the core's headers they have mosbox.h alone */
#ifndef MB_TESTS_PLAY_H
#define MB_TESTS_PLAY_H

#include "mosbox.h"

/* text.c: repr() of the text that has these bytes in Latin-1. */
void say_text(const uint8_t *bytes, size_t len);
/* The same; a long text as its runs, 'a'*16 'b'*24, or as its length if they are many. */
void say_data(const uint8_t *bytes, size_t len);
/* 192.0.2.1:80 or [2001:db8::1]:80. */
void say_endpoint(const struct mb_endpoint *end);

/* fields.c: `set KEY VALUE`. Fields of |config| are set while there is no engine |e|, and what is
 * said of hosts once there is. 0, or < 0: it means nothing. */
int set(struct mb_config *config, struct mb_engine *e, const char *key, const char *value);
/* `look WHAT` at |flow|, which may be NULL, or at the counters. 0, or < 0: there is none. */
int look(const struct mb_engine *e, const struct mb_flow *flow, const char *what);

#endif
