/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker's deque of forked halves. The owner pushes and pops at the bottom, thieves take the oldest from the top. The
 * owner's usual case is inlined into users' code: hop_fork and hop_take_back in <hop/fork.h>. Here is the rest.
 *
 * Chase and Lev's deque (2005), with the orders of Lê, Pop, Cohen and Zappa Nardelli (2013), and with the owner's
 * fence moved to the thief. The owner's pop stores bottom and then loads top; a thief loads top and then bottom; a
 * full fence between the two on both sides is what keeps them from both taking the last item. Pops are frequent and
 * thefts rare, so the owner's side is a light fence (D3) and the thief's a heavy one (D4): see bridge/atomic.h.
 *     D1 push publishes the item     pairs with  D2 thief may use it
 *     D5 a CAS on top decides who takes the last item
 * A pop's store to bottom repeats D1: a thief may learn of an older item from it.
 *
 * What was pushed last is popped first, so a pop knows its index, and needs not read bottom, which it would wait for.
 * If it finds its item stolen, all older ones are, too: the deque is empty, and bottom becomes top.
 *
 * The buffer has a fixed size: a push on a full deque fails, and the caller runs the item itself. Where light fences do
 * nothing (no membarrier), limit stays below every index: all pushes and pops are slow ones, with full fences.
 */
#ifndef HOP_COMPUTE_DEQUE_H
#define HOP_COMPUTE_DEQUE_H

#include "bridge/atomic.h"

#if defined(HOP_MODEL) && !defined(HOP__DEQUE_FENCE_OWNER)
#define HOP__DEQUE_FENCE_OWNER() hop__fence_light() /* D3; in life limit tells that it needs no instruction */
#endif

#include <hop/fork.h>

#ifndef DEQUE_STEAL
#define DEQUE_STEAL acquire /* D2 */
#endif
#ifndef DEQUE_FENCE_THIEF
#define DEQUE_FENCE_THIEF() hop__fence_heavy() /* D4 */
#endif

enum { HOP__JOB_FORKED = 0, HOP__JOB_DONE = 1 }; /* of a half's state; in between, who stole it */

/* Instead of an index: the deque was full; or it was not, and the pop needs a full fence, too. */
enum { HOP__NOT_FORKED = -1, HOP__FENCED = -2 };

/* sleepers and followers are set by the caller. */
static inline void hop__deque_init(struct hop_worker *d, hop__atomic(struct hop_half *) *items, bool fenced)
{
    hop__init(&d->bottom, (int64_t)0);
    hop__init(&d->top, (int64_t)0);
    d->limit = fenced ? INT64_MIN : HOP__DEQUE_CAPACITY;
    d->items = items;
}

static inline hop_forked hop__deque_push_slowly(struct hop_worker *d, struct hop_half *half)
{
    int64_t bottom = hop__load(&d->bottom, relaxed), top = hop__load(&d->top, acquire);
    bool fenced = d->limit == INT64_MIN;

    if (bottom - top >= HOP__DEQUE_CAPACITY)
        return HOP__NOT_FORKED;
    hop__store(&d->items[bottom & (HOP__DEQUE_CAPACITY - 1)], half, relaxed); /* D1 orders it */
    hop__store(&d->bottom, bottom + 1, HOP__DEQUE_PUBLISH);
    if (!fenced)
        d->limit = top + HOP__DEQUE_CAPACITY;
    return fenced ? HOP__FENCED - bottom : bottom;
}

static inline bool hop__deque_pop_slowly(struct hop_worker *d, hop_forked index)
{
    int64_t top;
    bool ours;

    if (index == HOP__NOT_FORKED)
        return true;
    if (index < 0) {
        index = HOP__FENCED - index;
        hop__store(&d->bottom, index, HOP__DEQUE_PUBLISH);
        hop__fence(seq_cst); /* D3 */
    }
    top = hop__load(&d->top, relaxed);
    if (top < index)
        return true;
    ours = top == index && hop__cas(&d->top, &top, index + 1, seq_cst, relaxed); /* D5: the last one */
    hop__store(&d->bottom, ours ? index + 1 : top, HOP__DEQUE_PUBLISH);
    return ours;
}

/*
 * The oldest item, or NULL if there is none or another was faster.
 *
 * done, if not NULL, becomes HOP__JOB_DONE by the owner: what he pushes after that is not taken. It is asked after
 * D2: who has seen such a push sees that it is done, because D1 published that too. And the CAS below does not
 * succeed for an index that was seen before and pushed anew: to push it again the owner must have popped it as the
 * last item, which moves top.
 */
static inline struct hop_half *hop__deque_steal_thief(struct hop_worker *d, hop__atomic(uint32_t) *done)
{
    int64_t top = hop__load(&d->top, acquire);
    struct hop_half *half;

    if (top >= hop__load(&d->bottom, relaxed)) /* a cheap look before the dear fence */
        return NULL;
    DEQUE_FENCE_THIEF();
    if (top >= hop__load(&d->bottom, DEQUE_STEAL))
        return NULL;
    if (done && hop__load(done, relaxed) == HOP__JOB_DONE)
        return NULL;
    half = hop__load(&d->items[top & (HOP__DEQUE_CAPACITY - 1)], relaxed);
    if (!hop__cas(&d->top, &top, top + 1, seq_cst, relaxed))
        return NULL;
    return half;
}

/* A hint for searchers; after a heavy fence it does not miss what was pushed before an owner's light one. */
static inline bool hop__deque_ready(struct hop_worker *d)
{
    return hop__load(&d->top, relaxed) < hop__load(&d->bottom, relaxed);
}

#endif
