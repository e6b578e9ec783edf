/* SPDX-License-Identifier: BSD-3-Clause */

/* Fork-join, parallel loops, reductions: results, errors, stopping, and locks held around them. */
#include "harness.h"

#include <float.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static const hop_config four_workers = { .workers = 4 };

/* Runs the same check in a task, on a worker, in the team, on a blocking thread, in a job and in a thread. */
static void *run_in_thread(void *arg)
{
    hop_fn *const *check = arg;

    must_eq((*check)(NULL), 0);
    return NULL;
}

static int run_everywhere(void *arg)
{
    hop_fn *const *check = arg;

    must_eq((*check)(NULL), 0);
    hop_on_cpu {
        must_eq((*check)(NULL), 0);
    }
    hop_on_team {
        must_eq((*check)(NULL), 0);
    }
    hop_on_blocking {
        must_eq((*check)(NULL), 0);
    }
    must_eq(hop_offload(*check, NULL), 0);
    hop_on_blocking {
        join_thread(start_thread(run_in_thread, arg));
    }
    return 0;
}

static void everywhere(hop_fn *check)
{
    hop_config one = { .workers = 1 };

    run_main_with(run_everywhere, &check, &four_workers);
    run_main_with(run_everywhere, &check, &one);
}

/* --- join --- */

static int joins(void *arg)
{
    atomic_int n = 0;

    (void)arg;
    must_eq(hop_join(count_it, &n, count_it, &n), 0);
    must_eq(atomic_load(&n), 2);
    must_eq(hop_join(return_it, hop_ptr(3), return_it, hop_ptr(4)), 0); /* counts are no errors */
    must_eq(hop_join(return_it, hop_ptr(-EIO), return_it, hop_ptr(0)), -EIO);
    must_eq(hop_join(return_it, hop_ptr(0), return_it, hop_ptr(-EDOM)), -EDOM);
    must_eq(hop_join(return_it, hop_ptr(-EIO), return_it, hop_ptr(-EDOM)), -EIO); /* fa's before fb's */
    must_eq(hop_join(NULL, NULL, count_it, &n), -EINVAL);
    must_eq(hop_join(count_it, &n, NULL, NULL), -EINVAL);
    must_eq(atomic_load(&n), 2);
    return 0;
}

START_TEST(join_returns_the_first_error)
{
    everywhere(joins);
}
END_TEST

static int skip_second(void *arg)
{
    atomic_int n = 0;

    (void)arg;
    must_eq(hop_join(return_it, hop_ptr(-EIO), count_it, &n), -EIO);
    must_eq(atomic_load(&n), 0); /* with one worker nobody can have stolen it */
    return 0;
}

START_TEST(join_skips_what_was_not_started)
{
    hop_config one = { .workers = 1 };

    run_main_with(skip_second, NULL, &one);
}
END_TEST

struct fib {
    int n;
    long result;
};

static int fib(void *arg)
{
    struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };
    int rc;

    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    rc = hop_join(fib, &a, fib, &b);
    f->result = a.result + b.result;
    return rc;
}

static int fib_once(void *arg)
{
    struct fib f = { TEST_SLOW ? 18 : 25, 0 };

    (void)arg;
    must_eq(fib(&f), 0);
    must_eq(f.result, TEST_SLOW ? 2584 : 75025);
    return 0;
}

START_TEST(join_recursion)
{
    everywhere(fib_once);
}
END_TEST

/* The halves do run at the same time: each waits for the other to have begun. */
static int meet(void *arg)
{
    pthread_barrier_wait(arg);
    return 0;
}

static int both_at_once(void *arg)
{
    pthread_barrier_t barrier;
    int i;

    (void)arg;
    pthread_barrier_init(&barrier, NULL, 2);
    for (i = 0; i < 50; i++)
        must_eq(hop_join(meet, &barrier, meet, &barrier), 0);
    pthread_barrier_destroy(&barrier);
    return 0;
}

START_TEST(join_runs_both_at_once)
{
    run_main_with(both_at_once, NULL, &four_workers);
}
END_TEST

/* Two runtimes' threads, jobs and tasks join at the same time. */
static int fib_job(void *arg)
{
    return fib_once(arg);
}

