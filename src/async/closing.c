/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who knows a descriptor, and how it is closed.
 *
 * A process-wide table has a record for each number, with a bit for each loop that has an entry. A descriptor must be
 * forgotten by all of them before it is closed, or the number could come back while an old registration stands. The
 * closer's own loop forgets directly. To the others the record itself travels: it holds one runnable, which visits
 * loop after loop, so a close needs no memory and cannot fail on the way; the last loop to be visited closes.
 *
 *     IDLE        the runnable is at home; whoever moves the record to another state may send it
 *     FORGETTING  it travels for a number that is open again (it was closed by close(2) behind our back)
 *     CLOSING     it travels, or a close is under way: waits are refused, a second close is -EBADF
 *
 *     IDLE -> FORGETTING -> IDLE       hop__fd_fresh, and after close(2)
 *     IDLE or FORGETTING -> CLOSING    hop__fd_close; from FORGETTING the traveller under way does the close
 *     CLOSING -> IDLE                  just before close(2), after which the number can be anyone's
 *
 * The record is IDLE before the number is free, because then it is the next one's. Who comes to wait in between is
 * registered for a file that close(2) takes away without a word: so the closer looks at the bits again after it, and
 * has those who wait there look again too.
 *
 * A wait that registers (D1: sets its bit, then looks at the state) and a close (D2: moves the state, then looks at the
 * bits) see each other, because these four are sequentially consistent.
 */
#include "config.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "async/fd.h"
#include "async/loop.h"

enum { LOOPS_MAX = 64, BLOCK = 512, BLOCKS_MAX = 32768 }; /* 16 million descriptors */

enum { IDLE = 0, FORGETTING, CLOSING };

struct record {
    hop__atomic(uint64_t) loops; /* a bit for each that has an entry */
    hop__atomic(int) state;
    hop__atomic(int) class;      /* relaxed: a hint */
    /* Of whoever moved the state from IDLE, and then of the traveller. */
    struct hop__runnable traveller;
    uint64_t todo;               /* loops still to be visited */
    int verdict;                 /* for those who wait there, unless it is closed meanwhile: 0, to look again */
    struct hop__future *closed;  /* completed with the result of the close, if not NULL */
    int fd;
};

static pthread_mutex_t loops_lock = PTHREAD_MUTEX_INITIALIZER; /* guards loops[], and each in it against its end */
static struct hop__loop *loops[LOOPS_MAX];
static hop__atomic(struct record *) blocks[BLOCKS_MAX];

/* --- records --- */

static struct record *find_record(int fd)
{
    struct record *block;

    if (fd < 0 || fd >= BLOCK * BLOCKS_MAX)
        return NULL;
    block = hop__load(&blocks[fd / BLOCK], acquire); /* B1, pairs with B2: the zeroed block */
    return block ? &block[fd % BLOCK] : NULL;
}

static struct record *make_record(int fd)
{
    struct record *r = find_record(fd), *block, *other = NULL;

    if (r || fd < 0 || fd >= BLOCK * BLOCKS_MAX)
        return r;
    block = calloc(BLOCK, sizeof *block); /* kept for the life of the process */
    if (!block)
        return NULL;
    if (!hop__cas(&blocks[fd / BLOCK], &other, block, release, relaxed)) /* B2 */
        free(block);
    return find_record(fd);
}

void hop__fd_set_class(int fd, enum hop__fd_class class)
{
    struct record *r = make_record(fd);

    if (r)
        hop__store(&r->class, (int)class, relaxed);
}

int hop__fd_class(int fd)
{
    struct record *r = find_record(fd);
    int class = r ? hop__load(&r->class, relaxed) : HOP__FD_UNKNOWN;
    struct stat st;

    if (class != HOP__FD_UNKNOWN)
        return class;
    if (fstat(fd, &st) < 0)
        return -errno;
    class = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISDIR(st.st_mode) ? HOP__FD_FILE : HOP__FD_STREAM;
    hop__fd_set_class(fd, (enum hop__fd_class)class);
    return class;
}

/* --- travelling --- */

static void traveller_arrives(struct hop__runnable *node);
static void go_on(struct record *r);

static int verdict_of(const struct record *r)
{
    return hop__load(&r->state, relaxed) == CLOSING ? -EBADF : r->verdict;
}

/* Posts the traveller to the next living loop that is still to be visited: it is then out of our hands. */
static bool send_on(struct record *r)
{
    struct hop__loop *loop;
    int slot;

    while (r->todo) {
        slot = __builtin_ctzll(r->todo);
        r->todo &= r->todo - 1;
        pthread_mutex_lock(&loops_lock);
        loop = loops[slot];
        if (loop)
            loop->executor.ops->post(&loop->executor, &r->traveller);
        pthread_mutex_unlock(&loops_lock);
        if (loop)
            return true;
    }
    return false;
}

static bool begin(struct record *r, int to, int fd, int verdict)
{
    int state = IDLE;

    if (!hop__cas(&r->state, &state, to, seq_cst, relaxed)) /* D2 */
        return false;
    r->fd = fd;
    r->verdict = verdict;
    r->closed = NULL;
    r->traveller.run = traveller_arrives;
    return true;
}

/* The loops in the set that this thread may speak for forget at once; the others are returned. */
static uint64_t forget_mine(struct record *r, uint64_t set, bool *all_turn)
{
    struct hop__loop *loop;
    uint64_t rest;

    *all_turn = true;
    for (rest = set; rest; rest &= rest - 1) {
        int slot = __builtin_ctzll(rest);

        pthread_mutex_lock(&loops_lock);
        loop = loops[slot];
        if (loop && !loop->own_base)
            *all_turn = *all_turn && hop__loop_is_mine(loop);
        if (loop && !hop__loop_is_mine(loop))
            loop = NULL;
        pthread_mutex_unlock(&loops_lock);
        if (loop) {
            hop__fd_forget(loop, r->fd, verdict_of(r));
            set &= ~(UINT64_C(1) << slot);
        }
    }
    return set;
}

