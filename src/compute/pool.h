/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool from inside: workers, what they share, and the two modes. See README.md in this folder for the protocols.
 */
#ifndef HOP_COMPUTE_POOL_H
#define HOP_COMPUTE_POOL_H

#include <pthread.h>

#include "bridge/cost.h"
#include "bridge/executor.h"
#include "bridge/inbox.h"
#include "bridge/park.h"
#include "bridge/ring.h"
#include "bridge/runtime.h"
#include "bridge/thread.h"
#include "compute/budget.h"
#include "compute/deque.h"
#include "compute/idle.h"
#include "compute/pace.h"
#include "compute/qos.h"
#include "compute/topology.h"

enum { HOP__WORKERS_MAX = HOP__IDLE_WORDS * 64 };

struct hop__worker {
    struct hop_worker deque;
    struct hop__park followers; /* those who wait for a half that this worker stole */
    struct hop__thread *thread; /* in task mode */
    struct hop__pool *pool;
    int id;
    bool seated;                /* has begun once */
    uint64_t left;              /* how often it has left task mode: see ending.h */
    uint32_t random;
    uint32_t steps, stride;     /* jobs since the clock was looked at, and until it is again */
    hop_ns stepped;             /* when it was */
    hop_ns looked;              /* when the budget and the pin were */
    uint64_t paced;             /* ticks: when the quota was asked for last */
    hop__atomic(int) tid;       /* the kernel's number of its thread; 0: not seated yet */
    hop__atomic(int) displaced; /* the host has taken the CPU away */
    struct hop__place place;
    struct hop__qos_saved saved; /* what its thread had before */
    struct hop__runnable *returned; /* tasks taken from the inbox that have not run yet */
    hop__atomic(uint64_t) steals, parks, pauses, jobs; /* one writer */
    struct hop__costs costs;    /* of loop bodies that this worker has run */

    struct hop__executor executor __attribute__((aligned(HOP__CACHE_LINE))); /* for tasks that come back here */
    struct hop__inbox inbox;
    struct hop__park park;
    hop__atomic(struct hop_half *) items[HOP__DEQUE_CAPACITY];
} __attribute__((aligned(HOP__CACHE_LINE)));

struct hop__pool {
    struct hop__executor any;   /* whichever worker is free first */
    struct hop__executor team;  /* alone, outside of task mode */
    struct hop_runtime *runtime;
    struct hop__load *load;
    int nworkers;
    int wanted;                 /* before the team told how many threads it has */
    struct hop__worker *workers;
    short worker_at[HOP__WORKERS_MAX]; /* by the CPU that it is pinned to; -1: none */
    struct hop__ring ring;
    struct hop__ring_cell *cells;

    /* Submitters that found the ring full, oldest first. */
    pthread_mutex_t overflow_lock;
    struct hop__admission *overflow_first, **overflow_last;

    struct hop__idle idle __attribute__((aligned(HOP__CACHE_LINE)));

    /* What every worker reads again and again, and hardly anybody writes. */
    hop__atomic(int) overflow __attribute__((aligned(HOP__CACHE_LINE))); /* submitters that wait for room */
    hop__atomic(int) active; /* workers below this number compute */
    hop__atomic(int) pins; /* there is a worker for each CPU, so that each keeps to its own */
    hop__atomic(int) stop;
    hop__atomic(uint32_t) unseated; /* futex: workers that have not begun for the first time */
    hop__atomic(int) gone; /* workers that have left their seats; relaxed: the region's barriers order it */
    int born; /* an error if there are not enough threads, and then there is no owner */

    /* Team mode. */
    struct hop__inbox team_inbox;
    struct hop__runnable *team_waiting; /* taken, not run yet; the owner's */
    hop__atomic(int) team_left; /* there are such; written between two regions, whose barriers order it */
    hop__atomic(int64_t) task_mode_until; /* fairness: workers with work stay until then */
    hop__atomic(uint64_t) team_turns;
    hop__atomic(uint64_t) left; /* rounds in which one has left task mode: see ending.h */

    pthread_t owner;
    struct hop__topology *topology;
    struct hop__budget_files budget_files;
    struct hop__budget budget;
    pthread_mutex_t budget_lock;
    struct hop__pace pace;
    enum hop__qos_profile qos;
    char qos_why[128];
    hop__atomic(int) qos_error, pin_error;
};

/* After the budget was read, under its lock: how many workers compute, where, how fast. True: it is another number. */
bool hop__pool_obey_budget(struct hop__pool *pool);

int hop__pool_new(struct hop__pool **out, struct hop_runtime *rt);
void hop__pool_free(struct hop__pool *pool); /* nothing may be queued or running any more */
void hop__pool_describe(struct hop__pool *pool, FILE *out);

/* On the owner's thread, before it runs the team. Errors: what would keep its threads from starting or ending well. */
int hop__team_prepare(int nworkers);

/*
 * Team providers (team_openmp.c, team_pthread.c), on the owner's thread: run hop__worker_main on every worker's thread,
 * then a team turn, and so on until all workers are gone: some may have left for a team turn just before the pool
 * stopped, and come once more to leave their seats.
 */
void hop__team_run(struct hop__pool *pool);
const char *hop__team_provider(void);

/* The provider, on the owner's thread, before the first worker begins: how many of the wanted workers there will be. */
void hop__pool_has_threads(struct hop__pool *pool, int n);

/* Before each team block: undoes what an earlier one may have set in its OpenMP runtime. */
void hop__team_before_block(struct hop__pool *pool);

/*
 * For the thread of a loop: OpenMP code there stays serial, instead of stopping the loop for a team of its own that
 * takes the cores from the pool's. unshun takes what shun returned.
 */
int hop__team_shun(void);
void hop__team_unshun(int threads);

/* Task mode, on the worker's thread: returns when a team block wants the team, or the pool stops. */
void hop__worker_main(struct hop__worker *w);

/* Team mode, on the owner's thread, outside of any parallel region. */
void hop__pool_team_turn(struct hop__pool *pool);

/* The ways into the pool (admit.c). */
extern const struct hop__executor_ops hop__pool_any_ops, hop__pool_worker_ops, hop__pool_team_ops;
void hop__pool_refill(struct hop__pool *pool); /* there may be room for who waits for it */
void hop__pool_wake_one(struct hop__pool *pool);
void hop__pool_wake_all(struct hop__pool *pool);

/* For the fork and join protocol (join.c). */
void hop__half_run(struct hop__worker *w, struct hop_half *half, const struct hop__worker *victim);

/* Between two jobs, or two chunks of a loop: waits as long as the quota is spent. True: that has taken time. */
void hop__worker_ask_quota(struct hop__worker *w);

static inline bool hop__worker_keep_pace(struct hop__worker *w)
{
    if (!hop__pace_is_set(&w->pool->pace) || hop__span(w->paced, hop__ticks()) <= hop__ticks_in(HOP_MS))
        return false;
    hop__worker_ask_quota(w);
    return true;
}

/* After work was made visible: wakes a sleeper unless somebody is looking for work already (idle.h). */
static inline void hop__pool_notify(struct hop__pool *pool)
{
    hop__fence_light(); /* pairs with the heavy one of a worker that goes to sleep */
    if (hop__idle_wants_waking(&pool->idle))
        hop__pool_wake_one(pool);
}

#endif
