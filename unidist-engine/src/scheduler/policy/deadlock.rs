//! Deadlocks: calls that wait, through others, for themselves or for resources that they hold.
//!
//! What a node needs is defined here; the search over it is in `state/deadlock_search.rs`. A node that needs nothing may
//! end: a running call, a ready call whose resources are free, a wait with a time limit. A search begins when a call
//! blocks and when a ready call lacks a custom resource: only then can a circle close. (A blocked call gives its CPU slot
//! back.)

use crate::scheduler::event::Role;
use crate::scheduler::policy::placement::{SEARCH_LIMIT, search_awaited};
use crate::scheduler::policy::process_limit::{is_at_limit, needs_of_process};
use crate::scheduler::policy::worker_affinity::is_bound_to_worker;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::deadlock_search::{Needs, Node, Search};
use crate::scheduler::state::requests::{OpenRequest, RequestKind};
use crate::scheduler::state::resources::{CustomResource, SchedulingClass};
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::{Frame, FrameState, Worker};
use rustc_hash::{FxHashMap, FxHashSet};
use unidist_common::{ActorId, ErrorKind, ProcessId, Target, TaskError, TaskId};

/// How many links of a longer circle an error names, at its start and at its end.
const NAMED_LINKS: (usize, usize) = (6, 2);

/// The calls that run on top of this one.
fn calls_above(worker: &Worker, call: TaskId) -> Vec<Node> {
    let above = worker.stack.iter().rev().take_while(|frame| frame.task != call);
    let is_there = worker.stack.iter().any(|frame| frame.task == call);
    if is_there { above.map(|frame| Node::Call(frame.task)).collect() } else { Vec::new() }
}

/// What has become of a node that a search found stuck.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It waits in a circle, or for one. This request in the circle has to fail, with this error.
    Circle(ProcessId, RequestId, Box<TaskError>),
    /// It may end now, as may some of those that the search found stuck.
    Changed,
    /// It waits, and not for a circle.
    NoCircle,
}

/// Of the circle that this node waits in, or for, according to the search: the newest request, with its error.
pub(crate) fn find_circle(state: &State, search: &Search, start: Node) -> Finding {
    let Some(next) = confirm(state, search, start) else { return Finding::Changed };
    named_circle(state, &next, start).unwrap_or(Finding::NoCircle)
}

fn named_circle(state: &State, next: &FxHashMap<Node, Node>, start: Node) -> Option<Finding> {
    let start = match start {
        Node::Resource(resource) => {
            Node::Call(holders(state, resource).max_by_key(|call| arrival(state, *call))?)
        }
        Node::Process(host) => {
            let waiting = needs_of_process(state, host).of.into_iter();
            waiting.max_by_key(|node| match node {
                Node::Call(call) => arrival(state, *call),
                Node::Request(..) | Node::Resource(_) | Node::Process(_) | Node::Watched(..) => None,
            })?
        }
        start => start,
    };
    let mut circle = circle(next, start)?;
    let blocked = |node: &Node| match node {
        Node::Request(process, request) => {
            Some((state.requests.get(&(*process, *request))?.waiting_call()?, *process, *request))
        }
        _ => None,
    };
    let (call, process, request) = match blocked(&start) {
        Some(own) if circle[0] == start => own, // it has closed the circle
        _ => circle.iter().filter_map(blocked).max_by_key(|(call, ..)| arrival(state, *call))?,
    };
    let at = circle.iter().position(|node| *node == Node::Request(process, request))?;
    circle.rotate_left(at);
    Some(Finding::Circle(process, request, Box::new(deadlock_error(state, call, &circle))))
}

fn arrival(state: &State, call: TaskId) -> Option<u64> {
    state.tasks.get(&call).map(|task| task.arrival)
}

/// Whether nodes that the search found stuck still are, all at this moment: the search may have looked at them at
/// different times. Gives for each of as many as tell a node that it waits for.
fn confirm(state: &State, search: &Search, start: Node) -> Option<FxHashMap<Node, Node>> {
    let mut next = FxHashMap::default();
    let mut seen = FxHashSet::from_iter([start]);
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        let Needs { count, of } = needs(state, node);
        if count == 0 {
            return None;
        }
        // With this many of them stuck, too few are left to end.
        let enough = (of.len() + 1).saturating_sub(count);
        let stuck: Vec<_> = of.into_iter().filter(|other| search.is_stuck(*other)).take(enough).collect();
        if stuck.len() < enough {
            return None;
        }
        next.extend(stuck.first().map(|first| (node, *first)));
        open.extend(stuck.into_iter().filter(|other| seen.insert(*other)));
    }
    Some(next)
}

/// The circle to which the nodes from this one on lead; it begins with this one if that is part of it.
fn circle(next: &FxHashMap<Node, Node>, start: Node) -> Option<Vec<Node>> {
    let mut chain = Vec::new();
    let mut places = FxHashMap::default();
    let mut at = start;
    loop {
        if let Some(first) = places.insert(at, chain.len()) {
            return Some(chain.split_off(first));
        }
        chain.push(at);
        at = *next.get(&at)?;
    }
}

