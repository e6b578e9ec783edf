/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels from inside: what select sees of them.
 */
#ifndef HOP_BRIDGE_CHANNEL_H
#define HOP_BRIDGE_CHANNEL_H

#include <pthread.h>

#include <hop/channel.h>

#include "bridge/orphan.h"
#include "bridge/wait.h"

/* One select (or one send or receive, which is a select of one case): the first to claim it decides its outcome. */
struct hop__selector {
    hop__atomic(int) winner; /* HOP__UNDECIDED, or the index of the case that goes on, or n: none */
};

enum { HOP__UNDECIDED = -1 };

static inline bool hop__selector_claim(struct hop__selector *s, int index)
{
    int undecided = HOP__UNDECIDED;

    /* C1: who claims may fill the party's result; C2 is the delivery of its node, which publishes that. */
    return hop__cas(&s->winner, &undecided, index, acq_rel, relaxed);
}

/* A case that waits in a channel. In the frame of its select; in the channel's list while queued, under its lock. */
struct hop__party {
    struct hop__wait_node node;
    struct hop__selector *selector;
    int index;
    int result;
    void *item;
    bool queued;
    struct hop__party *next, **link;
};

struct hop__party_list {
    struct hop__party *first, **last;
};

struct hop_channel {
    pthread_mutex_t lock;
    uint32_t generation; /* of the process that made it (orphan.h) */
    size_t item_bytes, capacity, count, head;
    bool closed;
    struct hop__party_list senders, receivers;
    char *items;
};

/* 0, or -EOWNERDEAD in a child of fork: it is the parent's, and its lock may be held for ever. */
static inline int hop__channel_check(const hop_channel *c)
{
    return c->generation == hop__generation ? 0 : -EOWNERDEAD;
}

/*
 * Under the channel's lock. The result of the call alone, or -EAGAIN if it would have to wait. *wake is then a party
 * that the caller must wake after unlocking, or NULL.
 */
int hop__channel_send_locked(hop_channel *c, const void *item, struct hop__party **wake);
int hop__channel_recv_locked(hop_channel *c, void *item, struct hop__party **wake);

void hop__party_queue(struct hop__party_list *list, struct hop__party *p);
void hop__party_remove(struct hop__party_list *list, struct hop__party *p);

static inline void hop__party_wake(struct hop__party *p)
{
    if (p)
        p->node.waiter.wake(&p->node.waiter);
}

#endif
