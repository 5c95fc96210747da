/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_capture -- any bytes as a capture file: ends, reads nothing outside, and
 * gives the same packets from memory as from a file read through the window
 *
 * Invariants: no frame is longer than the limit, every byte of it can be read,
 * an end stays an end, and a failure has a sentence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/capture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t packets;
    uint64_t bytes; /* mix of all that was handed over */
    int end;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void mix(struct sum *sum, uint64_t v)
{
    sum->bytes = (sum->bytes ^ v) * 0x9e3779b97f4a7c15u;
}

static void add_frame(struct sum *sum, const struct mb_frame *f, int link)
{
    require(f->caplen <= MB__CAPLEN_LIMIT);
    sum->packets++;
    mix(sum, (uint64_t)f->ts);
    mix(sum, (uint64_t)f->caplen << 32 | f->wirelen);
    mix(sum, (uint64_t)link);
    for (uint32_t i = 0; i < f->caplen; i++)
        mix(sum, f->data[i]);
}

/* Reads the source to its end and frees it. NULL: it could not be opened. */
static struct sum drain(struct mb_source *s, const char *err)
{
    struct sum sum = {.end = 1};
    struct mb_frame frames[MB_BURST];
    int n, link;
    if (s == NULL) {
        require(err[0] != '\0');
        return sum;
    }
    while ((n = mb__source_burst(s, frames, MB_BURST, &link)) > 0) {
        require(n <= MB_BURST);
        for (int i = 0; i < n; i++)
            add_frame(&sum, &frames[i], link);
    }
    require(n == 0 || mb_source_warning(s)[0] != '\0');
    require(mb__source_burst(s, frames, MB_BURST, &link) == n);
    sum.end = n;
    mb_source_free(s);
    return sum;
}

static struct sum read_as_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[32], err[MB_ERRBUF_SIZE] = "";
    if (fd < 0)
        fd = memfd_create("capture", MFD_CLOEXEC);
    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return drain(mb_source_file(path, err), err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct sum memory = drain(mb__source_memory(data, size, err), err);
    struct sum file = read_as_file(data, size);
    require(memory.packets == file.packets && memory.bytes == file.bytes && memory.end == file.end);
    return 0;
}
