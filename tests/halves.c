/* SPDX-License-Identifier: BSD-3-Clause */

/* Forks from the header: results, what is stolen, a full deque, places where nobody steals. */
#include "harness.h"

#include <hop/fork.h>

static const hop_config four_workers = { .workers = 4 };

struct right {
    hop_half half;
    long n, result;
};

static void run_right(hop_worker *worker, hop_half *half);

static long fib(hop_worker *worker, long n)
{
    struct right right = { .n = n - 2 };
    hop_forked forked;
    long a, b;

    if (n < 2)
        return n;
    forked = hop_fork(worker, &right.half, run_right);
    a = fib(worker, n - 1);
    if (hop_take_back(worker, forked)) {
        b = fib(worker, n - 2);
    } else {
        hop_join_half(worker, &right.half);
        b = right.result;
    }
    return a + b;
}

static void run_right(hop_worker *worker, hop_half *half)
{
    struct right *right = (struct right *)half;

    right->result = fib(worker, right->n);
}

static int fib_root(hop_worker *worker, void *arg)
{
    return (int)fib(worker, hop_int(arg));
}

/* --- everywhere --- */

static void *in_thread(void *arg)
{
    (void)arg;
    must_eq(hop_with_worker(fib_root, hop_ptr(20)), 6765);
    return NULL;
}

static int in_job(void *arg)
{
    return hop_with_worker(fib_root, arg);
}

static int everywhere(void *arg)
{
    (void)arg;
    must_eq(hop_with_worker(fib_root, hop_ptr(20)), 6765);
    must_eq(hop_offload(in_job, hop_ptr(20)), 6765);
    hop_on_cpu {
        must_eq(hop_with_worker(fib_root, hop_ptr(20)), 6765);
    }
    hop_on_team {
        must_eq(hop_with_worker(fib_root, hop_ptr(20)), 6765);
    }
    hop_on_blocking {
        must_eq(hop_with_worker(fib_root, hop_ptr(20)), 6765);
        join_thread(start_thread(in_thread, NULL));
    }
    must_eq(hop_with_worker(NULL, NULL), -EINVAL);
    return 0;
}

START_TEST(forks_work_wherever_one_computes)
{
    hop_config one = { .workers = 1 };

    run_main_with(everywhere, NULL, &four_workers);
    run_main_with(everywhere, NULL, &one);
}
END_TEST

START_TEST(without_a_runtime_it_is_an_error)
{
    ck_assert_int_eq(hop_with_worker(fib_root, hop_ptr(1)), -ENODEV);
}
END_TEST

/* --- all is stolen: each fork waits until another worker has begun the half --- */

struct awaited {
    hop_half half;
    atomic_int begun;
    int worker;
};

static void begin(hop_worker *worker, hop_half *half)
{
    struct awaited *a = (struct awaited *)half;

    (void)worker;
    a->worker = hop_worker_index();
    atomic_store(&a->begun, 1);
}

static int steal_each(hop_worker *worker, void *arg)
{
    hop_ns end = hop_now() + 5 * HOP_SEC; /* on a busy machine each theft waits for its CPU */
    int i, rounds = hop_int(arg);

    for (i = 0; i < rounds && hop_now() < end; i++) {
        struct awaited a = { .begun = 0 };
        hop_forked forked = hop_fork(worker, &a.half, begin);

        while (!atomic_load(&a.begun))
            sched_yield();
        must(!hop_take_back(worker, forked));
        hop_join_half(worker, &a.half);
        must(a.worker != hop_worker_index());
    }
    return (int)fib(worker, 15);
}

static int steal_many(void *arg)
{
    return hop_with_worker(steal_each, arg);
}

/* More thefts than the deque has places: its indices go round. */
START_TEST(halves_are_stolen_for_ever)
{
    ck_assert_int_eq(hop_run(steal_many, hop_ptr(10000), &(hop_config){ .workers = 2 }), 610);
}
END_TEST

/* --- more forks than places --- */

#ifdef HOP_HELGRIND /* what it is told makes the frames larger */
enum { DEEP = HOP__DEQUE_CAPACITY + HOP__DEQUE_CAPACITY / 4 };
#else
enum { DEEP = 3 * HOP__DEQUE_CAPACITY };
#endif

static atomic_int leaves;

static void count_leaf(hop_worker *worker, hop_half *half)
{
    (void)worker;
    (void)half;
    atomic_fetch_add(&leaves, 1);
}

static void descend(hop_worker *worker, int depth)
{
    hop_half half;
    hop_forked forked;

    if (!depth)
        return;
    forked = hop_fork(worker, &half, count_leaf);
    descend(worker, depth - 1);
    if (hop_take_back(worker, forked))
        atomic_fetch_add(&leaves, 1);
    else
        hop_join_half(worker, &half);
}

static int fork_deeply(hop_worker *worker, void *arg)
{
    (void)arg;
    descend(worker, DEEP);
    return 0;
}

static int main_fork_deeply(void *arg)
{
    int i;

    for (i = 1; i <= 3; i++) {
        must_eq(hop_with_worker(fork_deeply, arg), 0);
        must_eq(atomic_load(&leaves), i * DEEP);
    }
    return 0;
}

START_TEST(a_full_deque_gives_everything_back)
{
    hop_config one = { .workers = 1 };

    run_main_with(main_fork_deeply, NULL, &one);
    atomic_store(&leaves, 0);
    run_main_with(main_fork_deeply, NULL, &four_workers);
}
END_TEST

/* --- a stolen half sees its job's cancellation --- */

struct cancelled_half {
    hop_half half;
    atomic_int begun;
};

static void wait_for_cancel(hop_worker *worker, hop_half *half)
{
    (void)worker;
    atomic_store(&((struct cancelled_half *)half)->begun, 1);
    while (!hop_cancelled())
        sched_yield();
}

static int fork_and_wait(hop_worker *worker, void *arg)
{
    struct cancelled_half right = { .begun = 0 };
    hop_forked forked = hop_fork(worker, &right.half, wait_for_cancel);

    while (!atomic_load(&right.begun))
        sched_yield();
    atomic_store((atomic_int *)arg, 1);
    must(!hop_take_back(worker, forked));
    hop_join_half(worker, &right.half);
    return hop_cancelled();
}

static int job_to_cancel(void *arg)
{
    return hop_with_worker(fork_and_wait, arg);
}

static int cancel_it(void *arg)
{
    atomic_int begun = 0;
    hop_future future = { 0 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_submit(&scope, &future, job_to_cancel, &begun), 0);
    while (!atomic_load(&begun))
        hop_sleep(HOP_MS);
    hop_scope_cancel(&scope, -ECANCELED);
    must_eq(hop_await(&future), -ECANCELED);
    hop_scope_close(&scope);
    return 0;
}

START_TEST(a_stolen_half_sees_the_cancellation)
{
    run_main_with(cancel_it, NULL, &four_workers);
}
END_TEST

RUN_TESTS("halves", forks_work_wherever_one_computes, without_a_runtime_it_is_an_error, halves_are_stolen_for_ever,
          a_full_deque_gives_everything_back, a_stolen_half_sees_the_cancellation)
