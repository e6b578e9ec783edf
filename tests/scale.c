/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Great numbers: tasks asleep at once, jobs, items, timers, scopes, indices, runtimes; memory that stays flat; counters
 * near the end of their range; and the limits at which the kernel gives no more.
 *
 * HOP_SCALE=100 in the environment: the full sizes, which are written here; the default is a tenth.
 */
#include "harness.h"

#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>

#include "async/timer.h"
#include "compute/pool.h"
#include "house.h"

/* Full size, or the part of it that suits here; the tools that watch make everything many times slower. */
static long sized(long full)
{
    long n = test_scaled(full);

    if (TEST_SLOW)
        n = n > full / 1000 ? full / 1000 : n;
    return n > 0 ? n : 1;
}

/* What malloc has given out and not got back. Zero under the sanitizers, whose malloc tells nothing. */
static size_t allocated(void)
{
    return mallinfo2().uordblks + mallinfo2().hblkhd;
}

/* --- tasks asleep --- */

static struct {
    long awake, told;
} sleepers;

static int sleep_until_cancelled(void *arg)
{
    int rc;

    (void)arg;
    sleepers.awake++;
    rc = hop_sleep(HOP_FOREVER);
    sleepers.told += rc == -ECANCELED;
    return rc;
}

static int hundred_thousand_asleep(void *arg)
{
    long n = sized(100000), i, before = status_kib("VmRSS");
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < n; i++)
        must_eq(hop_spawn(&scope, sleep_until_cancelled, NULL, NULL), 0);
    while (sleepers.awake < n)
        must_eq(hop_yield(), 0);
    printf("%ld tasks asleep: %ld bytes of memory each\n", n, (status_kib("VmRSS") - before) * 1024 / n);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(sleepers.told, n);
    return 0;
}

/* Of the stacks some are kept for re-use: 1,024 of 320 KiB, of which a task that does little commits a few pages. */
START_TEST(tasks_asleep_at_once)
{
    long before = status_kib("VmSize");

    run_main(hundred_thousand_asleep);
    if (!TEST_SLOW)
        ck_assert_int_lt(status_kib("VmSize") - before, 256 * 1024); /* arenas of the allocator */
}
END_TEST

/* --- where the kernel gives no more stacks --- */

