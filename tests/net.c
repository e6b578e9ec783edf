/* SPDX-License-Identifier: BSD-3-Clause */

/* Stream sockets by address: the form, listening, accepting, dialling, and what goes wrong. */
#include "harness.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "async/address.h"

/* --- the form --- */

static const char *const good[] = {
    "tcp:127.0.0.1:8080", "tcp:0.0.0.0:0", "tcp:[::1]:0", "tcp:[::]:65535", "tcp:localhost:80", "tcp:a-b.example:1",
    "tcp:[fe80::1%eth0]:80", "tcp:x_y:9", "tcp:[::ffff:1.2.3.4]:80", "unix:/run/service.sock", "unix:relative",
    "unix::", "tcp:1.2.3.4.example:5",
};

static const char *const bad[] = {
    "", ":", "tcp", "tcp:", "tcp::", "tcp::80", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:x",
    "tcp:127.0.0.1:-1", "tcp:127.0.0.1:+1", "tcp:127.0.0.1: 1", "tcp:127.0.0.1:1 ", "tcp:127.0.0.1:65536",
    "tcp:127.0.0.1:99999", "tcp:127.0.0.1:000000", "tcp:127.0.0.1:080", "tcp:127.0.0.1:4294967297",
    "tcp:127.0.0.1:80:80", "tcp:::1:80", "tcp:[::1]", "tcp:[::1]80", "tcp:[::1]:", "tcp:[::1:80", "tcp:[]:80",
    "tcp:[127.0.0.1]:80", "tcp:[::1]:65536", "tcp:256.0.0.1:80", "tcp:1.2.3:80", "tcp:127.1:80", "tcp:2130706433:80",
    "tcp:1.2.3.4.5:80", "tcp:a b:80", "tcp:a/b:80", "tcp:a@b:80", "TCP:127.0.0.1:80", "udp:127.0.0.1:80",
    " tcp:127.0.0.1:80", "127.0.0.1:80", "unix:", "unix", "tcp:\xc3\xa4:80", "tcp:%lo:80",
};

