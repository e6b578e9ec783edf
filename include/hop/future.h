/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/future.h: one completion cell. Anything may complete it, once; anything may await it.
 */
#ifndef HOP_FUTURE_H
#define HOP_FUTURE_H

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Caller-owned storage, opaque. Zero-initialised (= {0}, or HOP_FUTURE_INIT) means empty; to use it again after it was
 * awaited, set it to zero again. It may live in the awaiter's frame: the completer never touches it after the moment
 * the awaiter can see the result.
 */
typedef struct hop_future {
    uint64_t opaque[2];
} hop_future;

#define HOP_FUTURE_INIT { { 0, 0 } }

/*
 * Completes the future with result and wakes who awaits it. Writes made before are seen by the awaiter.
 * Context: task, job, thread, callback; never suspends. Not in a signal handler.
 * Owns: nothing; do not touch the future afterwards unless you know that its owner is still there.
 * Errors: -EINVAL (null), -EALREADY (completed before; the first result stays).
 */
HOP_API int hop_complete(hop_future *future, int result);

/*
 * Waits for the future and returns its result.
 * Context: task (suspends), plain thread (blocks), job or callback: -EWOULDBLOCK unless it is complete already.
 * Owns: the future belongs to the caller; one awaiter at a time.
 * Errors: -EINVAL (null), -EBUSY (another awaiter is there), -EWOULDBLOCK, -ECANCELED, -ETIMEDOUT; after any of these
 * the future is as before and can be awaited again. Otherwise the result, which can be any of these values itself:
 * hop_done tells.
 */
HOP_API int hop_await(hop_future *future);

/*
 * The same, at most until the monotonic time deadline (hop_now() + a span); an earlier hop_within deadline holds too.
 */
HOP_API int hop_await_until(hop_future *future, hop_ns deadline);

/*
 * Whether the future has been completed: 1 or 0.
 * Context: anywhere; never suspends.
 */
HOP_API int hop_done(const hop_future *future);

#ifdef __cplusplus
}
#endif

#endif
