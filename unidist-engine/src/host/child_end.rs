//! The end of a child process, as a descriptor that can be polled together with others.

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use std::io;
use std::os::fd::OwnedFd;
use unidist_sync::SystemCallError;

/// A descriptor that becomes readable when the child ends. The child stays to be reaped.
///
/// # Errors
///
/// There can be no more descriptors or threads.
pub(super) fn watch(child: Pid) -> io::Result<OwnedFd> {
    match rustix::process::pidfd_open(child, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(pidfd),
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
            Err(SystemCallError::new("pidfd_open", error).into())
        }
        // Linux before 5.3, valgrind, or a sandbox.
        Err(_) => watch_by_thread(child),
    }
}

/// The same by a thread that waits for the child, at the cost of that thread.
fn watch_by_thread(child: Pid) -> io::Result<OwnedFd> {
    const STACK: usize = 64 << 10;
    let (ended, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(rustix::process::waitid(WaitId::Pid(child), options), Err(Errno::INTR)) {}
        // A byte, since a forked process may hold the pipe open. It fails only if no one watches any more.
        let _ = rustix::io::write(&end, &[1]);
    };
    std::thread::Builder::new().name("unidist-child".into()).stack_size(STACK).spawn(wait)?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::process::{Command, Stdio};

    fn is_readable(fd: &OwnedFd, seconds: i64) -> bool {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
    }

    #[test]
    fn end_of_a_child_is_seen_in_either_way() {
        for watch in [watch, watch_by_thread] {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let ended = watch(Pid::from_child(&child)).unwrap();
            assert!(!is_readable(&ended, 0));
            drop(child.stdin.take());
            assert!(is_readable(&ended, 60));
            assert!(child.wait().unwrap().success(), "it is left to be reaped");
        }
    }
}
