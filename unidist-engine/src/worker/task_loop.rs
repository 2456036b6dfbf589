//! The task thread: runs calls one after the other, and serves the link while it waits.

use super::engine_link::EngineLink;
use super::stack::Stack;
use crate::protocol::worker::{FromWorker, Request, Run};
use crate::store::client::ObjectStore;
use rustc_hash::FxHashSet;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use unidist_backend::{Call, CallKind, CallResult, OnStart, Program, Progress, TaskRunner, within_call};
use unidist_common::{DataId, TaskError, TaskId};
use unidist_sync::IdleWait;

thread_local! {
    /// The loop of the task thread.
    static TASK_LOOP: OnceCell<Rc<TaskLoop>> = const { OnceCell::new() };
}

/// The state of the task thread. User code reenters it by calls that wait.
pub(super) struct TaskLoop {
    link: Arc<EngineLink>,
    store: ObjectStore,
    runner: Box<dyn TaskRunner>,
    /// Whether the runner can resume a call.
    woken: Arc<AtomicBool>,
    /// Whether a turn of the runner is on the stack.
    in_turn: Cell<bool>,
    stack: Stack,
    /// The tasks that wait for a waker, as the engine knows them from the messages sent so far.
    suspended: RefCell<FxHashSet<TaskId>>,
}

/// Whether this is the task thread.
pub(super) fn is_task_thread() -> bool {
    TASK_LOOP.with(|task_loop| task_loop.get().is_some())
}

/// Whether the stack of this thread has room for another call on top of the one that asks.
pub(super) fn can_nest() -> bool {
    TASK_LOOP.with(|task_loop| task_loop.get().is_none_or(|task_loop| task_loop.stack.has_room()))
}

