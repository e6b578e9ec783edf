/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and writing.
 *
 * Every call is an attempt, a system call that never blocks and gives -EAGAIN instead, and one way to wait, chosen by
 * where the caller is: a task sleeps on its loop (fd.c), a plain thread in poll(2). Whoever may not wait at all gets
 * -EWOULDBLOCK before the first attempt, so that a wrong place shows at once and not only under load. A task that was
 * cancelled, or whose deadline has passed, gets the reason before the first attempt too; what was done is never
 * discarded for it.
 *
 * The flags of a descriptor are not ours, so an attempt must not block whatever they are:
 *     a socket       recv and send with MSG_DONTWAIT; MSG_NOSIGNAL spares the program SIGPIPE
 *     anything else  preadv2 and pwritev2 with RWF_NOWAIT (pipes since Linux 6.4); where the file does not know that,
 *                    poll(2) first and then at most PIPE_BUF bytes, which a writable pipe takes without blocking. If
 *                    somebody else empties the pipe in between, the read does block: such a descriptor has one reader.
 *     a file         never says that it would block, so a task goes to the blocking lane to read or write it.
 *
 * The class of a descriptor is remembered by number, and is harmless when it is stale (the number was closed behind
 * our back and came again as something else). A socket is tried first anyway, except for what is known to be a file;
 * what is known to be a file is looked at again on the lane, where there is time; and a file that is taken for a
 * stream gives its data if it is in the cache, or else is found out when waiting for it gives -EPERM.
 */
#include "config.h"

#include <hop/io.h>

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <hop/hop.h>

#include "async/fd.h"
#include "async/io.h"
#include "async/loop.h"
#include "bridge/wait.h"

/* A task whose calls never have to wait gives way after so many, so that it does not keep the loop to itself. */
enum { IMMEDIATE_MAX = 64 };

/* --- attempts --- */

static struct pollfd pollfd_for(int fd, int events)
{
    short asked = (short)((events & HOP_READABLE ? POLLIN : 0) | (events & HOP_WRITABLE ? POLLOUT : 0));

    return (struct pollfd){ fd, asked, 0 };
}

int hop__poll_now(int fd, int events)
{
    struct pollfd p = pollfd_for(fd, events);
    int n;

    do
        n = poll(&p, 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (p.revents & POLLNVAL)
        return -EBADF;
    if (p.revents & (POLLERR | POLLHUP))
        return events;
    return (p.revents & POLLIN ? HOP_READABLE : 0) | (p.revents & POLLOUT ? HOP_WRITABLE : 0);
}

static ssize_t result(ssize_t n)
{
    return n < 0 ? -errno : n;
}

struct transfer {
    struct hop__attempt attempt;
    const struct iovec *iov;
    int iovcnt;
    bool write;
};

static ssize_t socket_transfer(const struct transfer *x)
{
    struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)x->iov, .msg_iovlen = (size_t)x->iovcnt };
    int fd = x->attempt.fd, flags = MSG_DONTWAIT | MSG_NOSIGNAL;

    if (x->iovcnt > 1)
        return result(x->write ? sendmsg(fd, &m, flags) : recvmsg(fd, &m, flags));
    return result(x->write ? send(fd, x->iov->iov_base, x->iov->iov_len, flags)
                           : recv(fd, x->iov->iov_base, x->iov->iov_len, flags));
}

static ssize_t no_wait_transfer(const struct transfer *x)
{
    return result(x->write ? pwritev2(x->attempt.fd, x->iov, x->iovcnt, -1, RWF_NOWAIT)
                           : preadv2(x->attempt.fd, x->iov, x->iovcnt, -1, RWF_NOWAIT));
}

/* The wrong end of a pipe never becomes ready. */
static bool is_opened_for(int fd, bool write)
{
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;

    return mode == O_RDWR || mode == (write ? O_WRONLY : O_RDONLY);
}

static ssize_t careful_transfer(const struct transfer *x)
{
    int fd = x->attempt.fd, is = hop__poll_now(fd, x->attempt.events);
    struct iovec part = { x->iov->iov_base, x->iov->iov_len < PIPE_BUF ? x->iov->iov_len : PIPE_BUF };

    if (!is)
        return is_opened_for(fd, x->write) ? -EAGAIN : -EBADF;
    if (is < 0)
        return is;
    return result(x->write ? writev(fd, &part, 1) : readv(fd, x->iov, x->iovcnt));
}

