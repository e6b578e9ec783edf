/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflate.c: decompressing.
 *
 *     inflate_piece (serial) -> write_piece (serial)
 *
 * One deflate stream cannot be inflated in parallel. So the source reads, and offloads the inflating piece by piece to
 * a worker, and the loop is free meanwhile; writing goes on beside it. zlib checks headers, checksums and lengths.
 *
 * A file is a row of members. After each, the next two bytes tell what follows: another member, nothing, zeros (the
 * padding of tapes: ignored), or garbage (ignored, with a warning).
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "pgz.h"

enum { IN_BYTES = 128 << 10, PIECE_BYTES = 256 << 10, SLOTS = 4, GZIP_FORMAT = 15 + 16 };

struct piece {
    size_t n;
    unsigned char bytes[PIECE_BYTES];
};

struct unpacking {
    int in, out;
    struct pgz_stats *stats;
    z_stream z;
    int z_result; /* of the last offload */
    int inside;   /* a member has begun and not ended */
    int members;  /* begun so far */
    int finished; /* after the last one */
    int eof;
    unsigned char input[IN_BYTES];
};

static int fail(struct unpacking *unpacking, const char *reason)
{
    return pgz_blame(unpacking->stats, PGZ_INPUT, reason, -EBADMSG);
}

/* Reads more input behind what is there: 0, also at the end. */
static int refill(struct unpacking *unpacking)
{
    z_stream *z = &unpacking->z;
    ssize_t n;

    memmove(unpacking->input, z->next_in, z->avail_in);
    z->next_in = unpacking->input;
    n = hop_read(unpacking->in, unpacking->input + z->avail_in, IN_BYTES - z->avail_in);
    if (n < 0)
        return pgz_blame(unpacking->stats, PGZ_INPUT, NULL, (int)n);
    unpacking->eof = n == 0;
    z->avail_in += (uInt)n;
    unpacking->stats->in_bytes += (uint64_t)n;
    return 0;
}

/* Reads the rest, after the last member: 0; anything but zeros in it is garbage. */
static int skip_rest(struct unpacking *unpacking)
{
    z_stream *z = &unpacking->z;
    int rc = 0;

    while (rc == 0) {
        for (; z->avail_in > 0 && *z->next_in == 0; z->avail_in--)
            z->next_in++;
        if (z->avail_in > 0 || unpacking->eof)
            break;
        rc = refill(unpacking);
    }
    unpacking->stats->garbage = z->avail_in > 0;
    return rc;
}

/* Between members: 1 if another one follows, 0 at the end. */
static int next_member(struct unpacking *unpacking)
{
    z_stream *z = &unpacking->z;

    if (unpacking->finished)
        return 0;
    while (z->avail_in < 2 && !unpacking->eof) {
        int rc = refill(unpacking);

        if (rc < 0)
            return rc;
    }
    if (z->avail_in >= 2 && z->next_in[0] == 0x1f && z->next_in[1] == 0x8b) {
        unpacking->inside = 1;
        unpacking->members++;
        return inflateReset(z) == Z_OK ? 1 : -ENOMEM;
    }
    unpacking->finished = 1;
    if (unpacking->members > 0)
        return skip_rest(unpacking);
    return fail(unpacking, z->avail_in == 0 ? "unexpected end of file" : "not in gzip format");
}

/* The job. */
static int inflate_some(void *arg)
{
    struct unpacking *unpacking = arg;

    unpacking->z_result = inflate(&unpacking->z, Z_NO_FLUSH);
    return 0;
}

/* What the result of inflate asks for: 0 to go on, or why not. */
static int judge(struct unpacking *unpacking)
{
    switch (unpacking->z_result) {
    case Z_STREAM_END:
        unpacking->inside = 0;
        return 0;
    case Z_OK:
    case Z_BUF_ERROR:
        if (unpacking->eof && unpacking->z.avail_in == 0 && unpacking->z.avail_out > 0)
            return fail(unpacking, "unexpected end of file");
        return 0;
    case Z_MEM_ERROR:
        return -ENOMEM;
    default:
        return fail(unpacking, unpacking->z.msg ? unpacking->z.msg : "corrupt data");
    }
}

static int inflate_piece(void *slot, void *arg)
{
    struct piece *piece = slot;
    struct unpacking *unpacking = arg;
    z_stream *z = &unpacking->z;
    int rc = 0;

    z->next_out = piece->bytes;
    z->avail_out = PIECE_BYTES;
    while (rc == 0 && z->avail_out > 0) {
        if (!unpacking->inside) {
            rc = next_member(unpacking);
            if (rc <= 0)
                break;
        }
        rc = z->avail_in == 0 && !unpacking->eof ? refill(unpacking) : 0;
        if (rc == 0)
            rc = hop_offload(inflate_some, unpacking);
        if (rc == 0)
            rc = judge(unpacking);
    }
    piece->n = PIECE_BYTES - z->avail_out;
    return rc < 0 ? rc : piece->n > 0;
}

static int write_piece(void *slot, void *arg)
{
    const struct piece *piece = slot;
    struct unpacking *unpacking = arg;
    ssize_t n = unpacking->out < 0 ? 0 : hop_write_full(unpacking->out, piece->bytes, piece->n);

    if (n < 0)
        return pgz_blame(unpacking->stats, PGZ_OUTPUT, NULL, (int)n);
    unpacking->stats->out_bytes += piece->n;
    return 0;
}

static const hop_stage stages[] = {
    { inflate_piece, HOP_SERIAL, "inflate" },
    { write_piece, HOP_SERIAL, "write" },
};

int pgz_decompress(int in, int out, struct pgz_stats *stats)
{
    struct unpacking *unpacking = calloc(1, sizeof *unpacking);
    struct piece *pieces = malloc(SLOTS * sizeof *pieces);
    int rc = -ENOMEM;

    if (unpacking && pieces) {
        unpacking->in = in;
        unpacking->out = out;
        unpacking->stats = stats;
        unpacking->z.next_in = unpacking->input;
        if (inflateInit2(&unpacking->z, GZIP_FORMAT) == Z_OK) {
            rc = hop_pipeline(stages, sizeof stages / sizeof *stages, pieces, SLOTS, sizeof *pieces, unpacking);
            inflateEnd(&unpacking->z);
        }
    }
    free(pieces);
    free(unpacking);
    return rc;
}
