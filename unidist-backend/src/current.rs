//! Which call this thread runs.

use std::cell::Cell;
use unidist_common::DataId;

thread_local! {
    static CURRENT: Cell<Option<DataId>> = const { Cell::new(None) };
}

/// The call whose code runs on this thread now: none outside of tasks and actors.
///
/// It is set while a function, constructor or method runs, and around each poll of an asynchronous one.
pub fn current_call() -> Option<DataId> {
    CURRENT.get()
}

/// Runs the code of a call: what it asks of the backend meanwhile is known to come from this call.
///
/// A worker does this where it starts a call, and a [`TaskRunner`](crate::TaskRunner) wherever it goes on with one.
pub fn within_call<R>(call: DataId, code: impl FnOnce() -> R) -> R {
    struct Restore(Option<DataId>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _outer = Restore(CURRENT.replace(Some(call)));
    code()
}
