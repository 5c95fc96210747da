/* SPDX-License-Identifier: BSD-3-Clause */
/* x509 -- the fields of a certificate that people look for (RFC 5280 4.1)
 *
 *   Certificate { tbs { version, SERIAL, algorithm, ISSUER, VALIDITY, SUBJECT, ... } ... }
 *
 * A reader, not a verifier: it walks DER as far as the subject and checks no
 * signature.
 */
#ifndef MB_PROTO_X509_H
#define MB_PROTO_X509_H

#include "mosbox.h"

#define MB__X509_TEXT 4096 /* bytes of scratch for the three texts; longer ones are cut */

/* Reads the DER certificate of |len| bytes into subject, issuer, serial,
 * validity and fingerprint of |out|; texts are written to |text|, which |out|
 * then points into. False: not a certificate; what was read until then is set. */
bool mb__x509_read(const uint8_t *der, size_t len, struct mb_tls_certificate *out, char text[MB__X509_TEXT]);

#endif
