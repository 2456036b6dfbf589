//! What other threads send to the thread that runs the event loop: a channel that is closed when the session ends.

use crate::host::supervisor::ProcessEvent;
use crate::protocol::worker::FromWorker;
use crossbeam_channel::{Receiver, Sender};

/// One input of the event loop.
#[derive(Debug)]
pub(super) enum Input {
    /// From a thread of the program.
    Message(FromWorker),
    /// From the supervisor.
    Process(ProcessEvent),
    /// End the session.
    Shutdown,
}

/// The sending end of the inbox. After the receiving end is dropped, sends fail.
pub(super) type InboxSender = Sender<Input>;
/// The receiving end of the inbox.
pub(super) type Inbox = Receiver<Input>;

pub(super) fn inbox() -> (InboxSender, Inbox) {
    crossbeam_channel::unbounded()
}
