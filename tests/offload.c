/* SPDX-License-Identifier: BSD-3-Clause */

/* Jobs: offloaded and waited for, submitted to a scope, cancelled before they start, more than the queue holds. */
#include "harness.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static int count_and_tell(void *arg)
{
    return atomic_fetch_add((atomic_int *)arg, 1) + 1;
}

/*
 * Every job that was accepted was completed, or has stayed at home. A worker counts after it has told the result, so
 * look until it has.
 */
static void must_balance(uint64_t accepted)
{
    hop_stats stats;

    do
        must_eq(hop_stats_read(&stats), 0);
    while (stats.jobs_completed < stats.jobs_accepted && !hop_yield());
    must_eq(stats.jobs_completed, stats.jobs_accepted);
    must_eq(stats.jobs_accepted + stats.jobs_at_home, accepted);
}

static int send(hop_fn *fn, void *arg)
{
    return hop_offload_with(fn, arg, HOP_OFFLOAD(.place = HOP_POOL));
}

/* --- offload --- */

struct where {
    long thread;
    enum hop_place place;
    int index;
};

static int tell_where(void *arg)
{
    struct where *w = arg;

    *w = (struct where){ thread_id(), hop_here(), hop_worker_index() };
    return 17;
}

static int offload_from_a_task(void *arg)
{
    struct where w;
    hop_stats stats;

    (void)arg;
    must_eq(hop_offload(tell_where, &w), 17);
    must(w.thread != thread_id());
    must_eq(w.place, HOP_JOB);
    must(w.index >= 0);
    must_eq(hop_offload(return_it, hop_ptr(-EILSEQ)), -EILSEQ);
    must_eq(hop_offload(return_it, hop_ptr(-EWOULDBLOCK)), -EWOULDBLOCK);
    must_eq(hop_here(), HOP_LOOP);
    must_balance(3);
    hop_on_blocking {
        must_eq(hop_offload(tell_where, &w), 17);
        must(w.thread != thread_id());
        must_eq(w.place, HOP_JOB);
        must_eq(hop_here(), HOP_BLOCKING);
    }
    hop_on_cpu { /* in place */
        must_eq(hop_offload(tell_where, &w), 17);
        must_eq(w.thread, thread_id());
        must_eq(w.place, HOP_JOB);
        must_eq(w.index, hop_worker_index());
        must_eq(hop_here(), HOP_CPU);
    }
    must_eq(hop_stats_read(&stats), 0);
    must_eq(stats.jobs_accepted + stats.jobs_at_home, 5); /* the hop is one, the job in place is none */
    hop_on_team {
        must_eq(hop_offload(tell_where, &w), 17);
        must_eq(w.thread, thread_id());
    }
    return 0;
}

START_TEST(from_a_task)
{
    run_main(offload_from_a_task);
}
END_TEST

static int offload_in_a_job(void *arg)
{
    struct where w;

    (void)arg;
    must_eq(hop_offload(tell_where, &w), 17);
    must_eq(w.thread, thread_id());
    must_eq(w.place, HOP_JOB);
    must_eq(hop_offload_with(tell_where, &w, HOP_OFFLOAD(.place = HOP_POOL)), 17);
    return 0;
}

static int offload_offload(void *arg)
{
    (void)arg;
    return hop_offload(offload_in_a_job, NULL);
}

START_TEST(from_a_job)
{
    run_main(offload_offload);
}
END_TEST

static void *offload_in_a_thread(void *arg)
{
    struct where w;
    int i;

    for (i = 0; i < 100; i++) {
        must_eq(hop_offload(tell_where, &w), 17);
        must(w.thread != thread_id());
        must_eq(w.place, HOP_JOB);
        must_eq(hop_offload(return_it, hop_ptr(i)), i);
    }
    return arg;
}

