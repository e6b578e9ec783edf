/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fork and join from inside: <hop/fork.h> on a worker of ours.
 */
#ifndef HOP_COMPUTE_JOIN_H
#define HOP_COMPUTE_JOIN_H

#include "compute/pool.h"

static inline struct hop__worker *hop__worker_of(struct hop_worker *deque)
{
    return (struct hop__worker *)deque; /* the first member */
}

/* The handle for a job that runs here, or one that takes everything back (team mode). */
struct hop_worker *hop__forker(void);

#endif
