/* SPDX-License-Identifier: BSD-3-Clause */

/* The completion cell: completed once, awaited by one at a time, its storage the awaiter's own again on return. */
#include "harness.h"

#include <limits.h>
#include <sched.h>
#include <stdatomic.h>

struct pair {
    hop_future future;
    int result;
};

static int complete_it(void *arg)
{
    struct pair *p = arg;

    must_eq(hop_complete(&p->future, p->result), 0);
    return 0;
}

static void *complete_it_thread(void *arg)
{
    complete_it(arg);
    return NULL;
}

/* --- completed before --- */

static int complete_then_await(void *arg)
{
    hop_future f = HOP_FUTURE_INIT;

    (void)arg;
    must_eq(hop_done(&f), 0);
    must_eq(hop_complete(&f, 42), 0);
    must_eq(hop_done(&f), 1);
    must_eq(hop_await(&f), 42);
    must_eq(hop_await_until(&f, hop_now() - HOP_SEC), 42);
    must_eq(hop_complete(&f, 43), -EALREADY);
    must_eq(hop_await(&f), 42);
    return 0;
}

static void *complete_then_await_thread(void *arg)
{
    complete_then_await(arg);
    return NULL;
}

static int complete_then_await_everywhere(void *arg)
{
    complete_then_await(arg);
    must_eq(hop_offload(complete_then_await, NULL), 0);
    hop_on_cpu {
        complete_then_await(NULL);
    }
    hop_on_team {
        complete_then_await(NULL);
    }
    hop_on_blocking {
        complete_then_await(NULL);
    }
    join_thread(start_thread(complete_then_await_thread, NULL));
    return 0;
}

START_TEST(completed_before)
{
    run_main(complete_then_await_everywhere);
}
END_TEST

/* A future needs no runtime. */
START_TEST(completed_before_without_a_runtime)
{
    complete_then_await(NULL);
}
END_TEST

static int zero_is_empty_again(void *arg)
{
    hop_future f;
    int i;

    (void)arg;
    for (i = 0; i < 3; i++) {
        memset(&f, 0, sizeof f);
        must_eq(hop_done(&f), 0);
        must_eq(hop_complete(&f, i), 0);
        must_eq(hop_await(&f), i);
    }
    return 0;
}

START_TEST(used_again_after_zeroing)
{
    run_main(zero_is_empty_again);
}
END_TEST

/* --- awaited before --- */

static const int results[] = { 0, 1, -1, 42, -EWOULDBLOCK, INT_MAX, INT_MIN };

static int task_completes(void *arg)
{
    size_t i;

    (void)arg;
    for (i = 0; i < sizeof results / sizeof *results; i++) {
        struct pair p = { HOP_FUTURE_INIT, results[i] };
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, complete_it, &p, NULL), 0);
        must_eq(hop_done(&p.future), 0); /* spawn does not run it */
        must_eq(hop_await(&p.future), results[i]);
        must_eq(hop_scope_close(&scope), 0);
    }
    return 0;
}

START_TEST(completed_by_a_task)
{
    run_main(task_completes);
}
END_TEST

static int job_completes(void *arg)
{
    size_t i;

    (void)arg;
    for (i = 0; i < sizeof results / sizeof *results; i++) {
        struct pair p = { HOP_FUTURE_INIT, results[i] };
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_submit(&scope, NULL, complete_it, &p), 0);
        must_eq(hop_await(&p.future), results[i]);
        must_eq(hop_done(&p.future), 1);
        must_eq(hop_scope_close(&scope), 0);
    }
    return 0;
}

START_TEST(completed_by_a_job)
{
    run_main(job_completes);
}
END_TEST

static int thread_completes(void *arg)
{
    size_t i;

    (void)arg;
    for (i = 0; i < sizeof results / sizeof *results; i++) {
        struct pair p = { HOP_FUTURE_INIT, results[i] };
        pthread_t t = start_thread(complete_it_thread, &p);

        must_eq(hop_await(&p.future), results[i]);
        join_thread(t);
    }
    return 0;
}

START_TEST(completed_by_a_thread)
{
    run_main(thread_completes);
}
END_TEST

