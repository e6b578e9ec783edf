/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Scheduling profiles, on real threads of a process of their own (CK_FORK), so that nothing outlives its test.
 * What needs privilege asks for it first, and passes empty without it: a container often has none.
 */
#define _GNU_SOURCE 1
#include "compute/qos.h"

#include <check.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static int policy_now(void)
{
    return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

static int nice_now(void)
{
    return getpriority(PRIO_PROCESS, 0); /* of this thread: Linux's nice values belong to threads */
}

static int slack_now(void)
{
    return prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
}

/* Runs body on a thread of its own, as the pool and the loops do. */
static void on_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, body, arg), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* Whether a thread may drop RESET_ON_FORK again: CAP_SYS_NICE, which root in a container often lacks. */
static bool has_sys_nice(void)
{
    return geteuid() == 0 && prctl(PR_CAPBSET_READ, (unsigned long)CAP_SYS_NICE, 0, 0, 0) == 1;
}

static void become_nobody(void)
{
    struct rlimit none = { 0, 0 };

    ck_assert_int_eq(setrlimit(RLIMIT_RTPRIO, &none), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NICE, &none), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

/* From here on the two calls fail with error, as in a sandbox that does not know them. False: cannot be had here. */
static bool forbid_scheduling(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setattr, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_getattr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof code[0], code };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

START_TEST(automatic_follows_the_cgroup)
{
    char why[128] = "";

    ck_assert_int_eq(hop__qos_choose(HOP__QOS_AUTO, true, true, why), HOP__QOS_IDLE);
    ck_assert_ptr_nonnull(strstr(why, "to itself"));
    ck_assert_int_eq(hop__qos_choose(HOP__QOS_AUTO, true, false, why), HOP__QOS_MILD);
    ck_assert_ptr_nonnull(strstr(why, "share"));
}
END_TEST

START_TEST(what_is_asked_is_given)
{
    char why[128];

    ck_assert_int_eq(hop__qos_choose(HOP__QOS_OFF, true, true, why), HOP__QOS_OFF);
    ck_assert_int_eq(hop__qos_choose(HOP__QOS_MILD, true, true, why), HOP__QOS_MILD);
    ck_assert_int_eq(hop__qos_choose(HOP__QOS_IDLE, true, false, why), HOP__QOS_IDLE);
    ck_assert_ptr_nonnull(strstr(why, "come first"));
    ck_assert_int_eq(hop__qos_choose((enum hop__qos_profile)99, true, false, why), HOP__QOS_MILD);
}
END_TEST

START_TEST(choosing_realtime_leaves_the_thread_alone)
{
    char why[128];
    int before = sched_getscheduler(0), nice_before = nice_now();
    enum hop__qos_profile got = hop__qos_choose(HOP__QOS_REALTIME, true, true, why);

    ck_assert(got == HOP__QOS_REALTIME || got == HOP__QOS_IDLE);
    ck_assert_int_eq(sched_getscheduler(0), before);
    ck_assert_int_eq(nice_now(), nice_before);
}
END_TEST

START_TEST(realtime_refused_becomes_automatic)
{
    char why[128];

    become_nobody();
    ck_assert_int_eq(hop__qos_choose(HOP__QOS_REALTIME, true, false, why), HOP__QOS_MILD);
    ck_assert_ptr_nonnull(strstr(why, "refused"));
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_REALTIME), -EPERM);
    ck_assert_int_eq(policy_now(), SCHED_OTHER);
}
END_TEST

START_TEST(profiles_have_names)
{
    ck_assert_str_eq(hop__qos_name(HOP__QOS_AUTO), "auto");
    ck_assert_str_eq(hop__qos_name(HOP__QOS_REALTIME), "realtime");
    ck_assert_str_eq(hop__qos_name((enum hop__qos_profile)-1), "unknown");
}
END_TEST

START_TEST(off_touches_nothing)
{
    int slack = slack_now();

    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_OFF), 0);
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_OFF), 0);
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_AUTO), 0);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
    ck_assert_int_eq(slack_now(), slack);
}
END_TEST

static void *idle_worker(void *arg)
{
    (void)arg;
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_IDLE), 0);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_IDLE), 0);
    ck_assert_int_eq(policy_now(), SCHED_IDLE);
    ck_assert_int_ne(sched_getscheduler(0) & SCHED_RESET_ON_FORK, 0);
    return NULL;
}

START_TEST(idle_worker_is_idle_and_alone)
{
    become_nobody();
    on_thread(idle_worker, NULL);
    ck_assert_int_eq(sched_getscheduler(0), SCHED_OTHER);
}
END_TEST

