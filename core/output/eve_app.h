/* SPDX-License-Identifier: BSD-3-Clause */
/* eve_app -- keys, ends and application objects of EVE records
 *
 * All functions append to a record under way: keys bring their own comma.
 */
#ifndef MB_OUTPUT_EVE_APP_H
#define MB_OUTPUT_EVE_APP_H

#include "base/text.h"
#include "detect/detect.h"

/* A value in quotes. */
void mb__eve_text(struct mb__text *t, const char *text);
void mb__eve_view(struct mb__text *t, struct mb_view v);
/* "key":"value", nothing if the value is empty or NULL. */
void mb__eve_field(struct mb__text *t, const char *key, struct mb_view v);
void mb__eve_string(struct mb__text *t, const char *key, const char *text);
void mb__eve_number(struct mb__text *t, const char *key, uint64_t v);

/* Whether records of the protocol have ports. */
bool mb__eve_has_ports(int ip_proto);
/* An address or a protocol without quotes. */
void mb__eve_addr(struct mb__text *t, const struct mb_addr *a);
void mb__eve_proto(struct mb__text *t, int ip_proto);
/* "src_ip":..., "src_port":... for |which| "src". */
void mb__eve_end(struct mb__text *t, const char *which, const struct mb_addr *a, uint16_t port, bool ports);
/* Both ends and the protocol; |kind| is of the rule (enum mb_rule_kind) or -1. */
void mb__eve_ends(struct mb__text *t, const struct mb__look *look, int kind);

/* The keys that all records begin with. */
void mb__eve_head(struct mb__text *t, const char *event_type, const struct mb__alert *a, struct mb__iso_cache *iso);
/* The object "alert". */
void mb__eve_alert(struct mb__text *t, const struct mb__alert *a);
/* The object "verdict", if it is wanted. */
void mb__eve_verdict(struct mb__text *t, const struct mb__alert *a);
/* A whole record that is no alert. */
void mb__eve_record(struct mb__text *t, enum mb__report what, const struct mb__alert *a, struct mb__iso_cache *iso);

/* The objects "http", "tls" and "ssh". */
void mb__eve_http(struct mb__text *t, const struct mb__tx *tx);
void mb__eve_tls(struct mb__text *t, const struct mb__session *s);
void mb__eve_ssh(struct mb__text *t, const struct mb__session *s);
/* "app_proto" and the object of the flow's application, of |from| or of the
 * newest transaction. */
void mb__eve_app(struct mb__text *t, const struct mb__look *look, const struct mb__tx *from);

#endif
