/* SPDX-License-Identifier: BSD-3-Clause */
/* x509 -- DER as far as a certificate's subject needs it */
#include "proto/x509.h"

#include <string.h>

#include "base/cursor.h"
#include "base/digest.h"

enum {
    DER_INTEGER = 0x02,
    DER_OID = 0x06,
    DER_BMP_STRING = 0x1e,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_VERSION = 0xa0, /* [0], explicit */
};

/* Text so far; what does not fit is left out. */
struct writer {
    char *text;
    size_t used;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    size_t room = MB__X509_TEXT - w->used;
    if (len > room)
        len = room;
    if (len > 0)
        memcpy(w->text + w->used, bytes, len);
    w->used += len;
}

static struct mb_view text_since(const struct writer *w, size_t start)
{
    return (struct mb_view){(const uint8_t *)w->text + start, (uint32_t)(w->used - start)};
}

/* Reads the next element: its tag and content. Definite lengths of at most
 * three bytes; tags of one byte. */
static bool next_element(struct mb__cursor *c, uint8_t *tag, struct mb__cursor *content)
{
    uint8_t first, b;
    size_t len = 0;
    if (!mb__cursor_u8(c, tag) || !mb__cursor_u8(c, &first))
        return false;
    if (first < 0x80)
        return mb__cursor_split(c, first, content);
    if (first == 0x80 || first > 0x83)
        return false;
    for (int i = first & 0x7f; i > 0; i--) {
        if (!mb__cursor_u8(c, &b))
            return false;
        len = len << 8 | b;
    }
    return mb__cursor_split(c, len, content);
}

/* The next element must be of |tag|. */
static bool expect(struct mb__cursor *c, uint8_t tag, struct mb__cursor *content)
{
    uint8_t got;
    return next_element(c, &got, content) && got == tag;
}

/* ---- names --------------------------------------------------------------- */

struct attribute {
    const char *oid; /* content bytes */
    uint8_t oid_len;
    const char *name;
};

/* RFC 4514 3 and the ones certificates use besides. */
static const struct attribute attributes[] = {
    {"\x55\x04\x03", 3, "CN"},
    {"\x55\x04\x04", 3, "SN"},
    {"\x55\x04\x05", 3, "serialNumber"},
    {"\x55\x04\x06", 3, "C"},
    {"\x55\x04\x07", 3, "L"},
    {"\x55\x04\x08", 3, "ST"},
    {"\x55\x04\x09", 3, "street"},
    {"\x55\x04\x0a", 3, "O"},
    {"\x55\x04\x0b", 3, "OU"},
    {"\x55\x04\x0c", 3, "title"},
    {"\x55\x04\x0f", 3, "businessCategory"},
    {"\x55\x04\x11", 3, "postalCode"},
    {"\x55\x04\x2a", 3, "GN"},
    {"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", 10, "DC"},
    {"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", 10, "UID"},
    {"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", 9, "emailAddress"},
};

static void put_number(struct writer *w, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    put(w, digits + n, sizeof digits - n);
}

/* Dotted numbers of an object identifier (X.690 8.19). */
static void put_oid(struct writer *w, struct mb__cursor c)
{
    uint64_t v = 0;
    uint8_t b;
    bool first = true;
    while (mb__cursor_u8(&c, &b)) {
        v = v << 7 | (b & 0x7f);
        if (b & 0x80)
            continue;
        if (first) {
            put_number(w, v < 80 ? v / 40 : 2);
            v = v < 80 ? v % 40 : v - 80;
        }
        put(w, ".", 1);
        put_number(w, v);
        first = false;
        v = 0;
    }
}

static void put_attribute_type(struct writer *w, struct mb__cursor oid)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        const struct attribute *a = &attributes[i];
        if (mb__cursor_left(&oid) == a->oid_len && memcmp(oid.at, a->oid, a->oid_len) == 0) {
            put(w, a->name, strlen(a->name));
            return;
        }
    }
    put_oid(w, oid);
}

/* A BMPString, UTF-16 without surrogates, as UTF-8. */
static void put_bmp(struct writer *w, struct mb__cursor c)
{
    uint16_t u;
    while (mb__cursor_u16(&c, &u)) {
        char b[3] = {(char)(0xe0 | u >> 12), (char)(0x80 | (u >> 6 & 0x3f)), (char)(0x80 | (u & 0x3f))};
        if (u < 0x80) {
            b[0] = (char)u;
            put(w, b, 1);
        } else if (u < 0x800) {
            b[1] = (char)(0xc0 | u >> 6);
            put(w, b + 1, 2);
        } else {
            put(w, b, 3);
        }
    }
}

