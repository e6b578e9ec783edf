/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The only file that includes <stdatomic.h>, and the model-checking switch.
 *
 * Lock-free code is written on these names alone. In the library they are C11 atomics. Under HOP_MODEL (tests/models,
 * C++) the same code runs inside Relacy, which tries interleavings and stale reads under the C11 memory model; hop__var
 * is then data whose races are detected.
 *
 * Orders are written as words: hop__load(&x, acquire). An order that matters has a name of its own, defined beside the
 * protocol (#define INBOX_PUBLISH release), so that a model can weaken that one edge and must then fail.
 *
 * The asymmetric fence: hop__fence_light on the frequent side, hop__fence_heavy on the rare one, order a store before a
 * later load on both sides. Light is a compiler barrier, heavy a membarrier that interrupts every running thread of the
 * process; where the kernel has none, both are full fences.
 */
#ifndef HOP_BRIDGE_ATOMIC_H
#define HOP_BRIDGE_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOP__CACHE_LINE 128 /* two lines: the adjacent-line prefetcher pulls pairs */

#ifdef HOP_MODEL

#include <relacy/relacy.hpp>

#define hop__atomic(type) rl::atomic<type>
#define hop__var(type) rl::var<type>
#define hop__get(p) ((*(p))($))
#define hop__set(p, v) ((*(p))($) = (v))
#define hop__init(p, v) ((p)->store((v), rl::mo_relaxed, $))
#define HOP__MO(order) HOP__MO_(order)
#define HOP__MO_(order) rl::mo_##order
#define hop__load(p, order) ((p)->load(HOP__MO(order), $))
#define hop__store(p, v, order) ((p)->store((v), HOP__MO(order), $))
#define hop__exchange(p, v, order) ((p)->exchange((v), HOP__MO(order), $))
#define hop__fetch_add(p, v, order) ((p)->fetch_add((v), HOP__MO(order), $))
#define hop__fetch_sub(p, v, order) ((p)->fetch_sub((v), HOP__MO(order), $))
#define hop__fetch_or(p, v, order) ((p)->fetch_or((v), HOP__MO(order), $))
#define hop__fetch_and(p, v, order) ((p)->fetch_and((v), HOP__MO(order), $))
#define hop__cas(p, expected, v, order, failure) \
    ((p)->compare_exchange_strong(*(expected), (v), HOP__MO(order), $, HOP__MO(failure), $))
#define hop__cas_weak(p, expected, v, order, failure) \
    ((p)->compare_exchange_weak(*(expected), (v), HOP__MO(order), $, HOP__MO(failure), $))
#define hop__fence(order) (rl::atomic_thread_fence(HOP__MO(order), $))
#ifndef HOP__FENCE_LIGHT
#define HOP__FENCE_LIGHT hop__fence(seq_cst)
#endif
#ifndef HOP__FENCE_HEAVY
#define HOP__FENCE_HEAVY hop__fence(seq_cst)
#endif
#define hop__fence_light() HOP__FENCE_LIGHT
#define hop__fence_heavy() HOP__FENCE_HEAVY
#define hop__pause() rl::yield(1, $)

#else

#include <stdatomic.h>

/* Helgrind has to be told of each operation; nobody else. */
#ifdef HOP_HELGRIND
#include "bridge/helgrind.h"
#else
#define HOP__TELL(p, order, operation) (operation)
#define HOP__TELL_STORE(p, order, operation) (operation)
#endif

#define hop__atomic(type) _Atomic(type)
#define hop__var(type) type
#define hop__get(p) (*(p))
#define hop__set(p, v) (*(p) = (v))
#define HOP__MO(order) HOP__MO_(order)
#define HOP__MO_(order) memory_order_##order
#define hop__init(p, v) HOP__TELL_STORE(p, memory_order_relaxed, atomic_init((p), (v)))
#define hop__load(p, order) HOP__TELL(p, HOP__MO(order), atomic_load_explicit((p), HOP__MO(order)))
#define hop__store(p, v, order) HOP__TELL_STORE(p, HOP__MO(order), atomic_store_explicit((p), (v), HOP__MO(order)))
#define hop__exchange(p, v, order) HOP__TELL(p, HOP__MO(order), atomic_exchange_explicit((p), (v), HOP__MO(order)))
#define hop__fetch_add(p, v, order) HOP__TELL(p, HOP__MO(order), atomic_fetch_add_explicit((p), (v), HOP__MO(order)))
#define hop__fetch_sub(p, v, order) HOP__TELL(p, HOP__MO(order), atomic_fetch_sub_explicit((p), (v), HOP__MO(order)))
#define hop__fetch_or(p, v, order) HOP__TELL(p, HOP__MO(order), atomic_fetch_or_explicit((p), (v), HOP__MO(order)))
#define hop__fetch_and(p, v, order) HOP__TELL(p, HOP__MO(order), atomic_fetch_and_explicit((p), (v), HOP__MO(order)))
#define hop__cas(p, expected, v, order, failure) \
    HOP__TELL(p, HOP__MO(order), \
              atomic_compare_exchange_strong_explicit((p), (expected), (v), HOP__MO(order), HOP__MO(failure)))
#define hop__cas_weak(p, expected, v, order, failure) \
    HOP__TELL(p, HOP__MO(order), \
              atomic_compare_exchange_weak_explicit((p), (expected), (v), HOP__MO(order), HOP__MO(failure)))
#define hop__fence(order) atomic_thread_fence(HOP__MO(order))

extern bool hop__membarrier_missing; /* set once, before the first worker starts (park.c) */
void hop__membarrier(void);

static inline void hop__fence_light(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(hop__membarrier_missing, 0))
        atomic_thread_fence(memory_order_seq_cst);
}

static inline void hop__fence_heavy(void)
{
    if (__builtin_expect(hop__membarrier_missing, 0))
        atomic_thread_fence(memory_order_seq_cst);
    else
        hop__membarrier();
}

static inline void hop__pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

#endif
#endif
