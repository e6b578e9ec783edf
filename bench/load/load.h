/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * load: many clients of one server on one epoll thread. Each has one request outstanding at most, and every answer is
 * compared with what was asked.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <sys/types.h>

#include "bench.h"

struct load_options {
    const char *host;
    int port;
    int light, heavy; /* connections of each kind */
    size_t bytes;     /* of a message: a multiple of 8, at least 16 */
    double rate;      /* light requests a second, all connections together; 0: closed loop */
    double seconds, warmup_seconds;
    pid_t server;     /* whose CPU time is read; 0: nobody's */
};

struct load_result {
    struct latencies light, heavy; /* sorted; of all that were due in the measured time */
    struct latencies late;         /* how late the generator itself was with a request that had a free connection */
    size_t light_unanswered, heavy_unanswered; /* of these; their latency so far is counted */
    size_t starved;                /* requests that were due while every connection was busy */
    double server_cpu_seconds, own_cpu_seconds;
};

/* Runs the load. What goes wrong, a wrong answer above all, is said and ends the program. Free the result. */
void load_run(const struct load_options *options, struct load_result *result);
void load_free(struct load_result *result);

#endif
