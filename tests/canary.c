/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Canaries: one fault each, by name, made in tasks and jobs. A flavour in which the tool keeps silent proves nothing,
 * so tests/torture/flavours.sh lets it look at these first: it must cry at those with a fault, and not at "fine",
 * "kept" and "below".
 */
#include "config.h"

#include <hop.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int started;
static volatile int shared;
static volatile int beyond = 24;
static volatile char sink;

/* Two that run at once, and of which neither learns anything from the other. */
static int add_without_a_lock(void *arg)
{
    int i;

    (void)arg;
    atomic_fetch_add_explicit(&started, 1, memory_order_relaxed);
    while (atomic_load_explicit(&started, memory_order_relaxed) < 2)
        ;
    for (i = 0; i < 1000; i++) { /* a tool may miss two that are at the very same time */
        shared++;
        sched_yield();
    }
    return 0;
}

static int race(void *arg)
{
    hop_scope scope;
    int i, rc = hop_scope_open(&scope);

    for (i = 0; !rc && i < 2; i++)
        rc = hop_submit(&scope, NULL, add_without_a_lock, arg);
    return rc ? rc : hop_scope_close(&scope);
}

/* What a task that moves carries along in its frame is in order. */
static int fine(void *arg)
{
    int carried = 0;

    (void)arg;
    for (int i = 0; i < 100; i++) {
        hop_on_cpu
            carried++;
        hop_on_blocking
            carried++;
    }
    return carried == 200 ? 0 : -EIO;
}

static int lost(void *arg)
{
    char *block = malloc(1000);

    (void)arg;
    if (block)
        memset(block, 1, 1000);
    sink = block ? block[1] : 0;
    return 0;
}

/* The stack of a sleeping task is the only one that knows of the block when the program ends. */
static int keep(void *arg)
{
    char *volatile block = malloc(1000);

    (void)arg;
    hop_sleep(600 * HOP_SEC);
    free(block);
    return 0;
}

static int kept(void *arg)
{
    int i, rc = 0;

    (void)arg;
    for (i = 0; !rc && i < 10; i++)
        rc = hop_spawn(hop_root(NULL), keep, NULL, NULL);
    hop_yield();
    hop_yield();
    exit(rc ? 1 : 0);
}

/* The same of the stack of the thread that turns the loop, while the program ends in a task. */
static int end_here(void *arg)
{
    (void)arg;
    exit(0);
}

static int overrun(void *arg)
{
    volatile char *block = malloc(24);

    (void)arg;
    if (block)
        block[beyond] = 1;
    free((void *)(uintptr_t)block);
    return 0;
}

static int frame(void *arg)
{
    volatile char here[24];

    (void)arg;
    here[beyond] = 1;
    sink = here[0];
    return 0;
}

static int unset(void *arg)
{
    volatile char here[64];
    volatile char *there = here;

    (void)arg;
    __asm__("" : "+r"(there)); /* so that no compiler sees it */
    if (there[beyond])
        sink = 1;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        hop_fn *fn;
    } canaries[] = {
        { "race", race }, { "fine", fine },   { "lost", lost },   { "kept", kept },
        { "frame", frame }, { "unset", unset }, { "overrun", overrun },
    };
    char *volatile block = NULL;
    size_t i;

    if (argc == 2 && !strcmp(argv[1], "below") && (block = malloc(1000)))
        return hop_run(end_here, NULL, NULL) + !block;
    for (i = 0; argc == 2 && i < sizeof canaries / sizeof *canaries; i++)
        if (!strcmp(argv[1], canaries[i].name))
            return hop_run(canaries[i].fn, NULL, &(hop_config){ .workers = 2 }) < 0;
    fprintf(stderr, "usage: canary race|fine|lost|kept|below|frame|unset|overrun\n");
    return 2;
}
