/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that waits for thousands of clients and counts primes on every core, at the same time. */
#include <hop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count(size_t lo, size_t hi, void *into, void *arg)   /* a chunk: on a pinned worker */
{
    (void)arg;
    for (size_t n = lo, d; n < hi; n++) {
        for (d = 2; d * d <= n && n % d; d++)
            ;
        *(long *)into += d * d > n;
    }
    return 0;
}

static void add(void *into, const void *from, void *arg)
{
    (void)arg;
    *(long *)into += *(const long *)from;
}

static int answer(void *arg)                                    /* a task for each client: on the loop */
{
    int fd = hop_int(arg);
    char line[64];
    ssize_t n;

    hop_within(60 * HOP_SEC) {                                  /* one deadline for all that follows */
        while ((n = hop_read(fd, line, sizeof line - 1)) > 0) { /* waits; the loop serves others meanwhile */
            long primes = 0;
            unsigned long top;

            line[n] = '\0';
            top = strtoul(line, NULL, 10);
            if (top > 2 && hop_parallel_reduce(2, top, count, add, NULL, &primes, sizeof primes, NULL) < 0)
                break;
            n = snprintf(line, sizeof line, "%ld\n", primes);
            if (hop_write_full(fd, line, (size_t)n) < 0)
                break;
        }
    }
    hop_close(fd);
    return 0;
}

static int server(void *arg)
{
    int client, fd = hop_listen(arg);
    hop_scope clients;

    if (fd < 0)
        return fd;
    hop_scope_open(&clients);                                   /* no client outlives the server */
    do {
        client = hop_accept(fd);
        if (client == -EMFILE)                                  /* too many for now: they wait in the queue */
            client = hop_sleep(100 * HOP_MS);
        else if (client >= 0 && hop_spawn(&clients, answer, hop_ptr(client), NULL) < 0)
            hop_close(client);
    } while (client >= 0);
    hop_close(fd);
    hop_scope_close(&clients);
    return client;
}

int main(int argc, char **argv)
{
    char address[] = "tcp:127.0.0.1:8080";
    int rc = hop_run(server, argc > 1 ? argv[1] : address, NULL);

    if (rc < 0)
        fprintf(stderr, "primes: %s\n", strerror(-rc));
    return rc < 0;
}
