/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs from inside: what the compute floor needs of the bridge.
 */
#ifndef HOP_BRIDGE_OFFLOAD_H
#define HOP_BRIDGE_OFFLOAD_H

#include "bridge/runtime.h"
#include "bridge/task.h"

/* The caller is on a thread of the team, or in a job that stayed at home: computing happens right here. */
static inline bool hop__computes_here(const struct hop__thread *self)
{
    return self->worker || self->at_home || (self->executor && self->executor->place == HOP_TEAM);
}

/* Runs fn as a job on this thread of the team, also if a task is what runs here. */
int hop__job_call(hop_fn *fn, void *arg);

/* Sends fn to the pool and waits for it. From a task at home or on the lane, or a plain thread; else -EWOULDBLOCK. */
int hop__run_on_pool(hop_fn *fn, void *arg, struct hop_runtime *wanted);

/* For workers: runs a piece of work, unless it was cancelled, and tells its future and its scope. */
void hop__work_run(const struct hop__work *work);

#endif
