/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings: scopes whose children keep a record of what became of them; and the scenes that are made of these alone.
 *
 * Claimed at the close: every task that was accepted has run to its end, once; every job has too, or was refused for a
 * reason that its future tells; none that was refused has started; all this before the close returned. What the close
 * returned is the result of a child that failed, or else why the ring was cancelled, or 0.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "storm.h"

const int reasons[REASONS] = { -ECANCELED, -EHOSTDOWN, -ENOLINK, -4242 };

/* --- open and cancel --- */

static void ring_init(struct ring *r)
{
    memset(r, 0, sizeof *r);
    r->scope = &r->storage;
    atomic_init(&r->closing, HOP_FOREVER);
    atomic_init(&r->jobs, HOP_FOREVER);
}

int ring_open(struct actor *a, struct ring *r)
{
    int rc;

    ring_init(r);
    r->shielded = a->shield > 0;
    r->outer = r->shielded ? NULL : a->ring;
    rc = hop_scope_open(r->scope);
    if (rc < 0)
        claim(explained(a, rc));
    return rc;
}

void ring_cancel(struct ring *r, int which)
{
    atomic_fetch_or(&r->cancelled, 1u << which);
    atomic_thread_fence(memory_order_seq_cst); /* before it happens: see explained_in */
    claim_eq(hop_scope_cancel(r->scope, reasons[which]), 0);
}

/* --- children --- */

static int child_runs(void *arg)
{
    struct child *c = arg;
    struct actor *a = &c->actor;
    int rc;

    claim_eq(atomic_fetch_add_explicit(&c->started, 1, memory_order_relaxed), 0);
    a->task = !c->job;
    a->place = c->job ? HOP_JOB : HOP_LOOP;
    actor_enter(a);
    claim_eq(hop_here(), a->place);
    gust(a);
    c->output = work_out(c->input);
    rc = c->part(a, c->arg);
    claim_eq(hop_here(), a->place);
    actor_leave(a);
    if (c->fails)
        rc = c->fails;
    if (rc < 0) {
        atomic_store(&c->ring->failed, true);
        atomic_thread_fence(memory_order_seq_cst);
    }
    atomic_fetch_add_explicit(c->job ? &storm.jobs_run : &storm.tasks_ended, 1, memory_order_relaxed);
    c->result = rc;
    c->ended = true;
    return rc;
}

static void note_deadline(struct ring *r, hop_ns deadline)
{
    hop_ns earliest = atomic_load(&r->jobs);

    while (deadline < earliest && !atomic_compare_exchange_weak(&r->jobs, &earliest, deadline))
        ;
}

static int start(struct actor *a, struct ring *r, struct child *c)
{
    static const size_t stacks[] = { 0, 0, 0, 192 * 1024, 512 * 1024 };
    hop_task_options o = { .size = sizeof o, .name = c->actor.role };
    bool plain = chance(a, 40);

    if (c->job) {
        note_deadline(r, a->deadline);
        c->late = a->task && hop_cancelled() == -ETIMEDOUT;
        return hop_submit(r->scope, c->with_future ? &c->future : NULL, child_runs, c);
    }
    o.loop = pick(a, storm.loops + 1);
    o.stack_bytes = stacks[pick(a, 5)];
    return hop_spawn(r->scope, child_runs, c, plain ? NULL : &o);
}

/* A child was refused: the ring's reason, or the runtime goes down, or there is no room and no way to wait for it. */
static void check_refusal(struct actor *a, struct ring *r, struct child *c, int rc)
{
    atomic_fetch_add_explicit(&storm.refusals, 1, memory_order_relaxed);
    if (rc == -EAGAIN && c->job && !may_wait(a))
        return;
    if (rc == -ESHUTDOWN && r->root && atomic_load(&storm.draining))
        return;
    if (!explained_in(r, rc))
        storm_fail(__FILE__, __LINE__, "a child is refused for a reason", rc, a->id);
}

int ring_add(struct actor *a, struct ring *r, const struct cast *cast, struct child **out)
{
    struct child *c = calloc(1, sizeof *c);
    int rc;

    claim(c);
    c->actor = actor_from(a, cast->role, cast->fuel);
    c->actor.depth++;
    c->actor.ring = r;
    c->actor.deadline = a->deadline;
    c->ring = r;
    c->part = cast->part;
    c->arg = cast->arg;
    c->fails = cast->fails;
    c->job = cast->job;
    c->with_future = cast->job && cast->with_future;
    c->input = draw(a);
    c->next = atomic_load_explicit(&r->children, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&r->children, &c->next, c, memory_order_release,
                                                  memory_order_relaxed))
        ;
    if (out)
        *out = c;
    atomic_fetch_add_explicit(c->job ? &storm.jobs_accepted : &storm.tasks_accepted, 1, memory_order_relaxed);
    rc = start(a, r, c);
    c->accepted = rc == 0;
    claim(rc <= 0);
    if (rc < 0) {
        atomic_fetch_sub_explicit(c->job ? &storm.jobs_accepted : &storm.tasks_accepted, 1, memory_order_relaxed);
        check_refusal(a, r, c, rc);
    }
    return rc;
}

