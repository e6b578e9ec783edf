/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children of fork: born in every place of a running runtime, while its threads hold what they may hold, they get a
 * clear error from every call, never wait, may make a runtime of their own, and end with a line if they return to where
 * nobody is any more. The parent goes on unharmed.
 */
#include "config.h"

#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include <event2/event.h>

enum { CHILD_SECONDS = 15, FINE = 77, ROUNDS = 40 };

#if defined(__SANITIZE_THREAD__)
#define NO_THREADS_AFTER_FORK 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_THREADS_AFTER_FORK 1
#endif
#endif
#ifndef NO_THREADS_AFTER_FORK
#define NO_THREADS_AFTER_FORK 0
#endif

/* What the parent has when it forks. */
struct family {
    hop_runtime *runtime;
    hop_scope *scope;       /* open, of the main thread */
    hop_future *pending;    /* completed at the end */
    hop_future *done;
    hop_channel *channel;   /* a task of the parent's waits in it */
    int pipe[2];            /* and another one here, to read */
    atomic_int stop;
};

/* --- a child --- */

/* In the child: a hang ends it, though the thread may have been one of hop's, which block signals. */
static void begin_child(void)
{
    sigset_t none;

    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(CHILD_SECONDS);
}

static int status_of(pid_t pid)
{
    int status;

    must(pid > 0);
    must_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void must_be_fine(int status)
{
#ifdef __SANITIZE_ADDRESS__ /* its allocator (gcc 12) leaves a child the locks that other threads held, to wait for */
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        printf("a child came to no end: not told from one that met a lock of the sanitizer's\n");
        return;
    }
#endif
    must(WIFEXITED(status));
    must_eq(WEXITSTATUS(status), FINE);
}

static int body(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi, (void)arg;
    return 0;
}

static int fold(size_t lo, size_t hi, void *into, void *arg)
{
    (void)arg;
    *(long *)into += (long)(hi - lo);
    return 0;
}

static void combine(void *into, const void *from, void *arg)
{
    (void)arg;
    *(long *)into += *(const long *)from;
}

static int stage(void *slot, void *arg)
{
    (void)slot, (void)arg;
    return 0;
}

static void nothing_computes(struct family *f)
{
    long sum = 0;
    hop_scope scope;
    hop_stats stats;
    hop_stage stages[] = { { stage, HOP_SERIAL, NULL } };

    must_eq(hop_here(), HOP_OUTSIDE);
    must_eq(hop_worker_index(), -1);
    must_eq(hop_worker_count(), 0);
    must_eq(hop_offload(return_it, hop_ptr(1)), -EOWNERDEAD);
    must_eq(hop_offload_with(return_it, NULL, HOP_OFFLOAD(.runtime = f->runtime)), -EOWNERDEAD);
    must_eq(hop_offload_with(return_it, NULL, HOP_OFFLOAD(.place = HOP_POOL)), -EOWNERDEAD);
    must_eq(hop_submit(f->scope, NULL, return_it, NULL), -EOWNERDEAD);
    must_eq(hop_spawn(f->scope, return_it, NULL, NULL), -EOWNERDEAD);
    must_eq(hop_join(return_it, NULL, return_it, NULL), -EOWNERDEAD);
    must_eq(hop_parallel_for(0, 10, body, NULL, NULL), -EOWNERDEAD);
    must_eq(hop_parallel_reduce(0, 10, fold, combine, NULL, &sum, sizeof sum, NULL), -EOWNERDEAD);
    must_eq(hop_pipeline(stages, 1, &sum, 1, sizeof sum, NULL), -EWOULDBLOCK);
    must_eq(hop_scope_open(&scope), -EOWNERDEAD);
    must_eq(hop_scope_cancel(f->scope, -ECANCELED), -EOWNERDEAD);
    must_eq(hop_scope_close(f->scope), -EOWNERDEAD);
    must_eq(hop_runtime_use(f->runtime), -EOWNERDEAD);
    must_eq(hop_runtime_free(f->runtime), -EOWNERDEAD);
    must(!hop_root(f->runtime));
    must(!hop_root(NULL));
    must_eq(hop_stats_read(&stats), -EOWNERDEAD);
}

