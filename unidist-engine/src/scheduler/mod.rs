//! The scheduler: a reactor that decides everything and does nothing.
//!
//! [`Scheduler::handle`] takes one [`Event`] and returns what is to be done about it. There is no I/O in here, no
//! clock, no thread and no randomness, so the same events always lead to the same actions; the controller feeds it and
//! carries out what it says.
//!
//! A call passes through these states:
//!
//! ```text
//! submitted ──dependencies──▶ ready ──dispatch──▶ sent (ahead ▶ running ⇄ blocked) ──▶ done or failed
//!                               ▲                   │
//!                               └──── recalled, or its worker is lost before it started
//! ```
//!
//! The parts: [`directory`] knows objects and counts references ([`makers`], who made them), [`tasks`] follows calls,
//! [`actors`] keeps the order of their calls, [`workers`] mirrors what each process runs, [`requests`] answers `get`
//! and `wait`, [`deadlock`] sees which of those can never be answered, [`resources`] counts slots, [`dispatch`] hands
//! calls out, [`groups`] take turns at that, [`steal`] brings back what others could run, [`pinned`] calls go to one
//! worker alone, [`cancel`] ends calls early, [`unstarted`] those that have not started, [`restart`] starts actors
//! again, [`timers`] asks for the time, [`memory`] knows which objects may leave the memory, and [`holders`] who keeps
//! the others, [`hosts`] the hosts, [`staff`] tells clients of workers and of calls, [`copies`] what goes from one to
//! another. Calls and objects lie in [`id_map`]s.

mod actors;
mod cancel;
#[cfg(test)]
mod control_tests;
mod copies;
mod deadlock;
mod directory;
mod dispatch;
mod event;
mod groups;
mod holders;
mod hosts;
mod id_map;
mod makers;
mod memory;
mod pinned;
mod request;
mod requests;
mod resources;
mod restart;
mod staff;
mod steal;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;
mod unstarted;
mod workers;

pub(crate) use event::{Action, Copy, Event, Role, Run};
pub(crate) use request::{Reply, Request, RequestId, Value};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use tasks::Caller;
pub(crate) use timers::Timer;

use directory::{Directory, Waiter};
use id_map::IdMap;
use resources::Resources;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError};

/// What the scheduler has to work with.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The hosts, the controller's first.
    pub(crate) hosts: Vec<HostLimits>,
    /// How long a call that was ended early has to leave its worker before that is killed.
    pub(crate) cancel_grace: Duration,
}

/// What a host has.
#[derive(Clone, Debug)]
pub(crate) struct HostLimits {
    /// CPU slots: how many tasks run at once.
    pub(crate) cpus: usize,
    /// Custom resources.
    pub(crate) resources: BTreeMap<String, f64>,
    /// Its address, by which clients know it.
    pub(crate) address: String,
    /// How many worker processes there may be, blocked ones included. Actors do not count.
    pub(crate) max_pool: usize,
}

impl Limits {
    /// How many tasks wait at a busy worker, so that it need not wait for the next one.
    pub(crate) const QUEUE_AHEAD: usize = 32;
}

/// The state of a session. See the module documentation.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    hosts: Vec<hosts::Host>,
    objects: Directory,
    tasks: IdMap<tasks::Task>,
    actors: FxHashMap<DataId, actors::Actor>,
    workers: FxHashMap<ProcessId, workers::Worker>,
    next_process: u32,
    /// How many calls have been submitted.
    arrivals: u64,
    requests: FxHashMap<(ProcessId, RequestId), requests::OpenRequest>,
    resources: Resources,
    memory: memory::Memory,
    copies: copies::Copies,
    /// Calls for whose objects there was no room somewhere.
    no_room: FxHashMap<DataId, copies::NoRoom>,
    /// Objects that have a value and whose waiters have not been told.
    settled: VecDeque<DataId>,
    /// Calls whose results have failed early and that may still be with their process.
    doomed: FxHashMap<DataId, cancel::Doomed>,
    timers: timers::Timers,
    awaited_workers: Vec<staff::Awaited>,
    /// Workers that are to end when they have done what they have begun.
    draining: Vec<ProcessId>,
    /// Calls that were asked back in order to be cancelled.
    unwanted: unstarted::Unwanted,
    actions: Vec<Action>,
    /// Where the call that is being placed may go; kept for its memory.
    sites: Vec<dispatch::Site>,
    ending: bool,
}

