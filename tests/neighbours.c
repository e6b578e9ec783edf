/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that has OpenMP regions of its own beside hop: opened by its main thread, by plain threads, in
 * hop_on_blocking; with calls of hop inside, and a runtime that is born in one. They compute what they should, their
 * teams are what the program asked for, and neither side changes the other's threads or settings.
 */
#include "config.h"

#include "harness.h"

#ifndef HOP_TEAM_PTHREAD

#include <omp.h>
#include <sched.h>
#include <sys/resource.h>

enum { ITEMS = 100000, TEAM = 3, WORKERS = 4, ROUNDS = 20, THREADS = 4 };

/* The sum of 0 to ITEMS - 1, by a region of the program's. */
static long sum_in_region(void)
{
    long sum = 0;
    int width = 0;

#pragma omp parallel num_threads(TEAM) reduction(+ : sum)
    {
#pragma omp single nowait
        width = omp_get_num_threads();
#pragma omp for
        for (int i = 0; i < ITEMS; i++)
            sum += i;
    }
    must(width > 0 && width <= TEAM); /* libomp gives fewer when many ask at once */
    return sum;
}

static const long right_sum = (long)ITEMS * (ITEMS - 1) / 2;

static int add_range(size_t lo, size_t hi, void *arg)
{
    atomic_long *sum = arg;
    long mine = 0;

    for (; lo < hi; lo++)
        mine += (long)lo;
    atomic_fetch_add(sum, mine);
    return 0;
}

static long sum_by_hop(void)
{
    atomic_long sum = 0;

    must_eq(hop_parallel_for(0, ITEMS, add_range, &sum, NULL), 0);
    return atomic_load(&sum);
}

static hop_runtime *start(void)
{
    hop_runtime *rt;

    must_eq(hop_runtime_new(&rt, &(hop_config){ .workers = WORKERS }), 0);
    must_eq(sum_by_hop(), right_sum);
    return rt;
}

/* Jobs that go on until they are told to stop. */
static int compute_until(void *arg)
{
    atomic_int *stop = arg;
    int rounds = 0;

    while (!atomic_load(stop)) {
        must(omp_in_parallel());
        must_eq(sum_by_hop(), right_sum);
        rounds++;
    }
    return rounds;
}

START_TEST(regions_of_the_main_thread)
{
    hop_runtime *rt = start();
    int i, before = live_threads();
    atomic_int stop = 0;
    hop_future done = HOP_FUTURE_INIT;
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_submit(&scope, &done, compute_until, &stop), 0);
    for (i = 0; i < ROUNDS; i++) {
        must_eq(sum_in_region(), right_sum);
        must_eq(sum_by_hop(), right_sum);
        must(live_threads() <= before + TEAM - 1);
    }
    atomic_store(&stop, 1);
    must(hop_await(&done) > 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_runtime_free(rt), 0);
    must_eq(sum_in_region(), right_sum);
}
END_TEST

/* The threads of a foreign region are plain threads: hop_offload and the loops block them, no more. */
static int square(void *arg)
{
    return hop_int(arg) * hop_int(arg);
}

static void call_hop_from_region(void)
{
    int bad = 0;

#pragma omp parallel for num_threads(TEAM) reduction(+ : bad)
    for (int i = 0; i < 100; i++) {
        bad += omp_get_thread_num() && hop_here() != HOP_OUTSIDE;
        bad += hop_offload(square, hop_ptr(i)) != i * i;
        bad += i % 10 == 0 && sum_by_hop() != right_sum;
    }
    must_eq(bad, 0);
}

