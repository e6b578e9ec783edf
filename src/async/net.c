/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stream sockets by address string: listen, accept, dial, and the string of a socket's own end.
 *
 * A socket that the system has just given us can have a number that was closed by close(2) while a loop still knew it;
 * hop__fd_fresh makes the loops forget that before anyone waits.
 */
#include "config.h"

#include <hop/net.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <hop/io.h>
#include <hop/time.h>

#include "async/address.h"
#include "async/fd.h"
#include "async/io.h"
#include "bridge/wait.h"

/* Tries each address in turn: the first descriptor, or the last error. */
static int try_each(const char *address, int (*try)(const struct sockaddr *, socklen_t))
{
    struct hop__address a;
    struct hop__places p;
    struct addrinfo *at;
    int rc = hop__address_parse(address, &a);

    if (!rc)
        rc = hop__address_resolve(&a, &p);
    if (rc < 0)
        return rc;
    if (!p.list)
        return try(&p.one.any, p.bytes);
    rc = -ENOENT;
    for (at = p.list; at; at = at->ai_next) {
        rc = try(at->ai_addr, at->ai_addrlen);
        if (rc >= 0 || rc == -EMFILE || rc == -ENFILE || rc == -ECANCELED || rc == -EWOULDBLOCK)
            break;
    }
    freeaddrinfo(p.list);
    return rc;
}

/* --- sockets --- */

static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    hop__fd_fresh(fd);
    return fd;
}

static void set_no_delay(int fd, int family)
{
    const int on = 1;

    if (family == AF_INET || family == AF_INET6)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Gives the number back after an error, which it passes on. */
static int fail(int fd, int rc)
{
    hop__fd_close(fd);
    return rc;
}

static int listen_at(const struct sockaddr *at, socklen_t bytes)
{
    const int on = 1;
    int fd = new_socket(at->sa_family);

    if (fd < 0)
        return fd;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, at, bytes) < 0 ||
        listen(fd, SOMAXCONN) < 0)
        return fail(fd, -errno);
    return fd;
}

int hop_listen(const char *address)
{
    return try_each(address, listen_at);
}

/* --- accept --- */

/* Errors of a connection that was there and is gone: the next one may be better. */
static bool is_passing(int code)
{
    return code == EINTR || code == ECONNABORTED || code == EPROTO || code == ENETDOWN || code == ENETUNREACH ||
           code == EHOSTDOWN || code == EHOSTUNREACH || code == ENONET;
}

/* A listening socket that would block is not one of ours, and must not stop the loop. */
static ssize_t look_before_accept(int fd)
{
    int listens = 0, is;
    socklen_t bytes = sizeof listens;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) < 0)
        return -errno;
    is = listens ? hop__poll_now(fd, HOP_READABLE) : -EINVAL;
    return is ? is : -EAGAIN;
}

static ssize_t attempt_accept(struct hop__attempt *a)
{
    union hop__place from = { .any.sa_family = AF_UNSPEC };
    socklen_t bytes = sizeof from;
    int flags = fcntl(a->fd, F_GETFL), fd;
    ssize_t rc = flags < 0 ? -errno : 0;

    if (!rc && !(flags & O_NONBLOCK))
        rc = look_before_accept(a->fd);
    if (rc < 0)
        return rc;
    fd = accept4(a->fd, &from.any, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return is_passing(errno) ? -EINTR : -errno;
    hop__fd_fresh(fd);
    set_no_delay(fd, from.any.sa_family);
    return fd;
}

int hop_accept(int fd)
{
    struct hop__attempt a = { attempt_accept, fd, HOP_READABLE };

    return (int)hop__attempt(&a);
}

/* --- dial --- */

/* A connect that was begun has an end once the socket is writable. */
static int finish_connect(int fd)
{
    int rc = hop_wait_fd(fd, HOP_WRITABLE), error = 0;
    socklen_t bytes = sizeof error;

    if (rc < 0)
        return rc;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0 ? -errno : -error;
}

/* A Unix listener whose queue is full says EAGAIN and never tells when there is room: so we ask now and then. */
static int connect_to(int fd, const struct sockaddr *at, socklen_t bytes)
{
    hop_ns pause = HOP_MS;
    int rc;

    for (;;) {
        if (!connect(fd, at, bytes))
            return 0;
        if (errno == EINPROGRESS || errno == EINTR)
            return finish_connect(fd);
        if (errno != EAGAIN || at->sa_family != AF_UNIX)
            return -errno;
        rc = hop_sleep(pause);
        if (rc < 0)
            return rc;
        pause = pause < 50 * HOP_MS ? 2 * pause : pause;
    }
}

static int dial_to(const struct sockaddr *at, socklen_t bytes)
{
    struct hop__task *t = hop__self()->task;
    int rc = t ? hop__task_interrupted(t) : 0, fd;

    if (rc < 0)
        return rc;
    fd = new_socket(at->sa_family);
    if (fd < 0)
        return fd;
    rc = connect_to(fd, at, bytes);
    if (rc < 0)
        return fail(fd, rc);
    set_no_delay(fd, at->sa_family);
    return fd;
}

int hop_dial(const char *address)
{
    int rc = hop__wait_allowed();

    if (rc < 0)
        return address ? rc : -EINVAL;
    return try_each(address, dial_to);
}

/* --- the other way --- */

/* The length of what was written, as snprintf tells it. */
static int print_place(char *out, size_t bytes, const union hop__place *p, socklen_t length)
{
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    char host[INET6_ADDRSTRLEN];
    int path;

    switch (p->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &p->v4.sin_addr, host, sizeof host);
        return snprintf(out, bytes, "tcp:%s:%u", host, ntohs(p->v4.sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &p->v6.sin6_addr, host, sizeof host);
        if (p->v6.sin6_scope_id)
            return snprintf(out, bytes, "tcp:[%s%%%u]:%u", host, p->v6.sin6_scope_id, ntohs(p->v6.sin6_port));
        return snprintf(out, bytes, "tcp:[%s]:%u", host, ntohs(p->v6.sin6_port));
    case AF_UNIX:
        if (length <= head || !p->local.sun_path[0])
            return -EAFNOSUPPORT; /* it has no name, or one that is no path */
        path = (int)strnlen(p->local.sun_path, length - head);
        return snprintf(out, bytes, "unix:%.*s", path, p->local.sun_path);
    default:
        return -EAFNOSUPPORT;
    }
}

int hop_local_address(int fd, char *out, size_t bytes)
{
    union hop__place p = { 0 };
    socklen_t length = sizeof p;
    int n;

    if (!out || !bytes)
        return -EINVAL;
    if (getsockname(fd, &p.any, &length) < 0)
        return -errno;
    n = print_place(out, bytes, &p, length);
    return n >= 0 && (size_t)n >= bytes ? -ENOSPC : n;
}
