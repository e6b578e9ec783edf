/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pace: keeps the workers below the cgroup's CPU quota. The kernel stops a process that has spent its quota for the
 * rest of the period, loops and all; so the workers stop a little earlier, and leave the loops what those use.
 *
 * A token bucket of CPU time. It fills at the quota less a margin, and the clock of the whole process empties it. A
 * worker that finds it overdrawn, between two jobs or two chunks of a loop, waits until it is not. Margin and size are
 * a twentieth of what a period allows, each, so that no period gets more than the quota; what a long job overdraws is
 * waited for afterwards, but never for more than a period: though the loops take everything, the workers go on.
 *
 * Any number of threads.
 */
#ifndef HOP_COMPUTE_PACE_H
#define HOP_COMPUTE_PACE_H

#include <pthread.h>

#include "bridge/atomic.h"
#include "bridge/clock.h"

struct hop__pace {
    hop__atomic(int) rate; /* CPU time for 1000 of time, the margin taken off; 0: there is no quota */
    pthread_mutex_t lock;  /* over the rest */
    hop_ns period, size;   /* of the quota; of the bucket */
    hop_ns balance;        /* below 0: overdrawn */
    hop_ns seen, used;     /* when the process's clock was read, and what it said */
};

void hop__pace_init(struct hop__pace *pace);
void hop__pace_free(struct hop__pace *pace);

/* quota in CPUs, 0: none; period: of the quota. */
void hop__pace_set(struct hop__pace *pace, double quota, hop_ns period);

/* The process has used so much CPU time by now: how long a worker has to wait. */
hop_ns hop__pace_ask(struct hop__pace *pace, hop_ns now, hop_ns used);

static inline bool hop__pace_is_set(struct hop__pace *pace)
{
    return __builtin_expect(hop__load(&pace->rate, relaxed) != 0, 0);
}

#endif
