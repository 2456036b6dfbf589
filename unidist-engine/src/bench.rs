//! Baselines of the benchmarks: the speed of the engine's rings, doorbells and shared memory without the engine. Also
//! single parts of the engine, public only for micro-benchmarks.

mod inner;

pub use inner::{Calls, Message, Range, Ranges, Reactor, messages};

use crate::link::handshake::{self, Joined};
use crate::link::ring::{LinkMemory, Reader, Side, Writer};
use crate::protocol::handshake::Welcome;
use crate::store::Block;
use crate::store::segment::{HEADER, Segment};
use crate::worker::{die_with_parent, take_socket};
use std::io;
use std::ops::DerefMut;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use unidist_common::ProcessId;
use unidist_sync::{Doorbell, IdleWait, SpinLimit};

/// The length of a message of [`Echo`], in bytes.
pub const MESSAGE: usize = 64;

/// Longer than any wake-up, but short enough that an idle echo leaves the CPU to other processes.
const LONG_SPIN: Duration = Duration::from_millis(10);
/// The time limit for the other process to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Replaces the build id in the handshake: both sides are the same executable.
const BUILD_ID: &str = "echo";

/// How both sides of an [`Echo`] wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Both sides spin: while messages flow, neither sleeps.
    Spinning,
    /// Like the engine and one worker while no other process is awake: both sides spin up to a limit, then sleep until
    /// the doorbell rings.
    ///
    /// If a wake-up takes longer than that limit, one sleep makes the other side sleep too, and both continue to sleep
    /// as long as there is one message at a time.
    AsWorkers,
}

impl Waiting {
    fn spin(self) -> Duration {
        match self {
            Waiting::Spinning => LONG_SPIN,
            Waiting::AsWorkers => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                SpinLimit::default().set(2, cores)
            }
        }
    }
}

/// A process that sends each message back, over a link like that of a worker.
#[derive(Debug)]
pub struct Echo {
    _process: Process,
    link: Arc<LinkMemory>,
    segment: Arc<Segment>,
    writer: Writer,
    reader: Reader,
    input: Vec<u8>,
    spin: Duration,
}

impl Echo {
    /// Starts a process that must call [`echo`]. The handshake uses its standard input.
    ///
    /// # Errors
    ///
    /// The system refuses memory or the process, or the process does not join.
    pub fn start(mut command: Command, waiting: Waiting) -> io::Result<Echo> {
        let (link, segment) = (LinkMemory::create()?, Segment::create("unidist-echo", 0)?);
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(JOIN_TIMEOUT))?;
        let process = Process(command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?);
        drop(command); // closes the other end of the socket, so that the end of the process is detected
        let spin = waiting.spin();
        let welcome = Welcome {
            build_id: BUILD_ID.into(),
            process: ProcessId::CONTROLLER,
            actor: false,
            log_dir: None,
            host: None,
            inline_limit: 1 << 15,
        };
        handshake::greet(&ours, &welcome, &link, &segment, None)?;
        handshake::receive_answer(&ours, BUILD_ID).map_err(io::Error::other)?;
        let (writer, reader) = link.ends(Side::Engine);
        Ok(Echo { _process: process, link, segment, writer, reader, input: Vec::new(), spin })
    }

    /// Sends a message there and back.
    ///
    /// # Errors
    ///
    /// The returned message differs from the sent one.
    pub fn round_trip(&mut self, message: &[u8; MESSAGE]) -> io::Result<()> {
        self.input.clear();
        self.writer.write(message).map_err(|_| corrupt())?;
        self.link.bell().ring();
        receive(&mut self.reader, self.segment.bell(), self.spin, &mut self.input)?;
        if self.input == message { Ok(()) } else { Err(corrupt()) }
    }
}

/// The other side of [`Echo`], in its own process. `parent` is the process id of the parent, with which it ends.
///
/// # Errors
///
/// It was not started by [`Echo::start`].
pub fn echo(parent: &str, waiting: Waiting) -> Result<(), String> {
    die_with_parent(parent)?;
    let spin = waiting.spin();
    let socket = take_socket()?;
    let Joined { link, segment, .. } = handshake::join(&socket, BUILD_ID, Ok)?;
    let (mut writer, mut reader) = link.ends(Side::Worker);
    let mut message = Vec::new();
    loop {
        message.clear();
        receive(&mut reader, link.bell(), spin, &mut message).map_err(|error| error.to_string())?;
        writer.write(&message).map_err(|_| corrupt().to_string())?;
        segment.bell().ring();
    }
}

/// Shared memory like that of the object store. Its pages are allocated on the first write.
///
/// # Errors
///
/// The system refuses it.
pub fn shared_memory(len: u64) -> io::Result<impl DerefMut<Target = [u8]>> {
    let segment = Segment::create("unidist-limit", len)?;
    segment.writable(Block { offset: HEADER, len }).ok_or_else(|| io::Error::other("out of bounds"))
}

/// Waits for a message like a thread of the engine.
fn receive(reader: &mut Reader, bell: &Doorbell, spin: Duration, message: &mut Vec<u8>) -> io::Result<()> {
    let mut idle = IdleWait::default();
    while !reader.has_data() {
        idle.wait(bell, spin, None, || reader.has_data());
    }
    reader.read(message).map(drop).map_err(|_| corrupt())
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the link of the echo is corrupt")
}

/// Killed on drop.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // The child was not waited for, so its process id was not reused.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_has_the_requested_length() {
        let mut memory = shared_memory(10_000).unwrap();
        memory.fill(7);
        assert_eq!(memory.len(), 10_000);
    }

    #[test]
    fn other_program_is_an_error() {
        let error = Echo::start(Command::new("true"), Waiting::Spinning).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
