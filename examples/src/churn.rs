//! Puts, reads and drops a large number of objects, in the program and in tasks, in constant memory.
//!
//! ```sh
//! cargo run --release -p unidist-examples --bin churn
//! UNIDIST_OBJECT_STORE_MEMORY=16MiB cargo run --release -p unidist-examples --bin churn -- --held 400
//! ```

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::time::Instant;
use unidist::SharedSlice;
use unidist::prelude::*;

/// Put, read and drop objects repeatedly, and print the memory used.
#[derive(Parser)]
struct Arguments {
    /// Number of objects.
    #[arg(long, default_value_t = 1_000_000)]
    cycles: u64,
    /// Number of large objects held at any time; those that do not fit into the store are on disk.
    #[arg(long, default_value_t = 4)]
    held: usize,
}

/// The length of a large object, in items of eight bytes.
const LARGE: usize = 12_500;
/// One in this number of objects is large.
const LARGE_EVERY: u64 = 10;
/// One task per this number of objects does the same.
const TASK_EVERY: u64 = 1000;

fn cycle(
    n: u64,
    held: &mut VecDeque<(u64, ObjectRef<SharedSlice<u64>>)>,
    max_held: usize,
) -> unidist::Result<()> {
    assert_eq!(get(put(n)?)?, n);
    if n.is_multiple_of(LARGE_EVERY) {
        held.push_back((n, put(SharedSlice::build(LARGE, |items| items.fill(n))?)?));
        if held.len() > max_held
            && let Some((n, oldest)) = held.pop_front()
        {
            let view = get(&oldest)?;
            drop(oldest);
            assert!(view.len() == LARGE && view.iter().all(|item| *item == n));
        }
    }
    Ok(())
}

#[remote]
fn cycles_in_a_task(first: u64) -> unidist::Result<()> {
    let mut held = VecDeque::new();
    (first..first + 100).try_for_each(|n| cycle(n, &mut held, 1))
}

/// Resident memory of this process and of its workers, in MiB.
fn resident() -> f64 {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pages = processes.filter_map(|process| {
        let read = |file: &str| std::fs::read_to_string(process.path().join(file)).ok();
        let stat = read("stat")?;
        // The name in parentheses may hold anything; the state and the parent come after it.
        let parent = stat.rsplit(") ").next()?.split(' ').nth(1)? == me;
        let own = process.file_name().to_str()? == me;
        if own || parent { read("statm")?.split(' ').nth(1)?.parse::<u64>().ok() } else { None }
    });
    pages.sum::<u64>() as f64 * 4096.0 / f64::from(1 << 20)
}

fn main() -> unidist::Result<()> {
    let Arguments { cycles, held: max_held } = Arguments::parse();
    let session = unidist::init()?;
    let bar = ProgressBar::new(cycles);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} objects [{elapsed}]") {
        bar.set_style(style);
    }
    let (start, mut held, mut tasks, mut sizes) =
        (Instant::now(), VecDeque::new(), VecDeque::new(), Vec::new());
    for n in 0..cycles {
        cycle(n, &mut held, max_held)?;
        if n.is_multiple_of(TASK_EVERY) {
            tasks.push_back(cycles_in_a_task.remote(n));
            if tasks.len() > 4 {
                tasks.pop_front().map_or(Ok(()), get)?;
            }
        }
        if (n + 1).is_multiple_of((cycles / 10).max(1)) {
            sizes.push(resident());
            bar.set_position(n + 1);
        }
    }
    get(Vec::from(tasks))?;
    let usage = unidist::store_usage()?;
    held.clear();
    bar.finish_and_clear();
    let shown: Vec<_> = sizes.iter().map(|size| format!("{size:.1}")).collect();
    println!("resident memory after each tenth, in MiB: {}", shown.join(" "));
    println!("the store at the end: {} bytes in memory, {} on disk", usage.used, usage.spilled);
    println!("{cycles} objects in {:.1} s", start.elapsed().as_secs_f64());
    drop(session);
    Ok(())
}
