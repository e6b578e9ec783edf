/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scenarios: the usual use of every part. Each gives back all that it takes, whatever fails; notes what it is told;
 * and expects right results of what did not fail. What is called here by __real_NAME never fails.
 */
#include "fault.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "compute/budget.h"
#include "compute/topology.h"

int __real_close(int fd);
int __real_pipe2(int *fds, int flags);
int __real_fcntl(int fd, int command, ...);
ssize_t __real_read(int fd, void *p, size_t n);
void __real_free(void *p);
FILE *__real_fopen(const char *path, const char *mode);
int __real_fclose(FILE *file);
int __real_event_base_loop(struct event_base *base, int flags);
struct event_base *__real_event_base_new_with_config(const struct event_config *config);
struct event_config *__real_event_config_new(void);
void __real_event_base_free(struct event_base *base);
void __real_event_config_free(struct event_config *config);
int __real_sched_getaffinity(pid_t pid, size_t n, cpu_set_t *set);

static char root[64]; /* a folder for a run's files */

/* --- small things --- */

static const hop_config small = { .workers = 2, .loops = 2, .blocking_threads = 4, .drain_ns = 5 * HOP_SEC };

static void in_runtime(hop_fn *fn, const hop_config *config)
{
    note(hop_run(fn, NULL, config));
}

/* Tasks side by side; an error of one cancels the others. */
static int together(hop_fn *const *fns, size_t n, void *arg, size_t stack_bytes)
{
    hop_scope scope;
    size_t i;
    int rc = hop_scope_open(&scope);

    expect(rc == 0);
    for (i = 0; i < n && rc == 0; i++)
        rc = (int)note(hop_spawn(&scope, fns[i], arg, HOP_TASK(.loop = 1 + (int)i % 2, .stack_bytes = stack_bytes)));
    if (rc < 0)
        hop_scope_cancel(&scope, -ECANCELED);
    return (int)note(hop_scope_close(&scope));
}

#define TOGETHER(arg, ...) \
    together((hop_fn *const[]){ __VA_ARGS__ }, sizeof((hop_fn *const[]){ __VA_ARGS__ }) / sizeof(hop_fn *), arg, 0)

static void close_both(int fds[2])
{
    __real_close(fds[0]);
    __real_close(fds[1]);
}

/* --- computing --- */

static int square(void *arg)
{
    int *n = arg;

    *n *= *n;
    return 0;
}

static int offloads(void *arg)
{
    int n = 7, rc = (int)note(hop_offload(square, &n));

    (void)arg;
    expect(rc < 0 || n == 49);
    return rc;
}

static int add_range(size_t lo, size_t hi, void *arg)
{
    atomic_fetch_add((atomic_long *)arg, (long)((lo + hi - 1) * (hi - lo) / 2));
    return 0;
}

static int fold_range(size_t lo, size_t hi, void *into, void *arg)
{
    (void)arg;
    for (; lo < hi; lo++)
        *(long *)into += (long)lo;
    return 0;
}

static void combine(void *into, const void *from, void *arg)
{
    (void)arg;
    *(long *)into += *(const long *)from;
}

enum { N = 20000 };

static const long sum_to_n = (long)N * (N - 1) / 2;

struct big {
    long sum, rest[1023];
};

static int loops(void *arg)
{
    static struct big big; /* one task uses it */
    atomic_long sum = 0;
    long folded = 0;
    int rc = (int)note(hop_parallel_for(0, N, add_range, &sum, NULL));

    (void)arg;
    expect(rc < 0 || sum == sum_to_n);
    if (!rc)
        rc = (int)note(hop_parallel_reduce(0, N, fold_range, combine, NULL, &folded, sizeof folded, NULL));
    expect(rc < 0 || folded == sum_to_n);
    big.sum = 0;
    if (!rc)
        rc = (int)note(hop_parallel_reduce(0, N, fold_range, combine, NULL, &big, sizeof big, NULL));
    expect(rc < 0 || big.sum == sum_to_n);
    return rc;
}

