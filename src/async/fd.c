/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors.
 *
 * Each loop has a table of those that its tasks have waited for. A descriptor is registered at the first wait in a
 * direction, edge-triggered and persistent: from then on a wait costs no epoll_ctl. (In a direction that nobody waits
 * for, a Unix socket would wake the loop each time the other end reads. A backend of the user's that has no edges
 * gets an event for each wait instead.)
 *
 * No readiness is kept, because none can be missed: a waiter first tries its system call, at home on the loop's thread,
 * and leaves its node before that thread looks for events again. An edge that comes after the try is delivered to the
 * node; the registration itself reports what is ready already. An edge wakes every waiter of its direction, and each
 * tries again. (To spare the try after a short read is not safe here: if data and a reset come together, the one edge
 * tells of both, the read is short, and libevent does not pass on that there was an error.)
 */
#include "config.h"

#include "async/fd.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <hop/io.h>

#include "async/loop.h"

/* A loop's own. The event follows it in memory. */
struct hop__fd {
    struct hop__loop *loop;
    int fd;
    short armed; /* what the event waits for */
    dev_t device; /* and of which file, while armed */
    ino_t inode;
    struct waiter *first, **last;
};

struct waiter {
    struct hop__wait_node node;
    struct waiter *next, **link; /* link is NULL once taken out */
    int events;
    int result; /* by who took it out */
};

/* --- waiters of one entry --- */

static void add_waiter(struct hop__fd *e, struct waiter *me)
{
    me->next = NULL;
    me->link = e->last;
    *e->last = me;
    e->last = &me->next;
}

static void remove_waiter(struct hop__fd *e, struct waiter *me)
{
    *me->link = me->next;
    if (me->next)
        me->next->link = me->link;
    else
        e->last = me->link;
    me->link = NULL;
}

static void wake_waiters(struct hop__fd *e, int events, int result)
{
    struct waiter *w, *next;

    for (w = e->first; w; w = next) {
        next = w->next;
        if (!(w->events & events))
            continue;
        remove_waiter(e, w);
        w->result = result;
        w->node.waiter.wake(&w->node.waiter); /* it may be gone now */
    }
}

/* --- entries of one loop --- */

static struct event *event_of(struct hop__fd *e)
{
    return (struct event *)(e + 1);
}

static struct hop__fd *find_entry(const struct hop__loop *loop, int fd)
{
    return fd < loop->nfds ? loop->fds[fd] : NULL;
}

static void rearm(struct hop__fd *e);

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct hop__fd *e = arg;
    struct hop__loop *loop = e->loop;
    struct hop__loop_visit visit;
    int events = (what & EV_READ ? HOP_READABLE : 0) | (what & EV_WRITE ? HOP_WRITABLE : 0);

    (void)fd;
    if (hop__loop_is_inherited(loop))
        return;
    visit = hop__loop_callback_begin(loop);
    wake_waiters(e, events, 0);
    if (!loop->edges) {
        e->armed = 0;
        rearm(e);
    }
    hop__loop_callback_end(loop, visit);
}

static int add_event(struct hop__fd *e, short kind)
{
    errno = 0;
    if (!event_assign(event_of(e), e->loop->base, e->fd, kind, on_event, e) && !event_add(event_of(e), NULL))
        return 0;
    return errno ? -errno : -ENOMEM;
}

static short kinds_of(int events)
{
    return (short)((events & HOP_READABLE ? EV_READ : 0) | (events & HOP_WRITABLE ? EV_WRITE : 0));
}

/*
 * Makes the event wait for what the waiters want, the newest for these events. With edges it goes on waiting for what
 * they ever wanted, so that mostly there is nothing to do, however many wait; without, an event fires once.
 */
static int arm_event(struct hop__fd *e, int events)
{
    short wanted = e->loop->edges ? e->armed : 0;
    struct waiter *w;
    int rc;

    if (wanted && !(kinds_of(events) & ~wanted))
        return 0;
    for (w = e->first; w; w = w->next)
        wanted |= kinds_of(w->events);
    if (wanted == e->armed)
        return 0;
    if (e->armed)
        event_del(event_of(e));
    e->armed = 0;
    rc = wanted ? add_event(e, (short)(wanted | (e->loop->edges ? EV_ET | EV_PERSIST : 0))) : 0;
    if (!rc)
        e->armed = wanted;
    return rc;
}

