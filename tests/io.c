/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading, writing, waiting and closing: every kind of descriptor, from every kind of caller. */
#include "harness.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "refuse.h"

/* A thread of the OpenMP runtime that ends may still hold a library open for a moment. */
static int settled_descriptors(int expected)
{
    struct timespec ms = { 0, 1000000 };

    for (int i = 0; i < 1000 && open_descriptors() != expected; i++)
        nanosleep(&ms, NULL);
    return open_descriptors();
}

static int pair[2];

static void make_pair(void)
{
    must_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

static void make_pipe(int flags)
{
    must_eq(pipe2(pair, O_CLOEXEC | flags), 0);
}

static void close_pair(void)
{
    must_eq(hop_close(pair[0]), 0);
    must_eq(hop_close(pair[1]), 0);
}

static void open_scope(hop_scope *scope)
{
    must_eq(hop_scope_open(scope), 0);
}

static void spawn(hop_scope *scope, hop_fn *fn, void *arg)
{
    must_eq(hop_spawn(scope, fn, arg, NULL), 0);
}

/* --- echo over everything that streams --- */

enum { ROUNDS = 300 };

static int echo(void *arg)
{
    char buffer[64];
    int fd = hop_int(arg);
    ssize_t n;

    while ((n = hop_read(fd, buffer, sizeof buffer)) > 0)
        must_eq(hop_write_full(fd, buffer, (size_t)n), n);
    must_eq(n, 0);
    return hop_close(fd);
}

static int socket_main(void *arg)
{
    hop_scope scope;
    char buffer[5];

    (void)arg;
    make_pair();
    open_scope(&scope);
    spawn(&scope, echo, hop_ptr(pair[0]));
    for (int i = 0; i < ROUNDS; i++) {
        struct iovec out[3] = { { NULL, 0 }, { (void *)(uintptr_t)"hel", 3 }, { (void *)(uintptr_t)"lo", 2 } };
        struct iovec in[2] = { { buffer, 2 }, { buffer + 2, 3 } };
        ssize_t n;

        memset(buffer, 0, sizeof buffer);
        must_eq(hop_writev(pair[1], out, 3), 5);
        n = hop_readv(pair[1], in, 2);
        must(n > 0);
        must_eq(hop_read_full(pair[1], buffer + n, (size_t)(5 - n)), 5 - n);
        must(!memcmp(buffer, "hello", 5));
    }
    must_eq(hop_close(pair[1]), 0);
    return hop_scope_close(&scope);
}

START_TEST(sockets)
{
    int before = open_descriptors();

    run_main(socket_main);
    ck_assert_int_eq(settled_descriptors(before), before);
}
END_TEST

enum { BULK = 3 << 20 };

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 7 + (i >> 11));
}

static int produce(void *arg)
{
    unsigned char *data = malloc(BULK);
    int fd = hop_int(arg);

    must(data);
    for (size_t i = 0; i < BULK; i++)
        data[i] = pattern(i);
    must_eq(hop_write_full(fd, data, BULK), BULK);
    free(data);
    return hop_close(fd);
}

static int consume(void *arg)
{
    unsigned char *data = malloc(BULK + 1);
    int fd = hop_int(arg);

    must(data);
    must_eq(hop_read_full(fd, data, BULK + 1), BULK); /* less only at the end */
    for (size_t i = 0; i < BULK; i++)
        must(data[i] == pattern(i));
    free(data);
    return hop_close(fd);
}

static int bulk(int in, int out)
{
    hop_scope scope;

    open_scope(&scope);
    spawn(&scope, produce, hop_ptr(out));
    spawn(&scope, consume, hop_ptr(in));
    return hop_scope_close(&scope);
}

static int bulk_main(void *arg)
{
    (void)arg;
    make_pair();
    must_eq(bulk(pair[0], pair[1]), 0);
    make_pipe(O_NONBLOCK);
    must_eq(bulk(pair[0], pair[1]), 0);
    make_pipe(0); /* a pipe that blocks: the loop must not, or reader and writer never meet */
    must_eq(bulk(pair[0], pair[1]), 0);
    return 0;
}

