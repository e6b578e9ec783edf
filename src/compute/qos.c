/* SPDX-License-Identifier: BSD-3-Clause */

#define _GNU_SOURCE 1
#include "compute/qos.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORKER_NICE = 5, NICE_MAX = 19, LOOP_SLICE_NS = 100000, LOOP_SLACK_NS = 1 };
enum { RESET_ON_FORK = 1 }; /* SCHED_FLAG_RESET_ON_FORK */

/*
 * The kernel's struct sched_attr in its first size (48 bytes, Linux 3.14): glibc declares it only since 2.41. The later
 * fields are utilisation clamps; a caller's clamps stay as they are because we do not mention them.
 */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime; /* for ordinary policies: the slice, since Linux 6.12 */
    uint64_t deadline;
    uint64_t period;
};

static int get_attributes(struct attributes *a)
{
    *a = (struct attributes){ .size = sizeof *a };
    return syscall(SYS_sched_getattr, 0, a, sizeof *a, 0) < 0 ? -errno : 0;
}

static int set_attributes(const struct attributes *a)
{
    return syscall(SYS_sched_setattr, 0, a, 0) < 0 ? -errno : 0;
}

static bool is_ordinary(uint32_t policy)
{
    return policy == SCHED_OTHER || policy == SCHED_BATCH;
}

static bool is_realtime(uint32_t policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE;
}

/* Privilege bits and limits do not tell all: a v1 real-time group refuses as well. So take it, and put it back. */
static bool realtime_permitted(void)
{
    struct attributes was, fifo = { .size = sizeof fifo, .policy = SCHED_FIFO, .priority = 1 };

    if (get_attributes(&was) < 0)
        return false;
    if (is_realtime(was.policy))
        return true;
    fifo.flags = was.flags & RESET_ON_FORK; /* never set here: it could not be dropped again */
    if (set_attributes(&fifo) < 0)
        return false;
    was.size = sizeof was;
    (void)set_attributes(&was); /* a real-time thread may always become what it was */
    return true;
}

static enum hop__qos_profile choose_automatic(bool everywhere, bool own_cgroup, const char *prefix, char why[128])
{
    snprintf(why, 128, "%s%s", prefix,
             !own_cgroup ? "other processes share the cgroup, workers must not starve"
             : everywhere ? "the process has its cgroup to itself"
                          : "there are CPUs beside the workers', to which the kernel would prefer an idle thread's");
    return own_cgroup && everywhere ? HOP__QOS_IDLE : HOP__QOS_MILD;
}

enum hop__qos_profile hop__qos_choose(enum hop__qos_profile asked, bool everywhere, bool own_cgroup, char why[128])
{
    switch (asked) {
    case HOP__QOS_OFF:
    case HOP__QOS_MILD:
        snprintf(why, 128, "asked for");
        return asked;
    case HOP__QOS_IDLE:
        snprintf(why, 128, "asked for%s", own_cgroup ? "" : "; other processes of the cgroup come first");
        return asked;
    case HOP__QOS_REALTIME:
        if (!realtime_permitted())
            return choose_automatic(everywhere, own_cgroup, "real-time was refused; ", why);
        snprintf(why, 128, "asked for, and permitted");
        return asked;
    case HOP__QOS_AUTO:
        break;
    }
    return choose_automatic(everywhere, own_cgroup, "", why);
}

const char *hop__qos_name(enum hop__qos_profile profile)
{
    static const char *const names[] = { "auto", "off", "mild", "idle", "realtime" };

    return (unsigned)profile < sizeof names / sizeof names[0] ? names[profile] : "unknown";
}

/*
 * Counted from the nice value of the process's first thread, which is never a worker, and not from this thread's own:
 * so a second call adds nothing. (getpriority returns -1 both for "-1" and for an error; the error reads as -1.)
 */
static int make_nicer(struct attributes *a)
{
    int target = getpriority(PRIO_PROCESS, (id_t)getpid()) + WORKER_NICE;

    if (target > NICE_MAX)
        target = NICE_MAX;
    if (!is_ordinary(a->policy) || a->nice >= target)
        return 0;
    a->nice = target;
    a->flags |= RESET_ON_FORK;
    a->runtime = 0; /* 0: the kernel's own slice; passing its figure back would freeze it */
    return set_attributes(a);
}

