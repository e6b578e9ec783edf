/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop: its turn, and turning a base of its own. What wakes it, and an attached base, is in base.c. One turn:
 *
 *     take the inbox whole, run it in order      what other threads have sent
 *     advance the wheel                          what is due
 *     run ready tasks, at most BUDGET of them    so that completions cannot starve sockets
 *     libevent                                   if there is more to do without blocking, and only if it was not asked
 *                                                just now; otherwise announce the sleep in the inbox, which looks once
 *                                                more, and block
 *
 * What the loop's own thread posts goes to a list beside the inbox, without an atomic and without a bell.
 *
 * Moderation: while every worker computes, a loop on a base of its own waits out the rest of moderate_ns after a turn
 * that ran something, so that one wake-up serves several requests (bridge/load.h).
 */
#include "config.h"

#include "async/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bridge/park.h"

enum { BUDGET = 128 };

static const hop_ns glance_interval = 10 * HOP_US;

/* --- lists --- */

static void fifo_push(struct hop__fifo *list, struct hop__runnable *r)
{
    hop__set(&r->next, (struct hop__runnable *)NULL);
    if (list->first)
        hop__set(&list->last->next, r);
    else
        list->first = r;
    list->last = r;
}

static struct hop__runnable *fifo_pop(struct hop__fifo *list)
{
    struct hop__runnable *r = list->first;

    if (r)
        list->first = hop__get(&r->next);
    return r;
}

/* --- what others ask of a loop --- */

void hop__loop_ring(struct hop__loop *loop)
{
    const uint64_t one = 1;
    ssize_t n;

    do
        n = syscall(SYS_write, loop->bell, &one, sizeof one); /* write(2) is a point of cancellation */
    while (n < 0 && errno == EINTR);
}

static bool on_own_thread(const struct hop__loop *loop)
{
    return hop__self()->executor == &loop->executor;
}

bool hop__loop_is_mine(struct hop__loop *loop)
{
    return on_own_thread(loop) ||
           (!loop->own_base && pthread_equal(hop__load(&loop->thread, relaxed), pthread_self()));
}

/* A thread of the same runtime, which is joined before its loops are freed. */
static bool is_colleague(const struct hop__loop *loop)
{
    const struct hop__executor *mine = hop__self()->executor;

    return mine && mine->runtime == loop->executor.runtime;
}

static void push_and_ring(struct hop__loop *loop, struct hop__runnable *r)
{
    if (hop__inbox_push(&loop->inbox, r))
        hop__loop_ring(loop);
}

/*
 * What is pushed may be the last that the runtime waits for: a thread that is none of its own could then find the loop
 * gone when it rings. So those are counted, and the loop is not freed under their hands.
 */
static void post(struct hop__executor *executor, struct hop__runnable *r)
{
    struct hop__loop *loop = hop__loop_of(executor);

    if (on_own_thread(loop)) {
        fifo_push(&loop->posted, r);
    } else if (is_colleague(loop)) {
        push_and_ring(loop, r);
    } else {
        hop__fetch_add(&loop->strangers, 1, relaxed); /* the push below orders it for who takes what was pushed */
        push_and_ring(loop, r);
        hop__fetch_sub(&loop->strangers, 1, release); /* L1: the last touch; pairs with L2 in hop__loop_free */
    }
}

static void ready(struct hop__executor *executor, struct hop__task *t)
{
    fifo_push(&hop__loop_of(executor)->ready, &t->node);
}

static bool busy(struct hop__executor *executor)
{
    struct hop__loop *loop = hop__loop_of(executor);

    return hop__loop_has_work(loop) || hop__inbox_ready(&loop->inbox);
}

static void task_arrives(struct hop__runnable *node)
{
    struct hop__task *t = hop__task_of_node(node);

    ready(t->home, t); /* a task that enters a loop is at home there */
}

static void enter(struct hop__executor *executor, struct hop__task *t)
{
    if (on_own_thread(hop__loop_of(executor))) {
        ready(executor, t);
    } else {
        t->node.run = task_arrives;
        post(executor, &t->node);
    }
}

static void arm(struct hop__executor *executor, struct hop__timer *t, hop_ns when)
{
    hop__wheel_arm(&hop__loop_of(executor)->wheel, t, when);
}

static void disarm(struct hop__executor *executor, struct hop__timer *t)
{
    hop__wheel_disarm(&hop__loop_of(executor)->wheel, t);
}

const struct hop__executor_ops hop__loop_ops = {
    .enter = enter, .post = post, .ready = ready, .busy = busy, .arm = arm, .disarm = disarm,
};

/* --- a turn --- */

static void run_list(struct hop__loop *loop, struct hop__runnable *r)
{
    while (r) {
        struct hop__runnable *next = hop__get(&r->next);

        loop->ran++;
        r->run(r);
        r = next;
    }
}

void hop__loop_run_posted(struct hop__loop *loop)
{
    struct hop__runnable *list = loop->posted.first;

    loop->posted.first = NULL; /* what these post comes in the next round */
    run_list(loop, list);
}

/* From here on a push does not ring. What has come is run in this turn. */
void hop__loop_wake_up(struct hop__loop *loop)
{
    struct hop__runnable *r = hop__inbox_take(&loop->inbox);

    loop->asleep = false;
    while (r) {
        struct hop__runnable *next = hop__get(&r->next);

        fifo_push(&loop->posted, r);
        r = next;
    }
}

