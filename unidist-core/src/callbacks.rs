//! The thread that runs code of the program for the session: callbacks and wakers.
//!
//! Such code may panic, or take a lock that a thread of the program holds while it is in `get` or `.remote`. So it runs on
//! a thread of its own, one after the other, and never on the engine's thread or within another function of unidist.
//! The thread starts with the first job and ends with the session, once all jobs have run. It is one of the workspace's
//! mutable statics, because refs and futures outlive sessions.
//!
//! The runner's own wakers only queue a future and wake the runner; they need no thread.

use crate::panics::message_of;
use crate::session;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::ThreadId;

type Job = Box<dyn FnOnce() + Send>;

struct Callbacks {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<(&'static str, Job)>,
    /// The thread, while there is one.
    thread: Option<ThreadId>,
    /// The thread ends when there is no job.
    is_ending: bool,
}

static CALLBACKS: Callbacks = Callbacks {
    state: Mutex::new(State { jobs: VecDeque::new(), thread: None, is_ending: false }),
    changed: Condvar::new(),
};

/// Has the thread run this code of the program, which errors call `what`, after what it was given before.
pub(crate) fn run(what: &'static str, job: impl FnOnce() + Send + 'static) {
    if session::is_forked() {
        return guarded(what, Box::new(job)); // the thread is in the other process, and so may be the holder of the lock
    }
    let mut state = CALLBACKS.lock();
    state.jobs.push_back((what, Box::new(job)));
    if state.thread.is_some() {
        drop(state);
        CALLBACKS.changed.notify_all();
        return;
    }
    let thread = std::thread::Builder::new().name("unidist-callback".into()).spawn(|| CALLBACKS.serve());
    match thread {
        Ok(thread) => state.thread = Some(thread.thread().id()),
        Err(error) => {
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            log::warn!(
                "callbacks run on the thread that learns of the result, as no other can be started: {error}"
            );
            jobs.into_iter().for_each(|(what, job)| guarded(what, job));
        }
    }
}

/// Wakes a future, on the thread unless the waker is the runner's own.
pub(crate) fn wake(waker: Waker, is_runners: bool) {
    match is_runners {
        true => waker.wake(),
        false => run("a waker", move || waker.wake()),
    }
}

/// The session has ended: waits until all jobs have run, and ends the thread. Returns at once in a job.
pub(crate) fn finish() {
    let me = std::thread::current().id();
    let mut state = CALLBACKS.lock();
    while state.thread.is_some_and(|thread| thread != me) {
        state.is_ending = true;
        CALLBACKS.changed.notify_all();
        state = CALLBACKS.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Callbacks {
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some((what, job)) = state.jobs.pop_front() {
                drop(state);
                guarded(what, job);
                state = self.lock();
            } else if state.is_ending {
                (state.thread, state.is_ending) = (None, false);
                return self.changed.notify_all();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a job. A panic ends it alone, and is reported whatever logger the program has.
fn guarded(what: &str, job: Job) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
        eprintln!("unidist: {what} panicked, and the session continues: {}", message_of(panic));
    }
}

thread_local! {
    /// The waker with which the runner polls a future on this thread.
    static POLLING: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

/// Polls a future of the runner with this waker of the runner's own.
pub(crate) fn polling_with<R>(waker: &Waker, poll: impl FnOnce() -> R) -> R {
    struct Restore(*const ());
    impl Drop for Restore {
        fn drop(&mut self) {
            POLLING.set(self.0);
        }
    }
    let _outer = Restore(POLLING.replace(waker.data()));
    poll()
}

/// Whether this waker, with which a future is polled on this thread, is the runner's own.
pub(crate) fn is_runners(waker: &Waker) -> bool {
    let data = waker.data();
    !data.is_null() && POLLING.get() == data
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_run_in_order_on_another_thread_and_a_panic_ends_one_alone() {
        let (sender, ran) = channel();
        for number in 0..10 {
            let sender = sender.clone();
            run("a test's job", move || {
                sender.send((number, std::thread::current().id())).unwrap();
                assert_ne!(number % 2, 0, "this panic belongs to the test");
            });
        }
        drop(sender);
        finish();
        let ran: Vec<_> = ran.into_iter().collect();
        assert!(ran.iter().map(|(number, _)| *number).eq(0..10));
        assert!(ran.iter().all(|(_, thread)| *thread == ran[0].1 && *thread != std::thread::current().id()));
    }

    #[test]
    fn wakers_of_the_runner_are_told_apart() {
        let (own, other) = (Waker::from(std::sync::Arc::new(Nothing)), Waker::noop());
        polling_with(&own, || {
            assert!(is_runners(&own) && is_runners(&own.clone()) && !is_runners(other));
            polling_with(other, || assert!(!is_runners(&own)));
            assert!(is_runners(&own));
        });
        assert!(!is_runners(&own));
    }

    struct Nothing;

    impl std::task::Wake for Nothing {
        fn wake(self: std::sync::Arc<Self>) {}
    }
}
