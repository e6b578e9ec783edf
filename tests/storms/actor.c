/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Actors: their random streams, the register for reports, and what can befall them.
 */
#include "config.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storm.h"

struct storm storm;
atomic_ulong storm_steps;

/* --- random streams: splitmix64 --- */

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t draw(struct actor *a)
{
    return mix(&a->program);
}

int pick(struct actor *a, int n)
{
    return (int)(draw(a) % (unsigned)n);
}

bool chance(struct actor *a, int percent)
{
    return pick(a, 100) < percent;
}

int share(struct actor *a, int parts)
{
    int part = a->fuel / (parts > 1 ? parts : 1);

    a->fuel -= part;
    return part;
}

uint64_t work_out(uint64_t input)
{
    int i;

    for (i = 0; i < 16; i++)
        input = mix(&input);
    return input;
}

/* --- the register: who is on stage; in relaxed order, so that it hides no race of others --- */

enum { REGISTER = 4096 };

static _Atomic(struct actor *) stage[REGISTER];

struct actor actor_from(struct actor *parent, const char *role, int fuel)
{
    struct actor a = { .role = role, .fuel = fuel, .deadline = HOP_FOREVER, .slot = -1 };
    uint64_t seed = storm.seed;

    a.id = atomic_fetch_add_explicit(&storm.next_id, 1, memory_order_relaxed);
    a.program = parent ? draw(parent) : mix(&seed);
    a.noise = ~a.program;
    if (parent) {
        a.depth = parent->depth;
        a.runtime = parent->runtime;
    }
    return a;
}

