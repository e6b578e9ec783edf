/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/hop.h: a hop is a task moving to another executor for the length of a block.
 *
 *     hop_on_cpu { ... }        the next lines run on a pinned worker of the pool
 *     hop_on_team { ... }       ... run alone on the pool's first thread, so that your own OpenMP regions use the whole
 *                               team; keep it short: no job runs meanwhile
 *     hop_on_blocking { ... }   ... run on a thread that may block: for system calls and libraries that do
 *
 * The frame itself moves, so the lines use the same local variables. After the block the task is home again, on its
 * loop.
 *
 * Context: task. In a job, a callback or a plain thread the block runs where it is, which is right for computing and
 * for a thread that may block; hop_here() tells. Nested blocks hop on and come back the way they went.
 * Inside hop_on_cpu and hop_on_blocking calls that wait work, and come back to the same thread; inside hop_on_team they
 * return -EWOULDBLOCK, because the whole pool would wait with them.
 *
 * A task inside hop_on_blocking keeps its thread while it waits there: if all threads of the lane
 * (hop_config.blocking_threads) wait for tasks that need the lane themselves, none goes on.
 *
 * A block ends exactly once however it is left: at its end, or by return, break or goto. break leaves the block, not a
 * loop around it; where that matters use the begin and end functions. A C++ exception may leave it too: the handler
 * runs where the task came from. Do not leave a block by longjmp, nor end the thread inside it.
 *
 * Limits: the lines run in another thread, so gettid(), pthread_self() and thread-local variables differ inside. A
 * compiler may keep the address of a thread-local across the hop: in an executable on x86-64 it does not, in a shared
 * library compile with -mtls-dialect=gnu2 or use hop_offload, where no frame moves. A pthread mutex must be unlocked on
 * the side of the hop where it was locked. clang asks for the thread's OpenMP number once a function: a region with a
 * num_threads or proc_bind clause belongs in a function that does not hop, or the clause is lost.
 */
#ifndef HOP_HOP_H
#define HOP_HOP_H

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hop_block {
    void *task;
    void *from;
    int place;
    int once;
} hop_block;

/* Begin and end of the blocks. Every begin needs its end, in the same function, innermost first. */
HOP_API hop_block hop_cpu_begin(void);
HOP_API hop_block hop_team_begin(void);
HOP_API hop_block hop_blocking_begin(void);
HOP_API void hop_block_end(hop_block *block);
#define hop_cpu_end hop_block_end
#define hop_team_end hop_block_end
#define hop_blocking_end hop_block_end

#define hop_on_cpu HOP__BLOCK(hop_cpu_begin)
#define hop_on_team HOP__BLOCK(hop_team_begin)
#define hop_on_blocking HOP__BLOCK(hop_blocking_begin)

#define HOP__BLOCK(begin) HOP__BLOCK_NAMED(begin, HOP__UNIQUE(hop__block))
#define HOP__BLOCK_NAMED(begin, name) \
    for (hop_block name __attribute__((cleanup(hop_block_end))) = begin(); name.once; name.once = 0)

#ifdef __cplusplus
}
#endif

#endif
