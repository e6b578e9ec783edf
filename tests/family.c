/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process may do to a program that uses hop, and the program to itself: end from anywhere while work is in
 * flight, be stopped, be interrupted by signals in every thread, have a worker held, start processes, cancel threads
 * that wait, walk its stacks. (fork has a test of its own.)
 */
#include "config.h"

#include "harness.h"

#include <execinfo.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>

enum { FINE = 77, CHILD_SECONDS = 15, WORKERS = 3 };

static const hop_config config = { .workers = WORKERS, .loops = 2 };

/* --- work in flight, that checks itself --- */

static int fold(size_t lo, size_t hi, void *into, void *arg)
{
    (void)arg;
    for (; lo < hi; lo++)
        *(long *)into += (long)lo;
    return 0;
}

static void combine(void *into, const void *from, void *arg)
{
    (void)arg;
    *(long *)into += *(const long *)from;
}

static void add_up(void)
{
    long sum = 0;

    must_eq(hop_parallel_reduce(0, 20000, fold, combine, NULL, &sum, sizeof sum, NULL), 0);
    must_eq(sum, 20000L * 19999 / 2);
}

struct flight {
    atomic_int stop;
    hop_runtime *runtime;
    hop_scope scope;
    hop_channel *channel;
    int pipe[2];
    atomic_int rounds;
};

static int send_all(void *arg)
{
    struct flight *f = arg;
    int i;

    for (i = 0; !atomic_load(&f->stop); i++) {
        must_eq(hop_channel_send(f->channel, &i), 0);
        must_eq(hop_write_full(f->pipe[1], &i, sizeof i), sizeof i);
    }
    must_eq(hop_channel_close(f->channel), 0);
    return 0;
}

static int receive_all(void *arg)
{
    struct flight *f = arg;
    int i = 0, item, rc;

    while ((rc = hop_channel_recv(f->channel, &item)) == 1) {
        must_eq(item, i);
        must_eq(hop_read_full(f->pipe[0], &item, sizeof item), sizeof item);
        must_eq(item, i++);
        atomic_fetch_add(&f->rounds, 1);
    }
    return rc;
}

static int compute_all(void *arg)
{
    struct flight *f = arg;

    while (!atomic_load(&f->stop)) {
        add_up();
        hop_on_cpu
            add_up();
        hop_on_team
            must_eq(hop_here(), HOP_TEAM);
        hop_on_blocking
            must_eq(hop_here(), HOP_BLOCKING);
        must_eq(hop_sleep(HOP_US), 0);
        must_eq(hop_offload_with(return_it, hop_ptr(3), HOP_OFFLOAD(.place = HOP_POOL)), 3);
        atomic_fetch_add(&f->rounds, 1);
    }
    return 0;
}

static void take_off(struct flight *f)
{
    int i;

    memset(f, 0, sizeof *f);
    must_eq(hop_runtime_new(&f->runtime, &config), 0);
    must_eq(hop_channel_new(&f->channel, sizeof(int), 2), 0);
    must_eq(pipe2(f->pipe, O_CLOEXEC), 0);
    must_eq(hop_scope_open(&f->scope), 0);
    must_eq(hop_spawn(&f->scope, send_all, f, NULL), 0);
    must_eq(hop_spawn(&f->scope, receive_all, f, HOP_TASK(.loop = 2)), 0);
    for (i = 0; i < 3; i++)
        must_eq(hop_spawn(&f->scope, compute_all, f, NULL), 0);
}

static void wait_for_rounds(struct flight *f, int more)
{
    int wanted = atomic_load(&f->rounds) + more;

    while (atomic_load(&f->rounds) < wanted)
        must_eq(hop_sleep(HOP_MS), 0);
}

static void land(struct flight *f)
{
    atomic_store(&f->stop, 1);
    must_eq(hop_scope_close(&f->scope), 0);
    must_eq(hop_channel_free(f->channel), 0);
    must_eq(hop_runtime_free(f->runtime), 0);
    must_eq(close(f->pipe[0]), 0);
    must_eq(close(f->pipe[1]), 0);
}

