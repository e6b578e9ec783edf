/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/time.h: the monotonic clock and sleeping. Deadlines are in hop/task.h (hop_within).
 */
#ifndef HOP_TIME_H
#define HOP_TIME_H

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The monotonic clock.
 * Context: anywhere, signal handlers too.
 */
HOP_API hop_ns hop_now(void);

/*
 * Sleeps for at least ns nanoseconds; zero or less only yields.
 * Context: task (suspends; its loop goes on), plain thread (blocks), job: -EWOULDBLOCK.
 * Errors: -ECANCELED, -ETIMEDOUT (the deadline of a hop_within came first), -EWOULDBLOCK.
 */
HOP_API int hop_sleep(hop_ns ns);

#ifdef __cplusplus
}
#endif

#endif
