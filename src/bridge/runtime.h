/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every floor sees of a runtime: its executors and what they share. src/runtime.c builds it.
 */
#ifndef HOP_BRIDGE_RUNTIME_H
#define HOP_BRIDGE_RUNTIME_H

#include <pthread.h>

#include "bridge/executor.h"
#include "bridge/load.h"
#include "bridge/scope.h"
#include "bridge/stack.h"

enum { HOP__LOOPS_MAX = 64 };

struct hop_runtime {
    hop__atomic(int) stopping; /* admits nothing new from outside of its own tasks */
    hop_config config;         /* with the defaults filled in */
    struct hop__executor *loops[HOP__LOOPS_MAX];
    int nloops;
    uint32_t generation;       /* of the process that made it (orphan.h) */
    struct hop__executor *pool, *team, *lane;
    struct hop__load load;
    struct hop__stack_pool stacks;
    struct hop__scope root;

    pthread_mutex_t tasks_lock; /* the list of all tasks, for shutdown and reports */
    struct hop__task *tasks;
    struct hop__scope *thread_scopes; /* of plain threads: likewise */

    hop__atomic(uint64_t) tasks_spawned, tasks_ended;
    hop__atomic(unsigned) next_loop; /* for spawns from outside */

    /* In src/runtime.c: the list of live runtimes, and plain threads that are inside a call. */
    struct hop_runtime *next;
    int callers;
};

/*
 * The runtime of the calling thread: that of its task, job or loop; for a plain thread the one it uses, pinned until
 * hop__runtime_release so that it is not freed meanwhile. NULL: none.
 */
struct hop_runtime *hop__runtime_acquire(struct hop_runtime *wanted);
void hop__runtime_release(struct hop_runtime *runtime);

#endif
