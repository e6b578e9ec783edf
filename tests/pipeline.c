/* SPDX-License-Identifier: BSD-3-Clause */

/* hop_pipeline: order, back-pressure, the end, errors, cancellation. */
#include "harness.h"

#include <stdint.h>

enum { STAGES_MAX = 8, SLOTS_MAX = 64, ANY_STAGE = -1 };

struct slot {
    long item;
    int step;    /* stages it went through */
    unsigned long digest; /* something to compute */
};

/* A pipeline and what is seen of it. Counters that jobs touch are changed with __atomic. */
struct run {
    const char *shape; /* one letter a stage: s serial, p parallel */
    size_t nslots;
    long items;
    long fail_item;    /* the item at which fail_stage fails; -1: never */
    int fail_stage;
    int fail_with;
    int sleepy;        /* serial stages sleep and hop now and then */
    long produced, finished, in_flight_max, visits[STAGES_MAX], next[STAGES_MAX];
    int wrong;         /* what must not be seen was seen */
    int over;          /* the pipeline has returned */
    struct slot slots[SLOTS_MAX];
    hop_stage stages[STAGES_MAX];
};

static void visit(struct run *run, int stage)
{
    __atomic_fetch_add(&run->visits[stage], 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&run->over, __ATOMIC_SEQ_CST))
        __atomic_store_n(&run->wrong, 1, __ATOMIC_RELAXED);
}

static int fails(const struct run *run, int stage, long item)
{
    return run->fail_stage == stage && run->fail_item == item;
}

static void note_in_flight(struct run *run)
{
    long in_flight = run->produced - __atomic_load_n(&run->finished, __ATOMIC_SEQ_CST);

    if (in_flight > run->in_flight_max)
        run->in_flight_max = in_flight;
}

static int source(void *arg, void *pipeline)
{
    struct slot *slot = arg;
    struct run *run = pipeline;

    visit(run, 0);
    if (fails(run, 0, run->produced))
        return run->fail_with;
    if (run->produced == run->items)
        return 0;
    *slot = (struct slot){ .item = run->produced++, .step = 1 };
    if (strlen(run->shape) == 1)
        run->finished++;
    note_in_flight(run);
    return 1 + (int)(slot->item % 2); /* anything above 0 is an item */
}

/* What every later stage does: it must be the item's turn at this stage. */
static int pass_through(struct slot *slot, struct run *run, int stage)
{
    visit(run, stage);
    if (slot->step != stage)
        __atomic_store_n(&run->wrong, 2, __ATOMIC_RELAXED);
    slot->step = stage + 1;
    for (int i = 0; i < (int)(slot->item * 7919 % 400); i++)
        slot->digest = slot->digest * 31 + (unsigned)i;
    if (fails(run, stage, slot->item))
        return run->fail_with;
    if (!run->shape[stage + 1])
        __atomic_fetch_add(&run->finished, 1, __ATOMIC_SEQ_CST);
    return (int)(slot->item % 3);
}

static int serial(struct slot *slot, struct run *run, int stage)
{
    if (slot->item != run->next[stage]++)
        run->wrong = 3; /* not in source order */
    if (hop_here() != HOP_LOOP)
        run->wrong = 4;
    if (run->sleepy && slot->item % 16 == stage) {
        int rc = hop_sleep(HOP_MS);

        if (rc < 0)
            return rc;
        hop_on_cpu
            slot->digest++;
    }
    return pass_through(slot, run, stage);
}

static int parallel(struct slot *slot, struct run *run, int stage)
{
    if (hop_here() != HOP_JOB || hop_sleep(1) != -EWOULDBLOCK)
        __atomic_store_n(&run->wrong, 5, __ATOMIC_RELAXED);
    return pass_through(slot, run, stage);
}

#define STAGE(n) \
    static int serial_##n(void *slot, void *run) { return serial(slot, run, n); } \
    static int parallel_##n(void *slot, void *run) { return parallel(slot, run, n); }
