/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attempts: system calls that are tried until they do not have to wait. See io.c.
 */
#ifndef HOP_ASYNC_IO_H
#define HOP_ASYNC_IO_H

#include <sys/types.h>

/* In the caller's frame, usually the first member of what run needs. */
struct hop__attempt {
    ssize_t (*run)(struct hop__attempt *); /* never blocks; -EAGAIN: not now. -EINTR: at once again */
    int fd;
    int events; /* what to wait for: HOP_READABLE, HOP_WRITABLE or both */
};

/* Tries, and waits in between, until the answer is not -EAGAIN: that answer, or why it may not wait any longer. */
ssize_t hop__attempt(struct hop__attempt *a);

/* Which of the events are there now: their bits, 0, -EBADF. An error or a hang-up counts as all. */
int hop__poll_now(int fd, int events);

#endif
