/* SPDX-License-Identifier: BSD-3-Clause */

/* Loops: turns, timers, fairness, posts from everywhere, moderation, and a base that belongs to the program. */
#include "harness.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "bridge/atomic.h"

static int settled_descriptors(int expected)
{
    struct timespec ms = { 0, 1000000 };

    for (int i = 0; i < 1000 && open_descriptors() != expected; i++)
        nanosleep(&ms, NULL);
    return open_descriptors();
}

static uint64_t turns(void)
{
    hop_stats stats;

    must_eq(hop_stats_read(&stats), 0);
    return stats.loop_turns;
}

/* --- time --- */

static int order[8], ordered;

static int sleeper(void *arg)
{
    hop_ns before = hop_now(), ns = hop_int(arg) * 5 * HOP_MS;

    must_eq(hop_sleep(ns), 0);
    must(hop_now() - before >= ns);
    order[ordered++] = hop_int(arg);
    return 0;
}

static int order_main(void *arg)
{
    static const int lengths[] = { 4, 1, 3, 2, 5 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (int i = 0; i < 5; i++)
        must_eq(hop_spawn(&scope, sleeper, hop_ptr(lengths[i]), NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    for (int i = 0; i < 5; i++)
        must_eq(order[i], i + 1);
    return 0;
}

START_TEST(sleep_order)
{
    run_main(order_main);
}
END_TEST

static int sleep_main(void *arg)
{
    (void)arg;
    must_eq(hop_sleep(0), 0);
    must_eq(hop_sleep(-1), 0);
    must_eq(hop_sleep(1), 0);
    hop_within(HOP_SEC * 60) {
        must_eq(hop_sleep(HOP_US), 0); /* its own end comes first */
    }
    hop_within(2 * HOP_MS) {
        must_eq(hop_sleep(HOP_FOREVER), -ETIMEDOUT);
        must_eq(hop_sleep(0), -ETIMEDOUT);
    }
    hop_on_cpu {
        int worker = hop_worker_index();

        must_eq(hop_sleep(HOP_MS), 0);
        must_eq(hop_worker_index(), worker);
    }
    return 0;
}

START_TEST(sleeping)
{
    hop_ns before = hop_now();

    ck_assert_int_eq(hop_sleep(2 * HOP_MS), 0); /* a plain thread */
    ck_assert(hop_now() - before >= 2 * HOP_MS);
    ck_assert_int_eq(hop_sleep(0), 0);
    run_main(sleep_main);
}
END_TEST

/* An idle loop does not turn. */
static int idle_main(void *arg)
{
    uint64_t before = 0;

    (void)arg;
    hop_within(3600 * HOP_SEC) { /* a deadline far away is no reason either */
        must_eq(hop_sleep(HOP_MS), 0);
        before = turns();
        must_eq(hop_sleep(300 * HOP_MS), 0);
    }
    must(turns() - before <= 8); /* the timer comes down level by level */
    return 0;
}

START_TEST(idle)
{
    run_main(idle_main);
}
END_TEST

/* --- fairness --- */

static int pair[2];
static hop__atomic(int) seen;

static bool was_seen(void)
{
    return hop__load(&seen, acquire) != 0;
}

static int see(void *arg)
{
    char c;

    (void)arg;
    must_eq(hop_read(pair[0], &c, 1), 1);
    hop__store(&seen, 1, release);
    return 0;
}

static int yield_until_seen(void *arg)
{
    (void)arg;
    while (!was_seen())
        must_eq(hop_yield(), 0);
    return 0;
}

/* Always ready, so that it never has to wait. */
static int read_until_seen(void *arg)
{
    char buffer[16];

    while (!was_seen())
        must_eq(hop_read(hop_int(arg), buffer, sizeof buffer), sizeof buffer);
    return 0;
}

static void *write_one(void *arg)
{
    (void)arg;
    must_eq(write(pair[1], "x", 1), 1);
    return NULL;
}

static int fair_main(void *arg)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    pthread_t writer;
    hop_scope scope;

    (void)arg;
    must_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (int i = 0; i < 3; i++)
        must_eq(hop_spawn(&scope, yield_until_seen, NULL, NULL), 0);
    must_eq(hop_spawn(&scope, see, NULL, NULL), 0);
    must_eq(hop_spawn(&scope, read_until_seen, hop_ptr(zero), NULL), 0);
    must_eq(hop_sleep(HOP_MS), 0);
    writer = start_thread(write_one, NULL);
    must_eq(hop_scope_close(&scope), 0);
    join_thread(writer);
    return hop_close(zero);
}

START_TEST(sockets_beside_busy_tasks)
{
    run_main(fair_main);
}
END_TEST

/* --- posts from everywhere --- */

enum { THREADS = 4, POSTS = 3000 };

static hop__atomic(int) ran;

static int note(void *arg)
{
    (void)arg;
    hop__fetch_add(&ran, 1, relaxed);
    return 0;
}

static void *spawn_many(void *arg)
{
    for (int i = 0; i < POSTS; i++)
        must_eq(hop_spawn(arg, note, NULL, NULL), 0);
    return NULL;
}

START_TEST(posts_from_threads)
{
    hop_runtime *rt;
    pthread_t threads[THREADS];

    ck_assert_int_eq(hop_runtime_new(&rt, &(hop_config){ .loops = 2, .drain_ns = 100 * HOP_SEC }), 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start_thread(spawn_many, hop_root(rt));
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    ck_assert_int_eq(hop_runtime_free(rt), 0);
    ck_assert_int_eq(hop__load(&ran, relaxed), THREADS * POSTS);
}
END_TEST

/* Tasks of several loops hand a ball round; every hand-over wakes another loop. */
static hop_channel *channels[3];

static int pass_on(void *arg)
{
    int me = hop_int(arg), ball = 0, rc;

    while ((rc = hop_channel_recv(channels[me], &ball)) == 1) {
        if (!ball--) { /* it ends here, and so does the game */
            for (int i = 0; i < 3; i++)
                must_eq(hop_channel_close(channels[i]), 0);
            return 0;
        }
        must_eq(hop_channel_send(channels[(me + 1) % 3], &ball), 0);
    }
    return rc;
}

static int ring_main(void *arg)
{
    int ball = 3000;
    hop_scope scope;

    (void)arg;
    for (int i = 0; i < 3; i++)
        must_eq(hop_channel_new(&channels[i], sizeof ball, 1), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (int i = 0; i < 3; i++)
        must_eq(hop_spawn(&scope, pass_on, hop_ptr(i), HOP_TASK(.loop = i + 1)), 0);
    must_eq(hop_channel_send(channels[0], &ball), 0);
    must_eq(hop_scope_close(&scope), 0);
    for (int i = 0; i < 3; i++)
        must_eq(hop_channel_free(channels[i]), 0);
    return 0;
}

START_TEST(between_loops)
{
    run_main_with(ring_main, NULL, &(hop_config){ .loops = 3 });
}
END_TEST

/* --- the threads of loops --- */

static int look_around(void *arg)
{
    sigset_t blocked;
    char name[16];

    (void)arg;
    must_eq(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    must_eq(sigismember(&blocked, SIGINT), 1);
    must_eq(sigismember(&blocked, SIGALRM), 1);
    must_eq(sigismember(&blocked, SIGSEGV), 0);
    must_eq(sigismember(&blocked, SIGFPE), 0);
    must_eq(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    must(!strcmp(name, "hop-loop-1"));
    must_eq(hop_here(), HOP_LOOP);
    return 0;
}

START_TEST(threads)
{
    hop_runtime *rt;
    sigset_t before, after;
    int threads_before = live_threads(), fds = open_descriptors();

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert_int_eq(hop_runtime_new(&rt, &(hop_config){ .loops = 2 }), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < NSIG; s++)
        must_eq(sigismember(&before, s), sigismember(&after, s));
    ck_assert_int_eq(hop_spawn(hop_root(rt), look_around, NULL, HOP_TASK(.loop = 2)), 0);
    ck_assert_int_eq(hop_runtime_free(rt), 0);
    ck_assert_int_le(settled_threads(threads_before), threads_before + TEST_SANITIZED); /* which has one of its own */
    ck_assert_int_eq(settled_descriptors(fds), fds);
}
END_TEST

/* However many descriptors there are: a runtime, or an error and nothing left behind. */
static int nothing_main(void *arg)
{
    (void)arg;
    return 0;
}

START_TEST(no_descriptors)
{
    struct rlimit was, now;
    int fds, alive = live_threads(), rc = -EMFILE;

    run_main(nothing_main); /* what libraries open once */
    settled_threads(alive);
    fds = open_descriptors();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = was;
    for (rlim_t n = 4; rc == -EMFILE; n++) {
        ck_assert_int_lt((int)n, 64);
        now.rlim_cur = n;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
        rc = hop_run(nothing_main, NULL, &(hop_config){ .loops = 2 });
        setrlimit(RLIMIT_NOFILE, &was);
        settled_threads(alive);
        ck_assert_int_eq(settled_descriptors(fds), fds);
    }
    ck_assert_int_eq(rc, 0);
}
END_TEST

/* --- moderation --- */

static hop__atomic(int) computing, stop_computing;

static int compute_until_told(void *arg)
{
    (void)arg;
    hop__store(&computing, 1, relaxed);
    while (!hop__load(&stop_computing, relaxed))
        hop__pause();
    return 0;
}

static uint64_t moderated(void)
{
    hop_stats stats;

    must_eq(hop_stats_read(&stats), 0);
    return stats.loop_moderated;
}

static int echo_turns(void *arg)
{
    char c;

    (void)arg;
    while (hop_read(pair[0], &c, 1) == 1)
        must_eq(hop_write(pair[0], &c, 1), 1);
    return 0;
}

static uint64_t moderated_while_computing(void)
{
    hop_future done = HOP_FUTURE_INIT;
    hop_scope scope;
    char c = 'x';

    hop__store(&computing, 0, relaxed);
    hop__store(&stop_computing, 0, relaxed);
    must_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_submit(&scope, &done, compute_until_told, NULL), 0);
    while (!hop__load(&computing, relaxed))
        must_eq(hop_sleep(HOP_MS), 0);
    must_eq(hop_spawn(&scope, echo_turns, NULL, NULL), 0);
    for (int i = 0; i < 200; i++) {
        must_eq(hop_write(pair[1], &c, 1), 1);
        must_eq(hop_read(pair[1], &c, 1), 1);
    }
    hop__store(&stop_computing, 1, relaxed);
    must_eq(hop_await(&done), 0);
    must_eq(hop_close(pair[1]), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_close(pair[0]), 0);
    return moderated();
}

static int moderate_main(void *arg)
{
    uint64_t n = moderated_while_computing();

    must(hop_int(arg) ? n > 0 : n == 0);
    return 0;
}

START_TEST(moderation)
{
    run_main_with(moderate_main, hop_ptr(1), &(hop_config){ .workers = 1 });
    run_main_with(moderate_main, hop_ptr(0), &(hop_config){ .workers = 1, .qos = HOP_QOS_OFF });
    run_main_with(moderate_main, hop_ptr(0), &(hop_config){ .workers = 1, .moderate_ns = -1 });
}
END_TEST

static int compute_a_little(void *arg)
{
    hop_ns end = hop_now() + 20 * HOP_MS;

    (void)arg;
    hop__store(&computing, 1, relaxed);
    while (hop_now() < end)
        ;
    return 0;
}

/* A moderated loop answers as soon as a worker has nothing to do: it would otherwise take an hour. */
static int relief_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        hop_future done = HOP_FUTURE_INIT;
        hop_scope scope;

        hop__store(&computing, 0, relaxed);
        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_submit(&scope, &done, compute_a_little, NULL), 0);
        while (!hop__load(&computing, relaxed))
            must_eq(hop_yield(), 0); /* a loop that has work does not wait */
        must_eq(hop_await(&done), 0);
        must_eq(hop_scope_close(&scope), 0);
    }
    must(moderated() > 0);
    return 0;
}

START_TEST(relief)
{
    run_main_with(relief_main, NULL, &(hop_config){ .workers = 1, .moderate_ns = 3600 * HOP_SEC });
}
END_TEST

/* --- a base of the program's --- */

struct program {
    struct event_base *base;
    struct event *timer;
    hop_runtime *rt;
    int ticks, done, fd;
};

static int work(void *arg)
{
    struct program *p = arg;
    char c;

    must_eq(hop_here(), HOP_LOOP);
    must_eq(hop_sleep(2 * HOP_MS), 0);
    hop_on_cpu must_eq(hop_here(), HOP_CPU);
    hop_on_blocking must_eq(hop_here(), HOP_BLOCKING);
    must_eq(hop_here(), HOP_LOOP);
    must_eq(hop_write(pair[1], "x", 1), 1);
    must_eq(hop_read(pair[0], &c, 1), 1);
    for (int i = 0; i < 500; i++)
        must_eq(hop_yield(), 0); /* more than a turn may run */
    p->done++;
    return 0;
}

static int wait_for_close(void *arg)
{
    struct program *p = arg;
    char c;

    must_eq(hop_read(p->fd, &c, 1), -EBADF);
    p->done++;
    event_base_loopbreak(p->base);
    return 0;
}

/* The program's own timer: its callback is a plain thread's code, on the loop's thread. */
static void tick(evutil_socket_t fd, short what, void *arg)
{
    struct program *p = arg;

    (void)fd, (void)what;
    must_eq(hop_here(), HOP_OUTSIDE);
    if (++p->ticks == 5)
        must_eq(hop_spawn(hop_root(p->rt), wait_for_close, p, NULL), 0);
    if (p->ticks > 5 && p->done == 3)
        must_eq(hop_close(p->fd), 0); /* at once: this thread may speak for the loop */
}

static struct event_base *make_base(const char *avoid)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    must(config);
    for (; avoid && *avoid; avoid += strlen(avoid) + 1)
        must_eq(event_config_avoid_method(config, avoid), 0);
    base = event_base_new_with_config(config);
    must(base);
    event_config_free(config);
    return base;
}

static void use_attached(struct event_base *base, int loops)
{
    struct timeval ms = { 0, 1000 };
    struct program p = { .base = base };
    int other[2], fds = open_descriptors();

    must_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    must_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    p.fd = other[0];
    p.timer = event_new(base, -1, EV_PERSIST, tick, &p);
    must_eq(event_add(p.timer, &ms), 0);
    must_eq(hop_runtime_new(&p.rt, &(hop_config){ .base = base, .loops = loops }), 0);
    for (int i = 0; i < 3; i++)
        must_eq(hop_spawn(hop_root(p.rt), work, &p, HOP_TASK(.loop = 1)), 0);
    must_eq(event_base_dispatch(base), 0);
    must_eq(p.done, 4);
    must(p.ticks > 5);
    event_free(p.timer);
    must_eq(hop_spawn(hop_root(p.rt), work, &p, HOP_TASK(.loop = 1)), 0); /* the shutdown turns the base for it */
    must_eq(hop_runtime_free(p.rt), 0);
    must_eq(p.done, 5);
    close(other[1]);
    close(pair[0]);
    close(pair[1]);
    must_eq(settled_descriptors(fds), fds);
    event_base_free(base);
}

START_TEST(attached)
{
    use_attached(make_base(NULL), 1);
    use_attached(make_base(NULL), 2);
}
END_TEST

START_TEST(attached_without_edges)
{
    use_attached(make_base("epoll\0"), 1);
    use_attached(make_base("epoll\0poll\0"), 1);
}
END_TEST

/* Another thread's posts wake the program's dispatch. */
static int break_dispatch(void *arg)
{
    event_base_loopbreak(arg);
    return 0;
}

struct poster {
    hop_scope *root;
    struct event_base *base;
};

static void *post_later(void *arg)
{
    struct poster *p = arg;

    spawn_many(p->root);
    must_eq(hop_spawn(p->root, break_dispatch, p->base, NULL), 0);
    return NULL;
}

START_TEST(attached_and_threads)
{
    struct event_base *base = make_base(NULL);
    struct poster p = { NULL, base };
    hop_runtime *rt;
    pthread_t thread;

    ck_assert_int_eq(hop_runtime_new(&rt, &(hop_config){ .base = base }), 0);
    p.root = hop_root(rt);
    for (int i = 0; i < 5; i++) {
        thread = start_thread(post_later, &p);
        ck_assert_int_eq(event_base_dispatch(base), 0);
        join_thread(thread);
    }
    ck_assert_int_eq(hop_runtime_free(rt), 0);
    ck_assert_int_eq(hop__load(&ran, relaxed), 5 * POSTS);
    event_base_free(base);
}
END_TEST

RUN_TESTS("loop", sleep_order, sleeping, idle, sockets_beside_busy_tasks, posts_from_threads, between_loops, threads,
          no_descriptors, moderation, relief, attached, attached_without_edges, attached_and_threads)
