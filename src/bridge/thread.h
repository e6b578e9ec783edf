/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a thread knows of itself. Every thread has one of these, all zero until hop gives it a part to play.
 *
 * A function that switches stacks may go on in another thread, and compilers keep the address of a thread-local across
 * calls; so the address is asked for anew by hop__self(), which cannot be inlined, after every switch.
 */
#ifndef HOP_BRIDGE_THREAD_H
#define HOP_BRIDGE_THREAD_H

#include "bridge/context.h"
#include "bridge/executor.h"

struct hop__worker;

/* A job that a task has done on the stack of its loop's thread. */
struct hop__errand {
    hop_fn *fn;
    void *arg;
    int result;
};

/*
 * What a C++ run-time keeps for a thread: the exceptions that are being handled, and the number of those in flight (its
 * __cxa_eh_globals, by the Itanium C++ ABI). A task may wait in a catch block, or in a destructor: each has its own.
 */
struct hop__exceptions {
    void *caught;
    unsigned in_flight;
};

struct hop__thread {
    struct hop__executor *executor; /* whose thread this is; NULL: a plain thread */
    struct hop__task *task;         /* the task that runs here; NULL: a job, a callback, or nothing of ours */
    struct hop__task *stack_of;     /* whose stack the thread runs on, also in a job; NULL: its own */
    struct hop__worker *worker;     /* while the thread takes part in task mode */
    hop__atomic(const struct hop__cancel *) cancel; /* of the job that runs here; NULL: none; its thieves read it */
    struct hop_runtime *runtime;    /* of the executor; for a plain thread the one it chose */
    struct hop__exceptions *exceptions; /* the C++ run-time's, of this thread; NULL: there is none */
    struct hop__context scheduler;  /* where a task that leaves its thread switches to */
    /* What the scheduler does for the task that has just left, once nothing of it runs here any more. */
    void (*after)(struct hop__task *, void *);
    struct hop__task *after_task;
    void *after_arg;
    bool visiting;                  /* ... and it will come back to this very thread */
    struct hop__errand *errand;     /* ... or it only wants this to be done here */
    bool at_home;                   /* a job runs on its loop's thread */
    bool as_worker;                 /* the job has asked which worker runs it, or computes in parallel */
};

extern _Thread_local struct hop__thread hop__thread_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

struct hop__thread *hop__self(void) __attribute__((noinline, visibility("hidden")));

/* The thread starts to work for an executor, and stops. */
void hop__thread_join(struct hop__executor *executor);
void hop__thread_leave(void);

/*
 * Reports a stack overflow in one line; once in a process. Each of hop's threads needs an alternate stack for it, and
 * one that runs jobs on its own stack a wider guard: they are given back by close, or when the thread ends.
 */
void hop__overflow_report_setup(void);
void hop__overflow_stack_open(void);
void hop__overflow_guard_open(void);
void hop__overflow_stack_close(void);

#endif
