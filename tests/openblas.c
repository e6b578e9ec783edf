/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * OpenBLAS in its OpenMP build as a neighbour: a library that opens parallel regions of its own. In jobs and in
 * hop_on_cpu it finds itself inside hop's team and stays serial; in hop_on_team its regions run on the team's threads;
 * and it starts none in either.
 *
 * GOMP_parallel, by which it enters a region, is defined here and passes on what it is asked, so that the test sees
 * which threads take part (libomp has that entry too).
 */
#include "config.h"

#include "harness.h"

#if defined(HAVE_OPENBLAS) && !defined(HOP_TEAM_PTHREAD)

#include <cblas.h>
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>

enum { SIDE = 320, CALLS = 64, WORKERS = 4, THREADS_MAX = 256 };

/* --- who takes part in a region --- */

static atomic_int watching, nseen;
static atomic_int seen[THREADS_MAX];

static void note_thread(void)
{
    int id = (int)syscall(SYS_gettid), i;

    for (i = 0; i < atomic_load(&nseen); i++)
        if (atomic_load(&seen[i]) == id)
            return;
    i = atomic_fetch_add(&nseen, 1);
    must(i < THREADS_MAX);
    atomic_store(&seen[i], id);
}

struct region {
    void (*body)(void *);
    void *arg;
};

static void watched_body(void *arg)
{
    struct region *r = arg;

    note_thread();
    r->body(r->arg);
}

static bool is_openblas(void (*body)(void *))
{
    Dl_info info;

    return dladdr((void *)(uintptr_t)body, &info) && strstr(info.dli_fname, "libopenblas");
}

void GOMP_parallel(void (*body)(void *), void *arg, unsigned threads, unsigned flags);

void GOMP_parallel(void (*body)(void *), void *arg, unsigned threads, unsigned flags)
{
    static void (*next)(void (*)(void *), void *, unsigned, unsigned);
    struct region watched = { body, arg };

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "GOMP_parallel");
    if (atomic_load(&watching) && is_openblas(body)) /* and not the pool's own region */
        next(watched_body, &watched, threads, flags);
    else
        next(body, arg, threads, flags);
}

static void watch_regions(void)
{
    atomic_store(&nseen, 0);
    atomic_store(&watching, 1);
}

static int regions_threads(void)
{
    atomic_store(&watching, 0);
    return atomic_load(&nseen);
}

/* --- products of small integers, which are exact --- */

struct product {
    double *a, *b, *c, *expected;
};

static double *new_matrix(void)
{
    double *m = calloc((size_t)SIDE * SIDE, sizeof *m);

    must(m);
    return m;
}

static void fill(struct product *p)
{
    int i, j, k;

    p->a = new_matrix();
    p->b = new_matrix();
    p->expected = new_matrix();
    for (i = 0; i < SIDE * SIDE; i++) {
        p->a[i] = i * 7 % 11 - 5;
        p->b[i] = i * 5 % 13 - 6;
    }
    for (i = 0; i < SIDE; i++)
        for (k = 0; k < SIDE; k++)
            for (j = 0; j < SIDE; j++)
                p->expected[i * SIDE + j] += p->a[i * SIDE + k] * p->b[k * SIDE + j];
}

static void empty(struct product *p)
{
    free(p->a);
    free(p->b);
    free(p->expected);
}

static void multiply(const struct product *p, double *c)
{
    int i;

    for (i = 0; i < SIDE * SIDE; i++)
        c[i] = NAN;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, p->a, SIDE, p->b, SIDE, 0, c, SIDE);
    must(!memcmp(c, p->expected, sizeof(double) * SIDE * SIDE));
}

/* --- the threads of the process --- */

/* How many there are to begin with is counted when the runtime has used each of its parts. */
struct census {
    int before;
    atomic_int most;
};

static void count_threads(struct census *c)
{
    int now = live_threads(), most = atomic_load(&c->most);

    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now))
        ;
}

struct call {
    const struct product *product;
    struct census *census;
};

static void multiply_here(struct call *call)
{
    double *c = new_matrix();

    multiply(call->product, c);
    count_threads(call->census);
    free(c);
}

static int multiply_on_cpu(void *arg)
{
    hop_on_cpu {
        multiply_here(arg);
    }
    return 0;
}

static int multiply_on_team(void *arg)
{
    hop_on_team {
        multiply_here(arg);
    }
    return 0;
}

static int multiply_in_job(void *arg)
{
    must_eq(hop_here(), HOP_JOB);
    multiply_here(arg);
    return 0;
}

static int begin_all_parts(void *arg)
{
    hop_on_cpu {
        must_eq(hop_worker_count(), WORKERS);
    }
    hop_on_team {
        must_eq(hop_here(), HOP_TEAM);
    }
    return hop_int(arg);
}

