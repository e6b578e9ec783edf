/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guarded stacks: reserved address space, committed as touched, a low end that faults, kept for re-use.
 */
#ifndef HOP_BRIDGE_STACK_H
#define HOP_BRIDGE_STACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Wider than a page, because a function whose frame is larger than the guard can step over it, and write to what lies
 * below, unless it was compiled with -fstack-clash-protection. A multiple of every page size.
 */
enum { HOP__GUARD_BYTES = 64 * 1024 };

struct hop__stack {
    char *low;      /* the guard, then the stack */
    size_t bytes;   /* usable, without the guard */
};

#define HOP__STACK_BYTES_MAX ((size_t)1 << 40)

struct hop__stack_pool {
    pthread_mutex_t lock;
    struct hop__idle_stack *free;    /* kept for re-use: of the default size */
    struct hop__idle_stack *refused; /* of any size: the kernel would not unmap them yet */
    unsigned count;                  /* in free */
    size_t bytes;                    /* the runtime's default size */
};

void hop__stack_pool_open(struct hop__stack_pool *pool, size_t bytes);
void hop__stack_pool_close(struct hop__stack_pool *pool);

/* Errors: -ENOMEM; -EAGAIN when the kernel gives no more mappings (vm.max_map_count). */
int hop__stack_get(struct hop__stack_pool *pool, size_t bytes, struct hop__stack *out);
void hop__stack_put(struct hop__stack_pool *pool, struct hop__stack stack);

static inline bool hop__stack_guards(struct hop__stack s, const void *address)
{
    return (const char *)address >= s.low && (const char *)address < s.low + HOP__GUARD_BYTES;
}

/* Makes HOP__GUARD_BYTES from low on fault, where nothing is in use: 0 or -EAGAIN. And makes them memory again. */
int hop__guard_install(char *low);
void hop__guard_remove(char *low);

/* How guards are made here, for hop_describe. */
const char *hop__stack_guard_kind(void);
size_t hop__page_bytes(void);

#endif
