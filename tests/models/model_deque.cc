// SPDX-License-Identifier: BSD-3-Clause
/*
 * compute/deque.h: every job is run once, by somebody who sees what its owner wrote into it.
 *
 * The owner forks four jobs and pops between; a push on a full deque makes it run the job itself. Two places, so both
 * are used twice. Two thieves look three times each.
 */
// variant: -DMEMBARRIER
// mutant: -DDEQUE_PUBLISH=relaxed
// mutant: -DDEQUE_STEAL=relaxed
// mutant: -DDEQUE_FENCE_OWNER()=
// mutant: -DDEQUE_FENCE_THIEF()=
// mutant: -DMEMBARRIER -DDEQUE_FENCE_THIEF()=
#include "model.h"

#define DEQUE_CAPACITY 2
#include "compute/deque.h"

struct hop__job {
    hop__var(int) arg;
    hop__atomic(int) runs;
};

struct deque_suite : rl::test_suite<deque_suite, 3> {
    struct hop__deque deque;
    hop__atomic(struct hop__job *) items[DEQUE_CAPACITY];
    struct hop__job jobs[4];

    void before()
    {
        hop__deque_init(&deque, items);
        for (auto &job : jobs)
            hop__init(&job.runs, 0);
    }

    void run(struct hop__job *job)
    {
        RL_ASSERT(hop__get(&job->arg) == 7 + (int)(job - jobs));
        RL_ASSERT(hop__fetch_add(&job->runs, 1, relaxed) == 0);
    }

    void fork(int i)
    {
        hop__set(&jobs[i].arg, 7 + i);
        if (!hop__deque_push_owner(&deque, &jobs[i]))
            run(&jobs[i]);
    }

    bool join()
    {
        struct hop__job *job = hop__deque_pop_owner(&deque);

        if (job)
            run(job);
        return job;
    }

    void own()
    {
        fork(0);
        fork(1);
        join();
        fork(2);
        fork(3);
        while (join())
            ;
    }

    void steal()
    {
        for (int i = 0; i < 3; i++) {
            struct hop__job *job = hop__deque_steal_thief(&deque, nullptr);

            if (job)
                run(job);
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
        for (auto &job : jobs)
            RL_ASSERT(hop__load(&job.runs, relaxed) == 1);
        RL_ASSERT(!hop__deque_ready(&deque));
    }
};

int main()
{
    return !(holds<deque_suite>("deque", 300000) && holds_always<deque_suite>("deque", 1));
}