START_TEST(from_threads)
{
    pthread_t threads[4];
    hop_runtime *rt;
    int i;

    must_eq(hop_offload(return_it, NULL), -ENODEV);
    must_eq(hop_runtime_new(&rt, NULL), 0);
    for (i = 0; i < 4; i++)
        threads[i] = start_thread(offload_in_a_thread, NULL);
    offload_in_a_thread(NULL);
    for (i = 0; i < 4; i++)
        join_thread(threads[i]);
    must_balance(1000);
    must_eq(hop_runtime_free(rt), 0);
    must_eq(hop_offload(return_it, NULL), -ENODEV);
}
END_TEST

/* The loop goes on while a job computes: the job ends only when another task of the loop has run often. */
struct meanwhile {
    atomic_int turns, done;
};

static int wait_for_turns(void *arg)
{
    struct meanwhile *m = arg;

    while (atomic_load(&m->turns) < 100)
        ;
    atomic_store(&m->done, 1);
    return 1;
}

static int take_turns(void *arg)
{
    struct meanwhile *m = arg;

    while (!atomic_load(&m->done)) {
        atomic_fetch_add(&m->turns, 1);
        must_eq(hop_yield(), 0);
    }
    return 0;
}

static int loop_goes_on(void *arg)
{
    struct meanwhile m = { .turns = 0 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, take_turns, &m, NULL), 0);
    must_eq(hop_offload(wait_for_turns, &m), 1);
    must_eq(hop_scope_close(&scope), 0);
    must(atomic_load(&m.turns) >= 100);
    return 0;
}

START_TEST(the_loop_goes_on_meanwhile)
{
    run_main(loop_goes_on);
}
END_TEST

static int options(void *arg)
{
    hop_offload_options wrong = { .size = 1 };

    (void)arg;
    must_eq(hop_offload(NULL, NULL), -EINVAL);
    must_eq(hop_offload_with(NULL, NULL, NULL), -EINVAL);
    must_eq(hop_offload_with(return_it, hop_ptr(6), NULL), 6);
    must_eq(hop_offload_with(return_it, hop_ptr(6), HOP_OFFLOAD(.place = HOP_POOL)), 6);
    must_eq(hop_offload_with(return_it, hop_ptr(6), HOP_OFFLOAD(.place = HOP_ANYWHERE)), 6);
    must_eq(hop_offload_with(return_it, hop_ptr(6), &wrong), -EINVAL);
    must_eq(hop_offload_with(return_it, hop_ptr(6), HOP_OFFLOAD(.place = (hop_offload_place)77)), -EINVAL);
    must_eq(hop_offload_with(return_it, hop_ptr(6), HOP_OFFLOAD(.runtime = (hop_runtime *)&wrong)), -EINVAL);
    return 0;
}

START_TEST(options_are_checked)
{
    run_main(options);
}
END_TEST

static int worker_count(void *arg)
{
    *(int *)arg = hop_worker_count();
    return 0;
}

START_TEST(a_thread_chooses_its_runtime)
{
    hop_config one = { .workers = 1 }, two = { .workers = 2 };
    hop_runtime *a, *b;
    int n = 0;

    must_eq(hop_runtime_new(&a, &one), 0);
    must_eq(hop_runtime_new(&b, &two), 0);
    must_eq(hop_offload(worker_count, &n), 0);
    must_eq(n, 1); /* the one made first */
    must_eq(hop_offload_with(worker_count, &n, HOP_OFFLOAD(.runtime = b)), 0);
    must_eq(n, 2);
    must_eq(hop_runtime_use(b), 0);
    must_eq(hop_offload(worker_count, &n), 0);
    must_eq(n, 2);
    must_eq(hop_offload_with(worker_count, &n, HOP_OFFLOAD(.runtime = a)), 0);
    must_eq(n, 1);
    must_eq(hop_runtime_use(NULL), 0);
    must_eq(hop_offload(worker_count, &n), 0);
    must_eq(n, 1);
    must_eq(hop_runtime_free(a), 0);
    must_eq(hop_offload_with(worker_count, &n, HOP_OFFLOAD(.runtime = a)), -EINVAL);
    must_eq(hop_offload(worker_count, &n), 0);
    must_eq(n, 2); /* now b is the one made first */
    must_eq(hop_runtime_free(b), 0);
}
END_TEST

enum { TASKS = 100, EACH = 200 };