START_TEST(streams_of_all_kinds)
{
    run_main(bulk_main);
}
END_TEST

static int flags_main(void *arg)
{
    char c;

    (void)arg;
    make_pipe(0);
    hop_within(HOP_MS) {
        must_eq(hop_read(pair[0], &c, 1), -ETIMEDOUT);
    }
    must(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK));
    close_pair();
    make_pair();
    hop_within(HOP_MS) {
        must_eq(hop_read(pair[0], &c, 1), -ETIMEDOUT);
    }
    must(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK));
    close_pair();
    return 0;
}

START_TEST(flags_stay)
{
    run_main(flags_main);
}
END_TEST

static int signal_eventfd(void *arg)
{
    uint64_t one = 1;

    must_eq(hop_write(hop_int(arg), &one, sizeof one), sizeof one);
    return 0;
}

static int eventfd_main(void *arg)
{
    int fd = eventfd(0, EFD_CLOEXEC); /* blocking, and no pipe */
    uint64_t value = 0;
    hop_scope scope;

    (void)arg;
    must(fd >= 0);
    open_scope(&scope);
    spawn(&scope, signal_eventfd, hop_ptr(fd));
    must_eq(hop_read(fd, &value, sizeof value), sizeof value);
    must_eq(value, 1);
    must_eq(hop_scope_close(&scope), 0);
    return hop_close(fd);
}

START_TEST(eventfds)
{
    run_main(eventfd_main);
}
END_TEST

/* A peer that sends and resets at once: first what was sent, then the error; the read does not wait for ever. */
static int gone_main(void *arg)
{
    char buffer[100];

    (void)arg;
    make_pair();
    must_eq(hop_write(pair[1], "last words", 10), 10);
    must_eq(hop_write(pair[0], "unread", 6), 6);
    must_eq(hop_close(pair[1]), 0); /* with something unread: a reset */
    must_eq(hop_read(pair[0], buffer, sizeof buffer), 10);
    must(hop_read(pair[0], buffer, sizeof buffer) <= 0);
    must_eq(hop_write(pair[0], "x", 1), -EPIPE); /* and no SIGPIPE */
    return hop_close(pair[0]);
}

START_TEST(peer_gone)
{
    run_main(gone_main);
}
END_TEST

/* --- files --- */

static int open_file(void)
{
    char name[] = "/tmp/hop-io-XXXXXX";
    int fd = mkostemp(name, O_CLOEXEC);

    must(fd >= 0);
    must_eq(unlink(name), 0);
    return fd;
}

static void use_file(int fd)
{
    char buffer[32];
    struct iovec iov[2] = { { buffer, 4 }, { buffer + 4, 28 } };

    must_eq(hop_write_full(fd, "what a file", 11), 11);
    must_eq(lseek(fd, 0, SEEK_SET), 0);
    must_eq(hop_readv(fd, iov, 2), 11);
    must(!memcmp(buffer, "what a file", 11));
    must_eq(hop_read(fd, buffer, sizeof buffer), 0);
    must_eq(hop_read_full(fd, buffer, sizeof buffer), 0);
    must_eq(hop_wait_fd(fd, HOP_READABLE), -EPERM);
}

static int file_main(void *arg)
{
    int fd = open_file();

    (void)arg;
    use_file(fd);
    must_eq(hop_here(), HOP_LOOP);
    hop_on_cpu {
        must_eq(lseek(fd, 0, SEEK_SET), 0);
        use_file(fd);
        must_eq(hop_here(), HOP_CPU);
    }
    hop_on_blocking {
        must_eq(lseek(fd, 0, SEEK_SET), 0);
        use_file(fd);
    }
    must_eq(hop_close(fd), 0);
    must_eq(hop_close(fd), -EBADF);
    fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd >= 0);
    must_eq(hop_read(fd, &fd, 1), -EISDIR);
    return hop_close(fd);
}

