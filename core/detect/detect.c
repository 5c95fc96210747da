/* SPDX-License-Identifier: BSD-3-Clause */
/* detect -- rules applied to the packets, streams and transactions of an engine */

#include "mosbox.h"

struct mb_rules *mb_rules_new(void) { return NULL; }
void mb_rules_free(struct mb_rules *r) { (void)r; }
int mb_rules_addresses(struct mb_rules *r, const struct mb_addr *pairs, size_t count) { return MB_ENOTSUP; }
int mb_rules_ports(struct mb_rules *r, const uint16_t *pairs, size_t count) { return MB_ENOTSUP; }
int mb_rules_buffer(struct mb_rules *r, int base, const uint8_t *t, size_t count) { return MB_ENOTSUP; }
int mb_rules_add(struct mb_rules *r, const void *program, size_t len, char *err) { return MB_ENOTSUP; }
int mb_rules_build(struct mb_rules *r, char *err) { return MB_ENOTSUP; }
int mb_decode_event_number(const char *name) { return MB_ENOTSUP; }
void mb_detect_config_init(struct mb_detect_config *c) { }
struct mb_detect *mb_detect_new(struct mb_engine *e, const struct mb_rules *r, const struct mb_detect_config *c, char *err) { return NULL; }
void mb_detect_output(struct mb_detect *d, struct mb_output *eve, struct mb_output *fast) { }
void mb_detect_stats(const struct mb_detect *d, struct mb_detect_stats *stats) { }
