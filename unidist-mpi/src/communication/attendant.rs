//! A thread of the rank that has a window: it has MPI look after what other ranks do there, while the program computes or
//! sleeps.

use super::Mpi;
use super::together::Pauses;
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
    thread: Option<JoinHandle<()>>,
}

impl Attendant {
    /// Starts it. It looks more often while the pulse changes.
    pub(super) fn start(pulse: impl Fn() -> u64 + Send + 'static) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let end = is_over.clone();
        let attend = move || {
            let (mut last, mut since) = (pulse(), Instant::now());
            while !end.load(Ordering::Acquire) {
                // Whoever else calls MPI has it look around, too.
                if let Some(_turn) = Mpi::turn_if_free() {
                    Mpi::look_around();
                }
                let now = pulse();
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                std::thread::park_timeout(Pauses::since(since).next().min(LONGEST));
            }
        };
        let thread = std::thread::Builder::new().name("unidist-attendant".into()).spawn(attend)?;
        Ok(Attendant { is_over, thread: Some(thread) })
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It has nothing to say, even if it has panicked.
            let _ = thread.join();
        }
    }
}