static void nothing_waits(struct family *f)
{
    hop_future own = HOP_FUTURE_INIT;
    hop_channel *channel;
    int item = 1;
    hop_case cases[] = { hop_on_recv(f->channel, &item), hop_on_after(HOP_SEC) };

    must_eq(hop_await(f->pending), -EOWNERDEAD);
    must_eq(hop_await_until(f->pending, hop_now() + HOP_SEC), -EOWNERDEAD);
    must_eq(hop_done(f->pending), 0);
    must_eq(hop_await(f->done), 5);
    must_eq(hop_await(&own), -EOWNERDEAD);
    must_eq(hop_complete(&own, 3), 0);
    must_eq(hop_await(&own), 3);
    must_eq(hop_channel_send(f->channel, &item), -EOWNERDEAD);
    must_eq(hop_channel_recv(f->channel, &item), -EOWNERDEAD);
    must_eq(hop_channel_try_send(f->channel, &item), -EOWNERDEAD);
    must_eq(hop_channel_try_recv(f->channel, &item), -EOWNERDEAD);
    must_eq(hop_channel_close(f->channel), -EOWNERDEAD);
    must_eq(hop_channel_free(f->channel), -EOWNERDEAD);
    must_eq(hop_select(cases, 2), -EOWNERDEAD);
    must_eq(hop_select(cases + 1, 1), -EOWNERDEAD);
    must_eq(hop_channel_new(&channel, sizeof item, 1), 0);
    must_eq(hop_channel_send(channel, &item), 0);
    must_eq(hop_channel_send(channel, &item), -EOWNERDEAD);
    must_eq(hop_channel_recv(channel, &item), 1);
    must_eq(hop_channel_recv(channel, &item), -EOWNERDEAD);
    must_eq(hop_channel_free(channel), 0);
    must_eq(hop_sleep(HOP_MS), -EOWNERDEAD);
    must_eq(hop_yield(), 0);
    must_eq(hop_cancelled(), 0);
}

static void nothing_reads(struct family *f)
{
    char c = 0;
    struct iovec iov = { &c, 1 };
    int fd;

    must_eq(hop_read(f->pipe[0], &c, 1), -EOWNERDEAD);
    must_eq(hop_readv(f->pipe[0], &iov, 1), -EOWNERDEAD);
    must_eq(hop_read_full(f->pipe[0], &c, 1), -EOWNERDEAD);
    must_eq(hop_write(f->pipe[1], &c, 1), -EOWNERDEAD);
    must_eq(hop_writev(f->pipe[1], &iov, 1), -EOWNERDEAD);
    must_eq(hop_write_full(f->pipe[1], &c, 1), -EOWNERDEAD);
    must_eq(hop_wait_fd(f->pipe[0], HOP_READABLE), -EOWNERDEAD);
    fd = hop_listen("tcp:127.0.0.1:0");
    must(fd >= 0);
    must_eq(hop_accept(fd), -EOWNERDEAD);
    must_eq(hop_dial("tcp:127.0.0.1:1"), -EOWNERDEAD);
    must_eq(hop_close(fd), 0);
    must_eq(hop_close(f->pipe[0]), 0); /* the child's; the parent's task waits on it */
    must_eq(hop_close(f->pipe[0]), -EBADF);
    must_eq(hop_close(f->pipe[1]), 0);
}

static void blocks_are_only_run(void)
{
    int n = 0;

    hop_on_cpu
        n++;
    hop_on_team
        n++;
    hop_on_blocking
        n++;
    hop_within(HOP_SEC)
        n++;
    hop_shield(HOP_SEC)
        n++;
    must_eq(n, 5);
}

static void describes(void)
{
    FILE *out = fopen("/dev/null", "w");

    must(out);
    must_eq(hop_describe(out), 0);
    fclose(out);
}

