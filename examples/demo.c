/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo.c: one process computes on every core and answers pings meanwhile.
 *
 *     demo [FILE...]    compresses FILE, or about 200 MB of this machine's own files, with pgz's pipeline
 *
 * An echo server runs on the same runtime, and a client in a thread of its own pings it a thousand times a second:
 * first for two seconds while nothing else happens, then during the compression. In the end gzip itself says whether
 * the output is right, and what it unpacks is compared with what went in.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hop.h>

#include "demo.h"
#include "pgz/pgz.h"

enum { COMPARE_BYTES = 256 << 10 };

struct demo {
    struct demo_input input;
    int output;
    struct demo_ping ping;
    struct pgz_stats stats;
    double seconds, cpu_seconds;
    int gzip_ok, same;
};

/* --- the server --- */

static int echo(void *arg)
{
    int fd = hop_int(arg);
    char buffer[1024];
    ssize_t n;

    while ((n = hop_read(fd, buffer, sizeof buffer)) > 0)
        if (hop_write_full(fd, buffer, (size_t)n) < 0)
            break;
    hop_close(fd);
    return 0;
}

static int serve(void *arg)
{
    int listener = hop_int(arg), rc = 0;
    hop_scope connections;

    hop_scope_open(&connections);
    while (rc == 0) {
        int fd = hop_accept(listener);

        rc = fd < 0 ? fd : hop_spawn(&connections, echo, hop_ptr(fd), HOP_TASK(.name = "connection"));
    }
    hop_scope_cancel(&connections, rc);
    hop_scope_close(&connections);
    hop_close(listener);
    return rc;
}

/* Starts the server in the scope: its port. */
static int start_server(hop_scope *scope)
{
    int listener = hop_listen("tcp:127.0.0.1:0"), rc;
    char address[64], *colon;

    if (listener < 0)
        return listener;
    rc = hop_local_address(listener, address, sizeof address);
    if (rc >= 0)
        rc = hop_spawn(scope, serve, hop_ptr(listener), HOP_TASK(.name = "server"));
    if (rc < 0) {
        hop_close(listener);
        return rc;
    }
    colon = strrchr(address, ':');
    return colon ? atoi(colon + 1) : -EINVAL;
}

/* --- the work --- */