static int fibs(void *arg)
{
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 6; i++)
        must_eq(hop_submit(&scope, NULL, fib_job, NULL), 0);
    for (i = 0; i < 6; i++)
        must_eq(hop_spawn(&scope, fib_job, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(joins_from_many)
{
    run_main_with(fibs, NULL, &four_workers);
}
END_TEST

/* --- for: each index exactly once --- */

struct marks {
    size_t lo, hi, least;
    atomic_uchar *seen;
    atomic_size_t chunks;
};

static int mark(size_t lo, size_t hi, void *arg)
{
    struct marks *m = arg;
    size_t i;

    must(lo < hi && lo >= m->lo && hi <= m->hi);
    must(hi - lo >= m->least || hi == m->hi);
    for (i = lo; i < hi; i++)
        atomic_fetch_add(&m->seen[i - m->lo], 1);
    atomic_fetch_add(&m->chunks, 1);
    return (int)(lo % 3); /* positive goes on */
}

static void check_marks(struct marks *m, size_t grain, int width)
{
    size_t i, n = m->hi - m->lo;

    m->seen = calloc(n ? n : 1, sizeof *m->seen);
    must(m->seen != NULL);
    m->least = grain ? grain : 1;
    atomic_store(&m->chunks, 0);
    must_eq(hop_parallel_for(m->lo, m->hi, mark, m, grain || width ? HOP_PAR(.grain = grain, .width = width) : NULL),
            0);
    for (i = 0; i < n; i++)
        must_eq(atomic_load(&m->seen[i]), 1);
    free(m->seen);
}

static int loop_at_random(void *arg)
{
    unsigned seed = (unsigned)hop_int(arg) | 1;
    int round;

    for (round = 0; round < 300; round++) {
        struct marks m = { .lo = test_random(&seed) % 1000 };
        size_t grain = test_random(&seed) % 4 ? test_random(&seed) % 70 : 0;
        int width = (int)(test_random(&seed) % 7);

        if (test_random(&seed) % 8 == 0)
            m.lo = SIZE_MAX - 30000;
        m.hi = m.lo + test_random(&seed) % (round % 10 ? 300 : 20000);
        if (round % 2) {
            hop_on_cpu {
                check_marks(&m, grain, width);
            }
        } else {
            check_marks(&m, grain, width);
        }
    }
    return 0;
}

START_TEST(for_covers_each_index_once)
{
    run_main_with(loop_at_random, hop_ptr((int)(test_seed() & 0xffffff)), &four_workers);
}
END_TEST

static int loop_simple(void *arg)
{
    struct marks m = { .lo = 10, .hi = 5000 };

    (void)arg;
    check_marks(&m, 0, 0);
    check_marks(&m, 7, 0);
    check_marks(&m, 0, 1);
    check_marks(&m, SIZE_MAX, 3);
    must_eq(atomic_load(&m.chunks), 1);
    m.hi = m.lo;
    check_marks(&m, 0, 0);
    must_eq(atomic_load(&m.chunks), 0);
    must_eq(hop_parallel_for(5, 4, mark, &m, NULL), -EINVAL);
    must_eq(hop_parallel_for(0, 5, NULL, &m, NULL), -EINVAL);
    must_eq(hop_parallel_for(0, 5, mark, &m, HOP_PAR(.width = -1)), -EINVAL);
    must_eq(hop_parallel_for(0, 5, mark, &m, &(hop_par_options){ .size = 3 }), -EINVAL);
    return 0;
}

START_TEST(for_works_everywhere)
{
    everywhere(loop_simple);
}
END_TEST

/* Ranges too long for 32 bits: the chunks must add up, end to end. */
struct cover {
    atomic_ullong length, weighted;
};

static int add_cover(size_t lo, size_t hi, void *arg)
{
    struct cover *c = arg;

    must(lo < hi);
    atomic_fetch_add(&c->length, hi - lo);
    atomic_fetch_add(&c->weighted, hi * hi - lo * lo); /* telescopes, modulo 2^64 */
    return 0;
}

static void check_cover(size_t lo, size_t hi, size_t grain)
{
    struct cover c = { 0 };

    must_eq(hop_parallel_for(lo, hi, add_cover, &c, HOP_PAR(.grain = grain)), 0);
    must(atomic_load(&c.length) == hi - lo);
    must(atomic_load(&c.weighted) == (unsigned long long)(hi * hi - lo * lo));
}

static int loop_long(void *arg)
{
    (void)arg;
    check_cover(3, ((size_t)1 << 33) + 3, 1 << 20);
    check_cover(0, ((size_t)1 << 33) + 12345, (size_t)1 << 22);
    check_cover(1, SIZE_MAX, (size_t)1 << 52);
    check_cover(0, SIZE_MAX, SIZE_MAX);
    check_cover(0, SIZE_MAX, SIZE_MAX / 2 + 2);
    check_cover(SIZE_MAX - 1, SIZE_MAX, 0);
    return 0;
}

START_TEST(for_over_huge_ranges)
{
    run_main_with(loop_long, NULL, &four_workers);
}
END_TEST

/* A grain finer than can be counted is made coarser; the error stops it long before the end. */
static int stop_at_once(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi, (void)arg;
    return -ELOOP;
}

static int loop_long_and_fine(void *arg)
{
    (void)arg;
    must_eq(hop_parallel_for(0, SIZE_MAX, stop_at_once, NULL, NULL), -ELOOP);
    must_eq(hop_parallel_for(0, (size_t)1 << 33, stop_at_once, NULL, HOP_PAR(.grain = 1)), -ELOOP);
    return 0;
}

START_TEST(for_over_huge_ranges_with_a_small_grain)
{
    run_main_with(loop_long_and_fine, NULL, &four_workers);
}
END_TEST

/* --- for: stopping --- */

struct fails {
    size_t at;
    atomic_int chunks;
};

static int fail_at(size_t lo, size_t hi, void *arg)
{
    struct fails *f = arg;

    atomic_fetch_add(&f->chunks, 1);
    return f->at >= lo && f->at < hi ? -EBADSLT : 0;
}

static int loop_fails(void *arg)
{
    struct fails f = { .at = 0 };

    (void)arg;
    must_eq(hop_parallel_for(0, 1000000, fail_at, &f, HOP_PAR(.grain = 1, .width = 1)), -EBADSLT);
    must_eq(atomic_load(&f.chunks), 1); /* alone it is the first, and the last */
    f.at = 999999;
    must_eq(hop_parallel_for(0, 1000000, fail_at, &f, NULL), -EBADSLT);
    f.at = 500;
    must_eq(hop_parallel_for(0, 1000, fail_at, &f, HOP_PAR(.grain = 1)), -EBADSLT);
    f.at = 1000;
    must_eq(hop_parallel_for(0, 1000, fail_at, &f, NULL), 0);
    return 0;
}

START_TEST(an_error_stops_the_loop)
{
    everywhere(loop_fails);
}
END_TEST

struct lengthy {
    hop_future begun;
    atomic_int chunks;
    int result;
};

enum { LONG = 400000 };

/* 5 us an index: two seconds in all. */
static int long_chunk(size_t lo, size_t hi, void *arg)
{
    struct lengthy *e = arg;
    hop_ns until = hop_now() + (hop_ns)(hi - lo) * 5 * HOP_US;

    if (atomic_fetch_add(&e->chunks, 1) == 3)
        hop_complete(&e->begun, 0);
    while (hop_now() < until)
        ;
    return 0;
}

static int long_loop(void *arg)
{
    struct lengthy *e = arg;

    e->result = hop_parallel_for(0, LONG, long_chunk, e, NULL);
    return 0;
}

static int long_loop_on_cpu(void *arg)
{
    struct lengthy *e = arg;

    hop_on_cpu {
        e->result = hop_parallel_for(0, LONG, long_chunk, e, NULL);
    }
    return 0;
}

static int cancel_loops(void *arg)
{
    hop_fn *const kinds[] = { long_loop, long_loop_on_cpu };
    int i;

    (void)arg;
    for (i = 0; i < 4; i++) {
        struct lengthy e = { .result = 0 };
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        if (i < 2)
            must_eq(hop_spawn(&scope, kinds[i], &e, NULL), 0);
        else
            must_eq(hop_submit(&scope, NULL, kinds[i - 2], &e), 0);
        must_eq(hop_await(&e.begun), 0);
        must_eq(hop_scope_cancel(&scope, -ENOLINK), 0);
        must_eq(hop_scope_close(&scope), -ENOLINK);
        must_eq(e.result, -ENOLINK); /* not 0: it did not come to its end */
    }
    for (i = 0; i < 2; i++) {
        struct lengthy e = { .result = 0 };

        hop_within(5 * HOP_MS) {
            must_eq(kinds[i](&e), 0);
        }
        must_eq(e.result, -ETIMEDOUT);
        must_eq(hop_cancelled(), 0);
    }
    return 0;
}

START_TEST(cancellation_and_deadlines_stop_the_loop)
{
    run_main_with(cancel_loops, NULL, &four_workers);
}
END_TEST

static int never(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi;
    *(int *)arg = 1;
    return 0;
}

static int set_flag(void *arg)
{
    *(int *)arg = 1;
    return 0;
}

static int too_late(void *arg)
{
    int flag = 0;

    (void)arg;
    hop_within(0) {
        must_eq(hop_parallel_for(0, 10, never, &flag, NULL), -ETIMEDOUT);
        must_eq(hop_join(set_flag, &flag, set_flag, &flag), -ETIMEDOUT);
    }
    hop_on_cpu {
        hop_within(0) {
            must_eq(hop_parallel_for(0, 10, never, &flag, NULL), -ETIMEDOUT);
            must_eq(hop_join(set_flag, &flag, set_flag, &flag), -ETIMEDOUT);
        }
    }
    must_eq(flag, 0);
    return 0;
}

START_TEST(nothing_starts_after_the_deadline)
{
    run_main_with(too_late, NULL, &four_workers);
}
END_TEST

/* --- for: nested, and where bodies run --- */

struct grid {
    atomic_int cells[64][64];
    long loop_thread;
};

struct row {
    struct grid *grid;
    size_t index;
};

static int each_cell(size_t lo, size_t hi, void *arg)
{
    struct row *r = arg;
    size_t i;

    must(thread_id() != r->grid->loop_thread);
    must_eq(hop_here(), HOP_JOB);
    must(hop_worker_index() >= 0);
    must_eq(hop_sleep(1), -EWOULDBLOCK);
    for (i = lo; i < hi; i++)
        atomic_fetch_add(&r->grid->cells[r->index][i], 1);
    return 0;
}

static int each_row(size_t lo, size_t hi, void *arg)
{
    size_t i;

    for (i = lo; i < hi; i++) {
        struct row row = { arg, i };

        must_eq(hop_parallel_for(0, 64, each_cell, &row, HOP_PAR(.grain = 1 + i % 5)), 0);
    }
    return 0;
}

static int each_row_in_job(void *arg)
{
    return hop_parallel_for(0, 64, each_row, arg, HOP_PAR(.grain = 1));
}

static int nested(void *arg)
{
    struct grid *g = calloc(1, sizeof *g);
    hop_scope scope;
    int i, k;

    (void)arg;
    must(g != NULL);
    g->loop_thread = thread_id();
    must_eq(each_row_in_job(g), 0);
    hop_on_cpu {
        must_eq(each_row_in_job(g), 0);
        must_eq(hop_here(), HOP_CPU);
    }
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 4; i++) {
        must_eq(hop_submit(&scope, NULL, each_row_in_job, g), 0);
        must_eq(hop_spawn(&scope, each_row_in_job, g, NULL), 0);
    }
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < 64; i++)
        for (k = 0; k < 64; k++)
            must_eq(atomic_load(&g->cells[i][k]), 10);
    free(g);
    return 0;
}

