/* SPDX-License-Identifier: BSD-3-Clause */
/* test_workers -- shared bytes and ordered lanes, with processes and without */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ring.h"
#include "io/lane.h"
#include "io/source.h"
#include "io/tap.h"
#include "test.h"

/* ---- the ring --------------------------------------------------------------- */

static void test_ring_has_no_end(void)
{
    size_t size = 1 << 16;
    uint8_t *ring = mb__ring_new(size);
    CHECK(ring != NULL);
    memcpy(ring + size - 3, "abcdef", 6);
    __asm__ volatile("" ::: "memory"); /* the compiler cannot know that the bytes are in two places */
    CHECK_MEM(ring, "def", 3);
    pid_t child = fork();
    if (child == 0) {
        memcpy(ring, "xyz", 3);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK_MEM(ring + size, "xyz", 3);
    mb__ring_free(ring, size);
}

/* ---- the tap ---------------------------------------------------------------- */

#define TOTAL ((uint64_t)11 << 20) /* bytes of the source: several rings */

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 13);
}

/* A source that gives pieces of odd lengths, and nothing every now and then. */
static int read_some(void *arg, uint8_t *p, size_t size, uint64_t offset)
{
    uint32_t *calls = arg;
    if (++*calls % 5 == 0)
        return MB__SOURCE_IDLE;
    size_t n = size < 100003 ? size : 100003;
    n = TOTAL - offset < n ? (size_t)(TOTAL - offset) : n;
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(offset + i);
    return (int)n;
}

/* Takes all, keeping up to |keep| bytes of what was taken; how many bytes were wrong. */
static uint64_t take_all(struct mb__tap *t, uint64_t keep, unsigned pause)
{
    uint32_t calls = 0;
    const struct mb__tap_reader reader = {.read = read_some, .arg = &calls};
    const struct mb__index *index;
    uint64_t begin = mb__tap_position(t), wrong = 0;
    for (;;) {
        uint64_t at = mb__tap_position(t), kept = at - begin < keep ? at - begin : keep;
        int n = mb__tap_take(t, at - kept, &reader, &index);
        if (n == MB__SOURCE_IDLE)
            continue;
        if (n <= 0)
            return wrong + (mb__tap_position(t) - begin != TOTAL) + (n < 0);
        const uint8_t *p = mb__tap_at(t, at - kept);
        for (uint64_t i = 0; i < kept + (uint64_t)n; i += 1 + i % 7)
            wrong += p[i] != byte_at(at - begin - kept + i);
        usleep(pause);
    }
}

static void test_tap_of_several(void)
{
    struct mb__tap *t = mb__tap_new(3);
    pid_t child[3];
    CHECK(t != NULL && !mb__tap_joined(t));
    for (unsigned user = 0; user < 3; user++) {
        child[user] = fork();
        if (child[user] != 0)
            continue;
        mb__tap_join(t, user);
        uint64_t wrong = take_all(t, user * 70000, user * 200); /* one after the other, two sources */
        wrong += user == 2 ? 0 : take_all(t, 5, 0);             /* one leaves: nobody waits for it */
        mb__tap_leave(t);
        _exit(wrong != 0);
    }
    for (unsigned user = 0; user < 3; user++) {
        int status = 1;
        waitpid(child[user], &status, 0);
        CHECK_INT(status, 0);
    }
    mb__tap_free(t);
}

static void test_tap_keeps_no_more_than_it_has(void)
{
    struct mb__tap *t = mb__tap_new(1);
    uint32_t calls = 0;
    const struct mb__tap_reader reader = {.read = read_some, .arg = &calls};
    const struct mb__index *index;
    int n;
    mb__tap_join(t, 0);
    while ((n = mb__tap_take(t, 0, &reader, &index)) > 0 || n == MB__SOURCE_IDLE)
        ;
    CHECK_INT(n, MB_ELIMIT);
    mb__tap_free(t);
}

/* ---- what one worker finds in a chunk, for all --------------------------------- */

/* Frames are numbers of four bytes here; worker |n| of three has those with the rest n. */
static void find_numbers(void *arg, const uint8_t *p, const uint8_t *end, struct mb__index *index)
{
    uint32_t *worker = arg, number;
    if (!index->known)
        index->lists.latest = *worker;
    for (; end - p >= 4 && index->lists.total < MB__LIST_FRAMES && !index->last; p += 4) {
        memcpy(&number, p, sizeof number);
        struct mb__listed *out = &index->lists.frame[number % 3][index->lists.count[number % 3]++];
        out->frame = (struct mb_frame){.data = p, .ts = number};
        out->place = (uint16_t)index->lists.total++;
        index->lists.latest = number;
        index->last = number % 100000 == 99999; /* every now and then all look for themselves */
        index->end += 4;
    }
    index->last |= end - p >= 4;
}

