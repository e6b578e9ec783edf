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
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

bool hop__membarrier_missing = true;
hop_ns hop__wake_cost = 5 * HOP_US;
uint64_t hop__wake_ticks, hop__ticks_per_ms = HOP_MS;

static const hop_ns wake_cost_least = 1 * HOP_US, wake_cost_most = 50 * HOP_US;

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
 * Two threads wake each other in turn; the median of some rounds, because single ones meet somebody else. Each keeps to
 * a CPU of its own: on one CPU a wake-up would be a mere switch, many times cheaper than waking a CPU that sleeps.
 */
enum { ROUNDS = 16 };

struct rally {
    hop__atomic(uint32_t) ball; /* even: ours, odd: the other's */
    cpu_set_t places[2];
    bool apart; /* there are two places */
    hop_ns took[ROUNDS];
};

static void choose_places(struct rally *r)
{
    cpu_set_t allowed;
    int cpu, n = 0;

    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return;
    for (cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&r->places[n]);
        CPU_SET(cpu, &r->places[n++]);
    }
    r->apart = n == 2;
}

static void take_place(const struct rally *r, int side)
{
    if (r->apart)
        (void)sched_setaffinity(0, sizeof r->places[side], &r->places[side]);
}

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

static void play(struct rally *r)
{
    uint32_t turn;

    for (turn = 1; turn < 2 * ROUNDS; turn += 2) {
        hop_ns start = hop__now();

        hit_ball(r, turn);
        wait_for_ball(r, turn + 1);
        r->took[turn / 2] = hop__now() - start;
    }
}

static void *our_side(void *arg)
{
    take_place(arg, 0);
    play(arg);
    return NULL;
}

static void *other_side(void *arg)
{
    uint32_t turn;

    take_place(arg, 1);
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

/* The ski rental's price: half of a round trip between two sleepers. */
static void measure_wake_cost(void)
{
    struct rally r = { .apart = false };
    pthread_t ours, other;
    hop_ns median;

    hop__init(&r.ball, 0);
    choose_places(&r);
    if (pthread_create(&other, NULL, other_side, &r))
        return;
    if (pthread_create(&ours, NULL, our_side, &r))
        play(&r); /* where this thread may be */
    else
        pthread_join(ours, NULL);
    pthread_join(other, NULL);
    qsort(r.took, ROUNDS, sizeof *r.took, by_value);
    median = r.took[ROUNDS / 2] / 2;
    hop__wake_cost = median < wake_cost_least ? wake_cost_least : median > wake_cost_most ? wake_cost_most : median;
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
