//! What the session holds, in words: for checks that nothing is left.

use crate::scheduler::state::State;
use unidist_backend::{Live, LiveKind};
use unidist_common::{ActorId, DataId};

/// The objects, the actors and the unfinished calls, in order of their ids, at most this many.
pub(crate) fn live(state: &State, at_most: usize) -> Vec<Live> {
    let silent = state.tasks.iter().filter(|(_, task)| task.spec.returns.count == 0);
    let mut ids: Vec<_> = state.objects.ids().chain(silent.map(|(task, _)| task.first_return())).collect();
    ids.sort_unstable();
    ids.truncate(at_most);
    ids.into_iter().map(|id| describe(state, id)).collect()
}

fn describe(state: &State, id: DataId) -> Live {
    let of = |kind, name: &str| Live { id, kind, name: name.to_owned() };
    if let Some(actor) = state.actors.get(&ActorId::of_handle(id)) {
        return of(LiveKind::Actor, &actor.name);
    }
    let call = state.objects.maker(id).unwrap_or(unidist_common::TaskId::of_first_return(id));
    if let Some(task) = state.tasks.get(&call) {
        return of(LiveKind::Call, &task.spec.name);
    }
    of(LiveKind::Object, state.objects.history.producer_of(id).map_or("", |(name, _)| name))
}
