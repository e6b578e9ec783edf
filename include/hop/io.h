/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/io.h: reading and writing file descriptors: sockets, pipes, terminals, regular files.
 *
 * Descriptors are plain ints. A call first tries the system call and waits only if it must; regular files are read
 * and written by the blocking lane. Descriptors need not be non-blocking and their flags are not changed. Close a
 * descriptor that tasks wait on with hop_close, not close(2), which nobody is told of: they would wait on. (A number
 * that was closed by close(2) while nobody waited, and came again, is recognised.)
 *
 * Context of all of these: task (suspends; inside hop_on_cpu it comes back to the same worker), plain thread (blocks),
 * job, hop_on_team and callback: -EWOULDBLOCK.
 * Owns: buffers stay the caller's, and are not touched after the return.
 * Errors of all of these: -ECANCELED, -ETIMEDOUT (hop_within), -EWOULDBLOCK, -EBADF (not open, or closed by hop_close
 * meanwhile), -EINVAL (a null buffer), -ENOMEM, and what the system call gives, negated. SIGPIPE is never raised for a
 * socket; for a pipe it is as the program set it.
 */
#ifndef HOP_IO_H
#define HOP_IO_H

#include <sys/types.h>
#include <sys/uio.h>

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads what there is, at most bytes: the count, 0 at the end. Zero bytes: 0 at once, if the descriptor is open. */
HOP_API ssize_t hop_read(int fd, void *buffer, size_t bytes);
HOP_API ssize_t hop_readv(int fd, const struct iovec *iov, int iovcnt);

/* Writes what fits, at least one byte: the count. */
HOP_API ssize_t hop_write(int fd, const void *buffer, size_t bytes);
HOP_API ssize_t hop_writev(int fd, const struct iovec *iov, int iovcnt);

/*
 * Reads until the buffer is full or the end comes: the count, less than bytes only at the end. After an error some
 * bytes may have been read.
 */
HOP_API ssize_t hop_read_full(int fd, void *buffer, size_t bytes);

/* Writes all of it: bytes, or an error after which some of it may have been written. */
HOP_API ssize_t hop_write_full(int fd, const void *buffer, size_t bytes);

enum { HOP_READABLE = 1, HOP_WRITABLE = 2 };

/*
 * Waits until the descriptor is readable or writable (or both asked: either): the bits that are. An error or a hang-up
 * counts as both. For foreign libraries with descriptors of their own; -EPERM for a regular file.
 */
HOP_API int hop_wait_fd(int fd, int events);

/*
 * Closes a descriptor: tasks that wait on it get -EBADF.
 * Context: anywhere but signal handlers. A task or a plain thread may have to wait until another loop has forgotten the
 * descriptor, or for the close of a regular file; a job or callback never waits: the close then follows by itself.
 * Errors: as close(2); the descriptor is gone in any case but -EBADF.
 */
HOP_API int hop_close(int fd);

#ifdef __cplusplus
}
#endif

#endif
