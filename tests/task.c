/* SPDX-License-Identifier: BSD-3-Clause */

/* Tasks and what owns them: spawning, yielding, scopes, cancellation, deadlines, several loops, full stacks. */
#include "harness.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- spawning --- */

static int set_flag(void *arg)
{
    *(int *)arg = 1;
    return 0;
}

static int spawn_later(void *arg)
{
    hop_scope scope;
    int flag = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, set_flag, &flag, NULL), 0);
    must_eq(flag, 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(flag, 1);
    return 0;
}

START_TEST(begins_after_the_spawn)
{
    run_main(spawn_later);
}
END_TEST

struct log {
    char text[64];
    int length;
};

struct writer {
    struct log *log;
    char letter;
    int times;
};

static int write_letters(void *arg)
{
    struct writer *w = arg;
    int i;

    for (i = 0; i < w->times; i++) {
        if (i)
            must_eq(hop_yield(), 0);
        w->log->text[w->log->length++] = w->letter;
    }
    return 0;
}

static int spawn_in_order(void *arg)
{
    struct log log = { "", 0 };
    struct writer writers[] = { { &log, 'a', 3 }, { &log, 'b', 3 }, { &log, 'c', 3 } };
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 3; i++)
        must_eq(hop_spawn(&scope, write_letters, &writers[i], NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    ck_assert_str_eq(log.text, "abcabcabc");
    return 0;
}

START_TEST(take_turns_in_order)
{
    run_main(spawn_in_order);
}
END_TEST

struct crowd {
    hop_channel *gate;
    int waiting;
    long sum;
};

static int wait_in_crowd(void *arg)
{
    struct crowd *c = arg;

    c->waiting++;
    must_eq(hop_channel_recv(c->gate, NULL), 0);
    c->sum++;
    return 0;
}

static int gather_crowd(void *arg)
{
    int n = TEST_SLOW ? 2000 : 10000, i;
    struct crowd c = { 0 };
    hop_stats stats;
    hop_scope scope;

    (void)arg;
    must_eq(hop_channel_new(&c.gate, 0, 0), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < n; i++)
        must_eq(hop_spawn(&scope, wait_in_crowd, &c, NULL), 0);
    while (c.waiting < n)
        must_eq(hop_yield(), 0);
    must_eq(c.sum, 0); /* all are there at the same time */
    must_eq(hop_stats_read(&stats), 0);
    must_eq(stats.tasks_spawned - stats.tasks_ended, n + 1);
    must_eq(hop_channel_close(c.gate), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(c.sum, n);
    must_eq(hop_channel_free(c.gate), 0);
    return 0;
}

START_TEST(ten_thousand_at_once)
{
    run_main(gather_crowd);
}
END_TEST

static int spawn_next(void *arg)
{
    int *left = arg;
    hop_scope scope;

    if (!--*left)
        return 7;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, spawn_next, left, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(one_within_the_other)
{
    int left = 200;

    must_eq(hop_run(spawn_next, &left, NULL), 0);
    must_eq(left, 0);
}
END_TEST

/* --- stacks and options --- */

/* Uses about bytes of stack, and tells whether what it wrote there is still there at the end. */
static __attribute__((noinline)) int use_stack(long bytes)
{
    volatile char here[1024];
    int rc;

    here[0] = (char)bytes;
    here[1023] = (char)~bytes;
    rc = bytes > 1024 ? use_stack(bytes - 1024 - 64) : hop_yield();
    return here[0] == (char)bytes && here[1023] == (char)~bytes ? rc : -EFAULT;
}

static int use_much_stack(void *arg)
{
    return use_stack(hop_int(arg));
}

static int deep_stacks(void *arg)
{
    int share = TEST_SANITIZED ? 3 : 1; /* their frames are larger */
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, use_much_stack, hop_ptr(200 * 1024 / share), NULL), 0);
    must_eq(hop_spawn(&scope, use_much_stack, hop_ptr(3500 * 1024 / share), HOP_TASK(.stack_bytes = 4 << 20)), 0);
    must_eq(hop_spawn(&scope, use_much_stack, hop_ptr(200 * 1024 / share), NULL), 0);
    must_eq(hop_spawn(&scope, use_much_stack, hop_ptr(3500 * 1024 / share), HOP_TASK(.stack_bytes = 4 << 20)), 0);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(stacks_as_deep_as_asked)
{
    run_main(deep_stacks);
}
END_TEST

START_TEST(stack_size_of_the_runtime)
{
    hop_config config = { .stack_bytes = 2 << 20 };

    run_main_with(use_much_stack, hop_ptr((TEST_SANITIZED ? 600 : 1800) * 1024), &config);
}
END_TEST

static int options(void *arg)
{
    hop_task_options wrong = { .size = sizeof(hop_task_options) + 8 };
    hop_scope scope;
    int flag = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, set_flag, &flag, &wrong), -EINVAL);
    wrong.size = 0;
    must_eq(hop_spawn(&scope, set_flag, &flag, &wrong), -EINVAL);
    must_eq(hop_spawn(&scope, set_flag, &flag, HOP_TASK(.loop = 2)), -EINVAL);
    must_eq(hop_spawn(&scope, set_flag, &flag, HOP_TASK(.loop = -1)), -EINVAL);
    must_eq(hop_spawn(&scope, NULL, &flag, NULL), -EINVAL);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(flag, 0); /* none of these ran */

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, set_flag, &flag, HOP_TASK(.name = "named", .stack_bytes = 1, .loop = 1)), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(flag, 1);
    return 0;
}

