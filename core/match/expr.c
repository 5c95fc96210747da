/* SPDX-License-Identifier: BSD-3-Clause */
/* expr -- parses expressions into steps
 *
 * Tests are written as they are read. Operators wait on a stack of fixed depth
 * until one that binds less follows: "and" and "or" have written a jump by
 * then, whose target is known when they leave the stack. So there is no
 * recursion, and code comes out in one pass.
 */
#include "match/expr.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"

#define MAX_TEXT 16384 /* bytes of an expression */
#define MAX_DEPTH 64   /* operators and parentheses that wait */
#define MAX_FOUND 24   /* bytes of the text shown in a message */
#define MAX_FRACTION 9 /* digits behind the point */

/* What waits on the stack, in the order of how much it binds. */
enum waiting { PARENTHESIS, OR, AND, NOT };

enum compare { EQ, NE, LT, LE, GT, GE, IN, CONTAINS, MATCHES };

struct parser {
    const char *text;
    const char *at;
    struct mb__expr *x;
    uint32_t base; /* built-in event it is for */
    char *err;
    int depth;
    struct {
        enum waiting what;
        size_t jump;    /* step of "and" and "or" whose target is to come */
        const char *at; /* where it is written */
    } stack[MAX_DEPTH];
};

/* One test being parsed. */
struct test {
    const struct mb__field *field;
    const char *name; /* as written */
    int name_len;
    int of;
    enum compare op;
    bool other;
};

/* ---- messages ---- */

__attribute__((format(printf, 3, 4))) static int fail(const struct parser *p, const char *at, const char *format, ...)
{
    if (p->err == NULL)
        return MB_ESYNTAX;
    int n = snprintf(p->err, MB_ERRBUF_SIZE, "column %zu: ", (size_t)(at - p->text) + 1);
    va_list args;
    va_start(args, format);
    vsnprintf(p->err + n, MB_ERRBUF_SIZE - (size_t)n, format, args);
    va_end(args);
    return MB_ESYNTAX;
}

static bool word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* What stands at |at|, for messages. */
static void show(const char *at, char found[static MAX_FOUND + 3])
{
    size_t n = 0;
    if (*at == 0) {
        strcpy(found, "the end");
        return;
    }
    found[n++] = '\'';
    do {
        found[n++] = isprint((unsigned char)*at) ? *at : '?';
        at++;
    } while (n < MAX_FOUND && word_char(at[-1]) && word_char(*at));
    found[n++] = '\'';
    found[n] = 0;
}

/* "expected WHAT, found ..." at the place where the parser is. */
static int expected(const struct parser *p, const char *what)
{
    char found[MAX_FOUND + 3];
    show(p->at, found);
    return fail(p, p->at, "expected %s, found %s", what, found);
}

static int no_memory(const struct parser *p)
{
    if (p->err != NULL)
        snprintf(p->err, MB_ERRBUF_SIZE, "%s", mb_error_text(MB_ENOMEM));
    return MB_ENOMEM;
}

/* ---- words ---- */

static void skip_space(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')
        p->at++;
}

/* Takes |symbol|, and a word only if it is whole. */
static bool take(struct parser *p, const char *symbol)
{
    skip_space(p);
    size_t n = strlen(symbol);
    if (strncmp(p->at, symbol, n) != 0 || (word_char(*symbol) && word_char(p->at[n])))
        return false;
    p->at += n;
    return true;
}

static int take_word(struct parser *p)
{
    int n = 0;
    while (word_char(p->at[n]))
        n++;
    p->at += n;
    return n;
}

/* ---- steps and constants ---- */

static int put(struct parser *p, struct mb__expr_step step)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->steps, &x->step_room, x->step_count + 1, sizeof step) < 0)
        return no_memory(p);
    x->steps[x->step_count++] = step;
    return 0;
}

static int put_range(struct parser *p, uint64_t low, uint64_t high)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->ranges, &x->range_room, x->range_count + 1, sizeof *x->ranges) < 0)
        return no_memory(p);
    x->ranges[x->range_count++] = (struct mb__range){low, high};
    return 0;
}