int hop__qos_apply_worker(enum hop__qos_profile profile)
{
    struct attributes a;
    int rc;

    if (profile != HOP__QOS_MILD && profile != HOP__QOS_IDLE)
        return 0;
    if ((rc = get_attributes(&a)) < 0)
        return rc;
    if (profile == HOP__QOS_MILD)
        return make_nicer(&a);
    if (a.policy == SCHED_IDLE)
        return 0;
    a = (struct attributes){ .size = sizeof a, .policy = SCHED_IDLE, .flags = RESET_ON_FORK, .nice = a.nice };
    return set_attributes(&a);
}

static int apply_loop_policy(enum hop__qos_profile profile)
{
    struct attributes a;
    int rc;

    if (profile != HOP__QOS_MILD && profile != HOP__QOS_REALTIME)
        return 0;
    if ((rc = get_attributes(&a)) < 0)
        return rc;
    if (is_realtime(a.policy) || (profile == HOP__QOS_MILD && !is_ordinary(a.policy)))
        return 0;
    if (profile == HOP__QOS_REALTIME)
        a = (struct attributes){ .policy = SCHED_FIFO, .priority = 1 };
    else
        a.runtime = LOOP_SLICE_NS;
    a.size = sizeof a;
    a.flags |= RESET_ON_FORK;
    return set_attributes(&a);
}

int hop__qos_apply_loop(enum hop__qos_profile profile)
{
    int slack = 0, policy;

    if (profile == HOP__QOS_OFF || profile == HOP__QOS_AUTO)
        return 0;
    /* Slack first: the kernel ignores it on a real-time thread, whose timers are exact anyway. */
    if (prctl(PR_SET_TIMERSLACK, (unsigned long)LOOP_SLACK_NS, 0, 0, 0) < 0)
        slack = -errno;
    policy = apply_loop_policy(profile);
    return policy < 0 ? policy : slack;
}

int hop__qos_save(struct hop__qos_saved *saved)
{
    struct attributes a;
    int rc = get_attributes(&a);
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);

    *saved = (struct hop__qos_saved){ 0 };
    if (slack >= 0) {
        saved->slack_valid = true;
        saved->slack_ns = slack;
    }
    if (rc < 0)
        return rc;
    saved->policy_valid = a.policy != SCHED_DEADLINE; /* its three times are not ours to keep, and we never change it */
    saved->policy = a.policy;
    saved->priority = a.priority;
    saved->nice = a.nice;
    saved->flags = a.flags & RESET_ON_FORK;
    saved->slice_ns = is_ordinary(a.policy) ? a.runtime : 0;
    return 0;
}

static bool is_as_saved(const struct hop__qos_saved *saved)
{
    struct attributes a;

    return get_attributes(&a) == 0 && a.policy == saved->policy && a.priority == saved->priority &&
           a.nice == saved->nice && (a.flags & RESET_ON_FORK) == saved->flags &&
           (!is_ordinary(a.policy) || a.runtime == saved->slice_ns);
}

static int restore_policy(const struct hop__qos_saved *saved)
{
    struct attributes a = {
        .size = sizeof a, .policy = saved->policy, .flags = saved->flags, .nice = saved->nice,
        .priority = saved->priority, .runtime = saved->slice_ns,
    };
    int rc;

    if (!saved->policy_valid || is_as_saved(saved))
        return 0;
    rc = set_attributes(&a);
    if (rc == -EPERM && !(a.flags & RESET_ON_FORK)) {
        a.flags |= RESET_ON_FORK;
        rc = set_attributes(&a);
    }
    return rc;
}

int hop__qos_restore(const struct hop__qos_saved *saved)
{
    int rc = restore_policy(saved), slack = 0;

    /* After the policy: a real-time thread could not take it. 0 means the default, which is right too. */
    if (saved->slack_valid && prctl(PR_SET_TIMERSLACK, (unsigned long)saved->slack_ns, 0, 0, 0) < 0)
        slack = -errno;
    return rc < 0 ? rc : slack;
}
