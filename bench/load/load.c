/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In a closed loop a client asks again as soon as it is answered. With a rate, requests are due at fixed times, each
 * takes the next free connection, and its latency counts from the time it was due: a server that stalls is charged for
 * every request that it kept from being sent. (Counting from the moment of sending would omit just those.) Heavy
 * clients are always a closed loop. What is still unanswered some time after the end counts with its age.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { EVENTS = 128, IDLE_NS = 100000000 };

#define DRAIN_NS UINT64_C(2000000000)

struct connection {
    int fd;
    bool heavy, busy;
    size_t got;
    uint64_t start;        /* when the request was sent, or due */
    char *asked, *answer;  /* what must come back, and what has */
};

struct load {
    const struct load_options *options;
    struct load_result *result;
    struct connection *connections;
    int count, epoll;
    uint64_t begin, end;   /* of the measured time */
    uint64_t step, due;    /* between requests, and of the next; step 0: closed loop */
    int next;              /* connection to try first */
    bool behind;           /* the next request was due while no connection was free */
    uint64_t sequence, heavy_sum;
};

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* --- requests and answers --- */

static void write_request(struct load *load, struct connection *c)
{
    size_t at;

    load->sequence++;
    memset(c->asked, c->heavy ? 'H' : 'L', 8);
    for (at = 8; at < load->options->bytes; at += 8) {
        uint64_t word = load->sequence * 0x9e3779b97f4a7c15u + at;

        memcpy(c->asked + at, &word, 8);
    }
}

static void send_request(struct load *load, struct connection *c, uint64_t start)
{
    write_request(load, c);
    c->start = start;
    c->got = 0;
    c->busy = true;
    if (send(c->fd, c->asked, load->options->bytes, MSG_NOSIGNAL) != (ssize_t)load->options->bytes)
        die("send");
    if (c->heavy)
        put_answer(c->asked, load->heavy_sum); /* what differs in the answer */
}

static void record(struct load *load, struct connection *c, uint64_t now)
{
    if (c->start >= load->begin && c->start < load->end)
        latencies_add(c->heavy ? &load->result->heavy : &load->result->light, now - c->start);
}

/* Takes what has come; true if the answer is whole. */
static bool take_answer(struct load *load, struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->got, load->options->bytes - c->got, 0);

    if (n <= 0) {
        if (!n)
            errno = ECONNRESET;
        die("recv");
    }
    c->got += (size_t)n;
    if (c->got < load->options->bytes)
        return false;
    expect(!memcmp(c->answer, c->asked, load->options->bytes), "an answer differs from what it should be");
    c->busy = false;
    return true;
}

/* --- the schedule --- */

static struct connection *free_connection(struct load *load)
{
    int tried;

    for (tried = 0; tried < load->options->light; tried++) {
        struct connection *c = &load->connections[load->next];

        load->next = (load->next + 1) % load->options->light;
        if (!c->busy)
            return c;
    }
    return NULL;
}

/* Sends what is due, as far as there are connections for it. */
static void send_due(struct load *load, uint64_t now)
{
    for (; load->due <= now && load->due < load->end; load->due += load->step) {
        struct connection *c = free_connection(load);

        if (!c) {
            if (!load->behind && load->due >= load->begin)
                load->result->starved++;
            load->behind = true;
            return;
        }
        if (!load->behind && load->due >= load->begin)
            latencies_add(&load->result->late, now - load->due);
        send_request(load, c, load->due);
    }
    load->behind = false;
}

static uint64_t wait_for(const struct load *load, uint64_t now)
{
    if (!load->step || load->due >= load->end || load->behind)
        return IDLE_NS;
    return load->due > now ? load->due - now : 0;
}

/* --- the loop --- */

static void take_events(struct load *load, uint64_t wait_ns, bool go_on)
{
    struct timespec wait = { (time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u) };
    struct epoll_event events[EVENTS];
    int i, n = epoll_pwait2(load->epoll, events, EVENTS, &wait, NULL);

    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    for (i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        uint64_t now;

        if (!take_answer(load, c))
            continue;
        now = now_ns();
        record(load, c, now);
        if (go_on && (c->heavy || !load->step))
            send_request(load, c, now);
    }
}