START_TEST(awaited_by_a_thread_without_a_runtime)
{
    int i;

    for (i = 0; i < 300; i++) {
        struct pair p = { HOP_FUTURE_INIT, i };
        pthread_t t = start_thread(complete_it_thread, &p);

        must_eq(hop_await(&p.future), i);
        join_thread(t);
    }
}
END_TEST

/* What was written before the completion is seen after the await. */
struct message {
    hop_future ready;
    long text[64];
};

static int write_message(void *arg)
{
    struct message *m = arg;
    long i;

    for (i = 0; i < 64; i++)
        m->text[i] = i * i;
    return hop_complete(&m->ready, 1);
}

static int reads_what_was_written(void *arg)
{
    int round;
    long i;

    (void)arg;
    for (round = 0; round < 500; round++) {
        struct message m = { 0 };
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_submit(&scope, NULL, write_message, &m), 0);
        must_eq(hop_await(&m.ready), 1);
        for (i = 0; i < 64; i++)
            must_eq(m.text[i], i * i);
        must_eq(hop_scope_close(&scope), 0);
    }
    return 0;
}

START_TEST(writes_before_completion_are_seen)
{
    run_main(reads_what_was_written);
}
END_TEST

/* --- who may await --- */

struct waiting {
    hop_future future;
    int began, result;
};

static int await_it(void *arg)
{
    struct waiting *w = arg;

    w->began = 1;
    w->result = hop_await(&w->future);
    return 0;
}

static void *await_is_busy(void *arg)
{
    must_eq(hop_await(arg), -EBUSY);
    must_eq(hop_await_until(arg, hop_now() + HOP_SEC), -EBUSY);
    return NULL;
}

static int second_awaiter(void *arg)
{
    struct waiting w = { 0 };
    hop_case one = hop_on_future(&w.future);
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, await_it, &w, NULL), 0);
    while (!w.began)
        hop_yield(); /* one loop: once we are back it sleeps in the await */
    must_eq(hop_await(&w.future), -EBUSY);
    must_eq(hop_await_until(&w.future, hop_now() - 1), -EBUSY);
    must_eq(hop_select(&one, 1), -EBUSY);
    join_thread(start_thread(await_is_busy, &w.future));
    must_eq(hop_done(&w.future), 0);
    must_eq(hop_complete(&w.future, 5), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(w.result, 5); /* the first one was not disturbed */
    must_eq(hop_await(&w.future), 5);
    return 0;
}

START_TEST(second_awaiter_is_busy)
{
    run_main(second_awaiter);
}
END_TEST

static int await_would_block(void *arg)
{
    must_eq(hop_await(arg), -EWOULDBLOCK);
    must_eq(hop_await_until(arg, hop_now() + HOP_SEC), -EWOULDBLOCK);
    must_eq(hop_done(arg), 0);
    return 0;
}

static int await_in_a_job(void *arg)
{
    hop_future f = HOP_FUTURE_INIT;

    (void)arg;
    must_eq(hop_offload(await_would_block, &f), 0);
    hop_on_cpu {
        must_eq(hop_offload(await_would_block, &f), 0);
    }
    hop_on_team {
        await_would_block(&f);
    }
    must_eq(hop_complete(&f, 9), 0); /* as before: it can be completed and awaited */
    must_eq(hop_await(&f), 9);
    return 0;
}

START_TEST(await_in_a_job_would_block)
{
    run_main(await_in_a_job);
}
END_TEST

/* --- giving up --- */

static int deadline_passes(void *arg)
{
    struct pair p = { HOP_FUTURE_INIT, 3 };
    hop_ns before = hop_now(), deadline = before + 5 * HOP_MS;

    (void)arg;
    must_eq(hop_await_until(&p.future, deadline), -ETIMEDOUT);
    must(hop_now() >= deadline);
    must_eq(hop_await_until(&p.future, before), -ETIMEDOUT); /* long past */
    must_eq(hop_await_until(&p.future, INT64_MIN), -ETIMEDOUT);
    must_eq(hop_done(&p.future), 0);
    must_eq(complete_it(&p), 0);
    must_eq(hop_await(&p.future), 3);
    return 0;
}

