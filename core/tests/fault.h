/* SPDX-License-Identifier: BSD-3-Clause */
/* fault -- allocations that fail when a test says so, what was not given back, and what was told
 *
 *     arm(3, false);     the third allocation from here on fails; (3, true): so do all after it
 *     ...                faulted: it has come to that
 *     arm(0, false);     none fails
 *
 * The linker hands every allocation of the core to the functions __wrap_* here,
 * and the files that rings are made of. Libraries' own (zlib, libpcap, pcre2) it
 * does not, so that these never fail; Hyperscan takes an allocator.
 */
#ifndef MB_TEST_FAULT_H
#define MB_TEST_FAULT_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mosbox.h"
#include "test.h"

static long fault_in;   /* allocations until the one that fails; 0: none is to fail */
static bool fault_goes_on;
static bool faulted;
static long live;       /* blocks not given back, */
static size_t mapped;   /* and bytes of mappings, which may go back in parts */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t len);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);

static bool fails(void)
{
    if (fault_in == 0 || --fault_in > 0)
        return false;
    faulted = true;
    fault_in = fault_goes_on ? 1 : 0;
    return true;
}

void *__wrap_malloc(size_t size)
{
    void *p = fails() ? NULL : __real_malloc(size);
    live += p != NULL;
    return p;
}

void *__wrap_calloc(size_t n, size_t size)
{
    void *p = fails() ? NULL : __real_calloc(n, size);
    live += p != NULL;
    return p;
}

void *__wrap_realloc(void *p, size_t size)
{
    void *grown = fails() ? NULL : __real_realloc(p, size);
    live += p == NULL && grown != NULL;
    return grown;
}

char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = __wrap_malloc(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

void __wrap_free(void *p)
{
    live -= p != NULL;
    __real_free(p);
}

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    void *p = fails() ? MAP_FAILED : __real_mmap64(at, len, prot, flags, fd, offset);
    mapped += p != MAP_FAILED && !(flags & MAP_FIXED) ? len : 0; /* fixed: over another one */
    return p;
}

int __wrap_munmap(void *at, size_t len)
{
    mapped -= len;
    return __real_munmap(at, len);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
    if (!fails())
        return __real_memfd_create(name, flags);
    errno = EMFILE;
    return -1;
}

static void arm(long n, bool goes_on)
{
    fault_in = n;
    fault_goes_on = goes_on;
    faulted = false;
}

/* ---- what is raised: the same with a fault as without, or something was let go ---- */

static uint64_t told; /* a digest of events and their bytes, in order */

static void tell(uint64_t v)
{
    told = (told ^ v) * 0x9e3779b97f4a7c15u;
    told ^= told >> 29;
}

static int on_any(struct mb_event *ev, void *arg)
{
    (void)arg;
    tell(ev->id << 8 | ev->side);
    tell(ev->len);
    for (uint64_t i = 0; i < ev->len && ev->data != NULL; i++)
        tell(ev->data[i]);
    return 0;
}

/* All packets and the end of the run, with its counters in |*s|. False: it failed, and has said why. */
static bool run_out(struct mb_engine *e, struct mb_source *source, struct mb_stats *s)
{
    told = 0;
    int err = mb_engine_run(e, source, 0);
    int end = mb_engine_finish(e);
    mb_engine_stats(e, s);
    if (err < 0 || end < 0) {
        CHECK_INT(err < 0 ? err : end, MB_ENOMEM);
        CHECK(mb_engine_errmsg(e)[0] != '\0');
        return false;
    }
    CHECK_INT(s->stream_memory, 0);
    return true;
}

/* How much was let go for want of room or memory. */
static uint64_t let_go(const struct mb_stats *s)
{
    return s->anomalies[MB_ANOMALY_FLOW_LIMIT] + s->anomalies[MB_ANOMALY_STREAM_LIMIT] +
           s->anomalies[MB_ANOMALY_FRAG_LIMIT] + s->memory_refused;
}

#endif
