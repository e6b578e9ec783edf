/* SPDX-License-Identifier: BSD-3-Clause */

/* Stacks: what happens when one is full, wherever code runs. */
#include "harness.h"

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

/* --- recursion through hop_join, wherever it can run --- */

enum { DEPTH = 100000, SMALL_DEPTH = 100 };

struct descent {
    int depth; /* levels below this one */
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
    struct descent next = { d->depth - 1, 0 };
    int rc = d->depth % 2 ? hop_join(descend, &next, do_nothing, NULL) : hop_join(do_nothing, NULL, descend, &next);

    d->below = next.below + 1;
    return rc;
}

static int descend(void *arg)
{
    struct descent *d = arg;

    if (!d->depth)
        return 0;
    return descend_by_join(d);
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

    ck_assert_msg(*text, "%s: no report", names[asked.place]);
    for (; *text; text = end + 1) {
        end = strchr(text, '\n');
        ck_assert_msg(end && !strncmp(text, start, strlen(start)), "not a report: %s", text);
    }
}

/* The right result, or the report and the signal. */
static void descend_in_child(enum place place, int depth, bool must_fit)
{
    char text[4096];
    int status;

    asked.place = place;
    asked.descent = (struct descent){ depth, 0 };
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
        descend_in_child((enum place)place, SMALL_DEPTH, true);
        descend_in_child((enum place)place, DEPTH, false);
    }
}
END_TEST

int main(void)
{
    bool watched = TEST_SANITIZED || TEST_VALGRIND; /* by who has reports of his own */
    const TTest *const all[] = {
        watched ? NULL : stack_overflow_is_reported, stack_overflow_on_a_worker_is_reported,
        recursion_is_right_or_reported, NULL
    };

    return run_tests("stack", all);
}