static int offload_many(void *arg)
{
    atomic_int *counter = arg;
    int i;

    for (i = 0; i < EACH; i++) {
        if (i % 8) {
            must(send(count_and_tell, counter) > 0);
        } else {
            hop_on_cpu {
                must(send(count_and_tell, counter) > 0);
            }
        }
    }
    return 0;
}

static int many(void *arg)
{
    atomic_int counter = 0;
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < TASKS; i++)
        must_eq(hop_spawn(&scope, offload_many, &counter, HOP_TASK(.loop = 1 + i % 2)), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&counter), TASKS * EACH);
    must_balance(TASKS * EACH);
    return 0;
}

START_TEST(twenty_thousand)
{
    hop_config config = { .loops = 2 };

    run_main_with(many, NULL, &config);
}
END_TEST

/* More at once than there is room for. */
START_TEST(twenty_thousand_through_a_short_queue)
{
    hop_config config = { .loops = 2, .queue = 2, .workers = 2 };

    run_main_with(many, NULL, &config);
}
END_TEST

/* --- short jobs stay at home --- */

enum { STACK_OF_A_TASK = 64 * 1024, DEEP = 256 * 1024 };

struct errand {
    int slow, deep, waits;
    pthread_t thread; /* who has run it */
    enum hop_place place;
    atomic_int runs;
};

static __attribute__((noinline)) int touch_much_stack(void)
{
    volatile char frame[DEEP];

    frame[0] = frame[DEEP - 1] = 1;
    return frame[0] + frame[DEEP - 1];
}

static int run_errand(void *arg)
{
    struct errand *e = arg;
    hop_ns end;

    atomic_fetch_add(&e->runs, 1);
    e->thread = pthread_self();
    e->place = hop_here();
    if (e->deep)
        must_eq(touch_much_stack(), 2);
    if (e->waits) {
        must_eq(hop_sleep(1), -EWOULDBLOCK);
        must_eq(hop_offload(return_it, hop_ptr(9)), 9);
    }
    if (e->slow)
        for (end = hop_now() + 5 * HOP_MS; hop_now() < end;)
            ;
    return 23;
}

static uint64_t at_home(void)
{
    hop_stats stats;

    must_eq(hop_stats_read(&stats), 0);
    return stats.jobs_at_home;
}

/* Until one has stayed: on a busy machine the first few may look slow. */
static void make_it_stay(struct errand *e)
{
    uint64_t before = at_home();

    while (at_home() == before)
        must_eq(hop_offload(run_errand, e), 23);
}

static int short_jobs(void *arg)
{
    struct errand e = { .slow = 0 };
    pthread_t me = pthread_self();
    int i;

    (void)arg;
    must_eq(hop_offload(run_errand, &e), 23);
    must(!pthread_equal(e.thread, me)); /* nothing is known of it yet */
    make_it_stay(&e);
    must(pthread_equal(e.thread, me));
    must_eq(e.place, HOP_JOB);
    must_eq(hop_here(), HOP_LOOP);
    e.deep = !TEST_VALGRIND; /* deeper than a task's stack; under valgrind a large frame alone is no short job */
    make_it_stay(&e);
    e.deep = 0;
    e.waits = 1;
    make_it_stay(&e);
    e.waits = 0;
    for (i = 0; i < 100; i++) {
        must_eq(send(run_errand, &e), 23);
        must(!pthread_equal(e.thread, me));
    }
    must_balance((uint64_t)atomic_load(&e.runs));
    return 0;
}

/* One that turns slow keeps the loop once. */
static int turns_slow(void *arg)
{
    struct errand e = { .slow = 0 };
    pthread_t me = pthread_self();
    int i;

    (void)arg;
    make_it_stay(&e);
    e.slow = 1;
    while (pthread_equal(e.thread, me))
        must_eq(hop_offload(run_errand, &e), 23);
    for (i = 0; i < 20; i++) {
        must_eq(hop_offload(run_errand, &e), 23);
        must(!pthread_equal(e.thread, me));
    }
    return 0;
}

/* A job that asks for its worker always has one. */
static int asks_for_its_worker(void *arg)
{
    (void)arg;
    return hop_worker_index();
}

