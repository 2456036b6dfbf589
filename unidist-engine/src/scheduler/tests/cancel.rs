//! Calls that end early, limits of time, and actors that are started again.

use super::*;
use unidist_backend::Which;
use unidist_common::{Returns, Target, TaskOptions};

fn with(make: impl FnOnce(&mut TaskOptions)) -> Arc<TaskOptions> {
    let mut options = TaskOptions::default();
    make(&mut options);
    Arc::new(options)
}

fn limited() -> Arc<TaskOptions> {
    with(|options| options.timeout = Some(Duration::from_secs(5)))
}

impl Cluster {
    fn cancel(&mut self, id: DataId) -> u64 {
        self.cancel_from(ME, id)
    }

    fn cancel_from(&mut self, process: ProcessId, id: DataId) -> u64 {
        let request =
            self.ask(process, |request| Request::Cancel { request, ids: vec![id], which: Which::All });
        match self.reply(request) {
            Some(Reply::Count(count)) => *count,
            other => panic!("{other:?}"),
        }
    }

    /// The one timer that is armed is over.
    fn expire(&mut self) {
        assert_eq!(self.armed.len(), 1, "{:?}", self.armed);
        let (timer, _) = self.armed.remove(0);
        self.handle(Event::Expired(timer));
    }

    fn was_told(&self, process: ProcessId, call: DataId) -> bool {
        self.sent
            .iter()
            .any(|(to, message)| matches!(message, Sent::Cancel(id) if *to == process && *id == call))
    }

    fn lose(&mut self, process: ProcessId, unseen: &[DataId]) {
        self.handle(Event::Lost {
            process,
            cause: "signal: 9 (SIGKILL)".into(),
            undelivered: unseen.to_vec(),
        });
    }

    /// What nobody refers to any more is gone, and nothing is taken.
    fn end(mut self, held: &[DataId]) {
        held.iter().for_each(|id| self.release(*id));
        assert_eq!(self.scheduler.describe_leftovers(), None);
        assert!(self.armed.is_empty(), "{:?}", self.armed);
    }

    /// An actor that may be started again, with its process.
    fn phoenix(&mut self, times: u32) -> (DataId, ProcessId) {
        let id = self.submit(|spec| {
            spec.target = Target::NewActor;
            spec.options = with(|options| options.max_restarts = Some(times));
        });
        let process = self.join_all()[0];
        self.done(process, id);
        (id, process)
    }
}

#[test]
fn a_call_that_waits_is_dropped_and_its_dependents_fail() {
    let mut c = Cluster::new(1);
    let first = c.task();
    let (waiting, ready) =
        (c.task_on(first), c.submit(|spec| spec.options = with(|o| o.num_cpus = Some(0.5))));
    let dependent = c.task_on(waiting);
    assert_eq!((c.cancel(waiting), c.cancel(ready), c.cancel(waiting)), (1, 1, 0));
    assert_eq!((c.error(waiting).kind, c.error(ready).kind), (ErrorKind::Cancelled, ErrorKind::Cancelled));
    let error = c.error(dependent);
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::DependencyFailed, ErrorKind::Cancelled));
    c.done(c.where_is(first), first);
    assert_eq!((c.runs().len(), c.cancel(first)), (1, 0));
    c.end(&[first, waiting, ready, dependent]);
}

#[test]
fn a_running_call_keeps_its_slot_until_it_is_gone() {
    let mut c = Cluster::new(1);
    let (task, behind) = (c.task(), c.task());
    let w = c.where_is(task);
    assert_eq!(c.cancel(task), 1);
    assert_eq!(c.error(task).kind, ErrorKind::Cancelled);
    assert!(c.was_told(w, task));
    assert!(c.sent.contains(&(w, Sent::RetractTasks(vec![behind]))), "nothing waits behind it");
    c.handle(Event::Retracted { process: w, tasks: vec![behind] });
    assert_eq!(c.free_cpus(), 0.0);
    c.done(w, task);
    assert_eq!((c.runs().last().copied(), c.free_cpus()), (Some((w, behind)), 0.0));
    c.done(w, behind);
    assert!(c.killed.is_empty());
    c.end(&[task, behind]);
}

