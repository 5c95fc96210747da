/* SPDX-License-Identifier: BSD-3-Clause */
/* test_output -- the text sink: order, buffering, rotation, full disks, gone readers */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mosbox.h"
#include "test.h"

static const char *scratch(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/mosbox-test-output-%d", (int)getpid());
    return path;
}

/* What is in the file at |path|. */
static const char *content(const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "rb");
    size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f != NULL)
        fclose(f);
    return text;
}

static long size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

static void test_buffering(void)
{
    struct mb_output *o = mb_output_new(scratch(), false, false, NULL);
    CHECK_INT(mb_output_write(o, "one\n", 4), 0);
    CHECK_STR(content(scratch()), "");
    CHECK_INT(mb_output_flush(o), 0);
    CHECK_STR(content(scratch()), "one\n");
    CHECK_INT(mb_output_write(o, "two\n", 4), 0);
    CHECK_INT(mb_output_free(o), 0);
    CHECK_STR(content(scratch()), "one\ntwo\n");
    unlink(scratch());
}

static void test_line_buffering(void)
{
    struct mb_output *o = mb_output_new(scratch(), false, true, NULL);
    CHECK_INT(mb_output_write(o, "on", 2), 0);
    CHECK_STR(content(scratch()), "");
    CHECK_INT(mb_output_write(o, "e\n", 2), 0);
    CHECK_STR(content(scratch()), "one\n");
    CHECK_INT(mb_output_free(o), 0);
    unlink(scratch());
}

static void test_append(void)
{
    for (int append = 0; append < 2; append++) {
        struct mb_output *o = mb_output_new(scratch(), append != 0, false, NULL);
        CHECK_INT(mb_output_write(o, "line\n", 5), 0);
        CHECK_INT(mb_output_free(o), 0);
    }
    CHECK_STR(content(scratch()), "line\nline\n");
    struct mb_output *o = mb_output_new(scratch(), false, false, NULL);
    CHECK_INT(mb_output_free(o), 0);
    CHECK_STR(content(scratch()), "");
    unlink(scratch());
}

/* As logrotate does: the old name is moved away, then the sink is told. */
static void test_reopen(void)
{
    char old[80];
    snprintf(old, sizeof old, "%s.1", scratch());
    struct mb_output *o = mb_output_new(scratch(), false, false, NULL);
    CHECK_INT(mb_output_write(o, "before\n", 7), 0);
    CHECK_INT(rename(scratch(), old), 0);
    CHECK_INT(mb_output_reopen(o), 0);
    CHECK_INT(mb_output_write(o, "after\n", 6), 0);
    CHECK_INT(mb_output_reopen(o), 0); /* not moved: nothing is lost */
    CHECK_INT(mb_output_free(o), 0);
    CHECK_STR(content(old), "before\n");
    CHECK_STR(content(scratch()), "after\n");
    unlink(old);
    unlink(scratch());
}

/* A folder that has gone: the old file stays in use. */
static void test_reopen_refused(void)
{
    char folder[64], path[80];
    snprintf(folder, sizeof folder, "%s.d", scratch());
    snprintf(path, sizeof path, "%s/log", folder);
    CHECK_INT(mkdir(folder, 0700), 0);
    struct mb_output *o = mb_output_new(path, false, false, NULL);
    CHECK_INT(rename(path, scratch()), 0);
    CHECK_INT(rmdir(folder), 0);
    CHECK_INT(mb_output_reopen(o), MB_ENOENT);
    CHECK_INT(mb_output_write(o, "kept\n", 5), 0);
    CHECK_INT(mb_output_free(o), 0);
    CHECK_STR(content(scratch()), "kept\n");
    unlink(scratch());
}

static void test_long_text(void)
{
    size_t len = 3000000;
    char *text = malloc(len);
    memset(text, 'x', len);
    struct mb_output *o = mb_output_new(scratch(), false, false, NULL);
    CHECK_INT(mb_output_write(o, "y", 1), 0);
    CHECK_INT(mb_output_write(o, text, len), 0);
    CHECK_INT(mb_output_free(o), 0);
    CHECK_INT(size_of(scratch()), len + 1);
    free(text);
    unlink(scratch());
}

/* A limit on the size of files stands for a full disk. When there is room
 * again the file goes on where it stopped, with whole lines only. */
static void test_full_disk(void)
{
    struct rlimit was, small = {.rlim_cur = 10005};
    char line[101];
    int written = 0, refused = 0;
    memset(line, 'z', 99);
    line[99] = '\n';
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    small.rlim_max = was.rlim_max;
    struct mb_output *o = mb_output_new(scratch(), false, false, NULL);
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 10000; i++) {
        int rc = mb_output_write(o, line, 100);
        written += rc == 0;
        refused += rc == MB_EIO;
    }
    CHECK_INT(mb_output_flush(o), MB_EIO);
    CHECK_INT(size_of(scratch()), 10005);
    setrlimit(RLIMIT_FSIZE, &was);
    CHECK(written > 100 && refused > 100);
    CHECK_INT(written + refused, 10000);
    CHECK_INT(mb_output_free(o), 0);
    CHECK_INT(size_of(scratch()), written * 100L);
    const char *text = content(scratch());
    CHECK(text[99] == '\n' && text[10099] == '\n' && text[10100] == 'z');
    unlink(scratch());
}

static void test_broken_pipe(void)
{
    int ends[2], saved = dup(STDOUT_FILENO);
    fflush(stdout);
    CHECK_INT(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    struct mb_output *o = mb_output_new("-", false, true, NULL);
    int wrote = mb_output_write(o, "line\n", 5), freed = mb_output_free(o);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    CHECK_INT(wrote, MB_EPIPE);
    CHECK_INT(freed, MB_EPIPE);
}

/* A reader slower than we, behind a pipe that does not block. */
static void test_full_pipe(void)
{
    int ends[2];
    char text[4096];
    long total = 0, want = 400000;
    fflush(stdout);
    CHECK_INT(pipe2(ends, O_NONBLOCK), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        dup2(ends[1], STDOUT_FILENO);
        struct mb_output *o = mb_output_new("-", false, true, NULL);
        int rc = 0;
        memset(text, 'p', sizeof text);
        text[99] = '\n';
        for (long n = 0; n < want; n += 100)
            rc |= mb_output_write(o, text, 100);
        rc |= mb_output_free(o);
        _exit(rc != 0);
    }
    close(ends[1]);
    for (ssize_t n = 1; n != 0;) {
        n = read(ends[0], text, sizeof text);
        total += n > 0 ? n : 0;
        if (n < 0)
            usleep(1000);
    }
    close(ends[0]);
    CHECK_INT(total, want);
}

static void test_refused(void)
{
    char err[MB_ERRBUF_SIZE];
    CHECK(mb_output_new("/nonexistent/log", true, false, err) == NULL);
    CHECK_STR(err, "/nonexistent/log: No such file or directory");
    CHECK_INT(mb_output_free(NULL), 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    RUN(test_buffering);
    RUN(test_line_buffering);
    RUN(test_append);
    RUN(test_reopen);
    RUN(test_reopen_refused);
    RUN(test_long_text);
    RUN(test_full_disk);
    RUN(test_broken_pipe);
    RUN(test_full_pipe);
    RUN(test_refused);
    return test_done();
}
