// SPDX-License-Identifier: BSD-3-Clause
/*
 * The hand-over to team mode, on bridge/inbox.h and bridge/park.h: no team task is lost, none runs while a worker is in
 * task mode, no turn of the team is for nothing, and no worker sleeps for ever while a request is pending.
 *
 *     requester                          worker
 *     push on the team's inbox           task mode: computes, sleeps (prepare, look at the inbox, wait)
 *     unpark every worker                sees the inbox ready, or tasks left over: leaves the region by its barrier
 *                                        the owner (0): runs what is in the inbox, two at most; says if some are left
 *                                        the region opens again
 *
 * Two workers, one requester with three tasks. A core is plain data: who computes on it writes it.
 */
// variant: -DMEMBARRIER
// mutant: -DHOP__FENCE_LIGHT=((void)0)
// mutant: -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DMEMBARRIER -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DNO_SECOND_LOOK
// mutant: -DINBOX_PUBLISH=relaxed
// mutant: -DINBOX_TAKE=relaxed
// mutant: -DFORGETS_WHAT_IS_LEFT
// mutant: -DWAKE_OWNER_ONLY
// mutant: -DNO_LEAVING
#include "model.h"

#include "bridge/inbox.h"
#include "bridge/park.h"

enum { WORKERS = 2, TASKS = 3, SLICE = 2 };

struct team_suite : rl::test_suite<team_suite, WORKERS + 1> {
    kernel futex;
    struct hop__inbox inbox;
    struct hop__runnable tasks[TASKS];
    struct hop__runnable *waiting; /* taken, not run yet; the owner's */
    hop__atomic(int) left;
    hop__var(int) letters[TASKS]; /* what a requester wrote before it pushed */
    struct hop__park parks[WORKERS];
    hop__var(int) cores[WORKERS];
    hop__atomic(uint32_t) arrived, turn; /* the region's barrier */
    hop__var(int) done;

    void before()
    {
        hop__init(&inbox.head, (struct hop__runnable *)nullptr);
        waiting = nullptr;
        hop__init(&left, 0);
        hop__init(&arrived, 0u);
        hop__init(&turn, 0u);
        hop__set(&done, 0);
        for (auto &park : parks)
            hop__init(&park.word, 0u);
    }

    bool wanted()
    {
        return hop__inbox_ready(&inbox) || hop__load(&left, relaxed);
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
        int ran = 0;

        RL_ASSERT(task);
        while (task) {
            RL_ASSERT(hop__get(&letters[task - tasks]) == 7);
            for (auto &core : cores)
                hop__set(&core, WORKERS + (int)(task - tasks));
            hop__set(&done, hop__get(&done) + 1);
            task = ++ran < SLICE ? next_task() : nullptr;
        }
#ifndef FORGETS_WHAT_IS_LEFT
        hop__store(&left, waiting != nullptr, relaxed);
#endif
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
            hop__set(&letters[&task - tasks], 7);
            hop__inbox_push(&inbox, &task);
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
    }
};

int main()
{
    return !holds<team_suite>("team", 300000);
}
