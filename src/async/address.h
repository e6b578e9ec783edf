/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address strings. See address.c.
 */
#ifndef HOP_ASYNC_ADDRESS_H
#define HOP_ASYNC_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <hop/base.h>

enum { HOP__HOST_BYTES = 254 };

struct hop__address {
    enum { HOP__ADDRESS_V4, HOP__ADDRESS_V6, HOP__ADDRESS_NAME, HOP__ADDRESS_UNIX } kind;
    char host[HOP__HOST_BYTES]; /* not for unix */
    uint16_t port;
    const char *path; /* for unix: inside the text */
};

/* Asks nobody. Errors: -EINVAL, and then nothing of *out counts. */
int hop__address_parse(const char *text, struct hop__address *out);

struct addrinfo;

union hop__place {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

struct hop__places {
    struct addrinfo *list; /* of a name: to be freed with freeaddrinfo */
    union hop__place one;  /* of anything else */
    socklen_t bytes;       /* of one */
};

/*
 * The system's addresses. A name may have to be waited for.
 * Errors: -EINVAL (not a number after all), -ENOENT (no such name), -EAGAIN and -EIO (the resolver), -EWOULDBLOCK...
 */
int hop__address_resolve(const struct hop__address *a, struct hop__places *out);

#endif