/* --- a process of its own, which has no runtime yet --- */

/* LeakSanitizer asks: a process that ends in the middle of its work leaves what it had. */
static int cut_off;

int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return cut_off;
}

static int status_of(pid_t pid)
{
    int status;

    must(pid > 0);
    must_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static pid_t start_process(void (*body)(void *), void *arg)
{
    pid_t pid = fork();

    if (!pid) {
        alarm(CHILD_SECONDS); /* a hang ends by SIGALRM, which nobody expects */
        signal(SIGINT, SIG_DFL); /* Check has handlers of its own */
        signal(SIGTERM, SIG_DFL);
        cut_off = 1;
        body(arg);
        _exit(FINE);
    }
    return pid;
}

/* --- ends --- */

struct end {
    void (*how)(void);
    hop_fn *where;
    hop_runtime *runtime;
};

static void end_exit(void)
{
    exit(5);
}

static void end_now(void)
{
    _exit(5);
}

static void end_quick(void)
{
    quick_exit(5);
}

static void end_abort(void)
{
    abort();
}

static int end_here(void *arg)
{
    ((struct end *)arg)->how();
    return 0;
}

static int end_in_job(void *arg)
{
    return hop_offload_with(end_here, arg, HOP_OFFLOAD(.place = HOP_POOL));
}

static int end_on_cpu(void *arg)
{
    hop_on_cpu
        end_here(arg);
    return 0;
}

static int end_on_team(void *arg)
{
    hop_on_team
        end_here(arg);
    return 0;
}

static int end_on_blocking(void *arg)
{
    hop_on_blocking
        end_here(arg);
    return 0;
}

static void *end_in_thread(void *arg)
{
    end_here(arg);
    return NULL;
}

static void end_in_flight(void *arg)
{
    struct end *end = arg;
    struct flight f;

    take_off(&f);
    wait_for_rounds(&f, 10);
    if (end->where) {
        must_eq(hop_spawn(&f.scope, end->where, end, NULL), 0);
        hop_scope_close(&f.scope);
    } else {
        join_thread(start_thread(end_in_thread, end));
    }
}

/* The same from inside hop_run, where the first loop is the main thread. */
static void end_in_run(void *arg)
{
    struct end *end = arg;

    hop_run(end->where ? end->where : end_here, end, &config);
}

START_TEST(ends_while_work_is_in_flight)
{
    hop_fn *const places[] = { NULL, end_here, end_in_job, end_on_cpu, end_on_team, end_on_blocking };
    void (*const ways[])(void) = { end_exit, end_now, end_quick, end_abort };
    size_t i, j;
    int in_run, status;

    for (i = 0; i < sizeof places / sizeof *places; i++)
        for (j = 0; j < sizeof ways / sizeof *ways; j++)
            for (in_run = 0; in_run < 2; in_run++) {
                struct end end = { ways[j], places[i], NULL };

                /* At the exit of the main thread, Archer looks for a task that libomp has not told it of. */
                if (TEST_SANITIZED && TEST_KEPT_THREADS && ways[j] == end_exit && in_run && i < 2)
                    continue;
                status = status_of(start_process(in_run ? end_in_run : end_in_flight, &end));
                if (ways[j] == end_abort) {
                    must(WIFSIGNALED(status));
                    must_eq(WTERMSIG(status), SIGABRT);
                } else {
                    must(WIFEXITED(status));
                    must_eq(WEXITSTATUS(status), 5);
                }
            }
}
END_TEST

/* main may end by pthread_exit: the process goes on, and another thread takes the runtime down. */
static void *take_down_later(void *arg)
{
    struct flight *f = arg;

    must_eq(hop_runtime_use(f->runtime), 0);
    wait_for_rounds(f, 20);
    atomic_store(&f->stop, 1);
    exit(5);
}

static void main_leaves(void *arg)
{
    static struct flight f;

    (void)arg;
    take_off(&f);
    start_thread(take_down_later, &f);
    pthread_exit(NULL);
}

START_TEST(main_may_leave_by_pthread_exit)
{
    int status;

    if (TEST_KEPT_THREADS) /* in a fork of a process that used it, libomp fails an assertion of its own at that exit */
        return;
    if (TEST_VALGRIND) /* what main's frames held counts as lost */
        return;
    status = status_of(start_process(main_leaves, NULL));
    must(WIFEXITED(status));
    must_eq(WEXITSTATUS(status), 5);
}
END_TEST

/* A signal with its default action kills, wherever the threads wait. */
static void wait_for_ever(void *arg)
{
    hop_future never = HOP_FUTURE_INIT;
    struct flight f;

    take_off(&f);
    wait_for_rounds(&f, 10);
    must_eq(write(*(int *)arg, "x", 1), 1);
    hop_await(&never);
}

START_TEST(signals_kill_a_program_that_waits)
{
    const int signals[] = { SIGINT, SIGTERM, SIGKILL, SIGHUP };
    size_t i;
    char c;

    for (i = 0; i < sizeof signals / sizeof *signals; i++) {
        int told[2], status;
        pid_t pid;

        must_eq(pipe(told), 0);
        pid = start_process(wait_for_ever, &told[1]);
        must_eq(read(told[0], &c, 1), 1);
        must_eq(kill(pid, signals[i]), 0);
        status = status_of(pid);
        must(WIFSIGNALED(status));
        must_eq(WTERMSIG(status), signals[i]);
        close(told[0]);
        close(told[1]);
    }
}
END_TEST

/* --- stopped and interrupted --- */

static void fly_until_told(void *arg)
{
    int *pipes = arg;
    struct flight f;
    char c;

    take_off(&f);
    wait_for_rounds(&f, 10);
    must_eq(write(pipes[1], "x", 1), 1);
    must_eq(hop_read(pipes[2], &c, 1), 1);
    wait_for_rounds(&f, 10);
    land(&f);
}

START_TEST(stopped_and_continued)
{
    int pipes[4], status, i;
    pid_t pid;
    char c;

    must_eq(pipe(pipes), 0);
    must_eq(pipe(pipes + 2), 0);
    pid = start_process(fly_until_told, pipes);
    must_eq(read(pipes[0], &c, 1), 1);
    for (i = 0; i < 30; i++) {
        must_eq(kill(pid, SIGSTOP), 0);
        must_eq(waitpid(pid, &status, WUNTRACED), pid);
        must(WIFSTOPPED(status));
        must_eq(kill(pid, SIGCONT), 0);
    }
    must_eq(write(pipes[3], "x", 1), 1);
    status = status_of(pid);
    must(WIFEXITED(status));
    must_eq(WEXITSTATUS(status), FINE);
    for (i = 0; i < 4; i++)
        close(pipes[i]);
}
END_TEST

static atomic_int handled;

static void count_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void handle(int signal, void (*handler)(int))
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler; /* without SA_RESTART: system calls end with EINTR */
    sigemptyset(&action.sa_mask);
    must_eq(sigaction(signal, &action, NULL), 0);
}