START_TEST(nested_loops_run_on_workers_only)
{
    run_main_with(nested, NULL, &four_workers);
}
END_TEST

/* The caller's loop goes on: the body waits for a task there. */
static int wait_for_turns(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi;
    while (atomic_load((atomic_int *)arg) < 50)
        ;
    return 0;
}

static int take_turns(void *arg)
{
    int i;

    for (i = 0; i < 50; i++) {
        atomic_fetch_add((atomic_int *)arg, 1);
        must_eq(hop_yield(), 0);
    }
    return 0;
}

static int loop_goes_on(void *arg)
{
    atomic_int turns = 0;
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, take_turns, &turns, NULL), 0);
    must_eq(hop_parallel_for(0, 8, wait_for_turns, &turns, HOP_PAR(.grain = 1)), 0);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(the_loop_goes_on_meanwhile)
{
    run_main_with(loop_goes_on, NULL, &four_workers);
}
END_TEST

static int team_is_serial(size_t lo, size_t hi, void *arg)
{
    *(size_t *)arg += hi - lo;
    must_eq(hop_here(), HOP_TEAM);
    return 0;
}

static int loop_on_team(void *arg)
{
    size_t n = 0;

    (void)arg;
    hop_on_team {
        long here = thread_id();

        must_eq(hop_parallel_for(0, 1000, team_is_serial, &n, HOP_PAR(.grain = 1)), 0);
        must_eq(thread_id(), here);
    }
    must_eq(n, 1000);
    return 0;
}

