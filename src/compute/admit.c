/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways into the pool: work and tasks for whichever worker is free, tasks that come back to one worker, tasks that
 * want the team.
 *
 * Work for anyone goes by value into the ring. When that is full the submitter leaves a node in its own frame, in a
 * list that is moved into the ring, oldest first, as room comes; while there is such a list newcomers join it, so
 * that nobody is overtaken.
 */
#include "config.h"

#include <sched.h>

#include "bridge/task.h"
#include "compute/pool.h"

/* The worker whose CPU this is, or -1: as long as this thread goes on, it would not begin. */
static int worker_here(struct hop__pool *pool)
{
    int cpu = hop__load(&pool->pins, relaxed) ? sched_getcpu() : -1;

    return cpu >= 0 && cpu < HOP__WORKERS_MAX ? pool->worker_at[cpu] : -1;
}

void hop__pool_wake_one(struct hop__pool *pool)
{
    int id = hop__idle_choose(&pool->idle, pool->nworkers, worker_here(pool));

    if (id >= 0)
        hop__unpark(&pool->workers[id].park);
}

/* The ring has room again: the oldest who wait for it move in. */
void hop__pool_refill(struct hop__pool *pool)
{
    struct hop__admission *a;

    pthread_mutex_lock(&pool->overflow_lock);
    while ((a = pool->overflow_first)) {
        struct hop__admission *next = a->next;
        struct hop__future *admitted = a->admitted;

        if (!hop__ring_push(&pool->ring, a->work))
            break;
        /* The admission may be gone: its work may have run. Only who waits for admitted still stands there. */
        pool->overflow_first = next;
        if (!next)
            pool->overflow_last = &pool->overflow_first;
        hop__fetch_sub(&pool->overflow, 1, relaxed);
        if (admitted)
            hop__complete(admitted, 0);
    }
    pthread_mutex_unlock(&pool->overflow_lock);
}

static int admit(struct hop__executor *executor, const struct hop__work *work, struct hop__admission *admission)
{
    struct hop__pool *pool = (struct hop__pool *)executor;
    int rc = 0;

    if (hop__load(&pool->overflow, relaxed) || !hop__ring_push(&pool->ring, *work)) {
        if (!admission)
            return -EAGAIN;
        admission->work = *work;
        admission->next = NULL;
        pthread_mutex_lock(&pool->overflow_lock);
        *pool->overflow_last = admission;
        pool->overflow_last = &admission->next;
        hop__fetch_add(&pool->overflow, 1, relaxed);
        pthread_mutex_unlock(&pool->overflow_lock);
        rc = 1;
    }
    hop__pool_notify(pool);
    return rc;
}

static void enter_any(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__work work = { NULL, t, NULL, NULL, { NULL, HOP_FOREVER }, NULL };

    admit(executor, &work, &t->admission);
}

static void enter_worker(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__worker *w = (struct hop__worker *)((char *)executor - offsetof(struct hop__worker, executor));

    hop__inbox_push(&w->inbox, &t->node);
    hop__unpark(&w->park);
}

void hop__pool_wake_all(struct hop__pool *pool)
{
    int i;

    for (i = 0; i < pool->nworkers; i++)
        hop__unpark(&pool->workers[i].park);
}

static void enter_team(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__pool *pool = (struct hop__pool *)((char *)executor - offsetof(struct hop__pool, team));

    hop__fetch_add(&pool->load->team, 1, relaxed);
    hop__inbox_push(&pool->team_inbox, &t->node);
    hop__pool_wake_all(pool);
}

const struct hop__executor_ops hop__pool_any_ops = { .enter = enter_any, .admit = admit };
const struct hop__executor_ops hop__pool_worker_ops = { .enter = enter_worker };
const struct hop__executor_ops hop__pool_team_ops = { .enter = enter_team };
