/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Many clients: thousands of connections on one loop, peers that vanish in every way, and the file limit. The clients
 * are a process of their own, which knows nothing of hop, so that each side has its own descriptors.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { MESSAGE = 64, HOSTS = 4, ROUNDS = 3 };

/* --- the client's side: plain blocking sockets; whatever goes wrong ends the process with a line --- */

static void fail_as_client(const char *what, int i)
{
    fprintf(stderr, "client %d: %s: %s\n", i, what, strerror(errno));
    _exit(1);
}

/* Connections go to 127.0.0.1, .2 and so on: a pair of addresses has not ports enough for all. */
static int connect_client(int i, const uint16_t *ports)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;

    if (fd < 0)
        fail_as_client("socket", i);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* who never reads has soon enough */
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (unsigned)(i % HOSTS));
    at.sin_port = htons(ports[i % HOSTS]);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        fail_as_client("connect", i);
    return fd;
}

static void fill(char *message, char kind, int i, int round)
{
    memset(message, 0, MESSAGE);
    snprintf(message, MESSAGE, "%c %d %d", kind, i, round);
}

static void say_to_server(int fd, char kind, int i, int round)
{
    char message[MESSAGE];

    fill(message, kind, i, round);
    if (send(fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
        fail_as_client("send", i);
}

static void hear_from_server(int fd, int i, int round)
{
    char message[MESSAGE], expected[MESSAGE];

    fill(expected, 'e', i, round);
    if (recv(fd, message, MESSAGE, MSG_WAITALL) != MESSAGE)
        fail_as_client("recv", i);
    if (memcmp(message, expected, MESSAGE) != 0)
        fail_as_client("another's message", i);
}

/* A word to or from the server's process, beside the connections. */
static void tell(int fd, int word)
{
    if (write(fd, &word, sizeof word) != sizeof word)
        _exit(1);
}

static int hear(int fd)
{
    int word;

    return read(fd, &word, sizeof word) == sizeof word ? word : -1;
}

struct clients {
    pid_t process;
    int to, from; /* words */
    int n;
    uint16_t ports[HOSTS];
};

/* The client process runs body, which is told where to hear and where to tell. */
static void start_clients(struct clients *c, void (*body)(const struct clients *, int hears, int tells))
{
    int there[2], back[2];

    must_eq(pipe(there), 0);
    must_eq(pipe(back), 0);
    fflush(NULL);
    c->process = fork();
    must(c->process >= 0);
    if (!c->process) {
        close(there[1]);
        close(back[0]);
        body(c, there[0], back[1]);
        end_child(0);
    }
    close(there[0]);
    close(back[1]);
    c->to = there[1];
    c->from = back[0];
}

/* In a task. */
static void tell_clients(struct clients *c, int word)
{
    must_eq(hop_write_full(c->to, &word, sizeof word), sizeof word);
}

static int hear_clients(struct clients *c)
{
    int word = -1;

    must_eq(hop_read_full(c->from, &word, sizeof word), sizeof word);
    return word;
}

static void end_clients(struct clients *c)
{
    int status;

    must_eq(hop_close(c->to), 0);
    must_eq(hop_close(c->from), 0);
    hop_on_blocking
        must_eq(waitpid(c->process, &status, 0), c->process);
    must_eq(status, 0);
}

/* --- the server's side --- */

/* Tests run in a process each, and all of this on one loop: so it needs no lock. */
static struct {
    int accepted, ended, closed_by_peer, reset, cancelled;
    int expected;      /* that end by themselves */
    hop_future enough; /* so many have */
} tally;

static void flood(int fd)
{
    static char page[4096];

    while (hop_write_full(fd, page, sizeof page) > 0)
        ;
}

/* Sends back what comes, or floods who asks for it, and notes how it ended. */
static int serve(void *arg)
{
    int fd = hop_int(arg);
    char message[MESSAGE];
    ssize_t n;

    while ((n = hop_read_full(fd, message, MESSAGE)) == MESSAGE) {
        if (message[0] == 'f')
            flood(fd);
        n = hop_write_full(fd, message, MESSAGE);
        if (n < 0)
            break;
    }
    if (n == -ECANCELED)
        tally.cancelled++;
    else if (n == -ECONNRESET || n == -EPIPE)
        tally.reset++;
    else if (n == 0)
        tally.closed_by_peer++;
    else
        must_eq(n, 0);
    must_eq(hop_close(fd), 0);
    if (++tally.ended == tally.expected)
        must_eq(hop_complete(&tally.enough, 0), 0);
    return 0;
}

static int listen_on(int host, uint16_t *port)
{
    char address[64];
    int fd;

    snprintf(address, sizeof address, "tcp:127.0.0.%d:0", host + 1);
    fd = hop_listen(address);
    must(fd >= 0);
    must(hop_local_address(fd, address, sizeof address) > 0);
    *port = (uint16_t)atoi(strrchr(address, ':') + 1);
    return fd;
}

/* All that the process may have: how many descriptors that is. */
static long raise_file_limit(void)
{
    struct rlimit limit;

    must_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    must_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_max > 1000000 ? 1000000 : (long)limit.rlim_max;
}

/* --- ten thousand at once --- */

enum fate { STAYS, RESETS, CLOSES_HALF, FLOODED, SILENT, FATES };

static enum fate fate_of(int i)
{
    switch (i % 16) {
    case 3: return RESETS;
    case 6: return CLOSES_HALF;
    case 9: return i % 128 == 9 ? FLOODED : STAYS;
    case 12: return SILENT;
    default: return STAYS;
    }
}

static int count_fated(int n, enum fate fate)
{
    int i, count = 0;

    for (i = 0; i < n; i++)
        count += fate_of(i) == fate;
    return count;
}

static void meet_fate(int fd, int i)
{
    const struct linger at_once = { 1, 0 };
    char byte;

    switch (fate_of(i)) {
    case STAYS:
        close(fd);
        break;
    case RESETS:
        say_to_server(fd, 'e', i, ROUNDS);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
        break;
    case CLOSES_HALF:
        say_to_server(fd, 'e', i, ROUNDS);
        shutdown(fd, SHUT_WR);
        hear_from_server(fd, i, ROUNDS);
        if (recv(fd, &byte, 1, 0) != 0)
            fail_as_client("no end", i);
        close(fd);
        break;
    case FLOODED:
        say_to_server(fd, 'f', i, ROUNDS);
        break;
    default:
        break;
    }
}

static void be_a_crowd(const struct clients *c, int hears, int tells)
{
    int *fds = calloc((size_t)c->n, sizeof *fds), i, round;

    if (!fds)
        _exit(1);
    for (i = 0; i < c->n; i++)
        fds[i] = connect_client(i, c->ports);
    tell(tells, 1);
    if (hear(hears) < 0)
        _exit(1);
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < c->n; i++)
            if (fate_of(i) != SILENT)
                say_to_server(fds[i], 'e', i, round);
        for (i = 0; i < c->n; i++)
            if (fate_of(i) != SILENT)
                hear_from_server(fds[i], i, round);
    }
    for (i = 0; i < c->n; i++)
        meet_fate(fds[i], i);
    hear(hears); /* the rest vanishes with the process */
}

