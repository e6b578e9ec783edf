/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A storm from beginning to end: the runtimes, of every kind that there is, who plays in them, and how they go down:
 * when all is quiet, with children left to drain, or in the middle of it all.
 */
#include "config.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "storm.h"

enum style {
    RUN = 0,   /* hop_run; everything has ended before main returns */
    RUN_DRAIN, /* main leaves children in the root, which end by themselves */
    RUN_HASTE, /* they are cancelled, sooner or later */
    RUN_FAIL,  /* main fails, and everything is cancelled at once */
    OWN,       /* hop_runtime_new and plain threads */
    OWN_HASTE, /* the runtime is freed under their hands */
    ATTACHED,  /* on a base that the program dispatches, beside events of its own */
    TWO        /* two runtimes, and threads that use both */
};

enum { THREADS = 6, LEFT_OVER = 6 };

struct house {
    enum style style;
    hop_config config;
    struct actor *first; /* decides; then it is main's, or the main thread's */
    struct ring root;
    int strangers;
    struct stranger stranger[THREADS];
    int main_result;
    /* of an attached base */
    struct event_base *base;
    struct event *ticker;
    hop_channel *ticks;
    atomic_bool done;
    int ticked, taken;
};

/* --- what the seed decides --- */

static enum style choose_style(struct actor *a)
{
    static const enum style styles[] = { RUN, RUN, RUN, RUN_DRAIN, RUN_DRAIN, RUN_HASTE, RUN_HASTE, RUN_FAIL,
                                         OWN, OWN, OWN_HASTE, OWN_HASTE, ATTACHED, TWO };

    return styles[pick(a, sizeof styles / sizeof *styles)];
}

static hop_config choose_config(struct actor *a)
{
    static const int workers[] = { 1, 1, 2, 2, 2, 3, 4, 4, 7, 16 };
    static const unsigned queues[] = { 1, 2, 3, 8, 64, 4096 };
    static const int lanes[] = { 1, 2, 3, 8, 64 };
    static const hop_ns turns[] = { -1, 0, 20 * HOP_US, 2 * HOP_MS };
    static const enum hop_qos policies[] = { HOP_QOS_OFF, HOP_QOS_OFF, HOP_QOS_MILD, HOP_QOS_AUTO, HOP_QOS_IDLE };

    return (hop_config){
        .workers = workers[pick(a, 10)], .loops = 1 + pick(a, 3), .qos = policies[pick(a, 5)],
        .moderate_ns = turns[pick(a, 4)], .no_spin = chance(a, 30), .no_pin = chance(a, 30),
        .queue = queues[pick(a, 6)], .blocking_threads = lanes[pick(a, 5)],
        .stack_bytes = chance(a, 30) ? 512 * 1024 : 0, .grace_ns = 60 * HOP_SEC
    };
}

/* Most storms are small. */
static int choose_fuel(struct actor *a)
{
    static const int most[] = { 20, 40, 80, 80, 150, 150, 400, 1000, 3000 };

    return 1 + pick(a, most[pick(a, 9)]);
}

static bool hasty(enum style style)
{
    return style == RUN_HASTE || style == RUN_FAIL || style == OWN_HASTE;
}

static void decide(struct house *h)
{
    struct actor *a = h->first;

    h->style = choose_style(a);
    h->config = choose_config(a);
    a->fuel = choose_fuel(a);
    storm.loops = h->config.loops;
    storm.gusts = chance(a, 30) ? 0 : pick(a, 60);
    storm.breadth = 1 + pick(a, chance(a, 15) ? 40 : 7);
    storm.calm = !hasty(h->style);
    storm.nruntimes = h->style == TWO ? 2 : 1;
    atomic_init(&storm.lane, h->config.blocking_threads - 1);
    choose_weights(a);
    if (h->style == RUN_HASTE || h->style == OWN_HASTE)
        h->config.drain_ns = chance(a, 50) ? -1 : pick(a, 5) * HOP_MS + 1;
    else
        h->config.drain_ns = 3600 * HOP_SEC;
}

/* --- in the runtime --- */

static bool at_rest(const hop_stats *s)
{
    bool me = hop_here() == HOP_LOOP;

    return s->jobs_accepted == s->jobs_completed && s->tasks_spawned == s->tasks_ended + me;
}

