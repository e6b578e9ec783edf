/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A storm: a random program on hop, made from a seed, that checks itself.
 *
 * Actors play it: tasks, jobs and plain threads. An actor has two streams of random numbers that follow from the seed
 * and its descent alone: one decides what it does, so that a seed is always the same program; the other is noise, small
 * delays that stir the schedule. What an actor does is a scene: a self-contained piece with invariants of its own
 * (family.c, market.c, ...). Scenes nest: who takes part in one plays others meanwhile. An actor has fuel, which it
 * shares with those it starts, so a storm ends.
 *
 * Nothing may fail without a reason: an actor knows what can befall it (its ring and those around it, its deadline, the
 * end of the runtime), and an error that none of these explains is a failure.
 */
#ifndef HOP_TESTS_STORM_STORM_H
#define HOP_TESTS_STORM_STORM_H

#include <hop.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* --- claims --- */

void storm_fail(const char *file, int line, const char *what, long long a, long long b) __attribute__((noreturn));

#define claim(condition) ((condition) ? (void)0 : storm_fail(__FILE__, __LINE__, #condition, 0, 0))
#define claim_eq(a, b) \
    do { \
        long long claim__a = (long long)(a), claim__b = (long long)(b); \
        if (claim__a != claim__b) \
            storm_fail(__FILE__, __LINE__, #a " is " #b, claim__a, claim__b); \
    } while (0)

/* --- the storm: one at a time in a process --- */

enum { RUNTIMES_MAX = 2, SCENES_MAX = 32 };

struct storm {
    unsigned seed;
    struct ring *root; /* of the first runtime, if children may be left there */
    int nruntimes;
    hop_runtime *runtimes[RUNTIMES_MAX]; /* the first is NULL if hop_run made it */
    int loops;                           /* of each */
    int gusts;                           /* noise at one point in so many hundred */
    int breadth;                         /* most children of a family */
    int weights[SCENES_MAX];             /* each seed prefers other scenes */
    bool calm;                           /* the runtimes end when everything else has */
    atomic_bool draining;                /* from here on the roots take no more children */
    atomic_bool stopping;                /* from here on the runtimes may cancel and refuse anything */
    atomic_int lane;                     /* threads of the blocking lane that may still be kept while waiting */
    atomic_int next_id;
    atomic_long tasks_accepted, tasks_ended, jobs_accepted, jobs_run, jobs_refused, refusals, waits;
};

extern struct storm storm;
extern atomic_ulong storm_steps; /* for the watchdog: something happens */

/* --- actors --- */

struct ring;

struct actor {
    const char *role;
    int id;
    uint64_t program, noise; /* the streams */
    int fuel, depth;
    bool task;               /* its frame is a task's: it sees cancellations and deadlines */
    int place;               /* where it must be: what hop_here tells */
    struct ring *ring;       /* whose child it is; NULL: nobody's */
    hop_ns deadline;         /* none in force is earlier */
    int shield;
    int runtime;
    int slot;                /* in the register */
    _Atomic(const char *) doing;
};

/* An actor that descends from another (NULL: the first of the storm), not yet on stage. */
struct actor actor_from(struct actor *parent, const char *role, int fuel);
void actor_enter(struct actor *a);
void actor_leave(struct actor *a);
void actors_dump(FILE *out);

uint64_t draw(struct actor *a);
int pick(struct actor *a, int n); /* 0 to n - 1 */
bool chance(struct actor *a, int percent);
int share(struct actor *a, int parts); /* takes a part of the fuel */

void gust(struct actor *a);
void doing(struct actor *a, const char *what);

bool may_wait(const struct actor *a);
bool is_job(const struct actor *a);

/* Whether rc is what can befall the actor, or a child of the ring. */
bool explained(struct actor *a, int rc);
bool explained_in(struct ring *ring, int rc);

/* Something that can end actors early has happened: to this one, or in its ring. */
bool disturbed(struct actor *a);

/* Passes on what a wait gave, if it is explained, and lasting. */
long heard(struct actor *a, long rc);

/* Why the actor has to stop, or 0. */
int interrupted(struct actor *a);

/* A number that only who has run this knows. */
uint64_t work_out(uint64_t input);

/* Waits, whatever befalls the actor. */
void await_surely(struct actor *a, hop_future *future);

/* --- rings: scopes, and what can befall their children --- */

typedef int part_fn(struct actor *a, void *arg);

struct child {
    struct child *next;
    struct actor actor;
    struct ring *ring;
    part_fn *part;
    void *arg;
    bool job, accepted, with_future;
    bool late; /* a job whose deadline had passed before: it must not start */
    hop_future future;
    atomic_int started;
    bool ended;
    int fails; /* the code that it returns whatever it did, or 0 */
    int result;
    uint64_t input, output;
};

enum { REASONS = 4 };
extern const int reasons[REASONS];

struct ring {
    hop_scope *scope, storage;
    struct ring *outer; /* what befalls the owner too; NULL: nothing */
    bool shielded;      /* opened in a shield */
    bool root;
    atomic_uint cancelled; /* a bit for each reason that it was cancelled for */
    atomic_bool failed;    /* a child returned an error */
    _Atomic(hop_ns) closing; /* the owner's deadline when it closes */
    _Atomic(hop_ns) jobs;    /* the earliest deadline of a job: one that is too late fails without having run */
    _Atomic(struct child *) children;
};

int ring_open(struct actor *a, struct ring *r);
int ring_close(struct actor *a, struct ring *r);
void ring_cancel(struct ring *r, int reason);
void ring_of_root(struct ring *r, hop_runtime *runtime);
void ring_of_root_ended(struct ring *r, int rc, bool own);

struct cast {
    const char *role;
    part_fn *part;
    void *arg;
    int fuel;
    int fails;
    bool job;
    bool with_future;
};

/* A new child; *out, if not NULL, is the child, also if it was refused. */
int ring_add(struct actor *a, struct ring *r, const struct cast *cast, struct child **out);

/* --- plain threads --- */

struct stranger {
    struct actor actor;
    part_fn *part;
    void *arg;
    int result;
    hop_future gone;
    pthread_t thread;
};

void stranger_start(struct actor *a, struct stranger *s, const char *role, part_fn *part, void *arg, int fuel);
int stranger_join(struct actor *a, struct stranger *s);

/* --- scenes --- */

enum {
    AT_HOME = 1 << HOP_LOOP,
    ON_CPU = 1 << HOP_CPU,
    ON_LANE = 1 << HOP_BLOCKING,
    IN_TEAM = 1 << HOP_TEAM,
    IN_JOB = 1 << HOP_JOB,
    OUTSIDE = 1 << HOP_OUTSIDE,
    TASKS = AT_HOME | ON_CPU | ON_LANE,
    WAITS = TASKS | OUTSIDE,
    EVERYWHERE = WAITS | IN_TEAM | IN_JOB
};

/* Plays scenes while there is fuel: 0, or why the actor had to stop. */
int play(struct actor *a);
int play_part(struct actor *a, void *ignored);
void choose_weights(struct actor *a);

int scene_family(struct actor *a);
int scene_chain(struct actor *a);
int scene_kinsmen(struct actor *a);
int scene_market(struct actor *a);
int scene_promises(struct actor *a);
int scene_stream(struct actor *a);
int scene_rupture(struct actor *a);
int scene_visitors(struct actor *a);
int scene_file(struct actor *a);
int scene_offload(struct actor *a);
int scene_join(struct actor *a);
int scene_fork(struct actor *a);
int scene_root(struct actor *a);
int scene_loop(struct actor *a);
int scene_reduce(struct actor *a);
int scene_pipeline(struct actor *a);
int scene_hop(struct actor *a);
int scene_sleep(struct actor *a);
int scene_within(struct actor *a);
int scene_shield(struct actor *a);
int scene_refused(struct actor *a);
int scene_look(struct actor *a);
int scene_abroad(struct actor *a);

/* Plays the seed: returns when everything that it began has ended. */
void storm_play(unsigned seed);

#endif
