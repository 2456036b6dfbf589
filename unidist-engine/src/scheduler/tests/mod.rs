//! The scheduler alone: tests feed events by hand and check the actions.

use super::*;
use crate::store::{Blob, Block, StoredObject};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use unidist_common::{
    ActorId, Arg, ErrorKind, FunctionKey, ProcessId, Returns, Target, TaskError, TaskId, TaskOptions,
    TaskSpec,
};

mod cancel;
mod deadlock;
mod fair_share;
mod hosts;
mod live;
mod nesting;
mod object_locations;
mod prefetched_arguments;
mod process_limit;
mod shutdown;
mod threads;
mod waiters;
mod watches;
mod worker_affinity;
mod worker_queries;

pub(super) const ME: ProcessId = ProcessId::CONTROLLER;

/// The thread of this call waits, with room on its stack.
pub(super) fn blocks_call(call: Option<DataId>) -> Blocks {
    call.map_or(Blocks::Nothing, |call| Blocks::Call { call: call_of(call), can_nest: true })
}

/// What was sent to a process.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    Run(Run),
    RetractTasks(Vec<TaskId>),
    Cancel(TaskId),
    Stop,
}

/// A session whose processes are lists of what they were sent.
pub(super) struct Cluster {
    pub(super) scheduler: Scheduler,
    pub(super) killed: Vec<ProcessId>,
    pub(super) armed: Vec<(Timer, Duration)>,
    pub(super) started: Vec<(ProcessId, Role)>,
    pub(super) sent: Vec<(ProcessId, Sent)>,
    pub(super) replies: Vec<(ProcessId, RequestId, Reply)>,
    pub(super) freed: Vec<Block>,
    pub(super) copies: Vec<Copy>,
    pub(super) unobserved: Vec<TaskError>,
    pub(super) next: u64,
}

impl Cluster {
    /// A session whose workers have all joined.
    pub(super) fn new(cpus: usize) -> Self {
        Cluster::with(limits(cpus))
    }

    pub(super) fn with(limits: Limits) -> Self {
        let mut cluster = Cluster {
            scheduler: Scheduler::new(limits),
            killed: Vec::new(),
            armed: Vec::new(),
            started: Vec::new(),
            sent: Vec::new(),
            replies: Vec::new(),
            freed: Vec::new(),
            copies: Vec::new(),
            unobserved: Vec::new(),
            next: 1,
        };
        let mut actions = Vec::new();
        cluster.scheduler.start_workers(&mut actions);
        cluster.carry_out(actions);
        cluster.join_all();
        cluster
    }

    pub(super) fn handle(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.scheduler.handle(event, &mut actions);
        self.scheduler.dispatch_into(&mut actions);
        self.carry_out(actions);
    }