/* For those who wait already: if it cannot be done, they are told. */
static void rearm(struct hop__fd *e)
{
    int rc = arm_event(e, 0);

    if (rc < 0)
        wake_waiters(e, HOP_READABLE | HOP_WRITABLE, rc);
}

static int grow(struct hop__loop *loop, int fd)
{
    int n = loop->nfds ? loop->nfds : 64;
    struct hop__fd **fds;

    while (n <= fd)
        n *= 2;
    fds = realloc(loop->fds, (size_t)n * sizeof(struct hop__fd *));
    if (!fds)
        return -ENOMEM;
    for (int i = loop->nfds; i < n; i++)
        fds[i] = NULL;
    loop->fds = fds;
    loop->nfds = n;
    return 0;
}

static struct hop__fd *new_entry(struct hop__loop *loop, int fd)
{
    struct hop__fd *e = calloc(1, sizeof *e + event_get_struct_event_size());

    if (e) {
        e->loop = loop;
        e->fd = fd;
        e->last = &e->first;
    }
    return e;
}

/* The entry, made if need be. */
static int get_entry(struct hop__loop *loop, int fd, struct hop__fd **out)
{
    struct hop__fd *e;
    int rc;

    *out = find_entry(loop, fd);
    if (*out)
        return 0;
    rc = fd >= loop->nfds ? grow(loop, fd) : 0;
    if (rc < 0)
        return rc;
    e = new_entry(loop, fd);
    if (!e)
        return -ENOMEM;
    rc = hop__fd_note(loop, fd);
    if (rc < 0) {
        free(e);
        return rc;
    }
    *out = loop->fds[fd] = e;
    return 0;
}

void hop__fd_forget(struct hop__loop *loop, int fd, int result)
{
    struct hop__fd *e = find_entry(loop, fd);

    if (!e)
        return;
    loop->fds[fd] = NULL;
    if (e->armed)
        event_del(event_of(e));
    if (event_initialized(event_of(e)))
        event_debug_unassign(event_of(e)); /* a program may have libevent check on its events */
    wake_waiters(e, HOP_READABLE | HOP_WRITABLE, result);
    free(e);
    hop__fd_unnote(loop, fd);
}

void hop__fd_forget_all(struct hop__loop *loop)
{
    int fd;

    for (fd = 0; fd < loop->nfds; fd++)
        hop__fd_forget(loop, fd, -EBADF);
    free(loop->fds);
    loop->fds = NULL;
    loop->nfds = 0;
}

/*
 * A descriptor that was closed by close(2), by a library that owns it say, takes its registration along, and its number
 * may be another file's now. One fstat a wait tells, where a wait would otherwise last for ever.
 */
static int check_identity(struct hop__fd *e)
{
    struct stat now;
    bool is_another;

    if (fstat(e->fd, &now) < 0)
        return -errno;
    is_another = now.st_dev != e->device || now.st_ino != e->inode;
    if (e->armed && is_another)
        wake_waiters(e, HOP_READABLE | HOP_WRITABLE, -EBADF); /* theirs is gone */
    /* Eventfds, timerfds and their like have one inode between them, and no type: a first waiter registers anew. */
    if (e->armed && (is_another || (!(now.st_mode & S_IFMT) && !e->first))) {
        event_del(event_of(e));
        e->armed = 0;
    }
    e->device = now.st_dev;
    e->inode = now.st_ino;
    return 0;
}

int hop__fd_sleep(struct hop__wait *w, int fd, int events)
{
    struct hop__loop *loop = hop__loop_of(w->task->home);
    struct waiter me = { .events = events };
    struct hop__fd *e;
    int rc = get_entry(loop, fd, &e);

    if (!rc)
        rc = check_identity(e);
    if (rc < 0)
        return rc;
    hop__wait_node_init(w, &me.node, 0);
    add_waiter(e, &me);
    rc = arm_event(e, events);
    if (!rc)
        rc = hop__wait_sleep(w, HOP_FOREVER, true);
    if (me.link) { /* interrupted: the entry is still there, or it would have taken us out */
        remove_waiter(e, &me);
        rearm(e);
        return rc;
    }
    hop__wait_for_node(w, 0);
    return me.result;
}
