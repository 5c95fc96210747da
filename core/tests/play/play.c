/* SPDX-License-Identifier: BSD-3-Clause */
/* play -- the program play_case: tests/event_lines.py over a capture, by the C interface alone
 *
 *     play_case frames.pcap 'set overlap last' 'scope port 80' '7 look client.next' '9 drop snd'
 *
 *     1 flow_start client 10.0.0.1:40000 server 192.0.2.80:80
 *     1 state client CLOSED -> SYN_SENT
 *
 * Each event is a line that begins with the number of the newest frame. So do the
 * words of a case that are for a frame: before flows have it, `look WHAT...` and
 * `stop SIDE`; `drop snd` or `drop rcv`, the hook where it is dropped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"

#define HISTORY  4096
#define MAX_WORD 63 /* as in the formats below */

struct play {
    struct mb_engine *engine;
    struct mb_monitor *monitor;
    struct mb_flow *flow; /* the newest, until it ends */
    uint64_t frame;       /* number of the last one */
    char **asked;         /* the program's arguments, NULL after the last */
};

static const char *side_name(int side)
{
    return side == MB_CLIENT ? "client" : "server";
}

/* ---- what is told of each event --------------------------------------------- */

static void tell_flow_start(const struct mb_event *ev)
{
    fputs("client ", stdout);
    say_endpoint(&ev->flow->end[MB_CLIENT]);
    fputs(" server ", stdout);
    say_endpoint(&ev->flow->end[MB_SERVER]);
}

static void tell_state_change(const struct mb_event *ev)
{
    printf("%s %s -> %s", side_name(ev->side), mb_tcp_state_name(ev->old_state), mb_tcp_state_name(ev->new_state));
}

static void tell_data(const struct mb_event *ev)
{
    printf("%s %" PRIu64 " ", side_name(ev->side), ev->offset);
    say_data(ev->data, ev->len);
}

static void tell_urgent(const struct mb_event *ev)
{
    printf("%s %" PRIu64 " ", side_name(ev->side), ev->offset);
    say_text(ev->data, ev->len);
}

/* A copy that conflicts with the first one is told beside it; a dot is a byte that is not kept. */
static void tell_retransmit(const struct mb_event *ev)
{
    tell_urgent(ev);
    uint8_t *first = ev->conflict ? malloc(ev->len + 1) : NULL;
    if (first == NULL)
        return;
    for (uint64_t i = 0; i < ev->len; i++)
        if (mb_stream_peek(ev->flow, ev->side, ev->offset + i, first + i, 1) == 0)
            first[i] = '.';
    fputs(" conflicts with ", stdout);
    say_text(first, ev->len);
    free(first);
}

static void tell_gap(const struct mb_event *ev)
{
    printf("%s %" PRIu64 " %" PRIu64 " bytes", side_name(ev->side), ev->offset, ev->len);
}

static void tell_icmp_error(const struct mb_event *ev)
{
    const struct mb_icmp_error *error = ev->record;
    char reporter[MB_ADDR_TEXT];
    mb_addr_text(&ev->packet->src, reporter);
    printf("%s %s %u %u", side_name(ev->side), reporter, error->type, error->code);
    if (error->mtu > 0)
        printf(" mtu %" PRIu32, error->mtu);
    fputs(error->credible ? "" : " not credible", stdout);
}

static void tell_anomaly(const struct mb_event *ev)
{
    fputs(mb_anomaly_name(ev->reason), stdout);
}

static void tell_orphan(const struct mb_event *ev)
{
    char src[MB_ADDR_TEXT], dst[MB_ADDR_TEXT];
    mb_addr_text(&ev->packet->src, src);
    mb_addr_text(&ev->packet->dst, dst);
    printf("%s:%u -> %s:%u", src, ev->packet->sport, dst, ev->packet->dport);
}

static void tell_flow_end(const struct mb_event *ev)
{
    const struct mb_endpoint *end = ev->flow->end;
    printf("%s %" PRIu64 "+%" PRIu64, mb_end_reason_name(ev->reason), end[0].packets, end[1].packets);
}

static void (*const tells[MB_EV_BUILTIN])(const struct mb_event *ev) = {
    [MB_EV_FLOW_START] = tell_flow_start,
    [MB_EV_STATE_CHANGE] = tell_state_change,
    [MB_EV_RETRANSMIT] = tell_retransmit,
    [MB_EV_DATA] = tell_data,
    [MB_EV_GAP] = tell_gap,
    [MB_EV_ORPHAN] = tell_orphan,
    [MB_EV_ANOMALY] = tell_anomaly,
    [MB_EV_FLOW_END] = tell_flow_end,
    [MB_EV_URGENT] = tell_urgent,
    [MB_EV_ICMP_ERROR] = tell_icmp_error,
};

/* ---- callbacks ------------------------------------------------------------- */