    pub(super) fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::StartProcess { process, role, .. } => self.started.push((process, role)),
                Action::Run { process, run } => self.sent.push((process, Sent::Run(run))),
                Action::RetractTasks { process, tasks } => {
                    self.sent.push((process, Sent::RetractTasks(tasks)))
                }
                Action::CancelTask { process, task, .. } => self.sent.push((process, Sent::Cancel(task))),
                Action::Stop(process) => self.sent.push((process, Sent::Stop)),
                Action::Reply { process, request, reply } => self.replies.push((process, request, reply)),
                Action::Free { block, .. } | Action::FreeSpilled { block, .. } => self.freed.push(block),
                Action::Copy(copy) => self.copies.push(copy),
                Action::Unobserved(error) => self.unobserved.push(error),
                Action::SetCpus { .. } => {}
                Action::Kill(process) => self.killed.push(process),
                Action::Arm { timer, after: time } => self.armed.push((timer, time)),
                Action::Disarm(timer) => self.armed.retain(|(other, _)| *other != timer),
            }
        }
    }

    /// Nothing else happens until the search for deadlocks has ended.
    pub(super) fn search_for_deadlocks(&mut self) {
        while self.scheduler.is_searching() {
            let mut actions = Vec::new();
            self.scheduler.search_into(&mut actions);
            self.carry_out(actions);
        }
    }

    pub(super) fn join_all(&mut self) -> Vec<ProcessId> {
        let started = std::mem::take(&mut self.started);
        started
            .iter()
            .for_each(|(process, _)| self.handle(Event::Joined { process: *process, pid: process.number() }));
        started.into_iter().map(|(process, _)| process).collect()
    }

    pub(super) fn submit(&mut self, make: impl FnOnce(&mut TaskSpec)) -> DataId {
        self.submit_from(ME, make)
    }

    pub(super) fn submit_from(&mut self, process: ProcessId, make: impl FnOnce(&mut TaskSpec)) -> DataId {
        let mut spec = self.spec(process);
        make(&mut spec);
        let id = spec.returns.first;
        self.handle(Event::Request {
            process,
            request: Request::Submit { spec: Box::new(spec), caller: None },
        });
        id
    }

    pub(super) fn spec(&mut self, process: ProcessId) -> TaskSpec {
        let first = DataId::new(process, self.next);
        self.next += 10;
        TaskSpec {
            function: FunctionKey(1),
            body: None,
            name: "f".into(),
            target: Target::Pool,
            asynchronous: false,
            args: Vec::new(),
            dependencies: Vec::new(),
            borrowed: Vec::new(),
            returns: Returns { first, count: 1 },
            options: Arc::default(),
        }
    }

    pub(super) fn task(&mut self) -> DataId {
        self.submit(|_| {})
    }

    pub(super) fn task_on(&mut self, dependency: DataId) -> DataId {
        self.submit(|spec| {
            spec.args.push(Arg::Ref(dependency));
            spec.dependencies.push(dependency);
        })
    }

    pub(super) fn actor(&mut self) -> DataId {
        let id = self.submit(|spec| spec.target = Target::NewActor);
        let process = self.join_all()[0];
        self.done(process, id);
        id
    }

    pub(super) fn call(&mut self, actor: DataId) -> DataId {
        self.submit(|spec| spec.target = Target::Actor(actor_of(actor)))
    }

    pub(super) fn done(&mut self, process: ProcessId, task: DataId) {
        let task = call_of(task);
        self.handle(Event::Done { process, task, result: Ok(vec![object(vec![])]) });
    }

    pub(super) fn fail(&mut self, process: ProcessId, task: DataId) {
        let task = call_of(task);
        self.handle(Event::Done { process, task, result: Err(TaskError::new(ErrorKind::Failed, "no")) });
    }

    pub(super) fn ask(&mut self, process: ProcessId, ask: impl FnOnce(RequestId) -> Request) -> RequestId {
        let request = RequestId(self.next);
        self.next += 1;
        self.handle(Event::Request { process, request: ask(request) });
        request
    }

    pub(super) fn get(&mut self, process: ProcessId, ids: &[DataId], blocks: Option<DataId>) -> RequestId {
        let blocks = blocks_call(blocks);
        self.ask(process, |request| Request::Get { request, ids: ids.to_vec(), blocks })
    }

    /// A task that waits for a task that it submitted, with the worker of both.
    pub(super) fn parent_and_child(&mut self) -> (ProcessId, DataId, DataId) {
        let parent = self.task();
        let w = self.where_is(parent);
        let child = self.submit_from(w, |_| {});
        self.get(w, &[child], Some(parent));
        (w, parent, child)
    }

    pub(super) fn release(&mut self, id: DataId) {
        self.handle(Event::Request { process: ME, request: Request::Release(id) });
    }

    pub(super) fn reply(&self, request: RequestId) -> Option<&Reply> {
        self.replies.iter().find(|(_, id, _)| *id == request).map(|(.., reply)| reply)
    }

    pub(super) fn error(&mut self, id: DataId) -> TaskError {
        let request = self.get(ME, &[id], None);
        match self.reply(request) {
            Some(Reply::Values(values)) => match &values[0] {
                Value::Failed(error) => (**error).clone(),
                Value::Ready(_) => panic!("{id} has a value"),
            },
            other => panic!("{id}: {other:?}"),
        }
    }

    /// The calls sent so far, as (process, call), each counted once.
    pub(super) fn runs(&self) -> Vec<(ProcessId, DataId)> {
        self.sent
            .iter()
            .filter_map(
                |(p, m)| if let Sent::Run(run) = m { Some((*p, run.id.first_return())) } else { None },
            )
            .collect()
    }

    pub(super) fn last_run(&self) -> (ProcessId, &Run) {
        let run = |(p, m): &'_ (ProcessId, Sent)| matches!(m, Sent::Run(_)).then_some(*p);
        let at = self.sent.iter().rposition(|sent| run(sent).is_some()).expect("something runs");
        match &self.sent[at] {
            (process, Sent::Run(run)) => (*process, run),
            _ => unreachable!(),
        }
    }

    pub(super) fn where_is(&self, task: DataId) -> ProcessId {
        self.runs().iter().rev().find(|(_, id)| *id == task).expect("it was sent").0
    }

    pub(super) fn live(&self) -> usize {
        self.scheduler.state.objects.len()
    }

    pub(super) fn free_cpus(&self) -> f64 {
        self.scheduler.state.resources.free_cpus()
    }
}