START_TEST(options_are_checked)
{
    run_main(options);
}
END_TEST

/* --- scopes --- */

static int sleep_long(void *arg)
{
    int rc = hop_sleep(600 * HOP_SEC);

    *(int *)arg = rc;
    return rc;
}

static int count_down(void *arg)
{
    int i, *left = arg;

    for (i = 0; i < 10; i++)
        hop_yield();
    --*left;
    return 0;
}

static int close_waits(void *arg)
{
    hop_scope scope;
    int left = 20, i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_scope_close(&scope), 0); /* without children */
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 20; i++)
        must_eq(hop_spawn(&scope, count_down, &left, NULL), 0);
    must_eq(hop_spawn(&scope, return_it, hop_ptr(5), NULL), 0); /* a count is no error */
    must_eq(hop_scope_close(&scope), 0);
    must_eq(left, 0);
    return 0;
}

START_TEST(close_waits_for_all)
{
    run_main(close_waits);
}
END_TEST

static int first_error(void *arg)
{
    hop_scope scope;
    int a = 1, b = 1;
    hop_ns before = hop_now();

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, sleep_long, &a, NULL), 0);
    must_eq(hop_spawn(&scope, return_it, hop_ptr(-EIO), NULL), 0);
    must_eq(hop_spawn(&scope, return_it, hop_ptr(-ENOSPC), NULL), 0);
    must_eq(hop_spawn(&scope, sleep_long, &b, NULL), 0);
    must_eq(hop_scope_close(&scope), -EIO);
    must_eq(a, -ECANCELED);
    must_eq(b, -ECANCELED);
    must(hop_now() - before < 300 * HOP_SEC);
    must_eq(hop_cancelled(), 0); /* the owner is not */
    return 0;
}

START_TEST(first_error_cancels_the_others)
{
    run_main(first_error);
}
END_TEST

static int inner_fails(void *arg)
{
    hop_scope outer, inner;
    int a = 1, b = 1;

    (void)arg;
    must_eq(hop_scope_open(&outer), 0);
    must_eq(hop_spawn(&outer, count_down, &a, NULL), 0);
    must_eq(hop_scope_open(&inner), 0);
    must_eq(hop_spawn(&inner, sleep_long, &b, NULL), 0);
    must_eq(hop_spawn(&inner, return_it, hop_ptr(-EBADMSG), NULL), 0);
    must_eq(hop_scope_close(&inner), -EBADMSG);
    must_eq(b, -ECANCELED);
    must_eq(hop_scope_close(&outer), 0); /* an inner scope's error stays there */
    must_eq(a, 0);
    return 0;
}

START_TEST(nested_scopes_fail_by_themselves)
{
    run_main(inner_fails);
}
END_TEST

/* A tree: child, grandchild in the child's scope, a job that loops until it is told to stop, a job never started. */
struct tree {
    hop_future begun, job_begun;
    int grandchild, child, job, close;
};

static int job_until_cancelled(void *arg)
{
    struct tree *t = arg;

    hop_complete(&t->job_begun, 0);
    while (!(t->job = hop_cancelled()))
        ;
    return t->job;
}

static int grandchild(void *arg)
{
    struct tree *t = arg;

    hop_complete(&t->begun, 0);
    t->grandchild = hop_sleep(600 * HOP_SEC);
    return t->grandchild;
}

static int child(void *arg)
{
    struct tree *t = arg;
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, grandchild, t, NULL), 0);
    must_eq(hop_submit(&scope, NULL, job_until_cancelled, t), 0);
    t->close = hop_scope_close(&scope);
    t->child = hop_cancelled();
    return t->close;
}

static int cancel_tree(void *arg)
{
    int reason = hop_int(arg);
    struct tree t = { 0 };
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, child, &t, NULL), 0);
    must_eq(hop_await(&t.begun), 0);
    must_eq(hop_await(&t.job_begun), 0);
    must_eq(hop_scope_cancel(&scope, reason), 0);
    must_eq(hop_scope_cancel(&scope, -EXDEV), 0); /* only the first counts */
    must_eq(hop_scope_close(&scope), reason);
    must_eq(t.grandchild, reason);
    must_eq(t.job, reason);
    must_eq(t.close, reason);
    must_eq(t.child, reason);
    must_eq(hop_cancelled(), 0);
    return 0;
}

