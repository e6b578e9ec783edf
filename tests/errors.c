/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Wrong arguments for every public function: each gives the error that its header names, and none crashes. The same
 * list is gone through before there is a runtime, in a task, on a worker, in a job, in the team, and after the
 * runtime is gone.
 */
#include "harness.h"

#include <fcntl.h>
#include <sys/socket.h>

static int one(void *arg)
{
    (void)arg;
    return 1;
}

static int range(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi, (void)arg;
    return 0;
}

static int fold(size_t lo, size_t hi, void *into, void *arg)
{
    (void)lo, (void)hi, (void)into, (void)arg;
    return 0;
}

static void combine(void *into, const void *from, void *arg)
{
    (void)into, (void)from, (void)arg;
}

static int stage(void *slot, void *arg)
{
    (void)slot, (void)arg;
    return 0;
}

/* A descriptor that is surely not open. */
static int closed_descriptor(void)
{
    int fd = fcntl(0, F_DUPFD, 900);

    must(fd >= 900);
    close(fd);
    return fd;
}

/* --- what is wrong anywhere: needs neither a task nor a runtime to be found out --- */

static void futures(void)
{
    hop_future f = HOP_FUTURE_INIT;

    must_eq(hop_complete(NULL, 0), -EINVAL);
    must_eq(hop_await(NULL), -EINVAL);
    must_eq(hop_await_until(NULL, 0), -EINVAL);
    must_eq(hop_done(NULL), 0);
    must_eq(hop_complete(&f, 0), 0);
    must_eq(hop_complete(&f, 0), -EALREADY);
}

static void scopes(void)
{
    hop_scope zero, garbage;
    hop_task_options small = { .size = 1 };
    hop_future f = HOP_FUTURE_INIT;

    memset(&zero, 0, sizeof zero);
    memset(&garbage, 0xff, sizeof garbage);
    must_eq(hop_scope_open(NULL), -EINVAL);
    must_eq(hop_scope_close(NULL), -EINVAL);
    must_eq(hop_scope_close(&zero), -EINVAL);
    must_eq(hop_scope_close(&garbage), -EINVAL);
    must_eq(hop_scope_cancel(NULL, -ECANCELED), -EINVAL);
    must_eq(hop_scope_cancel(&zero, -ECANCELED), -EINVAL);
    must_eq(hop_scope_cancel(&garbage, -ECANCELED), -EINVAL);
    must_eq(hop_spawn(NULL, one, NULL, NULL), -EINVAL);
    must_eq(hop_spawn(&zero, one, NULL, NULL), -EINVAL);
    must_eq(hop_spawn(&garbage, one, NULL, NULL), -EINVAL);
    must_eq(hop_spawn(&zero, NULL, NULL, NULL), -EINVAL);
    must_eq(hop_spawn(&zero, one, NULL, &small), -EINVAL);
    must_eq(hop_submit(NULL, &f, one, NULL), -EINVAL);
    must_eq(hop_submit(&zero, &f, one, NULL), -EINVAL);
    must_eq(hop_submit(&garbage, NULL, one, NULL), -EINVAL);
    must_eq(hop_submit(&zero, &f, NULL, NULL), -EINVAL);
    must_eq(hop_done(&f), 0);
}

static void offloads(void)
{
    hop_offload_options small = { .size = 1 };

    must_eq(hop_offload(NULL, NULL), -EINVAL);
    must_eq(hop_offload_with(NULL, NULL, NULL), -EINVAL);
    must_eq(hop_offload_with(one, NULL, &small), -EINVAL);
    must_eq(hop_offload_with(one, NULL, HOP_OFFLOAD(.place = (hop_offload_place)9)), -EINVAL);
    must_eq(hop_offload_with(one, NULL, HOP_OFFLOAD(.runtime = (hop_runtime *)&small)), -EINVAL);
}

