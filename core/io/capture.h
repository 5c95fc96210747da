/* SPDX-License-Identifier: BSD-3-Clause */
/* capture -- the capture file formats, each opened on an input */
#ifndef MB_IO_CAPTURE_H
#define MB_IO_CAPTURE_H

#include "io/input.h"
#include "io/source.h"

#define MB__CAPLEN_LIMIT 262144 /* longest packet a capture may hold, as in libpcap */

/* Whether the window begins with the magic of the format. */
bool mb__pcap_is(const struct mb__input *in);
bool mb__pcapng_is(const struct mb__input *in);
/* A source over |in|, whose ownership moves in. NULL and a sentence in |err|:
 * then |in| is still the caller's. */
struct mb_source *mb__pcap_open(struct mb__input *in, char *err);
struct mb_source *mb__pcapng_open(struct mb__input *in, char *err);

/* Reads a number of a file that is in the other byte order if |swap|. */
static inline uint32_t mb__file_u32(const uint8_t *p, bool swap)
{
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return swap ? __builtin_bswap32(v) : v;
}

static inline uint16_t mb__file_u16(const uint8_t *p, bool swap)
{
    uint16_t v;
    __builtin_memcpy(&v, p, 2);
    return swap ? __builtin_bswap16(v) : v;
}

#endif