static int put_addrs(struct parser *p, const struct mb_addr *low, const struct mb_addr *high)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->addrs, &x->addr_room, x->addr_count + 1, sizeof *x->addrs) < 0)
        return no_memory(p);
    x->addrs[x->addr_count++] = (struct mb__addr_range){*low, *high};
    return 0;
}

static int put_byte(struct parser *p, uint8_t byte)
{
    struct mb__expr *x = p->x;
    if (mb__array_room(&x->bytes, &x->byte_room, x->byte_count + 1, 1) < 0)
        return no_memory(p);
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

static bool read_digits(struct parser *p, unsigned radix, uint64_t *value)
{
    *value = 0;
    for (; digit_of(*p->at) < (int)radix; p->at++)
        if (__builtin_mul_overflow(*value, radix, value) ||
            __builtin_add_overflow(*value, (uint64_t)digit_of(*p->at), value))
            return false;
    return true;
}

/* Reads the unit behind |whole| and |fraction| / |scale|. */
static int read_unit(struct parser *p, const struct unit *units, uint64_t whole, uint64_t fraction, uint64_t scale,
                     uint64_t *value)
{
    const char *start = p->at;
    int n = take_word(p);
    for (const struct unit *u = units; u->name != NULL; u++) {
        if ((int)strlen(u->name) != n || memcmp(u->name, start, (size_t)n) != 0)
            continue;
        uint64_t part = scale <= u->factor ? fraction * (u->factor / scale) : fraction / (scale / u->factor);
        if (__builtin_mul_overflow(whole, u->factor, value) || __builtin_add_overflow(*value, part, value))
            return fail(p, start, "the number is too large");
        return 0;
    }
    p->at = start;
    return expected(p, units == time_units ? "a unit of time (ns, us, ms, s, m, h, d)"
                                           : "a unit of size (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)");
}

/* Reads a number: decimal or 0x; sizes and times with fraction and unit. */
static int read_number(struct parser *p, enum mb__kind kind, uint64_t *value)
{
    const char *start = p->at;
    if (!isdigit((unsigned char)*start))
        return expected(p, "a number");
    bool hex = start[0] == '0' && (start[1] == 'x' || start[1] == 'X');
    p->at += hex ? 2 : 0;
    if (hex && digit_of(*p->at) == 16)
        return expected(p, "a hexadecimal digit");
    if (!read_digits(p, hex ? 16 : 10, value))
        return fail(p, start, "the number is too large");
    bool units = !hex && (kind == MB__KIND_SIZE || kind == MB__KIND_TIME);
    uint64_t fraction = 0, scale = 1;
    if (units && *p->at == '.' && isdigit((unsigned char)p->at[1])) {
        const char *point = p->at++;
        if (!read_digits(p, 10, &fraction) || p->at - point > MAX_FRACTION + 1)
            return fail(p, point, "there are more than %d digits behind the point", MAX_FRACTION);
        for (const char *c = point + 1; c < p->at; c++)
            scale *= 10;
    }
    bool bare = !word_char(*p->at) && scale == 1 && (kind != MB__KIND_TIME || *value == 0);
    if (units && !bare)
        return read_unit(p, kind == MB__KIND_TIME ? time_units : size_units, *value, fraction, scale, value);
    return word_char(*p->at) || scale != 1 ? expected(p, "the end of the number") : 0;
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
static bool find_name(const struct parser *p, enum mb__kind kind, const char *word, int n, uint64_t *value)
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

static const char *kind_words(const struct parser *p, enum mb__kind kind)
{
    switch (kind) {
    case MB__KIND_PROTO: return "a protocol (tcp, udp, icmp, ... or a number)";
    case MB__KIND_SIDE: return "client or server";
    case MB__KIND_BOOL: return "true or false";
    case MB__KIND_FLAGS: return "TCP flags (syn, syn|ack, ... or a number)";
    case MB__KIND_STATE: return "a TCP state (ESTABLISHED, CLOSE_WAIT, ...)";
    case MB__KIND_APP: return "an application protocol (http, tls, dns, ssh, failed, unknown)";
    default: return p->base == MB_EV_FLOW_END ? "an end reason (fin, rst, timeout, ...)" : "an anomaly (tcp_paws, ...)";
    }
}

static int read_name(struct parser *p, enum mb__kind kind, uint64_t *value)
{
    const char *start = p->at;
    int n = take_word(p);
    if (n > 0 && find_name(p, kind, start, n, value))
        return 0;
    p->at = start;
    return expected(p, kind_words(p, kind));
}

/* Flags are joined: syn|ack. */
static int read_flags(struct parser *p, uint64_t *value)
{
    uint64_t flag;
    *value = 0;
    do {
        skip_space(p);
        if (read_name(p, MB__KIND_FLAGS, &flag) < 0)
            return MB_ESYNTAX;
        *value |= flag;
        skip_space(p);
    } while (p->at[0] == '|' && p->at[1] != '|' && *p->at++ != 0);
    return 0;
}

/* One constant of a kind that is held as a number. */
static int read_value(struct parser *p, enum mb__kind kind, uint64_t *value)
{
    skip_space(p);
    bool plain = kind == MB__KIND_COUNT || kind == MB__KIND_SIZE || kind == MB__KIND_TIME;
    bool digits = isdigit((unsigned char)*p->at) && (kind == MB__KIND_PROTO || kind == MB__KIND_FLAGS);
    if (plain || digits)
        return read_number(p, kind, value);
    return kind == MB__KIND_FLAGS ? read_flags(p, value) : read_name(p, kind, value);
}

/* ---- addresses ---- */

static int read_addr(struct parser *p, struct mb_addr *addr)
{
    char text[MB_ADDR_TEXT];
    skip_space(p);
    const char *start = p->at;
    size_t n = 0;
    while (isxdigit((unsigned char)p->at[n]) || p->at[n] == ':' || p->at[n] == '.')
        n++;
    if (n == 0 || n >= sizeof text)
        return expected(p, "an address");
    memcpy(text, start, n);
    text[n] = 0;
    if (mb_addr_parse(text, addr) < 0)
        return fail(p, start, "'%s' is no address", text);
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
static int read_addr_range(struct parser *p, bool in)
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
            return fail(p, sign + 1, "the prefix length is above %u", most);
        prefix_range(&low, (unsigned)bits + 128 - most, &low, &high);
    } else if (in && *sign == '-') {
        p->at++;
        err = read_addr(p, &high);
        if (err < 0)
            return err;
        if (memcmp(&low, &high, sizeof low) > 0)
            return fail(p, sign, "the range ends before it begins");
    } else if (*sign == '/') {
        return fail(p, sign, "a prefix goes with 'in', not with '==' or '!='");
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
static int read_escape(struct parser *p, uint8_t *byte)
{
    static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
    char c = *p->at++;
    const char *known = c != 0 ? strchr(from, c) : NULL;
    if (known != NULL) {
        *byte = (uint8_t)to[known - from];
        return 0;
    }
    if (c != 'x' || !hex_byte(p->at, byte))
        return fail(p, p->at - 2, "expected one of the escapes \\n \\r \\t \\0 \\\\ \\\" \\xHH");
    p->at += 2;
    return 0;
}

/* Reads a string in quotes to the end of x->bytes. A pattern keeps its
 * escapes, they are the regular expression's. */
static int read_string(struct parser *p, bool pattern)
{
    skip_space(p);
    const char *start = p->at;
    if (*start != '"')
        return expected(p, "a string in double quotes");
    for (p->at++; *p->at != '"';) {
        uint8_t byte = (uint8_t)*p->at;
        int err = 0;
        if (byte == 0)
            return fail(p, start, "the string has no end");
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

static int read_literal(struct parser *p)
{
    struct mb__expr *x = p->x;
    size_t at = x->byte_count;
    skip_space(p);
    const char *start = p->at;
    int err = read_string(p, false);
    if (err < 0)
        return err;
    if (x->byte_count == at)
        return fail(p, start, "an empty string is in everything");
    if (mb__array_room(&x->literals, &x->literal_room, x->literal_count + 1, sizeof *x->literals) < 0)
        return no_memory(p);
    x->literals[x->literal_count++] = (struct mb__literal){at, x->byte_count - at};
    return 0;
}

static int read_regex(struct parser *p)
{
    struct mb__expr *x = p->x;
    size_t at = x->byte_count, where;
    char why[MB_ERRBUF_SIZE / 2] = "";
    skip_space(p);
    const char *start = p->at;
    if (mb__array_room(&x->regexes, &x->regex_room, x->regex_count + 1, sizeof *x->regexes) < 0)
        return no_memory(p);
    int err = read_string(p, true);
    if (err < 0)
        return err;
    const uint8_t *pattern = x->bytes != NULL ? x->bytes + at : (const uint8_t *)"";
    struct mb__regex *r = mb__regex_new(pattern, x->byte_count - at, why, &where);
    x->byte_count = at; /* the pattern is not needed any more */
    if (r == NULL)
        return fail(p, start, "regular expression: %s, at its byte %zu", why, where + 1);
    x->regexes[x->regex_count++] = r;
    return 0;
}

/* ---- tests ---- */

static bool op_fits(enum mb__kind kind, enum compare op)
{
    switch (op) {
    case EQ:
    case NE:
        return kind != MB__KIND_BYTES;
    case IN:
        return kind != MB__KIND_BYTES && kind != MB__KIND_BOOL;
    case CONTAINS:
        return kind == MB__KIND_BYTES || kind == MB__KIND_FLAGS;
    case MATCHES:
        return kind == MB__KIND_BYTES;
    default:
        return kind == MB__KIND_COUNT || kind == MB__KIND_SIZE || kind == MB__KIND_TIME;
    }
}

static const char *ops_of(enum mb__kind kind)
{
    switch (kind) {
    case MB__KIND_COUNT:
    case MB__KIND_SIZE:
    case MB__KIND_TIME: return "== != < <= > >= or in";
    case MB__KIND_BOOL: return "== or !=";
    case MB__KIND_FLAGS: return "== != in or contains";
    case MB__KIND_BYTES: return "contains or matches";
    default: return "== != or in";
    }
}

static bool take_compare(struct parser *p, enum compare *op)
{
    static const struct {
        const char *symbol;
        enum compare op;
    } ops[] = {{"==", EQ}, {"!=", NE}, {"<=", LE}, {"<", LT}, {">=", GE}, {">", GT},
               {"in", IN}, {"contains", CONTAINS}, {"matches", MATCHES}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (take(p, ops[i].symbol)) {
            *op = ops[i].op;
            return true;
        }
    }
    return false;
}

static int read_compare(struct parser *p, struct test *t)
{
    skip_space(p);
    const char *start = p->at;
    t->other = take(p, "not");
    skip_space(p);
    if (take_compare(p, &t->op) && op_fits(t->field->kind, t->op) && !(t->other && t->op < IN)) {
        t->other |= t->op == NE;
        return 0;
    }
    char found[MAX_FOUND + 3], words[64];
    show(start, found);
    snprintf(words, sizeof words, "%s", ops_of(t->field->kind));
    return fail(p, start, "expected %s after %.*s, found %s", words, t->name_len, t->name, found);
}

/* Ranges of one comparison with |v|; low above high: nothing fits. */
static int put_compared(struct parser *p, enum compare op, uint64_t v)
{
    switch (op) {
    case LT: return v == 0 ? put_range(p, 1, 0) : put_range(p, 0, v - 1);
    case LE: return put_range(p, 0, v);
    case GT: return v == UINT64_MAX ? put_range(p, 1, 0) : put_range(p, v + 1, UINT64_MAX);
    case GE: return put_range(p, v, UINT64_MAX);
    default: return put_range(p, v, v);
    }
}

/* One element behind "in", or the one value behind another operator. */
static int read_element(struct parser *p, const struct test *t)
{
    enum mb__kind kind = t->field->kind;
    uint64_t low, high;
    if (kind == MB__KIND_ADDR)
        return read_addr_range(p, t->op == IN);
    int err = read_value(p, kind, &low);
    if (err < 0 || t->op != IN)
        return err < 0 ? err : put_compared(p, t->op, low);
    high = low;
    const char *sign = p->at;
    if (op_fits(kind, LT) && take(p, "-")) {
        err = read_value(p, kind, &high);
        if (err < 0)
            return err;
        if (high < low)
            return fail(p, sign, "the range ends before it begins");
    }
    return put_range(p, low, high);
}

static int read_elements(struct parser *p, const struct test *t)
{
    if (t->op != IN || !take(p, "{"))
        return read_element(p, t);
    do {
        int err = read_element(p, t);
        if (err < 0)
            return err;
    } while (take(p, ","));
    return take(p, "}") ? 0 : expected(p, "',' or '}'");
}

/* Reads the constants of |t| and says in |step| which they are. */
static int read_constants(struct parser *p, const struct test *t, struct mb__expr_step *step)
{
    const struct mb__expr *x = p->x;
    bool addr = t->field->kind == MB__KIND_ADDR;
    if (t->op == MATCHES || (t->op == CONTAINS && t->field->kind == MB__KIND_BYTES)) {
        step->op = t->op == MATCHES ? MB__OP_MATCHES : MB__OP_CONTAINS;
        step->first = (uint32_t)(t->op == MATCHES ? x->regex_count : x->literal_count);
        return t->op == MATCHES ? read_regex(p) : read_literal(p);
    }
    size_t first = addr ? x->addr_count : x->range_count;
    int err = read_elements(p, t);
    step->op = addr ? MB__OP_ADDR : t->op == CONTAINS ? MB__OP_FLAGS : MB__OP_NUMBER;
    step->first = (uint32_t)first;
    step->count = (uint32_t)((addr ? x->addr_count : x->range_count) - first);
    return err;
}

/* Writes the test; "ip" and "port" alone mean that of either end: one of them
 * fits, or, negated, none does. */
static int put_test(struct parser *p, const struct test *t, struct mb__expr_step step)
{
    bool either = t->of == MB__OF_ALL && (t->field->id == MB__F_IP || t->field->id == MB__F_PORT);
    step.field = (uint8_t)t->field->id;
    step.of = (uint8_t)(either ? MB__OF_CLIENT : t->of);
    step.other = t->other;
    int err = put(p, step);
    if (err < 0 || !either)
        return err;
    size_t jump = p->x->step_count;
    struct mb__expr_step skip = {.op = t->other ? MB__OP_UNLESS : MB__OP_IF, .first = (uint32_t)jump + 2};
    step.of = MB__OF_SERVER;
    err = put(p, skip);
    return err < 0 ? err : put(p, step);
}

/* Finds the field at hand and whether the event has it. */
static int read_field(struct parser *p, struct test *t)
{
    t->name = p->at;
    if (!isalpha((unsigned char)*p->at))
        return expected(p, "a field, 'not' or '('");
    t->name_len = take_word(p);
    t->field = mb__field_find(t->name, (size_t)t->name_len, &t->of);
    if (t->field == NULL)
        return fail(p, t->name, "there is no field '%.*s'", t->name_len > 64 ? 64 : t->name_len, t->name);
    if (t->field->events != 0 && !(t->field->events >> p->base & 1))
        return fail(p, t->name, "%s events have no '%.*s'", mb_event_name((int)p->base), t->name_len, t->name);
    return 0;
}

static int read_test(struct parser *p)
{
    struct test t = {.op = EQ};
    struct mb__expr_step step = {0};
    int err = read_field(p, &t);
    if (err < 0)
        return err;
    skip_space(p);
    bool bare = t.field->kind == MB__KIND_BOOL && strncmp(p->at, "==", 2) != 0 && strncmp(p->at, "!=", 2) != 0;
    if (bare) {
        step.op = MB__OP_NUMBER;
        step.first = (uint32_t)p->x->range_count;
        step.count = 1;
        err = put_range(p, 1, 1);
    } else {
        err = read_compare(p, &t);
        if (err == 0)
            err = read_constants(p, &t, &step);
    }
    return err < 0 ? err : put_test(p, &t, step);
}

/* ---- operators ---- */

static int push(struct parser *p, enum waiting what, const char *at)
{
    if (p->depth == MAX_DEPTH)
        return fail(p, at, "more than %d operators and parentheses in one another", MAX_DEPTH);
    p->stack[p->depth].what = what;
    p->stack[p->depth].jump = p->x->step_count;
    p->stack[p->depth++].at = at;
    if (what != AND && what != OR)
        return 0;
    return put(p, (struct mb__expr_step){.op = what == AND ? MB__OP_UNLESS : MB__OP_IF});
}

/* Takes from the stack what binds at least as much as |what|. */
static int pop(struct parser *p, enum waiting what)
{
    while (p->depth > 0 && p->stack[p->depth - 1].what >= what && p->stack[p->depth - 1].what != PARENTHESIS) {
        p->depth--;
        int err = 0;
        if (p->stack[p->depth].what == NOT)
            err = put(p, (struct mb__expr_step){.op = MB__OP_NOT});
        else
            p->x->steps[p->stack[p->depth].jump].first = (uint32_t)p->x->step_count;
        if (err < 0)
            return err;
    }
    return 0;
}

/* What may begin a test: any of "not" and "(", then the test. */
static int read_operand(struct parser *p)
{
    for (;;) {
        skip_space(p);
        const char *at = p->at;
        int err;
        if (take(p, "(")) {
            err = push(p, PARENTHESIS, at);
        } else if (take(p, "!") || take(p, "not")) {
            err = push(p, NOT, at);
        } else {
            return read_test(p);
        }
        if (err < 0)
            return err;
    }
}

static int close_parenthesis(struct parser *p, const char *at)
{
    int err = pop(p, OR);
    if (err < 0)
        return err;
    if (p->depth == 0)
        return fail(p, at, "')' without '('");
    p->depth--;
    return 0;
}

/* What may follow a test: any ")", then an operator (1) or the end (0). */
static int read_operator(struct parser *p)
{
    for (;;) {
        skip_space(p);
        const char *at = p->at;
        int err;
        if (take(p, ")")) {
            err = close_parenthesis(p, at);
            if (err < 0)
                return err;
            continue;
        }
        enum waiting what = take(p, "and") || take(p, "&&") ? AND : take(p, "or") || take(p, "||") ? OR : PARENTHESIS;
        if (what == PARENTHESIS)
            return *p->at == 0 ? 0 : expected(p, "'and', 'or' or the end");
        err = pop(p, what);
        if (err == 0)
            err = push(p, what, at);
        return err < 0 ? err : 1;
    }
}

static int parse(struct parser *p)
{
    int more;
    do {
        more = read_operand(p);
        if (more == 0)
            more = read_operator(p);
    } while (more > 0);
    if (more == 0)
        more = pop(p, OR);
    if (more == 0 && p->depth > 0)
        return fail(p, p->stack[p->depth - 1].at, "'(' without ')'");
    return more;
}

/* ---- the whole ---- */

int mb__expr_new(const char *text, uint32_t base, struct mb__expr **x, char *err)
{
    struct parser p = {.text = text, .at = text, .base = base, .err = err};
    *x = NULL;
    if (strlen(text) > MAX_TEXT)
        return fail(&p, text + MAX_TEXT, "the expression is longer than %d bytes", MAX_TEXT);
    p.x = calloc(1, sizeof *p.x);
    if (p.x == NULL)
        return no_memory(&p);
    int rc = parse(&p);
    if (rc < 0)
        mb__expr_free(p.x);
    else
        *x = p.x;
    return rc;
}

void mb__expr_free(void *expr)
{
    struct mb__expr *x = expr;
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->regex_count; i++)
        mb__regex_free(x->regexes[i]);
    free(x->steps);
    free(x->ranges);
    free(x->addrs);
    free(x->literals);
    free(x->regexes);
    free(x->bytes);
    free(x);
}

static int event_filter(struct mb_event *ev, void *arg)
{
    return mb__expr_match(arg, ev);
}

int mb__event_define_expr(struct mb__events *es, uint32_t parent, const char *expression, char *err)
{
    struct mb__expr *x;
    int base = mb__event_base(es, parent);
    int rc = base < 0 ? base : mb__expr_new(expression, (uint32_t)base, &x, err);
    if (rc == 0)
        rc = mb__event_define_owned(es, parent, event_filter, x, mb__expr_free, expression);
    if (rc < 0 && rc != MB_ESYNTAX && err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(rc));
    return rc;
}