STAGE(1) STAGE(2) STAGE(3) STAGE(4) STAGE(5)

static hop_stage_fn *const serials[] = { source, serial_1, serial_2, serial_3, serial_4, serial_5 };
static hop_stage_fn *const parallels[] = { NULL, parallel_1, parallel_2, parallel_3, parallel_4, parallel_5 };

static int run_pipeline(void *arg)
{
    struct run *run = arg;
    size_t n = strlen(run->shape);
    int rc;

    for (size_t i = 0; i < n; i++) {
        int is_parallel = run->shape[i] == 'p';

        run->stages[i] = (hop_stage){ is_parallel ? parallels[i] : serials[i],
                                      is_parallel ? HOP_PARALLEL : HOP_SERIAL, NULL };
    }
    rc = hop_pipeline(run->stages, n, run->slots, run->nslots, sizeof *run->slots, run);
    __atomic_store_n(&run->over, 1, __ATOMIC_SEQ_CST);
    return rc;
}

static struct run make_run(const char *shape, size_t nslots, long items)
{
    return (struct run){ .shape = shape, .nslots = nslots, .items = items, .fail_item = -1, .fail_stage = ANY_STAGE };
}

static void check_all_done(const struct run *run)
{
    must_eq(run->wrong, 0);
    must_eq(run->produced, run->items);
    must_eq(run->finished, run->items);
    must_eq(run->visits[0], run->items + 1);
    for (size_t i = 1; i < strlen(run->shape); i++)
        must_eq(run->visits[i], run->items);
    must(run->in_flight_max <= (long)run->nslots);
}

static const char *const shapes[] = { "s", "ss", "sp", "spp", "sps", "spps", "ssss", "spsp", "sspps", "spspps" };
static const size_t slot_counts[] = { 1, 2, 3, 16, SLOTS_MAX };

enum { NSHAPES = sizeof shapes / sizeof *shapes, NSLOT_COUNTS = sizeof slot_counts / sizeof *slot_counts };

/* Every item goes once through each stage, in order, whatever the shape, the slots and the number of items. */
static int all_shapes(void *arg)
{
    static struct run run;

    (void)arg;
    for (int i = 0; i < NSHAPES * NSLOT_COUNTS; i++) {
        size_t nslots = slot_counts[i % NSLOT_COUNTS];
        long counts[] = { 0, 1, (long)nslots - 1, (long)nslots, (long)nslots + 1, 300 };

        for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            run = make_run(shapes[i / NSLOT_COUNTS], nslots, counts[j]);
            run.sleepy = j == 5 && nslots == 16;
            must_eq(run_pipeline(&run), 0);
            check_all_done(&run);
        }
    }
    return 0;
}

START_TEST(every_item_once_and_in_order)
{
    run_main(all_shapes);
}
END_TEST

START_TEST(every_item_with_one_worker)
{
    run_main_with(all_shapes, NULL, &(hop_config){ .workers = 1 });
}
END_TEST

START_TEST(many_items)
{
    static struct run run;
    int descriptors = open_descriptors(), threads = live_threads();

    run = make_run("spsps", 32, 20000);
    run_main_with(run_pipeline, &run, &(hop_config){ .workers = 4 });
    check_all_done(&run);
    /* First: a thread that ends may have a library open. A sanitizer has a thread of its own, when it likes. */
    ck_assert_int_le(settled_threads(threads), threads + TEST_SANITIZED);
    must_eq(open_descriptors(), descriptors);
}
END_TEST

/* More slots than the pool's queue has places. */
START_TEST(a_full_queue_holds_back)
{
    static struct run run;

    run = make_run("sps", SLOTS_MAX, 2000);
    run_main_with(run_pipeline, &run, &(hop_config){ .queue = 2 });
    check_all_done(&run);
}
END_TEST

/* The last stage waits for the source to be stuck: it gets exactly nslots ahead. */
struct slow {
    long produced, consumed, ahead_max;
};

