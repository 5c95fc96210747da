/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_tcp_options -- any option bytes are read inside the header, and alike by both readers */
#include <assert.h>
#include <stdlib.h>

#include "packet/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 40)
        size = 40;
    uint8_t *header = calloc(1, 20 + size); /* the header's bytes and not one more */
    assert(header != NULL);
    if (size > 0)
        memcpy(header + 20, data, size);
    struct mb_packet p = {
        .net = header,
        .net_len = (uint32_t)(20 + size),
        .ip_len = (uint32_t)(20 + size),
        .payload_off = (uint32_t)(20 + size + 3) / 4 * 4, /* the last bytes may be cut off */
        .flags = MB_PKT_IP | MB_PKT_L4,
        .ip_proto = 6,
    };
    struct mb__tcp_options o, again;
    uint32_t tsval = 0, tsecr = 0;
    memset(&o, 0, sizeof o);
    memset(&again, 0xff, sizeof again);
    mb__tcp_options_read(&p, &o);
    mb__tcp_options_read(&p, &again);
    assert(o.has_ts == again.has_ts && o.tsval == again.tsval && o.mss == again.mss);
    assert(o.sack_count <= 4 && o.wscale <= 14);
    assert(!o.fast_open_cookie || o.fast_open);
    bool has_ts = mb__tcp_timestamps(&p, &tsval, &tsecr);
    assert(has_ts == o.has_ts || o.duplicate || o.bad_len);
    assert(!(has_ts && o.has_ts) || (tsval == o.tsval && tsecr == o.tsecr));
    free(header);
    return 0;
}
