//! A process has joined.

use crate::scheduler::event::Role;
use crate::scheduler::reactor::worker_queries::answer_worker_queries;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::Phase;
use crate::scheduler::transitions::processes::stop;
use crate::scheduler::transitions::run::send_call;
use crate::scheduler::transitions::timers::arm;
use unidist_common::{ActorId, ProcessId};

/// A process has joined: a pool worker is ready for calls, an actor process for its constructor.
pub(crate) fn on_joined(state: &mut State, process: ProcessId, pid: u32) {
    let Some(worker) = state.workers.get_mut(&process) else {
        return;
    };
    if worker.phase != Phase::Starting {
        return;
    }
    worker.phase = Phase::Live;
    worker.pid = pid;
    let role = worker.role;
    match role {
        Role::Pool => {
            let host = &mut state.hosts[worker.host.place()];
            host.starting -= 1;
            host.failed_starts = 0;
            if state.ending {
                stop(state, process);
            }
            answer_worker_queries(state, None);
        }
        Role::Actor(actor) => actor_process_joined(state, process, actor),
    }
}

fn actor_process_joined(state: &mut State, process: ProcessId, actor: ActorId) {
    if let Some(task) = state.tasks.get(&actor.constructor())
        && !state.ending
    {
        if let Some(limit) = task.spec.options.timeout {
            arm(state, actor.constructor(), limit);
        }
        send_call(state, process, actor.constructor(), false);
    } else {
        stop(state, process); // the constructor has failed: the session ends
    }
}
