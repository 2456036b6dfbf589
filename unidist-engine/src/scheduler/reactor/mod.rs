//! The top layer: one file for each kind of event, and the dispatch of ready calls.
//!
//! [`react`] routes an event to its file and then notifies the waiters of objects that got a value.

mod dispatch;
mod drain;
mod on_cancel;
mod on_copied;
mod on_done;
mod on_find_actor;
mod on_get;
mod on_host_lost;
mod on_joined;
mod on_memory;
mod on_reply_undelivered;
mod on_retracted;
mod on_shutdown;
mod on_spilled;
mod on_submit;
mod on_timer;
mod on_watch;
mod on_worker_lost;
mod place;
mod place_on_worker;
mod restart_actor;
mod search_deadlocks;
mod worker_queries;

use crate::scheduler::event::{Action, Event};
use crate::scheduler::policy::live::live;
use crate::scheduler::reactor::dispatch::dispatch;
use crate::scheduler::reactor::drain::on_end_worker;
use crate::scheduler::reactor::on_cancel::on_cancel;
use crate::scheduler::reactor::on_copied::on_copied;
use crate::scheduler::reactor::on_done::on_done;
use crate::scheduler::reactor::on_find_actor::on_find_actor;
use crate::scheduler::reactor::on_get::{on_expire, on_get, on_wait};
use crate::scheduler::reactor::on_host_lost::on_host_lost;
use crate::scheduler::reactor::on_joined::on_joined;
use crate::scheduler::reactor::on_memory::{on_memory_found, on_memory_short};
use crate::scheduler::reactor::on_reply_undelivered::on_reply_undelivered;
use crate::scheduler::reactor::on_retracted::on_retracted;
use crate::scheduler::reactor::on_shutdown::on_shutdown;
use crate::scheduler::reactor::on_spilled::on_spilled;
use crate::scheduler::reactor::on_submit::on_submit;
use crate::scheduler::reactor::on_timer::{on_expired, on_started};
use crate::scheduler::reactor::on_watch::{on_next, on_watch};
use crate::scheduler::reactor::on_worker_lost::on_worker_lost;
use crate::scheduler::reactor::search_deadlocks::search_on;
use crate::scheduler::reactor::worker_queries::{on_status, on_workers};
use crate::scheduler::request::{Reply, Request, Value};
use crate::scheduler::state::State;
use crate::scheduler::transitions::notify::notify_waiters;
use crate::scheduler::transitions::processes::start_pool_worker;
use crate::scheduler::transitions::release::{record_reference, release_for, retain_for};
use crate::scheduler::transitions::settle::{free_object, settle};
use crate::scheduler::transitions::suspend::{on_resumed, on_suspended};
use crate::scheduler::transitions::views::{pin_view, unpin_view};
use crate::scheduler::transitions::watches::end_watch;
use std::sync::Arc;
use unidist_common::{ProcessId, TaskId};

fn on_request(state: &mut State, process: ProcessId, ask: Request) {
    match ask {
        Request::Submit { spec, caller } => on_submit(state, process, spec, caller, None),
        Request::SubmitFailed { spec, caller, error } => on_submit(state, process, spec, caller, Some(error)),
        Request::Put { id, object, views } => {
            let Some(host) = state.host_of(process) else { return };
            // No call makes this object: it stands for its own maker.
            if state.objects.declare(id, TaskId::of_first_return(id)) {
                record_reference(state, process, id);
                settle(state, id, host, Value::Ready(Arc::new(object)));
                (0..views).for_each(|_| pin_view(state, process, id));
            } else {
                free_object(state, host, &object); // the id is taken: the object is rejected
            }
        }
        Request::Get { request, ids, blocks } => on_get(state, process, request, ids, blocks),
        Request::Wait { request, ids, count, timed, blocks } => {
            on_wait(state, process, request, ids, count, timed, blocks)
        }
        Request::Expire { request } => on_expire(state, process, request),
        Request::Retain(id) => retain_for(state, process, id),
        Request::Release(id) => release_for(state, process, id),
        Request::PinView(id) => pin_view(state, process, id),
        Request::UnpinView(id) => unpin_view(state, process, id),
        Request::LiveObjects { request } => {
            let count = Reply::Count(state.objects.len() as u64);
            state.actions.push(Action::Reply { process, request, reply: count });
        }
        Request::Live { request, at_most } => {
            let reply = Reply::Live(live(state, at_most as usize));
            state.actions.push(Action::Reply { process, request, reply });
        }
        Request::Cancel { request, ids, which } => on_cancel(state, process, request, &ids, which),
        Request::Status { request, ids } => on_status(state, process, request, &ids),
        Request::Workers { request, at_least } => on_workers(state, process, request, at_least),
        Request::Watch { watch, ids } => on_watch(state, process, watch, ids),
        Request::Next { request, watch, timed, blocks } => {
            on_next(state, process, request, (watch, timed), blocks)
        }
        Request::Unwatch { watch } => end_watch(state, process, watch),
        Request::FindActor { request, name } => on_find_actor(state, process, request, &name),
        Request::EndWorker { request, worker } => on_end_worker(state, process, request, worker),
    }
}

/// Starts one worker for each slot.
pub(crate) fn start_workers(state: &mut State) {
    for host in state.host_ids() {
        (0..state.hosts[host.place()].cpus).for_each(|_| start_pool_worker(state, host));
    }
}

/// Reacts to an event.
pub(crate) fn react(state: &mut State, event: Event) {
    match event {
        Event::Request { process, request } => on_request(state, process, request),
        Event::Joined { process, pid } => on_joined(state, process, pid),
        Event::Lost { process, cause, undelivered } => on_worker_lost(state, process, &cause, &undelivered),
        Event::Done { process, task, result } => on_done(state, process, task, result),
        Event::Retracted { process, tasks } => on_retracted(state, process, tasks),
        Event::Suspended { process, task } => on_suspended(state, process, task),
        Event::Resumed { process, task } => on_resumed(state, process, task),
        Event::ReplyUndelivered { process, values } => on_reply_undelivered(state, process, &values),
        Event::Spilled { host, id, object, moved } => on_spilled(state, host, id, object, moved),
        Event::MemoryShort(host) => on_memory_short(state, host),
        Event::MemoryFound(host) => on_memory_found(state, host),
        Event::Copied { transfer, result } => on_copied(state, transfer, result),
        Event::HostLost { host, cause } => on_host_lost(state, host, &cause),
        Event::Started { process, task } => on_started(state, process, task),
        Event::Expired(timer) => on_expired(state, timer),
        Event::Shutdown => on_shutdown(state),
    }
    notify_waiters(state);
}

/// Hands out the calls that are ready, and searches on for deadlocks.
pub(crate) fn dispatch_ready(state: &mut State) {
    search_on(state);
    dispatch(state);
    notify_waiters(state);
}

/// Searches on for deadlocks while nothing else happens.
pub(crate) fn search_deadlocks(state: &mut State) {
    if search_on(state) {
        dispatch(state);
        notify_waiters(state);
    }
}
