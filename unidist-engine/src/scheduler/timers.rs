//! Time, as far as the scheduler knows it: it asks to be told when some of it is over.
//!
//! A call has one timer at most: while it runs, for the time that it may take; once its results have failed, for the
//! time in which it has to leave its worker.

use super::Scheduler;
use super::event::Action;
use super::tasks::TaskState;
use rustc_hash::FxHashMap;
use std::time::Duration;
use unidist_common::{DataId, ErrorKind, ProcessId, Target, TaskError};

/// One wish to be told when some time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Timer {
    call: DataId,
    /// Tells the timers of one call apart.
    serial: u64,
}

#[cfg(any(test, feature = "simulation"))]
impl Timer {
    /// The timer as numbers.
    pub(crate) fn to_numbers(self) -> [u64; 2] {
        [self.call.to_bits(), self.serial]
    }
}

/// The timers that are armed.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: FxHashMap<DataId, u64>,
    serial: u64,
}

impl Timers {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}

#[cfg(test)]
impl Scheduler {
    pub(crate) fn timer_for_tests(serial: u64) -> Timer {
        Timer { call: DataId::new(ProcessId::CONTROLLER, 1), serial }
    }
}

impl Scheduler {
    /// Has the scheduler told when this time is over, in place of what it was to be told of the call before.
    pub(crate) fn arm(&mut self, call: DataId, time: Duration) {
        self.disarm(call);
        self.timers.serial += 1;
        let serial = self.timers.serial;
        self.timers.armed.insert(call, serial);
        self.actions.push(Action::Arm { timer: Timer { call, serial }, after: time });
    }

    /// Whether the call ends by its time, if not before.
    pub(crate) fn is_timed(&self, call: DataId) -> bool {
        self.timers.armed.contains_key(&call)
    }

    pub(crate) fn disarm(&mut self, call: DataId) {
        if self.timers.armed.is_empty() {
            return; // nearly always
        }
        if let Some(serial) = self.timers.armed.remove(&call) {
            self.actions.push(Action::Disarm(Timer { call, serial }));
        }
    }

    /// A method has started whose time is limited.
    pub(crate) fn started(&mut self, process: ProcessId, call: DataId) {
        if let Some(task) = self.tasks.get(&call)
            && task.state == TaskState::Sent(process)
            && matches!(task.spec.target, Target::Actor(_))
            && let Some(limit) = task.spec.options.timeout
            && !self.timers.armed.contains_key(&call)
        {
            self.arm(call, limit);
        }
    }

    /// The time of a timer is over, if it is still wanted.
    pub(crate) fn expired(&mut self, timer: Timer) {
        let Timer { call, serial } = timer;
        if self.timers.armed.get(&call) != Some(&serial) {
            return;
        }
        self.timers.armed.remove(&call);
        match self.tasks.get(&call).map(|task| (task.spec.target, task.state, task.spec.options.timeout)) {
            None => self.grace_is_over(call),
            Some((target, TaskState::Sent(process), Some(limit))) => {
                let message = format!("it may run for {limit:?} and did not end in that time");
                let host = self.host_of(process).unwrap_or_default();
                let error =
                    TaskError::new(ErrorKind::TimedOut, message).on_worker(&self.name_of(process, host));
                match target {
                    Target::NewActor => {
                        self.fail_task(call, error);
                        self.actions.push(Action::Kill(process));
                    }
                    Target::Pool | Target::Actor(_) => self.end_early(call, error),
                }
            }
            Some(_) => {}
        }
    }
}
