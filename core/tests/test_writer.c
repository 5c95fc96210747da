/* SPDX-License-Identifier: BSD-3-Clause */
/* test_writer -- pcap files written, read back by us and by libpcap */
#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/source.h"
#include "test.h"

#define PACKETS 3000

static uint8_t packet[262144];

static const char *scratch(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/mosbox-test-writer-%d", (int)getpid());
    return path;
}

/* The n-th frame: lengths from 0 up, more in all than the buffer holds. */
static struct mb_frame make_frame(uint32_t n)
{
    struct mb_frame f = {.ts = 1700000000123456789 + n, .data = packet};
    f.caplen = n % 700;
    f.wirelen = n + 700;
    memset(packet, (int)n, f.caplen);
    return f;
}

static void write_packets(const char *path, int linktype)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct mb_writer *w = mb_writer_new(path, linktype, err);
    CHECK_STR(err, "");
    for (uint32_t n = 0; n < PACKETS; n++) {
        struct mb_frame f = make_frame(n);
        CHECK_INT(mb_writer_put(w, &f), 0);
    }
    CHECK_INT(mb_writer_free(w), 0);
}

static void test_read_back(void)
{
    char err[MB_ERRBUF_SIZE] = "";
    write_packets(scratch(), 113);
    struct mb_source *s = mb_source_file(scratch(), err);
    CHECK_INT(mb_source_linktype(s), 113);
    struct mb_frame frames[MB_BURST];
    int n, link;
    uint32_t count = 0, wrong = 0;
    while ((n = mb__source_burst(s, frames, MB_BURST, &link)) > 0)
        for (int i = 0; i < n; i++) {
            struct mb_frame want = make_frame(count++);
            wrong += frames[i].ts != want.ts || frames[i].caplen != want.caplen;
            wrong += frames[i].wirelen != want.wirelen;
            wrong += memcmp(frames[i].data, packet, want.caplen) != 0;
        }
    CHECK_INT(count, PACKETS);
    CHECK_INT(wrong, 0);
    CHECK_STR(mb_source_warning(s), "");
    mb_source_free(s);
    unlink(scratch());
}

static void test_libpcap_reads_it(void)
{
    char why[PCAP_ERRBUF_SIZE];
    write_packets(scratch(), 1);
    pcap_t *p = pcap_open_offline_with_tstamp_precision(scratch(), PCAP_TSTAMP_PRECISION_NANO, why);
    CHECK(p != NULL && pcap_datalink(p) == DLT_EN10MB);
    struct pcap_pkthdr *h;
    const u_char *data;
    uint32_t n = 0, wrong = 0;
    while (p != NULL && pcap_next_ex(p, &h, &data) == 1) {
        struct mb_frame want = make_frame(n++);
        wrong += h->caplen != want.caplen || h->ts.tv_sec * INT64_C(1000000000) + h->ts.tv_usec != want.ts;
    }
    CHECK_INT(n, PACKETS);
    CHECK_INT(wrong, 0);
    if (p != NULL)
        pcap_close(p);
    unlink(scratch());
}

/* What was flushed can be read while the writer goes on. */
static void test_flush(void)
{
    struct stat st;
    struct mb_writer *w = mb_writer_new(scratch(), 1, NULL);
    struct mb_frame f = make_frame(50);
    CHECK_INT(mb_writer_put(w, &f), 0);
    CHECK(stat(scratch(), &st) == 0 && st.st_size == 0);
    CHECK_INT(mb_writer_flush(w), 0);
    CHECK(stat(scratch(), &st) == 0 && st.st_size == 24 + 16 + 50);
    CHECK_INT(mb_writer_free(w), 0);
    unlink(scratch());
}

/* The longest packet is written, a longer one refused: no reader would take it. */
static void test_longest(void)
{
    static uint8_t longer[262145];
    struct mb_frame f = {.data = longer, .caplen = 262145, .wirelen = 262145};
    struct mb_writer *w = mb_writer_new(scratch(), 1, NULL);
    CHECK_INT(mb_writer_put(w, &f), MB_EINVAL);
    f.caplen = 262144;
    for (int i = 0; i < 4; i++)
        CHECK_INT(mb_writer_put(w, &f), 0);
    CHECK_INT(mb_writer_free(w), 0);
    struct stat st;
    CHECK(stat(scratch(), &st) == 0 && st.st_size == 24 + 4 * (16 + 262144));
    unlink(scratch());
}

/* Nobody reads: MB_EPIPE, once the buffer goes out. */
static void test_broken_pipe(void)
{
    int ends[2], saved = dup(STDOUT_FILENO);
    fflush(stdout);
    CHECK_INT(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    struct mb_writer *w = mb_writer_new("-", 1, NULL);
    int flushed = mb_writer_flush(w), freed = mb_writer_free(w);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    CHECK_INT(flushed, MB_EPIPE);
    CHECK_INT(freed, MB_EPIPE);
}

static void test_refused(void)
{
    char err[MB_ERRBUF_SIZE];
    CHECK(mb_writer_new("/nonexistent/x.pcap", 1, err) == NULL);
    CHECK_STR(err, "/nonexistent/x.pcap: No such file or directory");
    CHECK(mb_writer_new("/nonexistent/x.pcap", 1, NULL) == NULL);
    CHECK_INT(mb_writer_free(NULL), 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    RUN(test_read_back);
    RUN(test_libpcap_reads_it);
    RUN(test_flush);
    RUN(test_longest);
    RUN(test_broken_pipe);
    RUN(test_refused);
    return test_done();
}
