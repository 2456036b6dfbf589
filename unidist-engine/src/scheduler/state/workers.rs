//! The worker processes, as the scheduler sees them.
//!
//! A pool worker runs one task at a time. If the task blocks in `get`, its slot becomes free, and the worker runs, on
//! top of it, tasks that it waits for: the running tasks are a stack of frames, of which only the top can be active. A
//! task that was sent to run on top of a blocked one starts before that one goes on.
//! Prefetched tasks wait behind the stack to hide the latency of the link: the worker starts them in order, each when
//! the stack is empty, or earlier if the blocked task waits for them.
//!
//! An asynchronous task leaves the stack while it waits: it is *suspended*, holds no CPU slot, and any number of others
//! may be suspended at the same worker. When it is woken, the worker resumes it on top of the stack, between other
//! tasks. The scheduler cannot foresee when, and so not what runs next: while a worker has suspended tasks, it reports
//! what it starts and resumes, and calls sent to it count as prefetched until then. They may hold their resources
//! before they start. Without suspended tasks, the scheduler follows the order of starts by itself.

use crate::scheduler::event::Role;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::deadlock_search::Node;
use crate::scheduler::state::resources::SchedulingClass;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{DataId, HostId, TaskError, TaskId};

/// A worker or actor process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) role: Role,
    pub(crate) host: HostId,
    /// Its id in the operating system of its host; 0 until it has joined.
    pub(crate) pid: u32,
    pub(crate) phase: Phase,
    /// The running tasks, the last on top of the others. For an actor, one frame that holds its resources: its calls
    /// may overlap.
    pub(crate) stack: Vec<Frame>,
    /// Tasks that were sent and wait for their turn.
    pub(crate) prefetched: VecDeque<Prefetched>,
    /// Asynchronous tasks that have started and wait, with their classes. They hold everything but their CPUs.
    pub(crate) suspended: FxHashMap<TaskId, SchedulingClass>,
    /// The calls of a pending retraction.
    pub(crate) retracting: Option<Vec<TaskId>>,
    /// Its open requests that block a call.
    pub(crate) blocking: Vec<RequestId>,
    /// The references of the process.
    pub(crate) references: FxHashMap<DataId, u32>,
    /// The failure of the call because of which it is being killed.
    pub(crate) kill_cause: Option<Arc<TaskError>>,
    /// What blocked it and the number of bound calls that had become ready when bound calls behind it were last checked for
    /// a deadlock.
    pub(crate) last_deadlock_check: Option<(Node, u64)>,
    /// Its CPU slot is removed with it.
    pub(crate) releases_slot: bool,
    /// Whether a call has run on top of one that does not wait for it, since its stack was last empty.
    pub(crate) stacks_unawaited: bool,
}

/// The life cycle of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was started and has not joined.
    Starting,
    /// It runs calls.
    Live,
    /// It finishes its calls and is sent no more.
    Draining,
    /// It was told to exit.
    Stopping,
    /// It is being killed.
    Killed,
}

/// A task that was sent and has not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefetched {
    pub(crate) task: TaskId,
    /// The worker starts it before all others, also on top of a blocked task.
    pub(crate) nested: bool,
    /// Its class, if it holds its resources already.
    pub(crate) holds: Option<SchedulingClass>,
}

/// A running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) task: TaskId,
    pub(crate) class: SchedulingClass,
    pub(crate) state: FrameState,
    /// Whether others can run on top of it while it is blocked: the stack has room for them.
    pub(crate) can_nest: bool,
    /// How many threads that it has probably started wait for replies.
    pub(crate) waiting_threads: u32,
}

impl Frame {
    /// A task that runs.
    pub(crate) fn new(task: TaskId, class: SchedulingClass) -> Self {
        Frame { task, class, state: FrameState::Active, can_nest: true, waiting_threads: 0 }
    }

    /// The request that blocks it, if others can run on top of it meanwhile.
    pub(crate) fn nests_on(&self) -> Option<RequestId> {
        match self.state {
            FrameState::Blocked(request) if self.can_nest => Some(request),
            FrameState::Active | FrameState::Blocked(_) | FrameState::Lent | FrameState::Runnable => None,
        }
    }
}

/// The state of a running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameState {
    /// It holds its slot.
    Active,
    /// It waits for this request and has released its slot.
    Blocked(RequestId),
    /// It has released its slot for threads that it has probably started and that wait. Nothing can run on top of it: its
    /// own thread is in code of the user, perhaps until those end.
    Lent,
    /// Another task runs on top of it. It has released its slot and waits for no request, or for one that was answered; it
    /// proceeds, with its slot, after that.
    Runnable,
}

impl Worker {
    pub(crate) fn new(role: Role, host: HostId) -> Self {
        Worker {
            role,
            host,
            pid: 0,
            phase: Phase::Starting,
            stack: Vec::new(),
            prefetched: VecDeque::new(),
            suspended: FxHashMap::default(),
            retracting: None,
            blocking: Vec::new(),
            references: FxHashMap::default(),
            kill_cause: None,
            last_deadlock_check: None,
            releases_slot: false,
            stacks_unawaited: false,
        }
    }

    /// Whether it has nothing at all to run, now or later.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_free() && self.suspended.is_empty()
    }

    /// Whether its thread has nothing to run now. Suspended tasks may be resumed at any moment.
    pub(crate) fn is_free(&self) -> bool {
        self.phase == Phase::Live && self.stack.is_empty() && self.prefetched.is_empty()
    }

    /// Whether it reports what it starts: see the module documentation.
    pub(crate) fn reports_starts(&self) -> bool {
        !self.suspended.is_empty()
    }

    /// The place of a call among the prefetched ones.
    pub(crate) fn position_of(&self, task: TaskId) -> Option<usize> {
        self.prefetched.iter().position(|prefetched| prefetched.task == task)
    }

    /// How many prefetched calls wait without resources.
    pub(crate) fn waiting(&self) -> usize {
        self.prefetched.iter().filter(|prefetched| prefetched.holds.is_none()).count()
    }

    /// The prefetched calls that may be retracted.
    pub(crate) fn retractable(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.prefetched.iter().filter(|prefetched| !prefetched.nested).map(|prefetched| prefetched.task)
    }

    /// Whether the top frame runs, so that the worker starts prefetched tasks by itself.
    pub(crate) fn is_active(&self) -> bool {
        self.phase == Phase::Live && self.stack.last().is_some_and(|frame| frame.state == FrameState::Active)
    }

    pub(crate) fn blocked_on(&self) -> Option<RequestId> {
        match self.stack.last()?.state {
            FrameState::Blocked(request) => Some(request),
            FrameState::Active | FrameState::Lent | FrameState::Runnable => None,
        }
    }

    /// The request that blocks its top task, if others can run on top of that.
    pub(crate) fn nests_on(&self) -> Option<RequestId> {
        self.stack.last()?.nests_on()
    }

    /// Whether threads of the process that run no call can only be those of this task: no other one has started there and
    /// not ended.
    pub(crate) fn owns_threads(&self, task: TaskId) -> bool {
        matches!(&self.stack[..], [only] if only.task == task) && self.suspended.is_empty()
    }
}

/// The maximum number of tasks that wait at a busy worker for their turn.
pub(crate) const MAX_PREFETCHED: usize = 32;

/// After this many processes in a row that ended before they joined, a host starts no more.
pub(crate) const MAX_FAILED_STARTS: usize = 3;