static int on_event(struct mb_event *ev, void *arg)
{
    struct play *p = arg;
    const char *name = ev->base == MB_EV_STATE_CHANGE ? "state" : mb_event_name((int)ev->base);
    printf("%" PRIu64 " %s ", p->frame, name);
    tells[ev->base](ev);
    putchar('\n');
    if (ev->base == MB_EV_FLOW_START)
        p->flow = ev->flow;
    if (ev->base == MB_EV_FLOW_END && p->flow == ev->flow)
        p->flow = NULL;
    return 0;
}

/* What is asked with |verb| at the frame that has come, NULL if nothing is. */
static const char *asked(const struct play *p, const char *verb)
{
    char begin[32];
    int len = snprintf(begin, sizeof begin, "%" PRIu64 " %s ", p->frame, verb);
    for (char **line = p->asked; *line != NULL; line++)
        if (strncmp(*line, begin, (size_t)len) == 0)
            return *line + len;
    return NULL;
}

static int look_at_all(const struct play *p, const char *words)
{
    char what[MAX_WORD + 1];
    int code = 0, len = 0;
    printf("%" PRIu64 " look", p->frame);
    for (; code == 0 && sscanf(words, "%63s%n", what, &len) == 1; words += len)
        code = look(p->engine, p->flow, what);
    putchar('\n');
    return code;
}

static int on_raw(struct mb_event *ev, void *arg)
{
    struct play *p = arg;
    const char *what;
    p->frame = ev->packet->number;
    if ((what = asked(p, "look")) != NULL)
        return look_at_all(p, what);
    if ((what = asked(p, "stop")) != NULL && p->flow != NULL)
        return mb_stream_off(p->flow, strcmp(what, side_name(MB_SERVER)) == 0);
    return 0;
}

static int on_packet(struct mb_event *ev, void *arg)
{
    const char *hook = asked(arg, "drop");
    if (hook != NULL && ev->hook == (strcmp(hook, "rcv") == 0 ? MB_HOOK_RCV : MB_HOOK_SND))
        mb_packet_drop(ev);
    return 0;
}

/* ---- the run --------------------------------------------------------------- */

/* Does what the lines `set KEY VALUE` say, before there is an engine and once there is. */
static int set_all(const struct play *p, struct mb_config *config)
{
    char key[MAX_WORD + 1], value[MAX_WORD + 1];
    int code = 0;
    for (char **line = p->asked; code == 0 && *line != NULL; line++)
        if (sscanf(*line, "set %63s %63s", key, value) == 2 && (code = set(config, p->engine, key, value)) < 0)
            fprintf(stderr, "%s: %s\n", *line, mb_error_text(code));
    return code;
}

/* Listens to packets only if one is to be dropped. */
static int listen_all(struct play *p)
{
    int code = mb_monitor_history(p->monitor, HISTORY);
    for (char **line = p->asked; code == 0 && *line != NULL; line++) {
        if (strncmp(*line, "scope ", 6) == 0)
            code = mb_monitor_scope(p->monitor, *line + 6);
        else if (strstr(*line, " drop ") != NULL)
            code = mb_on(p->monitor, NULL, MB_EV_PACKET, MB_HOOK_SND | MB_HOOK_RCV, on_packet, p);
    }
    if (code == 0)
        code = mb_on(p->monitor, NULL, MB_EV_RAW, MB_HOOK_NONE, on_raw, p);
    for (uint32_t event = 0; code == 0 && event < MB_EV_BUILTIN; event++)
        if (tells[event] != NULL)
            code = mb_on(p->monitor, NULL, event, MB_HOOK_NONE, on_event, p);
    return code;
}

static int set_up(struct play *p, char *err)
{
    struct mb_config config;
    mb_config_init(&config);
    int code = set_all(p, &config);
    if (code < 0)
        return code;
    p->engine = mb_engine_new(&config, err);
    if (p->engine == NULL || (p->monitor = mb_monitor_new(p->engine, "play", err)) == NULL)
        return MB_EINVAL;
    code = set_all(p, &config);
    return code < 0 ? code : listen_all(p);
}

/* Frame by frame: the Python API has many taken at a time, and both must tell the same. */
static int run(struct play *p, struct mb_source *source)
{
    int code;
    do
        code = mb_engine_run(p->engine, source, 1);
    while (code > 0);
    return code < 0 ? code : mb_engine_finish(p->engine);
}

int main(int argc, char **argv)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct play p = {.asked = argv + 2};
    if (argc < 2) {
        fputs("usage: play_case FILE [LINE]...\n", stderr);
        return 2;
    }
    struct mb_source *source = mb_source_file(argv[1], err);
    int code = source != NULL ? set_up(&p, err) : MB_EIO;
    if (code == 0)
        code = run(&p, source);
    if (code < 0)
        fprintf(stderr, "play_case: %s: %s\n", mb_error_text(code), p.engine ? mb_engine_errmsg(p.engine) : err);
    mb_engine_free(p.engine);
    mb_source_free(source);
    return code < 0;
}
