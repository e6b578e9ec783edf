// SPDX-License-Identifier: BSD-3-Clause
//! A task hands work to a pool and awaits it: tokio's blocking threads, or rayon with a oneshot channel.
use crate::bench::*;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

type Pool = Option<Arc<rayon::ThreadPool>>; // None: tokio's blocking threads

/// On a multi_thread runtime the task is itself spawned, so that it runs on a worker.
fn drive<T: Send + 'static>(rt: &Runtime, kind: &str, f: impl Future<Output = T> + Send + 'static) -> T {
    if kind == "ct" {
        rt.block_on(f)
    } else {
        rt.block_on(async { tokio::spawn(f).await.unwrap() })
    }
}

fn submit(pool: &rayon::ThreadPool, i: usize, work: u32) -> oneshot::Receiver<u64> {
    let (tx, rx) = oneshot::channel();
    pool.spawn(move || {
        let _ = tx.send(chain(job_seed(i), work));
    });
    rx
}

async fn trip(pool: &Pool, i: usize, work: u32) -> u64 {
    match pool {
        None => tokio::task::spawn_blocking(move || chain(job_seed(i), work)).await.unwrap(),
        Some(p) => submit(p, i, work).await.unwrap(),
    }
}

fn pool_named(name: &str) -> Pool {
    (name == "rayon").then(|| Arc::new(rayon_pool(2)))
}

async fn trips(pool: Pool, n: usize) -> (f64, u64) {
    let start = Instant::now();
    let mut sum = 0u64;
    for i in 0..n {
        sum = sum.wrapping_add(trip(&pool, i, 0).await);
    }
    (start.elapsed().as_nanos() as f64 / n as f64, sum)
}

async fn timed_trips(pool: Pool, n: usize) -> Vec<u32> {
    let mut all = Vec::with_capacity(n);
    let mut last = Instant::now();
    for i in 0..n {
        trip(&pool, i, 0).await;
        let now = Instant::now();
        all.push((now - last).as_nanos() as u32);
        last = now;
    }
    all
}

/// Variants: `RT-POOL`: RT ct or mt2, POOL blocking (two threads) or rayon.
pub fn rtt(variant: &str, n: usize) {
    let (kind, pool_kind) = variant.split_once('-').expect("RT-POOL");
    let rt = runtime(kind, 2);
    let pool = pool_named(pool_kind);
    let mut r = Rounds::of("tokio", "offload_rtt", variant, n, "ns");
    r.each(|| {
        let (ns, sum) = drive(&rt, kind, trips(pool.clone(), n));
        expect(sum == jobs_sum(n, 0), "the jobs' sum");
        ns
    });
    let mut all = drive(&rt, kind, timed_trips(pool, n));
    let (p50, p99) = (at(&mut all, 0.5), at(&mut all, 0.99));
    r.report(&format!(",\"p50\":{p50},\"p99\":{p99}"));
}

// --- throughput ---

/// One task with a FIFO of 256 handles.
async fn ring(pool: Pool, n: usize, work: u32) -> u64 {
    match pool {
        None => {
            let job = |i| tokio::task::spawn_blocking(move || chain(job_seed(i), work));
            let mut fifo = VecDeque::with_capacity(OUTSTANDING);
            let mut sum = 0u64;
            for i in 0..n {
                if fifo.len() == OUTSTANDING {
                    let handle: tokio::task::JoinHandle<u64> = fifo.pop_front().unwrap();
                    sum = sum.wrapping_add(handle.await.unwrap());
                }
                fifo.push_back(job(i));
            }
            for handle in fifo {
                sum = sum.wrapping_add(handle.await.unwrap());
            }
            sum
        }
        Some(p) => {
            let mut fifo = VecDeque::with_capacity(OUTSTANDING);
            let mut sum = 0u64;
            for i in 0..n {
                if fifo.len() == OUTSTANDING {
                    let handle: oneshot::Receiver<u64> = fifo.pop_front().unwrap();
                    sum = sum.wrapping_add(handle.await.unwrap());
                }
                fifo.push_back(submit(&p, i, work));
            }
            for handle in fifo {
                sum = sum.wrapping_add(handle.await.unwrap());
            }
            sum
        }
    }
}

/// 256 tasks, one job each.
async fn tasks(pool: Pool, n: usize, work: u32) -> u64 {
    let mut clients = Vec::new();
    for first in 0..OUTSTANDING {
        let pool = pool.clone();
        clients.push(tokio::spawn(async move {
            let mut sum = 0u64;
            for i in (first..n).step_by(OUTSTANDING) {
                sum = sum.wrapping_add(trip(&pool, i, work).await);
            }
            sum
        }));
    }
    let mut sum = 0u64;
    for c in clients {
        sum = sum.wrapping_add(c.await.unwrap());
    }
    sum
}

/// Variants: `RT-POOL-MODE-JOB`: POOL blocking (two threads), blockingdef (tokio's default limit) or rayon; MODE ring
/// or tasks; JOB us or empty.
pub fn throughput(variant: &str, n: usize) {
    let p: Vec<&str> = variant.split('-').collect();
    let (kind, pool_kind, mode, work) = (p[0], p[1], p[2], if p[3] == "us" { CHAIN_US } else { 0 });
    let rt = runtime(kind, if pool_kind == "blockingdef" { 512 } else { 2 });
    let pool = pool_named(pool_kind);
    let known = jobs_sum(n, work);
    let mut r = Rounds::of("tokio", "offload_throughput", variant, n, "jobs/s");
    r.each(|| {
        let start = Instant::now();
        let sum = if mode == "ring" {
            drive(&rt, kind, ring(pool.clone(), n, work))
        } else {
            rt.block_on(tasks(pool.clone(), n, work))
        };
        let rate = n as f64 / start.elapsed().as_secs_f64();
        expect(sum == known, "the jobs' sum");
        rate
    });
    r.report("");
}