static int spawn_to_the_limit(void *arg)
{
    long n = 0;
    hop_scope scope;
    int rc, again;

    must_eq(hop_scope_open(&scope), 0);
    while (!(rc = hop_spawn(&scope, sleep_until_cancelled, NULL, NULL)))
        n++;
    must_eq(rc, hop_int(arg));
    printf("%ld tasks, then %s\n", n, strerror(-rc));
    must_eq(hop_spawn(&scope, sleep_until_cancelled, NULL, NULL), rc);
    must_eq(hop_offload(return_it, hop_ptr(7)), 7);
    while (sleepers.awake < n)
        must_eq(hop_yield(), 0);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(sleepers.told, n);
    must_eq(hop_scope_open(&scope), 0);
    for (again = 0; again < 100; again++)
        must_eq(hop_spawn(&scope, return_it, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must(n > 100);
    return 0;
}

/* An address space that is nearly full: room for some stacks, and for what else a program maps. */
static int spawn_in_little_space(void *arg)
{
    struct rlimit was, now;
    int rc;

    must_eq(getrlimit(RLIMIT_AS, &was), 0);
    now = (struct rlimit){ (rlim_t)(status_kib("VmSize") + 128 * 1024) * 1024, was.rlim_max };
    must_eq(setrlimit(RLIMIT_AS, &now), 0);
    rc = spawn_to_the_limit(arg);
    must_eq(setrlimit(RLIMIT_AS, &was), 0);
    return rc;
}

START_TEST(no_space_for_stacks)
{
    mallopt(M_ARENA_MAX, 1); /* an arena would take what the stacks leave */
    run_main_with(spawn_in_little_space, hop_ptr(-ENOMEM), NULL);
}
END_TEST

/* As a kernel does that does not know it: madvise(MADV_GUARD_INSTALL) is -EINVAL from now on, in this process. */
static bool forget_guard_install(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 102, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog all = { sizeof program / sizeof *program, program };

    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all);
#else
    return false;
#endif
}

/* Each guard by mprotect is a mapping more, and a process may have 65,530: about 32,700 stacks. */
START_TEST(no_mappings_for_stacks)
{
    if (!forget_guard_install()) {
        printf("no seccomp here: guards by mprotect are not tried\n");
        return;
    }
    run_main_with(spawn_to_the_limit, hop_ptr(-EAGAIN), NULL);
    ck_assert_str_eq(hop__stack_guard_kind(), "mprotect");
}
END_TEST

/* --- flat memory --- */

enum { BATCH = 1000 };

/* Work in batches, each a scope, with memory looked at after a few and at the end. */
static int chain_of_scopes(long batches, void (*batch)(hop_scope *))
{
    hop_scope scope;
    size_t memory = 0;
    long i, resident = 0;

    for (i = 0; i < batches; i++) {
        if (i == 5) {
            memory = allocated();
            resident = status_kib("VmRSS");
        }
        must_eq(hop_scope_open(&scope), 0);
        batch(&scope);
        must_eq(hop_scope_close(&scope), 0);
    }
    if (batches > 5 && !TEST_SLOW) {
        ck_assert_int_le((long)(allocated() - memory), 16 * 1024); /* what threads look up once, and keep */
        ck_assert_int_le(status_kib("VmRSS") - resident, 2048);
    }
    return 0;
}

static atomic_long jobs_run;

static int count_job(void *arg)
{
    (void)arg;
    atomic_fetch_add_explicit(&jobs_run, 1, memory_order_relaxed);
    return 0;
}

static void submit_batch(hop_scope *scope)
{
    int i;

    for (i = 0; i < BATCH; i++)
        must_eq(hop_submit(scope, NULL, count_job, NULL), 0);
}

static int ten_million_jobs(void *arg)
{
    long batches = sized(10000000) / BATCH;
    hop_stats stats;

    (void)arg;
    must_eq(chain_of_scopes(batches, submit_batch), 0);
    must_eq(atomic_load(&jobs_run), batches * BATCH);
    must_eq(hop_stats_read(&stats), 0);
    must_eq(stats.jobs_accepted, batches * BATCH);
    must_eq(stats.jobs_completed, batches * BATCH);
    return 0;
}

START_TEST(jobs_in_flat_memory)
{
    run_main(ten_million_jobs);
}
END_TEST

static void offload_batch(hop_scope *scope)
{
    int i;

    (void)scope;
    for (i = 0; i < BATCH; i++)
        must_eq(hop_offload(return_it, hop_ptr(i)), i);
}

static int million_offloads(void *arg)
{
    (void)arg;
    return chain_of_scopes(sized(1000000) / BATCH, offload_batch);
}

START_TEST(offloads_in_flat_memory)
{
    run_main(million_offloads);
}
END_TEST

static void spawn_batch(hop_scope *scope)
{
    int i;

    for (i = 0; i < BATCH; i++)
        must_eq(hop_spawn(scope, count_job, NULL, NULL), 0);
}

static int million_tasks(void *arg)
{
    long batches = sized(1000000) / BATCH;

    (void)arg;
    must_eq(chain_of_scopes(batches, spawn_batch), 0);
    must_eq(atomic_load(&jobs_run), batches * BATCH);
    return 0;
}

START_TEST(tasks_in_flat_memory)
{
    run_main_with(million_tasks, NULL, &(hop_config){ .loops = 2 });
}
END_TEST

/* --- items between loops --- */

struct stream {
    hop_channel *channel;
    long n;
};

static int send_numbers(void *arg)
{
    struct stream *s = arg;
    long i;

    for (i = 0; i < s->n; i++)
        must_eq(hop_channel_send(s->channel, &i), 0);
    return hop_channel_close(s->channel);
}

static int receive_numbers(void *arg)
{
    struct stream *s = arg;
    long i, got;

    for (i = 0; hop_channel_recv(s->channel, &got) == 1; i++)
        must_eq(got, i);
    must_eq(i, s->n);
    return 0;
}

static int million_items(void *arg)
{
    struct stream s = { .n = sized(1000000) };
    hop_scope scope;

    (void)arg;
    must_eq(hop_channel_new(&s.channel, sizeof(long), 100), 0);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, send_numbers, &s, HOP_TASK(.loop = 1)), 0);
    must_eq(hop_spawn(&scope, receive_numbers, &s, HOP_TASK(.loop = 2)), 0);
    must_eq(hop_scope_close(&scope), 0);
    return hop_channel_free(s.channel);
}

START_TEST(items_between_loops)
{
    run_main_with(million_items, NULL, &(hop_config){ .loops = 2 });
}
END_TEST

