/* SPDX-License-Identifier: BSD-3-Clause */
/* tls -- hello messages, read and fingerprinted; shared by tls.c and tls_hello.c */
#ifndef MB_PROTO_TLS_H
#define MB_PROTO_TLS_H

#include "mosbox.h"

#define MB__TLS_MAX_CIPHERS 1024 /* entries kept of a list; all of a real hello */
#define MB__TLS_MAX_LIST 256
#define MB__TLS_JA3_TEXT 12288 /* the longest JA3 string of lists of these sizes */

/* Where the lists of a hello are put, in host byte order. */
struct mb__tls_scratch {
    uint16_t ciphers[MB__TLS_MAX_CIPHERS];
    uint16_t extensions[MB__TLS_MAX_LIST];
    uint16_t groups[MB__TLS_MAX_LIST];
    uint16_t sig_algs[MB__TLS_MAX_LIST];
    uint16_t versions[MB__TLS_MAX_LIST];
    char ja3[MB__TLS_JA3_TEXT];
};

/* Reads the body of a ClientHello or ServerHello (RFC 8446 4.1, RFC 5246
 * 7.4.1) of |len| bytes into |h|, whose views point into |body| and |s|.
 * False: it ends before its ciphers do. |*odd| is set if extensions are cut. */
bool mb__tls_hello_read(bool server, const uint8_t *body, size_t len, struct mb_tls_hello *h,
                        struct mb__tls_scratch *s, bool *odd);
/* Reads an SSLv2-compatible ClientHello (RFC 5246 E.2) without its length. */
bool mb__tls_hello_read_v2(const uint8_t *body, size_t len, struct mb_tls_hello *h, struct mb__tls_scratch *s);
/* Fills ja3, ja3_string and, for a client, ja4. */
void mb__tls_fingerprint(struct mb_tls_hello *h, struct mb__tls_scratch *s);
/* Whether a ServerHello is a HelloRetryRequest (RFC 8446 4.1.3). */
bool mb__tls_is_retry(const struct mb_tls_hello *h);

#endif
