/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reductions: a parallel loop over blocks, each folded into a value of its own, then combined in order.
 *
 * The blocks depend on the length and the grain alone, so the result does not depend on who did what: it is the same on
 * one worker and on a hundred, and combine need not be commutative.
 */
#include "config.h"

#include <hop/parallel.h>

#include <stdlib.h>
#include <string.h>

#include "bridge/boundary.h"
#include "bridge/offload.h"

enum { BLOCKS_MAX = 256, SMALL_BYTES = 8192, ALIGNMENT = 64 };

struct reduction {
    size_t lo, hi, block; /* indices a block */
    hop_fold_fn *fold;
    hop_combine_fn *combine;
    void *arg, *result;
    size_t value_bytes, stride;
    int width;
    char *values;
};

/* Folds in a copy of its own, so that neighbours' values do not share a cache line while they change. */
static int fold_block(struct reduction *r, size_t b, char *scratch)
{
    size_t from = r->lo + b * r->block, to = r->hi - from > r->block ? from + r->block : r->hi;
    char *value = r->values + b * r->stride;
    int rc;

    if (!scratch)
        return r->fold(from, to, value, r->arg);
    memcpy(scratch, value, r->value_bytes);
    rc = r->fold(from, to, scratch, r->arg);
    memcpy(value, scratch, r->value_bytes);
    return rc;
}

static int fold_blocks(size_t lo, size_t hi, void *arg)
{
    struct reduction *r = arg;
    char scratch[512] __attribute__((aligned(ALIGNMENT)));
    int rc = 0;

    for (; lo < hi && rc >= 0; lo++)
        rc = fold_block(r, lo, r->value_bytes <= sizeof scratch ? scratch : NULL);
    return rc;
}

static int fold_and_combine(struct reduction *r, size_t blocks)
{
    size_t b;
    int rc;

    HOP__BOUNDARY();
    for (b = 0; b < blocks; b++)
        memcpy(r->values + b * r->stride, r->result, r->value_bytes);
    rc = hop_parallel_for(0, blocks, fold_blocks, r, HOP_PAR(.grain = 1, .width = r->width));
    if (rc < 0)
        return rc;
    memcpy(r->result, r->values, r->value_bytes);
    for (b = 1; b < blocks; b++)
        r->combine(r->result, r->values + b * r->stride, r->arg);
    return 0;
}

static int reduce(void *arg)
{
    struct reduction *r = arg;
    size_t blocks = (r->hi - r->lo - 1) / r->block + 1;
    char small[SMALL_BYTES] __attribute__((aligned(ALIGNMENT)));
    int rc;

    r->stride = (r->value_bytes + 15) & ~(size_t)15;
    if (r->stride <= SMALL_BYTES / blocks) {
        r->values = small;
        return fold_and_combine(r, blocks);
    }
    r->stride = (r->value_bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    r->values = r->stride > SIZE_MAX / blocks ? NULL : aligned_alloc(ALIGNMENT, r->stride * blocks);
    if (!r->values)
        return -ENOMEM;
    rc = fold_and_combine(r, blocks);
    free(r->values);
    return rc;
}

int hop_parallel_reduce(size_t lo, size_t hi, hop_fold_fn *fold, hop_combine_fn *combine, void *arg, void *result,
                        size_t value_bytes, const hop_par_options *options)
{
    struct hop__thread *self = hop__self();
    struct reduction r = { lo, hi, 1, fold, combine, arg, result, value_bytes, 0, options ? options->width : 0, NULL };
    size_t least;

    if (!fold || !combine || !result || !value_bytes || value_bytes > PTRDIFF_MAX || hi < lo ||
        (options && (options->size != sizeof *options || options->width < 0)))
        return -EINVAL;
    if (lo == hi)
        return 0;
    least = (hi - lo - 1) / BLOCKS_MAX + 1;
    r.block = options && options->grain > least ? options->grain : least;
    if (hop__computes_here(self))
        return self->task ? hop__job_call(reduce, &r) : reduce(&r);
    return hop__run_on_pool(reduce, &r, NULL);
}
