#![allow(unsafe_code)] // a signal handler, and system calls on its pipe
//! SIGTERM and SIGINT as events of a thread.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;
use std::{mem, ptr};
use unidist_backend::Owner;

/// The signals that ask a program to end.
const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];
/// The byte for the end of the hooks. No signal has this number.
const DONE: u8 = 0;

/// The writing end of the pipe. It is never closed, since a handler may run at any time.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// The process that the pipe belongs to. A forked child has the handler too, and the pipe of its parent.
static OWNER: Owner = Owner::none();

/// What the watching thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This signal has arrived.
    Signal(i32),
    /// All hooks have returned.
    Done,
    /// The deadline has passed.
    TimedOut,
}

/// The events, as they arrive.
#[derive(Debug)]
pub(super) struct Events(PipeReader);

/// Whether [`events`] was called in this process.
pub(super) fn is_watching() -> bool {
    PIPE.load(Ordering::SeqCst) >= 0 && !OWNER.is_forked()
}

/// The events of this process. Call it once.
///
/// # Errors
///
/// The system refuses a pipe.
pub(super) fn events() -> io::Result<Events> {
    let (reader, writer) = io::pipe()?;
    OWNER.claim();
    PIPE.store(writer.into_raw_fd(), Ordering::SeqCst);
    Ok(Events(reader))
}

/// From now on, signals are events, except those that the program handles or ignores.
pub(super) fn catch() {
    SIGNALS.into_iter().for_each(|signal| replace(signal, libc::SIG_DFL, handler()));
}

/// Signals have their default actions again.
pub(super) fn release() {
    SIGNALS.into_iter().for_each(|signal| replace(signal, handler(), libc::SIG_DFL));
}

/// All hooks have returned.
pub(super) fn send_done() {
    send(DONE);
}

impl Events {
    /// The next event.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> io::Result<Event> {
        while let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = libc::c_int::try_from(left.as_millis().saturating_add(1)).unwrap_or(libc::c_int::MAX);
            let mut pipe = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: the pointer is valid for the one entry.
            if unsafe { libc::poll(&raw mut pipe, 1, left) } > 0 {
                break;
            }
            if deadline <= Instant::now() {
                return Ok(Event::TimedOut);
            }
        }
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(if byte[0] == DONE { Event::Done } else { Event::Signal(i32::from(byte[0])) })
    }
}

/// Ends this process by a signal.
pub(super) fn end_by(signal: i32) -> ! {
    // SAFETY: these have no preconditions. If the default action does not end the process, since all threads block the
    // signal, the last one does.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}

fn handler() -> usize {
    on_signal as extern "C" fn(libc::c_int) as *const () as usize
}

/// Replaces the action of a signal if it is `expected`.
fn replace(signal: libc::c_int, expected: usize, by: usize) {
    // SAFETY: all-zero bytes are valid for both: the default action without flags.
    let (mut before, mut action): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    action.sa_flags = libc::SA_RESTART;
    action.sa_sigaction = by;
    // SAFETY: both pointers are valid, and `on_signal` only calls functions that a signal handler may call.
    unsafe {
        if libc::sigaction(signal, ptr::null(), &raw mut before) == 0 && before.sa_sigaction == expected {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

fn send(byte: u8) {
    // SAFETY: the byte is valid. If the pipe is full, enough signals are on their way.
    unsafe { libc::write(PIPE.load(Ordering::SeqCst), (&raw const byte).cast(), 1) };
}

extern "C" fn on_signal(signal: libc::c_int) {
    if OWNER.is_forked() {
        // SAFETY: both may be called in a handler. The signal takes effect when the handler returns.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    let error = io::Error::last_os_error().raw_os_error(); // that of the interrupted code
    send(signal as u8);
    if let Some(error) = error {
        // SAFETY: the address of this thread's error number is valid.
        unsafe { *libc::__errno_location() = error };
    }
}
