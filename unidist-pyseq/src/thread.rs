//! The sequential thread: it owns the runner and runs everything.

use crate::shared::{Shared, Waited};
use crate::state::{Frame, Goal, Phase, Step};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use unidist_backend::{CallResult, OnStart, Program, TaskRunner, current_call};
use unidist_common::{DataId, Error, ErrorKind, Result, TaskError, TaskSpec};

/// Address space, not memory: deep recursion of remote functions is the stack of one thread here.
const STACK: usize = 256 << 20;
/// What a call may use of the stack without fear. Calls that find less of it left are refused.
const RESERVE: usize = 32 << 20;

/// The place of the sequential thread of a session: found by code that runs on it.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    runner: Box<dyn TaskRunner>,
    /// Where its stack begins.
    base: usize,
}

thread_local! {
    static SEAT: RefCell<Option<Rc<Seat>>> = const { RefCell::new(None) };
}

/// Starts the sequential thread. It ends when the session is closing and nothing is ready.
pub(crate) fn spawn(shared: Arc<Shared>, program: Program) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("unidist-pyseq".to_owned())
        .stack_size(STACK)
        .spawn(move || main(shared, program))
        .map_err(|error| Error::system("the thread of a sequential session cannot be started", error))
}

fn main(shared: Arc<Shared>, program: Program) {
    // However this thread ends, nobody must wait for it in vain.
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
    let seat = Rc::new(Seat {
        shared,
        runner: (program.runner)(Arc::new(notify)),
        base: std::ptr::from_ref(&local).addr(),
    });
    SEAT.set(Some(seat.clone()));
    let _ = seat.drive(None, None);
    seat.shared.change(|state| state.fail_unfinished());
    let actors = seat.shared.lock().remaining_actors();
    for actor in actors {
        seat.runner.drop_actor(actor);
    }
    SEAT.set(None);
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|state| state.end());
    }
}

impl Seat {
    /// The seat of this thread, if it is the sequential one of this session.
    pub(crate) fn of(shared: &Arc<Shared>) -> Option<Rc<Seat>> {
        // Gone while the thread's last values are dropped.
        let seat = SEAT.try_with(|seat| seat.try_borrow().ok()?.clone()).ok()??;
        Arc::ptr_eq(&seat.shared, shared).then_some(seat)
    }

    /// Runs a call that was just made, if it can start now.
    pub(crate) fn run_now(&self, id: DataId) {
        let spec = self.shared.lock().take_if_ready(id);
        if let Some(spec) = spec {
            self.run(spec);
        }
    }

    /// Runs whatever there is to run until `goal` is met, or, without one, until the session is closing.
    ///
    /// # Errors
    ///
    /// The goal can never be met.
    pub(crate) fn drive(&self, goal: Option<Goal<'_>>, until: Option<Instant>) -> Result<Waited, TaskError> {
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        let call = if goal.is_some() { current_call() } else { None };
        let mut steps = 0_u64;
        let mut state = self.shared.lock();
        loop {
            let after = state.end_overdue();
            if let Some(after) = after {
                drop(state);
                self.shared.tell();
                after.run();
                state = self.shared.lock();
            }
            if let Some(why) = call.and_then(|call| state.why_cancelled(call)) {
                return Err(why);
            }
            if goal.is_some_and(|goal| state.is_met(goal)) {
                return Ok(Waited::Met);
            }
            // Whoever only looks, again and again, drives all the same: a step each time.
            if steps > 0 && is_late() {
                return Ok(Waited::TimedOut);
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
                return Ok(Waited::SessionEnded);
            }
            if let (Some(goal), None) = (goal, until)
                && let Some(error) = state.is_hopeless(goal, |call| self.runner.is_kept_out(call))
            {
                return Err(error);
            }
            if is_late() {
                return Ok(Waited::TimedOut);
            }
            if goal.is_some() {
                state.asleep = true;
                self.shared.tell();
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
                let mut ended = Vec::new();
                if self.runner.turn(&mut ended) {
                    self.shared.lock().woken = true; // there may be more to do
                }
                self.shared.change(|state| {
                    let after = state.turned(ended);
                    state.look_again_at_what_is_to_drop();
                    after
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
            let message =
                "remote calls are nested too deeply to run on one stack, as they do on this backend";
            let error = TaskError::new(ErrorKind::Failed, message);
            return self.shared.change(|state| state.settle(id, Err(error)));
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
                self.shared.change(|state| state.returned(id, result));
            }
            Err(error) => self.shared.change(|state| state.settle(id, Err(error))),
        }
    }

    fn is_deep(&self) -> bool {
        let local = 0_u8;
        self.base.abs_diff(std::ptr::from_ref(&local).addr()) > STACK - RESERVE
    }
}

/// The runner itself has panicked.
fn panicked(cause: Box<dyn std::any::Any + Send>) -> Option<CallResult> {
    let text = cause.downcast_ref::<&str>().copied();
    let text = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
    Some(Err(TaskError::new(ErrorKind::Panicked, text.unwrap_or("no message"))))
}
