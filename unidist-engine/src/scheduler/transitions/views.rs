//! Uses of shared copies by processes: views and the arguments of calls.
//!
//! Invariant: each use also holds a reference to the object, so a used object is not freed.

use crate::scheduler::state::State;
use crate::scheduler::transitions::release::release;
use unidist_common::{DataId, ProcessId, TaskId};

/// The process has one more view of this object.
pub(crate) fn pin_view(state: &mut State, process: ProcessId, id: DataId) {
    if let Some(host) = state.host_of(process) {
        state.locations.pin_view(&mut state.objects, (process, host), id);
    }
}

/// The process has one view fewer; one that it does not have is ignored.
pub(crate) fn unpin_view(state: &mut State, process: ProcessId, id: DataId) {
    if state.locations.unpin_view(process, id) {
        release(state, id);
    }
}

/// A call that was sent to this process does not use its arguments there any more.
pub(crate) fn unpin_arguments(state: &mut State, process: ProcessId, call: TaskId) {
    let Some((host, objects)) = state.locations.take_arguments(process, call) else { return };
    for id in objects {
        state.locations.end_use(id, host);
        release(state, id);
    }
}

/// The process is gone, and with it all its uses of objects.
pub(crate) fn unpin_all(state: &mut State, process: ProcessId) {
    let Some(uses) = state.locations.take_process(process) else { return };
    let host = uses.host;
    for id in uses.into_objects() {
        state.locations.end_use(id, host);
        release(state, id);
    }
}