#[test]
fn what_a_cancelled_call_returns_is_freed_and_its_arguments_stay_until_then() {
    let mut c = Cluster::new(1);
    let argument = DataId::new(ME, 5);
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: argument, object: shared(4096), views: 0 },
    });
    let task = c.task_on(argument);
    c.release(argument);
    c.cancel(task);
    assert!(c.freed.is_empty(), "the call may be reading it");
    c.handle(Event::Done { process: c.where_is(task), task, result: Ok(vec![shared(8192)]) });
    assert_eq!(c.freed.len(), 2);
    c.end(&[task]);
}

#[test]
fn a_worker_that_a_call_does_not_leave_is_killed_and_others_are_lost_with_it() {
    let mut c = Cluster::new(1);
    let (w, parent, child) = c.parent_and_child();
    assert_eq!(c.where_is(child), w);
    c.cancel(child);
    c.expire();
    assert_eq!(c.killed, [w]);
    c.lose(w, &[]);
    let error = c.error(parent);
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::WorkerDied, ErrorKind::Cancelled));
    assert_eq!(c.join_all().len(), 1, "it is replaced");
    c.end(&[parent]);
}

#[test]
fn a_loss_beside_a_cancelled_call_is_not_one_of_three() {
    let mut c = Cluster::new(1);
    let parent = c.submit(|spec| spec.options = with(|options| options.max_retries = Some(9)));
    for _ in 0..5 {
        let w = c.where_is(parent);
        let child = c.submit_from(w, |_| {});
        c.get(w, &[child], Some(parent));
        c.cancel_from(w, child);
        c.expire();
        c.lose(w, &[]);
        c.join_all();
    }
    let w = c.where_is(parent);
    c.done(w, parent);
    c.end(&[parent]);
}

#[test]
fn who_has_others_on_top_has_time_until_they_are_done() {
    let mut c = Cluster::new(1);
    let (w, parent, child) = c.parent_and_child();
    c.cancel(parent);
    c.expire();
    assert!(c.killed.is_empty() && c.armed.len() == 1);
    c.done(w, child);
    c.expire();
    assert_eq!(c.killed, [w]);
    c.lose(w, &[]);
    c.join_all();
    c.end(&[parent]);
}

#[test]
fn what_was_to_run_on_top_and_has_not_started_runs_elsewhere() {
    let mut c = Cluster::new(2);
    let parent = c.task();
    let w = c.where_is(parent);
    let blocker = c.submit(|spec| spec.options = with(|options| options.num_cpus = Some(1.5)));
    let child = c.submit_from(w, |_| {});
    let request = c.get(w, &[child], Some(parent));
    assert_eq!(c.where_is(child), w);
    c.cancel(parent);
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
    assert!(c.sent.contains(&(w, Sent::RetractTasks(vec![child]))));
    c.handle(Event::Retracted { process: w, tasks: vec![child] }); // the parent went on first
    assert_ne!(c.where_is(child), w);
    c.expire();
    assert_eq!(c.killed, [w]);
    let _ = blocker;
}

#[test]
fn what_its_worker_may_have_started_comes_back_before_a_wait_is_cut_short() {
    let mut c = Cluster::new(2);
    let (parent, other) = (c.task(), c.task());
    let w = c.where_is(parent);
    let children: Vec<_> = (0..6).map(|_| c.submit_from(w, |_| {})).collect();
    let own: Vec<_> = children.iter().copied().filter(|child| c.where_is(*child) == w).collect();
    assert!(own.len() > 1);
    let request = c.get(w, &own, Some(parent));
    c.cancel(parent);
    assert_eq!(c.reply(request), None, "the second may run by now");
    let recalled = c.sent.iter().rev().find_map(|(to, message)| match message {
        Sent::RetractTasks(tasks) if *to == w => Some(tasks.clone()),
        _ => None,
    });
    assert_eq!(recalled.as_deref(), Some(&own[..]));
    c.handle(Event::Done { process: w, task: own[0], result: Ok(vec![object(vec![])]) });
    assert_eq!(c.reply(request), None);
    c.handle(Event::Retracted { process: w, tasks: own[2..].to_vec() });
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
    let stack: Vec<_> = c.scheduler.state.workers[&w].stack.iter().map(|frame| frame.task).collect();
    assert_eq!(stack, [parent, own[1]], "the one that had started");
    c.lose(w, &[]);
    assert_eq!(c.runs().iter().filter(|(_, id)| *id == own[1]).count(), 1, "it does not start twice");
    let _ = other;
}

