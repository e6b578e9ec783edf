/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/runtime.h: the pool, the loops and the blocking lane as one thing to start and to stop.
 *
 * A child of fork that was born while a runtime was live has a copy of everything and none of the threads, whether a
 * task, a job or a plain thread forked. It may exec or _exit. In it every call that needs a runtime, or may wait,
 * returns -EOWNERDEAD, blocks are run in place, and what needs no wait is done (a future that is complete, hop_close).
 * It may make a runtime of its own, and is then like any process; but the parent's scopes and channels stay dead, and
 * so do futures that the parent would have completed: do not wait for them. It must not return from the task or job it
 * was born in: there is nobody to return to, so it ends by abort, with a line that says so. With a libevent base that
 * hop was attached to it may go on (event_reinit): hop's events in it do nothing.
 *
 * Signals: waits go on after a handler has run; none returns -EINTR. The threads of loops block all signals but those
 * of their own faults; workers and the threads of the blocking lane have the mask of the thread that made the runtime.
 * A process inherits mask, policy and pin of the thread that starts it: in hop_on_blocking those are the program's own.
 *
 * Cancellation (pthread_cancel): of a plain thread it acts between calls of hop, or while it sleeps or waits for a
 * descriptor, when it holds nothing; in hop_run, hop_runtime_new and hop_runtime_free when they return. A scope that it
 * had open stays open. Do not cancel hop's own threads: that ends the program.
 *
 * The program may exit at any time, from anywhere; work in flight is then cut off where it is. After a dlclose of what
 * was linked with it the library stays in the process.
 */
#ifndef HOP_RUNTIME_H
#define HOP_RUNTIME_H

#include <stdio.h>

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct event_base;
typedef struct hop_runtime hop_runtime;
typedef struct hop_scope hop_scope;

/* How much computing yields to waiting. hop_describe tells which is in force, and why. */
enum hop_qos {
    HOP_QOS_AUTO = 0, /* idle when the process has its control group to itself and a worker on each CPU, or mild */
    HOP_QOS_OFF,      /* ordinary threads everywhere, the loop is not moderated, a CPU quota is spent as it comes */
    HOP_QOS_MILD,     /* workers a little nicer */
    HOP_QOS_IDLE,     /* workers SCHED_IDLE: they yield at once, to every thread of their control group */
    HOP_QOS_REALTIME  /* the loops real-time, where that is permitted */
};

/* Zero means default everywhere. */
typedef struct hop_config {
    int workers;                 /* threads of the pool; default: the CPU budget */
    int loops;                   /* loops, each a thread (hop_run and .base: the caller's is the first); default 1 */
    struct event_base *base;     /* hop_runtime_new: attach the first loop to this base, which the caller dispatches */
    enum hop_qos qos;
    hop_ns moderate_ns;          /* length of a loop's turn while every core computes; default 200 us, < 0: off */
    int no_spin;                 /* 1: never spin before sleeping */
    int no_pin;                  /* 1: leave the workers to the kernel's balancing, as when there are more CPUs */
    unsigned queue;              /* jobs that may wait for a worker before submitters wait; default 4096 */
    int blocking_threads;        /* most threads of the blocking lane; default 64 */
    size_t stack_bytes;          /* stack of a task; default 256 KiB, committed as touched */
    hop_ns drain_ns;             /* shutdown: let tasks end by themselves for so long; default 10 s, < 0: not at all */
    hop_ns grace_ns;             /* shutdown: after cancelling, wait for so long; default 5 s */
    FILE *log;                   /* where survivors of a shutdown are named; default stderr */
} hop_config;

/*
 * Runs a whole program: starts a runtime whose first loop is the calling thread, runs main as a task on it, and when
 * main has returned shuts down: admits nothing new, lets what is left drain, cancels, frees.
 * Context: plain thread.
 * Owns: arg and config stay the caller's; both may live in its frame.
 * Errors: what main returned, if negative; otherwise the first error of a task in the root scope, otherwise main's
 * result. -EINVAL (null main, absurd config), -ENOMEM, -EAGAIN (threads; 64 loops in a process), -EMFILE; -EDEADLK in
 * a task, a job or a callback; -ETIMEDOUT if something outlived the shutdown (it is named in the log, and its threads
 * are left alone).
 */
HOP_API int hop_run(hop_fn *main, void *arg, const hop_config *config);

