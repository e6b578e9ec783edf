/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/base.h: the words every other header uses: functions, time, small integers through void *, version.
 */
#ifndef HOP_BASE_H
#define HOP_BASE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX < UINT64_MAX
#error "hop is for machines with pointers of 64 bits"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define HOP_VERSION_MAJOR 0
#define HOP_VERSION_MINOR 1
#define HOP_VERSION_PATCH 0
#define HOP_VERSION (HOP_VERSION_MAJOR * 10000 + HOP_VERSION_MINOR * 100 + HOP_VERSION_PATCH)

#if defined(__GNUC__)
#define HOP_API __attribute__((visibility("default")))
#define HOP_MUST_CHECK __attribute__((warn_unused_result))
#else
#define HOP_API
#define HOP_MUST_CHECK
#endif

/*
 * A task or a job. Returns 0 or a count, or -Exxx. arg is usually a struct in the caller's frame that carries
 * inputs and outputs; it stays the caller's until the task or job has ended.
 *
 * It ends by returning. In C++ an exception may be thrown and caught inside, across waits and hops too; one that would
 * leave it ends the program (std::terminate, with the frames of the throw still there), also if somebody further down
 * the same stack would catch it: other threads may be at work on the frames between. longjmp may go back to a frame of
 * the same task or job, but not over a hop's begin or end, nor over a call of hop's. pthread_exit, and a pthread_cancel
 * of a thread of hop's, end the program. The same holds for all functions that hop calls.
 */
typedef int hop_fn(void *arg);

/* A time span, or a point of the monotonic clock, in nanoseconds. */
typedef int64_t hop_ns;

#define HOP_NS ((hop_ns)1)
#define HOP_US (1000 * HOP_NS)
#define HOP_MS (1000 * HOP_US)
#define HOP_SEC (1000 * HOP_MS)
#define HOP_FOREVER INT64_MAX

/* A small integer through the void * of a hop_fn, and back. */
static inline void *hop_ptr(int value)
{
    return (void *)(intptr_t)value;
}

static inline int hop_int(void *arg)
{
    return (int)(intptr_t)arg;
}

/*
 * The version of the library that is linked, as HOP_VERSION is that of the header.
 * Context: anywhere, signal handlers too.
 */
HOP_API int hop_version(void);

/*
 * The address of the calling thread's errno, asked anew each time.
 *
 * A function that hops goes on in another thread, and compilers keep the address of errno across calls because the C
 * library declares it constant for a thread. So this header points the errno macro at a function without that promise.
 * hop's own calls return -Exxx; what they leave in errno means nothing, and after a wait or a hop it is what others
 * left there: it is the thread's, not the task's.
 * Context: anywhere, signal handlers too.
 */
HOP_API int *hop_errno_location(void);

#undef errno
#define errno (*hop_errno_location())

/* A new name at each use, so that blocks can be nested without one hiding the other. */
#define HOP__UNIQUE(name) HOP__PASTE(name, __COUNTER__)
#define HOP__PASTE(a, b) HOP__PASTE_(a, b)
#define HOP__PASTE_(a, b) a##b

/*
 * Options come last, as a nullable pointer to a struct that knows its size, so that it can grow: HOP_PAR(.grain = 16).
 * A C++ temporary lives to the end of the full expression, where C has a compound literal.
 */
#ifdef __cplusplus
}

template <typename options> struct hop__temporary {
    options value;
    operator const options *() const { return &value; }
};

#define HOP__OPTIONS(type, ...) (hop__temporary<type>{ { .size = sizeof(type), __VA_ARGS__ } })
#else
#define HOP__OPTIONS(type, ...) (&(const type){ .size = sizeof(type), __VA_ARGS__ })
#endif

#endif
