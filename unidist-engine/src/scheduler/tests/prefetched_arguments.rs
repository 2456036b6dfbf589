//! How much memory calls that have not started keep in use, and how they give it back.

use super::*;
use crate::network::HostId;

const HERE: HostId = HostId::CONTROLLER;
/// Bytes of an object.
const SIZE: u64 = 64;
/// With one worker, calls that wait there may bring eight objects into use.
const STORE: u64 = 4 * 8 * SIZE;

fn cluster() -> Cluster {
    let mut limits = limits(1);
    limits.hosts[0].store_memory = STORE;
    Cluster::with(limits)
}

fn put(c: &mut Cluster) -> DataId {
    let id = DataId::new(ME, c.next);
    c.next += 10;
    let object = shared(4096 + SIZE * c.next);
    c.handle(Event::Request { process: ME, request: Request::Put { id, object, views: 0 } });
    id
}

/// Twenty calls with an object each, of which the first runs.
fn with_calls() -> (Cluster, Vec<DataId>) {
    let mut c = cluster();
    let objects: Vec<_> = (0..20).map(|_| put(&mut c)).collect();
    let calls = objects.into_iter().map(|object| c.task_on(object)).collect();
    (c, calls)
}

fn idle_bytes(c: &Cluster) -> u64 {
    c.scheduler.resident_bytes(HERE).1
}

#[test]
fn waiting_calls_keep_a_part_of_the_memory() {
    let (mut c, calls) = with_calls();
    assert_eq!(c.runs().len(), 1 + 8);
    assert_eq!(idle_bytes(&c), 11 * SIZE);
    let worker = c.where_is(calls[0]);
    c.done(worker, calls[0]);
    assert_eq!(c.runs().len(), 1 + 9, "the next call has started, so there is room for another");
}

#[test]
fn object_of_many_calls_counts_once() {
    let mut c = cluster();
    let object = put(&mut c);
    (0..20).for_each(|_| _ = c.task_on(object));
    assert_eq!(c.runs().len(), 20);
    assert!(!c.scheduler.state.workers.is_empty());
}

#[test]
fn call_with_large_arguments_waits_for_an_idle_worker() {
    let mut c = cluster();
    let (first, objects) = (c.task(), [(); 9].map(|()| put(&mut c)));
    let large = c.submit(|spec| spec.dependencies.extend(objects));
    assert_eq!(c.runs().len(), 1);
    let worker = c.where_is(first);
    c.done(worker, first);
    assert_eq!(c.where_is(large), worker);
}

#[test]
fn call_bound_to_a_worker_is_not_overtaken_for_ever() {
    let mut c = cluster();
    let (first, objects) = (c.task(), [(); 9].map(|()| put(&mut c)));
    let worker = c.where_is(first);
    let large = c.submit(|spec| {
        spec.dependencies.extend(objects);
        spec.options = Arc::new(TaskOptions { worker: Some(worker), ..TaskOptions::default() });
    });
    let small = c.task();
    c.done(worker, first);
    assert_eq!(c.runs()[1..], [(worker, large), (worker, small)]);
}

#[test]
fn arguments_are_given_back_when_memory_is_short() {
    let (mut c, calls) = with_calls();
    let worker = c.where_is(calls[0]);
    c.handle(Event::MemoryShort(HERE));
    let waiting = calls_of(&calls[1..9]);
    assert_eq!(c.sent.last(), Some(&(worker, Sent::RetractTasks(waiting.clone()))));
    assert!(c.scheduler.are_arguments_kept_ahead(HERE));
    c.handle(Event::MemoryShort(HERE));
    assert_eq!(c.sent.len(), 1 + 8 + 1, "it was asked already");
    c.done(worker, calls[0]);
    c.handle(Event::Retracted { process: worker, tasks: waiting[1..].to_vec() });
    assert!(!c.scheduler.are_arguments_kept_ahead(HERE));
    assert_eq!(idle_bytes(&c), 19 * SIZE, "one of them has started");
    assert_eq!(c.runs().len(), 1 + 8, "none is sent ahead while memory is short");
    c.handle(Event::MemoryFound(HERE));
    assert_eq!(c.runs().len(), 1 + 8 + 8);
}
