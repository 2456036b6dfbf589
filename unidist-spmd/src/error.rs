//! The errors of the patterns.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The result of the functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a pattern. A collective function fails on all ranks with the same error, except that only the ranks of the same
/// host learn that a rank is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A rank passed an impossible argument.
    Argument {
        /// The function.
        call: String,
        /// What is wrong, and on which rank.
        message: String,
    },
    /// The ranks called different functions, or passed different values.
    Mismatch {
        /// Which rank called what.
        message: String,
    },
    /// A rank ended, or dropped its communicator, while others waited for it.
    RankLost {
        /// The rank.
        rank: usize,
        /// What happened to it.
        message: String,
    },
    /// The ranks of a host cannot share memory.
    Memory {
        /// What happened, on which rank, and what to do.
        message: String,
    },
    /// MPI failed, or cannot be used.
    Mpi {
        /// The message of MPI, and what to do.
        message: String,
    },
    /// A rank failed in [`exception_guard`](crate::exception_guard).
    Failed {
        /// The rank; the first, if several failed.
        rank: usize,
        /// Its host.
        host: String,
        /// Its error, or the message of its panic, shortened if it is long.
        cause: String,
    },
    /// A file in the directory of a batch cannot be read or written, or is malformed.
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// Another process has held the lock of a batch's directory for too long.
    DirectoryLocked {
        /// The lock file.
        path: PathBuf,
        /// How long this rank waited for it.
        waited: Duration,
    },
    /// A setting is wrong.
    Setting {
        /// Which one, and its valid values.
        message: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Argument { call, message } => write!(f, "{call}: {message}"),
            Error::Mismatch { message } => {
                write!(f, "the ranks do not call the same function with the same values: {message}")
            }
            Error::RankLost { rank, message } => write!(f, "rank {rank} is lost: {message}"),
            Error::Memory { message } => write!(f, "the ranks of a host cannot share memory: {message}"),
            Error::Mpi { message } => write!(f, "MPI: {message}"),
            Error::Failed { rank, host, cause } => write!(f, "rank {rank} on {host} has failed: {cause}"),
            Error::StateFile { path, message } => write!(f, "`{}`: {message}", path.display()),
            Error::DirectoryLocked { path, waited } => write!(
                f,
                "`{}`: another process has held this lock for {:.0} s: it is stopped or waits for its disk; resume it, or end it, \
                 which releases the lock",
                path.display(),
                waited.as_secs_f64()
            ),
            Error::Setting { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn argument(call: &str, message: impl Into<String>) -> Self {
        Error::Argument { call: call.to_owned(), message: message.into() }
    }
}
