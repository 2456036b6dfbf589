#![allow(unsafe_code)] // signal handlers, and the stack that one of them runs on
//! What the Rust runtime gives a program before `main`, for a worker, which begins earlier.
//!
//! The runtime offers no way to start it without `main`. So this does the same: open standard streams, no end by
//! SIGPIPE, tasks on a thread named `main`, and a message when its stack overflows. The arguments are set already, since
//! the runtime sets them before this code runs.

use crate::link::ring::LinkMemory;
use rustix::process::{Resource, getrlimit};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// The smallest stack of the task thread, which is Linux's default for `main`.
const MIN_STACK: usize = 8 << 20;
/// Its largest stack, for `ulimit -s unlimited` as well. Only the part that is used takes memory.
const MAX_STACK: usize = 1 << 30;
/// The stack of the handler. The kernel saves up to 11 KiB of registers on it.
const HANDLER_STACK: usize = 64 << 10;

/// The addresses whose access shows an overflow of the task thread's stack.
static GUARD: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Set in the memory of the link when the stack overflows.
static OVERFLOWED: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// Makes the process as `main` finds it. Call it first, while the process has one thread.
pub(super) fn start() {
    open_streams();
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Opens `/dev/null` in place of closed standard streams, whose numbers other files would get.
fn open_streams() {
    while let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() > 2 {
            break;
        }
        let _ = null.into_raw_fd(); // it stays open
    }
}

/// A thread like the one of `main`, for the tasks.
#[derive(Debug)]
pub(super) struct MainThread {
    tasks: Sender<Box<dyn FnOnce() + Send>>,
    thread: JoinHandle<()>,
}

impl MainThread {
    /// Starts the thread. If its stack overflows, that is noted in the memory of the link.
    ///
    /// # Errors
    ///
    /// The system refuses the thread.
    pub(super) fn start(link: Arc<LinkMemory>) -> io::Result<Self> {
        let link: &'static LinkMemory = Box::leak(Box::new(link)); // mapped as long as the process exists
        let overflowed = link.stack_overflowed();
        OVERFLOWED.store(ptr::from_ref(overflowed).cast_mut(), Ordering::Relaxed);
        let (tasks, inbox) = channel::<Box<dyn FnOnce() + Send>>();
        let body = move || {
            report_stack_overflow();
            if let Ok(tasks) = inbox.recv() {
                tasks();
            }
        };
        let thread = std::thread::Builder::new().name("main".into()).stack_size(stack_size()).spawn(body)?;
        Ok(MainThread { tasks, thread })
    }

    /// Runs `tasks` there, and waits for their end.
    ///
    /// # Errors
    ///
    /// They panicked.
    pub(super) fn run(self, tasks: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let _ = self.tasks.send(Box::new(tasks)); // it fails if the thread has panicked
        self.thread.join().map_err(|_| "the thread that runs tasks panicked".to_owned())
    }
}

/// As `ulimit -s` sets it for `main`.
fn stack_size() -> usize {
    let limit = getrlimit(Resource::Stack).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_STACK);
    limit.clamp(MIN_STACK, MAX_STACK)
}

/// Has an overflow of this thread's stack reported, unless the process handles SIGSEGV already.
fn report_stack_overflow() {
    // Without a guard the process ends as before, by SIGSEGV.
    if let Some((start, end)) = guard_of_this_thread() {
        GUARD[0].store(start, Ordering::Relaxed);
        GUARD[1].store(end, Ordering::Relaxed);
        let stack = Box::leak(vec![0_u8; HANDLER_STACK].into_boxed_slice());
        let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: HANDLER_STACK };
        // SAFETY: the memory is never freed, and nothing else uses it.
        if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } == 0 {
            [libc::SIGSEGV, libc::SIGBUS].into_iter().for_each(handle_fault);
        }
    }
}

fn handle_fault(signal: libc::c_int) {
    // SAFETY: all-zero bytes are valid for both; they are the default action without flags.
    let (mut before, mut action): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as *const () as usize;
    // SAFETY: both pointers are valid; `on_fault` only calls functions that a signal handler may call.
    unsafe {
        if libc::sigaction(signal, ptr::null(), &raw mut before) == 0 && before.sa_sigaction == libc::SIG_DFL
        {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

/// Reports an overflow and aborts, as the Rust runtime does. Any other fault ends the process by its signal.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid description of the fault.
    let address = unsafe { (*info).si_addr() }.addr();
    if !(GUARD[0].load(Ordering::Relaxed)..GUARD[1].load(Ordering::Relaxed)).contains(&address) {
        // SAFETY: the default action runs no code. On return, the instruction faults again.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: the pointer is null or that of an atomic number that lives as long as the process.
    if let Some(overflowed) = unsafe { OVERFLOWED.load(Ordering::Relaxed).as_ref() } {
        overflowed.store(1, Ordering::Relaxed);
    }
    let text = "\nthread 'main' has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
    // SAFETY: both may be called in a signal handler; the text is valid for its length.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::abort()
    }
}

/// The lowest address of this thread's stack.
pub(super) fn end_of_stack() -> Option<usize> {
    guard_of_this_thread().map(|(_, end)| end)
}

/// The addresses around the end of this thread's stack. C libraries differ in whether the guard page belongs to the
/// stack.
fn guard_of_this_thread() -> Option<(usize, usize)> {
    // SAFETY: the attributes are initialised by the first call, read only if it succeeded, and then destroyed.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return None;
        }
        let (mut start, mut size, mut guard) = (ptr::null_mut(), 0, 0);
        let found = libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size) == 0
            && libc::pthread_attr_getguardsize(&raw const attributes, &raw mut guard) == 0;
        libc::pthread_attr_destroy(&raw mut attributes);
        found.then(|| (start.addr() - guard, start.addr() + guard))
    }
}
