/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every Check program shares: the main function, balances of what a process holds, and running inside a runtime.
 *
 * Each test runs in a process of its own (CK_FORK) with a time limit. Nothing sleeps for synchronisation: tests wait
 * for what they await, and the limit catches the rest.
 */
#ifndef HOP_TESTS_HARNESS_H
#define HOP_TESTS_HARNESS_H

#include <check.h>
#include <dirent.h>
#include <hop.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "coverage.h"

#ifdef HOP_HELGRIND
#include "helgrind.h"
#else
static inline void forgive_libraries(void)
{
}
#endif

enum { TEST_SECONDS = 20 };

#if defined(__clang__) && !defined(HOP_TEAM_PTHREAD)
enum { TEST_KEPT_THREADS = 1 };
#else
enum { TEST_KEPT_THREADS = 0 };
#endif

static int one_job(void *arg)
{
    return arg ? 0 : hop_offload(one_job, &(int){ 1 }); /* the team has begun when a job has run */
}

/*
 * libomp keeps the threads of a team that has ended, for the next one: so before threads are counted there has been a
 * team as wide as any that a test makes. libgomp and plain threads leave nothing, and begin with nothing.
 */
static void warm_up(void)
{
    forgive_libraries();
    if (TEST_KEPT_THREADS)
        hop_run(one_job, NULL, &(hop_config){ .workers = 16 });
}

/* The main of a program: a null-terminated list of tests in one case. */
static inline int run_tests(const char *name, const TTest *const *tests)
{
    Suite *suite = suite_create(name);
    TCase *all = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_set_timeout(all, TEST_SECONDS);
    tcase_add_checked_fixture(all, warm_up, NULL);
    for (; *tests; tests++)
        tcase_add_test(all, *tests);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define RUN_TESTS(name, ...) \
    int main(void) \
    { \
        const TTest *const tests[] = { __VA_ARGS__, NULL }; \
        return run_tests(name, tests); \
    }

static inline int count_entries(const char *directory)
{
    DIR *d = opendir(directory);
    int n = 0;

    if (!d)
        return -1;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static inline int open_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

static inline int live_threads(void)
{
    return count_entries("/proc/self/task");
}

/*
 * A thread that was joined is still listed for a moment: look until no more are there than expected, at most for a
 * second. expected may have been counted in such a moment: fewer are as good.
 */
static inline int settled_threads(int expected)
{
    struct timespec ms = { 0, 1000000 };
    int i, n;

    for (i = 0; i < 1000 && live_threads() > expected; i++)
        nanosleep(&ms, NULL);
    n = live_threads();
    return n > expected ? n : expected;
}

/* A seed for a stress test: HOP_SEED of the environment, or the time; printed, so that a failure can be replayed. */
static inline unsigned test_seed(void)
{
    const char *given = getenv("HOP_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);

    seed = seed ? seed : 1;
    printf("HOP_SEED=%u\n", seed);
    fflush(stdout);
    return seed;
}

/* A part of a full size: HOP_SCALE of the environment in percent, by default 10. At least 1. */
static inline long test_scaled(long full)
{
    const char *given = getenv("HOP_SCALE");
    long percent = given ? strtol(given, NULL, 10) : 10, n = full / 100 * percent;

    return n > 0 ? n : 1;
}

/* Assertions for tasks, threads and inner loops: silent while they hold, where Check notes each of its own. */
#define must(condition) \
    do { \
        if (!(condition)) \
            ck_abort_msg("not so: %s", #condition); \
    } while (0)

#define must_eq(a, b) \
    do { \
        long long must__a = (long long)(a), must__b = (long long)(b); \
        if (must__a != must__b) \
            ck_abort_msg("%s is %lld, not %s, %lld", #a, must__a, #b, must__b); \
    } while (0)

/* Timing and memory differ under the sanitizers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#define TEST_VALGRIND (RUNNING_ON_VALGRIND > 0)
#else
#define TEST_VALGRIND 0
#endif

/*
 * The end of a child of fork in a running runtime. The stacks of the parent's other threads are not its own, so what
 * only those hold would be called lost.
 */
static inline void __attribute__((noreturn)) end_child(int status)
{
#if defined(HAVE_VALGRIND_VALGRIND_H) && defined(VALGRIND_CLO_CHANGE)
    VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
    _exit(status);
}

/* A tool makes everything many times slower: tests of many take fewer. */
#define TEST_SLOW (TEST_SANITIZED || TEST_VALGRIND)

static inline pthread_t start_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    must_eq(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static inline void join_thread(pthread_t thread)
{
    must_eq(pthread_join(thread, NULL), 0);
}

/* The next of a sequence of numbers that looks random; *state is not 0. */
static inline unsigned test_random(unsigned *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Small tasks and jobs that many tests use. */
static inline int return_it(void *arg)
{
    return hop_int(arg);
}

static inline int count_it(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

/* Runs fn in a child process: its wait status; what it wrote to standard error is in text. */
static inline int in_a_child(void (*fn)(void), char *text, size_t bytes)
{
    struct rlimit none = { 0, 0 };
    size_t n = 0;
    ssize_t got;
    int fds[2], status;
    pid_t pid;

    must_eq(pipe(fds), 0);
    pid = fork();
    must(pid >= 0);
    if (!pid) {
        setrlimit(RLIMIT_CORE, &none);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        fn();
        _exit(0);
    }
    close(fds[1]);
    while (n < bytes - 1 && (got = read(fds[0], text + n, bytes - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(fds[0]);
    must_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* A line of /proc/self/status that is told in KiB: "VmSize", "VmRSS". */
static inline long status_kib(const char *what)
{
    char line[256];
    size_t n = strlen(what);
    FILE *f = fopen("/proc/self/status", "r");
    long kib = -1;

    must(f);
    while (kib < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, what, n) && line[n] == ':')
            kib = strtol(line + n + 1, NULL, 10);
    fclose(f);
    return kib;
}

static inline long thread_id(void)
{
    return syscall(SYS_gettid);
}

/* Runs fn as the main task of a runtime and asserts that it returned 0. */
static inline void run_main_with(hop_fn *fn, void *arg, const hop_config *config)
{
    ck_assert_int_eq(hop_run(fn, arg, config), 0);
}

static inline void run_main(hop_fn *fn)
{
    run_main_with(fn, NULL, NULL);
}

#endif
