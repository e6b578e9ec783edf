/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenes that change where an actor is and what can befall it: hops, sleeps, deadlines, shields; what is refused where
 * one may not wait; and work in another runtime. And which scenes there are.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "storm.h"

/* --- hops --- */

/* Computing in the team: alone in the pool, on an OpenMP team of the pool's threads if that is what it is made of. */
static void use_team(struct actor *a)
{
    int n = 1 + pick(a, 200), i, sum = 0;

#ifdef _OPENMP
#pragma omp parallel for reduction(+ : sum)
#endif
    for (i = 0; i < n; i++)
        sum += i;
    claim_eq(sum, n * (n - 1) / 2);
}

static int play_there(struct actor *a, int place, int fuel)
{
    int here = a->place, left = a->fuel, worker, rc;

    a->place = place;
    a->fuel = fuel;
    claim_eq(hop_here(), place);
    worker = hop_worker_index();
    if (place == HOP_TEAM)
        use_team(a);
    rc = play(a);
    claim_eq(hop_here(), place);
    claim_eq(hop_worker_index(), worker); /* it came back to the same one from whatever it waited for */
    a->place = here;
    a->fuel = left;
    return rc;
}

/* A thread of the lane that a task may keep while it waits there: one is always left for what only blocks. */
static bool reserve_lane(void)
{
    if (atomic_fetch_sub_explicit(&storm.lane, 1, memory_order_relaxed) > 0)
        return true;
    atomic_fetch_add_explicit(&storm.lane, 1, memory_order_relaxed);
    return false;
}

static void release_lane(void)
{
    atomic_fetch_add_explicit(&storm.lane, 1, memory_order_relaxed);
}

int scene_hop(struct actor *a)
{
    int fuel = share(a, 2), here = a->place, rc = 0, to = pick(a, 3);
    bool kept;

    doing(a, "hopping");
    switch (to) {
    case 0:
        hop_on_cpu {
            rc = play_there(a, a->task && here != HOP_TEAM ? HOP_CPU : here, fuel);
        }
        break;
    case 1:
        hop_on_team {
            rc = play_there(a, a->task ? HOP_TEAM : here, fuel);
        }
        break;
    default:
        kept = here == HOP_BLOCKING || reserve_lane();
        hop_on_blocking {
            rc = play_there(a, a->task && here != HOP_TEAM ? HOP_BLOCKING : here, kept ? fuel : 0);
        }
        if (here != HOP_BLOCKING && kept)
            release_lane();
        break;
    }
    claim_eq(hop_here(), here);
    return rc;
}

/* --- time --- */

int scene_sleep(struct actor *a)
{
    hop_ns ns = pick(a, 4) ? pick(a, 300) * HOP_US : -pick(a, 2), before = hop_now();
    int rc = hop_sleep(ns);

    if (rc == 0)
        claim(hop_now() >= before + ns);
    return (int)heard(a, rc);
}

/* Plays under a deadline, which ends early only what it should: the deadline itself is no reason to stop after it. */
int scene_within(struct actor *a)
{
    hop_ns ns = pick(a, 8) ? pick(a, 2000) * HOP_US : -1, saved = a->deadline, mine = hop_now() + ns;
    int fuel = share(a, 2), left = a->fuel;

    hop_within(ns) {
        if (a->task && mine < a->deadline)
            a->deadline = mine;
        a->fuel = fuel;
        if (play(a) == 0 && ns < 0 && a->task)
            claim(hop_cancelled() < 0);
        a->fuel = left;
    }
    a->deadline = saved;
    return interrupted(a);
}

/* Plays where neither cancellation nor the deadlines around are seen. */
int scene_shield(struct actor *a)
{
    hop_ns ns = pick(a, 3000) * HOP_US, saved = a->deadline, mine = hop_now() + ns;
    int fuel = share(a, 3), left = a->fuel;

    hop_shield(ns) {
        a->shield += a->task;
        a->deadline = a->task ? mine : saved;
        a->fuel = fuel;
        play(a);
        a->fuel = left;
        a->shield -= a->task;
    }
    a->deadline = saved;
    return interrupted(a);
}

/* --- where one may not wait --- */

int scene_refused(struct actor *a)
{
    hop_future empty = HOP_FUTURE_INIT;
    hop_channel *c;
    hop_scope scope;
    hop_case cases[2];
    char byte;

    claim_eq(hop_await(&empty), -EWOULDBLOCK);
    claim_eq(hop_sleep(HOP_MS), -EWOULDBLOCK);
    claim_eq(hop_scope_open(&scope), -EWOULDBLOCK);
    claim_eq(hop_read(0, &byte, 1), -EWOULDBLOCK);
    claim_eq(hop_channel_new(&c, 1, 0), 0);
    cases[0] = hop_on_recv(c, &byte);
    cases[1] = hop_on_future(&empty);
    claim_eq(hop_channel_send(c, "x"), -EWOULDBLOCK);
    claim_eq(hop_select(cases, 2), -EWOULDBLOCK);
    claim_eq(hop_complete(&empty, 7), 0);
    claim_eq(hop_select(cases, 2), 1);
    claim_eq(cases[1].result, 7);
    claim_eq(hop_await(&empty), 7);
    claim_eq(hop_channel_free(c), 0);
    return interrupted(a);
}