static void *deadline_passes_thread(void *arg)
{
    deadline_passes(arg);
    return NULL;
}

static int deadline_everywhere(void *arg)
{
    deadline_passes(arg);
    hop_on_cpu {
        deadline_passes(NULL);
    }
    hop_on_blocking {
        deadline_passes(NULL);
    }
    join_thread(start_thread(deadline_passes_thread, NULL));
    return 0;
}

START_TEST(deadline)
{
    run_main(deadline_everywhere);
}
END_TEST

START_TEST(deadline_without_a_runtime)
{
    deadline_passes(NULL);
}
END_TEST

/* The completion comes after a first await gave up; the second gets it. */
static int awaits_again(void *arg)
{
    struct pair p = { HOP_FUTURE_INIT, 11 };
    pthread_t t;

    (void)arg;
    must_eq(hop_await_until(&p.future, hop_now() + HOP_MS), -ETIMEDOUT);
    t = start_thread(complete_it_thread, &p);
    must_eq(hop_await(&p.future), 11);
    join_thread(t);
    return 0;
}

START_TEST(awaited_again_after_a_time_out)
{
    run_main(awaits_again);
}
END_TEST

static int earlier_deadline_holds(void *arg)
{
    hop_future f = HOP_FUTURE_INIT;
    hop_ns before = hop_now();

    (void)arg;
    hop_within(2 * HOP_MS) {
        must_eq(hop_await_until(&f, before + 60 * HOP_SEC), -ETIMEDOUT);
        must_eq(hop_await(&f), -ETIMEDOUT);
    }
    hop_within(60 * HOP_SEC) {
        must_eq(hop_await_until(&f, hop_now() + 2 * HOP_MS), -ETIMEDOUT);
        must_eq(hop_cancelled(), 0); /* only the await's own deadline has passed */
    }
    must(hop_now() - before < 30 * HOP_SEC);
    return 0;
}

START_TEST(the_earlier_deadline_holds)
{
    run_main(earlier_deadline_holds);
}
END_TEST

static int cancelled_await(void *arg)
{
    struct waiting w = { 0 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, await_it, &w, NULL), 0);
    while (!w.began)
        hop_yield();
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(w.result, -ECANCELED);
    must_eq(hop_done(&w.future), 0);

    w.began = 0; /* the future is as before: another task awaits it */
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, await_it, &w, NULL), 0);
    while (!w.began)
        hop_yield();
    must_eq(hop_complete(&w.future, 6), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(w.result, 6);
    return 0;
}

START_TEST(cancelled)
{
    run_main(cancelled_await);
}
END_TEST

/* Completion and cancellation in the same turn: the result wins or the future stays; never both, never neither. */
static int complete_and_cancel(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 200; i++) {
        struct waiting w = { 0 };
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, await_it, &w, NULL), 0);
        while (!w.began)
            hop_yield();
        if (i % 2)
            hop_scope_cancel(&scope, -ECANCELED);
        must_eq(hop_complete(&w.future, 8), 0);
        if (i % 2 == 0)
            hop_scope_cancel(&scope, -ECANCELED);
        must_eq(hop_scope_close(&scope), -ECANCELED);
        must(w.result == 8 || w.result == -ECANCELED);
        must_eq(hop_await(&w.future), 8);
    }
    return 0;
}

START_TEST(completed_and_cancelled_at_once)
{
    run_main(complete_and_cancel);
}
END_TEST

/* --- races: awaiters whose frames are gone the moment that they return, against completers in threads --- */

enum { SLOTS = 8, COMPLETERS = 2 };

struct slot {
    _Atomic(hop_future *) posted;
    int value;
    unsigned seed;
    int rounds;
};

struct exchange {
    struct slot slots[SLOTS];
    atomic_int stop;
};

static void *completer(void *arg)
{
    struct exchange *x = arg;
    int i;

    while (!atomic_load(&x->stop)) {
        for (i = 0; i < SLOTS; i++) {
            hop_future *f = atomic_exchange(&x->slots[i].posted, NULL);

            if (f)
                must_eq(hop_complete(f, x->slots[i].value), 0);
        }
        sched_yield();
    }
    return NULL;
}