START_TEST(in_the_team_it_is_serial)
{
    run_main_with(loop_on_team, NULL, &four_workers);
}
END_TEST

/* --- a lock held across: a worker that waits must not run a stranger that wants the lock --- */

struct locked {
    pthread_mutex_t mutex;
    long total;
};

static int small_work(size_t lo, size_t hi, void *arg)
{
    atomic_int *sum = arg;
    volatile int i;

    for (i = 0; i < 200; i++)
        ;
    atomic_fetch_add(sum, (int)(hi - lo));
    return 0;
}

static int small_half(void *arg)
{
    return hop_parallel_for(0, 16, small_work, arg, HOP_PAR(.grain = 1));
}

static int hold_lock_across(void *arg)
{
    struct locked *l = arg;
    atomic_int sum = 0;

    must_eq(pthread_mutex_lock(&l->mutex), 0);
    must_eq(hop_parallel_for(0, 64, small_work, &sum, HOP_PAR(.grain = 1)), 0);
    must_eq(hop_join(small_half, &sum, small_half, &sum), 0);
    l->total += atomic_load(&sum);
    must_eq(pthread_mutex_unlock(&l->mutex), 0);
    return 0;
}

static int hold_lock_range(size_t lo, size_t hi, void *arg)
{
    for (; lo < hi; lo++)
        hold_lock_across(arg);
    return 0;
}

