// SPDX-License-Identifier: BSD-3-Clause
/*
 * bridge/load.h: a loop that waits as long as every core computes is told when one no longer does, here without the
 * time limit that it has in life.
 *
 * A worker either looks for work, or rests. Two loops wait.
 */
// mutant: -DLOAD_FENCE_LOOP()=((void)0)
// mutant: -DLOAD_FENCE_WORKER()=((void)0)
// mutant: -DCOUNTS_AFTERWARDS
#include "model.h"

#define HOP__LOAD_SLEEP(word, seen, until) kernel::running->wait(word, seen)
#define HOP__LOAD_LATE(until) false
typedef int64_t hop_ns;
#include "bridge/load.h"

enum { LOOPS = 2 };

struct load_suite : rl::test_suite<load_suite, LOOPS + 1> {
    kernel futex;
    struct hop__load load;
    hop__atomic(int) sleepers, searching;
    hop__atomic(uint64_t) queued, taken;

    void before()
    {
        hop__init(&sleepers, 0);
        hop__init(&searching, 0);
        hop__init(&load.resting, 0);
        hop__init(&load.moderated, 0);
        hop__init(&load.relief, 0u);
        hop__init(&queued, (uint64_t)0);
        hop__init(&taken, (uint64_t)0);
        hop__init(&load.refill, UINT64_MAX);
        load.sleepers = &sleepers;
        load.queued = &queued;
        load.taken = &taken;
        load.searching = &searching;
    }

    void search()
    {
#ifdef COUNTS_AFTERWARDS
        hop__load_relieve(&load);
        hop__fetch_add(&searching, 1, relaxed);
#else
        hop__fetch_add(&searching, 1, relaxed);
        hop__load_relieve(&load);
#endif
    }

    void thread(unsigned id)
    {
        if (id < LOOPS) {
            hop__load_await_relief(&load, 0);
            return;
        }
        if (rl::rand(2))
            search();
        else
            hop__load_rest(&load, 1);
    }
};

int main()
{
    return !holds<load_suite>("load", 300000);
}
