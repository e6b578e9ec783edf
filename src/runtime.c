/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one file that sees both sides: it builds a runtime of a pool, loops and a blocking lane, and takes it down.
 *
 * Going down: nothing new is admitted to the root scope; what is there may end by itself until the drain deadline; then
 * everything is cancelled and waited for until the grace deadline; what is still there is named. Only when nothing is
 * left are the threads stopped: so no task, job or completion ever meets an executor that is gone.
 *
 * The waiting is done by whoever asked for the end: a plain thread while loops turn in their own threads, and
 * otherwise a task, the janitor, because then the asking thread has a loop to turn.
 */
#include "config.h"

#include <hop.h>

#include <stdlib.h>
#include <string.h>

#include "async/blocking.h"
#include "async/fd.h"
#include "async/loop.h"
#include "bridge/boundary.h"
#include "bridge/orphan.h"
#include "bridge/runtime.h"
#include "bridge/task.h"
#include "bridge/wait.h"
#include "compute/ending.h"
#include "compute/pool.h"
#include "house.h"

/* --- the list of live runtimes --- */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hop_runtime *list; /* the first made first */

static void forget_in_child(void)
{
    pthread_mutex_init(&list_lock, NULL);
    if (!list)
        return;
    list = NULL;
    hop__orphan_begins();
    hop__fd_orphan_begins();
    hop__exit_forget();
}

/* What is done once in a process. Under a lock and not by pthread_once, which helgrind does not know. */
static int prepare_process(void)
{
    static bool prepared;
    int rc = 0;

    pthread_mutex_lock(&list_lock);
    if (!prepared)
        rc = -pthread_atfork(NULL, NULL, forget_in_child);
    if (!prepared && !rc) {
        hop__park_setup();
        hop__overflow_report_setup();
        prepared = true;
    }
    pthread_mutex_unlock(&list_lock);
    return rc;
}

static bool is_live(struct hop_runtime *rt)
{
    struct hop_runtime *r;

    for (r = list; r; r = r->next)
        if (r == rt)
            return true;
    return false;
}

static void enlist(struct hop_runtime *rt)
{
    struct hop_runtime **end = &list;

    pthread_mutex_lock(&list_lock);
    while (*end)
        end = &(*end)->next;
    *end = rt;
    pthread_mutex_unlock(&list_lock);
    hop__store(&hop__orphaned, 0, relaxed); /* not any more, if it was one */
}

/* Under the lock. */
static void unlink_from_list(struct hop_runtime *rt)
{
    struct hop_runtime **r;

    for (r = &list; *r != rt;)
        r = &(*r)->next;
    *r = rt->next;
}

static void delist(struct hop_runtime *rt)
{
    pthread_mutex_lock(&list_lock);
    unlink_from_list(rt);
    pthread_mutex_unlock(&list_lock);
}

struct hop_runtime *hop__runtime_acquire(struct hop_runtime *wanted)
{
    struct hop__thread *self = hop__self();
    struct hop_runtime *rt;

    if (self->executor)
        return self->runtime;
    pthread_mutex_lock(&list_lock);
    rt = wanted ? wanted : self->runtime ? self->runtime : list;
    if (rt && !is_live(rt))
        rt = NULL;
    if (rt)
        rt->callers++;
    pthread_mutex_unlock(&list_lock);
    return rt;
}

void hop__runtime_release(struct hop_runtime *rt)
{
    if (hop__self()->executor)
        return;
    pthread_mutex_lock(&list_lock);
    rt->callers--;
    pthread_mutex_unlock(&list_lock);
}

static int callers_of(struct hop_runtime *rt)
{
    int n;

    pthread_mutex_lock(&list_lock);
    n = rt->callers;
    pthread_mutex_unlock(&list_lock);
    return n;
}

static int dead_runtime(void)
{
    return hop__load(&hop__orphaned, relaxed) ? -EOWNERDEAD : -EINVAL;
}

int hop_runtime_use(hop_runtime *rt)
{
    struct hop__thread *self = hop__self();
    bool live;

    if (self->executor)
        return -EDEADLK;
    pthread_mutex_lock(&list_lock);
    live = !rt || is_live(rt);
    pthread_mutex_unlock(&list_lock);
    if (!live)
        return dead_runtime();
    self->runtime = rt;
    return 0;
}

