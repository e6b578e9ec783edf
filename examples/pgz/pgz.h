/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pgz.h: a parallel gzip on hop_pipeline and zlib, or libdeflate.
 *
 *     main.c       options, one FILE after the other, what is said and the exit status
 *     file.c       names, temporary files, what is left behind when something goes wrong
 *     deflate.c    compressing: read, compress in parallel, write
 *     fast.c       the same by another codec
 *     gzip.c       what stands around the compressed bytes
 *     inflate.c    decompressing: read and inflate, write
 *     progress.c   the bar on a terminal
 */
#ifndef PGZ_H
#define PGZ_H

#include <stdint.h>
#include <sys/stat.h>

#include <hop.h>

/* Which side an error came from. */
enum pgz_side { PGZ_NEITHER = 0, PGZ_INPUT, PGZ_OUTPUT };

/* How far a run is, and why it failed. Written by the run's tasks, which share one loop with who reads it. */
struct pgz_stats {
    uint64_t in_bytes;  /* read and dealt with */
    uint64_t out_bytes; /* written */
    enum pgz_side side;
    const char *reason; /* in words, where the error code would not say it; may be NULL */
    int garbage;        /* 1: the last member was followed by bytes that are not gzip */
};

/* Notes where the first error came from; those that follow from it are not noted. Returns error. */
static inline int pgz_blame(struct pgz_stats *stats, enum pgz_side side, const char *reason, int error)
{
    if (stats->side == PGZ_NEITHER) {
        stats->side = side;
        stats->reason = reason;
    }
    return error;
}

struct pgz_options {
    int level;        /* 1 to 9; 0: 6 */
    const char *name; /* stored in the header; may be NULL */
    time_t mtime;     /* stored in the header; 0: none */
};

unsigned long pgz_checksum(const void *bytes, size_t n); /* CRC-32 */

/* Write to out as a task. Errors: as hop_write_full gave it; then stats says that it was the output. */
int pgz_write(int out, const void *bytes, size_t n, struct pgz_stats *stats);
int pgz_write_header(int out, const struct pgz_options *options, struct pgz_stats *stats);
int pgz_write_trailer(int out, unsigned long crc, uint64_t in_bytes, struct pgz_stats *stats);

/*
 * Compresses all of in to out as one gzip member. Context: task. options and stats stay the caller's.
 * Errors: -Exxx as reading or writing gave it, -ENOMEM, -ECANCELED; stats says on which side.
 */
int pgz_compress(int in, int out, const struct pgz_options *options, struct pgz_stats *stats);

/* The same by libdeflate, as a row of members. -ENOTSUP: built without it. */
int pgz_compress_fast(int in, int out, const struct pgz_options *options, struct pgz_stats *stats);

/*
 * Decompresses all members of in to out; out -1: only tests them. Context: task.
 * Errors: as pgz_compress, and -EBADMSG with stats->reason: not gzip, corrupt or truncated.
 */
int pgz_decompress(int in, int out, struct pgz_stats *stats);

/* The bar: a task of the caller's scope that draws until over is completed, and then clears its line. */
struct pgz_progress {
    const char *name;
    const struct pgz_stats *stats;
    uint64_t total_bytes; /* of the input; 0: not known */
    hop_future over;
};

int pgz_progress(void *progress);

/* One FILE: its two descriptors, and what is to become of the output and the input in the end. */
struct pgz_file {
    const char *name; /* as given */
    char *target;     /* the output's name; NULL: standard output, or none */
    char *temporary;  /* the output's name until it is complete */
    int in, out;
    struct stat stat; /* of the input */
    const char *blame, *reason; /* after an error: whose it is, and why, if the code does not say it */
};

struct pgz_file_options {
    int decompress, test, to_stdout, force, keep;
};

/*
 * Open, commit and discard block, so a task calls them in hop_on_blocking. Open finds out whether FILE may be worked on
 * at all. Commit gives the complete output its name, mode and times and removes the input. Discard leaves everything as
 * it was; so does an error of the other two. Free is for the names, when there is nothing more to say about the file.
 */
int pgz_file_open(struct pgz_file *file, const char *name, const struct pgz_file_options *options);
int pgz_file_commit(struct pgz_file *file, const struct pgz_file_options *options);
void pgz_file_discard(struct pgz_file *file);
void pgz_file_free(struct pgz_file *file);

/*
 * From now on SIGINT, SIGTERM and SIGHUP remove the unfinished output before they end the process. Call it before the
 * runtime starts, so that every thread leaves these signals alone. Context: plain thread.
 */
int pgz_catch_signals(void);

#endif
