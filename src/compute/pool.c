/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool: a team turn, birth and end. What its workers do is in worker.c, how work reaches them in admit.c.
 */
#include "config.h"

#include "compute/pool.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/task.h"

static const hop_ns team_slice = 10 * HOP_MS; /* of team blocks back to back, while task mode has work */

static struct hop__task *next_team_task(struct hop__pool *pool)
{
    struct hop__runnable *r = pool->team_waiting;

    if (!r)
        r = hop__inbox_take(&pool->team_inbox);
    if (!r)
        return NULL;
    pool->team_waiting = r->next;
    return hop__task_of_node(r);
}

void hop__pool_team_turn(struct hop__pool *pool)
{
    struct hop__task *t;
    hop_ns start = hop__now();

    if (hop__load(&pool->stop, acquire))
        return;
    hop__count(&pool->team_turns);
    hop__load_resume(pool->load, pool->nworkers);
    while ((t = next_team_task(pool))) {
        hop__team_before_block(pool);
        hop__task_run(t);
        hop__fetch_sub(&pool->load->team, 1, relaxed);
        if (hop__now() - start >= team_slice)
            break;
    }
    hop__load_rest(pool->load, pool->nworkers);
    hop__store(&pool->team_left, pool->team_waiting != NULL, relaxed);
    hop__store(&pool->task_mode_until, hop__now() - start >= team_slice ? hop__now() + team_slice : 0, relaxed);
}

/* --- birth and end --- */

void hop__pool_has_threads(struct hop__pool *pool, int n)
{
    uint32_t missing = (uint32_t)(pool->nworkers - n);

    pool->nworkers = n;
    hop__load_resume(pool->load, (int)missing); /* who is not there does not rest either */
    if (hop__load(&pool->active, relaxed) > n)
        hop__store(&pool->active, n, relaxed);
    hop__fetch_sub(&pool->unseated, missing, release); /* not the last: the owner's own worker has yet to sit */
}

/*
 * Until every worker sits: so what the system refuses is known, and no other thread of ours takes the place of one that
 * an OpenMP runtime has still to start, which would end the process.
 */
static int wait_until_seated(struct hop__pool *pool)
{
    uint32_t n;

    while ((n = hop__load(&pool->unseated, acquire))) /* S2 */
        hop__futex_wait(&pool->unseated, n, HOP_FOREVER);
    if (pool->born < 0)
        pthread_join(pool->owner, NULL);
    return pool->born;
}

/* The threads are tried where they will be made: what this thread takes for itself is gone by then. */
static void *owner_main(void *arg)
{
    struct hop__pool *pool = arg;

    hop__overflow_stack_open();
    pool->born = hop__team_prepare(pool->nworkers);
    if (pool->born < 0) {
        hop__store(&pool->unseated, 0, release); /* pairs with S2 */
        hop__futex_wake(&pool->unseated);
    } else {
        hop__team_run(pool);
    }
    hop__overflow_stack_close();
    return NULL;
}

/* Whether every fork and join takes the library's way with full fences. What is inlined tells helgrind nothing. */
static bool forks_are_fenced(void)
{
#ifdef HOP_HELGRIND
    return true;
#else
    return hop__membarrier_missing;
#endif
}

static void init_workers(struct hop__pool *pool, const struct hop__place *places)
{
    int i;

    memset(pool->worker_at, -1, sizeof pool->worker_at);
    for (i = 0; i < pool->nworkers; i++) {
        struct hop__worker *w = &pool->workers[i];

        hop__deque_init(&w->deque, w->items, forks_are_fenced());
        w->deque.sleepers = &pool->idle.sleepers;
        w->deque.followers = &w->followers.word;
        w->pool = pool;
        w->id = i;
        w->random = (uint32_t)i * 2654435761u + 1;
        w->place = places[i];
        if (places[i].bindable && places[i].cpu >= 0 && places[i].cpu < HOP__WORKERS_MAX &&
            pool->worker_at[places[i].cpu] < 0)
            pool->worker_at[places[i].cpu] = (short)i;
        w->executor = (struct hop__executor){
            .ops = &hop__pool_worker_ops, .runtime = pool->runtime, .place = HOP_CPU, .index = i
        };
    }
}

