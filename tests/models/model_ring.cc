// SPDX-License-Identifier: BSD-3-Clause
/*
 * bridge/ring.h: every item that was pushed is popped once, whole, and each consumer sees a producer's items in order.
 *
 * Two producers and two consumers, two items each, two cells: each cell is used in two laps.
 */
// mutant: -DRING_PUBLISH=relaxed
// mutant: -DRING_CONSUME=relaxed
// mutant: -DRING_GIVE_BACK=relaxed
// mutant: -DRING_REUSE=relaxed
#include "model.h"

#define HOP__RING_ITEM int
#include "bridge/ring.h"

struct ring_suite : rl::test_suite<ring_suite, 4> {
    struct hop__ring ring;
    struct hop__ring_cell cells[2];
    hop__atomic(unsigned) popped; /* a bit for each item */

    void before()
    {
        hop__ring_init(&ring, cells, 2);
        hop__init(&popped, 0u);
    }

    void produce(int first)
    {
        for (int item = first; item < first + 2; item++)
            while (!hop__ring_push(&ring, item))
                hop__pause();
    }

    void consume()
    {
        int last[2] = {-1, -1}, item;

        for (int i = 0; i < 2; i++) {
            while (!hop__ring_pop(&ring, &item))
                hop__pause();
            RL_ASSERT(item >= 0 && item < 4);
            RL_ASSERT(last[item / 2] < item);
            last[item / 2] = item;
            RL_ASSERT(!(hop__fetch_or(&popped, 1u << item, relaxed) & 1u << item));
        }
    }

    void thread(unsigned id)
    {
        if (id < 2)
            produce(2 * id);
        else
            consume();
    }

    void after()
    {
        RL_ASSERT(hop__load(&popped, relaxed) == 15);
        RL_ASSERT(!hop__ring_ready(&ring));
    }
};

int main()
{
    return !holds<ring_suite>("ring", 300000);
}
