//! Calls bound to one worker.

use super::*;

fn only(worker: ProcessId) -> impl FnOnce(&mut TaskSpec) {
    move |spec| spec.options = Arc::new(TaskOptions { worker: Some(worker), ..Default::default() })
}

/// The worker gives back all calls that were retracted last; it has started none of them.
fn give_back(c: &mut Cluster, worker: ProcessId) -> Vec<DataId> {
    let retracting = c.sent.iter().rev().find_map(|(process, message)| match message {
        Sent::RetractTasks(calls) if *process == worker => Some(calls.clone()),
        _ => None,
    });
    let retracting = retracting.expect("calls are retracted");
    c.handle(Event::Retracted { process: worker, tasks: retracting.clone() });
    retracting.into_iter().map(TaskId::first_return).collect()
}

#[test]
fn bound_calls_run_on_their_worker() {
    let mut c = Cluster::new(2);
    let [one, two] = [worker(1), worker(2)];
    let first = c.submit(only(two));
    let second = c.submit(only(two));
    assert_eq!((c.where_is(first), c.where_is(second)), (two, two));
    assert!(
        !c.sent.iter().any(|(_, message)| matches!(message, Sent::RetractTasks(_))),
        "the idle one takes none"
    );
    let free = c.task();
    assert_eq!(c.where_is(free), one);
    c.done(two, first);
    c.done(two, second);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn bound_calls_fail_without_their_worker() {
    let mut c = Cluster::new(2);
    let two = worker(2);
    let running = c.submit(only(two));
    let waiting = c.submit(only(two));
    let needs = c.submit(|spec| {
        only(two)(spec);
        spec.dependencies.push(waiting);
    });
    let retried = c.submit(|spec| {
        let options = TaskOptions { worker: Some(two), max_retries: Some(2), ..Default::default() };
        spec.options = Arc::new(options);
    });
    c.handle(Event::Lost { process: two, cause: "it was killed".into(), undelivered: vec![] });
    let (died, gone) = (ErrorKind::WorkerDied, ErrorKind::WorkerGone);
    for (call, kind) in [(running, died), (waiting, gone), (retried, gone)] {
        let error = c.error(call);
        assert_eq!((error.kind, error.worker.as_str()), (kind, "worker 2 on here"));
    }
    assert_eq!(c.error(needs).root_cause().kind, gone);
    let late = c.submit(only(two));
    assert_eq!(c.error(late).kind, gone);
    let unknown = c.submit(only(worker(77)));
    assert!(c.error(unknown).message.contains("never existed"));
    assert_eq!(c.free_cpus(), 2.0);
}

#[test]
fn bound_call_runs_on_top_of_its_parent() {
    let mut c = Cluster::new(2);
    let parent = c.task();
    let at = c.where_is(parent);
    let child = c.submit_from(at, only(at));
    c.get(at, &[child], Some(parent));
    c.done(at, child);
    c.done(at, parent);
    assert_eq!(c.free_cpus(), 2.0);
}

#[test]
fn deadlock_over_a_worker_is_found_from_both_sides() {
    for behind_last in [false, true] {
        let mut c = Cluster::new(2);
        let (a, b) = (c.task(), c.task());
        let (on_a, on_b) = (c.where_is(a), c.where_is(b));
        // `a` waits for `b`, and `b` for a call that is for the worker of `a` alone.
        let mut first = (!behind_last).then(|| c.get(on_a, &[b], Some(a)));
        let behind = c.submit_from(on_b, only(on_a));
        let second = c.get(on_b, &[behind], Some(b));
        let first = *first.get_or_insert_with(|| c.get(on_a, &[b], Some(a)));
        let fails = |request| matches!(c.reply(request), Some(Reply::Failed(error)) if error.to_string().contains("waits for"));
        assert!(fails(first) != fails(second), "one of them fails: {behind_last}");
    }
}

#[test]
fn bound_call_of_high_priority_overtakes_prefetched_ones() {
    let mut c = Cluster::new(1);
    let one = worker(1);
    let running = c.task();
    let prefetched = [c.task(), c.task()];
    let urgent = c.submit(|spec| {
        let options = TaskOptions { worker: Some(one), priority: Some(1), ..Default::default() };
        spec.options = Arc::new(options);
    });
    assert_eq!(give_back(&mut c, one), prefetched);
    c.done(one, running);
    assert_eq!(c.last_run().1.id, call_of(urgent));
    c.done(one, urgent);
    assert_eq!(c.last_run().1.id, call_of(prefetched[1]), "the others follow");
}

#[test]
fn bound_call_without_prefetch_reserves_its_worker() {
    let mut c = Cluster::new(1);
    let one = worker(1);
    let running = c.task();
    let waits = c.submit(|spec| {
        let options = TaskOptions { worker: Some(one), num_cpus: Some(0.0), ..Default::default() };
        spec.options = Arc::new(options);
    });
    let later = [c.task(), c.task()];
    assert!(
        !c.runs().iter().any(|(_, call)| later.contains(call)),
        "nothing is prefetched only to be retracted"
    );
    assert!(!c.sent.iter().any(|(_, message)| matches!(message, Sent::RetractTasks(_))));
    c.done(one, running);
    assert!(c.runs().contains(&(one, waits)));
}

#[test]
fn bound_call_fails_when_its_host_has_shrunk() {
    let mut c = Cluster::new(2);
    let running = c.submit(only(worker(1)));
    let wants_two = c.submit(|spec| {
        let options = TaskOptions { worker: Some(worker(1)), num_cpus: Some(2.0), ..Default::default() };
        spec.options = Arc::new(options);
    });
    c.ask(ME, |request| Request::EndWorker { request, worker: worker(2) });
    c.done(worker(1), running);
    assert_eq!(c.error(wants_two).kind, ErrorKind::Unsatisfiable);
}

#[test]
fn bound_call_that_will_run_is_no_deadlock() {
    let mut c = Cluster::new(2);
    let a = c.submit(only(worker(1)));
    let nested = c.submit_from(worker(1), |_| {});
    let pinned = c.submit_from(worker(1), only(worker(1)));
    c.get(worker(1), &[nested, pinned], Some(a));
    let outside = c.submit(only(worker(2)));
    let request = c.get(worker(2), &[pinned], Some(outside));
    assert_eq!(c.reply(request), None, "it waits: there is no deadlock");
}

#[test]
fn bound_call_runs_while_its_asynchronous_parent_is_suspended() {
    let mut c = Cluster::new(2);
    let parent = c.submit(only(worker(1)));
    let child = c.submit_from(worker(1), only(worker(1)));
    c.get(worker(1), &[child], None);
    c.handle(Event::Suspended { process: worker(1), task: call_of(parent) });
    if let Some(Sent::RetractTasks(calls)) = c.sent.iter().rev().map(|(_, message)| message.clone()).next() {
        c.handle(Event::Retracted { process: worker(1), tasks: calls });
    }
    let (at, run) = c.last_run();
    assert_eq!((at, run.id, run.nested), (worker(1), call_of(child), false));
    c.handle(Event::Resumed { process: worker(1), task: call_of(child) });
    c.done(worker(1), child);
    c.handle(Event::Resumed { process: worker(1), task: call_of(parent) });
    c.done(worker(1), parent);
}
