/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenes with descriptors: bytes through sockets and pipes, visitors of a server, descriptors that are closed while
 * they are waited for, regular files.
 *
 * Every byte of a stream is known from its place, so what was lost, doubled or came from a stranger's descriptor shows.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storm.h"

/* --- a stream of known bytes --- */

struct end {
    struct stream *stream;
    int fd;
    bool mine; /* whoever sets it closes */
};

struct stream {
    unsigned key;
    size_t bytes;         /* that the writer means to write */
    struct end in, out;   /* to write, to read */
    size_t written, read;
    bool finished, ended; /* the writer wrote all; the reader saw the end */
};

enum { PIECE = 3000 };

static unsigned char byte_at(const struct stream *s, size_t i)
{
    return (unsigned char)((i * 2654435761u + s->key) >> 11);
}

static void fill(const struct stream *s, size_t from, unsigned char *out, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        out[i] = byte_at(s, from + i);
}

static void check_bytes(const struct stream *s, size_t from, const unsigned char *in, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (in[i] != byte_at(s, from + i))
            storm_fail(__FILE__, __LINE__, "a byte of the stream", in[i], (long long)(from + i));
}

static ssize_t write_some(struct actor *a, int fd, const unsigned char *buffer, size_t n)
{
    struct iovec two[] = { { (void *)(uintptr_t)buffer, n / 3 }, { (void *)(uintptr_t)(buffer + n / 3), n - n / 3 } };
    int ready;

    switch (pick(a, 5)) {
    case 0: return hop_write_full(fd, buffer, n);
    case 1: return hop_writev(fd, two, 2);
    case 2:
        ready = hop_wait_fd(fd, HOP_WRITABLE);
        if (ready < 0)
            return ready;
        claim_eq(ready, HOP_WRITABLE);
        return hop_write(fd, buffer, n);
    default: return hop_write(fd, buffer, n);
    }
}

static ssize_t read_some(struct actor *a, int fd, unsigned char *buffer, size_t n)
{
    struct iovec two[] = { { buffer, n / 3 }, { buffer + n / 3, n - n / 3 } };
    int ready;

    switch (pick(a, 5)) {
    case 0: return hop_read_full(fd, buffer, n);
    case 1: return hop_readv(fd, two, 2);
    case 2:
        ready = hop_wait_fd(fd, HOP_READABLE);
        if (ready < 0)
            return ready;
        claim_eq(ready, HOP_READABLE);
        return hop_read(fd, buffer, n);
    default: return hop_read(fd, buffer, n);
    }
}

/* The other side is gone: it was stopped, and so for a reason that holds here too. */
static bool is_broken(struct actor *a, ssize_t rc)
{
    if (rc != -EPIPE && rc != -ECONNRESET)
        return false;
    claim(a->place == HOP_OUTSIDE || disturbed(a));
    return true;
}

static void close_end(struct actor *a, struct end *e)
{
    doing(a, "closing a descriptor");
    if (e->mine)
        claim_eq(hop_close(e->fd), 0);
    e->mine = false;
}

static int write_stream(struct actor *a, struct stream *s, int fd)
{
    unsigned char buffer[PIECE];
    ssize_t n = 0;

    while (s->written < s->bytes) {
        size_t want = 1 + (size_t)pick(a, PIECE);

        want = want < s->bytes - s->written ? want : s->bytes - s->written;
        fill(s, s->written, buffer, want);
        doing(a, "writing");
        n = write_some(a, fd, buffer, want);
        if (n < 0)
            break;
        claim(n > 0 && (size_t)n <= want);
        s->written += (size_t)n;
        gust(a);
    }
    s->finished = s->written == s->bytes;
    return n < 0 ? (int)n : 0;
}

