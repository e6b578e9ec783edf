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
 * small and the last one is short.
 */
#include "config.h"

#include <hop/parallel.h>

#include <stdlib.h>

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

/* At most want units from the front of the own range: their number, from *begin on. */
static uint32_t take(struct slot *s, uint32_t want, uint32_t *begin)
{
    uint64_t range = hop__load(&s->range, relaxed);
    uint32_t n;

    do {
        *begin = range_begin(range);
        n = range_end(range) - *begin;
        if (!n)
            return 0;
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
static uint32_t tune(uint32_t chunk, hop_ns took)
{
    if (took > 4 * chunk_time)
        return chunk > 1 ? chunk / 2 : 1;
    if (took < chunk_time && chunk < UINT32_MAX / 8)
        return took * 8 < chunk_time ? chunk * 8 : chunk * 2;
    return chunk;
}

static void participate(struct loop *l, int me)
{
    uint32_t begin, n, chunk = 1;
    hop_ns before = hop__now(), now;
    int rc;

    do {
        while (!stopped(l) && (n = take(&l->slots[me], chunk, &begin))) {
            rc = run_chunk(l, begin, n);
            hop__check_returned(&hop__thread_self);
            if (rc < 0)
                stop(l, rc);
            now = hop__now();
            if (n == chunk || now - before > chunk_time)
                chunk = tune(n, now - before);
            before = now;
        }
    } while (!hop__load(&l->error, relaxed) && steal_half(l, me));
}

static int invited(void *arg);

/* Works in slot me, with an invitation out for the next. */
static void work(struct loop *l, int me)
{
    struct hop__worker *w = hop__thread_self.worker;
    struct hop__job invitation;

    if (me + 1 >= l->width || !w || !hop__fork(w, &invitation, invited, l, l->cancel)) {
        participate(l, me);
        return;
    }
    participate(l, me);
    if (!hop__fork_take_back(w))
        hop__join_stolen(w, &invitation);
}

static int invited(void *arg)
{
    struct loop *l = arg;
    int me = hop__fetch_add(&l->joined, 1, relaxed);

    if (!hop__load(&l->error, relaxed) && steal_half(l, me))
        work(l, me);
    return 0;
}

struct call {
    size_t lo, hi;
    hop_range_fn *body;
    void *arg;
    size_t grain;
    int width;
};

/* As a job, on a worker (or alone, in team mode). */
static int run_loop(void *arg)
{
    const struct call *c = arg;
    struct hop__thread *self = hop__self();
    int workers = self->worker ? self->worker->pool->nworkers : 1;
    int width = c->width > 0 && c->width < workers ? c->width : workers;
    size_t n = c->hi - c->lo, unit = c->grain ? c->grain : 1;
    struct loop l = { .body = c->body, .arg = c->arg, .lo = c->lo, .hi = c->hi, .cancel = self->cancel };
    struct slot few[FEW] __attribute__((aligned(64))), *many = NULL;
    int i;

    if (n / unit >= INT32_MAX)
        unit = n / INT32_MAX + 1;
    l.unit = unit;
    l.units = (uint32_t)((n - 1) / unit + 1);
    if (l.units < (uint32_t)width)
        width = (int)l.units;
    if (width > FEW && !(many = aligned_alloc(sizeof(struct slot), (size_t)width * sizeof(struct slot))))
        width = FEW;
    l.width = width;
    l.slots = many ? many : few;
    hop__init(&l.slots[0].range, range_of(0, l.units));
    for (i = 1; i < width; i++)
        hop__init(&l.slots[i].range, 0);
    hop__init(&l.joined, 1);
    hop__init(&l.error, 0);
    work(&l, 0);
    free(many);
    return hop__load(&l.error, relaxed);
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
