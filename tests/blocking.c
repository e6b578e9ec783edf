/* SPDX-License-Identifier: BSD-3-Clause */

/* The blocking lane: as many threads as are needed and no more, and each task keeps its own. */
#include "harness.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

/* A gate that blocks threads, as system calls do. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int inside, most_inside;
static bool is_open;

static void pass_gate(void)
{
    pthread_mutex_lock(&lock);
    inside++;
    if (inside > most_inside)
        most_inside = inside;
    pthread_cond_broadcast(&changed);
    while (!is_open)
        pthread_cond_wait(&changed, &lock);
    inside--;
    pthread_mutex_unlock(&lock);
}

static int count_inside(void)
{
    int n;

    pthread_mutex_lock(&lock);
    n = inside;
    pthread_mutex_unlock(&lock);
    return n;
}

static void open_gate(void)
{
    pthread_mutex_lock(&lock);
    is_open = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int block(void *arg)
{
    (void)arg;
    hop_on_blocking {
        must_eq(hop_here(), HOP_BLOCKING);
        pass_gate();
    }
    must_eq(hop_here(), HOP_LOOP);
    return 0;
}

static int threads_alive(void)
{
    hop_stats stats;

    must_eq(hop_stats_read(&stats), 0);
    return stats.blocking_threads;
}

enum { TASKS = 20, LIMIT = 3 };

static void spawn_blockers(hop_scope *scope)
{
    must_eq(hop_scope_open(scope), 0);
    for (int i = 0; i < TASKS; i++)
        must_eq(hop_spawn(scope, block, NULL, NULL), 0);
}

/* All block at once, and the loop goes on. */
static int elastic_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    spawn_blockers(&scope);
    while (count_inside() < TASKS)
        must_eq(hop_sleep(HOP_MS), 0);
    must(threads_alive() >= TASKS);
    open_gate();
    return hop_scope_close(&scope);
}

START_TEST(elastic)
{
    int before = live_threads();

    run_main(elastic_main);
    ck_assert_int_le(settled_threads(before), before + TEST_SANITIZED); /* which has one of its own */
}
END_TEST

static int bound_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    spawn_blockers(&scope);
    while (count_inside() < LIMIT)
        must_eq(hop_sleep(HOP_MS), 0);
    must_eq(hop_sleep(5 * HOP_MS), 0); /* a chance for a fourth to come in by mistake */
    must_eq(threads_alive(), LIMIT);
    open_gate();
    must_eq(hop_scope_close(&scope), 0);
    must_eq(most_inside, LIMIT);
    return 0;
}

START_TEST(bound)
{
    run_main_with(bound_main, NULL, &(hop_config){ .blocking_threads = LIMIT });
}
END_TEST

static int one_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    open_gate();
    spawn_blockers(&scope);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(most_inside, 1);
    must_eq(threads_alive(), 1);
    return 0;
}

START_TEST(one_thread_serves_all)
{
    run_main_with(one_main, NULL, &(hop_config){ .blocking_threads = 1 });
}
END_TEST

#if !TEST_SANITIZED /* which have a pthread_create of their own */
static atomic_bool refuse;

/* Stands in for libc's, and on demand fails for threads of the lane, who start each other. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    char name[16] = "";

    pthread_getname_np(pthread_self(), name, sizeof name);
    if (atomic_load(&refuse) && !strcmp(name, "hop-block"))
        return EAGAIN;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, body, arg);
}

/* Where no thread can be had, the one that there is from the start does it all. */
static int refused_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    atomic_store(&refuse, true);
    open_gate();
    spawn_blockers(&scope);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(threads_alive(), 1);
    atomic_store(&refuse, false);
    return 0;
}

START_TEST(no_more_threads)
{
    run_main(refused_main);
}
END_TEST
#else
START_TEST(no_more_threads)
{
}
END_TEST
#endif

/* --- a task that waits inside --- */

static int pair[2];

static void compute(void)
{
    hop_on_cpu must_eq(hop_here(), HOP_CPU);
}

static int wait_inside(void *arg)
{
    (void)arg;
    hop_on_blocking {
        pthread_t thread = pthread_self();

        for (int i = 0; i < 50; i++) {
            char c;

            must_eq(hop_read(pair[0], &c, 1), 1); /* the others run meanwhile, but not here */
            must(pthread_equal(thread, pthread_self()));
            must_eq(hop_here(), HOP_BLOCKING);
            if (i % 10 == 0) {
                compute();
                must(pthread_equal(thread, pthread_self()));
            }
            if (i % 10 == 5) {
                must_eq(hop_sleep(HOP_US), 0);
                must(pthread_equal(thread, pthread_self()));
            }
        }
    }
    return 0;
}

static int feed(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4 * 50; i++) {
        hop_on_blocking must_eq(write(pair[1], "x", 1), 1);
    }
    return 0;
}

static int same_thread_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    must_eq(pipe2(pair, O_CLOEXEC), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (int i = 0; i < 4; i++)
        must_eq(hop_spawn(&scope, wait_inside, NULL, NULL), 0);
    must_eq(hop_spawn(&scope, feed, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_close(pair[0]), 0);
    return hop_close(pair[1]);
}

START_TEST(same_thread)
{
    run_main(same_thread_main);
}
END_TEST

/* --- what the threads are --- */

static void look_at_policy(void)
{
    hop_on_blocking must_eq(sched_getscheduler(0) & ~SCHED_RESET_ON_FORK, SCHED_OTHER);
}

static int look_main(void *arg)
{
    (void)arg;
    hop_on_blocking {
        char name[16]; /* (their masks: tests/family.c) */

        must_eq(pthread_getname_np(pthread_self(), name, sizeof name), 0);
        must(!strcmp(name, "hop-block"));
    }
    look_at_policy();
    hop_on_cpu look_at_policy(); /* from a worker of the idle class too */
    return 0;
}

START_TEST(ordinary_threads)
{
    run_main_with(look_main, NULL, &(hop_config){ .qos = HOP_QOS_IDLE });
}
END_TEST

/* Outside of tasks the block runs where it is. */
static int job(void *arg)
{
    (void)arg;
    hop_on_blocking must_eq(hop_here(), HOP_JOB);
    return 0;
}

static int job_main(void *arg)
{
    (void)arg;
    return hop_offload(job, NULL);
}

START_TEST(in_place)
{
    hop_on_blocking ck_assert_int_eq(hop_here(), HOP_OUTSIDE);
    run_main(job_main);
}
END_TEST

RUN_TESTS("blocking", elastic, bound, one_thread_serves_all, no_more_threads, same_thread, ordinary_threads, in_place)
