/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer-gomp, peer-libomp: OpenMP, built with gcc (libgomp) and with clang (libomp); PEER is the name. Threads and
 * waiting are set by OMP_NUM_THREADS and the like.
 *
 * fork_join taskN, parallel_for WHAT-SCHEDULE (overhead, balanced, skewed, reduce; static, dynamic, dynamic64, guided),
 * team_overhead bare, idle_cpu region
 */
#include <math.h>
#include <omp.h>

#include "bench.h"

static void *array(long n, size_t bytes)
{
    void *a = calloc((size_t)n, bytes);

    if (!a)
        abort();
    return a;
}

/* --- fork_join --- */

static uint64_t fib_task(uint64_t n)
{
    uint64_t a, b;

    if (n < 2)
        return n;
#pragma omp task shared(a) firstprivate(n)
    a = fib_task(n - 1);
    b = fib_task(n - 2);
#pragma omp taskwait
    return a + b;
}

static void fork_join(const char *variant, long n)
{
    struct rounds r = rounds_of(PEER, "fork_join", variant, (double)n, "ns/join");

    while (rounds_next(&r)) {
        uint64_t start = now_ns(), result = 0;

#pragma omp parallel
#pragma omp single
        result = fib_task((uint64_t)n);
        rounds_add(&r, (double)(now_ns() - start) / fib_forks((uint64_t)n));
        expect(result == fib_of((uint64_t)n), "fib");
    }
    rounds_report(&r, "");
}

/* --- parallel_for --- */

static void add_microseconds(struct rounds *r, uint64_t start, long loops)
{
    rounds_add(r, (double)(now_ns() - start) / 1000 / (double)loops);
}

static void overhead(struct rounds *r, long loops)
{
    uint32_t *data = (uint32_t *)array(REGION, sizeof *data), done = 0;
    long i, k;

    loops = loops ? loops : 5000;
    r->n = REGION;
    while (rounds_next(r)) {
        uint64_t start = now_ns();

        for (k = 0; k < loops; k++) {
#pragma omp parallel for schedule(runtime)
            for (i = 0; i < REGION; i++)
                data[i]++;
        }
        add_microseconds(r, start, loops);
        done += (uint32_t)loops;
    }
    for (i = 0; i < REGION; i++)
        expect(data[i] == done, "each element once in each loop");
}

static double root(double y)
{
    return fma(sqrt(y), 0.5, sqrt(y + 1.0));
}

static void balanced(struct rounds *r, long n)
{
    double *data;
    long i;

    n = n ? n : 10000000;
    r->n = (double)n;
    data = (double *)array(n, sizeof *data);
    while (rounds_next(r)) {
        uint64_t start = now_ns();

#pragma omp parallel for schedule(runtime)
        for (i = 0; i < n; i++)
            data[i] = root((double)i);
        add_microseconds(r, start, 1);
    }
    for (i = 0; i < n; i++)
        expect(data[i] == root((double)i), "roots");
}

static void skewed(struct rounds *r, long n)
{
    uint64_t *data;
    long i;

    n = n ? n : 20000;
    r->n = (double)n;
    data = (uint64_t *)array(n, sizeof *data);
    while (rounds_next(r)) {
        uint64_t start = now_ns();

#pragma omp parallel for schedule(runtime)
        for (i = 0; i < n; i++)
            data[i] = chain((uint64_t)i + 1, (uint32_t)(i / 10));
        add_microseconds(r, start, 1);
    }
    for (i = 0; i < n; i++)
        expect(data[i] == chain((uint64_t)i + 1, (uint32_t)(i / 10)), "chains");
}

static void reduce(struct rounds *r, long n)
{
    double *data;
    long i;

    n = n ? n : 50000000;
    r->n = (double)n;
    data = (double *)array(n, sizeof *data);
    for (i = 0; i < n; i++)
        data[i] = (double)i * 0.5;
    while (rounds_next(r)) {
        uint64_t start = now_ns();
        double sum = 0;

#pragma omp parallel for schedule(runtime) reduction(+ : sum)
        for (i = 0; i < n; i++)
            sum += data[i];
        add_microseconds(r, start, 1);
        expect(sum == (double)(n * (n - 1) / 2) * 0.5, "sum");
    }
}

static int parallel_for(const char *variant, long n)
{
    static const struct {
        const char *name;
        void (*run)(struct rounds *r, long n);
    } loops[] = { { "overhead-", overhead }, { "balanced-", balanced }, { "skewed-", skewed }, { "reduce-", reduce } };
    struct rounds r = rounds_of(PEER, "parallel_for", variant, 0, "us");
    const char *schedule = strchr(variant, '-');
    size_t i;

    if (!schedule)
        return 0;
    schedule++;
    /* dynamic64: chunks of 64; dynamic: chunks of 1, as OpenMP has it unless told otherwise. */
    omp_set_schedule(!strcmp(schedule, "static") ? omp_sched_static
                     : !strcmp(schedule, "guided") ? omp_sched_guided
                                                   : omp_sched_dynamic,
                     !strcmp(schedule, "dynamic64") ? 64 : 0);
    for (i = 0; i < sizeof loops / sizeof *loops; i++) {
        if (strncmp(variant, loops[i].name, (size_t)(schedule - variant)) != 0)
            continue;
        loops[i].run(&r, n);
        rounds_report(&r, "");
        return 1;
    }
    return 0;
}

/* --- regions --- */

static uint32_t region_data[REGION];

static void region(void)
{
    int i;

#pragma omp parallel for schedule(static)
    for (i = 0; i < REGION; i++)
        region_data[i]++;
}

static void team_overhead(const char *variant, long n)
{
    struct rounds r = rounds_of(PEER, "team_overhead", variant, (double)n, "us");
    uint32_t done = 0;
    long i;

    while (rounds_next(&r)) {
        uint64_t start = now_ns();

        for (i = 0; i < n; i++)
            region();
        add_microseconds(&r, start, n);
        done += (uint32_t)n;
    }
    for (i = 0; i < REGION; i++)
        expect(region_data[i] == done, "each element once in each region");
    rounds_report(&r, "");
}

static void idle_cpu(const char *variant, long seconds)
{
    struct rounds r = rounds_of(PEER, "idle_cpu", variant, (double)seconds, "%");
    double cpu;

    region();
    rounds_only(&r);
    cpu = cpu_seconds();
    sleep((unsigned)seconds);
    rounds_add(&r, 100 * (cpu_seconds() - cpu) / (double)seconds);
    expect(region_data[0] == 1, "each element once");
    rounds_report(&r, "");
}

int main(int argc, char **argv)
{
    const char *workload = argc > 2 ? argv[1] : "", *variant = argc > 2 ? argv[2] : "";
    long n = argc > 3 ? atol(argv[3]) : 0;

    if (!strcmp(workload, "fork_join"))
        fork_join(variant, n ? n : 25);
    else if (!strcmp(workload, "team_overhead"))
        team_overhead(variant, n ? n : 5000);
    else if (!strcmp(workload, "idle_cpu"))
        idle_cpu(variant, n ? n : 10);
    else if (strcmp(workload, "parallel_for") != 0 || !parallel_for(variant, n)) {
        fprintf(stderr, "usage: peer-%s WORKLOAD VARIANT [N]\n", PEER);
        return 2;
    }
    return 0;
}
