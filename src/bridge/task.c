/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a task: spawn, run, park, travel, cancel, end.
 *
 * A switch always goes between a task and the scheduler context of the thread that runs it. What must happen once
 * nothing of the task runs on this thread any more (hand it to another executor, free its stack) is left as an "after"
 * for the scheduler to do: before that moment another thread could start a stack that is still in use.
 *
 * A cancellation travels home like any other news: the canceller sets the reason and, if it was the first, posts the
 * task's cancel node to the home loop, under a lock of the parent scope that keeps the task alive. The task does not
 * end before that node has arrived. There the task's own open scopes are cancelled, whose tasks get nodes of their own:
 * so a tree of any depth is told without a stack as deep.
 */
#include "config.h"

#include "bridge/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/boundary.h"
#include "bridge/orphan.h"
#include "bridge/offload.h"
#include "bridge/runtime.h"

/* The struct sits at the top of its own stack, so that a small idle task costs one page. */
static struct hop__task *task_on(struct hop__stack stack)
{
    uintptr_t top = (uintptr_t)stack.low + HOP__GUARD_BYTES + stack.bytes;

    return (struct hop__task *)((top - sizeof(struct hop__task) - sizeof(void *)) & ~(uintptr_t)63);
}

static void run_errand(struct hop__thread *self)
{
    struct hop__errand *e = self->errand;
    struct hop__task *t = self->stack_of;

    self->errand = NULL;
    self->stack_of = NULL;
    self->at_home = true;
    e->result = hop__job_call(e->fn, e->arg);
    self->at_home = false;
    self->stack_of = t;
}

/* The thread gets the task's exceptions and the task keeps the thread's, or the other way round. */
static inline void swap_exceptions(struct hop__thread *self, struct hop__task *t)
{
    struct hop__exceptions mine;

    if (__builtin_expect(!self->exceptions, 1))
        return;
    mine = *self->exceptions;
    *self->exceptions = t->exceptions;
    t->exceptions = mine;
}

void hop__task_run(struct hop__task *t)
{
    struct hop__thread *self = hop__self();

    self->task = t;
    self->stack_of = t;
    self->visiting = false;
    t->here = self->executor;
    hop__store(&t->seen_at, (int)t->here->place, relaxed);
    swap_exceptions(self, t);
    hop__context_switch(&self->scheduler, &t->context);
    while (__builtin_expect(self->errand != NULL, 0)) {
        run_errand(self);
        hop__context_switch(&self->scheduler, &t->context);
    }
    swap_exceptions(self, t);
    self->task = NULL;
    self->stack_of = NULL;
    if (self->after) {
        void (*after)(struct hop__task *, void *) = self->after;

        self->after = NULL;
        after(self->after_task, self->after_arg);
    }
}

/* Back to the scheduler of this thread. Returns on the thread that runs the task next. */
static void switch_out(struct hop__task *t)
{
    hop__context_switch(&t->context, &hop__self()->scheduler);
}

int hop__task_run_errand(struct hop__task *t, hop_fn *fn, void *arg)
{
    struct hop__errand e = { .fn = fn, .arg = arg };

    hop__self()->errand = &e;
    switch_out(t);
    return e.result;
}

void hop__task_park(struct hop__task *t)
{
    t->parked = true;
    switch_out(t);
}

void hop__task_ready(struct hop__task *t)
{
    if (!t->parked)
        return;
    t->parked = false;
    t->home->ops->ready(t->home, t);
}

static void hand_over(struct hop__task *t, void *to)
{
    struct hop__executor *executor = to;

    executor->ops->enter(executor, t);
}

void hop__task_travel(struct hop__task *t, struct hop__executor *to)
{
    struct hop__thread *self = hop__self();

    if (t->here == to)
        return;
    self->after = hand_over;
    self->after_task = t;
    self->after_arg = to;
    switch_out(t);
}

void hop__task_visit(struct hop__task *t, struct hop__executor *to)
{
    hop__self()->visiting = true;
    hop__task_travel(t, to);
}

