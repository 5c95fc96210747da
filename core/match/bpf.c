/* SPDX-License-Identifier: BSD-3-Clause */
/* bpf -- filters in libpcap's language on the frame of a packet
 *
 * BPF code looks at link-layer bytes, so it is compiled for a link type. Which
 * ones a run meets is known when their packets come: a filter is tried at its
 * making, and compiled for each link type at the first packet of it.
 */
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match/filter.h"

#define SNAPLEN 262144
#define MAX_LINKS 16 /* link types a filter is compiled for; packets of others do not match */

struct mb__bpf {
    int count;
    struct {
        int link;
        bool none; /* it makes no sense for this link type: nothing matches */
        struct bpf_program code;
    } compiled[MAX_LINKS];
    char text[];
};

/* libpcap's view of an empty capture file of link type |link|: it knows how
 * the numbers in files map to those of the system. NULL: unknown. */
static pcap_t *open_empty(int link)
{
    struct pcap_file_header header = {.magic = 0xa1b2c3d4u, .version_major = 2, .version_minor = 4};
    header.snaplen = SNAPLEN;
    header.linktype = (uint32_t)link;
    FILE *file = fmemopen(&header, sizeof header, "rb");
    if (file == NULL)
        return NULL;
    char why[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = pcap_fopen_offline(file, why);
    if (pcap == NULL)
        fclose(file);
    return pcap;
}

/* Compiles |text| for |link|. 0, MB_ENOTSUP (unknown link type) or MB_ESYNTAX
 * and a sentence in |err|. */
static int compile(const char *text, int link, struct bpf_program *code, char *err)
{
    pcap_t *pcap = open_empty(link);
    if (pcap == NULL)
        return MB_ENOTSUP;
    int rc = 0;
    if (pcap_compile(pcap, code, text, 1, PCAP_NETMASK_UNKNOWN) != 0) {
        rc = MB_ESYNTAX;
        if (err != NULL)
            snprintf(err, MB_ERRBUF_SIZE, "%s", pcap_geterr(pcap));
    }
    pcap_close(pcap);
    return rc;
}

/* Whether |text| makes sense for some link type; if not, the sentence is that
 * of the most usual one. */
static int check(const char *text, char *err)
{
    static const int links[] = {1 /* Ethernet */, 101 /* raw IP */, 105 /* 802.11 */, 113 /* Linux cooked */};
    int first = 0;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        struct bpf_program code;
        int rc = compile(text, links[i], &code, i == 0 ? err : NULL);
        if (rc == 0) {
            pcap_freecode(&code);
            return 0;
        }
        if (i == 0)
            first = rc;
    }
    return first;
}

struct mb__bpf *mb__bpf_new(const char *text, char *err)
{
    if (check(text, err) < 0)
        return NULL;
    size_t size = strlen(text) + 1;
    struct mb__bpf *b = calloc(1, sizeof *b + size);
    if (b != NULL)
        memcpy(b->text, text, size);
    else if (err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(MB_ENOMEM));
    return b;
}

void mb__bpf_free(void *bpf)
{
    struct mb__bpf *b = bpf;
    if (b == NULL)
        return;
    for (int i = 0; i < b->count; i++)
        if (!b->compiled[i].none)
            pcap_freecode(&b->compiled[i].code);
    free(b);
}

/* The code for |link|; NULL if nothing of it matches. */
static const struct bpf_insn *code_for(struct mb__bpf *b, int link)
{
    int i = 0;
    while (i < b->count && b->compiled[i].link != link)
        i++;
    if (i == b->count) {
        if (i == MAX_LINKS)
            return NULL;
        b->compiled[i].link = link;
        b->compiled[i].none = compile(b->text, link, &b->compiled[i].code, NULL) < 0;
        b->count++;
    }
    return b->compiled[i].none ? NULL : b->compiled[i].code.bf_insns;
}

bool mb__bpf_match(struct mb__bpf *b, const struct mb_packet *p)
{
    const struct bpf_insn *code = code_for(b, p->link);
    return code != NULL && bpf_filter(code, p->frame, p->wire_len, p->frame_len) != 0;
}

/* ---- as a filter of events and as the scope of a monitor ---- */

static int event_filter(struct mb_event *ev, void *arg)
{
    return ev->packet != NULL && mb__bpf_match(arg, ev->packet);
}

static bool scope_filter(const struct mb_packet *packet, void *arg)
{
    return mb__bpf_match(arg, packet);
}

int mb__event_define_bpf(struct mb__events *es, uint32_t parent, const char *bpf, char *err)
{
    struct mb__bpf *b = mb__bpf_new(bpf, err);
    if (b == NULL)
        return MB_ESYNTAX;
    int id = mb__event_define_owned(es, parent, event_filter, b, mb__bpf_free, bpf);
    if (id < 0 && err != NULL)
        snprintf(err, MB_ERRBUF_SIZE, "%s", mb_error_text(id));
    return id;
}

int mb_monitor_scope(struct mb_monitor *m, const char *bpf)
{
    if (bpf == NULL) {
        mb__monitor_set_scope(m, NULL, NULL, NULL);
        return 0;
    }
    struct mb__bpf *b = mb__bpf_new(bpf, NULL);
    if (b == NULL)
        return MB_ESYNTAX;
    mb__monitor_set_scope(m, scope_filter, b, mb__bpf_free);
    return 0;
}
