/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A loop: one thread that waits for everything its tasks wait for. See loop.c.
 */
#ifndef HOP_ASYNC_LOOP_H
#define HOP_ASYNC_LOOP_H

#include <pthread.h>

#include "bridge/cost.h"
#include "bridge/inbox.h"
#include "bridge/orphan.h"
#include "bridge/runtime.h"
#include "bridge/task.h"

#include "async/timer.h"

struct event;
struct event_base;
struct hop__fd;

/* What the thread that turns an own base does first and last: scheduling policy, affinity, timer slack. May be NULL. */
struct hop__loop_hooks {
    void (*thread_begins)(struct hop_runtime *);
    void (*thread_ends)(struct hop_runtime *);
};

/* A first-in, first-out list of runnables, for one thread. */
struct hop__fifo {
    struct hop__runnable *first, *last; /* last is meaningful while first is not NULL */
};

/*
 * Field access: executor, hooks, base and the descriptors are constant while the loop lives; inbox, the counters and
 * stop are for any thread; everything else is the loop's thread's.
 */
struct hop__loop {
    struct hop__executor executor;
    struct hop__loop_hooks hooks;
    struct hop__inbox inbox __attribute__((aligned(HOP__CACHE_LINE)));
    struct hop__costs costs __attribute__((aligned(HOP__CACHE_LINE)));
    uint64_t looked; /* ticks: when libevent was asked last */
    hop__atomic(uint64_t) turns, moderated; /* relaxed: read for statistics only */
    hop__atomic(int) strangers;             /* threads that are about to post, and none of the runtime's own */

    struct event_base *base;
    bool own_base;
    bool edges;      /* the backend knows EV_ET */
    int bell;        /* eventfd: somebody has pushed into the inbox of a sleeping loop */
    int alarm;       /* timerfd: the wheel wants to be advanced */
    struct event *bell_event, *alarm_event;
    struct event *turn_event; /* attached only: a turn in the next iteration of the user's dispatch */
    hop_ns alarm_at; /* what the timerfd is set to; HOP_FOREVER: nothing */
    bool asleep;     /* the inbox was told so */
    bool turn_due;   /* turn_event is pending */

    struct hop__fifo posted; /* runnables that came without a detour by the inbox */
    struct hop__fifo ready;  /* tasks */
    struct hop__wheel wheel;
    hop_ns turn_began;
    unsigned ran;       /* what this turn has run: tasks, runnables, events */
    unsigned immediate; /* calls that the running task made and that did not have to wait (io.c) */
    bool quick;         /* the last sleep was ended by the inbox after no longer than a spin may last */

    int slot;           /* in the process-wide list of loops (fd.c) */
    struct hop__fd **fds; /* by descriptor */
    int nfds;

    hop__atomic(pthread_t) thread; /* who turns it, as far as is known */
    pthread_t joinable; /* meaningful while started */
    bool started;
    hop__atomic(int) stop;
};

static inline struct hop__loop *hop__loop_of(struct hop__executor *executor)
{
    return (struct hop__loop *)executor; /* the first member */
}

/*
 * A loop on a base of its own (attached is NULL), or on the user's, which the calling thread will dispatch. hooks may
 * be NULL.
 * Errors: -ENOMEM, -EMFILE, -ENFILE, -EAGAIN (64 loops are all a process can have).
 */
int hop__loop_new(struct hop__loop **out, struct hop_runtime *rt, int index, struct event_base *attached,
                  const struct hop__loop_hooks *hooks);

/*
 * After the loop's tasks have ended and its thread, if any, was stopped. For an attached base: on the thread that
 * dispatches, outside of a dispatch. What was posted and not run yet is run here.
 */
void hop__loop_free(struct hop__loop *loop);

/* Own base: turns it in a thread of its own; asks that thread to end, and joins it. Errors: -EAGAIN, -EPERM. */
int hop__loop_start(struct hop__loop *loop);
void hop__loop_stop(struct hop__loop *loop);

/* Own base: turns it on the calling thread until *until is not zero. Who sets that (release) then rings. */
void hop__loop_run(struct hop__loop *loop, const hop__atomic(int) *until);

/* Wakes the loop; it finds out why. Any thread. */
void hop__loop_ring(struct hop__loop *loop);

/*
 * Attached base, on the thread that dispatches, outside of a dispatch: turns the base once, at most for timeout; the
 * user's events run too.
 * Errors: -EDEADLK (inside a dispatch), -EIO (the base failed).
 */
int hop__loop_poll(struct hop__loop *loop, hop_ns timeout);

/*
 * Whether the calling thread may touch what is the loop's: as above, or it is the thread that dispatches an attached
 * base, in a callback of the user's.
 */
bool hop__loop_is_mine(struct hop__loop *loop);

/* A thread with all signals blocked but those of its own faults, so that the program's threads handle signals. */
int hop__start_thread(pthread_t *out, void *(*body)(void *), void *arg);

/* --- between loop.c and base.c --- */

extern const struct hop__executor_ops hop__loop_ops;

static inline bool hop__loop_has_work(const struct hop__loop *loop)
{
    return loop->posted.first || loop->ready.first;
}

/* One turn, without libevent's part. */
void hop__loop_turn(struct hop__loop *loop);

/* From here on a push does not ring; what has come waits among the posted, which are run in order. */
void hop__loop_wake_up(struct hop__loop *loop);
void hop__loop_run_posted(struct hop__loop *loop);

/* Before a sleep: the alarm rings no later than the wheel wants to be advanced. */
void hop__loop_set_alarm(struct hop__loop *loop);

/*
 * In a child of fork that goes on with the parent's base: libevent calls, but the loop and what it would read (the bell
 * and the alarm are shared) are the parent's.
 */
static inline bool hop__loop_is_inherited(const struct hop__loop *loop)
{
    return loop->executor.runtime->generation != hop__generation;
}

/* Around everything that libevent calls (fd.c too), unless the loop is inherited. */
struct hop__loop_visit {
    struct hop__executor *executor;
    struct hop_runtime *runtime;
};

struct hop__loop_visit hop__loop_callback_begin(struct hop__loop *loop);
void hop__loop_callback_end(struct hop__loop *loop, struct hop__loop_visit visit);

#endif
