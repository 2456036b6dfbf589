#![allow(unsafe_code)] // a handler that the C library calls in a forked child, and the end of such a child
//! Which process something belongs to. A forked child has a copy of all memory of its parent, and must not act for it.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many forks lie between this process and the first one that used this module.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// The process that something belongs to, such as a session. It can be asked without a lock, since in a forked child
/// another thread may have left any lock locked.
#[derive(Debug, Default)]
pub struct Owner(AtomicU64); // 0: no process; else one more than its `FORKS`

impl Owner {
    /// No process.
    pub const fn none() -> Self {
        Owner(AtomicU64::new(0))
    }

    /// This process.
    pub fn this_process() -> Self {
        let owner = Owner::none();
        owner.claim();
        owner
    }

    /// From now on, this process is the owner.
    pub fn claim(&self) {
        static REGISTERED: Once = Once::new();
        // It fails only without memory; forks are then not noticed.
        // SAFETY: the handler adds to a number, which is allowed in a forked child.
        REGISTERED.call_once(|| _ = unsafe { libc::pthread_atfork(None, None, Some(count_fork)) });
        self.0.store(FORKS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// From now on, no process is the owner.
    pub fn release(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether this process is a forked child of the owner, or of a child of it.
    #[inline]
    pub fn is_forked(&self) -> bool {
        let owner = self.0.load(Ordering::Relaxed);
        owner != 0 && owner != FORKS.load(Ordering::Relaxed) + 1
    }
}

extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Ends a forked child that has left the code of a call: everything below it on the stack belongs to its parent. No
/// destructor and no exit handler runs, since they, too, would act for the parent.
pub fn end_forked_child(error: Option<&dyn std::fmt::Display>) -> ! {
    if let Some(error) = error {
        let text = format!("unidist: a forked child of a call ends: {error}\n");
        // Standard error of the standard library may be locked by a thread that this process does not have.
        // SAFETY: the text is valid for its length.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    }
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(if error.is_some() { 101 } else { 0 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_forked_in_a_child_alone() {
        let owner = Owner::this_process();
        assert!(!owner.is_forked());
        count_fork(); // as in a child
        let of_child = Owner::this_process();
        assert!(owner.is_forked() && !of_child.is_forked());
        owner.release();
        assert!(!owner.is_forked());
    }
}
