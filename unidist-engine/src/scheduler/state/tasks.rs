//! Calls: from their submission, over their dependencies, to their results.

use crate::scheduler::state::resources::SchedulingClass;
use unidist_common::{DataId, ProcessId, Target, TaskSpec};

/// A call that has not ended.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) spec: Box<TaskSpec>,
    pub(crate) class: SchedulingClass,
    pub(crate) caller: Caller,
    /// How many calls were submitted before it.
    pub(crate) arrival: u64,
    /// How many dependencies have no value yet.
    pub(crate) missing: usize,
    /// How often a worker has died with it.
    pub(crate) losses: u16,
    /// How often a worker was killed with it because of another call.
    pub(crate) collateral_losses: u16,
    pub(crate) state: TaskState,
}

// As many as there are calls under way.
const _: () = assert!(size_of::<Option<Task>>() <= 80);

/// Whose calls of an actor run in order: a process and in it the program, a task or an actor.
pub(crate) type Caller = (ProcessId, Option<DataId>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// For its dependencies, or for its turn at the actor.
    Waiting,
    /// For a worker.
    Ready,
    /// For objects that are on their way to the host where it is to run.
    Fetching,
    /// It was sent to this process.
    Sent(ProcessId),
}

/// A call that was lost with so many workers has probably killed them.
const MAX_LOSSES: u16 = 3;

impl Task {
    /// The actor that it is a call of, if it is.
    pub(crate) fn actor(&self) -> Option<DataId> {
        match self.spec.target {
            Target::Actor(actor) => Some(actor),
            Target::Pool | Target::NewActor => None,
        }
    }

    /// Its process has died with it: whether it may run once more.
    pub(crate) fn record_loss(&mut self) -> bool {
        self.losses += 1;
        self.losses < MAX_LOSSES && self.has_retries_left()
    }

    /// The same, but another call is to blame.
    pub(crate) fn record_collateral_loss(&mut self) -> bool {
        self.collateral_losses = self.collateral_losses.saturating_add(1);
        self.has_retries_left()
    }

    fn has_retries_left(&self) -> bool {
        u32::from(self.losses) + u32::from(self.collateral_losses)
            <= self.spec.options.max_retries.unwrap_or(0)
    }
}
