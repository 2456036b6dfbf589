//! The handshake by which a process joins a session. It uses a socket pair, which afterwards only shows when the other side
//! ends.
//!
//! The engine sends its version, its build and the memory to map; the process answers that it has joined, or why it does
//! not. The messages are in [`protocol::handshake`](crate::protocol::handshake).

use super::ring::LinkMemory;
use crate::protocol::handshake::{Answer, PREFIX_LEN, Parsed, Welcome, body_len, check_build, encode, parse};
use crate::protocol::wire;
use crate::store::segment::Segment;
use crate::store::spill::SpillFile;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The variable that marks a process started as a worker. Its value is the process id of its parent.
pub(crate) const WORKER_VARIABLE: &str = "UNIDIST_WORKER";

/// Sends the welcome with the memory of the link and of the store, and the spill file if there is one.
pub(crate) fn greet(
    socket: &UnixStream,
    welcome: &Welcome,
    link: &LinkMemory,
    segment: &Segment,
    spill: Option<&SpillFile>,
) -> io::Result<()> {
    let message = encode(welcome).map_err(io::Error::other)?;
    let fds: Vec<_> = [link.file(), segment.file()].into_iter().chain(spill.map(SpillFile::file)).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("the message has no space for the file descriptors"));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
    let mut rest = socket;
    rest.write_all(&message[sent..])
}

/// The state of a process that has joined.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    pub(crate) link: Arc<LinkMemory>,
    pub(crate) segment: Arc<Segment>,
    /// `None` if spilling is disabled.
    pub(crate) spill: Option<Arc<SpillFile>>,
}

/// In the new process: reads the welcome, checks that both processes run the same build, maps the memory, has the caller
/// prepare the rest, and answers.
pub(crate) fn join<T>(
    socket: &UnixStream,
    build_id: &str,
    prepare: impl FnOnce(Joined) -> Result<T, String>,
) -> Result<T, String> {
    let (welcome, mut fds) =
        receive_welcome(socket).map_err(|error| format!("cannot read the engine's welcome: {error}"))?;
    let joined = check_build(&welcome.build_id, build_id).and_then(|()| {
        let spill = (fds.len() == 3).then(|| fds.remove(2));
        let [link, segment] = <[OwnedFd; 2]>::try_from(fds)
            .map_err(|_| "the engine's welcome has no shared memory".to_owned())?;
        let link =
            LinkMemory::open(File::from(link)).map_err(|error| format!("cannot map the link: {error}"))?;
        let segment =
            Segment::open(File::from(segment)).map_err(|error| format!("cannot map the store: {error}"))?;
        let spill = spill.map(|file| SpillFile::open(File::from(file))).transpose();
        let spill = spill.map_err(|error| format!("cannot read the spill file: {error}"))?;
        prepare(Joined { welcome, link, segment, spill })
    });
    let answer = match &joined {
        Ok(_) => Answer::Joined { build_id: build_id.to_owned() },
        Err(why) => Answer::Refused { why: why.clone() },
    };
    let mut writer = socket;
    encode(&answer)
        .map_err(io::Error::other)
        .and_then(|bytes| writer.write_all(&bytes))
        .map_err(|error| format!("cannot answer the engine: {error}"))?;
    joined
}

/// Reads the answer to a welcome as it arrives.
#[derive(Debug, Default)]
pub(crate) struct AnswerReader {
    bytes: Vec<u8>,
}

impl AnswerReader {
    /// Reads the available bytes without blocking: `None` until the answer is complete. The error is the reason why the
    /// process has not joined.
    pub(crate) fn read_available(
        &mut self,
        socket: &UnixStream,
        build_id: &str,
    ) -> Option<Result<(), String>> {
        self.read(socket, RecvFlags::DONTWAIT, build_id).transpose()
    }

    /// Whether a part of the answer has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn read(&mut self, socket: &UnixStream, flags: RecvFlags, build_id: &str) -> Result<Option<()>, String> {
        loop {
            let missing = match parse(&self.bytes)? {
                Parsed::Message(Answer::Joined { build_id: theirs }) => {
                    return check_build(build_id, &theirs).map(Some);
                }
                Parsed::Message(Answer::Refused { why }) => return Err(why),
                Parsed::Incomplete { missing } => missing,
            };
            let start = self.bytes.len();
            self.bytes.resize(start + missing.min(CHUNK), 0);
            let received = rustix::net::recv(socket, &mut self.bytes[start..], flags);
            let (len, _) = received.unwrap_or_default();
            self.bytes.truncate(start + len);
            match received {
                Ok((1.., _)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if flags.contains(RecvFlags::DONTWAIT) => return Ok(None),
                Ok(_) | Err(Errno::CONNRESET) if self.has_begun() => {
                    return Err("it ended before its answer was complete".to_owned());
                }
                Ok(_) | Err(Errno::CONNRESET) => {
                    return Err(
                        "it ended without an answer: check that it is a program that uses unidist".to_owned()
                    );
                }
                Err(error) => return Err(format!("cannot read its answer: {error}")),
            }
        }
    }
}

