//! Watches: a client learns of each object once.

use super::*;

const WATCH: RequestId = RequestId(1_000_000);

fn watch(c: &mut Cluster, process: ProcessId, ids: &[DataId]) {
    c.handle(Event::Request { process, request: Request::Watch { watch: WATCH, ids: ids.to_vec() } });
}

fn next(c: &mut Cluster, process: ProcessId, blocks: Option<DataId>) -> RequestId {
    let blocks = blocks_call(blocks);
    c.ask(process, |request| Request::Next { request, watch: WATCH, timed: false, blocks })
}

fn settled(c: &Cluster, request: RequestId) -> Option<Vec<DataId>> {
    c.reply(request).map(|reply| match reply {
        Reply::Settled(ids) => ids.clone(),
        reply => panic!("{reply:?}"),
    })
}

#[test]
fn each_object_is_told_once_when_it_has_a_value() {
    let mut c = Cluster::new(2);
    let (a, b) = (c.task(), c.task());
    watch(&mut c, ME, &[a, b]);
    let first = next(&mut c, ME, None);
    assert_eq!(settled(&c, first), None);
    c.done(c.where_is(b), b);
    assert_eq!(settled(&c, first), Some(vec![b]));
    c.done(c.where_is(a), a);
    let ready = c.task();
    c.done(c.where_is(ready), ready);
    watch(&mut c, ME, &[ready]);
    let second = next(&mut c, ME, None);
    assert_eq!(settled(&c, second), Some(vec![a, ready]));
    let none = next(&mut c, ME, None);
    assert_eq!(settled(&c, none), Some(vec![]), "there is nothing to wait for");
}

#[test]
fn time_limit_ends_a_wait_and_not_the_watch() {
    let mut c = Cluster::new(1);
    let a = c.task();
    watch(&mut c, ME, &[a]);
    let blocks = Blocks::Nothing;
    let request = c.ask(ME, |request| Request::Next { request, watch: WATCH, timed: true, blocks });
    c.handle(Event::Request { process: ME, request: Request::Expire { request } });
    assert_eq!(settled(&c, request), Some(vec![]));
    c.done(c.where_is(a), a);
    let later = next(&mut c, ME, None);
    assert_eq!(settled(&c, later), Some(vec![a]));
}

#[test]
fn watch_that_ends_leaves_nothing() {
    let mut c = Cluster::new(1);
    let (a, b) = (c.task(), c.task());
    watch(&mut c, ME, &[a, b]);
    let open = next(&mut c, ME, None);
    c.handle(Event::Request { process: ME, request: Request::Unwatch { watch: WATCH } });
    assert_eq!(settled(&c, open), Some(vec![]), "a thread that waits goes on");
    assert!(c.scheduler.state.watches.is_empty() && c.scheduler.state.objects.waiter_count(a) <= 1);
    let w = c.where_is(a);
    let child = c.submit_from(w, |_| {});
    watch(&mut c, w, &[child]);
    c.handle(Event::Lost { process: w, cause: "it was killed".into(), undelivered: Vec::new() });
    assert!(c.scheduler.state.watches.is_empty(), "it ends with its process");
}

#[test]
fn task_that_waits_through_a_watch_runs_what_it_watches() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let children: Vec<_> = (0..100).map(|_| c.submit_from(w, |_| {})).collect();
    watch(&mut c, w, &children);
    let request = next(&mut c, w, Some(parent));
    c.handle(Event::Retracted { process: w, tasks: calls_of(&children[..32]) });
    let (process, child) = *c.runs().last().unwrap();
    assert_eq!(process, w, "on top of the parent");
    c.done(w, child);
    assert_eq!(settled(&c, request), Some(vec![child]));
}

#[test]
fn circle_through_a_watch_is_a_deadlock() {
    let mut c = Cluster::new(1);
    let task = c.task();
    let w = c.where_is(task);
    let behind: Vec<_> = (0..40).map(|_| c.task_on(task)).collect();
    watch(&mut c, w, &behind);
    let request = next(&mut c, w, Some(task));
    c.search_for_deadlocks();
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
}

#[test]
fn watch_with_one_object_that_may_get_a_value_is_no_deadlock() {
    let mut c = Cluster::new(2);
    let (task, other) = (c.task(), c.task());
    let w = c.where_is(task);
    let mut watched: Vec<_> = (0..40).map(|_| c.task_on(task)).collect();
    watched.insert(3, other);
    watch(&mut c, w, &watched);
    let request = next(&mut c, w, Some(task));
    c.search_for_deadlocks();
    assert_eq!(settled(&c, request), None);
    c.done(c.where_is(other), other);
    assert_eq!(settled(&c, request), Some(vec![other]));
}

/// How many nodes and edges searches for deadlocks look at for each object that a task learns of.
fn search_work_for_each(objects: usize) -> f64 {
    let mut c = Cluster::new(2);
    let (parent, other) = (c.task(), c.task());
    let w = c.where_is(parent);
    let watched: Vec<_> = (0..objects).map(|_| c.task_on(other)).collect();
    watch(&mut c, w, &watched);
    next(&mut c, w, Some(parent));
    c.done(c.where_is(other), other);
    let before = c.scheduler.state.deadlocks.work;
    let mut at = 0;
    let mut told = 0;
    while let Some((process, sent)) = c.sent.get(at).cloned() {
        at += 1;
        match &sent {
            Sent::Run(run) if watched.contains(&run.id.first_return()) => {
                c.done(process, run.id.first_return());
                told += 1;
                if told < objects {
                    next(&mut c, w, Some(parent));
                }
            }
            Sent::RetractTasks(_) => c.handle(Event::Retracted { process, tasks: Vec::new() }),
            _ => {}
        }
    }
    assert_eq!(told, objects);
    (c.scheduler.state.deadlocks.work - before) as f64 / objects as f64
}

#[test]
fn cost_of_an_object_does_not_grow_with_the_number_of_objects() {
    let (few, many) = (search_work_for_each(100), search_work_for_each(1_600));
    assert!(
        many <= 1.5 * few.max(1.0),
        "{many} nodes and edges for each of 1,600 objects, {few} for each of 100"
    );
}