static int fork_join(void *arg)
{
    int a = 3, b = 4, rc = (int)note(hop_join(square, &a, square, &b));

    (void)arg;
    expect(rc < 0 || (a == 9 && b == 16));
    return rc;
}

static int submits(void *arg)
{
    hop_scope scope;
    hop_future future = HOP_FUTURE_INIT;
    int n = 5, rc;

    (void)arg;
    expect(hop_scope_open(&scope) == 0);
    rc = (int)note(hop_submit(&scope, &future, square, &n));
    if (!rc)
        rc = (int)note(hop_await(&future));
    expect(rc < 0 || n == 25);
    note(hop_scope_close(&scope));
    return rc;
}

static int hops(void *arg)
{
    int rc = 0;

    (void)arg;
    hop_on_cpu {
        expect(hop_here() == HOP_CPU || hop_cancelled());
        rc = (int)note(hop_sleep(HOP_MS));
    }
    hop_on_team
        expect(hop_here() == HOP_TEAM || hop_cancelled());
    hop_on_blocking {
        expect(hop_here() == HOP_BLOCKING || hop_cancelled());
        rc = rc < 0 ? rc : (int)note(hop_sleep(HOP_MS));
    }
    return rc;
}

/* --- waiting --- */

static int sleeps(void *arg)
{
    int rc = (int)note(hop_sleep(HOP_MS)), late = 0;

    (void)arg;
    if (rc < 0)
        return rc;
    hop_within(HOP_MS)
        late = hop_sleep(10 * HOP_SEC);
    expect(late == -ETIMEDOUT || hop_cancelled());
    return (int)note(hop_yield());
}

enum { ITEMS = 100 };

static int feed(void *arg)
{
    hop_channel *channel = *(hop_channel **)arg;
    int i, rc = 0;

    for (i = 0; i < ITEMS && !rc; i++)
        rc = (int)note(hop_channel_send(channel, &i));
    hop_channel_close(channel);
    return rc;
}

static int drain(void *arg)
{
    hop_channel *channel = *(hop_channel **)arg;
    int item = -1, i = 0, rc;

    for (;;) {
        hop_case cases[] = { hop_on_recv(channel, &item), hop_on_after(10 * HOP_SEC) };

        rc = (int)note(hop_select(cases, 2));
        if (rc < 0)
            return rc;
        expect(rc == 0);
        if (cases[0].result == 0)
            break;
        expect(item == i);
        i++;
    }
    expect(i == ITEMS || hop_cancelled());
    return 0;
}

static int channels(void *arg)
{
    hop_channel *channel;
    int rc = (int)note(hop_channel_new(&channel, sizeof(int), 4));

    (void)arg;
    if (rc < 0)
        return rc;
    rc = TOGETHER(&channel, feed, drain);
    expect(hop_channel_free(channel) == 0);
    return rc;
}

/* --- one runtime with everything --- */

static int everything(void *arg)
{
    (void)arg;
    return TOGETHER(NULL, offloads, loops, fork_join, submits, hops, sleeps, channels);
}

static void run(void)
{
    in_runtime(everything, &small);
}

static void run_by_default(void)
{
    in_runtime(offloads, NULL);
}

static int in_all_profiles(void *arg)
{
    (void)arg;
    return offloads(NULL);
}

static void profiles(void)
{
    static const enum hop_qos each[] = { HOP_QOS_OFF, HOP_QOS_MILD, HOP_QOS_IDLE, HOP_QOS_REALTIME };

    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        in_runtime(in_all_profiles, &(hop_config){ .workers = 1, .qos = each[i] });
}

/* A runtime that ends right after a team block. */
static int team_in_task(void *arg)
{
    (void)arg;
    hop_on_team
        expect(hop_here() == HOP_TEAM);
    return 0;
}

static void team(void)
{
    for (int i = 0; i < 20; i++)
        in_runtime(team_in_task, &(hop_config){ .workers = 3 });
}

