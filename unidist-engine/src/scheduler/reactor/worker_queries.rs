//! Clients ask for the status of calls and for the list of workers.

use crate::scheduler::event::{Action, Role};
use crate::scheduler::policy::status::{call_status, live_workers};
use crate::scheduler::request::{Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::state::worker_queries::WorkerQuery;
use crate::scheduler::state::workers::{Phase, Worker};
use unidist_common::{DataId, ProcessId};

/// Replies with the status of the calls that make these objects.
pub(crate) fn on_status(state: &mut State, process: ProcessId, request: RequestId, ids: &[DataId]) {
    let found = ids.iter().map(|id| call_status(state, *id)).collect();
    state.actions.push(Action::Reply { process, request, reply: Reply::Status(found) });
}

/// Replies with the workers once there are `at_least` this many, or no more are starting.
pub(crate) fn on_workers(state: &mut State, process: ProcessId, request: RequestId, at_least: u64) {
    state.worker_queries.push(WorkerQuery { process, request, at_least });
    answer_worker_queries(state, None);
}

/// Answers the queries that are satisfied, and the expired one in any case.
pub(crate) fn answer_worker_queries(state: &mut State, hurried: Option<(ProcessId, RequestId)>) {
    if state.worker_queries.is_empty() {
        return;
    }
    let workers = live_workers(state);
    // A worker that is being killed will be replaced.
    let is_killed = |worker: &Worker| worker.role == Role::Pool && worker.phase == Phase::Killed;
    let is_starting = !state.ending
        && (state.hosts.iter().any(|host| host.starting > 0) || state.workers.values().any(is_killed));
    let is_due = |query: &WorkerQuery| {
        workers.len() as u64 >= query.at_least
            || !is_starting
            || hurried == Some((query.process, query.request))
    };
    let (due, kept) = std::mem::take(&mut state.worker_queries).into_iter().partition(is_due);
    state.worker_queries = kept;
    let due: Vec<WorkerQuery> = due;
    state.actions.extend(due.into_iter().map(|asked| Action::Reply {
        process: asked.process,
        request: asked.request,
        reply: Reply::Workers(workers.clone()),
    }));
}

/// The process has ended: drops its queries.
pub(crate) fn forget_worker_queries(state: &mut State, process: ProcessId) {
    state.worker_queries.retain(|query| query.process != process);
}
