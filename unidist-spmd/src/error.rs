//! What can go wrong.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The result of the functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a pattern did not do what it was asked for. What a function does with all ranks together fails on all of them, with
/// the same error; but that a rank is lost, only those of its host are told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// What a rank has asked for is impossible.
    Argument {
        /// The function.
        call: String,
        /// What is wrong with it, and on which rank.
        message: String,
    },
    /// The ranks have called different functions, or functions of different values.
    Mismatch {
        /// Who has called what.
        message: String,
    },
    /// A rank has ended, or has dropped its communicator, while others waited for it.
    RankLost {
        /// Which one.
        rank: usize,
        /// What is known of it.
        message: String,
    },
    /// The ranks of a host cannot share memory.
    Memory {
        /// What happened, on which rank, and what to do.
        message: String,
    },
    /// MPI refused, or cannot be used.
    Mpi {
        /// What it said, and what to do.
        message: String,
    },
    /// A rank has failed in [`exception_guard`](crate::exception_guard).
    Failed {
        /// Which one; the first, if there were several.
        rank: usize,
        /// Its host.
        host: String,
        /// Its error, or the message of its panic, shortened if it is long.
        cause: String,
    },
    /// The state of a batch's task, or what belongs to it in the batch's directory, cannot be read, written or understood.
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// Somebody has had the lock of a batch's directory for so long that it cannot be waited for.
    DirectoryLocked {
        /// The lock.
        path: PathBuf,
        /// How long this rank has waited for it.
        waited: Duration,
    },
    /// A setting is wrong.
    Setting {
        /// Which one, and what it may be.
        message: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Argument { call, message } => write!(f, "{call}: {message}"),
            Error::Mismatch { message } => write!(f, "the ranks do different things: {message}"),
            Error::RankLost { rank, message } => write!(f, "rank {rank} is lost: {message}"),
            Error::Memory { message } => write!(f, "the ranks of a host cannot share memory: {message}"),
            Error::Mpi { message } => write!(f, "MPI: {message}"),
            Error::Failed { rank, host, cause } => write!(f, "rank {rank} on {host} has failed: {cause}"),
            Error::StateFile { path, message } => write!(f, "`{}`: {message}", path.display()),
            Error::DirectoryLocked { path, waited } => write!(
                f,
                "`{}`: this lock was not free for {:.0} s: a process that has it is stopped or waits for its disk; \
                 have it go on, or end it, which frees the lock",
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
