/* SPDX-License-Identifier: BSD-3-Clause */
/* digest -- MD5, SHA-1 and SHA-256, for the fingerprints other tools know
 *
 * Names of things (JA3, JA4, HASSH, Community ID, certificate fingerprints)
 * are defined by these functions; nothing here is meant to keep a secret.
 * Sources: RFC 1321, RFC 3174, RFC 6234.
 */
#ifndef MB_BASE_DIGEST_H
#define MB_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define MB__DIGEST_MAX 32 /* bytes of the longest digest */

/* The value is the digest's length in bytes. */
enum mb__digest_kind { MB__MD5 = 16, MB__SHA1 = 20, MB__SHA256 = 32 };

/* A digest being made; plain data, needs no freeing. */
struct mb__digest {
    uint32_t h[8];
    uint64_t len; /* bytes taken so far */
    enum mb__digest_kind kind;
    uint8_t block[64]; /* bytes that do not fill a block yet */
};

void mb__digest_init(struct mb__digest *d, enum mb__digest_kind kind);
void mb__digest_update(struct mb__digest *d, const void *bytes, size_t len);
/* Writes the digest, |kind| bytes, to |out|; |d| must be initialised again
 * before it is used again. */
void mb__digest_final(struct mb__digest *d, uint8_t *out);

/* The digest of |len| bytes at once. */
void mb__digest(enum mb__digest_kind kind, const void *bytes, size_t len, uint8_t *out);

/* Writes |len| bytes as lower-case hex digits and a NUL: 2 * len + 1 chars. */
void mb__hex(const uint8_t *bytes, size_t len, char *text);

#endif
