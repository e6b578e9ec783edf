/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer-floor: what the machine does without a library: peer-floor WORKLOAD VARIANT [N | PORT]
 *
 * offload_rtt   a round trip to another thread and back. spin: both turn; futex: both sleep; futex+epoll: the way back
 *               is an eventfd in an epoll; -spin20us: that, but both turn for 20 us before they sleep
 * echo_tcp      epoll: a bare loop
 */
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "bench.h"

#if defined(__x86_64__) || defined(__i386__)
#define relax() __builtin_ia32_pause()
#else
#define relax() ((void)0)
#endif

/* --- offload_rtt: one direction each way; every way counts up and tells the other side --- */

struct side {
    _Alignas(128) _Atomic uint32_t count;
    _Atomic bool asleep;
    int eventfd, epoll; /* -1: by futex */
};

static struct side there, back;
static uint64_t spin_ns; /* before sleeping; UINT64_MAX: never sleep */
static long total;

static void wake(struct side *s)
{
    uint64_t one = 1;

    if (s->eventfd < 0)
        syscall(SYS_futex, &s->count, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    else if (write(s->eventfd, &one, sizeof one) != sizeof one)
        abort();
}

static void tell(struct side *s, uint32_t count)
{
    atomic_store(&s->count, count); /* sequentially consistent, as below: one of the two sees the other */
    if (spin_ns != UINT64_MAX && atomic_load(&s->asleep))
        wake(s);
}

static bool turns_until(struct side *s, uint32_t count)
{
    uint64_t until = spin_ns == UINT64_MAX ? UINT64_MAX : now_ns() + spin_ns;
    int i;

    do {
        for (i = 0; i < 32; i++) {
            if (atomic_load_explicit(&s->count, memory_order_acquire) == count)
                return true;
            relax();
        }
    } while (spin_ns && (until == UINT64_MAX || now_ns() < until));
    return false;
}

static void sleep_on(struct side *s, uint32_t count)
{
    struct epoll_event event;
    uint64_t value;

    if (s->eventfd < 0) {
        syscall(SYS_futex, &s->count, FUTEX_WAIT_PRIVATE, count - 1, NULL, NULL, 0);
        return;
    }
    if (epoll_wait(s->epoll, &event, 1, -1) == 1 && read(s->eventfd, &value, sizeof value) != sizeof value)
        abort();
}

static void await(struct side *s, uint32_t count)
{
    if (spin_ns && turns_until(s, count))
        return;
    atomic_store(&s->asleep, true);
    while (atomic_load(&s->count) != count)
        sleep_on(s, count);
    atomic_store(&s->asleep, false);
}

static void *answer(void *arg)
{
    long i;

    for (i = 1; i <= total; i++) {
        await(&there, (uint32_t)i);
        tell(&back, (uint32_t)i);
    }
    return arg;
}

static void open_sides(bool by_epoll)
{
    struct epoll_event event = { .events = EPOLLIN };

    there.eventfd = back.eventfd = -1;
    if (!by_epoll)
        return;
    back.eventfd = eventfd(0, EFD_CLOEXEC);
    back.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(back.epoll, EPOLL_CTL_ADD, back.eventfd, &event))
        abort();
}

static void offload_rtt(const char *variant, long n)
{
    struct rounds r = rounds_of("floor", "offload_rtt", variant, (double)n, "ns");
    struct latencies l = { 0 };
    uint64_t start, last, now;
    uint32_t count = 0;
    pthread_t thread;
    long i;

    spin_ns = !strcmp(variant, "spin") ? UINT64_MAX : strstr(variant, "spin20us") ? 20000 : 0;
    open_sides(strstr(variant, "epoll") != NULL);
    total = n * (r.wanted + 2); /* a warm-up, and a round with a clock */
    if (pthread_create(&thread, NULL, answer, NULL))
        abort();
    while (rounds_next(&r)) {
        start = now_ns();
        for (i = 0; i < n; i++) {
            tell(&there, ++count);
            await(&back, count);
        }
        rounds_add(&r, (double)(now_ns() - start) / (double)n);
    }
    for (i = 0, last = now_ns(); i < n; i++, last = now) {
        tell(&there, ++count);
        await(&back, count);
        now = now_ns();
        latencies_add(&l, now - last);
    }
    pthread_join(thread, NULL);
    expect(back.count == (uint32_t)total, "every trip there and back");
    rounds_report(&r, latencies_json(&l));
}

/* --- echo_tcp --- */

static int listen_at(long port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 128)) {
        perror("listen");
        exit(EXIT_FAILURE);
    }
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        abort();
}

static void accept_one(int epoll, int listener)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(epoll, fd);
}

static void echo_one(int fd)
{
    static char buffer[4096];
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);

    if (n <= 0 || send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
        close(fd);
}

static void echo_tcp(long port)
{
    struct epoll_event events[128];
    int i, n, listener = listen_at(port), epoll = epoll_create1(EPOLL_CLOEXEC);

    watch(epoll, listener);
    for (;;) {
        n = epoll_wait(epoll, events, 128, -1);
        for (i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_one(epoll, listener);
            else
                echo_one(events[i].data.fd);
        }
    }
}

int main(int argc, char **argv)
{
    long n = argc > 3 ? atol(argv[3]) : 0;

    if (argc > 2 && !strcmp(argv[1], "offload_rtt"))
        offload_rtt(argv[2], n ? n : 20000);
    else if (argc > 2 && !strcmp(argv[1], "echo_tcp"))
        echo_tcp(n ? n : 9000);
    else {
        fprintf(stderr, "usage: peer-floor offload_rtt spin|futex|futex+epoll|futex+epoll-spin20us [N]\n"
                        "       peer-floor echo_tcp epoll [PORT]\n");
        return 2;
    }
    return 0;
}
