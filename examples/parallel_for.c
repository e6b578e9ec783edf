/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * parallel_for.c: loops and reductions on all workers, from inside a task.
 */
#include <math.h>
#include <stdio.h>

#include <hop.h>

enum { N = 2000000 };

static double squares[N];

/* One chunk of the loop. It gets a range, so that the compiler can vectorise it. */
static int fill(size_t lo, size_t hi, void *arg)
{
    double *out = arg;

    for (size_t i = lo; i < hi; i++)
        out[i] = (double)i * (double)i;
    return 0;
}

/* Folds a range into a partial sum, and a partial sum into another. */
static int add_range(size_t lo, size_t hi, void *into, void *arg)
{
    const double *values = arg;
    double sum = 0;

    for (size_t i = lo; i < hi; i++)
        sum += sqrt(values[i]);
    *(double *)into += sum;
    return 0;
}

static void add(void *into, const void *from, void *arg)
{
    (void)arg;
    *(double *)into += *(const double *)from;
}

static int main_task(void *arg)
{
    double sum = 0; /* the identity of the sum, and in the end the result */
    int rc = hop_parallel_for(0, N, fill, squares, NULL);

    (void)arg;
    if (rc == 0)
        rc = hop_parallel_reduce(0, N, add_range, add, squares, &sum, sizeof sum, HOP_PAR(.grain = 10000));
    if (rc < 0)
        return rc;
    printf("the roots of the first %d squares add up to %.0f\n", N, sum);
    return 0;
}

int main(void)
{
    return hop_run(main_task, NULL, NULL) < 0;
}
