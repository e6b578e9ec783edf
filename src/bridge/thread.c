/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a thread knows of itself, and the one-line report of a stack overflow.
 *
 * The report: a SIGSEGV whose address lies in the guard of the stack that runs here (a task's, or the thread's own
 * when it is one of hop's) is named on standard error; then the earlier handler has its turn, or the default: the
 * program ends as it would have. It runs on an alternate stack, which every thread of hop's has.
 *
 * A thread's own guard is one page, and right below it can be another thread's stack. So a thread that runs jobs gives
 * the lowest part of its stack up for a wider one. The thread may be an OpenMP runtime's and end when that likes, and
 * the C library gives its stack to the next thread: so a key's destructor gives everything back.
 */
#include "config.h"

#include "bridge/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bridge/boundary.h"
#include "bridge/task.h"

_Thread_local struct hop__thread hop__thread_self __attribute__((tls_model("initial-exec"), visibility("hidden")));

struct hop__thread *hop__self(void)
{
    __asm__ volatile("");
    return &hop__thread_self;
}

int *hop_errno_location(void)
{
    __asm__ volatile("");
    return __errno_location();
}

int hop_version(void)
{
    return HOP_VERSION;
}

enum hop_place hop_here(void)
{
    struct hop__thread *self = hop__self();

    if (!self->executor)
        return HOP_OUTSIDE;
    if (self->task)
        return self->executor->place;
    if (self->worker || self->at_home)
        return HOP_JOB;
    return self->executor->place == HOP_TEAM ? HOP_TEAM : HOP_CALLBACK;
}

/* Of the C++ run-time, if the program has one. */
struct hop__exceptions *__cxa_get_globals(void) __attribute__((weak));

void hop__thread_join(struct hop__executor *executor)
{
    struct hop__thread *self = hop__self();

    self->executor = executor;
    self->runtime = executor->runtime;
    self->exceptions = __cxa_get_globals ? __cxa_get_globals() : NULL;
    hop__context_adopt(&self->scheduler);
}

void hop__thread_leave(void)
{
    struct hop__thread *self = hop__self();

    self->executor = NULL;
    self->runtime = NULL;
    self->worker = NULL;
}

/* --- stack overflow --- */

enum { ALTERNATE_BYTES = 32 * 1024 };

static struct sigaction earlier;
static pthread_key_t thread_ends; /* its value is the alternate stack; for threads that end behind our back */
static bool thread_ends_tells;

/* Of the thread's own stack. */
static _Thread_local char *alternate;
static _Thread_local char *thread_low; /* where it ends */
static _Thread_local char *thread_guard; /* what it gave up there; NULL: nothing */

/* One write, so that two threads that overflow at once have a line each. */
struct line {
    char text[256];
    size_t bytes;
};

static void say(struct line *l, const char *what)
{
    while (*what && l->bytes < sizeof l->text)
        l->text[l->bytes++] = *what++;
}

static void say_number(struct line *l, size_t n)
{
    char digits[24], *p = digits + sizeof digits;

    *--p = '\0';
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    say(l, p);
}

static void report(const char *address)
{
    struct hop__task *t = hop__self()->stack_of;
    struct line l;
    ssize_t n;

    l.bytes = 0;
    if (t && hop__stack_guards(t->stack, address)) {
        say(&l, "hop: stack overflow in task '");
        say(&l, t->name ? t->name : "unnamed");
        say(&l, "': its stack has ");
        say_number(&l, t->stack.bytes);
        say(&l, " bytes (HOP_TASK(.stack_bytes = ...) or hop_config.stack_bytes)\n");
    } else if (!t && hop__self()->executor && thread_low && address < thread_low + HOP__GUARD_BYTES &&
               address >= thread_low - HOP__GUARD_BYTES) {
        say(&l, "hop: stack overflow in a job: the thread's stack is full (OMP_STACKSIZE, ulimit -s)\n");
    }
    if (l.bytes) {
        l.text[l.bytes - 1] = '\n'; /* also after a name that is too long */
        n = write(STDERR_FILENO, l.text, l.bytes);
        (void)n;
    }
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    report(info->si_addr);
    if (earlier.sa_flags & SA_SIGINFO) {
        earlier.sa_sigaction(signal, info, context);
        return;
    }
    if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
        earlier.sa_handler(signal);
        return;
    }
    sigaction(signal, &earlier, NULL); /* the fault comes again, without us */
    if (info->si_code <= 0)
        raise(signal); /* it was sent, and would not */
}

static void install(void)
{
    struct sigaction ours;

    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    if (!sigaction(SIGSEGV, NULL, &earlier))
        sigaction(SIGSEGV, &ours, NULL);
}

static void close_at_exit(void *ignored)
{
    struct hop__thread *self = hop__self();

    (void)ignored;
    /* Between two regions an OpenMP runtime may end a thread of the team: a block that asks for fewer, say. */
    if (self->task || (self->executor && self->executor->place != HOP_TEAM))
        hop__boundary_thread_ends();
    hop__overflow_stack_close();
}

void hop__overflow_report_setup(void)
{
    thread_ends_tells = !pthread_key_create(&thread_ends, close_at_exit);
#ifndef HOP__ASAN /* which has a report of its own */
    install();
#else
    (void)install;
#endif
}

static char *own_stack_low(void)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes;

    if (pthread_getattr_np(pthread_self(), &attributes))
        return NULL;
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
    return low;
}

/*
 * Alternate stacks that the kernel would not unmap (stack.c says when that is), for the next threads. The first word
 * links to the next.
 */
static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;
static char *spares;

static char *get_alternate(void)
{
    char *p;

    pthread_mutex_lock(&spares_lock);
    p = spares;
    if (p)
        memcpy(&spares, p, sizeof spares);
    pthread_mutex_unlock(&spares_lock);
    if (p)
        return p;
    p = mmap(NULL, ALTERNATE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void put_alternate(char *p)
{
    if (!munmap(p, ALTERNATE_BYTES))
        return;
    pthread_mutex_lock(&spares_lock);
    memcpy(p, &spares, sizeof spares);
    spares = p;
    pthread_mutex_unlock(&spares_lock);
}

void hop__overflow_stack_open(void)
{
    stack_t stack;

    if (alternate || (!sigaltstack(NULL, &stack) && !(stack.ss_flags & SS_DISABLE)))
        return;
    alternate = get_alternate();
    if (!alternate)
        return;
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = alternate;
    stack.ss_size = ALTERNATE_BYTES;
    sigaltstack(&stack, NULL);
    thread_low = own_stack_low();
    if (thread_ends_tells)
        pthread_setspecific(thread_ends, alternate);
}

void hop__overflow_guard_open(void)
{
    const char *here = __builtin_frame_address(0);

    if (thread_guard || !alternate || !thread_low || (uintptr_t)thread_low % hop__page_bytes() ||
        here - thread_low < 8 * HOP__GUARD_BYTES) /* a stack so small is needed whole */
        return;
    if (!hop__guard_install(thread_low))
        thread_guard = thread_low;
}

void hop__overflow_stack_close(void)
{
    stack_t off;

    if (!alternate)
        return;
    if (thread_guard)
        hop__guard_remove(thread_guard);
    thread_guard = NULL;
    memset(&off, 0, sizeof off);
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, NULL);
    put_alternate(alternate);
    alternate = NULL;
    if (thread_ends_tells)
        pthread_setspecific(thread_ends, NULL);
}
