/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool: what a worker does in task mode, how work reaches it, how it sleeps and is woken, and a team turn.
 *
 * A worker looks for work in this order: tasks that come back to it, the shared ring, other workers' deques. (Its own
 * deque is empty whenever it is here: what a job forks it also joins.) Finding nothing it searches for as long as a
 * wake-up would cost, at most half of the workers at a time, and then sleeps.
 *
 * Whom to wake, and how nobody sleeps through work, is in idle.h.
 */
#include "config.h"

#include "compute/pool.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/offload.h"
#include "bridge/task.h"

static const hop_ns look_interval = 1 * HOP_SEC; /* between looks at the budget and the pin */
static const hop_ns team_slice = 10 * HOP_MS;    /* of team blocks back to back, while task mode has work */

/* What a search found. */
struct find {
    struct hop__work work;  /* from the ring, if job and task are NULL */
    struct hop__job *job;
    struct hop__task *task;
};

/* --- load --- */

void hop__worker_becomes_busy(struct hop__worker *w)
{
    if (w->busy)
        return;
    w->busy = true;
    hop__fetch_add(&w->pool->load->busy, 1, relaxed);
}

/* n workers have no work any more. A loop that waits because every core computed is told. */
static void relieve(struct hop__load *load, int n)
{
    hop__fetch_sub(&load->busy, n, relaxed);
    hop__fence(seq_cst); /* M2, pairs with M1 in the loop: it sees us idle, or we see it wait */
    if (hop__load(&load->moderated, relaxed)) {
        hop__fetch_add(&load->relief, 1, release);
        hop__futex_wake(&load->relief);
    }
}

void hop__worker_becomes_idle(struct hop__worker *w)
{
    if (!w->busy)
        return;
    w->busy = false;
    relieve(w->pool->load, 1);
}

static void count(hop__atomic(uint64_t) *counter)
{
    hop__store(counter, hop__load(counter, relaxed) + 1, relaxed);
}

/* --- admission --- */

/* The ring has room again: the oldest who wait for it move in. */
static void refill(struct hop__pool *pool)
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
    hop__fetch_add(&pool->accepted, 1, relaxed);
    hop__pool_notify(pool);
    return rc;
}

static void enter_any(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__work work = { NULL, t, NULL, NULL, { NULL, HOP_FOREVER } };

    admit(executor, &work, &t->admission);
}

static void enter_worker(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__worker *w = (struct hop__worker *)((char *)executor - offsetof(struct hop__worker, executor));

    hop__inbox_push(&w->inbox, &t->node);
    hop__unpark(&w->park);
}

static void wake_all(struct hop__pool *pool)
{
    int i;

    for (i = 0; i < pool->nworkers; i++)
        hop__unpark(&pool->workers[i].park);
}

static void enter_team(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__pool *pool = (struct hop__pool *)((char *)executor - offsetof(struct hop__pool, team));

    hop__inbox_push(&pool->team_inbox, &t->node);
    wake_all(pool);
}

static const struct hop__executor_ops any_ops = { .enter = enter_any, .admit = admit };
static const struct hop__executor_ops worker_ops = { .enter = enter_worker };
static const struct hop__executor_ops team_ops = { .enter = enter_team };

/* --- finding work --- */

static struct hop__task *next_returned(struct hop__worker *w)
{
    struct hop__runnable *r = w->returned ? w->returned : (w->returned = hop__inbox_take(&w->inbox));

    if (!r)
        return NULL;
    w->returned = r->next;
    return hop__task_of_node(r);
}

static struct hop__job *steal(struct hop__worker *w)
{
    struct hop__pool *pool = w->pool;
    int i, n = pool->nworkers, start;

    w->random = w->random * 1664525u + 1013904223u;
    start = (int)((w->random >> 16) % (unsigned)n);
    for (i = 0; i < n; i++) {
        struct hop__worker *victim = &pool->workers[(start + i) % n];
        struct hop__job *job = victim == w ? NULL : hop__deque_steal_thief(&victim->deque, NULL);

        if (job) {
            count(&w->steals);
            return job;
        }
    }
    return NULL;
}

static bool on_bench(struct hop__worker *w)
{
    return w->id >= hop__load(&w->pool->active, relaxed);
}

