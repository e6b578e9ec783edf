/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The futex and membarrier calls, and what they cost here.
 */
#include "config.h"

#include "bridge/park.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

bool hop__membarrier_missing = true;
hop_ns hop__wake_cost = 5 * HOP_US;

static const hop_ns wake_cost_least = 1 * HOP_US, wake_cost_most = 50 * HOP_US;

static long membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

void hop__membarrier(void)
{
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

void hop__futex_wait(hop__atomic(uint32_t) *word, uint32_t expected, hop_ns deadline)
{
    struct timespec at = hop__timespec(deadline);

    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline == HOP_FOREVER ? NULL : &at, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

void hop__futex_wake(hop__atomic(uint32_t) *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/*
 * The ski rental's price: what the waker and the system spend on one wake-up. Measured as a wake-up call that finds
 * nobody, times the ratio (about ten) at which a call that finds a sleeper was seen to cost more; a measurement with
 * two threads would take as long as the scheduler of a loaded machine pleases.
 */
static void measure_wake_cost(void)
{
    enum { CALLS = 64, FOUND = 10 };
    hop__atomic(uint32_t) word;
    hop_ns start;
    int i;

    hop__init(&word, 0);
    start = hop__now();
    for (i = 0; i < CALLS; i++)
        hop__futex_wake(&word);
    hop__wake_cost = (hop__now() - start) / CALLS * FOUND;
    if (hop__wake_cost < wake_cost_least)
        hop__wake_cost = wake_cost_least;
    if (hop__wake_cost > wake_cost_most)
        hop__wake_cost = wake_cost_most;
}

static void setup(void)
{
    long commands = membarrier(MEMBARRIER_CMD_QUERY);

    hop__membarrier_missing = commands < 0 || !(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
                              membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0;
    measure_wake_cost();
}

void hop__park_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, setup);
}
