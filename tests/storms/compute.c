/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenes that compute: jobs there and back, forks and joins, loops, reductions, pipelines. All results are known.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <hop/fork.h>

#include "storm.h"

/* --- hop_offload --- */

struct errand {
    struct actor actor;
    uint64_t input, output;
    int ran, code;
};

static int run_errand(void *arg)
{
    struct errand *e = arg;
    struct actor *a = &e->actor;

    a->place = hop_here();
    claim(a->place == HOP_JOB || a->place == HOP_TEAM);
    actor_enter(a);
    e->ran++;
    e->output = work_out(e->input);
    play(a);
    actor_leave(a);
    return e->code;
}

int scene_offload(struct actor *a)
{
    struct errand e = { .actor = actor_from(a, "an errand", share(a, 3)), .input = draw(a), .code = pick(a, 100) };
    hop_runtime *elsewhere = storm.runtimes[pick(a, storm.nruntimes)];
    int how = pick(a, 3), rc;

    e.actor.ring = a->ring;
    e.actor.deadline = a->deadline;
    e.actor.shield = a->shield;
    e.actor.depth++;
    doing(a, "in hop_offload");
    if (a->place == HOP_OUTSIDE && elsewhere && how == 2) {
        e.actor.ring = NULL;
        rc = hop_offload_with(run_errand, &e, HOP_OFFLOAD(.runtime = elsewhere));
    } else {
        rc = how ? hop_offload_with(run_errand, &e, HOP_OFFLOAD(.place = how - 1 ? HOP_POOL : HOP_ANYWHERE))
                 : hop_offload(run_errand, &e);
    }
    if (!e.ran) {
        claim(rc < 0);
        return (int)heard(a, rc);
    }
    claim_eq(e.ran, 1);
    claim_eq(rc, e.code);
    claim_eq(e.output, work_out(e.input));
    return interrupted(a);
}

/* --- hop_join: a lopsided tree over a range --- */

struct branch {
    const uint32_t *values;
    size_t lo, hi, bad; /* bad: the index of a leaf that fails */
    uint64_t seed, sum;
};

static int climb(void *arg)
{
    struct branch *b = arg, left = *b, right = *b;
    size_t i, n = b->hi - b->lo;
    int rc;

    if (n <= 4) {
        for (i = b->lo; i < b->hi; i++)
            b->sum += b->values[i];
        return b->bad >= b->lo && b->bad < b->hi ? -7000 - (int)b->bad : 0;
    }
    left.seed = work_out(b->seed);
    right.seed = ~left.seed;
    left.hi = right.lo = b->lo + 1 + left.seed % (n - 1);
    rc = hop_join(climb, &left, climb, &right);
    b->sum = left.sum + right.sum;
    return rc;
}

static uint32_t *some_values(struct actor *a, size_t n)
{
    uint32_t *values = malloc(n * sizeof *values);
    size_t i;

    claim(values);
    for (i = 0; i < n; i++)
        values[i] = (uint32_t)draw(a) % 1000;
    return values;
}

int scene_join(struct actor *a)
{
    size_t n = 5 + (size_t)pick(a, chance(a, 20) ? 20000 : 200), i;
    bool fails = chance(a, 10);
    uint32_t *values = some_values(a, n);
    struct branch b = { values, 0, n, fails ? (size_t)pick(a, (int)n) : n, draw(a), 0 };
    uint64_t sum = 0;
    int rc;

    doing(a, "in hop_join");
    rc = hop_join(climb, &b, climb, &(struct branch){ values, 0, 1, n, 0, 0 });
    for (i = 0; i < n; i++)
        sum += values[i];
    free(values);
    if (rc == 0) {
        claim(!fails);
        claim_eq(b.sum, sum);
    } else if (rc != -7000 - (int)b.bad || !fails) {
        return (int)heard(a, rc);
    }
    return interrupted(a);
}

/* --- hop_fork: the same tree without a call --- */

struct twig {
    hop_half half;
    struct branch branch;
};

static uint64_t climb_forking(hop_worker *worker, const struct branch *b);

static void climb_right(hop_worker *worker, hop_half *half)
{
    struct twig *t = (struct twig *)half;

    t->branch.sum = climb_forking(worker, &t->branch);
}

