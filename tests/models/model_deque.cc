// SPDX-License-Identifier: BSD-3-Clause
/*
 * compute/deque.h: every half is run once, by somebody who sees what its owner wrote into it.
 *
 * The owner forks four halves and takes back between; when the deque is full it runs the half itself. Two places, so
 * both are used twice. Two thieves look three times each.
 */
// variant: -DMEMBARRIER
// variant: -DFENCED=true -DHOP__FENCE_LIGHT=((void)0)
// mutant: -DHOP__DEQUE_PUBLISH=relaxed
// mutant: -DDEQUE_STEAL=relaxed
// mutant: -DHOP__DEQUE_FENCE_OWNER()=
// mutant: -DDEQUE_FENCE_THIEF()=
// mutant: -DMEMBARRIER -DDEQUE_FENCE_THIEF()=
// mutant: -DFENCED=true -DHOP__FENCE_LIGHT=((void)0) -DDEQUE_FENCE_THIEF()=
#include "model.h"

#define HOP__DEQUE_CAPACITY 2
#include "forker.h"

#ifndef FENCED
#define FENCED false
#endif

struct half : hop_half {
    hop__var(int) arg;
    hop__atomic(int) runs;
};

struct deque_suite : rl::test_suite<deque_suite, 3> {
    struct forker deque;
    struct half halves[4];

    void before()
    {
        deque.init(FENCED);
        for (auto &half : halves)
            hop__init(&half.runs, 0);
    }

    void run(hop_half *h)
    {
        struct half *half = static_cast<struct half *>(h);

        RL_ASSERT(hop__get(&half->arg) == 7 + (int)(half - halves));
        RL_ASSERT(hop__fetch_add(&half->runs, 1, relaxed) == 0);
    }

    hop_forked fork(int i)
    {
        hop__set(&halves[i].arg, 7 + i);
        return hop_fork(&deque, &halves[i], nullptr);
    }

    void join(int i, hop_forked forked)
    {
        if (hop_take_back(&deque, forked))
            run(&halves[i]);
    }

    void own()
    {
        hop_forked forked[4];

        forked[0] = fork(0);
        forked[1] = fork(1);
        join(1, forked[1]);
        forked[2] = fork(2);
        forked[3] = fork(3);
        join(3, forked[3]);
        join(2, forked[2]);
        join(0, forked[0]);
    }

    void steal()
    {
        for (int i = 0; i < 3; i++) {
            hop_half *half = hop__deque_steal_thief(&deque, nullptr);

            if (half)
                run(half);
        }
    }

    void thread(unsigned id)
    {
        if (id == 0)
            own();
        else
            steal();
    }

    void after()
    {
        for (auto &half : halves)
            RL_ASSERT(hop__load(&half.runs, relaxed) == 1);
        RL_ASSERT(!hop__deque_ready(&deque));
    }
};

int main()
{
    return !(holds<deque_suite>("deque", 300000) && holds_always<deque_suite>("deque", 1));
}
