/* SPDX-License-Identifier: BSD-3-Clause */
/* constant -- numbers, names, addresses and strings of expressions */
#include <string.h>

#include "base/array.h"
#include "match/parse.h"

#define MAX_FRACTION 9 /* digits behind the point */

int mb__put_range(struct mb__parser *p, uint64_t low, uint64_t high)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->ranges, &x->range_room, x->range_count + 1, sizeof *x->ranges) < 0)
        return mb__parse_no_memory(p);
    x->ranges[x->range_count++] = (struct mb__range){low, high};
    return 0;
}

static int put_addrs(struct mb__parser *p, const struct mb_addr *low, const struct mb_addr *high)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->addrs, &x->addr_room, x->addr_count + 1, sizeof *x->addrs) < 0)
        return mb__parse_no_memory(p);
    x->addrs[x->addr_count++] = (struct mb__addr_range){*low, *high};
    return 0;
}

static int put_byte(struct mb__parser *p, uint8_t byte)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->bytes, &x->byte_room, x->byte_count + 1, 1) < 0)
        return mb__parse_no_memory(p);
    x->bytes[x->byte_count++] = byte;
    return 0;
}

/* ---- numbers ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"B", 1},
    {"KB", 1000}, {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"TB", 1000000000000},
    {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40},
    {NULL, 0},
};

static const struct unit time_units[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},
    {"h", 3600000000000}, {"d", 86400000000000}, {NULL, 0},
};

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

static bool read_digits(struct mb__parser *p, unsigned radix, uint64_t *value)
{
    *value = 0;
    for (; digit_of(*p->at) < (int)radix; p->at++)
        if (__builtin_mul_overflow(*value, radix, value) ||
            __builtin_add_overflow(*value, (uint64_t)digit_of(*p->at), value))
            return false;
    return true;
}

/* Reads the unit behind |whole| and |fraction| / |scale|. */
static int read_unit(struct mb__parser *p, const struct unit *units, uint64_t whole, uint64_t fraction,
                     uint64_t scale, uint64_t *value)
{
    const char *start = p->at;
    int n = mb__parse_word(p);
    for (const struct unit *u = units; u->name != NULL; u++) {
        if ((int)strlen(u->name) != n || memcmp(u->name, start, (size_t)n) != 0)
            continue;
        uint64_t part = scale <= u->factor ? fraction * (u->factor / scale) : fraction / (scale / u->factor);
        if (__builtin_mul_overflow(whole, u->factor, value) || __builtin_add_overflow(*value, part, value))
            return mb__parse_fail(p, start, "the number is too large");
        return 0;
    }
    p->at = start;
    return mb__parse_expected(p, units == time_units ? "a unit of time (ns, us, ms, s, m, h, d)"
                                           : "a unit of size (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)");
}

/* Reads a number: decimal or 0x; sizes and times with fraction and unit. */
static int read_number(struct mb__parser *p, enum mb__kind kind, uint64_t *value)
{
    const char *start = p->at;
    if (!isdigit((unsigned char)*start))
        return mb__parse_expected(p, "a number");
    bool hex = start[0] == '0' && (start[1] == 'x' || start[1] == 'X');
    p->at += hex ? 2 : 0;
    if (hex && digit_of(*p->at) == 16)
        return mb__parse_expected(p, "a hexadecimal digit");
    if (!read_digits(p, hex ? 16 : 10, value))
        return mb__parse_fail(p, start, "the number is too large");
    bool units = !hex && (kind == MB__KIND_SIZE || kind == MB__KIND_TIME);
    uint64_t fraction = 0, scale = 1;
    if (units && *p->at == '.' && isdigit((unsigned char)p->at[1])) {
        const char *point = p->at++;
        if (!read_digits(p, 10, &fraction) || p->at - point > MAX_FRACTION + 1)
            return mb__parse_fail(p, point, "there are more than %d digits behind the point", MAX_FRACTION);
        for (const char *c = point + 1; c < p->at; c++)
            scale *= 10;
    }
    bool bare = !mb__word_char(*p->at) && scale == 1 && (kind != MB__KIND_TIME || *value == 0);
    if (units && !bare)
        return read_unit(p, kind == MB__KIND_TIME ? time_units : size_units, *value, fraction, scale, value);
    return mb__word_char(*p->at) || scale != 1 ? mb__parse_expected(p, "the end of the number") : 0;
}

