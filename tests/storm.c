/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storms: see storms/storm.h for what one is. This file plays seeds, watches over them and tells how to play one again.
 *
 *     tests/storm                        as a test: SEEDS of them, from the time on
 *     HOP_SEED=N tests/storm             this one seed; HOP_STORM_SEEDS=K: so many, from it on; the schedule is never
 *                                        the same, so a rare failure may take HOP_STORM_AGAIN=100 turns of the seed
 *     tests/storm COUNT [SECONDS]        so many seeds, or as many as fit in the time, from HOP_SEED or the time on
 *
 * HOP_STORM_ONLY="join fork hop family" leaves out all scenes but these, and makes other programs of the same seeds.
 * HOP_STORM_PATIENCE: seconds without a step until the watchdog calls it a hang.
 *
 * Seeds are played by crews: processes of this program, each for a stretch of seeds, so that a crash takes no more
 * along than one seed. A crew says by a pipe which seed it is at. Inside, a watchdog ends it when nothing moves any
 * more, and balances are drawn after each seed: descriptors, threads, memory.
 */
#include "config.h"

#include "harness.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "storms/storm.h"

enum { SEEDS = 200, STRETCH = 40, PROGRESS = 9, FAILURES_MAX = 5, PATIENCE_SECONDS = 60 };

static long number_from(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtol(text, NULL, 0) : otherwise;
}

/* --- when something is wrong --- */

static void tell(const char *what)
{
    alarm(20); /* whatever the rest meets */
    fprintf(stderr, "storm: seed %u: %s\n", storm.seed, what);
    fprintf(stderr, "storm: tasks %ld of %ld, jobs %ld run and %ld refused of %ld, lane %d\n",
            atomic_load(&storm.tasks_ended), atomic_load(&storm.tasks_accepted), atomic_load(&storm.jobs_run),
            atomic_load(&storm.jobs_refused), atomic_load(&storm.jobs_accepted), atomic_load(&storm.lane));
    actors_dump(stderr);
    fflush(stderr);
}

void storm_fail(const char *file, int line, const char *what, long long a, long long b)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    char text[300];

    snprintf(text, sizeof text, "not so: %s (%lld, %lld), %s:%d", what, a, b, file, line);
    if (!atomic_flag_test_and_set(&told)) {
        tell(text);
        abort();
    }
    for (;;) /* another thread is at it */
        pause();
}

static atomic_uint playing; /* the seed */

/* A hang: nothing has moved for so long; or things do move, but to no end. */
static void *watch(void *arg)
{
    long patience = 20 * number_from("HOP_STORM_PATIENCE", PATIENCE_SECONDS), still = 0, total = 0;
    const atomic_bool *over = arg;
    unsigned long steps = 0;
    unsigned seed = 0;

    while (!atomic_load(over)) {
        still = atomic_load(&storm_steps) == steps ? still + 1 : 0;
        total = atomic_load(&playing) == seed ? total + 1 : 0;
        steps = atomic_load(&storm_steps);
        seed = atomic_load(&playing);
        if (still >= patience || total >= 10 * patience) {
            tell(still >= patience ? "nothing moves any more" : "it does not come to an end");
            hop_describe(stderr);
            abort();
        }
        nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    }
    return NULL;
}

/* --- a crew --- */

static atomic_long mapped; /* bytes, by hop and other libraries, but not by the C library for itself */

#if TEST_SANITIZED
#define HEAP_MATTERS 0
#else
#define HEAP_MATTERS 1

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    long start = syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);

    if (start != -1)
        atomic_fetch_add_explicit(&mapped, (long)bytes, memory_order_relaxed);
    return (void *)start;
}

int munmap(void *start, size_t bytes)
{
    long rc = syscall(SYS_munmap, start, bytes);

    if (!rc)
        atomic_fetch_sub_explicit(&mapped, (long)bytes, memory_order_relaxed);
    return (int)rc;
}
#endif

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

struct balance {
    int descriptors, threads;
    size_t heap;
    long mapped;
};

static struct balance draw_balance(int threads)
{
    struct balance b = { open_descriptors(), threads ? settled_threads(threads) : live_threads(), 0, 0 };

    malloc_trim(0);
    b.heap = mallinfo2().uordblks;
    b.mapped = atomic_load(&mapped);
    return b;
}

static void list_descriptors(void)
{
    char name[32], target[128];
    ssize_t n;
    int fd;

    for (fd = 0; fd < 4096; fd++) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        n = readlink(name, target, sizeof target - 1);
        if (n > 0)
            fprintf(stderr, "storm: descriptor %d: %.*s\n", fd, (int)n, target);
    }
}

static void check_balance(const struct balance *before)
{
    struct balance after = draw_balance(before->threads);

    if (after.descriptors != before->descriptors)
        list_descriptors();
    claim_eq(after.descriptors, before->descriptors);
    claim_eq(after.threads, before->threads);
    claim_eq(after.mapped, before->mapped);
    if (__lsan_do_recoverable_leak_check)
        claim(!__lsan_do_recoverable_leak_check());
}

/* What stays for ever is made in the first seeds; after these a stretch does not make the heap grow. */
static void check_heap(const struct balance *early)
{
    struct balance late = draw_balance(early->threads);
    const size_t most = 160 * 1024; /* the table of descriptors grows by 32 KiB a block */

    if (HEAP_MATTERS && late.heap > early->heap + most)
        storm_fail(__FILE__, __LINE__, "the heap does not grow", (long long)late.heap, (long long)early->heap);
}

static void announce(unsigned seed)
{
    ssize_t n = write(PROGRESS, &seed, sizeof seed);

    atomic_store(&playing, seed);

    (void)n; /* nobody listens if it was started by hand */
}

