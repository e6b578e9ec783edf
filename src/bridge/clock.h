/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock, and arithmetic that saturates at HOP_FOREVER. */
#ifndef HOP_BRIDGE_CLOCK_H
#define HOP_BRIDGE_CLOCK_H

#include <time.h>

#include <hop/base.h>

static inline hop_ns hop__now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (hop_ns)t.tv_sec * HOP_SEC + t.tv_nsec;
}

/* The point ns after from; a negative span is now. */
static inline hop_ns hop__after(hop_ns from, hop_ns ns)
{
    if (ns < 0)
        ns = 0;
    return ns > HOP_FOREVER - from ? HOP_FOREVER : from + ns;
}

static inline struct timespec hop__timespec(hop_ns ns)
{
    struct timespec t = { (time_t)(ns / HOP_SEC), (long)(ns % HOP_SEC) };

    return t;
}

#endif
