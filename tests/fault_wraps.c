/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wrappers: each call of FAULT_CALLS asks whether it is to fail now, and is the real one otherwise. What is
 * acquired is kept by its pointer until it is given back, so that what leaks can be named.
 *
 * The linker sends every call that is linked statically here, the scenarios' own too; those call __real_NAME. The C
 * library, libevent, hwloc and OpenMP runtimes call their own.
 */
#include "fault.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <hwloc.h>
#include <hwloc/linux.h>

const struct fault_call fault_calls[FAULT_COUNT] = {
#define FAULT_ROW(name, ...) { #name, { __VA_ARGS__ } },
    FAULT_CALLS(FAULT_ROW)
#undef FAULT_ROW
};

struct fault_run *fault_run;
struct fault_site *fault_sites;
int fault_places;

extern const char __executable_start[]; /* by the linker */

/* --- sites --- */

static void found(struct fault_site *site, uintptr_t address, int call)
{
    site->address = address;
    site->call = call;
    site->found_in = fault_run->scenario;
    site->found_after = fault_run->plant;
}

static int site_of(int call, const void *address)
{
    uint64_t offset = (uint64_t)((const char *)address - __executable_start), key = (offset + 1) << 8 | (unsigned)call;
    unsigned i = (unsigned)(key * UINT64_C(0x9E3779B97F4A7C15) >> 54);

    for (;; i++) {
        struct fault_site *site = &fault_sites[i &= FAULT_SITES_MAX - 1];
        uint64_t none = 0;

        if (atomic_load(&site->key) == key)
            return (int)i;
        if (atomic_compare_exchange_strong(&site->key, &none, key)) {
            found(site, offset, call);
            return (int)i;
        }
        if (none == key)
            return (int)i;
    }
}

int fault_source(int call)
{
    switch (call) {
    case FAULT_malloc:
    case FAULT_calloc:
    case FAULT_realloc:
    case FAULT_aligned_alloc:
    case FAULT_posix_memalign:
    case FAULT_mmap:
    case FAULT_mprotect:
    case FAULT_madvise:
    case FAULT___sched_cpualloc:
    case FAULT_event_new:
    case FAULT_event_add:
    case FAULT_event_config_new:
    case FAULT_hwloc_bitmap_alloc:
        return 1;
    case FAULT_eventfd:
    case FAULT_timerfd_create:
    case FAULT_epoll_create1:
    case FAULT_pipe2:
    case FAULT_open:
    case FAULT_socket:
    case FAULT_accept4:
    case FAULT_fopen:
    case FAULT_opendir:
        return 2;
    case FAULT_pthread_create:
        return 3;
    default:
        return 0;
    }
}

static int exhausted(int source)
{
    return source == 1 ? ENOMEM : source == 2 ? EMFILE : EAGAIN;
}

static bool comes(const struct fault_plant *plant, int site, int nth)
{
    return site == plant->site && nth == plant->nth;
}

/* Everything that takes from the same source, once it has run out. */
static bool is_out(const struct fault_run *run, int call)
{
    int source = fault_source(call);

    return run->plant.mode == FAULT_FROM_THERE_ON && atomic_load(&run->tripped) && source &&
           source == fault_source(fault_sites[run->plant.site].call);
}

static _Thread_local bool owes_barrier;

/* The barrier stands for a fence: what comes next is it again. */
static void look_for_barrier(int call)
{
    if (owes_barrier && call != FAULT_syscall_membarrier_expedited)
        atomic_fetch_add(&fault_run->owed, 1);
    owes_barrier = false;
}

/* The error that this call is to give, or 0. */
static int fault(int call, const void *address, int *at)
{
    struct fault_run *run = fault_run;
    int site, nth;

    *at = -1;
    if (!run)
        return 0;
    *at = site = site_of(call, address);
    nth = atomic_fetch_add(&run->calls[site], 1) + 1;
    look_for_barrier(call);
    if (!atomic_load(&run->armed))
        return 0;
    if (comes(&run->leads, site, nth))
        return run->leads.error.error;
    if (comes(&run->plant, site, nth)) {
        atomic_store(&run->tripped, true);
        owes_barrier = call == FAULT_syscall_membarrier_expedited;
        return run->plant.error.error;
    }
    return is_out(run, call) ? exhausted(fault_source(call)) : 0;
}

void fault_relent(void)
{
    atomic_store(&fault_run->armed, false);
}

/* --- what is held --- */

enum { HELD_MAX = 1 << 14 };