START_TEST(calls_of_hop_inside_a_region)
{
    hop_runtime *rt = start();
    int i;

    for (i = 0; i < ROUNDS; i++)
        call_hop_from_region();
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

static void *regions_of_a_thread(void *arg)
{
    int i;

    for (i = 0; i < ROUNDS; i++) {
        must_eq(sum_in_region(), right_sum);
        call_hop_from_region();
    }
    return arg;
}

START_TEST(regions_of_plain_threads)
{
    hop_runtime *rt = start();
    int i, before = live_threads();
    pthread_t threads[THREADS];

    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(regions_of_a_thread, NULL);
    must(live_threads() <= before + THREADS * TEAM);
    for (i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

static int region_on_lane(void *arg)
{
    hop_on_blocking {
        must(!omp_in_parallel());
        must_eq(sum_in_region(), right_sum);
        call_hop_from_region();
    }
    return hop_int(arg);
}

START_TEST(regions_in_hop_on_blocking)
{
    hop_runtime *rt = start();
    hop_scope scope;
    int i;

    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < ROUNDS; i++)
        must_eq(hop_spawn(&scope, region_on_lane, NULL, NULL), 0);
    must_eq(sum_in_region(), right_sum);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

/* In a job and in hop_on_cpu a region is serial, on the team it is as wide as the team, and the program's stays. */
static int region_width(void)
{
    int width = 0;

#pragma omp parallel
#pragma omp single
    width = omp_get_num_threads();
    return width;
}

static int widths_in_job(void *arg)
{
    must_eq(region_width(), 1);
    return hop_int(arg);
}

static int widths_in_task(void *arg)
{
    must_eq(hop_offload(widths_in_job, NULL), 0);
    hop_on_cpu {
        must_eq(region_width(), 1);
    }
    hop_on_team {
        must_eq(region_width(), WORKERS);
        omp_set_num_threads(2); /* the block's own business */
        must_eq(region_width(), 2);
    }
    hop_on_team {
        must_eq(region_width(), WORKERS);
    }
    return hop_int(arg);
}

START_TEST(settings_are_each_ones_own)
{
    omp_set_num_threads(TEAM);
    omp_set_dynamic(0);
    omp_set_max_active_levels(2);
    must_eq(region_width(), TEAM);
    must_eq(hop_run(widths_in_task, NULL, &(hop_config){ .workers = WORKERS }), 0);
    must_eq(region_width(), TEAM);
    must_eq(omp_get_max_threads(), TEAM);
    must_eq(omp_get_max_active_levels(), 2);
    must(!omp_get_dynamic());
}
END_TEST

START_TEST(a_runtime_born_inside_a_region)
{
    int bad = 0;

#pragma omp parallel num_threads(TEAM) reduction(+ : bad)
    {
#pragma omp single
        bad += hop_run(widths_in_task, NULL, &(hop_config){ .workers = WORKERS }) != 0;
        bad += hop_run(widths_in_task, NULL, &(hop_config){ .workers = WORKERS }) != 0; /* and one in each thread */
    }
    must_eq(bad, 0);
    must_eq(sum_in_region(), right_sum);
}
END_TEST

/* The program's threads are not pinned and not made nicer, though libomp may lend it threads that were workers. */
static void region_is_ordinary(void)
{
    cpu_set_t all;
    int bad = 0, policy = sched_getscheduler(0), nice = getpriority(PRIO_PROCESS, 0);

    must_eq(sched_getaffinity(0, sizeof all, &all), 0);
#pragma omp parallel num_threads(WORKERS) reduction(+ : bad)
    {
        cpu_set_t mine;

        bad += sched_getaffinity(0, sizeof mine, &mine) != 0 || !CPU_EQUAL(&mine, &all);
        bad += sched_getscheduler(0) != policy;
        bad += omp_get_thread_num() && hop_here() != HOP_OUTSIDE;
        bad += getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)) != nice;
    }
    must_eq(bad, 0);
}

static int region_in_main_task(void *arg)
{
    hop_on_blocking {
        region_is_ordinary();
    }
    return hop_offload(square, arg);
}

static int team_at_last(void *arg)
{
    hop_on_team {
        must_eq(region_width(), WORKERS);
    }
    return hop_int(arg);
}

START_TEST(threads_are_as_the_program_left_them)
{
    hop_ns end = hop_now() + 3 * HOP_SEC; /* such workers wait for whoever else computes on this machine */
    enum hop_qos qos;
    int i;
    hop_runtime *rt;

    /* The workers have left for a block when the pool stops, or not yet. */
    for (i = 0; i < 2 * ROUNDS && hop_now() < end; i++) {
        must_eq(hop_run(team_at_last, hop_ptr(3), &(hop_config){ .workers = WORKERS, .qos = HOP_QOS_IDLE }), 3);
        region_is_ordinary();
    }
    for (qos = HOP_QOS_OFF; qos <= HOP_QOS_IDLE; qos++) {
        must_eq(hop_run(region_in_main_task, hop_ptr(3), &(hop_config){ .workers = WORKERS, .qos = qos }), 9);
        region_is_ordinary();
        must_eq(hop_runtime_new(&rt, &(hop_config){ .workers = WORKERS, .qos = qos }), 0);
        must_eq(hop_offload(square, hop_ptr(3)), 9);
        region_is_ordinary();
        must_eq(hop_runtime_free(rt), 0);
        region_is_ordinary();
    }
}
END_TEST

RUN_TESTS("neighbours", regions_of_the_main_thread, calls_of_hop_inside_a_region, regions_of_plain_threads,
          regions_in_hop_on_blocking, settings_are_each_ones_own, a_runtime_born_inside_a_region,
          threads_are_as_the_program_left_them)

#else

int main(void)
{
    printf("a team of plain threads: regions of the program are no business of hop's\n");
    return 77;
}

#endif