#[test]
fn a_call_that_was_sent_ahead_leaves_no_trace() {
    let mut c = Cluster::new(1);
    let (task, ahead, next) = (c.task(), c.task(), c.task());
    let w = c.where_is(ahead);
    c.cancel(ahead);
    assert!(c.was_told(w, ahead));
    c.done(w, task); // the worker has not heard of it and starts it
    c.fail(w, ahead);
    c.done(w, next);
    assert_eq!(c.free_cpus(), 1.0);
    c.end(&[task, ahead, next]);
}

#[test]
fn a_call_of_an_actor_is_told_and_the_actor_stays() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let (call, next) = (c.call(actor), c.call(actor));
    let process = c.where_is(call);
    let request = c.get(process, &[next], None);
    c.cancel(call);
    assert!(c.was_told(process, call) && c.armed.is_empty() && c.killed.is_empty());
    c.fail(process, call);
    c.done(process, next);
    assert!(c.reply(request).is_some());
    c.release(actor);
    c.lose(process, &[]);
    c.end(&[call, next]);
}

#[test]
fn an_actor_itself_is_not_cancelled() {
    let mut c = Cluster::new(1);
    let actor = c.submit(|spec| spec.target = Target::NewActor);
    assert_eq!(c.cancel(actor), 0);
}

#[test]
fn time_counts_from_the_start() {
    let mut c = Cluster::new(1);
    let (first, second) = (c.task(), c.submit(|spec| spec.options = limited()));
    let w = c.where_is(second);
    assert!(c.armed.is_empty(), "it waits behind the first");
    c.done(w, first);
    assert_eq!(c.armed[0].1, Duration::from_secs(5));
    c.expire();
    let error = c.error(second);
    assert_eq!((error.kind, error.message.contains("5s")), (ErrorKind::TimedOut, true), "{error}");
    assert!(c.was_told(w, second));
    assert_eq!(c.armed[0].1, limits(1).cancel_grace);
    c.fail(w, second);
    c.end(&[first, second]);
}

#[test]
fn a_call_in_time_is_not_asked_about() {
    let mut c = Cluster::new(1);
    let task = c.submit(|spec| spec.options = limited());
    let (timer, _) = c.armed[0];
    c.done(c.where_is(task), task);
    assert!(c.armed.is_empty());
    c.handle(Event::Expired(timer)); // it was on its way
    c.end(&[task]);
}

#[test]
fn out_of_time_is_not_run_again_but_lost_is_and_has_all_its_time() {
    let mut c = Cluster::new(1);
    let task = c.submit(|spec| {
        spec.options = with(|options| {
            options.timeout = Some(Duration::from_secs(5));
            options.max_retries = Some(2);
        });
    });
    let (first, _) = c.armed[0];
    c.lose(c.where_is(task), &[]);
    assert!(c.armed.is_empty());
    c.join_all();
    c.handle(Event::Expired(first));
    assert_eq!(c.runs().len(), 2);
    c.expire();
    assert_eq!(c.error(task).kind, ErrorKind::TimedOut);
    c.fail(c.where_is(task), task);
    assert_eq!(c.runs().len(), 2);
    c.end(&[task]);
}

#[test]
fn a_method_has_time_once_its_process_says_that_it_started() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let call = c.submit(|spec| {
        spec.target = Target::Actor(actor);
        spec.options = limited();
    });
    let process = c.where_is(call);
    assert!(c.last_run().1.timed && c.armed.is_empty());
    c.handle(Event::Started { process: ProcessId::new(77).unwrap(), task: call });
    assert!(c.armed.is_empty(), "another process cannot say so");
    c.handle(Event::Started { process, task: call });
    c.expire();
    assert_eq!(c.error(call).kind, ErrorKind::TimedOut);
    assert!(c.killed.is_empty() && c.armed.is_empty());
}

#[test]
fn a_constructor_out_of_time_is_killed() {
    let mut c = Cluster::new(1);
    let actor = c.submit(|spec| {
        spec.target = Target::NewActor;
        spec.options = with(|options| {
            options.timeout = Some(Duration::from_secs(5));
            options.max_restarts = Some(3);
        });
    });
    let call = c.call(actor);
    let process = c.join_all()[0];
    c.expire();
    assert_eq!(c.killed, [process]);
    assert_eq!(c.error(call).root_cause().kind, ErrorKind::TimedOut);
    c.lose(process, &[]);
    assert!(c.started.is_empty());
    c.end(&[actor, call]);
}