/* --- plain threads --- */

static int describes(void)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    int rc;

    expect(out != NULL);
    rc = (int)note(hop_describe(out));
    __real_fclose(out);
    expect(rc < 0 || strstr(text, "topology: ") != NULL);
    __real_free(text);
    return rc;
}

static void use_from_thread(void)
{
    hop_scope scope;
    hop_stats stats;
    int n = 6, rc;

    offloads(NULL);
    loops(NULL);
    expect(hop_scope_open(&scope) == 0);
    rc = (int)note(hop_spawn(&scope, square, &n, NULL));
    note(hop_scope_close(&scope));
    expect(rc < 0 || n == 36);
    note(hop_sleep(HOP_MS));
    expect(hop_stats_read(&stats) == 0 && stats.workers == 2);
    describes();
}

/* A free that fails for want of memory can be asked again. */
static void give_back(hop_runtime *rt)
{
    int rc = (int)note(hop_runtime_free(rt));

    if (rc == -ENOMEM || rc == -EAGAIN || rc == -EDEADLK) {
        fault_relent();
        rc = hop_runtime_free(rt);
    }
    expect(rc != -ENOMEM && rc != -EAGAIN && rc != -EDEADLK && rc != -ETIMEDOUT && rc != -EINVAL);
}

static void threads(void)
{
    hop_runtime *rt;

    if (note(hop_runtime_new(&rt, &small)) < 0)
        return;
    use_from_thread();
    give_back(rt);
}

/* --- a base of the user's --- */

struct guest {
    struct event_base *base;
    int fds[2];
    int done;
};

static void read_in_vain(int fd)
{
    char byte;
    ssize_t n = 0;

    hop_within(HOP_MS)
        n = hop_read(fd, &byte, 1);
    expect(n < 0);
    if (n != -ETIMEDOUT)
        note(n);
}

static int guest_of_base(void *arg)
{
    struct guest *g = arg;
    char byte = 0;

    if (!note(hop_sleep(HOP_MS)) && note(hop_write(g->fds[1], "x", 1)) == 1 &&
        note(hop_read(g->fds[0], &byte, 1)) == 1) {
        expect(byte == 'x');
        offloads(NULL);
        read_in_vain(g->fds[0]);
    }
    g->done = 1;
    event_base_loopbreak(g->base);
    return 0;
}

static struct event_base *base_of_user(const char *without)
{
    struct event_config *config = __real_event_config_new();
    struct event_base *base;

    event_config_avoid_method(config, without);
    base = __real_event_base_new_with_config(config);
    __real_event_config_free(config);
    expect(base != NULL);
    return base;
}

static void attach(const char *without)
{
    struct guest g = { .base = base_of_user(without) };
    hop_runtime *rt;

    expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, g.fds) == 0);
    if (note(hop_runtime_new(&rt, &(hop_config){ .base = g.base, .workers = 1 })) >= 0) {
        if (!note(hop_spawn(hop_root(rt), guest_of_base, &g, NULL)))
            while (!g.done)
                __real_event_base_loop(g.base, 0);
        give_back(rt);
    }
    close_both(g.fds);
    __real_event_base_free(g.base);
}

static void attach_epoll(void)
{
    attach("none");
}

static void attach_poll(void)
{
    attach("epoll");
}

/* --- streams --- */

enum { STREAM_BYTES = 300000 };

struct stream {
    int fds[2];
    bool cut;
};

static char pattern(size_t at)
{
    return (char)(at % 251);
}

