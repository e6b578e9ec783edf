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
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

bool hop__membarrier_missing = true;
hop_ns hop__wake_cost = 16 * HOP_US;
uint64_t hop__wake_ticks, hop__ticks_per_ms = HOP_MS;

/*
 * A rally is warm: it may find a CPU that has only just begun to idle. Sleeping and waking in earnest costs two threads
 * that exchange single jobs more than that, and with less patience both would be asleep whenever the other answers.
 */
static const hop_ns wake_cost_least = 16 * HOP_US, wake_cost_most = 50 * HOP_US;

static long membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

/*
 * It stands for a fence, so it must happen. The kernel may lack the memory for a list of CPUs for a moment. Who was
 * granted it at the start relies on it: a filter that comes later must leave it alone.
 */
void hop__membarrier(void)
{
    while (__builtin_expect(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) < 0, 0)) {
        if (errno == ENOMEM)
            continue;
        fprintf(stderr, "hop: membarrier is refused now, and was not at the start (a seccomp filter?): allow it\n");
        abort();
    }
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
 * One thread wakes another again and again, and stays awake itself, so that the other is woken on a CPU of its own: on
 * the same CPU it would be a mere switch, many times cheaper than waking a CPU that sleeps. The rests are long enough
 * for a CPU to fall asleep. The lower quartile of some rounds, because many may meet somebody else.
 */
enum { ROUNDS = 12 };

static const hop_ns rally_patience = 200 * HOP_US, rally_rest = 100 * HOP_US;

struct rally {
    hop__atomic(uint32_t) ball; /* even: ours, odd: the other's */
};

static void wait_for_ball(struct rally *r, uint32_t turn)
{
    while (hop__load(&r->ball, acquire) != turn)
        hop__futex_wait(&r->ball, turn - 1, HOP_FOREVER);
}

static void hit_ball(struct rally *r, uint32_t turn)
{
    hop__store(&r->ball, turn, release);
    hop__futex_wake(&r->ball);
}

/* Awake until it comes; but where there is one CPU it would never come like that. */
static void watch_for_ball(struct rally *r, uint32_t turn)
{
    hop_ns end = hop__now() + rally_patience;

    while (hop__load(&r->ball, acquire) != turn && hop__now() < end)
        hop__pause();
    wait_for_ball(r, turn);
}

static void rest(void)
{
    hop_ns end = hop__now() + rally_rest; /* the other goes to sleep meanwhile */

    while (hop__now() < end)
        hop__pause();
}

static void *other_side(void *arg)
{
    uint32_t turn;

    for (turn = 1; turn < 2 * ROUNDS; turn += 2) {
        wait_for_ball(arg, turn);
        hit_ball(arg, turn + 1);
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const hop_ns *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The ski rental's price. */
static void measure_wake_cost(void)
{
    struct rally r;
    hop_ns took[ROUNDS], low;
    pthread_t other;
    uint32_t turn;

    hop__init(&r.ball, 0);
    if (pthread_create(&other, NULL, other_side, &r))
        return;
    for (turn = 1; turn < 2 * ROUNDS; turn += 2) {
        hop_ns start;

        rest();
        start = hop__now();
        hit_ball(&r, turn);
        watch_for_ball(&r, turn + 1);
        took[turn / 2] = hop__now() - start;
    }
    pthread_join(other, NULL);
    qsort(took, ROUNDS, sizeof *took, by_value);
    low = took[ROUNDS / 4];
    hop__wake_cost = low < wake_cost_least ? wake_cost_least : low > wake_cost_most ? wake_cost_most : low;
}

void hop__park_setup(void)
{
    long commands = membarrier(MEMBARRIER_CMD_QUERY);
    uint64_t ticks;
    hop_ns start, span;

    hop__membarrier_missing = commands < 0 || !(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
                              membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0;
    start = hop__now();
    ticks = hop__ticks();
    measure_wake_cost();
    ticks = hop__ticks() - ticks;
    span = hop__now() - start;
    if (ticks < UINT64_MAX / HOP_MS && span > 0 && ticks * HOP_MS / (uint64_t)span > 0)
        hop__ticks_per_ms = ticks * HOP_MS / (uint64_t)span;
    hop__wake_ticks = hop__ticks_in(hop__wake_cost);
}
