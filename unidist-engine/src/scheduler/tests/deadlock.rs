//! Deadlocks are found and reported.

use super::*;
use unidist_backend::Which;

fn needs_gpu(spec: &mut TaskSpec) {
    spec.options = Arc::new(TaskOptions { resources: vec![("gpu".into(), 1.0)], ..Default::default() });
}

#[test]
fn deadlock_of_two_tasks_is_reported() {
    let mut c = Cluster::new(2);
    let (a, b) = (c.task(), c.task());
    let (on_a, on_b) = (c.where_is(a), c.where_is(b));
    let first = c.get(on_a, &[b], Some(a));
    assert_eq!(c.reply(first), None);
    let after_b = c.task_on(b);
    let second = c.get(on_b, &[a, after_b], Some(b));
    match c.reply(second) {
        Some(Reply::Failed(error)) => assert!(error.to_string().contains("waits for"), "{error}"),
        other => panic!("{other:?}"),
    }
    c.fail(on_b, b);
    assert!(c.reply(first).is_some(), "with one of them ended, the other proceeds");
}

#[test]
fn deadlock_of_a_task_with_itself_is_reported() {
    let mut c = Cluster::new(1);
    let task = c.task();
    let behind = c.task_on(task);
    let w = c.where_is(task);
    let request = c.get(w, &[behind], Some(task));
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
}

#[test]
fn deadlock_of_an_actor_with_its_next_call_is_reported() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let (running, next) = (c.call(actor), c.call(actor));
    let w = c.where_is(running);
    let request = c.get(w, &[next], Some(running));
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
}

#[test]
fn deadlock_over_a_resource_is_reported() {
    let mut c = Cluster::new(2);
    let holder = c.submit(needs_gpu);
    let first = c.task();
    let starved = c.submit(|spec| {
        needs_gpu(spec);
        spec.dependencies = vec![first];
    });
    let w = c.where_is(holder);
    let request = c.get(w, &[starved], Some(holder));
    assert_eq!(c.reply(request), None, "what it waits for waits for what runs");
    c.done(c.where_is(first), first);
    match c.reply(request) {
        Some(Reply::Failed(error)) => assert!(error.to_string().contains("`gpu`"), "{error}"),
        other => panic!("{other:?}"),
    }
    c.done(w, holder);
    assert_eq!(c.last_run().1.id, call_of(starved));
}

#[test]
fn deadlock_over_an_unlimited_wait_is_reported() {
    let mut c = Cluster::new(1);
    let (task, other) = (c.task(), c.task());
    let behind = [c.task_on(task), c.task_on(task)];
    let w = c.where_is(task);
    let mut wait = |ids: &[DataId], count, timed| {
        let blocks = blocks_call(Some(task));
        c.ask(w, |request| Request::Wait { request, ids: ids.to_vec(), count, timed, blocks })
    };
    let limited = wait(&behind, 1, true);
    let one_may_end = wait(&[behind[0], other, behind[1]], 1, false);
    let none_can_end = wait(&behind, 1, false);
    assert_eq!((c.reply(limited), c.reply(one_may_end)), (None, None));
    assert!(matches!(c.reply(none_can_end), Some(Reply::Failed(_))));
}

#[test]
fn deadlock_over_a_canceled_holder_is_reported() {
    let mut c = Cluster::new(1);
    let holder = c.submit(needs_gpu);
    let w = c.where_is(holder);
    let on_top = c.submit_from(w, |_| {});
    c.get(w, &[on_top], Some(holder));
    assert_eq!(c.last_run().1.id, call_of(on_top));
    c.ask(ME, |request| Request::Cancel { request, ids: vec![holder], which: Which::All });
    let starved = c.submit_from(w, needs_gpu);
    let request = c.get(w, &[starved], Some(on_top));
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))), "{:?}", c.reply(request));
}

#[test]
fn deadlock_of_a_call_with_many_that_depend_on_it_is_reported() {
    let mut c = Cluster::new(1);
    let task = c.task();
    let w = c.where_is(task);
    let behind: Vec<_> = (0..20_000).map(|_| c.task_on(task)).collect();
    let request = c.get(w, &behind, Some(task));
    c.search_for_deadlocks();
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))), "{:?}", c.reply(request));
}

#[test]
fn deadlock_over_a_long_chain_is_reported_in_a_short_text() {
    let mut c = Cluster::new(1);
    let task = c.task();
    let w = c.where_is(task);
    let last = (0..50_000).fold(task, |before, _| c.task_on(before));
    let request = c.get(w, &[last], Some(task));
    c.search_for_deadlocks();
    match c.reply(request) {
        Some(Reply::Failed(error)) => assert!(error.to_string().len() < 1000, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn deadlock_over_a_wait_for_one_of_many_is_reported() {
    let mut c = Cluster::new(1);
    let task = c.task();
    let w = c.where_is(task);
    let behind: Vec<_> = (0..20_000).map(|_| c.task_on(task)).collect();
    let blocks = blocks_call(Some(task));
    let request = c.ask(w, |request| Request::Wait { request, ids: behind, count: 1, timed: false, blocks });
    c.search_for_deadlocks();
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))), "{:?}", c.reply(request));
}