impl Scheduler {
    /// A session with no processes; [`start_workers`](Scheduler::start_workers) asks for them.
    pub(crate) fn new(limits: Limits) -> Self {
        Scheduler {
            hosts: limits.hosts.iter().map(hosts::Host::new).collect(),
            resources: Resources::new(&limits.hosts),
            memory: memory::Memory::new(limits.hosts.len()),
            copies: copies::Copies::default(),
            no_room: FxHashMap::default(),
            sites: Vec::new(),
            limits,
            objects: Directory::default(),
            tasks: IdMap::default(),
            actors: FxHashMap::default(),
            workers: FxHashMap::default(),
            next_process: ProcessId::CONTROLLER.number() + 1,
            arrivals: 0,
            requests: FxHashMap::default(),
            settled: VecDeque::new(),
            doomed: FxHashMap::default(),
            timers: timers::Timers::default(),
            awaited_workers: Vec::new(),
            draining: Vec::new(),
            unwanted: unstarted::Unwanted::default(),
            actions: Vec::new(),
            ending: false,
        }
    }

    /// Starts one worker for each slot.
    pub(crate) fn start_workers(&mut self, actions: &mut Vec<Action>) {
        for host in self.host_ids() {
            (0..self.hosts[host.place()].cpus).for_each(|_| self.start_pool_worker(host));
        }
        actions.append(&mut self.actions);
    }

