/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * echo_tcp: sends back what comes. mixed: sends back light messages, and computes for heavy ones, 64 chunks each, by a
 * parallel loop or as one job. N is the port, of the loopback address; the server ends with SIGTERM.
 */
#include <signal.h>

#include "workload.h"

static int echo_connection(void *arg)
{
    int fd = hop_int(arg);
    char buffer[4096];
    ssize_t n;

    while ((n = hop_read(fd, buffer, sizeof buffer)) > 0)
        if (hop_write_full(fd, buffer, (size_t)n) < 0)
            break;
    hop_close(fd);
    return 0;
}

/* --- heavy messages --- */

static int do_chunks(size_t lo, size_t hi, void *arg)
{
    uint64_t *answers = arg;

    for (; lo < hi; lo++)
        answers[lo] = heavy_chunk(lo);
    return 0;
}

static int do_all_chunks(void *arg)
{
    return do_chunks(0, HEAVY_CHUNKS, arg);
}

static int in_a_loop(uint64_t *answers)
{
    return hop_parallel_for(0, HEAVY_CHUNKS, do_chunks, answers, NULL);
}

static int in_a_job(uint64_t *answers)
{
    return hop_offload(do_all_chunks, answers);
}

static int (*compute)(uint64_t *answers);

static int answer(char *message)
{
    uint64_t answers[HEAVY_CHUNKS] = { 0 }, sum = 0;
    int i, rc = compute(answers);

    for (i = 0; i < HEAVY_CHUNKS; i++)
        sum += answers[i];
    put_answer(message, sum);
    return rc;
}

static int mixed_connection(void *arg)
{
    int fd = hop_int(arg);
    char message[MESSAGE_BYTES];

    while (hop_read_full(fd, message, sizeof message) == sizeof message) {
        if (message[0] == 'H' && answer(message) < 0)
            break;
        if (hop_write_full(fd, message, sizeof message) < 0)
            break;
    }
    hop_close(fd);
    return 0;
}

/* --- serving --- */

static int serve(const struct run *run, hop_fn *connection)
{
    hop_scope connections;
    char address[32];
    int listener, fd, rc = 0;

    signal(SIGTERM, _exit);
    snprintf(address, sizeof address, "tcp:127.0.0.1:%ld", run->n);
    listener = hop_listen(address);
    if (listener < 0)
        return listener;
    hop_scope_open(&connections);
    while (rc >= 0) {
        fd = hop_accept(listener);
        rc = fd < 0 ? fd : hop_spawn(&connections, connection, hop_ptr(fd), NULL);
    }
    hop_scope_cancel(&connections, rc);
    hop_scope_close(&connections);
    hop_close(listener);
    return rc;
}

static int echo(const struct run *run)
{
    return serve(run, echo_connection);
}

static int mixed_loop(const struct run *run)
{
    compute = in_a_loop;
    return serve(run, mixed_connection);
}

static int mixed_job(const struct run *run)
{
    compute = in_a_job;
    return serve(run, mixed_connection);
}

static const struct variant echo_variants[] = { { "task", echo, 0, false }, { 0 } };
static const struct variant mixed_variants[] = {
    { "loop", mixed_loop, 0, false }, { "job", mixed_job, 0, false }, { 0 }
};

const struct workload echo_tcp = { "echo_tcp", 9000, true, echo_variants };
const struct workload mixed = { "mixed", 9000, true, mixed_variants };
