/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenes of channels, selects and futures.
 *
 * A market: producers and consumers (tasks, jobs, plain threads, of any loop) around a few channels of any capacity.
 * Every item is counted: what a send accepted is received once, or is still there at the end; what it refused, by
 * whichever error, is never seen. Items of one producer come out of one channel in the order in which they went in.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "storm.h"

enum { CHANNELS = 3, PRODUCERS = 5, CONSUMERS = 4, ITEMS = 60 };

struct item {
    uint64_t check;
    unsigned short producer, number;
    unsigned char ballast[52];
};

enum { UNSENT = 0, ACCEPTED, REFUSED };

struct market {
    int channels, producers, consumers, items;
    size_t item_bytes;
    hop_channel *channel[CHANNELS];
    atomic_int selling;      /* producers that have not ended: the last one closes */
    atomic_bool closing;     /* somebody closes, or is about to */
    bool bound;              /* consumer i keeps to channel i, round and round */
    atomic_int received;
    unsigned char sent[PRODUCERS][ITEMS];
    atomic_uchar got[PRODUCERS][ITEMS];
};

struct trader {
    struct market *market;
    int index;
    bool early; /* a producer: closes when half is sold */
    int last[CHANNELS][PRODUCERS];
};

static void close_all(struct market *m)
{
    int i;

    atomic_store(&m->closing, true);
    for (i = 0; i < m->channels; i++)
        claim_eq(hop_channel_close(m->channel[i]), 0);
}

/* --- producers --- */

static struct item make_item(int producer, int number)
{
    struct item it = { .producer = (unsigned short)producer, .number = (unsigned short)number };

    it.check = work_out((uint64_t)producer << 32 | (unsigned)number);
    memset(it.ballast, number, sizeof it.ballast);
    return it;
}

/* A select of sends to all channels, now and then with a time limit: only one of them goes. */
static int offer(struct actor *a, struct market *m, const struct item *it)
{
    hop_case cases[CHANNELS + 1];
    int i, n = m->channels, rc;

    for (i = 0; i < n; i++)
        cases[i] = hop_on_send(m->channel[i], it);
    if (chance(a, 40))
        cases[n++] = hop_on_after(pick(a, 3) * 20 * HOP_US);
    rc = hop_select(cases, (size_t)n);
    return rc < 0 ? rc : rc < m->channels ? cases[rc].result : -EAGAIN;
}

static int try_for_a_while(struct actor *a, hop_channel *c, const struct item *it)
{
    int tries = 1 + pick(a, 20), rc = -EAGAIN;

    while (rc == -EAGAIN && tries-- > 0) {
        rc = hop_channel_try_send(c, it);
        gust(a);
    }
    return rc;
}

/* Sends one item, in one of the ways: 0, -EAGAIN if nobody wanted it, or why not. */
static int sell(struct actor *a, struct market *m, const struct item *it)
{
    hop_channel *c = m->channel[pick(a, m->channels)];
    int way = pick(a, 5), rc;

    if (way == 0)
        return try_for_a_while(a, c, it);
    if (way == 1 && may_wait(a))
        return offer(a, m, it);
    rc = hop_channel_send(c, it);
    if (rc != -EWOULDBLOCK)
        return rc;
    claim(!may_wait(a));
    return -EAGAIN;
}

/* A producer less; the last one closes. */
static void retire(struct market *m)
{
    if (atomic_fetch_sub(&m->selling, 1) == 1)
        close_all(m);
}

static int produce(struct actor *a, void *arg)
{
    struct trader *t = arg;
    struct market *m = t->market;
    int i, rc = 0;

    for (i = 0; i < m->items; i++) {
        struct item it = make_item(t->index, i);

        doing(a, "sending");
        rc = sell(a, m, &it);
        m->sent[t->index][i] = rc == 0 ? ACCEPTED : REFUSED;
        if (rc == -EPIPE)
            claim(atomic_load(&m->closing));
        else if (rc != -EAGAIN)
            heard(a, rc);
        if (rc < 0 && rc != -EAGAIN)
            break;
        gust(a);
        if (t->early && i == m->items / 2)
            close_all(m);
    }
    retire(m);
    rc = rc == -EPIPE || rc == -EAGAIN ? 0 : rc;
    return rc < 0 ? rc : play(a);
}