static struct {
    const void *pointer;
    int site;
} held[HELD_MAX];
static int held_end;
static atomic_flag held_lock = ATOMIC_FLAG_INIT;

static void lock_held(void)
{
    while (atomic_flag_test_and_set(&held_lock))
        sched_yield();
}

static void unlock_held(void)
{
    atomic_flag_clear(&held_lock);
}

static void *hold(void *pointer, int site)
{
    int i;

    if (site < 0 || !pointer || pointer == MAP_FAILED)
        return pointer;
    lock_held();
    for (i = 0; i < held_end && held[i].pointer; i++)
        ;
    if (i == HELD_MAX)
        abort();
    held[i].pointer = pointer;
    held[i].site = site;
    held_end = i < held_end ? held_end : i + 1;
    unlock_held();
    return pointer;
}

static void release(const void *pointer)
{
    int i;

    if (!fault_run || !pointer)
        return;
    lock_held();
    for (i = 0; i < held_end; i++)
        if (held[i].pointer == pointer)
            held[i].pointer = NULL;
    while (held_end > 0 && !held[held_end - 1].pointer)
        held_end--;
    unlock_held();
}

int fault_held(int site)
{
    int i, n = 0;

    lock_held();
    for (i = 0; i < held_end; i++)
        n += held[i].pointer && held[i].site == site;
    unlock_held();
    return n;
}

/* --- the usual wrappers --- */

/* failed is what it returns when it fails, and may use e; got is done with what the real one gave, which is r. */
#define WRAP_AS(name, type, parameters, arguments, failed, got) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters \
    { \
        int at, e = fault(FAULT_##name, __builtin_return_address(0), &at); \
        type r; \
        if (e) { \
            errno = e; \
            return failed; \
        } \
        r = __real_##name arguments; \
        (void)at; \
        got; \
        return r; \
    }

#define WRAP(name, type, parameters, arguments, failed) WRAP_AS(name, type, parameters, arguments, failed, (void)0)

/* What gives back. */
#define WRAP_BACK(name, parameters, argument) \
    void __real_##name parameters; \
    void __wrap_##name parameters; \
    void __wrap_##name parameters \
    { \
        release(argument); \
        __real_##name(argument); \
    }

WRAP_AS(malloc, void *, (size_t n), (n), NULL, hold(r, at))
WRAP_AS(calloc, void *, (size_t n, size_t each), (n, each), NULL, hold(r, at))
WRAP_AS(aligned_alloc, void *, (size_t to, size_t n), (to, n), NULL, hold(r, at))
WRAP_AS(posix_memalign, int, (void **out, size_t to, size_t n), (out, to, n), e, r ? NULL : hold(*out, at))
WRAP_BACK(free, (void *p), p)
WRAP_AS(mmap, void *, (void *p, size_t n, int prot, int flags, int fd, off_t from), (p, n, prot, flags, fd, from),
        MAP_FAILED, hold(r, at))
WRAP_AS(munmap, int, (void *p, size_t n), (p, n), -1, r ? (void)0 : release(p))
WRAP(mprotect, int, (void *p, size_t n, int prot), (p, n, prot), -1)
WRAP(madvise, int, (void *p, size_t n, int what), (p, n, what), -1)
WRAP_AS(__sched_cpualloc, cpu_set_t *, (size_t n), (n), NULL, hold(r, at))
WRAP_BACK(__sched_cpufree, (cpu_set_t *p), p)

WRAP(pthread_create, int, (pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg), (t, a, fn, arg), e)
WRAP(pthread_atfork, int, (void (*a)(void), void (*b)(void), void (*c)(void)), (a, b, c), e)
WRAP(pthread_getattr_np, int, (pthread_t t, pthread_attr_t *a), (t, a), e)
WRAP(pthread_key_create, int, (pthread_key_t *key, void (*end)(void *)), (key, end), e)
WRAP(pthread_setspecific, int, (pthread_key_t key, const void *value), (key, value), e)
WRAP(pthread_setname_np, int, (pthread_t t, const char *name), (t, name), e)
WRAP(pthread_mutex_trylock, int, (pthread_mutex_t *m), (m), e)
WRAP(pthread_cond_timedwait, int, (pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until), (c, m, until),
     e)
WRAP(dlopen, void *, (const char *name, int how), (name, how), NULL)
WRAP(getpriority, int, (__priority_which_t which, id_t who), (which, who), -1)
WRAP(sched_getaffinity, int, (pid_t pid, size_t n, cpu_set_t *set), (pid, n, set), -1)
WRAP(sigaction, int, (int signal, const struct sigaction *a, struct sigaction *b), (signal, a, b), -1)
WRAP(sigaltstack, int, (const stack_t *a, stack_t *b), (a, b), -1)

WRAP(eventfd, int, (unsigned start, int flags), (start, flags), -1)
WRAP(timerfd_create, int, (clockid_t clock, int flags), (clock, flags), -1)
WRAP(epoll_create1, int, (int flags), (flags), -1)
WRAP(epoll_wait, int, (int fd, struct epoll_event *out, int n, int timeout), (fd, out, n, timeout), -1)
WRAP(pipe2, int, (int *fds, int flags), (fds, flags), -1)
WRAP(fstat, int, (int fd, struct stat *st), (fd, st), -1)
WRAP(poll, int, (struct pollfd *fds, nfds_t n, int timeout), (fds, n, timeout), -1)

WRAP(read, ssize_t, (int fd, void *p, size_t n), (fd, p, n), -1)

WRAP(socket, int, (int family, int type, int protocol), (family, type, protocol), -1)
WRAP(bind, int, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), -1)
WRAP(listen, int, (int fd, int n), (fd, n), -1)
WRAP(accept4, int, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags), -1)
WRAP(getsockopt, int, (int fd, int level, int name, void *p, socklen_t *n), (fd, level, name, p, n), -1)
WRAP(setsockopt, int, (int fd, int level, int name, const void *p, socklen_t n), (fd, level, name, p, n), -1)
WRAP(getsockname, int, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n), -1)
WRAP(clock_nanosleep, int, (clockid_t clock, int flags, const struct timespec *at_, struct timespec *left),
     (clock, flags, at_, left), e)