static uint64_t climb_forking(hop_worker *worker, const struct branch *b)
{
    struct branch left = *b;
    struct twig right = { .branch = *b };
    hop_forked forked;

    if (b->hi - b->lo == 1)
        return b->values[b->lo];
    left.seed = work_out(b->seed);
    right.branch.seed = ~left.seed;
    left.hi = right.branch.lo = b->lo + 1 + left.seed % (b->hi - b->lo - 1);
    forked = hop_fork(worker, &right.half, climb_right);
    left.sum = climb_forking(worker, &left);
    if (hop_take_back(worker, forked))
        return left.sum + climb_forking(worker, &right.branch);
    hop_join_half(worker, &right.half);
    return left.sum + right.branch.sum;
}

static int climb_as_worker(hop_worker *worker, void *arg)
{
    struct branch *b = arg;

    b->sum = climb_forking(worker, b);
    return 17;
}

int scene_fork(struct actor *a)
{
    size_t n = 2 + (size_t)pick(a, chance(a, 20) ? 20000 : 200), i;
    uint32_t *values = some_values(a, n);
    struct branch b = { values, 0, n, n, draw(a), 0 };
    uint64_t sum = 0;
    int rc;

    doing(a, "in hop_with_worker");
    rc = hop_with_worker(climb_as_worker, &b);
    for (i = 0; i < n; i++)
        sum += values[i];
    free(values);
    if (rc < 0)
        return (int)heard(a, rc);
    claim_eq(rc, 17);
    claim_eq(b.sum, sum);
    return interrupted(a);
}

/* --- hop_parallel_for: every index once --- */

struct sweep {
    unsigned char *seen;
    size_t lo, hi, bad;
    bool nested;
};

static int count_up(size_t lo, size_t hi, void *arg)
{
    unsigned char *seen = arg;

    while (lo < hi)
        seen[lo++]++;
    return 0;
}

static int sweep_chunk(size_t lo, size_t hi, void *arg)
{
    struct sweep *s = arg;
    size_t i;
    int rc;

    claim(lo >= s->lo && lo < hi && hi <= s->hi);
    if (lo % 64 == 0)
        claim_eq(hop_sleep(1), -EWOULDBLOCK);
    if (s->nested && hi - lo > 1) {
        rc = hop_parallel_for(lo - s->lo, hi - s->lo, count_up, s->seen, NULL);
        if (rc < 0)
            return rc;
    } else {
        for (i = lo; i < hi; i++)
            s->seen[i - s->lo]++;
    }
    return s->bad >= lo && s->bad < hi ? -6000 : 0;
}

int scene_loop(struct actor *a)
{
    static const size_t lengths[] = { 1, 2, 7, 64, 1000, 1000, 20000 };
    size_t n = 1 + draw(a) % lengths[pick(a, 7)], i, lo = draw(a) % 1000;
    bool fails = chance(a, 10), options = chance(a, 60);
    struct sweep s = { calloc(n, 1), lo, lo + n, fails ? lo + draw(a) % n : SIZE_MAX, chance(a, 30) };
    hop_par_options o = { sizeof o, (size_t)pick(a, 40), pick(a, 6) };
    bool whole = true;
    int rc;

    claim(s.seen);
    doing(a, "in hop_parallel_for");
    rc = hop_parallel_for(s.lo, s.hi, sweep_chunk, &s, options ? &o : NULL);
    for (i = 0; i < n; i++) {
        claim(s.seen[i] <= 1);
        whole = whole && s.seen[i];
    }
    free(s.seen);
    if (rc >= 0)
        claim(rc == 0 && whole && !fails);
    else if (rc != -6000 || !fails)
        return (int)heard(a, rc);
    return interrupted(a);
}

/* --- hop_parallel_reduce: functions x -> m * x + c, whose order matters --- */

struct affine {
    uint64_t m, c;
    unsigned char ballast[1 << 10]; /* only so much of it as asked */
};

static struct affine one_map(uint64_t i)
{
    return (struct affine){ .m = 2 * work_out(i) + 1, .c = i * i + 5 };
}

static void then(struct affine *first, uint64_t m, uint64_t c)
{
    first->c = m * first->c + c;
    first->m *= m;
}

