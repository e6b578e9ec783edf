/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks from inside. A task is born, waits and ends at home, on its loop; in between it may hop to other executors and
 * comes back. Everything that wakes it arrives on its loop's thread, so a sleeping task's state needs no atomics: the
 * inbox of the loop is where all races were decided.
 *
 * Field access:
 *   node, context, after a switch out: whoever the task was handed to, one at a time; the hand-over orders it
 *   parked, cancel_seen              : the home loop's thread
 *   deadline, shield, scopes         : the task itself; its loop reads scopes under lock when it is cancelled
 *   reason                           : any thread, atomic; set once
 *   sibling links                    : under the parent scope's lock; list links under the runtime's tasks_lock
 */
#ifndef HOP_BRIDGE_TASK_H
#define HOP_BRIDGE_TASK_H

#include <pthread.h>

#include <hop/task.h>

#include "bridge/clock.h"
#include "bridge/context.h"
#include "bridge/executor.h"
#include "bridge/scope.h"
#include "bridge/stack.h"
#include "bridge/thread.h"

struct hop__task {
    struct hop__runnable node; /* in the queue of an executor */
    struct hop__context context;
    struct hop__executor *home; /* its loop, for life */
    struct hop__executor *here; /* who runs it, or ran it last */
    hop__atomic(int) seen_at;   /* the place of that, for reports: relaxed */
    hop_fn *fn;
    void *arg;
    int result;
    const char *name;
    struct hop__stack stack;
    struct hop__exceptions exceptions; /* while it does not run */

    bool parked;      /* asleep at home: ready() puts it into the loop's list */
    bool cancel_seen; /* the cancel node has arrived */
    int shield;       /* depth of hop_shield */
    hop_ns deadline;  /* HOP_FOREVER: none */
    hop__atomic(int) reason;          /* negative: cancelled */
    struct hop__runnable cancel_node; /* on its way home at most once in the task's life */

    struct hop__scope *parent;
    struct hop__task *sibling_next, **sibling_link;
    pthread_mutex_t lock;      /* guards scopes */
    struct hop__scope *scopes; /* open ones, innermost first */
    struct hop__task *list_next, **list_link;
    struct hop__admission admission; /* while it waits for a place in the pool's queue */
};

static inline struct hop__task *hop__task_of_node(struct hop__runnable *node)
{
    return (struct hop__task *)node; /* the first member */
}

/* For executors, in the scheduler context: runs the task until it leaves this thread, then does what it asked for. */
void hop__task_run(struct hop__task *t);

/* At home: runs fn as a job on the stack of the loop's thread, which may be deeper than the task's. Its result. */
int hop__task_run_errand(struct hop__task *t, hop_fn *fn, void *arg);

/* For waits, at home on the loop's thread. park: sleeps until ready; may return early. ready: makes it go on. */
void hop__task_park(struct hop__task *t);
void hop__task_ready(struct hop__task *t);

/*
 * Moves the running task to another executor, and returns there. visit: it will come back to this thread's executor, so
 * a thread that serves one task at a time keeps its place free (self->visiting, after hop__task_run).
 */
void hop__task_travel(struct hop__task *t, struct hop__executor *to);
void hop__task_visit(struct hop__task *t, struct hop__executor *to);

/* Tells the task to stop; only the first reason counts. The task must be kept alive by a lock of its parent's. */
void hop__task_cancel(struct hop__task *t, int reason);

/* If the task is cancelled: passes it on to its open scopes, but for those in a shield, unless that has ended. */
void hop__task_cancel_scopes(struct hop__task *t, bool shield_ended);

/* Why the task should stop: 0, the reason, or -ETIMEDOUT. Knows shields. */
int hop__task_interrupted(struct hop__task *t);

/* The task's function has returned: ends the program if it left a scope open, whose children outlive what they use. */
void hop__task_check_scopes(struct hop__task *t);

/* What its jobs see of that. */
struct hop__cancel hop__task_cancel_view(struct hop__task *t);

/* The same question for what runs here, task or job. */
int hop__cancel_check(const struct hop__cancel *c);

#endif
