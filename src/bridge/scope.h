/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scopes from inside: see scope.c for the protocol.
 */
#ifndef HOP_BRIDGE_SCOPE_H
#define HOP_BRIDGE_SCOPE_H

#include <pthread.h>

#include <hop/task.h>

#include "bridge/executor.h"
#include "bridge/future.h"
#include "bridge/orphan.h"

struct hop__task;

struct hop__scope {
    uint64_t magic;                /* while open: hop__scope_magic */
    struct hop_runtime *runtime;
    struct hop__task *owner;       /* the task that opened it; NULL: a thread, or the root */
    pthread_t thread;              /* the thread that opened it, if no task did */
    struct hop__scope *outer;      /* the owner's scope that was open before; of a thread's: the runtime's list */
    struct hop__scope **link;      /* of a thread's */
    hop__atomic(int) error;        /* the first error of a child */
    hop__atomic(int) reason;       /* why it was cancelled */
    bool root;                     /* an error of one child does not cancel the others */
    bool shielded;                 /* opened inside hop_shield, which has not ended; under the owner's lock */
    pthread_mutex_t lock;          /* guards children */
    struct hop__task *children;    /* the tasks among them: who must be told of a cancellation */
    char pad[64 - sizeof(int)];    /* reason is read by every job, live is written by every one */
    hop__atomic(int) live;         /* children, and one for the owner until the close */
    struct hop__future empty;      /* completed by the last to leave */
};

_Static_assert(sizeof(struct hop__scope) <= sizeof(hop_scope), "hop_scope is too small");
_Static_assert(_Alignof(struct hop__scope) <= _Alignof(hop_scope), "hop_scope is not aligned enough");

#define HOP__SCOPE_MAGIC UINT64_C(0x686f7073636f7065)

static inline uint64_t hop__scope_magic(const struct hop__scope *s, uint32_t generation)
{
    return HOP__SCOPE_MAGIC ^ (uint64_t)(uintptr_t)s ^ (uint64_t)generation << 32;
}

/* 0: it is open. -EINVAL, or -EOWNERDEAD in a child of fork: its parent's. */
static inline int hop__scope_check(const struct hop__scope *s)
{
    if (s && s->magic == hop__scope_magic(s, hop__generation))
        return 0;
    return s && hop__generation && s->magic == hop__scope_magic(s, hop__generation - 1) ? -EOWNERDEAD : -EINVAL;
}

void hop__scope_init(struct hop__scope *s, struct hop_runtime *runtime);

/* A child: counted in before it starts, counted out with its result; the scope may be gone after the latter. */
int hop__scope_admit(struct hop__scope *s);
void hop__scope_discharge(struct hop__scope *s, int result);

/* The task among the children. Admit: 0 or the reason why not. */
int hop__scope_admit_task(struct hop__scope *s, struct hop__task *t);
void hop__scope_discharge_task(struct hop__scope *s, struct hop__task *t, int result);

void hop__scope_cancel(struct hop__scope *s, int reason);

/* Joins: gives up the owner's place and waits until empty. Returns the first error, or the reason. */
int hop__scope_join(struct hop__scope *s);

#endif
