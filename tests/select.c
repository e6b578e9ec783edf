/* SPDX-License-Identifier: BSD-3-Clause */

/* Waiting for the first of several things. */
#include "harness.h"

#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>

static hop_channel *new_channel(size_t capacity)
{
    hop_channel *c = NULL;

    must_eq(hop_channel_new(&c, sizeof(int), capacity), 0);
    return c;
}

/* --- what is ready --- */

static int ready_cases(void *arg)
{
    hop_channel *full = new_channel(1), *empty = new_channel(1), *closed = new_channel(1);
    hop_future done = HOP_FUTURE_INIT, open = HOP_FUTURE_INIT;
    int in = 5, out = 0, i;

    (void)arg;
    must_eq(hop_channel_send(full, &in), 0);
    must_eq(hop_channel_close(closed), 0);
    must_eq(hop_complete(&done, -EXDEV), 0);
    {
        hop_case cases[] = { hop_on_recv(empty, &out), hop_on_recv(full, &out), hop_on_send(full, &in) };

        must_eq(hop_select(cases, 3), 1);
        must_eq(cases[1].result, 1);
        must_eq(out, 5);
        must_eq(hop_channel_try_recv(full, &out), -EAGAIN); /* the send was as if never asked */
    }
    {
        hop_case cases[] = { hop_on_recv(empty, &out), hop_on_send(full, &in), hop_on_future(&open) };

        must_eq(hop_select(cases, 3), 1);
        must_eq(cases[1].result, 0);
        must_eq(hop_channel_try_recv(full, &out), 1);
    }
    {
        hop_case cases[] = { hop_on_recv(empty, &out), hop_on_future(&done), hop_on_future(&open) };

        must_eq(hop_select(cases, 3), 1);
        must_eq(cases[1].result, -EXDEV);
    }
    {
        hop_case cases[] = { hop_on_recv(empty, &out), hop_on_recv(closed, &out) };

        must_eq(hop_select(cases, 2), 1);
        must_eq(cases[1].result, 0);
    }
    {
        hop_case cases[] = { hop_on_send(closed, &in), hop_on_recv(empty, &out) };

        must_eq(hop_select(cases, 2), 0);
        must_eq(cases[0].result, -EPIPE);
    }
    for (i = 0; i < 20; i++) { /* a poll: what is ready comes before the zero time */
        hop_case cases[] = { hop_on_after(0), hop_on_recv(empty, &out), hop_on_after(-5) };
        int hit = hop_select(cases, 3);

        must(hit == 0 || hit == 2);
        must_eq(cases[hit].result, 0);
        must_eq(hop_channel_send(empty, &i), 0);
        must_eq(hop_select(cases, 3), 1);
        must_eq(cases[1].result, 1);
        must_eq(out, i);
    }
    must_eq(hop_done(&open), 0);
    must_eq(hop_channel_free(full), 0);
    must_eq(hop_channel_free(empty), 0);
    must_eq(hop_channel_free(closed), 0);
    return 0;
}

START_TEST(what_is_ready_needs_no_wait)
{
    ready_cases(NULL); /* nor a runtime */
}
END_TEST

static int ready_in_a_job(void *arg)
{
    hop_channel *empty = new_channel(1);
    hop_future open = HOP_FUTURE_INIT;
    int out;
    hop_case cases[] = { hop_on_recv(empty, &out), hop_on_future(&open), hop_on_after(HOP_SEC) };

    ready_cases(arg);
    must_eq(hop_select(cases, 3), -EWOULDBLOCK);
    must_eq(hop_complete(&open, 4), 0);
    must_eq(hop_select(cases, 3), 1);
    must_eq(cases[1].result, 4);
    must_eq(hop_channel_free(empty), 0);
    return 0;
}

static int ready_everywhere(void *arg)
{
    ready_cases(arg);
    must_eq(hop_offload(ready_in_a_job, NULL), 0);
    hop_on_cpu {
        ready_cases(arg);
    }
    hop_on_team {
        ready_in_a_job(arg);
    }
    return 0;
}