/* All that was begun has ended: the counters come to say so, once the last have taken their last steps. */
static void check_stats(void)
{
    long tasks = 0, jobs = 0;
    hop_stats s;
    int i;

    for (i = 0; i < storm.nruntimes; i++) {
        if (storm.nruntimes > 1)
            claim_eq(hop_runtime_use(storm.runtimes[i]), 0);
        do {
            (void)hop_sleep(50 * HOP_US);
            claim_eq(hop_stats_read(&s), 0);
        } while (!at_rest(&s));
        tasks += (long)s.tasks_ended;
        jobs += (long)s.jobs_completed;
    }
    claim(tasks >= atomic_load(&storm.tasks_ended));
    claim(jobs >= atomic_load(&storm.jobs_run));
}

/* Children in the root scope, which their parent does not wait for. */
static void leave_some(struct actor *a, struct ring *root)
{
    int i, n = 1 + pick(a, LEFT_OVER);

    for (i = 0; i < n; i++) {
        struct cast cast = { "a child of the root", play_part, NULL, share(a, n - i + 1), 0, chance(a, 30),
                             chance(a, 50) };

        ring_add(a, root, &cast, NULL);
        gust(a);
    }
}

static void let_strangers_in(struct house *h, struct actor *a)
{
    int i;

    for (i = 0; i < h->strangers; i++)
        stranger_start(a, &h->stranger[i], "a stranger", play_part, NULL, share(a, h->strangers - i + 1));
}

static void see_strangers_off(struct house *h, struct actor *a)
{
    int i;

    for (i = 0; i < h->strangers; i++)
        stranger_join(a, &h->stranger[i]);
}

/* The end is near: the next call is a return from main, or hop_runtime_free. */
static void end_is_near(bool soon)
{
    atomic_store(&storm.draining, true);
    atomic_store(&storm.stopping, soon);
    atomic_thread_fence(memory_order_seq_cst);
}

static int main_of_run(void *arg)
{
    struct house *h = arg;
    struct actor *a = h->first;

    a->task = true;
    a->place = HOP_LOOP;
    actor_enter(a);
    ring_of_root(&h->root, NULL);
    storm.root = h->style == RUN ? NULL : &h->root;
    h->strangers = h->style == RUN ? pick(a, 3) : 0;
    let_strangers_in(h, a);
    if (h->style != RUN)
        leave_some(a, &h->root);
    claim_eq(play(a), 0);
    see_strangers_off(h, a);
    if (h->style == RUN)
        check_stats();
    doing(a, "returning from main");
    actor_leave(a);
    end_is_near(hasty(h->style));
    h->main_result = h->style == RUN_FAIL ? -EXDEV : pick(a, 100);
    return h->main_result;
}

/* --- hop_run --- */

static void play_run(struct house *h)
{
    int rc = hop_run(main_of_run, h, &h->config);

    if (h->main_result < 0 || rc >= 0)
        claim_eq(rc, h->main_result);
    ring_of_root_ended(&h->root, rc, h->main_result < 0);
}

/* --- hop_runtime_new --- */

static void play_own(struct house *h)
{
    struct actor *a = h->first;
    bool left = chance(a, 40);
    int rc;

    claim_eq(hop_runtime_new(&storm.runtimes[0], &h->config), 0);
    actor_enter(a);
    ring_of_root(&h->root, storm.runtimes[0]);
    storm.root = left ? &h->root : NULL;
    h->strangers = pick(a, THREADS + 1);
    let_strangers_in(h, a);
    if (left)
        leave_some(a, &h->root);
    claim_eq(play(a), 0);
    if (h->style == OWN) {
        see_strangers_off(h, a);
        if (!left)
            check_stats();
    }
    end_is_near(hasty(h->style));
    doing(a, "freeing the runtime");
    rc = hop_runtime_free(storm.runtimes[0]);
    if (h->style == OWN_HASTE)
        see_strangers_off(h, a);
    ring_of_root_ended(&h->root, rc, false);
    actor_leave(a);
}

/* --- two runtimes --- */