static bool find(struct hop__worker *w, struct find *f)
{
    struct hop__pool *pool = w->pool;

    f->job = NULL;
    f->task = next_returned(w);
    if (f->task)
        return true;
    if (on_bench(w))
        return false;
    if (__builtin_expect(hop__load(&pool->overflow, relaxed) > 0, 0))
        refill(pool);
    if (hop__ring_pop(&pool->ring, &f->work))
        return true;
    f->job = steal(w);
    return f->job != NULL;
}

static void run(struct hop__worker *w, struct find *f)
{
    hop__worker_becomes_busy(w);
    if (f->task) {
        hop__task_run(f->task);
    } else if (f->job) {
        hop__job_run(w, f->job);
    } else {
        count(&w->jobs); /* before its future is: who awaited it finds it counted */
        if (f->work.fn)
            hop__work_run(&f->work);
        else
            hop__task_run(f->work.arg);
    }
}

/* --- waking and sleeping --- */

void hop__pool_wake_one(struct hop__pool *pool)
{
    int id = hop__idle_choose(&pool->idle, pool->nworkers);

    if (id >= 0)
        hop__unpark(&pool->workers[id].park);
}

static bool work_in_sight(struct hop__pool *pool)
{
    int i;

    if (hop__ring_ready(&pool->ring) || hop__load(&pool->overflow, relaxed))
        return true;
    for (i = 0; i < pool->nworkers; i++)
        if (hop__deque_ready(&pool->workers[i].deque))
            return true;
    return false;
}

/*
 * A hint that all workers come to agree on: only the owner empties the inbox, and he does it outside of the region,
 * whose barriers keep a worker of the next one from seeing what was there before.
 */
static bool team_wanted(struct hop__pool *pool)
{
    return hop__inbox_ready(&pool->team_inbox) || hop__load(&pool->team_left, relaxed);
}

static bool must_leave(struct hop__pool *pool)
{
    return team_wanted(pool) || hop__load(&pool->stop, acquire);
}

/* True: woken, or not asleep at all, with a searcher's place. */
static bool sleep_on(struct hop__worker *w)
{
    struct hop__pool *pool = w->pool;
    bool bench = on_bench(w);
    uint32_t key;

    if (!bench)
        hop__idle_enlist(&pool->idle, w->id);
    key = hop__park_prepare(&w->park);
    if (must_leave(pool) || hop__inbox_ready(&w->inbox) || bench != on_bench(w) ||
        (!bench && (hop__idle_chosen(&pool->idle, w->id) || work_in_sight(pool)))) {
        hop__park_cancel(&w->park, key);
    } else {
        count(&w->parks);
        hop__park_wait(&w->park, key);
    }
    return bench ? false : hop__idle_delist(&pool->idle, w->id);
}

/* Gives up a searcher's place; whoever was the last and leaves work behind wakes the next. */
static void stop_searching(struct hop__pool *pool)
{
    if (hop__idle_stop_search(&pool->idle) && work_in_sight(pool))
        hop__pool_wake_one(pool);
}

/* At most half of the workers search. */
static bool start_searching(struct hop__pool *pool)
{
    return hop__idle_start_search(&pool->idle, (hop__load(&pool->active, relaxed) + 1) / 2);
}

/* With a searcher's place. True: found, and the place is given up. */
static bool search(struct hop__worker *w, struct find *f)
{
    struct hop__pool *pool = w->pool;
    hop_ns until = pool->runtime->config.no_spin ? 0 : hop__now() + hop__wake_cost;
    bool found;

    do {
        found = find(w, f);
        hop__pause();
    } while (!found && !must_leave(pool) && hop__now() < until);
    stop_searching(pool);
    return found;
}

/* --- the budget, looked at while there is work --- */

static void read_budget(struct hop__pool *pool)
{
    int width;

    if (pool->runtime->config.workers || pthread_mutex_trylock(&pool->budget_lock))
        return;
    hop__budget_reread(&pool->budget, &pool->budget_files, hop__topology_cpus(pool->topology));
    width = pool->budget.width < pool->nworkers ? pool->budget.width : pool->nworkers;
    if (width != hop__load(&pool->active, relaxed)) {
        hop__store(&pool->active, width, relaxed);
        hop__store(&pool->load->width, width, relaxed);
        wake_all(pool);
    }
    pthread_mutex_unlock(&pool->budget_lock);
}

static void pin(struct hop__worker *w)
{
    int rc;

    if (w->pool->runtime->config.no_pin)
        return;
    rc = hop__topology_pin(w->pool->topology, &w->place);
    if (rc < 0)
        hop__store(&w->pool->pin_error, rc, relaxed);
}