static void open_census(struct census *c)
{
    hop_scope scope;

    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, begin_all_parts, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    c->before = live_threads();
    atomic_init(&c->most, c->before);
}

static void no_thread_was_started(struct census *c)
{
    must_eq(atomic_load(&c->most), c->before);
    must_eq(live_threads(), c->before);
}

static hop_runtime *start(void)
{
    hop_runtime *rt;

    must_eq(hop_runtime_new(&rt, &(hop_config){ .workers = WORKERS, .loops = 2 }), 0);
    return rt;
}

static void spawn_calls(hop_fn *fn, struct call *call)
{
    hop_scope scope;
    int i, calls = TEST_VALGRIND ? CALLS / 16 : CALLS;

    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < calls; i++)
        must_eq(hop_spawn(&scope, fn, call, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
}

START_TEST(on_cpu_it_stays_serial)
{
    struct product product;
    struct census census;
    struct call call = { &product, &census };
    hop_runtime *rt;

    fill(&product);
    rt = start();
    open_census(&census);
    watch_regions();
    spawn_calls(multiply_on_cpu, &call);
    no_thread_was_started(&census);
    must_eq(hop_offload(multiply_in_job, &call), 0);
    no_thread_was_started(&census);
    must_eq(regions_threads(), 0);
    must_eq(hop_runtime_free(rt), 0);
    empty(&product);
}
END_TEST

START_TEST(on_the_team_it_has_the_whole_team)
{
    struct product product;
    struct census census;
    struct call call = { &product, &census };
    hop_runtime *rt;

    fill(&product);
    rt = start();
    open_census(&census);
    watch_regions();
    spawn_calls(multiply_on_team, &call);
    no_thread_was_started(&census);
    must_eq(regions_threads(), WORKERS);
    must_eq(hop_runtime_free(rt), 0);
    empty(&product);
}
END_TEST

static int on_both(void *arg)
{
    must_eq(multiply_on_cpu(arg), 0);
    return multiply_on_team(arg);
}

START_TEST(both_at_once)
{
    struct product product;
    struct census census;
    struct call call = { &product, &census };
    hop_runtime *rt;

    fill(&product);
    rt = start();
    open_census(&census);
    spawn_calls(on_both, &call);
    no_thread_was_started(&census);
    must_eq(hop_runtime_free(rt), 0);
    empty(&product);
}
END_TEST

/* Elsewhere it is what it is without hop: on a thread of its caller's it opens its own team. So the counts can fail. */
static int multiply_blocking(void *arg)
{
    hop_on_blocking {
        multiply_here(arg);
    }
    return 0;
}

START_TEST(elsewhere_it_brings_its_own_threads)
{
    struct product product;
    struct census census;
    struct call call = { &product, &census };
    hop_runtime *rt;
    hop_scope scope;

    openblas_set_num_threads(3);
    fill(&product);
    rt = start();
    open_census(&census);
    watch_regions();
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, multiply_blocking, &call, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must(regions_threads() > 1);
    must(atomic_load(&census.most) > census.before);
    must_eq(hop_runtime_free(rt), 0);
    empty(&product);
}
END_TEST

/* With clang there are two OpenMP runtimes, libomp and the libgomp that OpenBLAS names; libomp serves both. */
START_TEST(describe_tells_of_two_runtimes)
{
    char text[8192] = { 0 };
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    char *line;

    must(out);
    must_eq(hop_describe(out), 0);
    fclose(out);
    line = strstr(text, "\nOpenMP:");
    must(line);
    must(strstr(line, "libgomp.so"));
    must(!strstr(line, "libomp.so") == !strstr(line, "(as one: libomp.so"));
    must(!strstr(line, "(apart"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { describe_tells_of_two_runtimes, on_cpu_it_stays_serial,
                                   on_the_team_it_has_the_whole_team, both_at_once,
                                   elsewhere_it_brings_its_own_threads, NULL };

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    printf("OpenBLAS begins OpenMP before main, and Archer fails at the end of a child of fork that did not\n");
    return 77;
#endif
#endif
    if (openblas_get_parallel() != OPENBLAS_OPENMP) {
        printf("the OpenBLAS here is not an OpenMP build: %s\n", openblas_get_config());
        return 77;
    }
    return run_tests("openblas", tests);
}

#else

int main(void)
{
#ifdef HOP_TEAM_PTHREAD
    printf("a team of plain threads: regions of a library are no business of hop's\n");
#else
    printf("configure found no OpenBLAS (Debian: libopenblas-openmp-dev)\n");
#endif
    return 77;
}

#endif