static void signal_all_threads(int signal)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;

    must(threads);
    while ((entry = readdir(threads)))
        if (atoi(entry->d_name) > 0)
            syscall(SYS_tgkill, getpid(), atoi(entry->d_name), signal);
    closedir(threads);
}

struct waiting {
    hop_future future;
    hop_channel *channel;
    int pipe[2];
    hop_runtime *runtime;
};

static void *wait_for_future(void *arg)
{
    struct waiting *w = arg;

    must_eq(hop_await(&w->future), 7);
    return NULL;
}

static void *wait_for_item(void *arg)
{
    struct waiting *w = arg;
    int item = 0;

    must_eq(hop_channel_recv(w->channel, &item), 1);
    must_eq(item, 8);
    return NULL;
}

static void *wait_for_byte(void *arg)
{
    struct waiting *w = arg;
    char c = 0;

    must_eq(hop_read(w->pipe[0], &c, 1), 1);
    must_eq(c, 'x');
    return NULL;
}

static void *sleep_for_a_while(void *arg)
{
    hop_ns before = hop_now();

    must_eq(hop_sleep(300 * HOP_MS), 0);
    must(hop_now() - before >= 300 * HOP_MS);
    return arg;
}

START_TEST(waits_go_on_after_a_signal)
{
    void *(*const waits[])(void *) = { wait_for_future, wait_for_item, wait_for_byte, sleep_for_a_while };
    pthread_t threads[4];
    struct waiting w = { .future = HOP_FUTURE_INIT };
    struct flight f;
    int i, item = 8;

    handle(SIGUSR1, count_signal);
    take_off(&f);
    must_eq(hop_channel_new(&w.channel, sizeof item, 0), 0);
    must_eq(pipe(w.pipe), 0);
    for (i = 0; i < 4; i++)
        threads[i] = start_thread(waits[i], &w);
    for (i = 0; i < 200; i++) {
        signal_all_threads(SIGUSR1);
        wait_for_rounds(&f, 1);
    }
    must(atomic_load(&handled) > 200);
    must_eq(hop_complete(&w.future, 7), 0);
    must_eq(hop_channel_send(w.channel, &item), 0);
    must_eq(hop_write(w.pipe[1], "x", 1), 1);
    for (i = 0; i < 4; i++)
        join_thread(threads[i]);
    land(&f);
    must_eq(hop_channel_free(w.channel), 0);
    close(w.pipe[0]);
    close(w.pipe[1]);
}
END_TEST

