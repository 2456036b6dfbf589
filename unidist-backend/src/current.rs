//! The call that this thread runs.

use std::cell::Cell;
use unidist_common::TaskId;

thread_local! {
    static CURRENT: Cell<Option<TaskId>> = const { Cell::new(None) };
}

/// The call whose code runs on this thread; `None` outside of tasks and actors.
///
/// It is set while a function, constructor or method runs, and around each poll of an asynchronous one.
pub fn current_call() -> Option<TaskId> {
    CURRENT.get()
}

/// Runs the code of a call, so that its requests to the backend are attributed to the call.
///
/// A worker uses this when it starts a call, a [`TaskRunner`](crate::TaskRunner) when it resumes one.
pub fn within_call<R>(call: TaskId, code: impl FnOnce() -> R) -> R {
    struct Restore(Option<TaskId>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _outer = Restore(CURRENT.replace(Some(call)));
    code()
}
