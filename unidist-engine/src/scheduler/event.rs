//! What goes into the scheduler and what comes out.

use super::timers::Timer;
use crate::network::{HostId, Transfer};
use crate::protocol::worker::{Ask, Reply, RequestId, ToWorker, Value};
use crate::store::{Block, StoredObject};
use std::sync::Arc;
use std::time::Duration;
use unidist_common::{DataId, ProcessId, TaskError};

/// Something happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A client asks: the controller or a process.
    Ask(ProcessId, Ask),
    /// A process that was to be started has joined.
    Joined(ProcessId),
    /// A process has ended (or could not be started), with what is known of why, and calls that were sent to it and
    /// that it has never seen.
    Lost(ProcessId, String, Vec<DataId>),
    /// A call has ended on this process.
    Done(ProcessId, DataId, Result<Vec<StoredObject>, TaskError>),
    /// The process gives these calls back, which it has not started.
    Returned(ProcessId, Vec<DataId>),
    /// The asynchronous call waits for requests made earlier.
    Yield(ProcessId, DataId),
    /// The answer with these values could not be sent to this process.
    Unanswered(ProcessId, Vec<Value>),
    /// The copy of this object on this host, of which nobody there has a view, was moved to the spill file; its parts
    /// are there now.
    Spilled(HostId, DataId, StoredObject),
    /// A copy that was wanted is there, with these parts, or cannot be made.
    Copied(Transfer, Result<StoredObject, TaskError>),
    /// A host cannot be reached any more, and this is why: its processes and its memory are gone.
    HostLost(HostId, String),
    /// This call of a method, whose time is limited, has started on this process.
    Started(ProcessId, DataId),
    /// The time of this timer is over.
    Expired(Timer),
    /// The session is to end: what runs may finish, nothing else starts.
    Shutdown,
}

/// Something is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Start a process on this host.
    Start(ProcessId, Role, HostId),
    /// Send a message.
    Send(ProcessId, ToWorker),
    /// Answer a request of the controller or of a process.
    Reply(ProcessId, RequestId, Reply),
    /// Kill a process. Its loss is an event, as any other.
    Kill(ProcessId),
    /// Tell when this time is over.
    Arm(Timer, Duration),
    /// This timer is not needed any more.
    Disarm(Timer),
    /// This host has so many CPU slots from now on.
    Slots(HostId, usize),
    /// Free a block of this host's store, if the host is not lost.
    Free(HostId, Block),
    /// Free a block of this host's spill file, if the host is not lost.
    FreeSpilled(HostId, Block),
    /// Copy an object to another host. What becomes of it is an event.
    Copy(Copy),
    /// Tell the user of a failed call whose failure nobody can see, because it has no results.
    Unobserved(TaskError),
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs tasks.
    Pool,
    /// Hosts this actor.
    Actor(DataId),
}

/// An object that is to be copied from one host to another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    /// The number of the copy, which the event repeats.
    pub(crate) transfer: Transfer,
    /// What is copied.
    pub(crate) id: DataId,
    /// Where it is.
    pub(crate) from: HostId,
    /// Where it is wanted.
    pub(crate) to: HostId,
    /// Its parts where it is; they stay there until the copy is made.
    pub(crate) object: Arc<StoredObject>,
}