/* --- consumers --- */

static void take(struct market *m, struct trader *t, int channel, const struct item *it)
{
    atomic_fetch_add_explicit(&m->received, 1, memory_order_relaxed);
    if (!m->item_bytes)
        return;
    claim(it->producer < m->producers && it->number < m->items);
    claim(it->check == work_out((uint64_t)it->producer << 32 | it->number));
    if (m->item_bytes > offsetof(struct item, ballast))
        claim(it->ballast[3] == (unsigned char)it->number && it->ballast[51] == (unsigned char)it->number);
    claim_eq(atomic_fetch_add_explicit(&m->got[it->producer][it->number], 1, memory_order_relaxed), 0);
    if (t) {
        claim(it->number > t->last[channel][it->producer]);
        t->last[channel][it->producer] = it->number;
    }
}

/* Waits for the first of all open channels; done[] notes those that are closed and empty. */
static int buy_anywhere(struct actor *a, struct trader *t, bool *done, struct item *it, int *channel)
{
    struct market *m = t->market;
    struct item items[CHANNELS];
    hop_case cases[CHANNELS + 2];
    int at[CHANNELS], i, n = 0, rc;

    for (i = 0; i < m->channels; i++)
        if (!done[i]) {
            at[n] = i;
            cases[n] = hop_on_recv(m->channel[i], &items[n]);
            n++;
        }
    if (!n)
        return 0;
    i = n;
    if (chance(a, 30))
        cases[i++] = hop_on_after(pick(a, 3) * 20 * HOP_US);
    rc = hop_select(cases, (size_t)i);
    if (rc < 0)
        return rc;
    if (rc >= n)
        return -EAGAIN;
    *channel = at[rc];
    if (cases[rc].result == 1)
        *it = items[rc];
    else
        done[at[rc]] = true;
    return cases[rc].result == 1 ? 1 : -EAGAIN;
}

static int buy(struct actor *a, struct trader *t, bool *done, struct item *it, int *channel)
{
    struct market *m = t->market;
    bool select = chance(a, 30);

    if (!m->bound)
        return buy_anywhere(a, t, done, it, channel);
    *channel = t->index % m->channels;
    if (chance(a, 20))
        return hop_channel_try_recv(m->channel[*channel], it);
    if (select) {
        hop_case one[] = { hop_on_recv(m->channel[*channel], it), hop_on_after(10 * HOP_US) };
        int rc = hop_select(one, 2);

        return rc == 0 ? one[0].result : rc == 1 ? -EAGAIN : rc;
    }
    return hop_channel_recv(m->channel[*channel], it);
}

static int consume(struct actor *a, void *arg)
{
    struct trader *t = arg;
    bool done[CHANNELS] = { false };
    struct item it;
    int channel = 0, rc;

    memset(t->last, -1, sizeof t->last);
    for (;;) {
        doing(a, "receiving");
        rc = buy(a, t, done, &it, &channel);
        if (rc == 1)
            take(t->market, t, channel, &it);
        else if (rc != -EAGAIN)
            break;
        gust(a);
        if (rc == -EAGAIN && a->task && (rc = hop_yield()) < 0)
            break;
    }
    if (rc < 0)
        return (int)heard(a, rc);
    claim(atomic_load(&t->market->closing)); /* 0: closed, and empty */
    return play(a);
}

/* --- the scene --- */

static void open_market(struct actor *a, struct market *m)
{
    static const size_t capacities[] = { 0, 0, 1, 1, 2, 3, 8, 64, 1000 };
    static const size_t bytes[] = { offsetof(struct item, ballast), sizeof(struct item), sizeof(struct item), 0 };
    int i;

    memset(m, 0, sizeof *m);
    m->channels = 1 + pick(a, CHANNELS);
    m->producers = 1 + pick(a, PRODUCERS);
    m->consumers = 1 + pick(a, CONSUMERS);
    m->items = 1 + pick(a, ITEMS);
    m->item_bytes = bytes[pick(a, 4)];
    m->bound = m->consumers >= m->channels && chance(a, 60);
    atomic_init(&m->selling, m->producers);
    for (i = 0; i < m->channels; i++)
        claim_eq(hop_channel_new(&m->channel[i], m->item_bytes, capacities[pick(a, 9)]), 0);
}