static int read_stream(struct actor *a, struct stream *s, int fd, size_t most)
{
    unsigned char buffer[PIECE];
    ssize_t n = 1;

    while (s->read < most) {
        size_t want = 1 + (size_t)pick(a, PIECE);

        doing(a, "reading");
        n = read_some(a, fd, buffer, want < most - s->read ? want : most - s->read);
        if (n <= 0)
            break;
        check_bytes(s, s->read, buffer, (size_t)n);
        s->read += (size_t)n;
        gust(a);
    }
    s->ended = n == 0;
    return n < 0 ? (int)n : 0;
}

static int writer(struct actor *a, void *arg)
{
    struct end *e = arg;
    int rc = write_stream(a, e->stream, e->fd);

    close_end(a, e);
    return is_broken(a, rc) ? 0 : rc < 0 ? (int)heard(a, rc) : play(a);
}

static int reader(struct actor *a, void *arg)
{
    struct end *e = arg;
    int rc = read_stream(a, e->stream, e->fd, SIZE_MAX);

    close_end(a, e);
    return is_broken(a, rc) ? 0 : rc < 0 ? (int)heard(a, rc) : play(a);
}

/* --- a stream between two actors --- */

static void open_stream(struct actor *a, struct stream *s)
{
    int fds[2], flags = chance(a, 50) ? O_NONBLOCK : 0;

    *s = (struct stream){ .key = (unsigned)draw(a), .bytes = (size_t)pick(a, chance(a, 20) ? 200000 : 5000) };
    if (chance(a, 50))
        claim_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (flags ? SOCK_NONBLOCK : 0), 0, fds), 0);
    else
        claim_eq(pipe2(fds, O_CLOEXEC | flags), 0);
    s->out = (struct end){ s, fds[0], true };
    s->in = (struct end){ s, fds[1], true };
}

int scene_stream(struct actor *a)
{
    struct stream *s = malloc(sizeof *s);
    struct stranger foreign;
    bool abroad = chance(a, 15);
    struct ring r;
    int rc;

    claim(s);
    rc = ring_open(a, &r);
    if (rc == 0) {
        struct cast writes = { "a writer", writer, &s->in, share(a, 3), 0, false, false };
        struct cast reads = { "a reader", reader, &s->out, share(a, 3), 0, false, false };

        open_stream(a, s);
        if (abroad)
            stranger_start(a, &foreign, "a foreign writer", writer, &s->in, writes.fuel);
        else if (ring_add(a, &r, &writes, NULL) < 0)
            close_end(a, &s->in);
        gust(a);
        if (ring_add(a, &r, &reads, NULL) < 0)
            close_end(a, &s->out);
        rc = ring_close(a, &r);
        if (abroad)
            stranger_join(a, &foreign);
        claim(!s->in.mine && !s->out.mine);
        claim(s->read <= s->written);
        if (s->finished && s->ended)
            claim_eq(s->read, s->bytes);
        if (rc == 0)
            claim(s->finished && s->ended);
        rc = 0;
    }
    free(s);
    return rc < 0 ? rc : interrupted(a);
}

/* --- visitors of a server --- */

enum { VISITORS = 5 };

struct visit {
    struct inn *inn;
    struct stream there;
};

struct inn {
    char address[108];
    int listener;
    struct ring *ring;
    int visitors;
    struct visit visits[VISITORS];
};

struct greeting {
    uint32_t number, bytes;
};

/* Sends back what comes: who comes, and how much, says the greeting. */
static int host(struct actor *a, void *arg)
{
    int fd = hop_int(arg);
    unsigned char buffer[PIECE];
    struct greeting hello;
    ssize_t n;

    doing(a, "waiting for a greeting");
    n = hop_read_full(fd, &hello, sizeof hello);
    if (n == sizeof hello)
        claim(hello.number < VISITORS);
    while (n > 0 && (n = hop_read(fd, buffer, sizeof buffer)) > 0)
        n = hop_write_full(fd, buffer, (size_t)n);
    claim_eq(hop_close(fd), 0);
    return is_broken(a, n) ? 0 : n < 0 ? (int)heard(a, n) : 0;
}