static int hold_locks(void *arg)
{
    struct locked l = { PTHREAD_MUTEX_INITIALIZER, 0 };
    hop_scope scope;
    int round, i;

    (void)arg;
    for (round = 0; round < 10; round++) {
        must_eq(hop_scope_open(&scope), 0);
        for (i = 0; i < 64; i++)
            must_eq(hop_submit(&scope, NULL, hold_lock_across, &l), 0);
        must_eq(hop_scope_close(&scope), 0);
        must_eq(hop_parallel_for(0, 64, hold_lock_range, &l, HOP_PAR(.grain = 1)), 0);
    }
    must_eq(l.total, 10 * 2 * 64 * 96);
    return 0;
}

START_TEST(a_lock_held_across_does_not_deadlock)
{
    run_main_with(hold_locks, NULL, &four_workers);
}
END_TEST

START_TEST(a_lock_held_across_with_two_workers)
{
    hop_config two = { .workers = 2, .no_spin = 1 };

    run_main_with(hold_locks, NULL, &two);
}
END_TEST

/* --- reduce --- */

static int sum_fold(size_t lo, size_t hi, void *into, void *arg)
{
    unsigned long long *sum = into;

    (void)arg;
    for (; lo < hi; lo++)
        *sum += lo;
    return 0;
}

static void sum_combine(void *into, const void *from, void *arg)
{
    (void)arg;
    *(unsigned long long *)into += *(const unsigned long long *)from;
}

static void check_sum(size_t lo, size_t hi, const hop_par_options *options)
{
    unsigned long long sum = 0, expected = 0;
    size_t i;

    for (i = lo; i < hi; i++)
        expected += i;
    must_eq(hop_parallel_reduce(lo, hi, sum_fold, sum_combine, NULL, &sum, sizeof sum, options), 0);
    must(sum == expected);
}