int hop_yield(void)
{
    struct hop__task *t = hop__self()->task;
    struct hop__executor *home;

    if (!t)
        return 0;
    home = t->home;
    if (t->here == home) {
        t->parked = true;
        hop__task_ready(t);
        switch_out(t);
    }
    return hop__task_interrupted(t);
}

/* --- cancellation --- */

static void cancel_arrives(struct hop__runnable *node)
{
    struct hop__task *t = (struct hop__task *)((char *)node - offsetof(struct hop__task, cancel_node));

    hop__task_cancel_scopes(t, false);
    t->cancel_seen = true;
    hop__task_ready(t);
}

void hop__task_cancel(struct hop__task *t, int reason)
{
    int none = 0;

    if (hop__cas(&t->reason, &none, reason, acq_rel, relaxed))
        t->home->ops->post(t->home, &t->cancel_node);
}

void hop__task_cancel_scopes(struct hop__task *t, bool shield_ended)
{
    struct hop__scope *s;
    int reason;

    pthread_mutex_lock(&t->lock);
    reason = hop__load(&t->reason, relaxed); /* if the news has been here before the shield ended, it is seen now */
    for (s = t->scopes; s; s = s->outer) {
        if (shield_ended)
            s->shielded = false;
        if (reason && !s->shielded)
            hop__scope_cancel(s, reason);
    }
    pthread_mutex_unlock(&t->lock);
}

int hop__task_interrupted(struct hop__task *t)
{
    int reason = t->shield ? 0 : hop__load(&t->reason, relaxed); /* a flag: nothing is read through it */

    if (reason)
        return reason;
    return t->deadline != HOP_FOREVER && hop__now() >= t->deadline ? -ETIMEDOUT : 0;
}

struct hop__cancel hop__task_cancel_view(struct hop__task *t)
{
    return (struct hop__cancel){ t->shield ? NULL : &t->reason, t->deadline };
}

int hop__cancel_check(const struct hop__cancel *c)
{
    int reason = c && c->reason ? hop__load(c->reason, relaxed) : 0;

    if (reason)
        return reason;
    return c && c->deadline != HOP_FOREVER && hop__now() >= c->deadline ? -ETIMEDOUT : 0;
}

int hop_cancelled(void)
{
    struct hop__thread *self = hop__self();

    return self->task ? hop__task_interrupted(self->task) : hop__cancel_check(hop__load(&self->cancel, relaxed));
}

/* --- birth --- */

static void link_into_runtime(struct hop_runtime *rt, struct hop__task *t)
{
    pthread_mutex_lock(&rt->tasks_lock);
    t->list_next = rt->tasks;
    t->list_link = &rt->tasks;
    if (rt->tasks)
        rt->tasks->list_link = &t->list_next;
    rt->tasks = t;
    pthread_mutex_unlock(&rt->tasks_lock);
}

static void unlink_from_runtime(struct hop_runtime *rt, struct hop__task *t)
{
    pthread_mutex_lock(&rt->tasks_lock);
    *t->list_link = t->list_next;
    if (t->list_next)
        t->list_next->list_link = t->list_link;
    pthread_mutex_unlock(&rt->tasks_lock);
}

/* On the scheduler's stack, at home: the last that is done for a task. */
static void bury(struct hop__task *t, void *runtime)
{
    struct hop_runtime *rt = runtime;
    struct hop__stack stack = t->stack;

    hop__context_free(&t->context);
    pthread_mutex_destroy(&t->lock);
    hop__stack_put(&rt->stacks, stack);
    hop__fetch_add(&rt->tasks_ended, 1, release); /* a shutdown that sees it may free the stacks */
}

void hop__task_check_scopes(struct hop__task *t)
{
    if (!t->scopes)
        return;
    fprintf(stderr, "hop: task '%s' ended with a scope still open (hop_scope_close is missing)\n",
            t->name ? t->name : "unnamed");
    abort();
}