/* --- close --- */

static void check_future(struct ring *r, struct child *c, bool ran)
{
    int result;

    if (!c->with_future)
        return;
    claim_eq(hop_done(&c->future), c->accepted);
    if (!c->accepted)
        return;
    result = hop_await(&c->future);
    if (ran)
        claim_eq(result, c->result);
    else if (!explained_in(r, result) && !(result == -ETIMEDOUT && hop_now() >= c->actor.deadline))
        storm_fail(__FILE__, __LINE__, "a job is refused for a reason", result, c->actor.id);
    c->result = result;
}

/* What became of a child: whether it ran. */
static bool check_child(struct ring *r, struct child *c)
{
    bool ran = atomic_load_explicit(&c->started, memory_order_relaxed);

    if (!c->accepted || !c->job)
        claim_eq(ran, c->accepted);
    claim_eq(c->ended, ran);
    claim(!ran || !c->late);
    if (ran)
        claim_eq(c->output, work_out(c->input));
    if (c->accepted && !ran)
        atomic_fetch_add_explicit(&storm.jobs_refused, 1, memory_order_relaxed);
    check_future(r, c, ran);
    return ran;
}

/* All children have ended: whether any has failed, and whether one with this result. */
static void check_children(struct ring *r, int rc, bool *failed, bool *matched)
{
    struct child *c, *next;

    *failed = *matched = false;
    for (c = atomic_load_explicit(&r->children, memory_order_acquire); c; c = next) {
        bool ran = check_child(r, c), refused = c->accepted && !ran;

        next = c->next;
        *failed = *failed || refused || (ran && c->result < 0);
        *matched = *matched || (ran && c->result == rc) || (refused && (!c->with_future || c->result == rc));
        free(c);
    }
}

int ring_close(struct actor *a, struct ring *r)
{
    bool failed, matched, cancelled;
    int rc;

    atomic_store(&r->closing, a->task ? a->deadline : HOP_FOREVER);
    doing(a, "closing a scope");
    rc = hop_scope_close(r->scope);
    doing(a, "after a scope's close");
    cancelled = atomic_load(&r->cancelled);
    check_children(r, rc, &failed, &matched);
    if (failed)
        claim(rc < 0 && matched);
    else if (cancelled)
        claim(rc < 0);
    if (rc < 0 && !matched && !explained_in(r, rc))
        storm_fail(__FILE__, __LINE__, "the close's error has a reason", rc, a->id);
    claim(rc <= 0);
    claim_eq(hop_scope_close(r->scope), -EINVAL);
    return rc;
}

void ring_of_root(struct ring *r, hop_runtime *runtime)
{
    ring_init(r);
    r->root = true;
    r->scope = hop_root(runtime);
    claim(r->scope);
}

/* The runtime is gone, and rc is what its end returned: the error of a child, unless the program's own came first. */
void ring_of_root_ended(struct ring *r, int rc, bool own)
{
    bool failed, matched;

    check_children(r, rc, &failed, &matched);
    if (!own)
        claim(rc < 0 ? matched : !failed);
}

/* --- parts --- */

int play_part(struct actor *a, void *ignored)
{
    (void)ignored;
    return play(a);
}

struct assassin {
    struct ring *ring;
    int which;
};

/* Cancels the ring it is a child of. */
static int assassin_part(struct actor *a, void *arg)
{
    struct assassin *k = arg;
    int rc = play(a);

    gust(a);
    ring_cancel(k->ring, k->which);
    return rc < 0 ? rc : 0;
}

/* --- the scenes --- */

/*
 * A ring of tasks and jobs that play; one may fail, one may cancel the others, or their parent may, or nobody. Some of
 * the jobs are awaited on the way.
 */
int scene_family(struct actor *a)
{
    static const char *const roles[] = { "a child", "a job of a family" };
    struct ring r;
    struct assassin killer = { &r, pick(a, REASONS) };
    int n = pick(a, storm.breadth + 1), i, traitor = chance(a, 15) ? pick(a, n + 1) : -1;
    int assassin = chance(a, 15) ? pick(a, n + 1) : -1;
    bool patricide = chance(a, 10), early = chance(a, 10);
    int rc = ring_open(a, &r);

    if (rc < 0)
        return rc;
    if (early)
        ring_cancel(&r, killer.which);
    for (i = 0; i < n; i++) {
        bool job = chance(a, 45), awaited = job && may_wait(a) && chance(a, 30), kills = i == assassin;
        struct cast cast = { roles[job], kills ? assassin_part : play_part, kills ? &killer : NULL,
                             share(a, n - i + 1), i == traitor ? -5000 - i : 0, job, awaited || chance(a, 60) };
        struct child *c;

        gust(a);
        if (ring_add(a, &r, &cast, &c) < 0 || !awaited)
            continue;
        doing(a, "awaiting a job of the family");
        rc = hop_await(&c->future);
        if (!hop_done(&c->future))
            heard(a, rc);
    }
    if (patricide) {
        gust(a);
        ring_cancel(&r, killer.which);
    }
    ring_close(a, &r);
    return interrupted(a);
}

