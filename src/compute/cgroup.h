/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * cgroup: where the kernel keeps this process's CPU group, and who else is in it. Knows versions 1, 2 and both at once,
 * and containers, which see only the lower part of the tree. root as in budget.h. Nothing here needs freeing.
 */
#ifndef HOP_COMPUTE_CGROUP_H
#define HOP_COMPUTE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

enum { HOP__CGROUP_PATH_MAX = 1024 };

/* The process's own cgroup in one hierarchy. Its parents, up to the mount point, are prefixes of dir. */
struct hop__cgroup {
    char dir[HOP__CGROUP_PATH_MAX]; /* root in front; "" when there is none, and then the rest means nothing */
    size_t top;                     /* length of the mount point in dir, where a walk up ends */
    bool exact;                     /* false: our own cannot be seen from here, dir is the mount point */
    bool topmost;                   /* nothing is above it as far as we can see: the machine's root, or a container's */
    bool unified;                   /* of version 2; else of the version 1 hierarchy with the cpu controller */
};

/* Reads /proc/self/cgroup and /proc/self/mountinfo. What is missing or malformed is "none". */
void hop__cgroup_find(struct hop__cgroup *v2, struct hop__cgroup *v1, const char *root);

/* See hop__budget_own_cgroup. */
bool hop__cgroup_is_ours(const struct hop__cgroup *cgroup, const char *root);

/*
 * Reads up to size - 1 bytes of dir/name (name begins with a slash) and ends them. Returns the length or -Exxx.
 * One read is enough: the kernel writes files like these at once.
 */
int hop__cgroup_read(char *text, size_t size, const char *dir, const char *name);

#endif