START_TEST(files)
{
    run_main(file_main);
}
END_TEST

/* A number that comes again as something else, behind our back, is found out. */
static int stale_main(void *arg)
{
    int fd = open_file();
    char c;

    (void)arg;
    make_pipe(0);
    must_eq(hop_write(fd, "x", 1), 1); /* known: a file */
    must_eq(dup2(pair[0], fd), fd);
    hop_within(5 * HOP_MS) {
        must_eq(hop_read(fd, &c, 1), -ETIMEDOUT); /* on the lane it would have blocked */
    }
    must_eq(hop_write(pair[1], "y", 1), 1);
    must_eq(hop_read(fd, &c, 1), 1);
    must(c == 'y');
    must_eq(hop_close(fd), 0);
    close_pair();
    return 0;
}

START_TEST(stale_class)
{
    run_main(stale_main);
}
END_TEST

/* --- errors --- */

static void wrong_use(void)
{
    char c;
    int closed = dup(0);
    struct iovec iov[2] = { { &c, 1 }, { NULL, 1 } };
    struct iovec huge[2] = { { &c, SSIZE_MAX }, { &c, SSIZE_MAX } };
    struct iovec *many = calloc(IOV_MAX + 1, sizeof *many);

    must(many);
    make_pair();
    close(closed);
    must_eq(hop_read(-1, &c, 1), -EBADF);
    must_eq(hop_write(-1, &c, 1), -EBADF);
    must_eq(hop_read(closed, &c, 1), -EBADF);
    must_eq(hop_write(INT_MAX, &c, 1), -EBADF);
    must_eq(hop_read(closed, &c, 0), -EBADF);
    must_eq(hop_wait_fd(closed, HOP_READABLE), -EBADF);
    must_eq(hop_close(-1), -EBADF);
    must_eq(hop_close(closed), -EBADF);
    must_eq(hop_read(pair[0], NULL, 1), -EINVAL);
    must_eq(hop_write(pair[0], NULL, 1), -EINVAL);
    must_eq(hop_read_full(pair[0], NULL, 1), -EINVAL);
    must_eq(hop_write_full(pair[0], NULL, 1), -EINVAL);
    must_eq(hop_write_full(pair[0], &c, (size_t)SSIZE_MAX + 1), -EINVAL);
    must_eq(hop_read(pair[0], NULL, 0), 0);
    must_eq(hop_write(pair[0], NULL, 0), 0);
    must_eq(hop_read_full(pair[0], NULL, 0), 0);
    must_eq(hop_write_full(pair[0], NULL, 0), 0);
    must_eq(hop_readv(pair[0], NULL, 1), -EINVAL);
    must_eq(hop_writev(pair[0], iov, 0), -EINVAL);
    must_eq(hop_writev(pair[0], iov, -1), -EINVAL);
    must_eq(hop_writev(pair[0], iov, 2), -EINVAL);
    must_eq(hop_writev(pair[0], huge, 2), -EINVAL);
    must_eq(hop_readv(pair[0], many, IOV_MAX + 1), -EINVAL);
    must_eq(hop_readv(pair[0], many, IOV_MAX), 0);
    must_eq(hop_wait_fd(pair[0], 0), -EINVAL);
    must_eq(hop_wait_fd(pair[0], 8), -EINVAL);
    close_pair();
    free(many);
}

static int wrong_use_main(void *arg)
{
    (void)arg;
    wrong_use();
    hop_on_cpu wrong_use();
    return 0;
}

START_TEST(errors)
{
    wrong_use(); /* a plain thread, without any runtime */
    run_main(wrong_use_main);
}
END_TEST

/* --- where one may not wait --- */

static int in_job(void *arg)
{
    char c = 0;

    (void)arg;
    must_eq(hop_write(pair[0], &c, 1), -EWOULDBLOCK); /* though there is room */
    must_eq(hop_read(pair[0], &c, 1), -EWOULDBLOCK);
    must_eq(hop_read_full(pair[0], &c, 1), -EWOULDBLOCK);
    must_eq(hop_wait_fd(pair[0], HOP_WRITABLE), -EWOULDBLOCK);
    must_eq(hop_sleep(1), -EWOULDBLOCK);
    return 0;
}

