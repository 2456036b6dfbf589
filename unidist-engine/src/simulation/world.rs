//! The simulated session: draws what happens next, then checks the promises.

use super::digest::Digest;
use super::frame::View;
use super::hosts::Network;
use super::memory::Memory;
use super::process::{Process, Stepped};
use super::program::{self, Step};
use super::record::Record;
use super::room::Requests;
use crate::network::HostId;
use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId, Run, ToWorker, Value};
use crate::scheduler::{Action, Caller, Event, HostLimits, Limits, Role, Scheduler, Timer};
use crate::store::{Place, StoredObject};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use unidist_backend::Which;
use unidist_common::{
    ActorId, Arg, DataId, ErrorKind, FunctionKey, GroupId, GroupSpec, ProcessId, Returns, Target, TaskId,
    TaskOptions, TaskSpec,
};

const ME: ProcessId = ProcessId::CONTROLLER;

/// The amount of time is not simulated: any timer may expire next.
pub(super) const TIME: Duration = Duration::from_secs(1);

/// The options of a simulation.
#[derive(Clone, Debug)]
pub struct Options {
    /// CPU slots of each host.
    pub cpus: usize,
    /// How many hosts there may be.
    pub hosts: u32,
    /// The number of things that the program does before it only waits.
    pub program_steps: u32,
    /// Whether processes die.
    pub deaths: bool,
    /// A planted fault, for tests of the simulation itself: the completion with this number never arrives.
    pub lose_completion: Option<u64>,
    /// A planted fault, for tests of the simulation itself: calls that were sent ahead keep their arguments in memory,
    /// however many they are, and what does not fit there then is refused.
    pub keep_arguments: bool,
    /// Another one: a process that is told to stop does not say which calls it has not started.
    pub forget_calls_at_the_end: bool,
    /// Another one: a blocked process starts only what the blocked call waits for itself.
    pub start_only_awaited: bool,
    /// Called with a line for each event and each action, to follow one seed.
    pub trace: Option<fn(fmt::Arguments<'_>)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cpus: 2,
            hosts: 3,
            program_steps: 40,
            deaths: true,
            lose_completion: None,
            keep_arguments: false,
            forget_calls_at_the_end: false,
            start_only_awaited: false,
            trace: None,
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The seed that replays it.
    pub seed: u64,
    /// The number of steps before it.
    pub step: u64,
    /// Which promise, and how it was broken.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)
    }
}

/// The outcome of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many steps it took.
    pub steps: u64,
    /// A digest of all events and actions.
    pub digest: u64,
}

/// Runs the simulation that this seed stands for, to its end.
///
/// # Errors
///
/// A promise was broken.
pub fn simulate(seed: u64, options: &Options) -> Result<Summary, Violation> {
    let mut world = World::new(seed, options);
    let outcome = world.run();
    let summary = Summary { steps: world.steps, digest: world.digest.value() };
    outcome.map(|()| summary).map_err(|what| Violation { seed, step: world.steps, what })
}

/// All actions of a simulation, in order.
#[cfg(test)]
pub(super) fn recorded(seed: u64, options: &Options) -> Vec<Action> {
    let mut world = World::new(seed, options);
    world.run().expect("the simulation keeps its promises");
    world.recorded
}

