/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a runtime found and decided, in words and in numbers.
 */
#include "config.h"

#include <hop.h>

#include <dlfcn.h>
#include <event2/event.h>
#include <link.h>
#include <string.h>

#include "async/blocking.h"
#include "async/loop.h"
#include "bridge/orphan.h"
#include "compute/pool.h"
#include "house.h"

/* --- numbers --- */

static void add_workers(struct hop__pool *pool, hop_stats *s)
{
    int i;

    s->jobs_accepted = hop__load(&pool->ring.tail, relaxed) + (uint64_t)hop__load(&pool->overflow, relaxed);
    s->team_turns = hop__load(&pool->team_turns, relaxed);
    s->workers = pool->nworkers;
    s->workers_active = hop__load(&pool->active, relaxed);
    for (i = 0; i < pool->nworkers; i++) {
        s->jobs_completed += hop__load(&pool->workers[i].jobs, relaxed);
        s->steals += hop__load(&pool->workers[i].steals, relaxed);
        s->parks += hop__load(&pool->workers[i].parks, relaxed);
        s->pauses += hop__load(&pool->workers[i].pauses, relaxed);
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
        return hop__no_runtime();
    h = hop__house_of(rt);
    memset(out, 0, sizeof *out);
    add_workers(h->pool, out);
    for (i = 0; i < rt->nloops; i++) {
        out->loop_turns += hop__load(&h->loops[i]->turns, relaxed);
        out->loop_moderated += hop__load(&h->loops[i]->moderated, relaxed);
        out->jobs_at_home += hop__load(&h->loops[i]->costs.at_home, relaxed);
    }
    out->tasks_spawned = hop__load(&rt->tasks_spawned, relaxed);
    out->tasks_ended = hop__load(&rt->tasks_ended, relaxed);
    out->blocking_threads = hop__lane_threads(h->lane);
    hop__runtime_release(rt);
    return 0;
}

int hop_worker_index(void)
{
    struct hop__thread *self = hop__self();

    self->as_worker = true;
    return self->worker ? self->worker->id : -1;
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

struct openmp_runtimes {
    FILE *out;
    int n;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool is_openmp(const char *name)
{
    return strstr(name, "libgomp") || strstr(name, "libomp") || strstr(name, "libiomp");
}

static int note_openmp(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct openmp_runtimes *found = arg;
    const char *name = base_name(info->dlpi_name);

    (void)size;
    if (is_openmp(name)) {
        found->n++;
        fprintf(found->out, " %s", name);
    }
    return 0;
}

/*
 * Several OpenMP runtimes in one process do not know of each other: what was compiled for the other one opens regions
 * of its own inside our jobs. But libomp has libgomp's entry points too; where it comes first in the order of linking,
 * the dynamic linker gives everybody libomp's, and there is one runtime. So: whose is in force?
 */
static void describe_openmp(FILE *out)
{
    struct openmp_runtimes found = { out, 0 };
    void *question = dlsym(RTLD_DEFAULT, "omp_in_parallel");
    Dl_info info;

    fprintf(out, "OpenMP:");
    dl_iterate_phdr(note_openmp, &found);
    if (found.n > 1 && question && dladdr(question, &info)) {
        if (strstr(base_name(info.dli_fname), "libgomp"))
            fprintf(out, " (apart: code for one finds itself outside of the other's regions; link libomp first)");
        else
            fprintf(out, " (as one: %s serves all)", base_name(info.dli_fname));
    }
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
