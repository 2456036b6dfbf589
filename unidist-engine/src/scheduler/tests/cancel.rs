//! Cancellation, time limits and actor restarts.

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
    pub(super) fn cancel(&mut self, id: DataId) -> u64 {
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

    /// The only armed timer expires.
    fn expire(&mut self) {
        assert_eq!(self.armed.len(), 1, "{:?}", self.armed);
        let (timer, _) = self.armed.remove(0);
        self.handle(Event::Expired(timer));
    }

    fn was_told(&self, process: ProcessId, call: DataId) -> bool {
        self.sent.iter().any(
            |(to, message)| matches!(message, Sent::Cancel(id) if *to == process && *id == call_of(call)),
        )
    }

    pub(super) fn lose(&mut self, process: ProcessId, undelivered: &[DataId]) {
        self.handle(Event::Lost {
            process,
            cause: "signal: 9 (SIGKILL)".into(),
            undelivered: calls_of(undelivered),
        });
    }

    /// Checks that after the last release nothing is left.
    pub(super) fn end(mut self, held: &[DataId]) {
        held.iter().for_each(|id| self.release(*id));
        assert_eq!(self.scheduler.describe_leftovers(), None);
        assert!(self.armed.is_empty(), "{:?}", self.armed);
    }

    /// An actor that may be restarted, with its process.
    fn restartable_actor(&mut self, times: u32) -> (DataId, ProcessId) {
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
fn canceled_waiting_call_fails_its_dependents() {
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
fn canceled_running_call_keeps_its_slot_until_it_ends() {
    let mut c = Cluster::new(1);
    let (task, behind) = (c.task(), c.task());
    let w = c.where_is(task);
    assert_eq!(c.cancel(task), 1);
    assert_eq!(c.error(task).kind, ErrorKind::Cancelled);
    assert!(c.was_told(w, task));
    assert!(c.sent.contains(&(w, Sent::RetractTasks(vec![call_of(behind)]))), "nothing waits behind it");
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(behind)] });
    assert_eq!(c.free_cpus(), 0.0);
    c.done(w, task);
    assert_eq!((c.runs().last().copied(), c.free_cpus()), (Some((w, behind)), 0.0));
    c.done(w, behind);
    assert!(c.killed.is_empty());
    c.end(&[task, behind]);
}

#[test]
fn canceled_call_keeps_its_arguments_and_its_results_are_freed() {
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
    c.handle(Event::Done { process: c.where_is(task), task: call_of(task), result: Ok(vec![shared(8192)]) });
    assert_eq!(c.freed.len(), 2);
    c.end(&[task]);
}

#[test]
fn worker_is_killed_when_a_canceled_call_does_not_leave_it() {
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
fn collateral_loss_does_not_count_toward_the_limit() {
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
fn canceled_call_below_others_has_time_until_they_end() {
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
fn nested_task_that_has_not_started_runs_elsewhere() {
    let mut c = Cluster::new(2);
    let parent = c.task();
    let w = c.where_is(parent);
    let blocker = c.submit(|spec| spec.options = with(|options| options.num_cpus = Some(1.5)));
    let child = c.submit_from(w, |_| {});
    let request = c.get(w, &[child], Some(parent));
    assert_eq!(c.where_is(child), w);
    c.cancel(parent);
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
    assert!(c.sent.contains(&(w, Sent::RetractTasks(vec![call_of(child)]))));
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(child)] }); // the parent proceeded first
    assert_ne!(c.where_is(child), w);
    c.expire();
    assert_eq!(c.killed, [w]);
    let _ = blocker;
}

#[test]
fn prefetched_tasks_are_retracted_before_a_canceled_wait_ends() {
    let mut c = Cluster::new(2);
    let (parent, other) = (c.task(), c.task());
    let w = c.where_is(parent);
    let children: Vec<_> = (0..6).map(|_| c.submit_from(w, |_| {})).collect();
    let own: Vec<_> = children.iter().copied().filter(|child| c.where_is(*child) == w).collect();
    assert!(own.len() > 1);
    let request = c.get(w, &own, Some(parent));
    c.cancel(parent);
    assert_eq!(c.reply(request), None, "the second may run by now");
    let retracting = c.sent.iter().rev().find_map(|(to, message)| match message {
        Sent::RetractTasks(tasks) if *to == w => Some(tasks.clone()),
        _ => None,
    });
    assert_eq!(retracting, Some(calls_of(&own)));
    c.handle(Event::Done { process: w, task: call_of(own[0]), result: Ok(vec![object(vec![])]) });
    assert_eq!(c.reply(request), None);
    c.handle(Event::Retracted { process: w, tasks: calls_of(&own[2..]) });
    assert!(matches!(c.reply(request), Some(Reply::Failed(_))));
    let stack: Vec<_> = c.scheduler.state.workers[&w].stack.iter().map(|frame| frame.task).collect();
    assert_eq!(stack, calls_of(&[parent, own[1]]), "the one that had started");
    c.lose(w, &[]);
    assert_eq!(c.runs().iter().filter(|(_, id)| *id == own[1]).count(), 1, "it does not start twice");
    let _ = other;
}

