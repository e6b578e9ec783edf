/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address strings, and what the system makes of them.
 *
 * A string is taken apart strictly, without a system call and without memory. A host that is written as a number never
 * reaches the resolver, and one that looks like a number and is none is an error. A name goes to getaddrinfo, which
 * blocks: for a task on the blocking lane.
 */
#include "config.h"

#include "async/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <hop/hop.h>

#include "bridge/wait.h"

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
        if (!end || end[1] != ':' || copy_host(out->host, text, end, ":.%_-") < 0)
            return -EINVAL;
        if (parse_port(end + 2, &out->port) < 0)
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
static int find_v6(const struct hop__address *a, struct hop__places *out)
{
    struct addrinfo *list;
    int rc;

    if (inet_pton(AF_INET6, a->host, &out->one.v6.sin6_addr) == 1)
        return 0;
    rc = strchr(a->host, '%') ? ask_resolver(a, AI_NUMERICHOST, &list) : -EINVAL;
    if (rc < 0)
        return rc == -ENOENT ? -EINVAL : rc;
    if (list->ai_family == AF_INET6)
        out->one.v6 = *(const struct sockaddr_in6 *)(const void *)list->ai_addr;
    freeaddrinfo(list);
    return out->one.v6.sin6_family == AF_INET6 ? 0 : -EINVAL;
}

int hop__address_resolve(const struct hop__address *a, struct hop__places *out)
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
