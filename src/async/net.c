/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stream sockets by address string.
 *
 * An address is taken apart strictly (parse_address: no system call, no allocation) into a kind and two strings; a host
 * that is written as a number never reaches the resolver, and one that looks like a number and is none is an error. A
 * name goes to getaddrinfo, which blocks: for a task on the blocking lane.
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
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <hop/hop.h>
#include <hop/io.h>
#include <hop/time.h>

#include "async/fd.h"
#include "async/io.h"
#include "async/net.h"
#include "bridge/wait.h"

union place {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

struct places {
    struct addrinfo *list; /* from getaddrinfo, to be freed; NULL: only one */
    union place one;
    socklen_t bytes; /* of one */
};

/* --- the form of an address --- */

static bool starts_with(const char **text, const char *prefix)
{
    size_t n = strlen(prefix);

    if (strncmp(*text, prefix, n) != 0)
        return false;
    *text += n;
    return true;
}

/* Decimal, 0 to 65535, nothing else, no zeros in front. */
static int parse_port(const char *text, uint16_t *port)
{
    unsigned n = 0;
    const char *p;

    for (p = text; *p; p++) {
        if (*p < '0' || *p > '9' || p - text >= 5)
            return -EINVAL;
        n = n * 10 + (unsigned)(*p - '0');
    }
    if (p == text || n > 65535 || (*text == '0' && p - text > 1))
        return -EINVAL;
    *port = (uint16_t)n;
    return 0;
}

static bool is_in(char c, const char *set)
{
    return c && strchr(set, c);
}

/* Copies a host of [from, to) whose characters are all letters, digits or in the set. */
static int copy_host(char *host, const char *from, const char *to, const char *set)
{
    size_t n = (size_t)(to - from), i;

    if (!n || n >= HOP__HOST_BYTES)
        return -EINVAL;
    for (i = 0; i < n; i++) {
        char c = from[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || is_in(c, set)))
            return -EINVAL;
        host[i] = c;
    }
    host[n] = '\0';
    return 0;
}

/* A host whose last label is a number is an IPv4 address, or nothing. */
static bool looks_like_number(const char *host)
{
    const char *last = strrchr(host, '.');

    last = last ? last + 1 : host;
    return *last && strspn(last, "0123456789") == strlen(last);
}

static int parse_tcp(const char *text, struct hop__address *out)
{
    const char *end;
    struct in_addr number;

    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end || end[1] != ':' || copy_host(out->host, text, end, ":.%_-") < 0 || parse_port(end + 2, &out->port) < 0)
            return -EINVAL;
        out->kind = HOP__ADDRESS_V6;
        return strchr(out->host, ':') ? 0 : -EINVAL;
    }
    end = strrchr(text, ':');
    if (!end || copy_host(out->host, text, end, ".-_") < 0 || parse_port(end + 1, &out->port) < 0)
        return -EINVAL;
    out->kind = looks_like_number(out->host) ? HOP__ADDRESS_V4 : HOP__ADDRESS_NAME;
    return out->kind == HOP__ADDRESS_V4 && inet_pton(AF_INET, out->host, &number) != 1 ? -EINVAL : 0;
}

int hop__address_parse(const char *text, struct hop__address *out)
{
    if (!text)
        return -EINVAL;
    if (starts_with(&text, "tcp:"))
        return parse_tcp(text, out);
    if (!starts_with(&text, "unix:") || !*text || strlen(text) >= sizeof ((struct sockaddr_un *)0)->sun_path)
        return -EINVAL;
    out->kind = HOP__ADDRESS_UNIX;
    out->path = text;
    return 0;
}

/* --- from its form to the system's addresses --- */

static int code_of_resolver(int code)
{
    switch (code) {
    case 0:
        return 0;
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_FAIL:
        return -EIO;
    default: /* there is no such name, or it has no address */
        return -ENOENT;
    }
}

static int ask_resolver(const struct hop__address *a, int flags, struct addrinfo **list)
{
    struct addrinfo hints = { .ai_flags = flags | AI_NUMERICSERV, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    char port[8];

    snprintf(port, sizeof port, "%u", a->port);
    return code_of_resolver(getaddrinfo(a->host, port, &hints, list));
}

static int resolve_name(const struct hop__address *a, struct addrinfo **list)
{
    struct hop__task *t;
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    t = hop__self()->task;
    rc = t ? hop__task_interrupted(t) : 0;
    if (rc < 0)
        return rc;
    hop_on_blocking
        rc = ask_resolver(a, 0, list);
    return rc;
}

/* A number with a scope ("fe80::1%eth0") is for getaddrinfo, which does not wait for numbers. */
static int find_v6(const struct hop__address *a, struct places *out)
{
    struct addrinfo *list;

    if (inet_pton(AF_INET6, a->host, &out->one.v6.sin6_addr) == 1)
        return 0;
    if (!strchr(a->host, '%') || ask_resolver(a, AI_NUMERICHOST, &list) < 0)
        return -EINVAL;
    if (list->ai_family == AF_INET6)
        out->one.v6 = *(const struct sockaddr_in6 *)(const void *)list->ai_addr;
    freeaddrinfo(list);
    return out->one.v6.sin6_family == AF_INET6 ? 0 : -EINVAL;
}

static int find_places(const struct hop__address *a, struct places *out)
{
    int rc = 0;

    memset(out, 0, sizeof *out);
    switch (a->kind) {
    case HOP__ADDRESS_NAME:
        return resolve_name(a, &out->list);
    case HOP__ADDRESS_V4:
        out->one.v4.sin_family = AF_INET;
        out->one.v4.sin_port = htons(a->port);
        inet_pton(AF_INET, a->host, &out->one.v4.sin_addr);
        out->bytes = sizeof out->one.v4;
        break;
    case HOP__ADDRESS_V6:
        rc = find_v6(a, out);
        out->one.v6.sin6_family = AF_INET6;
        out->one.v6.sin6_port = htons(a->port);
        out->bytes = sizeof out->one.v6;
        break;
    case HOP__ADDRESS_UNIX:
        out->one.local.sun_family = AF_UNIX;
        memcpy(out->one.local.sun_path, a->path, strlen(a->path) + 1);
        out->bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->path) + 1);
        break;
    }
    return rc;
}

/* Tries each address in turn: the first descriptor, or the last error. */
static int try_each(const char *address, int (*try)(const struct sockaddr *, socklen_t))
{
    struct hop__address a;
    struct places p;
    struct addrinfo *at;
    int rc = hop__address_parse(address, &a);

    if (!rc)
        rc = find_places(&a, &p);
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
    union place from = { .any.sa_family = AF_UNSPEC };
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
static int print_place(char *out, size_t bytes, const union place *p, socklen_t length)
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
    union place p = { 0 };
    socklen_t length = sizeof p;
    int n;

    if (!out || !bytes)
        return -EINVAL;
    if (getsockname(fd, &p.any, &length) < 0)
        return -errno;
    n = print_place(out, bytes, &p, length);
    return n >= 0 && (size_t)n >= bytes ? -ENOSPC : n;
}
