//! The scheduler's input and output: events and actions.

use super::request::{Reply, Request, RequestId, Value};
use crate::network::{HostId, Transfer};
use crate::store::{Block, StoredObject};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use unidist_backend::CallKind;
use unidist_common::{ActorId, Arg, DataId, FunctionKey, ProcessId, TaskError, TaskId};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A client, the controller or a process, makes a request.
    Request {
        /// The client.
        process: ProcessId,
        /// Its request.
        request: Request,
    },
    /// A process that was started has joined.
    Joined {
        /// The process.
        process: ProcessId,
        /// Its id in the operating system of its host.
        pid: u32,
    },
    /// A process has ended, or could not be started.
    Lost {
        /// The process.
        process: ProcessId,
        /// How it ended, as far as known.
        cause: String,
        /// Calls that were sent to the process and that it has not received.
        undelivered: Vec<TaskId>,
    },
    /// A call has ended.
    Done {
        /// Where it ran.
        process: ProcessId,
        /// The call.
        task: TaskId,
        /// Its results, or why it failed.
        result: Result<Vec<StoredObject>, TaskError>,
    },
    /// The reply to [`Action::RetractTasks`].
    Retracted {
        /// The process.
        process: ProcessId,
        /// The calls that had not started and will not start there.
        tasks: Vec<TaskId>,
    },
    /// An asynchronous task waits, and has left the thread of its process.
    Suspended {
        /// Where it runs.
        process: ProcessId,
        /// The task.
        task: TaskId,
    },
    /// The code of a suspended task runs again, or a task has started that the scheduler did not foresee.
    Resumed {
        /// Where it runs.
        process: ProcessId,
        /// The task.
        task: TaskId,
    },
    /// A reply with values could not be sent to a process.
    ReplyUndelivered {
        /// The process.
        process: ProcessId,
        /// The values in the reply.
        values: Vec<Value>,
    },
    /// An unused copy of an object was moved to the spill file of its host.
    Spilled {
        /// The host.
        host: HostId,
        /// The object.
        id: DataId,
        /// Its parts, now in the spill file.
        object: StoredObject,
        /// Those of its blocks to which parts were moved; others were in the spill file before.
        moved: Vec<Block>,
    },
    /// A request for memory waits on this host: calls that have not started give their arguments back.
    MemoryShort(HostId),
    /// No request for memory waits on this host any more.
    MemoryFound(HostId),
    /// A transfer has ended.
    Copied {
        /// Which one.
        transfer: Transfer,
        /// The parts of the new copy, or why there is none.
        result: Result<StoredObject, TaskError>,
    },
    /// A host is unreachable: its processes and its memory are gone.
    HostLost {
        /// The host.
        host: HostId,
        /// Why.
        cause: String,
    },
    /// A method call with a time limit has started.
    Started {
        /// Where it runs.
        process: ProcessId,
        /// The call.
        task: TaskId,
    },
    /// A timer has expired.
    Expired(Timer),
    /// The session ends: running calls may finish, nothing else starts.
    Shutdown,
}

/// Something to do. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Start a process.
    StartProcess {
        /// Its number.
        process: ProcessId,
        /// Its role.
        role: Role,
        /// Where to start it.
        host: HostId,
    },
    /// Send a call to a process.
    Run {
        /// The process.
        process: ProcessId,
        /// The call.
        run: Run,
    },
    /// Ask a process to give back these calls, unless they have started. [`Event::Retracted`] follows.
    RetractTasks {
        /// The process.
        process: ProcessId,
        /// The calls.
        tasks: Vec<TaskId>,
    },
    /// Cancel a call whose results have failed: the process drops it if it has not started and interrupts it if it has.
    /// [`Event::Done`] follows when the call has left the process.
    CancelTask {
        /// The process.
        process: ProcessId,
        /// The call.
        task: TaskId,
        /// The error of its results.
        error: Arc<TaskError>,
    },
    /// Tell a process to finish what it runs, then exit.
    Stop(ProcessId),
    /// Reply to a request.
    Reply {
        /// The client.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// The reply.
        reply: Reply,
    },
    /// Kill a process. [`Event::Lost`] follows.
    Kill(ProcessId),
    /// Start a timer: [`Event::Expired`] follows after this time.
    Arm {
        /// The timer.
        timer: Timer,
        /// The time.
        after: Duration,
    },
    /// Stop a timer.
    Disarm(Timer),
    /// A host has this many CPU slots from now on.
    SetCpus {
        /// The host.
        host: HostId,
        /// Its slots.
        cpus: usize,
    },
    /// Free a block of a host's segment, unless the host is lost.
    Free {
        /// The host.
        host: HostId,
        /// The block.
        block: Block,
    },
    /// Free a block of a host's spill file, unless the host is lost.
    FreeSpilled {
        /// The host.
        host: HostId,
        /// The block.
        block: Block,
    },
    /// Copy an object to another host. [`Event::Copied`] follows.
    Copy(Copy),
    /// Report the failure of a call that has no results, so no `get` can return the error.
    Unobserved(TaskError),
}

/// A call whose dependencies have values, as it is sent to a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The call: the id of its first return.
    pub(crate) id: TaskId,
    /// The function.
    pub(crate) function: FunctionKey,
    /// The function's body, for front ends whose functions are not part of the executable.
    pub(crate) body: Option<Bytes>,
    /// Function, constructor or method.
    pub(crate) kind: CallKind,
    /// The arguments.
    pub(crate) args: Vec<Arg>,
    /// The values of the dependencies.
    pub(crate) objects: Vec<(DataId, Arc<StoredObject>)>,
    /// The number of results.
    pub(crate) returns: u32,
    /// Run it now, on top of the blocked task that waits for it.
    pub(crate) nested: bool,
    /// Report its start: see [`Event::Started`].
    pub(crate) timed: bool,
}

/// A timer of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(super) call: TaskId,
    /// Tells the timers of one call apart.
    pub(super) serial: u64,
}

#[cfg(any(test, feature = "simulation"))]
impl Timer {
    /// The timer as numbers.
    pub(crate) fn to_numbers(self) -> [u64; 2] {
        [self.call.first_return().to_bits(), self.serial]
    }
}

#[cfg(test)]
impl Timer {
    pub(crate) fn for_tests(serial: u64) -> Timer {
        Timer { call: TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, 1)), serial }
    }
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs tasks.
    Pool,
    /// Hosts this actor.
    Actor(ActorId),
}

/// The copy of an object from one host to another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    /// The number of the transfer, repeated in [`Event::Copied`].
    pub(crate) transfer: Transfer,
    /// The object.
    pub(crate) id: DataId,
    /// The source.
    pub(crate) from: HostId,
    /// The destination.
    pub(crate) to: HostId,
    /// Its parts at the source, which stay there until the copy has been made.
    pub(crate) object: Arc<StoredObject>,
}
