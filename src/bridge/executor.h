/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a runnable, a task or a piece of work can be sent. The ground floor knows executors only by this face; the loop
 * is in src/async, the pool, its workers and the team in src/compute, the blocking lane in src/async.
 */
#ifndef HOP_BRIDGE_EXECUTOR_H
#define HOP_BRIDGE_EXECUTOR_H

#include <hop/runtime.h>

#include "bridge/waiter.h"
#include "bridge/work.h"

struct hop__costs;
struct hop__task;
struct hop__executor;

/* A point of time on a loop's wheel. Links and when are the wheel's while it is armed. */
struct hop__timer {
    struct hop__timer *next, **link; /* link is NULL while not armed */
    hop_ns when;
    void (*fire)(struct hop__timer *); /* on the loop's thread, disarmed */
};

struct hop__executor_ops {
    /* Takes a task that has left its last thread. Cannot fail: the task brings its own link. Any thread. */
    void (*enter)(struct hop__executor *, struct hop__task *);

    /*
     * The pool only. Takes the work: 0; or -EAGAIN when the queue is full, unless an admission is given, which then
     * waits in the caller's frame for room and cannot be refused. Any thread.
     */
    int (*admit)(struct hop__executor *, const struct hop__work *, struct hop__admission *);

    /* Loops only. Runs the runnable on the loop's thread. Any thread. */
    void (*post)(struct hop__executor *, struct hop__runnable *);

    /* Loops only, on the loop's thread: the task goes on in a later turn. */
    void (*ready)(struct hop__executor *, struct hop__task *);

    /* Loops only, on the loop's thread: more than the running task wants to run. */
    bool (*busy)(struct hop__executor *);

    /* Loops only, on the loop's thread. */
    void (*arm)(struct hop__executor *, struct hop__timer *, hop_ns when);
    void (*disarm)(struct hop__executor *, struct hop__timer *);
};

struct hop__executor {
    const struct hop__executor_ops *ops;
    struct hop_runtime *runtime;
    enum hop_place place; /* what hop_here() says of a task that runs here */
    int index;            /* of loops and workers */
    struct hop__costs *costs; /* loops with a thread of ours: short jobs may stay */
};

#endif
