//! The timers of calls.
//!
//! Invariant: a call has at most one armed timer. While it runs, the timer is its time limit; once it is canceled, the
//! time by which it must have left its worker.

use crate::scheduler::event::Timer;
use rustc_hash::FxHashMap;
use unidist_common::TaskId;

/// The armed timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: FxHashMap<TaskId, u64>,
    serial: u64,
}

impl Timers {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }

    /// Arms a timer for a call that has none.
    pub(crate) fn arm(&mut self, call: TaskId) -> Timer {
        self.serial += 1;
        self.armed.insert(call, self.serial);
        Timer { call, serial: self.serial }
    }

    /// The timer of the call, which is not armed any more.
    pub(crate) fn disarm(&mut self, call: TaskId) -> Option<Timer> {
        if self.armed.is_empty() {
            return None; // nearly always
        }
        self.armed.remove(&call).map(|serial| Timer { call, serial })
    }

    pub(crate) fn is_armed(&self, call: TaskId) -> bool {
        self.armed.contains_key(&call)
    }

    /// The timer has expired. False if it was disarmed or replaced before.
    pub(crate) fn expire(&mut self, timer: Timer) -> bool {
        let is_current = self.armed.get(&timer.call) == Some(&timer.serial);
        if is_current {
            self.armed.remove(&timer.call);
        }
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::{DataId, ProcessId};

    #[test]
    fn timer_that_was_replaced_does_not_expire() {
        let mut timers = Timers::default();
        let call = TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, 1));
        let first = timers.arm(call);
        assert_eq!(timers.disarm(call), Some(first));
        let second = timers.arm(call);
        assert!(!timers.expire(first) && timers.is_armed(call));
        assert!(timers.expire(second) && !timers.is_armed(call));
        assert_eq!((timers.disarm(call), timers.len()), (None, 0));
    }
}
