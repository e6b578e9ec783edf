/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"

#include "compute/ending.h"

#if defined(__clang__) && !defined(HOP_TEAM_PTHREAD)

static const hop_ns moment = 100 * HOP_MS;

static hop__atomic(int) outside; /* threads that are not where the end may meet them */
static hop__atomic(uint32_t) ending; /* futex: nobody wakes who sleeps there */
static _Thread_local bool is_outside;

void hop__ending_go_out(int n)
{
    hop__fetch_add(&outside, n, seq_cst);
    if (!hop__load(&ending, seq_cst)) /* E1 */
        return;
    hop__fetch_sub(&outside, n, relaxed);
    for (;;)
        hop__futex_wait(&ending, 1, HOP_FOREVER);
}

void hop__ending_come_back(int n)
{
    hop__fetch_sub(&outside, n, release);
}

/* In each round all workers of a pool leave. */
void hop__ending_leave(struct hop__worker *w)
{
    struct hop__pool *pool = w->pool;
    uint64_t round = w->left;

    if (hop__load(&pool->left, acquire) == round) {
        hop__ending_go_out(pool->nworkers);
        if (!hop__cas(&pool->left, &round, round + 1, acq_rel, relaxed))
            hop__ending_come_back(pool->nworkers);
    }
    w->left++;
    is_outside = true;
}

void hop__ending_return(struct hop__worker *w)
{
    (void)w;
    is_outside = false;
    hop__ending_come_back(1);
}

void hop__ending_forget(void)
{
    hop__store(&outside, 0, relaxed);
}

/* The library's destructors run before those of libomp, which it needs. Who exits from a team turn does not wait. */
static void __attribute__((destructor)) end(void)
{
    hop_ns until = hop__now() + moment;

    hop__store(&ending, UINT32_C(1), seq_cst);
    while (!is_outside && hop__load(&outside, seq_cst) > 0 && hop__now() < until) /* E2 */
        hop__futex_wait(&ending, 1, hop__now() + HOP_MS);
}

#endif
