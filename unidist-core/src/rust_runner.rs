//! Runs the calls of Rust functions: the [`TaskRunner`] over the [`registry`].
//!
//! # States of an actor
//!
//! A constructor that succeeds makes the actor; [`drop_actor`](TaskRunner::drop_actor) unmakes it. Calls start in the
//! order in which they are given. While the maximum number of asynchronous calls is in flight, the next one waits, and
//! all later calls wait behind it; the end of a call starts waiting calls up to the limit.

use crate::executor::{Executor, Polled};
use crate::panics::catch_panic;
use crate::received_args::ReceivedArgs;
use crate::registry::{self, Registered, Shim};
use crate::serialize_context;
use crate::started::{LocalFuture, Started};
use rustc_hash::FxHashMap;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use unidist_backend::build_id;
use unidist_backend::within_call;
use unidist_backend::{Call, CallKind, CallResult, Program, Progress, TaskRunner};
use unidist_common::{ActorId, ErrorKind, Object, TaskError, TaskId};

/// The description of a Rust program for backends: the argument of their `start`.
pub const PROGRAM: Program = Program { runner: |notify| Box::new(RustRunner::new(notify)), build_id };

/// Runs the calls of Rust functions on the thread on which it was made. Its errors do not name the function: the
/// backend knows the name that the caller chose.
pub struct RustRunner {
    notify: Arc<dyn Fn() + Send + Sync>,
    actors: RefCell<FxHashMap<ActorId, Actor>>,
    executor: Executor<Tag, Result<Vec<Object>, TaskError>>,
}

struct Actor {
    state: Rc<dyn Any>,
    /// The calls of asynchronous methods in flight.
    in_flight: u32,
    max_concurrency: u32,
    waiting: VecDeque<(Call, &'static Registered)>,
}

/// A call that has started and not ended.
#[derive(Clone, Copy)]
struct Tag {
    call: TaskId,
    returns: u32,
    actor: Option<ActorId>,
    asynchronous: bool,
}

impl RustRunner {
    /// A runner that requests turns by `notify`, from any thread.
    pub fn new(notify: Arc<dyn Fn() + Send + Sync>) -> Self {
        RustRunner { actors: RefCell::default(), executor: Executor::new(notify.clone(), step), notify }
    }

    fn look_up_and_run(&self, call: Call) -> Option<CallResult> {
        let Some(registered) = registry::find(call.function) else {
            let message = format!(
                "{:?} is not in the executable of the worker (build {}): start the same executable everywhere",
                call.function,
                build_id()
            );
            return Some(Err(TaskError::new(ErrorKind::UnknownFunction, message)));
        };
        self.run(self.queued(call, registered)?, registered)
    }

    /// References held for results are dropped in the next turn: see [`CallResult`].
    fn request_turn_if_refs_held(&self) {
        if serialize_context::has_held_refs() {
            (self.notify)();
        }
    }

    fn run(&self, call: Call, registered: &Registered) -> Option<CallResult> {
        call.on_start.invoke();
        let mut tag = Tag { call: call.id, returns: call.returns, actor: None, asynchronous: false };
        let kind = call.kind;
        let inputs = ReceivedArgs::new(call.args, call.objects);
        let started =
            match (kind, registered.shim) {
                (CallKind::Task, Shim::Function(function)) => self.catch_panic(tag.call, || function(inputs)),
                (CallKind::NewActor { max_concurrency }, Shim::Constructor(constructor)) => {
                    let state = self.catch_panic(tag.call, || constructor(inputs)).and_then(|state| state);
                    Ok(Started::Done(state.map(|state| {
                        self.add_actor(ActorId::of_constructor(tag.call), state, max_concurrency)
                    })))
                }
                (CallKind::Method { actor }, Shim::Method { call: method, asynchronous }) => {
                    tag.actor = Some(actor);
                    tag.asynchronous = asynchronous;
                    match self.enter_actor(actor, asynchronous) {
                        Some(state) => self.catch_panic(tag.call, || method(state, inputs)),
                        None => Err(gone()),
                    }
                }
                (kind, _) => Err(TaskError::new(
                    ErrorKind::UnknownFunction,
                    format!("it was called as {kind:?}, but it is a function of another kind"),
                )),
            };
        let result = match started {
            Ok(Started::Done(result)) => Some(result),
            Ok(Started::Later(future)) => {
                let started = self.executor.start(tag, future);
                started.unwrap_or_else(|error| {
                    let message =
                        format!("the worker cannot create the runtime for asynchronous calls: {error}");
                    Some(Err(TaskError::new(ErrorKind::Failed, message)))
                })
            }
            Err(error) => Some(Err(error)),
        };
        result.map(|result| self.end(tag, result))
    }

    fn catch_panic<R>(&self, call: TaskId, code: impl FnOnce() -> R) -> Result<R, TaskError> {
        catch_panic(|| within_call(call, code))
    }

    fn add_actor(&self, id: ActorId, state: Rc<dyn Any>, max_concurrency: Option<u32>) -> Vec<Object> {
        let actor = Actor {
            state,
            in_flight: 0,
            max_concurrency: max_concurrency.unwrap_or(u32::MAX).max(1),
            waiting: VecDeque::new(),
        };
        self.actors.borrow_mut().insert(id, actor);
        vec![Object::default()]
    }

    /// Counts a starting method call of this actor, and returns the actor's state.
    fn enter_actor(&self, id: ActorId, asynchronous: bool) -> Option<Rc<dyn Any>> {
        let mut actors = self.actors.borrow_mut();
        let actor = actors.get_mut(&id)?;
        actor.in_flight += u32::from(asynchronous);
        Some(actor.state.clone())
    }