START_TEST(what_is_ready_everywhere)
{
    run_main(ready_everywhere);
}
END_TEST

/* Two that are always ready: both get their turn. */
START_TEST(fair_between_ready_cases)
{
    hop_channel *a = new_channel(1), *b = new_channel(1);
    hop_future done = HOP_FUTURE_INIT;
    int hits[3] = { 0 }, out, i;

    must_eq(hop_complete(&done, 1), 0);
    for (i = 0; i < 3000; i++) {
        hop_case cases[] = { hop_on_recv(a, &out), hop_on_recv(b, &out), hop_on_future(&done) };
        int hit;

        hop_channel_try_send(a, &i);
        hop_channel_try_send(b, &i);
        hit = hop_select(cases, 3);
        must(hit >= 0 && hit < 3);
        hits[hit]++;
    }
    for (i = 0; i < 3; i++)
        must(hits[i] > 500); /* of 1000 that are expected */
    must_eq(hop_channel_free(a), 0);
    must_eq(hop_channel_free(b), 0);
}
END_TEST

START_TEST(wrong_arguments)
{
    hop_channel *c = new_channel(1);
    hop_case many[HOP_SELECT_MAX + 1];
    hop_future f = HOP_FUTURE_INIT;
    int n = 0, i;
    hop_case wrong[] = {
        hop_on_recv(NULL, &n), hop_on_send(NULL, &n), hop_on_recv(c, NULL), hop_on_send(c, NULL), hop_on_future(NULL),
        { 0 }, { .kind = 99, .channel = c, .item = &n }, { .kind = -1 },
    };

    for (i = 0; i < (int)(sizeof wrong / sizeof *wrong); i++) {
        hop_case pair[] = { hop_on_after(0), wrong[i] };

        must_eq(hop_select(&wrong[i], 1), -EINVAL);
        must_eq(hop_select(pair, 2), -EINVAL);
    }
    for (i = 0; i <= HOP_SELECT_MAX; i++)
        many[i] = hop_on_after(0);
    must_eq(hop_select(many, 0), -EINVAL);
    must_eq(hop_select(NULL, 1), -EINVAL);
    must_eq(hop_select(many, HOP_SELECT_MAX + 1), -EINVAL);
    must_eq(hop_select(many, SIZE_MAX), -EINVAL);
    must(hop_select(many, HOP_SELECT_MAX) >= 0);
    many[0] = hop_on_recv(c, &n); /* a plain thread waits without a runtime too */
    many[1] = hop_on_future(&f);
    many[2] = hop_on_after(HOP_MS);
    must_eq(hop_select(many, 3), 2);
    must_eq(hop_complete(&f, 3), 0);
    must_eq(hop_select(many, 2), 1);
    must_eq(hop_channel_free(c), 0);
}
END_TEST

/* --- what is waited for --- */

struct chooser {
    hop_channel *in, *out;
    hop_future future;
    hop_ns after;
    int began, hit, result, item;
};

static int choose(void *arg)
{
    struct chooser *c = arg;
    int sent = 99;
    hop_case cases[] = { hop_on_recv(c->in, &c->item), hop_on_send(c->out, &sent), hop_on_future(&c->future),
                         hop_on_after(c->after) };

    c->began = 1;
    c->hit = hop_select(cases, 4);
    if (c->hit >= 0)
        c->result = cases[c->hit].result;
    return 0;
}

static void start_chooser(hop_scope *scope, struct chooser *c, hop_ns after)
{
    *c = (struct chooser){ .in = new_channel(0), .out = new_channel(0), .after = after, .hit = INT_MIN };
    must_eq(hop_spawn(scope, choose, c, NULL), 0);
    while (!c->began)
        must_eq(hop_yield(), 0);
    must_eq(c->hit, INT_MIN); /* one loop: it sleeps in the select now */
}