/* --- select --- */

enum { CHANNELS = HOP_SELECT_MAX };

static struct {
    hop_channel *channels[CHANNELS];
    long n; /* items of each */
} fan;

static int send_to_one(void *arg)
{
    long i;

    for (i = 0; i < fan.n; i++)
        must_eq(hop_channel_send(fan.channels[hop_int(arg)], &i), 0);
    return 0;
}

static int select_from_all(void *arg)
{
    long left = fan.n * CHANNELS, items[CHANNELS], next[CHANNELS] = { 0 };
    hop_case cases[CHANNELS];
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < CHANNELS; i++) {
        must_eq(hop_channel_new(&fan.channels[i], sizeof(long), (size_t)i % 3), 0);
        cases[i] = hop_on_recv(fan.channels[i], &items[i]);
    }
    for (i = 0; i < CHANNELS; i++)
        must_eq(hop_spawn(&scope, send_to_one, hop_ptr(i), HOP_TASK(.loop = 1 + i % 2)), 0);
    for (; left > 0; left--) {
        i = hop_select(cases, CHANNELS);
        must(i >= 0 && cases[i].result == 1);
        must_eq(items[i], next[i]);
        next[i]++;
    }
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < CHANNELS; i++) {
        must_eq(next[i], fan.n);
        must_eq(hop_channel_free(fan.channels[i]), 0);
    }
    return 0;
}

START_TEST(select_among_as_many_as_allowed)
{
    fan.n = sized(1000000) / CHANNELS + 1;
    run_main_with(select_from_all, NULL, &(hop_config){ .loops = 2 });
}
END_TEST

/* --- futures --- */

static int many_futures(void *arg)
{
    long n = 10000, i;
    hop_future *futures = calloc((size_t)n, sizeof *futures);
    hop_scope scope;

    (void)arg;
    must(futures);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < n; i++)
        must_eq(hop_submit(&scope, &futures[i], return_it, hop_ptr((int)i)), 0);
    for (i = n; i-- > 0;)
        must_eq(hop_await(&futures[i]), i);
    must_eq(hop_scope_close(&scope), 0);
    free(futures);
    return 0;
}

START_TEST(futures_awaited_by_one)
{
    run_main(many_futures);
}
END_TEST

/* --- timers --- */

static struct {
    hop_ns now, last;
    long fired;
} clock_of_test;

static void fire(struct hop__timer *t)
{
    must(t->when <= clock_of_test.now);
    clock_of_test.fired++;
}

/* Near and far, some of them disarmed again; the wheel is advanced as it asks to be. */
START_TEST(timers_in_one_wheel)
{
    long n = sized(1000000), i, disarmed = 0;
    struct hop__timer *timers = calloc((size_t)n, sizeof *timers);
    unsigned seed = test_seed();
    struct hop__wheel wheel;

    must(timers);
    hop__wheel_init(&wheel, 0);
    for (i = 0; i < n; i++) {
        timers[i].fire = fire;
        hop__wheel_arm(&wheel, &timers[i], (hop_ns)test_random(&seed) << test_random(&seed) % 22);
    }
    for (i = 0; i < n; i += 3, disarmed++)
        hop__wheel_disarm(&wheel, &timers[i]);
    while ((clock_of_test.now = hop__wheel_next(&wheel)) != HOP_FOREVER) {
        must(clock_of_test.now >= clock_of_test.last);
        clock_of_test.last = clock_of_test.now;
        hop__wheel_advance(&wheel, clock_of_test.now);
    }
    must_eq(clock_of_test.fired, n - disarmed);
    for (i = 0; i < n; i++)
        must(!timers[i].link);
    free(timers);
}
END_TEST

enum { NAPPERS = 1000 };

static int nap(void *arg)
{
    unsigned seed = (unsigned)hop_int(arg) + 1;
    long i, n = sized(1000000) / NAPPERS;

    for (i = 0; i < n; i++) {
        hop_ns span = test_random(&seed) % 100000, before = hop_now();

        must_eq(hop_sleep(span), 0);
        must(hop_now() - before >= span);
    }
    return 0;
}

static int million_naps(void *arg)
{
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < NAPPERS; i++)
        must_eq(hop_spawn(&scope, nap, hop_ptr(i), NULL), 0);
    return hop_scope_close(&scope);
}

START_TEST(naps)
{
    run_main(million_naps);
}
END_TEST

/* --- scopes --- */

