//! Errors of system calls that name the call, and the limit or setting that makes a system refuse it.

use rustix::io::Errno;
use std::fmt;
use std::io;

/// A system call that failed.
#[derive(Debug)]
pub struct SystemCallError {
    call: &'static str,
    error: io::Error,
}

impl SystemCallError {
    /// The failure of this call.
    pub fn new(call: &'static str, error: impl Into<io::Error>) -> Self {
        SystemCallError { call, error: error.into() }
    }
}

impl fmt::Display for SystemCallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, with_cause(&self.error))
    }
}

impl std::error::Error for SystemCallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SystemCallError> for io::Error {
    fn from(error: SystemCallError) -> Self {
        io::Error::new(error.error.kind(), error)
    }
}

/// The number of a system error, also of one that names its call.
pub fn error_number(error: &io::Error) -> Option<i32> {
    let named = error.get_ref().and_then(|error| error.downcast_ref::<SystemCallError>());
    named.map_or(error, |named| &named.error).raw_os_error()
}

/// The text of a system error with its usual cause, if that is a limit or a refusal that a user can change.
pub fn with_cause(error: &io::Error) -> String {
    match error.raw_os_error().and_then(|number| cause(Errno::from_raw_os_error(number))) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn cause(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::MFILE => "this process may not open more files: raise its limit (ulimit -n)",
        Errno::NFILE => "the system may not open more files: raise its limit (fs.file-max)",
        Errno::AGAIN => {
            "there may be no more processes and threads: raise the limit of the user (ulimit -u) or of the control group \
             (pids.max)"
        }
        Errno::NOMEM => "the machine or the address space of this process (ulimit -v) has no room for that",
        Errno::FBIG => "a file, shared memory too, may not become that large: raise the limit (ulimit -f)",
        Errno::NOSYS => "the kernel is too old for this system call, or a sandbox (seccomp) refuses it",
        Errno::PERM => "a sandbox (seccomp) may refuse this system call",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_call_and_its_cause() {
        let error = SystemCallError::new("memfd_create", Errno::NOSYS);
        let text = error.to_string();
        assert!(text.starts_with("memfd_create: ") && text.contains("seccomp"), "{text}");
        let error = io::Error::from(error);
        assert_eq!(error_number(&error), Some(Errno::NOSYS.raw_os_error()));
        assert_eq!(error.to_string(), text);
        assert_eq!(with_cause(&error), text, "the cause is named once");
    }

    #[test]
    fn limits_are_named_by_the_shell_command_that_sets_them() {
        for (errno, command) in
            [(Errno::MFILE, "ulimit -n"), (Errno::AGAIN, "ulimit -u"), (Errno::FBIG, "ulimit -f")]
        {
            assert!(with_cause(&errno.into()).contains(command), "{errno}");
        }
        assert_eq!(with_cause(&Errno::NOENT.into()), io::Error::from(Errno::NOENT).to_string());
        assert_eq!(error_number(&io::Error::other("none")), None);
    }
}