/* Whatever ended it, nothing of it is left anywhere. */
static void end_chooser(struct chooser *c, int hit, int result)
{
    int n = 1;

    must_eq(c->hit, hit);
    must_eq(c->result, result);
    must_eq(hop_channel_try_send(c->in, &n), -EAGAIN);
    must_eq(hop_channel_try_recv(c->out, &n), -EAGAIN);
    must_eq(hop_channel_free(c->in), 0);
    must_eq(hop_channel_free(c->out), 0);
    if (hit != 2) {
        must_eq(hop_done(&c->future), 0);
        must_eq(hop_complete(&c->future, 2), 0);
    }
    must(hop_await(&c->future) >= 2);
}

static int each_kind(void *arg)
{
    struct chooser c;
    hop_scope scope;
    hop_ns before;
    int n = 41;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    start_chooser(&scope, &c, 600 * HOP_SEC);
    must_eq(hop_channel_send(c.in, &n), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(c.item, 41);
    end_chooser(&c, 0, 1);

    must_eq(hop_scope_open(&scope), 0);
    start_chooser(&scope, &c, 600 * HOP_SEC);
    must_eq(hop_channel_recv(c.out, &n), 1);
    must_eq(n, 99);
    must_eq(hop_scope_close(&scope), 0);
    end_chooser(&c, 1, 0);

    must_eq(hop_scope_open(&scope), 0);
    start_chooser(&scope, &c, 600 * HOP_SEC);
    must_eq(hop_complete(&c.future, 7), 0);
    must_eq(hop_scope_close(&scope), 0);
    end_chooser(&c, 2, 7);

    must_eq(hop_scope_open(&scope), 0);
    before = hop_now();
    start_chooser(&scope, &c, 3 * HOP_MS);
    must_eq(hop_scope_close(&scope), 0);
    must(hop_now() - before >= 3 * HOP_MS);
    end_chooser(&c, 3, 0);

    must_eq(hop_scope_open(&scope), 0);
    start_chooser(&scope, &c, 600 * HOP_SEC);
    must_eq(hop_channel_close(c.in), 0);
    must_eq(hop_scope_close(&scope), 0);
    must(c.hit == 0 && c.result == 0);
    must_eq(hop_channel_free(c.in), 0);
    must_eq(hop_channel_free(c.out), 0);

    must_eq(hop_scope_open(&scope), 0);
    start_chooser(&scope, &c, 600 * HOP_SEC);
    must_eq(hop_channel_close(c.out), 0);
    must_eq(hop_scope_close(&scope), 0);
    must(c.hit == 1 && c.result == -EPIPE);
    must_eq(hop_channel_free(c.in), 0);
    must_eq(hop_channel_free(c.out), 0);
    return 0;
}

START_TEST(each_kind_ends_the_wait)
{
    run_main(each_kind);
}
END_TEST

static int cancel_and_deadline(void *arg)
{
    struct chooser c;
    hop_scope scope;
    hop_channel *channel = new_channel(0);
    int n = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    start_chooser(&scope, &c, 600 * HOP_SEC);
    must_eq(hop_scope_cancel(&scope, -EPROTO), 0);
    must_eq(hop_scope_close(&scope), -EPROTO);
    end_chooser(&c, -EPROTO, 0);

    hop_within(2 * HOP_MS) {
        hop_case cases[] = { hop_on_recv(channel, &n), hop_on_after(600 * HOP_SEC) };

        must_eq(hop_select(cases, 2), -ETIMEDOUT);
    }
    hop_within(600 * HOP_SEC) {
        hop_case cases[] = { hop_on_after(600 * HOP_SEC), hop_on_recv(channel, &n), hop_on_after(2 * HOP_MS) };

        must_eq(hop_select(cases, 3), 2);
    }
    hop_within(2 * HOP_MS) {
        hop_case cases[] = { hop_on_recv(channel, &n), hop_on_after(1) };
        int rc;

        while ((rc = hop_select(cases, 2)) == 1) /* both are over each time, in the end: the deadline was first */
            ;
        must_eq(rc, -ETIMEDOUT);
    }
    must_eq(hop_channel_free(channel), 0);
    return 0;
}

START_TEST(cancelled_and_out_of_time)
{
    run_main(cancel_and_deadline);
}
END_TEST

static int same_future_twice(void *arg)
{
    hop_future f = HOP_FUTURE_INIT;
    hop_case cases[] = { hop_on_future(&f), hop_on_future(&f) };

    (void)arg;
    must_eq(hop_select(cases, 2), -EBUSY);
    must_eq(hop_complete(&f, 9), 0);
    must(hop_select(cases, 2) >= 0);
    return 0;
}

START_TEST(a_future_has_one_awaiter)
{
    run_main(same_future_twice);
}
END_TEST

static int same_channel_twice(void *arg)
{
    hop_channel *c = new_channel(0);
    int in = 1, out = 0;
    hop_case both[] = { hop_on_send(c, &in), hop_on_recv(c, &out), hop_on_recv(c, &out), hop_on_after(2 * HOP_MS) };

    (void)arg;
    must_eq(hop_select(both, 4), 3); /* nobody meets himself */
    must_eq(hop_channel_free(c), 0);
    return 0;
}

START_TEST(a_select_does_not_meet_itself)
{
    run_main(same_channel_twice);
}
END_TEST

static void *select_in_thread(void *arg)
{
    struct chooser *c = arg;

    choose(c);
    return NULL;
}

static int select_against_thread(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 60; i++) {
        struct chooser c = { .in = new_channel(0), .out = new_channel(0), .after = 600 * HOP_SEC, .hit = INT_MIN };
        pthread_t t = start_thread(select_in_thread, &c);
        int n = i;

        switch (i % 3) {
        case 0: must_eq(hop_channel_send(c.in, &n), 0); break;
        case 1: must_eq(hop_channel_recv(c.out, &n), 1); break;
        default: must_eq(hop_complete(&c.future, 2), 0);
        }
        hop_on_blocking {
            join_thread(t);
        }
        must_eq(c.hit, i % 3);
        must_eq(hop_channel_free(c.in), 0);
        must_eq(hop_channel_free(c.out), 0);
    }
    return 0;
}