static int workers_known(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 5000; i++)
        must(hop_offload(asks_for_its_worker, NULL) >= 0);
    must_eq(at_home(), 0);
    return 0;
}

/* The loop goes on: another task runs now and then although this one never waits. */
static int set_it(void *arg)
{
    must_eq(hop_sleep(HOP_MS), 0);
    atomic_store((atomic_int *)arg, 1);
    return 0;
}

static int never_waits(void *arg)
{
    struct errand e = { .slow = 0 };
    atomic_int set = 0;
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, set_it, &set, NULL), 0);
    make_it_stay(&e);
    while (!atomic_load(&set))
        must_eq(hop_offload(run_errand, &e), 23);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

/* Cancelled is cancelled, at home too. */
static int cancelled_at_home(void *arg)
{
    struct errand *e = arg;

    make_it_stay(e);
    while (!hop_cancelled())
        hop_yield();
    atomic_store(&e->runs, 0);
    must_eq(hop_offload(run_errand, e), -ECANCELED);
    must_eq(atomic_load(&e->runs), 0);
    return 0;
}

static int cancels(void *arg)
{
    struct errand e = { .slow = 0 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, cancelled_at_home, &e, NULL), 0);
    while (!at_home())
        hop_yield();
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    hop_scope_close(&scope);
    return 0;
}

/* Under helgrind, which is told of every atomic, no job is short. */
static void run_with_short_jobs(hop_fn *fn)
{
#ifndef HOP_HELGRIND
    hop_config config = { .stack_bytes = STACK_OF_A_TASK };

    run_main_with(fn, NULL, &config);
#else
    (void)fn;
#endif
}

START_TEST(short_jobs_stay_at_home)
{
    run_with_short_jobs(short_jobs);
}
END_TEST

START_TEST(what_turns_slow_travels_again)
{
    run_with_short_jobs(turns_slow);
}
END_TEST

START_TEST(a_job_that_asks_has_a_worker)
{
    run_main(workers_known);
}
END_TEST

START_TEST(jobs_at_home_leave_room_for_others)
{
    run_with_short_jobs(never_waits);
}
END_TEST

START_TEST(cancellation_at_home)
{
    run_with_short_jobs(cancels);
}
END_TEST

/* --- submit --- */

static int submits(void *arg)
{
    hop_future a = HOP_FUTURE_INIT, b = HOP_FUTURE_INIT;
    atomic_int counter = 0;
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_submit(&scope, &a, return_it, hop_ptr(21)), 0);
    must_eq(hop_submit(&scope, &b, return_it, hop_ptr(0)), 0);
    for (i = 0; i < 100; i++)
        must_eq(hop_submit(&scope, NULL, count_and_tell, &counter), 0);
    must_eq(hop_await(&b), 0);
    must_eq(hop_await(&a), 21);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&counter), 100);
    must_balance(102);
    return 0;
}

START_TEST(submitted_with_and_without_a_future)
{
    run_main(submits);
}
END_TEST

static int submit_in_a_job(void *arg)
{
    return hop_submit(arg, NULL, return_it, hop_ptr(3));
}

static void *submit_in_a_thread(void *arg)
{
    int i;

    for (i = 0; i < 100; i++)
        must_eq(hop_submit(arg, NULL, return_it, NULL), 0);
    return NULL;
}

static int submit_from_everywhere(void *arg)
{
    pthread_t thread;
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    thread = start_thread(submit_in_a_thread, &scope);
    must_eq(hop_offload(submit_in_a_job, &scope), 0);
    hop_on_cpu {
        must_eq(hop_submit(&scope, NULL, return_it, NULL), 0);
    }
    hop_on_team {
        must_eq(hop_submit(&scope, NULL, return_it, NULL), 0);
    }
    hop_on_blocking {
        must_eq(hop_submit(&scope, NULL, return_it, NULL), 0);
    }
    hop_on_blocking {
        join_thread(thread);
    }
    must_eq(hop_scope_close(&scope), 0);
    must_balance(106);
    return 0;
}

