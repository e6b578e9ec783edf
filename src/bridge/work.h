/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One unit of computing on its way to a worker: by value, so that a queue of it needs no allocation.
 */
#ifndef HOP_BRIDGE_WORK_H
#define HOP_BRIDGE_WORK_H

#include "bridge/atomic.h"
#include "bridge/future.h"

#include <hop/base.h>

struct hop__scope;

/*
 * Why someone should stop, as those see it who compute for him: reason points to a word that becomes negative (NULL:
 * nothing can cancel), deadline is his at the start. The word outlives the work: it is in a task or a scope that waits.
 */
struct hop__cancel {
    hop__atomic(int) *reason;
    hop_ns deadline;
};

struct hop__work {
    hop_fn *fn; /* NULL: arg is a task that hops here */
    void *arg;
    struct hop__future *future; /* completed with the result; may be NULL */
    struct hop__scope *scope;   /* told of the result; may be NULL */
    struct hop__cancel cancel;
    uint64_t *ticks; /* where to write what it cost; may be NULL */
};

/*
 * What a submitter leaves when the queue is full: it lives in his frame and is moved into the queue, oldest first, as
 * room comes. admitted, if not NULL, is completed then (who waits for the work's end anyway needs no such news).
 */
struct hop__admission {
    struct hop__admission *next;
    struct hop__work work;
    struct hop__future *admitted;
};

#endif
