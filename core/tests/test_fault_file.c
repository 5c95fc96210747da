/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fault_file -- no memory at any allocation of a run over a file, by one process and by two workers
 *
 *   frames --> pcapng --> gzip --> file --> mb_source_file() --> engine
 *                                   |
 *                                   +--> tap --> worker 0 --> lanes --> parent: merge, sums
 *                                         +----> worker 1 ---^
 *
 * As test_fault, for what that does not come by: what IPv6, its fragments, tunnels
 * and ICMP errors need, and readers of files, rings, lanes and sums. The workers
 * are forked one after the other: their allocations come in the same order in each
 * run. A fault armed by then is due in the parent and in each of them.
 *
 * No fault reaches live sources, which need privileges, and what libraries
 * allocate for themselves (fault.h).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "engine.h"
#include "fault.h"
#include "frame.h"
#include "rule_builder.h"
#include "test.h"

#define WORKERS 2
#define SECOND 1000000000LL
#define FILES 64 /* descriptors that are looked at */

/* ---- the file ------------------------------------------------------------------ */

static char path[] = "/tmp/mosbox-fault-XXXXXX";
static gzFile out;

static void put32(uint32_t v)
{
    gzwrite(out, &v, 4); /* the file's order is the machine's */
}

/* A block of |type| with a body of |head| and, after it, |len| bytes to a whole word. */
static void block(uint32_t type, const uint32_t *head, uint32_t words, const uint8_t *bytes, uint32_t len)
{
    uint32_t padded = (len + 3) & ~3u, all = 12 + 4 * words + padded;
    put32(type);
    put32(all);
    for (uint32_t i = 0; i < words; i++)
        put32(head[i]);
    gzwrite(out, bytes, len);
    gzwrite(out, "\0\0", padded - len);
    put32(all);
}

static void put_frame(struct frame *f)
{
    static uint32_t tick;
    frame_end(f);
    const uint32_t head[5] = {tick % 5, 0x5f5e1, ++tick * 1000, (uint32_t)f->len, (uint32_t)f->len};
    block(6, head, 5, f->b, (uint32_t)f->len);
}

/* One TCP connection over IPv6 to |port|. */
struct talk {
    unsigned port;
    uint32_t next[2];
};

static void begin_segment(struct frame *f, const struct talk *t, int side, unsigned flags, uint32_t skip)
{
    size_t ip = f->len + 14;
    frame_ethernet(f, 0x86dd);
    frame_ipv6(f, 6);
    frame_tcp(f, side == 0 ? 40000 : t->port, side == 0 ? t->port : 40000, flags);
    f->b[ip + 23] = side == 0 ? 1 : 2;
    f->b[ip + 39] = side == 0 ? 2 : 1;
    mb__put_be32(f->b + ip + 44, t->next[side] + skip);
    mb__put_be32(f->b + ip + 48, flags & MB_TCP_ACK ? t->next[!side] : 0);
}

/* A segment |skip| bytes after the next; the numbers move on if it is 0. */
static void segment(struct talk *t, int side, unsigned flags, const char *text, uint32_t skip)
{
    struct frame f = {0};
    begin_segment(&f, t, side, flags, skip);
    frame_text(&f, text);
    put_frame(&f);
    if (skip == 0)
        t->next[side] += (uint32_t)strlen(text) + ((flags & (MB_TCP_SYN | MB_TCP_FIN)) != 0);
}

/* The next bytes of the client in VXLAN over IPv4. */
static void tunnelled(struct talk *t, const char *text)
{
    struct frame f = {0};
    frame_ethernet(&f, 0x0800);
    frame_ipv4(&f, 17, 0);
    frame_udp(&f, 50000, 4789);
    frame_bytes(&f, "\x08\0\0\0\0\0\x07\0", 8);
    begin_segment(&f, t, MB_CLIENT, MB_TCP_ACK, 0);
    frame_text(&f, text);
    put_frame(&f);
    t->next[MB_CLIENT] += (uint32_t)strlen(text);
}

/* The next hop found the client's last segment too big. */
static void icmp_error(const struct talk *t)
{
    struct frame f = {0}, quoted = {0};
    begin_segment(&quoted, t, MB_CLIENT, MB_TCP_ACK, 0);
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 58);
    frame_u32(&f, 0x02000000);
    frame_u32(&f, 1280);
    frame_bytes(&f, quoted.b + 14, 60);
    put_frame(&f);
}

