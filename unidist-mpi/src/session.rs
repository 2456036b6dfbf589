//! A session: what the controller starts its engine with, and what a monitor does with its process.

use crate::NAME;
use crate::controller::{Joined, join};
use crate::launch;
use crate::membership::{self, Membership};
use crate::monitor;
use crate::topology::Host;
use crate::worker;
use std::ffi::OsString;
use std::sync::Arc;
use unidist_backend::{Backend, LaunchCommand, Program};
use unidist_common::{Error, Result};
use unidist_config::{CpuCount, MpiSharedObjectStoreMemory, ObjectStoreMemory, Settings, Source};
use unidist_engine::controller::{self, ControllerSettings, HostSettings, OtherHosts};
use unidist_engine::host::host_address;
use unidist_engine::hosts::{forwarded_environment, spread_cpus};
use unidist_engine::network::HostId;

/// Starts a session on all hosts of the job.
///
/// In SPMD mode it returns in the first process alone. The others serve the session and end when it has ended.
///
/// # Errors
///
/// MPI cannot start what is needed, what was started does not go together, or the engine cannot start on a host.
pub fn start(settings: &Settings, program: Program) -> Result<Arc<dyn Backend>> {
    check_store(settings)?;
    let membership = match join(settings, program)? {
        Joined::Alone(slots) => {
            let engine = engine_settings(settings, own_cpus(settings, slots), host_address(), Vec::new());
            return controller::start(engine, program);
        }
        Joined::Session(membership) => membership,
    };
    if membership.place() != HostId::CONTROLLER {
        end_process(serve(membership, program));
    }
    start_on(membership, settings, program)
}

/// In a process that was started as a worker or a monitor: serves until the session ends, then ends the process. In any
/// other process: returns at once.
pub fn serve_if_started(program: Program, install: fn(Arc<dyn Backend>)) {
    unidist_engine::worker::serve_if_worker(program, install);
    if monitor::program_arguments().is_some() {
        end_process(monitor::join(program).and_then(|membership| serve(membership, program)));
    }
}

/// What was set of the store that it cannot be.
pub(crate) fn check_store(settings: &Settings) -> Result<()> {
    if !settings.mpi.shared_object_store {
        return Err(Error::Unsupported {
            message:
                "UNIDIST_MPI_SHARED_OBJECT_STORE=false: with `mpi` the processes of a host always share its \
                      objects: unset it (UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY says how much they may take)"
                    .into(),
        });
    }
    if let Some(bytes) = settings.mpi.service_memory {
        log::warn!("UNIDIST_MPI_SHARED_SERVICE_MEMORY={bytes} changes nothing: there is no table of objects");
    }
    Ok(())
}

/// The engine of the controller, with those of the other hosts.
pub(crate) fn start_on(
    membership: Membership,
    settings: &Settings,
    program: Program,
) -> Result<Arc<dyn Backend>> {
    let cpus = slots(&membership.topology().hosts, settings);
    let hosts = membership.topology().hosts.clone();
    let mut all = hosts.iter().zip(cpus);
    let Some((own, own_cpus)) = all.next() else {
        return Err(Error::system("starting a session", "there is no host in it"));
    };
    let engine = engine_settings(settings, own_cpus, own.ip.clone(), bindings(own));
    let others = all.map(|(host, cpus)| HostSettings {
        ip: host.ip.clone(),
        name: host.name.clone(),
        cpus,
        resources: host.resources.clone(),
        object_store_memory: Some(match memory_is_set() {
            true => object_store_memory(settings),
            false => host.object_store_memory,
        }),
        launch: Some(launch_elsewhere(settings, bindings(host))),
    });
    let others = others.collect();
    let network = membership.network();
    let on_end = Box::new(move |network| {
        drop(network);
        leave(membership);
    });
    let others = OtherHosts { backoff: settings.mpi.backoff, on_end, ..OtherHosts::new(others, network) };
    controller::start_on_hosts(engine, others, program)
}

fn leave(membership: Membership) {
    if let Err(error) = membership.leave(true) {
        log::warn!("leaving MPI: {error}");
    }
}