static int fold_maps(size_t lo, size_t hi, void *into, void *arg)
{
    struct affine next;

    for (; lo < hi; lo++) {
        next = one_map(lo);
        then(into, next.m, next.c);
    }
    return arg ? hop_int(arg) : 0;
}

static void combine_maps(void *into, const void *from, void *arg)
{
    const struct affine *next = from;

    (void)arg;
    then(into, next->m, next->c);
}

int scene_reduce(struct actor *a)
{
    size_t n = (size_t)pick(a, chance(a, 20) ? 3000 : 200), lo = draw(a) % 100;
    struct affine result = { .m = 1 }, expected = { .m = 1 };
    size_t bytes = chance(a, 30) ? sizeof result : 2 * sizeof(uint64_t);
    int fails = chance(a, 8) && n ? -8000 : 0, rc;
    hop_par_options o = { sizeof o, (size_t)pick(a, 20), pick(a, 6) };

    doing(a, "in hop_parallel_reduce");
    rc = hop_parallel_reduce(lo, lo + n, fold_maps, combine_maps, hop_ptr(fails), &result, bytes,
                             chance(a, 50) ? &o : NULL);
    if (rc < 0)
        claim(result.m == 1 && result.c == 0);
    if (rc < 0 && rc == fails)
        return interrupted(a);
    if (rc < 0)
        return (int)heard(a, rc);
    claim(!fails);
    fold_maps(lo, lo + n, &expected, NULL);
    claim_eq(result.m, expected.m);
    claim_eq(result.c, expected.c);
    return interrupted(a);
}

/* --- hop_pipeline --- */

struct lot {
    uint64_t number, value;
    int stages;
};

struct line {
    uint64_t items, next[4]; /* of each serial stage */
    uint64_t sum;
    uint64_t bad;            /* the item whose parallel stage fails */
    int waits;               /* in hundred, of the serial stages */
};

static int line_source(void *slot, void *arg)
{
    struct line *l = arg;
    struct lot *lot = slot;

    if (l->next[0] == l->items)
        return 0;
    *lot = (struct lot){ l->next[0], work_out(l->next[0]), 1 };
    l->next[0]++;
    return 1;
}

static int line_compute(void *slot, void *arg)
{
    struct line *l = arg;
    struct lot *lot = slot;

    claim_eq(lot->stages++, 1);
    lot->value = work_out(lot->value);
    return lot->number == l->bad ? -9000 : 0;
}

static int line_serial(struct line *l, struct lot *lot, int stage)
{
    int rc = 0;

    claim_eq(lot->number, l->next[stage]++);
    if ((int)(lot->value % 100) < l->waits)
        rc = lot->value % 3 ? hop_yield() : hop_sleep((hop_ns)(lot->value % 50000));
    return rc;
}

static int line_middle(void *slot, void *arg)
{
    struct lot *lot = slot;

    claim_eq(lot->stages++, 2);
    return line_serial(arg, slot, 1);
}

static int line_end(void *slot, void *arg)
{
    struct line *l = arg;
    struct lot *lot = slot;

    l->sum += lot->value;
    return line_serial(l, lot, 2);
}

int scene_pipeline(struct actor *a)
{
    static const hop_stage stages[] = {
        { line_source, HOP_SERIAL, "source" }, { line_compute, HOP_PARALLEL, NULL },
        { line_middle, HOP_SERIAL, "middle" }, { line_end, HOP_SERIAL, "end" }
    };
    struct lot slots[7];
    struct line l = { .items = (uint64_t)pick(a, 60), .bad = UINT64_MAX, .waits = pick(a, 50) };
    uint64_t i, sum = 0;
    int rc;

    if (chance(a, 15))
        l.bad = (uint64_t)pick(a, 60);
    doing(a, "in hop_pipeline");
    rc = hop_pipeline(stages, 4, slots, 1 + (size_t)pick(a, 7), sizeof *slots, &l);
    for (i = 0; i < l.items; i++)
        sum += work_out(work_out(i));
    if (rc >= 0) {
        claim(l.bad >= l.items);
        claim_eq(l.sum, sum);
        claim_eq(l.next[2], l.items);
    } else if (rc != -9000 || l.bad >= l.items) {
        return (int)heard(a, rc);
    }
    return interrupted(a);
}
