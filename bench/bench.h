/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench.h: what every measuring program in C or C++ shares: the clock, the work, the rounds, the JSON line.
 *
 * A program measures in rounds, after one that is thrown away, and prints the median, least and most of them:
 *
 *     struct rounds r = rounds_of("hop", "fork_join", "call2", n, "ns/join");
 *
 *     while (rounds_next(&r)) {
 *         uint64_t start = now_ns();
 *         ...
 *         rounds_add(&r, (double)(now_ns() - start) / n);
 *         expect(result == known, "fib");
 *     }
 *     rounds_report(&r, "");
 *
 * BENCH_ROUNDS in the environment is their number. A wrong result ends the program: there is no time for it.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    CHAIN_US = 700,        /* rounds of chain() that take about 1 us, */
    CHAIN_HEAVY = 7000000, /* and about 10 ms, on the machine that this was written on */
    HEAVY_CHUNKS = 64,     /* a heavy request's work is cut in so many */
    MESSAGE_BYTES = 64,
    OUTSTANDING = 256,     /* jobs in flight when throughput is measured */
    REGION = 1000,         /* iterations of a loop that costs next to nothing */
    ROUNDS_MAX = 99
};

#define SEED UINT64_C(88172645463325252)

/* --- the clock, the work, the truth --- */

static inline uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* User and system time of this process, all its threads. */
static inline double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Resident memory of this process in bytes. */
static inline double resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long pages = 0;

    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        abort();
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The work of every job, the same in every language: n rounds of xorshift, each waiting for the last. */
__attribute__((noinline, unused)) static uint64_t chain(uint64_t x, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

static inline void expect(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "wrong result: %s\n", what);
    exit(EXIT_FAILURE);
}

/* Job i of a series is chain(job_seed(i), work): what n of them must add up to. */
static inline uint64_t job_seed(uint64_t i)
{
    return i % OUTSTANDING + 1;
}

static inline uint64_t jobs_sum(uint64_t n, uint32_t work)
{
    uint64_t sum = 0, i;

    for (i = 0; i < OUTSTANDING && i < n; i++)
        sum += chain(job_seed(i), work) * (n / OUTSTANDING + (i < n % OUTSTANDING));
    return sum;
}

/* Chunk i of a heavy request is heavy_chunk(i); the answer carries their sum. */
static inline uint64_t heavy_chunk(uint64_t i)
{
    return chain(i + 1, CHAIN_HEAVY / HEAVY_CHUNKS);
}

/* An answer is the request's bytes; a heavy one's ('H' in front) has the sum at this place, in the host's order. */
enum { ANSWER_AT = 8 };

static inline void put_answer(char *message, uint64_t sum)
{
    memcpy(message + ANSWER_AT, &sum, sizeof sum);
}

static inline uint64_t fib_of(uint64_t n)
{
    uint64_t a = 0, b = 1, next;

    for (; n; n--) {
        next = a + b;
        a = b;
        b = next;
    }
    return a;
}

/* Calls that fork in the recursion of fib(n): one for each addition. */
static inline double fib_forks(uint64_t n)
{
    return (double)fib_of(n + 1) - 1;
}

/* --- rounds --- */

struct rounds {
    const char *peer, *workload, *variant, *unit;
    double n, samples[ROUNDS_MAX];
    int wanted, done, started;
    uint64_t began_ns;
    double began_cpu;
};

static inline int rounds_wanted(void)
{
    const char *s = getenv("BENCH_ROUNDS");
    int n = s ? atoi(s) : 7;

    return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : n;
}

static inline struct rounds rounds_of(const char *peer, const char *workload, const char *variant, double n,
                                      const char *unit)
{
    struct rounds r;

    memset(&r, 0, sizeof r);
    r.peer = peer;
    r.workload = workload;
    r.variant = variant;
    r.unit = unit;
    r.n = n;
    r.wanted = rounds_wanted();
    return r;
}

/* Whether there is another round to do. The first is a warm-up. */
static inline int rounds_next(struct rounds *r)
{
    if (++r->started == 2) {
        r->began_ns = now_ns();
        r->began_cpu = cpu_seconds();
    }
    return r->done < r->wanted;
}

static inline void rounds_add(struct rounds *r, double value)
{
    if (r->started > 1)
        r->samples[r->done++] = value;
}

/* For what is measured once: no warm-up. */
static inline void rounds_only(struct rounds *r)
{
    r->wanted = 1;
    r->started = 1;
    (void)rounds_next(r);
}

static inline int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One JSON line. extra is more of it: "" or ",\"key\":value". cpus: CPUs busy while measuring, on average. */
static inline void rounds_report(struct rounds *r, const char *extra)
{
    double cpus = (cpu_seconds() - r->began_cpu) * 1e9 / (double)(now_ns() - r->began_ns);

    qsort(r->samples, (size_t)r->done, sizeof *r->samples, by_double);
    printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"variant\":\"%s\",\"n\":%.0f,\"unit\":\"%s\",\"median\":%.4g,"
           "\"min\":%.4g,\"max\":%.4g,\"rounds\":%d,\"cpus\":%.3f%s}\n",
           r->peer, r->workload, r->variant, r->n, r->unit, r->samples[r->done / 2], r->samples[0],
           r->samples[r->done - 1], r->done, cpus, extra);
    fflush(stdout);
}

/* --- latencies --- */

struct latencies {
    uint32_t *ns;
    size_t count, room;
};

static inline void latencies_add(struct latencies *l, uint64_t ns)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 1 << 16;
        l->ns = (uint32_t *)realloc(l->ns, l->room * sizeof *l->ns);
        if (!l->ns)
            abort();
    }
    l->ns[l->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static inline int by_uint32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static inline void latencies_sort(struct latencies *l)
{
    if (l->count)
        qsort(l->ns, l->count, sizeof *l->ns, by_uint32);
}

/* Of sorted ones, the value that share (0 to 1) of them do not exceed. */
static inline double latencies_at(const struct latencies *l, double share)
{
    return l->count ? l->ns[(size_t)(share * (double)(l->count - 1) + 0.5)] : 0;
}

/* What rounds_report takes as extra: the percentiles in ns. */
static inline const char *latencies_json(struct latencies *l)
{
    static char text[64];

    latencies_sort(l);
    snprintf(text, sizeof text, ",\"p50\":%.0f,\"p99\":%.0f", latencies_at(l, 0.5), latencies_at(l, 0.99));
    return text;
}

#endif