static void count_items(struct market *m)
{
    int p, i, accepted = 0;

    for (p = 0; p < m->producers; p++)
        for (i = 0; i < m->items; i++) {
            int got = atomic_load_explicit(&m->got[p][i], memory_order_relaxed);

            accepted += m->sent[p][i] == ACCEPTED;
            if (m->item_bytes)
                claim_eq(got, m->sent[p][i] == ACCEPTED);
        }
    claim_eq(accepted, atomic_load(&m->received));
}

static void close_market(struct market *m)
{
    struct item it;
    int i;

    for (i = 0; i < m->channels; i++) {
        while (hop_channel_try_recv(m->channel[i], &it) == 1)
            take(m, NULL, i, &it);
        claim_eq(hop_channel_try_recv(m->channel[i], &it), 0);
        claim_eq(hop_channel_try_send(m->channel[i], &it), -EPIPE);
        claim_eq(hop_channel_free(m->channel[i]), 0);
    }
    count_items(m);
}

struct fair {
    struct market market;
    struct trader traders[PRODUCERS + CONSUMERS];
    struct stranger strangers[PRODUCERS + CONSUMERS];
    bool foreign[PRODUCERS + CONSUMERS];
};

/* Lets trader i come: as a task, a job, or a plain thread. Negative: the ring is cancelled. */
static int invite(struct actor *a, struct ring *r, struct fair *f, int i, int early)
{
    struct market *m = &f->market;
    bool producer = i < m->producers;
    part_fn *part = producer ? produce : consume;
    int fuel = chance(a, 30) ? share(a, m->producers + m->consumers) : 0, rc;
    struct cast cast = { producer ? "a producer" : "a consumer", part, &f->traders[i], fuel, 0,
                         producer && chance(a, 15), false };

    f->traders[i] = (struct trader){ .market = m, .index = producer ? i : i - m->producers, .early = i == early };
    f->foreign[i] = chance(a, 12);
    if (f->foreign[i]) {
        stranger_start(a, &f->strangers[i], producer ? "a foreign producer" : "a foreign consumer", part,
                       &f->traders[i], fuel);
        return 0;
    }
    rc = ring_add(a, r, &cast, NULL);
    if (rc < 0 && producer)
        retire(m);
    return rc == -EAGAIN ? 0 : rc;
}

int scene_market(struct actor *a)
{
    struct fair *f = calloc(1, sizeof *f);
    struct market *m = &f->market;
    struct ring r;
    int i, early, n, rc;

    claim(f);
    open_market(a, m);
    n = m->producers + m->consumers;
    early = chance(a, 15) ? pick(a, m->producers) : -1;
    rc = ring_open(a, &r);
    if (rc == 0) {
        for (i = 0; i < n && rc == 0; i++) {
            rc = invite(a, &r, f, i, early);
            gust(a);
        }
        ring_close(a, &r);
        rc = 0;
    }
    close_all(m);
    for (i = 0; i < n; i++)
        if (f->foreign[i])
            stranger_join(a, &f->strangers[i]);
    close_market(m);
    free(f);
    return rc < 0 ? rc : interrupted(a);
}

/* --- futures --- */

enum { PROMISES = 6, RIVALS = 3 };

struct promise {
    hop_future future;
    struct rival {
        struct promise *promise;
        int value, rc;
        bool tried;
    } rivals[RIVALS];
    int nrivals;
    int result;
    bool known;
};

static int keep_promise(struct actor *a, void *arg)
{
    struct rival *r = arg;
    int rc = play(a);

    doing(a, "completing");
    gust(a);
    r->rc = hop_complete(&r->promise->future, r->value);
    claim(r->rc == 0 || r->rc == -EALREADY);
    r->tried = true;
    return rc < 0 && rc != -EPIPE ? rc : 0;
}

