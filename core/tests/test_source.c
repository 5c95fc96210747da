/* SPDX-License-Identifier: BSD-3-Clause */
/* test_source -- capture files of every kind, whole, cut, damaged and slow */
#include <arpa/inet.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io/source.h"
#include "test.h"

#define SECOND INT64_C(1000000000)

/* ---- capture files made in memory ---- */

struct bytes {
    uint8_t p[1 << 18];
    size_t len;
    bool swap; /* numbers are written in the other byte order */
};

static struct bytes file;

static void start(bool swap)
{
    file.len = 0;
    file.swap = swap;
}

static void put(const void *p, size_t len)
{
    memcpy(file.p + file.len, p, len);
    file.len += len;
}

static void put_u16(uint16_t v)
{
    v = file.swap ? __builtin_bswap16(v) : v;
    put(&v, 2);
}

static void put_u32(uint32_t v)
{
    v = file.swap ? __builtin_bswap32(v) : v;
    put(&v, 4);
}

static void put_pcap_header(uint32_t magic, uint16_t minor, uint32_t snaplen, uint32_t link)
{
    put_u32(magic);
    put_u16(2);
    put_u16(minor);
    put_u32(0);
    put_u32(0);
    put_u32(snaplen);
    put_u32(link);
}

/* A packet whose bytes tell its number. */
static void put_packet(uint32_t number, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        file.p[file.len++] = (uint8_t)(number + i);
}

static void put_record(uint32_t number, uint32_t seconds, uint32_t fraction, uint32_t caplen,
                       uint32_t wirelen)
{
    put_u32(seconds);
    put_u32(fraction);
    put_u32(caplen);
    put_u32(wirelen);
    put_packet(number, caplen);
}

/* |count| records, the n-th of 60 + n % 7 bytes at 1000 + n seconds and n fractions. */
static void put_records(uint32_t count)
{
    for (uint32_t n = 0; n < count; n++)
        put_record(n, 1000 + n, n, 60 + n % 7, 100 + n);
}

static size_t begin_block(uint32_t type)
{
    put_u32(type);
    put_u32(0);
    return file.len - 8;
}

static void end_block(size_t at)
{
    while (file.len % 4 != 0)
        file.p[file.len++] = 0;
    uint32_t len = (uint32_t)(file.len + 4 - at);
    put_u32(len);
    memcpy(file.p + at + 4, file.p + file.len - 4, 4);
}

static void put_section(void)
{
    size_t at = begin_block(0x0a0d0d0a);
    put_u32(0x1a2b3c4d);
    put_u16(1);
    put_u16(0);
    put_u32(UINT32_MAX); /* section length not known */
    put_u32(UINT32_MAX);
    end_block(at);
}

/* An interface; |resolution| 0 leaves the option out. */
static void put_interface(uint16_t link, uint32_t snaplen, uint8_t resolution, uint32_t offset)
{
    size_t at = begin_block(1);
    put_u16(link);
    put_u16(0);
    put_u32(snaplen);
    put_u16(2); /* if_name, to be passed over */
    put_u16(5);
    put("eth0\0\0\0", 8);
    if (resolution != 0) {
        put_u16(9);
        put_u16(1);
        put((uint8_t[4]){resolution}, 4);
    }
    if (offset != 0) {
        put_u16(14);
        put_u16(8);
        put_u32(file.swap ? 0 : offset);
        put_u32(file.swap ? offset : 0);
    }
    put_u32(0); /* end of options */
    end_block(at);
}

static void put_enhanced(uint32_t interface, uint64_t stamp, uint32_t number, uint32_t len)
{
    size_t at = begin_block(6);
    put_u32(interface);
    put_u32((uint32_t)(stamp >> 32));
    put_u32((uint32_t)stamp);
    put_u32(len);
    put_u32(len + 10);
    put_packet(number, len);
    end_block(at);
}

/* ---- reading ---- */

/* What one run over a source gave. */
struct result {
    struct mb_frame frame[512]; /* data: only compared while it lasts */
    int link[512];
    int count;
    int wrong_bytes;            /* packets whose bytes do not tell their number */
    int idle;                   /* times there was nothing */
    int end;                    /* 0 or an error */
    char warning[MB_ERRBUF_SIZE];
};

