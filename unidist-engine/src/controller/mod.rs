//! The controller: the user's program, with the engine in it.
//!
//! `driver` moves events into the scheduler and carries out its actions, `event_loop` decides which thread runs it,
//! `local_store` has the memory of this host, and `transport` connects them with the
//! [`Backend`] that the program calls.
//!
//! A blocked thread runs the event loop itself (leader/follower), so no other thread has to be woken; a thread that
//! submits something polls once. While no thread waits, the engine thread sleeps on the doorbell as the standby.

mod driver;
mod event_loop;
mod inbox;
mod local_store;
mod settings;
mod shutdown_once;
mod timers;
mod transport;

pub use settings::{ControllerSettings, HostSettings, OtherHosts};

use crate::client::pending::PendingRequests;
use crate::client::{Client, Transport};
use crate::host::supervisor::{Supervisor, SupervisorConfig};
use crate::host::{HostMemory, host_name};
use crate::protocol::handshake::Welcome;
use crate::scheduler::{Limits, Scheduler};
use crate::store::arena::Arena;
use crate::store::client::ObjectStore;
use crate::store::segment::HEADER;
use driver::Driver;
use event_loop::EventLoop;
use inbox::{Input, inbox};
use local_store::{LocalStore, SharedArena};
use shutdown_once::ShutdownOnce;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use transport::Controller;
use unidist_backend::{Backend, Owner, Program};
use unidist_common::{Error, IdSource, ProcessId, Result};

/// Starts the workers of a session on this host and waits until they have joined. The session ends when the backend
/// is shut down or dropped.
///
/// # Errors
///
/// The system refuses memory or processes, or no worker joins.
pub fn start(settings: ControllerSettings, program: Program) -> Result<Arc<dyn Backend>> {
    start_engine(settings, program, None)
}

/// Starts a session with other hosts, on each of which a monitor [serves](crate::monitor::serve) the network. However
/// the session ends, and also if it cannot start, the network is passed to [`OtherHosts::on_end`].
///
/// # Errors
///
/// As [`start`]; or a monitor does not answer in time, or refuses.
pub fn start_on_hosts(
    settings: ControllerSettings,
    others: OtherHosts,
    program: Program,
) -> Result<Arc<dyn Backend>> {
    start_engine(settings, program, Some(others))
}

fn start_engine(
    settings: ControllerSettings,
    program: Program,
    others: Option<OtherHosts>,
) -> Result<Arc<dyn Backend>> {
    let (controller, client) = assemble(settings, program.build_id, others)?;
    if let Err(error) = controller.start_workers() {
        controller.shutdown()?;
        return Err(error);
    }
    Ok(Arc::new(client))
}

/// The engine without processes, with its thread.
fn assemble(
    settings: ControllerSettings,
    build_id: fn() -> String,
    others: Option<OtherHosts>,
) -> Result<(Arc<Controller>, Client<Controller>)> {
    let (others, hosts) = others.map(OtherHosts::split).unzip();
    let others = others.unwrap_or_default();
    let cluster = settings.cluster(&others);
    let memory =
        HostMemory::create(settings.object_store_memory, settings.spill_dir.as_ref(), settings.spill_limit)?;
    let HostMemory { segment, spill } = memory;
    let spill_file = spill.as_ref().map(|(_, file)| file.clone());
    let (sender, receiver) = inbox();
    let notify = {
        let (sender, segment) = (sender.clone(), segment.clone());
        Box::new(move |notice| {
            // It fails only after the end of the session.
            let _ = sender.send(Input::Process(notice));
            segment.bell().ring();
        })
    };
    let welcome = Welcome {
        build_id: build_id(),
        process: ProcessId::CONTROLLER,
        actor: false,
        log_dir: settings.log_dir.clone(),
        host: (!others.is_empty()).then(host_name),
        inline_limit: settings.inline_limit,
    };
    let supervisor = Arc::new(Supervisor::start(SupervisorConfig {
        command: settings.launch.clone(),
        segment: segment.clone(),
        spill: spill_file.clone(),
        welcome,
        notify,
    })?);
    let arena = SharedArena::new(Arena::new(HEADER, segment.len()));
    let requests = Arc::new(PendingRequests::default());
    let pending_tasks = Arc::new(AtomicUsize::new(0));
    let scheduler =
        Scheduler::new(Limits { hosts: settings.all_limits(&others), cancel_grace: settings.cancel_grace });
    let mut driver = Driver::new(
        scheduler,
        receiver,
        supervisor.clone(),
        LocalStore::new(segment.clone(), arena.clone(), spill),
        requests.clone(),
        cluster,
        pending_tasks.clone(),
    );
    if let Some(mut hosts) = hosts {
        let monitors = settings.monitor_specs(&others, &build_id(), hosts.backoff());
        if let Err(error) = hosts.connect(monitors) {
            supervisor.end();
            return Err(error);
        }
        driver.set_remote_hosts(hosts);
    }
    let event_loop =
        Arc::new(EventLoop::new(driver, segment.clone(), sender, requests, arena, pending_tasks));
    let standby = event_loop.clone();
    let thread =
        std::thread::Builder::new().name("unidist-engine".into()).spawn(move || standby.run_standby());
    let inline_limit = settings.inline_limit as usize;
    let controller = Arc::new(Controller {
        owner: Owner::this_process(),
        event_loop,
        supervisor,
        settings,
        ids: IdSource::new(ProcessId::CONTROLLER),
        engine_thread: Mutex::default(),
        shutdown: ShutdownOnce::default(),
    });
    let store = ObjectStore::new(segment, spill_file, controller.clone(), inline_limit);
    let client = Client::new(controller.clone(), store);
    let thread = thread.map_err(|error| {
        Error::system("cannot start the engine's thread", unidist_sync::with_cause(&error))
    })?;
    *controller.engine_thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(thread);
    Ok((controller, client))
}

#[cfg(test)]
mod tests;
