/* SPDX-License-Identifier: BSD-3-Clause */
/* bench_events -- what an event costs: unheard, heard, filtered, registered
 *
 *   usage: bench_events [PACKETS]      (default: 2000000)
 *
 * The same packets of one established connection go through engines that
 * differ in who listens. The difference between two of them, by the number
 * of events, is what an event costs. Prints one line of JSON: ns each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mosbox.h"

#define FRAME (14 + 20 + 8 + 4)
#define LISTENERS 8
#define ROUNDS 5

static int on_event(struct mb_event *ev, void *arg)
{
    *(uint64_t *)arg += ev->packet->payload_len;
    return 0;
}

static int on_other(struct mb_event *ev, void *arg)
{
    *(uint64_t *)arg += ev->packet->ttl;
    return 0;
}

static int yes(struct mb_event *ev, void *arg)
{
    return 1;
}

static int no(struct mb_event *ev, void *arg)
{
    return 0;
}

/* Registers another callback on the flow: a step from set to set. */
static int on_register(struct mb_event *ev, void *arg)
{
    uint64_t *count = arg;
    bool odd = (*count)++ & 1;
    return mb_on(ev->monitor, ev->flow, MB_EV_GAP, MB_HOOK_NONE, odd ? on_other : on_event, arg);
}

typedef int (*listener)(struct mb_engine *e, struct mb_monitor *const *m, void *arg);

static int listen_none(struct mb_engine *e, struct mb_monitor *const *m, void *arg)
{
    return 0;
}

static int listen_one(struct mb_engine *e, struct mb_monitor *const *m, void *arg)
{
    return mb_on(m[0], NULL, MB_EV_PACKET, MB_HOOK_SND, on_event, arg);
}

static int listen_many(struct mb_engine *e, struct mb_monitor *const *m, void *arg)
{
    int err = 0;
    for (int i = 0; i < LISTENERS && err >= 0; i++)
        err = mb_on(m[i], NULL, MB_EV_PACKET, MB_HOOK_SND, on_event, arg);
    return err;
}

static int listen_filtered(struct mb_engine *e, struct mb_monitor *const *m, mb_filter filter, void *arg)
{
    int event = mb_event_define(e, MB_EV_PACKET, filter, NULL, 0);
    return event < 0 ? event : mb_on(m[0], NULL, (uint32_t)event, MB_HOOK_SND, on_event, arg);
}

static int listen_yes(struct mb_engine *e, struct mb_monitor *const *m, void *arg)
{
    return listen_filtered(e, m, yes, arg);
}

static int listen_no(struct mb_engine *e, struct mb_monitor *const *m, void *arg)
{
    return listen_filtered(e, m, no, arg);
}

static int listen_register(struct mb_engine *e, struct mb_monitor *const *m, void *arg)
{
    return mb_on(m[0], NULL, MB_EV_PACKET, MB_HOOK_SND, on_register, arg);
}

/* A UDP datagram of four bytes. */
static void datagram(uint8_t *b)
{
    static const uint8_t headers[] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,                                           /* Ethernet */
        0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0x66, 0xcb, 10, 0, 0, 1, 10, 0, 0, 2,          /* IPv4 */
        0x30, 0x39, 0x30, 0x3a, 0, 12, 0, 0, 'd', 'a', 't', 'a',                            /* UDP */
    };
    memcpy(b, headers, sizeof headers);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ns a packet with these listeners; < 0: failed. */
static double measure(listener listen, unsigned long packets)
{
    char err[MB_ERRBUF_SIZE];
    struct mb_engine *e = mb_engine_new(NULL, err);
    if (e == NULL)
        return -1;
    struct mb_monitor *m[LISTENERS];
    uint64_t count = 0;
    uint8_t bytes[FRAME];
    datagram(bytes);
    for (int i = 0; i < LISTENERS; i++)
        m[i] = mb_monitor_new(e, "bench", err);
    int rc = listen(e, m, &count);
    double start = cpu_seconds();
    struct mb_frame frame = {.ts = 1700000000LL * 1000000000, .data = bytes, .caplen = FRAME, .wirelen = FRAME};
    for (unsigned long i = 0; i < packets && rc >= 0; i++) {
        frame.ts += 1000;
        rc = mb_engine_frame(e, 1, &frame);
    }
    double seconds = cpu_seconds() - start;
    mb_engine_free(e);
    return rc < 0 ? -1 : seconds * 1e9 / (double)packets;
}

static const struct {
    const char *name;
    listener listen;
} cases[] = {
    {"none", listen_none}, {"one", listen_one}, {"many", listen_many},
    {"yes", listen_yes},   {"no", listen_no},   {"register", listen_register},
};

enum { NONE, ONE, MANY, YES, NO, REGISTER, CASES };

int main(int argc, char **argv)
{
    unsigned long packets = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000000;
    double best[CASES];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CASES; i++) {
            double ns = measure(cases[i].listen, packets / ROUNDS + 1);
            if (ns < 0) {
                fprintf(stderr, "bench_events: %s failed\n", cases[i].name);
                return 1;
            }
            if (round == 0 || ns < best[i])
                best[i] = ns;
        }
    }
    printf("{\"packet\": %.1f, \"callback\": %.1f, \"each_further\": %.1f, \"filter_no\": %.1f, "
           "\"filter_yes_callback\": %.1f, \"register_on_flow\": %.1f}\n",
           best[NONE], best[ONE] - best[NONE], (best[MANY] - best[ONE]) / (LISTENERS - 1), best[NO] - best[NONE],
           best[YES] - best[NONE], best[REGISTER] - best[ONE]);
    return 0;
}
