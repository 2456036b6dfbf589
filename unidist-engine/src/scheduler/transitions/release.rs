//! References to objects: taken and given back by processes, and freed with the last one.

use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::state::actors::ActorState;
use crate::scheduler::transitions::processes::stop;
use crate::scheduler::transitions::settle::free_object;
use unidist_common::{ActorId, DataId, ProcessId};

/// Drops a reference. At the last one the object is freed, and with it the references inside its value.
pub(crate) fn release(state: &mut State, id: DataId) {
    let mut worklist = vec![id];
    while let Some(id) = worklist.pop() {
        let Some(value) = state.objects.release(id) else { continue };
        if let Some(Value::Ready(object)) = value {
            if object.has_external_parts() {
                for (host, copy) in state.locations.remove(id) {
                    free_object(state, host, &copy);
                }
            }
            worklist.extend_from_slice(&object.borrowed);
        }
        actor_unreferenced(state, ActorId::of_handle(id));
    }
}

/// Drops a reference of a process; one that the process does not have is ignored.
pub(crate) fn release_for(state: &mut State, process: ProcessId, id: DataId) {
    if process != ProcessId::CONTROLLER {
        let Some(worker) = state.workers.get_mut(&process) else {
            return;
        };
        let Some(count) = worker.references.get_mut(&id) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            worker.references.remove(&id);
        }
    }
    release(state, id);
}

/// Adds a reference of a process, which is released if the process is lost.
pub(crate) fn retain_for(state: &mut State, process: ProcessId, id: DataId) {
    if state.objects.retain(id) {
        record_reference(state, process, id);
    }
}

pub(crate) fn record_reference(state: &mut State, process: ProcessId, id: DataId) {
    if let Some(worker) = state.workers.get_mut(&process) {
        let count = worker.references.entry(id).or_default();
        *count = count.saturating_add(1);
    }
}

/// The last reference to this id is gone. If it is an actor's, the actor ends.
pub(crate) fn actor_unreferenced(state: &mut State, id: ActorId) {
    let Some(actor) = state.actors.get(&id) else { return };
    if let ActorState::New = actor.state {
        return; // its constructor ends first
    }
    let process = actor.process;
    drop_restart_plan(state, id);
    state.actors.remove(&id);
    state.actor_names.free(id);
    if let Some(process) = process {
        stop(state, process);
    }
}

/// The actor will not be restarted.
pub(crate) fn drop_restart_plan(state: &mut State, id: ActorId) {
    if let Some(again) = state.actors.get_mut(&id).and_then(|actor| actor.restart_plan.take()) {
        again.spec.dependencies.iter().chain(&again.spec.borrowed).for_each(|id| release(state, *id));
    }
}