static uint64_t power_of_two(unsigned n)
{
    uint64_t p = 2;

    while (p < n)
        p *= 2;
    return p;
}

static enum hop__qos_profile asked_profile(enum hop_qos qos)
{
    switch (qos) {
    case HOP_QOS_OFF: return HOP__QOS_OFF;
    case HOP_QOS_MILD: return HOP__QOS_MILD;
    case HOP_QOS_IDLE: return HOP__QOS_IDLE;
    case HOP_QOS_REALTIME: return HOP__QOS_REALTIME;
    default: return HOP__QOS_AUTO;
    }
}

/*
 * Fewer workers than CPUs keep to none: a CPU that somebody else wants would hold them up beside an idle one, and every
 * process on a large machine would take the same few.
 */
bool hop__pool_obey_budget(struct hop__pool *pool)
{
    const hop_config *config = &pool->runtime->config;
    int n = config->workers || pool->budget.width > pool->nworkers ? pool->nworkers : pool->budget.width;
    bool changed = n != hop__load(&pool->active, relaxed);

    hop__pace_set(&pool->pace, config->qos == HOP_QOS_OFF || pool->budget.quota >= pool->budget.cpus ? 0 :
                  pool->budget.quota, pool->budget.period);
    hop__store(&pool->pins, !config->no_pin && n >= pool->budget.cpus, relaxed);
    hop__store(&pool->active, n, relaxed);
    return changed;
}

/* What the machine and the process allow: width, places, policy. */
static int look_at_machine(struct hop__pool *pool)
{
    hop_config *config = &pool->runtime->config;
    int rc = hop__topology_open(&pool->topology);

    if (rc < 0)
        return rc;
    hop__budget_find(&pool->budget_files, "");
    hop__budget_reread(&pool->budget, &pool->budget_files, hop__topology_cpus(pool->topology));
    /* One worker for each CPU, so that a quota that grows finds them; those beyond the budget stay on the bench. */
    pool->nworkers = config->workers ? config->workers : hop__topology_cpus(pool->topology);
    if (pool->nworkers > HOP__WORKERS_MAX)
        pool->nworkers = HOP__WORKERS_MAX;
    pool->wanted = pool->nworkers;
    if (hop__topology_cpus(pool->topology) < 2 || pool->nworkers > hop__topology_cpus(pool->topology))
        config->no_spin = 1; /* it would take the CPU from what it waits for */
    hop__pool_obey_budget(pool);
    pool->qos = hop__qos_choose(asked_profile(config->qos), hop__load(&pool->pins, relaxed), hop__budget_own_cgroup(""),
                                pool->qos_why);
    return 0;
}

static int allocate(struct hop__pool *pool)
{
    uint64_t n = power_of_two(pool->runtime->config.queue);
    struct hop__place *places = calloc((size_t)pool->nworkers, sizeof *places);
    void *cells = NULL, *workers = NULL;
    int rc = -ENOMEM;

    if (!places || posix_memalign(&cells, HOP__CACHE_LINE, n * sizeof *pool->cells) ||
        posix_memalign(&workers, HOP__CACHE_LINE, (size_t)pool->nworkers * sizeof(struct hop__worker)))
        goto out;
    pool->cells = memset(cells, 0, n * sizeof *pool->cells);
    cells = NULL;
    pool->workers = memset(workers, 0, (size_t)pool->nworkers * sizeof(struct hop__worker));
    rc = hop__topology_places(pool->topology, places, pool->nworkers);
    if (rc < 0)
        goto out;
    hop__ring_init(&pool->ring, pool->cells, n);
    init_workers(pool, places);
    rc = 0;
out:
    free(cells);
    free(places);
    return rc;
}

static void deallocate(struct hop__pool *pool)
{
    hop__topology_close(pool->topology);
    pthread_mutex_destroy(&pool->overflow_lock);
    pthread_mutex_destroy(&pool->budget_lock);
    hop__pace_free(&pool->pace);
    free(pool->workers);
    free(pool->cells);
    free(pool);
}

