/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What functions have cost lately, as one thread has seen it: a small direct-mapped table, in ticks of the cheap clock.
 * Only hints come from it: an entry may be lost to another function at any time. Workers keep one of loop bodies, loops
 * one of the functions that their tasks offload.
 */
#ifndef HOP_BRIDGE_COST_H
#define HOP_BRIDGE_COST_H

#include "bridge/atomic.h"
#include "bridge/clock.h"

enum { HOP__COSTS = 64 };

#define HOP__NEEDS_WORKER UINT64_MAX /* the cost of a function that asked on which worker it runs */

struct hop__cost {
    uintptr_t of;     /* the function; 0: nobody */
    uint64_t ticks;   /* of what its user measures; 0: not known */
    uint32_t away;    /* hop_offload: calls that go to the pool before one is tried at home again */
    uint16_t penalty; /* how many it will be when one at home turns out slow */
    uint16_t streak;  /* calls at home since then */
};

struct hop__costs {
    struct hop__cost entries[HOP__COSTS];
    uint64_t trip;    /* what a trip to the pool takes at its best lately, beside the job; 0: not known */
    uint64_t kept;    /* how long jobs have kept the loop in this turn */
    hop__atomic(uint64_t) at_home; /* jobs that stayed; one writer */
};

static inline struct hop__cost *hop__cost_of(struct hop__costs *costs, uintptr_t fn)
{
    struct hop__cost *cost = &costs->entries[(fn * UINT64_C(0x9E3779B97F4A7C15)) >> 58];

    if (__builtin_expect(cost->of != fn, 0))
        *cost = (struct hop__cost){ .of = fn };
    return cost;
}

/* A span that ended before it began was measured on two processors: nobody knows how long it was. */
static inline uint64_t hop__span(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 1;
}

#endif