START_TEST(submitted_from_everywhere)
{
    run_main(submit_from_everywhere);
}
END_TEST

static int spin_until_cancelled(void *arg)
{
    hop_complete(arg, 0);
    while (!hop_cancelled())
        ;
    return hop_cancelled();
}

static int first_error(void *arg)
{
    hop_future begun = HOP_FUTURE_INIT, ended = HOP_FUTURE_INIT;
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_submit(&scope, &ended, spin_until_cancelled, &begun), 0);
    must_eq(hop_await(&begun), 0);
    must_eq(hop_submit(&scope, NULL, return_it, hop_ptr(-EMLINK)), 0);
    must_eq(hop_await(&ended), -ECANCELED);
    must_eq(hop_submit(&scope, NULL, return_it, NULL), -ECANCELED);
    must_eq(hop_scope_close(&scope), -EMLINK);
    return 0;
}

START_TEST(first_error_of_a_scope)
{
    hop_config config = { .workers = 2 };

    run_main_with(first_error, NULL, &config);
}
END_TEST

/* --- a worker that is held --- */

struct hold {
    hop_future begun;
    sem_t gate;
};

static int hold_worker(void *arg)
{
    struct hold *h = arg;

    hop_complete(&h->begun, 0);
    while (sem_wait(&h->gate))
        ;
    return 0;
}

enum { HELD = 100 };

struct tally {
    hop_future futures[HELD];
    atomic_int ran;
};

static int cancel_before_start(void *arg)
{
    struct tally *t = calloc(1, sizeof *t);
    int reason = hop_int(arg), i;
    struct hold h = { .begun = HOP_FUTURE_INIT };
    hop_scope hold, scope;

    must(t != NULL);
    sem_init(&h.gate, 0, 0);
    must_eq(hop_scope_open(&hold), 0);
    must_eq(hop_submit(&hold, NULL, hold_worker, &h), 0);
    must_eq(hop_await(&h.begun), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < HELD; i++)
        must_eq(hop_submit(&scope, i % 3 ? &t->futures[i] : NULL, count_and_tell, &t->ran), 0);
    must_eq(hop_scope_cancel(&scope, reason), 0);
    must_eq(hop_done(&t->futures[1]), 0);
    must_eq(hop_submit(&scope, &t->futures[0], count_and_tell, &t->ran), reason);
    sem_post(&h.gate);
    must_eq(hop_scope_close(&scope), reason);
    for (i = 0; i < HELD; i++) {
        must_eq(hop_done(&t->futures[i]), i % 3 != 0); /* refused or without: not touched */
        if (i % 3) {
            must_eq(hop_await(&t->futures[i]), reason);
            must_eq(hop_complete(&t->futures[i], 0), -EALREADY);
        }
    }
    must_eq(atomic_load(&t->ran), 0);
    must_eq(hop_scope_close(&hold), 0);
    must_balance(HELD + 1);
    sem_destroy(&h.gate);
    free(t);
    return 0;
}

START_TEST(cancelled_before_they_start)
{
    hop_config config = { .workers = 1 };

    run_main_with(cancel_before_start, hop_ptr(-ECANCELED), &config);
    run_main_with(cancel_before_start, hop_ptr(-ESTALE), &config);
}
END_TEST

/* An offload that waits behind a held worker: cancelled or out of time it is not run; the caller knows why. */
struct behind {
    int ready, deadline, result;
    atomic_int ran;
};

static int offload_behind(void *arg)
{
    struct behind *b = arg;

    b->ready = 1;
    if (b->deadline) {
        hop_within(50 * HOP_MS) { /* enough to be sent, however busy the machine is */
            b->result = hop_offload(count_and_tell, &b->ran);
        }
    } else {
        b->result = hop_offload(count_and_tell, &b->ran);
    }
    return 0;
}

