//! A thread of the rank that has a window: it has MPI look after what other ranks do there, while the program computes or
//! sleeps.

use super::together::Pauses;
use super::{Communicator, Mpi};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When nothing has happened for long, it looks this often.
const LONGEST: Duration = Duration::from_millis(4);

/// The thread; it ends with this value.
#[derive(Debug)]
pub(super) struct Attendant {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Communicator>>,
}

impl Attendant {
    /// Starts it. It looks for messages of these ranks, of which there are none, since that has MPI look after everything; and
    /// more often while the pulse changes.
    pub(super) fn start(ranks: Communicator, pulse: impl Fn() -> u64 + Send + 'static) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let end = is_over.clone();
        let attend = move || {
            let (mut last, mut since) = (None, Instant::now());
            while !end.load(Ordering::Acquire) {
                // Whoever else calls MPI has it look around, too; and once MPI ends, nobody's turn comes any more.
                if let Some(_turn) = Mpi::turn_if_free()
                    && !Mpi::is_over()
                {
                    ranks.look_around();
                    let now = Some(pulse());
                    if now != last {
                        (last, since) = (now, Instant::now());
                    }
                }
                std::thread::park_timeout(Pauses::since(since).next().min(LONGEST));
            }
            ranks
        };
        let thread = std::thread::Builder::new().name("unidist-attendant".into()).spawn(attend)?;
        Ok(Attendant { is_over, thread: Some(thread) })
    }

    /// Ends the thread, and gives the ranks back.
    pub(super) fn dismiss(&mut self) -> Option<Communicator> {
        self.is_over.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.dismiss();
    }
}