struct acceptor {
    hop_scope *served;
    int listener, share;
};

static int accept_share(void *arg)
{
    const struct acceptor *a = arg;
    int i, fd;

    for (i = 0; i < a->share; i++) {
        fd = hop_accept(a->listener);
        must(fd >= 0);
        tally.accepted++;
        must_eq(hop_spawn(a->served, serve, hop_ptr(fd), NULL), 0);
    }
    return hop_close(a->listener);
}

static int meet_the_crowd(void *arg)
{
    struct clients *c = arg;
    struct acceptor acceptors[HOSTS];
    hop_scope served, accepting;
    long before;
    int i;

    must_eq(hop_scope_open(&served), 0);
    must_eq(hop_scope_open(&accepting), 0);
    for (i = 0; i < HOSTS; i++)
        acceptors[i] = (struct acceptor){ &served, listen_on(i, &c->ports[i]), (c->n - i + HOSTS - 1) / HOSTS };
    start_clients(c, be_a_crowd);
    before = status_kib("VmRSS");
    for (i = 0; i < HOSTS; i++)
        must_eq(hop_spawn(&accepting, accept_share, &acceptors[i], NULL), 0);
    must_eq(hear_clients(c), 1);
    must_eq(hop_scope_close(&accepting), 0);
    must_eq(tally.accepted, c->n);
    must_eq(hop_yield(), 0); /* all of them wait for their first message */
    printf("%d clients at once: %ld bytes of memory each\n", c->n, (status_kib("VmRSS") - before) * 1024 / c->n);
    tell_clients(c, 1);
    must_eq(hop_await(&tally.enough), 0);
    must_eq(tally.cancelled, 0);
    must_eq(hop_scope_cancel(&served, -ECANCELED), 0);
    must_eq(hop_scope_close(&served), -ECANCELED);
    end_clients(c);
    return 0;
}