static int read_numbers(void *arg, uint8_t *p, size_t size, uint64_t offset)
{
    (void)arg;
    size_t n = offset % 3 + 16000 < size ? offset % 3 + 16000 : size; /* numbers lie across chunks */
    n = TOTAL - offset < n ? (size_t)(TOTAL - offset) : n;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((offset + i) / 4 >> 8 * ((offset + i) % 4));
    return (int)n;
}

/* Whether worker |own| meets each number once, in lists or by itself. */
static bool meets_its_numbers(struct mb__tap *t, uint32_t own, uint32_t *indexed)
{
    const struct mb__tap_reader reader = {.read = read_numbers, .look = find_numbers, .arg = &own, .prompt = true};
    const struct mb__index *index;
    uint64_t at = mb__tap_position(t);
    uint32_t next = 0, wrong = 0;
    for (int n; (n = mb__tap_take(t, at, &reader, &index)) > 0 || n == MB__SOURCE_IDLE;) {
        if (index != NULL) {
            uint32_t end = next + index->lists.total, of = 0;
            for (; next < end; next++) {
                const struct mb__listed *listed = &index->lists.frame[own][of];
                if (next % 3 != own)
                    continue;
                wrong += listed->frame.ts != next || memcmp(listed->frame.data, &next, 4) != 0;
                of++;
            }
            wrong += of != index->lists.count[own] || index->begin != at || index->end != at + 4 * index->lists.total;
            *indexed += index->lists.total;
            at = index->end;
        }
        for (; (index == NULL || index->last) && mb__tap_position(t) - at >= 4; at += 4, next++)
            wrong += memcmp(mb__tap_at(t, at), &next, 4) != 0;
    }
    return wrong == 0 && next == TOTAL / 4;
}

static void test_what_one_finds_is_for_all(void)
{
    struct mb__tap *t = mb__tap_new(3);
    pid_t child[3];
    for (uint32_t user = 0; user < 3; user++) {
        child[user] = fork();
        if (child[user] != 0)
            continue;
        uint32_t indexed = 0;
        mb__tap_join(t, user);
        bool well = meets_its_numbers(t, user, &indexed);
        well &= user == 2 || meets_its_numbers(t, user, &indexed); /* another source */
        mb__tap_leave(t);
        _exit(well && indexed > TOTAL / 8 ? 0 : 1);
    }
    for (int user = 0; user < 3; user++) {
        int status = 1;
        waitpid(child[user], &status, 0);
        CHECK_INT(status, 0);
    }
    mb__tap_free(t);
}

/* A source all of whose bytes are its tag. */
struct tagged {
    uint8_t tag;
    size_t size;
};

static int read_tag(void *arg, uint8_t *p, size_t size, uint64_t offset)
{
    const struct tagged *s = arg;
    size_t left = offset < s->size ? s->size - (size_t)offset : 0, n = left < size ? left : size;
    memset(p, s->tag, n);
    return (int)n;
}

static void find_one(void *arg, const uint8_t *p, const uint8_t *end, struct mb__index *index)
{
    (void)arg;
    index->known = true;
    index->lists.total = 1;
    index->end += (uint64_t)(end - p);
}

static int take_next(struct mb__tap *t, const struct mb__tap_reader *reader)
{
    const struct mb__index *index;
    return mb__tap_take(t, mb__tap_position(t), reader, &index);
}

/* Takes a chunk of the first source for each byte that comes, and says what came. */
static void take_when_told(struct mb__tap *t, const struct mb__tap_reader *reader, int commands, int answers)
{
    for (char command; read(commands, &command, 1) == 1;) {
        int n = take_next(t, reader);
        if (write(answers, &n, sizeof n) != sizeof n)
            break;
    }
    _exit(0);
}

static int have_one_taken(int commands, int answers)
{
    int n = MB_EIO;
    return write(commands, "", 1) == 1 && read(answers, &n, sizeof n) == sizeof n ? n : MB_EIO;
}