hop_scope *hop_root(hop_runtime *rt)
{
    struct hop__thread *self = hop__self();
    bool live;

    pthread_mutex_lock(&list_lock);
    if (!rt)
        rt = self->runtime ? self->runtime : list;
    live = is_live(rt);
    pthread_mutex_unlock(&list_lock);
    return live ? (hop_scope *)&rt->root : NULL;
}

/* --- building --- */

/* What a caller's thread had before it turned a loop. */
static _Thread_local struct hop__qos_saved lent_thread;
static _Thread_local int lent_openmp;

static void loop_thread_begins(struct hop_runtime *rt)
{
    struct hop__pool *pool = hop__house_of(rt)->pool;

    hop__qos_save(&lent_thread);
    hop__topology_unpin(pool->topology); /* not what an OpenMP runtime left this thread with */
    hop__qos_apply_loop(pool->qos);
    lent_openmp = hop__team_shun();
}

static void loop_thread_ends(struct hop_runtime *rt)
{
    (void)rt;
    hop__team_unshun(lent_openmp);
    hop__qos_restore(&lent_thread);
}

static const struct hop__loop_hooks hooks = { loop_thread_begins, loop_thread_ends };

static int check(const hop_config *c)
{
    return c->workers < 0 || c->workers > HOP__WORKERS_MAX || c->loops < 0 || c->loops > HOP__LOOPS_MAX ||
                   c->queue > 1u << 24 || c->blocking_threads < 0 || c->blocking_threads > 4096 ||
                   c->qos > HOP_QOS_REALTIME || c->stack_bytes > HOP__STACK_BYTES_MAX
               ? -EINVAL
               : 0;
}

static void fill_in(hop_config *c)
{
    c->loops = c->loops ? c->loops : 1;
    c->moderate_ns = c->moderate_ns ? c->moderate_ns : 200 * HOP_US;
    c->queue = c->queue ? c->queue : 4096;
    c->blocking_threads = c->blocking_threads ? c->blocking_threads : 64;
    c->stack_bytes = c->stack_bytes ? c->stack_bytes : 256 * 1024;
    c->drain_ns = c->drain_ns ? c->drain_ns : 10 * HOP_SEC;
    c->grace_ns = c->grace_ns ? c->grace_ns : 5 * HOP_SEC;
    c->log = c->log ? c->log : stderr;
}

static void take_down(struct hop__house *h)
{
    struct hop_runtime *rt = &h->runtime;
    int i;

    for (i = 0; i < rt->nloops; i++)
        if (h->started[i])
            hop__loop_stop(h->loops[i]);
    hop__lane_free(h->lane);
    if (h->pool)
        hop__pool_free(h->pool);
    for (i = 0; i < rt->nloops; i++)
        hop__loop_free(h->loops[i]);
    hop__stack_pool_close(&rt->stacks);
    pthread_mutex_destroy(&rt->tasks_lock);
    pthread_mutex_destroy(&rt->root.lock);
    free(h);
}

static int add_loop(struct hop__house *h, int i, bool lend)
{
    struct hop_runtime *rt = &h->runtime;
    struct event_base *base = i ? NULL : rt->config.base;
    int rc = hop__loop_new(&h->loops[i], rt, i, base, &hooks);

    if (rc < 0)
        return rc;
    rt->loops[i] = &h->loops[i]->executor;
    rt->nloops = i + 1;
    if (base || (lend && i == 0))
        return 0;
    rc = hop__loop_start(h->loops[i]);
    h->started[i] = rc == 0;
    return rc;
}

/* lend: the caller will turn the first loop. */
static int build(struct hop__house **out, const hop_config *config, bool lend)
{
    struct hop__house *h;
    struct hop_runtime *rt;
    int i, rc = config ? check(config) : 0;

    if (!rc)
        rc = prepare_process();
    if (rc < 0)
        return rc;
    h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    rt = &h->runtime;
    rt->generation = hop__generation;
    if (config)
        rt->config = *config;
    fill_in(&rt->config);
    hop__stack_pool_open(&rt->stacks, rt->config.stack_bytes);
    pthread_mutex_init(&rt->tasks_lock, NULL);
    hop__scope_init(&rt->root, rt);
    rt->root.root = true;
    rc = hop__pool_new(&h->pool, rt);
    if (!rc)
        rc = hop__lane_new(&h->lane, rt);
    if (!rc) {
        rt->pool = &h->pool->any;
        rt->team = &h->pool->team;
        rt->lane = hop__lane_executor(h->lane);
    }
    for (i = 0; !rc && i < rt->config.loops; i++)
        rc = add_loop(h, i, lend);
    if (rc < 0) {
        take_down(h);
        return rc;
    }
    enlist(rt);
    *out = h;
    return 0;
}

