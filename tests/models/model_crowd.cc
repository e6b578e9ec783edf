// SPDX-License-Identifier: BSD-3-Clause
/*
 * bridge/future.h with two completers and two awaiters: one result wins and stays; one waiter at most is registered,
 * and is woken once.
 */
// mutant: -DFUTURE_COMPLETE=release
// mutant: -DFUTURE_SEE=relaxed
#include "sleeper.h"

struct crowd_suite : rl::test_suite<crowd_suite, 4> {
    kernel futex;
    struct hop__future future;
    struct sleeper sleepers[2];
    hop__var(int) work[2];
    bool won[2];

    void before()
    {
        hop__init(&future.word, (uint64_t)HOP__EMPTY);
    }

    void await(struct sleeper *s)
    {
        enum hop__awaited awaited;
        int result;

        s->leave(9);
        awaited = hop__future_await(&future, &s->waiter);
        if (awaited == HOP__WAITING)
            s->wait();
        if (awaited == HOP__READY)
            RL_ASSERT(hop__future_peek(&future, &result));
        else
            result = see(&future);
        RL_ASSERT(hop__get(&work[result]) == 5 + result);
    }

    void thread(unsigned id)
    {
        if (id < 2) {
            hop__set(&work[id], 5 + id);
            complete(&future, id, &won[id]);
        } else {
            await(&sleepers[id - 2]);
        }
    }

    void after()
    {
        int result;

        RL_ASSERT(won[0] != won[1]);
        RL_ASSERT(hop__future_peek(&future, &result) && won[result]);
    }
};

int main()
{
    return !holds<crowd_suite>("crowd", 300000);
}