/* Who is at the end of a source reads nothing ahead: that would be of the next one. */
static void test_no_source_reads_for_another(void)
{
    struct tagged sources[2] = {{1, 2000000}, {2, 4000000}};
    struct mb__tap *t = mb__tap_new(2);
    int there[2], back[2], n;
    CHECK_INT(pipe(there) + pipe(back), 0);
    struct mb__tap_reader first = {read_tag, find_one, &sources[0], true}, second = {read_tag, NULL, &sources[1], false};
    pid_t slow = fork();
    if (slow == 0) {
        close(there[1]);
        mb__tap_join(t, 1);
        take_when_told(t, &first, there[0], back[1]);
    }
    mb__tap_join(t, 0);
    while ((n = take_next(t, &first)) > 0)
        CHECK(have_one_taken(there[1], back[0]) > 0);
    CHECK_INT(n, 0);
    CHECK(take_next(t, &second) > 0); /* as it is opened */
    second.look = find_one;
    CHECK(take_next(t, &second) > 0); /* and listed for all */
    CHECK_INT(have_one_taken(there[1], back[0]), 0);
    CHECK(take_next(t, &second) > 0);
    CHECK_INT(*mb__tap_at(t, mb__tap_position(t) - 1), 2);
    close(there[1]);
    waitpid(slow, NULL, 0);
    close(there[0]);
    close(back[0]);
    close(back[1]);
    mb__tap_free(t);
}

/* ---- lanes ------------------------------------------------------------------ */

#define LANES 3

static struct {
    struct mb__bell bell;
    struct mb__lane_worker worker[LANES];
    struct mb__lane_ends ends[LANES];
} *shared;
static struct mb__lane lane[LANES];
static struct mb__order order[LANES];
static struct mb__condition condition[LANES];
static struct mb__merge merge;
static char path[] = "/tmp/mosbox-lanes-XXXXXX";
static struct mb__drain out;

static bool odd_rules_only(void *arg, const struct mb__condition *c)
{
    (void)arg;
    return c->rule % 2;
}

static void lanes_start(void)
{
    shared = mb__shared_new(sizeof *shared);
    memset(&merge, 0, sizeof merge);
    for (int i = 0; i < LANES; i++) {
        lane[i] = (struct mb__lane){.ends = &shared->ends[i], .worker = &shared->worker[i], .bell = &shared->bell,
                                    .order = &order[i], .condition = &condition[i]};
        CHECK(mb__lane_init(&lane[i]));
        order[i] = (struct mb__order){0};
    }
    merge = (struct mb__merge){.lane = lane, .worker = shared->worker, .count = LANES, .decide = odd_rules_only};
    close(mkstemp(path));
    CHECK_INT(mb__drain_init(&out, path, 0, NULL), 0);
}

static void lanes_stop(void)
{
    CHECK_INT(mb__drain_fini(&out), 0);
    for (int i = 0; i < LANES; i++)
        mb__lane_fini(&lane[i]);
    mb__shared_free(shared, sizeof *shared);
    unlink(path);
    strcpy(path, "/tmp/mosbox-lanes-XXXXXX");
}

/* The parent's ends of lanes to which this process puts as well. */
static struct mb__lane ends[LANES];

static void put(int worker, uint64_t frame, const char *text)
{
    order[worker] = (struct mb__order){.frame = frame, .step = frame == 0 ? 0 : MB__STEP_PACKET};
    mb__lane_put(&ends[worker], text, strlen(text));
}

static void begin_put(void)
{
    memcpy(ends, lane, sizeof ends);
}

static void expect(const char *text)
{
    CHECK(mb__merge_take(&merge, &out) >= 0);
    out.buf[out.len] = '\0';
    CHECK_STR((const char *)out.buf, text);
}

static void test_lanes_come_in_order(void)
{
    lanes_start();
    begin_put();
    put(0, 3, "c");
    put(1, 1, "a");
    put(1, 4, "d");
    expect(""); /* the third may still come with an earlier one */
    put(2, 2, "b");
    put(2, 5, "e");
    expect("abc"); /* the first is at 3 as far as anybody knows */
    shared->worker[0].frames = 4;
    expect("abcd");
    shared->worker[0].left = shared->worker[1].left = 1;
    put(2, 6, "f");
    expect("abcdef");
    lanes_stop();
}

static void test_what_all_write_comes_once(void)
{
    lanes_start();
    begin_put();
    for (int i = 0; i < LANES; i++)
        put(i, 0, "head ");
    put(1, 7, "one ");
    for (int i = 0; i < LANES; i++)
        put(i, MB__FRAME_END, "foot");
    expect("head one foot");
    lanes_stop();
}