START_TEST(cancel_reaches_the_whole_tree)
{
    run_main_with(cancel_tree, hop_ptr(-ECANCELED), NULL);
}
END_TEST

START_TEST(cancel_with_a_reason)
{
    run_main_with(cancel_tree, hop_ptr(-EPROTO), NULL);
}
END_TEST

/* A task that does not look: its open scope is cancelled all the same. */
struct blind {
    atomic_int cancelled;
    hop_future begun;
};

static int seeing_child(void *arg)
{
    struct blind *b = arg;

    hop_complete(&b->begun, 0);
    must_eq(hop_sleep(600 * HOP_SEC), -ECANCELED);
    atomic_store(&b->cancelled, 1);
    return 0;
}

static int blind_parent(void *arg)
{
    struct blind *b = arg;
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, seeing_child, b, NULL), 0);
    hop_on_cpu {
        while (!atomic_load(&b->cancelled))
            ;
    }
    must_eq(hop_scope_close(&scope), -ECANCELED);
    return 0;
}

static int cancel_the_blind(void *arg)
{
    struct blind b = { .cancelled = 0 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, blind_parent, &b, NULL), 0);
    must_eq(hop_await(&b.begun), 0);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    return 0;
}

START_TEST(cancel_reaches_open_scopes)
{
    run_main(cancel_the_blind);
}
END_TEST

/* A tree that is all depth: nothing that cancels it may need a stack as deep. */
struct shaft {
    int left;
    hop_future bottom;
};

static int dig(void *arg)
{
    struct shaft *s = arg;
    hop_scope scope;

    if (!--s->left) {
        hop_complete(&s->bottom, 0);
        return hop_sleep(600 * HOP_SEC);
    }
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, dig, s, NULL), 0);
    return hop_scope_close(&scope);
}

static int cancel_the_shaft(void *arg)
{
    struct shaft s = { TEST_SLOW ? 1000 : 5000, HOP_FUTURE_INIT };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, dig, &s, NULL), 0);
    must_eq(hop_await(&s.bottom), 0);
    must_eq(hop_scope_cancel(&scope, -EPROTO), 0);
    must_eq(hop_scope_close(&scope), -EPROTO);
    return 0;
}

START_TEST(cancel_reaches_any_depth)
{
    run_main(cancel_the_shaft);
}
END_TEST

static int into_cancelled(void *arg)
{
    hop_scope scope;
    int flag = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_scope_cancel(&scope, 0), -EINVAL);
    must_eq(hop_scope_cancel(&scope, 5), -EINVAL);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_spawn(&scope, set_flag, &flag, NULL), -ECANCELED);
    must_eq(hop_submit(&scope, NULL, set_flag, &flag), -ECANCELED);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(flag, 0);
    return 0;
}

START_TEST(nothing_starts_in_a_cancelled_scope)
{
    run_main(into_cancelled);
}
END_TEST

/* A scope that a cancelled task opens is cancelled from the start, unless the task is cleaning up. */
static int opens_late(void *arg)
{
    hop_scope scope;
    int rc, flag = 0;

    must_eq(hop_sleep(600 * HOP_SEC), -ECANCELED);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, set_flag, &flag, NULL), -ECANCELED);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(flag, 0);
    hop_shield(60 * HOP_SEC) {
        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, set_flag, &flag, NULL), 0);
        must_eq(hop_submit(&scope, NULL, return_it, hop_ptr(0)), 0);
        must_eq(hop_scope_close(&scope), 0);
    }
    must_eq(flag, 1);
    rc = hop_offload(return_it, hop_ptr(3));
    must_eq(rc, -ECANCELED);
    *(int *)arg = 1;
    return 0;
}

static int cancel_who_opens_late(void *arg)
{
    hop_scope scope;
    int done = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, opens_late, &done, NULL), 0);
    hop_yield();
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(done, 1);
    return 0;
}

START_TEST(scope_of_a_cancelled_task)
{
    run_main(cancel_who_opens_late);
}
END_TEST

static int close_others(void *arg)
{
    must_eq(hop_scope_close(arg), -EPERM);
    return 0;
}

static void *close_others_thread(void *arg)
{
    close_others(arg);
    return NULL;
}

static int close_in_job(void *arg)
{
    hop_scope own;

    must_eq(hop_scope_open(&own), -EWOULDBLOCK);
    must_eq(hop_scope_close(arg), -EWOULDBLOCK);
    return 0;
}

