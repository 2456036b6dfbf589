//! Actors: their calls are sent in order for each caller, and fail with the actor.

use crate::scheduler::state::State;
use crate::scheduler::state::actors::{Actor, ActorState};
use crate::scheduler::state::tasks::{Caller, Task};
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::fetch::request_copies;
use crate::scheduler::transitions::processes::stop;
use crate::scheduler::transitions::release::{actor_unreferenced, drop_restart_plan};
use crate::scheduler::transitions::run::send_call;
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{ActorId, ErrorKind, TaskError, TaskId};

/// The constructor has ended: the actor is alive or dead.
pub(crate) fn constructor_ended(state: &mut State, id: ActorId, error: Option<Arc<TaskError>>) {
    let Some(actor) = state.actors.get_mut(&id) else {
        return;
    };
    match error {
        None if matches!(actor.state, ActorState::Dead(_)) => {} // the session ends
        None => {
            actor.state = ActorState::Alive;
            send_waiting(state, id);
            // If all handles are gone, the constructor held the last reference.
            if !state.objects.contains(id.handle()) {
                actor_unreferenced(state, id);
            }
        }
        Some(error) => fail_actor(state, id, error),
    }
}

/// Sends the calls that waited for the constructor, in order of arrival over all callers.
fn send_waiting(state: &mut State, id: ActorId) {
    let Some(actor) = state.actors.get(&id) else { return };
    let queues = actor.waiting.iter();
    let mut calls: Vec<_> =
        queues.flat_map(|(caller, queue)| queue.iter().map(|call| (*call, *caller))).collect();
    calls.sort_unstable_by_key(|(call, _)| state.tasks.get(call).map_or(0, |task| task.arrival));
    for (call, caller) in calls {
        let is_first =
            |actor: &Actor| actor.waiting.get(&caller).and_then(|queue| queue.front()) == Some(&call);
        if state.actors.get(&id).is_some_and(is_first) && can_be_sent(state, id, call) {
            let queue = state.actors.get_mut(&id).and_then(|actor| actor.waiting.get_mut(&caller));
            queue.and_then(VecDeque::pop_front);
            send_to_actor(state, id, call);
        }
    }
    if let Some(actor) = state.actors.get_mut(&id) {
        actor.waiting.retain(|_, queue| !queue.is_empty()); // calls of a caller without an entry need not queue
    }
}

/// The actor is dead: its calls fail, and its process is stopped.
pub(crate) fn fail_actor(state: &mut State, id: ActorId, cause: Arc<TaskError>) {
    let Some(actor) = state.actors.get_mut(&id) else {
        return;
    };
    actor.state = ActorState::Dead(cause);
    let mut calls: Vec<_> = actor.sent.drain().collect();
    calls.extend(actor.waiting.drain().flat_map(|(_, queue)| queue));
    calls.sort_unstable();
    let process = actor.process;
    drop_restart_plan(state, id);
    state.actor_names.free(id);
    for call in calls {
        fail_actor_call(state, id, call);
    }
    if let Some(process) = process {
        stop(state, process);
    }
    if !state.objects.contains(id.handle()) {
        state.actors.remove(&id);
    }
}

/// Fails a call of a dead actor with the cause of its death.
fn fail_actor_call(state: &mut State, id: ActorId, call: TaskId) {
    if state.ending {
        return fail_task(state, call, TaskError::session_ended());
    }
    let mut error = TaskError::new(ErrorKind::ActorDied, "the actor has ended");
    if let Some(Actor { name, state: ActorState::Dead(cause), restarts, .. }) = state.actors.get(&id) {
        error.message = format!("actor `{name}` is dead");
        match restarts {
            0 => {}
            1 => error.message += ", after it was restarted once",
            times => error.message += &format!(", after it was restarted {times} times"),
        }
        error = error.because((**cause).clone());
    }
    fail_task(state, call, error);
}

/// Whether all inputs of the call are on the actor's host; transfers are started for those that are not.
fn can_be_sent(state: &mut State, id: ActorId, call: TaskId) -> bool {
    if state.tasks.get(&call).is_none_or(|task| task.missing > 0) {
        return false;
    }
    let process = state.actors.get(&id).and_then(|actor| actor.process);
    let host = process.and_then(|process| state.host_of(process));
    host.is_none_or(|host| request_copies(state, call, host) == 0)
}

/// Sends the first calls of this caller, up to one that cannot be sent yet.
pub(crate) fn send_waiting_of(state: &mut State, id: ActorId, caller: Caller) {
    loop {
        let Some(actor) = state.actors.get_mut(&id) else {
            return;
        };
        if !matches!(actor.state, ActorState::Alive) {
            return;
        }
        let Some(queue) = actor.waiting.get_mut(&caller) else {
            return;
        };
        match queue.front().copied() {
            None => {
                actor.waiting.remove(&caller);
                return;
            }
            Some(call) if !can_be_sent(state, id, call) => return,
            Some(call) => {
                let queue = state.actors.get_mut(&id).and_then(|actor| actor.waiting.get_mut(&caller));
                queue.and_then(VecDeque::pop_front);
                send_to_actor(state, id, call);
            }
        }
    }
}

fn send_to_actor(state: &mut State, id: ActorId, call: TaskId) {
    if let Some(actor) = state.actors.get_mut(&id)
        && let Some(process) = actor.process
    {
        actor.sent.insert(call);
        send_call(state, process, call, false);
    }
}

/// A call of the actor has ended, or failed while it waited: calls behind it may be sent.
pub(crate) fn actor_call_ended(state: &mut State, id: ActorId, task: &Task) {
    let Some(actor) = state.actors.get_mut(&id) else {
        return;
    };
    let call = task.spec.id();
    if actor.sent.remove(&call) {
        return;
    }
    if let Some(queue) = actor.waiting.get_mut(&task.caller) {
        queue.retain(|waiting| *waiting != call);
        send_waiting_of(state, id, task.caller);
    }
}

/// Sends a new call to its actor, or queues it behind earlier calls of its caller and its inputs.
pub(crate) fn call_actor(state: &mut State, id: ActorId, call: TaskId) {
    let Some(actor) = state.actors.get_mut(&id) else {
        return fail_actor_call(state, id, call);
    };
    if let ActorState::Dead(_) = actor.state {
        return fail_actor_call(state, id, call);
    }
    let Some(task) = state.tasks.get(&call) else { return };
    let alive = matches!(actor.state, ActorState::Alive);
    let (caller, is_next) = (task.caller, !actor.waiting.contains_key(&task.caller));
    if alive && is_next && can_be_sent(state, id, call) {
        send_to_actor(state, id, call);
    } else if let Some(actor) = state.actors.get_mut(&id) {
        actor.waiting.entry(caller).or_default().push_back(call);
    }
}
