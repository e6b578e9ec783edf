/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A runtime with everything in it, for the two files that see both sides.
 */
#ifndef HOP_HOUSE_H
#define HOP_HOUSE_H

#include "bridge/runtime.h"

struct hop__house {
    struct hop_runtime runtime;
    struct hop__pool *pool;
    struct hop__lane *lane;
    struct hop__loop *loops[HOP__LOOPS_MAX];
    bool started[HOP__LOOPS_MAX]; /* in a thread of its own */
};

static inline struct hop__house *hop__house_of(struct hop_runtime *rt)
{
    return (struct hop__house *)rt; /* the first member */
}

#endif