/* Awaits one by one, in one of the ways. */
static int await_one(struct actor *a, struct promise *p)
{
    int way = pick(a, 4), rc;
    hop_ns limit;

    if (way == 0) {
        hop_case cases[] = { hop_on_future(&p->future), hop_on_after((1 + pick(a, 50)) * HOP_US) };

        while ((rc = hop_select(cases, 2)) == 1)
            gust(a);
        if (rc < 0)
            return (int)heard(a, rc);
        p->result = cases[0].result;
        return p->known = true, 0;
    }
    do {
        limit = way == 1 ? hop_now() + pick(a, 50) * HOP_US : HOP_FOREVER;
        rc = hop_await_until(&p->future, limit);
        if (!hop_done(&p->future)) {
            claim(rc == -ETIMEDOUT ? hop_now() >= limit || explained(a, rc) : explained(a, rc));
            if (interrupted(a) < 0)
                return rc;
            gust(a);
        }
    } while (!hop_done(&p->future));
    rc = hop_await(&p->future);
    claim(rc >= 0); /* a value, from now on for ever */
    p->result = rc;
    p->known = true;
    return 0;
}

/* Awaits all that are left at once, again and again. */
static int await_any(struct actor *a, struct promise *promises, int n)
{
    hop_case cases[PROMISES + 1];
    int at[PROMISES], i, left, rc;

    for (;;) {
        for (i = left = 0; i < n; i++)
            if (!promises[i].known) {
                at[left] = i;
                cases[left++] = hop_on_future(&promises[i].future);
            }
        if (!left)
            return 0;
        rc = left;
        if (chance(a, 30))
            cases[rc++] = hop_on_after(pick(a, 3) * 30 * HOP_US);
        rc = hop_select(cases, (size_t)rc);
        if (rc < 0)
            return (int)heard(a, rc);
        if (rc < left) {
            promises[at[rc]].known = true;
            promises[at[rc]].result = cases[rc].result;
        }
        gust(a);
    }
}

/* Whoever was first decided: one of those who tried, and he alone was told so. */
static void check_promise(struct promise *p)
{
    int i, winners = 0, tried = 0, result = -1;

    for (i = 0; i < p->nrivals; i++)
        if (p->rivals[i].tried) {
            tried++;
            if (p->rivals[i].rc == 0) {
                winners++;
                result = p->rivals[i].value;
            }
        }
    claim_eq(winners, tried > 0);
    claim_eq(hop_done(&p->future), tried > 0);
    if (p->known)
        claim_eq(p->result, result);
}

/*
 * Futures that several race to complete: a task, a job, a thread each. Jobs can be refused (a sibling that one of them
 * adds may be too late, and so cancel the ring), but a task always runs, and one is among them.
 */
int scene_promises(struct actor *a)
{
    struct {
        struct promise promises[PROMISES];
        struct stranger strangers[PROMISES];
        bool foreign[PROMISES];
    } *s = calloc(1, sizeof *s);
    int i, k, n = 1 + pick(a, PROMISES), rc;
    struct ring r;

    claim(s);
    rc = ring_open(a, &r);
    for (i = 0; i < n && rc == 0; i++) {
        struct promise *p = &s->promises[i];

        p->nrivals = 1 + pick(a, RIVALS);
        for (k = 0; k < p->nrivals && rc == 0; k++) {
            bool job = k > 0 && chance(a, 60);
            struct cast cast = { "a rival", keep_promise, &p->rivals[k], share(a, 2 * n), 0, job, false };

            p->rivals[k] = (struct rival){ .promise = p, .value = 1 + pick(a, 1000) };
            if (k == 0 && chance(a, 12)) {
                stranger_start(a, &s->strangers[i], "a foreign rival", keep_promise, &p->rivals[k], cast.fuel);
                s->foreign[i] = true;
            } else {
                rc = ring_add(a, &r, &cast, NULL);
            }
        }
    }
    if (i > 0) {
        doing(a, "awaiting futures");
        if (rc == 0 && chance(a, 40))
            rc = await_any(a, s->promises, n);
        for (i = 0; i < n && rc == 0; i++)
            if (!s->promises[i].known)
                rc = await_one(a, &s->promises[i]);
        ring_close(a, &r);
    }
    for (i = 0; i < n; i++) {
        if (s->foreign[i])
            stranger_join(a, &s->strangers[i]);
        check_promise(&s->promises[i]);
    }
    free(s);
    return r.children ? interrupted(a) : rc;
}