static int close_in_job(void *arg)
{
    (void)arg;
    return hop_close(pair[0]);
}

static int job_main(void *arg)
{
    char c;

    (void)arg;
    make_pair();
    must_eq(hop_offload(in_job, NULL), 0);
    hop_on_team in_job(NULL);
    hop_within(HOP_MS) {
        must_eq(hop_read(pair[0], &c, 1), -ETIMEDOUT); /* now the loop knows it */
    }
    must_eq(hop_offload(close_in_job, NULL), 0);
    must_eq(hop_read(pair[1], &c, 1), 0);
    must_eq(hop_close(pair[0]), -EBADF);
    return hop_close(pair[1]);
}

START_TEST(in_jobs)
{
    run_main(job_main);
}
END_TEST

/* --- waiting and being stopped --- */

static int read_one(void *arg)
{
    char c;

    return (int)hop_read(hop_int(arg), &c, 1);
}

static int write_much(void *arg)
{
    static const char much[1 << 20];

    return (int)hop_write_full(hop_int(arg), much, sizeof much);
}

static int expect_bad(void *arg)
{
    must_eq(read_one(arg), -EBADF);
    return 0;
}

static int expect_bad_write(void *arg)
{
    must_eq(write_much(arg), -EBADF);
    return 0;
}

static int expect_bad_on_cpu(void *arg)
{
    int worker = -1;

    hop_on_cpu {
        worker = hop_worker_index();
        must_eq(read_one(arg), -EBADF);
        must_eq(hop_worker_index(), worker);
    }
    must(worker >= 0);
    return 0;
}

static int stop_main(void *arg)
{
    hop_scope scope;
    hop_ns before;
    int fds = open_descriptors();

    (void)arg;
    make_pair();
    before = hop_now();
    hop_within(5 * HOP_MS) {
        must_eq(read_one(hop_ptr(pair[0])), -ETIMEDOUT);
        must_eq(read_one(hop_ptr(pair[0])), -ETIMEDOUT); /* the block's deadline has passed: not even tried */
    }
    must(hop_now() - before >= 5 * HOP_MS);
    open_scope(&scope);
    spawn(&scope, read_one, hop_ptr(pair[0]));
    spawn(&scope, write_much, hop_ptr(pair[0]));
    hop_sleep(HOP_MS);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    close_pair();
    make_pair();
    open_scope(&scope);
    spawn(&scope, expect_bad, hop_ptr(pair[0]));
    spawn(&scope, expect_bad, hop_ptr(pair[0]));
    spawn(&scope, expect_bad_write, hop_ptr(pair[0]));
    spawn(&scope, expect_bad_on_cpu, hop_ptr(pair[0]));
    hop_sleep(5 * HOP_MS);
    close_pair();
    must_eq(hop_scope_close(&scope), 0);
    must_eq(open_descriptors(), fds);
    return 0;
}

START_TEST(deadline_cancel_close)
{
    run_main(stop_main);
}
END_TEST

/* A cancelled task gets the reason even where it would not have had to wait; a shield lets it work. */
static int cancelled_task(void *arg)
{
    char c;

    must_eq(hop_sleep(HOP_FOREVER), -ECANCELED);
    must_eq(hop_read(hop_int(arg), &c, 1), -ECANCELED);
    must_eq(hop_read(hop_int(arg), &c, 0), -ECANCELED);
    hop_shield(HOP_SEC) {
        must_eq(hop_read(hop_int(arg), &c, 1), 1);
    }
    return 0;
}

static int cancelled_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    make_pair();
    must_eq(hop_write(pair[1], "ab", 2), 2);
    open_scope(&scope);
    spawn(&scope, cancelled_task, hop_ptr(pair[0]));
    hop_yield();
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    close_pair();
    return 0;
}