static void *mild_worker(void *arg)
{
    int base = *(int *)arg;

    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_MILD), 0);
    ck_assert_int_eq(nice_now(), base + 5);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_MILD), 0);
    ck_assert_int_eq(nice_now(), base + 5);
    ck_assert_int_eq(policy_now(), SCHED_OTHER);
    return NULL;
}

START_TEST(mild_worker_is_nicer_once)
{
    int base = nice_now();

    become_nobody();
    if (base > 14)
        return;
    on_thread(mild_worker, &base);
    ck_assert_int_eq(nice_now(), base);
}
END_TEST

START_TEST(mild_worker_stops_at_the_nicest)
{
    int base = 14;

    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 14), 0);
    on_thread(mild_worker, &base);
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 19), 0);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_MILD), 0);
    ck_assert_int_eq(nice_now(), 19);
}
END_TEST

/* ---- Children ---- */

static void *note_policy(void *out)
{
    *(int *)out = sched_getscheduler(0);
    return NULL;
}

static int policy_of_forked_child(void)
{
    int status = 0;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(policy_now());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *realtime_loop(void *permitted)
{
    int child = -1, rc = hop__qos_apply_loop(HOP__QOS_REALTIME);

    ck_assert(rc == 0 || rc == -EPERM);
    if (rc < 0)
        return NULL;
    *(bool *)permitted = true;
    ck_assert_int_eq(policy_now(), SCHED_FIFO);
    on_thread(note_policy, &child);
    ck_assert_int_eq(child, SCHED_OTHER);
    ck_assert_int_eq(policy_of_forked_child(), SCHED_OTHER);
    return NULL;
}

START_TEST(children_of_a_realtime_loop_are_ordinary)
{
    bool permitted = false;
    char why[128];

    on_thread(realtime_loop, &permitted);
    ck_assert_int_eq(hop__qos_choose(HOP__QOS_REALTIME, true, true, why) == HOP__QOS_REALTIME, permitted);
}
END_TEST

/* The limit that the header warns of: the day Linux resets SCHED_IDLE too, this fails and the warning can go. */
START_TEST(children_of_an_idle_worker_stay_idle)
{
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_IDLE), 0);
    ck_assert_int_eq(policy_of_forked_child(), SCHED_IDLE);
}
END_TEST

static void *ask_slice(void *out)
{
    struct hop__qos_saved saved;

    ck_assert_int_eq(hop__qos_save(&saved), 0);
    *(uint64_t *)out = saved.slice_ns;
    return NULL;
}

START_TEST(children_of_a_mild_loop_have_the_usual_slice)
{
    uint64_t usual, inherited;

    ask_slice(&usual);
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_MILD), 0);
    on_thread(ask_slice, &inherited);
    ck_assert_uint_eq(inherited, usual);
}
END_TEST

/* ---- Restoring ---- */

static void expect_restored(const struct hop__qos_saved *before, bool flag_may_stay)
{
    struct hop__qos_saved after;

    ck_assert_int_eq(hop__qos_restore(before), 0);
    ck_assert_int_eq(hop__qos_save(&after), 0);
    ck_assert_uint_eq(after.policy, before->policy);
    ck_assert_uint_eq(after.priority, before->priority);
    ck_assert_int_eq(after.nice, before->nice);
    ck_assert_uint_eq(after.slice_ns, before->slice_ns);
    ck_assert_int_eq(after.slack_ns, before->slack_ns);
    ck_assert(after.flags == before->flags || flag_may_stay);
}

static void round_trip(enum hop__qos_profile profile, bool privileged)
{
    struct hop__qos_saved before;
    int rc;

    ck_assert_int_eq(hop__qos_save(&before), 0);
    ck_assert(before.policy_valid && before.slack_valid);
    rc = hop__qos_apply_loop(profile);
    ck_assert_msg(rc == 0 || rc == -EPERM, "%s: %d", hop__qos_name(profile), rc);
    if (policy_now() != SCHED_FIFO)
        ck_assert_int_eq(slack_now(), 1);
    ck_assert_int_eq(nice_now(), before.nice);
    expect_restored(&before, !privileged);
}

START_TEST(loop_round_trip)
{
    round_trip((enum hop__qos_profile)_i, has_sys_nice());
}
END_TEST

START_TEST(loop_round_trip_as_nobody)
{
    become_nobody();
    round_trip((enum hop__qos_profile)_i, false);
}
END_TEST

START_TEST(loop_round_trip_of_a_nice_batch_thread)
{
    struct sched_param none = { 0 };

    become_nobody();
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 7), 0);
    ck_assert_int_eq(sched_setscheduler(0, SCHED_BATCH, &none), 0);
    ck_assert_int_eq(prctl(PR_SET_TIMERSLACK, 12345UL, 0, 0, 0), 0);
    round_trip((enum hop__qos_profile)_i, false);
    ck_assert_int_eq(policy_now(), SCHED_BATCH);
    ck_assert_int_eq(slack_now(), 12345);
}
END_TEST

