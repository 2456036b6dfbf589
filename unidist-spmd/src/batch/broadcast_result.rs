//! Broadcast of the result of the first rank to all ranks: bytes, or an error.

use crate::{Communicator, Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The payload of one exchange.
const CHUNK: usize = 192;

/// The header of the first exchange: the kind and the length of the text.
const HEADER: usize = 1 + size_of::<u64>();

/// The kinds of texts.
mod kind {
    pub(super) const BYTES: u8 = 0;
    pub(super) const STATE_FILE: u8 = 1;
    pub(super) const DIRECTORY_LOCKED: u8 = 2;
    pub(super) const MPI: u8 = 3;
    pub(super) const ANOTHER_ERROR: u8 = 4;
}

/// Returns the result of the first rank on all ranks; `mine` of the others is ignored. Collective.
///
/// # Errors
///
/// The error of the first rank, on all ranks; or a failure of the communication.
pub(super) fn broadcast_result(
    communicator: &Communicator,
    mine: Option<Result<Vec<u8>>>,
) -> Result<Vec<u8>> {
    if communicator.size() == 1 {
        return mine.unwrap_or_else(|| Ok(Vec::new()));
    }
    let (kind, text) = match &mine {
        Some(Ok(bytes)) => (kind::BYTES, bytes.clone()),
        Some(Err(error)) => encode(error),
        None => (kind::BYTES, Vec::new()),
    };
    let mut first = [0; CHUNK];
    let (inline, rest) = text.split_at(text.len().min(CHUNK - HEADER));
    first[0] = kind;
    first[1..HEADER].copy_from_slice(&(text.len() as u64).to_le_bytes());
    first[HEADER..HEADER + inline.len()].copy_from_slice(inline);

    let exchanged = communicator.all_gather(first)?[0];
    let mut length = [0; size_of::<u64>()];
    length.copy_from_slice(&exchanged[1..HEADER]);
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    let mut received = exchanged[HEADER..].to_vec();
    let mut chunks = rest.chunks(CHUNK);
    while received.len() < length {
        let mut chunk = [0; CHUNK];
        if let Some(next) = chunks.next() {
            chunk[..next.len()].copy_from_slice(next);
        }
        received.extend(communicator.all_gather(chunk)?[0]);
    }
    received.truncate(length);
    match (exchanged[0], mine) {
        (_, Some(Err(error))) => Err(error),
        (kind::BYTES, _) => Ok(received),
        (kind, _) => Err(decode(kind, &received, communicator.layout().host_name(0))),
    }
}

fn encode(error: &Error) -> (u8, Vec<u8>) {
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

fn decode(kind: u8, text: &[u8], first_host: &str) -> Error {
    let message = |text| String::from_utf8_lossy(text).into_owned();
    // A path contains no zero byte.
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
    fn errors_survive_the_broadcast() {
        let path = PathBuf::from(OsStr::from_bytes(b"/some/where/\xff/state"));
        for error in [
            Error::StateFile { path: path.clone(), message: "it is full".into() },
            Error::StateFile { path: PathBuf::new(), message: String::new() },
            Error::DirectoryLocked { path, waited: Duration::from_millis(60_001) },
            Error::Mpi { message: "no".into() },
            Error::Failed { rank: 0, host: "first".into(), cause: "call: argument".into() },
        ] {
            let (kind, text) = match &error {
                Error::Failed { .. } => encode(&Error::argument("call", "argument")),
                error => encode(error),
            };
            assert_eq!(decode(kind, &text, "first"), error);
        }
    }
}