static int deep_nesting(void *arg)
{
    long n = sized(10000), i;
    hop_scope *scopes = malloc((size_t)n * sizeof *scopes);

    (void)arg;
    must(scopes);
    memset(scopes, 0, (size_t)n * sizeof *scopes);
    for (i = 0; i < n; i++) {
        must_eq(hop_scope_open(&scopes[i]), 0);
        if (i % 100 == 0)
            must_eq(hop_spawn(&scopes[i], sleep_until_cancelled, NULL, NULL), 0);
    }
    while (sleepers.awake < (n + 99) / 100)
        must_eq(hop_yield(), 0);
    must_eq(hop_scope_cancel(&scopes[0], -ECANCELED), 0); /* whose children alone are told */
    while (sleepers.told < 1)
        must_eq(hop_yield(), 0);
    must_eq(sleepers.told, 1);
    for (i = n; i-- > 0;) {
        must_eq(hop_scope_cancel(&scopes[i], -EIO), 0);
        must_eq(hop_scope_close(&scopes[i]), i == 0 || i % 100 ? i == 0 ? -ECANCELED : -EIO : -EIO);
    }
    free(scopes);
    return 0;
}

START_TEST(scopes_nested_deep)
{
    run_main(deep_nesting);
}
END_TEST

/* --- ranges --- */

/*
 * Chunks cover a range once each if what they begin with cancels what they end with: the sums of a hash of both ends
 * differ by that of the ends of the range.
 */
struct cover {
    atomic_ullong ends, length;
    size_t lo, hi;
};

static unsigned long long mix(size_t x)
{
    unsigned long long z = x + 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int note_chunk(size_t lo, size_t hi, void *arg)
{
    struct cover *c = arg;

    if (lo >= hi || lo < c->lo || hi > c->hi)
        return -ERANGE;
    atomic_fetch_add(&c->ends, mix(hi) - mix(lo));
    atomic_fetch_add(&c->length, hi - lo);
    return 0;
}

static int note_fold(size_t lo, size_t hi, void *into, void *arg)
{
    int rc = note_chunk(lo, hi, arg);

    *(unsigned long long *)into += hi - lo;
    return rc;
}

static void add(void *into, const void *from, void *arg)
{
    (void)arg;
    *(unsigned long long *)into += *(const unsigned long long *)from;
}

static void check_cover(const struct cover *c)
{
    must(atomic_load(&c->ends) == mix(c->hi) - mix(c->lo));
    must(atomic_load(&c->length) == c->hi - c->lo);
}

static void cover_range(size_t lo, size_t hi, size_t grain)
{
    struct cover by_loop = { .lo = lo, .hi = hi }, by_fold = { .lo = lo, .hi = hi };
    unsigned long long sum = 0;

    must_eq(hop_parallel_for(lo, hi, note_chunk, &by_loop, HOP_PAR(.grain = grain)), 0);
    check_cover(&by_loop);
    must_eq(hop_parallel_reduce(lo, hi, note_fold, add, &by_fold, &sum, sizeof sum, HOP_PAR(.grain = grain)), 0);
    check_cover(&by_fold);
    must(sum == hi - lo);
}

static int cover_ranges(void *arg)
{
    static const size_t ends[] = {
        0, 1, INT32_MAX, UINT32_MAX, (size_t)1 << 33, INT64_MAX, SIZE_MAX - 1, SIZE_MAX
    };
    static const size_t grains[] = { 0, 1000003, (size_t)INT32_MAX + 1, INT64_MAX, SIZE_MAX };
    enum { ENDS = sizeof ends / sizeof *ends, GRAINS = sizeof grains / sizeof *grains };
    struct cover none = { .lo = 0 };
    int i, j, k;

    (void)arg;
    for (i = 0; i < ENDS; i++)
        for (j = i + 1; j < ENDS; j++)
            for (k = 0; k < GRAINS; k++)
                cover_range(ends[i], ends[j], grains[k]);
    for (i = 0; i < ENDS; i++) {
        must_eq(hop_parallel_for(ends[i], ends[i], note_chunk, &none, NULL), 0);
        for (j = 0; j < i; j++)
            must_eq(hop_parallel_for(ends[i], ends[j], note_chunk, &none, NULL), -EINVAL);
    }
    must(!atomic_load(&none.length));
    return 0;
}

/* On many workers, so that ranges are stolen to pieces, and on one. */
START_TEST(ranges_as_long_as_can_be)
{
    run_main_with(cover_ranges, NULL, &(hop_config){ .workers = 4 });
    run_main_with(cover_ranges, NULL, &(hop_config){ .workers = 1 });
}
END_TEST

/* --- runtimes --- */

static void *use_runtime(void *arg)
{
    long n = hop_int(arg), i;
    hop_scope scope;
    hop_runtime *rt;
    int job;

    for (i = 0; i < n; i++) {
        must_eq(hop_runtime_new(&rt, &(hop_config){ .workers = 2, .loops = 2 }), 0);
        must_eq(hop_runtime_use(rt), 0);
        must_eq(hop_scope_open(&scope), 0);
        for (job = 0; job < 20; job++) {
            must_eq(hop_submit(&scope, NULL, return_it, NULL), 0);
            must_eq(hop_spawn(&scope, return_it, NULL, NULL), 0);
        }
        must_eq(hop_scope_close(&scope), 0);
        must_eq(hop_runtime_free(rt), 0);
    }
    return NULL;
}

START_TEST(runtimes_one_after_the_other)
{
    int fds = open_descriptors(), threads;
    long memory, resident;

    use_runtime(hop_ptr(3));
    threads = live_threads();
    memory = (long)allocated();
    resident = status_kib("VmRSS");
    use_runtime(hop_ptr((int)sized(1000)));
    must_eq(open_descriptors(), fds);
    must_eq(settled_threads(threads), threads);
    if (!TEST_SLOW) {
        ck_assert_int_le((long)allocated() - memory, 64 * 1024);
        ck_assert_int_le(status_kib("VmRSS") - resident, 4096);
    }
}
END_TEST

START_TEST(eight_runtimes_at_once)
{
    int fds = open_descriptors(), threads, i;
    pthread_t users[8];

    use_runtime(hop_ptr(1)); /* a sanitizer may start a thread of its own */
    threads = live_threads();
    for (i = 0; i < 8; i++)
        users[i] = start_thread(use_runtime, hop_ptr((int)sized(100)));
    for (i = 0; i < 8; i++)
        join_thread(users[i]);
    must_eq(open_descriptors(), fds);
    if (!TEST_KEPT_THREADS)
        must_eq(settled_threads(threads), threads);
}
END_TEST

static int work_everywhere(void *arg)
{
    struct cover all = { .lo = 0, .hi = 1000000 };
    hop_scope scope;
    long i, n = sized(100000);

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < n; i++) {
        must_eq(hop_submit(&scope, NULL, count_job, NULL), 0);
        must_eq(hop_spawn(&scope, count_job, NULL, HOP_TASK(.loop = 1 + (int)i % 64)), 0);
    }
    must_eq(hop_parallel_for(all.lo, all.hi, note_chunk, &all, HOP_PAR(.grain = 100)), 0);
    check_cover(&all);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&jobs_run), 2 * n);
    return 0;
}

