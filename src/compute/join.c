/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fork-join. The second half is offered in the worker's deque, in the caller's frame, while the first runs; mostly it
 * is still there afterwards, and the whole cost was a push and a pop.
 *
 * If it was stolen, the caller waits by leapfrogging (Wagner and Calder 1993): it takes work from the thief's deque and
 * from nowhere else. When the thief stole, its deque was empty: it was at the top of its loop, or waiting itself, and a
 * worker waits only when all it had offered is gone, because thieves take the oldest first. So everything that the
 * thief's deque has held since is a descendant of the stolen half, and the waiter never runs a stranger's work: a lock
 * held around a join cannot be wanted by what the join runs, unless the half itself would want it.
 */
#include "config.h"

#include "compute/join.h"

#include <hop/parallel.h>

#include "bridge/offload.h"
#include "bridge/orphan.h"

static inline uint32_t stolen_by(const struct hop__worker *thief)
{
    return (uint32_t)(thief->id + 1) << 1;
}

void hop__job_run(struct hop__worker *w, struct hop__job *job)
{
    struct hop__thread *self = hop__self();
    const struct hop__cancel *saved = self->cancel;

    hop__store(&job->state, stolen_by(w), relaxed); /* a name only: where to leapfrog */
    self->cancel = job->cancel;
    job->result = job->fn(job->arg);
    hop__check_returned(self);
    self->cancel = saved;
    hop__store(&job->state, HOP__JOB_DONE, release); /* J1; the job is gone */
    hop__unpark(&w->followers);
}

static struct hop__worker *thief_of(struct hop__worker *w, uint32_t state)
{
    return state ? &w->pool->workers[(state >> 1) - 1] : NULL;
}

/* Sleeps until the thief offers something or has done. The bit in followers is shared: it is not taken back. */
static void sleep_beside(struct hop__worker *w, struct hop__worker *thief, struct hop__job *job)
{
    uint32_t key = hop__park_prepare(&thief->followers);

    if (hop__load(&job->state, acquire) == HOP__JOB_DONE || hop__deque_ready(&thief->deque))
        return;
    hop__worker_becomes_idle(w);
    hop__park_wait(&thief->followers, key);
    hop__worker_becomes_busy(w);
}

int hop__join_stolen(struct hop__worker *w, struct hop__job *job)
{
    hop_ns patience = w->pool->runtime->config.no_spin ? 0 : hop__wake_cost, since = 0;
    uint32_t state;
    int spins = 0;

    hop__check_returned(hop__self());
    while ((state = hop__load(&job->state, acquire)) != HOP__JOB_DONE) { /* J2 */
        struct hop__worker *thief = thief_of(w, state);
        struct hop__job *descendant = thief ? hop__deque_steal_thief(&thief->deque, &job->state) : NULL;

        if (descendant) {
            hop__job_run(w, descendant);
            since = 0;
            spins = 0;
            continue;
        }
        hop__pause();
        if (++spins < 16)
            continue;
        spins = 0;
        if (!since)
            since = hop__now();
        if (thief && hop__now() - since >= patience) {
            sleep_beside(w, thief, job);
            since = 0;
        }
    }
    return job->result;
}

static inline int first_error(int a, int b)
{
    return a < 0 ? a : b < 0 ? b : 0;
}

/* On a worker, as a job. */
static inline int join_here(struct hop__worker *w, hop_fn *fa, void *a, hop_fn *fb, void *b)
{
    struct hop__job job;
    int ra;

    if (__builtin_expect(!hop__fork(w, &job, fb, b, hop__thread_self.cancel), 0)) {
        ra = fa(a);
        return ra < 0 ? ra : first_error(0, fb(b));
    }
    ra = fa(a);
    if (__builtin_expect(hop__fork_take_back(w), 1))
        return ra < 0 ? ra : first_error(0, fb(b));
    return first_error(ra, hop__join_stolen(w, &job));
}

struct join_call {
    hop_fn *fa, *fb;
    void *a, *b;
};

static int join_job(void *arg)
{
    struct join_call *call = arg;
    struct hop__worker *w = hop__self()->worker;
    int ra;

    if (w)
        return join_here(w, call->fa, call->a, call->fb, call->b);
    ra = call->fa(call->a); /* team mode: nobody is there to steal */
    return ra < 0 ? ra : first_error(0, call->fb(call->b));
}

/* From a task, a thread, the team: the join becomes a job. */
static __attribute__((noinline)) int join_elsewhere(hop_fn *fa, void *a, hop_fn *fb, void *b)
{
    struct join_call call = { fa, fb, a, b };
    struct hop__thread *self = hop__self();
    int rc;

    if (!hop__computes_here(self))
        return hop__run_on_pool(join_job, &call, NULL);
    rc = hop_cancelled();
    return rc < 0 ? rc : hop__job_call(join_job, &call);
}

int hop_join(hop_fn *fa, void *a, hop_fn *fb, void *b)
{
    struct hop__worker *w = hop__thread_self.worker;

    if (__builtin_expect(!fa || !fb, 0))
        return -EINVAL;
    if (__builtin_expect(w && !hop__thread_self.task, 1))
        return join_here(w, fa, a, fb, b);
    return join_elsewhere(fa, a, fb, b);
}