/* ---- names ---- */

struct name {
    const char *name;
    uint64_t value;
};

static const struct name protocols[] = {
    {"icmp", 1}, {"igmp", 2}, {"ipip", 4}, {"tcp", 6}, {"udp", 17}, {"ipv6", 41}, {"gre", 47}, {"esp", 50},
    {"ah", 51}, {"icmp6", 58}, {"ospf", 89}, {"pim", 103}, {"vrrp", 112}, {"l2tp", 115}, {"sctp", 132},
    {"udplite", 136}, {NULL, 0},
};

static const struct name flag_names[] = {
    {"fin", MB_TCP_FIN}, {"syn", MB_TCP_SYN}, {"rst", MB_TCP_RST}, {"psh", MB_TCP_PSH}, {"ack", MB_TCP_ACK},
    {"urg", MB_TCP_URG}, {"ece", MB_TCP_ECE}, {"cwr", MB_TCP_CWR}, {NULL, 0},
};

static const struct name sides[] = {{"client", MB_CLIENT}, {"server", MB_SERVER}, {NULL, 0}};
static const struct name truths[] = {{"false", 0}, {"true", 1}, {NULL, 0}};

/* Without case, whatever the locale says: names have ASCII letters only. */
static bool same_word(const char *name, const char *word, int n)
{
    if ((int)strlen(name) != n)
        return false;
    for (int i = 0; i < n; i++)
        if ((name[i] | 0x20) != (word[i] | 0x20))
            return false;
    return true;
}

static bool in_table(const struct name *table, const char *word, int n, uint64_t *value)
{
    for (; table->name != NULL; table++) {
        if (same_word(table->name, word, n)) {
            *value = table->value;
            return true;
        }
    }
    return false;
}

static bool named(const char *(*name)(int), int count, const char *word, int n, uint64_t *value)
{
    for (int i = 0; i < count; i++) {
        if (same_word(name(i), word, n)) {
            *value = (uint64_t)i;
            return true;
        }
    }
    return false;
}

/* The value of the |n| bytes of |word| as a constant of |kind|. */
static bool find_name(const struct mb__parser *p, enum mb__kind kind, const char *word, int n,
                      uint64_t *value)
{
    switch (kind) {
    case MB__KIND_PROTO:
        return in_table(protocols, word, n, value);
    case MB__KIND_SIDE:
        return in_table(sides, word, n, value);
    case MB__KIND_BOOL:
        return in_table(truths, word, n, value);
    case MB__KIND_FLAGS:
        return in_table(flag_names, word, n, value);
    case MB__KIND_STATE:
        return named(mb_tcp_state_name, MB_TCP_TIME_WAIT + 1, word, n, value);
    case MB__KIND_APP:
        return named(mb_app_proto_name, MB_APP_SSH + 1, word, n, value);
    default:
        return p->base == MB_EV_FLOW_END ? named(mb_end_reason_name, MB_END_SHUTDOWN + 1, word, n, value)
                                         : named(mb_anomaly_name, MB_ANOMALY_COUNT, word, n, value);
    }
}