static struct result got;

static void check_bytes(const struct mb_frame *f)
{
    for (uint32_t i = 0; i < f->caplen; i++)
        if (f->data[i] != (uint8_t)(got.count + (int)i)) {
            got.wrong_bytes++;
            return;
        }
}

static void read_all(struct mb_source *s, int max)
{
    struct mb_frame frames[MB_BURST];
    int n, link;
    memset(&got, 0, sizeof got);
    while ((n = mb__source_burst(s, frames, max, &link)) > 0 || n == MB__SOURCE_IDLE) {
        got.idle += n == MB__SOURCE_IDLE;
        for (int i = 0; i < n && got.count < 512; i++) {
            check_bytes(&frames[i]);
            got.frame[got.count] = frames[i];
            got.link[got.count++] = link;
        }
    }
    got.end = n;
    snprintf(got.warning, sizeof got.warning, "%s", mb_source_warning(s));
    CHECK_INT(mb__source_burst(s, frames, max, &link), n); /* an end stays one */
}

static void read_memory(size_t len)
{
    char err[MB_ERRBUF_SIZE] = "";
    uint8_t *copy = malloc(len + 1); /* of exact size, so that ASan sees a read behind it */
    copy = realloc(copy, len != 0 ? len : 1);
    memcpy(copy, file.p, len);
    struct mb_source *s = mb__source_memory(copy, len, err);
    CHECK_STR(s != NULL ? "" : err, "");
    if (s != NULL)
        read_all(s, MB_BURST);
    mb_source_free(s);
    free(copy);
}

static void check_records(int count, uint32_t unit)
{
    CHECK_INT(got.count, count);
    CHECK_INT(got.wrong_bytes, 0);
    for (int n = 0; n < got.count; n++) {
        CHECK_INT(got.frame[n].ts, (1000 + n) * SECOND + n * (int64_t)unit);
        CHECK_INT(got.frame[n].caplen, 60 + n % 7);
        CHECK_INT(got.frame[n].wirelen, 100 + n);
    }
}

/* A path for this test's files. */
static const char *scratch(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/mosbox-test-source-%d", (int)getpid());
    return path;
}

static void save(const void *p, size_t len)
{
    FILE *f = fopen(scratch(), "wb");
    CHECK(f != NULL && fwrite(p, 1, len, f) == len && fclose(f) == 0);
}

/* ---- pcap ---- */

static void test_pcap_orders_and_units(void)
{
    static const struct {
        uint32_t magic, unit;
    } kind[] = {{0xa1b2c3d4, 1000}, {0xa1b23c4d, 1}};
    for (int k = 0; k < 2; k++) {
        for (int swap = 0; swap < 2; swap++) {
            start(swap != 0);
            put_pcap_header(kind[k].magic, 4, 65535, 1);
            put_records(150);
            read_memory(file.len);
            check_records(150, kind[k].unit);
            CHECK_INT(got.link[0], 1);
            CHECK_INT(got.end, 0);
            CHECK_STR(got.warning, "");
        }
    }
}

static void test_pcap_patched(void)
{
    start(false);
    put_pcap_header(0xa1b2cd34, 4, 65535, 1);
    for (uint32_t n = 0; n < 3; n++) {
        put_u32(1000 + n);
        put_u32(n);
        put_u32(60 + n);
        put_u32(100 + n);
        put("12345678", 8);
        put_packet(n, 60 + n);
    }
    read_memory(file.len);
    check_records(3, 1000);
    CHECK_INT(got.end, 0);
}

static void test_pcap_old_versions(void)
{
    start(false);
    put_pcap_header(0xa1b2c3d4, 2, 65535, 1); /* lengths the other way round */
    put_u32(7);
    put_u32(0);
    put_u32(100);
    put_u32(60);
    put_packet(0, 60);
    read_memory(file.len);
    CHECK_INT(got.count, 1);
    CHECK_INT(got.frame[0].caplen, 60);
    CHECK_INT(got.frame[0].wirelen, 100);
    CHECK_INT(got.end, 0);
}