static void run_tasks(struct hop__loop *loop)
{
    struct hop__runnable *node;
    int left;

    hop__loop_run_posted(loop);
    for (left = BUDGET; left > 0 && (node = fifo_pop(&loop->ready)); left--) {
        loop->ran++;
        loop->immediate = 0;
        hop__task_run(hop__task_of_node(node));
        hop__loop_run_posted(loop); /* a task that this one has woken goes on in this turn, if the budget allows */
    }
}

void hop__loop_turn(struct hop__loop *loop)
{
    loop->turn_began = hop__now();
    hop__count(&loop->turns);
    loop->costs.kept = 0;
    hop__loop_wake_up(loop);
    hop__wheel_advance(&loop->wheel, loop->turn_began);
    run_tasks(loop);
}

/* --- turning an own base --- */

static void look(struct hop__loop *loop, int flags)
{
    if (event_base_loop(loop->base, flags) < 0) {
        fprintf(stderr, "hop: libevent cannot wait any more\n");
        abort();
    }
    loop->looked = hop__ticks();
}

/* There is something to run: events are looked at now and then, because each look is a system call. */
static void glance(struct hop__loop *loop)
{
    if (hop__span(loop->looked, hop__ticks()) > hop__ticks_in(glance_interval))
        look(loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static bool wants_moderation(struct hop__loop *loop)
{
    const struct hop_runtime *rt = loop->executor.runtime;

    return rt->config.moderate_ns > 0 && rt->config.qos != HOP_QOS_OFF;
}

static void moderate(struct hop__loop *loop)
{
    struct hop__load *load = &loop->executor.runtime->load;
    hop_ns end = hop__after(loop->turn_began, loop->executor.runtime->config.moderate_ns);
    unsigned ran = loop->ran;

    loop->ran = 0;
    if (ran && wants_moderation(loop) && hop__load_saturated(load) && hop__load_await_relief(load, end))
        hop__count(&loop->moderated);
}

/*
 * Ski rental: a loop whose last sleep was ended by an answer, sooner than the sleep itself was worth, spins for the
 * next one; on the CPU of a worker that sleeps, because there is one for each CPU, and not when a block waits for all.
 */
static bool worth_spinning(const struct hop__loop *loop)
{
    const struct hop_runtime *rt = loop->executor.runtime;

    return loop->quick && !rt->config.no_spin && hop__load(rt->load.sleepers, relaxed) > 0 &&
           !hop__load(&rt->load.team, relaxed);
}

static bool spin(struct hop__loop *loop)
{
    hop_ns end = hop__now() + hop__wake_cost;
    int i;

    do {
        for (i = 0; i < 16; i++) { /* the rest is what others write, and waits to be read by us */
            if (hop__inbox_ready(&loop->inbox))
                return true;
            hop__pause();
        }
    } while (worth_spinning(loop) && hop__now() < end);
    loop->quick = false;
    return false;
}

static void wait_for_events(struct hop__loop *loop)
{
    hop_ns since;

    if ((worth_spinning(loop) && spin(loop)) || !hop__inbox_sleep(&loop->inbox)) {
        glance(loop);
        return;
    }
    loop->asleep = true;
    hop__loop_set_alarm(loop);
    since = hop__now();
    look(loop, EVLOOP_ONCE);
    loop->quick = hop__inbox_ready(&loop->inbox) && hop__now() - since < 4 * hop__wake_cost;
}

static void turn_until(struct hop__loop *loop, const hop__atomic(int) *until)
{
    while (!hop__load(until, acquire)) {
        hop__loop_turn(loop);
        if (hop__loop_has_work(loop)) {
            glance(loop);
        } else if (!hop__load(until, relaxed)) { /* a task of this turn may have set it, and nobody rings then */
            moderate(loop);
            wait_for_events(loop);
        }
    }
}

void hop__loop_run(struct hop__loop *loop, const hop__atomic(int) *until)
{
    struct hop_runtime *rt = loop->executor.runtime;

    if (loop->hooks.thread_begins)
        loop->hooks.thread_begins(rt);
    hop__store(&loop->thread, pthread_self(), relaxed);
    hop__thread_join(&loop->executor);
    hop__overflow_stack_open();
    turn_until(loop, until);
    hop__overflow_stack_close();
    hop__thread_leave();
    if (loop->hooks.thread_ends)
        loop->hooks.thread_ends(rt);
}

/* --- threads --- */

int hop__start_thread(pthread_t *out, void *(*body)(void *), void *arg)
{
    static const int synchronous[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
    sigset_t blocked, before;
    size_t i;
    int rc;

    sigfillset(&blocked);
    for (i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
        sigdelset(&blocked, synchronous[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    rc = pthread_create(out, NULL, body, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

static void *loop_thread(void *arg)
{
    struct hop__loop *loop = arg;
    char name[16];

    snprintf(name, sizeof name, "hop-loop-%d", loop->executor.index);
    pthread_setname_np(pthread_self(), name);
    hop__loop_run(loop, &loop->stop);
    return NULL;
}

int hop__loop_start(struct hop__loop *loop)
{
    pthread_t thread;
    int rc = hop__start_thread(&thread, loop_thread, loop);

    loop->started = !rc;
    loop->joinable = thread;
    return rc;
}

void hop__loop_stop(struct hop__loop *loop)
{
    if (!loop->started)
        return;
    hop__store(&loop->stop, 1, release);
    hop__loop_ring(loop);
    pthread_join(loop->joinable, NULL);
    loop->started = false;
}