static void play_two(struct house *h)
{
    struct actor *a = h->first;
    hop_config second = choose_config(a);
    int i;

    second.drain_ns = h->config.drain_ns;
    storm.loops = second.loops < storm.loops ? second.loops : storm.loops;
    if (second.blocking_threads < h->config.blocking_threads)
        atomic_store(&storm.lane, second.blocking_threads - 1);
    claim_eq(hop_runtime_new(&storm.runtimes[0], &h->config), 0);
    claim_eq(hop_runtime_new(&storm.runtimes[1], &second), 0);
    actor_enter(a);
    h->strangers = 1 + pick(a, THREADS);
    for (i = 0; i < h->strangers; i++) {
        a->runtime = i % 2;
        stranger_start(a, &h->stranger[i], "a stranger", play_part, NULL, share(a, h->strangers - i + 1));
    }
    a->runtime = pick(a, 2);
    claim_eq(hop_runtime_use(storm.runtimes[a->runtime]), 0);
    claim_eq(play(a), 0);
    see_strangers_off(h, a);
    check_stats();
    i = pick(a, 2);
    doing(a, "freeing two runtimes");
    claim_eq(hop_runtime_free(storm.runtimes[i]), 0);
    claim_eq(hop_runtime_free(storm.runtimes[!i]), 0);
    claim_eq(hop_runtime_use(NULL), 0);
    actor_leave(a);
}

/* --- on a base of the program's own --- */

static void tick(evutil_socket_t fd, short what, void *arg)
{
    struct house *h = arg;
    int one = 1, got, rc;

    (void)fd;
    (void)what;
    claim_eq(hop_here(), HOP_OUTSIDE);
    rc = hop_channel_try_send(h->ticks, &one);
    claim(rc == 0 || rc == -EAGAIN);
    h->ticked += rc == 0;
    if (h->ticked % 3 == 0 && hop_channel_try_recv(h->ticks, &got) == 1)
        h->taken++;
}

static int attached_main(struct actor *a, void *arg)
{
    struct house *h = arg;
    int rc = play(a);

    see_strangers_off(h, h->first);
    atomic_store(&h->done, true);
    return rc;
}

static void open_base(struct house *h, struct actor *a)
{
    struct timeval often = { 0, 200 + pick(a, 1000) };

    claim((h->base = event_base_new()) != NULL);
    h->config.base = h->base;
    claim_eq(hop_channel_new(&h->ticks, sizeof(int), 4), 0);
    claim((h->ticker = event_new(h->base, -1, EV_PERSIST, tick, h)) != NULL);
    claim_eq(event_add(h->ticker, &often), 0);
}

static void close_base(struct house *h)
{
    int got;

    event_free(h->ticker);
    while (hop_channel_try_recv(h->ticks, &got) == 1)
        h->taken++;
    claim_eq(h->ticked, h->taken);
    claim_eq(hop_channel_free(h->ticks), 0);
    event_base_free(h->base);
}

static void play_attached(struct house *h)
{
    struct actor *a = h->first;
    struct cast cast = { "the main task", attached_main, h, a->fuel, 0, false, false };

    open_base(h, a);
    claim_eq(hop_runtime_new(&storm.runtimes[0], &h->config), 0);
    actor_enter(a);
    ring_of_root(&h->root, storm.runtimes[0]);
    h->strangers = pick(a, 3);
    let_strangers_in(h, a);
    claim_eq(ring_add(a, &h->root, &cast, NULL), 0);
    doing(a, "dispatching");
    while (!atomic_load(&h->done))
        claim(event_base_loop(h->base, EVLOOP_ONCE) >= 0);
    end_is_near(false);
    doing(a, "freeing an attached runtime");
    ring_of_root_ended(&h->root, hop_runtime_free(storm.runtimes[0]), false);
    close_base(h);
    actor_leave(a);
}

/* --- the storm --- */

static void check_totals(void)
{
    claim_eq(atomic_load(&storm.tasks_ended), atomic_load(&storm.tasks_accepted));
    claim_eq(atomic_load(&storm.jobs_run) + atomic_load(&storm.jobs_refused), atomic_load(&storm.jobs_accepted));
    claim(!hop_root(NULL));
    claim_eq(hop_worker_count(), 0);
}

void storm_play(unsigned seed)
{
    struct house *h = calloc(1, sizeof *h);
    struct actor first;

    claim(h);
    memset(&storm, 0, sizeof storm);
    storm.seed = seed;
    first = actor_from(NULL, "the first", 0);
    h->first = &first;
    decide(h);
    switch (h->style) {
    case OWN:
    case OWN_HASTE: play_own(h); break;
    case ATTACHED: play_attached(h); break;
    case TWO: play_two(h); break;
    default: play_run(h); break;
    }
    check_totals();
    free(h);
}