static int close_errors(void *arg)
{
    hop_scope outer, inner, zero, garbage;

    (void)arg;
    memset(&zero, 0, sizeof zero);
    memset(&garbage, 0xa7, sizeof garbage);
    must_eq(hop_scope_close(&zero), -EINVAL);
    must_eq(hop_scope_close(&garbage), -EINVAL);
    must_eq(hop_scope_close(NULL), -EINVAL);
    must_eq(hop_scope_cancel(&garbage, -ECANCELED), -EINVAL);
    must_eq(hop_scope_open(NULL), -EINVAL);

    must_eq(hop_scope_open(&outer), 0);
    must_eq(hop_scope_open(&inner), 0);
    must_eq(hop_scope_close(&outer), -EBUSY);
    must_eq(hop_spawn(&inner, close_others, &outer, NULL), 0);
    must_eq(hop_submit(&inner, NULL, close_in_job, &outer), 0);
    join_thread(start_thread(close_others_thread, &outer));
    must_eq(hop_scope_close(hop_root(NULL)), -EPERM);
    hop_on_team {
        must_eq(hop_scope_close(&inner), -EWOULDBLOCK);
    }
    memcpy(&zero, &inner, sizeof zero); /* a copy is not the scope */
    must_eq(hop_scope_close(&zero), -EINVAL);
    must_eq(hop_scope_close(&inner), 0);
    must_eq(hop_scope_close(&inner), -EINVAL);
    must_eq(hop_scope_cancel(&inner, -ECANCELED), -EINVAL);
    must_eq(hop_spawn(&inner, close_others, NULL, NULL), -EINVAL);
    must_eq(hop_submit(&inner, NULL, close_others, NULL), -EINVAL);
    must_eq(hop_scope_close(&outer), 0);
    return 0;
}

START_TEST(close_errors_are_told)
{
    run_main(close_errors);
}
END_TEST

static int worker_scope(void *arg)
{
    hop_scope scope;
    int flag = 0, index;

    (void)arg;
    hop_on_cpu {
        index = hop_worker_index();
        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, set_flag, &flag, NULL), 0);
        must_eq(hop_scope_close(&scope), 0);
        must_eq(hop_worker_index(), index);
    }
    must_eq(flag, 1);
    return 0;
}

START_TEST(scope_of_a_task_on_a_worker)
{
    run_main(worker_scope);
}
END_TEST

/* A plain thread has scopes too. */
START_TEST(scope_of_a_thread)
{
    hop_runtime *rt;
    hop_scope outer, inner;
    int a = 1, flag = 0;

    must_eq(hop_runtime_new(&rt, NULL), 0);
    must_eq(hop_scope_open(&outer), 0);
    must_eq(hop_spawn(&outer, set_flag, &flag, NULL), 0);
    must_eq(hop_scope_open(&inner), 0);
    must_eq(hop_spawn(&inner, sleep_long, &a, NULL), 0);
    must_eq(hop_submit(&inner, NULL, return_it, hop_ptr(-EDOM)), 0);
    must_eq(hop_scope_close(&inner), -EDOM);
    must_eq(a, -ECANCELED);
    must_eq(hop_scope_close(&outer), 0);
    must_eq(flag, 1);
    must_eq(hop_scope_close(&outer), -EINVAL);
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

/* Cancelled while it closes: the children are cancelled for that reason, and joined. */
struct closer {
    int child, close;
    hop_future begun;
};

static int sleep_in_closer(void *arg)
{
    struct closer *c = arg;

    hop_complete(&c->begun, 0);
    c->child = hop_sleep(600 * HOP_SEC);
    return 0;
}

static int close_long(void *arg)
{
    struct closer *c = arg;
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, sleep_in_closer, c, NULL), 0);
    c->close = hop_scope_close(&scope);
    return 0;
}

static int cancel_closer(void *arg)
{
    struct closer c = { 0 }, d = { 0 };
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, close_long, &c, NULL), 0);
    must_eq(hop_await(&c.begun), 0);
    must_eq(hop_scope_cancel(&scope, -EPROTO), 0);
    must_eq(hop_scope_close(&scope), -EPROTO);
    must_eq(c.child, -EPROTO);
    must_eq(c.close, -EPROTO);

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, sleep_in_closer, &d, NULL), 0);
    hop_within(2 * HOP_MS) {
        must_eq(hop_scope_close(&scope), -ETIMEDOUT);
    }
    must_eq(d.child, -ETIMEDOUT);
    return 0;
}

START_TEST(cancelled_while_it_closes)
{
    run_main(cancel_closer);
}
END_TEST

/* Children that end, fail and are born while others cancel, on three loops and from a thread: all are joined. */
struct storm {
    hop_scope scope;
    atomic_int live, born;
    atomic_uint seed;
};

