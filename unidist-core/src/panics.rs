//! Panics of the user's code as error values.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use unidist_common::{ErrorKind, TaskError};

/// Where a panic was. `None` in the outer layer: no code of a call runs, so a panic is not ours.
#[derive(Default)]
struct Trace {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static GUARDED: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Runs code of a call; a panic is returned, with its place, rather than printed.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, TaskError> {
    install_hook();
    let outer = GUARDED.replace(Some(Trace::default())); // calls nest: `get` in one may run another
    let result = catch_unwind(AssertUnwindSafe(code));
    let trace = GUARDED.replace(outer).unwrap_or_default();
    result.map_err(|payload| TaskError {
        location: trace.location,
        backtrace: trace.backtrace,
        ..TaskError::new(ErrorKind::Panicked, message_of(payload))
    })
}

fn message_of(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(payload) => payload,
    };
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    // The drop of an unknown payload is the user's code too.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(payload)));
    "a panic whose payload is not text".to_owned()
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

/// Whether the panic is that of a call on this thread.
fn record(info: &PanicHookInfo<'_>) -> bool {
    let recorded = GUARDED.try_with(|guarded| match guarded.try_borrow_mut() {
        Ok(mut guarded) => match guarded.as_mut() {
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
    fn a_panic_becomes_an_error_with_its_place() {
        let error = guarded(|| panic!("lost {}", 3)).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panicked, "lost 3"));
        assert!(error.location.unwrap().contains("panics.rs"));
        assert_eq!(guarded(|| 5).unwrap(), 5);
    }

    #[test]
    fn guarded_code_nests() {
        let outer = guarded(|| {
            assert_eq!(guarded(|| panic!("inner")).unwrap_err().message, "inner");
            panic!("outer")
        });
        assert_eq!(outer.unwrap_err().message, "outer");
        let odd = guarded(|| std::panic::panic_any(7)).unwrap_err();
        assert!(odd.message.contains("not text"));
    }
}
