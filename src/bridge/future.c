/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public face of the completion cell.
 */
#include "config.h"

#include <hop/future.h>

#include "bridge/future.h"
#include "bridge/wait.h"

_Static_assert(sizeof(struct hop__future) <= sizeof(hop_future), "hop_future is too small");

static struct hop__future *inside(const hop_future *future)
{
    return (struct hop__future *)(uintptr_t)future;
}

int hop_complete(hop_future *future, int result)
{
    if (!future)
        return -EINVAL;
    return hop__complete(inside(future), result) ? 0 : -EALREADY;
}

int hop_await(hop_future *future)
{
    return hop_await_until(future, HOP_FOREVER);
}

int hop_await_until(hop_future *future, hop_ns deadline)
{
    int rc, result;

    if (!future)
        return -EINVAL;
    rc = hop__wait_future(inside(future), deadline, true, &result);
    return rc < 0 ? rc : result;
}

int hop_done(const hop_future *future)
{
    int result;

    return future && hop__future_peek(inside(future), &result);
}