/* --- going down --- */

/* The scopes that no other scope is around: each passes it on, but not into what is shielded. */
static void cancel_everything(struct hop_runtime *rt)
{
    struct hop__scope *s;

    hop__scope_cancel(&rt->root, -ECANCELED);
    pthread_mutex_lock(&rt->tasks_lock);
    for (s = rt->thread_scopes; s; s = s->outer)
        hop__scope_cancel(s, -ECANCELED);
    pthread_mutex_unlock(&rt->tasks_lock);
}

/* Everything has ended but the task that asks, if it is one, and no plain thread is inside. Under the lock. */
static bool is_quiet(struct hop_runtime *rt)
{
    uint64_t mine = hop__self()->task ? 1 : 0, ended = hop__load(&rt->tasks_ended, acquire); /* before spawned */

    return ended + mine == hop__load(&rt->tasks_spawned, relaxed) && !rt->callers;
}

/* In one step with the look: a plain thread that came in between would stand in what is being freed. */
static bool delist_if_quiet(struct hop_runtime *rt)
{
    bool quiet;

    pthread_mutex_lock(&list_lock);
    quiet = is_quiet(rt);
    if (quiet)
        unlink_from_list(rt);
    pthread_mutex_unlock(&list_lock);
    return quiet;
}

static int wait_until_quiet(struct hop_runtime *rt, hop_ns span)
{
    hop_ns deadline = hop__after(hop__now(), span);
    int ignored, rc = hop__wait_future(&rt->root.empty, deadline, false, &ignored);

    while (!rc && !delist_if_quiet(rt)) { /* last steps of tasks that have told their result, calls of plain threads */
        rc = hop__now() >= deadline ? -ETIMEDOUT : 0;
        hop_shield(HOP_SEC) {
            hop_sleep(100 * HOP_US);
        }
    }
    return rc;
}

static void name_survivors(struct hop_runtime *rt)
{
    static const char *const places[] = {
        [HOP_LOOP] = "its loop", [HOP_CPU] = "a worker", [HOP_TEAM] = "the team", [HOP_BLOCKING] = "the blocking lane",
        [HOP_OUTSIDE] = "its way"
    };
    struct hop__task *t, *janitor = hop__self()->task;
    FILE *log = rt->config.log;
    int jobs = hop__load(&rt->root.live, relaxed), callers = callers_of(rt);

    pthread_mutex_lock(&rt->tasks_lock);
    for (t = rt->tasks; t; t = t->list_next)
        if (t != janitor) {
            jobs -= t->parent == &rt->root;
            fprintf(log, "hop: shutdown: task '%s' (function %p) is still there, last seen on %s\n",
                    t->name ? t->name : "unnamed", (void *)(uintptr_t)t->fn, places[hop__load(&t->seen_at, relaxed)]);
        }
    pthread_mutex_unlock(&rt->tasks_lock);
    if (jobs > 0)
        fprintf(log, "hop: shutdown: %d jobs of the root scope have not ended\n", jobs);
    if (callers)
        fprintf(log, "hop: shutdown: %d calls or scopes of plain threads have not ended\n", callers);
    fflush(log);
}

/* In a task or a plain thread. 0: nothing is left but the threads, and nobody can find the runtime any more. */
static int settle(struct hop_runtime *rt, int failed)
{
    int rc;

    if (!hop__exchange(&rt->stopping, 1, acq_rel) && hop__fetch_sub(&rt->root.live, 1, acq_rel) == 1)
        hop__complete(&rt->root.empty, 0); /* S4: the root's own place */
    rc = failed || rt->config.drain_ns < 0 ? -ETIMEDOUT : wait_until_quiet(rt, rt->config.drain_ns);
    if (rc < 0) {
        cancel_everything(rt);
        rc = wait_until_quiet(rt, rt->config.grace_ns);
    }
    if (rc < 0)
        name_survivors(rt);
    return rc;
}

/* A task beside the root: what turns the first loop waits for it. */
struct janitor {
    struct hop_runtime *runtime;
    hop_fn *main; /* or NULL */
    void *arg;
    int main_result, rc;
    hop__atomic(int) done;
};

static int janitor_main(void *arg)
{
    struct janitor *j = arg;

    HOP__BOUNDARY();
    if (j->main) {
        j->main_result = j->main(j->arg);
        hop__check_returned(hop__self());
        hop__task_check_scopes(hop__self()->task);
    }
    j->rc = settle(j->runtime, j->main_result < 0);
    hop__store(&j->done, 1, release);
    hop__loop_ring(hop__house_of(j->runtime)->loops[0]); /* it looks at done before it sleeps again */
    return 0;
}

