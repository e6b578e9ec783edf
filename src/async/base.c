/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The libevent side of a loop: what wakes it, attached bases, birth and death.
 *
 * Two descriptors wake a sleeping loop: the bell, an eventfd that is written once by whoever finds the inbox asleep,
 * and the alarm, a timerfd that is set only when the wheel wants to be advanced earlier than it is set to (deadlines
 * that are armed and disarmed all the time then cost no system call; a timeout of libevent's would cost one every
 * turn, or be precise to a millisecond only). Both are edge-triggered, so nobody needs to read them.
 *
 * An attached base is turned by its user, in event_base_dispatch. The same turn then runs inside our events: the
 * bell, the alarm, and a zero timeout that follows whenever one of our events has left work behind. libevent runs
 * that timeout in its next iteration, so that the user's own events are not starved. The thread is hop's only inside
 * our events: in the user's own callbacks it is a plain thread that can send to the loop like any other. Our two
 * events are persistent, so as long as the runtime lives event_base_dispatch does not return by itself: end it by
 * event_base_loopbreak or event_base_loopexit, as one does with any persistent event.
 */
#include "config.h"

#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "async/fd.h"
#include "async/loop.h"

void hop__loop_set_alarm(struct hop__loop *loop)
{
    hop_ns next = hop__wheel_next(&loop->wheel);
    struct itimerspec at = { { 0, 0 }, { 0, 0 } };

    if (next >= loop->alarm_at)
        return;
    loop->alarm_at = next;
    at.it_value = hop__timespec(next > 0 ? next : 1); /* zero would disarm it */
    timerfd_settime(loop->alarm, TFD_TIMER_ABSTIME, &at, NULL);
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
    return before;
}

static void unvisit(struct hop__loop_visit before)
{
    struct hop__thread *self = hop__self();

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
    if (hop__loop_has_work(loop) || !hop__inbox_sleep(&loop->inbox)) {
        ensure_turn(loop);
        return;
    }
    loop->asleep = true;
    hop__loop_set_alarm(loop);
}

struct hop__loop_visit hop__loop_callback_begin(struct hop__loop *loop)
{
    struct hop__loop_visit before = visit(loop);

    if (loop->asleep)
        hop__loop_wake_up(loop);
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

    hop__loop_turn(loop);
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
    if (hop__loop_is_inherited(loop))
        return;
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
    if (hop__loop_is_inherited(loop))
        return;
    drain(loop, fd);
    loop->alarm_at = HOP_FOREVER;
    if (!loop->own_base)
        attached_turn(loop);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct hop__loop *loop = arg;

    (void)fd, (void)what;
    if (hop__loop_is_inherited(loop))
        return;
    loop->turn_due = false;
    attached_turn(loop);
}

int hop__loop_poll(struct hop__loop *loop, hop_ns timeout)
{
    struct timeval at = { (time_t)(timeout / HOP_SEC), (suseconds_t)(timeout % HOP_SEC / HOP_US) };
    int flags = EVLOOP_ONCE, rc;

    if (!loop->turn_due && event_add(loop->turn_event, &at) < 0)
        flags |= EVLOOP_NONBLOCK; /* nothing would end a sleep in time */
    rc = event_base_loop(loop->base, flags);
    if (!loop->turn_due)
        event_del(loop->turn_event);
    return rc < 0 ? -EDEADLK : 0;
}

/* --- birth and death --- */

/*
 * libevent ends the process if it has no descriptors left for its signal pipe, and makes do with poll if it has none
 * for epoll; and it cannot go on if it may not wait. So we try first.
 */
static int probe_descriptors(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), pipes[2], rc;
    struct epoll_event ready;

    if (epoll < 0)
        return -errno;
    rc = epoll_wait(epoll, &ready, 1, 0) < 0 || pipe2(pipes, O_CLOEXEC) < 0 ? -errno : 0;
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
    const struct itimerspec off = { { 0, 0 }, { 0, 0 } };

    loop->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->bell < 0)
        return -errno;
    loop->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    /* Whether it may be set is not asked again. */
    return loop->alarm < 0 || timerfd_settime(loop->alarm, 0, &off, NULL) < 0 ? -errno : 0;
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
    errno = 0;
    if (event_add(loop->bell_event, NULL) < 0 || event_add(loop->alarm_event, NULL) < 0)
        return errno ? -errno : -ENOMEM;
    return 0;
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
    struct hop__loop *loop;
    void *memory;
    int rc;

    if (posix_memalign(&memory, HOP__CACHE_LINE, sizeof *loop))
        return -ENOMEM;
    loop = memset(memory, 0, sizeof *loop);
    loop->executor = (struct hop__executor){
        .ops = &hop__loop_ops, .runtime = rt, .place = HOP_LOOP, .index = index
    };
    if (!attached) /* an attached base has other things to do than somebody's jobs */
        loop->executor.costs = &loop->costs;
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
    while (hop__load(&loop->strangers, acquire)) /* L2 */
        sched_yield();
    before = visit(loop);
    hop__fd_loop_close(loop);
    do {
        hop__loop_wake_up(loop);
        hop__loop_run_posted(loop);
    } while (loop->posted.first);
    unvisit(before);
    if (!loop->own_base)
        hop__overflow_stack_close();
    close_all(loop);
}