static int slow_source(void *slot, void *arg)
{
    struct slow *slow = arg;

    (void)slot;
    if (slow->produced == 50)
        return 0;
    slow->produced++;
    if (slow->produced - slow->consumed > slow->ahead_max)
        slow->ahead_max = slow->produced - slow->consumed;
    return 1;
}

static int compute_nothing(void *slot, void *arg)
{
    (void)slot, (void)arg;
    return 0;
}

static int slow_sink(void *slot, void *arg)
{
    struct slow *slow = arg;
    int rc = hop_sleep(HOP_MS);

    (void)slot;
    slow->consumed++;
    return rc;
}

static int run_slow(void *arg)
{
    hop_stage stages[] = { { slow_source, HOP_SERIAL, "source" },
                           { compute_nothing, HOP_PARALLEL, NULL },
                           { slow_sink, HOP_SERIAL, "sink" } };
    char slots[5];

    return hop_pipeline(stages, 3, slots, 5, 1, arg);
}

START_TEST(a_slow_stage_holds_back_the_source)
{
    struct slow slow = { 0, 0, 0 };

    run_main_with(run_slow, &slow, NULL);
    must_eq(slow.produced, 50);
    must_eq(slow.consumed, 50);
    must_eq(slow.ahead_max, 5);
}
END_TEST

/* An error of any stage, at the first item, in the middle, and at the last, is what the pipeline returns. */
static int all_errors(void *arg)
{
    static const long when[] = { 0, 1, 57, 99 };
    static struct run run;

    (void)arg;
    for (int i = 0; i < NSHAPES * NSLOT_COUNTS * 4; i++) {
        const char *shape = shapes[i / 4 / NSLOT_COUNTS];

        for (int stage = 0; shape[stage]; stage++) {
            run = make_run(shape, slot_counts[i / 4 % NSLOT_COUNTS], 100);
            run.fail_item = when[i % 4];
            run.fail_stage = stage;
            run.fail_with = -EXDEV;
            must_eq(run_pipeline(&run), -EXDEV);
            must_eq(run.wrong, 0);
            must(run.finished <= run.items);
            must(run.in_flight_max <= (long)run.nslots);
        }
    }
    return 0;
}

START_TEST(the_error_of_a_stage_is_returned)
{
    run_main(all_errors);
}
END_TEST

/* Stages that wait are woken by the error of another; what they make of it does not count any more. */
struct stuck {
    int pipe[2];
    int woken;
    int by_job; /* whether a job fails, or a serial stage */
    long sourced;
    int job_ended;
    hop_future job_started;
};

static int stuck_source(void *slot, void *arg)
{
    struct stuck *stuck = arg;
    char byte;

    (void)slot;
    if (__atomic_fetch_add(&stuck->sourced, 1, __ATOMIC_SEQ_CST) < 1)
        return 1;
    stuck->woken = (int)hop_read(stuck->pipe[0], &byte, 1);
    return -ENOSPC;
}

static int fail_once_stuck(void *slot, void *arg)
{
    struct stuck *stuck = arg;

    (void)slot;
    while (stuck->by_job && __atomic_load_n(&stuck->sourced, __ATOMIC_SEQ_CST) < 2)
        continue; /* a job does not wait */
    return -EXDEV;
}

static int run_stuck(void *arg)
{
    struct stuck *stuck = arg;
    hop_stage stages[] = { { stuck_source, HOP_SERIAL, NULL }, { fail_once_stuck, HOP_SERIAL, NULL } };
    char slots[4];

    stages[1].kind = stuck->by_job ? HOP_PARALLEL : HOP_SERIAL;
    return hop_pipeline(stages, 2, slots, 4, 1, stuck);
}

static void check_stuck(int by_job)
{
    struct stuck stuck = { .by_job = by_job };

    must_eq(pipe(stuck.pipe), 0);
    must_eq(hop_run(run_stuck, &stuck, NULL), -EXDEV);
    must(stuck.woken < 0);
    close(stuck.pipe[0]);
    close(stuck.pipe[1]);
}

