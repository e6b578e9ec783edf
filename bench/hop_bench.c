/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop-bench [WORKLOAD...]: what the core costs, each workload beside its bare counterpart in the same run; one JSON
 * line a measurement, times in nanoseconds as median, least and most of several rounds. Without arguments: all of
 * them.
 */
#include <hop.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7, FIB = 35, REGION = 1000 };

static double samples[ROUNDS];

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void report(const char *workload, const char *variant, const char *unit)
{
    qsort(samples, ROUNDS, sizeof *samples, by_value);
    printf("{\"workload\":\"%s\",\"variant\":\"%s\",\"unit\":\"%s\",\"median\":%.2f,\"min\":%.2f,\"max\":%.2f,"
           "\"rounds\":%d}\n",
           workload, variant, unit, samples[ROUNDS / 2], samples[0], samples[ROUNDS - 1], ROUNDS);
    fflush(stdout);
}

/* Runs once(calls) in rounds, after one that is thrown away; each sample is nanoseconds a call. */
static void measure(const char *workload, const char *variant, void (*once)(long), long calls)
{
    int r;

    once(calls);
    for (r = 0; r < ROUNDS; r++) {
        hop_ns start = hop_now();

        once(calls);
        samples[r] = (double)(hop_now() - start) / (double)calls;
    }
    report(workload, variant, "ns");
}

/* --- fork_join: fib(35) without a cut-off, time for each join --- */

struct fib {
    long n, result;
};

static int fib_join(void *arg)
{
    struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };

    f->result = f->n;
    if (f->n < 2)
        return 0;
    hop_join(fib_join, &a, fib_join, &b);
    f->result = a.result + b.result;
    return 0;
}

static int fib_plain(void *arg)
{
    struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };

    f->result = f->n;
    if (f->n < 2)
        return 0;
    fib_plain(&a);
    __asm__ volatile("" ::: "memory"); /* calls, as the joined version makes them */
    fib_plain(&b);
    f->result = a.result + b.result;
    return 0;
}

static void check_fib(struct fib *f)
{
    if (f->result != 9227465) {
        fprintf(stderr, "fib(%d) is wrong: %ld\n", FIB, f->result);
        exit(EXIT_FAILURE);
    }
}

static void once_fib_join(long calls)
{
    struct fib f = { FIB, 0 };

    (void)calls;
    hop_offload(fib_join, &f);
    check_fib(&f);
}

static void once_fib_plain(long calls)
{
    struct fib f = { FIB, 0 };

    (void)calls;
    fib_plain(&f);
    check_fib(&f);
}

static int fork_join(void *arg)
{
    const long joins = 14930351; /* fib(36) - 1 */
    char variant[32];

    (void)arg;
    measure("fork_join", "plain-calls", once_fib_plain, joins);
    snprintf(variant, sizeof variant, "hop_join-%d", hop_worker_count());
    measure("fork_join", variant, once_fib_join, joins);
    return 0;
}

/* --- offload_rtt: an empty job, submitted and awaited by a task, one at a time --- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void once_offload(long calls)
{
    while (calls--)
        hop_offload_with(nothing, NULL, HOP_OFFLOAD(.place = HOP_POOL));
}

static void once_on_cpu(long calls)
{
    while (calls--)
        hop_on_cpu {
        }
}

static int offload_rtt(void *arg)
{
    (void)arg;
    measure("offload_rtt", "hop_offload", once_offload, 10000);
    measure("offload_rtt", "hop_on_cpu", once_on_cpu, 10000);
    return 0;
}

/* --- team_overhead: a region of 1000 iterations, in hop_on_team and bare --- */

static double region_data[REGION];

static void region(void)
{
    double sum = 0;

#pragma omp parallel for reduction(+ : sum) schedule(static)
    for (int i = 0; i < REGION; i++)
        sum += region_data[i] += 1;
    if (sum < 0)
        abort();
}

static void once_region(long calls)
{
    while (calls--)
        region();
}

static void once_on_team(long calls)
{
    while (calls--)
        hop_on_team {
            region();
        }
}

static void once_on_team_together(long calls)
{
    hop_on_team {
        once_region(calls);
    }
}

static int team_overhead(void *arg)
{
    (void)arg;
    measure("team_overhead", "hop_on_team", once_on_team, 2000);
    measure("team_overhead", "region-in-one-hop", once_on_team_together, 10000);
    return 0;
}

static int team_bare(void *arg)
{
    (void)arg;
    measure("team_overhead", "bare-region", once_region, 10000);
    return 0;
}

/* --- parallel_for: 1000 trivial iterations, called from a job --- */

static int add_one(size_t lo, size_t hi, void *arg)
{
    double *data = arg;

    for (; lo < hi; lo++)
        data[lo] += 1;
    return 0;
}

static void once_for(long calls)
{
    while (calls--)
        hop_parallel_for(0, REGION, add_one, region_data, NULL);
}

static int parallel_for(void *arg)
{
    (void)arg;
    hop_on_cpu {
        measure("parallel_for", "overhead", once_for, 10000);
    }
    return 0;
}

static const struct workload {
    const char *name;
    hop_fn *fn;
    bool outside; /* runs when there is no runtime */
} workloads[] = {
    { "team_overhead", team_bare, true },    { "fork_join", fork_join, false },
    { "offload_rtt", offload_rtt, false },   { "team_overhead", team_overhead, false },
    { "parallel_for", parallel_for, false },
};

enum { WORKLOADS = sizeof workloads / sizeof *workloads };

struct request {
    int argc;
    char **argv;
    bool outside;
};

static bool asked(const struct request *r, const char *name)
{
    int i;

    for (i = 1; i < r->argc; i++)
        if (!strcmp(r->argv[i], name))
            return true;
    return r->argc < 2;
}

static int run(void *arg)
{
    struct request *r = arg;
    int i, rc = 0;

    for (i = 0; i < WORKLOADS && !rc; i++)
        if (workloads[i].outside == r->outside && asked(r, workloads[i].name))
            rc = workloads[i].fn(NULL);
    return rc;
}

static bool known(const char *name)
{
    int i;

    for (i = 0; i < WORKLOADS; i++)
        if (!strcmp(name, workloads[i].name))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct request r = { argc, argv, false };
    int i;

    for (i = 1; i < argc; i++)
        if (!known(argv[i])) {
            fprintf(stderr, "usage: hop-bench [fork_join | offload_rtt | team_overhead | parallel_for]...\n");
            return 2;
        }
    if (hop_run(run, &r, NULL))
        return EXIT_FAILURE;
    r.outside = true; /* afterwards: libgomp spins less as soon as all its threads together outnumber the CPUs */
    return run(&r) ? EXIT_FAILURE : EXIT_SUCCESS;
}
