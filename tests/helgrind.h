/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What helgrind has to be told of the tests (--enable-helgrind): their own atomics, as src/bridge/helgrind.h tells it
 * of the library's; and that what libevent keeps for the whole process is libevent's affair: it has a flag there that
 * says "too late for the debug mode", which each call of event_assign and event_del sets again, on any thread.
 */
#ifndef HOP_TESTS_HELGRIND_H
#define HOP_TESTS_HELGRIND_H

#include <link.h>
#include <stdatomic.h>
#include <string.h>

#include "bridge/atomic.h"

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_compare_exchange_weak
#define atomic_load(p) hop__load(p, seq_cst)
#define atomic_store(p, v) hop__store(p, v, seq_cst)
#define atomic_exchange(p, v) hop__exchange(p, v, seq_cst)
#define atomic_fetch_add(p, v) hop__fetch_add(p, v, seq_cst)
#define atomic_fetch_sub(p, v) hop__fetch_sub(p, v, seq_cst)
#define atomic_compare_exchange_weak(p, expected, v) hop__cas_weak(p, expected, v, seq_cst, seq_cst)

/* Its writable segments: globals, not the heap. */
static inline int forgive_libevent(struct dl_phdr_info *library, size_t bytes, void *arg)
{
    int i;

    (void)bytes, (void)arg;
    for (i = 0; strstr(library->dlpi_name, "libevent") && i < library->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &library->dlpi_phdr[i];

        if (segment->p_type == PT_LOAD && segment->p_flags & PF_W)
            VALGRIND_HG_DISABLE_CHECKING(library->dlpi_addr + segment->p_vaddr, segment->p_memsz);
    }
    return 0;
}

static inline void forgive_libraries(void)
{
    dl_iterate_phdr(forgive_libevent, NULL);
}

#endif
