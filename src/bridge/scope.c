/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scopes: who waits for whom, and the first error.
 *
 * live counts the children and one place for the owner; whoever takes it to zero completes the future "empty", as his
 * last touch: the closer may then return from the frame that holds the scope. The owner gives his place up in join, so
 * zero is reached once, after the close has begun.
 *
 * A child that fails notes its error and cancels the others before it is counted out. Cancelling tells the child tasks,
 * under the scope's lock, without which none can leave; each is told by a node to its home loop, and passes the news on
 * to its own open scopes there (task.c). So a tree of any depth is told without walking it in one go. Locks are taken
 * downwards only: the runtime's, a task's, a scope's.
 */
#include "config.h"

#include "bridge/scope.h"

#include "bridge/runtime.h"
#include "bridge/task.h"
#include "bridge/wait.h"

void hop__scope_init(struct hop__scope *s, struct hop_runtime *runtime)
{
    s->runtime = runtime;
    s->owner = NULL;
    s->thread = pthread_self();
    s->outer = NULL;
    hop__init(&s->live, 1);
    hop__init(&s->error, 0);
    hop__init(&s->reason, 0);
    s->root = false;
    s->shielded = false;
    pthread_mutex_init(&s->lock, NULL);
    s->children = NULL;
    hop__init(&s->empty.word, HOP__EMPTY);
    s->magic = hop__scope_magic(s, hop__generation);
}

/* --- children --- */

/*
 * Nobody holds the root open. S3: the child is counted before it looks whether the root ends; pairs with S4, the end
 * (runtime.c) says so before it gives up its place. So either the end finds the child, or the child finds the end.
 */
static int admit_to_root(struct hop__scope *s)
{
    hop__fetch_add(&s->live, 1, acq_rel); /* S3 */
    if (!hop__load(&s->runtime->stopping, relaxed))
        return 0;
    hop__scope_discharge(s, 0);
    return -ESHUTDOWN;
}

int hop__scope_admit(struct hop__scope *s)
{
    int reason = hop__load(&s->reason, relaxed);

    if (reason)
        return s->root && hop__load(&s->runtime->stopping, relaxed) ? -ESHUTDOWN : reason;
    if (s->root)
        return admit_to_root(s);
    hop__fetch_add(&s->live, 1, relaxed); /* the caller holds the scope open */
    return 0;
}

void hop__scope_discharge(struct hop__scope *s, int result)
{
    int none = 0;

    if (result < 0 && hop__cas(&s->error, &none, result, relaxed, relaxed) && !s->root)
        hop__scope_cancel(s, -ECANCELED);
    /* S1: what the child did is seen by who joins; pairs with S2, the future's own edge, through the last to leave. */
    if (hop__fetch_sub(&s->live, 1, acq_rel) == 1)
        hop__complete(&s->empty, 0);
}