static bool anything_busy(const struct load *load)
{
    int i;

    for (i = 0; i < load->count; i++)
        if (load->connections[i].busy && load->connections[i].start >= load->begin)
            return true;
    return false;
}

/* The requests that were due in the measured time are waited for, some time; then they count with their age. */
static void drain(struct load *load)
{
    uint64_t until = load->end + DRAIN_NS, now = now_ns();
    int i;

    for (; now < until && anything_busy(load); now = now_ns())
        take_events(load, until - now, false);
    for (i = 0; i < load->count; i++) {
        struct connection *c = &load->connections[i];

        if (!c->busy || c->start < load->begin)
            continue;
        record(load, c, now);
        if (c->heavy)
            load->result->heavy_unanswered++;
        else
            load->result->light_unanswered++;
    }
    for (; load->step && load->due < load->end; load->due += load->step) {
        if (load->due < load->begin)
            continue;
        latencies_add(&load->result->light, now - load->due);
        load->result->light_unanswered++;
    }
}

static double process_cpu_seconds(pid_t pid)
{
    struct timespec t;
    clockid_t clock;

    if (!pid || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void turn_until(struct load *load, uint64_t end)
{
    uint64_t now;

    for (now = now_ns(); now < end; now = now_ns()) {
        uint64_t wait;

        if (load->step)
            send_due(load, now);
        wait = wait_for(load, now);
        take_events(load, wait < end - now ? wait : end - now, true);
    }
}

static void measure(struct load *load)
{
    const struct load_options *o = load->options;
    uint64_t start = now_ns();
    double server, own;
    int i;

    load->begin = start + (uint64_t)(o->warmup_seconds * 1e9);
    load->end = load->begin + (uint64_t)(o->seconds * 1e9);
    load->step = o->rate > 0 && o->light ? (uint64_t)(1e9 / o->rate) : 0;
    load->due = start;
    for (i = 0; i < load->count; i++)
        if (load->connections[i].heavy || !load->step)
            send_request(load, &load->connections[i], now_ns());
    turn_until(load, load->begin);
    server = process_cpu_seconds(o->server);
    own = cpu_seconds();
    turn_until(load, load->end);
    load->result->server_cpu_seconds = process_cpu_seconds(o->server) - server;
    load->result->own_cpu_seconds = cpu_seconds() - own;
    drain(load);
}

/* --- connections --- */

static int dial(const struct load_options *o)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)o->port) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (inet_pton(AF_INET, o->host, &address.sin_addr) != 1) {
        errno = EINVAL;
        die(o->host);
    }
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void connect_all(struct load *load)
{
    const struct load_options *o = load->options;
    int i;

    load->count = o->light + o->heavy;
    load->connections = calloc((size_t)load->count, sizeof *load->connections);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!load->connections || load->epoll < 0)
        die("epoll_create1");
    for (i = 0; i < load->count; i++) {
        struct connection *c = &load->connections[i];
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

        c->heavy = i >= o->light;
        c->asked = calloc(2, o->bytes);
        if (!c->asked)
            die("calloc");
        c->answer = c->asked + o->bytes;
        c->fd = dial(o);
        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event))
            die("epoll_ctl");
    }
}

static void close_all(struct load *load)
{
    int i;

    for (i = 0; i < load->count; i++) {
        close(load->connections[i].fd);
        free(load->connections[i].asked);
    }
    close(load->epoll);
    free(load->connections);
}

static uint64_t heavy_sum(void)
{
    uint64_t sum = 0, i;

    for (i = 0; i < HEAVY_CHUNKS; i++)
        sum += heavy_chunk(i);
    return sum;
}

void load_run(const struct load_options *options, struct load_result *result)
{
    struct load load = { .options = options, .result = result };

    memset(result, 0, sizeof *result);
    if (options->heavy)
        load.heavy_sum = heavy_sum();
    connect_all(&load);
    measure(&load);
    close_all(&load);
    latencies_sort(&result->light);
    latencies_sort(&result->heavy);
    latencies_sort(&result->late);
}

void load_free(struct load_result *result)
{
    free(result->light.ns);
    free(result->heavy.ns);
    free(result->late.ns);
}
