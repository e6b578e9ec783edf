// SPDX-License-Identifier: BSD-3-Clause
/*
 * compute/deque.h as a wait in a join uses it: what is stolen from a thief while his half is not done descends from
 * that half, although he may be done, and have forked something else, between the look at its state and the theft.
 *
 * The thief forks two children of the half, takes back what is left of them, is done, and forks a stranger. One waiter.
 */
// variant: -DMEMBARRIER
// mutant: -DNO_DONE_LOOK
#include "model.h"

#define HOP__DEQUE_CAPACITY 2
#include "forker.h"

enum { CHILDREN = 2, STRANGER = CHILDREN };

struct half : hop_half {
    hop__var(int) runs;
};

struct leapfrog_suite : rl::test_suite<leapfrog_suite, 2> {
    struct forker deque;
    struct half halves[CHILDREN + 1];
    hop__atomic(uint32_t) state;

    void before()
    {
        deque.init();
        hop__init(&state, (uint32_t)HOP__JOB_FORKED);
        for (auto &half : halves)
            hop__set(&half.runs, 0);
    }

    void run(hop_half *h)
    {
        struct half *half = static_cast<struct half *>(h);

        hop__set(&half->runs, hop__get(&half->runs) + 1);
    }

    void thief()
    {
        hop_forked forked[CHILDREN], stranger;

        for (int i = 0; i < CHILDREN; i++)
            forked[i] = hop_fork(&deque, &halves[i], nullptr);
        for (int i = CHILDREN - 1; i >= 0; i--)
            if (hop_take_back(&deque, forked[i]))
                run(&halves[i]);
        hop__store(&state, (uint32_t)HOP__JOB_DONE, relaxed); /* D1 of the next push publishes it */
        stranger = hop_fork(&deque, &halves[STRANGER], nullptr);
        RL_ASSERT(stranger >= 0);
        RL_ASSERT(hop_take_back(&deque, stranger));
    }

    void waiter()
    {
        while (hop__load(&state, acquire) != HOP__JOB_DONE) {
#ifdef NO_DONE_LOOK
            hop_half *half = hop__deque_steal_thief(&deque, nullptr);
#else
            hop_half *half = hop__deque_steal_thief(&deque, &state);
#endif
            if (half) {
                RL_ASSERT(half != &halves[STRANGER]);
                run(half);
            } else {
                hop__pause();
            }
        }
    }

    void thread(unsigned id)
    {
        if (id == 0)
            thief();
        else
            waiter();
    }

    void after()
    {
        for (int i = 0; i < CHILDREN; i++)
            RL_ASSERT(hop__get(&halves[i].runs) == 1);
    }
};

int main()
{
    return !holds<leapfrog_suite>("leapfrog", 300000);
}