int hop__scope_admit_task(struct hop__scope *s, struct hop__task *t)
{
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = hop__scope_admit(s);
    if (!rc) {
        t->parent = s;
        t->sibling_next = s->children;
        t->sibling_link = &s->children;
        if (s->children)
            s->children->sibling_link = &t->sibling_next;
        s->children = t;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void hop__scope_discharge_task(struct hop__scope *s, struct hop__task *t, int result)
{
    pthread_mutex_lock(&s->lock);
    *t->sibling_link = t->sibling_next;
    if (t->sibling_next)
        t->sibling_next->sibling_link = t->sibling_link;
    pthread_mutex_unlock(&s->lock);
    hop__scope_discharge(s, result);
}

void hop__scope_cancel(struct hop__scope *s, int reason)
{
    struct hop__task *t;
    int none = 0;

    pthread_mutex_lock(&s->lock);
    if (hop__cas(&s->reason, &none, reason, relaxed, relaxed))
        for (t = s->children; t; t = t->sibling_next)
            hop__task_cancel(t, reason);
    pthread_mutex_unlock(&s->lock);
}

int hop__scope_join(struct hop__scope *s)
{
    int rc, ignored, error;

    if (hop__fetch_sub(&s->live, 1, acq_rel) == 1) {
        rc = 0;
    } else {
        rc = hop__wait_future(&s->empty, HOP_FOREVER, true, &ignored);
        if (rc < 0 && rc != -EBUSY) {
            hop__scope_cancel(s, rc);
            hop__wait_future(&s->empty, HOP_FOREVER, false, &ignored);
        }
    }
    error = hop__load(&s->error, relaxed);
    return error ? error : hop__load(&s->reason, relaxed);
}

/* --- the public face --- */

/* The calling thread's innermost open scope, or NULL: the newest come first. Under tasks_lock. */
static struct hop__scope *innermost_of_thread(struct hop_runtime *rt)
{
    struct hop__scope *s;

    for (s = rt->thread_scopes; s && !pthread_equal(s->thread, pthread_self());)
        s = s->outer;
    return s;
}

static bool is_open_in_thread(struct hop_runtime *rt, struct hop__scope *wanted)
{
    struct hop__scope *s;

    pthread_mutex_lock(&rt->tasks_lock);
    for (s = rt->thread_scopes; s && s != wanted;)
        s = s->outer;
    pthread_mutex_unlock(&rt->tasks_lock);
    return s != NULL;
}

static bool is_open_in_task(struct hop__task *t, struct hop__scope *wanted)
{
    struct hop__scope *s;

    for (s = t->scopes; s && s != wanted;)
        s = s->outer;
    return s != NULL;
}

static int open_in_thread(struct hop__scope *s)
{
    struct hop_runtime *rt = hop__runtime_acquire(NULL);

    if (!rt)
        return hop__no_runtime();
    if (is_open_in_thread(rt, s)) {
        hop__runtime_release(rt);
        return -EBUSY;
    }
    hop__scope_init(s, rt); /* keeps the runtime pinned until the close */
    pthread_mutex_lock(&rt->tasks_lock);
    s->outer = rt->thread_scopes;
    s->link = &rt->thread_scopes;
    if (s->outer)
        s->outer->link = &s->outer;
    rt->thread_scopes = s;
    pthread_mutex_unlock(&rt->tasks_lock);
    return 0;
}

static void close_in_thread(struct hop__scope *s)
{
    struct hop_runtime *rt = s->runtime;

    pthread_mutex_lock(&rt->tasks_lock);
    *s->link = s->outer;
    if (s->outer)
        s->outer->link = s->link;
    pthread_mutex_unlock(&rt->tasks_lock);
    hop__runtime_release(rt);
}

static void close_in_task(struct hop__scope *s)
{
    pthread_mutex_lock(&s->owner->lock);
    s->owner->scopes = s->outer;
    pthread_mutex_unlock(&s->owner->lock);
}

int hop_scope_open(hop_scope *scope)
{
    struct hop__scope *s = (struct hop__scope *)scope;
    struct hop__task *t = hop__self()->task;
    int rc = hop__wait_allowed();

    if (!s)
        return -EINVAL;
    if (rc < 0)
        return rc;
    if (!t)
        return open_in_thread(s);
    if (is_open_in_task(t, s))
        return -EBUSY;
    hop__scope_init(s, t->home->runtime);
    s->owner = t;
    s->shielded = t->shield > 0;
    pthread_mutex_lock(&t->lock);
    s->outer = t->scopes;
    t->scopes = s;
    rc = hop__load(&t->reason, relaxed);
    pthread_mutex_unlock(&t->lock);
    if (rc && !t->shield)
        hop__scope_cancel(s, rc); /* born too late for the walker */
    return 0;
}

static int may_close(struct hop__scope *s)
{
    struct hop__task *t = hop__self()->task;
    struct hop__scope *innermost;
    int rc = hop__scope_check(s);

    if (!rc)
        rc = hop__wait_allowed();
    if (rc < 0)
        return rc;
    if (s->root || s->owner != t || (!t && !pthread_equal(s->thread, pthread_self())))
        return -EPERM;
    if (t)
        return t->scopes == s ? 0 : -EBUSY;
    pthread_mutex_lock(&s->runtime->tasks_lock);
    innermost = innermost_of_thread(s->runtime);
    pthread_mutex_unlock(&s->runtime->tasks_lock);
    return innermost == s ? 0 : -EBUSY;
}

int hop_scope_close(hop_scope *scope)
{
    struct hop__scope *s = (struct hop__scope *)scope;
    int rc = may_close(s);

    if (rc < 0)
        return rc;
    rc = hop__scope_join(s);
    s->magic = 0;
    if (s->owner)
        close_in_task(s);
    else
        close_in_thread(s);
    pthread_mutex_destroy(&s->lock);
    return rc;
}

int hop_scope_cancel(hop_scope *scope, int reason)
{
    struct hop__scope *s = (struct hop__scope *)scope;

    int rc = hop__scope_check(s);

    if (rc < 0 || reason >= 0)
        return rc < 0 ? rc : -EINVAL;
    hop__scope_cancel(s, reason);
    return 0;
}