/* The janitor's own scope: so that it is no child of the root, for whose end it waits. */
static int start_janitor(struct janitor *j, struct hop__scope *scope)
{
    hop__scope_init(scope, j->runtime);
    return hop_spawn((hop_scope *)scope, janitor_main, j, HOP_TASK(.name = j->main ? "main" : "shutdown", .loop = 1));
}

static void end_janitor(struct hop__scope *scope)
{
    scope->magic = 0;
    pthread_mutex_destroy(&scope->lock);
}

static int outcome_of_root(struct hop_runtime *rt)
{
    return hop__load(&rt->root.error, relaxed);
}

static int run(hop_fn *main, void *arg, const hop_config *config)
{
    struct hop__house *h;
    hop_scope scope;
    struct janitor j = { .main = main, .arg = arg };
    struct hop_runtime *used = hop__self()->runtime; /* by hop_runtime_use */
    int rc, root;

    if (!main || (config && config->base))
        return -EINVAL;
    if (hop__self()->executor)
        return -EDEADLK;
    rc = build(&h, config, true);
    if (rc < 0)
        return rc;
    j.runtime = &h->runtime;
    rc = start_janitor(&j, (struct hop__scope *)&scope);
    if (!rc)
        hop__loop_run(h->loops[0], &j.done);
    hop__self()->runtime = used;
    end_janitor((struct hop__scope *)&scope);
    if (rc < 0 || j.rc < 0)
        delist(&h->runtime);
    if (j.rc < 0)
        return j.rc; /* something survived: its threads still use the house */
    root = outcome_of_root(&h->runtime);
    take_down(h);
    if (rc < 0)
        return rc;
    return j.main_result < 0 ? j.main_result : root < 0 ? root : j.main_result;
}

static int new_runtime(hop_runtime **out, const hop_config *config)
{
    struct hop__house *h;
    int rc;

    if (!out)
        return -EINVAL;
    if (hop__self()->executor)
        return -EDEADLK;
    rc = build(&h, config, false);
    if (rc < 0)
        return rc;
    *out = &h->runtime;
    return 0;
}

/* The first loop is on the caller's base: turn it until the janitor has done. */
static int settle_attached(struct hop__house *h)
{
    struct janitor j = { .runtime = &h->runtime };
    hop_scope scope;
    int rc = hop__loop_poll(h->loops[0], 0);

    if (rc < 0)
        return rc;
    rc = start_janitor(&j, (struct hop__scope *)&scope);
    while (!rc && !hop__load(&j.done, acquire))
        hop__loop_poll(h->loops[0], 10 * HOP_MS);
    end_janitor((struct hop__scope *)&scope);
    return rc < 0 ? rc : j.rc;
}

static int free_runtime(hop_runtime *rt)
{
    struct hop__house *h = hop__house_of(rt);
    bool live;
    int rc;

    pthread_mutex_lock(&list_lock);
    live = rt && is_live(rt);
    pthread_mutex_unlock(&list_lock);
    if (!live)
        return rt ? dead_runtime() : -EINVAL;
    if (hop__self()->executor)
        return -EDEADLK;
    if (rt->config.base && !pthread_equal(h->loops[0]->thread, pthread_self()))
        return -EPERM;
    rc = rt->config.base ? settle_attached(h) : settle(rt, 0);
    if (rc < 0)
        return rc;
    if (hop__self()->runtime == rt)
        hop__self()->runtime = NULL;
    rc = outcome_of_root(rt);
    take_down(h);
    return rc;
}

/* --- the public face: a pthread_cancel of the caller acts afterwards, for nobody could finish what it left --- */

static int cancelling_waits(void)
{
    int before;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static int cancelling_as(int before, int rc)
{
    pthread_setcancelstate(before, &before);
    return rc;
}

int hop_run(hop_fn *main, void *arg, const hop_config *config)
{
    int before = cancelling_waits();

    return cancelling_as(before, run(main, arg, config));
}

int hop_runtime_new(hop_runtime **out, const hop_config *config)
{
    int before = cancelling_waits();

    return cancelling_as(before, new_runtime(out, config));
}

int hop_runtime_free(hop_runtime *rt)
{
    int before = cancelling_waits();

    return cancelling_as(before, free_runtime(rt));
}
