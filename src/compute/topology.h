/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * topology: which CPUs this process may use, in which order a team fills them, how a thread gets on and off one.
 *
 * Everything is decided once, in hop__topology_open, and never written again: any number of threads may then plan, pin
 * and unpin at the same time without a lock. The one exception to "read only" is the calling thread of open: if an
 * OpenMP runtime had narrowed its affinity, open gives the whole mask back to it, so that the threads it creates do not
 * inherit one CPU (OMP_PROC_BIND).
 */
#ifndef HOP_COMPUTE_TOPOLOGY_H
#define HOP_COMPUTE_TOPOLOGY_H

#include <stdbool.h>
#include <stdio.h>

struct hop__topology;

/* One seat for one worker. Numbers that the machine does not tell are -1. */
struct hop__place {
    int cpu;       /* the number that the kernel gives the CPU (hwloc: os_index of the PU) */
    int core;      /* machine-wide number of the physical core, in hwloc's order: workers with equal cores share one */
    int numa;      /* the kernel's number of the NUMA node that is local to the CPU */
    int pack;      /* number of the package (socket) */
    bool bindable; /* false: a plan only (synthetic topology, or the kernel refuses); pin answers -ENOTSUP */
};

/*
 * Looks at the machine from the calling thread, whose affinity mask becomes the allowed mask. Call it early, from a
 * thread that the program has not pinned on purpose: a mask of one place together with OMP_PROC_BIND, OMP_PLACES,
 * GOMP_CPU_AFFINITY or KMP_AFFINITY in the environment is taken for the runtime's doing.
 * Owns: *out until hop__topology_close.
 * Errors: -ENOMEM; -EINVAL or what hwloc says when it finds no machine at all.
 */
int hop__topology_open(struct hop__topology **out);

/* No thread may be inside another function of this file. NULL is fine. Threads stay where they were pinned. */
void hop__topology_close(struct hop__topology *t);

/* How many CPUs the process may use: at least 1. */
int hop__topology_cpus(const struct hop__topology *t);

/*
 * Fills out[0..n-1] with the seats of a team of n: distinct cores first, in the machine's own order, so that neighbours
 * in the team are neighbours in the machine; the second hardware thread of each core after all cores; then round again.
 * Deterministic: the first k seats of a larger team are the team of k. Returns n, or -EINVAL.
 */
int hop__topology_places(const struct hop__topology *t, struct hop__place *out, int n);

/* Pins the calling thread. Errors: -ENOTSUP (see bindable), -EINVAL when the CPU has since left the cpuset. */
int hop__topology_pin(const struct hop__topology *t, const struct hop__place *place);

/*
 * 1: the calling thread is pinned there and nowhere else; 0: it may run there and elsewhere (a rewritten cpuset erases
 * pins); -EXDEV: it may not run there any more; -ENOTSUP, -ENOMEM.
 */
int hop__topology_pinned(const struct hop__topology *t, const struct hop__place *place);

/*
 * How many CPUs there are now: those that these n threads, which took the first n seats, may use together by their
 * masks, and the other seats. 0 stands for a thread that is not there yet. What hop__topology_cpus says, where masks
 * cannot be read or the topology is a synthetic one.
 */
int hop__topology_cpus_of(const struct hop__topology *t, const int *threads, int n);

/*
 * Gives the calling thread the whole allowed mask, if it has not got it, so that it does not keep what it inherited.
 * Errors as for pin.
 */
int hop__topology_unpin(const struct hop__topology *t);

/* Writes one to three lines, each ended. */
void hop__topology_describe(const struct hop__topology *t, FILE *to);

#endif
