#![allow(unsafe_code)] // exit handlers of the C library, and calls of MPI in them
//! What happens to MPI when the process exits.

use crate::{Mpi, call_lock, output};
use mpi::ffi;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// What happens to MPI when the process exits. There is one MPI in a process, hence one action.
static ACTION: AtomicU8 = AtomicU8::new(ExitAction::Finalize as u8);
/// Runs first when the process exits in the middle of a session.
static HOOK: Mutex<Option<ExitHook>> = Mutex::new(None);
/// The process that initialised MPI. A process forked from it must not finalise MPI.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Runs when the process exits. It returns whether to finalise MPI then, whatever the [`ExitAction`] is.
pub type ExitHook = Box<dyn FnOnce() -> bool + Send>;

/// What happens to MPI when the process exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitAction {
    /// Finalise it.
    Finalize,
    /// Nothing: other processes may still communicate, or some are lost, and finalising would wait for these.
    Skip,
    /// Abort the whole job with the exit code of this process.
    Abort,
    /// Finalise it if the exit code is 0, else abort the job.
    FinalizeOrAbort,
}

impl Mpi {
    /// Sets what happens to MPI when the process exits.
    pub fn set_exit_action(self, action: ExitAction) {
        ACTION.store(action as u8, Ordering::Relaxed);
    }

    /// Sets or removes what runs first when the process exits.
    pub fn set_exit_hook(self, hook: Option<ExitHook>) {
        *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Finalises MPI now. All communicators must have been freed.
    pub fn finalize(self) {
        self.set_exit_action(ExitAction::Finalize);
        on_exit(Some(0));
    }
}

/// Registers the exit handler of the process that has just initialised MPI.
pub(crate) fn register() {
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    register_handler();
}

#[cfg(target_env = "gnu")]
fn register_handler() {
    use std::ffi::c_void;
    unsafe extern "C" {
        #[link_name = "on_exit"]
        fn register_on_exit(call: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    extern "C" fn call(code: c_int, _: *mut c_void) {
        on_exit(Some(code));
    }
    // SAFETY: the function of glibc, see on_exit(3); the handler needs no argument.
    unsafe { register_on_exit(call, std::ptr::null_mut()) };
}

/// The same where a handler does not get the exit code.
#[cfg(not(target_env = "gnu"))]
fn register_handler() {
    extern "C" fn call() {
        on_exit(None);
    }
    // SAFETY: it may be called at any time.
    unsafe { libc::atexit(call) };
}

/// Runs the hook, if there is one, then the action.
fn on_exit(code: Option<c_int>) {
    if PROCESS.load(Ordering::Relaxed) != std::process::id() {
        return;
    }
    let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).take();
    if hook.is_some_and(|run| run()) {
        ACTION.store(ExitAction::Finalize as u8, Ordering::Relaxed);
    }
    call_lock::lock_for_good();
    let (mut finalized, action) = (0, ACTION.load(Ordering::Relaxed));
    // SAFETY: MPI is initialised, since the handler is registered after that; it is finalised once.
    unsafe {
        ffi::MPI_Finalized(&mut finalized);
        let finalizes = action == ExitAction::Finalize as u8
            || (action == ExitAction::FinalizeOrAbort as u8 && code.unwrap_or(0) == 0);
        if finalized == 0 && finalizes {
            ffi::MPI_Finalize();
        } else if finalized == 0 && action != ExitAction::Skip as u8 {
            output::wait_until_read();
            ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code.unwrap_or(1));
        }
    }
}