START_TEST(in_a_plain_thread)
{
    run_main(select_against_thread);
}
END_TEST

/* --- both sides select, each sending on one channel and receiving on the other --- */

enum { TURNS = 400 };

struct couple {
    hop_channel *left, *right;
    atomic_llong sent, received, sends, recvs;
};

struct mate {
    struct couple *couple;
    int first;
    unsigned seed;
};

static int mate_main(void *arg)
{
    struct mate *m = arg;
    struct couple *c = m->couple;
    hop_channel *mine = m->first ? c->left : c->right, *other = m->first ? c->right : c->left;
    int i, in, out;

    for (i = 0; i < TURNS; i++) {
        hop_case cases[] = { hop_on_send(mine, &out), hop_on_recv(other, &in), hop_on_send(other, &out),
                             hop_on_recv(mine, &in) };
        int hit;

        out = (int)(test_random(&m->seed) % 100000);
        hit = hop_select(cases, test_random(&m->seed) % 4 ? 2 : 4);
        if (hit < 0 || (hit % 2 ? cases[hit].result == 0 : cases[hit].result == -EPIPE))
            break; /* the other has ended and closed both */
        if (hit % 2) {
            must_eq(cases[hit].result, 1);
            atomic_fetch_add(&c->received, in);
            atomic_fetch_add(&c->recvs, 1);
        } else {
            must_eq(cases[hit].result, 0);
            atomic_fetch_add(&c->sent, out);
            atomic_fetch_add(&c->sends, 1);
        }
    }
    must_eq(hop_channel_close(mine), 0);
    must_eq(hop_channel_close(other), 0);
    return 0;
}

static void *mate_thread(void *arg)
{
    mate_main(arg);
    return NULL;
}

