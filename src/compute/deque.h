/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker's deque of forked halves. The owner pushes and pops at the bottom, thieves take the oldest from the top.
 *
 * Chase and Lev's deque (2005), with the orders of Lê, Pop, Cohen and Zappa Nardelli (2013), and with the owner's
 * fence moved to the thief. The owner's pop stores bottom and then loads top; a thief loads top and then bottom; a
 * full fence between the two on both sides is what keeps them from both taking the last item. Pops are frequent and
 * thefts rare, so the owner's side is a light fence (D3) and the thief's a heavy one (D4): see bridge/atomic.h.
 *     D1 push publishes the item     pairs with  D2 thief may use it
 *     D5 a CAS on top decides who takes the last item
 * A pop's store to bottom repeats D1: a thief may learn of an older item from it.
 *
 * The buffer has a fixed size: a push on a full deque fails, and the caller runs the item itself.
 */
#ifndef HOP_COMPUTE_DEQUE_H
#define HOP_COMPUTE_DEQUE_H

#include "bridge/atomic.h"

#ifndef DEQUE_PUBLISH
#define DEQUE_PUBLISH release /* D1 */
#endif
#ifndef DEQUE_STEAL
#define DEQUE_STEAL acquire /* D2 */
#endif
#ifndef DEQUE_FENCE_OWNER
#define DEQUE_FENCE_OWNER() hop__fence_light() /* D3 */
#endif
#ifndef DEQUE_FENCE_THIEF
#define DEQUE_FENCE_THIEF() hop__fence_heavy() /* D4 */
#endif
#ifndef DEQUE_CAPACITY
#define DEQUE_CAPACITY 4096 /* a power of two; models shrink it */
#endif

struct hop__job;

enum { HOP__JOB_FORKED = 0, HOP__JOB_DONE = 1 }; /* of a job's state; in between, who stole it */

struct hop__deque {
    hop__atomic(int64_t) bottom; /* the owner's line */
    int64_t top_seen;            /* the owner's last look at top: never more than top */
    hop__atomic(struct hop__job *) *items;
    char pad0[HOP__CACHE_LINE];
    hop__atomic(int64_t) top; /* the thieves' line */
    char pad1[HOP__CACHE_LINE - sizeof(int64_t)];
};

static inline void hop__deque_init(struct hop__deque *d, hop__atomic(struct hop__job *) *items)
{
    hop__init(&d->bottom, (int64_t)0);
    hop__init(&d->top, (int64_t)0);
    d->top_seen = 0;
    d->items = items;
}

/* False: full. */
static inline bool hop__deque_push_owner(struct hop__deque *d, struct hop__job *job)
{
    int64_t bottom = hop__load(&d->bottom, relaxed);

    if (__builtin_expect(bottom - d->top_seen >= DEQUE_CAPACITY, 0)) {
        d->top_seen = hop__load(&d->top, acquire);
        if (bottom - d->top_seen >= DEQUE_CAPACITY)
            return false;
    }
    hop__store(&d->items[bottom & (DEQUE_CAPACITY - 1)], job, relaxed); /* D1 orders it */
    hop__store(&d->bottom, bottom + 1, DEQUE_PUBLISH);
    return true;
}

/* The newest item, or NULL if thieves have taken all. */
static inline struct hop__job *hop__deque_pop_owner(struct hop__deque *d)
{
    int64_t bottom = hop__load(&d->bottom, relaxed) - 1, top;
    struct hop__job *job;

    hop__store(&d->bottom, bottom, DEQUE_PUBLISH);
    DEQUE_FENCE_OWNER();
    top = hop__load(&d->top, relaxed);
    if (__builtin_expect(top < bottom, 1))
        return hop__load(&d->items[bottom & (DEQUE_CAPACITY - 1)], relaxed);
    job = NULL;
    if (top == bottom && hop__cas(&d->top, &top, top + 1, seq_cst, relaxed)) /* D5: the last one */
        job = hop__load(&d->items[bottom & (DEQUE_CAPACITY - 1)], relaxed);
    hop__store(&d->bottom, bottom + 1, DEQUE_PUBLISH);
    return job;
}

/*
 * The oldest item, or NULL if there is none or another was faster.
 *
 * done, if not NULL, becomes HOP__JOB_DONE by the owner: what he pushes after that is not taken. It is asked after
 * D2: who has seen such a push sees that it is done, because D1 published that too. And the CAS below does not
 * succeed for an index that was seen before and pushed anew: to push it again the owner must have popped it as the
 * last item, which moves top.
 */
static inline struct hop__job *hop__deque_steal_thief(struct hop__deque *d, hop__atomic(uint32_t) *done)
{
    int64_t top = hop__load(&d->top, acquire);
    struct hop__job *job;

    if (top >= hop__load(&d->bottom, relaxed)) /* a cheap look before the dear fence */
        return NULL;
    DEQUE_FENCE_THIEF();
    if (top >= hop__load(&d->bottom, DEQUE_STEAL))
        return NULL;
    if (done && hop__load(done, relaxed) == HOP__JOB_DONE)
        return NULL;
    job = hop__load(&d->items[top & (DEQUE_CAPACITY - 1)], relaxed);
    if (!hop__cas(&d->top, &top, top + 1, seq_cst, relaxed))
        return NULL;
    return job;
}

/* A hint for searchers; after a heavy fence it does not miss what was pushed before an owner's light one. */
static inline bool hop__deque_ready(struct hop__deque *d)
{
    return hop__load(&d->top, relaxed) < hop__load(&d->bottom, relaxed);
}

#endif
