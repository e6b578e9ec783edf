/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"

#include "compute/ending.h"

#if defined(__clang__) && !defined(HOP_TEAM_PTHREAD)
enum { FREES_REGIONS = 1 };
#else
enum { FREES_REGIONS = 0 };
#endif

static const hop_ns moment = 100 * HOP_MS;

static struct hop__ending ending;
static _Thread_local bool is_outside;

static void stay_for_ever(void)
{
    for (;;)
        hop__futex_wait(&ending.over, 1, HOP_FOREVER);
}

void hop__exit_go_out(int n)
{
    if (FREES_REGIONS && !hop__ending_go_out(&ending, n))
        stay_for_ever();
}

void hop__exit_come_back(int n)
{
    if (FREES_REGIONS)
        hop__ending_come_back(&ending, n);
}

void hop__exit_leave(struct hop__worker *w)
{
    if (FREES_REGIONS && !hop__ending_leave(&ending, &w->pool->left, w->left++, w->pool->nworkers))
        stay_for_ever();
    is_outside = true;
}

void hop__exit_return(void)
{
    is_outside = false;
    hop__exit_come_back(1);
}

void hop__exit_forget(void)
{
    hop__store(&ending.outside, 0, relaxed);
}

/* The library's destructors run before those of libomp, which it needs. Who exits from a team turn does not wait. */
static void __attribute__((destructor)) end(void)
{
    hop_ns until = hop__now() + moment;

    hop__ending_begin(&ending);
    while (!is_outside && !hop__ending_quiet(&ending) && hop__now() < until)
        hop__futex_wait(&ending.over, 1, hop__now() + HOP_MS);
}
