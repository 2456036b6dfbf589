//! Makes the failure of one rank known to the others, which would wait for it otherwise.

use crate::call::{Call, CallKind};
use crate::hosts::HostLayout;
use crate::{Communicator, Error, Result};
use bytemuck::{Pod, Zeroable};
use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

/// How long the other ranks may take to reach the end of their guards after a failure.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `body` on every rank, and makes a failure known to all: an error that it returns, or a panic. Collective.
///
/// All ranks get the value of their body, or all get the same [`Error::Failed`], with the first rank that has failed and its
/// cause. A rank that is in a collective function of this communicator meanwhile gets this error from it. If a rank does
/// something else for longer than five seconds, or waits forever, the whole job is aborted with the message of the rank that
/// failed. The failure is also printed on standard error at once.
///
/// ```
/// use unidist_spmd::{Communicator, Error, exception_guard};
///
/// # fn main() -> unidist_spmd::Result<()> {
/// let world = Communicator::world()?;
/// let sum = exception_guard(&world, || {
///     let numbers = world.all_gather(world.rank())?;
///     Ok::<_, Error>(numbers.iter().sum::<usize>())
/// })?;
/// println!("{sum}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Failed`], on all ranks. [`Error::RankLost`] if a rank has ended.
pub fn exception_guard<R, E: Display>(
    communicator: &Communicator,
    body: impl FnOnce() -> Result<R, E>,
) -> Result<R> {
    exception_guard_within(DEFAULT_TIMEOUT, communicator, body)
}

/// The same with another limit of time for the other ranks.
///
/// # Errors
///
/// See [`exception_guard`].
pub fn exception_guard_within<R, E: Display>(
    timeout: Duration,
    communicator: &Communicator,
    body: impl FnOnce() -> Result<R, E>,
) -> Result<R> {
    let guards = communicator.guards();
    let depth = guards.depth.get() + 1;
    guards.depth.set(depth);
    if depth == 1 {
        guards.is_notified.set(false);
    }
    let outcome = catch_unwind(AssertUnwindSafe(body));
    guards.depth.set(depth - 1);
    let was_notified = guards.is_notified.replace(false);
    let outcome = match outcome {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("it panicked: {}", panic_message(&*panic))),
    };
    // A rank that fails after it was notified of another failure is not the cause.
    let own_cause = outcome.as_ref().err().filter(|_| !was_notified);
    let _timer = own_cause.map(|cause| AbortTimer::start(timeout, communicator, cause));
    let said = Outcome::of(outcome.as_ref().err().map(String::as_str), was_notified);
    let own = Call::new(CallKind::Guard, depth, &said);
    loop {
        let calls = communicator.exchange(&own)?;
        // The other ranks may be in another function, or at the end of an inner guard: this exchange has notified them.
        let at_end = calls.iter().filter(|call| call.is(CallKind::Guard));
        if at_end.clone().any(|call| call.object() < depth) {
            guards.is_notified.set(true);
            let failed = any_failure(&calls, communicator.layout());
            let differ =
                "some ranks are at the end of an exception_guard, others at the end of an inner one: nest guards in the same way on all ranks".to_owned();
            return Err(failed.unwrap_or(Error::Mismatch { message: differ }));
        }
        if at_end.filter(|call| call.object() == depth).count() == calls.len() {
            let failed = first_failure(&calls, communicator.layout());
            let failed = failed.or_else(|| any_failure(&calls, communicator.layout()));
            return match (failed, outcome) {
                (None, Ok(value)) => Ok(value),
                (Some(failed), _) => Err(failed),
                (None, Err(cause)) => Err(error(communicator.rank(), communicator.layout(), cause)),
            };
        }
    }
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// The outcome of the body on one rank.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Outcome {
    state: u32,
    len: u32,
    text: [u8; MAX_CAUSE],
}

/// The maximal length of a cause in bytes.
const MAX_CAUSE: usize = 200;

const SUCCEEDED: u32 = 0;
const FAILED: u32 = 1;
/// It failed after it was notified of another failure.
const FAILED_AFTER_NOTICE: u32 = 2;

impl Outcome {
    fn of(cause: Option<&str>, was_notified: bool) -> Self {
        let Some(cause) = cause else { return Outcome::zeroed() };
        let short = shortened(cause);
        let mut text = [0; MAX_CAUSE];
        text[..short.len()].copy_from_slice(short.as_bytes());
        Outcome {
            state: if was_notified { FAILED_AFTER_NOTICE } else { FAILED },
            len: short.len() as u32,
            text,
        }
    }

