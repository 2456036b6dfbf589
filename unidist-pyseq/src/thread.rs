//! The sequential thread: it owns the runner and runs all calls.

use crate::shared::{Shared, WaitOutcome};
use crate::state::{Frame, Goal, Phase, Step};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use unidist_backend::{
    CallResult, OnStart, Owner, Program, Progress, TaskRunner, current_call, end_forked_child,
};
use unidist_common::{Error, ErrorKind, Result, TaskError, TaskId, TaskSpec};

/// Address space, not memory. Nested remote calls recurse on the stack of this one thread.
const STACK: usize = 256 << 20;
/// The stack left for the code of a call; a call that would start with less is refused.
const RESERVE: usize = 32 << 20;

/// The sequential thread of a session, as code that runs on it finds it.
pub(crate) struct SequentialThread {
    owner: Owner,
    shared: Arc<Shared>,
    runner: Box<dyn TaskRunner>,
    /// The address at which its stack begins.
    base: usize,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<SequentialThread>>> = const { RefCell::new(None) };
}

/// Starts the sequential thread. It ends when the session is closing and nothing is ready.
pub(crate) fn spawn(shared: Arc<Shared>, program: Program) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("unidist-pyseq".to_owned())
        .stack_size(STACK)
        .spawn(move || main(shared, program))
        .map_err(|error| Error::system("cannot start the thread of a sequential session", error))
}

fn main(shared: Arc<Shared>, program: Program) {
    // However this thread ends, blocked threads must learn that the session has ended.
    let _end = End(shared.clone());
    let notified = Arc::downgrade(&shared);
    let notify = move || {
        if let Some(shared) = notified.upgrade() {
            shared.change(|state| {
                state.woken = true;
                Default::default()
            });
        }
    };
    let local = 0_u8;
    let sequential = Rc::new(SequentialThread {
        owner: Owner::this_process(),
        shared,
        runner: (program.runner)(Arc::new(notify)),
        base: std::ptr::from_ref(&local).addr(),
    });
    CURRENT.set(Some(sequential.clone()));
    let _ = sequential.drive(None, None);
    sequential.shared.change(|state| state.fail_unfinished());
    let actors = sequential.shared.lock().remaining_actors();
    for actor in actors {
        sequential.runner.drop_actor(actor);
    }
    CURRENT.set(None);
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|state| state.end());
    }
}

impl SequentialThread {
    /// This thread, if it is the sequential thread of this session.
    pub(crate) fn of(shared: &Arc<Shared>) -> Option<Rc<SequentialThread>> {
        // Gone while the thread's last values are dropped.
        let sequential = CURRENT.try_with(|sequential| sequential.try_borrow().ok()?.clone()).ok()??;
        Arc::ptr_eq(&sequential.shared, shared).then_some(sequential)
    }

    /// Runs a call that was just submitted, if it can start now.
    pub(crate) fn run_now(&self, id: TaskId) {
        let spec = self.shared.lock().take_if_ready(id);
        if let Some(spec) = spec {
            self.run(spec);
        }
    }

    /// Runs steps until `goal` is met, or, without a goal, until the session is closing.
    ///
    /// # Errors
    ///
    /// The goal can never be met.
    pub(crate) fn drive(
        &self,
        goal: Option<Goal<'_>>,
        until: Option<Instant>,
    ) -> Result<WaitOutcome, TaskError> {
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        let call = if goal.is_some() { current_call() } else { None };
        let mut steps = 0_u64;
        let mut state = self.shared.lock();
        loop {
            let effects = state.end_overdue();
            if let Some(effects) = effects {
                drop(state);
                self.shared.notify();
                effects.run();
                state = self.shared.lock();
            }
            if let Some(why) = call.and_then(|call| state.why_cancelled(call)) {
                return Err(why);
            }
            if goal.is_some_and(|goal| state.is_met(goal)) {
                return Ok(WaitOutcome::Met);
            }
            // A caller that polls with a time-out of zero must still drive the session: at least one step each time.
            if steps > 0 && is_late() {
                return Ok(WaitOutcome::TimedOut);
            }
            steps += 1;
            if let Some(step) = state.next(goal) {
                if matches!(step, Step::Turn) {
                    state.stack.push(Frame::Turn);
                }
                drop(state);
                self.take(step);
                state = self.shared.lock();
                continue;
            }
            if state.phase >= Phase::Closing {
                return Ok(WaitOutcome::SessionEnded);
            }
            if let (Some(goal), None) = (goal, until)
                && let Some(error) = state.is_hopeless(goal, |call| self.runner.awaits_actor_state(call))
            {
                return Err(error);
            }
            if is_late() {
                return Ok(WaitOutcome::TimedOut);
            }
            if goal.is_some() {
                state.asleep = true;
                self.shared.notify();
            }
            let next = until.into_iter().chain(state.next_deadline()).min();
            state = self.shared.sleep(state, next);
            state.asleep = false;
        }
    }

