/* SPDX-License-Identifier: BSD-3-Clause */
/* expr -- what the parser of expressions writes and the machine runs
 *
 *   proto == tcp and (port in {80, 8000-8100} or not midstream)
 *
 *      0  num    proto        in [6]
 *      1  unless         ---> 7
 *      2  num    port a       in [80] [8000-8100]
 *      3  if             ---> 5            the port of either end
 *      4  num    port b       in [80] [8000-8100]
 *      5  if             ---> 7 ...
 *
 * One truth value is all the state there is. Tests set it, jumps look at it and
 * go forward only: a run takes at most as many steps as there are instructions.
 */
#ifndef MB_MATCH_EXPR_H
#define MB_MATCH_EXPR_H

#include "match/filter.h"
#include "mosbox.h"

/* What kind of value a field has: which operators and constants fit. */
enum mb__kind {
    MB__KIND_COUNT,  /* a number */
    MB__KIND_SIZE,   /* bytes: 1500, 10KB, 2MiB */
    MB__KIND_TIME,   /* ns: 3ms, 1.5s */
    MB__KIND_BOOL,
    MB__KIND_PROTO,  /* IP protocol: number or name */
    MB__KIND_STATE,  /* enum mb_tcp_state */
    MB__KIND_APP,    /* enum mb_app_proto */
    MB__KIND_SIDE,   /* enum mb_side */
    MB__KIND_REASON, /* enum mb_anomaly or mb_end_reason, by the event */
    MB__KIND_FLAGS,  /* MB_TCP_ bits */
    MB__KIND_ADDR,
    MB__KIND_BYTES
};

/* Whose value of a field is meant. */
enum { MB__OF_CLIENT = MB_CLIENT, MB__OF_SERVER = MB_SERVER, MB__OF_ALL = 2 };

enum mb__field_id {
    MB__F_IP, MB__F_PORT, MB__F_PACKETS, MB__F_BYTES, MB__F_STATE, MB__F_RETRANSMITS, MB__F_OUT_OF_ORDER,
    MB__F_MISSED, MB__F_GAPS, MB__F_MSS,
    MB__F_PROTO, MB__F_VERSION, MB__F_VLAN, MB__F_TUNNEL, MB__F_DURATION, MB__F_RTT, MB__F_APP,
    MB__F_MIDSTREAM, MB__F_ANSWERED, MB__F_ALERTED, MB__F_ANOMALIES,
    MB__F_SIDE, MB__F_LEN, MB__F_OFFSET, MB__F_OLD_STATE, MB__F_NEW_STATE, MB__F_REASON, MB__F_CONFLICT,
    MB__F_DATA,
    MB__F_SRC_IP, MB__F_DST_IP, MB__F_SRC_PORT, MB__F_DST_PORT, MB__F_TTL, MB__F_TOS, MB__F_TCP_FLAGS,
    MB__F_TCP_WINDOW, MB__F_ICMP_TYPE, MB__F_ICMP_CODE, MB__F_PAYLOAD_LEN, MB__F_FRAME_LEN, MB__F_PAYLOAD
};

struct mb__field {
    const char *name;
    enum mb__field_id id;
    enum mb__kind kind;
    bool of_side;    /* client.NAME and server.NAME exist */
    bool of_all;     /* NAME alone exists */
    uint64_t events; /* bits of the base events that have it; 0: all */
};

/* The field called |name|, |len| bytes, and of whom. NULL: there is none. */
const struct mb__field *mb__field_find(const char *name, size_t len, int *of);
/* Values in the context |ev|; false if there is none there. */
bool mb__field_number(const struct mb_event *ev, int id, int of, uint64_t *value);
bool mb__field_addr(const struct mb_event *ev, int id, int of, struct mb_addr *value);
bool mb__field_bytes(const struct mb_event *ev, int id, struct mb_view *value);

enum mb__expr_op {
    MB__OP_NUMBER,   /* the field is in one of |count| ranges from |first| */
    MB__OP_ADDR,     /* the same for addresses */
    MB__OP_FLAGS,    /* the field has all bits of the low end of range |first| */
    MB__OP_CONTAINS, /* the bytes of the field have string |first| in them */
    MB__OP_MATCHES,  /* they match regular expression |first| */
    MB__OP_NOT,
    MB__OP_IF,       /* go to |first| if true */
    MB__OP_UNLESS    /* go to |first| if false */
};

struct mb__expr_step {
    uint8_t op;    /* enum mb__expr_op */
    uint8_t field; /* enum mb__field_id */
    uint8_t of;
    uint8_t other; /* true for values that are there and do not fit: "!=" */
    uint32_t first;
    uint32_t count;
};

struct mb__range {
    uint64_t low;
    uint64_t high;
};

struct mb__addr_range {
    struct mb_addr low;
    struct mb_addr high;
};

struct mb__literal {
    size_t at; /* in |bytes| */
    size_t len;
};

struct mb__regex;

struct mb__expr {
    struct mb__expr_step *steps;
    struct mb__range *ranges;
    struct mb__addr_range *addrs;
    struct mb__literal *literals;
    struct mb__regex **regexes;
    uint8_t *bytes;
    size_t step_count, range_count, addr_count, literal_count, regex_count, byte_count;
    size_t step_room, range_room, addr_room, literal_room, regex_room, byte_room;
};

/* regex.c: a regular expression of PCRE2, bounded in what a match may cost.
 * NULL, and a sentence and where in the pattern, if it does not compile. */
struct mb__regex *mb__regex_new(const uint8_t *pattern, size_t len, char *err, size_t *where);
bool mb__regex_match(const struct mb__regex *r, const uint8_t *data, size_t len);
void mb__regex_free(struct mb__regex *r);

#endif
