/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping without losing a wake-up: an event count on a futex, with the ski-rental spin.
 *
 *     sleeper                                 waker
 *     key = hop__park_prepare(p)              make the work visible
 *     look again for work: found -> cancel    hop__unpark(p)
 *     hop__park_wait(p, key)
 *
 * The word is an epoch in steps of two; the low bit says that someone may sleep. P1: prepare sets the bit, then a
 * heavy fence, then looks for work. P2: the waker shows work, then a light fence, then looks at the bit. The fences
 * order each side's store before its load, so at least one sees the other: either the sleeper finds the work or the
 * waker finds the bit. The waker then moves the epoch on, which is what wait waits for, so a wake-up that comes
 * between the look and the sleep is not lost either.
 *
 * Spinning: a sleeper may spin for as long as a wake-up would cost, which bounds the loss to twice the best choice
 * (ski rental: Karlin, Manasse, Rudolph, Sleator 1988). The cost is measured once, at start.
 */
#ifndef HOP_BRIDGE_PARK_H
#define HOP_BRIDGE_PARK_H

#include "bridge/atomic.h"

#ifndef HOP_MODEL
#include "bridge/clock.h"
void hop__futex_wait(hop__atomic(uint32_t) *word, uint32_t expected, hop_ns deadline); /* may return for no reason */
void hop__futex_wake(hop__atomic(uint32_t) *word);                                     /* all who wait there */
#define HOP__PARK_SLEEP(word, key) hop__futex_wait(word, key, HOP_FOREVER)
#define HOP__PARK_RING(word) hop__futex_wake(word)
#endif

struct hop__park {
    hop__atomic(uint32_t) word;
};

enum { HOP__MAY_SLEEP = 1, HOP__EPOCH = 2 };

static inline uint32_t hop__park_prepare(struct hop__park *p)
{
    uint32_t key = hop__fetch_or(&p->word, (uint32_t)HOP__MAY_SLEEP, relaxed) | HOP__MAY_SLEEP;

    hop__fence_heavy(); /* P1, pairs with P2 */
    return key;
}

/* The epoch has moved on since key: somebody called. */
static inline bool hop__park_called(struct hop__park *p, uint32_t key)
{
    return hop__load(&p->word, acquire) != key;
}

/*
 * Back to work after prepare: takes the bit back. Only on a park with one sleeper: on a shared one another may sleep
 * under that bit, so it is left, and a waker then moves the epoch for nothing.
 */
static inline void hop__park_cancel(struct hop__park *p, uint32_t key)
{
    (void)hop__cas(&p->word, &key, key & ~(uint32_t)HOP__MAY_SLEEP, relaxed, relaxed);
}

static inline void hop__park_wait(struct hop__park *p, uint32_t key)
{
    while (!hop__park_called(p, key))
        HOP__PARK_SLEEP(&p->word, key);
}

/* Moves the epoch and wakes, if someone may sleep: true if so. The work must have been made visible before. */
static inline bool hop__unpark(struct hop__park *p)
{
    uint32_t word;

    hop__fence_light(); /* P2, pairs with P1 */
    word = hop__load(&p->word, relaxed);
    do {
        if (!(word & HOP__MAY_SLEEP))
            return false;
    } while (!hop__cas_weak(&p->word, &word, (word & ~(uint32_t)HOP__MAY_SLEEP) + HOP__EPOCH, release, relaxed));
    HOP__PARK_RING(&p->word);
    return true;
}

#ifndef HOP_MODEL
/* Measures a wake-up and probes membarrier; once in a process, before the first worker. */
void hop__park_setup(void);
extern hop_ns hop__wake_cost; /* how long a spin may last: what a wake-up costs here */
extern uint64_t hop__wake_ticks; /* the same by the cheap clock */
#endif

#endif
