// SPDX-License-Identifier: BSD-3-Clause
/*
 * The owner's side of a deque, as a model uses it: nobody sleeps who wants to be told of a fork.
 */
#ifndef HOP_TESTS_FORKER_H
#define HOP_TESTS_FORKER_H

#include "compute/deque.h"

struct forker : hop_worker {
    hop__atomic(struct hop_half *) places[HOP__DEQUE_CAPACITY];
    hop__atomic(int) nobody;
    hop__atomic(uint32_t) even;

    void init(bool fenced = false)
    {
        hop__deque_init(this, places, fenced);
        hop__init(&nobody, 0);
        hop__init(&even, (uint32_t)0);
        sleepers = &nobody;
        followers = &even;
    }
};

hop_forked hop__fork_slowly(hop_worker *worker, hop_half *half)
{
    return hop__deque_push_slowly(worker, half);
}

bool hop__take_back_slowly(hop_worker *worker, hop_forked forked)
{
    return hop__deque_pop_slowly(worker, forked);
}

void hop__fork_tell(hop_worker *)
{
}

#endif
