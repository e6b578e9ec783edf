// SPDX-License-Identifier: BSD-3-Clause
//
// peer-tbb: oneTBB: peer-tbb WORKLOAD VARIANT [N]
//
// fork_join invokeN|groupN on N threads, parallel_for overhead|overhead_static|balanced|skewed|reduce,
// offload_throughput arena-us|arena-empty, idle_cpu arena
#include <oneapi/tbb.h>

#include <cmath>
#include <string>
#include <vector>

#include "bench.h"

// --- fork_join ---

static uint64_t fib_invoke(uint64_t n)
{
    if (n < 2)
        return n;
    uint64_t a, b;
    tbb::parallel_invoke([&] { a = fib_invoke(n - 1); }, [&] { b = fib_invoke(n - 2); });
    return a + b;
}

static uint64_t fib_group(uint64_t n)
{
    if (n < 2)
        return n;
    uint64_t a, b;
    tbb::task_group g;
    g.run([&] { a = fib_group(n - 1); });
    b = fib_group(n - 2);
    g.wait();
    return a + b;
}

static void fork_join(const std::string &variant, uint64_t n)
{
    auto threads = size_t(variant.back() - '0');
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    rounds r = rounds_of("tbb", "fork_join", variant.c_str(), double(n), "ns/join");

    while (rounds_next(&r)) {
        uint64_t start = now_ns();
        uint64_t result = variant[0] == 'g' ? fib_group(n) : fib_invoke(n);

        rounds_add(&r, double(now_ns() - start) / fib_forks(n));
        expect(result == fib_of(n), "fib");
    }
    rounds_report(&r, "");
}

// --- parallel_for: what is timed is a function; microseconds for each of its loops ---

template <class F> static void time_loops(rounds &r, long loops, F loop)
{
    while (rounds_next(&r)) {
        uint64_t start = now_ns();

        for (long k = 0; k < loops; k++)
            loop();
        rounds_add(&r, double(now_ns() - start) / 1000 / double(loops));
    }
}

template <class P> static void overhead(rounds &r, long loops, const P &partitioner)
{
    std::vector<uint32_t> data(REGION);

    r.n = REGION;
    time_loops(r, loops, [&] {
        tbb::parallel_for(0, int(REGION), [&](int i) { data[size_t(i)]++; }, partitioner);
    });
    for (auto x : data)
        expect(x == uint32_t(loops * (r.wanted + 1)), "each element once in each loop");
}

static double root(double y)
{
    return std::fma(std::sqrt(y), 0.5, std::sqrt(y + 1.0));
}

static void balanced(rounds &r, size_t n)
{
    std::vector<double> data(n);

    r.n = double(n);
    time_loops(r, 1, [&] {
        tbb::parallel_for(tbb::blocked_range<size_t>(0, n), [&](const tbb::blocked_range<size_t> &b) {
            for (size_t i = b.begin(); i < b.end(); i++)
                data[i] = root(double(i));
        });
    });
    for (size_t i = 0; i < n; i++)
        expect(data[i] == root(double(i)), "roots");
}

static void skewed(rounds &r, size_t n)
{
    std::vector<uint64_t> data(n);

    r.n = double(n);
    time_loops(r, 1, [&] {
        tbb::parallel_for(size_t(0), n, [&](size_t i) { data[i] = chain(i + 1, uint32_t(i / 10)); });
    });
    for (size_t i = 0; i < n; i++)
        expect(data[i] == chain(i + 1, uint32_t(i / 10)), "chains");
}

static void reduce(rounds &r, size_t n)
{
    std::vector<double> data(n);

    r.n = double(n);
    for (size_t i = 0; i < n; i++)
        data[i] = double(i) * 0.5;
    time_loops(r, 1, [&] {
        double sum = tbb::parallel_reduce(
            tbb::blocked_range<size_t>(0, n), 0.0,
            [&](const tbb::blocked_range<size_t> &b, double x) {
                for (size_t i = b.begin(); i < b.end(); i++)
                    x += data[i];
                return x;
            },
            [](double x, double y) { return x + y; });
        expect(sum == double(n * (n - 1) / 2) * 0.5, "sum");
    });
}

static bool parallel_for(const std::string &variant, long n)
{
    rounds r = rounds_of("tbb", "parallel_for", variant.c_str(), 0, "us");

    if (variant == "overhead")
        overhead(r, n ? n : 5000, tbb::auto_partitioner());
    else if (variant == "overhead_static")
        overhead(r, n ? n : 5000, tbb::static_partitioner());
    else if (variant == "balanced")
        balanced(r, size_t(n ? n : 10000000));
    else if (variant == "skewed")
        skewed(r, size_t(n ? n : 20000));
    else if (variant == "reduce")
        reduce(r, size_t(n ? n : 50000000));
    else
        return false;
    rounds_report(&r, "");
    return true;
}

// --- jobs: the main thread keeps 256 in an arena of two workers, and takes results from a bounded queue ---

struct service {
    tbb::global_control limit{tbb::global_control::max_allowed_parallelism, 3};
    tbb::task_arena arena{2, 0};
    tbb::concurrent_bounded_queue<uint64_t> done;

    uint64_t sum_of(long n, uint32_t work)
    {
        uint64_t sum = 0, x = 0;

        for (long i = 0; i < n + OUTSTANDING; i++) {
            if (i >= OUTSTANDING && i - OUTSTANDING < n) {
                done.pop(x);
                sum += x;
            }
            if (i < n)
                arena.enqueue([this, work, i] { done.push(chain(job_seed(uint64_t(i)), work)); });
        }
        return sum;
    }
};

static void offload_throughput(const std::string &variant, long n)
{
    uint32_t work = variant == "arena-us" ? uint32_t(CHAIN_US) : 0;
    rounds r = rounds_of("tbb", "offload_throughput", variant.c_str(), double(n), "jobs/s");
    service s;

    while (rounds_next(&r)) {
        uint64_t start = now_ns(), sum = s.sum_of(n, work);

        rounds_add(&r, double(n) * 1e9 / double(now_ns() - start));
        expect(sum == jobs_sum(uint64_t(n), work), "the jobs' sum");
    }
    rounds_report(&r, "");
}

static void idle_cpu(const std::string &variant, long seconds)
{
    rounds r = rounds_of("tbb", "idle_cpu", variant.c_str(), double(seconds), "%");
    service s;

    expect(s.sum_of(1000, CHAIN_US) == jobs_sum(1000, CHAIN_US), "the jobs' sum");
    rounds_only(&r);
    double cpu = cpu_seconds();
    sleep(unsigned(seconds));
    rounds_add(&r, 100 * (cpu_seconds() - cpu) / double(seconds));
    rounds_report(&r, "");
}

int main(int argc, char **argv)
{
    std::string workload = argc > 2 ? argv[1] : "", variant = argc > 2 ? argv[2] : "";
    long n = argc > 3 ? atol(argv[3]) : 0;

    if (workload == "fork_join")
        fork_join(variant, uint64_t(n ? n : 30));
    else if (workload == "offload_throughput")
        offload_throughput(variant, n ? n : 200000);
    else if (workload == "idle_cpu")
        idle_cpu(variant, n ? n : 10);
    else if (workload != "parallel_for" || !parallel_for(variant, n)) {
        fprintf(stderr, "usage: peer-tbb WORKLOAD VARIANT [N]\n");
        return 2;
    }
    return 0;
}