/* --- another runtime --- */

struct letter {
    hop_future answer;
    uint64_t input, output;
    int runtime;
};

static int answer(void *arg)
{
    struct letter *l = arg;

    l->output = work_out(l->input);
    claim_eq(hop_complete(&l->answer, 0), 0); /* the letter can be gone */
    return 0;
}

/* A task or a job in the root of some runtime, the own or the other one; the answer comes by a future. */
int scene_abroad(struct actor *a)
{
    struct letter l = { .input = draw(a), .runtime = pick(a, storm.nruntimes) };
    hop_scope *root;
    int rc = 0;

    if (!storm.calm || !storm.runtimes[0])
        return interrupted(a);
    root = hop_root(storm.runtimes[l.runtime]);
    claim(root);
    doing(a, "waiting for an answer from abroad");
    hop_shield(3600 * HOP_SEC) { /* it is not to inherit a deadline */
        rc = chance(a, 50) ? hop_spawn(root, answer, &l, NULL) : hop_submit(root, NULL, answer, &l);
    }
    if (rc == -ESHUTDOWN && atomic_load(&storm.draining))
        return interrupted(a);
    claim_eq(rc, 0);
    await_surely(a, &l.answer);
    claim_eq(l.output, work_out(l.input));
    return interrupted(a);
}

/* --- the scenes --- */

static const struct scene {
    const char *name;
    int (*play)(struct actor *a);
    int where, cost, depth; /* depth: the deepest that it is played at */
} scenes[] = {
    { "family", scene_family, WAITS, 4, 5 },
    { "family", scene_family, WAITS, 4, 5 },
    { "chain", scene_chain, WAITS, 3, 5 },
    { "kinsmen", scene_kinsmen, TASKS | IN_JOB | IN_TEAM, 2, 5 },
    { "root", scene_root, WAITS, 2, 5 },
    { "market", scene_market, WAITS, 6, 4 },
    { "promises", scene_promises, WAITS, 4, 5 },
    { "stream", scene_stream, WAITS, 5, 4 },
    { "rupture", scene_rupture, WAITS, 4, 5 },
    { "visitors", scene_visitors, WAITS, 8, 3 },
    { "file", scene_file, WAITS, 2, 9 },
    { "offload", scene_offload, EVERYWHERE, 1, 9 },
    { "join", scene_join, EVERYWHERE, 2, 9 },
    { "fork", scene_fork, EVERYWHERE, 2, 9 },
    { "loop", scene_loop, EVERYWHERE, 2, 9 },
    { "reduce", scene_reduce, EVERYWHERE, 2, 9 },
    { "pipeline", scene_pipeline, TASKS, 4, 5 },
    { "hop", scene_hop, EVERYWHERE, 1, 9 },
    { "sleep", scene_sleep, WAITS, 1, 99 },
    { "within", scene_within, EVERYWHERE, 1, 9 },
    { "shield", scene_shield, EVERYWHERE, 1, 9 },
    { "refused", scene_refused, IN_JOB | IN_TEAM, 1, 99 },
    { "look", scene_look, EVERYWHERE, 1, 99 },
    { "abroad", scene_abroad, WAITS, 1, 99 },
};

enum { SCENES = sizeof scenes / sizeof *scenes };

_Static_assert((int)SCENES <= (int)SCENES_MAX, "more scenes than weights");

#ifdef __SANITIZE_THREAD__
static const bool races_of_descriptors_are_told = true;
#else
static const bool races_of_descriptors_are_told = false;
#endif

/*
 * A seed leaves some scenes out and prefers others, so that seeds differ in more than their order. The thread sanitizer
 * counts a descriptor as memory: it does not like late-comers to one that is being closed.
 */
void choose_weights(struct actor *a)
{
    const char *only = getenv("HOP_STORM_ONLY");
    int i;

    for (i = 0; i < SCENES; i++)
        storm.weights[i] = chance(a, 35) ? 0 : 1 + pick(a, 8);
    for (i = 0; i < SCENES; i++)
        if ((races_of_descriptors_are_told && scenes[i].play == scene_rupture) ||
            (only && !strstr(only, scenes[i].name)))
            storm.weights[i] = 0;
}

static const struct scene *choose_scene(struct actor *a)
{
    int i, total = 0, at;

    for (i = 0; i < SCENES; i++)
        if (scenes[i].where & 1 << a->place && scenes[i].depth >= a->depth)
            total += storm.weights[i];
    if (!total)
        return NULL;
    at = pick(a, total);
    for (i = 0;; i++)
        if (scenes[i].where & 1 << a->place && scenes[i].depth >= a->depth && (at -= storm.weights[i]) < 0)
            return &scenes[i];
}

int play(struct actor *a)
{
    const struct scene *s;
    int rc = 0;

    a->depth++;
    while (a->fuel > 0 && rc >= 0 && (s = choose_scene(a))) {
        a->fuel -= s->cost;
        doing(a, s->name);
        rc = s->play(a);
        claim_eq(hop_here(), a->place);
        gust(a);
    }
    a->depth--;
    return rc;
}