static int many_descriptors(void)
{
    struct rlimit limit = { 0, 0 };

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

/* A seed may have two runtimes at once, and so as many threads for libomp to keep (see warm_up). */
static void warm_up_two(void)
{
    hop_config widest = { .workers = 16 };
    hop_runtime *runtimes[2];
    int i;

    if (!TEST_KEPT_THREADS)
        return;
    for (i = 0; i < 2; i++)
        claim_eq(hop_runtime_new(&runtimes[i], &widest), 0);
    for (i = 0; i < 2; i++) {
        claim_eq(hop_runtime_use(runtimes[i]), 0);
        claim_eq(hop_offload(return_it, NULL), 0);
    }
    claim_eq(hop_runtime_use(NULL), 0);
    for (i = 0; i < 2; i++)
        claim_eq(hop_runtime_free(runtimes[i]), 0);
}

static int crew(unsigned from, unsigned count)
{
    long again = number_from("HOP_STORM_AGAIN", 1), turn;
    atomic_bool over = false;
    struct balance before, early = { 0 };
    pthread_t watchdog;
    unsigned seed;

    signal(SIGPIPE, SIG_IGN);
    fcntl(PROGRESS, F_SETFD, FD_CLOEXEC);
    claim_eq(many_descriptors(), 0);
    warm_up();
    warm_up_two();
    watchdog = start_thread(watch, &over);
    before = draw_balance(0);
    for (seed = from; seed != from + count; seed++) {
        announce(seed);
        for (turn = 0; turn < again; turn++) {
            storm_play(seed);
            check_balance(&before);
        }
        if (seed - from == 9)
            early = draw_balance(before.threads);
    }
    if (early.heap)
        check_heap(&early);
    atomic_store(&over, true);
    join_thread(watchdog);
    return 0;
}

/* --- the captain --- */

static char crew_argument[] = "--crew";

static void become_crew(unsigned from, unsigned count)
{
    char first[16], number[16], self[] = "/proc/self/exe";
    char *arguments[] = { self, crew_argument, first, number, NULL };

    snprintf(first, sizeof first, "%u", from);
    snprintf(number, sizeof number, "%u", count);
    setenv("TSAN_OPTIONS", "halt_on_error=1", 0);
    setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 0); /* so that the heap's balance is exact */
    execv(self, arguments);
    _exit(127);
}

/* Plays a stretch. True: well; otherwise *at is the seed at which it ended. */
static bool send_crew(unsigned from, unsigned count, unsigned *at)
{
    int progress[2], status = 0;
    pid_t pid;

    must_eq(pipe(progress), 0);
    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (!pid) {
        close(progress[0]);
        if (progress[1] != PROGRESS) {
            must_eq(dup2(progress[1], PROGRESS), PROGRESS);
            close(progress[1]);
        }
        become_crew(from, count);
    }
    close(progress[1]);
    *at = from;
    while (read(progress[0], at, sizeof *at) == sizeof *at)
        ;
    close(progress[0]);
    must_eq(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fprintf(stderr, "storm: seed %u: ended by %s\n", *at, strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void tell_how_to_play_again(unsigned seed)
{
    printf("to play it again: HOP_SEED=%u tests/storm\n", seed);
    fflush(stdout);
}

/* Plays count seeds, or as many as fit in the time (0: for ever): how many failed. */
static unsigned play_seeds(unsigned from, unsigned count, long seconds, unsigned *played)
{
    hop_ns end = seconds ? hop_now() + seconds * HOP_SEC : HOP_FOREVER;
    unsigned next = from, failed = 0, at;

    while (next - from < count && failed < FAILURES_MAX && hop_now() < end) {
        unsigned left = count - (next - from), stretch = left < STRETCH ? left : STRETCH;

        if (send_crew(next, stretch, &at)) {
            next += stretch;
            continue;
        }
        tell_how_to_play_again(at);
        failed++;
        next = at + 1;
    }
    *played = next - from;
    return failed;
}

static int play_by_hand(unsigned from, unsigned count, long seconds)
{
    unsigned played, failed;

    printf("storm: up to %u seeds from %u on\n", count, from);
    failed = play_seeds(from, count, seconds, &played);
    printf("storms: %u passed, %u failed\n", played - failed, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- the test --- */

enum { PARTS = 4 };

static unsigned first_seed;

START_TEST(storms_keep_every_promise)
{
    unsigned played;

    ck_assert_uint_eq(play_seeds(first_seed + (unsigned)_i * SEEDS / PARTS, SEEDS / PARTS, 0, &played), 0);
    ck_assert_uint_eq(played, SEEDS / PARTS);
}
END_TEST

static int play_as_test(void)
{
    Suite *suite = suite_create("storm");
    TCase *storms = tcase_create("storm");
    SRunner *runner;
    int failed;

    first_seed = test_seed();
    tcase_set_timeout(storms, 100);
    tcase_add_loop_test(storms, storms_keep_every_promise, 0, PARTS);
    suite_add_tcase(suite, storms);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    unsigned seed = (unsigned)number_from("HOP_SEED", 0);

    if (argc == 4 && !strcmp(argv[1], crew_argument))
        return crew((unsigned)strtoul(argv[2], NULL, 0), (unsigned)strtoul(argv[3], NULL, 0));
    if (argc > 1)
        return play_by_hand(seed ? seed : test_seed(), (unsigned)strtoul(argv[1], NULL, 0),
                            argc > 2 ? strtol(argv[2], NULL, 0) : 0);
    if (seed)
        return play_by_hand(seed, (unsigned)number_from("HOP_STORM_SEEDS", 1), 0);
    return play_as_test();
}