    /// Takes note of an event and appends what is to be done about it.
    pub(crate) fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Request { process, request: ask } => self.ask(process, ask),
            Event::Joined(process) => self.joined(process),
            Event::Lost { process, cause: why, undelivered: unseen } => self.lost(process, &why, &unseen),
            Event::Done { process, task, result } => self.done(process, task, result),
            Event::Retracted { process, tasks } => self.returned(process, tasks),
            Event::Yield { process, task } => self.block(process, task, None),
            Event::ReplyUndelivered { process, values } => self.take_views_back(process, &values),
            Event::Spilled { host, id, object } => self.spilled(host, id, object),
            Event::Copied { transfer, result } => self.copied(transfer, result),
            Event::HostLost { host, cause: why } => self.host_lost(host, &why),
            Event::Started { process, task: call } => self.started(process, call),
            Event::Expired(timer) => self.expired(timer),
            Event::Shutdown => self.shutdown(),
        }
        self.tell_waiters();
        actions.append(&mut self.actions);
    }

    /// Hands out the calls that are ready. To be called after a batch of events.
    pub(crate) fn dispatch_into(&mut self, actions: &mut Vec<Action>) {
        self.dispatch();
        self.tell_waiters();
        actions.append(&mut self.actions);
    }

    /// Whether there are workers: `None` while the answer is open, because some are starting.
    pub(crate) fn workers_started(&self) -> Option<bool> {
        let starting: usize = self.hosts.iter().map(|host| host.starting).sum();
        (starting == 0).then(|| self.pool().next().is_some())
    }

    /// Whether the session has ended: no process is left and none will be started.
    pub(crate) fn is_over(&self) -> bool {
        self.ending && self.workers.is_empty()
    }

    /// How many calls have not ended.
    pub(crate) fn pending_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// What has not ended, if anything.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe_unfinished(&self) -> Option<String> {
        if !self.tasks.is_empty() {
            let workers = self.workers.iter().map(|(process, worker)| format!("\n  {process}: {worker:?}"));
            let calls = self.tasks.iter().map(|(id, task)| {
                let spec = &task.spec;
                format!("\n  call {id}: {:?}, {:?}, needs {:?}", task.state, spec.target, spec.dependencies)
            });
            return Some(format!("unfinished:{}{}", workers.collect::<String>(), calls.collect::<String>()));
        }
        self.requests.keys().next().map(|(process, request)| format!("request {} of {process}", request.0))
    }

    /// What is still there although nobody refers to anything, if anything is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe_leftovers(&self) -> Option<String> {
        self.describe_unfinished().or_else(|| {
            let left = [
                ("objects", self.objects.len()),
                ("actors", self.actors.len()),
                ("calls that ended early", self.doomed.len()),
                ("timers", self.timers.len()),
                ("copies to come", self.copies.len()),
                ("calls without room", self.no_room.len()),
                ("calls asked back for good", self.unwanted.len()),
            ];
            let left = left.into_iter().find(|(_, count)| *count > 0);
            let left = left.map(|(what, count)| format!("{count} {what}"));
            let left = left.or_else(|| self.memory.describe());
            left.or_else(|| {
                (!self.resources.all_free()).then(|| format!("a slot in use: {:?}", self.resources))
            })
        })
    }

    /// Whether this call has not ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has_task(&self, id: DataId) -> bool {
        self.tasks.contains_key(&id)
    }

    fn ask(&mut self, process: ProcessId, ask: Request) {
        match ask {
            Request::Submit { spec, caller } => self.submit(process, spec, caller, None),
            Request::SubmitFailed { spec, caller, error } => self.submit(process, spec, caller, Some(error)),
            Request::Put { id, object, views } => {
                let Some(host) = self.host_of(process) else { return };
                if self.objects.declare(id, id) {
                    self.note_reference(process, id);
                    self.settle(id, host, Value::Ready(Arc::new(object)));
                    (0..views).for_each(|_| self.add_view(process, id));
                } else {
                    self.free(host, &object); // the id is taken: nothing of it is believed
                }
            }
            Request::Get { request, ids, blocks } => self.get(process, request, ids, blocks),
            Request::Wait { request, ids, count, timed, blocks } => {
                self.wait(process, request, ids, count, timed, blocks)
            }
            Request::Expire { request } => self.hurry(process, request),
            Request::Retain(id) => self.retain_for(process, id),
            Request::Release(id) => self.release_for(process, id),
            Request::PinView(id) => self.add_view(process, id),
            Request::UnpinView(id) => self.drop_view(process, id),
            Request::LiveObjects { request } => {
                let count = Reply::Count(self.objects.len() as u64);
                self.actions.push(Action::Reply { process, request, reply: count });
            }
            Request::Cancel { request, ids, which } => self.cancel(process, request, &ids, which),
            Request::Status { request, ids } => self.status(process, request, &ids),
            Request::Workers { request, at_least } => self.list_workers(process, request, at_least),
            Request::EndWorker { request, worker } => self.end_worker(process, request, worker),
        }
    }

    fn tell_waiters(&mut self) {
        while let Some(id) = self.settled.pop_front() {
            let waiters = self.objects.take_waiters(id);
            if waiters.is_empty() {
                continue;
            }
            let value = self.objects.value(id);
            for waiter in waiters.into_iter() {
                match waiter {
                    Waiter::Task(task) => self.dependency_settled(task, &value),
                    Waiter::Request(process, request) => self.request_progress(process, request),
                }
            }
        }
    }

    /// What runs may finish; everything else fails, so that whoever waits for it goes on.
    fn shutdown(&mut self) {
        if self.ending {
            return;
        }
        self.ending = true;
        let error = TaskError::new(ErrorKind::SessionEnded, "the session was shut down");
        self.end_actors(&error);
        let joined = self.workers.values().filter(|worker| worker.phase != workers::Phase::Starting);
        let running: Vec<_> = joined.flat_map(|worker| worker.stack.iter().map(|frame| frame.task)).collect();
        let mut rest: Vec<_> = self.tasks.keys().filter(|task| !running.contains(task)).collect();
        rest.sort_unstable();
        rest.into_iter().for_each(|task| self.fail_task(task, error.clone()));
        let mut processes: Vec<_> = self.workers.keys().copied().collect();
        processes.sort_unstable();
        processes.into_iter().for_each(|process| self.stop(process));
    }
}
