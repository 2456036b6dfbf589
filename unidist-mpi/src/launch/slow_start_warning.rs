//! A warning to the user when MPI takes so long to start that it may hang.

use std::sync::mpsc;
use std::time::Duration;

/// The warning is printed after this time.
const DELAY: Duration = Duration::from_secs(20);

/// Prints `text` once on standard error, unless the returned value is dropped before the delay ends.
pub(crate) fn warn_when_slow(text: String) -> mpsc::Sender<()> {
    call_after(DELAY, move || eprintln!("unidist: {text}"))
}

fn call_after(delay: Duration, call: impl FnOnce() + Send + 'static) -> mpsc::Sender<()> {
    let (alive, ended) = mpsc::channel();
    let wait = move || {
        if ended.recv_timeout(delay) == Err(mpsc::RecvTimeoutError::Timeout) {
            call();
        }
    };
    // Without the thread there is no warning, which does no harm.
    let _ = std::thread::Builder::new().name("unidist-slow-start".into()).spawn(wait);
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_printed_only_after_the_delay() {
        let (printed, texts) = mpsc::channel();
        let print = |text| {
            let printed = printed.clone();
            move || printed.send(text).unwrap()
        };
        drop(call_after(Duration::from_secs(3600), print("quick")));
        let slow = call_after(Duration::from_millis(1), print("slow"));
        drop(printed);
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["slow"]);
        drop(slow);
    }
}