static double cpu_now(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static int compress_input(struct demo *demo)
{
    struct pgz_options options = { .level = 6, .name = "demo" };
    struct pgz_progress progress = {
        .name = "compressing", .stats = &demo->stats, .total_bytes = demo->input.bytes,
    };
    hop_ns start = hop_now();
    double cpu_start = cpu_now();
    hop_scope scope;
    int rc = hop_scope_open(&scope);

    if (rc < 0)
        return rc;
    if (isatty(STDERR_FILENO))
        hop_spawn(&scope, pgz_progress, &progress, HOP_TASK(.name = "progress"));
    rc = pgz_compress(demo->input.fd, demo->output, &options, &demo->stats);
    hop_complete(&progress.over, 0);
    hop_scope_close(&scope);
    demo->seconds = (double)(hop_now() - start) / HOP_SEC;
    demo->cpu_seconds = cpu_now() - cpu_start;
    return rc;
}

/* --- whether it is right; these block --- */

/* Starts gzip with this option on the output; its standard output becomes to, if that is a descriptor. */
static pid_t start_gzip(int output, char *option, int to)
{
    static char name[] = "gzip";
    char *argv[] = { name, option, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    int rc;

    lseek(output, 0, SEEK_SET);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDIN_FILENO);
    if (to >= 0)
        posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    rc = posix_spawnp(&pid, name, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        fprintf(stderr, "demo: gzip: %s\n", strerror(rc));
    return rc == 0 ? pid : -1;
}

static int ended_well(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Reads until the buffer is full or the end. */
static size_t read_all(int fd, char *buffer, size_t bytes)
{
    size_t got = 0;
    ssize_t n;

    while (got < bytes && (n = read(fd, buffer + got, bytes - got)) > 0)
        got += (size_t)n;
    return got;
}

static int same_content(int fd, int input)
{
    static char theirs[COMPARE_BYTES], ours[COMPARE_BYTES];
    size_t n, m;

    lseek(input, 0, SEEK_SET);
    do {
        n = read_all(fd, theirs, sizeof theirs);
        m = read_all(input, ours, sizeof ours);
    } while (n > 0 && n == m && memcmp(theirs, ours, n) == 0);
    return n == 0 && m == 0;
}

static int unpacks_to_input(const struct demo *demo)
{
    static char option[] = "-dc";
    int pipe_fds[2], same;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return 0;
    pid = start_gzip(demo->output, option, pipe_fds[1]);
    close(pipe_fds[1]);
    same = pid > 0 && same_content(pipe_fds[0], demo->input.fd);
    close(pipe_fds[0]);
    return pid > 0 && ended_well(pid) && same;
}

static void verify(struct demo *demo)
{
    static char option[] = "-t";
    pid_t pid = start_gzip(demo->output, option, -1);

    demo->gzip_ok = pid > 0 && ended_well(pid);
    demo->same = unpacks_to_input(demo);
}

/* --- the story --- */

static void say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

static int compress_while_pinged(struct demo *demo, int port)
{
    int rc;

    say("pinging it while nothing else happens, for two seconds ...");
    demo_ping_phase(&demo->ping, DEMO_WAIT, port);
    rc = hop_sleep(200 * HOP_MS); /* the first pings are not counted */
    demo_ping_phase(&demo->ping, DEMO_IDLE, port);
    if (rc == 0)
        rc = hop_sleep(2 * HOP_SEC);
    if (rc < 0)
        return rc;
    say("compressing on every core, and pinging ...");
    demo_ping_phase(&demo->ping, DEMO_LOAD, port);
    rc = compress_input(demo);
    demo_ping_phase(&demo->ping, DEMO_STOP, port);
    return rc;
}

static int main_task(void *arg)
{
    struct demo *demo = arg;
    hop_scope scope;
    int rc = hop_scope_open(&scope), port;

    if (rc < 0)
        return rc;
    hop_describe(stdout);
    printf("\n%.1f MB of %d files\n", (double)demo->input.bytes / 1e6, demo->input.nfiles);
    port = start_server(&scope);
    rc = port < 0 ? port : compress_while_pinged(demo, port);
    if (rc == 0) {
        say("unpacking it again with gzip, and comparing ...");
        hop_on_blocking
            verify(demo);
    }
    hop_scope_cancel(&scope, -ECANCELED);
    hop_scope_close(&scope);
    return rc;
}

static void report_pings(const struct demo_ping *ping, enum demo_phase phase, const char *name)
{
    printf("  %-22s %8.3f %8.3f %8.3f   %zu pings\n", name, demo_ping_ms(ping, phase, 0.5),
           demo_ping_ms(ping, phase, 0.99), demo_ping_ms(ping, phase, 1), ping->counts[phase]);
}

static void report(const struct demo *demo)
{
    double in = (double)demo->stats.in_bytes, out = (double)demo->stats.out_bytes;

    printf("\ncompressed  %.1f MB to %.1f MB in %.2f s: %.1f MB/s, ratio %.2f, %.2f cores busy\n", in / 1e6, out / 1e6,
           demo->seconds, in / 1e6 / demo->seconds, in / out, demo->cpu_seconds / demo->seconds);
    printf("gzip -t     %s\n", demo->gzip_ok ? "ok" : "FAILED");
    printf("content     %s\n", demo->same ? "the same" : "DIFFERS");
    printf("\nping over TCP, ms           p50      p99      max\n");
    report_pings(&demo->ping, DEMO_IDLE, "idle");
    report_pings(&demo->ping, DEMO_LOAD, "while compressing");
    printf("  the client %s\n", demo->ping.realtime
               ? "runs in real time, as another machine would"
               : "may not run in real time: waiting for its own turn on a core is part of these figures");
}

static int failed(const char *what, int error)
{
    fprintf(stderr, "demo: %s: %s\n", what, strerror(-error));
    return 1;
}

int main(int argc, char **argv)
{
    static struct demo demo;
    int rc, pinged;

    say(argc > 1 ? "reading the files ..." : "gathering something to compress ...");
    if (demo_gather(&demo.input, argv + 1, argc - 1) < 0)
        return 1;
    demo.output = demo_temporary();
    if (demo.output < 0)
        return failed("temporary file", demo.output);
    rc = demo_ping_start(&demo.ping);
    if (rc < 0)
        return failed("ping", rc);
    rc = hop_run(main_task, &demo, NULL);
    demo_ping_phase(&demo.ping, DEMO_STOP, demo.ping.port);
    pinged = demo_ping_join(&demo.ping);
    if (rc < 0)
        return failed("compressing", rc);
    report(&demo);
    demo_ping_free(&demo.ping);
    if (pinged < 0)
        return failed("ping", pinged);
    return !(demo.gzip_ok && demo.same);
}