WRAP(access, int, (const char *path, int mode), (path, mode), -1)
WRAP(readlink, ssize_t, (const char *path, char *out, size_t n), (path, out, n), -1)
WRAP_AS(fopen, FILE *, (const char *path, const char *mode), (path, mode), NULL, hold(r, at))
WRAP_AS(opendir, DIR *, (const char *path), (path), NULL, hold(r, at))
WRAP(readdir, struct dirent *, (DIR *dir), (dir), NULL)
WRAP(fflush, int, (FILE *file), (file), EOF)

WRAP_AS(event_config_new, struct event_config *, (void), (), NULL, hold(r, at))
WRAP_BACK(event_config_free, (struct event_config *config), config)
WRAP_AS(event_base_new_with_config, struct event_base *, (const struct event_config *config), (config), NULL,
        hold(r, at))
WRAP_BACK(event_base_free, (struct event_base *base), base)
WRAP_AS(event_new, struct event *,
        (struct event_base *b, evutil_socket_t fd, short what, event_callback_fn fn, void *arg),
        (b, fd, what, fn, arg), NULL, hold(r, at))
WRAP_BACK(event_free, (struct event *event), event)
WRAP(event_assign, int,
     (struct event *e_, struct event_base *b, evutil_socket_t fd, short what, event_callback_fn fn, void *arg),
     (e_, b, fd, what, fn, arg), -1)
WRAP(event_add, int, (struct event *e_, const struct timeval *timeout), (e_, timeout), -1)
WRAP(event_base_loop, int, (struct event_base *base, int flags), (base, flags), -1)

WRAP_AS(hwloc_topology_init, int, (hwloc_topology_t *t), (t), -1, r ? NULL : hold(*t, at))
WRAP_BACK(hwloc_topology_destroy, (hwloc_topology_t t), t)
WRAP(hwloc_topology_load, int, (hwloc_topology_t t), (t), -1)
WRAP(hwloc_topology_set_flags, int, (hwloc_topology_t t, unsigned long flags), (t, flags), -1)
WRAP(hwloc_topology_set_components, int, (hwloc_topology_t t, unsigned long flags, const char *name), (t, flags, name),
     -1)
