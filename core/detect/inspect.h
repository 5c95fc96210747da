/* SPDX-License-Identifier: BSD-3-Clause */
/* inspect -- what the files that choose and try rules share */
#ifndef MB_DETECT_INSPECT_H
#define MB_DETECT_INSPECT_H

#include "detect/detect.h"

/* LATER: something that the rule asks for may still come. */
enum mb__answer { MB__NO, MB__LATER, MB__YES };

/* Where the rules go whose fast pattern is found. */
struct mb__hit {
    struct mb_detect *d;
    const struct mb__bank *bank;
    struct mb__candidates *into; /* NULL: straight to the work list */
    const uint8_t *decided;      /* bits of rules that are settled; NULL: none are */
    uint64_t offset;
};

/* Adds a rule to the work list, for transaction |tx| if it is not NULL. */
void mb__add_work(struct mb_detect *d, uint32_t rule, struct mb__tx *tx);
/* Looks for the fast patterns of bank |kind| in |data| that |side| sent. */
void mb__scan(struct mb__hit *hit, uint32_t kind, int side, const uint8_t *data, uint32_t len);

/* Puts the candidates of all parts that the look's side sent on the work list. */
void mb__collect_transactions(struct mb_detect *d, struct mb__look *look);
/* Tries rule |number|, a candidate of |tx|; settles it unless the answer is LATER. */
enum mb__answer mb__try_transaction(struct mb_detect *d, struct mb__look *look, struct mb__tx *tx, uint32_t number,
                                    bool *in_stream);
/* The round is over: parts that are complete need not be looked at again. */
void mb__settle_transactions(const struct mb__look *look);

#endif