static void test_a_failure_ends_it(void)
{
    lanes_start();
    begin_put();
    put(0, 1, "a");
    put(1, 9, "late");
    put(2, 3, "b");
    shared->worker[0].failed = (struct mb__order){.frame = 5};
    shared->worker[0].has_failed = shared->worker[0].left = 1;
    shared->worker[2].left = 1;
    expect("ab");
    lanes_stop();
}

static void test_conditions_are_decided(void)
{
    lanes_start();
    begin_put();
    for (uint32_t rule = 0; rule < 6; rule++) {
        condition[0] = (struct mb__condition){.kind = MB__CONDITION_SPEAK, .rule = rule};
        char text[2] = {(char)('0' + rule), 0};
        put(0, rule + 1, text);
    }
    condition[0].kind = MB__CONDITION_NONE;
    put(0, 7, "always");
    shared->worker[1].left = shared->worker[2].left = 1;
    expect("135always");
    lanes_stop();
}

/* More than a lane holds of chunks of |size| bytes, from processes that are not equally quick. */
static void fill_lanes(size_t size)
{
    enum { ROUNDS = 60000 };
    lanes_start();
    pid_t child[LANES];
    for (int i = 0; i < LANES; i++) {
        child[i] = fork();
        if (child[i] != 0)
            continue;
        char text[256];
        memset(text, 'x', sizeof text);
        for (uint64_t frame = 1; frame <= ROUNDS; frame++) {
            if ((frame + (uint64_t)i) % LANES == 0) {
                order[i] = (struct mb__order){.frame = frame, .step = MB__STEP_PACKET};
                memcpy(text, &frame, sizeof frame);
                mb__lane_put(&lane[i], text, size);
            }
            atomic_store(&shared->worker[i].frames, frame);
            if (i == 1 && frame % 1000 == 0)
                usleep(1000);
        }
        atomic_store(&shared->worker[i].left, 1);
        mb__bell_ring(&shared->bell);
        _exit(0);
    }
    for (bool over = false; !over;) {
        uint32_t seen = mb__bell_seen(&shared->bell);
        over = shared->worker[0].left && shared->worker[1].left && shared->worker[2].left;
        if (mb__merge_take(&merge, &out) == 0 && !over)
            mb__bell_wait(&shared->bell, seen, 100);
    }
    CHECK_INT(mb__drain_flush(&out), 0);
    FILE *file = fopen(path, "rb");
    char text[256];
    uint64_t next = 1, frame;
    for (; fread(text, size, 1, file) == 1; next++) {
        memcpy(&frame, text, sizeof frame);
        CHECK_INT(frame, next);
    }
    fclose(file);
    CHECK_INT(next, ROUNDS + 1);
    for (int i = 0; i < LANES; i++)
        waitpid(child[i], NULL, 0);
    lanes_stop();
}

static void test_full_lanes(void)
{
    fill_lanes(256);
    fill_lanes(8); /* labels are what such chunks fill it with */
}

/* Two workers, each with more than fits into a lane for an output that the other writes
 * nothing to: they say where they are, and neither waits for ever. */
static void test_full_lanes_of_two_outputs(void)
{
    enum { PUTS = 40, SIZE = 100000 };
    static struct mb__lane other[LANES];
    static struct mb__merge second;
    static uint8_t bytes[SIZE];
    lanes_start();
    struct mb__lane_ends *others = mb__shared_new(LANES * sizeof *others);
    for (int i = 0; i < LANES; i++) {
        other[i] = lane[i];
        CHECK(mb__lane_init(&other[i]));
        other[i].ends = &others[i];
    }
    second = (struct mb__merge){.lane = other, .worker = shared->worker, .count = LANES, .decide = odd_rules_only};
    for (uint32_t i = 0; i < LANES; i++) {
        if (fork() != 0)
            continue;
        for (uint64_t n = 1; n <= PUTS && i < 2; n++) { /* all in one stretch: no frame is told to be done */
            order[i] = (struct mb__order){.frame = 2 * n + i, .step = MB__STEP_PACKET};
            mb__lane_put(i == 0 ? &lane[0] : &other[1], bytes, SIZE);
        }
        atomic_store(&shared->worker[i].left, 1);
        mb__bell_ring(&shared->bell);
        _exit(0);
    }
    int64_t taken = 0;
    for (bool over = false; !over;) {
        uint32_t seen = mb__bell_seen(&shared->bell);
        over = shared->worker[0].left && shared->worker[1].left && shared->worker[2].left;
        int64_t now = mb__merge_take(&merge, NULL) + mb__merge_take(&second, NULL);
        taken += now;
        if (now == 0 && !over)
            mb__bell_wait(&shared->bell, seen, 100);
    }
    CHECK(taken >= 2 * PUTS * SIZE);
    for (int i = 0; i < LANES; i++) {
        wait(NULL);
        mb__lane_fini(&other[i]);
    }
    mb__shared_free(others, LANES * sizeof *others);
    lanes_stop();
}

