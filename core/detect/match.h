/* SPDX-License-Identifier: BSD-3-Clause */
/* match -- runs the operations of one inspection over bytes
 *
 *   op 0      op 1 (relative)   op 2 (relative)
 *   content --> content ----------> byte_test        yes: all passed
 *     ^            ^                   |
 *     +------------+---- no: the nearest content or pcre before it looks for
 *                        its next place, as long as the failed one depends on it
 *
 * The search is a loop with one small record an operation, so the depth of
 * rules costs no stack; a budget of steps bounds what crafted bytes can cost.
 */
#ifndef MB_DETECT_MATCH_H
#define MB_DETECT_MATCH_H

#include "detect/rules.h"

#define MB__MATCH_STEPS 3000      /* of one inspection */
#define MB__PCRE_MATCH_LIMIT 3500
#define MB__PCRE_DEPTH_LIMIT 1500
#define MB__BASE64_MAX 65535

/* The bytes of an inspection. */
struct mb__bytes {
    const uint8_t *data;
    uint32_t len;
    uint64_t base; /* offset of data[0] in the whole: a stream's bytes before it are gone */
    bool open;     /* more may follow: its end is not known yet */
};

struct mb__matcher {
    pcre2_match_context *context;
    pcre2_match_data *pcre;
    uint8_t *base64;       /* what base64_decode left */
    uint32_t base64_len;
    bool has_base64;
    uint64_t var[MB_RULE_VARS];
    uint64_t pcre_limits;  /* expressions stopped at a limit */
};

/* 0 or MB_ENOMEM. */
int mb__matcher_init(struct mb__matcher *m);
void mb__matcher_fini(struct mb__matcher *m);
/* Forgets variables and base64 of the rule before. */
void mb__matcher_reset(struct mb__matcher *m);
/* Whether all operations of |in| hold over |bytes|. */
bool mb__match(struct mb__matcher *m, const struct mb__rule *rule, const struct mb_rule_inspect *in,
               const struct mb__bytes *bytes);

/* First place at or after |from| of |data| where |op|'s bytes are, wholly
 * before |to|; -1: none. |needle| is in lower case if case is ignored. */
int64_t mb__find(const uint8_t *data, uint32_t from, uint32_t to, const uint8_t *needle, uint32_t len, bool nocase);
/* Decodes base64 up to the first byte that is none of its alphabet, as many
 * whole bytes as there are; how many. |out| has room for 3 / 4 of |len|. */
uint32_t mb__base64_decode(const uint8_t *data, uint32_t len, uint8_t *out);

/* Transforms |in| into |out| of |room| bytes, which must be at least
 * max(len + 1, 32); gives the new length. */
uint32_t mb__transform(int transform, const uint8_t *in, uint32_t len, uint8_t *out);
/* Bytes of room that mb__transform() may need. */
static inline uint32_t mb__transform_room(uint32_t len)
{
    return len + 33;
}

#endif
