/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for the first of several things.
 *
 * First each case is tried by itself, from a random one on. If none can go on, the channels are locked together, in
 * the order of their addresses, tried once more, and the select leaves a party in each; so two selects that meet
 * cannot both leave without seeing the other. Futures get a waiter each. Whoever comes first claims the selector: a
 * channel's other side before it moves an item, the sleeper itself for a future, a time-out or a cancellation. After
 * the claim nothing else can happen to the select, and it takes back what it left: a party under the lock, a waiter
 * by its future's CAS; what cannot be taken back is on its way and is waited for.
 */
#include "config.h"

#include "bridge/channel.h"

enum { CASE_RECV = 1, CASE_SEND = 2, CASE_FUTURE = 3, CASE_AFTER = 4 };

struct selection {
    hop_case *cases;
    int n;
    struct hop__wait wait;
    struct hop__selector selector;
    struct hop__party parties[HOP_SELECT_MAX]; /* of a future only the node is used */
    hop_channel *locked[HOP_SELECT_MAX];       /* each channel once, by address */
    int nlocked;
    hop_ns deadline; /* of the earliest hop_on_after */
    int after;       /* its index, or -1 */
};

static struct hop__future *future_of(const hop_case *c)
{
    return (struct hop__future *)c->future;
}

static bool on_channel(const hop_case *c)
{
    return c->kind == CASE_RECV || c->kind == CASE_SEND;
}

static int check(const hop_case *cases, size_t n)
{
    size_t i;

    if (!cases || n == 0 || n > HOP_SELECT_MAX)
        return -EINVAL;
    for (i = 0; i < n; i++) {
        const hop_case *c = &cases[i];

        if (on_channel(c) ? !c->channel || (!c->item && c->channel->item_bytes)
                          : c->kind == CASE_FUTURE ? !c->future : c->kind != CASE_AFTER)
            return -EINVAL;
        if (on_channel(c) && hop__channel_check(c->channel) < 0)
            return hop__channel_check(c->channel);
    }
    return 0;
}

static unsigned random_start(int n)
{
    static _Thread_local unsigned state;

    if (!state)
        state = (unsigned)(uintptr_t)&state | 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % (unsigned)n;
}

static int try_locked(hop_case *c, struct hop__party **wake)
{
    return c->kind == CASE_SEND ? hop__channel_send_locked(c->channel, c->item, wake)
                                : hop__channel_recv_locked(c->channel, c->item, wake);
}

/* Each case by itself: the index of one that went on, or -1. */
static int try_each(hop_case *cases, int n)
{
    int k, start = (int)random_start(n);

    for (k = 0; k < n; k++) {
        int i = (start + k) % n;
        hop_case *c = &cases[i];

        if (c->kind == CASE_FUTURE && hop__future_peek(future_of(c), &c->result))
            return i;
        if (on_channel(c)) {
            c->result = c->kind == CASE_SEND ? hop_channel_try_send(c->channel, c->item)
                                             : hop_channel_try_recv(c->channel, c->item);
            if (c->result != -EAGAIN)
                return i;
        }
    }
    return -1;
}

static void find_deadline(struct selection *s)
{
    hop_ns now = 0;
    int i;

    s->deadline = HOP_FOREVER;
    s->after = -1;
    for (i = 0; i < s->n; i++)
        if (s->cases[i].kind == CASE_AFTER) {
            hop_ns at = hop__after(now ? now : (now = hop__now()), s->cases[i].after_ns);

            s->cases[i].result = 0;
            if (s->after < 0 || at < s->deadline) {
                s->deadline = at;
                s->after = i;
            }
        }
}

/* --- all channels at once --- */

static void sort_channels(struct selection *s)
{
    int i, j;

    s->nlocked = 0;
    for (i = 0; i < s->n; i++) {
        hop_channel *c = s->cases[i].channel;

        if (!on_channel(&s->cases[i]))
            continue;
        for (j = s->nlocked; j > 0 && (uintptr_t)s->locked[j - 1] > (uintptr_t)c; j--)
            s->locked[j] = s->locked[j - 1];
        if (j > 0 && s->locked[j - 1] == c) {
            for (; j < s->nlocked; j++) /* seen before: close the gap */
                s->locked[j] = s->locked[j + 1];
            continue;
        }
        s->locked[j] = c;
        s->nlocked++;
    }
}

static void lock_channels(struct selection *s)
{
    int i;

    for (i = 0; i < s->nlocked; i++)
        pthread_mutex_lock(&s->locked[i]->lock);
}

static void unlock_channels(struct selection *s)
{
    int i;

    for (i = s->nlocked; i-- > 0;)
        pthread_mutex_unlock(&s->locked[i]->lock);
}

static struct hop__party_list *list_of(const hop_case *c)
{
    return c->kind == CASE_SEND ? &c->channel->senders : &c->channel->receivers;
}

static void leave_party(struct selection *s, int i)
{
    struct hop__party *p = &s->parties[i];

    hop__wait_node_init(&s->wait, &p->node, i);
    p->selector = &s->selector;
    p->index = i;
    p->item = s->cases[i].item;
    hop__party_queue(list_of(&s->cases[i]), p);
}