START_TEST(cancelled_before)
{
    run_main(cancelled_main);
}
END_TEST

static int wait_for(void *arg)
{
    must_eq(hop_wait_fd(hop_int(arg), HOP_READABLE), HOP_READABLE);
    return 0;
}

static int wait_fd_main(void *arg)
{
    hop_scope scope;
    char c;

    (void)arg;
    make_pair();
    must_eq(hop_wait_fd(pair[0], HOP_WRITABLE), HOP_WRITABLE);
    must_eq(hop_wait_fd(pair[0], HOP_WRITABLE | HOP_READABLE), HOP_WRITABLE);
    for (int i = 0; i < 3; i++) {
        open_scope(&scope);
        spawn(&scope, wait_for, hop_ptr(pair[0]));
        spawn(&scope, wait_for, hop_ptr(pair[0])); /* several at once */
        hop_sleep(HOP_MS);
        must_eq(send(pair[1], "x", 1, 0), 1); /* a foreign library */
        must_eq(hop_scope_close(&scope), 0);
        must_eq(hop_wait_fd(pair[0], HOP_READABLE), HOP_READABLE); /* still */
        must_eq(recv(pair[0], &c, 1, 0), 1);
        hop_within(HOP_MS) {
            must_eq(hop_wait_fd(pair[0], HOP_READABLE), -ETIMEDOUT);
        }
    }
    must_eq(hop_close(pair[1]), 0);
    must_eq(hop_wait_fd(pair[0], HOP_READABLE | HOP_WRITABLE), HOP_READABLE | HOP_WRITABLE); /* hung up */
    return hop_close(pair[0]);
}

START_TEST(wait_fd)
{
    run_main(wait_fd_main);
}
END_TEST

/* --- plain threads --- */

static void *echo_thread(void *arg)
{
    must_eq(echo(arg), 0);
    return NULL;
}

START_TEST(plain_threads)
{
    char buffer[5];
    int before = open_descriptors(), fd = open_file();
    pthread_t thread;

    use_file(fd);
    ck_assert_int_eq(hop_close(fd), 0);
    for (int kind = 0; kind < 2; kind++) {
        must_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (kind ? SOCK_NONBLOCK : 0), 0, pair), 0);
        thread = start_thread(echo_thread, hop_ptr(pair[0]));
        for (int i = 0; i < ROUNDS; i++) {
            must_eq(hop_write_full(pair[1], "hello", 5), 5);
            must_eq(hop_read_full(pair[1], buffer, 5), 5);
        }
        ck_assert_int_eq(hop_close(pair[1]), 0);
        join_thread(thread);
    }
    ck_assert_int_eq(settled_descriptors(before), before);
}
END_TEST

/* A task away from home waits, and goes on where it was. */
static int away_main(void *arg)
{
    hop_scope scope;
    char buffer[5];

    (void)arg;
    make_pair();
    open_scope(&scope);
    spawn(&scope, echo, hop_ptr(pair[0]));
    hop_on_cpu {
        int worker = hop_worker_index();

        for (int i = 0; i < ROUNDS; i++) {
            must_eq(hop_write_full(pair[1], "hello", 5), 5);
            must_eq(hop_read_full(pair[1], buffer, 5), 5);
            must_eq(hop_worker_index(), worker);
        }
    }
    must_eq(hop_close(pair[1]), 0);
    return hop_scope_close(&scope);
}

START_TEST(from_workers)
{
    run_main(away_main);
}
END_TEST

/* --- closing what other loops know --- */

static int close_elsewhere(void *arg)
{
    return hop_close(hop_int(arg));
}

static void *close_in_thread(void *arg)
{
    must_eq(hop_close(hop_int(arg)), 0);
    must_eq(fcntl(hop_int(arg), F_GETFD), -1); /* it is closed on return, not some time later */
    return NULL;
}

