/* SPDX-License-Identifier: BSD-3-Clause */
/* replay -- run a fuzz target once over files, without libFuzzer
 *
 * Each argument is a file or a folder of files; a folder that does not exist
 * holds no seeds. The empty input and every prefix of a seed up to 256 bytes
 * are tried too, so that a missing bounds check shows in plain `meson test`.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An exact-size heap copy: a read past the end is then seen by ASan. */
static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, size ? size : 1);

    if (!copy) {
        fprintf(stderr, "replay: out of memory\n");
        exit(1);
    }
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    long size = -1;
    uint8_t *data = NULL;
    int rc = -1;

    if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0)
        goto out;
    rewind(f);
    data = malloc((size_t)size + 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
        goto out;
    for (size_t n = 0; n < (size_t)size && n < 256; n++)
        run_copy(data, n);
    run_copy(data, (size_t)size);
    rc = 0;
out:
    if (rc)
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    free(data);
    if (f)
        fclose(f);
    return rc;
}

static int run_folder(const char *path, unsigned *files)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    int rc = 0;

    for (int i = 0; i < n; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            rc |= run_file(file);
            (*files)++;
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return rc;
}

int main(int argc, char **argv)
{
    unsigned files = 0;
    int rc = 0;

    run_copy(NULL, 0);
    for (int i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st))
            continue;
        if (S_ISDIR(st.st_mode)) {
            rc |= run_folder(argv[i], &files);
        } else {
            rc |= run_file(argv[i]);
            files++;
        }
    }
    printf("%u seed files\n", files);
    return rc ? 1 : 0;
}
