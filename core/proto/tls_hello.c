/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_hello -- ClientHello and ServerHello, and the fingerprints made of them
 *
 *   JA3   771,4865-4866-...,0-23-65281-...,29-23-24,0     and its MD5
 *   JA4   t13d1516h2_8daaf6152771_02713d6af862
 *         transport, version, SNI, counts, ALPN _ ciphers _ extensions and signatures
 *
 * GREASE values (RFC 8701) are left out of fingerprints and of the highest
 * version, and stay in the lists.
 */
#include "proto/tls.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/digest.h"

enum {
    EXT_SERVER_NAME = 0,
    EXT_GROUPS = 10,
    EXT_POINT_FORMATS = 11,
    EXT_SIGNATURES = 13,
    EXT_ALPN = 16,
    EXT_VERSIONS = 43,
};

static bool is_grease(uint16_t v)
{
    return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

/* Takes all of |c| as 16-bit numbers, at most |max|; how many. */
static uint32_t read_u16s(struct mb__cursor c, uint16_t *list, uint32_t max)
{
    uint32_t n = 0;
    while (n < max && mb__cursor_u16(&c, &list[n]))
        n++;
    return n;
}

/* A list behind its length of one or two bytes. */
static bool split8(struct mb__cursor *c, struct mb__cursor *part)
{
    uint8_t len;
    return mb__cursor_u8(c, &len) && mb__cursor_split(c, len, part);
}

static bool split16(struct mb__cursor *c, struct mb__cursor *part)
{
    uint16_t len;
    return mb__cursor_u16(c, &len) && mb__cursor_split(c, len, part);
}

static struct mb_view view_of(const struct mb__cursor *c)
{
    return (struct mb_view){c->at, (uint32_t)mb__cursor_left(c)};
}

/* ---- extensions ---------------------------------------------------------- */

/* The first host name of the list (RFC 6066 3). */
static bool read_server_name(struct mb__cursor c, struct mb_tls_hello *h)
{
    struct mb__cursor list, name;
    uint8_t type;
    if (h->server || mb__cursor_left(&c) == 0)
        return true; /* a server acknowledges with an empty one */
    if (!split16(&c, &list))
        return false;
    while (mb__cursor_u8(&list, &type)) {
        if (!split16(&list, &name))
            return false;
        if (type == 0) {
            h->sni = view_of(&name);
            return true;
        }
    }
    return true;
}

static bool read_versions(struct mb__cursor c, struct mb_tls_hello *h, struct mb__tls_scratch *s)
{
    struct mb__cursor list = c;
    if (!h->server && !split8(&c, &list))
        return false;
    h->version_count = read_u16s(list, s->versions, MB__TLS_MAX_LIST);
    return true;
}

static bool read_extension(uint16_t type, struct mb__cursor c, struct mb_tls_hello *h, struct mb__tls_scratch *s)
{
    struct mb__cursor list;
    switch (type) {
    case EXT_SERVER_NAME:
        return read_server_name(c, h);
    case EXT_GROUPS:
        if (!split16(&c, &list))
            return false;
        h->group_count = read_u16s(list, s->groups, MB__TLS_MAX_LIST);
        return true;
    case EXT_POINT_FORMATS:
        if (!split8(&c, &list))
            return false;
        h->point_formats = view_of(&list);
        return true;
    case EXT_SIGNATURES:
        if (!split16(&c, &list))
            return false;
        h->sig_alg_count = read_u16s(list, s->sig_algs, MB__TLS_MAX_LIST);
        return true;
    case EXT_ALPN:
        if (!split16(&c, &list))
            return false;
        h->alpn = view_of(&list);
        return true;
    case EXT_VERSIONS:
        return read_versions(c, h, s);
    default:
        return true;
    }
}

static bool read_extensions(struct mb__cursor c, struct mb_tls_hello *h, struct mb__tls_scratch *s)
{
    struct mb__cursor all, one;
    uint16_t type;
    if (mb__cursor_left(&c) == 0)
        return true; /* before RFC 3546 there were none */
    bool good = split16(&c, &all);
    if (!good) { /* take what there is */
        all = c;
        mb__cursor_skip(&all, 2);
    }
    while (mb__cursor_left(&all) > 0) {
        if (!mb__cursor_u16(&all, &type))
            return false;
        if (h->extension_count < MB__TLS_MAX_LIST)
            s->extensions[h->extension_count++] = type;
        if (!split16(&all, &one))
            return false;
        good = read_extension(type, one, h, s) && good;
    }
    return good;
}

/* ---- hellos -------------------------------------------------------------- */

static void set_version(struct mb_tls_hello *h)
{
    uint16_t highest = 0;
    for (uint32_t i = 0; i < h->version_count; i++)
        if (!is_grease(h->versions[i]) && h->versions[i] > highest)
            highest = h->versions[i];
    h->version = highest != 0 ? highest : h->hello_version;
}

static void start(struct mb_tls_hello *h, struct mb__tls_scratch *s, bool server)
{
    *h = (struct mb_tls_hello){
        .server = server,
        .ciphers = s->ciphers,
        .extensions = s->extensions,
        .groups = s->groups,
        .sig_algs = s->sig_algs,
        .versions = s->versions,
    };
}

bool mb__tls_hello_read(bool server, const uint8_t *body, size_t len, struct mb_tls_hello *h,
                        struct mb__tls_scratch *s, bool *odd)
{
    struct mb__cursor c = mb__cursor(body, len), part;
    start(h, s, server);
    if (!mb__cursor_u16(&c, &h->hello_version) || !mb__cursor_split(&c, 32, &part))
        return false;
    h->random = view_of(&part);
    if (!split8(&c, &part))
        return false;
    h->session_id = view_of(&part);
    if (!(server ? mb__cursor_split(&c, 2, &part) : split16(&c, &part)))
        return false;
    h->cipher_count = read_u16s(part, s->ciphers, MB__TLS_MAX_CIPHERS);
    bool good = server ? mb__cursor_skip(&c, 1) : split8(&c, &part); /* compression */
    *odd = !(good && read_extensions(c, h, s));
    set_version(h);
    return true;
}

bool mb__tls_hello_read_v2(const uint8_t *body, size_t len, struct mb_tls_hello *h, struct mb__tls_scratch *s)
{
    struct mb__cursor c = mb__cursor(body, len), ciphers, part;
    uint8_t type;
    uint16_t sizes[3]; /* of ciphers, session id, challenge */
    start(h, s, false);
    h->sslv2 = 1;
    h->record_version = 2;
    if (!mb__cursor_u8(&c, &type) || type != 1 || !mb__cursor_u16(&c, &h->hello_version))
        return false;
    for (int i = 0; i < 3; i++)
        if (!mb__cursor_u16(&c, &sizes[i]))
            return false;
    if (!mb__cursor_split(&c, sizes[0], &ciphers) || !mb__cursor_split(&c, sizes[1], &part))
        return false;
    h->session_id = view_of(&part);
    if (!mb__cursor_split(&c, sizes[2], &part))
        return false;
    h->random = view_of(&part);
    const uint8_t *spec;
    while (h->cipher_count < MB__TLS_MAX_CIPHERS && (spec = mb__cursor_take(&ciphers, 3)) != NULL)
        if (spec[0] == 0) /* the others are SSLv2's own */
            s->ciphers[h->cipher_count++] = mb__be16(spec + 1);
    h->version = h->hello_version;
    return true;
}

bool mb__tls_is_retry(const struct mb_tls_hello *h)
{
    /* SHA-256 of "HelloRetryRequest" */
    static const uint8_t retry[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                      0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                      0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
    return h->server && h->random.len == 32 && memcmp(h->random.data, retry, 32) == 0;
}

/* ---- JA3 ----------------------------------------------------------------- */

/* Appends |v| in decimal at |p|, behind a dash if |*more|. */
static char *put_decimal(char *p, uint16_t v, bool *more)
{
    char digits[5];
    int n = 5;
    do
        digits[--n] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    if (*more)
        *p++ = '-';
    *more = true;
    memcpy(p, digits + n, (size_t)(5 - n));
    return p + 5 - n;
}

/* "4865-4866-..." */
static char *put_list(char *p, const uint16_t *list, uint32_t count)
{
    bool more = false;
    for (uint32_t i = 0; i < count; i++)
        if (!is_grease(list[i]))
            p = put_decimal(p, list[i], &more);
    return p;
}

static void ja3(struct mb_tls_hello *h, struct mb__tls_scratch *s)
{
    uint8_t md5[MB__MD5];
    bool more = false;
    char *p = put_decimal(s->ja3, h->hello_version, &more);
    *p++ = ',';
    p = put_list(p, h->ciphers, h->cipher_count);
    *p++ = ',';
    p = put_list(p, h->extensions, h->extension_count);
    if (!h->server) {
        *p++ = ',';
        p = put_list(p, h->groups, h->group_count);
        *p++ = ',';
        more = false;
        for (uint32_t i = 0; i < h->point_formats.len; i++)
            p = put_decimal(p, h->point_formats.data[i], &more);
    }
    h->ja3_string = (struct mb_view){(const uint8_t *)s->ja3, (uint32_t)(p - s->ja3)};
    mb__digest(MB__MD5, s->ja3, h->ja3_string.len, md5);
    mb__hex(md5, sizeof md5, h->ja3);
}

/* ---- JA4 ----------------------------------------------------------------- */

static const char *ja4_version(uint16_t version)
{
    switch (version) {
    case 0x0304: return "13";
    case 0x0303: return "12";
    case 0x0302: return "11";
    case 0x0301: return "10";
    case 0x0300: return "s3";
    case 0x0002: return "s2";
    default: return "00";
    }
}

static bool is_alphanumeric(uint8_t b)
{
    return (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
}

/* First and last character of the first ALPN name, of its hex form if they
 * are not both letters or digits. */
static void ja4_alpn(const struct mb_view *alpn, char out[2])
{
    static const char digit[] = "0123456789abcdef";
    struct mb__cursor c = mb__cursor(alpn->data, alpn->len), name;
    out[0] = out[1] = '0';
    if (!split8(&c, &name) || mb__cursor_left(&name) == 0)
        return;
    uint8_t first = name.at[0], last = name.end[-1];
    bool plain = is_alphanumeric(first) && is_alphanumeric(last);
    out[0] = plain ? (char)first : digit[first >> 4];
    out[1] = plain ? (char)last : digit[last & 15];
}

static int by_value(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void hash_list(struct mb__digest *d, const uint16_t *list, uint32_t count)
{
    char text[6] = ",";
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[2] = {(uint8_t)(list[i] >> 8), (uint8_t)list[i]};
        mb__hex(bytes, 2, text + 1);
        mb__digest_update(d, text + (i == 0), i == 0 ? 4 : 5);
    }
}

/* Twelve hex digits of a SHA-256. */
static void put_hash(struct mb__digest *d, char *out)
{
    uint8_t sha256[MB__SHA256];
    char hex[13];
    mb__digest_final(d, sha256);
    mb__hex(sha256, 6, hex);
    memcpy(out, hex, 12);
}

/* Copies a list without GREASE (and without SNI and ALPN, if |plain|). */
static uint32_t without(const uint16_t *list, uint32_t count, bool plain, uint16_t *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!is_grease(list[i]) && !(plain && (list[i] == EXT_SERVER_NAME || list[i] == EXT_ALPN)))
            out[n++] = list[i];
    return n;
}

static bool has_server_name(const struct mb_tls_hello *h)
{
    for (uint32_t i = 0; i < h->extension_count; i++)
        if (h->extensions[i] == EXT_SERVER_NAME)
            return true;
    return false;
}

static void put_count(char *p, uint32_t n)
{
    n = n < 99 ? n : 99;
    p[0] = (char)('0' + n / 10);
    p[1] = (char)('0' + n % 10);
}

static void ja4(struct mb_tls_hello *h)
{
    uint16_t list[MB__TLS_MAX_CIPHERS], sigs[MB__TLS_MAX_LIST];
    struct mb__digest d;
    char *p = h->ja4;
    memcpy(p, "t00i000000_000000000000_000000000000", 37);
    memcpy(p + 1, ja4_version(h->version), 2);
    p[3] = has_server_name(h) ? 'd' : 'i';
    ja4_alpn(&h->alpn, p + 8);

    uint32_t n = without(h->ciphers, h->cipher_count, false, list);
    put_count(p + 4, n);
    qsort(list, n, sizeof *list, by_value);
    mb__digest_init(&d, MB__SHA256);
    hash_list(&d, list, n);
    if (n > 0)
        put_hash(&d, p + 11);

    put_count(p + 6, without(h->extensions, h->extension_count, false, list));
    n = without(h->extensions, h->extension_count, true, list);
    uint32_t m = without(h->sig_algs, h->sig_alg_count, false, sigs);
    qsort(list, n, sizeof *list, by_value);
    mb__digest_init(&d, MB__SHA256);
    hash_list(&d, list, n);
    if (m > 0)
        mb__digest_update(&d, "_", 1);
    hash_list(&d, sigs, m);
    if (n > 0 || m > 0)
        put_hash(&d, p + 24);
}

void mb__tls_fingerprint(struct mb_tls_hello *h, struct mb__tls_scratch *s)
{
    if (h->sslv2)
        return;
    ja3(h, s);
    if (!h->server)
        ja4(h);
}