static int elsewhere_main(void *arg)
{
    hop_scope scope;
    pthread_t thread;
    int fds = open_descriptors();

    (void)arg;
    for (int i = 0; i < 20; i++) {
        make_pair();
        open_scope(&scope);
        for (int loop = 1; loop <= 3; loop++)
            must_eq(hop_spawn(&scope, expect_bad, hop_ptr(pair[0]), HOP_TASK(.loop = loop)), 0);
        hop_sleep(HOP_MS);
        if (i % 2) {
            must_eq(hop_spawn(&scope, close_elsewhere, hop_ptr(pair[0]), HOP_TASK(.loop = 2)), 0);
            must_eq(hop_scope_close(&scope), 0);
        } else {
            thread = start_thread(close_in_thread, hop_ptr(pair[0]));
            must_eq(hop_scope_close(&scope), 0);
            hop_on_blocking join_thread(thread);
        }
        must_eq(hop_close(pair[1]), 0);
    }
    must_eq(open_descriptors(), fds);
    return 0;
}

START_TEST(closed_elsewhere)
{
    run_main_with(elsewhere_main, NULL, &(hop_config){ .loops = 3 });
}
END_TEST

/*
 * Who comes to wait just before the number is free: the closing has visited his loop already, and the close itself
 * takes his registration away. The close is ours here, and goes on when he is registered.
 */
static atomic_int latecomer = -1; /* the descriptor he comes to */

static bool is_polled(int fd)
{
    char path[64], line[128], wanted[32];
    bool found = false;
    FILE *info;
    int set;

    snprintf(wanted, sizeof wanted, "tfd: %8d ", fd);
    for (set = 0; set < 100 && !found; set++) {
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
        if (!(info = fopen(path, "r")))
            continue;
        while (fgets(line, sizeof line, info))
            found = found || !strncmp(line, wanted, strlen(wanted));
        fclose(info);
    }
    return found;
}

int close(int fd)
{
    if (atomic_load(&latecomer) == -2 - fd) {
        atomic_store(&latecomer, fd);
        while (!is_polled(fd))
            sched_yield();
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}

static int come_late(void *arg)
{
    int fd = hop_int(arg);

    while (atomic_load(&latecomer) != fd)
        must_eq(hop_yield(), 0);
    must_eq(hop_wait_fd(fd, HOP_READABLE), -EBADF);
    return 0;
}

static int late_main(void *arg)
{
    hop_scope scope;

    (void)arg;
    make_pair();
    open_scope(&scope);
    atomic_store(&latecomer, -2 - pair[0]);
    must_eq(hop_spawn(&scope, come_late, hop_ptr(pair[0]), HOP_TASK(.loop = 2)), 0);
    must_eq(hop_close(pair[0]), 0);
    must_eq(hop_close(pair[1]), 0);
    return hop_scope_close(&scope);
}

START_TEST(waited_for_at_the_last_moment)
{
    run_main_with(late_main, NULL, &(hop_config){ .loops = 2 });
}
END_TEST

/* Everybody opens, waits, closes and reuses numbers at once. */
enum { CHURNERS = 12, CHURN = 200 };

static int churn(void *arg)
{
    unsigned state = (unsigned)hop_int(arg) | 1;
    char c;

    for (int i = 0; i < CHURN; i++) {
        int fds[2];

        must_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        if (test_random(&state) % 2)
            hop_within(HOP_NS * (test_random(&state) % 300000)) {
                must_eq(hop_read(fds[0], &c, 1), -ETIMEDOUT);
            }
        must_eq(hop_write(fds[1], "x", 1), 1);
        must_eq(hop_read(fds[0], &c, 1), 1);
        must_eq(hop_close(fds[0]), 0);
        must_eq(hop_read(fds[1], &c, 1), 0);
        must_eq(hop_close(fds[1]), 0);
    }
    return 0;
}

static int churn_main(void *arg)
{
    unsigned seed = test_seed();
    hop_scope scope;

    (void)arg;
    open_scope(&scope);
    for (int i = 0; i < CHURNERS; i++)
        must_eq(hop_spawn(&scope, churn, hop_ptr((int)(seed + 77u * (unsigned)i)), HOP_TASK(.loop = i % 3 + 1)), 0);
    return hop_scope_close(&scope);
}

START_TEST(churning)
{
    int before = open_descriptors();

    run_main_with(churn_main, NULL, &(hop_config){ .loops = 3 });
    ck_assert_int_eq(settled_descriptors(before), before);
}
END_TEST

static int write_later(void *arg)
{
    must_eq(hop_sleep(HOP_MS), 0);
    return hop_write(hop_int(arg), "x", 1) == 1 ? 0 : -EIO;
}

/* What a library does that has descriptors of its own: the loop is not told, and the number comes again. */
static int closed_behind_main(void *arg)
{
    int first = -1;

    (void)arg;
    for (int i = 0; i < 5; i++) {
        hop_scope scope;
        int pipes[2];
        char c;

        must_eq(pipe(pipes), 0);
        must(first < 0 || pipes[0] == first);
        first = pipes[0];
        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, write_later, hop_ptr(pipes[1]), NULL), 0);
        hop_within(5 * HOP_SEC) {
            if (i % 2)
                must_eq(hop_read(pipes[0], &c, 1), 1);
            else
                must_eq(hop_wait_fd(pipes[0], HOP_READABLE), HOP_READABLE);
        }
        must_eq(hop_scope_close(&scope), 0);
        close(pipes[0]);
        close(pipes[1]);
    }
    return 0;
}

