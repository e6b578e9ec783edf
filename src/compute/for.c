/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parallel loops. Not a tree of tasks: each participant owns a range, packed in one word, takes chunks from its front,
 * and when it is empty steals the back half of another's with one CAS.
 *
 * Participants come by invitation: the caller forks one that invites the next when it finds something to do, so a loop
 * that is over quickly cost one push and one pop. An invitation that nobody took is taken back and forgotten.
 *
 * A range word holds units (a unit is the grain, or more where there would be too many): begin in the lower half, end
 * in the upper. A non-empty word never comes back once it has changed, because its units are done in between: so a
 * CAS cannot be fooled. Relaxed order is enough for it: only indices change hands. The caller's data reaches a
 * participant with his invitation, and his results reach the caller with the join.
 *
 * Chunks grow while they are quicker than chunk_time and shrink when they are slower, so that the cost of taking one is
 * small and the last one is short. A loop that was always short so far is run by its caller alone.
 */
#include "config.h"

#include <hop/parallel.h>

#include <stdlib.h>

#include "bridge/boundary.h"
#include "bridge/offload.h"
#include "bridge/orphan.h"
#include "compute/join.h"

enum { FEW = 64 }; /* slots that fit in the frame */

static const hop_ns chunk_time = 10 * HOP_US;

struct slot {
    hop__atomic(uint64_t) range;
    char pad[64 - sizeof(uint64_t)];
};

struct loop {
    hop_range_fn *body;
    void *arg;
    size_t lo, hi, unit;
    uint32_t units;
    int width;
    const struct hop__cancel *cancel;
    struct hop__cost *cost; /* of the body, on the caller's worker */
    struct slot *slots;
    hop__atomic(int) joined __attribute__((aligned(HOP__CACHE_LINE))); /* slots given out */
    hop__atomic(int) error; /* the first; also tells the others to stop */
};

static uint64_t range_of(uint32_t begin, uint32_t end)
{
    return (uint64_t)end << 32 | begin;
}

static uint32_t range_begin(uint64_t range)
{
    return (uint32_t)range;
}

static uint32_t range_end(uint64_t range)
{
    return (uint32_t)(range >> 32);
}

static void stop(struct loop *l, int error)
{
    int none = 0;

    hop__cas(&l->error, &none, error, relaxed, relaxed);
}

static bool stopped(struct loop *l)
{
    int reason;

    if (hop__load(&l->error, relaxed))
        return true;
    reason = hop__cancel_check(l->cancel);
    if (reason)
        stop(l, reason);
    return reason != 0;
}

/*
 * At most want units from the front of the own range: their number, from *begin on. Half of what is there stays for
 * thieves: what comes next may be dearer than all before.
 */
static uint32_t take(struct slot *s, uint32_t want, uint32_t *begin)
{
    uint64_t range = hop__load(&s->range, relaxed);
    uint32_t n;

    do {
        *begin = range_begin(range);
        n = range_end(range) - *begin;
        if (!n)
            return 0;
        n -= n / 2;
        if (n > want)
            n = want;
    } while (!hop__cas_weak(&s->range, &range, range_of(*begin + n, range_end(range)), relaxed, relaxed));
    return n;
}

/* The back half of somebody's range becomes ours. */
static bool steal_half(struct loop *l, int me)
{
    int i, n = hop__load(&l->joined, relaxed);

    if (n > l->width)
        n = l->width;
    for (i = 1; i < n; i++) {
        struct slot *victim = &l->slots[(me + i) % n];
        uint64_t range = hop__load(&victim->range, relaxed);

        while (range_end(range) != range_begin(range)) {
            uint32_t begin = range_begin(range), end = range_end(range), middle = begin + (end - begin) / 2;

            if (hop__cas_weak(&victim->range, &range, range_of(begin, middle), relaxed, relaxed)) {
                hop__store(&l->slots[me].range, range_of(middle, end), relaxed);
                return true;
            }
        }
    }
    return false;
}

static int run_chunk(struct loop *l, uint32_t begin, uint32_t n)
{
    size_t from = l->lo + begin * l->unit, left = l->hi - from, span = n * l->unit;

    return l->body(from, span > left ? l->hi : from + span, l->arg);
}

/* The next chunk's size, from what this one took. */
static uint32_t tune(uint32_t chunk, uint64_t took)
{
    uint64_t aim = hop__ticks_in(chunk_time);

    if (took > 4 * aim)
        return (uint32_t)(chunk * aim / took) + 1;
    if (took < aim && chunk < UINT32_MAX / 8)
        return took * 8 < aim ? chunk * 8 : chunk * 2;
    return chunk;
}

/* Remembers what an iteration of the body costs, in 1/256 ticks. */
static void remember(struct loop *l, uint64_t iterations, uint64_t took)
{
    if (l->cost && iterations)
        l->cost->ticks = (took << 8) / iterations + 1;
}

