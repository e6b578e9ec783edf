/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any bytes into pgz: what it decompresses is what zlib alone makes of them, or an error where zlib has one; and what
 * it compresses, it gives back.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "../../examples/pgz/pgz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

enum { OUT_MAX = 4 << 20 };

struct input {
    const unsigned char *data;
    size_t n;
};

static void must(int holds)
{
    if (!holds)
        abort();
}

static int file_of(const unsigned char *data, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    must(fd >= 0 && write(fd, data, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* The members that zlib finds one after the other: their bytes; *error: the last of them is bad. */
static size_t reference(const unsigned char *data, size_t n, unsigned char *out, int *error)
{
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)data, .avail_in = (uInt)n };
    int rc = Z_STREAM_END, members = 0;

    z.next_out = out;
    z.avail_out = OUT_MAX;
    must(inflateInit2(&z, 15 + 16) == Z_OK);
    while (rc == Z_STREAM_END && z.avail_in >= 2 && z.next_in[0] == 0x1f && z.next_in[1] == 0x8b) {
        inflateReset(&z);
        rc = inflate(&z, Z_FINISH);
        members++;
    }
    inflateEnd(&z);
    *error = rc != Z_STREAM_END || !members;
    return OUT_MAX - z.avail_out;
}

static void decompress(const struct input *input)
{
    static unsigned char expected[OUT_MAX], got[OUT_MAX];
    struct pgz_stats stats = { .in_bytes = 0 };
    int in = file_of(input->data, input->n), out = file_of(NULL, 0), error, rc;
    size_t n = reference(input->data, input->n, expected, &error);

    if (n < OUT_MAX) { /* else the reference was cut short */
        rc = pgz_decompress(in, out, &stats);
        must((rc < 0) == error);
        must(rc < 0 || (stats.out_bytes == n && pread(out, got, n, 0) == (ssize_t)n && !memcmp(expected, got, n)));
    }
    close(in);
    close(out);
}

static void there_and_back(const struct input *input)
{
    struct pgz_options options = { .level = 1 };
    struct pgz_stats stats = { .in_bytes = 0 };
    unsigned char *back = malloc(input->n + 1);
    int in = file_of(input->data, input->n), packed = file_of(NULL, 0), out = file_of(NULL, 0);

    must(back && pgz_compress(in, packed, &options, &stats) == 0);
    must(lseek(packed, 0, SEEK_SET) == 0);
    stats = (struct pgz_stats){ .in_bytes = 0 };
    must(pgz_decompress(packed, out, &stats) == 0 && stats.out_bytes == input->n && !stats.garbage);
    must(pread(out, back, input->n + 1, 0) == (ssize_t)input->n && !memcmp(back, input->data, input->n));
    free(back);
    close(in);
    close(packed);
    close(out);
}

static int main_task(void *arg)
{
    decompress(arg);
    there_and_back(arg);
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    struct input input = { data, n };

    must(hop_run(main_task, &input, &(hop_config){ .workers = 1 }) == 0);
    return 0;
}