static int storm_child(void *arg)
{
    struct storm *s = arg;
    unsigned mine = atomic_fetch_add(&s->seed, 2654435761u) | 1, what = test_random(&mine) % 16;

    atomic_fetch_add(&s->live, 1);
    if (what < 8 && atomic_load(&s->born) < 400 &&
        hop_spawn(&s->scope, storm_child, s, HOP_TASK(.loop = 1 + (int)(what % 3))) == 0)
        atomic_fetch_add(&s->born, 1);
    if (what % 2)
        hop_sleep((hop_ns)(test_random(&mine) % 200) * HOP_US);
    else
        hop_yield();
    if (atomic_load(&s->born) > 200 && what == 9)
        hop_scope_cancel(&s->scope, -ECANCELED);
    atomic_fetch_sub(&s->live, 1);
    return atomic_load(&s->born) > 300 && what == 11 ? -EIO : 0;
}

static void *storm_thread(void *arg)
{
    struct storm *s = arg;
    int i;

    for (i = 0; i < 50; i++)
        if (hop_spawn(&s->scope, storm_child, s, NULL))
            break;
    return NULL;
}

static int storms(void *arg)
{
    int i, k;

    for (i = 0; i < 40; i++) {
        struct storm s = { .live = 0 };
        pthread_t t;
        int rc;

        atomic_store(&s.seed, (unsigned)hop_int(arg) + (unsigned)i * 977u);
        must_eq(hop_scope_open(&s.scope), 0);
        for (k = 0; k < 10; k++)
            must_eq(hop_spawn(&s.scope, storm_child, &s, NULL), 0);
        t = start_thread(storm_thread, &s);
        hop_on_blocking {
            join_thread(t);
        }
        rc = hop_scope_close(&s.scope);
        must(rc == 0 || rc == -ECANCELED || rc == -EIO);
        must_eq(atomic_load(&s.live), 0);
    }
    return 0;
}

START_TEST(storm_of_children)
{
    hop_config config = { .loops = 3 };

    run_main_with(storms, hop_ptr((int)(test_seed() & 0xffffff)), &config);
}
END_TEST

/* --- deadlines --- */

static int sleep_and_tell(void *arg)
{
    *(int *)arg = hop_sleep(600 * HOP_SEC);
    return 0;
}

