/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer-libevent: timers heap [N] | echo_tcp event|bufferevent [PORT]. event: libevent tells when to read, and the
 * server calls recv and send; bufferevent: libevent does that too.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "bench.h"

/* --- timers --- */

struct timer {
    struct event event;
    uint64_t due, late_ns;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = (struct timer *)arg;
    uint64_t now = now_ns();

    (void)fd;
    (void)what;
    expect(now >= t->due, "no timer fires early");
    t->late_ns = now - t->due;
}

static void timers(const char *variant, long n)
{
    struct rounds r = rounds_of("libevent", "timers", variant, (double)n, "cpu_s");
    struct event_config *config = event_config_new();
    struct timer *t = (struct timer *)calloc((size_t)n, sizeof *t);
    struct latencies late = { 0 };
    struct event_base *base;
    uint64_t seed = SEED, start;
    double cpu, create, wall;
    char extra[160];
    long i;

    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    base = event_base_new_with_config(config);
    rounds_only(&r);
    cpu = cpu_seconds();
    start = now_ns();
    for (i = 0; i < n; i++) {
        uint64_t wait_us;
        struct timeval tv;

        seed = chain(seed, 1);
        t[i].due = start + 1000000000u + seed % 1000000000u;
        wait_us = (t[i].due - now_ns()) / 1000 + 1;
        tv.tv_sec = (time_t)(wait_us / 1000000);
        tv.tv_usec = (suseconds_t)(wait_us % 1000000);
        evtimer_assign(&t[i].event, base, on_timer, &t[i]);
        evtimer_add(&t[i].event, &tv);
    }
    create = (double)(now_ns() - start) * 1e-9;
    event_base_dispatch(base);
    rounds_add(&r, cpu_seconds() - cpu);
    wall = (double)(now_ns() - start) * 1e-9;
    for (i = 0; i < n; i++)
        latencies_add(&late, t[i].late_ns);
    latencies_sort(&late);
    snprintf(extra, sizeof extra, ",\"create_s\":%.3f,\"wall_s\":%.3f,\"late_p50_us\":%.0f,\"late_p99_us\":%.0f",
             create, wall, latencies_at(&late, 0.5) / 1000, latencies_at(&late, 0.99) / 1000);
    rounds_report(&r, extra);
}

/* --- echo_tcp --- */

static bool buffered;

static void on_input(struct bufferevent *b, void *arg)
{
    (void)arg;
    bufferevent_write_buffer(b, bufferevent_get_input(b));
}

static void on_end(struct bufferevent *b, short what, void *arg)
{
    (void)arg;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        bufferevent_free(b);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    static char buffer[4096];
    struct event **e = (struct event **)arg;
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);

    (void)what;
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n) {
        event_free(*e);
        free(e);
        close(fd);
    }
}

static void on_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a, int length, void *arg)
{
    struct event_base *base = (struct event_base *)arg;
    struct bufferevent *b;
    struct event **e;
    int one = 1;

    (void)l;
    (void)a;
    (void)length;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (buffered) {
        b = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
        bufferevent_setcb(b, on_input, NULL, on_end, NULL);
        bufferevent_enable(b, EV_READ | EV_WRITE);
        return;
    }
    e = (struct event **)malloc(sizeof *e);
    *e = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, e);
    event_add(*e, NULL);
}

static void echo_tcp(const char *variant, long port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct event_base *base = event_base_new();

    buffered = !strcmp(variant, "bufferevent");
    if (!evconnlistener_new_bind(base, on_connection, base, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE, 128,
                                 (struct sockaddr *)&a, sizeof a)) {
        perror("listen");
        exit(EXIT_FAILURE);
    }
    event_base_dispatch(base);
}

int main(int argc, char **argv)
{
    long n = argc > 3 ? atol(argv[3]) : 0;

    if (argc > 2 && !strcmp(argv[1], "timers"))
        timers(argv[2], n ? n : 100000);
    else if (argc > 2 && !strcmp(argv[1], "echo_tcp"))
        echo_tcp(argv[2], n ? n : 9000);
    else {
        fprintf(stderr, "usage: peer-libevent timers heap [N]\n"
                        "       peer-libevent echo_tcp event|bufferevent [PORT]\n");
        return 2;
    }
    return 0;
}
