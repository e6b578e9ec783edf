/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop. One turn:
 *
 *     take the inbox whole, run it in order      what other threads have sent
 *     advance the wheel                          what is due
 *     run ready tasks, at most BUDGET of them    so that completions cannot starve sockets
 *     libevent                                   not blocking if there is more to do; otherwise announce the sleep in
 *                                                the inbox, which looks once more, and block
 *
 * Two descriptors wake a sleeping loop: the bell, an eventfd that is written once by whoever finds the inbox asleep, and
 * the alarm, a timerfd that is set only when the wheel wants to be advanced earlier than it is set to (deadlines that
 * are armed and disarmed all the time then cost no system call; a timeout of libevent's would cost one every turn, or
 * be precise to a millisecond only). Both are edge-triggered, so nobody needs to read them.
 *
 * What the loop's own thread posts goes to a list beside the inbox, without an atomic and without a bell.
 *
 * An attached base is turned by its user, in event_base_dispatch. The same turn then runs inside our events: the bell,
 * the alarm, and a zero timeout that follows whenever one of our events has left work behind. libevent runs that timeout
 * in its next iteration, so that the user's own events are not starved. The thread is hop's only inside our events: in
 * the user's own callbacks it is a plain thread that can send to the loop like any other. Our two events are persistent,
 * so as long as the runtime lives event_base_dispatch does not return by itself: end it by event_base_loopbreak or
 * event_base_loopexit, as one does with any persistent event.
 *
 * Moderation: while every worker computes, a loop on a base of its own waits out the rest of moderate_ns after a turn
 * that ran something, so that one wake-up serves several requests. M1: it counts itself in load.moderated, then looks at
 * the load again; a worker that runs out of work first says so in the load, then looks at load.moderated (M2), and moves
 * load.relief. With a full fence between the two on each side one of them sees the other.
 */
#include "config.h"

#include "async/loop.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "async/fd.h"
#include "bridge/park.h"

enum { BUDGET = 128 };

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

static bool has_work(const struct hop__loop *loop)
{
    return loop->posted.first || loop->ready.first;
}

/* --- what others ask of a loop --- */