static int whole_program(void *arg)
{
    long sum = 0;

    must_eq(hop_sleep(HOP_MS), 0);
    must_eq(hop_parallel_reduce(0, 100000, fold, combine, NULL, &sum, sizeof sum, NULL), 0);
    must_eq(sum, 100000);
    hop_on_cpu
        must_eq(hop_here(), HOP_CPU);
    hop_on_team
        must_eq(hop_here(), HOP_TEAM);
    hop_on_blocking
        must_eq(hop_here(), HOP_BLOCKING);
    return hop_int(arg);
}

/* The child's own: what was the parent's stays dead beside it, and afterwards there is none again. */
static void a_runtime_of_its_own(struct family *f)
{
    hop_runtime *rt;
    int item = 1;

    if (NO_THREADS_AFTER_FORK)
        return;
    must_eq(hop_run(whole_program, hop_ptr(3), &(hop_config){ .workers = 2 }), 3);
    must_eq(hop_runtime_new(&rt, &(hop_config){ .workers = 2 }), 0);
    must_eq(hop_offload(return_it, hop_ptr(4)), 4);
    must_eq(hop_spawn(f->scope, return_it, NULL, NULL), -EOWNERDEAD);
    must_eq(hop_scope_close(f->scope), -EOWNERDEAD);
    must_eq(hop_channel_try_recv(f->channel, &item), -EOWNERDEAD);
    must_eq(hop_offload_with(return_it, NULL, HOP_OFFLOAD(.runtime = f->runtime)), -EINVAL);
    must_eq(hop_runtime_free(f->runtime), -EINVAL);
    must_eq(hop_runtime_free(rt), 0);
    must_eq(hop_offload(return_it, NULL), -ENODEV);
    must_eq(hop_sleep(HOP_MS), 0);
}

static int fork_here(void *arg)
{
    struct family *f = arg;
    pid_t pid = fork();

    if (!pid) {
        begin_child();
        nothing_computes(f);
        nothing_waits(f);
        nothing_reads(f);
        blocks_are_only_run();
        describes();
        a_runtime_of_its_own(f);
        end_child(FINE);
    }
    must_be_fine(status_of(pid));
    return 0;
}

/* --- a parent --- */

static int wait_in_channel(void *arg)
{
    struct family *f = arg;
    int item = 0;

    must_eq(hop_channel_recv(f->channel, &item), 1);
    return item == 9 ? 0 : -EPROTO;
}

static int wait_for_future(void *arg)
{
    struct family *f = arg;

    return hop_await(f->pending);
}

static int wait_in_pipe(void *arg)
{
    struct family *f = arg;
    char c = 0;

    must_eq(hop_read(f->pipe[0], &c, 1), 1);
    return c == 'x' ? 0 : -EPROTO;
}

/* Traffic of tasks, so that a fork meets locks that are held and lists that are being changed. */
static int traffic(void *arg)
{
    struct family *f = arg;
    hop_scope scope;
    int i;

    while (!atomic_load(&f->stop)) {
        must_eq(hop_scope_open(&scope), 0);
        for (i = 0; i < 4; i++) {
            must_eq(hop_spawn(&scope, return_it, NULL, NULL), 0);
            must_eq(hop_submit(&scope, NULL, return_it, NULL), 0);
        }
        must_eq(hop_parallel_for(0, 1000, body, NULL, NULL), 0);
        must_eq(hop_scope_close(&scope), 0);
    }
    return 0;
}

static void begin_family(struct family *f, hop_scope *scope, hop_future futures[2])
{
    int i;

    atomic_init(&f->stop, 0);
    must_eq(pipe2(f->pipe, O_CLOEXEC), 0);
    must_eq(hop_runtime_new(&f->runtime, &(hop_config){ .workers = 3, .loops = 2 }), 0);
    must_eq(hop_channel_new(&f->channel, sizeof(int), 0), 0);
    f->scope = scope;
    f->pending = &futures[0];
    f->done = &futures[1];
    memset(futures, 0, 2 * sizeof *futures);
    must_eq(hop_scope_open(scope), 0);
    must_eq(hop_complete(f->done, 5), 0);
    must_eq(hop_spawn(scope, wait_for_future, f, NULL), 0);
    must_eq(hop_spawn(scope, wait_in_channel, f, NULL), 0);
    must_eq(hop_spawn(scope, wait_in_pipe, f, NULL), 0);
    for (i = 0; i < 4; i++)
        must_eq(hop_spawn(scope, traffic, f, NULL), 0);
}

