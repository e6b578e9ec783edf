/* SPDX-License-Identifier: BSD-3-Clause */

/* Channels: order, room, rendezvous, closing, and many at both ends. */
#include "harness.h"

#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>

static hop_channel *new_channel(size_t item_bytes, size_t capacity)
{
    hop_channel *c = NULL;

    must_eq(hop_channel_new(&c, item_bytes, capacity), 0);
    must(c != NULL);
    return c;
}

/* --- without waiting: needs no runtime --- */

START_TEST(keeps_the_order)
{
    hop_channel *c = new_channel(sizeof(int), 5);
    int i, round, n, next = 0, expected = 0;

    for (round = 0; round < 20; round++) { /* around the ring several times */
        for (i = 0; i < 3; i++, next++)
            must_eq(hop_channel_send(c, &next), 0);
        for (i = 0; i < 3; i++, expected++) {
            must_eq(hop_channel_recv(c, &n), 1);
            must_eq(n, expected);
        }
    }
    must_eq(hop_channel_free(c), 0);
}
END_TEST

START_TEST(room_for_its_capacity)
{
    size_t capacity, i;
    int n = 1, out;

    for (capacity = 0; capacity < 6; capacity++) {
        hop_channel *c = new_channel(sizeof n, capacity);

        must_eq(hop_channel_try_recv(c, &out), -EAGAIN);
        for (i = 0; i < capacity; i++)
            must_eq(hop_channel_try_send(c, &n), 0);
        must_eq(hop_channel_try_send(c, &n), -EAGAIN);
        for (i = 0; i < capacity; i++)
            must_eq(hop_channel_try_recv(c, &out), 1);
        must_eq(hop_channel_try_recv(c, &out), -EAGAIN);
        must_eq(hop_channel_free(c), 0);
    }
}
END_TEST

START_TEST(items_are_copied)
{
    struct big {
        char text[777];
    } in, out;
    hop_channel *c = new_channel(sizeof in, 2);

    memset(&in, 'a', sizeof in);
    must_eq(hop_channel_send(c, &in), 0);
    memset(&in, 'b', sizeof in);
    must_eq(hop_channel_send(c, &in), 0);
    memset(&in, 'c', sizeof in);
    must_eq(hop_channel_recv(c, &out), 1);
    must(out.text[0] == 'a' && out.text[776] == 'a');
    must_eq(hop_channel_recv(c, &out), 1);
    must(out.text[0] == 'b' && out.text[776] == 'b');
    must_eq(hop_channel_free(c), 0);
}
END_TEST

START_TEST(bare_signals)
{
    hop_channel *c = new_channel(0, 3);

    must_eq(hop_channel_send(c, NULL), 0);
    must_eq(hop_channel_try_send(c, NULL), 0);
    must_eq(hop_channel_send(c, NULL), 0);
    must_eq(hop_channel_try_send(c, NULL), -EAGAIN);
    must_eq(hop_channel_recv(c, NULL), 1);
    must_eq(hop_channel_close(c), 0);
    must_eq(hop_channel_recv(c, NULL), 1);
    must_eq(hop_channel_try_recv(c, NULL), 1);
    must_eq(hop_channel_recv(c, NULL), 0);
    must_eq(hop_channel_free(c), 0);
}
END_TEST

START_TEST(closing)
{
    hop_channel *c = new_channel(sizeof(int), 3);
    int n = 4;

    must_eq(hop_channel_send(c, &n), 0);
    n = 5;
    must_eq(hop_channel_send(c, &n), 0);
    must_eq(hop_channel_close(c), 0);
    must_eq(hop_channel_close(c), 0);
    must_eq(hop_channel_send(c, &n), -EPIPE);
    must_eq(hop_channel_try_send(c, &n), -EPIPE);
    must_eq(hop_channel_recv(c, &n), 1); /* what is left */
    must_eq(n, 4);
    must_eq(hop_channel_try_recv(c, &n), 1);
    must_eq(n, 5);
    must_eq(hop_channel_recv(c, &n), 0);
    must_eq(hop_channel_try_recv(c, &n), 0);
    must_eq(hop_channel_send(c, &n), -EPIPE);
    must_eq(hop_channel_free(c), 0);
}
END_TEST

