/* SPDX-License-Identifier: BSD-3-Clause */
/* live -- an interface as a source, through libpcap
 *
 * libpcap lends a packet's bytes only until the next is asked for, and a burst
 * has to last longer, so packets are copied, one behind the other, to a buffer
 * of their own; a burst ends when the longest packet might not fit any more.
 */
#include <pcap/pcap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "io/source.h"

#define SNAPLEN_DEFAULT 262144
#define ARENA_SIZE (1u << 20)     /* bytes of a burst, beside the longest packet */
#define KERNEL_BUFFER (16 << 20)  /* bytes the kernel may hold for us */
#define TIMEOUT_MS 100            /* how long burst() waits for a first packet */

struct live_source {
    struct mb_source source; /* first: see source.h */
    pcap_t *pcap;
    uint8_t *arena;
    size_t arena_size;
    uint32_t snaplen;
    int64_t unit;            /* ns that the fraction of a stamp counts */
};

/* ---- packets ---- */

/* The next packet copied to |room|. 1, 0 if there is none now, or an error. */
static int take_packet(struct live_source *s, struct mb_frame *f, uint8_t *room)
{
    struct pcap_pkthdr *header;
    const u_char *data;
    int rc = pcap_next_ex(s->pcap, &header, &data);
    if (rc == 0 || rc == PCAP_ERROR_BREAK)
        return 0;
    if (rc != 1)
        return mb__say(MB_EIO, s->source.warning, "%s", pcap_geterr(s->pcap));
    f->ts = header->ts.tv_sec * INT64_C(1000000000) + header->ts.tv_usec * s->unit;
    f->data = room;
    f->caplen = header->caplen < s->snaplen ? header->caplen : s->snaplen;
    f->wirelen = header->len;
    memcpy(room, data, f->caplen);
    return 1;
}

/* The packets that are here: their number, or an error if there is none before it. */
static int take_burst(struct live_source *s, struct mb_frame *frames, int max)
{
    size_t used = 0;
    int n = 0;
    while (n < max && s->arena_size - used >= s->snaplen) {
        int rc = take_packet(s, &frames[n], s->arena + used);
        if (rc != 1)
            return n > 0 ? n : rc;
        used += frames[n++].caplen;
    }
    return n;
}

static int live_burst(struct mb_source *source, struct mb_frame *frames, int max, int *link)
{
    struct live_source *s = (struct live_source *)source;
    *link = source->link;
    int n = take_burst(s, frames, max);
    if (n != 0)
        return n;
    struct pollfd ready = {.fd = pcap_get_selectable_fd(s->pcap), .events = POLLIN};
    if (poll(&ready, ready.fd >= 0, TIMEOUT_MS) > 0)
        n = take_burst(s, frames, max);
    return n != 0 ? n : MB__SOURCE_IDLE;
}

static void live_counters(struct mb_source *source, uint64_t *received, uint64_t *dropped)
{
    struct pcap_stat stat = {0};
    pcap_stats(((struct live_source *)source)->pcap, &stat);
    *received = stat.ps_recv;
    *dropped = (uint64_t)stat.ps_drop + stat.ps_ifdrop;
}

static int live_filter(struct mb_source *source, const char *text, char *err)
{
    struct live_source *s = (struct live_source *)source;
    struct bpf_program program;
    if (pcap_compile(s->pcap, &program, text, 1, PCAP_NETMASK_UNKNOWN) != 0)
        return mb__say(MB_ESYNTAX, err, "%s", pcap_geterr(s->pcap));
    int rc = pcap_setfilter(s->pcap, &program);
    pcap_freecode(&program);
    return rc == 0 ? 0 : mb__say(MB_EIO, err, "%s", pcap_geterr(s->pcap));
}

static void live_free(struct mb_source *source)
{
    struct live_source *s = (struct live_source *)source;
    if (s->pcap != NULL)
        pcap_close(s->pcap);
    free(s->arena);
    free(s);
}

