//! A thousand asynchronous tasks that sleep for 50 ms, on two workers, beside the same on tokio in the same run; and
//! ten thousand tasks that await a task each.
//!
//! `cargo run --release -p unidist-bench --example async_sleepers`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use unidist::prelude::*;

const TASKS: usize = 1_000;
const SLEEP: Duration = Duration::from_millis(50);
const PARENTS: i64 = 10_000;
const ROUNDS: usize = 5;

#[remote]
async fn sleeper() -> u32 {
    tokio::time::sleep(SLEEP).await;
    std::process::id()
}

#[remote]
fn child(x: i64) -> i64 {
    x + 1
}

#[remote]
async fn parent(x: i64) -> unidist::Result<i64> {
    child.remote(x).await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    unidist::config::CpuCount::put(2)?;
    let _session = unidist::init()?;
    get((0..4).map(|_| sleeper.remote()).collect::<Vec<_>>())?; // the runtimes of the workers start
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let processes = get((0..TASKS).map(|_| sleeper.remote()).collect::<Vec<_>>())?;
        let ours = begun.elapsed();
        let begun = Instant::now();
        runtime.block_on(async {
            let all: Vec<_> = (0..TASKS).map(|_| tokio::spawn(tokio::time::sleep(SLEEP))).collect();
            for one in all {
                let _ = one.await;
            }
        });
        let theirs = begun.elapsed();
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let processes = processes.into_iter().collect::<BTreeSet<_>>().len();
        println!("{TASKS} sleepers: {ours:.1?} in {processes} processes, tokio {theirs:.1?}: {ratio:.2} ×");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median of {ROUNDS} rounds: {:.2} ×", ratios[ROUNDS / 2]);
    let begun = Instant::now();
    let sum: i64 = get((0..PARENTS).map(|x| parent.remote(x)).collect::<Vec<_>>())?.iter().sum();
    assert_eq!(sum, PARENTS * (PARENTS + 1) / 2);
    println!("{PARENTS} parents that await a child each: {:.1?}", begun.elapsed());
    Ok(())
}
