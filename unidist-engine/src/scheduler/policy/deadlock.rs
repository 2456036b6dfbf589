//! Deadlocks: calls that wait, through others, for themselves or for resources that they hold.
//!
//! Waiting calls, requests and resources are nodes; each [`Needs`] a number of others. A node that needs nothing may
//! end: a running call, a ready call whose resources are free, a wait with a time limit. With those, others may end,
//! and so on; the nodes that are left wait in circles. The search runs when a call blocks and when a ready call lacks
//! a custom resource: only then can a circle close. (A blocked call gives its CPU slot back.)

use crate::scheduler::event::Role;
use crate::scheduler::policy::placement::search_awaited;
use crate::scheduler::policy::worker_affinity::is_bound_to_worker;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::resources::{CustomResource, SchedulingClass};
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::{Frame, FrameState, Worker};
use rustc_hash::FxHashMap;
use unidist_common::{ActorId, ErrorKind, ProcessId, Target, TaskError, TaskId};

/// How many nodes a search looks at before it gives up; a larger circle goes unnoticed.
const SEARCH_LIMIT: usize = 10_000;

/// Something that may end, or wait forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Call(TaskId),
    Request(ProcessId, RequestId),
    /// Ends when some of it is released.
    Resource(CustomResource),
}

/// The nodes that a node waits for, and how many of them must end before it may.
#[derive(Debug, Default)]
struct Needs {
    count: usize,
    of: Vec<Node>,
}

impl Needs {
    /// The node may end by itself.
    fn nothing() -> Self {
        Needs::default()
    }

    fn all_of(of: Vec<Node>) -> Self {
        Needs { count: of.len(), of }
    }
}

/// The calls that run on top of this one.
fn calls_above(worker: &Worker, call: TaskId) -> Vec<Node> {
    let above = worker.stack.iter().rev().take_while(|frame| frame.task != call);
    let is_there = worker.stack.iter().any(|frame| frame.task == call);
    if is_there { above.map(|frame| Node::Call(frame.task)).collect() } else { Vec::new() }
}

/// The nodes that a node needs, directly or through others, and whether each may end.
struct Search {
    nodes: Vec<(Node, Needs)>,
    places: FxHashMap<Node, usize>,
    /// Whether each node may end.
    ends: Vec<bool>,
}

impl Search {
    /// `None` if there are too many nodes.
    fn from(state: &State, start: Node) -> Option<Search> {
        let mut nodes = Vec::new();
        let mut places = FxHashMap::from_iter([(start, 0)]);
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let needs = needs(state, node);
            for next in &needs.of {
                let count = places.len();
                places.entry(*next).or_insert_with(|| {
                    open.push(*next);
                    count
                });
            }
            nodes.push((node, needs));
            if places.len() > SEARCH_LIMIT {
                return None;
            }
        }
        nodes.sort_unstable_by_key(|(node, _)| places[node]);
        let mut search = Search { ends: vec![false; nodes.len()], nodes, places };
        search.end_what_may();
        Some(search)
    }

    fn end_what_may(&mut self) {
        let mut missing: Vec<_> = self.nodes.iter().map(|(_, needs)| needs.count).collect();
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (at, (_, needs)) in self.nodes.iter().enumerate() {
            needs.of.iter().for_each(|other| needed_by[self.places[other]].push(at));
        }
        let mut ending: Vec<_> = (0..missing.len()).filter(|at| missing[*at] == 0).collect();
        while let Some(at) = ending.pop() {
            if std::mem::replace(&mut self.ends[at], true) {
                continue;
            }
            for by in &needed_by[at] {
                missing[*by] = missing[*by].saturating_sub(1);
                if missing[*by] == 0 {
                    ending.push(*by);
                }
            }
        }
    }

    fn is_stuck(&self, node: Node) -> bool {
        self.places.get(&node).is_some_and(|at| !self.ends[*at])
    }

    /// The chain from a stuck node through stuck nodes, up to the first that repeats.
    fn chain(&self, start: Node) -> Option<Vec<Node>> {
        let mut chain = Vec::new();
        let mut at = start;
        while self.is_stuck(at) && !chain.contains(&at) {
            chain.push(at);
            let (_, needs) = &self.nodes[*self.places.get(&at)?];
            at = *needs.of.iter().find(|next| self.is_stuck(**next))?;
        }
        (!chain.is_empty()).then(|| {
            chain.push(at);
            chain
        })
    }
}

