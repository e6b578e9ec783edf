// SPDX-License-Identifier: BSD-3-Clause
/*
 * The hand-over to team mode, on bridge/inbox.h and bridge/park.h: no team task is lost, none runs while a worker is in
 * task mode, no turn of the team is for nothing, and no worker sleeps for ever while a request is pending.
 *
 *     requester                          worker
 *     push on the team's inbox           task mode: computes, sleeps (prepare, look at requests, wait)
 *     requests + 1           T1          sees requests > 0 (T2): leaves the region through its barrier
 *     unpark every worker                the owner (0): runs all that is in the inbox, requests - 1 for each
 *                                        the region opens again
 *
 * A task may be run before its request is counted, so requests can be -1 for a moment, which asks for nothing. Two
 * workers, one requester with three tasks. A core is plain data: who computes on it writes it.
 */
// variant: -DMEMBARRIER
// mutant: -DHOP__FENCE_LIGHT=((void)0)
// mutant: -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DMEMBARRIER -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DNO_SECOND_LOOK
// mutant: -DTEAM_REQUEST=relaxed
// mutant: -DTEAM_SEE=relaxed
// mutant: -DWANTED_IF_NOT_ZERO
// mutant: -DWAKE_OWNER_ONLY
// mutant: -DNO_LEAVING
#include "model.h"

#include "bridge/inbox.h"
#include "bridge/park.h"

#ifndef TEAM_REQUEST
#define TEAM_REQUEST release /* T1, pairs with T2: "the inbox holds the task" */
#endif
#ifndef TEAM_SEE
#define TEAM_SEE acquire /* T2 */
#endif

enum { WORKERS = 2, TASKS = 3 };

struct team_suite : rl::test_suite<team_suite, WORKERS + 1> {
    kernel futex;
    struct hop__inbox inbox;
    struct hop__runnable tasks[TASKS];
    struct hop__runnable *waiting; /* taken, not run yet; the owner's */
    hop__atomic(int) requests;
    struct hop__park parks[WORKERS];
    hop__var(int) cores[WORKERS];
    hop__atomic(uint32_t) arrived, turn; /* the region's barrier */
    hop__var(int) done;

    void before()
    {
        hop__init(&inbox.head, (struct hop__runnable *)nullptr);
        waiting = nullptr;
        hop__init(&requests, 0);
        hop__init(&arrived, 0u);
        hop__init(&turn, 0u);
        hop__set(&done, 0);
        for (auto &park : parks)
            hop__init(&park.word, 0u);
    }

    bool wanted()
    {
#ifdef WANTED_IF_NOT_ZERO
        return hop__load(&requests, TEAM_SEE);
#else
        return hop__load(&requests, TEAM_SEE) > 0;
#endif
    }

    void task_mode(int id)
    {
        hop__set(&cores[id], id);
        while (!wanted()) {
            uint32_t key = hop__park_prepare(&parks[id]);

#ifndef NO_SECOND_LOOK
            if (wanted()) {
                hop__park_cancel(&parks[id], key);
                continue;
            }
#endif
            hop__park_wait(&parks[id], key);
            hop__set(&cores[id], id);
        }
    }

    void barrier()
    {
        uint32_t now = hop__load(&turn, relaxed);

        if (hop__fetch_add(&arrived, 1u, acq_rel) == WORKERS - 1) {
            hop__store(&arrived, 0u, relaxed);
            hop__store(&turn, now + 1, release);
            futex.wake(&turn);
        }
        while (hop__load(&turn, acquire) == now)
            futex.wait(&turn, now);
    }

    struct hop__runnable *next_task()
    {
        struct hop__runnable *task = waiting ? waiting : hop__inbox_take(&inbox);

        waiting = nullptr;
        if (task)
            waiting = hop__get(&task->next);
        return task;
    }

    void team_mode()
    {
        struct hop__runnable *task = next_task();

        RL_ASSERT(task);
        for (; task; task = next_task()) {
            for (auto &core : cores)
                hop__set(&core, WORKERS + (int)(task - tasks));
            hop__set(&done, hop__get(&done) + 1);
            hop__fetch_sub(&requests, 1, relaxed);
        }
    }

    void work(int id)
    {
        do {
            task_mode(id);
#ifndef NO_LEAVING
            barrier();
#endif
            if (id == 0)
                team_mode();
            barrier();
        } while (hop__get(&done) < TASKS);
    }

    void thread(unsigned id)
    {
        if (id < WORKERS) {
            work(id);
            return;
        }
        for (auto &task : tasks) {
            hop__inbox_push(&inbox, &task);
            hop__fetch_add(&requests, 1, TEAM_REQUEST);
#ifdef WAKE_OWNER_ONLY
            hop__unpark(&parks[0]);
#else
            for (auto &park : parks)
                hop__unpark(&park);
#endif
        }
    }

    void after()
    {
        RL_ASSERT(hop__get(&done) == TASKS);
        RL_ASSERT(hop__load(&requests, relaxed) == 0);
    }
};

int main()
{
    return !holds<team_suite>("team", 300000);
}
