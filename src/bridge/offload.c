/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs on their way to the pool and back: the work goes by value into the pool's queue, the answer is a future in the
 * frame of who waits.
 */
#include "config.h"

#include <hop/offload.h>

#include "bridge/boundary.h"
#include "bridge/offload.h"

#include "bridge/cost.h"
#include "bridge/load.h"
#include "bridge/orphan.h"
#include "bridge/wait.h"

int hop__job_call(hop_fn *fn, void *arg)
{
    struct hop__thread *self = hop__self();
    struct hop__task *task = self->task;
    struct hop__cancel view;
    int result;

    HOP__BOUNDARY();
    if (task) {
        view = hop__task_cancel_view(task);
        self->task = NULL; /* a job: it does not wait, so it ends on this thread */
        hop__store(&self->cancel, &view, relaxed);
    }
    result = fn(arg);
    hop__check_returned(self);
    if (task) {
        hop__store(&self->cancel, NULL, relaxed);
        self->task = task;
    }
    return result;
}

void hop__work_run(const struct hop__work *work)
{
    struct hop__thread *self = hop__self();
    int result = hop__cancel_check(&work->cancel);

    HOP__BOUNDARY();
    if (!result) {
        uint64_t start = work->ticks ? hop__ticks() : 0;

        self->as_worker = false;
        hop__store(&self->cancel, &work->cancel, relaxed);
        result = work->fn(work->arg);
        if (work->ticks)
            *work->ticks = self->as_worker ? HOP__NEEDS_WORKER : hop__span(start, hop__ticks());
        hop__check_returned(self);
        hop__store(&self->cancel, NULL, relaxed);
    }
    if (work->future)
        hop__complete(work->future, result);
    if (work->scope)
        hop__scope_discharge(work->scope, result);
}

/* An answer, and who waits for it. */
struct answer {
    struct hop__future future;
    struct hop__wait_node node;
} __attribute__((aligned(64)));

/* The caller is a task at home or on the lane, or a plain thread. *ticks, if not NULL, is set if fn was called. */
static int trip(struct hop_runtime *rt, hop_fn *fn, void *arg, uint64_t *ticks)
{
    struct hop__task *t = hop__self()->task;
    struct answer answer;
    struct hop__admission admission;
    struct hop__work work = { fn, arg, &answer.future, NULL, { NULL, HOP_FOREVER }, ticks };
    int result;

    if (t) {
        result = hop__task_interrupted(t);
        if (result)
            return result;
        work.cancel = hop__task_cancel_view(t);
    } else if (hop__load(&rt->stopping, acquire)) {
        return -ESHUTDOWN;
    }
    hop__init(&answer.future.word, HOP__EMPTY);
    admission.admitted = NULL;
    rt->pool->ops->admit(rt->pool, &work, &admission);
    /* An accepted job is always completed. */
    hop__wait_future_by(&answer.node, &answer.future, HOP_FOREVER, false, &result);
    return result;
}

int hop__run_on_pool(hop_fn *fn, void *arg, struct hop_runtime *wanted)
{
    struct hop_runtime *rt;
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    if (hop__self()->task)
        return trip(hop__self()->task->home->runtime, fn, arg, NULL);
    rt = hop__runtime_acquire(wanted);
    if (!rt)
        return wanted ? -EINVAL : hop__no_runtime();
    rc = trip(rt, fn, arg, NULL);
    hop__runtime_release(rt);
    return rc;
}

/*
 * A job that costs less than the trip stays home: it runs on the stack of the loop's thread. The loop learns what each
 * function costs, from the workers first, and what a trip takes.
 *
 * Alone, a task is served soonest at home as long as the job costs clearly less than the trip. If the loop has more to
 * run, what counts is its own time: the job stays if it costs no more than sending it would. No job is kept that is
 * expected to take longer than keep_most, nor after jobs have kept the loop for keep_turn since it last looked at its
 * events. A function that turns out slow goes to the pool at once, and the next times; if it surprises us again and
 * again, for longer and longer.
 */
static const hop_ns send_cost = 250, keep_most = 5 * HOP_US, keep_turn = 100 * HOP_US;

enum { PENALTY_LEAST = 8, PENALTY_MOST = 256, PENALTY_FORGOTTEN = 64 };

static uint64_t most_at_home(struct hop__executor *home)
{
    uint64_t half_trip, most = hop__ticks_in(keep_most);

    if (home->ops->busy(home))
        return hop__ticks_in(send_cost);
    half_trip = home->costs->trip / 2;
    return half_trip < most ? half_trip : most;
}

static void learn_at_home(struct hop__cost *cost, uint64_t took, uint64_t most)
{
    if (took <= most || took <= cost->ticks) {
        cost->ticks = (cost->ticks + took) / 2 + 1;
        if (cost->penalty && ++cost->streak >= PENALTY_FORGOTTEN)
            cost->penalty = 0;
        return;
    }
    cost->ticks = took;
    cost->penalty = cost->penalty ? 2 * cost->penalty : PENALTY_LEAST;
    if (cost->penalty > PENALTY_MOST)
        cost->penalty = PENALTY_MOST;
    cost->away = cost->penalty;
    cost->streak = 0;
}