static int within(void *arg)
{
    hop_future f = HOP_FUTURE_INIT;
    hop_scope scope;
    hop_ns before = hop_now();
    int a = 0, job = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    hop_within(3 * HOP_MS) {
        must_eq(hop_cancelled(), 0);
        must_eq(hop_spawn(&scope, sleep_and_tell, &a, NULL), 0); /* inherits it */
        hop_within(600 * HOP_SEC) {                              /* the earlier one holds */
            must_eq(hop_sleep(600 * HOP_SEC), -ETIMEDOUT);
        }
        must_eq(hop_cancelled(), -ETIMEDOUT);
        must_eq(hop_await(&f), -ETIMEDOUT);
        must_eq(hop_yield(), -ETIMEDOUT);
        job = hop_offload(return_it, hop_ptr(9));
    }
    must(hop_now() - before >= 3 * HOP_MS);
    must_eq(job, -ETIMEDOUT);
    must_eq(hop_cancelled(), 0); /* over with the block */
    must_eq(hop_sleep(HOP_MS), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(a, -ETIMEDOUT);
    hop_within(600 * HOP_SEC) {
        hop_within(0) {
            must_eq(hop_cancelled(), -ETIMEDOUT);
        }
        must_eq(hop_cancelled(), 0);
        hop_within(-HOP_SEC) {
            must_eq(hop_sleep(HOP_SEC), -ETIMEDOUT);
        }
        must_eq(hop_sleep(1), 0);
    }
    hop_within(HOP_FOREVER) {
        must_eq(hop_sleep(HOP_MS), 0);
    }
    must(hop_now() - before < 300 * HOP_SEC);
    return 0;
}

START_TEST(within_a_deadline)
{
    run_main(within);
}
END_TEST

static int leave_by_return(void)
{
    hop_within(0) {
        return hop_cancelled();
    }
    return 0;
}

static int leave_by_goto(void)
{
    hop_within(0) {
        goto out;
    }
    return 1;
out:
    return hop_cancelled();
}

static int leave_blocks(void *arg)
{
    int i, n = 0;

    (void)arg;
    must_eq(leave_by_return(), -ETIMEDOUT);
    must_eq(hop_cancelled(), 0);
    must_eq(leave_by_goto(), 0);
    hop_within(0) {
        if (hop_cancelled())
            break;
        n = 100;
    }
    must_eq(n, 0);
    must_eq(hop_cancelled(), 0);
    for (i = 0; i < 10; i++) { /* break leaves the block, not the loop */
        hop_within(0) {
            n++;
            break;
        }
    }
    must_eq(n, 10);
    for (i = 0, n = 0; i < 10; i++) {
        hop_deadline d = hop_within_begin(0);

        n += hop_cancelled() == -ETIMEDOUT;
        hop_within_end(&d);
        hop_within_end(&d); /* ends once */
        if (i == 4)
            break;
        must_eq(hop_cancelled(), 0);
    }
    must_eq(n, 5);
    hop_shield(600 * HOP_SEC) {
        break;
    }
    must_eq(hop_cancelled(), 0);
    return 0;
}

START_TEST(deadline_blocks_end_once)
{
    run_main(leave_blocks);
}
END_TEST

static int ask_cancelled(void *arg)
{
    *(int *)arg = hop_cancelled();
    return 0;
}

/* A job's deadline is that of who started it; so is that of a task which a job spawns, and of a block on a worker. */
struct heirs {
    hop_scope *scope;
    int task;
};

static int job_spawns(void *arg)
{
    struct heirs *h = arg;

    return hop_spawn(h->scope, sleep_and_tell, &h->task, NULL);
}

static int spin_until_cancelled(void *arg)
{
    while (!(*(int *)arg = hop_cancelled()))
        ;
    return 0;
}

/* What begins before the deadline is told of it by itself: 1. Under load some may begin too late: 0. */
static int travels_in_time(hop_ns span)
{
    hop_scope scope;
    struct heirs heirs = { &scope, 0 };
    int submitted = 0, offloaded = 0, before = 1, rc = 0, closed;

    must_eq(hop_scope_open(&scope), 0);
    hop_within(span) {
        if (!rc)
            rc = hop_offload(ask_cancelled, &before);
        if (!rc)
            rc = hop_offload(job_spawns, &heirs);
        if (!rc)
            rc = hop_submit(&scope, NULL, spin_until_cancelled, &submitted);
        if (!rc)
            rc = hop_offload(spin_until_cancelled, &offloaded); /* once started it is waited for */
        if (!rc)
            must_eq(offloaded, -ETIMEDOUT);
        hop_on_cpu {
            must(!offloaded || hop_cancelled() == -ETIMEDOUT);
        }
    }
    closed = hop_scope_close(&scope);
    must(closed == 0 || closed == -ETIMEDOUT);
    if (rc || closed || before) {
        must(!rc || rc == -ETIMEDOUT);
        must(!before || before == 1 || before == -ETIMEDOUT);
        return 0;
    }
    must_eq(submitted, -ETIMEDOUT);
    must_eq(heirs.task, -ETIMEDOUT);
    return 1;
}

static int deadlines_travel(void *arg)
{
    hop_ns span = 20 * HOP_MS;

    (void)arg;
    while (!travels_in_time(span)) {
        span *= 4;
        must(span < TEST_SECONDS * HOP_SEC);
    }
    return 0;
}

START_TEST(deadlines_go_along)
{
    hop_config config = { .workers = 2 };

    run_main_with(deadlines_travel, NULL, &config);
}
END_TEST

/* In a job or a thread the blocks are only run. */
static int blocks_only_run(void *arg)
{
    int n = 0;

    (void)arg;
    hop_within(0) {
        n++;
        must_eq(hop_cancelled(), 0);
    }
    hop_shield(0) {
        n++;
        must_eq(hop_cancelled(), 0);
    }
    must_eq(n, 2);
    must_eq(hop_yield(), 0);
    return 0;
}

static void *blocks_only_run_thread(void *arg)
{
    blocks_only_run(arg);
    must_eq(hop_sleep(HOP_MS), 0);
    return NULL;
}

static int blocks_elsewhere(void *arg)
{
    (void)arg;
    must_eq(hop_offload(blocks_only_run, NULL), 0);
    join_thread(start_thread(blocks_only_run_thread, NULL));
    return 0;
}

START_TEST(deadline_blocks_outside_of_tasks)
{
    run_main(blocks_elsewhere);
    blocks_only_run_thread(NULL);
}
END_TEST

static int clean_up(void *arg)
{
    int pipe_fds[2], *done = arg;
    char c = 'x';
    hop_future f = HOP_FUTURE_INIT;

    must_eq(hop_sleep(600 * HOP_SEC), -ECANCELED);
    must_eq(hop_cancelled(), -ECANCELED);
    must_eq(pipe(pipe_fds), 0);
    hop_shield(60 * HOP_SEC) {
        must_eq(hop_cancelled(), 0);
        must_eq(hop_sleep(HOP_MS), 0);
        must_eq(hop_write_full(pipe_fds[1], &c, 1), 1);
        must_eq(hop_read(pipe_fds[0], &c, 1), 1);
        must_eq(hop_offload(return_it, hop_ptr(4)), 4);
        must_eq(hop_yield(), 0);
        hop_shield(2 * HOP_MS) {
            must_eq(hop_await(&f), -ETIMEDOUT); /* its own limit */
        }
        must_eq(hop_cancelled(), 0);
        hop_within(2 * HOP_MS) {
            must_eq(hop_await(&f), -ETIMEDOUT);
        }
        must_eq(hop_cancelled(), 0);
    }
    must_eq(hop_cancelled(), -ECANCELED);
    must_eq(hop_await(&f), -ECANCELED);
    must_eq(hop_close(pipe_fds[0]), 0);
    must_eq(hop_close(pipe_fds[1]), 0);
    hop_within(0) {
        hop_shield(60 * HOP_SEC) { /* deadlines around it are not seen */
            must_eq(hop_sleep(HOP_MS), 0);
        }
    }
    *done = 1;
    return 0;
}

static int cancel_who_cleans_up(void *arg)
{
    hop_scope scope;
    int done = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, clean_up, &done, NULL), 0);
    hop_yield();
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(done, 1);
    return 0;
}