#[test]
fn an_actor_starts_again_with_what_it_had_not_seen_in_order() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.phoenix(1);
    let slow = c.task();
    let (seen, unseen) = (c.call(actor), c.call(actor));
    let waiting = c.submit(|spec| {
        spec.target = Target::Actor(actor);
        spec.dependencies.push(slow);
    });
    c.lose(process, &[unseen]);
    let error = c.error(seen);
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::ActorDied, ErrorKind::WorkerDied));
    let next = c.join_all()[0];
    assert_eq!(c.last_run().1.id, actor, "its constructor");
    c.done(next, actor);
    assert_eq!(c.where_is(unseen), next);
    c.done(c.where_is(slow), slow);
    let order: Vec<_> = c.runs().into_iter().filter(|(to, _)| *to == next).map(|(_, id)| id).collect();
    assert_eq!(order, [actor, unseen, waiting]);
    c.lose(next, &[]);
    let error = c.error(waiting);
    assert!(error.message.contains("once"), "{error}");
    c.end(&[actor, slow, seen, unseen, waiting]);
}

#[test]
fn retried_calls_go_before_later_ones() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.phoenix(2);
    let mut call = |retries| {
        c.submit(|spec| {
            spec.target = Target::Actor(actor);
            spec.options = with(|options| options.max_retries = Some(retries));
        })
    };
    let calls = [call(1), call(0), call(1), call(1)];
    c.lose(process, &[calls[3]]);
    assert_eq!(c.error(calls[1]).kind, ErrorKind::ActorDied);
    let later = c.call(actor);
    let next = c.join_all()[0];
    c.done(next, actor);
    let order: Vec<_> = c.runs().into_iter().filter(|(to, _)| *to == next).map(|(_, id)| id).collect();
    assert_eq!(order, [actor, calls[0], calls[2], calls[3], later]);
}

#[test]
fn the_arguments_of_a_constructor_are_kept_while_it_may_run_again() {
    let mut c = Cluster::new(1);
    let argument = DataId::new(ME, 5);
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: argument, object: object(vec![]), views: 0 },
    });
    let actor = c.submit(|spec| {
        spec.target = Target::NewActor;
        spec.dependencies.push(argument);
        spec.options = with(|options| options.max_restarts = Some(1));
    });
    c.release(argument);
    let process = c.join_all()[0];
    c.done(process, actor);
    assert_eq!(c.live(), 2);
    c.lose(process, &[]);
    let next = c.join_all()[0];
    assert_eq!(c.last_run().1.objects.len(), 1);
    c.done(next, actor);
    assert_eq!(c.live(), 1);
    c.release(actor);
    c.lose(next, &[]);
    c.end(&[]);
}

#[test]
fn a_constructor_that_fails_is_not_run_again_but_one_that_crashes_is() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.phoenix(3);
    let call = c.call(actor);
    c.lose(process, &[call]);
    let second = c.join_all()[0];
    c.lose(second, &[]);
    let third = c.join_all()[0];
    c.fail(third, actor);
    assert_eq!(c.error(call).root_cause().kind, ErrorKind::Failed);
    c.lose(third, &[]);
    assert!(c.started.is_empty());
    c.end(&[actor, call]);
}

#[test]
fn an_actor_that_nobody_refers_to_is_not_started_again() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.phoenix(3);
    c.release(actor);
    c.lose(process, &[]);
    assert!(c.started.is_empty());
    c.end(&[]);
}

#[test]
fn a_result_that_comes_after_the_end_of_the_session_frees_its_slot() {
    let mut c = Cluster::new(1);
    let (task, ahead) = (c.task(), c.task());
    let w = c.where_is(task);
    c.handle(Event::Shutdown);
    c.done(w, task);
    c.done(w, ahead); // it had started it before it heard
    assert_eq!((c.free_cpus(), c.scheduler.state.workers[&w].stack.len()), (1.0, 0));
}

#[test]
fn several_results_count_as_one_call() {
    let mut c = Cluster::new(1);
    let first = DataId::new(ME, 900);
    c.submit(|spec| spec.returns = Returns { first, count: 3 });
    let request = c.ask(ME, |request| Request::Cancel {
        request,
        ids: vec![first.nth(2), first, first.nth(1)],
        which: Which::All,
    });
    assert_eq!(c.reply(request), Some(&Reply::Count(1)));
    assert_eq!(c.error(first.nth(1)).kind, ErrorKind::Cancelled);
}
