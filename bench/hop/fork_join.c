/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork_join: fib(n) without a cut-off, time for each join, on 1 and on 2 workers. call: by hop_join. inline: by
 * hop_fork from the header. serial: the same recursion as plain function calls, which is what a join that costs nothing
 * would take.
 */
#include "workload.h"

#include <hop/fork.h>

struct fib {
    uint64_t n, result;
};

static int fib_serial(void *arg)
{
    struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };

    f->result = f->n;
    if (f->n < 2)
        return 0;
    fib_serial(&a);
    __asm__ volatile("" ::: "memory"); /* calls, as the joined version makes them */
    fib_serial(&b);
    f->result = a.result + b.result;
    return 0;
}

static int fib_call(void *arg)
{
    struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };

    f->result = f->n;
    if (f->n < 2)
        return 0;
    hop_join(fib_call, &a, fib_call, &b);
    f->result = a.result + b.result;
    return 0;
}

struct right {
    hop_half half;
    uint64_t n, result;
};

static void run_right(hop_worker *worker, hop_half *half);

static uint64_t fib_inline(hop_worker *worker, uint64_t n)
{
    struct right right;
    hop_forked forked;
    uint64_t a;

    if (n < 2)
        return n;
    right.n = n - 2;
    forked = hop_fork(worker, &right.half, run_right);
    a = fib_inline(worker, n - 1);
    if (hop_take_back(worker, forked))
        return a + fib_inline(worker, n - 2);
    hop_join_half(worker, &right.half);
    return a + right.result;
}

static void run_right(hop_worker *worker, hop_half *half)
{
    struct right *right = (struct right *)half;

    right->result = fib_inline(worker, right->n);
}

static int inline_root(hop_worker *worker, void *arg)
{
    struct fib *f = arg;

    f->result = fib_inline(worker, f->n);
    return 0;
}

static int fib_by_header(void *arg)
{
    return hop_with_worker(inline_root, arg);
}

static int measure(const struct run *run, hop_fn *fib)
{
    struct rounds r = rounds_for(run, "ns/join");
    struct fib f = { (uint64_t)run->n, 0 };
    double forks = fib_forks(f.n);

    while (rounds_next(&r)) {
        uint64_t start = now_ns();
        int rc = hop_offload_with(fib, &f, HOP_OFFLOAD(.place = HOP_POOL));

        if (rc < 0)
            return rc;
        rounds_add(&r, (double)(now_ns() - start) / forks);
        expect(f.result == fib_of(f.n), "fib");
    }
    rounds_report(&r, "");
    return 0;
}

static int serial(const struct run *run)
{
    return measure(run, fib_serial);
}

static int call(const struct run *run)
{
    return measure(run, fib_call);
}

static int by_header(const struct run *run)
{
    return measure(run, fib_by_header);
}

static const struct variant variants[] = {
    { "serial", serial, 1, false },      { "call1", call, 1, false },         { "call2", call, 2, false },
    { "inline1", by_header, 1, false },  { "inline2", by_header, 2, false },  { 0 }
};

const struct workload fork_join = { "fork_join", 35, false, variants };