int hop__pool_new(struct hop__pool **out, struct hop_runtime *rt)
{
    struct hop__pool *pool;
    void *memory;
    int rc;

    if (posix_memalign(&memory, HOP__CACHE_LINE, sizeof *pool))
        return -ENOMEM;
    pool = memset(memory, 0, sizeof *pool);
    pool->runtime = rt;
    pool->load = &rt->load;
    pool->any = (struct hop__executor){ .ops = &hop__pool_any_ops, .runtime = rt, .place = HOP_CPU, .index = -1 };
    pool->team = (struct hop__executor){ .ops = &hop__pool_team_ops, .runtime = rt, .place = HOP_TEAM, .index = -1 };
    pool->overflow_last = &pool->overflow_first;
    pthread_mutex_init(&pool->overflow_lock, NULL);
    pthread_mutex_init(&pool->budget_lock, NULL);
    hop__pace_init(&pool->pace);
    rc = look_at_machine(pool);
    if (!rc)
        rc = allocate(pool);
    if (!rc) {
        rt->load.sleepers = &pool->idle.sleepers;
        rt->load.searching = &pool->idle.searching;
        rt->load.queued = &pool->ring.tail;
        rt->load.taken = &pool->ring.head;
        hop__init(&rt->load.refill, UINT64_MAX);
        hop__init(&rt->load.resting, pool->nworkers);
        hop__init(&pool->unseated, (uint32_t)pool->nworkers);
        rc = -pthread_create(&pool->owner, NULL, owner_main, pool);
    }
    if (!rc)
        rc = wait_until_seated(pool);
    if (rc < 0) {
        deallocate(pool);
        return rc;
    }
    *out = pool;
    return 0;
}

void hop__pool_free(struct hop__pool *pool)
{
    hop__store(&pool->stop, 1, release);
    hop__pool_wake_all(pool);
    pthread_join(pool->owner, NULL);
    deallocate(pool);
}

static void describe_pins(struct hop__pool *pool, FILE *out)
{
    int error = hop__load(&pool->pin_error, relaxed), displaced = 0, i;

    for (i = 0; i < pool->nworkers; i++)
        displaced += hop__load(&pool->workers[i].displaced, relaxed);
    if (pool->runtime->config.no_pin)
        fprintf(out, "not pinned (no_pin)\n");
    else if (!hop__load(&pool->pins, relaxed))
        fprintf(out, "not pinned (there are more CPUs)\n");
    else if (error)
        fprintf(out, "not pinned (%s)\n", error == -ENOTSUP ? "see topology" : "the kernel refused");
    else if (displaced)
        fprintf(out, "pinned, but for %d whose CPU the host has taken away\n", displaced);
    else
        fprintf(out, "pinned\n");
}

void hop__pool_describe(struct hop__pool *pool, FILE *out)
{
    int policy = hop__load(&pool->qos_error, relaxed);

    hop__topology_describe(pool->topology, out);
    pthread_mutex_lock(&pool->budget_lock);
    fprintf(out, "budget: %d of %d CPUs, %s%s\n", pool->budget.width, pool->budget.cpus, pool->budget.source,
            hop__pace_is_set(&pool->pace) ? ", and the workers keep below it" : "");
    pthread_mutex_unlock(&pool->budget_lock);
    fprintf(out, "workers: %d active of %d, %s, ", hop__load(&pool->active, relaxed), pool->nworkers,
            hop__team_provider());
    describe_pins(pool, out);
    if (pool->nworkers < pool->wanted)
        fprintf(out, "workers: %d were wanted, the team has no more threads (OMP_THREAD_LIMIT, limits of the system)\n",
                pool->wanted);
    fprintf(out, "quality of service: %s, %s%s%s\n", hop__qos_name(pool->qos), pool->qos_why,
            policy ? "; workers stay ordinary: " : "", policy ? strerror(-policy) : "");
    fprintf(out, "wake-up: %lld ns, %s\n", (long long)hop__wake_cost,
            hop__membarrier_missing ? "no membarrier: full fences" : "fences by membarrier");
}
