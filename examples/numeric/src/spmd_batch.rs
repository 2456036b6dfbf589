//! Tasks for groups of ranks: each group takes the next open task when it has finished its last one. The states of the
//! tasks are kept in files, so a second run has nothing to do.
//!
//! ```sh
//! cargo run -p unidist-examples-numeric --bin spmd_batch -- batch
//! cargo build -p unidist-examples-numeric --features mpi --bin spmd_batch
//! mpiexec -n 4 target/debug/spmd_batch batch
//! cat batch/*/state
//! ```

use clap::Parser;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use unidist::spmd::{Batch, Communicator, TaskState, exception_guard};

/// Run tasks that sleep for a random time, in two groups of ranks.
#[derive(Parser)]
struct Arguments {
    /// Directory for the states of the tasks; created if missing.
    directory: PathBuf,
    /// Number of tasks.
    #[arg(long, default_value_t = 10)]
    tasks: usize,
    /// Minimum duration of a task in milliseconds; the maximum is twice as long.
    #[arg(long, default_value_t = 200)]
    nap: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let world = Communicator::world()?;
    let names = (0..arguments.tasks).map(|task| format!("task_{task:03}"));
    let mut batch = Batch::new(arguments.tasks)
        .worker_size(if world.size() % 2 == 0 { world.size() / 2 } else { world.size() })
        .directory(&arguments.directory, names)
        .build(&world)?;

    let group = batch.worker_comm().clone();
    let mut done = Vec::new();
    while let Some(task) = batch.next_task()? {
        // If a rank of the group fails, all of them learn of it and continue with the next task together.
        let state = match exception_guard(&group, || nap(&group, arguments.nap)) {
            Ok(()) => TaskState::Done,
            Err(_) => TaskState::Failed,
        };
        if group.rank() == 0 {
            batch.set_task_state(task, state)?;
        }
        done.push(format!("{task} {state}"));
    }

    for worker in 0..batch.n_worker() {
        if worker == batch.worker() && group.rank() == 0 {
            let done = if done.is_empty() { "nothing".to_owned() } else { done.join(", ") };
            println!("worker {worker} of {}: {done}", batch.n_worker());
        }
        world.barrier()?;
    }
    batch.close()?;
    Ok(())
}

/// The work of one rank for one task.
fn nap(group: &Communicator, least: u64) -> unidist::spmd::Result<()> {
    std::thread::sleep(Duration::from_millis(fastrand::u64(least..=2 * least)));
    group.barrier() // the task is done when all ranks have done their part
}