/// What this node needs at this moment.
pub(crate) fn needs(state: &State, node: Node) -> Needs {
    match node {
        Node::Call(call) => call_needs(state, call),
        Node::Request(process, request) => {
            let Some(open) = state.requests.get(&(process, request)) else { return Needs::nothing() };
            if open.is_fetching {
                return Needs::nothing();
            }
            if let RequestKind::Next { watch, timed: false } = open.kind {
                return Needs::all_of(vec![Node::Watched(process, watch, 0)]);
            }
            let pending = open.ids.iter().filter(|id| state.objects.is_pending(**id));
            let makers = pending.filter_map(|id| state.objects.maker(*id)).map(Node::Call);
            Needs { count: open.needed(), of: makers.collect() }
        }
        Node::Resource(resource) => {
            Needs { count: 1, of: holders(state, resource).map(Node::Call).collect() }
        }
        Node::Process(host) => needs_of_process(state, host),
        Node::Watched(process, watch, skipped) => {
            let Some(watched) = state.watches.get(&(process, watch)) else { return Needs::nothing() };
            let (ids, next) = watched.chunk(skipped);
            // The search looks at the last ones first.
            let rest = next.map(|skipped| Node::Watched(process, watch, skipped));
            let makers = ids.iter().filter_map(|id| state.objects.maker(*id)).map(Node::Call);
            Needs { count: 1, of: rest.into_iter().chain(makers).collect() }
        }
    }
}

/// A process of one of the hosts on which calls of this class may run.
fn any_process_for(state: &State, class: SchedulingClass) -> Needs {
    if state.resources.bound_worker(class).is_some() {
        return Needs::nothing(); // what is before it there is known
    }
    let hosts = state.host_ids().filter(|host| state.resources.may_run_on(class, *host));
    Needs { count: 1, of: hosts.map(Node::Process).collect() }
}

fn call_needs(state: &State, call: TaskId) -> Needs {
    let Some(task) = state.tasks.get(&call) else {
        // It has ended, or is canceling: then it still waits for the tasks on top of it.
        return state.canceling.get(&call).map(|canceling| canceling.process).map_or_else(
            Needs::nothing,
            |process| {
                let worker = state.workers.get(&process);
                Needs::all_of(worker.map_or_else(Vec::new, |worker| calls_above(worker, call)))
            },
        );
    };
    match task.state {
        TaskState::Waiting => {
            let actor = match task.spec.target {
                Target::Actor(actor) => Some(actor),
                Target::Pool | Target::NewActor => None,
            };
            let makers = task.spec.dependencies.iter().filter_map(|id| state.objects.maker(*id));
            // The constructor runs for the first time or again.
            let constructor = actor.map(ActorId::constructor).filter(|call| state.tasks.contains_key(call));
            Needs::all_of(makers.chain(constructor).map(Node::Call).collect())
        }
        TaskState::Ready => {
            let (lacking, count) = state.resources.lacking_for(task.class);
            let mut needs = Needs { count, of: lacking.into_iter().map(Node::Resource).collect() };
            if needs.count == 0 && !state.resources.is_actor(task.class) {
                needs = any_process_for(state, task.class);
            }
            if let Some(worker) = state.resources.bound_worker(task.class) {
                let before = calls_before(state, worker, call);
                needs.count += before.len();
                needs.of.extend(before);
            }
            needs
        }
        TaskState::Fetching => Needs::nothing(),
        TaskState::Sent(_) if state.timers.is_armed(call) => Needs::nothing(),
        TaskState::Sent(process) => needs_on(state, process, call),
    }
}

fn needs_on(state: &State, process: ProcessId, call: TaskId) -> Needs {
    let Some(worker) = state.workers.get(&process) else { return Needs::nothing() };
    let request = |request: RequestId| Node::Request(process, request);
    if worker.role != Role::Pool {
        // While one of its calls blocks, the whole actor does.
        return Needs::all_of(worker.blocking.iter().copied().map(request).collect());
    }
    if worker.suspended.contains_key(&call) {
        // It may be waiting for something else too, such as a timer; but it needs its thread.
        let top = worker.stack.last().filter(|top| match top.state {
            FrameState::Blocked(_) => !top.can_nest,
            FrameState::Lent => true,
            FrameState::Active | FrameState::Runnable => false,
        });
        return Needs::all_of(top.map(|top| Node::Call(top.task)).into_iter().collect());
    }
    let Some(at) = worker.stack.iter().position(|frame| frame.task == call) else {
        return match is_bound_to_worker(state, call) {
            true => Needs::all_of(calls_before(state, process, call)),
            false => Needs::nothing(), // it can be retracted
        };
    };
    let mut needs = calls_above(worker, call);
    match worker.stack[at].state {
        FrameState::Blocked(on) => needs.push(request(on)),
        // It is taken to wait for its threads.
        FrameState::Lent => {
            let is_its = |on: &RequestId| {
                let open = state.requests.get(&(process, *on));
                open.is_some_and(|open| {
                    open.lender == Some(call) && is_of_thread_of(state, process, call, open)
                })
            };
            needs.extend(worker.blocking.iter().copied().filter(is_its).map(request));
        }
        FrameState::Active | FrameState::Runnable => {}
    }
    Needs::all_of(needs)
}