static int write_stream(void *arg)
{
    struct stream *s = arg;
    char block[3000];
    size_t at = 0;
    ssize_t n = 0;

    while (at < STREAM_BYTES && n >= 0) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = pattern(at + i);
        if (at / sizeof block % 2) {
            struct iovec parts[] = { { block, 1000 }, { block + 1000, 2000 } };

            n = note(hop_writev(s->fds[1], parts, 2));
            at += n > 0 ? (size_t)n : 0;
            if (n > 0 && (size_t)n < sizeof block) {
                n = note(hop_write_full(s->fds[1], block + n, sizeof block - (size_t)n));
                at += n > 0 ? (size_t)n : 0;
            }
        } else {
            n = note(hop_write_full(s->fds[1], block, sizeof block));
            at += n > 0 ? (size_t)n : 0;
        }
    }
    s->cut = n < 0;
    note(hop_close(s->fds[1]));
    s->fds[1] = -1;
    return n < 0 ? (int)n : 0;
}

static int read_stream(void *arg)
{
    struct stream *s = arg;
    char block[5000];
    size_t at = 0;
    ssize_t n;

    do {
        struct iovec parts[] = { { block, 10 }, { block + 10, 4990 } };

        n = note(at % 2 ? hop_readv(s->fds[0], parts, 2) : hop_read(s->fds[0], block, sizeof block));
        for (ssize_t i = 0; i < n; i++)
            expect(block[i] == pattern(at + (size_t)i));
        at += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    expect(n < 0 || s->cut || at == STREAM_BYTES);
    return (int)n;
}

static int stream_over(int (*make)(int *))
{
    struct stream s = { .cut = false };
    int rc;

    expect(make(s.fds) == 0);
    rc = TOGETHER(&s, write_stream, read_stream);
    if (s.fds[1] >= 0)
        note(hop_close(s.fds[1]));
    note(hop_close(s.fds[0]));
    return rc;
}

static int make_sockets(int *fds)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

static int make_pipe(int *fds)
{
    return __real_pipe2(fds, O_CLOEXEC);
}

static int streams_in_task(void *arg)
{
    int rc = stream_over(make_sockets);

    (void)arg;
    return rc < 0 ? rc : stream_over(make_pipe);
}

static void streams(void)
{
    in_runtime(streams_in_task, &small);
}

/* The same calls from a plain thread, which blocks. */
static void talk(int (*make)(int *))
{
    int fds[2];
    char in[6] = "";
    struct iovec out[] = { { (char *)"he", 2 }, { (char *)"llo", 3 } }, parts[] = { { in, 2 }, { in + 2, 3 } };
    ssize_t n;

    expect(make(fds) == 0);
    if (note(hop_write_full(fds[1], "hello", 5)) == 5 && note(hop_read_full(fds[0], in, 5)) == 5)
        expect(!strcmp(in, "hello"));
    n = note(hop_writev(fds[1], out, 2));
    expect(n < 0 || n > 0);
    if (n > 0) {
        ssize_t got = note(hop_readv(fds[0], parts, 2));

        expect(got != 0 && got <= n);
    }
    n = note(hop_wait_fd(fds[1], HOP_WRITABLE));
    expect(n < 0 || n == HOP_WRITABLE);
    note(hop_write(fds[1], "", 0));
    note(hop_close(fds[0]));
    note(hop_close(fds[1]));
}

static void streams_of_thread(void)
{
    talk(make_sockets);
    talk(make_pipe);
}

/* --- a descriptor that two loops know, closed under their hands --- */

static int wait_for_close(void *arg)
{
    int *fds = arg, rc = hop_wait_fd(fds[0], HOP_READABLE);

    expect(rc < 0);
    if (rc != -EBADF)
        note(rc);
    return 0;
}

static int close_soon(void *arg)
{
    int *fds = arg;

    note(hop_sleep(2 * HOP_MS));
    note(hop_close(fds[0]));
    fds[0] = -1;
    return 0;
}

static int closing_in_task(void *arg)
{
    int fds[2], rc;

    (void)arg;
    expect(make_pipe(fds) == 0);
    rc = TOGETHER(fds, wait_for_close, wait_for_close, close_soon);
    if (fds[0] >= 0)
        note(hop_close(fds[0]));
    note(hop_close(fds[1]));
    return rc;
}

static void closing(void)
{
    in_runtime(closing_in_task, &small);
}

/* --- sockets --- */

struct service {
    int listener;
    bool cut; /* the server gave up */
    char address[128];
};

static int serve(void *arg)
{
    struct service *s = arg;
    char buffer[16];
    int fd = (int)note(hop_accept(s->listener));
    ssize_t n;

    if (fd < 0)
        return fd;
    while ((n = note(hop_read(fd, buffer, sizeof buffer))) > 0) {
        n = note(hop_write_full(fd, buffer, (size_t)n));
        if (n < 0)
            break;
    }
    s->cut = n < 0;
    note(hop_close(fd));
    return (int)n;
}

static int call(void *arg)
{
    struct service *s = arg;
    char answer[6] = "";
    int fd = (int)note(hop_dial(s->address));
    ssize_t n;

    if (fd < 0)
        return fd;
    n = note(hop_write_full(fd, "hello", 5));
    if (n >= 0)
        n = note(hop_read_full(fd, answer, 5));
    expect(n < 5 || !strcmp(answer, "hello"));
    expect(n < 0 || s->cut || n == 5);
    note(hop_close(fd));
    return n < 0 ? (int)n : 0;
}

/* With a path or a host that is a name it is dialled as it was listened to. */
static int serve_at(const char *address, bool blocking)
{
    struct service s = { .cut = false };
    int rc;

    s.listener = (int)note(hop_listen(address));
    if (s.listener < 0)
        return s.listener;
    if (blocking)
        __real_fcntl(s.listener, F_SETFL, 0);
    rc = (int)note(hop_local_address(s.listener, s.address, sizeof s.address));
    if (rc >= 0)
        rc = TOGETHER(&s, serve, call);
    note(hop_close(s.listener));
    return rc;
}

static int sockets_in_task(void *arg)
{
    int rc = serve_at("tcp:127.0.0.1:0", false);

    (void)arg;
    if (!rc)
        rc = serve_at("tcp:127.0.0.1:0", true);
    if (!rc) {
        char address[96];

        snprintf(address, sizeof address, "unix:%s/socket-%d", root, (int)getpid());
        rc = serve_at(address, false);
        unlink(address + strlen("unix:"));
    }
    return rc;
}

static void sockets(void)
{
    in_runtime(sockets_in_task, &small);
}

static bool has_ipv6;

static void names_of_thread(void)
{
    int fd = (int)note(hop_listen("tcp:localhost:0"));

    if (fd >= 0)
        note(hop_close(fd));
    if (!has_ipv6)
        return;
    fd = (int)note(hop_listen("tcp:[::1%lo]:0"));
    if (fd >= 0)
        note(hop_close(fd));
}

static int names_in_task(void *arg)
{
    (void)arg;
    names_of_thread();
    return 0;
}

static void names(void)
{
    names_of_thread();
    in_runtime(names_in_task, &small);
}

/* --- files --- */

static int use_file(void *arg)
{
    static const char text[] = "regular files go by the blocking lane";
    char in[sizeof text] = "";
    struct iovec out[] = { { (char *)(uintptr_t)text, 10 }, { (char *)(uintptr_t)text + 10, sizeof text - 10 } };
    int fd = memfd_create("hop-faults", MFD_CLOEXEC);
    ssize_t n;

    (void)arg;
    expect(fd >= 0);
    n = note(hop_write_full(fd, text, sizeof text));
    expect(n < 0 || n == sizeof text);
    expect(lseek(fd, 0, SEEK_SET) == 0);
    if (n >= 0)
        n = note(hop_read_full(fd, in, sizeof in));
    expect(n < 0 || !memcmp(in, text, sizeof text));
    if (n >= 0)
        n = note(hop_writev(fd, out, 2));
    note(hop_close(fd));
    return n < 0 ? (int)n : 0;
}

static void files(void)
{
    use_file(NULL);
    in_runtime(use_file, &small);
}

/* --- the blocking lane: one that blocks until another, on the lane too, lets it go on --- */

static atomic_bool blocked;

static int block(void *arg)
{
    int *fds = arg;
    char byte;

    hop_on_blocking {
        atomic_store(&blocked, true);
        expect(hop_here() != HOP_BLOCKING || __real_read(fds[0], &byte, 1) == 1);
    }
    return 0;
}

static int unblock(void *arg)
{
    int *fds = arg;

    while (!atomic_load(&blocked))
        hop_shield(HOP_SEC)
            hop_sleep(100 * HOP_US);
    hop_on_blocking
        expect(write(fds[1], "", 1) == 1);
    return 0;
}

static int lane_in_task(void *arg)
{
    hop_scope scope;
    int fds[2];

    (void)arg;
    expect(make_pipe(fds) == 0);
    atomic_store(&blocked, false);
    expect(hop_scope_open(&scope) == 0);
    if (!note(hop_spawn(&scope, block, fds, NULL)) && note(hop_spawn(&scope, unblock, fds, NULL)) < 0)
        expect(write(fds[1], "", 1) == 1);
    hop_sleep(30 * HOP_MS);
    fault_relent(); /* what had run out is there again, and nothing else will happen that could be waited for */
    note(hop_scope_close(&scope));
    close_both(fds);
    return 0;
}

static void lane(void)
{
    in_runtime(lane_in_task, &small);
}

/* --- many stacks, of two sizes --- */

enum { SLEEPERS = 40 };

static int sleep_a_little(void *arg)
{
    return (int)note(hop_sleep((hop_ns)(uintptr_t)arg * 50 * HOP_US));
}

static int stacks_in_task(void *arg)
{
    hop_scope scope;
    uintptr_t i;
    int rc = 0;

    (void)arg;
    expect(hop_scope_open(&scope) == 0);
    for (i = 1; i <= SLEEPERS && !rc; i++)
        rc = (int)note(hop_spawn(&scope, sleep_a_little, (void *)i, HOP_TASK(.stack_bytes = i % 4 ? 0 : 32 * 1024)));
    if (rc < 0)
        hop_scope_cancel(&scope, -ECANCELED);
    note(hop_scope_close(&scope));
    return rc;
}

static void stacks(void)
{
    in_runtime(stacks_in_task, &small);
}

/* --- a pipeline --- */

static int make_item(void *slot, void *arg)
{
    int *made = arg;

    *(int *)slot = *made;
    return (*made)++ < ITEMS;
}

static int square_item(void *slot, void *arg)
{
    (void)arg;
    return square(slot);
}

static int check_item(void *slot, void *arg)
{
    int n = *(int *)slot;

    (void)arg;
    expect(n >= 0 && n < ITEMS * ITEMS);
    return 0;
}

static int pipeline_in_task(void *arg)
{
    static const hop_stage stages[] = {
        { make_item, HOP_SERIAL, "make" }, { square_item, HOP_PARALLEL, "square" }, { check_item, HOP_SERIAL, "check" }
    };
    int slots[8], made = 0, rc = (int)note(hop_pipeline(stages, 3, slots, 8, sizeof *slots, &made));

    (void)arg;
    expect(rc < 0 || made == ITEMS + 1);
    return rc;
}

static void pipeline(void)
{
    in_runtime(pipeline_in_task, &small);
}

/* --- more workers than a loop has room for in its frame --- */

static void wide(void)
{
    in_runtime(loops, &(hop_config){ .workers = 40 });
}

/* --- a loop that works long: the workers look at their budget and their pins --- */

static int look_around(void *arg)
{
    hop_ns until = hop_now() + 1100 * HOP_MS;
    int rc = 0;

    (void)arg;
    while (!rc && hop_now() < until)
        rc = offloads(NULL);
    return rc;
}

static void long_run(void)
{
    in_runtime(look_around, &(hop_config){ .loops = 1 });
}

/* --- the machine, without a runtime: here, and as made-up files tell it --- */

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        (void)mkdir(path, 0700);
    }
    file = __real_fopen(path, "w");
    if (!file || fputs(text, file) < 0 || __real_fclose(file))
        abort();
}

