/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guarded stacks: reserved address space, committed as touched, one page at the low end that faults, kept for re-use.
 */
#ifndef HOP_BRIDGE_STACK_H
#define HOP_BRIDGE_STACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct hop__stack {
    char *low;      /* the guard page, then the stack */
    size_t bytes;   /* usable, without the guard */
};

#define HOP__STACK_BYTES_MAX ((size_t)1 << 40)

struct hop__stack_pool {
    pthread_mutex_t lock;
    void *free;         /* a list through the top words of the free stacks */
    unsigned count;
    size_t bytes;       /* of the stacks kept here: the runtime's default size */
};

void hop__stack_pool_open(struct hop__stack_pool *pool, size_t bytes);
void hop__stack_pool_close(struct hop__stack_pool *pool);

/* Errors: -ENOMEM; -EAGAIN when the kernel gives no more mappings (vm.max_map_count). */
int hop__stack_get(struct hop__stack_pool *pool, size_t bytes, struct hop__stack *out);
void hop__stack_put(struct hop__stack_pool *pool, struct hop__stack stack);

static inline bool hop__stack_guards(struct hop__stack s, size_t page, const void *address)
{
    return (const char *)address >= s.low && (const char *)address < s.low + page;
}

/* How guards are made here, for hop_describe. */
const char *hop__stack_guard_kind(void);
size_t hop__page_bytes(void);

#endif