START_TEST(the_error_of_a_serial_stage_wakes_the_others)
{
    check_stuck(0);
}
END_TEST

START_TEST(the_error_of_a_job_wakes_the_others)
{
    check_stuck(1);
}
END_TEST

/* A job that has started is waited for, though everything else has ended long ago. */
static int long_job(void *slot, void *arg)
{
    struct stuck *stuck = arg;
    hop_ns end = hop_now() + 50 * HOP_MS;

    (void)slot;
    hop_complete(&stuck->job_started, 0);
    while (hop_now() < end)
        continue;
    __atomic_store_n(&stuck->job_ended, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int fail_once_started(void *slot, void *arg)
{
    struct stuck *stuck = arg;

    (void)slot;
    if (stuck->sourced++ < 1)
        return 1;
    return hop_await(&stuck->job_started) < 0 ? -EPROTO : -EXDEV;
}

static int run_long_job(void *arg)
{
    struct stuck *stuck = arg;
    hop_stage stages[] = { { fail_once_started, HOP_SERIAL, NULL }, { long_job, HOP_PARALLEL, NULL } };
    char slots[4];
    int rc = hop_pipeline(stages, 2, slots, 4, 1, stuck);

    must_eq(__atomic_load_n(&stuck->job_ended, __ATOMIC_SEQ_CST), 1);
    return rc;
}

START_TEST(a_running_job_is_waited_for)
{
    struct stuck stuck = { .sourced = 0 };

    must_eq(hop_run(run_long_job, &stuck, NULL), -EXDEV);
}
END_TEST

/* The caller's cancellation and deadline. */
static int wait_forever(void *slot, void *arg)
{
    hop_future never = HOP_FUTURE_INIT;

    (void)slot, (void)arg;
    return hop_await(&never);
}

static int endless(void *slot, void *arg)
{
    (void)slot;
    ++*(long *)arg;
    return 1;
}

static int run_waiting(void *arg)
{
    hop_stage stages[] = { { endless, HOP_SERIAL, NULL }, { compute_nothing, HOP_PARALLEL, NULL },
                           { wait_forever, HOP_SERIAL, NULL } };
    char slots[3];

    return hop_pipeline(stages, 3, slots, 3, 1, arg);
}

static int run_endless(void *arg)
{
    hop_stage stages[] = { { endless, HOP_SERIAL, NULL }, { compute_nothing, HOP_PARALLEL, NULL } };
    char slots[3];

    return hop_pipeline(stages, 2, slots, 3, 1, arg);
}

static int run_alone(void *arg)
{
    hop_stage stages[] = { { endless, HOP_SERIAL, NULL } };
    char slots[3];

    return hop_pipeline(stages, 1, slots, 3, 1, arg);
}

static int cancel_pipelines(void *arg)
{
    hop_fn *const pipelines[] = { run_waiting, run_endless, run_alone };
    long count = 0;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, pipelines[i], &count, NULL), 0);
        must_eq(hop_sleep(5 * HOP_MS), 0);
        must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
        must_eq(hop_scope_close(&scope), -ECANCELED);
    }
    must(count > 0);
    return 0;
}

START_TEST(the_caller_is_cancelled)
{
    run_main(cancel_pipelines);
}
END_TEST

static int time_out(void *arg)
{
    long count = 0;
    int rc = 0;

    (void)arg;
    hop_within(10 * HOP_MS)
        rc = run_waiting(&count);
    must_eq(rc, -ETIMEDOUT);
    hop_within(10 * HOP_MS)
        rc = run_endless(&count);
    must_eq(rc, -ETIMEDOUT);
    hop_within(10 * HOP_MS)
        rc = run_alone(&count);
    must_eq(rc, -ETIMEDOUT);
    must(count > 3);
    return 0;
}

START_TEST(the_deadline_passes)
{
    run_main(time_out);
}
END_TEST

