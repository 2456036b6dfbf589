//! Status of calls and workers, draining, and cancellation of queued calls.

use super::*;
use unidist_backend::{CallStatus, Which};

fn workers_of(reply: Option<&Reply>) -> Vec<u32> {
    match reply {
        Some(Reply::Workers(workers)) => workers.iter().map(|worker| worker.id.number()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn worker_query_waits_for_workers() {
    let mut c = Cluster::new(2);
    let now = c.ask(ME, |request| Request::Workers { request, at_least: 0 });
    assert_eq!(workers_of(c.reply(now)), [1, 2]);
    c.handle(Event::Lost { process: worker(1), cause: "it was killed".into(), undelivered: vec![] });
    let now = c.ask(ME, |request| Request::Workers { request, at_least: 1 });
    assert_eq!(workers_of(c.reply(now)), [2]);
    let both = c.ask(ME, |request| Request::Workers { request, at_least: 2 });
    let hurried = c.ask(ME, |request| Request::Workers { request, at_least: 2 });
    assert_eq!((c.reply(both), c.reply(hurried)), (None, None));
    c.handle(Event::Request { process: ME, request: Request::Expire { request: hurried } });
    assert_eq!(workers_of(c.reply(hurried)), [2]);
    c.join_all();
    assert_eq!(workers_of(c.reply(both)), [2, 3]);
    let never = c.ask(ME, |request| Request::Workers { request, at_least: 9 });
    assert_eq!(workers_of(c.reply(never)), [2, 3], "no more are on their way");
}

#[test]
fn worker_query_waits_for_replacements() {
    let mut c = Cluster::new(1);
    let hangs = c.task();
    c.ask(ME, |request| Request::Cancel { request, ids: vec![hangs], which: Which::All });
    let (grace, _) = c.armed.pop().expect("it has some time");
    c.handle(Event::Expired(grace));
    assert_eq!(c.killed, [worker(1)]);
    let one = c.ask(ME, |request| Request::Workers { request, at_least: 1 });
    assert_eq!(c.reply(one), None);
    c.handle(Event::Lost { process: worker(1), cause: "it was killed".into(), undelivered: vec![] });
    assert_eq!(c.reply(one), None);
    c.join_all();
    assert_eq!(workers_of(c.reply(one)), [2]);
}

#[test]
fn ended_worker_takes_its_slot_along() {
    let mut c = Cluster::new(2);
    let running = c.submit(|_| {});
    let at = c.where_is(running);
    let two = c.submit(|spec| {
        spec.options = Arc::new(TaskOptions { num_cpus: Some(2.0), ..Default::default() });
    });
    let end = c.ask(ME, |request| Request::EndWorker { request, worker: at });
    assert_eq!(c.reply(end), Some(&Reply::Count(1)));
    let is_stopped =
        |c: &Cluster| c.sent.iter().any(|(process, message)| (process, message) == (&at, &Sent::Stop));
    assert!(!is_stopped(&c), "it may finish");
    c.done(at, running);
    assert!(is_stopped(&c));
    c.handle(Event::Lost { process: at, cause: "it ended".into(), undelivered: vec![] });
    assert_eq!((c.started.len(), c.free_cpus()), (0, 1.0));
    assert_eq!(c.error(two).kind, ErrorKind::Unsatisfiable, "the host has fewer slots now");
    let again = c.ask(ME, |request| Request::EndWorker { request, worker: at });
    assert_eq!(c.reply(again), Some(&Reply::Count(0)));
    let last = c.ask(ME, |request| Request::EndWorker {
        request,
        worker: worker(if at == worker(1) { 2 } else { 1 }),
    });
    assert!(matches!(c.reply(last), Some(Reply::Failed(error)) if error.to_string().contains("last worker")));
}

#[test]
fn draining_worker_gives_back_prefetched_calls() {
    let mut c = Cluster::new(2);
    let [first, second] = [c.task(), c.task()];
    let (at, other) = (c.where_is(first), c.where_is(second));
    let behind: Vec<_> = (0..4).map(|_| c.task()).collect();
    let prefetched: Vec<_> = behind.iter().copied().filter(|call| c.where_is(*call) == at).collect();
    assert!(!prefetched.is_empty());
    let end = c.ask(ME, |request| Request::EndWorker { request, worker: at });
    assert_eq!(c.reply(end), Some(&Reply::Count(1)));
    assert!(c.sent.contains(&(at, Sent::RetractTasks(calls_of(&prefetched)))));
    // The other worker continues with its own slot while this one is busy.
    c.done(other, second);
    c.handle(Event::Retracted { process: at, tasks: calls_of(&prefetched) });
    c.done(at, first);
    assert!(c.sent.contains(&(at, Sent::Stop)));
    c.handle(Event::Lost { process: at, cause: "it ended".into(), undelivered: vec![] });
    for call in &behind {
        assert_eq!(c.where_is(*call), other);
        c.done(other, *call);
    }
    assert_eq!((c.started.len(), c.free_cpus()), (0, 1.0));
}

#[test]
fn call_status_follows_the_call() {
    let mut c = Cluster::new(1);
    let (running, prefetched) = (c.task(), c.task());
    let needs = c.task_on(prefetched);
    let ids = [running, prefetched, needs];
    let request = c.ask(ME, |request| Request::Status { request, ids: ids.to_vec() });
    let (waiting, one) = (CallStatus::Waiting, worker(1));
    let expected = Reply::Status(vec![CallStatus::Running(one), waiting, waiting]);
    assert_eq!(c.reply(request), Some(&expected));
    ids.iter().for_each(|call| c.done(one, *call));
    let request = c.ask(ME, |request| Request::Status { request, ids: ids.to_vec() });
    assert_eq!(c.reply(request), Some(&Reply::Status(vec![CallStatus::Ended; 3])));
}

#[test]
fn cancel_queued_spares_running_calls() {
    let mut c = Cluster::new(1);
    let one = worker(1);
    let [running, first, second] = [c.task(), c.task(), c.task()];
    let waiting = c.task_on(running);
    let all = vec![running, first, second, waiting];
    let request = c.ask(ME, |request| Request::Cancel { request, ids: all, which: Which::Unstarted });
    assert_eq!(c.error(waiting).kind, ErrorKind::Cancelled);
    assert_eq!(c.reply(request), None, "the worker is asked first");
    // The worker had started the first of them.
    c.done(one, running);
    c.handle(Event::Retracted { process: one, tasks: vec![call_of(second)] });
    assert_eq!(c.reply(request), Some(&Reply::Count(2)));
    assert_eq!(c.error(second).kind, ErrorKind::Cancelled);
    c.done(one, first);
    let request = c.get(ME, &[running, first], None);
    assert!(
        matches!(c.reply(request), Some(Reply::Values(values)) if values.iter().all(|v| matches!(v, Value::Ready(_))))
    );
}

#[test]
fn cancel_queued_completes_when_the_worker_dies() {
    let mut c = Cluster::new(1);
    let (_running, prefetched) = (c.task(), c.task());
    let request =
        c.ask(ME, |request| Request::Cancel { request, ids: vec![prefetched], which: Which::Unstarted });
    assert_eq!(c.reply(request), None);
    c.handle(Event::Lost { process: worker(1), cause: "it was killed".into(), undelivered: vec![] });
    assert_eq!(c.reply(request), Some(&Reply::Count(1)));
    assert_eq!(c.error(prefetched).kind, ErrorKind::Cancelled);
}
