/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a worker does in task mode: finds work and runs it, searches, sleeps, looks after its budget and its pin, and
 * leaves for team mode.
 *
 * A worker looks for work in this order: tasks that come back to it, the shared ring, other workers' deques. (Its own
 * deque is empty whenever it is here: what a job forks it also joins.) Finding nothing it searches for as long as a
 * wake-up would cost, at most half of the workers at a time, and then sleeps. Whom to wake, and how nobody sleeps
 * through work, is in idle.h.
 */
#include "config.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "bridge/offload.h"
#include "bridge/task.h"
#include "compute/pool.h"

static const hop_ns look_interval = 1 * HOP_SEC; /* between looks at the budget and the pin */

/* What a search found. */
struct find {
    struct hop__work work;  /* from the ring, if half and task are NULL */
    struct hop_half *half;
    struct hop__worker *victim; /* whose half it was */
    struct hop__task *task;
};

/* --- finding work --- */

static struct hop__task *next_returned(struct hop__worker *w)
{
    struct hop__runnable *r = w->returned ? w->returned : (w->returned = hop__inbox_take(&w->inbox));

    if (!r)
        return NULL;
    w->returned = r->next;
    return hop__task_of_node(r);
}

static bool steal(struct hop__worker *w, struct find *f)
{
    struct hop__pool *pool = w->pool;
    int i, n = pool->nworkers, start;

    w->random = w->random * 1664525u + 1013904223u;
    start = (int)((w->random >> 16) % (unsigned)n);
    for (i = 0; i < n; i++) {
        struct hop__worker *victim = &pool->workers[(start + i) % n];

        f->half = victim == w ? NULL : hop__deque_steal_thief(&victim->deque, NULL);
        if (f->half) {
            f->victim = victim;
            hop__count(&w->steals);
            return true;
        }
    }
    return false;
}

static bool on_bench(struct hop__worker *w)
{
    return w->id >= hop__load(&w->pool->active, relaxed);
}

static bool find(struct hop__worker *w, struct find *f)
{
    struct hop__pool *pool = w->pool;

    f->half = NULL;
    f->task = next_returned(w);
    if (f->task)
        return true;
    if (on_bench(w))
        return false;
    if (__builtin_expect(hop__load(&pool->overflow, relaxed) > 0, 0))
        hop__pool_refill(pool);
    if (!hop__ring_pop(&pool->ring, &f->work))
        return steal(w, f);
    hop__load_took(pool->load);
    return true;
}

static void run(struct hop__worker *w, struct find *f)
{
    if (f->task) {
        hop__task_run(f->task);
    } else if (f->half) {
        hop__half_run(w, f->half, f->victim);
    } else {
        hop__count(&w->jobs); /* before its future is: who awaited it finds it counted */
        if (f->work.fn)
            hop__work_run(&f->work);
        else
            hop__task_run(f->work.arg);
    }
}