START_TEST(thousands_of_clients)
{
    long wanted = TEST_SLOW ? 500 : 10000, most = raise_file_limit() - 100;
    struct clients c = { .n = (int)(wanted < most ? wanted : most) };
    int before = open_descriptors(), silent = count_fated(c.n, SILENT) + count_fated(c.n, FLOODED);

    if (c.n < wanted)
        printf("only %d clients, not %ld: the file limit\n", c.n, wanted);
    tally.expected = c.n - silent;
    must_eq(hop_run(meet_the_crowd, &c, NULL), 0);
    must_eq(tally.ended, c.n);
    must_eq(tally.closed_by_peer, count_fated(c.n, STAYS) + count_fated(c.n, CLOSES_HALF));
    must_eq(tally.reset, count_fated(c.n, RESETS));
    must_eq(tally.cancelled, silent);
    must_eq(open_descriptors(), before);
}
END_TEST

/* --- the file limit --- */

enum { QUEUED = 60, ROOM = 24 };

/*
 * Connects all when it is told to; then each word has two numbers: the clients below the first leave, and the others
 * below the second talk, one after the other.
 */
static void queue_up(const struct clients *c, int hears, int tells)
{
    int fds[QUEUED], first = 0, i, round = 0, word;

    hear(hears);
    for (i = 0; i < QUEUED; i++)
        fds[i] = connect_client(i * HOSTS, c->ports);
    tell(tells, 1);
    while ((word = hear(hears)) >= 0) {
        for (; first < word >> 8; first++)
            close(fds[first]);
        for (i = first; i < (word & 255); i++) {
            say_to_server(fds[i], 'e', i, round);
            hear_from_server(fds[i], i, round);
        }
        round++;
        tell(tells, round);
    }
}

static struct {
    bool patient; /* waits for room; otherwise tries again at once */
    int listener, refusals;
    int most; /* that can be in at once */
    hop_channel *full, *room;
} limit;

static int serve_and_make_room(void *arg)
{
    int rc = serve(arg);

    (void)hop_channel_try_send(limit.room, NULL);
    return rc;
}

static int accept_at_the_limit(void *arg)
{
    int fd;

    while (tally.accepted < QUEUED) {
        fd = hop_accept(limit.listener);
        if (fd >= 0) {
            tally.accepted++;
            must_eq(hop_spawn(arg, serve_and_make_room, hop_ptr(fd), NULL), 0);
            continue;
        }
        must_eq(fd, -EMFILE);
        limit.refusals++;
        (void)hop_channel_try_send(limit.full, NULL);
        if (limit.patient)
            must_eq(hop_channel_recv(limit.room, NULL), 1);
    }
    (void)hop_channel_try_send(limit.full, NULL);
    return 0;
}

static int compute(void *arg)
{
    (void)arg;
    return 7;
}

static void *try_a_runtime(void *arg)
{
    hop_runtime *rt;

    (void)arg;
    must_eq(hop_runtime_new(&rt, NULL), -EMFILE);
    return NULL;
}

static uint64_t loop_turns(void)
{
    hop_stats stats;

    must_eq(hop_stats_read(&stats), 0);
    return stats.loop_turns;
}

/* The server is full: who is in it is served, who asks for more is told, and the loop has its rest. */
static void check_at_the_limit(struct clients *c, int gone)
{
    uint64_t before;
    char local[64];
    int i, messages = 0;

    must_eq(hop_listen("tcp:127.0.0.1:0"), -EMFILE);
    must(hop_local_address(limit.listener, local, sizeof local) > 0);
    must_eq(hop_dial(local), -EMFILE);
    must_eq(hop_offload(compute, NULL), 7);
    hop_on_blocking
        join_thread(start_thread(try_a_runtime, NULL));
    before = loop_turns();
    for (i = 0; i < 4; i++) {
        tell_clients(c, gone << 8 | tally.accepted);
        must(hear_clients(c) > 0);
        messages += tally.accepted - gone;
    }
    if (limit.patient) /* a turn or two for each message, and none for a queue that nobody can accept from */
        ck_assert_int_le((long)(loop_turns() - before), 4 * messages + 40);
}

/* All that were told to go have gone, and as many as there is room for are in. */
static void wait_until_full(int gone)
{
    int refusals = limit.refusals;

    do
        must_eq(hop_channel_recv(limit.full, NULL), 1);
    while (tally.accepted < QUEUED && (tally.ended < gone || tally.accepted - tally.ended < limit.most));
    if (!limit.most)
        limit.most = tally.accepted;
    while (!limit.patient && limit.refusals < refusals + 1000 && tally.accepted < QUEUED)
        must_eq(hop_yield(), 0);
}

