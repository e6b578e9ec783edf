/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One wait, of a task or a plain thread.
 *
 * A task waits at home, and its nodes come to its loop's inbox: "arrived" is then written by the loop's thread alone.
 * A plain thread sleeps on "arrived" itself as a futex; W1, the bit, is the waker's last touch of the sleeper's frame
 * and publishes what it did (pairs with W2, the sleeper's look). The futex call after it only uses the address.
 */
#include "config.h"

#include "bridge/wait.h"

#include "bridge/orphan.h"
#include "bridge/park.h"
#include "bridge/runtime.h"

int hop__wait_allowed(void)
{
    struct hop__thread *self = hop__self();

    if (!self->executor)
        return hop__load(&hop__orphaned, relaxed) ? -EOWNERDEAD : 0;
    return self->task && self->executor->place != HOP_TEAM ? 0 : -EWOULDBLOCK;
}

int hop__wait_begin(struct hop__wait *w)
{
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    w->task = hop__self()->task;
    w->from = NULL;
    w->seen = 0;
    w->timer.link = NULL;
    hop__init(&w->arrived, 0);
    if (w->task && w->task->here != w->task->home) {
        w->from = w->task->here;
        hop__task_visit(w->task, w->task->home);
    }
    return 0;
}

void hop__wait_end(struct hop__wait *w)
{
    if (w->from)
        hop__task_travel(w->task, w->from);
}

static void node_arrives(struct hop__runnable *r)
{
    struct hop__wait_node *node = (struct hop__wait_node *)r;

    hop__fetch_or(&node->wait->arrived, UINT32_C(1) << node->bit, relaxed);
    hop__task_ready(node->wait->task);
}

static void wake_task(struct hop__waiter *waiter)
{
    struct hop__wait_node *node = (struct hop__wait_node *)waiter;

    node->home->ops->post(node->home, &waiter->node);
}

static void wake_thread(struct hop__waiter *waiter)
{
    struct hop__wait_node *node = (struct hop__wait_node *)waiter;
    hop__atomic(uint32_t) *word = &node->wait->arrived;

    hop__fetch_or(word, UINT32_C(1) << node->bit, release); /* W1 */
    hop__futex_wake(word);
}

void hop__wait_node_init(struct hop__wait *w, struct hop__wait_node *node, int bit)
{
    node->waiter.node.run = node_arrives;
    node->waiter.wake = w->task ? wake_task : wake_thread;
    node->wait = w;
    node->home = w->task ? w->task->home : NULL;
    node->bit = bit;
}

static void time_is_up(struct hop__timer *timer)
{
    struct hop__wait *w = (struct hop__wait *)((char *)timer - offsetof(struct hop__wait, timer));

    w->timed_out = true;
    hop__task_ready(w->task);
}

static int sleep_task(struct hop__wait *w, hop_ns deadline, bool interruptible)
{
    struct hop__task *t = w->task;
    uint32_t arrived;
    int rc = 0;

    w->timed_out = false;
    if (interruptible && t->deadline < deadline)
        deadline = t->deadline;
    if (deadline != HOP_FOREVER) {
        w->timer.fire = time_is_up;
        t->home->ops->arm(t->home, &w->timer, deadline);
    }
    for (;;) {
        arrived = hop__load(&w->arrived, relaxed);
        if (arrived != w->seen)
            break;
        if (interruptible && !t->shield && hop__load(&t->reason, relaxed)) {
            rc = hop__load(&t->reason, relaxed);
            break;
        }
        if (w->timed_out) {
            rc = -ETIMEDOUT;
            break;
        }
        hop__task_park(t);
    }
    w->seen = arrived;
    if (w->timer.link)
        t->home->ops->disarm(t->home, &w->timer);
    return rc;
}

static int sleep_thread(struct hop__wait *w, hop_ns deadline)
{
    uint32_t arrived;

    while ((arrived = hop__load(&w->arrived, acquire)) == w->seen) { /* W2 */
        if (deadline != HOP_FOREVER && hop__now() >= deadline)
            return -ETIMEDOUT;
        hop__futex_wait(&w->arrived, arrived, deadline);
    }
    w->seen = arrived;
    return 0;
}

int hop__wait_sleep(struct hop__wait *w, hop_ns deadline, bool interruptible)
{
    return w->task ? sleep_task(w, deadline, interruptible) : sleep_thread(w, deadline);
}

void hop__wait_for_node(struct hop__wait *w, int bit)
{
    while (!hop__wait_has(w, bit))
        hop__wait_sleep(w, HOP_FOREVER, false);
}

/* The waiter is registered. */
static int sleep_for_future(struct hop__wait *w, struct hop__wait_node *node, struct hop__future *f, hop_ns deadline,
                            bool interruptible)
{
    int rc = hop__wait_sleep(w, deadline, interruptible);

    if (rc < 0 && !hop__future_withdraw(f, &node->waiter)) {
        hop__wait_for_node(w, 0); /* the completion won: take it */
        rc = 0;
    }
    return rc;
}

int hop__wait_future(struct hop__future *f, hop_ns deadline, bool interruptible, int *result)
{
    struct hop__wait_node node;

    return hop__wait_future_by(&node, f, deadline, interruptible, result);
}

int hop__wait_future_by(struct hop__wait_node *node, struct hop__future *f, hop_ns deadline, bool interruptible,
                        int *result)
{
    struct hop__wait w;
    int rc;

    if (hop__future_peek(f, result))
        return 0;
    rc = hop__wait_begin(&w);
    if (rc < 0)
        return rc;
    hop__wait_node_init(&w, node, 0);
    switch (hop__future_await(f, &node->waiter)) {
    case HOP__WAITING:
        rc = sleep_for_future(&w, node, f, deadline, interruptible);
        break;
    case HOP__TAKEN:
        rc = -EBUSY;
        break;
    case HOP__READY:
        break;
    }
    hop__wait_end(&w);
    if (!rc)
        hop__future_peek(f, result);
    return rc;
}