static void made_up_machine(void)
{
    char name[64], text[64];

    put("/first/proc/self/mountinfo", "30 1 0:28 / /cg rw shared:9 - cgroup2 cgroup2 rw\n");
    put("/first/proc/self/cgroup", "0::/\n");
    put("/first/cg/cpu.max", "150000 100000\n");
    put("/first/proc/2/stat", "2 (kthreadd) S 0 0 0 0 -1 2129984 0\n");
    put("/own/proc/self/mountinfo", "31 1 0:29 / /cg rw - cgroup cgroup rw,cpu\n");
    put("/own/proc/self/cgroup", "4:cpu:/a\n");
    put("/own/cg/a/cpu.cfs_quota_us", "50000\n");
    put("/own/cg/a/cpu.cfs_period_us", "100000\n");
    snprintf(text, sizeof text, "%d\n", (int)getpid());
    put("/own/cg/a/cgroup.procs", text);
    snprintf(name, sizeof name, "/own/proc/%d/stat", (int)getpid());
    put(name, "1 (faults) R 0 0 0 0 -1 0 0\n");
}

static void machine(void)
{
    struct hop__budget budget;
    char path[96];

    describes();
    snprintf(path, sizeof path, "%s/first", root);
    hop__budget_read(&budget, 4, path);
    expect(budget.width == 2 || budget.width == 4);
    hop__budget_own_cgroup(path);
    snprintf(path, sizeof path, "%s/own", root);
    hop__budget_read(&budget, 4, path);
    expect(budget.width == 1 || budget.width == 4);
    hop__budget_own_cgroup(path);
}

