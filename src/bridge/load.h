/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How busy the pool is: written by workers when they start and stop having work, read by loops. This is how a loop
 * knows that every core computes, and how it is told that one no longer does.
 *
 * A loop that waits because of the load counts itself in moderated, fences, and looks at the load again (M1, in the
 * loop); who leaves the load fences and looks at moderated (M2). One of them sees the other.
 */
#ifndef HOP_BRIDGE_LOAD_H
#define HOP_BRIDGE_LOAD_H

#include "bridge/park.h"

struct hop__load {
    hop__atomic(int) busy;        /* workers that have work */
    hop__atomic(int) width;       /* workers the budget allows */
    const hop__atomic(int) *sleepers; /* workers that sleep, for want of work */
    hop__atomic(uint32_t) relief; /* futex: moves when somebody leaves the load while a loop waits */
    hop__atomic(int) team;        /* blocks that want all workers */
    hop__atomic(int) moderated;   /* loops that sleep out their turn */
};

static inline bool hop__load_saturated(struct hop__load *load)
{
    return hop__load(&load->busy, relaxed) >= hop__load(&load->width, relaxed);
}

/* n workers have no work any more. */
static inline void hop__load_relieve(struct hop__load *load, int n)
{
    hop__fetch_sub(&load->busy, n, relaxed);
    hop__fence(seq_cst); /* M2, pairs with M1 */
    if (hop__load(&load->moderated, relaxed)) {
        hop__fetch_add(&load->relief, 1, release);
        hop__futex_wake(&load->relief);
    }
}

/* A counter with one writer, which others may read at any time. */
static inline void hop__count(hop__atomic(uint64_t) *counter)
{
    hop__store(counter, hop__load(counter, relaxed) + 1, relaxed);
}

#endif