#[test]
fn deadlock_of_two_calls_with_many_each_is_reported_to_the_later() {
    let mut c = Cluster::new(2);
    let (a, b) = (c.task(), c.task());
    let (on_a, on_b) = (c.where_is(a), c.where_is(b));
    let behind_b: Vec<_> = (0..15_000).map(|_| c.task_on(b)).collect();
    let behind_a: Vec<_> = (0..15_000).map(|_| c.task_on(a)).collect();
    let first = c.get(on_a, &behind_b, Some(a));
    c.search_for_deadlocks();
    assert_eq!(c.reply(first), None);
    let second = c.get(on_b, &behind_a, Some(b));
    c.search_for_deadlocks();
    assert!(matches!(c.reply(second), Some(Reply::Failed(_))), "{:?}", c.reply(second));
    assert_eq!(c.reply(first), None, "it may go on when the other ends");
}

#[test]
fn deadlock_over_a_resource_and_many_calls_is_reported() {
    let mut c = Cluster::new(2);
    let holder = c.submit(needs_gpu);
    let w = c.where_is(holder);
    let first = c.task();
    let starved = c.submit(|spec| {
        needs_gpu(spec);
        spec.dependencies = vec![first];
    });
    let behind: Vec<_> = (0..20_000).map(|_| c.task_on(starved)).collect();
    let request = c.get(w, &behind, Some(holder));
    c.search_for_deadlocks();
    assert_eq!(c.reply(request), None, "what it waits for waits for what runs");
    c.done(c.where_is(first), first);
    c.search_for_deadlocks();
    match c.reply(request) {
        Some(Reply::Failed(error)) => assert!(error.to_string().contains("`gpu`"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_calls_that_may_end_are_no_deadlock() {
    let mut c = Cluster::new(2);
    let (task, other) = (c.task(), c.task());
    let w = c.where_is(task);
    let behind: Vec<_> = (0..20_000).map(|_| c.task_on(other)).collect();
    let request = c.get(w, &behind, Some(task));
    c.search_for_deadlocks();
    assert_eq!(c.reply(request), None);
}

#[test]
fn search_for_deadlocks_is_bounded_in_each_turn() {
    const BLOCKED: usize = 300;
    let mut c = Cluster::with(limits_of_hosts(1, BLOCKED + 1));
    let first = c.task();
    let last = (0..20_000).fold(first, |before, _| c.task_on(before));
    let blocked: Vec<_> = (0..BLOCKED).map(|_| c.task()).collect();
    let before = c.scheduler.state.deadlocks.work;
    for task in &blocked {
        let w = c.where_is(*task);
        c.get(w, &[last], Some(*task));
    }
    let per_event = (c.scheduler.state.deadlocks.work - before) / BLOCKED;
    assert!(per_event <= 1000, "{per_event} nodes and edges for each call that blocks");
    c.search_for_deadlocks();
    let all = c.scheduler.state.deadlocks.work - before;
    assert!(all <= 500_000, "{all} nodes and edges for {BLOCKED} calls that wait for one of 20,000");
    c.fail(c.where_is(first), first);
    assert!(c.replies.iter().all(|(.., reply)| matches!(reply, Reply::Values(_))));
}

#[test]
fn calls_that_go_on_during_a_search_are_no_deadlock() {
    let mut c = Cluster::new(2);
    c.scheduler.set_search_budget(1);
    let (a, b) = (c.task(), c.task());
    let (on_a, on_b) = (c.where_is(a), c.where_is(b));
    let (behind_a, behind_b) = (c.task_on(a), c.task_on(b));
    let one = c.submit_from(on_a, |spec| spec.dependencies = vec![behind_b]);
    let blocks = blocks_call(Some(a));
    let first =
        c.ask(on_a, |request| Request::Wait { request, ids: vec![one], count: 1, timed: false, blocks });
    // The search has looked at the first request when that is answered, and then the other call blocks.
    for _ in 0..3 {
        let mut actions = Vec::new();
        c.scheduler.search_into(&mut actions);
        c.carry_out(actions);
    }
    c.handle(Event::Request { process: on_a, request: Request::Expire { request: first } });
    let other = c.submit_from(on_b, |spec| spec.dependencies = vec![behind_a]);
    let second = c.get(on_b, &[other], Some(b));
    c.search_for_deadlocks();
    assert_eq!(c.reply(second), None, "the first call runs");
    c.done(on_a, a);
    let runs = c.last_run().1.id;
    assert_eq!(runs, call_of(behind_a));
}
