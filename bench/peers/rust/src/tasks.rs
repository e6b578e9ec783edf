// SPDX-License-Identifier: BSD-3-Clause
//! What tokio alone does; and idling, with rayon beside it.
use crate::bench::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

async fn spawn_and_join(n: usize) -> f64 {
    let start = Instant::now();
    let mut handles = Vec::with_capacity(n);
    for i in 0..n {
        handles.push(tokio::spawn(async move { i }));
    }
    let mut sum = 0usize;
    for h in handles {
        sum += h.await.unwrap();
    }
    let ns = start.elapsed().as_nanos() as f64 / n as f64;
    expect(sum == n * (n - 1) / 2, "every task once");
    ns
}

pub fn spawn_join(variant: &str, n: usize) {
    let rt = runtime(variant, 2);
    let mut r = Rounds::of("tokio", "spawn_join", variant, n, "ns/task");
    r.each(|| match variant {
        "ct" => rt.block_on(spawn_and_join(n)),
        _ => rt.block_on(async { tokio::spawn(spawn_and_join(n)).await.unwrap() }),
    });
    r.report("");
}

async fn play(n: usize) -> f64 {
    let (there_tx, mut there_rx) = mpsc::channel::<u64>(1);
    let (back_tx, mut back_rx) = mpsc::channel::<u64>(1);
    let pong = tokio::spawn(async move {
        while let Some(x) = there_rx.recv().await {
            if back_tx.send(x + 1).await.is_err() {
                break;
            }
        }
    });
    let ping = tokio::spawn(async move {
        let start = Instant::now();
        let mut x = 0;
        for _ in 0..n / 2 {
            there_tx.send(x).await.unwrap();
            x = back_rx.recv().await.unwrap();
        }
        let ns = start.elapsed().as_nanos() as f64 / n as f64;
        expect(x == (n / 2) as u64, "one more at each return");
        ns
    });
    let ns = ping.await.unwrap();
    pong.await.unwrap();
    ns
}

/// Two tasks, and two mpsc channels of capacity 1.
pub fn ping_pong(variant: &str, n: usize) {
    let rt = runtime(variant, 2);
    let mut r = Rounds::of("tokio", "ping_pong", variant, n, "ns/hop");
    r.each(|| rt.block_on(play(n)));
    r.report("");
}

/// Variants: RT-sleep (each task sleeps an hour) or RT-pending (each waits for a oneshot).
pub fn mem_per_task(variant: &str, n: usize) {
    let (kind, what) = variant.split_once('-').expect("RT-WHAT");
    let mut r = Rounds::of("tokio", "mem_per_task", variant, n, "bytes/task");
    runtime(kind, 2).block_on(async {
        let mut keep = Vec::with_capacity(n);
        let begun = Arc::new(AtomicUsize::new(0));
        r.start();
        let before = resident_bytes();
        for _ in 0..n {
            let begun = begun.clone();
            if what == "sleep" {
                tokio::spawn(async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                });
            } else {
                let (tx, rx) = oneshot::channel::<u8>();
                keep.push(tx);
                tokio::spawn(async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    let _ = rx.await;
                });
            }
        }
        while begun.load(Ordering::Relaxed) < n {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        r.samples.push((resident_bytes() - before) as f64 / n as f64);
        r.report("");
        std::process::exit(0);
    });
}

pub fn timers(variant: &str, n: usize) {
    let mut r = Rounds::of("tokio", "timers", variant, n, "cpu_s");
    runtime(variant, 2).block_on(async {
        let mut seed = SEED;
        let mut handles = Vec::with_capacity(n);
        r.start();
        let (cpu, start) = (cpu_seconds(), Instant::now());
        for _ in 0..n {
            seed = chain(seed, 1);
            let due = start + Duration::from_nanos(1_000_000_000 + seed % 1_000_000_000);
            handles.push(tokio::spawn(async move {
                tokio::time::sleep_until(due.into()).await;
                let now = Instant::now();
                expect(now >= due, "no timer fires early");
                (now - due).as_micros() as u32
            }));
        }
        let create = start.elapsed().as_secs_f64();
        let mut late = Vec::with_capacity(n);
        for h in handles {
            late.push(h.await.unwrap());
        }
        let wall = start.elapsed().as_secs_f64();
        r.samples.push(cpu_seconds() - cpu);
        let (p50, p99) = (at(&mut late, 0.5), at(&mut late, 0.99));
        r.report(&format!(
            ",\"create_s\":{create:.3},\"wall_s\":{wall:.3},\"late_p50_us\":{p50},\"late_p99_us\":{p99}"
        ));
    });
}

/// A runtime of two workers and a rayon pool of two, used once.
pub fn idle_cpu(variant: &str, seconds: usize) {
    let (rt, pool) = (runtime("mt2", 2), rayon_pool(2));
    let mut r = Rounds::of("tokio", "idle_cpu", variant, seconds, "%");
    rt.block_on(async {
        let (tx, rx) = oneshot::channel();
        pool.spawn(move || {
            let _ = tx.send(chain(1, CHAIN_US));
        });
        expect(rx.await.unwrap() == chain(1, CHAIN_US), "the job's result");
        r.start();
        let cpu = cpu_seconds();
        tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
        r.samples.push(100.0 * (cpu_seconds() - cpu) / seconds as f64);
    });
    r.report("");
}
