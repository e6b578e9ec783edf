/* SPDX-License-Identifier: BSD-3-Clause */
/* offload_rtt: a task has an empty job done and waits for it, one at a time. */
#include "workload.h"

static int nothing(void *arg)
{
    uint64_t *x = arg;

    *x = chain(*x, 0) + 1;
    return 0;
}

static int forced_trip(uint64_t *x)
{
    return hop_offload_with(nothing, x, HOP_OFFLOAD(.place = HOP_POOL));
}

static int adaptive_trip(uint64_t *x)
{
    return hop_offload(nothing, x);
}

static int on_cpu_trip(uint64_t *x)
{
    hop_on_cpu {
        nothing(x);
    }
    return 0;
}

/* The means are of trips without a clock between them; the percentiles are of one more round with it. */
static int measure(const struct run *run, int (*trip)(uint64_t *))
{
    struct rounds r = rounds_for(run, "ns");
    struct latencies l = { 0 };
    uint64_t x = 0, start, last, now;
    int rc = 0;
    long i;

    while (rounds_next(&r)) {
        x = 0;
        start = now_ns();
        for (i = 0; i < run->n; i++)
            rc |= trip(&x);
        rounds_add(&r, (double)(now_ns() - start) / (double)run->n);
        expect(rc == 0 && x == (uint64_t)run->n, "a job for each trip");
    }
    for (i = 0, last = now_ns(); i < run->n; i++, last = now) {
        rc |= trip(&x);
        now = now_ns();
        latencies_add(&l, now - last);
    }
    expect(rc == 0 && x == 2 * (uint64_t)run->n, "a job for each trip");
    rounds_report(&r, latencies_json(&l));
    free(l.ns);
    return rc;
}

static int forced(const struct run *run)
{
    return measure(run, forced_trip);
}

static int adaptive(const struct run *run)
{
    return measure(run, adaptive_trip);
}

static int on_cpu(const struct run *run)
{
    return measure(run, on_cpu_trip);
}

static const struct variant variants[] = {
    { "forced", forced, 0, false }, { "adaptive", adaptive, 0, false }, { "on_cpu", on_cpu, 0, false }, { 0 }
};

const struct workload offload_rtt = { "offload_rtt", 20000, false, variants };