START_TEST(form)
{
    struct hop__address a;
    char text[400], path[120];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(hop__address_parse(good[i], &a) == 0, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(hop__address_parse(bad[i], &a) == -EINVAL, "%s", bad[i]);
        ck_assert_msg(hop_listen(bad[i]) == -EINVAL, "%s", bad[i]);
        ck_assert_msg(hop_dial(bad[i]) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(hop_listen(NULL), -EINVAL);
    ck_assert_int_eq(hop_dial(NULL), -EINVAL);
    ck_assert_int_eq(hop__address_parse(NULL, &a), -EINVAL);
    ck_assert_int_eq(hop_listen("tcp:[::1::2]:80"), -EINVAL); /* found out by who reads numbers */
    ck_assert_int_eq(hop_dial("tcp:[1:2]:80"), -EINVAL);

    ck_assert_int_eq(hop__address_parse("tcp:[fe80::1%eth0]:123", &a), 0);
    ck_assert_str_eq(a.host, "fe80::1%eth0");
    ck_assert_int_eq(a.port, 123);
    memset(path, 'p', sizeof path);
    for (size_t n = 107; n <= 108; n++) { /* sun_path has room for 107 and a zero */
        path[n] = '\0';
        snprintf(text, sizeof text, "unix:%s", path);
        ck_assert_int_eq(hop__address_parse(text, &a), n == 107 ? 0 : -EINVAL);
        path[n] = 'p';
    }
    snprintf(text, sizeof text, "tcp:%0253d.example:1", 7);
    ck_assert_int_eq(hop__address_parse(text, &a), -EINVAL);
}
END_TEST

/* Any bytes: a clear answer, and never a read beyond the text (asan). */
START_TEST(noise)
{
    static const char parts[] = "tcp:unix:[]::1%.0987654321-_az /\x80";
    unsigned state = test_seed();
    struct hop__address a;

    for (int round = 0; round < 100000; round++) {
        size_t n = test_random(&state) % 40, i = 0;
        char *text = malloc(n + 5 + 1);

        must(text);
        if (test_random(&state) % 2)
            i = (size_t)snprintf(text, 6, "%s", test_random(&state) % 4 ? "tcp:" : "unix:");
        for (; n; n--)
            text[i++] = parts[test_random(&state) % (sizeof parts - 1)];
        text[i] = '\0';
        must(hop__address_parse(text, &a) == 0 || hop__address_parse(text, &a) == -EINVAL);
        free(text);
    }
}
END_TEST

/* A thread of the OpenMP runtime that ends may still hold a library open for a moment. */
static int settled_descriptors(int expected)
{
    struct timespec ms = { 0, 1000000 };

    for (int i = 0; i < 1000 && open_descriptors() != expected; i++)
        nanosleep(&ms, NULL);
    return open_descriptors();
}

/* --- one connection after another --- */

static int echo(void *arg)
{
    char buffer[64];
    int fd = hop_int(arg);
    ssize_t n;

    while ((n = hop_read(fd, buffer, sizeof buffer)) > 0)
        must_eq(hop_write_full(fd, buffer, (size_t)n), n);
    return hop_close(fd);
}

static int serve(void *arg)
{
    hop_scope scope;
    int fd;

    must_eq(hop_scope_open(&scope), 0);
    while ((fd = hop_accept(hop_int(arg))) >= 0)
        must_eq(hop_spawn(&scope, echo, hop_ptr(fd), NULL), 0);
    must_eq(fd, -EBADF);
    return hop_scope_close(&scope);
}

static void talk(const char *address, bool tcp)
{
    int fd = hop_dial(address), value = 0;
    socklen_t bytes = sizeof value;
    char buffer[5];

    must(fd >= 0);
    must(fcntl(fd, F_GETFL) & O_NONBLOCK);
    must(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    must(!tcp || (!getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &bytes) && value));
    for (int i = 0; i < 10; i++) {
        must_eq(hop_write_full(fd, "hello", 5), 5);
        must_eq(hop_read_full(fd, buffer, 5), 5);
    }
    must_eq(hop_close(fd), 0);
}

static const char *served;

static int client(void *arg)
{
    (void)arg;
    talk(served, !strncmp(served, "tcp:", 4));
    return 0;
}

static int listener; /* for the test of plain threads too */

/* A bare system has no /etc/hosts. */
static bool localhost_is_known(void)
{
    struct addrinfo *list;

    if (getaddrinfo("localhost", NULL, NULL, &list))
        return false;
    freeaddrinfo(list);
    return true;
}

static void conversation(const char *address, bool from_threads)
{
    char local[200];
    hop_scope server, clients;

    listener = hop_listen(address);
    if (listener == -EAFNOSUPPORT || listener == -EADDRNOTAVAIL)
        return; /* no IPv6 here */
    must(listener >= 0);
    must(fcntl(listener, F_GETFL) & O_NONBLOCK);
    must(hop_local_address(listener, local, sizeof local) > 0);
    served = local;
    must_eq(hop_scope_open(&server), 0);
    must_eq(hop_spawn(&server, serve, hop_ptr(listener), NULL), 0);
    must_eq(hop_scope_open(&clients), 0);
    for (int i = 0; i < 20; i++) /* two descriptors each: this runs with 64 of them, too */
        must_eq(hop_spawn(&clients, client, NULL, NULL), 0);
    if (from_threads)
        client(NULL);
    must_eq(hop_scope_close(&clients), 0);
    must_eq(hop_close(listener), 0);
    must_eq(hop_scope_close(&server), 0);
}

static int conversations_main(void *arg)
{
    char name[] = "/tmp/hop-net-XXXXXX", address[64];
    int fds = open_descriptors();

    (void)arg;
    must(mkdtemp(name));
    snprintf(address, sizeof address, "unix:%s/socket", name);
    conversation("tcp:127.0.0.1:0", false);
    conversation("tcp:[::1]:0", false);
    if (localhost_is_known())
        conversation("tcp:localhost:0", false);
    conversation(address, false);
    must_eq(hop_listen(address), -EADDRINUSE); /* the file is its owner's to remove */
    must_eq(hop_dial(address), -ECONNREFUSED);
    must_eq(unlink(address + 5), 0);
    must_eq(hop_dial(address), -ENOENT);
    must_eq(rmdir(name), 0);
    must_eq(open_descriptors(), fds);
    return 0;
}

START_TEST(conversations)
{
    run_main_with(conversations_main, NULL, &(hop_config){ .loops = 2 });
}
END_TEST

START_TEST(plain_threads)
{
    hop_runtime *rt;
    int before = open_descriptors();

    ck_assert_int_eq(hop_runtime_new(&rt, NULL), 0);
    conversation("tcp:127.0.0.1:0", true); /* tasks that serve, started and closed by this thread */
    if (localhost_is_known())
        conversation("tcp:localhost:0", true);
    ck_assert_int_eq(hop_runtime_free(rt), 0);
    ck_assert_int_eq(settled_descriptors(before), before);
}
END_TEST

/* --- local addresses --- */

START_TEST(local_address)
{
    char out[100], expected[100];
    struct sockaddr_in at;
    socklen_t bytes = sizeof at;
    int fd = hop_listen("tcp:127.0.0.1:0"), n, pair[2];

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    n = snprintf(expected, sizeof expected, "tcp:127.0.0.1:%u", ntohs(at.sin_port));
    ck_assert_int_eq(hop_local_address(fd, out, sizeof out), n);
    ck_assert_str_eq(out, expected);
    ck_assert_int_eq(hop_local_address(fd, out, (size_t)n + 1), n);
    ck_assert_int_eq(hop_local_address(fd, out, (size_t)n), -ENOSPC);
    ck_assert_int_eq(hop_local_address(fd, out, 0), -EINVAL);
    ck_assert_int_eq(hop_local_address(fd, NULL, 10), -EINVAL);
    ck_assert_int_eq(hop_local_address(-1, out, sizeof out), -EBADF);
    ck_assert_int_eq(hop_close(fd), 0);
    ck_assert_int_eq(hop_local_address(fd, out, sizeof out), -EBADF);
    ck_assert_int_eq(pipe(pair), 0);
    ck_assert_int_eq(hop_local_address(pair[0], out, sizeof out), -ENOTSOCK);
    close(pair[0]);
    close(pair[1]);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(hop_local_address(pair[0], out, sizeof out), -EAFNOSUPPORT);
}
END_TEST

/* --- what goes wrong --- */

static int accept_wrong(void)
{
    int fds[2];

    must_eq(hop_accept(-1), -EBADF);
    must_eq(pipe(fds), 0);
    must_eq(hop_accept(fds[0]), -ENOTSOCK);
    close(fds[0]);
    close(fds[1]);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    must_eq(hop_accept(fds[0]), -EINVAL);
    return close(fds[0]);
}

static int port_of(const char *address)
{
    return atoi(strrchr(address, ':') + 1);
}

static int wrong_main(void *arg)
{
    char local[100], text[100];
    int fd, fds = open_descriptors();

    (void)arg;
    accept_wrong();
    fd = hop_listen("tcp:127.0.0.1:0");
    must(hop_local_address(fd, local, sizeof local) > 0);
    must_eq(hop_listen(local), -EADDRINUSE);
    hop_within(2 * HOP_MS) {
        must_eq(hop_accept(fd), -ETIMEDOUT);
    }
    must_eq(hop_close(fd), 0);
    must_eq(hop_dial(local), -ECONNREFUSED);
    snprintf(text, sizeof text, "tcp:localhost:%d", port_of(local));
    must_eq(hop_dial(text), localhost_is_known() ? -ECONNREFUSED : -ENOENT); /* each of its addresses */
    must_eq(hop_listen("tcp:203.0.113.7:0"), -EADDRNOTAVAIL);
    must_eq(hop_listen("unix:/no/such/directory/x"), -ENOENT);
    must_eq(hop_dial("unix:/no/such/socket"), -ENOENT);
    must_eq(open_descriptors(), fds);
    return 0;
}

START_TEST(wrong)
{
    accept_wrong();
    run_main(wrong_main);
}
END_TEST

static int in_job(void *arg)
{
    int fd;

    (void)arg;
    must_eq(hop_accept(listener), -EWOULDBLOCK);
    must_eq(hop_dial("tcp:127.0.0.1:1"), -EWOULDBLOCK);
    must_eq(hop_listen("tcp:localhost:0"), -EWOULDBLOCK); /* a name has to be looked up */
    fd = hop_listen("tcp:127.0.0.1:0");
    must(fd >= 0);
    return hop_close(fd);
}

static int job_main(void *arg)
{
    (void)arg;
    listener = hop_listen("tcp:127.0.0.1:0");
    must_eq(hop_offload(in_job, NULL), 0);
    return hop_close(listener);
}

START_TEST(in_jobs)
{
    run_main(job_main);
}
END_TEST

/* A connection for which there is no descriptor stays in the queue. */
static int full_main(void *arg)
{
    struct rlimit was, now;
    char local[100];
    int dialled, used[64], n = 0, fd;

    (void)arg;
    listener = hop_listen("tcp:127.0.0.1:0");
    must(hop_local_address(listener, local, sizeof local) > 0);
    hop_within(HOP_MS) {
        must_eq(hop_accept(listener), -ETIMEDOUT); /* the loop knows it: from here on there are edges */
    }
    dialled = hop_dial(local);
    must(dialled >= 0);
    must_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = was;
    now.rlim_cur = (rlim_t)dialled + 20;
    must_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
    while ((fd = dup(listener)) >= 0)
        used[n++] = fd;
    must_eq(hop_accept(listener), -EMFILE);
    must_eq(hop_sleep(2 * HOP_MS), 0); /* the edge has come and gone */
    must_eq(hop_accept(listener), -EMFILE);
    must_eq(hop_dial(local), -EMFILE);
    must_eq(hop_listen("tcp:127.0.0.1:0"), -EMFILE);
    close(used[--n]);
    fd = hop_accept(listener);
    must(fd >= 0);
    must_eq(hop_close(fd), 0);
    while (n)
        close(used[--n]);
    must_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    must_eq(hop_close(dialled), 0);
    return hop_close(listener);
}

START_TEST(no_descriptors)
{
    if (TEST_VALGRIND) /* it limits descriptors by itself: it accepts a connection and then throws it away */
        return;
    run_main(full_main);
}
END_TEST

/* Unix listeners whose queue is full do not tell when there is room; the dial gets through all the same. */
static int dial_served(void *arg)
{
    int fd = hop_dial(served);

    (void)arg;
    must(fd >= 0);
    return hop_close(fd);
}

static int backlog_main(void *arg)
{
    char name[] = "/tmp/hop-net-XXXXXX", address[64];
    hop_scope scope;
    int n;

    (void)arg;
    must(mkdtemp(name));
    snprintf(address, sizeof address, "unix:%s/socket", name);
    listener = hop_listen(address);
    must(listener >= 0);
    must_eq(listen(listener, 1), 0); /* a short queue */
    served = address;
    must_eq(hop_scope_open(&scope), 0);
    for (n = 0; n < 10; n++)
        must_eq(hop_spawn(&scope, dial_served, NULL, NULL), 0);
    must_eq(hop_sleep(5 * HOP_MS), 0);
    for (n = 0; n < 10; n++) {
        int fd = hop_accept(listener);

        must(fd >= 0);
        must_eq(hop_close(fd), 0);
    }
    must_eq(hop_scope_close(&scope), 0);
    must_eq(unlink(address + 5), 0);
    must_eq(rmdir(name), 0);
    return hop_close(listener);
}

START_TEST(full_queue)
{
    run_main(backlog_main);
}
END_TEST

/* Nobody answers: the deadline and a cancellation end the dial, and the descriptor is gone. */
static int dial_nobody(void *arg)
{
    return hop_dial(arg);
}

static int silence_main(void *arg)
{
    char local[100];
    hop_scope scope;
    int fds = open_descriptors(), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filler[20], n = 0;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    (void)arg;
    must_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    must_eq(listen(fd, 0), 0); /* nobody accepts: once its queue is full the handshake is not answered */
    must(hop_local_address(fd, local, sizeof local) > 0);
    for (;;) {
        int rc = 0;

        hop_within(50 * HOP_MS) {
            rc = hop_dial(local);
        }
        if (rc < 0) {
            must_eq(rc, -ETIMEDOUT);
            break;
        }
        must(n < 20);
        filler[n++] = rc;
    }
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, dial_nobody, local, NULL), 0);
    must_eq(hop_sleep(2 * HOP_MS), 0);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    while (n)
        must_eq(hop_close(filler[--n]), 0);
    must_eq(hop_close(fd), 0);
    must_eq(open_descriptors(), fds);
    return 0;
}

START_TEST(silence)
{
    run_main(silence_main);
}
END_TEST

RUN_TESTS("net", form, noise, conversations, plain_threads, local_address, wrong, in_jobs, no_descriptors, full_queue,
          silence)
