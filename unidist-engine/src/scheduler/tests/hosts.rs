//! Several hosts: placement, transfers, and the loss of a host.

use super::*;
use crate::network::HostId;
use crate::scheduler::state::workers::MAX_FAILED_STARTS;
use unidist_common::StoreFull;

const HERE: HostId = HostId::CONTROLLER;
const THERE: HostId = HostId::new(1);

fn cluster(hosts: usize, cpus: usize) -> Cluster {
    Cluster::with(limits_of_hosts(hosts, cpus))
}

/// An object of the program that lies in the memory of its host.
fn put(c: &mut Cluster) -> DataId {
    let id = DataId::new(ME, c.next);
    c.next += 10;
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id, object: shared(64 * c.next), views: 0 },
    });
    id
}

fn host_of(c: &Cluster, task: DataId) -> HostId {
    c.scheduler.state.host_of(c.where_is(task)).unwrap()
}

/// A task that is kept running on this host.
fn busy(c: &mut Cluster, host: HostId) -> DataId {
    loop {
        let task = c.task();
        if host_of(c, task) == host {
            return task;
        }
    }
}

/// The first requested copy arrives.
fn arrive(c: &mut Cluster) -> Copy {
    let copy = c.copies.remove(0);
    let object = shared(1 << 20 | copy.transfer.0 << 8);
    c.handle(Event::Copied { transfer: copy.transfer, result: Ok(object) });
    copy
}

fn ways(c: &Cluster) -> Vec<(HostId, HostId)> {
    c.copies.iter().map(|copy| (copy.from, copy.to)).collect()
}

fn end(c: &mut Cluster, task: DataId) {
    c.done(c.where_is(task), task);
}

#[test]
fn task_runs_near_its_argument_unless_that_host_is_busy() {
    let mut c = cluster(2, 1);
    let argument = put(&mut c);
    let near = c.task_on(argument);
    assert_eq!((host_of(&c, near), c.copies.len()), (HERE, 0));
    let far = c.task_on(argument);
    assert_eq!(ways(&c), [(HERE, THERE)], "the other host has nothing to do");
    assert!(c.runs().iter().all(|(_, task)| *task != far), "it waits for what it needs");
    arrive(&mut c);
    assert_eq!(host_of(&c, far), THERE);
    let (_, run) = c.last_run();
    assert_eq!(
        run.objects[0].1.blocks().next().map(|block| block.offset),
        Some(1 << 20 | 1 << 8),
        "its copy there"
    );
    end(&mut c, near);
    end(&mut c, far);
    [argument, near, far].into_iter().for_each(|id| c.release(id));
    assert_eq!(c.freed.len(), 2, "both copies");
    assert_eq!(c.scheduler.describe_leftovers(), None);
}

#[test]
fn object_is_copied_to_a_host_once() {
    let mut c = cluster(2, 4);
    let argument = put(&mut c);
    let tasks: Vec<_> = (0..8).map(|_| c.task_on(argument)).collect();
    assert_eq!(ways(&c), [(HERE, THERE)]);
    arrive(&mut c);
    assert_eq!(tasks.iter().filter(|task| host_of(&c, **task) == THERE).count(), 4);
    assert!(c.copies.is_empty());
}

#[test]
fn object_spreads_over_hosts_as_a_tree() {
    let mut c = cluster(8, 1);
    let argument = put(&mut c);
    let _tasks: Vec<_> = (0..8).map(|_| c.task_on(argument)).collect();
    let mut rounds = Vec::new();
    while !c.copies.is_empty() {
        let now = c.copies.len();
        rounds.push(now);
        let sources: std::collections::BTreeSet<_> = c.copies.iter().map(|copy| copy.from).collect();
        assert_eq!(sources.len(), now, "each copy serves one at a time");
        (0..now).for_each(|_| drop(arrive(&mut c)));
    }
    assert_eq!(rounds.iter().sum::<usize>(), 7);
    assert!(rounds.len() <= 4, "{rounds:?}");
}