START_TEST(closed_behind)
{
    run_main(closed_behind_main);
}
END_TEST

static int ring_later(void *arg)
{
    const uint64_t one = 1;

    must_eq(hop_sleep(HOP_MS), 0);
    return write(hop_int(arg), &one, sizeof one) == sizeof one ? 0 : -EIO;
}

/* The same with files that cannot be told apart by their inode. */
static int bells_closed_behind_main(void *arg)
{
    int first = -1;

    (void)arg;
    for (int i = 0; i < 5; i++) {
        int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        hop_scope scope;

        must(bell >= 0 && (first < 0 || bell == first));
        first = bell;
        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, ring_later, hop_ptr(bell), NULL), 0);
        hop_within(5 * HOP_SEC) {
            must_eq(hop_wait_fd(bell, HOP_READABLE), HOP_READABLE);
        }
        must_eq(hop_scope_close(&scope), 0);
        close(bell);
    }
    return 0;
}

START_TEST(bells_closed_behind)
{
    run_main(bells_closed_behind_main);
}
END_TEST

/* --- a kernel that does not know how to read and write without waiting --- */

static int wrong_ends_main(void *arg)
{
    int pipes[2];
    char c;

    (void)arg;
    must_eq(pipe(pipes), 0);
    must_eq(hop_write(pipes[0], "x", 1), -EBADF); /* and does not wait for what never comes */
    must_eq(hop_read(pipes[1], &c, 1), -EBADF);
    hop_within(HOP_MS) {
        must_eq(hop_read(pipes[0], &c, 1), -ETIMEDOUT);
    }
    must_eq(hop_write(pipes[1], "x", 1), 1);
    must_eq(hop_read(pipes[0], &c, 1), 1);
    must_eq(hop_close(pipes[0]), 0);
    return hop_close(pipes[1]);
}

START_TEST(wrong_ends_on_an_old_kernel)
{
    const long unknown[] = { SYS_preadv2, SYS_pwritev2 };

    run_main(wrong_ends_main);
    if (!refuse_calls(ENOSYS, unknown, 2))
        run_main(wrong_ends_main);
}
END_TEST

RUN_TESTS("io", sockets, streams_of_all_kinds, flags_stay, eventfds, peer_gone, files, stale_class, errors, in_jobs,
          deadline_cancel_close, cancelled_before, wait_fd, plain_threads, from_workers, closed_elsewhere,
          waited_for_at_the_last_moment, churning, closed_behind, bells_closed_behind,
          wrong_ends_on_an_old_kernel)