/// The error of a request that blocks this call, if the request can never be answered.
pub(crate) fn find_deadlock(
    state: &State,
    process: ProcessId,
    request: RequestId,
    call: TaskId,
) -> Option<TaskError> {
    let search = Search::from(state, Node::Request(process, request))?;
    let chain = search.chain(Node::Request(process, request))?;
    Some(deadlock_error(state, call, &chain))
}

/// Ready calls of these classes lack a resource. If all calls that hold some of it wait for such calls: the newest
/// request in the circle, with the error that ends it.
pub(crate) fn find_starvation(
    state: &State,
    starved: &[SchedulingClass],
) -> Option<(ProcessId, RequestId, TaskError)> {
    for resource in state.resources.lacking(starved) {
        let Some(search) = Search::from(state, Node::Resource(resource)) else { continue };
        if !search.is_stuck(Node::Resource(resource)) {
            continue;
        }
        let newest =
            holders(state, resource).max_by_key(|call| state.tasks.get(call).map(|task| task.arrival));
        let chain = newest.and_then(|holder| search.chain(Node::Call(holder))).unwrap_or_default();
        // The holder itself, or a call on top of it.
        let blocked = chain.iter().enumerate().find_map(|(at, node)| match (chain[..at].last(), node) {
            (Some(Node::Call(call)), Node::Request(process, request)) => {
                Some((at, *call, *process, *request))
            }
            _ => None,
        });
        if let Some((at, call, process, request)) = blocked {
            return Some((process, request, deadlock_error(state, call, &chain[at..])));
        }
    }
    None
}

fn needs(state: &State, node: Node) -> Needs {
    match node {
        Node::Call(call) => call_needs(state, call),
        Node::Request(process, request) => {
            let Some(open) = state.requests.get(&(process, request)) else { return Needs::nothing() };
            if open.is_fetching {
                return Needs::nothing();
            }
            let pending = open.ids.iter().filter(|id| state.objects.is_pending(**id));
            let makers = pending.filter_map(|id| state.objects.maker(*id)).map(Node::Call);
            Needs { count: open.needed(), of: makers.collect() }
        }
        Node::Resource(resource) => {
            Needs { count: 1, of: holders(state, resource).map(Node::Call).collect() }
        }
    }
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
        return Needs::nothing(); // it may be waiting for something else too, such as a timer
    }
    let Some(at) = worker.stack.iter().position(|frame| frame.task == call) else {
        return match is_bound_to_worker(state, call) {
            true => Needs::all_of(calls_before(state, process, call)),
            false => Needs::nothing(), // it can be retracted
        };
    };
    let mut needs = calls_above(worker, call);
    if let FrameState::Blocked(on) = worker.stack[at].state {
        needs.push(request(on));
    }
    Needs::all_of(needs)
}

/// The calls that must leave this worker before a call bound to it can start.
fn calls_before(state: &State, process: ProcessId, call: TaskId) -> Vec<Node> {
    let Some(worker) = state.workers.get(&process) else { return Vec::new() };
    let awaits = |request| search_awaited(state, process, request, |other, _| other == call).is_some();
    // It can run on top of a task that waits for it.
    let is_before = |frame: &&Frame| !matches!(frame.state, FrameState::Blocked(on) if awaits(on));
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

/// The error of a call at the start of this chain, whose last node repeats an earlier one.
fn deadlock_error(state: &State, call: TaskId, chain: &[Node]) -> TaskError {
    let name = |id: TaskId| state.tasks.get(&id).map_or("?", |task| &task.spec.name);
    let mut text = format!("`{}` ({call})", name(call));
    let mut links = 0;
    for node in chain {
        let next = match node {
            Node::Call(id) => format!("`{}` ({id})", name(*id)),
            Node::Resource(resource) => {
                format!("`{}`, all of which is held by blocked calls", state.resources.name(*resource))
            }
            Node::Request(..) => continue,
        };
        text += if links == 0 { " waits for " } else { ", which waits for " };
        text += &next;
        links += 1;
    }
    text += ": none of them can end";
    TaskError::new(ErrorKind::Deadlock, text).of_function(name(call))
}