/// The call with this first return: the tests name calls by their first returns, and actors by their handles.
pub(super) fn call_of(id: DataId) -> TaskId {
    TaskId::of_first_return(id)
}

pub(super) fn calls_of(ids: &[DataId]) -> Vec<TaskId> {
    ids.iter().copied().map(call_of).collect()
}

pub(super) fn actor_of(id: DataId) -> ActorId {
    ActorId::of_handle(id)
}

pub(super) fn limits(cpus: usize) -> Limits {
    limits_of_hosts(1, cpus)
}

pub(super) fn limits_of_hosts(count: usize, cpus: usize) -> Limits {
    let resources = BTreeMap::from([("gpu".into(), 1.0)]);
    let host = HostLimits { cpus, resources, address: "here".into(), store_memory: 1 << 30, max_pool: 8 };
    Limits { hosts: vec![host; count], cancel_grace: Duration::from_secs(1) }
}

pub(super) fn object(borrowed: Vec<DataId>) -> StoredObject {
    StoredObject { header: Blob::Inline(Bytes::new()), buffers: Vec::new(), borrowed }
}

pub(super) fn shared(offset: u64) -> StoredObject {
    StoredObject {
        header: Blob::Shared(Block { offset, len: 64 }),
        buffers: Vec::new(),
        borrowed: Vec::new(),
    }
}

fn wait_for(request: RequestId, ids: &[DataId], count: u64) -> Request {
    Request::Wait { request, ids: ids.to_vec(), count, timed: false, blocks: Blocks::Nothing }
}

fn worker(number: u32) -> ProcessId {
    ProcessId::new(number).unwrap()
}

#[test]
fn ready_tasks_go_to_idle_workers_first() {
    let mut c = Cluster::new(2);
    let (a, b) = (c.task(), c.task());
    assert_ne!(c.where_is(a), c.where_is(b));
    assert_eq!(c.free_cpus(), 0.0);
    c.done(c.where_is(a), a);
    c.done(c.where_is(b), b);
    assert_eq!(c.free_cpus(), 2.0);
}

#[test]
fn task_waits_for_its_dependencies_and_gets_their_values() {
    let mut c = Cluster::new(2);
    let a = c.task();
    let b = c.task_on(a);
    assert_eq!(c.runs().len(), 1);
    c.done(c.where_is(a), a);
    let (_, run) = c.last_run();
    assert_eq!((run.id, run.objects[0].0), (call_of(b), a));
}

