/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who sleeps, who looks for work, and whom to wake.
 *
 * A producer that has shown work wakes somebody only if there are sleepers and nobody searches: a searcher will find
 * it. It chooses a sleeper by taking its bit, and gives it a searcher's place before it calls it, so that a second
 * producer does not wake another for the same work. It chooses the worker of its own CPU last: that one could not begin
 * before the producer stops, and nobody else would be woken meanwhile.
 *
 *     a worker on its way to sleep            a producer
 *     enlist: set the bit                     show the work
 *     hop__park_prepare (heavy fence)         light fence
 *     look: chosen already? work in sight?    sleepers, and nobody searching? take a bit: N1
 *     hop__park_wait                          hop__unpark whom it belongs to
 *     delist: bit gone? then we have a searcher's place
 *
 * "Chosen already?" is needed because the bit can be taken (N1) before prepare: the call then found nobody who may
 * sleep. Without that look the worker would sleep with a searcher's place, and nobody would be woken any more.
 *
 * A searcher that gives up and was the last one looks whether it leaves work behind, and wakes the next. If it has
 * found nothing it goes to sleep by the way above, and so looks again behind the fence: what a producer left because
 * it saw a searcher is found.
 *
 * (A searcher that has found something looks without that fence: it may miss a fork that is still in its owner's store
 * buffer, which then waits for the owner's next fork, or for the owner himself. Nothing is lost but a chance.)
 *
 * All accesses are relaxed: only the fences of the park order them, and the work hands itself over.
 */
#ifndef HOP_COMPUTE_IDLE_H
#define HOP_COMPUTE_IDLE_H

#include "bridge/atomic.h"

#ifndef HOP__IDLE_WORDS
#define HOP__IDLE_WORDS 16 /* of 64 workers each; models shrink it */
#endif

struct hop__idle {
    hop__atomic(int) sleepers;
    hop__atomic(int) searching;
    hop__atomic(uint64_t) bits[HOP__IDLE_WORDS]; /* of the sleepers that may be given work */
};

static inline uint64_t hop__idle_bit(int id)
{
    return UINT64_C(1) << (id % 64);
}

/* Before hop__park_prepare. */
static inline void hop__idle_enlist(struct hop__idle *idle, int id)
{
    hop__fetch_add(&idle->sleepers, 1, relaxed);
    hop__fetch_or(&idle->bits[id / 64], hop__idle_bit(id), relaxed);
}

/* After it. */
static inline bool hop__idle_chosen(struct hop__idle *idle, int id)
{
    return !(hop__load(&idle->bits[id / 64], relaxed) & hop__idle_bit(id));
}

/* True: a producer chose us, and we have a searcher's place. */
static inline bool hop__idle_delist(struct hop__idle *idle, int id)
{
    uint64_t bit = hop__idle_bit(id);

    if (!(hop__fetch_and(&idle->bits[id / 64], ~bit, relaxed) & bit))
        return true;
    hop__fetch_sub(&idle->sleepers, 1, relaxed);
    return false;
}

/* After the work was shown, and a light fence. */
static inline bool hop__idle_wants_waking(struct hop__idle *idle)
{
    return __builtin_expect(hop__load(&idle->sleepers, relaxed) > 0, 0) && !hop__load(&idle->searching, relaxed);
}

static inline bool hop__idle_take(struct hop__idle *idle, int id)
{
    uint64_t bit = hop__idle_bit(id);

    if (!(hop__fetch_and(&idle->bits[id / 64], ~bit, relaxed) & bit)) /* N1 */
        return false;
    hop__fetch_sub(&idle->sleepers, 1, relaxed);
    hop__fetch_add(&idle->searching, 1, relaxed);
    return true;
}

/* One of n workers, and last of all this one (-1: nobody): whom the caller must unpark, or -1. */
static inline int hop__idle_choose(struct hop__idle *idle, int n, int last)
{
    int word;

    for (word = 0; word * 64 < n; word++) {
        uint64_t bits = hop__load(&idle->bits[word], relaxed);

        if (last >= 0 && last / 64 == word)
            bits &= ~hop__idle_bit(last);
        for (; bits; bits &= bits - 1) {
            int id = word * 64 + __builtin_ctzll(bits);

            if (hop__idle_take(idle, id))
                return id;
        }
    }
    if (last >= 0 && hop__idle_take(idle, last))
        return last;
    return -1;
}

/* A searcher's place, unless most are taken. */
static inline bool hop__idle_start_search(struct hop__idle *idle, int most)
{
    if (hop__load(&idle->searching, relaxed) >= most)
        return false;
    hop__fetch_add(&idle->searching, 1, relaxed);
    return true;
}

/* Gives it up. True: it was the last one and somebody sleeps, so the caller wakes one if it leaves work behind. */
static inline bool hop__idle_stop_search(struct hop__idle *idle)
{
    return hop__fetch_sub(&idle->searching, 1, seq_cst) == 1 && hop__load(&idle->sleepers, relaxed) > 0;
}

#endif