static int stay_home(struct hop__task *t, struct hop__cost *cost, uint64_t most, hop_fn *fn, void *arg)
{
    struct hop__costs *costs = t->home->costs;
    int result = hop__task_interrupted(t);
    uint64_t start, took;

    if (result)
        return result;
    start = hop__ticks();
    result = hop__task_run_errand(t, fn, arg);
    took = hop__span(start, hop__ticks());
    hop__count(&costs->at_home);
    learn_at_home(cost, took, most); /* the entry is still its own: nothing else of this loop's has run */
    costs->kept += took;
    if (costs->kept >= hop__ticks_in(keep_turn))
        hop_yield();
    return result;
}

/* A job that took much longer than those before may have met a thread that took its CPU: it is believed by and by. */
static void learn_on_trip(struct hop__costs *costs, hop_fn *fn, uint64_t job, uint64_t whole)
{
    struct hop__cost *cost = hop__cost_of(costs, (uintptr_t)fn);

    if (cost->away)
        cost->away--;
    if (job == HOP__NEEDS_WORKER || cost->ticks == HOP__NEEDS_WORKER) {
        cost->ticks = HOP__NEEDS_WORKER;
        return;
    }
    cost->ticks = !cost->ticks ? job : job > 2 * cost->ticks ? 2 * cost->ticks : (cost->ticks + job) / 2 + 1;
    whole = whole > job ? whole - job : 1;
    costs->trip = !costs->trip || whole < costs->trip ? whole : costs->trip + (whole - costs->trip) / 64;
}

/* A task at home, on a loop that keeps costs. */
static int offload_adaptively(struct hop__task *t, hop_fn *fn, void *arg)
{
    struct hop__costs *costs = t->home->costs;
    struct hop__cost *cost = hop__cost_of(costs, (uintptr_t)fn);
    uint64_t start, most, job = 0;
    int result;

    if (cost->ticks && !cost->away && cost->ticks <= (most = most_at_home(t->home)))
        return stay_home(t, cost, most, fn, arg);
    start = hop__ticks();
    result = trip(t->home->runtime, fn, arg, &job);
    if (job)
        learn_on_trip(costs, fn, job, hop__span(start, hop__ticks()));
    return result;
}

int hop_offload(hop_fn *fn, void *arg)
{
    return hop_offload_with(fn, arg, NULL);
}

int hop_offload_with(hop_fn *fn, void *arg, const hop_offload_options *options)
{
    struct hop__thread *self = hop__self();
    struct hop_runtime *wanted = options ? options->runtime : NULL;

    if (!fn || (options && options->size != sizeof *options) || (options && options->place > HOP_POOL))
        return -EINVAL;
    if (hop__computes_here(self)) {
        int rc = hop_cancelled();

        if (wanted && wanted != self->runtime)
            return -EINVAL;
        return rc < 0 ? rc : hop__job_call(fn, arg);
    }
    if (self->executor && wanted && wanted != self->runtime)
        return -EINVAL;
    if (self->task && self->executor->costs && !(options && options->place == HOP_POOL))
        return offload_adaptively(self->task, fn, arg);
    return hop__run_on_pool(fn, arg, self->executor ? NULL : wanted);
}

/* Queues the work, waiting for room if that is allowed here. */
static int queue(struct hop_runtime *rt, const struct hop__work *work)
{
    struct hop__future admitted = { HOP__EMPTY };
    struct hop__admission admission;
    int ignored, rc = rt->pool->ops->admit(rt->pool, work, NULL);

    if (rc != -EAGAIN || hop__wait_allowed() < 0)
        return rc;
    admission.admitted = &admitted;
    if (rt->pool->ops->admit(rt->pool, work, &admission) > 0)
        hop__wait_future(&admitted, HOP_FOREVER, false, &ignored);
    return 0;
}

static int submit(struct hop__scope *s, struct hop__work *work)
{
    struct hop__thread *self = hop__self();
    const struct hop__cancel *job = hop__load(&self->cancel, relaxed);
    int rc = hop__scope_admit(s);

    if (rc < 0)
        return rc;
    work->cancel.reason = &s->reason;
    if (self->task)
        work->cancel.deadline = self->task->deadline;
    else if (job)
        work->cancel.deadline = job->deadline;
    rc = queue(s->runtime, work);
    if (rc < 0)
        hop__scope_discharge(s, 0);
    return rc;
}

int hop_submit(hop_scope *scope, hop_future *future, hop_fn *fn, void *arg)
{
    struct hop__scope *s = (struct hop__scope *)scope;
    struct hop__work work = { fn, arg, (struct hop__future *)future, s, { NULL, HOP_FOREVER }, NULL };
    bool plain = !hop__self()->executor;
    struct hop_runtime *rt;
    int rc = hop__scope_check(s);

    if (rc < 0 || !fn)
        return rc < 0 ? rc : -EINVAL;
    rt = s->runtime;
    if (plain && !hop__runtime_acquire(rt)) /* so that it is not freed under our hands */
        return -EINVAL;
    rc = submit(s, &work);
    if (plain)
        hop__runtime_release(rt);
    return rc;
}
