//! Ready calls at the limit of processes.

use super::*;

fn with_processes(max_pool: usize) -> Cluster {
    let mut limits = limits(1);
    limits.hosts[0].max_pool = max_pool;
    Cluster::with(limits)
}

/// A task that waits for a method of an actor, with its worker, the actor's process and the method.
fn task_waiting_for_an_actor(c: &mut Cluster) -> (DataId, ProcessId, ProcessId, DataId) {
    let actor = c.actor();
    let parent = c.task();
    let w = c.where_is(parent);
    let method = c.submit_from(w, |spec| spec.target = Target::Actor(actor_of(actor)));
    c.get(w, &[method], Some(parent));
    (parent, w, c.where_is(method), method)
}

fn deadlock_text(reply: Option<&Reply>) -> String {
    match reply {
        Some(Reply::Failed(error)) => error.to_string(),
        reply => panic!("no error: {reply:?}"),
    }
}

#[test]
fn call_runs_on_top_of_a_task_that_does_not_wait_for_it() {
    let mut c = with_processes(1);
    let (parent, w, actor, method) = task_waiting_for_an_actor(&mut c);
    let child = c.submit_from(actor, |_| {});
    let request = c.get(actor, &[child], Some(method));
    assert_eq!(c.where_is(child), w);
    assert_eq!(c.free_cpus(), 0.0);
    c.done(w, child);
    assert!(matches!(c.reply(request), Some(Reply::Values(_))));
    c.done(actor, method);
    assert_eq!(c.free_cpus(), 0.0, "the parent goes on");
    c.done(w, parent);
}

#[test]
fn below_the_limit_it_gets_a_process() {
    let mut c = with_processes(2);
    let (_, w, actor, _) = task_waiting_for_an_actor(&mut c);
    let child = c.submit_from(actor, |_| {});
    let other = c.join_all()[0];
    assert_ne!(other, w);
    assert_eq!(c.where_is(child), other);
}

#[test]
fn newest_call_runs_first_at_the_limit() {
    let mut c = with_processes(1);
    let (parent, w, actor, method) = task_waiting_for_an_actor(&mut c);
    let child = c.submit_from(actor, |_| {}); // on top of the parent
    let (earlier, later) = (c.task(), c.task());
    c.handle(Event::Retracted { process: w, tasks: calls_of(&[earlier, later]) });
    c.done(w, child);
    assert_eq!(c.where_is(later), w);
    assert!(!c.runs().iter().any(|(_, id)| *id == earlier) || c.where_is(earlier) == w);
    c.done(w, later);
    c.done(w, earlier);
    c.done(actor, method);
    c.done(w, parent);
    assert_eq!(c.free_cpus(), 1.0);
}

#[test]
fn stacks_grow_evenly() {
    let mut c = with_processes(2);
    let actor = c.actor();
    let call_actor = |c: &mut Cluster, caller: DataId| {
        let w = c.where_is(caller);
        let method = c.submit_from(w, |spec| spec.target = Target::Actor(actor_of(actor)));
        c.get(w, &[method], Some(caller));
    };
    let first = c.task();
    call_actor(&mut c, first);
    let second = c.task();
    c.join_all();
    call_actor(&mut c, second);
    let third = c.task();
    call_actor(&mut c, third);
    let fourth = c.task();
    assert_ne!(c.where_is(first), c.where_is(second));
    assert_eq!(c.where_is(third), c.where_is(first));
    assert_eq!(c.where_is(fourth), c.where_is(second));
}

#[test]
fn processes_that_have_no_room_are_a_deadlock() {
    let mut c = with_processes(1);
    let actor = c.actor();
    let parent = c.task();
    let w = c.where_is(parent);
    let method = c.submit_from(w, |spec| spec.target = Target::Actor(actor_of(actor)));
    let blocks = Blocks::Call { call: call_of(parent), can_nest: false };
    let ids = vec![method];
    let request = c.ask(w, |request| Request::Get { request, ids, blocks });
    let actor = c.where_is(method);
    let child = c.submit_from(actor, |_| {});
    let inner = c.get(actor, &[child], Some(method));
    let text = deadlock_text(c.reply(inner).or_else(|| c.reply(request)));
    assert!(text.contains("one of the 1 processes") && text.contains("UNIDIST_MAX_PROCESSES"), "{text}");
}

#[test]
fn call_that_waits_for_one_below_it_is_a_deadlock() {
    let mut c = with_processes(1);
    let (parent, w, actor, _) = task_waiting_for_an_actor(&mut c);
    let child = c.submit_from(actor, |_| {});
    assert_eq!(c.where_is(child), w);
    let request = c.get(w, &[parent], Some(child));
    let text = deadlock_text(c.reply(request));
    assert!(text.contains("UNIDIST_MAX_PROCESSES"), "{text}");
    c.done(w, child);
}
