/* SPDX-License-Identifier: BSD-3-Clause */
/* rules -- programs loaded and checked, and the banks of patterns that find them
 *
 *   programs --> rules[] in order of evaluation
 *                  |  the fast pattern of each
 *                  v
 *   banks: one Hyperscan database for each place where patterns are looked for
 *     stream to server, stream to client, TCP packets, UDP packets, ...,
 *     http.uri, http.header, tls.sni, ...           hit --> numbers of rules
 *
 *   lists: rules without a fast pattern, by when they are looked at
 */
#ifndef MB_DETECT_RULES_H
#define MB_DETECT_RULES_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <hs/hs.h>
#include <pcre2.h>

#include "detect/ip_index.h"
#include "mosbox.h"

#define MB__MAX_BUFFERS 512      /* buffers with different transforms */
#define MB__MAX_TRANSFORMS 8     /* of one buffer */
#define MB__MAX_RULES 1000000
#define MB__PATTERN_MAX 1024     /* bytes of the longest content */

/* Where patterns are looked for: places in a packet's life, then buffers, each
 * in the two directions. */
enum mb__bank_kind {
    MB__BANK_STREAM,      /* bytes of a TCP stream */
    MB__BANK_TCP,         /* each TCP segment's payload */
    MB__BANK_TCP_LOOSE,   /* TCP payload that is part of no stream */
    MB__BANK_UDP,
    MB__BANK_OTHER,
    MB__BANK_BUFFERS      /* the rest: + number of the buffer */
};

struct mb__ids {
    uint32_t *id;
    uint32_t count;
    uint32_t room;
};

/* One database: pattern number p finds the rules ids[first[p] .. first[p + 1]). */
struct mb__bank {
    hs_database_t *db;      /* NULL: no patterns */
    uint32_t *first;
    uint32_t *ids;
    uint32_t patterns;
    uint32_t longest;       /* pattern, bytes */
};

/* A loaded rule. */
struct mb__rule {
    struct mb_rule_head *head;     /* the program; the rest points into it */
    const struct mb_rule_inspect *inspect;
    struct mb_rule_op *op;
    const uint8_t *bytes;
    pcre2_code **pcre;             /* by operation; NULL: has none */
    uint16_t before;               /* operations on packet and flow come first */
    uint16_t after;                /* first operation to be done after a match */
    uint16_t fast;                 /* operation of the fast pattern; UINT16_MAX: none */
    uint16_t fast_inspect;         /* inspection it is in */
    bool remembers;                /* inspections may be answered at different times */
    bool payload;                  /* one inspection is of the payload */
    bool single;                   /* nothing but one content is inspected */
};

struct mb__set {
    void *pairs;
    uint32_t count;
};

struct mb__buffer {
    uint8_t base;       /* enum mb_buffer */
    uint8_t transforms;
    uint8_t transform[MB__MAX_TRANSFORMS];
};

struct mb_rules {
    struct mb__rule *rule;
    uint32_t count;
    uint32_t room;
    struct mb__set *addresses;  /* number n is at n - 1 */
    uint32_t address_sets;
    struct mb__set *ports;
    uint32_t port_sets;
    struct mb__buffer buffer[MB__MAX_BUFFERS];
    uint32_t buffers;
    bool uses[MB_BUF_COUNT];    /* some rule looks at the buffer, transformed or not */
    bool built;

    struct mb__bank (*bank)[2]; /* [kind or MB__BANK_BUFFERS + buffer][enum mb_side] */
    uint32_t banks;
    struct mb__ids decode;      /* DECODE rules */
    struct mb__ids ip_only;     /* IPONLY rules about wide parts of the address space */
    struct mb__ip_index ip_src; /* IPONLY rules by source */
    struct mb__ip_index ip_dst; /* IPONLY rules by destination */
    struct mb__ids proto;       /* PROTO rules */
    struct mb__ids tcp;         /* PACKET, STREAM and APP rules without a fast pattern */
    struct mb__ids udp;
    struct mb__ids other;
    struct mb__ids tx[MB_APP_SSH + 1]; /* TX rules without a fast pattern, by application */
    bool uses_app;              /* some rule needs parsers */
    bool uses_stream;           /* some rule needs stream bytes */
    bool uses_events;           /* some rule asks for decoder events */
};

/* Builds all banks and lists of |r|. 0 or < 0. */
int mb__banks_build(struct mb_rules *r, char *err);
void mb__banks_free(struct mb_rules *r);
/* Appends to a list of rules. 0 or MB_ENOMEM. */
int mb__ids_add(struct mb__ids *ids, uint32_t id);

/* Whether |a| is in address set |set| (0: any). */
bool mb__in_addresses(const struct mb_rules *r, uint32_t set, const struct mb_addr *a);
/* Whether |port| is in port set |set| (0: any). */
bool mb__in_ports(const struct mb_rules *r, uint32_t set, uint16_t port);

/* The bytes an operation refers to. */
static inline const uint8_t *mb__op_data(const struct mb__rule *r, const struct mb_rule_op *op)
{
    return r->bytes + op->data;
}

#endif
