/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The primitive under everything: what can be queued, and what is left behind by a sleeper.
 */
#ifndef HOP_BRIDGE_WAITER_H
#define HOP_BRIDGE_WAITER_H

#include "bridge/atomic.h"

/* Anything an executor can be sent: one link, one function. It is in one queue at a time. */
struct hop__runnable {
    hop__var(struct hop__runnable *) next;
    void (*run)(struct hop__runnable *); /* on the executor's thread; the runnable may be gone when it returns */
};

/*
 * The node that a sleeper leaves with whatever it awaits. It lives in the sleeper's own memory.
 * wake is called exactly once, by whoever took the waiter from where it was left; the waiter may be gone as soon as
 * wake has passed the news on, so it is the last thing that the waker does with it. A waiter that was withdrawn in time
 * is never woken.
 */
struct hop__waiter {
    struct hop__runnable node; /* for the way to the sleeper's executor */
    void (*wake)(struct hop__waiter *);
};

#endif