static void test_pcap_link_bits_and_late_times(void)
{
    start(false);
    put_pcap_header(0xa1b2c3d4, 4, 65535, 0xf4000000u | 113);
    put_record(0, UINT32_MAX, 999999, 60, 60);
    read_memory(file.len);
    CHECK_INT(got.link[0], 113);
    CHECK_INT(got.frame[0].ts, UINT32_MAX * SECOND + 999999000);
}

static void test_pcap_snaplen(void)
{
    start(false);
    put_pcap_header(0xa1b2c3d4, 4, 50, 1);
    put_records(5);
    read_memory(file.len);
    CHECK_INT(got.count, 5);
    CHECK_INT(got.wrong_bytes, 0);
    for (int n = 0; n < 5; n++)
        CHECK_INT(got.frame[n].caplen, 50); /* as libpcap cuts them */
}

static void test_pcap_cut_anywhere(void)
{
    start(false);
    put_pcap_header(0xa1b23c4d, 4, 65535, 1);
    put_records(4);
    size_t whole[] = {24, 24 + 76, 24 + 76 + 77, 24 + 76 + 77 + 78, file.len}, len = file.len;
    for (size_t cut = 24; cut <= len; cut++) {
        int packets = 0;
        while (packets < 4 && whole[packets + 1] <= cut)
            packets++;
        read_memory(cut);
        check_records(packets, 1);
        CHECK_INT(got.end, 0);
        if (whole[packets] == cut)
            CHECK_STR(got.warning, "");
        else
            CHECK(strstr(got.warning, "the file ends inside packet") != NULL);
    }
}

static void test_pcap_absurd_length(void)
{
    for (int swap = 0; swap < 2; swap++) {
        start(swap != 0);
        put_pcap_header(0xa1b23c4d, 4, 65535, 1);
        put_records(2);
        put_u32(1);
        put_u32(2);
        put_u32(0xfffffff0u);
        put_u32(3);
        put_packet(2, 200);
        read_memory(file.len);
        check_records(2, 1);
        CHECK_INT(got.end, MB_EFORMAT);
        CHECK(strstr(got.warning, "packet 3 at byte 177 ") != NULL);
        CHECK(strstr(got.warning, "4294967280") != NULL);
    }
}

/* ---- pcapng ---- */

static void test_pcapng(void)
{
    for (int swap = 0; swap < 2; swap++) {
        start(swap != 0);
        put_section();
        put_interface(1, 0, 0, 0);
        put_interface(1, 0, 9, 5);
        put_interface(101, 0, 0x80 | 10, 0);
        size_t at = begin_block(5); /* statistics: nothing for us */
        put_u32(0);
        end_block(at);
        put_enhanced(0, 1000000000000001, 0, 61);
        put_enhanced(1, 2000000000000000001, 1, 62);
        put_enhanced(2, (UINT64_C(3000) << 10) + 512, 2, 63);
        file.swap = swap == 0;
        put_section(); /* the other byte order, other interfaces */
        put_interface(113, 65535, 3, 0);
        put_enhanced(0, 4000001, 3, 64);
        read_memory(file.len);
        CHECK_INT(got.count, 4);
        CHECK_INT(got.wrong_bytes, 0);
        CHECK_INT(got.frame[0].ts, 1000000000 * SECOND + 1000);
        CHECK_INT(got.frame[1].ts, 2000000005 * SECOND + 1);
        CHECK_INT(got.frame[2].ts, 3000 * SECOND + SECOND / 2);
        CHECK_INT(got.frame[3].ts, 4000 * SECOND + SECOND / 1000);
        for (int n = 0; n < 4; n++) {
            CHECK_INT(got.frame[n].caplen, 61 + n);
            CHECK_INT(got.frame[n].wirelen, 71 + n);
        }
        CHECK_INT(got.link[0], 1);
        CHECK_INT(got.link[1], 1);
        CHECK_INT(got.link[2], 101);
        CHECK_INT(got.link[3], 113);
        CHECK_INT(got.end, 0);
        CHECK_STR(got.warning, "");
    }
}