/* A worker that the kernel does not run for a while: a handler holds it. */
static int hold[2];
static atomic_int held;

static void hold_thread(int signal)
{
    char c;

    (void)signal;
    atomic_fetch_add(&held, 1);
    while (read(hold[0], &c, 1) < 0)
        ;
}

struct worker_id {
    atomic_int id[WORKERS];
    atomic_int known;
};

static int tell_id(void *arg)
{
    struct worker_id *ids = arg;
    int none = 0;

    if (atomic_compare_exchange_strong(&ids->id[hop_worker_index()], &none, (int)thread_id()))
        atomic_fetch_add(&ids->known, 1);
    return 0;
}

static int tell_id_and_add_up(size_t lo, size_t hi, void *arg)
{
    long sum = 0;

    fold(0, 20000, &sum, NULL);
    return lo < hi && sum ? tell_id(arg) : 0;
}

static int tick(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 100; i++)
        must_eq(hop_sleep(HOP_US), 0);
    return 0;
}

static int offload_some(void *arg)
{
    int i;

    for (i = 0; i < 100; i++)
        must_eq(hop_offload_with(return_it, arg, HOP_OFFLOAD(.place = HOP_POOL)), hop_int(arg));
    return 0;
}

/* Held while it sleeps, so that it holds nothing that others wait for: the others do all the work. */
START_TEST(a_held_worker_holds_up_nobody)
{
    struct worker_id ids = { 0 };
    hop_scope scope;
    hop_runtime *rt;
    int i, victim;

    must_eq(pipe(hold), 0);
    handle(SIGUSR2, hold_thread);
    must_eq(hop_runtime_new(&rt, &config), 0);
    while (atomic_load(&ids.known) < WORKERS)
        must_eq(hop_parallel_for(0, 1000, tell_id_and_add_up, &ids, HOP_PAR(.grain = 1)), 0);
    for (victim = 0; victim < WORKERS; victim++) {
        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_sleep(20 * HOP_MS), 0); /* so that it sleeps, most probably; if not, the work waits for it */
        must_eq(syscall(SYS_tgkill, getpid(), atomic_load(&ids.id[victim]), SIGUSR2), 0);
        while (atomic_load(&held) <= victim)
            must_eq(hop_sleep(HOP_MS), 0);
        for (i = 0; i < 10; i++)
            must_eq(hop_spawn(&scope, tick, NULL, NULL), 0);
        must_eq(hop_scope_close(&scope), 0); /* the loops go on */
        must_eq(hop_scope_open(&scope), 0);
        for (i = 1; i < 10; i++)
            must_eq(hop_spawn(&scope, offload_some, hop_ptr(i), NULL), 0);
        must_eq(write(hold[1], "x", 1), 1);
        must_eq(hop_scope_close(&scope), 0);
        add_up();
    }
    must_eq(hop_runtime_free(rt), 0);
    close(hold[0]);
    close(hold[1]);
}
END_TEST

