//! Arming and disarming the timer of a call.

use crate::scheduler::event::Action;
use crate::scheduler::state::State;
use std::time::Duration;
use unidist_common::TaskId;

/// Arms a timer for the call, in place of the one that it has.
pub(crate) fn arm(state: &mut State, call: TaskId, after: Duration) {
    disarm(state, call);
    let timer = state.timers.arm(call);
    state.actions.push(Action::Arm { timer, after });
}

pub(crate) fn disarm(state: &mut State, call: TaskId) {
    state.actions.extend(state.timers.disarm(call).map(Action::Disarm));
}
