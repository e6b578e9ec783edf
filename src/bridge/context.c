/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine-independent half of stack switching: what the tools are told, and the first frame of a stack.
 *
 * This file is built without instrumentation of its own switches: see the no_sanitize attributes.
 */
#include "config.h"

#include "bridge/context.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef HOP__ASAN
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef HOP__TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#endif

#define UNINSTRUMENTED __attribute__((no_sanitize_thread, no_sanitize_address))

#ifdef HOP__ASAN
/*
 * LeakSanitizer looks for pointers in the stack that a thread runs on, so one that somebody comes back to is a root of
 * its own meanwhile. It keeps its roots under a lock that a child of fork would inherit from another thread: so no
 * thread is in there at a fork.
 */
static pthread_mutex_t roots = PTHREAD_MUTEX_INITIALIZER;

static void fork_begins(void)
{
    pthread_mutex_lock(&roots);
}

static void fork_ends(void)
{
    pthread_mutex_unlock(&roots);
}

static void __attribute__((constructor)) watch_forks(void)
{
    pthread_atfork(fork_begins, fork_ends, fork_ends);
}

UNINSTRUMENTED static void becomes_root(struct hop__context *c)
{
    c->root = 1;
    pthread_mutex_lock(&roots);
    __lsan_register_root_region(c->stack, c->stack_bytes);
    pthread_mutex_unlock(&roots);
}

UNINSTRUMENTED static void no_longer_root(struct hop__context *c)
{
    c->root = 0;
    pthread_mutex_lock(&roots);
    __lsan_unregister_root_region(c->stack, c->stack_bytes);
    pthread_mutex_unlock(&roots);
}
#endif

/* Told before the switch: where we are going. leaving: the stack we are on ends here. */
UNINSTRUMENTED static inline void announce(struct hop__context *from, struct hop__context *to, int leaving)
{
#ifdef HOP__ASAN
    if (!leaving)
        becomes_root(from);
    __sanitizer_start_switch_fiber(leaving ? NULL : &from->fake_stack, to->stack, to->stack_bytes);
#endif
#ifdef HOP__TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    (void)from;
    (void)to;
    (void)leaving;
}

/* Told after the switch, on the new stack. */
UNINSTRUMENTED static inline void arrived(struct hop__context *here)
{
#ifdef HOP__ASAN
    __sanitizer_finish_switch_fiber(here->fake_stack, NULL, NULL);
    if (here->root)
        no_longer_root(here);
#endif
    (void)here;
}

#ifdef HOP__UCONTEXT

struct first {
    struct hop__context *context;
    void (*entry)(void *);
    void *arg;
};

/* makecontext passes ints only: the pointer to struct first comes in two halves. */
UNINSTRUMENTED static void start(unsigned high, unsigned low)
{
    struct first f = *(struct first *)(uintptr_t)((uint64_t)high << 32 | low);

    arrived(f.context);
    f.entry(f.arg);
    abort();
}

static void first_frame(struct hop__context *c, void *stack, size_t bytes, void (*entry)(void *), void *arg)
{
    uintptr_t top = ((uintptr_t)stack + bytes - sizeof(struct first)) & ~(uintptr_t)15;
    struct first *f = (struct first *)top;

    *f = (struct first){ c, entry, arg };
    getcontext(&c->user);
    c->user.uc_stack.ss_sp = stack;
    c->user.uc_stack.ss_size = top - (uintptr_t)stack;
    c->user.uc_link = NULL;
    makecontext(&c->user, (void (*)(void))start, 2, (unsigned)((uint64_t)top >> 32), (unsigned)top);
}

UNINSTRUMENTED static inline void machine_switch(struct hop__context *from, struct hop__context *to)
{
    /* It would bring the signal mask of the thread it left, or was made by; the mask is the thread's that runs it. */
    pthread_sigmask(SIG_SETMASK, NULL, &to->user.uc_sigmask);
    swapcontext(&from->user, &to->user);
}

#else

