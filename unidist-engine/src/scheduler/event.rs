//! What goes into the scheduler and what comes out.

use super::timers::Timer;
use crate::link::message::{Ask, Reply, RequestId, ToWorker, Value};
use crate::store::{Block, StoredObject};
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
    /// This object, of which nobody has a view, was moved to the spill file; its parts are there now.
    Spilled(DataId, StoredObject),
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
    /// Start a process.
    Start(ProcessId, Role),
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
    /// Free a block of the store.
    Free(Block),
    /// Free a block of the spill file.
    FreeSpilled(Block),
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