static int reduces(void *arg)
{
    unsigned long long kept = 77;
    size_t n;

    (void)arg;
    for (n = 0; n < 40; n++)
        check_sum(5, 5 + n, NULL);
    for (n = 200; n < 70000; n = n * 3 - 1) {
        check_sum(0, n, NULL);
        check_sum(3, n, HOP_PAR(.grain = n / 7));
        check_sum(3, n, HOP_PAR(.grain = 1, .width = 2));
    }
    must_eq(hop_parallel_reduce(4, 4, sum_fold, sum_combine, NULL, &kept, sizeof kept, NULL), 0);
    must_eq(kept, 77);
    must_eq(hop_parallel_reduce(4, 3, sum_fold, sum_combine, NULL, &kept, sizeof kept, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 9, NULL, sum_combine, NULL, &kept, sizeof kept, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 9, sum_fold, NULL, NULL, &kept, sizeof kept, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 9, sum_fold, sum_combine, NULL, NULL, sizeof kept, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 9, sum_fold, sum_combine, NULL, &kept, 0, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 9, sum_fold, sum_combine, NULL, &kept, sizeof kept, HOP_PAR(.width = -2)), -EINVAL);
    must_eq(kept, 77);
    return 0;
}

START_TEST(reduce_sums)
{
    everywhere(reduces);
}
END_TEST

/* Composition of affine maps modulo a prime: associative, not commutative. */
struct affine {
    uint64_t a, b;
};

enum { PRIME = 1000003 };

static struct affine after(struct affine f, struct affine g)
{
    return (struct affine){ f.a * g.a % PRIME, (g.a * f.b + g.b) % PRIME };
}

static struct affine map_of(size_t i)
{
    return (struct affine){ (i * 7919 + 3) % PRIME, (i * 104729 + 11) % PRIME };
}

static int affine_fold(size_t lo, size_t hi, void *into, void *arg)
{
    struct affine *f = into;

    (void)arg;
    for (; lo < hi; lo++)
        *f = after(*f, map_of(lo));
    return 0;
}

static void affine_combine(void *into, const void *from, void *arg)
{
    struct affine *f = into;

    (void)arg;
    *f = after(*f, *(const struct affine *)from);
}

static int reduces_in_order(void *arg)
{
    unsigned seed = (unsigned)hop_int(arg) | 1;
    int round;

    for (round = 0; round < 200; round++) {
        size_t lo = test_random(&seed) % 100, hi = lo + test_random(&seed) % 5000, i;
        struct affine result = { 1, 0 }, expected = { 1, 0 };

        for (i = lo; i < hi; i++)
            expected = after(expected, map_of(i));
        must_eq(hop_parallel_reduce(lo, hi, affine_fold, affine_combine, NULL, &result, sizeof result,
                                    HOP_PAR(.grain = test_random(&seed) % 50, .width = (int)(test_random(&seed) % 5))),
                0);
        must(result.a == expected.a && result.b == expected.b);
    }
    return 0;
}

START_TEST(reduce_keeps_the_order)
{
    run_main_with(reduces_in_order, hop_ptr((int)(test_seed() & 0xffffff)), &four_workers);
}
END_TEST

/* Floating-point sums depend on where the blocks end; so these must not depend on the workers. */
static int float_fold(size_t lo, size_t hi, void *into, void *arg)
{
    double *sum = into;

    (void)arg;
    for (; lo < hi; lo++)
        *sum += 1.0 / (double)(lo * lo % 997 + 1);
    return 0;
}

static void float_combine(void *into, const void *from, void *arg)
{
    (void)arg;
    *(double *)into += *(const double *)from;
}

static int float_sums(void *arg)
{
    double *sums = arg;
    int i;

    for (i = 0; i < 8; i++) {
        sums[i] = 0;
        must_eq(hop_parallel_reduce(0, 1000 * (size_t)(i + 1) + 7, float_fold, float_combine, NULL, &sums[i],
                                    sizeof *sums, i % 2 ? HOP_PAR(.grain = 100) : NULL),
                0);
    }
    return 0;
}

