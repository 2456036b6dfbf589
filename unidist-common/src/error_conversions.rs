//! Errors of public functions as failures of calls, and the reverse.

use crate::error::{Error, ErrorKind, TaskError};
use unidist_config::ConfigError;

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Error::Task(Box::new(error))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Error::Config(error)
    }
}

impl From<Error> for TaskError {
    /// A public function's failure as the failure of a call.
    fn from(error: Error) -> Self {
        match error {
            Error::Task(error) => *error,
            Error::NotInitialized { .. } => TaskError::new(ErrorKind::NotInitialized, error.to_string()),
            Error::SessionEnded { .. } => TaskError::session_ended(),
            Error::Forked { .. } => TaskError::new(ErrorKind::Forked, error.to_string()),
            Error::EngineFailed { .. } => TaskError::new(ErrorKind::EngineFailed, error.to_string()),
            Error::StoreFull(_) => TaskError::new(ErrorKind::StoreFull, error.to_string()),
            Error::Encode { .. } => TaskError::new(ErrorKind::Encode, error.to_string()),
            Error::Decode { .. } => TaskError::new(ErrorKind::Decode, error.to_string()),
            Error::InvalidArgument { .. } => TaskError::new(ErrorKind::InvalidOption, error.to_string()),
            Error::Other { message, chain, .. } => {
                TaskError { chain, ..TaskError::new(ErrorKind::Failed, message) }
            }
            other => TaskError::new(ErrorKind::Failed, other.to_string()),
        }
    }
}