/* One type and value, "CN=example.org". */
static bool put_attribute(struct writer *w, struct mb__cursor *set)
{
    struct mb__cursor pair, oid, value;
    uint8_t tag;
    if (!expect(set, DER_SEQUENCE, &pair) || !expect(&pair, DER_OID, &oid) || !next_element(&pair, &tag, &value))
        return false;
    put_attribute_type(w, oid);
    put(w, "=", 1);
    if (tag == DER_BMP_STRING)
        put_bmp(w, value);
    else
        put(w, value.at, mb__cursor_left(&value));
    return true;
}

/* A distinguished name in its own order, "C=DE, O=Example, CN=example.org". */
static bool read_name(struct mb__cursor *c, struct writer *w, struct mb_view *out)
{
    struct mb__cursor name, set;
    size_t start = w->used;
    bool good = expect(c, DER_SEQUENCE, &name);
    while (good && mb__cursor_left(&name) > 0) {
        good = expect(&name, DER_SET, &set);
        while (good && mb__cursor_left(&set) > 0) {
            if (w->used > start)
                put(w, ", ", 2);
            good = put_attribute(w, &set);
        }
    }
    *out = text_since(w, start);
    return good;
}

/* ---- numbers and times --------------------------------------------------- */

/* "0A:1B:..." */
static void put_hex(struct writer *w, struct mb__cursor c)
{
    static const char digit[] = "0123456789ABCDEF";
    uint8_t b;
    for (bool first = true; mb__cursor_u8(&c, &b); first = false)
        put(w, (char[]){':', digit[b >> 4], digit[b & 15]} + first, 3u - first);
}

/* Days from 1970-01-01 to a date of the Gregorian calendar: years are counted
 * from March, so that the leap day is a year's last. */
static int64_t days_since_1970(int64_t year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t from_march = (month + 9) % 12;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static bool two_digits(struct mb__cursor *c, int *v)
{
    const uint8_t *d = mb__cursor_take(c, 2);
    if (d == NULL || d[0] < '0' || d[0] > '9' || d[1] < '0' || d[1] > '9')
        return false;
    *v = (d[0] - '0') * 10 + d[1] - '0';
    return true;
}

/* UTCTime YYMMDDHHMM[SS]Z or GeneralizedTime YYYYMMDDHHMM[SS]Z (RFC 5280
 * 4.1.2.5), seconds since 1970. */
static bool read_time(struct mb__cursor *c, int64_t *out)
{
    struct mb__cursor t;
    uint8_t tag;
    int century = 0, year, month, day, hour, minute, second = 0;
    if (!next_element(c, &tag, &t) || (tag != DER_UTC_TIME && tag != DER_GENERALIZED_TIME))
        return false;
    if (tag == DER_GENERALIZED_TIME && !two_digits(&t, &century))
        return false;
    if (!two_digits(&t, &year) || !two_digits(&t, &month) || !two_digits(&t, &day) || !two_digits(&t, &hour) ||
        !two_digits(&t, &minute) || month < 1 || month > 12)
        return false;
    two_digits(&t, &second);
    if (tag == DER_UTC_TIME)
        century = year < 50 ? 20 : 19;
    *out = days_since_1970(century * 100 + year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

/* ---- the certificate ----------------------------------------------------- */

static void fingerprint(const uint8_t *der, size_t len, struct mb_tls_certificate *out)
{
    uint8_t sha1[MB__SHA1];
    char hex[2 * MB__SHA1 + 1];
    mb__digest(MB__SHA1, der, len, sha1);
    mb__hex(sha1, sizeof sha1, hex);
    for (int i = 0; i < MB__SHA1; i++) {
        out->sha1[3 * i] = hex[2 * i];
        out->sha1[3 * i + 1] = hex[2 * i + 1];
        out->sha1[3 * i + 2] = i + 1 < MB__SHA1 ? ':' : '\0';
    }
}

bool mb__x509_read(const uint8_t *der, size_t len, struct mb_tls_certificate *out, char text[MB__X509_TEXT])
{
    struct writer w = {text, 0};
    struct mb__cursor c = mb__cursor(der, len), cert, tbs, part;
    fingerprint(der, len, out);
    if (!expect(&c, DER_SEQUENCE, &cert) || !expect(&cert, DER_SEQUENCE, &tbs))
        return false;
    const uint8_t *tag = mb__cursor_peek(&tbs, 1);
    if (tag != NULL && *tag == DER_VERSION && !expect(&tbs, DER_VERSION, &part))
        return false;
    if (!expect(&tbs, DER_INTEGER, &part))
        return false;
    put_hex(&w, part); /* the zero in front of a top bit that is set stays, as Suricata shows it */
    out->serial = text_since(&w, 0);
    return expect(&tbs, DER_SEQUENCE, &part) && read_name(&tbs, &w, &out->issuer) &&
           expect(&tbs, DER_SEQUENCE, &part) && read_time(&part, &out->not_before) &&
           read_time(&part, &out->not_after) && read_name(&tbs, &w, &out->subject);
}