#[test]
fn result_is_copied_to_the_program_on_get() {
    let mut c = cluster(2, 1);
    let near = busy(&mut c, HERE);
    let far = busy(&mut c, THERE);
    c.handle(Event::Done { process: c.where_is(far), task: call_of(far), result: Ok(vec![shared(4096)]) });
    let ready = c.ask(ME, |request| wait_for(request, &[far], 1));
    assert!(c.reply(ready).is_some() && c.copies.is_empty(), "to wait is not to read");
    let [one, two] = [c.get(ME, &[far, near, far], None), c.get(ME, &[far], None)];
    assert_eq!(ways(&c), [(THERE, HERE)]);
    arrive(&mut c);
    assert!(c.reply(two).is_some() && c.reply(one).is_none());
    end(&mut c, near);
    assert!(matches!(c.reply(one), Some(Reply::Values(values)) if values.len() == 3));
}

#[test]
fn call_runs_elsewhere_when_a_store_is_full() {
    let mut c = cluster(2, 1);
    let argument = put(&mut c);
    let _near = busy(&mut c, HERE);
    let far = c.task_on(argument);
    let full = || TaskError::from(unidist_common::Error::from(StoreFull::new(64, 1, 1)));
    let copy = c.copies.remove(0);
    c.handle(Event::Copied { transfer: copy.transfer, result: Err(full()) });
    assert_eq!(host_of(&c, far), HERE, "it waits where its argument is");
    let again = c.task_on(argument);
    assert_eq!(ways(&c), [(HERE, THERE)], "there may be room later");
    arrive(&mut c);
    assert_eq!(host_of(&c, again), THERE);
    // It waits for a resource held elsewhere a few times only: the holder may be waiting for it.
    let mut c = cluster(2, 1);
    let gpu = || Arc::new(TaskOptions { resources: vec![("gpu".into(), 1.0)], ..Default::default() });
    let holder = c.submit(|spec| spec.options = gpu());
    assert_eq!(host_of(&c, holder), HERE);
    let second = put(&mut c);
    let stuck = c.submit(|spec| (spec.options, spec.dependencies) = (gpu(), vec![second]));
    let mut tried = 0;
    while let Some(copy) = c.copies.pop() {
        tried += 1;
        c.handle(Event::Copied { transfer: copy.transfer, result: Err(full()) });
    }
    assert_eq!((tried, c.error(stuck).kind), (3, ErrorKind::StoreFull));
}

#[test]
fn actor_calls_wait_for_their_inputs_in_order() {
    let mut c = cluster(2, 1);
    let first = c.actor();
    let second = c.actor();
    let home = |c: &Cluster, actor| host_of(c, actor);
    assert_ne!(home(&c, first), home(&c, second), "actors spread");
    let far = if home(&c, first) == THERE { first } else { second };
    let argument = put(&mut c);
    let one =
        c.submit(|spec| (spec.target, spec.dependencies) = (Target::Actor(actor_of(far)), vec![argument]));
    let two = c.call(far);
    let sent = |c: &Cluster, task| c.runs().iter().any(|(_, other)| *other == task);
    assert!(!sent(&c, one) && !sent(&c, two));
    arrive(&mut c);
    assert!(sent(&c, one) && sent(&c, two));
    let at = |task| c.runs().iter().position(|(_, other)| *other == task);
    assert!(at(one) < at(two));
}