/* --- waking and sleeping --- */

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

    if (!bench) {
        hop__idle_enlist(&pool->idle, w->id);
        hop__load_relieve(pool->load);
    }
    key = hop__park_prepare(&w->park);
    if (must_leave(pool) || hop__inbox_ready(&w->inbox) || bench != on_bench(w) ||
        (!bench && (hop__idle_chosen(&pool->idle, w->id) || work_in_sight(pool)))) {
        hop__park_cancel(&w->park, key);
    } else {
        hop__count(&w->parks);
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
    if (!hop__idle_start_search(&pool->idle, (hop__load(&pool->active, relaxed) + 1) / 2))
        return false;
    hop__load_relieve(pool->load);
    return true;
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

/* The CPUs that the masks of the workers' threads name together. */
static int cpus_now(struct hop__pool *pool)
{
    int threads[HOP__WORKERS_MAX], i;

    for (i = 0; i < pool->nworkers; i++)
        threads[i] = hop__load(&pool->workers[i].tid, relaxed);
    return hop__topology_cpus_of(pool->topology, threads, pool->nworkers);
}

static void read_budget(struct hop__pool *pool)
{
    if (pthread_mutex_trylock(&pool->budget_lock))
        return;
    hop__budget_reread(&pool->budget, &pool->budget_files, cpus_now(pool));
    if (hop__pool_obey_budget(pool))
        hop__pool_wake_all(pool);
    pthread_mutex_unlock(&pool->budget_lock);
}

static void pin(struct hop__worker *w)
{
    int rc;

    if (!hop__load(&w->pool->pins, relaxed))
        return;
    rc = hop__topology_pin(w->pool->topology, &w->place);
    if (rc < 0)
        hop__store(&w->pool->pin_error, rc, relaxed);
}

/*
 * A host that rewrites the cpuset, or taskset, gives this thread another mask. If that has our CPU we are pinned there
 * again, always within what we were given. If not, the mask is left as it is: where the kernel has put us is where we
 * may run, and when the CPU comes back the kernel puts it into the mask again, which is how we know.
 */
static void keep_pin(struct hop__worker *w)
{
    int is;

    if (w->pool->runtime->config.no_pin)
        return;
    is = hop__topology_pinned(w->pool->topology, &w->place);
    if (is == 0)
        pin(w);
    else if (is == 1 && !hop__load(&w->pool->pins, relaxed))
        hop__topology_unpin(w->pool->topology);
    hop__store(&w->displaced, is == -EXDEV, relaxed);
}

static void look_around(struct hop__worker *w)
{
    hop_ns now = hop__now();

    /* Long jobs are counted one by one, so that a look is not 64 of them late. */
    w->stride = now - w->stepped > w->steps * HOP_MS ? 1 : 64;
    w->steps = 0;
    w->stepped = now;
    if (now - w->looked < look_interval)
        return;
    w->looked = now;
    read_budget(w->pool);
    keep_pin(w);
}

void hop__worker_ask_quota(struct hop__worker *w)
{
    struct timespec used;
    hop_ns now = hop__now(), until;
    uint32_t key;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    until = now + hop__pace_ask(&w->pool->pace, now, (hop_ns)used.tv_sec * HOP_SEC + used.tv_nsec);
    if (until > now)
        hop__count(&w->pauses);
    while (until > hop__now()) {
        key = hop__park_prepare(&w->park);
        if (must_leave(w->pool))
            until = now;
        else
            hop__futex_wait(&w->park.word, key, until);
        hop__park_cancel(&w->park, key);
    }
    w->paced = hop__ticks();
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
    hop__overflow_guard_open();
    hop__store(&w->tid, (int)syscall(SYS_gettid), relaxed);
    seat = w;
    if (w->seated)
        return;
    w->seated = true;
    if (hop__fetch_sub(&w->pool->unseated, 1, release) == 1) /* S1: what was found here; pairs with S2 in pool.c */
        hop__futex_wake(&w->pool->unseated);
}

/* The OpenMP runtime keeps the thread for others: it gets back what it had, as far as that is permitted. */
static void leave_seat(struct hop__worker *w)
{
    hop__overflow_stack_close();
    if (!w->pool->runtime->config.no_pin)
        hop__topology_unpin(w->pool->topology);
    hop__qos_restore(&w->saved);
    hop__thread_leave();
    seat = NULL;
    hop__fetch_add(&w->pool->gone, 1, relaxed);
}

static void begin_task_mode(struct hop__worker *w)
{
    if (seat != w)
        take_seat(w);
    hop__load_resume(w->pool->load, 1);
    hop__thread_join(&w->executor);
    w->thread = hop__self();
    w->thread->worker = w;
}

/* Between the modes the thread is the team's: calls of hop there compute in place and do not wait. */
static void end_task_mode(struct hop__worker *w)
{
    struct hop__thread *self = hop__self();

    hop__load_rest(w->pool->load, 1);
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
            hop__worker_keep_pace(w);
            if (++w->steps >= w->stride)
                look_around(w);
            continue;
        }
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
