//! How a process joins a session: over a socket pair, which afterwards only tells of the other side's end.
//!
//! The engine greets with its version, its build and the memory to map; the process answers that it has joined or why
//! it will not. The first bytes of both messages never change, so that any two versions can tell each other that they
//! differ.

use super::ring::LinkMemory;
#[cfg(any(test, feature = "fuzz"))]
use crate::protocol::monitor::{Greeting, Welcomed};
use crate::protocol::wire;
use crate::store::segment::Segment;
use crate::store::spill::SpillFile;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use unidist_common::ProcessId;

/// The variable that marks a process started as a worker. Its value is the process id of its parent.
pub(crate) const WORKER_VARIABLE: &str = "UNIDIST_WORKER";
const MAGIC: [u8; 8] = *b"unidist\n";
/// Changes whenever a message or a layout in shared memory does.
pub(crate) const VERSION: u32 = 5;
const PREFIX: usize = 16;
const BODY_LIMIT: usize = 1 << 20;

/// What the engine tells a new process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The build of the program.
    pub(crate) build_id: String,
    /// Who the process is.
    pub(crate) process: ProcessId,
    /// Whether it hosts an actor.
    pub(crate) actor: bool,
    /// The folder of its log file; standard error if there is none.
    pub(crate) log_dir: Option<PathBuf>,
    /// The name of the host, in a session of several.
    pub(crate) host: Option<String>,
    /// Up to this many bytes of an object travel in messages; more goes through the store.
    pub(crate) inline_limit: u32,
}

/// What the process answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Joined { build_id: String },
    Refused { why: String },
}

/// Sends the welcome with the memory of the link and of the store, and the spill file if there is one.
pub(crate) fn greet(
    socket: &UnixStream,
    welcome: &Welcome,
    link: &LinkMemory,
    segment: &Segment,
    spill: Option<&SpillFile>,
) -> io::Result<()> {
    let message = frame(welcome)?;
    let fds: Vec<_> = [link.file(), segment.file()].into_iter().chain(spill.map(SpillFile::file)).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for the file descriptors"));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
    let mut rest = socket;
    rest.write_all(&message[sent..])
}

/// What a process has once it has joined.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    pub(crate) link: Arc<LinkMemory>,
    pub(crate) segment: Arc<Segment>,
    /// None where nothing is spilled.
    pub(crate) spill: Option<Arc<SpillFile>>,
}

/// In the new process: reads the welcome, checks that both are one build, maps the memory and answers.
pub(crate) fn join(socket: &UnixStream, build_id: &str) -> Result<Joined, String> {
    let (welcome, mut fds) =
        receive_welcome(socket).map_err(|error| format!("cannot read the engine's welcome: {error}"))?;
    let joined = check_build(&welcome.build_id, build_id).and_then(|()| {
        let spill = (fds.len() == 3).then(|| fds.remove(2));
        let [link, segment] =
            <[OwnedFd; 2]>::try_from(fds).map_err(|_| "the welcome lacks its memory".to_owned())?;
        let link =
            LinkMemory::open(File::from(link)).map_err(|error| format!("cannot map the link: {error}"))?;
        let segment =
            Segment::open(File::from(segment)).map_err(|error| format!("cannot map the store: {error}"))?;
        let spill = spill.map(|file| SpillFile::open(File::from(file))).transpose();
        let spill = spill.map_err(|error| format!("cannot read the spill file: {error}"))?;
        Ok((link, segment, spill))
    });
    let answer = match &joined {
        Ok(_) => Answer::Joined { build_id: build_id.to_owned() },
        Err(why) => Answer::Refused { why: why.clone() },
    };
    let mut writer = socket;
    frame(&answer)
        .and_then(|bytes| writer.write_all(&bytes))
        .map_err(|error| format!("cannot answer the engine: {error}"))?;
    let (link, segment, spill) = joined?;
    Ok(Joined { welcome, link, segment, spill })
}

/// The answer to a welcome, on its way to the engine.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    bytes: Vec<u8>,
}