static int offload_cancelled(void *arg)
{
    struct behind a = { .deadline = 0 }, b = { .deadline = 1 };
    struct hold h = { .begun = HOP_FUTURE_INIT };
    hop_scope hold, scope;

    (void)arg;
    sem_init(&h.gate, 0, 0);
    must_eq(hop_scope_open(&hold), 0);
    must_eq(hop_submit(&hold, NULL, hold_worker, &h), 0);
    must_eq(hop_await(&h.begun), 0);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, offload_behind, &b, NULL), 0);
    must_eq(hop_spawn(&scope, offload_behind, &a, NULL), 0);
    while (!a.ready || !b.ready)
        hop_yield();
    must_eq(hop_sleep(60 * HOP_MS), 0); /* b's time is over */
    must_eq(hop_scope_cancel(&scope, -ESTALE), 0);
    sem_post(&h.gate);
    must_eq(hop_scope_close(&scope), -ESTALE);
    must_eq(hop_scope_close(&hold), 0);
    must_eq(a.result, -ESTALE);
    must(b.result == -ETIMEDOUT || b.result == -ESTALE); /* both hold by then */
    must_eq(atomic_load(&a.ran) + atomic_load(&b.ran), 0);
    must_balance(3);
    sem_destroy(&h.gate);
    return 0;
}

START_TEST(offloads_cancelled_before_they_start)
{
    hop_config config = { .workers = 1 };

    run_main_with(offload_cancelled, NULL, &config);
}
END_TEST

/* Once started an offload is waited for, and its result is what counts. */
struct started {
    hop_future begun;
    sem_t gate;
    int result;
};

static int ends_after_cancel(void *arg)
{
    struct started *s = arg;

    hop_complete(&s->begun, 0);
    while (sem_wait(&s->gate))
        ;
    return 88;
}

static int offload_started(void *arg)
{
    struct started *s = arg;

    s->result = hop_offload(ends_after_cancel, s);
    return 0;
}

static int cancel_after_start(void *arg)
{
    struct started s = { .result = 0 };
    hop_scope scope;

    (void)arg;
    sem_init(&s.gate, 0, 0);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, offload_started, &s, NULL), 0);
    must_eq(hop_await(&s.begun), 0);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    hop_yield();
    hop_yield();
    must_eq(s.result, 0);
    sem_post(&s.gate);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(s.result, 88);
    sem_destroy(&s.gate);
    return 0;
}

START_TEST(a_started_offload_is_waited_for)
{
    run_main(cancel_after_start);
}
END_TEST

/* --- a full queue --- */

enum { SUBMITTERS = 6 };

struct full {
    hop_scope scope;
    hop_future filled, popped;
    sem_t gate, second_gate;
    int accepted_by_job, waiting, submitted;
    atomic_int next;
    int order[64];
};

struct number {
    struct full *full;
    int number;
    hop_future done;
};

static int note_order(void *arg)
{
    struct number *n = arg;

    n->full->order[atomic_fetch_add(&n->full->next, 1)] = n->number;
    if (!n->number) { /* the first holds the worker again: there is room, and others wait for it */
        hop_complete(&n->full->popped, 0);
        while (sem_wait(&n->full->second_gate))
            ;
    }
    return n->number;
}

struct filler {
    struct full *full;
    struct number numbers[32];
};

/* Holds the only worker, and fills the queue until it is refused. */
static int fill_queue(void *arg)
{
    struct filler *f = arg;
    int i, rc = 0;

    for (i = 0; i < 32 && !rc; i++) {
        f->numbers[i] = (struct number){ f->full, i, HOP_FUTURE_INIT };
        rc = hop_submit(&f->full->scope, NULL, note_order, &f->numbers[i]);
    }
    must_eq(rc, -EAGAIN);
    must_eq(hop_submit(&f->full->scope, NULL, note_order, &f->numbers[0]), -EAGAIN);
    f->full->accepted_by_job = i - 1;
    hop_complete(&f->full->filled, 0);
    while (sem_wait(&f->full->gate))
        ;
    return 0;
}

static int submit_to_full(void *arg)
{
    struct number *n = arg;

    n->full->waiting++;
    must_eq(hop_submit(&n->full->scope, &n->done, note_order, n), 0);
    n->full->submitted++;
    return hop_await(&n->done) == n->number ? 0 : -EFAULT;
}