    fn cause(&self) -> String {
        let len = MAX_CAUSE.min(self.len as usize);
        String::from_utf8_lossy(&self.text[..len]).into_owned()
    }
}

/// The text, shortened to the maximal length.
fn shortened(text: &str) -> String {
    const MORE: &str = "…";
    if text.len() <= MAX_CAUSE {
        return text.to_owned();
    }
    let end = (0..=MAX_CAUSE - MORE.len()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{MORE}", &text[..end])
}

/// The failure of the first rank that is at the end of its guard and is not a consequence of another one.
pub(crate) fn first_failure(calls: &[Call], hosts: &HostLayout) -> Option<Error> {
    failure(calls, hosts, |state| state == FAILED)
}

fn any_failure(calls: &[Call], hosts: &HostLayout) -> Option<Error> {
    failure(calls, hosts, |state| state != SUCCEEDED)
}

fn failure(calls: &[Call], hosts: &HostLayout, matches: impl Fn(u32) -> bool) -> Option<Error> {
    let at_end = calls.iter().enumerate().filter(|(_, call)| call.is(CallKind::Guard));
    let mut outcomes = at_end.map(|(rank, call)| (rank, call.payload::<Outcome>()));
    let (rank, outcome) = outcomes.find(|(_, outcome)| matches(outcome.state))?;
    Some(error(rank, hosts, outcome.cause()))
}

fn error(rank: usize, hosts: &HostLayout, cause: String) -> Error {
    Error::Failed { rank, host: hosts.host_name(rank).to_owned(), cause }
}

/// Aborts the job if the other ranks do not reach the end of their guards in time.
struct AbortTimer {
    _alive: mpsc::Sender<()>,
}

impl AbortTimer {
    fn start(timeout: Duration, communicator: &Communicator, cause: &str) -> Self {
        let (rank, size) = (communicator.rank(), communicator.size());
        let host = communicator.layout().host_name(rank);
        let text = format!("rank {rank} of {size} on {host} has failed: {cause}");
        eprintln!("unidist: {text}");
        let (alive, end) = mpsc::channel();
        let wait = move || {
            if end.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
                let seconds = timeout.as_secs_f64();
                let late = format!(
                    "{text}; the other ranks did not reach the end of exception_guard within {seconds} s"
                );
                crate::network::abort_from_thread(&late);
            }
        };
        if size > 1 && std::thread::Builder::new().name("unidist-guard".into()).spawn(wait).is_err() {
            log::warn!(
                "no thread can be started to abort the job in time: ranks that wait for rank {rank} may wait forever"
            );
        }
        AbortTimer { _alive: alive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_returns_values_errors_and_panics() {
        let alone = Communicator::alone();
        assert_eq!(exception_guard(&alone, || Ok::<_, String>(3)), Ok(3));
        let cause = |outcome: Result<()>| match outcome {
            Err(Error::Failed { rank: 0, cause, .. }) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(cause(exception_guard(&alone, || Err("no input"))), "no input");
        let panicked = exception_guard(&alone, || -> Result<(), String> { panic!("at {}", 7) });
        assert_eq!(cause(panicked), "it panicked: at 7");
        assert_eq!(alone.guards().depth.get(), 0);
    }

    #[test]
    fn long_causes_are_shortened() {
        let long = "é".repeat(MAX_CAUSE);
        let cause = Outcome::of(Some(&long), false).cause();
        assert!(cause.len() <= MAX_CAUSE && cause.ends_with("é…"), "{cause}");
        assert_eq!(Outcome::of(Some("short"), false).cause(), "short");
    }

    #[test]
    fn cause_precedes_its_consequences() {
        let hosts = HostLayout::new(&[(0, "a".into()), (0, "a".into()), (2, "b".into())]);
        let call = |cause, told| Call::new(CallKind::Guard, 0, &Outcome::of(cause, told));
        let calls = [call(Some("was told"), true), call(None, false), call(Some("no input"), false)];
        let first = first_failure(&calls, &hosts);
        assert_eq!(first, Some(error(2, &hosts, "no input".to_owned())));
        assert_eq!(first.unwrap().to_string(), "rank 2 on b has failed: no input");
        assert_eq!(first_failure(&calls[..2], &hosts), None);
        assert!(any_failure(&calls[..2], &hosts).is_some());
    }
}
