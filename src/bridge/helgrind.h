/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of atomic.h that tells helgrind of atomics (--enable-helgrind), since it does not know those of C11.
 *
 * It takes an access to an atomic for an access to data, and sees no order between threads but that of the pthread
 * calls. So each operation first says that its word is not data; one that releases says before that what came until
 * here happens before whoever acquires from this word, and one that acquires says so afterwards. A word's releases add
 * up: who acquires from the last is taken to have acquired from all of them, also by a CAS that failed. So helgrind
 * misses what only that hides; ThreadSanitizer does not. Fences order nothing here: no data passes by them alone.
 */
#ifndef HOP_BRIDGE_HELGRIND_H
#define HOP_BRIDGE_HELGRIND_H

#include <valgrind/helgrind.h>

static inline void hop__helgrind_before(const volatile void *word, size_t bytes, memory_order order)
{
    VALGRIND_HG_DISABLE_CHECKING(word, bytes);
    if (order == memory_order_release || order == memory_order_acq_rel || order == memory_order_seq_cst)
        ANNOTATE_HAPPENS_BEFORE(word);
}

static inline void hop__helgrind_after(const volatile void *word, memory_order order)
{
    if (order == memory_order_acquire || order == memory_order_acq_rel || order == memory_order_seq_cst)
        ANNOTATE_HAPPENS_AFTER(word);
}

#define HOP__TELL_STORE(p, order, operation) (hop__helgrind_before((p), sizeof *(p), (order)), (operation))

#define HOP__TELL(p, order, operation) \
    __extension__({ \
        hop__helgrind_before((p), sizeof *(p), (order)); \
        __auto_type hop__value = (operation); \
        hop__helgrind_after((p), (order)); \
        hop__value; \
    })

#endif