static void parallels(void)
{
    hop_par_options small = { .size = 1 };
    int n = 0;

    must_eq(hop_join(NULL, NULL, one, NULL), -EINVAL);
    must_eq(hop_join(one, NULL, NULL, NULL), -EINVAL);
    must_eq(hop_join(NULL, NULL, NULL, NULL), -EINVAL);
    must_eq(hop_parallel_for(0, 1, NULL, NULL, NULL), -EINVAL);
    must_eq(hop_parallel_for(1, 0, range, NULL, NULL), -EINVAL);
    must_eq(hop_parallel_for(0, 1, range, NULL, &small), -EINVAL);
    must_eq(hop_parallel_for(0, 1, range, NULL, HOP_PAR(.width = -1)), -EINVAL);
    must_eq(hop_parallel_reduce(0, 1, NULL, combine, NULL, &n, sizeof n, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 1, fold, NULL, NULL, &n, sizeof n, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 1, fold, combine, NULL, NULL, sizeof n, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 1, fold, combine, NULL, &n, 0, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(1, 0, fold, combine, NULL, &n, sizeof n, NULL), -EINVAL);
    must_eq(hop_parallel_reduce(0, 1, fold, combine, NULL, &n, sizeof n, &small), -EINVAL);
    must_eq(hop_parallel_reduce(0, 1, fold, combine, NULL, &n, sizeof n, HOP_PAR(.width = -1)), -EINVAL);
    must_eq(n, 0);
}

static void channels(void)
{
    hop_channel *c = NULL;
    int n = 0;
    hop_case wrong = hop_on_recv(NULL, &n), nowhere = { .kind = 1000 };

    must_eq(hop_channel_new(NULL, 1, 1), -EINVAL);
    must_eq(hop_channel_new(&c, SIZE_MAX, SIZE_MAX), -EINVAL);
    must_eq(hop_channel_new(&c, 16, SIZE_MAX / 16), -EINVAL);
    must(!c);
    must_eq(hop_channel_free(NULL), 0);
    must_eq(hop_channel_close(NULL), -EINVAL);
    must_eq(hop_channel_send(NULL, &n), -EINVAL);
    must_eq(hop_channel_recv(NULL, &n), -EINVAL);
    must_eq(hop_channel_try_send(NULL, &n), -EINVAL);
    must_eq(hop_channel_try_recv(NULL, &n), -EINVAL);
    must_eq(hop_channel_new(&c, sizeof n, 1), 0);
    must_eq(hop_channel_send(c, NULL), -EINVAL);
    must_eq(hop_channel_recv(c, NULL), -EINVAL);
    must_eq(hop_channel_try_send(c, NULL), -EINVAL);
    must_eq(hop_channel_try_recv(c, NULL), -EINVAL);
    must_eq(hop_channel_close(c), 0);
    must_eq(hop_channel_send(c, &n), -EPIPE);
    must_eq(hop_channel_recv(c, &n), 0);
    must_eq(hop_channel_free(c), 0);
    must_eq(hop_select(NULL, 0), -EINVAL);
    must_eq(hop_select(NULL, 1), -EINVAL);
    must_eq(hop_select(&wrong, 0), -EINVAL);
    must_eq(hop_select(&wrong, 1), -EINVAL);
    must_eq(hop_select(&wrong, HOP_SELECT_MAX + 1), -EINVAL);
    must_eq(hop_select(&nowhere, 1), -EINVAL);
}

static void runtimes(void)
{
    char garbage[256];
    hop_runtime *rt = (hop_runtime *)garbage;

    memset(garbage, 0xee, sizeof garbage);
    must_eq(hop_runtime_new(NULL, NULL), -EINVAL);
    must_eq(hop_runtime_free(NULL), -EINVAL);
    must_eq(hop_runtime_free(rt), -EINVAL);
    must(!hop_root(rt));
    must_eq(hop_run(NULL, NULL, NULL), -EINVAL);
    must_eq(hop_describe(NULL), -EINVAL);
    must_eq(hop_stats_read(NULL), -EINVAL);
    must(hop_now() > 0);
    must_eq(hop_version(), HOP_VERSION);
}

static void addresses(void)
{
    static const char *const wrong[] = {
        "", "tcp", "tcp:", "tcp::", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:65536", "tcp:127.0.0.1:-1",
        "tcp:127.0.0.1:80x", "tcp:127.0.0.1: 80", "tcp:127.0.0.1:99999999999999999999", "tcp:[::1:80", "tcp:[::1]",
        "tcp:[::1]80", "tcp:[zz]:80", "udp:127.0.0.1:80", "127.0.0.1:80", "unix:", "unix", "TCP", ":", "::",
        "http://localhost",
    };
    char address[64], longest[300];
    int fds[2], i, fd = closed_descriptor();

    must_eq(hop_listen(NULL), -EINVAL);
    for (i = 0; i < (int)(sizeof wrong / sizeof *wrong); i++) {
        int rc = hop_listen(wrong[i]);

        if (rc != -EINVAL)
            ck_abort_msg("hop_listen(\"%s\") is %d, not -EINVAL", wrong[i], rc);
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    must_eq(hop_listen(longest), -EINVAL);
    memcpy(longest, "unix:", 5);
    must_eq(hop_listen(longest), -EINVAL); /* no socket's path is so long */
    must(hop_listen("unix:/nonexistent/folder/socket") < 0);

    must_eq(hop_local_address(fd, address, sizeof address), -EBADF);
    must_eq(hop_local_address(-1, address, sizeof address), -EBADF);
    must_eq(hop_local_address(0, NULL, sizeof address), -EINVAL);
    must_eq(pipe(fds), 0);
    must_eq(hop_local_address(fds[0], address, sizeof address), -ENOTSOCK);
    must_eq(close(fds[0]), 0);
    must_eq(close(fds[1]), 0);
    must_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    must_eq(hop_local_address(fds[0], address, sizeof address), -EAFNOSUPPORT);
    must_eq(close(fds[0]), 0);
    must_eq(close(fds[1]), 0);
    i = hop_listen("tcp:127.0.0.1:0");
    must(i >= 0);
    must_eq(hop_local_address(i, address, 4), -ENOSPC);
    must_eq(hop_local_address(i, address, 0), -EINVAL);
    must(hop_local_address(i, address, sizeof address) > 0);
    must_eq(hop_listen(address), -EADDRINUSE);
    must_eq(hop_close(i), 0);
    must_eq(hop_close(i), -EBADF);
    must_eq(hop_close(fd), -EBADF);
    must_eq(hop_close(-1), -EBADF);
    must_eq(hop_close(INT32_MIN), -EBADF);
    must_eq(hop_close(INT32_MAX), -EBADF);
}

static int wrong_anywhere(void *arg)
{
    (void)arg;
    futures();
    scopes();
    offloads();
    parallels();
    channels();
    runtimes();
    addresses();
    return 0;
}

/* --- what has to be a place where one can wait --- */

static void descriptors(void)
{
    int fds[2], fd = closed_descriptor(), wrong[] = { fd, -1, INT32_MIN, INT32_MAX };
    char c = 0;
    struct iovec iov = { &c, 1 }, none = { NULL, 1 };
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        must_eq(hop_read(wrong[i], &c, 1), -EBADF);
        must_eq(hop_read(wrong[i], &c, 0), -EBADF);
        must_eq(hop_write(wrong[i], &c, 1), -EBADF);
        must_eq(hop_readv(wrong[i], &iov, 1), -EBADF);
        must_eq(hop_writev(wrong[i], &iov, 1), -EBADF);
        must_eq(hop_read_full(wrong[i], &c, 1), -EBADF);
        must_eq(hop_write_full(wrong[i], &c, 1), -EBADF);
        must_eq(hop_wait_fd(wrong[i], HOP_READABLE), -EBADF);
        must_eq(hop_accept(wrong[i]), -EBADF);
    }
    must_eq(pipe(fds), 0);
    must_eq(hop_read(fds[0], NULL, 1), -EINVAL);
    must_eq(hop_write(fds[1], NULL, 1), -EINVAL);
    must_eq(hop_readv(fds[0], NULL, 1), -EINVAL);
    must_eq(hop_writev(fds[1], NULL, 1), -EINVAL);
    must(hop_readv(fds[0], &none, 1) < 0);
    must_eq(hop_readv(fds[0], &iov, -1), -EINVAL);
    must_eq(hop_writev(fds[1], &iov, 1 << 20), -EINVAL);
    must_eq(hop_read_full(fds[0], NULL, 1), -EINVAL);
    must_eq(hop_write_full(fds[1], NULL, 1), -EINVAL);
    must_eq(hop_write(fds[0], &c, 1), -EBADF); /* the wrong end */
    must_eq(hop_read(fds[1], &c, 1), -EBADF);
    must_eq(hop_read(fds[0], &c, 0), 0);
    must_eq(hop_wait_fd(fds[0], 0), -EINVAL);
    must_eq(hop_wait_fd(fds[0], 77), -EINVAL);
    must_eq(hop_accept(fds[0]), -ENOTSOCK);
    must_eq(hop_close(fds[0]), 0);
    must_eq(hop_close(fds[1]), 0);
    must_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    must_eq(hop_accept(fds[0]), -EINVAL);
    must_eq(hop_close(fds[0]), 0);
    must_eq(hop_read(fds[0], &c, 1), -EBADF);
    must_eq(hop_close(fds[1]), 0);
    fd = open("/proc/self/exe", O_RDONLY);
    must(fd >= 0);
    must_eq(hop_wait_fd(fd, HOP_READABLE), -EPERM);
    must_eq(hop_close(fd), 0);

    must_eq(hop_dial(NULL), -EINVAL);
    must_eq(hop_dial(""), -EINVAL);
    must_eq(hop_dial("tcp:127.0.0.1:70000"), -EINVAL);
    must_eq(hop_dial("carrier:pigeon"), -EINVAL);
    must_eq(hop_dial("unix:/nonexistent/socket"), -ENOENT);
}

static void pipelines(int usual)
{
    const hop_stage serial = { stage, HOP_SERIAL, NULL }, parallel = { stage, HOP_PARALLEL, NULL };
    const hop_stage headless[] = { { NULL, HOP_SERIAL, NULL } };
    const hop_stage strange[] = { serial, { stage, (hop_stage_kind)9, "" } };
    int slots[2];

    must_eq(hop_pipeline(NULL, 1, slots, 2, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(&serial, 0, slots, 2, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(&serial, 1, NULL, 2, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(&serial, 1, slots, 0, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(&serial, 1, slots, 2, 0, NULL), -EINVAL);
    must_eq(hop_pipeline(&parallel, 1, slots, 2, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(headless, 1, slots, 2, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(strange, 2, slots, 2, sizeof *slots, NULL), -EINVAL);
    must_eq(hop_pipeline(&serial, 1, slots, 2, sizeof *slots, NULL), usual);
}

static int wrong_in_a_task(void *arg)
{
    wrong_anywhere(arg);
    descriptors();
    pipelines(0);
    return 0;
}

/* Where one cannot wait the same calls say so, and nothing else happens. */
static int would_block(void *arg)
{
    hop_channel *c;
    hop_future f = HOP_FUTURE_INIT;
    hop_scope scope;
    hop_case all[] = { hop_on_future(&f), hop_on_after(HOP_SEC) };
    int fds[2], n = 0;
    struct iovec iov = { &n, 1 };

    wrong_anywhere(arg);
    pipelines(-EWOULDBLOCK);
    must_eq(pipe(fds), 0);
    must_eq(write(fds[1], "abc", 3), 3); /* even if there is something */
    must_eq(hop_read(fds[0], &n, 1), -EWOULDBLOCK);
    must_eq(hop_readv(fds[0], &iov, 1), -EWOULDBLOCK);
    must_eq(hop_write(fds[1], &n, 1), -EWOULDBLOCK);
    must_eq(hop_writev(fds[1], &iov, 1), -EWOULDBLOCK);
    must_eq(hop_read_full(fds[0], &n, 1), -EWOULDBLOCK);
    must_eq(hop_write_full(fds[1], &n, 1), -EWOULDBLOCK);
    must_eq(hop_wait_fd(fds[0], HOP_READABLE), -EWOULDBLOCK);
    must_eq(hop_accept(fds[0]), -EWOULDBLOCK);
    must_eq(hop_dial("tcp:127.0.0.1:1"), -EWOULDBLOCK);
    must_eq(read(fds[0], &n, 3), 3); /* nothing was taken */
    must_eq(hop_close(fds[0]), 0);
    must_eq(hop_close(fds[1]), 0);
    must_eq(hop_await(&f), -EWOULDBLOCK);
    must_eq(hop_sleep(1), -EWOULDBLOCK);
    must_eq(hop_scope_open(&scope), -EWOULDBLOCK);
    must_eq(hop_select(all, 2), -EWOULDBLOCK);
    must_eq(hop_channel_new(&c, 0, 0), 0);
    must_eq(hop_channel_send(c, NULL), -EWOULDBLOCK);
    must_eq(hop_channel_recv(c, NULL), -EWOULDBLOCK);
    must_eq(hop_channel_free(c), 0);
    return 0;
}

static int wrong_range(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi;
    return would_block(arg);
}

static int wrong_everywhere(void *arg)
{
    int descriptors_before = open_descriptors();
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, wrong_in_a_task, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    wrong_in_a_task(arg);
    hop_on_cpu {
        wrong_in_a_task(arg);
    }
    hop_on_blocking {
        wrong_in_a_task(arg);
    }
    must_eq(hop_offload(would_block, NULL), 0);
    must_eq(hop_parallel_for(0, 1, wrong_range, NULL, NULL), 0);
    hop_on_team {
        would_block(arg);
    }
    must_eq(open_descriptors(), descriptors_before);
    return 0;
}

START_TEST(inside)
{
    hop_config config = { .workers = 2 };

    run_main_with(wrong_everywhere, NULL, &config);
}
END_TEST

static void *wrong_in_a_thread(void *arg)
{
    wrong_anywhere(arg);
    descriptors();
    pipelines(-EWOULDBLOCK);
    return NULL;
}

START_TEST(in_threads)
{
    hop_config config = { .workers = 2 };
    hop_runtime *rt;

    must_eq(hop_runtime_new(&rt, &config), 0);
    wrong_in_a_thread(NULL);
    join_thread(start_thread(wrong_in_a_thread, NULL));
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

/* --- without a runtime: before there is one, and after it is gone --- */

static void no_runtime(void)
{
    hop_scope scope;
    hop_stats stats;
    unsigned long long n = 1;

    wrong_anywhere(NULL);
    pipelines(-EWOULDBLOCK);
    must_eq(hop_offload(one, NULL), -ENODEV);
    must_eq(hop_offload_with(one, NULL, HOP_OFFLOAD(.place = HOP_POOL)), -ENODEV);
    must_eq(hop_join(one, NULL, one, NULL), -ENODEV);
    must_eq(hop_parallel_for(0, 9, range, NULL, NULL), -ENODEV);
    must_eq(hop_parallel_for(0, 0, range, NULL, NULL), 0);
    must_eq(hop_parallel_reduce(0, 9, fold, combine, NULL, &n, sizeof n, NULL), -ENODEV);
    must_eq(n, 1);
    must_eq(hop_scope_open(&scope), -ENODEV);
    must_eq(hop_stats_read(&stats), -ENODEV);
    must(!hop_root(NULL));
    must_eq(hop_spawn(hop_root(NULL), one, NULL, NULL), -EINVAL);
    must_eq(hop_submit(hop_root(NULL), NULL, one, NULL), -EINVAL);
    must_eq(hop_runtime_use(NULL), 0);
    must_eq(hop_worker_count(), 0);
    must_eq(hop_worker_index(), -1);
    must_eq(hop_here(), HOP_OUTSIDE);
    must_eq(hop_cancelled(), 0);
    must_eq(hop_yield(), 0);
    must_eq(hop_sleep(1), 0);
    must_eq(hop_sleep(0), 0);
    must_eq(hop_sleep(-5), 0);
    hop_on_cpu {
        hop_on_team {
            hop_on_blocking {
                hop_within(0) {
                    hop_shield(0) {
                        must_eq(hop_here(), HOP_OUTSIDE);
                    }
                }
            }
        }
    }
}

START_TEST(before_and_after)
{
    int before = open_descriptors();
    hop_runtime *rt;

    no_runtime();
    must_eq(open_descriptors(), before);
    must_eq(hop_runtime_new(&rt, NULL), 0);
    must_eq(hop_offload(one, NULL), 1);
    must_eq(hop_runtime_free(rt), 0);
    must_eq(hop_runtime_free(rt), -EINVAL);
    must_eq(hop_runtime_use(rt), -EINVAL);
    must(!hop_root(rt));
    must_eq(hop_offload_with(one, NULL, HOP_OFFLOAD(.runtime = rt)), -EINVAL);
    no_runtime();
    must_eq(open_descriptors(), before);
}
END_TEST

/* A thread that chose a runtime which another one frees has none any more. */
static void *chooses(void *arg)
{
    hop_channel **steps = arg;
    hop_runtime *rt;
    hop_scope scope;
    hop_stats stats;

    must_eq(hop_channel_recv(steps[0], &rt), 1);
    must_eq(hop_runtime_use(rt), 0);
    must_eq(hop_offload(one, NULL), 1);
    must_eq(hop_channel_send(steps[1], NULL), 0);
    must_eq(hop_channel_recv(steps[2], NULL), 1); /* it is freed now; the other one lives */
    must_eq(hop_offload(one, NULL), -ENODEV);
    must_eq(hop_scope_open(&scope), -ENODEV);
    must_eq(hop_stats_read(&stats), -ENODEV);
    must(!hop_root(NULL));
    must_eq(hop_runtime_use(NULL), 0);
    must_eq(hop_offload(one, NULL), 1);
    return NULL;
}

START_TEST(the_chosen_runtime_is_gone)
{
    hop_channel *steps[3];
    hop_runtime *chosen, *other;
    pthread_t thread;
    int i;

    must_eq(hop_runtime_new(&other, NULL), 0);
    must_eq(hop_runtime_new(&chosen, NULL), 0);
    for (i = 0; i < 3; i++)
        must_eq(hop_channel_new(&steps[i], i ? 0 : sizeof chosen, 1), 0);
    thread = start_thread(chooses, steps);
    must_eq(hop_channel_send(steps[0], &chosen), 0);
    must_eq(hop_channel_recv(steps[1], NULL), 1);
    must_eq(hop_runtime_free(chosen), 0);
    must_eq(hop_channel_close(steps[1]), 0);
    must_eq(hop_channel_send(steps[2], NULL), 0);
    join_thread(thread);
    for (i = 0; i < 3; i++)
        must_eq(hop_channel_free(steps[i]), 0);
    must_eq(hop_runtime_free(other), 0);
}
END_TEST

RUN_TESTS("errors", before_and_after, inside, in_threads, the_chosen_runtime_is_gone)
