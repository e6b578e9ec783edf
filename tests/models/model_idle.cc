// SPDX-License-Identifier: BSD-3-Clause
/*
 * A worker's way to sleep, on bridge/park.h, bridge/ring.h and compute/deque.h: between prepare and wait,
 * hop__ring_ready and hop__deque_ready miss nothing that was pushed before an unpark.
 *
 * One waker pushes on the injector, one on its own deque; one sleeper takes both.
 */
// variant: -DMEMBARRIER
// mutant: -DHOP__FENCE_LIGHT=((void)0)
// mutant: -DHOP__FENCE_HEAVY=((void)0)
#include "model.h"

#define HOP__RING_ITEM int
#define HOP__DEQUE_CAPACITY 2
#include "bridge/park.h"
#include "bridge/ring.h"
#include "forker.h"

struct half : hop_half {
    hop__var(int) arg;
};

struct idle_suite : rl::test_suite<idle_suite, 3> {
    kernel futex;
    struct hop__park park;
    struct hop__ring ring;
    struct hop__ring_cell cells[2];
    struct forker deque;
    struct half half;

    void before()
    {
        hop__init(&park.word, 0u);
        hop__ring_init(&ring, cells, 2);
        deque.init();
    }

    void sleep()
    {
        uint32_t key = hop__park_prepare(&park);

        if (hop__ring_ready(&ring) || hop__deque_ready(&deque)) {
            hop__park_cancel(&park, key);
            hop__pause(); /* a push may be half done */
        } else {
            hop__park_wait(&park, key);
        }
    }

    void search()
    {
        int found = 0, item;

        while (found < 2) {
            struct half *stolen = static_cast<struct half *>(hop__deque_steal_thief(&deque, nullptr));

            if (stolen) {
                RL_ASSERT(hop__get(&stolen->arg) == 8);
                found++;
            }
            if (hop__ring_pop(&ring, &item)) {
                RL_ASSERT(item == 7);
                found++;
            }
            if (found < 2)
                sleep();
        }
    }

    void thread(unsigned id)
    {
        if (id == 2) {
            search();
            return;
        }
        if (id == 0) {
            RL_ASSERT(hop__ring_push(&ring, 7));
        } else {
            hop__set(&half.arg, 8);
            RL_ASSERT(hop_fork(&deque, &half, nullptr) >= 0);
        }
        hop__unpark(&park);
    }
};

int main()
{
    return !holds<idle_suite>("idle", 300000);
}
