/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, and sleeping: a wait for nothing, with a deadline. */
#include "config.h"

#include <hop/time.h>

#include "bridge/wait.h"

hop_ns hop_now(void)
{
    return hop__now();
}

static int sleep_thread(hop_ns until)
{
    struct timespec at = hop__timespec(until);

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
    return 0;
}

static int sleep_task(hop_ns until)
{
    struct hop__wait w;
    struct hop__task *t;
    int rc = hop__wait_begin(&w);

    if (rc < 0)
        return rc;
    t = w.task;
    rc = hop__wait_sleep(&w, until, true);
    hop__wait_end(&w);
    return w.timed_out && until < t->deadline ? 0 : rc; /* else the deadline of a hop_within came first */
}

int hop_sleep(hop_ns ns)
{
    int rc = hop__wait_allowed();

    if (rc < 0)
        return rc;
    if (ns <= 0)
        return hop_yield();
    if (!hop__self()->task)
        return sleep_thread(hop__after(hop__now(), ns));
    rc = hop__task_interrupted(hop__self()->task);
    return rc < 0 ? rc : sleep_task(hop__after(hop__now(), ns));
}