/* --- processes that a program starts --- */

static char *const true_argv[] = { (char[]){ "true" }, NULL };

static int spawn_here(void *arg)
{
    pid_t pid;

    must_eq(posix_spawn(&pid, "/bin/true", NULL, NULL, true_argv, NULL), 0);
    must_eq(status_of(pid), 0);
    pid = vfork();
    if (!pid)
        _exit(3);
    must_eq(WEXITSTATUS(status_of(pid)), 3);
    return hop_int(arg);
}

static int spawn_everywhere(void *arg)
{
    int i;

    for (i = 0; i < 5; i++) {
        must_eq(spawn_here(NULL), 0);
        hop_on_cpu
            must_eq(spawn_here(NULL), 0);
        hop_on_team
            must_eq(spawn_here(NULL), 0);
        hop_on_blocking
            must_eq(spawn_here(NULL), 0);
        must_eq(hop_offload_with(spawn_here, arg, HOP_OFFLOAD(.place = HOP_POOL)), hop_int(arg));
    }
    return 0;
}

START_TEST(processes_may_be_started_anywhere)
{
    struct flight f;

    take_off(&f);
    must_eq(hop_spawn(&f.scope, spawn_everywhere, hop_ptr(3), NULL), 0);
    must_eq(spawn_here(NULL), 0);
    wait_for_rounds(&f, 20);
    land(&f);
}
END_TEST

/* What a process inherits from the thread that starts it. */
struct heritage {
    sigset_t blocked;
    cpu_set_t cpus;
    int policy, nice;
};

static struct heritage heritage_now(void)
{
    struct heritage h;

    memset(&h, 0, sizeof h);
    must_eq(pthread_sigmask(SIG_BLOCK, NULL, &h.blocked), 0);
    must_eq(sched_getaffinity(0, sizeof h.cpus, &h.cpus), 0);
    h.policy = sched_getscheduler(0);
    h.nice = nice(0);
    return h;
}

static bool is_same(const struct heritage *a, const struct heritage *b)
{
    int s;

    for (s = 1; s < SIGRTMAX; s++)
        if (sigismember(&a->blocked, s) != sigismember(&b->blocked, s))
            return false;
    return CPU_EQUAL(&a->cpus, &b->cpus) && a->policy == b->policy && a->nice == b->nice;
}

static int inherits(void *arg)
{
    struct heritage here;

    hop_on_blocking {
        here = heritage_now();
        must(is_same(&here, arg));
    }
    return 0;
}

