/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fast.c: compressing by libdeflate (--fast-codec), which is quicker than zlib but knows no streams.
 *
 *     read_block (serial) -> compress_block (parallel) -> write_block (serial)
 *
 * So each block of 1 MiB becomes a gzip member of its own, and the output is a row of members, which every gzip reads.
 * The first one has the name. Matches do not reach over the border of a block: with blocks this large that costs about
 * 1 % in size.
 */
#include "pgz.h"

#ifdef HAVE_LIBDEFLATE

#include <libdeflate.h>
#include <stdlib.h>

enum {
    BLOCK_BYTES = 1 << 20,
    OUT_BYTES = BLOCK_BYTES + BLOCK_BYTES / 1024 + 256, /* more than its bound, which is asked for at the start */
    SLOTS_PER_WORKER = 3
};

struct block {
    struct libdeflate_compressor *codec;
    int first, last;
    size_t in_bytes, out_bytes;
    unsigned long crc;
    unsigned char in[BLOCK_BYTES], out[OUT_BYTES];
};

struct packing {
    int in, out;
    const struct pgz_options *options;
    struct pgz_stats *stats;
    int begun, ended; /* the source's: a block was read; the last one was */
};

static int read_block(void *slot, void *arg)
{
    struct block *block = slot;
    struct packing *packing = arg;
    ssize_t n;

    if (packing->ended)
        return 0;
    n = hop_read_full(packing->in, block->in, BLOCK_BYTES);
    if (n < 0)
        return pgz_blame(packing->stats, PGZ_INPUT, NULL, (int)n);
    packing->ended = n < BLOCK_BYTES;
    if (n == 0 && packing->begun)
        return 0; /* an empty input is one empty member */
    block->first = !packing->begun;
    block->in_bytes = (size_t)n;
    packing->begun = 1;
    return 1;
}

static int compress_block(void *slot, void *arg)
{
    struct block *block = slot;
    const struct packing *packing = arg;

    if (!block->codec)
        block->codec = libdeflate_alloc_compressor(packing->options->level ? packing->options->level : 6);
    if (!block->codec)
        return -ENOMEM;
    block->out_bytes = libdeflate_deflate_compress(block->codec, block->in, block->in_bytes, block->out, OUT_BYTES);
    block->crc = pgz_checksum(block->in, block->in_bytes);
    return block->out_bytes ? 0 : -EIO;
}

static int write_block(void *slot, void *arg)
{
    const struct block *block = slot;
    struct packing *packing = arg;
    struct pgz_options options = *packing->options;
    int rc;

    if (!block->first)
        options.name = NULL;
    rc = pgz_write_header(packing->out, &options, packing->stats);
    if (rc == 0)
        rc = pgz_write(packing->out, block->out, block->out_bytes, packing->stats);
    if (rc == 0)
        rc = pgz_write_trailer(packing->out, block->crc, block->in_bytes, packing->stats);
    packing->stats->in_bytes += block->in_bytes;
    return rc;
}

static const hop_stage stages[] = {
    { read_block, HOP_SERIAL, "read" },
    { compress_block, HOP_PARALLEL, "compress" },
    { write_block, HOP_SERIAL, "write" },
};

int pgz_compress_fast(int in, int out, const struct pgz_options *options, struct pgz_stats *stats)
{
    struct packing packing = { .in = in, .out = out, .options = options, .stats = stats };
    size_t nblocks = SLOTS_PER_WORKER * (size_t)hop_worker_count();
    struct block *blocks;
    int rc;

    if (libdeflate_deflate_compress_bound(NULL, BLOCK_BYTES) > OUT_BYTES)
        return -EOVERFLOW;
    blocks = calloc(nblocks, sizeof *blocks);
    if (!blocks)
        return -ENOMEM;
    rc = hop_pipeline(stages, sizeof stages / sizeof *stages, blocks, nblocks, sizeof *blocks, &packing);
    for (size_t i = 0; i < nblocks; i++)
        libdeflate_free_compressor(blocks[i].codec);
    free(blocks);
    return rc;
}

#else

int pgz_compress_fast(int in, int out, const struct pgz_options *options, struct pgz_stats *stats)
{
    (void)in;
    (void)out;
    (void)options;
    return pgz_blame(stats, PGZ_INPUT, "--fast-codec: this pgz was built without libdeflate", -ENOTSUP);
}

#endif
