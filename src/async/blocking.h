/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocking lane: threads that may block, for tasks inside hop_on_blocking. See blocking.c.
 */
#ifndef HOP_ASYNC_BLOCKING_H
#define HOP_ASYNC_BLOCKING_H

#include "bridge/executor.h"

/* Its first member is the executor: (struct hop__executor *)lane, which hop__lane_executor gives. */
struct hop__lane;

/*
 * The lane of a runtime, with one thread; others come and go, up to config.blocking_threads.
 * Errors: -ENOMEM, -EAGAIN (not even one thread).
 */
int hop__lane_new(struct hop__lane **out, struct hop_runtime *runtime);

/* Joins all threads. No task is on the lane, on its way to it, or will come back to it. NULL is fine. */
void hop__lane_free(struct hop__lane *lane);

struct hop__executor *hop__lane_executor(struct hop__lane *lane);

/* Threads that are alive now. Any thread. */
int hop__lane_threads(const struct hop__lane *lane);

#endif