static void participate(struct loop *l, int me)
{
    uint32_t begin, n, chunk = 1;
    uint64_t before = hop__ticks(), now, took, done = 0, spent = 0;
    struct hop__thread *self = hop__self();
    int rc;

    HOP__BOUNDARY();
    do {
        while (!stopped(l) && (n = take(&l->slots[me], chunk, &begin))) {
            rc = run_chunk(l, begin, n);
            hop__check_returned(self);
            if (rc < 0)
                stop(l, rc);
            now = hop__ticks();
            took = hop__span(before, now);
            if (n == chunk || took > hop__ticks_in(chunk_time))
                chunk = tune(n, took);
            before = self->worker && hop__worker_keep_pace(self->worker) ? hop__ticks() : now;
            done += n;
            spent += took;
        }
    } while (!hop__load(&l->error, relaxed) && steal_half(l, me));
    if (!me)
        remember(l, done * l->unit, spent);
}

/* --- invitations --- */

struct invitation {
    hop_half half;
    struct loop *loop;
};

static void join_in(hop_worker *worker, hop_half *half);

/* Works in slot me, with an invitation out for the next. */
static void work(hop_worker *worker, struct loop *l, int me)
{
    struct invitation next;
    hop_forked forked;

    if (me + 1 >= l->width) {
        participate(l, me);
        return;
    }
    next.loop = l;
    forked = hop_fork(worker, &next.half, join_in);
    participate(l, me);
    if (!hop_take_back(worker, forked))
        hop_join_half(worker, &next.half);
}

static void join_in(hop_worker *worker, hop_half *half)
{
    struct loop *l = ((struct invitation *)half)->loop;
    int me = hop__fetch_add(&l->joined, 1, relaxed);

    if (!hop__load(&l->error, relaxed) && steal_half(l, me))
        work(worker, l, me);
}

/* --- the call --- */

struct call {
    size_t lo, hi;
    hop_range_fn *body;
    void *arg;
    size_t grain;
    int width;
};

/* The whole range by participants. */
static int run_shared(struct loop *l, int width)
{
    struct slot few[FEW] __attribute__((aligned(64))), *many = NULL;
    size_t n = l->hi - l->lo;
    int i;

    if (n / l->unit >= INT32_MAX)
        l->unit = n / INT32_MAX + 1;
    l->units = (uint32_t)((n - 1) / l->unit + 1);
    if (l->units < (uint32_t)width)
        width = (int)l->units;
    if (width > FEW && !(many = aligned_alloc(sizeof(struct slot), (size_t)width * sizeof(struct slot))))
        width = FEW;
    l->width = width;
    l->slots = many ? many : few;
    hop__init(&l->slots[0].range, range_of(0, l->units));
    for (i = 1; i < width; i++)
        hop__init(&l->slots[i].range, 0);
    hop__init(&l->joined, 1);
    hop__init(&l->error, 0);
    work(hop__forker(), l, 0);
    free(many);
    return hop__load(&l->error, relaxed);
}

/*
 * A loop that would be over before another worker were awake is done here, without asking anybody. What is known of
 * the body may be wrong this time: so an eighth of the range is tried first, and if that is slow the rest is shared.
 */
static int run_short(struct loop *l, int width, uint64_t expected)
{
    size_t hi = l->hi, n = hi - l->lo, first = n / 8 > l->unit ? n / 8 : n;
    uint64_t start = hop__ticks(), took;
    int rc;

    HOP__BOUNDARY();
    rc = l->body(l->lo, l->lo + first, l->arg);
    hop__check_returned(&hop__thread_self);
    took = hop__span(start, hop__ticks());
    l->lo += first;
    if (rc < 0 || l->lo == hi) {
        remember(l, first, took);
        return rc < 0 ? rc : 0;
    }
    if (took > expected) {
        rc = hop__cancel_check(l->cancel);
        return rc < 0 ? rc : run_shared(l, width);
    }
    rc = l->body(l->lo, hi, l->arg);
    hop__check_returned(&hop__thread_self);
    remember(l, n, hop__span(start, hop__ticks()));
    return rc < 0 ? rc : 0;
}

/* As a job, on a worker (or alone, in team mode). */
static int run_loop(void *arg)
{
    const struct call *c = arg;
    struct hop__worker *w = hop__thread_self.worker;
    int workers = w ? w->pool->nworkers : 1;
    int width = c->width > 0 && c->width < workers ? c->width : workers;
    size_t n = c->hi - c->lo;
    struct loop l = {
        .body = c->body, .arg = c->arg, .lo = c->lo, .hi = c->hi, .unit = c->grain ? c->grain : 1,
        .cancel = hop__load(&hop__thread_self.cancel, relaxed),
        .cost = w ? hop__cost_of(&w->costs, (uintptr_t)c->body) : NULL,
    };
    uint64_t each = l.cost ? l.cost->ticks : 0;
    int rc = hop__cancel_check(l.cancel);

    hop__thread_self.as_worker = true;
    if (rc < 0)
        return rc;
    return each && n < (hop__wake_ticks << 8) / each ? run_short(&l, width, (n * each) >> 8) : run_shared(&l, width);
}

int hop_parallel_for(size_t lo, size_t hi, hop_range_fn *body, void *arg, const hop_par_options *options)
{
    struct hop__thread *self = hop__self();
    struct call call = { lo, hi, body, arg, options ? options->grain : 0, options ? options->width : 0 };

    if (!body || hi < lo || (options && (options->size != sizeof *options || options->width < 0)))
        return -EINVAL;
    if (lo == hi)
        return 0;
    if (hop__computes_here(self))
        return self->task ? hop__job_call(run_loop, &call) : run_loop(&call);
    return hop__run_on_pool(run_loop, &call, NULL);
}