static int innkeeper(struct actor *a, void *arg)
{
    struct inn *inn = arg;
    int i, fd = 0, rc = 0;

    for (i = 0; i < inn->visitors && rc >= 0; i++) {
        struct cast cast = { "a host", host, NULL, 0, 0, false, false };

        doing(a, "accepting");
        fd = hop_accept(inn->listener);
        if (fd < 0) {
            rc = (int)heard(a, fd);
            break;
        }
        cast.arg = hop_ptr(fd);
        rc = ring_add(a, inn->ring, &cast, NULL);
        if (rc < 0)
            claim_eq(hop_close(fd), 0);
    }
    claim_eq(hop_close(inn->listener), 0);
    return rc;
}

static int visitor(struct actor *a, void *arg)
{
    struct visit *v = arg;
    struct greeting hello = { (uint32_t)(v - v->inn->visits), (uint32_t)v->there.bytes };
    int fd, rc;

    doing(a, "dialling");
    fd = hop_dial(v->inn->address);
    if (fd == -ECONNREFUSED)
        claim(disturbed(a)); /* the innkeeper was */
    if (fd < 0)
        return fd == -ECONNREFUSED ? fd : (int)heard(a, fd);
    rc = (int)hop_write_full(fd, &hello, sizeof hello);
    while (rc >= 0 && v->there.written < v->there.bytes) {
        unsigned char piece[200];
        size_t n = v->there.bytes - v->there.written < sizeof piece ? v->there.bytes - v->there.written : sizeof piece;

        fill(&v->there, v->there.written, piece, n);
        rc = (int)hop_write_full(fd, piece, n);
        if (rc < 0)
            break;
        v->there.written += n;
        rc = read_stream(a, &v->there, fd, v->there.written);
        claim(rc < 0 || v->there.read == v->there.written || v->there.ended);
        if (v->there.ended)
            rc = -EPIPE;
    }
    claim_eq(hop_close(fd), 0);
    if (rc < 0 && !is_broken(a, rc))
        heard(a, rc);
    return rc < 0 ? rc : 0;
}

static int open_inn(struct actor *a, struct inn *inn)
{
    char wanted[108] = "tcp:127.0.0.1:0";
    int rc;

    if (chance(a, 60)) {
        snprintf(wanted, sizeof wanted, "unix:/tmp/storm.%d.%d", getpid(), a->id);
        unlink(wanted + strlen("unix:")); /* a process of the same number may have been killed */
    } else if (chance(a, 20)) {
        snprintf(wanted, sizeof wanted, "tcp:localhost:0");
    }
    inn->listener = hop_listen(wanted);
    if (inn->listener < 0)
        return inn->listener;
    rc = hop_local_address(inn->listener, inn->address, sizeof inn->address);
    claim_eq(rc, strlen(inn->address));
    return 0;
}

/* A server and its clients in one ring; each client gets its own bytes back, and all of them if nothing befalls it. */
int scene_visitors(struct actor *a)
{
    struct inn *inn = calloc(1, sizeof *inn);
    struct cast keeper = { "an innkeeper", innkeeper, inn, 0, 0, false, false };
    struct ring r;
    int i, rc;

    claim(inn);
    rc = ring_open(a, &r);
    if (rc == 0 && (rc = open_inn(a, inn)) < 0)
        ring_close(a, &r);
    if (rc < 0) {
        free(inn);
        return (int)heard(a, rc);
    }
    inn->ring = &r;
    inn->visitors = 1 + pick(a, VISITORS);
    if (ring_add(a, &r, &keeper, NULL) < 0)
        claim_eq(hop_close(inn->listener), 0);
    for (i = 0; i < inn->visitors; i++) {
        struct cast cast = { "a visitor", visitor, &inn->visits[i], 0, 0, false, false };

        inn->visits[i] = (struct visit){ inn, { .key = (unsigned)draw(a), .bytes = (size_t)pick(a, 3000) } };
        ring_add(a, &r, &cast, NULL);
    }
    rc = ring_close(a, &r);
    for (i = 0; i < inn->visitors && rc == 0; i++)
        claim_eq(inn->visits[i].there.read, inn->visits[i].there.bytes);
    if (!strncmp(inn->address, "unix:", 5))
        unlink(inn->address + 5);
    free(inn);
    return interrupted(a);
}

