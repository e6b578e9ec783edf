/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gzip.c: what stands around the compressed bytes of a member.
 */
#include <string.h>
#include <zlib.h>
#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif

#include "pgz.h"

enum { NAME_MAX_BYTES = 1024, DEFLATE = 8, HAS_NAME = 8, SMALLEST = 2, FASTEST = 4, UNIX = 3 };

int pgz_write(int out, const void *bytes, size_t n, struct pgz_stats *stats)
{
    ssize_t rc = hop_write_full(out, bytes, n);

    if (rc < 0)
        return pgz_blame(stats, PGZ_OUTPUT, NULL, (int)rc);
    stats->out_bytes += n;
    return 0;
}

unsigned long pgz_checksum(const void *bytes, size_t n)
{
#ifdef HAVE_LIBDEFLATE
    return libdeflate_crc32(0, bytes, n); /* ten times as quick */
#else
    return crc32_z(0, bytes, n);
#endif
}

static void put_32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

int pgz_write_header(int out, const struct pgz_options *options, struct pgz_stats *stats)
{
    unsigned char header[10 + NAME_MAX_BYTES] = { 0x1f, 0x8b, DEFLATE };
    size_t name_bytes = options->name ? strlen(options->name) + 1 : 0;

    if (name_bytes > NAME_MAX_BYTES)
        name_bytes = 0;
    header[3] = name_bytes ? HAS_NAME : 0;
    put_32(header + 4, options->mtime > 0 && options->mtime <= UINT32_MAX ? (uint32_t)options->mtime : 0);
    header[8] = options->level == 9 ? SMALLEST : options->level == 1 ? FASTEST : 0;
    header[9] = UNIX;
    if (name_bytes)
        memcpy(header + 10, options->name, name_bytes);
    return pgz_write(out, header, 10 + name_bytes, stats);
}

int pgz_write_trailer(int out, unsigned long crc, uint64_t in_bytes, struct pgz_stats *stats)
{
    unsigned char trailer[8];

    put_32(trailer, (uint32_t)crc);
    put_32(trailer + 4, (uint32_t)in_bytes);
    return pgz_write(out, trailer, sizeof trailer, stats);
}
