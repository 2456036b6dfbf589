//! Searches for deadlocks, and ends those that are found: the newest request in the circle fails.

use crate::scheduler::policy::deadlock::{Finding, find_circle, needs};
use crate::scheduler::policy::process_limit::is_used_up;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::deadlock_search::{Node, Search};
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::transitions::requests::fail_request;
use unidist_common::ProcessId;

/// A call or a thread is blocked by this request: a circle may have closed.
pub(crate) fn on_blocked(state: &mut State, process: ProcessId, request: RequestId) {
    search_from(state, Node::Request(process, request));
}

/// Ready calls of these classes lack a resource: all calls that hold some of it may wait for such calls.
pub(crate) fn on_starved(state: &mut State, starved: &[SchedulingClass]) {
    for resource in state.resources.lacking(starved) {
        search_from_shared(state, Node::Resource(resource));
    }
}

/// Ready calls lack a process: if a host may have no more, all of its tasks may wait for such calls.
pub(crate) fn on_lack_of_processes(state: &mut State) {
    for host in state.host_ids() {
        if is_used_up(state, host) {
            search_from_shared(state, Node::Process(host));
        }
    }
}

fn search_from_shared(state: &mut State, shared: Node) {
    if !state.deadlocks.is_queued(shared) {
        search_from(state, shared);
    }
}

/// Searches within the budget of this turn; if that is too little, the search is queued.
pub(crate) fn search_from(state: &mut State, start: Node) {
    let mut search = Search::from([start]);
    match advance(state, &mut search) {
        true => _ = end(state, &search),
        false => state.deadlocks.queue(start),
    }
}

/// The part of this turn for queued searches. True if a request has failed.
pub(crate) fn search_on(state: &mut State) -> bool {
    let Some(mut search) = state.deadlocks.take() else { return false }; // nearly always
    match advance(state, &mut search) {
        true => end(state, &search),
        false => {
            state.deadlocks.keep(search);
            false
        }
    }
}

fn advance(state: &mut State, search: &mut Search) -> bool {
    let mut budget = state.deadlocks.budget();
    let is_known = search.advance(&mut budget, |node| needs(state, node));
    #[cfg(test)]
    {
        state.deadlocks.work += state.deadlocks.budget() - budget;
    }
    is_known
}

/// The outcome is known. If there is a circle, one request fails (true), and the other nodes that are stuck may go on; a
/// later search tells.
fn end(state: &mut State, search: &Search) -> bool {
    let stuck = search.stuck_starts();
    let mut unclear = Vec::new();
    for start in stuck.iter().rev() {
        match find_circle(state, search, *start) {
            Finding::Circle(process, request, error) => {
                fail_request(state, process, request, &error);
                let others = stuck.into_iter().filter(|other| *other != Node::Request(process, request));
                others.for_each(|other| state.deadlocks.queue(other));
                return true;
            }
            Finding::Changed => unclear.push(*start),
            Finding::NoCircle => {}
        }
    }
    unclear.into_iter().for_each(|start| state.deadlocks.queue(start));
    false
}
