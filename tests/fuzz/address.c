/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any string as an address: refused, or taken apart into what, put together again, is the same address; and what is no
 * name becomes a system's address without a question to anybody.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "async/address.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static void must(int holds)
{
    if (!holds)
        abort();
}

static void resolve(const struct hop__address *a)
{
    struct hop__places places;
    int rc;

    if (a->kind == HOP__ADDRESS_NAME || strchr(a->host, '%')) /* an interface's name is a question to the kernel */
        return;
    rc = hop__address_resolve(a, &places);
    must(rc == 0 || (rc == -EINVAL && a->kind == HOP__ADDRESS_V6));
    must(!places.list && (rc < 0 || (places.bytes > 0 && places.bytes <= sizeof places.one)));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    char *text = malloc(n + 1), again[512]; /* on the heap, so that a byte too far is seen */
    struct hop__address a = { .host = "" };
    int rc;

    must(text != NULL);
    memcpy(text, data, n);
    text[n] = '\0';
    rc = hop__address_parse(text, &a);
    must(rc == 0 || rc == -EINVAL);
    if (rc == 0) {
        must(strnlen(a.host, sizeof a.host) < sizeof a.host);
        if (a.kind == HOP__ADDRESS_UNIX)
            snprintf(again, sizeof again, "unix:%s", a.path);
        else
            snprintf(again, sizeof again, a.kind == HOP__ADDRESS_V6 ? "tcp:[%s]:%u" : "tcp:%s:%u", a.host, a.port);
        must(strcmp(text, again) == 0);
        resolve(&a);
    }
    free(text);
    return 0;
}