/*
 * Starts a runtime inside a program that goes on by itself. Its loops turn in threads of their own; with config.base
 * the first loop is that event_base instead, and turns when the caller dispatches it (any backend; only the thread
 * that dispatches may touch it; it need not be built with locks; while the runtime lives its events keep
 * event_base_dispatch from returning by itself). In libevent callbacks of your own hop cannot know where it is: the
 * thread counts as a plain one, and must not wait there for what only its own base can bring; spawn or submit
 * instead. Plain threads use the runtime that was made first unless hop_runtime_use says otherwise.
 * Context: plain thread; with config.base the thread that will dispatch it.
 * Owns: *out is freed by hop_runtime_free. The base must outlive the runtime.
 * Errors: as hop_run.
 */
HOP_API int hop_runtime_new(hop_runtime **out, const hop_config *config);

/*
 * Shuts a runtime down: admits nothing new, lets what is left end for drain_ns, cancels it, waits for grace_ns, then
 * names in the log what is still there. With an attached base it turns the base meanwhile, so call it from the thread
 * that dispatches, outside of a dispatch.
 * Context: plain thread; blocks. One caller at a time.
 * Errors: 0, or the first error of the root scope; -EINVAL (null, or not a live runtime: freed before, say); -EPERM
 * (attached, and not the thread that dispatches); -EDEADLK from one of its own tasks, jobs or callbacks; -ETIMEDOUT
 * if something survived: the runtime is not freed, and the call can be made again; so it is with -ENOMEM and
 * -EAGAIN (attached: no stack for the task that waits).
 */
HOP_API int hop_runtime_free(hop_runtime *runtime);

/*
 * Makes the calling plain thread use this runtime from now on; NULL: the one made first.
 * Context: plain thread.
 * Errors: -EINVAL (not a live runtime), -EDEADLK (in a task or job: it has its runtime).
 */
HOP_API int hop_runtime_use(hop_runtime *runtime);

/*
 * The scope that lives as long as the runtime: for what a plain thread or a callback spawns. An error of one of its
 * children does not cancel the others; the first is what hop_run and hop_runtime_free return. NULL if runtime is not
 * live. With NULL for runtime: that of the caller.
 * Context: anywhere but signal handlers; never suspends.
 */
HOP_API hop_scope *hop_root(hop_runtime *runtime);

/*
 * Writes what was found, decided, and what fell back: CPUs, budget, workers, quality of service, OpenMP runtime,
 * loops, stacks. One fact a line. Without a runtime it tells what one would find.
 * Context: anywhere but signal handlers; writes to out with stdio.
 * Errors: -EINVAL (null), -EIO.
 */
HOP_API int hop_describe(FILE *out);

/* Where the caller is. */
enum hop_place {
    HOP_OUTSIDE = 0, /* a plain thread */
    HOP_LOOP,        /* a task at home, on its loop */
    HOP_CALLBACK,    /* on a loop's thread, in a function that hop called, outside of any task */
    HOP_CPU,         /* a task on a worker: hop_on_cpu */
    HOP_JOB,         /* a job: on a worker, or a short one on its loop's thread */
    HOP_TEAM,        /* inside hop_on_team */
    HOP_BLOCKING     /* inside hop_on_blocking */
};

/*
 * Where the caller is.
 * Context: anywhere; never suspends.
 */
HOP_API enum hop_place hop_here(void);

/*
 * The index of the worker that runs the caller, from 0, or -1 (also a short job at home: hop/offload.h); and the
 * number of workers (0 without a runtime).
 * Context: anywhere; never suspends.
 */
HOP_API int hop_worker_index(void);
HOP_API int hop_worker_count(void);

/*
 * Counters of the runtime of the caller. For tests, metrics and the curious; each is a sum over threads, read without
 * stopping anyone.
 */
typedef struct hop_stats {
    uint64_t jobs_accepted;  /* offloads, submits and hops taken by the pool */
    uint64_t jobs_completed; /* of these, taken up by a worker and run, or refused by cancellation: at rest, all */
    uint64_t jobs_at_home;   /* offloads that stayed on their loop, because they cost less than the trip */
    uint64_t steals;
    uint64_t parks;          /* times a worker went to sleep */
    uint64_t pauses;         /* times a worker waited, so that the CPU quota lasts for the loops */
    uint64_t team_turns;     /* times the pool entered team mode */
    uint64_t tasks_spawned;
    uint64_t tasks_ended;
    uint64_t loop_turns;
    uint64_t loop_moderated; /* turns that waited because every core computed */
    int blocking_threads;    /* alive now */
    int workers;
    int workers_active;      /* workers minus those parked because the budget shrank */
} hop_stats;

/*
 * Reads the counters.
 * Context: anywhere but signal handlers; never suspends.
 * Errors: -EINVAL (null), -ENODEV (no runtime), -EOWNERDEAD (that of the parent of this child of fork).
 */
HOP_API int hop_stats_read(hop_stats *out);

#ifdef __cplusplus
}
#endif

#endif
