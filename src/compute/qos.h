/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * qos: the scheduling policies that let a loop answer at once while every core computes.
 *
 *   profile    worker                      loop
 *   OFF        -                           -
 *   MILD       nice 5 above the process    0.1 ms slice (Linux 6.12; ignored before)
 *   IDLE       SCHED_IDLE                  -
 *   REALTIME   -                           SCHED_FIFO 1
 *
 * and in all but OFF a loop's timers are exact to the nanosecond (timer slack) instead of 50 us late.
 *
 * What a thread may take back, without privilege: a slice, SCHED_FIFO and timer slack, yes; a raised nice value and
 * SCHED_IDLE, no (RLIMIT_NICE). So nice and SCHED_IDLE are given to threads that hop owns, the workers, and never to
 * a loop, which may be running on a thread that the caller lent us.
 *
 * Children. SCHED_FLAG_RESET_ON_FORK is always set, but Linux resets only SCHED_FIFO, negative nice values and the
 * slice in a child. A thread or process that a worker creates stays SCHED_IDLE or nice, and timer slack is handed on as
 * well; so processes and helper threads are to be started from a thread that apply_* was not called on.
 */
#ifndef HOP_COMPUTE_QOS_H
#define HOP_COMPUTE_QOS_H

#include <stdbool.h>
#include <stdint.h>

enum hop__qos_profile {
    HOP__QOS_AUTO, /* asked only, never in force: IDLE if the process has its cgroup to itself, else MILD */
    HOP__QOS_OFF,
    HOP__QOS_MILD,
    HOP__QOS_IDLE,
    HOP__QOS_REALTIME,
};

/* What a thread had before apply. Zeroed means nothing was saved, and restoring that does nothing. */
struct hop__qos_saved {
    bool policy_valid;
    bool slack_valid;
    uint32_t policy;
    uint32_t priority; /* SCHED_FIFO and SCHED_RR */
    int32_t nice;
    uint64_t flags;
    uint64_t slice_ns; /* ordinary policies; what the kernel reports, its default included */
    int slack_ns;
};

/*
 * The profile in force, and in why (128 bytes, ended, no newline) the reason for hop_describe. everywhere: there is a
 * worker on each CPU; own_cgroup is hop__budget_own_cgroup's answer. REALTIME is tried out on the calling thread for a
 * moment, and where it is refused AUTO takes its place.
 */
enum hop__qos_profile hop__qos_choose(enum hop__qos_profile asked, bool everywhere, bool own_cgroup, char why[128]);

/* "off", "mild", ... for people. */
const char *hop__qos_name(enum hop__qos_profile profile);

/*
 * Act on the calling thread; to call them twice is harmless.
 * Errors: -EPERM (privilege, or a seccomp filter), -ENOSYS and the like are part of life: the caller notes it and
 * goes on, the thread then runs as it did. A loop on a thread that is already SCHED_FIFO, SCHED_RR or SCHED_DEADLINE
 * keeps its policy.
 */
int hop__qos_apply_worker(enum hop__qos_profile profile);
int hop__qos_apply_loop(enum hop__qos_profile profile);

/* What the calling thread has now. Errors: as above; what could be read is saved and will be restored all the same. */
int hop__qos_save(struct hop__qos_saved *saved);

/*
 * Gives the calling thread what save found. Where the thread may not drop RESET_ON_FORK (no CAP_SYS_NICE), that flag
 * stays and this is a success.
 * Errors: as above; -EPERM on a worker that is SCHED_IDLE or was made nicer.
 */
int hop__qos_restore(const struct hop__qos_saved *saved);

#endif