static void drain(struct couple *c, hop_channel *channel)
{
    int n;

    while (hop_channel_recv(channel, &n) == 1) {
        atomic_fetch_add(&c->received, n);
        atomic_fetch_add(&c->recvs, 1);
    }
}

static void run_couple(unsigned seed, size_t capacity, int others_loop)
{
    struct couple c = { .left = new_channel(capacity), .right = new_channel(capacity) };
    struct mate a = { &c, 1, seed * 2 + 1 }, b = { &c, 0, seed * 3 + 7 };
    pthread_t thread = 0;
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, mate_main, &a, HOP_TASK(.loop = 1)), 0);
    if (others_loop)
        must_eq(hop_spawn(&scope, mate_main, &b, HOP_TASK(.loop = others_loop)), 0);
    else
        thread = start_thread(mate_thread, &b);
    must_eq(hop_scope_close(&scope), 0);
    if (!others_loop) {
        hop_on_blocking {
            join_thread(thread);
        }
    }
    drain(&c, c.left);
    drain(&c, c.right);
    must_eq(atomic_load(&c.sends), atomic_load(&c.recvs));
    must_eq(atomic_load(&c.sent), atomic_load(&c.received));
    must(atomic_load(&c.sends) >= TURNS / 2);
    must_eq(hop_channel_free(c.left), 0);
    must_eq(hop_channel_free(c.right), 0);
}

static int couples(void *arg)
{
    unsigned seed = (unsigned)hop_int(arg);
    int i;

    for (i = 0; i < 18; i++)
        run_couple(seed + (unsigned)i, (size_t)(i / 3 % 3), i % 3);
    return 0;
}

START_TEST(both_sides_select)
{
    hop_config config = { .loops = 2 };

    run_main_with(couples, hop_ptr((int)(test_seed() & 0xffffff)), &config);
}
END_TEST

/* --- a future, a channel and a time-out, all at about the same moment: nothing is lost --- */

struct trial {
    hop_future future;
    hop_channel *channel;
    unsigned seed;
    int sent;
};

static void *disturb(void *arg)
{
    struct trial *t = arg;
    int n = 5;

    if (test_random(&t->seed) % 2) {
        must_eq(hop_complete(&t->future, 3), 0);
        t->sent = hop_channel_try_send(t->channel, &n) == 0;
    } else {
        t->sent = hop_channel_try_send(t->channel, &n) == 0;
        must_eq(hop_complete(&t->future, 3), 0);
    }
    return NULL;
}

static int trials(void *arg)
{
    unsigned seed = (unsigned)hop_int(arg) | 1;
    int round;

    for (round = 0; round < 400; round++) {
        struct trial t = { .channel = new_channel((size_t)(round % 2)), .seed = test_random(&seed) | 1 };
        pthread_t thread = start_thread(disturb, &t);
        int futures = 0, received = 0, hit, n, pause = (int)(test_random(&seed) % 80);

        while (!futures) {
            hop_case cases[] = { hop_on_recv(t.channel, &n), hop_on_future(&t.future), hop_on_after(pause * HOP_US) };

            hit = hop_select(cases, 3);
            must(hit >= 0 && hit < 3);
            received += hit == 0;
            if (hit == 1)
                must_eq(cases[1].result, 3);
            futures += hit == 1;
        }
        hop_on_blocking {
            join_thread(thread);
        }
        must_eq(hop_channel_close(t.channel), 0);
        received += hop_channel_recv(t.channel, &n);
        must_eq(received, t.sent);
        must_eq(hop_channel_free(t.channel), 0);
    }
    return 0;
}

START_TEST(nothing_is_lost_at_once)
{
    run_main_with(trials, hop_ptr((int)(test_seed() & 0xffffff)), NULL);
}
END_TEST

/* A select that fails for a future that is awaited elsewhere must not have taken an item. */
struct rival {
    hop_future future;
    hop_channel *channel;
    atomic_int stop;
    long sent;
};

