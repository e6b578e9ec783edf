// SPDX-License-Identifier: BSD-3-Clause
/*
 * compute/ending.h: once exit has seen nobody outside, nobody uses the OpenMP runtime any more, and what they did with
 * it before is seen.
 *
 * Two workers of one pool leave task mode and come back, some rounds, and a loop calls the runtime; exit comes at any
 * time. The runtime is plain data, a piece for each thread: who uses it writes its piece, who frees it writes all.
 */
// mutant: -DENDING_COUNT=relaxed
// mutant: -DENDING_OVER=relaxed
// mutant: -DENDING_BACK=relaxed
// mutant: -DLEAVES_UNASKED
// mutant: -DNO_LOOK
#include "model.h"

#include "compute/ending.h"

enum { WORKERS = 2, LOOP = WORKERS, EXIT, ROUNDS = 2, LOOKS = 20 };

struct ending_suite : rl::test_suite<ending_suite, EXIT + 1> {
    struct hop__ending ending;
    hop__atomic(uint64_t) left;
    hop__var(int) runtime[EXIT];

    void before()
    {
        hop__init(&ending.outside, 0);
        hop__init(&ending.over, 0u);
        hop__init(&left, (uint64_t)0);
        for (auto &piece : runtime)
            hop__set(&piece, 0);
    }

    void use(unsigned id)
    {
        RL_ASSERT(hop__get(&runtime[id]) >= 0);
        hop__set(&runtime[id], 1);
    }

    void work(unsigned id)
    {
        for (uint64_t round = 0; round < ROUNDS; round++) {
#ifdef LEAVES_UNASKED
            if (id == 0)
                hop__fetch_add(&ending.outside, WORKERS, seq_cst);
#else
            if (!hop__ending_leave(&ending, &left, round, WORKERS))
                return;
#endif
            use(id);
            hop__ending_come_back(&ending, 1);
        }
    }

    void call(unsigned id)
    {
        if (hop__ending_go_out(&ending, 1)) {
            use(id);
            hop__ending_come_back(&ending, 1);
        }
    }

    void exit()
    {
        bool quiet = false;

        hop__ending_begin(&ending);
        for (int i = 0; i < LOOKS && !quiet; i++) {
#ifdef NO_LOOK
            quiet = true;
#else
            quiet = hop__ending_quiet(&ending);
#endif
            rl::yield(1, $);
        }
        if (quiet)
            for (auto &piece : runtime)
                hop__set(&piece, -1);
    }

    void thread(unsigned id)
    {
        if (id < WORKERS)
            work(id);
        else if (id == LOOP)
            call(id);
        else
            exit();
    }
};

int main()
{
    return !holds<ending_suite>("ending", 300000);
}
