/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocking lane: tasks come in one queue, and each gets a thread of its own for as long as it stays.
 *
 * One thread more than are busy is kept waiting, as long as the limit allows: a thread that takes a task while nobody
 * else waits first starts its successor. So a task that comes finds a thread at once, and threads are started by
 * threads of the lane alone, which have the ordinary policy and affinity of the thread that made the lane; a loop or
 * a worker would hand its own on. They also have its signal mask, so that a process that is started from there is as
 * the program would start it. A thread that has waited for KEEP_ALIVE leaves, unless it is the last that waits.
 * The first one is started with the lane, so that the lane always has a thread and no task is ever refused; if more
 * cannot be had, the queue waits. But it may wait for a thread that blocks on what a task of the queue would do: so a
 * successor that could not be started is tried again while tasks wait, by the loop of the task that came, for the
 * threads of the lane are all away. (That loop outlives the attempt: the task has to come home to it first, and the
 * timer of a loop that has stopped never fires.)
 *
 * A task that leaves to wait, or for another block, will come back to the very thread (self->visiting), by that
 * thread's own executor, its seat. The thread keeps its place free meanwhile: it runs nothing else, since what it ran
 * could block on the one that is away. T1: the seat sleeps in its inbox like a loop; who finds it asleep moves the
 * futex "called".
 */
#include "config.h"

#include "async/blocking.h"

#include <signal.h>
#include <stdlib.h>

#include "async/loop.h"
#include "bridge/park.h"

static const hop_ns keep_alive = 5 * HOP_SEC;
static const hop_ns try_again = 10 * HOP_MS; /* to start a thread, while tasks wait for one */

struct seat {
    struct hop__executor executor; /* the first member: where a task that is away comes back to */
    struct hop__lane *lane;
    struct hop__inbox inbox;
    hop__atomic(uint32_t) called;
    pthread_t thread;
};

struct hop__lane {
    struct hop__executor executor; /* the first member */
    hop__atomic(int) threads;      /* written under the lock, read by anyone */
    int most;
    sigset_t mask;                 /* of the thread that made the lane */
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;  /* a task came, or the end */
    pthread_cond_t gone;  /* a thread left */
    struct hop__runnable *first, **last;
    int waiting;          /* threads */
    bool thin;            /* the last successor could not be started */
    bool helping;         /* a loop looks after that: helper is posted, or again is armed */
    struct hop__runnable helper;
    struct hop__timer again;
    bool stopping;
    struct seat *ended;   /* the last thread that left, to be joined by the next */
};

static struct hop__lane *lane_of(struct hop__executor *executor)
{
    return (struct hop__lane *)executor;
}

/* --- the seat --- */

static void enter_seat(struct hop__executor *executor, struct hop__task *t)
{
    struct seat *seat = (struct seat *)executor;

    if (hop__inbox_push(&seat->inbox, &t->node)) {
        hop__fetch_add(&seat->called, 1, release); /* T1: from here on the seat can be gone */
        hop__futex_wake(&seat->called);
    }
}

static const struct hop__executor_ops seat_ops = { .enter = enter_seat };

static struct hop__task *wait_for_return(struct seat *seat)
{
    struct hop__runnable *node;
    uint32_t seen;

    while (!(node = hop__inbox_take(&seat->inbox))) {
        seen = hop__load(&seat->called, relaxed);
        if (!hop__inbox_sleep(&seat->inbox))
            continue;
        while (hop__load(&seat->called, acquire) == seen)
            hop__futex_wait(&seat->called, seen, HOP_FOREVER);
    }
    return hop__task_of_node(node);
}

static void serve(struct seat *seat, struct hop__task *t)
{
    for (;;) {
        hop__task_run(t);
        if (!hop__self()->visiting)
            return;
        t = wait_for_return(seat);
    }
}

/* --- the lane --- */

static void *seat_main(void *arg);

/* Without the lock; the thread was counted already. */
static int start_thread(struct hop__lane *lane)
{
    struct seat *seat = calloc(1, sizeof *seat);
    int rc;

    if (!seat)
        return -ENOMEM;
    seat->executor = (struct hop__executor){
        .ops = &seat_ops, .runtime = lane->executor.runtime, .place = HOP_BLOCKING
    };
    seat->lane = lane;
    rc = hop__start_thread(&seat->thread, seat_main, seat);
    if (rc < 0)
        free(seat);
    return rc;
}

/* Under the lock, which is given up in between: before this thread goes off to block, another one waits. */
static void ensure_successor(struct hop__lane *lane)
{
    int rc;

    if (lane->waiting || hop__load(&lane->threads, relaxed) >= lane->most)
        return;
    hop__fetch_add(&lane->threads, 1, relaxed);
    pthread_mutex_unlock(&lane->lock);
    rc = start_thread(lane);
    pthread_mutex_lock(&lane->lock);
    if (rc < 0)
        hop__fetch_sub(&lane->threads, 1, relaxed);
    lane->thin = rc < 0;
}

/* On a loop. */
static void help(struct hop__lane *lane)
{
    struct hop__executor *loop = hop__self()->executor;

    pthread_mutex_lock(&lane->lock);
    if (lane->first)
        ensure_successor(lane);
    lane->helping = lane->first && lane->thin && !lane->waiting;
    if (lane->helping)
        loop->ops->arm(loop, &lane->again, hop__after(hop__now(), try_again));
    pthread_mutex_unlock(&lane->lock);
}