START_TEST(reduce_is_the_same_on_any_number_of_workers)
{
    double one[8], many[8];
    int workers, round;
    hop_config config = { .workers = 1 };

    run_main_with(float_sums, one, &config);
    for (workers = 2; workers <= 5; workers++)
        for (round = 0; round < 5; round++) {
            config.workers = workers;
            run_main_with(float_sums, many, &config);
            must_eq(memcmp(one, many, sizeof one), 0);
        }
}
END_TEST

/* Values too large for a frame. */
enum { LANES = 1000 };

static int lanes_fold(size_t lo, size_t hi, void *into, void *arg)
{
    uint64_t *lanes = into;
    int k;

    (void)arg;
    for (; lo < hi; lo++)
        for (k = 0; k < LANES; k++)
            lanes[k] += lo * (size_t)k;
    return 0;
}

static void lanes_combine(void *into, const void *from, void *arg)
{
    const uint64_t *more = from;
    uint64_t *lanes = into;
    int k;

    (void)arg;
    for (k = 0; k < LANES; k++)
        lanes[k] += more[k];
}

static int reduces_large(void *arg)
{
    uint64_t *lanes = calloc(LANES, sizeof *lanes);
    int k;

    (void)arg;
    must(lanes != NULL);
    must_eq(hop_parallel_reduce(0, 1000, lanes_fold, lanes_combine, NULL, lanes, LANES * sizeof *lanes, NULL), 0);
    for (k = 0; k < LANES; k++)
        must_eq(lanes[k], 499500ull * (unsigned)k);
    free(lanes);
    return 0;
}

START_TEST(reduce_of_large_values)
{
    run_main_with(reduces_large, NULL, &four_workers);
}
END_TEST

static int huge_value(void *arg)
{
    char one[16] = "untouched";

    (void)arg;
    must_eq(hop_parallel_reduce(0, 1000, sum_fold, sum_combine, NULL, one, SIZE_MAX / 2, NULL), -ENOMEM);
    ck_assert_str_eq(one, "untouched");
    return 0;
}

START_TEST(reduce_without_memory)
{
    run_main_with(huge_value, NULL, &four_workers);
}
END_TEST

static int failing_fold(size_t lo, size_t hi, void *into, void *arg)
{
    *(unsigned long long *)into += hi - lo;
    return *(size_t *)arg >= lo && *(size_t *)arg < hi ? -EUCLEAN : 0;
}

static int reduce_fails(void *arg)
{
    unsigned long long result = 5;
    size_t at;

    (void)arg;
    for (at = 0; at < 5000; at += 997) {
        must_eq(hop_parallel_reduce(0, 5000, failing_fold, sum_combine, &at, &result, sizeof result, NULL), -EUCLEAN);
        must_eq(result, 5);
    }
    hop_within(0) {
        must_eq(hop_parallel_reduce(0, 5000, sum_fold, sum_combine, NULL, &result, sizeof result, NULL), -ETIMEDOUT);
    }
    must_eq(result, 5);
    return 0;
}

START_TEST(a_failed_reduce_leaves_the_result)
{
    run_main_with(reduce_fails, NULL, &four_workers);
}
END_TEST

static int empty_range(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi, (void)arg;
    return 0;
}

/*
 * Who waits for a stolen half helps with that half, and begins nothing else: so a thread that is inside of one tree
 * never enters another. Many small trees, and more workers than CPUs, so that thieves change trees under the eyes of
 * who waits for them. (Rare: model_leapfrog.cc looks at every order.)
 */
static _Thread_local long inside_tree;

struct branch {
    struct grove *grove;
    long tree;
    int depth;
};

struct grove {
    hop_ns end;
    atomic_long trees, strangers;
    atomic_uint seed;
};

static int branch(void *arg)
{
    struct branch *b = arg, left = { b->grove, b->tree, b->depth - 1 }, right = left;
    long before = inside_tree;
    volatile int i;

    if (before && before != b->tree)
        atomic_fetch_add(&b->grove->strangers, 1);
    inside_tree = b->tree;
    if (b->depth)
        hop_join(branch, &left, branch, &right);
    else
        for (i = 0; i < 4000; i++)
            ;
    inside_tree = before;
    return 0;
}

