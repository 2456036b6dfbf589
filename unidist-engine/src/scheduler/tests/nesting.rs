//! Tasks on top of waiting ones, and what bounds them.

use super::*;

fn get_without_room(c: &mut Cluster, process: ProcessId, ids: &[DataId], call: DataId) -> RequestId {
    let blocks = Blocks::Call { call: call_of(call), can_nest: false };
    c.ask(process, |request| Request::Get { request, ids: ids.to_vec(), blocks })
}

#[test]
fn child_of_a_task_without_room_runs_in_another_process() {
    let mut c = Cluster::new(1);
    let parent = c.task();
    let w = c.where_is(parent);
    let child = c.submit_from(w, |_| {});
    let request = get_without_room(&mut c, w, &[child], parent);
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(child)] });
    let other = c.join_all()[0];
    assert_eq!(c.where_is(child), other);
    c.done(other, child);
    assert!(matches!(c.reply(request), Some(Reply::Values(_))));
    c.done(w, parent);
}

#[test]
fn suspended_task_below_a_full_stack_needs_the_call_there() {
    let mut c = Cluster::new(1);
    let suspended = c.submit(|spec| spec.asynchronous = true);
    let w = c.where_is(suspended);
    c.handle(Event::Suspended { process: w, task: call_of(suspended) });
    let other = c.submit(|spec| spec.asynchronous = true);
    assert_eq!(c.where_is(other), w);
    c.handle(Event::Resumed { process: w, task: call_of(other) });
    let request = get_without_room(&mut c, w, &[suspended], other);
    match c.reply(request) {
        Some(Reply::Failed(error)) => assert!(error.to_string().contains("waits for"), "{error}"),
        reply => panic!("{reply:?}"),
    }
}

/// How many objects the scheduler looks at for each of the children that two tasks wait for.
fn looks_for_each_child(children: usize) -> f64 {
    let mut c = Cluster::new(2);
    let parents = [c.task(), c.task()];
    let requests = parents.map(|parent| {
        let w = c.where_is(parent);
        let ids: Vec<_> = (0..children).map(|_| c.submit_from(w, |_| {})).collect();
        c.get(w, &ids, Some(parent))
    });
    let mut at = parents.len();
    while let Some((process, sent)) = c.sent.get(at).cloned() {
        at += 1;
        match &sent {
            Sent::Run(run) => c.done(process, run.id.first_return()),
            // All that were sent before have run.
            Sent::RetractTasks(_) => c.handle(Event::Retracted { process, tasks: Vec::new() }),
            _ => {}
        }
    }
    assert!(requests.iter().all(|request| c.reply(*request).is_some()));
    c.scheduler.state.looked_at.get() as f64 / (2 * children) as f64
}

#[test]
fn cost_of_a_child_does_not_grow_with_the_number_of_children() {
    let (few, many) = (looks_for_each_child(250), looks_for_each_child(4_000));
    assert!(
        many <= 1.5 * few.max(1.0) && many <= 8.0,
        "{many} objects for each of 4,000 children, {few} for each of 250"
    );
}
