/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/parallel.h: computing on every worker: fork-join, loops, reductions.
 *
 * All of these work everywhere. In a job and inside hop_on_cpu the caller takes part; from a task at home, or a plain
 * thread, the work goes to the pool and the caller waits (its loop goes on). Only a callback is refused
 * (-EWOULDBLOCK): it would stop its loop. Bodies are jobs: in them a call that would wait returns -EWOULDBLOCK, but
 * they may compute in parallel again. A worker that waits for a stolen half runs nothing but descendants of that half,
 * so a lock held around these calls cannot deadlock with a stranger that wants it too.
 */
#ifndef HOP_PARALLEL_H
#define HOP_PARALLEL_H

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs fa(a) and fb(b), at the same time if a worker is free, and returns when both have ended. If fa fails before fb
 * has started, fb is not run.
 * Context: see above; waits but never runs a stranger's work.
 * Owns: a and b stay the caller's.
 * Errors: the first negative result, fa's before fb's; otherwise 0. -EINVAL (a null function), -ENODEV, -ESHUTDOWN,
 * -EWOULDBLOCK; -ECANCELED or -ETIMEDOUT if a task calls it that was cancelled before (a job asks hop_cancelled itself:
 * a join costs too little to look each time).
 * Source: fork-join by work stealing, Blumofe and Leiserson 1999; leapfrogging, Wagner and Calder 1993.
 */
HOP_API int hop_join(hop_fn *fa, void *a, hop_fn *fb, void *b);

/* One chunk of a loop: lo <= i < hi. Returns 0 or more to go on, negative to stop the loop. */
typedef int hop_range_fn(size_t lo, size_t hi, void *arg);

typedef struct hop_par_options {
    size_t size;   /* set by HOP_PAR */
    size_t grain;  /* smallest chunk; default: found while running, by the time a chunk takes */
    int width;     /* most workers to use; default: all */
} hop_par_options;

#define HOP_PAR(...) HOP__OPTIONS(hop_par_options, __VA_ARGS__)

/*
 * Calls body on chunks that cover lo <= i < hi once each, on as many workers as are free. An empty range is 0.
 * Cancellation and the deadline are looked at before each chunk.
 * Errors: the first negative result of a body (the chunks that had not started are skipped); -ECANCELED or -ETIMEDOUT;
 * -EINVAL (null body, hi < lo, options of an unknown size), -ENODEV, -ESHUTDOWN, -EWOULDBLOCK.
 */
HOP_API int hop_parallel_for(size_t lo, size_t hi, hop_range_fn *body, void *arg, const hop_par_options *options);

/* Folds lo <= i < hi into *into, which starts as a copy of the identity. Negative to stop. */
typedef int hop_fold_fn(size_t lo, size_t hi, void *into, void *arg);

/* Folds *from into *into, where from stands for indices after those of into. */
typedef void hop_combine_fn(void *into, const void *from, void *arg);

/*
 * Reduces lo <= i < hi to *result, a value of value_bytes that holds the identity at the call. The range is cut into
 * blocks that depend on its length and the grain alone, and the blocks are combined in order: combine need be
 * associative, not commutative, and the result is the same bit for bit on any number of workers.
 * Context, owns: as hop_parallel_for. result is written only on success.
 * Errors: as hop_parallel_for; -EINVAL (null functions or result, value_bytes 0 or absurd), -ENOMEM (large values
 * only).
 */
HOP_API int hop_parallel_reduce(size_t lo, size_t hi, hop_fold_fn *fold, hop_combine_fn *combine, void *arg,
                                void *result, size_t value_bytes, const hop_par_options *options);

#ifdef __cplusplus
}
#endif

#endif