static const char *kind_words(const struct mb__parser *p, enum mb__kind kind)
{
    switch (kind) {
    case MB__KIND_PROTO: return "a protocol (tcp, udp, icmp, ... or a number)";
    case MB__KIND_SIDE: return "client or server";
    case MB__KIND_BOOL: return "true or false";
    case MB__KIND_FLAGS: return "TCP flags (syn, syn|ack, ... or a number)";
    case MB__KIND_STATE: return "a TCP state (ESTABLISHED, CLOSE_WAIT, ...)";
    case MB__KIND_APP: return "an application protocol (http, tls, dns, ssh, failed, unknown)";
    default: break;
    }
    return p->base == MB_EV_FLOW_END ? "an end reason (fin, rst, timeout, ...)"
                                     : "an anomaly (tcp_paws, l4_sum, ...)";
}

static int read_name(struct mb__parser *p, enum mb__kind kind, uint64_t *value)
{
    const char *start = p->at;
    int n = mb__parse_word(p);
    if (n > 0 && find_name(p, kind, start, n, value))
        return 0;
    p->at = start;
    return mb__parse_expected(p, kind_words(p, kind));
}

/* Flags are joined: syn|ack. */
static int read_flags(struct mb__parser *p, uint64_t *value)
{
    uint64_t flag = 0;
    *value = 0;
    do {
        mb__parse_space(p);
        if (read_name(p, MB__KIND_FLAGS, &flag) < 0)
            return MB_ESYNTAX;
        *value |= flag;
        mb__parse_space(p);
    } while (p->at[0] == '|' && p->at[1] != '|' && *p->at++ != 0);
    return 0;
}

/* One constant of a kind that is held as a number. */
int mb__read_value(struct mb__parser *p, enum mb__kind kind, uint64_t *value)
{
    mb__parse_space(p);
    bool plain = kind == MB__KIND_COUNT || kind == MB__KIND_SIZE || kind == MB__KIND_TIME;
    bool digits = isdigit((unsigned char)*p->at) && (kind == MB__KIND_PROTO || kind == MB__KIND_FLAGS);
    if (plain || digits)
        return read_number(p, kind, value);
    return kind == MB__KIND_FLAGS ? read_flags(p, value) : read_name(p, kind, value);
}

/* ---- addresses ---- */

static int read_addr(struct mb__parser *p, struct mb_addr *addr)
{
    char text[MB_ADDR_TEXT];
    mb__parse_space(p);
    const char *start = p->at;
    size_t n = 0;
    while (isxdigit((unsigned char)p->at[n]) || p->at[n] == ':' || p->at[n] == '.')
        n++;
    if (n == 0 || n >= sizeof text)
        return mb__parse_expected(p, "an address");
    memcpy(text, start, n);
    text[n] = 0;
    if (mb_addr_parse(text, addr) < 0)
        return mb__parse_fail(p, start, "'%s' is no address", text);
    p->at += n;
    return 0;
}

/* The first and last address whose first |bits| bits are those of |addr|. */
static void prefix_range(const struct mb_addr *addr, unsigned bits, struct mb_addr *low, struct mb_addr *high)
{
    *low = *high = *addr;
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = bits > i * 8 ? bits - i * 8 : 0;
        uint8_t host = kept >= 8 ? 0 : (uint8_t)(0xff >> kept);
        low->byte[i] &= (uint8_t)~host;
        high->byte[i] |= host;
    }
}

/* Reads an address; within "in" also a prefix 10.0.0.0/8 or a range a-b. */
int mb__read_addrs(struct mb__parser *p, bool in)
{
    struct mb_addr low, high;
    int err = read_addr(p, &low);
    if (err < 0)
        return err;
    const char *sign = p->at;
    high = low;
    if (in && *sign == '/') {
        uint64_t bits;
        unsigned most = mb_addr_is_v4(&low) ? 32 : 128;
        p->at++;
        err = read_number(p, MB__KIND_COUNT, &bits);
        if (err < 0)
            return err;
        if (bits > most)
            return mb__parse_fail(p, sign + 1, "the prefix length is above %u", most);
        prefix_range(&low, (unsigned)bits + 128 - most, &low, &high);
    } else if (in && *sign == '-') {
        p->at++;
        err = read_addr(p, &high);
        if (err < 0)
            return err;
        if (memcmp(&low, &high, sizeof low) > 0)
            return mb__parse_fail(p, sign, "the range ends before it begins");
    } else if (*sign == '/') {
        return mb__parse_fail(p, sign, "a prefix goes with 'in', not with '==' or '!='");
    }
    return put_addrs(p, &low, &high);
}

