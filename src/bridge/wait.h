/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One wait of a task or of a plain thread: written once, used by futures, channels, select, offload and files.
 *
 *     struct hop__wait w;
 *     if ((rc = hop__wait_begin(&w)) < 0) return rc;        -EWOULDBLOCK: a job, a callback; a task is at home now
 *     node = hop__wait_node(&w, 0); leave node where it will be taken from, at most 32 of them
 *     rc = hop__wait_sleep(&w, deadline, interruptible);    0: some node was delivered
 *     withdraw the nodes; those that could not be are on their way:
 *     hop__wait_for_node(&w, 0);
 *     hop__wait_end(&w);                                     back where the caller was
 */
#ifndef HOP_BRIDGE_WAIT_H
#define HOP_BRIDGE_WAIT_H

#include "bridge/task.h"
#include "bridge/waiter.h"

struct hop__wait {
    struct hop__task *task;        /* NULL: a plain thread */
    struct hop__executor *from;    /* where the task goes back to, if not NULL */
    hop__atomic(uint32_t) arrived; /* a bit for each node that was delivered; the futex of a plain thread */
    uint32_t seen;                 /* those that a sleep has reported */
    bool timed_out;
    struct hop__timer timer;
};

struct hop__wait_node {
    struct hop__waiter waiter;
    struct hop__wait *wait;
    struct hop__executor *home; /* of a task: here, so that who wakes it reads one line of ours */
    int bit;
};

enum { HOP__WAIT_NODES_MAX = 32 };

/* Whether a wait is allowed here at all: 0, -EWOULDBLOCK, or -EOWNERDEAD in an orphan. */
int hop__wait_allowed(void);

int hop__wait_begin(struct hop__wait *w);
void hop__wait_end(struct hop__wait *w);
void hop__wait_node_init(struct hop__wait *w, struct hop__wait_node *node, int bit);

/* 0: a node has come that no sleep reported yet. Else, only if interruptible: the reason, or -ETIMEDOUT. */
int hop__wait_sleep(struct hop__wait *w, hop_ns deadline, bool interruptible);

static inline bool hop__wait_has(struct hop__wait *w, int bit)
{
    return hop__load(&w->arrived, acquire) >> bit & 1;
}

/* Until this node, which could not be withdrawn, has come. */
void hop__wait_for_node(struct hop__wait *w, int bit);

/* The whole of it for one future: its result is in *result if 0 is returned. */
int hop__wait_future(struct hop__future *f, hop_ns deadline, bool interruptible, int *result);

/* The same with a node of the caller's, which may stand beside the future: who completes it then fetches one line. */
int hop__wait_future_by(struct hop__wait_node *node, struct hop__future *f, hop_ns deadline, bool interruptible,
                        int *result);

#endif