START_TEST(shielded_clean_up)
{
    run_main(cancel_who_cleans_up);
}
END_TEST

/* Cancelled while inside the shield: it is seen after it. */
struct shielded {
    hop_future entered, go;
    int inside, after;
};

static int wait_shielded(void *arg)
{
    struct shielded *s = arg;

    hop_shield(600 * HOP_SEC) {
        hop_complete(&s->entered, 0);
        s->inside = hop_await(&s->go);
    }
    s->after = hop_yield();
    return 0;
}

/* Cancels the task while it is inside: it finishes there, and is told afterwards. */
static void cancel_inside(hop_fn *fn)
{
    struct shielded s = { 0 };
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, fn, &s, NULL), 0);
    must_eq(hop_await(&s.entered), 0);
    must_eq(hop_scope_cancel(&scope, -EPROTO), 0);
    hop_yield();
    hop_yield();
    must_eq(hop_complete(&s.go, 12), 0);
    must_eq(hop_scope_close(&scope), -EPROTO);
    must_eq(s.inside, 12);
    must_eq(s.after, -EPROTO);
}

static int cancel_shielded(void *arg)
{
    (void)arg;
    cancel_inside(wait_shielded);
    return 0;
}

START_TEST(cancelled_inside_a_shield)
{
    run_main(cancel_shielded);
}
END_TEST

/* What was opened inside of the shield is left alone as long as it lasts, inner ones included, and told then. */
static int open_shielded(void *arg)
{
    struct shielded *s = arg;
    hop_deadline shield = hop_shield_begin(600 * HOP_SEC);
    hop_scope scope;
    int flag = 0, slept = 0;

    must_eq(hop_scope_open(&scope), 0);
    hop_complete(&s->entered, 0);
    s->inside = hop_await(&s->go); /* cancelled meanwhile */
    must_eq(hop_spawn(&scope, set_flag, &flag, NULL), 0);
    hop_shield(600 * HOP_SEC) {
        must_eq(hop_offload(return_it, hop_ptr(4)), 4);
    }
    must_eq(hop_submit(&scope, NULL, return_it, hop_ptr(0)), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(flag, 1);

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, sleep_long, &slept, NULL), 0);
    must_eq(hop_yield(), 0);
    must_eq(hop_yield(), 0);
    must_eq(slept, 0);
    hop_shield_end(&shield);
    must_eq(hop_spawn(&scope, set_flag, &flag, NULL), -EPROTO);
    must_eq(hop_scope_close(&scope), -EPROTO);
    must_eq(slept, -EPROTO);
    s->after = hop_yield();
    return 0;
}

/* And if the shield ended before the cancellation came, it is a scope like any other. */
static int open_beyond_the_shield(void *arg)
{
    struct shielded *s = arg;
    hop_deadline shield = hop_shield_begin(600 * HOP_SEC);
    hop_scope scope;
    int flag = 0;

    must_eq(hop_scope_open(&scope), 0);
    hop_shield_end(&shield);
    hop_complete(&s->entered, 0);
    hop_shield(600 * HOP_SEC) { /* another, that does not cover it */
        s->inside = hop_await(&s->go);
        must_eq(hop_spawn(&scope, set_flag, &flag, NULL), -EPROTO);
    }
    must_eq(hop_scope_close(&scope), -EPROTO);
    s->after = hop_yield();
    return 0;
}

static int cancel_scopes_of_a_shield(void *arg)
{
    (void)arg;
    cancel_inside(open_shielded);
    cancel_inside(open_beyond_the_shield);
    return 0;
}

START_TEST(scopes_opened_inside_a_shield)
{
    run_main(cancel_scopes_of_a_shield);
}
END_TEST

/* --- several loops --- */

enum { RING = 9 };

struct ring {
    hop_channel *links[RING];
    long threads[RING];
    int rounds;
};

struct station {
    struct ring *ring;
    int index;
};

static int pass_on(void *arg)
{
    struct station *s = arg;
    long token, me = thread_id();
    int i;

    s->ring->threads[s->index] = me;
    for (i = 0; i < s->ring->rounds; i++) {
        must_eq(hop_channel_recv(s->ring->links[s->index], &token), 1);
        token++;
        must_eq(thread_id(), me); /* it wakes up where it lives */
        if (s->index == RING - 1 && i == s->ring->rounds - 1)
            return token == (long)RING * s->ring->rounds ? 0 : -EFAULT;
        must_eq(hop_channel_send(s->ring->links[(s->index + 1) % RING], &token), 0);
    }
    return 0;
}

