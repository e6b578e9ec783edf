/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * idle_cpu: CPU time, in percent of one CPU, of a program that has used everything once and then sleeps for n seconds.
 * timers: n tasks that sleep until some moment between 1 s and 2 s after the start; CPU seconds, and how late they
 * woke.
 */
#include "workload.h"

/* --- idle_cpu --- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int count(size_t lo, size_t hi, void *arg)
{
    uint32_t *data = arg;

    for (; lo < hi; lo++)
        data[lo]++;
    return 0;
}

static int use_everything(void)
{
    static uint32_t data[REGION];
    int i, rc = hop_offload_with(nothing, NULL, HOP_OFFLOAD(.place = HOP_POOL));

    if (rc >= 0)
        rc = hop_parallel_for(0, REGION, count, data, NULL);
    hop_on_team {
#pragma omp parallel for schedule(static)
        for (i = 0; i < REGION; i++)
            data[i]++;
    }
    for (i = 0; i < REGION; i++)
        expect(rc >= 0 && data[i] == 2, "each element twice");
    return rc;
}

static int measure_idle(const struct run *run)
{
    struct rounds r = rounds_for(run, "%");
    double cpu;
    int rc = use_everything();

    rounds_only(&r);
    cpu = cpu_seconds();
    if (rc >= 0)
        rc = hop_sleep(run->n * HOP_SEC);
    rounds_add(&r, 100 * (cpu_seconds() - cpu) / (double)run->n);
    if (rc >= 0)
        rounds_report(&r, "");
    return rc;
}

static const struct variant idle_variants[] = { { "runtime", measure_idle, 0, false }, { 0 } };

const struct workload idle_cpu = { "idle_cpu", 10, false, idle_variants };

/* --- timers --- */

struct sleeper {
    uint64_t due;
    uint64_t late_ns;
};

static int sleep_until_due(void *arg)
{
    struct sleeper *s = arg;
    int rc = hop_sleep((hop_ns)s->due - hop_now());
    uint64_t now = now_ns();

    expect(now >= s->due, "no timer fires early");
    s->late_ns = now - s->due;
    return rc;
}

static int measure_timers(const struct run *run)
{
    struct rounds r = rounds_for(run, "cpu_s");
    struct sleeper *s = calloc((size_t)run->n, sizeof *s);
    struct latencies late = { 0 };
    uint64_t seed = SEED, start;
    double cpu, create;
    char extra[160];
    hop_scope scope;
    long i;
    int rc = s ? hop_scope_open(&scope) : -ENOMEM;

    if (rc < 0)
        return rc;
    rounds_only(&r);
    cpu = cpu_seconds();
    start = now_ns();
    for (i = 0; i < run->n && rc >= 0; i++) {
        seed = chain(seed, 1);
        s[i].due = start + 1000000000u + seed % 1000000000u;
        rc = hop_spawn(&scope, sleep_until_due, &s[i], NULL);
    }
    create = (double)(now_ns() - start) * 1e-9;
    if (rc >= 0)
        rc = hop_scope_close(&scope);
    if (rc < 0)
        return rc;
    rounds_add(&r, cpu_seconds() - cpu);
    for (i = 0; i < run->n; i++)
        latencies_add(&late, s[i].late_ns);
    latencies_sort(&late);
    snprintf(extra, sizeof extra, ",\"create_s\":%.3f,\"wall_s\":%.3f,\"late_p50_us\":%.0f,\"late_p99_us\":%.0f",
             create, (double)(now_ns() - start) * 1e-9, latencies_at(&late, 0.5) / 1000,
             latencies_at(&late, 0.99) / 1000);
    rounds_report(&r, extra);
    free(late.ns);
    free(s);
    return 0;
}

static const struct variant timer_variants[] = { { "sleep", measure_timers, 0, false }, { 0 } };

const struct workload timers = { "timers", 100000, false, timer_variants };
