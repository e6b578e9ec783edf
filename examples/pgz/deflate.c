/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deflate.c: compressing.
 *
 *     read_block (serial) -> compress_block (parallel) -> write_block (serial)
 *
 * The input is cut into blocks of 128 KiB, of a long file 512 KiB, each compressed by itself as raw deflate with the
 * 32 KiB before it as the dictionary, so hardly anything is lost against one long stream. A block ends on a byte
 * boundary (Z_SYNC_FLUSH), the last one ends the stream (Z_FINISH), and one after the other they make one gzip member.
 * Its checksum is put together from those of the blocks. The idea is that of pigz by Mark Adler, and so is
 * crc32_combine.
 *
 * A slot of the pipeline holds everything that its block needs, also the compressor's state, so nothing is allocated
 * per block, and memory is bounded by the number of slots.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "pgz.h"

enum {
    LEAST_BYTES = 128 << 10,
    BLOCK_BYTES = 512 << 10, /* the most: each block costs its dictionary, and three trips between threads */
    BLOCKS_PER_WORKER = 16,  /* at least, if the file is long enough */
    WINDOW_BYTES = 32 << 10,
    OUT_BYTES = BLOCK_BYTES + BLOCK_BYTES / 8 + BLOCK_BYTES / 64 + 64, /* zlib's bound, and the flush */
    SLOTS_PER_WORKER = 4,
    RAW_DEFLATE = -15,
    MEMORY_LEVEL = 8
};

struct block {
    z_stream z;
    int ready; /* z is initialised */
    int first, last;
    size_t in_bytes, out_bytes;
    uLong crc;
    unsigned char in[WINDOW_BYTES + BLOCK_BYTES]; /* the end of the block before, then this one */
    unsigned char out[OUT_BYTES];
};

struct packing {
    int in, out;
    size_t block_bytes;
    const struct pgz_options *options;
    struct pgz_stats *stats;
    const struct block *before; /* the source's: the block read last */
    uLong crc;                  /* the writer's: of what was written */
    uint64_t in_bytes;
};

static int read_block(void *slot, void *arg)
{
    struct block *block = slot;
    struct packing *packing = arg;
    ssize_t n;

    if (packing->before && packing->before->last)
        return 0;
    block->first = !packing->before;
    if (packing->before)
        memmove(block->in, packing->before->in + packing->block_bytes, WINDOW_BYTES);
    n = hop_read_full(packing->in, block->in + WINDOW_BYTES, packing->block_bytes);
    if (n < 0)
        return pgz_blame(packing->stats, PGZ_INPUT, NULL, (int)n);
    block->in_bytes = (size_t)n;
    block->last = block->in_bytes < packing->block_bytes;
    packing->before = block;
    return 1;
}

static int prepare(struct block *block, int level)
{
    int rc = block->ready ? deflateReset(&block->z)
                          : deflateInit2(&block->z, level, Z_DEFLATED, RAW_DEFLATE, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);

    if (rc != Z_OK)
        return -ENOMEM;
    block->ready = 1;
    if (!block->first)
        deflateSetDictionary(&block->z, block->in, WINDOW_BYTES);
    return 0;
}

static int compress_block(void *slot, void *arg)
{
    struct block *block = slot;
    const struct packing *packing = arg;
    int rc = prepare(block, packing->options->level ? packing->options->level : 6);

    if (rc < 0)
        return rc;
    block->z.next_in = block->in + WINDOW_BYTES;
    block->z.avail_in = (uInt)block->in_bytes;
    block->z.next_out = block->out;
    block->z.avail_out = OUT_BYTES;
    rc = deflate(&block->z, block->last ? Z_FINISH : Z_SYNC_FLUSH);
    if (rc != (block->last ? Z_STREAM_END : Z_OK) || block->z.avail_in > 0 || block->z.avail_out == 0)
        return -EIO;
    block->out_bytes = OUT_BYTES - block->z.avail_out;
    block->crc = pgz_checksum(block->in + WINDOW_BYTES, block->in_bytes);
    return 0;
}

static int write_block(void *slot, void *arg)
{
    const struct block *block = slot;
    struct packing *packing = arg;
    int rc = block->first ? pgz_write_header(packing->out, packing->options, packing->stats) : 0;

    if (rc == 0)
        rc = pgz_write(packing->out, block->out, block->out_bytes, packing->stats);
    if (rc < 0)
        return rc;
    packing->crc = crc32_combine(packing->crc, block->crc, (z_off_t)block->in_bytes);
    packing->in_bytes += block->in_bytes;
    packing->stats->in_bytes = packing->in_bytes;
    return block->last ? pgz_write_trailer(packing->out, packing->crc, packing->in_bytes, packing->stats) : 0;
}

static const hop_stage stages[] = {
    { read_block, HOP_SERIAL, "read" },
    { compress_block, HOP_PARALLEL, "compress" },
    { write_block, HOP_SERIAL, "write" },
};

/* Large blocks, as long as every worker gets enough of them. What is no file may come slowly: small ones. */
static size_t choose_block_bytes(int in)
{
    struct stat stat;
    size_t share;

    if (fstat(in, &stat) < 0 || !S_ISREG(stat.st_mode))
        return LEAST_BYTES;
    share = (size_t)stat.st_size / (BLOCKS_PER_WORKER * (size_t)hop_worker_count());
    return share < LEAST_BYTES ? LEAST_BYTES : share > BLOCK_BYTES ? BLOCK_BYTES : share;
}

int pgz_compress(int in, int out, const struct pgz_options *options, struct pgz_stats *stats)
{
    struct packing packing = {
        .in = in, .out = out, .block_bytes = choose_block_bytes(in), .options = options, .stats = stats,
        .crc = crc32(0, NULL, 0)
    };
    size_t nblocks = SLOTS_PER_WORKER * (size_t)hop_worker_count();
    struct block *blocks = calloc(nblocks, sizeof *blocks);
    int rc;

    if (!blocks)
        return -ENOMEM;
    rc = hop_pipeline(stages, sizeof stages / sizeof *stages, blocks, nblocks, sizeof *blocks, &packing);
    for (size_t i = 0; i < nblocks; i++)
        if (blocks[i].ready)
            deflateEnd(&blocks[i].z);
    free(blocks);
    return rc;
}
