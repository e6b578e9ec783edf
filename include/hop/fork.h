/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/fork.h: fork and join with the fast path in the header, for recursions whose steps cost less than a call.
 *
 *     struct right {
 *         hop_half half; // first
 *         long n, result;
 *     };
 *
 *     static void run_right(hop_worker *worker, hop_half *half);
 *
 *     static long fib(hop_worker *worker, long n)
 *     {
 *         struct right right = { .n = n - 2 };
 *         hop_forked forked;
 *         long a, b;
 *
 *         if (n < 2)
 *             return n;
 *         forked = hop_fork(worker, &right.half, run_right); // may be done by anybody from here on
 *         a = fib(worker, n - 1);
 *         if (hop_take_back(worker, forked)) { // by nobody: so do it here, as an ordinary call
 *             b = fib(worker, n - 2);
 *         } else {
 *             hop_join_half(worker, &right.half);
 *             b = right.result;
 *         }
 *         return a + b;
 *     }
 *
 * hop_join is the same in one call. Everything here is for jobs, on the worker that the handle stands for; what was
 * forked last is taken back first, and before the function returns. Nothing else may leave the function in between, no
 * longjmp and no C++ exception: the half is in its frame. <hop.h> does not include this header.
 */
#ifndef HOP_FORK_H
#define HOP_FORK_H

#include <hop/base.h>

#include <stdbool.h>

#if !defined(__cplusplus) || defined(HOP_MODEL)
#define HOP__FORK_INLINE 1
#ifndef hop__atomic /* the library has these names from its own header, the models theirs */
#include <stdatomic.h>
#define hop__atomic(type) _Atomic(type)
#define HOP__MO(order) HOP__MO_(order)
#define HOP__MO_(order) memory_order_##order
#define hop__load(p, order) atomic_load_explicit((p), HOP__MO(order))
#define hop__store(p, v, order) atomic_store_explicit((p), (v), HOP__MO(order))
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hop_worker hop_worker;
typedef struct hop_half hop_half;

/* Does what was forked: half is the first member of a struct of yours. */
typedef void hop_half_fn(hop_worker *worker, hop_half *half);

/* Where the half stands in the worker's deque; negative: not there, or not to be taken back in a hurry. */
typedef int64_t hop_forked;

struct hop_half {
    hop_half_fn *run;
#ifdef HOP__FORK_INLINE
    hop__atomic(uint32_t) state;
#else
    uint32_t state;
#endif
};

/*
 * Runs fn(worker, arg) as a job: on a worker; in a job at once. Where nobody could steal (inside hop_on_team) the
 * handle is one whose forks are all taken back.
 * Context: as hop_join.
 * Owns: arg stays the caller's; the handle is good until fn returns, on that thread.
 * Errors: what fn returned; otherwise as hop_join.
 */
typedef int hop_worker_fn(hop_worker *worker, void *arg);
HOP_API int hop_with_worker(hop_worker_fn *fn, void *arg);

/* Waits for a half that was not taken back, running its descendants meanwhile and nothing else. */
HOP_API void hop_join_half(hop_worker *worker, hop_half *half);

/* For C++, which has no _Atomic: hop_fork and hop_take_back as functions of the library. */
HOP_API hop_forked hop__fork_called(hop_worker *worker, hop_half *half, hop_half_fn *run);
HOP_API bool hop__take_back_called(hop_worker *worker, hop_forked forked);

#ifdef HOP__FORK_INLINE

#ifndef HOP__DEQUE_PUBLISH
#define HOP__DEQUE_PUBLISH release /* D1 of src/compute/deque.h, where the protocol is */
#endif
#ifndef HOP__DEQUE_FENCE_OWNER
#define HOP__DEQUE_FENCE_OWNER() atomic_signal_fence(memory_order_seq_cst) /* D3; see limit */
#endif
#ifndef HOP__DEQUE_CAPACITY
#define HOP__DEQUE_CAPACITY 4096 /* a power of two; models shrink it */
#endif

/* The worker's side that forks: its line of the deque, and who wants to be told of a fork. */
struct hop_worker {
    hop__atomic(int64_t) bottom;
    int64_t limit;                    /* below it there is room, and a light fence is enough */
    hop__atomic(hop_half *) *items;
    hop__atomic(int) *sleepers;       /* of the pool */
    hop__atomic(uint32_t) *followers; /* odd: somebody sleeps until this worker forks */
    char pad0[128];
    hop__atomic(int64_t) top; /* the thieves' line */
    char pad1[128 - sizeof(int64_t)];
};

/* The rare cases. They are functions of the library, not of the interface. */
HOP_API hop_forked hop__fork_slowly(hop_worker *worker, hop_half *half);
HOP_API bool hop__take_back_slowly(hop_worker *worker, hop_forked forked);
HOP_API void hop__fork_tell(hop_worker *worker);

/* Offers the half to whoever is free. */
static inline __attribute__((always_inline)) hop_forked hop_fork(hop_worker *worker, hop_half *half, hop_half_fn *run)
{
    int64_t bottom = hop__load(&worker->bottom, relaxed);

    half->run = run;
    hop__store(&half->state, UINT32_C(0), relaxed);
    if (__builtin_expect(bottom >= worker->limit, 0))
        return hop__fork_slowly(worker, half);
    hop__store(&worker->items[bottom & (HOP__DEQUE_CAPACITY - 1)], half, relaxed); /* D1 orders it */
    hop__store(&worker->bottom, bottom + 1, HOP__DEQUE_PUBLISH);
    HOP__DEQUE_FENCE_OWNER();
    if (__builtin_expect(hop__load(worker->sleepers, relaxed) > 0 || (hop__load(worker->followers, relaxed) & 1), 0))
        hop__fork_tell(worker);
    return bottom;
}

/* True: nobody has it, nor will; do its work yourself. False: somebody does it, and hop_join_half waits for that. */
static inline __attribute__((always_inline)) bool hop_take_back(hop_worker *worker, hop_forked forked)
{
    if (__builtin_expect(forked < 0, 0))
        return hop__take_back_slowly(worker, forked);
    hop__store(&worker->bottom, forked, HOP__DEQUE_PUBLISH);
    HOP__DEQUE_FENCE_OWNER();
    if (__builtin_expect(hop__load(&worker->top, relaxed) < forked, 1))
        return true;
    return hop__take_back_slowly(worker, forked);
}

#else

static inline hop_forked hop_fork(hop_worker *worker, hop_half *half, hop_half_fn *run)
{
    return hop__fork_called(worker, half, run);
}

static inline bool hop_take_back(hop_worker *worker, hop_forked forked)
{
    return hop__take_back_called(worker, forked);
}

#endif

#ifdef __cplusplus
}
#endif

#endif
