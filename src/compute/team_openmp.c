/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool as one OpenMP team. The owner keeps one parallel region open while there is task mode: because its threads
 * are inside an active region, OpenMP code that a job calls stays serial, and no thread is created. For team blocks the
 * workers leave the region, and the block's own regions run on the very same threads.
 */
#include "config.h"

#ifndef HOP_TEAM_PTHREAD

#include "compute/ending.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

const char *hop__team_provider(void)
{
#if defined(__clang__)
    return "team of OpenMP threads (libomp)";
#else
    return "team of OpenMP threads (libgomp)";
#endif
}

/* These belong to the owner's thread; the environment can set others (OMP_NESTED, OMP_NUM_THREADS=4,2, OMP_DYNAMIC). */
void hop__team_before_block(struct hop__pool *pool)
{
    omp_set_dynamic(0);
    omp_set_max_active_levels(1);
    omp_set_num_threads(pool->nworkers);
}

/* libomp counts each thread that it knows; where all of them together are limited, a loop must not take one's place. */
static bool threads_are_rationed(void)
{
    return getenv("KMP_DEVICE_THREAD_LIMIT") || getenv("KMP_ALL_THREADS");
}

int hop__team_shun(void)
{
    int threads;

    if (threads_are_rationed())
        return 0;
    hop__exit_go_out(1);
    threads = omp_get_max_threads();
    omp_set_num_threads(1);
    hop__exit_come_back(1);
    return threads;
}

void hop__team_unshun(int threads)
{
    if (!threads)
        return;
    hop__exit_go_out(1);
    omp_set_num_threads(threads);
    hop__exit_come_back(1);
}

/*
 * libgomp ends its threads by pthread_exit, for which the C library loads libgcc_s, and ends the process if it
 * cannot. So it is loaded while there are descriptors and memory, and stays.
 */
static int load_what_threads_end_with(void)
{
    int fd;

    if (dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_NODELETE))
        return 0;
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* missing, or nothing left to open it with? */
    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        return -errno;
    if (fd >= 0)
        close(fd);
    return 0;
}

static void *live_until_unlocked(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* As large as those of the runtime, which has a default of its own and OMP_STACKSIZE; libomp adds a little to each. */
static void set_stack_size(pthread_attr_t *attributes)
{
#if defined(__clang__)
    pthread_attr_setstacksize(attributes, kmp_get_stacksize_s() + 256 * 1024);
#else
    (void)attributes;
#endif
}

/* An OpenMP runtime ends the process if it cannot start a thread. So as many are tried first, all alive at once. */
static int try_threads(int n)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *threads = calloc((size_t)n + 1, sizeof *threads);
    pthread_attr_t attributes;
    int i, rc = threads ? 0 : -ENOMEM;

    pthread_attr_init(&attributes);
    set_stack_size(&attributes);
    pthread_mutex_lock(&gate);
    for (i = 0; !rc && i < n; i++)
        rc = -pthread_create(&threads[i], &attributes, live_until_unlocked, &gate);
    if (rc && i > 0)
        i--; /* the last was not started */
    pthread_mutex_unlock(&gate);
    while (i-- > 0)
        pthread_join(threads[i], NULL);
    pthread_attr_destroy(&attributes);
    free(threads);
    return rc;
}

/* libomp ends the process where it may not set masks, unless it is told not to. The pool pins its threads itself. */
static void spare_runtime_affinity(void)
{
#if defined(__clang__)
    cpu_set_t mask;

    if (!getenv("KMP_AFFINITY") && sched_getaffinity(0, sizeof mask, &mask) == 0 &&
        sched_setaffinity(0, sizeof mask, &mask) < 0)
        kmp_set_defaults("KMP_AFFINITY=disabled");
#endif
}

/* What the user has limited (OMP_THREAD_LIMIT, KMP_LIBRARY=serial) has fewer; every later region gets as many. */
static int threads_of_region(int wanted)
{
    int n = 1;

#pragma omp parallel num_threads(wanted)
#pragma omp master
    n = omp_get_num_threads();
    return n;
}

int hop__team_prepare(int nworkers)
{
    int rc = load_what_threads_end_with();

    if (rc)
        return rc;
    spare_runtime_affinity();
    threads_of_region(1); /* so that the runtime has taken what it needs for itself */
    return try_threads(nworkers - 1); /* and this one */
}

/* On each thread of the team. */
static void task_mode(struct hop__worker *w)
{
    hop__exit_return();
    hop__worker_main(w);
    hop__exit_leave(w);
}

void hop__team_run(struct hop__pool *pool)
{
    hop__team_before_block(pool);
    hop__pool_has_threads(pool, threads_of_region(pool->nworkers));
    hop__exit_go_out(pool->nworkers);
    while (hop__load(&pool->gone, relaxed) < pool->nworkers) {
        hop__store(&pool->gone, 0, relaxed);
        hop__team_before_block(pool); /* the region's jobs inherit it */
#pragma omp parallel num_threads(pool->nworkers)
        task_mode(&pool->workers[omp_get_thread_num()]);
        hop__pool_team_turn(pool);
    }
    hop__exit_come_back(pool->nworkers);
}

#endif