/* The parent goes on, and what it has is as it was. */
static void end_family(struct family *f)
{
    int item = 9;

    must_eq(hop_offload(return_it, hop_ptr(3)), 3);
    atomic_store(&f->stop, 1);
    must_eq(hop_channel_send(f->channel, &item), 0);
    must_eq(hop_write(f->pipe[1], "x", 1), 1);
    must_eq(hop_complete(f->pending, 0), 0);
    must_eq(hop_scope_close(f->scope), 0);
    must_eq(hop_channel_free(f->channel), 0);
    must_eq(hop_runtime_free(f->runtime), 0);
    must_eq(close(f->pipe[0]), 0);
    must_eq(close(f->pipe[1]), 0);
}

static void *fork_in_thread(void *arg)
{
    must_eq(fork_here(arg), 0);
    return NULL;
}

START_TEST(in_plain_threads)
{
    struct family f;
    hop_scope scope;
    hop_future futures[2];

    begin_family(&f, &scope, futures);
    must_eq(fork_here(&f), 0);
    must_eq(hop_runtime_use(f.runtime), 0);
    must_eq(fork_here(&f), 0);
    join_thread(start_thread(fork_in_thread, &f));
    end_family(&f);
}
END_TEST

static int fork_in_every_block(void *arg)
{
    must_eq(fork_here(arg), 0);
    hop_within(HOP_SEC * 100)
        must_eq(fork_here(arg), 0);
    hop_on_cpu
        must_eq(fork_here(arg), 0);
    hop_on_team
        must_eq(fork_here(arg), 0);
    hop_on_blocking
        must_eq(fork_here(arg), 0);
    return 0;
}

START_TEST(in_tasks)
{
    struct family f;
    hop_scope scope, inner;
    hop_future futures[2];

    begin_family(&f, &scope, futures);
    must_eq(hop_scope_open(&inner), 0);
    must_eq(hop_spawn(&inner, fork_in_every_block, &f, NULL), 0);
    must_eq(hop_scope_close(&inner), 0);
    end_family(&f);
}
END_TEST

static int fork_in_body(size_t lo, size_t hi, void *arg)
{
    (void)hi;
    return lo == 0 ? fork_here(arg) : 0;
}

/* A job that has cost little so far is run at home, on the loop's own thread. */
struct sometimes {
    hop_fn *fn; /* or NULL */
    void *arg;
};

static int now_and_then(void *arg)
{
    struct sometimes *s = arg;

    return s->fn ? s->fn(s->arg) : 0;
}

static int offload_at_home(hop_fn *fn, void *arg)
{
    struct sometimes s = { NULL, NULL };
    hop_stats stats = { 0 };
    int i;

    for (i = 0; i < 100000 && !stats.jobs_at_home; i++) {
        must_eq(hop_offload(now_and_then, &s), 0);
        must_eq(hop_stats_read(&stats), 0);
    }
    s.fn = fn;
    s.arg = arg;
    return hop_offload(now_and_then, &s);
}

static int fork_at_home(void *arg)
{
    return offload_at_home(fork_here, arg);
}

START_TEST(in_jobs)
{
    struct family f;
    hop_scope scope, inner;
    hop_future futures[2];

    begin_family(&f, &scope, futures);
    must_eq(hop_offload(fork_here, &f), 0);
    must_eq(hop_join(fork_here, &f, fork_here, &f), 0);
    must_eq(hop_parallel_for(0, 100, fork_in_body, &f, NULL), 0);
    must_eq(hop_scope_open(&inner), 0);
    must_eq(hop_spawn(&inner, fork_at_home, &f, NULL), 0);
    must_eq(hop_scope_close(&inner), 0);
    end_family(&f);
}
END_TEST

