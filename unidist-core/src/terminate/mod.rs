//! Hooks that save a program's state before a signal ends it.
//!
//! # States
//!
//! `Idle` → the first [`on_terminate`] of a session → `Watching`: SIGTERM and SIGINT are events of a thread → the session
//! ends → `Idle`. Or, from `Watching`: a signal arrives → `Terminating`: the hooks run on a thread of their own, until
//! they have returned, the grace period has expired, or a second SIGINT arrives; then the process ends by the signal. The
//! session of a terminating program does not end, since the hooks need it.

mod signals;

use crate::session;
use signals::{Event, Events};
use std::io::{Write, stderr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};

type Hook = Box<dyn FnOnce() + Send>;

struct Hooks {
    hooks: Vec<Hook>,
    grace: Duration,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    Idle,
    Watching,
    /// The thread that runs the hooks, once it has started.
    Terminating(Option<ThreadId>),
}

static HOOKS: Mutex<Hooks> =
    Mutex::new(Hooks { hooks: Vec::new(), grace: Duration::ZERO, phase: Phase::Idle });

/// Runs `hook` when the program gets SIGTERM or SIGINT, then lets it end by that signal. The hooks of a session run one
/// after the other, in the order of these calls, and may take `grace` together.
///
/// # Errors
///
/// There is no session, this process is a worker, or the system refuses what is needed.
pub fn on_terminate(hook: impl FnOnce() + Send + 'static, grace: Duration) -> Result<()> {
    session::current("on_terminate")?;
    if !session::is_own() {
        let message = "it was called in a worker: call it in the program, whose workers end with it";
        return Err(Error::InvalidArgument { call: "on_terminate".into(), message: message.into() });
    }
    let mut hooks = lock();
    if !signals::is_watching() {
        let failed = |error| Error::system("cannot watch for signals", error);
        let events = signals::events().map_err(failed)?;
        let thread = std::thread::Builder::new().name("unidist-signals".into());
        thread.spawn(move || watch(events)).map_err(failed)?;
        *hooks = Hooks { hooks: Vec::new(), grace, phase: Phase::Idle }; // a forked child has those of its parent
    }
    if let Phase::Idle = hooks.phase {
        hooks.phase = Phase::Watching;
        signals::catch();
    }
    hooks.grace = grace;
    hooks.hooks.push(Box::new(hook));
    Ok(())
}

/// Called before a session ends. If the program is terminating, this does not return, except on the thread of the hooks.
pub(crate) fn wait_if_terminating() {
    while is_terminating_elsewhere() {
        std::thread::park(); // until the process ends
    }
}

fn is_terminating_elsewhere() -> bool {
    let phase = lock().phase;
    matches!(phase, Phase::Terminating(thread) if thread != Some(std::thread::current().id()))
}

/// The session has ended: its hooks are dropped and do not run.
pub(crate) fn forget_hooks() {
    let mut hooks = lock();
    if let Phase::Watching = hooks.phase {
        signals::release();
        hooks.phase = Phase::Idle;
        let forgotten = std::mem::take(&mut hooks.hooks);
        drop(hooks);
        drop(forgotten); // without the lock: hooks have values of the program
    }
}

/// The watching thread. It lasts as long as the process, since a signal may arrive at any time.
fn watch(mut events: Events) {
    while let Ok(event) = events.next(None) {
        let Event::Signal(signal) = event else { continue };
        let (hooks, grace) = {
            let mut hooks = lock();
            if let Phase::Idle = hooks.phase {
                signals::end_by(signal); // the session has just ended
            }
            hooks.phase = Phase::Terminating(None);
            (std::mem::take(&mut hooks.hooks), hooks.grace)
        };
        terminate(&mut events, signal, hooks, grace);
    }
}

fn terminate(events: &mut Events, signal: i32, hooks: Vec<Hook>, grace: Duration) -> ! {
    let deadline = Instant::now().checked_add(grace);
    let run = move || {
        lock().phase = Phase::Terminating(Some(std::thread::current().id()));
        for hook in hooks {
            // The panic hook has printed it; the other hooks still run.
            let _ = catch_unwind(AssertUnwindSafe(hook));
        }
        signals::send_done();
    };
    if let Err(error) = std::thread::Builder::new().name("unidist-terminate".into()).spawn(run) {
        let _ =
            writeln!(stderr(), "unidist: cannot start the thread for the hooks of `on_terminate`: {error}");
        signals::end_by(signal);
    }
    loop {
        match events.next(deadline) {
            // Launchers and terminals may both send SIGTERM; an impatient user sends SIGINT.
            Ok(Event::Signal(again)) if again != libc::SIGINT || signal != libc::SIGINT => {}
            Ok(Event::TimedOut) => {
                // Standard error may be closed.
                let _ = writeln!(
                    stderr(),
                    "unidist: the hooks of `on_terminate` have not returned within {grace:?}, and the program ends: \
                     set UNIDIST_TERMINATE_GRACE to a longer time"
                );
                signals::end_by(signal);
            }
            _ => signals::end_by(signal),
        }
    }
}

fn lock() -> MutexGuard<'static, Hooks> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}
