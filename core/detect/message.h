/* SPDX-License-Identifier: BSD-3-Clause */
/* message -- protocol records into the buffers that rules look at
 *
 * Each function takes a record while it is valid, finds or makes the
 * transaction it belongs to, and copies what rules or alerts need of it.
 */
#ifndef MB_DETECT_MESSAGE_H
#define MB_DETECT_MESSAGE_H

#include "detect/state.h"

/* The part that |ev| added to, or NULL. |limit| is of bodies. */
struct mb__part *mb__message(struct mb__state *s, const struct mb_rules *r, const struct mb_event *ev, uint32_t limit);

/* The value of the first field called |name|; empty if there is none. */
struct mb_view mb__http_field(const struct mb_http *h, const char *name);
/* |url| without its query. */
struct mb_view mb__url_path(struct mb_view url);
/* |path| with %HH undone and . and .. segments taken out, into |out| of as many
 * bytes; its new length. */
uint32_t mb__http_normalise(struct mb_view path, uint8_t *out);

#endif