START_TEST(sixty_four_workers_and_loops)
{
    run_main_with(work_everywhere, NULL, &(hop_config){ .workers = 64, .loops = 64 });
}
END_TEST

/* A process can have 64 loops. The runtime that asks for more gets nothing, and leaves nothing. */
START_TEST(more_loops_than_a_process_can_have)
{
    int fds, threads;
    hop_runtime *first, *second;

    must_eq(hop_runtime_new(&first, &(hop_config){ .loops = 40 }), 0);
    fds = open_descriptors();
    threads = live_threads();
    must_eq(hop_runtime_new(&second, &(hop_config){ .loops = 25 }), -EAGAIN);
    must_eq(open_descriptors(), fds);
    must_eq(settled_threads(threads), threads);
    must_eq(hop_runtime_new(&second, &(hop_config){ .loops = 24 }), 0);
    must_eq(hop_runtime_free(second), 0);
    must_eq(hop_runtime_free(first), 0);
}
END_TEST

/* --- the blocking lane --- */

static int block_and_wait(void *arg)
{
    int rc = 0;

    hop_on_blocking {
        rc = hop_sleep(10 * HOP_US); /* goes home, and comes back to the same thread */
        count_job(arg);
    }
    return rc;
}

static int crowd_on_the_lane(void *arg)
{
    long n = sized(100000), i;
    hop_scope scope;
    hop_stats stats;

    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < n; i++)
        must_eq(hop_spawn(&scope, block_and_wait, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&jobs_run), n);
    must_eq(hop_stats_read(&stats), 0);
    must(stats.blocking_threads <= hop_int(arg));
    return 0;
}