/// What runs on top of a waiting call.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnTop<'a> {
    /// Calls that the engine sends for that, calls that produce one of these objects, and suspended tasks that were woken.
    Awaited(&'a [DataId]),
    /// The same, on top of a wait that the engine does not know of, such as one for memory: it is told of each start.
    Unforeseen(&'a [DataId]),
    /// Only what the engine has sent to run on top of a call below: the stack has no room for more.
    Nothing,
}

/// On the task thread: serves until `done` or the deadline, and returns true. On another thread: returns false at once.
pub(super) fn serve_until(deadline: Option<Instant>, on_top: OnTop<'_>, done: impl Fn() -> bool) -> bool {
    let task_loop = TASK_LOOP.with(|task_loop| task_loop.get().cloned());
    let Some(task_loop) = task_loop else { return false };
    let was_in_user_code = task_loop.link.leave_user_code();
    task_loop.serve(deadline, on_top, done);
    if was_in_user_code {
        task_loop.link.enter_user_code();
    }
    true
}

impl TaskLoop {
    /// Makes this thread the task thread and serves until the session ends.
    pub(super) fn run(link: Arc<EngineLink>, store: ObjectStore, program: Program) {
        let woken = Arc::new(AtomicBool::new(false));
        let notify = {
            let (link, woken) = (link.clone(), woken.clone());
            Arc::new(move || {
                woken.store(true, Ordering::Release);
                link.bell().ring_driver();
            })
        };
        let runner = (program.runner)(notify);
        let (in_turn, suspended) = (Cell::default(), RefCell::default());
        let stack = Stack::of_this_thread();
        let task_loop = Rc::new(TaskLoop { link, store, runner, woken, in_turn, stack, suspended });
        TASK_LOOP.with(|slot| drop(slot.set(task_loop.clone())));
        task_loop.work();
    }

    fn work(&self) {
        let mut idle = IdleWait::default();
        while !self.may_end() {
            let progressed = self.link.pump() | self.resume();
            if self.link.cancelled.any() && self.runner.pending() == 0 {
                self.link.cancelled.clear();
            }
            if let Some(run) = self.link.tasks.next(|_| true) {
                self.execute(run, false);
                idle.reset();
            } else if progressed {
                idle.reset();
            } else {
                let found = || self.link.tasks.has(|_| true) || self.may_end();
                self.wait(&mut idle, None, || self.has_work() || found());
            }
        }
    }

    /// Whether the session ends and no task of this worker is left. The calls of an actor end with it.
    fn may_end(&self) -> bool {
        self.link.is_stopping() && !self.has_suspended()
    }

    /// Serves until `done`, and lets other calls run on top of the waiting one.
    fn serve(&self, deadline: Option<Instant>, on_top: OnTop<'_>, done: impl Fn() -> bool) {
        let mut idle = IdleWait::default();
        if self.in_turn.get() {
            // The turn below on the stack may have more calls to poll, and the caller may wait for one of them.
            self.woken.store(true, Ordering::Release);
        }
        let (awaited, has_room): (&[DataId], bool) = match on_top {
            OnTop::Nothing => (&[], false),
            // An actor's own calls never produce what one of them waits for: the engine detects such a cycle.
            OnTop::Awaited(_) | OnTop::Unforeseen(_) if self.link.is_actor => (&[], true),
            OnTop::Awaited(ids) | OnTop::Unforeseen(ids) => (ids, true),
        };
        let is_unforeseen = matches!(on_top, OnTop::Unforeseen(_));
        let awaited: FxHashSet<DataId> = awaited.iter().copied().collect();
        let may_start = |run: &Run| produces_any(run, &awaited);
        loop {
            let progressed = self.link.pump() | if has_room { self.resume() } else { self.drop_cancelled() };
            if deadline.is_some_and(|at| at <= Instant::now()) {
                return;
            }
            let is_done = done();
            // What was sent to run on top of the waiting call starts before that goes on: the engine relies on it.
            if let Some(run) = self.link.tasks.next(|run| !is_done && may_start(run)) {
                self.execute(run, is_unforeseen);
                idle.reset();
            } else if is_done {
                return;
            } else if progressed {
                idle.reset();
            } else {
                let found = || self.link.tasks.has(may_start);
                self.wait(&mut idle, deadline, || done() || self.has_input(has_room) || found());
            }
        }
    }

    fn has_work(&self) -> bool {
        self.has_input(true)
    }

    /// Whether there is something to read, or to poll.
    fn has_input(&self, polls: bool) -> bool {
        polls && self.woken.load(Ordering::Acquire)
            || self.link.has_input()
            || self.link.cancelled.has_pending()
    }

    /// One round of a wait for the engine, or for a waker of the runner.
    fn wait(&self, idle: &mut IdleWait, deadline: Option<Instant>, has_work: impl FnOnce() -> bool) {
        idle.wait(self.link.bell(), self.link.spin_limit(), deadline, has_work);
    }

    /// Runs a call, until it ends or, if it is asynchronous, has to wait. The start is reported if the engine does not foresee
    /// it: on top of a wait that it does not know of, or while tasks of this worker are suspended.
    fn execute(&self, run: Run, is_unforeseen: bool) {
        if !self.link.is_actor && (is_unforeseen || self.has_suspended()) {
            self.link.post_now(&FromWorker::Resumed(run.id));
        }
        // The engine has to know of each call that has ended before another one starts: if this process dies, calls
        // that had not started may run elsewhere.
        let mut idle = IdleWait::default();
        while self.link.has_unsent() {
            if !self.link.pump() {
                self.wait(&mut idle, None, || self.has_work() || !self.link.has_unsent());
            }
        }
        let (id, kind) = (run.id, run.kind);
        if let Some(why) = self.link.cancelled.reason(id) {
            return self.finish(id, Err((*why).clone()));
        }
        if let CallKind::NewActor { .. } = kind {
            self.link.set_actor(id);
        }
        let started = match self.prepare(run) {
            Ok(call) => {
                self.link.enter_user_code();
                let started = within_call(id, || self.runner.start(call));
                self.link.end_if_forked(started.as_ref().and_then(|result| result.as_ref().err()));
                self.link.leave_user_code();
                started
            }
            Err(error) => Some(Err(error)),
        };
        match started {
            Some(result) => self.finish(id, result),
            None => self.suspended(id),
        }
    }

    fn prepare(&self, run: Run) -> Result<Call, TaskError> {
        let objects = run.objects.iter().map(|(id, object)| Ok((*id, self.store.load(*id, object)?)));
        Ok(Call {
            id: run.id,
            function: run.function,
            body: run.body,
            kind: run.kind,
            objects: objects.collect::<Result<_, TaskError>>()?,
            args: run.args,
            returns: run.returns,
            on_start: self.on_start(run.timed && self.link.is_actor, run.id),
        })
    }

    /// Only an actor's process knows when a call with a time-out starts.
    fn on_start(&self, is_told: bool, id: TaskId) -> OnStart {
        if !is_told {
            return OnStart::default();
        }
        let link = self.link.clone();
        OnStart::new(move || link.send_now(&FromWorker::Started(id)))
    }

    /// Polls asynchronous calls that were woken, and drops those that were cancelled.
    fn resume(&self) -> bool {
        let mut progressed = false;
        if self.woken.swap(false, Ordering::AcqRel) {
            let is_outermost = !self.in_turn.replace(true);
            self.link.enter_user_code();
            progressed = self.runner.turn(&mut |progress| self.on_progress(progress));
            self.link.end_if_forked(None);
            self.link.leave_user_code();
            self.in_turn.set(!is_outermost);
        }
        progressed | self.drop_cancelled()
    }

    fn on_progress(&self, progress: Progress) {
        self.link.end_if_forked(progress.error());
        match progress {
            Progress::Resumed(call) => self.resumed(call),
            Progress::Suspended(call) => self.suspended(call),
            Progress::Ended(call, result) => {
                // At once: the next call of this turn may block until this one has its result.
                self.link.leave_user_code();
                self.finish(call, result);
                self.link.enter_user_code();
            }
        }
    }

    /// The code of a task runs next, again.
    fn resumed(&self, call: TaskId) {
        if !self.link.is_actor && self.suspended.borrow_mut().remove(&call) {
            self.link.post_now(&FromWorker::Resumed(call));
        }
    }

    /// A task waits for a waker.
    fn suspended(&self, call: TaskId) {
        if !self.link.is_actor && self.suspended.borrow_mut().insert(call) {
            self.link.report_suspended(call);
        }
    }

    fn has_suspended(&self) -> bool {
        !self.suspended.borrow().is_empty()
    }

    /// Drops waiting asynchronous calls that were cancelled; others get the error from their next request.
    fn drop_cancelled(&self) -> bool {
        let mut dropped = false;
        if !self.link.cancelled.any() {
            return dropped;
        }
        for call in self.link.cancelled.take_new() {
            let was_suspended = self.suspended.borrow().contains(&call);
            self.resumed(call);
            let mut ended = Vec::new();
            self.link.enter_user_code();
            dropped |= self.runner.cancel(call, &mut ended);
            self.link.end_if_forked(None);
            self.link.leave_user_code();
            if was_suspended && !ended.iter().any(|(other, _)| *other == call) {
                self.suspended(call);
            }
            ended.into_iter().for_each(|(call, result)| self.finish(call, result));
        }
        dropped
    }

    fn finish(&self, id: TaskId, result: CallResult) {
        self.link.cancelled.forget(id);
        // Storing a large result may wait for space and run other calls, after which the runner drops what it borrowed.
        let objects = result.iter().flatten();
        let borrowed: Vec<_> = objects.flat_map(|object| object.borrowed.iter().copied()).collect();
        borrowed.iter().for_each(|id| self.link.post_now(&FromWorker::Request(Request::Retain(*id))));
        let stored = result.and_then(|objects| self.store.store_all(objects).map_err(TaskError::from));
        self.link.report_done(id, stored);
        borrowed.into_iter().for_each(|id| self.link.post_now(&FromWorker::Request(Request::Release(id))));
    }
}

fn produces_any(run: &Run, awaited: &FxHashSet<DataId>) -> bool {
    (0..run.returns.max(1)).any(|n| awaited.contains(&run.id.first_return().nth(n)))
}
