// SPDX-License-Identifier: BSD-3-Clause
/*
 * bridge/park.h: a sleeper that looked again after prepare misses no work that was shown before unpark.
 *
 *     flags     two wakers show one piece of work each by relaxed stores, the weakest way there is
 *     shared    two sleepers on one park, as those who follow one thief: they leave the bit where it is (a mutant takes
 *               it back, and the other sleeps for ever)
 */
// variant: -DMEMBARRIER
// mutant: -DHOP__FENCE_LIGHT=((void)0)
// mutant: -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DMEMBARRIER -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DNO_SECOND_LOOK
// mutant: -DCANCEL_SHARED
#include "model.h"

#include "bridge/park.h"

/* Sleeps, unless there is something to do. */
template <class look> static void sleep(struct hop__park *park, bool shared, look ready)
{
    uint32_t key = hop__park_prepare(park);

#ifndef NO_SECOND_LOOK
    if (ready()) {
        if (!shared)
            hop__park_cancel(park, key);
        hop__pause();
        return;
    }
#endif
    hop__park_wait(park, key);
}

struct flags {
    kernel futex;
    struct hop__park park;
    hop__atomic(int) work[2];

    void init()
    {
        hop__init(&park.word, 0u);
        hop__init(&work[0], 0);
        hop__init(&work[1], 0);
    }

    void show(int i)
    {
        hop__store(&work[i], 1, relaxed);
        hop__unpark(&park);
    }

    void await(int i, bool shared)
    {
        while (!hop__load(&work[i], relaxed))
            sleep(&park, shared, [&] { return hop__load(&work[i], relaxed); });
    }
};

struct flags_suite : rl::test_suite<flags_suite, 3>, flags {
    void before()
    {
        init();
    }

    void thread(unsigned id)
    {
        if (id < 2) {
            show(id);
        } else {
            await(0, false);
            await(1, false);
        }
    }
};

struct shared_suite : rl::test_suite<shared_suite, 3>, flags {
    void before()
    {
        init();
    }

    void thread(unsigned id)
    {
#ifdef CANCEL_SHARED
        bool shared = false;
#else
        bool shared = true;
#endif

        if (id < 2) {
            await(id, shared);
        } else {
            show(0);
            show(1);
        }
    }
};

int main()
{
    return !(holds<flags_suite>("park flags", 200000) && holds_always<flags_suite>("park flags", 2) &&
             holds<shared_suite>("park shared", 300000));
}
