/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A workload of hop-bench: a name and its variants. Adding one is a file here, a line in hop_bench.c, one in
 * Makefile.am, and its contestants in bench/driver/plan.py.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>

#include <hop.h>

#include "bench.h"

/* One run: n is the variant's size, or the port of a server. */
struct run {
    const char *workload, *variant;
    long n;
};

struct variant {
    const char *name;
    int (*measure)(const struct run *run); /* in a task; returns 0 or -Exxx */
    int workers;                           /* of the runtime, unless an option says otherwise; 0: its default */
    bool outside;                          /* called in the main thread, without a runtime */
};

struct workload {
    const char *name;
    long n; /* by default */
    bool server;
    const struct variant *variants; /* ends with an empty one */
};

static inline struct rounds rounds_for(const struct run *run, const char *unit)
{
    return rounds_of("hop", run->workload, run->variant, (double)run->n, unit);
}

extern const struct workload offload_rtt, offload_throughput, fork_join, parallel_for, team_overhead, spawn_join,
    ping_pong, mem_per_task, timers, idle_cpu, echo_tcp, mixed;

#endif
