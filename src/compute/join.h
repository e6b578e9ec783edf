/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fork and join from inside: a half is offered to thieves, and taken back or waited for.
 */
#ifndef HOP_COMPUTE_JOIN_H
#define HOP_COMPUTE_JOIN_H

#include "compute/pool.h"

/* Offers fn(arg). False: the deque is full, and the caller does it himself. */
static inline bool hop__fork(struct hop__worker *w, struct hop__job *job, hop_fn *fn, void *arg,
                             const struct hop__cancel *cancel)
{
    job->fn = fn;
    job->arg = arg;
    job->cancel = cancel;
    hop__init(&job->state, HOP__JOB_FORKED);
    if (__builtin_expect(!hop__deque_push_owner(&w->deque, job), 0))
        return false;
    hop__pool_notify(w->pool);
    if (__builtin_expect(hop__load(&w->followers.word, relaxed) & HOP__MAY_SLEEP, 0))
        hop__unpark(&w->followers);
    return true;
}

/* Takes the newest offer back. True: it was not stolen. False: it was, and hop__join_stolen must wait for it. */
static inline bool hop__fork_take_back(struct hop__worker *w)
{
    return hop__deque_pop_owner(&w->deque) != NULL;
}

/* Waits for a stolen half, running its descendants meanwhile and nothing else. Its result. */
int hop__join_stolen(struct hop__worker *w, struct hop__job *job);

#endif