static void *keep_sending(void *arg)
{
    struct rival *r = arg;
    int n = 1;

    while (!atomic_load(&r->stop))
        r->sent += hop_channel_try_send(r->channel, &n) == 0;
    return NULL;
}

static int await_rival(void *arg)
{
    struct rival *r = arg;

    must_eq(hop_await(&r->future), 1);
    return 0;
}

static int busy_futures(void *arg)
{
    struct rival r = { .channel = new_channel(0) };
    pthread_t thread;
    hop_scope scope;
    long received = 0;
    int i, n;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, await_rival, &r, NULL), 0);
    hop_yield();
    thread = start_thread(keep_sending, &r);
    for (i = 0; i < 20000; i++) {
        hop_future free[HOP_SELECT_MAX - 2];
        hop_case cases[HOP_SELECT_MAX] = { hop_on_recv(r.channel, &n) };
        int hit, k;

        memset(free, 0, sizeof free);
        for (k = 1; k < HOP_SELECT_MAX - 1; k++) /* all of these are asked before the one that is not free */
            cases[k] = hop_on_future(&free[k - 1]);
        cases[k] = hop_on_future(&r.future);
        hit = hop_select(cases, HOP_SELECT_MAX);
        must(hit == 0 || hit == -EBUSY);
        received += hit == 0;
    }
    atomic_store(&r.stop, 1);
    hop_on_blocking {
        join_thread(thread);
    }
    must_eq(received, r.sent);
    must_eq(hop_complete(&r.future, 1), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(hop_channel_free(r.channel), 0);
    return 0;
}

START_TEST(a_failed_select_takes_nothing)
{
    run_main(busy_futures);
}
END_TEST

/* The channel that ended the wait is freed before the one who waited runs, and its memory used again. */
struct bystander {
    hop_channel *channels[2];
    int begun, hit, result;
};

static int select_of_two(void *arg)
{
    struct bystander *b = arg;
    int n;
    hop_case cases[] = { hop_on_recv(b->channels[0], &n), hop_on_recv(b->channels[1], &n) };

    b->begun = 1;
    b->hit = hop_select(cases, 2);
    b->result = b->hit < 0 ? b->hit : cases[b->hit].result;
    return 0;
}

static int free_the_winner(void *arg)
{
    static int *volatile again; /* volatile: so that the compiler believes that somebody looks */
    int winner;

    (void)arg;
    for (winner = 0; winner < 2; winner++) {
        struct bystander b = { { new_channel(1), new_channel(1) }, 0, -1, -1 };
        hop_channel *gone = b.channels[winner];
        size_t bytes = malloc_usable_size(gone);
        hop_scope scope;

        must_eq(hop_scope_open(&scope), 0);
        must_eq(hop_spawn(&scope, select_of_two, &b, NULL), 0);
        while (!b.begun)
            must_eq(hop_yield(), 0);
        must_eq(hop_channel_free(gone), -EBUSY);
        must_eq(hop_channel_close(gone), 0);
        must_eq(hop_channel_free(gone), 0);
        again = malloc(bytes);
        must(again != NULL);
        memset(again + 1, 0, bytes - sizeof *again);
        *again = 1; /* a lock that nobody opens */
        must_eq(hop_scope_close(&scope), 0);
        must_eq(b.hit, winner);
        must_eq(b.result, 0);
        must_eq(hop_channel_free(b.channels[!winner]), 0);
        free(again);
    }
    return 0;
}

START_TEST(the_winner_may_be_freed)
{
    run_main(free_the_winner);
}
END_TEST

RUN_TESTS("select", what_is_ready_needs_no_wait, what_is_ready_everywhere, fair_between_ready_cases, wrong_arguments,
          each_kind_ends_the_wait, cancelled_and_out_of_time, a_future_has_one_awaiter, a_select_does_not_meet_itself,
          in_a_plain_thread, both_sides_select, nothing_is_lost_at_once, a_failed_select_takes_nothing,
          the_winner_may_be_freed)
