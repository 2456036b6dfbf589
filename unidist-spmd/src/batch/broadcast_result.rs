//! CallKind the first rank of a communicator found out, known to all of its ranks: bytes, or an error.

use crate::{Communicator, Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// CallKind one message of a rank holds.
const PIECE: usize = 192;

/// In the first one, before the text: what it is, and its length.
const HEAD: usize = 1 + size_of::<u64>();

/// CallKind the text is.
mod kind {
    pub(super) const FOUND: u8 = 0;
    pub(super) const STATE_FILE: u8 = 1;
    pub(super) const DIRECTORY_LOCKED: u8 = 2;
    pub(super) const MPI: u8 = 3;
    pub(super) const ANOTHER_ERROR: u8 = 4;
}

/// Gives all ranks what the first one has; the others' `mine` is not looked at. Collective.
///
/// # Errors
///
/// The first rank's, on all ranks; or that of the communication.
pub(super) fn broadcast_result(
    communicator: &Communicator,
    mine: Option<Result<Vec<u8>>>,
) -> Result<Vec<u8>> {
    if communicator.size() == 1 {
        return mine.unwrap_or_else(|| Ok(Vec::new()));
    }
    let (kind, text) = match &mine {
        Some(Ok(found)) => (kind::FOUND, found.clone()),
        Some(Err(error)) => written(error),
        None => (kind::FOUND, Vec::new()),
    };
    let mut first = [0; PIECE];
    let (inline, rest) = text.split_at(text.len().min(PIECE - HEAD));
    first[0] = kind;
    first[1..HEAD].copy_from_slice(&(text.len() as u64).to_le_bytes());
    first[HEAD..HEAD + inline.len()].copy_from_slice(inline);

    let said = communicator.all_gather(first)?[0];
    let mut length = [0; size_of::<u64>()];
    length.copy_from_slice(&said[1..HEAD]);
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    let mut heard = said[HEAD..].to_vec();
    let mut pieces = rest.chunks(PIECE);
    while heard.len() < length {
        let mut piece = [0; PIECE];
        if let Some(next) = pieces.next() {
            piece[..next.len()].copy_from_slice(next);
        }
        heard.extend(communicator.all_gather(piece)?[0]);
    }
    heard.truncate(length);
    match (said[0], mine) {
        (_, Some(Err(error))) => Err(error),
        (kind::FOUND, _) => Ok(heard),
        (kind, _) => Err(read(kind, &heard, communicator.layout().host_name(0))),
    }
}

fn written(error: &Error) -> (u8, Vec<u8>) {
    let of_path = |path: &Path, text: &str| [path.as_os_str().as_bytes(), &[0], text.as_bytes()].concat();
    match error {
        Error::StateFile { path, message } => (kind::STATE_FILE, of_path(path, message)),
        Error::DirectoryLocked { path, waited } => {
            (kind::DIRECTORY_LOCKED, of_path(path, &waited.as_millis().to_string()))
        }
        Error::Mpi { message } => (kind::MPI, message.clone().into_bytes()),
        other => (kind::ANOTHER_ERROR, other.to_string().into_bytes()),
    }
}

fn read(kind: u8, text: &[u8], first_host: &str) -> Error {
    let message = |text| String::from_utf8_lossy(text).into_owned();
    // A path has no zero in it.
    let (path, rest) = text.split_at(text.iter().position(|&byte| byte == 0).unwrap_or(text.len()));
    let (path, rest) = (PathBuf::from(OsStr::from_bytes(path)), message(rest.get(1..).unwrap_or_default()));
    match kind {
        kind::STATE_FILE => Error::StateFile { path, message: rest },
        kind::DIRECTORY_LOCKED => {
            Error::DirectoryLocked { path, waited: Duration::from_millis(rest.parse().unwrap_or_default()) }
        }
        kind::MPI => Error::Mpi { message: message(text) },
        _ => Error::Failed { rank: 0, host: first_host.to_owned(), cause: message(text) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_as_they_were_written() {
        let path = PathBuf::from(OsStr::from_bytes(b"/some/where/\xff/state"));
        for error in [
            Error::StateFile { path: path.clone(), message: "it is full".into() },
            Error::StateFile { path: PathBuf::new(), message: String::new() },
            Error::DirectoryLocked { path, waited: Duration::from_millis(60_001) },
            Error::Mpi { message: "no".into() },
            Error::Failed { rank: 0, host: "first".into(), cause: "call: argument".into() },
        ] {
            let (kind, text) = match &error {
                Error::Failed { .. } => written(&Error::argument("call", "argument")),
                error => written(error),
            };
            assert_eq!(read(kind, &text, "first"), error);
        }
    }
}