/* ---- strings ---- */

static bool hex_byte(const char *at, uint8_t *byte)
{
    int high = digit_of(at[0]), low = high < 16 ? digit_of(at[1]) : 16;
    *byte = (uint8_t)(high << 4 | low);
    return low < 16;
}

/* Reads what follows a backslash; what it means goes to |byte|. */
static int read_escape(struct mb__parser *p, uint8_t *byte)
{
    static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
    char c = *p->at++;
    const char *known = c != 0 ? strchr(from, c) : NULL;
    if (known != NULL) {
        *byte = (uint8_t)to[known - from];
        return 0;
    }
    if (c != 'x' || !hex_byte(p->at, byte))
        return mb__parse_fail(p, p->at - 2, "expected one of the escapes \\n \\r \\t \\0 \\\\ \\\" \\xHH");
    p->at += 2;
    return 0;
}

/* Reads a string in quotes to the end of x->bytes. A pattern keeps its
 * escapes, they are the regular expression's. */
static int read_string(struct mb__parser *p, bool pattern)
{
    mb__parse_space(p);
    const char *start = p->at;
    if (*start != '"')
        return mb__parse_expected(p, "a string in double quotes");
    for (p->at++; *p->at != '"';) {
        uint8_t byte = (uint8_t)*p->at;
        int err = 0;
        if (byte == 0)
            return mb__parse_fail(p, start, "the string has no end");
        p->at++;
        if (byte == '\\' && pattern && *p->at != 0 && *p->at != '"') {
            err = put_byte(p, byte);
            byte = (uint8_t)*p->at++;
        } else if (byte == '\\' && pattern && *p->at == '"') {
            byte = (uint8_t)*p->at++;
        } else if (byte == '\\' && !pattern) {
            err = read_escape(p, &byte);
        }
        if (err < 0 || (err = put_byte(p, byte)) < 0)
            return err;
    }
    p->at++;
    return 0;
}

int mb__read_literal(struct mb__parser *p)
{
    struct mb__expr *x = p->x;
    size_t at = x->byte_count;
    mb__parse_space(p);
    const char *start = p->at;
    int err = read_string(p, false);
    if (err < 0)
        return err;
    if (x->byte_count == at)
        return mb__parse_fail(p, start, "an empty string is in everything");
    if (mb__array_room(&x->literals, &x->literal_room, x->literal_count + 1, sizeof *x->literals) < 0)
        return mb__parse_no_memory(p);
    x->literals[x->literal_count++] = (struct mb__literal){at, x->byte_count - at};
    return 0;
}

int mb__read_regex(struct mb__parser *p)
{
    struct mb__expr *x = p->x;
    size_t at = x->byte_count, where;
    char why[MB_ERRBUF_SIZE / 2] = "";
    mb__parse_space(p);
    const char *start = p->at;
    if (mb__array_room(&x->regexes, &x->regex_room, x->regex_count + 1, sizeof *x->regexes) < 0)
        return mb__parse_no_memory(p);
    int err = read_string(p, true);
    if (err < 0)
        return err;
    const uint8_t *pattern = x->bytes != NULL ? x->bytes + at : (const uint8_t *)"";
    struct mb__regex *r = mb__regex_new(pattern, x->byte_count - at, why, &where);
    x->byte_count = at; /* the pattern is not needed any more */
    if (r == NULL)
        return mb__parse_fail(p, start, "regular expression: %s, at its byte %zu", why, where + 1);
    x->regexes[x->regex_count++] = r;
    return 0;
}
