//! A session: starting the engine of the controller, and serving it on other hosts.

use crate::NAME;
use crate::controller::{Joined, join};
use crate::launch;
use crate::monitor;
use crate::participant::{self, Participant};
use crate::topology::Host;
use crate::worker;
use std::ffi::OsString;
use std::sync::Arc;
use unidist_backend::{Backend, LaunchCommand, Program};
use unidist_common::{Error, Result};
use unidist_config::{CpuCount, MpiSharedObjectStoreMemory, ObjectStoreMemory, Settings, Source};
use unidist_engine::controller::{self, ControllerSettings, HostSettings, OtherHosts};
use unidist_engine::host::{host_address, outlive_signals};
use unidist_engine::hosts::{forwarded_environment, spread_cpus};
use unidist_engine::network::HostId;

/// Starts a session on all hosts of the job.
///
/// In SPMD mode it returns on rank 0 only. The other processes serve the session, and exit when it has ended.
///
/// # Errors
///
/// MPI cannot start the processes, they do not fit together, or the engine cannot start on a host.
pub fn start(settings: &Settings, program: Program) -> Result<Arc<dyn Backend>> {
    check_store(settings)?;
    let participant = match join(settings, program)? {
        Joined::Alone(slots) => {
            let engine = engine_settings(settings, own_cpus(settings, slots), host_address(), Vec::new());
            return controller::start(engine, program);
        }
        Joined::Session(participant) => participant,
    };
    if participant.place() != HostId::CONTROLLER {
        outlive_signals();
        end_process(serve(participant, program));
    }
    start_on(participant, settings, program)
}

/// In a process that was started as a worker or a monitor: serves until the session ends, then exits. In any other process:
/// returns at once.
pub fn serve_if_started(program: Program, install: fn(Arc<dyn Backend>)) {
    unidist_engine::worker::serve_if_worker(program, install);
    if monitor::program_arguments().is_some() {
        outlive_signals();
        end_process(monitor::join(program).and_then(|participant| serve(participant, program)));
    }
}

/// Refuses settings of the object store that this backend does not support.
pub(crate) fn check_store(settings: &Settings) -> Result<()> {
    if !settings.mpi.shared_object_store {
        return Err(Error::Unsupported {
            message:
                "UNIDIST_MPI_SHARED_OBJECT_STORE=false: with `mpi` the processes of a host always share its \
                      objects: unset it (UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY limits their size)"
                    .into(),
        });
    }
    if let Some(bytes) = settings.mpi.service_memory {
        log::warn!(
            "UNIDIST_MPI_SHARED_SERVICE_MEMORY={bytes} has no effect, because there is no table of objects: unset it"
        );
    }
    Ok(())
}

/// Starts the engine of the controller, and those of the other hosts.
pub(crate) fn start_on(
    participant: Participant,
    settings: &Settings,
    program: Program,
) -> Result<Arc<dyn Backend>> {
    let cpus = slots(&participant.topology().hosts, settings);
    let hosts = participant.topology().hosts.clone();
    let mut all = hosts.iter().zip(cpus);
    let Some((own, own_cpus)) = all.next() else {
        return Err(Error::system("cannot start a session", "it has no hosts"));
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
    let network = participant.network();
    let on_end = Box::new(move |network| {
        drop(network);
        leave(participant);
    });
    let others = OtherHosts { backoff: settings.mpi.backoff, on_end, ..OtherHosts::new(others, network) };
    controller::start_on_hosts(engine, others, program)
}

fn leave(participant: Participant) {
    if let Err(error) = participant.leave(true) {
        log::warn!("MPI was not shut down cleanly at the end of the session: {error}");
    }
}

/// Serves the controller on this host until the session ends.
pub(crate) fn serve(participant: Participant, program: Program) -> Result<()> {
    let mut network = participant.network();
    let served = unidist_engine::monitor::serve(&mut *network, participant.place(), &(program.build_id)());
    drop(network);
    let left = participant.leave(served.is_ok());
    match (served, left) {
        // The controller shut the session down in order: it knows the error, or its program exited without waiting.
        (Err(error), Ok(())) => log::error!("{error}"),
        (Ok(()), Ok(())) => {}
        (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(error),
    }
    Ok(())
}

/// Exits a process that only served.
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

/// The CPU slots of this host in a session on one host.
fn own_cpus(settings: &Settings, slots: Option<usize>) -> usize {
    match (CpuCount::source(), slots) {
        (Source::Default, Some(slots)) => slots,
        _ => participant::own_cpus(settings, launch::under_launcher()),
    }
}

/// The CPU slots of each host: in SPMD mode one for each rank that gives its slot to a worker; else those of the settings, spread
/// evenly over the hosts, or the CPUs of each host.
fn slots(hosts: &[Host], settings: &Settings) -> Vec<usize> {
    if hosts.iter().any(Host::has_worker_ranks) {
        return hosts.iter().map(|host| host.bindings().count()).collect();
    }
    match CpuCount::source() {
        Source::Default => hosts.iter().map(|host| host.cpus).collect(),
        _ => spread_cpus(settings.cpus.get(), hosts.len()),
    }
}

/// The CPUs to which the workers of a host are bound: in SPMD mode those of the ranks whose slots they take, else all CPUs,
/// whatever the launcher has bound this process to.
fn bindings(host: &Host) -> Vec<Vec<usize>> {
    host.bindings().map(|cpus| cpus.iter().map(|cpu| *cpu as usize).collect()).collect()
}

fn all_cpus() -> Vec<Vec<usize>> {
    vec![worker::unbound_cpus().into_iter().map(|cpu| cpu as usize).collect()]
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
        resources: settings.host_resources(),
        object_store_memory: object_store_memory(settings),
        spill_dir: settings.spill_dir.clone(),
        spill_limit: settings.spill_limit,
        max_pending_tasks: settings.max_pending_tasks.map(usize::from),
        max_processes: settings.max_processes.map(usize::from),
        log_dir: settings.log_dir.clone(),
        inline_limit: settings.mpi.store_threshold.unwrap_or(ControllerSettings::INLINE_LIMIT),
        cancel_grace: settings.cancel_grace,
        ip,
        launch: LaunchCommand { envs: runtime_env(settings), affinities, ..launch_here() },
    }
}

/// Whether a setting gives the size of the object store.
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

/// Workers are not MPI processes, so the variables of the launcher are removed.
fn launch_here() -> LaunchCommand {
    LaunchCommand {
        dropped_env_prefixes: worker::LAUNCHER_PREFIXES.map(str::to_owned).into(),
        ..LaunchCommand::this_program()
    }
}

/// On another host, workers find this program under the same path, and get the settings of unidist and of the log from here.
fn launch_elsewhere(settings: &Settings, bindings: Vec<Vec<usize>>) -> LaunchCommand {
    let mut envs = forwarded_environment();
    envs.extend(runtime_env(settings));
    LaunchCommand { envs, dir: std::env::current_dir().ok(), affinities: bindings, ..launch_here() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_that_is_not_shared_is_refused() {
        let settings = |value: &str| {
            Settings::resolve_from(|name| (name == "UNIDIST_MPI_SHARED_OBJECT_STORE").then(|| value.into()))
                .unwrap()
        };
        assert_eq!(check_store(&settings("yes")), Ok(()));
        let text = check_store(&settings("no")).unwrap_err().to_string();
        assert!(text.contains("UNIDIST_MPI_SHARED_OBJECT_STORE=false"), "{text}");
    }
}