static void test_pcapng_simple_and_obsolete(void)
{
    start(false);
    put_section();
    put_interface(1, 64, 0, 0);
    put_enhanced(0, 7000000, 0, 60);
    size_t at = begin_block(3); /* simple: 100 bytes on the wire, 64 here */
    put_u32(100);
    put_packet(1, 64);
    end_block(at);
    at = begin_block(2); /* obsolete */
    put_u16(0);
    put_u16(9);
    put_u32(0);
    put_u32(8000000);
    put_u32(62);
    put_u32(90);
    put_packet(2, 62);
    end_block(at);
    read_memory(file.len);
    CHECK_INT(got.count, 3);
    CHECK_INT(got.wrong_bytes, 0);
    CHECK_INT(got.frame[1].ts, 7 * SECOND); /* none of its own */
    CHECK_INT(got.frame[1].caplen, 64);
    CHECK_INT(got.frame[1].wirelen, 100);
    CHECK_INT(got.frame[2].ts, 8 * SECOND);
    CHECK_INT(got.frame[2].caplen, 62);
    CHECK_INT(got.frame[2].wirelen, 90);
}

static void check_damaged(const char *why)
{
    read_memory(file.len);
    CHECK_INT(got.count, 1);
    CHECK_INT(got.end, MB_EFORMAT);
    CHECK(strstr(got.warning, why) != NULL);
}

/* A section with one interface and one good packet. */
static void start_pcapng(void)
{
    start(false);
    put_section();
    put_interface(1, 0, 0, 0);
    put_enhanced(0, 1, 0, 60);
}

static void test_pcapng_damaged(void)
{
    start_pcapng();
    put_enhanced(1, 1, 1, 60);
    check_damaged("interface 1 of 1");
    start_pcapng();
    put_enhanced(0, 1, 1, 60);
    file.p[file.len - 4] ^= 4;
    check_damaged("in front and");
    start_pcapng();
    size_t at = begin_block(6);
    for (int i = 0; i < 3; i++)
        put_u32(0);
    put_u32(61);
    put_u32(61);
    put_packet(1, 60);
    end_block(at);
    check_damaged("claims 61 captured bytes and has 60");
    start_pcapng();
    put_u32(6);
    put_u32(13);
    put_u32(13);
    check_damaged("its length is 13");
    start_pcapng();
    put_interface(1, 0, 0xc0, 0);
    check_damaged("resolution is 0xc0");
}

static void test_pcapng_cut_anywhere(void)
{
    start_pcapng();
    size_t first = file.len;
    put_enhanced(0, 2, 1, 61);
    size_t front = first - 12 - 20 - 60;
    for (size_t cut = front; cut <= file.len; cut++) {
        read_memory(cut);
        CHECK_INT(got.count, (cut >= first) + (cut == file.len));
        CHECK_INT(got.end, 0);
        bool whole = cut == front || cut == first || cut == file.len;
        CHECK_INT(got.warning[0] == '\0', whole);
    }
}

/* Stamps at the ends of what 64 bits hold are held there, not wrapped. */
static void test_pcapng_far_times(void)
{
    start(false);
    put_section();
    put_interface(1, 0, 6, 0);
    put_interface(1, 0, 0xbf, 0);
    put_interface(1, 0, 19, 0);
    put_enhanced(0, UINT64_MAX, 0, 60);
    put_enhanced(1, UINT64_MAX, 1, 60);
    put_enhanced(2, UINT64_MAX, 2, 60);
    read_memory(file.len);
    CHECK_INT(got.count, 3);
    CHECK_INT(got.frame[0].ts, INT64_MAX);
    CHECK_INT(got.frame[1].ts, 2 * SECOND - 1);
    CHECK_INT(got.frame[2].ts, 1844674407);
}

/* ---- files, gzip and pipes ---- */