WRAP_AS(hwloc_bitmap_alloc, hwloc_bitmap_t, (void), (), NULL, hold(r, at))
WRAP_BACK(hwloc_bitmap_free, (hwloc_bitmap_t set), set)
WRAP(hwloc_bitmap_and, int, (hwloc_bitmap_t a, hwloc_const_bitmap_t b, hwloc_const_bitmap_t c), (a, b, c), -1)
WRAP(hwloc_bitmap_or, int, (hwloc_bitmap_t a, hwloc_const_bitmap_t b, hwloc_const_bitmap_t c), (a, b, c), -1)
WRAP(hwloc_bitmap_copy, int, (hwloc_bitmap_t a, hwloc_const_bitmap_t b), (a, b), -1)
WRAP(hwloc_bitmap_only, int, (hwloc_bitmap_t a, unsigned n), (a, n), -1)
WRAP(hwloc_bitmap_set, int, (hwloc_bitmap_t a, unsigned n), (a, n), -1)
WRAP(hwloc_set_cpubind, int, (hwloc_topology_t t, hwloc_const_cpuset_t set, int flags), (t, set, flags), -1)
WRAP(hwloc_get_cpubind, int, (hwloc_topology_t t, hwloc_cpuset_t set, int flags), (t, set, flags), -1)
WRAP(hwloc_linux_set_tid_cpubind, int, (hwloc_topology_t t, pid_t tid, hwloc_const_cpuset_t set), (t, tid, set), -1)
WRAP(hwloc_linux_get_tid_cpubind, int, (hwloc_topology_t t, pid_t tid, hwloc_cpuset_t set), (t, tid, set), -1)

/* --- those that are different --- */

#define HERE(name) fault(FAULT_##name, __builtin_return_address(0), &(int){ 0 })
#define DECLARE(type, name, ...) \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

static int failing(int e)
{
    errno = e;
    return -1;
}

DECLARE(void *, realloc, void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
    int at, e = fault(FAULT_realloc, __builtin_return_address(0), &at);
    void *r = e ? NULL : __real_realloc(p, n);

    if (r) {
        release(p);
        hold(r, at);
    }
    return r;
}

/* It is closed whatever it says. */
DECLARE(int, close, int fd);
int __wrap_close(int fd)
{
    int e = HERE(close), r = __real_close(fd);

    return e && !r ? failing(e) : r;
}

DECLARE(int, fclose, FILE *file);
int __wrap_fclose(FILE *file)
{
    int e = HERE(fclose), r;

    release(file);
    r = __real_fclose(file);
    return e ? failing(e) : r;
}

DECLARE(int, closedir, DIR *dir);
int __wrap_closedir(DIR *dir)
{
    release(dir);
    return __real_closedir(dir);
}

DECLARE(int, open, const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    int e = HERE(open);

    return e ? failing(e) : __real_open(path, flags); /* hop makes no files */
}

DECLARE(int, fcntl, int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    int e = HERE(fcntl);

    return e ? failing(e) : __real_fcntl(fd, command); /* hop only asks */
}

DECLARE(int, prctl, int option, ...);
int __wrap_prctl(int option, ...)
{
    int e = HERE(prctl);
    unsigned long value;
    va_list rest;

    va_start(rest, option);
    value = va_arg(rest, unsigned long);
    va_end(rest);
    return e ? failing(e) : __real_prctl(option, value, 0, 0, 0);
}

/* A system call for which there is no row. */
static int no_row(long number)
{
    char what[64];

    snprintf(what, sizeof what, "there is a row for system call %ld", number);
    fault_expect(false, what, __LINE__);
    return -1;
}

static int row_of(long number, long first, long second)
{
    switch (number) {
    case SYS_futex:
        return (second & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET ? FAULT_syscall_futex_wait : -1; /* a wake cannot fail */
    case SYS_membarrier:
        return first == MEMBARRIER_CMD_QUERY ? FAULT_syscall_membarrier_query
               : first == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED ? FAULT_syscall_membarrier_register
                                                                    : FAULT_syscall_membarrier_expedited;
    case SYS_sched_getattr:
        return FAULT_syscall_sched_getattr;
    case SYS_sched_setattr:
        return FAULT_syscall_sched_setattr;
    case SYS_write:
        return FAULT_syscall_write;
    case SYS_gettid:
        return -1;
    default:
        return no_row(number);
    }
}

DECLARE(long, syscall, long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list rest;
    int row, e, at;

    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    row = fault_run ? row_of(number, a[0], a[1]) : -1;
    e = row < 0 ? 0 : fault(row, __builtin_return_address(0), &at);
    return e ? failing(e) : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The connection goes on being made. */
DECLARE(int, connect, int fd, const struct sockaddr *to, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t n)
{
    int e = HERE(connect);

    if (e != EINTR && e != EINPROGRESS)
        return e ? failing(e) : __real_connect(fd, to, n);
    return __real_connect(fd, to, n) && errno != EINPROGRESS ? -1 : failing(e);
}

DECLARE(int, getaddrinfo, const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    int at, e = fault(FAULT_getaddrinfo, __builtin_return_address(0), &at), r;

    errno = EMFILE; /* for EAI_SYSTEM */
    r = e ? e : __real_getaddrinfo(host, port, hints, list);
    if (!r)
        hold(*list, at);
    return r;
}

WRAP_BACK(freeaddrinfo, (struct addrinfo *list), list)

/* --- transfers that can be short --- */

#define TRANSFER(name, parameters, arguments, shorter) \
    ssize_t __real_##name parameters; \
    ssize_t __wrap_##name parameters; \
    ssize_t __wrap_##name parameters \
    { \
        int e = HERE(name); \
        if (e > 0) \
            return failing(e); \
        if (e == SHORT) { \
            shorter; \
        } \
        return __real_##name arguments; \
    }

static const struct iovec *one_byte(const struct iovec *iov, int *n)
{
    static _Thread_local struct iovec byte;

    for (; *n > 1 && !iov->iov_len; --*n)
        iov++;
    byte = *iov;
    byte.iov_len = byte.iov_len > 0;
    *n = 1;
    return &byte;
}

static const struct msghdr *one_byte_message(const struct msghdr *m)
{
    static _Thread_local struct msghdr message;
    int n = (int)m->msg_iovlen;

    message = *m;
    message.msg_iov = (struct iovec *)(uintptr_t)one_byte(m->msg_iov, &n);
    message.msg_iovlen = 1;
    return &message;
}

TRANSFER(recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), n = n > 0)
TRANSFER(send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags), n = n > 0)
TRANSFER(recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags),
         m = (struct msghdr *)(uintptr_t)one_byte_message(m))
