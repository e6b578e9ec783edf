/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock, arithmetic that saturates at HOP_FOREVER, and a cheap clock for short spans. */
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

/*
 * The processor's own counter, a third of the price of the clock: for spans on one thread, as a hint only, because a
 * thread that was moved may see a span that is wrong.
 */
static inline uint64_t hop__ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)hop__now();
#endif
}

extern uint64_t hop__ticks_per_ms; /* measured once, at start (park.c) */

static inline uint64_t hop__ticks_in(hop_ns ns)
{
    return (uint64_t)ns * hop__ticks_per_ms / (uint64_t)HOP_MS;
}

#endif