START_TEST(freed_with_items_in_it)
{
    hop_channel *c = new_channel(sizeof(int), 3);
    int n = 4;

    must_eq(hop_channel_send(c, &n), 0);
    must_eq(hop_channel_free(c), 0);
    must_eq(hop_channel_free(NULL), 0);
}
END_TEST

START_TEST(wrong_arguments)
{
    hop_channel *c = new_channel(sizeof(int), 3);
    int n = 0;

    must_eq(hop_channel_new(NULL, 4, 4), -EINVAL);
    must_eq(hop_channel_new(&c, SIZE_MAX / 2, 3), -EINVAL);
    must_eq(hop_channel_new(&c, 8, SIZE_MAX / 8), -EINVAL);
    must_eq(hop_channel_new(&c, 1, SIZE_MAX / 2), -EINVAL); /* no object is as large as that */
    if (!TEST_SANITIZED)                                    /* they take it for a mistake */
        must_eq(hop_channel_new(&c, 1, PTRDIFF_MAX / 2), -ENOMEM);
    must_eq(hop_channel_send(NULL, &n), -EINVAL);
    must_eq(hop_channel_recv(NULL, &n), -EINVAL);
    must_eq(hop_channel_send(c, NULL), -EINVAL);
    must_eq(hop_channel_recv(c, NULL), -EINVAL);
    must_eq(hop_channel_try_send(NULL, &n), -EINVAL);
    must_eq(hop_channel_try_recv(NULL, &n), -EINVAL);
    must_eq(hop_channel_try_send(c, NULL), -EINVAL);
    must_eq(hop_channel_try_recv(c, NULL), -EINVAL);
    must_eq(hop_channel_close(NULL), -EINVAL);
    must_eq(hop_channel_free(c), 0);
}
END_TEST

/* --- waiting --- */

struct party {
    hop_channel *channel;
    int item, began, result;
};

static int send_one(void *arg)
{
    struct party *p = arg;

    p->began = 1;
    p->result = hop_channel_send(p->channel, &p->item);
    return 0;
}

static int recv_one(void *arg)
{
    struct party *p = arg;

    p->began = 1;
    p->result = hop_channel_recv(p->channel, &p->item);
    return 0;
}

/* Spawns it and goes on when it waits: there is one loop, so once we are back it does. */
static void start_party(hop_scope *scope, hop_fn *fn, struct party *p, hop_channel *c, int item)
{
    *p = (struct party){ c, item, 0, INT_MIN };
    must_eq(hop_spawn(scope, fn, p, NULL), 0);
    while (!p->began)
        must_eq(hop_yield(), 0);
    must_eq(p->result, INT_MIN);
}

static int first_come(void *arg)
{
    hop_channel *c = new_channel(sizeof(int), 2);
    struct party senders[4], receivers[3];
    hop_scope scope;
    int i, n;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 3; i++)
        start_party(&scope, recv_one, &receivers[i], c, -1);
    for (i = 0; i < 3; i++) {
        n = 10 + i;
        must_eq(hop_channel_send(c, &n), 0);
    }
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < 3; i++)
        must(receivers[i].result == 1 && receivers[i].item == 10 + i);

    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 2; i++)
        must_eq(hop_channel_send(c, &i), 0);
    for (i = 0; i < 4; i++)
        start_party(&scope, send_one, &senders[i], c, 2 + i);
    for (i = 0; i < 6; i++) {
        must_eq(hop_channel_recv(c, &n), 1);
        must_eq(n, i); /* those in the ring, then those who wait */
        if (i < 4) /* the room was taken by the oldest who waits */
            must_eq(hop_channel_try_send(c, &n), -EAGAIN);
    }
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < 4; i++)
        must_eq(senders[i].result, 0);
    must_eq(hop_channel_free(c), 0);
    return 0;
}

START_TEST(first_come_first_served)
{
    run_main(first_come);
}
END_TEST

static int rendezvous(void *arg)
{
    hop_channel *c = new_channel(sizeof(int), 0);
    struct party p;
    hop_scope scope;
    int n = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, send_one, &p, c, 31);
    hop_yield();
    hop_yield();
    must_eq(p.result, INT_MIN); /* it returns when the item was taken */
    must_eq(hop_channel_try_recv(c, &n), 1);
    must_eq(n, 31);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(p.result, 0);

    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, recv_one, &p, c, 0);
    n = 32;
    must_eq(hop_channel_try_send(c, &n), 0);
    must_eq(hop_channel_try_send(c, &n), -EAGAIN); /* he was one only */
    must_eq(hop_scope_close(&scope), 0);
    must(p.result == 1 && p.item == 32);
    must_eq(hop_channel_free(c), 0);
    return 0;
}