#[test]
fn failure_propagates_with_its_cause() {
    let mut c = Cluster::new(1);
    let a = c.task();
    let b = c.task_on(a);
    let d = c.task_on(b);
    c.fail(c.where_is(a), a);
    let error = c.error(d);
    assert_eq!(error.kind, ErrorKind::DependencyFailed);
    assert_eq!(error.root_cause().kind, ErrorKind::Failed);
    assert_eq!(error.root_cause().worker, "worker 1 on here");
    let late = c.task_on(d);
    assert_eq!(c.error(late).kind, ErrorKind::DependencyFailed, "a dependency that has failed already");
}

#[test]
fn long_chain_of_failures_needs_no_stack() {
    let mut c = Cluster::new(1);
    let first = c.task();
    let mut last = first;
    for _ in 0..50_000 {
        last = c.task_on(last);
    }
    c.fail(c.where_is(first), first);
    assert_eq!(c.scheduler.pending_tasks(), 0);
}

#[test]
fn last_release_frees_inner_references() {
    let mut c = Cluster::new(1);
    let inner = DataId::new(ME, 1);
    let outer = DataId::new(ME, 2);
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: inner, object: shared(4096), views: 0 },
    });
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: outer, object: object(vec![inner]), views: 0 },
    });
    c.release(inner);
    assert_eq!((c.live(), c.freed.len()), (2, 0), "the outer object holds the inner one");
    c.release(outer);
    assert_eq!((c.live(), c.freed.as_slice()), (0, &[Block { offset: 4096, len: 64 }][..]));
}

#[test]
fn running_task_keeps_its_arguments_and_a_dropped_result_is_freed() {
    let mut c = Cluster::new(1);
    let arg = DataId::new(ME, 1);
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: arg, object: shared(4096), views: 0 },
    });
    c.next = 100;
    let task = c.task_on(arg);
    c.release(arg);
    c.release(task);
    assert_eq!(c.freed.len(), 0);
    c.handle(Event::Done { process: c.where_is(task), task: call_of(task), result: Ok(vec![shared(8192)]) });
    assert_eq!((c.live(), c.freed.len()), (0, 2));
}

#[test]
fn get_waits_for_all_and_wait_for_enough() {
    let mut c = Cluster::new(2);
    let (a, b) = (c.task(), c.task());
    let get = c.get(ME, &[a, b, a], None);
    let wait = c.ask(ME, |request| wait_for(request, &[a, b], 1));
    let hurried = c.ask(ME, |request| wait_for(request, &[a, b], 2));
    c.fail(c.where_is(b), b);
    assert_eq!(c.reply(wait), Some(&Reply::Ready(vec![1])), "a failure counts as ready");
    c.handle(Event::Request { process: ME, request: Request::Expire { request: hurried } });
    assert_eq!(c.reply(hurried), Some(&Reply::Ready(vec![1])));
    assert_eq!(c.reply(get), None);
    c.done(c.where_is(a), a);
    assert!(matches!(c.reply(get), Some(Reply::Values(values)) if values.len() == 3));
    assert!(c.scheduler.state.requests.is_empty());
}

#[test]
fn get_of_an_unknown_object_fails() {
    let mut c = Cluster::new(1);
    assert_eq!(c.error(DataId::new(ME, 77)).kind, ErrorKind::ObjectLost);
}

#[test]
fn blocked_task_runs_its_child_on_its_own_worker() {
    let mut c = Cluster::new(1);
    let (w, parent, child) = c.parent_and_child();
    assert_eq!(c.where_is(child), w);
    assert_eq!(c.scheduler.state.workers[&w].stack.len(), 2);
    c.done(w, child);
    c.done(w, parent);
    assert_eq!((c.free_cpus(), c.started.len()), (1.0, 0), "no other process was needed");
}

#[test]
fn nested_tasks_run_one_after_the_other() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let children = [c.submit_from(w, |_| {}), c.submit_from(w, |_| {}), c.submit_from(w, |_| {})];
    c.get(w, &children, Some(parent));
    for _ in children {
        let running = c.scheduler.state.workers[&w].stack.last().unwrap().task.first_return();
        assert!(children.contains(&running), "the worker is kept busy with what its task waits for");
        c.done(w, running);
    }
    assert!(c.scheduler.state.workers[&w].is_active(), "the parent proceeds");
    c.done(w, parent);
    assert_eq!((c.free_cpus(), c.started.len()), (1.0, 0));
}