/* All loops that know the number forget it; what they tell those who wait there is the verdict. */
static void forget(struct record *r, int fd, int verdict)
{
    bool ignored;

    if (!hop__load(&r->loops, seq_cst) || !begin(r, FORGETTING, fd, verdict)) /* the usual case, once more */
        return;
    r->todo = forget_mine(r, hop__load(&r->loops, seq_cst), &ignored);
    go_on(r);
}

static int close_number(struct record *r)
{
    int fd = r->fd, rc;

    hop__store(&r->class, (int)HOP__FD_UNKNOWN, relaxed);
    hop__store(&r->state, (int)IDLE, release); /* the record is the next one's */
    rc = close(fd) < 0 ? -errno : 0;
    forget(r, fd, 0); /* who came too late for the closing and too early for the end */
    return rc;
}

/* The traveller has a loop less to visit. */
static void go_on(struct record *r)
{
    struct hop__future *closed;
    int state, rc;

    for (;;) {
        state = FORGETTING;
        if (send_on(r))
            return;
        if (hop__cas(&r->state, &state, (int)IDLE, acq_rel, acquire))
            return;
        r->todo = hop__load(&r->loops, seq_cst); /* closing: all of them, also who came back meanwhile */
        if (!r->todo)
            break;
    }
    closed = r->closed;
    r->closed = NULL;
    rc = close_number(r);
    if (closed)
        hop__complete(closed, rc);
}

static void traveller_arrives(struct hop__runnable *node)
{
    struct record *r = (struct record *)((char *)node - offsetof(struct record, traveller));

    hop__fd_forget(hop__loop_of(hop__self()->executor), r->fd, verdict_of(r));
    go_on(r);
}

/*
 * True: the state is CLOSING and the traveller is ours. Otherwise *rc: 0, the traveller is under way for another reason
 * and closes too; -EBADF, somebody closes already.
 */
static bool begin_close(struct record *r, int fd, int *rc)
{
    int state;

    while (!begin(r, CLOSING, fd, -EBADF)) {
        state = FORGETTING;
        if (hop__cas(&r->state, &state, (int)CLOSING, seq_cst, relaxed)) {
            *rc = 0;
            return false;
        }
        if (state == CLOSING) {
            *rc = -EBADF;
            return false;
        }
    }
    return true;
}

int hop__fd_close(int fd)
{
    struct hop__future closed = { HOP__EMPTY };
    struct record *r = find_record(fd);
    bool all_turn;
    int rc = 0;

    if (!r)
        return close(fd) < 0 ? -errno : 0;
    if (!begin_close(r, fd, &rc))
        return rc;
    r->todo = forget_mine(r, hop__load(&r->loops, seq_cst), &all_turn);
    if (!r->todo)
        return close_number(r);
    if (!all_turn || hop__wait_allowed() < 0) {
        go_on(r);
        return 0;
    }
    r->closed = &closed;
    go_on(r);
    hop__wait_future(&closed, HOP_FOREVER, false, &rc);
    return rc;
}

void hop__fd_fresh(int fd)
{
    struct record *r = find_record(fd);

    if (!r)
        return;
    hop__store(&r->class, (int)HOP__FD_STREAM, relaxed);
    forget(r, fd, -EBADF);
}

/* --- loops --- */

int hop__fd_note(struct hop__loop *loop, int fd)
{
    struct record *r = make_record(fd);

    if (!r)
        return fd < BLOCK * BLOCKS_MAX ? -ENOMEM : -EMFILE;
    hop__fetch_or(&r->loops, UINT64_C(1) << loop->slot, seq_cst); /* D1 */
    if (hop__load(&r->state, seq_cst) != CLOSING)
        return 0;
    hop__fd_unnote(loop, fd);
    return -EBADF;
}

void hop__fd_unnote(struct hop__loop *loop, int fd)
{
    hop__fetch_and(&find_record(fd)->loops, ~(UINT64_C(1) << loop->slot), seq_cst);
}

int hop__fd_loop_open(struct hop__loop *loop)
{
    int slot;

    pthread_mutex_lock(&loops_lock);
    for (slot = 0; slot < LOOPS_MAX && loops[slot]; slot++)
        ;
    if (slot < LOOPS_MAX)
        loops[slot] = loop;
    pthread_mutex_unlock(&loops_lock);
    loop->slot = slot;
    return slot < LOOPS_MAX ? 0 : -EAGAIN;
}

void hop__fd_loop_close(struct hop__loop *loop)
{
    hop__fd_forget_all(loop);
    pthread_mutex_lock(&loops_lock);
    loops[loop->slot] = NULL;
    pthread_mutex_unlock(&loops_lock);
}

void hop__fd_orphan_begins(void)
{
    int i, j;

    pthread_mutex_init(&loops_lock, NULL);
    for (i = 0; i < LOOPS_MAX; i++)
        loops[i] = NULL;
    for (i = 0; i < BLOCKS_MAX; i++) {
        struct record *block = hop__load(&blocks[i], relaxed);

        for (j = 0; block && j < BLOCK; j++) {
            hop__store(&block[j].loops, 0, relaxed);
            hop__store(&block[j].state, (int)IDLE, relaxed);
        }
    }
}
