//! Watches: objects get values, and the client stops watching them.

use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::transitions::requests::{answer, close};
use unidist_common::{DataId, ProcessId};

/// An object of the watch has got a value.
pub(crate) fn watch_progress(state: &mut State, process: ProcessId, watch: RequestId, id: DataId) {
    let (watches, objects) = (&mut state.watches, &state.objects);
    if let Some(watched) = watches.get_mut(&(process, watch)) {
        watched.settle(id, |id| objects.is_pending(id));
        answer_next(state, process, watch);
    }
}

/// Answers the request that waits for the next object, if there is both.
pub(crate) fn answer_next(state: &mut State, process: ProcessId, watch: RequestId) {
    let Some(watched) = state.watches.get(&(process, watch)).filter(|watched| watched.is_ready()) else {
        return;
    };
    let Some(request) = watched.next else { return };
    if let Some(open) = close(state, process, request) {
        answer(state, process, request, open);
    }
}

/// Ends a watch.
pub(crate) fn end_watch(state: &mut State, process: ProcessId, watch: RequestId) {
    let Some(watched) = state.watches.remove(&(process, watch)) else { return };
    for id in watched.ids() {
        if state.objects.is_pending(*id) {
            state.objects.remove_waiter(*id, Waiter::Watch(process, watch));
        }
    }
    if let Some(request) = watched.next
        && let Some(open) = close(state, process, request)
    {
        answer(state, process, request, open);
    }
}

/// Ends the watches of a process that has ended.
pub(crate) fn end_watches_of(state: &mut State, process: ProcessId) {
    if !state.watches.is_empty() {
        let watches: Vec<_> = state.watches.keys().filter(|key| key.0 == process).copied().collect();
        watches.into_iter().for_each(|(process, watch)| end_watch(state, process, watch));
    }
}