/// Serves the controller on this host, to the end.
pub(crate) fn serve(membership: Membership, program: Program) -> Result<()> {
    let mut network = membership.network();
    let served = unidist_engine::monitor::serve(&mut *network, membership.place(), &(program.build_id)());
    drop(network);
    let left = membership.leave(served.is_ok());
    match (served, left) {
        // A controller that says good-bye was told, or has ended the program without waiting for anything.
        (Err(error), Ok(())) => log::error!("{error}"),
        (Ok(()), Ok(())) => {}
        (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(error),
    }
    Ok(())
}

/// Ends a process that was only there to serve.
fn end_process(served: Result<()>) -> ! {
    let code = match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("unidist monitor: {error}");
            1
        }
    };
    std::process::exit(code)
}

/// The CPU slots of this host in a session without others.
fn own_cpus(settings: &Settings, slots: Option<usize>) -> usize {
    match (CpuCount::source(), slots) {
        (Source::Default, Some(slots)) => slots,
        _ => membership::own_cpus(settings, launch::under_launcher()),
    }
}

/// The CPU slots of each host. In SPMD mode there is one for each rank that stands for a worker; else those that the
/// settings give to all hosts together, spread evenly, or what each host has.
fn slots(hosts: &[Host], settings: &Settings) -> Vec<usize> {
    if hosts.iter().any(Host::is_of_ranks) {
        return hosts.iter().map(|host| host.bindings().count()).collect();
    }
    match CpuCount::source() {
        Source::Default => hosts.iter().map(|host| host.cpus).collect(),
        _ => spread_cpus(settings.cpus.get(), hosts.len()),
    }
}

/// The sets of CPUs that the workers of a host get: in SPMD mode those of the ranks that they stand for, else all that
/// there are, whatever the launcher has bound this process to.
fn bindings(host: &Host) -> Vec<Vec<usize>> {
    host.bindings().map(|cpus| cpus.iter().map(|cpu| *cpu as usize).collect()).collect()
}

fn all_cpus() -> Vec<Vec<usize>> {
    vec![worker::unbound().into_iter().map(|cpu| cpu as usize).collect()]
}

fn engine_settings(
    settings: &Settings,
    cpus: usize,
    ip: String,
    bindings: Vec<Vec<usize>>,
) -> ControllerSettings {
    let affinities = if bindings.is_empty() { all_cpus() } else { bindings };
    ControllerSettings {
        backend: NAME,
        cpus,
        resources: settings.resources.clone(),
        object_store_memory: object_store_memory(settings),
        spill_dir: settings.spill_dir.clone(),
        spill_limit: settings.spill_limit,
        max_pending_tasks: settings.max_pending_tasks.map(usize::from),
        log_dir: settings.log_dir.clone(),
        inline_limit: settings.mpi.store_threshold.unwrap_or(ControllerSettings::INLINE_LIMIT),
        cancel_grace: settings.cancel_grace,
        ip,
        launch: LaunchCommand { envs: runtime_env(settings), affinities, ..launch_here() },
    }
}

/// Whether somebody has said how much memory the objects of a host may take.
fn memory_is_set() -> bool {
    [ObjectStoreMemory::source(), MpiSharedObjectStoreMemory::source()]
        .iter()
        .any(|source| *source != Source::Default)
}

fn object_store_memory(settings: &Settings) -> u64 {
    settings.mpi.object_store_memory.unwrap_or(settings.object_store_memory)
}

fn runtime_env(settings: &Settings) -> Vec<(OsString, OsString)> {
    settings.mpi.runtime_env.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Workers know nothing of MPI.
fn launch_here() -> LaunchCommand {
    LaunchCommand {
        dropped_env_prefixes: worker::PREFIXES.map(str::to_owned).into(),
        ..LaunchCommand::this_program()
    }
}

/// On another host, workers find this program under the same path; and they get what has been said to unidist and to
/// the log here.
fn launch_elsewhere(settings: &Settings, bindings: Vec<Vec<usize>>) -> LaunchCommand {
    let mut envs = forwarded_environment();
    envs.extend(runtime_env(settings));
    LaunchCommand { envs, dir: std::env::current_dir().ok(), affinities: bindings, ..launch_here() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_shared_is_refused() {
        let settings = |value: &str| {
            Settings::resolve_from(|name| (name == "UNIDIST_MPI_SHARED_OBJECT_STORE").then(|| value.into()))
                .unwrap()
        };
        assert_eq!(check_store(&settings("yes")), Ok(()));
        let text = check_store(&settings("no")).unwrap_err().to_string();
        assert!(text.contains("UNIDIST_MPI_SHARED_OBJECT_STORE=false"), "{text}");
    }
}