/* Tries all channels once more, and leaves a party in each: the index of one that went on, or -1. */
static int try_and_queue(struct selection *s)
{
    struct hop__party *wake = NULL;
    int i, hit = -1;

    sort_channels(s);
    lock_channels(s);
    for (i = 0; i < s->n && hit < 0; i++) {
        hop_case *c = &s->cases[i];

        if (on_channel(c) && (c->result = try_locked(c, &wake)) != -EAGAIN)
            hit = i;
    }
    for (i = 0; i < s->n && hit < 0; i++)
        if (on_channel(&s->cases[i]))
            leave_party(s, i);
    unlock_channels(s);
    hop__party_wake(wake);
    return hit;
}

/* --- futures --- */

/* Leaves a waiter in each future: the number left; *rc is -EBUSY if one is awaited elsewhere. */
static int await_futures(struct selection *s, int *rc)
{
    int i;

    for (i = 0; i < s->n; i++) {
        struct hop__party *p = &s->parties[i];

        if (s->cases[i].kind != CASE_FUTURE)
            continue;
        hop__wait_node_init(&s->wait, &p->node, i);
        switch (hop__future_await(future_of(&s->cases[i]), &p->node.waiter)) {
        case HOP__WAITING:
            continue;
        case HOP__READY:
            hop__selector_claim(&s->selector, i);
            return i;
        case HOP__TAKEN:
            if (hop__selector_claim(&s->selector, s->n)) /* else a channel was first, and has moved an item */
                *rc = -EBUSY;
            return i;
        }
    }
    return s->n;
}

/* --- the sleep --- */

/* Some future's waiter came: it decides, unless a channel was first. */
static void claim_for_futures(struct selection *s)
{
    int i;

    for (i = 0; i < s->n; i++)
        if (s->cases[i].kind == CASE_FUTURE && hop__wait_has(&s->wait, i) && hop__selector_claim(&s->selector, i))
            return;
}

/* It was a case that ended the sleep, and not the deadline of the task, which came first then. */
static bool after_is_due(const struct selection *s)
{
    return s->after >= 0 && hop__now() >= s->deadline && !(s->wait.task && s->wait.task->deadline <= s->deadline);
}

static int sleep_until_decided(struct selection *s)
{
    while (hop__load(&s->selector.winner, acquire) == HOP__UNDECIDED) {
        int rc = hop__wait_sleep(&s->wait, s->deadline, true);

        if (!rc) {
            claim_for_futures(s);
            continue;
        }
        if (rc == -ETIMEDOUT && after_is_due(s))
            hop__selector_claim(&s->selector, s->after);
        else if (hop__selector_claim(&s->selector, s->n))
            return rc;
    }
    return 0;
}

/* The winner's channel is not looked at: its party is out of the list, and the channel may be freed already. */
static void take_back(struct selection *s, int nfutures)
{
    int i, winner = hop__load(&s->selector.winner, acquire);

    for (i = 0; i < s->n; i++) {
        hop_case *c = &s->cases[i];
        struct hop__party *p = &s->parties[i];
        bool mine = true;

        if (on_channel(c) && i == winner) {
            mine = false;
        } else if (on_channel(c)) {
            pthread_mutex_lock(&c->channel->lock);
            mine = p->queued;
            if (mine)
                hop__party_remove(list_of(c), p);
            pthread_mutex_unlock(&c->channel->lock);
        } else if (c->kind == CASE_FUTURE && i < nfutures) {
            mine = hop__future_withdraw(future_of(c), &p->node.waiter);
        }
        if (!mine)
            hop__wait_for_node(&s->wait, i);
    }
}

static int outcome(struct selection *s)
{
    int i = hop__load(&s->selector.winner, acquire);

    if (on_channel(&s->cases[i]))
        s->cases[i].result = s->parties[i].result;
    else if (s->cases[i].kind == CASE_FUTURE)
        hop__future_peek(future_of(&s->cases[i]), &s->cases[i].result);
    return i;
}

static int wait_for_one(struct selection *s)
{
    int rc = 0, nfutures, hit = try_and_queue(s);

    if (hit >= 0)
        return hit;
    nfutures = await_futures(s, &rc);
    if (!rc)
        rc = sleep_until_decided(s);
    take_back(s, nfutures);
    return rc < 0 ? rc : outcome(s);
}

int hop_select(hop_case *cases, size_t n)
{
    struct selection s;
    int rc = check(cases, n);

    if (rc < 0)
        return rc;
    rc = try_each(cases, (int)n);
    if (rc >= 0)
        return rc;
    s.cases = cases;
    s.n = (int)n;
    find_deadline(&s);
    if (s.after >= 0 && s.cases[s.after].after_ns <= 0)
        return s.after;
    rc = hop__wait_begin(&s.wait);
    if (rc < 0)
        return rc;
    hop__init(&s.selector.winner, HOP__UNDECIDED);
    rc = wait_for_one(&s);
    hop__wait_end(&s.wait);
    return rc;
}
