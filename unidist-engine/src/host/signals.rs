#![allow(unsafe_code)] // a signal handler
//! Signals that a terminal or a batch system sends to all processes of a program.

use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

/// Signals by which users and batch systems end a program, or tell it something.
const SIGNALS: [libc::c_int; 6] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Has a process of a session, other than the program, live on when such a signal arrives: the program may handle it,
/// and needs its processes for that. If it does not, it ends, and its processes end with it.
///
/// A signal that the process handles or ignores already is left alone. The signals get a handler that does nothing; if
/// they were ignored instead, the commands that tasks start would ignore them too.
pub fn outlive_signals() {
    SIGNALS.into_iter().for_each(outlive);
}

/// Whether a process ended by such a signal. Then it had not come to [`outlive_signals`] yet.
pub(super) fn is_interrupted(status: ExitStatus) -> bool {
    status.signal().is_some_and(|signal| SIGNALS.contains(&signal))
}

fn outlive(signal: libc::c_int) {
    // SAFETY: all-zero bytes are valid for both: the default action without flags.
    let (mut before, mut action): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    action.sa_flags = libc::SA_RESTART;
    action.sa_sigaction = do_nothing as extern "C" fn(libc::c_int) as *const () as usize;
    // SAFETY: both pointers are valid, and the handler does nothing.
    unsafe {
        if libc::sigaction(signal, ptr::null(), &raw mut before) == 0 && before.sa_sigaction == libc::SIG_DFL
        {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

extern "C" fn do_nothing(_: libc::c_int) {}