START_TEST(capacity_zero_is_a_rendezvous)
{
    run_main(rendezvous);
}
END_TEST

static int close_wakes(void *arg)
{
    struct party parties[3];
    hop_channel *c = new_channel(sizeof(int), 1);
    hop_scope scope;
    int i, n = 1;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 3; i++)
        start_party(&scope, recv_one, &parties[i], c, 5);
    must_eq(hop_channel_free(c), -EBUSY);
    must_eq(hop_channel_close(c), 0);
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < 3; i++)
        must(parties[i].result == 0 && parties[i].item == 5);
    must_eq(hop_channel_free(c), 0);

    c = new_channel(sizeof(int), 1);
    must_eq(hop_channel_send(c, &n), 0);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 3; i++)
        start_party(&scope, send_one, &parties[i], c, 5);
    must_eq(hop_channel_free(c), -EBUSY);
    must_eq(hop_channel_close(c), 0);
    must_eq(hop_scope_close(&scope), 0);
    for (i = 0; i < 3; i++)
        must_eq(parties[i].result, -EPIPE);
    n = 0;
    must_eq(hop_channel_recv(c, &n), 1);
    must_eq(n, 1);
    must_eq(hop_channel_recv(c, &n), 0);
    must_eq(hop_channel_free(c), 0);
    return 0;
}

START_TEST(close_wakes_all_who_wait)
{
    run_main(close_wakes);
}
END_TEST

static int gives_up(void *arg)
{
    hop_channel *c = new_channel(sizeof(int), 0);
    struct party sender, receiver;
    hop_scope scope;
    int n = 3;

    (void)arg;
    hop_within(2 * HOP_MS) {
        must_eq(hop_channel_recv(c, &n), -ETIMEDOUT);
        must_eq(hop_channel_send(c, &n), -ETIMEDOUT);
    }
    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, send_one, &sender, c, 8);
    must_eq(hop_scope_cancel(&scope, -ECANCELED), 0);
    must_eq(hop_scope_close(&scope), -ECANCELED);
    must_eq(sender.result, -ECANCELED);
    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, recv_one, &receiver, c, 8);
    must_eq(hop_scope_cancel(&scope, -EPROTO), 0);
    must_eq(hop_scope_close(&scope), -EPROTO);
    must_eq(receiver.result, -EPROTO);
    must_eq(receiver.item, 8);
    must_eq(hop_channel_try_recv(c, &n), -EAGAIN); /* nobody is left there */
    must_eq(hop_channel_try_send(c, &n), -EAGAIN);
    must_eq(hop_channel_free(c), 0);
    return 0;
}

START_TEST(cancelled_and_out_of_time)
{
    run_main(gives_up);
}
END_TEST

static int would_block(void *arg)
{
    hop_channel *c = arg;
    int n = 6;

    must_eq(hop_channel_recv(c, &n), -EWOULDBLOCK);
    must_eq(hop_channel_send(c, &n), 0);
    must_eq(hop_channel_send(c, &n), -EWOULDBLOCK);
    must_eq(hop_channel_try_send(c, &n), -EAGAIN);
    n = 0;
    must_eq(hop_channel_recv(c, &n), 1);
    must_eq(n, 6);
    return 0;
}

static int in_a_job(void *arg)
{
    hop_channel *c = new_channel(sizeof(int), 1);

    (void)arg;
    must_eq(hop_offload(would_block, c), 0);
    hop_on_team {
        would_block(c);
    }
    must_eq(hop_channel_free(c), 0);
    return 0;
}

START_TEST(in_a_job_it_would_block)
{
    run_main(in_a_job);
}
END_TEST

/* --- many to many --- */

struct traffic {
    hop_channel *channel;
    atomic_ullong sum, count;
    long each;
};

struct end {
    struct traffic *traffic;
    unsigned seed;
    long first;
};

