//! Watches: a client adds objects, and asks which have got values.

use crate::scheduler::event::Action;
use crate::scheduler::reactor::on_get::open;
use crate::scheduler::request::{Blocks, Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::requests::{OpenRequest, RequestKind};
use crate::scheduler::transitions::watches::answer_next;
use unidist_common::{DataId, ProcessId};

/// Adds objects to a watch, which begins with the first.
pub(crate) fn on_watch(state: &mut State, process: ProcessId, watch: RequestId, ids: Vec<DataId>) {
    let watched = state.watches.entry((process, watch)).or_default();
    for id in ids {
        let is_pending = state.objects.is_pending(id);
        watched.add(id, is_pending);
        if is_pending {
            state.objects.add_waiter(id, Waiter::Watch(process, watch));
        }
    }
    answer_next(state, process, watch);
}

/// Replies with the objects that have got values since the last reply, once there is one, or none is left.
pub(crate) fn on_next(
    state: &mut State,
    process: ProcessId,
    request: RequestId,
    (watch, timed): (RequestId, bool),
    blocks: Blocks,
) {
    match state.watches.get_mut(&(process, watch)) {
        Some(watched) if watched.is_pending() && !watched.is_ready() => {
            watched.next = Some(request);
            let kind = RequestKind::Next { watch, timed };
            open(state, process, request, OpenRequest::new(Vec::new(), kind, 1, blocks));
        }
        watched => {
            let ready = watched.map(|watched| watched.take_ready()).unwrap_or_default();
            state.actions.push(Action::Reply { process, request, reply: Reply::Settled(ready) });
        }
    }
}