static int meet_the_queue(void *arg)
{
    struct clients *c = arg;
    struct rlimit was, now;
    hop_scope served;
    int gone = 0, next_free;

    must_eq(hop_channel_new(&limit.full, 0, 1), 0);
    must_eq(hop_channel_new(&limit.room, 0, 1), 0);
    must_eq(hop_scope_open(&served), 0);
    limit.listener = listen_on(0, &c->ports[0]);
    start_clients(c, queue_up);
    next_free = dup(limit.listener);
    must_eq(close(next_free), 0);
    must_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = (struct rlimit){ (rlim_t)next_free + ROOM, was.rlim_max };
    must_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
    must_eq(hop_spawn(&served, accept_at_the_limit, &served, NULL), 0);
    must_eq(hop_yield(), 0); /* it waits for the first: the loop has the listener registered */
    tell_clients(c, 0);
    must_eq(hear_clients(c), 1);
    for (;;) {
        wait_until_full(gone);
        if (tally.accepted == QUEUED)
            break;
        must(limit.refusals > 0);
        check_at_the_limit(c, gone);
        gone = tally.accepted - ROOM / 2;
        tell_clients(c, gone << 8 | gone);
        must(hear_clients(c) > 0);
    }
    must_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    tell_clients(c, gone << 8 | QUEUED);
    must(hear_clients(c) > 0);
    tell_clients(c, QUEUED << 8 | QUEUED);
    must(hear_clients(c) > 0);
    must_eq(hop_scope_close(&served), 0);
    must_eq(tally.closed_by_peer, QUEUED);
    must_eq(hop_close(limit.listener), 0);
    end_clients(c);
    must_eq(hop_channel_free(limit.full), 0);
    return hop_channel_free(limit.room);
}

static void run_at_the_limit(bool patient)
{
    struct clients c = { .n = QUEUED };
    int before = open_descriptors();

    if (TEST_VALGRIND) /* it lets the kernel accept, closes what came, and says -EMFILE: the client is lost */
        return;
    limit.patient = patient;
    must_eq(hop_run(meet_the_queue, &c, NULL), 0);
    must_eq(open_descriptors(), before);
}

START_TEST(goes_on_at_the_file_limit)
{
    run_at_the_limit(true);
}
END_TEST

/* A server that does not care tries to accept again and again: those it has must have their turn all the same. */
START_TEST(an_impatient_acceptor_starves_nobody)
{
    run_at_the_limit(false);
}
END_TEST

/* --- many who wait for one --- */

static int wait_for_signal(void *arg)
{
    return hop_wait_fd(hop_int(arg), HOP_READABLE) == HOP_READABLE ? 0 : -EIO;
}

static int wait_in_vain(void *arg)
{
    (void)hop_wait_fd(hop_int(arg), HOP_READABLE);
    return 0;
}

static int crowd_at_one_descriptor(void *arg)
{
    long n = TEST_SANITIZED || TEST_VALGRIND ? 1000 : test_scaled(100000), i;
    int fds[2], rounds;
    hop_scope scope;

    (void)arg;
    must_eq(pipe(fds), 0);
    for (rounds = 0; rounds < 2; rounds++) { /* in the second they leave because they are cancelled */
        must_eq(hop_scope_open(&scope), 0);
        for (i = 0; i < n; i++)
            must_eq(hop_spawn(&scope, rounds ? wait_in_vain : wait_for_signal, hop_ptr(fds[0]), NULL), 0);
        must_eq(hop_yield(), 0);
        if (rounds)
            must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
        else
            must_eq(hop_write(fds[1], "x", 1), 1);
        must_eq(hop_scope_close(&scope), rounds ? -ECANCELED : 0);
        if (!rounds)
            must_eq(hop_read(fds[0], &(char){ 0 }, 1), 1);
    }
    must_eq(hop_close(fds[0]), 0);
    return hop_close(fds[1]);
}

/* Whose cost is not the square of their number: at full size the time limit would tell. */
START_TEST(a_crowd_waits_for_one_descriptor)
{
    run_main(crowd_at_one_descriptor);
}
END_TEST

RUN_TESTS("clients", a_crowd_waits_for_one_descriptor, thousands_of_clients, goes_on_at_the_file_limit,
          an_impatient_acceptor_starves_nobody)
