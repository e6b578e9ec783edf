// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the models share: the driver, the kernel's side of a futex, and the second meaning of the asymmetric fence.
 *
 * A model includes this first and then the real headers, built with -DHOP_MODEL. Each line of it that begins with
 * "// mutant:" gives the flags that break one edge: models.sh builds the model so, and it must then find a violation.
 * "// variant:" gives flags with which the model must hold as well. main() runs its suites
 * by holds() and holds_always().
 *
 * Fences. As it comes, both sides of the asymmetric fence are full seq_cst fences, which is what runs where the kernel
 * has no membarrier. With -DMEMBARRIER the light side is nothing and the heavy one is Relacy's system-wide fence: at
 * one instant every thread sees all that every other has done. Two limits of Relacy: a seq_cst fence, like the
 * system-wide one, also hands over plain data, which C11 does not grant; and a load never returns a value that is
 * stored later, so an order that only forbids that (a load before a store) cannot be broken here.
 */
#ifndef HOP_TESTS_MODEL_H
#define HOP_TESTS_MODEL_H

#include <relacy/relacy.hpp>

#include <stdint.h>

#ifdef MEMBARRIER
#define HOP__FENCE_LIGHT ((void)0)
#ifndef HOP__FENCE_HEAVY
#define HOP__FENCE_HEAVY (rl::ctx().sched(), rl::systemwide_fence($))
#endif
#endif

/*
 * Futexes. Comparing and falling asleep are one step, waking is another. Sleepers may wake for no reason. A wake-up
 * hands over no data: the code under test must do so itself. All asleep for ever is reported as a deadlock.
 * A suite that sleeps has one of these as a member.
 */
struct kernel {
    enum { QUEUES = 4, THREADS = 4 };
    struct {
        const void *word;
        rl::waitset<THREADS> sleepers;
    } queues[QUEUES];
    static kernel *running;

    kernel()
    {
        for (auto &queue : queues)
            queue.word = nullptr;
        running = this;
    }

    rl::waitset<THREADS> &sleepers_on(const void *word)
    {
        int i = 0;

        while (i < QUEUES - 1 && queues[i].word && queues[i].word != word)
            i++;
        queues[i].word = word;
        return queues[i].sleepers;
    }

    void wait(rl::atomic<uint32_t> *word, uint32_t expected)
    {
        rl::ctx().sched();
        if (word->debug_value() == expected)
            sleepers_on(word).park_current(rl::ctx(), false, true, false, $);
        else
            rl::yield(1, $); /* who comes back from the kernel does not see the old value for ever */
    }

    void wake(const void *word) /* an address only: the word may be gone */
    {
        rl::ctx().sched();
        sleepers_on(word).unpark_all(rl::ctx(), $);
    }
};

kernel *kernel::running;

#define HOP__PARK_SLEEP(word, key) kernel::running->wait(word, key)
#define HOP__PARK_RING(word) kernel::running->wake(word)

/* Runs a suite, and a failure once more to tell its history; says what was tried, or what is violated. */
template <class suite, class scheduler> static bool run(const char *name, const char *how, rl::test_params &p)
{
    static std::ostream nowhere(nullptr);
    rl::ostringstream state, again;
    bool ok;

    p.progress_stream = &nowhere;
    ok = rl::run_test<suite, scheduler>(p, state, false) == rl::test_result_success;
    if (!ok) {
        p.initial_state = state.str();
        p.collect_history = true;
        rl::run_test<suite, scheduler>(p, again, true);
    }
    std::cout << (ok ? "holds: " : "violation: ") << name << ", " << rl::test_result_str(p.test_result) << ", " << how
              << ", iteration " << p.stop_iteration << std::endl;
    return ok;
}

/* So many random schedules. */
template <class suite> static bool holds(const char *name, rl::iteration_t iterations)
{
    rl::test_params p;

    p.search_type = rl::sched_random;
    p.iteration_count = iterations;
    return run<suite, rl::random_scheduler<suite::params::thread_count>>(name, "random", p);
}

/* Every schedule with at most so many preemptions. */
template <class suite> static bool holds_always(const char *name, unsigned preemptions)
{
    rl::test_params p;
    std::string how = "every schedule with " + std::to_string(preemptions) + " preemptions";

    p.search_type = rl::sched_bound;
    p.context_bound = preemptions;
    return run<suite, rl::context_bound_scheduler<suite::params::thread_count>>(name, how.c_str(), p);
}

#endif
