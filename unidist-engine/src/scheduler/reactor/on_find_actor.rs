//! A client looks for an actor by its name.

use crate::scheduler::event::Action;
use crate::scheduler::request::{Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::transitions::release::retain_for;
use unidist_common::ProcessId;

/// Replies with the actor of this name, to which the process has a reference from now on.
pub(crate) fn on_find_actor(state: &mut State, process: ProcessId, request: RequestId, name: &str) {
    let found = state.actor_names.find(name).filter(|actor| state.objects.contains(actor.handle));
    if let Some(actor) = found {
        retain_for(state, process, actor.handle);
    }
    state.actions.push(Action::Reply { process, request, reply: Reply::Actor(found) });
}
