/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guard by MADV_GUARD_INSTALL (Linux 6.13) is a page-table entry and takes no extra mapping; by mprotect it splits
 * the mapping in two, and a process has 65,530 of those by default.
 */
#include "config.h"

#include "bridge/stack.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bridge/atomic.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { KEPT_MAX = 1024 };

enum guard { GUARD_UNKNOWN, GUARD_MADVISE, GUARD_MPROTECT };
static hop__atomic(int) guard_kind; /* relaxed: every thread that finds out writes the same */

size_t hop__page_bytes(void)
{
    static hop__atomic(size_t) known; /* likewise */
    size_t page = hop__load(&known, relaxed);

    if (!page) {
        page = (size_t)sysconf(_SC_PAGESIZE);
        hop__store(&known, page, relaxed);
    }
    return page;
}

const char *hop__stack_guard_kind(void)
{
    int kind = hop__load(&guard_kind, relaxed);

    return kind == GUARD_MADVISE ? "MADV_GUARD_INSTALL" : kind == GUARD_MPROTECT ? "mprotect" : "nothing yet";
}

static size_t whole_pages(size_t bytes)
{
    size_t page = hop__page_bytes(), least = 16 * 1024;

    return ((bytes < least ? least : bytes) + page - 1) & ~(page - 1);
}

void hop__stack_pool_open(struct hop__stack_pool *pool, size_t bytes)
{
    pthread_mutex_init(&pool->lock, NULL);
    pool->free = NULL;
    pool->count = 0;
    pool->bytes = whole_pages(bytes);
}

/* The last word of a free stack links to the next; it is in the page that a task touches first anyway. */
static void **link_of(char *low, size_t bytes)
{
    return (void **)(low + HOP__GUARD_BYTES + bytes) - 1;
}

void hop__stack_pool_close(struct hop__stack_pool *pool)
{
    while (pool->free) {
        char *low = pool->free;

        pool->free = *link_of(low, pool->bytes);
        munmap(low, HOP__GUARD_BYTES + pool->bytes);
    }
    pthread_mutex_destroy(&pool->lock);
}

int hop__guard_install(char *low)
{
    if (hop__load(&guard_kind, relaxed) != GUARD_MPROTECT) {
        if (!madvise(low, HOP__GUARD_BYTES, MADV_GUARD_INSTALL)) {
            hop__store(&guard_kind, GUARD_MADVISE, relaxed);
            return 0;
        }
        if (errno != ENOMEM) /* the kernel knows it, and had no memory for a page table */
            hop__store(&guard_kind, GUARD_MPROTECT, relaxed);
    }
    return mprotect(low, HOP__GUARD_BYTES, PROT_NONE) ? -EAGAIN : 0;
}

/* The guard may be of either kind: each call does nothing to the other's. */
void hop__guard_remove(char *low)
{
    madvise(low, HOP__GUARD_BYTES, MADV_GUARD_REMOVE);
    mprotect(low, HOP__GUARD_BYTES, PROT_READ | PROT_WRITE);
}

static char *take_free(struct hop__stack_pool *pool)
{
    char *low;

    pthread_mutex_lock(&pool->lock);
    low = pool->free;
    if (low) {
        pool->free = *link_of(low, pool->bytes);
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return low;
}

int hop__stack_get(struct hop__stack_pool *pool, size_t bytes, struct hop__stack *out)
{
    char *low;
    int rc;

    out->bytes = bytes = whole_pages(bytes);
    if (bytes == pool->bytes && (out->low = take_free(pool)))
        return 0;
    low = mmap(NULL, HOP__GUARD_BYTES + bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (low == MAP_FAILED)
        return -ENOMEM;
    rc = hop__guard_install(low);
    if (rc < 0) {
        munmap(low, HOP__GUARD_BYTES + bytes);
        return rc;
    }
    out->low = low;
    return 0;
}

void hop__stack_put(struct hop__stack_pool *pool, struct hop__stack stack)
{
    bool keep = false;

    if (stack.bytes == pool->bytes) {
        pthread_mutex_lock(&pool->lock);
        keep = pool->count < KEPT_MAX;
        if (keep) {
            *link_of(stack.low, stack.bytes) = pool->free;
            pool->free = stack.low;
            pool->count++;
        }
        pthread_mutex_unlock(&pool->lock);
    }
    if (!keep)
        munmap(stack.low, HOP__GUARD_BYTES + stack.bytes);
}
