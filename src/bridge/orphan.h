/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children of fork. Born while a runtime was live, a child has a copy of everything and none of the threads: nothing
 * that the parent began will ever go on in it. It is an orphan: calls that need a runtime, or may wait, return
 * -EOWNERDEAD until it has made a runtime of its own. What belongs to the parent's (scopes, channels, descriptors'
 * registrations) carries the generation of its birth and stays dead.
 *
 * The thread that called fork goes on in the child as a plain one, somewhere in a task's, a job's or its own frames.
 * There is nothing below those frames to return to: who does return ends the child with a line that says so.
 */
#ifndef HOP_BRIDGE_ORPHAN_H
#define HOP_BRIDGE_ORPHAN_H

#include "bridge/atomic.h"
#include "bridge/thread.h"

extern uint32_t hop__generation;           /* moves in the handler of fork, where there is one thread */
extern hop__atomic(int) hop__orphaned;     /* relaxed: set there too, cleared when the child has a runtime */

/* In the child, in the handler of fork. */
void hop__orphan_begins(void);

/* What a call that finds no runtime returns. */
static inline int hop__no_runtime(void)
{
    return hop__load(&hop__orphaned, relaxed) ? -EOWNERDEAD : -ENODEV;
}

void hop__orphan_returned(void) __attribute__((noreturn, cold));

/* After a function of the user's has returned on a thread of hop's: in an orphan, the thread is that no more. */
static inline void hop__check_returned(const struct hop__thread *self)
{
    if (__builtin_expect(!self->executor, 0))
        hop__orphan_returned();
}

#endif
