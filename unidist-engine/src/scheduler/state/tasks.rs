//! Pending calls.

use crate::scheduler::state::resources::SchedulingClass;
use unidist_common::{ActorId, ProcessId, Target, TaskId, TaskSpec};

/// A call that has not ended.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) spec: Box<TaskSpec>,
    pub(crate) class: SchedulingClass,
    pub(crate) caller: Caller,
    /// The number of calls submitted before it.
    pub(crate) arrival: u64,
    /// How many dependencies have no value yet or, once bound to a host, are not there.
    pub(crate) missing: usize,
    /// How often a worker has died with it.
    pub(crate) losses: u16,
    /// How often its worker was killed because of another call.
    pub(crate) collateral_losses: u16,
    pub(crate) state: TaskState,
}

// There may be millions of these.
const _: () = assert!(size_of::<Option<Task>>() <= 80);

/// A caller whose calls of an actor run in order: a process, and in it the program, a task or an actor.
pub(crate) type Caller = (ProcessId, Option<TaskId>);

/// The state of a pending call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It waits for its dependencies, or for its turn at the actor.
    Waiting,
    /// It is queued for a worker.
    Ready,
    /// It waits for inputs that are being copied to the host where it will run.
    Fetching,
    /// It was sent to this process.
    Sent(ProcessId),
}

/// A call that was lost with this many workers has probably killed them.
const MAX_LOSSES: u16 = 3;

impl Task {
    /// The actor, if this is a method call.
    pub(crate) fn actor(&self) -> Option<ActorId> {
        match self.spec.target {
            Target::Actor(actor) => Some(actor),
            Target::Pool | Target::NewActor => None,
        }
    }

    /// Its worker has died with it. Whether it may run again.
    pub(crate) fn record_loss(&mut self) -> bool {
        self.losses += 1;
        self.losses < MAX_LOSSES && self.has_retries_left()
    }

    /// Its worker was killed because of another call. Whether it may run again.
    pub(crate) fn record_collateral_loss(&mut self) -> bool {
        self.collateral_losses = self.collateral_losses.saturating_add(1);
        self.has_retries_left()
    }

    fn has_retries_left(&self) -> bool {
        u32::from(self.losses) + u32::from(self.collateral_losses)
            <= self.spec.options.max_retries.unwrap_or(0)
    }
}