/* Locks that another thread holds at the moment of the fork are no trap: many forks, with traffic all the time. */
static int fork_and_look(void *arg)
{
    struct family *f = arg;
    int item = 1;
    pid_t pid = fork();

    if (!pid) {
        begin_child();
        must_eq(hop_offload(return_it, NULL), -EOWNERDEAD);
        must_eq(hop_spawn(f->scope, return_it, NULL, NULL), -EOWNERDEAD);
        must_eq(hop_scope_cancel(f->scope, -ECANCELED), -EOWNERDEAD);
        must_eq(hop_channel_try_send(f->channel, &item), -EOWNERDEAD);
        must_eq(hop_close(f->pipe[0]), 0);
        if (!NO_THREADS_AFTER_FORK)
            must_eq(hop_run(return_it, hop_ptr(3), &(hop_config){ .workers = 2 }), 3);
        end_child(FINE);
    }
    must_be_fine(status_of(pid));
    return 0;
}

START_TEST(many_times)
{
    struct family f;
    hop_scope scope;
    hop_future futures[2];
    int i;

    begin_family(&f, &scope, futures);
    for (i = 0; i < ROUNDS; i++) {
        must_eq(fork_and_look(&f), 0);
        must_eq(hop_offload(fork_and_look, &f), 0);
    }
    end_family(&f);
}
END_TEST

/* A fork without a runtime is no fork of hop's: before the first one, and after the last. */
START_TEST(without_a_runtime)
{
    hop_channel *channel;
    int round, item = 1;
    pid_t pid;

    must_eq(hop_channel_new(&channel, sizeof item, 1), 0);
    for (round = 0; round < 2; round++) {
        pid = fork();
        if (!pid) {
            begin_child();
            must_eq(hop_offload(return_it, NULL), -ENODEV);
            must_eq(hop_sleep(HOP_MS), 0);
            must_eq(hop_channel_send(channel, &item), 0);
            must_eq(hop_channel_recv(channel, &item), 1);
            must_eq(hop_run(whole_program, hop_ptr(3), &(hop_config){ .workers = 2 }), 3);
            end_child(FINE);
        }
        must_be_fine(status_of(pid));
        must_eq(hop_run(whole_program, hop_ptr(3), &(hop_config){ .workers = 3 }), 3);
        if (TEST_KEPT_THREADS && NO_THREADS_AFTER_FORK)
            break;
    }
    must_eq(hop_channel_free(channel), 0);
}
END_TEST

/* A grandchild: each generation is on its own. */
static int fork_deeper(void *arg)
{
    pid_t pid = fork();

    if (!pid) {
        begin_child();
        must_eq(hop_offload(return_it, NULL), -EOWNERDEAD);
        if (hop_int(arg) > 0 && !NO_THREADS_AFTER_FORK)
            must_eq(hop_run(fork_deeper, hop_ptr(hop_int(arg) - 1), &(hop_config){ .workers = 2 }), 0);
        end_child(FINE);
    }
    must_be_fine(status_of(pid));
    return 0;
}

START_TEST(grandchildren)
{
    must_eq(hop_run(fork_deeper, hop_ptr(3), &(hop_config){ .workers = 2 }), 0);
}
END_TEST

/* --- a child that returns --- */

struct returns {
    int told[2]; /* standard error of the child */
    pid_t parent;
    atomic_int forked;
};

static int fork_and_return(void *arg)
{
    struct returns *r = arg;
    pid_t pid;

    if (getpid() != r->parent || atomic_exchange(&r->forked, 1))
        return 0; /* again: in the child, where a join goes on with its other half, or in another body */
    pid = fork();
    if (!pid) {
        begin_child();
        must(dup2(r->told[1], STDERR_FILENO) >= 0);
        return 0;
    }
    return status_of(pid);
}

static void must_have_died_well(struct returns *r, int status)
{
    static const char begin[] = "hop: a child of fork returned";
    char line[sizeof begin] = { 0 };

    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGABRT);
    must(read(r->told[0], line, sizeof line - 1) > 0);
    must(!strcmp(line, begin));
    must_eq(close(r->told[0]), 0);
    must_eq(close(r->told[1]), 0);
}