pub(super) struct World {
    pub(super) rng: Rng,
    /// For the search for deadlocks and the end of the session.
    apart: Rng,
    options: Options,
    pub(super) scheduler: Scheduler,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) hosts: u32,
    /// Whether tasks are bound to workers.
    binds_calls: bool,
    /// The tasks that hold a resource or a place in a group while they run.
    holders: BTreeSet<TaskId>,
    pub(super) network: Network,
    steps: u64,
    program_steps: u32,
    /// The program ends the session when it has this number of steps left.
    ends_at: Option<u32>,
    has_ended: bool,
    /// Processes that died before they joined: after some, a host starts no more, and calls fail.
    failed_starts: u32,
    next_id: u64,
    next_request: u64,
    completions: u64,
    /// The objects that the program references; actors apart.
    held: Vec<DataId>,
    actors: Vec<ActorId>,
    open: BTreeMap<RequestId, Vec<DataId>>,
    pub(super) memory: Memory,
    pub(super) requests: Requests,
    /// A watch of the program, and the objects of which it was not told.
    watch: Option<(RequestId, BTreeSet<DataId>)>,
    /// The program's views of objects.
    pub(super) views: Vec<View>,
    plans: BTreeMap<TaskId, Vec<Step>>,
    depths: BTreeMap<TaskId, u32>,
    /// The actor handle that a call was given.
    handles: BTreeMap<TaskId, ActorId>,
    pub(super) record: Record,
    /// The armed timers.
    timers: BTreeSet<Timer>,
    /// Processes that are being killed.
    pub(super) to_kill: BTreeSet<ProcessId>,
    /// Requests for the results of cancelled calls.
    cancelled: BTreeSet<RequestId>,
    /// How many calls each cancellation must have ended.
    counts: BTreeMap<RequestId, u64>,
    parents: BTreeMap<TaskId, TaskId>,
    pub(super) broken: Option<String>,
    digest: Digest,
    #[cfg(test)]
    recorded: Vec<Action>,
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::with_seed(seed);
        let hosts = rng.u32(1..=options.hosts);
        let is_limited = rng.u32(0..3) > 0;
        let store_memory = if is_limited { 64 * rng.u64(24..=96) } else { u64::MAX };
        let has_disk = rng.u32(0..4) > 0;
        // Drawn apart, so that the rest of a seed does not depend on them.
        let mut apart = Rng::with_seed(!seed);
        let max_pool = if apart.bool() { 40 } else { apart.usize(options.cpus..=2 * options.cpus) };
        // The first has a resource, and so may others.
        let mut host = |number| HostLimits {
            cpus: options.cpus,
            resources: (number == 0 || rng.bool()).then(|| ("gpu".to_owned(), 1.0)).into_iter().collect(),
            address: format!("host {number}"),
            store_memory: if options.keep_arguments { u64::MAX } else { store_memory },
            max_pool,
        };
        let limits = Limits { hosts: (0..hosts).map(&mut host).collect(), cancel_grace: TIME };
        let mut scheduler = Scheduler::new(limits);
        if apart.bool() {
            scheduler.set_search_budget(apart.usize(1..20)); // so small that searches take several turns
        }
        let ends_at = (apart.u32(0..6) == 0).then(|| apart.u32(0..=options.program_steps / 4));
        World {
            rng,
            apart,
            ends_at,
            has_ended: false,
            failed_starts: 0,
            hosts,
            binds_calls: seed.is_multiple_of(2),
            holders: BTreeSet::new(),
            network: Network::default(),
            options: options.clone(),
            scheduler,
            processes: BTreeMap::new(),
            steps: 0,
            program_steps: options.program_steps,
            next_id: 0,
            next_request: 0,
            completions: 0,
            held: Vec::new(),
            actors: Vec::new(),
            open: BTreeMap::new(),
            memory: Memory::new(store_memory, has_disk),
            requests: Requests::default(),
            watch: None,
            views: Vec::new(),
            plans: BTreeMap::new(),
            depths: BTreeMap::new(),
            handles: BTreeMap::new(),
            record: Record::default(),
            timers: BTreeSet::new(),
            to_kill: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            counts: BTreeMap::new(),
            parents: BTreeMap::new(),
            broken: None,
            digest: Digest::default(),
            #[cfg(test)]
            recorded: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut actions = Vec::new();
        self.scheduler.start_workers(&mut actions);
        self.carry_out(actions);
        while self.program_steps > 0 || self.is_busy() {
            self.step();
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            if self.steps > 200_000 {
                return Err("it does not come to an end".into());
            }
        }
        self.check_all_ended()?;
        if self.has_ended && !self.scheduler.is_over() {
            return Err("the session does not end".into());
        }
        self.end_watch();
        let actors = std::mem::take(&mut self.actors).into_iter().map(ActorId::handle);
        for id in std::mem::take(&mut self.held).into_iter().chain(actors) {
            self.handle(Event::Request { process: ME, request: Request::Release(id) });
        }
        while let Some(view) = self.views.pop() {
            self.drop_view(view);
        }
        while self.is_busy() {
            self.step();
        }
        self.broken.take().map_or(Ok(()), Err)?;
        self.check_nothing_left()
    }

    fn step(&mut self) {
        self.steps += 1;
        if self.scheduler.is_searching() && self.apart.u32(0..4) == 0 {
            return self.search_deadlocks();
        }
        if self.program_steps > 0 && self.rng.u32(0..8) == 0 {
            self.program_steps -= 1;
            if self.ends_at == Some(self.program_steps) {
                self.has_ended = true;
                return self.handle(Event::Shutdown);
            }
            return self.program();
        }
        if self.rng.u32(0..16) == 0 {
            return self.spill();
        }
        if self.rng.u32(0..16) == 0 {
            return self.copy_arrives();
        }
        if self.requests.are_waiting() && self.rng.u32(0..8) == 0 {
            return self.serve_requests();
        }
        if self.hosts > 1 && self.options.deaths && self.rng.u32(0..3000) == 0 {
            return self.lose_host();
        }
        if !self.timers.is_empty() && self.rng.u32(0..60) == 0 {
            let timers: Vec<_> = self.timers.iter().copied().collect();
            if let Some(&timer) = self.rng.choice(&timers) {
                self.timers.remove(&timer);
                return self.expire(timer);
            }
        }
        let processes: Vec<_> = self.processes.keys().copied().collect();
        let Some(&process) = self.rng.choice(&processes) else { return };
        let Some(mut state) = self.processes.remove(&process) else { return };
        let is_struck = self.options.deaths && self.rng.u32(0..2000) == 0;
        if is_struck || self.to_kill.contains(&process) && self.rng.u32(0..4) == 0 {
            return self.die(process, state);
        }
        if !state.joined {
            if self.rng.u32(0..4) == 0 {
                state.joined = true;
                self.processes.insert(process, state);
                self.handle(Event::Joined { process, pid: process.number() });
            } else {
                self.processes.insert(process, state);
            }
            return;
        }
        match self.rng.u32(0..3) {
            0 => state.receive(self),
            1 => match state.step(process, self) {
                Stepped::Nothing | Stepped::Something => {}
                Stepped::Crashed => return self.die(process, state),
                Stepped::Ended => {
                    self.deliver_all(process, state);
                    return self.handle(Event::Lost {
                        process,
                        cause: "it ended".into(),
                        undelivered: Vec::new(),
                    });
                }
            },
            _ => {
                if let Some(message) = state.outbox.pop_front() {
                    state.written = state.written.saturating_sub(1);
                    self.processes.insert(process, state);
                    return self.deliver(process, message);
                }
            }
        }
        self.processes.insert(process, state);
    }

    /// A timer expires. No worker that runs something else is killed for a call that it has not started.
    fn expire(&mut self, timer: Timer) {
        let call = TaskId::of_first_return(DataId::from_bits(timer.to_numbers()[0]));
        let innocent = self.processes.iter().find(|(_, process)| process.runs_before(call));
        let innocent =
            innocent.map(|(process, _)| *process).filter(|process| !self.to_kill.contains(process));
        self.handle(Event::Expired(timer));
        if let Some(process) = innocent.filter(|process| self.to_kill.contains(process)) {
            self.broken
                .get_or_insert(format!("{process} is killed for call {call}, which it has not started"));
        }
    }

    /// The process dies; some of its last messages never arrive, and blocks named there are freed.
    fn die(&mut self, process: ProcessId, mut state: Process) {
        let mut lost: Vec<_> = state.running().collect();
        state.views().for_each(|view| self.end_view(view));
        let kept = self.rng.usize(state.written.min(state.outbox.len())..=state.outbox.len());
        for message in state.outbox.drain(kept..) {
            match &message {
                FromWorker::Done { task: call, .. } => lost.push(*call), // to the scheduler, it was still running
                FromWorker::Retracted(calls) => self.record.lost_unstarted(calls.iter().copied()),
                _ => {}
            }
        }
        self.record.lost_unstarted(state.unstarted());
        self.failed_starts += u32::from(!state.joined);
        let Some(state) = self.deliver_all(process, state) else { return };
        for place in self.requests.take_unsealed(process) {
            self.memory.abandon(place);
        }
        let undelivered = state.inbox.iter().filter_map(|message| match message {
            ToWorker::Run(run) => Some(run.id),
            _ => None,
        });
        let undelivered = undelivered.collect();
        self.record.lost(process, &lost);
        self.handle(Event::Lost { process, cause: "it was killed".into(), undelivered });
        let (record, scheduler) = (&mut self.record, &self.scheduler);
        record.expect_again(lost.into_iter().filter(|call| scheduler.has_task(*call)));
    }

    /// Delivers the last messages of a process. What it is sent because of them, it does not receive.
    fn deliver_all(&mut self, process: ProcessId, mut state: Process) -> Option<Process> {
        let messages = std::mem::take(&mut state.outbox);
        self.processes.insert(process, state);
        messages.into_iter().for_each(|message| self.deliver(process, message));
        self.to_kill.remove(&process);
        self.processes.remove(&process)
    }

    fn deliver(&mut self, process: ProcessId, message: FromWorker) {
        self.seal(process, &message);
        match message {
            FromWorker::Request(ask) => self.handle(Event::Request { process, request: ask }),
            FromWorker::Done { task, result } => {
                self.completions += 1;
                if self.options.lose_completion != Some(self.completions) {
                    self.handle(Event::Done { process, task, result });
                }
            }
            FromWorker::Retracted(tasks) => self.handle(Event::Retracted { process, tasks }),
            FromWorker::Suspended(task) => self.handle(Event::Suspended { process, task }),
            FromWorker::Resumed(task) => self.handle(Event::Resumed { process, task }),
            FromWorker::Started(call) => self.handle(Event::Started { process, task: call }),
            FromWorker::Allocate { request, len } => self.request_memory(process, request, len),
            FromWorker::FreeBlock(place) => self.memory.abandon(place),
            FromWorker::Cluster(_) | FromWorker::StoreUsage(_) => {}
        }
    }

    /// Blocks become part of objects, or are freed.
    fn seal(&mut self, process: ProcessId, message: &FromWorker) {
        let places: Vec<_> = match message {
            FromWorker::Request(Request::Put { object, .. }) => object.places().collect(),
            FromWorker::Done { result: Ok(objects), .. } => {
                objects.iter().flat_map(StoredObject::places).collect()
            }
            FromWorker::FreeBlock(place) => vec![*place],
            _ => return,
        };
        for place in places {
            if !self.requests.seal(process, place) {
                self.broken.get_or_insert(format!("{process} uses {place:?}, which is not its own"));
            }
        }
    }

    /// The program does something.
    fn program(&mut self) {
        let first = DataId::new(ME, self.next_id + 10);
        let request = RequestId(self.next_request + 1);
        match self.rng.u32(0..100) {
            0..2 => self.burst(),
            2..45 => {
                self.next_id += 10;
                let count = self.rng.u32(0..3);
                let depends = self.pick(&self.held.clone()).into_iter().collect();
                let borrows = self.pick(&self.held.clone()).into_iter().collect();
                let spec = self.spec(Returns { first, count }, Target::Pool, depends, borrows, None);
                self.handle(Event::Request {
                    process: ME,
                    request: Request::Submit { spec: Box::new(spec), caller: None },
                });
                self.held.extend((Returns { first, count }).ids());
            }
            45..52 => {
                self.next_id += 10;
                let depends = self.pick(&self.held.clone()).into_iter().collect();
                let borrows = self.pick(&self.held.clone()).into_iter().collect();
                let spec = self.spec(Returns { first, count: 1 }, Target::NewActor, depends, borrows, None);
                self.handle(Event::Request {
                    process: ME,
                    request: Request::Submit { spec: Box::new(spec), caller: None },
                });
                self.actors.push(ActorId::of_handle(first));
            }
            52..70 => {
                let Some(actor) = self.pick(&self.actors.clone()) else { return };
                self.next_id += 10;
                let depends = self.pick(&self.held.clone()).into_iter().collect();
                let spec =
                    self.spec(Returns { first, count: 1 }, Target::Actor(actor), depends, vec![], None);
                self.note_call(actor, (ME, None), TaskId::of_first_return(first));
                self.handle(Event::Request {
                    process: ME,
                    request: Request::Submit { spec: Box::new(spec), caller: None },
                });
                self.held.push(first);
            }
            70..78 => {
                self.next_id += 10;
                let borrows = self.pick(&self.held.clone()).into_iter().collect();
                let object = self.object_of_program(borrows);
                let view = self.rng.bool().then(|| self.view(HostId::CONTROLLER, first, &object)).flatten();
                self.handle(Event::Request {
                    process: ME,
                    request: Request::Put { id: first, object, views: view.is_some().into() },
                });
                self.views.extend(view);
                self.held.push(first);
            }
            78..86 => {
                self.next_request += 1;
                let ids = self.held.clone();
                self.open.insert(request, ids.clone());
                self.handle(Event::Request {
                    process: ME,
                    request: Request::Get { request, ids, blocks: Blocks::Nothing },
                });
            }
            86..92 => {
                self.next_request += 1;
                let ids = self.held.clone();
                let count = self.rng.u64(0..=ids.len() as u64);
                self.open.insert(request, ids.clone());
                let timed = self.rng.bool();
                self.handle(Event::Request {
                    process: ME,
                    request: Request::Wait { request, ids, count, timed, blocks: Blocks::Nothing },
                });
                if timed {
                    self.handle(Event::Request { process: ME, request: Request::Expire { request } });
                }
            }
            92 if self.rng.bool() => self.use_watch(request),
            92 => self.cancel_some(request),
            93 => self.ask_of_workers(request),
            94..96 => {
                if !self.views.is_empty() {
                    let at = self.rng.usize(0..self.views.len());
                    let view = self.views.swap_remove(at);
                    self.drop_view(view);
                }
            }
            96..98 => {
                // Objects of an open request stay referenced, as the caller of `get` holds its refs.
                if self.open.is_empty() && self.watch.is_none() && !self.held.is_empty() {
                    let at = self.rng.usize(0..self.held.len());
                    let id = self.held.swap_remove(at);
                    self.handle(Event::Request { process: ME, request: Request::Release(id) });
                }
            }
            _ => {
                if !self.actors.is_empty() {
                    let at = self.rng.usize(0..self.actors.len());
                    let id = self.actors.swap_remove(at).handle();
                    self.handle(Event::Request { process: ME, request: Request::Release(id) });
                }
            }
        }
    }

    /// The program begins a watch, or waits for its next objects, or ends it.
    fn use_watch(&mut self, request: RequestId) {
        self.next_request += 2;
        match &self.watch {
            None => {
                let ids: BTreeSet<_> = self.held.iter().copied().collect();
                let asked = Request::Watch { watch: request, ids: ids.iter().copied().collect() };
                self.watch = Some((request, ids));
                self.handle(Event::Request { process: ME, request: asked });
            }
            Some((watch, _)) if self.rng.u32(0..4) > 0 => {
                let (watch, timed) = (*watch, self.rng.bool());
                self.open.insert(request, Vec::new());
                let next = Request::Next { request, watch, timed, blocks: Blocks::Nothing };
                self.handle(Event::Request { process: ME, request: next });
                if timed {
                    self.handle(Event::Request { process: ME, request: Request::Expire { request } });
                }
            }
            Some(_) => self.end_watch(),
        }
    }

    fn end_watch(&mut self) {
        if let Some((watch, _)) = self.watch.take() {
            self.handle(Event::Request { process: ME, request: Request::Unwatch { watch } });
        }
    }

    /// The program is told of each object of its watch once, when it has a value.
    fn told_of(&mut self, ids: &[DataId]) {
        let Some((_, untold)) = &mut self.watch else { return };
        if let Some(id) = ids.iter().find(|id| !untold.remove(id)) {
            self.broken.get_or_insert(format!("the program is told of {id} again"));
        }
    }

    /// The program submits many calls at once, then a call on the result of each.
    fn burst(&mut self) {
        let count = self.rng.usize(4..24);
        let made: Vec<_> = (0..count).map(|_| self.submit_short(Vec::new())).collect();
        made.into_iter().for_each(|id| _ = self.submit_short(vec![id]));
    }

    /// The program submits a call that does nothing but make its result.
    fn submit_short(&mut self, depends: Vec<DataId>) -> DataId {
        self.next_id += 10;
        let first = DataId::new(ME, self.next_id);
        let spec = self.spec(Returns { first, count: 1 }, Target::Pool, depends, vec![], None);
        self.plans.insert(spec.id(), Vec::new());
        let request = Request::Submit { spec: Box::new(spec), caller: None };
        self.handle(Event::Request { process: ME, request });
        self.held.push(first);
        first
    }

    /// Whether the fault is planted that calls keep their arguments.
    pub(super) fn keeps_arguments(&self) -> bool {
        self.options.keep_arguments
    }

    /// The program ends a worker, now and then, or waits for some.
    fn ask_of_workers(&mut self, request: RequestId) {
        self.next_request += 1;
        self.open.insert(request, Vec::new());
        let processes: Vec<_> = self.processes.keys().copied().collect();
        match self.rng.choice(&processes) {
            Some(process) if self.rng.u32(0..8) == 0 => {
                self.handle(Event::Request {
                    process: ME,
                    request: Request::EndWorker { request, worker: *process },
                });
            }
            _ => {
                let at_least = self.rng.u64(0..6);
                self.handle(Event::Request { process: ME, request: Request::Workers { request, at_least } });
                if self.rng.bool() {
                    self.handle(Event::Request { process: ME, request: Request::Expire { request } });
                }
            }
        }
    }

    /// The program cancels some calls unless they have started; how many is not known here.
    fn cancel_some_unstarted(&mut self, request: RequestId) {
        let named: Vec<_> = (0..self.rng.usize(1..5)).filter_map(|_| self.pick(&self.held.clone())).collect();
        self.next_request += 1;
        self.open.insert(request, Vec::new());
        self.handle(Event::Request {
            process: ME,
            request: Request::Cancel { request, ids: named, which: Which::Unstarted },
        });
    }

    /// The program cancels some calls: the results of those that had not ended are errors at once.
    fn cancel_some(&mut self, request: RequestId) {
        if self.rng.bool() {
            return self.cancel_some_unstarted(request);
        }
        let named: Vec<_> = (0..self.rng.usize(1..5)).filter_map(|_| self.pick(&self.held.clone())).collect();
        let call = |id: &DataId| self.record.call_of(*id).filter(|call| self.scheduler.has_task(*call));
        let calls: BTreeSet<_> = named.iter().filter_map(call).collect();
        let ids: Vec<_> = named.iter().copied().filter(|id| call(id).is_some()).collect();
        self.next_request += 2;
        self.open.insert(request, Vec::new());
        self.counts.insert(request, calls.len() as u64);
        self.handle(Event::Request {
            process: ME,
            request: Request::Cancel { request, ids: named, which: Which::All },
        });
        let request = RequestId(request.0 + 1);
        self.open.insert(request, ids.clone());
        self.cancelled.insert(request);
        self.handle(Event::Request {
            process: ME,
            request: Request::Get { request, ids, blocks: Blocks::Nothing },
        });
        if self.open.contains_key(&request) {
            self.broken.get_or_insert("a cancelled call has no result".into());
        }
    }

    /// The call that has made this one.
    pub(super) fn parent_of(&self, call: TaskId) -> Option<TaskId> {
        self.parents.get(&call).copied()
    }

    /// A call, with what it will do.
    pub(super) fn spec(
        &mut self,
        returns: Returns,
        target: Target,
        dependencies: Vec<DataId>,
        mut borrowed: Vec<DataId>,
        parent: Option<TaskId>,
    ) -> TaskSpec {
        let id = TaskId::of_first_return(returns.first);
        self.record.submitted(returns);
        if let Some(parent) = parent {
            self.parents.insert(id, parent);
        }
        let depth = parent.and_then(|parent| self.depths.get(&parent)).map_or(0, |depth| depth + 1);
        self.depths.insert(id, depth);
        let asynchronous = target == Target::Pool && self.rng.u32(0..3) == 0;
        let mut plan = program::draw(&mut self.rng, depth, asynchronous, self.options.deaths);
        if let Target::Actor(_) = target {
            // A method that waits for calls of its own actor would deadlock; one that waits for tasks may not.
            plan.retain(|step| !matches!(step, Step::CallActor));
        }
        let handle = match parent {
            Some(parent) => self.handle_of(parent),
            None => self.pick(&self.actors.clone()),
        };
        if let (Target::Pool, Some(actor)) = (target, handle) {
            self.handles.insert(id, actor);
            borrowed.push(actor.handle());
        }
        let options = match self.rng.u32(0..20) {
            0 => TaskOptions { num_cpus: Some(2.0), ..Default::default() },
            1 => TaskOptions { num_cpus: Some(0.0), ..Default::default() },
            2 => TaskOptions { resources: vec![("gpu".into(), 1.0)], ..Default::default() },
            3..6 => TaskOptions { max_retries: Some(self.rng.u32(0..4)), ..Default::default() },
            6 => TaskOptions { priority: Some(self.rng.i32(-2..3)), ..Default::default() },
            _ => TaskOptions::default(),
        };
        let hangs = plan.iter().any(|step| matches!(step, Step::Hang));
        let joins = plan.iter().any(|step| matches!(step, Step::GetOnThread { joins: true }));
        self.plans.insert(id, plan);
        let mut options = match target {
            Target::Pool => options,
            Target::NewActor => {
                TaskOptions { max_restarts: Some(self.rng.u32(0..3)), ..TaskOptions::default() }
            }
            Target::Actor(_) => TaskOptions { max_retries: options.max_retries, ..TaskOptions::default() },
        };
        if target == Target::Pool {
            self.place_somewhere(id, &mut options);
        }
        if !options.resources.is_empty() || options.group.is_some() {
            self.holders.insert(id);
        }
        // What a suspended task waits for may need a resource or a place in a group that it holds itself, or a task that
        // waits for it, or the worker of such a task. It counts as one that may end by itself, so only a time limit ends
        // that. So may a task that waits for its threads, if they may be those of another one.
        let mut waiting = std::iter::successors(Some(id), |task| self.parent_of(*task));
        let may_block_itself =
            (asynchronous || joins) && (self.binds_calls || waiting.any(|task| self.holders.contains(&task)));
        if hangs || may_block_itself || self.rng.u32(0..12) == 0 {
            options.timeout = Some(TIME);
        }
        if target == Target::NewActor {
            self.record
                .actor_may_restart(ActorId::of_handle(returns.first), options.max_restarts.unwrap_or(0));
        }
        TaskSpec {
            function: FunctionKey(0),
            body: None,
            name: "f".into(),
            target,
            // A front end may not know it of a function.
            asynchronous: asynchronous && self.rng.u32(0..8) > 0,
            args: dependencies.iter().map(|id| Arg::Ref(*id)).collect(),
            dependencies,
            borrowed,
            returns,
            options: Arc::new(options),
        }
    }

    pub(super) fn plan(&self, task: TaskId) -> Vec<Step> {
        self.plans.get(&task).cloned().unwrap_or_default()
    }

    pub(super) fn handle_of(&self, task: TaskId) -> Option<ActorId> {
        self.handles.get(&task).copied()
    }

    /// One of these, or none.
    pub(super) fn pick<T: Copy>(&mut self, ids: &[T]) -> Option<T> {
        if self.rng.bool() { self.rng.choice(ids).copied() } else { None }
    }

    pub(super) fn note_call(&mut self, actor: ActorId, caller: Caller, call: TaskId) {
        self.record.called(actor, caller, call);
    }

    /// Binds some tasks to one process, which may be an actor's or gone, and puts some into groups.
    fn place_somewhere(&mut self, call: TaskId, options: &mut TaskOptions) {
        if self.binds_calls && self.rng.u32(0..8) == 0 {
            let processes: Vec<_> = self.processes.keys().copied().collect();
            options.worker = self.rng.choice(&processes).copied();
            self.record.is_for(call, options.worker);
        }
        if self.rng.u32(0..4) == 0 {
            let number = self.rng.u32(0..4);
            let id = GroupId::of_reserved(DataId::new(ME, u64::MAX - u64::from(number)));
            options.group = Some(GroupSpec { id, limit: NonZeroU32::new(number) });
        }
    }

    pub(super) fn note_start(&mut self, process: ProcessId, run: &Run) {
        let scheduler = &self.scheduler;
        if let Err(broken) = self.record.started(process, run, |call| scheduler.has_task(call)) {
            self.broken.get_or_insert(broken);
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        if let Some(trace) = self.options.trace {
            trace(format_args!("{} {event:?}", self.steps));
        }
        self.digest.event(&event);
        let mut actions = Vec::new();
        self.scheduler.handle(event, &mut actions);
        self.scheduler.dispatch_into(&mut actions);
        self.carry_out(actions);
    }

    fn search_deadlocks(&mut self) {
        let mut actions = Vec::new();
        self.scheduler.search_into(&mut actions);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Some(trace) = self.options.trace {
                trace(format_args!("    {action:?}"));
            }
            self.digest.action(&action);
            #[cfg(test)]
            self.recorded.push(action.clone());
            match action {
                Action::StartProcess { process, role, host } => {
                    self.processes.insert(process, Process::new(host, self.options.start_only_awaited));
                    if let Role::Actor(actor) = role
                        && let Err(broken) = self.record.actor_starts(process, actor)
                    {
                        self.broken.get_or_insert(broken);
                    }
                }
                Action::Kill(process) => {
                    if self.processes.contains_key(&process) {
                        self.to_kill.insert(process);
                    }
                }
                Action::Arm { timer, .. } => {
                    self.timers.insert(timer);
                }
                Action::Disarm(timer) => {
                    if !self.timers.remove(&timer) {
                        self.broken.get_or_insert(format!("{timer:?} is disarmed in vain"));
                    }
                }
                Action::Run { process, run } => self.send(process, ToWorker::Run(run)),
                Action::RetractTasks { process, tasks } => self.send(process, ToWorker::RetractTasks(tasks)),
                Action::CancelTask { process, task, error } => {
                    self.send(process, ToWorker::Cancel { task, error })
                }
                Action::Stop(process) => self.send(process, ToWorker::Stop),
                Action::Reply { process: ME, request, reply } => self.reply(request, &reply),
                Action::Reply { process, request, reply } => {
                    self.send(process, ToWorker::Reply(request, reply))
                }
                Action::Free { host, .. } | Action::FreeSpilled { host, .. }
                    if self.network.lost.contains(&host) => {}
                Action::Free { host, block } => self.free(host, Place::Memory(block)),
                Action::FreeSpilled { host, block } => self.free(host, Place::Disk(block)),
                Action::Copy(copy) => self.network.copies.push(copy),
                Action::Unobserved(_) | Action::SetCpus { .. } => {}
            }
        }
    }

    fn free(&mut self, host: HostId, place: Place) {
        let broken = &mut self.broken;
        self.memory.free(host, place, |what| _ = broken.get_or_insert(what));
    }

    pub(super) fn send(&mut self, process: ProcessId, message: ToWorker) {
        if let Some(process) = self.processes.get_mut(&process) {
            process.inbox.push_back(message);
        }
    }

    fn reply(&mut self, request: RequestId, reply: &Reply) {
        let Some(ids) = self.open.remove(&request) else {
            self.broken.get_or_insert(format!("request {} is answered twice", request.0));
            return;
        };
        if let Some(expected) = self.counts.remove(&request)
            && *reply != Reply::Count(expected)
        {
            self.broken.get_or_insert(format!("{expected} calls should be cancelled: {reply:?}"));
        }
        if let Reply::Settled(ids) = reply {
            self.told_of(ids);
        }
        if let Reply::Values(values) = reply {
            let is_cancelled =
                |value: &Value| matches!(value, Value::Failed(error) if error.kind == ErrorKind::Cancelled);
            if self.cancelled.remove(&request) && !values.iter().all(is_cancelled) {
                self.broken.get_or_insert(format!("a cancelled call has another result: {values:?}"));
            }
            self.check_failures(&ids, values);
            let lost = |value: &Value| matches!(value, Value::Failed(error) if error.root_cause().kind == ErrorKind::ObjectLost);
            if values.len() != ids.len() || (values.iter().any(lost) && !self.has_lost_hosts()) {
                self.broken.get_or_insert(format!("request {} has a wrong answer: {values:?}", request.0));
            }
            let views = self.view_all(HostId::CONTROLLER, &ids, values);
            self.views.extend(views);
        }
    }

    /// The errors of the values fit what has happened.
    fn check_failures(&mut self, ids: &[DataId], values: &[Value]) {
        for (id, value) in ids.iter().zip(values) {
            let Value::Failed(error) = value else { continue };
            let call = self.record.call_of(*id);
            let broken = match error.kind {
                ErrorKind::WorkerDied
                    if self.failed_starts < 3 && call.is_some_and(|call| !self.record.has_died(call)) =>
                {
                    format!("no process has died with the call that makes {id}: {error:?}")
                }
                ErrorKind::SessionEnded if !self.has_ended => {
                    format!("the session has not ended, but the call that makes {id} says so")
                }
                ErrorKind::SessionEnded if !error.message.is_empty() || error.cause.is_some() => {
                    format!("the end of the session is told in another way: {error:?}")
                }
                _ => continue,
            };
            self.broken.get_or_insert(broken);
        }
    }

    pub(super) fn forgets_calls_at_the_end(&self) -> bool {
        self.options.forget_calls_at_the_end
    }

    fn is_busy(&self) -> bool {
        let moving = |process: &Process| {
            !process.joined
                || process.stopping
                || !process.inbox.is_empty()
                || !process.outbox.is_empty()
                || process.can_step()
        };
        self.processes.values().any(moving)
            || !self.network.copies.is_empty()
            || !self.timers.is_empty()
            || !self.to_kill.is_empty()
            || self.requests.are_waiting()
            || self.scheduler.is_searching()
    }

    fn check_all_ended(&self) -> Result<(), String> {
        if let Some(left) = self.scheduler.describe_unfinished() {
            return Err(format!("nothing moves any more, and there is {left}"));
        }
        if let Some(request) = self.open.keys().next() {
            return Err(format!("request {} is never answered", request.0));
        }
        Ok(())
    }

    fn check_nothing_left(&self) -> Result<(), String> {
        if let Some(left) = self.scheduler.describe_leftovers() {
            return Err(format!("in the end there is {left}"));
        }
        match self.memory.first() {
            Some(block) => Err(format!("block {block} is never freed")),
            None => Ok(()),
        }
    }
}