/// Whether this request is taken to be one of a thread that this task has started. Threads do not tell whose they are;
/// but they do not wait for the task that has started them, so it must be a task that they do not wait for, and the only
/// one. Where calls may run on top of others for lack of processes, one of several is enough: better an error than a wait
/// without an explanation.
fn is_of_thread_of(state: &State, process: ProcessId, task: TaskId, request: &OpenRequest) -> bool {
    let Some(worker) = state.workers.get(&process) else { return false };
    let ids = state.awaited(process, request).iter();
    let awaited: FxHashSet<TaskId> = ids.filter_map(|id| state.objects.maker(*id)).collect();
    let mut started = worker.stack.iter().map(|frame| frame.task).chain(worker.suspended.keys().copied());
    let is_only_one = started.all(|other| other == task || awaited.contains(&other));
    !awaited.contains(&task) && (is_only_one || worker.stacks_unawaited || is_at_limit(state, worker.host))
}

/// The calls that must leave this worker before a call bound to it can start.
fn calls_before(state: &State, process: ProcessId, call: TaskId) -> Vec<Node> {
    let Some(worker) = state.workers.get(&process) else { return Vec::new() };
    let awaits =
        |request| search_awaited(state, (process, request), SEARCH_LIMIT, |other, _| other == call).is_some();
    // It can run on top of a task that waits for it.
    let is_before = |frame: &&Frame| !frame.nests_on().is_some_and(awaits);
    worker.stack.iter().rev().take_while(is_before).map(|frame| Node::Call(frame.task)).collect()
}

/// The calls that hold some of this resource. An actor's resources are held by its constructor's frame.
fn holders(state: &State, resource: CustomResource) -> impl Iterator<Item = TaskId> {
    let on_host = state.workers.values().filter(move |worker| worker.host == resource.host);
    let holding = on_host.flat_map(|worker| {
        let frames = worker.stack.iter().map(|frame| (frame.task, frame.class));
        let ahead = worker.prefetched.iter().filter_map(|ahead| Some((ahead.task, ahead.holds?)));
        frames.chain(ahead).chain(worker.suspended.iter().map(|(task, class)| (*task, *class)))
    });
    holding.filter(move |(_, class)| state.resources.asks_for(*class, resource)).map(|(task, _)| task)
}

/// Whether the node waits for a process of a host that may have no more, or for a call that runs there for this reason on
/// top of it.
fn is_short_of_processes(state: &State, node: Node) -> bool {
    match node {
        Node::Call(call) => state
            .workers
            .values()
            .any(|worker| worker.stacks_unawaited && worker.stack.iter().any(|frame| frame.task == call)),
        Node::Process(_) => true,
        Node::Request(..) | Node::Resource(_) | Node::Watched(..) => false,
    }
}

/// The error of a call at the start of this circle of nodes.
fn deadlock_error(state: &State, call: TaskId, circle: &[Node]) -> TaskError {
    let name = |id: TaskId| state.tasks.get(&id).map_or("?", |task| &task.spec.name);
    let text_of = |node: &Node| match node {
        Node::Call(id) => Some(format!("`{}` ({id})", name(*id))),
        Node::Resource(resource) => {
            Some(format!("`{}`, all of which is held by blocked calls", state.resources.name(*resource)))
        }
        Node::Process(host) => {
            let host = &state.hosts[host.place()];
            let (count, address) = (host.pool.len(), &host.address);
            Some(format!("one of the {count} processes that {address} may have, in all of which calls wait"))
        }
        Node::Request(..) | Node::Watched(..) => None,
    };
    // The call itself comes last.
    let links: Vec<_> =
        circle.iter().filter(|node| !matches!(node, Node::Request(..) | Node::Watched(..))).collect();
    let (first, last) = NAMED_LINKS;
    let omitted = if links.len() > first + last + 1 { first..links.len() - last } else { 0..0 };
    let mut text = format!("`{}` ({call})", name(call));
    for (at, link) in links.iter().enumerate() {
        if at == omitted.start && !omitted.is_empty() {
            text += &format!(", and so on over {} more", omitted.len());
        }
        if omitted.contains(&at) {
            continue;
        }
        text += if at == 0 { " waits for " } else { ", which waits for " };
        text += &text_of(link).unwrap_or_default();
    }
    text += ": none of them can end";
    if circle.iter().any(|node| is_short_of_processes(state, *node)) {
        text += "; more processes may help: raise UNIDIST_MAX_PROCESSES";
    }
    TaskError::new(ErrorKind::Deadlock, text).of_function(name(call))
}