static void begin_returns(struct returns *r)
{
    must_eq(pipe2(r->told, O_CLOEXEC | O_NONBLOCK), 0);
    r->parent = getpid();
    atomic_init(&r->forked, 0);
}

static int return_from_job(void *arg)
{
    return hop_offload(fork_and_return, arg);
}

static int return_from_job_at_home(void *arg)
{
    return offload_at_home(fork_and_return, arg);
}

static int return_from_cpu(void *arg)
{
    int status = 0;

    hop_on_cpu
        status = fork_and_return(arg);
    return status;
}

static int return_from_job_in_place(void *arg)
{
    int status = 0;

    hop_on_cpu
        status = hop_offload(fork_and_return, arg);
    return status;
}

static int return_from_team(void *arg)
{
    int status = 0;

    hop_on_team
        status = fork_and_return(arg);
    return status;
}

static int return_from_lane(void *arg)
{
    int status = 0;

    hop_on_blocking
        status = fork_and_return(arg);
    return status;
}

struct kept {
    struct returns *returns;
    int status;
};

static int keep_status(void *arg)
{
    struct kept *k = arg;
    int status = fork_and_return(k->returns);

    if (status)
        k->status = status;
    return 0;
}

static int return_from_half(void *arg)
{
    struct kept k = { arg, 0 };

    must_eq(hop_join(keep_status, &k, keep_status, &k), 0);
    return k.status;
}

static int keep_status_of_body(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi;
    return keep_status(arg);
}

static int return_from_body(void *arg)
{
    struct kept k = { arg, 0 };

    must_eq(hop_parallel_for(0, 4, keep_status_of_body, &k, HOP_PAR(.grain = 1)), 0);
    return k.status;
}

static int spawned(void *arg)
{
    struct kept *k = arg;

    k->status = return_from_cpu(k->returns);
    return 0;
}

static int return_from_child_task(void *arg)
{
    struct kept k = { arg, 0 };
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, spawned, &k, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    return k.status;
}

START_TEST(a_child_that_returns_says_so)
{
    hop_fn *const ways[] = { fork_and_return, return_from_job, return_from_job_at_home, return_from_cpu,
                             return_from_job_in_place, return_from_team, return_from_lane, return_from_half,
                             return_from_body, return_from_child_task };
    struct returns r;
    size_t i;

    for (i = 0; i < sizeof ways / sizeof *ways; i++) {
        begin_returns(&r);
        must_have_died_well(&r, hop_run(ways[i], &r, &(hop_config){ .workers = 2 }));
    }
}
END_TEST

/* --- a child that goes on with an event base that hop was attached to --- */

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

START_TEST(an_inherited_base_serves_the_child)
{
    struct timeval soon = { 0, 20000 };
    struct event_base *base = event_base_new();
    hop_runtime *rt;
    pid_t pid;
    int i;

    must(base);
    must_eq(hop_runtime_new(&rt, &(hop_config){ .base = base, .workers = 2 }), 0);
    for (i = 0; i < 10; i++)
        must_eq(hop_spawn(hop_root(rt), return_it, NULL, NULL), 0); /* the bell has been rung */
    pid = fork();
    if (!pid) {
        begin_child();
        must_eq(event_reinit(base), 0);
        must_eq(event_base_once(base, -1, EV_TIMEOUT, on_time, base, &soon), 0);
        must_eq(event_base_dispatch(base), 0);
        must_eq(hop_offload(return_it, NULL), -EOWNERDEAD);
        end_child(FINE);
    }
    must_be_fine(status_of(pid));
    must_eq(hop_runtime_free(rt), 0); /* the tasks have run here */
    event_base_free(base);
}
END_TEST

RUN_TESTS("fork", in_plain_threads, in_tasks, in_jobs, many_times, without_a_runtime, grandchildren,
          a_child_that_returns_says_so, an_inherited_base_serves_the_child)
