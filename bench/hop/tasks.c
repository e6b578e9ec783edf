/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spawn_join: n tasks spawned and joined, all at once or in waves of 1000.
 * ping_pong: a number goes to and fro between two tasks on two channels, time for each hop.
 * mem_per_task: growth of the resident set for each task that sleeps or waits.
 */
#include "workload.h"

enum { WAVE = 1000 };

/* --- spawn_join --- */

static uint64_t joined; /* by tasks of one loop */

static int add_up(void *arg)
{
    joined += (uint64_t)hop_int(arg);
    return 0;
}

static int spawn_and_join(long from, long to)
{
    hop_scope scope;
    int rc = hop_scope_open(&scope), closed;

    for (; from < to && rc >= 0; from++)
        rc = hop_spawn(&scope, add_up, hop_ptr((int)from), NULL);
    closed = hop_scope_close(&scope);
    return rc < 0 ? rc : closed;
}

static int measure_spawn(const struct run *run, long wave)
{
    struct rounds r = rounds_for(run, "ns/task");

    while (rounds_next(&r)) {
        uint64_t start = now_ns();
        long at = 0, end;
        int rc = 0;

        joined = 0;
        for (; at < run->n && rc >= 0; at = end) {
            end = at + wave < run->n ? at + wave : run->n;
            rc = spawn_and_join(at, end);
        }
        if (rc < 0)
            return rc;
        rounds_add(&r, (double)(now_ns() - start) / (double)run->n);
        expect(joined == (uint64_t)(run->n * (run->n - 1) / 2), "every task once");
    }
    rounds_report(&r, "");
    return 0;
}

static int all_at_once(const struct run *run)
{
    return measure_spawn(run, run->n);
}

static int in_waves(const struct run *run)
{
    return measure_spawn(run, WAVE);
}

static const struct variant spawn_variants[] = {
    { "all", all_at_once, 0, false }, { "waves", in_waves, 0, false }, { 0 }
};

const struct workload spawn_join = { "spawn_join", 100000, false, spawn_variants };

/* --- ping_pong --- */

struct table {
    hop_channel *there, *back;
};

static int pong(void *arg)
{
    struct table *t = arg;
    uint64_t x;
    int rc = 0;

    while (rc >= 0 && hop_channel_recv(t->there, &x) == 1) {
        x++;
        rc = hop_channel_send(t->back, &x);
    }
    return rc;
}

static int play(const struct run *run, size_t capacity, struct rounds *r)
{
    struct table t;
    hop_scope scope;
    uint64_t x = 0, start;
    long i;
    int rc = hop_channel_new(&t.there, sizeof x, capacity);

    if (rc < 0)
        return rc;
    rc = hop_channel_new(&t.back, sizeof x, capacity);
    if (rc < 0)
        return rc;
    hop_scope_open(&scope);
    rc = hop_spawn(&scope, pong, &t, NULL);
    start = now_ns();
    for (i = 0; i < run->n / 2 && rc >= 0; i++) {
        rc = hop_channel_send(t.there, &x);
        if (rc >= 0)
            rc = hop_channel_recv(t.back, &x);
    }
    rounds_add(r, (double)(now_ns() - start) / (double)run->n);
    expect(rc >= 0 && x == (uint64_t)(run->n / 2), "one more at each return");
    hop_channel_close(t.there);
    rc = hop_scope_close(&scope);
    hop_channel_free(t.there);
    hop_channel_free(t.back);
    return rc;
}

static int measure_ping_pong(const struct run *run, size_t capacity)
{
    struct rounds r = rounds_for(run, "ns/hop");

    while (rounds_next(&r)) {
        int rc = play(run, capacity, &r);

        if (rc < 0)
            return rc;
    }
    rounds_report(&r, "");
    return 0;
}

static int rendezvous(const struct run *run)
{
    return measure_ping_pong(run, 0);
}

static int one_place(const struct run *run)
{
    return measure_ping_pong(run, 1);
}

static const struct variant ping_variants[] = {
    { "cap0", rendezvous, 0, false }, { "cap1", one_place, 0, false }, { 0 }
};

const struct workload ping_pong = { "ping_pong", 1000000, false, ping_variants };

/* --- mem_per_task --- */

static long begun; /* by tasks of one loop */

static int sleep_on(void *arg)
{
    (void)arg;
    begun++;
    return hop_sleep(3600 * HOP_SEC);
}

static int wait_on(void *arg)
{
    begun++;
    return hop_await(arg);
}

static int measure_memory(const struct run *run, bool sleeping)
{
    struct rounds r = rounds_for(run, "bytes/task");
    hop_future *futures = calloc((size_t)run->n, sizeof *futures);
    double before = resident_bytes();
    hop_scope scope;
    long i;
    int rc = futures ? hop_scope_open(&scope) : -ENOMEM;

    if (rc < 0)
        return rc;
    rounds_only(&r);
    begun = 0;
    for (i = 0; i < run->n && rc >= 0; i++)
        rc = hop_spawn(&scope, sleeping ? sleep_on : wait_on, &futures[i], NULL);
    while (rc >= 0 && begun < run->n)
        rc = hop_sleep(5 * HOP_MS);
    rounds_add(&r, (resident_bytes() - before) / (double)run->n);
    hop_scope_cancel(&scope, -ECANCELED);
    hop_scope_close(&scope);
    free(futures);
    if (rc >= 0)
        rounds_report(&r, "");
    return rc;
}

static int sleeping_tasks(const struct run *run)
{
    return measure_memory(run, true);
}

static int pending_tasks(const struct run *run)
{
    return measure_memory(run, false);
}

static const struct variant memory_variants[] = {
    { "sleep", sleeping_tasks, 0, false }, { "pending", pending_tasks, 0, false }, { 0 }
};

const struct workload mem_per_task = { "mem_per_task", 100000, false, memory_variants };
