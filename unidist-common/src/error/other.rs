//! Errors of other types as [`Error`]: what `?` takes over.

use super::{Error, MAX_CAUSES, TaskError};
use std::error::Error as StdError;

impl Error {
    /// This error, whatever its type. One of ours comes back as it was.
    fn other(error: &(dyn StdError + 'static)) -> Self {
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.clone();
        }
        if let Some(error) = error.downcast_ref::<TaskError>() {
            return error.clone().into();
        }
        let mut os_error = None;
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            if let Some(inner) = error.get_ref() {
                return Error::other(inner);
            }
            os_error = error.raw_os_error();
        }
        let mut chain = Vec::new();
        let mut source = error.source();
        while let Some(error) = source.filter(|_| chain.len() < MAX_CAUSES as usize) {
            chain.push(error.to_string());
            source = error.source();
        }
        Error::Other { message: error.to_string(), chain, os_error }
    }
}

/// So `?` takes what the standard library returns, in a task as in `main`.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::other(&error)
    }
}

impl From<Box<dyn StdError + Send + Sync>> for Error {
    fn from(error: Box<dyn StdError + Send + Sync>) -> Self {
        Error::other(&*error)
    }
}

impl From<Box<dyn StdError>> for Error {
    fn from(error: Box<dyn StdError>) -> Self {
        Error::other(&*error)
    }
}