    /// Ends a call: updates its actor, and checks the number of results.
    fn end(&self, tag: Tag, result: CallResult) -> CallResult {
        if let (Some(id), true) = (tag.actor, tag.asynchronous)
            && let Some(actor) = self.actors.borrow_mut().get_mut(&id)
        {
            actor.in_flight = actor.in_flight.saturating_sub(1);
        }
        result.and_then(|objects| {
            if objects.len() == tag.returns as usize {
                return Ok(objects);
            }
            let message =
                format!("the call returned {} results, but {} were requested", objects.len(), tag.returns);
            Err(TaskError::new(ErrorKind::Encode, message))
        })
    }

    /// Queues the call if it must wait for other calls of its actor; else returns it.
    fn queued(&self, call: Call, registered: &'static Registered) -> Option<Call> {
        let CallKind::Method { actor } = call.kind else {
            return Some(call);
        };
        let mut actors = self.actors.borrow_mut();
        match actors.get_mut(&actor) {
            Some(actor) if !actor.waiting.is_empty() || !actor.may_start(registered) => {
                actor.waiting.push_back((call, registered));
                None
            }
            _ => Some(call),
        }
    }

    /// Starts waiting calls of this actor, up to its limit.
    fn start_waiting(&self, id: ActorId, ended: &mut Vec<(TaskId, CallResult)>) {
        loop {
            let next = {
                let mut actors = self.actors.borrow_mut();
                let Some(actor) = actors.get_mut(&id) else { return };
                match actor.waiting.front() {
                    Some((_, registered)) if actor.may_start(registered) => actor.waiting.pop_front(),
                    _ => None,
                }
            };
            let Some((call, registered)) = next else { return };
            let id = call.id;
            if let Some(result) = self.run(call, registered) {
                ended.push((id, result));
            }
        }
    }
}

impl Actor {
    /// Removes a waiting call; false if there is none with this id.
    fn forget(&mut self, call: TaskId) -> bool {
        let place = self.waiting.iter().position(|(waiting, _)| waiting.id == call);
        place.and_then(|place| self.waiting.remove(place)).is_some()
    }

    fn may_start(&self, registered: &Registered) -> bool {
        let asynchronous = matches!(registered.shim, Shim::Method { asynchronous: true, .. });
        !asynchronous || self.in_flight < self.max_concurrency
    }
}

impl TaskRunner for RustRunner {
    fn start(&self, call: Call) -> Option<CallResult> {
        drop(serialize_context::take_held_refs());
        let result = self.look_up_and_run(call);
        self.request_turn_if_refs_held();
        result
    }

    fn turn(&self, report: &mut dyn FnMut(Progress)) -> bool {
        drop(serialize_context::take_held_refs());
        let mut freed: Vec<ActorId> = Vec::new();
        let polled = self.executor.turn(&mut |tag: &Tag, polled| match polled {
            Polled::Resumed => report(Progress::Resumed(tag.call)),
            Polled::Suspended => report(Progress::Suspended(tag.call)),
            Polled::Ended(result) => {
                freed.extend(tag.actor);
                report(Progress::Ended(tag.call, self.end(*tag, result)));
            }
        });
        let mut ended = Vec::new();
        for actor in freed {
            self.start_waiting(actor, &mut ended);
        }
        ended.into_iter().for_each(|(call, result)| report(Progress::Ended(call, result)));
        self.request_turn_if_refs_held();
        polled
    }

    fn pending(&self) -> usize {
        let waiting: usize = self.actors.borrow().values().map(|actor| actor.waiting.len()).sum();
        self.executor.len() + waiting
    }

    fn awaits_actor_state(&self, call: TaskId) -> bool {
        // A synchronous method can wait for nothing else.
        self.executor.any(|tag| tag.call == call && tag.actor.is_some() && !tag.asynchronous)
    }

    fn cancel(&self, call: TaskId, ended: &mut Vec<(TaskId, CallResult)>) -> bool {
        let waited = self.actors.borrow_mut().values_mut().any(|actor| actor.forget(call));
        if waited {
            ended.push((call, Err(cancelled())));
            return true;
        }
        let Some((tag, future)) = self.executor.take_parked(|tag| tag.call == call) else { return false };
        drop(serialize_context::take_held_refs());
        // Dropping it runs user code.
        if let Err(error) = self.catch_panic(call, || drop(future)) {
            log::error!("dropping the cancelled call {call} failed: {error}");
        }
        ended.push((call, self.end(tag, Err(cancelled()))));
        if let Some(actor) = tag.actor {
            self.start_waiting(actor, ended);
        }
        self.request_turn_if_refs_held();
        true
    }

    fn drop_actor(&self, actor: ActorId) {
        let state = self.actors.borrow_mut().remove(&actor);
        let futures = self.executor.cancel(|tag| tag.actor == Some(actor));
        // Dropping them runs user code.
        if let Err(error) = catch_panic(|| drop((futures, state))) {
            log::error!("dropping actor {actor} failed: {error}");
        }
    }
}

impl std::fmt::Debug for RustRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RustRunner").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

/// Polls a call's future, attributed to that call; a panic ends it.
fn step(tag: &Tag, future: &mut LocalFuture<Vec<Object>>, context: &mut Context<'_>) -> Poll<CallResult> {
    catch_panic(|| within_call(tag.call, || future.as_mut().poll(context)))
        .unwrap_or_else(|panic| Poll::Ready(Err(panic)))
}

fn cancelled() -> TaskError {
    TaskError::new(ErrorKind::Cancelled, "")
}

fn gone() -> TaskError {
    TaskError::new(ErrorKind::ActorDied, "the actor is not in this process")
}
