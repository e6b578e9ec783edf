/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inbox of an executor: anyone pushes, one consumer takes (MPSC), intrusive, with the armed flag in the head.
 *
 *     NULL     empty, the consumer is awake
 *     ASLEEP   empty, the consumer sleeps or is about to: who pushes next owes exactly one wake-up
 *     a node   the newest of a list, linked to the older ones
 *
 * A push is one CAS; a take is one exchange for the whole list. The consumer sleeps only after a CAS from NULL to
 * ASLEEP, so what was pushed before is found, and what is pushed after rings the bell: no wake-up is lost and no second
 * one is sent.
 */
#ifndef HOP_BRIDGE_INBOX_H
#define HOP_BRIDGE_INBOX_H

#include "bridge/waiter.h"

#ifndef INBOX_PUBLISH
#define INBOX_PUBLISH release /* I1, pairs with I2: "the node and what it points to may be used" */
#endif
#ifndef INBOX_TAKE
#define INBOX_TAKE acquire /* I2 */
#endif

struct hop__inbox {
    hop__atomic(struct hop__runnable *) head;
};

#define HOP__ASLEEP ((struct hop__runnable *)(uintptr_t)1)

/* True: the consumer was asleep, and the caller owes it one wake-up. */
static inline bool hop__inbox_push(struct hop__inbox *inbox, struct hop__runnable *node)
{
    struct hop__runnable *old = NULL; /* a guess: to look first would fetch the line twice, to read and to write it */

    do
        hop__set(&node->next, old == HOP__ASLEEP ? (struct hop__runnable *)NULL : old);
    while (!hop__cas_weak(&inbox->head, &old, node, INBOX_PUBLISH, relaxed));
    return old == HOP__ASLEEP;
}

/* Everything that has come, oldest first; NULL if nothing. Also means: awake. Consumer only. */
static inline struct hop__runnable *hop__inbox_take(struct hop__inbox *inbox)
{
    struct hop__runnable *newest, *list = NULL;

    if (!hop__load(&inbox->head, relaxed)) /* empty and awake: the usual case is not worth an exchange */
        return NULL;
    newest = hop__exchange(&inbox->head, (struct hop__runnable *)NULL, INBOX_TAKE);
    if (newest == HOP__ASLEEP)
        return NULL;
    while (newest) {
        struct hop__runnable *older = hop__get(&newest->next);

        hop__set(&newest->next, list);
        list = newest;
        newest = older;
    }
    return list;
}

/* True: asleep, the next push rings. False: something has come. Consumer only. */
static inline bool hop__inbox_sleep(struct hop__inbox *inbox)
{
    struct hop__runnable *empty = NULL;

    return hop__cas(&inbox->head, &empty, HOP__ASLEEP, relaxed, relaxed) || empty == HOP__ASLEEP;
}

/* Whether a take would find something. A hint, for spinning and for the last look before a sleep. */
static inline bool hop__inbox_ready(struct hop__inbox *inbox)
{
    struct hop__runnable *head = hop__load(&inbox->head, relaxed);

    return head && head != HOP__ASLEEP;
}

#endif
