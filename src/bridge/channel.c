/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounded channels. A ring of items under a lock, and two lists of parties that wait.
 *
 * Items go by value, straight into a waiting receiver's variable where there is one. A party may wait in several
 * channels at once (select), so who finds it must first claim its selector; one that is claimed already is passed
 * over and left for its owner to remove. A claimed party is out of the list, and its owner does not return before it
 * has been woken: so the waker may use it, after unlocking, until that wake.
 */
#include "config.h"

#include "bridge/channel.h"

#include <stdlib.h>
#include <string.h>

void hop__party_queue(struct hop__party_list *list, struct hop__party *p)
{
    p->next = NULL;
    p->link = list->last;
    *list->last = p;
    list->last = &p->next;
    p->queued = true;
}

void hop__party_remove(struct hop__party_list *list, struct hop__party *p)
{
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    else
        list->last = p->link;
    p->queued = false;
}

/* The first party of the list that can still be claimed, claimed and removed. */
static struct hop__party *claim(struct hop__party_list *list)
{
    struct hop__party *p;

    for (p = list->first; p; p = p->next)
        if (hop__selector_claim(p->selector, p->index)) {
            hop__party_remove(list, p);
            return p;
        }
    return NULL;
}

static void copy(hop_channel *c, void *to, const void *from)
{
    if (c->item_bytes)
        memcpy(to, from, c->item_bytes);
}

static char *slot(hop_channel *c, size_t i)
{
    return c->items + (c->head + i) % c->capacity * c->item_bytes;
}

int hop__channel_send_locked(hop_channel *c, const void *item, struct hop__party **wake)
{
    struct hop__party *receiver;

    if (c->closed)
        return -EPIPE;
    receiver = claim(&c->receivers);
    if (receiver) {
        copy(c, receiver->item, item);
        receiver->result = 1;
        *wake = receiver;
        return 0;
    }
    if (c->count == c->capacity)
        return -EAGAIN;
    copy(c, slot(c, c->count++), item);
    return 0;
}

int hop__channel_recv_locked(hop_channel *c, void *item, struct hop__party **wake)
{
    struct hop__party *sender;

    if (c->count) {
        copy(c, item, slot(c, 0));
        c->head = (c->head + 1) % c->capacity;
        c->count--;
    } else {
        sender = claim(&c->senders);
        if (!sender)
            return c->closed ? 0 : -EAGAIN;
        copy(c, item, sender->item);
        sender->result = 0;
        *wake = sender;
        return 1;
    }
    sender = claim(&c->senders);
    if (sender) {
        copy(c, slot(c, c->count++), sender->item);
        sender->result = 0;
        *wake = sender;
    }
    return 1;
}

int hop_channel_new(hop_channel **out, size_t item_bytes, size_t capacity)
{
    hop_channel *c;

    if (!out || (item_bytes && capacity > (PTRDIFF_MAX - sizeof *c) / item_bytes))
        return -EINVAL;
    c = malloc(sizeof *c + item_bytes * capacity);
    if (!c)
        return -ENOMEM;
    memset(c, 0, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    c->generation = hop__generation;
    c->item_bytes = item_bytes;
    c->capacity = capacity;
    c->senders.last = &c->senders.first;
    c->receivers.last = &c->receivers.first;
    c->items = (char *)(c + 1);
    *out = c;
    return 0;
}

int hop_channel_free(hop_channel *c)
{
    bool busy;

    if (!c)
        return 0;
    if (hop__channel_check(c) < 0)
        return hop__channel_check(c);
    pthread_mutex_lock(&c->lock);
    busy = c->senders.first || c->receivers.first;
    pthread_mutex_unlock(&c->lock);
    if (busy)
        return -EBUSY;
    pthread_mutex_destroy(&c->lock);
    free(c);
    return 0;
}

int hop_channel_try_send(hop_channel *c, const void *item)
{
    struct hop__party *wake = NULL;
    int rc;

    if (!c || (!item && c->item_bytes))
        return -EINVAL;
    rc = hop__channel_check(c);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->lock);
    rc = hop__channel_send_locked(c, item, &wake);
    pthread_mutex_unlock(&c->lock);
    hop__party_wake(wake);
    return rc;
}

int hop_channel_try_recv(hop_channel *c, void *item)
{
    struct hop__party *wake = NULL;
    int rc;

    if (!c || (!item && c->item_bytes))
        return -EINVAL;
    rc = hop__channel_check(c);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->lock);
    rc = hop__channel_recv_locked(c, item, &wake);
    pthread_mutex_unlock(&c->lock);
    hop__party_wake(wake);
    return rc;
}

static int one_case(hop_case c)
{
    int rc = hop_select(&c, 1);

    return rc < 0 ? rc : c.result;
}

int hop_channel_send(hop_channel *c, const void *item)
{
    int rc = hop_channel_try_send(c, item);

    return rc == -EAGAIN ? one_case(hop_on_send(c, item)) : rc;
}

int hop_channel_recv(hop_channel *c, void *item)
{
    int rc = hop_channel_try_recv(c, item);

    return rc == -EAGAIN ? one_case(hop_on_recv(c, item)) : rc;
}

/* Claims who waits in the list and chains them, to be woken after unlocking; the links are theirs no more. */
static struct hop__party *claim_all(struct hop__party_list *list, int result, struct hop__party *chain)
{
    struct hop__party *p;

    while ((p = claim(list))) {
        p->result = result;
        p->next = chain;
        chain = p;
    }
    return chain;
}

int hop_channel_close(hop_channel *c)
{
    struct hop__party *chain;

    if (!c)
        return -EINVAL;
    if (hop__channel_check(c) < 0)
        return hop__channel_check(c);
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    chain = claim_all(&c->receivers, 0, claim_all(&c->senders, -EPIPE, NULL));
    pthread_mutex_unlock(&c->lock);
    while (chain) {
        struct hop__party *p = chain;

        chain = p->next;
        hop__party_wake(p);
    }
    return 0;
}