static void *submit_to_full_thread(void *arg)
{
    struct number *n = arg;

    must_eq(hop_submit(&n->full->scope, &n->done, note_order, n), 0);
    must_eq(hop_await(&n->done), n->number);
    return NULL;
}

static int fills(void *arg)
{
    struct full full = { .accepted_by_job = 0 };
    struct filler filler = { .full = &full };
    struct number numbers[SUBMITTERS], thread_number, late;
    hop_scope tasks;
    pthread_t thread;
    int i, last;

    (void)arg;
    sem_init(&full.gate, 0, 0);
    sem_init(&full.second_gate, 0, 0);
    must_eq(hop_scope_open(&full.scope), 0);
    must_eq(hop_submit(&full.scope, NULL, fill_queue, &filler), 0);
    must_eq(hop_await(&full.filled), 0);
    must(full.accepted_by_job >= 1 && full.accepted_by_job <= 4); /* asked for 2 */
    must_eq(hop_scope_open(&tasks), 0);
    for (i = 0; i < SUBMITTERS; i++) {
        numbers[i] = (struct number){ &full, 100 + i, HOP_FUTURE_INIT };
        must_eq(hop_spawn(&tasks, submit_to_full, &numbers[i], NULL), 0);
    }
    while (full.waiting < SUBMITTERS)
        hop_yield();
    hop_yield();
    must_eq(full.submitted, 0); /* all wait for room, and the loop goes on */
    thread_number = (struct number){ &full, 7000, HOP_FUTURE_INIT };
    thread = start_thread(submit_to_full_thread, &thread_number);
    sem_post(&full.gate);
    must_eq(hop_await(&full.popped), 0);
    late = (struct number){ &full, 500, HOP_FUTURE_INIT };
    must_eq(hop_spawn(&tasks, submit_to_full, &late, NULL), 0);
    while (full.waiting < SUBMITTERS + 1)
        hop_yield();
    sem_post(&full.second_gate);
    must_eq(hop_scope_close(&tasks), 0);
    hop_on_blocking {
        join_thread(thread);
    }
    must_eq(hop_scope_close(&full.scope), 0);
    must_eq(full.submitted, SUBMITTERS + 1);
    last = full.accepted_by_job + SUBMITTERS + 1;
    must_eq(atomic_load(&full.next), last + 1);
    must(full.order[last] == 500 || full.order[last - 1] == 500);
    for (i = 0; i < full.accepted_by_job; i++)
        must_eq(full.order[i], i);
    for (i = 0; i < SUBMITTERS; i++) { /* first come, first served; the thread somewhere between */
        int at = full.accepted_by_job + i;

        must(full.order[at] == 100 + i || full.order[at + 1] == 100 + i);
    }
    must_balance((uint64_t)full.accepted_by_job + SUBMITTERS + 3);
    sem_destroy(&full.gate);
    sem_destroy(&full.second_gate);
    return 0;
}

START_TEST(a_full_queue_makes_submitters_wait)
{
    hop_config config = { .workers = 1, .queue = 2 };

    run_main_with(fills, NULL, &config);
}
END_TEST

/* Offloads find room too, and hops: they cannot be refused. */
static int hop_and_offload(void *arg)
{
    int i;

    for (i = 0; i < 20; i++) {
        hop_on_cpu {
            must(count_and_tell(arg) > 0);
        }
        must(send(count_and_tell, arg) > 0);
    }
    return 0;
}

static int overfill(void *arg)
{
    atomic_int counter = 0;
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 200; i++)
        must_eq(hop_spawn(&scope, hop_and_offload, &counter, NULL), 0);
    for (i = 0; i < 500; i++)
        must_eq(hop_submit(&scope, NULL, count_and_tell, &counter), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&counter), 200 * 40 + 500);
    must_balance(200 * 40 + 500);
    return 0;
}

START_TEST(more_than_the_queue_holds)
{
    hop_config one = { .workers = 1, .queue = 1 }, four = { .workers = 4, .queue = 4 };

    run_main_with(overfill, NULL, &one);
    run_main_with(overfill, NULL, &four);
}
END_TEST

