/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * budget: how many workers may compute at once: the allowed CPUs, limited by the cgroup's CPU quota (version 1, 2 or
 * both), rounded up. That they stay below the quota all the same is pace.h's.
 *
 * Two steps: find (reads /proc once, keeps directories) and reread (opens one or two files for each level of the cgroup
 * path, cheap enough for once a second). A process that is moved to another cgroup has to call find again.
 *
 * root is put in front of every path: "" in real life, a directory with a made-up /proc and /sys in tests.
 * A struct belongs to one thread at a time. Nothing here needs freeing.
 */
#ifndef HOP_COMPUTE_BUDGET_H
#define HOP_COMPUTE_BUDGET_H

#include <stdbool.h>

#include <hop/base.h>

#include "compute/cgroup.h"

struct hop__budget {
    int cpus;         /* the affinity mask cut to the cpuset, as the caller counted it; at least 1 */
    double quota;     /* in CPUs; 0: no quota */
    hop_ns period;    /* of the quota */
    int width;        /* ceil(min(cpus, quota)), at least 1 */
    char source[160]; /* where the quota came from or why there is none, for people */
};

struct hop__budget_files {
    struct hop__cgroup v2;
    struct hop__cgroup v1; /* of the cpu controller */
};

/* Returns 0, also when there is no /proc or no cgroup: then files is empty and every reread says "no quota". */
int hop__budget_find(struct hop__budget_files *files, const char *root);

/*
 * Fills *budget. Returns 1 if the width differs from what *budget held before, else 0; zero the struct before the
 * first time. A file that is missing or does not make sense is no quota; while the process has no descriptor or memory
 * left to read one with, the quota of before holds.
 */
int hop__budget_reread(struct hop__budget *budget, const struct hop__budget_files *files, int cpus_allowed);

/* find and reread in one. Returns 0. */
int hop__budget_read(struct hop__budget *budget, int cpus_allowed, const char *root);

/*
 * Whether a thread that yields to its whole cgroup yields to this program only: every process of the cpu cgroup is this
 * one, an ancestor or a descendant. When in doubt, no. In the machine's root cgroup all processes of the machine count,
 * and they must be visible. Reads a file for each process; for use at start.
 */
bool hop__budget_own_cgroup(const char *root);

#endif