static void helper_arrives(struct hop__runnable *node)
{
    help((struct hop__lane *)((char *)node - offsetof(struct hop__lane, helper)));
}

static void time_to_help(struct hop__timer *timer)
{
    help((struct hop__lane *)((char *)timer - offsetof(struct hop__lane, again)));
}

/* Under the lock: until it is given up the task keeps its loop. */
static void call_for_help(struct hop__lane *lane, struct hop__executor *loop)
{
    if (!lane->thin || lane->waiting || lane->helping)
        return;
    lane->helping = true;
    loop->ops->post(loop, &lane->helper);
}

static void enter(struct hop__executor *executor, struct hop__task *t)
{
    struct hop__lane *lane = lane_of(executor);

    pthread_mutex_lock(&lane->lock);
    t->node.next = NULL;
    *lane->last = &t->node;
    lane->last = &t->node.next;
    pthread_cond_signal(&lane->work);
    call_for_help(lane, t->home);
    pthread_mutex_unlock(&lane->lock);
}

static const struct hop__executor_ops lane_ops = { .enter = enter };

static bool wait_for_work(struct hop__lane *lane)
{
    struct timespec until = hop__timespec(hop__after(hop__now(), keep_alive));
    bool in_time = true;

    while (!lane->first && !lane->stopping && (in_time || lane->waiting == 0)) {
        lane->waiting++;
        in_time = !pthread_cond_timedwait(&lane->work, &lane->lock, &until);
        lane->waiting--;
        if (!in_time && lane->waiting == 0)
            until = hop__timespec(hop__after(hop__now(), keep_alive)); /* somebody has to stay */
    }
    return lane->first;
}

/* Under the lock. NULL: the thread may go. */
static struct hop__task *next_task(struct hop__lane *lane)
{
    struct hop__runnable *node;

    if (!wait_for_work(lane))
        return NULL;
    node = lane->first;
    lane->first = node->next;
    if (!lane->first)
        lane->last = &lane->first;
    ensure_successor(lane);
    return hop__task_of_node(node);
}

static void join(struct seat *seat)
{
    if (!seat)
        return;
    pthread_join(seat->thread, NULL);
    free(seat);
}

static void *seat_main(void *arg)
{
    struct seat *seat = arg, *before;
    struct hop__lane *lane = seat->lane;
    struct hop__task *t;

    pthread_sigmask(SIG_SETMASK, &lane->mask, NULL);
    pthread_setname_np(pthread_self(), "hop-block");
    hop__thread_join(&seat->executor);
    hop__overflow_stack_open();
    pthread_mutex_lock(&lane->lock);
    while ((t = next_task(lane))) {
        pthread_mutex_unlock(&lane->lock);
        serve(seat, t);
        pthread_mutex_lock(&lane->lock);
    }
    before = lane->ended;
    lane->ended = seat;
    hop__fetch_sub(&lane->threads, 1, relaxed);
    pthread_cond_signal(&lane->gone);
    pthread_mutex_unlock(&lane->lock); /* the lane can be gone now, but for the lock of the join */
    join(before);
    hop__overflow_stack_close();
    hop__thread_leave();
    return NULL;
}

int hop__lane_new(struct hop__lane **out, struct hop_runtime *runtime)
{
    struct hop__lane *lane = calloc(1, sizeof *lane);
    pthread_condattr_t monotonic;
    int rc;

    if (!lane)
        return -ENOMEM;
    lane->executor = (struct hop__executor){ .ops = &lane_ops, .runtime = runtime, .place = HOP_BLOCKING };
    lane->most = runtime->config.blocking_threads > 0 ? runtime->config.blocking_threads : 1;
    lane->last = &lane->first;
    lane->helper.run = helper_arrives;
    lane->again.fire = time_to_help;
    pthread_sigmask(SIG_SETMASK, NULL, &lane->mask);
    pthread_mutex_init(&lane->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&lane->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&lane->gone, NULL);
    hop__init(&lane->threads, 1);
    rc = start_thread(lane);
    if (rc < 0) {
        hop__init(&lane->threads, 0);
        hop__lane_free(lane);
        return rc;
    }
    *out = lane;
    return 0;
}

void hop__lane_free(struct hop__lane *lane)
{
    if (!lane)
        return;
    pthread_mutex_lock(&lane->lock);
    lane->stopping = true;
    pthread_cond_broadcast(&lane->work);
    while (hop__load(&lane->threads, relaxed) > 0)
        pthread_cond_wait(&lane->gone, &lane->lock);
    pthread_mutex_unlock(&lane->lock);
    join(lane->ended); /* who joins the one before, and so on */
    pthread_cond_destroy(&lane->work);
    pthread_cond_destroy(&lane->gone);
    pthread_mutex_destroy(&lane->lock);
    free(lane);
}

struct hop__executor *hop__lane_executor(struct hop__lane *lane)
{
    return &lane->executor;
}

int hop__lane_threads(const struct hop__lane *lane)
{
    return hop__load(&lane->threads, relaxed);
}
