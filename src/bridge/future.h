/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The completion cell: one word.
 *
 *     EMPTY       nobody waits, nothing came
 *     a waiter    (even, not 0) somebody waits
 *     DONE|result odd: complete; the result is the upper half
 *
 *     EMPTY  --await-->    waiter     by the awaiter, one CAS; publishes the waiter (F1) to the completer (F2)
 *     waiter --withdraw--> EMPTY      by the awaiter, one CAS; it then owns its waiter again
 *     EMPTY  --complete--> DONE       by a completer, one CAS; publishes its work (F3) to the awaiter (F4)
 *     waiter --complete--> DONE       the same; the completer now owes waiter->wake
 *
 * The result travels in the word itself, so after the CAS the completer has no reason to touch the future: the awaiter
 * may have returned from the frame that holds it. And a second completion is harmless: it sees DONE.
 */
#ifndef HOP_BRIDGE_FUTURE_H
#define HOP_BRIDGE_FUTURE_H

#include "bridge/waiter.h"

/* Orders of the labelled edges; a model weakens one at a time. */
#ifndef FUTURE_AWAIT
#define FUTURE_AWAIT release /* F1, pairs with F2: "the waiter may be used" */
#endif
#ifndef FUTURE_COMPLETE
#define FUTURE_COMPLETE acq_rel /* F2 and F3 */
#endif
#ifndef FUTURE_SEE
#define FUTURE_SEE acquire /* F4, pairs with F3: "what was computed may be read" */
#endif

struct hop__future {
    hop__atomic(uint64_t) word;
};

enum { HOP__EMPTY = 0, HOP__DONE = 1 };

static inline int hop__future_result(uint64_t word)
{
    return (int)(int32_t)(uint32_t)(word >> 32);
}

static inline bool hop__future_peek(struct hop__future *f, int *result)
{
    uint64_t word = hop__load(&f->word, FUTURE_SEE);

    if (!(word & HOP__DONE))
        return false;
    *result = hop__future_result(word);
    return true;
}

enum hop__awaited {
    HOP__WAITING, /* the waiter is registered: it will be woken, unless withdrawn */
    HOP__READY,   /* complete already: the waiter was not registered */
    HOP__TAKEN    /* another waiter is there */
};

static inline enum hop__awaited hop__future_await(struct hop__future *f, struct hop__waiter *w)
{
    uint64_t word = HOP__EMPTY;

    if (hop__cas(&f->word, &word, (uint64_t)(uintptr_t)w, FUTURE_AWAIT, relaxed))
        return HOP__WAITING;
    if (!(word & HOP__DONE))
        return HOP__TAKEN;
    (void)hop__load(&f->word, FUTURE_SEE);
    return HOP__READY;
}

/* True: the waiter is the caller's again. False: the completer has it, and its wake is on the way. */
static inline bool hop__future_withdraw(struct hop__future *f, struct hop__waiter *w)
{
    uint64_t word = (uint64_t)(uintptr_t)w;

    return hop__cas(&f->word, &word, (uint64_t)HOP__EMPTY, relaxed, relaxed);
}

/* False: it was complete before. Otherwise *wake is the waiter that the caller must wake, or NULL. */
static inline bool hop__future_complete(struct hop__future *f, int result, struct hop__waiter **wake)
{
    uint64_t done = (uint64_t)(uint32_t)result << 32 | HOP__DONE;
    uint64_t word = HOP__EMPTY; /* a guess: to look first would fetch the line twice, to read and to write it */

    while (!hop__cas_weak(&f->word, &word, done, FUTURE_COMPLETE, relaxed))
        if (word & HOP__DONE)
            return false;
    *wake = (struct hop__waiter *)(uintptr_t)word;
    return true;
}

#ifndef HOP_MODEL
/* Completes and wakes. The future may be gone afterwards. */
static inline bool hop__complete(struct hop__future *f, int result)
{
    struct hop__waiter *w;

    if (!hop__future_complete(f, result, &w))
        return false;
    if (w)
        w->wake(w);
    return true;
}
#endif

#endif