static void look_around(struct hop__worker *w)
{
    hop_ns now;

    w->steps = 0;
    now = hop__now();
    if (now - w->looked < look_interval)
        return;
    w->looked = now;
    read_budget(w->pool);
    if (!w->pool->runtime->config.no_pin && hop__topology_pinned(w->pool->topology, &w->place) == 0)
        pin(w); /* the host took it away */
}

/* --- the two modes --- */

static _Thread_local struct hop__worker *seat; /* whose thread this has been made; an OpenMP runtime may change it */

static void take_seat(struct hop__worker *w)
{
    int rc;

    hop__qos_save(&w->saved);
    rc = hop__qos_apply_worker(w->pool->qos);
    if (rc < 0)
        hop__store(&w->pool->qos_error, rc, relaxed);
    pin(w);
    hop__overflow_stack_open();
    seat = w;
}

/* The OpenMP runtime keeps the thread for others: it gets back what it had, as far as that is permitted. */
static void leave_seat(struct hop__worker *w)
{
    hop__overflow_stack_close();
    hop__topology_unpin(w->pool->topology);
    hop__qos_restore(&w->saved);
    hop__thread_leave();
    seat = NULL;
}

static void begin_task_mode(struct hop__worker *w)
{
    if (seat != w)
        take_seat(w);
    hop__thread_join(&w->executor);
    hop__self()->worker = w;
}

/* Between the modes the thread is the team's: calls of hop there compute in place and do not wait. */
static void end_task_mode(struct hop__worker *w)
{
    struct hop__thread *self = hop__self();

    hop__worker_becomes_idle(w);
    self->worker = NULL;
    self->executor = &w->pool->team;
    if (hop__load(&w->pool->stop, acquire))
        leave_seat(w);
}

/* At a scheduling point: whether to go. With work at hand a worker stays until task mode has had its slice. */
static bool leaves(struct hop__worker *w)
{
    struct hop__pool *pool = w->pool;
    bool has_work = w->returned || hop__inbox_ready(&w->inbox) || (!on_bench(w) && work_in_sight(pool));

    if (hop__load(&pool->stop, acquire))
        return !has_work;
    if (!team_wanted(pool))
        return false;
    return !has_work || hop__now() >= hop__load(&pool->task_mode_until, relaxed);
}

void hop__worker_main(struct hop__worker *w)
{
    struct hop__pool *pool = w->pool;
    struct find f;
    bool place = false; /* a searcher's */

    begin_task_mode(w);
    for (;;) {
        if (__builtin_expect(must_leave(pool), 0) && leaves(w))
            break;
        if (place ? search(w, &f) : find(w, &f)) {
            place = false;
            run(w, &f);
            if (++w->steps >= 64)
                look_around(w);
            continue;
        }
        hop__worker_becomes_idle(w);
        if (must_leave(pool)) {
            place = false; /* given up by the search, if there was one */
        } else if (place) { /* searched in vain */
            place = sleep_on(w);
            look_around(w);
        } else if (!(place = start_searching(pool))) {
            place = sleep_on(w);
        }
    }
    if (place)
        stop_searching(pool);
    end_task_mode(w);
}

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
    count(&pool->team_turns);
    hop__fetch_add(&pool->load->busy, pool->nworkers, relaxed);
    while ((t = next_team_task(pool))) {
        hop__team_before_block(pool);
        hop__task_run(t);
        if (hop__now() - start >= team_slice)
            break;
    }
    relieve(pool->load, pool->nworkers);
    hop__store(&pool->team_left, pool->team_waiting != NULL, relaxed);
    hop__store(&pool->task_mode_until, hop__now() - start >= team_slice ? hop__now() + team_slice : 0, relaxed);
}

/* --- birth and end --- */

static void *owner_main(void *arg)
{
    struct hop__pool *pool = arg;

    hop__overflow_stack_open();
    hop__team_run(pool);
    hop__overflow_stack_close();
    return NULL;
}