static void talk(unsigned port)
{
    struct talk t = {port, {1000 * port, 2000 * port}};
    segment(&t, 0, MB_TCP_SYN, "", 0);
    segment(&t, 1, MB_TCP_SYN | MB_TCP_ACK, "", 0);
    segment(&t, 0, MB_TCP_ACK, "GET /attack HTTP/1.1\r\nHo", 0);
    segment(&t, 0, MB_TCP_ACK, "example.org\r\n\r\n", 8);
    tunnelled(&t, "st: www.");
    t.next[0] += 15;
    icmp_error(&t);
    segment(&t, 1, MB_TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n", 0);
    segment(&t, 0, MB_TCP_FIN | MB_TCP_ACK, "", 0);
    segment(&t, 1, MB_TCP_FIN | MB_TCP_ACK, "", 0);
    segment(&t, 0, MB_TCP_ACK, "", 0);
}

/* |len| bytes |byte| at |offset| of datagram |id|; the first has a UDP header before them. */
static void fragment(uint32_t id, unsigned offset, bool more, uint8_t byte, size_t len)
{
    struct frame f = {0};
    frame_ethernet(&f, 0x86dd);
    frame_ipv6(&f, 44);
    frame_u16(&f, 17 << 8);
    frame_u16(&f, offset | more);
    frame_u32(&f, id);
    if (offset == 0)
        frame_bytes(&f, "\x0f\xa0\0\x09\0\x78\0\0", 8);
    frame_fill(&f, byte, len);
    put_frame(&f);
}

static void make_file(void)
{
    const uint32_t section[4] = {0x1a2b3c4d, 1, ~0u, ~0u}, interface[2] = {1, 65535};
    close(mkstemp(path));
    out = gzopen(path, "wb");
    block(0x0a0d0d0a, section, 4, NULL, 0);
    for (int i = 0; i < 5; i++) /* more than there is room for at first */
        block(1, interface, 2, NULL, 0);
    fragment(7, 16, false, 'b', 104);
    for (unsigned port = 80; port < 84; port++)
        talk(port);
    fragment(7, 0, true, 'a', 8);
    fragment(8, 0, true, 'c', 64); /* and no more of it */
    gzclose(out);
}

/* ---- a run ------------------------------------------------------------------------ */

/* What the workers tell their parent. */
struct shared {
    uint64_t usual[WORKERS]; /* what is told without a fault, */
    bool faulted;            /* and whether there was one */
    size_t len[WORKERS];     /* of results; 0: it failed */
    uint8_t result[WORKERS][1 << 16];
};

static struct shared *shared;

struct run {
    struct mb_workers *workers; /* NULL: one process does it all */
    struct mb_engine *e;
    struct mb_source *source;
    struct mb_output *log;
    struct mb_writer *writer;
};

/* A constructor that made nothing has said so. */
static bool made(const void *p, const char *err)
{
    CHECK(p != NULL || err[0] != '\0');
    return p != NULL;
}

static bool went(int code)
{
    CHECK(code >= 0 || code == MB_ENOMEM);
    return code >= 0;
}

static bool listen(struct run *run, char *err)
{
    struct mb_monitor *m = mb_monitor_new(run->e, "all", err);
    bool well = made(m, err) && went(mb_monitor_history(m, 64));
    for (uint32_t event = MB_EV_PACKET; event < MB_EV_BUILTIN && well; event++)
        well = event == MB_EV_TIMER || went(mb_on(m, NULL, event, MB_HOOK_NONE, on_any, NULL));
    return well && went(mb_flow_log(run->e, MB_FORMAT_JSON, run->log, err)) &&
           made(mb_tally_new(run->e, MB_TALLY_FLOW, 0, err), err);
}

/* What several workers have to agree on. */
static bool divide(struct run *run, const struct mb_rules *rules, char *err)
{
    struct mb_detect *detect = mb_detect_new(run->e, rules, NULL, err);
    return made(detect, err) && went(mb_alert_log(detect, MB_ALERT_EVE, ~0u, run->log)) &&
           went(mb_workers_output(run->workers, run->log)) && went(mb_workers_writer(run->workers, run->writer)) &&
           went(mb_workers_rules(run->workers, run->e));
}

/* All before the first packet, or the fork. False: there was no memory for it. */
static bool build(struct run *run, bool alone, const struct mb_rules *rules)
{
    char err[MB_ERRBUF_SIZE] = "";
    struct mb_config config;
    mb_config_init(&config);
    config.seed = 1;
    config.max_flows = 1000;
    config.max_fragments = 100;
    if (!alone && !made(run->workers = mb_workers_new(WORKERS, err), err))
        return false;
    run->source = alone ? mb_source_file(path, err) : mb_workers_source(run->workers, path, err);
    if (!made(run->source, err) || !made(run->e = mb_engine_new(&config, err), err) ||
        !made(run->log = mb_output_new("/dev/null", false, false, err), err) ||
        !made(run->writer = mb_writer_new("/dev/null", 1, err), err))
        return false;
    mb_engine_set_writer(run->e, run->writer);
    return listen(run, err) && (alone || divide(run, rules, err));
}

static void take_down(struct run *run)
{
    mb_engine_free(run->e);
    mb_source_free(run->source);
    mb_output_free(run->log);
    mb_writer_free(run->writer);
    mb_workers_free(run->workers);
}

/* All packets and the end of the run, by worker |own|. False: it failed. */
static bool play(struct run *run, unsigned own)
{
    struct mb_stats s;
    if (!run_out(run->e, run->source, &s))
        return false;
    if (!faulted)
        shared->usual[own] = told;
    const struct mb_stats *uncounted = &run->e->uncounted; /* all see fragments, the first counts */
    uint64_t let = let_go(&s) + uncounted->anomalies[MB_ANOMALY_FRAG_LIMIT];
    CHECK(told == shared->usual[own] || let > 0); /* else something was lost, and nobody was told of it */
    return true;
}

/* The whole life of a worker, at whose birth the parent had |live_before| and |mapped_before|. */
static void work(struct run *run, unsigned own, long live_before, size_t mapped_before)
{
    test_failures = 0;
    mb_workers_join(run->workers, own, run->e);
    bool well = play(run, own);
    shared->len[own] = well ? mb_engine_result(run->e, shared->result[own], sizeof shared->result[own]) : 0;
    CHECK(shared->len[own] <= sizeof shared->result[own]);
    mb_workers_leave(run->workers, run->e, !well);
    take_down(run);
    fault_in = 0;
    CHECK_INT(live, live_before);
    CHECK_INT(mapped, mapped_before);
    shared->faulted |= faulted;
    fflush(stderr);
    _exit(test_failures != 0);
}

/* What the workers have written and counted. */
static void gather(struct run *run)
{
    int n;
    while ((n = mb_workers_merge(run->workers, 0)) > 0)
        ;
    CHECK_INT(n, 0);
    mb_workers_count(run->workers, run->e);
    for (unsigned own = 0; own < WORKERS; own++)
        if (shared->len[own] > 0)
            went(mb_engine_add(run->e, shared->result[own], shared->len[own]));
}

static void run_once(bool alone, const struct mb_rules *rules)
{
    const long live_before = live;
    const size_t mapped_before = mapped;
    struct run run = {0};
    bool built = build(&run, alone, rules);
    CHECK(built || faulted);
    for (unsigned own = 0; own < WORKERS && built && !alone; own++) {
        int status = 1;
        pid_t child = fork();
        if (child == 0)
            work(&run, own, live_before, mapped_before);
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK_INT(status, 0);
    }
    if (built && alone)
        play(&run, 0);
    else if (built)
        gather(&run);
    take_down(&run);
    fault_in = 0;
    CHECK_INT(live, live_before);
    CHECK_INT(mapped, mapped_before);
}

/* ---- the tests ---------------------------------------------------------------------- */

static int open_files(void)
{
    int n = 0;
    for (int fd = 0; fd < FILES; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static struct mb_rules *make_rules(void)
{
    static struct builder b;
    size_t len;
    struct mb_rules *r = mb_rules_new();
    builder_init(&b, MB_RULE_STREAM);
    builder_op(&b, MB_OP_CONTENT, MB_OPF_FAST, "attack", 6);
    builder_inspect(&b, mb_rules_buffer(r, MB_BUF_PAYLOAD, NULL, 0), 0);
    const void *program = builder_finish(&b, &len);
    CHECK(mb_rules_add(r, program, len, NULL) >= 0 && mb_rules_build(r, NULL) >= 0);
    return r;
}

static void at_each_allocation(bool alone)
{
    struct mb_rules *rules = make_rules();
    run_once(alone, rules);
    const int files = open_files();
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        long n = 0;
        do {
            arm(++n, goes_on);
            shared->faulted = false;
            run_once(alone, rules);
            CHECK_INT(open_files(), files);
        } while (faulted || shared->faulted);
        printf("     %ld allocations, %s\n", n - 1, goes_on ? "all from one on fail" : "one fails");
    }
    mb_rules_free(rules);
}

static void test_one_process(void)
{
    at_each_allocation(true);
}

static void test_two_workers(void)
{
    at_each_allocation(false);
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    make_file();
    RUN(test_one_process);
    RUN(test_two_workers);
    unlink(path);
    return test_done();
}
