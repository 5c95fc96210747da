/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_capture -- one pass over a pcap file by one contender, timed
 *
 *   usage: bench_capture CONTENDER FILE
 *          bench_capture list
 *
 * Prints one line of JSON: packets, bytes of payload read, what they sum up to,
 * flows, and the CPU time of the pass from opening the file to giving all memory
 * back. A process a pass: no contender inherits the heap of another, and callgrind counts one alone. tools/bench.py
 * runs the contenders in turns and compares them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mosbox.h"

#ifdef HAVE_NIDS
#include <nids.h>
#endif

/* What a pass saw; the sums keep the compiler from leaving the reading out. */
struct pass {
    uint64_t packets;
    uint64_t bytes; /* of payload shown to the reader */
    uint64_t flows;
    uint64_t sum;
};

typedef int (*contender)(const char *path, struct pass *pass);

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The reader of all bytes, the same for all: one addition for eight of them. */
static uint64_t sum_bytes(const uint8_t *p, size_t len)
{
    uint64_t sum = 0, word;
    for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
        memcpy(&word, p, sizeof word);
        sum += word;
    }
    for (; len > 0; p++, len--)
        sum += *p;
    return sum;
}

/* ---- the floor ------------------------------------------------------------ */

#define RECORD 16
#define ETHERNET 14

/* Addresses, ports, length, sequence and acknowledgement number, flags and
 * window of a TCP segment in IPv4 in Ethernet; of others the ethertype. */
static uint64_t header_sum(const uint8_t *frame, uint32_t caplen)
{
    if (caplen < ETHERNET + 20)
        return caplen;
    const uint8_t *ip = frame + ETHERNET;
    uint32_t header = (ip[0] & 15) * 4u;
    if (load16(frame + 12) != 0x0008 || ip[9] != 6 || caplen < ETHERNET + header + 20) /* 0x0800 as it lies */
        return load16(frame + 12);
    const uint8_t *tcp = ip + header;
    return (uint64_t)load16(ip + 2) + load32(ip + 12) + load32(ip + 16) + load16(tcp) + load16(tcp + 2) +
           load32(tcp + 4) + load32(tcp + 8) + tcp[13] + load16(tcp + 14);
}

/* Records of this machine's byte order, as the makers of our captures write
 * them: no contender is given another. */
static void walk(const uint8_t *at, const uint8_t *end, struct pass *pass)
{
    at += 24;
    while ((size_t)(end - at) >= RECORD) {
        uint32_t caplen = load32(at + 8);
        if (caplen > (size_t)(end - at) - RECORD)
            return;
        pass->sum += load32(at) + load32(at + 4) + load32(at + 12) + header_sum(at + RECORD, caplen);
        pass->packets++;
        at += RECORD + caplen;
    }
}

/* A bare mapped walk over the packets: what reading their headers costs. */
static int floor_walk(const char *path, struct pass *pass)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 24)
        return -1;
    uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return -1;
    madvise(map, (size_t)st.st_size, MADV_SEQUENTIAL);
    walk(map, map + st.st_size, pass);
    munmap(map, (size_t)st.st_size);
    return 0;
}

/* ---- libpcap -------------------------------------------------------------- */

static void pcap_each(u_char *user, const struct pcap_pkthdr *header, const u_char *frame)
{
    struct pass *pass = (struct pass *)(void *)user;
    pass->packets++;
    pass->sum += header_sum(frame, header->caplen);
}