static const struct mb__source_ops live_ops = {
    .burst = live_burst,
    .counters = live_counters,
    .filter = live_filter,
    .free = live_free,
};

/* ---- opening ---- */

/* The LINKTYPE_ number of a DLT_ number. Both numberings agree but for these. */
static int link_of_dlt(int dlt)
{
    switch (dlt) {
    case DLT_RAW: return 101;
    case DLT_LOOP: return 108;
    default: return dlt;
    }
}

static void set_options(struct live_source *s, bool promiscuous)
{
    pcap_set_snaplen(s->pcap, (int)s->snaplen);
    pcap_set_promisc(s->pcap, promiscuous);
    pcap_set_immediate_mode(s->pcap, 1);
    pcap_set_timeout(s->pcap, TIMEOUT_MS);
    pcap_set_buffer_size(s->pcap, KERNEL_BUFFER);
    /* Refused where the system has microseconds only. */
    pcap_set_tstamp_precision(s->pcap, PCAP_TSTAMP_PRECISION_NANO);
}

/* Why activation failed, in a sentence that says what to do. */
static int say_refused(struct live_source *s, int status, const char *interface, char *err)
{
    int code = MB_EIO;
    const char *why = pcap_statustostr(status);
    switch (status) {
    case PCAP_ERROR_NO_SUCH_DEVICE:
        code = MB_ENOENT;
        why = "no such interface";
        break;
    case PCAP_ERROR_PERM_DENIED:
        code = MB_EPERM;
        why = "not permitted to capture: it takes root or CAP_NET_RAW";
        break;
    case PCAP_ERROR_PROMISC_PERM_DENIED:
        code = MB_EPERM;
        why = "not permitted to make it promiscuous: it takes CAP_NET_ADMIN";
        break;
    case PCAP_ERROR_IFACE_NOT_UP: why = "the interface is down"; break;
    case PCAP_ERROR: why = pcap_geterr(s->pcap); break;
    }
    return mb__say(code, err, "%s: %s", interface, why);
}

static int open_interface(struct live_source *s, const char *interface, bool promiscuous, char *err)
{
    char why[PCAP_ERRBUF_SIZE] = "";
    s->pcap = pcap_create(interface, why);
    if (s->pcap == NULL)
        return mb__say(MB_EIO, err, "%s: %s", interface, why);
    set_options(s, promiscuous);
    int status = pcap_activate(s->pcap);
    if (status < 0)
        return say_refused(s, status, interface, err);
    if (status > 0) /* it works, with a remark */
        mb__say(0, s->source.warning, "%s: %s", interface, pcap_statustostr(status));
    if (pcap_setnonblock(s->pcap, 1, why) != 0)
        return mb__say(MB_EIO, err, "%s: %s", interface, why);
    s->unit = pcap_get_tstamp_precision(s->pcap) == PCAP_TSTAMP_PRECISION_NANO ? 1 : 1000;
    s->source.link = link_of_dlt(pcap_datalink(s->pcap));
    return 0;
}

struct mb_source *mb_source_live(const char *interface, int snaplen, bool promiscuous, char *err)
{
    struct live_source *s = calloc(1, sizeof *s);
    int rc = 0;
    if (s != NULL) {
        s->source.ops = &live_ops;
        s->source.live = true;
        s->snaplen = snaplen > 0 && snaplen < SNAPLEN_DEFAULT ? (uint32_t)snaplen : SNAPLEN_DEFAULT;
        s->arena_size = ARENA_SIZE + s->snaplen;
        s->arena = malloc(s->arena_size);
    }
    if (s == NULL || s->arena == NULL)
        rc = mb__say(MB_ENOMEM, err, "%s: %s", interface, mb_error_text(MB_ENOMEM));
    else
        rc = open_interface(s, interface, promiscuous, err);
    if (rc == 0)
        return &s->source;
    if (s != NULL)
        live_free(&s->source);
    return NULL;
}
