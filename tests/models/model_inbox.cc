// SPDX-License-Identifier: BSD-3-Clause
/*
 * bridge/inbox.h: no letter is lost or changed, all arrive, and no sleep is rung for twice.
 *
 * Two senders and a consumer. The first sender gets its node back and sends it again, so the head can have the same
 * value twice (ABA). The consumer sleeps until the bell rings, or goes on for another reason, as a loop does for a
 * socket or a timer. The bell hands over no data.
 */
// mutant: -DINBOX_PUBLISH=relaxed
// mutant: -DINBOX_TAKE=relaxed
// mutant: -DBLIND_SLEEP
#include "model.h"

#include "bridge/inbox.h"

struct letter {
    struct hop__runnable node;
    hop__var(int) text;
    hop__atomic(int) back;
};

struct inbox_suite : rl::test_suite<inbox_suite, 3> {
    kernel futex;
    struct hop__inbox inbox;
    struct letter letters[2];
    hop__atomic(uint32_t) bell; /* like an eventfd */
    hop__atomic(int) rings;
    int sleeps, read;
    bool distracted;

    void before()
    {
        hop__init(&inbox.head, (struct hop__runnable *)nullptr);
        hop__init(&bell, 0u);
        hop__init(&rings, 0);
        for (auto &l : letters)
            hop__init(&l.back, 0);
        sleeps = read = 0;
        distracted = false;
    }

    void send(struct letter *l, int text)
    {
        hop__set(&l->text, text);
        if (!hop__inbox_push(&inbox, &l->node))
            return;
        hop__fetch_add(&rings, 1, relaxed);
        hop__fetch_add(&bell, 1u, relaxed);
        futex.wake(&bell);
    }

    void doze()
    {
#ifdef BLIND_SLEEP
        hop__store(&inbox.head, HOP__ASLEEP, relaxed);
#else
        if (!hop__inbox_sleep(&inbox))
            return;
#endif
        sleeps++;
        if (!distracted && rl::rand(3) == 0) {
            distracted = true;
            return; /* something else came */
        }
        while (!hop__load(&bell, relaxed))
            futex.wait(&bell, 0);
        hop__exchange(&bell, 0u, relaxed);
    }

    void consume()
    {
        while (read < 3) {
            struct hop__runnable *node = hop__inbox_take(&inbox);

            if (!node)
                doze();
            while (node) {
                struct letter *l = (struct letter *)node;

                node = hop__get(&node->next);
                RL_ASSERT(hop__get(&l->text) == 7 + (int)(l - letters));
                hop__set(&l->text, 0);
                read++;
                hop__store(&l->back, 1, release);
            }
        }
    }

    void thread(unsigned id)
    {
        if (id == 2) {
            consume();
            return;
        }
        send(&letters[id], 7 + id);
        if (id == 0) {
            while (!hop__load(&letters[0].back, acquire))
                hop__pause();
            send(&letters[0], 7);
        }
    }

    void after()
    {
        RL_ASSERT(read == 3);
        RL_ASSERT(hop__load(&rings, relaxed) <= sleeps);
    }
};

int main()
{
    return !holds<inbox_suite>("inbox", 400000);
}
