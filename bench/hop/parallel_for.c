/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * parallel_for: time for one loop or reduction. overhead: 1000 increments, called from a job; overhead_cold: from a
 * task at home. balanced: roots of n numbers. skewed: iteration i costs i/10 rounds of the chain. reduce: sum of n
 * doubles.
 */
#include <math.h>

#include "workload.h"

/* The size is the number of loops in a round for overhead, of iterations for the rest. */
enum { LOOPS = 5000, BALANCED = 10000000, SKEWED = 20000, REDUCED = 50000000 };

static long size_of(const struct run *run, long n)
{
    return run->n ? run->n : n;
}

static void *array(size_t n, size_t bytes)
{
    void *a = calloc(n, bytes);

    if (!a)
        abort();
    return a;
}

static void add_microseconds(struct rounds *r, uint64_t start, long loops)
{
    rounds_add(r, (double)(now_ns() - start) / 1000 / (double)loops);
}

/* --- overhead --- */

static int increment(size_t lo, size_t hi, void *arg)
{
    uint32_t *data = arg;

    for (; lo < hi; lo++)
        data[lo]++;
    return 0;
}

static int overhead_cold(const struct run *run)
{
    struct rounds r = rounds_for(run, "us");
    long loops = size_of(run, LOOPS), i;
    uint32_t *data = array(REGION, sizeof *data), done = 0;
    int rc = 0;

    r.n = REGION;
    while (rounds_next(&r)) {
        uint64_t start = now_ns();

        for (i = 0; i < loops; i++)
            rc |= hop_parallel_for(0, REGION, increment, data, NULL);
        add_microseconds(&r, start, loops);
        done += (uint32_t)loops;
    }
    for (i = 0; i < REGION; i++)
        expect(rc == 0 && data[i] == done, "each element once in each loop");
    rounds_report(&r, "");
    free(data);
    return rc;
}

static int overhead(const struct run *run)
{
    int rc = -EIO;

    hop_on_cpu {
        rc = overhead_cold(run);
    }
    return rc;
}

/* --- loops --- */

static double root(double y)
{
    return fma(sqrt(y), 0.5, sqrt(y + 1.0));
}

static int roots(size_t lo, size_t hi, void *arg)
{
    double *data = arg;

    for (; lo < hi; lo++)
        data[lo] = root((double)lo);
    return 0;
}

static int balanced(const struct run *run)
{
    struct rounds r = rounds_for(run, "us");
    size_t n = (size_t)size_of(run, BALANCED), i;
    double *data = array(n, sizeof *data);
    int rc = 0;

    r.n = (double)n;
    hop_on_cpu {
        while (rounds_next(&r)) {
            uint64_t start = now_ns();

            rc |= hop_parallel_for(0, n, roots, data, NULL);
            add_microseconds(&r, start, 1);
        }
    }
    for (i = 0; i < n; i++)
        expect(rc == 0 && data[i] == root((double)i), "roots");
    rounds_report(&r, "");
    free(data);
    return rc;
}

static int chains(size_t lo, size_t hi, void *arg)
{
    uint64_t *data = arg;

    for (; lo < hi; lo++)
        data[lo] = chain(lo + 1, (uint32_t)(lo / 10));
    return 0;
}

static int skewed(const struct run *run)
{
    struct rounds r = rounds_for(run, "us");
    size_t n = (size_t)size_of(run, SKEWED), i;
    uint64_t *data = array(n, sizeof *data);
    int rc = 0;

    r.n = (double)n;
    hop_on_cpu {
        while (rounds_next(&r)) {
            uint64_t start = now_ns();

            rc |= hop_parallel_for(0, n, chains, data, NULL);
            add_microseconds(&r, start, 1);
        }
    }
    for (i = 0; i < n; i++)
        expect(rc == 0 && data[i] == chain(i + 1, (uint32_t)(i / 10)), "chains");
    rounds_report(&r, "");
    free(data);
    return rc;
}

/* --- reduction --- */

static int fold(size_t lo, size_t hi, void *into, void *arg)
{
    const double *data = arg;
    double sum = *(double *)into;

    for (; lo < hi; lo++)
        sum += data[lo];
    *(double *)into = sum;
    return 0;
}

static void combine(void *into, const void *from, void *arg)
{
    (void)arg;
    *(double *)into += *(const double *)from;
}

static int reduce(const struct run *run)
{
    struct rounds r = rounds_for(run, "us");
    size_t n = (size_t)size_of(run, REDUCED), i;
    double *data = array(n, sizeof *data);
    int rc = 0;

    r.n = (double)n;
    for (i = 0; i < n; i++)
        data[i] = (double)i * 0.5;
    hop_on_cpu {
        while (rounds_next(&r)) {
            uint64_t start = now_ns();
            double sum = 0;

            rc |= hop_parallel_reduce(0, n, fold, combine, data, &sum, sizeof sum, NULL);
            add_microseconds(&r, start, 1);
            /* Exact in any order: every partial sum is a multiple of a half below 2^52. */
            expect(rc == 0 && sum == (double)(n * (n - 1) / 2) * 0.5, "sum");
        }
    }
    rounds_report(&r, "");
    free(data);
    return rc;
}

static const struct variant variants[] = {
    { "overhead", overhead, 0, false }, { "overhead_cold", overhead_cold, 0, false },
    { "balanced", balanced, 0, false }, { "skewed", skewed, 0, false },
    { "reduce", reduce, 0, false },     { 0 },
};

const struct workload parallel_for = { "parallel_for", 0, false, variants };
