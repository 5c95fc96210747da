/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_expr -- any text as an expression, run on an event made of the rest
 *
 * Input: the expression, a zero byte, then bytes that fill flow, packet, event
 * and payload. An expression either runs, or is refused with a column inside
 * the text and nothing left behind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t fill(void *to, size_t len, const uint8_t *from, size_t left)
{
    size_t n = len < left ? len : left;
    memset(to, 0, len);
    if (n > 0)
        memcpy(to, from, n);
    return n;
}

/* An event of random numbers whose pointers hold: the payload is |data|. */
static void run(const struct mb__expr *x, uint32_t base, const uint8_t *data, size_t size)
{
    struct mb_flow flow;
    struct mb_packet packet;
    struct mb_event ev;
    size_t used = fill(&flow, sizeof flow, data, size);
    used += fill(&packet, sizeof packet, data + used, size - used);
    used += fill(&ev, sizeof ev, data + used, size - used);
    packet.net = packet.frame = data + used;
    packet.payload_off = 0;
    packet.payload_len = (uint32_t)(size - used);
    ev.base = base;
    ev.flow = (uintptr_t)ev.flow & 1 ? NULL : &flow;
    ev.packet = (uintptr_t)ev.packet & 1 ? NULL : &packet;
    ev.data = data + used;
    ev.len = size - used;
    bool first = mb__expr_match(x, &ev);
    if (mb__expr_match(x, &ev) != first)
        abort(); /* the same event, another answer */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t bases[] = {MB_EV_PACKET, MB_EV_DATA, MB_EV_STATE_CHANGE, MB_EV_FLOW_END};
    size_t len = strnlen((const char *)data, size);
    char *text = strndup((const char *)data, len);
    size_t rest = len < size ? len + 1 : len;
    for (size_t i = 0; text != NULL && i < sizeof bases / sizeof *bases; i++) {
        struct mb__expr *x;
        char err[MB_ERRBUF_SIZE];
        if (mb__expr_new(text, bases[i], &x, err) == 0) {
            run(x, bases[i], data + rest, size - rest);
            mb__expr_free(x);
            continue;
        }
        size_t column = 0;
        if (x != NULL || sscanf(err, "column %zu: ", &column) != 1 || column < 1 || column > len + 1)
            abort(); /* refused without saying where */
    }
    free(text);
    return 0;
}