static int tree_of_a_grove(void *arg)
{
    struct grove *g = arg;
    unsigned random = atomic_fetch_add(&g->seed, 2654435761u) | 1;
    struct branch b = { g, atomic_fetch_add(&g->trees, 1) + 1, 3 + (int)(test_random(&random) % 4) };

    return branch(&b);
}

static void *plant_trees(void *arg)
{
    struct grove *g = arg;

    while (hop_now() < g->end && !atomic_load(&g->strangers))
        must_eq(hop_offload(tree_of_a_grove, g), 0);
    return NULL;
}

START_TEST(a_waiter_runs_no_stranger)
{
    struct grove g = { .end = hop_now() + HOP_SEC };
    hop_config config = { .workers = 6, .no_pin = 1 };
    pthread_t threads[5];
    hop_runtime *rt;
    int i;

    atomic_store(&g.seed, test_seed());
    must_eq(hop_runtime_new(&rt, &config), 0);
    for (i = 0; i < 5; i++)
        threads[i] = start_thread(plant_trees, &g);
    for (i = 0; i < 5; i++)
        join_thread(threads[i]);
    must_eq(hop_runtime_free(rt), 0);
    must_eq(atomic_load(&g.strangers), 0);
}
END_TEST

START_TEST(without_a_runtime)
{
    unsigned long long sum = 3;

    must_eq(hop_parallel_for(0, 10, empty_range, NULL, NULL), -ENODEV);
    must_eq(hop_join(return_it, NULL, return_it, NULL), -ENODEV);
    must_eq(hop_parallel_reduce(0, 10, sum_fold, sum_combine, NULL, &sum, sizeof sum, NULL), -ENODEV);
    must_eq(sum, 3);
}
END_TEST

/* --- for: what was always short is done alone, until it is not --- */

struct mood {
    int slow;
    atomic_int visits, inside;
};

/* Slow: the beginning takes long, and everything after it waits until two are there. */
static int moody(size_t lo, size_t hi, void *arg)
{
    struct mood *m = arg;
    hop_ns end = hop_now() + 5 * HOP_MS;

    atomic_fetch_add(&m->visits, (int)(hi - lo));
    if (!m->slow)
        return 0;
    if (!lo)
        while (hop_now() < end)
            ;
    else
        for (atomic_fetch_add(&m->inside, 1); atomic_load(&m->inside) < 2;)
            sched_yield();
    return 0;
}

static int turn_slow(void *arg)
{
    struct mood m = { .slow = 0 };
    int i;

    (void)arg;
    for (i = 1; i <= 100; i++) {
        must_eq(hop_parallel_for(0, 64, moody, &m, NULL), 0);
        must_eq(atomic_load(&m.visits), i * 64);
    }
    m.slow = 1;
    must_eq(hop_parallel_for(0, 64, moody, &m, NULL), 0);
    must_eq(atomic_load(&m.visits), 101 * 64);
    must(atomic_load(&m.inside) >= 2);
    return 0;
}

static int turn_slow_on_a_worker(void *arg)
{
    return hop_offload_with(turn_slow, arg, HOP_OFFLOAD(.place = HOP_POOL)); /* all on one worker, which learns */
}

START_TEST(a_short_loop_that_turns_slow_is_shared)
{
    run_main_with(turn_slow_on_a_worker, NULL, &four_workers);
}
END_TEST

RUN_TESTS("parallel", join_returns_the_first_error, join_skips_what_was_not_started, join_recursion,
          join_runs_both_at_once, joins_from_many, for_covers_each_index_once, for_works_everywhere,
          for_over_huge_ranges, for_over_huge_ranges_with_a_small_grain, an_error_stops_the_loop,
          cancellation_and_deadlines_stop_the_loop, nothing_starts_after_the_deadline,
          nested_loops_run_on_workers_only, the_loop_goes_on_meanwhile, in_the_team_it_is_serial,
          a_short_loop_that_turns_slow_is_shared, a_lock_held_across_does_not_deadlock,
          a_lock_held_across_with_two_workers, reduce_sums,
          reduce_keeps_the_order, reduce_is_the_same_on_any_number_of_workers, reduce_of_large_values,
          reduce_without_memory, a_failed_reduce_leaves_the_result,
          a_waiter_runs_no_stranger, without_a_runtime)
