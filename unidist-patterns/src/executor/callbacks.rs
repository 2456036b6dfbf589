//! The thread on which an executor runs its users' callbacks, so that they may wait and fail as they like.

use super::notice::lock;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one after the other, on a thread that is started for the first of them, and ends when this is dropped.
#[derive(Default)]
pub(super) struct Callbacks(Mutex<Option<Running>>);

struct Running {
    sender: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Callbacks {
    /// Hands a job in. It never waits.
    pub(super) fn run(&self, job: Job) {
        let mut running = lock(&self.0);
        if running.is_none() {
            match start() {
                Ok(started) => *running = Some(started),
                Err(error) => {
                    drop(running);
                    log::error!("no thread for an executor's callbacks could be started: {error}");
                    return guarded(job); // better here than never
                }
            }
        }
        if let Some(running) = &*running {
            // The thread takes what is sent for as long as there is a sender.
            let _ = running.sender.send(job);
        }
    }

    /// Whether this is their thread: what waits here for a job waits for ever.
    pub(super) fn is_here(&self) -> bool {
        is_any_here() && lock(&self.0).as_ref().is_some_and(Running::is_here)
    }

    /// Waits until all that were handed in have run. On their own thread it does not wait.
    pub(super) fn drain(&self) {
        let (done, waits) = mpsc::channel::<()>();
        {
            let running = lock(&self.0);
            match &*running {
                Some(running) if !running.is_here() => {
                    let _ = running.sender.send(Box::new(move || drop(done)));
                }
                _ => return,
            }
        }
        let _ = waits.recv(); // an error: the sender was dropped, by the job
    }
}

impl Running {
    fn is_here(&self) -> bool {
        self.thread.thread().id() == thread::current().id()
    }
}

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread of some executor's callbacks.
pub(super) fn is_any_here() -> bool {
    IS_HERE.get()
}

fn start() -> std::io::Result<Running> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let thread = thread::Builder::new().name("unidist-executor".to_owned()).spawn(move || {
        IS_HERE.set(true);
        jobs.into_iter().for_each(guarded);
    })?;
    Ok(Running { sender, thread })
}

fn guarded(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        log::error!("a callback of an executor's future panicked; the message is above");
    }
}
