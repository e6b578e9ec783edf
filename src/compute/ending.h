/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of the process, for a team of OpenMP threads. At exit libomp frees what its regions live on, though other
 * threads are in them, or on their way between two; a call that comes later makes it begin again. So from then on no
 * worker leaves task mode and no thread of ours calls it, and exit waits a moment for those who have left: until all
 * are back, or their team turn has taken too long.
 *
 *     the first worker that leaves            exit
 *     outside += all of the pool's            ending = 1
 *     ending? then it stays for ever: E1      outside > 0? then it waits: E2
 *
 * All four are seq_cst: one of the two sees the other. Who leaves after the first needs no look: it is counted.
 */
#ifndef HOP_COMPUTE_ENDING_H
#define HOP_COMPUTE_ENDING_H

#include "compute/pool.h"

#if defined(__clang__) && !defined(HOP_TEAM_PTHREAD)

/* Around what the OpenMP runtime is called for: n threads. Does not return if the process ends. */
void hop__ending_go_out(int n);
void hop__ending_come_back(int n);

/* A worker leaves task mode, and begins it again. Before the first time all of a pool's have gone out. */
void hop__ending_leave(struct hop__worker *w);
void hop__ending_return(struct hop__worker *w);

void hop__ending_forget(void); /* in a child of fork */

#else

static inline void hop__ending_go_out(int n)
{
    (void)n;
}

static inline void hop__ending_come_back(int n)
{
    (void)n;
}

static inline void hop__ending_leave(struct hop__worker *w)
{
    (void)w;
}

static inline void hop__ending_return(struct hop__worker *w)
{
    (void)w;
}

static inline void hop__ending_forget(void)
{
}

#endif

#endif
