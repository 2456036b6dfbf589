//! The processes that run calls, as the scheduler sees them.
//!
//! A pool worker runs one task at a time. The task may block in `get`; then its slot is free, and the worker runs, on
//! top of it, tasks that it waits for. So what runs is a stack of frames, of which only the last can be active. Behind
//! it lie the tasks that were sent ahead to hide the wire: the worker starts them in order, each when the stack is
//! empty, or earlier if the blocked task waits for them.

use crate::scheduler::event::Role;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::resources::SchedulingClass;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{DataId, HostId, TaskError};

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) role: Role,
    pub(crate) host: HostId,
    pub(crate) phase: Phase,
    /// What runs: the last frame on top of the others. Unused for actors, whose calls may overlap.
    pub(crate) stack: Vec<Frame>,
    /// What was sent and waits for its turn there.
    pub(crate) prefetched: VecDeque<DataId>,
    /// These calls were asked back and the answer is not here yet.
    pub(crate) retracting: Option<Vec<DataId>>,
    /// Its open requests that block a call.
    pub(crate) blocking: Vec<RequestId>,
    /// The references that the process holds.
    pub(crate) references: FxHashMap<DataId, u32>,
    /// The failure of the call because of which it is being killed.
    pub(crate) kill_cause: Option<Arc<TaskError>>,
    /// While it waited for this request, and so many calls had become ready that are for one worker alone, it was asked
    /// whether what waits behind it can ever run.
    pub(crate) last_deadlock_check: Option<(RequestId, u64)>,
    /// Its CPU slot goes with it.
    pub(crate) releases_slot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was started and has not joined.
    Starting,
    /// It runs what it is sent.
    Live,
    /// It is to end when it has done what it has begun, and is sent nothing more.
    Draining,
    /// It was told to end.
    Stopping,
    /// It is being killed.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) task: DataId,
    pub(crate) class: SchedulingClass,
    pub(crate) state: FrameState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameState {
    /// It holds its slot.
    Active,
    /// It waits for this request and has given its slot back.
    Blocked(RequestId),
    /// Its request was answered while another task ran on top of it; it goes on, with its slot, after that.
    Answered,
    /// It is asynchronous, waits for several requests, and has given its slot back until one is answered.
    Yielded,
}

impl Worker {
    pub(crate) fn new(role: Role, host: HostId) -> Self {
        Worker {
            role,
            host,
            phase: Phase::Starting,
            stack: Vec::new(),
            prefetched: VecDeque::new(),
            retracting: None,
            blocking: Vec::new(),
            references: FxHashMap::default(),
            kill_cause: None,
            last_deadlock_check: None,
            releases_slot: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Live && self.stack.is_empty() && self.prefetched.is_empty()
    }

    /// Whether the last frame runs, so that the worker comes to what was sent ahead by itself.
    pub(crate) fn is_active(&self) -> bool {
        self.phase == Phase::Live && self.stack.last().is_some_and(|frame| frame.state == FrameState::Active)
    }

    pub(crate) fn blocked_on(&self) -> Option<RequestId> {
        match self.stack.last()?.state {
            FrameState::Blocked(request) => Some(request),
            FrameState::Active | FrameState::Answered | FrameState::Yielded => None,
        }
    }
}

/// The maximum number of tasks that wait at a busy worker for their turn.
pub(crate) const MAX_PREFETCHED: usize = 32;

/// So many processes in a row that end before they join mean that none ever will.
pub(crate) const MAX_FAILED_STARTS: usize = 3;
