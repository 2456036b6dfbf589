//! `get` and `wait`: a request is answered at once or opened until its objects have values.

use crate::scheduler::event::Action;
use crate::scheduler::reactor::search_deadlocks::on_blocked;
use crate::scheduler::reactor::worker_queries::answer_worker_queries;
use crate::scheduler::request::{Blocks, Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::requests::{OpenRequest, RequestKind};
use crate::scheduler::transitions::block::{block, find_work, lend_slot};
use crate::scheduler::transitions::cancel::wait_error;
use crate::scheduler::transitions::requests::{answer, close, remember, request_copies_for_reply};
use unidist_common::{DataId, Error, ProcessId};

/// Answers a `get` once all objects have values and are on the client's host.
pub(crate) fn on_get(
    state: &mut State,
    process: ProcessId,
    request: RequestId,
    ids: Vec<DataId>,
    blocks: Blocks,
) {
    let missing = ids.iter().filter(|id| state.objects.is_pending(**id)).count();
    open(state, process, request, OpenRequest::new(ids, RequestKind::Get, missing, blocks));
}

/// Answers a `wait` once `count` of the objects have values.
pub(crate) fn on_wait(
    state: &mut State,
    process: ProcessId,
    request: RequestId,
    ids: Vec<DataId>,
    count: u64,
    timed: bool,
    blocks: Blocks,
) {
    let ready = ids.iter().filter(|id| !state.objects.is_pending(**id)).count();
    let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(ids.len());
    open(
        state,
        process,
        request,
        OpenRequest::new(ids, RequestKind::Wait { timed }, wanted.saturating_sub(ready), blocks),
    );
}

/// Answers the request if nothing is missing; otherwise keeps it open and blocks its task.
pub(crate) fn open(state: &mut State, process: ProcessId, request: RequestId, mut open: OpenRequest) {
    if open.missing == 0 && !request_copies_for_reply(state, process, request, &mut open) {
        return answer(state, process, request, open);
    }
    if let Some(error) = wait_error(state, process, open.blocks) {
        let reply = Reply::Failed(Error::from(error));
        return state.actions.push(Action::Reply { process, request, reply });
    }
    for id in &open.ids {
        if state.objects.is_pending(*id) {
            state.objects.add_waiter(*id, Waiter::Request(process, request));
        }
    }
    let blocks = open.blocks;
    match blocks {
        Blocks::Nothing => return remember(state, process, request, open),
        Blocks::Call { call, can_nest } => {
            remember(state, process, request, open);
            block(state, process, call, (request, can_nest));
        }
        Blocks::Thread => {
            open.lender = lend_slot(state, process);
            remember(state, process, request, open);
            find_work(state, process);
        }
    }
    on_blocked(state, process, request);
}

/// The time limit of a request has passed: it is answered with what is ready.
pub(crate) fn on_expire(state: &mut State, process: ProcessId, request: RequestId) {
    match close(state, process, request) {
        Some(open) => answer(state, process, request, open),
        None => answer_worker_queries(state, Some((process, request))),
    }
}