/* As a sandbox refuses a call that it does not know: the next way may be open. */
static bool is_refused(ssize_t n)
{
    return n == -EPERM || n == -ENOSYS;
}

static bool is_socket(int fd)
{
    struct stat st;

    return !fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

static ssize_t attempt_transfer(struct hop__attempt *a)
{
    const struct transfer *x = (const struct transfer *)a;
    ssize_t n = socket_transfer(x);

    if (n != -ENOTSOCK && !(is_refused(n) && !is_socket(a->fd)))
        return n;
    n = no_wait_transfer(x);
    return n == -EOPNOTSUPP || is_refused(n) ? careful_transfer(x) : n;
}

static ssize_t attempt_poll(struct hop__attempt *a)
{
    int is = hop__poll_now(a->fd, a->events);

    return is ? is : -EAGAIN;
}

/* --- waiting --- */

static ssize_t attempt_now(struct hop__attempt *a)
{
    ssize_t n;

    do
        n = a->run(a);
    while (n == -EINTR);
    return n;
}

static ssize_t wait_in_thread(struct hop__attempt *a)
{
    struct pollfd p = pollfd_for(a->fd, a->events);
    ssize_t n;

    while ((n = attempt_now(a)) == -EAGAIN)
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return -errno;
    return n;
}

static void give_way(struct hop__task *t)
{
    struct hop__loop *loop = hop__loop_of(t->home);

    if (t->here == t->home && ++loop->immediate >= IMMEDIATE_MAX)
        (void)hop_yield(); /* what the call gave counts; the next one will see a cancellation */
}

static ssize_t wait_in_task(struct hop__attempt *a, struct hop__task *t)
{
    struct hop__wait w;
    ssize_t n;
    int rc = hop__task_interrupted(t);

    if (rc < 0)
        return rc;
    n = attempt_now(a);
    if (n != -EAGAIN) {
        give_way(t);
        return n;
    }
    do {
        rc = hop__wait_begin(&w);
        if (rc < 0)
            return rc;
        n = w.from ? attempt_now(a) : -EAGAIN; /* what came while the task was on its way home */
        if (n == -EAGAIN)
            rc = hop__fd_sleep(&w, a->fd, a->events);
        hop__wait_end(&w);
    } while (n == -EAGAIN && !rc && (n = attempt_now(a)) == -EAGAIN);
    return rc < 0 ? rc : n;
}

ssize_t hop__attempt(struct hop__attempt *a)
{
    struct hop__task *t;
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    t = hop__self()->task;
    return t ? wait_in_task(a, t) : wait_in_thread(a);
}

/* --- files --- */

/* On a thread that may block. */
static ssize_t transfer_file(const struct transfer *x)
{
    struct stat st;
    ssize_t n;

    if (fstat(x->attempt.fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISDIR(st.st_mode))
        return -ENXIO; /* a stale class */
    do
        n = result(x->write ? writev(x->attempt.fd, x->iov, x->iovcnt) : readv(x->attempt.fd, x->iov, x->iovcnt));
    while (n == -EINTR);
    return n;
}

static ssize_t transfer_file_on_lane(const struct transfer *x)
{
    struct hop__task *t = hop__self()->task;
    ssize_t n = t ? hop__task_interrupted(t) : 0;

    if (n < 0)
        return n;
    hop_on_blocking
        n = transfer_file(x);
    return n;
}

static ssize_t transfer(struct transfer *x)
{
    int fd = x->attempt.fd, class;
    ssize_t n = hop__wait_allowed();

    if (n < 0)
        return n;
    class = hop__fd_class(fd);
    if (class < 0)
        return class;
    if (class == HOP__FD_FILE) {
        n = transfer_file_on_lane(x);
        if (n != -ENXIO)
            return n;
        hop__fd_set_class(fd, HOP__FD_STREAM);
    }
    n = hop__attempt(&x->attempt);
    if (n != -EPERM)
        return n;
    hop__fd_set_class(fd, HOP__FD_UNKNOWN);
    return hop__fd_class(fd) == HOP__FD_FILE ? transfer_file_on_lane(x) : n;
}

/* --- the calls --- */

static ssize_t transfer_one(int fd, const void *buffer, size_t bytes, bool write)
{
    struct iovec iov = { (void *)(uintptr_t)buffer, bytes };
    struct transfer x = { { attempt_transfer, fd, write ? HOP_WRITABLE : HOP_READABLE }, &iov, 1, write };

    return transfer(&x);
}

/* Zero bytes: whether the call would be allowed and the descriptor is open. */
static ssize_t nothing(int fd)
{
    struct hop__task *t;
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    if (fcntl(fd, F_GETFD) < 0)
        return -errno;
    t = hop__self()->task;
    return t ? hop__task_interrupted(t) : 0;
}

static ssize_t transfer_some(int fd, const void *buffer, size_t bytes, bool write)
{
    if (!bytes)
        return nothing(fd);
    return buffer ? transfer_one(fd, buffer, bytes, write) : -EINVAL;
}

ssize_t hop_read(int fd, void *buffer, size_t bytes)
{
    return transfer_some(fd, buffer, bytes, false);
}

ssize_t hop_write(int fd, const void *buffer, size_t bytes)
{
    return transfer_some(fd, buffer, bytes, true);
}

static ssize_t transfer_many(int fd, const struct iovec *iov, int iovcnt, bool write)
{
    struct transfer x = { { attempt_transfer, fd, write ? HOP_WRITABLE : HOP_READABLE }, iov, iovcnt, write };
    size_t bytes = 0;
    int i;

    if (!iov || iovcnt <= 0 || iovcnt > IOV_MAX)
        return -EINVAL;
    for (i = 0; i < iovcnt; i++) {
        if ((!iov[i].iov_base && iov[i].iov_len) || iov[i].iov_len > SSIZE_MAX - bytes)
            return -EINVAL;
        bytes += iov[i].iov_len;
    }
    for (; x.iovcnt > 1 && !x.iov->iov_len; x.iovcnt--) /* so that the first part says whether there is anything */
        x.iov++;
    return bytes ? transfer(&x) : nothing(fd);
}

ssize_t hop_readv(int fd, const struct iovec *iov, int iovcnt)
{
    return transfer_many(fd, iov, iovcnt, false);
}

ssize_t hop_writev(int fd, const struct iovec *iov, int iovcnt)
{
    return transfer_many(fd, iov, iovcnt, true);
}

static ssize_t full(int fd, const char *buffer, size_t bytes, bool write)
{
    size_t done = 0;
    ssize_t n;

    if (bytes > SSIZE_MAX)
        return -EINVAL;
    do {
        n = transfer_some(fd, buffer + done, bytes - done, write);
        if (n < 0)
            return n;
        done += (size_t)n;
    } while (n > 0 && done < bytes);
    return (ssize_t)done;
}

ssize_t hop_read_full(int fd, void *buffer, size_t bytes)
{
    return buffer || !bytes ? full(fd, buffer, bytes, false) : -EINVAL;
}

ssize_t hop_write_full(int fd, const void *buffer, size_t bytes)
{
    return buffer || !bytes ? full(fd, buffer, bytes, true) : -EINVAL;
}

int hop_wait_fd(int fd, int events)
{
    struct hop__attempt a = { attempt_poll, fd, events };
    int class;

    if (!events || events & ~(HOP_READABLE | HOP_WRITABLE))
        return -EINVAL;
    class = hop__wait_allowed();
    if (class < 0)
        return class;
    class = hop__fd_class(fd);
    if (class < 0)
        return class;
    return class == HOP__FD_FILE ? -EPERM : (int)hop__attempt(&a);
}

/* --- closing --- */

int hop_close(int fd)
{
    int class = hop__fd_class(fd), rc = 0;

    if (class == -EBADF)
        return class;
    if (class == HOP__FD_STREAM)
        return hop__fd_close(fd);
    hop_on_blocking /* a file, or what does not tell what it is: it may have to write */
        rc = hop__fd_close(fd);
    return rc;
}
