//! The limits that the benchmarks compare with: what the machine gives to the engine's own rings, bells and kind of
//! memory when nothing else is done with them. And parts of the engine by themselves, for micro-benchmarks: they are
//! public for those alone.

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

/// Longer than any wake-up, and short enough that an echo at rest leaves the CPU to others.
const LONG_SPIN: Duration = Duration::from_millis(10);
/// How long the other process may take to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// What both sides say in the handshake in place of a build's id: they are one executable.
const NAME: &str = "echo";

/// How both sides of an [`Echo`] wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Both sides spin: while messages flow, neither sleeps.
    Spinning,
    /// As the engine and one worker do, with no other process awake: they spin for a while, then sleep until rung.
    ///
    /// Where waking up takes longer than that while, a side that has slept once makes the other side sleep too, and it
    /// stays so for as long as there is one message at a time.
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

/// A process that sends back what it is sent, over a link as workers have it.
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
    /// Starts a process that has to call [`echo`]; its standard input is taken for the handshake.
    ///
    /// # Errors
    ///
    /// The system refuses memory or the process, or the process does not join.
    pub fn start(mut command: Command, waiting: Waiting) -> io::Result<Echo> {
        let (link, segment) = (LinkMemory::create()?, Segment::create("unidist-echo", 0)?);
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(JOIN_TIMEOUT))?;
        let process = Process(command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?);
        drop(command); // with it the other end of the socket, so that the end of the process is seen
        let spin = waiting.spin();
        let welcome = Welcome {
            build_id: NAME.into(),
            process: ProcessId::CONTROLLER,
            actor: false,
            log_dir: None,
            host: None,
            inline_limit: 1 << 15,
        };
        handshake::greet(&ours, &welcome, &link, &segment, None)?;
        handshake::receive_answer(&ours, NAME).map_err(io::Error::other)?;
        let (writer, reader) = link.ends(Side::Engine);
        Ok(Echo { _process: process, link, segment, writer, reader, input: Vec::new(), spin })
    }

    /// Sends a message there and back.
    ///
    /// # Errors
    ///
    /// What comes back is not what was sent.
    pub fn round_trip(&mut self, message: &[u8; MESSAGE]) -> io::Result<()> {
        self.input.clear();
        self.writer.write(message).map_err(|_| corrupt())?;
        self.link.bell().ring();
        receive(&mut self.reader, self.segment.bell(), self.spin, &mut self.input)?;
        if self.input == message { Ok(()) } else { Err(corrupt()) }
    }
}

/// The other side of [`Echo`], in a process of its own, whose parent has this number. It waits as the other side does
/// and ends with its parent.
///
/// # Errors
///
/// It was not started by [`Echo::start`].
pub fn echo(parent: &str, waiting: Waiting) -> Result<(), String> {
    die_with_parent(parent)?;
    let spin = waiting.spin();
    let socket = take_socket()?;
    let Joined { link, segment, .. } = handshake::join(&socket, NAME)?;
    let (mut writer, mut reader) = link.ends(Side::Worker);
    let mut message = Vec::new();
    loop {
        message.clear();
        receive(&mut reader, link.bell(), spin, &mut message).map_err(|error| error.to_string())?;
        writer.write(&message).map_err(|_| corrupt().to_string())?;
        segment.bell().ring();
    }
}

/// Shared memory as the object store has it. Its pages do not exist before they are written to.
///
/// # Errors
///
/// The system refuses it.
pub fn shared_memory(len: u64) -> io::Result<impl DerefMut<Target = [u8]>> {
    let segment = Segment::create("unidist-limit", len)?;
    segment.writable(Block { offset: HEADER, len }).ok_or_else(|| io::Error::other("out of bounds"))
}

/// Waits for a message as a thread of the engine does.
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

/// Ended on drop.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It is a child that was not waited for, so both refer to it and to no other process.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_as_long_as_asked_for() {
        let mut memory = shared_memory(10_000).unwrap();
        memory.fill(7);
        assert_eq!(memory.len(), 10_000);
    }

    #[test]
    fn a_process_that_is_no_echo_is_an_error() {
        let error = Echo::start(Command::new("true"), Waiting::Spinning).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
