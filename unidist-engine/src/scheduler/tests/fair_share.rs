//! Fair sharing between groups of calls.

use super::*;
use std::num::NonZeroU32;
use unidist_common::{GroupId, GroupSpec};

fn of(group: u64, limit: u32) -> impl FnOnce(&mut TaskSpec) {
    let id = GroupId::of_reserved(DataId::new(ME, u64::MAX - group));
    let group = Some(GroupSpec { id, limit: NonZeroU32::new(limit) });
    move |spec| spec.options = Arc::new(TaskOptions { group, ..Default::default() })
}

/// Runs all calls to the end and returns the order in which they started.
fn run_all(c: &mut Cluster) -> Vec<DataId> {
    let mut order = Vec::new();
    loop {
        let recalls = c.sent.iter().filter_map(|(process, message)| match message {
            Sent::RetractTasks(calls) => Some((*process, calls.clone())),
            _ => None,
        });
        let recalls: Vec<_> = recalls.collect();
        c.sent.retain(|(_, message)| !matches!(message, Sent::RetractTasks(_)));
        for (process, calls) in recalls {
            c.handle(Event::Retracted { process, tasks: calls });
        }
        let running = c
            .scheduler
            .state
            .workers
            .iter()
            .find_map(|(process, worker)| Some((*process, worker.stack.last()?.task.first_return())));
        let Some((process, task)) = running else { return order };
        order.push(task);
        c.done(process, task);
    }
}

#[test]
fn fair_share_protects_a_few_calls_from_a_flood() {
    let mut c = Cluster::new(1);
    let flood: Vec<_> = (0..500).map(|_| c.submit(of(1, 0))).collect();
    let few: Vec<_> = (0..10).map(|_| c.submit(of(2, 0))).collect();
    let order = run_all(&mut c);
    let place = |call: &DataId| order.iter().position(|other| other == call).unwrap();
    assert!(few.iter().all(|call| place(call) < 25), "one of each in turn");
    assert!(flood.is_sorted_by_key(place), "each in its order");
    assert_eq!(order.len(), 510);
}

#[test]
fn fair_share_covers_calls_without_a_group() {
    let mut c = Cluster::new(1);
    (0..500).for_each(|_| _ = c.task());
    let few: Vec<_> = (0..10).map(|_| c.submit(of(2, 0))).collect();
    let order = run_all(&mut c);
    assert!(few.iter().all(|call| order[..25].contains(call)));
}

#[test]
fn fair_share_returning_group_has_no_credit() {
    let mut c = Cluster::new(1);
    let early = c.submit(of(1, 0));
    assert_eq!(run_all(&mut c), [early]);
    (0..100).for_each(|_| _ = c.submit(of(2, 0)));
    run_all(&mut c);
    // More than a worker can prefetch before the other group's calls arrive.
    let both: Vec<_> = (0..400).map(|n| c.submit(of(1 + n % 2, 0))).collect();
    let is_of_first = |call: &&DataId| both.iter().position(|other| other == *call).unwrap() % 2 == 0;
    let order = run_all(&mut c);
    let of_first = order[100..200].iter().filter(is_of_first).count();
    assert!((40..=60).contains(&of_first), "no catching up: {of_first}");
}

#[test]
fn group_limit_holds_for_running_calls() {
    let mut c = Cluster::new(3);
    let limited: Vec<_> = (0..5).map(|_| c.submit(of(1, 2))).collect();
    assert_eq!(c.runs().len(), 2);
    let other = c.task();
    assert_eq!(c.last_run().1.id, call_of(other), "a slot that the group may not use is others'");
    // One waits for its child: it holds no slot and does not count meanwhile.
    let parent = limited[0];
    let at = c.where_is(parent);
    let child = c.submit_from(at, |_| {});
    c.get(at, &[child], Some(parent));
    assert!(
        c.runs().iter().any(|(_, call)| *call == limited[2])
            || c.runs().iter().any(|(_, call)| *call == child)
    );
    run_all(&mut c);
    assert_eq!(c.scheduler.pending_tasks(), 0);
}

#[test]
fn unused_classes_and_groups_are_removed() {
    let mut c = Cluster::new(1);
    for group in 0..1000 {
        let call = c.submit(of(group, 0));
        let at = c.where_is(call);
        c.done(at, call);
        c.release(call);
    }
    assert!(c.scheduler.state.resources.classes() <= 64, "{}", c.scheduler.state.resources.classes());
}

#[test]
fn group_limit_holds_for_nested_calls() {
    let mut c = Cluster::new(2);
    let parents = [c.task(), c.task()];
    let children = parents.map(|parent| {
        let at = c.where_is(parent);
        let mut spec = c.spec(at);
        of(1, 1)(&mut spec);
        let child = spec.returns.first;
        c.handle(Event::Request {
            process: at,
            request: Request::Submit { spec: Box::new(spec), caller: None },
        });
        c.get(at, &[child], Some(parent));
        child
    });
    let running = c.runs().iter().filter(|(_, call)| children.contains(call)).count();
    assert_eq!(running, 1);
    let (at, first) = *c.runs().iter().find(|(_, call)| children.contains(call)).unwrap();
    c.done(at, first);
    assert!(children.iter().all(|child| c.runs().iter().any(|(_, call)| call == child)));
}
