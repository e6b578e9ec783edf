// SPDX-License-Identifier: BSD-3-Clause
/*
 * For the models of futures: a waiter with something to read in it, and a completer that wakes it. The wake-up hands
 * over nothing, not even the sight of the result: the future alone does. (hop's own wake-ups do.)
 */
#ifndef HOP_TESTS_SLEEPER_H
#define HOP_TESTS_SLEEPER_H

#include "model.h"

#include "bridge/future.h"

struct sleeper {
    struct hop__waiter waiter;
    hop__var(int) letter; /* what a wake function reads of its waiter */
    hop__atomic(uint32_t) arrived;

    void leave(int text)
    {
        hop__set(&letter, text);
        hop__init(&arrived, 0u);
    }

    void wait()
    {
        while (!hop__load(&arrived, relaxed))
            kernel::running->wait(&arrived, 0);
    }
};

static void complete(struct hop__future *f, int result, bool *won)
{
    struct hop__waiter *w;

    *won = hop__future_complete(f, result, &w);
#ifdef TOUCH_AFTER_COMPLETE
    (void)hop__future_peek(f, &result);
#endif
    if (!*won || !w)
        return;

    struct sleeper *s = (struct sleeper *)w;

    RL_ASSERT(hop__get(&s->letter) == 9);
    RL_ASSERT(hop__exchange(&s->arrived, 1u, relaxed) == 0);
    kernel::running->wake(&s->arrived);
}

static int see(struct hop__future *f)
{
    int result;

    while (!hop__future_peek(f, &result))
        hop__pause();
    return result;
}

#endif