START_TEST(tasks_queue_for_the_blocking_lane)
{
    run_main_with(crowd_on_the_lane, hop_ptr(16), &(hop_config){ .blocking_threads = 16 });
}
END_TEST

/* --- threads --- */

struct submitter {
    hop_runtime *runtime;
    long n;
};

static void *submit_from_thread(void *arg)
{
    const struct submitter *s = arg;
    hop_scope scope;
    long i;

    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < s->n; i++) {
        must_eq(hop_submit(&scope, NULL, count_job, NULL), 0);
        if (i % 16 == 0)
            must_eq(hop_offload(return_it, hop_ptr((int)i)), (int)i);
    }
    must_eq(hop_scope_close(&scope), 0);
    return NULL;
}

/* Through a queue of two places. */
START_TEST(a_hundred_threads_submit_at_once)
{
    struct submitter s = { .n = sized(10000) };
    pthread_t threads[100];
    int i;

    must_eq(hop_runtime_new(&s.runtime, &(hop_config){ .queue = 2 }), 0);
    for (i = 0; i < 100; i++)
        threads[i] = start_thread(submit_from_thread, &s);
    for (i = 0; i < 100; i++)
        join_thread(threads[i]);
    must_eq(atomic_load(&jobs_run), 100 * s.n);
    must_eq(hop_runtime_free(s.runtime), 0);
}
END_TEST

/* --- a long life --- */

/* The counters of 32 bits stand just before their end, as after months of service. */
static void age(hop_runtime *rt)
{
    struct hop__pool *pool = hop__house_of(rt)->pool;
    int i;

    for (i = 0; i < pool->nworkers; i++) {
        hop__fetch_or(&pool->workers[i].park.word, UINT32_MAX - 3, relaxed);
        hop__fetch_or(&pool->workers[i].followers.word, UINT32_MAX - 3, relaxed);
    }
    hop__store(&rt->load.relief, UINT32_MAX - 5, relaxed);
    hop__store(&rt->next_loop, UINT_MAX - 5, relaxed);
}

/* Who is woken depends on where the loop is. */
static bool somebody_came_round(struct hop__pool *pool)
{
    int i;

    for (i = 0; i < pool->nworkers; i++)
        if (hop__load(&pool->workers[i].park.word, relaxed) < UINT32_MAX - 3)
            return true;
    return false;
}

/* Workers are woken for each of these, and sleep again before the next. */
static int work_and_rest(void *arg)
{
    uint64_t parks = 0;
    hop_stats stats;
    int i;

    (void)arg;
    for (i = 0; i < 200; i++) {
        struct cover all = { .lo = 0, .hi = 10000 };

        must_eq(hop_parallel_for(all.lo, all.hi, note_chunk, &all, HOP_PAR(.grain = 10)), 0);
        check_cover(&all);
        do {
            must_eq(hop_sleep(50 * HOP_US), 0);
            must_eq(hop_stats_read(&stats), 0);
        } while (stats.parks <= parks);
        parks = stats.parks;
    }
    return 0;
}

START_TEST(counters_come_round)
{
    hop_config config = { .workers = 4, .loops = 3, .no_spin = 1, .qos = HOP_QOS_MILD, .moderate_ns = 50 * HOP_US };
    hop_runtime *rt;
    hop_scope scope;
    int i;

    must_eq(hop_runtime_new(&rt, &config), 0);
    age(rt);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 10; i++)
        must_eq(hop_spawn(&scope, i == 9 ? work_and_rest : return_it, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must(hop__load(&rt->next_loop, relaxed) < 100);
    must(somebody_came_round(hop__house_of(rt)->pool));
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

int main(void)
{
    const TTest *const all[] = {
        tasks_asleep_at_once, jobs_in_flat_memory, offloads_in_flat_memory, tasks_in_flat_memory, items_between_loops,
        select_among_as_many_as_allowed, futures_awaited_by_one, timers_in_one_wheel, naps, scopes_nested_deep,
        ranges_as_long_as_can_be, runtimes_one_after_the_other, eight_runtimes_at_once, sixty_four_workers_and_loops,
        more_loops_than_a_process_can_have, tasks_queue_for_the_blocking_lane, a_hundred_threads_submit_at_once,
        counters_come_round,
        TEST_SLOW ? NULL : no_space_for_stacks, /* they map what they like */
        no_mappings_for_stacks, NULL
    };

    return run_tests("scale", all);
}
