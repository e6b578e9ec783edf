/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * service: a program that uses everything hop has, checks each result, and tells what hop_describe says at the end.
 * The scripts run it in environments where a test under Check could not live: without /proc, without descriptors 0 to
 * 2, with system calls refused.
 *
 *     service [WORD...]     off, mild, idle, realtime: the quality of service
 *                           no-pin, no-net, no-team  without that
 *                           attached                 the loop is on a base of this program
 *                           refuse=NUMBER            refuse this system call once the runtime is there
 *                           to=NUMBER                write to this descriptor instead of to 1
 *
 * Status 0: all results were right. 3: the runtime refused to start, with a code that says why. 4: a call of hop's gave
 * an error, which is told; what had been done until then was right. 1: something is wrong.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <event2/event.h>

#include <hop.h>

#include "refuse.h"

enum { RIGHT = 0, WRONG = 1, USAGE = 2, REFUSED = 3, FAILED = 4 };
enum { TASKS = 40, CLIENTS = 4, ROUNDS = 20, LIMIT_SECONDS = 120 };

static struct {
    hop_config config;
    const char *program;
    bool no_net, no_team, attached, started;
    long refuse;
    FILE *out;
} o = { .refuse = -1 };

#define right(condition) \
    do { \
        if (!(condition)) { \
            fprintf(o.out, "service: line %d: not so: %s\n", __LINE__, #condition); \
            fflush(o.out); \
            return -EBADMSG; \
        } \
    } while (0)

/* A step that gave an error; what it was is told, and goes to the caller. */
#define try(call) \
    do { \
        int try__rc = (int)(call); \
        if (try__rc < 0) { \
            fprintf(o.out, "service: %s: %s\n", #call, strerror(-try__rc)); \
            fflush(o.out); \
            return try__rc; \
        } \
    } while (0)

/* A call that returns so many, or an error. */
#define all_of(call, count) \
    do { \
        ssize_t all_of__n = (call); \
        if (all_of__n < 0) \
            try(all_of__n); \
        right(all_of__n == (ssize_t)(count)); \
    } while (0)

/* A call of the C library's. */
#define made(call) \
    do { \
        if ((call) < 0) \
            try(-errno); \
    } while (0)

/* --- computing --- */

static int add_up(size_t lo, size_t hi, void *into, void *arg)
{
    long *sum = into;

    (void)arg;
    for (; lo < hi; lo++)
        *sum += (long)lo;
    return 0;
}

static void add_sums(void *into, const void *from, void *arg)
{
    (void)arg;
    *(long *)into += *(const long *)from;
}

static unsigned char marks[100000];

static int mark(size_t lo, size_t hi, void *arg)
{
    (void)arg;
    for (; lo < hi; lo++)
        marks[lo]++;
    return 0;
}

static int fibonacci(void *arg)
{
    int *n = arg, a = *n - 1, b = *n - 2, rc;

    if (*n < 2)
        return 0;
    rc = hop_join(fibonacci, &a, fibonacci, &b);
    *n = a + b;
    return rc;
}

static int compute(void)
{
    long sum = 0;
    int n = 20;

    try(hop_parallel_reduce(0, 1000000, add_up, add_sums, NULL, &sum, sizeof sum, NULL));
    right(sum == 499999500000L);
    memset(marks, 0, sizeof marks);
    try(hop_parallel_for(0, sizeof marks, mark, NULL, NULL));
    for (size_t i = 0; i < sizeof marks; i++)
        right(marks[i] == 1);
    try(hop_offload(fibonacci, &n));
    right(n == 6765);
    return 0;
}

static int use_team(void)
{
    long sum = 0;

    if (o.no_team)
        return 0;
    hop_on_team {
#ifdef _OPENMP
#pragma omp parallel for reduction(+ : sum)
#endif
        for (long i = 0; i < 100000; i++)
            sum += i;
    }
    right(sum == 4999950000L);
    return 0;
}

/* --- tasks --- */

static int twice(void *arg)
{
    int *n = arg;

    *n *= 2;
    return *n;
}

static int walk(void *arg)
{
    int n = hop_int(arg), here = 0;

    all_of(hop_offload(twice, &n), 2 * hop_int(arg));
    hop_on_cpu
        here = hop_here();
    right(here == HOP_CPU);
    hop_on_blocking
        here = hop_here();
    right(here == HOP_BLOCKING);
    right(hop_here() == HOP_LOOP);
    try(hop_sleep(HOP_MS));
    return 0;
}

static int walk_in_crowd(void)
{
    hop_scope scope;
    int rc = 0, closed;

    try(hop_scope_open(&scope));
    for (int i = 0; i < TASKS && !rc; i++)
        rc = hop_spawn(&scope, walk, hop_ptr(i), NULL);
    closed = hop_scope_close(&scope);
    return rc < 0 ? rc : closed;
}

static int produce(void *arg)
{
    hop_channel *channel = arg;

    for (int i = 0; i < ROUNDS; i++)
        try(hop_channel_send(channel, &i));
    return hop_channel_close(channel);
}

static int consume(hop_channel *channel)
{
    int i, n = 0;

    for (; hop_channel_recv(channel, &i) == 1; n++)
        right(i == n);
    right(n == ROUNDS);
    return 0;
}

static int use_channel(void)
{
    hop_channel *channel;
    hop_scope scope;
    int rc, closed;

    try(hop_channel_new(&channel, sizeof(int), 2));
    try(hop_scope_open(&scope));
    rc = hop_spawn(&scope, produce, channel, NULL);
    if (!rc)
        rc = consume(channel);
    hop_channel_close(channel);
    closed = hop_scope_close(&scope);
    hop_channel_free(channel);
    return rc ? rc : closed;
}

static int wait_in_vain(void)
{
    hop_future never = HOP_FUTURE_INIT;
    hop_ns began = hop_now();

    right(hop_await_until(&never, began + 3 * HOP_MS) == -ETIMEDOUT);
    right(hop_now() >= began + 3 * HOP_MS);
    return 0;
}

/* --- input and output --- */

static int read_file(void)
{
    char head[4] = "";
    int fd = open(o.program, O_RDONLY | O_CLOEXEC);

    made(fd);
    all_of(hop_read_full(fd, head, sizeof head), sizeof head);
    right(!memcmp(head, "\177ELF", 4) || !memcmp(head, "#!", 2)); /* the latter: libtool's */
    return hop_close(fd);
}

static int write_late(void *arg)
{
    int *ends = arg, rc = hop_sleep(HOP_MS);

    if (!rc)
        rc = (int)hop_write_full(ends[1], "pipe", 4);
    hop_close(ends[1]);
    return rc;
}

static int use_pipe(void)
{
    char text[8];
    int ends[2], rc;
    hop_scope scope;

    made(pipe(ends));
    try(hop_scope_open(&scope));
    rc = hop_spawn(&scope, write_late, ends, NULL);
    if (!rc)
        rc = (int)hop_read_full(ends[0], text, sizeof text);
    try(hop_scope_close(&scope));
    all_of(rc, 4);
    right(!memcmp(text, "pipe", 4));
    return hop_close(ends[0]);
}

static int echo(void *arg)
{
    int fd = hop_int(arg);
    char buffer[256];
    ssize_t n;

    while ((n = hop_read(fd, buffer, sizeof buffer)) > 0)
        n = hop_write_full(fd, buffer, (size_t)n);
    hop_close(fd);
    return n < 0 ? (int)n : 0;
}

static int serve(void *arg)
{
    hop_scope connections;
    int rc = 0, closed;

    try(hop_scope_open(&connections));
    for (int i = 0; i < CLIENTS && rc >= 0; i++) {
        rc = hop_accept(hop_int(arg));
        if (rc >= 0)
            rc = hop_spawn(&connections, echo, hop_ptr(rc), NULL);
    }
    closed = hop_scope_close(&connections);
    return rc < 0 ? rc : closed;
}

static int converse(void *arg)
{
    char line[32], answer[32];
    int fd = hop_dial(arg);

    try(fd);
    for (int i = 0; i < ROUNDS; i++) {
        size_t n = (size_t)snprintf(line, sizeof line, "line %d\n", i);

        all_of(hop_write_full(fd, line, n), n);
        all_of(hop_read_full(fd, answer, n), n);
        right(!memcmp(line, answer, n));
    }
    return hop_close(fd);
}

static int use_net(void)
{
    char address[64];
    hop_scope scope;
    int listener, rc, closed;

    if (o.no_net)
        return 0;
    listener = hop_listen("tcp:127.0.0.1:0");
    try(listener);
    try(hop_local_address(listener, address, sizeof address));
    try(hop_scope_open(&scope));
    rc = hop_spawn(&scope, serve, hop_ptr(listener), NULL);
    for (int i = 0; i < CLIENTS && !rc; i++)
        rc = hop_spawn(&scope, converse, address, NULL);
    if (rc < 0)
        hop_scope_cancel(&scope, rc);
    closed = hop_scope_close(&scope);
    hop_close(listener);
    return rc < 0 ? rc : closed;
}

/* --- all of it --- */

static int do_everything(void)
{
    try(compute());
    try(use_team());
    try(walk_in_crowd());
    try(use_channel());
    try(wait_in_vain());
    try(read_file());
    try(use_pipe());
    try(use_net());
    try(compute());
    return 0;
}

static int main_task(void *arg)
{
    (void)arg;
    o.started = true;
    try(do_everything());
    if (o.refuse >= 0) {
        try(refuse_calls(ENOSYS, &o.refuse, 1));
        try(do_everything());
    }
    try(hop_describe(o.out));
    return 0;
}

static int run(void)
{
    struct event_base *base;
    hop_runtime *rt;
    int rc;

    if (!o.attached)
        return hop_run(main_task, NULL, &o.config);
    base = event_base_new();
    if (!base)
        return -ENOMEM;
    o.config.base = base;
    o.config.drain_ns = HOP_FOREVER;
    rc = hop_runtime_new(&rt, &o.config);
    if (!rc) {
        rc = hop_spawn(hop_root(rt), main_task, NULL, NULL);
        rc = rc < 0 ? rc : hop_runtime_free(rt);
    }
    event_base_free(base);
    return rc;
}

static bool understand(const char *word)
{
    static const char *const qualities[] = { "", "off", "mild", "idle", "realtime" };

    for (size_t i = 1; i < sizeof qualities / sizeof *qualities; i++)
        if (!strcmp(word, qualities[i])) {
            o.config.qos = (enum hop_qos)i;
            return true;
        }
    if (!strcmp(word, "no-pin"))
        o.config.no_pin = 1;
    else if (!strcmp(word, "no-net"))
        o.no_net = true;
    else if (!strcmp(word, "no-team"))
        o.no_team = true;
    else if (!strcmp(word, "attached"))
        o.attached = true;
    else if (!strncmp(word, "refuse=", 7))
        o.refuse = atol(word + 7);
    else if (!strncmp(word, "to=", 3))
        o.out = fdopen(atoi(word + 3), "w");
    else
        return false;
    return o.out != NULL;
}

int main(int argc, char **argv)
{
    static const char *const verdicts[] = { "all right", "wrong: ", "", "refused: ", "failed: " };
    int rc, status;

    alarm(LIMIT_SECONDS); /* SIGALRM ends a program that hangs */
    o.out = stdout;
    o.program = argv[0];
    for (int i = 1; i < argc; i++)
        if (!understand(argv[i]))
            return USAGE;
    rc = run();
    status = rc >= 0 ? RIGHT : rc == -EBADMSG ? WRONG : o.started ? FAILED : REFUSED;
    fprintf(o.out, "service: %s%s\n", verdicts[status], rc < 0 ? strerror(-rc) : "");
    fflush(o.out);
    return status;
}
