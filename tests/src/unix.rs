#![allow(unsafe_code)] // calls of the C library for which there is no safe interface
//! What a program does with the system directly: forks, signal handlers, changes of its environment.

use crate::process::wait_for_end;
use crate::support::BOUND;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Forks this process. `None` in the child.
pub(crate) fn fork() -> Option<Pid> {
    // SAFETY: the child only runs what the cases are about: code of this library and of the standard library, whose
    // locks no other thread holds for long. The allocator of the C library may be used after a fork.
    match unsafe { libc::fork() } {
        0 => None,
        child => Some(Pid::from_raw(child).expect("the system allows another process")),
    }
}

/// Runs code in a forked child, which ends after it without a clean-up; true if it returned true.
pub(crate) fn in_forked_child(code: impl FnOnce() -> bool) -> bool {
    match fork() {
        Some(child) => ended_well(child),
        None => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(code));
            // SAFETY: it does not return and has no preconditions.
            unsafe { libc::_exit(i32::from(!matches!(result, Ok(true)))) }
        }
    }
}

/// Waits until a child has ended; true if its exit code is 0. A child that does not end is killed.
pub(crate) fn ended_well(child: Pid) -> bool {
    let ended = wait_for_end(child, BOUND / 4).expect("a child can be waited for");
    if !ended {
        eprintln!("the forked child {child:?} does not end");
        let _ = kill_process(child, Signal::KILL);
    }
    let status = waitpid(Some(child), WaitOptions::empty()).expect("it is a child of this process");
    ended && status.is_some_and(|(_, status)| status.exit_status() == Some(0))
}

/// Handles a signal by doing nothing.
pub(crate) fn handle(signal: Signal) {
    extern "C" fn nothing(_: libc::c_int) {}
    let nothing = nothing as extern "C" fn(libc::c_int) as *const () as libc::sighandler_t;
    // SAFETY: the handler does nothing, which is allowed at any time.
    unsafe { libc::signal(signal.as_raw(), nothing) };
}

/// Changes a variable of this process's environment.
pub(crate) fn set_variable(name: &str, value: &str) {
    // SAFETY: no thread of a case reads the environment meanwhile; the threads of a session do not read it at all.
    unsafe { std::env::set_var(name, value) };
}
