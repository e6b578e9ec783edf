/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * offload_throughput: jobs a second with 256 outstanding. ring: one task submits, and awaits the oldest of its 256;
 * tasks: 256 tasks have one job each. us: a job of about 1 us; empty: of nothing.
 */
#include "workload.h"

struct job {
    uint64_t x;
    uint32_t work;
};

static int do_job(void *arg)
{
    struct job *j = arg;

    j->x = chain(j->x, j->work);
    return 0;
}

/* --- one task --- */

static int ring(long n, uint32_t work, uint64_t *sum)
{
    static struct job jobs[OUTSTANDING];
    static hop_future futures[OUTSTANDING];
    hop_scope scope;
    long i;
    int rc = hop_scope_open(&scope), closed;

    for (i = 0; i < n + OUTSTANDING && rc >= 0; i++) {
        struct job *j = &jobs[i % OUTSTANDING];
        hop_future *f = &futures[i % OUTSTANDING];

        if (i >= OUTSTANDING && i - OUTSTANDING < n) {
            rc = hop_await(f);
            *sum += j->x;
        }
        if (i >= n || rc < 0)
            continue;
        *j = (struct job){ job_seed((uint64_t)i), work };
        *f = (hop_future)HOP_FUTURE_INIT;
        rc = hop_submit(&scope, f, do_job, j);
    }
    closed = hop_scope_close(&scope);
    return rc < 0 ? rc : closed;
}

/* --- 256 tasks --- */

struct client {
    long first, n; /* its jobs are first, first + 256, ... */
    uint32_t work;
    hop_offload_place place;
    uint64_t sum;
};

static int submit_one_by_one(void *arg)
{
    struct client *c = arg;
    long i;

    for (i = c->first; i < c->n; i += OUTSTANDING) {
        struct job j = { job_seed((uint64_t)i), c->work };
        int rc = c->place == HOP_POOL ? hop_offload_with(do_job, &j, HOP_OFFLOAD(.place = HOP_POOL))
                                      : hop_offload(do_job, &j);

        if (rc < 0)
            return rc;
        c->sum += j.x;
    }
    return 0;
}

static int tasks(long n, uint32_t work, hop_offload_place place, uint64_t *sum)
{
    static struct client clients[OUTSTANDING];
    hop_scope scope;
    int i, rc = hop_scope_open(&scope), closed;

    for (i = 0; i < OUTSTANDING && rc >= 0; i++) {
        clients[i] = (struct client){ i, n, work, place, 0 };
        rc = hop_spawn(&scope, submit_one_by_one, &clients[i], NULL);
    }
    closed = hop_scope_close(&scope);
    for (i = 0; i < OUTSTANDING; i++)
        *sum += clients[i].sum;
    return rc < 0 ? rc : closed;
}

/* --- rounds --- */

static int measure(const struct run *run)
{
    struct rounds r = rounds_for(run, "jobs/s");
    uint32_t work = strstr(run->variant, "-us") ? CHAIN_US : 0;
    hop_offload_place place = strstr(run->variant, "forced") ? HOP_POOL : HOP_ANYWHERE;
    uint64_t known = jobs_sum((uint64_t)run->n, work);

    while (rounds_next(&r)) {
        uint64_t start = now_ns(), sum = 0;
        int rc = strstr(run->variant, "ring") ? ring(run->n, work, &sum) : tasks(run->n, work, place, &sum);

        if (rc < 0)
            return rc;
        rounds_add(&r, (double)run->n * 1e9 / (double)(now_ns() - start));
        expect(sum == known, "the sum of the jobs");
    }
    rounds_report(&r, "");
    return 0;
}

static const struct variant variants[] = {
    { "forced-ring-us", measure, 0, false },     { "forced-tasks-us", measure, 0, false },
    { "adaptive-tasks-us", measure, 0, false },  { "forced-ring-empty", measure, 0, false },
    { "forced-tasks-empty", measure, 0, false }, { "adaptive-tasks-empty", measure, 0, false },
    { 0 },
};

const struct workload offload_throughput = { "offload_throughput", 200000, false, variants };
