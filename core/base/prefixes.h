/* SPDX-License-Identifier: BSD-3-Clause */
/* prefixes -- a number for each host: that of the longest prefix its address is in
 *
 *   10.1.2.3/32 -> 7
 *   10.1.0.0/16 -> 4      10.1.2.3 has 7, 10.1.9.9 has 4, 10.2.0.1 has 5
 *   10.0.0.0/8  -> 5      any other host: |otherwise|
 *
 * Looked through from the longest prefix on: it is asked for odd packets only.
 */
#ifndef MB_BASE_PREFIXES_H
#define MB_BASE_PREFIXES_H

#include "mosbox.h"

struct mb__prefix {
    struct mb_addr addr;
    uint8_t bits; /* of 128 */
    uint8_t value;
};

struct mb__prefixes {
    struct mb__prefix *list; /* longest prefix first */
    uint32_t count;
    uint8_t otherwise;       /* the number of hosts in no prefix */
};

/* Hosts that share the first |bits| (of 32 for IPv4, of 128 for IPv6) with |addr|
 * have |value|. 0, MB_EINVAL, MB_ELIMIT (4096 prefixes) or MB_ENOMEM. */
int mb__prefixes_add(struct mb__prefixes *t, const struct mb_addr *addr, unsigned bits, uint8_t value);
void mb__prefixes_fini(struct mb__prefixes *t);
uint8_t mb__prefixes_of(const struct mb__prefixes *t, const struct mb_addr *addr);

#endif
