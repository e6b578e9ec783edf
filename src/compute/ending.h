/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of the process, for a team of OpenMP threads. At exit libomp frees what its regions live on, though other
 * threads are in them, or on their way between two; a call that comes later makes it begin again. So from then on no
 * worker leaves task mode and no thread of ours calls it, and exit waits a moment for those who have left: until all
 * are back, or their team turn has taken too long.
 *
 *     the first worker that leaves            exit
 *     outside += all of the pool's            over = 1
 *     over? then it stays for ever: E1        outside > 0? then it waits: E2
 *
 * These four are seq_cst: one of the two sees the other. Who leaves after the first needs no look, nor any order: the
 * first has counted it before it looked itself. Who comes back (E3) is done with the runtime, which E2 finds.
 */
#ifndef HOP_COMPUTE_ENDING_H
#define HOP_COMPUTE_ENDING_H

#include "bridge/atomic.h"

#ifndef ENDING_COUNT
#define ENDING_COUNT seq_cst /* E1 */
#endif
#ifndef ENDING_OVER
#define ENDING_OVER seq_cst /* E2 */
#endif
#ifndef ENDING_BACK
#define ENDING_BACK release /* E3 */
#endif

struct hop__ending {
    hop__atomic(int) outside;   /* threads that are not where the end may meet them */
    hop__atomic(uint32_t) over; /* futex: nobody wakes who sleeps there */
};

/* n threads go out. False: it is over, and the caller stays where it is for ever. */
static inline bool hop__ending_go_out(struct hop__ending *e, int n)
{
    hop__fetch_add(&e->outside, n, ENDING_COUNT);
    if (!hop__load(&e->over, ENDING_COUNT)) /* E1 */
        return true;
    hop__fetch_sub(&e->outside, n, relaxed);
    return false;
}

static inline void hop__ending_come_back(struct hop__ending *e, int n)
{
    hop__fetch_sub(&e->outside, n, ENDING_BACK); /* E3 */
}

/* One of n that leave in each round; mine is the number of its own rounds. False: as above. */
static inline bool hop__ending_leave(struct hop__ending *e, hop__atomic(uint64_t) *rounds, uint64_t mine, int n)
{
    uint64_t round = mine;

    if (hop__load(rounds, relaxed) != mine)
        return true;
    if (!hop__ending_go_out(e, n))
        return false;
    if (!hop__cas(rounds, &round, mine + 1, relaxed, relaxed))
        hop__ending_come_back(e, n); /* another was first */
    return true;
}

static inline void hop__ending_begin(struct hop__ending *e)
{
    hop__store(&e->over, UINT32_C(1), ENDING_OVER);
}

static inline bool hop__ending_quiet(struct hop__ending *e)
{
    return hop__load(&e->outside, ENDING_OVER) <= 0; /* E2 */
}

#ifndef HOP_MODEL
#include "compute/pool.h"

/* The end of this process, where its OpenMP runtime is libomp; with another these do nothing. */

/* Around what the runtime is called for: n threads. Does not return if the process ends. */
void hop__exit_go_out(int n);
void hop__exit_come_back(int n);

/* A worker leaves task mode, and begins it again. Before the first time all of a pool's have gone out. */
void hop__exit_leave(struct hop__worker *w);
void hop__exit_return(void);

void hop__exit_forget(void); /* in a child of fork */
#endif

#endif
