/* SPDX-License-Identifier: BSD-3-Clause */

/* Stacks: what happens when one is full, wherever code runs; and that all of them are given back whole. */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "bridge/stack.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* --- a task without end --- */

static volatile int forever = 1;

static __attribute__((noinline)) int without_end(volatile char *outer)
{
    volatile char here[512];

    if (!forever)
        return 0;
    here[0] = outer ? outer[0] : 'x';
    return without_end(here) + here[0];
}

static int overflow(void *arg)
{
    (void)arg;
    return without_end(NULL);
}

static int spawn_overflow(void *arg)
{
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, overflow, NULL, HOP_TASK(.name = "bottomless", .stack_bytes = 64 * 1024)), 0);
    return hop_scope_close(&scope);
}

static int spawn_overflow_on_cpu(void *arg)
{
    (void)arg;
    hop_on_cpu {
        without_end(NULL);
    }
    return 0;
}

static void run_overflow(void)
{
    hop_run(spawn_overflow, NULL, NULL);
}

static void run_overflow_on_cpu(void)
{
    hop_run(spawn_overflow_on_cpu, NULL, NULL);
}

START_TEST(stack_overflow_is_reported)
{
    char text[4096];
    int status = in_a_child(run_overflow, text, sizeof text);

    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_nonnull(strstr(text, "stack overflow"));
    ck_assert_ptr_nonnull(strstr(text, "'bottomless'"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
}
END_TEST

START_TEST(stack_overflow_on_a_worker_is_reported)
{
    char text[4096];
    int status = in_a_child(run_overflow_on_cpu, text, sizeof text);

    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_nonnull(strstr(text, "stack overflow"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

/* A program's own handler, of either kind, has its turn after the report. */
enum { HANDLED = 42 };

static void own_handler(int number)
{
    _exit(number == SIGSEGV ? HANDLED : 1);
}

static void own_handler_with_info(int number, siginfo_t *info, void *context)
{
    _exit(number == SIGSEGV && info->si_addr && context ? HANDLED : 1);
}

static void run_overflow_handled(void)
{
    struct sigaction own = { .sa_handler = own_handler };

    must_eq(sigaction(SIGSEGV, &own, NULL), 0);
    run_overflow();
}

static void run_overflow_handled_with_info(void)
{
    struct sigaction own = { .sa_sigaction = own_handler_with_info, .sa_flags = SA_SIGINFO };

    must_eq(sigaction(SIGSEGV, &own, NULL), 0);
    run_overflow();
}

START_TEST(earlier_handlers_have_their_turn)
{
    void (*const ways[])(void) = { run_overflow_handled, run_overflow_handled_with_info };
    char text[4096];

    if (TEST_KEPT_THREADS)
        return; /* the threads were made by a runtime, whose handler is then the earlier one */
    for (int i = 0; i < 2; i++) {
        int status = in_a_child(ways[i], text, sizeof text);

        must(WIFEXITED(status));
        must_eq(WEXITSTATUS(status), HANDLED);
        ck_assert_ptr_nonnull(strstr(text, "stack overflow in task 'bottomless'"));
    }
}
END_TEST

/* A kernel, or what plays its part, that takes the advice to guard a stack and does nothing. */
static void ignore_advice(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };

    must_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(77); /* no filters here */
}

static void run_overflow_unadvised(void)
{
    ignore_advice();
    hop_run(spawn_overflow, NULL, NULL);
}

START_TEST(guards_are_there_where_advice_is_ignored)
{
    char text[4096];
    int status;

    if (TEST_KEPT_THREADS)
        return; /* the threads were made by a runtime, which has looked already */
    status = in_a_child(run_overflow_unadvised, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return;
    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_nonnull(strstr(text, "stack overflow in task 'bottomless'"));
}
END_TEST

/* A short job that stays at home runs on the stack of the loop's thread. */
static int short_until(void *arg)
{
    return atomic_load((atomic_int *)arg) ? without_end(NULL) : 0;
}

static int overflow_at_home(void *arg)
{
    atomic_int deep = 0;
    hop_stats stats;

    (void)arg;
    do {
        must_eq(hop_offload(short_until, &deep), 0);
        must_eq(hop_stats_read(&stats), 0);
    } while (!stats.jobs_at_home);
    atomic_store(&deep, 1);
    return hop_offload(short_until, &deep);
}

static int spawn_overflow_at_home(void *arg)
{
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, overflow_at_home, NULL, HOP_TASK(.loop = 2)), 0);
    return hop_scope_close(&scope);
}

static void run_overflow_at_home(void)
{
    hop_run(spawn_overflow_at_home, NULL, &(hop_config){ .loops = 2 });
}

START_TEST(stack_overflow_at_home_is_reported)
{
    char text[4096];
    int status = in_a_child(run_overflow_at_home, text, sizeof text);

    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_nonnull(strstr(text, "stack overflow in a job"));
}
END_TEST

/* --- recursion through hop_join, wherever it can run --- */

enum { DEPTH = 100000, SMALL_DEPTH = 100, LARGE_FRAME = 32 * 1024 };

struct descent {
    int depth; /* levels below this one */
    bool large;
    int below; /* found by the levels that came back */
};

static int descend(void *arg);

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* The deep half is the one that runs here, then the one that may be stolen, and so on. */
static __attribute__((noinline)) int descend_by_join(struct descent *d)
{
    struct descent next = { d->depth - 1, d->large, 0 };
    int rc = d->depth % 2 ? hop_join(descend, &next, do_nothing, NULL) : hop_join(do_nothing, NULL, descend, &next);

    d->below = next.below + 1;
    return rc;
}

/* A frame that is larger than a page and touched at its far end first could step over a guard of one page. */
static __attribute__((noinline)) int descend_by_large_frame(struct descent *d)
{
    volatile char frame[LARGE_FRAME];
    int rc;

    frame[0] = (char)d->depth;
    rc = descend_by_join(d);
    return frame[0] == (char)d->depth ? rc : -EFAULT;
}

static int descend(void *arg)
{
    struct descent *d = arg;

    if (!d->depth)
        return 0;
    return d->large ? descend_by_large_frame(d) : descend_by_join(d);
}

enum place { TASK, CPU, CPU_JOB, JOB, TEAM, REGION, LANE, THREAD, PLACES };

static const char *const names[] = { "task", "cpu", "cpu job", "job", "team", "region", "lane", "thread" };

static struct {
    enum place place;
    struct descent descent;
} asked; /* of the child */

static int descend_in_region(struct descent *d)
{
    int failed = 0;

#ifdef _OPENMP
#pragma omp parallel reduction(+ : failed)
#endif
    {
        struct descent mine = *d;

        failed += descend(&mine) < 0 || mine.below != d->depth;
    }
    d->below = d->depth;
    return failed ? -EFAULT : 0;
}

static int descend_in_place(void *arg)
{
    struct descent *d = &asked.descent;
    int rc = -EINVAL;

    (void)arg;
    switch (asked.place) {
    case CPU:
        hop_on_cpu
            rc = descend(d);
        break;
    case CPU_JOB:
        hop_on_cpu
            rc = hop_offload(descend, d);
        break;
    case JOB:
        rc = hop_offload(descend, d);
        break;
    case TEAM:
        hop_on_team
            rc = descend(d);
        break;
    case REGION:
        hop_on_team
            rc = descend_in_region(d);
        break;
    case LANE:
        hop_on_blocking
            rc = descend(d);
        break;
    default:
        rc = descend(d);
        break;
    }
    return rc;
}

static void run_descent(void)
{
    hop_config config = { .workers = 2 };
    int depth = asked.descent.depth, rc;
    hop_runtime *rt;

    if (asked.place == THREAD) {
        rc = hop_runtime_new(&rt, &config);
        rc = rc < 0 ? rc : descend(&asked.descent);
    } else {
        rc = hop_run(descend_in_place, NULL, &config);
    }
    _exit(rc || asked.descent.below != depth);
}

/* Every line is a whole report. */
static void check_reports(const char *text)
{
    static const char start[] = "hop: stack overflow in ";
    const char *end;

    ck_assert_msg(*text, "%s, %s frames: no report", names[asked.place], asked.descent.large ? "large" : "small");
    for (; *text; text = end + 1) {
        end = strchr(text, '\n');
        ck_assert_msg(end && !strncmp(text, start, strlen(start)), "not a report: %s", text);
    }
}

/* The right result, or the report and the signal. */
static void descend_in_child(enum place place, int depth, bool large, bool must_fit)
{
    char text[4096];
    int status;

    asked.place = place;
    asked.descent = (struct descent){ depth, large, 0 };
    status = in_a_child(run_descent, text, sizeof text);
    if (WIFEXITED(status)) {
        ck_assert_msg(!WEXITSTATUS(status), "%s, %d deep: wrong, %s", names[place], depth, text);
        ck_assert_str_eq(text, "");
        return;
    }
    ck_assert_msg(!must_fit, "%s, %d deep: %s", names[place], depth, text);
    must_eq(WTERMSIG(status), SIGSEGV);
    check_reports(text);
}

START_TEST(recursion_is_right_or_reported)
{
    int place;

    for (place = 0; place < PLACES; place++) {
        descend_in_child((enum place)place, SMALL_DEPTH, false, true);
        descend_in_child((enum place)place, DEPTH, false, false);
    }
}
END_TEST

START_TEST(large_frames_do_not_step_over_the_guard)
{
    int place;

    for (place = 0; place < PLACES; place++)
        descend_in_child((enum place)place, DEPTH, true, false);
}
END_TEST

/* --- what is given back --- */

#ifdef _OPENMP
/* A function of its own: clang asks for the thread's number, on which num_threads depends, once a function. */
static __attribute__((noinline)) int narrow_region(void)
{
    int threads = 0;

#pragma omp parallel num_threads(2)
#pragma omp single
    threads = omp_get_num_threads();
    return threads;
}

static void open_narrow_regions(void)
{
    int i;

    for (i = 0; i < 200; i++) {
        hop_on_team
            must_eq(narrow_region(), 2);
        hop_on_cpu {
        }
    }
}

static int narrow_regions(void *arg)
{
    long before, grown = 4096;
    int i;

    (void)arg;
    open_narrow_regions();
    before = status_kib("VmSize");
    for (i = 0; i < 6 && grown >= 4096; i++) { /* the C library keeps a stack now and then; a leak grows each time */
        open_narrow_regions();
        grown = status_kib("VmSize") - before;
    }
    ck_assert_int_lt(grown, 4096);
    return 0;
}

/* For a region that is narrower than the team libgomp ends the other threads, and starts new ones afterwards. */
START_TEST(threads_that_a_region_ends_leave_nothing)
{
    mallopt(M_ARENA_MAX, 1); /* or the allocator takes 64 MiB when it likes */
    run_main_with(narrow_regions, NULL, &(hop_config){ .workers = 4 });
}
END_TEST
#endif

static void *use_own_stack(void *arg)
{
    pthread_attr_t attributes;
    void *low;
    size_t bytes;
    volatile char *p;

    must_eq(pthread_getattr_np(pthread_self(), &attributes), 0);
    must_eq(pthread_attr_getstack(&attributes, &low, &bytes), 0);
    pthread_attr_destroy(&attributes);
    for (p = low; p < (char *)__builtin_frame_address(0) - 64 * 1024; p += 4096)
        *p = 'x';
    pthread_barrier_wait(arg); /* all at once, so that each has a stack of its own */
    return NULL;
}

/* The C library keeps the stacks of threads that have ended, for the next ones. */
START_TEST(threads_leave_their_stacks_whole)
{
    pthread_barrier_t all;
    pthread_t threads[16];
    int i;

    must_eq(pthread_barrier_init(&all, NULL, 16), 0);
    must_eq(hop_run(one_job, NULL, &(hop_config){ .workers = 8, .loops = 2 }), 0);
    for (i = 0; i < 16; i++)
        threads[i] = start_thread(use_own_stack, &all);
    for (i = 0; i < 16; i++)
        join_thread(threads[i]);
    pthread_barrier_destroy(&all);
}
END_TEST

/* --- the limit on mappings --- */

static long max_map_count(void)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
    long n = 65530;

    if (f) {
        must_eq(fscanf(f, "%ld", &n), 1);
        fclose(f);
    }
    return n;
}

/*
 * Neighbours are merged into one mapping where the guard takes none; then to give every second one back takes more
 * mappings than there may be.
 */
START_TEST(stacks_given_back_in_any_order)
{
    size_t i, got, n = 2 * (size_t)max_map_count() + 10000, bytes = 16 * 1024;
    struct hop__stack *stacks = malloc(n * sizeof *stacks);
    struct hop__stack_pool pool;
    bool refused = false;
    long before;

    must(stacks);
    memset(stacks, 0, n * sizeof *stacks);
    before = status_kib("VmSize");
    hop__stack_pool_open(&pool, bytes);
    for (got = 0; got < n && !hop__stack_get(&pool, bytes, &stacks[got]);)
        got++;
    must(got > (size_t)max_map_count() / 3); /* with guards by mprotect no more are to be had */
    for (i = 0; i < got; i += 2) {
        hop__stack_put(&pool, stacks[i]);
        refused = refused || pool.refused;
    }
    must(refused == (got == n));
    for (i = 1; i < got; i += 2)
        hop__stack_put(&pool, stacks[i]);
    must(!pool.refused);
    hop__stack_pool_close(&pool);
    ck_assert_int_lt(status_kib("VmSize") - before, 1024);
    free(stacks);
}
END_TEST

int main(void)
{
    bool watched = TEST_SLOW; /* by who has reports and mappings of his own */
    const TTest *const all[] = {
        threads_leave_their_stacks_whole,
#ifdef _OPENMP
        threads_that_a_region_ends_leave_nothing,
#endif
        watched ? NULL : stacks_given_back_in_any_order,
        stack_overflow_is_reported, stack_overflow_on_a_worker_is_reported, stack_overflow_at_home_is_reported,
        earlier_handlers_have_their_turn, guards_are_there_where_advice_is_ignored, recursion_is_right_or_reported,
        large_frames_do_not_step_over_the_guard, NULL
    };

    return run_tests("stack", all);
}
