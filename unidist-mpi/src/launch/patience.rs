//! A word to the user where MPI takes so long that it may never end.

use std::sync::mpsc;
use std::time::Duration;

/// After this time it is said what is being waited for.
const LONG: Duration = Duration::from_secs(20);

/// Says this once, on standard error, if the returned value still lives after a long time.
pub(crate) fn say_when_long(text: String) -> mpsc::Sender<()> {
    when_long(LONG, move || eprintln!("unidist: {text}"))
}

fn when_long(long: Duration, say: impl FnOnce() + Send + 'static) -> mpsc::Sender<()> {
    let (alive, end) = mpsc::channel();
    let wait = move || {
        if end.recv_timeout(long) == Err(mpsc::RecvTimeoutError::Timeout) {
            say();
        }
    };
    // Without the thread nothing is said.
    let _ = std::thread::Builder::new().name("unidist-patience".into()).spawn(wait);
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_spoken_of() {
        let (said, heard) = mpsc::channel();
        let say = |what| {
            let said = said.clone();
            move || said.send(what).unwrap()
        };
        drop(when_long(Duration::from_secs(3600), say("quick")));
        let slow = when_long(Duration::from_millis(1), say("slow"));
        drop(said);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["slow"]);
        drop(slow);
    }
}