/* In context_*.S. Pushes the callee-saved state, stores the stack pointer, loads the other, pops. */
void hop__machine_switch(void **save, void *load);
/* The return address of a first frame: calls hop__context_start(first callee-saved register). */
void hop__machine_start(void);

struct first {
    struct hop__context *context;
    void (*entry)(void *);
    void *arg;
};

UNINSTRUMENTED void hop__context_start(struct first *f);

UNINSTRUMENTED void hop__context_start(struct first *f)
{
    arrived(f->context);
    f->entry(f->arg);
    abort();
}

static void first_frame(struct hop__context *c, void *stack, size_t bytes, void (*entry)(void *), void *arg)
{
    uintptr_t top = ((uintptr_t)stack + bytes - sizeof(struct first)) & ~(uintptr_t)15;
    struct first *f = (struct first *)top;
    void **sp;

    *f = (struct first){ c, entry, arg };
#if defined(__x86_64__)
    /* As hop__machine_switch leaves it: control words, r15 r14 r13 r12 rbx rbp, return address. */
    sp = (void **)top - 2; /* aligned to 16 at the call */
    sp[0] = sp[1] = NULL; /* the end of every backtrace */
    *--sp = (void *)(uintptr_t)hop__machine_start;
    *--sp = NULL;      /* rbp */
    *--sp = f;         /* rbx */
    sp -= 4;           /* r12 to r15 */
    sp[0] = sp[1] = sp[2] = sp[3] = NULL;
    *--sp = (void *)(uintptr_t)0x0000037f00001f80u; /* x87 control word and MXCSR: the ABI's initial values */
#else
    sp = (void **)top - 20; /* as context_aarch64.S: x19..x30, d8..d15 */
    for (int i = 0; i < 20; i++)
        sp[i] = NULL;
    sp[0] = f;                                       /* x19 */
    sp[11] = (void *)(uintptr_t)hop__machine_start;  /* x30 */
#endif
    c->sp = sp;
}

UNINSTRUMENTED static inline void machine_switch(struct hop__context *from, struct hop__context *to)
{
    hop__machine_switch(&from->sp, to->sp);
}

#endif

void hop__context_make(struct hop__context *c, void *stack, size_t bytes, void (*entry)(void *), void *arg)
{
    c->stack = stack;
    c->stack_bytes = bytes;
    c->fake_stack = NULL;
    c->root = 0;
#ifdef HOP__TSAN
    c->fiber = __tsan_create_fiber(0);
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
    c->valgrind_id = VALGRIND_STACK_REGISTER(stack, (char *)stack + bytes);
#endif
    first_frame(c, stack, bytes, entry, arg);
}

void hop__context_free(struct hop__context *c)
{
#ifdef HOP__TSAN
    __tsan_destroy_fiber(c->fiber);
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
    VALGRIND_STACK_DEREGISTER(c->valgrind_id);
#endif
    (void)c;
}

void hop__context_adopt(struct hop__context *c)
{
    *c = (struct hop__context){ 0 };
#ifdef HOP__TSAN
    c->fiber = __tsan_get_current_fiber();
#endif
#ifdef HOP__ASAN
    {
        /* A switch to where we are tells us the bounds of this stack. */
        const void *bottom;
        size_t bytes;
        void *fake;

        __sanitizer_start_switch_fiber(&fake, __builtin_frame_address(0), 1);
        __sanitizer_finish_switch_fiber(fake, &bottom, &bytes);
        __sanitizer_start_switch_fiber(&fake, bottom, bytes);
        __sanitizer_finish_switch_fiber(fake, NULL, NULL);
        c->stack = bottom;
        c->stack_bytes = bytes;
    }
#endif
}

UNINSTRUMENTED void hop__context_switch(struct hop__context *from, struct hop__context *to)
{
    announce(from, to, 0);
    machine_switch(from, to);
    arrived(from);
}

UNINSTRUMENTED void hop__context_leave(struct hop__context *from, struct hop__context *to)
{
    announce(from, to, 1);
    machine_switch(from, to);
    abort();
}