static void __attribute__((noreturn)) end_of_task(struct hop__task *t)
{
    struct hop_runtime *rt = t->home->runtime;
    struct hop__thread *self;

    hop__task_check_scopes(t);
    hop__scope_discharge_task(t->parent, t, t->result);
    unlink_from_runtime(rt, t);
    while (hop__load(&t->reason, acquire) && !t->cancel_seen)
        hop__task_park(t);
    self = hop__self();
    self->after = bury;
    self->after_task = t;
    self->after_arg = rt;
    hop__context_leave(&t->context, &self->scheduler);
}

static void task_main(void *arg)
{
    struct hop__task *t = arg;

    HOP__BOUNDARY();
    t->result = t->fn(t->arg);
    hop__check_returned(hop__self());
    end_of_task(t);
}

static struct hop__executor *choose_loop(struct hop_runtime *rt, int asked)
{
    struct hop__thread *self = hop__self();

    if (asked)
        return asked > 0 && asked <= rt->nloops ? rt->loops[asked - 1] : NULL;
    if (self->runtime == rt && self->executor) {
        if (self->task)
            return self->task->home;
        if (self->executor->place == HOP_LOOP)
            return self->executor;
    }
    return rt->loops[hop__fetch_add(&rt->next_loop, 1, relaxed) % (unsigned)rt->nloops];
}

static int new_task(struct hop_runtime *rt, const hop_task_options *o, struct hop__task **out)
{
    size_t bytes = o && o->stack_bytes ? o->stack_bytes : rt->config.stack_bytes;
    struct hop__stack stack;
    struct hop__task *t;
    char *low;
    int rc = hop__stack_get(&rt->stacks, bytes, &stack);

    if (rc < 0)
        return rc;
    t = task_on(stack);
    memset(t, 0, sizeof *t);
    t->stack = stack;
    t->deadline = HOP_FOREVER;
    t->name = o ? o->name : NULL;
    t->cancel_node.run = cancel_arrives;
    pthread_mutex_init(&t->lock, NULL);
    low = stack.low + HOP__GUARD_BYTES;
    hop__context_make(&t->context, low, (size_t)((char *)t - low), task_main, t);
    *out = t;
    return 0;
}

static int spawn(struct hop__scope *s, hop_fn *fn, void *arg, const hop_task_options *options)
{
    struct hop__thread *self = hop__self();
    const struct hop__cancel *job = hop__load(&self->cancel, relaxed);
    struct hop__executor *home;
    struct hop__task *t;
    int rc;

    home = choose_loop(s->runtime, options ? options->loop : 0);
    if (!home)
        return -EINVAL;
    rc = new_task(s->runtime, options, &t);
    if (rc < 0)
        return rc;
    t->fn = fn;
    t->arg = arg;
    t->home = home;
    if (self->task)
        t->deadline = self->task->deadline;
    else if (job)
        t->deadline = job->deadline;
    hop__fetch_add(&s->runtime->tasks_spawned, 1, relaxed);
    rc = hop__scope_admit_task(s, t);
    if (rc < 0) {
        bury(t, s->runtime);
        return rc;
    }
    link_into_runtime(s->runtime, t); /* only what was admitted: whoever finds it there may cancel it */
    home->ops->enter(home, t);
    return 0;
}

int hop_spawn(hop_scope *scope, hop_fn *fn, void *arg, const hop_task_options *options)
{
    struct hop__scope *s = (struct hop__scope *)scope;
    bool plain = !hop__self()->executor;
    struct hop_runtime *rt;
    int rc = hop__scope_check(s);

    if (rc < 0)
        return rc;
    if (!fn ||
        (options && (options->size != sizeof *options || options->stack_bytes > HOP__STACK_BYTES_MAX)))
        return -EINVAL;
    rt = s->runtime;
    if (plain && !hop__runtime_acquire(rt)) /* so that it is not freed under our hands */
        return -EINVAL;
    rc = spawn(s, fn, arg, options);
    if (plain)
        hop__runtime_release(rt);
    return rc;
}
