// SPDX-License-Identifier: BSD-3-Clause
//! peer-rust: tokio and rayon: `peer-rust WORKLOAD VARIANT [N | PORT]`.
mod bench;
mod compute;
mod offload;
mod servers;
mod tasks;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let workload = args.get(1).map(String::as_str).unwrap_or("");
    let variant = args.get(2).map(String::as_str).unwrap_or("");
    let n: Option<usize> = args.get(3).and_then(|s| s.parse().ok());
    match workload {
        "offload_rtt" => offload::rtt(variant, n.unwrap_or(20_000)),
        "offload_throughput" => offload::throughput(variant, n.unwrap_or(200_000)),
        "fork_join" => compute::fork_join(variant, n.unwrap_or(35)),
        "parallel_for" => compute::parallel_for(variant, n),
        "spawn_join" => tasks::spawn_join(variant, n.unwrap_or(100_000)),
        "ping_pong" => tasks::ping_pong(variant, n.unwrap_or(1_000_000)),
        "mem_per_task" => tasks::mem_per_task(variant, n.unwrap_or(100_000)),
        "timers" => tasks::timers(variant, n.unwrap_or(100_000)),
        "idle_cpu" => tasks::idle_cpu(variant, n.unwrap_or(10)),
        "echo_tcp" => servers::echo_tcp(variant, n.unwrap_or(9000) as u16),
        "mixed" => servers::mixed(variant, n.unwrap_or(9000) as u16),
        _ => {
            eprintln!("usage: peer-rust WORKLOAD VARIANT [N | PORT]");
            std::process::exit(2);
        }
    }
}