#[test]
fn lost_host_takes_objects_without_other_copies() {
    let mut c = cluster(2, 1);
    let near = busy(&mut c, HERE);
    let options = Arc::new(TaskOptions { max_retries: Some(1), ..Default::default() });
    let lost_result = busy(&mut c, THERE);
    let inner = c.task();
    let mut result = shared(4096);
    result.borrowed.push(inner);
    c.handle(Event::Done {
        process: c.where_is(lost_result),
        task: call_of(lost_result),
        result: Ok(vec![result]),
    });
    let retried = c.submit(|spec| spec.options = options);
    assert_eq!(host_of(&c, retried), THERE);
    let waits = c.submit(|spec| {
        let retries = TaskOptions { max_retries: Some(1), ..Default::default() };
        (spec.dependencies, spec.options) = (vec![lost_result], Arc::new(retries));
    });
    let unlucky = c.task_on(lost_result);
    let copied = put(&mut c);
    c.handle(Event::HostLost { host: THERE, cause: "no sign of it for 30 s".into() });
    let error = c.error(lost_result);
    assert_eq!(error.kind, ErrorKind::ObjectLost);
    assert!(error.message.contains("`f` made") && error.message.contains("no sign of it"), "{error}");
    assert_eq!(c.error(waits).root_cause().kind, ErrorKind::ObjectLost);
    assert_eq!(c.error(unlucky).kind, ErrorKind::WorkerDied, "it may have run behind the cut");
    assert!(matches!(c.scheduler.state.value_on(HERE, copied), Value::Ready(_)));
    assert!(c.started.is_empty(), "nothing is started on a host that is gone");
    let left: Vec<_> = c.scheduler.state.workers.keys().copied().collect();
    assert_eq!(left.len(), 1);
    end(&mut c, near);
    end(&mut c, inner);
    assert_eq!(c.scheduler.state.host_of(c.where_is(retried)), Some(HERE));
}

#[test]
fn object_survives_with_a_copy_elsewhere() {
    let mut c = cluster(3, 1);
    let _near = busy(&mut c, HERE);
    let far = busy(&mut c, THERE);
    c.handle(Event::Done { process: c.where_is(far), task: call_of(far), result: Ok(vec![shared(4096)]) });
    let request = c.get(ME, &[far], None);
    let copy = c.copies.remove(0);
    c.handle(Event::HostLost { host: THERE, cause: "cut".into() });
    assert!(c.reply(request).is_none(), "the copy may have come through");
    c.handle(Event::Copied { transfer: copy.transfer, result: Ok(shared(8192)) });
    assert!(matches!(c.reply(request), Some(Reply::Values(values)) if matches!(values[0], Value::Ready(_))));
    let other = c.task_on(far);
    assert_eq!(ways(&c), [(HERE, HostId::new(2))]);
    arrive(&mut c);
    assert_eq!(host_of(&c, other), HostId::new(2));
}

#[test]
fn resources_must_be_on_one_host() {
    let mut limits = limits_of_hosts(2, 2);
    limits.hosts[0].resources = BTreeMap::from([("gpu".into(), 1.0)]);
    limits.hosts[1].resources = BTreeMap::from([("disk".into(), 1.0)]);
    let mut c = Cluster::with(limits);
    let both = vec![("gpu".into(), 1.0), ("disk".into(), 1.0)];
    let together =
        c.submit(|spec| spec.options = Arc::new(TaskOptions { resources: both, ..Default::default() }));
    let error = c.error(together);
    assert_eq!(error.kind, ErrorKind::Unsatisfiable);
    assert!(error.message.contains("together"), "{error}");
    let disk = || Arc::new(TaskOptions { resources: vec![("disk".into(), 1.0)], ..Default::default() });
    let there = c.submit(|spec| spec.options = disk());
    assert_eq!(host_of(&c, there), THERE);
    let waits = c.submit(|spec| spec.options = disk());
    let free = c.task();
    assert_eq!(host_of(&c, free), HERE, "it does not wait for another's resource");
    c.handle(Event::HostLost { host: THERE, cause: "cut".into() });
    assert_eq!(c.error(waits).kind, ErrorKind::Unsatisfiable);
}

