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

#include "bridge/boundary.h"
#include "bridge/offload.h"
#include "bridge/orphan.h"

static inline uint32_t stolen_by(const struct hop__worker *thief)
{
    return (uint32_t)(thief->id + 1) << 1;
}

/*
 * All that stands in a deque at one time is of one job, and so is what its thieves run, which is why the half carries
 * no view of its cancellation: the victim's is valid until the half is done.
 */
void hop__half_run(struct hop__worker *w, struct hop_half *half, const struct hop__worker *victim)
{
    struct hop__thread *self = hop__self();
    const struct hop__cancel *saved = hop__load(&self->cancel, relaxed);

    HOP__BOUNDARY();
    hop__store(&half->state, stolen_by(w), relaxed); /* a name only: where to leapfrog */
    hop__store(&self->cancel, hop__load(&victim->thread->cancel, relaxed), relaxed);
    half->run(&w->deque, half);
    hop__check_returned(self);
    hop__store(&self->cancel, saved, relaxed);
    hop__store(&half->state, (uint32_t)HOP__JOB_DONE, release); /* J1; the half is gone */
    hop__unpark(&w->followers);
}

static struct hop__worker *thief_of(struct hop__worker *w, uint32_t state)
{
    return state ? &w->pool->workers[(state >> 1) - 1] : NULL;
}

/* Sleeps until the thief offers something or has done. The bit in followers is shared: it is not taken back. */
static void sleep_beside(struct hop__worker *w, struct hop__worker *thief, struct hop_half *half)
{
    uint32_t key = hop__park_prepare(&thief->followers);

    if (hop__load(&half->state, acquire) == HOP__JOB_DONE || hop__deque_ready(&thief->deque))
        return;
    hop__load_rest(w->pool->load, 1);
    hop__park_wait(&thief->followers, key);
    hop__load_resume(w->pool->load, 1);
}

void hop_join_half(hop_worker *worker, hop_half *half)
{
    struct hop__worker *w = hop__worker_of(worker);
    hop_ns patience = w->pool->runtime->config.no_spin ? 0 : hop__wake_cost, since = 0;
    uint32_t state;
    int spins = 0;

    hop__check_returned(hop__self());
    while ((state = hop__load(&half->state, acquire)) != HOP__JOB_DONE) { /* J2 */
        struct hop__worker *thief = thief_of(w, state);
        struct hop_half *descendant = thief ? hop__deque_steal_thief(&thief->deque, &half->state) : NULL;

        if (descendant) {
            hop__half_run(w, descendant, thief);
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
            sleep_beside(w, thief, half);
            since = 0;
        }
    }
}

/* --- what <hop/fork.h> leaves to the library --- */

/* Where nobody steals: full from the start. */
static struct hop_worker alone = { .limit = INT64_MIN };

struct hop_worker *hop__forker(void)
{
    hop__thread_self.as_worker = true;
    return hop__thread_self.worker ? &hop__thread_self.worker->deque : &alone;
}

void hop__fork_tell(hop_worker *worker)
{
    struct hop__worker *w = hop__worker_of(worker);

    hop__pool_notify(w->pool);
    hop__unpark(&w->followers);
}

hop_forked hop__fork_slowly(hop_worker *worker, hop_half *half)
{
    hop_forked forked;

    if (worker == &alone)
        return HOP__NOT_FORKED;
    forked = hop__deque_push_slowly(worker, half);
    if (forked != HOP__NOT_FORKED)
        hop__fork_tell(worker);
    return forked;
}

bool hop__take_back_slowly(hop_worker *worker, hop_forked forked)
{
    return hop__deque_pop_slowly(worker, forked);
}

hop_forked hop__fork_called(hop_worker *worker, hop_half *half, hop_half_fn *run)
{
    return hop_fork(worker, half, run);
}

bool hop__take_back_called(hop_worker *worker, hop_forked forked)
{
    return hop_take_back(worker, forked);
}

struct worker_call {
    hop_worker_fn *fn;
    void *arg;
};

static int worker_job(void *arg)
{
    struct worker_call *call = arg;

    HOP__BOUNDARY();
    return call->fn(hop__forker(), call->arg);
}

/* From a task, a thread, the team: it becomes a job. */
static __attribute__((noinline)) int compute_elsewhere(hop_fn *fn, void *arg)
{
    int rc;

    if (!hop__computes_here(hop__self()))
        return hop__run_on_pool(fn, arg, NULL);
    rc = hop_cancelled();
    return rc < 0 ? rc : hop__job_call(fn, arg);
}

static inline bool is_job_of_worker(void)
{
    return __builtin_expect(hop__thread_self.worker && !hop__thread_self.task, 1);
}

int hop_with_worker(hop_worker_fn *fn, void *arg)
{
    struct worker_call call = { fn, arg };

    if (!fn)
        return -EINVAL;
    return is_job_of_worker() ? worker_job(&call) : compute_elsewhere(worker_job, &call);
}

/* --- hop_join --- */

struct join_half {
    hop_half half;
    hop_fn *fn;
    void *arg;
    int result; /* J1 publishes it, J2 in the wait reads it */
};

static void run_join_half(hop_worker *worker, hop_half *half)
{
    struct join_half *h = (struct join_half *)half;

    (void)worker;
    h->result = h->fn(h->arg);
}

static inline int first_error(int a, int b)
{
    return a < 0 ? a : b < 0 ? b : 0;
}

/* In a job. Without the stack's canary, which is a twentieth of the price of a join: there is no array here. */
static __attribute__((no_stack_protector)) int join_here(hop_worker *worker, hop_fn *fa, void *a, hop_fn *fb, void *b)
{
    struct join_half right;
    hop_forked forked;
    int ra;

    HOP__BOUNDARY();
    right.fn = fb;
    right.arg = b;
    forked = hop_fork(worker, &right.half, run_join_half);
    ra = fa(a);
    if (__builtin_expect(hop_take_back(worker, forked), 1)) /* from memory, which saves saving two registers */
        return ra < 0 ? ra : first_error(0, right.fn(right.arg));
    hop_join_half(worker, &right.half);
    return first_error(ra, right.result);
}

struct join_call {
    hop_fn *fa, *fb;
    void *a, *b;
};

static int join_job(void *arg)
{
    struct join_call *call = arg;

    return join_here(hop__forker(), call->fa, call->a, call->fb, call->b);
}

static __attribute__((noinline)) int join_elsewhere(hop_fn *fa, void *a, hop_fn *fb, void *b)
{
    struct join_call call = { fa, fb, a, b };

    return compute_elsewhere(join_job, &call);
}

int hop_join(hop_fn *fa, void *a, hop_fn *fb, void *b)
{
    if (__builtin_expect(!fa || !fb, 0))
        return -EINVAL;
    if (is_job_of_worker())
        return join_here(&hop__thread_self.worker->deque, fa, a, fb, b);
    return join_elsewhere(fa, a, fb, b);
}
