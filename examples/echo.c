/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * echo.c: an echo server, one task a connection.
 *
 *     echo ADDRESS    serves at, say, tcp:127.0.0.1:7000 until it is interrupted
 *     echo            serves at a port of the system's choice, and is its own eight clients
 */
#include <stdio.h>
#include <string.h>

#include <hop.h>

enum { CLIENTS = 8, ROUNDS = 100 };

static int serve(void *arg)
{
    int fd = hop_int(arg);
    char buffer[4096];
    ssize_t n;

    while ((n = hop_read(fd, buffer, sizeof buffer)) > 0) {
        n = hop_write_full(fd, buffer, (size_t)n);
        if (n < 0)
            break;
    }
    hop_close(fd);
    return 0; /* a client that went away is no reason to stop the others */
}

static int listen_and_serve(void *arg)
{
    int listener = hop_int(arg), rc;
    hop_scope connections;

    hop_scope_open(&connections);
    for (;;) {
        int fd = hop_accept(listener);

        rc = fd < 0 ? fd : hop_spawn(&connections, serve, hop_ptr(fd), HOP_TASK(.name = "connection"));
        if (rc < 0 && fd >= 0)
            hop_close(fd);
        if (rc == -EMFILE || rc == -ENFILE) /* too many connections: some will end */
            rc = hop_sleep(10 * HOP_MS);
        if (rc < 0)
            break;
    }
    hop_scope_cancel(&connections, rc);
    hop_scope_close(&connections);
    return rc;
}

/* One client: sends lines and wants them back. */
static int converse(void *arg)
{
    int fd = hop_dial(arg), rc = 0;
    char line[64], answer[64];

    if (fd < 0)
        return fd;
    for (int i = 0; i < ROUNDS && rc == 0; i++) {
        int n = snprintf(line, sizeof line, "line %d of connection %d\n", i, fd);
        ssize_t sent = hop_write_full(fd, line, (size_t)n), got = hop_read_full(fd, answer, (size_t)n);

        if (sent < 0 || got < 0)
            rc = sent < 0 ? (int)sent : (int)got;
        else if (got != n || memcmp(line, answer, (size_t)n) != 0)
            rc = -EBADMSG;
    }
    hop_close(fd);
    return rc;
}

static int try_it(int listener)
{
    hop_scope server, clients;
    char address[64];
    int rc = hop_local_address(listener, address, sizeof address);

    if (rc < 0)
        return rc;
    hop_scope_open(&server);
    hop_spawn(&server, listen_and_serve, hop_ptr(listener), HOP_TASK(.name = "server"));
    hop_scope_open(&clients);
    for (int i = 0; i < CLIENTS; i++)
        hop_spawn(&clients, converse, address, HOP_TASK(.name = "client"));
    rc = hop_scope_close(&clients);
    hop_scope_cancel(&server, -ECANCELED); /* its waits return -ECANCELED, and so it ends */
    hop_scope_close(&server);
    if (rc == 0)
        printf("%d clients got %d lines back\n", CLIENTS, CLIENTS * ROUNDS);
    return rc;
}

static int main_task(void *arg)
{
    const char *address = arg;
    int listener = hop_listen(address ? address : "tcp:127.0.0.1:0"), rc;

    if (listener < 0) {
        fprintf(stderr, "echo: %s: %s\n", address ? address : "127.0.0.1", strerror(-listener));
        return listener;
    }
    rc = address ? listen_and_serve(hop_ptr(listener)) : try_it(listener);
    hop_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    return hop_run(main_task, argc > 1 ? argv[1] : NULL, NULL) < 0;
}