#[test]
fn canceled_prefetched_call_leaves_no_trace() {
    let mut c = Cluster::new(1);
    let (task, prefetched, next) = (c.task(), c.task(), c.task());
    let w = c.where_is(prefetched);
    c.cancel(prefetched);
    assert!(c.was_told(w, prefetched));
    c.done(w, task); // the worker has not heard of it and starts it
    c.fail(w, prefetched);
    c.done(w, next);
    assert_eq!(c.free_cpus(), 1.0);
    c.end(&[task, prefetched, next]);
}

#[test]
fn worker_is_not_killed_for_a_canceled_prefetched_call() {
    let mut c = Cluster::new(1);
    let (running, prefetched) = (c.task(), c.task());
    let w = c.where_is(prefetched);
    assert_eq!(c.where_is(running), w);
    assert_eq!(c.cancel(prefetched), 1);
    c.expire(); // the link thread is late
    assert_eq!(c.killed, []);
    // The worker has started it before it could read that it is canceled.
    c.done(w, running);
    c.expire();
    assert_eq!(c.killed, [w]);
    c.lose(w, &[]);
    c.join_all();
    c.end(&[running, prefetched]);
}

#[test]
fn canceled_actor_call_leaves_the_actor_alive() {
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
fn actor_cannot_be_canceled() {
    let mut c = Cluster::new(1);
    let actor = c.submit(|spec| spec.target = Target::NewActor);
    assert_eq!(c.cancel(actor), 0);
}

#[test]
fn time_limit_counts_from_the_start() {
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
fn timer_is_disarmed_when_a_call_ends_in_time() {
    let mut c = Cluster::new(1);
    let task = c.submit(|spec| spec.options = limited());
    let (timer, _) = c.armed[0];
    c.done(c.where_is(task), task);
    assert!(c.armed.is_empty());
    c.handle(Event::Expired(timer)); // it had expired just before
    c.end(&[task]);
}

#[test]
fn timed_out_call_is_not_retried_but_a_lost_one_is() {
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
fn method_time_limit_counts_from_its_start_event() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let call = c.submit(|spec| {
        spec.target = Target::Actor(actor_of(actor));
        spec.options = limited();
    });
    let process = c.where_is(call);
    assert!(c.last_run().1.timed && c.armed.is_empty());
    c.handle(Event::Started { process: ProcessId::new(77).unwrap(), task: call_of(call) });
    assert!(c.armed.is_empty(), "another process cannot say so");
    c.handle(Event::Started { process, task: call_of(call) });
    c.expire();
    assert_eq!(c.error(call).kind, ErrorKind::TimedOut);
    assert!(c.killed.is_empty() && c.armed.is_empty());
}

#[test]
fn timed_out_constructor_is_killed() {
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
fn restarted_actor_runs_undelivered_calls_in_order() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.restartable_actor(1);
    let slow = c.task();
    let (seen, undelivered) = (c.call(actor), c.call(actor));
    let waiting = c.submit(|spec| {
        spec.target = Target::Actor(actor_of(actor));
        spec.dependencies.push(slow);
    });
    c.lose(process, &[undelivered]);
    let error = c.error(seen);
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::ActorDied, ErrorKind::WorkerDied));
    let next = c.join_all()[0];
    assert_eq!(c.last_run().1.id, call_of(actor), "its constructor");
    c.done(next, actor);
    assert_eq!(c.where_is(undelivered), next);
    c.done(c.where_is(slow), slow);
    let order: Vec<_> = c.runs().into_iter().filter(|(to, _)| *to == next).map(|(_, id)| id).collect();
    assert_eq!(order, [actor, undelivered, waiting]);
    c.lose(next, &[]);
    let error = c.error(waiting);
    assert!(error.message.contains("once"), "{error}");
    c.end(&[actor, slow, seen, undelivered, waiting]);
}

#[test]
fn retried_actor_calls_run_before_later_ones() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.restartable_actor(2);
    let mut call = |retries| {
        c.submit(|spec| {
            spec.target = Target::Actor(actor_of(actor));
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
fn constructor_arguments_are_kept_for_restarts() {
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
fn failed_constructor_is_not_retried_but_a_crashed_one_is() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.restartable_actor(3);
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
fn unreferenced_actor_is_not_restarted() {
    let mut c = Cluster::new(1);
    let (actor, process) = c.restartable_actor(3);
    c.release(actor);
    c.lose(process, &[]);
    assert!(c.started.is_empty());
    c.end(&[]);
}

#[test]
fn result_after_shutdown_releases_its_slot() {
    let mut c = Cluster::new(1);
    let (task, prefetched) = (c.task(), c.task());
    let w = c.where_is(task);
    c.handle(Event::Shutdown);
    c.done(w, task);
    c.done(w, prefetched); // the worker had started it before the shutdown arrived
    assert_eq!((c.free_cpus(), c.scheduler.state.workers[&w].stack.len()), (1.0, 0));
}

#[test]
fn call_with_several_results_is_canceled_once() {
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