impl Reception {
    /// Reads what is there without waiting for more: `None` as long as that is not the whole answer. The error says why
    /// the process did not join.
    pub(crate) fn hear(&mut self, socket: &UnixStream, build_id: &str) -> Option<Result<(), String>> {
        self.read(socket, RecvFlags::DONTWAIT, build_id).transpose()
    }

    /// Whether something of the answer has come.
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
                Parsed::Missing(missing) => missing,
            };
            let start = self.bytes.len();
            self.bytes.resize(start + missing.min(PIECE), 0);
            let received = rustix::net::recv(socket, &mut self.bytes[start..], flags);
            let (len, _) = received.unwrap_or_default();
            self.bytes.truncate(start + len);
            match received {
                Ok((1.., _)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if flags.contains(RecvFlags::DONTWAIT) => return Ok(None),
                Ok(_) | Err(Errno::CONNRESET) if self.has_begun() => {
                    return Err("it ended in the middle of its answer".to_owned());
                }
                Ok(_) | Err(Errno::CONNRESET) => {
                    return Err("it ended without a word; is it a unidist program?".to_owned());
                }
                Err(error) => return Err(format!("its answer cannot be read: {error}")),
            }
        }
    }
}

/// Waits for the answer to the welcome, as long as the socket does for each part of it.
#[cfg(any(test, feature = "bench"))]
pub(crate) fn receive_answer(socket: &UnixStream, build_id: &str) -> Result<(), String> {
    Reception::default().read(socket, RecvFlags::empty(), build_id).map(|_| ())
}

/// The first message between two hosts, in the same form.
pub(crate) fn first_words<M: Serialize>(message: &M) -> Result<Vec<u8>, String> {
    frame(message).map_err(|error| error.to_string())
}

/// What is said in the first message from another host, which is all that these bytes are.
pub(crate) fn understand<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
    match parse(bytes)? {
        Parsed::Message(message) => Ok(message),
        Parsed::Missing(missing) => Err(format!("{missing} bytes are missing")),
    }
}

enum Parsed<M> {
    Message(M),
    /// At least so many bytes are missing.
    Missing(usize),
}

/// So much of an answer is read at a time.
const PIECE: usize = 4096;

/// What is said in the bytes that have come so far.
fn parse<M: DeserializeOwned>(bytes: &[u8]) -> Result<Parsed<M>, String> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(Parsed::Missing(PREFIX - bytes.len()));
    };
    let len = body_len(prefix)?;
    match rest.get(..len) {
        Some(body) => wire::decode(body).map(Parsed::Message).map_err(|error| error.to_string()),
        None => Ok(Parsed::Missing(len - rest.len())),
    }
}

/// Whether two sides are one build.
pub(crate) fn check_build(ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!(
        "the program and its worker are different builds ({ours} and {theirs}): start the same executable everywhere, \
         and again after a rebuild"
    ))
}

