/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bounded ring, many producers and many consumers, items by value: the pool's injector.
 *
 * Each cell has a turn. In lap L (0, 1, ...) of the ring, cell i of n is free for its producer while turn == L*n + i,
 * and holds an item for its consumer while turn == L*n + i + 1; the consumer then gives it to the next lap. A position
 * is claimed by a CAS on head or tail; the turn hands the cell itself over:
 *     R1 producer publishes the item    pairs with  R2 consumer may read it
 *     R3 consumer gives the cell back   pairs with  R4 producer may overwrite it
 * Source: D. Vyukov, bounded MPMC queue.
 */
#ifndef HOP_BRIDGE_RING_H
#define HOP_BRIDGE_RING_H

#include "bridge/atomic.h"

#ifndef RING_PUBLISH
#define RING_PUBLISH release /* R1 */
#endif
#ifndef RING_CONSUME
#define RING_CONSUME acquire /* R2 */
#endif
#ifndef RING_GIVE_BACK
#define RING_GIVE_BACK release /* R3 */
#endif
#ifndef RING_REUSE
#define RING_REUSE acquire /* R4 */
#endif

#ifndef HOP_MODEL
#include "bridge/work.h"
#define HOP__RING_ITEM struct hop__work
#endif

struct hop__ring_cell {
    hop__atomic(uint64_t) turn;
    hop__var(HOP__RING_ITEM) item;
};

struct hop__ring {
    struct hop__ring_cell *cells;
    uint64_t mask; /* cells - 1; a power of two */
    char pad0[HOP__CACHE_LINE];
    hop__atomic(uint64_t) tail; /* producers */
    char pad1[HOP__CACHE_LINE];
    hop__atomic(uint64_t) head; /* consumers */
    char pad2[HOP__CACHE_LINE];
};

static inline void hop__ring_init(struct hop__ring *r, struct hop__ring_cell *cells, uint64_t n)
{
    uint64_t i;

    r->cells = cells;
    r->mask = n - 1;
    hop__init(&r->tail, (uint64_t)0);
    hop__init(&r->head, (uint64_t)0);
    for (i = 0; i < n; i++)
        hop__init(&cells[i].turn, i);
}

/* False: full. */
static inline bool hop__ring_push(struct hop__ring *r, HOP__RING_ITEM item)
{
    uint64_t at = hop__load(&r->tail, relaxed); /* a guess: the turn and the CAS check it */

    for (;;) {
        struct hop__ring_cell *cell = &r->cells[at & r->mask];
        int64_t lag = (int64_t)(hop__load(&cell->turn, RING_REUSE) - at);

        if (lag < 0)
            return false;
        if (lag > 0) {
            at = hop__load(&r->tail, relaxed);
        } else if (hop__cas_weak(&r->tail, &at, at + 1, relaxed, relaxed)) {
            hop__set(&cell->item, item);
            hop__store(&cell->turn, at + 1, RING_PUBLISH);
            return true;
        }
    }
}

/* False: empty. */
static inline bool hop__ring_pop(struct hop__ring *r, HOP__RING_ITEM *item)
{
    uint64_t at = hop__load(&r->head, relaxed);

    for (;;) {
        struct hop__ring_cell *cell = &r->cells[at & r->mask];
        int64_t lag = (int64_t)(hop__load(&cell->turn, RING_CONSUME) - (at + 1));

        if (lag < 0)
            return false;
        if (lag > 0) {
            at = hop__load(&r->head, relaxed);
        } else if (hop__cas_weak(&r->head, &at, at + 1, relaxed, relaxed)) {
            *item = hop__get(&cell->item);
            hop__store(&cell->turn, at + r->mask + 1, RING_GIVE_BACK);
            return true;
        }
    }
}

/*
 * Whether a pop would find something: a hint, and after a heavy fence it misses nothing that a producer showed before
 * a light one. It looks where a pop would, not at tail, which is the producers': an item behind one that is claimed but
 * not there yet does not count, and whoever brings that one tells of both.
 */
static inline bool hop__ring_ready(struct hop__ring *r)
{
    uint64_t at = hop__load(&r->head, relaxed);

    return (int64_t)(hop__load(&r->cells[at & r->mask].turn, relaxed) - (at + 1)) >= 0;
}

#endif