/// Waits for the answer to the welcome. The time-out of the socket applies to each part of it.
#[cfg(any(test, feature = "bench"))]
pub(crate) fn receive_answer(socket: &UnixStream, build_id: &str) -> Result<(), String> {
    AnswerReader::default().read(socket, RecvFlags::empty(), build_id).map(|_| ())
}

/// An answer is read in chunks of this size.
const CHUNK: usize = 4096;

fn receive_welcome(socket: &UnixStream) -> io::Result<(Welcome, Vec<OwnedFd>)> {
    let mut prefix = [0; PREFIX_LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let into = &mut [IoSliceMut::new(&mut prefix)];
        match rustix::net::recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let mut reader = socket;
    reader.read_exact(&mut prefix[received..])?;
    let mut body = vec![0; body_len(&prefix).map_err(invalid)?];
    reader.read_exact(&mut body)?;
    let welcome = wire::decode(&body).map_err(|error| invalid(error.to_string()))?;
    Ok((welcome, fds))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::spill::SpillSpace;
    use unidist_common::ProcessId;

    fn welcome(build_id: &str) -> Welcome {
        let process = ProcessId::new(3).unwrap();
        Welcome {
            build_id: build_id.into(),
            process,
            actor: false,
            log_dir: None,
            host: None,
            inline_limit: 1 << 15,
        }
    }

    fn handshake(ours: &'static str, theirs: &'static str) -> (Result<(), String>, Result<Welcome, String>) {
        let (engine, worker) = UnixStream::pair().unwrap();
        let (link, segment) = (LinkMemory::create().unwrap(), Segment::create("unidist-test", 4096).unwrap());
        let (_, spill) = SpillSpace::create(&std::env::temp_dir(), Some(4096)).unwrap();
        greet(&engine, &welcome(ours), &link, &segment, Some(&spill)).unwrap();
        let joined = join(&worker, theirs, |joined| {
            assert!(joined.spill.is_some());
            Ok(joined.welcome)
        });
        (receive_answer(&engine, ours), joined)
    }

    #[test]
    fn same_build_joins() {
        assert_eq!(handshake("a", "a"), (Ok(()), Ok(welcome("a"))));
    }

    #[test]
    fn other_build_is_refused_on_both_sides() {
        let (engine, worker) = handshake("a", "b");
        assert!(engine.unwrap_err().contains("different builds"));
        assert!(worker.unwrap_err().contains("different builds"));
    }

    #[test]
    fn other_program_is_refused() {
        let (engine, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"hello from another program").unwrap();
        assert!(receive_answer(&engine, "a").unwrap_err().contains("does not use unidist's protocol"));
        let (engine, other) = UnixStream::pair().unwrap();
        drop(other);
        assert!(receive_answer(&engine, "a").unwrap_err().contains("without an answer"));
    }

    #[test]
    fn answer_may_arrive_in_pieces() {
        let (engine, mut worker) = UnixStream::pair().unwrap();
        let bytes = encode(&Answer::Joined { build_id: "a".repeat(2 * CHUNK) }).unwrap();
        let mut reader = AnswerReader::default();
        for (n, piece) in bytes.chunks(7).enumerate() {
            assert_eq!(reader.has_begun(), n > 1, "the last piece is still unread");
            assert_eq!(reader.read_available(&engine, "b"), None);
            worker.write_all(piece).unwrap();
        }
        assert!(reader.read_available(&engine, "b").unwrap().unwrap_err().contains("different builds"));
    }

    #[test]
    fn other_version_is_refused() {
        let (engine, mut other) = UnixStream::pair().unwrap();
        let mut bytes = encode(&Answer::Joined { build_id: "a".into() }).unwrap();
        bytes[8] = 99;
        other.write_all(&bytes).unwrap();
        assert!(receive_answer(&engine, "a").unwrap_err().contains("version 99"));
    }
}