START_TEST(caller_that_is_realtime_keeps_it)
{
    struct sched_param param = { .sched_priority = 7 };

    if (sched_setscheduler(0, SCHED_RR, &param) < 0)
        return;
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_REALTIME), 0);
    ck_assert_int_eq(policy_now(), SCHED_RR);
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_MILD), 0);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_MILD), 0);
    ck_assert_int_eq(policy_now(), SCHED_RR);
}
END_TEST

/* A worker's way back needs privilege; without it restore says so and the thread stays as it is. */
START_TEST(idle_worker_returns_with_privilege_only)
{
    struct hop__qos_saved before;
    int rc;

    if (_i)
        become_nobody();
    ck_assert_int_eq(hop__qos_save(&before), 0);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_IDLE), 0);
    rc = hop__qos_restore(&before);
    if (_i)
        ck_assert_int_eq(rc, -EPERM);
    ck_assert_int_eq(policy_now(), rc < 0 ? SCHED_IDLE : SCHED_OTHER);
}
END_TEST

START_TEST(restoring_nothing_does_nothing)
{
    struct hop__qos_saved nothing = { 0 };

    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_IDLE), 0);
    ck_assert_int_eq(hop__qos_restore(&nothing), 0);
    ck_assert_int_eq(policy_now(), SCHED_IDLE);
}
END_TEST

START_TEST(sandbox_without_the_calls_is_tolerated)
{
    static const int errors[] = { ENOSYS, EPERM };
    struct hop__qos_saved saved;
    int slack = slack_now();
    char why[128];

    if (!forbid_scheduling(errors[_i]))
        return;
    ck_assert_int_eq(hop__qos_save(&saved), -errors[_i]);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_IDLE), -errors[_i]);
    ck_assert_int_eq(hop__qos_apply_worker(HOP__QOS_MILD), -errors[_i]);
    ck_assert_int_eq(hop__qos_apply_loop(HOP__QOS_MILD), -errors[_i]);
    ck_assert_int_eq(slack_now(), 1);
    ck_assert_int_eq(hop__qos_restore(&saved), 0);
    ck_assert_int_eq(slack_now(), slack);
    ck_assert_int_eq(hop__qos_choose(HOP__QOS_REALTIME, true, true, why), HOP__QOS_IDLE);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("qos");
    TCase *choose = tcase_create("choose"), *apply = tcase_create("apply"), *restore = tcase_create("restore");

    tcase_set_timeout(choose, 20);
    tcase_add_test(choose, automatic_follows_the_cgroup);
    tcase_add_test(choose, what_is_asked_is_given);
    tcase_add_test(choose, choosing_realtime_leaves_the_thread_alone);
    tcase_add_test(choose, realtime_refused_becomes_automatic);
    tcase_add_test(choose, profiles_have_names);
    suite_add_tcase(s, choose);

    tcase_set_timeout(apply, 20);
    tcase_add_test(apply, off_touches_nothing);
    tcase_add_test(apply, idle_worker_is_idle_and_alone);
    tcase_add_test(apply, mild_worker_is_nicer_once);
    tcase_add_test(apply, mild_worker_stops_at_the_nicest);
    tcase_add_test(apply, children_of_a_realtime_loop_are_ordinary);
    tcase_add_test(apply, children_of_an_idle_worker_stay_idle);
    tcase_add_test(apply, children_of_a_mild_loop_have_the_usual_slice);
    suite_add_tcase(s, apply);

    tcase_set_timeout(restore, 20);
    tcase_add_loop_test(restore, loop_round_trip, HOP__QOS_MILD, HOP__QOS_REALTIME + 1);
    tcase_add_loop_test(restore, loop_round_trip_as_nobody, HOP__QOS_MILD, HOP__QOS_REALTIME + 1);
    tcase_add_loop_test(restore, loop_round_trip_of_a_nice_batch_thread, HOP__QOS_MILD, HOP__QOS_REALTIME + 1);
    tcase_add_test(restore, caller_that_is_realtime_keeps_it);
    tcase_add_loop_test(restore, idle_worker_returns_with_privilege_only, 0, 2);
    tcase_add_test(restore, restoring_nothing_does_nothing);
    tcase_add_loop_test(restore, sandbox_without_the_calls_is_tolerated, 0, 2);
    suite_add_tcase(s, restore);
    return s;
}

int main(void)
{
    SRunner *runner;
    int failed;

    if (sched_getscheduler(0) != SCHED_OTHER || nice_now() > 10)
        return 77; /* started by batch(1), chrt(1) or the like: nothing here would be as expected */
    runner = srunner_create(suite());
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
