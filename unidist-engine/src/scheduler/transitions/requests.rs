//! Open requests: progress, reply, failure.

use crate::scheduler::event::Action;
use crate::scheduler::request::{Blocks, Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::requests::{OpenRequest, RequestKind};
use crate::scheduler::state::watches::Watch;
use crate::scheduler::transitions::block::unblock;
use crate::scheduler::transitions::fetch::{cancel_copy_request, request_copy};
use crate::scheduler::transitions::views::pin_view;
use unidist_common::{DataId, Error, ProcessId, TaskError};

/// Removes a request and its waiters.
pub(crate) fn close(state: &mut State, process: ProcessId, request: RequestId) -> Option<OpenRequest> {
    let open = state.requests.remove(&(process, request))?;
    if let Some(worker) = state.workers.get_mut(&process) {
        worker.blocking.retain(|other| *other != request);
    }
    for id in &open.ids {
        state.objects.remove_waiter(*id, Waiter::Request(process, request));
    }
    if let RequestKind::Next { watch, .. } = open.kind
        && let Some(watched) = state.watches.get_mut(&(process, watch))
        && watched.next == Some(request)
    {
        watched.next = None;
    }
    if open.is_fetching
        && let Some(host) = state.host_of(process)
    {
        open.ids
            .iter()
            .for_each(|id| cancel_copy_request(state, *id, host, Waiter::Request(process, request)));
    }
    Some(open)
}

/// Answers a request with an error.
pub(crate) fn fail_request(state: &mut State, process: ProcessId, request: RequestId, error: &TaskError) {
    if let Some(open) = close(state, process, request) {
        let reply = Reply::Failed(Error::from(error.clone()));
        state.actions.push(Action::Reply { process, request, reply });
        unblock(state, process, request, open.lender);
    }
}

/// Answers a request with what is ready.
pub(crate) fn answer(state: &mut State, process: ProcessId, request: RequestId, open: OpenRequest) {
    let reply = match open.kind {
        RequestKind::Get => {
            // The process has views from the moment the reply is sent.
            open.ids.iter().for_each(|id| pin_view(state, process, *id));
            let host = state.host_of(process).unwrap_or_default();
            Reply::Values(open.ids.iter().map(|id| state.value_on(host, *id)).collect())
        }
        RequestKind::Wait { .. } => {
            let ready = |(at, id): (usize, &DataId)| (!state.objects.is_pending(*id)).then_some(at as u64);
            Reply::Ready(open.ids.iter().enumerate().filter_map(ready).collect())
        }
        RequestKind::Next { watch, .. } => {
            let watched = state.watches.get_mut(&(process, watch));
            Reply::Settled(watched.map(Watch::take_ready).unwrap_or_default())
        }
    };
    state.actions.push(Action::Reply { process, request, reply });
    unblock(state, process, request, open.lender);
}

/// One more object of the request has a value, or has arrived.
pub(crate) fn request_progress(state: &mut State, process: ProcessId, request: RequestId) {
    let Some(open) = state.requests.get_mut(&(process, request)) else {
        return;
    };
    open.missing = open.missing.saturating_sub(1);
    if open.missing == 0
        && let Some(mut open) = close(state, process, request)
    {
        if request_copies_for_reply(state, process, request, &mut open) {
            remember(state, process, request, open);
        } else {
            answer(state, process, request, open);
        }
    }
}

/// Has the objects of a `get` copied to the client's host. False if none is missing there.
pub(crate) fn request_copies_for_reply(
    state: &mut State,
    process: ProcessId,
    request: RequestId,
    open: &mut OpenRequest,
) -> bool {
    if state.hosts.len() == 1 || open.kind != RequestKind::Get || open.is_fetching {
        return false;
    }
    let Some(host) = state.host_of(process) else { return false };
    let mut missing: Vec<_> = open.ids.iter().copied().filter(|id| state.is_missing_on(*id, host)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing.retain(|id| request_copy(state, *id, host, Waiter::Request(process, request)));
    open.missing = missing.len();
    open.is_fetching = true;
    !missing.is_empty()
}

/// Keeps a request open.
pub(crate) fn remember(state: &mut State, process: ProcessId, request: RequestId, open: OpenRequest) {
    if open.blocks != Blocks::Nothing
        && let Some(worker) = state.workers.get_mut(&process)
    {
        worker.blocking.push(request);
    }
    state.requests.insert((process, request), open);
}
