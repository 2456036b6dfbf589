//! Threads that tasks have started wait for replies.

use super::*;
use unidist_backend::Which;

fn get_on_thread(c: &mut Cluster, process: ProcessId, ids: &[DataId]) -> RequestId {
    c.ask(process, |request| Request::Get { request, ids: ids.to_vec(), blocks: Blocks::Thread })
}

/// A running task and two that its threads wait for, which are given back by its worker.
fn task_with_two_threads() -> (Cluster, DataId, [DataId; 2], [RequestId; 2]) {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let children = [(); 2].map(|()| c.submit_from(w, |_| {}));
    let requests = children.map(|child| get_on_thread(&mut c, w, &[child]));
    c.handle(Event::Retracted { process: w, tasks: calls_of(&children) });
    (c, parent, children, requests)
}

#[test]
fn task_whose_threads_wait_lends_its_slot() {
    let (mut c, parent, children, requests) = task_with_two_threads();
    let w = c.where_is(parent);
    let other = c.join_all()[0];
    assert_ne!(other, w);
    for child in children {
        assert_eq!(c.where_is(child), other);
        c.done(other, child);
    }
    assert!(requests.iter().all(|request| matches!(c.reply(*request), Some(Reply::Values(_)))));
    assert_eq!(c.free_cpus(), 0.0);
    c.done(w, parent);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn slot_is_lent_until_the_last_thread_goes_on() {
    let (mut c, parent, children, _) = task_with_two_threads();
    let other = c.join_all()[0];
    c.done(other, children[0]);
    assert_eq!(c.free_cpus(), 0.0, "the other child runs");
    c.done(other, children[1]);
    assert_eq!(c.free_cpus(), 0.0, "the parent runs");
    c.done(c.where_is(parent), parent);
}

#[test]
fn task_that_ends_before_its_threads_leaves_no_slot_in_use() {
    let (mut c, parent, children, _) = task_with_two_threads();
    c.done(c.where_is(parent), parent);
    for child in children {
        c.done(c.where_is(child), child);
    }
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn task_may_wait_itself_while_its_threads_do() {
    let (mut c, parent, children, _) = task_with_two_threads();
    let w = c.where_is(parent);
    let own = c.submit_from(w, |_| {});
    c.get(w, &[own], Some(parent));
    assert_eq!(c.where_is(own), w, "it runs on top of the parent");
    c.done(w, own);
    let other = c.join_all()[0];
    for child in children {
        assert_eq!(c.where_is(child), other);
        c.done(other, child);
    }
    assert_eq!(c.free_cpus(), 0.0);
    c.done(w, parent);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn threads_of_a_canceled_task_get_its_error() {
    let (mut c, parent, children, requests) = task_with_two_threads();
    c.ask(ME, |request| Request::Cancel { request, ids: vec![parent], which: Which::All });
    let w = c.where_is(parent);
    let later = get_on_thread(&mut c, w, &children);
    for request in requests.into_iter().chain([later]) {
        assert!(matches!(c.reply(request), Some(Reply::Failed(_))), "{:?}", c.reply(request));
    }
}

#[test]
fn deadlock_of_a_task_with_its_thread_is_reported() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let after = c.task_on(parent);
    let w = c.where_is(parent);
    let request = get_on_thread(&mut c, w, &[after]);
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))), "{:?}", c.reply(request));
}

#[test]
fn thread_of_a_task_below_is_not_taken_for_that_of_the_one_on_top() {
    let mut c = Cluster::new(1);
    let (w, parent, child) = c.parent_and_child();
    let after = c.task_on(child);
    let request = get_on_thread(&mut c, w, &[after]);
    assert_eq!(c.reply(request), None, "the child ends by itself");
    c.done(w, child);
    let other = c.join_all()[0];
    assert_eq!(c.where_is(after), other, "the parent may wait for its thread");
    c.done(other, after);
    assert!(matches!(c.reply(request), Some(Reply::Values(_))));
    c.done(w, parent);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn call_bound_to_the_worker_of_a_task_whose_thread_waits_for_it_is_a_deadlock() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let actor = c.actor();
    let method = c.call(actor);
    let bound = c.submit(|spec| {
        spec.options = Arc::new(TaskOptions { worker: Some(w), ..Default::default() });
        spec.dependencies = vec![method];
    });
    let request = get_on_thread(&mut c, w, &[bound]);
    assert_eq!(c.reply(request), None);
    c.done(c.where_is(method), method);
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))), "{:?}", c.reply(request));
}

#[test]
fn threads_that_ask_while_another_task_runs_on_top_are_of_the_one_below() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let [own, of_thread] = [(); 2].map(|()| c.submit_from(w, |_| {}));
    c.handle(Event::Retracted { process: w, tasks: calls_of(&[own, of_thread]) });
    c.get(w, &[own], Some(parent));
    assert_eq!(c.where_is(own), w, "it runs on top of the parent");
    let request = get_on_thread(&mut c, w, &[of_thread]);
    c.handle(Event::Retracted { process: w, tasks: calls_of(&[of_thread]) });
    c.done(w, own);
    c.join_all();
    let other = c.where_is(of_thread);
    assert_ne!(other, w, "the parent may wait for its thread");
    c.done(other, of_thread);
    assert!(matches!(c.reply(request), Some(Reply::Values(_))));
    assert_eq!(c.free_cpus(), 0.0, "the parent goes on");
    c.done(w, parent);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn suspended_task_below_one_that_waits_for_it_on_a_thread_is_a_deadlock() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let child = c.submit_from(w, |spec| spec.asynchronous = true);
    let blocks = Blocks::Call { call: call_of(parent), can_nest: true };
    let wait = |request| Request::Wait { request, ids: vec![child], count: 1, timed: true, blocks };
    let waits = c.ask(w, wait);
    assert_eq!(c.where_is(child), w, "it runs on top of the parent");
    c.handle(Event::Suspended { process: w, task: call_of(child) });
    c.handle(Event::Request { process: w, request: Request::Expire { request: waits } });
    assert!(c.reply(waits).is_some(), "the parent goes on, and the child waits for its thread");
    let request = get_on_thread(&mut c, w, &[child]);
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
}
