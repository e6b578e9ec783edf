/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guard by MADV_GUARD_INSTALL (Linux 6.13) is a page-table entry and takes no extra mapping; by mprotect it splits
 * the mapping in two, and a process has 65,530 of those by default.
 *
 * Without extra mappings the kernel merges neighbours into one, and to unmap a stack in the middle it must cut that in
 * two. At the limit it refuses: of 140,000 stacks every second one cannot be given back before some others are. Those
 * that were refused wait in a list, and each stack that is given back later takes some of them along.
 */
#include "config.h"

#include "bridge/stack.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "bridge/atomic.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { KEPT_MAX = 1024, RETRIES = 4 };

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
    pool->free = pool->refused = NULL;
    pool->count = 0;
    pool->bytes = whole_pages(bytes);
}

/* --- stacks that nobody runs on --- */

/* At the top of its stack: in the page that a task touches first anyway. */
struct hop__idle_stack {
    struct hop__idle_stack *next;
    struct hop__stack stack;
};

static struct hop__idle_stack *lay_down(struct hop__stack stack)
{
    struct hop__idle_stack *s = (struct hop__idle_stack *)(stack.low + HOP__GUARD_BYTES + stack.bytes) - 1;

    s->stack = stack;
    return s;
}

static void push(struct hop__idle_stack **list, struct hop__idle_stack *s)
{
    s->next = *list;
    *list = s;
}

static struct hop__idle_stack *pop(struct hop__idle_stack **list)
{
    struct hop__idle_stack *s = *list;

    if (s)
        *list = s->next;
    return s;
}

static bool unmap(struct hop__stack stack)
{
    return !munmap(stack.low, HOP__GUARD_BYTES + stack.bytes);
}

static void give_back(struct hop__stack_pool *pool, struct hop__idle_stack *s)
{
    bool refused;
    int left;

    for (left = RETRIES; s; left--) {
        refused = !unmap(s->stack);
        pthread_mutex_lock(&pool->lock);
        if (refused)
            push(&pool->refused, s);
        s = refused || !left ? NULL : pop(&pool->refused);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Unmaps the list as far as that goes: how many are left. */
static unsigned unmap_all(struct hop__idle_stack **list)
{
    struct hop__idle_stack *s, *rest = NULL;
    unsigned n = 0;

    while ((s = pop(list)))
        if (!unmap(s->stack)) {
            push(&rest, s);
            n++;
        }
    *list = rest;
    return n;
}

void hop__stack_pool_close(struct hop__stack_pool *pool)
{
    struct hop__idle_stack *s;
    unsigned left = UINT_MAX, before;

    while ((s = pop(&pool->free)))
        push(&pool->refused, s);
    do { /* each that goes may let its neighbour go */
        before = left;
        left = unmap_all(&pool->refused);
    } while (left && left < before);
    pthread_mutex_destroy(&pool->lock);
}

/* --- guards --- */

/* An emulator or a sandbox may take advice and do nothing. A call that has to read there tells. */
static bool is_guarded(const char *low)
{
    return access(low, F_OK) < 0 && errno == EFAULT;
}

int hop__guard_install(char *low)
{
    int kind = hop__load(&guard_kind, relaxed);

    if (kind == GUARD_UNKNOWN && RUNNING_ON_VALGRIND) { /* it does not know of the other kind, and reads there itself */
        kind = GUARD_MPROTECT;
        hop__store(&guard_kind, kind, relaxed);
    }
    if (kind != GUARD_MPROTECT) {
        bool taken = !madvise(low, HOP__GUARD_BYTES, MADV_GUARD_INSTALL);

        if (taken && (kind == GUARD_MADVISE || is_guarded(low))) {
            hop__store(&guard_kind, GUARD_MADVISE, relaxed);
            return 0;
        }
        if (taken || errno != ENOMEM) /* the kernel knows it, and had no memory for a page table */
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

/* --- get and put --- */

static bool take_free(struct hop__stack_pool *pool, struct hop__stack *out)
{
    struct hop__idle_stack *s;

    pthread_mutex_lock(&pool->lock);
    s = pop(&pool->free);
    if (s)
        pool->count--;
    pthread_mutex_unlock(&pool->lock);
    if (s)
        *out = s->stack;
    return s;
}

int hop__stack_get(struct hop__stack_pool *pool, size_t bytes, struct hop__stack *out)
{
    int rc;

    bytes = whole_pages(bytes);
    if (bytes == pool->bytes && take_free(pool, out))
        return 0;
    out->bytes = bytes;
    out->low = mmap(NULL, HOP__GUARD_BYTES + bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (out->low == MAP_FAILED)
        return -ENOMEM;
    rc = hop__guard_install(out->low);
    if (rc < 0)
        give_back(pool, lay_down(*out));
    return rc;
}

void hop__stack_put(struct hop__stack_pool *pool, struct hop__stack stack)
{
    struct hop__idle_stack *s = lay_down(stack);
    bool keep = false;

    if (stack.bytes == pool->bytes) {
        pthread_mutex_lock(&pool->lock);
        keep = pool->count < KEPT_MAX;
        if (keep) {
            push(&pool->free, s);
            pool->count++;
        }
        pthread_mutex_unlock(&pool->lock);
    }
    if (!keep)
        give_back(pool, s);
}