/* --- closed while waited for --- */

enum { WAITERS = 5, NUMBERS = 600, SPAN = 400 }; /* from there on descriptors have their numbers to themselves */

struct rupture {
    int fd, other;
    atomic_bool closed;
};

static int wait_for_ever(struct actor *a, void *arg)
{
    struct rupture *x = arg;
    char byte;
    int way = pick(a, 3), rc;

    doing(a, "waiting for a descriptor that will be closed");
    rc = way == 0 ? (int)hop_read(x->fd, &byte, 1) : hop_wait_fd(x->fd, HOP_READABLE);
    claim(rc < 0);
    if (rc != -EBADF)
        return (int)heard(a, rc);
    claim(atomic_load(&x->closed));
    return 0;
}

static int closes(struct actor *a, void *arg)
{
    struct rupture *x = arg;

    play(a);
    gust(a);
    atomic_store(&x->closed, true);
    claim_eq(hop_close(x->fd), 0);
    return 0;
}

static int own_number(int fd)
{
    static atomic_int next;
    int number = NUMBERS + atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % SPAN, own;

    own = fcntl(fd, F_DUPFD_CLOEXEC, number);
    claim(own >= NUMBERS);
    close(fd);
    return own;
}

/*
 * Tasks of all loops wait for one descriptor, and somebody closes it: each is told, now or when it comes to wait. The
 * number is one that nobody else gets, or a late-comer would wait for a stranger's.
 */
int scene_rupture(struct actor *a)
{
    struct rupture x;
    int fds[2], i, n = 1 + pick(a, WAITERS), rc;
    struct cast closer = { "a closer", closes, &x, share(a, 3), 0, chance(a, 40), false };
    struct ring r;

    rc = ring_open(a, &r);
    if (rc < 0)
        return rc;
    claim_eq(chance(a, 50) ? pipe2(fds, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    x.fd = own_number(fds[0]);
    x.other = fds[1];
    atomic_init(&x.closed, false);
    for (i = 0; i < n; i++) {
        struct cast cast = { "a waiter", wait_for_ever, &x, 0, 0, false, false };

        ring_add(a, &r, &cast, NULL);
    }
    gust(a);
    if (chance(a, 50)) {
        closer.fuel = 0;
        if (ring_add(a, &r, &closer, NULL) < 0)
            closes(a, &x);
    } else {
        closes(a, &x);
    }
    ring_close(a, &r);
    if (!atomic_load(&x.closed))
        claim_eq(hop_close(x.fd), 0);
    claim_eq(hop_close(x.other), 0);
    return interrupted(a);
}

/* --- regular files --- */

int scene_file(struct actor *a)
{
    struct stream s = { .key = (unsigned)draw(a), .bytes = 1 + (size_t)pick(a, 3000) };
    unsigned char buffer[PIECE];
    int fd = memfd_create("storm", MFD_CLOEXEC);
    ssize_t n;

    claim(fd >= 0);
    fill(&s, 0, buffer, s.bytes);
    doing(a, "writing a file");
    n = hop_write_full(fd, buffer, s.bytes);
    if (n >= 0) {
        claim_eq(n, s.bytes);
        claim_eq(hop_wait_fd(fd, HOP_READABLE), -EPERM);
        claim_eq(lseek(fd, 0, SEEK_SET), 0);
        memset(buffer, 0, sizeof buffer);
        doing(a, "reading a file");
        n = hop_read_full(fd, buffer, s.bytes);
        if (n >= 0) {
            claim_eq(n, s.bytes);
            check_bytes(&s, 0, buffer, s.bytes);
        }
    }
    claim_eq(hop_close(fd), 0);
    return n < 0 ? (int)heard(a, n) : interrupted(a);
}
