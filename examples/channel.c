/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.c: one task makes work, three do it, one adds up; two bounded channels between them. A full channel holds the
 * sender back, a closed one that is empty ends the receiver.
 */
#include <stdio.h>

#include <hop.h>

enum { ITEMS = 1000, WORKERS = 3 };

struct line {
    hop_channel *work, *results;
};

static int produce(void *arg)
{
    struct line *line = arg;
    int rc = 0;

    for (long n = 1; n <= ITEMS && rc == 0; n++)
        rc = hop_channel_send(line->work, &n);
    hop_channel_close(line->work);
    return rc;
}

static int square(void *arg)
{
    struct line *line = arg;
    long n;
    int rc;

    while ((rc = hop_channel_recv(line->work, &n)) > 0) { /* 1: an item; 0: closed and empty; negative: an error */
        hop_on_cpu
            n *= n; /* on a worker of the pool */
        rc = hop_channel_send(line->results, &n);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int main_task(void *arg)
{
    struct line line = { NULL, NULL };
    long sum = 0, n;
    hop_scope scope;
    int rc;

    (void)arg;
    if (hop_channel_new(&line.work, sizeof(long), 16) < 0 || hop_channel_new(&line.results, sizeof(long), 16) < 0)
        return -ENOMEM;
    hop_scope_open(&scope);
    hop_spawn(&scope, produce, &line, HOP_TASK(.name = "produce"));
    for (int i = 0; i < WORKERS; i++)
        hop_spawn(&scope, square, &line, HOP_TASK(.name = "square"));
    for (int i = 0; i < ITEMS && hop_channel_recv(line.results, &n) > 0; i++)
        sum += n;
    rc = hop_scope_close(&scope);
    hop_channel_free(line.work);
    hop_channel_free(line.results);
    printf("%d squares add up to %ld\n", ITEMS, sum);
    return rc;
}

int main(void)
{
    return hop_run(main_task, NULL, NULL) < 0;
}