/* As if an OpenMP runtime had confined the first thread to one of several places. */
static void bound(void)
{
    cpu_set_t before;
    struct hop__topology *t;

    setenv("OMP_PROC_BIND", "true", 1);
    expect(__real_sched_getaffinity(0, sizeof before, &before) == 0);
    for (fault_places = 0; fault_places <= 2; fault_places += 2) {
        if (!note(hop__topology_open(&t))) {
            expect(hop__topology_cpus(t) > 0);
            hop__topology_close(t);
        }
    }
    fault_places = 0;
    sched_setaffinity(0, sizeof before, &before);
    unsetenv("OMP_PROC_BIND");
}

/* --- the list --- */

const struct fault_scenario fault_scenarios[] = {
    { .name = "run", .run = run },
    { .name = "default", .run = run_by_default },
    { .name = "team", .run = team },
    { .name = "threads", .run = threads },
    { .name = "attach", .run = attach_epoll },
    { .name = "attach-poll", .run = attach_poll },
    { .name = "streams", .run = streams },
    { .name = "thread-streams", .run = streams_of_thread },
    { .name = "closing", .run = closing, .deep = true },
    { .name = "sockets", .run = sockets },
    { .name = "names", .run = names },
    { .name = "files", .run = files },
    { .name = "lane", .run = lane, .deep = true },
    { .name = "stacks", .run = stacks },
    { .name = "pipeline", .run = pipeline },
    { .name = "profiles", .run = profiles },
    { .name = "wide", .run = wide },
    { .name = "machine", .run = machine },
    { .name = "bound", .run = bound },
    { .name = "long", .run = long_run, .slow = true },
    { .name = NULL }
};

static bool find_ipv6(void)
{
    int fd = hop_listen("tcp:[::1%lo]:0");

    if (fd >= 0)
        hop_close(fd);
    return fd >= 0;
}

void fault_scenarios_prepare(void)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(root, sizeof root, "/tmp/hop-faults-XXXXXX");
    if (!mkdtemp(root))
        abort();
    made_up_machine();
    has_ipv6 = find_ipv6();
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

void fault_scenarios_clean_up(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