/* ---- pieces to a file ---------------------------------------------------------- */

#define PIECES 300

/* Pieces of 0 to 999 bytes that count up, after |said| bytes that do. */
static size_t make_pieces(uint8_t *bytes, size_t said, struct iovec *piece)
{
    size_t at = said;
    for (size_t i = 0; i < PIECES; at += piece[i].iov_len, i++)
        piece[i] = (struct iovec){bytes + at, i * 37 % 1000};
    for (size_t i = 0; i < at; i++)
        bytes[i] = byte_at(i);
    return at;
}

/* A pipe that is nearly always full takes them all, in order. */
static void test_pieces_through_a_narrow_pipe(void)
{
    static uint8_t bytes[PIECES * 1000];
    struct iovec piece[PIECES];
    size_t total = make_pieces(bytes, 100, piece);
    int way[2];
    CHECK_INT(pipe(way), 0);
    CHECK(fcntl(way[1], F_SETPIPE_SZ, 4096) >= 0);
    pid_t reader = fork();
    if (reader == 0) {
        close(way[1]);
        uint8_t some[777];
        size_t at = 0, wrong = 0;
        for (ssize_t n; (n = read(way[0], some, sizeof some)) > 0; at += (size_t)n)
            wrong += memcmp(some, bytes + at, (size_t)n) != 0;
        _exit(wrong == 0 && at == total ? 0 : 1);
    }
    close(way[0]);
    char name[32];
    snprintf(name, sizeof name, "/dev/fd/%d", way[1]);
    CHECK_INT(mb__drain_init(&out, name, O_NONBLOCK, NULL), 0);
    close(way[1]);
    memcpy(out.buf, bytes, 100);
    out.len = 100;
    CHECK_INT(mb__drain_pieces(&out, piece, PIECES), 0);
    CHECK_INT(mb__drain_fini(&out), 0);
    int status = 1;
    waitpid(reader, &status, 0);
    CHECK_INT(status, 0);
}

/* What a full disk refuses waits in the buffer. */
static void test_pieces_that_are_refused(void)
{
    static uint8_t bytes[PIECES * 1000];
    struct iovec piece[PIECES];
    size_t total = make_pieces(bytes, 0, piece);
    CHECK_INT(mb__drain_init(&out, "/dev/full", 0, NULL), 0);
    CHECK_INT(mb__drain_pieces(&out, piece, PIECES), 0);
    CHECK_INT(out.len, total);
    CHECK_MEM(out.buf, bytes, total);
    for (int i = 0; i < 5; i++) { /* in the end there is no room for all of them: whole ones only */
        size_t before = out.len;
        make_pieces(bytes, 0, piece);
        int rc = mb__drain_pieces(&out, piece, PIECES);
        CHECK(rc == 0 ? out.len == before + total : rc < 0);
        CHECK_MEM(out.buf + before, bytes, out.len - before);
    }
    CHECK(out.len > 3 * total && out.len <= out.size && out.size - out.len < 1000);
    out.len = 0;
    CHECK_INT(mb__drain_fini(&out), 0);
}

int main(void)
{
    RUN(test_ring_has_no_end);
    RUN(test_tap_of_several);
    RUN(test_tap_keeps_no_more_than_it_has);
    RUN(test_what_one_finds_is_for_all);
    RUN(test_no_source_reads_for_another);
    RUN(test_lanes_come_in_order);
    RUN(test_what_all_write_comes_once);
    RUN(test_a_failure_ends_it);
    RUN(test_conditions_are_decided);
    RUN(test_full_lanes);
    RUN(test_full_lanes_of_two_outputs);
    RUN(test_pieces_through_a_narrow_pipe);
    RUN(test_pieces_that_are_refused);
    return test_done();
}
