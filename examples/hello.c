/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hello.c: a whole program. Three tasks wait at the same time on one thread; the one that waits least speaks first.
 */
#include <stdio.h>

#include <hop.h>

/* A task: an ordinary function on a stack of its own. Where it waits, others go on. */
static int greet(void *arg)
{
    int n = hop_int(arg);
    int rc = hop_sleep((4 - n) * 30 * HOP_MS);

    if (rc < 0)
        return rc; /* cancelled, say: every call that waits can return early */
    printf("hello from task %d\n", n);
    return 0;
}

static int main_task(void *arg)
{
    hop_scope scope; /* owns the tasks that are spawned in it */
    int rc = hop_scope_open(&scope);

    (void)arg;
    for (int n = 1; n <= 3 && rc == 0; n++)
        rc = hop_spawn(&scope, greet, hop_ptr(n), NULL);
    if (rc < 0)
        hop_scope_cancel(&scope, rc);
    rc = hop_scope_close(&scope); /* waits for all three; the first error of one of them, or 0 */
    printf("all tasks have ended\n");
    return rc;
}

int main(void)
{
    return hop_run(main_task, NULL, NULL) < 0;
}
