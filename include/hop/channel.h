/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/channel.h: bounded channels between tasks, threads and jobs, and waiting for the first of several things.
 */
#ifndef HOP_CHANNEL_H
#define HOP_CHANNEL_H

#include <hop/base.h>
#include <hop/future.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hop_channel hop_channel;

/*
 * A channel of capacity items of item_bytes each, copied in and out. Capacity 0 is a rendezvous: a send returns when a
 * receiver has taken the item. item_bytes 0 is a channel of bare signals.
 * Context: anywhere but signal handlers; never suspends.
 * Owns: *out is freed by hop_channel_free.
 * Errors: -EINVAL (null, overflow), -ENOMEM.
 */
HOP_API int hop_channel_new(hop_channel **out, size_t item_bytes, size_t capacity);

/*
 * Frees the channel and the items in it.
 * Context: anywhere; never suspends. NULL is fine.
 * Errors: -EBUSY (somebody waits on it: close it first), and then nothing was freed.
 */
HOP_API int hop_channel_free(hop_channel *channel);

/*
 * Sends a copy of *item; first come, first served.
 * Context: task (suspends while full), plain thread (blocks); in a job or callback: -EWOULDBLOCK if it had to wait.
 * Between plain threads it needs no runtime.
 * Errors: -EPIPE (closed), -ECANCELED, -ETIMEDOUT, -EWOULDBLOCK, -EINVAL.
 */
HOP_API int hop_channel_send(hop_channel *channel, const void *item);

/*
 * Receives into *item: 1, or 0 once the channel is closed and empty.
 * Context and errors: as send, but never -EPIPE.
 */
HOP_API int hop_channel_recv(hop_channel *channel, void *item);

/*
 * The same without waiting: -EAGAIN instead.
 * Context: anywhere but signal handlers.
 */
HOP_API int hop_channel_try_send(hop_channel *channel, const void *item);
HOP_API int hop_channel_try_recv(hop_channel *channel, void *item);

/*
 * Closes the channel: senders get -EPIPE, receivers what is left and then 0. Closing again does nothing.
 * Context: anywhere but signal handlers; never suspends.
 */
HOP_API int hop_channel_close(hop_channel *channel);

/* One thing to wait for. Made by the functions below; result is filled by hop_select for the case it returns. */
typedef struct hop_case {
    int kind;
    int result; /* as the call alone would have returned: recv 1 or 0, send 0 or -EPIPE, a future's result, after: 0 */
    hop_channel *channel;
    void *item;
    hop_future *future;
    hop_ns after_ns;
} hop_case;

enum { HOP_SELECT_MAX = 32 };

static inline hop_case hop_on_recv(hop_channel *channel, void *item)
{
    hop_case c = { 1, 0, channel, item, NULL, 0 };
    return c;
}

static inline hop_case hop_on_send(hop_channel *channel, const void *item)
{
    hop_case c = { 2, 0, channel, (void *)(uintptr_t)item, NULL, 0 };
    return c;
}

static inline hop_case hop_on_future(hop_future *future)
{
    hop_case c = { 3, 0, NULL, NULL, future, 0 };
    return c;
}

static inline hop_case hop_on_after(hop_ns ns)
{
    hop_case c = { 4, 0, NULL, NULL, NULL, ns };
    return c;
}

/*
 * Waits until one of the cases can go on, does it, and returns its index; the others are as if never asked. If several
 * are ready one is taken at random, so that none starves. hop_on_after(0) makes it a poll.
 * Context: task (suspends), plain thread (blocks), job or callback: -EWOULDBLOCK if it had to wait.
 * Owns: items and futures stay the caller's, for the length of the call.
 * Errors: -EINVAL (no cases, more than HOP_SELECT_MAX, a null in a case), -EBUSY (a future awaited elsewhere, or
 * twice here), -ECANCELED, -ETIMEDOUT, -EWOULDBLOCK.
 */
HOP_API int hop_select(hop_case *cases, size_t n);

#ifdef __cplusplus
}
#endif

#endif
