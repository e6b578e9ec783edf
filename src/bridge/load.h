/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How busy the pool is: this is how a loop knows that every core computes, and how it is told that one no longer does.
 * A core computes unless its worker sleeps, looks for work, or rests.
 *
 *     a loop that would wait because of the load         a worker that leaves the load
 *     count itself in moderated                          count itself (sleepers, searching, resting)
 *     full fence: M1                                     full fence: M2
 *     every core computes still? then sleep on relief    moderated? then move relief, and wake
 *
 * One of them sees the other.
 */
#ifndef HOP_BRIDGE_LOAD_H
#define HOP_BRIDGE_LOAD_H

#include "bridge/park.h"

#ifndef LOAD_FENCE_LOOP
#define LOAD_FENCE_LOOP() hop__fence(seq_cst) /* M1 */
#endif
#ifndef LOAD_FENCE_WORKER
#define LOAD_FENCE_WORKER() hop__fence(seq_cst) /* M2 */
#endif

#ifndef HOP_MODEL
#define HOP__LOAD_SLEEP(word, seen, until) hop__futex_wait(word, seen, until)
#define HOP__LOAD_LATE(until) (hop__now() >= (until))
#endif

struct hop__load {
    const hop__atomic(int) *sleepers, *searching; /* workers: the pool's (idle.h) */
    const hop__atomic(uint64_t) *queued, *taken;  /* jobs, ever: the ring's */
    hop__atomic(int) resting;     /* workers that wait in a join, or are between task mode and a team turn */
    hop__atomic(int) team;        /* blocks that want all workers */
    hop__atomic(int) moderated;   /* loops that sleep out their turn */
    hop__atomic(uint32_t) relief; /* futex: moves while a loop waits, when somebody leaves the load */
    hop__atomic(uint64_t) refill; /* and when so many jobs were taken; UINT64_MAX: never */
};

static inline bool hop__load_saturated(struct hop__load *load)
{
    return !hop__load(load->sleepers, relaxed) && !hop__load(load->searching, relaxed) &&
           !hop__load(&load->resting, relaxed);
}

/* As long as every core computes and at least half of what is queued now is left. True: that has taken time. */
static inline bool hop__load_await_relief(struct hop__load *load, hop_ns until)
{
    uint64_t taken = hop__load(load->taken, relaxed), left = hop__load(load->queued, relaxed) - taken;
    uint32_t seen = hop__load(&load->relief, acquire);
    bool waited = false;

    hop__store(&load->refill, left > 1 ? taken + left / 2 : UINT64_MAX, relaxed);
    hop__fetch_add(&load->moderated, 1, relaxed);
    LOAD_FENCE_LOOP(); /* M1 */
    while (hop__load_saturated(load) && hop__load(&load->relief, acquire) == seen && !HOP__LOAD_LATE(until)) {
        waited = true;
        HOP__LOAD_SLEEP(&load->relief, seen, until);
    }
    hop__fetch_sub(&load->moderated, 1, relaxed);
    return waited;
}

static inline void hop__load_wake_loops(struct hop__load *load)
{
    hop__fetch_add(&load->relief, 1, release);
    HOP__PARK_RING(&load->relief);
}

/* Somebody computes no longer, and is counted. */
static inline void hop__load_relieve(struct hop__load *load)
{
    LOAD_FENCE_WORKER(); /* M2 */
    if (hop__load(&load->moderated, relaxed))
        hop__load_wake_loops(load);
}

/* A job was taken. A hint, for which nobody fences: a worker that finds no more relieves the loops anyway. */
static inline void hop__load_took(struct hop__load *load)
{
    uint64_t refill = hop__load(&load->refill, relaxed);

    if (__builtin_expect(hop__load(load->taken, relaxed) < refill, 1))
        return;
    if (hop__cas(&load->refill, &refill, UINT64_MAX, relaxed, relaxed) && hop__load(&load->moderated, relaxed))
        hop__load_wake_loops(load);
}

/* n workers rest; they compute again. */
static inline void hop__load_rest(struct hop__load *load, int n)
{
    hop__fetch_add(&load->resting, n, relaxed);
    hop__load_relieve(load);
}

static inline void hop__load_resume(struct hop__load *load, int n)
{
    hop__fetch_sub(&load->resting, n, relaxed);
}

/* A counter with one writer, which others may read at any time. */
static inline void hop__count(hop__atomic(uint64_t) *counter)
{
    hop__store(counter, hop__load(counter, relaxed) + 1, relaxed);
}

#endif
