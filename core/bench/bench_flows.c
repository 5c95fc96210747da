/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_flows -- what a flow costs: memory of many at once, time to make one
 *
 *   usage: bench_flows [FLOWS ...]     (default: 1000000 4000000)
 *
 * Opens so many TCP connections, three packets each, and leaves them open. Prints
 * one line of JSON a count: how much the process grew by, and the time a packet.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "mosbox.h"

#define HEADERS (14 + 20 + 20)
#define PACKETS_PER_FLOW 3

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

/* An IPv4 TCP segment without payload, in Ethernet. */
static void segment(uint8_t *b, const uint32_t addr[2], const uint16_t port[2], uint32_t seq, uint32_t ack,
                    uint8_t flags)
{
    memset(b, 0, HEADERS);
    put16(b + 12, 0x0800);
    uint8_t *ip = b + 14, *tcp = ip + 20;
    ip[0] = 0x45;
    put16(ip + 2, 40);
    ip[8] = 64;
    ip[9] = 6;
    put32(ip + 12, addr[0]);
    put32(ip + 16, addr[1]);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
    put16(tcp, port[0]);
    put16(tcp + 2, port[1]);
    put32(tcp + 4, seq);
    put32(tcp + 8, ack);
    tcp[12] = 5 << 4;
    tcp[13] = flags;
    put16(tcp + 14, 65535);
}

/* Packet |step| of the handshake of connection |n|. */
static void handshake(uint8_t *b, uint32_t n, int step)
{
    static const uint8_t flags[PACKETS_PER_FLOW] = {MB_TCP_SYN, MB_TCP_SYN | MB_TCP_ACK, MB_TCP_ACK};
    uint32_t addr[2] = {0x0a000000 + n / 60000, 0xc6120001};
    uint16_t port[2] = {(uint16_t)(1024 + n % 60000), 443};
    bool back = step == 1;
    if (back) {
        uint32_t client = addr[0];
        addr[0] = addr[1];
        addr[1] = client;
        port[1] = port[0];
        port[0] = 443;
    }
    uint32_t isn = n * 7919, answer = n * 104729;
    segment(b, addr, port, step == 0 ? isn : back ? answer : isn + 1, step == 0 ? 0 : back ? isn + 1 : answer + 1,
            flags[step]);
}

static uint64_t resident(void)
{
    unsigned long long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL && fscanf(f, "%llu %llu", &size, &pages) != 2)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int open_flows(struct mb_engine *engine, uint32_t flows)
{
    uint8_t bytes[HEADERS];
    int64_t ts = 1700000000LL * 1000000000;
    for (uint32_t n = 0; n < flows; n++) {
        for (int step = 0; step < PACKETS_PER_FLOW; step++) {
            handshake(bytes, n, step);
            struct mb_frame frame = {.ts = ts += 10, .data = bytes, .caplen = HEADERS, .wirelen = HEADERS};
            int err = mb_engine_frame(engine, 1, &frame);
            if (err < 0)
                return err;
        }
    }
    return 0;
}

static int measure(uint32_t flows)
{
    struct mb_config config;
    mb_config_init(&config);
    config.max_flows = flows;
    char err[MB_ERRBUF_SIZE];
    uint64_t before = resident();
    struct mb_engine *engine = mb_engine_new(&config, err);
    if (engine == NULL) {
        fprintf(stderr, "bench_flows: %s\n", err);
        return 1;
    }
    double start = cpu_seconds();
    int rc = open_flows(engine, flows);
    double seconds = cpu_seconds() - start;
    struct mb_stats stats;
    mb_engine_stats(engine, &stats);
    double grown = (double)(resident() - before);
    if (rc < 0 || stats.flows_active != flows) {
        fprintf(stderr, "bench_flows: %" PRIu64 " of %u flows are open: %s\n", stats.flows_active, flows,
                mb_error_text(rc));
        mb_engine_free(engine);
        return 1;
    }
    printf("{\"flows\": %u, \"rss_bytes_per_flow\": %.1f, \"counted_bytes_per_flow\": %.1f, \"ns_per_packet\": %.1f}\n",
           flows, grown / flows, (double)stats.flow_memory / flows, seconds * 1e9 / PACKETS_PER_FLOW / flows);
    mb_engine_free(engine);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return measure(1000000) != 0 || measure(4000000) != 0;
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= measure((uint32_t)strtoul(argv[i], NULL, 10));
    return failed;
}
