/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/offload.h: jobs. A job is a function that runs to its end on a worker of the pool; it computes and never waits.
 *
 * A trip to the pool costs a microsecond or so, and more if a worker has to wake up. A task's hop_offload of a function
 * that has always cost less runs it on the loop's own thread instead, as a job there: on that thread's stack, serially,
 * and with no worker's index. Functions that ask for the index, or compute in parallel, always travel, and so does any
 * function with .place = HOP_POOL.
 */
#ifndef HOP_OFFLOAD_H
#define HOP_OFFLOAD_H

#include <hop/base.h>
#include <hop/future.h>
#include <hop/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs fn(arg) as a job and returns what it returned: on a worker; or at once, on the loop, if the trip would cost more
 * than the job. No frame moves: the caller waits at home.
 * Context: task (suspends), plain thread (blocks); in a job or on a worker fn runs in place; callback: -EWOULDBLOCK.
 * Owns: arg stays the caller's; fn has ended, or will never start, when this returns.
 * Errors: what fn returned; -EINVAL (null fn), -ENODEV (no runtime), -ESHUTDOWN, -EWOULDBLOCK; -ECANCELED or -ETIMEDOUT
 * if the caller was cancelled, or its deadline passed, before fn started. Once started it is waited for.
 */
HOP_API int hop_offload(hop_fn *fn, void *arg);

typedef enum hop_offload_place {
    HOP_ANYWHERE = 0, /* where it is done soonest */
    HOP_POOL          /* always a trip to the pool */
} hop_offload_place;

typedef struct hop_offload_options {
    size_t size; /* set by HOP_OFFLOAD */
    hop_offload_place place;
    hop_runtime *runtime; /* for plain threads; default: the thread's */
} hop_offload_options;

#define HOP_OFFLOAD(...) HOP__OPTIONS(hop_offload_options, __VA_ARGS__)

/*
 * hop_offload with options, which may be NULL.
 * Errors: as hop_offload; -EINVAL (options of an unknown size, a runtime that is not live).
 */
HOP_API int hop_offload_with(hop_fn *fn, void *arg, const hop_offload_options *options);

/*
 * Queues fn(arg) for the pool as a child of the scope, and goes on. future, if not NULL, is completed with the result;
 * the scope is joined by hop_scope_close either way, and its first error counts.
 * Context: task (suspends while the queue is full), plain thread (blocks then); job or callback: -EAGAIN then.
 * Owns: arg and future stay the caller's; both must live until the future is complete, or the scope closed.
 * Errors: -EINVAL (null fn, scope not open), -EAGAIN, -ECANCELED or the scope's reason (the scope is cancelled),
 * -ESHUTDOWN. After an error fn does not run and the future
 * is not completed. A job that was accepted completes its future exactly once: with -ECANCELED or the reason if it was
 * cancelled before it started.
 */
HOP_API int hop_submit(hop_scope *scope, hop_future *future, hop_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif

#endif
