// SPDX-License-Identifier: BSD-3-Clause
//! What rayon alone does.
use crate::bench::*;
use rayon::prelude::*;
use std::time::Instant;

fn fib(n: usize) -> u64 {
    (0..n).fold((0u64, 1u64), |(a, b), _| (b, a + b)).0
}

#[inline(never)]
fn fib_serial(n: usize) -> u64 {
    if n < 2 {
        n as u64
    } else {
        fib_serial(n - 1) + fib_serial(n - 2)
    }
}

fn fib_rayon(n: usize) -> u64 {
    if n < 2 {
        return n as u64;
    }
    let (a, b) = rayon::join(|| fib_rayon(n - 1), || fib_rayon(n - 2));
    a + b
}

/// Variants: serial, or the number of rayon's threads.
pub fn fork_join(variant: &str, n: usize) {
    let pool = rayon_pool(variant.parse().unwrap_or(1));
    let serial = variant == "serial";
    let forks = fib(n + 1) as f64 - 1.0;
    let mut r = Rounds::of(if serial { "rust" } else { "rayon" }, "fork_join", variant, n, "ns/join");
    r.each(|| {
        let start = Instant::now();
        let result = if serial { fib_serial(opaque(n)) } else { pool.install(|| fib_rayon(opaque(n))) };
        let ns = start.elapsed().as_nanos() as f64 / forks;
        expect(result == fib(n), "fib");
        ns
    });
    r.report("");
}

/// Microseconds for each of so many loops.
fn time_loops(r: &mut Rounds, loops: usize, mut f: impl FnMut()) {
    r.each(|| {
        let start = Instant::now();
        for _ in 0..loops {
            f();
        }
        start.elapsed().as_nanos() as f64 / loops as f64 / 1000.0
    });
}

fn root(i: usize) -> f64 {
    let y = i as f64;
    y.sqrt().mul_add(0.5, (y + 1.0).sqrt())
}

/// Each loop is called from inside the pool (warm), or from outside (cold).
fn overhead(r: &mut Rounds, loops: usize, pool: &rayon::ThreadPool, cold: bool) {
    let mut a = vec![0u32; 1000];
    let mut increment = || a.par_iter_mut().for_each(|x| *x = x.wrapping_add(1));
    if cold {
        time_loops(r, loops, || pool.install(&mut increment));
    } else {
        pool.install(|| time_loops(r, loops, increment));
    }
    let known = (loops * (rounds_wanted() + 1)) as u32;
    expect(a.iter().all(|&x| x == known), "each element once in each loop");
}

fn balanced(r: &mut Rounds, n: usize, pool: &rayon::ThreadPool) {
    let mut a = vec![0f64; n];
    pool.install(|| time_loops(r, 1, || a.par_iter_mut().enumerate().for_each(|(i, x)| *x = root(i))));
    expect(a.iter().enumerate().all(|(i, &x)| x == root(i)), "roots");
}

fn skewed(r: &mut Rounds, n: usize, pool: &rayon::ThreadPool) {
    let mut a = vec![0u64; n];
    let known = |i: usize| chain(i as u64 + 1, (i / 10) as u32);
    pool.install(|| time_loops(r, 1, || a.par_iter_mut().enumerate().for_each(|(i, x)| *x = known(i))));
    expect(a.iter().enumerate().all(|(i, &x)| x == known(i)), "chains");
}

fn reduce(r: &mut Rounds, n: usize, pool: &rayon::ThreadPool) {
    let a: Vec<f64> = (0..n).map(|i| i as f64 * 0.5).collect();
    let known = (n * (n - 1) / 2) as f64 * 0.5;
    pool.install(|| time_loops(r, 1, || expect(a.par_iter().sum::<f64>() == known, "sum")));
}

/// Variants: overhead, overhead_cold, balanced, skewed, reduce; each on two threads.
pub fn parallel_for(variant: &str, n: Option<usize>) {
    let pool = rayon_pool(2);
    let size = n.unwrap_or(match variant {
        "balanced" => 10_000_000,
        "skewed" => 20_000,
        "reduce" => 50_000_000,
        _ => 5000,
    });
    let iterations = if variant.starts_with("overhead") { 1000 } else { size };
    let mut r = Rounds::of("rayon", "parallel_for", variant, iterations, "us");
    match variant {
        "overhead" => overhead(&mut r, size, &pool, false),
        "overhead_cold" => overhead(&mut r, size, &pool, true),
        "balanced" => balanced(&mut r, size, &pool),
        "skewed" => skewed(&mut r, size, &pool),
        "reduce" => reduce(&mut r, size, &pool),
        _ => panic!("no such variant"),
    }
    r.report("");
}