/*
 * A line of tasks, each the child of the one before, whose last waits for what never comes. The others have closed
 * their ears and wait for the next one's end, so only the news of a cancellation, passed on from scope to scope, ends
 * it all.
 */
struct link {
    int behind; /* more of them */
    hop_future ended;
};

static int wait_in_vain(struct actor *a)
{
    hop_future never = HOP_FUTURE_INIT;
    hop_case cases[] = { hop_on_future(&never), hop_on_after(3600 * HOP_SEC) };

    switch (pick(a, 3)) {
    case 0: return hop_await(&never);
    case 1: return hop_sleep(3600 * HOP_SEC);
    default: return hop_select(cases, 2);
    }
}

static int link_part(struct actor *a, void *arg)
{
    struct link *l = arg, next = { l->behind - 1, HOP_FUTURE_INIT };
    struct cast cast = { "a link of a chain", link_part, &next, 0, 0, false, false };
    struct ring r;
    int rc;

    if (l->behind == 0) {
        rc = wait_in_vain(a);
        claim(rc < 0);
        heard(a, rc);
    } else if ((rc = ring_open(a, &r)) == 0) {
        gust(a);
        if (ring_add(a, &r, &cast, NULL) == 0)
            await_surely(a, &next.ended);
        rc = ring_close(a, &r);
    }
    claim_eq(hop_complete(&l->ended, 0), 0);
    return rc;
}

int scene_chain(struct actor *a)
{
    struct link first = { pick(a, 4), HOP_FUTURE_INIT };
    struct cast line = { "a link of a chain", link_part, &first, 0, 0, false, false };
    struct cast traitor = { "a traitor", play_part, NULL, share(a, 4), -5999, chance(a, 50), false };
    int which = pick(a, REASONS), rc;
    struct ring r;

    rc = ring_open(a, &r);
    if (rc < 0)
        return rc;
    ring_add(a, &r, &line, NULL);
    gust(a);
    if (chance(a, 50) || ring_add(a, &r, &traitor, NULL) < 0)
        ring_cancel(&r, which);
    ring_close(a, &r);
    return interrupted(a);
}

/* Adds to the ring that the actor is itself a child of: brothers and sisters, which it does not wait for. */
int scene_kinsmen(struct actor *a)
{
    int i, n = 1 + pick(a, 3);

    for (i = 0; a->ring && i < n; i++) {
        struct cast cast = { "a sibling", play_part, NULL, share(a, 3), 0, chance(a, 50), chance(a, 50) };

        ring_add(a, a->ring, &cast, NULL);
        gust(a);
    }
    return interrupted(a);
}

/* Leaves children in the root, also while it ends; a scope of one's own keeps the runtime there meanwhile. */
int scene_root(struct actor *a)
{
    struct ring own;
    int i, n = pick(a, 4), rc;

    rc = ring_open(a, &own);
    if (rc < 0)
        return rc;
    for (i = 0; storm.root && i < n; i++) {
        struct cast cast = { "a child of the root", play_part, NULL, share(a, 4), 0, chance(a, 50), chance(a, 50) };

        ring_add(a, storm.root, &cast, NULL);
        gust(a);
    }
    ring_close(a, &own);
    return interrupted(a);
}

/* What the runtime has to be asked now and then: never wrong, whenever it is asked. */
int scene_look(struct actor *a)
{
    hop_stats s;
    FILE *sink;
    int rc = hop_stats_read(&s);

    if (rc < 0) {
        claim(a->place == HOP_OUTSIDE && atomic_load(&storm.stopping) && rc == -ENODEV);
    } else {
        claim(s.jobs_completed <= s.jobs_accepted + 100000); /* sums that are read while they grow */
        claim(s.workers >= 1 && s.workers_active >= 1 && s.workers_active <= s.workers);
        claim(hop_worker_index() < s.workers);
    }
    if (a->place == HOP_CPU)
        claim(hop_worker_index() >= 0);
    if (a->place == HOP_LOOP || a->place == HOP_OUTSIDE || a->place == HOP_BLOCKING)
        claim_eq(hop_worker_index(), -1);
    if (chance(a, 20)) {
        claim((sink = fopen("/dev/null", "w")) != NULL);
        claim_eq(hop_describe(sink), 0);
        fclose(sink);
    }
    return interrupted(a);
}
