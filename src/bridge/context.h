/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stack switching. x86-64 and aarch64 in assembly, ucontext elsewhere (--with-context=ucontext).
 *
 * A switch saves what the ABI lets a callee own, changes the stack pointer, and restores. The sanitizers and valgrind
 * are told of every stack and every switch, so that they follow.
 */
#ifndef HOP_BRIDGE_CONTEXT_H
#define HOP_BRIDGE_CONTEXT_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define HOP__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOP__ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define HOP__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOP__TSAN 1
#endif
#endif

#if defined(HOP_CONTEXT_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))
#define HOP__UCONTEXT 1
#include <ucontext.h>
#endif

struct hop__context {
#ifdef HOP__UCONTEXT
    ucontext_t user;
#else
    void *sp;
#endif
    /* For the sanitizers: the stack, and what they keep while it is not running. */
    const void *stack;
    size_t stack_bytes;
    void *fake_stack;
    int root; /* told to LeakSanitizer */
    void *fiber;
    unsigned valgrind_id;
};

/* Makes a context that, when first switched to, calls entry(arg) on the stack; entry never returns. */
void hop__context_make(struct hop__context *c, void *stack, size_t bytes, void (*entry)(void *), void *arg);

/* Tells the tools that the stack is going away. Not on that stack. */
void hop__context_free(struct hop__context *c);

/* Makes the running thread's own stack a context that can be switched back to, and forgets it. */
void hop__context_adopt(struct hop__context *c);

/* Saves the running state in from, goes on in to; returns when somebody switches to from. */
void hop__context_switch(struct hop__context *from, struct hop__context *to);

/* The same, and from never runs again. */
void hop__context_leave(struct hop__context *from, struct hop__context *to) __attribute__((noreturn));

#endif
