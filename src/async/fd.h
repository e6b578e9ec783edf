/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors: what each loop knows of them (fd.c), and which loops know one (closing.c).
 */
#ifndef HOP_ASYNC_FD_H
#define HOP_ASYNC_FD_H

#include "bridge/wait.h"

struct hop__loop;

/* How a descriptor is read and written. Remembered between calls; io.c says why a stale answer is harmless. */
enum hop__fd_class {
    HOP__FD_UNKNOWN = 0,
    HOP__FD_STREAM, /* can be waited for: socket, pipe, terminal, eventfd... */
    HOP__FD_FILE    /* never says that it would block: regular file, block device: by the blocking lane */
};

/* The class; -EBADF and what else fstat gives. Any thread. */
int hop__fd_class(int fd);
void hop__fd_set_class(int fd, enum hop__fd_class class);

/*
 * In a wait that was begun (bit 0 is used), after a system call at home said EAGAIN: sleeps until something has
 * happened to the descriptor. events: HOP_READABLE, HOP_WRITABLE or both. 0: try again. -EBADF (closed meanwhile),
 * what interrupts a task, -ENOMEM and what epoll gives.
 */
int hop__fd_sleep(struct hop__wait *w, int fd, int events);

/* Closes, after every loop that knows the descriptor has forgotten it. See hop_close. */
int hop__fd_close(int fd);

/* The number has just been given to a new file: whatever is still known of an old one is forgotten. */
void hop__fd_fresh(int fd);

/* The loop's thread: it knows the descriptor no more; who waits gets the result (0: looks again). All: at its end. */
void hop__fd_forget(struct hop__loop *loop, int fd, int result);
void hop__fd_forget_all(struct hop__loop *loop);

/* The loop knows the descriptor from now on, or no longer. Errors: -EBADF (it is being closed), -ENOMEM, -EMFILE. */
int hop__fd_note(struct hop__loop *loop, int fd);
void hop__fd_unnote(struct hop__loop *loop, int fd);

/* A loop enters and leaves the process-wide list; leaving, it forgets everything. Its thread, or when it has none. */
int hop__fd_loop_open(struct hop__loop *loop);
void hop__fd_loop_close(struct hop__loop *loop);

/* In a child of fork, in the handler: no loop knows any descriptor. */
void hop__fd_orphan_begins(void);

#endif