static int produce(void *arg)
{
    struct end *e = arg;
    long i, item;

    for (i = 0; i < e->traffic->each; i++) {
        item = e->first + i;
        switch (test_random(&e->seed) % 8) {
        case 0:
            while (hop_channel_try_send(e->traffic->channel, &item) == -EAGAIN)
                hop_yield();
            break;
        case 1:
            hop_on_cpu {
                must_eq(hop_channel_send(e->traffic->channel, &item), 0);
            }
            break;
        case 2: { /* impatient */
            int rc;

            do
                hop_within((hop_ns)(test_random(&e->seed) % 30) * HOP_US) {
                    rc = hop_channel_send(e->traffic->channel, &item);
                }
            while (rc == -ETIMEDOUT);
            must_eq(rc, 0);
            break;
        }
        default: must_eq(hop_channel_send(e->traffic->channel, &item), 0);
        }
    }
    return 0;
}

static int consume(void *arg)
{
    struct end *e = arg;
    long item;
    int rc = 1;

    while (rc) {
        if (test_random(&e->seed) % 4) {
            rc = hop_channel_recv(e->traffic->channel, &item);
        } else {
            hop_within((hop_ns)(test_random(&e->seed) % 30) * HOP_US) {
                rc = hop_channel_recv(e->traffic->channel, &item);
            }
        }
        must(rc == 1 || rc == 0 || rc == -ETIMEDOUT);
        if (rc == 1) {
            atomic_fetch_add(&e->traffic->sum, (unsigned long long)item);
            atomic_fetch_add(&e->traffic->count, 1);
        }
    }
    return 0;
}

static void *produce_thread(void *arg)
{
    produce(arg);
    return NULL;
}

static void *consume_thread(void *arg)
{
    consume(arg);
    return NULL;
}

static void run_traffic(unsigned seed, size_t capacity)
{
    enum { ENDS = 8, THREADS = 2 };
    struct traffic t = { .each = 300 };
    struct end producers[ENDS], consumers[ENDS];
    pthread_t producing[THREADS], consuming[THREADS];
    unsigned long long n = ENDS * (unsigned long long)t.each;
    hop_scope out, in;
    int i;

    t.channel = new_channel(sizeof(long), capacity);
    must_eq(hop_scope_open(&in), 0);
    must_eq(hop_scope_open(&out), 0);
    for (i = 0; i < ENDS; i++) {
        producers[i] = (struct end){ &t, test_random(&seed) | 1, i * t.each + 1 };
        consumers[i] = (struct end){ &t, test_random(&seed) | 1, 0 };
    }
    for (i = 0; i < THREADS; i++) {
        producing[i] = start_thread(produce_thread, &producers[i]);
        consuming[i] = start_thread(consume_thread, &consumers[i]);
    }
    for (; i < ENDS; i++) {
        must_eq(hop_spawn(&out, produce, &producers[i], HOP_TASK(.loop = 1 + i % 3)), 0);
        must_eq(hop_spawn(&in, consume, &consumers[i], HOP_TASK(.loop = 1 + i % 2)), 0);
    }
    must_eq(hop_scope_close(&out), 0);
    hop_on_blocking {
        for (i = 0; i < THREADS; i++)
            join_thread(producing[i]);
    }
    must_eq(hop_channel_close(t.channel), 0);
    must_eq(hop_scope_close(&in), 0);
    hop_on_blocking {
        for (i = 0; i < THREADS; i++)
            join_thread(consuming[i]);
    }
    must_eq(atomic_load(&t.count), n);
    must_eq(atomic_load(&t.sum), n * (n + 1) / 2);
    must_eq(hop_channel_free(t.channel), 0);
}

static int traffic(void *arg)
{
    static const size_t capacities[] = { 0, 1, 2, 7, 1000 };
    size_t i;

    for (i = 0; i < sizeof capacities / sizeof *capacities; i++)
        run_traffic((unsigned)hop_int(arg) + (unsigned)i + 1, capacities[i]);
    return 0;
}

START_TEST(many_to_many)
{
    hop_config config = { .loops = 3 };

    run_main_with(traffic, hop_ptr((int)(test_seed() & 0xffffff)), &config);
}
END_TEST

/* One sender, one receiver: the order holds however they wait. */
static int send_sequence(void *arg)
{
    hop_channel *c = arg;
    int i;

    for (i = 0; i < 3000; i++)
        must_eq(hop_channel_send(c, &i), 0);
    return hop_channel_close(c);
}

static void *recv_sequence(void *arg)
{
    int i, n;

    for (i = 0; hop_channel_recv(arg, &n) == 1; i++)
        must_eq(n, i);
    must_eq(i, 3000);
    return NULL;
}

