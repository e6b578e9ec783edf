/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool as plain threads, with the same two modes: for tools that do not understand OpenMP runtimes.
 * Regions that a team block opens get threads of the OpenMP runtime's own, while these wait at the barrier.
 */
#include "config.h"

#ifdef HOP_TEAM_PTHREAD

#include "compute/pool.h"

#include <stdlib.h>

struct team {
    struct hop__pool *pool;
    pthread_mutex_t gate;      /* closed until the barrier knows how many there are */
    pthread_barrier_t barrier; /* at the end of task mode, and at the end of a team turn */
    bool over;                 /* decided by the owner between the two */
};

struct member {
    struct team *team;
    struct hop__worker *worker;
    pthread_t thread;
};

const char *hop__team_provider(void)
{
    return "team of plain threads";
}

int hop__team_prepare(int nworkers)
{
    (void)nworkers; /* the team is as wide as there are threads */
    return 0;
}

void hop__team_before_block(struct hop__pool *pool)
{
    (void)pool; /* the runtime of the block's regions is not ours */
}

int hop__team_shun(void)
{
    return 0;
}

void hop__team_unshun(int threads)
{
    (void)threads;
}

static void *member_main(void *arg)
{
    struct member *m = arg;

    pthread_mutex_lock(&m->team->gate);
    pthread_mutex_unlock(&m->team->gate);
    do {
        hop__worker_main(m->worker);
        pthread_barrier_wait(&m->team->barrier);
        pthread_barrier_wait(&m->team->barrier);
    } while (!m->team->over);
    return NULL;
}

/* How many members there are: fewer than wanted if the system gives no more threads. */
static int start_members(struct team *team, struct member *members)
{
    int i;

    for (i = 1; members && i < team->pool->nworkers; i++) {
        members[i].team = team;
        members[i].worker = &team->pool->workers[i];
        if (pthread_create(&members[i].thread, NULL, member_main, &members[i]))
            break;
    }
    return i;
}

void hop__team_run(struct hop__pool *pool)
{
    struct team team = { .pool = pool, .gate = PTHREAD_MUTEX_INITIALIZER };
    struct member *members = calloc((size_t)pool->nworkers, sizeof *members);
    int i, n;

    pthread_mutex_lock(&team.gate);
    n = start_members(&team, members);
    hop__pool_has_threads(pool, n);
    pthread_barrier_init(&team.barrier, NULL, (unsigned)n);
    pthread_mutex_unlock(&team.gate);
    do {
        hop__worker_main(&pool->workers[0]);
        pthread_barrier_wait(&team.barrier);
        team.over = hop__load(&pool->gone, relaxed) == n;
        hop__store(&pool->gone, 0, relaxed);
        if (!team.over)
            hop__pool_team_turn(pool);
        pthread_barrier_wait(&team.barrier);
    } while (!team.over);
    for (i = 1; i < n; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&team.barrier);
    free(members);
}

#endif