TRANSFER(sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), m = one_byte_message(m))
TRANSFER(readv, (int fd, const struct iovec *iov, int n), (fd, iov, n), iov = one_byte(iov, &n))
TRANSFER(writev, (int fd, const struct iovec *iov, int n), (fd, iov, n), iov = one_byte(iov, &n))
TRANSFER(preadv2, (int fd, const struct iovec *iov, int n, off_t from, int flags), (fd, iov, n, from, flags),
         iov = one_byte(iov, &n))
TRANSFER(pwritev2, (int fd, const struct iovec *iov, int n, off_t from, int flags), (fd, iov, n, from, flags),
         iov = one_byte(iov, &n))

/* --- files of the C library --- */

static ssize_t line_of(ssize_t (*get)(char **, size_t *, int, FILE *), int e, int at, char **line, size_t *bytes,
                       int end, FILE *file)
{
    char *before = *line;
    ssize_t n = e ? failing(e) : get(line, bytes, end, file);

    if (*line != before) {
        release(before);
        hold(*line, at);
    }
    return n;
}

DECLARE(ssize_t, __getdelim, char **line, size_t *bytes, int end, FILE *file);
ssize_t __wrap___getdelim(char **line, size_t *bytes, int end, FILE *file)
{
    int at, e = fault(FAULT___getdelim, __builtin_return_address(0), &at);

    return line_of(__real___getdelim, e, at, line, bytes, end, file);
}

DECLARE(ssize_t, getline, char **line, size_t *bytes, FILE *file);
ssize_t __wrap_getline(char **line, size_t *bytes, FILE *file)
{
    int at, e = fault(FAULT_getline, __builtin_return_address(0), &at);

    return line_of(__real___getdelim, e, at, line, bytes, '\n', file);
}

#define WRAP_FSCANF(name) \
    int __wrap_##name(FILE *file, const char *format, ...) __attribute__((format(scanf, 2, 3))); \
    int __wrap_##name(FILE *file, const char *format, ...) \
    { \
        int e = HERE(name), n; \
        va_list rest; \
        if (e) \
            return failing(e); \
        va_start(rest, format); \
        n = vfscanf(file, format, rest); \
        va_end(rest); \
        return n; \
    }

WRAP_FSCANF(__isoc99_fscanf)
WRAP_FSCANF(__isoc23_fscanf)

/* --- an OpenMP runtime's places, pretended --- */

/* Weak: a pool of plain threads brings no OpenMP runtime. */
#define WRAP_PLACES(type, name, parameters, arguments, pretended) \
    __attribute__((weak)) type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters \
    { \
        if (fault_places || !__real_##name) \
            return pretended; \
        return __real_##name arguments; \
    }

WRAP_PLACES(int, omp_get_num_places, (void), (), fault_places)
WRAP_PLACES(int, omp_get_place_num_procs, (int place), (place), 1)
WRAP_PLACES(void, omp_get_place_proc_ids, (int place, int *ids), (place, ids), (void)(ids[0] = place))
