//! The thread on which an executor runs user callbacks, so that they may block and panic.

use super::completion::lock;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one after the other on a thread, which starts with the first job and ends when this is dropped.
#[derive(Default)]
pub(super) struct Callbacks(Mutex<Option<CallbackThread>>);

struct CallbackThread {
    sender: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Callbacks {
    /// Queues a job. It never blocks.
    pub(super) fn run(&self, job: Job) {
        let mut running = lock(&self.0);
        if running.is_none() {
            match start() {
                Ok(started) => *running = Some(started),
                Err(error) => {
                    drop(running);
                    log::error!(
                        "cannot start an executor's callback thread: {error}; the callback runs on this thread"
                    );
                    return run_guarded(job);
                }
            }
        }
        if let Some(running) = &*running {
            // The thread receives as long as there is a sender.
            let _ = running.sender.send(job);
        }
    }

    /// Whether this is the callback thread, on which waiting for a job would never end.
    pub(super) fn is_here(&self) -> bool {
        is_callback_thread() && lock(&self.0).as_ref().is_some_and(CallbackThread::is_here)
    }

    /// Waits until all queued jobs have run; on the callback thread, returns at once.
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
        let _ = waits.recv(); // an error is expected: the job has dropped the sender
    }
}

impl CallbackThread {
    fn is_here(&self) -> bool {
        self.thread.thread().id() == thread::current().id()
    }
}

thread_local! {
    static IS_CALLBACK_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the callback thread of any executor.
pub(super) fn is_callback_thread() -> bool {
    IS_CALLBACK_THREAD.get()
}

fn start() -> std::io::Result<CallbackThread> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let thread = thread::Builder::new().name("unidist-executor".to_owned()).spawn(move || {
        IS_CALLBACK_THREAD.set(true);
        jobs.into_iter().for_each(run_guarded);
    })?;
    Ok(CallbackThread { sender, thread })
}

fn run_guarded(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        log::error!("a callback of an executor's future panicked: see the panic message above");
    }
}