/* On a worker a job runs in place; a cancelled task starts none there either. */
static int offload_in_place(void *arg)
{
    atomic_int ran = 0;
    hop_future f = HOP_FUTURE_INIT;

    must_eq(hop_await(&f), -EPROTO);
    must_eq(hop_offload(count_and_tell, &ran), -EPROTO);
    hop_on_cpu {
        must_eq(hop_offload(count_and_tell, &ran), -EPROTO);
        must_eq(hop_offload_with(count_and_tell, &ran, HOP_OFFLOAD(.place = HOP_POOL)), -EPROTO);
        hop_shield(600 * HOP_SEC) {
            must_eq(hop_offload(count_and_tell, &ran), 1);
        }
        hop_within(0) {
            must_eq(hop_offload(count_and_tell, &ran), -EPROTO);
        }
    }
    must_eq(atomic_load(&ran), 1);
    *(int *)arg = 1;
    return 0;
}

static int cancel_in_place(void *arg)
{
    hop_scope scope;
    atomic_int ran = 0;
    int done = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, offload_in_place, &done, NULL), 0);
    must_eq(hop_yield(), 0);
    must_eq(hop_scope_cancel(&scope, -EPROTO), 0);
    must_eq(hop_scope_close(&scope), -EPROTO);
    must_eq(done, 1);
    hop_on_cpu {
        hop_within(0) {
            must_eq(hop_offload(count_and_tell, &ran), -ETIMEDOUT);
        }
        must_eq(hop_offload(count_and_tell, &ran), 1);
    }
    return 0;
}

START_TEST(cancelled_on_a_worker)
{
    run_main(cancel_in_place);
}
END_TEST

/* --- cancellation against starting, many times: each future once, with a result or the reason --- */

static int cancel_race(void *arg)
{
    enum { JOBS = 30 };
    unsigned seed = (unsigned)hop_int(arg) | 1;
    uint64_t accepted = 0;
    int round, i;

    for (round = 0; round < 300; round++) {
        hop_future futures[JOBS];
        atomic_int ran = 0;
        int sent = 0, results = 0, cancelled = 0, cut = (int)(test_random(&seed) % JOBS);
        hop_scope scope;

        memset(futures, 0, sizeof futures);
        must_eq(hop_scope_open(&scope), 0);
        for (i = 0; i < JOBS; i++) {
            int rc = hop_submit(&scope, &futures[i], count_and_tell, &ran);

            must(rc == 0 || rc == -ECANCELED);
            sent += rc == 0;
            if (i == cut)
                must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
        }
        must_eq(sent, cut + 1);
        must_eq(hop_scope_close(&scope), -ECANCELED);
        for (i = 0; i < sent; i++) {
            must_eq(hop_done(&futures[i]), 1);
            if (hop_await(&futures[i]) == -ECANCELED)
                cancelled++;
            else
                results++;
        }
        for (; i < JOBS; i++)
            must_eq(hop_done(&futures[i]), 0);
        must_eq(results, atomic_load(&ran));
        must_eq(results + cancelled, sent);
        accepted += (uint64_t)sent;
    }
    must_balance(accepted);
    return 0;
}

START_TEST(cancellation_races_with_the_start)
{
    run_main_with(cancel_race, hop_ptr((int)(test_seed() & 0xffffff)), NULL);
}
END_TEST

RUN_TESTS("offload", from_a_task, from_a_job, from_threads, the_loop_goes_on_meanwhile, options_are_checked,
          a_thread_chooses_its_runtime, twenty_thousand, twenty_thousand_through_a_short_queue,
          short_jobs_stay_at_home, what_turns_slow_travels_again, a_job_that_asks_has_a_worker,
          jobs_at_home_leave_room_for_others, cancellation_at_home,
          submitted_with_and_without_a_future, submitted_from_everywhere, first_error_of_a_scope,
          cancelled_before_they_start, offloads_cancelled_before_they_start, a_started_offload_is_waited_for,
          a_full_queue_makes_submitters_wait, more_than_the_queue_holds, cancelled_on_a_worker,
          cancellation_races_with_the_start)
