//! What the end of the session waits for.

use crate::scheduler::event::Role;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::FrameState;
use unidist_common::TaskId;

/// The running calls and the actors whose processes have not ended, each with its process, in words.
pub(crate) fn running_calls(state: &State) -> Vec<String> {
    let mut processes: Vec<_> = state.workers.iter().collect();
    processes.sort_unstable_by_key(|(process, _)| **process);
    let mut found = Vec::new();
    for (process, worker) in processes {
        match worker.role {
            Role::Pool => {
                let mut suspended: Vec<_> = worker.suspended.keys().copied().collect();
                suspended.sort_unstable();
                let suspended = suspended.into_iter().map(|task| (task, "waiting in an `.await`"));
                let calls =
                    worker.stack.iter().map(|frame| (frame.task, describe(frame.state))).chain(suspended);
                found.extend(calls.map(|(task, how)| format!("`{}` [{process}] ({how})", name(state, task))));
            }
            Role::Actor(actor) => {
                let actor = state.actors.get(&actor).map_or("an actor", |actor| &actor.name);
                found.push(format!("actor `{actor}` [{process}] (running)"));
            }
        }
    }
    found
}

fn name(state: &State, task: TaskId) -> &str {
    // The results of a cancelled call have ended before it.
    state.tasks.get(&task).map_or("a cancelled call", |task| &task.spec.name)
}

fn describe(state: FrameState) -> &'static str {
    match state {
        FrameState::Active | FrameState::Lent | FrameState::Runnable => "running",
        FrameState::Blocked(_) => "waiting in `get` or `wait`",
    }
}
