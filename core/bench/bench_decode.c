/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_decode -- what decoding one frame costs, by kind of frame
 *
 *   usage: bench_decode [KIND [FRAMES]]      (default: all kinds, 5000000)
 *
 * Frames of a few flows from memory that is warm, so only the decoder's own
 * instructions count. Prints one line of JSON: ns a frame, the best of five.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../tests/frame.h"
#include "packet/packet.h"

#define FLOWS 256 /* small enough for the first cache */
#define PASSES 5
#define STAMPS "\1\1\x08\x0a\0\0\0\1\0\0\0\2"

struct slot {
    uint8_t bytes[160];
    size_t len;
};

static void make_tcp(struct frame *f, unsigned flow)
{
    frame_tcp_options(f, 1024 + flow, 80, MB_TCP_ACK, STAMPS, 12);
    frame_text(f, "payload");
}

static void make_ipv4(struct frame *f, unsigned flow)
{
    frame_ethernet(f, 0x0800);
    frame_ipv4(f, 6, 0);
    make_tcp(f, flow);
}

static void make_ipv6(struct frame *f, unsigned flow)
{
    frame_ethernet(f, 0x86dd);
    frame_ipv6(f, 6);
    make_tcp(f, flow);
}

static void make_vlan(struct frame *f, unsigned flow)
{
    frame_ethernet(f, 0x8100);
    frame_u32(f, 0x00050800);
    frame_ipv4(f, 6, 0);
    make_tcp(f, flow);
}

static void make_udp(struct frame *f, unsigned flow)
{
    frame_ethernet(f, 0x0800);
    frame_ipv4(f, 17, 0);
    frame_udp(f, 1024 + flow, 53);
    frame_text(f, "a question or an answer");
}

static void make_vxlan(struct frame *f, unsigned flow)
{
    frame_ethernet(f, 0x0800);
    frame_ipv4(f, 17, 0);
    frame_udp(f, 1024 + flow, 4789);
    frame_u32(f, 0x08000000);
    frame_u32(f, 0x00000700);
    make_ipv4(f, flow);
}

static const struct {
    const char *name;
    void (*make)(struct frame *f, unsigned flow);
} kinds[] = {
    {"ipv4_tcp", make_ipv4}, {"ipv4_udp", make_udp}, {"ipv6_tcp", make_ipv6},
    {"vlan_tcp", make_vlan}, {"vxlan_tcp", make_vxlan},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One pass over |frames| frames; the time it took. */
static double pass(struct mb__decoder *d, const struct slot *slots, size_t frames)
{
    static struct mb__burst burst;
    struct mb_frame frame[MB_BURST];
    double begin = seconds();
    for (size_t i = 0; i < frames;) {
        for (size_t n = 0; n < MB_BURST; n++) {
            const struct slot *s = &slots[(i + n) % FLOWS];
            uint32_t len = (uint32_t)s->len;
            frame[n] = (struct mb_frame){.ts = 1, .data = s->bytes, .caplen = len, .wirelen = len};
        }
        i += (size_t)mb__decode_burst(d, 1, frame, MB_BURST, 0, false, &burst);
    }
    return seconds() - begin;
}

static double measure(size_t kind, size_t frames)
{
    static struct slot slots[FLOWS];
    struct mb_config config;
    struct mb__hash_key key;
    struct mb__memory memory = {.limit = 1 << 20};
    struct mb_stats stats = {0};
    mb_config_init(&config);
    mb__hash_key_init(&key, 1);
    for (unsigned flow = 0; flow < FLOWS; flow++) {
        struct frame f = {0};
        kinds[kind].make(&f, flow);
        frame_end(&f);
        slots[flow].len = f.len < sizeof slots[flow].bytes ? f.len : sizeof slots[flow].bytes;
        memcpy(slots[flow].bytes, f.b, slots[flow].len);
    }
    struct mb__decoder *d = mb__decoder_new(&config, &key, &memory, &stats);
    if (d == NULL)
        return 0;
    double best = 0;
    for (int i = 0; i < PASSES; i++) {
        double took = pass(d, slots, frames);
        best = i == 0 || took < best ? took : best;
    }
    mb__decoder_free(d);
    return best;
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : NULL;
    size_t frames = argc > 2 ? strtoul(argv[2], NULL, 10) : 5000000;
    const char *comma = "";
    if (frames == 0)
        return 2;
    printf("{");
    for (size_t kind = 0; kind < KINDS; kind++) {
        if (wanted != NULL && strcmp(wanted, kinds[kind].name) != 0)
            continue;
        printf("%s\"%s_ns\": %.2f", comma, kinds[kind].name, measure(kind, frames) * 1e9 / (double)frames);
        comma = ", ";
    }
    printf("}\n");
    return 0;
}