    fn take(&self, step: Step) {
        match step {
            Step::Run(spec) => self.run(spec),
            Step::Turn => {
                let mut report = |progress: Progress| {
                    self.end_if_forked(progress.error());
                    match progress {
                        // If this call blocks, a turn further up the stack polls those that follow it in this one.
                        Progress::Resumed(_) => self.shared.lock().woken = true,
                        Progress::Suspended(_) => {}
                        Progress::Ended(call, result) => {
                            self.shared.change(|state| state.settle_all(vec![(call, result)]));
                        }
                    }
                };
                let is_progress = self.runner.turn(&mut report);
                self.end_if_forked(None);
                if is_progress {
                    self.shared.lock().woken = true; // another turn may be needed
                }
                self.shared.change(|state| {
                    state.turned();
                    state.recheck_drops();
                    Default::default()
                });
            }
            Step::Drop(calls) => {
                for call in calls {
                    let mut ended = Vec::new();
                    if self.runner.cancel(call, &mut ended) {
                        self.shared.change(|state| state.settle_all(ended));
                    }
                }
            }
            Step::DropActor(actor) => {
                self.runner.drop_actor(actor);
                self.shared.change(|state| {
                    state.actor_dropped();
                    Default::default()
                });
            }
        }
    }

    fn run(&self, spec: TaskSpec) {
        let id = spec.id();
        if self.is_deep() {
            let message = "remote calls are nested too deeply for `pyseq`, which runs them on one stack: use \
                           `pymp`, or nest fewer calls";
            let error = TaskError::new(ErrorKind::Failed, message);
            return self.shared.change(|state| state.not_started(id, error));
        }
        let limit = spec.options.timeout;
        let begun = self.shared.lock().begin(spec);
        match begun {
            Ok(mut call) => {
                if let Some(limit) = limit {
                    let shared = self.shared.clone();
                    call.on_start = OnStart::new(move || shared.lock().started(id, limit));
                }
                let result =
                    catch_unwind(AssertUnwindSafe(|| self.runner.start(call))).unwrap_or_else(panicked);
                self.end_if_forked(result.as_ref().and_then(|result| result.as_ref().err()));
                self.shared.change(|state| state.returned(id, result));
            }
            Err(error) => self.shared.change(|state| state.not_started(id, error)),
        }
    }

    /// User code has returned: a forked child of the call ends here, since the rest belongs to its parent.
    fn end_if_forked(&self, error: Option<&TaskError>) {
        if self.owner.is_forked() {
            end_forked_child(error.map(|error| error as _));
        }
    }

    fn is_deep(&self) -> bool {
        let local = 0_u8;
        self.base.abs_diff(std::ptr::from_ref(&local).addr()) > STACK - RESERVE
    }
}

/// The error of a call in which the runner itself panicked.
fn panicked(cause: Box<dyn std::any::Any + Send>) -> Option<CallResult> {
    let text = cause.downcast_ref::<&str>().copied();
    let text = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
    Some(Err(TaskError::new(ErrorKind::Panicked, text.unwrap_or("no message"))))
}
