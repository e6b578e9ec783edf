/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What functions have cost lately, as one thread has seen it: a small direct-mapped table, in ticks of the cheap clock.
 * Only hints come from it: an entry may be lost to another function at any time.
 */
#ifndef HOP_BRIDGE_COST_H
#define HOP_BRIDGE_COST_H

#include "bridge/clock.h"

enum { HOP__COSTS = 64 };

struct hop__cost {
    uintptr_t of;     /* the function; 0: nobody */
    uint64_t ticks;   /* of what its user measures; 0: not known */
    uint32_t away;    /* hop_offload: calls that go to the pool before one is tried at home again */
    uint32_t penalty; /* and how many the next time */
};

struct hop__costs {
    struct hop__cost entries[HOP__COSTS];
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