static void init_workers(struct hop__pool *pool, const struct hop__place *places)
{
    int i;

    for (i = 0; i < pool->nworkers; i++) {
        struct hop__worker *w = &pool->workers[i];

        hop__deque_init(&w->deque, w->items);
        w->pool = pool;
        w->id = i;
        w->random = (uint32_t)i * 2654435761u + 1;
        w->place = places[i];
        w->executor = (struct hop__executor){
            .ops = &worker_ops, .runtime = pool->runtime, .place = HOP_CPU, .index = i
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

/* What the machine and the process allow: width, places, policy. */
static int look_at_machine(struct hop__pool *pool)
{
    hop_config *config = &pool->runtime->config;
    int rc = hop__topology_open(&pool->topology);

    if (rc < 0)
        return rc;
    hop__budget_find(&pool->budget_files, "");
    hop__budget_reread(&pool->budget, &pool->budget_files, hop__topology_cpus(pool->topology));
    pool->qos = hop__qos_choose(asked_profile(config->qos), hop__budget_own_cgroup(""), pool->qos_why);
    /* One worker for each CPU, so that a quota that grows finds them; those beyond the budget stay on the bench. */
    pool->nworkers = config->workers ? config->workers : hop__topology_cpus(pool->topology);
    if (pool->nworkers > HOP__WORKERS_MAX)
        pool->nworkers = HOP__WORKERS_MAX;
    if (hop__topology_cpus(pool->topology) < 2 || pool->nworkers > hop__topology_cpus(pool->topology))
        config->no_spin = 1; /* it would take the CPU from what it waits for */
    hop__init(&pool->active, config->workers ? pool->nworkers : pool->budget.width);
    if (hop__load(&pool->active, relaxed) > pool->nworkers)
        hop__store(&pool->active, pool->nworkers, relaxed);
    return 0;
}

static int allocate(struct hop__pool *pool)
{
    uint64_t n = power_of_two(pool->runtime->config.queue);
    struct hop__place *places = calloc((size_t)pool->nworkers, sizeof *places);
    void *workers = NULL;
    int rc = -ENOMEM;

    pool->cells = calloc(n, sizeof *pool->cells);
    if (!places || !pool->cells ||
        posix_memalign(&workers, HOP__CACHE_LINE, (size_t)pool->nworkers * sizeof(struct hop__worker)))
        goto out;
    pool->workers = memset(workers, 0, (size_t)pool->nworkers * sizeof(struct hop__worker));
    rc = hop__topology_places(pool->topology, places, pool->nworkers);
    if (rc < 0)
        goto out;
    hop__ring_init(&pool->ring, pool->cells, n);
    init_workers(pool, places);
    rc = 0;
out:
    free(places);
    return rc;
}

static void deallocate(struct hop__pool *pool)
{
    hop__topology_close(pool->topology);
    pthread_mutex_destroy(&pool->overflow_lock);
    pthread_mutex_destroy(&pool->budget_lock);
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
    pool->any = (struct hop__executor){ .ops = &any_ops, .runtime = rt, .place = HOP_CPU, .index = -1 };
    pool->team = (struct hop__executor){ .ops = &team_ops, .runtime = rt, .place = HOP_TEAM, .index = -1 };
    pool->overflow_last = &pool->overflow_first;
    pthread_mutex_init(&pool->overflow_lock, NULL);
    pthread_mutex_init(&pool->budget_lock, NULL);
    rc = hop__team_prepare();
    if (!rc)
        rc = look_at_machine(pool);
    if (!rc)
        rc = allocate(pool);
    if (!rc) {
        hop__init(&rt->load.width, hop__load(&pool->active, relaxed));
        rc = -pthread_create(&pool->owner, NULL, owner_main, pool);
    }
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
    wake_all(pool);
    pthread_join(pool->owner, NULL);
    deallocate(pool);
}

void hop__pool_describe(struct hop__pool *pool, FILE *out)
{
    int error = hop__load(&pool->pin_error, relaxed), policy = hop__load(&pool->qos_error, relaxed);

    hop__topology_describe(pool->topology, out);
    pthread_mutex_lock(&pool->budget_lock);
    fprintf(out, "budget: %d of %d CPUs, %s\n", pool->budget.width, pool->budget.cpus, pool->budget.source);
    pthread_mutex_unlock(&pool->budget_lock);
    fprintf(out, "workers: %d active of %d, %s, %s\n", hop__load(&pool->active, relaxed), pool->nworkers,
            hop__team_provider(),
            pool->runtime->config.no_pin ? "not pinned (no_pin)"
                                         : error ? "not pinned (the kernel refused)" : "pinned");
    fprintf(out, "quality of service: %s, %s%s%s\n", hop__qos_name(pool->qos), pool->qos_why,
            policy ? "; workers stay ordinary: " : "", policy ? strerror(-policy) : "");
    fprintf(out, "wake-up: %lld ns, %s\n", (long long)hop__wake_cost,
            hop__membarrier_missing ? "no membarrier: full fences" : "fences by membarrier");
}
