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

#define DEQUE_CAPACITY 2
#include "compute/deque.h"

enum { CHILDREN = 2, STRANGER = CHILDREN };

struct hop__job {
    hop__var(int) runs;
};

struct leapfrog_suite : rl::test_suite<leapfrog_suite, 2> {
    struct hop__deque deque;
    hop__atomic(struct hop__job *) items[DEQUE_CAPACITY];
    struct hop__job jobs[CHILDREN + 1];
    hop__atomic(uint32_t) state;

    void before()
    {
        hop__deque_init(&deque, items);
        hop__init(&state, (uint32_t)HOP__JOB_FORKED);
        for (auto &job : jobs)
            hop__set(&job.runs, 0);
    }

    void run(struct hop__job *job)
    {
        hop__set(&job->runs, hop__get(&job->runs) + 1);
    }

    void thief()
    {
        struct hop__job *left;

        for (int i = 0; i < CHILDREN; i++)
            RL_ASSERT(hop__deque_push_owner(&deque, &jobs[i]));
        while ((left = hop__deque_pop_owner(&deque)))
            run(left);
        hop__store(&state, (uint32_t)HOP__JOB_DONE, relaxed); /* D1 of the next push publishes it */
        RL_ASSERT(hop__deque_push_owner(&deque, &jobs[STRANGER]));
        RL_ASSERT(hop__deque_pop_owner(&deque) == &jobs[STRANGER]);
    }

    void waiter()
    {
        while (hop__load(&state, acquire) != HOP__JOB_DONE) {
#ifdef NO_DONE_LOOK
            struct hop__job *job = hop__deque_steal_thief(&deque, nullptr);
#else
            struct hop__job *job = hop__deque_steal_thief(&deque, &state);
#endif
            if (job) {
                RL_ASSERT(job != &jobs[STRANGER]);
                run(job);
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
            RL_ASSERT(hop__get(&jobs[i].runs) == 1);
    }
};

int main()
{
    return !holds<leapfrog_suite>("leapfrog", 300000);
}