static int sequences(void *arg)
{
    size_t capacity;

    (void)arg;
    for (capacity = 0; capacity < 4; capacity++) {
        hop_channel *c = new_channel(sizeof(int), capacity);
        pthread_t thread = start_thread(recv_sequence, c);

        must_eq(send_sequence(c), 0);
        hop_on_blocking {
            join_thread(thread);
        }
        must_eq(hop_channel_free(c), 0);
    }
    return 0;
}

START_TEST(order_between_a_task_and_a_thread)
{
    run_main(sequences);
}
END_TEST

/* Two threads need no runtime. */
static void *send_sequence_thread(void *arg)
{
    must_eq(send_sequence(arg), 0);
    return NULL;
}

START_TEST(order_between_threads_without_a_runtime)
{
    size_t capacity;

    for (capacity = 0; capacity < 3; capacity++) {
        hop_channel *c = new_channel(sizeof(int), capacity);
        pthread_t thread = start_thread(send_sequence_thread, c);

        recv_sequence(c);
        join_thread(thread);
        must_eq(hop_channel_free(c), 0);
    }
}
END_TEST

/* --- freed as soon as the call that woke the other has returned --- */

/* The memory is used again at once: who still looks there finds a lock that nobody opens. */
static void free_and_reuse(hop_channel *c)
{
    static int *volatile again; /* volatile: so that the compiler believes that somebody looks */
    size_t bytes = malloc_usable_size(c);

    must_eq(hop_channel_free(c), 0);
    free(again);
    again = malloc(bytes);
    must(again != NULL);
    memset(again + 1, 0, bytes - sizeof *again);
    *again = 1;
}

static int closed_and_freed(void *arg)
{
    hop_channel *empty = new_channel(sizeof(int), 1), *full = new_channel(sizeof(int), 1);
    struct party p;
    hop_scope scope;
    int n = 0;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, recv_one, &p, empty, -1);
    must_eq(hop_channel_close(empty), 0);
    free_and_reuse(empty);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(p.result, 0);

    must_eq(hop_channel_send(full, &n), 0);
    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, send_one, &p, full, 1);
    must_eq(hop_channel_close(full), 0);
    free_and_reuse(full);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(p.result, -EPIPE);
    return 0;
}

START_TEST(closed_and_freed_before_the_other_runs)
{
    run_main(closed_and_freed);
}
END_TEST

static int freed_after_a_rendezvous(void *arg)
{
    hop_channel *to = new_channel(sizeof(int), 0), *from = new_channel(sizeof(int), 0);
    struct party p;
    hop_scope scope;
    int n = 7;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, recv_one, &p, to, -1);
    must_eq(hop_channel_send(to, &n), 0);
    free_and_reuse(to);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(p.result, 1);
    must_eq(p.item, 7);

    must_eq(hop_scope_open(&scope), 0);
    start_party(&scope, send_one, &p, from, 8);
    must_eq(hop_channel_recv(from, &n), 1);
    free_and_reuse(from);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(p.result, 0);
    must_eq(n, 8);
    return 0;
}

static void *recv_one_thread(void *arg)
{
    recv_one(arg);
    return NULL;
}

START_TEST(a_rendezvous_partner_may_free)
{
    struct party p = { NULL, 0, 0, 0 };
    pthread_t thread;
    int i;

    run_main(freed_after_a_rendezvous);
    for (i = 1; i < 100; i++) { /* between threads it is a race */
        p.channel = new_channel(sizeof(int), 0);
        thread = start_thread(recv_one_thread, &p);
        must_eq(hop_channel_send(p.channel, &i), 0);
        free_and_reuse(p.channel);
        join_thread(thread);
        must_eq(p.result, 1);
        must_eq(p.item, i);
    }
}
END_TEST

RUN_TESTS("channel", keeps_the_order, room_for_its_capacity, items_are_copied, bare_signals, closing,
          freed_with_items_in_it, wrong_arguments, first_come_first_served, capacity_zero_is_a_rendezvous,
          close_wakes_all_who_wait, cancelled_and_out_of_time, in_a_job_it_would_block, many_to_many,
          order_between_a_task_and_a_thread, order_between_threads_without_a_runtime,
          closed_and_freed_before_the_other_runs, a_rendezvous_partner_may_free)
