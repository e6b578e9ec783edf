/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The form of an address string, taken apart without asking anyone. See net.c.
 */
#ifndef HOP_ASYNC_NET_H
#define HOP_ASYNC_NET_H

#include <hop/base.h>

enum { HOP__HOST_BYTES = 254 };

struct hop__address {
    enum { HOP__ADDRESS_V4, HOP__ADDRESS_V6, HOP__ADDRESS_NAME, HOP__ADDRESS_UNIX } kind;
    char host[HOP__HOST_BYTES]; /* not for unix */
    uint16_t port;
    const char *path; /* for unix: inside the text */
};

/* Errors: -EINVAL, and then nothing of *out counts. */
int hop__address_parse(const char *text, struct hop__address *out);

#endif
