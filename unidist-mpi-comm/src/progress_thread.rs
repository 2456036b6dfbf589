//! A thread of the rank that owns a window: it has MPI serve the one-sided operations of other ranks while the program
//! computes or sleeps.

use crate::{Communicator, Mpi};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unidist_sync::Backoff;

/// The longest pause between two polls while the window is idle.
const MAX_PAUSE: Duration = Duration::from_millis(4);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ProgressThread {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Communicator>>,
}

impl ProgressThread {
    /// Starts it. It probes `ranks` for messages, of which there are none, because a probe has MPI make progress on
    /// everything. It polls more often while `activity` changes.
    pub(crate) fn start(
        ranks: Communicator,
        activity: impl Fn() -> u64 + Send + 'static,
    ) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = stopped.clone();
        let run = move || {
            let (mut last, mut since) = (None, Instant::now());
            while !is_stopped.load(Ordering::Acquire) {
                // While another thread holds the lock, its calls drive progress; and when MPI ends, the lock is held for
                // good.
                if let Some(_guard) = Mpi::try_lock_calls()
                    && Mpi::is_active()
                {
                    ranks.drive_progress();
                    let now = Some(activity());
                    if now != last {
                        (last, since) = (now, Instant::now());
                    }
                }
                std::thread::park_timeout(Backoff::since(since).next_pause().min(MAX_PAUSE));
            }
            ranks
        };
        let thread = std::thread::Builder::new().name("unidist-progress".into()).spawn(run)?;
        Ok(ProgressThread { stopped, thread: Some(thread) })
    }

    /// Ends the thread and returns the communicator.
    pub(crate) fn stop(&mut self) -> Option<Communicator> {
        self.stopped.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Drop for ProgressThread {
    fn drop(&mut self) {
        self.stop();
    }
}
