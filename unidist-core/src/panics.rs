//! Panics of user code as error values.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use unidist_common::{ErrorKind, TaskError};

/// The location of a panic.
#[derive(Default)]
struct Trace {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// `None` while no code of a call runs: such a panic is left to the previous hook.
    static PANIC_TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Runs code of a call; a panic becomes an error with its location and is not printed.
pub(crate) fn catch_panic<R>(code: impl FnOnce() -> R) -> Result<R, TaskError> {
    install_hook();
    let outer = PANIC_TRACE.replace(Some(Trace::default())); // calls nest: `get` in one may run another
    let result = catch_unwind(AssertUnwindSafe(code));
    let trace = PANIC_TRACE.replace(outer).unwrap_or_default();
    result.map_err(|payload| TaskError {
        location: trace.location,
        backtrace: trace.backtrace,
        ..TaskError::new(ErrorKind::Panicked, message_of(payload))
    })
}

pub(crate) fn message_of(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(payload) => payload,
    };
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    // Dropping an unknown payload runs user code too.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
    "the panic has no text".to_owned()
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !record(info) {
                previous(info);
            }
        }));
    });
}

/// Records the panic if it is in code of a call on this thread, and returns whether it is.
fn record(info: &PanicHookInfo<'_>) -> bool {
    let recorded = PANIC_TRACE.try_with(|catch_panic| match catch_panic.try_borrow_mut() {
        Ok(mut catch_panic) => match catch_panic.as_mut() {
            Some(trace) => {
                trace.location = info.location().map(ToString::to_string);
                let backtrace = Backtrace::capture();
                trace.backtrace =
                    (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
                true
            }
            None => false,
        },
        Err(_) => false,
    });
    recorded.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_an_error_with_its_location() {
        let error = catch_panic(|| panic!("lost {}", 3)).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panicked, "lost 3"));
        assert!(error.location.unwrap().contains("panics.rs"));
        assert_eq!(catch_panic(|| 5).unwrap(), 5);
    }

    #[test]
    fn catch_panic_nests() {
        let outer = catch_panic(|| {
            assert_eq!(catch_panic(|| panic!("inner")).unwrap_err().message, "inner");
            panic!("outer")
        });
        assert_eq!(outer.unwrap_err().message, "outer");
        let odd = catch_panic(|| std::panic::panic_any(7)).unwrap_err();
        assert!(odd.message.contains("no text"));
    }
}