#[test]
fn ready_grandchild_runs_nested() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let grandchild = c.submit_from(w, |_| {});
    let child = c.submit_from(w, |spec| spec.dependencies.push(grandchild));
    // retracted from the worker, which is about to block
    c.get(w, &[child], Some(parent));
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(grandchild)] });
    let (process, run) = c.last_run();
    assert_eq!((process, run.id, run.nested), (w, call_of(grandchild), true));
}

#[test]
fn blocked_task_releases_its_slot() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let parent = c.task();
    let w = c.where_is(parent);
    let signal = c.call(actor);
    c.get(w, &[signal], Some(parent));
    let other = c.task();
    assert_eq!(c.started.len(), 1, "a spare process is started for it");
    let spare = c.join_all()[0];
    assert_eq!(c.where_is(other), spare);
    c.done(c.where_is(signal), signal);
    assert_eq!(c.free_cpus(), -1.0, "the blocked task proceeds at once");
}

#[test]
fn prefetched_task_is_retracted_when_its_worker_blocks() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let (parent, behind) = (c.task(), c.task());
    let w = c.where_is(parent);
    assert_eq!(c.where_is(behind), w);
    let signal = c.call(actor);
    c.get(w, &[signal], Some(parent));
    assert!(c.sent.contains(&(w, Sent::RetractTasks(vec![call_of(behind)]))));
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(behind)] });
    let spare = c.join_all()[0];
    assert_eq!(c.where_is(behind), spare);
}

#[test]
fn idle_worker_steals_from_behind_a_long_task() {
    let mut c = Cluster::new(2);
    let tasks: Vec<_> = (0..6).map(|_| c.task()).collect();
    let (long, short) = (c.where_is(tasks[0]), c.where_is(tasks[1]));
    for task in tasks.iter().skip(1).copied().collect::<Vec<_>>() {
        if c.where_is(task) == short {
            c.done(short, task);
        }
    }
    let retracting: Vec<_> = c
        .sent
        .iter()
        .filter_map(|(p, m)| match m {
            Sent::RetractTasks(tasks) if *p == long => Some(tasks.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(!retracting.is_empty());
    c.handle(Event::Retracted { process: long, tasks: retracting.clone() });
    assert!(retracting.iter().all(|task| c.where_is(task.first_return()) == short));
}

#[test]
fn wide_task_holds_back_later_ones_until_it_fits() {
    let mut c = Cluster::new(2);
    let first = c.task();
    let big =
        c.submit(|spec| spec.options = Arc::new(TaskOptions { num_cpus: Some(2.0), ..Default::default() }));
    let later = c.task();
    assert_eq!(c.runs().len(), 1);
    c.done(c.where_is(first), first);
    assert_eq!(c.runs().last().unwrap().1, big);
    c.done(c.where_is(big), big);
    assert_eq!(c.runs().last().unwrap().1, later);
}

#[test]
fn custom_resource_holds_back_only_its_class() {
    let mut c = Cluster::new(2);
    let gpu = || Arc::new(TaskOptions { resources: vec![("gpu".into(), 1.0)], ..Default::default() });
    let first = c.submit(|spec| spec.options = gpu());
    let second = c.submit(|spec| spec.options = gpu());
    let plain = c.task();
    assert!(c.runs().iter().any(|(_, task)| *task == plain));
    assert!(!c.runs().iter().any(|(_, task)| *task == second));
    c.done(c.where_is(first), first);
    assert!(c.runs().iter().any(|(_, task)| *task == second));
}

#[test]
fn unsatisfiable_request_fails_at_once() {
    let mut c = Cluster::new(2);
    let options =
        TaskOptions { num_cpus: Some(3.0), resources: vec![("tpu".into(), 1.0)], ..Default::default() };
    let id = c.submit(|spec| spec.options = Arc::new(options));
    let error = c.error(id);
    assert_eq!(error.kind, ErrorKind::Unsatisfiable);
    assert!(error.message.contains("CPU=3") && error.message.contains("tpu=1"), "{}", error.message);
}

#[test]
fn actor_calls_of_one_caller_arrive_in_order() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let slow = c.task();
    let first = c.submit(|spec| {
        spec.target = Target::Actor(actor_of(actor));
        spec.dependencies.push(slow);
    });
    let second = c.call(actor);
    let before = c.runs().len();
    c.done(c.where_is(slow), slow);
    let order: Vec<_> = c.runs()[before..].iter().map(|(_, id)| *id).collect();
    assert_eq!(order, [first, second]);
}

#[test]
fn actor_callers_do_not_wait_for_each_other() {
    let mut c = Cluster::new(2);
    let actor = c.actor();
    let slow = c.task();
    c.submit(|spec| {
        spec.target = Target::Actor(actor_of(actor));
        spec.dependencies.push(slow);
    });
    let other = c.submit_from(c.where_is(slow), |spec| spec.target = Target::Actor(actor_of(actor)));
    assert!(c.runs().iter().any(|(_, id)| *id == other));
}

#[test]
fn actor_calls_wait_for_the_constructor_and_fail_with_it() {
    let mut c = Cluster::new(1);
    let id = c.submit(|spec| spec.target = Target::NewActor);
    let call = c.call(id);
    let process = c.join_all()[0];
    c.fail(process, id);
    let error = c.error(call);
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::ActorDied, ErrorKind::Failed));
    assert!(c.sent.contains(&(process, Sent::Stop)));
    let later = c.call(id);
    assert_eq!(c.error(later).kind, ErrorKind::ActorDied);
}