START_TEST(the_lane_starts_processes_as_the_program_would)
{
    struct heritage mine;
    sigset_t some;
    enum hop_qos qos;
    hop_scope scope;
    hop_runtime *rt;
    int i;

    sigemptyset(&some);
    sigaddset(&some, SIGUSR2); /* a mask that is neither empty nor full */
    must_eq(pthread_sigmask(SIG_SETMASK, &some, NULL), 0);
    mine = heritage_now();
    for (qos = HOP_QOS_OFF; qos <= HOP_QOS_IDLE; qos++) {
        must_eq(hop_run(inherits, &mine, &(hop_config){ .workers = 2, .qos = qos }), 0);
        must_eq(hop_runtime_new(&rt, &(hop_config){ .workers = 2, .qos = qos }), 0);
        must_eq(hop_scope_open(&scope), 0);
        for (i = 0; i < 20; i++)
            must_eq(hop_spawn(&scope, inherits, &mine, NULL), 0);
        must_eq(hop_scope_close(&scope), 0);
        must_eq(hop_runtime_free(rt), 0);
    }
}
END_TEST

/* --- threads that are cancelled --- */

static void *cancelled_before_await(void *arg)
{
    struct waiting *w = arg;

    pthread_cancel(pthread_self()); /* acts at the next point of cancellation, of which hop_await has none */
    must_eq(hop_await(&w->future), 7);
    must_eq(hop_offload_with(return_it, hop_ptr(4), HOP_OFFLOAD(.runtime = w->runtime)), 4);
    pthread_testcancel();
    return NULL;
}

/* Whoever tells a loop something tells it whole: a lost bell would let it sleep for ever. */
static void *cancelled_before_sends(void *arg)
{
    struct waiting *w = arg;
    int item;

    pthread_cancel(pthread_self());
    for (item = 0; item < 100; item++)
        must_eq(hop_channel_send(w->channel, &item), 0);
    must_eq(hop_complete(&w->future, 7), 0);
    pthread_testcancel();
    return NULL;
}

static int receive_hundred(void *arg)
{
    struct waiting *w = arg;
    int i, item;

    for (i = 0; i < 100; i++) {
        must_eq(hop_channel_recv(w->channel, &item), 1);
        must_eq(item, i);
    }
    return 0;
}

static void *cancelled_in_run(void *arg)
{
    pthread_cancel(pthread_self()); /* acts when the runtime is gone */
    must_eq(hop_run(tick, NULL, &config), 0);
    *(int *)arg = 1;
    pthread_testcancel();
    return NULL;
}

static void *cancelled_around_runtime(void *arg)
{
    hop_runtime *rt;

    pthread_cancel(pthread_self());
    must_eq(hop_runtime_new(&rt, &config), 0);
    must_eq(hop_offload_with(return_it, hop_ptr(4), HOP_OFFLOAD(.runtime = rt)), 4);
    must_eq(hop_runtime_free(rt), 0);
    *(int *)arg = 1;
    pthread_testcancel();
    return NULL;
}

static void must_have_been_cancelled(pthread_t thread)
{
    void *result;

    must_eq(pthread_join(thread, &result), 0);
    must(result == PTHREAD_CANCELED);
}

START_TEST(cancelled_threads_leave_nothing_half_done)
{
    struct waiting w = { .future = HOP_FUTURE_INIT };
    pthread_t threads[2];
    hop_scope scope;
    int done = 0, fds = open_descriptors();

    if (TEST_SANITIZED) /* AddressSanitizer trips over the end of a cancelled thread itself */
        return;
    must_eq(hop_runtime_new(&w.runtime, &config), 0);
    must_eq(hop_channel_new(&w.channel, sizeof(int), 0), 0);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, receive_hundred, &w, NULL), 0);
    threads[0] = start_thread(cancelled_before_await, &w);
    threads[1] = start_thread(cancelled_before_sends, &w);
    must_have_been_cancelled(threads[0]);
    must_have_been_cancelled(threads[1]);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_channel_free(w.channel), 0);
    must_eq(hop_runtime_free(w.runtime), 0);
    must_have_been_cancelled(start_thread(cancelled_in_run, &done));
    must_eq(done, 1);
    done = 0;
    must_have_been_cancelled(start_thread(cancelled_around_runtime, &done));
    must_eq(done, 1);
    must_eq(open_descriptors(), fds);
}
END_TEST