void actor_enter(struct actor *a)
{
    int i;

    for (i = 0; i < REGISTER; i++) {
        struct actor *none = NULL;
        int slot = (a->id + i) % REGISTER;

        if (atomic_compare_exchange_strong_explicit(&stage[slot], &none, a, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            a->slot = slot;
            break;
        }
    }
    doing(a, "entering");
}

void actor_leave(struct actor *a)
{
    if (a->slot >= 0)
        atomic_store_explicit(&stage[a->slot], NULL, memory_order_relaxed);
    a->slot = -1;
}

void actors_dump(FILE *out)
{
    static const char *const places[] = { "outside", "at home", "in a callback", "on a worker", "in a job",
                                          "in the team", "on the lane" };
    int i;

    for (i = 0; i < REGISTER; i++) {
        struct actor *a = atomic_load_explicit(&stage[i], memory_order_relaxed);

        if (a)
            fprintf(out, "storm: actor %d, %s, %s %s: %s (fuel %d, depth %d)\n", a->id, a->role,
                    a->task ? "a task" : "no task", places[a->place], atomic_load(&a->doing), a->fuel, a->depth);
    }
}

void doing(struct actor *a, const char *what)
{
    atomic_store_explicit(&a->doing, what, memory_order_relaxed);
    atomic_fetch_add_explicit(&storm_steps, 1, memory_order_relaxed);
}

/* --- noise --- */

static void be_busy(uint64_t turns)
{
    volatile uint64_t x = 0;

    while (turns--)
        x = x + turns;
}

static void nap(uint64_t ns)
{
    nanosleep(&(struct timespec){ 0, (long)ns }, NULL);
}

void gust(struct actor *a)
{
    uint64_t n = mix(&a->noise);

    atomic_fetch_add_explicit(&storm_steps, 1, memory_order_relaxed);
    if ((int)(n % 100) >= storm.gusts)
        return;
    n >>= 32;
    switch (n % 7) {
    case 0:
    case 1: sched_yield(); break;
    case 2: nap(n % 100000); break;
    case 3:
        if (a->task)
            (void)hop_yield();
        break;
    case 4: be_busy(n % 30000); break;
    default: be_busy(n % 1000); break;
    }
}

/* --- what can befall an actor --- */

bool may_wait(const struct actor *a)
{
    return (1 << a->place) & WAITS;
}

bool is_job(const struct actor *a)
{
    return !a->task && a->place != HOP_OUTSIDE;
}

static bool cancelled_for(struct ring *r, int rc)
{
    unsigned bits = atomic_load_explicit(&r->cancelled, memory_order_relaxed);
    int i;

    for (i = 0; i < REASONS; i++)
        if (rc == reasons[i] && bits & 1u << i)
            return true;
    return rc == -ECANCELED && !r->root &&
           (atomic_load_explicit(&r->failed, memory_order_relaxed) || hop_now() >= atomic_load(&r->jobs));
}

bool explained_in(struct ring *r, int rc)
{
    bool shielded = false;

    atomic_thread_fence(memory_order_seq_cst); /* who causes it says so before, behind a fence too */
    for (; r; r = r->outer) {
        if (cancelled_for(r, rc) || (rc == -ETIMEDOUT && hop_now() >= atomic_load(&r->closing)))
            return true;
        shielded = r->shielded;
    }
    return rc == -ECANCELED && !shielded && atomic_load(&storm.stopping);
}

bool explained(struct actor *a, int rc)
{
    if (rc == -ETIMEDOUT && hop_now() >= a->deadline)
        return true;
    if (a->place == HOP_OUTSIDE && rc == -ESHUTDOWN && atomic_load(&storm.draining))
        return true;
    if (a->place == HOP_OUTSIDE && (rc == -ENODEV || rc == -EINVAL) && atomic_load(&storm.stopping))
        return true;
    return !a->shield && explained_in(a->ring, rc);
}

bool disturbed(struct actor *a)
{
    int i;

    for (i = 0; i < REASONS; i++)
        if (explained(a, reasons[i]))
            return true;
    return explained(a, -ETIMEDOUT);
}

long heard(struct actor *a, long rc)
{
    atomic_fetch_add_explicit(&storm.waits, 1, memory_order_relaxed);
    if (rc >= 0)
        return rc;
    if (!explained(a, (int)rc))
        storm_fail(__FILE__, __LINE__, "an error has a reason", rc, a->id);
    if (a->task)
        claim(hop_cancelled() < 0); /* once told to stop, always told so */
    return rc;
}

int interrupted(struct actor *a)
{
    int rc = a->place == HOP_OUTSIDE ? 0 : hop_cancelled();

    if (rc < 0 && !explained(a, rc))
        storm_fail(__FILE__, __LINE__, "a cancellation has a reason", rc, a->id);
    return rc;
}

void await_surely(struct actor *a, hop_future *future)
{
    hop_ns long_time = 3600 * HOP_SEC;

    (void)a;
    hop_shield(long_time) {
        (void)hop_await(future);
    }
    claim(hop_done(future));
}

/* --- plain threads --- */

static void *stranger_main(void *arg)
{
    struct stranger *s = arg;
    hop_runtime *wanted = storm.runtimes[s->actor.runtime];

    actor_enter(&s->actor);
    if (wanted && hop_runtime_use(wanted) < 0)
        claim(atomic_load(&storm.stopping));
    s->result = s->part(&s->actor, s->arg);
    actor_leave(&s->actor);
    claim_eq(hop_complete(&s->gone, 0), 0);
    return NULL;
}

void stranger_start(struct actor *a, struct stranger *s, const char *role, part_fn *part, void *arg, int fuel)
{
    pthread_attr_t attributes;

    memset(s, 0, sizeof *s);
    s->actor = actor_from(a, role, fuel);
    s->actor.place = HOP_OUTSIDE;
    s->part = part;
    s->arg = arg;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    claim_eq(pthread_create(&s->thread, &attributes, stranger_main, s), 0);
    pthread_attr_destroy(&attributes);
}

int stranger_join(struct actor *a, struct stranger *s)
{
    await_surely(a, &s->gone);
    claim_eq(pthread_join(s->thread, NULL), 0); /* it is on its last lines */
    return s->result;
}