static int pcap_by_loop(const char *path, struct pass *pass)
{
    char err[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = pcap_open_offline(path, err);
    if (pcap == NULL)
        return -1;
    int rc = pcap_loop(pcap, -1, pcap_each, (u_char *)pass);
    pcap_close(pcap);
    return rc;
}

static int pcap_by_next(const char *path, struct pass *pass)
{
    char err[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = pcap_open_offline(path, err);
    if (pcap == NULL)
        return -1;
    struct pcap_pkthdr *header;
    const u_char *frame;
    while (pcap_next_ex(pcap, &header, &frame) == 1)
        pcap_each((u_char *)pass, header, frame);
    pcap_close(pcap);
    return 0;
}

/* ---- libnids -------------------------------------------------------------- */

#ifdef HAVE_NIDS
static struct pass *nids_pass;

static void nids_quiet(int type, int error, struct ip *header, void *data)
{
}

static void nids_track(struct tcp_stream *stream, void **user)
{
    if (stream->nids_state == NIDS_JUST_EST)
        nids_pass->flows++;
}

static void nids_half(const struct half_stream *half)
{
    nids_pass->sum += sum_bytes((const uint8_t *)half->data, (size_t)half->count_new);
    nids_pass->bytes += (uint64_t)half->count_new;
}

static void nids_read(struct tcp_stream *stream, void **user)
{
    if (stream->nids_state == NIDS_JUST_EST) {
        nids_pass->flows++;
        stream->client.collect++;
        stream->server.collect++;
    } else if (stream->nids_state == NIDS_DATA) {
        if (stream->server.count_new > 0)
            nids_half(&stream->server);
        else if (stream->client.count_new > 0)
            nids_half(&stream->client);
    }
}

static void nids_count(const struct ip *header, int len)
{
    nids_pass->packets++;
}

/* libnids declares its hooks without parameters. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"

/* Without checksums, port scan detection and the second thread. */
static int nids_pass_over(const char *path, struct pass *pass, void (*each)(struct tcp_stream *, void **))
{
    static struct nids_chksum_ctl no_checksums = {0, 0, NIDS_DONT_CHKSUM, 0};
    nids_pass = pass;
    nids_params.filename = (char *)(uintptr_t)path;
    nids_params.scan_num_hosts = 0;
    nids_params.multiproc = 0;
    nids_params.syslog = (void (*)())nids_quiet;
    if (!nids_init())
        return -1;
    nids_register_chksum_ctl(&no_checksums, 1);
    nids_register_tcp((void (*)())each);
    nids_register_ip((void (*)())nids_count);
    nids_run();
    nids_exit();
    return 0;
}

#pragma GCC diagnostic pop

static int nids_by_track(const char *path, struct pass *pass)
{
    return nids_pass_over(path, pass, nids_track);
}

static int nids_by_read(const char *path, struct pass *pass)
{
    return nids_pass_over(path, pass, nids_read);
}
#endif

/* ---- the core ------------------------------------------------------------- */

static int on_flow(struct mb_event *ev, void *arg)
{
    struct pass *pass = arg;
    pass->sum += ev->flow->end[MB_CLIENT].packets + ev->flow->end[MB_SERVER].bytes;
    return 0;
}

static int on_data(struct mb_event *ev, void *arg)
{
    struct pass *pass = arg;
    pass->sum += sum_bytes(ev->data, ev->len);
    pass->bytes += ev->len;
    return 0;
}

static int on_packet(struct mb_event *ev, void *arg)
{
    struct pass *pass = arg;
    pass->sum += ev->packet->seq;
    return 0;
}

/* Registers what a contender listens to. 0 or < 0. */
typedef int (*listener)(struct mb_monitor *m, struct pass *pass);

static int listen_flows(struct mb_monitor *m, struct pass *pass)
{
    int err = mb_on(m, NULL, MB_EV_FLOW_START, MB_HOOK_NONE, on_flow, pass);
    return err < 0 ? err : mb_on(m, NULL, MB_EV_FLOW_END, MB_HOOK_NONE, on_flow, pass);
}

static int listen_data(struct mb_monitor *m, struct pass *pass)
{
    return mb_on(m, NULL, MB_EV_DATA, MB_HOOK_NONE, on_data, pass);
}

static int listen_packets(struct mb_monitor *m, struct pass *pass)
{
    return mb_on(m, NULL, MB_EV_PACKET, MB_HOOK_SND, on_packet, pass);
}

static int core_pass_over(const char *path, struct pass *pass, listener listen)
{
    char err[MB_ERRBUF_SIZE];
    struct mb_engine *engine = mb_engine_new(NULL, err);
    struct mb_source *source = mb_source_file(path, err);
    int rc = engine == NULL || source == NULL ? MB_EIO : 0;
    struct mb_monitor *monitor = rc == 0 && listen != NULL ? mb_monitor_new(engine, "bench", err) : NULL;
    if (monitor != NULL)
        rc = listen(monitor, pass);
    if (rc == 0) {
        while ((rc = mb_engine_run(engine, source, 0)) > 0)
            ;
        if (rc == 0)
            rc = mb_engine_finish(engine);
        struct mb_stats stats;
        mb_engine_stats(engine, &stats);
        pass->packets = stats.frames;
        pass->flows = stats.flows;
    }
    mb_source_free(source);
    mb_engine_free(engine);
    return rc;
}

static int core_track(const char *path, struct pass *pass)
{
    return core_pass_over(path, pass, NULL);
}

static int core_flows(const char *path, struct pass *pass)
{
    return core_pass_over(path, pass, listen_flows);
}

static int core_read(const char *path, struct pass *pass)
{
    return core_pass_over(path, pass, listen_data);
}

static int core_packets(const char *path, struct pass *pass)
{
    return core_pass_over(path, pass, listen_packets);
}

/* ---- one pass ------------------------------------------------------------- */

static const struct {
    const char *name;
    contender run;
} contenders[] = {
    {"floor", floor_walk},
    {"pcap_next", pcap_by_next},
    {"pcap_loop", pcap_by_loop},
#ifdef HAVE_NIDS
    {"nids_track", nids_by_track},
    {"nids_read", nids_by_read},
#endif
    {"core_track", core_track},
    {"core_flows", core_flows},
    {"core_packets", core_packets},
    {"core_read", core_read},
};

#define CONTENDERS (sizeof contenders / sizeof contenders[0])

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int list(void)
{
    for (size_t i = 0; i < CONTENDERS; i++)
        puts(contenders[i].name);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list();
    if (argc != 3) {
        fprintf(stderr, "usage: bench_capture CONTENDER FILE | bench_capture list\n");
        return 2;
    }
    for (size_t i = 0; i < CONTENDERS; i++) {
        if (strcmp(argv[1], contenders[i].name) != 0)
            continue;
        struct pass pass = {0};
        double start = cpu_seconds();
        if (contenders[i].run(argv[2], &pass) < 0) {
            fprintf(stderr, "bench_capture: %s cannot read %s\n", argv[1], argv[2]);
            return 1;
        }
        printf("{\"seconds\": %.9f, \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"flows\": %" PRIu64
               ", \"sum\": %" PRIu64 "}\n",
               cpu_seconds() - start, pass.packets, pass.bytes, pass.flows, pass.sum);
        return 0;
    }
    fprintf(stderr, "bench_capture: no contender %s\n", argv[1]);
    return 2;
}