/* A late touch of this frame would be one of the next round's future: it would not be empty, or not sleep. */
static __attribute__((noinline)) void round_of(struct slot *s, int value)
{
    hop_future f = HOP_FUTURE_INIT;
    unsigned patience = test_random(&s->seed) % 4;
    int rc;

    must_eq(hop_done(&f), 0);
    s->value = value;
    atomic_store(&s->posted, &f);
    do
        rc = patience ? hop_await(&f) : hop_await_until(&f, hop_now() + test_random(&s->seed) % 50000);
    while (rc == -ETIMEDOUT);
    must_eq(rc, value);
    memset(&f, 0x5a, sizeof f);
}

static int awaiter(void *arg)
{
    struct slot *s = arg;
    int i;

    for (i = 0; i < s->rounds; i++)
        round_of(s, i);
    return 0;
}

static void *awaiter_thread(void *arg)
{
    awaiter(arg);
    return NULL;
}

static int frames(void *arg)
{
    struct exchange x;
    pthread_t completers[COMPLETERS], thread;
    hop_scope scope;
    int i;

    memset(&x, 0, sizeof x);
    for (i = 0; i < SLOTS; i++) {
        x.slots[i].seed = (unsigned)hop_int(arg) * 8 + (unsigned)i + 1;
        x.slots[i].rounds = 2000;
    }
    for (i = 0; i < COMPLETERS; i++)
        completers[i] = start_thread(completer, &x);
    thread = start_thread(awaiter_thread, &x.slots[0]);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 1; i < SLOTS; i++)
        must_eq(hop_spawn(&scope, awaiter, &x.slots[i], HOP_TASK(.loop = 1 + i % 2)), 0);
    must_eq(hop_scope_close(&scope), 0);
    hop_on_blocking {
        join_thread(thread);
    }
    atomic_store(&x.stop, 1);
    for (i = 0; i < COMPLETERS; i++)
        join_thread(completers[i]);
    return 0;
}

START_TEST(storage_is_reused_at_once)
{
    hop_config config = { .loops = 2 };

    run_main_with(frames, hop_ptr((int)(test_seed() & 0xffffff)), &config);
}
END_TEST

/* Many complete the same future: exactly one succeeds. */
struct race {
    hop_future future;
    pthread_barrier_t start;
    atomic_int winners, winner;
};

struct runner {
    struct race *race;
    int number;
};

static void *run_race(void *arg)
{
    struct runner *r = arg;
    int rc;

    pthread_barrier_wait(&r->race->start);
    rc = hop_complete(&r->race->future, r->number);
    if (!rc) {
        atomic_fetch_add(&r->race->winners, 1);
        atomic_store(&r->race->winner, r->number);
    } else {
        must_eq(rc, -EALREADY);
    }
    return NULL;
}

START_TEST(only_one_completion_wins)
{
    enum { RUNNERS = 4 };
    int round, i;

    for (round = 0; round < 200; round++) {
        struct race race = { .winners = 0 };
        struct runner runners[RUNNERS];
        pthread_t threads[RUNNERS];
        int result;

        pthread_barrier_init(&race.start, NULL, RUNNERS);
        for (i = 0; i < RUNNERS; i++) {
            runners[i] = (struct runner){ &race, i + 1 };
            threads[i] = start_thread(run_race, &runners[i]);
        }
        result = hop_await(&race.future);
        for (i = 0; i < RUNNERS; i++)
            join_thread(threads[i]);
        pthread_barrier_destroy(&race.start);
        must_eq(atomic_load(&race.winners), 1);
        must_eq(result, atomic_load(&race.winner));
    }
}
END_TEST

RUN_TESTS("future", completed_before, completed_before_without_a_runtime, used_again_after_zeroing,
          completed_by_a_task, completed_by_a_job, completed_by_a_thread, awaited_by_a_thread_without_a_runtime,
          writes_before_completion_are_seen, second_awaiter_is_busy, await_in_a_job_would_block, deadline,
          deadline_without_a_runtime, awaited_again_after_a_time_out, the_earlier_deadline_holds, cancelled,
          completed_and_cancelled_at_once, storage_is_reused_at_once, only_one_completion_wins)
