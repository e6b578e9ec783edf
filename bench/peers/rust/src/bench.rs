// SPDX-License-Identifier: BSD-3-Clause
//! As in bench.h: the work, the truth, the rounds, the JSON line; and how runtimes and pools are made.
use std::time::Instant;

pub const CHAIN_US: u32 = 700;
pub const CHAIN_HEAVY: u32 = 7_000_000;
pub const HEAVY_CHUNKS: u32 = 64;
pub const OUTSTANDING: usize = 256;
pub const MESSAGE_BYTES: usize = 64;
pub const ANSWER_AT: usize = 8;
pub const SEED: u64 = 88172645463325252;

#[inline(never)]
pub fn chain(mut x: u64, n: u32) -> u64 {
    for _ in 0..n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

/// The same number, of which the compiler knows nothing. (std::hint::black_box is younger than Debian's compiler.)
pub fn opaque(n: usize) -> usize {
    // SAFETY: it reads a local.
    unsafe { std::ptr::read_volatile(&n) }
}

pub fn expect(holds: bool, what: &str) {
    if !holds {
        eprintln!("wrong result: {what}");
        std::process::exit(1);
    }
}

/// Job i of a series is `chain(job_seed(i), work)`: what n of them must add up to.
pub fn job_seed(i: usize) -> u64 {
    (i % OUTSTANDING) as u64 + 1
}

pub fn jobs_sum(n: usize, work: u32) -> u64 {
    (0..OUTSTANDING.min(n)).fold(0u64, |sum, i| {
        let times = n / OUTSTANDING + usize::from(i < n % OUTSTANDING);
        sum.wrapping_add(chain(job_seed(i), work).wrapping_mul(times as u64))
    })
}

/// User and system CPU seconds of this process.
pub fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is written to a local.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    assert_eq!(rc, 0);
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

pub fn resident_bytes() -> u64 {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap();
    s.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Measures as many rounds as BENCH_ROUNDS says, after one that is thrown away, and prints a JSON line.
pub struct Rounds<'a> {
    pub peer: &'a str,
    pub workload: &'a str,
    pub variant: &'a str,
    pub n: usize,
    pub unit: &'a str,
    pub samples: Vec<f64>,
    began: Instant,
    cpu: f64,
}

pub fn rounds_wanted() -> usize {
    std::env::var("BENCH_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(7).max(1)
}

impl<'a> Rounds<'a> {
    pub fn of(peer: &'a str, workload: &'a str, variant: &'a str, n: usize, unit: &'a str) -> Self {
        Rounds { peer, workload, variant, n, unit, samples: Vec::new(), began: Instant::now(), cpu: cpu_seconds() }
    }

    /// After the warm-up.
    pub fn start(&mut self) {
        self.began = Instant::now();
        self.cpu = cpu_seconds();
    }

    pub fn each(&mut self, mut round: impl FnMut() -> f64) {
        round();
        self.start();
        for _ in 0..rounds_wanted() {
            self.samples.push(round());
        }
    }

    pub fn report(mut self, extra: &str) {
        let cpus = (cpu_seconds() - self.cpu) / self.began.elapsed().as_secs_f64();
        let v = &mut self.samples;
        v.sort_by(f64::total_cmp);
        println!(
            "{{\"peer\":\"{}\",\"workload\":\"{}\",\"variant\":\"{}\",\"n\":{},\"unit\":\"{}\",\"median\":{:.4},\
             \"min\":{:.4},\"max\":{:.4},\"rounds\":{},\"cpus\":{:.3}{}}}",
            self.peer,
            self.workload,
            self.variant,
            self.n,
            self.unit,
            v[v.len() / 2],
            v[0],
            v[v.len() - 1],
            v.len(),
            cpus,
            extra
        );
    }
}

/// Sorts, and returns the value that share (0 to 1) of them do not exceed.
pub fn at(v: &mut [u32], share: f64) -> u32 {
    v.sort_unstable();
    v[(share * (v.len() - 1) as f64 + 0.5) as usize]
}

/// `ct` is tokio's current_thread, `mtN` multi_thread with N workers.
pub fn runtime(kind: &str, blocking_threads: usize) -> tokio::runtime::Runtime {
    let mut b = match kind.strip_prefix("mt") {
        Some(n) => {
            let mut b = tokio::runtime::Builder::new_multi_thread();
            b.worker_threads(n.parse().unwrap());
            b
        }
        None => tokio::runtime::Builder::new_current_thread(),
    };
    b.enable_all().max_blocking_threads(blocking_threads).build().unwrap()
}

pub fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}