static int around_the_loops(void *arg)
{
    struct ring ring = { .rounds = 200 };
    struct station stations[RING];
    hop_scope scope;
    long token = 0;
    int i;

    (void)arg;
    for (i = 0; i < RING; i++)
        must_eq(hop_channel_new(&ring.links[i], sizeof token, (size_t)(i % 2)), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < RING; i++) {
        stations[i] = (struct station){ &ring, i };
        must_eq(hop_spawn(&scope, pass_on, &stations[i], HOP_TASK(.loop = 1 + i % 3)), 0);
    }
    must_eq(hop_channel_send(ring.links[0], &token), 0);
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < RING; i++) {
        must_eq(ring.threads[i], ring.threads[i % 3]);
        must_eq(hop_channel_free(ring.links[i]), 0);
    }
    must_eq(ring.threads[0], thread_id());
    must(ring.threads[0] != ring.threads[1] && ring.threads[1] != ring.threads[2]);
    must(ring.threads[0] != ring.threads[2]);
    must_eq(hop_spawn(hop_root(NULL), return_it, NULL, HOP_TASK(.loop = 4)), -EINVAL);
    return 0;
}

START_TEST(three_loops)
{
    hop_config config = { .loops = 3 };

    run_main_with(around_the_loops, NULL, &config);
}
END_TEST

static int record_thread(void *arg)
{
    *(long *)arg = thread_id();
    return 0;
}

static int spawn_at_home(void *arg)
{
    long here = thread_id(), there = 0;
    hop_scope scope;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, record_thread, &there, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(there, here); /* by default on the spawner's loop */
    return 0;
}

static int spawn_on_each(void *arg)
{
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 1; i <= 3; i++)
        must_eq(hop_spawn(&scope, spawn_at_home, NULL, HOP_TASK(.loop = i)), 0);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(children_stay_on_the_loop)
{
    hop_config config = { .loops = 3 };

    run_main_with(spawn_on_each, NULL, &config);
}
END_TEST

/* From a thread: each loop in turn. */
START_TEST(spawns_from_outside_go_around)
{
    hop_config config = { .loops = 3 };
    hop_runtime *rt;
    hop_scope scope;
    long ids[3] = { 0 };
    int i;

    must_eq(hop_runtime_new(&rt, &config), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 3; i++)
        must_eq(hop_spawn(&scope, record_thread, &ids[i], NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_runtime_free(rt), 0);
    must(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}
END_TEST

/* --- the ends that programs come to --- */

static int leave_scope_open(void *arg)
{
    static hop_scope scope;

    (void)arg;
    return hop_scope_open(&scope);
}

static void run_leave_scope_open(void)
{
    hop_run(leave_scope_open, NULL, NULL);
}

START_TEST(scope_left_open_is_fatal)
{
    char text[4096];
    int status = in_a_child(run_leave_scope_open, text, sizeof text);

    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGABRT);
    ck_assert_ptr_nonnull(strstr(text, "scope"));
}
END_TEST

static int kill_ourselves(void *arg)
{
    (void)arg;
    return kill(getpid(), SIGSEGV); /* the main thread, which we are, is the first to be asked */
}

static void run_kill_ourselves(void)
{
    hop_run(kill_ourselves, NULL, NULL);
}

START_TEST(a_fault_that_was_sent_ends_it)
{
    char text[4096];
    int status = in_a_child(run_kill_ourselves, text, sizeof text);

    must(WIFSIGNALED(status));
    must_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
    const TTest *const all[] = {
        begins_after_the_spawn, take_turns_in_order, ten_thousand_at_once, one_within_the_other,
        stacks_as_deep_as_asked, stack_size_of_the_runtime, options_are_checked, close_waits_for_all,
        first_error_cancels_the_others, nested_scopes_fail_by_themselves, cancel_reaches_the_whole_tree,
        cancel_with_a_reason, cancel_reaches_open_scopes, cancel_reaches_any_depth, nothing_starts_in_a_cancelled_scope,
        scope_of_a_cancelled_task,
        close_errors_are_told,
        scope_of_a_task_on_a_worker, scope_of_a_thread, cancelled_while_it_closes, storm_of_children, within_a_deadline,
        deadline_blocks_end_once, deadlines_go_along, deadline_blocks_outside_of_tasks, shielded_clean_up,
        cancelled_inside_a_shield, scopes_opened_inside_a_shield, three_loops, children_stay_on_the_loop,
        spawns_from_outside_go_around, scope_left_open_is_fatal,
        TEST_SANITIZED ? NULL : a_fault_that_was_sent_ends_it, NULL /* the sanitizers have reports of their own */
    };

    return run_tests("task", all);
}