fn frame<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    wire::append(message, BODY_LIMIT, &mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

fn body_len(prefix: &[u8; PREFIX]) -> Result<usize, String> {
    let (magic, rest) = prefix.split_at(MAGIC.len());
    let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
    if magic != MAGIC {
        return Err("the other side does not speak unidist's protocol; is it a unidist program?".into());
    }
    if number(0) != VERSION {
        return Err(format!(
            "the other side speaks version {} of the protocol, this one {VERSION}",
            number(0)
        ));
    }
    match number(4) as usize {
        len if len <= BODY_LIMIT => Ok(len),
        len => Err(format!("the other side announces {len} bytes")),
    }
}

fn receive_welcome(socket: &UnixStream) -> io::Result<(Welcome, Vec<OwnedFd>)> {
    let mut prefix = [0; PREFIX];
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
    Ok((decode(&body)?, fds))
}

fn decode<M: DeserializeOwned>(body: &[u8]) -> io::Result<M> {
    wire::decode(body).map_err(|error| invalid(error.to_string()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Takes these bytes for what the engine says, and for what a process answers.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn hear_anything(bytes: &[u8]) {
    fn hear<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        match parse::<M>(bytes) {
            Ok(Parsed::Missing(missing)) => assert!((1..=PREFIX + BODY_LIMIT).contains(&missing)),
            Ok(Parsed::Message(message)) => {
                let again = frame(&message).map(|bytes| parse::<M>(&bytes));
                assert!(matches!(again, Ok(Ok(Parsed::Message(again))) if again == message), "{message:?}");
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
    hear::<Welcome>(bytes);
    hear::<Answer>(bytes);
    hear::<Greeting>(bytes);
    hear::<Welcomed>(bytes);
}

/// What is really said.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn examples() -> Vec<Vec<u8>> {
    let (build_id, log_dir) = ("build".to_owned(), Some("logs".into()));
    let host = Some("node1".to_owned());
    let welcome = Welcome {
        build_id,
        process: ProcessId::CONTROLLER,
        actor: true,
        log_dir,
        host,
        inline_limit: 1 << 15,
    };
    let joined = Answer::Joined { build_id: "build".into() };
    let refused = Answer::Refused { why: "another build".into() };
    let (greeting, welcomed) = crate::fuzz::greetings();
    let whole = [frame(&welcome), frame(&joined), frame(&refused), frame(&greeting)];
    let whole = whole.into_iter().chain(welcomed.iter().map(frame)).flatten();
    whole.flat_map(|bytes| [bytes[..bytes.len() / 2].to_vec(), bytes]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::spill::SpillSpace;

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

    fn meet(ours: &'static str, theirs: &'static str) -> (Result<(), String>, Result<Welcome, String>) {
        let (engine, worker) = UnixStream::pair().unwrap();
        let (link, segment) = (LinkMemory::create().unwrap(), Segment::create("unidist-test", 4096).unwrap());
        let (_, spill) = SpillSpace::create(&std::env::temp_dir(), Some(4096)).unwrap();
        greet(&engine, &welcome(ours), &link, &segment, Some(&spill)).unwrap();
        let joined = join(&worker, theirs).map(|joined| {
            assert!(joined.spill.is_some());
            joined.welcome
        });
        (receive_answer(&engine, ours), joined)
    }

    #[test]
    fn one_build_joins() {
        assert_eq!(meet("a", "a"), (Ok(()), Ok(welcome("a"))));
    }

    #[test]
    fn another_build_is_refused_on_both_sides() {
        let (engine, worker) = meet("a", "b");
        assert!(engine.unwrap_err().contains("different builds"));
        assert!(worker.unwrap_err().contains("different builds"));
    }

    #[test]
    fn a_stranger_is_told_apart() {
        let (engine, mut stranger) = UnixStream::pair().unwrap();
        stranger.write_all(b"hello, I am cat and do not know you").unwrap();
        assert!(receive_answer(&engine, "a").unwrap_err().contains("does not speak"));
        let (engine, stranger) = UnixStream::pair().unwrap();
        drop(stranger);
        assert!(receive_answer(&engine, "a").unwrap_err().contains("without a word"));
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let (engine, mut worker) = UnixStream::pair().unwrap();
        let bytes = frame(&Answer::Joined { build_id: "a".repeat(2 * PIECE) }).unwrap();
        let mut reception = Reception::default();
        for (n, piece) in bytes.chunks(7).enumerate() {
            assert_eq!(reception.has_begun(), n > 1, "what was written last was not read yet");
            assert_eq!(reception.hear(&engine, "b"), None);
            worker.write_all(piece).unwrap();
        }
        assert!(reception.hear(&engine, "b").unwrap().unwrap_err().contains("different builds"));
    }

    #[test]
    fn another_version_is_told_apart() {
        let (engine, mut other) = UnixStream::pair().unwrap();
        let mut bytes = frame(&Answer::Joined { build_id: "a".into() }).unwrap();
        bytes[8] = 99;
        other.write_all(&bytes).unwrap();
        assert!(receive_answer(&engine, "a").unwrap_err().contains("version 99"));
    }
}