#[test]
fn actor_ends_with_its_last_handle_and_call() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let call = c.call(actor);
    let process = c.where_is(call);
    c.release(actor);
    assert!(!c.sent.contains(&(process, Sent::Stop)));
    c.done(process, call);
    assert!(c.sent.contains(&(process, Sent::Stop)));
    c.handle(Event::Lost { process, cause: "exit status: 0".into(), undelivered: vec![] });
    c.release(call);
    assert_eq!((c.live(), c.scheduler.state.actors.len()), (0, 0));
}

#[test]
fn lost_actor_fails_its_calls_with_the_cause() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let call = c.call(actor);
    c.handle(Event::Lost {
        process: c.where_is(call),
        cause: "signal: 9 (SIGKILL)".into(),
        undelivered: vec![],
    });
    let error = c.error(call);
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::ActorDied, ErrorKind::WorkerDied));
    assert!(error.root_cause().message.contains("SIGKILL"));
}

#[test]
fn lost_worker_fails_only_its_running_task() {
    let mut c = Cluster::new(1);
    let (ran, queued) = (c.task(), c.task());
    c.handle(Event::Lost {
        process: c.where_is(ran),
        cause: "signal: 11 (SIGSEGV)".into(),
        undelivered: vec![],
    });
    let error = c.error(ran);
    assert_eq!((error.kind, error.function.as_str()), (ErrorKind::WorkerDied, "f"));
    let replacement = c.join_all()[0];
    assert_eq!(c.where_is(queued), replacement);
    c.done(replacement, queued);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn lost_worker_releases_its_references() {
    let mut c = Cluster::new(1);
    let task = c.task();
    let w = c.where_is(task);
    c.handle(Event::Request {
        process: w,
        request: Request::Put { id: DataId::new(w, 1), object: shared(4096), views: 0 },
    });
    c.handle(Event::Request { process: w, request: Request::Retain(DataId::new(w, 1)) });
    c.handle(Event::Lost { process: w, cause: "gone".into(), undelivered: vec![] });
    c.release(task);
    assert_eq!((c.live(), c.freed.len()), (0, 1));
}

#[test]
fn process_cannot_release_more_than_it_has() {
    let mut c = Cluster::new(1);
    let id = DataId::new(ME, 1);
    c.handle(Event::Request { process: ME, request: Request::Put { id, object: object(vec![]), views: 0 } });
    c.handle(Event::Request { process: worker(1), request: Request::Release(id) });
    assert_eq!(c.live(), 1);
}

#[test]
fn workers_that_never_join_fail_what_waits_for_them() {
    let mut c = Cluster::with(limits(1));
    c.handle(Event::Lost { process: worker(1), cause: "gone".into(), undelivered: vec![] });
    let task = c.task();
    for number in 2..=4 {
        c.handle(Event::Lost {
            process: worker(number),
            cause: "exec format error".into(),
            undelivered: vec![],
        });
    }
    assert_eq!(c.error(task).kind, ErrorKind::WorkerDied);
    assert_eq!(c.scheduler.workers_started(), Some(false));
}

#[test]
fn shutdown_lets_running_calls_finish_and_fails_the_rest() {
    let mut c = Cluster::new(1);
    let (running, queued) = (c.task(), c.task());
    let w = c.where_is(running);
    c.handle(Event::Shutdown);
    assert_eq!(c.error(queued).kind, ErrorKind::SessionEnded);
    let late = c.task();
    assert_eq!(c.error(late).kind, ErrorKind::SessionEnded);
    c.done(w, running);
    assert!(!c.scheduler.is_over());
    c.handle(Event::Lost { process: w, cause: "exit status: 0".into(), undelivered: vec![] });
    assert!(c.scheduler.is_over());
    let request = c.get(ME, &[running], None);
    assert!(matches!(c.reply(request), Some(Reply::Values(v)) if matches!(v[0], Value::Ready(_))));
}

#[test]
fn failure_without_results_is_reported() {
    let mut c = Cluster::new(1);
    let task = c.submit(|spec| spec.returns.count = 0);
    c.fail(c.where_is(task), task);
    assert_eq!(c.unobserved.len(), 1);
}

#[test]
fn starting_actor_ends_with_the_session() {
    let mut c = Cluster::new(1);
    let held = c.submit(|spec| spec.target = Target::NewActor);
    let dropped = c.submit(|spec| spec.target = Target::NewActor);
    c.release(dropped);
    let call = c.call(held);
    c.handle(Event::Shutdown);
    let processes = c.join_all();
    assert!(processes.iter().all(|process| c.sent.contains(&(*process, Sent::Stop))));
    assert_eq!(c.error(call).root_cause().kind, ErrorKind::SessionEnded);
    for process in processes.into_iter().chain([worker(1)]) {
        c.handle(Event::Lost { process, cause: "exit status: 0".into(), undelivered: vec![] });
    }
    assert!(c.scheduler.is_over());
}

#[test]
fn freed_object_error_names_its_producer() {
    let mut c = Cluster::new(1);
    let (made, never) = (c.task(), DataId::new(ME, 5000));
    c.done(c.where_is(made), made);
    c.release(made);
    let (freed, unknown) = (c.error(made), c.error(never));
    assert_eq!((freed.kind, unknown.kind), (ErrorKind::ObjectLost, ErrorKind::ObjectLost));
    assert!(freed.message.contains("`f`") && freed.message.contains(&made.to_string()), "{freed}");
    assert!(unknown.message.contains("never existed"), "{unknown}");
    let dependent = c.task_on(made);
    assert!(c.error(dependent).root_cause().message.contains("`f`"));
}

#[test]
fn undelivered_call_of_a_dead_worker_runs_elsewhere() {
    let mut c = Cluster::new(1);
    let task = c.task();
    c.handle(Event::Lost {
        process: c.where_is(task),
        cause: "signal: 9 (SIGKILL)".into(),
        undelivered: vec![call_of(task)],
    });
    let replacement = c.join_all()[0];
    assert_eq!(c.where_is(task), replacement);
}

#[test]
fn actor_calls_keep_their_order_across_callers() {
    let mut c = Cluster::new(1);
    let id = c.submit(|spec| spec.target = Target::NewActor);
    let first = c.submit_from(worker(1), |spec| spec.target = Target::Actor(actor_of(id)));
    let second = c.call(id);
    let third = c.submit_from(worker(1), |spec| spec.target = Target::Actor(actor_of(id)));
    let process = c.join_all()[0];
    c.done(process, id);
    let order: Vec<_> = c.runs().into_iter().map(|(_, call)| call).filter(|call| *call != id).collect();
    assert_eq!(order, [first, second, third]);
}

#[test]
fn lost_task_is_retried_up_to_its_limit() {
    let mut c = Cluster::new(1);
    let with = |max_retries| Arc::new(TaskOptions { max_retries: Some(max_retries), ..Default::default() });
    let task = c.submit(|spec| spec.options = with(1));
    c.handle(Event::Lost {
        process: c.where_is(task),
        cause: "signal: 9 (SIGKILL)".into(),
        undelivered: vec![],
    });
    let second = c.join_all()[0];
    assert_eq!(c.where_is(task), second);
    c.done(second, task);
    let stubborn = c.submit(|spec| spec.options = with(1000));
    for _ in 0..3 {
        c.handle(Event::Lost {
            process: c.where_is(stubborn),
            cause: "signal: 9 (SIGKILL)".into(),
            undelivered: vec![],
        });
        c.join_all();
    }
    let error = c.error(stubborn);
    assert_eq!(error.kind, ErrorKind::WorkerDied);
    assert!(error.message.contains("3 times"), "{}", error.message);
}

#[test]
fn higher_priority_runs_first() {
    let mut c = Cluster::new(1);
    let running = c.task();
    let with = |priority| Arc::new(TaskOptions { priority: Some(priority), ..Default::default() });
    let low = c.submit(|spec| spec.options = with(-1));
    let high = c.submit(|spec| spec.options = with(1));
    for task in [running, high, low] {
        assert_eq!(c.runs().last().unwrap().1, task);
        c.done(c.where_is(task), task);
    }
}

#[test]
fn awaited_task_is_retracted_from_behind_another() {
    let mut c = Cluster::new(2);
    let (long, parent) = (c.task(), c.task());
    let (busy, w) = (c.where_is(long), c.where_is(parent));
    let child = c.submit_from(w, |_| {});
    let elsewhere = c.where_is(child);
    c.get(w, &[child], Some(parent));
    if elsewhere == busy {
        assert!(c.sent.contains(&(busy, Sent::RetractTasks(vec![call_of(child)]))));
        c.handle(Event::Retracted { process: busy, tasks: vec![call_of(child)] });
    }
    assert_eq!(c.where_is(child), w);
}

#[test]
fn dangling_reference_is_not_released() {
    let mut c = Cluster::new(1);
    let (later, outer) = (DataId::new(ME, 5), DataId::new(worker(1), 1));
    c.handle(Event::Request {
        process: worker(1),
        request: Request::Put { id: outer, object: object(vec![later]), views: 0 },
    });
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: later, object: object(vec![]), views: 0 },
    });
    c.handle(Event::Request { process: worker(1), request: Request::Release(outer) });
    assert_eq!(c.live(), 1, "the later object has its own reference still");
}

#[test]
fn results_are_batched_while_the_program_waits_for_many() {
    let mut c = Cluster::new(2);
    let tasks: Vec<_> = (0..100).map(|_| c.task()).collect();
    assert_eq!(c.scheduler.max_result_batch(), 1, "without a waiting request, results are sent at once");
    c.get(ME, &tasks, None);
    assert!(c.scheduler.max_result_batch() > 1);
    let single = c.get(ME, &tasks[..1], None);
    assert_eq!(c.scheduler.max_result_batch(), 1, "a request waits for one of them");
    c.done(c.where_is(tasks[0]), tasks[0]);
    assert!(c.reply(single).is_some() && c.scheduler.max_result_batch() > 1);
    c.get(c.where_is(tasks[1]), &tasks[2..50], Some(tasks[1]));
    assert_eq!(c.scheduler.max_result_batch(), 1, "a task waits");
}
