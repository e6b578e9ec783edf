/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs on their way to the pool and back: the work goes by value into the pool's queue, the answer is a future in the
 * frame of who waits.
 */
#include "config.h"

#include <hop/offload.h>

#include "bridge/offload.h"
#include "bridge/orphan.h"
#include "bridge/wait.h"

int hop__job_call(hop_fn *fn, void *arg)
{
    struct hop__thread *self = hop__self();
    struct hop__task *task = self->task;
    struct hop__cancel view;
    int result;

    if (!task)
        return fn(arg);
    view = hop__task_cancel_view(task);
    self->task = NULL; /* a job: it does not wait, so it ends on this thread */
    hop__store(&self->cancel, &view, relaxed);
    result = fn(arg);
    hop__check_returned(self);
    hop__store(&self->cancel, NULL, relaxed);
    self->task = task;
    return result;
}

void hop__work_run(const struct hop__work *work)
{
    struct hop__thread *self = hop__self();
    int result = hop__cancel_check(&work->cancel);

    if (!result) {
        hop__store(&self->cancel, &work->cancel, relaxed);
        result = work->fn(work->arg);
        hop__check_returned(self);
        hop__store(&self->cancel, NULL, relaxed);
    }
    if (work->future)
        hop__complete(work->future, result);
    if (work->scope)
        hop__scope_discharge(work->scope, result);
}

/* The caller is a task at home or on the lane, or a plain thread. */
static int trip(struct hop_runtime *rt, hop_fn *fn, void *arg)
{
    struct hop__task *t = hop__self()->task;
    struct hop__future done = { HOP__EMPTY };
    struct hop__admission admission;
    struct hop__work work = { fn, arg, &done, NULL, { NULL, HOP_FOREVER } };
    int result;

    if (t) {
        result = hop__task_interrupted(t);
        if (result)
            return result;
        work.cancel = hop__task_cancel_view(t);
    } else if (hop__load(&rt->stopping, acquire)) {
        return -ESHUTDOWN;
    }
    admission.admitted = NULL;
    rt->pool->ops->admit(rt->pool, &work, &admission);
    hop__wait_future(&done, HOP_FOREVER, false, &result); /* an accepted job is always completed */
    return result;
}

int hop__run_on_pool(hop_fn *fn, void *arg, struct hop_runtime *wanted)
{
    struct hop_runtime *rt;
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    if (hop__self()->task)
        return trip(hop__self()->task->home->runtime, fn, arg);
    rt = hop__runtime_acquire(wanted);
    if (!rt)
        return wanted ? -EINVAL : hop__no_runtime();
    rc = trip(rt, fn, arg);
    hop__runtime_release(rt);
    return rc;
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
    struct hop__work work = { fn, arg, (struct hop__future *)future, s, { NULL, HOP_FOREVER } };
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