#[test]
fn idle_host_steals_calls() {
    let mut c = cluster(2, 1);
    let [_near, far] = [busy(&mut c, HERE), busy(&mut c, THERE)];
    let argument = put(&mut c);
    let on_it: Vec<_> = (0..20).map(|_| c.task_on(argument)).collect();
    assert!(
        on_it
            .iter()
            .filter(|task| c.runs().iter().any(|(_, sent)| sent == *task))
            .all(|task| host_of(&c, *task) == HERE)
    );
    end(&mut c, far);
    let (_, message) = c.sent.last().unwrap();
    let Sent::RetractTasks(calls) = message else { panic!("{message:?}") };
    assert_eq!(calls.len(), 2, "as many as may fetch what they need");
}

/// The workers of a host end, and no process can be started there.
fn start_nothing_more(c: &mut Cluster, host: HostId) {
    while let Some(process) = c.scheduler.state.hosts[host.place()].pool.first().copied() {
        c.handle(Event::Lost { process, cause: "it ended".into(), undelivered: vec![] });
    }
    assert!(c.scheduler.state.hosts[host.place()].failed_starts >= MAX_FAILED_STARTS);
}

#[test]
fn host_without_workers_reserves_nothing() {
    let mut c = cluster(2, 2);
    let near = [busy(&mut c, HERE), busy(&mut c, HERE)];
    start_nothing_more(&mut c, THERE);
    let wide = c.submit(|spec| {
        spec.options = Arc::new(TaskOptions { num_cpus: Some(2.0), ..Default::default() });
    });
    let plain = c.task();
    assert!(c.scheduler.has_task(call_of(wide)) && c.scheduler.has_task(call_of(plain)));
    end(&mut c, near[0]);
    end(&mut c, near[1]);
    assert_eq!(host_of(&c, wide), HERE, "the later one keeps no CPU from it");
    end(&mut c, wide);
    assert_eq!(host_of(&c, plain), HERE);
}

#[test]
fn fetched_call_leaves_a_host_without_workers() {
    let mut c = cluster(2, 1);
    let near = busy(&mut c, HERE);
    let argument = put(&mut c);
    let call = c.task_on(argument);
    assert_eq!(ways(&c), [(HERE, THERE)]);
    start_nothing_more(&mut c, THERE);
    arrive(&mut c);
    assert!(c.scheduler.has_task(call_of(call)), "the other host will run it");
    end(&mut c, near);
    assert_eq!(host_of(&c, call), HERE);
}

#[test]
fn host_without_workers_fails_no_other_calls() {
    let mut c = cluster(2, 1);
    let near = busy(&mut c, HERE);
    let argument = put(&mut c);
    start_nothing_more(&mut c, THERE);
    let waits = c.task_on(argument);
    assert!(c.scheduler.has_task(call_of(waits)), "the other host will run it");
    end(&mut c, near);
    assert_eq!(host_of(&c, waits), HERE);
}

#[test]
fn fetched_call_leaves_a_host_whose_resource_is_taken() {
    let mut c = cluster(3, 1);
    let gpu = || Arc::new(TaskOptions { resources: vec![("gpu".into(), 1.0)], ..Default::default() });
    let near = c.submit(|spec| spec.options = gpu());
    assert_eq!(host_of(&c, near), HERE);
    let argument = put(&mut c);
    let call = c.submit(|spec| (spec.options, spec.dependencies) = (gpu(), vec![argument]));
    assert_eq!(ways(&c), [(HERE, THERE)]);
    let [other, taken] = [c.submit(|spec| spec.options = gpu()), c.submit(|spec| spec.options = gpu())];
    assert_eq!([host_of(&c, other), host_of(&c, taken)], [HostId::new(2), THERE]);
    arrive(&mut c);
    assert!(c.copies.is_empty());
    end(&mut c, other);
    assert_eq!(ways(&c), [(HERE, HostId::new(2))], "what is free is elsewhere");
    arrive(&mut c);
    assert_eq!(host_of(&c, call), HostId::new(2));
}