/* A thread that is cancelled while it sleeps or reads, which are points of cancellation: it held nothing. */
static void *sleep_long(void *arg)
{
    hop_sleep(100 * HOP_SEC);
    return arg;
}

START_TEST(cancelled_while_it_waits)
{
    struct waiting w = { .future = HOP_FUTURE_INIT };
    pthread_t threads[2];
    hop_runtime *rt;

    if (TEST_SANITIZED)
        return;
    must_eq(pipe(w.pipe), 0);
    must_eq(hop_runtime_new(&rt, &config), 0);
    threads[0] = start_thread(sleep_long, NULL);
    threads[1] = start_thread(wait_for_byte, &w);
    must_eq(hop_sleep(10 * HOP_MS), 0);
    must_eq(pthread_cancel(threads[0]), 0);
    must_eq(pthread_cancel(threads[1]), 0);
    must_have_been_cancelled(threads[0]);
    must_have_been_cancelled(threads[1]);
    must_eq(hop_runtime_free(rt), 0);
    close(w.pipe[0]);
    close(w.pipe[1]);
}
END_TEST

/* --- stacks --- */

/* One frame each, whatever the compiler would like: what is computed after the call is not known to it. */
static volatile int nothing;

static __attribute__((noinline)) int frames_at(int depth)
{
    void *frames[200];
    int n = depth ? frames_at(depth - 1) : backtrace(frames, 200);

    return n + nothing;
}

static int walk(void *arg)
{
    int n = frames_at(20);

    must(n > 20); /* ours are there */
    must(n < 60); /* and the walk ends at the bottom */
    return hop_int(arg);
}

static int walk_everywhere(void *arg)
{
    must_eq(walk(NULL), 0);
    hop_on_cpu
        must_eq(walk(NULL), 0);
    hop_on_team
        must_eq(walk(NULL), 0);
    hop_on_blocking
        must_eq(walk(NULL), 0);
    must_eq(hop_offload_with(walk, arg, HOP_OFFLOAD(.place = HOP_POOL)), hop_int(arg));
    must_eq(hop_join(walk, NULL, walk, NULL), 0);
    return 0;
}

START_TEST(every_stack_has_a_bottom)
{
    must_eq(hop_run(walk_everywhere, hop_ptr(3), &config), 0);
}
END_TEST

static __attribute__((noinline)) int leap(jmp_buf *back)
{
    if (!nothing)
        longjmp(*back, 9);
    return 0;
}

static __attribute__((noinline)) int jump(jmp_buf *back, int depth)
{
    return (depth ? jump(back, depth - 1) : leap(back)) + nothing;
}

static int jump_in_place(void *arg)
{
    jmp_buf back;
    volatile int times = 0;
    int rc = setjmp(back);

    must_eq(rc, times ? 9 : 0);
    if (times++ < 3)
        jump(&back, 10);
    return hop_int(arg);
}

static int jump_everywhere(void *arg)
{
    must_eq(jump_in_place(NULL), 0);
    hop_on_cpu
        must_eq(jump_in_place(NULL), 0);
    must_eq(hop_sleep(HOP_US), 0);
    must_eq(jump_in_place(NULL), 0);
    must_eq(hop_offload_with(jump_in_place, arg, HOP_OFFLOAD(.place = HOP_POOL)), hop_int(arg));
    return 0;
}

START_TEST(longjmp_within_a_task)
{
    must_eq(hop_run(jump_everywhere, hop_ptr(3), &config), 0);
}
END_TEST

RUN_TESTS("family", ends_while_work_is_in_flight, main_may_leave_by_pthread_exit, signals_kill_a_program_that_waits,
          stopped_and_continued, waits_go_on_after_a_signal, a_held_worker_holds_up_nobody,
          processes_may_be_started_anywhere, the_lane_starts_processes_as_the_program_would,
          cancelled_threads_leave_nothing_half_done, cancelled_while_it_waits, every_stack_has_a_bottom,
          longjmp_within_a_task)