/* Where it may be called. */
static int run_here(void *arg)
{
    static struct run run;

    (void)arg;
    run = make_run("sps", 4, 100);
    return run_pipeline(&run);
}

static int call_from_places(void *arg)
{
    int rc = -1;

    (void)arg;
    must_eq(run_here(NULL), 0);
    must_eq(hop_offload(run_here, NULL), -EWOULDBLOCK);
    hop_on_team
        rc = run_here(NULL);
    must_eq(rc, -EWOULDBLOCK);
    hop_on_cpu
        rc = run_here(NULL);
    must_eq(rc, 0);
    hop_on_blocking
        rc = run_here(NULL);
    must_eq(rc, 0);
    return 0;
}

START_TEST(only_in_a_task)
{
    must_eq(run_here(NULL), -EWOULDBLOCK);
    run_main(call_from_places);
    must_eq(run_here(NULL), -EWOULDBLOCK);
}
END_TEST

static int wrong_arguments(void *arg)
{
    hop_stage stages[] = { { endless, HOP_SERIAL, NULL }, { compute_nothing, HOP_PARALLEL, NULL } };
    hop_stage parallel_source[] = { { endless, HOP_PARALLEL, NULL } };
    hop_stage no_function[] = { { endless, HOP_SERIAL, NULL }, { NULL, HOP_SERIAL, NULL } };
    hop_stage no_kind[] = { { endless, (hop_stage_kind)7, NULL } };
    char slots[4];

    (void)arg;
    must_eq(hop_pipeline(NULL, 1, slots, 4, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(stages, 0, slots, 4, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(stages, 2, NULL, 4, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(stages, 2, slots, 0, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(stages, 2, slots, 4, 0, NULL), -EINVAL);
    must_eq(hop_pipeline(parallel_source, 1, slots, 4, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(no_function, 2, slots, 4, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(no_kind, 1, slots, 4, 1, NULL), -EINVAL);
    must_eq(hop_pipeline(stages, 2, slots, SIZE_MAX / 2, 1, NULL), -ENOMEM);
    return 0;
}

START_TEST(wrong_arguments_are_refused)
{
    run_main(wrong_arguments);
}
END_TEST

/* Many at once, and one inside a stage of another. */
static int nested_stage(void *slot, void *arg)
{
    static struct run run;

    (void)slot, (void)arg;
    run = make_run("sp", 2, 10);
    return run_pipeline(&run);
}

static int run_nested(void *arg)
{
    hop_stage stages[] = { { slow_source, HOP_SERIAL, NULL }, { nested_stage, HOP_SERIAL, NULL } };
    struct slow slow = { 0, 0, 0 };
    char slots[2];

    (void)arg;
    return hop_pipeline(stages, 2, slots, 2, 1, &slow);
}

static int run_many(void *arg)
{
    static struct run runs[10];
    hop_scope scope;
    int rc;

    (void)arg;
    hop_scope_open(&scope);
    for (int i = 0; i < 10; i++) {
        runs[i] = make_run(shapes[i % NSHAPES], 4, 500);
        runs[i].sleepy = 1;
        must_eq(hop_spawn(&scope, run_pipeline, &runs[i], NULL), 0);
    }
    rc = run_nested(NULL);
    must_eq(hop_scope_close(&scope), 0);
    for (int i = 0; i < 10; i++)
        check_all_done(&runs[i]);
    return rc;
}

START_TEST(several_at_once)
{
    run_main(run_many);
}
END_TEST

RUN_TESTS("pipeline", every_item_once_and_in_order, every_item_with_one_worker, many_items, a_full_queue_holds_back,
          a_slow_stage_holds_back_the_source, the_error_of_a_stage_is_returned,
          the_error_of_a_serial_stage_wakes_the_others, the_error_of_a_job_wakes_the_others,
          a_running_job_is_waited_for, the_caller_is_cancelled, the_deadline_passes, only_in_a_task,
          wrong_arguments_are_refused, several_at_once)