void hop__loop_ring(struct hop__loop *loop)
{
    const uint64_t one = 1;
    ssize_t n;

    do
        n = write(loop->bell, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

static bool on_own_thread(const struct hop__loop *loop)
{
    return hop__self()->executor == &loop->executor;
}

bool hop__loop_is_dispatching(const struct hop__loop *loop)
{
    return on_own_thread(loop);
}

bool hop__loop_is_mine(struct hop__loop *loop)
{
    return on_own_thread(loop) ||
           (!loop->own_base && pthread_equal(hop__load(&loop->thread, relaxed), pthread_self()));
}

static void post(struct hop__executor *executor, struct hop__runnable *r)
{
    struct hop__loop *loop = hop__loop_of(executor);

    if (on_own_thread(loop))
        fifo_push(&loop->posted, r);
    else if (hop__inbox_push(&loop->inbox, r))
        hop__loop_ring(loop);
}

static void ready(struct hop__executor *executor, struct hop__task *t)
{
    fifo_push(&hop__loop_of(executor)->ready, &t->node);
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

static const struct hop__executor_ops loop_ops = {
    .enter = enter, .post = post, .ready = ready, .arm = arm, .disarm = disarm,
};

/* --- a turn --- */

static void count(hop__atomic(uint64_t) *counter)
{
    hop__store(counter, hop__load(counter, relaxed) + 1, relaxed); /* one writer */
}

static void run_list(struct hop__loop *loop, struct hop__runnable *r)
{
    while (r) {
        struct hop__runnable *next = hop__get(&r->next);

        loop->ran++;
        r->run(r);
        r = next;
    }
}

static void run_posted(struct hop__loop *loop)
{
    struct hop__runnable *list = loop->posted.first;

    loop->posted.first = NULL; /* what these post comes in the next round */
    run_list(loop, list);
}

/* From here on a push does not ring. What has come is run in this turn. */
static void wake_up(struct hop__loop *loop)
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

    run_posted(loop);
    for (left = BUDGET; left > 0 && (node = fifo_pop(&loop->ready)); left--) {
        loop->ran++;
        loop->immediate = 0;
        hop__task_run(hop__task_of_node(node));
        run_posted(loop); /* a task that this one has woken goes on in this turn, if the budget allows */
    }
}

static void turn(struct hop__loop *loop)
{
    loop->turn_began = hop__now();
    count(&loop->turns);
    wake_up(loop);
    hop__wheel_advance(&loop->wheel, loop->turn_began);
    run_tasks(loop);
}

static void set_alarm(struct hop__loop *loop)
{
    hop_ns next = hop__wheel_next(&loop->wheel);
    struct itimerspec at = { { 0, 0 }, { 0, 0 } };

    if (next >= loop->alarm_at)
        return;
    loop->alarm_at = next;
    at.it_value = hop__timespec(next > 0 ? next : 1); /* zero would disarm it */
    timerfd_settime(loop->alarm, TFD_TIMER_ABSTIME, &at, NULL);
}

/* --- turning an own base --- */

static void look(struct hop__loop *loop, int flags)
{
    if (event_base_loop(loop->base, flags) < 0) {
        fprintf(stderr, "hop: libevent cannot wait any more\n");
        abort();
    }
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
    bool waited = false;
    uint32_t seen;

    loop->ran = 0;
    if (!ran || !wants_moderation(loop) || !hop__load_saturated(load))
        return;
    seen = hop__load(&load->relief, acquire);
    hop__fetch_add(&load->moderated, 1, seq_cst);
    hop__fence(seq_cst); /* M1, pairs with M2 */
    while (hop__load_saturated(load) && hop__load(&load->relief, acquire) == seen && hop__now() < end) {
        waited = true;
        hop__futex_wait(&load->relief, seen, end);
    }
    hop__fetch_sub(&load->moderated, 1, relaxed);
    if (waited)
        count(&loop->moderated);
}

/*
 * Ski rental: a loop whose last sleep was ended by an answer, sooner than the sleep itself was worth, spins for the
 * next one. Not while every core computes.
 */
static bool worth_spinning(const struct hop__loop *loop)
{
    struct hop_runtime *rt = loop->executor.runtime;

    return loop->quick && !rt->config.no_spin && !hop__load_saturated(&rt->load);
}

static bool spin(struct hop__loop *loop)
{
    hop_ns end = hop__now() + hop__wake_cost;

    do {
        if (hop__inbox_ready(&loop->inbox))
            return true;
        hop__pause();
    } while (worth_spinning(loop) && hop__now() < end);
    loop->quick = false;
    return false;
}

static void wait_for_events(struct hop__loop *loop)
{
    hop_ns since;

    if ((worth_spinning(loop) && spin(loop)) || !hop__inbox_sleep(&loop->inbox)) {
        look(loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        return;
    }
    loop->asleep = true;
    set_alarm(loop);
    since = hop__now();
    look(loop, EVLOOP_ONCE);
    loop->quick = hop__inbox_ready(&loop->inbox) && hop__now() - since < 4 * hop__wake_cost;
}

static void turn_until(struct hop__loop *loop, const hop__atomic(int) *until)
{
    while (!hop__load(until, acquire)) {
        turn(loop);
        if (has_work(loop)) {
            look(loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
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

/* --- our events, and an attached base --- */

static struct hop__loop_visit visit(struct hop__loop *loop)
{
    struct hop__thread *self = hop__self();
    struct hop__loop_visit before = { self->executor, self->runtime };

    if (self->executor != &loop->executor) {
        hop__thread_join(&loop->executor);
        hop__store(&loop->thread, pthread_self(), relaxed);
    }
    self->in_callback++;
    return before;
}

static void unvisit(struct hop__loop_visit before)
{
    struct hop__thread *self = hop__self();

    self->in_callback--;
    self->executor = before.executor;
    self->runtime = before.runtime;
}

static void ensure_turn(struct hop__loop *loop)
{
    static const struct timeval at_once = { 0, 0 };

    if (loop->turn_due)
        return;
    loop->turn_due = true;
    if (event_add(loop->turn_event, &at_once) < 0)
        hop__loop_ring(loop);
}

/* Before the thread goes back to the user's dispatch: a turn will follow, or the next push rings. */
static void settle(struct hop__loop *loop)
{
    if (has_work(loop) || !hop__inbox_sleep(&loop->inbox)) {
        ensure_turn(loop);
        return;
    }
    loop->asleep = true;
    set_alarm(loop);
}

struct hop__loop_visit hop__loop_callback_begin(struct hop__loop *loop)
{
    struct hop__loop_visit before = visit(loop);

    if (loop->asleep)
        wake_up(loop);
    loop->ran++;
    return before;
}

void hop__loop_callback_end(struct hop__loop *loop, struct hop__loop_visit before)
{
    if (!loop->own_base)
        settle(loop);
    unvisit(before);
}

static void attached_turn(struct hop__loop *loop)
{
    struct hop__loop_visit before = hop__loop_callback_begin(loop);

    turn(loop);
    hop__loop_callback_end(loop, before);
}

/* Without edges a descriptor that was not read would be reported for ever. */
static void drain(struct hop__loop *loop, int fd)
{
    uint64_t number;
    ssize_t n;

    if (!loop->edges)
        do
            n = read(fd, &number, sizeof number);
        while (n < 0 && errno == EINTR);
}

static void on_bell(evutil_socket_t fd, short what, void *arg)
{
    struct hop__loop *loop = arg;

    (void)what;
    drain(loop, fd);
    if (!loop->own_base) {
        loop->turn_due = false; /* it may have stood in for the turn event */
        attached_turn(loop);
    }
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
    struct hop__loop *loop = arg;

    (void)what;
    drain(loop, fd);
    loop->alarm_at = HOP_FOREVER;
    if (!loop->own_base)
        attached_turn(loop);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct hop__loop *loop = arg;

    (void)fd, (void)what;
    loop->turn_due = false;
    attached_turn(loop);
}

int hop__loop_poll(struct hop__loop *loop, hop_ns timeout)
{
    struct timeval at = { (time_t)(timeout / HOP_SEC), (suseconds_t)(timeout % HOP_SEC / HOP_US) };
    int rc;

    if (!loop->turn_due && event_add(loop->turn_event, &at) < 0)
        return -ENOMEM;
    rc = event_base_loop(loop->base, EVLOOP_ONCE);
    if (!loop->turn_due)
        event_del(loop->turn_event);
    return rc < 0 ? -EDEADLK : 0;
}

/* --- birth and death --- */

/*
 * libevent ends the process if it has no descriptors left for its signal pipe, and makes do with poll if it has none for
 * epoll. So we try first.
 */
static int probe_descriptors(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), pipes[2], rc;

    if (epoll < 0)
        return -errno;
    rc = pipe2(pipes, O_CLOEXEC) < 0 ? -errno : 0;
    if (!rc) {
        close(pipes[0]);
        close(pipes[1]);
    }
    close(epoll);
    return rc;
}

static int open_base(struct hop__loop *loop)
{
    struct event_config *config;
    int rc = probe_descriptors();

    if (rc < 0)
        return rc;
    config = event_config_new();
    if (!config)
        return -ENOMEM;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME | EVENT_BASE_FLAG_IGNORE_ENV);
    event_config_require_features(config, EV_FEATURE_ET);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    return loop->base ? 0 : -ENOMEM;
}

static int open_descriptors(struct hop__loop *loop)
{
    loop->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->bell < 0)
        return -errno;
    loop->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return loop->alarm < 0 ? -errno : 0;
}

static int open_events(struct hop__loop *loop)
{
    short kind = EV_READ | EV_PERSIST;

    loop->edges = event_base_get_features(loop->base) & EV_FEATURE_ET;
    if (loop->edges)
        kind |= EV_ET;
    loop->bell_event = event_new(loop->base, loop->bell, kind, on_bell, loop);
    loop->alarm_event = event_new(loop->base, loop->alarm, kind, on_alarm, loop);
    if (!loop->own_base)
        loop->turn_event = event_new(loop->base, -1, 0, on_turn, loop);
    if (!loop->bell_event || !loop->alarm_event || (!loop->own_base && !loop->turn_event))
        return -ENOMEM;
    return event_add(loop->bell_event, NULL) < 0 || event_add(loop->alarm_event, NULL) < 0 ? -ENOMEM : 0;
}

static int open_all(struct hop__loop *loop, struct event_base *attached)
{
    int rc = open_descriptors(loop);

    loop->base = attached;
    loop->own_base = !attached;
    if (!rc && !attached)
        rc = open_base(loop);
    if (!rc)
        rc = open_events(loop);
    return rc ? rc : hop__fd_loop_open(loop);
}

static void close_all(struct hop__loop *loop)
{
    if (loop->bell_event)
        event_free(loop->bell_event);
    if (loop->alarm_event)
        event_free(loop->alarm_event);
    if (loop->turn_event)
        event_free(loop->turn_event);
    if (loop->base && loop->own_base)
        event_base_free(loop->base);
    if (loop->bell >= 0)
        close(loop->bell);
    if (loop->alarm >= 0)
        close(loop->alarm);
    free(loop);
}

int hop__loop_new(struct hop__loop **out, struct hop_runtime *rt, int index, struct event_base *attached,
                  const struct hop__loop_hooks *hooks)
{
    struct hop__loop *loop = calloc(1, sizeof *loop);
    int rc;

    if (!loop)
        return -ENOMEM;
    loop->executor = (struct hop__executor){ &loop_ops, rt, HOP_LOOP, index };
    if (hooks)
        loop->hooks = *hooks;
    loop->bell = loop->alarm = -1;
    loop->alarm_at = HOP_FOREVER;
    hop__init(&loop->thread, pthread_self());
    hop__wheel_init(&loop->wheel, hop__now());
    rc = open_all(loop, attached);
    if (rc < 0) {
        close_all(loop);
        return rc;
    }
    if (attached) {
        hop__overflow_stack_open();
        loop->asleep = hop__inbox_sleep(&loop->inbox);
    }
    *out = loop;
    return 0;
}

void hop__loop_free(struct hop__loop *loop)
{
    struct hop__loop_visit before;

    if (!loop)
        return;
    before = visit(loop);
    hop__fd_loop_close(loop);
    do {
        wake_up(loop);
        run_posted(loop);
    } while (loop->posted.first);
    unvisit(before);
    if (!loop->own_base)
        hop__overflow_stack_close();
    close_all(loop);
}
