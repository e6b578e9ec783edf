// SPDX-License-Identifier: BSD-3-Clause
//! TCP servers: echo_tcp, and mixed with light and heavy messages.
use crate::bench::*;
use rayon::prelude::*;
use std::future::Future;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve<F, R>(port: u16, connection: F)
where
    F: Fn(TcpStream) -> R,
    R: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if stream.set_nodelay(true).is_ok() {
            tokio::spawn(connection(stream));
        }
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0u8; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

pub fn echo_tcp(variant: &str, port: u16) {
    runtime(variant, 2).block_on(serve(port, echo));
}

/// How a heavy message is computed.
#[derive(Clone)]
enum Heavy {
    Inline,
    Blocking,
    Rayon(Arc<rayon::ThreadPool>),
}

fn chunk(i: u32) -> u64 {
    chain(i as u64 + 1, CHAIN_HEAVY / HEAVY_CHUNKS)
}

fn in_order() -> u64 {
    (0..HEAVY_CHUNKS).map(chunk).fold(0u64, u64::wrapping_add)
}

async fn compute(heavy: &Heavy) -> u64 {
    match heavy {
        Heavy::Inline => in_order(),
        Heavy::Blocking => tokio::task::spawn_blocking(in_order).await.unwrap(),
        Heavy::Rayon(pool) => {
            let (tx, rx) = tokio::sync::oneshot::channel();
            pool.spawn(move || {
                let sum = (0..HEAVY_CHUNKS).into_par_iter().map(chunk).reduce(|| 0, u64::wrapping_add);
                let _ = tx.send(sum);
            });
            rx.await.unwrap()
        }
    }
}

async fn light_and_heavy(mut stream: TcpStream, heavy: Heavy) -> std::io::Result<()> {
    let mut message = [0u8; MESSAGE_BYTES];
    loop {
        stream.read_exact(&mut message).await?;
        if message[0] == b'H' {
            let sum = compute(&heavy).await;
            message[ANSWER_AT..ANSWER_AT + 8].copy_from_slice(&sum.to_ne_bytes());
        }
        stream.write_all(&message).await?;
    }
}

/// Variants: RT-rayon, RT-inline, RT-blocking.
pub fn mixed(variant: &str, port: u16) {
    let (kind, how) = variant.split_once('-').expect("RT-HOW");
    let heavy = match how {
        "rayon" => Heavy::Rayon(Arc::new(rayon_pool(2))),
        "blocking" => Heavy::Blocking,
        _ => Heavy::Inline,
    };
    runtime(kind, 2).block_on(serve(port, move |stream| light_and_heavy(stream, heavy.clone())));
}