/* |len| bytes as a gzip member at |out|: its length. */
static size_t gzip(const uint8_t *p, size_t len, uint8_t *out, size_t size)
{
    z_stream z = {.next_in = (uint8_t *)p, .next_out = out};
    z.avail_in = (unsigned)len;
    z.avail_out = (unsigned)size;
    CHECK_INT(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    CHECK_INT(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void read_path(const char *path)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct mb_source *s = mb_source_file(path, err);
    CHECK_STR(s != NULL ? "" : err, "");
    if (s == NULL)
        return;
    uint64_t done, total;
    read_all(s, 10);
    mb_source_progress(s, &done, &total);
    CHECK(total == 0 || done <= total);
    mb_source_free(s);
}

static void test_file_and_gzip(void)
{
    static uint8_t packed[1 << 18];
    start(false);
    put_pcap_header(0xa1b23c4d, 4, 65535, 1);
    put_records(300);
    save(file.p, file.len);
    read_path(scratch());
    check_records(300, 1);

    size_t len = gzip(file.p, 1000, packed, sizeof packed); /* two members, then padding */
    len += gzip(file.p + 1000, file.len - 1000, packed + len, sizeof packed - len);
    memset(packed + len, 0, 100);
    save(packed, len + 100);
    read_path(scratch());
    check_records(300, 1);
    CHECK_INT(got.end, 0);
    CHECK_STR(got.warning, "");

    save(packed, len - 3);
    read_path(scratch());
    CHECK_INT(got.end, 0);
    CHECK(strstr(got.warning, "ends early") != NULL);

    packed[len - 8] ^= 1; /* checksum */
    save(packed, len);
    read_path(scratch());
    check_records(300, 1);
    CHECK_INT(got.end, MB_EFORMAT);
    CHECK(strstr(got.warning, "gzip data is damaged") != NULL);
    unlink(scratch());
}

/* Writes the file in |piece| bytes, slowly. */
static void *write_slowly(void *arg)
{
    size_t piece = *(size_t *)arg;
    FILE *f = fopen(scratch(), "wb");
    for (size_t at = 0; f != NULL && at < file.len; at += piece) {
        size_t n = file.len - at < piece ? file.len - at : piece;
        fwrite(file.p + at, 1, n, f);
        fflush(f);
        usleep(at == 0 ? 150000 : 200);
    }
    if (f != NULL)
        fclose(f);
    return NULL;
}

static void test_slow_fifo(void)
{
    start(true);
    put_pcap_header(0xa1b2c3d4, 4, 65535, 1);
    put_records(40);
    CHECK_INT(mkfifo(scratch(), 0600), 0);
    for (size_t piece = 1; piece < 60; piece += 29) {
        pthread_t writer;
        pthread_create(&writer, NULL, write_slowly, &piece);
        read_path(scratch());
        pthread_join(writer, NULL);
        check_records(40, 1000);
        CHECK_INT(got.end, 0);
    }
    size_t piece = 24 + 76; /* the header and a packet, then a pause: burst() does not hang */
    pthread_t writer;
    pthread_create(&writer, NULL, write_slowly, &piece);
    read_path(scratch());
    pthread_join(writer, NULL);
    check_records(40, 1000);
    CHECK(got.idle > 0);
    unlink(scratch());
}

static void test_growing_file(void)
{
    char err[MB_ERRBUF_SIZE];
    start(false);
    put_pcap_header(0xa1b2c3d4, 4, 65535, 1);
    put_records(10);
    size_t half = file.len - 30; /* inside the last packet */
    save(file.p, half);
    struct mb_source *s = mb_source_file(scratch(), err);
    struct mb_frame frames[MB_BURST];
    int link;
    CHECK_INT(mb__source_burst(s, frames, MB_BURST, &link), 9);
    FILE *f = fopen(scratch(), "ab");
    CHECK(f != NULL && fwrite(file.p + half, 1, 30, f) == 30 && fclose(f) == 0);
    CHECK_INT(mb__source_burst(s, frames, MB_BURST, &link), 1);
    CHECK_INT(frames[0].caplen, 62);
    CHECK_INT(mb__source_burst(s, frames, MB_BURST, &link), 0);
    CHECK_STR(mb_source_warning(s), "");
    mb_source_free(s);
    unlink(scratch());
}

/* A packet of the greatest length does not fit the first window. */
static void test_long_packets(void)
{
    char err[MB_ERRBUF_SIZE];
    static uint8_t packet[262144];
    uint32_t header[4] = {1, 2, sizeof packet, sizeof packet};
    start(false);
    put_pcap_header(0xa1b2c3d4, 4, 262144, 1);
    FILE *f = fopen(scratch(), "wb");
    fwrite(file.p, 1, file.len, f);
    for (int i = 0; i < 5; i++) {
        memset(packet, i, sizeof packet);
        fwrite(header, 1, sizeof header, f);
        fwrite(packet, 1, sizeof packet, f);
    }
    fclose(f);
    struct mb_source *s = mb_source_file(scratch(), err);
    struct mb_frame frames[MB_BURST];
    int n, link, count = 0;
    while ((n = mb__source_burst(s, frames, MB_BURST, &link)) > 0)
        for (int i = 0; i < n; i++, count++) {
            CHECK_INT(frames[i].caplen, sizeof packet);
            CHECK_INT(frames[i].data[0], count);
            CHECK_INT(frames[i].data[sizeof packet - 1], count);
        }
    CHECK_INT(count, 5);
    CHECK_STR(mb_source_warning(s), "");
    mb_source_free(s);
    unlink(scratch());
}

static void check_refused(const char *path, const char *why)
{
    char err[MB_ERRBUF_SIZE] = "";
    CHECK(mb_source_file(path, err) == NULL);
    CHECK(strstr(err, path) != NULL);
    CHECK(strstr(err, why) != NULL);
    CHECK(mb_source_file(path, NULL) == NULL);
}

static void test_refused(void)
{
    check_refused("/nonexistent/x.pcap", "No such file");
    check_refused("/tmp", "directory");
    save("", 0);
    check_refused(scratch(), "is no capture file: it is empty");
    save("hello, world", 12);
    check_refused(scratch(), "is no capture file");
    save("ab", 2);
    check_refused(scratch(), "is no capture file");
    start(false);
    put_pcap_header(0xa1b2c3d4, 4, 65535, 1);
    save(file.p, 23);
    check_refused(scratch(), "ends inside the pcap file header");
    file.p[4] = 3;
    save(file.p, 24);
    check_refused(scratch(), "version 3.4");
    start(false);
    put_section();
    save(file.p, file.len);
    check_refused(scratch(), "before any interface");
    put_enhanced(0, 0, 0, 60);
    save(file.p, file.len);
    check_refused(scratch(), "interface 0 of 0");
    unlink(scratch());
}

/* ---- filters ---- */

/* An Ethernet frame, or raw IP, with an empty UDP datagram to |port|. */
static size_t make_udp(uint8_t *p, bool ethernet, uint16_t port)
{
    static const uint8_t ip[20] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
    size_t at = ethernet ? 14 : 0;
    memset(p, 0, at + 28);
    if (ethernet)
        p[12] = 8;
    memcpy(p + at, ip, sizeof ip);
    p[at + 20 + 2] = (uint8_t)(port >> 8);
    p[at + 20 + 3] = (uint8_t)port;
    p[at + 20 + 5] = 8;
    return at + 28;
}

static void put_udp(uint32_t interface, bool ethernet, uint16_t port)
{
    uint8_t packet[64];
    size_t len = make_udp(packet, ethernet, port);
    size_t at = begin_block(6);
    put_u32(interface);
    put_u32(0);
    put_u32(port);
    put_u32((uint32_t)len);
    put_u32((uint32_t)len);
    put(packet, len);
    end_block(at);
}

/* One filter over two link types, most of the packets filtered away. */
static void test_filter(void)
{
    char err[MB_ERRBUF_SIZE] = "";
    start(false);
    put_section();
    put_interface(1, 0, 0, 0);
    put_interface(101, 0, 0, 0);
    for (uint16_t port = 0; port < 500; port++)
        put_udp(port % 2, port % 2 == 0, port);
    struct mb_source *s = mb__source_memory(file.p, file.len, err);
    CHECK_INT(mb_source_filter(s, "tcp prot 80", err), MB_ESYNTAX);
    CHECK(strstr(err, "syntax error") != NULL);
    CHECK_INT(mb_source_filter(s, "udp port 7 or udp port 400 or port 401", err), 0);
    read_all(s, MB_BURST);
    CHECK_INT(got.count, 3);
    CHECK_INT(got.frame[0].ts, 7000);
    CHECK_INT(got.frame[1].ts, 400000);
    CHECK_INT(got.frame[2].ts, 401000);
    CHECK_INT(got.link[0], 101);
    CHECK_INT(got.link[1], 1);
    CHECK_INT(got.end, 0);
    mb_source_free(s);
}

/* ---- libpcap as a second implementation ---- */

static void compare_with_libpcap(void)
{
    char why[PCAP_ERRBUF_SIZE];
    pcap_t *p = pcap_open_offline_with_tstamp_precision(scratch(), PCAP_TSTAMP_PRECISION_NANO, why);
    read_path(scratch());
    CHECK(p != NULL);
    if (p == NULL)
        return;
    struct pcap_pkthdr *h;
    const u_char *data;
    int n = 0;
    while (pcap_next_ex(p, &h, &data) == 1) {
        CHECK_INT(got.frame[n].ts, h->ts.tv_sec * SECOND + h->ts.tv_usec);
        CHECK_INT(got.frame[n].caplen, h->caplen);
        CHECK_INT(got.frame[n].wirelen, h->len);
        n++;
    }
    CHECK_INT(got.count, n);
    pcap_close(p);
}

static void test_like_libpcap(void)
{
    for (int kind = 0; kind < 8; kind++) {
        start(kind & 1);
        put_pcap_header(kind & 2 ? 0xa1b23c4d : 0xa1b2c3d4, 4, kind & 4 ? 62 : 0, 1);
        put_records(200);
        save(file.p, file.len - (kind & 4 ? 10 : 0));
        compare_with_libpcap();
    }
    for (int swap = 0; swap < 2; swap++) {
        start(swap != 0);
        put_section();
        put_interface(1, 0, 0x80 | 20, 1000);
        for (uint32_t n = 0; n < 100; n++)
            put_enhanced(0, (UINT64_C(1700000000) << 20) + n * 12345, n, 60 + n);
        save(file.p, file.len);
        compare_with_libpcap();
    }
    unlink(scratch());
}

/* ---- interfaces ---- */

static void send_datagrams(uint16_t port, int count)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    for (int i = 0; i < count; i++)
        sendto(fd, &i, sizeof i, 0, (struct sockaddr *)&to, sizeof to);
    close(fd);
}

static void test_live(void)
{
    char err[MB_ERRBUF_SIZE] = "";
    CHECK(mb_source_live("mosbox-none0", 0, false, err) == NULL);
    CHECK(strstr(err, "mosbox-none0: ") == err);
    struct mb_source *s = mb_source_live("lo", 0, false, err);
    if (s == NULL) {
        printf("skip: %s\n", err);
        return;
    }
    CHECK(mb_source_is_live(s));
    CHECK_INT(mb_source_linktype(s), 1);
    CHECK_INT(mb_source_filter(s, "udp prot 1", err), MB_ESYNTAX);
    CHECK_INT(mb_source_filter(s, "udp dst port 47123", err), 0);
    struct mb_frame frames[MB_BURST];
    int link, count = 0, idle = 0;
    CHECK_INT(mb__source_burst(s, frames, MB_BURST, &link), MB__SOURCE_IDLE);
    send_datagrams(47123, 10);
    while (count < 20 && idle < 20) { /* loopback shows each packet once or twice */
        int n = mb__source_burst(s, frames, MB_BURST, &link);
        if (n == MB__SOURCE_IDLE && ++idle && count >= 10)
            break;
        for (int i = 0; i < n; i++, count++)
            CHECK_INT(frames[i].caplen, 14 + 20 + 8 + 4);
    }
    CHECK(count == 10 || count == 20);
    uint64_t received = 0, dropped = 0;
    s->ops->counters(s, &received, &dropped);
    CHECK(received >= 10);
    mb_source_free(s);
}

int main(void)
{
    RUN(test_pcap_orders_and_units);
    RUN(test_pcap_patched);
    RUN(test_pcap_old_versions);
    RUN(test_pcap_link_bits_and_late_times);
    RUN(test_pcap_snaplen);
    RUN(test_pcap_cut_anywhere);
    RUN(test_pcap_absurd_length);
    RUN(test_pcapng);
    RUN(test_pcapng_simple_and_obsolete);
    RUN(test_pcapng_damaged);
    RUN(test_pcapng_cut_anywhere);
    RUN(test_pcapng_far_times);
    RUN(test_file_and_gzip);
    RUN(test_slow_fifo);
    RUN(test_growing_file);
    RUN(test_long_packets);
    RUN(test_refused);
    RUN(test_filter);
    RUN(test_like_libpcap);
    RUN(test_live);
    return test_done();
}
