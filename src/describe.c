/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a runtime found and decided, in words and in numbers.
 */
#include "config.h"

#include <hop.h>

#include <event2/event.h>
#include <link.h>
#include <string.h>

#include "async/blocking.h"
#include "async/loop.h"
#include "compute/pool.h"
#include "house.h"

/* --- numbers --- */

static void add_workers(struct hop__pool *pool, hop_stats *s)
{
    int i;

    s->jobs_accepted = hop__load(&pool->accepted, relaxed);
    s->team_turns = hop__load(&pool->team_turns, relaxed);
    s->workers = pool->nworkers;
    s->workers_active = hop__load(&pool->active, relaxed);
    for (i = 0; i < pool->nworkers; i++) {
        s->jobs_completed += hop__load(&pool->workers[i].jobs, relaxed);
        s->steals += hop__load(&pool->workers[i].steals, relaxed);
        s->parks += hop__load(&pool->workers[i].parks, relaxed);
    }
}

int hop_stats_read(hop_stats *out)
{
    struct hop_runtime *rt;
    struct hop__house *h;
    int i;

    if (!out)
        return -EINVAL;
    rt = hop__runtime_acquire(NULL);
    if (!rt)
        return -ENODEV;
    h = hop__house_of(rt);
    memset(out, 0, sizeof *out);
    add_workers(h->pool, out);
    for (i = 0; i < rt->nloops; i++) {
        out->loop_turns += hop__load(&h->loops[i]->turns, relaxed);
        out->loop_moderated += hop__load(&h->loops[i]->moderated, relaxed);
    }
    out->tasks_spawned = hop__load(&rt->tasks_spawned, relaxed);
    out->tasks_ended = hop__load(&rt->tasks_ended, relaxed);
    out->blocking_threads = hop__lane_threads(h->lane);
    hop__runtime_release(rt);
    return 0;
}

int hop_worker_index(void)
{
    struct hop__worker *w = hop__self()->worker;

    return w ? w->id : -1;
}

int hop_worker_count(void)
{
    struct hop_runtime *rt = hop__runtime_acquire(NULL);
    int n;

    if (!rt)
        return 0;
    n = hop__house_of(rt)->pool->nworkers;
    hop__runtime_release(rt);
    return n;
}

/* --- words --- */

/* Several OpenMP runtimes in one process do not know of each other; say which there are. */
static int note_openmp(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char *slash = strrchr(info->dlpi_name, '/'), *name = slash ? slash + 1 : info->dlpi_name;
    FILE *out = arg;

    (void)size;
    if (strstr(name, "libgomp") || strstr(name, "libomp") || strstr(name, "libiomp"))
        fprintf(out, " %s", name);
    return 0;
}

static void describe_openmp(FILE *out)
{
    fprintf(out, "OpenMP:");
    dl_iterate_phdr(note_openmp, out);
    fputc('\n', out);
}

static void describe_runtime(struct hop__house *h, FILE *out)
{
    const struct hop_runtime *rt = &h->runtime;
    const hop_config *c = &rt->config;

    hop__pool_describe(h->pool, out);
    fprintf(out, "loops: %d%s, libevent %s with %s\n", rt->nloops,
            c->base ? ", the first attached to a base of yours" : "", event_get_version(),
            event_base_get_method(h->loops[0]->base));
    if (c->moderate_ns > 0 && h->pool->qos != HOP__QOS_OFF)
        fprintf(out, "moderation: a turn each %lld us while every core computes\n",
                (long long)(c->moderate_ns / HOP_US));
    else
        fprintf(out, "moderation: off\n");
    fprintf(out, "spinning: %s\n",
            c->no_spin ? "off (asked for, or more threads than CPUs)" : "at most as long as a wake-up costs");
    fprintf(out, "blocking lane: at most %d threads\n", c->blocking_threads);
    fprintf(out, "stacks: %zu KiB each, guarded by %s\n", c->stack_bytes / 1024, hop__stack_guard_kind());
}

/* Without a runtime: what one would find. */
static int describe_machine(FILE *out)
{
    struct hop__topology *t;
    struct hop__budget budget = { 0 };
    int rc = hop__topology_open(&t);

    if (rc < 0)
        return rc;
    hop__topology_describe(t, out);
    hop__budget_read(&budget, hop__topology_cpus(t), "");
    fprintf(out, "budget: %d of %d CPUs, %s\n", budget.width, budget.cpus, budget.source);
    hop__topology_close(t);
    fprintf(out, "runtime: none yet\n");
    return 0;
}

int hop_describe(FILE *out)
{
    struct hop_runtime *rt;
    int rc = 0;

    if (!out)
        return -EINVAL;
    fprintf(out, "hop %d.%d.%d\n", HOP_VERSION_MAJOR, HOP_VERSION_MINOR, HOP_VERSION_PATCH);
    rt = hop__runtime_acquire(NULL);
    if (rt) {
        describe_runtime(hop__house_of(rt), out);
        hop__runtime_release(rt);
    } else {
        rc = describe_machine(out);
    }
    describe_openmp(out);
    return rc < 0 ? rc : fflush(out) || ferror(out) ? -EIO : 0;
}
