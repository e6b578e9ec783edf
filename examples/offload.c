/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * offload.c: a job computes on a worker of the pool; the task that asked waits for it, and other tasks go on meanwhile.
 */
#include <stdio.h>

#include <hop.h>

struct primes {
    unsigned below; /* in */
    int count;      /* out */
};

/* The job: it computes and never waits. What it works on lies in the frame of the task that waits for it. */
static int count_primes(void *arg)
{
    struct primes *primes = arg;

    for (unsigned n = 2; n < primes->below; n++) {
        unsigned divisor = 2;

        while (divisor * divisor <= n && n % divisor != 0)
            divisor++;
        primes->count += divisor * divisor > n;
    }
    return 0;
}

/* Ticks on the loop until it is cancelled. */
static int tick(void *arg)
{
    int *ticks = arg, rc;

    while ((rc = hop_sleep(HOP_MS)) == 0)
        ++*ticks;
    return rc;
}

static int main_task(void *arg)
{
    struct primes primes = { .below = 1000000 };
    int ticks = 0, rc;
    hop_scope scope;

    (void)arg;
    hop_scope_open(&scope);
    hop_spawn(&scope, tick, &ticks, NULL);
    rc = hop_offload(count_primes, &primes); /* the loop is free while this waits */
    hop_scope_cancel(&scope, -ECANCELED);
    hop_scope_close(&scope);
    if (rc < 0)
        return rc;
    printf("%d primes below %u\n", primes.count, primes.below);
    printf("the loop %s meanwhile\n", ticks > 0 ? "ticked" : "stood still");
    return 0;
}

int main(void)
{
    return hop_run(main_task, NULL, NULL) < 0;
}
