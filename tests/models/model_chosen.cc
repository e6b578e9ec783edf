// SPDX-License-Identifier: BSD-3-Clause
/*
 * compute/idle.h with bridge/park.h and bridge/ring.h, as the workers of pool.c use them: every item is taken though a
 * producer wakes nobody while somebody searches, and nobody sleeps with a searcher's place.
 *
 * Two workers, one producer of three items. Whoever takes the last item ends the others as the pool's stop does.
 */
// variant: -DMEMBARRIER
// mutant: -DHOP__FENCE_LIGHT=((void)0)
// mutant: -DHOP__FENCE_HEAVY=((void)0)
// mutant: -DNO_CHOSEN_LOOK
// mutant: -DNO_SECOND_LOOK
#include "model.h"

#define HOP__RING_ITEM int
#define HOP__IDLE_WORDS 1
#include "bridge/park.h"
#include "bridge/ring.h"
#include "compute/idle.h"

enum { WORKERS = 2, ITEMS = 3 };

struct chosen_suite : rl::test_suite<chosen_suite, WORKERS + 1> {
    kernel futex;
    struct hop__ring ring;
    struct hop__ring_cell cells[4];
    struct hop__idle idle;
    struct hop__park parks[WORKERS];
    hop__atomic(int) taken;

    void before()
    {
        hop__ring_init(&ring, cells, 4);
        hop__init(&idle.sleepers, 0);
        hop__init(&idle.searching, 0);
        hop__init(&idle.bits[0], (uint64_t)0);
        hop__init(&taken, 0);
        for (auto &park : parks)
            hop__init(&park.word, 0u);
    }

    bool over()
    {
        return hop__load(&taken, acquire) == ITEMS;
    }

    void wake_one()
    {
        int id = hop__idle_choose(&idle, WORKERS, 0);

        if (id >= 0)
            hop__unpark(&parks[id]);
    }

    void take_place_back()
    {
        if (hop__idle_stop_search(&idle) && hop__ring_ready(&ring))
            wake_one();
    }

    bool find()
    {
        int item;

        if (!hop__ring_pop(&ring, &item))
            return false;
        RL_ASSERT(item == 7);
        if (hop__fetch_add(&taken, 1, acq_rel) == ITEMS - 1)
            for (auto &park : parks)
                hop__unpark(&park);
        return true;
    }

    bool sleep(int id)
    {
        hop__idle_enlist(&idle, id);

        uint32_t key = hop__park_prepare(&parks[id]);
        bool stay = over();

#ifndef NO_CHOSEN_LOOK
        stay = stay || hop__idle_chosen(&idle, id);
#endif
#ifndef NO_SECOND_LOOK
        stay = stay || hop__ring_ready(&ring);
#endif
        if (stay)
            hop__park_cancel(&parks[id], key);
        else
            hop__park_wait(&parks[id], key);
        return hop__idle_delist(&idle, id);
    }

    void work(int id)
    {
        bool place = false;

        while (!over()) {
            bool found = find();

            if (place) {
                take_place_back();
                place = false;
            } else if (!found && hop__idle_start_search(&idle, 1)) {
                place = true;
                continue;
            }
            if (!found) {
                place = sleep(id);
                hop__pause(); /* a push may be half done */
            }
        }
        if (place)
            take_place_back();
    }

    void thread(unsigned id)
    {
        if (id < WORKERS) {
            work((int)id);
            return;
        }
        for (int i = 0; i < ITEMS; i++) {
            RL_ASSERT(hop__ring_push(&ring, 7));
            hop__fence_light();
            if (hop__idle_wants_waking(&idle))
                wake_one();
        }
    }

    void after()
    {
        RL_ASSERT(hop__load(&idle.searching, relaxed) == 0);
        RL_ASSERT(hop__load(&idle.sleepers, relaxed) == 0);
    }
};

int main()
{
    return !holds<chosen_suite>("chosen", 300000);
}
